/* Heartbeats that came over REST, on their way to health in as few messages as possible.
 *
 * What comes in waits while HEARTBEATS_OUTSTANDING_MAX messages are on their way without an
 * acknowledgement, and then goes out together: the busier health is, the larger the
 * messages become. Each heartbeat is answered when its message is acknowledged.
 *
 * This is the bookkeeping alone: no I/O, no clock. Jobs are the backend's and are handed back
 * through `finish`. Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/job.h"

#define HEARTBEATS_OUTSTANDING_MAX 2
#define HEARTBEATS_MESSAGE_MAX 2000 /* heartbeats in one message */
#define HEARTBEATS_WAITING_MAX 100000

struct heartbeat_batch {
    uint64_t sequence; /* 0: free */
    uint64_t sent_at_ms;
    struct job **jobs; /* as many as there is room for in a message */
    size_t count;
};

struct heartbeats {
    struct job *waiting, **waiting_end;
    size_t waiting_count;
    struct heartbeat_batch batches[HEARTBEATS_OUTSTANDING_MAX];
    uint64_t last_sequence;
    uint64_t taken, messages; /* since the start */
};

void heartbeats_init(struct heartbeats *heartbeats);
void heartbeats_free(struct heartbeats *heartbeats);

/* False: too many wait already. */
bool heartbeats_add(struct heartbeats *heartbeats, struct job *job);

/* Makes the next message out of those that wait: fills `message` (its sequence and heartbeats,
 * which point into the jobs) and returns true, or returns false when none should be sent now.
 * `list` has room for HEARTBEATS_MESSAGE_MAX. */
bool heartbeats_next(struct heartbeats *heartbeats, uint64_t now_ms, Muster__V1__HeartbeatRequest *message,
                     Muster__V1__Heartbeat **list);

/* Health has answered: notes commands in their jobs and finishes those that are acknowledged. */
void heartbeats_answered(struct heartbeats *heartbeats, const Muster__V1__HeartbeatResponse *response,
                         void (*finish)(void *context, struct job *job), void *context);

/* The stream is gone: all that were sent, and all that wait, are handed back as failed. The
 * numbering begins anew. */
void heartbeats_lost(struct heartbeats *heartbeats, void (*fail)(void *context, struct job *job), void *context);

/* When the oldest message without acknowledgement was sent; UINT64_MAX: there is none. */
uint64_t heartbeats_oldest_ms(const struct heartbeats *heartbeats);
