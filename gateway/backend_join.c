/* See join.h. */

#include "gateway/join.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_calls.h"
#include "common/json/write.h"
#include "common/log.h"
#include "common/random.h"
#include "gateway/machine.h"

#define CALL_TIMEOUT_MS 10000
#define LEAVE_TIMEOUT_MS 2000
/* It joins when all its parts are heard, else it would call itself degraded; but it does not wait for ever. */
#define READY_LIMIT_MS 5000
#define READY_POLL_MS 50
#define RETRY_FIRST_MS 500
#define RETRY_LONGEST_MS 30000
/* Others that an edge router names; more are not kept. */
#define FALLBACKS_MAX 8

enum join_step { JOIN_REGISTER, JOIN_HEARTBEAT, JOIN_LEAVE };

/* One edge router. */
struct join_link {
    struct join *join;
    char *url;
    struct timer timer;
    bool registered;
    bool moved; /* since the call that is under way was sent */
    uint64_t incarnation;
    uint64_t interval_ms;
    uint64_t retry_ms; /* 0: all is well */
    char *fallbacks[FALLBACKS_MAX];
    size_t fallback_count;

    /* The call that is under way. */
    bool calling;
    enum join_step step;
    struct http_call_batch batch;
    struct http_call call;
    struct buffer body;
};

struct join {
    struct backend *backend;
    struct http_calls *calls;
    struct random random;
    struct machine machine;
    char header[600]; /* of each request; "": none */
    struct join_link links[JOIN_LINKS_MAX];
    size_t link_count;
    uint64_t started_at_ms;
    bool leaving;
    void (*left)(struct backend *backend);
    struct timer leave_timer;
};

static const char *public_url(const struct backend *backend)
{
    return backend->gateway->settings.public_url;
}

/* --- What is said --- */

static void write_registration(const struct backend *backend, struct json_writer *writer)
{
    const struct gateway *gateway = backend->gateway;
    json_write_object_begin(writer);
    json_write_named_text(writer, "worker_id", gateway->coordinator_id);
    json_write_named_text(writer, "url", public_url(backend));
    json_write_named_text(writer, "location", gateway->settings.location);
    json_write_named_text(writer, "proof_key", gateway->proof_key);
    json_write_key(writer, "capabilities");
    json_write_object_begin(writer);
    json_write_named_text(writer, "location", gateway->settings.location);
    if (gateway->settings.coordinates[0] != '\0') {
        json_write_named_double(writer, "latitude", gateway->latitude);
        json_write_named_double(writer, "longitude", gateway->longitude);
    }
    json_write_object_end(writer);
    json_write_object_end(writer);
}

static void write_services(const struct replica *replica, struct json_writer *writer)
{
    size_t position = 0;
    const struct replica_service *service;
    json_write_key(writer, "services");
    json_write_object_begin(writer);
    for (size_t count = 0;
         count < REQUEST_SERVICES_MAX && (service = map_next(&replica->services, &position)) != NULL;) {
        if (service->healthy_count == 0)
            continue;
        json_write_key_text(writer, service->name);
        json_write_uint(writer, service->healthy_count);
        count++;
    }
    json_write_object_end(writer);
}

static void write_heartbeat(struct join_link *link, struct json_writer *writer)
{
    const struct backend *backend = link->join->backend;
    const struct replica *replica = &backend->replica;
    double load = 0;
    size_t healthy = 0;
    uint64_t queue_depth = atomic_load(&backend->gateway->jobs);
    for (size_t i = 0; i < replica->worker_count; i++) {
        queue_depth += replica->workers[i]->queue_depth;
        if (!replica_is_healthy(replica->workers[i]))
            continue;
        load += replica_load(replica->workers[i]);
        healthy++;
    }
    json_write_object_begin(writer);
    json_write_named_text(writer, "worker_id", backend->gateway->coordinator_id);
    json_write_named_uint(writer, "incarnation", link->incarnation);
    json_write_named_text(writer, "status", backend_is_degraded(backend) ? "degraded" : "healthy");
    json_write_named_uint(writer, "workers", replica->worker_count);
    write_services(replica, writer);
    json_write_named_double(writer, "load", healthy == 0 ? 0 : load / (double)healthy);
    json_write_named_double(writer, "cpu_percent", machine_cpu_percent(&link->join->machine));
    json_write_named_double(writer, "memory_percent", machine_memory_percent());
    json_write_named_uint(writer, "queue_depth", queue_depth < REQUEST_COUNT_MAX ? queue_depth : REQUEST_COUNT_MAX);
    json_write_object_end(writer);
}

