/* The methods of RegistryService; see handlers.h. */

#include "services/registry/handlers.h"

#include "services/registry/backup.h"
#include "services/registry/export.h"
#include "services/registry/import.h"
#include "services/registry/register.h"
#include "services/registry/spec.h"

#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GET_MAX_IDS 1000
#define LIST_MAX_WORKERS 1000
#define LIVENESS_MAX_CHANGES 10000

/* A page ends early when its records have so many bytes. */
#define PAGE_MAX_BYTES (8 * 1024 * 1024)
#define GET_MAX_BYTES (48 * 1024 * 1024)

/* --- UnregisterWorker, SetDraining, SetAssignment --- */

/* More than any catalog needs. */
#define ASSIGNED_SERVICES_MAX 1000

/* A change of one worker on its way through the ledger. */
struct change {
    struct ledger_entry entry; /* first: an entry is its change */
    struct rpc_call *call;
    Muster__V1__ServiceSwap swap; /* of an assignment; its texts are among those assigned */
    char worker_id[];
};

static struct change *create_change(struct rpc_call *call, const char *worker_id, enum ledger_kind kind,
                                    void (*done)(struct ledger_entry *entry, const struct ledger_outcome *outcome))
{
    size_t bytes = strlen(worker_id) + 1;
    struct change *change = calloc(1, sizeof(*change) + bytes);
    if (change == NULL)
        return NULL;
    memcpy(change->worker_id, worker_id, bytes);
    change->call = call;
    change->entry.kind = kind;
    change->entry.worker_id = change->worker_id;
    change->entry.done = done;
    return change;
}

/* Submits; `change` may be NULL when there was no memory for it. */
static void submit(struct handlers *handlers, struct rpc_call *call, struct change *change)
{
    if (change == NULL || !ledger_submit(handlers->ledger, &change->entry)) {
        free(change);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "too many changes wait for the disk; try again");
    }
}

/* Finishes a call whose change was not made. False: it was made. */
static bool finish_failed(struct rpc_call *call, const struct ledger_outcome *outcome)
{
    enum rpc_status status = RPC_UNAVAILABLE;
    if (outcome->result == LEDGER_DONE)
        return false;
    if (outcome->result == LEDGER_REFUSED)
        status = outcome->refusal == REGISTRY_NOT_FOUND ? RPC_NOT_FOUND
                 : outcome->refusal == REGISTRY_STALE   ? RPC_FAILED_PRECONDITION
                                                        : RPC_RESOURCE_EXHAUSTED;
    rpc_call_finish(call, status, "%s", outcome->text);
    return true;
}

static void unregistered(struct ledger_entry *entry, const struct ledger_outcome *outcome)
{
    struct change *change = (struct change *)entry;
    if (!finish_failed(change->call, outcome)) {
        Muster__V1__UnregisterWorkerResponse response = MUSTER__V1__UNREGISTER_WORKER_RESPONSE__INIT;
        response.revision = outcome->revision;
        rpc_call_reply(change->call, &response.base);
    }
    free(change);
}

/* Whether the id can be that of a worker at all. If not, the call is finished. */
static bool check_id(struct rpc_call *call, const char *worker_id)
{
    char error[SPEC_ERROR_BYTES];
    if (spec_check_id(worker_id, "worker_id", error))
        return true;
    rpc_call_finish(call, RPC_INVALID_ARGUMENT, "%s", error);
    return false;
}

static void unregister_worker(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__UnregisterWorkerRequest *request = message;
    if (!check_id(call, request->worker_id))
        return;
    struct change *change = create_change(call, request->worker_id, LEDGER_REMOVAL, unregistered);
    if (change != NULL) {
        change->entry.wanted.removal.incarnation = request->incarnation;
        change->entry.wanted.removal.reason = "unregistered";
    }
    submit(handlers, call, change);
}

static void draining_set(struct ledger_entry *entry, const struct ledger_outcome *outcome)
{
    struct change *change = (struct change *)entry;
    if (!finish_failed(change->call, outcome)) {
        struct record_message message;
        Muster__V1__SetDrainingResponse response = MUSTER__V1__SET_DRAINING_RESPONSE__INIT;
        record_message_init(&message, outcome->record);
        response.worker = &message.worker;
        rpc_call_reply(change->call, &response.base);
    }
    free(change);
}

