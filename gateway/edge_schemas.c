/* The bodies of the edge federation: between coordinators, edge routers, and those who look at
 * them; see schemas.h. */

#include "gateway/schemas.h"

static const struct schema_value count_value = {.kind = SCHEMA_WHOLE, .maximum = REQUEST_COUNT_MAX};

static const char *const url_names[] = {"tunnel_url", "url", NULL};

#define LIST_OF(value) .kind = SCHEMA_LIST, .items = &(value)
#define OBJECT(schema) .kind = SCHEMA_OBJECT, .of = &(schema)

/* --- POST /api/edge/register --- */

static const struct schema edge_capabilities = {
    .name = "EdgeCapabilities",
    .help = "What a coordinator offers. Free-form: members of other names are kept and shown as they are.",
    .fields =
        (const struct schema_field[]){
            {"location",
             {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX},
             0,
             "\"uk\"",
             "Where it stands, if the body does not say it."},
            {"dht_port",
             {.kind = SCHEMA_WHOLE, .maximum = 65535},
             0,
             "7105",
             "Its port in the coordinators' hash table."},
            {"latitude",
             {.kind = SCHEMA_NUMBER, .minimum = -90, .maximum = 90},
             0,
             "51.5",
             "Where it stands, in degrees; with longitude. Else an edge router with a database of places takes it to "
             "be where it calls from."},
            {"longitude", {.kind = SCHEMA_NUMBER, .minimum = -180, .maximum = 180}, 0, "-0.12", "East is positive."},
            {.name = NULL},
        },
    .is_request = true,
};

/* Who a coordinator is; in registrations and in what edge routers tell each other. */
#define COORDINATOR_FIELDS                                                                                             \
    {"tunnel_url",                                                                                                     \
     {.kind = SCHEMA_URL, .maximum = REQUEST_URL_BYTES_MAX},                                                           \
     0,                                                                                                                \
     "\"https://uk-1.example.com\"",                                                                                   \
     "Where everybody reaches it."},                                                                                   \
        {"url",                                                                                                        \
         {.kind = SCHEMA_URL, .maximum = REQUEST_URL_BYTES_MAX},                                                       \
         0,                                                                                                            \
         "\"https://uk-1.example.com\"",                                                                               \
         "Another name of tunnel_url, which wins over this one."},                                                     \
        {"location", {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX}, 0, "\"uk\"", "Where it stands."},       \
    {                                                                                                                  \
        "capabilities",                                                                                                \
            {.kind = SCHEMA_OBJECT, .maximum = REQUEST_EDGE_CAPABILITIES_BYTES_MAX, .of = &edge_capabilities}, 0,      \
            NULL, "What it offers."                                                                                    \
    }

