/* See uplink_connect.h. */

#include "services/worker/uplink_connect.h"

#include <openssl/evp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/http/parser.h"
#include "common/http/target.h"
#include "common/link/handshake.h"
#include "common/random.h"
#include "services/worker/registration.h"

#define ANSWER_BYTES_MAX 16384
#define LOOK_INTERVAL_MS 100 /* at `cancelled` */
#define KEY_BYTES 25         /* 16 bytes in base64, and a zero */

__attribute__((format(printf, 2, 3))) static void fail(struct uplink_connection *connection, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(connection->error, sizeof connection->error, format, arguments);
    va_end(arguments);
}

void uplink_connection_free(struct uplink_connection *connection)
{
    curl_easy_cleanup(connection->easy);
    connection->easy = NULL;
    buffer_free(&connection->received);
}

static int look_for_cancel(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    const struct uplink_request *request = context;
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return atomic_load_explicit(&request->cancelled, memory_order_relaxed) ? 1 : 0;
}

static bool set_options(CURL *easy, const struct uplink_request *request, char *error)
{
    if (request->ca_file[0] != '\0' && curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file) != CURLE_OK)
        return false;
    return curl_easy_setopt(easy, CURLOPT_URL, request->coordinator_url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)UPLINK_CONNECT_TIMEOUT_MS) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, look_for_cancel) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_XFERINFODATA, (void *)(uintptr_t)request) == CURLE_OK;
}

/* --- The handshake --- */

static void write_request(const struct uplink_request *request, const struct http_origin *origin, const char *key,
                          struct buffer *out)
{
    buffer_append_format(out, "GET %s" LINK_SOCKET_PATH, origin->prefix);
    registration_append_id(out, request->worker_id);
    buffer_append_format(out,
                         " HTTP/1.1\r\nHost: %s\r\nUser-Agent: muster-worker\r\nConnection: Upgrade\r\nUpgrade: "
                         "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n" LINK_SECRET_HEADER
                         ": %s\r\n",
                         origin->authority, key, request->secret);
    if (request->api_key[0] != '\0')
        buffer_append_format(out, "Authorization: Bearer %s\r\n", request->api_key);
    buffer_append_text(out, "\r\n");
}

long uplink_read_answer(const char *data, size_t bytes, const char *accept, struct uplink_connection *connection)
{
    const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    struct http_parser parser;
    struct http_head head;
    char message[256];
    http_parser_init_response(&parser, &head, limits);
    enum http_parse result = http_parser_feed(&parser, &head, data, bytes);
    if (result == HTTP_PARSE_MORE && bytes < ANSWER_BYTES_MAX)
        return 0;
    if (result != HTTP_PARSE_DONE) {
        fail(connection, "the coordinator's answer is no HTTP: %s", http_parse_text(result));
        return -1;
    }
    connection->status = head.status;
    if (head.status != 101) {
        bool whole = bytes - head.head_bytes >= head.content_bytes;
        if (head.has_length && !whole && bytes < ANSWER_BYTES_MAX)
            return 0; /* it says what is wrong */
        registration_error_text(data + head.head_bytes, bytes - head.head_bytes, message, sizeof message);
        fail(connection, "the coordinator does not take this worker's link: HTTP %u: %s", head.status, message);
        return -1;
    }
    if (!head.upgrade || !http_head_has_token(&head, "upgrade", "websocket") ||
        !http_text_equal(http_head_get(&head, "sec-websocket-accept"), accept)) {
        fail(connection, "the coordinator's answer to the WebSocket's handshake is not one to it");
        return -1;
    }
    return (long)head.head_bytes;
}

/* Waits until the socket is ready. False: it is too late, or nobody wants it any more. */
static bool wait_for(const struct uplink_request *request, curl_socket_t descriptor, short events, uint64_t deadline_ms)
{
    while (clock_monotonic_ms() < deadline_ms && !atomic_load_explicit(&request->cancelled, memory_order_relaxed)) {
        struct pollfd wanted = {.fd = descriptor, .events = events};
        if (poll(&wanted, 1, LOOK_INTERVAL_MS) > 0)
            return true;
    }
    return false;
}

