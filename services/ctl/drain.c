/* `drain` and `undrain`: a worker is taken out of new work, and given work again. With --wait, `drain` returns when the
 * worker may be stopped: it knows that it drains and has no request any more, or is gone. A worker that never says that
 * it drains (an agent that does not know the word) is taken by what it says with its second heartbeat from then on. */

#include "services/ctl/command.h"
#include "services/ctl/rest.h"

#include "common/buffer.h"
#include "common/clock.h"
#include "common/config.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_EVERY_MS 500

struct drain {
    struct rest_coordinator coordinator;
    const char *worker_id;
    bool wait;
    double wait_seconds; /* at most; 0: for as long as it takes */
    uint64_t timeout_ms; /* of a request */

    char heard[64];   /* the worker's last heartbeat, as it was last seen */
    unsigned beats;   /* heartbeats seen since it is drained */
    char reason[256]; /* how far it is, as it was last said */
};

/* Asks for it. */
static int ask(const struct drain *drain, const char *verb)
{
    struct buffer path = BUFFER_INIT;
    struct rest_answer answer = {0};
    char *id = curl_easy_escape(NULL, drain->worker_id, 0);
    int code = COMMAND_FAILED;
    buffer_append_format(&path, "/api/admin/workers/%s/%s", id == NULL ? "" : id, verb);
    if (id == NULL || buffer_failed(&path))
        (void)fprintf(stderr, "musterctl: out of memory\n");
    else if (rest_post_text(&drain->coordinator, path.data, "", drain->timeout_ms, &answer))
        code = COMMAND_OK;
    else
        (void)fprintf(stderr, "musterctl: %s%s\n", answer.error,
                      answer.status == 0 ? "; is --coordinator-url right?" : "");
    rest_answer_free(&answer);
    curl_free(id);
    buffer_free(&path);
    return code;
}

static const json_t *find_worker(const json_t *list, const char *worker_id)
{
    size_t index;
    const json_t *worker;
    json_array_foreach(json_object_get(list, "workers"), index, worker)
    {
        const char *id = json_string_value(json_object_get(worker, "worker_id"));
        if (id != NULL && strcmp(id, worker_id) == 0)
            return worker;
    }
    return NULL;
}

static const char *text_of(const json_t *worker, const char *key)
{
    const char *text = json_string_value(json_object_get(worker, key));
    return text == NULL ? "" : text;
}

/* Takes what is known of the worker now. True: it may leave. */
static bool look_at(struct drain *drain, const json_t *worker)
{
    const char *heard = text_of(worker, "last_heartbeat");
    bool idle = json_integer_value(json_object_get(worker, "active_requests")) == 0 &&
                json_integer_value(json_object_get(worker, "queue_depth")) == 0;
    if (drain->heard[0] != '\0' && strcmp(drain->heard, heard) != 0)
        drain->beats++;
    (void)snprintf(drain->heard, sizeof(drain->heard), "%s", heard);
    if (strcmp(drain->reason, text_of(worker, "status_reason")) != 0) {
        (void)snprintf(drain->reason, sizeof(drain->reason), "%s", text_of(worker, "status_reason"));
        (void)printf("%s: %s\n", drain->worker_id, drain->reason);
        (void)fflush(stdout);
    }
    return json_is_true(json_object_get(worker, "may_leave")) || (idle && drain->beats >= 2);
}

/* One look. 1: it may leave; 0: not yet; -1: it cannot be waited for. A coordinator that is away for a moment is asked
 * again. */
static int look(struct drain *drain)
{
    struct rest_answer answer;
    int result = 0;
    if (rest_get(&drain->coordinator, "/api/admin/workers", drain->timeout_ms, &answer)) {
        const json_t *worker = find_worker(answer.body, drain->worker_id);
        if (worker == NULL) {
            (void)printf("%s: has left\n", drain->worker_id);
            result = 1;
        } else if (strcmp(text_of(worker, "status"), "draining") != 0) {
            (void)fprintf(stderr, "musterctl: %s is %s: somebody has undrained it\n", drain->worker_id,
                          text_of(worker, "status"));
            result = -1;
        } else {
            result = look_at(drain, worker);
        }
    }
    rest_answer_free(&answer);
    return result;
}

static int wait_for(struct drain *drain)
{
    const struct timespec pause = {0, LOOK_EVERY_MS * 1000000L};
    uint64_t until_ms = clock_monotonic_ms() + (uint64_t)(drain->wait_seconds * 1000);
    /* The first look that finds it done may have come before the last request did: it is taken twice. */
    for (int done = 0;;) {
        int result = look(drain);
        if (result < 0)
            return COMMAND_FAILED;
        done = result > 0 ? done + 1 : 0;
        if (done == 2)
            return COMMAND_OK;
        if (drain->wait_seconds > 0 && clock_monotonic_ms() >= until_ms) {
            (void)fprintf(stderr, "musterctl: %s still has requests; it goes on draining\n", drain->worker_id);
            return COMMAND_BAD_NEWS;
        }
        (void)nanosleep(&pause, NULL);
    }
}

static int run(const char *verb, const struct command *command, int argc, char **argv)
{
    struct drain drain = {.coordinator = {"", ""}};
    double timeout_seconds = 10;
    const struct setting settings[] = {
        {"coordinator-url", SETTING_TEXT, &drain.coordinator.url, "http://127.0.0.1:8080", "URL", "The coordinator.", 0,
         0},
        REST_API_KEY_SETTING(&drain.coordinator.api_key),
        {"timeout-seconds", SETTING_DOUBLE, &timeout_seconds, "10", "SECONDS", "Wait that long for an answer.", 0.01,
         3600},
        {"wait", SETTING_BOOL, &drain.wait, NULL, NULL, "Return when the worker has no request any more.", 0, 0},
        {"wait-seconds", SETTING_DOUBLE, &drain.wait_seconds, "0", "SECONDS",
         "With --wait: give up after so long, with exit code 3; 0: wait for as long as it takes.", 0, 864000},
    };
    bool drains = strcmp(verb, "drain") == 0;
    char program[64];
    (void)snprintf(program, sizeof(program), "musterctl %s", command->name);
    struct config config = {.program = program,
                            .summary = command->summary,
                            .arguments = command->arguments,
                            .settings = settings,
                            .setting_count = sizeof(settings) / sizeof(settings[0]) - (drains ? 0 : 2)};
    config_parse_or_exit(&config, argc, argv);
    int code = COMMAND_USAGE;
    if (config.rest_count != 1) {
        (void)fprintf(stderr, "musterctl %s: it takes one %s; see --help\n", command->name, command->arguments);
    } else if (!rest_start()) {
        (void)fprintf(stderr, "musterctl: out of memory\n");
        code = COMMAND_FAILED;
    } else {
        drain.worker_id = config.rest[0];
        drain.timeout_ms = (uint64_t)(timeout_seconds * 1000);
        code = ask(&drain, verb);
        if (code == COMMAND_OK && drain.wait)
            code = wait_for(&drain);
        rest_stop();
    }
    config_free(&config);
    return code;
}

int command_drain(const struct command *command, int argc, char **argv)
{
    return run("drain", command, argc, argv);
}

int command_undrain(const struct command *command, int argc, char **argv)
{
    return run("undrain", command, argc, argv);
}
