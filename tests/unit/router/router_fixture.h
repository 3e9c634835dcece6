// What the tests of the router's core share: records and reports in short, and a router with one watcher, whose clock
// the test turns.

#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

extern "C" {
#include "common/worker_status.h"
#include "services/router/router.h"
}

#include "tests/routes/route_table.h"

namespace router_test
{

constexpr uint64_t kStart = 5000000;
constexpr auto kGpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
constexpr auto kCpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;

struct Announced {
    std::string name;
    std::string url = {};
};

struct Record {
    std::string id;
    std::vector<std::string> assigned = {};
    std::vector<Announced> announced = {};
    uint64_t incarnation = 1;
    Muster__V1__WorkerStatus status = WORKER_ONLINE;
    bool draining = false;
    Muster__V1__WorkerType type = kCpu;
    std::string url = "http://default";
};

struct Health {
    std::string id;
    Muster__V1__WorkerStatus status = WORKER_ONLINE;
    double load = -1; // below 0: none is sent
    std::vector<std::pair<std::string, std::string>> states = {};
    uint64_t incarnation = 1;
    std::string reason = {};
    uint32_t waiting = 0;
};

struct Service {
    std::string name;
    Muster__V1__WorkerType required = kCpu;
    std::vector<std::string> aliases = {};
    std::string path = {};
    std::string probe = {}; // its path; empty: none
};

// Keeps what messages point at.
class Memory
{
  public:
    char *Text(const std::string &text)
    {
        texts_.push_back(text);
        return texts_.back().data();
    }
    template <typename T> T *New(const T &value)
    {
        auto memory = std::make_shared<T>(value);
        kept_.push_back(memory);
        return memory.get();
    }
    template <typename T> T **Pointers(const std::vector<T *> &pointers)
    {
        auto memory = std::make_shared<std::vector<T *>>(pointers);
        kept_.push_back(memory);
        return memory->data();
    }

