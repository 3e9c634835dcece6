/* Requests; see schemas.h. */

#include "gateway/schemas.h"

static const struct schema_value text_value = {.kind = SCHEMA_TEXT, .maximum = REQUEST_TEXT_BYTES_MAX};

/* --- POST /api/worker/register --- */

static const char *const worker_types[] = {"auto", "gpu", "cpu", "storage", "edge", NULL};

static const struct schema_field capabilities_fields[] = {
    {"has_gpu", {.kind = SCHEMA_BOOL}, 0, "true", "It has a graphics processor that services may use."},
    {"gpu_type", {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX}, 0, "\"RTX 4090\"", "Its model."},
    {"gpu_memory", {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX}, 0, "\"24 GB\"", "Its memory."},
    {"cpu_cores", {.kind = SCHEMA_WHOLE, .maximum = REQUEST_COUNT_MAX}, 0, "16", "Processor cores."},
    {"ram", {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX}, 0, "\"64GB\"", "Main memory."},
    {"has_storage", {.kind = SCHEMA_BOOL}, 0, "false", "It lends disk space."},
    {"has_edge", {.kind = SCHEMA_BOOL}, 0, "false", "It can take requests from the internet for others."},
    {"has_public_ip", {.kind = SCHEMA_BOOL}, 0, "false", "It has an address that the internet can reach."},
    {"latency_ms",
     {.kind = SCHEMA_NUMBER, .maximum = REQUEST_LOAD_MAX},
     0,
     "12.5",
     "How far it is away, in milliseconds."},
    {.name = NULL},
};

const struct schema schema_capabilities = {
    .name = "Capabilities",
    .help = "What a machine can do. Free-form: members of other names are kept and shown as they are.",
    .fields = capabilities_fields,
    .is_request = true,
};

static const struct schema_value ability_value = {.kind = SCHEMA_NAME, .maximum = REQUEST_SERVICE_BYTES_MAX};

