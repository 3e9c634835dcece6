/* See link.h. */

#include "common/link/link.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "common/random.h"

/* Longer ones than HTTP/2's default cost fewer calls; a stream still has to wait for no more than this of another. */
#define FRAME_BYTES_MAX 65536
#define HEADER_BYTES_MAX 4096
#define CONNECTION_WINDOW_BYTES (16 * 1024 * 1024)
#define FRAME_HEAD_BYTES 14  /* of the WebSocket, at most */
#define UNMASKED_BYTES 32768 /* at once */
#define NOT_WEBSOCKET "the other side does not speak WebSocket as it should"
#define CLOSE_NORMAL 1000
#define CLOSE_PROTOCOL 1002

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
    wslay_event_context_ptr frames;
    struct link_stream *streams;
    size_t stream_count;

    const uint8_t *input; /* of wslay, while it is called */
    size_t input_bytes;

    /* The frame that is being received. */
    uint8_t head[FRAME_HEAD_BYTES];
    size_t head_bytes;
    uint64_t payload_left;
    uint8_t mask[4];
    size_t mask_at;
    bool is_control;
    bool in_fragments; /* of a message */
    uint8_t plain[UNMASKED_BYTES];

    struct buffer *output;  /* where wslay's bytes go while link_output runs */
    struct buffer gathered; /* HTTP/2 for the next message */
    uint8_t masks[256];     /* chance for the worker's messages, from the kernel by the dozen */
    size_t masks_left;
    bool over;
    bool goodbye_said;
    char error[124]; /* fits into a goodbye */
};

static void fail(struct link *link, const char *error)
{
    if (link->over)
        return;
    link->over = true;
    snprintf(link->error, sizeof link->error, "%s", error);
}

const char *link_error(const struct link *link)
{
    return link->error;
}

/* --- HTTP/2: streams ---------------------------------------------------------------------- */

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
    if (link->over || link->stream_count >= LINK_STREAMS_MAX)
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

/* --- The WebSocket ------------------------------------------------------------------------ */

