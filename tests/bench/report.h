/* What the bench says in the end: a table for people, JSON for programs. */

#pragma once

#include "tests/bench/rows.h"

struct machine {
    char processor[128];
    char kernel[160];
    unsigned cores;
    unsigned server_core, load_core;
    bool optimised; /* the bench, and so the servers, were built with -c opt */
};

/* Facts of this machine; what cannot be found out is "unknown". */
void machine_describe(struct machine *machine);

/* A peer that took part. */
struct report_peer {
    const char *name;
    char version[160];
};

struct report {
    struct machine machine;
    const struct report_peer *peers;
    size_t peer_count;
    bool quick;
    const struct row_result *results;
    size_t count;
};

/* Writes the table. */
void report_print(const struct report *report, FILE *output);

/* The report as JSON text, for the caller to free with free(); NULL when memory runs out. */
char *report_json(const struct report *report);

/* How many rows are below a floor or above a limit, and how many could not be measured at
 * Muster's side. */
size_t report_missed(const struct report *report);
size_t report_unmeasured(const struct report *report);
