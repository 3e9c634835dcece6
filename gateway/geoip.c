/* See geoip.h. */

#define _GNU_SOURCE /* memfd_create */

#include "gateway/geoip.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <maxminddb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

struct geoip {
    const char *path;
    struct stat seen; /* at the last reading, good or not */
    MMDB_s database;
};

/* --- Opening --- */

static bool copy(int from, int into, off_t bytes)
{
    while (bytes > 0) {
        ssize_t copied = sendfile(into, from, NULL, (size_t)bytes);
        if (copied <= 0)
            return false;
        bytes -= copied;
    }
    return true;
}

/* The library takes names only. */
static int open_copy(int memory, MMDB_s *database)
{
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", memory);
    return MMDB_open(name, MMDB_MODE_MMAP, database);
}

/* The file in memory: a descriptor; -1, and errno, 0 when the file changes under the reading. */
static int read_file(const char *path, struct stat *seen)
{
    int memory = -1, file = open(path, O_RDONLY | O_CLOEXEC);
    *seen = (struct stat){.st_size = 0};
    bool copied = file >= 0 && fstat(file, seen) == 0 && (memory = memfd_create("geoip", MFD_CLOEXEC)) >= 0 &&
                  (errno = 0, copy(file, memory, seen->st_size));
    int reason = errno;
    if (file >= 0)
        (void)close(file); /* nothing was written to it */
    if (!copied && memory >= 0)
        (void)close(memory);
    errno = reason;
    return copied ? memory : -1;
}

static bool read_database(const char *path, struct stat *seen, MMDB_s *database, char *error, size_t error_bytes)
{
    int memory = read_file(path, seen);
    if (memory < 0) {
        snprintf(error, error_bytes, "--geoip-database %.400s cannot be read: %s", path,
                 errno == 0 ? "it changes while it is read; try again" : strerror(errno));
        return false;
    }
    int result = open_copy(memory, database);
    (void)close(memory); /* the library has mapped it */
    if (result != MMDB_SUCCESS)
        snprintf(error, error_bytes,
                 "--geoip-database %.400s is no database in MaxMind's format (.mmdb): %s; download it again, or leave "
                 "it out",
                 path, MMDB_strerror(result));
    return result == MMDB_SUCCESS;
}

struct geoip *geoip_open(const char *path, char *error, size_t error_bytes)
{
    struct geoip *geoip = calloc(1, sizeof *geoip);
    if (geoip == NULL) {
        snprintf(error, error_bytes, "out of memory");
        return NULL;
    }
    geoip->path = path;
    if (read_database(path, &geoip->seen, &geoip->database, error, error_bytes))
        return geoip;
    free(geoip);
    return NULL;
}

void geoip_close(struct geoip *geoip)
{
    if (geoip == NULL)
        return;
    MMDB_close(&geoip->database);
    free(geoip);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void geoip_again(struct geoip *geoip, bool anyway)
{
    struct stat now;
    MMDB_s fresh;
    char error[600];
    if (stat(geoip->path, &now) != 0)
        now = (struct stat){.st_size = 0};
    if (!anyway && is_same(&now, &geoip->seen))
        return;
    if (!read_database(geoip->path, &geoip->seen, &fresh, error, sizeof error)) {
        log_error("the database of places was not read anew; the one that was there still holds",
                  LOG_TEXT("reason", error));
        return;
    }
    MMDB_close(&geoip->database);
    geoip->database = fresh;
    log_info("the database of places was read", LOG_TEXT("path", geoip->path),
             LOG_TEXT("type", fresh.metadata.database_type), LOG_UINT("built_at", fresh.metadata.build_epoch));
}

/* --- Looking up --- */

/* Two letters, in lower case. */
static void read_code(MMDB_entry_s *entry, const char *object, const char *member, char code[3])
{
    MMDB_entry_data_s data;
    const char *const path[] = {object, member, NULL};
    code[0] = '\0';
    if (MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data ||
        data.type != MMDB_DATA_TYPE_UTF8_STRING || data.data_size != 2)
        return;
    for (int i = 0; i < 2; i++)
        code[i] = (char)tolower((unsigned char)data.utf8_string[i]);
    code[2] = '\0';
}

static bool read_degrees(MMDB_entry_s *entry, const char *member, double limit, double *degrees)
{
    MMDB_entry_data_s data;
    const char *const path[] = {"location", member, NULL};
    if (MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data || data.type != MMDB_DATA_TYPE_DOUBLE ||
        !(fabs(data.double_value) <= limit))
        return false;
    *degrees = data.double_value;
    return true;
}

bool geoip_find(struct geoip *geoip, const char *address, struct geoip_answer *answer)
{
    int lookup_error, database_error;
    *answer = (struct geoip_answer){.country = ""};
    MMDB_lookup_result_s found = MMDB_lookup_string(&geoip->database, address, &lookup_error, &database_error);
    if (lookup_error != 0 || database_error != MMDB_SUCCESS || !found.found_entry)
        return false;
    read_code(&found.entry, "country", "iso_code", answer->country);
    read_code(&found.entry, "continent", "code", answer->continent);
    if (strcmp(answer->country, "gb") == 0)
        strcpy(answer->country, "uk");
    answer->place_known = read_degrees(&found.entry, "latitude", 90, &answer->latitude) &&
                          read_degrees(&found.entry, "longitude", 180, &answer->longitude);
    return answer->country[0] != '\0' || answer->continent[0] != '\0' || answer->place_known;
}