static void set_draining(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__SetDrainingRequest *request = message;
    if (!check_id(call, request->worker_id))
        return;
    struct change *change = create_change(call, request->worker_id, LEDGER_DRAINING, draining_set);
    if (change != NULL)
        change->entry.wanted.draining = request->draining;
    submit(handlers, call, change);
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; names != NULL && i < count; i++)
        free(names[i]);
    free(names);
}

static char **copy_names(char *const *names, size_t count)
{
    char **copy = calloc(count + 1, sizeof(*copy));
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = strdup(names[i]);
        if (copy[i] == NULL) {
            free_names(copy, i);
            return NULL;
        }
    }
    return copy;
}

static void assignment_set(struct ledger_entry *entry, const struct ledger_outcome *outcome)
{
    struct change *change = (struct change *)entry;
    if (!finish_failed(change->call, outcome)) {
        struct record_message message;
        Muster__V1__SetAssignmentResponse response = MUSTER__V1__SET_ASSIGNMENT_RESPONSE__INIT;
        record_message_init(&message, outcome->record);
        response.worker = &message.worker;
        rpc_call_reply(change->call, &response.base);
    }
    free_names(entry->wanted.assignment.assigned, entry->wanted.assignment.assigned_count);
    free(change);
}

/* Copies what is asked for into the entry. False when memory runs out. */
static bool fill_assignment(struct change *change, const Muster__V1__SetAssignmentRequest *request)
{
    struct ledger_entry *entry = &change->entry;
    entry->wanted.assignment.incarnation = request->incarnation;
    entry->wanted.assignment.assigned = copy_names(request->assigned_services, request->n_assigned_services);
    entry->wanted.assignment.assigned_count = request->n_assigned_services;
    if (entry->wanted.assignment.assigned == NULL || request->swap == NULL)
        return entry->wanted.assignment.assigned != NULL;
    muster__v1__service_swap__init(&change->swap);
    for (size_t i = 0; i < request->n_assigned_services; i++) {
        char *name = entry->wanted.assignment.assigned[i];
        if (strcmp(name, request->swap->from) == 0)
            change->swap.from = name;
        if (strcmp(name, request->swap->to) == 0)
            change->swap.to = name;
    }
    entry->wanted.assignment.swap = &change->swap;
    return true;
}

static void set_assignment(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__SetAssignmentRequest *request = message;
    if (!check_id(call, request->worker_id))
        return;
    if (request->n_assigned_services > ASSIGNED_SERVICES_MAX) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "assigned_services: at most %d", ASSIGNED_SERVICES_MAX);
        return;
    }
    if (request->swap != NULL &&
        !record_swap_fits(request->swap, request->assigned_services, request->n_assigned_services)) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "swap: both of its services must be among assigned_services");
        return;
    }
    struct change *change = create_change(call, request->worker_id, LEDGER_ASSIGNMENT, assignment_set);
    if (change != NULL) {
        if (!fill_assignment(change, request)) {
            free(change);
            change = NULL;
        } else if (!ledger_submit(handlers->ledger, &change->entry)) {
            free_names(change->entry.wanted.assignment.assigned, request->n_assigned_services);
            free(change);
            change = NULL;
        }
    }
    if (change == NULL)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "too many changes wait for the disk; try again");
}

/* --- GetWorkers, ListWorkers --- */

/* Records as messages for one response. */
struct page {
    struct record_message *messages;
    Muster__V1__Worker **workers;
    size_t count;
    size_t bytes;
};

static bool page_create(struct page *page, size_t room)
{
    *page = (struct page){calloc(room + 1, sizeof(*page->messages)), calloc(room + 1, sizeof(*page->workers)), 0, 0};
    if (page->messages != NULL && page->workers != NULL)
        return true;
    free(page->messages);
    free(page->workers);
    return false;
}

static void page_add(struct page *page, const struct record *record)
{
    struct record_message *message = &page->messages[page->count];
    record_message_init(message, record);
    page->workers[page->count++] = &message->worker;
    page->bytes += record->body_bytes + 64u;
}

