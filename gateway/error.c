/* See error.h. */

#include "gateway/error.h"

#include "common/json/write.h"

const struct error_kind *error_kind(enum error_id id)
{
    static const struct error_kind kinds[ERROR_COUNT] = {
        [ERROR_MALFORMED_JSON] = {"malformed_json", 400, 0},
        [ERROR_INVALID_FIELD] = {"invalid_field", 422, 0},
        [ERROR_INVALID_PATH] = {"invalid_path", 400, 0},
        [ERROR_NOT_FOUND] = {"not_found", 404, 0},
        [ERROR_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405, 0},
        [ERROR_UNKNOWN_WORKER] = {"unknown_worker", 404, 0},
        [ERROR_STALE_INCARNATION] = {"stale_incarnation", 409, 0},
        [ERROR_NO_WORKER] = {"no_worker", 503, 5},
        [ERROR_WORKER_FAILED] = {"worker_failed", 502, 0},
        [ERROR_WORKER_TIMEOUT] = {"worker_timeout", 504, 0},
        [ERROR_PART_UNAVAILABLE] = {"unavailable", 503, 2},
        [ERROR_NOT_READY] = {"not_ready", 503, 1},
        [ERROR_TOO_MANY_REQUESTS] = {"too_many_requests", 429, 1},
        [ERROR_MALFORMED_REQUEST] = {"malformed_request", 400, 0},
        [ERROR_BODY_TOO_LARGE] = {"body_too_large", 413, 0},
        [ERROR_BAD_QUERY] = {"bad_query", 400, 0},
        [ERROR_QUERY_NOT_ALLOWED] = {"query_not_allowed", 403, 0},
        [ERROR_QUERY_TIMEOUT] = {"query_timeout", 504, 0},
        [ERROR_UPGRADE_REQUIRED] = {"upgrade_required", 426, 0},
        [ERROR_INVALID_HANDSHAKE] = {"invalid_handshake", 400, 0},
        [ERROR_FORBIDDEN_ORIGIN] = {"forbidden_origin", 403, 0},
        [ERROR_TOO_MANY_CONNECTIONS] = {"too_many_connections", 503, 10},
        [ERROR_UNAUTHORIZED] = {"unauthorized", 401, 0},
        [ERROR_FORBIDDEN] = {"forbidden", 403, 0},
        [ERROR_RATE_LIMITED] = {"rate_limited", 429, 1},
        [ERROR_NO_COORDINATORS] = {"no_coordinators", 503, 5},
        [ERROR_COORDINATOR_FAILED] = {"coordinator_failed", 502, 0},
        [ERROR_COORDINATOR_TIMEOUT] = {"coordinator_timeout", 504, 0},
        [ERROR_LOOP_DETECTED] = {"loop_detected", 508, 0},
        [ERROR_CHALLENGE_FAILED] = {"challenge_failed", 403, 0},
        [ERROR_FORBIDDEN_URL] = {"forbidden_url", 403, 0},
        [ERROR_FORBIDDEN_PEER] = {"forbidden_peer", 403, 0},
        [ERROR_NO_UPSTREAM] = {"no_upstream", 503, 5},
        [ERROR_UPSTREAM_FAILED] = {"upstream_failed", 502, 0},
        [ERROR_UPSTREAM_TIMEOUT] = {"upstream_timeout", 504, 0},
        [ERROR_INTERNAL] = {"internal_error", 500, 0},
    };
    return &kinds[id];
}

void error_render(const char *code, const char *message, struct buffer *out)
{
    struct json_writer writer = json_writer_into(out);
    json_write_object_begin(&writer);
    json_write_key(&writer, "error");
    json_write_text(&writer, code);
    json_write_key(&writer, "message");
    json_write_text(&writer, message);
    json_write_key(&writer, "detail");
    json_write_text(&writer, message);
    json_write_object_end(&writer);
}

enum error_id error_of_status(enum rpc_status status)
{
    switch (status) {
    case RPC_INVALID_ARGUMENT:
    case RPC_FAILED_PRECONDITION:
    case RPC_OUT_OF_RANGE:
        return ERROR_INVALID_FIELD;
    case RPC_NOT_FOUND:
        return ERROR_UNKNOWN_WORKER;
    case RPC_PERMISSION_DENIED:
        return ERROR_FORBIDDEN;
    case RPC_RESOURCE_EXHAUSTED:
        return ERROR_TOO_MANY_REQUESTS;
    case RPC_UNAVAILABLE:
    case RPC_DEADLINE_EXCEEDED:
    case RPC_CANCELLED:
    case RPC_ABORTED:
        return ERROR_PART_UNAVAILABLE;
    default:
        return ERROR_INTERNAL;
    }
}
