/* Fuzz target: requests that registry and assigner take, from their bytes on. The input's
 * first byte says which request, the rest is the message. What passes the checks goes on the
 * roll, to the disk's form and back, and out to a watcher, unchanged each time. */

#include "services/assigner/assigner.h"
#include "services/registry/registry.h"
#include "services/registry/spec.h"

#include "muster/v1/assigner.pb-c.h"
#include "muster/v1/health.pb-c.h"
#include "muster/v1/registry.pb-c.h"
#include "muster/v1/router.pb-c.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
    if (!holds)
        abort();
}

static struct registry *new_roll(void)
{
    struct registry *registry = registry_create(8);
    require(registry != NULL);
    registry_restored(registry, &(struct registry_meta){0, 0});
    struct registry_meta meta = registry_meta_after(registry, NULL, 0);
    registry_meta_stored(registry, &meta);
    return registry;
}

/* A record is, byte for byte, what was registered. */
static void require_same_spec(const struct record *record, const Muster__V1__WorkerSpec *spec)
{
    Muster__V1__Worker *worker = record_unpack(record);
    require(worker != NULL && worker->spec != NULL);
    size_t bytes = muster__v1__worker_spec__get_packed_size(spec);
    require(bytes == muster__v1__worker_spec__get_packed_size(worker->spec));
    uint8_t *a = malloc(bytes + 1), *b = malloc(bytes + 1);
    require(a != NULL && b != NULL);
    muster__v1__worker_spec__pack(spec, a);
    muster__v1__worker_spec__pack(worker->spec, b);
    require(memcmp(a, b, bytes) == 0);
    free(a);
    free(b);
    muster__v1__worker__free_unpacked(worker, NULL);
}

/* Sends the roll to an assigner, as a watch does. */
static void watch(struct registry *registry)
{
    struct assigner *assigner = assigner_create(catalog_create_default());
    struct registry_cursor cursor;
    const Muster__V1__WatchWorkersResponse *message;
    require(assigner != NULL);
    registry_cursor_start(registry, &cursor, 0);
    while ((message = registry_cursor_next(registry, &cursor)) != NULL) {
        size_t bytes = muster__v1__watch_workers_response__get_packed_size(message);
        uint8_t *packed = malloc(bytes);
        require(packed != NULL);
        muster__v1__watch_workers_response__pack(message, packed);
        Muster__V1__WatchWorkersResponse *copy = muster__v1__watch_workers_response__unpack(NULL, bytes, packed);
        require(copy != NULL && assigner_apply(assigner, copy));
        muster__v1__watch_workers_response__free_unpacked(copy, NULL);
        free(packed);
    }
    require(assigner_worker_count(assigner) == registry_count(registry) && assigner_check(assigner));
    assigner_destroy(assigner);
}

/* A record of the spec's own bytes says the same as one that was packed anew. */
static void keep_as_it_came(const Muster__V1__WorkerSpec *spec, const uint8_t *data, size_t bytes)
{
    struct wire_bytes rest = {data, bytes}, wire = {NULL, 0};
    struct wire_field field;
    size_t specs = 0;
    while (wire_next(&rest, &field)) {
        if (field.number != 1)
            continue;
        require(field.bytes.data != NULL);
        wire = field.bytes;
        specs++;
    }
    if (rest.count > 0) /* fields of number 0, which only protobuf-c passes over */
        return;
    if (specs != 1) /* several are merged */
        return;
    char service[] = "notes-coa", *assigned[] = {service};
    Muster__V1__Worker worker = MUSTER__V1__WORKER__INIT;
    worker.spec = (Muster__V1__WorkerSpec *)(uintptr_t)spec;
    worker.assigned_services = assigned;
    worker.n_assigned_services = 1;
    struct record *record = record_create_from_wire(&worker, &wire, NULL);
    require(record != NULL);
    require_same_spec(record, spec);
    record_free(record);
}

static void register_worker(const uint8_t *data, size_t bytes)
{
    Muster__V1__RegisterWorkerRequest *request = muster__v1__register_worker_request__unpack(NULL, bytes, data);
    char error[SPEC_ERROR_BYTES];
    if (request == NULL)
        return;
    if (request->spec != NULL && spec_check(request->spec, 0, error) && request->spec->worker_id[0] != '\0')
        keep_as_it_came(request->spec, data, bytes);
    if (request->spec != NULL && !spec_check(request->spec, 0, error))
        require(error[0] != '\0' && strchr(error, '\n') == NULL);
    else if (request->spec != NULL && request->spec->worker_id[0] != '\0') {
        struct registry *registry = new_roll();
        struct registry_change change;
        struct buffer value = BUFFER_INIT;
        char service[] = "notes-coa", *assigned[] = {service};
        const char *id = request->spec->worker_id;
        spec_normalise(request->spec);
        require(spec_check(request->spec, 0, error));
        require(registry_prepare_registration(registry, request->spec, NULL, assigned, 1, 0, &change) == REGISTRY_OK);
        registry_change_value(&change, &value);
        require(registry_apply(registry, &change) != 0);
        require_same_spec(registry_find(registry, id), request->spec);
        watch(registry);
        registry_destroy(registry);

        registry = registry_create(8);
        require(registry != NULL);
        require(registry_restore(registry, 0, id, strlen(id), value.data, value.bytes, 0) == REGISTRY_OK);
        require_same_spec(registry_find(registry, id), request->spec);
        registry_destroy(registry);
        buffer_free(&value);
    }
    muster__v1__register_worker_request__free_unpacked(request, NULL);
}

