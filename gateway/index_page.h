/* The page at /: how the fleet is, and what can be asked of the coordinator. HTML without scripts.
 *
 * Threading: the replica's thread. No I/O, no clock. */

#pragma once

#include "common/buffer.h"
#include "gateway/api.h"
#include "gateway/replica.h"

/* Workers that are not well are listed up to this many; the rest are counted. */
#define INDEX_PAGE_WORKERS_MAX 50

struct index_page {
    const char *coordinator_id;
    const char *const *failed; /* processes that cannot be reached */
    size_t failed_count;
    const char *warning; /* what operators should know; "": nothing */
    bool closed;         /* keys are asked for: this page, for which none is, then says nothing of the fleet */
    enum api_role role;
};

void index_page_render(const struct index_page *page, const struct replica *replica, struct buffer *out);
