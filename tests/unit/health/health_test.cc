// The core of muster-health: each transition at its exact millisecond, commands, lookups,
// the queue to the registry, watchers.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "services/health/health.h"
}

namespace {

constexpr uint64_t kStart = 1000000;
constexpr int64_t kUnix = 1700000000000;

struct Record {
    std::string id;
    uint64_t incarnation = 1;
    Muster__V1__WorkerStatus status = WORKER_ONLINE;
    std::vector<std::string> assigned = {};
    bool draining = false;
};

struct Command {
    uint64_t sequence;
    uint32_t index;
    std::string worker;
    Muster__V1__WorkerCommandType type;
    std::vector<std::string> assigned;
};

struct Answer {
    uint64_t acknowledged = 0;
    std::vector<Command> commands;
};

struct Seen {
    Muster__V1__WorkerStatus status;
    uint64_t incarnation;
    std::string reason;
    int64_t heard;
    bool has_load;
    double load;
};

// Builds the messages of the registry's watch.
class WatchMessage {
public:
    explicit WatchMessage(uint64_t revision) { message_.revision = revision; }
    ~WatchMessage()
    {
        for (auto *event : events_) {
            event->worker_id = nullptr;
            delete event;
        }
    }
    WatchMessage &Begin() { message_.snapshot_begin = 1; return *this; }
    WatchMessage &Complete() { message_.snapshot_complete = 1; return *this; }
    WatchMessage &Put(const Record &record)
    {
        auto *event = Event(MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT, record);
        event->worker = Worker(record);
        return *this;
    }
    WatchMessage &Remove(const std::string &id, uint64_t incarnation)
    {
        Record record{id, incarnation, WORKER_ONLINE, {}, false};
        Event(MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE, record);
        return *this;
    }
    WatchMessage &Status(const std::string &id, uint64_t incarnation, Muster__V1__WorkerStatus status)
    {
        Record record{id, incarnation, status, {}, false};
        Event(MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS, record)->status = status;
        return *this;
    }
    const Muster__V1__WatchWorkersResponse *Get()
    {
        message_.n_events = events_.size();
        message_.events = events_.data();
        return &message_;
    }
    Muster__V1__Worker *Worker(const Record &record)
    {
        strings_.push_back(std::make_unique<std::string>(record.id));
        specs_.push_back(std::make_unique<Muster__V1__WorkerSpec>());
        *specs_.back() = MUSTER__V1__WORKER_SPEC__INIT;
        specs_.back()->worker_id = strings_.back()->data();
        workers_.push_back(std::make_unique<Muster__V1__Worker>());
        auto *worker = workers_.back().get();
        *worker = MUSTER__V1__WORKER__INIT;
        worker->spec = specs_.back().get();
        worker->incarnation = record.incarnation;
        worker->status = record.status;
        worker->draining = record.draining;
        names_.push_back(std::make_unique<std::vector<char *>>());
        for (const auto &name : record.assigned) {
            strings_.push_back(std::make_unique<std::string>(name));
            names_.back()->push_back(strings_.back()->data());
        }
        worker->n_assigned_services = names_.back()->size();
        worker->assigned_services = names_.back()->data();
        return worker;
    }

private:
    Muster__V1__WorkerEvent *Event(Muster__V1__WorkerEventType type, const Record &record)
    {
        auto *event = new Muster__V1__WorkerEvent();
        *event = MUSTER__V1__WORKER_EVENT__INIT;
        strings_.push_back(std::make_unique<std::string>(record.id));
        event->type = type;
        event->worker_id = strings_.back()->data();
        event->incarnation = record.incarnation;
        events_.push_back(event);
        return event;
    }
    Muster__V1__WatchWorkersResponse message_ = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
    std::vector<Muster__V1__WorkerEvent *> events_;
    std::vector<std::unique_ptr<std::string>> strings_;
    std::vector<std::unique_ptr<Muster__V1__WorkerSpec>> specs_;
    std::vector<std::unique_ptr<Muster__V1__Worker>> workers_;
    std::vector<std::unique_ptr<std::vector<char *>>> names_;
};

class HealthTest : public ::testing::Test {
protected:
    void SetUp() override
    {
        detector_settings settings = {90000, 120000, 5000};
        health_ = health_create(&settings, now_);
        ASSERT_NE(health_, nullptr);
    }
    void TearDown() override
    {
        EXPECT_TRUE(health_check(health_));
        health_destroy(health_);
    }

    void To(uint64_t ms)
    {
        now_ = kStart + ms;
        health_advance(health_, now_);
    }
    // An empty roll, complete.
    void Synchronise() { ASSERT_TRUE(Apply(WatchMessage(1).Begin().Complete())); }
    bool Apply(WatchMessage &message) { return health_apply_watch(health_, message.Get(), now_); }
    bool Put(const Record &record)
    {
        WatchMessage message(++revision_);
        return Apply(message.Put(record));
    }
    Muster__V1__WorkerStatus Status(const char *id) { return health_worker_status(health_, id); }

