/* The lists of an edge proxy: what came of asking for one, and the files in which they are kept. See proxy.h.
 *
 * A file is written anew, flushed and renamed, so that there is always a whole one. That blocks this thread for as
 * long as the disk takes, every --poll-seconds: requests are relayed on other threads. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "gateway/front.h"
#include "gateway/proxy.h"
#include "gateway/proxy/kept_list.h"

/* Longer ones are not read: what a coordinator may answer is limited as well. */
#define FILE_BYTES_MAX (257 << 20)

/* --- Files --- */

/* False: there is no place for it. */
static bool path_of(const struct backend *backend, const struct proxy_list *list, const char *suffix, char *path,
                    size_t path_bytes)
{
    const char *folder = backend->gateway->settings.data_dir;
    char name[KEPT_LIST_NAME_BYTES];
    kept_list_name(list->id, name);
    return folder[0] != '\0' && (size_t)snprintf(path, path_bytes, "%s/%s%s", folder, name, suffix) < path_bytes;
}

/* Into `text`. False with errno. */
static bool read_whole(const char *path, struct buffer *text)
{
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    bool fine = fstat(descriptor, &status) == 0;
    if (fine && (!S_ISREG(status.st_mode) || status.st_size > FILE_BYTES_MAX)) {
        errno = EFBIG;
        fine = false;
    }
    while (fine) {
        char piece[65536];
        ssize_t bytes = read(descriptor, piece, sizeof piece);
        if (bytes == 0)
            break;
        if (bytes < 0 && errno == EINTR)
            continue;
        fine = bytes > 0;
        if (fine)
            buffer_append(text, piece, (size_t)bytes);
    }
    int reason = errno;
    (void)close(descriptor); /* it was only read */
    errno = reason;
    if (fine && buffer_failed(text)) {
        errno = ENOMEM;
        fine = false;
    }
    return fine;
}

static bool write_all(int descriptor, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(descriptor, data, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        data += written;
        bytes -= (size_t)written;
    }
    return true;
}

/* The whole file anew. False with errno. */
static bool replace_file(const char *path, const char *fresh, const struct buffer *head, const struct kept_list *list)
{
    int descriptor = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return false;
    bool fine = write_all(descriptor, head->data, head->bytes) && write_all(descriptor, list->body, list->body_bytes) &&
                fsync(descriptor) == 0;
    int reason = errno;
    fine = close(descriptor) == 0 && fine && rename(fresh, path) == 0;
    if (fine)
        return true;
    reason = reason != 0 ? reason : errno;
    (void)unlink(fresh); /* half of it helps nobody */
    errno = reason;
    return false;
}

static void keep(struct backend *backend, const struct proxy_list *list, const struct kept_list *kept)
{
    char path[4096], fresh[4096];
    struct buffer head = BUFFER_INIT;
    if (!path_of(backend, list, "", path, sizeof path) || !path_of(backend, list, ".new", fresh, sizeof fresh))
        return;
    kept_list_write_head(list->id, kept, &head);
    errno = 0;
    if (buffer_failed(&head) || !replace_file(path, fresh, &head, kept))
        log_error("cannot keep a list of workers; it is lost when this process ends. Make room there, or choose "
                  "another --data-dir",
                  LOG_TEXT("path", path), LOG_TEXT("reason", strerror(errno)));
    buffer_free(&head);
}

/* Reads the file of a list. False: there is none that can be used, which was logged. `text` is what it points into. */
static bool load(struct backend *backend, const struct proxy_list *list, struct buffer *text, struct kept_list *kept)
{
    char path[4096], problem[160];
    if (!path_of(backend, list, "", path, sizeof path))
        return false;
    if (!read_whole(path, text)) {
        if (errno != ENOENT)
            log_warning("a list of workers that was kept cannot be read; this proxy begins without it",
                        LOG_TEXT("path", path), LOG_TEXT("reason", strerror(errno)));
        return false;
    }
    if (kept_list_read(text->data == NULL ? "" : text->data, text->bytes, list->id, kept, problem, sizeof problem))
        return true;
    log_warning("a list of workers that was kept is broken; this proxy begins without it", LOG_TEXT("path", path),
                LOG_TEXT("reason", problem));
    return false;
}

/* Its file says from when it is, too. */
static void keep_as_of(struct backend *backend, const struct proxy_list *list, int64_t as_of_ms)
{
    struct buffer text = BUFFER_INIT;
    struct kept_list kept;
    if (load(backend, list, &text, &kept)) {
        kept.as_of_ms = as_of_ms;
        keep(backend, list, &kept);
    }
    buffer_free(&text);
}

/* --- How old they are --- */

/* To the fronts: the oldest one counts. */
static void publish_age(struct backend *backend)
{
    const struct proxy *proxy = backend->proxy;
    int64_t born_ms = LIST_UNBORN;
    for (size_t i = 0; i < proxy->list_count; i++) {
        const struct proxy_list *list = &proxy->lists[i];
        if (list->is_there && (born_ms == LIST_UNBORN || list->born_ms < born_ms))
            born_ms = list->born_ms;
    }
    atomic_store_explicit(&backend->gateway->list_born_ms, born_ms, memory_order_relaxed);
    if (born_ms != LIST_UNBORN && !backend->proxy->was_ready) {
        backend->proxy->was_ready = true;
        backend->all_heard(backend->gateway);
    }
}

