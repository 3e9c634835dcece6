// The assigner's replica: what counts for decisions and for gaps, promises, snapshots, and
// running counts that never drift from what a count from scratch gives.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

extern "C" {
#include "common/random.h"
#include "services/assigner/assigner.h"
}

namespace
{

constexpr auto online = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto degraded = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED;
constexpr auto offline = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
constexpr auto reconnecting = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING;
constexpr auto cpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;

using Names = std::vector<std::string>;

char *text(const std::string &s)
{
    return const_cast<char *>(s.c_str());
}

struct Assigner {
    Assigner() : Assigner(catalog_create_default()) {}
    explicit Assigner(struct catalog *catalog) : assigner(assigner_create(catalog)) {}
    ~Assigner()
    {
        EXPECT_TRUE(assigner_check(assigner));
        assigner_destroy(assigner);
    }

    void put(const std::string &id, uint64_t incarnation, const Names &assigned,
             Muster__V1__WorkerStatus status = online, bool draining = false, const Names &announced = {},
             Muster__V1__WorkerType type = cpu, bool begin = false, bool complete = false)
    {
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        Muster__V1__Worker worker = MUSTER__V1__WORKER__INIT;
        std::vector<char *> assigned_texts;
        std::vector<Muster__V1__AnnouncedService> services(announced.size());
        std::vector<Muster__V1__AnnouncedService *> pointers;
        for (const auto &name : assigned)
            assigned_texts.push_back(text(name));
        for (size_t i = 0; i < announced.size(); i++) {
            muster__v1__announced_service__init(&services[i]);
            services[i].name = text(announced[i]);
            pointers.push_back(&services[i]);
        }
        spec.worker_id = text(id);
        spec.location = text(location);
        spec.n_services = pointers.size();
        spec.services = pointers.data();
        std::vector<char *> permitted_texts = permitted_ones();
        spec.services_limited = limited;
        spec.n_permitted_services = permitted_texts.size();
        spec.permitted_services = permitted_texts.data();
        worker.spec = &spec;
        worker.type = type;
        worker.incarnation = incarnation;
        worker.status = status;
        worker.draining = draining;
        worker.n_assigned_services = assigned_texts.size();
        worker.assigned_services = assigned_texts.data();
        Muster__V1__ServiceSwap under_way = MUSTER__V1__SERVICE_SWAP__INIT;
        if (!swap.empty()) {
            under_way.from = text(swap[0]);
            under_way.to = text(swap[1]);
            worker.swap = &under_way;
        }
        Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT;
        event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT;
        event.worker_id = spec.worker_id;
        event.incarnation = incarnation;
        event.worker = &worker;
        send(&event, begin, complete);
    }

    void status(const std::string &id, uint64_t incarnation, Muster__V1__WorkerStatus status)
    {
        Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT;
        event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS;
        event.worker_id = text(id);
        event.incarnation = incarnation;
        event.status = status;
        send(&event);
    }

    void remove(const std::string &id, uint64_t incarnation)
    {
        Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT;
        event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE;
        event.worker_id = text(id);
        event.incarnation = incarnation;
        send(&event);
    }

    void send(Muster__V1__WorkerEvent *event, bool begin = false, bool complete = false)
    {
        Muster__V1__WatchWorkersResponse message = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
        message.snapshot_begin = begin;
        message.snapshot_complete = complete;
        message.n_events = event != nullptr ? 1 : 0;
        message.events = &event;
        message.revision = begin && !complete ? 0 : ++revision;
        ASSERT_TRUE(assigner_apply(assigner, &message));
    }

    Names assign(const std::string &id, uint64_t incarnation, Muster__V1__WorkerType type = cpu,
                 const Names &current = {}, const Names &announced = {}, uint64_t now_ms = 1000)
    {
        std::vector<char *> current_texts, announced_texts;
        for (const auto &name : current)
            current_texts.push_back(text(name));
        for (const auto &name : announced)
            announced_texts.push_back(text(name));
        Muster__V1__AssignCandidate candidate = MUSTER__V1__ASSIGN_CANDIDATE__INIT;
        candidate.worker_id = text(id);
        candidate.incarnation = incarnation;
        candidate.location = text(location);
        candidate.type = type;
        candidate.n_current_services = current_texts.size();
        candidate.current_services = current_texts.data();
        candidate.n_announced_services = announced_texts.size();
        candidate.announced_services = announced_texts.data();
        std::vector<char *> permitted_texts = permitted_ones();
        candidate.services_limited = limited;
        candidate.n_permitted_services = permitted_texts.size();
        candidate.permitted_services = permitted_texts.data();
        const struct policy_decision *decision = assigner_assign(assigner, &candidate, now_ms);
        Names names;
        for (size_t i = 0; i < decision->count; i++)
            names.push_back(catalog_at(assigner_catalog(assigner), decision->services[i])->name);
        return names;
    }

