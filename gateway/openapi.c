/* See openapi.h. */

#include "gateway/openapi.h"

#include <stdio.h>
#include <string.h>

#include "common/json/write.h"
#include "gateway/api.h"
#include "gateway/openapi_schema.h"

/* --- Operations --- */

static void write_parameter(struct json_writer *writer, const struct schema_field *field, const char *in,
                            struct openapi_components *components)
{
    json_write_object_begin(writer);
    openapi_write_text(writer, "name", field->name);
    openapi_write_text(writer, "in", in);
    json_write_key(writer, "required");
    json_write_bool(writer, (field->flags & SCHEMA_REQUIRED) != 0);
    openapi_write_text(writer, "description", field->help);
    openapi_begin_object(writer, "schema");
    openapi_write_value(writer, &field->value, false, components);
    json_write_object_end(writer);
    if (field->example != NULL) {
        json_write_key(writer, "example");
        json_write_raw(writer, field->example, strlen(field->example));
    }
    json_write_object_end(writer);
}

static void write_parameters(struct json_writer *writer, const struct api_route *route, const char *path,
                             struct openapi_components *components)
{
    json_write_key(writer, "parameters");
    json_write_array_begin(writer);
    for (const char *at = path; (at = strchr(at, '{')) != NULL;) {
        const char *name = ++at;
        const struct schema_field *field = api_path_parameter(name, strcspn(name, "}"));
        if (field != NULL)
            write_parameter(writer, field, "path", components);
    }
    for (const struct schema_field *field = route->query; field != NULL && field->name != NULL; field++)
        write_parameter(writer, field, "query", components);
    json_write_array_end(writer);
}

static void write_json_content(struct json_writer *writer, const struct schema *schema,
                               struct openapi_components *components)
{
    openapi_begin_object(writer, "content");
    openapi_begin_object(writer, "application/json");
    openapi_begin_object(writer, "schema");
    openapi_write_reference(writer, schema, components);
    json_write_object_end(writer);
    json_write_object_end(writer);
    json_write_object_end(writer);
}

static void write_request_body(struct json_writer *writer, const struct api_route *route,
                               struct openapi_components *components)
{
    if (route->request == NULL && (route->flags & API_RELAYED) == 0)
        return;
    openapi_begin_object(writer, "requestBody");
    if (route->body_bytes_max != 0) {
        json_write_key(writer, "x-muster-bytes-max");
        json_write_uint(writer, route->body_bytes_max);
    }
    json_write_key(writer, "required");
    json_write_bool(writer, route->request != NULL);
    if (route->request != NULL) {
        write_json_content(writer, route->request, components);
    } else {
        openapi_write_text(writer, "description", "Whatever the service takes; it is passed on as it comes.");
        openapi_begin_object(writer, "content");
        openapi_begin_object(writer, "*/*");
        json_write_object_end(writer);
        json_write_object_end(writer);
    }
    json_write_object_end(writer);
}

/* The only one of a response. */
static void write_header(struct json_writer *writer, const char *name, const char *help, const char *type)
{
    openapi_begin_object(writer, "headers");
    openapi_begin_object(writer, name);
    openapi_write_text(writer, "description", help);
    openapi_begin_object(writer, "schema");
    openapi_write_text(writer, "type", type);
    json_write_object_end(writer);
    json_write_object_end(writer);
    json_write_object_end(writer);
}

static void write_success(struct json_writer *writer, const struct api_route *route,
                          struct openapi_components *components)
{
    char status[12];
    snprintf(status, sizeof status, "%u", route->reply_status == 0 ? 200 : route->reply_status);
    openapi_begin_object(writer, (route->flags & API_RELAYED) != 0 ? "default" : status);
    openapi_write_text(writer, "description",
                       (route->flags & API_RELAYED) != 0 ? "What the worker answered; X-Served-By says which one."
                       : route->reply != NULL            ? route->reply->help
                                                         : route->help);
    if ((route->flags & API_TAGGED) != 0)
        write_header(writer, "ETag", "Of this reply, for If-None-Match.", "string");
    if (route->reply != NULL) {
        write_json_content(writer, route->reply, components);
    } else if (route->reply_type != NULL) {
        openapi_begin_object(writer, "content");
        openapi_begin_object(writer, route->reply_type);
        json_write_object_end(writer);
        json_write_object_end(writer);
    }
    json_write_object_end(writer);
}

