/* What must hold inside the core, for tests; see health.h. */

#include "services/health/health.h"

#include "services/health/state.h"

static size_t list_length(const struct list_link *head)
{
    size_t length = 0;
    for (const struct list_link *link = head->next; link != head; link = link->next)
        length++;
    return length;
}

/* Bits of the watchers whose cursor is `link`; 0: it is a worker. */
static uint32_t cursor_bit(const struct health *health, const struct list_link *link)
{
    for (size_t i = 0; i < HEALTH_WATCHERS_MAX; i++) {
        if (health->watchers[i] != NULL && &health->watchers[i]->cursor == link)
            return health->watchers[i]->bit;
    }
    return 0;
}

static bool check_worker(const struct health *health, const struct health_worker *worker)
{
    if (worker->gone)
        return (worker->pending & health->active) != 0 && !bare_timer_active(&worker->lease) &&
               !list_is_linked(&worker->report) && worker->own == NULL;
    if (health_find(health, worker->id) != worker)
        return false;
    /* Given up: the registry is being told. Else: a lease runs. */
    if (worker->status == WORKER_REMOVED ? !list_is_linked(&worker->report) : !bare_timer_active(&worker->lease))
        return false;
    return worker->own == NULL || (worker->own->worker == worker && list_is_linked(&worker->own->sent_by));
}

bool health_check(const struct health *health)
{
    uint64_t workers = 0, tombstones = 0, silent = 0, braked = 0, held = 0;
    uint32_t passed = 0; /* cursors before this place */
    for (const struct list_link *link = health->changes.next; link != &health->changes; link = link->next) {
        uint32_t bit = cursor_bit(health, link);
        if (bit != 0) {
            passed |= bit;
            continue;
        }
        const struct health_worker *worker = LIST_OBJECT(link, struct health_worker, change);
        if ((worker->pending & health->active) != passed || !check_worker(health, worker))
            return false;
        tombstones += worker->gone ? 1 : 0;
        workers += worker->gone ? 0 : 1;
        braked += !worker->gone && worker->reason == DETECTOR_BRAKED ? 1 : 0;
        held += !worker->gone && worker->reason == DETECTOR_HELD ? 1 : 0;
        silent += !worker->gone && (worker->reason == DETECTOR_LATE || worker->reason == DETECTOR_STREAM_BROKEN ||
                                    worker->reason == DETECTOR_NOT_HEARD_YET || worker->reason == DETECTOR_BRAKED)
                      ? 1
                      : 0;
    }
    const struct health_counts *counts = &health->counts;
    return passed == health->active && workers == counts->workers && workers == health->workers.count &&
           tombstones == health->tombstones && silent == counts->silent && braked == counts->braked &&
           held == counts->held && timer_wheel_check(&health->wheel) &&
           counts->online + counts->degraded + counts->draining + counts->offline + counts->reconnecting +
                   counts->removed ==
               workers &&
           list_length(&health->reports) + list_length(&health->reports_sent) == health->report_count &&
           list_length(&health->lookups) + list_length(&health->lookups_sent) + list_length(&health->lookups_later) ==
               health->lookup_count;
}