/* --- What came --- */

static void take_catalog(struct proxy *proxy, struct proxy_list *list)
{
    const struct buffer *text = &proxy->catalog_text;
    arena_free(&list->catalog_arena);
    arena_init(&list->catalog_arena, NULL, 0);
    list->catalog = text->bytes == 0 ? NULL : listed_catalog_read(text->data, text->bytes, &list->catalog_arena);
}

const char *proxy_etag(struct backend *backend, const struct federation_region *region)
{
    const struct proxy_list *list = proxy_list_of(backend->proxy, region->id);
    /* What it lists beside another coordinator is lost when that one lists it no more: it has to be read whole. */
    bool is_shared = region->passed_over > 0;
    return list == NULL || !list->is_there || is_shared || list->etag[0] == '\0' ? NULL : list->etag;
}

/* A worker has left the fleet that another list may have as well. */
static void hurry_shared(struct backend *backend, const struct federation_region *but)
{
    struct proxy *proxy = backend->proxy;
    struct federation *federation = &backend->edge->federation;
    bool has_left = proxy->released != federation->released;
    proxy->released = federation->released;
    for (size_t i = 0; has_left && i < proxy->list_count; i++) {
        struct federation_region *region = federation_find(federation, proxy->lists[i].id);
        if (region == NULL || region == but || region->passed_over == 0)
            continue;
        polling_hurry(&proxy->lists[i].polling);
        region->ask_at_ms = proxy->lists[i].polling.next_ms;
    }
}

void proxy_list_asked(struct backend *backend, struct federation_region *region)
{
    struct proxy_list *list = proxy_list_of(backend->proxy, region->id);
    polling_asked(&list->polling, rpc_loop_now_ms(backend->loop));
    region->ask_at_ms = list->polling.next_ms;
}

void proxy_list_read(struct backend *backend, struct federation_region *region, const struct http_call *call)
{
    struct proxy_list *list = proxy_list_of(backend->proxy, region->id);
    struct kept_list kept = {
        .as_of_ms = region->as_of_ms, .body = call->response.data, .body_bytes = call->response.bytes};
    list->is_there = true;
    list->born_ms = (int64_t)list->polling.asked_ms;
    list->read++;
    snprintf(list->etag, sizeof list->etag, "%s", call->etag);
    memcpy(kept.etag, list->etag, sizeof kept.etag);
    take_catalog(backend->proxy, list);
    hurry_shared(backend, region);
    keep(backend, list, &kept);
    log_debug("a list of workers was read", LOG_TEXT("coordinator", list->id),
              LOG_UINT("workers", region->worker_count));
}

void proxy_list_unchanged(struct backend *backend, struct federation_region *region)
{
    struct proxy_list *list = proxy_list_of(backend->proxy, region->id);
    list->born_ms = (int64_t)list->polling.asked_ms;
    list->unchanged++;
    keep_as_of(backend, list, region->as_of_ms);
}

void proxy_list_answered(struct backend *backend, struct federation_region *region)
{
    struct proxy_list *list = proxy_list_of(backend->proxy, region->id);
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    double chance = random_unit(&backend->edge->federation.random);
    if (backend->edge->calls == NULL)
        return; /* the process stops, which is no failure of the coordinator's */
    bool is_well = region->problem[0] == '\0' && !region->standing.out;
    if (is_well) {
        polling_answered(&list->polling, chance, now_ms);
    } else {
        polling_failed(&list->polling, chance, now_ms);
        list->failed += region->problem[0] != '\0' ? 1 : 0;
    }
    region->ask_at_ms = list->polling.next_ms;
    publish_age(backend);
    proxy_route(backend);
}

/* --- The start --- */

static void load_one(struct backend *backend, struct proxy_list *list)
{
    struct buffer text = BUFFER_INIT;
    struct kept_list kept;
    struct federation *federation = &backend->edge->federation;
    struct federation_region *region = federation_find(federation, list->id);
    int64_t age_ms;
    if (load(backend, list, &text, &kept) && federation_read_list(federation, region, kept.body, kept.body_bytes,
                                                                  kept.as_of_ms, rpc_loop_now_ms(backend->loop))) {
        age_ms = clock_unix_ms() - kept.as_of_ms;
        list->is_there = true;
        list->born_ms = (int64_t)rpc_loop_now_ms(backend->loop) - (age_ms > 0 ? age_ms : 0);
        snprintf(list->etag, sizeof list->etag, "%s", kept.etag);
        take_catalog(backend->proxy, list);
        log_info("goes on with a list of workers that was kept", LOG_TEXT("coordinator", list->id),
                 LOG_UINT("workers", region->worker_count),
                 LOG_UINT("age_s", (uint64_t)(age_ms > 0 ? age_ms : 0) / 1000));
    }
    buffer_free(&text);
}

