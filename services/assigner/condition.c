/* What workers say of themselves: their load, and how each of their services is. See assigner.h. */

#include "services/assigner/state.h"

#include <string.h>

#define NAMES_MAX 32 /* of a worker, whose states are kept */

enum condition { SILENT, RUNNING, UNAVAILABLE };

static enum condition condition_of(const char *word)
{
    static const char *const running[] = {"running", "healthy", "online", "ready", "available", "ok"};
    static const char *const unavailable[] = {"unavailable", "failed", "stopped", "error", "offline", "unhealthy"};
    for (size_t i = 0; i < sizeof(running) / sizeof(running[0]); i++)
        if (strcmp(word, running[i]) == 0)
            return RUNNING;
    for (size_t i = 0; i < sizeof(unavailable) / sizeof(unavailable[0]); i++)
        if (strcmp(word, unavailable[i]) == 0)
            return UNAVAILABLE;
    return SILENT; /* "starting", and whatever agents make up */
}

static void set_condition(struct member *member, uint32_t name, enum condition condition)
{
    uint32_t bit = 1u << name;
    member->running = condition == RUNNING ? member->running | bit : member->running & ~bit;
    member->unavailable = condition == UNAVAILABLE ? member->unavailable | bit : member->unavailable & ~bit;
}

void condition_carry(struct member *to, const struct member *from)
{
    to->says_load = from->says_load;
    to->load_thousandths = from->load_thousandths;
    if ((from->running | from->unavailable) == 0)
        return;
    const char *name = member_name(to, 0);
    for (uint32_t i = 0; i < to->name_count && i < NAMES_MAX; i++, name += strlen(name) + 1) {
        const char *old = member_name(from, 0);
        for (uint32_t k = 0; k < from->name_count && k < NAMES_MAX; k++, old += strlen(old) + 1)
            if (strcmp(name, old) == 0)
                set_condition(to, i,
                              condition_is_running(from, k)       ? RUNNING
                              : condition_is_unavailable(from, k) ? UNAVAILABLE
                                                                  : SILENT);
    }
}

/* The state is about the name itself, or about another name of the same service. */
static bool is_same_service(const struct assigner *assigner, const char *name, const char *other)
{
    if (strcmp(name, other) == 0)
        return true;
    size_t number = catalog_find(assigner->catalog, name);
    return number != CATALOG_NONE && number == catalog_find(assigner->catalog, other);
}

static void take_states(const struct assigner *assigner, struct member *member, const Muster__V1__Load *load)
{
    member->running = member->unavailable = 0;
    for (size_t k = 0; k < load->n_services_status; k++) {
        const Muster__V1__ServiceState *state = load->services_status[k];
        enum condition condition = condition_of(state->state);
        const char *name = member_name(member, 0);
        if (condition == SILENT)
            continue;
        for (uint32_t i = 0; i < member->name_count && i < NAMES_MAX; i++, name += strlen(name) + 1)
            if (is_same_service(assigner, name, state->name))
                set_condition(member, i, condition);
    }
}

static void take_load(const struct assigner *assigner, struct member *member, uint64_t incarnation,
                      const Muster__V1__Load *load)
{
    if (member == NULL || member->incarnation != incarnation)
        return;
    double share = load->current_load < 0 ? 0 : load->current_load > 1 ? 1 : load->current_load;
    member->says_load = true;
    member->load_thousandths = (uint16_t)(share * 1000 + 0.5);
    take_states(assigner, member, load);
}

void assigner_health_lost(struct assigner *assigner)
{
    assigner->health_heard_ms = 0;
}

void assigner_apply_health(struct assigner *assigner, const Muster__V1__WatchHealthResponse *message, uint64_t now_ms)
{
    if (assigner->health_heard_ms == 0)
        assigner->health_heard_ms = now_ms;
    for (size_t i = 0; i < message->n_workers; i++) {
        const Muster__V1__WorkerHealth *worker = message->workers[i];
        if (worker->load == NULL)
            continue;
        const struct known known = assigner_known(assigner, worker->worker_id);
        if (known.record == NULL)
            continue;
        assigner_count(assigner, known, OUT);
        take_load(assigner, known.record, worker->incarnation, worker->load);
        take_load(assigner, known.promise, worker->incarnation, worker->load);
        assigner_count(assigner, known, IN);
    }
}
