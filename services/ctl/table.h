/* Text tables with aligned columns, as `musterctl` prints them.
 *
 *     table_add_column(&table, "worker", TABLE_LEFT);
 *     table_add_column(&table, "load", TABLE_RIGHT);
 *     table_add_row(&table);
 *     table_set(&table, "gpu-1");
 *     table_set(&table, "%.2f", load);
 *     table_render(&table, &buffer);
 *
 * Cells come from strangers: control characters in them (escape sequences of a terminal
 * among them) and bytes that are not UTF-8 are shown as '?'. Widths count code points.
 *
 * Memory: when it runs out the table is failed, and table_render says so. Threading: none. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"

enum table_alignment { TABLE_LEFT, TABLE_RIGHT };

#define TABLE_COLUMNS 100

struct table {
    struct {
        const char *title;
        enum table_alignment alignment;
    } columns[TABLE_COLUMNS];
    size_t column_count;
    char **cells; /* row after row; NULL: an empty cell */
    size_t cell_count;
    size_t row_count;
    size_t next_column;
    bool failed;
};

/* An all-zero struct table is an empty one. */
void table_free(struct table *table);

/* Before the first row; at most TABLE_COLUMNS. The title must outlive the table. */
void table_add_column(struct table *table, const char *title, enum table_alignment alignment);

/* Starts a row; cells that are not set stay empty. */
void table_add_row(struct table *table);

/* Sets the row's next cell. */
__attribute__((format(printf, 2, 3))) void table_set(struct table *table, const char *format, ...);

/* Appends the titles in capitals and then the rows, one a line; two spaces between columns,
 * none at the end of a line. False: memory ran out while the table was filled or now. */
bool table_render(const struct table *table, struct buffer *out);
