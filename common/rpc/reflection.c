/* Server reflection: what a tool needs to call services that it has no files of.
 *
 * The protocol has two versions, v1 and v1alpha, which differ in the name of their package
 * and nothing else: both are served by the code of v1. */

#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "proto/grpc_descriptors.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

static void answer_error(struct rpc_call *call, Response *response, enum rpc_status status, const char *text)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = (int32_t)status;
    error.error_message = (char *)(uintptr_t)text; /* protobuf-c knows no const */
    response->message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = &error;
    rpc_call_send(call, &response->base);
}

/* Answers with a file and all that it imports, each once. */
static void answer_file(struct rpc_call *call, Response *response, size_t file, const char *what)
{
    const struct rpc_server *server = rpc_call_context(call);
    const struct rpc_files *files = &server->files;
    if (file == files->count) {
        answer_error(call, response, RPC_NOT_FOUND, what);
        return;
    }
    size_t *chosen = rpc_allocate(files->count * sizeof(chosen[0]));
    bool *seen = rpc_allocate_zeroed(files->count * sizeof(seen[0]));
    ProtobufCBinaryData *contents = rpc_allocate(files->count * sizeof(contents[0]));
    size_t count = 0;
    chosen[count++] = file;
    seen[file] = true;
    for (size_t i = 0; i < count; i++) {
        size_t imported = 0;
        for (size_t n = 0; rpc_files_import(files, chosen[i], n, &imported); n++) {
            if (imported == files->count || seen[imported])
                continue;
            chosen[count++] = imported;
            seen[imported] = true;
        }
    }
    for (size_t i = 0; i < count; i++) {
        contents[i].data = (uint8_t *)(uintptr_t)files->items[chosen[i]].data; /* as above */
        contents[i].len = files->items[chosen[i]].count;
    }
    Grpc__Reflection__V1__FileDescriptorResponse found = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    found.n_file_descriptor_proto = count;
    found.file_descriptor_proto = contents;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = &found;
    rpc_call_send(call, &response->base);
    free(contents);
    free(seen);
    free(chosen);
}

struct numbers {
    int32_t *items;
    size_t count;
};

static void add_number(void *argument, int32_t number)
{
    struct numbers *numbers = argument;
    numbers->items = rpc_reallocate(numbers->items, (numbers->count + 1) * sizeof(numbers->items[0]));
    numbers->items[numbers->count++] = number;
}

static void answer_extensions(struct rpc_call *call, Response *response, char *type)
{
    const struct rpc_server *server = rpc_call_context(call);
    if (rpc_files_by_symbol(&server->files, type) == server->files.count) {
        answer_error(call, response, RPC_NOT_FOUND, "there is no such type");
        return;
    }
    struct numbers numbers = {NULL, 0};
    rpc_files_extensions(&server->files, type, add_number, &numbers);
    Grpc__Reflection__V1__ExtensionNumberResponse found = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    found.base_type_name = type;
    found.n_extension_number = numbers.count;
    found.extension_number = numbers.items;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    response->all_extension_numbers_response = &found;
    rpc_call_send(call, &response->base);
    free(numbers.items);
}

static void answer_services(struct rpc_call *call, Response *response)
{
    const struct rpc_server *server = rpc_call_context(call);
    size_t count = server->service_count;
    Grpc__Reflection__V1__ServiceResponse *services = rpc_allocate(count * sizeof(services[0]));
    Grpc__Reflection__V1__ServiceResponse **pointers = rpc_allocate(count * sizeof(pointers[0]));
    for (size_t i = 0; i < count; i++) {
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = (char *)(uintptr_t)server->services[i].descriptor->name; /* as above */
        pointers[i] = &services[i];
    }
    Grpc__Reflection__V1__ListServiceResponse list = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    list.n_service = count;
    list.service = pointers;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = &list;
    rpc_call_send(call, &response->base);
    free(pointers);
    free(services);
}

static void answer(struct rpc_call *call, const void *message)
{
    const struct rpc_server *server = rpc_call_context(call);
    const struct rpc_files *files = &server->files;
    Request request = *(const Request *)message;
    Response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    response.valid_host = request.host;
    response.original_request = &request;
    switch (request.message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_file(call, &response, rpc_files_by_name(files, request.file_by_filename), "there is no such file");
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_file(call, &response, rpc_files_by_symbol(files, request.file_containing_symbol),
                    "there is no such symbol");
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        answer_file(call, &response,
                    rpc_files_by_extension(files, request.file_containing_extension->containing_type,
                                           request.file_containing_extension->extension_number),
                    "there is no such extension");
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_extensions(call, &response, request.all_extension_numbers_of_type);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_services(call, &response);
        break;
    default:
        answer_error(call, &response, RPC_INVALID_ARGUMENT, "the request asks for nothing");
        break;
    }
    /* Answers are much longer than requests: no more of them than the client takes. */
    if (!rpc_call_writable(call))
        rpc_call_pause(call);
}

static void go_on(struct rpc_call *call)
{
    rpc_call_resume(call);
}

static void close_stream(struct rpc_call *call)
{
    rpc_call_finish(call, RPC_OK, "%s", "");
}

void rpc_reflection_add(struct rpc_server *server)
{
    static const struct rpc_method methods[] = {
        {"ServerReflectionInfo",
         RPC_BIDI_STREAMING,
         {.message = answer, .half_closed = close_stream, .writable = go_on}},
    };
    rpc_server_add(server, &grpc__reflection__v1__server_reflection__descriptor, methods, 1, server, true);
    server->reflection_alpha = grpc__reflection__v1__server_reflection__descriptor;
    server->reflection_alpha.name = grpc__reflection__v1alpha__server_reflection__descriptor.name;
    rpc_server_add(server, &server->reflection_alpha, methods, 1, server, true);
    rpc_files_add(&server->files, grpc_descriptors, grpc_descriptors_bytes);
}
