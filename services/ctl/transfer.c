/* `export` and `import`: the whole roll into a file and back, through the coordinator's
 * /api/admin/export and /api/admin/import, in pieces: neither end holds all of it in memory.
 *
 * An export becomes FILE only when it is complete and on disk; until then it is FILE.part. An
 * import may be repeated: workers that are on the roll already are skipped, and are no bad news.
 * "-" is standard output or input. */

#include "services/ctl/command.h"
#include "services/ctl/rest.h"

#include "common/config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Skipped workers that are named one by one. */
#define NAMED_SKIPPED 20

static const char present[] = "is on the roll already";

static int fail(const char *what, const char *name)
{
    (void)fprintf(stderr, "musterctl: %s %s: %s\n", what, name, strerror(errno));
    return COMMAND_FAILED;
}

/* --- export --- */

static int download(const struct rest_coordinator *from, FILE *to)
{
    struct rest_answer answer;
    int code = COMMAND_OK;
    if (!rest_download(from, "/api/admin/export", to, &answer)) {
        (void)fprintf(stderr, "musterctl: %s%s\n", answer.error,
                      answer.status == 0 ? "; is --coordinator-url right?" : "");
        code = COMMAND_FAILED;
    }
    rest_answer_free(&answer);
    return code;
}

static int export_to(const struct rest_coordinator *from, const char *name)
{
    char part[PATH_MAX];
    if (strcmp(name, "-") == 0) {
        int code = download(from, stdout);
        return fflush(stdout) == 0 ? code : fail("cannot write", "standard output");
    }
    if (snprintf(part, sizeof(part), "%s.part", name) >= (int)sizeof(part)) {
        errno = ENAMETOOLONG;
        return fail("cannot write", name);
    }
    FILE *file = fopen(part, "w");
    if (file == NULL)
        return fail("cannot write", part);
    int code = download(from, file);
    if (code == COMMAND_OK && (fflush(file) != 0 || fsync(fileno(file)) != 0))
        code = fail("cannot write", part);
    if (fclose(file) != 0 && code == COMMAND_OK)
        code = fail("cannot write", part);
    if (code == COMMAND_OK && rename(part, name) != 0)
        code = fail("cannot write", name);
    if (code != COMMAND_OK)
        (void)unlink(part);
    return code;
}

/* --- import --- */

/* Names the workers that were skipped for another reason than being there. Returns how many. */
static size_t name_skipped(const json_t *skipped)
{
    size_t index, wrong = 0;
    const json_t *one;
    json_array_foreach(skipped, index, one)
    {
        const char *reason = json_string_value(json_object_get(one, "reason"));
        const char *id = json_string_value(json_object_get(one, "worker_id"));
        if (reason != NULL && strcmp(reason, present) == 0)
            continue;
        if (wrong++ < NAMED_SKIPPED)
            (void)fprintf(stderr, "skipped %s: %s\n", id != NULL && id[0] != '\0' ? id : "(no id)",
                          reason != NULL ? reason : "no reason given");
    }
    if (wrong > NAMED_SKIPPED)
        (void)fprintf(stderr, "... and %zu more\n", wrong - NAMED_SKIPPED);
    return wrong;
}

static int import_from(const struct rest_coordinator *to, const char *name)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
    if (file == NULL)
        return fail("cannot read", name);
    struct rest_answer answer;
    int code = COMMAND_FAILED;
    if (rest_upload(to, "/api/admin/import", file, &answer)) {
        const json_t *skipped = json_object_get(answer.body, "skipped");
        size_t wrong = name_skipped(skipped);
        (void)printf("%lld imported, %zu on the roll already, %zu refused\n",
                     (long long)json_integer_value(json_object_get(answer.body, "imported")),
                     json_array_size(skipped) - wrong, wrong);
        code = wrong > 0 ? COMMAND_BAD_NEWS : COMMAND_OK;
    } else {
        (void)fprintf(stderr, "musterctl: %s; what came before it may be on the roll, import again\n", answer.error);
    }
    rest_answer_free(&answer);
    if (file != stdin)
        (void)fclose(file);
    return code;
}

/* --- Both --- */

static int run(int (*transfer)(const struct rest_coordinator *coordinator, const char *name),
               const struct command *command, int argc, char **argv)
{
    struct rest_coordinator coordinator = {"", ""};
    const struct setting settings[] = {
        {"coordinator-url", SETTING_TEXT, &coordinator.url, "http://127.0.0.1:8080", "URL", "The coordinator.", 0, 0},
        REST_API_KEY_SETTING(&coordinator.api_key),
    };
    char program[64];
    (void)snprintf(program, sizeof(program), "musterctl %s", command->name);
    struct config config = {.program = program,
                            .summary = command->summary,
                            .arguments = command->arguments,
                            .settings = settings,
                            .setting_count = sizeof(settings) / sizeof(settings[0])};
    config_parse_or_exit(&config, argc, argv);
    int code = COMMAND_FAILED;
    if (config.rest_count != 1) {
        (void)fprintf(stderr, "musterctl %s: it takes one %s; see --help\n", command->name, command->arguments);
        code = COMMAND_USAGE;
    } else if (!rest_start()) {
        (void)fprintf(stderr, "musterctl: out of memory\n");
    } else {
        code = transfer(&coordinator, config.rest[0]);
        rest_stop();
    }
    config_free(&config);
    return code;
}

int command_export(const struct command *command, int argc, char **argv)
{
    return run(export_to, command, argc, argv);
}

int command_import(const struct command *command, int argc, char **argv)
{
    return run(import_from, command, argc, argv);
}
