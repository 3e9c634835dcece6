/* See federation.h. */

#include "gateway/federation/federation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/document.h"
#include "common/json/splitter.h"
#include "gateway/request_json.h"

/* Who holds a worker. */
struct holding {
    struct federation_region *region;
    int64_t registered_at_ms;
    uint64_t listing; /* in which it was seen last */
    uint64_t digest;  /* of the record that the fleet has; 0: it has none yet */
    char worker_id[];
};

void federation_init(struct federation *federation, struct replica *fleet, uint64_t seed)
{
    *federation = (struct federation){.fleet = fleet};
    random_seed(&federation->random, seed);
}

static void free_region(struct federation_region *region)
{
    free(region->url);
    free(region->location);
    free(region->capabilities);
    free(region);
}

void federation_free(struct federation *federation)
{
    size_t position = 0;
    void *value;
    while ((value = map_next(&federation->holdings, &position)) != NULL)
        free(value);
    map_free(&federation->holdings);
    position = 0;
    struct federation_region *region;
    while ((region = map_next(&federation->regions, &position)) != NULL)
        free_region(region);
    map_free(&federation->regions);
}

struct federation_region *federation_find(const struct federation *federation, const char *coordinator_id)
{
    return map_get_text(&federation->regions, coordinator_id);
}

/* --- Regions --- */

/* Takes the region's workers away that were not in the list of that number or a later one. */
static bool release_matching(struct federation *federation, const struct federation_region *region, uint64_t listing)
{
    struct holding **matches = malloc((federation->holdings.count + 1) * sizeof(struct holding *));
    if (matches == NULL)
        return false;
    size_t count = 0;
    size_t position = 0;
    struct holding *holding;
    while ((holding = map_next(&federation->holdings, &position)) != NULL) {
        if (holding->region == region && holding->listing < listing)
            matches[count++] = holding;
    }
    for (size_t i = 0; i < count; i++)
        federation_release(federation, matches[i]->worker_id);
    free(matches);
    return true;
}

/* False: it does not say where it is. */
static bool read_place(const char *capabilities, struct pool_place *place)
{
    struct json_document document;
    const struct json_node *latitude = NULL, *longitude = NULL;
    if (json_document_parse(&document, capabilities, strlen(capabilities)) &&
        json_root(&document)->type == JSON_TYPE_OBJECT) {
        latitude = json_member(&document, json_root(&document), "latitude");
        longitude = json_member(&document, json_root(&document), "longitude");
    }
    bool known = latitude != NULL && latitude->type == JSON_TYPE_NUMBER && fabs(latitude->number) <= 90 &&
                 longitude != NULL && longitude->type == JSON_TYPE_NUMBER && fabs(longitude->number) <= 180;
    if (known)
        *place = (struct pool_place){.known = true, .latitude = latitude->number, .longitude = longitude->number};
    json_document_free(&document);
    return known;
}

/* Takes over what the record says. */
static bool read_record(struct federation_region *region, const struct replica_record *packed)
{
    if (region->revision == packed->revision && region->url != NULL)
        return true;
    Muster__V1__Worker *record = replica_record_unpack(packed);
    if (record == NULL)
        return false;
    const Muster__V1__Capabilities *capabilities = record->spec->capabilities;
    char *url = strdup(record->spec->tunnel_url);
    char *location = strdup(record->spec->location);
    char *json = strdup(capabilities == NULL || capabilities->json[0] == '\0' ? "{}" : capabilities->json);
    muster__v1__worker__free_unpacked(record, NULL);
    bool complete = url != NULL && location != NULL && json != NULL;
    if (complete) {
        free(region->url);
        free(region->location);
        free(region->capabilities);
        region->url = url;
        region->location = location;
        region->capabilities = json;
        region->revision = packed->revision;
        region->place_is_own = read_place(region->capabilities, &region->place);
    } else {
        free(url);
        free(location);
        free(json);
    }
    return complete;
}

static struct federation_region *add_region(struct federation *federation, const char *id)
{
    size_t bytes = strlen(id) + 1;
    struct federation_region *region = calloc(1, sizeof *region + bytes);
    if (region == NULL)
        return NULL;
    memcpy(region->id, id, bytes);
    pool_standing_init(&region->standing);
    if (map_put_text(&federation->regions, region->id, region, NULL))
        return region;
    free(region);
    return NULL;
}

static bool remove_region(struct federation *federation, struct federation_region *region)
{
    if (!release_matching(federation, region, UINT64_MAX))
        return false;
    (void)map_remove_text(&federation->regions, region->id); /* it is `region` */
    free_region(region);
    federation->fleet->version++;
    return true;
}

/* One that is not on the roll; a map must not change while it is walked. */
static struct federation_region *find_stray(const struct federation *federation)
{
    size_t position = 0;
    struct federation_region *region;
    while ((region = map_next(&federation->regions, &position)) != NULL) {
        if (!region->on_roll && !region->asked) /* the answer of one that is asked comes back to it */
            return region;
    }
    return NULL;
}