/* The fronts are there now, which were not while the lists were loaded. */
static void begin(void *argument)
{
    struct backend *backend = argument;
    for (unsigned i = 0; i < backend->gateway->front_count; i++)
        front_set_table(backend->gateway->fronts[i], pick_table_reference(backend->table));
    publish_age(backend);
}

void proxy_lists_load(struct backend *backend)
{
    struct proxy *proxy = backend->proxy;
    const char *folder = backend->gateway->settings.data_dir;
    if (folder[0] != '\0' && mkdir(folder, 0755) != 0 && errno != EEXIST)
        log_error("cannot create the data directory; lists of workers are not kept. Choose another --data-dir",
                  LOG_TEXT("path", folder), LOG_TEXT("reason", strerror(errno)));
    for (size_t i = 0; i < proxy->list_count; i++)
        load_one(backend, &proxy->lists[i]);
    proxy_route(backend);
    rpc_loop_post(backend->loop, begin, backend);
}

/* --- How it is --- */

bool proxy_is_degraded(const struct backend *backend)
{
    const struct proxy *proxy = backend->proxy;
    for (size_t i = 0; i < proxy->list_count; i++) {
        const struct federation_region *region = federation_find(&backend->edge->federation, proxy->lists[i].id);
        if (!proxy->lists[i].is_there || region == NULL || region->problem[0] != '\0')
            return true;
    }
    return false;
}

static void write_age(struct json_writer *writer, int64_t born_ms, bool is_there)
{
    int64_t age_ms = (int64_t)clock_monotonic_ms() - born_ms;
    json_write_key(writer, "age_seconds");
    if (is_there)
        json_write_double(writer, (double)(age_ms > 0 ? age_ms : 0) / 1000);
    else
        json_write_null(writer);
}

static void write_list(struct backend *backend, const struct proxy_list *list, struct json_writer *writer)
{
    const struct federation_region *region = federation_find(&backend->edge->federation, list->id);
    uint64_t now_ms = rpc_loop_now_ms(backend->loop), next_ms = list->polling.next_ms;
    json_write_object_begin(writer);
    json_write_named_text(writer, "coordinator", list->id);
    json_write_named_text(writer, "status", region->problem[0] == '\0' ? "online" : "unreachable");
    json_write_key(writer, "as_of");
    json_write_time(writer, region->as_of_ms);
    write_age(writer, list->born_ms, list->is_there);
    json_write_named_uint(writer, "workers", region->worker_count);
    if (region->problem[0] != '\0')
        json_write_named_text(writer, "problem", region->problem);
    json_write_named_double(writer, "next_poll_seconds",
                            next_ms == UINT64_MAX || next_ms < now_ms ? 0 : (double)(next_ms - now_ms) / 1000);
    json_write_object_end(writer);
}

void proxy_write_health(struct backend *backend, struct json_writer *writer)
{
    const struct proxy *proxy = backend->proxy;
    int64_t born_ms = atomic_load_explicit(&backend->gateway->list_born_ms, memory_order_relaxed);
    json_write_named_uint(writer, "coordinators", edge_pool_size(backend));
    json_write_named_text(writer, "message",
                          born_ms == LIST_UNBORN ? "Edge proxy without a list of workers" : "Edge proxy operational");
    write_age(writer, born_ms == LIST_UNBORN ? 0 : born_ms, born_ms != LIST_UNBORN);
    json_write_key(writer, "lists");
    json_write_array_begin(writer);
    for (size_t i = 0; i < proxy->list_count; i++)
        write_list(backend, &proxy->lists[i], writer);
    json_write_array_end(writer);
}

void proxy_render_metrics(const struct backend *backend, struct buffer *out)
{
    const struct proxy *proxy = backend->proxy;
    buffer_append_text(out, "# HELP gateway_list_age_seconds How old the list of a coordinator's workers is.\n"
                            "# TYPE gateway_list_age_seconds gauge\n");
    for (size_t i = 0; i < proxy->list_count; i++) {
        const struct proxy_list *list = &proxy->lists[i];
        int64_t age_ms = (int64_t)clock_monotonic_ms() - list->born_ms;
        if (list->is_there)
            buffer_append_format(out, "gateway_list_age_seconds{coordinator=\"%s\"} %.3f\n", list->id,
                                 (double)(age_ms > 0 ? age_ms : 0) / 1000);
    }
    buffer_append_text(out, "# HELP gateway_list_polls_total Requests for a list of workers, by what came of them.\n"
                            "# TYPE gateway_list_polls_total counter\n");
    for (size_t i = 0; i < proxy->list_count; i++) {
        const struct proxy_list *list = &proxy->lists[i];
        const struct {
            const char *result;
            uint64_t count;
        } results[] = {{"read", list->read}, {"unchanged", list->unchanged}, {"failed", list->failed}};
        for (size_t j = 0; j < sizeof results / sizeof results[0]; j++)
            buffer_append_format(out, "gateway_list_polls_total{coordinator=\"%s\",result=\"%s\"} %llu\n", list->id,
                                 results[j].result, (unsigned long long)results[j].count);
    }
}
