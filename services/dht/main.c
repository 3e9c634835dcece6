/* muster-dht: the coordinators' hash table, in which each finds what the others offer. */

#include "services/dht/shell.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/random.h"
#include "services/dht/wire.h"

#define MAX_MESSAGE_BYTES 65536

/* --- The pump --- */

void dht_shell_touch(struct dht_shell *shell)
{
    if (!shell->stopping)
        rpc_loop_at_end_of_turn(shell->loop, &shell->pump);
}

static void due(struct timer *timer, void *argument)
{
    (void)timer;
    dht_shell_touch(argument);
}

static void pump(void *argument)
{
    struct dht_shell *shell = argument;
    if (shell->stopping)
        return;
    uint64_t now_ms = rpc_loop_now_ms(shell->loop);
    dht_node_set_clock(shell->node, clock_unix_ms() - (int64_t)now_ms);
    dht_node_tick(shell->node, now_ms);
    bool joined = dht_node_joined(shell->node);
    if (joined != shell->was_joined)
        log_info(joined ? "joined the hash table" : "knows no other node of the hash table any more",
                 LOG_UINT("nodes", dht_node_table(shell->node)->count));
    shell->was_joined = joined;
    uint64_t next_ms = dht_node_next_ms(shell->node);
    rpc_loop_timer_start(shell->loop, &shell->next, next_ms > now_ms ? next_ms - now_ms : 1, due, shell);
}

/* --- The node's effects --- */

static bool contact_is_genuine(void *context, const struct dht_contact *contact)
{
    return dht_contact_is_genuine(((struct dht_shell *)context)->identity, contact);
}

static bool value_is_genuine(void *context, const struct dht_value *value)
{
    return dht_value_is_genuine(((struct dht_shell *)context)->identity, value);
}

static void sign(void *context, struct dht_value *value)
{
    dht_identity_sign(((struct dht_shell *)context)->identity, value);
}

/* --- Life --- */

static bool check_places(struct service *service, const struct dht_shell_settings *settings)
{
    if (settings->public_url[0] == '\0' && settings->public_url_file[0] == '\0' &&
        settings->announced_address[0] == '\0')
        return service_fail(service, "others must be able to call this node: give the gateway's --public-url "
                                     "(https://…), or --announced-address");
    if (settings->public_url[0] != '\0' && !dht_wire_url_is_fine(settings->public_url))
        return service_fail(service, "--public-url %.200s is no http or https URL of at most %d bytes; correct it",
                            settings->public_url, DHT_URL_BYTES_MAX);
    if (settings->announced_address[0] != '\0' && !dht_wire_address_is_fine(settings->announced_address))
        return service_fail(service, "--announced-address %.100s is no IP address with a port; correct it",
                            settings->announced_address);
    if (strlen(settings->location) > 256)
        return service_fail(service, "--location is longer than 256 bytes; shorten it");
    return true;
}

static bool create_node(struct service *service, struct dht_shell *shell)
{
    const struct dht_shell_settings *settings = &shell->settings;
    struct dht_node_settings node = dht_node_default_settings;
    struct random random;
    uint64_t now_ms = rpc_loop_now_ms(shell->loop);
    shell->identity = dht_identity_open(settings->data_dir, settings->network, service->error, sizeof service->error);
    if (shell->identity == NULL)
        return false;
    random_seed_from_kernel(&random);
    node.lifetime_ms = (int64_t)(settings->lifetime_seconds * 1000);
    node.refresh_ms = (uint64_t)(settings->refresh_seconds * 1000);
    node.published_max = (size_t)settings->published_max;
    node.store.replicate_ms = (uint64_t)node.lifetime_ms / 2;
    struct dht_effects effects = {shell, peers_send, contact_is_genuine, value_is_genuine, sign};
    if (settings->public_url_file[0] == '\0')
        snprintf(shell->url, sizeof shell->url, "%s", settings->public_url);
    struct dht_contact *own = place_contact(shell);
    shell->node = own == NULL ? NULL : dht_node_create(&node, own, &effects, random_next(&random), now_ms);
    dht_contact_release(own);
    if (shell->node == NULL)
        return service_fail(service, "out of memory; free some and start again");
    dht_node_set_clock(shell->node, clock_unix_ms() - (int64_t)now_ms);
    return true;
}

static bool start(struct service *service)
{
    struct dht_shell *shell = service->context;
    shell->loop = service->loop;
    shell->pump.function = pump;
    shell->pump.argument = shell;
    snprintf(shell->coordinator_id, sizeof shell->coordinator_id, "%s", shell->settings.coordinator_id);
    if (shell->coordinator_id[0] == '\0' && gethostname(shell->coordinator_id, sizeof shell->coordinator_id - 1) != 0)
        snprintf(shell->coordinator_id, sizeof shell->coordinator_id, "coordinator");
    if (!check_places(service, &shell->settings) || !create_node(service, shell))
        return false;
    if (!dht_methods_add(shell, service->server))
        return service_fail(service, "the program's own services do not fit together; build it again");
    shell->peers = peers_create(shell);
    if (shell->peers == NULL || !place_start(shell))
        return service_fail(service, "out of memory; free some and start again");
    dht_shell_touch(shell);
    return true;
}