static ssize_t give_input(wslay_event_context_ptr frames, uint8_t *into, size_t room, int flags, void *user)
{
    struct link *link = user;
    (void)flags;
    if (link->input_bytes == 0 || link->over) {
        wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t taken = room < link->input_bytes ? room : link->input_bytes;
    memcpy(into, link->input, taken);
    link->input += taken;
    link->input_bytes -= taken;
    return (ssize_t)taken;
}

static ssize_t take_output(wslay_event_context_ptr frames, const uint8_t *data, size_t bytes, int flags, void *user)
{
    struct link *link = user;
    (void)frames;
    (void)flags;
    buffer_append(link->output, data, bytes);
    return (ssize_t)bytes;
}

static int make_mask(wslay_event_context_ptr frames, uint8_t *mask, size_t bytes, void *user)
{
    struct link *link = user;
    (void)frames;
    if (link->masks_left < bytes) {
        random_bytes(link->masks, sizeof link->masks);
        link->masks_left = sizeof link->masks;
    }
    link->masks_left -= bytes;
    memcpy(mask, link->masks + link->masks_left, bytes);
    return 0;
}

static void message_came(wslay_event_context_ptr frames, const struct wslay_event_on_msg_recv_arg *message, void *user)
{
    struct link *link = user;
    if (message->opcode == WSLAY_CONNECTION_CLOSE) {
        char reason[sizeof link->error];
        size_t at = message->msg_length > 2 ? 2 : message->msg_length;
        snprintf(reason, sizeof reason, "the other side said goodbye: %.*s", (int)(message->msg_length - at),
                 (const char *)message->msg + at);
        for (char *c = reason; *c != '\0'; c++) {
            if ((unsigned char)*c < ' ')
                *c = ' ';
        }
        fail(link, reason);
    }
    if (wslay_event_get_queued_msg_count(frames) > LINK_PONGS_WAITING_MAX)
        fail(link, "the other side sends pings and does not take the answers");
}

/* Control frames are wslay's, as they are. */
static void give_to_wslay(struct link *link, const uint8_t *data, size_t bytes)
{
    link->input = data;
    link->input_bytes = bytes;
    if (wslay_event_recv(link->frames) != 0)
        fail(link, "out of memory");
    else if (!link->over && wslay_event_want_read(link->frames) == 0)
        fail(link, NOT_WEBSOCKET);
    link->input = NULL;
    link->input_bytes = 0;
}

/* How long a frame's head is, as far as its first bytes tell. */
static size_t head_length(const struct link *link)
{
    size_t length = 2;
    if (link->head_bytes < 2)
        return length;
    unsigned first_length = link->head[1] & 0x7Fu;
    length += first_length == 126 ? 2 : first_length == 127 ? 8 : 0;
    return length + ((link->head[1] & 0x80u) != 0 ? 4 : 0);
}

/* The head is complete (RFC 6455 5.2). */
static void begin_frame(struct link *link)
{
    const uint8_t *head = link->head;
    unsigned opcode = head[0] & 0x0Fu;
    bool last = (head[0] & 0x80u) != 0, masked = (head[1] & 0x80u) != 0;
    size_t at = 2, more = (head[1] & 0x7Fu) == 126 ? 2 : (head[1] & 0x7Fu) == 127 ? 8 : 0;
    uint64_t payload = more == 0 ? (head[1] & 0x7Fu) : 0;
    for (size_t i = 0; i < more; i++)
        payload = payload << 8 | head[at++];
    if (masked)
        memcpy(link->mask, head + at, sizeof link->mask);
    link->mask_at = 0;
    link->is_control = (opcode & 8) != 0;
    if ((head[0] & 0x70u) != 0 || masked != (link->side == LINK_GATEWAY) || payload > INT64_MAX) {
        fail(link, NOT_WEBSOCKET);
    } else if (link->is_control) {
        give_to_wslay(link, head, link->head_bytes);
    } else if (opcode == WSLAY_TEXT_FRAME) {
        fail(link, "the other side sent text");
    } else if (opcode != (link->in_fragments ? WSLAY_CONTINUATION_FRAME : WSLAY_BINARY_FRAME)) {
        fail(link, NOT_WEBSOCKET);
    } else {
        link->in_fragments = !last;
    }
    link->payload_left = payload;
    link->head_bytes = 0;
}

/* XORs `bytes` with the mask, which is at mask_at. */
static void unmask(struct link *link, const uint8_t *from, size_t bytes)
{
    uint8_t turned[8];
    uint64_t mask, word;
    for (size_t i = 0; i < sizeof turned; i++)
        turned[i] = link->mask[(link->mask_at + i) % 4];
    memcpy(&mask, turned, sizeof mask);
    size_t i = 0;
    for (; bytes - i >= 8; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= mask;
        memcpy(link->plain + i, &word, 8);
    }
    for (; i < bytes; i++)
        link->plain[i] = from[i] ^ turned[i % 8];
    link->mask_at = (link->mask_at + bytes) % 4;
}

/* Of a data frame. */
static void take_payload(struct link *link, const uint8_t *data, size_t bytes)
{
    if (link->side == LINK_GATEWAY) {
        unmask(link, data, bytes);
        data = link->plain;
    }
    ssize_t taken = nghttp2_session_mem_recv(link->session, data, bytes);
    if (taken < 0)
        fail(link, nghttp2_strerror((int)taken));
}

/* wslay would unmask byte by byte, in pieces of 4 KiB, which took longer than all the rest. */
static void take_frames(struct link *link, const uint8_t *data, size_t bytes)
{
    while (bytes > 0 && !link->over) {
        size_t piece = 1;
        if (link->payload_left > 0) {
            piece = bytes < UNMASKED_BYTES ? bytes : UNMASKED_BYTES;
            piece = piece < link->payload_left ? piece : (size_t)link->payload_left;
            if (link->is_control)
                give_to_wslay(link, data, piece);
            else
                take_payload(link, data, piece);
            link->payload_left -= piece;
        } else {
            link->head[link->head_bytes++] = *data;
            if (link->head_bytes == head_length(link) && link->head_bytes >= 2)
                begin_frame(link);
        }
        data += piece;
        bytes -= piece;
    }
}

static bool create_frames(struct link *link)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = give_input,
        .send_callback = take_output,
        .genmask_callback = make_mask,
        .on_msg_recv_callback = message_came,
    };
    int result = link->side == LINK_GATEWAY ? wslay_event_context_server_init(&link->frames, &callbacks, link)
                                            : wslay_event_context_client_init(&link->frames, &callbacks, link);
    if (result != 0) {
        link->frames = NULL;
        return false;
    }
    return true;
}

