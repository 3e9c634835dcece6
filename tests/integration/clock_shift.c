/* A library for LD_PRELOAD: the wall clock of the process is off by as many milliseconds as the file
 * $CLOCK_SHIFT_FILE says (an int64_t in the machine's order), from the moment at which somebody
 * writes it there. The monotonic clocks are left alone, as when an operator or NTP sets a clock. */

#define _GNU_SOURCE

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000LL

/* The file, mapped; NULL: there is none. The dynamic linker's own state has no better place. */
static _Atomic int64_t *shift_ms;

__attribute__((constructor)) static void map_file(void)
{
    const char *path = getenv("CLOCK_SHIFT_FILE");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        shift_ms = mapped;
    if (file >= 0)
        close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result != 0 || shift_ms == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return result;
    int64_t shift = atomic_load(shift_ms);
    int64_t nanoseconds = now->tv_nsec + shift % 1000 * 1000000;
    now->tv_sec += shift / 1000;
    if (nanoseconds < 0 || nanoseconds >= NANOSECONDS) {
        now->tv_sec += nanoseconds < 0 ? -1 : 1;
        nanoseconds += nanoseconds < 0 ? NANOSECONDS : -NANOSECONDS;
    }
    now->tv_nsec = (long)nanoseconds;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &precise); /* cannot fail for this clock */
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *copy)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* likewise */
    if (copy != NULL)
        *copy = now.tv_sec;
    return now.tv_sec;
}
