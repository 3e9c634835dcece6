// The gateway's choice of a worker: the table's versions, weights, priorities, load, failures.

extern "C" {
#include "gateway/pick.h"
}

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace
{

struct EndpointSpec {
    std::string worker, url;
    uint32_t weight; // 0: it is removed
    uint32_t priority;
};
EndpointSpec gone(const std::string &worker)
{
    return {worker, "", 0, 0};
}

// A message of WatchRoutes, built up piece by piece.
class Change
{
  public:
    // A whole snapshot, or a change.
    explicit Change(bool snapshot, uint64_t revision = 1)
    {
        muster__v1__watch_routes_response__init(&message);
        message.epoch = 77;
        message.revision = revision;
        message.snapshot = message.snapshot_complete = snapshot;
    }
    // A piece of a snapshot.
    Change &piece(bool first, bool last)
    {
        message.snapshot = first;
        message.snapshot_complete = last;
        if (!last)
            message.revision = 0;
        return *this;
    }
    Change &epoch(uint64_t number)
    {
        message.epoch = number;
        return *this;
    }
    Change &service(const std::string &name, std::vector<EndpointSpec> endpoints, std::vector<std::string> aliases = {},
                    const std::string &path = "", bool repeatable = false)
    {
        auto &routes = routes_.emplace_back();
        muster__v1__service_routes__init(&routes);
        routes.service = keep(name);
        routes.path = keep(path);
        routes.repeatable = repeatable;
        auto &gone = alias_pointers_.emplace_back();
        for (const EndpointSpec &spec : endpoints)
            if (spec.weight == 0)
                gone.push_back(keep(spec.worker));
        routes.removed_worker_ids = gone.data();
        routes.n_removed_worker_ids = gone.size();
        auto &pointers = endpoint_pointers_.emplace_back();
        for (const EndpointSpec &spec : endpoints) {
            if (spec.weight == 0)
                continue;
            auto &endpoint = endpoints_.emplace_back();
            muster__v1__endpoint__init(&endpoint);
            endpoint.worker_id = keep(spec.worker);
            endpoint.url = keep(spec.url);
            endpoint.weight = spec.weight;
            endpoint.priority = spec.priority;
            pointers.push_back(&endpoint);
        }
        routes.endpoints = pointers.data();
        routes.n_endpoints = pointers.size();
        auto &names = alias_pointers_.emplace_back();
        for (const std::string &alias : aliases)
            names.push_back(keep(alias));
        routes.aliases = names.data();
        routes.n_aliases = names.size();
        route_pointers_.push_back(&routes);
        message.services = route_pointers_.data();
        message.n_services = route_pointers_.size();
        return *this;
    }
    Change &removed(const std::string &name)
    {
        removed_.push_back(keep(name));
        message.removed_services = removed_.data();
        message.n_removed_services = removed_.size();
        return *this;
    }
    Muster__V1__WatchRoutesResponse message;

  private:
    char *keep(const std::string &text)
    {
        return texts_.emplace_back(text).data();
    }
    std::deque<std::string> texts_;
    std::deque<Muster__V1__ServiceRoutes> routes_;
    std::deque<Muster__V1__Endpoint> endpoints_;
    std::deque<std::vector<Muster__V1__Endpoint *>> endpoint_pointers_;
    std::deque<std::vector<char *>> alias_pointers_;
    std::vector<Muster__V1__ServiceRoutes *> route_pointers_;
    std::vector<char *> removed_;
};

class Pick : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        table = pick_table_create();
        pick_state_init(&state, 42);
    }
    void TearDown() override
    {
        pick_state_free(&state);
        pick_table_release(table);
    }
    void apply(const Change &change)
    {
        pick_table *next = pick_table_apply(table, &change.message);
        ASSERT_NE(next, nullptr);
        ASSERT_TRUE(pick_table_check(next));
        pick_table_release(table);
        table = next;
    }
    const pick_service *find(const std::string &name)
    {
        return pick_table_find(table, name.data(), name.size());
    }
    std::string choose(const std::string &name, std::vector<const char *> excluded = {}, uint64_t now_ms = 0)
    {
        const pick_endpoint *endpoint = pick_choose(&state, find(name), excluded.data(), excluded.size(), now_ms);
        return endpoint == nullptr ? "" : pick_endpoint_worker(endpoint);
    }
    std::map<std::string, int> choices(const std::string &name, int count)
    {
        std::map<std::string, int> result;
        for (int i = 0; i < count; i++)
            result[choose(name)]++;
        return result;
    }

    pick_table *table;
    pick_state state;
};