static void serving(struct service *service)
{
    struct dht_shell *shell = service->context;
    char id[DHT_ID_TEXT_BYTES];
    dht_id_format(&dht_node_own(shell->node)->id, id);
    log_info("node of the hash table", LOG_TEXT("node_id", id), LOG_TEXT("url", shell->url),
             LOG_UINT("seeds", seeds_count(shell->seeds)));
}

static void leave(struct dht_shell *shell)
{
    if (shell->stopping || shell->node == NULL)
        return;
    shell->stopping = true;
    place_stop(shell);
    dht_node_stop(shell->node);
    peers_destroy(shell->peers);
    shell->peers = NULL;
}

static void stopping(struct service *service)
{
    leave(service->context);
}

static void stopped(struct service *service)
{
    struct dht_shell *shell = service->context;
    leave(shell); /* after a start that failed */
    if (shell->loop != NULL) {
        rpc_loop_timer_stop(shell->loop, &shell->next);
        rpc_loop_cancel_end_of_turn(shell->loop, &shell->pump);
    }
    dht_node_destroy(shell->node);
    shell->node = NULL;
    dht_identity_free(shell->identity);
    shell->identity = NULL;
}

int main(int argc, char **argv)
{
    struct dht_shell shell = {.stopping = false};
    struct dht_shell_settings *settings = &shell.settings;
    const struct setting table[] = {
        {"data-dir", SETTING_TEXT, &settings->data_dir, "muster-data", "DIR",
         "Where the node's private key lies; created if it is not there.", 0, 0},
        {"public-url", SETTING_TEXT, &settings->public_url, "", "URL",
         "Where other coordinators reach this one's gateway.", 0, 0},
        {"public-url-file", SETTING_TEXT, &settings->public_url_file, "", "FILE",
         "A file that holds that URL instead, and is replaced when it changes: what muster-tunnel writes.", 0, 0},
        {"announced-address", SETTING_TEXT, &settings->announced_address, "", "HOST:PORT",
         "Where other coordinators reach this process by gRPC, an IP address; empty: they go through the gateway.", 0,
         0},
        {"location", SETTING_TEXT, &settings->location, "", "TEXT", "The place of this coordinator: \"uk\".", 0, 0},
        {"coordinator-id", SETTING_TEXT, &settings->coordinator_id, "", "ID",
         "What this coordinator is called; empty: the host's name.", 0, 0},
        {"dht-seeds", SETTING_TEXT, &settings->seeds, "", "URLS",
         "Coordinators or edge routers to be asked for other nodes, separated by commas; none for the first one.", 0,
         0},
        {"dht-network", SETTING_TEXT, &settings->network, "muster", "NAME",
         "Nodes with another name are not talked to: for fleets that must not grow together.", 0, 0},
        {"dht-seeds-seconds", SETTING_DOUBLE, &settings->seeds_seconds, "600", "SECONDS",
         "How often they are asked again.", 0.1, 86400},
        {"dht-lifetime-seconds", SETTING_DOUBLE, &settings->lifetime_seconds, "3600", "SECONDS",
         "How long what is published here stays known when this coordinator has gone.", 3, 86400},
        {"dht-refresh-seconds", SETTING_DOUBLE, &settings->refresh_seconds, "3600", "SECONDS",
         "How long a part of the table may go without a look at who is there.", 1, 86400},
        {"dht-keys", SETTING_UINT, &settings->published_max, "1000", "N",
         "How many keys this coordinator publishes under.", 1, 2000},
        {"dht-peer-timeout-seconds", SETTING_DOUBLE, &settings->peer_timeout_seconds, "3", "SECONDS",
         "How long another node may take to answer.", 0.1, 60},
        {"dht-private-peers", SETTING_BOOL, &settings->allow_private_peers, NULL, NULL,
         "Call other nodes also at addresses of this machine or of a private network.", 0, 0},
        {"registry-address", SETTING_TEXT, &settings->registry_address, "127.0.0.1:7101", "HOST:PORT",
         "Where muster-registry serves.", 0, 0},
        {"router-address", SETTING_TEXT, &settings->router_address, "127.0.0.1:7104", "HOST:PORT",
         "Where muster-router serves.", 0, 0},
    };
    struct service service = {
        .program = "muster-dht",
        .summary = "Finds what other coordinators offer, without a centre: a node of their hash table.",
        .settings = table,
        .setting_count = sizeof(table) / sizeof(table[0]),
        .default_port = 7105,
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .context = &shell,
        .start = start,
        .serving = serving,
        .stopping = stopping,
        .stopped = stopped,
    };
    return service_main(&service, argc, argv);
}
