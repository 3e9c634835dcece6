/* The JSON of POST /api/worker/register: what a worker says, and what it is answered.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "services/worker/detect.h"
#include "services/worker/heartbeat.h"

struct registration {
    const char *worker_id;
    const char *tunnel_url;
    const char *worker_type; /* "auto", "gpu", "cpu", "storage" or "edge" */
    const char *location;
    const struct detect_machine_figures *machine;
    const struct detect_coordinator *coordinator;
    const char *const *services; /* names announced, each at tunnel_url/service/NAME */
    size_t service_count;
};

/* Bytes of a token, with the zero byte. */
#define REGISTRATION_TOKEN_BYTES 512

/* Other coordinators that are read from an answer; more are passed over. */
#define REGISTRATION_FALLBACKS_MAX 64

/* Whether a worker may be called so: 1 to 256 printable ASCII characters without spaces,
 * quotes and backslashes, so that the id can stand in a header, a path and a JSON text as
 * it is. */
bool registration_id_acceptable(const char *worker_id);

/* Appends an id as one segment of a path, percent-encoded where it has to be. */
void registration_append_id(struct buffer *path, const char *worker_id);

/* Appends the body; false: memory runs out or a text is not UTF-8. */
bool registration_encode(const struct registration *registration, struct buffer *out);

/* What is to be known of a service, assigned or not. */
struct registration_service {
    const char *name;
    const char *const *aliases; /* alias_count of them */
    size_t alias_count;
};

struct registration_reply {
    void *document; /* holds the texts below */
    const char *worker_id;
    const char *worker_type; /* as decided; "" when not said */
    uint64_t incarnation;
    uint64_t interval_ms; /* 0: not said */
    const char *stream;   /* HOST:PORT; NULL: none */
    const char *token;    /* to speak with from now on; "": none, or none that could be sent */
    struct heartbeat_names assigned;
    struct registration_service *services;
    size_t service_count;
    const char *coordinator_url; /* who took it; NULL: not said. Not checked, as the next: see coordinators.h */
    const char *fallbacks[REGISTRATION_FALLBACKS_MAX];
    size_t fallback_count;
};

/* Reads the answer; false, with a sentence in `error`, when it is not one. On success end
 * with registration_reply_free. */
bool registration_decode(const char *body, size_t bytes, struct registration_reply *reply, char *error,
                         size_t error_bytes);
void registration_reply_free(struct registration_reply *reply);

/* The answer to GET /api/edge/coordinators: whom an edge router would send this worker to. */
struct registration_places {
    void *document;                               /* holds the texts below */
    const char *urls[REGISTRATION_FALLBACKS_MAX]; /* not checked: see coordinators.h */
    size_t count;
};

/* False: it is no such answer. On success end with registration_places_free. */
bool registration_decode_places(const char *body, size_t bytes, struct registration_places *places);
void registration_places_free(struct registration_places *places);

/* The answer to an HTTP heartbeat. */
struct heartbeat_reply {
    bool has_assignment, has_draining;
    struct heartbeat_names assigned; /* if it has one */
    bool draining;                   /* the same: whether an operator drains the worker */
};

/* Reads it. False: malformed. */
bool registration_decode_heartbeat(const char *body, size_t bytes, struct heartbeat_reply *reply);

/* The "message" of an error's body, or the beginning of the body itself: for logs. */
void registration_error_text(const char *body, size_t bytes, char *text, size_t text_bytes);