static const struct schema_field announced_service_fields[] = {
    {"name",
     {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_SERVICE_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"ocr\"",
     "What clients ask for; an alias of the catalog is as good as the name there."},
    {"url",
     {.kind = SCHEMA_URL, .maximum = REQUEST_URL_BYTES_MAX},
     0,
     "\"https://ocr.example.com\"",
     "Where it is, if not at the worker's own URL."},
    {"capabilities",
     {.kind = SCHEMA_LIST, .maximum = REQUEST_SERVICE_CAPABILITIES_MAX, .items = &ability_value},
     0,
     "[\"embeddings\"]",
     "What it can do; broadcast jobs ask for these."},
    {.name = NULL},
};

const struct schema schema_announced_service = {
    .name = "AnnouncedService",
    .help = "A service that a worker runs of its own accord.",
    .fields = announced_service_fields,
    .is_request = true,
};

static const struct schema_value announced_alternatives[] = {
    {.kind = SCHEMA_OBJECT, .of = &schema_announced_service},
    {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_SERVICE_BYTES_MAX},
    {.kind = SCHEMA_END},
};

static const struct schema_value announced_value = {.kind = SCHEMA_EITHER, .items = announced_alternatives};

static const char *const url_names[] = {"tunnel_url", "service_url", "url", NULL};

/* What a registration and a worker of a backup have in common. */
#define SPEC_FIELDS                                                                                                    \
    {"tunnel_url",                                                                                                     \
     {.kind = SCHEMA_URL, .maximum = REQUEST_URL_BYTES_MAX},                                                           \
     0,                                                                                                                \
     "\"https://abc.example.com\"",                                                                                    \
     "Where requests reach it."},                                                                                      \
        {"service_url",                                                                                                \
         {.kind = SCHEMA_URL, .maximum = REQUEST_URL_BYTES_MAX},                                                       \
         0,                                                                                                            \
         "\"https://abc.example.com\"",                                                                                \
         "Another name of tunnel_url, which wins over this one."},                                                     \
        {"url",                                                                                                        \
         {.kind = SCHEMA_URL, .maximum = REQUEST_URL_BYTES_MAX},                                                       \
         0,                                                                                                            \
         "\"https://abc.example.com\"",                                                                                \
         "A third name of it."},                                                                                       \
        {"worker_type",                                                                                                \
         {.kind = SCHEMA_TEXT, .words = worker_types},                                                                 \
         0,                                                                                                            \
         "\"gpu\"",                                                                                                    \
         "What kind of machine it is; auto, or nothing: the coordinator decides by the capabilities."},                \
        {"location", {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX}, 0, "\"uk\"", "Where it stands."},       \
        {"gpu",                                                                                                        \
         {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX},                                                     \
         0,                                                                                                            \
         "\"RTX 4090\"",                                                                                               \
         "Short for capabilities.has_gpu with this capabilities.gpu_type."},                                           \
        {"capabilities",                                                                                               \
         {.kind = SCHEMA_OBJECT, .maximum = REQUEST_CAPABILITIES_BYTES_MAX, .of = &schema_capabilities},               \
         0,                                                                                                            \
         NULL,                                                                                                         \
         "What it can do."},                                                                                           \
        {"services",                                                                                                   \
         {.kind = SCHEMA_LIST, .maximum = REQUEST_SERVICES_MAX, .items = &announced_value},                            \
         0,                                                                                                            \
         "[{\"name\": \"ocr\", \"url\": \"https://ocr.example.com\", \"capabilities\": [\"embeddings\"]}, \"llm\"]",   \
         "Services that it runs of its own accord, besides those that it is assigned; plain names will do."},          \
    {                                                                                                                  \
        "containers", {.kind = SCHEMA_FREE_LIST, .maximum = REQUEST_CAPABILITIES_BYTES_MAX}, 0,                        \
            "[{\"id\": \"c1\", \"image\": \"ocr:latest\"}]", "Containers that run there; kept and shown as they are."  \
    }

static const struct schema_field registration_fields[] = {
    {"worker_id",
     {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     0,
     "\"gpu-1\"",
     "Who it is; without one the coordinator makes one up and returns it."},
    {"role",
     {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX},
     0,
     "\"worker\"",
     "worker: it is one, though its type is edge; at an edge router anything else of that type is a coordinator."},
    SPEC_FIELDS,
    {.name = NULL},
};

const struct schema schema_registration = {
    .name = "Registration",
    .help = "What a worker says of itself. Registering an id again replaces its record.",
    .fields = registration_fields,
    .one_of_required = url_names,
    .is_request = true,
};

/* --- POST /api/worker/heartbeat --- */

static const char *const heartbeat_words[] = {"healthy", "online", "degraded", "draining", NULL};

static const struct schema_field heartbeat_fields[] = {
    {"worker_id",
     {.kind = SCHEMA_TEXT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"gpu-1\"",
     "Who it is, as it registered."},
    {"incarnation",
     {.kind = SCHEMA_WHOLE, .maximum = INT64_MAX},
     0,
     NULL,
     "Of the registration that it stands for; an earlier one is refused with 409."},
    {"status", {.kind = SCHEMA_TEXT, .words = heartbeat_words}, 0, "\"healthy\"", "How it says that it is."},
    {"answer_missed",
     {.kind = SCHEMA_BOOL},
     0,
     "false",
     "The answer to the heartbeat before did not arrive: tell the assignment again."},
    {"current_load",
     {.kind = SCHEMA_NUMBER, .maximum = REQUEST_LOAD_MAX},
     0,
     "0.42",
     "How busy it is: 0 idle, 1 as much as it can take."},
    {"available_memory", {.kind = SCHEMA_TEXT, .maximum = REQUEST_TEXT_BYTES_MAX}, 0, "\"24.5GB\"", "Free memory."},
    {"gpu_utilization",
     {.kind = SCHEMA_NUMBER, .maximum = REQUEST_LOAD_MAX},
     0,
     "65.3",
     "Of its graphics processor, percent."},
    {"active_requests", {.kind = SCHEMA_WHOLE, .maximum = REQUEST_COUNT_MAX}, 0, "2", "Requests that it works on."},
    {"queue_depth", {.kind = SCHEMA_WHOLE, .maximum = REQUEST_COUNT_MAX}, 0, "0", "Requests that wait there."},
    {"loaded_models",
     {.kind = SCHEMA_LIST, .maximum = REQUEST_ITEMS_MAX, .items = &text_value},
     0,
     "[\"llama3.2\"]",
     "Models in its memory."},
    {"specialization", {.kind = SCHEMA_TEXT, .maximum = REQUEST_TEXT_BYTES_MAX}, 0, "\"vllm\"", "What it is best at."},
    {"services_status",
     {.kind = SCHEMA_MAP, .maximum = REQUEST_ITEMS_MAX, .items = &text_value},
     0,
     "{\"vision-ocr\": \"running\"}",
     "How each of its services is."},
    {"tasks_completed", {.kind = SCHEMA_WHOLE, .maximum = INT64_MAX}, 0, "7", "Tasks done since it started."},
    {.name = NULL},
};

const struct schema schema_heartbeat = {
    .name = "Heartbeat",
    .help = "A sign of life. Only worker_id is needed; what is left out of the load counts as nothing.",
    .fields = heartbeat_fields,
    .is_request = true,
};

/* --- POST /api/admin/import --- */

static const struct schema_value service_name_value = {.kind = SCHEMA_NAME, .maximum = REQUEST_SERVICE_BYTES_MAX};

static const struct schema_field imported_fields[] = {
    {"worker_id",
     {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"gpu-7\"",
     "Who it is; skipped when it is on the roll already."},
    SPEC_FIELDS,
    {"assigned_services",
     {.kind = SCHEMA_LIST, .maximum = REQUEST_SERVICES_MAX, .items = &service_name_value},
     0,
     "[\"vision-ocr\"]",
     "What it was told to run."},
    {"registered_at", {.kind = SCHEMA_TIME}, 0, "\"2026-01-05T10:30:00.125Z\"", "When it registered; left out: now."},
    {"incarnation", {.kind = SCHEMA_WHOLE, .maximum = REQUEST_INCARNATION_MAX}, 0, "3", "How often its id had been registered."},
    {"status", {.kind = SCHEMA_TEXT}, 0, "\"online\"", "draining is kept; others count as reconnecting."},
    {"draining", {.kind = SCHEMA_BOOL}, 0, "false", "An operator had taken it out of new work."},
    {.name = NULL},
};

static const struct schema imported_worker = {
    .name = "ImportedWorker",
    .help = "A worker of a backup, as a list or an export shows it.",
    .fields = imported_fields,
    .one_of_required = url_names,
    .is_request = true,
};
static const struct schema_value imported_value = {
    .kind = SCHEMA_OBJECT, .maximum = REQUEST_IMPORTED_BYTES_MAX, .of = &imported_worker};

static const struct schema_field backup_fields[] = {
    {"workers", {.kind = SCHEMA_LIST, .items = &imported_value}, SCHEMA_REQUIRED, NULL, "All of them."},
    {.name = NULL},
};

static const struct schema backup_object = {
    .name = "BackupObject",
    .help = "What /api/admin/workers or /api/admin/export answered.",
    .fields = backup_fields,
    .is_request = true,
};

static const struct schema_value backup_alternatives[] = {
    {.kind = SCHEMA_OBJECT, .of = &backup_object},
    {.kind = SCHEMA_LIST, .items = &imported_value},
    {.kind = SCHEMA_END},
};
static const struct schema_value backup_value = {.kind = SCHEMA_EITHER, .items = backup_alternatives};

const struct schema schema_backup = {
    .name = "Backup",
    .help = "Workers to put on the roll: an object with the list, or the list alone. As long as it likes.",
    .value = &backup_value,
    .is_request = true,
};

/* --- POST /api/admin/query --- */

const struct schema schema_query = {
    .name = "Query",
    .help = "A statement over workers, services and history.",
    .fields =
        (const struct schema_field[]){
            {"sql",
             {.kind = SCHEMA_TEXT, .minimum = 1, .maximum = REQUEST_SQL_BYTES_MAX},
             SCHEMA_REQUIRED,
             "\"SELECT worker_id, status, load FROM workers ORDER BY load DESC\"",
             "One SELECT of SQLite's language. Tables: workers (worker_id, type, tier, location, status, "
             "status_reason, incarnation, registered_at_ms, last_heartbeat_at_ms, load, active_requests, queue_depth, "
             "gpu_utilization, tasks_completed, tunnel_url); services (name, worker_id, assigned, announced, url); "
             "history (worker_id, metric, step, time, time_ms, count, sum, mean, min, max, last, state, worst_state)."},
            {"limit",
             {.kind = SCHEMA_WHOLE, .minimum = 1, .maximum = REQUEST_QUERY_ROWS_MAX},
             0,
             "100",
             "At most so many rows. Absent: 1,000."},
            {"timeout_ms",
             {.kind = SCHEMA_WHOLE, .minimum = 1, .maximum = REQUEST_QUERY_TIMEOUT_MS_MAX},
             0,
             "5000",
             "It may take so long, in milliseconds. Absent: 5,000."},
            {.name = NULL},
        },
    .is_request = true,
};

/* --- POST /api/dht/rpc --- */

const struct schema schema_dht_message = {
    .name = "DhtMessage",
    .help = "What one node of the hash table says to another.",
    .fields =
        (const struct schema_field[]){
            {"message",
             {.kind = SCHEMA_TEXT, .minimum = 1, .maximum = REQUEST_DHT_MESSAGE_BYTES_MAX / 3 * 4},
             SCHEMA_REQUIRED,
             "\"EgA\"", /* a DhtPing */
             "An ExchangeRequest of muster.v1 as protobuf, in base64url without padding."},
            {.name = NULL},
        },
    .is_request = true,
};

/* --- POST /api/coordinator/broadcast-job --- */

const struct schema schema_broadcast = {
    .name = "Broadcast",
    .help = "A job for many workers. Members of other names are passed on as well.",
    .fields =
        (const struct schema_field[]){
            {"job_type",
             {.kind = SCHEMA_NAME, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
             SCHEMA_REQUIRED,
             "\"rag_ingestion\"",
             "What is to be done; the workers know."},
            {"job_data", {.kind = SCHEMA_FREE_OBJECT}, 0, "{\"path\": \"/documents\"}", "What they need for it."},
            {"required_capability",
             {.kind = SCHEMA_NAME, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
             0,
             "\"has_gpu\"",
             "A key of capabilities that is not false, or a capability of one of the worker's services. Absent: "
             "none is needed."},
            {"job_id",
             {.kind = SCHEMA_NAME, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
             0,
             "\"job-7\"",
             "How the job is called. Absent: the coordinator makes one up."},
            {.name = NULL},
        },
    .is_request = true,
};
