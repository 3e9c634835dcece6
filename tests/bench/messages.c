#include "tests/bench/messages.h"

#include <stdlib.h>
#include <string.h>

#include "muster/v1/assigner.pb-c.h"
#include "muster/v1/health.pb-c.h"
#include "muster/v1/registry.pb-c.h"
#include "tests/bench/varint.h"

void worker_id(char id[WORKER_ID_BYTES], unsigned number)
{
    snprintf(id, WORKER_ID_BYTES, "worker-%07u", number);
}

const char *capabilities_json(void)
{
    return "{\"has_gpu\": true, \"gpu_type\": \"NVIDIA GeForce RTX 4090\", \"gpu_memory\": \"24 GB\", \"cpu_cores\": "
           "16, "
           "\"ram\": \"64GB\", \"has_storage\": false, \"has_edge\": false, \"has_public_ip\": false, \"latency_ms\": "
           "12.5, "
           "\"driver\": \"550.54.14\", \"models\": [\"llama3.2\", \"qwen2.5\", \"nomic-embed-text\"], \"os\": "
           "\"debian-12 x86_64\"}";
}

/* The message of `units` heartbeats that begins with worker first + skip, without its sequence. */
static bool append_heartbeats(struct buffer *bytes, unsigned first, unsigned skip, unsigned workers, unsigned units,
                              unsigned variant)
{
    char ids[HEARTBEATS_IN_A_BATCH][WORKER_ID_BYTES];
    Muster__V1__Heartbeat heartbeats[HEARTBEATS_IN_A_BATCH];
    Muster__V1__Heartbeat *pointers[HEARTBEATS_IN_A_BATCH];
    char memory[] = "24.5GB", model[] = "llama3.2", specialization[] = "vllm";
    char *models[] = {model};
    Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
    load.current_load = 0.42;
    load.available_memory = memory;
    load.gpu_utilization = 65.3;
    load.active_requests = 2 + variant;
    load.n_loaded_models = 1;
    load.loaded_models = models;
    load.specialization = specialization;
    load.tasks_completed = 7;
    for (unsigned i = 0; i < units; i++) {
        worker_id(ids[i], first + (skip + i) % workers);
        muster__v1__heartbeat__init(&heartbeats[i]);
        heartbeats[i].worker_id = ids[i];
        heartbeats[i].incarnation = 1;
        heartbeats[i].status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
        heartbeats[i].load = &load;
        pointers[i] = &heartbeats[i];
    }
    Muster__V1__HeartbeatRequest request = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
    request.heartbeats = pointers;
    request.n_heartbeats = units;
    size_t size = muster__v1__heartbeat_request__get_packed_size(&request);
    if (!buffer_reserve(bytes, size))
        return false;
    bytes->bytes += muster__v1__heartbeat_request__pack(&request, (uint8_t *)bytes->data + bytes->bytes);
    return true;
}

bool heartbeat_messages_make(struct heartbeat_messages *messages, unsigned workers, unsigned units)
{
    return heartbeat_messages_make_from(messages, 0, workers, units);
}

bool heartbeat_messages_make_from(struct heartbeat_messages *messages, unsigned first, unsigned workers, unsigned units)
{
    struct buffer bytes = BUFFER_INIT;
    unsigned count = (workers + units - 1) / units;
    size_t *from = calloc(2 * count + 1, sizeof *from);
    bool made = from != NULL;
    for (unsigned i = 0; made && i < 2 * count; i++) {
        made = append_heartbeats(&bytes, first, i % count * units, workers, units, i / count);
        from[i + 1] = bytes.bytes;
    }
    if (!made) {
        buffer_free(&bytes);
        free(from);
        return false;
    }
    *messages = (struct heartbeat_messages){.bytes = (uint8_t *)buffer_take(&bytes),
                                            .from = from,
                                            .count = count,
                                            .units = units,
                                            .relayed = units > 1,
                                            .stride = 1};
    return true;
}

void heartbeat_messages_free(struct heartbeat_messages *messages)
{
    free(messages->bytes);
    free(messages->from);
    *messages = (struct heartbeat_messages){0};
}

