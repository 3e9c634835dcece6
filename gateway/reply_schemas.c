/* Replies; see schemas.h. */

#include "gateway/schemas.h"

#define REQUIRED SCHEMA_REQUIRED

static const struct schema_value text_value = {.kind = SCHEMA_TEXT};

/* Members that a list of objects, and the objects, are made of. */
#define LIST_OF(value) .kind = SCHEMA_LIST, .items = &(value)
#define OBJECT(schema) .kind = SCHEMA_OBJECT, .of = &(schema)

static const char *const worker_types[] = {"gpu", "cpu", "storage", "edge", "auto", "unknown", NULL};
static const char *const statuses[] = {"online", "degraded", "draining", "offline", "reconnecting", "unknown", NULL};

const struct schema schema_error = {
    .name = "Error",
    .help = "Every error looks like this.",
    .fields =
        (const struct schema_field[]){
            {"error", {.kind = SCHEMA_TEXT}, REQUIRED, "\"invalid_field\"", "A stable word that programs may compare."},
            {"message",
             {.kind = SCHEMA_TEXT},
             REQUIRED,
             "\"field worker_id is required\"",
             "What is wrong and what to do."},
            {"detail", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The same again, for older clients."},
            {.name = NULL},
        },
};

const struct schema schema_status_reply = {
    .name = "StatusReply",
    .help = "It is done.",
    .fields =
        (const struct schema_field[]){
            {"status", {.kind = SCHEMA_TEXT}, REQUIRED, "\"ok\"", "ok."},
            {"message", {.kind = SCHEMA_TEXT}, 0, NULL, "What was done."},
            {.name = NULL},
        },
};

/* --- Registration and heartbeat --- */

static const struct schema service_config = {
    .name = "ServiceConfig",
    .help = "How to run an assigned service.",
    .fields =
        (const struct schema_field[]){
            {"name", {.kind = SCHEMA_TEXT}, REQUIRED, "\"llm-inference\"", "Which one."},
            {"port", {.kind = SCHEMA_WHOLE}, REQUIRED, "8105", "The port that the catalog gives it."},
            {"priority", {.kind = SCHEMA_WHOLE}, REQUIRED, "1", "1 is what is needed most."},
            {"aliases", {LIST_OF(text_value)}, 0, NULL, "Other names that clients use for it."},
            {"path", {.kind = SCHEMA_TEXT}, 0, NULL, "Where it is on the worker."},
            {.name = NULL},
        },
};
static const struct schema_value service_config_value = {OBJECT(service_config)};

static const struct schema service_aliases = {
    .name = "ServiceAliases",
    .help = "Other names of a service of the catalog.",
    .fields =
        (const struct schema_field[]){
            {"name", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Its name in the catalog."},
            {"aliases", {LIST_OF(text_value)}, REQUIRED, NULL, "What clients also call it."},
            {.name = NULL},
        },
};
static const struct schema_value service_aliases_value = {OBJECT(service_aliases)};

const struct schema schema_registration_reply = {
    .name = "RegistrationReply",
    .help = "The worker is on the roll, on disk too.",
    .fields =
        (const struct schema_field[]){
            {"status", {.kind = SCHEMA_TEXT}, REQUIRED, "\"registered\"", "registered."},
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, "\"gpu-1\"", "As registered, or as made up."},
            {"worker_type",
             {.kind = SCHEMA_TEXT, .words = worker_types},
             REQUIRED,
             NULL,
             "What kind of machine it is taken for."},
            {"tier", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "1 gpu, 2 cpu, 3 storage, 4 edge."},
            {"assigned_services", {LIST_OF(text_value)}, REQUIRED, NULL, "What it should run."},
            {"service_configs", {LIST_OF(service_config_value)}, REQUIRED, NULL, "How to run each of these."},
            {"service_aliases", {LIST_OF(service_aliases_value)}, 0, NULL, "All aliases of the catalog."},
            {"heartbeat_interval", {.kind = SCHEMA_WHOLE}, REQUIRED, "30", "Seconds between heartbeats."},
            {"heartbeat_stream",
             {.kind = SCHEMA_TEXT},
             0,
             "\"10.0.0.5:7103\"",
             "Where heartbeats are taken over gRPC; absent when the worker could not reach it."},
            {"incarnation", {.kind = SCHEMA_WHOLE}, REQUIRED, "1", "How often this id was registered."},
            {"worker_token",
             {.kind = SCHEMA_TEXT},
             0,
             NULL,
             "With which the worker speaks for itself from now on, as Authorization: Bearer: its heartbeats, its "
             "unregistration, its drain. It holds until the id is registered again."},
            {"coordinator",
             {OBJECT(schema_holding_coordinator)},
             0,
             NULL,
             "Who took it, at a coordinator that has joined an edge router."},
            {"fallback_coordinators",
             {LIST_OF(text_value)},
             0,
             NULL,
             "URLs to register at when this coordinator dies, the best first."},
            {"message", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "For people."},
            {.name = NULL},
        },
};

const struct schema schema_heartbeat_reply = {
    .name = "HeartbeatReply",
    .help = "It was heard.",
    .fields =
        (const struct schema_field[]){
            {"status", {.kind = SCHEMA_TEXT}, REQUIRED, "\"ok\"", "ok."},
            {"assigned_services",
             {LIST_OF(text_value)},
             0,
             NULL,
             "What it should run now; only when that changed since the worker last heard it."},
            {"draining",
             {.kind = SCHEMA_BOOL},
             0,
             NULL,
             "Whether an operator drains it: with each heartbeat until it says with its status what it was told."},
            {.name = NULL},
        },
};

const struct schema schema_found_worker = {
    .name = "FoundWorker",
    .help = "One healthy worker of a service.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, "\"gpu-1\"", "Who."},
            {"worker_url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it serves it."},
            {"service", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The service's name in the catalog."},
            {.name = NULL},
        },
};

