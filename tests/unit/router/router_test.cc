// The core of muster-router: who is an endpoint, weights, publishing at its exact
// millisecond, ejections, Route and Explain.

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

namespace
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

// --- Who is an endpoint ---

TEST_F(RouterTest, AssignedAndAnnouncedWorkersAreEndpoints)
{
    Begin({{"assigned", {"ocr"}},
           {"alias", {}, {{"o", "http://own"}}},
           {"named", {}, {{"ocr"}}},
           {"both", {"ocr"}, {{"o", "http://both"}}},
           {"other", {"llm"}}});
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"assigned", "alias", "named", "both"}));
    EXPECT_EQ(EndOf("ocr", "assigned").url, "http://default");
    EXPECT_EQ(EndOf("ocr", "alias").url, "http://own");
    EXPECT_EQ(EndOf("ocr", "named").url, "http://default");
    EXPECT_EQ(EndOf("ocr", "both").url, "http://both");
    EXPECT_EQ(Ends("llm"), std::set<std::string>{"other"});
    EXPECT_EQ(table_.services["ocr"].path, "/x/{type}");
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, AServiceThatNoCatalogKnowsLivesAsLongAsItIsAnnounced)
{
    Begin({{"w", {}, {{"mine", "http://mine"}}}});
    EXPECT_EQ(Ends("mine"), std::set<std::string>{"w"});
    Workers({{"w", {}, {}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.removed, std::set<std::string>{"mine"});
    EXPECT_EQ(table_.services.count("mine"), 0u);
    EXPECT_TRUE(Picks("mine", 1).empty());
    EXPECT_EQ(last_, ROUTER_NO_SERVICE);
    Workers({{"w", {}, {{"mine", "http://again"}}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(EndOf("mine", "w").url, "http://again");
    EXPECT_TRUE(router_check(router_));
}

// In one message of the registry, before anybody was told of it.
TEST_F(RouterTest, AServiceThatCameAndWentIsForgotten)
{
    Begin({{"w", {}, {}}});
    Memory memory;
    Events({Put(memory, {"brief", {}, {{"mine", "http://mine"}}}), Remove(memory, "brief", 1)});
    Workers({{"w", {}, {{"other", "http://other"}}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.services.count("mine"), 0u);
    EXPECT_TRUE(router_check(router_));
    Workers({{"v", {}, {{"mine", "http://again"}}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(EndOf("mine", "v").url, "http://again");
}

TEST_F(RouterTest, AServiceOfTheCatalogStaysWithoutWorkers)
{
    Begin({});
    EXPECT_EQ(table_.services.size(), 2u);
    Picks("ocr", 1);
    EXPECT_EQ(last_, ROUTER_NO_WORKER);
    Picks("nothing", 1);
    EXPECT_EQ(last_, ROUTER_NO_SERVICE);
}

TEST_F(RouterTest, PriorityFollowsTheStatusAndDeadOnesAreOut)
{
    Begin({{"on", {"ocr"}},
           {"late", {"ocr"}, {}, 1, WORKER_DEGRADED},
           {"back", {"ocr"}, {}, 1, WORKER_RECONNECTING},
           {"off", {"ocr"}, {}, 1, WORKER_OFFLINE},
           {"drain", {"ocr"}, {}, 1, WORKER_ONLINE, true}});
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"on", "late", "back"}));
    EXPECT_EQ(EndOf("ocr", "on").priority, 0u);
    EXPECT_EQ(EndOf("ocr", "late").priority, 1u);
    EXPECT_EQ(EndOf("ocr", "back").priority, 2u);
    EXPECT_EQ(Picks("o", 50), (std::map<std::string, int>{{"on", 50}}));
    EXPECT_EQ(Picks("o", 50, {"on"}), (std::map<std::string, int>{{"late", 50}}));
    EXPECT_EQ(Picks("o", 50, {"on", "late"}), (std::map<std::string, int>{{"back", 50}}));
    Picks("o", 1, {"on", "late", "back"});
    EXPECT_EQ(last_, ROUTER_NO_WORKER);
}

TEST_F(RouterTest, AServiceThatIsNotRunningThereIsNotRoutedThere)
{
    Begin({{"w", {"ocr", "llm"}}});
    SendHealth({{"w", WORKER_ONLINE, 0.0, {{"o", "starting"}, {"llm", "running"}}}}); // by alias too
    ASSERT_TRUE(Watch());
    EXPECT_TRUE(Ends("ocr").empty());
    EXPECT_EQ(Ends("llm").size(), 1u);
    EXPECT_NE(Reason("ocr", "w").find("\"starting\""), std::string::npos);
    SendHealth({{"w", WORKER_ONLINE, 0.0, {{"o", "running"}}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr").size(), 1u);
}

TEST_F(RouterTest, HealthIsRightForItsIncarnationOnly)
{
    Begin({{"w", {"ocr"}}});
    SendHealth({{"w", WORKER_OFFLINE}});
    ASSERT_TRUE(Watch());
    EXPECT_TRUE(Ends("ocr").empty());
    Workers({{"w", {"ocr"}, {}, 2}}); // registered again: what health said is of the first one
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr").size(), 1u);
    SendHealth({{"w", WORKER_OFFLINE, -1, {}, 2}});
    ASSERT_TRUE(Watch());
    SendHealth({{"w", WORKER_ONLINE, -1, {}, 1}}); // late news of the first one
    EXPECT_FALSE(Watch());
    EXPECT_TRUE(Ends("ocr").empty());
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, HealthMaySpeakBeforeTheRegistry)
{
    Begin({});
    SendHealth({{"early", WORKER_ONLINE, 0.5}});
    EXPECT_EQ(router_worker_count(router_), 1u);
    Workers({{"early", {"ocr"}, {}, 1, WORKER_RECONNECTING}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(EndOf("ocr", "early").weight, 50u);
    EXPECT_EQ(EndOf("ocr", "early").priority, 0u);
    RemoveWorker("early");
    EXPECT_EQ(router_worker_count(router_), 1u) << "health still speaks of it";
    SendHealth({{"early", WORKER_REMOVED}});
    EXPECT_EQ(router_worker_count(router_), 0u);
    SendHealth({{"early", WORKER_REMOVED}});
    EXPECT_EQ(router_worker_count(router_), 0u);
}

// --- Weights and times ---

TEST_F(RouterTest, ArrivalsAndRemovalsGoOutAtOnceAndWeightsAfter100Milliseconds)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}});
    To(1000);
    SendHealth({{"a", WORKER_ONLINE, 0.5}});
    EXPECT_FALSE(Watch());
    EXPECT_EQ(router_next_ms(router_), now_ + 100);
    To(1099);
    EXPECT_FALSE(Watch());
    To(1100);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.changed, std::set<std::string>{"ocr"});
    EXPECT_EQ(EndOf("ocr", "a").weight, 50u);
    EXPECT_EQ(EndOf("ocr", "b").weight, 100u);
    EXPECT_EQ(router_next_ms(router_), UINT64_MAX);
    SendHealth({{"a", WORKER_OFFLINE}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"b"});
    SendHealth({{"a", WORKER_ONLINE}}); // back
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr").size(), 2u);
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, TheFirstEndpointGoesOutAtOnce)
{
    Begin({});
    Workers({{"w", {"ocr"}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr").size(), 1u);
}

TEST_F(RouterTest, OnlyTouchedServicesArePublished)
{
    Begin({{"a", {"ocr"}}, {"b", {"llm"}}});
    SendHealth({{"b", WORKER_ONLINE, 0.9}});
    To(500);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 0u);
    EXPECT_EQ(table_.changed, std::set<std::string>{"llm"});
}

TEST_F(RouterTest, AHeartbeatThatChangesNothingPublishesNothing)
{
    Begin({{"a", {"ocr"}}});
    SendHealth({{"a", WORKER_ONLINE, 0.0}});
    SendHealth({{"a", WORKER_ONLINE, 0.01}}); // the weight is the same
    SendHealth({{"a", WORKER_ONLINE}});
    To(1000);
    EXPECT_FALSE(Watch());
}

TEST_F(RouterTest, PicksFollowTheWeights)
{
    Begin({{"idle", {"ocr"}}, {"busy", {"ocr"}}});
    SendHealth({{"idle", WORKER_ONLINE, 0.0}, {"busy", WORKER_ONLINE, 0.75}});
    To(100);
    auto picks = Picks("ocr", 10000); // weights 100 and 25
    EXPECT_GT(picks["idle"], 7500);
    EXPECT_GT(picks["busy"], 1500);
}

// --- Watches that break ---

TEST_F(RouterTest, NothingIsPublishedBeforeTheRollIsKnown)
{
    Return();
    router_workers_begin(router_);
    Workers({{"w", {"ocr"}}}, true, false);
    To(100000);
    EXPECT_FALSE(Watch());
    EXPECT_FALSE(router_is_ready(router_));
    Picks("ocr", 1);
    EXPECT_EQ(last_, ROUTER_NOT_READY);
    Workers({}, false, true);
    EXPECT_FALSE(Watch()) << "health and the catalog may be about to come";
    EXPECT_EQ(router_next_ms(router_), now_ + ROUTER_START_WAIT_MS);
    To(100000 + ROUTER_START_WAIT_MS);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(Ends("ocr").size(), 1u);
}

TEST_F(RouterTest, AnEmptyFleetHasATableToo)
{
    Return();
    router_health_begin(router_);
    SendHealth({}, true);
    Catalog({});
    EXPECT_FALSE(Watch());
    Workers({}, true, true);
    ASSERT_TRUE(Watch());
    EXPECT_TRUE(table_.services.empty());
}

TEST_F(RouterTest, ARestartOfHealthDropsNothing)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}, {"c", {"ocr"}}});
    SendHealth({{"c", WORKER_OFFLINE, -1, {}, 1, "stream broken"}});
    ASSERT_TRUE(Watch());
    router_health_begin(router_);
    SendHealth({}); // it came up empty and has not seen the registry
    SendHealth({{"a", WORKER_ONLINE}});
    To(10000);
    EXPECT_FALSE(Watch());
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"a", "b"}));
    SendHealth({}, true); // it knows nothing of b and c: the registry's word counts
    EXPECT_FALSE(Ends("ocr").count("c"));
    To(20000);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"a", "b", "c"}));
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, ARestartOfTheRegistryDropsOnlyWhatItsSnapshotDoesNotName)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}});
    EXPECT_EQ(router_workers_begin(router_), revision_);
    Workers({{"a", {"ocr"}, {}, 1, WORKER_RECONNECTING}}, true, false);
    To(1000);
    EXPECT_FALSE(Watch()) << "health is right about the status";
    EXPECT_EQ(Ends("ocr").size(), 2u);
    router_workers_begin(router_); // it broke off; and again
    Workers({}, true, false);
    Workers({{"b", {"ocr"}, {}, 1, WORKER_RECONNECTING}}, false, true);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"b"});
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, EventsOfEarlierIncarnationsArePassedOver)
{
    Begin({{"w", {"ocr"}, {}, 3}});
    RemoveWorker("w", 2);
    Workers({{"w", {"llm"}, {}, 2}});
    To(1000);
    EXPECT_FALSE(Watch());
    RemoveWorker("w", 3);
    ASSERT_TRUE(Watch());
    EXPECT_TRUE(Ends("ocr").empty());
}

