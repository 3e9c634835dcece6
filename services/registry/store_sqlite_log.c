/* SQLite's log, written in few calls; see store_sqlite_log.h. */

#include "services/registry/store_sqlite_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is gathered at most: some thirty pages. SQLite's own VFS writes less than 128 KiB at once, and takes more than
 * that for a disk that is full. */
#define GATHERED_BYTES_MAX (128 * 1024 - 1)

/* A log; the file of the VFS below follows it in memory. */
struct log_file {
    sqlite3_file base;
    char *gathered;
    int bytes;           /* that are gathered */
    sqlite3_int64 start; /* where they go */
};

static sqlite3_file *below_of(sqlite3_file *file)
{
    return (sqlite3_file *)((struct log_file *)file + 1);
}

/* Hands on what is gathered, and gives the file of the VFS below in *below. What could not be written is forgotten, as
 * SQLite forgets it. */
static int settle(sqlite3_file *file, sqlite3_file **below)
{
    struct log_file *log = (struct log_file *)file;
    int bytes = log->bytes;
    *below = below_of(file);
    log->bytes = 0;
    return bytes == 0 ? SQLITE_OK : (*below)->pMethods->xWrite(*below, log->gathered, bytes, log->start);
}

static int write_file(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset)
{
    struct log_file *log = (struct log_file *)file;
    sqlite3_file *below = below_of(file);
    bool goes_on = log->bytes > 0 && offset == log->start + log->bytes && bytes <= GATHERED_BYTES_MAX - log->bytes;
    int result = goes_on ? SQLITE_OK : settle(file, &below);
    if (result != SQLITE_OK)
        return result;
    if (bytes > GATHERED_BYTES_MAX)
        return below->pMethods->xWrite(below, data, bytes, offset);
    if (!goes_on)
        log->start = offset;
    memcpy(log->gathered + log->bytes, data, (size_t)bytes);
    log->bytes += bytes;
    return SQLITE_OK;
}

static int read_file(sqlite3_file *file, void *data, int bytes, sqlite3_int64 offset)
{
    sqlite3_file *below;
    int result = settle(file, &below);
    return result == SQLITE_OK ? below->pMethods->xRead(below, data, bytes, offset) : result;
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size)
{
    sqlite3_file *below;
    int result = settle(file, &below);
    return result == SQLITE_OK ? below->pMethods->xTruncate(below, size) : result;
}

static int sync_file(sqlite3_file *file, int flags)
{
    sqlite3_file *below;
    int result = settle(file, &below);
    return result == SQLITE_OK ? below->pMethods->xSync(below, flags) : result;
}

static int size_of_file(sqlite3_file *file, sqlite3_int64 *size)
{
    sqlite3_file *below;
    int result = settle(file, &below);
    return result == SQLITE_OK ? below->pMethods->xFileSize(below, size) : result;
}

static int close_file(sqlite3_file *file)
{
    sqlite3_file *below;
    int written = settle(file, &below);
    free(((struct log_file *)file)->gathered);
    int closed = below->pMethods->xClose(below);
    return written != SQLITE_OK ? written : closed;
}

static int lock_file(sqlite3_file *file, int lock)
{
    return below_of(file)->pMethods->xLock(below_of(file), lock);
}

static int unlock_file(sqlite3_file *file, int lock)
{
    return below_of(file)->pMethods->xUnlock(below_of(file), lock);
}

static int is_file_reserved(sqlite3_file *file, int *reserved)
{
    return below_of(file)->pMethods->xCheckReservedLock(below_of(file), reserved);
}

/* Of these none is about what lies in a log; what is gathered can wait, lest it be asked for the reason of an error and
 * another one came in between. */
static int control_file(sqlite3_file *file, int what, void *argument)
{
    return below_of(file)->pMethods->xFileControl(below_of(file), what, argument);
}

static int sector_size(sqlite3_file *file)
{
    return below_of(file)->pMethods->xSectorSize(below_of(file));
}

static int characteristics(sqlite3_file *file)
{
    return below_of(file)->pMethods->xDeviceCharacteristics(below_of(file));
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *given)
{
    /* Version 1: a log is neither mapped nor has it shared memory. */
    static const sqlite3_io_methods methods = {
        .iVersion = 1,
        .xClose = close_file,
        .xRead = read_file,
        .xWrite = write_file,
        .xTruncate = truncate_file,
        .xSync = sync_file,
        .xFileSize = size_of_file,
        .xLock = lock_file,
        .xUnlock = unlock_file,
        .xCheckReservedLock = is_file_reserved,
        .xFileControl = control_file,
        .xSectorSize = sector_size,
        .xDeviceCharacteristics = characteristics,
    };
    struct sqlite_log_files *files = (struct sqlite_log_files *)vfs;
    if ((flags & SQLITE_OPEN_WAL) == 0)
        return files->below->xOpen(files->below, name, file, flags, given);
    struct log_file *log = (struct log_file *)file;
    *log = (struct log_file){.gathered = malloc(GATHERED_BYTES_MAX)}; /* without methods nothing is to be closed */
    if (log->gathered == NULL)
        return SQLITE_NOMEM;
    int result = files->below->xOpen(files->below, name, below_of(file), flags, given);
    if (result == SQLITE_OK) {
        log->base.pMethods = &methods;
        return SQLITE_OK;
    }
    if (below_of(file)->pMethods != NULL)
        (void)below_of(file)->pMethods->xClose(below_of(file)); /* it is not there, whatever that says */
    free(log->gathered);
    return result;
}

bool sqlite_log_files_begin(struct sqlite_log_files *files, const char *below)
{
    files->below = sqlite3_vfs_find(below);
    if (files->below == NULL)
        return false;
    /* What is not about files is that of the one below: its functions find it by their first argument's methods only.
     */
    files->vfs = *files->below;
    snprintf(files->name, sizeof(files->name), "muster-log-%p", (void *)files);
    files->vfs.pNext = NULL;
    files->vfs.zName = files->name;
    files->vfs.szOsFile = files->below->szOsFile + (int)sizeof(struct log_file);
    files->vfs.xOpen = open_file;
    return sqlite3_vfs_register(&files->vfs, 0) == SQLITE_OK;
}

void sqlite_log_files_end(struct sqlite_log_files *files)
{
    if (files->below != NULL)
        (void)sqlite3_vfs_unregister(&files->vfs); /* always SQLITE_OK */
}
