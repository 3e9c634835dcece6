/* The load balancer's life and its checks; see balance.h. */

#include "gateway/balance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/random.h"
#include "gateway/front.h"

/* Checks of all upstreams, and one question for a list. */
#define CALLS_MAX (BALANCER_UPSTREAMS_MAX + 1)

/* --- Who is up --- */

/* Tells the fronts. */
static void publish(struct backend *backend)
{
    struct balance *balance = backend->balance;
    struct gateway *gateway = backend->gateway;
    struct balancer_table *table = balancer_make_table(&balance->balancer);
    if (table == NULL) {
        log_error("out of memory for the list of upstreams; requests go by the old one");
        return;
    }
    balancer_table_release(balance->table);
    balance->table = table;
    for (unsigned i = 0; i < gateway->front_count; i++)
        front_set_upstreams(gateway->fronts[i], balancer_table_reference(table));
    atomic_store(&gateway->ready, balancer_table_count(table) > 0);
}

static void say_change(const struct balancer_upstream *upstream)
{
    if (upstream->state == BALANCER_DOWN)
        log_warning("an upstream is down", LOG_TEXT("upstream", balancer_target_url(upstream->target)),
                    LOG_TEXT("reason", upstream->reason));
    else
        log_info("an upstream is up", LOG_TEXT("upstream", balancer_target_url(upstream->target)));
}

static struct balancer_upstream *find_upstream(struct balance *balance, const char *url)
{
    for (size_t i = 0; i < balance->balancer.count; i++) {
        if (strcmp(balancer_target_url(balance->balancer.list[i]->target), url) == 0)
            return balance->balancer.list[i];
    }
    return NULL;
}

static void note_change(struct backend *backend, const char *url)
{
    const struct balancer_upstream *upstream = find_upstream(backend->balance, url);
    if (upstream != NULL)
        say_change(upstream);
    if (upstream != NULL && upstream->state == BALANCER_DOWN)
        balance_source_hurry(backend);
    publish(backend);
}

void balance_set(struct backend *backend, const char *const *urls, size_t count)
{
    struct balance *balance = backend->balance;
    if (!balancer_set(&balance->balancer, urls, count, rpc_loop_now_ms(backend->loop))) {
        log_error("out of memory for the upstreams; those that were there go on");
        return;
    }
    log_info("upstreams were read", LOG_UINT("upstreams", balance->balancer.count));
    publish(backend);
    balance_pump(backend);
}

void balance_attempt_failed(void *message)
{
    struct balance_failure *failure = message;
    struct backend *backend = failure->backend;
    struct balance *balance = backend->balance;
    if (balancer_failed(&balance->balancer, failure->url, failure->reason, rpc_loop_now_ms(backend->loop)))
        note_change(backend, failure->url);
    free(failure);
    balance_pump(backend);
}

/* --- Checks --- */

struct check {
    struct http_call_batch batch; /* first */
    struct http_call call;
    struct backend *backend;
    uint64_t number;
    char url[]; /* the upstream's */
};

static void checked(struct http_call_batch *batch)
{
    struct check *check = (struct check *)batch;
    struct backend *backend = check->backend;
    struct balance *balance = backend->balance;
    const struct http_call *call = &check->call;
    char reason[160];
    bool passed = call->status >= 200 && call->status < 400;
    if (call->status == 0)
        snprintf(reason, sizeof reason, "it does not answer: %.120s", call->error);
    else
        snprintf(reason, sizeof reason, "it answered %ld to GET %.100s", call->status,
                 backend->gateway->settings.check_path);
    if (balance->calls != NULL && balancer_checked(&balance->balancer, check->number, passed ? NULL : reason,
                                                   random_unit(&balance->random), rpc_loop_now_ms(backend->loop)))
        note_change(backend, check->url);
    free(check->call.url);
    buffer_free(&check->call.response);
    free(check);
    balance_pump(backend);
}

static bool begin_check(struct backend *backend, const struct balancer_upstream *upstream)
{
    const struct gateway_settings *settings = &backend->gateway->settings;
    size_t bytes = strlen(balancer_target_url(upstream->target)) + 1;
    struct check *check = calloc(1, sizeof *check + bytes);
    if (check == NULL)
        return false;
    memcpy(check->url, balancer_target_url(upstream->target), bytes);
    check->backend = backend;
    check->number = upstream->check;
    check->call.url = http_calls_url(balancer_target_url(upstream->target), settings->check_path);
    check->batch = (struct http_call_batch){.timeout_ms = (uint32_t)(settings->check_timeout_seconds * 1000),
                                            .calls = &check->call,
                                            .call_count = 1,
                                            .done = checked};
    if (check->call.url != NULL && http_calls_send(backend->balance->calls, &check->batch))
        return true;
    free(check->call.url);
    free(check);
    return false;
}

static void checks_due(struct timer *timer, void *argument)
{
    (void)timer;
    balance_pump(argument);
}

void balance_pump(struct backend *backend)
{
    struct balance *balance = backend->balance;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    const struct balancer_upstream *upstream;
    if (balance->calls == NULL)
        return;
    while ((upstream = balancer_next_check(&balance->balancer, now_ms)) != NULL) {
        /* Without memory the next one is another try; nothing is held against the upstream. */
        if (!begin_check(backend, upstream) &&
            balancer_checked(&balance->balancer, upstream->check, NULL, random_unit(&balance->random), now_ms))
            publish(backend);
    }
    uint64_t next_ms = balancer_next_ms(&balance->balancer);
    if (next_ms != UINT64_MAX)
        rpc_loop_timer_start(backend->loop, &balance->timer, next_ms > now_ms ? next_ms - now_ms : 1, checks_due,
                             backend);
}

