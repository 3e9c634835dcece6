/* Channels and the calls on them; see client.h. */

#include "common/rpc/client.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>

#include "common/rpc/internal.h"

/* An attempt to connect is given up after this long. */
#define CONNECT_TIMEOUT_MS 5000
/* Host names are not looked up more often than this. */
#define RESOLVE_INTERVAL_MS 1000

/* A service's methods, registered with core when first used. */
struct channel_service {
    struct channel_service *next;
    const ProtobufCServiceDescriptor *descriptor;
    struct channel_method {
        void *handle;
        char *path;
    } methods[];
};

struct rpc_channel {
    struct rpc_loop *loop;
    grpc_channel *core;
    char *address;
    enum rpc_channel_state state;
    grpc_connectivity_state core_state;
    void (*state_changed)(struct rpc_channel *channel, enum rpc_channel_state state, void *argument);
    void *argument;
    struct channel_service *services;
    struct rpc_call *calls;
    struct rpc_kept_stream *kept_streams;
    struct rpc_tag state_tag;
    bool destroyed; /* freed when the state's tag and all calls are back */
    bool watching;
};

static void state_tag_done(struct rpc_tag *tag, bool success);

static grpc_arg integer(const char *key, uint64_t value)
{
    grpc_arg argument = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    argument.value.integer = value > INT32_MAX ? INT32_MAX : (int)value;
    return argument;
}

static uint64_t or_default(uint64_t value, uint64_t default_value)
{
    return value != 0 ? value : default_value;
}

/* Numeric addresses need no resolver, which would keep failures for a while. */
static char *target_of(const char *address)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    const char *scheme = "dns:///";
    struct in6_addr parsed;
    if (colon != NULL && (size_t)(colon - address) < sizeof(host)) {
        memcpy(host, address, (size_t)(colon - address));
        host[colon - address] = '\0';
        if (inet_pton(AF_INET, host, &parsed) == 1)
            scheme = "ipv4:";
        else if (host[0] == '[')
            scheme = "ipv6:";
    }
    size_t bytes = strlen(scheme) + strlen(address) + 1;
    char *target = rpc_allocate(bytes);
    snprintf(target, bytes, "%s%s", scheme, address);
    return target;
}

static enum rpc_channel_state state_from_core(grpc_connectivity_state state)
{
    switch (state) {
    case GRPC_CHANNEL_CONNECTING:
        return RPC_CHANNEL_CONNECTING;
    case GRPC_CHANNEL_READY:
        return RPC_CHANNEL_READY;
    case GRPC_CHANNEL_TRANSIENT_FAILURE:
        return RPC_CHANNEL_FAILING;
    case GRPC_CHANNEL_IDLE:
    case GRPC_CHANNEL_SHUTDOWN:
        break;
    }
    return RPC_CHANNEL_IDLE;
}

static void watch_state(struct rpc_channel *channel)
{
    channel->watching = true;
    channel->loop->outstanding++;
    grpc_channel_watch_connectivity_state(channel->core, channel->core_state, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                          channel->loop->queue, &channel->state_tag);
}

