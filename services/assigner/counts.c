/* How many workers serve each service, counted as they come and go; see state.h. */

#include "services/assigner/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void assigner_free_values(struct map *map)
{
    size_t position = 0;
    void *value;
    while ((value = map_next(map, &position)) != NULL)
        free(value);
    map_free(map);
}

#define LOCATED_KEY_BYTES 1024

static void write_located_key(char key[LOCATED_KEY_BYTES], size_t number, const char *location)
{
    /* A location has at most 256 bytes (the registry's limit); a longer one would share a count. */
    snprintf(key, LOCATED_KEY_BYTES, "%zu %s", number, location);
}

static uint32_t count_located(const struct assigner *assigner, size_t number, const char *location)
{
    char key[LOCATED_KEY_BYTES];
    write_located_key(key, number, location);
    const struct located *located = map_get_text(&assigner->counts.located, key);
    return located == NULL ? 0 : located->workers;
}

uint32_t assigner_workers_at(const struct assigner *assigner, size_t number, const char *location)
{
    return location[0] == '\0' ? 0 : count_located(assigner, number, location);
}

/* Without memory a worker is not counted: a service is then spread less well, and nothing else. */
static void change_located(struct assigner *assigner, size_t number, const char *location, uint32_t change)
{
    struct map *map = &assigner->counts.located;
    char key[LOCATED_KEY_BYTES];
    write_located_key(key, number, location);
    struct located *located = map_get_text(map, key);
    if (located == NULL && change == IN) {
        located = calloc(1, sizeof(*located) + strlen(key) + 1);
        if (located == NULL)
            return;
        memcpy(located->key, key, strlen(key) + 1);
        if (!map_put_text(map, located->key, located, NULL)) {
            free(located);
            return;
        }
    }
    if (located == NULL)
        return;
    located->workers += change;
    if (located->workers == 0)
        free(map_remove_text(map, key));
}

/* Adds `change` (1, or -1 modulo 2^32) to the table's number of each service that the member
 * serves. One that it both announces and was assigned, or announces under two names, counts
 * once, and one of which it says that it is unavailable not at all. With a location, there as well; into the table of
 * healthy ones, the load too. */
static void count_services(struct assigner *assigner, const struct member *member, uint32_t *table,
                           const char *location, uint32_t change)
{
    if (++assigner->seen_number == 0) {
        memset(assigner->seen, 0, catalog_count(assigner->catalog) * sizeof(*assigner->seen));
        assigner->seen_number = 1;
    }
    for (uint32_t i = 0; i < member->name_count; i++) {
        size_t number = member_number(member, i);
        if (number == CATALOG_NONE || assigner->seen[number] == assigner->seen_number)
            continue;
        assigner->seen[number] = assigner->seen_number;
        if (condition_is_unavailable(member, i)) {
            if (table == assigner->counts.healthy)
                assigner->counts.failing[number] += change;
            continue;
        }
        table[number] += change;
        if (table == assigner->counts.healthy && condition_is_able(member, i))
            assigner->counts.able[number] += change;
        if (table == assigner->counts.healthy && member->says_load) {
            struct load_sums load = balance_load(assigner, member), *sums = &assigner->counts.load[number];
            assigner->counts.loaded[number] += change;
            sums->busy += change == IN ? load.busy : -load.busy;
            sums->idle += change == IN ? load.idle : -load.idle;
        }
        if (location != NULL && catalog_at(assigner->catalog, number)->spread_by_location)
            change_located(assigner, number, location, change);
    }
}

static void count_expected(struct assigner *assigner, const struct member *member, uint32_t change)
{
    if (!member_is_expected(member))
        return;
    const char *location = catalog_spreads(assigner->catalog) ? member_location(member) : "";
    assigner->counts.by_type[member->type] += change;
    count_services(assigner, member, assigner->counts.expected, location[0] == '\0' ? NULL : location, change);
}

