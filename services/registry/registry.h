/* The roll: who is registered. The core of muster-registry, without disk, clock or network.
 *
 * Durable changes happen in two steps, because nothing may be seen that is not on disk:
 *
 *     registry_prepare_...   checks against the roll as it is, and says what is to be stored;
 *     (the caller stores it)
 *     registry_apply         makes it so, and gives it a revision; or
 *     registry_discard       when storing failed: nothing has happened.
 *
 * Several changes may be prepared before the first of them is applied, if no two are of the
 * same worker; they are applied or discarded in the order of their preparation. Changes of
 * status are soft: registry_set_status makes them at once and nobody stores them.
 *
 * Revisions. Every change takes the next one of a single uint64. They never repeat: below
 * `revision_ceiling`, which is on disk, all may have been used; a restarted registry goes on
 * from there, and asks in time (registry_needs_ceiling) for a higher one to be stored.
 *
 * Incarnations grow with every registration of an id. When a worker leaves, its number becomes
 * the floor of all ids that are not on the roll, which is one number to remember instead of
 * one for each id that ever was: an id that comes back gets a higher one than it had.
 *
 * Watchers. The last `ring_events` changes, or as many as there are workers if that is more, are remembered by who
 * changed, not by how: an event is made from the record when it is sent, and one that a later event of the same worker
 * has overtaken is left out. A watcher is a cursor (a revision, or a place in a snapshot), so a slow one costs nothing.
 * One that falls behind the ring gets a snapshot: all records in the order of their ids, in pieces, then the changes
 * since the snapshot began.
 *
 * Ownership and threading: one thread owns a registry. Records it returns are valid until the
 * next call that changes something. */

#pragma once

#include "common/buffer.h"
#include "services/registry/record.h"

#include "muster/v1/registry.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct registry;

enum registry_result {
    REGISTRY_OK,
    REGISTRY_NOT_FOUND,      /* the id is not on the roll */
    REGISTRY_STALE,          /* it is, but as another incarnation */
    REGISTRY_OF_ANOTHER_KEY, /* the id is on the roll, registered with somebody else's key */
    REGISTRY_PRESENT,        /* the id is on the roll, and must not be to be imported */
    REGISTRY_INVALID,        /* a status that cannot be set, a value that is no record */
    REGISTRY_NO_REVISION,    /* the ceiling is reached: store a higher one first */
    REGISTRY_OUT_OF_MEMORY,
};

/* A constant text for people. */
const char *registry_result_text(enum registry_result result);

/* Numbers that are stored with every batch of changes. */
struct registry_meta {
    uint64_t revision_ceiling;
    uint64_t incarnation_floor;
};

#define REGISTRY_RING_EVENTS 65536

/* How far ahead the ceiling is put. */
#define REGISTRY_REVISION_BLOCK (1u << 24)

/* The largest batch: this many revisions are kept back from soft changes, so that changes that
 * are on disk never lack one. */
#define REGISTRY_BATCH_MAX 65536

/* An empty roll, which remembers at least the last ring_events changes (a power of two). NULL
 * when memory runs out. */
struct registry *registry_create(size_t ring_events);
void registry_destroy(struct registry *registry);

/* --- Start --- */

/* Takes a record from the disk, where it has this row number (0: none); its status becomes
 * RECONNECTING. `unix_ms` is now. INVALID: the value is no record, or one of another worker.
 * PRESENT: there was one of this id already. */
enum registry_result registry_restore(struct registry *registry, uint64_t row, const char *id, size_t id_bytes,
                                      const void *value, size_t value_bytes, int64_t unix_ms);

/* Ends the restoring: revisions go on from the stored ceiling. Call once before anything
 * below, also when nothing was stored (all zeroes). No revision is left then, so nothing can
 * change until a higher ceiling was stored. */
void registry_restored(struct registry *registry, const struct registry_meta *stored);

/* Whether numbers should be stored soon for revisions to go on; any batch of changes does so
 * too. And that they have been stored. */
bool registry_needs_ceiling(const struct registry *registry);
void registry_meta_stored(struct registry *registry, const struct registry_meta *meta);

/* --- Durable changes --- */

struct registry_departure;

struct registry_change {
    struct record *record;                /* the new record; NULL: a removal */
    struct registry_departure *departure; /* what watchers are told of a removal */
    bool keeps_status;                    /* the status is what it is when the change is applied */
};

/* Whether somebody with this key ("": nobody's) may register the id: OF_ANOTHER_KEY when it is on the roll and was
 * registered with another one. */
enum registry_result registry_check_key(const struct registry *registry, const char *worker_id,
                                        const char *registered_by);

/* The incarnation that a registration will have of an id that has this record; NULL: it is not on the roll. */
uint64_t registry_next_incarnation(const struct registry *registry, const struct record *present);

