/* The same registrations and heartbeats as JSON, for REST: to Muster's gateway and to FastAPI.
 * The heartbeat has about 280 bytes. */

#pragma once

#include "tests/bench/load_http.h"

/* Bodies of POST /api/worker/register and /api/worker/heartbeat, for the caller to free; NULL
 * when memory runs out. */
char *registration_json(unsigned number, unsigned variant); /* one variant: 0 */
char *heartbeat_json(unsigned number, unsigned variant);    /* 0 or 1: the load differs */

/* The registration of the next worker, as a struct http_load makes it: `context` is an unsigned, the worker's number.
 */
char *next_registration_request(void *context);

/* Requests with such bodies for workers 0 to count - 1; heartbeats twice, in both variants. */
bool registration_requests(struct http_requests *requests, unsigned count);
bool heartbeat_requests(struct http_requests *requests, unsigned count);
