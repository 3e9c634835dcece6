/* Text tables with aligned columns; see table.h. */

#define _GNU_SOURCE

#include "services/ctl/table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct table){0};
}

void table_add_column(struct table *table, const char *title, enum table_alignment alignment)
{
    if (table->column_count == TABLE_COLUMNS || table->row_count > 0) {
        table->failed = true;
        return;
    }
    table->columns[table->column_count].title = title;
    table->columns[table->column_count].alignment = alignment;
    table->column_count++;
}

void table_add_row(struct table *table)
{
    size_t count = table->cell_count + table->column_count;
    char **cells = realloc(table->cells, count * sizeof(*cells));
    if (cells == NULL) {
        table->failed = true;
        return;
    }
    table->cells = cells;
    for (size_t i = table->cell_count; i < count; i++)
        table->cells[i] = NULL;
    table->cell_count = count;
    table->row_count++;
    table->next_column = 0;
}

/* Length of the UTF-8 sequence at text, 0 if there is none: overlong forms, surrogates and
 * what lies beyond Unicode are none. */
static size_t sequence_bytes(const unsigned char *text)
{
    if (text[0] < 0x80)
        return 1;
    size_t bytes = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return bytes;
}

/* C0, DEL, and C1 (which in UTF-8 is C2 80 to C2 9F). */
static bool is_control(const unsigned char *text)
{
    return text[0] < 0x20 || text[0] == 0x7f || (text[0] == 0xc2 && text[1] < 0xa0);
}

/* Makes a cell fit to print, in place: it never gets longer. */
static void clean(char *cell)
{
    unsigned char *from = (unsigned char *)cell;
    unsigned char *to = from;
    while (*from != '\0') {
        size_t bytes = sequence_bytes(from);
        if (bytes == 0 || is_control(from)) {
            *to++ = '?';
            from += bytes == 0 ? 1 : bytes;
            continue;
        }
        memmove(to, from, bytes);
        to += bytes;
        from += bytes;
    }
    *to = '\0';
}

void table_set(struct table *table, const char *format, ...)
{
    if (table->failed || table->row_count == 0 || table->next_column == table->column_count) {
        table->failed = true;
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    char *cell = NULL;
    if (vasprintf(&cell, format, arguments) < 0)
        table->failed = true;
    else
        clean(cell);
    va_end(arguments);
    if (!table->failed)
        table->cells[table->cell_count - table->column_count + table->next_column++] = cell;
}

static size_t code_points(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static void append_spaces(struct buffer *out, size_t count)
{
    while (count-- > 0)
        buffer_append_char(out, ' ');
}

/* One line; cell_at gives the texts. */
static void render_line(const struct table *table, const char *const *texts, const size_t *widths, struct buffer *out)
{
    size_t owed = 0; /* spaces that are written only if something follows */
    for (size_t column = 0; column < table->column_count; column++) {
        const char *text = texts[column] != NULL ? texts[column] : "";
        size_t padding = widths[column] - code_points(text);
        bool right = table->columns[column].alignment == TABLE_RIGHT;
        if (*text != '\0') {
            append_spaces(out, owed + (right ? padding : 0));
            buffer_append_text(out, text);
            owed = right ? 0 : padding;
        } else {
            owed += padding;
        }
        owed += 2;
    }
    buffer_append_char(out, '\n');
}

bool table_render(const struct table *table, struct buffer *out)
{
    if (table->failed)
        return false;
    char titles[TABLE_COLUMNS][32];
    const char *texts[TABLE_COLUMNS];
    size_t widths[TABLE_COLUMNS];
    for (size_t column = 0; column < table->column_count; column++) {
        (void)snprintf(titles[column], sizeof(titles[column]), "%s", table->columns[column].title);
        for (char *c = titles[column]; *c != '\0'; c++)
            *c = (char)toupper((unsigned char)*c);
        texts[column] = titles[column];
        widths[column] = code_points(titles[column]);
        for (size_t row = 0; row < table->row_count; row++) {
            const char *cell = table->cells[row * table->column_count + column];
            size_t width = cell != NULL ? code_points(cell) : 0;
            if (width > widths[column])
                widths[column] = width;
        }
    }
    render_line(table, texts, widths, out);
    for (size_t row = 0; row < table->row_count; row++) {
        for (size_t column = 0; column < table->column_count; column++)
            texts[column] = table->cells[row * table->column_count + column];
        render_line(table, texts, widths, out);
    }
    return !buffer_failed(out);
}