    struct Beat {
        std::string id;
        uint64_t incarnation = 1;
        Muster__V1__WorkerStatus status = WORKER_STATUS_UNKNOWN;
        double load = -1;
    };
    health_message_result Send(health_stream *stream, const std::vector<Beat> &beats, bool relayed = false,
                               uint64_t sequence = 0)
    {
        std::vector<Muster__V1__Heartbeat> heartbeats(beats.size(), MUSTER__V1__HEARTBEAT__INIT);
        std::vector<Muster__V1__Load> loads(beats.size(), MUSTER__V1__LOAD__INIT);
        std::vector<Muster__V1__Heartbeat *> pointers;
        std::vector<std::string> ids;
        for (const auto &beat : beats)
            ids.push_back(beat.id);
        for (size_t i = 0; i < beats.size(); i++) {
            heartbeats[i].worker_id = ids[i].data();
            heartbeats[i].incarnation = beats[i].incarnation;
            heartbeats[i].status = beats[i].status;
            loads[i].current_load = beats[i].load;
            if (beats[i].load >= 0)
                heartbeats[i].load = &loads[i];
            pointers.push_back(&heartbeats[i]);
        }
        Muster__V1__HeartbeatRequest request = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
        request.n_heartbeats = pointers.size();
        request.heartbeats = pointers.data();
        request.relayed = relayed;
        request.sequence = sequence != 0 ? sequence : ++sequence_;
        return health_stream_message(health_, stream, &request, now_);
    }
    // What the stream says now; false: nothing.
    bool Take(health_stream *stream, Answer *answer)
    {
        Muster__V1__HeartbeatResponse response;
        if (!health_stream_response(health_, stream, &response))
            return false;
        answer->acknowledged = response.acknowledged_sequence;
        answer->commands.clear();
        for (size_t i = 0; i < response.n_commands; i++) {
            const auto *command = response.commands[i];
            Command copy{command->sequence, command->index, command->worker_id, command->type, {}};
            for (size_t j = 0; j < command->n_assigned_services; j++)
                copy.assigned.emplace_back(command->assigned_services[j]);
            answer->commands.push_back(copy);
        }
        return true;
    }
    // Everything that the registry would be told now; answered with `taken`.
    std::map<std::string, Muster__V1__WorkerStatus> Report(bool taken = true)
    {
        std::map<std::string, Muster__V1__WorkerStatus> result;
        Muster__V1__ReportLivenessRequest request;
        if (!health_fill_liveness(health_, 1000, now_, &request))
            return result;
        for (size_t i = 0; i < request.n_changes; i++)
            result[request.changes[i]->worker_id] = request.changes[i]->status;
        health_liveness_answered(health_, taken);
        return result;
    }
    // What a watcher is sent now, through packing as the wire does it.
    std::map<std::string, Seen> Watch(health_watcher *watcher, bool *complete = nullptr, size_t limit = 100)
    {
        std::map<std::string, Seen> result;
        Muster__V1__WatchHealthResponse response;
        if (complete != nullptr)
            *complete = false;
        if (!health_watcher_fill(health_, watcher, limit, now_, kUnix + static_cast<int64_t>(now_), &response))
            return result;
        std::vector<uint8_t> bytes(muster__v1__watch_health_response__get_packed_size(&response));
        muster__v1__watch_health_response__pack(&response, bytes.data());
        auto *unpacked = muster__v1__watch_health_response__unpack(nullptr, bytes.size(), bytes.data());
        EXPECT_NE(unpacked, nullptr);
        for (size_t i = 0; i < unpacked->n_workers; i++) {
            const auto *worker = unpacked->workers[i];
            EXPECT_EQ(result.count(worker->worker_id), 0u) << "told twice in one message";
            result[worker->worker_id] = {worker->status, worker->incarnation, worker->reason,
                                         worker->last_heartbeat_at_ms, worker->load != nullptr,
                                         worker->load != nullptr ? worker->load->current_load : -1};
        }
        if (complete != nullptr)
            *complete = unpacked->snapshot_complete;
        muster__v1__watch_health_response__free_unpacked(unpacked, nullptr);
        return result;
    }
    std::vector<std::string> Lookup()
    {
        Muster__V1__GetWorkersRequest request;
        std::vector<std::string> ids;
        if (health_fill_lookup(health_, &request))
            ids.assign(request.worker_ids, request.worker_ids + request.n_worker_ids);
        return ids;
    }
    void AnswerLookup(const std::vector<Record> &records, uint64_t revision)
    {
        WatchMessage memory(0);
        std::vector<Muster__V1__Worker *> workers;
        for (const auto &record : records)
            workers.push_back(memory.Worker(record));
        Muster__V1__GetWorkersResponse response = MUSTER__V1__GET_WORKERS_RESPONSE__INIT;
        response.n_workers = workers.size();
        response.workers = workers.data();
        response.revision = revision;
        health_lookup_answered(health_, &response, now_);
    }

