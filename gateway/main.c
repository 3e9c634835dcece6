/* muster-gateway: reads the settings, starts the threads, says when it serves, and ends on
 * SIGTERM with everything in flight finished. gateway.h says what the threads do. */

#define _GNU_SOURCE /* sched_getaffinity */
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/config.h"
#include "common/http/target.h"
#include "common/log.h"
#include "common/loopback.h"
#include "common/random.h"
#include "gateway/backend.h"
#include "gateway/balancer/upstream_list.h"
#include "gateway/front.h"
#include "gateway/geoip.h"
#include "gateway/links.h"
#include "gateway/proxy.h"

#define PROGRAM "muster-gateway"
#define LISTEN_BACKLOG 4096
#define HTTP_THREADS_MAX 256
/* How long to wait for the processes behind before saying that we serve: without them we
 * serve too, only worse. */
#define READY_LIMIT_MS 5000
/* Those that need no encoding in a path. */
#define SERVICE_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

struct program {
    struct gateway gateway;
    const char *port; /* as it was given; "": that of the role */
    int listener;
    struct http_resolver *resolver;
    int ready_descriptor; /* -1: none, or written already */
    char address[300];
    char own_url[320];
    sigset_t signals;
    pthread_t signal_thread;
    struct timer ready_timer;
    char error[1024];
};

/* --- Signals --- */

static void stop(void *argument)
{
    struct program *program = argument;
    if (atomic_exchange(&program->gateway.draining, true))
        _exit(1); /* told twice: somebody does not want to wait */
    backend_stop(program->gateway.backend);
}

/* All other threads have these signals blocked. */
static void *wait_for_signals(void *argument)
{
    struct program *program = argument;
    for (;;) {
        int number = 0;
        if (sigwait(&program->signals, &number) != 0)
            continue;
        if (number == SIGUSR2)
            return NULL;
        if (number == SIGHUP)
            rpc_loop_post(program->gateway.rpc_loop, backend_reload, program->gateway.backend);
        else
            rpc_loop_post(program->gateway.rpc_loop, stop, program);
    }
}

static void block_signals(struct program *program)
{
    sigemptyset(&program->signals);
    sigaddset(&program->signals, SIGTERM);
    sigaddset(&program->signals, SIGINT);
    sigaddset(&program->signals, SIGHUP);
    sigaddset(&program->signals, SIGUSR2);
    /* Before the first thread, so that all inherit it. */
    pthread_sigmask(SIG_BLOCK, &program->signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool start_signal_thread(struct program *program)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    int result = pthread_create(&program->signal_thread, &attributes, wait_for_signals, program);
    pthread_attr_destroy(&attributes);
    if (result != 0)
        snprintf(program->error, sizeof program->error, "cannot start a thread: %s; check the limit of processes",
                 strerror(result));
    return result == 0;
}

/* --- Being ready --- */

static void say_ready(struct program *program)
{
    char line[sizeof program->address + 1];
    if (program->ready_descriptor < 0)
        return;
    int length = snprintf(line, sizeof line, "%s\n", program->address);
    if (write(program->ready_descriptor, line, (size_t)length) != length)
        log_error("cannot write to --ready-fd", LOG_TEXT("reason", strerror(errno)));
    (void)close(program->ready_descriptor); /* whoever waits has the line */
    program->ready_descriptor = -1;
}

static void all_heard(struct gateway *gateway)
{
    struct program *program = (struct program *)gateway; /* its first member */
    atomic_store(&gateway->ready, true);
    log_info("all parts heard");
    say_ready(program);
}

static void ready_limit_passed(struct timer *timer, void *argument)
{
    struct program *program = argument;
    (void)timer;
    if (program->ready_descriptor >= 0)
        log_warning("serving, though not everything that the gateway goes by was heard");
    say_ready(program);
}

/* --- Settings --- */

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "localhost:", 10) == 0 ||
           strncmp(address, "[::1]", 5) == 0;
}

