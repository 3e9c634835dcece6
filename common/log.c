/* Structured log lines; see log.h. */

#include "common/log.h"

#include "common/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 4096

/* Set once, before the first thread. */
static struct {
    const char *process;
    enum log_level level;
    enum log_format format;
} settings = {NULL, LOG_INFO, LOG_FORMAT_TEXT};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void log_configure(const char *process, enum log_level level, enum log_format format)
{
    settings.process = process;
    settings.level = level;
    settings.format = format;
}

bool log_enabled(enum log_level level)
{
    return level >= settings.level;
}

/* A line that is being written: what does not fit is cut. */
struct line {
    char text[LINE_BYTES];
    size_t bytes;
    size_t limit; /* room is kept behind it for what closes the line */
};

static void put(struct line *line, char c)
{
    if (line->bytes < line->limit)
        line->text[line->bytes++] = c;
}

static void put_text(struct line *line, const char *text)
{
    while (*text != '\0')
        put(line, *text++);
}

/* As the inside of a JSON string, which also serves for quoted text values. An escape is
 * written whole or not at all. */
static void put_escaped(struct line *line, const char *text)
{
    for (; *text != '\0' && line->bytes + 6 <= line->limit; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            put(line, '\\');
            put(line, (char)c);
        } else if (c == '\n') {
            put_text(line, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            char escape[8];
            (void)snprintf(escape, sizeof(escape), "\\u%04x", c);
            put_text(line, escape);
        } else {
            put(line, (char)c);
        }
    }
    if (((unsigned char)*text & 0xc0) != 0x80)
        return;
    /* Cut inside a UTF-8 sequence: drop its start, which alone would be invalid. */
    while (((unsigned char)line->text[line->bytes - 1] & 0xc0) == 0x80)
        line->bytes--;
    line->bytes--;
}

static void put_quoted(struct line *line, const char *text)
{
    /* The closing quote has its place kept: a value that is cut still ends. */
    put(line, '"');
    line->limit--;
    put_escaped(line, text);
    line->limit++;
    put(line, '"');
}

static bool is_plain(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
            return false;
    }
    return true;
}

static void put_value(struct line *line, const struct log_field *field, bool json)
{
    char number[32];
    switch (field->type) {
    case LOG_FIELD_TEXT: {
        const char *text = field->value.text != NULL ? field->value.text : "";
        if (!json && is_plain(text))
            put_text(line, text);
        else
            put_quoted(line, text);
        return;
    }
    case LOG_FIELD_INT:
        (void)snprintf(number, sizeof(number), "%lld", (long long)field->value.integer);
        break;
    case LOG_FIELD_UINT:
        (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)field->value.unsigned_integer);
        break;
    case LOG_FIELD_DOUBLE:
        /* JSON has no word for what is not finite. */
        if (__builtin_isfinite(field->value.number))
            (void)snprintf(number, sizeof(number), "%.6g", field->value.number);
        else
            (void)snprintf(number, sizeof(number), "null");
        break;
    case LOG_FIELD_BOOL:
        (void)snprintf(number, sizeof(number), "%s", field->value.boolean ? "true" : "false");
        break;
    case LOG_FIELD_END:
    default:
        return;
    }
    put_text(line, number);
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    char time[CLOCK_TEXT_BYTES];
    clock_format_unix_ms(clock_unix_ms(), time);
    bool json = settings.format == LOG_FORMAT_JSON;
    struct line line = {.bytes = 0, .limit = LINE_BYTES - 8};

    if (json) {
        put_text(&line, "{\"time\":\"");
        put_text(&line, time);
        put_text(&line, "\",\"level\":\"");
        put_text(&line, level_names[level]);
        put(&line, '"');
        if (settings.process != NULL) {
            put_text(&line, ",\"process\":");
            put_quoted(&line, settings.process);
        }
        put_text(&line, ",\"message\":");
        put_quoted(&line, message);
    } else {
        put_text(&line, time);
        put(&line, ' ');
        put_text(&line, level_names[level]);
        put(&line, ' ');
        if (settings.process != NULL) {
            put_text(&line, settings.process);
            put_text(&line, ": ");
        }
        put_text(&line, message);
    }
    for (const struct log_field *field = fields; field->type != LOG_FIELD_END; field++) {
        /* A field is left out as a whole rather than cut in its name or number. */
        if (line.bytes + strlen(field->key) + 48 > line.limit)
            break;
        put_text(&line, json ? ",\"" : " ");
        put_text(&line, field->key);
        put_text(&line, json ? "\":" : "=");
        put_value(&line, field, json);
    }
    line.limit = LINE_BYTES;
    put_text(&line, json ? "}\n" : "\n");
    ssize_t written = write(STDERR_FILENO, line.text, line.bytes);
    (void)written; /* there is nowhere to report it */
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_format_parse(const char *text, enum log_format *format)
{
    bool json = strcmp(text, "json") == 0;
    if (!json && strcmp(text, "text") != 0)
        return false;
    *format = json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    return true;
}
