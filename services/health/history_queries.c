/* QueryHistory and RunQuery; see shell.h.
 *
 * Each runs on a reading thread of the recorder, one call after the other. A statement that mentions
 * `workers` or `services` needs the roll, which the registry owns: it is listed page by page,
 * and each page, with what health knows of its workers, goes to the reading thread before the
 * next one is asked for. So a large roll costs neither memory nor one long turn of the loop.
 *
 *     run_query -> [list -> page_listed -> add_page]... -> run_statement -> replied */

#include "services/health/shell.h"

#include "common/clock.h"
#include "common/worker_status.h"
#include "services/health/history/query.h"
#include "services/health/history/recorder.h"
#include "services/health/history/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls of each method at a time, the one that runs included. */
#define QUERIES_MAX 8
#define LIST_TIMEOUT_MS 5000
#define PAGE_WORKERS 1000

struct page_worker {
    struct health_facts facts; /* its load points into `loads` of the page */
    bool known;
};

/* A page of the roll, as the reading thread takes it. */
struct page {
    uint8_t *packed; /* ListWorkersResponse */
    size_t packed_bytes;
    struct page_worker *workers; /* in the response's order */
    size_t worker_count;
    uint8_t *loads;
};

struct history_query {
    struct recorder_task task; /* first */
    struct list_link open;     /* in shell->history_queries */
    struct health_shell *shell;
    struct rpc_call *call;
    char error[QUERY_ERROR_BYTES];

    /* QueryHistory */
    char *worker_id;
    const struct history_step *step;
    int64_t since_seconds;
    struct history_point *points;
    size_t point_count;
    bool read;
    bool no_file; /* no step has ended yet */

    /* RunQuery */
    char *sql;
    uint32_t row_limit, timeout_ms;
    _Atomic(struct query *) query; /* opened by the reading thread; cancelled and closed by the loop */
    struct page page;
    char *page_token; /* of the next page */
    enum query_result result;
    Muster__V1__RunQueryResponse response;
};

static void free_page(struct page *page)
{
    free(page->packed);
    free(page->workers);
    free(page->loads);
    *page = (struct page){.packed = NULL};
}

static void close_query(struct history_query *query)
{
    if (query->shell->gathering == query)
        query->shell->gathering = NULL;
    list_remove(&query->open);
    query->shell->history_query_counts[query->task.kind]--;
    query_close(query->query);
    free_page(&query->page);
    free(query->page_token);
    free(query->worker_id);
    free(query->points);
    free(query->sql);
    free(query);
}

/* The call's answer cannot be sent any more; it goes with its server. */
static void dropped(struct recorder_task *task)
{
    (void)task; /* freed with the list of open ones */
}

void health_history_queries_cancel(struct health_shell *shell)
{
    for (struct list_link *link = shell->history_queries.next; link != &shell->history_queries; link = link->next) {
        struct history_query *query = LIST_OBJECT(link, struct history_query, open);
        if (query->query != NULL)
            query_cancel(query->query);
    }
}

void health_history_queries_free(struct health_shell *shell)
{
    while (!list_is_empty(&shell->history_queries))
        close_query(LIST_OBJECT(shell->history_queries.next, struct history_query, open));
}

/* NULL: the call was finished. */
static struct history_query *open_query(struct health_shell *shell, struct rpc_call *call, enum recorder_kind kind)
{
    struct history_query *query = NULL;
    if (shell->recorder == NULL)
        rpc_call_finish(call, RPC_FAILED_PRECONDITION,
                        "no history is kept; start muster-health with --data-dir or --history");
    else if (shell->stopping)
        rpc_call_finish(call, RPC_UNAVAILABLE, "muster-health is stopping; ask again");
    else if (shell->history_query_counts[kind] == QUERIES_MAX)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "%d questions are being answered; ask again later", QUERIES_MAX);
    else if ((query = calloc(1, sizeof(*query))) == NULL)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; ask again later");
    if (query == NULL)
        return NULL;
    query->shell = shell;
    query->call = call;
    query->task.kind = kind;
    query->task.drop = dropped;
    list_append(&shell->history_queries, &query->open);
    shell->history_query_counts[kind]++;
    return query;
}

/* --- QueryHistory --- */

