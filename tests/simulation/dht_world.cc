// See dht_world.h.

#include "tests/simulation/dht_world.h"

#include <cstdlib>
#include <cstring>
#include <string>

namespace dht
{

namespace
{

// Time begins somewhere: cores must not rely on 0.
constexpr uint64_t kStartMs = 1000000;
constexpr int64_t kUnixMinusNowMs = 1700000000000;
constexpr uint8_t kGenuine = 0x5a;

} // namespace

// A request on its way, its answer on the way back, or a timeout that waits.
struct World::Message {
    struct timer timer = {};
    World *world;
    size_t from, to;
    dht_call *call;
    enum { REQUEST, REPLY, TIMEOUT } kind;
    dht_request request = {};
    dht_reply reply = {};
};

World::World(uint64_t seed, const dht_node_settings &node_settings, const Network &how)
    : settings(node_settings), network(how)
{
    random_seed(&random, seed);
    timer_wheel_init(&wheel, kStartMs);
}

// Messages that were on their way hold references.
World::~World()
{
    for (auto &node : nodes) {
        if (node->core != nullptr)
            Leave(node->index);
    }
    // All that is left in the wheel is for those who have gone, and frees itself.
    timer_wheel_advance(&wheel, wheel.now_ms + 24 * 3600 * 1000);
    for (auto &node : nodes)
        dht_contact_release(node->contact);
}

void World::Run(uint64_t duration_ms)
{
    uint64_t end_ms = wheel.now_ms + duration_ms;
    for (uint64_t next_ms = timer_wheel_next_ms(&wheel); next_ms <= end_ms; next_ms = timer_wheel_next_ms(&wheel))
        timer_wheel_advance(&wheel, next_ms > wheel.now_ms ? next_ms : wheel.now_ms + 1);
    timer_wheel_advance(&wheel, end_ms);
}

uint64_t World::Latency()
{
    return network.latency_min_ms + random_below(&random, network.latency_max_ms - network.latency_min_ms + 1);
}

void World::Arm(SimulatedNode &node)
{
    if (node.core == nullptr)
        return;
    uint64_t next_ms = dht_node_next_ms(node.core);
    if (next_ms <= wheel.now_ms)
        next_ms = wheel.now_ms + 1;
    if (!timer_active(&node.timer) || node.timer.bare.expires_at_ms != next_ms)
        timer_start(&wheel, &node.timer, next_ms, Tick, &node);
}

void World::Tick(struct timer *, void *argument)
{
    auto &node = *static_cast<SimulatedNode *>(argument);
    dht_node_tick(node.core, node.world->now_ms());
    node.world->Arm(node);
}

void World::Send(void *context, dht_contact *to, const dht_request *request, dht_call *call)
{
    auto &node = *static_cast<SimulatedNode *>(context);
    World &world = *node.world;
    auto *message = new Message;
    message->world = &world;
    message->from = node.index;
    message->to = std::strtoul(to->address, nullptr, 10);
    message->call = call;
    message->request = *request;
    dht_contact_reference(message->request.sender);
    for (size_t i = 0; i < request->value_count; i++)
        dht_value_reference(request->values[i]);
    world.messages++;
    bool lost = random_unit(&world.random) < world.network.loss;
    message->kind = lost ? Message::TIMEOUT : Message::REQUEST;
    timer_start(&world.wheel, &message->timer, world.now_ms() + (lost ? world.network.timeout_ms : world.Latency()),
                Deliver, message);
}

void World::Deliver(struct timer *, void *argument)
{
    auto *message = static_cast<Message *>(argument);
    World &world = *message->world;
    SimulatedNode &caller = *world.nodes[message->from];
    SimulatedNode &called = *world.nodes[message->to];
    if (message->kind == Message::REQUEST) {
        uint64_t after_ms = world.Latency();
        message->kind = Message::REPLY;
        if (called.core == nullptr || random_unit(&world.random) < world.network.loss) {
            message->kind = Message::TIMEOUT;
            after_ms = world.network.timeout_ms;
        } else {
            dht_node_handle(called.core, world.now_ms(), &message->request, &message->reply);
            world.Arm(called);
            world.messages++;
            if (world.falsify)
                world.falsify(called.index, &message->reply);
        }
        timer_start(&world.wheel, &message->timer, world.now_ms() + after_ms, Deliver, message);
        return;
    }
    if (caller.core != nullptr && message->kind == Message::REPLY)
        dht_node_answered(caller.core, world.now_ms(), message->call, &message->reply);
    else if (caller.core != nullptr)
        dht_node_unanswered(caller.core, world.now_ms(), message->call);
    world.Arm(caller);
    dht_request_clear(&message->request);
    dht_reply_clear(&message->reply);
    delete message;
}

// A signature here is a byte that only Sign and Join write.
bool World::ContactIsGenuine(void *, const dht_contact *contact)
{
    return contact->signature[0] == kGenuine;
}

bool World::ValueIsGenuine(void *, const dht_value *value)
{
    return value->signature[0] == kGenuine;
}

void World::Sign(void *, dht_value *value)
{
    value->signature[0] = kGenuine;
}

size_t World::Join()
{
    auto node = std::make_unique<SimulatedNode>();
    node->world = this;
    node->index = nodes.size();
    uint8_t key[DHT_PUBLIC_KEY_BYTES], signature[DHT_SIGNATURE_BYTES] = {kGenuine};
    for (auto &byte : key)
        byte = static_cast<uint8_t>(random_next(&random));
    node->contact = dht_contact_create(key, signature, 1, "", std::to_string(node->index).c_str());
    dht_effects effects = {node.get(), Send, ContactIsGenuine, ValueIsGenuine, Sign};
    node->core = dht_node_create(&settings, node->contact, &effects, random_next(&random), now_ms());
    dht_node_set_clock(node->core, kUnixMinusNowMs);
    size_t index = node->index;
    nodes.push_back(std::move(node));
    AskSeeds(index);
    place.push_back(living.size());
    living.push_back(index);
    return index;
}

// As the process does: once a while, and more often while it knows nobody.
void World::AskSeeds(size_t index)
{
    SimulatedNode &node = *nodes[index];
    if (node.core == nullptr)
        return;
    if (!living.empty())
        dht_node_call(node.core, nodes[RandomAlive()]->contact);
    Arm(node);
    bool alone = dht_node_table(node.core)->count == 0;
    At(now_ms() + (alone ? 10 * 1000 : 10 * 60 * 1000), [this, index] { AskSeeds(index); });
}

void World::Leave(size_t index)
{
    SimulatedNode &node = *nodes[index];
    timer_stop(&wheel, &node.timer);
    dht_node *core = node.core;
    node.core = nullptr;
    dht_node_destroy(core);
    living[place[index]] = living.back();
    place[living.back()] = place[index];
    living.pop_back();
}

size_t World::RandomAlive()
{
    return living[random_below(&random, living.size())];
}

bool World::Find(size_t from, const dht_id &target, bool for_values, Told told)
{
    auto *kept = new Told(std::move(told));
    auto done = [](void *context, const dht_found *found) {
        std::unique_ptr<Told> tell(static_cast<Told *>(context));
        (*tell)(*found);
    };
    if (!dht_node_find(nodes[from]->core, now_ms(), &target, for_values, 60000, done, kept)) {
        delete kept;
        return false;
    }
    Arm(*nodes[from]);
    return true;
}

void World::Publish(size_t from, const std::string &key, const std::string &data)
{
    dht_node_publish(nodes[from]->core, now_ms(), key.c_str(), data.data(), data.size());
    Arm(*nodes[from]);
}

size_t World::Nearest(const dht_id &target) const
{
    size_t nearest = SIZE_MAX;
    for (size_t index : living) {
        if (dht_node_joined(nodes[index]->core) &&
            (nearest == SIZE_MAX ||
             dht_id_compare_distance(&target, &nodes[index]->contact->id, &nodes[nearest]->contact->id) < 0))
            nearest = index;
    }
    return nearest;
}

struct World::Event {
    struct timer timer = {};
    std::function<void()> what;
};

void World::At(uint64_t time_ms, std::function<void()> what)
{
    auto *event = new Event;
    event->what = std::move(what);
    auto happen = [](struct timer *, void *argument) {
        std::unique_ptr<Event> now(static_cast<Event *>(argument));
        now->what();
    };
    timer_start(&wheel, &event->timer, time_ms, happen, event);
}

} // namespace dht
