/* See balancer.h. */

#include "gateway/balancer/balancer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct balancer_target {
    atomic_uint references;
    atomic_uint_fast64_t requests, failures;
    struct http_origin origin;
    char url[];
};

struct balancer_table {
    atomic_uint references;
    size_t count;
    struct balancer_target *targets[];
};

/* --- Targets and tables --- */

const char *balancer_target_url(const struct balancer_target *target)
{
    return target->url;
}

const struct http_origin *balancer_target_origin(const struct balancer_target *target)
{
    return &target->origin;
}

void balancer_target_count(struct balancer_target *target, bool failed)
{
    atomic_fetch_add_explicit(&target->requests, 1, memory_order_relaxed);
    if (failed)
        atomic_fetch_add_explicit(&target->failures, 1, memory_order_relaxed);
}

void balancer_target_counts(const struct balancer_target *target, uint64_t *requests, uint64_t *failures)
{
    struct balancer_target *read = (struct balancer_target *)target; /* C11 reads atomics of const objects not at all */
    *requests = atomic_load_explicit(&read->requests, memory_order_relaxed);
    *failures = atomic_load_explicit(&read->failures, memory_order_relaxed);
}

size_t balancer_table_count(const struct balancer_table *table)
{
    return table->count;
}

static struct balancer_target *create_target(const char *url)
{
    size_t bytes = strlen(url);
    struct balancer_target *target = calloc(1, sizeof *target + bytes + 1);
    if (target == NULL)
        return NULL;
    atomic_init(&target->references, 1);
    memcpy(target->url, url, bytes);
    while (bytes > 0 && target->url[bytes - 1] == '/')
        target->url[--bytes] = '\0';
    if (http_origin_parse(http_text_of(target->url), &target->origin))
        return target;
    free(target);
    return NULL;
}

static struct balancer_target *reference_target(struct balancer_target *target)
{
    atomic_fetch_add_explicit(&target->references, 1, memory_order_relaxed);
    return target;
}

static void release_target(struct balancer_target *target)
{
    if (atomic_fetch_sub_explicit(&target->references, 1, memory_order_acq_rel) == 1)
        free(target);
}

struct balancer_table *balancer_table_reference(struct balancer_table *table)
{
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

void balancer_table_release(struct balancer_table *table)
{
    if (table == NULL || atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < table->count; i++)
        release_target(table->targets[i]);
    free(table);
}

struct balancer_target *balancer_choose(const struct balancer_table *table, uint64_t request, size_t attempt)
{
    return attempt >= table->count ? NULL : table->targets[(request + attempt) % table->count];
}

struct balancer_table *balancer_make_table(const struct balancer *balancer)
{
    struct balancer_table *table =
        calloc(1, sizeof *table + balancer_up_count(balancer) * sizeof(struct balancer_target *));
    if (table == NULL)
        return NULL;
    atomic_init(&table->references, 1);
    for (size_t i = 0; i < balancer->count; i++) {
        if (balancer->list[i]->state != BALANCER_DOWN)
            table->targets[table->count++] = reference_target(balancer->list[i]->target);
    }
    return table;
}

/* --- Upstreams --- */

const char *balancer_state_word(enum balancer_state state)
{
    return state == BALANCER_UP ? "up" : state == BALANCER_DOWN ? "down" : "unchecked";
}

static void free_upstream(struct balancer_upstream *upstream)
{
    release_target(upstream->target);
    free(upstream);
}

void balancer_free(struct balancer *balancer)
{
    for (size_t i = 0; i < balancer->count; i++)
        free_upstream(balancer->list[i]);
    free(balancer->list);
    balancer->list = NULL;
    balancer->count = 0;
}

static struct balancer_upstream *find(struct balancer_upstream *const *list, size_t count, const char *url)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i]->target->url, url) == 0)
            return list[i];
    }
    return NULL;
}

/* False: memory ran out. *upstream NULL: it is no URL. */
static bool create_upstream(const char *url, uint64_t now_ms, struct balancer_upstream **upstream)
{
    struct http_origin origin;
    *upstream = NULL;
    if (!http_origin_parse(http_text_of(url), &origin))
        return true;
    struct balancer_upstream *fresh = calloc(1, sizeof *fresh);
    struct balancer_target *target = fresh == NULL ? NULL : create_target(url);
    if (target == NULL) {
        free(fresh);
        return false;
    }
    fresh->target = target;
    fresh->since_ms = fresh->check_at_ms = now_ms;
    *upstream = fresh;
    return true;
}

/* Those of the list that are not in the other one. */
static void free_others(struct balancer_upstream **list, size_t count, struct balancer_upstream *const *kept,
                        size_t kept_count)
{
    for (size_t i = 0; i < count; i++) {
        if (find(kept, kept_count, list[i]->target->url) != list[i])
            free_upstream(list[i]);
    }
    free(list);
}

