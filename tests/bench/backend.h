/* The server behind the relays of the relay and link rows: answers every request with the same
 * body, from the bench's own loop. It takes requests without a body only.
 *
 * Ownership: backend_close closes its connections and frees them. */

#pragma once

#include "tests/bench/loop.h"

enum {
    BACKEND_BODY_BYTES = 200,
    BACKEND_LONG_BODY_BYTES = 64 * 1024, /* as much as fits into an empty socket buffer for certain */
};

struct backend;

/* Listens on a free port of the loopback address. */
struct backend *backend_open(struct loop *loop, size_t body_bytes, struct failure *failure);
uint16_t backend_port(const struct backend *backend);
void backend_close(struct backend *backend);
