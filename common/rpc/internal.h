/* What the files of this folder know of each other. Nothing outside includes this.
 *
 * How it works
 *   - The loop polls one completion queue. A tag on it is a struct rpc_tag, which lies in
 *     the object that waits: the loop calls its function.
 *   - A call never starts an operation from inside the functions that its users call. They
 *     change its state and "touch" it; after each event the loop settles the calls that were
 *     touched: call_settle looks at the state, starts what can be started, and ends the call
 *     when nothing is outstanding. So a batch takes all that came together (headers, last
 *     message and status are one), and no callback is made on a user's stack.
 *   - A call has at most one send, one receive and one waiting-for-the-end outstanding. */

#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "common/random.h"
#include "common/rpc/descriptors.h"
#include "common/rpc/memory.h"
#include "common/rpc/rpc.h"

#define RPC_CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* --- Loop --- */

struct rpc_tag {
    void (*function)(struct rpc_tag *tag, bool success);
};

/* Memory for one unpacked message after the other; see codec.c. */
struct rpc_arena {
    struct rpc_message_memory *chunks; /* the newest first */
    size_t used_bytes;                 /* of the newest */
    size_t total_bytes;                /* of all chunks */
    size_t limit_bytes;                /* for the message at hand */
};

struct rpc_post {
    void (*function)(void *argument);
    void *argument;
};

struct rpc_posts {
    struct rpc_post *items;
    size_t count, capacity;
};

struct rpc_loop {
    grpc_completion_queue *queue;
    struct timer_wheel wheel;
    uint64_t now_ms;
    struct rpc_turn_hook *hooks, **hooks_end;
    struct rpc_call *touched, **touched_end;
    size_t outstanding; /* operations whose tags have not come back, the wake-up's left out */
    struct rpc_arena arena;
    struct random random;
    atomic_bool stopping;

    /* Posts. `waking` says that the loop will come to look at them: a wake-up is on its way
     * through the queue, which is an empty batch on a call that goes nowhere, or has come
     * out of it (`woken`). */
    pthread_mutex_t mutex;
    struct rpc_posts posts;
    bool waking;
    bool woken; /* the loop's own, as are all below */
    struct rpc_posts running_posts;
    struct rpc_tag wake_tag;
    grpc_channel *wake_channel;
    grpc_call *wake_call;
};

/* Handles what the last callback left to do: settles the calls that were touched. */
void rpc_loop_settle(struct rpc_loop *loop);

/* --- Codec --- */

/* A new byte buffer with the packed message. */
grpc_byte_buffer *rpc_pack(const ProtobufCMessage *message, size_t *packed_bytes);

/* A new byte buffer over the same bytes. */
grpc_byte_buffer *rpc_packed_share(const struct rpc_packed *packed);

/* A message as it came: its bytes in one piece. */
struct rpc_incoming {
    const uint8_t *bytes;
    size_t count;
    grpc_slice slice; /* holds the bytes */
};
void rpc_incoming_open(struct rpc_incoming *incoming, grpc_byte_buffer *buffer);
void rpc_incoming_close(struct rpc_incoming *incoming);

/* Unpacks into the arena, which forgets the message before; NULL: malformed, or out of
 * proportion to its size. */
ProtobufCMessage *rpc_unpack(struct rpc_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                             const uint8_t *bytes, size_t count);
void rpc_arena_free(struct rpc_arena *arena);
/* rpc_call_keep_message: `message` was unpacked last, from `incoming`. */
void *rpc_arena_keep(struct rpc_arena *arena, const ProtobufCMessage *message, const struct rpc_incoming *incoming,
                     struct rpc_message_memory **memory);

/* --- Metadata --- */

/* Metadata to send. */
struct rpc_metadata_list {
    grpc_metadata *items;
    size_t count, capacity;
};
bool rpc_metadata_add(struct rpc_metadata_list *list, const struct rpc_metadata *metadata);
void rpc_metadata_free(struct rpc_metadata_list *list);
const void *rpc_metadata_find(const grpc_metadata_array *array, const char *key, size_t n, size_t *value_bytes);

/* --- Calls --- */

struct rpc_queued {
    struct rpc_queued *next;
    grpc_byte_buffer *buffer;
    size_t bytes;
};

enum rpc_side { RPC_SIDE_SERVER, RPC_SIDE_CLIENT };

struct rpc_call {
    struct rpc_loop *loop;
    grpc_call *core;
    enum rpc_side side;
    enum rpc_kind kind;
    const struct rpc_events *events;
    struct rpc_events own_events; /* client: what events points to */
    const ProtobufCMessageDescriptor *incoming_type;
    void *context, *user;
    const char *method_name;

