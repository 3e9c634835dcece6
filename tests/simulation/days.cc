#include "tests/simulation/days.h"

#include <algorithm>
#include <cmath>

namespace simulation
{

constexpr uint64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
constexpr uint64_t kTickMs = 500;
constexpr uint64_t kSoonMs = 1500, kAssignedMs = 25 * kSecond, kServedMs = 4 * kMinute;
constexpr uint64_t kSwingMs = 3 * kHour;
constexpr uint64_t kSettleMs = 20 * kSecond; // of our own processes, after a fault

Days::Days(const DaysPlan &plan)
    : plan_(plan), world_(plan.seed), all_(&world_), catalog_(catalog_create_default(), catalog_destroy)
{
    world_.faults = plan.faults ? Faults{0.01, 0.01, 5, 250} : Faults{0, 0, 5, 0};
    begin_ms_ = world_.Now();
    end_of_day_ms_ = begin_ms_ + static_cast<uint64_t>(plan.days * static_cast<double>(kDay));
    faults_until_ms_ = plan.faults ? end_of_day_ms_ : begin_ms_;
    for (Node *node : all_.Nodes())
        all_.Start(node);
    quiet_since_ms_ = world_.Now();
    for (size_t i = 0; i < plan.workers; i++) {
        fleet_.push_back(std::make_unique<Volunteer>(&world_, &all_, i));
        Volunteer *one = fleet_.back().get();
        one->announced.clear();
        one->says_states = i % 9 != 0; // some old agents say nothing of their services
        one->load_of = [this](const Volunteer &volunteer) { return LoadOf(volunteer); };
        by_id_[one->id] = one;
        world_.After(world_.Below(10000), [one] { one->Start(); });
    }
    all_.registry.on_registered = [this](const std::string &id, uint64_t, const std::vector<std::string> &) {
        Note(id, false);
    };
    all_.registry.on_moved = [this](const std::string &id) { Note(id, true); };
    all_.registry.on_removed = [this](const std::string &id, uint64_t, const std::string &) { known_.erase(id); };
}

void Days::Fail(const std::string &what)
{
    if (!stop_)
        failure =
            "seed " + std::to_string(plan_.seed) + ", " + std::to_string(world_.Now() - begin_ms_) + " ms: " + what;
    stop_ = true;
}

// --- Work ---

// In workers. The fleet has a half of CPU machines, and a sixth each of the other types; at any time there is enough
// for all, if it is where the work is.
double Days::Demand(const std::string &service) const
{
    uint64_t now_ms = std::min(world_.Now(), end_of_day_ms_) - begin_ms_;
    double day = std::sin(2 * 3.14159265358979 * static_cast<double>(now_ms % kDay) / static_cast<double>(kDay));
    double cpu = plan_.work * static_cast<double>(plan_.workers) / 2;
    double gpu = plan_.work * static_cast<double>(plan_.workers) / 6;
    if (service == "ner-extraction")
        return cpu * (0.3 + 0.22 * day);
    if (service == "document-processing")
        return cpu * (0.3 - 0.22 * day);
    if (service == "notes-coa")
        return cpu * 0.08;
    if (service == "llm-inference")
        return gpu * (0.27 + 0.2 * day);
    if (service == "vision-ocr")
        return gpu * (0.27 - 0.2 * day);
    return 0.2;
}

void Days::CountRunning()
{
    running_.clear();
    for (const auto &one : fleet_)
        for (const auto &name : one->assigned)
            running_[name] += one->Runs(name) && !one->draining;
}

double Days::LoadOf(const Volunteer &volunteer) const
{
    double load = 0;
    for (const auto &name : volunteer.assigned) {
        auto found = running_.find(name);
        if (volunteer.Runs(name) && !volunteer.draining && found != running_.end() && found->second > 0)
            load += Demand(name) / found->second;
    }
    return std::min(load, 1.0);
}

// --- What must hold ---

// Our own processes have been well for so long.
bool Days::IsQuiet(uint64_t for_ms) const
{
    return quiet_since_ms_ != 0 && world_.Now() - quiet_since_ms_ >= for_ms;
}

void Days::CapacityChanged(const Volunteer &volunteer)
{
    for (const auto &name : volunteer.assigned)
        capacity_at_ms_[name] = world_.Now();
}

// The registry has something new of the worker.
void Days::Note(const std::string &id, bool moved)
{
    Muster__V1__Worker *worker = record_unpack(registry_find(all_.registry.core, id.c_str()));
    Known &known = known_[id];
    Moved before = known.swap;
    std::vector<std::string> assigned(worker->assigned_services,
                                      worker->assigned_services + worker->n_assigned_services);
    known.swap = worker->swap == nullptr ? Moved{} : Moved{worker->swap->from, worker->swap->to, world_.Now()};
    muster__v1__worker__free_unpacked(worker, nullptr);
    for (const auto &name : assigned)
        for (char c : id + name + std::to_string(world_.Now()))
            tally.digest = (tally.digest ^ static_cast<unsigned char>(c)) * 1099511628211u;
    auto has = [&assigned](const std::string &name) {
        return std::find(assigned.begin(), assigned.end(), name) != assigned.end();
    };
    known.assigned = assigned;
    if (known.swap.to == before.to && known.swap.from == before.from)
        known.swap.at_ms = before.at_ms; // it goes on
    if (moved) {
        tally.moves++;
        last_move_ms_ = world_.Now();
    } else {
        for (const auto &name : assigned)
            capacity_at_ms_[name] = world_.Now();
    }
    if (!before.to.empty() && known.swap.to.empty()) {
        tally.drops += !has(before.from);
        tally.undone += !has(before.to);
        if (!has(before.from) && has(before.to))
            CheckSwing(id, &known, before);
    }
    if (before.to.empty() && !known.swap.to.empty()) {
        tally.swaps++;
        if (!has(known.swap.from) || !has(known.swap.to))
            Fail(id + " has a swap of services that it does not have");
        if (world_.Now() < faults_until_ms_ && world_.Chance(0.4)) {
            tally.crashes_in_swaps++;
            Node *node = world_.Chance(0.6)   ? all_.assigner.node
                         : world_.Chance(0.5) ? all_.registry.node
                                              : all_.health.node;
            world_.After(world_.Below(60 * kSecond), [this, node] { CrashFor(node, world_.Below(30 * kSecond)); });
        }
    }
    CheckShare(id, known);
}

void Days::CheckSwing(const std::string &id, Known *known, const Moved &ended)
{
    const Moved &last = known->last;
    uint64_t now_ms = world_.Now();
    if (last.from == ended.to && last.to == ended.from && now_ms - last.at_ms < kSwingMs) {
        bool cause = capacity_at_ms_[ended.from] > last.at_ms || capacity_at_ms_[ended.to] > last.at_ms;
        if (!cause)
            Fail(id + " went from " + last.from + " to " + last.to + " and back within " +
                 std::to_string((now_ms - last.at_ms) / kMinute) + " minutes");
        tally.swings_with_cause++;
    }
    known->last = {ended.from, ended.to, now_ms};
}

void Days::CheckShare(const std::string &id, const Known &known)
{
    std::map<int, size_t> counts;
    for (const auto &name : known.assigned)
        counts[catalog_at(catalog_.get(), catalog_find(catalog_.get(), name.c_str()))->requires]++;
    for (const auto &[requires_type, count] : counts) {
        size_t most = policy_most(by_id_[id]->type, static_cast<Muster__V1__WorkerType>(requires_type), SIZE_MAX);
        if (count > most + !known.swap.to.empty())
            Fail(id + " has " + std::to_string(count) + " services of type " + std::to_string(requires_type) +
                 ", and " + std::to_string(most) + " is its share");
    }
}

static bool IsUp(const record *record)
{
    return !record->draining && (record->status == WORKER_ONLINE || record->status == WORKER_DEGRADED);
}

// Whether the assigner could tell it to run the service: it has room for one more, or something to spare.
bool Days::CouldTake(const record *record, const std::string &id, size_t number) const
{
    const catalog_service *service = catalog_at(catalog_.get(), number);
    auto type = static_cast<Muster__V1__WorkerType>(record->type);
    if (!IsUp(record) || !catalog_fits(service, type))
        return false;
    size_t alike = 0;
    for (const auto &name : known_.at(id).assigned)
    alike += catalog_at(catalog_.get(), catalog_find(catalog_.get(), name.c_str()))->requires == service->requires;
    size_t workers = 0;
    for (const auto &one : fleet_)
        workers += one->type == type && known_.count(one->id) != 0;
    return alike < policy_most(type, service->requires, workers);
}

bool Days::CouldSomebodyTake(size_t number) const
{
    for (const auto &[id, known] : known_) {
        const record *record = registry_find(all_.registry.core, id.c_str());
        if (record != nullptr && CouldTake(record, id, number))
            return true;
    }
    return false;
}

void Days::CheckCoverage()
{
    bool quiet = IsQuiet(kSettleMs);
    std::set<std::string> assigned, served;
    for (const auto &[id, known] : known_) {
        const record *record = quiet ? registry_find(all_.registry.core, id.c_str()) : nullptr;
        if (record == nullptr)
            continue;
        if (IsUp(record) || (!record->draining && record->status == WORKER_RECONNECTING))
            assigned.insert(known.assigned.begin(), known.assigned.end());
        const Volunteer &one = *by_id_[id];
        for (const auto &name : known.assigned)
            if (one.Runs(name) && !one.draining)
                served.insert(name);
    }
    uint64_t now_ms = world_.Now();
    for (size_t i = 0; i < catalog_count(catalog_.get()); i++) {
        const std::string name = catalog_at(catalog_.get(), i)->name;
        uint64_t &unassigned = unassigned_since_ms_[name], &unserved = unserved_since_ms_[name];
        bool is_assigned = assigned.count(name) != 0, is_served = served.count(name) != 0;
        if (unassigned != 0 && is_assigned) {
            tally.found++;
            tally.found_soon += now_ms - unassigned <= kSoonMs;
        }
        bool was_missing = unassigned != 0;
        bool matters = quiet && (!is_assigned || !is_served) && CouldSomebodyTake(i);
        unassigned = !matters || is_assigned ? 0 : unassigned != 0 ? unassigned : now_ms;
        unserved = !matters || is_served ? 0 : unserved != 0 ? unserved : now_ms;
        tally.losses += unassigned != 0 && !was_missing;
        if (unassigned != 0 && now_ms - unassigned > kAssignedMs)
            Fail(name + " has had nobody for " + std::to_string(now_ms - unassigned) + " ms, and somebody has room");
        if (unserved != 0 && now_ms - unserved > kServedMs)
            Fail(name + " has not run anywhere for " + std::to_string(now_ms - unserved) +
                 " ms, and somebody has room");
    }
}

// None is leaked.
void Days::CheckSwaps()
{
    for (auto &[id, known] : known_) {
        if (known.swap.to.empty())
            continue;
        if (!IsQuiet(kSettleMs) || !by_id_[id]->node->up || by_id_[id]->draining)
            known.swap.at_ms = world_.Now(); // its time begins again
        if (world_.Now() - known.swap.at_ms > ASSIGNER_SWAP_MS + 2 * kMinute)
            Fail(id + " has had both " + known.swap.from + " and " + known.swap.to + " for " +
                 std::to_string((world_.Now() - known.swap.at_ms) / kMinute) + " minutes");
    }
}

void Days::Tick()
{
    CountRunning();
    CheckCoverage();
    for (const auto &[name, workers] : running_)
        tally.short_ms += Demand(name) > 0.95 * workers ? kTickMs : 0;
    uint64_t second = (world_.Now() - begin_ms_) / kSecond;
    if (second % 60 == 0) {
        CheckSwaps();
        if (all_.assigner.core != nullptr && !assigner_check(all_.assigner.core))
            Fail("assigner_check");
        if (all_.health.core != nullptr && !health_check(all_.health.core))
            Fail("health_check");
    }
    if (!stop_)
        world_.After(kTickMs, [this] { Tick(); });
}

void Days::CheckEnd()
{
    if (world_.Now() - last_move_ms_ < kHour)
        Fail("work still moves, an hour and more after the demand last changed");
    if (assigner_swap_count(all_.assigner.core) != 0)
        Fail("a swap is still under way");
    std::map<std::string, int> assigned;
    for (const auto &one : fleet_) {
        if (!one->node->up)
            continue;
        auto found = known_.find(one->id);
        if (found == known_.end())
            return Fail(one->id + " is up and not on the roll");
        if (found->second.assigned != one->assigned)
            Fail(one->id + " does not know its assignment");
        if (!found->second.swap.to.empty())
            Fail(one->id + " is left in a swap");
        for (const auto &name : one->assigned)
            assigned[name]++;
    }
    for (size_t i = 0; i < catalog_count(catalog_.get()); i++)
        if (assigned[catalog_at(catalog_.get(), i)->name] == 0)
            Fail(std::string(catalog_at(catalog_.get(), i)->name) + " has nobody at the end");
}

// --- Faults ---

void Days::CrashFor(Node *node, uint64_t down_ms)
{
    if (!node->up)
        return;
    tally.crashes++;
    all_.Crash(node);
    world_.Crash(node);
    quiet_since_ms_ = 0;
    world_.After(down_ms, [this, node] {
        all_.Start(node);
        bool well = partitions_ == 0;
        for (Node *other : all_.Nodes())
            well = well && other->up;
        quiet_since_ms_ = well ? world_.Now() : 0;
    });
}

void Days::ControlFault()
{
    if (stop_ || world_.Now() >= faults_until_ms_)
        return;
    auto nodes = all_.Nodes();
    Node *node = nodes[world_.Below(nodes.size())], *other = nodes[world_.Below(nodes.size())];
    if (world_.Chance(0.6)) {
        CrashFor(node, world_.Below(60 * kSecond));
    } else if (other != node && !world_.IsPartitioned(node, other)) {
        world_.Partition(node, other);
        partitions_++;
        quiet_since_ms_ = 0;
        world_.After(world_.Between(kSecond, 2 * kMinute), [this, node, other] {
            world_.Heal(node, other);
            partitions_--;
            bool well = partitions_ == 0;
            for (Node *one : all_.Nodes())
                well = well && one->up;
            quiet_since_ms_ = well ? world_.Now() : 0;
        });
    }
    world_.After(world_.Between(10 * kMinute, 90 * kMinute), [this] { ControlFault(); });
}

void Days::Drain(Volunteer *volunteer, bool draining)
{
    Muster__V1__SetDrainingRequest request = MUSTER__V1__SET_DRAINING_REQUEST__INIT;
    request.worker_id = volunteer->id.data();
    request.draining = draining;
    Registry *registry = &all_.registry;
    CapacityChanged(*volunteer);
    world_.Call(
        all_.gateway.node, registry->node, Pack(request.base),
        [registry](const Bytes &asked, World::Answer answer) { registry->SetDraining(asked, answer); }, 5000,
        [this, volunteer, draining](const Bytes *answer) {
            if (answer == nullptr) // an operator says it again
                world_.After(10 * kSecond, [this, volunteer, draining] { Drain(volunteer, draining); });
        });
}

void Days::WorkerFault()
{
    if (stop_ || world_.Now() >= faults_until_ms_)
        return;
    Volunteer *one = fleet_[world_.Below(fleet_.size())].get();
    if (one->node->up && !one->leaving && one->incarnation != 0) {
        double what = static_cast<double>(world_.Below(100)) / 100;
        CapacityChanged(*one);
        if (what < 0.25) {
            tally.drains++;
            Drain(one, true);
            world_.After(world_.Between(10 * kMinute, kHour), [this, one] { Drain(one, false); });
        } else if (what < 0.4) {
            one->ResetStream();
        } else {
            tally.deaths++;
            if (what < 0.5)
                one->Leave();
            else
                one->Crash(what < 0.65);
            world_.After(world_.Between(kSecond, 40 * kMinute), [one] {
                if (!one->node->up)
                    one->Start();
            });
        }
    }
    world_.After(world_.Between(kMinute, 30 * kMinute), [this] { WorkerFault(); });
}

// --- The run ---

bool Days::Run()
{
    world_.After(10 * kMinute, [this] { WorkerFault(); });
    world_.After(20 * kMinute, [this] { ControlFault(); });
    world_.After(kTickMs, [this] { Tick(); });
    while (!stop_ && world_.Step(end_of_day_ms_ + 2 * kHour)) // until the last drain is over
        ;
    world_.faults = {0, 0, 5, 0};
    for (auto &one : fleet_)
        if (!one->node->up)
            one->Start();
    while (!stop_ && world_.Step(end_of_day_ms_ + 6 * kHour))
        ;
    if (!stop_)
        CheckEnd();
    tally.steps = world_.Steps();
    return failure.empty();
}

} // namespace simulation
