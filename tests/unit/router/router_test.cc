// The core of muster-router: who is an endpoint, weights, publishing at its exact millisecond, watches that break.

#include "tests/unit/router/router_fixture.h"

namespace
{

using namespace router_test;

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

TEST_F(RouterTest, WhatANameMeantBeforeTheCatalogIsForgotten)
{
    Begin({{"w", {}, {{"special"}}}});
    Workers({{"v", {}, {{"special"}}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("special").size(), 2u);
    Catalog({{"reading", kCpu, {"special"}}, {"special-2", kCpu}});
    Workers({{"u", {}, {{"special"}}}, {"t", {}, {{"special-2"}}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("reading"), (std::set<std::string>{"u", "v", "w"}));
    EXPECT_EQ(Ends("special-2"), std::set<std::string>{"t"});
    Catalog({{"special", kCpu}, {"reading", kCpu}});
    Workers({{"s", {}, {{"special"}}}});
    ASSERT_TRUE(Watch());
    EXPECT_EQ(Ends("special"), (std::set<std::string>{"s", "u", "v", "w"}));
    To(1000);
    EXPECT_TRUE(router_check(router_));
}

TEST_F(RouterTest, TextsThatAreTooLongArePassedOver)
{
    std::string longest(65535, 'n'), url = "http://" + std::string(65535 - 7, 'u');
    Begin({{"w", {}, {{"first"}, {longest, url}, {longest + "n"}, {"with-url", url + "u"}, {"last"}}}});
    EXPECT_EQ(Ends("first").size(), 1u);
    EXPECT_EQ(EndOf(longest, "w").url, url);
    EXPECT_EQ(Ends(longest + "n").size(), 0u);
    EXPECT_EQ(Ends("with-url").size(), 0u);
    EXPECT_EQ(Ends("last").size(), 1u);
    To(1000);
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

} // namespace
