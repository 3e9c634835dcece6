/* Requests to other nodes; see shell.h. */

#include "services/dht/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/auth/base64url.h"
#include "common/http_calls.h"
#include "common/json/document.h"
#include "common/log.h"
#include "services/dht/wire.h"

#define HTTP_CALLS_MAX 4096
/* Connections to gRPC ports that are kept. */
#define CHANNELS_MAX 128

struct peer_channel {
    struct rpc_channel *rpc;
    char address[DHT_ADDRESS_BYTES_MAX + 1];
    size_t calls; /* under way */
    uint64_t used_at_ms;
};

/* A request on its way. It outlives `peers` when its channel is destroyed before it ends. */
struct peer_call {
    struct http_call_batch batch; /* first */
    struct http_call http;
    struct peer_call *next, **link;
    struct peers *peers;    /* NULL: they are gone */
    struct dht_call *call;  /* of the node; NULL: somebody is met */
    enum dht_method method; /* of the request */
    bool trusted;
    char *url; /* for when gRPC fails; NULL: none, or it was tried */
    char address[DHT_ADDRESS_BYTES_MAX + 1];
    uint8_t *message; /* the packed request */
    size_t message_bytes;
};

struct peers {
    struct dht_shell *shell;
    struct http_calls *http_calls; /* NULL before the first request by HTTP */
    struct peer_channel channels[CHANNELS_MAX];
    size_t channel_count;
    struct peer_call *calls;
};

/* --- The end of a request --- */

static void free_call(struct peer_call *call)
{
    if (call->peers != NULL) {
        *call->link = call->next;
        if (call->next != NULL)
            call->next->link = call->link;
    }
    buffer_free(&call->http.response);
    free(call->http.url);
    free(call->batch.body);
    free(call->url);
    free(call->message);
    free(call);
}

static void unanswered(struct peer_call *call)
{
    struct dht_shell *shell = call->peers->shell;
    struct dht_call *node_call = call->call;
    free_call(call);
    if (node_call != NULL)
        dht_node_unanswered(shell->node, rpc_loop_now_ms(shell->loop), node_call);
    dht_shell_touch(shell);
}

static void answered(struct peer_call *call, const Muster__V1__ExchangeResponse *response)
{
    struct dht_shell *shell = call->peers->shell;
    struct dht_reply reply;
    const char *error = NULL;
    uint64_t now_ms = rpc_loop_now_ms(shell->loop);
    if (!dht_wire_take_reply(response, call->method, &reply, &error)) {
        log_debug("a node answered with what no node would", LOG_TEXT("reason", error));
        dht_reply_clear(&reply);
        unanswered(call);
        return;
    }
    struct dht_call *node_call = call->call;
    free_call(call);
    if (node_call != NULL)
        dht_node_answered(shell->node, now_ms, node_call, &reply);
    else if (reply.sender != NULL)
        dht_node_met(shell->node, now_ms, reply.sender);
    dht_reply_clear(&reply);
    dht_shell_touch(shell);
}

static void fail_later(void *argument)
{
    struct peer_call *call = argument;
    if (call->peers != NULL)
        unanswered(call);
    else
        free_call(call);
}

/* --- By HTTP --- */

/* The message of {"message": "…"}; NULL: there is none. */
static Muster__V1__ExchangeResponse *read_answer(const struct buffer *body)
{
    uint8_t bytes[DHT_WIRE_BYTES_MAX];
    Muster__V1__ExchangeResponse *response = NULL;
    struct json_document document;
    if (json_document_parse(&document, body->data == NULL ? "" : body->data, body->bytes) &&
        json_root(&document)->type == JSON_TYPE_OBJECT) {
        const struct json_node *node = json_member(&document, json_root(&document), "message");
        int64_t count = node == NULL || node->type != JSON_TYPE_TEXT
                            ? -1
                            : base64url_decode(node->text, node->text_bytes, bytes, sizeof bytes);
        if (count >= 0)
            response = muster__v1__exchange_response__unpack(NULL, (size_t)count, bytes);
    }
    json_document_free(&document);
    return response;
}

