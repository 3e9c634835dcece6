/* See flapping.h. */

#include "services/health/flapping.h"

#include <stdlib.h>
#include <string.h>

struct flapping_id {
    struct list_link by_loss;
    uint64_t lost_at_ms; /* the last time */
    struct flapping_hold hold;
    uint32_t losses; /* as of lost_at_ms */
    char worker_id[];
};

void flapping_init(struct flapping *flapping, const struct flapping_settings *settings)
{
    *flapping = (struct flapping){.settings = *settings};
    list_init(&flapping->oldest);
}

static void forget(struct flapping *flapping, struct flapping_id *id)
{
    (void)map_remove_text(&flapping->ids, id->worker_id); /* it is `id` */
    list_remove(&id->by_loss);
    free(id);
}

static struct flapping_id *oldest(struct flapping *flapping)
{
    return LIST_OBJECT(flapping->oldest.next, struct flapping_id, by_loss);
}

void flapping_free(struct flapping *flapping)
{
    while (!list_is_empty(&flapping->oldest))
        forget(flapping, oldest(flapping));
    map_free(&flapping->ids);
}

static uint32_t losses_at(const struct flapping_id *id, uint64_t now_ms)
{
    uint64_t forgotten = (now_ms - id->lost_at_ms) / FLAPPING_FORGET_MS;
    return forgotten < id->losses ? id->losses - (uint32_t)forgotten : 0;
}

/* Two for each that comes, so that the table shrinks when nothing happens to be held. */
static void forget_some(struct flapping *flapping, uint64_t now_ms)
{
    for (unsigned i = 0; i < 2 && !list_is_empty(&flapping->oldest); i++) {
        if (losses_at(oldest(flapping), now_ms) > 0 && flapping->ids.count < FLAPPING_IDS_MAX)
            return;
        forget(flapping, oldest(flapping));
    }
}

void flapping_lost(struct flapping *flapping, const char *worker_id, uint64_t now_ms)
{
    if (flapping->settings.first_hold_ms == 0)
        return;
    struct flapping_id *id = map_get_text(&flapping->ids, worker_id);
    if (id == NULL) {
        forget_some(flapping, now_ms);
        size_t bytes = strlen(worker_id) + 1;
        id = calloc(1, sizeof(*id) + bytes);
        if (id == NULL)
            return;
        memcpy(id->worker_id, worker_id, bytes);
        if (!map_put_text(&flapping->ids, id->worker_id, id, NULL)) {
            free(id);
            return;
        }
    } else {
        id->losses = losses_at(id, now_ms);
        list_remove(&id->by_loss);
    }
    list_append(&flapping->oldest, &id->by_loss);
    id->losses++;
    id->lost_at_ms = now_ms;
    id->hold = (struct flapping_hold){0};
}

struct flapping_hold flapping_returned(struct flapping *flapping, const char *worker_id, uint64_t now_ms)
{
    struct flapping_id *id = map_get_text(&flapping->ids, worker_id);
    if (id == NULL)
        return (struct flapping_hold){0};
    id->hold = (struct flapping_hold){.losses = losses_at(id, now_ms)};
    if (id->hold.losses <= FLAPPING_FREE)
        return id->hold;
    uint64_t hold_ms = flapping->settings.first_hold_ms;
    for (uint32_t i = FLAPPING_FREE + 1; i < id->hold.losses && hold_ms < flapping->settings.longest_hold_ms; i++)
        hold_ms *= 2;
    if (hold_ms > flapping->settings.longest_hold_ms)
        hold_ms = flapping->settings.longest_hold_ms;
    id->hold.hold_ms = hold_ms;
    id->hold.until_ms = now_ms + hold_ms;
    return id->hold;
}

struct flapping_hold flapping_hold_of(const struct flapping *flapping, const char *worker_id)
{
    const struct flapping_id *id = map_get_text(&flapping->ids, worker_id);
    return id == NULL ? (struct flapping_hold){0} : id->hold;
}
