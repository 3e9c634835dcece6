/* Services that no list has, as coordinators have found them elsewhere (GET
 * /api/services/discover/{service}?scope=all): which workers offer them, for a while.
 *
 * One worker may offer several such services; it is one record then, as it would be in a list. A service of which it
 * was answered that nobody offers it is remembered as well, so that requests for what does not exist cost the
 * coordinators little. There are at most ELSEWHERE_SERVICES_MAX services; when a new one comes the one that is
 * forgotten soonest goes.
 *
 * Time: monotonic milliseconds. Threading: one thread; no I/O, no clock. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/map.h"
#include "muster/v1/registry.pb-c.h"

#define ELSEWHERE_SERVICES_MAX 1000
#define ELSEWHERE_WORKERS_MAX 100 /* of one service; the rest is left out */

struct elsewhere_offer {
    char *worker_id, *url;
    double load;
};

struct elsewhere_service {
    uint64_t until_ms;
    struct elsewhere_offer *offers;
    size_t offer_count; /* 0: nobody offers it */
    char name[];
};

struct elsewhere_table {
    struct map services; /* struct elsewhere_service by name */
};

/* An all-zero table is an empty one. */
void elsewhere_table_free(struct elsewhere_table *table);

/* NULL: not known, or too long ago. */
const struct elsewhere_service *elsewhere_find(const struct elsewhere_table *table, const char *name, uint64_t now_ms);

/* Takes over an answer's body, and has it until until_ms; NULL: nobody offers the service. False: it is no such answer,
 * or memory ran out; then the service is as it was. */
bool elsewhere_put(struct elsewhere_table *table, const char *name, const char *body, size_t bytes, uint64_t until_ms);

/* Forgets what is over; returns whether somebody offered it. */
bool elsewhere_expire(struct elsewhere_table *table, uint64_t now_ms);

/* When there is something to forget; UINT64_MAX: never. */
uint64_t elsewhere_next_ms(const struct elsewhere_table *table);

/* All workers as a list of records, each once, with the services that it is known for; in the arena. Returns how many;
 * SIZE_MAX: memory ran out. */
struct arena;
struct elsewhere_worker {
    Muster__V1__Worker record;
    Muster__V1__WorkerSpec spec;
    double load;
};
size_t elsewhere_workers(const struct elsewhere_table *table, struct arena *arena, struct elsewhere_worker ***workers);
