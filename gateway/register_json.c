/* POST /api/worker/register; see request_json.h. */

#include <stdio.h>
#include <string.h>

#include "common/http/target.h"
#include "common/json/write.h"
#include "gateway/register_json.h"
#include "gateway/request_json.h"

/* An http or https URL without slashes at its end, or NULL. */
static char *read_url(const struct json_fields *fields, const char *name, struct arena *arena)
{
    char *url = json_fields_text(fields, name, REQUEST_URL_BYTES_MAX, arena);
    if (url == NULL)
        return NULL;
    struct http_origin origin;
    if (!http_origin_parse(http_text_of(url), &origin)) {
        json_fields_refuse(fields, name, "must be an http or https URL without credentials, query or fragment");
        return NULL;
    }
    size_t bytes = strlen(url);
    while (bytes > 0 && url[bytes - 1] == '/')
        url[--bytes] = '\0';
    return url;
}

/* A name that can stand in a path: a worker's, a service's. */
static char *read_segment(const struct json_fields *fields, const char *name, size_t limit_bytes, struct arena *arena)
{
    char *text = json_fields_text(fields, name, limit_bytes, arena);
    const char *fault = text == NULL ? NULL : schema_text_fault(SCHEMA_SEGMENT, text, strlen(text));
    if (fault != NULL)
        json_fields_refuse(fields, name, "%s", fault);
    return text;
}

static void read_type(const struct json_fields *fields, Muster__V1__WorkerType *type)
{
    static const struct json_word words[] = {
        {"auto", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED},
        {"gpu", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU},
        {"cpu", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU},
        {"storage", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE},
        {"edge", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE},
    };
    int value;
    if (json_fields_word(fields, "worker_type", words, sizeof words / sizeof words[0], &value))
        *type = (Muster__V1__WorkerType)value;
}

static char *read_line(const struct json_fields *fields, const char *name, struct arena *arena)
{
    char *text = json_fields_text(fields, name, REQUEST_LINE_BYTES_MAX, arena);
    const char *fault = text == NULL ? NULL : schema_text_fault(SCHEMA_LINE, text, strlen(text));
    if (fault != NULL)
        json_fields_refuse(fields, name, "%s", fault);
    return text;
}

static void take_line(const struct json_fields *fields, const char *name, struct arena *arena, char **into)
{
    char *text = read_line(fields, name, arena);
    if (text != NULL)
        *into = text;
}

static void read_typed_capabilities(const struct json_fields *fields, struct arena *arena,
                                    Muster__V1__Capabilities *capabilities)
{
    bool flag;
    uint64_t cores;
    if (json_fields_bool(fields, "has_gpu", &flag))
        capabilities->has_gpu = flag;
    take_line(fields, "gpu_type", arena, &capabilities->gpu_type);
    take_line(fields, "gpu_memory", arena, &capabilities->gpu_memory);
    if (json_fields_uint(fields, "cpu_cores", UINT32_MAX, &cores))
        capabilities->cpu_cores = (uint32_t)cores;
    take_line(fields, "ram", arena, &capabilities->ram);
    if (json_fields_bool(fields, "has_storage", &flag))
        capabilities->has_storage = flag;
    if (json_fields_bool(fields, "has_edge", &flag))
        capabilities->has_edge = flag;
    if (json_fields_bool(fields, "has_public_ip", &flag))
        capabilities->has_public_ip = flag;
    (void)json_fields_double(fields, "latency_ms", 0, 1e9, &capabilities->latency_ms);
}

/* The object's source with the members that `gpu` stands for before its own, as far as it
 * does not have them itself. */
static char *capabilities_with_gpu(const struct json_document *document, const struct json_node *object,
                                   const char *gpu, struct arena *arena)
{
    struct buffer text = BUFFER_INIT;
    struct json_writer writer = json_writer_into(&text);
    json_write_object_begin(&writer);
    if (object == NULL || json_member(document, object, "has_gpu") == NULL) {
        json_write_key(&writer, "has_gpu");
        json_write_bool(&writer, true);
    }
    if (object == NULL || json_member(document, object, "gpu_type") == NULL) {
        json_write_key(&writer, "gpu_type");
        json_write_text(&writer, gpu);
    }
    if (object != NULL && object->count > 0) {
        const char *members = document->source + object->start + 1;
        json_write_raw(&writer, members, object->end - object->start - 2);
    }
    json_write_object_end(&writer);
    char *copy = buffer_failed(&text) ? NULL : arena_copy(arena, text.data, text.bytes);
    buffer_free(&text);
    return copy;
}

