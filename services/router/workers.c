/* Workers: what the registry and health say of them; see router.h. */

#include "services/router/state.h"

#include <stdlib.h>
#include <string.h>

#define WORKER_ID_BYTES_MAX 256

/* --- Records --- */

struct router_worker *router_worker_find(const struct router *router, const char *worker_id)
{
    return map_get_text(&router->workers, worker_id);
}

static bool id_is_legal(const char *worker_id)
{
    size_t bytes = strlen(worker_id);
    return bytes > 0 && bytes <= WORKER_ID_BYTES_MAX;
}

/* One that is not there yet. NULL: out of memory. */
static struct router_worker *add_worker(struct router *router, const char *worker_id)
{
    size_t id_bytes = strlen(worker_id);
    struct router_worker *worker = calloc(1, sizeof(*worker) + id_bytes + 1);
    if (worker == NULL)
        return NULL;
    memcpy(worker->id, worker_id, id_bytes + 1);
    if (!map_put(&router->workers, worker->id, id_bytes, worker, NULL)) {
        free(worker);
        return NULL;
    }
    return worker;
}

void router_worker_free(struct router *router, struct router_worker *worker)
{
    router_endpoints_clear(router, worker);
    free(worker->texts);
    free(worker->reason);
    free(worker->health.reason);
    free(worker->health.states);
    free(worker);
}

/* A record that nobody speaks of any more goes. */
static void forget_if_unknown(struct router *router, struct router_worker *worker)
{
    if (worker->registered || (worker->health.known && worker->health.status != WORKER_REMOVED))
        return;
    map_remove_text(&router->workers, worker->id);
    router_worker_free(router, worker);
}

Muster__V1__WorkerStatus router_worker_status(const struct router_worker *worker, const char **reason)
{
    const struct router_health *health = &worker->health;
    bool health_knows = health->known && health->incarnation >= worker->incarnation;
    const char *why = health_knows ? health->reason : worker->reason;
    *reason = why == NULL ? "" : why;
    return health_knows ? health->status : worker->status;
}

const char *router_worker_service_state(const struct router *router, const struct router_worker *worker,
                                        const struct router_service *service)
{
    const char *name = worker->health.states;
    while (name != NULL && *name != 0) {
        const char *state = name + strlen(name) + 1;
        if (router_service_find(router, name) == service)
            return state;
        name = state + strlen(state) + 1;
    }
    return NULL;
}

/* Replaces a text if it differs. False: out of memory, the old one stays. An empty text is
 * kept as NULL. */
static bool replace_text(char **kept, const char *text, bool *changed)
{
    if (strcmp(*kept == NULL ? "" : *kept, text) == 0)
        return true;
    char *copy = NULL;
    if (*text != 0) {
        copy = strdup(text);
        if (copy == NULL)
            return false;
    }
    free(*kept);
    *kept = copy;
    *changed = true;
    return true;
}

/* --- The registry's watch --- */

/* What is too long is no name and no URL; the registry takes none of these. */
static void add_name(struct buffer *texts, const char *name, const char *url)
{
    size_t name_bytes = strlen(name), url_bytes = strlen(url);
    if (name_bytes > UINT16_MAX || url_bytes > UINT16_MAX)
        return;
    struct router_lengths lengths = {(uint16_t)name_bytes, (uint16_t)url_bytes};
    size_t bytes = sizeof(lengths) + name_bytes + 1 + url_bytes + 1;
    if (!buffer_reserve(texts, bytes))
        return;
    char *end = texts->data + texts->bytes;
    memcpy(end, &lengths, sizeof(lengths));
    memcpy(end + sizeof(lengths), name, name_bytes + 1);
    memcpy(end + sizeof(lengths) + name_bytes + 1, url, url_bytes + 1);
    texts->bytes += bytes;
}

/* Into router->texts; see struct router_worker. False: out of memory. */
static bool write_texts(struct router *router, const Muster__V1__Worker *record)
{
    const Muster__V1__WorkerSpec *spec = record->spec;
    struct buffer *texts = &router->texts;
    buffer_clear(texts);
    buffer_append(texts, spec->tunnel_url, strlen(spec->tunnel_url) + 1);
    for (size_t i = 0; i < spec->n_services; i++)
        add_name(texts, spec->services[i]->name, spec->services[i]->url);
    for (size_t i = 0; i < record->n_assigned_services; i++)
        add_name(texts, record->assigned_services[i], "");
    return !buffer_failed(texts) && texts->bytes <= UINT32_MAX;
}

