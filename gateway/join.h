/* A coordinator that joins edge routers (--join): registers its public URL at each of them, says
 * how it is, registers again where it is not known any more, and says goodbye when it stops. When an
 * edge router is away nothing changes but that it is tried again, ever less often: the coordinator
 * serves its own workers all the while. One that has no public URL yet (--public-url-file) waits for
 * it, and registers again whenever that is another one.
 *
 * It is a part of the gateway because it must live as long as that and knows what it knows: the
 * workers for each service and their load.
 *
 * Threading: the rpc loop's thread. */

#pragma once

#include "gateway/backend.h"

#define JOIN_LINKS_MAX 8

/* False: memory, or threads, ran out. */
bool join_start(struct backend *backend);

/* The public URL is another one: it is registered everywhere. */
void join_moved(struct backend *backend);

/* Says goodbye, and calls `left` when everybody has taken it, or has had time to. Once. */
void join_leave(struct backend *backend, void (*left)(struct backend *backend));
void join_stop(struct backend *backend); /* ends what is under way */
void join_free(struct backend *backend);

/* For the answer to a registration: who took the worker, and where it can go when this one dies. */
void join_write(const struct backend *backend, struct json_writer *writer);
