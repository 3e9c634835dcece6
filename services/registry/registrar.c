/* Registrations; see registrar.h. */

#include "services/registry/registrar.h"

#include "services/registry/spec.h"

#include "common/log.h"
#include "common/map.h"

#include "muster/v1/assigner.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 1000
#define BATCH_MAX_BYTES (16 * 1024 * 1024) /* of specs: the assigner is told part of each */
#define RETRY_MS 100

struct registration {
    struct ledger_entry entry; /* first: an entry is its registration */
    struct registration *next;
    struct registrar *registrar;
    struct rpc_call *call;
    Muster__V1__WorkerSpec *spec;
    size_t spec_bytes;
    uint64_t patience_ends_ms;
    const Muster__V1__Assignment *assignment; /* in registrar->response */
    char **assigned;                          /* its names */
};

struct registrar {
    struct rpc_loop *loop;
    const struct registry *registry;
    struct ledger *ledger;
    struct rpc_channel *assigner;
    struct rpc_turn_hook hook;
    struct timer retry;
    struct registration *first, **end; /* waiting */
    size_t waiting_count;
    size_t waiting_bytes;
    struct registration **batch; /* under way */
    size_t batch_count;
    size_t batch_unanswered;
    struct rpc_call *asking;              /* the call to the assigner */
    Muster__V1__AssignResponse *response; /* its answer, while the batch is being stored */
};

static void free_registration(struct registration *registration)
{
    free(registration->assigned);
    muster__v1__worker_spec__free_unpacked(registration->spec, NULL);
    free(registration);
}

/* The batch's end, once each of its registrations has been answered. */
static void end_of_answer(struct registrar *registrar)
{
    if (--registrar->batch_unanswered > 0)
        return;
    free(registrar->batch);
    registrar->batch = NULL;
    registrar->batch_count = 0;
    muster__v1__assign_response__free_unpacked(registrar->response, NULL);
    registrar->response = NULL;
    if (registrar->first != NULL)
        rpc_loop_at_end_of_turn(registrar->loop, &registrar->hook);
}

static void fail(struct registration *registration, enum rpc_status status, const char *text)
{
    struct registrar *registrar = registration->registrar;
    rpc_call_finish(registration->call, status, "%s", text);
    free_registration(registration);
    end_of_answer(registrar);
}

/* --- Storing --- */

static void stored(struct ledger_entry *entry, const struct ledger_outcome *outcome)
{
    struct registration *registration = (struct registration *)entry;
    if (outcome->result == LEDGER_STORE_FAILED) {
        fail(registration, RPC_UNAVAILABLE, outcome->text);
        return;
    }
    if (outcome->result == LEDGER_REFUSED) {
        fail(registration, RPC_RESOURCE_EXHAUSTED, outcome->text);
        return;
    }
    struct record_message message;
    Muster__V1__RegisterWorkerResponse response = MUSTER__V1__REGISTER_WORKER_RESPONSE__INIT;
    record_message_init(&message, outcome->record);
    response.worker = &message.worker;
    response.n_service_configs = registration->assignment->n_services;
    response.service_configs = registration->assignment->services;
    rpc_call_reply(registration->call, &response.base);
    struct registrar *registrar = registration->registrar;
    free_registration(registration);
    end_of_answer(registrar);
}

