#define _GNU_SOURCE
#include "services/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loopback.h"
#include "common/loop/loop.h"
#include "common/random.h"
#include "services/worker/control.h"
#include "services/worker/coordinators.h"
#include "services/worker/detect.h"
#include "services/worker/edge_services.h"
#include "services/worker/front.h"
#include "services/worker/gpu_monitor.h"
#include "services/worker/load.h"
#include "services/worker/membership.h"
#include "services/worker/registration.h"
#include "services/worker/service_table.h"
#include "services/worker/supervisor.h"
#include "services/worker/uplink.h"
#include "common/process/tunnel.h"

#define GPU_TIMEOUT_MS 5000u
#define GPU_INTERVAL_MS 15000u
#define CHILD_GRACE_MS 5000u
#define DEMONSTRATION "document-processing"
#define URL_BYTES TUNNEL_URL_BYTES

struct worker {
    const struct worker_options *options;
    char *error;
    size_t error_bytes;

    struct loop *loop;
    struct control *control;
    struct random random;
    struct service_table table;
    struct supervisor *supervisor;
    struct buffer edge_commands[EDGE_SERVICE_COUNT];
    struct http_resolver *resolver;
    struct front *front;
    struct membership *membership;
    struct gpu_monitor *gpu_monitor;
    struct tunnel *tunnel; /* NULL: it is reached without one */
    struct uplink *uplink; /* --tunnel link; NULL: not so */
    int listener;
    int signals;
    struct loop_watch signalled;

    char worker_id[HEARTBEAT_ID_BYTES];
    struct coordinators coordinators;
    char tunnel_url[URL_BYTES]; /* "" until the tunnel has one */
    char origin[URL_BYTES];     /* what the tunnel leads to */
    struct detect_machine_figures machine;
    struct load_sampler sampler;
    struct load_sample_figures sample;

    bool leaving; /* off the roll: waiting for requests and commands */
    bool drained;
    bool commands_stopped;
    bool tunnel_stopped;
    bool replaced;
};

/* Says why it cannot start; returns the result for convenience. */
__attribute__((format(printf, 3, 4))) static enum worker_result refuse(struct worker *worker, enum worker_result result,
                                                                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(worker->error, worker->error_bytes, format, arguments);
    va_end(arguments);
    return result;
}

static enum worker_result out_of_memory(struct worker *worker)
{
    return refuse(worker, WORKER_CANNOT_START, "out of memory");
}

/* ---- what others ask ---- */

static void measure(void *context, struct heartbeat *heartbeat)
{
    struct worker *worker = context;
    uint32_t active = front_active(worker->front);
    load_sample(&worker->sampler, "", active, worker->options->most_requests, &worker->machine.gpu, &worker->sample);
    heartbeat->current_load = worker->sample.current_load;
    heartbeat->available_memory = worker->sample.available_memory;
    heartbeat->gpu_utilization = worker->machine.gpu.present ? worker->machine.gpu.utilization : 0;
    heartbeat->active_requests = active;
    heartbeat->queue_depth = 0; /* requests over the limit are refused, none waits */
    heartbeat->tasks_completed = front_completed(worker->front);
}

static int append_json(const char *data, size_t bytes, void *argument)
{
    struct buffer *out = argument;
    buffer_append(out, data, bytes);
    return buffer_failed(out) ? -1 : 0;
}

static void render_health(void *context, struct buffer *body)
{
    struct worker *worker = context;
    struct membership_status status;
    membership_status(worker->membership, &status);
    struct heartbeat_service states[SERVICE_TABLE_STATES_MAX];
    size_t count = service_table_states(&worker->table, states);
    json_t *services = json_object();
    for (size_t i = 0; i < count; i++)
        (void)json_object_set_new(services, states[i].name, json_string(states[i].state));
    json_t *assigned = json_array();
    for (size_t i = 0; i < worker->table.assigned.count; i++)
        (void)json_array_append_new(assigned, json_string(worker->table.assigned.names[i]));
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:{s:f, s:s, s:f, s:i, s:I}}", "status", "healthy", "worker_id",
        worker->worker_id, "worker_type", status.worker_type, "coordinator", status.coordinator_url, "membership",
        status.state, "heartbeats", status.heartbeats, "incarnation", (json_int_t)status.incarnation, "services",
        services, "assigned_services", assigned, "load", "current_load", worker->sample.current_load,
        "available_memory", worker->sample.available_memory, "gpu_utilization",
        worker->machine.gpu.present ? worker->machine.gpu.utilization : 0.0, "active_requests",
        (int)front_active(worker->front), "tasks_completed", (json_int_t)front_completed(worker->front));
    if (root == NULL || json_dump_callback(root, append_json, body, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0)
        body->failed = true;
    json_decref(root);
}