    struct assigner_gap gap(const char *name)
    {
        std::vector<struct assigner_gap> gaps(catalog_count(assigner_catalog(assigner)));
        assigner_gaps(assigner, gaps.data());
        for (const auto &gap : gaps)
            if (strcmp(gap.service->name, name) == 0)
                return gap;
        return {};
    }

    std::vector<char *> permitted_ones() const
    {
        std::vector<char *> texts;
        for (const auto &name : permitted)
            texts.push_back(text(name));
        return texts;
    }

    struct assigner *assigner;
    uint64_t revision = 0;
    std::string location; // of whom is put or assigned next
    bool limited = false; // the same: by its key, to these
    Names permitted;
    Names swap; // of whom is put next: from, to
};

TEST(Assigner, AKeyLimitsWhatAWorkerIsGiven)
{
    Assigner a;
    a.limited = true;
    a.permitted = {"redis", "notes-coa"};
    EXPECT_EQ(a.assign("w1", 1), (Names{"notes-coa"}));
    a.permitted = {};
    EXPECT_EQ(a.assign("w2", 1), (Names{}));
    a.limited = false;
    EXPECT_GT(a.assign("w3", 1).size(), 1u);
}

TEST(Assigner, CountsHealthyWorkersForGaps)
{
    Assigner a;
    a.put("w1", 1, {"notes-coa"});
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 1u);
    EXPECT_EQ(a.gap("notes-coa").status, MUSTER__V1__GAP_STATUS__GAP_STATUS_WARNING);
    a.put("w2", 1, {}, degraded, false, {"notes"});
    EXPECT_EQ(a.gap("notes-coa").status, MUSTER__V1__GAP_STATUS__GAP_STATUS_OK);
    a.put("w3", 1, {"notes-coa"}, reconnecting);
    a.put("w4", 1, {"notes-coa"}, online, true);
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 2u);
    a.status("w1", 1, offline);
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 1u);
    a.status("w2", 2, offline); // another incarnation
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 1u);
    a.remove("w2", 1);
    EXPECT_EQ(a.gap("notes-coa").status, MUSTER__V1__GAP_STATUS__GAP_STATUS_CRITICAL);
}

TEST(Assigner, AServiceThatIsAssignedAndAnnouncedCountsOnce)
{
    Assigner a;
    a.put("w1", 1, {"notes-coa"}, online, false, {"notes", "notes-coa"});
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 1u);
    a.remove("w1", 1);
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 0u);
}

TEST(Assigner, GapsAreInTheirOrder)
{
    Assigner a;
    a.put("w1", 1, {"notes-coa", "redis"});
    a.put("w2", 1, {"redis"});
    std::vector<struct assigner_gap> gaps(catalog_count(assigner_catalog(a.assigner)));
    assigner_gaps(a.assigner, gaps.data());
    Names names;
    for (const auto &gap : gaps)
        names.push_back(gap.service->name);
    EXPECT_EQ(names, (Names{"chromadb", "coordinator", "edge-proxy", "llm-inference", "vision-ocr",
                            "document-processing", "load-balancer", "ner-extraction", "rag-embeddings", "postgres",
                            "minio", "neo4j", "notes-coa", "redis"}));
}

TEST(Assigner, CandidatesOfOneRequestKnowTheOnesBefore)
{
    Assigner a;
    EXPECT_EQ(a.assign("w1", 1), (Names{"ner-extraction", "document-processing", "notes-coa"}));
    EXPECT_EQ(a.assign("w2", 1), (Names{"ner-extraction", "document-processing"}));
    EXPECT_EQ(a.assign("w3", 1), (Names{"notes-coa"}));
    // A promise is not health.
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 0u);
}

TEST(Assigner, ThePromiseGivesWayToTheRecord)
{
    Assigner a;
    Names names = a.assign("w1", 1);
    EXPECT_EQ(assigner_promise_count(a.assigner), 1u);
    a.put("w1", 1, names);
    EXPECT_EQ(assigner_promise_count(a.assigner), 0u);
    EXPECT_EQ(assigner_worker_count(a.assigner), 1u);
    EXPECT_EQ(a.assign("w2", 1).size(), 2u);
    // An older record does not answer a newer promise.
    a.assign("w1", 2, cpu, names);
    a.put("w1", 1, names, degraded);
    EXPECT_EQ(assigner_promise_count(a.assigner), 2u);
    a.remove("w1", 1);
    EXPECT_EQ(assigner_promise_count(a.assigner), 2u);
    EXPECT_EQ(assigner_worker_count(a.assigner), 0u);
    EXPECT_TRUE(assigner_check(a.assigner));
    a.put("w1", 2, names);
    EXPECT_EQ(assigner_promise_count(a.assigner), 1u);
    EXPECT_EQ(assigner_worker_count(a.assigner), 1u);
}

