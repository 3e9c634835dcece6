#include "tests/bench/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static bool find_kilobytes(const char *text, const char *key, uint64_t *bytes)
{
    const char *line = strstr(text, key);
    uint64_t kilobytes;
    if (line == NULL || sscanf(line + strlen(key), " %" SCNu64 " kB", &kilobytes) != 1)
        return false;
    *bytes = kilobytes * 1024;
    return true;
}

bool memory_parse(const char *text, struct memory *memory)
{
    return find_kilobytes(text, "\nRss:", &memory->resident_bytes) &&
           find_kilobytes(text, "\nAnonymous:", &memory->anonymous_bytes) &&
           find_kilobytes(text, "\nPss:", &memory->proportional_bytes);
}

bool memory_add(pid_t pid, struct memory *memory, struct failure *failure)
{
    char path[64], text[4096];
    struct memory one;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return fail(failure, "cannot read %s: %s", path, strerror(errno));
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    if (!memory_parse(text, &one))
        return fail(failure, "%s has no Rss, Anonymous or Pss line", path);
    memory->resident_bytes += one.resident_bytes;
    memory->anonymous_bytes += one.anonymous_bytes;
    memory->proportional_bytes += one.proportional_bytes;
    return true;
}
