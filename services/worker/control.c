#define _GNU_SOURCE
#include "services/worker/control.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/buffer.h"

#define ANSWER_LIMIT_BYTES (1024 * 1024)
#define CONNECTIONS_KEPT 4L
#define RETRY_AFTER_MAX_SECONDS 86400

struct control {
    struct loop *loop;
    CURLM *multi;
    char *ca_file;
    struct timer timer;
    struct control_call *calls; /* all that are under way */
};

struct control_call {
    struct control *control;
    struct control_call *next, *previous;
    CURL *easy;
    struct curl_slist *headers;
    struct buffer body;
    char error[CURL_ERROR_SIZE];
    void (*answered)(void *context, const struct control_answer *answer);
    void (*connected)(void *context, int descriptor, const char *error);
    void *context;
};

/* One of libcurl's sockets. */
struct control_socket {
    struct loop_watch watch;
    struct loop_reapable reapable;
    struct control *control;
    curl_socket_t descriptor;
};

/* ---- calls ---- */

static void free_call(struct control_call *call)
{
    struct control *control = call->control;
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        control->calls = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    /* Neither can fail for a handle that was added. */
    (void)curl_multi_remove_handle(control->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    buffer_free(&call->body);
    free(call);
}

void control_cancel(struct control_call *call)
{
    free_call(call);
}

static const char *text_info(CURL *easy, CURLINFO info)
{
    char *text = NULL;
    return curl_easy_getinfo(easy, info, &text) == CURLE_OK && text != NULL ? text : "";
}

static double connect_ms(CURL *easy)
{
    /* Microseconds since the start. A connection that was used again has neither. */
    curl_off_t named = 0, connected = 0;
    if (curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &named) != CURLE_OK ||
        curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected) != CURLE_OK || connected <= named)
        return 0;
    return (double)(connected - named) / 1000;
}

static uint64_t retry_after_ms(CURL *easy)
{
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
        return 0;
    return seconds > RETRY_AFTER_MAX_SECONDS ? RETRY_AFTER_MAX_SECONDS * 1000 : (uint64_t)seconds * 1000;
}

static void report_answer(struct control_call *call, const char *error)
{
    long status = 0;
    if (error == NULL && curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
        status = 0;
    struct control_answer answer = {
        .status = (unsigned)status,
        .error = error != NULL ? error : "",
        .body = call->body.data != NULL ? call->body.data : "",
        .body_bytes = call->body.bytes,
        .retry_after_ms = retry_after_ms(call->easy),
        .connect_ms = connect_ms(call->easy),
        .peer_address = text_info(call->easy, CURLINFO_PRIMARY_IP),
        .local_address = text_info(call->easy, CURLINFO_LOCAL_IP),
    };
    call->answered(call->context, &answer);
}

static void report_connection(struct control_call *call, const char *error)
{
    curl_socket_t owned = CURL_SOCKET_BAD;
    if (error == NULL && curl_easy_getinfo(call->easy, CURLINFO_ACTIVESOCKET, &owned) != CURLE_OK)
        owned = CURL_SOCKET_BAD;
    /* libcurl closes its own descriptor with the handle; ours goes on. */
    int descriptor = owned != CURL_SOCKET_BAD ? fcntl(owned, F_DUPFD_CLOEXEC, 0) : -1;
    if (descriptor < 0 && error == NULL)
        error = strerror(errno);
    call->connected(call->context, descriptor, error);
}

/* Reports the calls that have ended. */
static void finish_calls(struct control *control)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(control->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode result = message->data.result;
        struct control_call *call = NULL;
        if (curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call) != CURLE_OK || call == NULL)
            continue;
        const char *error = NULL;
        if (result != CURLE_OK)
            error = call->error[0] != '\0' ? call->error : curl_easy_strerror(result);
        if (call->connected != NULL)
            report_connection(call, error);
        else
            report_answer(call, error);
        free_call(call);
    }
}

