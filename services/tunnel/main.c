/* muster-tunnel: gives a coordinator a public address. It runs cloudflared, which leads to the gateway, watches it
 * (common/process/tunnel.h), and keeps the URL that it has in a file, which the gateway reads (--public-url-file) and
 * registers.
 *
 * A process of its own, because the gateway cannot fork: it uses gRPC. `musterctl up --tunnel cloudflared` starts it
 * before the gateway and stops it after it, so that requests that are under way still get their answers through it.
 *
 * The file holds the URL and a line end. It is replaced, never written in place; it is not there before the first URL
 * is known, nor after the end. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/config.h"
#include "common/log.h"
#include "common/loop/loop.h"
#include "common/process/tunnel.h"
#include "common/random.h"

#define PROGRAM "muster-tunnel"
#define GRACE_MS 5000u
#define PATH_BYTES 4096

struct program {
    struct loop *loop;
    struct random random;
    struct tunnel *tunnel;
    struct loop_watch signalled;
    int signals;
    const char *url_file;
    bool stopping;
};

/* --- The file --- */

static bool write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return false;
    bool written = fprintf(file, "%s\n", text) > 0;
    return fclose(file) == 0 && written;
}

static void moved(void *context, const char *url)
{
    const struct program *program = context;
    char fresh[PATH_BYTES + 8];
    (void)snprintf(fresh, sizeof fresh, "%s.new", program->url_file);
    if (!write_text(fresh, url) || rename(fresh, program->url_file) != 0)
        log_error("the public URL cannot be written, so that nobody learns it; make room for it and start again",
                  LOG_TEXT("path", program->url_file), LOG_TEXT("reason", strerror(errno)));
}

/* One of an earlier run leads nowhere any more. False: it stays. */
static bool remove_file(const struct program *program)
{
    return unlink(program->url_file) == 0 || errno == ENOENT;
}

/* --- Life --- */

static void stopped(void *context)
{
    loop_stop(((struct program *)context)->loop);
}

static void signal_came(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct program *program = (struct program *)((char *)watch - offsetof(struct program, signalled));
    struct signalfd_siginfo info;
    while (read(program->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (!program->stopping)
            tunnel_stop(program->tunnel, GRACE_MS);
        program->stopping = true;
    }
}

static bool watch_signals(struct program *program)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    return sigprocmask(SIG_BLOCK, &wanted, NULL) == 0 &&
           (program->signals = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC)) >= 0 &&
           loop_watch_add(program->loop, &program->signalled, program->signals, signal_came);
}

/* Tells whoever started us that we run. */
static void announce(int descriptor)
{
    static const char line[] = "running\n";
    if (descriptor <= 0)
        return;
    if (write(descriptor, line, sizeof line - 1) < 0)
        log_warning("nobody reads --ready-fd", LOG_TEXT("error", strerror(errno)));
    (void)close(descriptor); /* whoever waits has the line */
}

static bool start(struct program *program, const struct tunnel_config *settings, char *error, size_t error_bytes)
{
    struct tunnel_config config = *settings;
    random_seed_from_kernel(&program->random);
    program->loop = loop_create();
    if (program->loop == NULL || !watch_signals(program)) {
        snprintf(error, error_bytes, "cannot start: %s", strerror(errno));
        return false;
    }
    if (!remove_file(program)) {
        snprintf(error, error_bytes, "--url-file %s cannot be replaced: %s; choose another one, or make it writable",
                 program->url_file, strerror(errno));
        return false;
    }
    config.loop = program->loop;
    config.random = &program->random;
    config.moved = moved;
    config.stopped = stopped;
    config.context = program;
    program->tunnel = tunnel_create(&config, error, error_bytes);
    return program->tunnel != NULL;
}

static void clean_up(struct program *program)
{
    tunnel_destroy(program->tunnel);
    if (program->tunnel != NULL)
        (void)remove_file(program); /* else the next start does */
    if (program->loop != NULL)
        loop_watch_remove(program->loop, &program->signalled);
    if (program->signals >= 0)
        (void)close(program->signals); /* nothing was written to it */
    if (program->loop != NULL)
        loop_destroy(program->loop);
}

int main(int argc, char **argv)
{
    struct program program = {.signals = -1, .signalled = LOOP_WATCH_INIT};
    struct tunnel_config tunnel = {.program = NULL};
    const char *token;
    uint64_t ready_descriptor;
    double timeout_seconds;
    char error[600] = "";
    const struct setting settings[] = {
        {"origin", SETTING_TEXT, &tunnel.origin, "http://127.0.0.1:8080", "URL",
         "What the tunnel leads to: the gateway, as this machine reaches it.", 0, 0},
        {"url-file", SETTING_TEXT, &program.url_file, "public-url", "FILE",
         "Where the tunnel's URL is written; the gateway's --public-url-file.", 0, 0},
        {"public-url", SETTING_TEXT, &tunnel.public_url, NULL, "URL", "The URL of a named tunnel.", 0, 0},
        {"tunnel-token", SETTING_TEXT, &token, NULL, "TOKEN",
         "Of a named tunnel. Better given as TUNNEL_TOKEN: flags can be seen by others.", 0, 0},
        {"tunnel-credentials", SETTING_TEXT, &tunnel.credentials, NULL, "FILE",
         "Instead of the token: the credentials file of a named tunnel, which cloudflared tunnel create wrote.", 0, 0},
        {"cloudflared", SETTING_TEXT, &tunnel.program, "cloudflared", "PROGRAM", "The program to run.", 0, 0},
        {"tunnel-timeout-seconds", SETTING_DOUBLE, &timeout_seconds, "60", "SECONDS",
         "A tunnel that is not connected after so long is started again.", 1, 3600},
        {"ready-fd", SETTING_UINT, &ready_descriptor, "0", "N", "Descriptor to write a line to when it runs; 0: none.",
         0, 65535},
    };
    struct config config = {
        .program = PROGRAM,
        .summary = "Runs cloudflared, so that a coordinator is reached through Cloudflare.",
        .settings = settings,
        .setting_count = sizeof settings / sizeof settings[0],
    };
    config_parse_or_exit(&config, argc, argv);
    char *own_token = strdup(token);
    if (own_token == NULL)
        abort();
    /* cloudflared is given what it needs of it. */
    (void)unsetenv("TUNNEL_TOKEN"); /* fails for names that are none */
    (void)unsetenv("API_KEY");
    tunnel.token = own_token;
    tunnel.timeout_ms = (uint64_t)(timeout_seconds * 1000);
    int exit_code = 2;
    if (ready_descriptor > 0 && fcntl((int)ready_descriptor, F_SETFD, FD_CLOEXEC) != 0) {
        snprintf(error, sizeof error, "--ready-fd %d: no such descriptor is open", (int)ready_descriptor);
    } else if (tunnel_settings_fit("cloudflared", tunnel.token, tunnel.credentials, tunnel.public_url, "--public-url",
                                   error, sizeof error)) {
        exit_code = start(&program, &tunnel, error, sizeof error) ? 0 : 1;
        if (exit_code == 0) {
            announce((int)ready_descriptor);
            loop_run(program.loop);
        }
    }
    if (exit_code != 0)
        fprintf(stderr, "%s: %s\n", PROGRAM, error);
    clean_up(&program);
    free(own_token);
    config_free(&config);
    return exit_code;
}
