// The policy: the contract's worked examples, its sentences one by one, and properties that
// hold for random fleets.

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

extern "C" {
#include "common/random.h"
#include "services/assigner/policy.h"
}

namespace
{

constexpr auto gpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
constexpr auto cpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
constexpr auto storage = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE;
constexpr auto edge = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE;

using Names = std::vector<std::string>;

// A fleet that only grows: coverage is what was decided so far.
struct Fleet {
    Fleet() : Fleet(catalog_create_default()) {}
    explicit Fleet(struct catalog *of) : catalog(of, catalog_destroy), workers(catalog_count(of))
    {
        before.resize(workers.size());
        services.resize(workers.size());
        verdicts.resize(workers.size());
        here.resize(workers.size());
    }

    Names decide(Muster__V1__WorkerType type, const Names &current = {}, const Names &announced = {})
    {
        const std::vector<uint32_t> current_numbers = numbers(current), announced_numbers = numbers(announced);
        struct policy_coverage coverage = {};
        coverage.workers = workers.data();
        coverage.here = here.data();
        std::copy(by_type, by_type + 5, coverage.workers_by_type);
        struct policy_worker worker = {id.c_str(),
                                       type,
                                       current_numbers.data(),
                                       current_numbers.size(),
                                       announced_numbers.data(),
                                       announced_numbers.size(),
                                       limited ? permitted.c_str() : nullptr};
        decision.services = services.data();
        decision.before = before.data();
        decision.verdicts = verdicts.data();
        std::fill(verdicts.begin(), verdicts.end(), POLICY_UNDECIDED);
        policy_decide(catalog.get(), &coverage, &worker, &decision);
        policy_judge_the_rest(catalog.get(), &coverage, &worker, &decision);
        Names names;
        for (size_t i = 0; i < decision.count; i++)
            names.push_back(catalog_at(catalog.get(), decision.services[i])->name);
        return names;
    }

    std::vector<uint32_t> numbers(const Names &names) const
    {
        std::vector<uint32_t> found;
        for (const auto &name : names)
            found.push_back(catalog_number(catalog.get(), name.c_str()));
        return found;
    }

    std::string reason() const
    {
        char text[POLICY_REASON_BYTES];
        policy_reason(catalog.get(), &decision, text);
        return text;
    }

    Names add(Muster__V1__WorkerType type, const Names &announced = {})
    {
        Names names = decide(type, {}, announced);
        std::set<size_t> covered;
        for (const auto &name : names)
            covered.insert(catalog_find(catalog.get(), name.c_str()));
        for (const auto &name : announced)
            covered.insert(catalog_find(catalog.get(), name.c_str()));
        for (size_t number : covered)
            if (number != CATALOG_NONE)
                workers[number]++;
        by_type[type]++;
        return names;
    }

    uint32_t coverage(const char *name)
    {
        return workers[catalog_find(catalog.get(), name)];
    }

    std::unique_ptr<struct catalog, void (*)(struct catalog *)> catalog;
    std::vector<uint32_t> workers;
    enum policy_verdict verdict(const char *name)
    {
        return verdicts[catalog_find(catalog.get(), name)];
    }

