/* Load over HTTP/1.1: kept-alive connections, one request outstanding on each.
 *
 * The requests are bytes put together beforehand; connection i sends number i, then i +
 * connections, and so on around; with a limit, each is sent once in their order. Or each is made
 * when it is sent, when no two may be alike. An answer
 * counts when its status is the expected one, it has a Content-Length and all of its body
 * came; the first answer on each connection must contain `expected_text` as well, when it
 * came in one piece. */

#pragma once

#include "tests/bench/load.h"

struct http_requests {
    char **texts; /* whole requests, zero-terminated */
    size_t *lengths;
    size_t count;
};

/* Takes `count` texts over; http_requests_free frees them. Returns false when memory runs
 * out, and frees nothing then. */
bool http_requests_make(struct http_requests *requests, char **texts, size_t count);
void http_requests_free(struct http_requests *requests);

/* A request as text, for the caller to free; body may be NULL. NULL when memory runs out. */
char *http_request_text(const char *method, const char *path, const char *json_body);

struct http_load {
    const struct http_requests *requests;
    unsigned expected_status;
    const char *expected_text;
    /* Instead of `requests`, without a limit: the next one, which the load frees; NULL when memory runs out. */
    char *(*make)(void *context);
    void *context;
};

bool load_http(struct loop *loop, const struct load_plan *plan, const struct http_load *what,
               struct load_result *result, struct failure *failure);

/* One request, for setting up: its status, and its body as text for the caller to free (NULL
 * if there was none). The wait is bounded by five seconds. */
bool http_ask(uint16_t port, const char *request, unsigned *status, char **body, struct failure *failure);
