// muster-registry and muster-assigner in the simulated world; see processes.h.

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/simulation/processes.h"

extern "C" {
#include "services/registry/spec.h"
}

namespace simulation
{

// --- Kept streams ---

void Turn::Touch()
{
    if (touched_)
        return;
    touched_ = true;
    world_->AfterOn(node_, 0, [this] {
        touched_ = false;
        pump_();
    });
}

void Turn::Due(uint64_t at_ms)
{
    if (at_ms == UINT64_MAX || (due_at_ms_ > world_->Now() && at_ms >= due_at_ms_))
        return;
    due_at_ms_ = std::max(at_ms, world_->Now() + 1);
    world_->AfterOn(node_, due_at_ms_ - world_->Now(), [this] { Touch(); });
}

void KeptStream::Start(Opener open, std::function<void(const Bytes &)> message, std::function<void()> ended)
{
    generation_++;
    stream_ = nullptr;
    open_ = std::move(open);
    message_ = std::move(message);
    ended_ = std::move(ended);
    delay_ms_ = 100;
    Connect();
}

void KeptStream::Connect()
{
    open_([this, generation = generation_](StreamPointer stream) {
        if (generation != generation_)
            return;
        if (stream == nullptr) {
            Retry();
            return;
        }
        stream_ = stream;
        auto &end = stream->End(Stream::kClient);
        end.message = [this, generation](const Bytes &bytes) {
            if (generation != generation_)
                return;
            delay_ms_ = 100;
            message_(bytes);
        };
        end.ended = [this, generation] {
            if (generation != generation_)
                return;
            stream_ = nullptr;
            if (ended_)
                ended_();
            Retry();
        };
    });
}

void KeptStream::Retry()
{
    world_->AfterOn(node_, world_->Between(delay_ms_ / 2, delay_ms_), [this, generation = generation_] {
        if (generation == generation_)
            Connect();
    });
    delay_ms_ = std::min<uint64_t>(delay_ms_ * 2, 2000);
}

void KeptStream::Restart()
{
    if (stream_ != nullptr)
        stream_->Close(Stream::kClient);
    stream_ = nullptr;
    Connect();
}

// --- Registry ---

Registry::Registry(World *world, Coordinator *all, Node *place) : node(place), world_(world), all_(all) {}

void Registry::Start()
{
    world_->Start(node);
    core = registry_create(1024); // small, so that watchers fall behind it
    for (const auto &[id, value] : disk) {
        if (registry_restore(core, 0, id.data(), id.size(), value.data(), value.size(), world_->Unix()) !=
            REGISTRY_OK) {
            std::fprintf(stderr, "the record of %s cannot be restored\n", id.c_str());
            std::abort();
        }
    }
    registry_restored(core, &disk_meta_);
    disk_meta_ = registry_meta_after(core, nullptr, 0);
    registry_meta_stored(core, &disk_meta_);
}

void Registry::Stop()
{
    // Before the core, in whose memory their records lie.
    for (auto &change : changes_)
        registry_discard(&change);
    changes_.clear();
    registry_destroy(core);
    core = nullptr;
    registrations_.clear();
    assigning_.clear();
    queue_.clear();
    batch_.clear();
    watchers_.clear();
    committing_ = pump_due_ = false;
}

void Registry::Register(const Bytes &request, World::Answer answer)
{
    Unpacked message(muster__v1__register_worker_request__descriptor, request);
    Operation operation;
    operation.kind = Operation::kRegister;
    operation.id = message.As<Muster__V1__RegisterWorkerRequest>().spec->worker_id;
    operation.spec = request;
    operation.finish = [this, id = operation.id, answer](bool done) {
        Muster__V1__RegisterWorkerResponse response = MUSTER__V1__REGISTER_WORKER_RESPONSE__INIT;
        const struct record *record = done ? registry_find(core, id.c_str()) : nullptr;
        if (record == nullptr)
            return answer(Bytes()); // UNAVAILABLE
        record_message worker;
        record_message_init(&worker, record);
        response.worker = &worker.worker;
        answer(Pack(response.base));
    };
    operation.since_ms = world_->Now();
    registrations_.push_back(std::move(operation));
    NextRegistrations();
}

void Registry::Unregister(const Bytes &request, World::Answer answer)
{
    Unpacked message(muster__v1__unregister_worker_request__descriptor, request);
    const auto &unregister = message.As<Muster__V1__UnregisterWorkerRequest>();
    Operation operation;
    operation.kind = Operation::kRemove;
    operation.id = unregister.worker_id;
    operation.incarnation = unregister.incarnation;
    operation.reason = "unregistered";
    operation.finish = [answer](bool) { answer(Bytes("done")); };
    Queue(std::move(operation));
}

void Registry::SetDraining(const Bytes &request, World::Answer answer)
{
    Unpacked message(muster__v1__set_draining_request__descriptor, request);
    const auto &drain = message.As<Muster__V1__SetDrainingRequest>();
    Operation operation;
    operation.kind = Operation::kDrain;
    operation.id = drain.worker_id;
    operation.draining = drain.draining;
    operation.finish = [answer](bool) { answer(Bytes("done")); };
    Queue(std::move(operation));
}

void Registry::SetAssignment(const Bytes &request, World::Answer answer)
{
    Unpacked message(muster__v1__set_assignment_request__descriptor, request);
    Operation operation;
    operation.kind = Operation::kAssign;
    operation.id = message.As<Muster__V1__SetAssignmentRequest>().worker_id;
    operation.spec = request;
    operation.finish = [answer](bool done) { answer(done ? Bytes("done") : Bytes()); };
    Queue(std::move(operation));
}

void Registry::GetWorkers(const Bytes &request, World::Answer answer)
{
    Unpacked message(muster__v1__get_workers_request__descriptor, request);
    const auto &get = message.As<Muster__V1__GetWorkersRequest>();
    std::deque<record_message> found;
    std::vector<Muster__V1__Worker *> workers;
    for (size_t i = 0; i < get.n_worker_ids; i++) {
        const struct record *record = registry_find(core, get.worker_ids[i]);
        if (record == nullptr)
            continue;
        found.emplace_back();
        record_message_init(&found.back(), record);
        workers.push_back(&found.back().worker);
    }
    Muster__V1__GetWorkersResponse response = MUSTER__V1__GET_WORKERS_RESPONSE__INIT;
    response.n_workers = workers.size();
    response.workers = workers.data();
    response.revision = registry_revision(core);
    answer(Pack(response.base));
}

void Registry::ReportLiveness(const Bytes &request, World::Answer answer)
{
    Unpacked message(muster__v1__report_liveness_request__descriptor, request);
    const auto &report = message.As<Muster__V1__ReportLivenessRequest>();
    auto left = std::make_shared<size_t>(1);
    auto finished = [left, answer](bool) {
        if (--*left == 0)
            answer(Bytes("taken"));
    };
    for (size_t i = 0; i < report.n_changes; i++) {
        const auto *change = report.changes[i];
        if (change->status != WORKER_REMOVED) {
            registry_set_status(core, change->worker_id, change->incarnation, change->status, change->reason,
                                world_->Unix());
            continue;
        }
        ++*left;
        Operation operation;
        operation.kind = Operation::kRemove;
        operation.id = change->worker_id;
        operation.incarnation = change->incarnation;
        operation.reason = change->reason;
        operation.finish = finished;
        Queue(std::move(operation));
    }
    finished(true);
    Pump();
}

// --- Registrations: those that wait together are one question to the assigner ---

// Moves operations of different workers to a batch.
void Registry::Gather(std::deque<Operation> *from, std::vector<Operation> *to)
{
    std::set<std::string> ids;
    std::deque<Operation> rest;
    for (auto &operation : *from) {
        if (to->size() < 500 && ids.insert(operation.id).second)
            to->push_back(std::move(operation));
        else
            rest.push_back(std::move(operation));
    }
    *from = std::move(rest);
}

void Registry::NextRegistrations()
{
    if (!assigning_.empty() || registrations_.empty())
        return;
    Gather(&registrations_, &assigning_);
    Assign();
}

void Registry::Assign()
{
    std::deque<Unpacked> specs;
    std::deque<std::vector<char *>> names;
    std::deque<Muster__V1__AssignCandidate> candidates;
    std::deque<Muster__V1__Worker *> present;
    std::vector<Muster__V1__AssignCandidate *> pointers;
    for (auto &operation : assigning_) {
        specs.emplace_back(muster__v1__register_worker_request__descriptor, operation.spec);
        const auto *spec = specs.back().As<Muster__V1__RegisterWorkerRequest>().spec;
        Muster__V1__AssignCandidate candidate = MUSTER__V1__ASSIGN_CANDIDATE__INIT;
        candidate.worker_id = spec->worker_id;
        const struct record *record = registry_find(core, spec->worker_id);
        candidate.incarnation = registry_next_incarnation(core, record);
        candidate.type = spec_type(spec);
        if (record != nullptr) {
            present.push_back(record_unpack(record));
            candidate.n_current_services = present.back()->n_assigned_services;
            candidate.current_services = present.back()->assigned_services;
        }
        names.emplace_back();
        for (size_t i = 0; i < spec->n_services; i++)
            names.back().push_back(spec->services[i]->name);
        candidate.n_announced_services = names.back().size();
        candidate.announced_services = names.back().data();
        candidates.push_back(candidate);
        pointers.push_back(&candidates.back());
    }
    Muster__V1__AssignRequest request = MUSTER__V1__ASSIGN_REQUEST__INIT;
    request.n_candidates = pointers.size();
    request.candidates = pointers.data();
    Bytes bytes = Pack(request.base);
    for (auto *worker : present)
        muster__v1__worker__free_unpacked(worker, nullptr);

    Assigner *assigner = &all_->assigner;
    world_->Call(
        node, assigner->node, bytes,
        [assigner](const Bytes &asked, World::Answer answer) { assigner->Assign(asked, answer); }, 1000,
        [this](const Bytes *answer) { Assigned(answer); });
}

void Registry::Assigned(const Bytes *answer)
{
    if (answer == nullptr) {
        // Those that have waited too long are told so, the others go on waiting.
        auto waiting = std::move(assigning_);
        assigning_.clear();
        for (auto &operation : waiting) {
            if (world_->Now() - operation.since_ms >= 5000)
                operation.finish(false);
            else
                assigning_.push_back(std::move(operation));
        }
        if (assigning_.empty())
            return NextRegistrations();
        world_->AfterOn(node, 100, [this] { Assign(); });
        return;
    }
    Unpacked message(muster__v1__assign_response__descriptor, *answer);
    auto left = std::make_shared<size_t>(assigning_.size());
    for (size_t n = 0; n < assigning_.size(); n++) {
        const auto *assignment = message.As<Muster__V1__AssignResponse>().assignments[n];
        Operation operation = assigning_[n];
        for (size_t i = 0; i < assignment->n_services; i++)
            operation.assigned.emplace_back(assignment->services[i]->name);
        operation.finish = [this, left, finish = operation.finish](bool done) {
            finish(done);
            if (--*left == 0) {
                assigning_.clear();
                NextRegistrations();
            }
        };
        Queue(std::move(operation));
    }
}

// --- Durable changes: one transaction at a time, each worker once in it ---

void Registry::Queue(Operation operation)
{
    queue_.push_back(std::move(operation));
    Commit();
}

void Registry::Commit()
{
    if (committing_ || queue_.empty())
        return;
    committing_ = true;
    Gather(&queue_, &batch_);
    auto changed = std::make_shared<std::vector<size_t>>();
    for (size_t i = 0; i < batch_.size(); i++) {
        auto &operation = batch_[i];
        registry_change change;
        registry_result result;
        if (operation.kind == Operation::kRegister) {
            Unpacked message(muster__v1__register_worker_request__descriptor, operation.spec);
            std::vector<char *> assigned;
            for (auto &name : operation.assigned)
                assigned.push_back(name.data());
            result = registry_prepare_registration(core, message.As<Muster__V1__RegisterWorkerRequest>().spec, nullptr,
                                                   assigned.data(), assigned.size(), world_->Unix(), &change);
        } else if (operation.kind == Operation::kAssign) {
            Unpacked message(muster__v1__set_assignment_request__descriptor, operation.spec);
            const auto &assign = message.As<Muster__V1__SetAssignmentRequest>();
            result =
                registry_prepare_assignment(core, operation.id.c_str(), assign.incarnation, assign.assigned_services,
                                            assign.n_assigned_services, assign.swap, &change);
        } else if (operation.kind == Operation::kDrain) {
            result = registry_prepare_draining(core, operation.id.c_str(), operation.draining, &change);
        } else {
            result = registry_prepare_removal(core, operation.id.c_str(), operation.incarnation,
                                              operation.reason.c_str(), world_->Unix(), &change);
        }
        if (result == REGISTRY_OK) {
            changes_.push_back(change);
            changed->push_back(i);
        }
    }
    registry_meta meta = registry_meta_after(core, changes_.data(), changes_.size());
    // What the disk will hold. A crash before it is written leaves nothing; one after it, and
    // before the answer, leaves what nobody was told of.
    auto rows = std::make_shared<std::map<std::string, std::optional<std::string>>>();
    for (const auto &change : changes_) {
        size_t id_bytes;
        const char *id = registry_change_id(&change, &id_bytes);
        struct buffer value = BUFFER_INIT;
        registry_change_value(&change, &value);
        (*rows)[std::string(id, id_bytes)] =
            change.record == nullptr ? std::nullopt : std::optional<std::string>(std::string(value.data, value.bytes));
        buffer_free(&value);
    }
    auto reasons = std::make_shared<std::map<std::string, std::string>>();
    for (size_t i : *changed)
        (*reasons)[batch_[i].id] = batch_[i].reason;
    uint64_t written_ms = world_->Between(1, 20);
    world_->AfterOn(node, written_ms, [this, rows, reasons, meta] {
        for (auto &[id, value] : *rows) {
            if (!value && on_removed)
                on_removed(id, registry_find(core, id.c_str())->incarnation, (*reasons)[id]);
            if (value)
                disk[id] = *value;
            else
                disk.erase(id);
        }
        disk_meta_ = meta;
    });
    world_->AfterOn(node, written_ms + world_->Below(3), [this, changed, meta] {
        registry_meta_stored(core, &meta);
        std::vector<bool> done(batch_.size(), false);
        auto changes = std::move(changes_);
        changes_.clear();
        for (size_t i = 0; i < changes.size(); i++) {
            auto &operation = batch_[(*changed)[i]];
            if (registry_apply(core, &changes[i]) == 0)
                std::abort();
            done[(*changed)[i]] = true;
            if (operation.kind == Operation::kRegister && on_registered)
                on_registered(operation.id, registry_find(core, operation.id.c_str())->incarnation, operation.assigned);
            if (operation.kind == Operation::kAssign && on_moved)
                on_moved(operation.id);
        }
        auto finished = std::move(batch_);
        batch_.clear();
        for (size_t i = 0; i < finished.size(); i++)
            finished[i].finish(done[i]);
        committing_ = false;
        Pump();
        Commit();
    });
}

// --- Watchers ---

void Registry::WatchWorkers(uint64_t after_revision, StreamPointer stream)
{
    Watcher watcher = {stream, {}};
    registry_cursor_start(core, &watcher.cursor, after_revision);
    watchers_.push_back(watcher);
    stream->End(Stream::kServer).ended = [this, raw = stream.get()] {
        watchers_.erase(std::remove_if(watchers_.begin(), watchers_.end(),
                                       [raw](const Watcher &one) { return one.stream.get() == raw; }),
                        watchers_.end());
    };
    Pump();
}

void Registry::Follow(Node *from, uint64_t after_revision, std::function<void(StreamPointer)> result)
{
    world_->Open(
        from, node, [this, after_revision](StreamPointer stream) { WatchWorkers(after_revision, stream); }, result);
}

void Registry::Pump()
{
    // Each watcher is sent one message at a time, so that a slow one falls behind.
    if (pump_due_)
        return;
    pump_due_ = true;
    world_->AfterOn(node, 1, [this] {
        pump_due_ = false;
        bool more = false;
        for (auto &watcher : watchers_) {
            const auto *message = registry_cursor_next(core, &watcher.cursor);
            if (message != nullptr)
                watcher.stream->Send(Stream::kServer, Pack(message->base));
            more = more || registry_cursor_behind(core, &watcher.cursor);
        }
        if (more)
            Pump();
    });
}

// --- Assigner ---

Assigner::Assigner(World *world, Coordinator *all, Node *place)
    : node(place), world_(world), all_(all), watch_(world, place), health_(world, place)
{
}

void Assigner::Start()
{
    world_->Start(node);
    core = assigner_create(catalog_create_default());
    watch_.Start([this](auto result) { all_->registry.Follow(node, assigner_revision(core), result); },
                 [this](const Bytes &bytes) {
                     Unpacked message(muster__v1__watch_workers_response__descriptor, bytes);
                     if (!assigner_apply(core, &message.As<Muster__V1__WatchWorkersResponse>()))
                         std::abort();
                 });
    WatchHealth();
    LookAgain(100);
}

// As health_watch.c does: when the roll is known.
void Assigner::WatchHealth()
{
    if (!assigner_is_synchronised(core)) {
        world_->AfterOn(node, 100, [this] { WatchHealth(); });
        return;
    }
    health_.Start(
        [this](auto result) {
            Health *health = &all_->health;
            world_->Open(
                node, health->node, [health](StreamPointer s) { health->WatchHealth(s); }, result);
        },
        [this](const Bytes &bytes) {
            Unpacked message(muster__v1__watch_health_response__descriptor, bytes);
            assigner_apply_health(core, &message.As<Muster__V1__WatchHealthResponse>(), world_->Now());
        },
        [this] { assigner_health_lost(core); });
}

// --- Moves, one at a time, as mover.c makes them ---

void Assigner::LookAgain(uint64_t delay_ms)
{
    world_->AfterOn(node, delay_ms, [this] { Look(); });
}

void Assigner::Look()
{
    assigner_expire(core, world_->Now());
    const assigner_move *move = assigner_next_move(core, world_->Now());
    if (move == nullptr)
        return LookAgain(100);
    Muster__V1__SetAssignmentRequest request = MUSTER__V1__SET_ASSIGNMENT_REQUEST__INIT;
    Muster__V1__ServiceSwap swap = MUSTER__V1__SERVICE_SWAP__INIT;
    request.worker_id = move->worker_id;
    request.incarnation = move->incarnation;
    request.assigned_services = move->assigned;
    request.n_assigned_services = move->assigned_count;
    if (move->swap_to != nullptr) {
        swap.from = const_cast<char *>(move->swap_from);
        swap.to = const_cast<char *>(move->swap_to);
        request.swap = &swap;
    }
    Registry *registry = &all_->registry;
    world_->Call(
        node, registry->node, Pack(request.base),
        [registry](const Bytes &asked, World::Answer answer) { registry->SetAssignment(asked, answer); }, 5000,
        [this, id = std::string(move->worker_id)](const Bytes *answer) {
            bool taken = answer != nullptr && !answer->empty();
            if (!taken)
                assigner_move_failed(core, id.c_str());
            LookAgain(taken ? 0 : 100);
        });
}

void Assigner::Stop()
{
    watch_.Forget();
    health_.Forget();
    assigner_destroy(core);
    core = nullptr;
}

void Assigner::Assign(const Bytes &request, World::Answer answer)
{
    Unpacked message(muster__v1__assign_request__descriptor, request);
    const auto &assign = message.As<Muster__V1__AssignRequest>();
    std::deque<Muster__V1__Assignment> assignments;
    std::deque<std::vector<Muster__V1__ServiceConfig *>> lists;
    std::vector<Muster__V1__Assignment *> pointers;
    for (size_t i = 0; i < assign.n_candidates; i++) {
        const policy_decision *decision = assigner_assign(core, assign.candidates[i], world_->Now());
        lists.emplace_back();
        for (size_t j = 0; j < decision->count; j++)
            lists.back().push_back(catalog_config(assigner_catalog(core), decision->services[j]));
        Muster__V1__Assignment assignment = MUSTER__V1__ASSIGNMENT__INIT;
        assignment.worker_id = assign.candidates[i]->worker_id;
        assignment.n_services = lists.back().size();
        assignment.services = lists.back().data();
        assignments.push_back(assignment);
        pointers.push_back(&assignments.back());
    }
    Muster__V1__AssignResponse response = MUSTER__V1__ASSIGN_RESPONSE__INIT;
    response.n_assignments = pointers.size();
    response.assignments = pointers.data();
    answer(Pack(response.base));
}

void Assigner::WatchCatalog(StreamPointer stream)
{
    const struct catalog *catalog = assigner_catalog(core);
    std::deque<Muster__V1__CatalogService> services;
    std::deque<Muster__V1__ServiceProbe> probes;
    std::vector<Muster__V1__CatalogService *> pointers;
    for (size_t i = 0; i < catalog_count(catalog); i++) {
        services.emplace_back();
        services.back() = MUSTER__V1__CATALOG_SERVICE__INIT;
        probes.emplace_back();
        catalog_service_message(catalog_at(catalog, i), &services.back(), &probes.back());
        pointers.push_back(&services.back());
    }
    Muster__V1__WatchCatalogResponse response = MUSTER__V1__WATCH_CATALOG_RESPONSE__INIT;
    response.n_services = pointers.size();
    response.services = pointers.data();
    stream->Send(Stream::kServer, Pack(response.base));
}

} // namespace simulation