static void store(struct registration *registration, const Muster__V1__Assignment *assignment)
{
    registration->assignment = assignment;
    registration->assigned = calloc(assignment->n_services + 1, sizeof(char *));
    if (registration->assigned == NULL) {
        fail(registration, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    for (size_t i = 0; i < assignment->n_services; i++)
        registration->assigned[i] = assignment->services[i]->name;
    registration->entry.kind = LEDGER_REGISTRATION;
    registration->entry.worker_id = registration->spec->worker_id;
    registration->entry.wanted.registration.spec = registration->spec;
    registration->entry.wanted.registration.assigned = registration->assigned;
    registration->entry.wanted.registration.assigned_count = assignment->n_services;
    registration->entry.done = stored;
    if (!ledger_submit(registration->registrar->ledger, &registration->entry))
        fail(registration, RPC_RESOURCE_EXHAUSTED, "too many changes wait for the disk; try again");
}

/* --- Asking the assigner --- */

static void fail_batch(struct registrar *registrar, enum rpc_status status, const char *text)
{
    struct registration **batch = registrar->batch;
    size_t count = registrar->batch_count;
    registrar->batch = NULL;
    for (size_t i = 0; i < count; i++)
        fail(batch[i], status, text);
    free(batch);
}

static void give_up_on_impatient(struct registrar *registrar, const char *text)
{
    struct registration **link = &registrar->first, *registration;
    while ((registration = *link) != NULL) {
        if (registration->patience_ends_ms > rpc_loop_now_ms(registrar->loop)) {
            link = &registration->next;
            continue;
        }
        *link = registration->next;
        registrar->waiting_count--;
        registrar->waiting_bytes -= registration->spec_bytes;
        rpc_call_finish(registration->call, RPC_UNAVAILABLE, "the assigner at %s does not answer (%s); try again",
                        rpc_channel_address(registrar->assigner), text);
        free_registration(registration);
    }
    registrar->end = link;
}

/* Puts the batch back in front of those that wait. */
static void ask_again_later(struct registrar *registrar, const char *text)
{
    for (size_t i = registrar->batch_count; i-- > 0;) {
        struct registration *registration = registrar->batch[i];
        registration->next = registrar->first;
        registrar->first = registration;
        registrar->waiting_count++;
        registrar->waiting_bytes += registration->spec_bytes;
    }
    free(registrar->batch);
    registrar->batch = NULL;
    registrar->batch_count = 0;
    registrar->batch_unanswered = 0;
    /* Also sets the list's end. */
    give_up_on_impatient(registrar, text);
    if (registrar->first != NULL)
        rpc_loop_timer_start(registrar->loop, &registrar->retry, RETRY_MS, registrar->retry.expired, registrar);
}

static Muster__V1__AssignResponse *copy_response(const Muster__V1__AssignResponse *response)
{
    size_t bytes = muster__v1__assign_response__get_packed_size(response);
    uint8_t *packed = malloc(bytes + 1);
    if (packed == NULL)
        return NULL;
    muster__v1__assign_response__pack(response, packed);
    Muster__V1__AssignResponse *copy = muster__v1__assign_response__unpack(NULL, bytes, packed);
    free(packed);
    return copy;
}

static bool answers_batch(const struct registrar *registrar, const Muster__V1__AssignResponse *response)
{
    if (response->n_assignments != registrar->batch_count)
        return false;
    for (size_t i = 0; i < registrar->batch_count; i++)
        if (strcmp(response->assignments[i]->worker_id, registrar->batch[i]->spec->worker_id) != 0)
            return false;
    return true;
}

static void assigned(struct rpc_call *call, enum rpc_status status, const char *text, const void *message,
                     void *argument)
{
    struct registrar *registrar = argument;
    (void)call;
    registrar->asking = NULL;
    if (status == RPC_UNAVAILABLE || status == RPC_DEADLINE_EXCEEDED || status == RPC_CANCELLED) {
        ask_again_later(registrar, text[0] != '\0' ? text : rpc_status_name(status));
        return;
    }
    if (status != RPC_OK) {
        log_error("the assigner refused", LOG_TEXT("status", rpc_status_name(status)), LOG_TEXT("text", text));
        fail_batch(registrar, RPC_INTERNAL, text);
        return;
    }
    if (!answers_batch(registrar, message)) {
        log_error("the assigner's answer is about other workers than were asked about");
        fail_batch(registrar, RPC_INTERNAL, "the assigner answered something else than it was asked");
        return;
    }
    registrar->response = copy_response(message);
    if (registrar->response == NULL) {
        fail_batch(registrar, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    /* The last answer frees the batch: it may come inside this loop. */
    struct registration **batch = registrar->batch;
    const Muster__V1__AssignResponse *response = registrar->response;
    size_t count = registrar->batch_count;
    registrar->batch = NULL;
    registrar->batch_unanswered++;
    for (size_t i = 0; i < count; i++)
        store(batch[i], response->assignments[i]);
    free(batch);
    end_of_answer(registrar);
}

/* --- A batch --- */

/* Takes those that wait into the batch, each worker once. False when memory runs out. */
static bool gather(struct registrar *registrar)
{
    struct map ids = MAP_INIT;
    struct registration **link = &registrar->first, *registration;
    size_t room = registrar->waiting_count < BATCH_MAX ? registrar->waiting_count : BATCH_MAX, bytes = 0;
    registrar->batch = calloc(room, sizeof(struct registration *));
    if (registrar->batch == NULL)
        return false;
    while ((registration = *link) != NULL && registrar->batch_count < room && bytes < BATCH_MAX_BYTES) {
        const char *id = registration->spec->worker_id;
        if (map_get_text(&ids, id) != NULL || !map_put_text(&ids, id, registration, NULL)) {
            link = &registration->next;
            continue;
        }
        *link = registration->next;
        if (registration->next == NULL)
            registrar->end = link;
        registration->next = NULL;
        registrar->waiting_count--;
        registrar->waiting_bytes -= registration->spec_bytes;
        bytes += registration->spec_bytes;
        registrar->batch[registrar->batch_count++] = registration;
    }
    map_free(&ids);
    registrar->batch_unanswered = registrar->batch_count;
    return true;
}

/* What the assigner is told of a candidate; what it points to lives until it is freed. */
struct candidate {
    Muster__V1__AssignCandidate message;
    Muster__V1__Worker *present;
    char **announced;
};

static bool describe(const struct registrar *registrar, const struct registration *registration,
                     struct candidate *candidate)
{
    const Muster__V1__WorkerSpec *spec = registration->spec;
    muster__v1__assign_candidate__init(&candidate->message);
    candidate->message.worker_id = spec->worker_id;
    candidate->message.incarnation = registry_next_incarnation(registrar->registry, spec->worker_id);
    candidate->message.type = spec_type(spec);
    candidate->message.location = spec->location;
    candidate->announced = calloc(spec->n_services + 1, sizeof(char *));
    if (candidate->announced == NULL)
        return false;
    for (size_t i = 0; i < spec->n_services; i++)
        candidate->announced[i] = spec->services[i]->name;
    candidate->message.n_announced_services = spec->n_services;
    candidate->message.announced_services = candidate->announced;

    const struct record *record = registry_find(registrar->registry, spec->worker_id);
    if (record == NULL)
        return true;
    candidate->present = record_unpack(record);
    if (candidate->present == NULL)
        return false;
    candidate->message.n_current_services = candidate->present->n_assigned_services;
    candidate->message.current_services = candidate->present->assigned_services;
    return true;
}

static bool ask(struct registrar *registrar)
{
    size_t count = registrar->batch_count;
    struct candidate *candidates = calloc(count, sizeof(*candidates));
    Muster__V1__AssignCandidate **pointers = calloc(count, sizeof(Muster__V1__AssignCandidate *));
    Muster__V1__AssignRequest request = MUSTER__V1__ASSIGN_REQUEST__INIT;
    bool ready = candidates != NULL && pointers != NULL;
    for (size_t i = 0; ready && i < count; i++) {
        ready = describe(registrar, registrar->batch[i], &candidates[i]);
        pointers[i] = &candidates[i].message;
    }
    if (ready) {
        request.n_candidates = count;
        request.candidates = pointers;
        registrar->asking =
            rpc_channel_call(registrar->assigner, &muster__v1__assigner_service__descriptor, "Assign", &request.base,
                             &(struct rpc_call_options){.timeout_ms = REGISTRAR_PATIENCE_MS}, assigned, registrar);
    }
    for (size_t i = 0; candidates != NULL && i < count; i++) {
        free(candidates[i].announced);
        if (candidates[i].present != NULL)
            muster__v1__worker__free_unpacked(candidates[i].present, NULL);
    }
    free(pointers);
    free(candidates);
    return ready;
}

static void start_batch(void *argument)
{
    struct registrar *registrar = argument;
    if (registrar->batch_unanswered > 0 || registrar->first == NULL || timer_active(&registrar->retry))
        return;
    if (!gather(registrar)) {
        rpc_loop_timer_start(registrar->loop, &registrar->retry, RETRY_MS, registrar->retry.expired, registrar);
        return;
    }
    if (!ask(registrar))
        fail_batch(registrar, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
}

static void retry(struct timer *timer, void *argument)
{
    struct registrar *registrar = argument;
    (void)timer;
    rpc_loop_at_end_of_turn(registrar->loop, &registrar->hook);
}

/* --- Its life --- */

struct registrar *registrar_create(struct rpc_loop *loop, const struct registry *registry, struct ledger *ledger,
                                   struct rpc_channel *assigner)
{
    struct registrar *registrar = calloc(1, sizeof(*registrar));
    if (registrar == NULL)
        abort();
    registrar->loop = loop;
    registrar->registry = registry;
    registrar->ledger = ledger;
    registrar->assigner = assigner;
    registrar->hook.function = start_batch;
    registrar->hook.argument = registrar;
    registrar->retry.expired = retry;
    registrar->end = &registrar->first;
    return registrar;
}

void registrar_destroy(struct registrar *registrar)
{
    if (registrar == NULL)
        return;
    rpc_loop_cancel_end_of_turn(registrar->loop, &registrar->hook);
    rpc_loop_timer_stop(registrar->loop, &registrar->retry);
    free(registrar);
}

void registrar_register(struct registrar *registrar, struct rpc_call *call, Muster__V1__WorkerSpec *spec,
                        size_t spec_bytes)
{
    struct registration *registration = NULL;
    if (registrar->waiting_count < REGISTRAR_QUEUE_MAX &&
        registrar->waiting_bytes + spec_bytes <= REGISTRAR_QUEUE_MAX_BYTES)
        registration = calloc(1, sizeof(*registration));
    if (registration == NULL) {
        muster__v1__worker_spec__free_unpacked(spec, NULL);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "too many registrations wait; try again in a few seconds");
        return;
    }
    registration->registrar = registrar;
    registration->call = call;
    registration->spec = spec;
    registration->spec_bytes = spec_bytes;
    registration->patience_ends_ms = rpc_loop_now_ms(registrar->loop) + REGISTRAR_PATIENCE_MS;
    *registrar->end = registration;
    registrar->end = &registration->next;
    registrar->waiting_count++;
    registrar->waiting_bytes += spec_bytes;
    rpc_loop_at_end_of_turn(registrar->loop, &registrar->hook);
}
