// The core of muster-health under test: feeds it messages and takes what it says.

#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "services/health/health.h"
}

namespace health_test
{

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
class WatchMessage
{
  public:
    explicit WatchMessage(uint64_t revision)
    {
        message_.revision = revision;
    }
    ~WatchMessage()
    {
        for (auto *event : events_) {
            event->worker_id = nullptr;
            delete event;
        }
    }
    WatchMessage &Begin()
    {
        message_.snapshot_begin = 1;
        return *this;
    }
    WatchMessage &Complete()
    {
        message_.snapshot_complete = 1;
        return *this;
    }
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

class HealthTest : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        health_settings settings = Settings();
        health_ = health_create(&settings, now_);
        ASSERT_NE(health_, nullptr);
    }
    void TearDown() override
    {
        EXPECT_TRUE(health_check(health_));
        health_destroy(health_);
    }

    virtual health_settings Settings() const
    {
        return {{90000, 120000, 5000}, {}, {}, 0};
    }
    void To(uint64_t ms)
    {
        now_ = kStart + ms;
        health_advance(health_, now_);
    }
    // An empty roll, complete.
    void Synchronise()
    {
        ASSERT_TRUE(Apply(WatchMessage(1).Begin().Complete()));
    }
    bool Apply(WatchMessage &message)
    {
        return health_apply_watch(health_, message.Get(), now_);
    }
    bool Put(const Record &record)
    {
        WatchMessage message(++revision_);
        return Apply(message.Put(record));
    }
    Muster__V1__WorkerStatus Status(const char *id)
    {
        return health_worker_status(health_, id);
    }

    struct Beat {
        std::string id;
        uint64_t incarnation = 1;
        Muster__V1__WorkerStatus status = WORKER_STATUS_UNKNOWN;
        double load = -1;
        bool answer_missed = false;
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
            heartbeats[i].answer_missed = beats[i].answer_missed;
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
            result[worker->worker_id] = {
                worker->status,          worker->incarnation,
                worker->reason,          worker->last_heartbeat_at_ms,
                worker->load != nullptr, worker->load != nullptr ? worker->load->current_load : -1};
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

} // namespace health_test
