/* See pick_group.h. */

#include "gateway/pick_group.h"

#include <stdlib.h>
#include <string.h>

/* --- Endpoints --- */

static struct pick_endpoint *create_endpoint(const char *worker_id, const char *url)
{
    size_t id_bytes = strlen(worker_id) + 1, url_bytes = strlen(url) + 1;
    struct pick_endpoint *endpoint = malloc(sizeof *endpoint + id_bytes + url_bytes);
    if (endpoint == NULL)
        abort();
    atomic_init(&endpoint->references, 1);
    memcpy(endpoint->worker_id, worker_id, id_bytes);
    memcpy(endpoint->worker_id + id_bytes, url, url_bytes);
    return endpoint;
}

const char *pick_endpoint_worker(const struct pick_endpoint *endpoint)
{
    return endpoint->worker_id;
}

const char *pick_endpoint_url(const struct pick_endpoint *endpoint)
{
    return endpoint->worker_id + strlen(endpoint->worker_id) + 1;
}

struct pick_endpoint *pick_endpoint_reference(const struct pick_endpoint *endpoint)
{
    struct pick_endpoint *counted = (struct pick_endpoint *)endpoint; /* only the count changes */
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return counted;
}

void pick_endpoint_release(struct pick_endpoint *endpoint)
{
    if (endpoint != NULL && atomic_fetch_sub_explicit(&endpoint->references, 1, memory_order_acq_rel) == 1)
        free(endpoint);
}

static void release_endpoint(void *endpoint)
{
    pick_endpoint_release(endpoint);
}

/* --- Places --- */

uint32_t pick_group_hash(const char *worker_id)
{
    return map_hash(worker_id, strlen(worker_id));
}

/* The number of the place where a hash belongs. */
static uint32_t home_of(const struct pick_group *group, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * group->place_count >> 32);
}

static uint32_t next_of(const struct pick_group *group, uint32_t i)
{
    return i + 1 == group->place_count ? 0 : i + 1;
}

void pick_group_expect(const struct pick_group *group, uint32_t hash)
{
    __builtin_prefetch(&group->places[home_of(group, hash)], 1);
}

static struct pick_place *put_place(struct pick_group *group, struct pick_place place)
{
    uint32_t i = home_of(group, place.hash);
    while (group->places[i].number != 0)
        i = next_of(group, i);
    group->places[i] = place;
    return &group->places[i];
}

/* At most three quarters are taken: probes stay short. */
static struct pick_place *add_place(struct pick_group *group, struct pick_place place)
{
    struct pick_group old = *group;
    if (group->endpoints.count >= old.place_count / 4 * 3) {
        group->place_count += old.place_count / 2 + 4;
        group->places = pick_allocate(group->place_count * sizeof *group->places);
        for (uint32_t i = 0; i < old.place_count; i++) {
            if (old.places[i].number != 0)
                (void)put_place(group, old.places[i]); /* it is nobody's yet */
        }
        free(old.places);
    }
    return put_place(group, place);
}

/* How many places it is from one to the other, forwards. */
static uint32_t distance(const struct pick_group *group, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + (group->place_count - from);
}

static void remove_place(struct pick_group *group, struct pick_place *place)
{
    /* Knuth's algorithm R: those behind the hole move into it unless that would put them before their home. */
    uint32_t hole = (uint32_t)(place - group->places);
    for (uint32_t i = next_of(group, hole); group->places[i].number != 0; i = next_of(group, i)) {
        if (distance(group, home_of(group, group->places[i].hash), i) >= distance(group, hole, i)) {
            group->places[hole] = group->places[i];
            hole = i;
        }
    }
    group->places[hole].number = 0;
}

/* Of the endpoint with this index. */
static struct pick_place *place_of(const struct pick_group *group, size_t index)
{
    const struct pick_endpoint *endpoint = pick_array_at(&group->endpoints, index).item;
    uint32_t i = home_of(group, pick_group_hash(endpoint->worker_id));
    while (group->places[i].number != index + 1)
        i = next_of(group, i);
    return &group->places[i];
}