/* Reads the keys. Without any the gateway is open to everybody, so that only this machine should reach it. */
static bool take_keys(struct program *program)
{
    struct gateway *gateway = &program->gateway;
    const struct gateway_settings *settings = &gateway->settings;
    struct auth_error error;
    gateway->keys = key_file_open(&gateway->key_file, settings->api_keys_file, settings->api_key, &error);
    if (gateway->keys == NULL) {
        snprintf(program->error, sizeof program->error, "%s", error.text);
        return false;
    }
    gateway->closed = auth_keys_count(gateway->keys) + auth_keys_token_key_count(gateway->keys) > 0;
    if (!gateway->closed && !settings->insecure && !host_is_loopback(settings->host)) {
        snprintf(program->error, sizeof program->error,
                 "--host %.100s can be reached by others, and there is no key: give --api-keys FILE or the environment "
                 "variable API_KEY, listen on 127.0.0.1, or say --insecure to serve everybody who comes",
                 settings->host);
        return false;
    }
    if (settings->api_keys_file[0] != '\0') /* where limits come from */
        gateway->limiter = limiter_create();
    if (settings->api_keys_file[0] != '\0' && gateway->limiter == NULL) {
        snprintf(program->error, sizeof program->error, "out of memory");
        return false;
    }
    return true;
}

/* Those that this process may run on, which can be fewer than the machine has. */
static uint64_t usable_cores(void)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    return count < 1 ? 1 : count > HTTP_THREADS_MAX ? HTTP_THREADS_MAX : (uint64_t)count;
}

static bool refuse(struct program *program, const char *text)
{
    snprintf(program->error, sizeof program->error, "%s", text);
    return false;
}

static bool is_any_address(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
}

/* One or several URLs, separated by commas, at most `most`. */
static bool are_urls(const char *text, size_t most)
{
    struct http_origin origin;
    size_t count = 0;
    for (const char *at = text; *(at += strspn(at, ", ")) != '\0'; at += strcspn(at, ", ")) {
        if (++count > most || !http_origin_parse((struct http_text){at, strcspn(at, ", ")}, &origin))
            return false;
    }
    return count > 0;
}

static bool take_port(struct program *program, uint64_t port_of_role)
{
    char *end = NULL;
    program->gateway.settings.port = port_of_role;
    if (program->port[0] == '\0')
        return true;
    errno = 0;
    unsigned long port = strtoul(program->port, &end, 10);
    if (program->port[0] < '0' || program->port[0] > '9' || *end != '\0' || errno != 0 || port > 65535) {
        snprintf(program->error, sizeof program->error, "--port is \"%.60s\"; use a whole number from 0 to 65535",
                 program->port);
        return false;
    }
    program->gateway.settings.port = port;
    return true;
}

/* Where a load balancer's upstreams come from: from one place. */
static bool take_upstreams(struct program *program)
{
    const struct gateway_settings *settings = &program->gateway.settings;
    struct upstream_list list;
    char problem[200];
    int sources = (settings->upstreams[0] != '\0' ? 1 : 0) + (settings->upstreams_file[0] != '\0' ? 1 : 0) +
                  (settings->upstream_service[0] != '\0' ? 1 : 0);
    if (sources != 1)
        return refuse(program, "a load balancer needs one of --upstreams, --upstreams-file and --upstream-service");
    if (settings->check_path[0] != '/')
        return refuse(program, "--check-path is a path that begins with a slash");
    if (settings->upstream_prefix[0] != '\0' && settings->upstream_prefix[0] != '/')
        return refuse(program, "--upstream-prefix is a path that begins with a slash");
    if (settings->upstream_service[0] != '\0') {
        if (!are_urls(settings->coordinator_urls, PROXY_COORDINATORS_MAX))
            return refuse(program, "--upstream-service needs --coordinator-url: http or https URLs of coordinators, "
                                   "separated by commas, at most 64");
        if (settings->upstream_service[strspn(settings->upstream_service, SERVICE_CHARACTERS)] != '\0')
            return refuse(program, "--upstream-service is the name of a service: letters, digits, '-', '_' and '.'");
        return true;
    }
    if (settings->upstreams[0] == '\0')
        return true;
    if (!upstream_list_read(settings->upstreams, strlen(settings->upstreams), &list, problem, sizeof problem)) {
        snprintf(program->error, sizeof program->error, "--upstreams is wrong: %s", problem);
        return false;
    }
    upstream_list_free(&list);
    return true;
}

