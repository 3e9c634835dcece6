#include "tests/bench/report.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

/* Below this the server waited for its load, and the rate is a lower bound. */
static const double saturated = 0.9;

void machine_describe(struct machine *machine)
{
    struct utsname names;
    *machine = (struct machine){.processor = "unknown", .kernel = "unknown", .cores = (unsigned)get_nprocs()};
#ifdef __OPTIMIZE__
    machine->optimised = true;
#endif
    if (uname(&names) == 0)
        snprintf(machine->kernel, sizeof machine->kernel, "%s %s", names.sysname, names.release);
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        snprintf(machine->processor, sizeof machine->processor, "%s", value + 2);
        machine->processor[strcspn(machine->processor, "\n")] = '\0';
        break;
    }
    if (file != NULL)
        fclose(file);
}

/* 1234567.8 as "1,234,568", below 100 with one decimal. */
static void format_number(double value, char *text, size_t text_bytes)
{
    char digits[48];
    size_t length = 0;
    if (fabs(value) < 100) {
        snprintf(text, text_bytes, "%.1f", value);
        return;
    }
    int count = snprintf(digits, sizeof digits, "%.0f", value);
    for (int i = 0; i < count && length + 3 < text_bytes; i++) {
        if (i > 0 && (count - i) % 3 == 0 && digits[i - 1] != '-')
            text[length++] = ',';
        text[length++] = digits[i];
    }
    text[length] = '\0';
}

/* Whether its figures are rates of a closed loop, which is to keep its server busy. */
static bool is_rate(const struct row *row)
{
    return row->group == ROW_HEARTBEATS || row->group == ROW_REGISTRY || row->group == ROW_REST ||
           row->group == ROW_RELAY;
}

static void format_value(const struct row *row, const struct measurement *measurement, char *text, size_t text_bytes)
{
    char number[48];
    if (!measurement_valid(measurement)) {
        snprintf(text, text_bytes, "-");
        return;
    }
    format_number(measurement_value(measurement), number, sizeof number);
    if (row->group == ROW_MEMORY && row->process != NULL)
        snprintf(text, text_bytes, "%s%s (%.1f)", number, row->unit, measurement->anonymous);
    else
        snprintf(text, text_bytes, "%s%s%s", number, row->unit,
                 is_rate(row) && measurement_busy(measurement) < saturated ? "*" : "");
}

static const char *verdict_text(enum row_verdict verdict, const char *missed)
{
    return verdict == ROW_REACHED ? "ok" : verdict == ROW_MISSED ? missed : "";
}

static void format_limit(const struct row *row, char *text, size_t text_bytes)
{
    if (row->least > 0)
        snprintf(text, text_bytes, ">= %.0f", row->least);
    else if (row->limit <= 0)
        text[0] = '\0';
    else if (row->anonymous_limit > 0)
        snprintf(text, text_bytes, "<= %.0f (%.0f)", row->limit, row->anonymous_limit);
    else
        snprintf(text, text_bytes, "<= %.0f", row->limit);
}

/* One line of the table, for one peer; the row's first line names the row. */
static void print_line(const struct row_result *result, size_t peer, FILE *output)
{
    const struct row *row = result->row;
    const struct measurement *other = &result->peers[peer];
    bool first = peer == 0;
    char muster[64] = "", theirs[64] = "", ratio[32] = "", asked[32] = "";
    const char *verdict = "";
    if (first) {
        format_value(row, &result->muster, muster, sizeof muster);
        format_limit(row, asked, sizeof asked);
        verdict = verdict_text(row_verdict_of_limit(result), row->least > 0 ? "BELOW" : "ABOVE");
    }
    if (other->server != NULL) {
        format_value(row, other, theirs, sizeof theirs);
        if (measurement_valid(other) && measurement_valid(&result->muster))
            snprintf(ratio, sizeof ratio, "%.2f", measurement_value(&result->muster) / measurement_value(other));
        if (row->peers[peer].floor > 0) {
            snprintf(asked, sizeof asked, ">= %.2f", row->peers[peer].floor);
            verdict = verdict_text(row_verdict_of_peer(result, peer), "BELOW");
        } else if (row->peers[peer].ceiling > 0) {
            snprintf(asked, sizeof asked, "<= %.2f", row->peers[peer].ceiling);
            verdict = verdict_text(row_verdict_of_peer(result, peer), "ABOVE");
        }
    }
    fprintf(output, "%-20s %-62s %18s  %-8s %18s %7s  %-10s %s\n", first ? row->name : "", first ? row->title : "",
            muster, other->server != NULL ? other->server : "", theirs, ratio, asked, verdict);
}

/* Why figures are missing, each reason once. */
static void print_failures(const struct report *report, FILE *output)
{
    const char *last = "";
    for (size_t i = 0; i < report->count; i++) {
        const struct row_result *result = &report->results[i];
        for (size_t j = 0; j <= ROW_PEERS_MAX; j++) {
            const struct measurement *measurement = j == 0 ? &result->muster : &result->peers[j - 1];
            if (measurement->server == NULL || !measurement->failed || strcmp(measurement->failure.text, last) == 0)
                continue;
            fprintf(output, "%s without %s: %s\n", result->row->name, measurement->server, measurement->failure.text);
            last = measurement->failure.text;
        }
    }
}