TEST_F(RouterTest, ANewCatalogRenamesWhatWasThere)
{
    Begin({{"w", {"ocr"}, {{"special"}}}});
    EXPECT_EQ(Ends("special").size(), 1u);
    Catalog({{"ocr", kCpu, {"o"}, "/x/{type}"}, {"llm", kGpu}}); // the same
    To(1000);
    EXPECT_FALSE(Watch());
    Catalog({{"reading", kCpu, {"ocr", "special"}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.removed, (std::set<std::string>{"ocr", "llm", "special"}));
    EXPECT_EQ(Ends("reading"), std::set<std::string>{"w"});
    EXPECT_EQ(Picks("special", 3), (std::map<std::string, int>{{"w", 3}}));
    To(2000);
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, AWatcherThatComesLateGetsTheWholeTable)
{
    Begin({{"w", {"ocr"}, {{"mine"}}}});
    Workers({{"w", {"ocr"}}});
    auto late = Truth();
    EXPECT_EQ(late.services.size(), 2u);
    EXPECT_TRUE(late.removed.empty());
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.removed, std::set<std::string>{"mine"});
    EXPECT_EQ(table_.services, late.services);
}

// --- What is sent of a change ---

TEST_F(RouterTest, OnlyTheEndpointThatChangedIsSent)
{
    std::vector<Record> records;
    for (int i = 0; i < 100; i++)
        records.push_back({"w" + std::to_string(i), {"ocr", "llm"}});
    Begin(records);
    SendHealth({{"w7", WORKER_ONLINE, 0.9}});
    To(100);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.endpoints, 2u);
    EXPECT_EQ(EndOf("ocr", "w7").weight, 10u);
    EXPECT_EQ(EndOf("ocr", "w8").weight, 100u);
    EXPECT_EQ(table_.services, Truth().services);
}

