/* Where others reach this coordinator, when that stands in a file (--public-url-file; common/url_file.h). While it is
 * not there, or holds no URL, the last one holds. */

#include <string.h>

#include "common/http/target.h"
#include "common/log.h"
#include "common/url_file.h"
#include "gateway/backend.h"
#include "gateway/join.h"

static void look(struct backend *backend)
{
    const char *path = backend->gateway->settings.public_url_file;
    char url[sizeof backend->public_url];
    struct http_origin origin;
    if (url_file_read(path, url, sizeof url) == 0 || strcmp(url, backend->public_url) == 0)
        return;
    if (!http_origin_parse(http_text_of(url), &origin)) {
        if (!backend->public_url_is_wrong)
            log_error("the file with the public URL holds something else; the last URL still holds",
                      LOG_TEXT("path", path), LOG_TEXT("text", url));
        backend->public_url_is_wrong = true;
        return;
    }
    backend->public_url_is_wrong = false;
    strcpy(backend->public_url, url);
    log_info("this coordinator is reached elsewhere now", LOG_TEXT("url", url));
    if (backend->join != NULL)
        join_moved(backend);
    backend->replica.version++; /* lists name it */
    backend_publish(backend);
}

static void due(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    look(backend);
    rpc_loop_timer_start(backend->loop, timer, URL_FILE_INTERVAL_MS, due, backend);
}

void backend_url_start(struct backend *backend)
{
    struct gateway_settings *settings = &backend->gateway->settings;
    if (settings->public_url_file[0] == '\0')
        return;
    settings->public_url = backend->public_url;
    look(backend);
    rpc_loop_timer_start(backend->loop, &backend->url_timer, URL_FILE_INTERVAL_MS, due, backend);
}

void backend_url_stop(struct backend *backend)
{
    rpc_loop_timer_stop(backend->loop, &backend->url_timer);
}
