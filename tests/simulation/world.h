// Simulated time and network: a queue of events, processes that crash, and connections that
// break. One seed decides everything, so a run can be replayed.
//
// The network is that of gRPC over TCP. A unary call loses its request or its answer, is
// delivered late, twice, or after a later one. A stream delivers in order or breaks; its ends
// learn of the break at different times. Between two places there may be a partition: calls
// are lost, streams break after a while, and no new ones come up.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <protobuf-c/protobuf-c.h>

extern "C" {
#include "common/random.h"
}

namespace simulation
{

// A message as it travels.
using Bytes = std::string;
Bytes Pack(const ProtobufCMessage &message);

// An unpacked message. Aborts on bytes that are none: nobody here sends such.
class Unpacked
{
  public:
    Unpacked(const ProtobufCMessageDescriptor &descriptor, const Bytes &bytes);
    ~Unpacked();
    Unpacked(const Unpacked &) = delete;
    Unpacked &operator=(const Unpacked &) = delete;
    template <typename T> const T &As() const
    {
        return *reinterpret_cast<const T *>(message_);
    }

  private:
    ProtobufCMessage *message_;
};

struct Faults {
    double drop = 0;      // of a request or an answer
    double duplicate = 0; // of a request
    uint64_t delay_ms = 5;
    uint64_t late_ms = 0; // one in ten messages is late by up to so much
};

class World;

// A place on the network: one of our processes, or a worker's machine.
struct Node {
    std::string name;
    bool up = false;
    uint64_t epoch = 0; // counts starts: what was meant for an earlier one is void
    size_t index = 0;
};

// One end of a stream.
class Stream;
using StreamPointer = std::shared_ptr<Stream>;

struct StreamEnd {
    Node *node = nullptr;
    uint64_t epoch = 0;
    bool open = true;
    uint64_t last_delivery_ms = 0; // of what is under way to this end
    std::function<void(const Bytes &)> message;
    std::function<void()> ended;
};

class Stream : public std::enable_shared_from_this<Stream>
{
  public:
    enum Side { kClient, kServer };
    Stream(World *world, Node *client, Node *server);
    // Sends to the other side; void if this side knows that the stream is over.
    void Send(Side from, Bytes bytes);
    // This side ends the stream; the other one learns of it.
    void Close(Side from);
    // The connection is lost; each side learns of it within `within_ms`, one of them maybe
    // only after `late_ms` more.
    void Break(uint64_t within_ms, uint64_t late_ms = 0);
    StreamEnd &End(Side side)
    {
        return ends_[side];
    }

  private:
    void EndAt(Side side, uint64_t at_ms);
    World *world_;
    StreamEnd ends_[2];
    bool broken_ = false;
};

class World
{
  public:
    explicit World(uint64_t seed);
    ~World();

    uint64_t Now() const
    {
        return now_ms_;
    }
    int64_t Unix() const
    {
        return 1700000000000 + static_cast<int64_t>(now_ms_);
    }

    // Runs the next event; false: there is none before `until_ms`, and time is there.
    bool Step(uint64_t until_ms);
    uint64_t Steps() const
    {
        return steps_;
    }

    void At(uint64_t at_ms, std::function<void()> action);
    void After(uint64_t delay_ms, std::function<void()> action)
    {
        At(now_ms_ + delay_ms, std::move(action));
    }
    // Only if the node is the same process then.
    void AfterOn(Node *node, uint64_t delay_ms, std::function<void()> action);

    Node *AddNode(const std::string &name);
    void Start(Node *node);
    // The process dies: its peers notice within milliseconds; or, `silently`, not at all.
    void Crash(Node *node, bool silently = false);

    // --- Links ---
    Faults faults;
    void Partition(Node *a, Node *b);
    void Heal(Node *a, Node *b);
    bool IsPartitioned(const Node *a, const Node *b) const;

    // A unary call. `serve` runs at the server with a function that answers; `done` at the
    // client, once: with the answer, or with nullptr when there was none in time.
    using Answer = std::function<void(const Bytes &)>;
    void Call(Node *client, Node *server, Bytes request, std::function<void(const Bytes &request, Answer answer)> serve,
              uint64_t timeout_ms, std::function<void(const Bytes *)> done);
    // Called when a message of this call is lost, if set; the client is told by the timeout.
    std::function<void(Node *client, Node *server)> on_loss;

    // Opens a stream. `accepted` runs at the server; `result` at the client with the stream,
    // or with nullptr when it cannot be reached.
    void Open(Node *client, Node *server, std::function<void(StreamPointer)> accepted,
              std::function<void(StreamPointer)> result);
    // Breaks a random one of the streams that are open.
    void BreakSome(const std::function<bool(const Stream &)> &which);

    uint64_t Delay();
    bool Chance(double probability)
    {
        return random_unit(&random_) < probability;
    }
    uint64_t Below(uint64_t limit)
    {
        return random_below(&random_, limit);
    }
    uint64_t Between(uint64_t low, uint64_t high)
    {
        return low + Below(high - low + 1);
    }
    uint64_t Random()
    {
        return random_next(&random_);
    }

  private:
    friend class Stream;
    struct Event {
        uint64_t at_ms, order;
        std::function<void()> action;
        bool operator<(const Event &other) const
        {
            return std::tie(other.at_ms, other.order) < std::tie(at_ms, order);
        }
    };
    using Pair = std::pair<size_t, size_t>;
    static Pair PairOf(const Node *a, const Node *b);

    uint64_t now_ms_ = 1000000;
    uint64_t order_ = 0, steps_ = 0;
    struct random random_;
    std::priority_queue<Event> events_;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::set<Pair> partitions_;
    std::vector<std::weak_ptr<Stream>> streams_;
};

} // namespace simulation
