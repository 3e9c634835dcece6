/* One REST request, blocking: what the commands and the start of `up` ask a gateway.
 *
 * Threading: one thread. Call rest_start once before the first request. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "common/config.h"

/* Whom to ask, and with which key. */
struct rest_coordinator {
    const char *url;     /* what paths are put behind; of a list, as workers take it, the first is asked */
    const char *api_key; /* sent as X-API-Key; "": none */
};

/* The setting of the commands for it. */
#define REST_API_KEY_SETTING(value)                                                                                    \
    {                                                                                                                  \
        "api-key", SETTING_TEXT, value, "", "KEY",                                                                     \
            "A key of the coordinator's. Better given as API_KEY: flags can be seen by others.", 0, 0                  \
    }

struct rest_answer {
    long status;        /* 0: no answer */
    json_t *body;       /* NULL: no answer, or not JSON */
    char error[512];    /* one line; empty when status is 2xx and the body is JSON */
    char served_by[64]; /* X-Served-By; "" when there is none */
};

/* False: libcurl could not be set up. rest_stop undoes it. */
bool rest_start(void);
void rest_stop(void);

/* GET of the url and the path. True when it was answered with 2xx and JSON. The answer must be freed
 * either way. */
bool rest_get(const struct rest_coordinator *coordinator, const char *path, uint64_t timeout_ms,
              struct rest_answer *answer);

/* POSTs a text; its answer need not be JSON. True when it was answered with 2xx. */
bool rest_post_text(const struct rest_coordinator *coordinator, const char *path, const char *text, uint64_t timeout_ms,
                    struct rest_answer *answer);

/* GETs a body of any size into a file as it comes. True when it was answered with 2xx, to the
 * end. */
bool rest_download(const struct rest_coordinator *coordinator, const char *path, FILE *to, struct rest_answer *answer);

/* POSTs what is left of a file, however large, as JSON. Else as rest_get. Both have no time limit
 * but for a minute in which nothing moves. */
bool rest_upload(const struct rest_coordinator *coordinator, const char *path, FILE *from, struct rest_answer *answer);

void rest_answer_free(struct rest_answer *answer);
