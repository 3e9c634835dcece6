/* What a worker says of itself: checks, normal form, type; see spec.h. */

#include "services/registry/spec.h"

#include "common/json/document.h"
#include "common/json/utf8.h"
#include "common/map.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define URL_MAX_BYTES 2048
#define TEXT_MAX_BYTES 256
#define NAME_MAX_BYTES 128
#define KEY_NAME_MAX_BYTES 300
#define SERVICE_CAPABILITIES_MAX 100
#define FIELD_BYTES 96
#define FEW_SERVICES 16 /* are compared with each other; more are put into a map */

__attribute__((format(printf, 2, 3))) static bool refuse(char error[SPEC_ERROR_BYTES], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, SPEC_ERROR_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

/* How many bytes at the beginning of a text are printable ASCII, which needs no closer look; eight at a time, as long
 * as all eight are. (S. E. Anderson, "Bit Twiddling Hacks": where no byte is below another number, subtracting that
 * from all sets no highest bit; where none is above, nor does adding.) */
static size_t count_printable(const char *text, size_t bytes)
{
    const uint64_t ones = UINT64_MAX / 0xff;
    size_t at = 0;
    uint64_t word;
    for (; bytes - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, text + at, sizeof(word));
        if (((word | (word - ones * 0x20) | (word + ones)) & ones * 0x80) != 0)
            break;
    }
    while (at < bytes && text[at] >= 0x20 && text[at] < 0x7f)
        at++;
    return at;
}

/* A text of at most max_bytes that can be shown: UTF-8 without control characters. */
static bool check_text(const char *text, size_t max_bytes, const char *field, char error[SPEC_ERROR_BYTES])
{
    size_t bytes = strlen(text);
    if (bytes > max_bytes)
        return refuse(error, "%s: is %zu bytes long; at most %zu are allowed", field, bytes, max_bytes);
    const unsigned char *all = (const unsigned char *)text;
    for (size_t at = count_printable(text, bytes); at < bytes; at += count_printable(text + at, bytes - at)) {
        size_t length = utf8_sequence_bytes(all + at, bytes - at);
        if (length == 0)
            return refuse(error, "%s: is not valid UTF-8 at byte %zu", field, at);
        bool c1 = length == 2 && all[at] == 0xc2 && all[at + 1] < 0xa0;
        if (all[at] < 0x20 || all[at] == 0x7f || c1)
            return refuse(error, "%s: has a control character (U+%04X) at byte %zu; leave it out", field,
                          (unsigned)all[at + length - 1], at);
        at += length;
    }
    return true;
}

static bool check_filled_text(const char *text, size_t max_bytes, const char *field, char error[SPEC_ERROR_BYTES])
{
    if (text[0] == '\0')
        return refuse(error, "%s: is missing; give 1 to %zu bytes", field, max_bytes);
    return check_text(text, max_bytes, field, error);
}

/* Ids and services are named in paths. Dots before a ";" are dots, too: some servers drop what
 * follows it before they resolve them. */
static bool check_segment(const char *text, const char *field, char error[SPEC_ERROR_BYTES])
{
    size_t dots = 0;
    while (text[dots] == '.')
        dots++;
    bool climbs = (dots == 1 || dots == 2) && (text[dots] == '\0' || text[dots] == ';');
    if (climbs || strchr(text, '/') != NULL || strchr(text, '\\') != NULL)
        return refuse(error, "%s: must not be . or .. or hold a slash or a backslash", field);
    return true;
}

bool spec_check_id(const char *worker_id, const char *field, char error[SPEC_ERROR_BYTES])
{
    if (!check_filled_text(worker_id, SPEC_ID_MAX_BYTES, field, error))
        return false;
    return check_segment(worker_id, field, error);
}

/* Those that RFC 3986 lets stand in a URL as they are, but for ? and #. */
static const bool is_url_character[256] = {
    ['!'] = true, ['$' ... ';'] = true, ['='] = true,         ['@' ... '['] = true,
    [']'] = true, ['_'] = true,         ['a' ... 'z'] = true, ['~'] = true,
};

static const bool is_host_character[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true, ['.'] = true, ['_'] = true,
};

/* How many characters at the beginning of a text are in the table, which its end is not. */
static size_t count_legal(const char *text, const bool table[256])
{
    size_t count = 0;
    while (table[(unsigned char)text[count]])
        count++;
    return count;
}

