/* Asks nvidia-smi now and then how busy the GPU is, without waiting for it.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdint.h>

#include "common/loop/loop.h"
#include "services/worker/detect.h"

struct gpu_monitor;

/* Keeps *gpu, which outlives the monitor, up to date every interval_ms. NULL when memory
 * runs out. Only for a machine that has a GPU. */
struct gpu_monitor *gpu_monitor_create(struct loop *loop, struct detect_gpu *gpu, uint64_t interval_ms);
void gpu_monitor_destroy(struct gpu_monitor *monitor);