static void page_free(struct page *page)
{
    free(page->messages);
    free(page->workers);
}

static void get_workers(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__GetWorkersRequest *request = message;
    Muster__V1__GetWorkersResponse response = MUSTER__V1__GET_WORKERS_RESPONSE__INIT;
    struct page page;
    if (request->n_worker_ids > GET_MAX_IDS) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "worker_ids: has %zu entries; at most %d are allowed",
                        request->n_worker_ids, GET_MAX_IDS);
        return;
    }
    if (!page_create(&page, request->n_worker_ids)) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    for (size_t i = 0; i < request->n_worker_ids; i++) {
        const struct record *record = registry_find(handlers->registry, request->worker_ids[i]);
        if (record != NULL)
            page_add(&page, record);
    }
    response.n_workers = page.count;
    response.workers = page.workers;
    response.revision = registry_revision(handlers->registry);
    if (page.bytes > GET_MAX_BYTES)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "these workers are %zu bytes; ask for fewer at a time",
                        page.bytes);
    else
        rpc_call_reply(call, &response.base);
    page_free(&page);
}

static void list_workers(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__ListWorkersRequest *request = message;
    Muster__V1__ListWorkersResponse response = MUSTER__V1__LIST_WORKERS_RESPONSE__INIT;
    size_t limit = request->page_size;
    if (limit == 0 || limit > LIST_MAX_WORKERS)
        limit = LIST_MAX_WORKERS;
    const struct record **records = calloc(limit + 1, sizeof(*records));
    struct page page;
    if (records == NULL || !page_create(&page, limit)) {
        free(records);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    /* The token is the last id of the page before; one more is looked at to see if there is more. */
    size_t found = registry_list(handlers->registry, request->page_token, records, limit + 1);
    while (page.count < found && page.count < limit && page.bytes < PAGE_MAX_BYTES)
        page_add(&page, records[page.count]);
    if (page.count < found)
        response.next_page_token = (char *)records[page.count - 1]->id;
    response.n_workers = page.count;
    response.workers = page.workers;
    response.total = registry_count(handlers->registry);
    response.revision = registry_revision(handlers->registry);
    rpc_call_reply(call, &response.base);
    page_free(&page);
    free(records);
}

/* --- ReportLiveness --- */

/* A report, answered when its removals are on disk. */
struct report {
    struct handlers *handlers;
    struct rpc_call *call;
    size_t open; /* removals that are not through, and 1 while the report is being read */
    enum rpc_status status;
    char text[400];
};

struct removal {
    struct ledger_entry entry; /* first: an entry is its removal */
    struct report *report;
    char *reason; /* behind the id */
    char worker_id[];
};

static void report_failed(struct report *report, enum rpc_status status, const char *text)
{
    report->status = status;
    snprintf(report->text, sizeof(report->text), "%s", text);
}

static void report_step(struct report *report)
{
    if (--report->open > 0)
        return;
    if (report->status == RPC_OK) {
        Muster__V1__ReportLivenessResponse response = MUSTER__V1__REPORT_LIVENESS_RESPONSE__INIT;
        response.revision = registry_revision(report->handlers->registry);
        rpc_call_reply(report->call, &response.base);
    } else {
        rpc_call_finish(report->call, report->status, "%s", report->text);
    }
    free(report);
}

static void removed(struct ledger_entry *entry, const struct ledger_outcome *outcome)
{
    struct removal *removal = (struct removal *)entry;
    struct report *report = removal->report;
    /* One that has gone or registered again meanwhile is passed over. */
    if (outcome->result == LEDGER_STORE_FAILED)
        report_failed(report, RPC_UNAVAILABLE, outcome->text);
    else if (outcome->result == LEDGER_REFUSED && outcome->refusal == REGISTRY_OUT_OF_MEMORY)
        report_failed(report, RPC_RESOURCE_EXHAUSTED, outcome->text);
    free(removal);
    report_step(report);
}

static void remove_worker(struct report *report, const Muster__V1__LivenessChange *change)
{
    const struct record *record = registry_find(report->handlers->registry, change->worker_id);
    if (record == NULL || record->incarnation != change->incarnation)
        return;
    size_t id_bytes = strlen(change->worker_id) + 1, reason_bytes = strlen(change->reason) + 1;
    struct removal *removal = calloc(1, sizeof(*removal) + id_bytes + reason_bytes);
    if (removal != NULL) {
        removal->reason = removal->worker_id + id_bytes;
        memcpy(removal->worker_id, change->worker_id, id_bytes);
        memcpy(removal->reason, change->reason, reason_bytes);
        removal->report = report;
        removal->entry.kind = LEDGER_REMOVAL;
        removal->entry.worker_id = removal->worker_id;
        removal->entry.wanted.removal.incarnation = change->incarnation;
        removal->entry.wanted.removal.reason = removal->reason;
        removal->entry.done = removed;
    }
    if (removal == NULL || !ledger_submit(report->handlers->ledger, &removal->entry)) {
        free(removal);
        report_failed(report, RPC_RESOURCE_EXHAUSTED, "too many changes wait for the disk; report these again");
        return;
    }
    report->open++;
}

static void take_over(struct report *report, const Muster__V1__LivenessChange *change, int64_t unix_ms)
{
    if (change->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED) {
        remove_worker(report, change);
        return;
    }
    enum registry_result result = registry_set_status(report->handlers->registry, change->worker_id,
                                                      change->incarnation, change->status, change->reason, unix_ms);
    if (result == REGISTRY_INVALID)
        report_failed(report, RPC_INVALID_ARGUMENT, "changes[].status: is none of the statuses that a worker can have");
    else if (result == REGISTRY_NO_REVISION)
        report_failed(report, RPC_UNAVAILABLE, registry_result_text(result));
    else if (result == REGISTRY_OUT_OF_MEMORY)
        report_failed(report, RPC_RESOURCE_EXHAUSTED, registry_result_text(result));
}

static void report_liveness(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__ReportLivenessRequest *request = message;
    if (request->n_changes > LIVENESS_MAX_CHANGES) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "changes: has %zu entries; at most %d are allowed",
                        request->n_changes, LIVENESS_MAX_CHANGES);
        return;
    }
    struct report *report = calloc(1, sizeof(*report));
    if (report == NULL) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    *report = (struct report){.handlers = handlers, .call = call, .open = 1};
    int64_t unix_ms = clock_unix_ms();
    for (size_t i = 0; i < request->n_changes; i++)
        take_over(report, request->changes[i], unix_ms);
    watchers_wake(handlers->watchers);
    ledger_check_ceiling(handlers->ledger);
    report_step(report);
}

