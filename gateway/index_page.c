/* See index_page.h. */

#include "gateway/index_page.h"

#include <string.h>

#include "gateway/api.h"
#include "gateway/views.h"
#include "gateway/worker_json.h"

static void append_escaped(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            buffer_append_text(out, "&lt;");
            break;
        case '&':
            buffer_append_text(out, "&amp;");
            break;
        case '"':
            buffer_append_text(out, "&quot;");
            break;
        default:
            buffer_append_char(out, *text);
        }
    }
}

static void append_cell(struct buffer *out, const char *text)
{
    buffer_append_text(out, "<td>");
    append_escaped(out, text);
    buffer_append_text(out, "</td>");
}

/* --- The fleet --- */

static void append_troubles(const struct index_page *page, struct buffer *out)
{
    for (size_t i = 0; i < page->failed_count; i++)
        buffer_append_format(out, "%s%s", i == 0 ? "<p class=\"bad\">These processes cannot be reached: " : ", ",
                             page->failed[i]);
    if (page->failed_count > 0)
        buffer_append_text(out, ".</p>\n");
    if (page->warning[0] != '\0') {
        buffer_append_text(out, "<p class=\"bad\">");
        append_escaped(out, page->warning);
        buffer_append_text(out, "</p>\n");
    }
}

static void append_counts(const struct replica *replica, struct buffer *out)
{
    struct view_counts counts;
    view_count(replica, &counts);
    buffer_append_format(out,
                         "<p>%zu workers, %zu of them healthy: %zu with a GPU, %zu with a CPU, %zu for storage, %zu at "
                         "the edge. %zu services have somebody.</p>\n",
                         counts.total, counts.healthy, counts.by_type[MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU],
                         counts.by_type[MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU],
                         counts.by_type[MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE],
                         counts.by_type[MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE], counts.services);
}

/* Services of the catalog that nobody runs. */
static void append_gaps(const struct replica *replica, struct buffer *out)
{
    size_t gaps = 0;
    for (size_t i = 0; replica->catalog != NULL && i < replica->catalog->n_services; i++) {
        const char *name = replica->catalog->services[i]->name;
        const struct replica_service *service = map_get_text(&replica->services, name);
        if (service != NULL && service->healthy_count > 0)
            continue;
        buffer_append_text(out, gaps++ == 0 ? "<p>Nobody runs " : ", ");
        append_escaped(out, name);
    }
    if (gaps > 0)
        buffer_append_text(out, ".</p>\n");
}

static void append_worker(const struct replica_worker *worker, struct buffer *out)
{
    buffer_append_text(out, "<tr>");
    append_cell(out, worker->id);
    append_cell(out, worker_type_word(worker->record->type));
    append_cell(out, worker_status_word(replica_status(worker)));
    append_cell(out, replica_status_reason(worker));
    buffer_append_text(out, "</tr>\n");
}

static void append_unwell(const struct replica *replica, struct buffer *out)
{
    size_t count = 0;
    for (size_t i = 0; i < replica->worker_count; i++) {
        const struct replica_worker *worker = replica->workers[i];
        if (replica_status(worker) == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE)
            continue;
        if (count++ == 0)
            buffer_append_text(out, "<h2>Workers to look at</h2>\n<table>\n");
        if (count <= INDEX_PAGE_WORKERS_MAX)
            append_worker(worker, out);
    }
    if (count > 0)
        buffer_append_text(out, "</table>\n");
    if (count > INDEX_PAGE_WORKERS_MAX)
        buffer_append_format(out, "<p>… and %zu more.</p>\n", count - INDEX_PAGE_WORKERS_MAX);
}

/* --- The contract --- */

/* A browser can follow it: it reads, and needs no parameter. */
static bool is_link(const struct api_route *route)
{
    for (const struct schema_field *field = route->query; field != NULL && field->name != NULL; field++) {
        if ((field->flags & SCHEMA_REQUIRED) != 0)
            return false;
    }
    return strcmp(route->method, "GET") == 0 && strchr(route->path, '{') == NULL && route->reply_status == 0;
}

static void append_route(const struct api_route *route, struct buffer *out)
{
    buffer_append_text(out, "<tr>");
    append_cell(out, strcmp(route->method, "*") == 0 ? "ANY" : route->method);
    if (is_link(route))
        buffer_append_format(out, "<td><a href=\"%s\">%s</a></td>", route->path, route->path);
    else
        append_cell(out, route->path);
    append_cell(out, route->help);
    buffer_append_text(out, "</tr>\n");
}

void index_page_render(const struct index_page *page, const struct replica *replica, struct buffer *out)
{
    buffer_append_text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                            "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Muster</title>\n"
                            "<link rel=\"icon\" href=\"data:,\">\n"
                            "<style>body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
                            "td{padding:.2em 1em .2em 0;vertical-align:top}.bad{color:#b00020}</style>\n"
                            "</head>\n<body>\n<h1>Muster: ");
    append_escaped(out, page->coordinator_id);
    buffer_append_text(out, "</h1>\n");
    if (page->role == API_EDGE_ROUTER)
        buffer_append_text(out,
                           "<p>An edge router: the public address of coordinators. This is how the workers of all "
                           "of them are; <a href=\"/api/admin/coordinators\">the coordinators themselves</a>.</p>\n");
    if (page->role == API_EDGE_PROXY)
        buffer_append_text(out, "<p>An edge proxy: it sends requests to workers by the lists of coordinators. "
                                "<a href=\"/health\">How old these are, and how the coordinators are</a>.</p>\n");
    if (page->closed) {
        buffer_append_text(out, "<p>How the fleet is, this coordinator says to those who have a key: "
                                "<code>musterctl workers</code>, <code>musterctl gaps</code>.</p>\n");
    } else {
        append_troubles(page, out);
        append_counts(replica, out);
        append_gaps(replica, out);
        append_unwell(replica, out);
    }
    buffer_append_text(out, "<h2>What can be asked</h2>\n<table>\n");
    for (size_t i = 0; i < API_OPERATION_COUNT; i++) {
        if (api_has(page->role, &api_routes()[i]))
            append_route(&api_routes()[i], out);
    }
    buffer_append_text(out, "</table>\n</body>\n</html>\n");
}
