#include "tests/simulation/world.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <tuple>

namespace simulation
{

Bytes Pack(const ProtobufCMessage &message)
{
    Bytes bytes(protobuf_c_message_get_packed_size(&message), '\0');
    protobuf_c_message_pack(&message, reinterpret_cast<uint8_t *>(bytes.data()));
    return bytes;
}

Unpacked::Unpacked(const ProtobufCMessageDescriptor &descriptor, const Bytes &bytes)
    : message_(protobuf_c_message_unpack(&descriptor, nullptr, bytes.size(),
                                         reinterpret_cast<const uint8_t *>(bytes.data())))
{
    if (message_ == nullptr) {
        std::fprintf(stderr, "a %s was packed that cannot be unpacked\n", descriptor.name);
        std::abort();
    }
}

Unpacked::~Unpacked()
{
    protobuf_c_message_free_unpacked(message_, nullptr);
}

// --- Time ---

World::World(uint64_t seed)
{
    random_seed(&random_, seed);
}

void World::At(uint64_t at_ms, std::function<void()> action)
{
    events_.push({std::max(at_ms, now_ms_), order_++, std::move(action)});
}

void World::AfterOn(Node *node, uint64_t delay_ms, std::function<void()> action)
{
    After(delay_ms, [node, epoch = node->epoch, action = std::move(action)] {
        if (node->up && node->epoch == epoch)
            action();
    });
}

World::~World()
{
    // What they would have called holds on to them.
    for (auto &weak : streams_) {
        if (auto stream = weak.lock()) {
            for (auto side : {Stream::kClient, Stream::kServer})
                stream->End(side).message = nullptr, stream->End(side).ended = nullptr;
        }
    }
}

bool World::Step(uint64_t until_ms)
{
    if (events_.empty() || events_.top().at_ms > until_ms) {
        now_ms_ = std::max(now_ms_, until_ms);
        return false;
    }
    // Moved out of the queue before it runs, since it may add events.
    auto &event = const_cast<Event &>(events_.top());
    now_ms_ = event.at_ms;
    auto action = std::move(event.action);
    events_.pop();
    steps_++;
    action();
    return true;
}

// --- Nodes and links ---

Node *World::AddNode(const std::string &name)
{
    nodes_.push_back(std::make_unique<Node>());
    nodes_.back()->name = name;
    nodes_.back()->index = nodes_.size() - 1;
    return nodes_.back().get();
}

void World::Start(Node *node)
{
    node->up = true;
    node->epoch++;
}

void World::Crash(Node *node, bool silently)
{
    node->up = false;
    std::vector<std::weak_ptr<Stream>> kept;
    for (auto &weak : streams_) {
        auto stream = weak.lock();
        if (stream == nullptr)
            continue;
        kept.push_back(weak);
        for (auto side : {Stream::kClient, Stream::kServer}) {
            if (stream->End(side).node != node)
                continue;
            stream->End(side).open = false; // nobody is left there to be told
            stream->End(side).message = nullptr;
            stream->End(side).ended = nullptr;
            if (!silently)
                stream->Break(20);
            else if (Chance(0.5)) // keep-alive, if the peer uses it
                After(Between(60000, 80000), [stream] { stream->Break(50); });
        }
    }
    streams_ = std::move(kept);
}

World::Pair World::PairOf(const Node *a, const Node *b)
{
    return {std::min(a->index, b->index), std::max(a->index, b->index)};
}

void World::Partition(Node *a, Node *b)
{
    if (!partitions_.insert(PairOf(a, b)).second)
        return;
    // Keep-alives find it out after a while.
    BreakSome([&](const Stream &stream) {
        auto &both = const_cast<Stream &>(stream);
        return PairOf(both.End(Stream::kClient).node, both.End(Stream::kServer).node) == PairOf(a, b);
    });
}

void World::Heal(Node *a, Node *b)
{
    partitions_.erase(PairOf(a, b));
}

bool World::IsPartitioned(const Node *a, const Node *b) const
{
    return partitions_.count(PairOf(a, b)) != 0;
}

void World::BreakSome(const std::function<bool(const Stream &)> &which)
{
    for (auto &weak : streams_) {
        auto stream = weak.lock();
        if (stream != nullptr && which(*stream))
            stream->Break(50, Chance(0.3) ? 3000 : 0);
    }
}

uint64_t World::Delay()
{
    uint64_t delay_ms = Between(1, faults.delay_ms);
    if (faults.late_ms > 0 && Chance(0.1))
        delay_ms += Below(faults.late_ms);
    return delay_ms;
}

// --- Calls ---

void World::Call(Node *client, Node *server, Bytes request, std::function<void(const Bytes &, Answer)> serve,
                 uint64_t timeout_ms, std::function<void(const Bytes *)> done)
{
    struct State {
        bool over = false;
        std::function<void(const Bytes *)> done;
    };
    auto state = std::make_shared<State>();
    state->done = std::move(done);
    auto finish = [state, client, epoch = client->epoch](const Bytes *answer) {
        if (state->over)
            return;
        state->over = true;
        if (client->up && client->epoch == epoch)
            state->done(answer);
        state->done = nullptr;
    };
    After(timeout_ms, [finish] { finish(nullptr); });
    // A process that is not there refuses at once.
    if (!server->up && !IsPartitioned(client, server)) {
        After(Delay(), [finish] { finish(nullptr); });
        return;
    }
    bool lost = Chance(faults.drop) || IsPartitioned(client, server);
    if (lost && on_loss)
        on_loss(client, server);
    int copies = lost ? 0 : Chance(faults.duplicate) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        AfterOn(server, Delay(), [this, client, server, request, serve, finish] {
            serve(request, [this, client, server, epoch = server->epoch, finish](const Bytes &answer) {
                if (!server->up || server->epoch != epoch)
                    return;
                if (Chance(faults.drop) || IsPartitioned(client, server)) {
                    if (on_loss)
                        on_loss(client, server);
                    return;
                }
                After(Delay(), [finish, answer] { finish(&answer); });
            });
        });
    }
}

