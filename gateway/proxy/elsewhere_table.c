/* See elsewhere_table.h. */

#include "gateway/proxy/elsewhere_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/http/target.h"
#include "common/json/fields.h"
#include "gateway/schemas.h"

static void free_service(struct elsewhere_service *service)
{
    for (size_t i = 0; i < service->offer_count; i++) {
        free(service->offers[i].worker_id);
        free(service->offers[i].url);
    }
    free(service->offers);
    free(service);
}

void elsewhere_table_free(struct elsewhere_table *table)
{
    size_t position = 0;
    struct elsewhere_service *service;
    while ((service = map_next(&table->services, &position)) != NULL)
        free_service(service);
    map_free(&table->services);
}

const struct elsewhere_service *elsewhere_find(const struct elsewhere_table *table, const char *name, uint64_t now_ms)
{
    const struct elsewhere_service *service = map_get_text(&table->services, name);
    return service == NULL || service->until_ms <= now_ms ? NULL : service;
}

/* The one that is over first; a walk over at most ELSEWHERE_SERVICES_MAX. */
static struct elsewhere_service *find_oldest(const struct elsewhere_table *table)
{
    struct elsewhere_service *oldest = NULL;
    size_t position = 0;
    struct elsewhere_service *service;
    while ((service = map_next(&table->services, &position)) != NULL) {
        if (oldest == NULL || service->until_ms < oldest->until_ms)
            oldest = service;
    }
    return oldest;
}

static void remove_service(struct elsewhere_table *table, struct elsewhere_service *service)
{
    (void)map_remove_text(&table->services, service->name); /* it is `service` */
    free_service(service);
}

/* --- Answers --- */

/* False: memory ran out. A worker that cannot be understood is left out. */
static bool take_worker(struct elsewhere_service *service, const struct json_document *document,
                        const struct json_node *node, struct arena *arena)
{
    struct json_error error = {.message = ""};
    struct json_fields fields = json_fields_of(document, node, "", &error);
    struct http_origin origin;
    double load = 0;
    const char *id = json_fields_text(&fields, "worker_id", REQUEST_WORKER_ID_BYTES_MAX, arena);
    const char *url = json_fields_text(&fields, "tunnel_url", REQUEST_URL_BYTES_MAX, arena);
    (void)json_fields_double(&fields, "load", 0, REQUEST_LOAD_MAX, &load); /* else it stays 0 */
    if (id == NULL || id[0] == '\0' || url == NULL || !http_origin_parse((struct http_text){url, strlen(url)}, &origin))
        return !arena_failed(arena);
    struct elsewhere_offer offer = {.worker_id = strdup(id), .url = strdup(url), .load = load};
    if (offer.worker_id == NULL || offer.url == NULL) {
        free(offer.worker_id);
        free(offer.url);
        return false;
    }
    service->offers[service->offer_count++] = offer;
    return true;
}

static bool take_answer(struct elsewhere_service *service, const struct json_document *document)
{
    const struct json_node *list = json_member(document, json_root(document), "workers");
    const struct json_node *node, *key;
    uint32_t position = 0;
    struct arena arena;
    bool fine = true;
    if (list == NULL || list->type != JSON_TYPE_ARRAY)
        return false;
    size_t capacity = list->count < ELSEWHERE_WORKERS_MAX ? list->count : ELSEWHERE_WORKERS_MAX;
    service->offers = calloc(capacity + 1, sizeof *service->offers);
    if (service->offers == NULL)
        return false;
    arena_init(&arena, NULL, 0);
    while (fine && service->offer_count < capacity && (node = json_next(document, list, &position, &key)) != NULL)
        fine = take_worker(service, document, node, &arena);
    arena_free(&arena);
    return fine;
}

static bool read_answer(struct elsewhere_service *service, const char *body, size_t bytes)
{
    struct json_document document;
    bool fine = json_document_parse(&document, body, bytes) && json_root(&document)->type == JSON_TYPE_OBJECT &&
                take_answer(service, &document);
    json_document_free(&document);
    return fine;
}

