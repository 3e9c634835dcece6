#include "services/worker/registration.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool registration_id_acceptable(const char *worker_id)
{
    size_t bytes = strlen(worker_id);
    if (bytes == 0 || bytes >= HEARTBEAT_ID_BYTES)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (worker_id[i] <= ' ' || worker_id[i] >= 0x7f || worker_id[i] == '"' || worker_id[i] == '\\')
            return false;
    return true;
}

/* ---- what we say ---- */

static json_t *capabilities_json(const struct registration *registration)
{
    const struct detect_machine_figures *machine = registration->machine;
    const struct detect_coordinator *coordinator = registration->coordinator;
    char ram[DETECT_SIZE_TEXT_BYTES], disk[DETECT_SIZE_TEXT_BYTES], gpu_memory[DETECT_SIZE_TEXT_BYTES];
    detect_format_size(machine->memory.total_bytes, ram);
    detect_format_size(machine->disk_free_bytes, disk);
    snprintf(gpu_memory, sizeof gpu_memory, "%llu GB", (unsigned long long)((machine->gpu.memory_mib + 512) / 1024));
    json_t *capabilities =
        json_pack("{s:b, s:I, s:s, s:b, s:s, s:b, s:b, s:f}", "has_gpu", (int)machine->gpu.present, "cpu_cores",
                  (json_int_t)machine->cores, "ram", ram, "has_storage", (int)detect_has_storage(machine), "disk_free",
                  disk, "has_edge", (int)detect_has_edge(machine, coordinator), "has_public_ip",
                  (int)machine->address_public, "latency_ms", coordinator->latency_ms);
    if (capabilities != NULL && machine->gpu.present &&
        (json_object_set_new(capabilities, "gpu_type", json_string(machine->gpu.name)) != 0 ||
         json_object_set_new(capabilities, "gpu_memory", json_string(gpu_memory)) != 0)) {
        json_decref(capabilities);
        return NULL;
    }
    return capabilities;
}

static json_t *services_json(const struct registration *registration)
{
    json_t *services = json_array();
    for (size_t i = 0; services != NULL && i < registration->service_count; i++)
        if (json_array_append_new(services,
                                  json_pack("{s:s, s:s++}", "name", registration->services[i], "url",
                                            registration->tunnel_url, "/service/", registration->services[i])) != 0) {
            json_decref(services);
            services = NULL;
        }
    return services;
}

static int append_json(const char *data, size_t bytes, void *argument)
{
    struct buffer *out = argument;
    buffer_append(out, data, bytes);
    return buffer_failed(out) ? -1 : 0;
}

void registration_append_id(struct buffer *path, const char *worker_id)
{
    static const char hexadecimal[] = "0123456789ABCDEF";
    for (const char *p = worker_id; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
                     c == '.' || c == '_' || c == '~';
        if (!plain) {
            buffer_append_char(path, '%');
            buffer_append_char(path, hexadecimal[c >> 4]);
            buffer_append_char(path, hexadecimal[c & 15]);
        } else {
            buffer_append_char(path, *p);
        }
    }
}

bool registration_encode(const struct registration *registration, struct buffer *out)
{
    json_t *capabilities = capabilities_json(registration);
    json_t *services = services_json(registration);
    if (capabilities == NULL || services == NULL) {
        json_decref(capabilities);
        json_decref(services);
        return false;
    }
    /* "o" takes the references over, also when packing fails. The role: an edge router takes others of type edge for
     * coordinators, and would find none at our URL; what runs here has a URL of its own. */
    json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "worker_id", registration->worker_id, "role",
                             "worker", "tunnel_url", registration->tunnel_url, "worker_type", registration->worker_type,
                             "location", registration->location, "capabilities", capabilities, "services", services);
    if (body == NULL)
        return false;
    int failed = json_dump_callback(body, append_json, out, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(body);
    return failed == 0 && !buffer_failed(out);
}

/* ---- what we are answered ---- */