static void read_capabilities(const struct json_fields *body, struct arena *arena, Muster__V1__WorkerSpec *spec)
{
    char *gpu = read_line(body, "gpu", arena);
    const struct json_node *object = json_fields_get_typed(body, "capabilities", JSON_TYPE_OBJECT);
    if (json_error_set(body->error) || (gpu == NULL && object == NULL))
        return;
    Muster__V1__Capabilities *capabilities = arena_take(arena, sizeof *capabilities);
    if (capabilities == NULL)
        return;
    muster__v1__capabilities__init(capabilities);
    if (gpu != NULL) {
        capabilities->has_gpu = true;
        capabilities->gpu_type = gpu;
    }
    if (object != NULL) {
        if (object->end - object->start > REQUEST_CAPABILITIES_BYTES_MAX) {
            json_fields_refuse(body, "capabilities", "must be at most %d bytes long", REQUEST_CAPABILITIES_BYTES_MAX);
            return;
        }
        struct json_fields fields = json_fields_of(body->document, object, "capabilities.", body->error);
        read_typed_capabilities(&fields, arena, capabilities);
    }
    capabilities->json = gpu != NULL
                             ? capabilities_with_gpu(body->document, object, gpu, arena)
                             : arena_copy(arena, body->document->source + object->start, object->end - object->start);
    if (capabilities->json == NULL) {
        arena->failed = true;
        return;
    }
    spec->capabilities = capabilities;
}

char **register_read_names(const struct json_fields *fields, const char *name, size_t limit, struct arena *arena,
                           size_t *count)
{
    char **names = json_fields_text_list(fields, name, REQUEST_SERVICE_BYTES_MAX, arena, count);
    if (*count > limit)
        json_fields_refuse(fields, name, "must have at most %zu items", limit);
    for (size_t i = 0; i < *count && !json_error_set(fields->error); i++) {
        char item[64];
        const char *fault = schema_text_fault(SCHEMA_NAME, names[i], strlen(names[i]));
        snprintf(item, sizeof item, "%s[%zu]", name, i);
        if (fault != NULL)
            json_fields_refuse(fields, item, "%s", fault);
    }
    return names;
}

static Muster__V1__AnnouncedService *read_service(const struct json_fields *body, const struct json_node *item,
                                                  size_t index, struct arena *arena)
{
    char prefix[40];
    Muster__V1__AnnouncedService *service = arena_take(arena, sizeof *service);
    if (service == NULL)
        return NULL;
    muster__v1__announced_service__init(service);
    snprintf(prefix, sizeof prefix, "services[%zu]", index);
    if (item->type == JSON_TYPE_TEXT) {
        const char *fault = schema_text_fault(SCHEMA_SEGMENT, item->text, item->text_bytes);
        if (item->text_bytes > REQUEST_SERVICE_BYTES_MAX)
            json_fields_refuse(body, prefix, "must be at most %d bytes long", REQUEST_SERVICE_BYTES_MAX);
        else if (fault != NULL)
            json_fields_refuse(body, prefix, "%s", fault);
        service->name = arena_copy(arena, item->text, item->text_bytes);
        return service->name == NULL ? NULL : service;
    }
    if (item->type != JSON_TYPE_OBJECT) {
        json_fields_refuse(body, prefix, "must be a string or an object, not %s", json_type_name(item->type));
        return NULL;
    }
    snprintf(prefix, sizeof prefix, "services[%zu].", index);
    struct json_fields fields = json_fields_of(body->document, item, prefix, body->error);
    char *name = read_segment(&fields, "name", REQUEST_SERVICE_BYTES_MAX, arena);
    if (name == NULL) {
        json_fields_refuse(&fields, "name", "is required");
        return NULL;
    }
    service->name = name;
    char *url = read_url(&fields, "url", arena);
    if (url != NULL)
        service->url = url;
    service->capabilities = register_read_names(&fields, "capabilities", REQUEST_SERVICE_CAPABILITIES_MAX, arena,
                                                &service->n_capabilities);
    return service;
}

