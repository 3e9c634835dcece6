/* What is made of the rounds of a measurement, and of the samples of a round. Threading: none of
 * its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Middle value; the mean of the middle two when count is even; 0 for none. Does not change
 * the values. At most STATISTICS_VALUES_MAX are looked at. */
#define STATISTICS_VALUES_MAX 64
double statistics_median(const double *values, size_t count);

/* (largest - smallest) / median: how far the rounds lie apart; 0 when that means nothing. */
double statistics_spread(const double *values, size_t count);

/* Any number of values, one for each answer for example. An all-zero struct samples has none. */
struct samples {
    double *values;
    size_t count, capacity;
    bool failed; /* memory ran out: some are missing */
};
void samples_add(struct samples *samples, double value);
void samples_free(struct samples *samples);

/* The smallest value that so many percent of all are not above (the nearest rank); 0 for none.
 * Reorders the values. */
double samples_percentile(struct samples *samples, double percent);