bool balancer_set(struct balancer *balancer, const char *const *urls, size_t count, uint64_t now_ms)
{
    size_t capacity = count < BALANCER_UPSTREAMS_MAX ? count : BALANCER_UPSTREAMS_MAX, kept = 0;
    struct balancer_upstream **list = calloc(capacity + 1, sizeof(struct balancer_upstream *));
    bool fine = list != NULL;
    for (size_t i = 0; fine && i < count && kept < capacity; i++) {
        struct balancer_upstream *upstream;
        fine = create_upstream(urls[i], now_ms, &upstream);
        if (!fine || upstream == NULL)
            continue;
        struct balancer_upstream *old = find(balancer->list, balancer->count, upstream->target->url);
        bool is_double = find(list, kept, upstream->target->url) != NULL;
        if (old != NULL || is_double)
            free_upstream(upstream);
        if (!is_double)
            list[kept++] = old != NULL ? old : upstream;
    }
    if (!fine) {
        if (list != NULL)
            free_others(list, kept, balancer->list, balancer->count);
        return false;
    }
    free_others(balancer->list, balancer->count, list, kept);
    balancer->list = list;
    balancer->count = kept;
    return true;
}

/* --- Checks --- */

struct balancer_upstream *balancer_next_check(struct balancer *balancer, uint64_t now_ms)
{
    for (size_t i = 0; i < balancer->count; i++) {
        struct balancer_upstream *upstream = balancer->list[i];
        if (upstream->check == 0 && upstream->check_at_ms <= now_ms) {
            upstream->check = ++balancer->checks;
            return upstream;
        }
    }
    return NULL;
}

uint64_t balancer_next_ms(const struct balancer *balancer)
{
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < balancer->count; i++) {
        if (balancer->list[i]->check == 0 && balancer->list[i]->check_at_ms < next_ms)
            next_ms = balancer->list[i]->check_at_ms;
    }
    return next_ms;
}

static bool enter(struct balancer_upstream *upstream, enum balancer_state state, uint64_t now_ms)
{
    if (upstream->state == state)
        return false;
    bool matters = state == BALANCER_DOWN || upstream->state == BALANCER_DOWN;
    upstream->state = state;
    upstream->since_ms = now_ms;
    return matters;
}

static bool note_failure(const struct balancer *balancer, struct balancer_upstream *upstream, const char *reason,
                         uint64_t now_ms)
{
    upstream->passed = 0;
    if (upstream->failed < balancer->down_after)
        upstream->failed++;
    snprintf(upstream->reason, sizeof upstream->reason, "%s", reason);
    bool is_over = upstream->state == BALANCER_UNCHECKED || upstream->failed >= balancer->down_after;
    return is_over && enter(upstream, BALANCER_DOWN, now_ms);
}

static bool note_success(const struct balancer *balancer, struct balancer_upstream *upstream, uint64_t now_ms)
{
    upstream->failed = 0;
    if (upstream->passed < balancer->up_after)
        upstream->passed++;
    bool is_over = upstream->state == BALANCER_UNCHECKED || upstream->passed >= balancer->up_after;
    if (is_over || upstream->state == BALANCER_UP)
        upstream->reason[0] = '\0'; /* one that is down says why until it is back */
    return is_over && enter(upstream, BALANCER_UP, now_ms);
}

bool balancer_checked(struct balancer *balancer, uint64_t check, const char *reason, double chance, uint64_t now_ms)
{
    for (size_t i = 0; i < balancer->count; i++) {
        struct balancer_upstream *upstream = balancer->list[i];
        if (upstream->check != check)
            continue;
        upstream->check = 0;
        upstream->check_at_ms = now_ms + (uint64_t)((double)balancer->interval_ms * (0.9 + 0.2 * chance));
        return reason == NULL ? note_success(balancer, upstream, now_ms)
                              : note_failure(balancer, upstream, reason, now_ms);
    }
    return false; /* it has left the list meanwhile */
}

bool balancer_failed(struct balancer *balancer, const char *url, const char *reason, uint64_t now_ms)
{
    struct balancer_upstream *upstream = find(balancer->list, balancer->count, url);
    if (upstream == NULL || upstream->state == BALANCER_DOWN)
        return false; /* a request that was under way */
    upstream->check_at_ms = now_ms;
    return note_failure(balancer, upstream, reason, now_ms);
}

size_t balancer_up_count(const struct balancer *balancer)
{
    size_t count = 0;
    for (size_t i = 0; i < balancer->count; i++)
        count += balancer->list[i]->state != BALANCER_DOWN ? 1 : 0;
    return count;
}
