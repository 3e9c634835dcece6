/* Where others reach this coordinator, when that is not known beforehand: it stands in a file (--public-url-file),
 * which whoever keeps its tunnel replaces when the URL is another one (muster-tunnel; or any program of the
 * operator's). The file is small and is read twice a second. While it is not there, or holds no URL, the last one
 * holds. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/http/target.h"
#include "common/log.h"
#include "gateway/backend.h"
#include "gateway/join.h"

#define INTERVAL_MS 500

/* The file's first line into `url`; its length, 0: there is none, or it is too long. */
static size_t read_line(const char *path, char *url, size_t url_bytes)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return 0;
    ssize_t bytes = read(descriptor, url, url_bytes - 1);
    (void)close(descriptor); /* nothing was written to it */
    url[bytes > 0 ? bytes : 0] = '\0';
    size_t length = strcspn(url, "\r\n");
    url[length] = '\0';
    return length < url_bytes - 1 ? length : 0;
}

static void look(struct backend *backend)
{
    const char *path = backend->gateway->settings.public_url_file;
    char url[sizeof backend->public_url];
    struct http_origin origin;
    size_t length = read_line(path, url, sizeof url);
    while (length > 0 && url[length - 1] == '/')
        url[--length] = '\0';
    if (length == 0 || strcmp(url, backend->public_url) == 0)
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
    rpc_loop_timer_start(backend->loop, timer, INTERVAL_MS, due, backend);
}

void backend_url_start(struct backend *backend)
{
    struct gateway_settings *settings = &backend->gateway->settings;
    if (settings->public_url_file[0] == '\0')
        return;
    settings->public_url = backend->public_url;
    look(backend);
    rpc_loop_timer_start(backend->loop, &backend->url_timer, INTERVAL_MS, due, backend);
}

void backend_url_stop(struct backend *backend)
{
    rpc_loop_timer_stop(backend->loop, &backend->url_timer);
}