    uint64_t now_ = kStart;
    uint64_t revision_ = 1;
    uint64_t sequence_ = 0;
    health *health_ = nullptr;
};

// --- Leases ---

TEST_F(HealthTest, SilenceDegradesAfter90SecondsAndRemovesAfter120)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    To(89999);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(90000);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    To(119999);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    To(120000);
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
    EXPECT_EQ(health_next_ms(health_), UINT64_MAX);
}

TEST_F(HealthTest, AHeartbeatRenewsTheLeaseWithoutMovingTheTimer)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    To(60000);
    uint64_t before = health_next_ms(health_);
    Send(stream, {{"w"}});
    EXPECT_EQ(health_next_ms(health_), before);
    To(149999);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(150000);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    Send(stream, {{"w"}});
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(240000);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    To(270000);
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ManyLeasesEndEachAtItsOwnTimeInOneAdvance)
{
    Synchronise();
    ASSERT_TRUE(Put({"a"}));
    To(10);
    ASSERT_TRUE(Put({"b"}));
    now_ = kStart + 120009;
    health_advance(health_, now_);
    EXPECT_EQ(Status("a"), WORKER_REMOVED);
    EXPECT_EQ(Status("b"), WORKER_DEGRADED);
}

TEST_F(HealthTest, WhatTheWorkerSaysOfItselfCounts)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 1, WORKER_DEGRADED}});
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    Send(stream, {{"w", 1, WORKER_DRAINING}});
    EXPECT_EQ(Status("w"), WORKER_DRAINING);
    Send(stream, {{"w", 1, WORKER_OFFLINE}}); // not for a worker to say
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, stream, now_);
}

// --- Streams that break ---

TEST_F(HealthTest, ABrokenStreamTakesTheWorkerOutAtOnceAndOffTheRollAfterTheGrace)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    To(1000);
    Send(stream, {{"w"}});
    To(3000);
    health_urgent_changes(health_);
    health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    EXPECT_TRUE(health_urgent_changes(health_));
    To(7999);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    To(8000);
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
}

TEST_F(HealthTest, AnyHeartbeatEndsTheGrace)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *first = health_stream_open(health_, nullptr);
    Send(first, {{"w"}});
    health_stream_closed(health_, first, now_);
    To(4999);
    auto *gateway = health_stream_open(health_, nullptr);
    sequence_ = 0;
    Send(gateway, {{"w"}}, true);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(20000);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, gateway, now_); // it only spoke for the worker
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(94998);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(94999);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
}

TEST_F(HealthTest, AnOldStreamThatBreaksDoesNotMatterToAWorkerHeardElsewhere)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *old_stream = health_stream_open(health_, nullptr);
    auto *new_stream = health_stream_open(health_, nullptr);
    Send(old_stream, {{"w"}});
    Send(new_stream, {{"w"}});
    health_stream_closed(health_, old_stream, now_);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, new_stream, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
}

TEST_F(HealthTest, TheOldStreamOfAWorkerThatRegisteredAgainDoesNotMatter)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 1}});
    ASSERT_TRUE(Put({"w", 2}));
    health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
}

TEST_F(HealthTest, SilenceBeforeTheBreakCountsToo)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    To(118000);
    health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    To(120000); // not 123000
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
}

// --- Acknowledgements and commands ---

TEST_F(HealthTest, AcknowledgementsAreGatheredAndNeverRepeated)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, this);
    EXPECT_EQ(health_stream_user(stream), this);
    Send(stream, {{"w"}}, false, 3);
    Send(stream, {{"w"}}, false, 7);
    EXPECT_EQ(health_next_ready_stream(health_), stream);
    EXPECT_EQ(health_next_ready_stream(health_), nullptr);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.acknowledged, 7u);
    EXPECT_TRUE(answer.commands.empty());
    EXPECT_FALSE(Take(stream, &answer));
    EXPECT_EQ(Send(stream, {{"w"}}, false, 7), HEALTH_MESSAGE_BAD_SEQUENCE);
    EXPECT_EQ(Send(stream, std::vector<Beat>(HEALTH_MESSAGE_HEARTBEATS_MAX + 1, Beat{"w"}), false, 8),
              HEALTH_MESSAGE_TOO_MANY);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AStaleIncarnationIsToldSoAndDoesNotRenew)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 3}));
    auto *stream = health_stream_open(health_, nullptr);
    To(50000);
    Send(stream, {{"x", 0}, {"w", 2}, {"w", 0}});
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION);
    EXPECT_EQ(answer.commands[0].sequence, 1u);
    EXPECT_EQ(answer.commands[0].index, 1u);
    EXPECT_EQ(answer.commands[0].worker, "w");
    EXPECT_EQ(answer.acknowledged, 0u); // "x" waits for the registry
    EXPECT_EQ(health_count(health_).stale, 1u);
    To(139999); // incarnation 0 was accepted at 50,000
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(140000);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ANewAssignmentGoesOverTheStreamOnItsOwn)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr"}}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty()) << "the registration's answer said it already";
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr", "llm"}}));
    ASSERT_EQ(health_next_ready_stream(health_), stream);
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].sequence, 0u);
    EXPECT_EQ(answer.commands[0].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"ocr", "llm"}));
    EXPECT_EQ(answer.acknowledged, 1u);
    EXPECT_FALSE(Take(stream, &answer));
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, WithoutAStreamTheAssignmentWaitsForTheNextHeartbeat)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr"}}));
    auto *gateway = health_stream_open(health_, nullptr);
    Send(gateway, {{"w"}}, true);
    Answer answer;
    ASSERT_TRUE(Take(gateway, &answer));
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"llm"}}));
    EXPECT_FALSE(Take(gateway, &answer));
    Send(gateway, {{"w"}}, true);
    ASSERT_TRUE(Take(gateway, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].sequence, 2u);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"llm"}));
    Send(gateway, {{"w"}}, true);
    ASSERT_TRUE(Take(gateway, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, gateway, now_);
}