bool federation_reconcile(struct federation *federation, const struct replica *roll)
{
    size_t position = 0;
    struct federation_region *region;
    while ((region = map_next(&federation->regions, &position)) != NULL)
        region->on_roll = false;
    for (size_t i = 0; i < roll->worker_count; i++) {
        region = federation_find(federation, roll->workers[i]->id);
        if (region == NULL)
            region = add_region(federation, roll->workers[i]->id);
        if (region == NULL || !read_record(region, roll->workers[i]->record))
            return false;
        region->on_roll = true;
    }
    while ((region = find_stray(federation)) != NULL) {
        if (!remove_region(federation, region))
            return false;
    }
    return true;
}

/* --- Lists --- */

/* FNV-1a (Fowler, Noll, Vo), 64 bits: whether a record has changed, not who made it. */
static uint64_t digest_of(const Muster__V1__Worker *record)
{
    uint8_t local[4096];
    size_t bytes = muster__v1__worker__get_packed_size(record);
    uint8_t *packed = bytes <= sizeof local ? local : malloc(bytes);
    uint64_t digest = 0xcbf29ce484222325;
    if (packed == NULL)
        return 0;
    muster__v1__worker__pack(record, packed);
    for (size_t i = 0; i < bytes; i++)
        digest = (digest ^ packed[i]) * 0x100000001b3;
    if (packed != local)
        free(packed);
    return digest == 0 ? 1 : digest;
}

static struct holding *hold(struct federation *federation, const char *worker_id)
{
    struct holding *holding = map_get_text(&federation->holdings, worker_id);
    if (holding != NULL)
        return holding;
    size_t bytes = strlen(worker_id) + 1;
    holding = calloc(1, sizeof *holding + bytes);
    if (holding == NULL)
        return NULL;
    memcpy(holding->worker_id, worker_id, bytes);
    if (map_put_text(&federation->holdings, holding->worker_id, holding, NULL))
        return holding;
    free(holding);
    return NULL;
}

/* Each worker counts for the region that holds it, and for no other. */
static void set_region(struct holding *holding, struct federation_region *region)
{
    if (holding->region == region)
        return;
    if (holding->region != NULL && region != NULL)
        holding->region->passed_over++; /* its list may have it still */
    if (holding->region != NULL)
        holding->region->worker_count--;
    if (region != NULL)
        region->worker_count++;
    holding->region = region;
}

/* Whether somebody else holds it, and rightly: it has registered there later. */
static bool is_held_elsewhere(const struct holding *holding, const struct federation_region *region,
                              int64_t registered_at_ms)
{
    return holding->region != NULL && holding->region != region && holding->registered_at_ms >= registered_at_ms;
}

static bool take_worker(struct federation *federation, struct federation_region *region,
                        const struct listed_worker *listed, uint64_t now_ms)
{
    struct replica *fleet = federation->fleet;
    struct holding *holding = hold(federation, listed->record->spec->worker_id);
    if (holding == NULL)
        return false;
    if (is_held_elsewhere(holding, region, listed->record->registered_at_ms)) {
        region->passed_over++;
        return true;
    }
    uint64_t digest = digest_of(listed->record);
    bool is_new = holding->region != region || holding->digest != digest || digest == 0;
    set_region(holding, region);
    holding->registered_at_ms = listed->record->registered_at_ms;
    if (holding->listing < federation->listing)
        holding->listing = federation->listing;
    if (is_new) {
        /* Revisions are the registry's own in its records; here they count what was read. */
        listed->record->revision = ++fleet->revision;
        fleet->coordinator = region->id;
        bool put = replica_put(fleet, listed->record);
        fleet->coordinator = NULL;
        if (!put)
            return false;
        holding->digest = digest;
    }
    Muster__V1__WatchHealthResponse health = MUSTER__V1__WATCH_HEALTH_RESPONSE__INIT;
    health.workers = (Muster__V1__WorkerHealth *[]){listed->health};
    health.n_workers = 1;
    return replica_apply_health(fleet, &health, now_ms);
}

/* False: memory ran out. */
static bool read_worker(struct federation *federation, struct federation_region *region, const char *text, size_t bytes,
                        uint64_t now_ms)
{
    struct arena arena;
    struct json_error error = {.message = ""};
    struct listed_worker *listed = NULL;
    arena_init(&arena, NULL, 0);
    enum request_json_result result = listed_worker_from_json(text, bytes, &arena, &listed, &error);
    bool fine = result != REQUEST_JSON_NO_MEMORY;
    if (result == REQUEST_JSON_OK)
        fine = take_worker(federation, region, listed, now_ms);
    arena_free(&arena);
    return fine;
}

static bool refuse_list(struct federation_region *region, const char *problem)
{
    snprintf(region->problem, sizeof region->problem, "its list of workers cannot be read: %.110s", problem);
    return false;
}