static void read_points(struct recorder_task *task)
{
    struct history_query *query = (struct history_query *)task;
    sqlite3 *reader = history_store_open_reader(recorder_path(task->recorder), NULL, query->error);
    query->read =
        reader != NULL && history_store_read(reader, query->worker_id, query->step, query->since_seconds, INT64_MAX,
                                             clock_unix_ms() / 1000, &query->points, &query->point_count, query->error);
    query->no_file = !query->read && history_store_is_unmade(recorder_path(task->recorder));
    (void)sqlite3_close(reader); /* nothing was written; NULL is fine */
}

static Muster__V1__WorkerStatus status_of_rank(unsigned int rank)
{
    static const Muster__V1__WorkerStatus statuses[HISTORY_RANK_COUNT] = {
        WORKER_ONLINE, WORKER_DRAINING, WORKER_DEGRADED, WORKER_RECONNECTING, WORKER_OFFLINE, WORKER_REMOVED};
    return rank < HISTORY_RANK_COUNT ? statuses[rank] : WORKER_STATUS_UNKNOWN;
}

static void describe_bucket(const struct history_point *point, Muster__V1__HistoryBucket *bucket)
{
    const struct history_figures *figures = &point->figures;
    muster__v1__history_bucket__init(bucket);
    bucket->time_ms = point->time_seconds * 1000;
    bucket->heartbeats = figures->heartbeats;
    bucket->load_samples = figures->samples;
    if (figures->samples > 0) {
        bucket->load_mean = figures->load_sum / figures->samples;
        bucket->active_mean = (double)figures->active_sum / figures->samples;
    }
    bucket->load_min = figures->load_min;
    bucket->load_max = figures->load_max;
    bucket->load_last = figures->load_last;
    bucket->active_min = figures->active_min;
    bucket->active_max = figures->active_max;
    bucket->active_last = figures->active_last;
    bucket->tasks_completed = figures->tasks_completed;
    bucket->requests = figures->requests;
    bucket->failures = figures->failures;
    bucket->answered = figures->answered;
    bucket->latency_sum_us = figures->latency_sum_us;
    bucket->status = status_of_rank(figures->state);
    bucket->worst_status = status_of_rank(figures->worst);
}

static void reply_points(struct history_query *query)
{
    struct health_shell *shell = query->shell;
    Muster__V1__QueryHistoryResponse response = MUSTER__V1__QUERY_HISTORY_RESPONSE__INIT;
    Muster__V1__HistoryState state;
    struct recorder_state recorder;
    Muster__V1__HistoryBucket *buckets = calloc(query->point_count + 1, sizeof(*buckets));
    response.buckets = calloc(query->point_count + 1, sizeof(Muster__V1__HistoryBucket *));
    if (buckets != NULL && response.buckets != NULL) {
        for (size_t i = 0; i < query->point_count; i++) {
            describe_bucket(&query->points[i], &buckets[i]);
            response.buckets[i] = &buckets[i];
        }
        response.n_buckets = query->point_count;
        health_history_state(shell, &recorder, &state);
        response.state = &state;
        response.kept = history_keeps(shell->history, query->worker_id);
        rpc_call_reply(query->call, &response.base);
    } else {
        rpc_call_finish(query->call, RPC_RESOURCE_EXHAUSTED, "out of memory; ask again later");
    }
    free(buckets);
    free(response.buckets);
}

static void points_read(struct recorder_task *task)
{
    struct history_query *query = (struct history_query *)task;
    struct health_shell *shell = query->shell;
    bool on_roll = health_worker_status(shell->core, query->worker_id) != WORKER_STATUS_UNKNOWN;
    struct recorder_state recorder;
    recorder_get_state(shell->recorder, &recorder);
    /* Before the first step has ended there is no file, and no fault either. */
    if (!query->read && !(query->no_file && recorder.failure[0] == '\0'))
        rpc_call_finish(query->call, RPC_UNAVAILABLE, "the history cannot be read: %s",
                        recorder.failure[0] != '\0' ? recorder.failure : query->error);
    else if (query->point_count == 0 && !on_roll)
        rpc_call_finish(query->call, RPC_NOT_FOUND, "no worker %.256s is registered, nor is one remembered",
                        query->worker_id);
    else
        reply_points(query);
    close_query(query);
}