TEST_F(HealthTest, AnAssignmentThatMayBeLostWithItsStreamIsToldAgain)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr"}}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"llm"}}));
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.commands.size(), 1u);
    health_stream_closed(health_, stream, now_);
    stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}}, false, 1);
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"llm"}));
    EXPECT_FALSE(Take(stream, &answer)); // it went out
    health_stream_closed(health_, stream, now_);
    stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}}, false, 1);
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, DrainAndUndrainAreToldUntilTheWorkerSaysSo)
{
    constexpr auto kDrain = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_DRAIN;
    constexpr auto kUndrain = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_UNDRAIN;
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    auto told = [&]() -> std::vector<Muster__V1__WorkerCommandType> {
        Answer answer;
        std::vector<Muster__V1__WorkerCommandType> types;
        Take(stream, &answer);
        for (const auto &command : answer.commands)
            types.push_back(command.type);
        return types;
    };
    using Types = std::vector<Muster__V1__WorkerCommandType>;
    Send(stream, {{"w"}});
    EXPECT_EQ(told(), Types{});
    Send(stream, {{"w", 1, WORKER_DRAINING}}); // of its own accord
    EXPECT_EQ(told(), Types{});
    Send(stream, {{"w"}});
    EXPECT_EQ(told(), Types{});
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {}, true}));
    EXPECT_EQ(told(), Types{kDrain}); // at once, over the stream
    Send(stream, {{"w"}});
    EXPECT_EQ(told(), Types{kDrain}) << "it does not seem to know";
    Send(stream, {{"w", 1, WORKER_DRAINING}});
    EXPECT_EQ(told(), Types{});
    ASSERT_TRUE(Put({"w", 1, WORKER_DRAINING, {}, false}));
    EXPECT_EQ(told(), Types{kUndrain});
    Send(stream, {{"w", 1, WORKER_DRAINING}});
    EXPECT_EQ(told(), Types{kUndrain});
    Send(stream, {{"w"}});
    EXPECT_EQ(told(), Types{});
    // One that registers again and still believes that it is to drain is told that it is not.
    ASSERT_TRUE(Put({"w", 2}));
    Send(stream, {{"w", 2, WORKER_DRAINING}});
    EXPECT_EQ(told(), Types{kUndrain});
    // And one that is to drain still is.
    ASSERT_TRUE(Put({"w", 3, WORKER_ONLINE, {}, true}));
    Send(stream, {{"w", 3}});
    EXPECT_EQ(told(), Types{kDrain});
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AfterARestartOfHealthTheAssignmentIsToldOnce)
{
    WatchMessage message(9);
    ASSERT_TRUE(Apply(message.Begin().Put({"w", 4, WORKER_ONLINE, {"ocr"}}).Complete()));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 4}});
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"ocr"}));
    Send(stream, {{"w", 4}});
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
}

// --- Unknown ids ---

