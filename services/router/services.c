/* Services: the catalog, and names; see router.h. */

#include "services/router/state.h"

#include <stdlib.h>
#include <string.h>

/* --- Services and their names --- */

struct router_service *router_service_find(const struct router *router, const char *name_or_alias)
{
    struct router_service *service = map_get_text(&router->names, name_or_alias);
    return service == NULL || service->gone ? NULL : service;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void router_service_free(struct router_service *service)
{
    free_texts(service->aliases, service->alias_count);
    free(service->path);
    free(service->probing.path);
    free(service->endpoints);
    free(service->name);
    free(service);
}

void router_service_alter(struct router *router, struct router_service *service, bool urgent)
{
    router->urgent_service = router->urgent_service || urgent;
    if (!service->altered) {
        service->altered = true;
        service->next_altered = router->altered;
        router->altered = service;
    }
    if (router->publish_at_ms == UINT64_MAX)
        router->publish_at_ms = router->now_ms + ROUTER_GATHER_MS;
}

/* NULL: out of memory. */
static struct router_service *add_service(struct router *router, const char *name)
{
    struct router_service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return NULL;
    service->change.kind = ROUTER_CHANGE_SERVICE;
    service->name = strdup(name);
    if (service->name == NULL || !map_put_text(&router->services, service->name, service, NULL)) {
        router_service_free(service);
        return NULL;
    }
    service->described = true;
    router_service_alter(router, service, false);
    return service;
}

struct router_service *router_service_get(struct router *router, const char *name)
{
    struct router_service *service = map_get_text(&router->names, name);
    bool is_named = service != NULL;
    if (!is_named)
        service = map_get_text(&router->services, name);
    if (service == NULL)
        service = add_service(router, name);
    if (service == NULL)
        return NULL;
    if (service->gone) {
        service->gone = false;
        router->gone_count--;
        service->described = true;
        router_service_alter(router, service, false);
    }
    if (!is_named && !map_put_text(&router->names, service->name, service, NULL))
        return NULL;
    return service;
}

void router_service_forget_recent(struct router *router)
{
    for (size_t i = 0; i < ROUTER_RECENT; i++)
        router->recent[i].service = NULL;
}

void router_service_bury(struct router *router, struct router_service *service)
{
    if (!service->gone || service->removals > 0 || service->altered)
        return;
    if (map_get_text(&router->names, service->name) == service)
        map_remove_text(&router->names, service->name);
    map_remove_text(&router->services, service->name);
    router->gone_count--;
    router_service_forget_recent(router);
    router_service_free(service);
}

/* --- Publishing --- */

void router_services_publish(struct router *router, uint64_t revision)
{
    while (router->altered != NULL) {
        struct router_service *service = router->altered;
        router->altered = service->next_altered;
        bool described = service->described;
        service->altered = service->described = false;
        if (service->endpoint_count > 0 || service->in_catalog) {
            if (described)
                router_change_publish(router, &service->change, revision);
        } else if (!service->gone) {
            service->gone = true;
            router->gone_count++;
            router_change_remove(router, &service->change, service, "", service->change.revision != 0);
            router_service_bury(router, service); /* frees one that nobody was told of */
        }
    }
    router->urgent_service = false;
    router_removals_publish(router, revision);
}

/* --- The catalog --- */

/* Whether this is the catalog that is known already; remembers it if not. */
static bool catalog_is_known(struct router *router, const Muster__V1__WatchCatalogResponse *message,
                             bool *out_of_memory)
{
    size_t bytes = muster__v1__watch_catalog_response__get_packed_size(message);
    uint8_t *packed = malloc(bytes + 1);
    *out_of_memory = packed == NULL;
    if (packed == NULL)
        return false;
    muster__v1__watch_catalog_response__pack(message, packed);
    if (router->catalog_known && bytes == router->catalog_bytes && memcmp(packed, router->catalog, bytes) == 0) {
        free(packed);
        return true;
    }
    free(router->catalog);
    router->catalog = packed;
    router->catalog_bytes = bytes;
    return false;
}

static bool take_probing(struct router_probing *probing, const Muster__V1__ServiceProbe *probe)
{
    if (probe == NULL || probe->path[0] == 0 || probe->interval_ms == 0)
        return true;
    *probing = (struct router_probing){strdup(probe->path), probe->interval_ms, probe->timeout_ms, probe->failures,
                                       probe->successes};
    return probing->path != NULL;
}

static bool take_catalog_service(struct router *router, const Muster__V1__CatalogService *entry)
{
    struct router_service *service = router_service_get(router, entry->name);
    if (service == NULL)
        return false;
    service->in_catalog = true;
    service->required = entry->requires;
    service->repeatable = entry->repeatable;
    if (!take_probing(&service->probing, entry->probe))
        return false;
    service->path = strdup(entry->path);
    service->aliases = calloc(entry->n_aliases + 1, sizeof(char *));
    if (service->path == NULL || service->aliases == NULL)
        return false;
    for (size_t i = 0; i < entry->n_aliases; i++) {
        char *alias = strdup(entry->aliases[i]);
        if (alias == NULL)
            return false;
        service->aliases[service->alias_count++] = alias;
        /* A service's own name goes before another's alias; the assigner refuses such catalogs. */
        if (map_get_text(&router->names, alias) == NULL && !map_put_text(&router->names, alias, service, NULL))
            return false;
    }
    return true;
}

bool router_apply_catalog(struct router *router, const Muster__V1__WatchCatalogResponse *message, uint64_t now_ms)
{
    bool out_of_memory;
    router->now_ms = now_ms;
    router_reset_arena(router);
    if (catalog_is_known(router, message, &out_of_memory) || out_of_memory)
        return !out_of_memory;
    router->catalog_known = false; /* until all of it is applied */

    map_free(&router->names);
    router_service_forget_recent(router);
    size_t position = 0;
    for (struct router_service *service; (service = map_next(&router->services, &position)) != NULL;) {
        free_texts(service->aliases, service->alias_count);
        free(service->path);
        service->aliases = NULL;
        service->alias_count = 0;
        service->path = NULL;
        free(service->probing.path);
        service->probing = (struct router_probing){.path = NULL};
        service->in_catalog = service->repeatable = false;
        service->required = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED;
        service->described = true;
        router_service_alter(router, service, true);
    }
    bool done = true;
    for (size_t i = 0; i < message->n_services && done; i++)
        done = router_service_get(router, message->services[i]->name) != NULL;
    for (size_t i = 0; i < message->n_services && done; i++)
        done = take_catalog_service(router, message->services[i]);
    position = 0;
    for (struct router_worker *worker; (worker = map_next(&router->workers, &position)) != NULL;)
        done = router_endpoints_set(router, worker, worker->texts, false) && done;
    if (router->ready)
        router->publish_at_ms = now_ms; /* old names go and new ones come together */
    router->catalog_known = done;
    return done;
}
