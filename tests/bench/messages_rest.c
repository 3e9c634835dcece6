#include "tests/bench/messages_rest.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "tests/bench/messages.h"

char *registration_json(unsigned number, unsigned variant)
{
    (void)variant;
    struct buffer json = BUFFER_INIT;
    char id[WORKER_ID_BYTES];
    worker_id(id, number);
    buffer_append_format(
        &json,
        "{\"worker_id\": \"%s\", \"tunnel_url\": \"https://%s.example.com\", \"worker_type\": \"gpu\", "
        "\"location\": \"uk\", \"capabilities\": %s, \"services\": [",
        id, id, capabilities_json());
    for (unsigned i = 0; i < SERVICES_OF_A_WORKER; i++)
        buffer_append_format(&json, "%s{\"name\": \"service-%u\", \"url\": \"https://s%u.%s.example.com\"}",
                             i > 0 ? ", " : "", i, i, id);
    buffer_append_text(&json, "], \"containers\": []}");
    return buffer_take(&json);
}

char *heartbeat_json(unsigned number, unsigned variant)
{
    struct buffer json = BUFFER_INIT;
    char id[WORKER_ID_BYTES];
    worker_id(id, number);
    buffer_append_format(
        &json,
        "{\"worker_id\": \"%s\", \"status\": \"healthy\", \"current_load\": 0.42, \"available_memory\": \"24.5GB\", "
        "\"gpu_utilization\": 65.3, \"active_requests\": %u, \"queue_depth\": 0, \"loaded_models\": [\"llama3.2\"], "
        "\"specialization\": \"vllm\", \"services_status\": {\"vision-ocr\": \"running\"}, \"tasks_completed\": 7}",
        id, 2 + variant);
    return buffer_take(&json);
}

static bool requests_make(struct http_requests *requests, unsigned count, const char *path, unsigned variants,
                          char *(*body_of)(unsigned number, unsigned variant))
{
    char **texts = calloc((size_t)count * variants, sizeof *texts);
    bool made = texts != NULL;
    for (unsigned i = 0; made && i < count * variants; i++) {
        char *body = body_of(i % count, i / count);
        texts[i] = body != NULL ? http_request_text("POST", path, body) : NULL;
        made = texts[i] != NULL;
        free(body);
    }
    made = made && http_requests_make(requests, texts, (size_t)count * variants);
    for (unsigned i = 0; !made && texts != NULL && i < count * variants; i++)
        free(texts[i]);
    free(texts);
    return made;
}

static const char register_path[] = "/api/worker/register";

char *next_registration_request(void *context)
{
    unsigned *next = context;
    char *body = registration_json((*next)++, 0);
    char *request = body == NULL ? NULL : http_request_text("POST", register_path, body);
    free(body);
    return request;
}

bool registration_requests(struct http_requests *requests, unsigned count)
{
    return requests_make(requests, count, register_path, 1, registration_json);
}

bool heartbeat_requests(struct http_requests *requests, unsigned count)
{
    return requests_make(requests, count, "/api/worker/heartbeat", 2, heartbeat_json);
}
