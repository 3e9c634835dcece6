// A SQLite file system with errors on demand; see fault_vfs.h.

#include "tests/unit/registry/fault_vfs.h"

#include <sqlite3.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>

namespace
{

struct State {
    FaultDisk disk;
    sqlite3_vfs *real = nullptr;
    sqlite3_vfs vfs = {};
};

State &state()
{
    static State state;
    return state;
}

// Followed in memory by the real file's object.
struct File {
    sqlite3_file base;
    char path[1024];
};

sqlite3_file *real(sqlite3_file *file)
{
    return reinterpret_cast<sqlite3_file *>(reinterpret_cast<File *>(file) + 1);
}

bool fails()
{
    return state().disk.fault.step();
}

int write_error(int otherwise)
{
    return state().disk.full ? SQLITE_FULL : otherwise;
}

std::string contents(const std::string &path)
{
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

int close_file(sqlite3_file *file)
{
    return real(file)->pMethods->xClose(real(file));
}

int read_file(sqlite3_file *file, void *data, int bytes, sqlite3_int64 offset)
{
    return fails() ? SQLITE_IOERR_READ : real(file)->pMethods->xRead(real(file), data, bytes, offset);
}

int write_file(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset)
{
    return fails() ? write_error(SQLITE_IOERR_WRITE) : real(file)->pMethods->xWrite(real(file), data, bytes, offset);
}

int truncate_file(sqlite3_file *file, sqlite3_int64 bytes)
{
    return fails() ? SQLITE_IOERR_TRUNCATE : real(file)->pMethods->xTruncate(real(file), bytes);
}

int sync_file(sqlite3_file *file, int flags)
{
    if (fails())
        return SQLITE_IOERR_FSYNC;
    int result = real(file)->pMethods->xSync(real(file), flags);
    const char *path = reinterpret_cast<File *>(file)->path;
    if (result == SQLITE_OK && path[0] != '\0')
        state().disk.synced[path] = contents(path);
    return result;
}

int file_size(sqlite3_file *file, sqlite3_int64 *bytes)
{
    return fails() ? SQLITE_IOERR_FSTAT : real(file)->pMethods->xFileSize(real(file), bytes);
}

int lock_file(sqlite3_file *file, int level)
{
    return fails() ? SQLITE_IOERR_LOCK : real(file)->pMethods->xLock(real(file), level);
}

int unlock_file(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

int check_reserved(sqlite3_file *file, int *reserved)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), reserved);
}

int control(sqlite3_file *file, int operation, void *argument)
{
    return real(file)->pMethods->xFileControl(real(file), operation, argument);
}

int sector_size(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

int characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

// Version 1: no shared memory, which exclusive locking does not need.
const sqlite3_io_methods methods = {
    1,         close_file,  read_file,      write_file, truncate_file, sync_file,       file_size,
    lock_file, unlock_file, check_reserved, control,    sector_size,   characteristics, nullptr,
    nullptr,   nullptr,     nullptr,        nullptr,    nullptr,
};

int open_file(sqlite3_vfs *, const char *path, sqlite3_file *file, int flags, int *out_flags)
{
    file->pMethods = nullptr;
    if (fails())
        return SQLITE_CANTOPEN;
    int result = state().real->xOpen(state().real, path, real(file), flags, out_flags);
    if (result != SQLITE_OK)
        return result;
    snprintf(reinterpret_cast<File *>(file)->path, sizeof(File::path), "%s", path == nullptr ? "" : path);
    file->pMethods = &methods;
    return SQLITE_OK;
}

int delete_file(sqlite3_vfs *, const char *path, int sync)
{
    if (fails())
        return SQLITE_IOERR_DELETE;
    int result = state().real->xDelete(state().real, path, sync);
    if (result == SQLITE_OK)
        state().disk.synced.erase(path);
    return result;
}

int access_file(sqlite3_vfs *, const char *path, int flags, int *result)
{
    return fails() ? SQLITE_IOERR_ACCESS : state().real->xAccess(state().real, path, flags, result);
}

int full_path(sqlite3_vfs *, const char *path, int bytes, char *out)
{
    return state().real->xFullPathname(state().real, path, bytes, out);
}

} // namespace

FaultDisk &fault_vfs()
{
    State &s = state();
    if (s.real == nullptr) {
        s.real = sqlite3_vfs_find(nullptr);
        s.vfs = *s.real;
        s.vfs.pNext = nullptr;
        s.vfs.zName = "fault";
        s.vfs.szOsFile = static_cast<int>(sizeof(File)) + s.real->szOsFile;
        s.vfs.xOpen = open_file;
        s.vfs.xDelete = delete_file;
        s.vfs.xAccess = access_file;
        s.vfs.xFullPathname = full_path;
        if (sqlite3_vfs_register(&s.vfs, 0) != SQLITE_OK)
            abort();
    }
    return s.disk;
}

void fault_vfs_lose_power(const std::string &from, const std::string &to)
{
    for (const auto &[path, bytes] : state().disk.synced)
        if (path.rfind(from + "/", 0) == 0)
            std::ofstream(to + path.substr(from.size()), std::ios::binary) << bytes;
}