// The record of a worker is what the registry says, also where that is nearly what was promised.
TEST(Assigner, ARecordThatIsNotQuiteThePromiseIsTakenAsItIs)
{
    using Change = std::function<void(Assigner &, Names &assigned, Names &announced)>;
    const std::pair<const char *, Change> changes[] = {
        {"the same", [](Assigner &, Names &, Names &) {}},
        {"one assigned less", [](Assigner &, Names &assigned, Names &) { assigned.pop_back(); }},
        {"another assigned", [](Assigner &, Names &assigned, Names &) { assigned.back() = "redis"; }},
        {"one announced more", [](Assigner &, Names &, Names &announced) { announced.push_back("redis"); }},
        {"assigned, not announced",
         [](Assigner &, Names &assigned, Names &announced) {
             assigned.push_back(announced.back());
             announced.pop_back();
         }},
        {"another location", [](Assigner &a, Names &, Names &) { a.location = "uk"; }},
        {"a key's limit", [](Assigner &a, Names &, Names &) { a.limited = true; }},
    };
    for (const auto &[what, change] : changes) {
        SCOPED_TRACE(what);
        Assigner a;
        Names announced = {"own-1", "chunking"}, assigned = a.assign("w1", 1, cpu, {}, announced);
        ASSERT_FALSE(assigned.empty());
        change(a, assigned, announced);
        a.put("w1", 1, assigned, online, false, announced);
        EXPECT_EQ(assigner_promise_count(a.assigner), 0u);
        EXPECT_TRUE(assigner_check(a.assigner));
        for (const char *name : {"ner-extraction", "notes-coa", "redis"}) {
            bool has = std::count(assigned.begin(), assigned.end(), name) +
                           std::count(announced.begin(), announced.end(), name) >
                       0;
            EXPECT_EQ(a.gap(name).healthy_workers, has ? 1u : 0u) << name;
        }
        a.put("w1", 1, {"redis"});
        EXPECT_EQ(a.gap("redis").healthy_workers, 1u);
        a.remove("w1", 1);
        EXPECT_EQ(assigner_worker_count(a.assigner), 0u);
        EXPECT_EQ(a.gap("redis").healthy_workers, 0u);
    }
}

TEST(Assigner, APromiseThatIsNotKeptIsForgotten)
{
    Assigner a;
    EXPECT_EQ(a.assign("w1", 1, cpu, {}, {}, 1000).size(), 3u);
    assigner_expire(a.assigner, 1000 + ASSIGNER_PROMISE_MS - 1);
    EXPECT_EQ(assigner_promise_count(a.assigner), 1u);
    assigner_expire(a.assigner, 1000 + ASSIGNER_PROMISE_MS);
    EXPECT_EQ(assigner_promise_count(a.assigner), 0u);
    EXPECT_EQ(a.assign("w2", 1).size(), 3u);
}

TEST(Assigner, ARegistrationThatFailedLeavesTheOldRecordCounting)
{
    Assigner a;
    a.put("w1", 1, {"notes-coa"});
    a.assign("w1", 2, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE, {"notes-coa"});
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 1u);
    assigner_expire(a.assigner, 1000 + ASSIGNER_PROMISE_MS);
    EXPECT_EQ(a.assign("w2", 1).front(), "ner-extraction");
}

TEST(Assigner, ASnapshotReplacesWhatWasKnown)
{
    Assigner a;
    EXPECT_FALSE(assigner_is_synchronised(a.assigner));
    a.put("w1", 1, {"notes-coa"}, online, false, {}, cpu, true, false);
    EXPECT_FALSE(assigner_is_synchronised(a.assigner));
    EXPECT_EQ(assigner_revision(a.assigner), 0u);
    a.put("w2", 1, {"notes-coa"}, online, false, {}, cpu, false, true);
    EXPECT_TRUE(assigner_is_synchronised(a.assigner));
    EXPECT_GT(assigner_revision(a.assigner), 0u);
    EXPECT_EQ(assigner_worker_count(a.assigner), 2u);
    a.put("w2", 2, {"redis"}, online, false, {}, cpu, true, true);
    EXPECT_EQ(assigner_worker_count(a.assigner), 1u);
    EXPECT_EQ(a.gap("notes-coa").healthy_workers, 0u);
    EXPECT_EQ(a.gap("redis").healthy_workers, 1u);
}

