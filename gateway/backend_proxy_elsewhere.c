/* Services that no list has: a coordinator is asked, which looks in the hash table of all of them. See elsewhere.h.
 *
 * Each service is asked for once at a time, at the coordinators in turn until one knows somebody; whoever wants it
 * waits for that. The workers that are answered go into the route table beside those of the lists. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_calls.h"
#include "common/log.h"
#include "gateway/elsewhere.h"
#include "gateway/front.h"

#define ANSWER_BYTES_MAX (1 << 20)
#define NOBODY_MS 5000 /* that nobody offers it is good for less long */
#define QUESTIONS_MAX 100
#define URL_BYTES_MAX 2048

struct question {
    struct http_call_batch batch; /* first */
    struct http_call call;
    struct backend *backend;
    struct job *waiting, **waiting_end;
    size_t next_list; /* whom to ask next */
    bool was_answered;
    char header[600];
    char service[];
};

static bool ask_next(struct question *question);

/* --- Ends --- */

static void end(struct question *question)
{
    struct backend *backend = question->backend;
    struct job *job = question->waiting;
    if (backend->proxy->elsewhere != NULL)
        (void)map_remove_text(&backend->proxy->elsewhere->questions, question->service); /* it is `question` */
    free(question->call.url);
    buffer_free(&question->call.response);
    while (job != NULL) {
        struct job *following = job->next;
        job->run(backend, job); /* finds it in the table, or nobody */
        job = following;
    }
    free(question);
}

static void forget_due(struct timer *timer, void *argument);

static void wait_to_forget(struct backend *backend)
{
    struct elsewhere *elsewhere = backend->proxy->elsewhere;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    uint64_t next_ms = elsewhere_next_ms(&elsewhere->table);
    rpc_loop_timer_stop(backend->loop, &elsewhere->timer);
    if (next_ms != UINT64_MAX && backend->edge->calls != NULL)
        rpc_loop_timer_start(backend->loop, &elsewhere->timer, next_ms > now_ms ? next_ms - now_ms : 1, forget_due,
                             backend);
}

static void forget_due(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    (void)timer;
    if (elsewhere_expire(&backend->proxy->elsewhere->table, rpc_loop_now_ms(backend->loop)))
        proxy_route(backend);
    wait_to_forget(backend);
}

static void note(struct backend *backend, const char *service, const struct http_call *call)
{
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    uint64_t good_ms = (uint64_t)(backend->gateway->settings.elsewhere_seconds * 1000);
    bool found = call != NULL && elsewhere_put(&backend->proxy->elsewhere->table, service, call->response.data,
                                               call->response.bytes, now_ms + good_ms);
    if (!found) /* without memory it is asked for again, at worst */
        (void)elsewhere_put(&backend->proxy->elsewhere->table, service, NULL, 0,
                            now_ms + (good_ms < NOBODY_MS ? good_ms : NOBODY_MS));
    log_debug("a service was looked for elsewhere", LOG_TEXT("service", service),
              LOG_TEXT("found", found ? "yes" : "no"));
    proxy_route(backend);
    wait_to_forget(backend);
}

static void answered(struct http_call_batch *batch)
{
    struct question *question = (struct question *)batch;
    struct backend *backend = question->backend;
    const struct http_call *call = &question->call;
    bool stopping = backend->edge->calls == NULL;
    bool found = call->status == 200 && !call->truncated && call->response.bytes > 0;
    question->was_answered = question->was_answered || call->status == 200 || call->status == 503;
    if (!stopping && !found && ask_next(question))
        return;
    /* When nobody could be asked it is not known that there is nobody. */
    if (!stopping && (found || question->was_answered))
        note(backend, question->service, found ? call : NULL);
    end(question);
}

/* --- Asking --- */