static bool take_role(struct program *program)
{
    static const struct {
        const char *name;
        enum api_role role;
        uint64_t port;
    } roles[] = {
        {"coordinator", API_COORDINATOR, 8080},
        {"edge-router", API_EDGE_ROUTER, 8080},
        {"edge-proxy", API_EDGE_PROXY, 8787},
        {"load-balancer", API_LOAD_BALANCER, 8090},
    };
    struct gateway *gateway = &program->gateway;
    struct gateway_settings *settings = &gateway->settings;
    size_t i = 0;
    while (i < sizeof roles / sizeof roles[0] && strcmp(settings->role, roles[i].name) != 0)
        i++;
    if (i == sizeof roles / sizeof roles[0])
        return refuse(program, "--role is coordinator, edge-router, edge-proxy or load-balancer");
    gateway->role = roles[i].role;
    if (!take_port(program, roles[i].port))
        return false;
    if (gateway->role == API_EDGE_PROXY && !are_urls(settings->coordinator_urls, PROXY_COORDINATORS_MAX))
        return refuse(program,
                      "an edge proxy needs --coordinator-url: http or https URLs of coordinators, separated by "
                      "commas, at most 64");
    return gateway->role != API_LOAD_BALANCER || take_upstreams(program);
}

/* The role, and what goes with it; edge.h and join.h. */
static bool take_federation_settings(struct program *program)
{
    struct gateway *gateway = &program->gateway;
    struct gateway_settings *settings = &gateway->settings;
    bool listens_locally = host_is_loopback(settings->host);
    if (!take_role(program))
        return false;
    if (strcmp(settings->coordinator_proof, "auto") == 0)
        settings->coordinator_proof = listens_locally ? "optional" : "required";
    else if (strcmp(settings->coordinator_proof, "required") != 0 &&
             strcmp(settings->coordinator_proof, "optional") != 0)
        return refuse(program, "--coordinator-proof is auto, required or optional");
    if (gateway->role == API_EDGE_ROUTER && settings->join[0] != '\0')
        return refuse(program, "an edge router joins nobody: leave --join out; --peer names other edge routers");
    if (api_stands_alone(gateway->role) && settings->join[0] != '\0')
        return refuse(program, "edge proxies and load balancers join nobody: leave --join out");
    if (gateway->role != API_EDGE_ROUTER && settings->peers[0] != '\0')
        return refuse(program, "--peer is for edge routers: add --role edge-router, or join one with --join");
    if (settings->public_url[0] != '\0' && settings->public_url_file[0] != '\0')
        return refuse(program, "--public-url and --public-url-file say the same: leave one of them out");
    if (settings->join[0] != '\0' && settings->public_url[0] == '\0' && settings->public_url_file[0] == '\0' &&
        is_any_address(settings->host))
        return refuse(program,
                      "--join needs --public-url: the URL at which edge routers and workers reach this coordinator");
    if (settings->public_url[0] != '\0') {
        struct http_origin origin;
        if (!http_origin_parse(http_text_of(settings->public_url), &origin))
            return refuse(program, "--public-url is an http or https URL without credentials, query or fragment");
    }
    atomic_init(&gateway->list_born_ms, LIST_UNBORN);
    bool is_wary = !listens_locally && !settings->allow_private_urls;
    gateway->public_only = gateway->role == API_EDGE_ROUTER && is_wary;
    gateway->guards_inside = gateway->role == API_COORDINATOR && is_wary;
    random_hex(gateway->proof_key, 32);
    random_hex(gateway->instance, 8);
    return true;
}

/* Where it is, and where clients are. */
static bool take_place_settings(struct program *program)
{
    struct gateway *gateway = &program->gateway;
    const struct gateway_settings *settings = &gateway->settings;
    int end = 0;
    if (settings->coordinates[0] != '\0' &&
        (sscanf(settings->coordinates, "%lf,%lf%n", &gateway->latitude, &gateway->longitude, &end) != 2 ||
         settings->coordinates[end] != '\0' || !(fabs(gateway->latitude) <= 90) || !(fabs(gateway->longitude) <= 180)))
        return refuse(program, "--coordinates are degrees of latitude and longitude: 51.5,-0.12");
    if (!client_address_rule_init(&gateway->client_address, settings->client_address_header, settings->trusted_proxies,
                                  program->error, sizeof program->error))
        return false;
    if (settings->geoip_database[0] == '\0')
        return true;
    if (gateway->role != API_EDGE_ROUTER)
        return refuse(program, "--geoip-database is for edge routers, which choose coordinators: leave it out");
    gateway->geoip = geoip_open(settings->geoip_database, program->error, sizeof program->error);
    return gateway->geoip != NULL;
}