/* --- Workers --- */

static const struct schema_value announced_service_value = {OBJECT(schema_announced_service)};

/* What the lists of workers have in common. */
#define WORKER_FIELDS                                                                                                  \
    {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, "\"gpu-1\"", "Who."},                                               \
        {"tunnel_url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where requests reach it."},                             \
        {"service_url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The same again, as edge workers call it."},            \
        {"worker_type", {.kind = SCHEMA_TEXT, .words = worker_types}, REQUIRED, NULL, "What kind of machine it is."},  \
        {"tier", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "1 gpu, 2 cpu, 3 storage, 4 edge."},                          \
        {"location", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it stands."},                                       \
        {"status",                                                                                                     \
         {.kind = SCHEMA_TEXT, .words = statuses},                                                                     \
         REQUIRED,                                                                                                     \
         NULL,                                                                                                         \
         "reconnecting: restored from disk and not heard since."},                                                     \
        {"status_reason", {.kind = SCHEMA_TEXT}, 0, NULL, "Why it is in that state."},                                 \
        {"may_leave",                                                                                                  \
         {.kind = SCHEMA_BOOL},                                                                                        \
         0,                                                                                                            \
         NULL,                                                                                                         \
         "Only while it is drained: it knows that, and works on nothing any more."},                                   \
        {"status_changed_at", {.kind = SCHEMA_TIME}, 0, NULL, "Since when."},                                          \
        {"capabilities", {.kind = SCHEMA_FREE_OBJECT}, REQUIRED, NULL, "As it registered them."},                      \
        {"services", {LIST_OF(announced_service_value)}, REQUIRED, NULL, "Those it announced."},                       \
        {"assigned_services", {LIST_OF(text_value)}, REQUIRED, NULL, "Those it was told to run."},                     \
        {"containers", {.kind = SCHEMA_FREE_LIST}, REQUIRED, NULL, "As it registered them."},                          \
        {"registered_at", {.kind = SCHEMA_TIME}, REQUIRED | SCHEMA_NULLABLE, NULL, "When it last registered."},        \
        {"last_heartbeat",                                                                                             \
         {.kind = SCHEMA_TIME},                                                                                        \
         REQUIRED | SCHEMA_NULLABLE,                                                                                   \
         NULL,                                                                                                         \
         "When it was last heard; null: never."},                                                                      \
        {"current_load", {.kind = SCHEMA_NUMBER}, REQUIRED, NULL, "0 idle, 1 as much as it can take."},                \
        {"available_memory", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Free memory."},                                   \
        {"gpu_utilization", {.kind = SCHEMA_NUMBER}, REQUIRED, NULL, "Percent."},                                      \
        {"active_requests", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Requests that it works on."},                     \
        {"queue_depth", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Requests that wait there."},                          \
        {"loaded_models", {LIST_OF(text_value)}, REQUIRED, NULL, "Models in its memory."},                             \
        {"specialization", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "What it is best at."},                              \
        {"services_status",                                                                                            \
         {.kind = SCHEMA_MAP, .items = &text_value},                                                                   \
         REQUIRED,                                                                                                     \
         NULL,                                                                                                         \
         "How each of its services is."},                                                                              \
        {"tasks_completed", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Tasks done since it started."},                   \
        {"incarnation", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How often this id was registered."},                  \
    {                                                                                                                  \
        "coordinator", {.kind = SCHEMA_TEXT}, 0, NULL, "At an edge router: which coordinator holds it."                \
    }