/* Errors of one status, with their codes: those of `errors` that have it. */
static void write_errors_of(struct json_writer *writer, unsigned status, uint64_t errors,
                            struct openapi_components *components)
{
    char key[12];
    struct buffer codes = BUFFER_INIT;
    bool retry = false;
    for (unsigned id = 0; id < ERROR_COUNT; id++) {
        const struct error_kind *kind = error_kind(id);
        if ((errors & API_ERROR(id)) == 0 || kind->status != status)
            continue;
        buffer_append_format(&codes, "%s%s", codes.bytes == 0 ? "" : ", ", kind->code);
        retry = retry || kind->retry_after_seconds > 0;
    }
    if (codes.bytes > 0) {
        snprintf(key, sizeof key, "%u", status);
        openapi_begin_object(writer, key);
        openapi_write_text(writer, "description", codes.data);
        if (retry)
            write_header(writer, "Retry-After", "Seconds after which to try again.", "integer");
        if (status == error_kind(ERROR_UNAUTHORIZED)->status)
            write_header(writer, "WWW-Authenticate", "Bearer, and what is wrong with the credential (RFC 6750).",
                         "string");
        write_json_content(writer, &schema_error, components);
        json_write_object_end(writer);
    }
    writer->out->failed |= buffer_failed(&codes);
    buffer_free(&codes);
}

static void write_responses(struct json_writer *writer, const struct api_route *route,
                            struct openapi_components *components)
{
    uint64_t errors = api_errors(components->role, route);
    openapi_begin_object(writer, "responses");
    write_success(writer, route, components);
    if ((route->flags & API_TAGGED) != 0) {
        openapi_begin_object(writer, "304");
        openapi_write_text(writer, "description", "The client has it: If-None-Match named its ETag.");
        json_write_object_end(writer);
    }
    for (unsigned status = 400; status < 600; status++)
        write_errors_of(writer, status, errors, components);
    json_write_object_end(writer);
}

static const char *caller_word(enum api_caller caller)
{
    switch (caller) {
    case API_FOR_CLIENTS:
        return "clients";
    case API_FOR_WORKERS:
        return "workers";
    case API_FOR_OPERATORS:
        return "operators";
    default:
        return "everybody";
    }
}

/* What a caller must come with, where keys are configured: one of these, of somebody with the right that is named as
 * its role. */