static void http_done(struct http_call_batch *batch)
{
    struct peer_call *call = (struct peer_call *)batch;
    if (call->peers == NULL) {
        free_call(call);
        return;
    }
    Muster__V1__ExchangeResponse *response =
        call->http.status == 200 && !call->http.truncated ? read_answer(&call->http.response) : NULL;
    if (response == NULL) {
        log_debug("a node did not answer", LOG_TEXT("url", call->http.url), LOG_INT("status", call->http.status),
                  LOG_TEXT("reason", call->http.error));
        unanswered(call);
        return;
    }
    answered(call, response);
    muster__v1__exchange_response__free_unpacked(response, NULL);
}

static bool start_http_calls(struct peers *peers)
{
    if (peers->http_calls == NULL)
        peers->http_calls = http_calls_create(peers->shell->loop, "muster-dht", HTTP_CALLS_MAX);
    return peers->http_calls != NULL;
}

static bool send_http(struct peer_call *call)
{
    static const char before[] = "{\"message\":\"", after[] = "\"}";
    size_t text_bytes = BASE64URL_TEXT_BYTES(call->message_bytes);
    call->http.url = http_calls_url(call->url, "/api/dht/rpc");
    call->batch.body = malloc(sizeof before + text_bytes + sizeof after);
    free(call->url);
    call->url = NULL;
    if (call->http.url == NULL || call->batch.body == NULL || !start_http_calls(call->peers))
        return false;
    memcpy(call->batch.body, before, sizeof before - 1);
    base64url_encode(call->message, call->message_bytes, call->batch.body + sizeof before - 1);
    memcpy(call->batch.body + sizeof before - 1 + text_bytes, after, sizeof after);
    call->batch.body_bytes = sizeof before - 1 + text_bytes + sizeof after - 1;
    call->batch.timeout_ms = (uint32_t)(call->peers->shell->settings.peer_timeout_seconds * 1000);
    call->batch.public_only = !call->trusted && !call->peers->shell->settings.allow_private_peers;
    call->batch.calls = &call->http;
    call->batch.call_count = 1;
    call->batch.done = http_done;
    return http_calls_send(call->peers->http_calls, &call->batch);
}

bool peers_fetch(struct peers *peers, struct http_call_batch *batch)
{
    return start_http_calls(peers) && http_calls_send(peers->http_calls, batch);
}

/* --- By gRPC --- */

/* The channel to an address; NULL: all that may be kept are in use. */
static struct peer_channel *channel_to(struct peers *peers, const char *address)
{
    struct peer_channel *idle = NULL;
    for (size_t i = 0; i < peers->channel_count; i++) {
        struct peer_channel *channel = &peers->channels[i];
        if (strcmp(channel->address, address) == 0)
            return channel;
        if (channel->calls == 0 && (idle == NULL || channel->used_at_ms < idle->used_at_ms))
            idle = channel;
    }
    if (peers->channel_count < CHANNELS_MAX) {
        idle = &peers->channels[peers->channel_count++];
    } else if (idle == NULL) {
        return NULL;
    } else {
        rpc_channel_destroy(idle->rpc);
    }
    *idle = (struct peer_channel){
        .rpc = rpc_channel_create(peers->shell->loop, address,
                                  &(struct rpc_channel_options){.max_message_bytes = 4 * DHT_WIRE_BYTES_MAX})};
    snprintf(idle->address, sizeof idle->address, "%s", address);
    return idle;
}

static void exchanged(struct rpc_call *rpc, enum rpc_status status, const char *text, const void *response,
                      void *argument)
{
    struct peer_call *call = argument;
    (void)rpc;
    if (call->peers == NULL) {
        free_call(call);
        return;
    }
    struct peer_channel *channel = channel_to(call->peers, call->address); /* it is kept while it has calls */
    channel->calls--;
    if (status == RPC_OK) {
        answered(call, response);
        return;
    }
    log_debug("a node did not answer", LOG_TEXT("address", call->address), LOG_TEXT("reason", text));
    if (call->url == NULL || !send_http(call))
        unanswered(call);
}

