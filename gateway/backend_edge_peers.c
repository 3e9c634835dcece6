/* See edge_peers.h. */

#include "gateway/edge_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/write.h"
#include "common/log.h"
#include "gateway/edge.h"
#include "gateway/front.h"
#include "gateway/worker_json.h"

#define SOON_MS 50
#define CALL_TIMEOUT_MS 5000
/* In one message; those that were heard last. */
#define NEWS_MAX REQUEST_ITEMS_MAX
/* Who has gone is remembered for so long: older news of it may be on its way. */
#define GONE_KEPT_MS 120000

/* What is known of a coordinator, beside the roll. */
struct heard {
    uint64_t here_at_ms;  /* by this edge router itself; 0: never */
    uint64_t there_at_ms; /* by another one, as it said; 0: never */
    uint64_t gone_at_ms;  /* 0: it has not said goodbye */
    bool gone_here;       /* and it did so to this one */
    char id[];
};

struct edge_peers {
    char *urls[EDGE_PEERS_MAX];
    bool calling[EDGE_PEERS_MAX];
    size_t url_count;
    struct map heard; /* by id */
    struct timer timer;
    char header[600];
};

/* --- What was heard --- */

static struct heard *remember(struct edge_peers *peers, const char *id)
{
    struct heard *heard = map_get_text(&peers->heard, id);
    if (heard != NULL)
        return heard;
    size_t bytes = strlen(id) + 1;
    heard = calloc(1, sizeof *heard + bytes);
    if (heard == NULL)
        return NULL;
    memcpy(heard->id, id, bytes);
    if (map_put_text(&peers->heard, heard->id, heard, NULL))
        return heard;
    free(heard);
    return NULL;
}

void edge_peers_heard(struct backend *backend, const char *coordinator_id)
{
    struct edge_peers *peers = backend->edge->peers;
    struct heard *heard = peers == NULL ? NULL : remember(peers, coordinator_id);
    if (heard == NULL)
        return; /* without memory the others hear of its next heartbeat */
    heard->here_at_ms = rpc_loop_now_ms(backend->loop);
    heard->gone_at_ms = 0;
}

void edge_peers_gone(struct backend *backend, const char *coordinator_id)
{
    struct edge_peers *peers = backend->edge->peers;
    struct heard *heard = peers == NULL ? NULL : remember(peers, coordinator_id);
    if (heard == NULL)
        return; /* the others find out by its silence */
    heard->gone_at_ms = rpc_loop_now_ms(backend->loop);
    heard->gone_here = true;
    edge_peers_tell(backend);
}

/* One that is neither on the roll nor was there lately; a map must not change while it is walked. */
static struct heard *find_forgotten(const struct backend *backend)
{
    struct edge_peers *peers = backend->edge->peers;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    size_t position = 0;
    struct heard *heard;
    while ((heard = map_next(&peers->heard, &position)) != NULL) {
        uint64_t last_ms = heard->here_at_ms > heard->there_at_ms ? heard->here_at_ms : heard->there_at_ms;
        last_ms = heard->gone_at_ms > last_ms ? heard->gone_at_ms : last_ms;
        if (replica_find(backend->roll, heard->id) == NULL && now_ms - last_ms > GONE_KEPT_MS)
            return heard;
    }
    return NULL;
}

/* --- Telling --- */

struct telling {
    struct http_call_batch batch; /* first */
    struct http_call call;
    struct backend *backend;
    size_t peer;
    struct buffer body;
};

static void told(struct http_call_batch *batch)
{
    struct telling *telling = (struct telling *)batch;
    struct edge_peers *peers = telling->backend->edge->peers;
    peers->calling[telling->peer] = false;
    if (telling->call.status != 200)
        log_warning("another edge router does not take the news", LOG_TEXT("peer", peers->urls[telling->peer]),
                    LOG_UINT("status", (uint64_t)telling->call.status), LOG_TEXT("reason", telling->call.error));
    free(telling->call.url);
    buffer_free(&telling->call.response);
    buffer_free(&telling->body);
    free(telling);
}

static void write_heard(struct json_writer *writer, const struct heard *heard, const struct federation_region *region,
                        uint64_t now_ms)
{
    bool gone = heard->gone_at_ms != 0;
    json_write_object_begin(writer);
    json_write_named_text(writer, "worker_id", heard->id);
    json_write_named_uint(writer, "age_ms", now_ms - (gone ? heard->gone_at_ms : heard->here_at_ms));
    json_write_named_bool(writer, "gone", gone);
    if (!gone && region != NULL) {
        json_write_named_text(writer, "url", region->url);
        json_write_named_text(writer, "location", region->location);
        json_write_key(writer, "capabilities");
        json_write_raw(writer, region->capabilities, strlen(region->capabilities));
    }
    json_write_object_end(writer);
}

