/* Fuzz target: the assigner's catalog file. Whatever is taken keeps the catalog's promises;
 * whatever is refused has an error of one line. */

#include "services/assigner/policy.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Decides for a worker of each type, who is named in the corpus: every decision is in the catalog and permitted, and
 * every service has a verdict. */
static void decide(const struct catalog *catalog)
{
    size_t count = catalog_count(catalog);
    uint32_t *workers = calloc(count, sizeof(*workers));
    struct policy_decision decision = {.services = calloc(count, sizeof(uint32_t)),
                                       .before = calloc(count, sizeof(uint32_t)),
                                       .verdicts = calloc(count, sizeof(enum policy_verdict))};
    require(workers != NULL && decision.services != NULL && decision.before != NULL && decision.verdicts != NULL);
    for (int type = 1; type <= 4; type++) {
        struct policy_worker worker = {.id = type % 2 == 0 ? "w-1" : "w-3", .type = (Muster__V1__WorkerType)type};
        struct policy_coverage coverage = {.workers = workers};
        policy_decide(catalog, &coverage, &worker, &decision);
        policy_judge_the_rest(catalog, &coverage, &worker, &decision);
        char reason[POLICY_REASON_BYTES];
        policy_reason(catalog, &decision, reason);
        require(strnlen(reason, sizeof reason) < sizeof reason);
        for (size_t i = 0; i < decision.count; i++)
            require(decision.services[i] < count &&
                    catalog_permits(catalog_permission(catalog, decision.services[i], worker.type, worker.id)));
        for (size_t i = 0; i < count; i++)
            require(decision.verdicts[i] > POLICY_UNDECIDED && decision.verdicts[i] <= POLICY_MISFIT);
    }
    free(workers);
    free(decision.services);
    free(decision.before);
    free(decision.verdicts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char error[CATALOG_ERROR_BYTES];
    struct catalog *catalog = catalog_parse((const char *)data, bytes, error);
    if (catalog == NULL) {
        require(error[0] != '\0' && strchr(error, '\n') == NULL);
        return 0;
    }
    require(catalog_count(catalog) >= 1 && catalog_count(catalog) <= CATALOG_MAX_SERVICES);
    for (size_t i = 0; i < catalog_count(catalog); i++) {
        const struct catalog_service *service = catalog_at(catalog, i);
        require(service->name[0] != '\0' && service->port >= 1 && service->port <= 65535 && service->priority >= 1);
        require(service->requires >= 1 && service->requires <= 4);
        require(service->path[0] == '\0' || service->path[0] == '/');
        require(catalog_find(catalog, service->name) == i);
        for (size_t alias = 0; alias < service->alias_count; alias++)
            require(catalog_find(catalog, service->aliases[alias]) == i);
    }
    decide(catalog);
    catalog_destroy(catalog);
    return 0;
}
