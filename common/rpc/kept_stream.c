/* Streams that are started again when they end; see client.h. */

#include <stdlib.h>

#include "common/rpc/internal.h"

struct rpc_kept_stream {
    struct rpc_channel *channel;
    struct rpc_loop *loop;
    const ProtobufCServiceDescriptor *service;
    const char *method;
    struct rpc_call_options call_options;
    struct rpc_events events; /* the user's */
    void *argument;
    struct rpc_kept_stream *next, **link; /* among those of the channel */

    struct rpc_call *call; /* NULL between two calls */
    bool accepted, got_message;
    uint64_t min_delay_ms, max_delay_ms;
    uint64_t delay_ms; /* before the next start */
    struct timer timer;
};

/* Each event of a call, seen by the stream before its user. The user may stop the stream in
 * any of them, so nothing of it is touched afterwards. */

static void kept_accepted(struct rpc_call *call)
{
    struct rpc_kept_stream *stream = call->kept;
    stream->accepted = true;
    if (stream->events.accepted != NULL)
        stream->events.accepted(call);
}

static void kept_message(struct rpc_call *call, const void *message)
{
    struct rpc_kept_stream *stream = call->kept;
    stream->got_message = true;
    if (stream->events.message != NULL)
        stream->events.message(call, message);
}

static void kept_writable(struct rpc_call *call)
{
    struct rpc_kept_stream *stream = call->kept;
    if (stream->events.writable != NULL)
        stream->events.writable(call);
}

static void start(struct timer *timer, void *argument);

static void kept_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct rpc_kept_stream *stream = call->kept;
    stream->call = NULL;
    if (stream->got_message)
        stream->delay_ms = stream->min_delay_ms;
    /* From the upper half: those who lost the same server do not come back as one. */
    uint64_t delay_ms = stream->delay_ms / 2 + random_below(&stream->loop->random, stream->delay_ms / 2 + 1);
    stream->delay_ms = stream->delay_ms * 2 < stream->max_delay_ms ? stream->delay_ms * 2 : stream->max_delay_ms;
    rpc_loop_timer_start(stream->loop, &stream->timer, delay_ms, start, stream);
    if (stream->events.ended != NULL)
        stream->events.ended(call, status, text);
}

static void start(struct timer *timer, void *argument)
{
    static const struct rpc_events events = {
        .accepted = kept_accepted,
        .message = kept_message,
        .writable = kept_writable,
        .ended = kept_ended,
    };
    struct rpc_kept_stream *stream = argument;
    (void)timer;
    stream->accepted = false;
    stream->got_message = false;
    stream->call = rpc_channel_stream(stream->channel, stream->service, stream->method, &stream->call_options, &events,
                                      stream->argument);
    stream->call->kept = stream;
    if (stream->events.started != NULL)
        stream->events.started(stream->call);
}

struct rpc_kept_stream *rpc_kept_stream_start(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                              const char *method, const struct rpc_kept_stream_options *options,
                                              const struct rpc_events *events, void *argument)
{
    static const struct rpc_kept_stream_options defaults;
    if (options == NULL)
        options = &defaults;
    struct rpc_kept_stream *stream = rpc_allocate_zeroed(sizeof(*stream));
    stream->channel = channel;
    stream->loop = rpc_channel_loop(channel);
    stream->service = service;
    stream->method = method;
    stream->call_options.wait_for_ready = true;
    stream->call_options.metadata = options->metadata;
    stream->call_options.metadata_count = options->metadata_count;
    stream->events = *events;
    stream->argument = argument;
    stream->min_delay_ms = options->min_delay_ms != 0 ? options->min_delay_ms : 100;
    stream->max_delay_ms = options->max_delay_ms != 0 ? options->max_delay_ms : 2000;
    stream->delay_ms = stream->min_delay_ms;
    struct rpc_kept_stream **list = rpc_channel_kept_streams(channel);
    stream->next = *list;
    stream->link = list;
    if (stream->next != NULL)
        stream->next->link = &stream->next;
    *list = stream;
    rpc_loop_timer_start(stream->loop, &stream->timer, 0, start, stream);
    return stream;
}

struct rpc_call *rpc_kept_stream_call(const struct rpc_kept_stream *stream)
{
    return stream->call;
}

bool rpc_kept_stream_is_up(const struct rpc_kept_stream *stream)
{
    return stream->call != NULL && stream->accepted && !rpc_call_is_over(stream->call);
}

void rpc_kept_stream_stop(struct rpc_kept_stream *stream)
{
    rpc_loop_timer_stop(stream->loop, &stream->timer);
    *stream->link = stream->next;
    if (stream->next != NULL)
        stream->next->link = stream->link;
    if (stream->call != NULL) {
        stream->call->abandoned = true;
        rpc_call_cancel(stream->call);
        rpc_call_touch(stream->call);
    }
    free(stream);
}
