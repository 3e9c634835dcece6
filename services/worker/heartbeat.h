/* A heartbeat, in the two forms in which it travels: a protobuf message on the stream, a
 * JSON object in a POST. And what comes back on the stream.
 *
 * The struct borrows every text in it; encoders copy. Answers are decoded by callback,
 * with bounds on everything that a peer decides: a text that is too long is cut off, names
 * after the HEARTBEAT_SERVICES_LIMIT-th are an error.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

#define HEARTBEAT_ID_BYTES 257   /* longest worker id, and its zero byte */
#define HEARTBEAT_NAME_BYTES 128 /* longest service name, and its zero byte */
#define HEARTBEAT_REASON_BYTES 256
#define HEARTBEAT_SERVICES_LIMIT 64 /* assigned to one worker */

enum heartbeat_status { HEARTBEAT_ONLINE, HEARTBEAT_DEGRADED, HEARTBEAT_DRAINING };

/* "running", "starting", … of one service. */
struct heartbeat_service {
    const char *name;
    const char *state;
};

struct heartbeat {
    const char *worker_id;
    uint64_t incarnation; /* 0: unknown */
    enum heartbeat_status status;
    bool answer_missed;           /* to a heartbeat before this one */
    double current_load;          /* 0 to 1 */
    const char *available_memory; /* "24.5GB" */
    double gpu_utilization;       /* 0 to 100 */
    uint32_t active_requests;
    uint32_t queue_depth;
    uint64_t tasks_completed;
    const struct heartbeat_service *services;
    size_t service_count;
};

/* A list of names with no pointers in it. */
struct heartbeat_names {
    size_t count;
    char names[HEARTBEAT_SERVICES_LIMIT][HEARTBEAT_NAME_BYTES];
};

enum heartbeat_command_type {
    HEARTBEAT_COMMAND_UNKNOWN, /* of a newer coordinator: to be passed over */
    HEARTBEAT_COMMAND_REGISTER_AGAIN,
    HEARTBEAT_COMMAND_STALE_INCARNATION,
    HEARTBEAT_COMMAND_ASSIGNMENT,
    HEARTBEAT_COMMAND_DRAIN,
    HEARTBEAT_COMMAND_UNDRAIN,
    HEARTBEAT_COMMAND_SLOW_DOWN,
};

struct heartbeat_command {
    enum heartbeat_command_type type;
    uint64_t sequence; /* of the heartbeat that it answers; 0: none */
    char worker_id[HEARTBEAT_ID_BYTES];
    char reason[HEARTBEAT_REASON_BYTES];
    struct heartbeat_names assigned; /* with ASSIGNMENT */
};

/* Appends a HeartbeatRequest with this one heartbeat and a token ("": none); false when memory runs out. */
bool heartbeat_encode_request(const struct heartbeat *heartbeat, const char *token, uint64_t sequence,
                              struct buffer *out);

/* Appends the JSON body of POST /api/worker/heartbeat; false when memory runs out or a text
 * is not UTF-8. */
bool heartbeat_encode_json(const struct heartbeat *heartbeat, struct buffer *out);

/* Reads a HeartbeatResponse: calls `command` for each, in order, with a struct that is gone
 * after the call, and sets *acknowledged_sequence. False: malformed; commands before the
 * fault may have been called. */
bool heartbeat_decode_response(const void *message, size_t message_bytes, uint64_t *acknowledged_sequence,
                               void (*command)(const struct heartbeat_command *command, void *argument),
                               void *argument);
