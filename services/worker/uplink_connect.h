/* How the worker's link is connected: name, proxy, TCP, TLS by libcurl, then the WebSocket's handshake, all of it
 * blocking, for a thread of its own.
 *
 * Threading: uplink_connect anywhere; `cancelled` may be set by another thread. */

#pragma once

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/buffer.h"

#define UPLINK_CONNECT_TIMEOUT_MS 10000u

struct uplink_request {
    const char *coordinator_url;
    const char *worker_id;
    const char *secret;
    const char *api_key; /* "": none */
    const char *ca_file; /* "": the system's */
    atomic_bool cancelled;
};

struct uplink_connection {
    CURL *easy; /* curl_easy_send and _recv; NULL: it failed */
    bool tls;
    struct buffer received; /* what came behind the answer's head */
    unsigned status;        /* of the answer; 0: none came */
    char error[512];        /* of a failure */
};

void uplink_connect(const struct uplink_request *request, struct uplink_connection *connection);

/* NULL easy is fine. */
void uplink_connection_free(struct uplink_connection *connection);

/* Judges the answer to the handshake as far as it has come: 0: more is needed, -1: it is refused, see the connection,
 * else the bytes of its head; the link is open then. */
long uplink_read_answer(const char *data, size_t bytes, const char *accept, struct uplink_connection *connection);
