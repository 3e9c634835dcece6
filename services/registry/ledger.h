/* Group commit: durable changes that are wanted at about the same time share one transaction.
 *
 * Entries are handed in at any time. At the end of each turn of the loop, unless a batch is
 * being written, all that wait become the next batch: they are prepared against the roll,
 * stored, applied, and answered, in the order in which they were handed in. So the busier the
 * registry is, the larger its batches are. No batch has two entries of one worker: the second
 * would have to be prepared against what the first makes of it; it waits for the next batch.
 *
 * When the store fails, the batch is discarded and its entries are answered so. Later ones
 * are tried all the same, and when there are none the ledger tries every second by itself, so
 * that the registry learns when its disk is back.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/buffer.h"
#include "common/rpc/loop.h"
#include "services/registry/registry.h"
#include "services/registry/writer.h"

struct ledger;

enum ledger_result {
    LEDGER_DONE,         /* on disk and on the roll */
    LEDGER_REFUSED,      /* `refusal` says why; nothing has happened */
    LEDGER_STORE_FAILED, /* `text` says why; nothing has happened */
};

struct ledger_outcome {
    enum ledger_result result;
    enum registry_result refusal;
    const char *text; /* for people */
    uint64_t revision;
    const struct record *record; /* the new record; NULL for a removal */
};

/* One change that is wanted. The submitter owns it, and what it points to, until `done`,
 * where it may be freed. */
struct ledger_entry {
    enum ledger_kind { LEDGER_REGISTRATION, LEDGER_IMPORT, LEDGER_REMOVAL, LEDGER_DRAINING, LEDGER_ASSIGNMENT } kind;
    const char *worker_id;
    union {
        struct {
            const Muster__V1__WorkerSpec *spec;
            const struct wire_bytes *wire; /* what the spec was unpacked from, or NULL */
            char *const *assigned;
            size_t assigned_count;
        } registration;
        const struct record *imported;
        struct {
            uint64_t incarnation; /* 0: any */
            const char *reason;
        } removal;
        bool draining;
        struct {
            uint64_t incarnation;
            char **assigned;
            size_t assigned_count;
            const Muster__V1__ServiceSwap *swap; /* NULL: none */
        } assignment;
    } wanted;
    /* Called once, never inside ledger_submit. */
    void (*done)(struct ledger_entry *entry, const struct ledger_outcome *outcome);

    /* The ledger's. */
    struct ledger_entry *next;
    struct registry_change change;
};

struct ledger_events {
    /* The roll has changed. */
    void (*changed)(void *argument);
    /* The store fails (text says why), or takes writes again (text is NULL). */
    void (*store_failed)(void *argument, const char *text);
    void *argument;
};

/* Entries that may wait; more are refused. */
#define LEDGER_QUEUE_MAX 200000

/* The registry stays the caller's, the writer becomes the ledger's. */
struct ledger *ledger_create(struct rpc_loop *loop, struct registry *registry, struct writer *writer,
                             const struct ledger_events *events);

/* A batch that is being written is waited for. Entries that are left are answered as if the store
 * had failed: those of calls that were cancelled, since the server has drained before. NULL is
 * fine. */
void ledger_destroy(struct ledger *ledger);

/* False: too many wait; try again later. */
bool ledger_submit(struct ledger *ledger, struct ledger_entry *entry);

/* To be called after soft changes: they use revisions up, which are stored ahead. */
void ledger_check_ceiling(struct ledger *ledger);
