/* Streams of changes; see watchers.h. */

#include "services/registry/watchers.h"

#include <stdio.h>
#include <stdlib.h>

/* Of at most 256 KiB or so each, and mostly of one commit. */
#define SHARED_MESSAGES 16
/* After so many changes at a time the next ones are gathered for so long. */
#define MANY_CHANGES 16
#define GATHER_MS 4

struct watcher {
    struct watcher *next, **link;
    struct watchers *watchers;
    struct rpc_call *call;
    struct registry_cursor cursor;
    uint64_t store_told; /* the state of the store that it was told */
    bool secret_told;
};

/* A message of changes, as it was packed for the first who was to get it. Revisions never come
 * twice, and what happened between two of them does not change: so it stays right. */
struct shared_message {
    uint64_t after_revision, revision; /* for who has seen the one; who then has seen the other */
    struct rpc_packed *packed;         /* NULL: unused */
};

struct watchers {
    struct rpc_loop *loop;
    struct registry *registry;
    const uint8_t *secret;
    struct rpc_turn_hook hook;
    struct timer gathering;
    uint64_t fed_revision; /* up to which everybody was last fed who takes it */
    struct watcher *first;
    struct shared_message shared[SHARED_MESSAGES];
    size_t next_shared; /* the place of the next, which is that of the oldest */
    bool stopping;
    uint64_t store_state;    /* how often it has changed; 0: it works, and always has */
    char store_failure[400]; /* empty: it works */
};

static const struct shared_message *find_shared(const struct watchers *watchers, uint64_t after_revision)
{
    for (size_t i = 0; i < SHARED_MESSAGES; i++)
        if (watchers->shared[i].packed != NULL && watchers->shared[i].after_revision == after_revision)
            return &watchers->shared[i];
    return NULL;
}

static const struct shared_message *add_shared(struct watchers *watchers, uint64_t after_revision,
                                               const Muster__V1__WatchWorkersResponse *message)
{
    struct shared_message *shared = &watchers->shared[watchers->next_shared++ % SHARED_MESSAGES];
    rpc_packed_free(shared->packed);
    *shared = (struct shared_message){after_revision, message->revision, rpc_packed_create(&message->base)};
    return shared;
}

/* Sends the next message. False: there is none, or the call is over, and `ended` comes. */
static bool send_next(struct watcher *watcher)
{
    struct watchers *watchers = watcher->watchers;
    struct registry_cursor *cursor = &watcher->cursor;
    uint64_t seen = cursor->revision;
    bool changes = !cursor->in_snapshot;
    if (!registry_cursor_behind(watchers->registry, cursor))
        return false;
    const struct shared_message *shared = changes ? find_shared(watchers, seen) : NULL;
    if (shared != NULL) {
        cursor->revision = shared->revision;
        return rpc_call_send_packed(watcher->call, shared->packed);
    }
    const Muster__V1__WatchWorkersResponse *message = registry_cursor_next(watchers->registry, cursor);
    if (message == NULL)
        return false;
    /* One that fell behind the ring is in a snapshot now. */
    if (!changes || message->snapshot_begin || watchers->first->next == NULL)
        return rpc_call_send(watcher->call, &message->base);
    return rpc_call_send_packed(watcher->call, add_shared(watchers, seen, message)->packed);
}

/* Says how the store is, if that is news. Not inside a snapshot, whose messages have no
 * revision of their own. */
static bool send_store_state(struct watcher *watcher)
{
    struct watchers *watchers = watcher->watchers;
    if (watcher->store_told == watchers->store_state || watcher->cursor.in_snapshot)
        return false;
    watcher->store_told = watchers->store_state;
    Muster__V1__WatchWorkersResponse message = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
    Muster__V1__StoreState state = MUSTER__V1__STORE_STATE__INIT;
    state.failure = watchers->store_failure;
    message.revision = watcher->cursor.revision;
    message.store = &state;
    return rpc_call_send(watcher->call, &message.base);
}

