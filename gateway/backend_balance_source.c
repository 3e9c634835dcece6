/* Where a load balancer's upstreams come from; see balance.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "gateway/balance.h"
#include "gateway/balancer/upstream_list.h"
#include "gateway/proxy/elsewhere_table.h"

/* How often the file is looked at. */
#define FILE_INTERVAL_MS 1000
#define ANSWER_BYTES_MAX (16 << 20)
#define DISCOVER_PATH "/api/services/discover/"

/* --- A list as text --- */

/* False: it is wrong, and nothing has changed. */
static bool take_text(struct backend *backend, const char *text, size_t bytes, const char *whose)
{
    struct balance *balance = backend->balance;
    struct upstream_list list;
    char problem[200];
    if (!upstream_list_read(text, bytes, &list, problem, sizeof problem)) {
        snprintf(balance->problem, sizeof balance->problem, "%.80s is wrong: %s", whose, problem);
        log_error("the list of upstreams is wrong; those that were there go on", LOG_TEXT("reason", balance->problem));
        return false;
    }
    balance->problem[0] = '\0';
    balance_set(backend, list.urls, list.count);
    upstream_list_free(&list);
    return true;
}

/* --- The file --- */

/* All that is in it, up to one byte more than it may have. */
static bool read_text(int descriptor, struct buffer *text)
{
    char piece[65536];
    ssize_t bytes = 0;
    while (text->bytes <= UPSTREAM_LIST_BYTES_MAX && (bytes = read(descriptor, piece, sizeof piece)) != 0) {
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes < 0)
            return false;
        buffer_append(text, piece, (size_t)bytes);
    }
    return !buffer_failed(text);
}

static bool read_file(struct backend *backend)
{
    struct balance *balance = backend->balance;
    const char *path = backend->gateway->settings.upstreams_file;
    struct buffer text = BUFFER_INIT;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    bool fine = descriptor >= 0 && fstat(descriptor, &balance->seen) == 0 && read_text(descriptor, &text);
    if (!fine) {
        snprintf(balance->problem, sizeof balance->problem, "%.80s cannot be read: %s", path, strerror(errno));
        log_error("the list of upstreams cannot be read; those that were there go on",
                  LOG_TEXT("reason", balance->problem));
    }
    if (descriptor >= 0)
        (void)close(descriptor); /* it was only read */
    fine = fine && take_text(backend, text.data == NULL ? "" : text.data, text.bytes, path);
    buffer_free(&text);
    return fine;
}

static bool has_changed(const struct stat *before, const struct stat *now)
{
    return before->st_dev != now->st_dev || before->st_ino != now->st_ino || before->st_size != now->st_size ||
           before->st_mtim.tv_sec != now->st_mtim.tv_sec || before->st_mtim.tv_nsec != now->st_mtim.tv_nsec;
}

static void file_due(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    struct balance *balance = backend->balance;
    struct stat now;
    bool is_there = stat(backend->gateway->settings.upstreams_file, &now) == 0;
    /* One that is away for a moment, while an editor renames it, is no change. */
    if (is_there && has_changed(&balance->seen, &now))
        (void)read_file(backend); /* what is wrong has been said */
    rpc_loop_timer_start(backend->loop, timer, FILE_INTERVAL_MS, file_due, backend);
}

void balance_reload(struct backend *backend)
{
    if (backend->gateway->settings.upstreams_file[0] != '\0')
        (void)read_file(backend); /* what is wrong has been said */
}

/* --- A coordinator's service --- */

struct question {
    struct http_call_batch batch; /* first */
    struct http_call call;
    struct backend *backend;
    char header[600];
};

static void ask(struct backend *backend);

static void ask_due(struct timer *timer, void *argument)
{
    (void)timer;
    ask(argument);
}

static void wait_to_ask(struct backend *backend)
{
    struct balance *balance = backend->balance;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop), next_ms = balance->polling.next_ms;
    if (balance->calls != NULL && next_ms != UINT64_MAX)
        rpc_loop_timer_start(backend->loop, &balance->source_timer, next_ms > now_ms ? next_ms - now_ms : 1, ask_due,
                             backend);
}

/* Those of the service with the prefix behind each. False: it names nobody, or memory ran out. */
static bool set_offers(struct backend *backend, const struct elsewhere_service *service)
{
    char *urls[ELSEWHERE_WORKERS_MAX];
    size_t count = 0;
    while (count < service->offer_count &&
           (urls[count] = http_calls_url(service->offers[count].url, backend->gateway->settings.upstream_prefix)) !=
               NULL)
        count++;
    bool fine = count > 0 && count == service->offer_count;
    if (fine)
        balance_set(backend, (const char *const *)urls, count);
    for (size_t i = 0; i < count; i++)
        free(urls[i]);
    return fine;
}

