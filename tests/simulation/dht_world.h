// Many nodes of the hash table in one program: their cores, under a clock and a network that
// only exist here. Messages take their time, some are lost, nodes come and go without a word.
// One seed replays a run.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

extern "C" {
#include "common/timer_wheel.h"
#include "services/dht/node.h"
}

namespace dht
{

class World;

struct SimulatedNode {
    World *world = nullptr;
    size_t index = 0;
    struct dht_contact *contact = nullptr;
    struct dht_node *core = nullptr; // nullptr: it has left
    struct timer timer = {};
};

struct Network {
    uint64_t latency_min_ms = 20, latency_max_ms = 200; // of each message
    uint64_t timeout_ms = 2000;                         // of a call
    double loss = 0.005;                                // of each message
};

class World
{
  public:
    World(uint64_t seed, const dht_node_settings &settings, const Network &network);
    ~World();

    // Lets time pass.
    void Run(uint64_t duration_ms);
    uint64_t now_ms() const
    {
        return wheel.now_ms;
    }

    // A node that knows one that is there (if any is). Returns its index.
    size_t Join();
    void Leave(size_t index);
    bool IsAlive(size_t index) const
    {
        return nodes[index]->core != nullptr;
    }
    size_t RandomAlive();
    size_t alive() const
    {
        return living.size();
    }
    SimulatedNode &node(size_t index)
    {
        return *nodes[index];
    }

    // A lookup from one node; told once.
    using Told = std::function<void(const dht_found &)>;
    bool Find(size_t from, const dht_id &target, bool for_values, Told told);
    void Publish(size_t from, const std::string &key, const std::string &data);

    // The node that is nearest to an id, by looking at all of them that have found their place.
    size_t Nearest(const dht_id &target) const;

    // Whether the node calls this one a liar: it answers under another name, with nodes that do
    // not exist and values that nobody has signed.
    std::function<void(size_t index, dht_reply *reply)> falsify;

    // Says after(...) at a time.
    void At(uint64_t time_ms, std::function<void()> what);

    uint64_t messages = 0;
    struct random random;

  private:
    struct Message;
    struct Event;

    static void Send(void *context, dht_contact *to, const dht_request *request, dht_call *call);
    static bool ContactIsGenuine(void *context, const dht_contact *contact);
    static bool ValueIsGenuine(void *context, const dht_value *value);
    static void Sign(void *context, dht_value *value);
    static void Tick(struct timer *timer, void *argument);
    static void Deliver(struct timer *timer, void *argument);
    void Arm(SimulatedNode &node);
    void AskSeeds(size_t index);
    uint64_t Latency();

    dht_node_settings settings;
    Network network;
    struct timer_wheel wheel;
    std::vector<std::unique_ptr<SimulatedNode>> nodes;
    std::vector<size_t> living;
    std::vector<size_t> place; // in `living`, by index
};

} // namespace dht