TEST_F(HealthTest, AnUnknownIdIsAskedForBeforeItIsToldToRegisterAgain)
{
    Synchronise();
    ASSERT_TRUE(Put({"known"}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"known"}, {"ghost"}, {"late"}});
    Send(stream, {{"known"}});
    Answer answer;
    EXPECT_FALSE(Take(stream, &answer)) << "nothing is acknowledged before the registry answered";
    EXPECT_FALSE(health_stream_is_settled(stream));
    EXPECT_EQ(Lookup(), (std::vector<std::string>{"ghost", "late"}));
    EXPECT_EQ(Lookup(), std::vector<std::string>{}) << "one question at a time";
    AnswerLookup({{"late", 2}}, 100);
    EXPECT_TRUE(health_stream_is_settled(stream));
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.acknowledged, 2u);
    ASSERT_EQ(answer.commands.size(), 2u);
    EXPECT_EQ(answer.commands[0].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN);
    EXPECT_EQ(answer.commands[0].worker, "ghost");
    EXPECT_EQ(answer.commands[0].index, 1u);
    EXPECT_EQ(answer.commands[0].sequence, 1u);
    EXPECT_EQ(answer.commands[1].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION);
    EXPECT_EQ(Status("late"), WORKER_ONLINE);
    EXPECT_EQ(Status("ghost"), WORKER_STATUS_UNKNOWN);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, WhenTheRegistryCannotBeAskedTheHeartbeatIsJustTaken)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"ghost"}});
    ASSERT_EQ(Lookup().size(), 1u);
    health_lookup_answered(health_, nullptr, now_);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.acknowledged, 1u);
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AWorkerThatConnectedWhileTheRegistryWasAwayIsAskedForAgain)
{
    auto *direct = health_stream_open(health_, nullptr);
    auto *gateway = health_stream_open(health_, nullptr);
    Send(direct, {{"w"}, {"ghost"}}, false, 1);
    Send(gateway, {{"other"}}, true, 1);
    ASSERT_EQ(Lookup().size(), 3u);
    health_lookup_answered(health_, nullptr, now_);
    Answer answer;
    ASSERT_TRUE(Take(direct, &answer));
    EXPECT_EQ(answer.acknowledged, 1u);
    EXPECT_TRUE(health_stream_is_settled(direct));
    EXPECT_EQ(Lookup().size(), 0u);
    EXPECT_TRUE(health_check(health_));
    To(499);
    EXPECT_EQ(Lookup().size(), 0u);
    To(500);
    WatchMessage message(9); // the watch may be there first
    ASSERT_TRUE(Apply(message.Begin().Put({"w", 1, WORKER_RECONNECTING}).Complete()));
    EXPECT_EQ(Lookup(), (std::vector<std::string>{"w", "ghost"}));
    AnswerLookup({{"w", 1, WORKER_RECONNECTING}}, 9);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    ASSERT_TRUE(Take(direct, &answer));
    ASSERT_EQ(answer.commands.size(), 2u); // "w" is told its assignment, as after a restart of health
    EXPECT_EQ(answer.commands[1].worker, "ghost");
    EXPECT_EQ(answer.commands[1].sequence, 0u);
    EXPECT_EQ(answer.commands[1].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN);
    health_stream_closed(health_, direct, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    health_stream_closed(health_, gateway, now_);
}

TEST_F(HealthTest, AReleasedLookupEndsWithItsStream)
{
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    ASSERT_EQ(Lookup().size(), 1u);
    health_lookup_answered(health_, nullptr, now_);
    health_stream_closed(health_, stream, now_);
    To(500);
    EXPECT_EQ(Lookup().size(), 0u);
    EXPECT_EQ(health_next_ms(health_), UINT64_MAX);
}

TEST_F(HealthTest, AnAnswerOlderThanTheWatchDecidesNothing)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"gone"}, {"absent"}});
    ASSERT_EQ(Lookup().size(), 2u);
    WatchMessage message(50);
    ASSERT_TRUE(Apply(message.Remove("gone", 1)));
    AnswerLookup({{"gone", 1}}, 49);
    EXPECT_EQ(Status("gone"), WORKER_STATUS_UNKNOWN);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, TheWatchMayBringTheWorkerWhileTheRegistryIsAsked)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    ASSERT_EQ(Lookup().size(), 1u);
    ASSERT_TRUE(Put({"w"}));
    AnswerLookup({}, revision_);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE) << "its stream was its source";
}

TEST_F(HealthTest, AStreamMayGoWhileItsIdsAreAskedFor)
{
    Synchronise();
    auto *first = health_stream_open(health_, nullptr);
    auto *second = health_stream_open(health_, nullptr);
    Send(first, {{"a"}});
    ASSERT_EQ(Lookup().size(), 1u);
    Send(second, {{"b"}});
    health_stream_closed(health_, first, now_);
    health_stream_closed(health_, second, now_);
    AnswerLookup({{"a"}}, 100);
    EXPECT_EQ(Lookup().size(), 0u);
}

TEST_F(HealthTest, LookupsThatWaitAreBounded)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    std::vector<Beat> beats(HEALTH_MESSAGE_HEARTBEATS_MAX, Beat{"ghost"});
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(Send(stream, beats), HEALTH_MESSAGE_TAKEN);
    size_t asked = 0;
    for (size_t n = Lookup().size(); n != 0; n = Lookup().size()) {
        EXPECT_LE(n, static_cast<size_t>(HEALTH_LOOKUP_IDS_MAX));
        asked += n;
        AnswerLookup({}, 100);
    }
    EXPECT_EQ(asked, static_cast<size_t>(HEALTH_LOOKUPS_WAITING_MAX));
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.acknowledged, 3u);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AnImpossibleIdIsNotAskedFor)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{""}, {std::string(257, 'x')}});
    EXPECT_EQ(Lookup().size(), 0u);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.commands.size(), 2u);
    health_stream_closed(health_, stream, now_);
}

// --- The registry is told ---

