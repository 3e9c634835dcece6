/* A catalog from its file; see catalog.h for the format. */

#include "services/assigner/catalog_state.h"

#include <jansson.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 128
#define PATH_MAX_BYTES 1024
#define ALIASES_MAX 100
#define PRIORITY_MAX 1000
#define WORKER_ID_MAX_BYTES 128
#define PINS_MAX 1000
#define RESERVATIONS_MAX 100000

__attribute__((format(printf, 2, 3))) static bool refuse(char error[CATALOG_ERROR_BYTES], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, CATALOG_ERROR_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

/* What is being read, for error texts: services[number], and its name once that is known. */
struct place {
    size_t number;
    const char *name;
    char *error;
};

__attribute__((format(printf, 3, 4))) static bool refuse_field(const struct place *place, const char *field,
                                                               const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (place->name != NULL)
        return refuse(place->error, "service '%s': %s: %s", place->name, field, text);
    return refuse(place->error, "services[%zu]: %s: %s", place->number, field, text);
}

/* Names become part of paths, headers and metric labels. */
static bool name_is_legal(const char *name)
{
    size_t bytes = strlen(name);
    return bytes > 0 && bytes <= NAME_MAX_BYTES && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == bytes;
}

static const char name_rule[] = "must be 1 to 128 letters, digits, '-', '_' or '.', and not start with '.'";

static bool known_keys_only(const struct place *place, json_t *object)
{
    static const char *const known[] = {"name", "tier",       "requires",  "priority",      "port", "aliases",
                                        "path", "repeatable", "pinned_to", "anti_affinity", "probe"};
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < sizeof(known) / sizeof(known[0]) && strcmp(key, known[i]) != 0)
            i++;
        if (i == sizeof(known) / sizeof(known[0]))
            return refuse_field(place, "unknown field",
                                "'%.60s'; known are name, tier, requires, priority, port, aliases, path, repeatable, "
                                "pinned_to, anti_affinity, probe",
                                key);
    }
    return true;
}

static bool read_integer(const struct place *place, json_t *object, const char *field, uint32_t maximum,
                         uint32_t *value)
{
    json_t *number = json_object_get(object, field);
    if (number == NULL)
        return refuse_field(place, field, "is missing; give a whole number from 1 to %u", (unsigned)maximum);
    if (!json_is_integer(number) || json_integer_value(number) < 1 || json_integer_value(number) > maximum)
        return refuse_field(place, field, "must be a whole number from 1 to %u", (unsigned)maximum);
    *value = (uint32_t)json_integer_value(number);
    return true;
}

static bool read_type(const struct place *place, json_t *object, Muster__V1__WorkerType *type)
{
    static const char *const names[] = {"", "gpu", "cpu", "storage", "edge"};
    json_t *requires = json_object_get(object, "requires");
    json_t *tier = json_object_get(object, "tier");
    int number = 0;
    if (requires == NULL && tier == NULL)
        return refuse_field(place, "requires", "is missing; give gpu, cpu, storage or edge");
    if (requires != NULL) {
        const char *name = json_is_string(requires) ? json_string_value(requires) : "";
        for (int i = 1; i <= 4; i++)
            if (strcmp(name, names[i]) == 0)
                number = i;
        if (number == 0)
            return refuse_field(place, "requires", "must be gpu, cpu, storage or edge");
    }
    if (tier != NULL) {
        if (!json_is_integer(tier) || json_integer_value(tier) < 1 || json_integer_value(tier) > 4)
            return refuse_field(place, "tier", "must be 1 (gpu), 2 (cpu), 3 (storage) or 4 (edge)");
        if (number != 0 && json_integer_value(tier) != number)
            return refuse_field(place, "tier", "must be %d when requires is %s", number, names[number]);
        number = (int)json_integer_value(tier);
    }
    *type = (Muster__V1__WorkerType)number;
    return true;
}

/* A path of a URL; "" when it is not there. False, with an error, when it is none. */
static bool read_path(const struct place *place, const char *field, json_t *value, char **path)
{
    const char *text = "";
    if (value != NULL) {
        text = json_is_string(value) ? json_string_value(value) : "";
        size_t bytes = strlen(text);
        if (text[0] != '/' || bytes > PATH_MAX_BYTES || (bytes > 1 && text[bytes - 1] == '/'))
            return refuse_field(place, field, "must start with '/', not end with it, and be at most %d bytes long",
                                PATH_MAX_BYTES);
        for (size_t i = 0; i < bytes; i++)
            if (text[i] <= ' ' || text[i] >= 0x7f || strchr("?#\"<>\\^`|", text[i]) != NULL)
                return refuse_field(place, field, "has a character at byte %zu that a path cannot have", i);
        if (strstr(text, "/../") != NULL || (bytes >= 3 && strcmp(text + bytes - 3, "/..") == 0))
            return refuse_field(place, field, "must not have '..' in it");
    }
    *path = strdup(text);
    return *path != NULL || refuse_field(place, field, "out of memory");
}

