// A SQLite file system "fault" over the usual one, with two powers:
//   - any step can be made to fail, as a full disk or as a broken one (see fault.h);
//   - it remembers what each file held when it was last synced, so that a loss of power can
//     be played: everything that was written since then is gone.
//
// For one test at a time.

#pragma once

#include "tests/unit/registry/fault.h"

#include <map>
#include <string>

struct FaultDisk {
    Fault fault;
    bool full = false;                         // errors are SQLITE_FULL where that makes sense
    std::map<std::string, std::string> synced; // path -> what a loss of power leaves of it
};

// Registers the file system, once; gives the disk behind it.
FaultDisk &fault_vfs();

// Writes what a loss of power would leave of directory `from` into the empty directory `to`.
void fault_vfs_lose_power(const std::string &from, const std::string &to);