/* A list of names; false: it is none, or too long. */
static bool read_names(const json_t *array, struct heartbeat_names *names)
{
    names->count = 0;
    if (!json_is_array(array) || json_array_size(array) > HEARTBEAT_SERVICES_LIMIT)
        return false;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *name = json_string_value(json_array_get(array, i));
        if (name == NULL || strlen(name) >= HEARTBEAT_NAME_BYTES)
            return false;
        strcpy(names->names[names->count++], name);
    }
    return true;
}

/* What can stand in a header and fits; anything else is passed over, for the key will do. */
static const char *read_token(const json_t *token)
{
    const char *text = json_string_value(token);
    if (text == NULL || strlen(text) >= REGISTRATION_TOKEN_BYTES)
        return "";
    for (const char *at = text; *at != '\0'; at++)
        if (*at <= ' ' || *at >= 0x7f)
            return "";
    return text;
}

/* One entry of service_configs or service_aliases; what is missing or odd is left out, since a service works
 * without it. False: memory runs out. */
static bool read_service(const json_t *config, struct registration_service *service)
{
    const json_t *aliases = json_object_get(config, "aliases");
    service->name = json_string_value(json_object_get(config, "name"));
    size_t count = json_is_array(aliases) ? json_array_size(aliases) : 0;
    if (count == 0)
        return true;
    const char **texts = calloc(count, sizeof *texts);
    if (texts == NULL)
        return false;
    service->aliases = texts;
    for (size_t i = 0; i < count; i++) {
        const char *alias = json_string_value(json_array_get(aliases, i));
        if (alias != NULL)
            texts[service->alias_count++] = alias;
    }
    return true;
}

/* Adds the entries to those that were read before. */
static bool read_services(const json_t *configs, struct registration_reply *reply)
{
    size_t count = json_is_array(configs) ? json_array_size(configs) : 0;
    if (count == 0)
        return true;
    struct registration_service *services = realloc(reply->services, (reply->service_count + count) * sizeof *services);
    if (services == NULL)
        return false;
    memset(services + reply->service_count, 0, count * sizeof *services);
    reply->services = services;
    for (size_t i = 0; i < count; i++) {
        struct registration_service *service = &reply->services[reply->service_count];
        if (!read_service(json_array_get(configs, i), service))
            return false;
        if (service->name != NULL)
            reply->service_count++;
        else {
            free((void *)(uintptr_t)service->aliases);
            memset(service, 0, sizeof *service);
        }
    }
    return true;
}

/* Who took the worker, and who would: help for later, so what is odd is left out. */
static void read_coordinators(const json_t *root, struct registration_reply *reply)
{
    const json_t *fallbacks = json_object_get(root, "fallback_coordinators");
    reply->coordinator_url = json_string_value(json_object_get(json_object_get(root, "coordinator"), "url"));
    for (size_t i = 0; i < json_array_size(fallbacks) && reply->fallback_count < REGISTRATION_FALLBACKS_MAX; i++) {
        const char *url = json_string_value(json_array_get(fallbacks, i));
        if (url != NULL)
            reply->fallbacks[reply->fallback_count++] = url;
    }
}

