/* Which addresses only this machine can reach: the rule that decides what may be open without a key.
 *
 * Threading: none of its own. No I/O: names are not looked up, and only "localhost" is known to be one. */

#pragma once

#include <stdbool.h>

/* Whether a server that listens on this host ("127.0.0.1", "::1", "localhost") serves this machine alone. */
bool host_is_loopback(const char *host);