void report_print(const struct report *report, FILE *output)
{
    const struct machine *machine = &report->machine;
    fprintf(output, "%u cores of %s, %s; servers on core %u, load on core %u\n", machine->cores, machine->processor,
            machine->kernel, machine->server_core, machine->load_core);
    for (size_t i = 0; i < report->peer_count; i++)
        fprintf(output, "%s: %s\n", report->peers[i].name, report->peers[i].version);
    if (!machine->optimised)
        fprintf(output, "BUILT WITHOUT OPTIMISATION: bazel run -c opt //tests/bench\n");
    fprintf(output, "\n%-20s %-62s %18s  %-8s %18s %7s  %-10s\n", "row", "what", "muster", "peer", "peer's", "ratio",
            "asked");
    bool unsaturated = false;
    for (size_t i = 0; i < report->count; i++) {
        const struct row_result *result = &report->results[i];
        for (size_t peer = 0; peer < ROW_PEERS_MAX; peer++)
            if (peer == 0 || result->peers[peer].server != NULL)
                print_line(result, peer, output);
        for (size_t j = 0; j <= ROW_PEERS_MAX && is_rate(result->row); j++) {
            const struct measurement *measurement = j == 0 ? &result->muster : &result->peers[j - 1];
            unsaturated |= measurement_valid(measurement) && measurement_busy(measurement) < saturated;
        }
    }
    fputc('\n', output);
    if (unsaturated)
        fprintf(output, "* the server's core was busy for less than %.0f %% of the time: it could do more\n",
                saturated * 100);
    if (report->quick)
        fprintf(output, "Quick: short rounds and few of them; figures vary by a tenth and more.\n");
    print_failures(report, output);
}

static json_t *measurement_json(const struct row *row, const struct measurement *measurement)
{
    json_t *object = json_pack("{s:s}", "server", measurement->server);
    if (!measurement_valid(measurement)) {
        json_object_set_new(object, "error",
                            json_string(measurement->failed ? measurement->failure.text : "not measured"));
        return object;
    }
    json_object_set_new(object, "value", json_real(measurement_value(measurement)));
    if (row->group == ROW_MEMORY)
        json_object_set_new(object, "anonymous", json_real(measurement->anonymous));
    json_t *rounds = json_array();
    for (size_t i = 0; i < measurement->count; i++)
        json_array_append_new(rounds, json_real(measurement->rounds[i]));
    json_object_set_new(object, "rounds", rounds);
    json_object_set_new(object, "spread", json_real(statistics_spread(measurement->rounds, measurement->count)));
    if (is_rate(row))
        json_object_set_new(object, "server_busy", json_real(measurement_busy(measurement)));
    return object;
}

static void set_verdict(json_t *object, enum row_verdict verdict)
{
    if (verdict != ROW_NOT_ASKED)
        json_object_set_new(object, "reached", json_boolean(verdict == ROW_REACHED));
}

static json_t *row_json(const struct row_result *result)
{
    const struct row *row = result->row;
    json_t *peers = json_array();
    json_t *object = json_pack("{s:s, s:s, s:s}", "name", row->name, "title", row->title, "unit",
                               row->unit + strspn(row->unit, " "));
    json_object_set_new(object, "muster", measurement_json(row, &result->muster));
    if (row->limit > 0)
        json_object_set_new(object, "limit", json_real(row->limit));
    if (row->least > 0)
        json_object_set_new(object, "least", json_real(row->least));
    if (row->anonymous_limit > 0)
        json_object_set_new(object, "anonymous_limit", json_real(row->anonymous_limit));
    set_verdict(object, row_verdict_of_limit(result));
    for (size_t i = 0; i < ROW_PEERS_MAX; i++) {
        if (result->peers[i].server == NULL)
            continue;
        json_t *peer = measurement_json(row, &result->peers[i]);
        if (measurement_valid(&result->muster) && measurement_valid(&result->peers[i]))
            json_object_set_new(peer, "ratio",
                                json_real(measurement_value(&result->muster) / measurement_value(&result->peers[i])));
        if (row->peers[i].floor > 0)
            json_object_set_new(peer, "floor", json_real(row->peers[i].floor));
        if (row->peers[i].ceiling > 0)
            json_object_set_new(peer, "ceiling", json_real(row->peers[i].ceiling));
        set_verdict(peer, row_verdict_of_peer(result, i));
        json_array_append_new(peers, peer);
    }
    json_object_set_new(object, "peers", peers);
    return object;
}

char *report_json(const struct report *report)
{
    const struct machine *machine = &report->machine;
    json_t *versions = json_object(), *results = json_array();
    for (size_t i = 0; i < report->peer_count; i++)
        json_object_set_new(versions, report->peers[i].name, json_string(report->peers[i].version));
    for (size_t i = 0; i < report->count; i++)
        json_array_append_new(results, row_json(&report->results[i]));
    json_t *whole =
        json_pack("{s:{s:s, s:s, s:i, s:i, s:i}, s:b, s:b, s:o, s:o}", "machine", "processor", machine->processor,
                  "kernel", machine->kernel, "cores", (int)machine->cores, "server_core", (int)machine->server_core,
                  "load_core", (int)machine->load_core, "optimised", machine->optimised, "quick", report->quick,
                  "peers", versions, "rows", results);
    char *text = whole != NULL ? json_dumps(whole, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(whole);
    return text;
}

size_t report_missed(const struct report *report)
{
    size_t missed = 0;
    for (size_t i = 0; i < report->count; i++) {
        bool row_missed = row_verdict_of_limit(&report->results[i]) == ROW_MISSED;
        for (size_t peer = 0; peer < ROW_PEERS_MAX; peer++)
            row_missed |= row_verdict_of_peer(&report->results[i], peer) == ROW_MISSED;
        missed += row_missed;
    }
    return missed;
}

size_t report_unmeasured(const struct report *report)
{
    size_t unmeasured = 0;
    for (size_t i = 0; i < report->count; i++)
        unmeasured += !measurement_valid(&report->results[i].muster);
    return unmeasured;
}