    std::string id = "a-worker"; // who is decided for
    bool limited = false;
    std::string permitted;      // names, each with a zero byte
    std::vector<uint32_t> here; // who runs it where the worker is
    std::vector<enum policy_verdict> verdicts;
    uint32_t by_type[5] = {};
    std::vector<uint32_t> services, before;
    struct policy_decision decision = {};
};

TEST(Policy, WorkedExamplesOfTheContractInTheirOrder)
{
    Fleet fleet;
    EXPECT_EQ(fleet.add(edge), (Names{"coordinator", "edge-proxy"}));
    EXPECT_EQ(fleet.add(cpu), (Names{"ner-extraction", "document-processing", "notes-coa"}));
    EXPECT_EQ(fleet.add(gpu), (Names{"llm-inference", "vision-ocr"}));
    EXPECT_EQ(fleet.add(gpu).front(), "rag-embeddings");
}

TEST(Policy, TheNextEdgeWorkerGetsTheLoadBalancerToo)
{
    Fleet fleet;
    fleet.add(edge);
    EXPECT_EQ(fleet.add(edge), (Names{"load-balancer", "coordinator", "edge-proxy"}));
}

TEST(Policy, OneEachWhenThereAreAsManyWorkersAsServices)
{
    Fleet fleet;
    fleet.add(cpu);
    EXPECT_EQ(fleet.add(cpu).size(), 2u);
    EXPECT_EQ(fleet.add(cpu), (Names{"notes-coa"}));
    EXPECT_EQ(fleet.add(cpu).size(), 1u);
    fleet.add(edge);
    fleet.add(edge);
    EXPECT_EQ(fleet.add(edge), (Names{"load-balancer"}));
}

TEST(Policy, AStorageWorkerRunsSeveral)
{
    Fleet fleet;
    EXPECT_EQ(fleet.add(storage), (Names{"chromadb", "redis", "postgres", "minio", "neo4j"}));
    EXPECT_EQ(fleet.add(storage), (Names{"chromadb", "redis", "postgres"}));
    EXPECT_EQ(fleet.add(storage), (Names{"minio", "neo4j", "chromadb"}));
}

TEST(Policy, AGpuWorkerGetsOneServiceOnceThereAreNoGaps)
{
    Fleet fleet;
    fleet.add(cpu);
    fleet.add(gpu);
    EXPECT_EQ(fleet.add(gpu), (Names{"rag-embeddings"}));
    EXPECT_EQ(fleet.add(gpu), (Names{"llm-inference"}));
    EXPECT_EQ(fleet.add(gpu), (Names{"vision-ocr"}));
}

TEST(Policy, AGpuWorkerFillsCpuGapsThatNobodyElseCan)
{
    Fleet fleet;
    EXPECT_EQ(fleet.add(gpu), (Names{"llm-inference", "vision-ocr", "ner-extraction", "document-processing"}));
    EXPECT_EQ(fleet.add(gpu), (Names{"rag-embeddings", "notes-coa"}));
}

TEST(Policy, WhatAWorkerAnnouncesIsCoveredAndNotAssignedAgain)
{
    Fleet fleet;
    // By name and by alias.
    EXPECT_EQ(fleet.add(cpu, {"document-processing", "ner", "own-thing"}), (Names{"notes-coa"}));
    EXPECT_EQ(fleet.coverage("ner-extraction"), 1u);
    EXPECT_EQ(fleet.add(edge, {"coordinator", "edge-proxy", "load-balancer"}), (Names{}));
    EXPECT_NE(fleet.reason().find("announced"), std::string::npos) << fleet.reason();
}

TEST(Policy, AnnouncedServicesOfAnotherTypeStillCount)
{
    Fleet fleet;
    fleet.add(cpu, {"llm"});
    EXPECT_EQ(fleet.add(gpu).front(), "vision-ocr");
}

TEST(Policy, RegisteringAgainKeepsWhatFitsInItsOrder)
{
    Fleet fleet;
    fleet.add(cpu);
    fleet.add(cpu);
    fleet.add(cpu);
    fleet.add(cpu);
    EXPECT_EQ(fleet.decide(cpu, {"notes-coa", "ner-extraction"}), (Names{"notes-coa", "ner-extraction"}));
    EXPECT_EQ(fleet.decision.kept, 2u);
    // Became an edge worker: none of the old ones fits.
    EXPECT_EQ(fleet.decide(edge, {"notes-coa"}), (Names{"coordinator", "edge-proxy"}));
    EXPECT_EQ(fleet.decision.kept, 0u);
    // Out of the catalog, named twice, or announced meanwhile.
    EXPECT_EQ(fleet.decide(cpu, {"gone", "notes-coa", "notes-coa"}), (Names{"notes-coa"}));
    EXPECT_EQ(fleet.decide(cpu, {"notes-coa"}, {"notes"}).size(), 1u);
    EXPECT_NE(fleet.decide(cpu, {"notes-coa"}, {"notes"}).front(), "notes-coa");
}

TEST(Policy, AGpuWorkersCpuServicesDoNotBecomeMoreByRegisteringAgain)
{
    Fleet fleet;
    Names first = fleet.decide(gpu);
    EXPECT_EQ(first, (Names{"llm-inference", "vision-ocr", "ner-extraction", "document-processing"}));
    EXPECT_EQ(fleet.decide(gpu, first), first) << "nobody runs notes-coa, but two of them are enough";
    // They do not count among those that need a graphics processor.
    EXPECT_EQ(fleet.decide(gpu, {"ner-extraction", "document-processing"}),
              (Names{"ner-extraction", "document-processing", "llm-inference", "vision-ocr"}));
}

TEST(Policy, TheReasonSaysWhatDecided)
{
    Fleet fleet;
    fleet.add(cpu);
    fleet.decide(cpu, {"notes-coa"});
    EXPECT_EQ(fleet.reason(), "worker 2 of type cpu; keeps notes-coa; takes ner-extraction (1 before it)");
}

TEST(Policy, PropertiesOfRandomFleets)
{
    struct random random;
    random_seed(&random, 20260105);
    for (int round = 0; round < 300; round++) {
        Fleet fleet;
        for (int step = 0; step < 40; step++) {
            auto type = static_cast<Muster__V1__WorkerType>(1 + random_below(&random, 4));
            Names current, announced;
            for (size_t i = 0; i < catalog_count(fleet.catalog.get()); i++) {
                if (random_below(&random, 8) == 0)
                    current.push_back(catalog_at(fleet.catalog.get(), i)->name);
                if (random_below(&random, 10) == 0)
                    announced.push_back(catalog_at(fleet.catalog.get(), i)->name);
            }
            std::vector<uint32_t> before = fleet.workers;
            Names names = fleet.decide(type, current, announced);
            std::set<std::string> distinct(names.begin(), names.end());
            ASSERT_EQ(distinct.size(), names.size());
            ASSERT_LE(names.size() - fleet.decision.kept, static_cast<size_t>(POLICY_MAX_NEW));
            for (const auto &name : names) {
                size_t number = catalog_find(fleet.catalog.get(), name.c_str());
                ASSERT_NE(number, CATALOG_NONE);
                ASSERT_TRUE(catalog_fits(catalog_at(fleet.catalog.get(), number), type)) << name;
                ASSERT_EQ(std::count(announced.begin(), announced.end(), name), 0);
            }
            for (const auto &name : current) {
                size_t number = catalog_find(fleet.catalog.get(), name.c_str());
                bool fits = catalog_fits(catalog_at(fleet.catalog.get(), number), type);
                bool is_announced = std::count(announced.begin(), announced.end(), name) > 0;
                ASSERT_EQ(distinct.count(name), fits && !is_announced ? 1u : 0u) << name;
            }
            // Whoever has something left to run, and nothing yet, runs something.
            size_t possible = 0;
            for (size_t i = 0; i < catalog_count(fleet.catalog.get()); i++) {
                const struct catalog_service *service = catalog_at(fleet.catalog.get(), i);
                possible +=
                    service->requires == type && std::count(announced.begin(), announced.end(), service->name) == 0;
            }
            ASSERT_EQ(names.empty(), possible == 0 && names.empty());
            ASSERT_LT(fleet.reason().size(), static_cast<size_t>(POLICY_REASON_BYTES));
            // The first new one has the fewest workers among those of its type that were left.
            if (names.size() > fleet.decision.kept) {
                size_t first = catalog_find(fleet.catalog.get(), names[fleet.decision.kept].c_str());
                for (size_t i = 0; i < catalog_count(fleet.catalog.get()); i++) {
                    const struct catalog_service *service = catalog_at(fleet.catalog.get(), i);
                    if (service->requires == catalog_at(fleet.catalog.get(), first)->requires &&
                        distinct.count(service->name) == 0 &&
                        std::count(announced.begin(), announced.end(), service->name) == 0) {
                        ASSERT_LE(before[first], before[i]);
                    }
                }
            }
            ASSERT_EQ(fleet.decide(type, names, announced), names) << "registering again moves nothing";
            fleet.add(type, announced);
        }
    }
}

TEST(Policy, AGrowingFleetCoversEverythingEvenly)
{
    Fleet fleet;
    for (int i = 0; i < 50; i++)
        for (auto type : {gpu, cpu, storage, edge})
            fleet.add(type);
    for (auto type : {gpu, cpu, storage, edge}) {
        uint32_t least = UINT32_MAX, most = 0;
        for (size_t i = 0; i < catalog_count(fleet.catalog.get()); i++) {
            if (catalog_at(fleet.catalog.get(), i)->requires != type)
                continue;
            least = std::min(least, fleet.workers[i]);
            most = std::max(most, fleet.workers[i]);
        }
        EXPECT_LE(most - least, 1u);
        EXPECT_GT(least, 9u);
    }
}

struct catalog *catalog_of(const std::string &text)
{
    char error[CATALOG_ERROR_BYTES] = "";
    struct catalog *catalog = catalog_parse(text.data(), text.size(), error);
    EXPECT_NE(catalog, nullptr) << error;
    return catalog;
}

std::string cpu_service(const std::string &name, const std::string &more = "")
{
    return "{\"name\": \"" + name + R"(", "requires": "cpu", "priority": 1, "port": 1)" + more + "}";
}

