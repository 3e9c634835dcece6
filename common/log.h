/* Structured log lines on standard error.
 *
 * A line has a time, a level, a message and key=value fields; with LOG_FORMAT_JSON it is
 * one JSON object. A message is a short constant text; what varies goes into fields, so
 * that lines can be searched and counted:
 *
 *     log_info("worker registered", LOG_TEXT("worker_id", id), LOG_UINT("incarnation", n));
 *
 * Text values are quoted and escaped where needed: no input can forge a line. A line is
 * written with one write(2) and is at most 4 KiB, longer values are cut. Errors of that
 * write are ignored: there is nowhere to report them.
 *
 * Threading: log_configure before the first thread; all else from any thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
    const char *key;
    enum log_field_type {
        LOG_FIELD_END,
        LOG_FIELD_TEXT,
        LOG_FIELD_INT,
        LOG_FIELD_UINT,
        LOG_FIELD_DOUBLE,
        LOG_FIELD_BOOL
    } type;
    union {
        const char *text; /* NULL is shown as an empty text */
        int64_t integer;
        uint64_t unsigned_integer;
        double number;
        bool boolean;
    } value;
};

#define LOG_TEXT(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .value.text = (v)})
#define LOG_INT(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .value.integer = (v)})
#define LOG_UINT(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_UINT, .value.unsigned_integer = (v)})
#define LOG_DOUBLE(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_DOUBLE, .value.number = (v)})
#define LOG_BOOL(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_BOOL, .value.boolean = (v)})

/* Lines below `level` are dropped. `process` is shown in each line ("muster-registry") and
 * must outlive all logging. Before this call: LOG_INFO, text, no process. */
void log_configure(const char *process, enum log_level level, enum log_format format);

/* Whether a line of that level would be written. */
bool log_enabled(enum log_level level);

/* Use the macros below. `fields` ends with a LOG_FIELD_END. */
void log_write(enum log_level level, const char *message, const struct log_field *fields);

#define log_at(level, message, ...)                                                                                    \
    do {                                                                                                               \
        if (log_enabled(level))                                                                                        \
            log_write(level, message, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}});            \
    } while (0)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

/* Parse "debug", "info", "warning", "error" and "text", "json"; false for anything else. */
bool log_level_parse(const char *text, enum log_level *level);
bool log_format_parse(const char *text, enum log_format *format);