static void active_changed(void *context, uint32_t active)
{
    struct worker *worker = context;
    membership_set_active_requests(worker->membership, active);
}

static void unreachable(void *context, const struct service *service)
{
    struct worker *worker = context;
    supervisor_doubt(worker->supervisor, service);
}

static void service_changed(void *context, struct service *service)
{
    struct worker *worker = context;
    log_info("service changed", LOG_TEXT("service", service->name),
             LOG_TEXT("state", service_state_text(service->state)));
    membership_services_changed(worker->membership);
}

/* What runs on demand follows what is assigned. */
static void assigned(void *context)
{
    struct worker *worker = context;
    for (size_t i = 0; i < worker->table.count; i++) {
        const struct service *service = worker->table.services[i];
        if (service->on_demand)
            supervisor_want(worker->supervisor, service, service_table_is_assigned(&worker->table, service));
    }
}

static bool is_told_to_be_edge(const struct worker *worker)
{
    return strcmp(worker->options->worker_type, "edge") == 0;
}

/* An edge router that nobody has joined cannot tell us what to run: an edge worker begins with the coordinator that is
 * missing. It is then told to run it by that one, or another one. */
static void nobody(void *context)
{
    struct worker *worker = context;
    static const struct detect_coordinator unknown;
    const struct service *coordinator = service_table_find(&worker->table, edge_service_name(EDGE_COORDINATOR));
    if (coordinator == NULL || !coordinator->on_demand || coordinator->state != SERVICE_STOPPED ||
        (!is_told_to_be_edge(worker) && !detect_has_edge(&worker->machine, &unknown)))
        return;
    log_info("there is no coordinator: running one");
    supervisor_want(worker->supervisor, coordinator, true);
}

/* ---- the end ---- */

static void stop_if_done(struct worker *worker)
{
    if (worker->drained && worker->commands_stopped && (worker->tunnel == NULL || worker->tunnel_stopped))
        loop_stop(worker->loop);
}

static void commands_stopped(void *context)
{
    struct worker *worker = context;
    worker->commands_stopped = true;
    stop_if_done(worker);
}

static void tunnel_stopped(void *context)
{
    struct worker *worker = context;
    worker->tunnel_stopped = true;
    stop_if_done(worker);
}

/* Requests first: they may need the commands, and the tunnel to be answered through. */
static void requests_drained(void *context)
{
    struct worker *worker = context;
    worker->drained = true;
    supervisor_stop(worker->supervisor, CHILD_GRACE_MS);
    if (worker->tunnel != NULL)
        tunnel_stop(worker->tunnel, CHILD_GRACE_MS);
}

static void off_the_roll(void *context, bool replaced)
{
    struct worker *worker = context;
    worker->leaving = true;
    worker->replaced = replaced;
    front_drain(worker->front, (uint32_t)worker->options->drain_timeout_ms, requests_drained, worker);
}

