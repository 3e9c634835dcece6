/* Fuzz target: the bodies of POST /api/worker/register and /heartbeat. What is taken must fit
 * the limits of the protocol and survive packing; what is refused must say why. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/request_json.h"

static void check_error(enum request_json_result result, const struct json_error *error)
{
    if ((result == REQUEST_JSON_OK) == json_error_set(error))
        abort();
    if (strlen(error->message) >= sizeof error->message || strchr(error->message, '\n') != NULL)
        abort();
}

/* What is read by hand is read as the schema says. */
static void check_agreement(const struct schema *schema, const char *body, size_t bytes,
                            enum request_json_result result)
{
    struct json_document document;
    struct json_error error = {.message = ""};
    enum request_json_result expected = REQUEST_JSON_MALFORMED;
    if (json_document_parse(&document, body, bytes))
        expected =
            schema_check(schema, &document, json_root(&document), "", &error) ? REQUEST_JSON_OK : REQUEST_JSON_INVALID;
    json_document_free(&document);
    if (result != expected)
        abort();
}

static void check_packs(const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(bytes + 1);
    if (packed == NULL || protobuf_c_message_pack(message, packed) != bytes)
        abort();
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, bytes, packed);
    if (copy == NULL)
        abort();
    protobuf_c_message_free_unpacked(copy, NULL);
    free(packed);
}

static void check_registration(const char *body, size_t bytes)
{
    struct arena arena;
    struct json_error error = {.message = ""};
    Muster__V1__RegisterWorkerRequest *request = NULL;
    arena_init(&arena, NULL, 0);
    enum request_json_result result = register_request_from_json(body, bytes, &arena, &request, NULL, &error);
    check_error(result, &error);
    check_agreement(&schema_registration, body, bytes, result);
    if (result == REQUEST_JSON_OK) {
        const Muster__V1__WorkerSpec *spec = request->spec;
        if (strlen(spec->worker_id) > REQUEST_WORKER_ID_BYTES_MAX || strncasecmp(spec->tunnel_url, "http", 4) != 0 ||
            spec->n_services > REQUEST_SERVICES_MAX)
            abort();
        for (size_t i = 0; i < spec->n_services; i++) {
            if (spec->services[i]->name[0] == '\0')
                abort();
        }
        /* What lists will show as it is must be JSON. */
        struct json_document document;
        if (spec->capabilities != NULL &&
            !json_document_parse(&document, spec->capabilities->json, strlen(spec->capabilities->json)))
            abort();
        if (spec->capabilities != NULL)
            json_document_free(&document);
        check_packs(&request->base);
    }
    arena_free(&arena);
}

static void check_heartbeat(const char *body, size_t bytes)
{
    struct arena arena;
    struct json_error error = {.message = ""};
    Muster__V1__Heartbeat *heartbeat = NULL;
    arena_init(&arena, NULL, 0);
    enum request_json_result result = heartbeat_from_json(body, bytes, &arena, &heartbeat, &error);
    check_error(result, &error);
    check_agreement(&schema_heartbeat, body, bytes, result);
    if (result == REQUEST_JSON_OK)
        check_packs(&heartbeat->base);
    arena_free(&arena);
}

static void check_import(const char *body, size_t bytes)
{
    struct arena arena;
    struct json_error error = {.message = ""};
    Muster__V1__Worker *worker = NULL;
    arena_init(&arena, NULL, 0);
    enum request_json_result result = import_worker_from_json(body, bytes, &arena, &worker, &error);
    check_error(result, &error);
    if (result == REQUEST_JSON_OK && worker->spec->worker_id[0] == '\0')
        abort();
    if (result == REQUEST_JSON_OK)
        check_packs(&worker->base);
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    check_registration((const char *)data, bytes);
    check_heartbeat((const char *)data, bytes);
    check_import((const char *)data, bytes);
    return 0;
}
