#include "tests/bench/load_grpc.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/clock.h"

enum {
    WRITE_BYTES = 128 * 1024,
    PREFIX_BYTES = 5, /* of a gRPC message: a flag and its length, big-endian */
    WINDOW_BYTES = 16 * 1024 * 1024,
    ANSWER_BYTES_MAX = 4 * 1024 * 1024,
};

struct grpc_run;

/* One call at a time. */
struct lane {
    struct grpc_connection *connection;
    unsigned number;
    int32_t stream;
    uint64_t sent, answered;
    uint64_t *due_us; /* when message n was due, at n % room; for those that are not answered */
    unsigned room;
    struct buffer outgoing; /* messages with their prefixes; what nghttp2 took is consumed */
    size_t taken;           /* bytes of outgoing that nghttp2 took */
    struct buffer incoming; /* an answer that came in pieces */
    bool deferred;          /* nghttp2 waits for more to send */
    unsigned waiting;       /* messages, or calls, that are to begin when their time has come */
    bool status_ok;         /* grpc-status was 0 */
};

struct grpc_connection {
    struct watch watch; /* first: the loop hands it back */
    struct grpc_run *run;
    nghttp2_session *session;
    struct lane *lanes;
    unsigned lane_count;
    struct buffer output;
    size_t written; /* bytes of output that the socket took */
    bool had_answer;
};

struct grpc_run {
    struct load load; /* first */
    const struct grpc_source *source;
    uint64_t started;  /* messages made, against the plan's limit */
    uint64_t begun_us; /* when the first was; what is due is counted from there */
};

/* When the message that is to be made next was due (see send_due): never later than it is made. */
static uint64_t due_us(const struct grpc_run *run)
{
    uint64_t now_us = clock_monotonic_us();
    double rate = run->load.plan->per_second;
    uint64_t due = rate > 0 ? run->begun_us + (uint64_t)((double)(run->started + 1) / rate * 1e6) : now_us;
    return due < now_us ? due : now_us;
}

/* Puts the lane's next message into its outgoing bytes; false when there is to be no more. */
static bool make_message(struct lane *lane)
{
    struct grpc_run *run = lane->connection->run;
    uint64_t limit = run->load.plan->limit;
    if (run->load.failed || (limit > 0 && run->started == limit))
        return false;
    if (lane->due_us != NULL)
        lane->due_us[(lane->sent + 1) % lane->room] = due_us(run);
    run->started++;
    if (lane->taken == lane->outgoing.bytes) {
        buffer_clear(&lane->outgoing);
        lane->taken = 0;
    }
    size_t prefix = lane->outgoing.bytes;
    buffer_append(&lane->outgoing, "\0\0\0\0\0", PREFIX_BYTES);
    run->source->next(run->source->context, lane->number, ++lane->sent, &lane->outgoing);
    if (buffer_failed(&lane->outgoing)) {
        load_fail(&run->load, "out of memory");
        return false;
    }
    size_t bytes = lane->outgoing.bytes - prefix - PREFIX_BYTES;
    for (unsigned i = 0; i < 4; i++)
        lane->outgoing.data[prefix + 1 + i] = (char)(bytes >> (24 - 8 * i));
    return true;
}

