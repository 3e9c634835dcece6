/* RegisterWorker and RegisterWorkers; see register.h. */

#include "services/registry/register.h"

#include "services/registry/handlers.h"
#include "services/registry/spec.h"

#include "common/auth/worker_token.h"
#include "common/protobuf/protobuf.h"
#include "common/map.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RegisterWorkersRequest.specs */
#define SPECS_FIELD 1

struct registering;

/* One registration of a call. */
struct newcomer {
    struct registration registration; /* first: a registration is its newcomer */
    struct registering *registering;
    char made_up_id[32];
    struct wire_bytes wire; /* its spec as it came */
};

/* A call. What its specs point to lies in `memory`. */
struct registering {
    struct rpc_call *call;
    struct rpc_message_memory *memory;
    size_t open; /* registrations that are not through, and 1 while they are handed in */

    /* Of RegisterWorkers: the request as it came, whether nobody asks for tokens, and the answer so far. It is made of
     * packed responses with one result each; packed messages, one after the other, are the same as one with the results
     * of all. */
    uint8_t *wire;
    bool without_tokens;
    struct buffer answer;
    struct map configs; /* names of the services whose configurations are in it */

    size_t count;
    struct newcomer newcomers[];
};

static struct registering *create_registering(struct rpc_call *call, size_t count)
{
    struct registering *registering = calloc(1, sizeof(*registering) + count * sizeof(struct newcomer));
    if (registering == NULL)
        return NULL;
    registering->call = call;
    registering->open = 1;
    registering->count = count;
    return registering;
}

static void free_registering(struct registering *registering)
{
    rpc_message_memory_free(registering->memory);
    free(registering->wire);
    buffer_free(&registering->answer);
    size_t position = 0;
    char *name;
    while ((name = map_next(&registering->configs, &position)) != NULL)
        free(name);
    map_free(&registering->configs);
    free(registering);
}

/* Gives a spec without an id one that is not on the roll. False: it has one. */
static bool make_up_id(struct handlers *handlers, struct newcomer *newcomer, Muster__V1__WorkerSpec *spec)
{
    if (spec->worker_id[0] != '\0')
        return false;
    do
        snprintf(newcomer->made_up_id, sizeof(newcomer->made_up_id), "worker-%016llx",
                 (unsigned long long)random_next(&handlers->random));
    while (registry_find(handlers->registry, newcomer->made_up_id) != NULL);
    spec->worker_id = newcomer->made_up_id;
    return true;
}

/* Hands a spec of the call's to the registrar. False: it was not taken, and `done` will not be called. */
static bool begin(struct registering *registering, struct newcomer *newcomer, Muster__V1__WorkerSpec *spec,
                  size_t spec_bytes,
                  void (*done)(struct registration *registration, const struct registrar_outcome *outcome))
{
    struct handlers *handlers = rpc_call_context(registering->call);
    bool named = make_up_id(handlers, newcomer, spec);
    bool changed = spec_normalise(spec) || named;
    newcomer->registering = registering;
    newcomer->registration.spec = spec;
    /* A field may come several times, of which the last counts: more bytes than are allowed are packed anew. */
    bool as_it_came = !changed && newcomer->wire.data != NULL && newcomer->wire.count <= SPEC_MAX_BYTES;
    newcomer->registration.wire = as_it_came ? &newcomer->wire : NULL;
    newcomer->registration.spec_bytes = spec_bytes;
    newcomer->registration.done = done;
    if (!registrar_register(handlers->registrar, &newcomer->registration))
        return false;
    registering->open++;
    return true;
}

static const char too_many[] = "too many registrations wait; try again in a few seconds";
static const char out_of_memory[] = "out of memory; try again";

/* With which the worker speaks for itself from now on. */
static char *make_token(const struct registering *registering, const struct record *record,
                        char token[AUTH_WORKER_TOKEN_BYTES])
{
    const struct handlers *handlers = rpc_call_context(registering->call);
    token[0] = '\0';
    /* Ids that are none were refused before. */
    (void)auth_worker_token_make(handlers->secret, record->id, record->incarnation, token);
    return token;
}

/* --- RegisterWorker --- */