/* --- The links --- */

static void next_step(struct timer *timer, void *argument);

static void schedule(struct join_link *link, uint64_t delay_ms)
{
    if (!link->join->leaving)
        rpc_loop_timer_start(link->join->backend->loop, &link->timer, delay_ms, next_step, link);
}

/* Half of it at random, so that many coordinators do not come back together. */
static uint64_t scattered(struct join_link *link, uint64_t delay_ms)
{
    return delay_ms / 2 + random_below(&link->join->random, delay_ms / 2 + 1);
}

static void retry_later(struct join_link *link)
{
    link->retry_ms = link->retry_ms == 0 ? RETRY_FIRST_MS : link->retry_ms * 2;
    if (link->retry_ms > RETRY_LONGEST_MS)
        link->retry_ms = RETRY_LONGEST_MS;
    schedule(link, scattered(link, link->retry_ms));
}

static void forget_fallbacks(struct join_link *link)
{
    while (link->fallback_count > 0)
        free(link->fallbacks[--link->fallback_count]);
}

static void take_fallbacks(struct join_link *link, const struct json_document *document)
{
    const struct json_node *list = json_member(document, json_root(document), "coordinators");
    const struct json_node *item;
    uint32_t position = 0;
    if (list == NULL || list->type != JSON_TYPE_ARRAY)
        return;
    forget_fallbacks(link);
    while (link->fallback_count < FALLBACKS_MAX && (item = json_next(document, list, &position, NULL)) != NULL) {
        const struct json_node *url = item->type == JSON_TYPE_OBJECT ? json_member(document, item, "url") : NULL;
        if (url != NULL && url->type == JSON_TYPE_TEXT &&
            (link->fallbacks[link->fallback_count] = strndup(url->text, url->text_bytes)) != NULL)
            link->fallback_count++;
    }
}

static uint64_t whole_of(const struct json_document *document, const char *name, uint64_t otherwise)
{
    const struct json_node *node = json_member(document, json_root(document), name);
    return node == NULL || node->type != JSON_TYPE_NUMBER || !node->boolean || node->integer < 0
               ? otherwise
               : (uint64_t)node->integer;
}

static void take_answer(struct join_link *link)
{
    struct json_document document;
    const struct buffer *text = &link->call.response;
    if (!link->call.truncated && text->bytes > 0 && json_document_parse(&document, text->data, text->bytes) &&
        json_root(&document)->type == JSON_TYPE_OBJECT) {
        if (link->step == JOIN_REGISTER) {
            link->incarnation = whole_of(&document, "incarnation", 0);
            link->interval_ms = whole_of(&document, "heartbeat_interval", 30) * 1000;
        }
        take_fallbacks(link, &document);
    }
    if (!link->call.truncated && text->bytes > 0)
        json_document_free(&document);
    double limit_ms = link->join->backend->gateway->settings.join_heartbeat_seconds * 1000;
    if (link->interval_ms == 0 || (double)link->interval_ms > limit_ms)
        link->interval_ms = (uint64_t)limit_ms;
}

static void note_failure(struct join_link *link)
{
    const struct http_call *call = &link->call;
    char answer[200];
    snprintf(answer, sizeof answer, "%.*s", (int)(call->response.bytes < 190 ? call->response.bytes : 190),
             call->response.data == NULL ? "" : call->response.data);
    if (link->step == JOIN_HEARTBEAT && call->status == 404) {
        log_info("the edge router does not know this coordinator; it registers again", LOG_TEXT("url", link->url));
        link->registered = false;
        schedule(link, scattered(link, RETRY_FIRST_MS));
        return;
    }
    if (link->retry_ms == 0 || call->status != 0)
        log_warning(call->status == 409
                        ? "another coordinator uses this id; give each one a --coordinator-id of its own"
                    : link->step == JOIN_REGISTER ? "cannot join the edge router; it is tried again"
                                                  : "the edge router does not take heartbeats; it is tried again",
                    LOG_TEXT("url", link->url), LOG_UINT("status", (uint64_t)call->status),
                    LOG_TEXT("reason", call->status == 0 ? call->error : answer));
    if (call->status == 409)
        link->registered = false;
    retry_later(link);
}