/* ---- libcurl on our loop ---- */

static void act(struct control *control, curl_socket_t descriptor, int what)
{
    int running;
    /* Fails for descriptors that libcurl has dropped in the meantime, which is no matter. */
    (void)curl_multi_socket_action(control->multi, descriptor, what, &running);
    finish_calls(control);
}

static void free_socket(struct loop_reapable *object)
{
    free((char *)object - offsetof(struct control_socket, reapable));
}

static void socket_ready(struct loop_watch *watch, uint32_t events);

/* libcurl expects to be told of a state for as long as it lasts, our loop tells changes
 * only. Adding a watch anew makes the loop tell the state once more. */
static bool rearm(struct control_socket *owned)
{
    struct loop *loop = owned->control->loop;
    loop_watch_remove(loop, &owned->watch);
    return loop_watch_add(loop, &owned->watch, owned->descriptor, socket_ready);
}

static void socket_ready(struct loop_watch *watch, uint32_t events)
{
    struct control_socket *owned = (struct control_socket *)watch;
    struct control *control = owned->control;
    int what = 0;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0)
        what |= CURL_CSELECT_IN;
    if ((events & EPOLLOUT) != 0)
        what |= CURL_CSELECT_OUT;
    if ((events & EPOLLERR) != 0)
        what |= CURL_CSELECT_ERR;
    curl_socket_t descriptor = owned->descriptor;
    act(control, descriptor, what);
    /* Still there, and with more to read? */
    if (owned->watch.descriptor >= 0 && (what & CURL_CSELECT_IN) != 0 && (events & (EPOLLRDHUP | EPOLLHUP)) == 0)
        (void)rearm(owned);
}

static int socket_changed(CURL *easy, curl_socket_t descriptor, int what, void *user, void *socket_user)
{
    (void)easy;
    struct control *control = user;
    struct control_socket *owned = socket_user;
    if (what == CURL_POLL_REMOVE) {
        if (owned != NULL) {
            loop_watch_remove(control->loop, &owned->watch);
            loop_reap(control->loop, &owned->reapable, free_socket);
        }
        return 0;
    }
    if (owned == NULL) {
        owned = calloc(1, sizeof *owned);
        if (owned == NULL)
            return -1;
        owned->watch = (struct loop_watch)LOOP_WATCH_INIT;
        owned->control = control;
        owned->descriptor = descriptor;
        if (curl_multi_assign(control->multi, descriptor, owned) != CURLM_OK) {
            free(owned);
            return -1;
        }
    }
    return rearm(owned) ? 0 : -1;
}

static void timer_expired(struct timer *timer, void *argument)
{
    (void)timer;
    act(argument, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_changed(CURLM *multi, long delay_ms, void *user)
{
    (void)multi;
    struct control *control = user;
    if (delay_ms < 0)
        loop_timer_stop(control->loop, &control->timer);
    else
        loop_timer_start(control->loop, &control->timer, (uint64_t)delay_ms, timer_expired, control);
    return 0;
}

struct control *control_create(struct loop *loop, const char *ca_file)
{
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL)
        return NULL;
    control->loop = loop;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(control);
        return NULL;
    }
    control->ca_file = strdup(ca_file);
    control->multi = curl_multi_init();
    if (control->ca_file == NULL || control->multi == NULL ||
        curl_multi_setopt(control->multi, CURLMOPT_SOCKETFUNCTION, socket_changed) != CURLM_OK ||
        curl_multi_setopt(control->multi, CURLMOPT_SOCKETDATA, control) != CURLM_OK ||
        curl_multi_setopt(control->multi, CURLMOPT_TIMERFUNCTION, timer_changed) != CURLM_OK ||
        curl_multi_setopt(control->multi, CURLMOPT_TIMERDATA, control) != CURLM_OK ||
        curl_multi_setopt(control->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT) != CURLM_OK) {
        control_destroy(control);
        return NULL;
    }
    return control;
}