static void registered(struct registration *registration, const struct registrar_outcome *outcome)
{
    struct registering *registering = ((struct newcomer *)registration)->registering;
    if (outcome->status == RPC_OK) {
        struct record_message message;
        Muster__V1__RegisterWorkerResponse response = MUSTER__V1__REGISTER_WORKER_RESPONSE__INIT;
        record_message_init(&message, outcome->record);
        response.worker = &message.worker;
        response.n_service_configs = outcome->assignment->n_services;
        response.service_configs = outcome->assignment->services;
        char token[AUTH_WORKER_TOKEN_BYTES];
        response.worker_token = make_token(registering, outcome->record, token);
        rpc_call_reply(registering->call, &response.base);
    } else {
        rpc_call_finish(registering->call, outcome->status, "%s", outcome->text);
    }
    free_registering(registering);
}

void register_worker(struct rpc_call *call, const void *message)
{
    const Muster__V1__RegisterWorkerRequest *request = message;
    char error[SPEC_ERROR_BYTES];
    if (request->spec == NULL) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "spec: is missing; say who registers");
        return;
    }
    if (!spec_check(request->spec, 0, error)) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "%s", error);
        return;
    }
    const struct handlers *handlers = rpc_call_context(call);
    enum registry_result key =
        registry_check_key(handlers->registry, request->spec->worker_id, request->spec->registered_by);
    if (key != REGISTRY_OK) {
        rpc_call_finish(call, key == REGISTRY_OF_ANOTHER_KEY ? RPC_PERMISSION_DENIED : RPC_RESOURCE_EXHAUSTED, "%s",
                        registry_result_text(key));
        return;
    }
    struct registering *registering = create_registering(call, 1);
    request = registering == NULL ? NULL : rpc_call_keep_message(call, message, &registering->memory);
    if (request == NULL) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "%s", out_of_memory);
    } else {
        size_t bytes;
        (void)rpc_call_message_bytes(call, &bytes);
        if (begin(registering, &registering->newcomers[0], request->spec, bytes, registered))
            return;
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "%s", too_many);
    }
    if (registering != NULL)
        free_registering(registering);
}

/* --- RegisterWorkers --- */

static void append_answer(struct registering *registering, const Muster__V1__RegisterWorkersResponse *part)
{
    protobuf_append(&registering->answer, &part->base); /* reply looks at whether it has failed */
}

static void append_result(struct registering *registering, Muster__V1__RegisterWorkersResult *result,
                          const struct newcomer *newcomer)
{
    Muster__V1__RegisterWorkersResponse part = MUSTER__V1__REGISTER_WORKERS_RESPONSE__INIT;
    result->index = (uint32_t)(newcomer - registering->newcomers);
    part.n_results = 1;
    part.results = &result;
    append_answer(registering, &part);
}

static void append_refusal(struct registering *registering, const struct newcomer *newcomer, enum rpc_status status,
                           const char *text)
{
    Muster__V1__RegisterWorkersResult result = MUSTER__V1__REGISTER_WORKERS_RESULT__INIT;
    result.status = (uint32_t)status;
    result.text = (char *)(uintptr_t)text; /* only read */
    append_result(registering, &result, newcomer);
}

/* Those that no result before had. One that is sent twice for lack of memory does no harm. */
static void append_configs(struct registering *registering, const Muster__V1__Assignment *assignment)
{
    for (size_t i = 0; i < assignment->n_services; i++) {
        if (map_get_text(&registering->configs, assignment->services[i]->name) != NULL)
            continue;
        Muster__V1__RegisterWorkersResponse part = MUSTER__V1__REGISTER_WORKERS_RESPONSE__INIT;
        part.n_service_configs = 1;
        part.service_configs = &assignment->services[i];
        append_answer(registering, &part);
        char *name = strdup(assignment->services[i]->name);
        if (name != NULL && !map_put_text(&registering->configs, name, name, NULL))
            free(name);
    }
}

