/* Registrations; see registrar.h. */

#include "services/registry/registrar.h"

#include "services/registry/spec.h"

#include "common/log.h"
#include "common/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 1000
#define BATCH_MAX_BYTES (16 * 1024 * 1024) /* of specs: the assigner is told part of each */
#define RETRY_MS 100

/* Registrations that the assigner is asked about together. */
struct registrar_batch {
    struct registrar *registrar;
    struct registration **members;
    size_t count;
    size_t unanswered;
    const Muster__V1__AssignStreamResponse *response; /* once the assigner has answered */
    struct rpc_message_memory *memory;                /* that it lies in */
    char **assigned;                                  /* the names in it, of one member after the other */
};

/* The call on which the assigner is asked, again and again. It ends by itself, when the assigner does or is late; then
 * the next question opens another one. */
struct line {
    struct registrar *registrar; /* NULL: it is gone */
    struct rpc_call *call;
    bool late; /* the assigner has been given up */
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
    struct map under_way;           /* registrations that are in a batch, by worker */
    struct line *line;              /* NULL: none is open */
    struct timer patience;          /* with the answer */
    struct registrar_batch *asking; /* that the assigner is being asked about */
};

static void free_batch(struct registrar_batch *batch)
{
    rpc_message_memory_free(batch->memory);
    free(batch->members);
    free(batch->assigned);
    free(batch);
}

/* One answer less is missing. What waited for it goes on. */
static void answered(struct registrar_batch *batch)
{
    struct registrar *registrar = batch->registrar;
    if (--batch->unanswered == 0)
        free_batch(batch);
    if (registrar->first != NULL)
        rpc_loop_at_end_of_turn(registrar->loop, &registrar->hook);
}

/* The last answer frees the batch, which may come inside a loop over its members: they are held by one more. */
static void hold(struct registrar_batch *batch)
{
    batch->unanswered++;
}

static void finish(struct registration *registration, const struct registrar_outcome *outcome)
{
    struct registrar_batch *batch = registration->batch;
    map_remove_text(&batch->registrar->under_way, registration->spec->worker_id);
    registration->done(registration, outcome);
    answered(batch);
}

static void fail(struct registration *registration, enum rpc_status status, const char *text)
{
    finish(registration, &(struct registrar_outcome){.status = status, .text = text});
}

/* --- Storing --- */

static void stored(struct ledger_entry *entry, const struct ledger_outcome *outcome)
{
    struct registration *registration = (struct registration *)entry;
    if (outcome->result == LEDGER_DONE)
        finish(registration,
               &(struct registrar_outcome){
                   .status = RPC_OK, .text = "", .record = outcome->record, .assignment = registration->assignment});
    else
        fail(registration,
             outcome->result == LEDGER_STORE_FAILED        ? RPC_UNAVAILABLE
             : outcome->refusal == REGISTRY_OF_ANOTHER_KEY ? RPC_PERMISSION_DENIED
                                                           : RPC_RESOURCE_EXHAUSTED,
             outcome->text);
}

/* There is room for the names of the services in `names`. */
static void store(struct registration *registration, const Muster__V1__Assignment *assignment, char **names)
{
    registration->assignment = assignment;
    registration->assigned = names;
    for (size_t i = 0; i < assignment->n_services; i++)
        registration->assigned[i] = assignment->services[i]->name;
    registration->entry.kind = LEDGER_REGISTRATION;
    registration->entry.worker_id = registration->spec->worker_id;
    registration->entry.wanted.registration.spec = registration->spec;
    registration->entry.wanted.registration.wire = registration->wire;
    registration->entry.wanted.registration.assigned = registration->assigned;
    registration->entry.wanted.registration.assigned_count = assignment->n_services;
    registration->entry.done = stored;
    if (!ledger_submit(registration->batch->registrar->ledger, &registration->entry))
        fail(registration, RPC_RESOURCE_EXHAUSTED, "too many changes wait for the disk; try again");
}

/* Stores what the assigner has answered. False: out of memory. */
static bool store_batch(struct registrar_batch *batch)
{
    size_t names = 0, count = batch->count;
    for (size_t i = 0; i < count; i++)
        names += batch->response->assignments[i]->n_services;
    batch->assigned = calloc(names + 1, sizeof(char *));
    if (batch->assigned == NULL)
        return false;
    hold(batch);
    for (size_t i = 0; i < count; i++) {
        const Muster__V1__Assignment *assignment = batch->response->assignments[i];
        names -= assignment->n_services;
        store(batch->members[i], assignment, batch->assigned + names);
    }
    answered(batch);
    return true;
}

/* --- Asking the assigner --- */

static void fail_batch(struct registrar_batch *batch, enum rpc_status status, const char *text)
{
    hold(batch);
    for (size_t i = 0; i < batch->count; i++)
        fail(batch->members[i], status, text);
    answered(batch);
}