TEST(Assigner, AnotherCatalogIsCountedAnew)
{
    Assigner a;
    a.put("w1", 1, {"notes-coa"}, online, false, {"brand-new"});
    a.assign("w2", 1);
    const char file[] = R"({"services": [{"name": "new", "tier": 2, "priority": 1, "port": 1, "aliases": ["brand-new"]},
                                         {"name": "ner-extraction", "tier": 2, "priority": 1, "port": 1}]})";
    char error[CATALOG_ERROR_BYTES];
    ASSERT_TRUE(assigner_set_catalog(a.assigner, catalog_parse(file, strlen(file), error)));
    EXPECT_TRUE(assigner_check(a.assigner));
    EXPECT_EQ(a.gap("new").healthy_workers, 1u);
    EXPECT_EQ(a.gap("ner-extraction").healthy_workers, 0u);
}

TEST(Assigner, RunningCountsNeverDrift)
{
    struct random random;
    random_seed(&random, 7);
    Assigner a;
    const Names pool = {"notes-coa", "ner-extraction", "ner", "llm", "redis", "unknown", "coordinator"};
    uint64_t now_ms = 0;
    for (int step = 0; step < 20000; step++) {
        std::string id = "w" + std::to_string(random_below(&random, 40));
        uint64_t incarnation = 1 + random_below(&random, 4);
        auto type = static_cast<Muster__V1__WorkerType>(1 + random_below(&random, 4));
        auto status = static_cast<Muster__V1__WorkerStatus>(1 + random_below(&random, 5));
        Names assigned, announced;
        for (const auto &name : pool) {
            if (random_below(&random, 4) == 0)
                assigned.push_back(name);
            if (random_below(&random, 4) == 0)
                announced.push_back(name);
        }
        now_ms += random_below(&random, 1000);
        switch (random_below(&random, 6)) {
        case 0:
            a.put(id, incarnation, assigned, status, random_below(&random, 4) == 0, announced, type,
                  random_below(&random, 50) == 0, random_below(&random, 3) == 0);
            break;
        case 1:
            a.status(id, incarnation, status);
            break;
        case 2:
            a.remove(id, incarnation);
            break;
        case 3:
            assigner_expire(a.assigner, now_ms);
            break;
        default:
            assigner_expect(a.assigner, id.c_str());
            a.assign(id, incarnation, type, assigned, announced, now_ms);
        }
        if (step % 16 == 0) {
            ASSERT_TRUE(assigner_check(a.assigner)) << "step " << step;
        }
    }
    EXPECT_GT(assigner_worker_count(a.assigner), 0u);
}

// --- Services that lost their last worker ---

// A catalog with that one service, which needs a CPU; or these, which need a GPU.
struct catalog *catalog_of(const Names &names, const char *type)
{
    std::string json = R"({"services": [)";
    for (const auto &name : names)
        json += (name == names[0] ? "" : ",") + std::string(R"({"name": ")") + name + R"(", "requires": ")" + type +
                R"(", "priority": 1, "port": 1})";
    json += "]}";
    char error[CATALOG_ERROR_BYTES] = "";
    struct catalog *catalog = catalog_parse(json.data(), json.size(), error);
    EXPECT_NE(catalog, nullptr) << error;
    return catalog;
}

struct Adapting : Assigner {
    Adapting() : Adapting(catalog_create_default()) {}
    explicit Adapting(struct catalog *catalog) : Assigner(catalog)
    {
        send(nullptr, true, true);
    }
    // The worker says how each of its services is.
    void say(const std::string &id, uint64_t incarnation, const std::map<std::string, std::string> &states)
    {
        Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
        std::vector<Muster__V1__ServiceState> messages(states.size());
        std::vector<Muster__V1__ServiceState *> pointers;
        for (const auto &[name, state] : states) {
            auto &message = messages[pointers.size()];
            muster__v1__service_state__init(&message);
            message.name = text(name);
            message.state = text(state);
            pointers.push_back(&message);
        }
        load.n_services_status = pointers.size();
        load.services_status = pointers.data();
        Muster__V1__WorkerHealth health = MUSTER__V1__WORKER_HEALTH__INIT, *list = &health;
        health.worker_id = text(id);
        health.incarnation = incarnation;
        health.load = &load;
        Muster__V1__WatchHealthResponse message = MUSTER__V1__WATCH_HEALTH_RESPONSE__INIT;
        message.n_workers = 1;
        message.workers = &list;
        assigner_apply_health(assigner, &message, 1);
    }
    // "worker: a, b, c", or "" when nobody is to be asked.
    std::string move(uint64_t now_ms)
    {
        const struct assigner_move *move = assigner_next_move(assigner, now_ms);
        if (move == nullptr)
            return "";
        std::string text = std::string(move->worker_id) + ":";
        for (size_t i = 0; i < move->assigned_count; i++)
            text += std::string(" ") + move->assigned[i];
        return text;
    }
};

