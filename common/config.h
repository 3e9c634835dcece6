/* Settings of a process: one table gives flags, environment variables, defaults, checks
 * and --help.
 *
 * A setting "heartbeat-timeout-seconds" is the flag --heartbeat-timeout-seconds VALUE (or
 * =VALUE) and the environment variable HEARTBEAT_TIMEOUT_SECONDS. A flag wins over the
 * environment, that over the default. A boolean flag takes no value (--once), or =true /
 * =false. A list setting may be given many times; in the environment its items are
 * separated by line ends.
 *
 * Threading: none; parse once at the start of main. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting_type {
    SETTING_TEXT,   /* const char *; never NULL after parsing, "" when unset */
    SETTING_BOOL,   /* bool */
    SETTING_UINT,   /* uint64_t, within minimum and maximum */
    SETTING_DOUBLE, /* double, within minimum and maximum */
    SETTING_LIST,   /* struct setting_list */
};

/* Items in the order in which they were given. */
struct setting_list {
    const char **items;
    size_t count;
};

struct setting {
    const char *name; /* lower case with dashes */
    enum setting_type type;
    void *value;               /* where the value goes; see setting_type */
    const char *default_value; /* as text; NULL: empty, false or 0 */
    const char *placeholder;   /* in --help: "SECONDS"; NULL for a boolean */
    const char *help;          /* one sentence */
    double minimum, maximum;   /* for numbers; both 0: any */
};

enum config_result {
    CONFIG_OK,
    CONFIG_HELP,  /* --help or --version was asked for and has been printed; exit with 0 */
    CONFIG_ERROR, /* error says what is wrong and what to do, in one line; exit with 2 */
};

struct config {
    const char *program;   /* "muster-registry" */
    const char *summary;   /* one sentence for --help */
    const char *arguments; /* what follows the flags, for --help; NULL: none allowed */
    const struct setting *settings;
    size_t setting_count;
    char **rest; /* set by parsing: arguments that are not flags */
    size_t rest_count;
    const char *log_level; /* set by parsing: of the settings that every process has */
    const char *log_format;
    char error[512]; /* set by parsing with CONFIG_ERROR */
};

/* Reads the settings. Texts point into argv, the environment or the table; the items of
 * lists are copies that live until config_free. --log-level and --log-format are known to every process:
 * parsing adds them and calls log_configure. */
enum config_result config_parse(struct config *config, int argc, char **argv);

/* Frees what parsing allocated: lists and `rest`. */
void config_free(struct config *config);

/* config_parse for a main function: prints the error on standard error and exits with 2, or
 * exits with 0 after help; returns when there is something to run. */
void config_parse_or_exit(struct config *config, int argc, char **argv);