static void write_security(struct json_writer *writer, const struct api_route *route)
{
    static const char *const schemes[] = {"ApiKey", "Bearer", "WorkerToken"};
    size_t count = (route->flags & API_OWN_WORKER) != 0 ? 3 : 2;
    json_write_key(writer, "security");
    json_write_array_begin(writer);
    for (size_t i = 0; route->caller != API_FOR_EVERYBODY && i < count; i++) {
        json_write_object_begin(writer);
        json_write_key(writer, schemes[i]);
        json_write_array_begin(writer);
        if (i < 2)
            json_write_text(writer, route->caller == API_FOR_CLIENTS   ? "client"
                                    : route->caller == API_FOR_WORKERS ? "worker"
                                                                       : "admin");
        json_write_array_end(writer);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

static void write_operation(struct json_writer *writer, const struct api_route *route, const char *method,
                            const char *path, const char *suffix, struct openapi_components *components)
{
    struct buffer id = BUFFER_INIT;
    bool any_method = strcmp(route->method, "*") == 0;
    buffer_append_format(&id, "%s%s%s%s", route->label, suffix, any_method ? "_" : "", any_method ? method : "");
    openapi_begin_object(writer, method);
    openapi_write_text(writer, "operationId", id.data);
    openapi_write_text(writer, "summary", route->help);
    json_write_key(writer, "tags");
    json_write_array_begin(writer);
    json_write_text(writer, caller_word(route->caller));
    json_write_array_end(writer);
    openapi_write_text(writer, "x-muster-caller", caller_word(route->caller));
    if ((route->flags & API_RELAYED) != 0) {
        json_write_key(writer, "x-muster-relayed");
        json_write_bool(writer, true);
    }
    if ((route->flags & API_BODY_PIPED) != 0) {
        json_write_key(writer, "x-muster-piped");
        json_write_bool(writer, true);
    }
    write_security(writer, route);
    write_parameters(writer, route, path, components);
    write_request_body(writer, route, components);
    write_responses(writer, route, components);
    json_write_object_end(writer);
    writer->out->failed |= buffer_failed(&id);
    buffer_free(&id);
}

static void write_methods(struct json_writer *writer, const struct api_route *route, const char *path,
                          const char *suffix, struct openapi_components *components)
{
    static const char *const all[] = {"get", "post", "put", "patch", "delete"};
    char method[16] = "";
    if (strcmp(route->method, "*") == 0) {
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            write_operation(writer, route, all[i], path, suffix, components);
        return;
    }
    for (size_t i = 0; route->method[i] != '\0' && i < sizeof method - 1; i++)
        method[i] = (char)(route->method[i] | 0x20); /* to lower case */
    write_operation(writer, route, method, path, suffix, components);
}

/* --- Paths --- */

/* The path of a pattern as OpenAPI writes it: without what is optional, or with it. */
static void path_of(const char *pattern, bool with_rest, struct buffer *path)
{
    size_t literal = strcspn(pattern, "[");
    const char *rest = strstr(pattern, "/{rest...}");
    if (rest != NULL && (size_t)(rest - pattern) < literal)
        literal = (size_t)(rest - pattern);
    buffer_append(path, pattern, literal);
    if (with_rest)
        buffer_append_text(path, "/{rest}");
}

/* All routes of one path stand together: written by the first of them. */
static void write_path(struct json_writer *writer, size_t first, bool with_rest, const char *suffix,
                       struct openapi_components *components)
{
    const struct api_route *routes = api_routes();
    struct buffer path = BUFFER_INIT;
    path_of(routes[first].path, with_rest, &path);
    if (!buffer_failed(&path)) {
        openapi_begin_object(writer, path.data);
        for (size_t i = first; i < API_OPERATION_COUNT; i++) {
            if (api_has(components->role, &routes[i]) && strcmp(routes[i].path, routes[first].path) == 0)
                write_methods(writer, &routes[i], path.data, suffix, components);
        }
        json_write_object_end(writer);
    }
    writer->out->failed |= buffer_failed(&path);
    buffer_free(&path);
}

static bool is_first_of_its_path(enum api_role role, size_t index)
{
    if (!api_has(role, &api_routes()[index]))
        return false;
    for (size_t i = 0; i < index; i++) {
        if (api_has(role, &api_routes()[i]) && strcmp(api_routes()[i].path, api_routes()[index].path) == 0)
            return false;
    }
    return true;
}

static void write_paths(struct json_writer *writer, struct openapi_components *components)
{
    openapi_begin_object(writer, "paths");
    for (size_t i = 0; i < API_OPERATION_COUNT; i++) {
        const char *path = api_routes()[i].path;
        bool has_rest = strstr(path, "{rest...}") != NULL;
        bool is_optional = strchr(path, '[') != NULL;
        if (!is_first_of_its_path(components->role, i))
            continue;
        if (!has_rest || is_optional)
            write_path(writer, i, false, "", components);
        if (has_rest)
            write_path(writer, i, true, is_optional ? "_rest" : "", components);
    }
    json_write_object_end(writer);
}

static void write_info(struct json_writer *writer)
{
    openapi_begin_object(writer, "info");
    openapi_write_text(writer, "title", "Muster");
    openapi_write_text(writer, "version", "1");
    openapi_write_text(writer, "description",
                       "Calls the roll of machines that people lend: who is there, who should run what, and which of "
                       "them answers a request. Errors are objects with `error`, a stable word, and `message`, which "
                       "says what to do. Every answer carries X-Request-Id.");
    openapi_begin_object(writer, "license");
    openapi_write_text(writer, "name", "MIT");
    openapi_write_text(writer, "identifier", "MIT");
    json_write_object_end(writer);
    json_write_object_end(writer);
}

static void write_tags(struct json_writer *writer)
{
    static const char *const helps[] = {
        [API_FOR_EVERYBODY] = "Open to all.",
        [API_FOR_CLIENTS] = "For those who want a service.",
        [API_FOR_WORKERS] = "For the machines that serve.",
        [API_FOR_OPERATORS] = "For those who run the coordinator.",
    };
    json_write_key(writer, "tags");
    json_write_array_begin(writer);
    for (unsigned i = 0; i < sizeof helps / sizeof helps[0]; i++) {
        json_write_object_begin(writer);
        openapi_write_text(writer, "name", caller_word(i));
        openapi_write_text(writer, "description", helps[i]);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

static void write_scheme(struct json_writer *writer, const char *name, const char *type, const char *scheme,
                         const char *description)
{
    openapi_begin_object(writer, name);
    openapi_write_text(writer, "type", type);
    if (strcmp(type, "apiKey") == 0) {
        openapi_write_text(writer, "in", "header");
        openapi_write_text(writer, "name", scheme);
    } else {
        openapi_write_text(writer, "scheme", scheme);
    }
    openapi_write_text(writer, "description", description);
    json_write_object_end(writer);
}

static void write_security_schemes(struct json_writer *writer)
{
    openapi_begin_object(writer, "securitySchemes");
    write_scheme(writer, "ApiKey", "apiKey", "X-API-Key",
                 "A key of the coordinator. Where none is configured nobody is asked for one.");
    write_scheme(writer, "Bearer", "http", "bearer",
                 "The same key, or a JSON Web Token of an issuer that the coordinator believes.");
    write_scheme(writer, "WorkerToken", "http", "bearer",
                 "The worker_token that a registration was answered with: for what concerns that worker.");
    json_write_object_end(writer);
}

void openapi_render(enum api_role role, struct buffer *out)
{
    struct openapi_components components = {.role = role};
    struct json_writer inner = json_writer_into(out);
    struct json_writer *writer = &inner;
    json_write_object_begin(writer);
    openapi_write_text(writer, "openapi", "3.1.0");
    write_info(writer);
    json_write_key(writer, "servers");
    json_write_raw(writer, "[{\"url\":\"/\"}]", 13);
    write_tags(writer);
    write_paths(writer, &components);
    openapi_begin_object(writer, "components");
    openapi_begin_object(writer, "schemas");
    /* What is inside these comes to the list's end while it is written. */
    for (size_t i = 0; i < components.count; i++)
        openapi_write_schema(writer, components.schemas[i], &components);
    json_write_object_end(writer);
    write_security_schemes(writer);
    json_write_object_end(writer);
    json_write_object_end(writer);
}