bool elsewhere_put(struct elsewhere_table *table, const char *name, const char *body, size_t bytes, uint64_t until_ms)
{
    size_t name_bytes = strlen(name) + 1;
    struct elsewhere_service *service = calloc(1, sizeof *service + name_bytes);
    void *old = NULL;
    if (service == NULL)
        return false;
    memcpy(service->name, name, name_bytes);
    service->until_ms = until_ms;
    if (body != NULL && !read_answer(service, body, bytes)) {
        free_service(service);
        return false;
    }
    if (map_get_text(&table->services, name) == NULL && table->services.count == ELSEWHERE_SERVICES_MAX)
        remove_service(table, find_oldest(table));
    if (!map_put_text(&table->services, service->name, service, &old)) {
        free_service(service);
        return false;
    }
    if (old != NULL)
        free_service(old);
    return true;
}

/* --- Time --- */

bool elsewhere_expire(struct elsewhere_table *table, uint64_t now_ms)
{
    bool changed = false;
    struct elsewhere_service *oldest;
    while ((oldest = find_oldest(table)) != NULL && oldest->until_ms <= now_ms) {
        changed = changed || oldest->offer_count > 0;
        remove_service(table, oldest);
    }
    return changed;
}

uint64_t elsewhere_next_ms(const struct elsewhere_table *table)
{
    const struct elsewhere_service *oldest = find_oldest(table);
    return oldest == NULL ? UINT64_MAX : oldest->until_ms;
}

/* --- As records --- */

struct gathering {
    struct map by_id; /* struct elsewhere_worker */
    struct arena *arena;
    struct elsewhere_worker **workers;
    size_t count, most;
};

static bool add_offer(struct gathering *gathering, const struct elsewhere_service *service,
                      const struct elsewhere_offer *offer)
{
    struct elsewhere_worker *worker = map_get_text(&gathering->by_id, offer->worker_id);
    Muster__V1__AnnouncedService *announced = arena_take(gathering->arena, sizeof *announced);
    if (worker == NULL) {
        worker = arena_take(gathering->arena, sizeof *worker);
        /* Each service has a worker once at most, or the list is not as it should be: the rest is left out. */
        void *services = arena_take(gathering->arena, (gathering->most + 1) * sizeof(void *));
        if (worker == NULL || services == NULL || !map_put_text(&gathering->by_id, offer->worker_id, worker, NULL))
            return false;
        muster__v1__worker__init(&worker->record);
        muster__v1__worker_spec__init(&worker->spec);
        worker->record.spec = &worker->spec;
        worker->record.incarnation = 1;
        worker->spec.worker_id = offer->worker_id;
        worker->spec.tunnel_url = offer->url;
        worker->spec.services = services;
        worker->load = offer->load;
        gathering->workers[gathering->count++] = worker;
    }
    if (announced == NULL)
        return false;
    if (worker->spec.n_services == gathering->most)
        return true;
    muster__v1__announced_service__init(announced);
    announced->name = (char *)service->name; /* only read */
    announced->url = offer->url;
    worker->spec.services[worker->spec.n_services++] = announced;
    return true;
}

size_t elsewhere_workers(const struct elsewhere_table *table, struct arena *arena, struct elsewhere_worker ***workers)
{
    struct gathering gathering = {.arena = arena, .most = table->services.count};
    size_t position = 0, offers = 0;
    const struct elsewhere_service *service;
    bool fine = true;
    while ((service = map_next(&table->services, &position)) != NULL)
        offers += service->offer_count;
    *workers = gathering.workers = arena_take(arena, (offers + 1) * sizeof *gathering.workers);
    fine = gathering.workers != NULL;
    position = 0;
    while (fine && (service = map_next(&table->services, &position)) != NULL) {
        for (size_t i = 0; fine && i < service->offer_count; i++)
            fine = add_offer(&gathering, service, &service->offers[i]);
    }
    map_free(&gathering.by_id);
    return fine ? gathering.count : SIZE_MAX;
}
