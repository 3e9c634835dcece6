/* `musterctl up`: a whole coordinator, or a whole edge router, from one command. */

#include "common/config.h"
#include "common/log.h"
#include "common/loopback.h"
#include "common/random.h"
#include "services/ctl/child.h"
#include "services/ctl/command.h"
#include "services/ctl/fleet.h"
#include "services/ctl/plan.h"
#include "services/ctl/ports.h"
#include "services/ctl/rest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define PROBE_TIMEOUT_MS 2000
#define REQUESTS_PER_WORKER 8
#define OWN_KEY_BYTES 65

struct up_settings {
    const char *host, *grpc_host, *data_dir, *log_dir, *bin_dir, *catalog;
    const char *dht_seeds, *public_url, *location;
    const char *api_keys, *api_key;
    const char *role, *coordinator_id, *join, *peers;
    const char *tunnel, *tunnel_token, *tunnel_credentials, *cloudflared;
    bool dht, dht_private_peers, insecure;
    uint64_t port, grpc_port, demo_workers;
    double start_timeout_seconds, stop_timeout_seconds;
};

struct up {
    struct up_settings settings;
    struct plan plan;
    struct port_reservation *reservations;
    size_t reservation_count;
    uint16_t *ports;
    int lock;                    /* of the data directory; -1: none */
    char url[320];               /* as shown */
    char local_url[320];         /* as asked */
    char own_key[OWN_KEY_BYTES]; /* that was made up for the demo workers; "": none */
    bool *answered;              /* for each demo worker, whether it has answered a request */
    size_t answered_count;
    char problem[512]; /* why it does not serve yet */
};

__attribute__((format(printf, 1, 2))) static int fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("musterctl: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    return COMMAND_FAILED;
}

/* --- The data directory --- */

/* Creates it if need be and locks it: two coordinators on one directory would overwrite
 * each other's workers. The lock goes with this process, however it ends. */
static bool lock_data_dir(struct up *up)
{
    const char *folder = up->settings.data_dir;
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/musterctl.lock", folder);
    if (mkdir(folder, 0755) != 0 && errno != EEXIST) {
        (void)fail("cannot create the data directory %s: %s; choose another --data-dir", folder, strerror(errno));
        return false;
    }
    up->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (up->lock < 0) {
        (void)fail("cannot write to the data directory %s: %s; make it writable or choose another --data-dir", folder,
                   strerror(errno));
        return false;
    }
    if (flock(up->lock, LOCK_EX | LOCK_NB) != 0) {
        (void)fail("another musterctl runs on the data directory %s: stop it or choose another --data-dir", folder);
        return false;
    }
    return true;
}

/* --- Ports --- */

/* The port that the settings ask for: 0 is any free one. */
static uint64_t wanted_port(const struct up_settings *settings, size_t index)
{
    if (index == PLAN_GATEWAY)
        return settings->port;
    if (index == PLAN_DHT && settings->dht) /* behind the others, among which the gateway is none */
        return settings->grpc_port == 0 ? 0 : settings->grpc_port + PLAN_GATEWAY;
    if (index >= PLAN_FIXED_COUNT)
        return 0;
    return settings->grpc_port == 0 ? 0 : settings->grpc_port + index;
}

static bool reserve_ports(struct up *up, const struct plan_options *options)
{
    size_t count = plan_process_count(options);
    up->reservations = calloc(count, sizeof(*up->reservations));
    up->ports = calloc(count, sizeof(*up->ports));
    up->answered = calloc(count, sizeof(*up->answered));
    if (up->reservations == NULL || up->ports == NULL || up->answered == NULL) {
        (void)fail("out of memory");
        return false;
    }
    up->reservation_count = count;
    for (size_t i = 0; i < count; i++)
        up->reservations[i] = (struct port_reservation)PORT_RESERVATION_NONE;
    /* Those that are asked for by number come first, or a free one could take their place. */
    for (int free_ones = 0; free_ones <= 1; free_ones++) {
        for (size_t i = 0; i < count; i++) {
            uint64_t port = wanted_port(&up->settings, i);
            char error[400];
            if ((port == 0) != (free_ones == 1) || !plan_listens(options, i))
                continue;
            if (!port_reserve(plan_host_of(options, i), (uint16_t)port, &up->reservations[i], error, sizeof(error))) {
                (void)fail("%s with %s", error, i == PLAN_GATEWAY ? "--port" : "--grpc-port");
                return false;
            }
            up->ports[i] = up->reservations[i].port;
        }
    }
    return true;
}