/* --- The group --- */

static struct pick_entry entry_in(const struct pick_group *group, const struct pick_place *place)
{
    return pick_array_at(&group->endpoints, place->number - 1);
}

static bool has_url(struct pick_entry entry, const char *url)
{
    return strcmp(pick_endpoint_url(entry.item), url) == 0;
}

struct pick_place *pick_group_find(const struct pick_group *group, const char *worker_id, uint32_t hash)
{
    struct pick_place *place;
    for (uint32_t i = home_of(group, hash); (place = &group->places[i])->number != 0; i = next_of(group, i)) {
        if (place->hash == hash && strcmp(pick_endpoint_worker(entry_in(group, place).item), worker_id) == 0)
            return place;
    }
    return NULL;
}

bool pick_group_has(const struct pick_group *group, const struct pick_place *place, const char *url, uint32_t weight)
{
    struct pick_entry entry = entry_in(group, place);
    return entry.weight == weight && has_url(entry, url);
}

void pick_group_put(struct pick_group *group, const struct pick_edit *edit, struct pick_place *place, uint32_t hash,
                    const char *worker_id, const char *url, uint32_t weight)
{
    struct pick_entry old = {NULL, 0};
    if (place != NULL)
        old = entry_in(group, place);
    else
        place = add_place(group, (struct pick_place){.hash = hash, .number = (group->endpoints.count + 1) & INT32_MAX});
    place->named = true;
    void *item = old.item != NULL && has_url(old, url) ? old.item : create_endpoint(worker_id, url);
    pick_array_put(&group->endpoints, edit, place->number - 1, item, weight);
    if (old.item != NULL && old.item != item)
        pick_discard(edit, release_endpoint, old.item);
}

void pick_group_remove(struct pick_group *group, const struct pick_edit *edit, struct pick_place *place)
{
    uint32_t last = group->endpoints.count - 1;
    pick_discard(edit, release_endpoint, entry_in(group, place).item);
    if (place->number != last + 1) {
        struct pick_entry moved = pick_array_at(&group->endpoints, last);
        place_of(group, last)->number = place->number;
        pick_array_put(&group->endpoints, edit, place->number - 1, moved.item, moved.weight);
    }
    pick_array_pop(&group->endpoints, edit);
    remove_place(group, place);
}

void pick_group_forget_names(const struct pick_group *group)
{
    for (uint32_t i = 0; i < group->place_count; i++)
        group->places[i].named = false;
}

void pick_group_sweep(struct pick_group *group, const struct pick_edit *edit)
{
    for (uint32_t i = 0; i < group->place_count;) {
        struct pick_place *place = &group->places[i];
        if (place->number != 0 && !place->named)
            pick_group_remove(group, edit, place); /* another may have come to this place */
        else
            i++;
    }
}

void pick_group_discard(const struct pick_group *group, const struct pick_edit *edit)
{
    for (size_t i = 0; i < group->endpoints.count; i++)
        pick_discard(edit, release_endpoint, pick_array_at(&group->endpoints, i).item);
    pick_array_discard(&group->endpoints, edit);
    free(group->places);
}

/* --- For tests --- */

bool pick_group_check(const struct pick_group *group, bool is_newest)
{
    if (group->endpoints.count == 0 || !pick_array_check(&group->endpoints))
        return false;
    size_t taken = 0;
    for (uint32_t i = 0; is_newest && i < group->place_count; i++) {
        const struct pick_place *place = &group->places[i];
        if (place->number == 0)
            continue;
        const char *id =
            place->number > group->endpoints.count ? "" : pick_endpoint_worker(entry_in(group, place).item);
        if (place->hash != pick_group_hash(id) || pick_group_find(group, id, place->hash) != place)
            return false;
        taken++;
    }
    return !is_newest || taken == group->endpoints.count;
}