/* Whether a stranger may send this process there. */
static bool may_call(const struct dht_shell *shell, const char *address)
{
    char host[DHT_ADDRESS_BYTES_MAX + 1];
    snprintf(host, sizeof host, "%s", address[0] == '[' ? address + 1 : address);
    char *end = address[0] == '[' ? strchr(host, ']') : strrchr(host, ':');
    if (end != NULL)
        *end = '\0';
    return shell->settings.allow_private_peers || address_text_is_public(host);
}

static bool send_rpc(struct peer_call *call, const Muster__V1__ExchangeRequest *request)
{
    struct peers *peers = call->peers;
    struct peer_channel *channel = channel_to(peers, call->address);
    if (channel == NULL)
        return false;
    channel->calls++;
    channel->used_at_ms = rpc_loop_now_ms(peers->shell->loop);
    struct rpc_call_options options = {.timeout_ms = (uint64_t)(peers->shell->settings.peer_timeout_seconds * 1000)};
    (void)rpc_channel_call(channel->rpc, &muster__v1__dht_peer_service__descriptor, "Exchange", &request->base,
                           &options, exchanged, call);
    return true;
}

/* --- Sending --- */

static void send(struct peers *peers, const char *url, const char *address, bool trusted,
                 const struct dht_request *request, struct dht_call *node_call)
{
    Muster__V1__ExchangeRequest wire;
    struct arena arena;
    max_align_t first[128];
    struct peer_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        abort(); /* as common/rpc does when its own small objects cannot be had */
    call->peers = peers;
    call->call = node_call;
    call->method = request->method;
    call->trusted = trusted;
    call->next = peers->calls;
    call->link = &peers->calls;
    if (call->next != NULL)
        call->next->link = &call->next;
    peers->calls = call;
    if (url[0] != '\0')
        call->url = strdup(url);
    snprintf(call->address, sizeof call->address, "%s", address);
    arena_init(&arena, first, sizeof first);
    bool sent = false;
    if (dht_wire_fill_request(request, &wire, &arena)) {
        call->message_bytes = muster__v1__exchange_request__get_packed_size(&wire);
        call->message = malloc(call->message_bytes + 1);
        if (call->message != NULL)
            (void)muster__v1__exchange_request__pack(&wire, call->message);
        sent = call->message != NULL && address[0] != '\0' && (trusted || may_call(peers->shell, address)) &&
               send_rpc(call, &wire);
        if (!sent && call->message != NULL && call->url != NULL)
            sent = send_http(call);
    }
    arena_free(&arena);
    if (!sent)
        rpc_loop_post(peers->shell->loop, fail_later, call);
}

void peers_send(void *context, struct dht_contact *to, const struct dht_request *request, struct dht_call *call)
{
    struct dht_shell *shell = context;
    send(shell->peers, to->url, to->address, false, request, call);
}

void peers_meet(struct peers *peers, const char *url, const char *address, bool trusted)
{
    struct dht_request request = {.method = DHT_PING, .sender = dht_node_own(peers->shell->node)};
    send(peers, url, address, trusted, &request, NULL);
}

/* --- Life --- */

struct peers *peers_create(struct dht_shell *shell)
{
    struct peers *peers = calloc(1, sizeof *peers);
    if (peers != NULL)
        peers->shell = shell;
    return peers;
}

void peers_destroy(struct peers *peers)
{
    if (peers == NULL)
        return;
    struct peer_call *next = NULL;
    for (struct peer_call *call = peers->calls; call != NULL; call = next) {
        next = call->next;
        call->peers = NULL; /* it frees itself when its end is told */
    }
    http_calls_destroy(peers->http_calls);
    for (size_t i = 0; i < peers->channel_count; i++)
        rpc_channel_destroy(peers->channels[i].rpc);
    free(peers);
}
