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
