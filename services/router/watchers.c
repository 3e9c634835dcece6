/* The route table as messages for watchers; see router.h and struct router_change in state.h. */

#include "services/router/state.h"

#include <stdlib.h>

/* What a message says of a service. */
struct router_watch_part {
    struct router_watch_part *next;
    struct router_service *service;
    size_t endpoints, removed;
    Muster__V1__ServiceRoutes *message;
    Muster__V1__Endpoint *rest; /* memory for those of the message that were not said yet */
};

/* A piece of the list that is made a message. */
struct piece {
    struct router *router;
    const struct router_watcher *watcher;
    struct router_change *end; /* the first place behind it */
    struct router_watch_part *parts;
    size_t part_count, services_removed;
    Muster__V1__WatchRoutesResponse *response;
};

static void link_after(struct router_change *place, struct router_change *change)
{
    change->older = place;
    change->newer = place->newer;
    place->newer->older = change;
    place->newer = change;
}

/* The last place of that revision or an older one; found from the end, as watchers come back soon. */
static struct router_change *last_of(struct router *router, uint64_t revision)
{
    struct router_change *place = router->changes.older;
    while (place != &router->changes && (place->kind == ROUTER_CHANGE_MARKER || place->revision > revision))
        place = place->older;
    return place;
}

struct router_watcher *router_watcher_open(struct router *router, const Muster__V1__WatchRoutesRequest *request)
{
    size_t i = 0;
    while (i < ROUTER_WATCHERS_MAX && router->watchers[i] != NULL)
        i++;
    struct router_watcher *watcher = i == ROUTER_WATCHERS_MAX ? NULL : calloc(1, sizeof(*watcher));
    if (watcher == NULL)
        return NULL;
    router->watchers[i] = watcher;
    watcher->marker.kind = ROUTER_CHANGE_MARKER;
    uint64_t after = request->after_revision;
    bool resumes = router->ready && request->epoch == router->epoch && after > 0 && after <= router->revision &&
                   after >= router->forgotten;
    watcher->lost = !resumes;
    watcher->passed = resumes ? after : 0;
    link_after(resumes ? last_of(router, after) : &router->changes, &watcher->marker);
    return watcher;
}

void router_watcher_close(struct router *router, struct router_watcher *watcher)
{
    for (size_t i = 0; i < ROUTER_WATCHERS_MAX; i++) {
        if (router->watchers[i] == watcher)
            router->watchers[i] = NULL;
    }
    router_change_unlink(&watcher->marker);
    free(watcher);
}

static void begin_snapshot(struct router *router, struct router_watcher *watcher)
{
    router_change_unlink(&watcher->marker);
    link_after(&router->changes, &watcher->marker);
    watcher->lost = watcher->begun = false;
    watcher->in_snapshot = true;
    watcher->snapshot_revision = router->revision;
    watcher->passed = 0;
}

/* --- What is said of a place in the list --- */

enum saying { SAY_NOTHING, SAY_SERVICE, SAY_ENDPOINT, SAY_REMOVED, SAY_SERVICE_REMOVED };

static enum saying saying_of(const struct router_watcher *watcher, const struct router_change *change)
{
    const struct router_removal *removal = (const struct router_removal *)change;
    bool snapshot_lacks_it = watcher->in_snapshot && change->revision <= watcher->snapshot_revision;
    switch (change->kind) {
    case ROUTER_CHANGE_SERVICE:
        return SAY_SERVICE;
    case ROUTER_CHANGE_ENDPOINT:
        if (((const struct router_endpoint *)change)->in_table)
            return SAY_ENDPOINT;
        return snapshot_lacks_it ? SAY_NOTHING : SAY_REMOVED;
    case ROUTER_CHANGE_REMOVAL:
        if (snapshot_lacks_it)
            return SAY_NOTHING;
        if (removal->worker_id[0] == 0)
            return SAY_SERVICE_REMOVED;
        return removal->service->gone ? SAY_NOTHING : SAY_REMOVED; /* that it is gone is said further on */
    default:
        return SAY_NOTHING;
    }
}

static struct router_service *service_of(struct router_change *change)
{
    switch (change->kind) {
    case ROUTER_CHANGE_SERVICE:
        return (struct router_service *)change;
    case ROUTER_CHANGE_ENDPOINT:
        return ((struct router_endpoint *)change)->service;
    default:
        return ((struct router_removal *)change)->service;
    }
}

/* --- Filling --- */

static struct router_watch_part *get_part(struct piece *piece, struct router_service *service)
{
    if (service->part != NULL)
        return service->part;
    struct router_watch_part *part = arena_take(&piece->router->arena, sizeof(*part));
    if (part == NULL)
        return NULL;
    part->service = service;
    part->next = piece->parts;
    piece->parts = part;
    piece->part_count++;
    return service->part = part;
}