/* Consecutive variants make the load differ from one heartbeat of a worker to its next. */
static void append_heartbeat_message(const struct heartbeat_messages *messages, uint64_t number, uint64_t variant,
                                     struct buffer *message)
{
    uint64_t which = number % messages->count + variant % 2 * messages->count;
    buffer_append(message, messages->bytes + messages->from[which], messages->from[which + 1] - messages->from[which]);
}

static void next_stream_heartbeat(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    const struct heartbeat_messages *messages = context;
    /* A worker's own stream carries that worker alone; a relayed one goes through all. */
    uint64_t number = (uint64_t)lane * messages->stride + sequence;
    if (messages->relayed)
        append_heartbeat_message(messages, number, number / messages->count, message);
    else
        append_heartbeat_message(messages, lane, sequence, message);
    buffer_append_char(message, 2 << 3); /* HeartbeatRequest.sequence */
    varint_append(message, sequence);
    if (messages->relayed)
        buffer_append(message, "\x18\x01", 2); /* HeartbeatRequest.relayed */
}

static void next_unary_heartbeat(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    const struct heartbeat_messages *messages = context;
    uint64_t number = lane + sequence;
    append_heartbeat_message(messages, number, number / messages->count, message); /* field 1 in both requests */
}

static bool commands_allowed(Muster__V1__WorkerCommand *const *commands, size_t count, struct failure *failure)
{
    for (size_t i = 0; i < count; i++)
        if (commands[i]->type == MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN ||
            commands[i]->type == MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_SLOW_DOWN ||
            commands[i]->type == MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION)
            return fail(failure, "%s was refused (%s)", commands[i]->worker_id, commands[i]->reason);
    return true;
}

/* Nearly every answer is nothing but an acknowledgement: read without decoding the rest.
 * Returns 0 when it is anything else. */
static uint64_t plain_acknowledgement(const uint8_t *answer, size_t bytes)
{
    uint64_t sequence;
    size_t at = 1;
    bool plain = bytes > 1 && answer[0] == 1 << 3 && varint_read(answer, bytes, &at, &sequence) && at == bytes;
    return plain ? sequence : 0;
}

static int64_t judge_stream_heartbeat(void *context, unsigned lane, uint64_t answered, const uint8_t *answer,
                                      size_t bytes, struct failure *failure)
{
    (void)context, (void)lane;
    uint64_t acknowledged = plain_acknowledgement(answer, bytes);
    if (acknowledged == 0) {
        Muster__V1__HeartbeatResponse *response = muster__v1__heartbeat_response__unpack(NULL, bytes, answer);
        bool allowed = response != NULL ? commands_allowed(response->commands, response->n_commands, failure)
                                        : fail(failure, "not a HeartbeatResponse");
        acknowledged = response != NULL ? response->acknowledged_sequence : 0;
        muster__v1__heartbeat_response__free_unpacked(response, NULL);
        if (!allowed)
            return -1;
    }
    return acknowledged > answered ? (int64_t)(acknowledged - answered) : 0;
}

static int64_t judge_unary_heartbeat(void *context, unsigned lane, uint64_t answered, const uint8_t *answer,
                                     size_t bytes, struct failure *failure)
{
    (void)context, (void)lane, (void)answered;
    if (bytes == 0)
        return 1; /* taken, nothing to say */
    Muster__V1__ReportHeartbeatsResponse *response =
        muster__v1__report_heartbeats_response__unpack(NULL, bytes, answer);
    bool allowed = response != NULL ? commands_allowed(response->commands, response->n_commands, failure)
                                    : fail(failure, "not a ReportHeartbeatsResponse");
    muster__v1__report_heartbeats_response__free_unpacked(response, NULL);
    return allowed ? 1 : -1;
}

struct grpc_source heartbeat_stream_source(struct heartbeat_messages *messages)
{
    return (struct grpc_source){.path = "/muster.v1.HealthService/Heartbeat",
                                .streaming = true,
                                .units = messages->units,
                                .next = next_stream_heartbeat,
                                .judge = judge_stream_heartbeat,
                                .context = messages};
}

