/* The server behind the relays of the relay rows: answers every request with the same 200
 * bytes of body, from the bench's own loop. It takes requests without a body only.
 *
 * Ownership: backend_close closes its connections and frees them. */

#pragma once

#include "tests/bench/loop.h"

enum { BACKEND_BODY_BYTES = 200 };

struct backend;

/* Listens on a free port of the loopback address. */
struct backend *backend_open(struct loop *loop, struct failure *failure);
uint16_t backend_port(const struct backend *backend);
void backend_close(struct backend *backend);