TEST_F(Pick, FindsByNameAndAlias)
{
    apply(Change(true).service("vision-ocr", {{"a", "http://a", 1, 0}}, {"ocr"}).service("llm", {}, {"vision-ocr"}));
    ASSERT_NE(find("ocr"), nullptr);
    EXPECT_STREQ(pick_description_name(pick_service_description(find("ocr"))), "vision-ocr");
    EXPECT_STREQ(pick_description_name(pick_service_description(find("vision-ocr"))), "vision-ocr")
        << "a name wins over an alias";
    EXPECT_EQ(find("oc"), nullptr);
    EXPECT_EQ(choose("llm"), "");
}

TEST_F(Pick, ChangesAreOfSingleEndpointsAndSnapshotsOfEverything)
{
    apply(Change(true)
              .service("a", {{"1", "http://1", 1, 0}, {"2", "http://2", 1, 0}}, {"x"})
              .service("b", {{"2", "http://2", 1, 0}}));
    pick_table *before = pick_table_reference(table);
    apply(Change(false).service("a", {gone("1"), {"3", "http://3", 1, 0}, gone("2")}));
    EXPECT_EQ(choose("a"), "3");
    EXPECT_EQ(pick_service_endpoints(find("a")), 1u);
    EXPECT_EQ(choose("b"), "2");
    EXPECT_EQ(find("x"), nullptr) << "its alias went with its description";
    const pick_service *old = pick_table_find(before, "x", 1);
    EXPECT_EQ(pick_service_endpoints(old), 2u) << "an older version does not change";
    const char *excluded[] = {"2"};
    EXPECT_STREQ(pick_endpoint_worker(pick_choose(&state, old, excluded, 1, 0)), "1");
    pick_table_release(before);
    apply(Change(false).removed("b").removed("never-there"));
    EXPECT_EQ(find("b"), nullptr);
    apply(Change(true).service("c", {}));
    EXPECT_EQ(find("a"), nullptr);
    EXPECT_NE(find("c"), nullptr);
    EXPECT_EQ(pick_table_services(table), 1u);
}

TEST_F(Pick, AnEndpointIsRemovedAndThereAgainInOneMessage)
{
    apply(Change(true).service("a", {{"1", "http://1", 1, 0}}));
    apply(Change(false).removed("a").service("a", {gone("1"), {"1", "http://new", 5, 1}}));
    EXPECT_EQ(choose("a"), "1");
    EXPECT_STREQ(pick_endpoint_url(pick_choose(&state, find("a"), nullptr, 0, 0)), "http://new");
}

TEST_F(Pick, AnEndpointHasOnePriorityAtATime)
{
    apply(Change(true).service("a", {{"1", "u", 1, 0}, {"2", "u", 1, 0}}));
    apply(Change(false).service("a", {{"1", "u", 1, 2}}));
    EXPECT_EQ(pick_service_endpoints(find("a")), 2u);
    EXPECT_EQ(choices("a", 100)["2"], 100);
    apply(Change(false).service("a", {{"2", "u", 1, 2}, {"1", "u", 1, 1}}));
    EXPECT_EQ(choices("a", 100)["1"], 100);
}