TEST(Assigner, ALostServiceGoesToNobodyWhoseKeyForbidsIt)
{
    Adapting a;
    a.put("w1", 1, {"notes-coa"});
    a.limited = true;
    a.permitted = {"ner-extraction"};
    a.put("w2", 1, {"ner-extraction"});
    a.remove("w1", 1);
    EXPECT_EQ(a.move(1000), "");
    EXPECT_EQ(a.move(1000 + ASSIGNER_LOST_MS), "") << "nobody may";
    a.permitted = {"ner-extraction", "notes-coa"};
    a.put("w2", 2, {"ner-extraction"});
    EXPECT_EQ(a.move(1000 + ASSIGNER_LOST_MS + ASSIGNER_RETRY_MS), "w2: ner-extraction notes-coa");
}

TEST(AssignerAdapts, AServiceThatLostItsLastWorkerGoesToOneThatHasRoom)
{
    Adapting a;
    a.put("w1", 1, {"ner-extraction", "document-processing", "notes-coa"});
    a.put("w2", 1, {"ner-extraction", "document-processing"});
    a.put("w3", 1, {"ner-extraction"});
    EXPECT_EQ(a.move(1000), "");
    a.status("w1", 1, offline);
    EXPECT_EQ(a.move(2000), "") << "it may be back at once";
    EXPECT_EQ(a.move(2000 + ASSIGNER_LOST_MS - 1), "");
    EXPECT_EQ(a.move(2000 + ASSIGNER_LOST_MS), "w3: ner-extraction notes-coa") << "the one with the fewest";
    EXPECT_EQ(a.move(2000 + ASSIGNER_LOST_MS), "") << "it is promised";
    EXPECT_EQ(a.move(9000), "");
    a.put("w3", 1, {"ner-extraction", "notes-coa"});
    EXPECT_EQ(assigner_promise_count(a.assigner), 0u);
    EXPECT_EQ(a.move(10000), "");
    a.status("w1", 1, online);
    EXPECT_EQ(a.move(11000), "") << "nothing moves back";
    a.remove("w1", 1);
    EXPECT_EQ(a.move(12000), "");
}

TEST(AssignerAdapts, AWorkerThatComesBackInTimeMovesNothing)
{
    Adapting a(catalog_of({"notes-coa"}, "cpu"));
    a.put("w1", 1, {"notes-coa"});
    a.put("w2", 1, {});
    EXPECT_EQ(a.move(1000), "");
    for (uint64_t now = 2000; now < 60000; now += 1000) {
        a.status("w1", 1, offline);
        EXPECT_EQ(a.move(now), "");
        a.status("w1", 1, online);
        EXPECT_EQ(a.move(now + ASSIGNER_LOST_MS - 1), "");
    }
}

TEST(AssignerAdapts, OnlyThoseAreAskedWhoCanAndWhoHaveRoom)
{
    Adapting a;
    a.put("gone", 1, {"notes-coa"});
    a.put("full", 1, {"ner-extraction", "document-processing", "chromadb", "redis"}); // two CPU services: room for one
    a.put("drains", 1, {}, online, true);
    a.put("away", 1, {}, offline);
    a.put("storage", 1, {}, online, false, {}, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE);
    a.put("announces", 1, {}, online, true, {"notes-coa"});
    EXPECT_EQ(a.move(1000), "");
    a.remove("gone", 1);
    a.move(2000);
    EXPECT_EQ(a.move(3000), "full: ner-extraction document-processing chromadb redis notes-coa");
}

TEST(AssignerAdapts, AFullWorkerIsNotAskedAndALaterOneIs)
{
    Adapting a(catalog_of({"llm-inference", "vision-ocr", "rag-embeddings"}, "gpu"));
    const Names gpu_services = {"llm-inference", "vision-ocr"};
    constexpr auto gpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
    a.put("gone", 1, {"rag-embeddings"}, online, false, {}, gpu);
    a.put("full", 1, gpu_services, online, false, {}, gpu);
    EXPECT_EQ(a.move(1000), "");
    a.remove("gone", 1);
    a.move(2000);
    EXPECT_EQ(a.move(3000), "");
    a.put("new", 1, {}, online, false, {}, gpu);
    EXPECT_EQ(a.move(3000 + ASSIGNER_RETRY_MS - 1), "") << "looked around a moment ago";
    EXPECT_EQ(a.move(3000 + ASSIGNER_RETRY_MS), "new: rag-embeddings");
}

TEST(AssignerAdapts, AMoveThatTheRegistryRefusedIsMadeAgain)
{
    Adapting a(catalog_of({"notes-coa"}, "cpu"));
    a.put("w1", 1, {"notes-coa"});
    a.put("w2", 4, {});
    EXPECT_EQ(a.move(1000), "");
    a.remove("w1", 1);
    a.move(2000);
    EXPECT_EQ(a.move(3000), "w2: notes-coa");
    assigner_move_failed(a.assigner, "w2");
    assigner_move_failed(a.assigner, "nobody");
    EXPECT_EQ(a.move(4000), "");
    EXPECT_EQ(a.move(3000 + ASSIGNER_RETRY_MS + ASSIGNER_LOST_MS), "w2: notes-coa");
}

