// A stretch of network: a TCP relay that delays what passes, and can be cut or go silent. It stands where `tc netem`
// would, which not every machine has.
//
// It runs on a thread of its own. Bytes arrive half of round_trip_ms later at either end; a connection is accepted at
// once, and its bytes wait for the one behind it.

#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <thread>

class DelayingRelay
{
  public:
    enum State {
        PASSES,
        CUT,    // connections break, and nobody listens
        SILENT, // nothing arrives any more, and nobody is told; what was under way goes on when it passes again
    };

    // Listens on that address, on any free port.
    explicit DelayingRelay(int round_trip_ms, const std::string &host = "127.0.0.1");
    ~DelayingRelay();
    DelayingRelay(const DelayingRelay &) = delete;
    DelayingRelay &operator=(const DelayingRelay &) = delete;

    // "http://127.0.0.1:40123": where it listens.
    std::string url() const;
    // Where it leads, as a URL or HOST:PORT; before the first connection comes.
    void lead_to(const std::string &target);
    void set(State state);

  private:
    using Clock = std::chrono::steady_clock;
    struct Direction {
        int from, into;
        std::deque<std::pair<Clock::time_point, std::string>> pieces; // an empty one: the end
        size_t bytes = 0, written = 0;                                // of all pieces, of the first one
        bool ended = false, done = false;
    };
    struct Connection {
        Direction there, back;
        bool broken = false;
    };
    void listen();
    void run();
    void accept_all();
    void read(Connection &connection, Direction &direction);
    void write(Connection &connection, Direction &direction, Clock::time_point now);
    void close(Connection &connection);
    void take_state();

    std::string host;
    int port = 0, listener = -1, wake[2];
    std::chrono::microseconds delay;
    std::mutex lock;
    std::string target_host;
    int target_port = 0;
    State wanted = PASSES, state = PASSES;
    std::atomic<bool> stopping{false};
    std::list<Connection> connections;
    std::thread thread;
};
