/* The subcommands of musterctl. main.c has the table of them, from which help is made.
 *
 * Exit codes, the same for all:
 *   0  it worked, and the answer is a good one
 *   1  it did not work; one line on standard error says why
 *   2  the command line or a setting is wrong; one line on standard error
 *   3  it worked, and the answer is not a good one: `health` of a coordinator that is not
 *      healthy, `gaps` with a critical one, `route` to a service that nobody can serve,
 *      `lookup` of a key that nobody has published under */

#pragma once

enum command_exit {
    COMMAND_OK = 0,
    COMMAND_FAILED = 1,
    COMMAND_USAGE = 2,
    COMMAND_BAD_NEWS = 3,
};

struct command {
    const char *name;
    const char *arguments; /* for help; "" when it takes none but flags */
    const char *summary;   /* one sentence */
    /* argv[0] is the subcommand's name. Returns the exit code. */
    int (*run)(const struct command *command, int argc, char **argv);
};

int command_up(const struct command *command, int argc, char **argv);
int command_workers(const struct command *command, int argc, char **argv);
int command_services(const struct command *command, int argc, char **argv);
int command_assignment(const struct command *command, int argc, char **argv);
int command_drain(const struct command *command, int argc, char **argv);
int command_undrain(const struct command *command, int argc, char **argv);
int command_gaps(const struct command *command, int argc, char **argv);
int command_route(const struct command *command, int argc, char **argv);
int command_dht(const struct command *command, int argc, char **argv);
int command_lookup(const struct command *command, int argc, char **argv);
int command_health(const struct command *command, int argc, char **argv);
int command_history(const struct command *command, int argc, char **argv);
int command_query(const struct command *command, int argc, char **argv);
int command_export(const struct command *command, int argc, char **argv);
int command_backup(const struct command *command, int argc, char **argv);
int command_restore(const struct command *command, int argc, char **argv);
int command_import(const struct command *command, int argc, char **argv);
int command_processes(const struct command *command, int argc, char **argv);
