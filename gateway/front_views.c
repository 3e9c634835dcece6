/* Lists: handed out as they are kept while the replica has not changed, asked of the backend
 * otherwise. */

#define _GNU_SOURCE /* memmem */
#include <string.h>

#include "common/clock.h"
#include "gateway/backend.h"
#include "gateway/front.h"

/* Shorter lists are not worth packing. */
#define PACK_BYTES_MIN 1024

static bool is_fresh(const struct front *front, const struct rendered *rendered)
{
    uint64_t version = atomic_load_explicit(&front->gateway->replica_version, memory_order_acquire);
    uint32_t lifetime_ms = view_lifetime_ms(rendered->view);
    return rendered->version == version &&
           (lifetime_ms == 0 || clock_monotonic_ms() - rendered->rendered_at_ms < lifetime_ms);
}

bool front_client_has_it(const struct http_head *head, const char *etag)
{
    struct http_text field = http_head_get(head, "if-none-match");
    if (field.data == NULL)
        return false;
    return http_text_equal(field, "*") || memmem(field.data, field.bytes, etag, strlen(etag)) != NULL;
}

static void answer_with(struct front *front, struct http_exchange *exchange, enum view view)
{
    struct front_view *kept = &front->views[view];
    const struct http_head *head = http_exchange_head(exchange);
    struct answer answer = {.status = 200, .shared = kept->rendered->body, .etag = kept->rendered->etag};
    if (front_client_has_it(head, kept->rendered->etag)) {
        answer.status = 304;
        answer.shared = NULL;
    } else if (http_head_has_token(head, "accept-encoding", "gzip") &&
               http_shared_text(kept->rendered->body).bytes >= PACK_BYTES_MIN) {
        if (kept->packed == NULL)
            kept->packed = rendered_pack(http_shared_text(kept->rendered->body));
        if (kept->packed != NULL) { /* without memory it goes out as it is */
            answer.shared = kept->packed;
            answer.packed = true;
        }
    }
    front_answer(front, exchange, &answer);
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
    for (size_t i = 0; i < VIEW_COUNT; i++) {
        rendered_release(front->views[i].rendered);
        http_shared_release(front->views[i].packed);
    }
}
