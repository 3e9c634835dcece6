/* The catalog that a coordinator's list of workers comes with: what its services are called, and where they are on a
 * worker.
 *
 * Threading: none; no I/O. */

#pragma once

#include <stddef.h>

#include "common/arena.h"
#include "muster/v1/assigner.pb-c.h"

#define LISTED_SERVICES_MAX 1000

/* The catalog, from the text of the member `catalog` of GET /api/coordinator/workers, in the arena. A service that
 * cannot be understood, or whose name another one has, is left out, and so are aliases that something else is called
 * already. NULL: it is no list, or memory ran out. */
Muster__V1__WatchCatalogResponse *listed_catalog_read(const char *text, size_t bytes, struct arena *arena);

/* The one of the contract, which holds while no coordinator has said another; in the arena. NULL: memory ran out. */
Muster__V1__WatchCatalogResponse *listed_catalog_default(struct arena *arena);