bool federation_read_list(struct federation *federation, struct federation_region *region, const char *text,
                          size_t bytes, int64_t as_of_ms, uint64_t now_ms)
{
    struct json_splitter splitter;
    bool fine = true;
    federation->listing++;
    region->passed_over = 0;
    json_splitter_init(&splitter, "workers", REQUEST_IMPORTED_BYTES_MAX);
    splitter.wanted = federation->catalog == NULL ? NULL : "catalog";
    splitter.wanted_text = federation->catalog;
    if (federation->catalog != NULL)
        buffer_clear(federation->catalog);
    while (bytes > 0 && fine && splitter.state != JSON_SPLITTER_FAILED) {
        size_t used = json_splitter_feed(&splitter, text, bytes);
        text += used;
        bytes -= used;
        if (splitter.state == JSON_SPLITTER_ELEMENT && !splitter.too_long)
            fine = read_worker(federation, region, splitter.element.data, splitter.element.bytes, now_ms);
    }
    bool whole = fine && json_splitter_finish(&splitter);
    if (!whole)
        (void)refuse_list(region, fine ? splitter.error : "out of memory");
    json_splitter_free(&splitter);
    whole = whole && release_matching(federation, region, federation->listing);
    if (whole) {
        region->listing = federation->listing;
        region->as_of_ms = as_of_ms;
        region->problem[0] = '\0';
    }
    federation->fleet->version++; /* its state is shown in the lists as well */
    return whole;
}

void federation_note_problem(struct federation *federation, struct federation_region *region, const char *problem)
{
    if (strncmp(region->problem, problem, sizeof region->problem - 1) == 0)
        return;
    snprintf(region->problem, sizeof region->problem, "%s", problem);
    federation->fleet->version++;
}

/* --- Holders --- */

struct federation_region *federation_holder(const struct federation *federation, const char *worker_id)
{
    const struct holding *holding = map_get_text(&federation->holdings, worker_id);
    return holding == NULL ? NULL : holding->region;
}

bool federation_hold(struct federation *federation, const char *worker_id, struct federation_region *region,
                     int64_t unix_ms)
{
    struct holding *holding = hold(federation, worker_id);
    if (holding == NULL)
        return false;
    if (holding->region != region)
        holding->digest = 0;
    set_region(holding, region);
    holding->registered_at_ms = unix_ms;
    /* A list that is on its way may not have it yet. */
    holding->listing = federation->listing + 1;
    return true;
}

void federation_release(struct federation *federation, const char *worker_id)
{
    struct holding *holding = map_remove_text(&federation->holdings, worker_id);
    if (holding == NULL)
        return;
    federation->released++;
    /* Without memory it stays in the lists until it is seen elsewhere. */
    (void)replica_remove(federation->fleet, holding->worker_id, ++federation->fleet->revision,
                         "its coordinator does not list it any more");
    set_region(holding, NULL);
    free(holding);
}

/* --- Choosing --- */

bool federation_may_serve(const struct replica_worker *coordinator)
{
    switch (replica_status(coordinator)) {
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE:
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED:
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING:
        return true;
    default:
        return false;
    }
}

size_t federation_pool_size(const struct federation *federation, const struct replica *roll)
{
    size_t count = 0;
    for (size_t i = 0; i < roll->worker_count; i++) {
        const struct federation_region *region = federation_find(federation, roll->workers[i]->id);
        if (federation_may_serve(roll->workers[i]) && (region == NULL || !region->standing.out))
            count++;
    }
    return count;
}

/* Whether the region has a healthy worker of the service. */
static bool offers(const struct replica_service *service, const struct federation_region *region)
{
    if (region->listing == 0)
        return true; /* nothing is known of its workers yet: it may */
    for (size_t i = 0; service != NULL && i < service->worker_count; i++) {
        const struct replica_worker *worker = service->workers[i];
        if (worker->coordinator == region->id && replica_is_healthy(worker))
            return true;
    }
    return false;
}

size_t federation_choose(struct federation *federation, const struct replica *roll, const struct pool_wish *wish,
                         const char *service, struct federation_choice *choices)
{
    size_t capacity = roll->worker_count + 1, count = 0, chosen = 0;
    struct pool_candidate *candidates = malloc(capacity * sizeof *candidates);
    const struct federation_region **regions = malloc(capacity * sizeof *regions);
    uint32_t *order = malloc(capacity * sizeof *order);
    const struct replica_service *wanted =
        service == NULL ? NULL : replica_find_service(federation->fleet, service, strlen(service));
    for (size_t i = 0; candidates != NULL && regions != NULL && i < roll->worker_count; i++) {
        const struct replica_worker *coordinator = roll->workers[i];
        const struct federation_region *region = federation_find(federation, coordinator->id);
        if (region == NULL || region->url == NULL || !federation_may_serve(coordinator))
            continue;
        regions[count] = region;
        candidates[count++] = (struct pool_candidate){
            .location = region->location,
            .place = region->place,
            .standing = &region->standing,
            .queue_depth = coordinator->queue_depth,
            .healthy = replica_status(coordinator) == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE,
            .offers = service == NULL || offers(wanted, region),
        };
    }
    if (order != NULL && count > 0 && pool_order(candidates, count, wish, &federation->random, order)) {
        for (; chosen < count && chosen < FEDERATION_CHOICES_MAX; chosen++)
            choices[chosen] = (struct federation_choice){regions[order[chosen]]->id, regions[order[chosen]]->url};
    }
    free(order);
    free(regions);
    free(candidates);
    return chosen;
}
