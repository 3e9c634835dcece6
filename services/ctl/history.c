/* `musterctl history WORKER` and `musterctl query SQL`: what workers did, and statements over
 * workers, services and history. */

#include "services/ctl/command.h"
#include "services/ctl/rest.h"
#include "services/ctl/view.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- history --- */

/* Appends &NAME=VALUE, encoded; nothing for an empty value. */
static bool append_parameter(struct buffer *path, const char *name, const char *value)
{
    if (value[0] == '\0')
        return true;
    char *encoded = curl_easy_escape(NULL, value, 0);
    if (encoded == NULL)
        return false;
    buffer_append_format(path, "%s%s=%s", path->data[path->bytes - 1] == '?' ? "" : "&", name, encoded);
    curl_free(encoded);
    return !buffer_failed(path);
}

static json_t *fetch_history(const struct view_source *source, char *error, size_t error_bytes)
{
    struct buffer path = BUFFER_INIT;
    json_t *answer = NULL;
    buffer_append_text(&path, "/api/admin/history?");
    if (!buffer_failed(&path) && append_parameter(&path, "worker", source->subject) &&
        append_parameter(&path, "since", source->since) && append_parameter(&path, "step", source->step))
        answer = view_fetch_rest(source, path.data, error, error_bytes);
    else
        (void)snprintf(error, error_bytes, "out of memory");
    buffer_free(&path);
    return answer;
}

int command_history(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_history, render_history, NULL, true};
    return view_run(&view, command, argc, argv);
}

/* --- query --- */

static json_t *fetch_query(const struct view_source *source, char *error, size_t error_bytes)
{
    struct rest_answer answer = {0};
    json_t *result = NULL;
    json_t *body = json_pack("{s:s}", "sql", source->subject);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    if (text == NULL)
        (void)snprintf(error, error_bytes, "the statement is not UTF-8, or memory ran out");
    else if (rest_post_text(&source->coordinator, "/api/admin/query", text, source->timeout_ms, &answer))
        result = json_incref(answer.body);
    else
        (void)snprintf(error, error_bytes, "%s", answer.error);
    if (text != NULL && result == NULL && error[0] == '\0')
        (void)snprintf(error, error_bytes, "%s answered something that is not JSON: is it a coordinator?",
                       source->coordinator.url);
    rest_answer_free(&answer);
    free(text);
    json_decref(body);
    return result;
}

int command_query(const struct command *command, int argc, char **argv)
{
    static const struct view view = {fetch_query, render_query, NULL, true};
    return view_run(&view, command, argc, argv);
}