static void signal_came(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct worker *worker = (struct worker *)((char *)watch - offsetof(struct worker, signalled));
    struct signalfd_siginfo came;
    while (read(worker->signals, &came, sizeof came) == (ssize_t)sizeof came) {
        log_info("leaving", LOG_TEXT("signal", came.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT"));
        /* Asked again, it waits no longer for what it is waiting for. */
        if (worker->drained)
            loop_stop(worker->loop);
        else if (worker->leaving)
            front_drain(worker->front, 0, requests_drained, worker);
        else
            membership_stop(worker->membership);
    }
}

/* ---- the services ---- */

/* Cuts "NAME=VALUE"; the name goes into `name`. NULL: it is no such thing. */
static const char *cut_value(const char *item, char name[HEARTBEAT_NAME_BYTES])
{
    const char *equals = strchr(item, '=');
    if (equals == NULL || equals[1] == '\0' || (size_t)(equals - item) >= HEARTBEAT_NAME_BYTES)
        return NULL;
    memcpy(name, item, (size_t)(equals - item));
    name[equals - item] = '\0';
    return service_name_acceptable(name) ? equals + 1 : NULL;
}

static enum worker_result add_service(struct worker *worker, const char *name, enum service_kind kind,
                                      const char *value, bool on_demand)
{
    if (service_table_find(&worker->table, name) != NULL)
        return refuse(worker, WORKER_BAD_OPTIONS,
                      "service %s is given twice: give it once, with --service, --run or --run-assigned", name);
    if (worker->table.count == SERVICE_TABLE_MAX)
        return refuse(worker, WORKER_BAD_OPTIONS, "more than %d services: run a second worker", SERVICE_TABLE_MAX);
    struct service *service = service_table_add(&worker->table, name, kind);
    if (service == NULL)
        return out_of_memory(worker);
    service->on_demand = on_demand;
    if (kind == SERVICE_URL && !http_origin_parse(http_text_of(value), &service->origin))
        return refuse(worker, WORKER_BAD_OPTIONS,
                      "--service %s=%s: give the URL as http://HOST:PORT[/PATH] or https://…", name, value);
    if (kind == SERVICE_COMMAND && strstr(value, "{port}") == NULL && strstr(value, "PORT") == NULL)
        return refuse(worker, WORKER_BAD_OPTIONS,
                      "--run%s %s: the command must say {port} where the port to listen on belongs",
                      on_demand ? "-assigned" : "", name);
    return supervisor_add(worker->supervisor, service, value) ? WORKER_OK : out_of_memory(worker);
}

static enum worker_result add_commands(struct worker *worker, const struct setting_list *commands, bool on_demand)
{
    char name[HEARTBEAT_NAME_BYTES];
    enum worker_result result = WORKER_OK;
    for (size_t i = 0; i < commands->count && result == WORKER_OK; i++) {
        const char *value = cut_value(commands->items[i], name);
        result = value != NULL
                     ? add_service(worker, name, SERVICE_COMMAND, value, on_demand)
                     : refuse(worker, WORKER_BAD_OPTIONS,
                              "--run%s %s: give it as NAME='COMMAND with {port}', the name of letters, digits, "
                              "'.', '_' and '-'",
                              on_demand ? "-assigned" : "", commands->items[i]);
    }
    return result;
}

/* Whether others reach what this worker runs: they would reach an open coordinator. */
static bool is_reached_by_others(const struct worker_options *options)
{
    return !host_is_loopback(options->host) || options->tunnel[0] != '\0' || options->tunnel_url[0] != '\0';
}

/* They run when they are assigned, which edge workers alone are. */
static enum worker_result add_edge_services(struct worker *worker)
{
    const struct worker_options *options = worker->options;
    char musterctl[4096], gateway[4096], folder[4096];
    bool is_named = options->worker_id[0] != '\0';
    if (!edge_services_find("musterctl", musterctl, sizeof musterctl) ||
        !edge_services_find("muster-gateway", gateway, sizeof gateway))
        return WORKER_OK; /* they are not installed here */
    if (is_reached_by_others(options) && options->edge_api_keys[0] == '\0' && !options->edge_insecure) {
        log_info("what edge workers run is not run here: others reach this worker, and it would be open to them; give "
                 "--edge-api-keys FILE, or say --edge-insecure");
        return WORKER_OK;
    }
    snprintf(folder, sizeof folder, "%.3800s/muster-edge%s%s", options->storage_folder, is_named ? "-" : "",
             is_named ? worker->worker_id : "");
    const struct edge_settings settings = {
        .musterctl = musterctl,
        .gateway = gateway,
        .folder = folder,
        .worker_id = worker->worker_id,
        .location = options->location,
        .coordinator_urls = options->coordinator_urls,
        .join = options->edge_join[0] != '\0' ? options->edge_join : options->coordinator_urls,
        .api_keys = options->edge_api_keys,
    };
    enum worker_result result = WORKER_OK;
    for (enum edge_service i = 0; i < EDGE_SERVICE_COUNT && result == WORKER_OK; i++) {
        if (service_table_find(&worker->table, edge_service_name(i)) != NULL)
            continue; /* given otherwise */
        edge_service_command(i, &settings, &worker->edge_commands[i]);
        result = buffer_failed(&worker->edge_commands[i])
                     ? out_of_memory(worker)
                     : add_service(worker, edge_service_name(i), SERVICE_COMMAND, worker->edge_commands[i].data, true);
    }
    return result;
}

static enum worker_result add_services(struct worker *worker)
{
    static const struct supervisor_calls calls = {service_changed, commands_stopped};
    const struct worker_options *options = worker->options;
    char name[HEARTBEAT_NAME_BYTES];
    worker->supervisor = supervisor_create(worker->loop, worker->control, &worker->random, &calls, worker);
    if (worker->supervisor == NULL)
        return out_of_memory(worker);
    supervisor_set_url(worker->supervisor, worker->tunnel_url);
    enum worker_result result = WORKER_OK;
    for (size_t i = 0; i < options->services.count && result == WORKER_OK; i++) {
        const char *value = cut_value(options->services.items[i], name);
        result = value != NULL
                     ? add_service(worker, name, SERVICE_URL, value, false)
                     : refuse(worker, WORKER_BAD_OPTIONS,
                              "--service %s: give it as NAME=URL, the name of letters, digits, '.', '_' and '-'",
                              options->services.items[i]);
    }
    if (result == WORKER_OK)
        result = add_commands(worker, &options->commands, false);
    if (result == WORKER_OK)
        result = add_commands(worker, &options->on_demand, true);
    if (result == WORKER_OK && options->edge_services)
        result = add_edge_services(worker);
    if (result == WORKER_OK && options->demonstration && service_table_find(&worker->table, DEMONSTRATION) == NULL)
        result = add_service(worker, DEMONSTRATION, SERVICE_BUILT_IN, NULL, false);
    return result;
}

/* Whether the host of some service has to be looked up. */
static bool names_to_resolve(const struct worker *worker)
{
    for (size_t i = 0; i < worker->table.count; i++) {
        const char *host = worker->table.services[i]->origin.host;
        if (worker->table.services[i]->kind == SERVICE_URL && strchr(host, ':') == NULL &&
            host[strspn(host, "0123456789.")] != '\0')
            return true;
    }
    return false;
}

/* ---- starting ---- */

/* The host's name and some chance: two machines of one name are two workers. */
static void make_up_id(char worker_id[HEARTBEAT_ID_BYTES])
{
    char host[65] = "worker", chance[13];
    bool named = gethostname(host, sizeof host - 1) == 0;
    host[sizeof host - 1] = '\0';
    if (!named || !registration_id_acceptable(host))
        strcpy(host, "worker");
    random_hex(chance, 6);
    snprintf(worker_id, HEARTBEAT_ID_BYTES, "%s-%s", host, chance);
}

static bool is_web_url(const char *url)
{
    struct http_origin origin;
    return http_origin_parse(http_text_of(url), &origin);
}

static bool is_linked(const struct worker *worker)
{
    return strcmp(worker->options->tunnel, "link") == 0;
}

static enum worker_result check_options(struct worker *worker)
{
    static const char *const types[] = {"auto", "gpu", "cpu", "storage", "edge"};
    const struct worker_options *options = worker->options;
    size_t type = 0;
    while (type < sizeof types / sizeof types[0] && strcmp(options->worker_type, types[type]) != 0)
        type++;
    if (type == sizeof types / sizeof types[0])
        return refuse(worker, WORKER_BAD_OPTIONS, "--worker-type %s: give auto, gpu, cpu, storage or edge",
                      options->worker_type);
    if (!coordinators_init(&worker->coordinators, options->coordinator_urls, worker->error, worker->error_bytes))
        return WORKER_BAD_OPTIONS;
    if (options->tunnel_url[0] != '\0' &&
        (strlen(options->tunnel_url) >= URL_BYTES || !is_web_url(options->tunnel_url)))
        return refuse(worker, WORKER_BAD_OPTIONS,
                      "--tunnel-url '%s': give the URL at which this worker can be reached, http or https",
                      options->tunnel_url);
    if (options->tunnel[0] != '\0' && strcmp(options->tunnel, "cloudflared") != 0 && !is_linked(worker))
        return refuse(worker, WORKER_BAD_OPTIONS, "--tunnel %s: give cloudflared or link, or leave it out",
                      options->tunnel);
    if (is_linked(worker) && options->tunnel_url[0] != '\0')
        return refuse(worker, WORKER_BAD_OPTIONS,
                      "--tunnel link and --tunnel-url: with a link the URL is the coordinator's; leave one of them out");
    if (!tunnel_settings_fit(is_linked(worker) ? "" : options->tunnel, options->tunnel_token,
                             options->tunnel_credentials, options->tunnel_url, "--tunnel-url", worker->error,
                             worker->error_bytes))
        return WORKER_BAD_OPTIONS;
    /* What we run must not keep it open. */
    if (options->ready_descriptor >= 0 && fcntl(options->ready_descriptor, F_SETFD, FD_CLOEXEC) != 0)
        return refuse(worker, WORKER_BAD_OPTIONS, "--ready-fd %d: no such descriptor is open",
                      options->ready_descriptor);
    if (options->worker_id[0] == '\0')
        make_up_id(worker->worker_id);
    else if (registration_id_acceptable(options->worker_id))
        strcpy(worker->worker_id, options->worker_id);
    else
        return refuse(worker, WORKER_BAD_OPTIONS,
                      "--worker-id: give 1 to %d printable ASCII characters, no spaces, quotes or backslashes",
                      HEARTBEAT_ID_BYTES - 1);
    return WORKER_OK;
}

/* "HOST:PORT", with brackets where they belong. */
static void format_address(const char *host, uint16_t port, char *text, size_t text_bytes)
{
    bool literal6 = strchr(host, ':') != NULL;
    snprintf(text, text_bytes, "%s%s%s:%u", literal6 ? "[" : "", host, literal6 ? "]" : "", port);
}

static enum worker_result listen_and_name(struct worker *worker)
{
    const struct worker_options *options = worker->options;
    char error[256], address[512];
    worker->listener = http_listen(options->host, options->port, 511, error, sizeof error);
    if (worker->listener < 0)
        return refuse(worker, WORKER_CANNOT_START, "%s", error);
    const char *host = options->host;
    bool everywhere = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    if (everywhere)
        host = worker->machine.address[0] != '\0' ? worker->machine.address : "127.0.0.1";
    format_address(host, http_listener_port(worker->listener), address, sizeof address);
    size_t url_bytes = strlen(options->tunnel_url);
    while (url_bytes > 0 && options->tunnel_url[url_bytes - 1] == '/')
        url_bytes--;
    snprintf(worker->origin, sizeof worker->origin, "http://%s", address);
    if (options->tunnel[0] != '\0')
        worker->tunnel_url[0] = '\0';
    else if (url_bytes > 0)
        snprintf(worker->tunnel_url, sizeof worker->tunnel_url, "%.*s", (int)url_bytes, options->tunnel_url);
    else
        snprintf(worker->tunnel_url, sizeof worker->tunnel_url, "http://%s", address);
    return WORKER_OK;
}

static enum worker_result create_front(struct worker *worker)
{
    char error[256];
    if (names_to_resolve(worker)) {
        worker->resolver = http_resolver_create(0);
        if (worker->resolver == NULL)
            return out_of_memory(worker);
    }
    struct front_config config = {
        .loop = worker->loop,
        .table = &worker->table,
        .worker_id = worker->worker_id,
        .most_requests = worker->options->most_requests,
        .resolver = worker->resolver,
        .active_changed = active_changed,
        .render_health = render_health,
        .unreachable = unreachable,
        .context = worker,
    };
    worker->front = front_create(&config, error, sizeof error);
    if (worker->front == NULL)
        return refuse(worker, WORKER_CANNOT_START, "%s", error);
    return WORKER_OK;
}

/* The link leads from the coordinator that this worker registers with. */
static bool reach(void *context, const char *coordinator_url)
{
    struct worker *worker = context;
    char before[URL_BYTES];
    strcpy(before, worker->tunnel_url);
    if (!uplink_url(worker->uplink, coordinator_url, worker->tunnel_url, sizeof worker->tunnel_url))
        log_error("the coordinator's URL is too long for a link", LOG_TEXT("coordinator", coordinator_url));
    if (strcmp(before, worker->tunnel_url) != 0)
        supervisor_moved(worker->supervisor);
    return uplink_reach(worker->uplink, coordinator_url);
}

static void reached(void *context, unsigned status, const char *error)
{
    struct worker *worker = context;
    membership_reached(worker->membership, status, error);
}

static void request_came(void *context, int descriptor)
{
    struct worker *worker = context;
    front_adopt(worker->front, descriptor);
}

static enum worker_result create_uplink(struct worker *worker)
{
    const struct uplink_config config = {
        .loop = worker->loop,
        .random = &worker->random,
        .worker_id = worker->worker_id,
        .api_key = worker->options->api_key,
        .ca_file = worker->options->ca_file,
        .ping_ms = worker->options->link_ping_ms,
        .handed_out = request_came,
        .reached = reached,
        .context = worker,
    };
    if (!is_linked(worker))
        return WORKER_OK;
    worker->uplink = uplink_create(&config);
    return worker->uplink != NULL ? WORKER_OK : out_of_memory(worker);
}

static enum worker_result create_membership(struct worker *worker)
{
    struct membership_config config = {
        .loop = worker->loop,
        .control = worker->control,
        .random = &worker->random,
        .agent = AGENT_CONFIG_DEFAULT,
        .coordinators = &worker->coordinators,
        .api_key = worker->options->api_key,
        .worker_id = worker->worker_id,
        .tunnel_url = worker->tunnel_url,
        .worker_type = worker->options->worker_type,
        .location = worker->options->location,
        .return_after_ms = worker->options->return_after_ms,
        .machine = &worker->machine,
        .table = &worker->table,
        .measure = measure,
        .assigned = assigned,
        .nobody = nobody,
        .stopped = off_the_roll,
        .context = worker,
    };
    if (worker->uplink != NULL)
        config.reach = reach;
    config.agent.waits = worker->options->tunnel[0] != '\0' && !is_linked(worker);
    config.agent.interval_ms = worker->options->heartbeat_interval_ms;
    config.agent.drain_timeout_ms = worker->options->drain_timeout_ms;
    worker->membership = membership_create(&config);
    return worker->membership != NULL ? WORKER_OK : out_of_memory(worker);
}

static void tunnel_moved(void *context, const char *url)
{
    struct worker *worker = context;
    strcpy(worker->tunnel_url, url);
    membership_moved(worker->membership);
    supervisor_moved(worker->supervisor);
}

static enum worker_result create_tunnel(struct worker *worker)
{
    const struct worker_options *options = worker->options;
    if (options->tunnel[0] == '\0' || is_linked(worker))
        return WORKER_OK;
    const struct tunnel_config config = {
        .loop = worker->loop,
        .random = &worker->random,
        .program = options->cloudflared,
        .origin = worker->origin,
        .token = options->tunnel_token,
        .credentials = options->tunnel_credentials,
        .public_url = options->tunnel_url,
        .timeout_ms = options->tunnel_timeout_ms,
        .moved = tunnel_moved,
        .stopped = tunnel_stopped,
        .context = worker,
    };
    worker->tunnel = tunnel_create(&config, worker->error, worker->error_bytes);
    return worker->tunnel != NULL ? WORKER_OK : WORKER_CANNOT_START;
}

static enum worker_result watch_signals(struct worker *worker)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &wanted, NULL) != 0 ||
        (worker->signals = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC)) < 0 ||
        !loop_watch_add(worker->loop, &worker->signalled, worker->signals, signal_came))
        return refuse(worker, WORKER_CANNOT_START, "signals cannot be watched: %s", strerror(errno));
    return WORKER_OK;
}

