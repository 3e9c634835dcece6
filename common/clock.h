/* The two clocks. Shells read them; cores are handed the time. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds and microseconds that only ever go forward; no relation to the date. */
uint64_t clock_monotonic_ms(void);
uint64_t clock_monotonic_us(void);

/* Milliseconds since the Unix epoch; may jump. */
int64_t clock_unix_ms(void);

/* RFC 3339 in UTC with milliseconds: "2026-01-05T10:30:00.125Z" and a zero byte. */
#define CLOCK_TEXT_BYTES 32
void clock_format_unix_ms(int64_t unix_ms, char text[CLOCK_TEXT_BYTES]);

/* The way back; also without milliseconds or with other fractions, which are cut to them, with
 * any offset, and with a space for the "T". A space stands for the "+" of an offset as well, which
 * is what the decoding of a query makes of one. Without an offset, as Python's isoformat() leaves
 * it out, it is a time if `offset_needed` is false, and UTC then. False when it is no such time. */
bool clock_parse_unix_ms(const char *text, bool offset_needed, int64_t *unix_ms);
