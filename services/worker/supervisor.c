#include "services/worker/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/process/child.h"

#define LOOK_MS 5000u       /* between looks at a server that is there */
#define LOOK_AGAIN_MS 1000u /* at one that is not */
#define LOOK_TIMEOUT_MS 3000u
#define FINISH_LOOK_MS 100u /* between looks whether the last request is over */
#define STOP_GRACE_MS 5000u

/* A service that is looked after. */
struct post {
    struct supervisor *supervisor;
    struct service *service;
    const char *command;          /* of SERVICE_COMMAND */
    struct child *child;          /* the same; on demand: NULL while it does not run */
    struct timer timer;           /* of SERVICE_URL, and on demand */
    struct control_call *looking; /* of SERVICE_URL */
    bool wanted;                  /* on demand */
    uint64_t unwanted_at_ms;      /* the same */
};

struct supervisor {
    struct loop *loop;
    struct control *control;
    struct random *random;
    const struct supervisor_calls *calls;
    void *context;
    const char *url; /* of this worker; NULL: not known */
    struct post posts[SERVICE_TABLE_MAX];
    size_t count;
    bool stopping;
    struct timer stopped; /* reports it */
};

static void look(struct timer *timer, void *argument);

static void set_state(struct post *post, enum service_state state)
{
    if (post->service->state == state)
        return;
    post->service->state = state;
    post->supervisor->calls->changed(post->supervisor->context, post->service);
}

/* ---- servers at URLs ---- */

static void looked(void *context, int descriptor, const char *error)
{
    struct post *post = context;
    post->looking = NULL;
    bool there = descriptor >= 0;
    if (there)
        close(descriptor);
    else if (post->service->state != SERVICE_FAILED)
        log_warning("service does not answer", LOG_TEXT("service", post->service->name),
                    LOG_TEXT("origin", post->service->origin.key), LOG_TEXT("error", error));
    loop_timer_start(post->supervisor->loop, &post->timer, there ? LOOK_MS : LOOK_AGAIN_MS, look, post);
    set_state(post, there ? SERVICE_RUNNING : SERVICE_FAILED);
}

static void look(struct timer *timer, void *argument)
{
    (void)timer;
    struct post *post = argument;
    const struct http_origin *origin = &post->service->origin;
    char address[HTTP_ORIGIN_HOST_BYTES + 16];
    bool literal6 = strchr(origin->host, ':') != NULL;
    snprintf(address, sizeof address, "%s%s%s:%u", literal6 ? "[" : "", origin->host, literal6 ? "]" : "",
             origin->port);
    post->looking = control_connect(post->supervisor->control, address, LOOK_TIMEOUT_MS, looked, post);
    if (post->looking == NULL)
        loop_timer_start(post->supervisor->loop, &post->timer, LOOK_AGAIN_MS, look, post);
}

void supervisor_doubt(struct supervisor *supervisor, const struct service *service)
{
    for (size_t i = 0; i < supervisor->count; i++) {
        struct post *post = &supervisor->posts[i];
        if (post->service == service && service->kind == SERVICE_URL && post->looking == NULL && !supervisor->stopping)
            loop_timer_start(supervisor->loop, &post->timer, 0, look, post);
    }
}

/* ---- commands ---- */

static void report_stopped(struct timer *timer, void *argument)
{
    (void)timer;
    struct supervisor *supervisor = argument;
    supervisor->calls->stopped(supervisor->context);
}

static void report_if_stopped(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->posts[i].child != NULL && supervisor->posts[i].service->state != SERVICE_STOPPED)
            return;
    loop_timer_start(supervisor->loop, &supervisor->stopped, 0, report_stopped, supervisor);
}

static void settle(struct timer *timer, void *argument);

static void child_changed(void *context, enum child_state child, uint16_t port)
{
    static const enum service_state states[] = {[CHILD_STARTING] = SERVICE_STARTING,
                                                [CHILD_RUNNING] = SERVICE_RUNNING,
                                                [CHILD_FAILED] = SERVICE_FAILED,
                                                [CHILD_STOPPED] = SERVICE_STOPPED};
    struct post *post = context;
    enum service_state state = states[child];
    char url[40];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    /* It is well formed. */
    (void)http_origin_parse(http_text_of(url), &post->service->origin);
    set_state(post, state);
    if (post->supervisor->stopping)
        report_if_stopped(post->supervisor);
    else if (state == SERVICE_STOPPED)
        loop_timer_start(post->supervisor->loop, &post->timer, 0, settle, post);
}

static bool start_command(struct post *post)
{
    struct supervisor *supervisor = post->supervisor;
    struct child_config config = {
        .loop = supervisor->loop,
        .random = supervisor->random,
        .name = post->service->name,
        .command = post->command,
        .url = supervisor->url,
        .changed = child_changed,
        .context = post,
    };
    post->child = child_create(&config);
    return post->child != NULL;
}