    struct rpc_call *next, **link;                 /* among those of its server or channel */
    struct rpc_call *next_touched, **link_touched; /* link_touched is NULL: not touched */

    /* What is outstanding. */
    unsigned outstanding;
    bool send_outstanding, receive_outstanding;
    struct rpc_tag begin_tag, send_tag, receive_tag, end_tag;

    /* Sending. */
    struct rpc_metadata_list headers, trailers;
    struct rpc_queued *queue, **queue_end;
    grpc_byte_buffer *sending;
    size_t sending_bytes;
    size_t queued_bytes, queued_messages, queue_limit_bytes; /* the one being sent included */
    bool headers_wanted, headers_sent;
    uint32_t header_flags;
    bool last_wanted, last_sent; /* server: the status; client: the half-close */
    bool unwritable;             /* the user was told to wait */

    /* Receiving. */
    grpc_byte_buffer *received;
    const struct rpc_incoming *current; /* during a message callback */
    bool receives;                      /* takes messages one by one */
    bool paused, no_more_messages, half_close_due;
    grpc_metadata_array received_headers, received_trailers;

    /* The end. */
    bool over;        /* nothing can be sent or received any more */
    bool end_started; /* server: the wait for the end was started */
    bool end_rides;   /* server: in the batch that sends the status */
    bool cancelled;   /* by us */
    bool abandoned;   /* no callback any more */
    int core_cancelled;
    bool send_failed;
    grpc_status_code status;
    grpc_slice status_text;
    gpr_timespec deadline;
    char *peer;

    struct rpc_server *server;               /* server: whose */
    struct rpc_server_method *server_method; /* server: which; NULL: unknown */
    struct rpc_channel *channel;             /* client: whose */
    rpc_done done;                           /* client, unary: whom to tell */
    struct rpc_kept_stream *kept;            /* client: which it belongs to */
};

struct rpc_call *rpc_call_create(struct rpc_loop *loop, enum rpc_side side);
void rpc_call_touch(struct rpc_call *call);
void rpc_call_settle(struct rpc_call *call);
void rpc_call_free(struct rpc_call *call);

/* Starts a batch and counts it; its tag's function first calls rpc_call_completed. */
void rpc_call_start(struct rpc_call *call, const grpc_op *operations, size_t count, struct rpc_tag *tag);
void rpc_call_completed(struct rpc_call *call);

/* Unpacks and hands over a message; a server call is finished if that fails. Takes the buffer. */
void rpc_call_deliver(struct rpc_call *call, grpc_byte_buffer *buffer);

/* Puts a call into a list of its owner, and takes it out. */
void rpc_call_link(struct rpc_call *call, struct rpc_call **list);
void rpc_call_unlink(struct rpc_call *call);

/* server.c: a call of the server is about to be freed. */
void rpc_server_call_gone(struct rpc_call *call);
/* client.c: likewise; and the end of a unary call. */
void rpc_channel_call_gone(struct rpc_call *call);
void rpc_client_done(struct rpc_call *call, enum rpc_status status, const char *text);

/* client.c, for kept_stream.c */
struct rpc_loop *rpc_channel_loop(const struct rpc_channel *channel);
struct rpc_kept_stream **rpc_channel_kept_streams(struct rpc_channel *channel);

/* --- Servers --- */

/* A method that is served. */
struct rpc_server_method {
    struct rpc_server *server;
    struct rpc_method method;
    const ProtobufCMethodDescriptor *descriptor;
    void *context;
    char *path;   /* "/package.Service/Method" */
    void *handle; /* gRPC core's */
    bool builtin; /* health or reflection */
};

struct rpc_served {
    const ProtobufCServiceDescriptor *descriptor;
    bool serving;
};

struct rpc_server {
    struct rpc_loop *loop;
    grpc_server *core;
    char *address;
    struct rpc_server_method **methods;
    size_t method_count;
    struct rpc_served *services;
    size_t service_count;
    struct rpc_files files;
    bool serving;                                /* the server as a whole */
    ProtobufCServiceDescriptor reflection_alpha; /* see reflection.c */

    struct rpc_call *calls;
    size_t open_calls; /* those of `calls` that are not builtin */
    size_t slots;      /* waiting for a call to come in */
    struct rpc_health_watcher *health_watchers;

    bool started, draining, shut_down;
    struct rpc_tag shutdown_tag;
    struct timer deadline_timer;
    void (*drained)(void *argument);
    void *drained_argument;
};

bool rpc_server_add(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                    const struct rpc_method *methods, size_t count, void *context, bool builtin);

/* --- Health and reflection: services of every server --- */

void rpc_health_add(struct rpc_server *server);
/* Tells those who watch what has changed for them. */
void rpc_health_changed(struct rpc_server *server);
void rpc_reflection_add(struct rpc_server *server);
