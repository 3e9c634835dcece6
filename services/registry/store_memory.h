/* A store in memory, for tests and simulations: keeps everything until it is closed, and the
 * model that the conformance suite holds the other stores against.
 *
 * `allowed`, if not NULL, is asked before every step that could fail (each row that is written,
 * each row that is read); false makes that step fail like a disk does. */

#pragma once

#include "services/registry/store.h"

/* NULL when memory runs out. */
struct store *store_memory_open(bool (*allowed)(void *argument), void *argument);
