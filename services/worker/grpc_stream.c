#include "services/worker/grpc_stream.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/worker/grpc_message.h"

#define QUEUE_LIMIT_BYTES (1024 * 1024)

struct grpc_stream {
    nghttp2_session *session;
    int32_t id;
    const struct grpc_stream_calls *calls;
    void *context;

    struct buffer queued; /* framed messages that HTTP/2 has not taken yet */
    bool deferred;        /* HTTP/2 waits for us to have something */
    bool finishing;       /* nothing follows what is queued */

    struct grpc_message_reader reader;
    uint64_t pongs;
    bool over;

    /* What the server said of the call's end. */
    int http_status;
    bool grpc_content;
    int grpc_status; /* -1: nothing yet */
    char reason[GRPC_STREAM_REASON_BYTES];
};

/* ---- the end ---- */

static void end(struct grpc_stream *stream, int status, const char *reason)
{
    if (stream->over)
        return;
    stream->over = true;
    struct grpc_stream_end ending = {.status = status, .reason = reason};
    stream->calls->ended(stream->context, &ending);
}

/* Ends the call from our side because the server broke the rules. */
static void reject(struct grpc_stream *stream, int status, const char *reason)
{
    /* Only out of memory can fail here, and then the connection is closed all the same. */
    (void)nghttp2_submit_rst_stream(stream->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
    end(stream, status, reason);
}

/* The server has closed its side, or the stream is gone. */
static void server_ended(struct grpc_stream *stream, uint32_t error_code)
{
    char text[GRPC_STREAM_REASON_BYTES];
    if (stream->grpc_status == 0 && !grpc_message_at_boundary(&stream->reader)) {
        end(stream, GRPC_STATUS_INTERNAL, "ended in the middle of a message");
    } else if (stream->grpc_status >= 0) {
        end(stream, stream->grpc_status, stream->reason);
    } else if (error_code != NGHTTP2_NO_ERROR) {
        snprintf(text, sizeof text, "stream reset: %s", nghttp2_http2_strerror(error_code));
        end(stream, GRPC_STATUS_UNAVAILABLE, text);
    } else {
        snprintf(text, sizeof text, "ended without a grpc-status (HTTP status %d)", stream->http_status);
        end(stream, GRPC_STATUS_UNKNOWN, text);
    }
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    (void)session;
    struct grpc_stream *stream = user;
    if (id == stream->id)
        server_ended(stream, error_code);
    return 0;
}

/* ---- headers and trailers ---- */

static int hexadecimal(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* grpc-message is percent-encoded; what is malformed is kept as it came. */
static void decode_reason(const uint8_t *value, size_t bytes, char *reason, size_t capacity)
{
    size_t out = 0;
    for (size_t i = 0; i < bytes && out + 1 < capacity; i++) {
        int high, low;
        if (value[i] == '%' && i + 2 < bytes && (high = hexadecimal(value[i + 1])) >= 0 &&
            (low = hexadecimal(value[i + 2])) >= 0) {
            reason[out++] = (char)(high << 4 | low);
            i += 2;
        } else {
            reason[out++] = (char)value[i];
        }
    }
    reason[out] = '\0';
}

static bool named(const uint8_t *name, size_t bytes, const char *wanted)
{
    return bytes == strlen(wanted) && memcmp(name, wanted, bytes) == 0;
}

/* A number of up to three digits; -1: it is none. */
static int small_number(const uint8_t *value, size_t bytes)
{
    int number = 0;
    if (bytes == 0 || bytes > 3)
        return -1;
    for (size_t i = 0; i < bytes; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -1;
        number = number * 10 + (value[i] - '0');
    }
    return number;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes, uint8_t flags, void *user)
{
    (void)session;
    (void)flags;
    struct grpc_stream *stream = user;
    if (frame->hd.stream_id != stream->id)
        return 0;
    if (named(name, name_bytes, ":status")) {
        stream->http_status = small_number(value, value_bytes);
    } else if (named(name, name_bytes, "content-type")) {
        static const char prefix[] = "application/grpc";
        stream->grpc_content = value_bytes >= sizeof prefix - 1 && memcmp(value, prefix, sizeof prefix - 1) == 0;
    } else if (named(name, name_bytes, "grpc-status")) {
        stream->grpc_status = small_number(value, value_bytes);
        if (stream->grpc_status < 0)
            stream->grpc_status = GRPC_STATUS_UNKNOWN;
    } else if (named(name, name_bytes, "grpc-message")) {
        decode_reason(value, value_bytes, stream->reason, sizeof stream->reason);
    }
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct grpc_stream *stream = user;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        /* The first headers decide whether a gRPC server is there at all. */
        if (frame->headers.cat == NGHTTP2_HCAT_RESPONSE && !stream->over &&
            (stream->http_status != 200 || !stream->grpc_content) && stream->grpc_status < 0)
            reject(stream, GRPC_STATUS_UNKNOWN, "no gRPC server answers there");
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
            stream->pongs++;
        break;
    case NGHTTP2_GOAWAY:
        grpc_stream_finish(stream);
        break;
    default:
        break;
    }
    /* The call is over when the server says so, whatever we still had to say. */
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && frame->hd.stream_id == stream->id &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        server_ended(stream, NGHTTP2_NO_ERROR);
    return 0;
}

/* ---- messages in ---- */

static int on_data_chunk_recv(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t bytes,
                              void *user)
{
    (void)session;
    (void)flags;
    struct grpc_stream *stream = user;
    if (id != stream->id)
        return 0;
    while (!stream->over) {
        switch (grpc_message_read(&stream->reader, &data, &bytes)) {
        case GRPC_MESSAGE_COMPLETE:
            stream->calls->message(stream->context, stream->reader.message.data, stream->reader.message.bytes);
            break;
        case GRPC_MESSAGE_MORE:
            return 0;
        case GRPC_MESSAGE_COMPRESSED:
            reject(stream, GRPC_STATUS_INTERNAL, "the server sent a compressed message without having been asked to");
            break;
        case GRPC_MESSAGE_TOO_LARGE:
            reject(stream, GRPC_STATUS_RESOURCE_EXHAUSTED, "the server sent a message over the limit");
            break;
        case GRPC_MESSAGE_OUT_OF_MEMORY:
            reject(stream, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
            break;
        }
    }
    return 0;
}

/* ---- messages out ---- */

static ssize_t read_queued(nghttp2_session *session, int32_t id, uint8_t *data, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)source;
    struct grpc_stream *stream = user;
    if (stream->queued.bytes == 0 && !stream->finishing) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t take = stream->queued.bytes < room ? stream->queued.bytes : room;
    if (take > 0)
        memcpy(data, stream->queued.data, take);
    buffer_consume(&stream->queued, take);
    if (stream->queued.bytes == 0 && stream->finishing)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)take;
}

