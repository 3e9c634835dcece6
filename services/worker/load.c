#include "services/worker/load.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool load_parse_stat(const char *text, struct load_times *times)
{
    /* user nice system idle iowait irq softirq steal; guest time is in user already. */
    unsigned long long ticks[8] = {0};
    if (strncmp(text, "cpu ", 4) != 0)
        return false;
    int fields = sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[0], &ticks[1], &ticks[2], &ticks[3],
                        &ticks[4], &ticks[5], &ticks[6], &ticks[7]);
    if (fields < 4)
        return false;
    times->total = 0;
    for (size_t i = 0; i < sizeof ticks / sizeof ticks[0]; i++)
        times->total += ticks[i];
    times->busy = times->total - ticks[3] - ticks[4];
    return true;
}

double load_share(const struct load_times *before, const struct load_times *after)
{
    /* iowait may go back a little, and busy with it. */
    if (after->total <= before->total || after->busy <= before->busy)
        return 0;
    double share = (double)(after->busy - before->busy) / (double)(after->total - before->total);
    return share < 1 ? share : 1;
}

static bool read_times(const char *root, struct load_times *times)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/proc/stat", root);
    if (length < 0 || (size_t)length >= sizeof path)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    /* The line that we want is the first. */
    char text[512];
    ssize_t got;
    do
        got = read(fd, text, sizeof text - 1);
    while (got < 0 && errno == EINTR);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    return load_parse_stat(text, times);
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

void load_sample(struct load_sampler *sampler, const char *root, uint32_t active_requests, uint32_t most_requests,
                 const struct detect_gpu *gpu, struct load_sample_figures *sample)
{
    double load = 0;
    struct load_times now;
    if (read_times(root, &now)) {
        load = load_share(&sampler->before, &now);
        sampler->before = now;
    }
    if (most_requests > 0)
        load = larger(load, (double)active_requests / most_requests);
    if (gpu->present)
        load = larger(load, gpu->utilization / 100);
    sample->current_load = load < 1 ? load : 1;

    struct detect_memory_figures memory;
    detect_memory(&memory, root);
    detect_format_size(memory.available_bytes, sample->available_memory);
}
