#include "tests/simulation/simulation.h"

#include <algorithm>

namespace simulation
{

constexpr uint64_t kBrokenBoundMs = 1000;
// 120 s from the last heartbeat, which may have been under way, and the way to the gateway.
constexpr uint64_t kSilentBoundMs = 122000;
constexpr uint64_t kPhaseMs = 600 * 1000; // with faults of our own, then as long without

Simulation::Simulation(const Plan &plan)
    : plan_(plan), world_(plan.seed), all_(&world_), catalog_(catalog_create_default(), catalog_destroy)
{
    world_.faults = {0.02, 0.02, 5, 250};
    end_of_faults_ms_ = world_.Now() + plan.duration_ms;
    for (Node *node : all_.Nodes())
        all_.Start(node);
    for (size_t i = 0; i < plan.workers; i++) {
        fleet_.push_back(std::make_unique<Volunteer>(&world_, &all_, i));
        Volunteer *volunteer = fleet_.back().get();
        by_id_[volunteer->id] = volunteer;
        volunteer->on_acknowledged = [this](const Volunteer &one) {
            if (all_.registry.disk.count(one.id) == 0 || incarnations_[one.id] < one.incarnation)
                Fail("the registration of " + one.id + " was answered and is not on disk");
        };
        world_.After(world_.Below(30000), [volunteer] { volunteer->Start(); });
    }
    world_.on_loss = [this](Node *client, Node *server) {
        for (Node *node : {client, server}) {
            auto found = by_id_.find(node->name);
            if (found != by_id_.end())
                found->second->Trouble();
        }
    };
    all_.registry.on_registered = [this](const std::string &id, uint64_t incarnation,
                                         const std::vector<std::string> &assigned) {
        tally.registrations++;
        if (incarnation <= incarnations_[id])
            Fail("the incarnation of " + id + " went back");
        incarnations_[id] = incarnation;
        for (const auto &name : assigned) {
            size_t number = catalog_find(catalog_.get(), name.c_str());
            if (number == CATALOG_NONE || !catalog_fits(catalog_at(catalog_.get(), number), by_id_[id]->type))
                Fail(id + " was assigned " + name + ", which is not for it");
        }
    };
    all_.registry.on_removed = [this](const std::string &id, uint64_t incarnation, const std::string &reason) {
        tally.removals++;
        const Volunteer &one = *by_id_[id];
        bool known = one.incarnation == incarnation; // else it registers again anyway
        bool heard = world_.Now() - one.last_acknowledged_ms < 60000;
        // A break that was its own may take so long until the registry knows and the worker is back.
        // A REST heartbeat is answered although the registry cannot be asked whether its worker is
        // still on the roll: the next one tells.
        uint64_t found_ms = one.relayed ? 65000 : 30000;
        bool well = world_.Now() - one.last_trouble_ms > found_ms && !IsCutOff(one) && !IsHeldOut(one);
        if (one.node->up && !one.leaving && known && heard && well)
            Fail(id + " is alive and was given up: " + reason);
    };
    all_.gateway.on_difference = [this](const std::string &why) {
        Fail("the gateway's table is not what the router told it: " + why);
    };
    UpdateQuiet();
}

void Simulation::Fail(const std::string &what)
{
    if (!stop_)
        failure = "seed " + std::to_string(plan_.seed) + ", step " + std::to_string(world_.Steps()) + ", " +
                  std::to_string(world_.Now()) + " ms: " + what;
    stop_ = true;
}

// --- What must hold ---

void Simulation::UpdateQuiet()
{
    bool well = faults_active_ == 0;
    for (Node *node : all_.Nodes())
        well = well && node->up;
    if (!well)
        quiet_since_ms_ = 0;
    else if (quiet_since_ms_ == 0)
        quiet_since_ms_ = world_.Now();
}

bool Simulation::InTable(const Volunteer &volunteer) const
{
    for (const auto &[name, service] : all_.gateway.routes.services) {
        if (service.ends.count(volunteer.id) != 0)
            return true;
    }
    return false;
}

bool Simulation::IsCutOff(const Volunteer &volunteer) const
{
    return world_.IsPartitioned(volunteer.node, all_.health.node) ||
           world_.IsPartitioned(volunteer.node, all_.gateway.node);
}

// A worker that died must be out of the table so long after its death, or after our own
// processes became well, and some time for them to find each other again.
void Simulation::CheckRouting(Volunteer *volunteer, uint64_t epoch, uint64_t bound_ms)
{
    if (volunteer->node->up || volunteer->node->epoch != epoch)
        return;
    uint64_t now_ms = world_.Now();
    uint64_t settled_ms =
        IsQuiet() ? std::max(quiet_since_ms_ + 15000, volunteer->down_since_ms) + std::max(bound_ms, kSilentBoundMs)
                  : UINT64_MAX;
    bool quiet_all_along = IsQuiet() && quiet_since_ms_ + 15000 <= volunteer->down_since_ms;
    if (now_ms >= settled_ms || (quiet_all_along && now_ms >= volunteer->down_since_ms + bound_ms)) {
        tally.bounds_checked++;
        if (InTable(*volunteer))
            Fail(volunteer->id + " is dead since " + std::to_string(volunteer->down_since_ms) +
                 " ms, last acknowledged at " + std::to_string(volunteer->last_acknowledged_ms) + " ms, " +
                 (volunteer->relayed ? "relayed, " : "") + (volunteer->silent ? "silently, " : "") +
                 "and still in the gateway's table; health says " +
                 worker_status_text(health_worker_status(all_.health.core, volunteer->id.c_str())));
        return;
    }
    world_.After(quiet_all_along ? volunteer->down_since_ms + bound_ms - now_ms : 10000,
                 [=] { CheckRouting(volunteer, epoch, bound_ms); });
}

// It came and went too often, so that health keeps requests away from it for a while.
bool Simulation::IsHeldOut(const Volunteer &volunteer) const
{
    const record *record = registry_find(all_.registry.core, volunteer.id.c_str());
    return record != nullptr && record->status_reason != nullptr &&
           std::string(record->status_reason).find("held out of routing") == 0;
}

void Simulation::CheckEverySecond()
{
    for (int i = 0; i < 5 && IsQuiet() && world_.Now() - quiet_since_ms_ > 30000; i++) {
        const Volunteer &one = *fleet_[world_.Below(fleet_.size())];
        bool heard = world_.Now() - one.last_acknowledged_ms < 35000;
        // A REST heartbeat is answered although the registry cannot be asked whether its worker is
        // still on the roll: the next one tells.
        uint64_t found_ms = one.relayed ? 65000 : 30000;
        bool well = world_.Now() - one.last_trouble_ms > found_ms && !IsCutOff(one) && !IsHeldOut(one);
        if (!one.node->up || one.leaving || one.incarnation == 0 || !heard || !well || drained_.count(one.id) != 0)
            continue;
        tally.lives_checked++;
        for (const auto &service : one.assigned) {
            if (!all_.gateway.routes.Has(service, one.id))
                Fail(one.id + " is alive, runs " + service + " and is not in the gateway's table");
        }
    }
    if (world_.Now() / 1000 % 60 == 0 && !CheckCores())
        return;
    if (!stop_)
        world_.After(1000, [this] { CheckEverySecond(); });
}

bool Simulation::CheckCores()
{
    if (all_.health.core != nullptr && !health_check(all_.health.core))
        Fail("health_check");
    if (all_.assigner.core != nullptr && !assigner_check(all_.assigner.core))
        Fail("assigner_check");
    return !stop_;
}

void Simulation::CheckConverged()
{
    size_t alive = 0;
    std::map<std::string, std::set<std::string>> expected;
    for (size_t i = 0; i < catalog_count(catalog_.get()); i++)
        expected[catalog_at(catalog_.get(), i)->name];
    for (const auto &one : fleet_) {
        const record *record = registry_find(all_.registry.core, one->id.c_str());
        if (!one->node->up) {
            if (record != nullptr)
                Fail(one->id + " has gone and is still on the roll");
            continue;
        }
        alive++;
        if (record == nullptr)
            return Fail(one->id + " lives and is not on the roll");
        if (record->incarnation != one->incarnation)
            return Fail(one->id + " and the roll do not agree on its incarnation");
        auto status = one->draining ? WORKER_DRAINING : WORKER_ONLINE;
        if (record->status != status)
            return Fail(one->id + " is well and on the roll as " +
                        worker_status_text(static_cast<Muster__V1__WorkerStatus>(record->status)));
        if (health_worker_status(all_.health.core, one->id.c_str()) != status)
            return Fail(one->id + " is well, and health does not know");
        if (record->draining != one->draining)
            return Fail(one->id + " does not know whether it is to drain");
        Muster__V1__Worker *worker = record_unpack(record);
        std::vector<std::string> assigned(worker->assigned_services,
                                          worker->assigned_services + worker->n_assigned_services);
        muster__v1__worker__free_unpacked(worker, nullptr);
        if (assigned != one->assigned)
            return Fail(one->id + " does not know its assignment");
        if (record->draining)
            continue;
        for (const auto &service : assigned)
            expected[service].insert(one->id);
        if (!one->announced.empty())
            expected[one->announced].insert(one->id);
    }
    for (auto it = expected.begin(); it != expected.end();) {
        bool own = it->second.empty() && catalog_find(catalog_.get(), it->first.c_str()) == CATALOG_NONE;
        it = own ? expected.erase(it) : std::next(it);
    }
    if (registry_count(all_.registry.core) != alive || all_.registry.disk.size() != alive)
        return Fail("the roll has " + std::to_string(registry_count(all_.registry.core)) + " workers of " +
                    std::to_string(alive));
    if (health_count(all_.health.core).workers != alive || router_worker_count(all_.router.core) != alive ||
        assigner_worker_count(all_.assigner.core) != alive)
        return Fail("health, router and assigner do not agree on who lives");
    const auto &routes = all_.gateway.routes;
    for (const auto &[service, workers] : expected) {
        if (routes.Workers(service) != workers)
            return Fail("the gateway has " + std::to_string(routes.Workers(service).size()) + " endpoints of " +
                        service + ", not " + std::to_string(workers.size()));
    }
    if (routes.services.size() != expected.size())
        return Fail("the gateway knows services that nobody has");
    router_advance(all_.router.core, world_.Now() + 10000); // weights that are being gathered
    if (CheckCores() && !router_check(all_.router.core))
        Fail("router_check");
}

// --- Faults ---

void Simulation::ControlFault()
{
    auto nodes = all_.Nodes();
    Node *node = nodes[world_.Below(nodes.size())];
    if (world_.Chance(0.5)) {
        if (!node->up)
            return;
        tally.crashes++;
        all_.Crash(node);
        world_.Crash(node);
        UpdateQuiet();
        world_.After(world_.Chance(0.5) ? world_.Below(1000) : world_.Below(30000), [this, node] {
            all_.Start(node);
            UpdateQuiet();
            if (node == all_.registry.node && registry_count(all_.registry.core) != all_.registry.disk.size())
                Fail("the registry came back without all that is on disk");
        });
        return;
    }
    Node *other = nodes[world_.Below(nodes.size())];
    if (other == node || world_.IsPartitioned(node, other))
        return;
    tally.partitions++;
    world_.Partition(node, other);
    faults_active_++;
    UpdateQuiet();
    world_.After(world_.Between(100, 60000), [this, node, other] {
        world_.Heal(node, other);
        faults_active_--;
        UpdateQuiet();
    });
}

void Simulation::Kill(Volunteer *volunteer, bool silently)
{
    // A relayed worker has no stream that could break.
    bool noticed = !silently && !volunteer->relayed;
    // Nor has one that is not connected at the moment, or whose break was not noticed yet.
    noticed = noticed && world_.Now() - volunteer->last_trouble_ms > 15000 && volunteer->incarnation != 0 &&
              world_.Now() - volunteer->last_acknowledged_ms < 35000;
    // Nor has one whose registration was delivered twice, until it hears of that.
    noticed = noticed && volunteer->incarnation == incarnations_[volunteer->id];
    uint64_t bound_ms = noticed ? kBrokenBoundMs : kSilentBoundMs;
    if (volunteer->IsRegistering())
        bound_ms = kSilentBoundMs + 15000; // it may come to be registered after its death
    volunteer->Crash(silently);
    (silently ? tally.silent_deaths : tally.kills)++;
    CheckRouting(volunteer, volunteer->node->epoch, bound_ms);
}

void Simulation::CutOff(Volunteer *volunteer, uint64_t duration_ms)
{
    for (Node *node : {all_.gateway.node, all_.health.node})
        world_.Partition(volunteer->node, node);
    volunteer->Trouble();
    world_.After(duration_ms, [this, volunteer] {
        for (Node *node : {all_.gateway.node, all_.health.node})
            world_.Heal(volunteer->node, node);
        volunteer->Trouble();
    });
}

void Simulation::Drain(Volunteer *volunteer, bool draining)
{
    Muster__V1__SetDrainingRequest request = MUSTER__V1__SET_DRAINING_REQUEST__INIT;
    request.worker_id = volunteer->id.data();
    request.draining = draining;
    drained_.insert(volunteer->id); // from now on nobody knows what it is
    Registry *registry = &all_.registry;
    world_.Call(
        all_.gateway.node, registry->node, Pack(request.base),
        [registry](const Bytes &asked, World::Answer answer) { registry->SetDraining(asked, answer); }, 5000,
        [](const Bytes *) {});
}

void Simulation::WorkerFault()
{
    Volunteer *one = fleet_[world_.Below(fleet_.size())].get();
    if (!one->node->up) {
        one->Start();
        return;
    }
    double what = static_cast<double>(world_.Below(100)) / 100;
    if (what < 0.35)
        Kill(one, false);
    else if (what < 0.5)
        Kill(one, true);
    else if (what < 0.65)
        CutOff(one, world_.Between(1000, 200000));
    else if (what < 0.8)
        one->ResetStream();
    else if (what < 0.9 && one->incarnation != 0)
        tally.leaves++, one->Leave();
    else if (what < 0.95)
        Drain(one, world_.Chance(0.5));
    else if (what > 0.985) // a storm: many at once
        for (int i = 0; i < 50; i++) {
            Volunteer *other = fleet_[world_.Below(fleet_.size())].get();
            if (other->node->up && world_.Chance(0.5))
                Kill(other, false);
            else if (!other->node->up)
                other->Start();
        }
}

// Requests find out which endpoints do not answer.
void Simulation::RequestService()
{
    Gateway &gateway = all_.gateway;
    if (gateway.node->up && gateway.has_table) {
        const auto *service = catalog_at(catalog_.get(), world_.Below(catalog_count(catalog_.get())));
        std::string id = gateway.Pick(service->name);
        tally.picks++;
        if (!id.empty() && !gateway.routes.Has(service->name, id))
            Fail("the gateway picked " + id + ", which is not in its table");
        if (!id.empty() && !by_id_[id]->node->up)
            gateway.ReportFailure(service->name, id);
    }
    if (!stop_)
        world_.After(200, [this] { RequestService(); });
}

// --- The run ---

bool Simulation::Run()
{
    uint64_t begin_ms = world_.Now();
    std::function<void()> faults = [&] {
        if (world_.Now() >= end_of_faults_ms_)
            return;
        WorkerFault();
        bool control = (world_.Now() - begin_ms) / kPhaseMs % 2 == 1;
        if (control && world_.Chance(0.1))
            ControlFault();
        world_.After(world_.Between(100, 2500), faults);
    };
    world_.After(60000, faults);
    world_.After(1000, [this] { CheckEverySecond(); });
    world_.After(1000, [this] { RequestService(); });
    while (!stop_ && world_.Step(end_of_faults_ms_ + 250000)) // until the longest fault is over
        ;
    // All come back, and then everybody agrees.
    world_.faults = {0, 0, 5, 0};
    for (auto &one : fleet_) {
        if (!one->node->up && world_.Chance(0.7))
            one->Start();
    }
    while (!stop_ && world_.Step(end_of_faults_ms_ + 600000))
        ;
    if (!stop_)
        CheckConverged();
    tally.steps = world_.Steps();
    return failure.empty();
}

} // namespace simulation