/* --- WatchWorkers --- */

static void watch_workers(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__WatchWorkersRequest *request = message;
    watchers_add(handlers->watchers, call, request->after_revision);
}

static void watch_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    (void)status;
    (void)text;
    watchers_ended(call);
}

bool handlers_add(struct handlers *handlers, struct rpc_server *server)
{
    const struct rpc_method methods[] = {
        {"RegisterWorker", RPC_UNARY, {.message = register_worker}},
        {"RegisterWorkers", RPC_UNARY, {.message = register_workers}},
        {"UnregisterWorker", RPC_UNARY, {.message = unregister_worker}},
        {"GetWorkers", RPC_UNARY, {.message = get_workers}},
        {"ListWorkers", RPC_UNARY, {.message = list_workers}},
        {"WatchWorkers",
         RPC_SERVER_STREAMING,
         {.message = watch_workers, .writable = watchers_writable, .ended = watch_ended}},
        {"ReportLiveness", RPC_UNARY, {.message = report_liveness}},
        {"SetDraining", RPC_UNARY, {.message = set_draining}},
        {"SetAssignment", RPC_UNARY, {.message = set_assignment}},
        {"ExportWorkers", RPC_SERVER_STREAMING, export_events},
        {"BackUp", RPC_SERVER_STREAMING, backup_events},
        {"ImportWorkers", RPC_BIDI_STREAMING, import_events},
    };
    return rpc_server_add_service(server, &muster__v1__registry_service__descriptor, methods,
                                  sizeof(methods) / sizeof(methods[0]), handlers);
}
