/* A server: what it serves, taking calls in, and shutting down; see server.h.
 *
 * For each method some "slots" wait in gRPC core: call objects that are filled in when a
 * call comes, and replaced at once. Methods are registered with core, which then finds the
 * slot without a look at the path, and hands over a unary call together with its message.
 * One more kind of slot takes calls to methods that nobody registered. */

#include "common/rpc/server.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc_security.h>

#include "common/rpc/internal.h"

#define SLOTS 4
/* After the last call has ended clients have this long to close idle connections. */
#define CONNECTION_GRACE_MS 100

static void call_arrived(struct rpc_tag *tag, bool success);
static void shut_down(struct rpc_tag *tag, bool success);

static size_t or_default(size_t value, size_t default_value)
{
    return value != 0 ? value : default_value;
}

static grpc_arg integer(const char *key, uint64_t value)
{
    grpc_arg argument = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    argument.value.integer = value > INT32_MAX ? INT32_MAX : (int)value;
    return argument;
}

struct rpc_server *rpc_server_create(struct rpc_loop *loop, const struct rpc_server_options *options)
{
    struct rpc_server *server = rpc_allocate_zeroed(sizeof(*server));
    server->loop = loop;
    server->address = rpc_copy_text(options->address);
    server->shutdown_tag.function = shut_down;
    grpc_arg arguments[] = {
        integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, or_default(options->max_message_bytes, (size_t)4 << 20)),
        integer(GRPC_ARG_MAX_METADATA_SIZE, or_default(options->max_metadata_bytes, (size_t)16 << 10)),
        integer(GRPC_ARG_MAX_CONCURRENT_STREAMS, or_default(options->max_streams, 1000)),
        integer(GRPC_ARG_KEEPALIVE_TIME_MS, or_default(options->keepalive_ms, 60000)),
        integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, or_default(options->keepalive_timeout_ms, 20000)),
        integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, or_default(options->min_ping_interval_ms, 5000)),
        integer(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0), /* our own pings: no limit */
        /* Two servers on one port would each get a part of the calls. */
        integer(GRPC_ARG_ALLOW_REUSEPORT, 0),
        /* What costs time for every call and is of no use here. */
        integer(GRPC_ARG_ENABLE_CHANNELZ, 0),
        integer(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        integer(GRPC_ARG_ENABLE_CENSUS, 0),
        integer(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
        integer(GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0),
    };
    grpc_channel_args list = {sizeof(arguments) / sizeof(arguments[0]), arguments};
    server->core = grpc_server_create(&list, NULL);
    grpc_server_register_completion_queue(server->core, loop->queue, NULL);
    rpc_health_add(server);
    rpc_reflection_add(server);
    return server;
}

/* --- What is served --- */

static const ProtobufCMethodDescriptor *find_method(const ProtobufCServiceDescriptor *service, const char *name)
{
    return protobuf_c_service_descriptor_get_method_by_name(service, name);
}

bool rpc_server_add(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                    const struct rpc_method *methods, size_t count, void *context, bool builtin)
{
    for (size_t i = 0; i < count; i++) {
        if (find_method(service, methods[i].name) == NULL)
            return false;
    }
    server->services = rpc_reallocate(server->services, (server->service_count + 1) * sizeof(server->services[0]));
    server->services[server->service_count++] = (struct rpc_served){service, false};
    server->methods = rpc_reallocate(server->methods, (server->method_count + count) * sizeof(server->methods[0]));
    for (size_t i = 0; i < count; i++) {
        struct rpc_server_method *method = rpc_allocate_zeroed(sizeof(*method));
        method->server = server;
        method->method = methods[i];
        method->descriptor = find_method(service, methods[i].name);
        method->context = context;
        method->builtin = builtin;
        size_t path_bytes = strlen(service->name) + strlen(methods[i].name) + sizeof("//");
        method->path = rpc_allocate(path_bytes);
        snprintf(method->path, path_bytes, "/%s/%s", service->name, methods[i].name);
        bool one_message = method->method.kind == RPC_UNARY || method->method.kind == RPC_SERVER_STREAMING;
        method->handle = grpc_server_register_method(
            server->core, method->path, NULL,
            one_message ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER : GRPC_SRM_PAYLOAD_NONE, 0);
        server->methods[server->method_count++] = method;
    }
    return true;
}

