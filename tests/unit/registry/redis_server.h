// A redis-server of the test's own: on a free port of the loopback address, in a directory that
// goes with it.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

class RedisServer
{
  public:
    // `sync` is its appendfsync; "no append-only file" when empty. False `started` when
    // redis-server is not installed.
    explicit RedisServer(const std::string &sync = "always");
    ~RedisServer();
    RedisServer(const RedisServer &) = delete;
    RedisServer &operator=(const RedisServer &) = delete;

    void start(); // again, with what it has on disk
    void stop(int signal);

    // Sends an inline command and gives the start of the answer.
    std::string command(const std::string &text) const;

    uint16_t port = 0;
    bool started = false;
    pid_t child = -1;

  private:
    std::string directory, sync;
};