/* --- Keys --- */

static bool has_keys(const struct up_settings *settings)
{
    return *settings->api_keys != '\0' || *settings->api_key != '\0';
}

/* The rule of the processes (common/loopback.h), before any of them is started. */
static bool check_hosts(const struct up_settings *settings)
{
    if (settings->insecure)
        return true;
    if (!has_keys(settings) && !host_is_loopback(settings->host)) {
        (void)fail("--host %s can be reached by others, and there is no key: give --api-keys FILE or the environment "
                   "variable API_KEY, listen on 127.0.0.1, or say --insecure to serve everybody who comes",
                   settings->host);
        return false;
    }
    if (!has_keys(settings) && *settings->tunnel != '\0') {
        (void)fail(
            "--tunnel makes the gateway reachable for everybody, and there is no key: give --api-keys FILE or the "
            "environment variable API_KEY, or say --insecure to serve everybody who comes");
        return false;
    }
    if (!host_is_loopback(settings->grpc_host)) {
        (void)fail("--grpc-host %s can be reached by others, and these ports know no keys: listen on 127.0.0.1, or say "
                   "--insecure if only your own machines can reach it",
                   settings->grpc_host);
        return false;
    }
    return true;
}

/* The processes find the key in their environment, where others cannot see it. Demo workers need one where there is
 * only a file: for them one is made up, which lives as long as this process. */
static bool hand_on_key(struct up *up)
{
    const char *key = up->settings.api_key;
    if (*key == '\0' && *up->settings.api_keys != '\0' && up->settings.demo_workers > 0) {
        random_hex(up->own_key, (sizeof(up->own_key) - 1) / 2);
        key = up->own_key;
    }
    if (*key != '\0' && setenv("API_KEY", key, 1) != 0) {
        (void)fail("out of memory");
        return false;
    }
    up->settings.api_key = key;
    return true;
}

/* --- The tunnel --- */

/* muster-tunnel checks the rest. */
static bool check_tunnel(const struct up_settings *settings)
{
    bool has_tunnel = *settings->tunnel != '\0';
    if (has_tunnel && strcmp(settings->tunnel, "cloudflared") != 0)
        (void)fail("--tunnel %s: give cloudflared, or leave it out", settings->tunnel);
    else if (!has_tunnel && (*settings->tunnel_token != '\0' || *settings->tunnel_credentials != '\0'))
        (void)fail(
            "--tunnel-token and --tunnel-credentials are of a named tunnel: give --tunnel cloudflared as well, and "
            "the tunnel's URL as --public-url");
    else
        return true;
    return false;
}

/* By the environment, where others cannot see it. */
static bool hand_on_tunnel_token(const struct up_settings *settings)
{
    if (*settings->tunnel_token == '\0' || setenv("TUNNEL_TOKEN", settings->tunnel_token, 1) == 0)
        return true;
    (void)fail("out of memory");
    return false;
}

static struct rest_coordinator coordinator_of(const struct up *up)
{
    return (struct rest_coordinator){up->local_url, up->settings.api_key};
}

/* --- Whether everything serves --- */

static bool is_demo_worker(const char *worker_id)
{
    return worker_id != NULL && strncmp(worker_id, "demo-", 5) == 0;
}

static bool demo_workers_are_online(struct up *up)
{
    const struct rest_coordinator coordinator = coordinator_of(up);
    struct rest_answer answer;
    size_t online = 0;
    if (rest_get(&coordinator, "/api/admin/workers", PROBE_TIMEOUT_MS, &answer)) {
        size_t index;
        json_t *worker;
        json_array_foreach(json_object_get(answer.body, "workers"), index, worker)
        {
            const char *status = json_string_value(json_object_get(worker, "status"));
            if (is_demo_worker(json_string_value(json_object_get(worker, "worker_id"))) && status != NULL &&
                strcmp(status, "online") == 0)
                online++;
        }
        (void)snprintf(up->problem, sizeof(up->problem), "%zu of %zu demo workers are online", online,
                       (size_t)up->settings.demo_workers);
    } else {
        (void)snprintf(up->problem, sizeof(up->problem), "%s", answer.error);
    }
    rest_answer_free(&answer);
    return online >= up->settings.demo_workers;
}

