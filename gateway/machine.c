/* See machine.h; proc(5) describes the two files. */

#include "gateway/machine.h"

#include <stdio.h>
#include <string.h>

double machine_cpu_percent(struct machine *machine)
{
    unsigned long long user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, soft = 0, stolen = 0;
    FILE *file = fopen("/proc/stat", "re");
    int fields = file == NULL ? 0
                              : fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
                                       &idle, &waiting, &interrupts, &soft, &stolen);
    if (file != NULL)
        (void)fclose(file); /* it was only read */
    if (fields < 4)
        return 0;
    uint64_t busy = user + nice + system + interrupts + soft + stolen;
    uint64_t all = busy + idle + waiting;
    double percent = all <= machine->all || busy < machine->busy
                         ? 0
                         : 100.0 * (double)(busy - machine->busy) / (double)(all - machine->all);
    *machine = (struct machine){busy, all};
    return percent;
}

double machine_memory_percent(void)
{
    char line[128];
    unsigned long long total = 0, available = 0, value;
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemTotal: %llu", &value) == 1)
            total = value;
        else if (sscanf(line, "MemAvailable: %llu", &value) == 1)
            available = value;
    }
    (void)fclose(file); /* it was only read */
    return total == 0 || available > total ? 0 : 100.0 * (double)(total - available) / (double)total;
}
