/* GET /openapi.json: the tables of routes (api.h) and schemas (schemas.h) as an OpenAPI 3.1
 * document (https://spec.openapis.org/oas/v3.1.0), whose schemas are JSON Schema 2020-12.
 *
 * What JSON Schema cannot say is said by members of our own:
 *     x-muster-caller    who an operation is meant for, also its tag
 *     x-muster-relayed   a worker answers, whatever it likes
 *     x-muster-piped     the body is read piece by piece: a mistake in an item skips that item
 *     x-muster-bytes-max a limit in bytes: of a text's UTF-8, or of an object's or list's source
 *
 * Threading: none of its own. */

#pragma once

#include "common/buffer.h"
#include "gateway/api.h"

/* Appends the document of gateways of that role; the buffer's failure is the only error. The same
 * every time. */
void openapi_render(enum api_role role, struct buffer *out);