static bool is_healthy(struct up *up)
{
    const struct rest_coordinator coordinator = coordinator_of(up);
    struct rest_answer answer;
    bool healthy = false;
    if (rest_get(&coordinator, "/health", PROBE_TIMEOUT_MS, &answer)) {
        const char *status = json_string_value(json_object_get(answer.body, "status"));
        healthy = status != NULL && strcmp(status, "healthy") == 0;
        (void)snprintf(up->problem, sizeof(up->problem), "/health says %s", status != NULL ? status : "nothing");
    } else {
        (void)snprintf(up->problem, sizeof(up->problem), "%s", answer.error);
    }
    rest_answer_free(&answer);
    return healthy;
}

/* Requests through the gateway, until each demo worker has answered one: the routes to all of
 * them have arrived everywhere. Each time some requests more, since the gateway chooses at
 * random. */
static bool demo_workers_answer(struct up *up)
{
    size_t count = (size_t)up->settings.demo_workers;
    for (size_t i = 0; i < REQUESTS_PER_WORKER * count && up->answered_count < count; i++) {
        struct rest_answer answer;
        const struct rest_coordinator coordinator = coordinator_of(up);
        bool answered = rest_post_text(&coordinator, "/api/service/document-processing", "Is anybody there?\n",
                                       PROBE_TIMEOUT_MS, &answer);
        unsigned int number = 0;
        if (answered && sscanf(answer.served_by, "demo-%u", &number) == 1 && number >= 1 && number <= count &&
            !up->answered[number - 1]) {
            up->answered[number - 1] = true;
            up->answered_count++;
        }
        (void)snprintf(up->problem, sizeof(up->problem), "%s", answer.error);
        rest_answer_free(&answer);
        if (!answered)
            return false;
    }
    (void)snprintf(up->problem, sizeof(up->problem), "%zu of %zu demo workers have answered a request",
                   up->answered_count, count);
    return up->answered_count == count;
}

static bool serves(void *argument)
{
    struct up *up = argument;
    if (!is_healthy(up))
        return false;
    return up->settings.demo_workers == 0 || (demo_workers_are_online(up) && demo_workers_answer(up));
}

static void announce(void *argument)
{
    struct up *up = argument;
    /* Whoever started us may have closed the pipe; the coordinator serves all the same. */
    if (printf("ready %s\n", up->url) < 0 || fflush(stdout) != 0)
        log_warning("nobody reads the standard output");
}

/* --- All of it --- */

static bool is_every_address(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
}

