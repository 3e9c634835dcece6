/* The index of services of replica.h. A worker offers what it was assigned and what it
 * announces; an announced alias counts as the service that the catalog means by it. */

#include <stdlib.h>
#include <string.h>

#include "gateway/replica_services.h"

static const char *catalog_name(const struct replica *replica, const char *name, size_t name_bytes)
{
    const Muster__V1__CatalogService *service = map_get(&replica->aliases, name, name_bytes);
    return service == NULL ? NULL : service->name;
}

struct replica_service *replica_find_service(const struct replica *replica, const char *name, size_t name_bytes)
{
    const char *meant = catalog_name(replica, name, name_bytes);
    return meant != NULL ? map_get_text(&replica->services, meant) : map_get(&replica->services, name, name_bytes);
}

/* Where a service is remembered whose name came lately and is nobody's alias. Any place would do; names of a fleet
 * mostly differ in their length or their ends. */
static struct replica_service **recent_place(struct replica *replica, const char *name, size_t name_bytes)
{
    size_t ends = name_bytes == 0 ? 0 : (unsigned char)name[0] + 7u * (unsigned char)name[name_bytes - 1];
    return &replica->recent[(3 * name_bytes + ends) % REPLICA_RECENT_SERVICES];
}

static void free_service(struct replica *replica, struct replica_service *service)
{
    struct replica_service **recent =
        service->name != NULL ? recent_place(replica, service->name, strlen(service->name)) : NULL;
    if (recent != NULL && *recent == service)
        *recent = NULL;
    free(service->workers);
    free(service->name);
    free(service);
}

static struct replica_service *find_or_add(struct replica *replica, const char *name)
{
    const size_t name_bytes = strlen(name);
    struct replica_service **recent = recent_place(replica, name, name_bytes);
    if (*recent != NULL && strcmp((*recent)->name, name) == 0)
        return *recent;
    const char *meant = catalog_name(replica, name, name_bytes);
    if (meant != NULL)
        name = meant;
    struct replica_service *service = map_get_text(&replica->services, name);
    if (service != NULL && meant == NULL)
        *recent = service;
    if (service != NULL)
        return service;
    service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    service->name = strdup(name);
    service->coverage_told = REPLICA_COVERAGE_UNKNOWN;
    if (service->name == NULL || !map_put_text(&replica->services, service->name, service, NULL)) {
        free_service(replica, service);
        return NULL;
    }
    return service;
}

static void unsettle(struct replica *replica, struct replica_service *service)
{
    if (service->unsettled || service->catalog == NULL)
        return;
    service->unsettled = true;
    service->next_unsettled = replica->unsettled;
    replica->unsettled = service;
}

void replica_services_recount(struct replica *replica, struct replica_worker *worker)
{
    bool healthy = replica_is_healthy(worker);
    if (healthy == worker->counted_healthy)
        return;
    worker->counted_healthy = healthy;
    replica->healthy_count = healthy ? replica->healthy_count + 1 : replica->healthy_count - 1;
    for (size_t i = 0; i < worker->offer_count; i++) {
        struct replica_service *service = worker->record->offers[i].service;
        service->healthy_count = healthy ? service->healthy_count + 1 : service->healthy_count - 1;
        unsettle(replica, service);
    }
}

void replica_settle(struct replica *replica)
{
    while (replica->unsettled != NULL) {
        struct replica_service *service = replica->unsettled;
        replica->unsettled = service->next_unsettled;
        service->unsettled = false;
        struct replica_change change = {
            .type = REPLICA_COVERAGE, .service = service, .coverage_before = service->coverage_told, .reason = ""};
        service->coverage_told = service->healthy_count == 0   ? REPLICA_COVERAGE_NONE
                                 : service->healthy_count == 1 ? REPLICA_COVERAGE_ONE
                                                               : REPLICA_COVERAGE_ENOUGH;
        if (replica->observer != NULL && change.coverage_before != REPLICA_COVERAGE_UNKNOWN &&
            change.coverage_before != service->coverage_told)
            replica->observer(replica->observer_context, &change);
    }
}

/* Takes the worker of an offer out of the service's list: the last one moves to its place. */
static void leave_one(const struct replica_offer *offer)
{
    struct replica_service *service = offer->service;
    struct replica_worker *last = service->workers[--service->worker_count];
    service->workers[offer->position] = last;
    for (size_t i = 0; i < last->offer_count; i++) {
        if (last->record->offers[i].service == service)
            last->record->offers[i].position = offer->position;
    }
}