static bool check_port(const char *digits, size_t count, const char *field, char error[SPEC_ERROR_BYTES])
{
    unsigned port = 0;
    bool legal = count >= 1 && count <= 5;
    for (size_t i = 0; legal && i < count; i++) {
        legal = digits[i] >= '0' && digits[i] <= '9';
        port = port * 10 + (unsigned)(digits[i] - '0');
    }
    if (!legal || port < 1 || port > 65535)
        return refuse(error, "%s: has no valid port; use 1 to 65535, or leave it out", field);
    return true;
}

/* HOST, HOST:PORT, [IPV6] or [IPV6]:PORT; the first `legal_bytes` can stand in a name. The host is taken as it is:
 * whether it can be resolved and reached shows when a request is sent there. */
static bool check_authority(const char *text, size_t bytes, size_t legal_bytes, const char *field,
                            char error[SPEC_ERROR_BYTES])
{
    size_t host_bytes;
    if (legal_bytes < bytes && memchr(text, '@', bytes) != NULL)
        return refuse(error, "%s: must not hold a user name or password", field);
    if (bytes > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', bytes);
        host_bytes = end == NULL ? 0 : (size_t)(end - text) + 1;
        if (host_bytes < 4 || strspn(text + 1, "0123456789abcdefABCDEF:.") != host_bytes - 2)
            return refuse(error, "%s: has no valid IPv6 address between [ and ]", field);
    } else {
        const char *colon = legal_bytes < bytes ? memchr(text, ':', bytes) : NULL;
        host_bytes = colon == NULL ? bytes : (size_t)(colon - text);
        if (host_bytes == 0 || host_bytes > 253)
            return refuse(error, "%s: must name a host, as in http://192.0.2.7:8070", field);
        if (legal_bytes < host_bytes)
            return refuse(error, "%s: the host may have letters, digits, '-', '.' and '_' only", field);
    }
    if (host_bytes == bytes)
        return true;
    if (text[host_bytes] != ':')
        return refuse(error, "%s: must name a host, as in http://192.0.2.7:8070", field);
    return check_port(text + host_bytes + 1, bytes - host_bytes - 1, field, error);
}

/* How many bytes of a URL are its scheme and "://"; 0: it is not http or https. */
static size_t count_scheme(const char *url)
{
    size_t bytes = strncasecmp(url, "http", 4) != 0 ? 0 : url[4] == 's' || url[4] == 'S' ? 5 : 4;
    return bytes > 0 && url[bytes] == ':' && url[bytes + 1] == '/' && url[bytes + 2] == '/' ? bytes + 3 : 0;
}

static bool check_url(const char *url, const char *field, char error[SPEC_ERROR_BYTES])
{
    const char *authority = url + count_scheme(url);
    size_t host_bytes = count_legal(authority, is_host_character);
    const char *behind = authority + host_bytes;
    behind += count_legal(behind, is_url_character);
    size_t bytes = (size_t)(behind - url) + (*behind != '\0' ? strlen(behind) : 0);
    if (bytes > URL_MAX_BYTES)
        return refuse(error, "%s: is %zu bytes long; at most %d are allowed", field, bytes, URL_MAX_BYTES);
    if (authority == url)
        return refuse(error, "%s: must start with http:// or https://", field);
    if (*behind == '?' || *behind == '#')
        return refuse(error, "%s: must end before '%c'; paths are put behind it", field, *behind);
    /* What RFC 3986 leaves out must be percent-encoded: it would end up in a request line. */
    if (*behind != '\0')
        return refuse(error, "%s: has a character at byte %zu that a URL cannot have; percent-encode it", field,
                      (size_t)(behind - url));
    size_t authority_bytes = host_bytes + strcspn(authority + host_bytes, "/");
    return check_authority(authority, authority_bytes, host_bytes, field, error);
}

static bool check_json(const char *text, bool array, const char *field, char error[SPEC_ERROR_BYTES])
{
    size_t bytes = strlen(text);
    if (bytes == 0)
        return true;
    if (bytes > SPEC_JSON_MAX_BYTES)
        return refuse(error, "%s: is %zu bytes long; at most %d are allowed", field, bytes, SPEC_JSON_MAX_BYTES);
    struct json_document document;
    enum json_type wanted = array ? JSON_TYPE_ARRAY : JSON_TYPE_OBJECT;
    bool legal = json_document_parse(&document, text, bytes);
    if (!legal)
        refuse(error, "%s: is not valid JSON: %s", field, document.error);
    else if (json_root(&document)->type != wanted)
        legal = refuse(error, "%s: must be %s of JSON", field, json_type_name(wanted));
    json_document_free(&document);
    return legal;
}