/* Says what tokens are checked with, first of all: alone, or with the snapshot's beginning. */
static bool send_secret(struct watcher *watcher)
{
    struct watchers *watchers = watcher->watchers;
    Muster__V1__WatchWorkersResponse message = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
    if (watcher->secret_told)
        return false;
    message.revision = watcher->cursor.revision;
    if (watcher->cursor.in_snapshot) {
        const Muster__V1__WatchWorkersResponse *first = registry_cursor_next(watchers->registry, &watcher->cursor);
        if (first == NULL)
            return false;
        message = *first;
    }
    watcher->secret_told = true;
    message.token_secret = (ProtobufCBinaryData){AUTH_SECRET_BYTES, (uint8_t *)(uintptr_t)watchers->secret};
    return rpc_call_send(watcher->call, &message.base);
}

/* Sends what the call takes. */
static void feed(struct watcher *watcher)
{
    while (rpc_call_writable(watcher->call) &&
           (send_secret(watcher) || send_store_state(watcher) || send_next(watcher)))
        continue;
}

static void gathered(struct timer *timer, void *argument)
{
    (void)timer;
    watchers_wake(argument);
}

static void feed_all(void *argument)
{
    struct watchers *watchers = argument;
    uint64_t changes = registry_revision(watchers->registry) - watchers->fed_revision;
    watchers->fed_revision += changes;
    for (struct watcher *watcher = watchers->first; watcher != NULL; watcher = watcher->next)
        feed(watcher);
    if (changes >= MANY_CHANGES)
        rpc_loop_timer_start(watchers->loop, &watchers->gathering, GATHER_MS, gathered, watchers);
}

struct watchers *watchers_create(struct rpc_loop *loop, struct registry *registry,
                                 const uint8_t secret[AUTH_SECRET_BYTES])
{
    struct watchers *watchers = calloc(1, sizeof(*watchers));
    if (watchers == NULL)
        abort();
    watchers->loop = loop;
    watchers->registry = registry;
    watchers->secret = secret;
    watchers->hook.function = feed_all;
    watchers->hook.argument = watchers;
    return watchers;
}

void watchers_destroy(struct watchers *watchers)
{
    if (watchers == NULL)
        return;
    rpc_loop_cancel_end_of_turn(watchers->loop, &watchers->hook);
    rpc_loop_timer_stop(watchers->loop, &watchers->gathering);
    for (size_t i = 0; i < SHARED_MESSAGES; i++)
        rpc_packed_free(watchers->shared[i].packed);
    free(watchers);
}

void watchers_add(struct watchers *watchers, struct rpc_call *call, uint64_t after_revision)
{
    struct watcher *watcher = watchers->stopping ? NULL : calloc(1, sizeof(*watcher));
    if (watcher == NULL) {
        rpc_call_finish(call, RPC_UNAVAILABLE,
                        watchers->stopping ? "the registry is stopping; watch again" : "out of memory; watch again");
        return;
    }
    watcher->watchers = watchers;
    watcher->call = call;
    watcher->next = watchers->first;
    watcher->link = &watchers->first;
    if (watcher->next != NULL)
        watcher->next->link = &watcher->next;
    watchers->first = watcher;
    rpc_call_set_user(call, watcher);
    registry_cursor_start(watchers->registry, &watcher->cursor, after_revision);
    feed(watcher);
}

void watchers_writable(struct rpc_call *call)
{
    struct watcher *watcher = rpc_call_user(call);
    if (watcher != NULL)
        feed(watcher);
}

void watchers_ended(struct rpc_call *call)
{
    struct watcher *watcher = rpc_call_user(call);
    if (watcher == NULL)
        return;
    *watcher->link = watcher->next;
    if (watcher->next != NULL)
        watcher->next->link = watcher->link;
    free(watcher);
}

void watchers_wake(struct watchers *watchers)
{
    if (watchers->first != NULL && !timer_active(&watchers->gathering))
        rpc_loop_at_end_of_turn(watchers->loop, &watchers->hook);
}

void watchers_set_store_failure(struct watchers *watchers, const char *failure)
{
    snprintf(watchers->store_failure, sizeof(watchers->store_failure), "%s", failure != NULL ? failure : "");
    watchers->store_state++;
    watchers_wake(watchers);
}

void watchers_stop(struct watchers *watchers)
{
    watchers->stopping = true;
    for (struct watcher *watcher = watchers->first; watcher != NULL; watcher = watcher->next)
        rpc_call_finish(watcher->call, RPC_UNAVAILABLE, "the registry is stopping; watch again");
}
