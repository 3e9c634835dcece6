/* See link.h. */

#include "common/link/link.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "common/link/frames.h"

/* Longer ones than HTTP/2's default cost fewer calls; a stream still has to wait for no more than this of another. */
#define FRAME_BYTES_MAX 65536
#define HEADER_BYTES_MAX 4096
#define CONNECTION_WINDOW_BYTES (16 * 1024 * 1024)

struct link_stream {
    struct link *link;
    struct link_stream *next, *previous;
    void *user;
    int32_t id;
    bool deferred; /* HTTP/2 waits for link_stream_ready */
    bool known;    /* the worker: `opened` took it */
};

struct link {
    enum link_side side;
    const struct link_calls *calls;
    void *context;
    nghttp2_session *session;
    struct link_frames *frames;
    struct link_stream *streams;
    size_t stream_count;
    struct buffer gathered; /* HTTP/2 for the next message */
};

static void fail(struct link *link, const char *error)
{
    link_frames_end(link->frames, error);
}

static bool is_over(const struct link *link)
{
    return link_frames_is_over(link->frames);
}

const char *link_error(const struct link *link)
{
    return link_frames_error(link->frames);
}

/* --- Streams --- */

static struct link_stream *add_stream(struct link *link, void *user)
{
    struct link_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    stream->link = link;
    stream->user = user;
    stream->next = link->streams;
    if (stream->next != NULL)
        stream->next->previous = stream;
    link->streams = stream;
    link->stream_count++;
    return stream;
}

static void remove_stream(struct link_stream *stream)
{
    struct link *link = stream->link;
    if (stream->next != NULL)
        stream->next->previous = stream->previous;
    if (stream->previous != NULL)
        stream->previous->next = stream->next;
    else
        link->streams = stream->next;
    link->stream_count--;
    free(stream);
}

static struct link_stream *find_stream(nghttp2_session *session, int32_t id)
{
    return id == 0 ? NULL : nghttp2_session_get_stream_user_data(session, id);
}

static ssize_t fetch(nghttp2_session *session, int32_t id, uint8_t *into, size_t room, uint32_t *flags,
                     nghttp2_data_source *source, void *user)
{
    struct link *link = user;
    struct link_stream *stream = source->ptr;
    (void)session;
    (void)id;
    ssize_t bytes = link->calls->wanted(link->context, stream, into, room);
    if (bytes < 0) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (bytes == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return bytes;
}

static ssize_t frame_length(nghttp2_session *session, uint8_t type, int32_t id, int32_t session_window,
                            int32_t stream_window, uint32_t frame_bytes_max, void *user)
{
    (void)session;
    (void)type;
    (void)id;
    (void)user;
    int32_t bytes = session_window < stream_window ? session_window : stream_window;
    if (bytes > FRAME_BYTES_MAX)
        bytes = FRAME_BYTES_MAX;
    return (uint32_t)bytes < frame_bytes_max ? bytes : (ssize_t)frame_bytes_max;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct link *link = user;
    if (link->side != LINK_WORKER || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct link_stream *stream = add_stream(link, NULL);
    if (stream == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
    stream->id = frame->hd.stream_id;
    if (nghttp2_session_set_stream_user_data(session, stream->id, stream) != 0)
        remove_stream(stream);
    return 0;
}

/* The worker's answer to CONNECT: from here on its bytes go out as well. */
static int accept_stream(struct link *link, struct link_stream *stream)
{
    static uint8_t name[] = ":status", value[] = "200";
    const nghttp2_nv header = {name, value, sizeof name - 1, sizeof value - 1, NGHTTP2_NV_FLAG_NONE};
    const nghttp2_data_provider body = {.source.ptr = stream, .read_callback = fetch};
    stream->user = link->calls->opened(link->context, stream);
    if (stream->user == NULL)
        return nghttp2_submit_rst_stream(link->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_REFUSED_STREAM);
    stream->known = true;
    return nghttp2_submit_response(link->session, stream->id, &header, 1, &body);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct link *link = user;
    struct link_stream *stream = find_stream(session, frame->hd.stream_id);
    int result = 0;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        fail(link, "the other side is going away");
    if (stream == NULL || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && link->side == LINK_WORKER && !stream->known &&
        (result = accept_stream(link, stream)) != 0)
        return nghttp2_is_fatal(result) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && stream->known)
        link->calls->ended(link->context, stream);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t bytes, void *user)
{
    struct link *link = user;
    struct link_stream *stream = find_stream(session, id);
    (void)flags;
    if (nghttp2_session_consume_connection(session, bytes) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (stream != NULL && stream->known)
        link->calls->arrived(link->context, stream, data, bytes);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    struct link *link = user;
    struct link_stream *stream = find_stream(session, id);
    (void)error_code;
    if (stream == NULL)
        return 0;
    if (stream->known)
        link->calls->closed(link->context, stream);
    (void)nghttp2_session_set_stream_user_data(session, id, NULL); /* it is there, or we would not have been called */
    remove_stream(stream);
    return 0;
}

/* A stream that was never sent is closed without on_stream_close when nghttp2 drops it, as it does when a GOAWAY
 * comes first; the link is over then, and link_free has the rest. */

static bool create_session(struct link *link)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    if (nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(callbacks);
        return false;
    }
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, LINK_STREAMS_MAX);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frame_length);
    int result = link->side == LINK_GATEWAY ? nghttp2_session_client_new2(&link->session, callbacks, link, option)
                                            : nghttp2_session_server_new2(&link->session, callbacks, link, option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (result != 0) {
        link->session = NULL;
        return false;
    }
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, link->side == LINK_WORKER ? LINK_STREAMS_MAX : 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LINK_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_BYTES_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_BYTES_MAX},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    /* A server has no word in the last one. */
    size_t count = sizeof settings / sizeof settings[0] - (link->side == LINK_WORKER ? 1 : 0);
    return nghttp2_submit_settings(link->session, NGHTTP2_FLAG_NONE, settings, count) == 0 &&
           nghttp2_session_set_local_window_size(link->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES) == 0;
}