static bool check_capabilities(const Muster__V1__Capabilities *capabilities, char error[SPEC_ERROR_BYTES])
{
    if (capabilities == NULL)
        return true;
    if (!isfinite(capabilities->latency_ms) || capabilities->latency_ms < 0)
        return refuse(error, "capabilities.latency_ms: must be 0 or more");
    return check_text(capabilities->gpu_type, TEXT_MAX_BYTES, "capabilities.gpu_type", error) &&
           check_text(capabilities->gpu_memory, TEXT_MAX_BYTES, "capabilities.gpu_memory", error) &&
           check_text(capabilities->ram, TEXT_MAX_BYTES, "capabilities.ram", error) &&
           check_json(capabilities->json, false, "capabilities", error);
}

/* Fields have names only where `error` is to tell them: nearly all are legal, and making names up takes longer than
 * the checks. */
static bool check_service_named(const Muster__V1__AnnouncedService *service, size_t number, bool named,
                                char error[SPEC_ERROR_BYTES])
{
    char field[FIELD_BYTES] = "";
    if (named)
        snprintf(field, sizeof(field), "services[%zu].name", number);
    if (!check_filled_text(service->name, NAME_MAX_BYTES, field, error) || !check_segment(service->name, field, error))
        return false;
    if (named)
        snprintf(field, sizeof(field), "services[%zu].url", number);
    if (service->url[0] != '\0' && !check_url(service->url, field, error))
        return false;
    if (service->n_capabilities > SERVICE_CAPABILITIES_MAX)
        return refuse(error, "services[%zu].capabilities: has %zu entries; at most %d are allowed", number,
                      service->n_capabilities, SERVICE_CAPABILITIES_MAX);
    for (size_t i = 0; i < service->n_capabilities; i++) {
        if (named)
            snprintf(field, sizeof(field), "services[%zu].capabilities[%zu]", number, i);
        if (!check_filled_text(service->capabilities[i], NAME_MAX_BYTES, field, error))
            return false;
    }
    return true;
}

static bool check_service(const Muster__V1__AnnouncedService *service, size_t number, char error[SPEC_ERROR_BYTES])
{
    return check_service_named(service, number, false, error) || check_service_named(service, number, true, error);
}

/* The service before this one that has its name. */
static const Muster__V1__AnnouncedService *find_twin(const Muster__V1__WorkerSpec *spec, size_t number)
{
    for (size_t i = 0; i < number; i++)
        if (strcmp(spec->services[i]->name, spec->services[number]->name) == 0)
            return spec->services[i];
    return NULL;
}

static bool check_services(const Muster__V1__WorkerSpec *spec, char error[SPEC_ERROR_BYTES])
{
    if (spec->n_services > SPEC_SERVICES_MAX)
        return refuse(error, "services: has %zu entries; at most %d are allowed", spec->n_services, SPEC_SERVICES_MAX);
    struct map seen = MAP_INIT;
    bool legal = true;
    for (size_t i = 0; legal && i < spec->n_services; i++) {
        Muster__V1__AnnouncedService *service = spec->services[i];
        void *twin = NULL;
        legal = check_service(service, i, error);
        if (legal && spec->n_services <= FEW_SERVICES)
            twin = (void *)(uintptr_t)find_twin(spec, i);
        else if (legal && !map_put_text(&seen, service->name, service, &twin))
            legal = refuse(error, "services: out of memory; try again");
        if (legal && twin != NULL)
            legal = refuse(error, "services[%zu].name: '%s' is announced twice", i, service->name);
    }
    map_free(&seen);
    return legal;
}

/* What the gateway adds to what a worker says. */
static bool check_key(const Muster__V1__WorkerSpec *spec, char error[SPEC_ERROR_BYTES])
{
    if (spec->n_permitted_services > SPEC_SERVICES_MAX)
        return refuse(error, "permitted_services: has %zu entries; at most %d are allowed", spec->n_permitted_services,
                      SPEC_SERVICES_MAX);
    for (size_t i = 0; i < spec->n_permitted_services; i++) {
        if (!check_filled_text(spec->permitted_services[i], NAME_MAX_BYTES, "permitted_services", error))
            return false;
    }
    return check_text(spec->registered_by, KEY_NAME_MAX_BYTES, "registered_by", error);
}

