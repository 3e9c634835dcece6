/* What an IP address is: whether it is one that anybody reaches, or one of this machine or this
 * network, which a stranger must not make us call.
 *
 * Threading: any. */

#pragma once

#include <stdbool.h>

struct sockaddr;

/* False for loopback, private, link-local, shared (RFC 6598), documentation, multicast and
 * reserved addresses, for IPv6 ones that carry such an IPv4 address, and for what is no IP
 * address at all (IANA's registries of special-purpose addresses, RFC 6890). */
bool address_is_public(const struct sockaddr *address);

/* The same for a text: "10.0.0.5", "::1". */
bool address_text_is_public(const char *text);

/* Whether a host, as a URL names it, spells an address that is not public, in any of the ways that resolvers take
 * ("127.1", "0x7f000001"), or is a name of this machine. What other names stand for is not looked up. */
bool address_host_is_inside(const char *host);