TEST(AssignerAdapts, TheMostImportantComesFirst)
{
    Adapting a;
    a.put("w1", 1, {"notes-coa", "document-processing"});
    a.put("w2", 1, {});
    a.put("w3", 1, {});
    a.put("w4", 1, {"ner-extraction"}, online, false, {"document-processing-2"});
    EXPECT_EQ(a.move(1000), "");
    a.remove("w1", 1);
    a.move(2000);
    std::string first = a.move(3000), second = a.move(3000);
    EXPECT_NE(first.find(": document-processing"), std::string::npos) << first;
    EXPECT_NE(second.find(": notes-coa"), std::string::npos) << second;
    EXPECT_NE(first.substr(0, 2), second.substr(0, 2)) << "one each";
    EXPECT_EQ(a.move(3000), "");
}

TEST(AssignerAdapts, WhatNobodyEverHadIsGivenToSomebodyToo)
{
    Adapting a;
    a.put("w1", 1, {"notes-coa", "document-processing"}); // the catalog's third CPU service is a new one
    EXPECT_EQ(a.move(1000), "");
    EXPECT_EQ(a.move(1000 + ASSIGNER_LOST_MS), "w1: notes-coa document-processing ner-extraction");
    a.put("w1", 1, {"notes-coa", "document-processing", "ner-extraction"});

    // But what the policy leaves to the second edge worker is left to it.
    constexpr auto edge = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE;
    a.put("e1", 1, {"coordinator", "edge-proxy"}, online, false, {}, edge);
    EXPECT_EQ(a.move(2000), "");
    EXPECT_EQ(a.move(3000), "");
    a.put("e2", 1, {"coordinator"}, online, false, {}, edge);
    EXPECT_EQ(a.move(6000), "e2: coordinator load-balancer");
    a.put("e2", 1, {"coordinator", "load-balancer"}, online, false, {}, edge);
    // Until it had one, and lost it.
    a.status("e2", 1, offline);
    EXPECT_EQ(a.move(7000), "");
    EXPECT_EQ(a.move(8000), "e1: coordinator edge-proxy load-balancer");
}

TEST(AssignerAdapts, AGpuWorkerTakesACpuServiceOnlyIfNoCpuWorkerCan)
{
    constexpr auto gpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
    Adapting a(catalog_of({"a", "b"}, "cpu"));
    a.put("gone", 1, {"a", "b"});
    a.put("gpu", 1, {}, online, false, {}, gpu);
    a.put("cpu", 1, {"b"});
    EXPECT_EQ(a.move(1000), "");
    a.remove("gone", 1);
    a.move(2000);
    EXPECT_EQ(a.move(2000 + ASSIGNER_LOST_MS), "cpu: b a") << "though it has more to do";
    a.put("cpu", 1, {"b", "a"});
    EXPECT_EQ(a.move(3000), "");
    a.remove("cpu", 1);
    a.move(5000);
    EXPECT_EQ(a.move(5000 + ASSIGNER_LOST_MS), "gpu: a");
}

TEST(AssignerAdapts, OneThatHasItsShareGivesUpWhatOthersRunToo)
{
    constexpr auto gpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
    Adapting a(catalog_of({"a", "b", "c"}, "gpu"));
    a.put("w1", 1, {"a", "b"}, online, false, {}, gpu);
    a.put("w2", 1, {"b", "c"}, online, false, {}, gpu);
    a.put("w3", 1, {"c"}, online, true, {}, gpu);
    EXPECT_EQ(a.move(1000), "");
    a.put("w1", 1, {"a", "b"}, online, true, {}, gpu); // an operator drains it: a has nobody
    EXPECT_EQ(a.move(2000), "");
    EXPECT_EQ(a.move(3000), "") << "w2 is the only one with b, and with c";
    a.put("w3", 1, {"c"}, online, false, {}, gpu);
    EXPECT_EQ(a.move(5000), "w3: c a") << "it has room";
    a.put("w3", 1, {"c", "a"}, online, false, {}, gpu);
    a.put("w4", 1, {"b", "c"}, online, false, {}, gpu);
    a.put("w3", 1, {"c", "a"}, online, true, {}, gpu);
    a.move(6000);
    const struct assigner_move *move = assigner_next_move(a.assigner, 7000);
    ASSERT_NE(move, nullptr);
    EXPECT_EQ(move->assigned_count, 3u);
    EXPECT_STREQ(move->swap_to, "a");
    EXPECT_STREQ(move->swap_from, "b");
    EXPECT_EQ(a.move(7000), "");
}

