/* Running cloudflared; see tunnel.h. */

#include "services/worker/tunnel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/log.h"
#include "services/worker/child.h"

/* Those who ask Cloudflare for quick tunnels too often get none for a while. */
#define LONGEST_WAIT_MS 300000u

struct tunnel {
    struct tunnel_config config;
    struct buffer command, variable;
    struct child *child;
    struct timer timer; /* no address yet, or one that is not known to be connected */
    bool connected;
    char url[TUNNEL_URL_BYTES];  /* of this run; "": none yet */
    char told[TUNNEL_URL_BYTES]; /* the last one that was told of */
};

static void tell(struct tunnel *tunnel)
{
    loop_timer_stop(tunnel->config.loop, &tunnel->timer);
    if (strcmp(tunnel->url, tunnel->told) == 0)
        return;
    strcpy(tunnel->told, tunnel->url);
    log_info("tunnel leads here", LOG_TEXT("url", tunnel->url));
    tunnel->config.moved(tunnel->config.context, tunnel->url);
}

static void time_is_over(struct timer *timer, void *argument)
{
    (void)timer;
    struct tunnel *tunnel = argument;
    if (tunnel->url[0] != '\0' && tunnel->config.token[0] == '\0') {
        tell(tunnel);
        return;
    }
    log_warning("cloudflared has no connection yet and is started again; see what it wrote above",
                LOG_UINT("after_ms", tunnel->config.timeout_ms));
    child_restart(tunnel->child);
}

static bool says_connected(const char *line)
{
    const char *connection = strstr(line, "Connection ");
    return strstr(line, "Registered tunnel connection") != NULL ||
           (connection != NULL && strstr(connection, " registered") != NULL);
}

static void said(void *context, const char *line)
{
    struct tunnel *tunnel = context;
    bool is_quick = tunnel->config.token[0] == '\0';
    log_info("cloudflared", LOG_TEXT("says", line));
    if (is_quick && strstr(line, "429 Too Many Requests") != NULL)
        log_warning("Cloudflare gives this machine no more quick tunnels for a while; a named tunnel "
                    "(--tunnel-token) has no such limit");
    if (is_quick && tunnel->url[0] == '\0' && tunnel_url_in_line(line, tunnel->url))
        loop_timer_start(tunnel->config.loop, &tunnel->timer, TUNNEL_SETTLE_MS, time_is_over, tunnel);
    tunnel->connected = tunnel->connected || says_connected(line);
    if (tunnel->connected && tunnel->url[0] != '\0')
        tell(tunnel);
}

static void changed(void *context, enum service_state state, uint16_t port)
{
    (void)port;
    struct tunnel *tunnel = context;
    loop_timer_stop(tunnel->config.loop, &tunnel->timer);
    tunnel->connected = false;
    snprintf(tunnel->url, sizeof tunnel->url, "%s", tunnel->config.token[0] != '\0' ? tunnel->config.public_url : "");
    if (state == SERVICE_RUNNING)
        loop_timer_start(tunnel->config.loop, &tunnel->timer, tunnel->config.timeout_ms, time_is_over, tunnel);
    else if (state == SERVICE_STOPPED)
        tunnel->config.stopped(tunnel->config.context);
}

/* As one word of the shell. */
static void append_quoted(struct buffer *out, const char *text)
{
    buffer_append_char(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            buffer_append_text(out, "'\\'");
        buffer_append_char(out, *text);
    }
    buffer_append_char(out, '\'');
}

struct tunnel *tunnel_create(const struct tunnel_config *config)
{
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (tunnel == NULL)
        return NULL;
    tunnel->config = *config;
    append_quoted(&tunnel->command, config->program);
    if (config->token[0] != '\0') {
        /* By the environment: a command line can be seen by others. */
        buffer_append_format(&tunnel->variable, "TUNNEL_TOKEN=%s", config->token);
        buffer_append_text(&tunnel->command, " tunnel --no-autoupdate run");
    } else {
        buffer_append_text(&tunnel->command, " tunnel --no-autoupdate --url ");
        append_quoted(&tunnel->command, config->origin);
    }
    struct child_config child = {
        .loop = config->loop,
        .control = config->control,
        .random = config->random,
        .name = "cloudflared",
        .command = tunnel->command.data,
        .variable = tunnel->variable.data,
        .longest_wait_ms = LONGEST_WAIT_MS,
        .changed = changed,
        .said = said,
        .context = tunnel,
    };
    if (!buffer_failed(&tunnel->command) && !buffer_failed(&tunnel->variable))
        tunnel->child = child_create(&child);
    if (tunnel->child != NULL)
        return tunnel;
    tunnel_destroy(tunnel);
    return NULL;
}

void tunnel_stop(struct tunnel *tunnel, uint64_t grace_ms)
{
    loop_timer_stop(tunnel->config.loop, &tunnel->timer);
    child_stop(tunnel->child, grace_ms);
}

void tunnel_destroy(struct tunnel *tunnel)
{
    if (tunnel == NULL)
        return;
    loop_timer_stop(tunnel->config.loop, &tunnel->timer);
    child_destroy(tunnel->child);
    buffer_free(&tunnel->command);
    buffer_free(&tunnel->variable);
    free(tunnel);
}