static bool claim_name(struct catalog *catalog, const struct place *place, const char *field, const char *name,
                       struct catalog_service *service)
{
    const struct catalog_service *owner = map_get_text(&catalog->names, name);
    if (owner != NULL)
        return refuse_field(place, field, "'%s' is taken by service '%s'", name, owner->name);
    return map_put_text(&catalog->names, name, service, NULL) || refuse_field(place, field, "out of memory");
}

static bool read_name(struct catalog *catalog, struct place *place, json_t *object, struct catalog_service *service)
{
    json_t *name = json_object_get(object, "name");
    if (!json_is_string(name))
        return refuse_field(place, "name", name == NULL ? "is missing" : "must be text");
    if (!name_is_legal(json_string_value(name)))
        return refuse_field(place, "name", "%s", name_rule);
    service->name = strdup(json_string_value(name));
    if (service->name == NULL)
        return refuse_field(place, "name", "out of memory");
    if (!claim_name(catalog, place, "name", service->name, service))
        return false;
    place->name = service->name;
    return true;
}

static bool read_aliases(struct catalog *catalog, const struct place *place, json_t *object,
                         struct catalog_service *service)
{
    json_t *aliases = json_object_get(object, "aliases");
    size_t count = json_array_size(aliases);
    if (aliases != NULL && (!json_is_array(aliases) || count > ALIASES_MAX))
        return refuse_field(place, "aliases", "must be a list of at most %d names", ALIASES_MAX);
    service->aliases = calloc(count > 0 ? count : 1, sizeof(char *));
    if (service->aliases == NULL)
        return refuse_field(place, "aliases", "out of memory");
    for (size_t i = 0; i < count; i++) {
        json_t *alias = json_array_get(aliases, i);
        if (!json_is_string(alias) || !name_is_legal(json_string_value(alias)))
            return refuse_field(place, "aliases", "each %s", name_rule);
        service->aliases[i] = strdup(json_string_value(alias));
        if (service->aliases[i] == NULL)
            return refuse_field(place, "aliases", "out of memory");
        service->alias_count = i + 1;
        if (!claim_name(catalog, place, "aliases", service->aliases[i], service))
            return false;
    }
    return true;
}

/* Any text that could be the id of a worker: which ones exist is not known here. */
static bool is_worker_id(const char *text)
{
    size_t bytes = strlen(text);
    return bytes > 0 && bytes <= WORKER_ID_MAX_BYTES;
}

static bool read_pins(const struct place *place, json_t *object, struct catalog_service *service)
{
    json_t *pins = json_object_get(object, "pinned_to");
    size_t count = json_array_size(pins);
    if (pins == NULL)
        return true;
    if (!json_is_array(pins) || count == 0 || count > PINS_MAX)
        return refuse_field(place, "pinned_to", "must be a list of 1 to %d ids of workers", PINS_MAX);
    service->pinned_to = calloc(count, sizeof(char *));
    if (service->pinned_to == NULL)
        return refuse_field(place, "pinned_to", "out of memory");
    for (size_t i = 0; i < count; i++) {
        json_t *id = json_array_get(pins, i);
        if (!json_is_string(id) || !is_worker_id(json_string_value(id)))
            return refuse_field(place, "pinned_to", "each must be the id of a worker, 1 to %d bytes of text",
                                WORKER_ID_MAX_BYTES);
        service->pinned_to[i] = strdup(json_string_value(id));
        if (service->pinned_to[i] == NULL)
            return refuse_field(place, "pinned_to", "out of memory");
        service->pinned_count = i + 1;
    }
    return true;
}

static bool read_anti_affinity(const struct place *place, json_t *object, struct catalog_service *service)
{
    json_t *value = json_object_get(object, "anti_affinity");
    if (value != NULL && (!json_is_string(value) || strcmp(json_string_value(value), "location") != 0))
        return refuse_field(place, "anti_affinity", "must be \"location\", or be left out");
    service->spread_by_location = value != NULL;
    return true;
}

