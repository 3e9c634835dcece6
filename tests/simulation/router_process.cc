// muster-router and the gateway in the simulated world; see processes.h.

#include <algorithm>
#include <cstdlib>

#include "tests/simulation/processes.h"

namespace simulation
{

// --- Router ---

Router::Router(World *world, Coordinator *all, Node *place)
    : node(place), world_(world), all_(all), workers_(world, place), health_(world, place), catalog_(world, place),
      turn_(world, place, [this] { Pump(); })
{
}

void Router::Start()
{
    world_->Start(node);
    core = router_create(&policy_least_loaded, world_->Random(), world_->Now());
    workers_.Start([this](auto result) { all_->registry.Follow(node, router_workers_begin(core), result); },
                   [this](const Bytes &bytes) {
                       Unpacked message(muster__v1__watch_workers_response__descriptor, bytes);
                       if (!router_apply_workers(core, &message.As<Muster__V1__WatchWorkersResponse>(), world_->Now()))
                           std::abort();
                       turn_.Touch();
                   });
    health_.Start(
        [this](auto result) {
            Health *health = &all_->health;
            router_health_begin(core);
            world_->Open(
                node, health->node, [health](StreamPointer s) { health->WatchHealth(s); }, result);
        },
        [this](const Bytes &bytes) {
            Unpacked message(muster__v1__watch_health_response__descriptor, bytes);
            if (!router_apply_health(core, &message.As<Muster__V1__WatchHealthResponse>(), world_->Now()))
                std::abort();
            turn_.Touch();
        });
    catalog_.Start(
        [this](auto result) {
            Assigner *assigner = &all_->assigner;
            world_->Open(
                node, assigner->node, [assigner](StreamPointer s) { assigner->WatchCatalog(s); }, result);
        },
        [this](const Bytes &bytes) {
            Unpacked message(muster__v1__watch_catalog_response__descriptor, bytes);
            if (!router_apply_catalog(core, &message.As<Muster__V1__WatchCatalogResponse>(), world_->Now()))
                std::abort();
            turn_.Touch();
        });
}

void Router::Stop()
{
    workers_.Forget();
    health_.Forget();
    catalog_.Forget();
    watches_.clear();
    router_destroy(core);
    core = nullptr;
    turn_.Forget();
}

void Router::Pump()
{
    router_advance(core, world_->Now());
    for (auto &watch : watches_) {
        Muster__V1__WatchRoutesResponse response;
        while (router_watcher_fill(core, watch->watcher, &response))
            watch->stream->Send(Stream::kServer, Pack(response.base));
    }
    turn_.Due(router_next_ms(core));
}

void Router::ReportOutcomes(const Bytes &request, World::Answer answer)
{
    Unpacked message(muster__v1__report_outcomes_request__descriptor, request);
    router_report_outcomes(core, &message.As<Muster__V1__ReportOutcomesRequest>(), world_->Now());
    turn_.Touch();
    answer(Bytes("taken"));
}

void Router::WatchRoutes(const Bytes &request, StreamPointer stream)
{
    Unpacked message(muster__v1__watch_routes_request__descriptor, request);
    router_watcher *watcher = router_watcher_open(core, &message.As<Muster__V1__WatchRoutesRequest>());
    if (watcher == nullptr)
        std::abort();
    AddWatch(&watches_, stream, Watch{stream, watcher}, [this](auto *one) { router_watcher_close(core, one); });
    turn_.Touch();
}

// --- Gateway ---

Gateway::Gateway(World *world, Coordinator *all, Node *place)
    : node(place), world_(world), all_(all), routes_(world, place), heartbeats_(world, place)
{
}

void Gateway::Start()
{
    world_->Start(node);
    table_ = pick_table_create();
    pick_state_init(&state_, world_->Random());
    has_table = false;
    sequence_ = 0;
    routes_.Start(
        [this](auto result) {
            Router *router = &all_->router;
            Muster__V1__WatchRoutesRequest request = MUSTER__V1__WATCH_ROUTES_REQUEST__INIT;
            pick_table_position(table_, &request);
            world_->Open(
                node, router->node, [router, request](StreamPointer s) { router->WatchRoutes(Pack(request.base), s); },
                result);
        },
        [this](const Bytes &bytes) {
            Unpacked message(muster__v1__watch_routes_response__descriptor, bytes);
            const auto &change = message.As<Muster__V1__WatchRoutesResponse>();
            pick_table *next = pick_table_apply(table_, &change);
            if (next == nullptr)
                std::abort();
            pick_table_release(table_);
            table_ = next;
            has_table = has_table || pick_table_is_whole(table_);
            routes.Take(change);
            CompareTables();
        });
    heartbeats_.Start(
        [this](auto result) {
            Health *health = &all_->health;
            world_->Open(
                node, health->node, [health](StreamPointer s) { health->Heartbeat(s); },
                [this, result](StreamPointer stream) {
                    heartbeat_stream_ = stream;
                    sequence_ = 0;
                    waiting_.clear(); // 503: their workers try again
                    result(stream);
                });
        },
        [this](const Bytes &bytes) { Acknowledged(bytes); }, [this] { heartbeat_stream_ = nullptr; });
}

void Gateway::Stop()
{
    routes_.Forget();
    heartbeats_.Forget();
    heartbeat_stream_ = nullptr;
    waiting_.clear();
    routes = RouteTable();
    if (table_ != nullptr) {
        pick_table_release(table_);
        pick_state_free(&state_);
    }
    table_ = nullptr;
    has_table = false;
}

void Gateway::Register(const Bytes &request, World::Answer answer)
{
    Registry *registry = &all_->registry;
    world_->Call(
        node, registry->node, request,
        [registry](const Bytes &asked, World::Answer reply) { registry->Register(asked, reply); }, 10000,
        [answer](const Bytes *response) { answer(response == nullptr ? Bytes() : *response); });
}

void Gateway::Unregister(const Bytes &request, World::Answer answer)
{
    Registry *registry = &all_->registry;
    world_->Call(
        node, registry->node, request,
        [registry](const Bytes &asked, World::Answer reply) { registry->Unregister(asked, reply); }, 10000,
        [answer](const Bytes *response) { answer(response == nullptr ? Bytes() : *response); });
}

void Gateway::Heartbeat(const Bytes &heartbeat, World::Answer answer)
{
    if (heartbeat_stream_ == nullptr)
        return; // 503: the worker sees no answer and tries again
    Unpacked message(muster__v1__heartbeat__descriptor, heartbeat);
    auto one = message.As<Muster__V1__Heartbeat>();
    Muster__V1__Heartbeat *pointer = &one;
    Muster__V1__HeartbeatRequest request = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
    request.n_heartbeats = 1;
    request.heartbeats = &pointer;
    request.sequence = ++sequence_;
    request.relayed = 1;
    waiting_[sequence_] = {answer, {}};
    heartbeat_stream_->Send(Stream::kClient, Pack(request.base));
}

void Gateway::Acknowledged(const Bytes &bytes)
{
    Unpacked message(muster__v1__heartbeat_response__descriptor, bytes);
    const auto &response = message.As<Muster__V1__HeartbeatResponse>();
    for (size_t i = 0; i < response.n_commands; i++) {
        auto found = waiting_.find(response.commands[i]->sequence);
        if (found != waiting_.end())
            found->second.command = Pack(response.commands[i]->base);
    }
    while (!waiting_.empty() && waiting_.begin()->first <= response.acknowledged_sequence) {
        Muster__V1__WorkerCommand nothing = MUSTER__V1__WORKER_COMMAND__INIT;
        auto waiting = std::move(waiting_.begin()->second);
        waiting_.erase(waiting_.begin());
        waiting.answer(waiting.command.empty() ? Pack(nothing.base) : waiting.command);
    }
}

std::string Gateway::Pick(const std::string &service)
{
    const pick_service *found = pick_table_find(table_, service.data(), service.size());
    const pick_endpoint *endpoint = found == nullptr ? nullptr : pick_choose(&state_, found, nullptr, 0, world_->Now());
    return endpoint == nullptr ? "" : pick_endpoint_worker(endpoint);
}

// The gateway's own table against what the messages say, read plainly.
void Gateway::CompareTables() const
{
    bool same = routes.complaint.empty() && routes.services.size() == pick_table_services(table_);
    for (const auto &[name, service] : routes.services) {
        const pick_service *found = pick_table_find(table_, name.data(), name.size());
        same = same && found != nullptr && pick_service_endpoints(found) == service.ends.size();
        for (size_t i = 0; same && i < service.ends.size(); i++) {
            RouteEnd end;
            const pick_endpoint *endpoint = pick_service_endpoint(found, i, &end.weight, &end.priority);
            end.url = pick_endpoint_url(endpoint);
            auto expected = service.ends.find(pick_endpoint_worker(endpoint));
            same = expected != service.ends.end() && expected->second == end;
        }
    }
    if (!same && on_difference)
        on_difference(routes.complaint);
}

void Gateway::ReportFailure(const std::string &service, const std::string &worker_id)
{
    pick_begin(&state_, worker_id.c_str());
    pick_end(&state_, worker_id.c_str(), true, world_->Now());
    std::string id = worker_id, name = service;
    Muster__V1__Outcome outcome = MUSTER__V1__OUTCOME__INIT;
    outcome.worker_id = id.data();
    outcome.service = name.data();
    outcome.connection_failures = 1;
    Muster__V1__Outcome *pointer = &outcome;
    Muster__V1__ReportOutcomesRequest request = MUSTER__V1__REPORT_OUTCOMES_REQUEST__INIT;
    request.n_outcomes = 1;
    request.outcomes = &pointer;
    Router *router = &all_->router;
    world_->Call(
        node, router->node, Pack(request.base),
        [router](const Bytes &told, World::Answer answer) { router->ReportOutcomes(told, answer); }, 2000,
        [](const Bytes *) {});
}

// --- All of them ---

Coordinator::Coordinator(World *world)
    : registry(world, this, world->AddNode("registry")), assigner(world, this, world->AddNode("assigner")),
      health(world, this, world->AddNode("health")), router(world, this, world->AddNode("router")),
      gateway(world, this, world->AddNode("gateway"))
{
}

void Coordinator::Start(Node *node)
{
    if (node == registry.node)
        registry.Start();
    else if (node == assigner.node)
        assigner.Start();
    else if (node == health.node)
        health.Start();
    else if (node == router.node)
        router.Start();
    else
        gateway.Start();
}

void Coordinator::Crash(Node *node)
{
    if (node == registry.node)
        registry.Stop();
    else if (node == assigner.node)
        assigner.Stop();
    else if (node == health.node)
        health.Stop();
    else if (node == router.node)
        router.Stop();
    else
        gateway.Stop();
}

} // namespace simulation
