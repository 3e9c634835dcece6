#include "tests/bench/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static size_t sorted(const double *values, size_t count, double copy[STATISTICS_VALUES_MAX])
{
    if (count > STATISTICS_VALUES_MAX)
        count = STATISTICS_VALUES_MAX;
    if (count > 0) {
        memcpy(copy, values, count * sizeof *values);
        qsort(copy, count, sizeof *copy, compare);
    }
    return count;
}

double statistics_median(const double *values, size_t count)
{
    double copy[STATISTICS_VALUES_MAX];
    count = sorted(values, count, copy);
    if (count == 0)
        return 0;
    return count % 2 == 1 ? copy[count / 2] : (copy[count / 2 - 1] + copy[count / 2]) / 2;
}

double statistics_spread(const double *values, size_t count)
{
    double copy[STATISTICS_VALUES_MAX];
    double median = statistics_median(values, count);
    count = sorted(values, count, copy);
    return median > 0 ? (copy[count - 1] - copy[0]) / median : 0;
}

void samples_add(struct samples *samples, double value)
{
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity == 0 ? 1024 : samples->capacity * 2;
        double *values = realloc(samples->values, capacity * sizeof *values);
        if (values == NULL) {
            samples->failed = true;
            return;
        }
        samples->values = values;
        samples->capacity = capacity;
    }
    samples->values[samples->count++] = value;
}

void samples_free(struct samples *samples)
{
    free(samples->values);
    *samples = (struct samples){0};
}

double samples_percentile(struct samples *samples, double percent)
{
    if (samples->count == 0)
        return 0;
    qsort(samples->values, samples->count, sizeof *samples->values, compare);
    double rank = ceil(percent / 100 * (double)samples->count);
    size_t place = rank < 1 ? 0 : (size_t)rank - 1;
    return samples->values[place < samples->count ? place : samples->count - 1];
}