void control_destroy(struct control *control)
{
    if (control == NULL)
        return;
    while (control->calls != NULL)
        free_call(control->calls);
    if (control->multi != NULL)
        (void)curl_multi_cleanup(control->multi);
    loop_timer_stop(control->loop, &control->timer);
    curl_global_cleanup();
    free(control->ca_file);
    free(control);
}

/* ---- starting calls ---- */

static size_t take_body(char *data, size_t size, size_t count, void *user)
{
    struct control_call *call = user;
    size_t bytes = size * count;
    if (call->body.bytes + bytes > ANSWER_LIMIT_BYTES)
        return 0; /* libcurl gives up */
    buffer_append(&call->body, data, bytes);
    return buffer_failed(&call->body) ? 0 : bytes;
}

static struct control_call *create_call(struct control *control, void *context)
{
    struct control_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->control = control;
    call->context = context;
    call->easy = curl_easy_init();
    if (call->easy == NULL) {
        free(call);
        return NULL;
    }
    call->next = control->calls;
    if (call->next != NULL)
        call->next->previous = call;
    control->calls = call;
    return call;
}

static bool set_common(struct control_call *call, const char *url, unsigned timeout_ms)
{
    CURL *easy = call->easy;
    return curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK;
}

/* False: memory ran out. */
static bool add_header(struct control_call *call, const char *name, const char *value)
{
    struct buffer line = BUFFER_INIT;
    buffer_append_format(&line, "%s: %s", name, value);
    struct curl_slist *longer = buffer_failed(&line) ? NULL : curl_slist_append(call->headers, line.data);
    buffer_free(&line);
    if (longer == NULL)
        return false;
    call->headers = longer;
    return curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK;
}

static bool set_request(struct control_call *call, const struct control_request *request)
{
    CURL *easy = call->easy;
    if (request->body != NULL) {
        if (!add_header(call, "Content-Type", "application/json") ||
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes) != CURLE_OK ||
            curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body) != CURLE_OK)
            return false;
    }
    if (request->credential != NULL && request->credential[0] != '\0') {
        struct buffer value = BUFFER_INIT;
        buffer_append_format(&value, "Bearer %s", request->credential);
        bool added = !buffer_failed(&value) && add_header(call, "Authorization", value.data);
        buffer_free(&value);
        if (!added)
            return false;
    }
    if (call->control->ca_file[0] != '\0' && curl_easy_setopt(easy, CURLOPT_CAINFO, call->control->ca_file) != CURLE_OK)
        return false;
    return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, "muster-worker") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK;
}

/* Hands the call to libcurl, which begins with it on the loop's next turn. */
static struct control_call *start(struct control_call *call, bool complete)
{
    if (complete && curl_multi_add_handle(call->control->multi, call->easy) == CURLM_OK)
        return call;
    free_call(call);
    return NULL;
}

struct control_call *control_send(struct control *control, const struct control_request *request,
                                  void (*answered)(void *context, const struct control_answer *answer), void *context)
{
    struct control_call *call = create_call(control, context);
    if (call == NULL)
        return NULL;
    call->answered = answered;
    return start(call, set_common(call, request->url, request->timeout_ms) && set_request(call, request));
}

struct control_call *control_connect(struct control *control, const char *address, unsigned timeout_ms,
                                     void (*connected)(void *context, int descriptor, const char *error), void *context)
{
    struct control_call *call = create_call(control, context);
    if (call == NULL)
        return NULL;
    call->connected = connected;
    struct buffer url = BUFFER_INIT;
    buffer_append_format(&url, "http://%s/", address);
    bool complete = !buffer_failed(&url) && set_common(call, url.data, timeout_ms) &&
                    curl_easy_setopt(call->easy, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK &&
                    curl_easy_setopt(call->easy, CURLOPT_PROXY, "") == CURLE_OK;
    buffer_free(&url);
    return start(call, complete);
}