static bool take_answer(struct backend *backend, const struct http_call *call)
{
    struct elsewhere_table table = {.services = MAP_INIT};
    const struct elsewhere_service *service = NULL;
    if (call->status == 200 && !call->truncated &&
        elsewhere_put(&table, "", call->response.data == NULL ? "" : call->response.data, call->response.bytes, 1))
        service = elsewhere_find(&table, "", 0);
    bool fine = service != NULL && set_offers(backend, service);
    elsewhere_table_free(&table);
    return fine;
}

static void answered(struct http_call_batch *batch)
{
    struct question *question = (struct question *)batch;
    struct backend *backend = question->backend;
    struct balance *balance = backend->balance;
    const struct http_call *call = &question->call;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    double chance = random_unit(&balance->random);
    balance->is_asking = false;
    if (balance->calls == NULL) {
        /* The process stops. */
    } else if (take_answer(backend, call)) {
        balance->problem[0] = '\0';
        polling_answered(&balance->polling, chance, now_ms);
    } else {
        if (call->status == 0)
            snprintf(balance->problem, sizeof balance->problem, "%.100s does not answer: %.120s", call->url,
                     call->error);
        else
            snprintf(balance->problem, sizeof balance->problem, "%.100s answered %ld, and names nobody", call->url,
                     call->status);
        log_warning("a coordinator names no upstreams; those that were there go on",
                    LOG_TEXT("reason", balance->problem));
        balance->next_coordinator++;
        polling_failed(&balance->polling, chance, now_ms);
    }
    free(question->call.url);
    buffer_free(&question->call.response);
    free(question);
    wait_to_ask(backend);
}

/* Of the coordinator whose turn it is; the setting has been checked. NULL: out of memory. */
static char *url_to_ask(const struct backend *backend)
{
    const struct gateway_settings *settings = &backend->gateway->settings;
    struct upstream_list list;
    char problem[200], path[sizeof DISCOVER_PATH + 300];
    char *url = NULL;
    if (!upstream_list_read(settings->coordinator_urls, strlen(settings->coordinator_urls), &list, problem,
                            sizeof problem))
        return NULL;
    snprintf(path, sizeof path, DISCOVER_PATH "%.256s", settings->upstream_service);
    url = http_calls_url(list.urls[backend->balance->next_coordinator % list.count], path);
    upstream_list_free(&list);
    return url;
}

static void ask(struct backend *backend)
{
    struct balance *balance = backend->balance;
    const struct gateway_settings *settings = &backend->gateway->settings;
    struct question *question = balance->is_asking ? NULL : calloc(1, sizeof *question);
    if (question == NULL)
        return;
    polling_asked(&balance->polling, rpc_loop_now_ms(backend->loop));
    question->backend = backend;
    question->call.url = url_to_ask(backend);
    snprintf(question->header, sizeof question->header, "X-API-Key: %s", settings->federation_key);
    question->batch = (struct http_call_batch){.header = settings->federation_key[0] == '\0' ? NULL : question->header,
                                               .packed = true,
                                               .timeout_ms = (uint32_t)(settings->region_timeout_seconds * 1000),
                                               .response_bytes_max = ANSWER_BYTES_MAX,
                                               .calls = &question->call,
                                               .call_count = 1,
                                               .done = answered};
    balance->is_asking = question->call.url != NULL && http_calls_send(balance->calls, &question->batch);
    if (balance->is_asking)
        return;
    free(question->call.url);
    free(question);
    polling_failed(&balance->polling, random_unit(&balance->random), rpc_loop_now_ms(backend->loop));
    wait_to_ask(backend);
}

void balance_source_hurry(struct backend *backend)
{
    if (backend->gateway->settings.upstream_service[0] == '\0')
        return;
    polling_hurry(&backend->balance->polling);
    wait_to_ask(backend);
}

/* --- Life --- */

bool balance_source_start(struct backend *backend)
{
    struct balance *balance = backend->balance;
    const struct gateway_settings *settings = &backend->gateway->settings;
    if (settings->upstreams_file[0] != '\0') {
        (void)read_file(backend); /* one that is wrong may be put right while we run; /health says so */
        rpc_loop_timer_start(backend->loop, &balance->source_timer, FILE_INTERVAL_MS, file_due, backend);
    } else if (settings->upstream_service[0] != '\0') {
        polling_init(&balance->polling, (uint64_t)(settings->poll_seconds * 1000),
                     (uint64_t)(settings->poll_retry_seconds * 1000), rpc_loop_now_ms(backend->loop));
        ask(backend);
    } else {
        return take_text(backend, settings->upstreams, strlen(settings->upstreams), "--upstreams");
    }
    return true;
}

void balance_source_stop(struct backend *backend)
{
    rpc_loop_timer_stop(backend->loop, &backend->balance->source_timer);
}