static bool known_probe_keys_only(const struct place *place, json_t *probe)
{
    static const char *const known[] = {"path", "interval_seconds", "timeout_seconds", "failures", "successes"};
    const char *key;
    json_t *value;
    json_object_foreach(probe, key, value)
    {
        size_t i = 0;
        while (i < sizeof(known) / sizeof(known[0]) && strcmp(key, known[i]) != 0)
            i++;
        if (i == sizeof(known) / sizeof(known[0]))
            return refuse_field(place, "probe",
                                "unknown field '%.60s'; known are path, interval_seconds, timeout_seconds, "
                                "failures, successes",
                                key);
    }
    return true;
}

/* Seconds as milliseconds. */
static bool read_seconds(const struct place *place, json_t *probe, const char *field, double usual, uint32_t *value_ms)
{
    json_t *number = json_object_get(probe, field);
    double seconds = number == NULL ? usual : json_is_number(number) ? json_number_value(number) : 0;
    if (!(seconds >= 0.05 && seconds <= 3600))
        return refuse_field(place, "probe", "%s: must be a number from 0.05 to 3600", field);
    *value_ms = (uint32_t)(seconds * 1000 + 0.5);
    return true;
}

static bool read_count(const struct place *place, json_t *probe, const char *field, uint32_t usual, uint32_t *value)
{
    json_t *number = json_object_get(probe, field);
    json_int_t count = number == NULL ? usual : json_is_integer(number) ? json_integer_value(number) : 0;
    if (count < 1 || count > 100)
        return refuse_field(place, "probe", "%s: must be a whole number from 1 to 100", field);
    *value = (uint32_t)count;
    return true;
}

static bool read_probe(const struct place *place, json_t *object, struct catalog_probe *probe)
{
    json_t *given = json_object_get(object, "probe");
    json_t *path = json_object_get(given, "path");
    if (given == NULL)
        return true;
    if (!json_is_object(given))
        return refuse_field(place, "probe", "must be an object, {} for the usual probe");
    if (!known_probe_keys_only(place, given) ||
        !read_seconds(place, given, "interval_seconds", 10, &probe->interval_ms) ||
        !read_seconds(place, given, "timeout_seconds", 2, &probe->timeout_ms) ||
        !read_count(place, given, "failures", 3, &probe->failures) ||
        !read_count(place, given, "successes", 2, &probe->successes))
        return false;
    if (path != NULL)
        return read_path(place, "probe.path", path, &probe->path);
    probe->path = strdup("/health");
    return probe->path != NULL || refuse_field(place, "probe", "out of memory");
}

static bool read_service(struct catalog *catalog, size_t number, json_t *object, char *error)
{
    struct catalog_service *service = &catalog->services[number];
    struct place place = {.number = number, .name = NULL, .error = error};
    if (!json_is_object(object))
        return refuse(error, "services[%zu]: must be an object with name, requires, priority and port", number);
    json_t *repeatable = json_object_get(object, "repeatable");
    if (!read_name(catalog, &place, object, service) || !known_keys_only(&place, object) ||
        !read_type(&place, object, &service->requires) ||
        !read_integer(&place, object, "priority", PRIORITY_MAX, &service->priority) ||
        !read_integer(&place, object, "port", 65535, &service->port) ||
        !read_path(&place, "path", json_object_get(object, "path"), &service->path) ||
        !read_aliases(catalog, &place, object, service) || !read_pins(&place, object, service) ||
        !read_anti_affinity(&place, object, service) || !read_probe(&place, object, &service->probe))
        return false;
    if (repeatable != NULL && !json_is_boolean(repeatable))
        return refuse_field(&place, "repeatable", "must be true or false");
    service->repeatable = json_is_true(repeatable);
    catalog->pins = catalog->pins || service->pinned_count > 0;
    catalog->spreads = catalog->spreads || service->spread_by_location;
    return true;
}

/* The services of one reservation into its list; the names are in the catalog. */
static bool read_reserved_services(const struct catalog *catalog, struct catalog_reservation *reservation,
                                   json_t *names, char *error)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        size_t number = name == NULL ? CATALOG_NONE : catalog_find(catalog, name);
        if (number == CATALOG_NONE)
            return refuse(error, "reserved: '%.130s': '%.130s' is not a service of this catalog; give names or aliases",
                          reservation->worker_id, name == NULL ? "what is not text" : name);
        bool known = false;
        for (size_t k = 0; k < reservation->count; k++)
            known = known || reservation->services[k] == number;
        if (!known)
            reservation->services[reservation->count++] = number;
    }
    return true;
}

