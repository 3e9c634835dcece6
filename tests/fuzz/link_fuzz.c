/* What a stranger sends over a link, at either end: WebSocket frames with HTTP/2 in them. The first byte says which end
 * it is and how large the pieces are. What comes is only ever passed on in bounds, and whatever happens the link can
 * be asked for its output, and freed. */

#include "common/link/link.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds)
        abort();
}

struct owner {
    size_t opened, closed;
    size_t waiting_bytes;
};

static void *opened(void *context, struct link_stream *stream)
{
    struct owner *owner = context;
    (void)stream;
    owner->opened++;
    check(owner->opened - owner->closed <= LINK_STREAMS_MAX);
    return owner->opened % 7 == 0 ? NULL : owner;
}

static void arrived(void *context, struct link_stream *stream, const void *data, size_t bytes)
{
    struct owner *owner = context;
    volatile unsigned char sum = 0;
    check(link_stream_user(stream) != NULL);
    for (size_t i = 0; i < bytes; i++)
        sum = (unsigned char)(sum + ((const unsigned char *)data)[i]);
    if (sum % 2 == 0)
        link_stream_consumed(stream, bytes);
    else
        owner->waiting_bytes += bytes;
    if (sum == 3)
        link_stream_reset(stream);
}

static void ended(void *context, struct link_stream *stream)
{
    (void)context;
    link_stream_ready(stream);
}

static ssize_t wanted(void *context, struct link_stream *stream, void *into, size_t room)
{
    (void)context;
    (void)stream;
    if (room < 3)
        return -1;
    memcpy(into, "abc", 3);
    return room % 2 == 0 ? 3 : -1;
}

static void closed(void *context, struct link_stream *stream)
{
    struct owner *owner = context;
    (void)stream;
    owner->closed++;
}

static void receive(enum link_side side, const uint8_t *data, size_t bytes, size_t step)
{
    static const struct link_calls calls = {opened, arrived, ended, wanted, closed};
    struct owner owner = {.opened = 0};
    struct link *link = link_create(side, &calls, &owner);
    struct buffer out = BUFFER_INIT;
    bool alive = true;
    check(link != NULL);
    for (int i = 0; side == LINK_GATEWAY && i < 3; i++)
        check(link_open(link, &owner) != NULL);
    (void)link_output(link, &out, 4096);
    for (size_t at = 0; at < bytes && alive;) {
        size_t piece = bytes - at < step ? bytes - at : step;
        /* In memory of exactly its size, so that reading beyond it is noticed. */
        char *copy = malloc(piece);
        check(copy != NULL);
        memcpy(copy, data + at, piece);
        alive = link_receive(link, copy, piece);
        free(copy);
        at += piece;
        buffer_clear(&out);
        alive = link_output(link, &out, 4096) && alive;
    }
    check(alive == (link_error(link)[0] == '\0'));
    check(link_stream_count(link) <= LINK_STREAMS_MAX);
    link_ping(link);
    (void)link_output(link, &out, 4096);
    buffer_free(&out);
    link_free(link);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    receive((data[0] & 1) != 0 ? LINK_WORKER : LINK_GATEWAY, data + 1, bytes - 1, (size_t)(data[0] >> 1) * 8 + 1);
    return 0;
}