struct grpc_source heartbeat_unary_source(struct heartbeat_messages *messages)
{
    return (struct grpc_source){.path = "/muster.v1.HealthService/ReportHeartbeats",
                                .units = messages->units,
                                .next = next_unary_heartbeat,
                                .judge = judge_unary_heartbeat,
                                .context = messages};
}

static void next_registration(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    struct registrations *registrations = context;
    char id[WORKER_ID_BYTES], tunnel_url[64], names[SERVICES_OF_A_WORKER][32], urls[SERVICES_OF_A_WORKER][64];
    char bench_service[] = BENCH_SERVICE, location[] = "uk", gpu[] = "NVIDIA GeForce RTX 4090", gpu_memory[] = "24 GB",
         ram[] = "64GB";
    (void)lane, (void)sequence;
    worker_id(id, registrations->next++);
    snprintf(tunnel_url, sizeof tunnel_url, "https://%s.example.com", id);

    Muster__V1__AnnouncedService services[SERVICES_OF_A_WORKER];
    Muster__V1__AnnouncedService *pointers[SERVICES_OF_A_WORKER];
    for (unsigned i = 0; i < SERVICES_OF_A_WORKER; i++) {
        snprintf(names[i], sizeof names[i], "service-%u", i);
        snprintf(urls[i], sizeof urls[i], "https://s%u.%s.example.com", i, id);
        muster__v1__announced_service__init(&services[i]);
        services[i].name = names[i];
        services[i].url = urls[i];
        pointers[i] = &services[i];
    }
    if (registrations->service_url != NULL) {
        services[0].name = bench_service;
        services[0].url = (char *)(uintptr_t)registrations->service_url;
    }
    Muster__V1__Capabilities capabilities = MUSTER__V1__CAPABILITIES__INIT;
    capabilities.has_gpu = 1;
    capabilities.gpu_type = gpu;
    capabilities.gpu_memory = gpu_memory;
    capabilities.cpu_cores = 16;
    capabilities.ram = ram;
    capabilities.latency_ms = 12.5;
    capabilities.json = (char *)(uintptr_t)capabilities_json(); /* packing writes to none of these */
    Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
    spec.worker_id = id;
    spec.tunnel_url = tunnel_url;
    spec.location = location;
    spec.capabilities = &capabilities;
    spec.services = pointers;
    spec.n_services = registrations->service_url != NULL ? 1 : SERVICES_OF_A_WORKER;
    Muster__V1__RegisterWorkerRequest request = MUSTER__V1__REGISTER_WORKER_REQUEST__INIT;
    request.spec = &spec;
    /* A reservation that fails marks the buffer as failed, which its owner looks at. */
    if (buffer_reserve(message, muster__v1__register_worker_request__get_packed_size(&request)))
        message->bytes +=
            muster__v1__register_worker_request__pack(&request, (uint8_t *)message->data + message->bytes);
}

static int64_t judge_registration(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                                  struct failure *failure)
{
    (void)context, (void)lane, (void)answered;
    Muster__V1__RegisterWorkerResponse *response = muster__v1__register_worker_response__unpack(NULL, bytes, answer);
    bool taken = response != NULL && response->worker != NULL && response->worker->incarnation == 1;
    muster__v1__register_worker_response__free_unpacked(response, NULL);
    if (!taken)
        fail(failure, "a registration was not answered with incarnation 1");
    return taken ? 1 : -1;
}

struct grpc_source registration_source(struct registrations *registrations)
{
    return (struct grpc_source){.path = "/muster.v1.RegistryService/RegisterWorker",
                                .units = 1,
                                .next = next_registration,
                                .judge = judge_registration,
                                .context = registrations};
}

/* A RegisterWorkersRequest is the same bytes as RegisterWorkerRequests one after the other, and without_tokens: so a
 * gateway asks that has no keys, as this one has none. */
