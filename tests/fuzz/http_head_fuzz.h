/* What the fuzz targets of requests and responses share: a head is parsed at once and again
 * byte group by byte group, must come out the same, and must lie within its bytes. */

#pragma once

#include "common/http/parser.h"

#include <stdint.h>

void http_head_fuzz(const uint8_t *data, size_t bytes, bool response);
