/* A service of another coordinator's catalog; see request_json.h. */

#include "gateway/request_json.h"

/* As in the catalog's file. */
#define PORT_MAX 65535
#define PRIORITY_MAX 1000000

static Muster__V1__WorkerType read_requires(const struct json_fields *fields)
{
    static const struct json_word words[] = {
        {"gpu", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU},
        {"cpu", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU},
        {"storage", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE},
        {"edge", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE},
        {"auto", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED},
        {"unknown", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED},
    };
    int requires = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED;
    (void)json_fields_word(fields, "requires", words, sizeof words / sizeof words[0], &requires); /* else it stays */
    return (Muster__V1__WorkerType) requires;
}

static uint32_t read_number(const struct json_fields *fields, const char *name, uint64_t maximum)
{
    uint64_t value = 0;
    (void)json_fields_uint(fields, name, maximum, &value); /* else it stays 0 */
    return (uint32_t)value;
}

/* It becomes part of requests to workers: nothing but what a path may have. */
static bool is_path(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at <= 0x20 || *at >= 0x7F || *at == '?' || *at == '#')
            return false;
    }
    return text[0] == '/' || text[0] == '\0';
}

static void *make_service(struct json_fields *fields, struct arena *arena)
{
    Muster__V1__CatalogService *service = arena_take(arena, sizeof *service);
    bool repeatable = false;
    if (service == NULL)
        return NULL;
    muster__v1__catalog_service__init(service);
    char *name = json_fields_text(fields, "name", REQUEST_WORKER_ID_BYTES_MAX, arena);
    char *path = json_fields_text(fields, "path", REQUEST_TEXT_BYTES_MAX, arena);
    if (name != NULL)
        service->name = name;
    if (path != NULL)
        service->path = path;
    if (service->name[0] == '\0')
        json_fields_refuse(fields, "name", "is required");
    if (!is_path(service->path))
        json_fields_refuse(fields, "path", "must be a path that begins with a slash");
    service->aliases =
        json_fields_text_list(fields, "aliases", REQUEST_WORKER_ID_BYTES_MAX, arena, &service->n_aliases);
    service->requires = read_requires(fields);
    service->priority = read_number(fields, "priority", PRIORITY_MAX);
    service->port = read_number(fields, "port", PORT_MAX);
    (void)json_fields_bool(fields, "repeatable", &repeatable); /* else it stays false */
    service->repeatable = repeatable;
    return service;
}

enum request_json_result listed_service_from_json(const char *text, size_t bytes, struct arena *arena,
                                                  Muster__V1__CatalogService **service, struct json_error *error)
{
    void *built = NULL;
    enum request_json_result result = request_json_read(text, bytes, "the service", arena, make_service, &built, error);
    if (built != NULL)
        *service = built;
    return result;
}