TEST_F(Pick, EndpointsAndDescriptionsOutliveTheirTable)
{
    apply(Change(true).service("a", {{"1", "http://1", 1, 0}}));
    pick_endpoint *endpoint = pick_endpoint_reference(pick_choose(&state, find("a"), nullptr, 0, 0));
    pick_description *description = pick_description_reference(pick_service_description(find("a")));
    apply(Change(true));
    EXPECT_EQ(find("a"), nullptr);
    EXPECT_STREQ(pick_endpoint_url(endpoint), "http://1");
    EXPECT_STREQ(pick_description_name(description), "a");
    pick_endpoint_release(endpoint);
    pick_description_release(description);
}

TEST_F(Pick, ANameInTheMiddleOfAZeroIsNobodys)
{
    apply(Change(true).service("a", {{"1", "http://1", 1, 0}}));
    EXPECT_EQ(find(std::string("a\0b", 3)), nullptr);
    EXPECT_EQ(find(std::string("a\0", 2)), nullptr);
}

// --- Snapshots in pieces ---

TEST_F(Pick, ATableIsGoodWhileASnapshotReplacesIt)
{
    apply(Change(true, 5).service("a", {{"1", "u", 1, 0}, {"2", "u", 1, 0}}).service("b", {{"1", "u", 1, 0}}));
    EXPECT_TRUE(pick_table_is_whole(table));
    apply(Change(false).piece(true, false).epoch(78).service("a", {{"2", "v", 1, 0}}));
    EXPECT_FALSE(pick_table_is_whole(table));
    EXPECT_EQ(pick_service_endpoints(find("a")), 2u) << "1 may still be named";
    EXPECT_EQ(choose("b"), "1");
    apply(Change(false).piece(false, false).epoch(78).service("c", {{"3", "u", 1, 0}}));
    EXPECT_EQ(choose("c"), "3");
    apply(Change(false, 9).piece(false, true).epoch(78).service("c", {{"4", "u", 1, 0}, gone("3")}));
    EXPECT_TRUE(pick_table_is_whole(table));
    EXPECT_EQ(pick_service_endpoints(find("a")), 1u);
    EXPECT_EQ(choose("a"), "2");
    EXPECT_EQ(find("b"), nullptr);
    EXPECT_EQ(choose("c"), "4");
    Muster__V1__WatchRoutesRequest request;
    pick_table_position(table, &request);
    EXPECT_EQ(request.epoch, 78u);
    EXPECT_EQ(request.after_revision, 9u);
}

TEST_F(Pick, ASnapshotThatIsCutOffIsBegunAgain)
{
    Muster__V1__WatchRoutesRequest request;
    apply(Change(true, 5).service("a", {{"1", "u", 1, 0}, {"2", "u", 1, 0}}));
    pick_table_position(table, &request);
    EXPECT_EQ(request.epoch, 77u);
    EXPECT_EQ(request.after_revision, 5u);
    apply(Change(false).piece(true, false).epoch(78).service("a", {{"1", "u", 1, 0}, {"3", "u", 1, 0}}));
    pick_table_position(table, &request);
    EXPECT_EQ(request.epoch, 0u);
    EXPECT_EQ(request.after_revision, 0u) << "it cannot be resumed in its middle";
    EXPECT_EQ(pick_service_endpoints(find("a")), 3u);
    apply(Change(false).piece(true, false).epoch(79).service("a", {{"2", "u", 1, 0}}));
    apply(Change(false, 3).piece(false, true).epoch(79));
    EXPECT_EQ(pick_service_endpoints(find("a")), 1u) << "what only the first attempt has named is gone";
    EXPECT_EQ(choose("a"), "2");
}

