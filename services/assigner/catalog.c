/* The services that can be assigned; see catalog.h. */

#include "services/assigner/catalog_state.h"

#include "services/assigner/catalog_default.h"

#include <stdlib.h>
#include <string.h>

struct catalog *catalog_create(size_t count)
{
    struct catalog *catalog = calloc(1, sizeof(*catalog));
    if (catalog == NULL)
        return NULL;
    size_t room = count > 0 ? count : 1;
    catalog->services = calloc(room, sizeof(*catalog->services));
    catalog->configs = calloc(room, sizeof(*catalog->configs));
    catalog->ordered = calloc(room, sizeof(*catalog->ordered));
    if (catalog->services == NULL || catalog->configs == NULL || catalog->ordered == NULL) {
        catalog_destroy(catalog);
        return NULL;
    }
    catalog->count = count;
    return catalog;
}

static void fill_config(const struct catalog_service *service, Muster__V1__ServiceConfig *config)
{
    muster__v1__service_config__init(config);
    config->name = service->name;
    config->port = service->port;
    config->priority = service->priority;
    config->n_aliases = service->alias_count;
    config->aliases = service->aliases;
    config->path = service->path;
}

/* By insertion: a catalog is short, and read when somebody edits it. */
static void insert(const struct catalog *catalog, uint32_t *numbers, size_t count, uint32_t number)
{
    uint32_t priority = catalog->services[number].priority;
    for (; count > 0 && catalog->services[numbers[count - 1]].priority > priority; count--)
        numbers[count] = numbers[count - 1];
    numbers[count] = number;
}

void catalog_complete(struct catalog *catalog)
{
    size_t ordered = 0;
    for (size_t type = 0; type < CATALOG_TYPES; type++) {
        catalog->starts[type] = ordered;
        for (uint32_t i = 0; i < catalog->count; i++) {
            if ((size_t)catalog->services[i].requires != type)
                continue;
            insert(catalog, catalog->ordered + catalog->starts[type], ordered - catalog->starts[type], i);
            ordered++;
        }
    }
    catalog->starts[CATALOG_TYPES] = ordered;
    for (size_t i = 0; i < catalog->count; i++)
        fill_config(&catalog->services[i], &catalog->configs[i]);
}

void catalog_destroy(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (size_t i = 0; i < catalog->count; i++) {
        struct catalog_service *service = &catalog->services[i];
        for (size_t k = 0; k < service->alias_count; k++)
            free(service->aliases[k]);
        free(service->aliases);
        for (size_t k = 0; k < service->pinned_count; k++)
            free(service->pinned_to[k]);
        free(service->pinned_to);
        free(service->probe.path);
        free(service->name);
        free(service->path);
    }
    free(catalog->services);
    free(catalog->configs);
    free(catalog->ordered);
    map_free(&catalog->names);
    size_t position = 0;
    struct catalog_reservation *reservation;
    while ((reservation = map_next(&catalog->reservations, &position)) != NULL) {
        free(reservation->services);
        free(reservation);
    }
    map_free(&catalog->reservations);
    free(catalog);
}

/* --- The default --- */

static bool fill_default(struct catalog *catalog, const struct catalog_default_service *defaults)
{
    for (size_t i = 0; i < catalog->count; i++) {
        struct catalog_service *service = &catalog->services[i];
        service->requires = defaults[i].requires;
        service->priority = defaults[i].priority;
        service->port = defaults[i].port;
        service->repeatable = defaults[i].repeatable;
        service->name = strdup(defaults[i].name);
        service->path = strdup(defaults[i].path);
        service->aliases = calloc(1, sizeof(char *));
        if (service->name == NULL || service->path == NULL || service->aliases == NULL ||
            !map_put_text(&catalog->names, service->name, service, NULL))
            return false;
        if (defaults[i].alias == NULL)
            continue;
        service->aliases[0] = strdup(defaults[i].alias);
        if (service->aliases[0] == NULL)
            return false;
        service->alias_count = 1;
        if (!map_put_text(&catalog->names, service->aliases[0], service, NULL))
            return false;
    }
    return true;
}

struct catalog *catalog_create_default(void)
{
    size_t count;
    const struct catalog_default_service *defaults = catalog_default_services(&count);
    struct catalog *catalog = catalog_create(count);
    if (catalog != NULL && !fill_default(catalog, defaults)) {
        catalog_destroy(catalog);
        return NULL;
    }
    if (catalog != NULL)
        catalog_complete(catalog);
    return catalog;
}

/* --- Reading it --- */

size_t catalog_count(const struct catalog *catalog)
{
    return catalog->count;
}

const struct catalog_service *catalog_at(const struct catalog *catalog, size_t number)
{
    return &catalog->services[number];
}

size_t catalog_find(const struct catalog *catalog, const char *name_or_alias)
{
    const struct catalog_service *service = map_get_text(&catalog->names, name_or_alias);
    return service == NULL ? CATALOG_NONE : (size_t)(service - catalog->services);
}

const uint32_t *catalog_of_type(const struct catalog *catalog, Muster__V1__WorkerType type, size_t *count)
{
    size_t start = catalog->starts[type];
    *count = catalog->starts[type + 1] - start;
    return catalog->ordered + start;
}

bool catalog_fits(const struct catalog_service *service, Muster__V1__WorkerType type)
{
    return service->requires == type || (type == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU &&
                                         service->requires == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
}

bool catalog_spreads(const struct catalog *catalog)
{
    return catalog->spreads;
}

void catalog_service_message(const struct catalog_service *service, Muster__V1__CatalogService *message,
                             Muster__V1__ServiceProbe *probe)
{
    muster__v1__catalog_service__init(message);
    message->name = service->name;
    message->requires = service->requires;
    message->priority = service->priority;
    message->port = service->port;
    message->n_aliases = service->alias_count;
    message->aliases = service->aliases;
    message->path = service->path;
    message->repeatable = service->repeatable;
    message->n_pinned_to = service->pinned_count;
    message->pinned_to = service->pinned_to;
    message->spread_by_location = service->spread_by_location;
    if (service->probe.path == NULL)
        return;
    muster__v1__service_probe__init(probe);
    probe->path = service->probe.path;
    probe->interval_ms = service->probe.interval_ms;
    probe->timeout_ms = service->probe.timeout_ms;
    probe->failures = service->probe.failures;
    probe->successes = service->probe.successes;
    message->probe = probe;
}

Muster__V1__ServiceConfig *catalog_config(const struct catalog *catalog, size_t number)
{
    return &catalog->configs[number];
}
