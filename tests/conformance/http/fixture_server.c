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
#include <sys/signalfd.h>
#include <unistd.h>

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_upstreams *upstreams;
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

static void handle(void *context, struct http_exchange *exchange)
{
    struct http_text path = http_head_path(http_exchange_head(exchange));
    (void)context;
    if (http_text_equal(path, "/echo"))
        http_exchange_collect_body(exchange, 1 << 20, echo, NULL);
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
    loop_turn(fixture.loop, 0);
    loop_destroy(fixture.loop);
    close(listener);
    close(descriptor);
    return 0;
}