static void read_history(struct rpc_call *call, const void *message)
{
    struct health_shell *shell = rpc_call_context(call);
    const Muster__V1__QueryHistoryRequest *request = message;
    const struct history_step *step = history_step_find(request->step_seconds);
    if (step == NULL || request->worker_id[0] == '\0') {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "%s",
                        step == NULL ? "step_seconds must be 10, 60 or 3600" : "worker_id is missing");
        return;
    }
    struct history_query *query = open_query(shell, call, RECORDER_LOOKUP);
    if (query == NULL)
        return;
    query->worker_id = strdup(request->worker_id);
    query->step = step;
    query->since_seconds = request->since_ms / 1000 + (request->since_ms % 1000 > 0);
    query->task.run = read_points;
    query->task.done = points_read;
    if (query->worker_id == NULL) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; ask again later");
        close_query(query);
        return;
    }
    recorder_run(shell->recorder, &query->task);
}

/* --- RunQuery, on the reading thread --- */

static bool add_page(struct history_query *query)
{
    Muster__V1__ListWorkersResponse *response =
        muster__v1__list_workers_response__unpack(NULL, query->page.packed_bytes, query->page.packed);
    bool added = response != NULL;
    for (size_t i = 0; added && i < response->n_workers && i < query->page.worker_count; i++) {
        const Muster__V1__Worker *record = response->workers[i];
        const struct page_worker *known = &query->page.workers[i];
        struct query_worker worker = {.record = record, .status_reason = record->status_reason};
        Muster__V1__WorkerStatus status = record->status;
        Muster__V1__Load *load = NULL;
        if (record->spec == NULL)
            continue; /* nonsense of a registry */
        if (known->known) {
            status = known->facts.status;
            worker.status_reason = known->facts.reason;
            worker.last_heartbeat_at_ms = known->facts.last_heartbeat_at_ms;
            if (known->facts.load != NULL)
                load = muster__v1__load__unpack(NULL, known->facts.load_bytes, known->facts.load);
        }
        worker.status = worker_status_text(record->draining ? WORKER_DRAINING : status);
        worker.load = load;
        added = query_add_worker(query->query, &worker);
        if (load != NULL)
            muster__v1__load__free_unpacked(load, NULL);
    }
    if (response != NULL)
        muster__v1__list_workers_response__free_unpacked(response, NULL);
    return added;
}

static void run_task(struct recorder_task *task)
{
    struct history_query *query = (struct history_query *)task;
    if (query->query == NULL)
        query->query = query_open(recorder_path(task->recorder));
    if (query->query == NULL || (query->page.packed != NULL && !add_page(query))) {
        snprintf(query->error, sizeof(query->error), "no memory or disk to answer from; ask again later");
        query->result = QUERY_FAILED;
        return;
    }
    query->result = QUERY_OK;
    if (query->page_token == NULL)
        query->result =
            query_run(query->query, query->sql, query->row_limit, query->timeout_ms, &query->response, query->error);
}

/* --- RunQuery, on the loop --- */

static void list_page(struct history_query *query);
static void start_gathering(struct health_shell *shell);

static void finish(struct history_query *query)
{
    static const enum rpc_status statuses[] = {
        [QUERY_OK] = RPC_OK,
        [QUERY_BAD_SQL] = RPC_INVALID_ARGUMENT,
        [QUERY_FORBIDDEN] = RPC_PERMISSION_DENIED,
        [QUERY_TOO_SLOW] = RPC_DEADLINE_EXCEEDED,
        [QUERY_FAILED] = RPC_UNAVAILABLE,
    };
    struct health_shell *shell = query->shell;
    if (query->result == QUERY_OK) {
        struct recorder_state recorder;
        Muster__V1__HistoryState state;
        health_history_state(shell, &recorder, &state);
        query->response.state = &state;
        rpc_call_reply(query->call, &query->response.base);
    } else {
        rpc_call_finish(query->call, statuses[query->result], "%s", query->error);
    }
    close_query(query);
    start_gathering(shell);
}

static void task_done(struct recorder_task *task)
{
    struct history_query *query = (struct history_query *)task;
    free_page(&query->page);
    if (query->page_token != NULL && query->result == QUERY_OK && !rpc_call_is_over(query->call) &&
        !query->shell->stopping)
        list_page(query);
    else
        finish(query);
}

