// The core of muster-router: ejections, probes, Explain.

#include "tests/unit/router/router_fixture.h"

namespace
{

using namespace router_test;

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