const struct schema schema_worker = {
    .name = "Worker",
    .help = "A machine on the roll.",
    .fields = (const struct schema_field[]){WORKER_FIELDS, {.name = NULL}},
};
static const struct schema_value worker_value = {OBJECT(schema_worker)};

const struct schema schema_admin_worker = {
    .name = "AdminWorker",
    .help = "A machine on the roll, as operators see it.",
    .fields =
        (const struct schema_field[]){
            WORKER_FIELDS,
            {"age_seconds", {.kind = SCHEMA_NUMBER}, REQUIRED, NULL, "Since it was last heard."},
            {"is_healthy", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "It gets requests."},
            {"registered_by",
             {.kind = SCHEMA_TEXT},
             0,
             NULL,
             "The name of the key that it came with, if there are keys."},
            {.name = NULL},
        },
};
static const struct schema_value admin_worker_value = {OBJECT(schema_admin_worker)};

static const struct schema catalog_entry = {
    .name = "CatalogEntry",
    .help = "A service of the coordinator's catalog.",
    .fields =
        (const struct schema_field[]){
            {"name", {.kind = SCHEMA_TEXT}, REQUIRED, "\"vision-ocr\"", "What it is called."},
            {"aliases", {LIST_OF(text_value)}, REQUIRED, NULL, "Other names for it."},
            {"path", {.kind = SCHEMA_TEXT}, REQUIRED, "\"/api/{type}\"", "Where it is on a worker."},
            {"requires",
             {.kind = SCHEMA_TEXT, .words = worker_types},
             REQUIRED,
             NULL,
             "What kind of machine it takes."},
            {"priority", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "1 is what is needed most."},
            {"port", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "The port that the catalog gives it."},
            {"repeatable", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "A request may be sent twice, whatever its method."},
            {.name = NULL},
        },
};
static const struct schema_value catalog_entry_value = {OBJECT(catalog_entry)};

