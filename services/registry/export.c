/* ExportWorkers; see export.h. */

#include "services/registry/export.h"

#include "services/registry/handlers.h"
#include "services/registry/spec.h"

#include <stdlib.h>
#include <string.h>

/* A message ends with so many workers, or bytes. */
#define MESSAGE_WORKERS 128
#define MESSAGE_BYTES (256 * 1024)

struct export
{
    struct registry *registry;
    bool complete;
    char after_id[SPEC_ID_MAX_BYTES + 1];
};

/* Sends the next message. */
static void send_next(struct rpc_call *call, struct export *export)
{
    const struct record *records[MESSAGE_WORKERS];
    struct record_message messages[MESSAGE_WORKERS];
    Muster__V1__Worker *workers[MESSAGE_WORKERS];
    Muster__V1__ExportWorkersResponse response = MUSTER__V1__EXPORT_WORKERS_RESPONSE__INIT;
    size_t found = registry_list(export->registry, export->after_id, records, MESSAGE_WORKERS);
    size_t count = 0, bytes = 0;
    while (count < found && bytes < MESSAGE_BYTES) {
        record_message_init(&messages[count], records[count]);
        workers[count] = &messages[count].worker;
        bytes += records[count++]->body_bytes + 64u;
    }
    response.n_workers = count;
    response.workers = workers;
    response.total = registry_count(export->registry);
    if (!rpc_call_send(call, &response.base))
        return;
    export->complete = count == found && found < MESSAGE_WORKERS;
    if (export->complete)
        rpc_call_finish(call, RPC_OK, "%s", "");
    else
        memcpy(export->after_id, records[count - 1]->id, records[count - 1]->id_bytes + 1u);
}

static void writable(struct rpc_call *call)
{
    struct export *export = rpc_call_user(call);
    while (export != NULL && !export->complete && !rpc_call_is_over(call) && rpc_call_writable(call))
        send_next(call, export);
}

static void begin(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    struct export *export = calloc(1, sizeof(*export));
    (void)message;
    if (export == NULL) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    export->registry = handlers->registry;
    rpc_call_set_user(call, export);
    writable(call);
}

static void ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    (void)status;
    (void)text;
    free(rpc_call_user(call));
}

const struct rpc_events export_events = {.message = begin, .writable = writable, .ended = ended};
