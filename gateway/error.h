/* Errors of the REST contract: {"error": CODE, "message": TEXT, "detail": TEXT}. `detail`
 * repeats `message`, for clients of the service that this one replaces.
 *
 * Codes are stable: programs compare them. Texts are for people and may change. */

#pragma once

#include "common/buffer.h"
#include "common/rpc/status.h"

struct error_kind {
    const char *code;
    unsigned status;
    unsigned retry_after_seconds; /* 0: no Retry-After */
};

enum error_id {
    ERROR_MALFORMED_JSON,
    ERROR_INVALID_FIELD,
    ERROR_INVALID_PATH,
    ERROR_NOT_FOUND,
    ERROR_METHOD_NOT_ALLOWED,
    ERROR_UNKNOWN_WORKER,
    ERROR_STALE_INCARNATION,
    ERROR_NO_WORKER,
    ERROR_WORKER_FAILED,
    ERROR_WORKER_TIMEOUT,
    ERROR_PART_UNAVAILABLE, /* a process behind the gateway is down */
    ERROR_NOT_READY,
    ERROR_TOO_MANY_REQUESTS,
    ERROR_MALFORMED_REQUEST, /* answered by the HTTP server itself, as is the next one */
    ERROR_BODY_TOO_LARGE,
    ERROR_BAD_QUERY,
    ERROR_QUERY_NOT_ALLOWED,
    ERROR_QUERY_TIMEOUT,
    ERROR_UPGRADE_REQUIRED, /* the path is a WebSocket */
    ERROR_INVALID_HANDSHAKE,
    ERROR_FORBIDDEN_ORIGIN,
    ERROR_TOO_MANY_CONNECTIONS,
    ERROR_UNAUTHORIZED, /* no credential, or none of ours */
    ERROR_FORBIDDEN,    /* one that is not enough */
    ERROR_RATE_LIMITED,
    ERROR_NO_COORDINATORS, /* this one and the next ones: at an edge router */
    ERROR_COORDINATOR_FAILED,
    ERROR_COORDINATOR_TIMEOUT,
    ERROR_LOOP_DETECTED,    /* edge routers that forward to each other */
    ERROR_CHALLENGE_FAILED, /* the registered URL is not the registrant's */
    ERROR_FORBIDDEN_URL,    /* it leads to a private address */
    ERROR_FORBIDDEN_PEER,   /* it is not configured as one */
    ERROR_NO_UPSTREAM,      /* this one and the next ones: at a load balancer */
    ERROR_UPSTREAM_FAILED,
    ERROR_UPSTREAM_TIMEOUT,
    ERROR_INTERNAL,
    ERROR_COUNT,
};

const struct error_kind *error_kind(enum error_id id);

/* Appends the object. */
void error_render(const char *code, const char *message, struct buffer *out);

/* What a failed call to a process behind the gateway means to the client. */
enum error_id error_of_status(enum rpc_status status);
