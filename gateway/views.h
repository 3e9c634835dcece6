/* The lists of the REST contract, rendered from the replica.
 *
 * Threading: the replica's thread. Texts are appended to a buffer of the caller's, whose
 * failure is the only error. */

#pragma once

#include "common/buffer.h"
#include "common/json/write.h"
#include "gateway/replica.h"

/* Lists without parameters. */
enum view {
    VIEW_WORKERS,        /* GET /api/coordinator/workers */
    VIEW_SERVICES,       /* GET /api/services/list */
    VIEW_ADMIN_WORKERS,  /* GET /api/admin/workers */
    VIEW_ADMIN_SERVICES, /* GET /api/admin/services */
    VIEW_ADMIN_GAPS,     /* GET /api/admin/gaps */
    VIEW_ADMIN_STATS,    /* GET /api/admin/stats */
    VIEW_TOPOLOGY,       /* GET /api/topology; rendered by topology.h */
    VIEW_INDEX,          /* GET /; a page, rendered by index_page.h */
    VIEW_COUNT,
};

/* How long a rendered list is good while nothing changes: those that show ages grow old, as
 * does a list's `timestamp`. 0: for ever. */
uint32_t view_lifetime_ms(enum view view);

/* A coordinator whose workers an edge router shows. */
struct view_region {
    const char *coordinator, *url, *location;
    const char *status;  /* a word: "online", "unreachable" */
    const char *problem; /* "": none */
    int64_t as_of_ms;    /* 0: it was never read */
    size_t workers;
    bool answers; /* what is shown of it is new */
};

struct view_regions {
    const struct view_region *list;
    size_t count;
};

/* `regions`: at an edge router; NULL: these are this coordinator's own workers. now_ms: monotonic, as the
 * replica is told it; now_unix_ms: the date at that moment. */
void view_render(enum view view, struct replica *replica, const struct view_regions *regions, uint64_t now_ms,
                 int64_t now_unix_ms, struct buffer *out);

/* Writes the members `as_of` and `regions`; nothing for NULL. */
void view_write_regions(struct json_writer *writer, const struct view_regions *regions);

/* The lists of workers in parts, for rolls that are too long to be rendered at once: VIEW_WORKERS and
 * VIEW_ADMIN_WORKERS. The writer is the same one all the while. */
struct view_moment {
    uint64_t now_ms; /* as above */
    int64_t now_unix_ms;
};

/* What was listed until now. */
struct view_listed {
    size_t count, healthy;
};

void view_list_begin(struct json_writer *writer);
void view_list_worker(enum view view, const struct replica *replica, struct replica_worker *worker,
                      struct view_moment moment, struct view_listed *listed, struct json_writer *writer);
void view_list_end(enum view view, const struct replica *replica, const struct view_listed *listed,
                   const struct view_regions *regions, int64_t now_unix_ms, struct json_writer *writer);

/* GET /api/services/discover/{service}. Returns how many workers it lists; with 0 nothing was
 * written. */
size_t view_render_discovery(struct replica *replica, const char *name, size_t name_bytes,
                             const struct view_regions *regions, struct buffer *out);

/* The items of its list, into an array that was begun. With a coordinator's id each says whose
 * it is (NULL: it does not). *recommended is set to the first one's id if it is NULL. */
size_t view_write_discovered(struct replica *replica, const struct replica_service *service, struct json_writer *writer,
                             const char *coordinator_id, const char **recommended);

/* The healthy worker of a service with the lowest load, or NULL. */
struct replica_worker *view_best_worker(const struct replica_service *service);

struct view_counts {
    size_t total, healthy;
    size_t services; /* with at least one healthy worker */
    size_t by_type[REPLICA_TYPES];
};

void view_count(const struct replica *replica, struct view_counts *counts);
