/* TCP ports kept for processes that are started later.
 *
 * A reservation is a socket that is bound, with SO_REUSEADDR, and never listens. While it
 * is open the kernel gives the port to nobody who asks for any free one; a process that
 * asks for this very port with SO_REUSEADDR, as every server here does, gets it, as often
 * as it is started again. Reserving a port that somebody listens on fails.
 *
 * Threading: any. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct port_reservation {
    int socket; /* -1: none */
    uint16_t port;
};

#define PORT_RESERVATION_NONE                                                                                          \
    {                                                                                                                  \
        -1, 0                                                                                                          \
    }

/* Reserves `port` of a host (a name or an address; 0.0.0.0 and :: are every one of this
 * machine), or any free one for port 0. False, with one line in `error`, when it is taken
 * or the host is none of this machine's. */
bool port_reserve(const char *host, uint16_t port, struct port_reservation *reservation, char *error,
                  size_t error_bytes);

/* Does nothing to PORT_RESERVATION_NONE. */
void port_release(struct port_reservation *reservation);

/* "HOST:PORT", with brackets around an IPv6 address. */
void port_format_address(const char *host, uint16_t port, char *text, size_t text_bytes);
