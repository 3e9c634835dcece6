#define _GNU_SOURCE
#include "services/worker/detect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "services/worker/command.h"

const char *const detect_gpu_command[] = {"nvidia-smi", "--query-gpu=name,memory.total,utilization.gpu",
                                          "--format=csv,noheader,nounits", NULL};

/* A whole small file below root, as text; false: it cannot be read. */
static bool read_text(const char *root, const char *path, char *text, size_t capacity)
{
    char full[PATH_MAX];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof full)
        return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t bytes = 0;
    ssize_t got;
    while (bytes < capacity - 1 &&
           ((got = read(fd, text + bytes, capacity - 1 - bytes)) > 0 || (got < 0 && errno == EINTR)))
        bytes += got > 0 ? (size_t)got : 0;
    close(fd);
    text[bytes] = '\0';
    return bytes > 0;
}

/* ---- GPU ---- */

/* One line; fields are cut at commas from the right, since a name may contain one. */
static bool parse_gpu_line(const char *line, size_t bytes, char *name, size_t name_capacity, uint64_t *memory_mib,
                           double *utilization)
{
    char copy[512];
    if (bytes >= sizeof copy)
        return false;
    memcpy(copy, line, bytes);
    copy[bytes] = '\0';
    char *utilization_text = strrchr(copy, ',');
    if (utilization_text == NULL)
        return false;
    *utilization_text++ = '\0';
    char *memory_text = strrchr(copy, ',');
    if (memory_text == NULL || memory_text == copy)
        return false;
    *memory_text++ = '\0';

    char *end;
    unsigned long long mib = strtoull(memory_text, &end, 10);
    bool memory_known = end != memory_text;
    double percent = strtod(utilization_text, &end);
    bool utilization_known = end != utilization_text && percent >= 0 && percent <= 100;
    if (!memory_known && strstr(memory_text, "N/A") == NULL && strstr(memory_text, "Not Supported") == NULL)
        return false;
    *memory_mib = memory_known ? mib : 0;
    *utilization = utilization_known ? percent : 0;
    snprintf(name, name_capacity, "%.*s", (int)name_capacity - 16, copy);
    return true;
}

bool detect_parse_gpus(const char *output, struct detect_gpu *gpu)
{
    struct detect_gpu found = {.present = false};
    unsigned count = 0;
    double utilization_sum = 0;
    for (const char *line = output; *line != '\0';) {
        size_t bytes = strcspn(line, "\r\n");
        if (bytes > 0) {
            char name[DETECT_TEXT_BYTES];
            uint64_t memory_mib;
            double utilization;
            if (!parse_gpu_line(line, bytes, name, sizeof name, &memory_mib, &utilization))
                return false;
            if (count++ == 0)
                memcpy(found.name, name, sizeof name);
            found.memory_mib += memory_mib;
            utilization_sum += utilization;
        }
        line += bytes;
        line += strspn(line, "\r\n");
    }
    if (count == 0)
        return false;
    if (count > 1) {
        char first[DETECT_TEXT_BYTES];
        memcpy(first, found.name, sizeof first);
        snprintf(found.name, sizeof found.name, "%u x %.*s", count, DETECT_TEXT_BYTES - 16, first);
    }
    found.present = true;
    found.utilization = utilization_sum / count;
    *gpu = found;
    return true;
}

/* ---- memory and processors ---- */

static bool meminfo_kib(const char *text, const char *key, uint64_t *kib)
{
    size_t key_bytes = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, key, key_bytes) == 0 && line[key_bytes] == ':') {
            char *end;
            *kib = strtoull(line + key_bytes + 1, &end, 10);
            return end != line + key_bytes + 1;
        }
    }
    return false;
}

bool detect_parse_meminfo(const char *text, struct detect_memory_figures *memory)
{
    uint64_t total_kib, available_kib;
    if (!meminfo_kib(text, "MemTotal", &total_kib))
        return false;
    /* Kernels before 3.14 have no MemAvailable. */
    if (!meminfo_kib(text, "MemAvailable", &available_kib) && !meminfo_kib(text, "MemFree", &available_kib))
        available_kib = 0;
    memory->total_bytes = total_kib * 1024;
    memory->available_bytes = available_kib * 1024;
    return true;
}

/* A figure of the memory controller, of cgroup v2 or v1; false: none, or "max". */
static bool cgroup_bytes(const char *root, const char *version2, const char *version1, uint64_t *bytes)
{
    char text[64];
    if (!read_text(root, version2, text, sizeof text) && !read_text(root, version1, text, sizeof text))
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || errno != 0)
        return false;
    *bytes = value;
    return true;
}

void detect_memory(struct detect_memory_figures *memory, const char *root)
{
    char text[8192];
    *memory = (struct detect_memory_figures){0, 0};
    if (!read_text(root, "/proc/meminfo", text, sizeof text) || !detect_parse_meminfo(text, memory))
        return;
    uint64_t limit, used;
    if (!cgroup_bytes(root, "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes", &limit) ||
        limit >= memory->total_bytes)
        return;
    memory->total_bytes = limit;
    if (!cgroup_bytes(root, "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes", &used))
        used = 0;
    uint64_t left = used < limit ? limit - used : 0;
    if (left < memory->available_bytes)
        memory->available_bytes = left;
}

