/* Heads as a relay passes them on: hop-by-hop fields dropped, what a proxy has to add added.
 *
 * Threading: none of its own. */

#pragma once

#include "common/buffer.h"
#include "common/http/relay.h"

/* Appends the request line and fields for the target, with the empty line. framing and
 * body_bytes say how the body will be sent. */
void relay_render_request(struct buffer *out, struct http_exchange *exchange, const struct http_relay_target *target,
                          const char *via, enum http_framing framing, uint64_t body_bytes);

/* Appends the status line and fields of an answer, without framing and empty line. */
void relay_render_response(struct buffer *out, struct http_exchange *exchange, const struct http_head *head,
                           const struct http_relay_target *target, const char *via, const char *date);
