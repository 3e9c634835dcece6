/* The services that this coordinator knows how to assign.
 *
 * The default catalog is a table in catalog_default.c; a JSON file replaces it as a whole:
 *
 *     {"services": [{"name": "vision-ocr", "tier": 1, "requires": "gpu", "priority": 1,
 *                    "port": 8104, "aliases": ["ocr"], "path": "/api/{type}",
 *                    "repeatable": true, "pinned_to": ["gpu-1"], "anti_affinity": "location",
 *                    "probe": {"path": "/health", "interval_seconds": 10, "timeout_seconds": 2,
 *                              "failures": 3, "successes": 2}}],
 *      "reserved": {"gpu-2": ["llm-inference"]}}
 *
 * name, requires, priority and port are needed. `tier` is the number of `requires` (gpu 1,
 * cpu 2, storage 3, edge 4); either may be left out, and if both are there they must agree.
 * Reading is strict: an unknown key, a wrong type, a number out of range, a name or alias
 * that is given twice is an error that names the service and the field.
 *
 * A service is `repeatable` when its answer depends on the request alone and nothing else is
 * changed by asking: then a request that failed may be sent to another worker, a POST too.
 *
 * A service with a `probe` (all of whose fields may be left out; these are the defaults) has its workers asked whether
 * it runs there: GET at the worker's own address (its tunnel_url, or the URL that it announced for the service), with
 * the path behind it; any answer of 200 to 399 is a success. See services/router/router.h.
 *
 * A service that is `pinned_to` workers is run by these and, as far as the assigner decides, by no others; each of them
 * runs it in any case. With `anti_affinity` "location" a worker takes the service only after all others that it could
 * take, when one at the same location has it. A worker that is `reserved` (by its id) for services runs all of these,
 * and nothing else. What a worker announces by itself is its own matter. Pins and reservations that contradict each
 * other are an error: a service pinned to a worker that is reserved for others, a worker reserved for a service that is
 * pinned to others, a worker that is to run what no single type of machine can. Which workers there are, and of which
 * type, is not known to the catalog: a worker is never told to run what its type cannot.
 *
 * Ownership: a catalog is read-only once made; texts that it returns live as long as it does.
 * Threading: none of its own. */

#pragma once

#include "muster/v1/assigner.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CATALOG_MAX_SERVICES 1000
#define CATALOG_MAX_FILE_BYTES (4 * 1024 * 1024)
#define CATALOG_ERROR_BYTES 512

struct catalog_probe {
    char *path; /* NULL: the service is not probed */
    uint32_t interval_ms, timeout_ms, failures, successes;
};

struct catalog_service {
    char *name;
    Muster__V1__WorkerType requires; /* its number is the tier */
    uint32_t priority;               /* 1 is the most important */
    uint32_t port;
    char **aliases;
    size_t alias_count;
    char *path; /* "": the default, "/api/{type}" */
    bool repeatable;
    char **pinned_to; /* ids of workers */
    size_t pinned_count;
    bool spread_by_location;
    struct catalog_probe probe;
};

struct catalog;

/* The default catalog. NULL when memory runs out. */
struct catalog *catalog_create_default(void);

/* A catalog from the text of such a file. NULL: `error` says in one line what is wrong. */
struct catalog *catalog_parse(const char *text, size_t bytes, char error[CATALOG_ERROR_BYTES]);

/* The same from a file. The error names the file too. */
struct catalog *catalog_read_file(const char *path, char error[CATALOG_ERROR_BYTES]);

void catalog_destroy(struct catalog *catalog);

/* Services are numbered from 0 in the order of the file. */
size_t catalog_count(const struct catalog *catalog);
const struct catalog_service *catalog_at(const struct catalog *catalog, size_t number);

/* The number of the service of that name or alias, or CATALOG_NONE. */
#define CATALOG_NONE SIZE_MAX
size_t catalog_find(const struct catalog *catalog, const char *name_or_alias);

/* The same for tables of numbers, with CATALOG_NO_SERVICE. */
#define CATALOG_NO_SERVICE UINT32_MAX
static inline uint32_t catalog_number(const struct catalog *catalog, const char *name_or_alias)
{
    size_t number = catalog_find(catalog, name_or_alias);
    return number == CATALOG_NONE ? CATALOG_NO_SERVICE : (uint32_t)number;
}

/* The services that require the type: the most important first, and of the same priority in the order of the file. */
const uint32_t *catalog_of_type(const struct catalog *catalog, Muster__V1__WorkerType type, size_t *count);

/* Whether workers of that type can run the service: those of the type that it requires, and
 * GPU workers also what requires a CPU. */
bool catalog_fits(const struct catalog_service *service, Muster__V1__WorkerType type);

/* Whether a worker may be assigned the service. */
enum catalog_permission {
    CATALOG_ALLOWED,
    CATALOG_PINNED,              /* it is to run it: the service is pinned to it */
    CATALOG_RESERVED,            /* it is to run it: the worker is reserved for it */
    CATALOG_OTHER_TYPE,          /* it needs another type of machine */
    CATALOG_PINNED_ELSEWHERE,    /* the service is pinned to others */
    CATALOG_RESERVED_FOR_OTHERS, /* the worker is reserved for other services */
    CATALOG_NOT_PERMITTED,       /* the key that the worker was registered with does not let it */
};
enum catalog_permission catalog_permission(const struct catalog *catalog, size_t number, Muster__V1__WorkerType type,
                                           const char *worker_id);
/* The same for one whose key lets it run some services only: their names, each with a zero byte, and one more at the
 * end. NULL: any. A key is stronger than a pin. */
enum catalog_permission catalog_permission_within(const struct catalog *catalog, size_t number,
                                                  Muster__V1__WorkerType type, const char *worker_id,
                                                  const char *permitted);
/* Whether the service is pinned to the worker or the worker is reserved for it, whatever its type. */
bool catalog_tells(const struct catalog *catalog, size_t number, const char *worker_id);
/* Tells of each pin and each service of a reservation. */
void catalog_each_rule(const struct catalog *catalog,
                       void (*tell)(const struct catalog_service *service, const char *worker_id, void *argument),
                       void *argument);
static inline bool catalog_permits(enum catalog_permission permission)
{
    return permission <= CATALOG_RESERVED;
}

/* Whether some service is to be spread by location: otherwise nobody needs to count locations. */
bool catalog_spreads(const struct catalog *catalog);

/* Whether some service is pinned or some worker is reserved. */
bool catalog_has_rules(const struct catalog *catalog);

/* The service as a message, which borrows the catalog's texts; `probe` is the place for its probe, if it has one. */
void catalog_service_message(const struct catalog_service *service, Muster__V1__CatalogService *message,
                             Muster__V1__ServiceProbe *probe);

/* The service as a worker is told of it; a message of the catalog's own, only to be read. */
Muster__V1__ServiceConfig *catalog_config(const struct catalog *catalog, size_t number);
