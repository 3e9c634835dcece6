/* Registrations: from a checked spec to a place on disk.
 *
 * A registration first asks the assigner what the worker should run, then the ledger for a
 * place on disk. Those that wait together are one call to the assigner, so that it decides
 * each knowing the ones before it, and then usually one transaction. While one such batch is
 * being written the assigner is asked about the next. Never are two registrations of one
 * worker on their way: the incarnation that the assigner is told depends on the ones before;
 * the second waits for the first.
 *
 * While the assigner cannot be reached it is asked again every 100 ms. A registration that has
 * waited REGISTRAR_PATIENCE_MS for it fails as UNAVAILABLE.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"
#include "services/registry/ledger.h"
#include "services/registry/registry.h"

#include "muster/v1/assigner.pb-c.h"

#define REGISTRAR_PATIENCE_MS 5000

/* What may wait: so many registrations, of so many bytes. More are refused. */
#define REGISTRAR_QUEUE_MAX 50000
#define REGISTRAR_QUEUE_MAX_BYTES (64 * 1024 * 1024)

struct registrar;
struct registrar_batch;

struct registrar_outcome {
    enum rpc_status status; /* RPC_OK: it is on disk and on the roll */
    const char *text;       /* for people */
    const struct record *record;
    const Muster__V1__Assignment *assignment; /* how to run what is assigned */
};

/* One registration that is wanted. The submitter owns it, and what it points to, until `done`, where it may be freed.
 */
struct registration {
    struct ledger_entry entry; /* the registrar's; first: an entry is its registration */

    const Muster__V1__WorkerSpec *spec; /* checked, normalised, with its id */
    size_t spec_bytes;                  /* on the wire, for the limit */
    const struct wire_bytes *wire; /* what the spec was unpacked from, when it has not been changed since; or NULL */
    /* Called once, never inside registrar_register. What the outcome points to is valid inside only. */
    void (*done)(struct registration *registration, const struct registrar_outcome *outcome);

    /* The registrar's. */
    struct registration *next;
    struct registrar_batch *batch;
    uint64_t patience_ends_ms;
    const Muster__V1__Assignment *assignment;
    char **assigned; /* its names; inside `done` as well */
};

/* Borrows all; `assigner` is the channel to it. */
struct registrar *registrar_create(struct rpc_loop *loop, const struct registry *registry, struct ledger *ledger,
                                   struct rpc_channel *assigner);

/* Before the loop and the channel are destroyed; when the server has drained, so that nothing
 * waits for an answer. NULL is fine. */
void registrar_destroy(struct registrar *registrar);

/* False: too many wait; try again later. */
bool registrar_register(struct registrar *registrar, struct registration *registration);
