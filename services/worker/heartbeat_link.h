/* The stream of heartbeats on the network: connects, speaks gRPC, notices a dead peer.
 *
 * A link is closed, or opening, or open. heartbeat_link_open starts; then comes `opened`,
 * or `closed`. An open link ends with `closed`, unless heartbeat_link_close was called,
 * which is silent. Callbacks come from the loop, never from inside a function of this
 * header, and may call any of them.
 *
 * A dead peer. An acknowledgement that has not come after 2 s makes the link send an HTTP/2
 * PING. If that is not answered within 2 s more, the connection is dead; if it is, the
 * server is there but slow, and has 30 s in all. No pings are sent otherwise: the
 * heartbeats are what keeps the connection alive, and gRPC servers object to more.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/loop/loop.h"
#include "services/worker/control.h"
#include "services/worker/heartbeat.h"

struct heartbeat_link;

struct heartbeat_link_calls {
    void (*opened)(void *context);
    void (*closed)(void *context, const char *reason, uint64_t silent_ms); /* 0: it is no dead peer */
    void (*acknowledged)(void *context, uint64_t sequence);
    void (*command)(void *context, const struct heartbeat_command *command);
};

/* `calls`, `control` and `context` outlive the link. NULL when memory runs out. */
struct heartbeat_link *heartbeat_link_create(struct loop *loop, struct control *control,
                                             const struct heartbeat_link_calls *calls, void *context);
void heartbeat_link_destroy(struct heartbeat_link *link);

/* To "host:port"; copied. False: memory ran out, or the link is not closed. */
bool heartbeat_link_open(struct heartbeat_link *link, const char *address);
void heartbeat_link_close(struct heartbeat_link *link);

/* Sends a heartbeat, and the token ("": none) when the server does not have it from this link yet. False: the link is
 * not open, or too much waits. */
bool heartbeat_link_beat(struct heartbeat_link *link, const struct heartbeat *heartbeat, const char *token,
                         uint64_t sequence);