/* A registration: `spec` was checked and normalised and has its id, `assigned` are names. `wire`, if not NULL, are the
 * bytes that the spec was unpacked from, when nothing had to be changed in it. A worker that was draining stays so, and
 * a swap that was under way is still, when both of its services are assigned. OF_ANOTHER_KEY when the worker is on the
 * roll and was registered_by somebody else (who is nobody may be anybody). change->record can be looked at, also once
 * it is applied. */
enum registry_result registry_prepare_registration(struct registry *registry, const Muster__V1__WorkerSpec *spec,
                                                   const struct wire_bytes *wire, char *const *assigned,
                                                   size_t assigned_count, int64_t unix_ms,
                                                   struct registry_change *change);

/* A worker from elsewhere, as record_create made it (`imported` stays the caller's). Its
 * incarnation is kept unless the floor has reached it, its status becomes RECONNECTING. PRESENT
 * when the id is on the roll. */
enum registry_result registry_prepare_import(struct registry *registry, const struct record *imported, int64_t unix_ms,
                                             struct registry_change *change);

/* Off the roll; incarnation 0: whichever it is. */
enum registry_result registry_prepare_removal(const struct registry *registry, const char *worker_id,
                                              uint64_t incarnation, const char *reason, int64_t unix_ms,
                                              struct registry_change *change);

/* Draining or not. */
enum registry_result registry_prepare_draining(const struct registry *registry, const char *worker_id, bool draining,
                                               struct registry_change *change);

/* Other services to run, and a swap that begins or goes on (NULL: none), of this incarnation. STALE when it has
 * registered again since. INVALID: the swap's services are not both assigned. */
enum registry_result registry_prepare_assignment(const struct registry *registry, const char *worker_id,
                                                 uint64_t incarnation, char *const *assigned, size_t assigned_count,
                                                 const Muster__V1__ServiceSwap *swap, struct registry_change *change);

/* The change's row number and id in the store. A worker keeps its row for as long as it is on the roll; a new one gets
 * the next, so that what is registered together lies together. */
uint64_t registry_change_row(const struct registry_change *change);
const char *registry_change_id(const struct registry_change *change, size_t *id_bytes);

/* Appends the value in the store; nothing for a removal. Check buffer_failed, unless there is room for
 * registry_change_value_bytes_max. */
void registry_change_value(const struct registry_change *change, struct buffer *value);
size_t registry_change_value_bytes_max(const struct registry_change *change);

/* What must be stored in the same transaction as these changes (none: the numbers alone);
 * keeps the ceiling ahead. */
struct registry_meta registry_meta_after(const struct registry *registry, const struct registry_change *changes,
                                         size_t count);

/* Makes a stored change so and takes over what it holds. Returns its revision. Call
 * registry_meta_stored with the stored numbers first. 0 when memory runs out: disk and memory
 * now differ, so the process must end and start again from the disk. */
uint64_t registry_apply(struct registry *registry, struct registry_change *change);
void registry_discard(struct registry_change *change);

/* --- Soft changes --- */

/* Takes over a status other than REMOVED (that is a removal). OK without an event when nothing
 * changes by it. status_changed_at_ms stays when only the reason differs. */
enum registry_result registry_set_status(struct registry *registry, const char *worker_id, uint64_t incarnation,
                                         Muster__V1__WorkerStatus status, const char *reason, int64_t unix_ms);

/* --- Reading --- */

size_t registry_count(const struct registry *registry);
uint64_t registry_revision(const struct registry *registry);
const struct record *registry_find(const struct registry *registry, const char *worker_id);

/* Up to `limit` records whose ids come after `after_id` ("": from the start), in order. */
size_t registry_list(const struct registry *registry, const char *after_id, const struct record **records,
                     size_t limit);

/* --- Watching --- */

struct registry_cursor {
    uint64_t revision; /* seen; in a snapshot: where it began */
    bool in_snapshot;
    bool begun; /* the snapshot's first message was made */
    uint16_t after_id_bytes;
    char after_id[256]; /* the snapshot's last record */
};

/* A watcher that has seen everything up to after_revision; 0, too old or unknown: nothing. */
void registry_cursor_start(const struct registry *registry, struct registry_cursor *cursor, uint64_t after_revision);

/* Whether there is something to send. */
bool registry_cursor_behind(const struct registry *registry, const struct registry_cursor *cursor);

/* The next message for a watcher, or NULL when there is none. It holds at most 128 events, or
 * some 256 KiB if that is less. It can be packed only (see record.h), and is valid until the
 * next call of anything here. */
const Muster__V1__WatchWorkersResponse *registry_cursor_next(struct registry *registry, struct registry_cursor *cursor);
