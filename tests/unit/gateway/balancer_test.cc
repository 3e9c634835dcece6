// Which upstreams are up, and whose turn it is.

extern "C" {
#include "gateway/balancer/balancer.h"
}

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace
{

class Balancer : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        balancer.interval_ms = 1000;
        balancer.up_after = 2;
        balancer.down_after = 3;
    }
    void TearDown() override
    {
        balancer_free(&balancer);
    }
    void set(const std::vector<std::string> &urls, uint64_t now_ms = 0)
    {
        std::vector<const char *> list;
        for (const std::string &url : urls)
            list.push_back(url.c_str());
        ASSERT_TRUE(balancer_set(&balancer, list.data(), list.size(), now_ms));
    }
    // One check of each that is due; those named fail.
    void check(uint64_t now_ms, const std::vector<std::string> &failing = {})
    {
        while (balancer_upstream *upstream = balancer_next_check(&balancer, now_ms)) {
            bool fails = false;
            for (const std::string &url : failing)
                fails = fails || url == balancer_target_url(upstream->target);
            changes += balancer_checked(&balancer, upstream->check, fails ? "no" : nullptr, 0.5, now_ms) ? 1 : 0;
        }
    }
    std::string states() const
    {
        std::string text;
        for (size_t i = 0; i < balancer.count; i++)
            text += std::string(i > 0 ? " " : "") + (balancer_target_url(balancer.list[i]->target) + 7) + "=" +
                    balancer_state_word(balancer.list[i]->state);
        return text;
    }
    std::vector<std::string> order(uint64_t request)
    {
        std::vector<std::string> urls;
        balancer_table *table = balancer_make_table(&balancer);
        for (size_t attempt = 0; balancer_target *target = balancer_choose(table, request, attempt); attempt++)
            urls.push_back(balancer_target_url(target) + 7);
        balancer_table_release(table);
        return urls;
    }
    struct balancer balancer = {};
    int changes = 0;
    using Texts = std::vector<std::string>;
};

TEST_F(Balancer, RequestsGoRoundAndEachIsTriedOnce)
{
    set({"http://a", "http://b", "http://c"});
    EXPECT_EQ(order(0), (Texts{"a", "b", "c"}));
    EXPECT_EQ(order(1), (Texts{"b", "c", "a"}));
    EXPECT_EQ(order(5), (Texts{"c", "a", "b"}));
    std::map<std::string, int> firsts;
    for (uint64_t request = 0; request < 300; request++)
        firsts[order(request)[0]]++;
    EXPECT_EQ(firsts, (std::map<std::string, int>{{"a", 100}, {"b", 100}, {"c", 100}}));
}

TEST_F(Balancer, TheFirstCheckDecidesAlone)
{
    set({"http://a", "http://b"});
    EXPECT_EQ(states(), "a=unchecked b=unchecked");
    EXPECT_EQ(order(0).size(), 2u) << "until then it gets requests";
    check(0, {"http://b"});
    EXPECT_EQ(states(), "a=up b=down");
    EXPECT_EQ(changes, 1) << "that the other is up changes nothing";
    EXPECT_EQ(order(0), (Texts{"a"}));
    EXPECT_EQ(order(1), (Texts{"a"}));
}

TEST_F(Balancer, SoManyFailuresInARowTakeItOutAndSoManyChecksBringItBack)
{
    set({"http://a"});
    check(0);
    uint64_t now_ms = 0;
    const auto next = [&](bool passes) {
        now_ms += 2000;
        check(now_ms, passes ? Texts{} : Texts{"http://a"});
        return states();
    };
    EXPECT_EQ(next(false), "a=up");
    EXPECT_EQ(next(false), "a=up");
    EXPECT_EQ(next(true), "a=up") << "which begins the count anew";
    EXPECT_EQ(next(false), "a=up");
    EXPECT_EQ(next(false), "a=up");
    EXPECT_EQ(next(false), "a=down");
    EXPECT_STREQ(balancer.list[0]->reason, "no");
    EXPECT_EQ(balancer.list[0]->since_ms, now_ms);
    EXPECT_EQ(order(0), Texts{}) << "nobody is up, nobody is asked";
    EXPECT_EQ(next(true), "a=down");
    EXPECT_EQ(next(false), "a=down");
    EXPECT_EQ(next(true), "a=down");
    EXPECT_STREQ(balancer.list[0]->reason, "no") << "why it is down";
    EXPECT_EQ(next(true), "a=up");
    EXPECT_STREQ(balancer.list[0]->reason, "");
    EXPECT_EQ(changes, 2);
}

