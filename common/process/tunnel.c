/* Running cloudflared; see tunnel.h. */

#include "common/process/tunnel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/log.h"
#include "common/process/child.h"

/* Those who ask Cloudflare for quick tunnels too often get none for a while. */
#define LONGEST_WAIT_MS 300000u
#define CREDENTIALS_BYTES_MAX 16384

struct tunnel {
    struct tunnel_config config;
    struct buffer command, variable;
    struct child *child;
    struct timer timer; /* no address yet, or one that is not known to be connected */
    bool connected;
    char url[TUNNEL_URL_BYTES];  /* of this run; "": none yet */
    char told[TUNNEL_URL_BYTES]; /* the last one that was told of */
};

static bool is_quick(const struct tunnel *tunnel)
{
    return tunnel->config.token[0] == '\0' && tunnel->config.credentials[0] == '\0';
}

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
    if (tunnel->url[0] != '\0' && is_quick(tunnel)) {
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
    log_info("cloudflared", LOG_TEXT("says", line));
    if (is_quick(tunnel) && strstr(line, "429 Too Many Requests") != NULL)
        log_warning("Cloudflare gives this machine no more quick tunnels for a while; a named tunnel "
                    "(--tunnel-token or --tunnel-credentials) has no such limit");
    if (is_quick(tunnel) && tunnel->url[0] == '\0' && tunnel_url_in_line(line, tunnel->url))
        loop_timer_start(tunnel->config.loop, &tunnel->timer, TUNNEL_SETTLE_MS, time_is_over, tunnel);
    tunnel->connected = tunnel->connected || says_connected(line);
    if (tunnel->connected && tunnel->url[0] != '\0')
        tell(tunnel);
}

static void changed(void *context, enum child_state state, uint16_t port)
{
    (void)port;
    struct tunnel *tunnel = context;
    loop_timer_stop(tunnel->config.loop, &tunnel->timer);
    tunnel->connected = false;
    snprintf(tunnel->url, sizeof tunnel->url, "%s", is_quick(tunnel) ? "" : tunnel->config.public_url);
    if (state == CHILD_RUNNING)
        loop_timer_start(tunnel->config.loop, &tunnel->timer, tunnel->config.timeout_ms, time_is_over, tunnel);
    else if (state == CHILD_STOPPED)
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

/* Of the credentials file. */
static bool read_id(const char *path, char id[TUNNEL_ID_BYTES], char *error, size_t error_bytes)
{
    char text[CREDENTIALS_BYTES_MAX + 1];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(error, error_bytes, "--tunnel-credentials %s cannot be read: %s", path, strerror(errno));
        return false;
    }
    size_t bytes = fread(text, 1, sizeof text, file);
    (void)fclose(file); /* nothing was written to it */
    if (bytes <= CREDENTIALS_BYTES_MAX && tunnel_id_in_credentials(text, bytes, id))
        return true;
    snprintf(error, error_bytes,
             "--tunnel-credentials %s is no credentials file of a tunnel (JSON with a TunnelID): give the one that "
             "cloudflared tunnel create wrote",
             path);
    return false;
}

static bool build_command(struct tunnel *tunnel, char *error, size_t error_bytes)
{
    const struct tunnel_config *config = &tunnel->config;
    char id[TUNNEL_ID_BYTES];
    append_quoted(&tunnel->command, config->program);
    buffer_append_text(&tunnel->command, " tunnel --no-autoupdate ");
    if (config->token[0] != '\0') {
        /* By the environment: a command line can be seen by others. */
        buffer_append_format(&tunnel->variable, "TUNNEL_TOKEN=%s", config->token);
        buffer_append_text(&tunnel->command, "run");
        return true;
    }
    if (config->credentials[0] != '\0') {
        if (!read_id(config->credentials, id, error, error_bytes))
            return false;
        buffer_append_text(&tunnel->command, "run --credentials-file ");
        append_quoted(&tunnel->command, config->credentials);
        buffer_append_char(&tunnel->command, ' ');
    }
    buffer_append_text(&tunnel->command, "--url ");
    append_quoted(&tunnel->command, config->origin);
    if (config->credentials[0] != '\0')
        buffer_append_format(&tunnel->command, " %s", id);
    return true;
}

bool tunnel_settings_fit(const char *kind, const char *token, const char *credentials, const char *url,
                         const char *url_flag, char *error, size_t error_bytes)
{
    bool has_tunnel = kind[0] != '\0', is_named = token[0] != '\0' || credentials[0] != '\0';
    if (token[0] != '\0' && credentials[0] != '\0')
        snprintf(error, error_bytes,
                 "--tunnel-token and --tunnel-credentials are each enough for a named tunnel: "
                 "leave one of them out");
    else if (is_named && (!has_tunnel || url[0] == '\0'))
        snprintf(error, error_bytes,
                 "--tunnel-%s is of a named tunnel: give --tunnel cloudflared and the URL that the tunnel has with it, "
                 "as %s https://…",
                 token[0] != '\0' ? "token" : "credentials", url_flag);
    else if (has_tunnel && !is_named && url[0] != '\0')
        snprintf(error, error_bytes,
                 "%s together with --tunnel: a quick tunnel has a URL of its own; leave one of them out, or give the "
                 "--tunnel-token or the --tunnel-credentials of a named one",
                 url_flag);
    else
        return true;
    return false;
}

struct tunnel *tunnel_create(const struct tunnel_config *config, char *error, size_t error_bytes)
{
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);
    snprintf(error, error_bytes, "out of memory");
    if (tunnel == NULL)
        return NULL;
    tunnel->config = *config;
    bool built = build_command(tunnel, error, error_bytes);
    struct child_config child = {
        .loop = config->loop,
        .random = config->random,
        .name = "cloudflared",
        .command = tunnel->command.data,
        .variable = tunnel->variable.data,
        .longest_wait_ms = LONGEST_WAIT_MS,
        .changed = changed,
        .said = said,
        .context = tunnel,
    };
    if (built && !buffer_failed(&tunnel->command) && !buffer_failed(&tunnel->variable))
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