/* Tells whoever started us that we serve. */
static void announce(struct worker *worker)
{
    char address[512];
    uint16_t port = http_listener_port(worker->listener);
    format_address(worker->options->host, port, address, sizeof address - 1);
    log_info("serving", LOG_TEXT("address", address), LOG_TEXT("worker_id", worker->worker_id),
             LOG_TEXT("tunnel_url", worker->tunnel_url));
    if (worker->options->ready_descriptor < 0)
        return;
    strcat(address, "\n");
    if (write(worker->options->ready_descriptor, address, strlen(address)) < 0)
        log_warning("nobody reads --ready-fd", LOG_TEXT("error", strerror(errno)));
    close(worker->options->ready_descriptor);
}

static enum worker_result start(struct worker *worker)
{
    enum worker_result result = check_options(worker);
    if (result != WORKER_OK)
        return result;
    random_seed_from_kernel(&worker->random);
    worker->loop = loop_create();
    if (worker->loop == NULL)
        return out_of_memory(worker);
    worker->control = control_create(worker->loop, worker->options->ca_file);
    if (worker->control == NULL)
        return out_of_memory(worker);
    if ((result = watch_signals(worker)) != WORKER_OK || (result = add_services(worker)) != WORKER_OK)
        return result;
    detect_machine(&worker->machine, "", worker->options->storage_folder, GPU_TIMEOUT_MS);
    if ((result = listen_and_name(worker)) != WORKER_OK || (result = create_front(worker)) != WORKER_OK ||
        (result = create_uplink(worker)) != WORKER_OK || (result = create_membership(worker)) != WORKER_OK ||
        (result = create_tunnel(worker)) != WORKER_OK)
        return result;
    if (worker->machine.gpu.present) {
        worker->gpu_monitor = gpu_monitor_create(worker->loop, &worker->machine.gpu, GPU_INTERVAL_MS);
        if (worker->gpu_monitor == NULL)
            return out_of_memory(worker);
    }
    if (!front_listen(worker->front, worker->listener))
        return refuse(worker, WORKER_CANNOT_START, "the port cannot be watched: %s", strerror(errno));
    return WORKER_OK;
}