static void leave_if_done(struct join *join);

static void answered(struct http_call_batch *batch)
{
    struct join_link *link = (struct join_link *)((char *)batch - offsetof(struct join_link, batch));
    struct join *join = link->join;
    bool taken = link->call.status >= 200 && link->call.status < 300;
    link->calling = false;
    if (taken && link->step != JOIN_LEAVE) {
        bool news = !link->registered || link->retry_ms != 0;
        take_answer(link);
        link->registered = !link->moved;
        link->retry_ms = 0;
        if (news)
            log_info("joined the edge router", LOG_TEXT("url", link->url), LOG_TEXT("as", public_url(join->backend)));
        /* The first heartbeat follows at once: it says which services there are. */
        schedule(link, link->step == JOIN_REGISTER || link->moved ? 0 : link->interval_ms);
    } else if (!taken && !join->leaving) {
        note_failure(link);
    }
    free(link->call.url);
    buffer_free(&link->call.response);
    buffer_free(&link->body);
    link->call = (struct http_call){.url = NULL};
    if (join->leaving)
        leave_if_done(join);
}

/* A segment of a path: everything but what RFC 3986 calls unreserved is percent-encoded. */
static void append_segment(struct buffer *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (isalnum(*at) || strchr("-._~", *at) != NULL)
            buffer_append_char(out, (char)*at);
        else
            buffer_append_format(out, "%%%02X", *at);
    }
}

static void send_step(struct join_link *link, enum join_step step)
{
    static const char *const paths[] = {"/api/edge/register", "/api/edge/heartbeat", "/api/edge/unregister/"};
    struct join *join = link->join;
    struct json_writer writer = json_writer_into(&link->body);
    struct buffer path = BUFFER_INIT;
    buffer_append_text(&path, paths[step]);
    if (step == JOIN_REGISTER)
        write_registration(join->backend, &writer);
    else if (step == JOIN_HEARTBEAT)
        write_heartbeat(link, &writer);
    else
        append_segment(&path, join->backend->gateway->coordinator_id);
    link->step = step;
    link->moved = false;
    link->call = (struct http_call){.url = buffer_failed(&path) ? NULL : http_calls_url(link->url, path.data)};
    link->batch = (struct http_call_batch){.method = step == JOIN_LEAVE ? "DELETE" : NULL,
                                           .header = join->header[0] == '\0' ? NULL : join->header,
                                           .body = step == JOIN_LEAVE ? NULL : link->body.data,
                                           .body_bytes = link->body.bytes,
                                           .timeout_ms = step == JOIN_LEAVE ? LEAVE_TIMEOUT_MS : CALL_TIMEOUT_MS,
                                           .calls = &link->call,
                                           .call_count = 1,
                                           .done = answered};
    buffer_free(&path);
    link->calling = link->call.url != NULL && !buffer_failed(&link->body) && http_calls_send(join->calls, &link->batch);
    if (link->calling)
        return;
    free(link->call.url);
    buffer_free(&link->body);
    retry_later(link);
}

static void next_step(struct timer *timer, void *argument)
{
    struct join_link *link = argument;
    struct backend *backend = link->join->backend;
    (void)timer;
    if (!atomic_load(&backend->gateway->ready) &&
        rpc_loop_now_ms(backend->loop) - link->join->started_at_ms < READY_LIMIT_MS)
        schedule(link, READY_POLL_MS);
    else if (!link->calling && public_url(backend)[0] != '\0') /* else join_moved comes */
        send_step(link, link->registered ? JOIN_HEARTBEAT : JOIN_REGISTER);
}

void join_moved(struct backend *backend)
{
    struct join *join = backend->join;
    for (size_t i = 0; i < join->link_count; i++) {
        join->links[i].moved = join->links[i].calling;
        join->links[i].registered = false;
        join->links[i].retry_ms = 0;
        if (!join->links[i].calling)
            schedule(&join->links[i], 0);
    }
}

