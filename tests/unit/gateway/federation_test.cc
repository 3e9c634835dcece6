// What an edge router makes of its coordinators' lists.

#include "tests/unit/gateway/messages.h"

extern "C" {
#include "gateway/federation/federation.h"
}

#include <gtest/gtest.h>

#include <set>

namespace
{

constexpr auto ONLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto OFFLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;

class Federation : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        replica_init(&roll);
        replica_init(&fleet);
        federation_init(&federation, &fleet, 1);
    }
    void TearDown() override
    {
        federation_free(&federation);
        replica_free(&fleet);
        replica_free(&roll);
    }
    federation_region *coordinator(const std::string &id, Muster__V1__WorkerStatus status = ONLINE,
                                   const std::string &capabilities = "")
    {
        WorkerFields fields{id, ++revision};
        fields.status = status;
        fields.capabilities_json = capabilities;
        EXPECT_TRUE(replica_put(&roll, WorkerMessage(fields).get()));
        EXPECT_TRUE(federation_reconcile(&federation, &roll));
        return federation_find(&federation, id.c_str());
    }
    static std::string worker(const std::string &id, const std::string &registered_at = "2026-01-05T10:00:00.000Z",
                              const std::string &more = "")
    {
        return R"({"worker_id": ")" + id + R"(", "tunnel_url": "http://)" + id + R"(", "worker_type": "cpu",
            "services": ["files"], "status": "online", "registered_at": ")" +
               registered_at + R"(", "incarnation": 3)" + more + "}";
    }
    bool read(federation_region *region, const std::vector<std::string> &workers)
    {
        std::string text = R"({"workers": [)";
        for (size_t i = 0; i < workers.size(); i++)
            text += (i > 0 ? "," : "") + workers[i];
        text += R"(], "total": 1})";
        return federation_read_list(&federation, region, text.data(), text.size(), 1000, ++now_ms);
    }
    std::set<std::string> listed()
    {
        std::set<std::string> all;
        for (size_t i = 0; i < fleet.worker_count; i++)
            all.insert(std::string(fleet.workers[i]->coordinator) + "/" + fleet.workers[i]->id);
        return all;
    }
    std::string holder(const std::string &id)
    {
        const federation_region *region = federation_holder(&federation, id.c_str());
        return region == nullptr ? "nobody" : region->id;
    }
    std::vector<std::string> choose(const char *service)
    {
        federation_choice choices[FEDERATION_CHOICES_MAX];
        const pool_wish wish = {service == nullptr ? (unsigned)POOL_CLOSEST : (unsigned)POOL_OFFERS, "", {}, nullptr};
        size_t count = federation_choose(&federation, &roll, &wish, service, choices);
        std::vector<std::string> ids;
        for (size_t i = 0; i < count; i++)
            ids.push_back(choices[i].coordinator_id);
        return ids;
    }

    struct replica roll, fleet;
    struct federation federation;
    uint64_t revision = 0, now_ms = 0;
    using Ids = std::set<std::string>;
};

TEST_F(Federation, ACoordinatorMaySayWhereItIs)
{
    federation_region *region = coordinator("uk", ONLINE, R"({"latitude": 51.5, "longitude": -0.12})");
    EXPECT_TRUE(region->place_is_own && region->place.known);
    EXPECT_EQ(region->place.latitude, 51.5);
    EXPECT_EQ(region->place.longitude, -0.12);
    for (const char *other : {"{}", R"({"latitude": 51.5})", R"({"latitude": 91, "longitude": 0})",
                              R"({"latitude": 0, "longitude": "0"})", R"({"latitude": 0, "longitude": -180.5})"})
        EXPECT_FALSE(coordinator("uk", ONLINE, other)->place_is_own) << other;
}

TEST_F(Federation, WorkersComeAndGoWithTheLists)
{
    federation_region *uk = coordinator("uk"), *us = coordinator("us");
    ASSERT_TRUE(read(uk, {worker("a"), worker("b")}));
    ASSERT_TRUE(read(us, {worker("c")}));
    EXPECT_EQ(listed(), (Ids{"uk/a", "uk/b", "us/c"}));
    EXPECT_EQ(holder("c"), "us");
    EXPECT_EQ(uk->worker_count, 2u);
    EXPECT_EQ(uk->as_of_ms, 1000);
    ASSERT_TRUE(read(uk, {worker("b")}));
    EXPECT_EQ(listed(), (Ids{"uk/b", "us/c"}));
    EXPECT_EQ(holder("a"), "nobody");
    ASSERT_TRUE(read(uk, {}));
    EXPECT_EQ(listed(), (Ids{"us/c"}));
    EXPECT_EQ(fleet.tombstone_count, 0u) << "nothing is left of who has gone";
}