  private:
    std::deque<std::string> texts_;
    std::vector<std::shared_ptr<void>> kept_;
};

class RouterTest : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        router_ = router_create(&policy_least_loaded, 1, now_);
    }
    void TearDown() override
    {
        if (watcher_ != nullptr)
            router_watcher_close(router_, watcher_);
        router_destroy(router_);
    }

    // --- What the router is told ---

    Muster__V1__WorkerEvent *Put(Memory &memory, const Record &record)
    {
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        spec.worker_id = memory.Text(record.id);
        spec.tunnel_url = memory.Text(record.url);
        std::vector<Muster__V1__AnnouncedService *> services;
        for (const auto &announced : record.announced) {
            Muster__V1__AnnouncedService service = MUSTER__V1__ANNOUNCED_SERVICE__INIT;
            service.name = memory.Text(announced.name);
            service.url = memory.Text(announced.url);
            services.push_back(memory.New(service));
        }
        spec.n_services = services.size();
        spec.services = memory.Pointers(services);
        Muster__V1__Worker worker = MUSTER__V1__WORKER__INIT;
        worker.spec = memory.New(spec);
        std::vector<char *> assigned;
        for (const auto &name : record.assigned)
            assigned.push_back(memory.Text(name));
        worker.n_assigned_services = assigned.size();
        worker.assigned_services = memory.Pointers(assigned);
        worker.incarnation = record.incarnation;
        worker.status = record.status;
        worker.draining = record.draining;
        worker.type = record.type;
        Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT;
        event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT;
        event.worker_id = spec.worker_id;
        event.incarnation = record.incarnation;
        event.worker = memory.New(worker);
        return memory.New(event);
    }
    Muster__V1__WorkerEvent *Remove(Memory &memory, const std::string &id, uint64_t incarnation)
    {
        Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT;
        event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE;
        event.worker_id = memory.Text(id);
        event.incarnation = incarnation;
        return memory.New(event);
    }
    void Events(const std::vector<Muster__V1__WorkerEvent *> &events, bool begin = false, bool complete = false)
    {
        Memory memory;
        Muster__V1__WatchWorkersResponse message = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
        message.revision = ++revision_;
        message.snapshot_begin = begin;
        message.snapshot_complete = complete;
        message.n_events = events.size();
        message.events = memory.Pointers(events);
        ASSERT_TRUE(router_apply_workers(router_, &message, now_));
        router_advance(router_, now_);
    }
    void Workers(const std::vector<Record> &records, bool begin = false, bool complete = false)
    {
        Memory memory;
        std::vector<Muster__V1__WorkerEvent *> events;
        for (const auto &record : records)
            events.push_back(Put(memory, record));
        Events(events, begin, complete);
    }
    void RemoveWorker(const std::string &id, uint64_t incarnation = 1)
    {
        Memory memory;
        Events({Remove(memory, id, incarnation)});
    }
    void SendHealth(const std::vector<Health> &list, bool complete = false)
    {
        Memory memory;
        std::vector<Muster__V1__WorkerHealth *> workers;
        for (const auto &health : list) {
            Muster__V1__WorkerHealth worker = MUSTER__V1__WORKER_HEALTH__INIT;
            worker.worker_id = memory.Text(health.id);
            worker.incarnation = health.incarnation;
            worker.status = health.status;
            worker.reason = memory.Text(health.reason);
            if (health.load >= 0 || !health.states.empty()) {
                Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
                load.current_load = health.load < 0 ? 0 : health.load;
                load.queue_depth = health.waiting;
                std::vector<Muster__V1__ServiceState *> states;
                for (const auto &[name, text] : health.states) {
                    Muster__V1__ServiceState state = MUSTER__V1__SERVICE_STATE__INIT;
                    state.name = memory.Text(name);
                    state.state = memory.Text(text);
                    states.push_back(memory.New(state));
                }
                load.n_services_status = states.size();
                load.services_status = memory.Pointers(states);
                worker.load = memory.New(load);
            }
            workers.push_back(memory.New(worker));
        }
        Muster__V1__WatchHealthResponse message = MUSTER__V1__WATCH_HEALTH_RESPONSE__INIT;
        message.n_workers = workers.size();
        message.workers = memory.Pointers(workers);
        message.snapshot_complete = complete;
        ASSERT_TRUE(router_apply_health(router_, &message, now_));
        router_advance(router_, now_);
    }
    void Catalog(const std::vector<Service> &list)
    {
        Memory memory;
        std::vector<Muster__V1__CatalogService *> services;
        for (const auto &entry : list) {
            Muster__V1__CatalogService service = MUSTER__V1__CATALOG_SERVICE__INIT;
            service.name = memory.Text(entry.name);
            service.requires = entry.required;
            service.path = memory.Text(entry.path);
            std::vector<char *> aliases;
            for (const auto &alias : entry.aliases)
                aliases.push_back(memory.Text(alias));
            service.n_aliases = aliases.size();
            service.aliases = memory.Pointers(aliases);
            Muster__V1__ServiceProbe probe = MUSTER__V1__SERVICE_PROBE__INIT;
            probe.path = memory.Text(entry.probe);
            probe.interval_ms = 1000;
            probe.timeout_ms = 200;
            probe.failures = 3;
            probe.successes = 2;
            if (!entry.probe.empty())
                service.probe = memory.New(probe);
            services.push_back(memory.New(service));
        }
        Muster__V1__WatchCatalogResponse message = MUSTER__V1__WATCH_CATALOG_RESPONSE__INIT;
        message.n_services = services.size();
        message.services = memory.Pointers(services);
        ASSERT_TRUE(router_apply_catalog(router_, &message, now_));
        router_advance(router_, now_);
    }
    void Fail(const std::string &id, const std::string &service, uint64_t failures, uint64_t succeeded = 0)
    {
        Memory memory;
        Muster__V1__Outcome outcome = MUSTER__V1__OUTCOME__INIT;
        outcome.worker_id = memory.Text(id);
        outcome.service = memory.Text(service);
        outcome.connection_failures = failures;
        outcome.succeeded = succeeded;
        Muster__V1__Outcome *pointer = &outcome;
        Muster__V1__ReportOutcomesRequest request = MUSTER__V1__REPORT_OUTCOMES_REQUEST__INIT;
        request.n_outcomes = 1;
        request.outcomes = &pointer;
        router_report_outcomes(router_, &request, now_);
        router_advance(router_, now_);
    }
    // Everything is there; a catalog of "ocr" (alias "o") and "llm".
    void Begin(const std::vector<Record> &records)
    {
        router_workers_begin(router_);
        router_health_begin(router_);
        Catalog({{"ocr", kCpu, {"o"}, "/x/{type}"}, {"llm", kGpu}});
        Workers(records, true, true);
        std::vector<Health> health;
        for (const auto &record : records)
            health.push_back({record.id, record.status, 0.0, {}, record.incarnation});
        SendHealth(health, true);
        Return();
        Watch();
    }
    void To(uint64_t ms)
    {
        now_ = kStart + ms;
        router_advance(router_, now_);
    }

    // --- What it says ---

    // Takes all that there is into table_; false: there is nothing.
    bool Watch()
    {
        table_.Forget();
        while (WatchOnce())
            ;
        EXPECT_FALSE(table_.in_snapshot);
        return table_.messages > 0;
    }
    bool WatchOnce()
    {
        Muster__V1__WatchRoutesResponse response;
        if (!router_watcher_fill(router_, watcher_, &response))
            return false;
        table_.Take(response);
        EXPECT_EQ(table_.complaint, "");
        EXPECT_LE(table_.largest, static_cast<size_t>(ROUTER_PIECE_CHANGES));
        return true;
    }
    // The connection is lost; and comes up again, when the watcher says where it was.
    void Leave()
    {
        router_watcher_close(router_, watcher_);
        watcher_ = nullptr;
    }
    void Return()
    {
        auto request = table_.Position();
        watcher_ = router_watcher_open(router_, &request);
    }
    // What the router tells somebody who knows nothing.
    RouteTable Truth()
    {
        RouteTable table;
        Muster__V1__WatchRoutesResponse response;
        auto request = table.Position();
        auto *watcher = router_watcher_open(router_, &request);
        while (router_watcher_fill(router_, watcher, &response))
            table.Take(response);
        EXPECT_EQ(table.complaint, "");
        EXPECT_EQ(table.snapshots, 1u);
        router_watcher_close(router_, watcher);
        return table;
    }
    std::set<std::string> Ends(const std::string &service)
    {
        return table_.Workers(service);
    }
    RouteEnd EndOf(const std::string &service, const std::string &id)
    {
        return table_.services[service].ends[id];
    }
    std::map<std::string, int> Picks(const std::string &service, int count,
                                     const std::vector<std::string> &exclude = {})
    {
        std::map<std::string, int> picks;
        Memory memory;
        std::vector<char *> ids;
        for (const auto &id : exclude)
            ids.push_back(memory.Text(id));
        for (int i = 0; i < count; i++) {
            Muster__V1__RouteRequest request = MUSTER__V1__ROUTE_REQUEST__INIT;
            request.service = memory.Text(service);
            request.n_exclude_worker_ids = ids.size();
            request.exclude_worker_ids = ids.data();
            Muster__V1__RouteResponse response;
            Muster__V1__Endpoint endpoint;
            last_ = router_route(router_, &request, &response, &endpoint);
            if (last_ == ROUTER_OK)
                picks[endpoint.worker_id]++;
        }
        return picks;
    }
    struct Why {
        double score;
        bool eligible, selected;
        std::string reason;
        Muster__V1__WorkerStatus status;
    };
    std::vector<std::pair<std::string, Why>> Explain(const std::string &service)
    {
        std::vector<std::pair<std::string, Why>> list;
        Muster__V1__ExplainResponse response;
        last_ = router_explain(router_, service.c_str(), now_, &response);
        if (last_ != ROUTER_OK)
            return list;
        for (size_t i = 0; i < response.n_candidates; i++) {
            const auto *c = response.candidates[i];
            list.push_back({c->worker_id, {c->score, c->eligible != 0, c->selected != 0, c->reason, c->status}});
        }
        return list;
    }
    std::string Reason(const std::string &service, const std::string &id)
    {
        for (const auto &[worker, why] : Explain(service)) {
            if (worker == id)
                return why.reason;
        }
        return "(not a candidate)";
    }

    uint64_t now_ = kStart;
    uint64_t revision_ = 0;
    RouteTable table_;
    router_result last_ = ROUTER_OK;
    router *router_ = nullptr;
    router_watcher *watcher_ = nullptr;
};

} // namespace router_test