TEST_F(HealthTest, TheLatestStateIsReportedOnce)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    EXPECT_TRUE(Report().empty()) << "the registry knows that it registered";
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 1, WORKER_DEGRADED}});
    Send(stream, {{"w", 1, WORKER_DRAINING}});
    auto report = Report();
    ASSERT_EQ(report.size(), 1u);
    EXPECT_EQ(report["w"], WORKER_DRAINING);
    EXPECT_TRUE(Report().empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ARemovalWaitsForTheRegistryAndEndsWithIt)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    To(90000);
    EXPECT_EQ(Report()["w"], WORKER_DEGRADED);
    To(120000);
    EXPECT_EQ(Report(false)["w"], WORKER_REMOVED);
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
    EXPECT_EQ(Report(false)["w"], WORKER_REMOVED);
    EXPECT_EQ(Report(true)["w"], WORKER_REMOVED);
    EXPECT_EQ(Status("w"), WORKER_STATUS_UNKNOWN);
    EXPECT_EQ(health_liveness_waiting(health_), 0u);
}

TEST_F(HealthTest, AWorkerHeardBeforeItsRemovalWasTakenStays)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    To(120000);
    EXPECT_EQ(Report(false)["w"], WORKER_REMOVED);
    Send(stream, {{"w"}});
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    auto report = Report();
    EXPECT_EQ(report["w"], WORKER_ONLINE);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AChangeDuringAReportComesAfterIt)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    To(120000);
    Muster__V1__ReportLivenessRequest request;
    ASSERT_TRUE(health_fill_liveness(health_, 10, now_, &request));
    Send(stream, {{"w"}});
    Muster__V1__ReportLivenessRequest second;
    EXPECT_FALSE(health_fill_liveness(health_, 10, now_, &second)) << "one report at a time";
    health_liveness_answered(health_, true);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    EXPECT_EQ(Report()["w"], WORKER_ONLINE);
    // The registry had removed it: the event comes, and the worker must register again.
    WatchMessage message(++revision_);
    ASSERT_TRUE(Apply(message.Remove("w", 1)));
    EXPECT_EQ(Status("w"), WORKER_STATUS_UNKNOWN);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ARestartedRegistryIsToldWhoWasHeard)
{
    Synchronise();
    ASSERT_TRUE(Put({"heard"}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"heard"}});
    To(1000);
    health_watch_begin(health_);
    WatchMessage message(1000);
    ASSERT_TRUE(Apply(message.Begin()
                          .Put({"heard", 1, WORKER_RECONNECTING})
                          .Put({"new", 1, WORKER_RECONNECTING})
                          .Complete()));
    EXPECT_EQ(Status("heard"), WORKER_ONLINE);
    EXPECT_EQ(Status("new"), WORKER_RECONNECTING);
    auto report = Report();
    ASSERT_EQ(report.size(), 1u);
    EXPECT_EQ(report["heard"], WORKER_ONLINE);
    Send(stream, {{"new"}});
    EXPECT_EQ(Report()["new"], WORKER_ONLINE);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AWorkerThatWasNotHeardYetIsAsTheRegistrySays)
{
    WatchMessage first(5);
    ASSERT_TRUE(Apply(first.Begin().Put({"w"}).Complete()));
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    // The registry restarts before the first heartbeat: that must become a change to report.
    health_watch_begin(health_);
    WatchMessage second(9);
    ASSERT_TRUE(Apply(second.Begin().Put({"w", 1, WORKER_RECONNECTING}).Complete()));
    EXPECT_EQ(Status("w"), WORKER_RECONNECTING);
    EXPECT_TRUE(Report().empty());
    WatchMessage third(10); // a late report of the health process before this one
    ASSERT_TRUE(Apply(third.Status("w", 1, WORKER_OFFLINE)));
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    EXPECT_TRUE(Report().empty());
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    EXPECT_EQ(Report()["w"], WORKER_ONLINE);
    // And one that comes when it was heard is set right.
    WatchMessage fourth(11);
    ASSERT_TRUE(Apply(fourth.Status("w", 1, WORKER_OFFLINE)));
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    EXPECT_EQ(Report()["w"], WORKER_ONLINE);
    WatchMessage fifth(12); // the echo
    ASSERT_TRUE(Apply(fifth.Status("w", 1, WORKER_ONLINE)));
    EXPECT_TRUE(Report().empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AnUnheardWorkerThatWasGivenUpStaysGivenUp)
{
    WatchMessage first(5);
    ASSERT_TRUE(Apply(first.Begin().Put({"w"}).Complete()));
    To(120000);
    EXPECT_EQ(Report(false)["w"], WORKER_REMOVED);
    health_watch_begin(health_);
    WatchMessage second(9);
    ASSERT_TRUE(Apply(second.Begin().Put({"w", 1, WORKER_RECONNECTING}).Complete()));
    EXPECT_EQ(Report()["w"], WORKER_REMOVED);
}

TEST_F(HealthTest, ARestoredWorkerKeepsItsStateUntilItIsGivenUp)
{
    WatchMessage message(5);
    ASSERT_TRUE(Apply(message.Begin()
                          .Put({"r", 1, WORKER_RECONNECTING})
                          .Put({"o", 1, WORKER_OFFLINE})
                          .Put({"d", 1, WORKER_DEGRADED})
                          .Complete()));
    To(119999);
    EXPECT_EQ(Status("r"), WORKER_RECONNECTING);
    EXPECT_EQ(Status("o"), WORKER_OFFLINE);
    EXPECT_EQ(Status("d"), WORKER_DEGRADED);
    To(120000);
    EXPECT_EQ(Status("r"), WORKER_REMOVED);
    EXPECT_EQ(Status("o"), WORKER_REMOVED);
    EXPECT_EQ(Status("d"), WORKER_REMOVED);
}

TEST_F(HealthTest, ASnapshotRemovesWhatItDoesNotName)
{
    Synchronise();
    ASSERT_TRUE(Put({"a"}));
    ASSERT_TRUE(Put({"b"}));
    EXPECT_EQ(health_watch_begin(health_), revision_);
    WatchMessage first(0);
    ASSERT_TRUE(Apply(first.Begin().Put({"b"})));
    EXPECT_EQ(Status("a"), WORKER_ONLINE) << "not before the snapshot is complete";
    // It breaks off, and a new one says more.
    health_watch_begin(health_);
    WatchMessage second(0);
    ASSERT_TRUE(Apply(second.Begin().Put({"c"})));
    WatchMessage third(77);
    ASSERT_TRUE(Apply(third.Put({"d"}).Complete()));
    EXPECT_EQ(Status("a"), WORKER_STATUS_UNKNOWN);
    EXPECT_EQ(Status("b"), WORKER_STATUS_UNKNOWN);
    EXPECT_EQ(Status("c"), WORKER_ONLINE);
    EXPECT_EQ(Status("d"), WORKER_ONLINE);
    EXPECT_EQ(health_watch_begin(health_), 77u);
}

TEST_F(HealthTest, AnEventOfAnEarlierIncarnationIsPassedOver)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 5}));
    WatchMessage message(90);
    ASSERT_TRUE(Apply(message.Put({"w", 4, WORKER_OFFLINE}).Remove("w", 4)));
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
}