/* --- Life --- */

/* The fronts are there now, which were not when the list was read. */
static void begin(void *argument)
{
    struct backend *backend = argument;
    publish(backend);
    backend->all_heard(backend->gateway);
    atomic_store(&backend->gateway->ready, balancer_table_count(backend->balance->table) > 0);
}

bool balance_start(struct backend *backend)
{
    const struct gateway_settings *settings = &backend->gateway->settings;
    struct balance *balance = calloc(1, sizeof *balance);
    if (balance == NULL)
        return false;
    backend->balance = balance;
    balance->backend = backend;
    balance->balancer = (struct balancer){.interval_ms = (uint64_t)(settings->check_interval_seconds * 1000),
                                          .up_after = (uint32_t)settings->check_up,
                                          .down_after = (uint32_t)settings->check_down};
    random_seed_from_kernel(&balance->random);
    balance->calls = http_calls_create(backend->loop, "muster-load-balancer", CALLS_MAX);
    balance->table = balancer_make_table(&balance->balancer);
    if (balance->calls == NULL || balance->table == NULL || !balance_source_start(backend))
        return false;
    rpc_loop_post(backend->loop, begin, backend);
    return true;
}

void balance_stop(struct backend *backend)
{
    struct balance *balance = backend->balance;
    struct http_calls *calls = balance->calls;
    rpc_loop_timer_stop(backend->loop, &balance->timer);
    balance_source_stop(backend);
    balance->calls = NULL;
    http_calls_destroy(calls);
}

void balance_free(struct backend *backend)
{
    struct balance *balance = backend->balance;
    balance_stop(backend);
    balancer_table_release(balance->table);
    balancer_free(&balance->balancer);
    free(balance);
    backend->balance = NULL;
}

/* --- How it is --- */

bool balance_is_degraded(const struct backend *backend)
{
    const struct balance *balance = backend->balance;
    return balance->problem[0] != '\0' || balance->balancer.count == 0 ||
           balancer_up_count(&balance->balancer) < balance->balancer.count;
}

static void write_upstream(const struct backend *backend, const struct balancer_upstream *upstream,
                           struct json_writer *writer)
{
    uint64_t now_ms = rpc_loop_now_ms(backend->loop), requests, failures;
    balancer_target_counts(upstream->target, &requests, &failures);
    json_write_object_begin(writer);
    json_write_named_text(writer, "url", balancer_target_url(upstream->target));
    json_write_named_text(writer, "state", balancer_state_word(upstream->state));
    json_write_named_double(writer, "since_seconds",
                            (double)(now_ms > upstream->since_ms ? now_ms - upstream->since_ms : 0) / 1000);
    if (upstream->reason[0] != '\0')
        json_write_named_text(writer, "reason", upstream->reason);
    json_write_named_uint(writer, "requests", requests);
    json_write_named_uint(writer, "failures", failures);
    json_write_object_end(writer);
}

void balance_write_health(struct backend *backend, struct json_writer *writer)
{
    const struct balance *balance = backend->balance;
    const struct balancer *balancer = &balance->balancer;
    size_t up = balancer_up_count(balancer);
    json_write_key(writer, "workers");
    json_write_object_begin(writer);
    json_write_named_uint(writer, "total", balancer->count);
    json_write_named_uint(writer, "active", up);
    json_write_named_uint(writer, "stale", balancer->count - up);
    json_write_object_end(writer);
    json_write_named_text(writer, "message",
                          balancer->count == 0 ? "Load balancer without upstreams"
                          : up == 0            ? "Load balancer with all upstreams down"
                                               : "Load balancer operational");
    if (balance->problem[0] != '\0')
        json_write_named_text(writer, "warning", balance->problem);
    json_write_key(writer, "upstreams");
    json_write_array_begin(writer);
    for (size_t i = 0; i < balancer->count; i++)
        write_upstream(backend, balancer->list[i], writer);
    json_write_array_end(writer);
}

enum figure { FIGURE_UP, FIGURE_REQUESTS, FIGURE_FAILURES };

static void render_figure(const struct balancer *balancer, enum figure figure, const char *name, const char *type,
                          const char *help, struct buffer *out)
{
    buffer_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    for (size_t i = 0; i < balancer->count; i++) {
        const struct balancer_upstream *upstream = balancer->list[i];
        uint64_t requests, failures;
        balancer_target_counts(upstream->target, &requests, &failures);
        uint64_t value = figure == FIGURE_REQUESTS   ? requests
                         : figure == FIGURE_FAILURES ? failures
                                                     : upstream->state != BALANCER_DOWN;
        buffer_append_format(out, "%s{upstream=\"%s\"} %llu\n", name, balancer_target_url(upstream->target),
                             (unsigned long long)value);
    }
}

void balance_render_metrics(const struct backend *backend, struct buffer *out)
{
    const struct balancer *balancer = &backend->balance->balancer;
    render_figure(balancer, FIGURE_UP, "gateway_upstream_up", "gauge", "Whether requests go to an upstream.", out);
    render_figure(balancer, FIGURE_REQUESTS, "gateway_upstream_requests_total", "counter",
                  "Attempts to have a request answered.", out);
    render_figure(balancer, FIGURE_FAILURES, "gateway_upstream_failures_total", "counter", "Those of them that failed.",
                  out);
}