static void read_services(const struct json_fields *body, struct arena *arena, Muster__V1__WorkerSpec *spec)
{
    const struct json_node *list = json_fields_get_typed(body, "services", JSON_TYPE_ARRAY);
    if (list == NULL || list->count == 0)
        return;
    if (list->count > REQUEST_SERVICES_MAX) {
        json_fields_refuse(body, "services", "must have at most %d items", REQUEST_SERVICES_MAX);
        return;
    }
    spec->services = arena_take(arena, list->count * sizeof *spec->services);
    if (spec->services == NULL)
        return;
    uint32_t position = 0;
    const struct json_node *item;
    while ((item = json_next(body->document, list, &position, NULL)) != NULL) {
        Muster__V1__AnnouncedService *service = read_service(body, item, spec->n_services, arena);
        if (service == NULL)
            return;
        spec->services[spec->n_services++] = service;
    }
}

static void read_containers(const struct json_fields *body, struct arena *arena, Muster__V1__WorkerSpec *spec)
{
    const struct json_node *list = json_fields_get_typed(body, "containers", JSON_TYPE_ARRAY);
    if (list == NULL)
        return;
    if (list->end - list->start > REQUEST_CAPABILITIES_BYTES_MAX) {
        json_fields_refuse(body, "containers", "must be at most %d bytes long", REQUEST_CAPABILITIES_BYTES_MAX);
        return;
    }
    char *copy = arena_copy(arena, body->document->source + list->start, list->end - list->start);
    if (copy != NULL)
        spec->containers_json = copy;
}

void register_read_spec(const struct json_fields *body, struct arena *arena, Muster__V1__WorkerSpec *spec)
{
    static const char *const url_names[] = {"tunnel_url", "service_url", "url"};
    char *id = read_segment(body, "worker_id", REQUEST_WORKER_ID_BYTES_MAX, arena);
    if (id != NULL)
        spec->worker_id = id;
    char *url = NULL;
    for (size_t i = 0; i < sizeof url_names / sizeof url_names[0]; i++) {
        char *named = read_url(body, url_names[i], arena);
        url = url == NULL ? named : url;
    }
    if (url != NULL)
        spec->tunnel_url = url;
    else
        json_fields_refuse(body, "tunnel_url", "is required");
    read_type(body, &spec->worker_type);
    take_line(body, "location", arena, &spec->location);
    read_capabilities(body, arena, spec);
    read_services(body, arena, spec);
    read_containers(body, arena, spec);
}

struct registration {
    Muster__V1__RegisterWorkerRequest request;
    bool is_worker;
};

static void *make_registration(struct json_fields *fields, struct arena *arena)
{
    struct registration *registration = arena_take(arena, sizeof *registration);
    Muster__V1__WorkerSpec *spec = arena_take(arena, sizeof *spec);
    if (registration == NULL || spec == NULL)
        return NULL;
    muster__v1__register_worker_request__init(&registration->request);
    muster__v1__worker_spec__init(spec);
    registration->request.spec = spec;
    register_read_spec(fields, arena, spec);
    const char *role = read_line(fields, "role", arena);
    registration->is_worker = role != NULL && strcmp(role, "worker") == 0;
    return registration;
}

enum request_json_result register_request_from_json(const char *body, size_t body_bytes, struct arena *arena,
                                                    Muster__V1__RegisterWorkerRequest **request, bool *is_worker,
                                                    struct json_error *error)
{
    void *built = NULL;
    enum request_json_result result =
        request_json_read(body, body_bytes, "the body", arena, make_registration, &built, error);
    if (built != NULL) {
        struct registration *registration = built;
        *request = &registration->request;
        if (is_worker != NULL)
            *is_worker = registration->is_worker;
    }
    return result;
}