TEST(Policy, APinnedServiceGoesToItsWorkersAndToNobodyElse)
{
    Fleet fleet(catalog_of("{\"services\": [" + cpu_service("a") + "," + cpu_service("b") + "," + cpu_service("c") +
                           "," + cpu_service("p", R"(, "pinned_to": ["here"])") + "]}"));
    EXPECT_EQ(fleet.add(cpu), (Names{"a", "b", "c"}));
    EXPECT_EQ(fleet.verdict("p"), POLICY_PINNED_ELSEWHERE);
    for (int i = 0; i < 10; i++)
        fleet.add(cpu);
    EXPECT_EQ(fleet.coverage("p"), 0u) << "though it has the fewest";
    fleet.id = "here";
    Names names = fleet.add(cpu);
    EXPECT_EQ(names.front(), "p") << "it runs it in any case, though workers are plenty and get one each";
    EXPECT_EQ(names.size(), 1u) << "which is its share";
    EXPECT_EQ(fleet.verdict("p"), POLICY_PINNED);
    EXPECT_EQ(fleet.add(cpu).front(), "p") << "again, though somebody has it";
    fleet.id = "elsewhere";
    EXPECT_EQ(fleet.decide(cpu, {"p", "a"}), (Names{"a"})) << "what was pinned away is not kept";
}

