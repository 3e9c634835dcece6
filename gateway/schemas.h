/* The bodies of the REST contract, as schemas (schema.h): one for each name that a route of
 * api.c mentions, and those inside them. Those of the edge federation are in edge_schemas.c.
 *
 * To add one: declare it here, describe it in schemas.c (requests and what is in them),
 * reply_schemas.c or reply_schemas_discovery.c. Every field has a help text; every field of a request has an example, and a
 * body with all the examples must be one that the operation takes. That is all: the check of
 * requests, the OpenAPI document and the test that drives every operation follow. */

#pragma once

#include "gateway/schema.h"

/* Limits of what strangers may send, in bytes and items. */
#define REQUEST_WORKER_ID_BYTES_MAX 256
#define REQUEST_URL_BYTES_MAX 760 /* what a struct http_origin holds */
#define REQUEST_TEXT_BYTES_MAX 1024
#define REQUEST_LINE_BYTES_MAX 256    /* of what is kept on the roll, as are the next two: services/registry/spec.h */
#define REQUEST_SERVICE_BYTES_MAX 128 /* a service's name; also what it says that it can do */
#define REQUEST_SERVICE_CAPABILITIES_MAX 100
#define REQUEST_CAPABILITIES_BYTES_MAX (1024 * 1024)
#define REQUEST_SERVICES_MAX 1000
#define REQUEST_ITEMS_MAX 1000 /* of the lists in a heartbeat */
#define REQUEST_COUNT_MAX UINT32_MAX
#define REQUEST_INCARNATION_MAX (1ULL << 53)   /* of a worker of a backup: what JSON keeps exactly */
#define REQUEST_HEARTBEAT_BYTES_MAX (60 * 1024) /* packed it is less than the 64 KiB that health takes of one */
#define REQUEST_IMPORTED_BYTES_MAX (4 * 1024 * 1024) /* of one worker of a backup */
#define REQUEST_SQL_BYTES_MAX 65536
#define REQUEST_QUERY_ROWS_MAX 10000
#define REQUEST_QUERY_TIMEOUT_MS_MAX 30000
#define REQUEST_LOAD_MAX 1000000000
#define REQUEST_DHT_MESSAGE_BYTES_MAX 12288 /* as bytes; the text is a third longer */
#define REQUEST_EDGE_CAPABILITIES_BYTES_MAX 65536
#define REQUEST_PROOF_KEY_BYTES_MAX 128
#define REQUEST_AGE_MS_MAX (1000ULL * 86400 * 365)

extern const struct schema schema_capabilities;
extern const struct schema schema_announced_service;

/* Requests. */
extern const struct schema schema_registration;
extern const struct schema schema_heartbeat;
extern const struct schema schema_backup;
extern const struct schema schema_query;
extern const struct schema schema_broadcast;
extern const struct schema schema_dht_message;
extern const struct schema schema_edge_registration;
extern const struct schema schema_edge_heartbeat;
extern const struct schema schema_edge_news;

/* Replies. */
extern const struct schema schema_error;
extern const struct schema schema_status_reply;
extern const struct schema schema_registration_reply;
extern const struct schema schema_heartbeat_reply;
extern const struct schema schema_found_worker;
extern const struct schema schema_worker;
extern const struct schema schema_worker_list;
extern const struct schema schema_service_list;
extern const struct schema schema_discovery;
extern const struct schema schema_admin_worker;
extern const struct schema schema_admin_worker_list;
extern const struct schema schema_admin_service_list;
extern const struct schema schema_explanation;
extern const struct schema schema_gaps;
extern const struct schema schema_stats;
extern const struct schema schema_history;
extern const struct schema schema_query_reply;
extern const struct schema schema_broadcast_reply;
extern const struct schema schema_drain_reply;
extern const struct schema schema_import_reply;
extern const struct schema schema_export;
extern const struct schema schema_topology;
extern const struct schema schema_dht_bootstrap;
extern const struct schema schema_dht_topology;
extern const struct schema schema_dht_stats;
extern const struct schema schema_dht_lookup;
extern const struct schema schema_dht_message_reply;
extern const struct schema schema_health;
extern const struct schema schema_openapi;
extern const struct schema schema_edge_registration_reply;
extern const struct schema schema_edge_heartbeat_reply;
extern const struct schema schema_edge_news_reply;
extern const struct schema schema_edge_coordinators;
extern const struct schema schema_challenge_reply;
extern const struct schema schema_coordinator_list;

/* Members that replies have more of: at an edge router, and at a coordinator that has joined one. */
extern const struct schema_value schema_region_value;
extern const struct schema schema_holding_coordinator;

/* What the lists of an edge router have more of. */
#define SCHEMA_REGION_FIELDS                                                                                           \
    {"as_of",                                                                                                          \
     {.kind = SCHEMA_TIME},                                                                                            \
     SCHEMA_NULLABLE,                                                                                                  \
     NULL,                                                                                                             \
     "At an edge router: all that is shown was read at this time or later, but for regions that do not answer."},      \
    {                                                                                                                  \
        "regions", {.kind = SCHEMA_LIST, .items = &schema_region_value}, 0, NULL,                                      \
            "At an edge router: the coordinators that this is of."                                                     \
    }