/* Those that were heard here since two tellings ago: one may have been lost. */
static void write_news(const struct backend *backend, struct buffer *body)
{
    const struct edge_peers *peers = backend->edge->peers;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    struct json_writer writer = json_writer_into(body);
    size_t position = 0, count = 0;
    const struct heard *heard;
    json_write_object_begin(&writer);
    json_write_named_text(&writer, "from", backend->gateway->instance);
    json_write_key(&writer, "coordinators");
    json_write_array_begin(&writer);
    while (count < NEWS_MAX && (heard = map_next(&peers->heard, &position)) != NULL) {
        const struct federation_region *region = federation_find(&backend->edge->federation, heard->id);
        bool has_gone = heard->gone_at_ms != 0 && heard->gone_here;
        if (!has_gone && (region == NULL || region->url == NULL || heard->here_at_ms == 0 || heard->gone_at_ms != 0))
            continue;
        write_heard(&writer, heard, region, now_ms);
        count++;
    }
    json_write_array_end(&writer);
    json_write_object_end(&writer);
}

static bool tell(struct backend *backend, size_t peer)
{
    struct edge_peers *peers = backend->edge->peers;
    struct telling *telling = calloc(1, sizeof *telling);
    if (telling == NULL)
        return false;
    telling->backend = backend;
    telling->peer = peer;
    telling->call.url = http_calls_url(peers->urls[peer], "/api/edge/peers");
    write_news(backend, &telling->body);
    telling->batch = (struct http_call_batch){.header = peers->header[0] == '\0' ? NULL : peers->header,
                                              .body = telling->body.data,
                                              .body_bytes = telling->body.bytes,
                                              .timeout_ms = CALL_TIMEOUT_MS,
                                              .calls = &telling->call,
                                              .call_count = 1,
                                              .done = told};
    peers->calling[peer] = true;
    if (!buffer_failed(&telling->body) && telling->call.url != NULL &&
        http_calls_send(backend->edge->calls, &telling->batch))
        return true;
    peers->calling[peer] = false;
    free(telling->call.url);
    buffer_free(&telling->body);
    free(telling);
    return false;
}

static void due(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    struct edge_peers *peers = backend->edge->peers;
    struct heard *forgotten;
    while ((forgotten = find_forgotten(backend)) != NULL) {
        (void)map_remove_text(&peers->heard, forgotten->id); /* it is `forgotten` */
        free(forgotten);
    }
    for (size_t i = 0; i < peers->url_count; i++) {
        if (!peers->calling[i])
            (void)tell(backend, i); /* without memory the next time will do */
    }
    rpc_loop_timer_start(backend->loop, timer, (uint64_t)(backend->gateway->settings.peer_interval_seconds * 1000), due,
                         backend);
}

void edge_peers_tell(struct backend *backend)
{
    struct edge_peers *peers = backend->edge->peers;
    if (peers != NULL && backend->edge->calls != NULL)
        rpc_loop_timer_start(backend->loop, &peers->timer, SOON_MS, due, backend);
}

/* --- Being told --- */

static uint64_t last_heard_ms(const struct heard *heard)
{
    return heard->here_at_ms > heard->there_at_ms ? heard->here_at_ms : heard->there_at_ms;
}

static void registry_answered(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                              void *argument)
{
    (void)call;
    (void)response;
    (void)argument;
    if (status != RPC_OK && status != RPC_NOT_FOUND && status != RPC_CANCELLED)
        log_warning("news of a coordinator could not be kept; it is told again",
                    LOG_TEXT("status", rpc_status_name(status)), LOG_TEXT("reason", text));
}

/* The watches bring what becomes of it. */
static void call(struct backend *backend, enum backend_part part, const ProtobufCServiceDescriptor *service,
                 const char *method, const ProtobufCMessage *request)
{
    if (backend->channels[part] != NULL)
        (void)rpc_channel_call(backend->channels[part], service, method, request,
                               &(struct rpc_call_options){.timeout_ms = 10000}, registry_answered, NULL);
}

static void keep_alive(struct backend *backend, const struct replica_worker *coordinator)
{
    Muster__V1__Heartbeat heartbeat = MUSTER__V1__HEARTBEAT__INIT;
    Muster__V1__ReportHeartbeatsRequest request = MUSTER__V1__REPORT_HEARTBEATS_REQUEST__INIT;
    heartbeat.worker_id = (char *)(uintptr_t)coordinator->id; /* it is only packed */
    heartbeat.incarnation = coordinator->record->incarnation;
    request.heartbeats = (Muster__V1__Heartbeat *[]){&heartbeat};
    request.n_heartbeats = 1;
    call(backend, PART_HEALTH, &muster__v1__health_service__descriptor, "ReportHeartbeats", &request.base);
}

static void take_off(struct backend *backend, const struct replica_worker *coordinator)
{
    Muster__V1__UnregisterWorkerRequest request = MUSTER__V1__UNREGISTER_WORKER_REQUEST__INIT;
    request.worker_id = (char *)(uintptr_t)coordinator->id; /* likewise */
    request.incarnation = coordinator->record->incarnation;
    call(backend, PART_REGISTRY, &muster__v1__registry_service__descriptor, "UnregisterWorker", &request.base);
}

