/* See cors.h. */

#include "gateway/cors.h"

#include <stdlib.h>
#include <string.h>

static bool add_origin(struct cors *cors, const char *start, size_t bytes)
{
    char **origins = realloc(cors->origins, (cors->count + 1) * sizeof(char *));
    if (origins == NULL)
        return false;
    cors->origins = origins;
    char *origin = strndup(start, bytes);
    if (origin == NULL)
        return false;
    cors->origins[cors->count++] = origin;
    return true;
}

bool cors_parse(struct cors *cors, const char *list)
{
    *cors = (struct cors){.any = false};
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t bytes = strcspn(list, ", \t");
        if (bytes == 1 && *list == '*')
            cors->any = true;
        else if (bytes > 0 && !add_origin(cors, list, bytes))
            return false;
        list += bytes;
    }
    return true;
}

void cors_free(struct cors *cors)
{
    for (size_t i = 0; i < cors->count; i++)
        free(cors->origins[i]);
    free(cors->origins);
    *cors = (struct cors){.any = false};
}

static bool is_allowed(const struct cors *cors, const char *origin)
{
    for (size_t i = 0; i < cors->count; i++) {
        if (strcmp(cors->origins[i], origin) == 0)
            return true;
    }
    return false;
}

static void add(struct cors_headers *result, const char *name, const char *value)
{
    result->headers[result->count++] = (struct http_header){name, value};
}

void cors_headers_for(const struct cors *cors, struct http_text origin, bool preflight, struct cors_headers *result)
{
    result->count = 0;
    if (!cors->any && cors->count > 0)
        add(result, "Vary", "Origin");
    if (origin.bytes == 0 || origin.bytes >= sizeof result->origin)
        return;
    memcpy(result->origin, origin.data, origin.bytes);
    result->origin[origin.bytes] = '\0';
    if (!cors->any && !is_allowed(cors, result->origin))
        return;
    add(result, "Access-Control-Allow-Origin", cors->any ? "*" : result->origin);
    if (!preflight) {
        add(result, "Access-Control-Expose-Headers", "X-Request-Id, X-Served-By, X-Upstream, ETag, Retry-After, Age");
        return;
    }
    add(result, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    add(result, "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Accept, If-None-Match, X-API-Key, X-Request-Id, X-Requested-With");
    add(result, "Access-Control-Max-Age", "86400");
}
