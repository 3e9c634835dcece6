/* The commands that show something: what each asks, and how it is shown. */

#include "services/ctl/command.h"
#include "services/ctl/view.h"

#include <curl/curl.h>
#include <stdio.h>

static json_t *fetch_workers(const struct view_source *source, char *error, size_t error_bytes)
{
    return view_fetch_rest(source, "/api/admin/workers", error, error_bytes);
}

static json_t *fetch_services(const struct view_source *source, char *error, size_t error_bytes)
{
    return view_fetch_rest(source, "/api/admin/services", error, error_bytes);
}

static json_t *fetch_gaps(const struct view_source *source, char *error, size_t error_bytes)
{
    return view_fetch_rest(source, "/api/admin/gaps", error, error_bytes);
}

/* From a path with the command's argument in it. */
static json_t *fetch_of_subject(const struct view_source *source, const char *before, const char *after, char *error,
                                size_t error_bytes)
{
    struct buffer path = BUFFER_INIT;
    json_t *answer = NULL;
    char *subject = curl_easy_escape(NULL, source->subject, 0);
    buffer_append_text(&path, before);
    buffer_append_text(&path, subject == NULL ? "" : subject);
    buffer_append_text(&path, after);
    if (subject != NULL && !buffer_failed(&path))
        answer = view_fetch_rest(source, path.data, error, error_bytes);
    else
        (void)snprintf(error, error_bytes, "out of memory");
    curl_free(subject);
    buffer_free(&path);
    return answer;
}

static json_t *fetch_assignment(const struct view_source *source, char *error, size_t error_bytes)
{
    return fetch_of_subject(source, "/api/admin/workers/", "/explain", error, error_bytes);
}

static json_t *fetch_dht(const struct view_source *source, char *error, size_t error_bytes)
{
    return view_fetch_rest(source, "/api/dht/topology", error, error_bytes);
}

static json_t *fetch_lookup(const struct view_source *source, char *error, size_t error_bytes)
{
    return fetch_of_subject(source, "/api/dht/lookup/", "", error, error_bytes);
}

static json_t *fetch_health(const struct view_source *source, char *error, size_t error_bytes)
{
    return view_fetch_rest(source, "/health", error, error_bytes);
}

static json_t *fetch_processes(const struct view_source *source, char *error, size_t error_bytes)
{
    char path[4096];
    json_error_t reason;
    (void)snprintf(path, sizeof(path), "%s/processes.json", source->data_dir);
    json_t *answer = json_load_file(path, 0, &reason);
    if (answer == NULL)
        (void)snprintf(error, error_bytes, "cannot read %s: %s; is --data-dir that of `musterctl up`?", path,
                       reason.text);
    return answer;
}

int command_workers(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_workers, render_workers, NULL, false};
    return view_run(&view, command, argc, argv);
}

int command_services(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_services, render_services, NULL, false};
    return view_run(&view, command, argc, argv);
}

int command_gaps(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_gaps, render_gaps, gaps_are_bad_news, false};
    return view_run(&view, command, argc, argv);
}

int command_assignment(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_assignment, render_assignment, NULL, true};
    return view_run(&view, command, argc, argv);
}

int command_route(const struct command *command, int argc, char **argv)
{
    static const struct view view = {view_fetch_explain, render_route, route_is_bad_news, true};
    return view_run(&view, command, argc, argv);
}

int command_dht(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_dht, render_dht, NULL, false};
    return view_run(&view, command, argc, argv);
}

int command_lookup(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_lookup, render_lookup, lookup_is_bad_news, true};
    return view_run(&view, command, argc, argv);
}

int command_health(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_health, render_health, health_is_bad_news, false};
    return view_run(&view, command, argc, argv);
}

int command_processes(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_processes, render_processes, NULL, false};
    return view_run(&view, command, argc, argv);
}
