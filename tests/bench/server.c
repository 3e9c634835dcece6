#include "tests/bench/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool server_prepare(struct server *server, const char *name, const struct server_plan *plan, struct failure *failure)
{
    *server = (struct server){.name = name};
    /* A server may be started more than once in a run. */
    for (unsigned attempt = 0;; attempt++) {
        int length = snprintf(server->directory, sizeof server->directory, "%s/%s-%u", plan->directory, name, attempt);
        if (length < 0 || (size_t)length >= sizeof server->directory)
            return fail(failure, "the path of the temporary directory is too long");
        if (mkdir(server->directory, 0700) == 0)
            return true;
        if (errno != EEXIST)
            return fail(failure, "cannot make %s: %s", server->directory, strerror(errno));
    }
}

bool server_run(struct server *server, const struct server_plan *plan, const struct process_plan *process,
                uint16_t port, struct failure *failure)
{
    if (server->process_count == SERVER_PROCESSES_MAX)
        return fail(failure, "%s has too many processes", server->name);
    struct process *slot = &server->processes[server->process_count];
    if (!process_start(slot, process, failure))
        return false;
    server->process_count++;
    return process_wait_ready(slot, plan->loop, port, failure);
}

void server_stop(struct server *server)
{
    while (server->process_count > 0)
        process_stop(&server->processes[--server->process_count]);
}

size_t server_pids(const struct server *server, pid_t *pids, size_t limit)
{
    size_t count = 0;
    for (size_t i = 0; i < server->process_count && count < limit; i++) {
        pids[count++] = server->processes[i].pid;
        count += process_children(server->processes[i].pid, pids + count, limit - count);
    }
    return count;
}

bool server_find_file(const char *relative, char *path, size_t path_bytes, struct failure *failure)
{
    char self[512];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    int written = snprintf(path, path_bytes, "%s.runfiles/muster/%s", self, relative);
    if (written > 0 && (size_t)written < path_bytes && access(path, R_OK) == 0)
        return true;
    /* Bazel runs tests in the folder that holds their files. */
    char *found = realpath(relative, NULL);
    bool fits = found != NULL && strlen(found) < path_bytes;
    if (fits)
        snprintf(path, path_bytes, "%s", found);
    free(found);
    return fits ? true : fail(failure, "%s was not built with the bench", relative);
}