TEST(Policy, AReservedWorkerRunsAllOfItsServicesAndNothingElse)
{
    Fleet fleet(catalog_of("{\"services\": [" + cpu_service("a") + "," + cpu_service("b") + "," + cpu_service("c") +
                           "," + cpu_service("d") + R"(], "reserved": {"mine": ["b", "c", "d"]}})"));
    fleet.id = "mine";
    EXPECT_EQ(fleet.add(cpu), (Names{"b", "c", "d"}));
    EXPECT_EQ(fleet.verdict("a"), POLICY_RESERVED_FOR_OTHERS) << "though nobody has it";
    EXPECT_EQ(fleet.verdict("b"), POLICY_RESERVED);
    EXPECT_EQ(fleet.decide(cpu, {"a", "b"}), (Names{"b", "c", "d"}));
    EXPECT_EQ(fleet.verdict("b"), POLICY_KEPT);
    fleet.id = "free";
    EXPECT_EQ(fleet.add(cpu).front(), "a");
}

TEST(Policy, WhatIsToBeSpreadComesLastWhereItIs)
{
    Fleet fleet(catalog_of("{\"services\": [" + cpu_service("a") + "," + cpu_service("b") + "," +
                           cpu_service("s", R"(, "anti_affinity": "location")") + "]}"));
    for (auto &count : fleet.workers)
        count = 5;
    fleet.workers[2] = 1; // the fewest
    fleet.by_type[cpu] = 20;
    EXPECT_EQ(fleet.decide(cpu), (Names{"s"}));
    fleet.here[2] = 1;
    EXPECT_EQ(fleet.decide(cpu), (Names{"a"}));
    EXPECT_EQ(fleet.verdict("s"), POLICY_SHARE_IS_FULL);
    fleet.here = {7, 7, 0};
    EXPECT_EQ(fleet.decide(cpu), (Names{"s"})) << "others are not to be spread: here they do not count";
    fleet.here[2] = 1;
    fleet.by_type[cpu] = 0; // the first gets three
    EXPECT_EQ(fleet.decide(cpu), (Names{"a", "b", "s"})) << "it is taken when nothing else is left";
}