TEST_F(RouterTest, ManyChangesOfOneEndpointAreSentOnce)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}});
    for (int i = 1; i <= 9; i++) {
        SendHealth({{"a", WORKER_ONLINE, i / 10.0}});
        To(static_cast<uint64_t>(i) * 1000);
    }
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.messages, 1u);
    EXPECT_EQ(table_.endpoints, 1u);
    EXPECT_EQ(EndOf("ocr", "a").weight, 10u);
}

TEST_F(RouterTest, AWeightThatGoesBackBeforeItIsPublishedIsNoChange)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}});
    SendHealth({{"a", WORKER_ONLINE, 0.9}});
    SendHealth({{"a", WORKER_ONLINE, 0.0}});
    To(1000);
    EXPECT_FALSE(Watch());
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, AnEndpointThatGoesWhileItsWeightChangesIsGone)
{
    Begin({{"a", {"ocr", "llm"}}, {"b", {"ocr", "llm"}}});
    SendHealth({{"a", WORKER_ONLINE, 0.9}}); // waits to be published
    RemoveWorker("a");
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"b"});
    To(1000);
    EXPECT_FALSE(Watch());
    // The other way round: published, not sent, and gone; and back.
    SendHealth({{"b", WORKER_ONLINE, 0.9}});
    To(2000);
    RemoveWorker("b");
    Workers({{"b", {"ocr"}, {}, 2}});
    SendHealth({{"b", WORKER_ONLINE, 0.5, {}, 2}});
    To(3000);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"b"});
    EXPECT_EQ(EndOf("ocr", "b").weight, 50u);
    EXPECT_TRUE(Ends("llm").empty());
    EXPECT_EQ(table_.services, Truth().services);
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, ARegistrationAnewTakesNobodyOutOfTheTable)
{
    Begin({{"a", {"ocr"}, {{"mine"}}}});
    Fail("a", "ocr", 2);
    Workers({{"a", {"ocr"}, {{"mine"}}, 2}});
    EXPECT_FALSE(Watch()) << "the same under a new incarnation";
    Fail("a", "ocr", 2); // nothing is held against it
    EXPECT_FALSE(Watch());
    Record moved = {"a", {"ocr"}, {{"mine"}}, 3};
    moved.url = "http://elsewhere";
    Workers({moved});
    EXPECT_FALSE(Watch()) << "gathered";
    To(100);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(EndOf("ocr", "a").url, "http://elsewhere");
    EXPECT_EQ(EndOf("mine", "a").url, "http://elsewhere");
    EXPECT_TRUE(table_.removed.empty());
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, WhenTheLastOneThatIsWellGoesTheEjectedOnesComeInTheSameMessage)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}, {"c", {"ocr"}}});
    Fail("a", "ocr", 3);
    Fail("b", "ocr", 3);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"c"});
    RemoveWorker("c");
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.messages, 1u);
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"a", "b"}));
    Workers({{"c", {"ocr"}, {}, 2}});
    ASSERT_TRUE(Watch()) << "these leave with its arrival";
    EXPECT_EQ(table_.messages, 1u);
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"c"});
    EXPECT_TRUE(router_check(router_));
}

