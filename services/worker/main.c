/* muster-worker: lends this machine to a coordinator. */

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "services/worker/worker.h"

int main(int argc, char **argv)
{
    struct worker_options options = {0};
    uint64_t port, most_requests, ready_descriptor;
    double heartbeat_interval_seconds, drain_timeout_seconds, tunnel_timeout_seconds, return_after_seconds,
        link_ping_seconds;
    const char *api_key, *tunnel_token;
    const struct setting settings[] = {
        {"coordinator-url", SETTING_TEXT, &options.coordinator_urls, "http://127.0.0.1:8080", "URL[,URL...]",
         "The coordinator or edge router to register with; of several the first that takes this worker, and the next "
         "ones when it dies.",
         0, 0},
        {"worker-id", SETTING_TEXT, &options.worker_id, NULL, "ID",
         "Name of this worker, unique at its coordinator; made up from the host's name when not given.", 0, 0},
        {"worker-type", SETTING_TEXT, &options.worker_type, "auto", "TYPE",
         "auto, gpu, cpu, storage or edge; auto: decided from what the machine has.", 0, 0},
        {"tunnel-url", SETTING_TEXT, &options.tunnel_url, NULL, "URL",
         "Where the coordinator reaches this worker, if not at the address that it listens on.", 0, 0},
        {"tunnel", SETTING_TEXT, &options.tunnel, NULL, "KIND",
         "How this worker is reached without an address of its own. link: through a WebSocket that it keeps to its "
         "coordinator; cloudflared: run it, through Cloudflare.",
         0, 0},
        {"tunnel-token", SETTING_TEXT, &tunnel_token, NULL, "TOKEN",
         "Of a named tunnel, whose URL is --tunnel-url; without it Cloudflare gives a quick tunnel. Better given as "
         "TUNNEL_TOKEN: flags can be seen by others.",
         0, 0},
        {"tunnel-credentials", SETTING_TEXT, &options.tunnel_credentials, NULL, "FILE",
         "Instead of the token: the credentials file of a named tunnel, which cloudflared tunnel create wrote.", 0, 0},
        {"cloudflared", SETTING_TEXT, &options.cloudflared, "cloudflared", "PROGRAM",
         "The program that --tunnel cloudflared runs.", 0, 0},
        {"tunnel-timeout-seconds", SETTING_DOUBLE, &tunnel_timeout_seconds, "60", "SECONDS",
         "A tunnel that is not connected after so long is started again.", 1, 3600},
        {"link-ping-seconds", SETTING_DOUBLE, &link_ping_seconds, "15", "SECONDS",
         "Of --tunnel link: time between pings; a link is opened anew after three without a word.", 0.1, 3600},
        {"host", SETTING_TEXT, &options.host, "127.0.0.1", "ADDRESS", "Address to listen on; 0.0.0.0: all.", 0, 0},
        {"port", SETTING_UINT, &port, "8070", "PORT", "Port to listen on; 0: any that is free.", 0, 65535},
        {"location", SETTING_TEXT, &options.location, NULL, "TEXT", "Where this machine is, as shown in lists.", 0, 0},
        {"service", SETTING_LIST, &options.services, NULL, "NAME=URL",
         "A service that already runs here; may be given many times.", 0, 0},
        {"run", SETTING_LIST, &options.commands, NULL, "NAME=COMMAND",
         "A service to run: the command of the shell says {port} where the port belongs; may be given many times.", 0,
         0},
        {"run-assigned", SETTING_LIST, &options.on_demand, NULL, "NAME=COMMAND",
         "The same, but it runs only while the coordinator assigns it to this worker.", 0, 0},
        {"edge-services", SETTING_BOOL, &options.edge_services, "true", NULL,
         "Run coordinator, edge-proxy and load-balancer with Muster's own programs while they are assigned, unless "
         "given "
         "by --run-assigned, --run or --service.",
         0, 0},
        {"edge-join", SETTING_TEXT, &options.edge_join, NULL, "URLS",
         "Edge routers that a coordinator which this worker runs joins; empty: --coordinator-url.", 0, 0},
        {"edge-api-keys", SETTING_TEXT, &options.edge_api_keys, NULL, "FILE",
         "Keys that these services ask for (common/auth/keys.h); needed where others reach this worker.", 0, 0},
        {"edge-insecure", SETTING_BOOL, &options.edge_insecure, NULL, NULL,
         "Run these services without keys though others reach this worker.", 0, 0},
        {"demo", SETTING_BOOL, &options.demonstration, "true", NULL,
         "Offer document-processing, which is built in, unless it is given by --service or --run.", 0, 0},
        {"heartbeat-interval-seconds", SETTING_DOUBLE, &heartbeat_interval_seconds, "0", "SECONDS",
         "Time between heartbeats; 0: what the coordinator says.", 0, 86400},
        {"drain-timeout-seconds", SETTING_DOUBLE, &drain_timeout_seconds, "10", "SECONDS",
         "How long requests may take to finish when the worker stops.", 0, 86400},
        {"return-after-seconds", SETTING_DOUBLE, &return_after_seconds, "60", "SECONDS",
         "How long the coordinator that this worker had to leave must answer again before it goes back; 0: it stays "
         "where it is.",
         0, 86400},
        {"max-requests", SETTING_UINT, &most_requests, "256", "N",
         "Requests that are worked on at once; more are refused.", 1, 100000},
        {"storage-dir", SETTING_TEXT, &options.storage_folder, ".", "FOLDER",
         "A folder on the disk that is lent; with more than 100 GB free the worker has storage.", 0, 0},
        {"ca-file", SETTING_TEXT, &options.ca_file, NULL, "FILE",
         "Certificates (PEM) that an https coordinator is checked against, instead of the system's.", 0, 0},
        {"api-key", SETTING_TEXT, &api_key, NULL, "KEY",
         "A key of the coordinator's with the right worker. Better given as API_KEY: flags can be seen by others.", 0,
         0},
        {"ready-fd", SETTING_UINT, &ready_descriptor, "0", "N",
         "Descriptor to write HOST:PORT to when the worker serves; 0: none.", 0, 65535},
    };
    struct config config = {
        .program = "muster-worker",
        .summary = "Lends this machine to a coordinator: registers, sends heartbeats, serves what it is assigned.",
        .settings = settings,
        .setting_count = sizeof settings / sizeof settings[0],
    };
    config_parse_or_exit(&config, argc, argv);
    options.port = (uint16_t)port;
    options.most_requests = (uint32_t)most_requests;
    options.ready_descriptor = ready_descriptor > 0 ? (int)ready_descriptor : -1;
    options.heartbeat_interval_ms = (uint64_t)(heartbeat_interval_seconds * 1000);
    options.drain_timeout_ms = (uint64_t)(drain_timeout_seconds * 1000);

    options.tunnel_timeout_ms = (uint64_t)(tunnel_timeout_seconds * 1000);
    options.link_ping_ms = (uint64_t)(link_ping_seconds * 1000);
    options.return_after_ms = (uint64_t)(return_after_seconds * 1000);

    /* What this worker runs is not to find the secrets in its environment. */
    char *own_api_key = strdup(api_key), *own_tunnel_token = strdup(tunnel_token);
    if (own_api_key == NULL || own_tunnel_token == NULL)
        abort();
    (void)unsetenv("API_KEY"); /* fails for names that are none */
    (void)unsetenv("TUNNEL_TOKEN");
    options.api_key = own_api_key;
    options.tunnel_token = own_tunnel_token;

    /* One thread does the work: one arena is enough for it and libcurl's resolver. */
    (void)mallopt(M_ARENA_MAX, 1);
    static const int exit_codes[] = {
        [WORKER_OK] = 0, [WORKER_CANNOT_START] = 1, [WORKER_BAD_OPTIONS] = 2, [WORKER_REPLACED] = 3};
    char error[1024] = "";
    enum worker_result result = worker_run(&options, error, sizeof error);
    if (result != WORKER_OK)
        fprintf(stderr, "muster-worker: %s\n", error);
    free(own_api_key);
    free(own_tunnel_token);
    config_free(&config);
    return exit_codes[result];
}
