/* Commands that show something; see view.h. */

#include "services/ctl/view.h"

#include "common/clock.h"
#include "common/config.h"
#include "services/ctl/rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct view_settings {
    struct view_source source;
    const char *output;
    bool watch;
    double interval_seconds, timeout_seconds;
};

/* -o and -w are the short forms of --output and --watch. Returns a copy of argv with the
 * long ones, to be freed; NULL: out of memory. */
static char **with_long_flags(int argc, char **argv)
{
    static char output[] = "--output";
    static char watch[] = "--watch";
    char **copy = calloc((size_t)argc + 1, sizeof(*copy));
    for (int i = 0; copy != NULL && i < argc; i++) {
        copy[i] = argv[i];
        if (strcmp(argv[i], "-o") == 0)
            copy[i] = output;
        else if (strcmp(argv[i], "-w") == 0)
            copy[i] = watch;
    }
    return copy;
}

static bool append_json(const json_t *answer, bool one_line, struct buffer *out)
{
    char *text = json_dumps(answer, JSON_PRESERVE_ORDER | (one_line ? JSON_COMPACT : JSON_INDENT(2)));
    if (text == NULL)
        return false;
    buffer_append_text(out, text);
    buffer_append_char(out, '\n');
    free(text);
    return !buffer_failed(out);
}

/* Clears a terminal; between the tables of a file goes an empty line. */
static void begin_again(bool first)
{
    if (isatty(STDOUT_FILENO))
        (void)fputs("\033[H\033[2J", stdout);
    else if (!first)
        (void)fputc('\n', stdout);
}

/* Fetches and shows once. */
static int show(const struct view *view, const struct view_settings *settings, bool first)
{
    char error[512] = "";
    json_t *answer = view->fetch(&settings->source, error, sizeof(error));
    if (answer == NULL) {
        (void)fprintf(stderr, "musterctl: %s\n", error);
        return COMMAND_FAILED;
    }
    struct buffer out = BUFFER_INIT;
    bool json = strcmp(settings->output, "json") == 0;
    int code = view->is_bad_news != NULL && view->is_bad_news(answer) ? COMMAND_BAD_NEWS : COMMAND_OK;
    if (json ? append_json(answer, settings->watch, &out) : view->render(answer, &out)) {
        if (settings->watch && !json)
            begin_again(first);
        if (fwrite(out.data, 1, out.bytes, stdout) != out.bytes || fflush(stdout) != 0)
            code = COMMAND_FAILED; /* whoever read it has gone */
    } else {
        (void)fprintf(stderr, "musterctl: out of memory\n");
        code = COMMAND_FAILED;
    }
    buffer_free(&out);
    json_decref(answer);
    return code;
}

/* Until it is interrupted or its output is closed. A coordinator that is away is told of and
 * asked again: that is when one watches. */
static int watch(const struct view *view, const struct view_settings *settings)
{
    uint64_t interval_ms = (uint64_t)(settings->interval_seconds * 1000);
    struct timespec pause = {(time_t)(interval_ms / 1000), (long)(interval_ms % 1000) * 1000000};
    for (bool first = true;; first = false) {
        (void)show(view, settings, first);
        if (ferror(stdout))
            return COMMAND_OK;
        (void)nanosleep(&pause, NULL);
    }
}

static int run(const struct view *view, const struct command *command, struct view_settings *settings,
               const struct config *config)
{
    if (strcmp(settings->output, "table") != 0 && strcmp(settings->output, "json") != 0) {
        (void)fprintf(stderr, "musterctl %s: --output: '%s' is neither table nor json\n", command->name,
                      settings->output);
        return COMMAND_USAGE;
    }
    if (config->rest_count != (view->needs_subject ? 1 : 0)) {
        (void)fprintf(stderr, "musterctl %s: it takes one %s; see --help\n", command->name, command->arguments);
        return COMMAND_USAGE;
    }
    settings->source.subject = view->needs_subject ? config->rest[0] : NULL;
    settings->source.timeout_ms = (uint64_t)(settings->timeout_seconds * 1000);
    return settings->watch ? watch(view, settings) : show(view, settings, true);
}

int view_run(const struct view *view, const struct command *command, int argc, char **argv)
{
    struct view_settings settings = {0};
    const struct setting table[] = {
        {"coordinator-url", SETTING_TEXT, &settings.source.coordinator.url, "http://127.0.0.1:8080", "URL",
         "The coordinator to ask.", 0, 0},
        REST_API_KEY_SETTING(&settings.source.coordinator.api_key),
        {"router-address", SETTING_TEXT, &settings.source.router_address, "127.0.0.1:7104", "HOST:PORT",
         "Its router, which `route` asks.", 0, 0},
        {"data-dir", SETTING_TEXT, &settings.source.data_dir, "muster-data", "DIR",
         "The data directory of `up`, which `processes` reads.", 0, 0},
        {"since", SETTING_TEXT, &settings.source.since, "", "TIME",
         "How far back `history` shows: 15m, 6h, 7d or a date; an hour unless said otherwise.", 0, 0},
        {"step", SETTING_TEXT, &settings.source.step, "", "STEP",
         "The steps of `history`: 10s, 1m or 1h; as fine as there are unless said otherwise.", 0, 0},
        {"output", SETTING_TEXT, &settings.output, "table", "FORMAT", "How to show it: table or json; -o for short.", 0,
         0},
        {"watch", SETTING_BOOL, &settings.watch, NULL, NULL,
         "Show it again and again; json then is one line each; -w for short.", 0, 0},
        {"interval", SETTING_DOUBLE, &settings.interval_seconds, "2", "SECONDS", "How often, with --watch.", 0.05,
         86400},
        {"timeout-seconds", SETTING_DOUBLE, &settings.timeout_seconds, "10", "SECONDS", "Wait that long for an answer.",
         0.01, 3600},
    };
    char program[64];
    (void)snprintf(program, sizeof(program), "musterctl %s", command->name);
    struct config config = {
        .program = program,
        .summary = command->summary,
        .arguments = view->needs_subject ? command->arguments : NULL,
        .settings = table,
        .setting_count = sizeof(table) / sizeof(table[0]),
    };
    char **arguments = with_long_flags(argc, argv);
    int code = COMMAND_FAILED;
    if (arguments == NULL || !rest_start()) {
        (void)fprintf(stderr, "musterctl: out of memory\n");
    } else {
        config_parse_or_exit(&config, argc, arguments);
        code = run(view, command, &settings, &config);
        config_free(&config);
        rest_stop();
    }
    free(arguments);
    return code;
}

json_t *view_fetch_rest(const struct view_source *source, const char *path, char *error, size_t error_bytes)
{
    struct rest_answer answer;
    json_t *body = NULL;
    if (rest_get(&source->coordinator, path, source->timeout_ms, &answer))
        body = json_incref(answer.body);
    else
        (void)snprintf(error, error_bytes, "%s%s", answer.error,
                       answer.status == 0 ? "; is --coordinator-url right?" : "");
    rest_answer_free(&answer);
    return body;
}
