#include "tests/simulation/volunteer.h"

#include <algorithm>

namespace simulation
{

constexpr uint64_t kHeartbeatMs = 30000;

Volunteer::Volunteer(World *world, Coordinator *all, size_t number) : world_(world), all_(all)
{
    constexpr Muster__V1__WorkerType kTypes[] = {
        MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU,
        MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE,
        MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE,
    };
    id = "worker-" + std::to_string(number);
    node = world->AddNode(id);
    type = kTypes[number % 6];
    relayed = number % 5 == 0;
    if (number % 50 == 7)
        announced = "special-" + std::to_string(number % 4);
}

void Volunteer::Start()
{
    world_->Start(node);
    leaving = registering_ = connecting_ = draining = silent = false;
    incarnation = 0;
    stream_ = nullptr;
    states.clear();
    assigned.clear();
    beat_++;
    Trouble();
    Register();
}

void Volunteer::Crash(bool silently)
{
    down_since_ms = world_->Now();
    silent = silently;
    Trouble();
    stream_ = nullptr;
    world_->Crash(node, silently);
}

void Volunteer::Leave()
{
    if (incarnation == 0 || leaving)
        return;
    leaving = true;
    Muster__V1__UnregisterWorkerRequest request = MUSTER__V1__UNREGISTER_WORKER_REQUEST__INIT;
    request.worker_id = id.data();
    request.incarnation = incarnation;
    Gateway *gateway = &all_->gateway;
    world_->Call(
        node, gateway->node, Pack(request.base),
        [gateway](const Bytes &asked, World::Answer answer) { gateway->Unregister(asked, answer); }, 12000,
        [this](const Bytes *) { Crash(false); }); // it ends, whether it was heard or not
}

void Volunteer::ResetStream()
{
    Trouble();
    if (stream_ != nullptr)
        stream_->Break(50, world_->Chance(0.3) ? 3000 : 0);
}

// --- Registration ---

void Volunteer::Register()
{
    if (registering_ || leaving)
        return;
    registering_ = true;
    Muster__V1__RegisterWorkerRequest request = MUSTER__V1__REGISTER_WORKER_REQUEST__INIT;
    Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
    std::string url = "http://" + id + ".example.com";
    Muster__V1__AnnouncedService service = MUSTER__V1__ANNOUNCED_SERVICE__INIT;
    Muster__V1__AnnouncedService *services = &service;
    service.name = announced.data();
    spec.worker_id = id.data();
    spec.tunnel_url = url.data();
    spec.worker_type = type;
    if (!announced.empty()) {
        spec.n_services = 1;
        spec.services = &services;
    }
    request.spec = &spec;
    Gateway *gateway = &all_->gateway;
    world_->Call(
        node, gateway->node, Pack(request.base),
        [gateway](const Bytes &asked, World::Answer answer) { gateway->Register(asked, answer); }, 15000,
        [this](const Bytes *answer) {
            registering_ = false;
            if (answer == nullptr || answer->empty())
                world_->AfterOn(node, world_->Between(500, 3000), [this] { Register(); });
            else
                Registered(*answer);
        });
}

void Volunteer::Registered(const Bytes &answer)
{
    Unpacked message(muster__v1__register_worker_response__descriptor, answer);
    const auto *worker = message.As<Muster__V1__RegisterWorkerResponse>().worker;
    if (worker->incarnation < incarnation)
        return;
    incarnation = worker->incarnation;
    acknowledged_incarnation = std::max(acknowledged_incarnation, incarnation);
    Assign(worker->assigned_services, worker->n_assigned_services);
    last_acknowledged_ms = world_->Now();
    if (on_acknowledged)
        on_acknowledged(*this);
    NextBeat(world_->Between(1, 1000));
}

// --- Services ---

void Volunteer::Assign(char *const *names, size_t count)
{
    assigned.assign(names, names + count);
    for (auto it = states.begin(); it != states.end();)
        it =
            std::find(assigned.begin(), assigned.end(), it->first) == assigned.end() ? states.erase(it) : std::next(it);
    for (const auto &name : assigned) {
        if (!states.emplace(name, "starting").second)
            continue;
        world_->AfterOn(node, world_->Between(1000, 40000), [this, name] { Began(name); });
    }
}

void Volunteer::Began(const std::string &service)
{
    auto found = states.find(service);
    if (found == states.end() || found->second != "starting")
        return; // it was not wanted any more
    found->second = !can_run || can_run(service) ? "running" : "failed";
    if (says_states)
        NextBeat(world_->Between(1, 1000));
}

bool Volunteer::Runs(const std::string &service) const
{
    auto found = states.find(service);
    return node->up && found != states.end() && found->second == "running";
}

// --- Heartbeats ---

void Volunteer::NextBeat(uint64_t delay_ms)
{
    world_->AfterOn(node, delay_ms, [this, beat = ++beat_] {
        if (beat == beat_)
            Beat();
    });
}

Bytes Volunteer::Heartbeat()
{
    if (load_of)
        load_ = load_of(*this);
    else if (world_->Chance(0.1))
        load_ = static_cast<double>(world_->Below(100)) / 100;
    Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
    load.current_load = load_;
    std::vector<Muster__V1__ServiceState> messages(states.size());
    std::vector<Muster__V1__ServiceState *> pointers;
    for (auto &[name, state] : states) {
        Muster__V1__ServiceState &message = messages[pointers.size()];
        message = MUSTER__V1__SERVICE_STATE__INIT;
        message.name = const_cast<char *>(name.c_str());
        message.state = state.data();
        pointers.push_back(&message);
    }
    if (says_states) {
        load.n_services_status = pointers.size();
        load.services_status = pointers.data();
    }
    Muster__V1__Heartbeat heartbeat = MUSTER__V1__HEARTBEAT__INIT;
    heartbeat.worker_id = id.data();
    heartbeat.incarnation = incarnation;
    heartbeat.status = draining ? WORKER_DRAINING : WORKER_ONLINE;
    heartbeat.load = &load;
    return Pack(heartbeat.base);
}

void Volunteer::Beat()
{
    if (incarnation == 0)
        return;
    NextBeat(world_->Between(kHeartbeatMs - 2000, kHeartbeatMs));
    if (!relayed) {
        if (stream_ == nullptr)
            return Connect();
        Unpacked heartbeat(muster__v1__heartbeat__descriptor, Heartbeat());
        auto one = heartbeat.As<Muster__V1__Heartbeat>();
        Muster__V1__Heartbeat *pointer = &one;
        Muster__V1__HeartbeatRequest request = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
        request.n_heartbeats = 1;
        request.heartbeats = &pointer;
        request.sequence = ++sequence_;
        stream_->Send(Stream::kClient, Pack(request.base));
        return;
    }
    Gateway *gateway = &all_->gateway;
    world_->Call(
        node, gateway->node, Heartbeat(),
        [gateway](const Bytes &told, World::Answer answer) { gateway->Heartbeat(told, answer); }, 5000,
        [this](const Bytes *answer) {
            if (answer == nullptr)
                return NextBeat(3000);
            last_acknowledged_ms = world_->Now();
            Unpacked command(muster__v1__worker_command__descriptor, *answer);
            Obey(command.As<Muster__V1__WorkerCommand>());
        });
}

void Volunteer::Connect()
{
    if (connecting_)
        return;
    connecting_ = true;
    Health *health = &all_->health;
    world_->Open(
        node, health->node, [health](StreamPointer stream) { health->Heartbeat(stream); },
        [this](StreamPointer stream) {
            connecting_ = false;
            if (stream == nullptr)
                return NextBeat(world_->Between(500, 2000));
            stream_ = stream;
            sequence_ = 0;
            auto &end = stream->End(Stream::kClient);
            end.message = [this](const Bytes &bytes) {
                Unpacked message(muster__v1__heartbeat_response__descriptor, bytes);
                const auto &response = message.As<Muster__V1__HeartbeatResponse>();
                last_acknowledged_ms = world_->Now();
                for (size_t i = 0; i < response.n_commands; i++)
                    Obey(*response.commands[i]);
            };
            end.ended = [this, raw = stream.get()] {
                if (stream_.get() != raw)
                    return;
                stream_ = nullptr;
                NextBeat(world_->Between(100, 1000));
            };
            Beat();
        });
}

void Volunteer::Obey(const Muster__V1__WorkerCommand &command)
{
    switch (command.type) {
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN:
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION:
        // There is one process to an id here: the later registration was a request of its own
        // that was delivered twice, or answered to nobody.
        incarnation = 0;
        Register();
        break;
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT:
        Assign(command.assigned_services, command.n_assigned_services);
        break;
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_DRAIN:
        draining = true;
        break;
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_UNDRAIN:
        draining = false;
        break;
    default:
        break;
    }
}

} // namespace simulation
