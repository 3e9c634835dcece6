/* The two clocks; see clock.h. */

#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_clock(clockid_t clock, uint64_t units_per_second)
{
    struct timespec now;
    /* Cannot fail: both clocks exist on every Linux, and `now` is writable. */
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * units_per_second + (uint64_t)now.tv_nsec / (1000000000u / units_per_second);
}

uint64_t clock_monotonic_ms(void)
{
    return read_clock(CLOCK_MONOTONIC, 1000);
}

uint64_t clock_monotonic_us(void)
{
    return read_clock(CLOCK_MONOTONIC, 1000000);
}

int64_t clock_unix_ms(void)
{
    return (int64_t)read_clock(CLOCK_REALTIME, 1000);
}

void clock_format_unix_ms(int64_t unix_ms, char text[CLOCK_TEXT_BYTES])
{
    /* Rounds down, before the epoch too. */
    int64_t seconds = unix_ms / 1000 - (unix_ms % 1000 < 0 ? 1 : 0);
    int milliseconds = (int)(unix_ms - seconds * 1000);
    time_t time = (time_t)seconds;
    struct tm parts;
    if (gmtime_r(&time, &parts) == NULL || parts.tm_year < -1900 || parts.tm_year > 9999 - 1900) {
        /* No four-digit year: RFC 3339 has no text for it. */
        (void)snprintf(text, CLOCK_TEXT_BYTES, "1970-01-01T00:00:00.000Z");
        return;
    }
    size_t length = strftime(text, CLOCK_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + length, CLOCK_TEXT_BYTES - length, ".%03dZ", milliseconds);
}