TEST(AssignerAdapts, AServiceThatFailsEverywhereIsNotTriedEverywhere)
{
    Adapting a(catalog_of({"a"}, "cpu"));
    std::map<std::string, bool> tried;
    for (int i = 0; i < 20; i++)
        a.put("w" + std::to_string(i), 1, {});
    auto tries_until = [&a, &tried](uint64_t from_ms, uint64_t until_ms) {
        for (uint64_t now = from_ms; now < until_ms; now += 100) {
            std::string move = a.move(now);
            if (move.empty())
                continue;
            std::string id = move.substr(0, move.find(':'));
            EXPECT_FALSE(tried[id]);
            tried[id] = true;
            a.put(id, 1, {"a"});
            a.say(id, 1, {{"a", "failed"}});
        }
        return tried.size();
    };
    EXPECT_EQ(tries_until(1000, 7000), 3u);
    EXPECT_EQ(tries_until(7000, 60000), 6u) << "after 2, 8 and 32 s more";
    EXPECT_LE(tries_until(60000, 3600000), 13u);
    a.put("w0", 1, {"a"});
    a.say("w0", 1, {{"a", "running"}});
    tried["w0"] = true;
    size_t before = tried.size();
    EXPECT_EQ(tries_until(3600000, 7200000), before) << "it runs somewhere";
}

// A registration and a move of the same worker cross each other on their way: whichever the registry takes first, the
// worker is not left with both services of a swap that nobody knows of.
TEST(AssignerAdapts, ADecisionDoesNotKeepWhatAMoveTakesAway)
{
    constexpr auto gpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
    Adapting a(catalog_of({"a", "b", "c"}, "gpu"));
    a.put("w1", 1, {"b", "c"}, online, false, {}, gpu);
    a.put("w2", 1, {"b", "c"}, online, false, {}, gpu);
    EXPECT_EQ(a.move(1000), "");
    const struct assigner_move *move = assigner_next_move(a.assigner, 2000);
    ASSERT_NE(move, nullptr);
    std::string id = move->worker_id, from = move->swap_from;
    // The registry has not taken it, and asks what a new registration of the worker should run: not what it never had.
    EXPECT_EQ(a.assign(id, 2, gpu, {"b", "c"}, {}, 2000), (Names{"b", "c"}));
    // It has taken it meanwhile; the registration is refused, or comes later.
    a.swap = {from, "a"};
    a.put(id, 2, {"b", "c", "a"}, online, false, {}, gpu);
    a.say(id, 2, {{"a", "running"}, {"b", "running"}, {"c", "running"}});
    move = assigner_next_move(a.assigner, 3000);
    ASSERT_NE(move, nullptr);
    EXPECT_EQ(move->reason, ASSIGNER_MOVE_DROP);
    EXPECT_EQ(a.assign(id, 3, gpu, {"b", "c", "a"}, {}, 3000), (Names{from == "b" ? "c" : "b", "a"}));
}

// Days of workers that come and go: no more moves than losses, and each service that can be has a worker.
TEST(AssignerAdapts, NothingOscillatesWhateverComesAndGoes)
{
    Adapting a;
    struct random random;
    random_seed(&random, 7);
    std::map<std::string, Names> roll;
    std::map<std::string, bool> up;
    uint64_t now = 1000, losses = 0, moves = 0, incarnation = 1;
    for (int i = 0; i < 8; i++) {
        std::string id = "w" + std::to_string(i);
        roll[id] = a.assign(id, incarnation, cpu, {}, {}, now);
        a.put(id, incarnation, roll[id]);
        up[id] = true;
    }
    for (int step = 0; step < 20000; step++) { // of 30 s: a week
        auto id = "w" + std::to_string(random_below(&random, 8));
        if (random_below(&random, 10) == 0) {
            up[id] = !up[id];
            losses += up[id] ? 0 : roll[id].size();
            a.status(id, incarnation, up[id] ? online : offline);
        }
        for (int look = 0; look < 300; look++, now += 100) {
            const struct assigner_move *move = assigner_next_move(a.assigner, now);
            if (move == nullptr)
                continue;
            moves++;
            std::string who = move->worker_id;
            EXPECT_TRUE(up[who]);
            roll[who] = Names(move->assigned, move->assigned + move->assigned_count);
            EXPECT_LE(roll[who].size(), 3u);
            a.put(who, incarnation, roll[who]);
        }
        for (const char *service : {"ner-extraction", "document-processing", "notes-coa"}) {
            bool possible = false, has = false;
            for (const auto &[name, services] : roll) {
                has |= up[name] && std::count(services.begin(), services.end(), service) > 0;
                possible |= up[name] && services.size() < 3;
            }
            EXPECT_TRUE(has || !possible) << service << " after " << step << " steps";
        }
    }
    EXPECT_LE(moves, losses);
    EXPECT_LE(moves, 8u * 3) << "a worker is given no more than its share, once";
}