static void give_up_on_impatient(struct registrar *registrar, const char *text)
{
    struct registration **link = &registrar->first, *registration;
    char reason[300];
    snprintf(reason, sizeof(reason), "the assigner at %.100s does not answer (%.100s); try again",
             rpc_channel_address(registrar->assigner), text);
    while ((registration = *link) != NULL) {
        if (registration->patience_ends_ms > rpc_loop_now_ms(registrar->loop)) {
            link = &registration->next;
            continue;
        }
        *link = registration->next;
        registrar->waiting_count--;
        registrar->waiting_bytes -= registration->spec_bytes;
        registration->done(registration, &(struct registrar_outcome){.status = RPC_UNAVAILABLE, .text = reason});
    }
    registrar->end = link;
}

/* Puts the batch back in front of those that wait. */
static void ask_again_later(struct registrar_batch *batch, const char *text)
{
    struct registrar *registrar = batch->registrar;
    for (size_t i = batch->count; i-- > 0;) {
        struct registration *registration = batch->members[i];
        map_remove_text(&registrar->under_way, registration->spec->worker_id);
        registration->next = registrar->first;
        registrar->first = registration;
        registrar->waiting_count++;
        registrar->waiting_bytes += registration->spec_bytes;
    }
    free_batch(batch);
    /* Also sets the list's end. */
    give_up_on_impatient(registrar, text);
    if (registrar->first != NULL)
        rpc_loop_timer_start(registrar->loop, &registrar->retry, RETRY_MS, registrar->retry.expired, registrar);
}

static bool answers_batch(const struct registrar_batch *batch, const Muster__V1__AssignStreamResponse *response)
{
    if (response->n_assignments != batch->count)
        return false;
    for (size_t i = 0; i < batch->count; i++)
        if (strcmp(response->assignments[i]->worker_id, batch->members[i]->spec->worker_id) != 0)
            return false;
    return true;
}

/* The batch about which the assigner is not asked any more. */
static struct registrar_batch *end_question(struct registrar *registrar)
{
    struct registrar_batch *batch = registrar->asking;
    registrar->asking = NULL;
    rpc_loop_timer_stop(registrar->loop, &registrar->patience);
    return batch;
}

static void line_answered(struct rpc_call *call, const void *message)
{
    const struct line *line = rpc_call_context(call);
    if (line->registrar == NULL || line->registrar->asking == NULL)
        return; /* it comes too late */
    struct registrar_batch *batch = end_question(line->registrar);
    if (!answers_batch(batch, message)) {
        log_error("the assigner's answer is about other workers than were asked about");
        fail_batch(batch, RPC_INTERNAL, "the assigner answered something else than it was asked");
        return;
    }
    batch->response = rpc_call_keep_message(call, message, &batch->memory);
    if (batch->response == NULL || !store_batch(batch))
        fail_batch(batch, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
}

static void line_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct line *line = rpc_call_context(call);
    struct registrar *registrar = line->registrar;
    bool late = line->late;
    free(line);
    if (registrar == NULL)
        return;
    registrar->line = NULL;
    if (registrar->asking == NULL)
        return;
    struct registrar_batch *batch = end_question(registrar);
    if (late) {
        ask_again_later(batch, "no answer in time");
    } else if (status == RPC_OK || status == RPC_UNAVAILABLE || status == RPC_CANCELLED) {
        ask_again_later(batch, text[0] != '\0' ? text : rpc_status_name(status));
    } else {
        log_error("the assigner refused", LOG_TEXT("status", rpc_status_name(status)), LOG_TEXT("text", text));
        fail_batch(batch, RPC_INTERNAL, text);
    }
}

static void lose_patience(struct timer *timer, void *argument)
{
    struct registrar *registrar = argument;
    (void)timer;
    registrar->line->late = true;
    rpc_call_cancel(registrar->line->call); /* it ends */
}

/* False: out of memory. */
static bool open_line(struct registrar *registrar)
{
    static const struct rpc_events events = {.message = line_answered, .ended = line_ended};
    if (registrar->line != NULL)
        return true;
    struct line *line = calloc(1, sizeof(*line));
    if (line == NULL)
        return false;
    line->registrar = registrar;
    line->call = rpc_channel_stream(registrar->assigner, &muster__v1__assigner_service__descriptor, "AssignStream",
                                    NULL, &events, line);
    registrar->line = line;
    return true;
}

/* --- A batch --- */

/* Takes those that wait into a batch, as far as no other registration of the same worker is under way. NULL: there are
 * none, or memory ran out. */
static struct registrar_batch *gather(struct registrar *registrar)
{
    struct registration **link = &registrar->first, *registration;
    size_t room = registrar->waiting_count < BATCH_MAX ? registrar->waiting_count : BATCH_MAX, bytes = 0;
    struct registrar_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL)
        return NULL;
    batch->registrar = registrar;
    batch->members = calloc(room, sizeof(struct registration *));
    while (batch->members != NULL && (registration = *link) != NULL && batch->count < room && bytes < BATCH_MAX_BYTES) {
        if (map_add_text(&registrar->under_way, registration->spec->worker_id, registration) != registration) {
            link = &registration->next;
            continue;
        }
        *link = registration->next;
        if (registration->next == NULL)
            registrar->end = link;
        registration->next = NULL;
        registration->batch = batch;
        registrar->waiting_count--;
        registrar->waiting_bytes -= registration->spec_bytes;
        bytes += registration->spec_bytes;
        batch->members[batch->count++] = registration;
    }
    batch->unanswered = batch->count;
    if (batch->count > 0)
        return batch;
    free_batch(batch);
    return NULL;
}

