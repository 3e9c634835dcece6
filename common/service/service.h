/* The main function of a gRPC process, but for what it does.
 *
 *     static bool start(struct service *service)
 *     {
 *         router = router_create(service->loop, ...);
 *         rpc_server_add_service(service->server, ...);
 *         return true;
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         struct service service = {.program = "muster-router", .summary = "...", .default_port = 7104,
 *                                   .settings = settings, .setting_count = COUNT, .start = start, .stopped = stopped};
 *         return service_main(&service, argc, argv);
 *     }
 *
 * Every such process has the settings --host, --port, --drain-timeout-seconds, --ready-fd, --insecure
 * (without which it listens on loopback only: its port knows no keys) and those of common/config, offers health and reflection (of Muster's own descriptors),
 * ignores SIGPIPE and SIGXFSZ, and ends on SIGTERM or SIGINT: it takes no new calls, finishes the open
 * ones, and exits with 0. A second signal cancels them. When it serves, it logs that and
 * writes "HOST:PORT\n" to the descriptor of --ready-fd.
 *
 * A start that fails prints exactly one line on standard error, which says what to do, and
 * exits with 1. So `start` logs nothing above debug level before it can no longer fail.
 *
 * Threading: everything runs on the thread of main. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/rpc/rpc.h"

struct service {
    /* Set by main. */
    const char *program;            /* "muster-router" */
    const char *summary;            /* one sentence for --help */
    const struct setting *settings; /* of its own, on top of the common ones */
    size_t setting_count;
    uint16_t default_port;
    size_t max_message_bytes; /* of the server; 0: its default */
    void *context;            /* main's own */

    /* Builds the service and adds it to the server. False after service_fail. Needed. */
    bool (*start)(struct service *service);
    /* The server is bound and serves; service->address says where. */
    void (*serving)(struct service *service);
    /* SIGHUP came: read files again. Without it SIGHUP ends the process, as usual. */
    void (*reload)(struct service *service);
    /* The drain has begun: finish long-lived streams. */
    void (*stopping)(struct service *service);
    /* All calls have ended and the server is gone; the loop is still there. Free everything
     * that is on the loop. Calls that a channel still has when it is destroyed here end
     * afterwards: their callbacks must find nothing that was freed. Also called after a start
     * that failed: be ready for what is not there. */
    void (*stopped)(struct service *service);

    /* Set by service_main, before start. */
    struct rpc_loop *loop;
    struct rpc_server *server;
    const char *host;
    char address[300];       /* "127.0.0.1:7104", from `serving` on */
    char error[512];         /* what service_fail said */
    struct process *process; /* service.c's own */
};

/* Runs the process; returns its exit code. */
int service_main(struct service *service, int argc, char **argv);

/* Says why start failed and what to do: "cannot open /data/x: permission denied; make it
 * writable or choose another --data-dir". Returns false. */
__attribute__((format(printf, 2, 3))) bool service_fail(struct service *service, const char *format, ...);
