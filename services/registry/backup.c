/* BackUp; see backup.h. */

#include "services/registry/backup.h"

#include "services/registry/handlers.h"

#include "common/buffer.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES (64 * 1024)
#define COPY_NAME "backup.partial.sqlite3"

struct backup {
    struct rpc_call *call; /* NULL: it has ended */
    char *path;            /* while the copy is being made */
    bool copying;
    int file; /* -1: there is none yet */
    uint64_t sent_bytes, total_bytes;
};

static void free_backup(struct backup *backup)
{
    if (backup->file >= 0)
        close(backup->file);
    free(backup->path);
    free(backup);
}

/* Sends the next piece. False: there is none, or the call is over. */
static bool send_piece(struct backup *backup)
{
    uint8_t data[PIECE_BYTES];
    Muster__V1__BackUpResponse response = MUSTER__V1__BACK_UP_RESPONSE__INIT;
    if (backup->sent_bytes == backup->total_bytes)
        return false;
    ssize_t bytes = pread(backup->file, data, sizeof(data), (off_t)backup->sent_bytes);
    if (bytes <= 0) {
        rpc_call_finish(backup->call, RPC_UNAVAILABLE, "the copy cannot be read (%s); check the disk",
                        bytes < 0 ? strerror(errno) : "it is shorter than it was");
        return false;
    }
    response.data.data = data;
    response.data.len = (size_t)bytes;
    response.total_bytes = backup->total_bytes;
    backup->sent_bytes += (uint64_t)bytes;
    if (!rpc_call_send(backup->call, &response.base))
        return false;
    if (backup->sent_bytes == backup->total_bytes)
        rpc_call_finish(backup->call, RPC_OK, "%s", "");
    return true;
}

static void writable(struct rpc_call *call)
{
    struct backup *backup = rpc_call_user(call);
    if (backup == NULL || backup->file < 0)
        return;
    while (!rpc_call_is_over(call) && rpc_call_writable(call) && send_piece(backup))
        continue;
}

/* The copy is complete, or could not be made. */
static void copied(void *argument, enum store_result result, const struct store_error *error)
{
    struct backup *backup = argument;
    struct stat status;
    backup->copying = false;
    if (result == STORE_OK) {
        backup->file = open(backup->path, O_RDONLY | O_CLOEXEC);
        if (backup->file >= 0 && fstat(backup->file, &status) == 0)
            backup->total_bytes = (uint64_t)status.st_size;
    }
    (void)unlink(backup->path); /* one that could not be made may not be there */
    if (backup->call == NULL)
        free_backup(backup);
    else if (result != STORE_OK)
        rpc_call_finish(backup->call, RPC_UNAVAILABLE, "%s", error->text);
    else if (backup->total_bytes == 0)
        rpc_call_finish(backup->call, RPC_UNAVAILABLE, "the copy cannot be read; check the disk");
    else
        writable(backup->call);
}

static void begin(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    (void)message;
    if (!writer_can_back_up(handlers->writer)) {
        rpc_call_finish(call, RPC_FAILED_PRECONDITION,
                        "this registry does not keep the roll in a file; use what its store offers, or an export");
        return;
    }
    struct backup *backup = calloc(1, sizeof(*backup));
    struct buffer path = BUFFER_INIT;
    buffer_append_format(&path, "%s/" COPY_NAME, handlers->data_directory);
    if (backup != NULL)
        backup->path = buffer_take(&path);
    if (backup == NULL || backup->path == NULL) {
        buffer_free(&path);
        free(backup);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    backup->call = call;
    backup->file = -1;
    backup->copying = true;
    if (!writer_back_up(handlers->writer, backup->path, copied, backup)) {
        free_backup(backup);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "another backup is being made; try again when it is done");
        return;
    }
    rpc_call_set_user(call, backup);
}

static void ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct backup *backup = rpc_call_user(call);
    (void)status;
    (void)text;
    if (backup == NULL)
        return;
    backup->call = NULL;
    /* The end of the copying frees it, if that comes later. */
    if (!backup->copying)
        free_backup(backup);
}

void backup_remove_left_behind(const char *data_directory)
{
    static const char *const names[] = {COPY_NAME, COPY_NAME "-journal"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct buffer path = BUFFER_INIT;
        buffer_append_format(&path, "%s/%s", data_directory, names[i]);
        /* Without memory the next start does it. */
        if (!buffer_failed(&path) && unlink(path.data) == 0)
            log_info("removed what a backup that was cut off left behind", LOG_TEXT("file", path.data));
        else if (!buffer_failed(&path) && errno != ENOENT)
            log_warning("cannot remove what a backup that was cut off left behind; remove it",
                        LOG_TEXT("file", path.data), LOG_TEXT("error", strerror(errno)));
        buffer_free(&path);
    }
}

const struct rpc_events backup_events = {.message = begin, .writable = writable, .ended = ended};
