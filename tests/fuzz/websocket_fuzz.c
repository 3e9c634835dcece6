/* What strangers send to a WebSocket: a request, judged as a handshake, and after it frames, at
 * once and in pieces. Nobody can make it say much more than they said themselves. */

#include "gateway/websocket.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"

/* A close and an event; answers to pings are shorter than the pings. */
#define ANSWER_BYTES_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void take(void *context, const void *data, size_t bytes)
{
    buffer_append(context, data, bytes);
}

static void receive(const char *frames, size_t bytes, size_t step, struct buffer *sent)
{
    struct websocket *websocket = websocket_create(take, sent);
    bool open = websocket != NULL;
    check(open);
    for (size_t at = 0; at < bytes && open;) {
        size_t piece = bytes - at < step ? bytes - at : step;
        /* In memory of exactly its size, so that reading beyond it is noticed. */
        char *copy = malloc(piece);
        check(copy != NULL);
        memcpy(copy, frames + at, piece);
        open = websocket_receive(websocket, copy, piece);
        free(copy);
        at += piece;
    }
    if (open)
        check(websocket_send_text(websocket, "event", 5));
    websocket_free(websocket);
}

static void judge(const struct http_head *head)
{
    struct cors some = {.any = false};
    struct cors any = {.any = true};
    char accept[WEBSOCKET_ACCEPT_BYTES] = "";
    check(cors_parse(&some, "https://good.example"));
    enum websocket_verdict strict = websocket_judge(head, &some, accept);
    enum websocket_verdict lax = websocket_judge(head, &any, accept);
    cors_free(&some);
    check(strict == lax || strict == WEBSOCKET_FORBIDDEN_ORIGIN);
    if (lax == WEBSOCKET_ACCEPTED)
        check(strlen(accept) == WEBSOCKET_ACCEPT_BYTES - 1 && head->method == HTTP_METHOD_GET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct http_parser parser;
    struct http_head head;
    const struct http_limits limits = {512, 4096, 16};
    const char *frames = (const char *)data;
    http_parser_init_request(&parser, &head, limits);
    if (http_parser_feed(&parser, &head, frames, bytes) == HTTP_PARSE_DONE) {
        judge(&head);
        frames += head.head_bytes;
        bytes -= head.head_bytes;
    }
    const size_t steps[] = {bytes + 1, 1, 7};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct buffer sent = BUFFER_INIT;
        receive(frames, bytes, steps[i], &sent);
        check(!buffer_failed(&sent) && sent.bytes <= bytes + ANSWER_BYTES_MAX);
        buffer_free(&sent);
    }
    return 0;
}
