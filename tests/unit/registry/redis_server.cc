// A redis-server of the test's own; see redis_server.h.

#include "tests/unit/registry/redis_server.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace
{

sockaddr_in loopback(uint16_t port)
{
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

uint16_t free_port()
{
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t bytes = sizeof(address);
    bind(descriptor, reinterpret_cast<sockaddr *>(&address), sizeof(address));
    getsockname(descriptor, reinterpret_cast<sockaddr *>(&address), &bytes);
    close(descriptor);
    return ntohs(address.sin_port);
}

} // namespace

RedisServer::RedisServer(const std::string &when) : sync(when)
{
    const char *base = getenv("TEST_TMPDIR");
    directory = std::string(base != nullptr ? base : "/tmp") + "/redis-XXXXXX";
    if (mkdtemp(directory.data()) != nullptr)
        start();
}

RedisServer::~RedisServer()
{
    stop(SIGKILL);
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
}

void RedisServer::start()
{
    /* Another process may take the port in between: a few attempts. */
    for (int attempt = 0; attempt < 5 && !started; attempt++) {
        if (port == 0 || attempt > 0)
            port = free_port();
        child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            std::string number = std::to_string(port);
            const char *file = sync.empty() ? "no" : "yes", *when = sync.empty() ? "always" : sync.c_str();
            execlp("redis-server", "redis-server", "--port", number.c_str(), "--bind", "127.0.0.1", "--dir",
                   directory.c_str(), "--appendonly", file, "--appendfsync", when, "--save", "", "--logfile",
                   "redis.log", "--daemonize", "no", nullptr);
            _exit(127);
        }
        for (int i = 0; i < 500 && !started && waitpid(child, nullptr, WNOHANG) == 0; i++) {
            started = command("PING") == "+PONG\r\n";
            if (!started)
                usleep(10000);
        }
        if (!started)
            stop(SIGKILL);
    }
}

void RedisServer::stop(int signal)
{
    if (child > 0) {
        kill(child, signal);
        waitpid(child, nullptr, 0);
    }
    child = -1;
    started = false;
}

std::string RedisServer::command(const std::string &text) const
{
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(port);
    char answer[4096];
    ssize_t got = -1;
    std::string line = text + "\r\n";
    if (connect(descriptor, reinterpret_cast<sockaddr *>(&address), sizeof(address)) == 0 &&
        write(descriptor, line.data(), line.size()) == static_cast<ssize_t>(line.size()))
        got = read(descriptor, answer, sizeof(answer));
    close(descriptor);
    return got > 0 ? std::string(answer, static_cast<size_t>(got)) : "";
}
