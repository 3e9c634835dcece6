/* How the first nodes are found; see shell.h.
 *
 * The operator names some coordinators (or an edge router) as seeds. GET /api/dht/bootstrap there
 * lists nodes, each of which is asked who it is; from the first that answers on the node finds the
 * others by itself. That is repeated after a second, two, four and so on, and then once a while
 * for ever (more often while the node knows nobody): two groups of nodes that each know only each
 * other would never meet otherwise.
 *
 * Whom the node knew when it was last here is in dht-nodes.txt in its data directory, so that it
 * finds the others again when none of the seeds is there. Those are asked like the seeds. */

#include "services/dht/shell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_calls.h"
#include "common/json/document.h"
#include "common/log.h"
#include "services/dht/wire.h"

#define SEEDS_MAX 16
/* Nodes of one answer, and of the file, that are asked. */
#define NODES_MAX 20
#define FIRST_WAIT_MS 1000
#define ALONE_WAIT_MS 30000
#define FETCH_TIMEOUT_MS 10000

struct seeds {
    struct dht_shell *shell;
    char *list; /* as given, with zero bytes for commas */
    const char *urls[SEEDS_MAX];
    size_t count;
    bool failed_before[SEEDS_MAX]; /* said once */
    struct known {                 /* when the process started */
        char url[DHT_URL_BYTES_MAX + 1], address[DHT_ADDRESS_BYTES_MAX + 1];
    } known[NODES_MAX];
    size_t known_count;
    struct timer next;
    uint64_t wait_ms; /* the last one */
    bool was_alone;
    struct fetch *fetches;
};

struct fetch {
    struct http_call_batch batch; /* first */
    struct http_call http;
    struct fetch *next, **link;
    struct seeds *seeds; /* NULL: they are gone */
    size_t index;
};

/* --- From a seed --- */

static void free_fetch(struct fetch *fetch)
{
    if (fetch->seeds != NULL) {
        *fetch->link = fetch->next;
        if (fetch->next != NULL)
            fetch->next->link = fetch->link;
    }
    buffer_free(&fetch->http.response);
    free(fetch->http.url);
    free(fetch);
}

/* A member's text, if it is one and short enough; else "". */
static void copy_text(const struct json_document *document, const struct json_node *object, const char *name,
                      char *text, size_t text_bytes)
{
    const struct json_node *node = json_member(document, object, name);
    text[0] = '\0';
    if (node != NULL && node->type == JSON_TYPE_TEXT && node->text_bytes < text_bytes) {
        memcpy(text, node->text, node->text_bytes);
        text[node->text_bytes] = '\0';
    }
}

static void meet(struct dht_shell *shell, const char *url, const char *address, bool trusted)
{
    const struct dht_contact *own = dht_node_own(shell->node);
    bool url_fine = url[0] != '\0' && dht_wire_url_is_fine(url) && strcmp(url, own->url) != 0;
    bool address_fine = address[0] != '\0' && dht_wire_address_is_fine(address) && strcmp(address, own->address) != 0;
    if (url_fine || address_fine)
        peers_meet(shell->peers, url_fine ? url : "", address_fine ? address : "", trusted);
}

/* How many nodes it names; 0: it is no such list. */
static size_t read_nodes(struct dht_shell *shell, const struct buffer *body)
{
    struct json_document document;
    size_t count = 0;
    if (json_document_parse(&document, body->data == NULL ? "" : body->data, body->bytes) &&
        json_root(&document)->type == JSON_TYPE_OBJECT) {
        const struct json_node *nodes = json_member(&document, json_root(&document), "nodes");
        uint32_t position = 0;
        for (const struct json_node *node; nodes != NULL && nodes->type == JSON_TYPE_ARRAY && count < NODES_MAX &&
                                           (node = json_next(&document, nodes, &position, NULL)) != NULL;) {
            char url[DHT_URL_BYTES_MAX + 1], address[DHT_ADDRESS_BYTES_MAX + 1];
            if (node->type != JSON_TYPE_OBJECT)
                continue;
            copy_text(&document, node, "url", url, sizeof url);
            copy_text(&document, node, "grpc_address", address, sizeof address);
            /* The operator trusts the seed, and with it whom it names first: itself. */
            meet(shell, url, address, count == 0);
            count++;
        }
    }
    json_document_free(&document);
    return count;
}

static void fetched(struct http_call_batch *batch)
{
    struct fetch *fetch = (struct fetch *)batch;
    struct seeds *seeds = fetch->seeds;
    if (seeds != NULL) {
        const char *url = seeds->urls[fetch->index];
        bool *failed_before = &seeds->failed_before[fetch->index];
        size_t count = fetch->http.status == 200 ? read_nodes(seeds->shell, &fetch->http.response) : 0;
        if (count == 0 && !*failed_before)
            log_warning("a seed of the hash table names no nodes; it is asked again", LOG_TEXT("seed", url),
                        LOG_INT("status", fetch->http.status), LOG_TEXT("reason", fetch->http.error));
        *failed_before = count == 0;
    }
    free_fetch(fetch);
}

