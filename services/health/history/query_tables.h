/* Inside query.h: the tables that a statement sees. */

#pragma once

#include <sqlite3.h>
#include <stdatomic.h>

#include "common/arena.h"
#include "services/health/history/query.h"
#include "services/health/history/query_files.h"

struct query {
    struct query_files files;
    sqlite3 *database;
    sqlite3_stmt *add_worker, *add_service;
    struct arena arena; /* of the answer */
    size_t answer_bytes;
    uint64_t deadline_ms;
    bool late, forbidden;
    bool has_zero; /* inside of a text of the answer, which cannot hold it */
    atomic_bool cancelled;
    char reason[160]; /* with forbidden */
};

/* After the last worker: what was added can be read. False: the database says why. */
bool query_tables_finish(struct query *query);