TEST(Policy, WhatAWorkerIsToldToRunAndCannotIsSaid)
{
    Fleet fleet(catalog_of("{\"services\": [" + cpu_service("a") + "," +
                           cpu_service("p", R"(, "pinned_to": ["here", "there"])") + R"(],
                           "reserved": {"mine": ["a"]}})"));
    fleet.id = "here";
    EXPECT_EQ(fleet.decide(storage), Names{});
    EXPECT_TRUE(fleet.decision.misfits);
    EXPECT_EQ(fleet.verdict("p"), POLICY_MISFIT);
    EXPECT_EQ(fleet.verdict("a"), POLICY_OTHER_TYPE);
    EXPECT_NE(fleet.reason().find("cannot run p, which the catalog tells it to"), std::string::npos) << fleet.reason();
    fleet.id = "mine";
    EXPECT_EQ(fleet.decide(edge), Names{});
    EXPECT_EQ(fleet.verdict("a"), POLICY_MISFIT);
    fleet.id = "there";
    fleet.decide(gpu);
    EXPECT_FALSE(fleet.decision.misfits) << "a GPU worker can";
    EXPECT_EQ(fleet.verdict("p"), POLICY_PINNED);
}

TEST(Policy, AKeyIsStrongerThanAnyRule)
{
    Fleet fleet(catalog_of("{\"services\": [" + cpu_service("a") + "," + cpu_service("b") + "," +
                           cpu_service("p", R"(, "pinned_to": ["here"])") + R"(], "reserved": {"booked": ["a"]}})"));
    fleet.limited = true;
    fleet.permitted = std::string("b\0", 2);
    EXPECT_EQ(fleet.decide(cpu), (Names{"b"}));
    EXPECT_EQ(fleet.verdict("a"), POLICY_NOT_PERMITTED);
    EXPECT_EQ(fleet.decide(cpu, {"a", "b"}), (Names{"b"})) << "what it had and may not any more";
    fleet.id = "here";
    EXPECT_EQ(fleet.decide(cpu), (Names{"b"}));
    EXPECT_EQ(fleet.verdict("p"), POLICY_NOT_PERMITTED);
    fleet.id = "booked";
    EXPECT_EQ(fleet.decide(cpu), (Names{})) << "reserved for what it may not";
    fleet.id = "a-worker";
    fleet.permitted = "";
    EXPECT_EQ(fleet.decide(cpu), (Names{}));
    EXPECT_EQ(fleet.decide(gpu), (Names{})) << "nor what a GPU worker takes over";
    fleet.limited = false;
    EXPECT_EQ(fleet.decide(cpu).size(), 2u);
}

TEST(Policy, EachServiceHasAVerdictAndTheSharesFiguresAddUp)
{
    Fleet fleet;
    fleet.add(gpu, {"vision-ocr"});
    EXPECT_EQ(fleet.verdict("vision-ocr"), POLICY_ANNOUNCED);
    EXPECT_EQ(fleet.verdict("llm-inference"), POLICY_TAKEN);
    EXPECT_EQ(fleet.verdict("redis"), POLICY_OTHER_TYPE);
    fleet.add(cpu);
    fleet.add(gpu);
    EXPECT_EQ(fleet.verdict("notes-coa"), POLICY_COVERED) << "a GPU worker leaves it to those who have it";
    EXPECT_EQ(fleet.verdict("rag-embeddings"), POLICY_SHARE_IS_FULL);
    EXPECT_EQ(fleet.decision.share.workers, 2u);
    EXPECT_EQ(fleet.decision.share.services, 3u);
    EXPECT_EQ(fleet.decision.share.added, 1u);
    for (auto verdict : fleet.verdicts)
        EXPECT_NE(verdict, POLICY_UNDECIDED);
}

} // namespace
