/* Why a worker runs what it runs; see assigner.h. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

/* For each service, whether the worker is assigned it now; NULL when memory runs out. */
static bool *assigned_now(const struct assigner *assigner, const struct member *member)
{
    bool *assigned = calloc(catalog_count(assigner->catalog), sizeof(*assigned));
    for (uint32_t i = 0; assigned != NULL && i < member->assigned_count; i++)
        if (member_number(member, i) != CATALOG_NONE)
            assigned[member_number(member, i)] = true;
    return assigned;
}

bool assigner_explain(struct assigner *assigner, const char *worker_id, bool *found,
                      void (*use)(const struct assigner_explanation *explanation, void *argument), void *argument)
{
    const struct known known = assigner_known(assigner, worker_id);
    /* What was promised to it is what it is being told, so that is what it has. */
    const struct member *member = known.promise != NULL ? known.promise : known.record;
    bool *assigned = member == NULL ? NULL : assigned_now(assigner, member);
    *found = member != NULL;
    if (assigned == NULL)
        return false;
    const struct policy_worker worker = {
        .id = member_id(member),
        .type = (Muster__V1__WorkerType)member->type,
        .current = member->numbers,
        .current_count = member->assigned_count,
        .announced = member->numbers + member->assigned_count,
        .announced_count = member->name_count - member->assigned_count,
        .permitted = member_permitted(member),
    };
    assigner_count(assigner, known, OUT);
    memset(assigner->here, 0, catalog_count(assigner->catalog) * sizeof(*assigner->here));
    const struct policy_coverage coverage = assigner_coverage(assigner, member_location(member));
    policy_decide(assigner->catalog, &coverage, &worker, &assigner->decision);
    policy_judge_the_rest(assigner->catalog, &coverage, &worker, &assigner->decision);
    const struct assigner_explanation explanation = {
        .decision = &assigner->decision,
        .coverage = assigner->counts.expected,
        .here = assigner->here,
        .assigned_now = assigned,
        .type = worker.type,
        .incarnation = member->incarnation,
        .location = member_location(member),
        .swap_from = member->swap_from == NAME_NONE ? NULL : member_name(member, member->swap_from),
        .swap_to = member->swap_to == NAME_NONE ? NULL : member_name(member, member->swap_to),
        .counts = member_is_expected(member),
    };
    use(&explanation, argument);
    assigner_count(assigner, known, IN);
    free(assigned);
    return true;
}
