/* Registrations: from a checked spec to an answer.
 *
 * A registration first asks the assigner what the worker should run, then the ledger for a
 * place on disk. Those that wait together are one call to the assigner, so that it decides
 * each knowing the ones before it, and then usually one transaction. One such batch is under
 * way at a time, without two registrations of one worker in it: the incarnation that the
 * assigner is told depends on the ones before.
 *
 * While the assigner cannot be reached it is asked again every 100 ms. A registration that has
 * waited REGISTRAR_PATIENCE_MS for it is answered UNAVAILABLE.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"
#include "services/registry/ledger.h"
#include "services/registry/registry.h"

#define REGISTRAR_PATIENCE_MS 5000

/* What may wait: so many registrations, of so many bytes. More are RESOURCE_EXHAUSTED. */
#define REGISTRAR_QUEUE_MAX 50000
#define REGISTRAR_QUEUE_MAX_BYTES (64 * 1024 * 1024)

struct registrar;

/* Borrows all; `assigner` is the channel to it. */
struct registrar *registrar_create(struct rpc_loop *loop, const struct registry *registry, struct ledger *ledger,
                                   struct rpc_channel *assigner);

/* Before the loop and the channel are destroyed; when the server has drained, so that nothing
 * waits for an answer. NULL is fine. */
void registrar_destroy(struct registrar *registrar);

/* Takes the spec over (an unpacked message of spec_bytes on the wire, checked, normalised, with
 * its id) and answers the call in the end. */
void registrar_register(struct registrar *registrar, struct rpc_call *call, Muster__V1__WorkerSpec *spec,
                        size_t spec_bytes);
