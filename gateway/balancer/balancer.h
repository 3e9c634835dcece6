/* Which of a load balancer's upstreams requests go to: the part of it that decides.
 *
 * Every upstream is checked actively, each at its own time: a check that passes, or a failure, counts in a row with
 * those of its kind, and up_after passed ones bring an upstream back, down_after failures take it out. A request that
 * could not reach it counts as a failed check, and the next check is due at once. One that is new gets requests before
 * it was checked, and its first check decides alone: what is wrong in a list shows at once.
 *
 * Requests go round all that are up, one after the other (struct balancer_table; the fronts share one number that
 * counts requests). One that fails in a way that is safe to repeat goes to the next ones, each once. With nobody up
 * nobody is asked.
 *
 * A struct balancer_table is one version of who is up and never changes; the targets in it are shared by all versions
 * and count what went to them.
 *
 * Time: now_ms is monotonic. Threading: a balancer belongs to one thread; tables and targets may be held and given back
 * by any. No I/O, no clock, no randomness of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http/target.h"

#define BALANCER_UPSTREAMS_MAX 1000

/* --- What fronts hold --- */

struct balancer_target;
const char *balancer_target_url(const struct balancer_target *target); /* no slash at its end */
const struct http_origin *balancer_target_origin(const struct balancer_target *target);
/* An attempt there has ended, well or not; how many have, and how many of them not well. */
void balancer_target_count(struct balancer_target *target, bool failed);
void balancer_target_counts(const struct balancer_target *target, uint64_t *requests, uint64_t *failures);

struct balancer_table;
size_t balancer_table_count(const struct balancer_table *table); /* of those that are up */
struct balancer_table *balancer_table_reference(struct balancer_table *table);
void balancer_table_release(struct balancer_table *table); /* NULL is allowed */

/* Who is tried for the request of that number at its attempt (0, 1, …); NULL: all have been, or there is nobody. */
struct balancer_target *balancer_choose(const struct balancer_table *table, uint64_t request, size_t attempt);

/* --- The balancer --- */

enum balancer_state { BALANCER_UNCHECKED, BALANCER_UP, BALANCER_DOWN };
const char *balancer_state_word(enum balancer_state state); /* "up" */

struct balancer_upstream {
    struct balancer_target *target;
    enum balancer_state state;
    uint32_t passed, failed; /* checks in a row */
    uint64_t since_ms;       /* when the state became what it is */
    uint64_t check_at_ms;
    uint64_t check;   /* number of the one under way; 0: none */
    char reason[160]; /* of the last failure; "": it is up, and its last check passed, or none was made */
};

struct balancer {
    uint64_t interval_ms;
    uint32_t up_after, down_after;   /* at least 1 */
    struct balancer_upstream **list; /* in the order of the list that was set */
    size_t count;
    uint64_t checks; /* begun */
};

void balancer_free(struct balancer *balancer);

/* These are the upstreams from now on, as `count` URLs; each once, at most BALANCER_UPSTREAMS_MAX, what is no URL is
 * left out. Who was among them before goes on as it was. False: memory ran out, and it is as it was. */
bool balancer_set(struct balancer *balancer, const char *const *urls, size_t count, uint64_t now_ms);

/* The next check that is due; NULL: none. It is under way then, with upstream->check for its number. */
struct balancer_upstream *balancer_next_check(struct balancer *balancer, uint64_t now_ms);

/* What came of it; `reason` NULL: it passed. `chance`, from [0, 1), spreads the next one by a tenth. True: somebody
 * came up or went down. */
bool balancer_checked(struct balancer *balancer, uint64_t check, const char *reason, double chance, uint64_t now_ms);

/* A request could not reach it. */
bool balancer_failed(struct balancer *balancer, const char *url, const char *reason, uint64_t now_ms);

/* When a check is due; UINT64_MAX: none is, while those under way have not ended. */
uint64_t balancer_next_ms(const struct balancer *balancer);

size_t balancer_up_count(const struct balancer *balancer); /* unchecked ones among them */

/* With one reference; NULL: memory ran out. */
struct balancer_table *balancer_make_table(const struct balancer *balancer);
