/* The two clocks; see clock.h. */

#include "common/clock.h"

#include <stdio.h>
#include <string.h>
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

/* Two digits, or -1. */
static int two_digits(const char *text)
{
    bool digits = text[0] >= '0' && text[0] <= '9' && text[1] >= '0' && text[1] <= '9';
    return digits ? (text[0] - '0') * 10 + (text[1] - '0') : -1;
}

/* "Z", "+01:00", or nothing unless it is needed; all of the text. */
static bool parse_offset(const char *text, bool needed, int64_t *offset_ms)
{
    *offset_ms = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    if (*text == '\0')
        return !needed;
    int sign = *text == '-' ? -1 : *text == '+' || *text == ' ' ? 1 : 0;
    int hours = sign == 0 ? -1 : two_digits(text + 1);
    int minutes = hours < 0 || text[3] != ':' ? -1 : two_digits(text + 4);
    if (hours > 23 || minutes < 0 || minutes > 59 || text[6] != '\0')
        return false;
    *offset_ms = (int64_t)sign * (hours * 60 + minutes) * 60000;
    return true;
}

bool clock_parse_unix_ms(const char *text, bool offset_needed, int64_t *unix_ms)
{
    /* Lengths are checked before: sscanf alone would take spaces and signs. */
    static const char shape[] = "0000-00-00T00:00:00";
    for (size_t i = 0; shape[i] != '\0'; i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        bool is_between = shape[i] == 'T' && (text[i] == 't' || text[i] == ' ');
        if (shape[i] == '0' ? !is_digit : text[i] != shape[i] && !is_between)
            return false;
    }
    struct tm parts = {.tm_isdst = 0};
    if (sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
               &parts.tm_min, &parts.tm_sec) != 6)
        return false;
    struct tm given = parts;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    time_t seconds = timegm(&parts); /* sets parts right: the 31st of April becomes the 1st of May */
    if (parts.tm_year + 1900 != given.tm_year || parts.tm_mon + 1 != given.tm_mon || parts.tm_mday != given.tm_mday ||
        parts.tm_hour != given.tm_hour || parts.tm_min != given.tm_min || parts.tm_sec != given.tm_sec)
        return false;
    const char *at = text + sizeof shape - 1;
    int64_t milliseconds = 0, offset_ms;
    if (*at == '.') {
        int64_t unit = 100;
        if (*++at < '0' || *at > '9')
            return false;
        for (; *at >= '0' && *at <= '9'; at++, unit /= 10)
            milliseconds += (*at - '0') * unit;
    }
    if (!parse_offset(at, offset_needed, &offset_ms))
        return false;
    *unix_ms = (int64_t)seconds * 1000 + milliseconds - offset_ms;
    return true;
}
