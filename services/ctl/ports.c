/* TCP ports kept for later; see ports.h. */

#include "services/ctl/ports.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint16_t bound_port(int socket_fd)
{
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof(address);
    if (getsockname(socket_fd, (struct sockaddr *)&address, &bytes) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

bool port_reserve(const char *host, uint16_t port, struct port_reservation *reservation, char *error,
                  size_t error_bytes)
{
    *reservation = (struct port_reservation)PORT_RESERVATION_NONE;
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int lookup = getaddrinfo(host, service, &hints, &found);
    if (lookup != 0) {
        (void)snprintf(error, error_bytes, "cannot listen on host '%s': %s", host, gai_strerror(lookup));
        return false;
    }
    int one = 1;
    int socket_fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = socket_fd >= 0 && setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
                 bind(socket_fd, found->ai_addr, found->ai_addrlen) == 0;
    int reason = errno;
    freeaddrinfo(found);
    uint16_t got = bound ? bound_port(socket_fd) : 0;
    if (got != 0) {
        *reservation = (struct port_reservation){socket_fd, got};
        return true;
    }
    if (socket_fd >= 0)
        (void)close(socket_fd);
    if (reason == EADDRINUSE)
        (void)snprintf(error, error_bytes, "port %u of %s is taken: stop what listens there, or choose another port",
                       port, host);
    else
        (void)snprintf(error, error_bytes, "cannot listen on port %u of %s: %s", port, host, strerror(reason));
    return false;
}

void port_release(struct port_reservation *reservation)
{
    if (reservation->socket >= 0)
        (void)close(reservation->socket);
    *reservation = (struct port_reservation)PORT_RESERVATION_NONE;
}

void port_format_address(const char *host, uint16_t port, char *text, size_t text_bytes)
{
    bool brackets = strchr(host, ':') != NULL && host[0] != '[';
    (void)snprintf(text, text_bytes, "%s%s%s:%u", brackets ? "[" : "", host, brackets ? "]" : "", port);
}
