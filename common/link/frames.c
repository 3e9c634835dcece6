/* See frames.h. */

#include "common/link/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <wslay/wslay.h>

#include "common/random.h"

#define HEAD_BYTES_MAX 14
#define UNMASKED_BYTES 32768 /* at once */
#define NOT_WEBSOCKET "the other side does not speak WebSocket as it should"
#define CLOSE_NORMAL 1000
#define CLOSE_PROTOCOL 1002

struct link_frames {
    bool is_client;
    link_frames_arrived *arrived;
    void *context;
    wslay_event_context_ptr wslay;

    const uint8_t *input; /* of wslay, while it is called */
    size_t input_bytes;
    struct buffer *output; /* the same */

    /* The frame that is being received. */
    uint8_t head[HEAD_BYTES_MAX];
    size_t head_bytes;
    uint64_t payload_left;
    uint8_t mask[4];
    size_t mask_at;
    bool is_control;
    bool in_fragments; /* of a message */
    uint8_t plain[UNMASKED_BYTES];

    uint8_t masks[256]; /* chance for the client's messages, from the kernel by the dozen */
    size_t masks_left;
    bool over;
    bool goodbye_said;
    char error[124]; /* fits into a goodbye */
};

bool link_frames_is_over(const struct link_frames *frames)
{
    return frames->over;
}

const char *link_frames_error(const struct link_frames *frames)
{
    return frames->error;
}

void link_frames_end(struct link_frames *frames, const char *reason)
{
    if (frames->over)
        return;
    frames->over = true;
    snprintf(frames->error, sizeof frames->error, "%s", reason);
}

/* --- Masks (RFC 6455 5.3) --- */

static void draw_mask(struct link_frames *frames, uint8_t *mask, size_t bytes)
{
    if (frames->masks_left < bytes) {
        random_bytes(frames->masks, sizeof frames->masks);
        frames->masks_left = sizeof frames->masks;
    }
    frames->masks_left -= bytes;
    memcpy(mask, frames->masks + frames->masks_left, bytes);
}

/* XORs with the mask, beginning with its byte at `at`. `from` may be `to`. */
static void turn(const uint8_t mask[4], size_t at, const uint8_t *from, uint8_t *to, size_t bytes)
{
    uint8_t turned[8];
    uint64_t by, word;
    for (size_t i = 0; i < sizeof turned; i++)
        turned[i] = mask[(at + i) % 4];
    memcpy(&by, turned, sizeof by);
    size_t i = 0;
    for (; bytes - i >= sizeof word; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        word ^= by;
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < bytes; i++)
        to[i] = from[i] ^ turned[i % sizeof turned];
}

/* --- What wslay asks for --- */

