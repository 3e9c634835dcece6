/* Replies of discovery: a service's workers, and what the coordinators' hash table says; see schemas.h. */

#include "gateway/schemas.h"

#define REQUIRED SCHEMA_REQUIRED

/* Members that a list of objects, and the objects, are made of. */
#define LIST_OF(value) .kind = SCHEMA_LIST, .items = &(value)
#define OBJECT(schema) .kind = SCHEMA_OBJECT, .of = &(schema)

static const struct schema_value text_value = {.kind = SCHEMA_TEXT};
static const char *const worker_types[] = {"gpu", "cpu", "storage", "edge", "auto", "unknown", NULL};

/* --- The coordinators' hash table --- */

#define DHT_NODE_FIELDS                                                                                                \
    {"id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "160 bits, as hexadecimal text."},                                   \
        {"url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Of its coordinator's gateway; empty: it has none."},           \
    {                                                                                                                  \
        "grpc_address", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it answers gRPC; empty: nowhere."                \
    }

static const struct schema dht_node = {
    .name = "DhtNode",
    .help = "A node of the hash table.",
    .fields = (const struct schema_field[]){DHT_NODE_FIELDS, {.name = NULL}},
};
static const struct schema_value dht_node_value = {OBJECT(dht_node)};

static const struct schema dht_own_node = {
    .name = "DhtOwnNode",
    .help = "This coordinator's node of the hash table.",
    .fields =
        (const struct schema_field[]){
            DHT_NODE_FIELDS,
            {"joined", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "Whether it has found its place among others."},
            {.name = NULL},
        },
};

static const struct schema dht_known_node = {
    .name = "DhtKnownNode",
    .help = "A node of the routing table.",
    .fields =
        (const struct schema_field[]){
            DHT_NODE_FIELDS,
            {"shared_bits",
             {.kind = SCHEMA_WHOLE},
             REQUIRED,
             NULL,
             "How many bits of its id are this node's, too: the number of its bucket."},
            {"last_heard", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When it was last heard."},
            {"failures", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Calls in a row that it did not answer."},
            {.name = NULL},
        },
};
static const struct schema_value dht_known_node_value = {OBJECT(dht_known_node)};

const struct schema schema_dht_bootstrap = {
    .name = "DhtBootstrap",
    .help = "Nodes of the hash table.",
    .fields =
        (const struct schema_field[]){
            {"nodes", {LIST_OF(dht_node_value)}, REQUIRED, NULL, "This one first, then some that it knows."},
            {"count", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            {"timestamp", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When this list was made."},
            {.name = NULL},
        },
};

const struct schema schema_dht_topology = {
    .name = "DhtTopology",
    .help = "The routing table of this coordinator's node.",
    .fields =
        (const struct schema_field[]){
            {"node", {OBJECT(dht_own_node)}, REQUIRED, NULL, "Itself."},
            {"nodes", {LIST_OF(dht_known_node_value)}, REQUIRED, NULL, "Whom it knows, the farthest first."},
            {"count", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            {"timestamp", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When this was so."},
            {.name = NULL},
        },
};

static const struct schema dht_requests = {
    .name = "DhtRequests",
    .help = "Requests of others, by kind.",
    .fields =
        (const struct schema_field[]){
            {"ping", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Are you there?"},
            {"find_node", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Whom do you know near this id?"},
            {"find_value", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "What do you keep under this key?"},
            {"store", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Keep these."},
            {.name = NULL},
        },
};

const struct schema schema_dht_stats = {
    .name = "DhtStats",
    .help = "What this coordinator's node of the hash table does and keeps.",
    .fields =
        (const struct schema_field[]){
            {"node_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "160 bits, as hexadecimal text."},
            {"joined", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "Whether it has found its place among others."},
            {"nodes", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Whom it knows."},
            {"requests", {OBJECT(dht_requests)}, REQUIRED, NULL, "That it has answered."},
            {"calls", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Requests that it has sent."},
            {"unanswered", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many of them were not answered."},
            {"lies", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Forged answers, contacts and values that it got."},
            {"lookups", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "That have ended."},
            {"mean_hops", {.kind = SCHEMA_NUMBER}, REQUIRED, NULL, "Steps to the nearest node, on average."},
            {"keys", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "That it keeps values of."},
            {"values", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "That it keeps."},
            {"value_bytes", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Their length."},
            {"values_refused", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Since it keeps as many as it may."},
            {"published", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Keys that this coordinator publishes under."},
            {"published_waiting", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Those that no other node has yet."},
            {"not_published", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Those left out: there are too many."},
            {"seeds", {LIST_OF(text_value)}, REQUIRED, NULL, "Where it asks for other nodes."},
            {"timestamp", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When this was so."},
            {.name = NULL},
        },
};

#define DHT_COORDINATOR_FIELDS                                                                                         \
    {"node_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Its node."},                                                   \
        {"is_own", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "Whether it is the one that answers."},                      \
        {"coordinator_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "What it is called."},                               \
        {"coordinator_url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it is reached."},                            \
        {"location", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Its place."},                                             \
        {"worker_count",                                                                                               \
         {.kind = SCHEMA_WHOLE},                                                                                       \
         REQUIRED,                                                                                                     \
         NULL,                                                                                                         \
         "Healthy workers of the service; not all are named."},                                                        \
        {"as_of", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When it said so, by its own clock."},                        \
    {                                                                                                                  \
        "expires_at", {.kind = SCHEMA_TIME}, REQUIRED, NULL, "When that is no longer true unless it is said again."    \
    }

static const struct schema dht_coordinator = {
    .name = "DhtCoordinator",
    .help = "A coordinator that has published something.",
    .fields = (const struct schema_field[]){DHT_COORDINATOR_FIELDS, {.name = NULL}},
};
static const struct schema_value dht_coordinator_value = {OBJECT(dht_coordinator)};

static const struct schema dht_worker = {
    .name = "DhtWorker",
    .help = "A worker, as its coordinator has published it.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Who."},
            {"tunnel_url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it serves."},
            {"worker_type", {.kind = SCHEMA_TEXT, .words = worker_types}, REQUIRED, NULL, "What kind of machine."},
            {"tier", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "The same as a number."},
            {"location", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Its place."},
            {"services", {LIST_OF(text_value)}, REQUIRED, NULL, "Under service:{worker_id}: what it serves."},
            {"capabilities", {.kind = SCHEMA_FREE_OBJECT}, REQUIRED, NULL, "Likewise: what it can do."},
            {.name = NULL},
        },
};
static const struct schema_value dht_worker_value = {OBJECT(dht_worker)};

static const struct schema dht_found_value = {
    .name = "DhtFound",
    .help = "What one coordinator has published under a key.",
    .fields =
        (const struct schema_field[]){
            DHT_COORDINATOR_FIELDS,
            {"workers", {LIST_OF(dht_worker_value)}, REQUIRED, NULL, "Those that it names."},
            {.name = NULL},
        },
};
static const struct schema_value dht_found_value_value = {OBJECT(dht_found_value)};

const struct schema schema_dht_lookup = {
    .name = "DhtLookup",
    .help = "The values of a key, one of each coordinator that has published one.",
    .fields =
        (const struct schema_field[]){
            {"key", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "As asked for."},
            {"values", {LIST_OF(dht_found_value_value)}, REQUIRED, NULL, "In no order."},
            {"count", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            {"asked", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many nodes were asked."},
            {"failed", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many of them did not answer."},
            {"unanswered", {LIST_OF(dht_node_value)}, REQUIRED, NULL, "Which: what only they know is missing."},
            {"complete", {.kind = SCHEMA_BOOL}, REQUIRED, NULL, "Whether the look-up came to its end in time."},
            {"hops", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "Steps to the nearest node that answered."},
            {.name = NULL},
        },
};

const struct schema schema_dht_message_reply = {
    .name = "DhtMessageReply",
    .help = "What the node answers.",
    .fields =
        (const struct schema_field[]){
            {"message",
             {.kind = SCHEMA_TEXT},
             REQUIRED,
             NULL,
             "An ExchangeResponse of muster.v1 as protobuf, in base64url without padding."},
            {.name = NULL},
        },
};

/* --- Discovery --- */

static const struct schema discovered_worker = {
    .name = "DiscoveredWorker",
    .help = "A healthy worker of a service.",
    .fields =
        (const struct schema_field[]){
            {"worker_id", {.kind = SCHEMA_TEXT}, REQUIRED, "\"gpu-1\"", "Who."},
            {"tunnel_url", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "Where it serves it."},
            {"capabilities", {.kind = SCHEMA_FREE_OBJECT}, REQUIRED, NULL, "As it registered them."},
            {"load",
             {.kind = SCHEMA_NUMBER},
             REQUIRED | SCHEMA_NULLABLE,
             NULL,
             "0 idle, 1 as much as it can take; null: another coordinator knows."},
            {"last_heartbeat", {.kind = SCHEMA_TIME}, REQUIRED | SCHEMA_NULLABLE, NULL, "When it was last heard."},
            {"node_id",
             {.kind = SCHEMA_TEXT},
             0,
             NULL,
             "The node that has published it, if it is another coordinator's: the only part of this that is proven."},
            {"coordinator_id",
             {.kind = SCHEMA_TEXT},
             0,
             NULL,
             "With scope=all, and at an edge router: whose worker it is."},
            {"coordinator_url", {.kind = SCHEMA_TEXT}, 0, NULL, "Where that coordinator is, if it is another one."},
            {"location", {.kind = SCHEMA_TEXT}, 0, NULL, "The place of that coordinator."},
            {"as_of", {.kind = SCHEMA_TIME}, 0, NULL, "When that coordinator said so."},
            {.name = NULL},
        },
};
static const struct schema_value discovered_worker_value = {OBJECT(discovered_worker)};

const struct schema schema_discovery = {
    .name = "Discovery",
    .help = "The healthy workers of a service.",
    .fields =
        (const struct schema_field[]){
            {"service", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The service's name in the catalog."},
            {"workers", {LIST_OF(discovered_worker_value)}, REQUIRED, NULL, "The least loaded first."},
            {"count", {.kind = SCHEMA_WHOLE}, REQUIRED, NULL, "How many these are."},
            {"recommended", {.kind = SCHEMA_TEXT}, REQUIRED, NULL, "The worker to take."},
            {"scope", {.kind = SCHEMA_TEXT}, 0, NULL, "all, if that was asked for; what follows comes with it."},
            {"coordinators", {LIST_OF(dht_coordinator_value)}, 0, NULL, "Those that offer the service."},
            {"asked", {.kind = SCHEMA_WHOLE}, 0, NULL, "How many nodes of the hash table were asked."},
            {"failed", {.kind = SCHEMA_WHOLE}, 0, NULL, "How many of them did not answer."},
            {"unanswered", {LIST_OF(dht_node_value)}, 0, NULL, "Which these are: what only they know is missing."},
            {"complete", {.kind = SCHEMA_BOOL}, 0, NULL, "Whether the look-up came to its end in time."},
            {"hops", {.kind = SCHEMA_WHOLE}, 0, NULL, "Steps to the nearest node that answered."},
            {"problem", {.kind = SCHEMA_TEXT}, 0, NULL, "Why the hash table was not asked, or did not answer."},
            SCHEMA_REGION_FIELDS,
            {.name = NULL},
        },
};
