/* The choice of pick.h. */

#include <stdlib.h>
#include <string.h>

#include "gateway/pick_service.h"

/* A draw that hits an endpoint that must not be chosen is repeated this often before they are
 * looked at one by one. */
#define DRAWS_MAX 8

struct pick_worker {
    uint32_t in_flight;
    uint64_t skip_until_ms;
    char id[];
};

struct choice {
    const struct pick_state *state;
    const char *const *excluded_ids;
    size_t excluded_count;
    uint64_t now_ms;
    bool take_skipped; /* those that could not be reached a moment ago, too */
};

void pick_state_init(struct pick_state *state, uint64_t seed)
{
    *state = (struct pick_state){.workers = MAP_INIT};
    random_seed(&state->random, seed);
}

void pick_state_free(struct pick_state *state)
{
    size_t position = 0;
    struct pick_worker *worker;
    while ((worker = map_next(&state->workers, &position)) != NULL)
        free(worker);
    map_free(&state->workers);
}

static bool may_be_chosen(const struct choice *choice, struct pick_entry entry)
{
    const char *id = ((const struct pick_endpoint *)entry.item)->worker_id;
    for (size_t i = 0; i < choice->excluded_count; i++) {
        if (strcmp(choice->excluded_ids[i], id) == 0)
            return false;
    }
    if (choice->take_skipped || choice->state->workers.count == 0)
        return true;
    const struct pick_worker *worker = map_get_text(&choice->state->workers, id);
    return worker == NULL || worker->skip_until_ms <= choice->now_ms;
}

/* By weight among those that may be chosen, looking at each; of a large group at a part of it that
 * begins anywhere. */
static struct pick_entry draw_slowly(const struct choice *choice, const struct pick_array *endpoints,
                                     struct random *random)
{
    struct pick_entry drawn = {NULL, 0};
    uint64_t weight_sum = 0;
    size_t count = endpoints->count;
    size_t looked_at = count < PICK_LOOK_MAX ? count : PICK_LOOK_MAX;
    size_t first = looked_at < count ? (size_t)random_below(random, count) : 0;
    for (size_t i = 0; i < looked_at; i++) {
        struct pick_entry entry = pick_array_at(endpoints, (first + i) % count);
        if (!may_be_chosen(choice, entry))
            continue;
        weight_sum += entry.weight;
        if (random_below(random, weight_sum) < entry.weight)
            drawn = entry;
    }
    return drawn;
}

/* No item: there is none to choose. */
static struct pick_entry draw(const struct choice *choice, const struct pick_array *endpoints, struct random *random)
{
    for (int i = 0; i < DRAWS_MAX; i++) {
        struct pick_entry entry = pick_array_draw(endpoints, random_below(random, endpoints->weight));
        if (may_be_chosen(choice, entry))
            return entry;
    }
    return draw_slowly(choice, endpoints, random);
}

uint32_t pick_in_flight(const struct pick_state *state, const char *worker_id)
{
    const struct pick_worker *worker = map_get_text(&state->workers, worker_id);
    return worker == NULL ? 0 : worker->in_flight;
}

static const struct pick_endpoint *choose_in_group(const struct choice *choice, const struct pick_array *endpoints,
                                                   struct random *random)
{
    struct pick_entry first = draw(choice, endpoints, random);
    if (first.item == NULL || endpoints->count == 1)
        return first.item;
    struct pick_entry second = draw(choice, endpoints, random);
    if (second.item == NULL || second.item == first.item)
        return first.item;
    /* in_flight / weight, compared without dividing. With equal loads the first one stays, so
     * that an idle fleet gets requests by weight. */
    uint64_t first_load = (uint64_t)pick_in_flight(choice->state, pick_endpoint_worker(first.item)) * second.weight;
    uint64_t second_load = (uint64_t)pick_in_flight(choice->state, pick_endpoint_worker(second.item)) * first.weight;
    return second_load < first_load ? second.item : first.item;
}

const struct pick_endpoint *pick_choose(struct pick_state *state, const struct pick_service *service,
                                        const char *const *excluded_ids, size_t excluded_count, uint64_t now_ms)
{
    struct choice choice = {
        .state = state, .excluded_ids = excluded_ids, .excluded_count = excluded_count, .now_ms = now_ms};
    for (int pass = 0; pass < 2; pass++) {
        choice.take_skipped = pass == 1;
        for (size_t i = 0; i < service->group_count; i++) {
            const struct pick_endpoint *endpoint =
                choose_in_group(&choice, &service->groups[i].endpoints, &state->random);
            if (endpoint != NULL)
                return endpoint;
        }
    }
    return NULL;
}

/* NULL when memory ran out: the worker then counts as idle, which does no harm. */
static struct pick_worker *remember(struct pick_state *state, const char *worker_id)
{
    struct pick_worker *worker = map_get_text(&state->workers, worker_id);
    if (worker != NULL)
        return worker;
    size_t bytes = strlen(worker_id) + 1;
    worker = calloc(1, sizeof *worker + bytes);
    if (worker == NULL)
        return NULL;
    memcpy(worker->id, worker_id, bytes);
    if (!map_put_text(&state->workers, worker->id, worker, NULL)) {
        free(worker);
        return NULL;
    }
    return worker;
}

void pick_begin(struct pick_state *state, const char *worker_id)
{
    struct pick_worker *worker = remember(state, worker_id);
    if (worker != NULL)
        worker->in_flight++;
}

void pick_end(struct pick_state *state, const char *worker_id, bool unreachable, uint64_t now_ms)
{
    struct pick_worker *worker = map_get_text(&state->workers, worker_id);
    if (worker == NULL)
        return;
    if (worker->in_flight > 0)
        worker->in_flight--;
    worker->skip_until_ms = unreachable ? now_ms + PICK_SKIP_MS : 0;
}

void pick_state_sweep(struct pick_state *state, uint64_t now_ms)
{
    /* The map must not change while it is walked: collect, then remove. */
    struct pick_worker **idle = malloc((state->workers.count + 1) * sizeof(struct pick_worker *));
    if (idle == NULL)
        return; /* next time */
    size_t count = 0;
    size_t position = 0;
    struct pick_worker *worker;
    while ((worker = map_next(&state->workers, &position)) != NULL) {
        if (worker->in_flight == 0 && worker->skip_until_ms <= now_ms)
            idle[count++] = worker;
    }
    for (size_t i = 0; i < count; i++) {
        (void)map_remove_text(&state->workers, idle[i]->id); /* it is idle[i] */
        free(idle[i]);
    }
    free(idle);
}
