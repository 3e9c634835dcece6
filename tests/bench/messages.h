/* What the loads say to Muster over gRPC, and who says it. Worker number n is called
 * "worker-000000n" everywhere; it has three services and 300 bytes of capabilities.
 * Its heartbeat is that of a GPU worker under some load, about 80 bytes. */

#pragma once

#include "tests/bench/load_grpc.h"

enum {
    HEARTBEATS_IN_A_BATCH = 64,
    WORKER_ID_BYTES = 32,
    SERVICES_OF_A_WORKER = 3,
};

void worker_id(char id[WORKER_ID_BYTES], unsigned number);

/* What the machine of each worker can do, 300 bytes of JSON. */
const char *capabilities_json(void);

/* Heartbeats of `workers` workers to Muster. Lane l speaks for worker l, or with batches for
 * workers 64 l to 64 l + 63, around. An answer that carries a command "register again" or
 * "stale incarnation" is wrong: all workers must have been registered, once. */
struct heartbeat_messages {
    uint8_t *bytes; /* of each message, one after the other, without its sequence */
    size_t *from;   /* where message i begins; 2 * count + 1 entries: all of them in two variants */
    unsigned count;
    unsigned units;
    bool relayed;
    unsigned stride; /* relayed: lane l begins at message l * stride */
};
bool heartbeat_messages_make(struct heartbeat_messages *messages, unsigned workers, unsigned units);
/* The same for workers from `first` on. */
bool heartbeat_messages_make_from(struct heartbeat_messages *messages, unsigned first, unsigned workers,
                                  unsigned units);
void heartbeat_messages_free(struct heartbeat_messages *messages);
/* Sources over such messages, which must outlive them: HealthService.Heartbeat and
 * .ReportHeartbeats. */
struct grpc_source heartbeat_stream_source(struct heartbeat_messages *messages);
struct grpc_source heartbeat_unary_source(struct heartbeat_messages *messages);

/* AssignerService.Assign for ASSIGNMENTS_IN_A_QUESTION workers that are not on the roll, around after so many that a
 * promise is replaced before it runs out. For one lane's worth of counting. */
enum { ASSIGNMENTS_IN_A_QUESTION = 64, ASSIGNED_WORKERS = 64 * 1024 };
struct grpc_source assignment_source(unsigned *next);

/* RegistryService.RegisterWorker for one worker after the other, by a source that must be
 * used with one lane's worth of counting: it hands out numbers 0, 1, 2, … `service_url`, if
 * not NULL, is announced by each worker as the place of the service BENCH_SERVICE alone. */
#define BENCH_SERVICE "bench-echo"
struct registrations {
    unsigned next;
    const char *service_url;
};
struct grpc_source registration_source(struct registrations *registrations);

/* The same, so many to a call, as a gateway sends those that wait together. */
enum { REGISTRATIONS_IN_A_CALL = 32 };
struct grpc_source registrations_source(struct registrations *registrations);
