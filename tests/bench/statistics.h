/* What is made of the rounds of a measurement. Everything here is pure. */

#pragma once

#include <stddef.h>

/* Middle value; the mean of the middle two when count is even; 0 for none. Does not change
 * the values. At most STATISTICS_VALUES_MAX are looked at. */
#define STATISTICS_VALUES_MAX 64
double statistics_median(const double *values, size_t count);

/* (largest - smallest) / median: how far the rounds lie apart; 0 when that means nothing. */
double statistics_spread(const double *values, size_t count);
