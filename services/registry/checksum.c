/* CRC-32; see checksum.h. */

#include "services/registry/checksum.h"

#include <zlib.h>

#if defined(__x86_64__)

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define BLOCK_BYTES 16
#define LANES 4

#define WITH_MULTIPLICATION __attribute__((target("pclmul")))

/* Takes a block to where it is so many bits further to the front, as the factors say: what comes of it has the same
 * remainder. The block that is there already is added. */
WITH_MULTIPLICATION static __m128i fold(__m128i block, __m128i factors, __m128i there)
{
    __m128i low = _mm_clmulepi64_si128(block, factors, 0x00), high = _mm_clmulepi64_si128(block, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), there);
}

static __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* At least LANES blocks. */
WITH_MULTIPLICATION static uint32_t fold_all(uint32_t before, const uint8_t *at, size_t bytes)
{
    /* x^(n+32) and x^(n-32) modulo the polynomial, bits reversed, for n of four blocks and of one. */
    const __m128i far = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), near = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    __m128i lanes[LANES];
    for (size_t i = 0; i < LANES; i++)
        lanes[i] = load(at + i * BLOCK_BYTES);
    lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128((int)~before));
    for (at += LANES * BLOCK_BYTES, bytes -= LANES * BLOCK_BYTES; bytes >= LANES * BLOCK_BYTES;
         at += LANES * BLOCK_BYTES, bytes -= LANES * BLOCK_BYTES)
        for (size_t i = 0; i < LANES; i++)
            lanes[i] = fold(lanes[i], far, load(at + i * BLOCK_BYTES));
    __m128i last = lanes[0];
    for (size_t i = 1; i < LANES; i++)
        last = fold(last, near, lanes[i]);
    for (; bytes >= BLOCK_BYTES; at += BLOCK_BYTES, bytes -= BLOCK_BYTES)
        last = fold(last, near, load(at));
    /* What is left is read as if nothing were before it: zlib's own state is the complement of what it is given. */
    uint8_t rest[2 * BLOCK_BYTES];
    memcpy(rest, &last, BLOCK_BYTES);
    memcpy(rest + BLOCK_BYTES, at, bytes);
    return (uint32_t)crc32_z(UINT32_MAX, rest, BLOCK_BYTES + bytes);
}

uint32_t checksum(uint32_t before, const void *data, size_t bytes)
{
    if (bytes >= LANES * BLOCK_BYTES && __builtin_cpu_supports("pclmul"))
        return fold_all(before, data, bytes);
    return (uint32_t)crc32_z(before, data, bytes);
}

#else

uint32_t checksum(uint32_t before, const void *data, size_t bytes)
{
    return (uint32_t)crc32_z(before, data, bytes);
}

#endif