// --- Streams ---

Stream::Stream(World *world, Node *client, Node *server) : world_(world)
{
    ends_[kClient].node = client;
    ends_[kClient].epoch = client->epoch;
    ends_[kServer].node = server;
    ends_[kServer].epoch = server->epoch;
}

void Stream::Send(Side from, Bytes bytes)
{
    if (!ends_[from].open || broken_)
        return;
    Side to = from == kClient ? kServer : kClient;
    StreamEnd &end = ends_[to];
    end.last_delivery_ms = std::max(end.last_delivery_ms, world_->Now() + world_->Delay());
    world_->At(end.last_delivery_ms, [self = shared_from_this(), to, bytes = std::move(bytes)] {
        StreamEnd &there = self->ends_[to];
        if (there.open && there.node->up && there.node->epoch == there.epoch && there.message)
            there.message(bytes);
    });
}

void Stream::EndAt(Side side, uint64_t at_ms)
{
    world_->At(at_ms, [self = shared_from_this(), side] {
        StreamEnd &end = self->ends_[side];
        if (!end.open)
            return;
        end.open = false;
        auto ended = std::move(end.ended);
        end.message = nullptr; // they hold on to the stream
        end.ended = nullptr;
        if (ended && end.node->up && end.node->epoch == end.epoch)
            ended();
    });
}

void Stream::Close(Side from)
{
    ends_[from].open = false;
    ends_[from].message = nullptr;
    ends_[from].ended = nullptr;
    Side to = from == kClient ? kServer : kClient;
    EndAt(to, std::max(ends_[to].last_delivery_ms, world_->Now() + world_->Delay()));
}

void Stream::Break(uint64_t within_ms, uint64_t late_ms)
{
    if (broken_)
        return;
    broken_ = true;
    Side late = world_->Chance(0.5) ? kClient : kServer;
    for (Side side : {kClient, kServer}) {
        uint64_t at_ms = world_->Now() + world_->Between(1, within_ms);
        EndAt(side, side == late && late_ms > 0 ? at_ms + world_->Below(late_ms) : at_ms);
    }
}

void World::Open(Node *client, Node *server, std::function<void(StreamPointer)> accepted,
                 std::function<void(StreamPointer)> result)
{
    auto stream = std::make_shared<Stream>(this, client, server);
    if (!server->up || IsPartitioned(client, server)) {
        AfterOn(client, Delay() + (IsPartitioned(client, server) ? 1000 : 0), [result] { result(nullptr); });
        return;
    }
    streams_.push_back(stream);
    if (streams_.size() % 1024 == 0)
        streams_.erase(std::remove_if(streams_.begin(), streams_.end(), [](auto &weak) { return weak.expired(); }),
                       streams_.end());
    After(Delay(), [this, stream, client, server, accepted, result, epoch = server->epoch] {
        bool there =
            server->up && server->epoch == epoch && !IsPartitioned(client, server) && stream->End(Stream::kServer).open;
        // The client hears that it is accepted before anything that the server sends.
        uint64_t delay_ms = Delay();
        stream->End(Stream::kClient).last_delivery_ms = now_ms_ + delay_ms;
        AfterOn(client, delay_ms,
                [stream, result, there] { result(there && stream->End(Stream::kClient).open ? stream : nullptr); });
        if (there)
            accepted(stream);
    });
}

} // namespace simulation
