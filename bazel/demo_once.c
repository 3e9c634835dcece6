/* The second half of `bazel/demo --once`: breaks a coordinator that runs under `musterctl up`
 * and checks that nobody noticed.
 *
 *   1. 500 requests, 8 at a time. When half of them are answered, the worker that answered
 *      last is killed with SIGKILL. No request may fail. How long the worker stayed in
 *      routing is taken from the route table that the router streams, the one that the
 *      gateway goes by.
 *   2. The registry is killed with SIGKILL. Requests go on, none may fail; when it is back,
 *      every worker is there, online, in the incarnation that it had.
 *
 * Exits with 0 if all of that held, with 1 otherwise.
 *
 * One thread: libcurl's transfers and the loop of common/rpc take turns of a millisecond. */

#include "common/buffer.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/rpc/rpc.h"
#include "gateway/pick.h"
#include "muster/v1/router.pb-c.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#define SERVICE "document-processing"
#define AT_A_TIME 8
#define REQUESTS 500
#define PATIENCE_MS 60000
#define WORKER_ID_BYTES 128

struct demo {
    const char *url, *data_dir, *document_path;
    struct buffer document;
    char service_url[512];

    /* What the router streams. */
    struct rpc_loop *loop;
    char victim[WORKER_ID_BYTES];                  /* "": nobody was killed yet */
    uint64_t killed_at_us, gone_at_us, back_at_us; /* 0: not yet */
    struct pick_table *table;

    /* What became of the requests. */
    size_t succeeded, failed;
    char last_worker[WORKER_ID_BYTES];
    char first_failure[1024];
};

/* One transfer of many. */
struct transfer {
    CURL *curl;
    struct curl_slist *headers;
    struct buffer answer;
    char served_by[WORKER_ID_BYTES];
    char reason[CURL_ERROR_SIZE];
};

__attribute__((format(printf, 1, 2))) static bool fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("demo: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    return false;
}

/* --- The route table --- */

static void watch_started(struct rpc_call *call)
{
    struct demo *demo = rpc_call_context(call);
    Muster__V1__WatchRoutesRequest request = MUSTER__V1__WATCH_ROUTES_REQUEST__INIT;
    pick_table_position(demo->table, &request);
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

/* Until the table is whole it has none. */
static size_t count_endpoints(const struct demo *demo)
{
    const struct pick_service *service =
        pick_table_is_whole(demo->table) ? pick_table_find(demo->table, SERVICE, strlen(SERVICE)) : NULL;
    return service == NULL ? 0 : pick_service_endpoints(service);
}

static bool is_listed(const struct demo *demo, const char *worker_id)
{
    size_t count = count_endpoints(demo);
    const struct pick_service *service = pick_table_find(demo->table, SERVICE, strlen(SERVICE));
    uint32_t weight, priority;
    for (size_t i = 0; i < count; i++) {
        const struct pick_endpoint *endpoint = pick_service_endpoint(service, i, &weight, &priority);
        if (strcmp(pick_endpoint_worker(endpoint), worker_id) == 0)
            return true;
    }
    return false;
}

static void routes_changed(struct rpc_call *call, const void *message)
{
    struct demo *demo = rpc_call_context(call);
    uint64_t now_us = clock_monotonic_us();
    struct pick_table *table = pick_table_apply(demo->table, message);
    if (table == NULL) {
        rpc_call_cancel(call); /* out of memory: watched again from where it is */
        return;
    }
    pick_table_release(demo->table);
    demo->table = table;
    bool listed = is_listed(demo, demo->victim);
    if (!pick_table_is_whole(table))
        return;
    if (demo->killed_at_us != 0 && demo->gone_at_us == 0 && !listed)
        demo->gone_at_us = now_us;
    else if (demo->gone_at_us != 0 && demo->back_at_us == 0 && listed)
        demo->back_at_us = now_us;
}

/* --- Processes --- */

/* From processes.json; false after a message. */
static bool find_process(const struct demo *demo, const char *name, pid_t *pid, int *restarts, char *state,
                         size_t state_bytes, char *address, size_t address_bytes)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/processes.json", demo->data_dir);
    json_t *root = json_load_file(path, 0, NULL);
    size_t index;
    json_t *process;
    bool found = false;
    json_array_foreach(json_object_get(root, "processes"), index, process)
    {
        const char *own_name = json_string_value(json_object_get(process, "name"));
        if (own_name == NULL || strcmp(own_name, name) != 0)
            continue;
        const char *own_state = json_string_value(json_object_get(process, "state"));
        const char *own_address = json_string_value(json_object_get(process, "address"));
        *pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
        *restarts = (int)json_integer_value(json_object_get(process, "restarts"));
        (void)snprintf(state, state_bytes, "%s", own_state != NULL ? own_state : "");
        (void)snprintf(address, address_bytes, "%s", own_address != NULL ? own_address : "");
        found = true;
    }
    json_decref(root);
    return found || fail("%s does not list %s", path, name);
}