static bool send_all(const struct uplink_request *request, struct uplink_connection *connection,
                     curl_socket_t descriptor, const struct buffer *text, uint64_t deadline_ms)
{
    size_t at = 0, sent;
    while (at < text->bytes) {
        CURLcode result = curl_easy_send(connection->easy, text->data + at, text->bytes - at, &sent);
        if (result == CURLE_OK)
            at += sent;
        else if (result != CURLE_AGAIN || !wait_for(request, descriptor, POLLOUT, deadline_ms))
            return false;
    }
    return true;
}

/* What follows the head stays in `received`. */
static bool receive_answer(const struct uplink_request *request, struct uplink_connection *connection,
                           curl_socket_t descriptor, const char *accept, uint64_t deadline_ms)
{
    char piece[4096];
    size_t got;
    for (;;) {
        CURLcode result = curl_easy_recv(connection->easy, piece, sizeof piece, &got);
        if (result == CURLE_AGAIN) {
            if (!wait_for(request, descriptor, POLLIN, deadline_ms)) {
                fail(connection, "the coordinator did not answer the WebSocket's handshake in time");
                return false;
            }
            continue;
        }
        if (result != CURLE_OK || got == 0) {
            fail(connection, "the connection broke during the WebSocket's handshake");
            return false;
        }
        buffer_append(&connection->received, piece, got);
        if (buffer_failed(&connection->received)) {
            fail(connection, "out of memory");
            return false;
        }
        long head = uplink_read_answer(connection->received.data, connection->received.bytes, accept, connection);
        if (head > 0)
            buffer_consume(&connection->received, (size_t)head);
        if (head != 0)
            return head > 0;
    }
}

static bool shake_hands(const struct uplink_request *request, struct uplink_connection *connection,
                        const struct http_origin *origin)
{
    uint64_t deadline_ms = clock_monotonic_ms() + UPLINK_CONNECT_TIMEOUT_MS;
    curl_socket_t descriptor;
    unsigned char chance[16];
    char key[KEY_BYTES], accept[LINK_ACCEPT_BYTES];
    struct buffer text = BUFFER_INIT;
    random_bytes(chance, sizeof chance);
    if (EVP_EncodeBlock((unsigned char *)key, chance, sizeof chance) != KEY_BYTES - 1 ||
        !link_accept(key, KEY_BYTES - 1, accept) ||
        curl_easy_getinfo(connection->easy, CURLINFO_ACTIVESOCKET, &descriptor) != CURLE_OK) {
        fail(connection, "the WebSocket's handshake cannot be made");
        return false;
    }
    write_request(request, origin, key, &text);
    bool sent = !buffer_failed(&text) && send_all(request, connection, descriptor, &text, deadline_ms);
    buffer_free(&text);
    if (!sent) {
        fail(connection, "the WebSocket's handshake could not be sent");
        return false;
    }
    return receive_answer(request, connection, descriptor, accept, deadline_ms);
}

void uplink_connect(const struct uplink_request *request, struct uplink_connection *connection)
{
    struct http_origin origin;
    char error[CURL_ERROR_SIZE] = "";
    memset(connection, 0, sizeof *connection);
    connection->easy = curl_easy_init();
    if (!http_origin_parse(http_text_of(request->coordinator_url), &origin)) {
        fail(connection, "the coordinator's URL cannot be used: %s", request->coordinator_url);
    } else if (connection->easy == NULL || !set_options(connection->easy, request, error)) {
        fail(connection, "out of memory");
    } else {
        connection->tls = origin.tls;
        CURLcode result = curl_easy_perform(connection->easy);
        (void)curl_easy_setopt(connection->easy, CURLOPT_ERRORBUFFER, NULL); /* it is this function's */
        (void)curl_easy_setopt(connection->easy, CURLOPT_NOPROGRESS, 1L);
        if (result == CURLE_OK && shake_hands(request, connection, &origin))
            return;
        if (result != CURLE_OK)
            fail(connection, "%s", error[0] != '\0' ? error : curl_easy_strerror(result));
    }
    uplink_connection_free(connection);
}