static bool take_settings(struct program *program)
{
    struct gateway *gateway = &program->gateway;
    struct gateway_settings *settings = &gateway->settings;
    if (settings->heartbeat_stream[0] == '\0')
        settings->heartbeat_stream = settings->health_address;
    gateway->heartbeat_stream_is_local = is_loopback(settings->heartbeat_stream);
    char host[64] = "coordinator";
    (void)gethostname(host, sizeof host - 1); /* else the default stays */
    snprintf(gateway->coordinator_id, sizeof gateway->coordinator_id, "%s",
             settings->coordinator_id[0] != '\0' ? settings->coordinator_id : host);
    program->ready_descriptor = -1;
    if (settings->ready_descriptor[0] != '\0') {
        char *end = NULL;
        errno = 0;
        long number = strtol(settings->ready_descriptor, &end, 10);
        if (errno != 0 || *end != '\0' || number < 0 || number > 1 << 20) {
            snprintf(program->error, sizeof program->error,
                     "--ready-fd takes the number of an open file descriptor, not '%s'", settings->ready_descriptor);
            return false;
        }
        program->ready_descriptor = (int)number;
    }
    if (!take_federation_settings(program) || !take_place_settings(program))
        return false;
    if (settings->http_threads == 0)
        settings->http_threads = usable_cores();
    if (!cors_parse(&gateway->cors, settings->allowed_origins)) {
        snprintf(program->error, sizeof program->error, "out of memory");
        return false;
    }
    return take_keys(program);
}

/* --- Life --- */

static bool start_fronts(struct program *program)
{
    struct gateway *gateway = &program->gateway;
    gateway->links = links_create(gateway->settings.links_max);
    gateway->fronts = calloc(gateway->settings.http_threads, sizeof(struct front *));
    if (gateway->fronts == NULL || gateway->links == NULL) {
        snprintf(program->error, sizeof program->error, "out of memory");
        return false;
    }
    for (unsigned i = 0; i < gateway->settings.http_threads; i++) {
        gateway->fronts[i] =
            front_start(gateway, program->listener, program->resolver, program->error, sizeof program->error);
        if (gateway->fronts[i] == NULL)
            return false;
        gateway->front_count = i + 1;
    }
    return true;
}

/* Each connection is a descriptor, and a relayed request takes two: the usual soft limit of
 * 1,024 is for programs that use select(2). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* else the limit that there is holds */
}

static bool start(struct program *program)
{
    struct gateway *gateway = &program->gateway;
    const struct gateway_settings *settings = &gateway->settings;
    char reason[256];
    program->listener = http_listen(settings->host, (uint16_t)settings->port, LISTEN_BACKLOG, reason, sizeof reason);
    if (program->listener < 0) {
        snprintf(program->error, sizeof program->error,
                 "%s; choose another --host or --port, or stop what uses this one", reason);
        return false;
    }
    snprintf(program->address, sizeof program->address, strchr(settings->host, ':') != NULL ? "[%s]:%u" : "%s:%u",
             settings->host, (unsigned)http_listener_port(program->listener));
    snprintf(program->own_url, sizeof program->own_url, "http://%s", program->address);
    if (settings->join[0] != '\0' && settings->public_url[0] == '\0' && settings->public_url_file[0] == '\0')
        gateway->settings.public_url = program->own_url;
    program->resolver = http_resolver_create(0);
    gateway->rpc_loop = rpc_loop_create();
    gateway->backend = backend_create(gateway, all_heard);
    if (program->resolver == NULL || gateway->backend == NULL) {
        snprintf(program->error, sizeof program->error, "out of memory, or too many threads");
        return false;
    }
    return start_fronts(program) && start_signal_thread(program);
}

static void run(struct program *program)
{
    log_info("serving", LOG_TEXT("address", program->address), LOG_UINT("http_threads", program->gateway.front_count),
             LOG_UINT("keys", auth_keys_count(program->gateway.keys)),
             LOG_UINT("token_keys", auth_keys_token_key_count(program->gateway.keys)));
    if (!program->gateway.closed && !host_is_loopback(program->gateway.settings.host))
        log_warning("--insecure: everybody who can reach this address may do everything");
    rpc_loop_timer_start(program->gateway.rpc_loop, &program->ready_timer, READY_LIMIT_MS, ready_limit_passed, program);
    rpc_loop_run(program->gateway.rpc_loop);
    rpc_loop_timer_stop(program->gateway.rpc_loop, &program->ready_timer);
    pthread_kill(program->signal_thread, SIGUSR2);
    pthread_join(program->signal_thread, NULL);
}