TEST_F(Balancer, RequestsThatCouldNotReachItCountAndHaveItChecked)
{
    set({"http://a"});
    check(0);
    EXPECT_EQ(balancer_next_ms(&balancer), 1000u);
    EXPECT_FALSE(balancer_failed(&balancer, "http://a", "refused", 100));
    EXPECT_EQ(balancer_next_ms(&balancer), 100u) << "at once";
    EXPECT_FALSE(balancer_failed(&balancer, "http://a", "refused", 100));
    EXPECT_TRUE(balancer_failed(&balancer, "http://a", "refused", 100));
    EXPECT_EQ(states(), "a=down");
    EXPECT_FALSE(balancer_failed(&balancer, "http://a", "refused", 100)) << "it is down already";
    EXPECT_FALSE(balancer_failed(&balancer, "http://unknown", "refused", 100));
    check(100);
    check(1100);
    EXPECT_EQ(states(), "a=up");
}

TEST_F(Balancer, ChecksAreSpreadAndOneIsUnderWayAtATime)
{
    set({"http://a"}, 50);
    EXPECT_EQ(balancer_next_check(&balancer, 49), nullptr);
    balancer_upstream *a = balancer_next_check(&balancer, 50);
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(balancer_next_check(&balancer, 5000), nullptr);
    EXPECT_EQ(balancer_next_ms(&balancer), UINT64_MAX);
    uint64_t number = a->check;
    (void)balancer_checked(&balancer, number, nullptr, 0, 100);
    EXPECT_EQ(balancer_next_ms(&balancer), 1000u);
    (void)balancer_checked(&balancer, number, "late", 0.999999, 200);
    EXPECT_EQ(states(), "a=up") << "an answer counts once";
    a = balancer_next_check(&balancer, 1000);
    (void)balancer_checked(&balancer, a->check, nullptr, 0.999999, 1000);
    EXPECT_GE(balancer_next_ms(&balancer), 2099u);
    EXPECT_LE(balancer_next_ms(&balancer), 2100u);
}

TEST_F(Balancer, WhoStaysInTheListGoesOnAsItWas)
{
    set({"http://a", "http://b/"});
    check(0, {"http://a"});
    balancer_table *before = balancer_make_table(&balancer);
    balancer_upstream *c = nullptr;
    set({"http://c", "http://a/", "http://c", "http://a", "ftp://x", "nonsense", ""}, 10);
    EXPECT_EQ(states(), "c=unchecked a=down") << "each once, in the order of the list; what is no URL is left out";
    EXPECT_STREQ(balancer_target_url(balancer_choose(before, 0, 0)), "http://b") << "who has the old table has what is in it";
    c = balancer_next_check(&balancer, 10);
    ASSERT_NE(c, nullptr);
    EXPECT_STREQ(balancer_target_url(c->target), "http://c");
    uint64_t number = c->check;
    set({"http://b"}, 20);
    EXPECT_EQ(states(), "b=unchecked") << "it was away";
    EXPECT_FALSE(balancer_checked(&balancer, number, "no", 0, 30)) << "whose it was has gone";
    EXPECT_EQ(states(), "b=unchecked");
    set({});
    EXPECT_EQ(order(0), Texts{});
    EXPECT_EQ(balancer_next_ms(&balancer), UINT64_MAX);
    balancer_table_release(before);
}

TEST_F(Balancer, ThereAreOnlySoMany)
{
    std::vector<std::string> urls;
    for (int i = 0; i < BALANCER_UPSTREAMS_MAX; i++)
        urls.push_back("http://h" + std::to_string(i));
    set(urls);
    EXPECT_EQ(balancer.count, (size_t)BALANCER_UPSTREAMS_MAX);
    urls.push_back("http://one-more");
    set(urls);
    EXPECT_EQ(balancer.count, (size_t)BALANCER_UPSTREAMS_MAX);
}

} // namespace
