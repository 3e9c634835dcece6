/* Fuzz target: the texts that a worker reads from others. The first byte says which: the
 * coordinator's JSON answers (r, h, e, n), a list of coordinators (c), nvidia-smi's list (g), the
 * kernel's files (m, s), a request's path (p), cloudflared's output (t), its credentials file (f). */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/process/tunnel.h"
#include "services/worker/coordinators.h"
#include "services/worker/detect.h"
#include "services/worker/load.h"
#include "services/worker/registration.h"
#include "services/worker/service_table.h"

static void check_names(const struct heartbeat_names *names)
{
    if (names->count > HEARTBEAT_SERVICES_LIMIT)
        abort();
    for (size_t i = 0; i < names->count; i++)
        if (strnlen(names->names[i], HEARTBEAT_NAME_BYTES) == HEARTBEAT_NAME_BYTES)
            abort();
}

/* Every round ends where it began, and every URL in it can be called. */
static void walk_round(struct coordinators *coordinators)
{
    if (coordinators->round_count == 0 || coordinators->round_count > COORDINATORS_ROUND_MAX)
        abort();
    const char *first = coordinators_current(coordinators);
    for (size_t i = 0; i < coordinators->round_count; i++) {
        struct http_origin origin;
        if (!http_origin_parse(http_text_of(coordinators_current(coordinators)), &origin))
            abort();
        coordinators_next(coordinators);
    }
    if (coordinators_current(coordinators) != first)
        abort();
}

static void read_coordinators(const char *list)
{
    struct coordinators coordinators;
    char error[200] = "";
    if (coordinators_init(&coordinators, list, error, sizeof error))
        walk_round(&coordinators);
    else if (error[0] == '\0')
        abort();
}

static void take_coordinators(const struct registration_reply *reply)
{
    struct coordinators coordinators;
    char error[200];
    if (!coordinators_init(&coordinators, "https://a,http://b", error, sizeof error))
        abort();
    coordinators_next(&coordinators);
    coordinators_registered(&coordinators, reply->coordinator_url, reply->fallbacks, reply->fallback_count);
    walk_round(&coordinators);
    coordinators_unheard(&coordinators);
    walk_round(&coordinators);
    coordinators_lost(&coordinators);
    walk_round(&coordinators);
}

static void read_places(const char *text, size_t bytes)
{
    struct coordinators coordinators;
    struct registration_places places;
    char error[200];
    if (!registration_decode_places(text, bytes, &places))
        return;
    if (places.count > REGISTRATION_FALLBACKS_MAX ||
        !coordinators_init(&coordinators, "https://a,http://b", error, sizeof error))
        abort();
    if (coordinators_named(&coordinators, places.urls, places.count) && coordinators.round_count < 3)
        abort();
    walk_round(&coordinators);
    registration_places_free(&places);
}

static void read_registration(const char *text, size_t bytes)
{
    struct registration_reply reply;
    char error[200] = "";
    if (!registration_decode(text, bytes, &reply, error, sizeof error)) {
        if (error[0] == '\0')
            abort();
        return;
    }
    if (!registration_id_acceptable(reply.worker_id))
        abort();
    check_names(&reply.assigned);
    struct service_table table = {.count = 0};
    if (service_table_add(&table, "llm-inference", SERVICE_BUILT_IN) == NULL)
        abort();
    for (size_t i = 0; i < reply.service_count; i++)
        if (!service_table_configure(&table, reply.services[i].name, reply.services[i].aliases,
                                     reply.services[i].alias_count))
            abort();
    service_table_free(&table);
    take_coordinators(&reply);
    registration_reply_free(&reply);
}

/* What goes on to a service is a path, and ends as the request's did. */
static void match_path(const char *text, size_t bytes)
{
    struct service_table table = {.count = 0};
    if (service_table_add(&table, "ocr", SERVICE_URL) == NULL)
        abort();
    struct service_route route;
    if (service_table_match(&table, (struct http_text){text, bytes}, &route) == SERVICE_MATCH_LOCAL) {
        if (route.rest.bytes == 0 || (route.prefix[0] == '\0' && route.rest.data[0] != '/'))
            abort();
        bool inside = route.rest.data >= text && route.rest.data <= text + bytes;
        if (inside && route.rest.data + route.rest.bytes != text + bytes)
            abort();
    }
    service_table_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    size_t text_bytes = bytes - 1;
    char *text = malloc(text_bytes + 1); /* of exactly this size, so that a byte too many is seen */
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, text_bytes);
    text[text_bytes] = '\0';

    struct heartbeat_reply reply;
    struct detect_gpu gpu;
    struct detect_memory_figures memory;
    struct load_times times;
    char message[64], url[TUNNEL_URL_BYTES], id[TUNNEL_ID_BYTES];
    switch (data[0]) {
    case 'r':
        read_registration(text, text_bytes);
        break;
    case 'c':
        read_coordinators(text);
        break;
    case 'n':
        read_places(text, text_bytes);
        break;
    case 'h':
        if (registration_decode_heartbeat(text, text_bytes, &reply) && reply.has_assignment)
            check_names(&reply.assigned);
        break;
    case 'e':
        registration_error_text(text, text_bytes, message, sizeof message);
        if (strnlen(message, sizeof message) == sizeof message)
            abort();
        break;
    case 'g':
        if (detect_parse_gpus(text, &gpu) &&
            (!gpu.present || gpu.name[0] == '\0' || !(gpu.utilization >= 0 && gpu.utilization <= 100)))
            abort();
        break;
    case 'm':
        (void)detect_parse_meminfo(text, &memory);
        break;
    case 's':
        (void)load_parse_stat(text, &times);
        break;
    case 'p':
        match_path(text, text_bytes);
        break;
    case 't':
        if (tunnel_url_in_line(text, url) && (strncmp(url, "https://", 8) != 0 || strstr(text, url) == NULL ||
                                              strcmp(url, "https://api.trycloudflare.com") == 0))
            abort();
        break;
    case 'f':
        if (tunnel_id_in_credentials(text, text_bytes, id) &&
            (strlen(id) != TUNNEL_ID_BYTES - 1 || id[0] == '-' || strpbrk(id, " '\"$`;&|") != NULL))
            abort();
        break;
    default:
        break;
    }
    free(text);
    return 0;
}