bool spec_check(const Muster__V1__WorkerSpec *spec, size_t packed_bytes, char error[SPEC_ERROR_BYTES])
{
    error[0] = '\0';
    size_t bytes = packed_bytes != 0 ? packed_bytes : muster__v1__worker_spec__get_packed_size(spec);
    if (spec->worker_id[0] != '\0' && !spec_check_id(spec->worker_id, "worker_id", error))
        return false;
    if (spec->tunnel_url[0] == '\0')
        return refuse(error,
                      "tunnel_url: is missing; give the URL at which the worker answers, as in http://192.0.2.7:8070");
    if (!check_url(spec->tunnel_url, "tunnel_url", error))
        return false;
    if (spec->worker_type < MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED ||
        spec->worker_type > MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE)
        return refuse(error, "worker_type: %d is no type; use auto, gpu, cpu, storage or edge", (int)spec->worker_type);
    return check_text(spec->location, TEXT_MAX_BYTES, "location", error) &&
           check_capabilities(spec->capabilities, error) && check_services(spec, error) &&
           check_json(spec->containers_json, true, "containers", error) && check_key(spec, error) &&
           (bytes <= SPEC_MAX_BYTES ||
            refuse(error, "spec: is %zu bytes in all; at most %d are allowed", bytes, SPEC_MAX_BYTES));
}

static bool check_assigned(const Muster__V1__Worker *worker, char error[SPEC_ERROR_BYTES])
{
    if (worker->n_assigned_services > SPEC_SERVICES_MAX)
        return refuse(error, "assigned_services: has %zu entries; at most %d are allowed", worker->n_assigned_services,
                      SPEC_SERVICES_MAX);
    for (size_t i = 0; i < worker->n_assigned_services; i++) {
        char field[FIELD_BYTES];
        snprintf(field, sizeof(field), "assigned_services[%zu]", i);
        if (!check_filled_text(worker->assigned_services[i], NAME_MAX_BYTES, field, error))
            return false;
    }
    return true;
}

bool spec_check_import(const Muster__V1__Worker *worker, char error[SPEC_ERROR_BYTES])
{
    if (worker->spec == NULL)
        return refuse(error, "spec: is missing; say which worker this is");
    if (!spec_check_id(worker->spec->worker_id, "worker_id", error) || !spec_check(worker->spec, 0, error))
        return false;
    if (worker->type < MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED ||
        worker->type > MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE)
        return refuse(error, "type: %d is no type; leave it out, or use 1 to 4", (int)worker->type);
    if (worker->incarnation > SPEC_INCARNATION_MAX)
        return refuse(error, "incarnation: must not be above %llu", SPEC_INCARNATION_MAX);
    if (worker->registered_at_ms < 0)
        return refuse(error, "registered_at_ms: must be 0 or more");
    return check_assigned(worker, error);
}

static bool strip_slashes(char *url)
{
    size_t bytes = strlen(url);
    /* protobuf-c shares one constant for all empty strings: do not write to those. */
    if (bytes == 0 || url[bytes - 1] != '/')
        return false;
    while (bytes > 0 && url[bytes - 1] == '/')
        bytes--;
    url[bytes] = '\0';
    return true;
}

bool spec_normalise(Muster__V1__WorkerSpec *spec)
{
    bool changed = strip_slashes(spec->tunnel_url);
    for (size_t i = 0; i < spec->n_services; i++)
        changed |= strip_slashes(spec->services[i]->url);
    return changed;
}

Muster__V1__WorkerType spec_type(const Muster__V1__WorkerSpec *spec)
{
    if (spec->worker_type != MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED)
        return spec->worker_type;
    const Muster__V1__Capabilities *capabilities = spec->capabilities;
    if (capabilities != NULL && capabilities->has_gpu)
        return MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
    if (capabilities != NULL && (capabilities->has_edge || capabilities->has_public_ip))
        return MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE;
    if (capabilities != NULL && capabilities->has_storage)
        return MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE;
    return MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
}
