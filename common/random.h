/* Random numbers: a small generator that a seed replays (xoshiro256**, D. Blackman and
 * S. Vigna, 2018), and bytes from the kernel for what strangers must not guess.
 *
 * Threading: a struct random belongs to one thread. */

#pragma once

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *random, uint64_t seed);
void random_seed_from_kernel(struct random *random);

uint64_t random_next(struct random *random);

/* Uniform in [0, limit); limit above 0. */
uint64_t random_below(struct random *random, uint64_t limit);

/* Uniform in [0, 1). */
double random_unit(struct random *random);

/* From getrandom(2); aborts if the kernel has none, which it always has once booted. */
void random_bytes(void *bytes, size_t count);

/* `bytes` of randomness as lower-case hexadecimal text, with a zero byte after it: text has
 * room for 2 * bytes + 1. */
void random_hex(char *text, size_t bytes);