static bool put(struct router *router, const Muster__V1__Worker *record)
{
    struct router_worker *worker = router_worker_find(router, record->spec->worker_id);
    if (worker == NULL)
        worker = add_worker(router, record->spec->worker_id);
    if (worker == NULL)
        return false;
    worker->generation = router->workers_generation;
    if (worker->registered && record->incarnation < worker->incarnation)
        return true;
    if (!write_texts(router, record))
        return false;
    const struct buffer *texts = &router->texts;
    /* A registration starts afresh: what was held against its predecessor's endpoints goes. */
    bool afresh = !worker->registered || record->incarnation != worker->incarnation || record->type != worker->type ||
                  texts->bytes != worker->texts_bytes || memcmp(texts->data, worker->texts, texts->bytes) != 0;
    char *new_texts = afresh ? malloc(texts->bytes) : NULL;
    if (afresh && new_texts == NULL)
        return false;
    bool another_type = record->type != worker->type, reason_changed = false;
    bool kept = replace_text(&worker->reason, record->status_reason, &reason_changed);
    worker->registered = true;
    worker->incarnation = record->incarnation;
    worker->type = record->type;
    worker->status = record->status;
    worker->draining = record->draining;
    if (!afresh) {
        router_endpoints_judge(router, worker);
        return kept;
    }
    char *old_texts = worker->texts;
    worker->texts = memcpy(new_texts, texts->data, texts->bytes);
    worker->texts_bytes = (uint32_t)texts->bytes;
    bool set = router_endpoints_set(router, worker, old_texts, another_type);
    free(old_texts);
    return set && kept;
}

static void unregister(struct router *router, struct router_worker *worker)
{
    worker->registered = false;
    router_endpoints_clear(router, worker);
    free(worker->texts);
    worker->texts = NULL;
    worker->texts_bytes = 0;
    forget_if_unknown(router, worker);
}

static bool apply_event(struct router *router, const Muster__V1__WorkerEvent *event)
{
    struct router_worker *worker;
    bool reason_changed = false;
    bool kept = true;
    switch (event->type) {
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT:
        if (event->worker == NULL || event->worker->spec == NULL || !id_is_legal(event->worker->spec->worker_id))
            return true; /* no record; nothing can be learnt from it */
        return put(router, event->worker);
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS:
        worker = router_worker_find(router, event->worker_id);
        if (worker != NULL && worker->registered && event->incarnation == worker->incarnation) {
            worker->status = event->status;
            kept = replace_text(&worker->reason, event->reason, &reason_changed);
            router_endpoints_judge(router, worker);
        }
        return kept;
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE:
        worker = router_worker_find(router, event->worker_id);
        if (worker != NULL && worker->registered && event->incarnation >= worker->incarnation)
            unregister(router, worker);
        return true;
    default:
        return true;
    }
}

uint64_t router_workers_begin(struct router *router)
{
    router->workers_in_snapshot = false;
    return router->workers_revision;
}

/* Calls `forget`, which may free it, for every worker that is stale. False: out of memory. */
static bool sweep(struct router *router, bool (*stale)(const struct router *, const struct router_worker *),
                  void (*forget)(struct router *, struct router_worker *))
{
    struct router_worker **list = NULL;
    size_t count = 0, capacity = 0, position = 0;
    for (struct router_worker *worker; (worker = map_next(&router->workers, &position)) != NULL;) {
        if (!stale(router, worker))
            continue;
        if (count == capacity) {
            capacity = capacity * 2 + 256;
            struct router_worker **bigger = realloc(list, capacity * sizeof(struct router_worker *));
            if (bigger == NULL) {
                free(list);
                return false;
            }
            list = bigger;
        }
        list[count++] = worker;
    }
    for (size_t i = 0; i < count; i++)
        forget(router, list[i]);
    free(list);
    return true;
}

static bool stale_record(const struct router *router, const struct router_worker *worker)
{
    return worker->registered && worker->generation != router->workers_generation;
}

/* So many workers are expected at a time: what the caches can fetch at once, and a little more. */
#define EXPECTED_WORKERS 16

static void expect(const struct router *router, Muster__V1__WorkerEvent *const *events, size_t count)
{
    for (size_t i = 0; i < count && i < EXPECTED_WORKERS; i++)
        map_expect(&router->workers, events[i]->worker_id, strlen(events[i]->worker_id));
}