/* In the reverse order of start, from wherever that got to. */
static void destroy(struct worker *worker)
{
    gpu_monitor_destroy(worker->gpu_monitor);
    tunnel_destroy(worker->tunnel);
    membership_destroy(worker->membership);
    uplink_destroy(worker->uplink);
    front_destroy(worker->front);
    if (worker->resolver != NULL)
        http_resolver_destroy(worker->resolver);
    supervisor_destroy(worker->supervisor);
    for (size_t i = 0; i < EDGE_SERVICE_COUNT; i++)
        buffer_free(&worker->edge_commands[i]);
    control_destroy(worker->control);
    if (worker->listener >= 0)
        close(worker->listener);
    if (worker->loop != NULL)
        loop_watch_remove(worker->loop, &worker->signalled);
    if (worker->signals >= 0)
        close(worker->signals);
    if (worker->loop != NULL)
        loop_destroy(worker->loop);
    service_table_free(&worker->table);
}

enum worker_result worker_run(const struct worker_options *options, char *error, size_t error_bytes)
{
    struct worker worker = {
        .options = options,
        .error = error,
        .error_bytes = error_bytes,
        .listener = -1,
        .signals = -1,
        .signalled = LOOP_WATCH_INIT,
    };
    enum worker_result result = start(&worker);
    if (result == WORKER_OK) {
        announce(&worker);
        loop_run(worker.loop);
        if (worker.replaced)
            result = refuse(
                &worker, WORKER_REPLACED,
                "another process keeps registering the id %s: give each worker an id of its own with --worker-id",
                worker.worker_id);
    }
    destroy(&worker);
    return result;
}