static bool read_reservation(struct catalog *catalog, const char *worker_id, json_t *names, char *error)
{
    size_t count = json_array_size(names);
    if (!is_worker_id(worker_id))
        return refuse(error, "reserved: a worker's id must be 1 to %d bytes long", WORKER_ID_MAX_BYTES);
    if (count == 0 || count > CATALOG_MAX_SERVICES)
        return refuse(error, "reserved: '%.130s': must be a list of 1 to %d names of services", worker_id,
                      CATALOG_MAX_SERVICES);
    struct catalog_reservation *reservation = calloc(1, sizeof(*reservation) + strlen(worker_id) + 1);
    if (reservation == NULL)
        return refuse(error, "reserved: out of memory");
    memcpy(reservation->worker_id, worker_id, strlen(worker_id) + 1);
    if (!map_put_text(&catalog->reservations, reservation->worker_id, reservation, NULL)) {
        free(reservation);
        return refuse(error, "reserved: out of memory");
    }
    reservation->services = calloc(count, sizeof(*reservation->services));
    if (reservation->services == NULL)
        return refuse(error, "reserved: out of memory");
    return read_reserved_services(catalog, reservation, names, error);
}

static bool read_reservations(struct catalog *catalog, json_t *reserved, char *error)
{
    if (reserved == NULL)
        return true;
    if (!json_is_object(reserved) || json_object_size(reserved) > RESERVATIONS_MAX)
        return refuse(error, "reserved: must be an object of at most %d ids of workers, each with a list of services",
                      RESERVATIONS_MAX);
    const char *worker_id;
    json_t *names;
    json_object_foreach(reserved, worker_id, names)
    {
        if (!read_reservation(catalog, worker_id, names, error))
            return false;
    }
    return true;
}

static bool read_services(struct catalog *catalog, json_t *services, char *error)
{
    for (size_t i = 0; i < json_array_size(services); i++)
        if (!read_service(catalog, i, json_array_get(services, i), error))
            return false;
    return true;
}

static struct catalog *read_catalog(json_t *root, char *error)
{
    json_t *services = json_object_get(root, "services");
    json_t *reserved = json_object_get(root, "reserved");
    if (!json_is_object(root) || !json_is_array(services) || json_object_size(root) != (reserved == NULL ? 1 : 2)) {
        refuse(error, "must be an object with the list \"services\" and, if workers are reserved, \"reserved\"");
        return NULL;
    }
    size_t count = json_array_size(services);
    if (count == 0 || count > CATALOG_MAX_SERVICES) {
        refuse(error, "services: has %zu entries; give 1 to %d", count, CATALOG_MAX_SERVICES);
        return NULL;
    }
    struct catalog *catalog = catalog_create(count);
    if (catalog == NULL) {
        refuse(error, "services: out of memory");
        return NULL;
    }
    if (read_services(catalog, services, error) && read_reservations(catalog, reserved, error) &&
        catalog_check_rules(catalog, error)) {
        catalog_complete(catalog);
        return catalog;
    }
    catalog_destroy(catalog);
    return NULL;
}

struct catalog *catalog_parse(const char *text, size_t bytes, char error[CATALOG_ERROR_BYTES])
{
    json_error_t json_error;
    error[0] = '\0';
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &json_error);
    struct catalog *catalog = NULL;
    if (root == NULL)
        refuse(error, "line %d, column %d: not valid JSON: %.100s", json_error.line, json_error.column,
               json_error.text);
    else
        catalog = read_catalog(root, error);
    json_decref(root);
    /* Errors quote the input, which may have line ends; they are to be one line. */
    for (char *at = error; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    return catalog;
}

/* The whole file and its length; NULL with an error. */
static char *read_whole_file(const char *path, size_t *bytes, char error[CATALOG_ERROR_BYTES])
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        refuse(error, "catalog %s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(CATALOG_MAX_FILE_BYTES + 1);
    if (text == NULL) {
        refuse(error, "catalog %s: out of memory", path);
    } else {
        *bytes = fread(text, 1, CATALOG_MAX_FILE_BYTES + 1, file);
        if (ferror(file) || *bytes > CATALOG_MAX_FILE_BYTES) {
            if (ferror(file))
                refuse(error, "catalog %s: cannot be read: %s", path, strerror(errno));
            else
                refuse(error, "catalog %s: is larger than %d bytes", path, CATALOG_MAX_FILE_BYTES);
            free(text);
            text = NULL;
        }
    }
    /* Only read from: closing it cannot lose anything. */
    (void)fclose(file);
    return text;
}

struct catalog *catalog_read_file(const char *path, char error[CATALOG_ERROR_BYTES])
{
    size_t bytes;
    char *text = read_whole_file(path, &bytes, error);
    if (text == NULL)
        return NULL;
    char reason[CATALOG_ERROR_BYTES];
    struct catalog *catalog = catalog_parse(text, bytes, reason);
    free(text);
    if (catalog == NULL)
        refuse(error, "catalog %.250s: %.240s", path, reason);
    return catalog;
}
