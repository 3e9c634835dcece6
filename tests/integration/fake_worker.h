// A worker made of nothing but an HTTP port, for tests of what the gateway makes of one: what
// comes in is kept as bytes, what goes out is written by the test's own function.

#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

class FakeWorker
{
  public:
    // One connection, one request after the other.
    class Connection
    {
      public:
        explicit Connection(int descriptor) : socket(descriptor) {}
        // The head with its empty line; "" at the end of the connection.
        std::string read_head();
        // Up to that many bytes of what follows it; "" at the end.
        std::string read_some(size_t limit = 65536);
        std::string read_exactly(size_t bytes);
        bool write(const std::string &bytes);

      private:
        int socket;
        std::string pending;
    };
    // Called for each request; false: close the connection.
    using Handler = std::function<bool(Connection &, const std::string &head)>;

    explicit FakeWorker(Handler handler);
    ~FakeWorker();
    std::string url() const
    {
        return "http://127.0.0.1:" + std::to_string(port);
    }

    // A 200 with this body, for handlers.
    static std::string answer(const std::string &body, const std::string &more_headers = "");

  private:
    void accept_connections();
    Handler handler;
    int listener;
    int port;
    std::atomic<bool> stopping{false};
    std::thread acceptor;
    std::mutex lock;
    std::vector<int> sockets;
    std::vector<std::thread> connections;
};

// An address at which nobody listens.
std::string unreachable_url();