static void clean_up(struct program *program)
{
    struct gateway *gateway = &program->gateway;
    for (unsigned i = 0; i < gateway->front_count; i++)
        front_stop(gateway->fronts[i]);
    free(gateway->fronts);
    if (gateway->backend != NULL)
        backend_destroy(gateway->backend);
    if (gateway->rpc_loop != NULL)
        rpc_loop_destroy(gateway->rpc_loop);
    if (program->resolver != NULL)
        http_resolver_destroy(program->resolver);
    if (program->listener >= 0)
        (void)close(program->listener); /* nothing is written to it */
    limiter_free(gateway->limiter);
    links_free(gateway->links);
    geoip_close(gateway->geoip);
    auth_keys_release(gateway->keys);
    cors_free(&gateway->cors);
}

int main(int argc, char **argv)
{
    struct program program = {.listener = -1};
    struct gateway_settings *settings = &program.gateway.settings;
    const struct setting table[] = {
        {"host", SETTING_TEXT, &settings->host, "127.0.0.1", "ADDRESS",
         "Address to listen on; one that others can reach takes keys, or --insecure.", 0, 0},
        {"port", SETTING_TEXT, &program.port, "", "PORT",
         "TCP port to listen on; 0: any free one; empty: 8080, of an edge proxy 8787, of a load balancer 8090.", 0, 0},
        {"http-threads", SETTING_UINT, &settings->http_threads, "0", "N", "Threads that serve HTTP; 0: one per core.",
         0, HTTP_THREADS_MAX},
        {"max-body-bytes", SETTING_UINT, &settings->max_body_bytes, "4194304", "BYTES",
         "Longest body of a request that is not relayed.", 1024, 1073741824},
        {"allowed-origins", SETTING_TEXT, &settings->allowed_origins, "*", "ORIGINS",
         "Pages whose scripts may call, separated by commas; *: any.", 0, 0},
        {"coordinator-id", SETTING_TEXT, &settings->coordinator_id, "", "ID",
         "What this coordinator is called; empty: the host's name.", 0, 0},
        {"heartbeat-stream", SETTING_TEXT, &settings->heartbeat_stream, "", "HOST:PORT",
         "Where workers are told to stream heartbeats; empty: the health address.", 0, 0},
        {"registry-address", SETTING_TEXT, &settings->registry_address, "127.0.0.1:7101", "HOST:PORT",
         "Where muster-registry is.", 0, 0},
        {"assigner-address", SETTING_TEXT, &settings->assigner_address, "127.0.0.1:7102", "HOST:PORT",
         "Where muster-assigner is.", 0, 0},
        {"health-address", SETTING_TEXT, &settings->health_address, "127.0.0.1:7103", "HOST:PORT",
         "Where muster-health is.", 0, 0},
        {"router-address", SETTING_TEXT, &settings->router_address, "127.0.0.1:7104", "HOST:PORT",
         "Where muster-router is.", 0, 0},
        {"dht-address", SETTING_TEXT, &settings->dht_address, "", "HOST:PORT",
         "Where muster-dht is, this coordinator's node of the hash table; empty: there is none.", 0, 0},
        {"first-byte-timeout-seconds", SETTING_DOUBLE, &settings->first_byte_timeout_seconds, "120", "SECONDS",
         "How long a worker, or at an edge router the coordinator before it, may take to begin its answer, before the "
         "client gets 504.",
         0.001, 86400},
        {"drain-timeout-seconds", SETTING_DOUBLE, &settings->drain_timeout_seconds, "10", "SECONDS",
         "How long requests may take to finish when the process is told to stop.", 0, 3600},
        {"broadcast-timeout-seconds", SETTING_DOUBLE, &settings->broadcast_timeout_seconds, "30", "SECONDS",
         "How long each worker may take to answer a broadcast job.", 0.001, 3600},
        {"websocket-ping-seconds", SETTING_DOUBLE, &settings->websocket_ping_seconds, "20", "SECONDS",
         "How often WebSockets are pinged; a client that is silent for three times as long is dropped.", 0.01, 3600},
        {"websockets-max", SETTING_UINT, &settings->websockets_max, "1000", "N",
         "How many WebSockets of /ws/events and /ws/topology there may be at a time.", 0, 1000000},
        {"links-max", SETTING_UINT, &settings->links_max, "10000", "N",
         "How many workers may keep a link (muster-worker --tunnel link) at a time. Other gateway processes do not see "
         "them: where several share an address, let it be that of a muster-gateway --role load-balancer.",
         0, 1000000},
        {"api-keys", SETTING_TEXT, &settings->api_keys_file, "", "FILE",
         "Keys, tokens that are believed, and limits, as JSON (common/auth/keys.h); read again when it changes, and on "
         "SIGHUP.",
         0, 0},
        {"api-key", SETTING_TEXT, &settings->api_key, "", "KEY",
         "A key that may do everything. Better given as API_KEY: flags can be seen by others.", 0, 0},
        {"insecure", SETTING_BOOL, &settings->insecure, NULL, NULL,
         "Listen on --host though others can reach it and there is no key.", 0, 0},
        {"role", SETTING_TEXT, &settings->role, "coordinator", "ROLE",
         "coordinator; edge-router: the public address of coordinators, which join it; edge-proxy: stands alone, and "
         "sends "
         "requests to workers by the lists of coordinators; or load-balancer: stands alone, and sends requests to "
         "upstreams in turn.",
         0, 0},
        {"coordinator-url", SETTING_TEXT, &settings->coordinator_urls, "", "URLS",
         "Whose lists of workers an edge proxy reads, and a load balancer with --upstream-service, separated by "
         "commas.",
         0, 0},
        {"poll-seconds", SETTING_DOUBLE, &settings->poll_seconds, "300", "SECONDS",
         "How often it reads them, a tenth more or less.", 0.01, 86400},
        {"poll-retry-seconds", SETTING_DOUBLE, &settings->poll_retry_seconds, "5", "SECONDS",
         "How soon again after a failure, at first, and when a list turns out to be out of date.", 0.01, 3600},
        {"data-dir", SETTING_TEXT, &settings->data_dir, "", "FOLDER",
         "Where an edge proxy keeps the last lists over its own restart; empty: nowhere.", 0, 0},
        {"discover-elsewhere", SETTING_BOOL, &settings->discover_elsewhere, NULL, NULL,
         "Have an edge proxy ask the coordinators for services that none of them lists: those of other coordinators, "
         "from their hash table.",
         0, 0},
        {"elsewhere-seconds", SETTING_DOUBLE, &settings->elsewhere_seconds, "60", "SECONDS",
         "How long what they answer to that is good.", 0.01, 86400},
        {"upstreams", SETTING_TEXT, &settings->upstreams, "", "URLS",
         "Whom a load balancer sends requests to, in turn, separated by commas.", 0, 0},
        {"upstreams-file", SETTING_TEXT, &settings->upstreams_file, "", "FILE",
         "The same, one URL a line; read again when it changes, and on SIGHUP.", 0, 0},
        {"upstream-service", SETTING_TEXT, &settings->upstream_service, "", "NAME",
         "The same: the workers that a coordinator (--coordinator-url) names for this service.", 0, 0},
        {"upstream-prefix", SETTING_TEXT, &settings->upstream_prefix, "", "PATH",
         "Path on these workers that comes before every request's: \"/service/edge-proxy\".", 0, 0},
        {"check-path", SETTING_TEXT, &settings->check_path, "/health", "PATH",
         "What a load balancer asks each upstream for, to see whether it is up: 200 to 399 is a yes.", 0, 0},
        {"check-interval-seconds", SETTING_DOUBLE, &settings->check_interval_seconds, "5", "SECONDS",
         "How often, a tenth more or less.", 0.01, 86400},
        {"check-timeout-seconds", SETTING_DOUBLE, &settings->check_timeout_seconds, "2", "SECONDS",
         "How long the answer may take.", 0.01, 3600},
        {"check-up", SETTING_UINT, &settings->check_up, "2", "N", "So many checks in a row bring an upstream back.", 1,
         1000},
        {"check-down", SETTING_UINT, &settings->check_down, "3", "N",
         "So many failures in a row, of checks or to reach it, take it out.", 1, 1000},
        {"pass-credentials", SETTING_BOOL, &settings->pass_credentials, NULL, NULL,
         "Hand X-API-Key and Authorization on to upstreams, also where this load balancer asks for them itself.", 0, 0},
        {"location", SETTING_TEXT, &settings->location, "", "PLACE", "Where this coordinator is: \"uk\".", 0, 0},
        {"public-url", SETTING_TEXT, &settings->public_url, "", "URL",
         "Where others reach this coordinator; empty: the address that it listens on.", 0, 0},
        {"public-url-file", SETTING_TEXT, &settings->public_url_file, "", "FILE",
         "A file that holds the public URL, and is replaced when that changes: what muster-tunnel writes.", 0, 0},
        {"join", SETTING_TEXT, &settings->join, "", "URLS", "Edge routers to join, separated by commas; empty: none.",
         0, 0},
        {"join-heartbeat-seconds", SETTING_DOUBLE, &settings->join_heartbeat_seconds, "10", "SECONDS",
         "How often edge routers hear of this coordinator at least.", 0.01, 3600},
        {"federation-key", SETTING_TEXT, &settings->federation_key, "", "KEY",
         "Sent as X-API-Key to edge routers that are joined, to coordinators behind an edge router, and to its peers.",
         0, 0},
        {"peer", SETTING_TEXT, &settings->peers, "", "URLS",
         "Other edge routers, separated by commas, to tell each other of coordinators.", 0, 0},
        {"peer-interval-seconds", SETTING_DOUBLE, &settings->peer_interval_seconds, "10", "SECONDS",
         "How often they do so at least.", 0.01, 3600},
        {"coordinator-proof", SETTING_TEXT, &settings->coordinator_proof, "auto", "WHEN",
         "Whether a coordinator must prove that it is at the URL that it registers: required, optional (older ones "
         "cannot), or auto: required unless this edge router listens on loopback only.",
         0, 0},
        {"allow-private-urls", SETTING_BOOL, &settings->allow_private_urls, NULL, NULL,
         "Let coordinators register private addresses at an edge router that listens beyond loopback, and workers from "
         "public addresses at such a coordinator.",
         0, 0},
        {"coordinates", SETTING_TEXT, &settings->coordinates, "", "LATITUDE,LONGITUDE",
         "Where this coordinator is, in degrees: \"51.5,-0.12\"; edge routers with a database of places go by it.", 0,
         0},
        {"geoip-database", SETTING_TEXT, &settings->geoip_database, "", "FILE",
         "Where addresses are, in MaxMind's format (.mmdb): an edge router sends workers to the closest coordinator by "
         "it; read again when it changes, and on SIGHUP.",
         0, 0},
        {"client-address-header", SETTING_TEXT, &settings->client_address_header, "", "NAME",
         "Where trusted proxies say who their client is: CF-Connecting-IP, X-Forwarded-For; empty: nobody is believed.",
         0, 0},
        {"trusted-proxies", SETTING_TEXT, &settings->trusted_proxies, "127.0.0.0/8,::1", "NETWORKS",
         "The proxies that are believed then, separated by commas.", 0, 0},
        {"region-interval-seconds", SETTING_DOUBLE, &settings->region_interval_seconds, "5", "SECONDS",
         "How often an edge router reads each coordinator's list of workers; long ones less often.", 0.01, 3600},
        {"region-timeout-seconds", SETTING_DOUBLE, &settings->region_timeout_seconds, "10", "SECONDS",
         "How long a coordinator may take to list its workers.", 0.01, 3600},
        {"region-silence-seconds", SETTING_UINT, &settings->region_silence_seconds, "4", "SECONDS",
         "How long it may send nothing meanwhile, before it is out of the pool; 0: as long as that.", 0, 3600},
        {"ready-fd", SETTING_TEXT, &settings->ready_descriptor, "", "N",
         "Write HOST:PORT to this file descriptor when serving.", 0, 0},
    };
    struct config config = {.program = PROGRAM,
                            .summary = "Serves Muster's REST contract, and relays service requests to the workers.",
                            .settings = table,
                            .setting_count = sizeof table / sizeof table[0]};
    /* As many heaps as there are busy threads would each keep what it once used. */
    mallopt(M_ARENA_MAX, 2);
    config_parse_or_exit(&config, argc, argv);
    int exit_code = 2;
    if (take_settings(&program)) {
        block_signals(&program);
        raise_descriptor_limit();
        exit_code = start(&program) ? 0 : 1;
        if (exit_code == 0)
            run(&program);
    }
    if (exit_code != 0)
        fprintf(stderr, "%s: %s\n", PROGRAM, program.error);
    clean_up(&program);
    if (exit_code == 0)
        log_info("stopped");
    config_free(&config);
    return exit_code;
}
