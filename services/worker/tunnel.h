/* A public address from Cloudflare: a cloudflared process that is started with the worker, watched, started again
 * with back-off when it ends, and stopped with the worker. It connects out, so that a machine behind a router needs
 * no address of its own.
 *
 * A quick tunnel (no token) gets another URL each time; it stands in what cloudflared writes. A named tunnel (with a
 * token) has the URL that its owner gave it there. Either is told of once cloudflared says that it is connected, or
 * TUNNEL_SETTLE_MS after a quick tunnel's URL was read, should a version of it say that in other words.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop/loop.h"
#include "common/random.h"
#include "services/worker/control.h"

#define TUNNEL_URL_BYTES 1024
#define TUNNEL_SETTLE_MS 5000u

struct tunnel;

struct tunnel_config {
    struct loop *loop;
    struct control *control;
    struct random *random;
    const char *program;    /* cloudflared, or the path of it */
    const char *origin;     /* what it leads to: "http://127.0.0.1:8070" */
    const char *token;      /* of a named tunnel; "": a quick one */
    const char *public_url; /* of a named one */
    uint64_t timeout_ms;    /* without an address for so long it is started again */

    /* Reached at this URL from now on; it is not the one of before. */
    void (*moved)(void *context, const char *url);
    /* After tunnel_stop: it has ended. */
    void (*stopped)(void *context);
    void *context;
};

/* All texts outlive it. NULL when memory runs out. */
struct tunnel *tunnel_create(const struct tunnel_config *config);

/* SIGTERM, after grace_ms SIGKILL. `stopped` follows. */
void tunnel_stop(struct tunnel *tunnel, uint64_t grace_ms);

/* Kills what still runs. NULL is fine. */
void tunnel_destroy(struct tunnel *tunnel);

/* The URL of a quick tunnel in a line that cloudflared wrote; false: there is none. Its errors name other URLs of
 * the same domain. */
bool tunnel_url_in_line(const char *line, char url[TUNNEL_URL_BYTES]);