uint32_t detect_cores(const char *root)
{
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    uint32_t cores = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        cores = (uint32_t)CPU_COUNT(&allowed);
    if (cores == 0) {
        /* More processors than a cpu_set_t holds. */
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        cores = online > 0 ? (uint32_t)online : 1;
    }
    char text[64];
    unsigned long long quota_us, period_us;
    if (read_text(root, "/sys/fs/cgroup/cpu.max", text, sizeof text) &&
        sscanf(text, "%llu %llu", &quota_us, &period_us) == 2 && period_us > 0) {
        unsigned long long limit = (quota_us + period_us - 1) / period_us;
        if (limit == 0)
            limit = 1;
        if (limit < cores)
            cores = (uint32_t)limit;
    }
    return cores;
}

/* ---- addresses ---- */

struct ipv4_range {
    uint32_t network;
    unsigned prefix_bits;
};

static bool ipv4_public(uint32_t address)
{
    static const struct ipv4_range reserved[] = {
        {0x00000000, 8},  /* this network */
        {0x0a000000, 8},  /* private, RFC 1918 */
        {0x64400000, 10}, /* shared by carriers' address translation, RFC 6598 */
        {0x7f000000, 8},  /* loopback */
        {0xa9fe0000, 16}, /* link-local */
        {0xac100000, 12}, /* private */
        {0xc0000000, 24}, /* protocol assignments */
        {0xc0000200, 24}, /* documentation */
        {0xc0a80000, 16}, /* private */
        {0xc6120000, 15}, /* benchmarks */
        {0xc6336400, 24}, /* documentation */
        {0xcb007100, 24}, /* documentation */
        {0xe0000000, 3},  /* multicast, reserved, broadcast */
    };
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if ((address ^ reserved[i].network) >> (32 - reserved[i].prefix_bits) == 0)
            return false;
    return true;
}

static bool ipv6_public(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        uint32_t mapped;
        memcpy(&mapped, &address->s6_addr[12], sizeof mapped);
        return ipv4_public(ntohl(mapped));
    }
    /* Global unicast is 2000::/3; everything else is special. */
    if ((address->s6_addr[0] & 0xe0) != 0x20)
        return false;
    static const uint8_t documentation[4] = {0x20, 0x01, 0x0d, 0xb8};
    return memcmp(address->s6_addr, documentation, sizeof documentation) != 0;
}

static bool is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return ipv4_public(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return ipv6_public(&in6.sin6_addr);
    }
    return false;
}

bool detect_address_text_public(const char *text)
{
    struct in_addr in;
    struct in6_addr in6;
    if (inet_pton(AF_INET, text, &in) == 1)
        return ipv4_public(ntohl(in.s_addr));
    return inet_pton(AF_INET6, text, &in6) == 1 && ipv6_public(&in6);
}

/* Which of our addresses the kernel would use to reach that one; nothing is sent. */
static bool outbound_address(const struct sockaddr *to, socklen_t to_bytes, struct sockaddr_storage *from)
{
    int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    socklen_t from_bytes = sizeof *from;
    bool found = connect(fd, to, to_bytes) == 0 && getsockname(fd, (struct sockaddr *)from, &from_bytes) == 0;
    close(fd);
    return found;
}

/* Some address of the Internet, of each family; it only has to be routed the default way. */
static void detect_address(struct detect_machine_figures *machine)
{
    struct sockaddr_in far4 = {.sin_family = AF_INET, .sin_port = htons(53)};
    struct sockaddr_in6 far6 = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
    (void)inet_pton(AF_INET, "1.1.1.1", &far4.sin_addr);
    (void)inet_pton(AF_INET6, "2606:4700:4700::1111", &far6.sin6_addr);
    struct sockaddr_storage from;
    if (outbound_address((struct sockaddr *)&far4, sizeof far4, &from)) {
        struct sockaddr_in in;
        memcpy(&in, &from, sizeof in);
        (void)inet_ntop(AF_INET, &in.sin_addr, machine->address, sizeof machine->address);
        machine->address_public = is_public((struct sockaddr *)&from);
    }
    if (machine->address_public)
        return;
    if (outbound_address((struct sockaddr *)&far6, sizeof far6, &from) && is_public((struct sockaddr *)&from)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &from, sizeof in6);
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, machine->address, sizeof machine->address);
        machine->address_public = true;
    }
}

/* ---- the whole ---- */

void detect_machine(struct detect_machine_figures *machine, const char *root, const char *storage_folder,
                    unsigned gpu_timeout_ms)
{
    memset(machine, 0, sizeof *machine);
    struct command command;
    if (command_run(&command, detect_gpu_command, gpu_timeout_ms) && !detect_parse_gpus(command.output, &machine->gpu))
        machine->gpu.present = false;
    machine->cores = detect_cores(root);
    detect_memory(&machine->memory, root);
    struct statvfs disk;
    if (statvfs(storage_folder, &disk) == 0)
        machine->disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    detect_address(machine);
}

bool detect_has_storage(const struct detect_machine_figures *machine)
{
    return machine->disk_free_bytes > DETECT_STORAGE_BYTES;
}

bool detect_has_edge(const struct detect_machine_figures *machine, const struct detect_coordinator *coordinator)
{
    if (machine->cores < DETECT_EDGE_CORES || machine->memory.total_bytes < DETECT_EDGE_MEMORY_BYTES)
        return false;
    bool near_the_internet =
        coordinator->address_public && coordinator->latency_ms > 0 && coordinator->latency_ms < DETECT_EDGE_LATENCY_MS;
    return machine->address_public || near_the_internet;
}

void detect_format_size(uint64_t bytes, char text[DETECT_SIZE_TEXT_BYTES])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    int length = snprintf(text, DETECT_SIZE_TEXT_BYTES, "%.1f", value);
    if (length > 2 && strcmp(text + length - 2, ".0") == 0)
        length -= 2;
    snprintf(text + length, DETECT_SIZE_TEXT_BYTES - (size_t)length, "%s", units[unit]);
}
