/* The assigner's life, its catalog, and gaps; see assigner.h. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

/* --- Memory --- */

struct tables {
    uint32_t *expected, *healthy, *able, *failing, *loaded, *seen, *here;
    struct load_sums *load;
    uint32_t *services, *before;
    enum policy_verdict *verdicts;
};

static void free_tables(struct tables *tables)
{
    free(tables->expected);
    free(tables->healthy);
    free(tables->able);
    free(tables->failing);
    free(tables->loaded);
    free(tables->load);
    free(tables->seen);
    free(tables->here);
    free(tables->services);
    free(tables->before);
    free(tables->verdicts);
}

static bool create_tables(struct tables *tables, size_t count)
{
    tables->expected = calloc(count, sizeof(*tables->expected));
    tables->healthy = calloc(count, sizeof(*tables->healthy));
    tables->able = calloc(count, sizeof(*tables->able));
    tables->failing = calloc(count, sizeof(*tables->failing));
    tables->loaded = calloc(count, sizeof(*tables->loaded));
    tables->load = calloc(count, sizeof(*tables->load));
    tables->seen = calloc(count, sizeof(*tables->seen));
    tables->here = calloc(count, sizeof(*tables->here));
    tables->services = calloc(count, sizeof(*tables->services));
    tables->before = calloc(count, sizeof(*tables->before));
    tables->verdicts = calloc(count, sizeof(*tables->verdicts));
    if (tables->expected != NULL && tables->healthy != NULL && tables->able != NULL && tables->failing != NULL &&
        tables->loaded != NULL && tables->load != NULL && tables->seen != NULL && tables->here != NULL &&
        tables->services != NULL && tables->before != NULL && tables->verdicts != NULL)
        return true;
    free_tables(tables);
    return false;
}

static struct tables tables_of(const struct assigner *assigner)
{
    const struct counts *counts = &assigner->counts;
    return (struct tables){.expected = counts->expected,
                           .healthy = counts->healthy,
                           .able = counts->able,
                           .failing = counts->failing,
                           .loaded = counts->loaded,
                           .seen = assigner->seen,
                           .here = assigner->here,
                           .load = counts->load,
                           .services = assigner->decision.services,
                           .before = assigner->decision.before,
                           .verdicts = assigner->decision.verdicts};
}

static void use_tables(struct assigner *assigner, const struct tables *tables)
{
    assigner->counts = (struct counts){.expected = tables->expected,
                                       .healthy = tables->healthy,
                                       .able = tables->able,
                                       .failing = tables->failing,
                                       .loaded = tables->loaded,
                                       .load = tables->load};
    assigner->seen = tables->seen;
    assigner->here = tables->here;
    assigner->seen_number = 0;
    assigner->decision.services = tables->services;
    assigner->decision.before = tables->before;
    assigner->decision.verdicts = tables->verdicts;
}

struct assigner *assigner_create(struct catalog *catalog)
{
    struct assigner *assigner = calloc(1, sizeof(*assigner));
    struct tables tables;
    if (assigner == NULL || !create_tables(&tables, catalog_count(catalog))) {
        free(assigner);
        catalog_destroy(catalog);
        return NULL;
    }
    assigner->catalog = catalog;
    use_tables(assigner, &tables);
    assigner->slab = slab_create();
    if (assigner->slab == NULL || !adapt_create(assigner) || !balance_create(assigner)) {
        assigner_destroy(assigner);
        return NULL;
    }
    return assigner;
}

static void free_roll(struct assigner *assigner)
{
    size_t position = 0;
    struct member *found;
    while ((found = map_next(&assigner->roll, &position)) != NULL) {
        const struct known known = known_of(found);
        member_free(known.record);
        member_free(known.promise);
    }
    map_free(&assigner->roll);
    slab_destroy(assigner->slab);
}

void assigner_destroy(struct assigner *assigner)
{
    if (assigner == NULL)
        return;
    free_roll(assigner);
    struct tables tables = tables_of(assigner);
    free_tables(&tables);
    assigner_free_values(&assigner->counts.located);
    moves_forget(assigner);
    adapt_forget(assigner);
    balance_forget(assigner);
    free(assigner->balance);
    swaps_free(assigner);
    catalog_destroy(assigner->catalog);
    free(assigner);
}

/* --- The catalog --- */

const struct catalog *assigner_catalog(const struct assigner *assigner)
{
    return assigner->catalog;
}

static void number_roll(struct assigner *assigner)
{
    size_t position = 0;
    struct member *found;
    while ((found = map_next(&assigner->roll, &position)) != NULL) {
        const struct known known = known_of(found);
        if (known.record != NULL)
            member_number_names(known.record, assigner->catalog);
        if (known.promise != NULL)
            member_number_names(known.promise, assigner->catalog);
    }
}

bool assigner_set_catalog(struct assigner *assigner, struct catalog *catalog)
{
    struct tables tables, old = tables_of(assigner);
    if (!create_tables(&tables, catalog_count(catalog))) {
        catalog_destroy(catalog);
        return false;
    }
    moves_forget(assigner);
    catalog_destroy(assigner->catalog);
    assigner->catalog = catalog;
    number_roll(assigner);
    assigner_free_values(&assigner->counts.located);
    use_tables(assigner, &tables);
    free_tables(&old);
    assigner_recount(assigner);
    /* Its services have other numbers. Without memory, those that are lost are left to the
     * workers that register. */
    adapt_forget(assigner);
    balance_forget(assigner);
    (void)balance_create(assigner);
    rules_review(assigner);
    swaps_forget_failures(assigner);
    if (adapt_create(assigner)) {
        size_t position = 0;
        const struct member *member;
        while ((member = assigner_next_record(assigner, &position)) != NULL)
            adapt_note(assigner, member);
    }
    return true;
}

/* --- Gaps --- */

static int compare_gaps(const void *left, const void *right)
{
    const struct assigner_gap *a = left, *b = right;
    if (a->status != b->status)
        return a->status < b->status ? -1 : 1;
    if (a->service->priority != b->service->priority)
        return a->service->priority < b->service->priority ? -1 : 1;
    return strcmp(a->service->name, b->service->name);
}

void assigner_gaps(const struct assigner *assigner, struct assigner_gap *gaps)
{
    size_t count = catalog_count(assigner->catalog);
    for (size_t i = 0; i < count; i++) {
        uint32_t workers = assigner->counts.healthy[i];
        gaps[i] = (struct assigner_gap){
            .service = catalog_at(assigner->catalog, i),
            .healthy_workers = workers,
            .status = workers == 0   ? MUSTER__V1__GAP_STATUS__GAP_STATUS_CRITICAL
                      : workers == 1 ? MUSTER__V1__GAP_STATUS__GAP_STATUS_WARNING
                                     : MUSTER__V1__GAP_STATUS__GAP_STATUS_OK,
        };
    }
    qsort(gaps, count, sizeof(*gaps), compare_gaps);
}