TEST_F(Federation, WhatAListSaysOfAWorkerIsShown)
{
    federation_region *uk = coordinator("uk");
    ASSERT_TRUE(read(uk, {worker("a", "2026-01-05T10:00:00.000Z",
                                 R"(, "current_load": 0.5, "queue_depth": 4, "last_heartbeat":
                                    "2026-01-05T10:00:09.000Z")")}));
    const replica_worker *a = replica_find(&fleet, "a");
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(replica_status(a), ONLINE);
    EXPECT_DOUBLE_EQ(replica_load(a), 0.5);
    EXPECT_EQ(a->queue_depth, 4u);
    EXPECT_EQ(replica_last_heard_ms(a), 1767607209000);
    std::string offline = worker("a");
    offline.replace(offline.find("online"), 6, "offline");
    ASSERT_TRUE(read(uk, {offline}));
    EXPECT_EQ(replica_status(replica_find(&fleet, "a")), OFFLINE);
    EXPECT_FALSE(replica_is_healthy(replica_find(&fleet, "a")));
}

TEST_F(Federation, AWorkerInTwoPlacesCountsOnceWhereItRegisteredLast)
{
    federation_region *uk = coordinator("uk"), *us = coordinator("us");
    ASSERT_TRUE(read(uk, {worker("a", "2026-01-05T10:00:00.000Z")}));
    ASSERT_TRUE(read(us, {worker("a", "2026-01-05T10:00:05.000Z")}));
    EXPECT_EQ(listed(), (Ids{"us/a"}));
    EXPECT_EQ(uk->worker_count, 0u) << "before it has said so itself, which it may never do";
    EXPECT_EQ(us->worker_count, 1u);
    ASSERT_TRUE(read(uk, {worker("a", "2026-01-05T10:00:00.000Z")}));
    EXPECT_EQ(listed(), (Ids{"us/a"})) << "the old place does not get it back";
    EXPECT_EQ(uk->worker_count, 0u) << "though its own list may still name it";
    ASSERT_TRUE(read(uk, {}));
    EXPECT_EQ(listed(), (Ids{"us/a"}));
    ASSERT_TRUE(read(uk, {worker("a", "2026-01-05T10:00:07.000Z")}));
    EXPECT_EQ(listed(), (Ids{"uk/a"})) << "it moved back";
    ASSERT_TRUE(read(us, {}));
    EXPECT_EQ(listed(), (Ids{"uk/a"}));
}

TEST_F(Federation, ARegionKnowsWhetherAnotherOneHoldsSomeOfItsWorkers)
{
    federation_region *uk = coordinator("uk"), *us = coordinator("us");
    ASSERT_TRUE(read(uk, {worker("a", "2026-01-05T10:00:00.000Z"), worker("b")}));
    EXPECT_EQ(uk->passed_over, 0u);
    ASSERT_TRUE(read(us, {worker("a", "2026-01-05T10:00:05.000Z")}));
    EXPECT_EQ(uk->passed_over, 1u) << "it was taken over";
    EXPECT_EQ(us->passed_over, 0u);
    ASSERT_TRUE(read(uk, {worker("a", "2026-01-05T10:00:00.000Z"), worker("b")}));
    EXPECT_EQ(uk->passed_over, 1u) << "and is held elsewhere";
    ASSERT_TRUE(read(uk, {worker("b")}));
    EXPECT_EQ(uk->passed_over, 0u);
    uint64_t released = federation.released;
    ASSERT_TRUE(read(us, {}));
    EXPECT_EQ(federation.released, released + 1);
}

TEST_F(Federation, ARegistrationIsKnownBeforeAnyListShowsIt)
{
    federation_region *uk = coordinator("uk"), *us = coordinator("us");
    ASSERT_TRUE(read(uk, {worker("a")}));
    ASSERT_TRUE(federation_hold(&federation, "a", us, 1767609000000));
    EXPECT_EQ(holder("a"), "us");
    EXPECT_EQ(uk->worker_count, 0u);
    EXPECT_EQ(us->worker_count, 1u);
    ASSERT_TRUE(read(us, {})); // one that was on its way already
    EXPECT_EQ(holder("a"), "us");
    ASSERT_TRUE(read(us, {worker("a", "2026-01-05T11:00:00.000Z")}));
    EXPECT_EQ(listed(), (Ids{"us/a"}));
    ASSERT_TRUE(read(us, {}));
    EXPECT_EQ(holder("a"), "nobody") << "and goes when a list does not have it";
    federation_hold(&federation, "b", us, 1767609000000);
    federation_release(&federation, "b");
    EXPECT_EQ(holder("b"), "nobody");
    EXPECT_EQ(us->worker_count, 0u);
}

TEST_F(Federation, AListThatIsNoneChangesNothing)
{
    federation_region *uk = coordinator("uk");
    ASSERT_TRUE(read(uk, {worker("a")}));
    for (std::string text : {"", "{", "[]x", "nonsense", R"({"workers": 5})", R"({"error": "no"})"}) {
        EXPECT_FALSE(federation_read_list(&federation, uk, text.data(), text.size(), 2000, ++now_ms)) << text;
        EXPECT_NE(uk->problem[0], '\0') << text;
        EXPECT_EQ(listed(), (Ids{"uk/a"})) << text;
        EXPECT_EQ(uk->as_of_ms, 1000) << text;
    }
    ASSERT_TRUE(read(uk, {R"({"worker_id": 5})", worker("b"), R"("text")"})) << "who cannot be understood is left out";
    EXPECT_EQ(listed(), (Ids{"uk/b"}));
    EXPECT_EQ(uk->problem[0], '\0');
}

TEST_F(Federation, ARegionThatDoesNotAnswerKeepsItsWorkersUntilItsCoordinatorHasGone)
{
    federation_region *uk = coordinator("uk");
    coordinator("us");
    ASSERT_TRUE(read(uk, {worker("a")}));
    pool_failed(&uk->standing, ++now_ms);
    federation_note_problem(&federation, uk, "it does not answer");
    EXPECT_EQ(listed(), (Ids{"uk/a"}));
    EXPECT_EQ(federation_pool_size(&federation, &roll), 1u);
    ASSERT_TRUE(replica_remove(&roll, "uk", ++revision, ""));
    ASSERT_TRUE(federation_reconcile(&federation, &roll));
    EXPECT_EQ(listed(), Ids{});
    EXPECT_EQ(federation_find(&federation, "uk"), nullptr);
    EXPECT_EQ(holder("a"), "nobody");
}

TEST_F(Federation, ARegionIsKeptWhileItsAnswerIsAwaited)
{
    federation_region *uk = coordinator("uk");
    uk->asked = true;
    ASSERT_TRUE(replica_remove(&roll, "uk", ++revision, ""));
    ASSERT_TRUE(federation_reconcile(&federation, &roll));
    ASSERT_EQ(federation_find(&federation, "uk"), uk);
    uk->asked = false;
    ASSERT_TRUE(federation_reconcile(&federation, &roll));
    EXPECT_EQ(federation_find(&federation, "uk"), nullptr);
}

TEST_F(Federation, AServiceIsAskedForWhereItIsOffered)
{
    federation_region *uk = coordinator("uk"), *us = coordinator("us"), *fr = coordinator("fr");
    ASSERT_TRUE(read(uk, {worker("a")}));
    std::string offline = worker("b");
    offline.replace(offline.find("online"), 6, "offline");
    ASSERT_TRUE(read(us, {offline}));
    ASSERT_TRUE(read(fr, {}));
    for (int i = 0; i < 50; i++) {
        std::vector<std::string> order = choose("files");
        ASSERT_EQ(order.size(), 3u) << "the others come last: what is known may be a moment old";
        EXPECT_EQ(order[0], "uk");
    }
    pool_failed(&uk->standing, ++now_ms);
    EXPECT_NE(choose("files")[0], "uk");
    EXPECT_EQ(choose("files")[2], "uk");
    coordinator("new");
    EXPECT_EQ(choose("files")[0], "new") << "one that was not read yet may have it";
}

TEST_F(Federation, WhoIsSilentOrDrainedIsNotChosen)
{
    coordinator("uk");
    coordinator("us", OFFLINE);
    EXPECT_EQ(choose(nullptr), std::vector<std::string>{"uk"});
    WorkerFields drained{"uk", ++revision};
    drained.draining = true;
    ASSERT_TRUE(replica_put(&roll, WorkerMessage(drained).get()));
    EXPECT_TRUE(choose(nullptr).empty());
    EXPECT_EQ(federation_pool_size(&federation, &roll), 0u);
    for (int i = 0; i < 10; i++)
        coordinator("more-" + std::to_string(i));
    EXPECT_EQ(choose(nullptr).size(), (size_t)FEDERATION_CHOICES_MAX);
}

} // namespace
