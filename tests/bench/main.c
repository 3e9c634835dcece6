/* Measures Muster beside what people would use instead; see README.md here. */

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/config.h"
#include "tests/bench/bench.h"
#include "tests/bench/report.h"

enum {
    EXIT_UNMEASURED = 1,
    EXIT_USAGE = 2,
    EXIT_MISSED = 3,
    EXIT_INTERRUPTED = 130,
};

/* The first two cores that this process may use; one and the same when there is but one. */
static bool pick_cores(struct bench *bench)
{
    cpu_set_t cores;
    unsigned found = 0;
    if (sched_getaffinity(0, sizeof cores, &cores) != 0)
        return false;
    for (unsigned core = 0; core < CPU_SETSIZE && found < 2; core++) {
        if (!CPU_ISSET(core, &cores))
            continue;
        bench->load_core = core;
        if (found++ == 0)
            bench->server_core = core;
    }
    return found > 0;
}

static bool is_selected(const struct row *row, char *const *selectors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (row_selected_by(row, selectors[i]))
            return true;
    return count == 0 && row->group != ROW_SCALE;
}

static bool selects_any(const char *selector)
{
    for (size_t i = 0; i < row_count; i++)
        if (row_selected_by(&rows[i], selector))
            return true;
    return false;
}

static void list_rows(void)
{
    for (size_t i = 0; i < row_count; i++)
        printf("%-20s %s\n", rows[i].name, rows[i].title);
}

/* `bazel run` changes the folder; a path that was typed means the folder where it was typed. */
static bool write_json(const char *path, const struct report *report, struct failure *failure)
{
    const char *folder = getenv("BUILD_WORKING_DIRECTORY");
    char whole[4096];
    bool relative = path[0] != '/' && folder != NULL;
    snprintf(whole, sizeof whole, "%s%s%s", relative ? folder : "", relative ? "/" : "", path);
    char *text = report_json(report);
    if (text == NULL)
        return fail(failure, "out of memory");
    FILE *file = fopen(whole, "w");
    bool written = file != NULL && fprintf(file, "%s\n", text) > 0;
    written = file != NULL && fclose(file) == 0 && written;
    free(text);
    return written ? true : fail(failure, "cannot write %s: %s", whole, strerror(errno));
}

/* The peers that take part, with their versions where they are installed. */
static size_t name_peers(const struct row_result *results, size_t count, struct report_peer *peers)
{
    static const char *const names[] = {"etcd", "watched", "fastapi", "uvloop", "nginx", "haproxy", "sqlite3"};
    size_t named = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct failure failure;
        bool needed = false;
        for (enum row_group group = 0; group < ROW_GROUPS; group++)
            needed |= peer_needed(results, count, group, names[i]);
        if (!needed)
            continue;
        peers[named].name = names[i];
        if (!server_version(names[i], peers[named].version, sizeof peers[named].version, &failure))
            snprintf(peers[named].version, sizeof peers[named].version, "%.150s", failure.text);
        named++;
    }
    return named;
}

static void run_scenarios(struct bench *bench, struct row_result *results, size_t count)
{
    static void (*const scenarios[])(struct bench *, struct row_result *, size_t) = {
        scenario_memory,   scenario_rest,     scenario_relay,    scenario_link,  scenario_heartbeats,
        scenario_registry, scenario_watchers, scenario_expiry, scenario_scale};
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0] && !loop_interrupted(&bench->loop); i++)
        scenarios[i](bench, results, count);
}

static int finish(const struct report *report, const char *json_path, bool check)
{
    struct failure failure;
    report_print(report, stdout);
    if (json_path[0] != '\0' && !write_json(json_path, report, &failure)) {
        fprintf(stderr, "bench: %s\n", failure.text);
        return EXIT_UNMEASURED;
    }
    if (report_unmeasured(report) > 0)
        return EXIT_UNMEASURED;
    return check && report_missed(report) > 0 ? EXIT_MISSED : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const char *json_path;
    bool quick, list, check;
    uint64_t rounds;
    const struct setting settings[] = {
        {"json", SETTING_TEXT, &json_path, NULL, "FILE", "Write the report to this file as JSON.", 0, 0},
        {"quick", SETTING_BOOL, &quick, NULL, NULL, "Few and short rounds: less than a minute in all.", 0, 0},
        {"rounds", SETTING_UINT, &rounds, "0", "N", "Rounds of each row; 0: 5, or 2 with --quick.", 0,
         STATISTICS_VALUES_MAX},
        {"list", SETTING_BOOL, &list, NULL, NULL, "List the rows and do nothing.", 0, 0},
        {"check", SETTING_BOOL, &check, NULL, NULL, "Exit with 3 when a row is below what is asked.", 0, 0},
    };
    struct config config = {.program = "bench",
                            .summary = "Measures Muster beside etcd, FastAPI, nginx and HAProxy.",
                            .arguments = "[ROW...]",
                            .settings = settings,
                            .setting_count = sizeof settings / sizeof settings[0]};
    config_parse_or_exit(&config, argc, argv);
    if (list) {
        list_rows();
        config_free(&config);
        return EXIT_SUCCESS;
    }
    for (size_t i = 0; i < config.rest_count; i++) {
        if (!selects_any(config.rest[i])) {
            fprintf(stderr, "bench: there is no row '%s'; --list names them\n", config.rest[i]);
            config_free(&config);
            return EXIT_USAGE;
        }
    }

    struct row_result *results = calloc(row_count, sizeof *results);
    struct bench bench = {.quick = quick,
                          .rounds = rounds > 0 ? (unsigned)rounds
                                    : quick    ? 2
                                               : 5,
                          .warm_up_ms = quick ? 100 : 400,
                          .window_ms = quick ? 250 : 1000};
    struct failure failure;
    struct rlimit files = {16384, 16384};
    struct report_peer peers[6];
    size_t count = 0;
    int status = EXIT_UNMEASURED;
    for (size_t i = 0; results != NULL && i < row_count; i++)
        if (is_selected(&rows[i], config.rest, config.rest_count))
            results[count++] = row_result_make(&rows[i]);
    /* A thousand connections on either side need more descriptors than shells hand out; when
     * the limit cannot be raised the rows that need it will say so. */
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (results == NULL || !pick_cores(&bench) || !process_pin(bench.load_core)) {
        fprintf(stderr, "bench: cannot pick two cores\n");
    } else if (!loop_open(&bench.loop, &failure)) {
        fprintf(stderr, "bench: %s\n", failure.text);
    } else if (!process_make_directory(bench.directory, sizeof bench.directory, &failure)) {
        fprintf(stderr, "bench: %s\n", failure.text);
        loop_close(&bench.loop);
    } else {
        struct report report = {.peers = peers, .quick = quick, .results = results, .count = count};
        machine_describe(&report.machine);
        report.machine.server_core = bench.server_core;
        report.machine.load_core = bench.load_core;
        report.peer_count = name_peers(results, count, peers);
        run_scenarios(&bench, results, count);
        status = loop_interrupted(&bench.loop) ? EXIT_INTERRUPTED : finish(&report, json_path, check);
        process_remove_directory(bench.directory);
        loop_close(&bench.loop);
    }
    free(results);
    config_free(&config);
    return status;
}