/* What health knows of the workers of a page, copied. */
static bool take_facts(struct health_shell *shell, struct page *page, const Muster__V1__ListWorkersResponse *response)
{
    size_t load_bytes = 0;
    uint64_t now_ms = rpc_loop_now_ms(shell->loop);
    int64_t unix_ms = clock_unix_ms();
    page->workers = calloc(response->n_workers + 1, sizeof(*page->workers));
    if (page->workers == NULL)
        return false;
    page->worker_count = response->n_workers;
    for (size_t i = 0; i < response->n_workers; i++) {
        const Muster__V1__Worker *record = response->workers[i];
        struct page_worker *worker = &page->workers[i];
        worker->known = record->spec != NULL &&
                        health_worker_facts(shell->core, record->spec->worker_id, now_ms, unix_ms, &worker->facts);
        worker->known = worker->known && worker->facts.incarnation == record->incarnation;
        load_bytes += worker->known ? worker->facts.load_bytes : 0;
    }
    page->loads = malloc(load_bytes + 1);
    if (page->loads == NULL)
        return false;
    uint8_t *at = page->loads;
    for (size_t i = 0; i < page->worker_count; i++) {
        struct health_facts *facts = &page->workers[i].facts;
        if (!page->workers[i].known || facts->load == NULL)
            continue;
        facts->load = memcpy(at, facts->load, facts->load_bytes);
        at += facts->load_bytes;
    }
    return true;
}

static bool take_page(struct history_query *query, const Muster__V1__ListWorkersResponse *response)
{
    struct page *page = &query->page;
    page->packed_bytes = muster__v1__list_workers_response__get_packed_size(response);
    page->packed = malloc(page->packed_bytes + 1);
    if (page->packed == NULL || !take_facts(query->shell, page, response))
        return false;
    (void)muster__v1__list_workers_response__pack(response, page->packed); /* as many bytes as it said */
    free(query->page_token);
    query->page_token = NULL;
    if (response->next_page_token[0] == '\0')
        return true;
    query->page_token = strdup(response->next_page_token);
    return query->page_token != NULL;
}

static void page_listed(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                        void *argument)
{
    struct health_shell *shell = argument;
    struct history_query *query = shell->gathering;
    (void)call;
    if (shell->core == NULL || query == NULL)
        return; /* the process stops */
    if (status != RPC_OK) {
        snprintf(query->error, sizeof(query->error), "the registry did not list the roll (%s); ask again in a moment",
                 text);
        query->result = QUERY_FAILED;
        finish(query);
    } else if (!take_page(query, response)) {
        snprintf(query->error, sizeof(query->error), "out of memory; ask again later");
        query->result = QUERY_FAILED;
        finish(query);
    } else {
        recorder_run(shell->recorder, &query->task);
    }
}

static void list_page(struct history_query *query)
{
    struct health_shell *shell = query->shell;
    Muster__V1__ListWorkersRequest request = MUSTER__V1__LIST_WORKERS_REQUEST__INIT;
    request.page_size = PAGE_WORKERS;
    request.page_token = query->page_token;
    rpc_channel_call(shell->registry, &muster__v1__registry_service__descriptor, "ListWorkers", &request.base,
                     &(struct rpc_call_options){.timeout_ms = LIST_TIMEOUT_MS}, page_listed, shell);
}

/* One statement at a time has the roll listed. */
static void start_gathering(struct health_shell *shell)
{
    struct list_link *link = shell->history_queries.next;
    while (shell->gathering == NULL && !shell->stopping && link != &shell->history_queries) {
        struct history_query *query = LIST_OBJECT(link, struct history_query, open);
        link = link->next;
        if (query->page_token != NULL) {
            shell->gathering = query;
            list_page(query);
        }
    }
}

static void run_query(struct rpc_call *call, const void *message)
{
    struct health_shell *shell = rpc_call_context(call);
    const Muster__V1__RunQueryRequest *request = message;
    if (strlen(request->sql) > QUERY_SQL_BYTES_MAX) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "the statement is longer than %d bytes", QUERY_SQL_BYTES_MAX);
        return;
    }
    struct history_query *query = open_query(shell, call, RECORDER_STATEMENT);
    if (query == NULL)
        return;
    query->row_limit = request->row_limit;
    query->timeout_ms = request->timeout_ms;
    query->sql = strdup(request->sql);
    query->task.run = run_task;
    query->task.done = task_done;
    bool wants_roll = query_wants_roll(request->sql);
    if (wants_roll)
        query->page_token = strdup("");
    if (query->sql == NULL || (wants_roll && query->page_token == NULL)) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; ask again later");
        close_query(query);
        return;
    }
    if (wants_roll)
        start_gathering(shell);
    else
        recorder_run(shell->recorder, &query->task);
}

const struct rpc_events history_read_events = {.message = read_history};
const struct rpc_events history_query_events = {.message = run_query};