static void resume(struct grpc_stream *stream)
{
    if (!stream->deferred)
        return;
    stream->deferred = false;
    /* Fails only for a call that is over, which on_stream_close has dealt with. */
    (void)nghttp2_session_resume_data(stream->session, stream->id);
}

bool grpc_stream_send(struct grpc_stream *stream, const void *message, size_t message_bytes)
{
    if (stream->over || stream->finishing ||
        stream->queued.bytes + GRPC_MESSAGE_PREFIX_BYTES + message_bytes > QUEUE_LIMIT_BYTES)
        return false;
    if (!buffer_reserve(&stream->queued, GRPC_MESSAGE_PREFIX_BYTES + message_bytes))
        return false;
    grpc_message_append(&stream->queued, message, message_bytes);
    resume(stream);
    return true;
}

void grpc_stream_finish(struct grpc_stream *stream)
{
    if (stream->over || stream->finishing)
        return;
    stream->finishing = true;
    resume(stream);
}

void grpc_stream_ping(struct grpc_stream *stream)
{
    /* Out of memory: no answer will come, which is what the caller waits for anyway. */
    (void)nghttp2_submit_ping(stream->session, NGHTTP2_FLAG_NONE, NULL);
}

uint64_t grpc_stream_pongs(const struct grpc_stream *stream)
{
    return stream->pongs;
}

/* ---- setting up ---- */

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

/* The session with its callbacks; NULL when memory runs out. */
static nghttp2_session *create_session(struct grpc_stream *stream)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk_recv);
    nghttp2_session *session;
    if (nghttp2_session_client_new(&session, callbacks, stream) != 0)
        session = NULL;
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static bool begin_call(struct grpc_stream *stream, const char *authority, const char *path)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16384},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 4096},
    };
    if (nghttp2_submit_settings(stream->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof settings[0]) !=
        0)
        return false;
    const nghttp2_nv headers[] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", path),
        header(":authority", authority),
        header("te", "trailers"),
        header("content-type", "application/grpc"),
        header("user-agent", "grpc-c-muster-worker/1.0"),
    };
    nghttp2_data_provider body = {.read_callback = read_queued};
    stream->id =
        nghttp2_submit_request(stream->session, NULL, headers, sizeof headers / sizeof headers[0], &body, stream);
    return stream->id > 0;
}

struct grpc_stream *grpc_stream_create(const char *authority, const char *path, size_t message_limit_bytes,
                                       const struct grpc_stream_calls *calls, void *context)
{
    struct grpc_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    stream->calls = calls;
    stream->context = context;
    stream->grpc_status = -1;
    grpc_message_reader_init(&stream->reader, message_limit_bytes);
    stream->session = create_session(stream);
    if (stream->session == NULL || !begin_call(stream, authority, path)) {
        grpc_stream_free(stream);
        return NULL;
    }
    return stream;
}

void grpc_stream_free(struct grpc_stream *stream)
{
    if (stream == NULL)
        return;
    /* Deleting a session closes its streams without calling anybody. */
    nghttp2_session_del(stream->session);
    grpc_message_reader_free(&stream->reader);
    buffer_free(&stream->queued);
    free(stream);
}

/* ---- the transport ---- */

bool grpc_stream_receive(struct grpc_stream *stream, const void *data, size_t bytes)
{
    ssize_t used = nghttp2_session_mem_recv(stream->session, data, bytes);
    if (used < 0) {
        end(stream, GRPC_STATUS_UNAVAILABLE, nghttp2_strerror((int)used));
        return false;
    }
    return true;
}

bool grpc_stream_output(struct grpc_stream *stream, struct buffer *out, size_t limit_bytes)
{
    while (out->bytes < limit_bytes) {
        const uint8_t *data;
        ssize_t bytes = nghttp2_session_mem_send(stream->session, &data);
        if (bytes < 0) {
            end(stream, GRPC_STATUS_UNAVAILABLE, nghttp2_strerror((int)bytes));
            return false;
        }
        if (bytes == 0)
            return true;
        buffer_append(out, data, (size_t)bytes);
        if (buffer_failed(out)) {
            end(stream, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory");
            return false;
        }
    }
    return true;
}
