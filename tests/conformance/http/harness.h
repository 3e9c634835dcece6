// What the tests over real sockets are made of: a server with a loop on a thread of its own, a
// client that sends bytes exactly as told, and an upstream whose every connection is a
// function of the test.

#pragma once

extern "C" {
#include "common/http/relay.h"
}

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

// A blocking socket. Every wait is bounded (10 s): a test that would hang fails instead.
class Peer {
public:
    explicit Peer(int descriptor) : descriptor_(descriptor) {}
    Peer(Peer &&other) noexcept : descriptor_(other.descriptor_), received_(std::move(other.received_)) { other.descriptor_ = -1; }
    Peer(const Peer &) = delete;
    ~Peer() { close(); }

    static Peer connect(uint16_t port, int receive_buffer_bytes = 0);

    // False when the connection does not take all of it.
    bool send(const std::string &bytes);

    // Up to and with the delimiter; less when the connection ends or stays silent before.
    std::string read_until(const std::string &delimiter);
    std::string read_bytes(size_t count);
    std::string read_all();

    // A message's head, then the body that it announces (length, chunks, or up to the end).
    struct Message {
        std::string head;
        unsigned status = 0; // of responses
        std::map<std::string, std::string> fields; // names in lower case
        std::string body;
        bool complete = false;
        bool framed_by_close = false;
    };
    Message read_message(bool head_only = false);

    // True once the other side has closed or reset the connection.
    bool is_closed();
    void shut_down_sending();
    void reset(); // closes with RST
    void close();
    int descriptor() const { return descriptor_; }

private:
    bool fill();
    int descriptor_;
    std::string received_;
};

// Listens on a free port; calls `serve` on a thread of its own for each connection.
class Upstream {
public:
    explicit Upstream(std::function<void(Peer &)> serve);
    ~Upstream();
    uint16_t port() const { return port_; }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    int connections() const { return connections_; }

private:
    void accept_all();
    std::function<void(Peer &)> serve_;
    int listener_;
    uint16_t port_;
    std::atomic<int> connections_{0};
    std::mutex lock_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

// A port on which nobody listens (for a while, at least).
uint16_t unused_port();

// A server and its pools on a loop thread. Handlers run on that thread.
class Server {
public:
    using Handler = std::function<void(http_exchange *)>;
    explicit Server(Handler handler, http_server_config config = {}, http_upstreams_config upstreams = {});
    ~Server();
    uint16_t port() const { return port_; }
    Peer connect(int receive_buffer_bytes = 0) { return Peer::connect(port_, receive_buffer_bytes); }

    // Runs on the loop's thread and waits for it.
    void run(std::function<void()> work);
    struct http_server_counts counts();
    struct http_upstreams_counts upstream_counts();
    http_server *server() { return server_; }
    http_upstreams *upstreams() { return upstreams_; }
    struct loop *loop() { return loop_; }

    // Drains; true once that was reported.
    bool drain(uint32_t timeout_ms);

private:
    Handler handler_;
    struct loop *loop_;
    http_server *server_;
    http_upstreams *upstreams_;
    int listener_;
    uint16_t port_;
    std::thread thread_;
};

// Waits up to 10 s for a condition.
bool eventually(const std::function<bool()> &condition);

std::string text_of(http_text text);
void respond(http_exchange *exchange, unsigned status, const std::string &body);

// What a relay of a test does: its targets in order, and a record of what was reported.
struct RelayPlan {
    // The targets are there before the server's thread is, which reads them.
    explicit RelayPlan(std::vector<std::string> targets) : urls(std::move(targets)) {}
    std::vector<std::string> urls;
    bool safe_to_repeat = false;
    unsigned attempts_max = 0;
    uint32_t first_byte_timeout_ms = 0;
    unsigned declined_status = 0; // an answer with this status is declined; 0: none is
    bool collects = false;        // the body is read before the relay begins
    std::vector<http_header> response_headers, request_headers;
    std::string path; // empty: as requested

    struct Attempt {
        http_relay_result result;
        unsigned number, status;
        bool reused, will_retry;
    };
    std::vector<Attempt> attempts() { std::lock_guard<std::mutex> guard(lock); return reported; }
    http_relay_result failure() { std::lock_guard<std::mutex> guard(lock); return last_failure; }
    int failures() { std::lock_guard<std::mutex> guard(lock); return failed; }

    std::mutex lock;
    std::vector<Attempt> reported;
    int failed = 0;
    http_relay_result last_failure = HTTP_RELAY_ANSWERED;
    std::vector<std::unique_ptr<http_origin>> origins;
};

// Relays as the plan says; a failure is answered with 502, 503 or 504.
void relay(Server *server, http_exchange *exchange, RelayPlan *plan);