bool rpc_server_add_service(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                            const struct rpc_method *methods, size_t count, void *context)
{
    return rpc_server_add(server, service, methods, count, context, false);
}

bool rpc_server_add_descriptors(struct rpc_server *server, const uint8_t *bytes, size_t count)
{
    return rpc_files_add(&server->files, bytes, count);
}

void rpc_server_set_serving(struct rpc_server *server, const char *service, bool serving)
{
    for (size_t i = 0; i < server->service_count; i++) {
        if (service == NULL || strcmp(server->services[i].descriptor->name, service) == 0)
            server->services[i].serving = serving;
    }
    if (service == NULL || service[0] == '\0')
        server->serving = serving;
    rpc_health_changed(server);
}

size_t rpc_server_open_calls(const struct rpc_server *server)
{
    return server->open_calls;
}

/* --- Starting --- */

/* Core says only that it could not bind. Finds out why by trying it once more. */
static int bind_error(const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t host_bytes = (size_t)(colon - address);
    const char *host = address;
    if (host_bytes >= 2 && host[0] == '[' && host[host_bytes - 1] == ']') {
        host++;
        host_bytes -= 2;
    }
    char name[256];
    if (host_bytes >= sizeof(name))
        return EINVAL;
    memcpy(name, host, host_bytes);
    name[host_bytes] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    if (getaddrinfo(name, colon + 1, &hints, &found) != 0)
        return EADDRNOTAVAIL;
    int error = 0;
    int descriptor = socket(found->ai_family, SOCK_STREAM, 0);
    int yes = 1;
    if (descriptor < 0 || setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        bind(descriptor, found->ai_addr, found->ai_addrlen) != 0 || listen(descriptor, 1) != 0)
        error = errno;
    if (descriptor >= 0)
        close(descriptor);
    freeaddrinfo(found);
    return error;
}

static void explain_bind_error(const char *address, char *error, size_t error_bytes)
{
    int number = bind_error(address);
    switch (number) {
    case EADDRINUSE:
        snprintf(error, error_bytes,
                 "cannot listen on %s: the port is in use; stop the process that has it or choose another port",
                 address);
        return;
    case EACCES:
        snprintf(error, error_bytes, "cannot listen on %s: permission denied; choose a port above 1023", address);
        return;
    case EADDRNOTAVAIL:
        snprintf(error, error_bytes,
                 "cannot listen on %s: no such address on this machine; choose one that it has, or 127.0.0.1", address);
        return;
    case 0:
        snprintf(error, error_bytes, "cannot listen on %s: it was in use a moment ago; try again", address);
        return;
    default:
        snprintf(error, error_bytes, "cannot listen on %s: %s; choose another HOST:PORT", address, strerror(number));
    }
}

static struct rpc_call *slot_create(struct rpc_server *server)
{
    struct rpc_call *call = rpc_call_create(server->loop, RPC_SIDE_SERVER);
    call->begin_tag.function = call_arrived;
    call->server = server;
    server->slots++;
    server->loop->outstanding++;
    return call;
}

static void wait_for_call(struct rpc_server *server, struct rpc_server_method *method)
{
    struct rpc_call *call = slot_create(server);
    call->server_method = method;
    bool one_message = method->method.kind == RPC_UNARY || method->method.kind == RPC_SERVER_STREAMING;
    grpc_call_error error = grpc_server_request_registered_call(
        server->core, method->handle, &call->core, &call->deadline, &call->received_headers,
        one_message ? &call->received : NULL, server->loop->queue, server->loop->queue, &call->begin_tag);
    if (error != GRPC_CALL_OK)
        abort(); /* a mistake in this file */
}

/* The slot of calls to unknown methods. */
struct unknown {
    struct rpc_call *call;
    struct rpc_server *server;
    grpc_call_details details;
    struct rpc_tag tag;
};

static void unknown_arrived(struct rpc_tag *tag, bool success);