// --- Watchers that come back, and large tables ---

class LargeTable : public RouterTest
{
  protected:
    static constexpr size_t kWorkers = 5500;
    static std::string Id(size_t number)
    {
        return "w" + std::to_string(number);
    }
    void Start()
    {
        std::vector<Record> records;
        for (size_t i = 0; i < kWorkers; i++)
            records.push_back({Id(i), {"ocr"}, {{"mine", "http://" + std::to_string(i)}}});
        Begin(records);
    }
    // A worker goes, and comes again with a service of its own.
    void Flap(uint64_t incarnation)
    {
        RemoveWorker("own", incarnation);
        Workers({{"own", {}, {{"its-own"}}, incarnation + 1}});
    }
};

TEST_F(LargeTable, ASnapshotComesInPieces)
{
    Start();
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(table_.messages, 2 * kWorkers / ROUTER_PIECE_CHANGES + 1);
    EXPECT_EQ(Ends("ocr").size(), kWorkers);
    EXPECT_EQ(EndOf("mine", Id(17)).url, "http://17");
}

TEST_F(LargeTable, WhatChangesDuringASnapshotComesBeforeItsEnd)
{
    Start();
    Leave();
    table_ = RouteTable();
    Return();
    ASSERT_TRUE(WatchOnce());
    ASSERT_TRUE(WatchOnce());
    EXPECT_TRUE(table_.in_snapshot);
    for (size_t i = 0; i < kWorkers; i += 2) // sent already or not
        RemoveWorker(Id(i));
    for (size_t i = 1; i < kWorkers; i += 10)
        SendHealth({{Id(i), WORKER_ONLINE, 0.5}});
    Workers({{"new", {"ocr"}}});
    To(1000);
    ASSERT_TRUE(Watch());
    EXPECT_FALSE(table_.in_snapshot);
    EXPECT_EQ(Ends("ocr").size(), kWorkers / 2 + 1);
    EXPECT_EQ(EndOf("mine", Id(11)).weight, 50u);
    EXPECT_EQ(table_.services, Truth().services);
    EXPECT_TRUE(router_check(router_));
}

TEST_F(LargeTable, OneThatWasAwayGetsWhatItMissed)
{
    Start();
    Leave();
    RemoveWorker(Id(1));
    SendHealth({{Id(2), WORKER_ONLINE, 0.5}, {Id(3), WORKER_OFFLINE}});
    Workers({{Id(3), {"llm"}}, {Id(4), {}, {{"theirs"}}}, {"new", {"ocr"}}});
    To(1000);
    SendHealth({{Id(3), WORKER_ONLINE, 0.9}});
    To(2000);
    Return();
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 0u);
    EXPECT_EQ(table_.messages, 1u);
    EXPECT_EQ(table_.endpoints, 5u);
    EXPECT_EQ(table_.services, Truth().services);
    Leave();
    Return();
    EXPECT_FALSE(Watch()) << "nothing happened";
}

TEST_F(LargeTable, OneThatIsCutOffInASnapshotBeginsAgain)
{
    Start();
    Leave();
    table_ = RouteTable();
    Return();
    for (int i = 0; i < 3; i++)
        ASSERT_TRUE(WatchOnce());
    EXPECT_TRUE(table_.in_snapshot);
    Leave();
    for (size_t i = 0; i < kWorkers; i += 3)
        RemoveWorker(Id(i));
    Return();
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(table_.services, Truth().services);
}

