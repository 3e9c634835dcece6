/* The WebSocket (RFC 6455) that a link lies in: bytes both ways as the payload of binary messages, whose boundaries mean
 * nothing; pings, pongs and the goodbye. It also knows whether the link is over, and why.
 *
 * wslay does the control frames. Data frames are put on and taken off here: wslay would copy them twice and mask
 * them byte by byte, which took longer than all the rest.
 *
 * A core without I/O. Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

/* Pongs that wait because the transport takes nothing: a peer that pings on regardless is cut off. */
#define LINK_PONGS_WAITING_MAX 64

struct link_frames;

/* Payload has come, inside link_frames_receive; may call link_frames_end. */
typedef void link_frames_arrived(void *context, const uint8_t *data, size_t bytes);

/* The client masks what it sends. NULL when memory runs out. */
struct link_frames *link_frames_create(bool is_client, link_frames_arrived *arrived, void *context);

void link_frames_free(struct link_frames *frames); /* NULL is allowed */

/* Takes what the transport received, until it is over. */
void link_frames_receive(struct link_frames *frames, const void *data, size_t bytes);

/* Appends one message with that payload to `out`, which is marked as failed when there was no memory. Before that
 * link_frames_flush has appended all that waits. */
void link_frames_append(struct link_frames *frames, const struct buffer *payload, struct buffer *out);

/* Appends control frames that wait. */
void link_frames_flush(struct link_frames *frames, struct buffer *out);

void link_frames_ping(struct link_frames *frames);

/* Nothing more is received. The first reason stays; it is cut after 123 bytes, so as to fit into a goodbye. */
void link_frames_end(struct link_frames *frames, const char *reason);

/* When it has ended: queues the goodbye with the reason, once. */
void link_frames_say_goodbye(struct link_frames *frames, bool as_normal);

bool link_frames_is_over(const struct link_frames *frames);

/* "" while it is not over. */
const char *link_frames_error(const struct link_frames *frames);