/* SIGKILL. `restarts` receives how often it had been started again before. */
static bool kill_process(const struct demo *demo, const char *name, int *restarts)
{
    pid_t pid = 0;
    char state[32], address[300];
    if (!find_process(demo, name, &pid, restarts, state, sizeof(state), address, sizeof(address)))
        return false;
    /* 0 and below would reach more than one process. */
    if (pid <= 1 || kill(pid, SIGKILL) != 0)
        return fail("cannot kill %s: %s", name, strerror(errno));
    return true;
}

/* --- Requests --- */

static size_t take_answer(char *data, size_t size, size_t count, void *argument)
{
    struct transfer *transfer = argument;
    buffer_append(&transfer->answer, data, size * count);
    return buffer_failed(&transfer->answer) ? 0 : size * count;
}

static size_t take_header(char *data, size_t size, size_t count, void *argument)
{
    static const char name[] = "x-served-by:";
    struct transfer *transfer = argument;
    size_t bytes = size * count;
    if (bytes > sizeof(name) - 1 && strncasecmp(data, name, sizeof(name) - 1) == 0) {
        const char *value = data + sizeof(name) - 1;
        size_t length = bytes - (sizeof(name) - 1);
        while (length > 0 && *value == ' ') {
            value++;
            length--;
        }
        while (length > 0 && (value[length - 1] == '\r' || value[length - 1] == '\n'))
            length--;
        (void)snprintf(transfer->served_by, sizeof(transfer->served_by), "%.*s", (int)length, value);
    }
    return bytes;
}

static bool transfer_init(struct transfer *transfer, const char *url, const struct buffer *document)
{
    *transfer = (struct transfer){.curl = curl_easy_init(), .answer = BUFFER_INIT};
    CURL *curl = transfer->curl;
    if (curl == NULL)
        return fail("out of memory");
    /* Fails only for lack of memory, and the request then fails as well. */
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 20000L);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->reason);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    (void)curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer);
    if (document == NULL)
        return true;
    transfer->headers = curl_slist_append(NULL, "Content-Type: text/plain");
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)document->bytes);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, document->data);
    return true;
}

static void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->curl);
    curl_slist_free_all(transfer->headers);
    buffer_free(&transfer->answer);
}

/* GET of a path that answers JSON; NULL: it did not. */
static json_t *get_json(const struct demo *demo, const char *path)
{
    char url[512];
    struct transfer transfer;
    long status = 0;
    json_t *answer = NULL;
    (void)snprintf(url, sizeof(url), "%s%s", demo->url, path);
    if (transfer_init(&transfer, url, NULL) && curl_easy_perform(transfer.curl) == CURLE_OK &&
        curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status == 200)
        answer = json_loadb(transfer.answer.data, transfer.answer.bytes, 0, NULL);
    transfer_free(&transfer);
    return answer;
}

static void count_transfer(struct demo *demo, struct transfer *transfer, CURLcode code)
{
    long status = 0;
    (void)curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status == 200) {
        demo->succeeded++;
        (void)snprintf(demo->last_worker, sizeof(demo->last_worker), "%s", transfer->served_by);
        return;
    }
    demo->failed++;
    if (demo->first_failure[0] == '\0')
        (void)snprintf(demo->first_failure, sizeof(demo->first_failure), "%ld %.200s %.250s", status,
                       code == CURLE_OK ? "" : transfer->reason,
                       transfer->answer.data != NULL ? transfer->answer.data : "");
}

/* Sends requests, AT_A_TIME at a time, until `enough` says so (asked after each answer, and
 * at least every millisecond); then waits for those that are under way. The routes are
 * followed meanwhile. */
