/* See websocket.h. */

#include "gateway/websocket.h"

#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

/* --- The handshake --- */

#define KEY_BYTES 24 /* 16 bytes in base64 */

static bool is_base64(char character)
{
    return (character >= 'A' && character <= 'Z') || (character >= 'a' && character <= 'z') ||
           (character >= '0' && character <= '9') || character == '+' || character == '/';
}

/* 22 characters of base64, the last of which stands for two bits, and "==". */
static bool is_key(struct http_text key)
{
    if (key.data == NULL || key.bytes != KEY_BYTES || memcmp(key.data + KEY_BYTES - 2, "==", 2) != 0)
        return false;
    for (size_t i = 0; i < KEY_BYTES - 2; i++) {
        if (!is_base64(key.data[i]))
            return false;
    }
    return strchr("AQgw", key.data[KEY_BYTES - 3]) != NULL;
}

static bool may_call(const struct cors *cors, struct http_text origin)
{
    struct cors_headers headers;
    if (origin.data == NULL)
        return true;
    cors_headers_for(cors, origin, false, &headers);
    for (size_t i = 0; i < headers.count; i++) {
        if (strcmp(headers.headers[i].name, "Access-Control-Allow-Origin") == 0)
            return true;
    }
    return false;
}

enum websocket_verdict websocket_judge(const struct http_head *head, const struct cors *cors,
                                       char accept[WEBSOCKET_ACCEPT_BYTES])
{
    struct http_text key = http_head_get(head, "sec-websocket-key");
    if (!head->upgrade || head->method != HTTP_METHOD_GET || !http_head_has_token(head, "upgrade", "websocket"))
        return WEBSOCKET_NOT_ASKED_FOR;
    if (!http_text_equal(http_head_get(head, "sec-websocket-version"), WEBSOCKET_VERSION))
        return WEBSOCKET_WRONG_VERSION;
    if (!is_key(key) || http_request_framing(head) != HTTP_FRAMING_NONE)
        return WEBSOCKET_BAD_KEY;
    if (!may_call(cors, http_head_get(head, "origin")))
        return WEBSOCKET_FORBIDDEN_ORIGIN;
    return link_accept(key.data, key.bytes, accept) ? WEBSOCKET_ACCEPTED : WEBSOCKET_BAD_KEY;
}

/* --- Frames --- */

struct websocket {
    wslay_event_context_ptr frames;
    void (*send)(void *context, const void *data, size_t bytes);
    void *context;
    const uint8_t *input; /* while websocket_receive runs */
    size_t input_bytes;
};

static ssize_t give_input(wslay_event_context_ptr frames, uint8_t *into, size_t room, int flags, void *user)
{
    struct websocket *websocket = user;
    (void)flags;
    if (websocket->input_bytes == 0) {
        wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t taken = room < websocket->input_bytes ? room : websocket->input_bytes;
    memcpy(into, websocket->input, taken);
    websocket->input += taken;
    websocket->input_bytes -= taken;
    return (ssize_t)taken;
}

static ssize_t take_output(wslay_event_context_ptr frames, const uint8_t *data, size_t bytes, int flags, void *user)
{
    struct websocket *websocket = user;
    (void)frames;
    (void)flags;
    websocket->send(websocket->context, data, bytes);
    return (ssize_t)bytes;
}

struct websocket *websocket_create(void (*send)(void *context, const void *data, size_t bytes), void *context)
{
    static const struct wslay_event_callbacks callbacks = {.recv_callback = give_input, .send_callback = take_output};
    struct websocket *websocket = calloc(1, sizeof *websocket);
    if (websocket == NULL)
        return NULL;
    websocket->send = send;
    websocket->context = context;
    if (wslay_event_context_server_init(&websocket->frames, &callbacks, websocket) != 0) {
        free(websocket);
        return NULL;
    }
    wslay_event_config_set_max_recv_msg_length(websocket->frames, WEBSOCKET_MESSAGE_BYTES_MAX);
    return websocket;
}

void websocket_free(struct websocket *websocket)
{
    if (websocket == NULL)
        return;
    wslay_event_context_free(websocket->frames);
    free(websocket);
}

bool websocket_receive(struct websocket *websocket, const void *data, size_t bytes)
{
    websocket->input = data;
    websocket->input_bytes = bytes;
    bool fine = wslay_event_recv(websocket->frames) == 0;
    websocket->input = NULL;
    websocket->input_bytes = 0;
    fine = wslay_event_send(websocket->frames) == 0 && fine;
    /* Whoever closes second, the TCP connection is the server's to close (RFC 6455 7.1.1). A
     * client's mistake makes wslay send a close and want no more input. */
    return fine && wslay_event_want_read(websocket->frames) != 0 &&
           wslay_event_get_close_received(websocket->frames) == 0;
}

static bool queue(struct websocket *websocket, uint8_t opcode, const char *text, size_t bytes)
{
    const struct wslay_event_msg message = {opcode, (const uint8_t *)text, bytes};
    int result = wslay_event_queue_msg(websocket->frames, &message);
    if (result == WSLAY_ERR_NO_MORE_MSG)
        return true;
    return result == 0 && wslay_event_send(websocket->frames) == 0;
}

bool websocket_send_text(struct websocket *websocket, const char *text, size_t bytes)
{
    return queue(websocket, WSLAY_TEXT_FRAME, text, bytes);
}

bool websocket_send_ping(struct websocket *websocket)
{
    return queue(websocket, WSLAY_PING, "", 0);
}

void websocket_send_close(struct websocket *websocket, enum websocket_close code, const char *reason)
{
    /* An error means that a close was sent before, or that memory ran out: then the end of the
     * connection has to say it. */
    if (wslay_event_queue_close(websocket->frames, (uint16_t)code, (const uint8_t *)reason, strlen(reason)) == 0)
        (void)wslay_event_send(websocket->frames);
}