/* --- From outside ------------------------------------------------------------------------- */

struct link *link_create(enum link_side side, const struct link_calls *calls, void *context)
{
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->side = side;
    link->calls = calls;
    link->context = context;
    if (!create_frames(link) || !create_session(link)) {
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
    if (link->frames != NULL)
        wslay_event_context_free(link->frames);
    while (link->streams != NULL)
        remove_stream(link->streams);
    buffer_free(&link->gathered);
    free(link);
}

bool link_receive(struct link *link, const void *data, size_t bytes)
{
    if (link->over)
        return false;
    take_frames(link, data, bytes);
    return !link->over;
}

/* What is gathered as one binary message (RFC 6455 5.2). wslay would copy it twice and mask it byte by byte, which
 * took longer than all the rest; it has nothing half sent here, since link_output sends all that it has. */
static void append_message(struct link *link)
{
    uint8_t head[14] = {0x80 | WSLAY_BINARY_FRAME};
    uint64_t bytes = link->gathered.bytes, mask = 0;
    size_t head_bytes = 2;
    if (bytes < 126) {
        head[1] = (uint8_t)bytes;
    } else if (bytes <= UINT16_MAX) {
        head[1] = 126;
        head[2] = (uint8_t)(bytes >> 8);
        head[3] = (uint8_t)bytes;
        head_bytes = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)(bytes >> (56 - 8 * i));
        head_bytes = 10;
    }
    if (link->side == LINK_WORKER) { /* clients mask (5.3) */
        head[1] |= 0x80;
        (void)make_mask(link->frames, head + head_bytes, 4, link);
        memcpy(&mask, head + head_bytes, 4);
        memcpy((uint8_t *)&mask + 4, head + head_bytes, 4);
        head_bytes += 4;
    }
    buffer_append(link->output, head, head_bytes);
    size_t from = link->output->bytes;
    buffer_append(link->output, link->gathered.data, link->gathered.bytes);
    if (link->side != LINK_WORKER || buffer_failed(link->output))
        return;
    char *at = link->output->data + from, *end = at + link->gathered.bytes;
    uint64_t word;
    for (; end - at >= 8; at += 8) {
        memcpy(&word, at, 8);
        word ^= mask;
        memcpy(at, &word, 8);
    }
    for (size_t i = 0; at < end; at++, i++)
        *at = (char)(*at ^ ((const char *)&mask)[i]);
}

/* One message of what HTTP/2 has to say; false: it has nothing. */
static bool queue_message(struct link *link)
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
        append_message(link);
    if (buffer_failed(&link->gathered) || buffer_failed(link->output)) {
        fail(link, "out of memory");
        return false;
    }
    return true;
}

/* An error means that a goodbye was said before, or that memory ran out: then the end of the connection says it. */
static void say_goodbye(struct link *link, uint16_t code)
{
    if (link->goodbye_said)
        return;
    link->goodbye_said = true;
    (void)wslay_event_queue_close(link->frames, code, (const uint8_t *)link->error, strlen(link->error));
}

bool link_output(struct link *link, struct buffer *out, size_t enough)
{
    link->output = out;
    if (link->over)
        say_goodbye(link, CLOSE_PROTOCOL);
    do {
        if (wslay_event_send(link->frames) != 0) /* pongs, a goodbye, the message */
            fail(link, "out of memory");
    } while (!link->over && out->bytes < enough && queue_message(link));
    if (link->over && !link->goodbye_said) {
        say_goodbye(link, CLOSE_PROTOCOL);
        (void)wslay_event_send(link->frames); /* as far as memory allows */
    }
    link->output = NULL;
    if (buffer_failed(out))
        fail(link, "out of memory");
    return !link->over;
}

void link_ping(struct link *link)
{
    const struct wslay_event_msg message = {WSLAY_PING, (const uint8_t *)"", 0};
    if (!link->over && wslay_event_queue_msg(link->frames, &message) == WSLAY_ERR_NOMEM)
        fail(link, "out of memory");
}

void link_close(struct link *link, const char *reason)
{
    fail(link, reason);
    say_goodbye(link, CLOSE_NORMAL);
}
