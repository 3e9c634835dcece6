/* One REST request; see rest.h. */

#include "services/ctl/rest.h"

#include "common/buffer.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A worker list of a large fleet; more than that is not meant for a terminal. */
#define STALLED_SECONDS 60L

#define BODY_LIMIT_BYTES ((size_t)1 << 30)

bool rest_start(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

void rest_stop(void)
{
    curl_global_cleanup();
}

static size_t take_body(char *data, size_t size, size_t count, void *argument)
{
    struct buffer *body = argument;
    if (body->bytes + size * count > BODY_LIMIT_BYTES)
        return 0;
    buffer_append(body, data, size * count);
    return buffer_failed(body) ? 0 : size * count;
}

static size_t take_header(char *data, size_t size, size_t count, void *argument)
{
    static const char name[] = "x-served-by:";
    struct rest_answer *answer = argument;
    size_t bytes = size * count;
    if (bytes >= sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0) {
        const char *value = data + sizeof(name) - 1;
        size_t length = bytes - (sizeof(name) - 1);
        for (; length > 0 && *value == ' '; length--)
            value++;
        while (length > 0 && (value[length - 1] == '\r' || value[length - 1] == '\n'))
            length--;
        (void)snprintf(answer->served_by, sizeof(answer->served_by), "%.*s", (int)length, value);
    }
    return bytes;
}

/* A proxy of the environment cannot reach the loopback of this machine. */
static bool is_loopback(const char *url)
{
    static const char *const hosts[] = {"http://127.", "http://localhost", "http://[::1]"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        if (strncmp(url, hosts[i], strlen(hosts[i])) == 0)
            return true;
    return false;
}

static void one_line(char *text)
{
    for (; *text != '\0'; text++)
        if (iscntrl((unsigned char)*text))
            *text = ' ';
}

/* What went wrong, from what came back. */
static void describe(struct rest_answer *answer, const char *url, bool needs_json)
{
    const char *message = json_string_value(json_object_get(answer->body, "message"));
    if (answer->status < 200 || answer->status > 299)
        (void)snprintf(answer->error, sizeof(answer->error), "%s answered %ld: %s%s", url, answer->status,
                       message != NULL ? message : "no message",
                       answer->status == 401 || answer->status == 403 ? "; give a key that may, as API_KEY" : "");
    else if (needs_json && answer->body == NULL)
        (void)snprintf(answer->error, sizeof(answer->error),
                       "%s answered something that is not JSON: is it a coordinator?", url);
    one_line(answer->error);
}

/* What is sent and where the answer goes; all NULL: a GET whose answer is JSON. */
struct exchange {
    const char *post;
    FILE *from, *to;
    CURL *curl;
    struct buffer *body;
};

static size_t take_part(char *data, size_t size, size_t count, void *argument)
{
    const struct exchange *exchange = argument;
    long status = 0;
    (void)curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
    /* An error's text is not what was asked for. */
    if (exchange->to == NULL || status < 200 || status > 299)
        return take_body(data, size, count, exchange->body);
    return fwrite(data, 1, size * count, exchange->to);
}

static size_t give_part(char *data, size_t size, size_t count, void *argument)
{
    const struct exchange *exchange = argument;
    size_t bytes = fread(data, 1, size * count, exchange->from);
    return ferror(exchange->from) ? CURL_READFUNC_ABORT : bytes;
}

/* A body of any size, there or back. */
static void stream(struct exchange *exchange, CURL *curl)
{
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALLED_SECONDS);
    if (exchange->from == NULL)
        return;
    (void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_part);
    (void)curl_easy_setopt(curl, CURLOPT_READDATA, exchange);
}

static struct curl_slist *headers_of(const struct exchange *exchange, const char *api_key)
{
    struct curl_slist *headers = NULL;
    struct buffer key = BUFFER_INIT;
    if (exchange->from != NULL)
        headers = curl_slist_append(curl_slist_append(NULL, "Content-Type: application/json"), "Expect:");
    else if (exchange->post != NULL)
        headers = curl_slist_append(NULL, "Content-Type: text/plain");
    if (api_key[0] == '\0')
        return headers;
    buffer_append_format(&key, "X-API-Key: %s", api_key);
    struct curl_slist *with_key = buffer_failed(&key) ? NULL : curl_slist_append(headers, key.data);
    buffer_free(&key);
    /* Out of memory: without the key, which is answered with 401. */
    return with_key != NULL ? with_key : headers;
}

static bool request(const struct rest_coordinator *coordinator, const char *path, struct exchange *exchange,
                    uint64_t timeout_ms, struct rest_answer *answer)
{
    *answer = (struct rest_answer){0};
    const char *base = coordinator->url;
    size_t base_bytes = strcspn(base, ","); /* of a list, as workers take it, the first */
    while (base_bytes > 0 && base[base_bytes - 1] == '/')
        base_bytes--;
    struct buffer url = BUFFER_INIT;
    struct buffer body = BUFFER_INIT;
    buffer_append(&url, base, base_bytes);
    buffer_append_text(&url, path);
    CURL *curl = curl_easy_init();
    if (curl == NULL || buffer_failed(&url)) {
        (void)snprintf(answer->error, sizeof(answer->error), "out of memory");
        curl_easy_cleanup(curl);
        buffer_free(&url);
        return false;
    }
    char reason[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = headers_of(exchange, coordinator->api_key);
    exchange->curl = curl;
    exchange->body = &body;
    /* Setting options fails only for lack of memory, and the request then fails as well. */
    (void)curl_easy_setopt(curl, CURLOPT_URL, url.data);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_part);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "musterctl");
    if (is_loopback(url.data))
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (exchange->post != NULL)
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->post);
    if (exchange->from != NULL || exchange->to != NULL)
        stream(exchange, curl);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
        answer->body = json_loadb(body.data != NULL ? body.data : "", body.bytes, JSON_DECODE_ANY, NULL);
        describe(answer, url.data, exchange->post == NULL && exchange->to == NULL);
    } else {
        (void)snprintf(answer->error, sizeof(answer->error), "cannot reach %.*s: %s", (int)base_bytes, base,
                       reason[0] != '\0' ? reason : curl_easy_strerror(code));
        one_line(answer->error);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    buffer_free(&body);
    buffer_free(&url);
    return answer->error[0] == '\0';
}

bool rest_get(const struct rest_coordinator *coordinator, const char *path, uint64_t timeout_ms,
              struct rest_answer *answer)
{
    return request(coordinator, path, &(struct exchange){.post = NULL}, timeout_ms, answer);
}

bool rest_post_text(const struct rest_coordinator *coordinator, const char *path, const char *text, uint64_t timeout_ms,
                    struct rest_answer *answer)
{
    return request(coordinator, path, &(struct exchange){.post = text}, timeout_ms, answer);
}

bool rest_download(const struct rest_coordinator *coordinator, const char *path, FILE *to, struct rest_answer *answer)
{
    return request(coordinator, path, &(struct exchange){.to = to}, 0, answer);
}

bool rest_upload(const struct rest_coordinator *coordinator, const char *path, FILE *from, struct rest_answer *answer)
{
    return request(coordinator, path, &(struct exchange){.from = from}, 0, answer);
}

void rest_answer_free(struct rest_answer *answer)
{
    json_decref(answer->body);
    *answer = (struct rest_answer){0};
}
