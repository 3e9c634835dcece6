/* See edge_services.h. */

#include "services/worker/edge_services.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *edge_service_name(enum edge_service service)
{
    static const char *const names[EDGE_SERVICE_COUNT] = {
        [EDGE_COORDINATOR] = "coordinator", [EDGE_PROXY] = "edge-proxy", [EDGE_LOAD_BALANCER] = "load-balancer"};
    return names[service];
}

/* As one word for a shell. */
static void append_quoted(struct buffer *out, const char *text)
{
    buffer_append_char(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            buffer_append_text(out, "'\\''");
        else
            buffer_append_char(out, *text);
    }
    buffer_append_char(out, '\'');
}

static void append_flag(struct buffer *out, const char *flag, const char *before, const char *value)
{
    buffer_append_format(out, " --%s ", flag);
    if (before[0] != '\0')
        append_quoted(out, before);
    append_quoted(out, value);
}

/* What the worker was told in its environment is not meant for them: whatever they would take from there is said. */
static void append_gateway(struct buffer *out, const struct edge_settings *settings, const char *role)
{
    buffer_append_text(out, "exec ");
    append_quoted(out, settings->gateway);
    append_flag(out, "role", "", role);
    buffer_append_text(out, " --host 127.0.0.1 --port {port} --ready-fd '' --join ''");
    append_flag(out, "coordinator-url", "", settings->coordinator_urls);
    append_flag(out, "api-keys", "", settings->api_keys);
}

static void append_coordinator(struct buffer *out, const struct edge_settings *settings)
{
    buffer_append_text(out, "exec ");
    append_quoted(out, settings->musterctl);
    buffer_append_text(
        out, " up --host 127.0.0.1 --port {port} --grpc-port 0 --tunnel '' --tunnel-credentials '' --role coordinator");
    append_flag(out, "data-dir", settings->folder, "-coordinator");
    append_flag(out, "coordinator-id", settings->worker_id, "-coordinator");
    append_flag(out, "location", "", settings->location);
    append_flag(out, "join", "", settings->join);
    buffer_append_text(out, " --public-url {url}/service/coordinator");
    append_flag(out, "api-keys", "", settings->api_keys);
}

void edge_service_command(enum edge_service service, const struct edge_settings *settings, struct buffer *out)
{
    switch (service) {
    case EDGE_COORDINATOR:
        append_coordinator(out, settings);
        break;
    case EDGE_PROXY:
        append_gateway(out, settings, "edge-proxy");
        append_flag(out, "data-dir", settings->folder, "-edge-proxy");
        break;
    case EDGE_LOAD_BALANCER:
        append_gateway(out, settings, "load-balancer");
        buffer_append_text(out, " --upstreams '' --upstreams-file '' --upstream-service edge-proxy"
                                " --upstream-prefix /service/edge-proxy --check-path /healthz --pass-credentials");
        break;
    case EDGE_SERVICE_COUNT:
        break;
    }
}

bool edge_services_find(const char *name, char *path, size_t path_bytes)
{
    /* As installed, and as built: services/worker/muster-worker beside services/ctl/musterctl and
     * gateway/muster-gateway. */
    static const char *const places[] = {"", "../ctl/", "../../gateway/"};
    char own[4096];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    own[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(own, '/');
    if (slash != NULL)
        *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if ((size_t)snprintf(path, path_bytes, "%s/%s%s", own, places[i], name) < path_bytes && access(path, X_OK) == 0)
            return true;
    }
    return false;
}