TEST(Assigner, CountsLocationsOfWhatIsToBeSpread)
{
    const std::string file = R"({"services": [
        {"name": "a", "requires": "cpu", "priority": 1, "port": 1},
        {"name": "b", "requires": "cpu", "priority": 2, "port": 1, "anti_affinity": "location"}]})";
    char error[CATALOG_ERROR_BYTES];
    Assigner a(catalog_parse(file.data(), file.size(), error));
    a.location = "uk";
    a.put("w1", 1, {"b"});
    for (int i = 0; i < 4; i++)
        a.put("x" + std::to_string(i), 1, {"a"});
    EXPECT_EQ(a.assign("w2", 1), Names{"a"}) << "b has fewer workers, but one is here";
    a.location = "de";
    EXPECT_EQ(a.assign("w3", 1), Names{"b"});
    EXPECT_EQ(a.assign("w4", 1), Names{"a"}) << "a promise counts at its location";
    a.location = "uk";
    a.remove("w1", 1);
    EXPECT_EQ(a.assign("w5", 1), Names{"b"}) << "nobody is here any more";
    a.location = "";
    a.remove("w5", 1);
    EXPECT_EQ(a.assign("w6", 1), Names{"b"}) << "who does not say where it is is nowhere";
    // Another catalog counts anew, in its own numbers.
    ASSERT_TRUE(assigner_set_catalog(a.assigner, catalog_parse(file.data(), file.size(), error)));
    EXPECT_TRUE(assigner_check(a.assigner));
}

struct Explained {
    bool called = false, counts = false;
    std::map<std::string, enum policy_verdict> verdicts;
    std::map<std::string, uint32_t> coverage;
    std::map<std::string, bool> now;
    std::string location, reason;
};

Explained explain(Assigner &a, const char *id, bool *found)
{
    struct Argument {
        Explained result;
        const struct catalog *catalog;
    } argument = {{}, assigner_catalog(a.assigner)};
    bool done = assigner_explain(
        a.assigner, id, found,
        [](const struct assigner_explanation *explanation, void *opaque) {
            auto *passed = static_cast<Argument *>(opaque);
            passed->result.called = true;
            passed->result.counts = explanation->counts;
            passed->result.location = explanation->location;
            char reason[POLICY_REASON_BYTES];
            policy_reason(passed->catalog, explanation->decision, reason);
            passed->result.reason = reason;
            for (size_t i = 0; i < catalog_count(passed->catalog); i++) {
                const char *name = catalog_at(passed->catalog, i)->name;
                passed->result.verdicts[name] = explanation->decision->verdicts[i];
                passed->result.coverage[name] = explanation->coverage[i];
                passed->result.now[name] = explanation->assigned_now[i];
            }
        },
        &argument);
    EXPECT_EQ(done, argument.result.called);
    return argument.result;
}

TEST(Assigner, ExplainsWithoutChangingAnything)
{
    Assigner a;
    bool found = true;
    EXPECT_FALSE(explain(a, "nobody", &found).called);
    EXPECT_FALSE(found);
    a.location = "uk";
    a.put("w1", 1, {"notes-coa"});
    a.put("w2", 1, {"ner-extraction", "notes-coa"}, online, false, {"upload"});
    for (int i = 0; i < 2; i++) {
        Explained explained = explain(a, "w2", &found);
        EXPECT_TRUE(found && explained.called && explained.counts);
        EXPECT_EQ(explained.location, "uk");
        EXPECT_EQ(explained.verdicts["ner-extraction"], POLICY_KEPT);
        EXPECT_EQ(explained.verdicts["document-processing"], POLICY_ANNOUNCED);
        EXPECT_EQ(explained.coverage["notes-coa"], 1u) << "the worker itself is left out";
        EXPECT_EQ(explained.coverage["ner-extraction"], 0u);
        EXPECT_TRUE(explained.now["notes-coa"]);
        EXPECT_FALSE(explained.now["document-processing"]) << "announced, not assigned";
        EXPECT_EQ(explained.verdicts["redis"], POLICY_OTHER_TYPE);
        EXPECT_EQ(assigner_promise_count(a.assigner), 0u);
        EXPECT_TRUE(assigner_check(a.assigner));
    }
    a.status("w2", 1, offline);
    EXPECT_FALSE(explain(a, "w2", &found).counts);
    // What it was promised is what it is being told.
    a.assign("w3", 1);
    EXPECT_TRUE(explain(a, "w3", &found).now["document-processing"]);
}

} // namespace
