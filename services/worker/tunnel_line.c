/* What cloudflared writes; see tunnel.h. */

#include <string.h>

#include "services/worker/tunnel.h"

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
