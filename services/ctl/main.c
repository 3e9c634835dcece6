/* musterctl: runs a whole coordinator, and shows what one knows. */

#include "services/ctl/command.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command commands[] = {
    {"up", "", "Run a whole coordinator on this machine, until it is stopped.", command_up},
    {"workers", "", "Show who is registered, and how they are.", command_workers},
    {"services", "", "Show the services, and who runs them.", command_services},
    {"gaps", "", "Show the services that too few workers run.", command_gaps},
    {"assignment", "WORKER", "Show why a worker runs what it runs, and why not the rest.", command_assignment},
    {"drain", "WORKER", "Give a worker no new requests; with --wait, until it has none any more.", command_drain},
    {"undrain", "WORKER", "Give a drained worker requests again.", command_undrain},
    {"route", "SERVICE", "Show where a request would go, and why not elsewhere.", command_route},
    {"history", "WORKER", "Show what a worker did, step by step.", command_history},
    {"query", "SQL", "Run a SELECT over the tables workers, services and history.", command_query},
    {"export", "FILE", "Write all workers into a file, for import here or elsewhere.", command_export},
    {"import", "FILE", "Put the workers of such a file on the roll, except those that are on it.", command_import},
    {"backup", "FILE", "Copy the registry's database into a file, while it runs.", command_backup},
    {"restore", "FILE", "Put such a copy in the place of the database, while no registry runs.", command_restore},
    {"dht", "", "Show which other coordinators this one's node of the hash table knows.", command_dht},
    {"lookup", "KEY", "Show who has published under a key: worker:SERVICE, service:WORKER, coordinator:PLACE.",
     command_lookup},
    {"health", "", "Show how the coordinator is.", command_health},
    {"processes", "", "Show the processes that `up` runs here.", command_processes},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
    (void)fprintf(out, "musterctl: runs a whole coordinator, and shows what one knows.\n\n"
                       "usage: musterctl COMMAND [flags]\n\nCommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char left[64];
        (void)snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].arguments);
        (void)fprintf(out, "  %-16s %s\n", left, commands[i].summary);
    }
    (void)fprintf(out, "\n`musterctl COMMAND --help` lists the flags of a command.\n\n"
                       "Exit codes: 0 all is well, 1 it did not work, 2 wrong usage, 3 it worked and the answer is\n"
                       "bad news (not healthy, a critical gap, nobody to route to).\n");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool is_help(const char *text)
{
    return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0 || strcmp(text, "help") == 0;
}

/* Descriptors 0 to 2 must be taken, or the next one opened would become somebody's output. */
static bool standard_descriptors_are_open(void)
{
    for (int descriptor = 0; descriptor <= STDERR_FILENO; descriptor++)
        if (fcntl(descriptor, F_GETFD) < 0 && open("/dev/null", O_RDWR) != descriptor)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (!standard_descriptors_are_open())
        return COMMAND_FAILED;
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return COMMAND_USAGE;
    }
    if (is_help(argv[1])) {
        /* `musterctl help up` is `musterctl up --help`. */
        const struct command *asked = argc > 2 ? find_command(argv[2]) : NULL;
        char help[] = "--help";
        char *arguments[] = {argv[0], help, NULL};
        if (asked != NULL)
            return asked->run(asked, 2, arguments);
        print_help(stdout);
        return COMMAND_OK;
    }
    const struct command *command = find_command(argv[1]);
    if (command == NULL) {
        (void)fprintf(stderr, "musterctl: there is no command '%s'; musterctl --help lists them\n", argv[1]);
        return COMMAND_USAGE;
    }
    return command->run(command, argc - 1, argv + 1);
}