TEST_F(Pick, WhoeverHoldsAVersionKeepsItWhileASnapshotIsApplied)
{
    apply(Change(true, 5).service("a", {{"1", "u", 1, 0}, {"2", "u", 1, 0}}).service("b", {{"9", "u", 1, 0}}));
    pick_table *before = pick_table_reference(table);
    apply(Change(true, 6).service("a", {{"2", "u", 7, 0}}));
    EXPECT_EQ(pick_service_endpoints(pick_table_find(before, "a", 1)), 2u);
    EXPECT_NE(pick_table_find(before, "b", 1), nullptr);
    EXPECT_TRUE(pick_table_check(before));
    pick_table_release(before);
}

// --- Many ---

// What a table holds, by its own account.
std::map<std::string, EndpointSpec> contents(const pick_service *service)
{
    std::map<std::string, EndpointSpec> all;
    for (size_t i = 0; service != nullptr && i < pick_service_endpoints(service); i++) {
        uint32_t weight, priority;
        const pick_endpoint *endpoint = pick_service_endpoint(service, i, &weight, &priority);
        all[pick_endpoint_worker(endpoint)] = {pick_endpoint_worker(endpoint), pick_endpoint_url(endpoint), weight,
                                               priority};
    }
    return all;
}

bool operator==(const EndpointSpec &a, const EndpointSpec &b)
{
    return a.url == b.url && a.weight == b.weight && a.priority == b.priority;
}

// As on the gateway: one thread makes versions and lets them go, others take the newest, read it for a while and let it
// go whenever they get to it, so that versions end in any order.
TEST_F(Pick, VersionsAreReadAndReleasedByOtherThreads)
{
    constexpr int kReaders = 3, kWorkers = 300;
    std::array<std::atomic<pick_table *>, kReaders> offered{};
    std::atomic<bool> over{false};
    std::array<std::thread, kReaders> readers;
    std::atomic<uint64_t> chosen{0};
    for (int r = 0; r < kReaders; r++) {
        readers[r] = std::thread([&, r] {
            pick_state mine;
            pick_state_init(&mine, 1 + r);
            std::deque<pick_table *> held;
            std::mt19937 random(r);
            while (!over || offered[r] != nullptr) {
                pick_table *next = offered[r].exchange(nullptr);
                if (next != nullptr)
                    held.push_back(next);
                for (pick_table *version : held) {
                    const pick_service *service = pick_table_find(version, "s", 1);
                    const pick_endpoint *endpoint =
                        service == nullptr ? nullptr : pick_choose(&mine, service, nullptr, 0, 0);
                    if (endpoint != nullptr && pick_endpoint_worker(endpoint)[0] == 'w')
                        chosen++;
                }
                if (!held.empty() && held.size() > random() % 4) {
                    pick_table_release(held.front());
                    held.pop_front();
                }
            }
            for (pick_table *version : held)
                pick_table_release(version);
            pick_state_free(&mine);
        });
    }
    std::mt19937 random(11);
    apply(Change(true).service("s", {}));
    for (uint64_t step = 0; step < 1500 || chosen == 0; step++) {
        std::map<std::string, EndpointSpec> changes;
        for (int i = 0; i < 5; i++) {
            std::string id = "w" + std::to_string(random() % kWorkers);
            bool stays = random() % 3 != 0;
            changes[id] = stays ? EndpointSpec{id, "http://x", 1 + uint32_t(random() % 9), uint32_t(random() % 2)} : gone(id);
        }
        std::vector<EndpointSpec> list;
        for (auto &[id, spec] : changes)
            list.push_back(spec);
        apply(Change(false, step + 2).service("s", list));
        // What a reader has not taken is replaced, as by a message that comes before the last one was looked at.
        pick_table_release(offered[step % kReaders].exchange(pick_table_reference(table)));
    }
    over = true;
    for (auto &reader : readers)
        reader.join();
    EXPECT_GT(chosen, 0u);
}

