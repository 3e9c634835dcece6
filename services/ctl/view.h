/* Commands that show something: each asks for an answer as JSON and shows it as a table, or
 * as it is with -o json; once, or again and again with --watch.
 *
 * Threading: one thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/buffer.h"
#include "services/ctl/command.h"
#include "services/ctl/rest.h"

/* Where to ask, from flags and environment. */
struct view_source {
    struct rest_coordinator coordinator;
    const char *router_address;
    const char *data_dir;
    const char *since, *step; /* of `history`; "" takes the coordinator's default */
    const char *subject;      /* the command's argument; NULL: it takes none */
    uint64_t timeout_ms;
};

struct view {
    /* The answer, a new reference; NULL with one line in `error`. */
    json_t *(*fetch)(const struct view_source *source, char *error, size_t error_bytes);
    /* Appends text to read. False: memory ran out. */
    bool (*render)(const json_t *answer, struct buffer *out);
    /* Whether the answer is bad news; see command.h. NULL: it never is. */
    bool (*is_bad_news)(const json_t *answer);
    bool needs_subject;
};

/* Runs such a command; returns its exit code. */
int view_run(const struct view *view, const struct command *command, int argc, char **argv);

/* GET of a path at the coordinator: what most views fetch. */
json_t *view_fetch_rest(const struct view_source *source, const char *path, char *error, size_t error_bytes);

/* Asks the router to explain (explain.c): {"service", "policy", "candidates": […]}. */
json_t *view_fetch_explain(const struct view_source *source, char *error, size_t error_bytes);

/* What the views show (answers.c); their shapes are those of the REST contract. */
bool render_workers(const json_t *answer, struct buffer *out);
bool render_services(const json_t *answer, struct buffer *out);
bool render_gaps(const json_t *answer, struct buffer *out);
bool render_assignment(const json_t *answer, struct buffer *out);
bool render_dht(const json_t *answer, struct buffer *out);
bool render_lookup(const json_t *answer, struct buffer *out);
bool render_health(const json_t *answer, struct buffer *out);
bool render_route(const json_t *answer, struct buffer *out);
bool render_history(const json_t *answer, struct buffer *out);
bool render_query(const json_t *answer, struct buffer *out);
bool render_processes(const json_t *answer, struct buffer *out);
bool gaps_are_bad_news(const json_t *answer);
bool health_is_bad_news(const json_t *answer);
bool route_is_bad_news(const json_t *answer);
bool lookup_is_bad_news(const json_t *answer);