void assigner_count(struct assigner *assigner, struct known known, uint32_t change)
{
    const struct member *expected = known.promise != NULL ? known.promise : known.record;
    if (expected != NULL)
        count_expected(assigner, expected, change);
    if (known.record != NULL && member_is_healthy(known.record))
        count_services(assigner, known.record, assigner->counts.healthy, NULL, change);
}

static void count_all(struct assigner *assigner)
{
    size_t position = 0;
    struct member *found;
    while ((found = map_next(&assigner->roll, &position)) != NULL)
        assigner_count(assigner, known_of(found), IN);
}

void assigner_recount(struct assigner *assigner)
{
    struct counts *counts = &assigner->counts;
    size_t count = catalog_count(assigner->catalog);
    for (size_t i = 0; i < count; i++) {
        counts->expected[i] = counts->healthy[i] = counts->able[i] = counts->failing[i] = counts->loaded[i] = 0;
        counts->load[i] = (struct load_sums){0, 0};
    }
    memset(counts->by_type, 0, sizeof(counts->by_type));
    assigner_free_values(&counts->located);
    count_all(assigner);
}

/* --- Checking --- */

static bool has_same_located(const struct map *a, const struct map *b)
{
    size_t position = 0;
    const struct located *one, *other;
    while ((one = map_next(a, &position)) != NULL) {
        other = map_get_text(b, one->key);
        if (other == NULL || other->workers != one->workers)
            return false;
    }
    return a->count == b->count;
}

/* What the assigner knows of its roll as a whole. */
struct totals {
    size_t records, promises, swapping;
};

static struct totals count_totals(const struct assigner *assigner)
{
    struct totals totals = {0, 0, 0};
    size_t position = 0;
    struct member *found;
    while ((found = map_next(&assigner->roll, &position)) != NULL) {
        struct known known = known_of(found);
        totals.records += known.record != NULL;
        totals.promises += known.promise != NULL;
        totals.swapping += known.record != NULL && known.record->swap_to != NAME_NONE;
    }
    return totals;
}

static bool has_totals(const struct assigner *assigner)
{
    struct totals totals = count_totals(assigner);
    size_t listed = 0;
    for (const struct member *promise = assigner->first_promise; promise != NULL; promise = promise->next)
        listed += promise->is_promise;
    return totals.records == assigner->record_count && totals.promises == assigner->promise_count &&
           totals.promises == listed && totals.swapping == assigner_swap_count(assigner);
}

bool assigner_check(struct assigner *assigner)
{
    size_t count = catalog_count(assigner->catalog);
    struct counts running = assigner->counts;
    struct counts fresh = {.expected = calloc(count, sizeof(uint32_t)),
                           .healthy = calloc(count, sizeof(uint32_t)),
                           .able = calloc(count, sizeof(uint32_t)),
                           .failing = calloc(count, sizeof(uint32_t)),
                           .loaded = calloc(count, sizeof(uint32_t)),
                           .load = calloc(count, sizeof(struct load_sums))};
    bool same = false;
    if (fresh.expected != NULL && fresh.healthy != NULL && fresh.able != NULL && fresh.failing != NULL &&
        fresh.loaded != NULL && fresh.load != NULL) {
        assigner->counts = fresh;
        count_all(assigner);
        same = memcmp(fresh.expected, running.expected, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.healthy, running.healthy, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.able, running.able, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.failing, running.failing, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.loaded, running.loaded, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.load, running.load, count * sizeof(*fresh.load)) == 0 &&
               memcmp(assigner->counts.by_type, running.by_type, sizeof(running.by_type)) == 0 &&
               has_same_located(&assigner->counts.located, &running.located) && has_totals(assigner);
        assigner_free_values(&assigner->counts.located);
        assigner->counts = running;
    }
    free(fresh.expected);
    free(fresh.healthy);
    free(fresh.able);
    free(fresh.failing);
    free(fresh.loaded);
    free(fresh.load);
    return same;
}