static void wait_for_unknown(struct rpc_server *server)
{
    struct unknown *unknown = rpc_allocate_zeroed(sizeof(*unknown));
    unknown->server = server;
    unknown->call = slot_create(server);
    unknown->tag.function = unknown_arrived;
    grpc_call_details_init(&unknown->details);
    grpc_call_error error = grpc_server_request_call(server->core, &unknown->call->core, &unknown->details,
                                                     &unknown->call->received_headers, server->loop->queue,
                                                     server->loop->queue, &unknown->tag);
    if (error != GRPC_CALL_OK)
        abort(); /* a mistake in this file */
}

uint16_t rpc_server_start(struct rpc_server *server, char *error, size_t error_bytes)
{
    const char *colon = strrchr(server->address, ':');
    if (colon == NULL || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
        /* Core would take port 443. */
        snprintf(error, error_bytes, "cannot listen on %s: the port is missing; write HOST:PORT", server->address);
        return 0;
    }
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server->core, server->address, credentials);
    grpc_server_credentials_release(credentials);
    if (port <= 0) {
        explain_bind_error(server->address, error, error_bytes);
        return 0;
    }
    grpc_server_start(server->core);
    server->started = true;
    for (size_t i = 0; i < server->method_count; i++) {
        for (unsigned slot = 0; slot < SLOTS; slot++)
            wait_for_call(server, server->methods[i]);
    }
    wait_for_unknown(server);
    rpc_server_set_serving(server, NULL, true);
    return (uint16_t)port;
}

/* --- Calls coming in --- */

static const struct rpc_events no_events;

static void check_drained(struct rpc_server *server);

static bool slot_filled(struct rpc_server *server, struct rpc_call *call, bool success)
{
    server->slots--;
    server->loop->outstanding--;
    if (!success) {
        rpc_call_free(call);
        check_drained(server);
        return false;
    }
    rpc_call_link(call, &server->calls);
    return true;
}

static void call_arrived(struct rpc_tag *tag, bool success)
{
    struct rpc_call *call = RPC_CONTAINER(tag, struct rpc_call, begin_tag);
    struct rpc_server_method *method = call->server_method;
    struct rpc_server *server = method->server;
    if (!slot_filled(server, call, success))
        return;
    if (!server->draining)
        wait_for_call(server, method);
    call->kind = method->method.kind;
    call->events = &method->method.events;
    call->incoming_type = method->descriptor->input;
    call->context = method->context;
    call->method_name = method->path;
    if (!method->builtin)
        server->open_calls++;
    rpc_call_touch(call);
    if (server->draining) {
        rpc_call_finish(call, RPC_UNAVAILABLE, "the server is shutting down");
        return;
    }
    switch (call->kind) {
    case RPC_UNARY:
    case RPC_SERVER_STREAMING:
        call->headers_wanted = call->kind == RPC_SERVER_STREAMING;
        if (call->received == NULL) {
            rpc_call_finish(call, RPC_INVALID_ARGUMENT, "the call brought no request message");
            return;
        }
        grpc_byte_buffer *buffer = call->received;
        call->received = NULL;
        rpc_call_deliver(call, buffer);
        return;
    case RPC_CLIENT_STREAMING:
    case RPC_BIDI_STREAMING:
        call->headers_wanted = true;
        call->receives = true;
        if (call->events->started != NULL)
            call->events->started(call);
        return;
    }
}

static void unknown_arrived(struct rpc_tag *tag, bool success)
{
    struct unknown *unknown = RPC_CONTAINER(tag, struct unknown, tag);
    struct rpc_server *server = unknown->server;
    struct rpc_call *call = unknown->call;
    if (slot_filled(server, call, success)) {
        if (!server->draining)
            wait_for_unknown(server);
        call->events = &no_events;
        call->method_name = "";
        server->open_calls++;
        char *path = grpc_slice_to_c_string(unknown->details.method);
        rpc_call_finish(call, RPC_UNIMPLEMENTED, "there is no method %s here", path);
        gpr_free(path);
    }
    grpc_call_details_destroy(&unknown->details);
    free(unknown);
}

