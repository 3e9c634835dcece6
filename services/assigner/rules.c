/* Workers that are on the roll are brought in line with the catalog's pins and reservations: those that register are
 * anyway. See assigner_next_move. */

#include "services/assigner/state.h"

#include <string.h>

#define LOOK_MAX 1000        /* workers at a time */
#define AGAIN_AFTER_MS 2000u /* when something was left */

void rules_review(struct assigner *assigner)
{
    assigner->review = (struct review){.wanted = catalog_has_rules(assigner->catalog)};
}

/* What it is to run and does not, or CATALOG_NONE. */
static size_t what_is_missing(const struct assigner *assigner, const struct member *member)
{
    for (size_t i = 0; i < catalog_count(assigner->catalog); i++) {
        enum catalog_permission permission = member_permission(assigner, member, i);
        if ((permission == CATALOG_PINNED || permission == CATALOG_RESERVED) &&
            member_serves(assigner, member, i) == CATALOG_NONE)
            return i;
    }
    return CATALOG_NONE;
}

/* What it was told to run and may not any more, if somebody else runs it; CATALOG_NONE: nothing. *left: there is
 * something, and nobody else. */
static size_t what_is_barred(const struct assigner *assigner, const struct member *member, bool *left)
{
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < member->assigned_count; i++, name += strlen(name) + 1) {
        size_t number = catalog_find(assigner->catalog, name);
        if (number == CATALOG_NONE || catalog_permits(member_permission(assigner, member, number)))
            continue;
        if (assigner->counts.able[number] >= (member_is_able(assigner, member, number) ? 2 : 1))
            return number;
        *left = true;
    }
    return CATALOG_NONE;
}

static const struct assigner_move *look_at(struct assigner *assigner, const struct member *member, uint64_t now_ms)
{
    if (!member_is_healthy(member))
        return NULL; /* it registers again, or is gone */
    if (map_get_text(&assigner->promises, member->id) != NULL) {
        assigner->review.left_some = true; /* the registry has not confirmed what it was told last */
        return NULL;
    }
    size_t number = what_is_missing(assigner, member);
    if (number != CATALOG_NONE) {
        assigner->review.left_some = true; /* there may be more */
        return assigner_make_move(assigner, member, number, CATALOG_NONE, ASSIGNER_MOVE_TOLD, now_ms);
    }
    number = what_is_barred(assigner, member, &assigner->review.left_some);
    if (number == CATALOG_NONE)
        return NULL;
    assigner->review.left_some = true;
    return assigner_make_move(assigner, member, CATALOG_NONE, number, ASSIGNER_MOVE_BARRED, now_ms);
}

const struct assigner_move *rules_next_move(struct assigner *assigner, uint64_t now_ms)
{
    struct review *review = &assigner->review;
    if (!review->wanted || now_ms < review->begins_at_ms)
        return NULL;
    for (size_t looked = 0; looked < LOOK_MAX; looked++) {
        const struct member *member = map_next(&assigner->members, &review->position);
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