/* --- Leaving --- */

static void leave(struct join *join)
{
    void (*left)(struct backend *) = join->left;
    join->left = NULL;
    rpc_loop_timer_stop(join->backend->loop, &join->leave_timer);
    if (left != NULL)
        left(join->backend);
}

/* A call that was under way when the leaving began is followed by the goodbye. */
static void leave_if_done(struct join *join)
{
    bool waits = false;
    for (size_t i = 0; i < join->link_count; i++) {
        struct join_link *link = &join->links[i];
        if (!link->calling && link->step != JOIN_LEAVE && join->left != NULL)
            send_step(link, JOIN_LEAVE);
        waits = waits || link->calling;
    }
    if (!waits)
        leave(join);
}

static void waited_long_enough(struct timer *timer, void *argument)
{
    (void)timer;
    leave(argument);
}

void join_leave(struct backend *backend, void (*left)(struct backend *backend))
{
    struct join *join = backend->join;
    join->leaving = true;
    join->left = left;
    for (size_t i = 0; i < join->link_count; i++)
        rpc_loop_timer_stop(backend->loop, &join->links[i].timer);
    rpc_loop_timer_start(backend->loop, &join->leave_timer, LEAVE_TIMEOUT_MS, waited_long_enough, join);
    leave_if_done(join);
}

/* --- Life --- */

bool join_start(struct backend *backend)
{
    const struct gateway_settings *settings = &backend->gateway->settings;
    struct join *join = calloc(1, sizeof *join);
    if (join == NULL)
        return false;
    backend->join = join;
    join->backend = backend;
    join->started_at_ms = rpc_loop_now_ms(backend->loop);
    random_seed_from_kernel(&join->random);
    if (settings->federation_key[0] != '\0')
        snprintf(join->header, sizeof join->header, "X-API-Key: %s", settings->federation_key);
    join->calls = http_calls_create(backend->loop, "muster-gateway", JOIN_LINKS_MAX);
    if (join->calls == NULL)
        return false;
    for (const char *at = settings->join; *at != '\0' && join->link_count < JOIN_LINKS_MAX;) {
        size_t bytes = strcspn(at, ", ");
        struct join_link *link = &join->links[join->link_count];
        if (bytes > 0 && (link->url = strndup(at, bytes)) == NULL)
            return false;
        if (bytes > 0) {
            link->join = join;
            join->link_count++;
            schedule(link, 0);
        }
        at += bytes + strspn(at + bytes, ", ");
    }
    return true;
}

void join_stop(struct backend *backend)
{
    struct join *join = backend->join;
    struct http_calls *calls = join->calls;
    join->leaving = true;
    join->left = NULL;
    for (size_t i = 0; i < join->link_count; i++)
        rpc_loop_timer_stop(backend->loop, &join->links[i].timer);
    rpc_loop_timer_stop(backend->loop, &join->leave_timer);
    join->calls = NULL;
    http_calls_destroy(calls);
}

void join_free(struct backend *backend)
{
    struct join *join = backend->join;
    join_stop(backend);
    for (size_t i = 0; i < join->link_count; i++) {
        forget_fallbacks(&join->links[i]);
        free(join->links[i].url);
    }
    free(join);
    backend->join = NULL;
}

/* --- For workers --- */

void join_write(const struct backend *backend, struct json_writer *writer)
{
    const struct join *join = backend->join;
    if (public_url(backend)[0] != '\0') {
        json_write_key(writer, "coordinator");
        json_write_object_begin(writer);
        json_write_named_text(writer, "id", backend->gateway->coordinator_id);
        json_write_named_text(writer, "url", public_url(backend));
        json_write_object_end(writer);
    }
    json_write_key(writer, "fallback_coordinators");
    json_write_array_begin(writer);
    for (size_t i = 0; i < join->link_count; i++) {
        for (size_t j = 0; j < join->links[i].fallback_count; j++)
            json_write_text(writer, join->links[i].fallbacks[j]);
    }
    /* The edge routers themselves know who else there is by then. */
    for (size_t i = 0; i < join->link_count; i++)
        json_write_text(writer, join->links[i].url);
    json_write_array_end(writer);
}
