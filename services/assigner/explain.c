/* Why a worker runs what it runs; see assigner.h. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

/* What one explanation needs besides the assigner. */
struct explaining {
    char **names; /* of the member: assigned, then announced */
    enum policy_verdict *verdicts;
    bool *assigned_now;
};

static void free_explaining(struct explaining *explaining)
{
    free(explaining->names);
    free(explaining->verdicts);
    free(explaining->assigned_now);
}

static bool begin(struct explaining *explaining, const struct assigner *assigner, const struct member *member)
{
    size_t count = catalog_count(assigner->catalog);
    explaining->names = calloc((size_t)member->name_count + 1, sizeof(*explaining->names));
    explaining->verdicts = calloc(count, sizeof(*explaining->verdicts));
    explaining->assigned_now = calloc(count, sizeof(*explaining->assigned_now));
    if (explaining->names == NULL || explaining->verdicts == NULL || explaining->assigned_now == NULL)
        return false;
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < member->name_count; i++, name += strlen(name) + 1) {
        size_t number = member_number(member, i);
        explaining->names[i] = (char *)name; /* only read */
        if (i < member->assigned_count && number != CATALOG_NONE)
            explaining->assigned_now[number] = true;
    }
    return true;
}

bool assigner_explain(struct assigner *assigner, const char *worker_id, bool *found,
                      void (*use)(const struct assigner_explanation *explanation, void *argument), void *argument)
{
    /* What was promised to it is what it is being told, so that is what it has. */
    const struct member *member = map_get_text(&assigner->members, worker_id);
    const struct member *promise = map_get_text(&assigner->promises, worker_id);
    struct explaining explaining = {NULL, NULL, NULL};
    if (promise != NULL)
        member = promise;
    *found = member != NULL;
    if (member == NULL || !begin(&explaining, assigner, member)) {
        free_explaining(&explaining);
        return false;
    }
    const struct policy_worker worker = {
        .id = member->id,
        .type = (Muster__V1__WorkerType)member->type,
        .current = explaining.names,
        .current_count = member->assigned_count,
        .announced = explaining.names + member->assigned_count,
        .announced_count = member->name_count - member->assigned_count,
        .permitted = member_permitted(member),
    };
    assigner_count_id(assigner, worker_id, UINT32_MAX);
    memset(assigner->here, 0, catalog_count(assigner->catalog) * sizeof(*assigner->here));
    assigner->decision.verdicts = explaining.verdicts;
    assigner_decide(assigner, &worker, member_location(member));
    const struct assigner_explanation explanation = {
        .decision = &assigner->decision,
        .coverage = assigner->counts.expected,
        .here = assigner->here,
        .assigned_now = explaining.assigned_now,
        .type = worker.type,
        .incarnation = member->incarnation,
        .location = member_location(member),
        .swap_from = member->swap_from == NAME_NONE ? NULL : member_name(member, member->swap_from),
        .swap_to = member->swap_to == NAME_NONE ? NULL : member_name(member, member->swap_to),
        .counts = member_is_expected(member),
    };
    use(&explanation, argument);
    assigner->decision.verdicts = NULL;
    assigner_count_id(assigner, worker_id, 1);
    free_explaining(&explaining);
    return true;
}