const struct schema schema_worker_list = {
    .name = "WorkerList",
    .help = "The healthy workers.",
    .fields =
        (const struct schema_field[]){
            {"workers", {LIST_OF(worker_value)}, REQUIRED, NULL, "In no particular order."},
            {"count", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            {"timestamp", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When this list was made."},
            {"catalog",
             {LIST_OF(catalog_entry_value)},
             0,
             NULL,
             "What the services are, for who has nothing but this list; absent while that is not known."},
            SCHEMA_REGION_FIELDS,
            {.name = NULL},
        },
};

const struct schema schema_admin_worker_list = {
    .name = "AdminWorkerList",
    .help = "All workers. POST /api/admin/import takes it back.",
    .fields =
        (const struct schema_field[]){
            {"workers", {LIST_OF(admin_worker_value)}, REQUIRED, NULL, "In no particular order."},
            {"total", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            {"healthy", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many of them get requests."},
            SCHEMA_REGION_FIELDS,
            {.name = NULL},
        },
};

/* --- Services --- */

static const struct schema listed_service = {
    .name = "ListedService",
    .help = "A service of the catalog, or one that a worker announced.",
    .fields =
        (const struct schema_field[]){
            {"name", {.kind = SCHEMA_TEXT}, REQUIRED, "\"vision-ocr\"", "Which one."},
            {"healthy_workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many healthy workers serve it."},
            {"tier", {.kind = SCHEMA_WHOLE}, REQUIRED | SCHEMA_NULLABLE, NULL, "Of the machines for it; null: any."},
            {"requires",
             {.kind = SCHEMA_TEXT, .words = worker_types},
             REQUIRED | SCHEMA_NULLABLE,
             NULL,
             "What kind of machine it takes; null: any."},
            {.name = NULL},
        },
};
static const struct schema_value listed_service_value = {OBJECT(listed_service)};

const struct schema schema_service_list = {
    .name = "ServiceList",
    .help = "Services by name.",
    .fields =
        (const struct schema_field[]){
            {"services", {.kind = SCHEMA_MAP, .items = &listed_service_value}, REQUIRED, NULL, "By name."},
            {"total_available", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many have a healthy worker."},
            {"timestamp", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When this list was made."},
            SCHEMA_REGION_FIELDS,
            {.name = NULL},
        },
};

/* --- Admin --- */

static const struct schema admin_service = {
    .name = "AdminService",
    .help = "A service and who serves it.",
    .fields =
        (const struct schema_field[]){
            {"name", {.kind = SCHEMA_TEXT}, REQUIRED, "\"vision-ocr\"", "Which one."},
            {"workers", {LIST_OF(text_value)}, REQUIRED, NULL, "Ids, of workers in any state."},
            {"worker_count", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            {.name = NULL},
        },
};
static const struct schema_value admin_service_value = {OBJECT(admin_service)};

const struct schema schema_admin_service_list = {
    .name = "AdminServiceList",
    .help = "Services with the workers of each.",
    .fields =
        (const struct schema_field[]){
            {"services", {LIST_OF(admin_service_value)}, REQUIRED, NULL, "By name."},
            {"total_services", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            SCHEMA_REGION_FIELDS,
            {.name = NULL},
        },
};

static const char *const gap_statuses[] = {"critical", "warning", "ok", NULL};

static const struct schema gap = {
    .name = "Gap",
    .help = "How well a service of the catalog is covered.",
    .fields =
        (const struct schema_field[]){
            {"service", {.kind = SCHEMA_TEXT}, REQUIRED, "\"llm-inference\"", "Which one."},
            {"required_type",
             {.kind = SCHEMA_TEXT, .words = worker_types},
             REQUIRED,
             NULL,
             "What kind of machine it takes."},
            {"priority", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "1 is what is needed most."},
            {"current_workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Healthy ones."},
            {"status", {.kind = SCHEMA_TEXT, .words = gap_statuses}, REQUIRED, NULL, "critical: none; warning: one."},
            {"port", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "The port that the catalog gives it."},
            {.name = NULL},
        },
};
static const struct schema_value gap_value = {OBJECT(gap)};

static const struct schema gaps_summary = {
    .name = "GapsSummary",
    .help = "Counts of the services of the catalog.",
    .fields =
        (const struct schema_field[]){
            {"total_services", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "All of them."},
            {"covered", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Those with a healthy worker."},
            {"needs_attention", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Those with none or one."},
            {.name = NULL},
        },
};

const struct schema schema_gaps = {
    .name = "Gaps",
    .help = "How well the catalog is covered.",
    .fields =
        (const struct schema_field[]){
            {"gaps", {LIST_OF(gap_value)}, REQUIRED, NULL, "All services, critical ones first, then by priority."},
            {"critical_gaps", {LIST_OF(gap_value)}, REQUIRED, NULL, "Those with no healthy worker."},
            {"warnings", {LIST_OF(gap_value)}, REQUIRED, NULL, "Those with one."},
            {"summary", {OBJECT(gaps_summary)}, REQUIRED, NULL, "Counts."},
            SCHEMA_REGION_FIELDS,
            {.name = NULL},
        },
};

static const struct schema_value count_value = {.kind = SCHEMA_WHOLE};

const struct schema schema_stats = {
    .name = "Stats",
    .help = "Counts of workers.",
    .fields =
        (const struct schema_field[]){
            {"total_workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "On the roll."},
            {"healthy_workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "That get requests."},
            {"offline_workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "The others."},
            {"by_tier", {.kind = SCHEMA_MAP, .items = &count_value}, REQUIRED, NULL, "On the roll, by tier."},
            SCHEMA_REGION_FIELDS,
            {.name = NULL},
        },
};

/* --- History --- */

static const struct schema_value any_list = {.kind = SCHEMA_FREE_LIST};

static const struct schema schema_history_state = {
    .name = "HistoryState",
    .help = "How much history there is.",
    .fields =
        (const struct schema_field[]){
            {"kept_workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Workers whose history is kept."},
            {"worker_limit", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "For so many at most."},
            {"not_kept_workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Workers on the roll beyond that."},
            {"dropped_buckets",
             {.kind = SCHEMA_WHOLE},
             REQUIRED,
             NULL,
             "Lost since health started, because its disk failed or was too slow."},
            {"failure", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Why nothing is written now; empty: it is."},
            {.name = NULL},
        },
};

const struct schema schema_history = {
    .name = "History",
    .help = "What a worker did.",
    .fields =
        (const struct schema_field[]){
            {"worker", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Whose history."},
            {"kept", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "Whether it is kept on; false: gone, or beyond the limit."},
            {"step", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Length of the buckets, in seconds."},
            {"since", {.kind = SCHEMA_TIME}, REQUIRED | SCHEMA_NULLABLE, NULL, "From then on."},
            {"metrics",
             {.kind = SCHEMA_MAP, .items = &any_list},
             REQUIRED,
             NULL,
             "For each metric its buckets, oldest first: {time, mean, min, max, last, count} for load and "
             "active_requests, {time, mean, count} for latency_ms, {time, last, worst} for state, {time, sum} for "
             "others. A bucket in which nothing happened is left out."},
            {"history", {.kind = SCHEMA_OBJECT, .of = &schema_history_state}, REQUIRED, NULL, "Of all workers."},
            {.name = NULL},
        },
};

static const struct schema_value column_name = {.kind = SCHEMA_TEXT};

const struct schema schema_query_reply = {
    .name = "QueryReply",
    .help = "What the statement gave.",
    .fields =
        (const struct schema_field[]){
            {"columns", {.kind = SCHEMA_LIST, .items = &column_name}, REQUIRED, NULL, "Their names."},
            {"rows", {.kind = SCHEMA_LIST, .items = &any_list}, REQUIRED, NULL, "A list of values for each row."},
            {"row_count", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Rows in this answer."},
            {"truncated", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "There were more, than asked for or than 2 MiB hold."},
            {"history", {.kind = SCHEMA_OBJECT, .of = &schema_history_state}, REQUIRED, NULL, "How much there is."},
            {.name = NULL},
        },
};

/* --- Broadcast --- */

static const struct schema schema_broadcast_worker = {
    .name = "BroadcastWorker",
    .help = "What one worker said.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Who."},
            {"status",
             {.kind = SCHEMA_TEXT, .words = (const char *const[]){"accepted", "rejected", "timeout", "failed", NULL}},
             REQUIRED,
             NULL,
             "accepted: it answered 2xx; rejected: something else; timeout: nothing in time; failed: not reached."},
            {"status_code", {.kind = SCHEMA_WHOLE}, 0, NULL, "What it answered, if it did."},
            {"response", {.kind = SCHEMA_ANY}, 0, NULL, "Its body, if that was JSON, else as text; at most 16 KiB."},
            {"response_truncated", {.kind = SCHEMA_BOOL}, 0, NULL, "There was more than that."},
            {"error", {.kind = SCHEMA_TEXT}, 0, NULL, "Why there is no answer."},
            {.name = NULL},
        },
};

static const struct schema_value broadcast_worker = {.kind = SCHEMA_OBJECT, .of = &schema_broadcast_worker};

const struct schema schema_broadcast_reply = {
    .name = "BroadcastReply",
    .help = "Who was sent the job, and what each said.",
    .fields =
        (const struct schema_field[]){
            {"job_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "How the job is called."},
            {"job_type", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "As asked."},
            {"broadcasted_to", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Workers that it was sent to."},
            {"successful", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Of these: accepted it."},
            {"failed", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Of these: did not."},
            {"workers", {.kind = SCHEMA_LIST, .items = &broadcast_worker}, REQUIRED, NULL, "One by one."},
            {.name = NULL},
        },
};

const struct schema schema_drain_reply = {
    .name = "DrainReply",
    .help = "It is so, on disk too.",
    .fields =
        (const struct schema_field[]){
            {"status", {.kind = SCHEMA_TEXT}, REQUIRED, "\"ok\"", "ok."},
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Whom it is about."},
            {"draining", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "True: it gets no new requests."},
            {.name = NULL},
        },
};

static const char *const verdicts[] = {
    "announced",           "kept",          "pinned",  "reserved",      "taken",  "other_type", "pinned_elsewhere",
    "reserved_for_others", "share_is_full", "covered", "not_permitted", "misfit", "unknown",    NULL,
};

static const struct schema service_swap = {
    .name = "ServiceSwap",
    .help = "A service takes the place of another one on a worker, which runs both until the new one runs.",
    .fields =
        (const struct schema_field[]){
            {"from", {.kind = SCHEMA_TEXT}, REQUIRED, "\"redis\"", "What it drops then."},
            {"to", {.kind = SCHEMA_TEXT}, REQUIRED, "\"postgres\"", "What it takes."},
            {.name = NULL},
        },
};

static const struct schema explained_service = {
    .name = "ExplainedService",
    .help = "What a decision, made now, says of one service for one worker.",
    .fields =
        (const struct schema_field[]){
            {"service", {.kind = SCHEMA_TEXT}, REQUIRED, "\"llm-inference\"", "Which one."},
            {"verdict",
             {.kind = SCHEMA_TEXT, .words = verdicts},
             REQUIRED,
             NULL,
             "The reason as a word: announced to taken mean that the worker runs it, the others that it does not."},
            {"reason", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The same in a sentence."},
            {"assigned_now", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "The worker has been told to run it."},
            {"would_be_assigned", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "It would be, if it registered again now."},
            {"other_workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Others that run it, or are about to."},
            {"other_workers_here",
             {.kind = SCHEMA_WHOLE},
             REQUIRED,
             NULL,
             "Of them, at the same location; counted only with anti_affinity."},
            {"required_type", {.kind = SCHEMA_TEXT, .words = worker_types}, REQUIRED, NULL, "What it needs."},
            {"priority", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "1 is what is needed most."},
            {.name = NULL},
        },
};
static const struct schema_value explained_service_value = {OBJECT(explained_service)};

static const struct schema explained_share = {
    .name = "ExplainedShare",
    .help = "Why so many services of the worker's own type.",
    .fields =
        (const struct schema_field[]){
            {"workers_of_type", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Workers of its type, it included."},
            {"services_of_type", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Services that need one and that it may run."},
            {"uncovered_of_type", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Of them, those that nobody has."},
            {"usual", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many a worker in its place gets."},
            {"largest", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "The most that it gets to fill gaps."},
            {"to_add", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "So many were to be added to what it has."},
            {"reason", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The same in a sentence."},
            {.name = NULL},
        },
};

const struct schema schema_explanation = {
    .name = "Explanation",
    .help = "Why a worker is assigned what it is.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Whom it is about."},
            {"incarnation", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Of its registration."},
            {"worker_type", {.kind = SCHEMA_TEXT, .words = worker_types}, REQUIRED, NULL, "What kind it is."},
            {"location", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it is; may be empty."},
            {"counts_for_coverage",
             {.kind = SCHEMA_BOOL},
             REQUIRED,
             NULL,
             "It is up or expected back, and does not drain."},
            {"reason", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The decision in one line."},
            {"swap", {OBJECT(service_swap)}, 0, NULL, "A change that is under way, if there is one."},
            {"share", {OBJECT(explained_share)}, REQUIRED, NULL, "Why so many."},
            {"services", {LIST_OF(explained_service_value)}, REQUIRED, NULL, "Each service of the catalog."},
            {.name = NULL},
        },
};

static const struct schema skipped_worker = {
    .name = "SkippedWorker",
    .help = "A worker of a backup that was not imported.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Which one; empty when it has no id."},
            {"reason", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Why; for example that it is on the roll already."},
            {.name = NULL},
        },
};
static const struct schema_value skipped_worker_value = {OBJECT(skipped_worker)};

const struct schema schema_import_reply = {
    .name = "ImportReply",
    .help = "The backup was read to its end; what was imported is on disk.",
    .fields =
        (const struct schema_field[]){
            {"imported", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many workers were put on the roll."},
            {"skipped", {LIST_OF(skipped_worker_value)}, REQUIRED, NULL, "The others; of many, the first 1,000."},
            {"skipped_total", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many were skipped in all."},
            {.name = NULL},
        },
};

static const struct schema exported_worker = {
    .name = "ExportedWorker",
    .help = "A worker as it is kept on disk.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, "\"gpu-1\"", "Who."},
            {"tunnel_url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where requests reach it."},
            {"worker_type", {.kind = SCHEMA_TEXT, .words = worker_types}, REQUIRED, NULL, "What kind it is."},
            {"location", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it stands."},
            {"capabilities", {.kind = SCHEMA_FREE_OBJECT}, REQUIRED, NULL, "As it registered them."},
            {"services", {LIST_OF(announced_service_value)}, REQUIRED, NULL, "Those it announced."},
            {"assigned_services", {LIST_OF(text_value)}, REQUIRED, NULL, "Those it was told to run."},
            {"containers", {.kind = SCHEMA_FREE_LIST}, REQUIRED, NULL, "As it registered them."},
            {"registered_at", {.kind = SCHEMA_TIME}, REQUIRED | SCHEMA_NULLABLE, NULL, "When it last registered."},
            {"incarnation", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How often this id was registered."},
            {"status", {.kind = SCHEMA_TEXT, .words = statuses}, REQUIRED, NULL, "How it was."},
            {"draining", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "An operator has taken it out of new work."},
            {.name = NULL},
        },
};
static const struct schema_value exported_worker_value = {OBJECT(exported_worker)};

const struct schema schema_export = {
    .name = "Export",
    .help = "All workers, in the order of their ids, for POST /api/admin/import elsewhere.",
    .fields =
        (const struct schema_field[]){
            {"workers", {LIST_OF(exported_worker_value)}, REQUIRED, NULL, "All of them."},
            {"total", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            {.name = NULL},
        },
};

/* --- Topology --- */

static const struct schema topology_coordinator = {
    .name = "TopologyCoordinator",
    .help = "A coordinator.",
    .fields =
        (const struct schema_field[]){
            {"id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Which one."},
            {"url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it is reached; empty: not known."},
            {"location", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it is; empty: not known."},
            {"workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many workers it has."},
            {"workers_count", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "The same again."},
            {"load", {.kind = SCHEMA_NUMBER}, REQUIRED, NULL, "The average of its healthy workers' loads."},
            {"status", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "healthy or degraded."},
            {"last_seen", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When it was last heard."},
            {.name = NULL},
        },
};
static const struct schema_value topology_coordinator_value = {OBJECT(topology_coordinator)};

static const struct schema topology_worker = {
    .name = "TopologyWorker",
    .help = "A worker.",
    .fields =
        (const struct schema_field[]){
            {"id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Which one."},
            {"type", {.kind = SCHEMA_TEXT, .words = worker_types}, REQUIRED, NULL, "What kind of machine it is."},
            {"coordinator", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Whose it is."},
            {"coordinator_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The same again."},
            {"services", {LIST_OF(text_value)}, REQUIRED, NULL, "What it offers."},
            {"status", {.kind = SCHEMA_TEXT, .words = statuses}, REQUIRED, NULL, "How it is."},
            {"tunnel_url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it is reached."},
            {"location", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it is; empty: not said."},
            {"capabilities", {.kind = SCHEMA_FREE_OBJECT}, REQUIRED, NULL, "What it can do."},
            {"metrics", {.kind = SCHEMA_FREE_OBJECT}, REQUIRED, NULL, "How loaded it is."},
            {"incarnation", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Counts its registrations."},
            {"last_seen", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When it was last heard."},
            {.name = NULL},
        },
};
static const struct schema_value topology_worker_value = {OBJECT(topology_worker)};

static const struct schema topology_connection = {
    .name = "TopologyConnection",
    .help = "Who hangs together with whom.",
    .fields =
        (const struct schema_field[]){
            {"from", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "A coordinator's id."},
            {"to", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "A worker's id."},
            {"type", {.kind = SCHEMA_TEXT}, REQUIRED, "\"worker\"", "worker."},
            {"active", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "Whether requests can go that way now."},
            {.name = NULL},
        },
};
static const struct schema_value topology_connection_value = {OBJECT(topology_connection)};

const struct schema schema_topology = {
    .name = "Topology",
    .help = "The coordinator, its workers, and what runs where.",
    .fields =
        (const struct schema_field[]){
            {"coordinators", {LIST_OF(topology_coordinator_value)}, REQUIRED, NULL, "This one."},
            {"workers", {LIST_OF(topology_worker_value)}, REQUIRED, NULL, "All on the roll."},
            {"connections", {LIST_OF(topology_connection_value)}, REQUIRED, NULL, "Between them."},
            {"statistics", {.kind = SCHEMA_FREE_OBJECT}, REQUIRED, NULL, "Counts."},
            {"revision", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Of the last event that this shows: see /ws/events."},
            {"complete",
             {.kind = SCHEMA_BOOL},
             REQUIRED,
             NULL,
             "Whether all workers are shown. Only the first message of /ws/topology does not, when the roll is long."},
            {"timestamp", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "Now."},
            SCHEMA_REGION_FIELDS,
            {.name = NULL},
        },
};

/* --- Operations --- */

static const struct schema health_workers = {
    .name = "HealthWorkers",
    .help = "Counts of workers.",
    .fields =
        (const struct schema_field[]){
            {"total", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "On the roll."},
            {"active", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "That get requests."},
            {"stale", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "The others."},
            {.name = NULL},
        },
};

static const struct schema health_list = {
    .name = "HealthList",
    .help = "The list of one coordinator, as an edge proxy has it.",
    .fields =
        (const struct schema_field[]){
            {"coordinator", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Its URL."},
            {"status", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "online, or unreachable: the last request failed."},
            {"as_of", {.kind = SCHEMA_TIME}, REQUIRED | SCHEMA_NULLABLE, NULL, "When it was asked for; null: never."},
            {"age_seconds", {.kind = SCHEMA_NUMBER}, REQUIRED | SCHEMA_NULLABLE, NULL, "How long ago that is."},
            {"workers", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many it has."},
            {"problem", {.kind = SCHEMA_TEXT}, 0, NULL, "Why it could not be read the last time."},
            {"next_poll_seconds", {.kind = SCHEMA_NUMBER}, REQUIRED, NULL, "When it is read again."},
            {.name = NULL},
        },
};
static const struct schema_value health_list_value = {OBJECT(health_list)};

static const char *const upstream_states[] = {"unchecked", "up", "down", NULL};

static const struct schema health_upstream = {
    .name = "HealthUpstream",
    .help = "An upstream of a load balancer.",
    .fields =
        (const struct schema_field[]){
            {"url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Which one."},
            {"state", {.kind = SCHEMA_TEXT, .words = upstream_states}, REQUIRED, NULL, "All but down get requests."},
            {"since_seconds", {.kind = SCHEMA_NUMBER}, REQUIRED, NULL, "How long it has been so."},
            {"reason", {.kind = SCHEMA_TEXT}, 0, NULL, "Why its last check, or a request, failed."},
            {"requests", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Attempts to have a request answered."},
            {"failures", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Those of them that failed."},
            {.name = NULL},
        },
};
static const struct schema_value health_upstream_value = {OBJECT(health_upstream)};

static const char *const health_words[] = {"healthy", "degraded", NULL};

const struct schema schema_health = {
    .name = "Health",
    .help = "How the coordinator is. It is degraded while a process behind the gateway is down.",
    .fields =
        (const struct schema_field[]){
            {"status", {.kind = SCHEMA_TEXT, .words = health_words}, REQUIRED, NULL, "In a word."},
            {"coordinator", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Which one this is."},
            {"timestamp", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "Now."},
            {"workers", {OBJECT(health_workers)}, REQUIRED, NULL, "Counts."},
            {"failed", {LIST_OF(text_value)}, 0, NULL, "Processes that are down."},
            {"warning", {.kind = SCHEMA_TEXT}, 0, NULL, "What an operator should look at: evictions are slowed down."},
            {"coordinators", {.kind = SCHEMA_WHOLE}, 0, NULL, "At an edge router: how many requests can go to."},
            {"message", {.kind = SCHEMA_TEXT}, 0, NULL, "At an edge router or an edge proxy: for people."},
            {"age_seconds",
             {.kind = SCHEMA_NUMBER},
             SCHEMA_NULLABLE,
             NULL,
             "At an edge proxy: how old the oldest of the lists is that it goes by; null: it has none."},
            {"upstreams", {LIST_OF(health_upstream_value)}, 0, NULL, "At a load balancer: each of them."},
            {"lists", {LIST_OF(health_list_value)}, 0, NULL, "At an edge proxy: each coordinator's list."},
            {.name = NULL},
        },
};

static const struct schema_value free_object = {.kind = SCHEMA_FREE_OBJECT};

const struct schema schema_openapi = {
    .name = "OpenApi",
    .help = "An OpenAPI 3.1 document.",
    .value = &free_object,
};