struct rpc_channel *rpc_channel_create(struct rpc_loop *loop, const char *address,
                                       const struct rpc_channel_options *options)
{
    static const struct rpc_channel_options defaults;
    if (options == NULL)
        options = &defaults;
    struct rpc_channel *channel = rpc_allocate_zeroed(sizeof(*channel));
    channel->loop = loop;
    channel->address = rpc_copy_text(address);
    channel->state_changed = options->state_changed;
    channel->argument = options->argument;
    channel->state_tag.function = state_tag_done;
    uint64_t keepalive_ms = or_default(options->keepalive_ms, 30000);
    grpc_arg arguments[16] = {
        integer(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, or_default(options->min_backoff_ms, 100)),
        integer(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, or_default(options->max_backoff_ms, 2000)),
        integer(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
        integer(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, RESOLVE_INTERVAL_MS),
        integer(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms),
        integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, or_default(options->keepalive_timeout_ms, 10000)),
        integer(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, or_default(options->max_message_bytes, (uint64_t)64 << 20)),
        integer(GRPC_ARG_MAX_METADATA_SIZE, or_default(options->max_metadata_bytes, (uint64_t)16 << 10)),
        /* Each channel its own connection. */
        integer(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        /* What costs time or memory and is of no use here. */
        integer(GRPC_ARG_ENABLE_RETRIES, 0),
        integer(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        integer(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        integer(GRPC_ARG_ENABLE_CHANNELZ, 0),
        integer(GRPC_ARG_HTTP2_BDP_PROBE, 0),
    };
    size_t count = 15;
    if (options->user_agent != NULL) {
        arguments[count] =
            (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)GRPC_ARG_PRIMARY_USER_AGENT_STRING};
        arguments[count++].value.string = (char *)(uintptr_t)options->user_agent;
    }
    grpc_channel_args list = {count, arguments};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    char *target = target_of(address);
    channel->core = grpc_channel_create(target, credentials, &list);
    free(target);
    grpc_channel_credentials_release(credentials);
    channel->core_state = grpc_channel_check_connectivity_state(channel->core, 0);
    channel->state = state_from_core(channel->core_state);
    watch_state(channel);
    return channel;
}

/* Frees a destroyed channel once nothing of it is outstanding. */
static void channel_release(struct rpc_channel *channel)
{
    if (!channel->destroyed || channel->watching || channel->calls != NULL)
        return;
    while (channel->services != NULL) {
        struct channel_service *service = channel->services;
        channel->services = service->next;
        for (unsigned i = 0; i < service->descriptor->n_methods; i++)
            free(service->methods[i].path);
        free(service);
    }
    free(channel->address);
    free(channel);
}

static void state_tag_done(struct rpc_tag *tag, bool success)
{
    struct rpc_channel *channel = RPC_CONTAINER(tag, struct rpc_channel, state_tag);
    channel->loop->outstanding--;
    channel->watching = false;
    if (channel->destroyed) {
        channel_release(channel);
        return;
    }
    (void)success; /* false: nothing changed; watch again */
    channel->core_state = grpc_channel_check_connectivity_state(channel->core, 0);
    watch_state(channel);
    enum rpc_channel_state state = state_from_core(channel->core_state);
    if (state == channel->state)
        return;
    channel->state = state;
    if (channel->state_changed != NULL)
        channel->state_changed(channel, state, channel->argument);
}

void rpc_channel_destroy(struct rpc_channel *channel)
{
    while (channel->kept_streams != NULL)
        rpc_kept_stream_stop(channel->kept_streams);
    for (struct rpc_call *call = channel->calls; call != NULL; call = call->next)
        rpc_call_cancel(call);
    channel->destroyed = true;
    grpc_channel_destroy(channel->core);
    channel_release(channel);
}

enum rpc_channel_state rpc_channel_state(const struct rpc_channel *channel)
{
    return channel->state;
}

void rpc_channel_connect(struct rpc_channel *channel)
{
    grpc_channel_check_connectivity_state(channel->core, 1);
}

const char *rpc_channel_address(const struct rpc_channel *channel)
{
    return channel->address;
}

struct rpc_loop *rpc_channel_loop(const struct rpc_channel *channel)
{
    return channel->loop;
}

struct rpc_kept_stream **rpc_channel_kept_streams(struct rpc_channel *channel)
{
    return &channel->kept_streams;
}

/* --- Calls --- */

static struct channel_service *find_service(struct rpc_channel *channel, const ProtobufCServiceDescriptor *descriptor)
{
    for (struct channel_service *service = channel->services; service != NULL; service = service->next) {
        if (service->descriptor == descriptor)
            return service;
    }
    struct channel_service *service =
        rpc_allocate_zeroed(sizeof(*service) + descriptor->n_methods * sizeof(service->methods[0]));
    service->descriptor = descriptor;
    service->next = channel->services;
    channel->services = service;
    return service;
}

static struct rpc_call *call_create(struct rpc_channel *channel, const ProtobufCServiceDescriptor *descriptor,
                                    const char *name, const struct rpc_call_options *options)
{
    const ProtobufCMethodDescriptor *found = protobuf_c_service_descriptor_get_method_by_name(descriptor, name);
    if (found == NULL)
        abort(); /* see client.h */
    struct channel_service *service = find_service(channel, descriptor);
    struct channel_method *method = &service->methods[found - descriptor->methods];
    if (method->handle == NULL) {
        size_t path_bytes = strlen(descriptor->name) + strlen(name) + sizeof("//");
        method->path = rpc_allocate(path_bytes);
        snprintf(method->path, path_bytes, "/%s/%s", descriptor->name, name);
        method->handle = grpc_channel_register_call(channel->core, method->path, NULL, NULL);
    }
    struct rpc_call *call = rpc_call_create(channel->loop, RPC_SIDE_CLIENT);
    call->channel = channel;
    call->method_name = method->path;
    call->incoming_type = found->output;
    call->deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    bool legal = true;
    if (options != NULL) {
        if (options->timeout_ms > 0) {
            int64_t timeout_ms = options->timeout_ms > INT32_MAX ? INT32_MAX : (int64_t)options->timeout_ms;
            call->deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
        }
        if (options->wait_for_ready)
            call->header_flags =
                GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
        for (size_t i = 0; i < options->metadata_count; i++)
            legal = rpc_metadata_add(&call->headers, &options->metadata[i]) && legal;
    }
    call->core = grpc_channel_create_registered_call(channel->core, NULL, 0, channel->loop->queue, method->handle,
                                                     call->deadline, NULL);
    if (!legal) {
        grpc_call_error error = grpc_call_cancel_with_status(call->core, GRPC_STATUS_INVALID_ARGUMENT,
                                                             "a key or value of the metadata is not legal", NULL);
        (void)error; /* fails only for a reserved argument that is not NULL */
    }
    rpc_call_link(call, &channel->calls);
    return call;
}

static grpc_op receive_headers(struct rpc_call *call)
{
    grpc_op operation;
    memset(&operation, 0, sizeof(operation));
    operation.op = GRPC_OP_RECV_INITIAL_METADATA;
    operation.data.recv_initial_metadata.recv_initial_metadata = &call->received_headers;
    return operation;
}

static grpc_op receive_status(struct rpc_call *call)
{
    grpc_op operation;
    memset(&operation, 0, sizeof(operation));
    operation.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    operation.data.recv_status_on_client.trailing_metadata = &call->received_trailers;
    operation.data.recv_status_on_client.status = &call->status;
    operation.data.recv_status_on_client.status_details = &call->status_text;
    return operation;
}

struct rpc_call *rpc_channel_call(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                  const char *method, const ProtobufCMessage *request,
                                  const struct rpc_call_options *options, rpc_done done, void *argument)
{
    struct rpc_call *call = call_create(channel, service, method, options);
    call->kind = RPC_UNARY;
    call->done = done;
    call->context = argument;
    size_t bytes = 0;
    call->sending = rpc_pack(request, &bytes);
    call->headers_sent = call->last_wanted = call->last_sent = true;
    /* All in one: a unary call is one completion. */
    grpc_op operations[6];
    memset(operations, 0, sizeof(operations));
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[0].flags = call->header_flags;
    operations[0].data.send_initial_metadata.count = call->headers.count;
    operations[0].data.send_initial_metadata.metadata = call->headers.items;
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = call->sending;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    operations[3] = receive_headers(call);
    operations[4].op = GRPC_OP_RECV_MESSAGE;
    operations[4].data.recv_message.recv_message = &call->received;
    operations[5] = receive_status(call);
    rpc_call_start(call, operations, 6, &call->end_tag);
    return call;
}

void rpc_client_done(struct rpc_call *call, enum rpc_status status, const char *text)
{
    if (status != RPC_OK) {
        call->done(call, status, text, NULL, call->context);
        return;
    }
    if (call->received == NULL) {
        call->done(call, RPC_INTERNAL, "the server sent no message", NULL, call->context);
        return;
    }
    struct rpc_incoming incoming;
    rpc_incoming_open(&incoming, call->received);
    const ProtobufCMessage *response =
        rpc_unpack(&call->loop->arena, call->incoming_type, incoming.bytes, incoming.count);
    call->current = &incoming;
    if (response != NULL)
        call->done(call, RPC_OK, text, response, call->context);
    else
        call->done(call, RPC_INTERNAL, "the server's message is malformed", NULL, call->context);
    call->current = NULL;
    rpc_incoming_close(&incoming);
}

static void headers_done(struct rpc_tag *tag, bool success)
{
    struct rpc_call *call = RPC_CONTAINER(tag, struct rpc_call, begin_tag);
    rpc_call_completed(call);
    /* A call that ends before it was accepted completes this with no headers. */
    if (success && !call->abandoned && !call->cancelled && !call->over && call->events->accepted != NULL)
        call->events->accepted(call);
}

struct rpc_call *rpc_channel_stream(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                    const char *method, const struct rpc_call_options *options,
                                    const struct rpc_events *events, void *argument)
{
    struct rpc_call *call = call_create(channel, service, method, options);
    call->kind = RPC_BIDI_STREAMING;
    call->own_events = *events;
    call->events = &call->own_events;
    call->context = argument;
    call->receives = true;
    call->headers_wanted = true;
    call->begin_tag.function = headers_done;
    grpc_op headers = receive_headers(call);
    rpc_call_start(call, &headers, 1, &call->begin_tag);
    grpc_op status = receive_status(call);
    rpc_call_start(call, &status, 1, &call->end_tag);
    rpc_call_touch(call);
    return call;
}

void rpc_channel_call_gone(struct rpc_call *call)
{
    rpc_call_unlink(call);
    channel_release(call->channel);
}