static bool send_requests(struct demo *demo, bool (*enough)(struct demo *demo, void *argument), void *argument)
{
    struct transfer transfers[AT_A_TIME];
    CURLM *multi = curl_multi_init();
    bool ok = multi != NULL;
    size_t made = 0;
    for (; ok && made < AT_A_TIME; made++)
        ok = transfer_init(&transfers[made], demo->service_url, &demo->document) &&
             curl_multi_add_handle(multi, transfers[made].curl) == CURLM_OK;
    int under_way = ok ? 1 : 0;
    bool over = false;
    while (under_way > 0) {
        (void)curl_multi_perform(multi, &under_way);
        int left = 0;
        for (CURLMsg *message = curl_multi_info_read(multi, &left); message != NULL;
             message = curl_multi_info_read(multi, &left)) {
            struct transfer *transfer = NULL;
            if (message->msg != CURLMSG_DONE)
                continue;
            CURLcode code = message->data.result;
            (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
            count_transfer(demo, transfer, code);
            (void)curl_multi_remove_handle(multi, transfer->curl);
            over = over || enough(demo, argument);
            if (over)
                continue;
            buffer_clear(&transfer->answer);
            transfer->served_by[0] = '\0';
            (void)curl_multi_add_handle(multi, transfer->curl);
            under_way++;
        }
        rpc_loop_turn(demo->loop, 0);
        over = over || enough(demo, argument);
        (void)curl_multi_poll(multi, NULL, 0, 1, NULL);
    }
    for (size_t i = 0; i < made; i++) {
        (void)curl_multi_remove_handle(multi, transfers[i].curl);
        transfer_free(&transfers[i]);
    }
    (void)curl_multi_cleanup(multi);
    return ok || fail("out of memory");
}

/* --- A worker is killed --- */

static bool enough_of_the_first(struct demo *demo, void *argument)
{
    bool *broken = argument;
    size_t answered = demo->succeeded + demo->failed;
    if (answered >= REQUESTS / 2 && demo->killed_at_us == 0 && !*broken) {
        int restarts = 0;
        (void)snprintf(demo->victim, sizeof(demo->victim), "%s", demo->last_worker);
        demo->killed_at_us = clock_monotonic_us();
        if (is_listed(demo, demo->victim))
            *broken = !kill_process(demo, demo->victim, &restarts);
        else
            *broken = !fail("%s answered and is not in the route table", demo->victim);
    }
    return answered + AT_A_TIME - 1 >= REQUESTS || *broken;
}

/* Follows the routes until a time is known; false when it does not come. */
static bool follow_until(struct demo *demo, const uint64_t *time_us)
{
    uint64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (*time_us == 0 && clock_monotonic_ms() < deadline_ms)
        rpc_loop_turn(demo->loop, 20);
    return *time_us != 0;
}

static bool report_requests(struct demo *demo, const char *when)
{
    printf("  %zu requests %s: %zu answered, %zu failed\n", demo->succeeded + demo->failed, when, demo->succeeded,
           demo->failed);
    if (demo->failed > 0)
        printf("  the first failure: %s\n", demo->first_failure);
    return demo->failed == 0 && demo->succeeded > 0;
}

static bool kill_a_worker(struct demo *demo)
{
    printf("Killing a worker in the middle of %d requests\n", REQUESTS);
    bool broken = false;
    if (!send_requests(demo, enough_of_the_first, &broken) || broken)
        return false;
    bool held = report_requests(demo, "while a worker was killed");
    if (!follow_until(demo, &demo->gone_at_us))
        return fail("%s is still in routing", demo->victim);
    printf("  %s was killed (SIGKILL) and out of routing after %.1f ms\n", demo->victim,
           (double)(demo->gone_at_us - demo->killed_at_us) / 1000);
    if (demo->gone_at_us - demo->killed_at_us >= 1000000)
        held = fail("that took longer than a second");
    if (!follow_until(demo, &demo->back_at_us))
        return fail("%s was not started again", demo->victim);
    printf("  %s was started again and back in routing after %.0f ms\n", demo->victim,
           (double)(demo->back_at_us - demo->killed_at_us) / 1000);
    return held;
}

/* --- The registry is killed --- */

/* The workers that are online, as "id incarnation" texts, sorted by the coordinator. */
static json_t *online_workers(const struct demo *demo)
{
    json_t *answer = get_json(demo, "/api/admin/workers");
    json_t *online = json_object();
    size_t index;
    json_t *worker;
    json_array_foreach(json_object_get(answer, "workers"), index, worker)
    {
        const char *id = json_string_value(json_object_get(worker, "worker_id"));
        const char *status = json_string_value(json_object_get(worker, "status"));
        if (id != NULL && status != NULL && strcmp(status, "online") == 0)
            (void)json_object_set(online, id, json_object_get(worker, "incarnation"));
    }
    json_decref(answer);
    return online;
}

struct registry_outage {
    int restarts_before;
    size_t answered_while_down; /* before its successor was ready */
    size_t wanted_after;        /* how many answers after that are enough; 0: not ready yet */
    uint64_t looked_at_ms, deadline_ms;
};

static bool enough_of_the_second(struct demo *demo, void *argument)
{
    struct registry_outage *outage = argument;
    size_t answered = demo->succeeded + demo->failed;
    uint64_t now_ms = clock_monotonic_ms();
    if (outage->wanted_after != 0)
        return answered >= outage->wanted_after;
    if (now_ms == outage->looked_at_ms)
        return false;
    outage->looked_at_ms = now_ms;
    pid_t pid = 0;
    int restarts = 0;
    char state[32], address[300];
    if (find_process(demo, "muster-registry", &pid, &restarts, state, sizeof(state), address, sizeof(address)) &&
        restarts > outage->restarts_before && strcmp(state, "ready") == 0) {
        outage->answered_while_down = answered;
        outage->wanted_after = answered + REQUESTS;
    }
    return now_ms >= outage->deadline_ms;
}

static bool kill_the_registry(struct demo *demo)
{
    printf("Killing the registry while requests go on\n");
    json_t *before = online_workers(demo);
    struct registry_outage outage = {.deadline_ms = clock_monotonic_ms() + PATIENCE_MS};
    demo->succeeded = demo->failed = 0;
    bool held = kill_process(demo, "muster-registry", &outage.restarts_before) &&
                send_requests(demo, enough_of_the_second, &outage);
    if (held && outage.wanted_after == 0)
        held = fail("the registry did not come back");
    if (held) {
        held = report_requests(demo, "while the registry was killed and came back");
        printf("  %zu of them before it was back\n", outage.answered_while_down);
    }
    bool same = false;
    json_t *after = NULL;
    for (uint64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
         held && !same && clock_monotonic_ms() < deadline_ms;) {
        json_decref(after);
        after = online_workers(demo);
        same = json_equal(before, after) != 0;
        rpc_loop_turn(demo->loop, 20);
    }
    if (held && !same)
        held = fail("workers were lost: %zu were online before, %zu are now", json_object_size(before),
                    json_object_size(after));
    if (held)
        printf("  all %zu workers are still there, online, none had to register again\n", json_object_size(before));
    held = held && json_object_size(before) > 0;
    json_decref(before);
    json_decref(after);
    return held;
}

/* --- All of it --- */

static bool read_document(struct demo *demo)
{
    FILE *file = fopen(demo->document_path, "rb");
    char part[8192];
    size_t bytes = 0;
    while (file != NULL && (bytes = fread(part, 1, sizeof(part), file)) > 0)
        buffer_append(&demo->document, part, bytes);
    bool read = file != NULL && ferror(file) == 0 && !buffer_failed(&demo->document) && demo->document.bytes > 0;
    if (file != NULL)
        (void)fclose(file);
    return read || fail("cannot read %s: %s", demo->document_path, strerror(errno));
}

static bool run(struct demo *demo)
{
    static const struct rpc_events events = {.started = watch_started, .message = routes_changed};
    pid_t pid = 0;
    int restarts = 0;
    char state[32], router[300];
    (void)snprintf(demo->service_url, sizeof(demo->service_url), "%s/api/service/" SERVICE, demo->url);
    if (!read_document(demo) ||
        !find_process(demo, "muster-router", &pid, &restarts, state, sizeof(state), router, sizeof(router)))
        return false;
    demo->loop = rpc_loop_create();
    struct rpc_channel *channel = rpc_channel_create(demo->loop, router, NULL);
    struct rpc_kept_stream *routes =
        rpc_kept_stream_start(channel, &muster__v1__router_service__descriptor, "WatchRoutes", NULL, &events, demo);
    for (uint64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
         count_endpoints(demo) == 0 && clock_monotonic_ms() < deadline_ms;)
        rpc_loop_turn(demo->loop, 20);
    bool held =
        count_endpoints(demo) >= 2 || fail("%zu workers serve " SERVICE ", it takes two", count_endpoints(demo));
    if (held) {
        bool worker_held = kill_a_worker(demo);
        bool registry_held = kill_the_registry(demo);
        held = worker_held && registry_held;
    }
    rpc_kept_stream_stop(routes);
    rpc_channel_destroy(channel);
    rpc_loop_destroy(demo->loop);
    return held;
}

int main(int argc, char **argv)
{
    struct demo demo = {.document = BUFFER_INIT, .table = pick_table_create()};
    const struct setting settings[] = {
        {"url", SETTING_TEXT, &demo.url, "http://127.0.0.1:8080", "URL", "The coordinator.", 0, 0},
        {"data-dir", SETTING_TEXT, &demo.data_dir, "muster-data", "DIR", "Its data directory.", 0, 0},
        {"document", SETTING_TEXT, &demo.document_path, "README.md", "FILE", "What to send.", 0, 0},
    };
    struct config config = {
        .program = "demo-once",
        .summary = "Breaks a coordinator under `musterctl up` and checks that nobody noticed.",
        .settings = settings,
        .setting_count = sizeof(settings) / sizeof(settings[0]),
    };
    config_parse_or_exit(&config, argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    bool held = demo.table != NULL && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && run(&demo);
    curl_global_cleanup();
    buffer_free(&demo.document);
    pick_table_release(demo.table);
    config_free(&config);
    printf("%s\n", held ? "All of that held." : "Not all of that held.");
    return held ? 0 : 1;
}
