/* Fuzz target: what coordinators answer an edge proxy, beside their lists of workers (federation_list): catalogs, and
 * who offers a service elsewhere. A catalog's names are each one thing, and its paths can be sent; a table of workers
 * has each of them once. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/map.h"
#include "gateway/proxy/elsewhere_table.h"
#include "gateway/proxy/listed_catalog.h"

static void note_name(struct map *names, char *name)
{
    if (name[0] == '\0' || map_get_text(names, name) != NULL || !map_put_text(names, name, name, NULL))
        abort();
}

static void check_catalog(const char *text, size_t bytes)
{
    struct arena arena;
    struct map names = MAP_INIT;
    arena_init(&arena, NULL, 0);
    const Muster__V1__WatchCatalogResponse *catalog = listed_catalog_read(text, bytes, &arena);
    for (size_t i = 0; catalog != NULL && i < catalog->n_services; i++) {
        const Muster__V1__CatalogService *service = catalog->services[i];
        note_name(&names, service->name);
        for (size_t j = 0; j < service->n_aliases; j++)
            note_name(&names, service->aliases[j]);
        if (service->path[0] != '\0' && (service->path[0] != '/' || strpbrk(service->path, "\r\n ?#") != NULL))
            abort();
    }
    map_free(&names);
    arena_free(&arena);
}

static void check_elsewhere(const char *text, size_t bytes)
{
    struct elsewhere_table table = {.services = MAP_INIT};
    struct arena arena;
    struct map ids = MAP_INIT;
    struct elsewhere_worker **workers;
    (void)elsewhere_put(&table, "one", text, bytes, 10);
    (void)elsewhere_put(&table, "two", text, bytes, 20);
    arena_init(&arena, NULL, 0);
    size_t count = elsewhere_workers(&table, &arena, &workers);
    for (size_t i = 0; count != SIZE_MAX && i < count; i++)
        note_name(&ids, workers[i]->spec.worker_id);
    map_free(&ids);
    arena_free(&arena);
    (void)elsewhere_expire(&table, 15);
    if (table.services.count > 1)
        abort();
    elsewhere_table_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    check_catalog((const char *)data, bytes);
    check_elsewhere((const char *)data, bytes);
    return 0;
}