static int run(struct up *up, const struct config *config)
{
    const struct up_settings *settings = &up->settings;
    struct plan_options options = {
        .host = settings->host,
        .grpc_host = settings->grpc_host,
        .data_dir = settings->data_dir,
        .catalog = settings->catalog,
        .api_keys = settings->api_keys,
        .worker_tokens = has_keys(settings),
        .insecure = settings->insecure,
        .role = settings->role,
        .coordinator_id = settings->coordinator_id,
        .join = settings->join,
        .peers = settings->peers,
        .log_level = config->log_level,
        .log_format = config->log_format,
        .dht = settings->dht,
        /* Through a tunnel strangers come, who could name any address. */
        .dht_private_peers =
            settings->dht_private_peers || (host_is_loopback(settings->host) && *settings->tunnel == '\0'),
        .dht_seeds = settings->dht_seeds,
        .public_url = settings->public_url,
        .location = settings->location,
        .tunnel = *settings->tunnel != '\0',
        .tunnel_credentials = settings->tunnel_credentials,
        .cloudflared = settings->cloudflared,
        .demo_workers = (unsigned int)settings->demo_workers,
        .ready_fd = CHILD_READY_FD,
    };
    if (!check_tunnel(settings) || !hand_on_tunnel_token(settings))
        return COMMAND_FAILED;
    if (settings->dht && *settings->public_url == '\0' && *settings->tunnel == '\0' && is_every_address(settings->host))
        return fail("others cannot call %s: say with --public-url where they reach this coordinator", settings->host);
    if (strcmp(settings->role, PLAN_EDGE_ROUTER) == 0 && settings->demo_workers > 0)
        return fail("an edge router has no workers of its own: leave --demo-workers out");
    if (!check_hosts(settings) || !hand_on_key(up))
        return COMMAND_FAILED;
    if (*settings->log_dir != '\0' && mkdir(settings->log_dir, 0755) != 0 && errno != EEXIST)
        return fail("cannot create the log directory %s: %s; choose another --log-dir", settings->log_dir,
                    strerror(errno));
    if (!lock_data_dir(up) || !reserve_ports(up, &options))
        return COMMAND_FAILED;
    options.ports = up->ports;
    if (!plan_build(&up->plan, &options))
        return fail("out of memory");
    plan_local_url(&options, up->local_url, sizeof(up->local_url));
    (void)snprintf(up->url, sizeof(up->url), "http://%s", up->plan.processes[PLAN_GATEWAY].address);

    struct supervisor_options supervisor = supervisor_default_options;
    supervisor.start_timeout_ms = (uint64_t)(settings->start_timeout_seconds * 1000);
    supervisor.stop_timeout_ms = (uint64_t)(settings->stop_timeout_seconds * 1000);
    struct fleet_options fleet = {
        .plan = &up->plan,
        .supervisor = &supervisor,
        .bin_dir = settings->bin_dir,
        .log_dir = settings->log_dir,
        .data_dir = settings->data_dir,
        .url = up->url,
        .serves = serves,
        .problem = up->problem,
        .ready = announce,
        .argument = up,
        .serve_timeout_ms = supervisor.start_timeout_ms,
    };
    char error[1024];
    return fleet_run(&fleet, error, sizeof(error)) ? COMMAND_OK : fail("%s", error);
}

