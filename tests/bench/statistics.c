#include "tests/bench/statistics.h"

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
