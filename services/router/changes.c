/* The list of what was published, and when; see state.h. */

#include "services/router/state.h"

#include <stdlib.h>
#include <string.h>

static void link_before(struct router_change *place, struct router_change *change)
{
    change->newer = place;
    change->older = place->older;
    place->older->newer = change;
    place->older = change;
}

void router_change_unlink(struct router_change *change)
{
    if (change->newer == NULL)
        return;
    change->newer->older = change->older;
    change->older->newer = change->newer;
    change->newer = change->older = NULL;
}

void router_changes_init(struct router *router)
{
    router->changes =
        (struct router_change){.older = &router->changes, .newer = &router->changes, .kind = ROUTER_CHANGE_MARKER};
}

void router_change_publish(struct router *router, struct router_change *change, uint64_t revision)
{
    router_change_unlink(change);
    change->revision = revision & ROUTER_REVISION_MASK;
    link_before(&router->changes, change);
    router->revision = revision;
}

/* --- Removals --- */

static void append_removal(struct router *router, struct router_removal *removal)
{
    if (router->last_removal == NULL)
        router->first_removal = removal;
    else
        router->last_removal->next = removal;
    router->last_removal = removal;
    router->removal_count++;
}

void router_change_remove(struct router *router, struct router_change *change, struct router_service *service,
                          const char *worker_id, bool told)
{
    size_t id_bytes = strlen(worker_id) + 1;
    struct router_removal *removal = NULL;
    bool matters = told || change->revision != 0;
    if (matters)
        removal = malloc(sizeof(*removal) + id_bytes);
    if (removal == NULL) {
        router_change_unlink(change);
        if (matters) /* out of memory: nobody can be told of it, so everybody is told everything */
            router->forgotten = ++router->revision;
        return;
    }
    removal->change = (struct router_change){.kind = ROUTER_CHANGE_REMOVAL};
    removal->next = NULL;
    removal->service = service;
    service->removals++;
    memcpy(removal->worker_id, worker_id, id_bytes);
    if (told) {
        removal->next = router->removed;
        router->removed = removal;
    } else { /* it was published as no part of the table: that stands where it stood */
        removal->change.revision = change->revision;
        link_before(change, &removal->change);
        append_removal(router, removal);
    }
    router_change_unlink(change);
}

void router_removals_publish(struct router *router, uint64_t revision)
{
    while (router->removed != NULL) {
        struct router_removal *removal = router->removed;
        router->removed = removal->next;
        removal->next = NULL;
        router_change_publish(router, &removal->change, revision);
        append_removal(router, removal);
    }
}

static void forget_first(struct router *router)
{
    struct router_removal *removal = router->first_removal;
    struct router_service *service = removal->service;
    if (removal->change.revision > router->forgotten)
        router->forgotten = removal->change.revision;
    router->first_removal = removal->next;
    if (router->first_removal == NULL)
        router->last_removal = NULL;
    router->removal_count--;
    router_change_unlink(&removal->change);
    free(removal);
    service->removals--;
    router_service_bury(router, service);
}

void router_removals_trim(struct router *router)
{
    size_t limit = router->endpoint_count / 2;
    if (limit < ROUTER_REMOVALS_MAX)
        limit = ROUTER_REMOVALS_MAX;
    while (router->removal_count > limit)
        forget_first(router);
    for (size_t i = 0; i < ROUTER_WATCHERS_MAX; i++) {
        struct router_watcher *watcher = router->watchers[i];
        if (watcher == NULL || watcher->lost)
            continue;
        uint64_t knows = watcher->passed;
        if (watcher->in_snapshot && watcher->snapshot_revision > knows)
            knows = watcher->snapshot_revision;
        watcher->lost = knows < router->forgotten;
    }
}

void router_changes_free(struct router *router)
{
    while (router->removed != NULL) {
        struct router_removal *removal = router->removed;
        router->removed = removal->next;
        free(removal);
    }
    while (router->first_removal != NULL) {
        struct router_removal *removal = router->first_removal;
        router->first_removal = removal->next;
        free(removal);
    }
}

/* --- For tests --- */

bool router_changes_check(const struct router *router)
{
    uint64_t revision = 1;
    size_t removals = 0;
    for (const struct router_change *change = router->changes.newer; change != &router->changes;
         change = change->newer) {
        if (change->newer->older != change || change->older->newer != change)
            return false;
        if (change->kind == ROUTER_CHANGE_MARKER)
            continue;
        if (change->revision < revision || change->revision > router->revision)
            return false;
        revision = change->revision;
        removals += change->kind == ROUTER_CHANGE_REMOVAL ? 1 : 0;
    }
    for (const struct router_removal *removal = router->first_removal; removal != NULL; removal = removal->next)
        removals--;
    return removals == 0 && router->removed == NULL;
}