// --- Watchers ---

TEST_F(HealthTest, AWatcherGetsASnapshotThenOnlyChanges)
{
    Synchronise();
    for (const char *id : {"a", "b", "c"})
        ASSERT_TRUE(Put({id}));
    auto *watcher = health_watcher_open(health_);
    bool complete = true;
    EXPECT_EQ(Watch(watcher, &complete, 2).size(), 2u);
    EXPECT_FALSE(complete);
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, 0.5}}); // sent already: it comes again, behind "c"
    auto seen = Watch(watcher, &complete, 2);
    EXPECT_EQ(seen.size(), 2u);
    EXPECT_TRUE(complete);
    EXPECT_EQ(seen["a"].load, 0.5);
    EXPECT_TRUE(Watch(watcher, &complete).empty());
    EXPECT_FALSE(complete);
    To(2000);
    Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, 0.5}});
    Send(stream, {{"b", 1, WORKER_STATUS_UNKNOWN, 0.25}});
    Send(stream, {{"b", 1, WORKER_STATUS_UNKNOWN, 0.75}});
    seen = Watch(watcher);
    ASSERT_EQ(seen.size(), 2u);
    EXPECT_FALSE(seen["a"].has_load) << "unchanged";
    EXPECT_EQ(seen["a"].heard, kUnix + static_cast<int64_t>(now_));
    EXPECT_EQ(seen["b"].load, 0.75);
    health_stream_closed(health_, stream, now_);
    seen = Watch(watcher);
    EXPECT_EQ(seen["a"].status, WORKER_OFFLINE);
    EXPECT_EQ(seen["a"].reason, "stream broken");
    EXPECT_EQ(seen.count("c"), 0u);
    health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, WatchersDoNotDependOnEachOther)
{
    Synchronise();
    ASSERT_TRUE(Put({"a"}));
    auto *slow = health_watcher_open(health_);
    auto *fast = health_watcher_open(health_);
    auto *stream = health_stream_open(health_, nullptr);
    for (int i = 1; i <= 5; i++) {
        Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, i / 10.0}});
        auto seen = Watch(fast);
        EXPECT_EQ(seen["a"].load, i / 10.0);
        EXPECT_TRUE(health_check(health_));
    }
    auto seen = Watch(slow);
    EXPECT_EQ(seen["a"].load, 0.5);
    // A load that the fast one has, and the slow one not, is still sent to the slow one
    // after a heartbeat that did not change it.
    Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, 0.9}});
    EXPECT_EQ(Watch(fast)["a"].load, 0.9);
    Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, 0.9}});
    EXPECT_FALSE(Watch(fast)["a"].has_load);
    EXPECT_EQ(Watch(slow)["a"].load, 0.9);
    health_watcher_close(health_, slow);
    health_watcher_close(health_, fast);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, WatchersHearOfRemovals)
{
    Synchronise();
    for (const char *id : {"a", "b"})
        ASSERT_TRUE(Put({id}));
    auto *watcher = health_watcher_open(health_);
    auto *other = health_watcher_open(health_);
    Watch(watcher);
    WatchMessage message(40);
    ASSERT_TRUE(Apply(message.Remove("a", 1)));
    EXPECT_TRUE(health_check(health_));
    auto seen = Watch(watcher);
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen["a"].status, WORKER_REMOVED);
    ASSERT_TRUE(Put({"a", 2})); // back before the other watcher heard of anything
    EXPECT_TRUE(health_check(health_));
    bool complete = false;
    seen = Watch(other, &complete);
    EXPECT_TRUE(complete);
    EXPECT_EQ(seen["a"].incarnation, 2u);
    EXPECT_EQ(seen.size(), 2u) << "it never knew the first one";
    EXPECT_EQ(Watch(watcher)["a"].status, WORKER_ONLINE);
    ASSERT_TRUE(Apply(WatchMessage(41).Remove("b", 1)));
    health_watcher_close(health_, watcher);
    EXPECT_TRUE(health_check(health_));
    health_watcher_close(health_, other);
    EXPECT_TRUE(health_check(health_));
}

