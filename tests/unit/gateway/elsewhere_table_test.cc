// Services that were found elsewhere, for a while.

extern "C" {
#include "common/arena.h"
#include "gateway/proxy/elsewhere_table.h"
}

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace
{

class Elsewhere : public ::testing::Test
{
  protected:
    void TearDown() override
    {
        elsewhere_table_free(&table);
    }
    bool put(const std::string &service, const std::string &workers, uint64_t until_ms)
    {
        std::string body = R"({"service": "x", "workers": [)" + workers + R"(], "count": 1})";
        return elsewhere_put(&table, service.c_str(), body.data(), body.size(), until_ms);
    }
    static std::string worker(const std::string &id, const std::string &url = "http://10.0.0.1:1")
    {
        return R"({"worker_id": ")" + id + R"(", "tunnel_url": ")" + url + R"(", "load": 0.5})";
    }
    // Each worker with its services.
    std::map<std::string, std::set<std::string>> workers()
    {
        std::map<std::string, std::set<std::string>> all;
        struct arena arena;
        struct elsewhere_worker **list;
        arena_init(&arena, nullptr, 0);
        size_t count = elsewhere_workers(&table, &arena, &list);
        EXPECT_NE(count, SIZE_MAX);
        for (size_t i = 0; i < count; i++) {
            EXPECT_EQ(all.count(list[i]->spec.worker_id), 0u) << "each is one record";
            for (size_t j = 0; j < list[i]->spec.n_services; j++)
                all[list[i]->spec.worker_id].insert(list[i]->spec.services[j]->name);
        }
        arena_free(&arena);
        return all;
    }
    struct elsewhere_table table = {};
    using Workers = std::map<std::string, std::set<std::string>>;
};

TEST_F(Elsewhere, ServicesAreKnownUntilTheirTime)
{
    ASSERT_TRUE(put("rare", worker("a") + "," + worker("b"), 1000));
    ASSERT_TRUE(put("odd", worker("b"), 2000));
    EXPECT_EQ(workers(), (Workers{{"a", {"rare"}}, {"b", {"rare", "odd"}}}));
    EXPECT_NE(elsewhere_find(&table, "rare", 999), nullptr);
    EXPECT_EQ(elsewhere_find(&table, "rare", 1000), nullptr);
    EXPECT_EQ(elsewhere_next_ms(&table), 1000u);
    EXPECT_FALSE(elsewhere_expire(&table, 999));
    EXPECT_TRUE(elsewhere_expire(&table, 1000));
    EXPECT_EQ(workers(), (Workers{{"b", {"odd"}}}));
    EXPECT_TRUE(elsewhere_expire(&table, 5000));
    EXPECT_EQ(elsewhere_next_ms(&table), UINT64_MAX);
}

TEST_F(Elsewhere, ThatThereIsNobodyIsRememberedToo)
{
    ASSERT_TRUE(elsewhere_put(&table, "none", nullptr, 0, 1000));
    const struct elsewhere_service *none = elsewhere_find(&table, "none", 10);
    ASSERT_NE(none, nullptr);
    EXPECT_EQ(none->offer_count, 0u);
    EXPECT_FALSE(elsewhere_expire(&table, 1000)) << "nobody has gone";
    ASSERT_TRUE(elsewhere_put(&table, "none", nullptr, 0, 2000));
    ASSERT_TRUE(put("none", worker("a"), 3000)) << "somebody has come";
    EXPECT_EQ(workers(), (Workers{{"a", {"none"}}}));
    EXPECT_EQ(table.services.count, 1u);
}

TEST_F(Elsewhere, WhatIsNoAnswerChangesNothing)
{
    ASSERT_TRUE(put("rare", worker("a"), 1000));
    for (const std::string text : {"", "{", "[]", "7", "{}", R"({"workers": {}})"})
        EXPECT_FALSE(elsewhere_put(&table, "rare", text.data(), text.size(), 5000)) << text;
    EXPECT_EQ(workers(), (Workers{{"a", {"rare"}}}));
    EXPECT_EQ(elsewhere_next_ms(&table), 1000u);
    ASSERT_TRUE(
        put("rare", "7, {}, " + worker("b", "ftp://x") + "," + worker("", "http://x") + "," + worker("c"), 1000));
    EXPECT_EQ(workers(), (Workers{{"c", {"rare"}}})) << "workers that cannot be understood are left out";
}

TEST_F(Elsewhere, ThereAreOnlySoManyServicesAndWorkers)
{
    for (int i = 0; i < ELSEWHERE_SERVICES_MAX; i++)
        ASSERT_TRUE(put("s" + std::to_string(i), worker("a"), 1000 + (uint64_t)i));
    EXPECT_EQ(table.services.count, (size_t)ELSEWHERE_SERVICES_MAX);
    ASSERT_TRUE(put("s5", worker("b"), 5000));
    EXPECT_EQ(table.services.count, (size_t)ELSEWHERE_SERVICES_MAX) << "it was there";
    EXPECT_NE(elsewhere_find(&table, "s0", 1), nullptr);
    ASSERT_TRUE(put("one more", worker("a"), 5000));
    EXPECT_EQ(table.services.count, (size_t)ELSEWHERE_SERVICES_MAX);
    EXPECT_EQ(elsewhere_find(&table, "s0", 1), nullptr) << "the one that would have gone first";
    EXPECT_NE(elsewhere_find(&table, "s1", 1), nullptr);

    std::string many = worker("w0");
    for (int i = 1; i <= ELSEWHERE_WORKERS_MAX; i++)
        many += "," + worker("w" + std::to_string(i));
    ASSERT_TRUE(put("crowd", many, 5000));
    EXPECT_EQ(elsewhere_find(&table, "crowd", 1)->offer_count, (size_t)ELSEWHERE_WORKERS_MAX);
}

} // namespace