/* Goes on from the watcher's place until the message is long enough, and counts. False: out of memory. */
static bool measure(struct piece *piece)
{
    struct router *router = piece->router;
    size_t said = 0, seen = 0;
    struct router_change *change = piece->watcher->marker.newer;
    for (; change != &router->changes && said < ROUTER_PIECE_CHANGES && seen < ROUTER_PIECE_LOOKS;
         change = change->newer, seen++) {
        enum saying saying = saying_of(piece->watcher, change);
        if (saying == SAY_NOTHING)
            continue;
        said++;
        if (saying == SAY_SERVICE_REMOVED) {
            piece->services_removed++;
            continue;
        }
        struct router_watch_part *part = get_part(piece, service_of(change));
        if (part == NULL)
            return false;
        part->endpoints += saying == SAY_ENDPOINT ? 1 : 0;
        part->removed += saying == SAY_REMOVED ? 1 : 0;
    }
    piece->end = change;
    return true;
}

static void begin_service(struct piece *piece, struct router_watch_part *part)
{
    struct arena *arena = &piece->router->arena;
    const struct router_service *service = part->service;
    Muster__V1__ServiceRoutes *message = arena_take(arena, sizeof(*message));
    part->message = message;
    if (message == NULL)
        return;
    muster__v1__service_routes__init(message);
    message->service = service->name;
    message->n_aliases = service->alias_count;
    message->aliases = service->aliases;
    message->path = service->path == NULL ? (char *)(uintptr_t) "" : service->path; /* read only */
    message->requires = service->required;
    message->repeatable = service->repeatable;
    message->endpoints = arena_take(arena, part->endpoints * sizeof(*message->endpoints));
    part->rest = arena_take(arena, part->endpoints * sizeof(*part->rest));
    message->removed_worker_ids = arena_take(arena, part->removed * sizeof(char *));
    piece->response->services[piece->response->n_services++] = message;
}

static void say_endpoint(const struct router_endpoint *endpoint)
{
    struct router_watch_part *part = endpoint->service->part;
    Muster__V1__ServiceRoutes *message = part->message;
    Muster__V1__Endpoint *one = part->rest++;
    muster__v1__endpoint__init(one);
    one->worker_id = (char *)(uintptr_t)endpoint->worker->id;    /* read only */
    one->url = (char *)(uintptr_t)router_endpoint_url(endpoint); /* read only */
    one->weight = endpoint->weight;
    one->priority = endpoint->priority;
    one->worker_type = endpoint->worker->type;
    message->endpoints[message->n_endpoints++] = one;
}

static void say(struct piece *piece, struct router_change *change)
{
    Muster__V1__WatchRoutesResponse *response = piece->response;
    const struct router_removal *removal = (const struct router_removal *)change;
    switch (saying_of(piece->watcher, change)) {
    case SAY_ENDPOINT:
        say_endpoint((const struct router_endpoint *)change);
        break;
    case SAY_REMOVED: {
        Muster__V1__ServiceRoutes *message = service_of(change)->part->message;
        const char *id = change->kind == ROUTER_CHANGE_ENDPOINT ? ((const struct router_endpoint *)change)->worker->id
                                                                : removal->worker_id;
        message->removed_worker_ids[message->n_removed_worker_ids++] = (char *)(uintptr_t)id; /* read only */
        break;
    }
    case SAY_SERVICE_REMOVED:
        response->removed_services[response->n_removed_services++] = removal->service->name;
        break;
    default:
        break;
    }
}

static bool fill(struct piece *piece)
{
    struct arena *arena = &piece->router->arena;
    Muster__V1__WatchRoutesResponse *response = piece->response;
    bool measured = measure(piece);
    if (measured) {
        response->services = arena_take(arena, piece->part_count * sizeof(*response->services));
        response->removed_services = arena_take(arena, piece->services_removed * sizeof(char *));
    }
    for (struct router_watch_part *part = piece->parts; part != NULL && !arena_failed(arena); part = part->next)
        begin_service(piece, part);
    for (struct router_change *change = piece->watcher->marker.newer;
         measured && !arena_failed(arena) && change != piece->end; change = change->newer)
        say(piece, change);
    for (struct router_watch_part *part = piece->parts; part != NULL; part = part->next)
        part->service->part = NULL;
    return measured && !arena_failed(arena);
}

/* The watcher has been sent everything that stands before `place`. */
static void move_to(struct router *router, struct router_watcher *watcher, struct router_change *place)
{
    router_change_unlink(&watcher->marker);
    link_after(place->older, &watcher->marker);
    while (place != &router->changes && place->kind == ROUTER_CHANGE_MARKER)
        place = place->newer;
    watcher->passed = place == &router->changes ? router->revision : place->revision - 1;
}

bool router_watcher_fill(struct router *router, struct router_watcher *watcher,
                         Muster__V1__WatchRoutesResponse *response)
{
    if (!router->ready)
        return false;
    if (watcher->lost)
        begin_snapshot(router, watcher);
    else if (!watcher->in_snapshot && watcher->passed == router->revision)
        return false;
    router_reset_arena(router);
    muster__v1__watch_routes_response__init(response);
    struct piece piece = {.router = router, .watcher = watcher, .response = response};
    /* Out of memory: nothing is sent now; the watcher still lacks it, and is tried again. */
    if (!fill(&piece))
        return false;
    move_to(router, watcher, piece.end);
    response->epoch = router->epoch;
    response->snapshot = watcher->in_snapshot && !watcher->begun;
    watcher->begun = true;
    if (watcher->in_snapshot && watcher->passed == router->revision) {
        response->snapshot_complete = true;
        watcher->in_snapshot = false;
    }
    response->revision = watcher->in_snapshot ? 0 : watcher->passed;
    return true;
}
