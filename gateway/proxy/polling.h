/* When an edge proxy asks a coordinator for its list again.
 *
 * After a list that came: an interval later, a tenth more or less, so that proxies that started together do not ask
 * together. After a failure: a retry later, twice as long each time it comes again, at most the interval, each between
 * half of that and all of it. Somebody who finds the list out of date can have it hurried: then the next request is due
 * one retry after the last one.
 *
 * Time: monotonic milliseconds. Threading: none; no I/O, no clock, no randomness of its own. */

#pragma once

#include <stdint.h>

struct polling {
    uint64_t interval_ms, retry_ms;
    uint64_t asked_ms; /* when the last request was begun */
    uint64_t next_ms;  /* when the next one is due */
    uint32_t failures; /* in a row */
};

/* The first request is due at once. retry_ms is at least 1 and counts as interval_ms when it is longer. */
void polling_init(struct polling *polling, uint64_t interval_ms, uint64_t retry_ms, uint64_t now_ms);

/* One is begun; what comes of it will be told. Until then none is due. */
void polling_asked(struct polling *polling, uint64_t now_ms);

/* What came of it; `chance` is drawn from [0, 1). */
void polling_answered(struct polling *polling, double chance, uint64_t now_ms);
void polling_failed(struct polling *polling, double chance, uint64_t now_ms);

/* The list is out of date. */
void polling_hurry(struct polling *polling);
