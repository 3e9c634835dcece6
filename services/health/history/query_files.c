/* See query_files.h. */

#include "services/health/history/query_files.h"

#include <stdio.h>

/* A temporary file. The default VFS's own follows it in memory. */
struct limited_file {
    sqlite3_file base;
    struct query_files *files;
    uint64_t bytes;
    _Alignas(int64_t) char real[]; /* what SQLite's memory is aligned to */
};

static sqlite3_file *real_of(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((struct limited_file *)file)->real;
}

static void set_size(struct limited_file *file, uint64_t bytes)
{
    file->files->used_bytes += bytes - file->bytes; /* modulo 2^64 */
    file->bytes = bytes;
}

/* --- Methods of a temporary file --- */

static int close_file(sqlite3_file *file)
{
    set_size((struct limited_file *)file, 0);
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int read_file(sqlite3_file *file, void *data, int bytes, sqlite3_int64 offset)
{
    return real_of(file)->pMethods->xRead(real_of(file), data, bytes, offset);
}

static int write_file(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset)
{
    struct limited_file *limited = (struct limited_file *)file;
    struct query_files *files = limited->files;
    uint64_t end = (uint64_t)offset + (uint64_t)bytes;
    if (end > limited->bytes && files->used_bytes + (end - limited->bytes) > files->limit_bytes) {
        files->full = true;
        return SQLITE_FULL;
    }
    int result = real_of(file)->pMethods->xWrite(real_of(file), data, bytes, offset);
    if (result == SQLITE_OK && end > limited->bytes)
        set_size(limited, end);
    return result;
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 bytes)
{
    int result = real_of(file)->pMethods->xTruncate(real_of(file), bytes);
    if (result == SQLITE_OK && (uint64_t)bytes < ((struct limited_file *)file)->bytes)
        set_size((struct limited_file *)file, (uint64_t)bytes);
    return result;
}

static int sync_file(sqlite3_file *file, int flags)
{
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int size_of_file(sqlite3_file *file, sqlite3_int64 *bytes)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), bytes);
}

static int lock_file(sqlite3_file *file, int lock)
{
    return real_of(file)->pMethods->xLock(real_of(file), lock);
}

static int unlock_file(sqlite3_file *file, int lock)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), lock);
}

static int is_file_reserved(sqlite3_file *file, int *reserved)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), reserved);
}

static int control_file(sqlite3_file *file, int what, void *argument)
{
    /* Room that is taken ahead would not be counted. */
    if (what == SQLITE_FCNTL_SIZE_HINT || what == SQLITE_FCNTL_CHUNK_SIZE)
        return SQLITE_OK;
    return real_of(file)->pMethods->xFileControl(real_of(file), what, argument);
}

static int sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

/* --- The VFS --- */

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *given)
{
    /* Version 1: no shared memory, and no mapping, which would pass xWrite by. */
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
    struct query_files *files = (struct query_files *)vfs;
    if ((flags & SQLITE_OPEN_DELETEONCLOSE) == 0)
        return files->real->xOpen(files->real, name, file, flags, given);
    struct limited_file *limited = (struct limited_file *)file;
    limited->base.pMethods = NULL; /* nothing is to be closed if it cannot be opened */
    limited->files = files;
    limited->bytes = 0;
    int result = files->real->xOpen(files->real, name, real_of(file), flags, given);
    if (result == SQLITE_OK)
        limited->base.pMethods = &methods;
    else if (real_of(file)->pMethods != NULL)
        (void)real_of(file)->pMethods->xClose(real_of(file)); /* it is not there, whatever that says */
    return result;
}

bool query_files_begin(struct query_files *files)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    if (real == NULL)
        return false;
    /* What is not about files is the default's: its functions find it by their first argument's
     * methods only. */
    *files = (struct query_files){.vfs = *real, .real = real, .limit_bytes = UINT64_MAX};
    snprintf(files->name, sizeof(files->name), "muster-query-%p", (void *)files);
    files->vfs.pNext = NULL;
    files->vfs.zName = files->name;
    files->vfs.szOsFile = real->szOsFile + (int)sizeof(struct limited_file);
    files->vfs.xOpen = open_file;
    return sqlite3_vfs_register(&files->vfs, 0) == SQLITE_OK;
}

void query_files_end(struct query_files *files)
{
    if (files->real != NULL)
        (void)sqlite3_vfs_unregister(&files->vfs); /* always SQLITE_OK */
}