static ssize_t give_input(wslay_event_context_ptr wslay, uint8_t *into, size_t room, int flags, void *user)
{
    struct link_frames *frames = user;
    (void)flags;
    if (frames->input_bytes == 0 || frames->over) {
        wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t taken = room < frames->input_bytes ? room : frames->input_bytes;
    memcpy(into, frames->input, taken);
    frames->input += taken;
    frames->input_bytes -= taken;
    return (ssize_t)taken;
}

static ssize_t take_output(wslay_event_context_ptr wslay, const uint8_t *data, size_t bytes, int flags, void *user)
{
    struct link_frames *frames = user;
    (void)wslay;
    (void)flags;
    buffer_append(frames->output, data, bytes);
    return (ssize_t)bytes;
}

static int make_mask(wslay_event_context_ptr wslay, uint8_t *mask, size_t bytes, void *user)
{
    (void)wslay;
    draw_mask(user, mask, bytes);
    return 0;
}

static void message_came(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *message, void *user)
{
    struct link_frames *frames = user;
    if (message->opcode == WSLAY_CONNECTION_CLOSE) {
        char reason[sizeof frames->error];
        size_t at = message->msg_length > 2 ? 2 : message->msg_length;
        snprintf(reason, sizeof reason, "the other side said goodbye: %.*s", (int)(message->msg_length - at),
                 (const char *)message->msg + at);
        for (char *c = reason; *c != '\0'; c++) {
            if ((unsigned char)*c < ' ')
                *c = ' ';
        }
        link_frames_end(frames, reason);
    }
    if (wslay_event_get_queued_msg_count(wslay) > LINK_PONGS_WAITING_MAX)
        link_frames_end(frames, "the other side sends pings and does not take the answers");
}

/* --- Receiving --- */

/* Control frames are wslay's, as they are. */
static void give_to_wslay(struct link_frames *frames, const uint8_t *data, size_t bytes)
{
    frames->input = data;
    frames->input_bytes = bytes;
    if (wslay_event_recv(frames->wslay) != 0)
        link_frames_end(frames, "out of memory");
    else if (!frames->over && wslay_event_want_read(frames->wslay) == 0)
        link_frames_end(frames, NOT_WEBSOCKET);
    frames->input = NULL;
    frames->input_bytes = 0;
}

/* How long a frame's head is, as far as its first bytes tell. */
static size_t head_length(const struct link_frames *frames)
{
    size_t length = 2;
    if (frames->head_bytes < 2)
        return length;
    unsigned first_length = frames->head[1] & 0x7Fu;
    length += first_length == 126 ? 2 : first_length == 127 ? 8 : 0;
    return length + ((frames->head[1] & 0x80u) != 0 ? 4 : 0);
}

/* The head is complete (RFC 6455 5.2). */
static void begin_frame(struct link_frames *frames)
{
    const uint8_t *head = frames->head;
    unsigned opcode = head[0] & 0x0Fu;
    bool last = (head[0] & 0x80u) != 0, masked = (head[1] & 0x80u) != 0;
    size_t at = 2, more = (head[1] & 0x7Fu) == 126 ? 2 : (head[1] & 0x7Fu) == 127 ? 8 : 0;
    uint64_t payload = more == 0 ? (head[1] & 0x7Fu) : 0;
    for (size_t i = 0; i < more; i++)
        payload = payload << 8 | head[at++];
    if (masked)
        memcpy(frames->mask, head + at, sizeof frames->mask);
    frames->mask_at = 0;
    frames->is_control = (opcode & 8) != 0;
    if ((head[0] & 0x70u) != 0 || masked == frames->is_client || payload > INT64_MAX) {
        link_frames_end(frames, NOT_WEBSOCKET);
    } else if (frames->is_control) {
        give_to_wslay(frames, head, frames->head_bytes);
    } else if (opcode == WSLAY_TEXT_FRAME) {
        link_frames_end(frames, "the other side sent text");
    } else if (opcode != (frames->in_fragments ? WSLAY_CONTINUATION_FRAME : WSLAY_BINARY_FRAME)) {
        link_frames_end(frames, NOT_WEBSOCKET);
    } else {
        frames->in_fragments = !last;
    }
    frames->payload_left = payload;
    frames->head_bytes = 0;
}

/* Of a data frame. */
static void take_payload(struct link_frames *frames, const uint8_t *data, size_t bytes)
{
    if (!frames->is_client) {
        turn(frames->mask, frames->mask_at, data, frames->plain, bytes);
        frames->mask_at = (frames->mask_at + bytes) % 4;
        data = frames->plain;
    }
    frames->arrived(frames->context, data, bytes);
}

void link_frames_receive(struct link_frames *frames, const void *received, size_t bytes)
{
    const uint8_t *data = received;
    while (bytes > 0 && !frames->over) {
        size_t piece = 1;
        if (frames->payload_left > 0) {
            piece = bytes < UNMASKED_BYTES ? bytes : UNMASKED_BYTES;
            piece = piece < frames->payload_left ? piece : (size_t)frames->payload_left;
            if (frames->is_control)
                give_to_wslay(frames, data, piece);
            else
                take_payload(frames, data, piece);
            frames->payload_left -= piece;
        } else {
            frames->head[frames->head_bytes++] = *data;
            if (frames->head_bytes == head_length(frames) && frames->head_bytes >= 2)
                begin_frame(frames);
        }
        data += piece;
        bytes -= piece;
    }
}

/* --- Sending --- */

/* RFC 6455 5.2. */
void link_frames_append(struct link_frames *frames, const struct buffer *payload, struct buffer *out)
{
    uint8_t head[HEAD_BYTES_MAX] = {0x80 | WSLAY_BINARY_FRAME}, mask[4];
    uint64_t bytes = payload->bytes;
    size_t head_bytes = 2, length_bytes = bytes < 126 ? 0 : bytes <= UINT16_MAX ? 2 : 8;
    head[1] = length_bytes == 0 ? (uint8_t)bytes : length_bytes == 2 ? 126 : 127;
    for (size_t i = length_bytes; i > 0; i--)
        head[head_bytes++] = (uint8_t)(bytes >> (8 * (i - 1)));
    if (frames->is_client) {
        head[1] |= 0x80;
        draw_mask(frames, mask, sizeof mask);
        memcpy(head + head_bytes, mask, sizeof mask);
        head_bytes += sizeof mask;
    }
    buffer_append(out, head, head_bytes);
    size_t from = out->bytes;
    buffer_append(out, payload->data, payload->bytes);
    if (frames->is_client && !buffer_failed(out)) {
        uint8_t *appended = (uint8_t *)out->data + from;
        turn(mask, 0, appended, appended, payload->bytes);
    }
}

void link_frames_flush(struct link_frames *frames, struct buffer *out)
{
    frames->output = out;
    if (wslay_event_send(frames->wslay) != 0)
        link_frames_end(frames, "out of memory");
    frames->output = NULL;
}

void link_frames_ping(struct link_frames *frames)
{
    const struct wslay_event_msg message = {WSLAY_PING, (const uint8_t *)"", 0};
    if (!frames->over && wslay_event_queue_msg(frames->wslay, &message) == WSLAY_ERR_NOMEM)
        link_frames_end(frames, "out of memory");
}

void link_frames_say_goodbye(struct link_frames *frames, bool as_normal)
{
    if (frames->goodbye_said)
        return;
    frames->goodbye_said = true;
    /* An error means that a goodbye was said before, or that memory ran out: then the end of the connection says it. */
    (void)wslay_event_queue_close(frames->wslay, as_normal ? CLOSE_NORMAL : CLOSE_PROTOCOL,
                                  (const uint8_t *)frames->error, strlen(frames->error));
}

/* --- Life --- */

struct link_frames *link_frames_create(bool is_client, link_frames_arrived *arrived, void *context)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = give_input,
        .send_callback = take_output,
        .genmask_callback = make_mask,
        .on_msg_recv_callback = message_came,
    };
    struct link_frames *frames = calloc(1, sizeof *frames);
    if (frames == NULL)
        return NULL;
    frames->is_client = is_client;
    frames->arrived = arrived;
    frames->context = context;
    int result = is_client ? wslay_event_context_client_init(&frames->wslay, &callbacks, frames)
                           : wslay_event_context_server_init(&frames->wslay, &callbacks, frames);
    if (result != 0) {
        free(frames);
        return NULL;
    }
    return frames;
}

void link_frames_free(struct link_frames *frames)
{
    if (frames == NULL)
        return;
    wslay_event_context_free(frames->wslay);
    free(frames);
}