static void put_on(struct backend *backend, Muster__V1__WorkerSpec *spec)
{
    Muster__V1__RegisterWorkerRequest request = MUSTER__V1__REGISTER_WORKER_REQUEST__INIT;
    spec->worker_type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE;
    request.spec = spec;
    call(backend, PART_REGISTRY, &muster__v1__registry_service__descriptor, "RegisterWorker", &request.base);
}

static bool says_the_same(const struct backend *backend, const Muster__V1__WorkerSpec *spec)
{
    const struct federation_region *known = federation_find(&backend->edge->federation, spec->worker_id);
    return known != NULL && known->url != NULL && strcmp(known->url, spec->tunnel_url) == 0 &&
           strcmp(known->location, spec->location) == 0;
}

/* Whether it was news. */
static bool take_one(struct backend *backend, const Muster__V1__WorkerSpec *said, uint64_t age_ms, bool gone)
{
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    uint64_t at_ms = age_ms < now_ms ? now_ms - age_ms : 1;
    Muster__V1__WorkerSpec spec = *said;
    struct heard *heard = remember(backend->edge->peers, spec.worker_id);
    const struct replica_worker *coordinator = replica_find(backend->roll, spec.worker_id);
    if (heard == NULL || at_ms <= last_heard_ms(heard) || at_ms <= heard->gone_at_ms)
        return false;
    if (gone) {
        heard->gone_at_ms = at_ms;
        heard->gone_here = false;
        if (coordinator != NULL)
            take_off(backend, coordinator);
        return coordinator != NULL;
    }
    if (spec.tunnel_url[0] == '\0')
        return false;
    bool was_gone = heard->gone_at_ms != 0;
    heard->there_at_ms = at_ms;
    heard->gone_at_ms = 0;
    if (coordinator != NULL && !was_gone && says_the_same(backend, &spec))
        keep_alive(backend, coordinator);
    else
        put_on(backend, &spec);
    return true;
}

static uint64_t whole_of(const struct json_document *document, const struct json_node *object, const char *name)
{
    const struct json_node *node = json_member(document, object, name);
    return node == NULL || node->type != JSON_TYPE_NUMBER || node->number < 0 ? 0 : (uint64_t)node->number;
}

void backend_run_edge_peers(struct backend *backend, struct job *job)
{
    const struct json_document *document = job->document;
    const struct json_node *from = json_member(document, json_root(document), "from");
    const struct json_node *list = json_member(document, json_root(document), "coordinators");
    uint32_t position = 0;
    size_t taken = 0;
    const struct json_node *item;
    if (backend->edge->peers == NULL) {
        job_fail(job, ERROR_FORBIDDEN_PEER,
                 "this edge router has no peers; start it with --peer URL, yours among them");
        return;
    }
    /* Its own news, if it is its own peer. */
    bool is_own = json_text_equals(from, backend->gateway->instance);
    while (!is_own && (item = json_next(document, list, &position, NULL)) != NULL) {
        Muster__V1__WorkerSpec spec;
        const struct json_node *gone = json_member(document, item, "gone");
        if (!edge_read_spec(job, item, &spec)) {
            job_fail(job, ERROR_INTERNAL, "out of memory");
            return;
        }
        taken += take_one(backend, &spec, whole_of(document, item, "age_ms"),
                          gone != NULL && gone->type == JSON_TYPE_BOOL && gone->boolean);
    }
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    json_write_named_text(&writer, "status", "ok");
    json_write_named_uint(&writer, "taken", taken);
    json_write_object_end(&writer);
    job_done_with_body(job);
}

/* --- Life --- */

bool edge_peers_start(struct backend *backend)
{
    const struct gateway_settings *settings = &backend->gateway->settings;
    if (settings->peers[0] == '\0')
        return true;
    struct edge_peers *peers = calloc(1, sizeof *peers);
    if (peers == NULL)
        return false;
    backend->edge->peers = peers;
    if (settings->federation_key[0] != '\0')
        snprintf(peers->header, sizeof peers->header, "X-API-Key: %s", settings->federation_key);
    for (const char *at = settings->peers; *at != '\0' && peers->url_count < EDGE_PEERS_MAX;) {
        size_t bytes = strcspn(at, ", ");
        if (bytes > 0 && (peers->urls[peers->url_count] = strndup(at, bytes)) != NULL)
            peers->url_count++;
        at += bytes + strspn(at + bytes, ", ");
    }
    rpc_loop_timer_start(backend->loop, &peers->timer, SOON_MS, due, backend);
    return true;
}

void edge_peers_stop(struct backend *backend)
{
    if (backend->edge->peers != NULL)
        rpc_loop_timer_stop(backend->loop, &backend->edge->peers->timer);
}

void edge_peers_free(struct backend *backend)
{
    struct edge_peers *peers = backend->edge->peers;
    size_t position = 0;
    struct heard *heard;
    if (peers == NULL)
        return;
    while ((heard = map_next(&peers->heard, &position)) != NULL)
        free(heard);
    map_free(&peers->heard);
    for (size_t i = 0; i < peers->url_count; i++)
        free(peers->urls[i]);
    free(peers);
    backend->edge->peers = NULL;
}
