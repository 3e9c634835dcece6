/* Fuzz target: the networks that are trusted (the first line), and what a proxy says of its client (the rest, as the
 * field X). What comes out is an address, or the connection's. */

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/client_address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct client_address_rule rule;
    char proxies[256] = "", error[300] = "", text[CLIENT_ADDRESS_BYTES];
    const uint8_t *end = memchr(data, '\n', bytes);
    size_t line = end == NULL ? bytes : (size_t)(end - data);
    size_t at = end == NULL ? bytes : line + 1;
    if (line >= sizeof proxies)
        return 0;
    memcpy(proxies, data, line);
    if (!client_address_rule_init(&rule, "X", proxies, error, sizeof error)) {
        if (error[0] == '\0')
            abort();
        return 0;
    }
    struct http_head head = {.base = (const char *)data + at, .field_count = 1};
    char name = 'X';
    char *copy = malloc(bytes - at + 1); /* of exactly this size, so that a byte too many is seen */
    if (copy == NULL)
        return 0;
    copy[0] = name;
    memcpy(copy + 1, data + at, bytes - at);
    head.base = copy;
    head.fields[0] =
        (struct http_field){.name_at = 0, .name_bytes = 1, .value_at = 1, .value_bytes = (uint32_t)(bytes - at)};
    client_address(&rule, &head, "192.0.2.1", text);
    uint8_t address[16];
    if (inet_pton(AF_INET, text, address) != 1 && inet_pton(AF_INET6, text, address) != 1)
        abort();
    /* One that is not trusted cannot say anything. */
    client_address(&rule, &head, "nowhere", text);
    if (strcmp(text, "nowhere") != 0)
        abort();
    free(copy);
    return 0;
}