/* ---- services on demand ---- */

static void start_wanted(struct post *post)
{
    log_info("service is wanted", LOG_TEXT("service", post->service->name));
    if (start_command(post)) {
        set_state(post, SERVICE_STARTING);
        return;
    }
    log_error("out of memory, trying again", LOG_TEXT("service", post->service->name));
    loop_timer_start(post->supervisor->loop, &post->timer, LOOK_AGAIN_MS, settle, post);
}

/* It has stopped, or could not be started. */
static void settle(struct timer *timer, void *argument)
{
    struct post *post = argument;
    (void)timer;
    child_destroy(post->child);
    post->child = NULL;
    if (post->wanted)
        start_wanted(post);
}

static void stop_when_over(struct timer *timer, void *argument)
{
    struct post *post = argument;
    struct loop *loop = post->supervisor->loop;
    if (post->service->active > 0 && loop_now_ms(loop) - post->unwanted_at_ms < SUPERVISOR_FINISH_MS) {
        loop_timer_start(loop, timer, FINISH_LOOK_MS, stop_when_over, post);
        return;
    }
    log_info("service is not wanted any more", LOG_TEXT("service", post->service->name));
    child_stop(post->child, STOP_GRACE_MS);
}

void supervisor_want(struct supervisor *supervisor, const struct service *service, bool wanted)
{
    size_t i = 0;
    while (i < supervisor->count && supervisor->posts[i].service != service)
        i++;
    if (i == supervisor->count || supervisor->stopping || supervisor->posts[i].wanted == wanted)
        return;
    struct post *post = &supervisor->posts[i];
    post->wanted = wanted;
    if (!wanted && post->child != NULL) {
        post->unwanted_at_ms = loop_now_ms(supervisor->loop);
        loop_timer_start(supervisor->loop, &post->timer, SUPERVISOR_LINGER_MS, stop_when_over, post);
    } else if (wanted && post->child == NULL) {
        start_wanted(post);
    } else if (wanted && !child_is_stopping(post->child)) {
        loop_timer_stop(supervisor->loop, &post->timer); /* it has not begun to stop */
    }                                                    /* else it starts again when it has stopped */
}

/* ---- from outside ---- */

bool supervisor_add(struct supervisor *supervisor, struct service *service, const char *command)
{
    struct post *post = &supervisor->posts[supervisor->count];
    *post = (struct post){.supervisor = supervisor, .service = service};
    switch (service->kind) {
    case SERVICE_BUILT_IN:
        service->state = SERVICE_RUNNING;
        break;
    case SERVICE_URL:
        loop_timer_start(supervisor->loop, &post->timer, 0, look, post);
        break;
    case SERVICE_COMMAND:
        post->command = command;
        if (service->on_demand)
            service->state = SERVICE_STOPPED;
        else if (!start_command(post))
            return false;
        break;
    }
    supervisor->count++;
    return true;
}

void supervisor_set_url(struct supervisor *supervisor, const char *url)
{
    supervisor->url = url;
}

void supervisor_moved(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++) {
        const struct post *post = &supervisor->posts[i];
        if (post->child != NULL && strstr(post->command, "{url}") != NULL && !child_is_stopping(post->child))
            child_restart(post->child);
    }
}

struct supervisor *supervisor_create(struct loop *loop, struct control *control, struct random *random,
                                     const struct supervisor_calls *calls, void *context)
{
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (supervisor == NULL)
        return NULL;
    supervisor->loop = loop;
    supervisor->control = control;
    supervisor->random = random;
    supervisor->calls = calls;
    supervisor->context = context;
    return supervisor;
}

static void stop_looking(struct post *post)
{
    loop_timer_stop(post->supervisor->loop, &post->timer);
    if (post->looking != NULL)
        control_cancel(post->looking);
    post->looking = NULL;
}

void supervisor_stop(struct supervisor *supervisor, uint64_t grace_ms)
{
    supervisor->stopping = true;
    for (size_t i = 0; i < supervisor->count; i++) {
        stop_looking(&supervisor->posts[i]);
        if (supervisor->posts[i].child != NULL)
            child_stop(supervisor->posts[i].child, grace_ms);
    }
    report_if_stopped(supervisor);
}

void supervisor_destroy(struct supervisor *supervisor)
{
    if (supervisor == NULL)
        return;
    for (size_t i = 0; i < supervisor->count; i++) {
        stop_looking(&supervisor->posts[i]);
        child_destroy(supervisor->posts[i].child);
    }
    loop_timer_stop(supervisor->loop, &supervisor->stopped);
    free(supervisor);
}
