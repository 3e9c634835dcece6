/* Which address a request comes from: that of the connection, or, when the connection is a proxy's that is trusted, the
 * one that the proxy says (CF-Connecting-IP, X-Forwarded-For, X-Real-IP). Limits per address and the choice of the
 * closest coordinator go by it, so a client must not be able to choose it: without --client-address-header no field is
 * believed, and with it only from --trusted-proxies.
 *
 * The field is read as a list, all fields of that name together. Each proxy adds the address that it saw at the end; so
 * the client is the last one that is no trusted proxy itself, or the first one of all when all are. What is no address
 * ends the reading: what stands before it was not written by anybody who is trusted.
 *
 * Threading: none of its own. No I/O. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http/parser.h"

#define CLIENT_ADDRESS_BYTES 46 /* of an address as text, with the zero that ends it */
#define CLIENT_ADDRESS_NETWORKS_MAX 64

struct client_address_network {
    uint8_t address[16]; /* IPv4 ones as ::ffff:a.b.c.d */
    unsigned bits;
};

struct client_address_rule {
    const char *header; /* "": none is believed */
    size_t network_count;
    struct client_address_network networks[CLIENT_ADDRESS_NETWORKS_MAX];
};

/* `proxies`: addresses and networks ("10.0.0.0/8", "fd00::/8", "192.0.2.1") with commas between them. False: `error`
 * says what to do. Both texts outlive the rule. */
bool client_address_rule_init(struct client_address_rule *rule, const char *header, const char *proxies, char *error,
                              size_t error_bytes);

/* `peer` is the connection's address. Writes the client's: an IP address, or `peer` as it is. */
void client_address(const struct client_address_rule *rule, const struct http_head *head, const char *peer,
                    char address[CLIENT_ADDRESS_BYTES]);