TEST_F(HealthTest, ASnapshotIsNotCompleteBeforeTheRegistrysIs)
{
    auto *watcher = health_watcher_open(health_);
    bool complete = true;
    Watch(watcher, &complete);
    EXPECT_FALSE(complete);
    WatchMessage first(0);
    ASSERT_TRUE(Apply(first.Begin().Put({"a"})));
    EXPECT_EQ(Watch(watcher, &complete).size(), 1u);
    EXPECT_FALSE(complete);
    ASSERT_TRUE(Apply(WatchMessage(3).Complete()));
    EXPECT_TRUE(health_urgent_changes(health_));
    Watch(watcher, &complete);
    EXPECT_TRUE(complete);
    health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, TheNumberOfWatchersIsLimitedAndPlacesAreUsedAgain)
{
    Synchronise();
    ASSERT_TRUE(Put({"a"}));
    std::vector<health_watcher *> watchers;
    for (int i = 0; i < HEALTH_WATCHERS_MAX; i++)
        watchers.push_back(health_watcher_open(health_));
    EXPECT_EQ(health_watcher_open(health_), nullptr);
    Watch(watchers[5]);
    health_watcher_close(health_, watchers[5]);
    watchers[5] = health_watcher_open(health_);
    ASSERT_NE(watchers[5], nullptr);
    bool complete = false;
    EXPECT_EQ(Watch(watchers[5], &complete).size(), 1u);
    EXPECT_TRUE(complete);
    for (auto *watcher : watchers)
        health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, AWatcherThatDoesNotReadIsFoundOut)
{
    Synchronise();
    auto *stuck = health_watcher_open(health_);
    auto *reader = health_watcher_open(health_);
    for (uint64_t i = 0; i <= 10000; i++) {
        EXPECT_FALSE(health_watcher_is_too_slow(health_, stuck));
        ASSERT_TRUE(Put({"w", i + 1}));
        ASSERT_TRUE(Apply(WatchMessage(++revision_).Remove("w", i + 1)));
        Watch(reader);
    }
    EXPECT_TRUE(health_watcher_is_too_slow(health_, stuck));
    EXPECT_FALSE(health_watcher_is_too_slow(health_, reader));
    health_watcher_close(health_, stuck);
    EXPECT_FALSE(health_watcher_is_too_slow(health_, reader));
    health_watcher_close(health_, reader);
}

TEST_F(HealthTest, ALongLoadSurvivesPacking)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *watcher = health_watcher_open(health_);
    auto *stream = health_stream_open(health_, nullptr);
    for (size_t bytes : {1u, 126u, 127u, 128u, 300u, 20000u, 70000u, 5u}) {
        std::string specialization(bytes, 's');
        std::string id = "w";
        Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
        load.specialization = specialization.data();
        Muster__V1__Heartbeat heartbeat = MUSTER__V1__HEARTBEAT__INIT;
        heartbeat.worker_id = id.data();
        heartbeat.load = &load;
        Muster__V1__Heartbeat *pointer = &heartbeat;
        Muster__V1__HeartbeatRequest request = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
        request.n_heartbeats = 1;
        request.heartbeats = &pointer;
        request.sequence = ++sequence_;
        health_stream_message(health_, stream, &request, now_);
        Muster__V1__WatchHealthResponse response;
        ASSERT_TRUE(health_watcher_fill(health_, watcher, 10, now_, kUnix, &response));
        std::vector<uint8_t> packed(muster__v1__watch_health_response__get_packed_size(&response));
        muster__v1__watch_health_response__pack(&response, packed.data());
        auto *unpacked = muster__v1__watch_health_response__unpack(nullptr, packed.size(), packed.data());
        ASSERT_NE(unpacked, nullptr);
        ASSERT_EQ(unpacked->n_workers, 1u);
        if (bytes == 70000u) // refused: too long to be a load
            EXPECT_EQ(unpacked->workers[0]->load, nullptr);
        else
            EXPECT_EQ(std::string(unpacked->workers[0]->load->specialization), specialization);
        muster__v1__watch_health_response__free_unpacked(unpacked, nullptr);
    }
    health_stream_closed(health_, stream, now_);
    health_watcher_close(health_, watcher);
}

} // namespace
