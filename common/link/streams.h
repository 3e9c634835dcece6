/* The streams of a link (link.h) as sockets of this machine: whoever has the other end of one speaks to the other side
 * of the link, as over a TCP connection. At the gateway sockets are handed in, and each becomes a stream; at the worker
 * each stream becomes a socket, which is handed out.
 *
 * The half of a socket that its owner shuts down ends that half of the stream. A socket that is closed breaks its
 * stream off at the gateway: there it belongs to a request, and the request is over. At the worker what was written
 * before is delivered first. A stream that is broken off, and all of them when the link goes, close their sockets.
 *
 * The link's transport gets what there is to send by `send`, at the end of a turn of the loop, until that says that it
 * takes no more for now.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/link/link.h"
#include "common/loop/loop.h"

struct link_streams;

struct link_streams_calls {
    /* Takes all bytes; false: no more until link_streams_writable. Must not call back. */
    bool (*send)(void *context, const void *data, size_t bytes);
    /* The link is over, see link_streams_error; its last bytes were given to `send`. Called at the end of a turn, once.
     * link_streams_free may be called. */
    void (*over)(void *context);
    /* Of the worker: a stream was opened, and this is its socket, the callee's. NULL at the gateway. */
    void (*handed_out)(void *context, int descriptor);
};

/* `calls` and `context` outlive it. NULL when memory runs out. */
struct link_streams *link_streams_create(struct loop *loop, enum link_side side, const struct link_streams_calls *calls,
                                         void *context);

/* Closes all sockets. NULL is allowed. */
void link_streams_free(struct link_streams *streams);

/* What the transport received. After the link is over it is thrown away. */
void link_streams_receive(struct link_streams *streams, const void *data, size_t bytes);

/* The transport takes bytes again. */
void link_streams_writable(struct link_streams *streams);

/* Of the gateway: makes a stream of this socket, which is ours from now on; it is closed when that cannot be done. */
void link_streams_hand_in(struct link_streams *streams, int descriptor);

void link_streams_ping(struct link_streams *streams);

/* Says goodbye; `over` follows. */
void link_streams_close(struct link_streams *streams, const char *reason);

const char *link_streams_error(const struct link_streams *streams);
size_t link_streams_count(const struct link_streams *streams);

/* Two ends of one, non-blocking, closed when the process runs another program. False, with errno. */
bool link_socket_pair(int ends[2]);
