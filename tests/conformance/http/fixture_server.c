/* A small program over common/http, for tests with foreign clients and for measuring:
 *
 *     fixture_server PORT [UPSTREAM-URL]
 *
 * answers /hello itself, sends /echo back, and relays everything else to the upstream. It
 * prints the port that it listens on and runs until SIGTERM. */

#include "common/http/relay.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_upstreams *upstreams;
    struct http_resolver *resolver;
    struct http_origin origin;
    struct loop_watch signal;
};

static void echo(void *context, struct http_exchange *exchange, struct http_text body)
{
    (void)context;
    http_respond(exchange, &(struct http_response){.status = 200,
                                                   .content_type = "application/octet-stream",
                                                   .body = body.data,
                                                   .body_bytes = body.bytes});
}

static bool next(void *context, struct http_exchange *exchange, unsigned number, struct http_relay_target *target)
{
    struct fixture *fixture = context;
    const struct http_head *head = http_exchange_head(exchange);
    static const struct http_header served_by[] = {{"X-Served-By", "fixture"}};
    (void)number;
    target->origin = &fixture->origin;
    target->path = http_head_path(head);
    if (head->has_query) /* path, "?" and query lie together */
        target->path.bytes += 1 + head->query.bytes;
    target->response_headers = served_by;
    target->response_header_count = 1;
    return true;
}

static void failed(void *context, struct http_exchange *exchange, enum http_relay_result result)
{
    (void)context;
    const char *text = http_relay_result_text(result);
    bool timeout = result == HTTP_RELAY_TIMEOUT || result == HTTP_RELAY_CONNECT_TIMEOUT;
    http_respond(exchange, &(struct http_response){.status = timeout ? 504 : 502,
                                                   .content_type = "text/plain",
                                                   .body = text,
                                                   .body_bytes = strlen(text)});
}

static const struct http_relay_calls relay_calls = {.next = next, .failed = failed};

static void handle(void *context, struct http_exchange *exchange)
{
    struct http_text path = http_head_path(http_exchange_head(exchange));
    struct fixture *fixture = context;
    if (http_text_equal(path, "/echo"))
        http_exchange_collect_body(exchange, 1 << 20, echo, NULL);
    else if (fixture->upstreams != NULL && !http_text_equal(path, "/hello"))
        http_relay(fixture->upstreams, exchange,
                   &(struct http_relay_options){.calls = &relay_calls, .context = fixture});
    else
        http_respond_json(exchange, 200, "{\"hello\": \"world\"}", 18);
}

static void stopped(void *context)
{
    loop_stop(context);
}

static void on_signal(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct fixture *fixture = (struct fixture *)((char *)watch - offsetof(struct fixture, signal));
    http_server_drain(fixture->server, 1000, stopped, fixture->loop);
}

int main(int argc, char **argv)
{
    struct fixture fixture = {.loop = loop_create(), .signal = LOOP_WATCH_INIT};
    char error[256] = "";
    int listener = http_listen("127.0.0.1", argc > 1 ? (uint16_t)atoi(argv[1]) : 0, 1024, error, sizeof error);
    if (fixture.loop == NULL || listener < 0) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    if (argc > 2) {
        if (!http_origin_parse(http_text_of(argv[2]), &fixture.origin)) {
            fprintf(stderr, "the upstream's url is malformed\n");
            return 1;
        }
        struct http_upstreams_config config = {.resolver = http_resolver_create(0)};
        fixture.upstreams = http_upstreams_create(fixture.loop, &config, error, sizeof error);
        fixture.resolver = config.resolver;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int descriptor = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    fixture.server = http_server_create(fixture.loop, &(struct http_server_config){.context = &fixture, .handle = handle});
    if (descriptor < 0 || fixture.server == NULL || !http_server_listen(fixture.server, listener) ||
        !loop_watch_add(fixture.loop, &fixture.signal, descriptor, on_signal))
        return 1;
    printf("%u\n", (unsigned)http_listener_port(listener));
    fflush(stdout);
    loop_run(fixture.loop);
    http_server_destroy(fixture.server);
    http_upstreams_destroy(fixture.upstreams);
    http_resolver_destroy(fixture.resolver);
    loop_turn(fixture.loop, 0);
    loop_destroy(fixture.loop);
    close(listener);
    close(descriptor);
    return 0;
}
