/* A request on its way from a front to the backend and back.
 *
 * A front makes a job when it has to ask the backend, fills in what was asked, and submits
 * it (front_submit). The backend runs it (job->run) on its thread: it fills in the answer, at
 * once or when others have answered, and hands it back with job_done, exactly once. The front
 * then sends the answer, or calls job->arrived, if that is set, to go on by itself.
 *
 * Ownership: the front's, which frees a job when its exchange is over; while it is submitted
 * nobody but the backend touches it. Threading: whoever has it. */

#pragma once

#include "common/arena.h"
#include "common/auth/identity.h"
#include "common/buffer.h"
#include "common/http/server.h"
#include "gateway/api.h"
#include "gateway/error.h"
#include "gateway/views.h"
#include "muster/v1/health.pb-c.h"
#include "muster/v1/registry.pb-c.h"

struct backend;
struct front;
struct rendered;

/* Where a service can be had: what the backend found in the replica. */
struct job_location {
    char *service, *path; /* its name and its path on the worker, "" if it has none of its own */
    char *worker_id, *url;
};

/* Who asks: somebody with a key, or a worker with its own token. */
struct job_caller {
    struct auth_identity *identity; /* a reference; NULL: */
    uint64_t own_incarnation;       /* the worker's registration */
    char own_worker_id[];
};

/* Whom a request is to be forwarded to, at an edge router: the one to try first first. */
struct job_choices {
    bool repeatable; /* the catalog calls the service so */
    size_t count;
    struct job_choice {
        char *coordinator_id, *url;
    } list[4];
};

struct job {
    struct loop_task back; /* first: how it comes back */
    struct job *next;      /* in a batch on the way out, or in a queue of the backend's */
    struct front *front;
    struct http_exchange *exchange; /* the front's: the backend does not touch it */
    const struct api_route *route;
    void (*run)(struct backend *backend, struct job *job);
    void (*arrived)(struct job *job); /* NULL: send the answer */
    void *context;                    /* for arrived */

    /* What was asked. All that is pointed to lies in the arena. */
    union {
        struct { /* the two bodies that are read by hand */
            Muster__V1__RegisterWorkerRequest *registration;
            Muster__V1__Heartbeat *heartbeat;
            int64_t received_at_ms;
        };
        struct {                                  /* all other operations */
            const struct json_document *document; /* the body, checked against the route's schema; NULL: none */
            struct http_text query;               /* checked as well */
        };
    };
    char *name; /* a worker's id or a service's name, decoded */
    enum view view;
    bool client_is_local;
    bool has_document;  /* that is to be freed */
    bool is_long;       /* the answer's: the list is to be had in pieces, and of the topology this is the first */
    bool is_worker : 1; /* a registration says so: it is no coordinator's, whatever its type */
    bool waited : 1;    /* at an edge router, for its regions to be read */
    bool looked_elsewhere : 1; /* at an edge proxy: a coordinator was asked for the service */

    const struct job_caller *caller; /* who asks, where there are keys; NULL: everybody may */

    /* What health said to a heartbeat. */
    Muster__V1__WorkerCommandType refusal; /* UNSPECIFIED: it was taken */
    bool has_assignment, has_draining;
    bool draining; /* what the worker is told, if it has to be */
    char **assigned_services;
    size_t assigned_service_count;

    /* The answer. */
    unsigned status;
    unsigned retry_after_seconds;
    const char *content_type;  /* NULL: JSON */
    const char *constant_body; /* instead of body */
    struct buffer body;
    struct rendered *rendered; /* a list, instead of a body; a reference */
    union {
        struct job_location *location;
        struct job_choices *choices;
    };
    union {
        uint64_t event_revision;    /* of a subscription: everything after it will be told */
        const char *client_address; /* of what edge routers with a database of places are asked; NULL: not known */
    };

    struct arena arena;
    /* Enough for a heartbeat, and no more than what malloc keeps at hand for each thread: see front_job. */
    max_align_t first_block[24];
};

/* --- For the backend --- */

/* Hands the job back. */
void job_done(struct job *job);

/* The same with an error for an answer. */
__attribute__((format(printf, 3, 4))) void job_fail(struct job *job, enum error_id error, const char *format, ...);

/* The same with 200 and the job's body, if it could be built. */
void job_done_with_body(struct job *job);
