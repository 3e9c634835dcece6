/* The workers that health knows, by their ids: what common/map does, in half of the memory, for the
 * id lies in the worker itself. A slot is a worker and the hash of its id, 12 bytes in two arrays.
 *
 * Ownership: the workers are the caller's. Threading: one thread owns a roster. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct health_worker;

struct roster {
    struct health_worker **workers;
    uint32_t *hashes; /* 0: the slot is free */
    size_t capacity;  /* 0 or a power of two */
    size_t count;
};

/* An all-zero struct roster is an empty one. */
void roster_free(struct roster *roster);

/* NULL: there is nobody of that id. */
struct health_worker *roster_find(const struct roster *roster, const char *worker_id);

/* That id will be looked up soon: meanwhile its slot comes into the caches; see map_expect. */
void roster_expect(const struct roster *roster, const char *worker_id);

/* Adds a worker whose id is not in it. False: out of memory, nothing is changed. */
bool roster_add(struct roster *roster, struct health_worker *worker);

/* Removes a worker that is in it. */
void roster_remove(struct roster *roster, const struct health_worker *worker);
