/* How a link begins: an ordinary WebSocket handshake (RFC 6455, section 4) at /ws/link/{worker_id}, and the name that
 * the link goes by from then on.
 *
 * The worker makes up a secret and sends it along (LINK_SECRET_HEADER); the name is its digest. Whoever knows the name,
 * which stands in the worker's URL (…/link/NAME), can send requests there, as to any URL of a worker, but only who
 * knows the secret can open the link, or take it over. So a name belongs to one worker, at every gateway and also
 * after a restart of it, with no list of them anywhere.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#define LINK_SECRET_HEADER "Muster-Link-Secret"
#define LINK_SECRET_BYTES 65 /* 32 bytes in hexadecimal, and the zero at the end */
#define LINK_NAME_BYTES 33   /* 16 bytes, the same */
#define LINK_PATH "/link/"
#define LINK_SOCKET_PATH "/ws/link/"
/* With this field a gateway answers what was meant for a link that it does not have; nothing was done. */
#define LINK_AWAY_HEADER "Muster-Link"
#define LINK_AWAY "away"

#define LINK_ACCEPT_BYTES 29 /* of Sec-WebSocket-Accept, with the zero at the end */

/* The answer to a Sec-WebSocket-Key. False: OpenSSL refuses. */
bool link_accept(const char *key, size_t key_bytes, char accept[LINK_ACCEPT_BYTES]);

/* False: the secret is not 64 hexadecimal digits in lower case, or OpenSSL refuses. */
bool link_name(const char *secret, size_t secret_bytes, char name[LINK_NAME_BYTES]);

/* The name in a path that begins with LINK_PATH, and what follows it, which is empty or begins with "/". False: it is
 * no such path. */
bool link_name_in_path(const char *path, char name[LINK_NAME_BYTES], const char **rest);
