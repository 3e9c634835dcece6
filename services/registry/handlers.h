/* The methods of RegistryService: requests are checked here, and handed to the part that
 * carries them out. What each does is said in proto/muster/v1/registry.proto.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/random.h"
#include "common/rpc/rpc.h"
#include "services/registry/ledger.h"
#include "services/registry/registrar.h"
#include "services/registry/watchers.h"
#include "services/registry/writer.h"

/* The parts; the context of the service. */
struct handlers {
    struct registry *registry;
    struct ledger *ledger;
    struct registrar *registrar;
    struct watchers *watchers;
    struct writer *writer;
    const uint8_t *secret;      /* of the workers' tokens */
    const char *data_directory; /* where backups are made */
    struct random random;       /* for ids that are made up */
};

/* Adds the service to a server that has not started. False: out of memory. */
bool handlers_add(struct handlers *handlers, struct rpc_server *server);