TEST_F(Pick, ChangesAtRandomLeaveEveryVersionRight)
{
    std::mt19937 random(7);
    const auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    std::map<std::string, EndpointSpec> expected;
    std::deque<std::pair<pick_table *, std::map<std::string, EndpointSpec>>> kept;
    apply(Change(true).service("s", {}));
    for (uint64_t step = 0; step < 600; step++) {
        // Now more come, now more go.
        uint32_t range = step % 200 < 100 ? 4000 : 40000;
        std::map<std::string, EndpointSpec> changes;
        for (uint32_t i = 0; i < (step % 7 == 0 ? 400u : 3u); i++) {
            std::string id = "w" + std::to_string(below(range) % 4000);
            if (below(range) < 3000)
                changes[id] = {id, "http://" + std::to_string(below(3)), 1 + below(100), below(3)};
            else
                changes[id] = gone(id);
        }
        std::vector<EndpointSpec> list;
        for (auto &[id, spec] : changes) {
            list.push_back(spec);
            if (spec.weight == 0)
                expected.erase(id);
            else
                expected[id] = spec;
        }
        apply(Change(false, step + 2).service("s", list));
        if (step % 50 == 0)
            kept.push_back({pick_table_reference(table), expected});
        bool right = step % 20 != 0 || contents(find("s")) == expected;
        ASSERT_TRUE(right) << step;
    }
    EXPECT_GT(expected.size(), 300u);
    for (auto &[version, then] : kept) {
        EXPECT_TRUE(pick_table_check(version));
        EXPECT_TRUE(contents(pick_table_find(version, "s", 1)) == then);
        pick_table_release(version);
    }
    std::vector<EndpointSpec> all;
    for (auto &[id, spec] : expected)
        all.push_back(gone(id));
    apply(Change(false, 1000).service("s", all));
    EXPECT_EQ(pick_service_endpoints(find("s")), 0u);
    EXPECT_EQ(choose("s"), "");
}

// Services by name, each with a few workers and an alias of its own.
using Services = std::map<std::string, std::map<std::string, EndpointSpec>>;

void expect_services(const pick_table *table, const Services &expected, uint32_t names)
{
    EXPECT_TRUE(pick_table_check(table));
    EXPECT_EQ(pick_table_services(table), expected.size());
    for (uint32_t i = 0; i < names; i++) {
        std::string name = "s" + std::to_string(i), alias = "alias-of-" + name;
        const pick_service *service = pick_table_find(table, name.data(), name.size());
        auto there = expected.find(name);
        ASSERT_EQ(service != nullptr, there != expected.end()) << name;
        EXPECT_EQ(pick_table_find(table, alias.data(), alias.size()), service);
        EXPECT_TRUE(service == nullptr || contents(service) == there->second) << name;
    }
}

TEST_F(Pick, ServicesAtRandomLeaveEveryVersionRight)
{
    constexpr uint32_t kNames = 1500;
    std::mt19937 random(5);
    const auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    Services expected;
    std::deque<std::pair<pick_table *, Services>> kept;
    apply(Change(true));
    for (uint64_t step = 0; step < 300; step++) {
        bool more = step % 100 < 60;
        // Every so often a snapshot in two pieces names some of what there is.
        bool snapshot = step % 25 == 24;
        Services before = snapshot ? std::move(expected) : Services{};
        if (snapshot)
            expected.clear();
        Change first(false, step + 2), second(false, step + 2);
        for (Change *change : {&first, &second}) {
            std::map<std::string, std::vector<EndpointSpec>> named;
            for (uint32_t i = 0; i < 30; i++) {
                std::string name = "s" + std::to_string(below(kNames)), worker = "w" + std::to_string(below(3));
                if (snapshot || more || below(4) == 0) {
                    EndpointSpec spec = {worker, "http://x", 1 + below(2), below(2)};
                    named[name].push_back(spec);
                    expected[name][worker] = spec;
                } else if (named.count(name) == 0 && expected.erase(name) > 0) {
                    change->removed(name);
                }
            }
            for (auto &[name, specs] : before) {
                if (!snapshot || change == &first || below(3) == 0)
                    continue;
                auto &again = named[name];
                auto &stay = expected[name];
                for (auto &[worker, spec] : specs) {
                    if (below(3) > 0 && stay.insert({worker, spec}).second) // and was not named yet
                        again.push_back(spec);
                }
            }
            for (auto &[name, specs] : named)
                change->service(name, specs, {"alias-of-" + name});
        }
        if (snapshot) {
            first.piece(true, false);
            second.piece(false, true);
        }
        apply(first);
        apply(second);
        if (step % 15 == 0 || step % 25 == 24)
            kept.push_back({pick_table_reference(table), expected});
    }
    std::shuffle(kept.begin(), kept.end(), random);
    for (auto &[version, then] : kept) {
        expect_services(version, then, kNames);
        pick_table_release(version);
    }
}

