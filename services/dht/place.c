/* Where other nodes reach this one; see shell.h.
 *
 * Mostly that is a setting. Behind a quick tunnel it is not known at first, and is another URL each time that the
 * tunnel is opened anew; it stands in a file then (common/url_file.h). The node's id stays, since it is of its key: a
 * contact that was issued later takes the place of the one before at everybody who is called by the node or is told of
 * it. */

#include "services/dht/shell.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/url_file.h"
#include "services/dht/wire.h"

struct dht_contact *place_contact(struct dht_shell *shell)
{
    int64_t now_ms = clock_unix_ms();
    shell->issued_at_ms = now_ms > shell->issued_at_ms ? now_ms : shell->issued_at_ms + 1;
    return dht_identity_contact(shell->identity, shell->issued_at_ms, shell->url, shell->settings.announced_address);
}

/* Others can reach the node: it takes part. */
static bool take_part(struct dht_shell *shell)
{
    shell->seeds = seeds_create(shell);
    shell->roll = shell->seeds == NULL ? NULL : roll_create(shell);
    return shell->roll != NULL;
}

static void move_to(struct dht_shell *shell, const char *url)
{
    snprintf(shell->url, sizeof shell->url, "%.*s", DHT_URL_BYTES_MAX, url); /* its length was checked */
    struct dht_contact *own = place_contact(shell);
    if (own == NULL) {
        log_error("out of memory for this node's new address; it is tried again");
        shell->url[0] = '\0'; /* so that it is another one again */
        return;
    }
    log_info("this node is reached elsewhere now", LOG_TEXT("url", url));
    dht_node_moved(shell->node, own);
    dht_contact_release(own);
    if (shell->roll != NULL)
        roll_moved(shell->roll);
    else if (!take_part(shell))
        log_error("out of memory for the hash table; this node takes no part in it until it is started again");
    dht_shell_touch(shell);
}

static void look(struct timer *timer, void *argument)
{
    struct dht_shell *shell = argument;
    char url[sizeof shell->url + 2];
    /* What is no URL the gateway says in its log. */
    if (url_file_read(shell->settings.public_url_file, url, sizeof url) > 0 && strcmp(url, shell->url) != 0 &&
        dht_wire_url_is_fine(url))
        move_to(shell, url);
    rpc_loop_timer_start(shell->loop, timer, URL_FILE_INTERVAL_MS, look, shell);
}

bool place_start(struct dht_shell *shell)
{
    if (shell->settings.public_url_file[0] != '\0')
        rpc_loop_timer_start(shell->loop, &shell->place_timer, 0, look, shell);
    return (shell->url[0] == '\0' && shell->settings.announced_address[0] == '\0') || take_part(shell);
}

void place_stop(struct dht_shell *shell)
{
    rpc_loop_timer_stop(shell->loop, &shell->place_timer);
    roll_destroy(shell->roll);
    shell->roll = NULL;
    seeds_destroy(shell->seeds);
    shell->seeds = NULL;
}