const struct schema schema_edge_registration = {
    .name = "EdgeRegistration",
    .help = "A coordinator that joins. Registering an id again replaces its record.",
    .fields =
        (const struct schema_field[]){
            {"worker_id",
             {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
             0,
             "\"uk-1\"",
             "Who it is; without one the edge router makes one up and returns it."},
            COORDINATOR_FIELDS,
            {"proof_key",
             {.kind = SCHEMA_NAME, .maximum = REQUEST_PROOF_KEY_BYTES_MAX},
             0,
             NULL,
             "What it will make the proof with when /api/edge/challenge is asked at its URL."},
            {.name = NULL},
        },
    .one_of_required = url_names,
    .is_request = true,
};

const struct schema schema_edge_registration_reply = {
    .name = "EdgeRegistered",
    .help = "The coordinator is in the pool.",
    .fields =
        (const struct schema_field[]){
            {"status", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "registered."},
            {"role", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "edge_coordinator."},
            {"worker_id", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Who it is."},
            {"total_coordinators", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "How many there are now."},
            {"heartbeat_interval", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "Seconds between heartbeats."},
            {"incarnation", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "To be sent along with them."},
            {"message", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "What was done."},
            {.name = NULL},
        },
};

/* --- POST /api/edge/heartbeat --- */

static const char *const heartbeat_words[] = {"healthy", "online", "degraded", "draining", NULL};

const struct schema schema_edge_heartbeat = {
    .name = "EdgeHeartbeat",
    .help = "A coordinator is alive, and how loaded.",
    .fields =
        (const struct schema_field[]){
            {"worker_id",
             {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
             SCHEMA_REQUIRED,
             "\"uk-1\"",
             "Who it is."},
            {"incarnation",
             {.kind = SCHEMA_WHOLE, .maximum = REQUEST_INCARNATION_MAX},
             0,
             NULL,
             "What its registration was answered with."},
            {"status", {.kind = SCHEMA_TEXT, .words = heartbeat_words}, 0, "\"healthy\"", "How it is."},
            {"workers", {.kind = SCHEMA_WHOLE, .maximum = REQUEST_COUNT_MAX}, 0, "12", "Workers that it holds."},
            {"services",
             {.kind = SCHEMA_MAP, .maximum = REQUEST_SERVICES_MAX, .items = &count_value},
             0,
             "{\"vision-ocr\": 3}",
             "How many healthy workers it has for each service."},
            {"load",
             {.kind = SCHEMA_NUMBER, .maximum = REQUEST_LOAD_MAX},
             0,
             "0.42",
             "Share of its workers' capacity that is in use."},
            {"cpu_percent", {.kind = SCHEMA_NUMBER, .maximum = REQUEST_LOAD_MAX}, 0, "17.5", "Of its own machine."},
            {"memory_percent", {.kind = SCHEMA_NUMBER, .maximum = REQUEST_LOAD_MAX}, 0, "40", "In use there."},
            {"queue_depth", {.kind = SCHEMA_WHOLE, .maximum = REQUEST_COUNT_MAX}, 0, "0", "Requests that wait at it."},
            {.name = NULL},
        },
    .is_request = true,
};

static const struct schema known_coordinator = {
    .name = "KnownCoordinator",
    .help = "A coordinator that workers can turn to.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Which one."},
            {"url", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Where it is."},
            {"location", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Where it stands."},
            {.name = NULL},
        },
};
static const struct schema_value known_coordinator_value = {OBJECT(known_coordinator)};

const struct schema schema_edge_heartbeat_reply = {
    .name = "EdgeHeartbeatReply",
    .help = "It was heard.",
    .fields =
        (const struct schema_field[]){
            {"status", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "ok."},
            {"coordinators",
             {LIST_OF(known_coordinator_value)},
             SCHEMA_REQUIRED,
             NULL,
             "The others, the closest first: where its workers can go when it dies."},
            {.name = NULL},
        },
};

/* --- GET /api/edge/coordinators --- */

const struct schema schema_edge_coordinators = {
    .name = "EdgeCoordinators",
    .help = "Whom a worker can register with by itself, without the edge router.",
    .fields =
        (const struct schema_field[]){
            {"coordinators", {LIST_OF(known_coordinator_value)}, SCHEMA_REQUIRED, NULL, "The closest first."},
            {.name = NULL},
        },
};

/* --- GET /api/edge/challenge --- */

const struct schema schema_challenge_reply = {
    .name = "Proof",
    .help = "That who answers here has registered there.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Who answers."},
            {"proof",
             {.kind = SCHEMA_TEXT},
             SCHEMA_REQUIRED,
             NULL,
             "HMAC-SHA256 of the nonce, in hexadecimal, with the proof_key of the registration; empty: it joins "
             "nobody."},
            {.name = NULL},
        },
};

/* --- POST /api/edge/peers --- */

static const struct schema heard_coordinator = {
    .name = "HeardCoordinator",
    .help = "A coordinator that the other edge router has heard itself; one that has gone needs no URL.",
    .fields =
        (const struct schema_field[]){
            {"worker_id",
             {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
             SCHEMA_REQUIRED,
             "\"us-1\"",
             "Who it is."},
            COORDINATOR_FIELDS,
            {"age_ms",
             {.kind = SCHEMA_WHOLE, .maximum = REQUEST_AGE_MS_MAX},
             SCHEMA_REQUIRED,
             "1200",
             "How long ago it was heard, or said goodbye."},
            {"gone", {.kind = SCHEMA_BOOL}, 0, "false", "It has said goodbye."},
            {.name = NULL},
        },
    .is_request = true,
};
static const struct schema_value heard_coordinator_value = {OBJECT(heard_coordinator)};

const struct schema schema_edge_news = {
    .name = "EdgeNews",
    .help = "What one edge router tells another.",
    .fields =
        (const struct schema_field[]){
            {"from",
             {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
             SCHEMA_REQUIRED,
             "\"edge-2\"",
             "Which edge router."},
            {"coordinators",
             {.kind = SCHEMA_LIST, .maximum = REQUEST_ITEMS_MAX, .items = &heard_coordinator_value},
             SCHEMA_REQUIRED,
             NULL,
             "Those that it has heard itself."},
            {.name = NULL},
        },
    .is_request = true,
};

const struct schema schema_edge_news_reply = {
    .name = "EdgeNewsReply",
    .help = "It was taken.",
    .fields =
        (const struct schema_field[]){
            {"status", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "ok."},
            {"taken", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "How many of them were news."},
            {.name = NULL},
        },
};

/* --- GET /api/admin/coordinators --- */

static const char *const statuses[] = {"online", "degraded", "draining", "offline", "reconnecting", "unknown", NULL};

static const struct schema coordinator_record = {
    .name = "Coordinator",
    .help = "A coordinator behind an edge router.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Which one."},
            {"tunnel_url", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Where it is."},
            {"location", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Where it stands."},
            {"registered_at", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "Milliseconds since the epoch."},
            {"last_seen", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "Milliseconds since the epoch."},
            {"status", {.kind = SCHEMA_TEXT, .words = statuses}, SCHEMA_REQUIRED, NULL, "How it is."},
            {"in_pool", {.kind = SCHEMA_BOOL}, SCHEMA_REQUIRED, NULL, "Whether requests are sent to it."},
            {"problem", {.kind = SCHEMA_TEXT}, 0, NULL, "Why its workers could not be read lately."},
            {"as_of",
             {.kind = SCHEMA_WHOLE},
             SCHEMA_REQUIRED | SCHEMA_NULLABLE,
             NULL,
             "When its workers were read last, in milliseconds since the epoch; null: never."},
            {"workers", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "How many it holds."},
            {"services", {.kind = SCHEMA_MAP, .items = &count_value}, 0, NULL, "Healthy workers for each service."},
            {"load", {.kind = SCHEMA_NUMBER}, SCHEMA_REQUIRED, NULL, "As it said last."},
            {"cpu_percent", {.kind = SCHEMA_NUMBER}, SCHEMA_REQUIRED, NULL, "As it said last."},
            {"memory_percent", {.kind = SCHEMA_NUMBER}, SCHEMA_REQUIRED, NULL, "As it said last."},
            {"queue_depth", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "As it said last."},
            {"latency_ms",
             {.kind = SCHEMA_NUMBER},
             SCHEMA_REQUIRED | SCHEMA_NULLABLE,
             NULL,
             "As this edge router measures it; null: not yet."},
            {"capabilities", {.kind = SCHEMA_FREE_OBJECT}, SCHEMA_REQUIRED, NULL, "As registered."},
            {"incarnation", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "Of its registration."},
            {.name = NULL},
        },
};
static const struct schema_value coordinator_record_value = {OBJECT(coordinator_record)};
static const struct schema_value coordinator_list_value = {LIST_OF(coordinator_record_value)};

const struct schema schema_coordinator_list = {
    .name = "CoordinatorList",
    .help = "All coordinators on the roll of this edge router.",
    .value = &coordinator_list_value,
};

/* --- What lists have more of at an edge router --- */

static const char *const region_statuses[] = {"online",       "degraded",    "draining", "offline",
                                              "reconnecting", "unreachable", "unknown",  NULL};

static const struct schema region = {
    .name = "Region",
    .help = "A coordinator whose workers a list shows, at an edge router.",
    .fields =
        (const struct schema_field[]){
            {"coordinator", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Which one."},
            {"url", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Where it is."},
            {"location", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Where it stands."},
            {"status",
             {.kind = SCHEMA_TEXT, .words = region_statuses},
             SCHEMA_REQUIRED,
             NULL,
             "How it is; unreachable: what is shown of it is what was last known."},
            {"as_of", {.kind = SCHEMA_TIME}, SCHEMA_REQUIRED | SCHEMA_NULLABLE, NULL, "When it was read; null: never."},
            {"workers", {.kind = SCHEMA_WHOLE}, SCHEMA_REQUIRED, NULL, "How many workers it holds."},
            {"problem", {.kind = SCHEMA_TEXT}, 0, NULL, "Why it could not be read."},
            {.name = NULL},
        },
};

const struct schema_value schema_region_value = {OBJECT(region)};

/* --- What a registration is answered at a coordinator that has joined --- */

const struct schema schema_holding_coordinator = {
    .name = "HoldingCoordinator",
    .help = "The coordinator that took a worker.",
    .fields =
        (const struct schema_field[]){
            {"id", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Which one."},
            {"url", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, NULL, "Where heartbeats go from now on."},
            {.name = NULL},
        },
};