TEST_F(Pick, ManyGetRequestsByWeight)
{
    std::vector<EndpointSpec> endpoints;
    for (int i = 0; i < 3000; i++)
        endpoints.push_back({"w" + std::to_string(i), "u", i % 3 == 0 ? 90u : 5u, 0});
    apply(Change(true).service("s", endpoints));
    int heavy = 0;
    for (int i = 0; i < 20000; i++)
        heavy += std::stoi(choose("s").substr(1)) % 3 == 0 ? 1 : 0;
    EXPECT_NEAR(heavy, 18000, 300);
}

TEST_F(Pick, AmongManyThatCannotBeReachedOneIsTakenAllTheSame)
{
    std::vector<EndpointSpec> endpoints;
    for (int i = 0; i < 3 * PICK_LOOK_MAX; i++) {
        endpoints.push_back({"w" + std::to_string(i), "u", 1, 0});
        pick_begin(&state, endpoints.back().worker.c_str());
        pick_end(&state, endpoints.back().worker.c_str(), true, 5000);
    }
    apply(Change(true).service("s", endpoints));
    EXPECT_NE(choose("s", {}, 5001), "");
    apply(Change(false, 2).service("s", {{"late", "u", 1, 1}}));
    EXPECT_EQ(choose("s", {}, 5001), "late");
}

// --- The choice ---

TEST_F(Pick, IdleFleetGetsRequestsByWeight)
{
    apply(Change(true).service("s", {{"a", "u", 10, 0}, {"b", "u", 20, 0}, {"c", "u", 70, 0}}));
    auto counts = choices("s", 10000);
    EXPECT_NEAR(counts["a"], 1000, 200);
    EXPECT_NEAR(counts["b"], 2000, 300);
    EXPECT_NEAR(counts["c"], 7000, 400);
}

TEST_F(Pick, PrefersWhoHasFewerInFlight)
{
    apply(Change(true).service("s", {{"a", "u", 1, 0}, {"b", "u", 1, 0}}));
    for (int i = 0; i < 10; i++)
        pick_begin(&state, "a");
    auto counts = choices("s", 1000);
    // a is taken only when it is drawn twice.
    EXPECT_NEAR(counts["a"], 250, 80);
    for (int i = 0; i < 10; i++)
        pick_end(&state, "a", false, 0);
    EXPECT_EQ(pick_in_flight(&state, "a"), 0u);
    EXPECT_NEAR(choices("s", 1000)["a"], 500, 100);
}

TEST_F(Pick, LoadIsRelativeToWeight)
{
    apply(Change(true).service("s", {{"small", "u", 10, 0}, {"large", "u", 100, 0}}));
    pick_begin(&state, "small");
    for (int i = 0; i < 5; i++)
        pick_begin(&state, "large");
    // 1/10 against 5/100: the large one is the less loaded.
    auto counts = choices("s", 1000);
    EXPECT_GT(counts["large"], 950);
}

