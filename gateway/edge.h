/* The edge router: the part of the backend that a gateway with --role edge-router has on top.
 *
 * The roll of its registry holds coordinators, as workers of type edge; health hears their
 * heartbeats. What is soft about them, and the workers of all of them together, is in federation.h;
 * from there the lists are rendered. Requests are forwarded by the fronts (front_forward.c), which
 * ask here to whom.
 *
 *     backend_edge.c           life; heartbeats, goodbyes and the list of coordinators
 *     backend_edge_register.c  registration, with the proof that the URL is the registrant's
 *     backend_edge_regions.c   reads the coordinators' lists of workers; jobs that wait for it
 *     backend_edge_choose.c    whom a request goes to, and what became of it
 *     backend_edge_places.c    where they are, and who asks
 *     backend_edge_peers.c     what edge routers side by side tell each other
 *
 * Threading: the rpc loop's thread, as the rest of the backend; edge_attempt_ended is what fronts
 * post to it. */

#pragma once

#include "common/http_calls.h"
#include "gateway/backend.h"
#include "gateway/federation/federation.h"
#include "gateway/geoip.h"

struct edge_peers;

struct edge {
    struct backend *backend;
    struct replica roll; /* the coordinators */
    struct federation federation;
    struct http_calls *calls; /* NULL: it stops */
    struct timer tick;
    struct timer places_timer;

    /* Jobs that wait until all regions that answer have been read anew; linked by job->next. */
    struct job *waiting, **waiting_end;
    struct timer waiting_limit;
    uint64_t read_all_at_ms; /* when they last had been; monotonic */
    uint64_t shown_changes;  /* of gateway->forwarded_changes, those that what was read last shows */

    struct view_region *view_list; /* as edge_regions made it last */
    struct edge_peers *peers;      /* NULL: there are none */
};

/* False: memory, or threads, ran out. */
bool edge_start(struct backend *backend);
void edge_stop(struct backend *backend); /* ends what is under way */
void edge_free(struct backend *backend);

/* The roll, or how somebody on it is, has changed. */
void edge_roll_changed(struct backend *backend);

/* Requests that wait for that coordinator go elsewhere, if they may. */
void edge_tell_fronts_gone(struct backend *backend, const char *coordinator_id);

/* For views: valid until the next call here. False: memory ran out. */
bool edge_regions(struct backend *backend, struct view_regions *regions);

/* How many coordinators requests can be forwarded to. */
size_t edge_pool_size(const struct backend *backend);

/* A heartbeat was taken by health; true: it was a coordinator's, and has been answered here. */
bool edge_heartbeat_taken(struct backend *backend, struct job *job);

/* --- Jobs --- */

void backend_run_edge_register(struct backend *backend, struct job *job);
void backend_run_edge_heartbeat(struct backend *backend, struct job *job);
void backend_run_edge_unregister(struct backend *backend, struct job *job);
void backend_run_coordinators(struct backend *backend, struct job *job);

/* Whom a registration from there would go to, for who has to know before it registers: a worker whose link the edge
 * router does not keep (the one for Cloudflare keeps none). */
void backend_run_edge_coordinators(struct backend *backend, struct job *job);

/* To whom a request goes: job->choices; or, if it is not for forwarding, the answer. `name` is the
 * worker's id or the service's name that it is about; NULL: none. */
void backend_run_choose(struct backend *backend, struct job *job);

/* Whether such a request changes a coordinator's roll. */
bool edge_changes_roll(enum api_operation operation);

/* What became of a forwarded request. From malloc; all texts behind it. */
struct edge_attempt {
    struct backend *backend;
    enum api_operation operation;
    bool failed; /* the coordinator could not be reached, or broke off */
    bool answered;
    bool changed; /* its roll: told before the client is answered, apart from the rest */
    const char *coordinator_id;
    const char *name; /* as in the job; NULL: none */
};
void edge_attempt_ended(void *message);

/* --- Between these files --- */

/* Registers a coordinator for the job, which is answered; proof_key NULL: none was announced. */
void edge_register(struct backend *backend, struct job *job, Muster__V1__WorkerSpec *spec, const char *proof_key);

/* Reads who a coordinator is from an object that its schema has let through, into the job's arena. False: memory
 * ran out. */
bool edge_read_spec(struct job *job, const struct json_node *object, Muster__V1__WorkerSpec *spec);

/* Reads the region anew, now or right after what is under way. */
void edge_read_region(struct backend *backend, struct federation_region *region);

/* Has the job run again (job->run) when all regions that answer have been read. */
void edge_wait_for_regions(struct backend *backend, struct job *job);

/* Whether a list would not show what a client has just changed through here: the job then waits
 * as well, and runs again. */
bool edge_view_waits(struct backend *backend, struct job *job);

/* backend_edge_places.c. What the wish then points to lies in `answer`. */
void edge_place_worker(const struct backend *backend, const struct job *job, struct geoip_answer *answer,
                       struct pool_wish *wish);
void edge_place_coordinator(const struct backend *backend, const struct job *job, struct federation_region *region);
void edge_places_read(struct backend *backend); /* the database, whether it has changed or not */
void edge_places_start(struct backend *backend);
void edge_places_stop(struct backend *backend);

void edge_regions_start(struct backend *backend);
void edge_regions_stop(struct backend *backend);
