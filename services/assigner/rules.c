/* Workers that are on the roll are brought in line with the catalog: its pins and reservations, and which services
 * there are. Those that register are anyway. See assigner_next_move.
 *
 * Every worker is looked at when the catalog is another one, and again while somebody is out of line: a worker whose
 * record or status changes is looked at by itself, and begins such a walk only if it has to be told something. */

#include "services/assigner/state.h"

#include <string.h>

#define LOOK_MAX 1000        /* workers at a time */
#define AGAIN_AFTER_MS 2000u /* when something was left */

void rules_review(struct assigner *assigner)
{
    assigner->review = (struct review){.wanted = true};
}

/* What it is to run and does not, or CATALOG_NONE. */
static size_t what_is_missing(const struct assigner *assigner, const struct member *member)
{
    for (size_t i = 0; catalog_has_rules(assigner->catalog) && i < catalog_count(assigner->catalog); i++) {
        enum catalog_permission permission = member_permission(assigner, member, i);
        if ((permission == CATALOG_PINNED || permission == CATALOG_RESERVED) &&
            member_serves(member, i) == CATALOG_NONE)
            return i;
    }
    return CATALOG_NONE;
}

/* What it was told to run and may not any more. */
struct barred {
    bool unknown;     /* something that the catalog has no more */
    bool some;        /* something that is not for it */
    size_t droppable; /* of that: somebody else runs it too; CATALOG_NONE: none */
};

static struct barred what_is_barred(const struct assigner *assigner, const struct member *member)
{
    struct barred barred = {.droppable = CATALOG_NONE};
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        size_t number = member_number(member, i);
        if (number == CATALOG_NONE)
            barred.unknown = true;
        else if (!catalog_permits(member_permission(assigner, member, number))) {
            barred.some = true;
            if (assigner->counts.able[number] >= (condition_is_able(member, i) ? 2 : 1))
                barred.droppable = number;
        }
    }
    return barred;
}

void rules_note(struct assigner *assigner, const struct member *member)
{
    if (assigner->review.wanted || !member_is_healthy(member))
        return;
    struct barred barred = what_is_barred(assigner, member);
    if (barred.unknown || barred.some || what_is_missing(assigner, member) != CATALOG_NONE)
        rules_review(assigner);
}

struct telling {
    const struct assigner *assigner;
    void (*tell)(const struct catalog_service *service, const char *worker_id, bool is_there, void *argument);
    void *argument;
};

static void tell_if_idle(const struct catalog_service *service, const char *worker_id, void *argument)
{
    const struct telling *telling = argument;
    const struct member *member = assigner_known(telling->assigner, worker_id).record;
    if (member == NULL || !catalog_fits(service, (Muster__V1__WorkerType)member->type))
        telling->tell(service, worker_id, member != NULL, telling->argument);
}

void assigner_idle_rules(const struct assigner *assigner,
                         void (*tell)(const struct catalog_service *service, const char *worker_id, bool is_there,
                                      void *argument),
                         void *argument)
{
    struct telling telling = {assigner, tell, argument};
    catalog_each_rule(assigner->catalog, tell_if_idle, &telling);
}

static const struct assigner_move *look_at(struct assigner *assigner, const struct member *member, uint64_t now_ms)
{
    if (!member_is_healthy(member))
        return NULL; /* when it is again it is looked at */
    struct barred barred = what_is_barred(assigner, member);
    struct change change = {what_is_missing(assigner, member), CATALOG_NONE, CATALOG_NONE, ASSIGNER_MOVE_TOLD};
    if (!barred.unknown && !barred.some && change.add == CATALOG_NONE)
        return NULL;
    assigner->review.left_some = true; /* until it is found in line */
    if (!member_is_settled(member))
        return NULL; /* the registry has not confirmed what it was told last */
    if (change.add == CATALOG_NONE && barred.unknown) {
        change.reason = ASSIGNER_MOVE_GONE; /* no move keeps what the catalog does not have */
    } else if (change.add == CATALOG_NONE) {
        change.remove = barred.droppable;
        change.reason = ASSIGNER_MOVE_BARRED;
    }
    bool nothing = change.reason == ASSIGNER_MOVE_BARRED && change.remove == CATALOG_NONE;
    return nothing ? NULL : assigner_make_move(assigner, member, &change, now_ms);
}

const struct assigner_move *rules_next_move(struct assigner *assigner, uint64_t now_ms)
{
    struct review *review = &assigner->review;
    if (!review->wanted || now_ms < review->begins_at_ms)
        return NULL;
    if (review->capacity != assigner->roll.capacity) { /* all of them are elsewhere now */
        review->capacity = assigner->roll.capacity;
        review->position = 0;
    }
    for (size_t looked = 0; looked < LOOK_MAX; looked++) {
        const struct member *member = assigner_next_record(assigner, &review->position);
        if (member == NULL) {
            *review = (struct review){.wanted = review->left_some, .begins_at_ms = now_ms + AGAIN_AFTER_MS};
            return NULL;
        }
        const struct assigner_move *move = look_at(assigner, member, now_ms);
        if (move != NULL)
            return move;
    }
    return NULL;
}
