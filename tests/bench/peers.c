#include "tests/bench/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How a peer is asked for its version, and which Debian package it comes from. */
static const struct peer {
    const char *name, *version_command, *package;
} peers[] = {
    {"etcd", "etcd --version", "etcd-server"},
    {"watched", "etcdctl version | sed 's/^/etcd with three watchers, each an /'", "etcd-client"},
    {"sqlite3", "sqlite3 --version", "sqlite3"},
    {"nginx", "nginx -v", "nginx-light"},
    {"haproxy", "haproxy -v", "haproxy"},
    {"fastapi",
     "/usr/bin/python3 -c 'import fastapi, uvicorn; "
     "print(f\"fastapi {fastapi.__version__}, uvicorn {uvicorn.__version__}, asyncio, h11\")'",
     "python3-fastapi uvicorn"},
    {"uvloop",
     "/usr/bin/python3 -c 'import fastapi, uvicorn, uvloop, httptools; "
     "print(f\"fastapi {fastapi.__version__}, uvicorn {uvicorn.__version__}, uvloop {uvloop.__version__}, "
     "httptools\")'",
     "python3-fastapi uvicorn python3-uvloop python3-httptools"},
};

bool server_version(const char *name, char *version, size_t version_bytes, struct failure *failure)
{
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        char command[1024];
        if (strcmp(peers[i].name, name) != 0)
            continue;
        /* Debian keeps servers where an ordinary user's PATH does not lead. */
        snprintf(command, sizeof command, "PATH=\"$PATH:/usr/sbin:/sbin\"; %s 2>&1", peers[i].version_command);
        FILE *output = popen(command, "r");
        bool read = output != NULL && fgets(version, (int)version_bytes, output) != NULL;
        /* What follows the first line is read away: a closed pipe would look like a failure. */
        char rest[256];
        while (read && fgets(rest, sizeof rest, output) != NULL)
            continue;
        bool installed = output != NULL && pclose(output) == 0 && read;
        version[strcspn(version, "\n")] = '\0';
        return installed
                   ? true
                   : fail(failure, "%s is not installed: sudo apt-get install %s", peers[i].name, peers[i].package);
    }
    return fail(failure, "%s is not a peer of this bench", name);
}

static bool prepare_peer(struct server *server, const char *name, const struct server_plan *plan,
                         struct failure *failure)
{
    return server_prepare(server, name, plan, failure) &&
           server_version(name, server->version, sizeof server->version, failure);
}

static bool pick_port(uint16_t *port, struct failure *failure)
{
    *port = process_free_port();
    return *port != 0 ? true : fail(failure, "no free port on the loopback address");
}

__attribute__((format(printf, 3, 4))) static bool write_file(const char *path, struct failure *failure,
                                                             const char *format, ...)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return fail(failure, "cannot write %s: %s", path, strerror(errno));
    va_list arguments;
    va_start(arguments, format);
    bool written = vfprintf(file, format, arguments) > 0;
    va_end(arguments);
    written = fclose(file) == 0 && written;
    return written ? true : fail(failure, "cannot write %s: %s", path, strerror(errno));
}

static bool start_etcd(struct server *server, const char *name, const struct server_plan *plan, struct failure *failure)
{
    uint16_t peer_port;
    char data[400], client_url[64], peer_url[64], cluster[96];
    if (!prepare_peer(server, name, plan, failure) || !pick_port(&server->port, failure) ||
        !pick_port(&peer_port, failure))
        return false;
    snprintf(data, sizeof data, "%s/data", server->directory);
    snprintf(client_url, sizeof client_url, "http://127.0.0.1:%u", server->port);
    snprintf(peer_url, sizeof peer_url, "http://127.0.0.1:%u", peer_port);
    snprintf(cluster, sizeof cluster, "default=%s", peer_url);
    const char *arguments[] = {"etcd",     "--data-dir",
                               data,       "--listen-client-urls",
                               client_url, "--advertise-client-urls",
                               client_url, "--listen-peer-urls",
                               peer_url,   "--initial-advertise-peer-urls",
                               peer_url,   "--initial-cluster",
                               cluster,    "--logger",
                               "zap",      "--log-level",
                               "error",    NULL};
    struct process_plan process = {"etcd", arguments, server->directory, plan->core, false};
    return server_run(server, plan, &process, server->port, failure);
}

bool server_start_etcd(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    return start_etcd(server, "etcd", plan, failure);
}

