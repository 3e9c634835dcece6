/* Fuzz target: the list of workers that a coordinator answers an edge router with. Whatever comes,
 * each worker is in the fleet once, held by the coordinator that it is shown with; a list that cannot
 * be read says why; and one that is empty takes everybody off. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/document.h"
#include "gateway/federation/federation.h"
#include "gateway/views.h"

static struct federation_region *add_coordinator(struct federation *federation, struct replica *roll, const char *id)
{
    Muster__V1__Worker worker = MUSTER__V1__WORKER__INIT;
    Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
    char name[16];
    memcpy(name, id, strlen(id) + 1);
    spec.worker_id = name;
    worker.spec = &spec;
    worker.incarnation = 1;
    worker.revision = ++roll->revision;
    if (!replica_put(roll, &worker) || !federation_reconcile(federation, roll))
        abort();
    return federation_find(federation, id);
}

static void check(const struct federation *federation)
{
    const struct replica *fleet = federation->fleet;
    for (size_t i = 0; i < fleet->worker_count; i++) {
        const struct replica_worker *worker = fleet->workers[i];
        const struct federation_region *holder = federation_holder(federation, worker->id);
        if (holder == NULL || worker->coordinator != holder->id)
            abort();
    }
    if (fleet->worker_count != federation->holdings.count || fleet->tombstone_count != 0)
        abort();
}

static void read_list(struct federation *federation, struct federation_region *region, const char *text, size_t bytes)
{
    bool read = federation_read_list(federation, region, text, bytes, 1000, 1);
    if (read != (region->problem[0] == '\0'))
        abort();
    check(federation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct replica roll, fleet;
    struct federation federation;
    replica_init(&roll);
    replica_init(&fleet);
    federation_init(&federation, &fleet, 1);
    struct federation_region *one = add_coordinator(&federation, &roll, "one");
    struct federation_region *two = add_coordinator(&federation, &roll, "two");
    read_list(&federation, one, (const char *)data, bytes);
    read_list(&federation, two, (const char *)data, bytes / 2);
    read_list(&federation, one, (const char *)data, bytes);
    struct buffer out = BUFFER_INIT;
    view_render(VIEW_ADMIN_WORKERS, &fleet, NULL, 1, 1767609000125, &out);
    /* What is shown is JSON, whoever listed it. */
    struct json_document document;
    if (!buffer_failed(&out) && !json_document_parse(&document, out.data, out.bytes))
        abort();
    if (!buffer_failed(&out))
        json_document_free(&document);
    buffer_free(&out);
    read_list(&federation, one, "[]", 2);
    read_list(&federation, two, "[]", 2);
    if (fleet.worker_count != 0)
        abort();
    federation_free(&federation);
    replica_free(&fleet);
    replica_free(&roll);
    return 0;
}