static ssize_t give_data(nghttp2_session *session, int32_t stream, uint8_t *data, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user_data)
{
    struct lane *lane = source->ptr;
    bool streaming = lane->connection->run->source->streaming;
    size_t left = lane->outgoing.bytes - lane->taken;
    (void)session, (void)stream, (void)user_data;
    if (left == 0) {
        lane->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (left > room)
        left = room;
    memcpy(data, lane->outgoing.data + lane->taken, left);
    lane->taken += left;
    if (!streaming && lane->taken == lane->outgoing.bytes)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)left;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

/* Begins a call whose first message lies in outgoing. */
static void begin_call(struct lane *lane)
{
    struct grpc_run *run = lane->connection->run;
    nghttp2_nv fields[] = {field(":method", "POST"),
                           field(":scheme", "http"),
                           field(":path", run->source->path),
                           field(":authority", "localhost"),
                           field("content-type", "application/grpc"),
                           field("te", "trailers")};
    nghttp2_data_provider provider = {.source.ptr = lane, .read_callback = give_data};
    lane->status_ok = false;
    lane->stream = nghttp2_submit_request(lane->connection->session, NULL, fields, sizeof fields / sizeof fields[0],
                                          &provider, lane);
    if (lane->stream < 0)
        load_fail(&run->load, "beginning a call: %s", nghttp2_strerror(lane->stream));
}

/* Sends `count` more messages in an open call. */
static void send_more(struct lane *lane, unsigned count)
{
    bool more = false;
    for (unsigned i = 0; i < count; i++)
        more |= make_message(lane);
    if (more && lane->deferred) {
        lane->deferred = false;
        nghttp2_session_resume_data(lane->connection->session, lane->stream);
    }
}

/* Tells how long the next `count` messages have waited. */
static void tell_waits(const struct lane *lane, uint64_t count)
{
    const struct load *load = &lane->connection->run->load;
    if (lane->due_us == NULL || !load->counts)
        return;
    uint64_t now_us = clock_monotonic_us();
    for (uint64_t i = 1; i <= count; i++)
        load->plan->waited(load->plan->context,
                           (double)(now_us - lane->due_us[(lane->answered + i) % lane->room]) / 1e3);
}

static void take_answer(struct lane *lane, const uint8_t *answer, size_t bytes)
{
    struct grpc_connection *connection = lane->connection;
    struct grpc_run *run = connection->run;
    struct failure why = {""};
    int64_t count = run->source->judge(run->source->context, lane->number, lane->answered, answer, bytes, &why);
    if (count < 0 || lane->answered + (uint64_t)count > lane->sent) {
        load_fail(&run->load, "%s: %s", run->source->path, count < 0 ? why.text : "more was answered than was sent");
        return;
    }
    tell_waits(lane, (uint64_t)count);
    lane->answered += (uint64_t)count;
    run->load.answered += (uint64_t)count;
    run->load.units += (uint64_t)count * run->source->units;
    if (!connection->had_answer && count > 0) {
        connection->had_answer = true;
        run->load.first_answers++;
    }
    if (!run->source->streaming)
        return; /* the next call begins when this one has closed */
    if (run->load.plan->per_second > 0)
        lane->waiting += (unsigned)count;
    else
        send_more(lane, (unsigned)count);
}

static size_t message_bytes(const uint8_t *prefix)
{
    return (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t bytes,
                   void *user_data)
{
    struct lane *lane = nghttp2_session_get_stream_user_data(session, stream);
    (void)flags, (void)user_data;
    if (lane == NULL)
        return 0;
    struct grpc_run *run = lane->connection->run;
    if (lane->incoming.bytes > 0) {
        buffer_append(&lane->incoming, data, bytes);
        data = (const uint8_t *)lane->incoming.data;
        bytes = lane->incoming.bytes;
    }
    size_t used = 0;
    while (bytes - used >= PREFIX_BYTES && !run->load.failed) {
        size_t length = message_bytes(data + used);
        if (length > ANSWER_BYTES_MAX)
            load_fail(&run->load, "an answer of %zu bytes", length);
        if (bytes - used - PREFIX_BYTES < length)
            break;
        take_answer(lane, data + used + PREFIX_BYTES, length);
        used += PREFIX_BYTES + length;
    }
    if (lane->incoming.bytes > 0)
        buffer_consume(&lane->incoming, used);
    else if (used < bytes)
        buffer_append(&lane->incoming, data + used, bytes - used);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes, uint8_t flags, void *user_data)
{
    struct lane *lane = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags, (void)user_data;
    if (lane == NULL)
        return 0;
    struct load *load = &lane->connection->run->load;
    if (name_bytes == 11 && memcmp(name, "grpc-status", 11) == 0) {
        lane->status_ok = value_bytes == 1 && value[0] == '0';
        /* The text comes in grpc-message, usually right after. */
    } else if (name_bytes == 12 && memcmp(name, "grpc-message", 12) == 0 && value_bytes > 0 && !lane->status_ok) {
        load_fail(load, "%s: %.*s", lane->connection->run->source->path, (int)value_bytes, (const char *)value);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error_code, void *user_data)
{
    struct lane *lane = nghttp2_session_get_stream_user_data(session, stream);
    (void)user_data;
    if (lane == NULL)
        return 0;
    struct grpc_run *run = lane->connection->run;
    if (run->source->streaming || !lane->status_ok || lane->answered != lane->sent) {
        load_fail(&run->load, "%s: the server closed a call (HTTP/2 error %u)", run->source->path, error_code);
        return 0;
    }
    if (run->load.plan->per_second > 0)
        lane->waiting = 1;
    else if (make_message(lane))
        begin_call(lane);
    return 0;
}

/* Writes what nghttp2 has to send, many frames to a system call. */
static void flush(struct grpc_connection *connection)
{
    struct grpc_run *run = connection->run;
    while (!run->load.failed) {
        while (connection->output.bytes < WRITE_BYTES) {
            const uint8_t *frames;
            ssize_t bytes = nghttp2_session_mem_send(connection->session, &frames);
            if (bytes < 0)
                load_fail(&run->load, "HTTP/2: %s", nghttp2_strerror((int)bytes));
            if (bytes <= 0)
                break;
            buffer_append(&connection->output, frames, (size_t)bytes);
        }
        size_t left = connection->output.bytes - connection->written;
        if (left == 0 || buffer_failed(&connection->output))
            return;
        size_t sent = load_send(&run->load, &connection->watch, connection->output.data + connection->written, left);
        if (sent == 0)
            return;
        connection->written += sent;
        if (connection->written == connection->output.bytes) {
            buffer_clear(&connection->output);
            connection->written = 0;
        }
    }
}

static void ready(struct watch *watch, uint32_t events)
{
    struct grpc_connection *connection = (struct grpc_connection *)watch;
    struct grpc_run *run = connection->run;
    size_t got = (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0 ? LOAD_READ_BYTES : 0;
    while (got == LOAD_READ_BYTES && !run->load.failed) {
        got = load_receive(&run->load, watch);
        ssize_t used = nghttp2_session_mem_recv(connection->session, run->load.read_buffer, got);
        if (used != (ssize_t)got)
            load_fail(&run->load, "HTTP/2: %s", nghttp2_strerror((int)used));
    }
    flush(connection);
}

/* Sends what has become due since the last turn, one message in each lane after the other. */
static void send_due(struct load *load)
{
    struct grpc_run *run = (struct grpc_run *)load;
    double elapsed = (double)(clock_monotonic_us() - run->begun_us) / 1e6;
    uint64_t due = (uint64_t)(elapsed * load->plan->per_second);
    for (unsigned i = 0; i < load->plan->connections && run->started < due; i++) {
        struct grpc_connection *connection = (struct grpc_connection *)load->connections + i;
        for (unsigned j = 0; j < connection->lane_count && run->started < due; j++) {
            struct lane *lane = &connection->lanes[j];
            if (lane->waiting == 0)
                continue;
            lane->waiting--;
            if (run->source->streaming)
                send_more(lane, 1);
            else if (make_message(lane))
                begin_call(lane);
        }
        flush(connection);
    }
}

static bool open_session(struct grpc_connection *connection)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
                                         {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    bool opened = nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&options) == 0;
    if (opened) {
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        /* More calls at once than the server has said it takes wait inside nghttp2. */
        nghttp2_option_set_peer_max_concurrent_streams(options, connection->lane_count);
        opened = nghttp2_session_client_new2(&connection->session, callbacks, connection, options) == 0 &&
                 nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings,
                                         sizeof settings / sizeof settings[0]) == 0 &&
                 nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES) == 0;
    }
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    return opened;
}

static bool open_connection(struct load *load, struct watch *watch, unsigned number)
{
    struct grpc_run *run = (struct grpc_run *)load;
    struct grpc_connection *connection = (struct grpc_connection *)watch;
    connection->run = run;
    connection->lane_count = run->source->streaming ? 1 : load->plan->outstanding;
    connection->lanes = calloc(connection->lane_count, sizeof *connection->lanes);
    if (connection->lanes == NULL || !open_session(connection))
        return false;
    for (unsigned i = 0; i < connection->lane_count; i++) {
        struct lane *lane = &connection->lanes[i];
        lane->connection = connection;
        lane->number = number * connection->lane_count + i;
        lane->room = run->source->streaming ? load->plan->outstanding : 1;
        if (load->plan->waited != NULL && (lane->due_us = calloc(lane->room, sizeof *lane->due_us)) == NULL)
            return false;
        if (load->plan->per_second > 0 && !run->source->streaming) {
            lane->waiting = 1;
            continue;
        }
        bool has_message = make_message(lane);
        for (unsigned more = 1; run->source->streaming && more < load->plan->outstanding; more++)
            make_message(lane);
        if (has_message)
            begin_call(lane);
    }
    return true;
}

static void close_connection(struct watch *watch)
{
    struct grpc_connection *connection = (struct grpc_connection *)watch;
    for (unsigned i = 0; connection->lanes != NULL && i < connection->lane_count; i++) {
        buffer_free(&connection->lanes[i].outgoing);
        buffer_free(&connection->lanes[i].incoming);
        free(connection->lanes[i].due_us);
    }
    nghttp2_session_del(connection->session);
    buffer_free(&connection->output);
    free(connection->lanes);
}

static const struct load_generator generator = {sizeof(struct grpc_connection), ready, open_connection,
                                                close_connection};

static struct grpc_run run_make(struct loop *loop, const struct load_plan *plan, const struct grpc_source *source,
                                struct failure *failure)
{
    return (struct grpc_run){
        .load = {.plan = plan, .loop = loop, .failure = failure, .each_turn = plan->per_second > 0 ? send_due : NULL},
        .source = source,
        .begun_us = clock_monotonic_us(),
    };
}

bool load_grpc(struct loop *loop, const struct load_plan *plan, const struct grpc_source *source,
               struct load_result *result, struct failure *failure)
{
    struct grpc_run run = run_make(loop, plan, source, failure);
    return load_run(&run.load, &generator, result);
}

struct grpc_run *load_grpc_begin(struct loop *loop, const struct load_plan *plan, const struct grpc_source *source,
                                 struct failure *failure)
{
    struct grpc_run *run = malloc(sizeof *run);
    if (run == NULL) {
        fail(failure, "out of memory");
        return NULL;
    }
    *run = run_make(loop, plan, source, failure);
    if (!load_open(&run->load, &generator)) {
        free(run);
        return NULL;
    }
    return run;
}

unsigned load_grpc_answering(const struct grpc_run *run)
{
    return run->load.first_answers;
}

bool load_grpc_end(struct grpc_run *run)
{
    bool right = run == NULL || load_close(&run->load, &generator);
    free(run);
    return right;
}