/* A value from the disk is refused, or gives a record that can be sent. */
static void restore(const uint8_t *data, size_t bytes)
{
    struct record *record = record_from_value(data, bytes, NULL);
    if (record == NULL)
        return;
    Muster__V1__Worker *worker = record_unpack(record);
    require(worker != NULL && strcmp(worker->spec->worker_id, record->id) == 0);
    muster__v1__worker__free_unpacked(worker, NULL);
    record_free(record);
}

static void assign(const uint8_t *data, size_t bytes)
{
    Muster__V1__AssignRequest *request = muster__v1__assign_request__unpack(NULL, bytes, data);
    if (request == NULL)
        return;
    struct assigner *assigner = assigner_create(catalog_create_default());
    require(assigner != NULL);
    for (size_t i = 0; i < request->n_candidates; i++)
        if (request->candidates[i]->type >= 1 && request->candidates[i]->type <= 4)
            require(assigner_assign(assigner, request->candidates[i], i) != NULL);
    require(assigner_check(assigner));
    assigner_destroy(assigner);
    muster__v1__assign_request__free_unpacked(request, NULL);
}

static void report(const uint8_t *data, size_t bytes)
{
    Muster__V1__ReportLivenessRequest *request = muster__v1__report_liveness_request__unpack(NULL, bytes, data);
    if (request == NULL)
        return;
    struct registry *registry = new_roll();
    Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
    struct registry_change change;
    spec.worker_id = (char *)"w1";
    require(registry_prepare_registration(registry, &spec, NULL, NULL, 0, 0, &change) == REGISTRY_OK);
    require(registry_apply(registry, &change) != 0);
    for (size_t i = 0; i < request->n_changes; i++) {
        const Muster__V1__LivenessChange *found = request->changes[i];
        enum registry_result result =
            registry_set_status(registry, found->worker_id, found->incarnation, found->status, found->reason, 0);
        require(result == REGISTRY_OK || result == REGISTRY_NOT_FOUND || result == REGISTRY_STALE ||
                result == REGISTRY_INVALID);
    }
    watch(registry);
    registry_destroy(registry);
    muster__v1__report_liveness_request__free_unpacked(request, NULL);
}

/* What an assigner might be sent by a registry that is not ours. */
static void apply(const uint8_t *data, size_t bytes)
{
    Muster__V1__WatchWorkersResponse *message = muster__v1__watch_workers_response__unpack(NULL, bytes, data);
    if (message == NULL)
        return;
    struct assigner *assigner = assigner_create(catalog_create_default());
    require(assigner != NULL && assigner_apply(assigner, message) && assigner_check(assigner));
    assigner_destroy(assigner);
    muster__v1__watch_workers_response__free_unpacked(message, NULL);
}

/* Any other request: decoded, and its size counted, which visits all of it. */
static void decode(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t bytes)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, bytes, data);
    if (message == NULL)
        return;
    require(protobuf_c_message_get_packed_size(message) <= 16 * bytes + 16);
    protobuf_c_message_free_unpacked(message, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const ProtobufCMessageDescriptor *others[] = {
        &muster__v1__heartbeat_request__descriptor,       &muster__v1__heartbeat_response__descriptor,
        &muster__v1__report_outcomes_request__descriptor, &muster__v1__watch_routes_response__descriptor,
        &muster__v1__watch_health_response__descriptor,
    };
    if (bytes == 0)
        return 0;
    uint8_t kind = data[0];
    data++;
    bytes--;
    switch (kind % 6) {
    case 0:
        register_worker(data, bytes);
        break;
    case 1:
        restore(data, bytes);
        break;
    case 2:
        assign(data, bytes);
        break;
    case 3:
        report(data, bytes);
        break;
    case 4:
        apply(data, bytes);
        break;
    default:
        decode(others[kind / 6 % (sizeof(others) / sizeof(others[0]))], data, bytes);
        break;
    }
    return 0;
}