TEST_F(Pick, HigherNumbersOnlyWhenNoLowerOneIsLeft)
{
    apply(Change(true).service("s", {{"late", "u", 1000, 1}, {"a", "u", 1, 0}, {"b", "u", 1, 0}, {"last", "u", 1, 2}}));
    auto counts = choices("s", 1000);
    EXPECT_EQ(counts["late"] + counts["last"], 0);
    EXPECT_EQ(choose("s", {"a", "b"}), "late");
    EXPECT_EQ(choose("s", {"a", "b", "late"}), "last");
    EXPECT_EQ(choose("s", {"a", "b", "late", "last"}), "");
}

TEST_F(Pick, ExcludedOnesAreFoundAmongMany)
{
    std::vector<EndpointSpec> endpoints;
    for (int i = 0; i < 200; i++)
        endpoints.push_back({"heavy" + std::to_string(i), "u", 1000000, 0});
    endpoints.push_back({"light", "u", 1, 0});
    apply(Change(true).service("s", endpoints));
    std::vector<std::string> ids;
    std::vector<const char *> excluded;
    for (int i = 0; i < 200; i++)
        ids.push_back("heavy" + std::to_string(i));
    for (const std::string &id : ids)
        excluded.push_back(id.c_str());
    EXPECT_EQ(choose("s", excluded), "light");
}

TEST_F(Pick, UnreachableWorkersArePassedOverForAWhile)
{
    apply(Change(true).service("s", {{"a", "u", 1000, 0}, {"b", "u", 1, 1}}));
    pick_begin(&state, "a");
    pick_end(&state, "a", true, 5000);
    EXPECT_EQ(choose("s", {}, 5000 + PICK_SKIP_MS - 1), "b") << "even one of a higher number is better";
    EXPECT_EQ(choose("s", {}, 5000 + PICK_SKIP_MS), "a");
    EXPECT_EQ(choose("s", {"b"}, 5001), "a") << "nobody else is left";
    pick_begin(&state, "a");
    pick_end(&state, "a", false, 5002);
    EXPECT_EQ(choose("s", {}, 5003), "a") << "an answer ends it";
}

TEST_F(Pick, SweepKeepsWhatMatters)
{
    pick_begin(&state, "busy");
    pick_begin(&state, "failed");
    pick_end(&state, "failed", true, 0);
    pick_begin(&state, "idle");
    pick_end(&state, "idle", false, 0);
    pick_state_sweep(&state, 1);
    EXPECT_EQ(state.workers.count, 2u);
    pick_state_sweep(&state, PICK_SKIP_MS);
    EXPECT_EQ(state.workers.count, 1u);
    EXPECT_EQ(pick_in_flight(&state, "busy"), 1u);
}

TEST_F(Pick, BuildsPaths)
{
    apply(
        Change(true).service("a", {}, {"x"}).service("b", {}, {}, "/v1/run").service("c", {}, {}, "/{type}/{type}/z"));
    const auto path = [&](const std::string &type, const std::string &rest) {
        struct buffer buffer = BUFFER_INIT;
        pick_description_path(pick_service_description(find(type)), type.data(), type.size(), rest.data(), rest.size(),
                              &buffer);
        std::string text(buffer.data, buffer.bytes);
        buffer_free(&buffer);
        return text;
    };
    EXPECT_EQ(path("a", ""), "/api/a");
    EXPECT_EQ(path("x", "/y/z"), "/api/x/y/z") << "the name that the request used";
    EXPECT_EQ(path("b", "/q"), "/v1/run/q");
    EXPECT_EQ(path("c", ""), "/c/c/z");
}

TEST_F(Pick, ASingleServiceStandsAlone)
{
    pick_service *single = pick_service_single("s", "", "w", "http://w");
    ASSERT_NE(single, nullptr);
    EXPECT_STREQ(pick_endpoint_worker(pick_choose(&state, single, nullptr, 0, 0)), "w");
    const char *excluded[] = {"w"};
    EXPECT_EQ(pick_choose(&state, single, excluded, 1, 0), nullptr);
    pick_service_release(single);
}

} // namespace