/* What the assigner is told of a candidate; what it points to lives until it is freed. */
struct candidate {
    Muster__V1__AssignCandidate message;
    Muster__V1__Worker *present;
};

/* There is room for the names of its services in `announced`. False: out of memory. */
static bool describe(const struct registrar *registrar, const struct registration *registration, char **announced,
                     struct candidate *candidate)
{
    const Muster__V1__WorkerSpec *spec = registration->spec;
    const struct record *record = registry_find(registrar->registry, spec->worker_id);
    muster__v1__assign_candidate__init(&candidate->message);
    candidate->message.worker_id = spec->worker_id;
    candidate->message.incarnation = registry_next_incarnation(registrar->registry, record);
    candidate->message.type = spec_type(spec);
    candidate->message.location = spec->location;
    candidate->message.services_limited = spec->services_limited;
    candidate->message.n_permitted_services = spec->n_permitted_services;
    candidate->message.permitted_services = spec->permitted_services;
    for (size_t i = 0; i < spec->n_services; i++)
        announced[i] = spec->services[i]->name;
    candidate->message.n_announced_services = spec->n_services;
    candidate->message.announced_services = announced;

    if (record == NULL)
        return true;
    candidate->present = record_unpack(record);
    if (candidate->present == NULL)
        return false;
    candidate->message.n_current_services = candidate->present->n_assigned_services;
    candidate->message.current_services = candidate->present->assigned_services;
    return true;
}

static bool ask(struct registrar *registrar, struct registrar_batch *batch)
{
    size_t count = batch->count, names = 0;
    for (size_t i = 0; i < count; i++)
        names += batch->members[i]->spec->n_services;
    char **announced = calloc(names + 1, sizeof(char *));
    struct candidate *candidates = calloc(count, sizeof(*candidates));
    Muster__V1__AssignCandidate **pointers = calloc(count, sizeof(Muster__V1__AssignCandidate *));
    Muster__V1__AssignStreamRequest request = MUSTER__V1__ASSIGN_STREAM_REQUEST__INIT;
    request.without_reasons = true; /* nobody reads them here; ExplainAssignment tells them */
    bool ready = announced != NULL && candidates != NULL && pointers != NULL && open_line(registrar);
    for (size_t i = 0; ready && i < count; i++) {
        names -= batch->members[i]->spec->n_services;
        ready = describe(registrar, batch->members[i], announced + names, &candidates[i]);
        pointers[i] = &candidates[i].message;
    }
    if (ready) {
        request.n_candidates = count;
        request.candidates = pointers;
        registrar->asking = batch;
        rpc_loop_timer_start(registrar->loop, &registrar->patience, REGISTRAR_PATIENCE_MS, lose_patience, registrar);
        (void)rpc_call_send(registrar->line->call, &request.base); /* not taken: the line ends, which says so */
    }
    for (size_t i = 0; candidates != NULL && i < count; i++)
        if (candidates[i].present != NULL)
            muster__v1__worker__free_unpacked(candidates[i].present, NULL);
    free(pointers);
    free(candidates);
    free(announced);
    return ready;
}

static void start_batch(void *argument)
{
    struct registrar *registrar = argument;
    if (registrar->asking != NULL || registrar->first == NULL || timer_active(&registrar->retry))
        return;
    struct registrar_batch *batch = gather(registrar);
    if (batch == NULL) {
        /* The end of what is under way comes here again, and so does the timer when it was for memory. */
        if (registrar->under_way.count == 0)
            rpc_loop_timer_start(registrar->loop, &registrar->retry, RETRY_MS, registrar->retry.expired, registrar);
        return;
    }
    if (!ask(registrar, batch))
        fail_batch(batch, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
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
    rpc_loop_timer_stop(registrar->loop, &registrar->patience);
    if (registrar->line != NULL) {
        registrar->line->registrar = NULL;
        rpc_call_cancel(registrar->line->call);
    }
    if (registrar->asking != NULL)
        free_batch(registrar->asking);
    map_free(&registrar->under_way);
    free(registrar);
}

bool registrar_register(struct registrar *registrar, struct registration *registration)
{
    if (registrar->waiting_count >= REGISTRAR_QUEUE_MAX ||
        registrar->waiting_bytes + registration->spec_bytes > REGISTRAR_QUEUE_MAX_BYTES)
        return false;
    registration->next = NULL;
    registration->assigned = NULL;
    registration->patience_ends_ms = rpc_loop_now_ms(registrar->loop) + REGISTRAR_PATIENCE_MS;
    *registrar->end = registration;
    registrar->end = &registration->next;
    registrar->waiting_count++;
    registrar->waiting_bytes += registration->spec_bytes;
    rpc_loop_at_end_of_turn(registrar->loop, &registrar->hook);
    return true;
}
