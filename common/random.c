/* Random numbers; see random.h. */

#include "common/random.h"

#include <stdlib.h>
#include <sys/random.h>

static uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

void random_seed(struct random *random, uint64_t seed)
{
    /* splitmix64 spreads the seed, as the generator's authors recommend. */
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        random->state[i] = mixed ^ (mixed >> 31);
    }
}

void random_seed_from_kernel(struct random *random)
{
    uint64_t seed;
    random_bytes(&seed, sizeof(seed));
    random_seed(random, seed);
}

uint64_t random_next(struct random *random)
{
    uint64_t *state = random->state;
    uint64_t result = rotate_left(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);
    return result;
}

uint64_t random_below(struct random *random, uint64_t limit)
{
    /* Values below 2^64 mod limit are thrown away, so that each result is equally likely. */
    uint64_t threshold = (0 - limit) % limit;
    for (;;) {
        uint64_t value = random_next(random);
        if (value >= threshold)
            return value % limit;
    }
}

double random_unit(struct random *random)
{
    return (double)(random_next(random) >> 11) * 0x1.0p-53;
}

void random_bytes(void *bytes, size_t count)
{
    unsigned char *next = bytes;
    while (count > 0) {
        ssize_t got = getrandom(next, count < 256 ? count : 256, 0);
        if (got < 0)
            abort(); /* up to 256 bytes are never interrupted */
        next += got;
        count -= (size_t)got;
    }
}

void random_hex(char *text, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    random_bytes(text, bytes);
    text[2 * bytes] = '\0';
    /* From the back, so that each byte is read before its place is written. */
    for (size_t i = bytes; i-- > 0;) {
        unsigned char byte = (unsigned char)text[i];
        text[2 * i + 1] = digits[byte & 15];
        text[2 * i] = digits[byte >> 4];
    }
}