int command_up(const struct command *command, int argc, char **argv)
{
    /* Blocked before anything else, so that one that comes early is not lost. */
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGCHLD);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
        return fail("cannot block signals: %s", strerror(errno));

    struct up up = {.lock = -1};
    struct up_settings *settings = &up.settings;
    const struct setting table[] = {
        {"host", SETTING_TEXT, &settings->host, "127.0.0.1", "HOST", "Where the gateway listens.", 0, 0},
        {"port", SETTING_UINT, &settings->port, "8080", "PORT", "The gateway's port; 0: any free one.", 0, 65535},
        {"grpc-host", SETTING_TEXT, &settings->grpc_host, "127.0.0.1", "HOST",
         "Where the processes behind it listen, and the demo workers.", 0, 0},
        {"grpc-port", SETTING_UINT, &settings->grpc_port, "7101", "PORT",
         "First of five ports: registry, assigner, health, router, dht; 0: any free ones.", 0, 65531},
        {"data-dir", SETTING_TEXT, &settings->data_dir, "muster-data", "DIR",
         "Where the registry's database lies; created if it is not there.", 0, 0},
        {"demo-workers", SETTING_UINT, &settings->demo_workers, "0", "N",
         "How many workers to run beside it, named demo-1 and so on.", 0, 1000},
        {"catalog", SETTING_TEXT, &settings->catalog, "", "FILE",
         "The catalog of services, instead of the built-in one.", 0, 0},
        {"dht", SETTING_BOOL, &settings->dht, NULL, NULL,
         "Take part in the coordinators' hash table, as the first one of them or with --dht-seeds.", 0, 0},
        {"dht-seeds", SETTING_TEXT, &settings->dht_seeds, "", "URLS",
         "Coordinators that take part, separated by commas: take part, too, and find the others through them.", 0, 0},
        {"dht-private-peers", SETTING_BOOL, &settings->dht_private_peers, NULL, NULL,
         "Call other coordinators also on private networks; always so with a --host that is 127.0.0.1.", 0, 0},
        {"role", SETTING_TEXT, &settings->role, "coordinator", "ROLE",
         "coordinator; or edge-router: the public address of coordinators, which join it.", 0, 0},
        {"join", SETTING_TEXT, &settings->join, "", "URLS", "Edge routers to join, separated by commas.", 0, 0},
        {"coordinator-id", SETTING_TEXT, &settings->coordinator_id, "", "ID",
         "What this coordinator is called; empty: the host's name.", 0, 0},
        {"location", SETTING_TEXT, &settings->location, "", "PLACE", "Where this coordinator is: \"uk\".", 0, 0},
        {"public-url", SETTING_TEXT, &settings->public_url, "", "URL",
         "Where edge routers, workers and other coordinators reach the gateway; without it where it listens.", 0, 0},
        {"tunnel", SETTING_TEXT, &settings->tunnel, "", "KIND",
         "cloudflared: run it, so that the gateway is reached through Cloudflare and needs no address of its own.", 0,
         0},
        {"tunnel-token", SETTING_TEXT, &settings->tunnel_token, "", "TOKEN",
         "Of a named tunnel, whose URL is --public-url; without it Cloudflare gives a quick tunnel. Better given as "
         "TUNNEL_TOKEN: flags can be seen by others.",
         0, 0},
        {"tunnel-credentials", SETTING_TEXT, &settings->tunnel_credentials, "", "FILE",
         "Instead of the token: the credentials file of a named tunnel, which cloudflared tunnel create wrote.", 0, 0},
        {"cloudflared", SETTING_TEXT, &settings->cloudflared, "", "PROGRAM",
         "The program that --tunnel cloudflared runs; empty: cloudflared.", 0, 0},
        {"peer", SETTING_TEXT, &settings->peers, "", "URLS",
         "Of an edge router: other ones, separated by commas, to tell each other of coordinators.", 0, 0},
        {"api-keys", SETTING_TEXT, &settings->api_keys, "", "FILE",
         "The gateway's key file; see muster-gateway --help.", 0, 0},
        {"api-key", SETTING_TEXT, &settings->api_key, "", "KEY",
         "A key that may do everything, for the gateway and the demo workers. Better given as API_KEY: flags can be "
         "seen by others.",
         0, 0},
        {"insecure", SETTING_BOOL, &settings->insecure, NULL, NULL,
         "Listen on --host and --grpc-host though others can reach them and no key protects them.", 0, 0},
        {"log-dir", SETTING_TEXT, &settings->log_dir, "", "DIR",
         "Where each process writes NAME.log; without it all log to standard error.", 0, 0},
        {"bin-dir", SETTING_TEXT, &settings->bin_dir, "", "DIR", "Where the programs are; without it beside this one.",
         0, 0},
        {"start-timeout-seconds", SETTING_DOUBLE, &settings->start_timeout_seconds, "30", "SECONDS",
         "Give up when a process is not ready by then.", 0.1, 3600},
        {"stop-timeout-seconds", SETTING_DOUBLE, &settings->stop_timeout_seconds, "15", "SECONDS",
         "Kill what has not ended that long after it was asked to.", 0.1, 3600},
    };
    struct config config = {
        .program = "musterctl up",
        .summary = command->summary,
        .settings = table,
        .setting_count = sizeof(table) / sizeof(table[0]),
    };
    config_parse_or_exit(&config, argc, argv);
    settings->dht = settings->dht || *settings->dht_seeds != '\0';
    /* In its log lines the program has its own name, without the command. */
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_FORMAT_TEXT;
    if (log_level_parse(config.log_level, &level) && log_format_parse(config.log_format, &format))
        log_configure("musterctl", level, format);
    int code = COMMAND_FAILED;
    if (rest_start())
        code = run(&up, &config);
    else
        (void)fail("cannot set up libcurl");
    rest_stop();
    for (size_t i = 0; i < up.reservation_count; i++)
        port_release(&up.reservations[i]);
    free(up.reservations);
    free(up.ports);
    free(up.answered);
    plan_free(&up.plan);
    if (up.lock >= 0)
        (void)close(up.lock);
    config_free(&config);
    return code;
}