static void ask(struct seeds *seeds, size_t index)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (fetch == NULL)
        return; /* the next time */
    fetch->seeds = seeds;
    fetch->index = index;
    fetch->next = seeds->fetches;
    fetch->link = &seeds->fetches;
    if (fetch->next != NULL)
        fetch->next->link = &fetch->next;
    seeds->fetches = fetch;
    fetch->http.url = http_calls_url(seeds->urls[index], "/api/dht/bootstrap");
    fetch->batch.calls = &fetch->http;
    fetch->batch.call_count = 1;
    fetch->batch.timeout_ms = FETCH_TIMEOUT_MS;
    fetch->batch.done = fetched;
    if (fetch->http.url == NULL || !peers_fetch(seeds->shell->peers, &fetch->batch))
        free_fetch(fetch);
}

/* --- The file --- */

static bool file_path(const struct dht_shell *shell, const char *suffix, char *path, size_t path_bytes)
{
    int length = snprintf(path, path_bytes, "%s/dht-nodes.txt%s", shell->settings.data_dir, suffix);
    return length > 0 && (size_t)length < path_bytes;
}

static void read_known(struct seeds *seeds)
{
    const struct dht_shell *shell = seeds->shell;
    char path[4096], line[DHT_URL_BYTES_MAX + DHT_ADDRESS_BYTES_MAX + 8];
    FILE *file = file_path(shell, "", path, sizeof path) ? fopen(path, "re") : NULL;
    while (file != NULL && seeds->known_count < NODES_MAX && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *address = strchr(line, ' ');
        if (address == NULL || address - line > DHT_URL_BYTES_MAX || strlen(address + 1) > DHT_ADDRESS_BYTES_MAX)
            continue; /* what somebody else has written */
        *address++ = '\0';
        struct known *known = &seeds->known[seeds->known_count++];
        memcpy(known->url, line, strlen(line) + 1);
        memcpy(known->address, address, strlen(address) + 1);
    }
    if (file != NULL)
        (void)fclose(file); /* was only read */
}

/* That it cannot be written costs a seed at the next start, no more. */
static void write_known(struct dht_shell *shell)
{
    char path[4096], fresh[4096];
    struct dht_contact *nearest[NODES_MAX];
    size_t count = dht_table_closest(dht_node_table(shell->node), &dht_node_own(shell->node)->id, nearest, NODES_MAX);
    FILE *file = count > 0 && file_path(shell, "", path, sizeof path) && file_path(shell, ".new", fresh, sizeof fresh)
                     ? fopen(fresh, "we")
                     : NULL;
    if (file == NULL)
        return;
    bool written = true;
    for (size_t i = 0; i < count; i++)
        written = fprintf(file, "%s %s\n", nearest[i]->url, nearest[i]->address) > 0 && written;
    written = fclose(file) == 0 && written;
    if (!written || rename(fresh, path) != 0)
        log_debug("cannot write the list of known nodes", LOG_TEXT("path", path), LOG_TEXT("reason", strerror(errno)));
}

/* --- Life --- */

static void due(struct timer *timer, void *argument)
{
    struct seeds *seeds = argument;
    struct dht_shell *shell = seeds->shell;
    bool alone = dht_node_table(shell->node)->count == 0;
    (void)timer;
    if (!alone)
        write_known(shell);
    for (size_t i = 0; i < seeds->known_count; i++)
        meet(shell, seeds->known[i].url, seeds->known[i].address, true);
    bool asking = seeds->fetches != NULL; /* since the last time: one of them is slow */
    for (size_t i = 0; i < seeds->count && !asking; i++)
        ask(seeds, i);
    uint64_t longest_ms = (uint64_t)(shell->settings.seeds_seconds * 1000);
    if (alone && longest_ms > ALONE_WAIT_MS)
        longest_ms = ALONE_WAIT_MS;
    bool from_the_start = seeds->wait_ms == 0 || (alone && !seeds->was_alone);
    seeds->wait_ms = from_the_start ? FIRST_WAIT_MS : 2 * seeds->wait_ms;
    if (seeds->wait_ms > longest_ms)
        seeds->wait_ms = longest_ms;
    seeds->was_alone = alone;
    rpc_loop_timer_start(shell->loop, &seeds->next, seeds->wait_ms, due, seeds);
}

struct seeds *seeds_create(struct dht_shell *shell)
{
    struct seeds *seeds = calloc(1, sizeof *seeds);
    if (seeds == NULL)
        return NULL;
    seeds->shell = shell;
    read_known(seeds);
    seeds->list = strdup(shell->settings.seeds);
    char *rest = NULL;
    for (char *url = seeds->list == NULL ? NULL : strtok_r(seeds->list, ", ", &rest);
         url != NULL && seeds->count < SEEDS_MAX; url = strtok_r(NULL, ", ", &rest))
        seeds->urls[seeds->count++] = url;
    rpc_loop_timer_start(shell->loop, &seeds->next, 0, due, seeds);
    return seeds;
}

void seeds_destroy(struct seeds *seeds)
{
    if (seeds == NULL)
        return;
    write_known(seeds->shell);
    rpc_loop_timer_stop(seeds->shell->loop, &seeds->next);
    struct fetch *next = NULL;
    for (struct fetch *fetch = seeds->fetches; fetch != NULL; fetch = next) {
        next = fetch->next;
        fetch->seeds = NULL;
    }
    free(seeds->list);
    free(seeds);
}

size_t seeds_count(const struct seeds *seeds)
{
    return seeds == NULL ? 0 : seeds->count;
}

const char *seeds_url(const struct seeds *seeds, size_t index)
{
    return seeds->urls[index];
}