bool router_apply_workers(struct router *router, const Muster__V1__WatchWorkersResponse *message, uint64_t now_ms)
{
    router->now_ms = now_ms;
    router_reset_arena(router);
    if (message->snapshot_begin) {
        router->workers_generation++;
        router->workers_in_snapshot = true;
    }
    for (size_t i = 0; i < message->n_events; i++) {
        if (i % EXPECTED_WORKERS == 0)
            expect(router, message->events + i, message->n_events - i);
        if (!apply_event(router, message->events[i])) {
            router->workers_revision = 0;
            return false;
        }
    }
    if (message->snapshot_complete && router->workers_in_snapshot) {
        if (!sweep(router, stale_record, unregister)) {
            router->workers_revision = 0;
            return false;
        }
        router->workers_in_snapshot = false;
        if (!router->workers_synchronised)
            router->ready_at_ms = now_ms + ROUTER_START_WAIT_MS;
        router->workers_synchronised = true;
    }
    if (!router->workers_in_snapshot)
        router->workers_revision = message->revision;
    return true;
}

/* --- Health's watch --- */

static bool same_figures(const struct policy_figures *a, const struct policy_figures *b)
{
    return a->known == b->known && a->current_load == b->current_load && a->active_requests == b->active_requests &&
           a->queue_depth == b->queue_depth;
}

/* The states of a load in one text; see struct router_health. False: out of memory. */
static bool replace_states(struct router_health *health, const Muster__V1__Load *load, bool *changed)
{
    size_t bytes = 1;
    for (size_t i = 0; i < load->n_services_status; i++) {
        const Muster__V1__ServiceState *state = load->services_status[i];
        if (state->name[0] != 0)
            bytes += strlen(state->name) + strlen(state->state) + 2;
    }
    char *states = NULL;
    if (bytes > 1) {
        states = malloc(bytes);
        if (states == NULL)
            return false;
        char *end = states;
        for (size_t i = 0; i < load->n_services_status; i++) {
            const Muster__V1__ServiceState *state = load->services_status[i];
            if (state->name[0] != 0) {
                end = stpcpy(end, state->name) + 1;
                end = stpcpy(end, state->state) + 1;
            }
        }
        *end = 0;
    }
    size_t old_bytes = 1;
    for (const char *text = health->states; text != NULL && *text != 0;) {
        size_t pair = strlen(text) + 1;
        pair += strlen(text + pair) + 1;
        old_bytes += pair;
        text += pair;
    }
    if (old_bytes == bytes && (bytes == 1 || memcmp(states, health->states, bytes) == 0)) {
        free(states);
        return true;
    }
    free(health->states);
    health->states = states;
    *changed = true;
    return true;
}

static bool apply_worker_health(struct router *router, const Muster__V1__WorkerHealth *message)
{
    if (!id_is_legal(message->worker_id))
        return true;
    struct router_worker *worker = router_worker_find(router, message->worker_id);
    if (worker == NULL && message->status == WORKER_REMOVED)
        return true;
    if (worker == NULL)
        worker = add_worker(router, message->worker_id);
    if (worker == NULL)
        return false;
    struct router_health *health = &worker->health;
    health->generation = router->health_generation;
    /* Of a registration that was replaced since: says nothing about this one. */
    if (health->known && message->incarnation < health->incarnation)
        return true;
    bool changed = !health->known || health->status != message->status || health->incarnation != message->incarnation;
    bool reason_changed = false;
    bool kept = replace_text(&health->reason, message->reason, &reason_changed);
    health->known = true;
    health->incarnation = message->incarnation;
    health->status = message->status;
    if (message->load != NULL) {
        struct policy_figures figures = {true, message->load->current_load, message->load->active_requests,
                                         message->load->queue_depth};
        changed = changed || !same_figures(&figures, &health->figures);
        health->figures = figures;
        kept = replace_states(health, message->load, &changed) && kept;
    }
    if (changed)
        router_endpoints_judge(router, worker);
    if (health->status == WORKER_REMOVED)
        forget_if_unknown(router, worker);
    return kept;
}

static bool stale_health(const struct router *router, const struct router_worker *worker)
{
    return worker->health.known && worker->health.generation != router->health_generation;
}

static void forget_health(struct router *router, struct router_worker *worker)
{
    struct router_health *health = &worker->health;
    free(health->reason);
    free(health->states);
    memset(health, 0, sizeof(*health));
    router_endpoints_judge(router, worker);
    forget_if_unknown(router, worker);
}

void router_health_begin(struct router *router)
{
    router->health_generation++;
    router->health_in_snapshot = true;
}

bool router_apply_health(struct router *router, const Muster__V1__WatchHealthResponse *message, uint64_t now_ms)
{
    router->now_ms = now_ms;
    router_reset_arena(router);
    for (size_t i = 0; i < message->n_workers; i++) {
        if (!apply_worker_health(router, message->workers[i]))
            return false;
    }
    if (message->snapshot_complete && router->health_in_snapshot) {
        if (!sweep(router, stale_health, forget_health))
            return false;
        router->health_in_snapshot = false;
        router->health_synchronised = true;
    }
    return true;
}