bool server_start_watched_etcd(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    char command[96];
    if (!start_etcd(server, "watched", plan, failure))
        return false;
    snprintf(command, sizeof command, "exec etcdctl --endpoints=127.0.0.1:%u watch --prefix '' >/dev/null",
             server->port);
    const char *arguments[] = {"/bin/sh", "-c", command, NULL};
    struct process_plan process = {"etcdctl", arguments, server->directory, plan->core, false};
    for (unsigned i = 0; i < ETCD_WATCHERS; i++)
        if (!server_run(server, plan, &process, server->port, failure))
            return false;
    return true;
}

bool server_start_nginx(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    char path[400];
    if (!prepare_peer(server, "nginx", plan, failure) || !pick_port(&server->port, failure))
        return false;
    snprintf(path, sizeof path, "%s/nginx.conf", server->directory);
    if (!write_file(path, failure,
                    "%s"
                    "daemon off;\n"
                    "worker_processes 1;\n"
                    "worker_rlimit_nofile 16384;\n"
                    "pid nginx.pid;\n"
                    "error_log stderr error;\n"
                    "events { worker_connections 8192; }\n"
                    "http {\n"
                    "    access_log off;\n"
                    "    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n"
                    "    uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
                    "    keepalive_requests 1000000000;\n"
                    "    upstream workers {\n"
                    "        server 127.0.0.1:%u;\n"
                    "        keepalive 2048;\n"
                    "        keepalive_requests 1000000000;\n"
                    "    }\n"
                    "    server {\n"
                    "        listen 127.0.0.1:%u backlog=4096;\n"
                    "        location / {\n"
                    "            proxy_pass http://workers;\n"
                    "            proxy_http_version 1.1;\n"
                    "            proxy_set_header Connection \"\";\n"
                    "            proxy_set_header X-Forwarded-For $remote_addr;\n"
                    "        }\n"
                    "    }\n"
                    "}\n",
                    geteuid() == 0 ? "user root;\n" : "", plan->upstream_port, server->port))
        return false;
    const char *arguments[] = {"nginx", "-p", server->directory, "-c", "nginx.conf", "-e", "stderr", NULL};
    struct process_plan process = {"nginx", arguments, server->directory, plan->core, false};
    return server_run(server, plan, &process, server->port, failure);
}

bool server_start_haproxy(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    char path[400];
    if (!prepare_peer(server, "haproxy", plan, failure) || !pick_port(&server->port, failure))
        return false;
    snprintf(path, sizeof path, "%s/haproxy.cfg", server->directory);
    if (!write_file(path, failure,
                    "global\n"
                    "    maxconn 4000\n"
                    "    nbthread 1\n"
                    "defaults\n"
                    "    mode http\n"
                    "    timeout connect 5s\n"
                    "    timeout client 60s\n"
                    "    timeout server 60s\n"
                    "    option forwardfor\n"
                    "    http-reuse always\n"
                    "frontend clients\n"
                    "    bind 127.0.0.1:%u backlog 4096\n"
                    "    default_backend workers\n"
                    "backend workers\n"
                    "    server worker 127.0.0.1:%u\n",
                    server->port, plan->upstream_port))
        return false;
    const char *arguments[] = {"haproxy", "-db", "-q", "-f", path, NULL};
    struct process_plan process = {"haproxy", arguments, server->directory, plan->core, false};
    return server_run(server, plan, &process, server->port, failure);
}

static bool start_uvicorn(struct server *server, const char *name, const char *loop, const char *parser,
                          const struct server_plan *plan, struct failure *failure)
{
    char script[600], port[8];
    if (!prepare_peer(server, name, plan, failure) || !pick_port(&server->port, failure) ||
        !server_find_file("tests/bench/peers/fastapi_coordinator.py", script, sizeof script, failure))
        return false;
    *strrchr(script, '/') = '\0';
    snprintf(port, sizeof port, "%u", server->port);
    /* -B: no compiled file beside the script. */
    const char *arguments[] = {"/usr/bin/python3",
                               "-B",
                               "-m",
                               "uvicorn",
                               "--app-dir",
                               script,
                               "--host",
                               "127.0.0.1",
                               "--port",
                               port,
                               "--no-access-log",
                               "--log-level",
                               "warning",
                               "--loop",
                               loop,
                               "--http",
                               parser,
                               "fastapi_coordinator:app",
                               NULL};
    struct process_plan process = {name, arguments, server->directory, plan->core, false};
    return server_run(server, plan, &process, server->port, failure);
}

bool server_start_fastapi(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    return start_uvicorn(server, "fastapi", "asyncio", "h11", plan, failure);
}

bool server_start_uvloop(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    return start_uvicorn(server, "uvloop", "uvloop", "httptools", plan, failure);
}
