/* How much memory a process occupies, as the kernel counts it in /proc/PID/smaps_rollup. */

#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "tests/bench/failure.h"

struct memory {
    uint64_t resident_bytes;
    uint64_t anonymous_bytes;    /* of these: heap, stacks, changed data; no file backs them */
    uint64_t proportional_bytes; /* resident, but each shared page divided among those who share it */
};

/* Adds the process's memory to *memory. */
bool memory_add(pid_t pid, struct memory *memory, struct failure *failure);

/* Takes the figures out of the text of a smaps_rollup; false when one is missing. */
bool memory_parse(const char *text, struct memory *memory);