void rpc_server_call_gone(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    if (call->server_method == NULL || !call->server_method->builtin)
        server->open_calls--;
    rpc_call_unlink(call);
    check_drained(server);
}

/* --- Shutting down --- */

static void cut_connections(struct timer *timer, void *argument)
{
    struct rpc_server *server = argument;
    (void)timer;
    if (!server->shut_down)
        grpc_server_cancel_all_calls(server->core);
}

static void check_drained(struct rpc_server *server)
{
    if (!server->draining)
        return;
    uint64_t soon_ms = rpc_loop_now_ms(server->loop) + CONNECTION_GRACE_MS;
    if (!server->shut_down) {
        if (server->open_calls == 0 && timer_active(&server->deadline_timer) &&
            server->deadline_timer.bare.expires_at_ms > soon_ms)
            timer_start(&server->loop->wheel, &server->deadline_timer, soon_ms, cut_connections, server);
        return;
    }
    if (server->calls != NULL || server->slots > 0 || server->drained == NULL)
        return;
    void (*drained)(void *argument) = server->drained;
    server->drained = NULL;
    drained(server->drained_argument);
}

static void shut_down(struct rpc_tag *tag, bool success)
{
    struct rpc_server *server = RPC_CONTAINER(tag, struct rpc_server, shutdown_tag);
    (void)success; /* as good as an end as any */
    server->loop->outstanding--;
    server->shut_down = true;
    rpc_loop_timer_stop(server->loop, &server->deadline_timer);
    check_drained(server);
}

/* Calls of health and reflection would keep the server up for as long as they like. */
static void finish_builtin(struct rpc_server *server)
{
    for (struct rpc_call *call = server->calls; call != NULL; call = call->next) {
        if (call->server_method != NULL && call->server_method->builtin)
            rpc_call_finish(call, RPC_UNAVAILABLE, "the server is shutting down");
    }
}

void rpc_server_drain(struct rpc_server *server, uint64_t timeout_ms, void (*done)(void *argument), void *argument)
{
    if (!server->draining) {
        server->drained = done;
        server->drained_argument = argument;
        rpc_server_set_serving(server, NULL, false);
        finish_builtin(server);
        rpc_loop_settle(server->loop);
        server->draining = true;
        server->loop->outstanding++;
        grpc_server_shutdown_and_notify(server->core, server->loop->queue, &server->shutdown_tag);
    }
    if (server->shut_down)
        return;
    uint64_t now_ms = rpc_loop_now_ms(server->loop);
    uint64_t at_ms = timeout_ms < UINT64_MAX - now_ms ? now_ms + timeout_ms : UINT64_MAX;
    if (!timer_active(&server->deadline_timer) || server->deadline_timer.bare.expires_at_ms > at_ms)
        timer_start(&server->loop->wheel, &server->deadline_timer, at_ms, cut_connections, server);
    check_drained(server);
}

static void ignore_drained(void *argument)
{
    (void)argument;
}

/* Calls that their handlers have not finished would wait for them forever. */
static void abandon_over(struct rpc_server *server)
{
    struct rpc_call *next = NULL;
    for (struct rpc_call *call = server->calls; call != NULL; call = next) {
        next = call->next;
        if (call->over && call->outstanding == 0) {
            call->abandoned = true;
            rpc_call_touch(call);
        }
    }
    rpc_loop_settle(server->loop);
}

void rpc_server_destroy(struct rpc_server *server)
{
    rpc_server_drain(server, 0, ignore_drained, NULL);
    cut_connections(NULL, server);
    while (!server->shut_down || server->calls != NULL || server->slots > 0) {
        rpc_loop_turn(server->loop, UINT64_MAX);
        abandon_over(server);
    }
    rpc_loop_timer_stop(server->loop, &server->deadline_timer);
    grpc_server_destroy(server->core);
    for (size_t i = 0; i < server->method_count; i++) {
        free(server->methods[i]->path);
        free(server->methods[i]);
    }
    free(server->methods);
    free(server->services);
    rpc_files_free(&server->files);
    free(server->address);
    free(server);
}