static void reply(struct registering *registering)
{
    struct buffer *answer = &registering->answer;
    Muster__V1__RegisterWorkersResponse response = MUSTER__V1__REGISTER_WORKERS_RESPONSE__INIT;
    ProtobufCMessageUnknownField packed;
    if (buffer_failed(answer)) {
        rpc_call_finish(registering->call, RPC_RESOURCE_EXHAUSTED, "%s", out_of_memory);
        return;
    }
    if (answer->bytes > 0) {
        /* As in record.h: what is packed already is sent as an unknown field, whose first byte protobuf-c writes. */
        packed = (ProtobufCMessageUnknownField){.tag = (uint32_t)(uint8_t)answer->data[0] >> 3,
                                                .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                                .len = answer->bytes - 1,
                                                .data = (uint8_t *)answer->data + 1};
        response.base.n_unknown_fields = 1;
        response.base.unknown_fields = &packed;
    }
    rpc_call_reply(registering->call, &response.base);
}

static void step(struct registering *registering)
{
    if (--registering->open > 0)
        return;
    reply(registering);
    free_registering(registering);
}

static void one_of_many_registered(struct registration *registration, const struct registrar_outcome *outcome)
{
    const struct newcomer *newcomer = (const struct newcomer *)registration;
    struct registering *registering = newcomer->registering;
    if (outcome->status != RPC_OK) {
        append_refusal(registering, newcomer, outcome->status, outcome->text);
    } else {
        Muster__V1__RegisterWorkersResult result = MUSTER__V1__REGISTER_WORKERS_RESULT__INIT;
        struct record_message message;
        record_message_init(&message, outcome->record);
        /* Of the body only what the caller does not have. */
        message.worker.base.n_unknown_fields = 0;
        message.worker.n_assigned_services = outcome->assignment->n_services;
        message.worker.assigned_services = registration->assigned;
        result.worker_id = (char *)(uintptr_t)outcome->record->id; /* only read */
        result.worker = &message.worker;
        char token[AUTH_WORKER_TOKEN_BYTES];
        if (!registering->without_tokens)
            result.worker_token = make_token(registering, outcome->record, token);
        append_result(registering, &result, newcomer);
        append_configs(registering, outcome->assignment);
    }
    step(registering);
}

/* Keeps the request as it came, and finds each spec in it: they are stored like that. Without memory they are packed
 * anew. */
static void keep_wire(struct registering *registering)
{
    struct wire_bytes rest;
    struct wire_field field;
    const uint8_t *bytes = rpc_call_message_bytes(registering->call, &rest.count);
    registering->wire = malloc(rest.count + 1);
    if (registering->wire == NULL)
        return;
    memcpy(registering->wire, bytes, rest.count);
    rest.data = registering->wire;
    for (size_t i = 0; i < registering->count && wire_next(&rest, &field);)
        if (field.number == SPECS_FIELD)
            registering->newcomers[i++].wire = field.bytes;
}

void register_workers(struct rpc_call *call, const void *message)
{
    const Muster__V1__RegisterWorkersRequest *request = message;
    if (request->n_specs > REGISTER_MAX_WORKERS) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "specs: has %zu entries; at most %d are allowed", request->n_specs,
                        REGISTER_MAX_WORKERS);
        return;
    }
    const struct handlers *handlers = rpc_call_context(call);
    struct registering *registering = create_registering(call, request->n_specs);
    request = registering == NULL ? NULL : rpc_call_keep_message(call, message, &registering->memory);
    if (request == NULL) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "%s", out_of_memory);
        if (registering != NULL)
            free_registering(registering);
        return;
    }
    registering->without_tokens = request->without_tokens;
    keep_wire(registering);
    for (size_t i = 0; i < request->n_specs; i++) {
        struct newcomer *newcomer = &registering->newcomers[i];
        char error[SPEC_ERROR_BYTES];
        if (!spec_check(request->specs[i], newcomer->wire.count, error))
            append_refusal(registering, newcomer, RPC_INVALID_ARGUMENT, error);
        else if (registry_check_key(handlers->registry, request->specs[i]->worker_id,
                                    request->specs[i]->registered_by) == REGISTRY_OF_ANOTHER_KEY)
            append_refusal(registering, newcomer, RPC_PERMISSION_DENIED, registry_result_text(REGISTRY_OF_ANOTHER_KEY));
        else if (!begin(registering, newcomer, request->specs[i], newcomer->wire.count, one_of_many_registered))
            append_refusal(registering, newcomer, RPC_RESOURCE_EXHAUSTED, too_many);
    }
    step(registering);
}
