/* Who may ask for what: the route table (api.h) applied to who is calling.
 *
 * Without a key in the configuration everybody may do everything; the gateway then listens on loopback
 * only. With keys, a request to a route that is not for everybody must come with a credential: a key or a
 * token of somebody else's (JWT, see common/auth/jwt.h), or, where the route is about one worker, that
 * worker's own token. It is X-API-Key, or else Authorization: Bearer; two fields of one name are refused.
 * A page cannot set these for a WebSocket; the one thing that it can say are subprotocols, and so for those
 * routes "muster.key.KEY" among them is a key, too (and "muster" the one that is answered, see websocket.h).
 *
 *     route for     right      and a worker's own token, where API_OWN_WORKER is set
 *     everybody     none
 *     clients       client
 *     workers       worker
 *     operators     admin      (which brings the other two along)
 *
 * Beyond the right: API_ONE_SERVICE asks whether the caller may call that service (front_guard.c, and again
 * backend_guard.c, which knows all names), API_ALL_SERVICES that no list narrows which. A worker's token is
 * good for the worker and the registration that it names; a key with the right worker speaks for those workers that
 * were registered with it, or with none (backend_guard.c).
 *
 * Threading: none of its own. */

#pragma once

#include "common/auth/checker.h"
#include "common/http/parser.h"
#include "gateway/api.h"

enum guard_source {
    GUARD_NOTHING,
    GUARD_API_KEY, /* X-API-Key, or a subprotocol */
    GUARD_BEARER,  /* Authorization: Bearer */
    GUARD_AMBIGUOUS,
};

/* The credential that a request came with, and where it was. */
enum guard_source guard_credential(const struct http_head *head, bool is_websocket, struct http_text *credential);

/* The right that a route takes; 0: it is for everybody. */
unsigned guard_right(const struct api_route *route);

/* The message to a worker whose own token is no good for a route, which takes this right. */
#define GUARD_WORKER_TOKEN_REFUSED "a worker's token does not do here; send a key with the right %s"

/* "client", for messages and the OpenAPI document. */
const char *guard_right_word(unsigned right);

/* Whether the caller may use the route, as far as that can be told from both alone. `worker_id` is the one that the
 * path names, NULL: none. False: `message` says why not and what it would take. */
bool guard_admits(const struct api_route *route, const struct auth_caller *caller, const char *worker_id, char *message,
                  size_t message_bytes);