static void next_registrations(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    for (unsigned i = 0; i < REGISTRATIONS_IN_A_CALL; i++)
        next_registration(context, lane, sequence, message);
    static const uint8_t without_tokens[] = {2 << 3, true};
    buffer_append(message, without_tokens, sizeof without_tokens);
}

static int64_t judge_registrations(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                                   struct failure *failure)
{
    (void)context, (void)lane, (void)answered;
    Muster__V1__RegisterWorkersResponse *response = muster__v1__register_workers_response__unpack(NULL, bytes, answer);
    bool taken = response != NULL && response->n_results == REGISTRATIONS_IN_A_CALL;
    for (size_t i = 0; taken && i < response->n_results; i++)
        taken = response->results[i]->worker != NULL && response->results[i]->worker->incarnation == 1;
    muster__v1__register_workers_response__free_unpacked(response, NULL);
    if (!taken)
        fail(failure, "registrations were not all answered with incarnation 1");
    return taken ? 1 : -1;
}

struct grpc_source registrations_source(struct registrations *registrations)
{
    return (struct grpc_source){.path = "/muster.v1.RegistryService/RegisterWorkers",
                                .units = REGISTRATIONS_IN_A_CALL,
                                .next = next_registrations,
                                .judge = judge_registrations,
                                .context = registrations};
}

static void next_assignment(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    unsigned *next = context;
    char ids[ASSIGNMENTS_IN_A_QUESTION][WORKER_ID_BYTES], location[] = "uk";
    Muster__V1__AssignCandidate candidates[ASSIGNMENTS_IN_A_QUESTION];
    Muster__V1__AssignCandidate *pointers[ASSIGNMENTS_IN_A_QUESTION];
    (void)lane, (void)sequence;
    for (unsigned i = 0; i < ASSIGNMENTS_IN_A_QUESTION; i++) {
        unsigned number = (*next)++ % ASSIGNED_WORKERS;
        snprintf(ids[i], sizeof ids[i], "new-%07u", number);
        muster__v1__assign_candidate__init(&candidates[i]);
        candidates[i].worker_id = ids[i];
        candidates[i].incarnation = 1;
        candidates[i].type = (Muster__V1__WorkerType)(1 + number % 4);
        candidates[i].location = location;
        pointers[i] = &candidates[i];
    }
    Muster__V1__AssignRequest request = MUSTER__V1__ASSIGN_REQUEST__INIT;
    request.n_candidates = ASSIGNMENTS_IN_A_QUESTION;
    request.candidates = pointers;
    request.without_reasons = true; /* as the registry asks */
    if (buffer_reserve(message, muster__v1__assign_request__get_packed_size(&request)))
        message->bytes += muster__v1__assign_request__pack(&request, (uint8_t *)message->data + message->bytes);
}

static int64_t judge_assignment(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                                struct failure *failure)
{
    (void)context, (void)lane, (void)answered;
    /* The first and the last of them are looked into when the first lane begins; then their number is enough. */
    Muster__V1__AssignResponse *response =
        answered == 0 ? muster__v1__assign_response__unpack(NULL, bytes, answer) : NULL;
    bool decided = answered > 0 ? bytes > ASSIGNMENTS_IN_A_QUESTION * sizeof "new-0000000"
                                : response != NULL && response->n_assignments == ASSIGNMENTS_IN_A_QUESTION &&
                                      response->assignments[0]->worker_id[0] != '\0' &&
                                      response->assignments[ASSIGNMENTS_IN_A_QUESTION - 1]->n_services > 0;
    muster__v1__assign_response__free_unpacked(response, NULL);
    if (!decided)
        fail(failure, "%d candidates were not answered with as many assignments", (int)ASSIGNMENTS_IN_A_QUESTION);
    return decided ? 1 : -1;
}

struct grpc_source assignment_source(unsigned *next)
{
    return (struct grpc_source){.path = "/muster.v1.AssignerService/Assign",
                                .units = ASSIGNMENTS_IN_A_QUESTION,
                                .next = next_assignment,
                                .judge = judge_assignment,
                                .context = next};
}
