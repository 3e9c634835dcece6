// The gateway's choice of a worker: the table's versions, weights, priorities, load, failures.

extern "C" {
#include "gateway/pick.h"
}

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <string>
#include <vector>

namespace
{

struct EndpointSpec {
    std::string worker, url;
    uint32_t weight, priority;
};

// A message of WatchRoutes, built up piece by piece.
class Change
{
  public:
    explicit Change(bool snapshot)
    {
        muster__v1__watch_routes_response__init(&message);
        message.snapshot = snapshot;
    }
    Change &service(const std::string &name, std::vector<EndpointSpec> endpoints, std::vector<std::string> aliases = {},
                    const std::string &path = "", bool repeatable = false)
    {
        auto &routes = routes_.emplace_back();
        muster__v1__service_routes__init(&routes);
        routes.service = keep(name);
        routes.path = keep(path);
        routes.repeatable = repeatable;
        auto &pointers = endpoint_pointers_.emplace_back();
        for (const EndpointSpec &spec : endpoints) {
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
        return endpoint == nullptr ? "" : endpoint->worker_id;
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
    EXPECT_STREQ(pick_service_name(find("ocr")), "vision-ocr");
    EXPECT_STREQ(pick_service_name(find("vision-ocr")), "vision-ocr") << "a name wins over an alias";
    EXPECT_EQ(find("oc"), nullptr);
    EXPECT_EQ(choose("llm"), "");
}

TEST_F(Pick, ChangesReplaceWholeServicesAndSnapshotsEverything)
{
    apply(Change(true).service("a", {{"1", "http://1", 1, 0}}, {"x"}).service("b", {{"2", "http://2", 1, 0}}));
    pick_table *before = pick_table_reference(table);
    apply(Change(false).service("a", {{"3", "http://3", 1, 0}}));
    EXPECT_EQ(choose("a"), "3");
    EXPECT_EQ(choose("b"), "2");
    EXPECT_EQ(find("x"), nullptr) << "its alias went with it";
    EXPECT_STREQ(pick_choose(&state, pick_table_find(before, "x", 1), nullptr, 0, 0)->worker_id, "1")
        << "an older version does not change";
    pick_table_release(before);
    apply(Change(false).removed("b").removed("never-there"));
    EXPECT_EQ(find("b"), nullptr);
    apply(Change(true).service("c", {}));
    EXPECT_EQ(find("a"), nullptr);
    EXPECT_NE(find("c"), nullptr);
}

TEST_F(Pick, ServicesOutliveTheirTable)
{
    apply(Change(true).service("a", {{"1", "http://1", 1, 0}}));
    pick_service *kept = pick_service_reference(find("a"));
    apply(Change(true));
    EXPECT_STREQ(pick_choose(&state, kept, nullptr, 0, 0)->url, "http://1");
    pick_service_release(kept);
}

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
        pick_service_path(find(type), type.data(), type.size(), rest.data(), rest.size(), &buffer);
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
    EXPECT_STREQ(pick_choose(&state, single, nullptr, 0, 0)->worker_id, "w");
    const char *excluded[] = {"w"};
    EXPECT_EQ(pick_choose(&state, single, excluded, 1, 0), nullptr);
    pick_service_release(single);
}

} // namespace