TEST_F(LargeTable, OneThatIsCutOffBetweenTwoPiecesGoesOnThere)
{
    Start();
    for (size_t i = 0; i < 2500; i++)
        SendHealth({{Id(i), WORKER_ONLINE, 0.5}});
    To(1000);
    for (size_t i = 2500; i < kWorkers; i++)
        SendHealth({{Id(i), WORKER_ONLINE, 0.5}});
    To(2000);
    table_.Forget();
    for (int i = 0; i < 7; i++) // 5,000 changes are of the first revision
        ASSERT_TRUE(WatchOnce());
    Leave();
    table_.Forget();
    Return();
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 0u);
    EXPECT_EQ(table_.endpoints, 6000u) << "those of the second revision once more";
    EXPECT_EQ(table_.services, Truth().services);
}

TEST_F(LargeTable, OneThatWasAwayTooLongGetsASnapshot)
{
    Start();
    auto away = table_.Position();
    uint64_t incarnation = 1;
    // Two removals each time, after the first: an endpoint and its service.
    for (; incarnation <= ROUTER_REMOVALS_MAX / 2; incarnation++)
        Flap(incarnation);
    Leave();
    Return();
    EXPECT_EQ(table_.revision, away.after_revision);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 0u) << "all of it is known";
    Leave();
    for (int i = 0; i < 2; i++)
        Flap(incarnation++);
    watcher_ = router_watcher_open(router_, &away);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(table_.services, Truth().services);
    To(100);
    EXPECT_TRUE(router_check(router_));
}

TEST_F(LargeTable, OneThatIsTooSlowGetsASnapshot)
{
    Start();
    for (uint64_t incarnation = 1; incarnation <= ROUTER_REMOVALS_MAX / 2 + 2; incarnation++)
        Flap(incarnation);
    RemoveWorker(Id(5));
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(table_.services, Truth().services);
    EXPECT_FALSE(Watch());
}

TEST_F(LargeTable, AnotherRouterSendsASnapshot)
{
    Start();
    auto *first = router_;
    auto *first_watcher = watcher_;
    uint64_t epoch = table_.epoch;
    router_ = router_create(&policy_least_loaded, 2, now_);
    Begin({{"w1", {"ocr"}}, {"w2", {"llm"}}});
    EXPECT_NE(table_.epoch, epoch);
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"w1"});
    EXPECT_EQ(table_.services, Truth().services);
    router_watcher_close(first, first_watcher);
    router_destroy(first);
}

TEST_F(RouterTest, ARevisionThatIsNotThereYetGetsASnapshot)
{
    Begin({{"a", {"ocr"}}});
    Leave();
    table_.revision += 1000;
    auto request = table_.Position();
    table_.revision = 0;
    watcher_ = router_watcher_open(router_, &request);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
}

// Everything at random; and whoever watches, fast or slow, or comes and goes, ends with the table
// that somebody gets who begins anew.
TEST_F(RouterTest, WatchersAgreeWhateverHappens)
{
    std::mt19937 random(20260105);
    const auto below = [&](size_t limit) { return static_cast<size_t>(random() % limit); };
    const char *names[] = {"ocr", "llm", "o", "a", "b", "c"};
    std::map<std::string, Record> records;
    const auto record = [&](const std::string &id) {
        Record one = {id};
        one.incarnation = records.count(id) == 0 ? 1 : records[id].incarnation + below(2);
        for (const char *name : names) {
            if (below(4) == 0)
                one.assigned.push_back(name);
            if (below(4) == 0)
                one.announced.push_back({name, below(2) == 0 ? "" : "http://" + std::to_string(below(3))});
        }
        one.draining = below(10) == 0;
        one.type = below(2) == 0 ? kGpu : kCpu;
        return records[id] = one;
    };
    Begin({});
    struct Watcher {
        RouteTable table;
        router_watcher *watcher = nullptr;
    };
    std::vector<Watcher> watchers(6);
    uint64_t ms = 0;
    for (int step = 0; step < 30000; step++) {
        std::string id = "w" + std::to_string(below(30));
        bool known = records.count(id) != 0;
        switch (below(9)) {
        case 0:
        case 1:
            Workers({record(id)});
            break;
        case 2:
            if (known)
                RemoveWorker(id, records[id].incarnation);
            break;
        case 3:
        case 4:
            if (known)
                SendHealth({{id,
                             below(4) == 0   ? WORKER_OFFLINE
                             : below(4) == 0 ? WORKER_DEGRADED
                                             : WORKER_ONLINE,
                             static_cast<double>(below(10)) / 10,
                             below(5) == 0 ? decltype(Health::states){{"ocr", "starting"}} : decltype(Health::states){},
                             records[id].incarnation}});
            break;
        case 5:
            Fail(id, names[below(6)], 1 + below(3), below(4) == 0 ? 1 : 0);
            break;
        case 6:
            To(ms += below(300));
            break;
        case 7:
            if (below(50) == 0)
                Catalog({{"ocr", kCpu, {below(2) == 0 ? "o" : "x"}, below(2) == 0 ? "/p" : "/q"},
                         {below(2) == 0 ? "llm" : "a", kGpu}});
            break;
        default: {
            Watcher &one = watchers[below(watchers.size())];
            Muster__V1__WatchRoutesResponse response;
            auto request = one.table.Position();
            if (one.watcher == nullptr) {
                one.watcher = router_watcher_open(router_, &request);
            } else if (below(8) == 0) {
                router_watcher_close(router_, one.watcher);
                one.watcher = nullptr;
            } else if (router_watcher_fill(router_, one.watcher, &response)) {
                one.table.Take(response);
                ASSERT_EQ(one.table.complaint, "") << "step " << step;
            }
        }
        }
        if (step % 100 != 0)
            continue;
        To(ms += 200);
        ASSERT_TRUE(router_check(router_)) << "step " << step;
        auto truth = Truth();
        for (Watcher &one : watchers) {
            Muster__V1__WatchRoutesResponse response;
            while (one.watcher != nullptr && router_watcher_fill(router_, one.watcher, &response))
                one.table.Take(response);
            bool agrees = one.watcher == nullptr || one.table.services == truth.services;
            ASSERT_TRUE(agrees) << "step " << step;
        }
    }
    for (Watcher &one : watchers) {
        if (one.watcher != nullptr)
            router_watcher_close(router_, one.watcher);
    }
}

