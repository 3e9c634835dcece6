/* See listed_catalog.h. */

#include "gateway/proxy/listed_catalog.h"

#include "common/json/splitter.h"
#include "common/map.h"
#include "gateway/request_json.h"
#include "services/assigner/catalog_default.h"

struct reading {
    Muster__V1__WatchCatalogResponse *catalog;
    struct arena *arena;
    struct map names; /* names and aliases, to their service */
};

/* False: memory ran out. */
static bool take_service(struct reading *reading, Muster__V1__CatalogService *service)
{
    size_t kept = 0;
    if (map_get_text(&reading->names, service->name) != NULL)
        return true;
    if (!map_put_text(&reading->names, service->name, service, NULL))
        return false;
    for (size_t i = 0; i < service->n_aliases; i++) {
        char *alias = service->aliases[i];
        if (alias[0] == '\0' || map_get_text(&reading->names, alias) != NULL)
            continue;
        if (!map_put_text(&reading->names, alias, service, NULL))
            return false;
        service->aliases[kept++] = alias;
    }
    service->n_aliases = kept;
    reading->catalog->services[reading->catalog->n_services++] = service;
    return true;
}

static bool take_element(struct reading *reading, const char *text, size_t bytes)
{
    struct json_error error = {.message = ""};
    Muster__V1__CatalogService *service = NULL;
    enum request_json_result result = listed_service_from_json(text, bytes, reading->arena, &service, &error);
    if (result == REQUEST_JSON_OK)
        return take_service(reading, service);
    return result != REQUEST_JSON_NO_MEMORY;
}

Muster__V1__WatchCatalogResponse *listed_catalog_read(const char *text, size_t bytes, struct arena *arena)
{
    struct json_splitter splitter;
    struct reading reading = {.catalog = arena_take(arena, sizeof *reading.catalog), .arena = arena};
    if (reading.catalog == NULL)
        return NULL;
    muster__v1__watch_catalog_response__init(reading.catalog);
    reading.catalog->services = arena_take(arena, LISTED_SERVICES_MAX * sizeof *reading.catalog->services);
    bool fine = reading.catalog->services != NULL;
    json_splitter_init(&splitter, "catalog", REQUEST_IMPORTED_BYTES_MAX);
    while (fine && bytes > 0 && splitter.state != JSON_SPLITTER_FAILED) {
        size_t used = json_splitter_feed(&splitter, text, bytes);
        text += used;
        bytes -= used;
        if (splitter.state == JSON_SPLITTER_ELEMENT && !splitter.too_long &&
            reading.catalog->n_services < LISTED_SERVICES_MAX)
            fine = take_element(&reading, splitter.element.data, splitter.element.bytes);
    }
    fine = fine && json_splitter_finish(&splitter);
    json_splitter_free(&splitter);
    map_free(&reading.names);
    return fine ? reading.catalog : NULL;
}

Muster__V1__WatchCatalogResponse *listed_catalog_default(struct arena *arena)
{
    size_t count;
    const struct catalog_default_service *defaults = catalog_default_services(&count);
    Muster__V1__WatchCatalogResponse *catalog = arena_take(arena, sizeof *catalog);
    Muster__V1__CatalogService *services = arena_take(arena, count * sizeof *services);
    char **aliases = arena_take(arena, count * sizeof *aliases);
    Muster__V1__CatalogService **list = arena_take(arena, count * sizeof *list);
    if (arena_failed(arena))
        return NULL;
    muster__v1__watch_catalog_response__init(catalog);
    catalog->services = list;
    catalog->n_services = count;
    for (size_t i = 0; i < count; i++) {
        Muster__V1__CatalogService *service = list[i] = &services[i];
        muster__v1__catalog_service__init(service);
        service->name = (char *)defaults[i].name; /* these texts are only read */
        service->path = (char *)defaults[i].path;
        service->requires = defaults[i].requires;
        service->priority = defaults[i].priority;
        service->port = defaults[i].port;
        service->repeatable = defaults[i].repeatable;
        aliases[i] = (char *)defaults[i].alias;
        service->aliases = &aliases[i];
        service->n_aliases = aliases[i] == NULL ? 0 : 1;
    }
    return catalog;
}