/* Only visible ASCII that means nothing in a URL stays as it is. */
static bool put_encoded(char *text, size_t text_bytes, const char *name)
{
    size_t used = strlen(text);
    for (const unsigned char *at = (const unsigned char *)name; *at != '\0'; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
                     *at == '-' || *at == '_' || *at == '.' || *at == '~';
        if (used + 4 > text_bytes)
            return false;
        used += (size_t)snprintf(text + used, text_bytes - used, plain ? "%c" : "%%%02X", *at);
    }
    return true;
}

static char *url_of(const char *coordinator, const char *service)
{
    char path[URL_BYTES_MAX] = "/api/services/discover/";
    if (!put_encoded(path, sizeof path - sizeof "?scope=all", service))
        return NULL;
    strcat(path, "?scope=all");
    return http_calls_url(coordinator, path);
}

/* False: there is nobody left. */
static bool ask_next(struct question *question)
{
    struct backend *backend = question->backend;
    const struct proxy *proxy = backend->proxy;
    const struct gateway_settings *settings = &backend->gateway->settings;
    free(question->call.url);
    buffer_free(&question->call.response);
    question->call = (struct http_call){.url = NULL};
    while (question->next_list < proxy->list_count) {
        const struct proxy_list *list = &proxy->lists[question->next_list++];
        const struct federation_region *region = federation_find(&backend->edge->federation, list->id);
        if (region == NULL || region->problem[0] != '\0')
            continue; /* it does not answer */
        question->call.url = url_of(list->id, question->service);
        if (question->call.url == NULL)
            return false;
        question->batch =
            (struct http_call_batch){.header = settings->federation_key[0] == '\0' ? NULL : question->header,
                                     .timeout_ms = (uint32_t)(settings->region_timeout_seconds * 1000),
                                     .response_bytes_max = ANSWER_BYTES_MAX,
                                     .calls = &question->call,
                                     .call_count = 1,
                                     .done = answered};
        return http_calls_send(backend->edge->calls, &question->batch);
    }
    return false;
}

static void wait_for(struct question *question, struct job *job)
{
    job->waited = true;
    job->next = NULL;
    *question->waiting_end = job;
    question->waiting_end = &job->next;
}

bool elsewhere_looks(struct backend *backend, struct job *job)
{
    struct elsewhere *elsewhere = backend->proxy->elsewhere;
    struct question *question = map_get_text(&elsewhere->questions, job->name);
    if (elsewhere_find(&elsewhere->table, job->name, rpc_loop_now_ms(backend->loop)) != NULL || job->looked_elsewhere)
        return false; /* it is in the table, if anybody offers it */
    job->looked_elsewhere = true;
    if (question != NULL) {
        wait_for(question, job);
        return true;
    }
    size_t bytes = strlen(job->name) + 1;
    question = elsewhere->questions.count == QUESTIONS_MAX ? NULL : calloc(1, sizeof *question + bytes);
    if (question == NULL)
        return false;
    memcpy(question->service, job->name, bytes);
    question->backend = backend;
    question->waiting_end = &question->waiting;
    snprintf(question->header, sizeof question->header, "X-API-Key: %s", backend->gateway->settings.federation_key);
    if (!map_put_text(&elsewhere->questions, question->service, question, NULL) || !ask_next(question)) {
        end(question); /* nobody waits for it yet */
        return false;
    }
    wait_for(question, job);
    return true;
}

/* --- Life --- */

bool elsewhere_start(struct backend *backend)
{
    backend->proxy->elsewhere = calloc(1, sizeof *backend->proxy->elsewhere);
    return backend->proxy->elsewhere != NULL;
}

void elsewhere_stop(struct backend *backend)
{
    rpc_loop_timer_stop(backend->loop, &backend->proxy->elsewhere->timer);
}

void elsewhere_free(struct backend *backend)
{
    struct elsewhere *elsewhere = backend->proxy->elsewhere;
    elsewhere_table_free(&elsewhere->table);
    map_free(&elsewhere->questions); /* all have ended */
    free(elsewhere);
    backend->proxy->elsewhere = NULL;
}