// --- Outliers ---

TEST_F(RouterTest, ThreeConnectionFailuresInARowEjectForFiveSecondsThenTen)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}});
    Fail("a", "ocr", 2);
    EXPECT_FALSE(Watch());
    Fail("a", "o", 1);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"b"});
    EXPECT_EQ(Reason("ocr", "a"), "ejected for another 5.0 s after 3 connection failures in a row (1st ejection)");
    Fail("a", "ocr", 5); // what was under way
    To(4999);
    EXPECT_FALSE(Watch());
    To(5000);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr").size(), 2u);
    Fail("a", "ocr", 1); // on trial: one is enough
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"b"});
    To(14999);
    EXPECT_NE(Reason("ocr", "a").find("2nd ejection"), std::string::npos);
    To(15200);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr").size(), 2u);
    // 10 s without another one forgives one step, 5 s more the last.
    To(15100 + 10000 + 5000);
    Fail("a", "ocr", 2);
    EXPECT_FALSE(Watch());
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, ASuccessClearsFailures)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}});
    Fail("a", "ocr", 2);
    Fail("a", "ocr", 0, 1);
    Fail("a", "ocr", 2);
    Fail("a", "ocr", 40, 1); // it can be reached
    EXPECT_FALSE(Watch());
}

TEST_F(RouterTest, NeverAreAllEndpointsEjected)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}});
    Fail("a", "ocr", 3);
    ASSERT_TRUE(Watch());
    Fail("b", "ocr", 3);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"a", "b"}));
    EXPECT_NE(Reason("ocr", "a").find("nobody else is left"), std::string::npos);
    // One more that is well: the two are out again.
    Workers({{"c", {"ocr"}}});
    To(200);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"c"});
    RemoveWorker("c");
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"a", "b"}));
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, ANewRegistrationStartsAfresh)
{
    Begin({{"a", {"ocr"}}, {"b", {"ocr"}}});
    Fail("a", "ocr", 3);
    ASSERT_TRUE(Watch());
    Workers({{"a", {"ocr"}, {}, 2}});
    To(200);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr").size(), 2u);
}

TEST_F(RouterTest, EjectionIsOfOneServiceOnly)
{
    Begin({{"a", {"ocr", "llm"}}, {"b", {"ocr", "llm"}}});
    Fail("a", "ocr", 3);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("ocr").size(), 1u);
    EXPECT_EQ(Ends("llm").size(), 2u);
    Fail("nobody", "ocr", 3);
    Fail("a", "nothing", 3);
}

// --- Explain ---

// A probe that is due, as it was given out.
struct Probe {
    std::string worker, service, url, path;
    uint64_t number;
};

class Probes : public RouterTest
{
  protected:
    // "ocr" is probed, "llm" is not.
    void Start(const std::vector<Record> &records)
    {
        Begin(records);
        Catalog({{"ocr", kCpu, {"o"}, "/x/{type}", "/health"}, {"llm", kGpu}});
        Watch();
    }
    // All that come due within that time, looked for every millisecond.
    std::vector<Probe> Due(uint64_t ms)
    {
        std::vector<Probe> probes;
        for (uint64_t end = now_ + ms; now_ < end;) {
            router_advance(router_, ++now_);
            struct router_probe_request request;
            while (router_next_probe(router_, &request)) {
                EXPECT_EQ(request.timeout_ms, 200u);
                probes.push_back({request.worker_id, request.service, request.url, request.path, request.number});
            }
        }
        return probes;
    }
    bool End(const Probe &probe, enum router_probe_result result)
    {
        bool changed = router_probe_ended(router_, probe.worker.c_str(), probe.service.c_str(), probe.number, result,
                                          "it said 500", now_);
        router_advance(router_, now_);
        while (Watch())
            ;
        return changed;
    }
    // The worker's next probe ends so; others pass.
    bool Next(const std::string &worker, enum router_probe_result result)
    {
        bool changed = false;
        for (const auto &probe : Due(1001)) {
            if (probe.worker == worker)
                changed = End(probe, result) || changed;
            else
                End(probe, ROUTER_PROBE_PASSED);
        }
        return changed;
    }
};

