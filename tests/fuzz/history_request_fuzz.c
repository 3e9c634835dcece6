/* Fuzz target: the query of GET /api/admin/history. What is taken is within its limits; what is
 * refused says why, in one line. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/history_request.h"

#define NOW_MS INT64_C(1767607205000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct history_request request;
    struct json_error error = {.message = ""};
    bool taken = history_request_parse((struct http_text){(const char *)data, bytes}, NOW_MS, &request, &error);
    if (taken == json_error_set(&error) || strchr(error.message, '\n') != NULL)
        abort();
    if (!taken)
        return 0;
    size_t id_bytes = strlen(request.worker);
    if (id_bytes == 0 || id_bytes >= sizeof request.worker || request.since_ms < 0)
        abort();
    if (request.metrics == 0 || request.metrics >> HISTORY_METRIC_COUNT != 0)
        abort();
    if (request.step_seconds != 10 && request.step_seconds != 60 && request.step_seconds != 3600)
        abort();
    return 0;
}
