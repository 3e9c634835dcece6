/* How long somebody who failed is left alone: EJECTION_FIRST_MS, twice as long each time it
 * comes again, at most EJECTION_LONGEST_MS. Shared by the router's outliers and the edge
 * router's pool of coordinators.
 *
 * Threading: none. */

#pragma once

#include <stdint.h>

#define EJECTION_FIRST_MS 5000
#define EJECTION_LONGEST_MS 300000

/* Of the n-th ejection in a row, from 1. */
static inline uint64_t ejection_length_ms(uint32_t number)
{
    uint64_t length_ms = EJECTION_FIRST_MS;
    for (uint32_t i = 1; i < number && length_ms < EJECTION_LONGEST_MS; i++)
        length_ms *= 2;
    return length_ms < EJECTION_LONGEST_MS ? length_ms : EJECTION_LONGEST_MS;
}
