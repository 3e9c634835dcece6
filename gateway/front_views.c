/* Lists: handed out as they are kept while the replica has not changed, asked of the backend
 * otherwise.
 *
 * Packing a list of 10,000 workers takes a tenth of a second. A list that long is packed on a thread
 * beside the loop, one at a time; whoever asks for another one meanwhile gets it as it is. A longer one is
 * neither held nor packed: it comes in pieces (pieces.h). */

#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "gateway/backend.h"
#include "gateway/front.h"

/* Shorter lists are not worth packing. */
#define PACK_BYTES_MIN 1024
/* Longer ones are packed beside the loop: some 5 ms at 100 MB a second. */
#define PACK_HERE_BYTES_MAX (512 * 1024)

static bool is_fresh(const struct front *front, const struct rendered *rendered)
{
    uint64_t version = atomic_load_explicit(&front->gateway->replica_version, memory_order_acquire);
    uint32_t lifetime_ms = view_lifetime_ms(rendered->view);
    uint64_t changes = atomic_load_explicit(&front->gateway->forwarded_changes, memory_order_acquire);
    return rendered->version == version && rendered->forwarded_changes == changes &&
           (lifetime_ms == 0 || clock_monotonic_ms() - rendered->rendered_at_ms < lifetime_ms);
}

bool front_client_has_it(const struct http_head *head, const char *etag)
{
    struct http_text field = http_head_get(head, "if-none-match");
    const char *opaque = strchr(etag, '"'); /* compared weakly: a W/ makes no difference (RFC 9110, 13.1.2) */
    if (field.data == NULL)
        return false;
    return http_text_equal(field, "*") || memmem(field.data, field.bytes, opaque, strlen(opaque)) != NULL;
}

/* --- Packing --- */

static void send_list(struct front *front, struct http_exchange *exchange, const struct rendered *rendered,
                      struct http_shared *packed)
{
    bool is_page = rendered->view == VIEW_INDEX;
    front_answer(front, exchange,
                 &(struct answer){.status = 200,
                                  .shared = packed != NULL ? packed : rendered->body,
                                  .content_type = is_page ? api_routes()[API_INDEX].reply_type : NULL,
                                  .security_policy = is_page ? FRONT_SECURITY_POLICY : NULL,
                                  .etag = rendered->etag,
                                  .packed = packed != NULL});
}

static void packing_done(struct loop_task *task)
{
    struct front_packing *packing = (struct front_packing *)task;
    struct front *front = packing->front;
    struct front_view *kept = &front->views[packing->rendered->view];
    pthread_join(packing->thread, NULL);
    /* Without memory it goes out as it is. */
    for (size_t i = 0; i < packing->waiting_count; i++)
        send_list(front, packing->waiting[i], packing->rendered, packing->packed);
    packing->waiting_count = 0;
    if (kept->rendered == packing->rendered && kept->packed == NULL)
        kept->packed = packing->packed;
    else
        http_shared_release(packing->packed);
    packing->packed = NULL;
    rendered_release(packing->rendered);
    packing->rendered = NULL;
}

static void *pack(void *argument)
{
    struct front_packing *packing = argument;
    packing->packed = rendered_pack(http_shared_text(packing->rendered->body));
    loop_post(packing->front->loop, &packing->back);
    return NULL;
}

/* Has the exchange wait for the list to be packed; false when it has to go out as it is. */
static bool wait_for_packed(struct front *front, struct http_exchange *exchange, struct rendered *rendered)
{
    struct front_packing *packing = &front->packing;
    if (packing->rendered != NULL && packing->rendered != rendered)
        return false;
    if (packing->waiting_count == packing->waiting_capacity) {
        size_t capacity = packing->waiting_capacity * 2 + 16;
        struct http_exchange **waiting = realloc(packing->waiting, capacity * sizeof(struct http_exchange *));
        if (waiting == NULL)
            return false;
        packing->waiting = waiting;
        packing->waiting_capacity = capacity;
    }
    if (packing->rendered == NULL) {
        packing->front = front;
        packing->back.run = packing_done;
        packing->rendered = rendered_reference(rendered);
        if (pthread_create(&packing->thread, NULL, pack, packing) != 0) {
            rendered_release(packing->rendered);
            packing->rendered = NULL;
            return false;
        }
    }
    packing->waiting[packing->waiting_count++] = exchange;
    return true;
}

void front_views_stop(struct front *front)
{
    if (front->packing.rendered != NULL)
        pthread_join(front->packing.thread, NULL);
}

/* --- Answers --- */

static void answer_with(struct front *front, struct http_exchange *exchange, enum view view)
{
    struct front_view *kept = &front->views[view];
    const struct http_head *head = http_exchange_head(exchange);
    size_t bytes = http_shared_text(kept->rendered->body).bytes;
    if (front_client_has_it(head, kept->rendered->etag)) {
        front_answer(front, exchange, &(struct answer){.status = 304, .etag = kept->rendered->etag});
        return;
    }
    bool wants_packed = bytes >= PACK_BYTES_MIN && http_head_accepts_coding(head, "gzip");
    if (wants_packed && kept->packed == NULL) {
        if (bytes > PACK_HERE_BYTES_MAX && wait_for_packed(front, exchange, kept->rendered))
            return;
        if (bytes <= PACK_HERE_BYTES_MAX)
            kept->packed = rendered_pack(http_shared_text(kept->rendered->body)); /* without memory: as it is */
    }
    send_list(front, exchange, kept->rendered, wants_packed ? kept->packed : NULL);
}

static void keep(struct front *front, struct rendered *rendered)
{
    struct front_view *kept = &front->views[rendered->view];
    if (kept->rendered == rendered)
        return;
    rendered_release(kept->rendered);
    http_shared_release(kept->packed);
    kept->rendered = rendered_reference(rendered);
    kept->packed = NULL;
}

static void arrived(struct job *job)
{
    if (job->is_long) {
        front_answer_with_list(job->front, job->exchange, job->view);
        return;
    }
    if (job->rendered == NULL) {
        front_fail(job->front, job->exchange, ERROR_INTERNAL, "the list could not be rendered; try again");
        return;
    }
    keep(job->front, job->rendered);
    answer_with(job->front, job->exchange, job->view);
}

void front_handle_view(struct front *front, struct http_exchange *exchange, const struct api_route *route,
                       enum view view)
{
    const struct rendered *rendered = front->views[view].rendered;
    if (rendered != NULL && is_fresh(front, rendered)) {
        answer_with(front, exchange, view);
        return;
    }
    struct job *job = front_job(front, exchange, route);
    if (job == NULL)
        return;
    job->view = view;
    job->run = backend_run_view;
    job->arrived = arrived;
    front_submit(job);
}

void front_views_free(struct front *front)
{
    rendered_release(front->packing.rendered);
    http_shared_release(front->packing.packed);
    free(front->packing.waiting);
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        rendered_release(front->views[i].rendered);
        http_shared_release(front->views[i].packed);
    }
}