TEST_F(Probes, AskEachWorkerOfAProbedServiceOnceInAnInterval)
{
    Start({{"a", {"ocr", "llm"}}, {"b", {}, {{"o", "http://b/service/ocr"}}}, {"c", {"llm"}}});
    auto probes = Due(1000);
    ASSERT_EQ(probes.size(), 2u);
    std::map<std::string, Probe> by_worker;
    for (const auto &probe : probes)
        by_worker[probe.worker] = probe;
    EXPECT_EQ(by_worker["a"].url, "http://default");
    EXPECT_EQ(by_worker["a"].service, "ocr");
    EXPECT_EQ(by_worker["a"].path, "/health");
    EXPECT_EQ(by_worker["b"].url, "http://b/service/ocr");
    EXPECT_TRUE(Due(5000).empty()) << "not again before the answers";
    for (const auto &probe : probes)
        EXPECT_FALSE(End(probe, ROUTER_PROBE_PASSED));
    EXPECT_TRUE(Due(999).empty());
    EXPECT_EQ(Due(1).size(), 2u);
}

TEST_F(Probes, ThreeFailuresTakeItOutAndTwoSuccessesBringItBack)
{
    Start({{"a", {"ocr", "llm"}}, {"b", {"ocr"}}});
    EXPECT_FALSE(Next("a", ROUTER_PROBE_FAILED));
    EXPECT_FALSE(Next("a", ROUTER_PROBE_FAILED));
    EXPECT_FALSE(Next("a", ROUTER_PROBE_PASSED)) << "which ends the row";
    EXPECT_FALSE(Next("a", ROUTER_PROBE_FAILED));
    EXPECT_FALSE(Next("a", ROUTER_PROBE_NOT_MADE)) << "which says nothing";
    EXPECT_FALSE(Next("a", ROUTER_PROBE_FAILED));
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"a", "b"}));
    EXPECT_TRUE(Next("a", ROUTER_PROBE_FAILED));
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"b"}));
    EXPECT_EQ(Ends("llm"), (std::set<std::string>{"a"})) << "of this service only";
    bool told = false;
    for (const auto &[id, why] : Explain("ocr"))
        told = told || (id == "a" && why.reason.find("its probe failed 3 times in a row: it said 500") == 0);
    EXPECT_TRUE(told);
    EXPECT_FALSE(Next("a", ROUTER_PROBE_FAILED)) << "it is out already";
    EXPECT_FALSE(Next("a", ROUTER_PROBE_PASSED));
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"b"}));
    EXPECT_TRUE(Next("a", ROUTER_PROBE_PASSED));
    To(now_ - kStart + 200);
    while (Watch())
        ;
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"a", "b"}));
}

TEST_F(Probes, WhenAllFailNobodyIsLeftOut)
{
    Start({{"a", {"ocr"}}, {"b", {"ocr"}}});
    for (int i = 0; i < 4; i++)
        for (const auto &probe : Due(1001))
            End(probe, ROUTER_PROBE_FAILED);
    EXPECT_EQ(Ends("ocr"), (std::set<std::string>{"a", "b"}));
    bool told = false;
    for (const auto &[id, why] : Explain("ocr"))
        told = told || why.reason.find("its probes fail, but nobody else is left") != std::string::npos;
    EXPECT_TRUE(told);
}

TEST_F(Probes, AnAnswerThatComesTooLateIsPassedOver)
{
    Start({{"a", {"ocr"}}, {"b", {"ocr"}}});
    auto probes = Due(1000);
    ASSERT_EQ(probes.size(), 2u);
    RemoveWorker("a");
    Workers({{"b", {"ocr"}, {}, 2}});
    for (int i = 0; i < 3; i++)
        for (const auto &probe : probes)
            EXPECT_FALSE(End(probe, ROUTER_PROBE_FAILED));
    EXPECT_EQ(Due(1001).size(), 1u) << "b, which registered again, is asked anew";
    // What is due when its worker goes is not given out any more.
    now_ += 5000;
    router_advance(router_, now_);
    RemoveWorker("b", 2);
    struct router_probe_request request;
    EXPECT_FALSE(router_next_probe(router_, &request));
}