size_t link_stream_count(const struct link *link)
{
    return link->stream_count;
}

struct link_stream *link_open(struct link *link, void *user)
{
    static uint8_t method_name[] = ":method", method[] = "CONNECT", authority_name[] = ":authority",
                   authority[] = "worker";
    const nghttp2_nv headers[] = {
        {method_name, method, sizeof method_name - 1, sizeof method - 1, NGHTTP2_NV_FLAG_NONE},
        {authority_name, authority, sizeof authority_name - 1, sizeof authority - 1, NGHTTP2_NV_FLAG_NONE},
    };
    if (is_over(link) || link->stream_count >= LINK_STREAMS_MAX)
        return NULL;
    struct link_stream *stream = add_stream(link, user);
    if (stream == NULL)
        return NULL;
    const nghttp2_data_provider body = {.source.ptr = stream, .read_callback = fetch};
    stream->known = true;
    stream->id = nghttp2_submit_request(link->session, NULL, headers, 2, &body, stream);
    if (stream->id < 0) { /* no memory, or the numbers have run out, after a thousand million */
        if (stream->id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE)
            fail(link, "all numbers of streams are used up");
        remove_stream(stream);
        return NULL;
    }
    return stream;
}

void *link_stream_user(const struct link_stream *stream)
{
    return stream->user;
}

void link_stream_ready(struct link_stream *stream)
{
    if (!stream->deferred)
        return;
    stream->deferred = false;
    (void)nghttp2_session_resume_data(stream->link->session, stream->id); /* fails for one that was reset */
}

void link_stream_consumed(struct link_stream *stream, size_t bytes)
{
    if (bytes > 0 && nghttp2_session_consume_stream(stream->link->session, stream->id, bytes) != 0)
        fail(stream->link, "out of memory");
}

void link_stream_reset(struct link_stream *stream)
{
    if (nghttp2_submit_rst_stream(stream->link->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL) != 0)
        fail(stream->link, "out of memory");
}

/* --- Bytes --- */

/* HTTP/2 came in the WebSocket. */
static void arrived(void *context, const uint8_t *data, size_t bytes)
{
    struct link *link = context;
    ssize_t taken = nghttp2_session_mem_recv(link->session, data, bytes);
    if (taken < 0)
        fail(link, nghttp2_strerror((int)taken));
}

struct link *link_create(enum link_side side, const struct link_calls *calls, void *context)
{
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->side = side;
    link->calls = calls;
    link->context = context;
    link->frames = link_frames_create(side == LINK_WORKER, arrived, link);
    if (link->frames == NULL || !create_session(link)) {
        link_free(link);
        return NULL;
    }
    return link;
}

void link_free(struct link *link)
{
    if (link == NULL)
        return;
    nghttp2_session_del(link->session);
    link_frames_free(link->frames);
    while (link->streams != NULL)
        remove_stream(link->streams);
    buffer_free(&link->gathered);
    free(link);
}

bool link_receive(struct link *link, const void *data, size_t bytes)
{
    link_frames_receive(link->frames, data, bytes);
    return !is_over(link);
}

/* One message of what HTTP/2 has to say; false: it has nothing. */
static bool append_message(struct link *link, struct buffer *out)
{
    buffer_clear(&link->gathered);
    while (link->gathered.bytes < FRAME_BYTES_MAX) {
        const uint8_t *data;
        ssize_t bytes = nghttp2_session_mem_send(link->session, &data);
        if (bytes < 0) {
            fail(link, nghttp2_strerror((int)bytes));
            return false;
        }
        if (bytes == 0)
            break;
        buffer_append(&link->gathered, data, (size_t)bytes);
    }
    /* What nghttp2 does not take it answers with a GOAWAY, behind which there is nothing. */
    if (nghttp2_session_want_read(link->session) == 0 && nghttp2_session_want_write(link->session) == 0)
        fail(link, "the other side does not speak HTTP/2 as it should");
    if (link->gathered.bytes == 0 && !buffer_failed(&link->gathered))
        return false;
    if (!buffer_failed(&link->gathered))
        link_frames_append(link->frames, &link->gathered, out);
    if (buffer_failed(&link->gathered) || buffer_failed(out)) {
        fail(link, "out of memory");
        return false;
    }
    return true;
}

bool link_output(struct link *link, struct buffer *out, size_t enough)
{
    do {
        if (is_over(link))
            link_frames_say_goodbye(link->frames, false);
        link_frames_flush(link->frames, out);
    } while (!is_over(link) && out->bytes < enough && append_message(link, out));
    if (is_over(link)) { /* since the last time round, maybe */
        link_frames_say_goodbye(link->frames, false);
        link_frames_flush(link->frames, out); /* as far as memory allows */
    }
    if (buffer_failed(out))
        fail(link, "out of memory");
    return !is_over(link);
}

void link_ping(struct link *link)
{
    link_frames_ping(link->frames);
}

void link_close(struct link *link, const char *reason)
{
    fail(link, reason);
    link_frames_say_goodbye(link->frames, true);
}
