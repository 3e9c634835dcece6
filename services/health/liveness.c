/* The queue of states that the registry has not been told: one place for each worker. A
 * report that is under way keeps its workers aside; what changes meanwhile comes after it.
 * See health.h. */

#include "services/health/health.h"

#include "services/health/state.h"

void health_report_add(struct health *health, struct health_worker *worker)
{
    if (worker->report_sent) {
        worker->changed_since_report = true;
        return;
    }
    if (list_is_linked(&worker->report))
        return;
    list_append(&health->reports, &worker->report);
    health->report_count++;
}

void health_report_remove(struct health *health, struct health_worker *worker)
{
    if (!list_is_linked(&worker->report))
        return;
    list_remove(&worker->report);
    worker->report_sent = false;
    worker->changed_since_report = false;
    health->report_count--;
}

size_t health_liveness_waiting(const struct health *health)
{
    return health->report_count;
}

bool health_fill_liveness(struct health *health, size_t limit, uint64_t now_ms,
                          Muster__V1__ReportLivenessRequest *request)
{
    if (limit > HEALTH_LIVENESS_CHANGES_MAX)
        limit = HEALTH_LIVENESS_CHANGES_MAX;
    if (limit > health->report_count)
        limit = health->report_count;
    if (health->report_under_way || limit == 0 || !health_batch_reserve(health, limit))
        return false;
    Muster__V1__LivenessChange *messages = health->batch.messages;
    Muster__V1__LivenessChange **pointers = (Muster__V1__LivenessChange **)health->batch.pointers;
    for (size_t i = 0; i < limit; i++) {
        struct health_worker *worker = LIST_OBJECT(health->reports.next, struct health_worker, report);
        list_remove(&worker->report);
        list_append(&health->reports_sent, &worker->report);
        worker->report_sent = true;
        worker->reported = worker->status;
        health_describe(health, worker, now_ms, health->batch.texts[i]);
        muster__v1__liveness_change__init(&messages[i]);
        messages[i].worker_id = worker->id;
        messages[i].incarnation = worker->incarnation;
        messages[i].status = (Muster__V1__WorkerStatus)worker->status;
        messages[i].reason = health->batch.texts[i];
        pointers[i] = &messages[i];
    }
    muster__v1__report_liveness_request__init(request);
    request->n_changes = limit;
    request->changes = pointers;
    health->report_under_way = true;
    return true;
}

void health_liveness_answered(struct health *health, bool taken)
{
    health_change_reap(health);
    health->report_under_way = false;
    if (!taken) {
        for (struct list_link *link = health->reports_sent.next; link != &health->reports_sent; link = link->next) {
            struct health_worker *worker = LIST_OBJECT(link, struct health_worker, report);
            worker->report_sent = false;
            worker->changed_since_report = false;
        }
        list_move_all_to_front(&health->reports_sent, &health->reports);
        return;
    }
    while (!list_is_empty(&health->reports_sent)) {
        struct health_worker *worker = LIST_OBJECT(health->reports_sent.next, struct health_worker, report);
        bool changed = worker->changed_since_report;
        health_report_remove(health, worker);
        if (changed)
            health_report_add(health, worker);
        else if (worker->status == WORKER_REMOVED && worker->reported == WORKER_REMOVED)
            health_drop(health, worker);
    }
}
