/* What a worker says of itself: whether it may go on the roll, and what kind of machine it is.
 *
 * Registrations come from strangers, so every text that is kept is checked here, once:
 *   - worker_id: 1 to 256 bytes of UTF-8 without control characters (C0, DEL, C1), that can be a
 *     segment of a path: no slash, no backslash, not "." or "..". Anything else is legal, spaces
 *     and quotes included, and is kept byte for byte.
 *   - tunnel_url, services[].url: http or https with a host, printable ASCII, no user
 *     information, query or fragment, at most 2,048 bytes. A port is 1 to 65535.
 *   - location and the texts in capabilities: at most 256 bytes of such UTF-8.
 *   - services: at most 1,000, each name 1 to 128 bytes that can be a segment of a path, too, and
 *     only once; at most 100 capabilities each, of 1 to 128 bytes.
 *   - capabilities.json: one JSON object of at most 1 MiB; containers_json: one JSON array of
 *     at most 1 MiB. Both are shown in lists as they came, so that text which is no JSON would
 *     break the answer of everybody. Strict, as common/json reads it;
 *   - assigned services of an imported worker: at most 1,000, of 1 to 128 bytes;
 *   - all of it: at most 4 MiB, fields that this version does not know included.
 * Protocol buffers do not promise any of that: protobuf-c hands over strings of any bytes.
 *
 * Threading: none; plain functions without state. */

#pragma once

#include "muster/v1/worker.pb-c.h"

#include <stdbool.h>

#define SPEC_ID_MAX_BYTES 256
#define SPEC_SERVICES_MAX 1000
#define SPEC_JSON_MAX_BYTES (1024 * 1024)
#define SPEC_MAX_BYTES (4 * 1024 * 1024)
#define SPEC_ERROR_BYTES 320

/* Whether an id is legal. If not, `error` says why, in one line that names `field`. */
bool spec_check_id(const char *worker_id, const char *field, char error[SPEC_ERROR_BYTES]);

/* Whether the spec may go on the roll; an empty worker_id is fine, the registry makes one up.
 * If not, `error` names the field and says what it must be: "services[2].url: must start with
 * http:// or https://". `packed_bytes`: what it took on the wire; 0: that is computed. */
bool spec_check(const Muster__V1__WorkerSpec *spec, size_t packed_bytes, char error[SPEC_ERROR_BYTES]);

/* The largest incarnation that an imported worker may have: a number that JSON keeps exactly. */
#define SPEC_INCARNATION_MAX (1ull << 53)

/* Whether a worker of a backup may go on the roll: its spec, which must have an id, and all that
 * an import takes over beside it. */
bool spec_check_import(const Muster__V1__Worker *worker, char error[SPEC_ERROR_BYTES]);

/* Brings a checked spec into the form in which it is kept: URLs without trailing slashes.
 * Works in place, texts only become shorter. Whether anything was changed. */
bool spec_normalise(Muster__V1__WorkerSpec *spec);

/* The kind of machine: the one asked for, else GPU before edge before storage before CPU. */
Muster__V1__WorkerType spec_type(const Muster__V1__WorkerSpec *spec);
