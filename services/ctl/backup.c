/* `backup` and `restore`: a copy of the registry's database, made by the registry while it runs,
 * and put back while it does not. The copy is FILE only when it is whole, can be read and is on disk; until
 * then it is registry.sqlite3 in the directory FILE.part. */

#include "services/ctl/command.h"

#include "common/config.h"
#include "common/rpc/rpc.h"
#include "muster/v1/registry.pb-c.h"
#include "services/registry/restore.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct copying {
    struct rpc_loop *loop;
    FILE *file;
    uint64_t bytes, total_bytes;
    enum rpc_status status;
    char text[512];
};

static void take_piece(struct rpc_call *call, const void *message)
{
    struct copying *copying = rpc_call_context(call);
    const Muster__V1__BackUpResponse *piece = message;
    copying->total_bytes = piece->total_bytes;
    copying->bytes += piece->data.len;
    if (fwrite(piece->data.data, 1, piece->data.len, copying->file) != piece->data.len)
        rpc_call_cancel(call);
}

static void ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct copying *copying = rpc_call_context(call);
    copying->status = status;
    (void)snprintf(copying->text, sizeof(copying->text), "%s", text);
    rpc_loop_stop(copying->loop);
}

/* Streams the copy into the file. */
static bool copy(const char *address, struct copying *copying)
{
    static const struct rpc_events events = {.message = take_piece, .ended = ended};
    Muster__V1__BackUpRequest request = MUSTER__V1__BACK_UP_REQUEST__INIT;
    copying->loop = rpc_loop_create();
    struct rpc_channel *channel = rpc_channel_create(copying->loop, address, NULL);
    struct rpc_call *call =
        rpc_channel_stream(channel, &muster__v1__registry_service__descriptor, "BackUp", NULL, &events, copying);
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
    rpc_loop_run(copying->loop);
    rpc_channel_destroy(channel);
    rpc_loop_destroy(copying->loop);
    return copying->status == RPC_OK && copying->bytes == copying->total_bytes;
}

static int fail(const char *name)
{
    (void)fprintf(stderr, "musterctl: cannot write %s: %s\n", name, strerror(errno));
    return COMMAND_FAILED;
}

/* Streams the copy into the file, down to the disk. */
static int fetch(const char *address, const char *name, struct copying *copying)
{
    copying->file = fopen(name, "w");
    if (copying->file == NULL)
        return fail(name);
    int code = COMMAND_OK;
    bool whole = copy(address, copying);
    if (ferror(copying->file) != 0) {
        code = fail(name);
    } else if (!whole) {
        (void)fprintf(stderr, "musterctl: no backup from the registry at %s: %s (%s); is --registry-address right?\n",
                      address, copying->text, rpc_status_name(copying->status));
        code = COMMAND_FAILED;
    } else if (fflush(copying->file) != 0 || fsync(fileno(copying->file)) != 0) {
        code = fail(name);
    }
    if (fclose(copying->file) != 0 && code == COMMAND_OK)
        code = fail(name);
    return code;
}

/* A copy of a damaged database is damaged, too; that must not be found out when it is needed. */
static int check(const char *directory)
{
    struct store_error error;
    enum store_result result = restore_check(directory, &error);
    if (result == STORE_OK)
        return COMMAND_OK;
    (void)fprintf(stderr, "musterctl: the copy cannot be read: %s%s\n", error.text,
                  result == STORE_UNUSABLE ? "; the registry's own database must be damaged: save what it can still "
                                             "tell with musterctl export, then restore an earlier backup"
                                           : "");
    return COMMAND_FAILED;
}

static int back_up(const char *address, const char *name)
{
    char directory[PATH_MAX], part[PATH_MAX];
    struct copying copying = {.status = RPC_UNKNOWN};
    (void)snprintf(directory, sizeof(directory), "%.3900s.part", name);
    (void)snprintf(part, sizeof(part), "%.3905s/registry.sqlite3", directory);
    if (mkdir(directory, 0750) != 0 && errno != EEXIST)
        return fail(directory);
    int code = fetch(address, part, &copying);
    if (code == COMMAND_OK)
        code = check(directory);
    if (code == COMMAND_OK && rename(part, name) != 0)
        code = fail(name);
    if (code == COMMAND_OK)
        (void)printf("%s: %llu bytes\n", name, (unsigned long long)copying.bytes);
    else
        (void)unlink(part);
    (void)rmdir(directory);
    return code;
}

/* Reads flags and the one argument. False: there is another number of them, which was told. */
static bool parse(struct config *config, char program[64], const struct command *command, int argc, char **argv)
{
    (void)snprintf(program, 64, "musterctl %s", command->name);
    config->program = program;
    config->summary = command->summary;
    config->arguments = command->arguments;
    config_parse_or_exit(config, argc, argv);
    if (config->rest_count == 1)
        return true;
    (void)fprintf(stderr, "musterctl %s: it takes one %s; see --help\n", command->name, command->arguments);
    config_free(config);
    return false;
}

int command_backup(const struct command *command, int argc, char **argv)
{
    const char *address = "";
    char program[64];
    const struct setting settings[] = {
        {"registry-address", SETTING_TEXT, &address, "127.0.0.1:7101", "HOST:PORT", "The registry.", 0, 0},
    };
    struct config config = {.settings = settings, .setting_count = 1};
    if (!parse(&config, program, command, argc, argv))
        return COMMAND_USAGE;
    int code = back_up(address, config.rest[0]);
    config_free(&config);
    return code;
}

int command_restore(const struct command *command, int argc, char **argv)
{
    const char *directory = "";
    bool replace = false;
    char program[64];
    const struct setting settings[] = {
        {"data-dir", SETTING_TEXT, &directory, "muster-data", "DIR", "The registry's data directory.", 0, 0},
        {"replace", SETTING_BOOL, &replace, NULL, NULL, "Replace the database that is there.", 0, 0},
    };
    struct config config = {.settings = settings, .setting_count = 2};
    struct store_error error;
    if (!parse(&config, program, command, argc, argv))
        return COMMAND_USAGE;
    int code = COMMAND_OK;
    if (restore_backup(config.rest[0], directory, replace, &error) == STORE_OK)
        (void)printf("%s is restored into %s; start the registry\n", config.rest[0], directory);
    else {
        (void)fprintf(stderr, "musterctl: %s\n", error.text);
        code = COMMAND_FAILED;
    }
    config_free(&config);
    return code;
}
