/* How busy this machine is, from /proc.
 *
 * Threading: none of its own. */

#pragma once

#include <stdint.h>

struct machine {
    uint64_t busy, all; /* of the processors' time, in ticks, when it was read last */
};

/* Since the last call, 0 to 100; the first time since the machine has started. 0: not known. */
double machine_cpu_percent(struct machine *machine);

/* In use now, 0 to 100. 0: not known. */
double machine_memory_percent(void);