bool registration_decode(const char *body, size_t bytes, struct registration_reply *reply, char *error,
                         size_t error_bytes)
{
    memset(reply, 0, sizeof *reply);
    json_error_t where;
    json_t *root = json_loadb(body, bytes, 0, &where);
    if (!json_is_object(root)) {
        snprintf(error, error_bytes, "the coordinator's answer is not a JSON object: %s",
                 root == NULL ? where.text : "something else");
        json_decref(root);
        return false;
    }
    reply->document = root;
    const json_t *worker_id = json_object_get(root, "worker_id");
    const json_t *incarnation = json_object_get(root, "incarnation");
    const json_t *interval = json_object_get(root, "heartbeat_interval");
    const json_t *assigned = json_object_get(root, "assigned_services");
    const char *type = json_string_value(json_object_get(root, "worker_type"));
    const char *wrong = NULL;
    if (!json_is_string(worker_id) || !registration_id_acceptable(json_string_value(worker_id)))
        wrong = "worker_id";
    else if (incarnation != NULL && (!json_is_integer(incarnation) || json_integer_value(incarnation) < 0))
        wrong = "incarnation";
    else if (interval != NULL && (!json_is_number(interval) || !(json_number_value(interval) > 0)))
        wrong = "heartbeat_interval";
    else if (assigned != NULL && !read_names(assigned, &reply->assigned))
        wrong = "assigned_services";
    else if (!read_services(json_object_get(root, "service_configs"), reply))
        wrong = "service_configs";
    else if (!read_services(json_object_get(root, "service_aliases"), reply))
        wrong = "service_aliases";
    if (wrong != NULL) {
        snprintf(error, error_bytes, "the coordinator's answer has no usable %s", wrong);
        registration_reply_free(reply);
        return false;
    }
    reply->worker_id = json_string_value(worker_id);
    reply->worker_type = type != NULL ? type : "";
    /* Coordinators that do not count registrations answer none; 0 is "unknown". */
    reply->incarnation = (uint64_t)json_integer_value(incarnation);
    double seconds = interval != NULL ? json_number_value(interval) : 0;
    reply->interval_ms = seconds > 86400 ? 86400000 : (uint64_t)(seconds * 1000);
    reply->stream = json_string_value(json_object_get(root, "heartbeat_stream"));
    if (reply->stream != NULL && reply->stream[0] == '\0')
        reply->stream = NULL;
    reply->token = read_token(json_object_get(root, "worker_token"));
    read_coordinators(root, reply);
    return true;
}

void registration_reply_free(struct registration_reply *reply)
{
    for (size_t i = 0; i < reply->service_count; i++)
        free((void *)(uintptr_t)reply->services[i].aliases);
    free(reply->services);
    json_decref(reply->document);
    memset(reply, 0, sizeof *reply);
}

bool registration_decode_places(const char *body, size_t bytes, struct registration_places *places)
{
    json_t *root = json_loadb(body, bytes, 0, NULL);
    const json_t *list = json_object_get(root, "coordinators");
    *places = (struct registration_places){.document = root};
    if (!json_is_array(list)) {
        registration_places_free(places);
        return false;
    }
    for (size_t i = 0; i < json_array_size(list) && places->count < REGISTRATION_FALLBACKS_MAX; i++) {
        const char *url = json_string_value(json_object_get(json_array_get(list, i), "url"));
        if (url != NULL)
            places->urls[places->count++] = url;
    }
    return true;
}

void registration_places_free(struct registration_places *places)
{
    json_decref(places->document);
    *places = (struct registration_places){.document = NULL};
}

bool registration_decode_heartbeat(const char *body, size_t bytes, struct heartbeat_reply *reply)
{
    reply->has_assignment = reply->has_draining = false;
    json_t *root = json_loadb(body, bytes, 0, NULL);
    bool whole = json_is_object(root);
    const json_t *names = whole ? json_object_get(root, "assigned_services") : NULL;
    if (names != NULL && !json_is_null(names)) {
        whole = read_names(names, &reply->assigned);
        reply->has_assignment = whole;
    }
    const json_t *draining = whole ? json_object_get(root, "draining") : NULL;
    reply->has_draining = json_is_boolean(draining);
    reply->draining = json_is_true(draining);
    json_decref(root);
    return whole;
}

void registration_error_text(const char *body, size_t bytes, char *text, size_t text_bytes)
{
    json_t *root = json_loadb(body, bytes, 0, NULL);
    const char *message = json_string_value(json_object_get(root, "message"));
    if (message != NULL)
        snprintf(text, text_bytes, "%s", message);
    else
        snprintf(text, text_bytes, "%.*s", (int)(bytes < 200 ? bytes : 200), body);
    json_decref(root);
}