TEST_F(Probes, WhoIsNotRoutedToIsNotAsked)
{
    Start({{"a", {"ocr"}}, {"b", {"ocr"}}});
    SendHealth({{"a", WORKER_OFFLINE}});
    for (int i = 0; i < 3; i++)
        for (const auto &probe : Due(1001)) {
            EXPECT_EQ(probe.worker, "b");
            End(probe, ROUTER_PROBE_PASSED);
        }
    SendHealth({{"a", WORKER_ONLINE, 0}});
    EXPECT_EQ(Due(1001).size(), 2u);
    // A catalog without the probe ends it.
    Catalog({{"ocr", kCpu}});
    EXPECT_TRUE(Due(5000).empty());
}

TEST_F(RouterTest, ExplainShowsEveryCandidateBestFirst)
{
    Begin({{"best", {"ocr"}},
           {"busy", {"ocr"}},
           {"late", {"ocr"}, {}, 1, WORKER_DEGRADED},
           {"off", {"ocr"}, {}, 1, WORKER_OFFLINE},
           {"drain", {"ocr"}, {}, 1, WORKER_ONLINE, true},
           {"idle", {}},
           {"gpu", {}, {}, 1, WORKER_ONLINE, false, kGpu}});
    SendHealth({{"best", WORKER_ONLINE, 0.1},
                {"busy", WORKER_ONLINE, 0.8},
                {"late", WORKER_DEGRADED, 0.0, {}, 1, "heartbeat late: not heard for 95 s"},
                {"off", WORKER_OFFLINE, 0.0, {}, 1, "stream broken"}});
    To(100);
    auto list = Explain("o");
    ASSERT_EQ(list.size(), 7u);
    EXPECT_EQ(list[0].first, "best");
    EXPECT_TRUE(list[0].second.selected);
    EXPECT_EQ(list[0].second.reason, "best of 3: load 0.10, 0 active, 0 waiting, weight 90");
    EXPECT_EQ(list[1].first, "busy");
    EXPECT_TRUE(list[1].second.eligible);
    EXPECT_FALSE(list[1].second.selected);
    EXPECT_NE(list[1].second.reason.find("score 0.200 below 0.900"), std::string::npos) << list[1].second.reason;
    EXPECT_EQ(list[2].first, "late");
    EXPECT_NE(list[2].second.reason.find("not heard for 95 s"), std::string::npos);
    std::map<std::string, Why> others(list.begin() + 3, list.end());
    for (const auto &[id, why] : others) {
        EXPECT_EQ(why.score, 0) << id;
        EXPECT_FALSE(why.eligible) << id;
    }
    EXPECT_EQ(others["off"].reason, "offline: stream broken");
    EXPECT_EQ(others["drain"].reason, "draining: takes no new requests");
    EXPECT_EQ(others["drain"].status, WORKER_DRAINING);
    EXPECT_EQ(others["idle"].reason, "not assigned to it, and it does not announce it");
    EXPECT_EQ(others.count("gpu"), 1u);
    EXPECT_TRUE(Explain("unheard-of").empty());
    EXPECT_EQ(last_, ROUTER_NO_SERVICE);
}

TEST_F(RouterTest, ExplainShowsInWhichDecimalScoresDiffer)
{
    Begin({{"best", {"ocr"}}, {"close", {"ocr"}}});
    SendHealth({{"best", WORKER_ONLINE, 0.4441}, {"close", WORKER_ONLINE, 0.44412}});
    To(100);
    EXPECT_NE(Reason("ocr", "close").find("score 0.55588 below 0.55590"), std::string::npos) << Reason("ocr", "close");
    SendHealth({{"close", WORKER_ONLINE, 0.4441}});
    EXPECT_NE(Reason("ocr", "close").find("as good as best"), std::string::npos);
}

TEST_F(RouterTest, ExplainKeepsTheBestOfMany)
{
    std::vector<Record> records;
    std::vector<Health> health;
    for (int i = 0; i < 5000; i++) {
        records.push_back({"w" + std::to_string(i), {"ocr"}});
        health.push_back({records.back().id, WORKER_ONLINE, 0.1 + (i * 7919 % 5000) / 10000.0});
    }
    records.push_back({"idle", {}});
    Begin(records);
    SendHealth(health);
    To(100);
    auto list = Explain("ocr");
    ASSERT_EQ(list.size(), static_cast<size_t>(ROUTER_EXPLAIN_CANDIDATES_MAX));
    EXPECT_EQ(list[0].first, "w0");
    EXPECT_NE(list[0].second.reason.find("best of 5000"), std::string::npos);
    for (size_t i = 0; i < list.size(); i++)
        EXPECT_NEAR(list[i].second.score, 0.9 - static_cast<double>(i) / 10000, 1e-9);
}

TEST_F(RouterTest, WatchersAreLimited)
{
    std::vector<router_watcher *> watchers;
    auto request = table_.Position();
    for (int i = 0; i < ROUTER_WATCHERS_MAX; i++)
        watchers.push_back(router_watcher_open(router_, &request));
    EXPECT_EQ(router_watcher_open(router_, &request), nullptr);
    for (auto *watcher : watchers)
        router_watcher_close(router_, watcher);
}

} // namespace
