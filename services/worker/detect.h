/* What this machine is: GPU, processors, memory, disk, address.
 *
 * Detection never fails: what cannot be found out is absent. Limits of a container count:
 * a machine of 64 cores that lends us 2 has 2. Functions that read /proc and /sys take the
 * folder that these lie in ("" on a real machine), so that tests can show them another one.
 *
 * Edge capability (services that route for others, seeds' "tier 4") needs 2 processors and
 * 2 GB of memory, and one of
 *   - a public address;
 *   - a round trip of less than 50 ms to a coordinator that is itself at a public address.
 *     A coordinator on this machine or in the same private network is near everybody
 *     there, which says nothing about how near the Internet is; a machine that should be
 *     an edge worker all the same is given --worker-type edge.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DETECT_TEXT_BYTES 128
#define DETECT_STORAGE_BYTES (100ull * 1000 * 1000 * 1000) /* free, to lend disk space */
#define DETECT_EDGE_LATENCY_MS 50.0
#define DETECT_EDGE_CORES 2u
#define DETECT_EDGE_MEMORY_BYTES (2000ull * 1000 * 1000)

/* All GPUs of the machine as one. */
struct detect_gpu {
    bool present;
    char name[DETECT_TEXT_BYTES]; /* of the first; "2 x NAME" when there are several */
    uint64_t memory_mib;          /* of all */
    double utilization;           /* 0 to 100, mean */
};

struct detect_memory_figures {
    uint64_t total_bytes;
    uint64_t available_bytes;
};

struct detect_machine_figures {
    struct detect_gpu gpu;
    uint32_t cores;
    struct detect_memory_figures memory;
    uint64_t disk_free_bytes;
    char address[64]; /* that packets to the Internet leave from; "": none */
    bool address_public;
};

/* How the coordinator was reached; see detect_has_edge. */
struct detect_coordinator {
    double latency_ms; /* 0: unknown */
    bool address_public;
};

/* Everything but the coordinator. Runs nvidia-smi and waits for it up to gpu_timeout_ms.
 * storage_folder is on the disk that would be lent. */
void detect_machine(struct detect_machine_figures *machine, const char *root, const char *storage_folder,
                    unsigned gpu_timeout_ms);

/* The command that detect_parse_gpus reads the output of; ends with NULL. */
extern const char *const detect_gpu_command[];

/* Reads lines "NAME, MEMORY_MIB, UTILIZATION"; a figure may be "[N/A]". False: this is not
 * such output, and there is no GPU. */
bool detect_parse_gpus(const char *output, struct detect_gpu *gpu);

/* Of /proc/meminfo's text. False: it has no MemTotal. */
bool detect_parse_meminfo(const char *text, struct detect_memory_figures *memory);

/* Memory now, the container's limit and use taken into account. */
void detect_memory(struct detect_memory_figures *memory, const char *root);

/* Processors that we may use, from 1. */
uint32_t detect_cores(const char *root);

/* Whether the Internet can route to this address: not private, shared (RFC 6598),
 * link-local, loopback, unique local, documentation, multicast or unspecified, nor no
 * address at all. */
bool detect_address_text_public(const char *text);

bool detect_has_storage(const struct detect_machine_figures *machine);
bool detect_has_edge(const struct detect_machine_figures *machine, const struct detect_coordinator *coordinator);

/* "24.5GB": powers of 1024, one decimal place, none when it is 0. */
#define DETECT_SIZE_TEXT_BYTES 32
void detect_format_size(uint64_t bytes, char text[DETECT_SIZE_TEXT_BYTES]);
