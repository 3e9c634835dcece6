/* What cloudflared writes: its output and its files. See tunnel.h. */

#include <string.h>

#include "common/json/document.h"
#include "common/process/tunnel.h"

#define SCHEME "https://"
#define DOMAIN ".trycloudflare.com"
/* Where quick tunnels are asked for: it stands in errors. */
#define API_HOST "api" DOMAIN

static bool is_quick_host(const char *host, size_t bytes)
{
    size_t domain_bytes = strlen(DOMAIN);
    if (bytes <= domain_bytes || memcmp(host + bytes - domain_bytes, DOMAIN, domain_bytes) != 0)
        return false;
    return bytes != strlen(API_HOST) || memcmp(host, API_HOST, bytes) != 0;
}

bool tunnel_url_in_line(const char *line, char url[TUNNEL_URL_BYTES])
{
    const char *at = line;
    while ((at = strstr(at, SCHEME)) != NULL) {
        const char *host = at + strlen(SCHEME);
        size_t bytes = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-.");
        if (is_quick_host(host, bytes) && strlen(SCHEME) + bytes < TUNNEL_URL_BYTES) {
            memcpy(url, at, strlen(SCHEME) + bytes);
            url[strlen(SCHEME) + bytes] = '\0';
            return true;
        }
        at = host;
    }
    return false;
}

bool tunnel_id_in_credentials(const char *text, size_t bytes, char id[TUNNEL_ID_BYTES])
{
    struct json_document document;
    const struct json_node *node = NULL;
    if (json_document_parse(&document, text, bytes) && json_root(&document)->type == JSON_TYPE_OBJECT)
        node = json_member(&document, json_root(&document), "TunnelID");
    bool found = node != NULL && node->type == JSON_TYPE_TEXT && node->text_bytes == TUNNEL_ID_BYTES - 1;
    /* It becomes an argument: a dash in front would make a flag of it. */
    for (size_t i = 0; found && i < TUNNEL_ID_BYTES - 1; i++)
        found = node->text[i] != '\0' && strchr("0123456789abcdefABCDEF-", node->text[i]) != NULL;
    found = found && node->text[0] != '-';
    if (found) {
        memcpy(id, node->text, TUNNEL_ID_BYTES - 1);
        id[TUNNEL_ID_BYTES - 1] = '\0';
    }
    json_document_free(&document);
    return found;
}