void replica_services_leave(struct replica *replica, struct replica_worker *worker)
{
    for (size_t i = 0; i < worker->offer_count; i++) {
        struct replica_service *service = worker->record->offers[i].service;
        if (worker->counted_healthy) {
            service->healthy_count--;
            unsettle(replica, service);
        }
        leave_one(&worker->record->offers[i]);
        if (service->worker_count == 0 && service->catalog == NULL) {
            (void)map_remove_text(&replica->services, service->name); /* it is `service` */
            free_service(replica, service);
        }
    }
    worker->offer_count = 0;
    if (worker->counted_healthy)
        replica->healthy_count--;
    worker->counted_healthy = false;
}

static bool join_one(struct replica *replica, struct replica_worker *worker, const char *name)
{
    struct replica_service *service = find_or_add(replica, name);
    if (service == NULL)
        return false;
    for (size_t i = 0; i < worker->offer_count; i++) {
        if (worker->record->offers[i].service == service)
            return true;
    }
    if (service->worker_count == service->worker_capacity) {
        size_t capacity = service->worker_capacity == 0 ? 4 : service->worker_capacity * 2;
        struct replica_worker **workers = realloc(service->workers, capacity * sizeof(struct replica_worker *));
        if (workers == NULL)
            return false;
        service->workers = workers;
        service->worker_capacity = capacity;
    }
    worker->record->offers[worker->offer_count++] = (struct replica_offer){service, service->worker_count};
    service->workers[service->worker_count++] = worker;
    return true;
}

bool replica_services_join(struct replica *replica, struct replica_worker *worker, const Muster__V1__Worker *record)
{
    bool fine = true;
    for (size_t i = 0; fine && i < record->n_assigned_services; i++)
        fine = join_one(replica, worker, record->assigned_services[i]);
    for (size_t i = 0; fine && i < record->spec->n_services; i++)
        fine = join_one(replica, worker, record->spec->services[i]->name);
    replica_services_recount(replica, worker);
    return fine;
}

static void free_index(struct replica *replica)
{
    size_t position = 0;
    struct replica_service *service;
    while ((service = map_next(&replica->services, &position)) != NULL)
        free_service(replica, service);
    map_free(&replica->services);
    map_free(&replica->aliases);
    replica->unsettled = NULL;
}

void replica_services_free(struct replica *replica)
{
    free_index(replica);
    if (replica->catalog != NULL)
        muster__v1__watch_catalog_response__free_unpacked(replica->catalog, NULL);
    replica->catalog = NULL;
}

bool replica_apply_catalog(struct replica *replica, const Muster__V1__WatchCatalogResponse *message)
{
    size_t bytes = muster__v1__watch_catalog_response__get_packed_size(message);
    uint8_t *packed = malloc(bytes + 1);
    if (packed == NULL)
        return false;
    muster__v1__watch_catalog_response__pack(message, packed);
    Muster__V1__WatchCatalogResponse *catalog = muster__v1__watch_catalog_response__unpack(NULL, bytes, packed);
    free(packed);
    if (catalog == NULL)
        return false;

    /* What an alias means may have changed: the whole index is made anew. */
    bool first = replica->catalog == NULL;
    for (size_t i = 0; i < replica->worker_count; i++)
        replica_services_leave(replica, replica->workers[i]);
    replica_services_free(replica);
    replica->catalog = catalog;
    bool fine = true;
    for (size_t i = 0; fine && i < catalog->n_services; i++) {
        Muster__V1__CatalogService *service = catalog->services[i];
        for (size_t j = 0; fine && j < service->n_aliases; j++)
            fine = map_put_text(&replica->aliases, service->aliases[j], service, NULL);
    }
    for (size_t i = 0; fine && i < catalog->n_services; i++) {
        struct replica_service *service = find_or_add(replica, catalog->services[i]->name);
        fine = service != NULL;
        if (fine) {
            service->catalog = catalog->services[i];
            unsettle(replica, service);
        }
    }
    for (size_t i = 0; fine && i < replica->worker_count; i++) {
        Muster__V1__Worker *record = replica_record_unpack(replica->workers[i]->record);
        fine = record != NULL && replica_services_join(replica, replica->workers[i], record);
        muster__v1__worker__free_unpacked(record, NULL);
    }
    replica->version++;
    if (!first && replica->observer != NULL)
        replica->observer(replica->observer_context,
                          &(struct replica_change){.type = REPLICA_CATALOG_CHANGED, .reason = ""});
    return fine;
}

const char *replica_service_url(const struct replica *replica, const Muster__V1__Worker *record,
                                const struct replica_service *service)
{
    const Muster__V1__WorkerSpec *spec = record->spec;
    for (size_t i = 0; i < spec->n_services; i++) {
        const Muster__V1__AnnouncedService *announced = spec->services[i];
        if (announced->url[0] != '\0' &&
            replica_find_service(replica, announced->name, strlen(announced->name)) == service)
            return announced->url;
    }
    return spec->tunnel_url;
}
