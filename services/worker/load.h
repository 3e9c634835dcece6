/* How loaded this machine is, in the figures of a heartbeat.
 *
 * current_load is the scarcest of what a request needs: the share of processor time that
 * was used since the last sample (by everybody, the machine is lent and not ours), of the
 * requests that we take at once, and of the GPU if there is one.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "services/worker/detect.h"

/* Processor time since boot, in the kernel's ticks. */
struct load_times {
    uint64_t busy;
    uint64_t total;
};

struct load_sampler {
    struct load_times before;
};

struct load_sample_figures {
    double current_load; /* 0 to 1 */
    char available_memory[DETECT_SIZE_TEXT_BYTES];
};

/* Of /proc/stat's text. False: it has no line of the sum of all processors. */
bool load_parse_stat(const char *text, struct load_times *times);

/* Share of time in use between two readings, 0 to 1; 0 when no time has passed. */
double load_share(const struct load_times *before, const struct load_times *after);

/* `root` as in detect.h. The first sample of an all-zero sampler covers the time since boot. */
void load_sample(struct load_sampler *sampler, const char *root, uint32_t active_requests, uint32_t most_requests,
                 const struct detect_gpu *gpu, struct load_sample_figures *sample);
