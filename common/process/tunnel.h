/* A public address from Cloudflare: a cloudflared process that is run beside whoever is to be reached, watched, started
 * again with back-off when it ends. It connects out, so that a machine behind a router needs
 * no address of its own.
 *
 * A quick tunnel gets another URL each time; it stands in what cloudflared writes. A named tunnel (with a token, or
 * with the credentials file that `cloudflared tunnel create` wrote) has the URL that its owner gave it there. Either is
 * told of once cloudflared says that it is connected, or TUNNEL_SETTLE_MS after a quick tunnel's URL was read, should a
 * version of it say that in other words.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop/loop.h"
#include "common/random.h"

#define TUNNEL_URL_BYTES 1024
#define TUNNEL_SETTLE_MS 5000u
/* Of a tunnel's id, with the zero that ends it. */
#define TUNNEL_ID_BYTES 37

struct tunnel;

struct tunnel_config {
    struct loop *loop;
    struct random *random;
    const char *program;     /* cloudflared, or the path of it */
    const char *origin;      /* what it leads to: "http://127.0.0.1:8070" */
    const char *token;       /* of a named tunnel, or */
    const char *credentials; /* its credentials file; both "": a quick one */
    const char *public_url;  /* of a named one */
    uint64_t timeout_ms;     /* without an address for so long it is started again */

    /* Reached at this URL from now on; it is not the one of before. */
    void (*moved)(void *context, const char *url);
    /* After tunnel_stop: it has ended. */
    void (*stopped)(void *context);
    void *context;
};

/* Whether the settings fit together. False: `error` says what to do. The URL is the value of the flag url_flag. */
bool tunnel_settings_fit(const char *kind, const char *token, const char *credentials, const char *url,
                         const char *url_flag, char *error, size_t error_bytes);

/* All texts outlive it. NULL: memory ran out, or the credentials file is none; `error` says so. */
struct tunnel *tunnel_create(const struct tunnel_config *config, char *error, size_t error_bytes);

/* SIGTERM, after grace_ms SIGKILL. `stopped` follows. */
void tunnel_stop(struct tunnel *tunnel, uint64_t grace_ms);

/* Kills what still runs. NULL is fine. */
void tunnel_destroy(struct tunnel *tunnel);

/* The URL of a quick tunnel in a line that cloudflared wrote; false: there is none. Its errors name other URLs of
 * the same domain. */
bool tunnel_url_in_line(const char *line, char url[TUNNEL_URL_BYTES]);

/* The id of the tunnel that a credentials file is for; false: it is none. */
bool tunnel_id_in_credentials(const char *text, size_t bytes, char id[TUNNEL_ID_BYTES]);
