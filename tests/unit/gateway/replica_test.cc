// The gateway's replica: streams in any order, own writes first, tombstones, health.

#include "tests/unit/gateway/messages.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace
{

constexpr auto ONLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto DEGRADED = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED;
constexpr auto DRAINING = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING;
constexpr auto OFFLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
constexpr auto RECONNECTING = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING;
constexpr auto REMOVED = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED;

class Replica : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        replica_init(&replica);
    }
    void TearDown() override
    {
        check();
        replica_free(&replica);
    }
    void apply(const Changes &changes)
    {
        ASSERT_TRUE(replica_apply_registry(&replica, &changes.message, nullptr));
    }
    void apply(const HealthChanges &changes, uint64_t now_ms = 0)
    {
        ASSERT_TRUE(replica_apply_health(&replica, &changes.message, now_ms));
    }
    void put(const WorkerFields &fields)
    {
        ASSERT_TRUE(replica_put(&replica, WorkerMessage(fields).get()));
    }
    replica_worker *find(const std::string &id)
    {
        return replica_find(&replica, id.c_str());
    }
    std::string url(const std::string &id, const replica_service *service)
    {
        Muster__V1__Worker *record = replica_record_unpack(find(id)->record);
        std::string text = replica_service_url(&replica, record, service);
        muster__v1__worker__free_unpacked(record, nullptr);
        return text;
    }
    // Counts and places against what can be counted.
    void check()
    {
        size_t healthy = 0, types[REPLICA_TYPES] = {};
        for (size_t i = 0; i < replica.worker_count; i++) {
            const replica_worker *worker = replica.workers[i];
            EXPECT_EQ(worker->position, i);
            healthy += replica_is_healthy(worker) ? 1 : 0;
            types[worker->record->type]++;
            for (size_t j = 0; j < worker->offer_count; j++)
                EXPECT_EQ(worker->record->offers[j].service->workers[worker->record->offers[j].position], worker);
        }
        EXPECT_EQ(replica.healthy_count, healthy);
        for (size_t i = 0; i < REPLICA_TYPES; i++)
            EXPECT_EQ(replica.type_counts[i], types[i]);
    }
    std::set<std::string> offering(const std::string &name)
    {
        std::set<std::string> ids;
        const replica_service *service = replica_find_service(&replica, name.data(), name.size());
        for (size_t i = 0; service != nullptr && i < service->worker_count; i++)
            ids.insert(service->workers[i]->id);
        return ids;
    }
    struct replica replica;
};

TEST_F(Replica, FollowsTheRoll)
{
    apply(Changes().begin().put({"a", 3}).put({"b", 5}).complete(5));
    EXPECT_EQ(replica.worker_count, 2u);
    EXPECT_TRUE(replica.registry_known);
    apply(Changes().put({"c", 6}).remove("a", 7).upto(7));
    EXPECT_EQ(find("a"), nullptr);
    ASSERT_NE(find("b"), nullptr);
    ASSERT_NE(find("c"), nullptr);
    EXPECT_EQ(replica.revision, 7u);
    for (size_t i = 0; i < replica.worker_count; i++)
        EXPECT_EQ(replica.workers[i]->position, i);
}

TEST_F(Replica, EveryVisibleChangeHasAVersion)
{
    uint64_t version = replica.version;
    apply(Changes().put({"a", 1}).upto(1));
    EXPECT_GT(replica.version, version);
    version = replica.version;
    apply(Changes().status("a", 1, 2, DEGRADED).upto(2));
    EXPECT_GT(replica.version, version);
    version = replica.version;
    apply(HealthChanges().worker("a", 1, ONLINE));
    EXPECT_GT(replica.version, version);
    version = replica.version;
    apply(HealthChanges().worker("nobody", 1, ONLINE));
    EXPECT_EQ(replica.version, version) << "nobody can see that";
    apply(Changes().remove("a", 3).upto(3));
    EXPECT_GT(replica.version, version);
}

TEST_F(Replica, OwnWritesAreNotUndoneByOlderNews)
{
    apply(Changes().begin().put({"a", 1}).complete(1));
    put({"a", 10, 2});
    apply(Changes().put({"a", 1}).upto(5));
    EXPECT_EQ(find("a")->record->incarnation, 2u);
    apply(Changes().remove("a", 9).upto(9));
    ASSERT_NE(find("a"), nullptr) << "that removal was before our registration";
    apply(Changes().put({"a", 10, 2}).upto(10));
    EXPECT_EQ(find("a")->record->incarnation, 2u);
    apply(Changes().remove("a", 11).upto(11));
    EXPECT_EQ(find("a"), nullptr);
}

TEST_F(Replica, OwnRemovalsAreNotUndoneByOlderNews)
{
    apply(Changes().begin().put({"a", 1}).complete(1));
    ASSERT_TRUE(replica_remove(&replica, "a", 8, "unregistered"));
    ASSERT_TRUE(replica_remove(&replica, "never-heard-of", 9, "unregistered"));
    EXPECT_EQ(find("a"), nullptr);
    apply(Changes().put({"a", 5, 2}).put({"never-heard-of", 6}).upto(6));
    EXPECT_EQ(find("a"), nullptr);
    EXPECT_EQ(find("never-heard-of"), nullptr);
    apply(Changes().remove("a", 8).remove("never-heard-of", 9).upto(9));
    EXPECT_EQ(replica.tombstone_count, 0u);
    EXPECT_EQ(replica.by_id.count, 0u) << "nothing is kept of them";
    apply(Changes().put({"a", 12}).upto(12));
    EXPECT_NE(find("a"), nullptr);
}

TEST_F(Replica, RegisteringAgainAfterARemoval)
{
    ASSERT_TRUE(replica_remove(&replica, "a", 8, "unregistered"));
    put({"a", 9});
    EXPECT_NE(find("a"), nullptr);
    EXPECT_EQ(replica.tombstone_count, 0u);
    ASSERT_TRUE(replica_remove(&replica, "a", 8, "unregistered")) << "the same removal, later";
    EXPECT_NE(find("a"), nullptr);
}

TEST_F(Replica, SnapshotsReplaceEverythingButLaterWrites)
{
    apply(Changes().begin().put({"a", 1}).put({"b", 2}).put({"c", 3}).complete(3));
    apply(Changes().begin().put({"a", 1}));
    put({"mine", 20});
    put({"mine-old", 9});
    EXPECT_NE(find("b"), nullptr) << "not before the snapshot is complete";
    apply(Changes().put({"c", 10}).complete(12));
    EXPECT_EQ(find("b"), nullptr);
    EXPECT_NE(find("a"), nullptr);
    EXPECT_NE(find("c"), nullptr);
    EXPECT_NE(find("mine"), nullptr) << "newer than the snapshot";
    // Put while the snapshot went on: it counts as mentioned, and its removal would come as an event.
    EXPECT_NE(find("mine-old"), nullptr);
}

TEST_F(Replica, StatusOfAnotherIncarnationIsPassedOver)
{
    put({"a", 4, 2});
    apply(Changes().status("a", 1, 5, OFFLINE).upto(5));
    EXPECT_EQ(replica_status(find("a")), ONLINE);
    apply(Changes().status("a", 2, 3, OFFLINE).upto(5));
    EXPECT_EQ(replica_status(find("a")), ONLINE) << "older than the record";
    apply(Changes().status("a", 2, 6, OFFLINE, "stream broken").upto(6));
    EXPECT_EQ(replica_status(find("a")), OFFLINE);
    EXPECT_STREQ(find("a")->record->status_reason, "stream broken");
    apply(Changes().status("a", 2, 7, ONLINE, "").upto(7));
    EXPECT_EQ(find("a")->record->status_reason, nullptr);
}

TEST_F(Replica, HealthWinsOverTheRecordAndOperatorsOverBoth)
{
    WorkerFields fields{"a", 1};
    fields.status = RECONNECTING;
    put(fields);
    EXPECT_EQ(replica_status(find("a")), RECONNECTING);
    EXPECT_FALSE(replica_is_healthy(find("a")));
    apply(HealthChanges().worker("a", 1, DEGRADED, 1767609001000, 0.5));
    EXPECT_EQ(replica_status(find("a")), DEGRADED);
    EXPECT_TRUE(replica_is_healthy(find("a")));
    EXPECT_EQ(replica_load(find("a")), 0.5);
    EXPECT_EQ(replica_last_heard_ms(find("a")), 1767609001000);
    apply(HealthChanges().worker("a", 1, ONLINE));
    EXPECT_EQ(replica_load(find("a")), 0.5) << "a load that is absent is unchanged";
    put({"a", 2, 2});
    EXPECT_EQ(replica_status(find("a")), ONLINE) << "health speaks of the one before: the record counts";
    apply(HealthChanges().worker("a", 2, OFFLINE));
    EXPECT_EQ(replica_status(find("a")), OFFLINE);
    fields = {"a", 3, 2};
    fields.draining = true;
    put(fields);
    EXPECT_EQ(replica_status(find("a")), DRAINING);
}

TEST_F(Replica, HealthMayBeFirst)
{
    apply(HealthChanges().worker("a", 1, DEGRADED, 5, 0.25));
    EXPECT_EQ(find("a"), nullptr);
    EXPECT_EQ(replica.worker_count, 0u);
    put({"a", 1});
    EXPECT_EQ(replica_status(find("a")), DEGRADED);
    EXPECT_EQ(replica_load(find("a")), 0.25);
}

TEST_F(Replica, WhatHealthGaveUpLooksOfflineUntilItIsGone)
{
    put({"a", 1});
    apply(HealthChanges().worker("a", 1, ONLINE).worker("ghost", 1, ONLINE));
    apply(HealthChanges().worker("a", 1, REMOVED).worker("ghost", 1, REMOVED).worker("unknown", 1, REMOVED));
    EXPECT_EQ(replica_status(find("a")), OFFLINE);
    EXPECT_EQ(replica.by_id.count, 1u);
    apply(Changes().remove("a", 2).upto(2));
    EXPECT_EQ(replica.by_id.count, 0u);
}

TEST_F(Replica, ThatARegistrationIsGoneSaysNothingOfTheNextOne)
{
    put({"a", 3, 2});
    apply(HealthChanges().worker("a", 1, REMOVED));
    EXPECT_EQ(replica_status(find("a")), ONLINE);
    put({"b", 4, 1});
    apply(HealthChanges().worker("b", 1, DEGRADED, 5, 0.25));
    put({"b", 5, 2});
    apply(HealthChanges().worker("b", 1, REMOVED));
    EXPECT_EQ(replica_status(find("b")), ONLINE);
    EXPECT_EQ(replica_load(find("b")), 0);
}

TEST_F(Replica, AHealthSnapshotForgetsWhatItLeavesOut)
{
    put({"a", 1});
    put({"b", 2});
    replica_health_begins(&replica);
    apply(HealthChanges().worker("a", 1, DEGRADED).worker("b", 1, DEGRADED).worker("ghost", 1, ONLINE).complete());
    replica_health_begins(&replica);
    apply(HealthChanges().worker("a", 1, DEGRADED));
    EXPECT_EQ(replica_status(find("b")), DEGRADED);
    apply(HealthChanges().complete());
    EXPECT_EQ(replica_status(find("a")), DEGRADED);
    EXPECT_EQ(replica_status(find("b")), ONLINE) << "only the record is known of it";
    EXPECT_EQ(replica.by_id.count, 2u);
}

class OwnHeartbeat : public Replica
{
  protected:
    void beat(int64_t at_ms, uint64_t now_ms, Muster__V1__WorkerStatus status, double load, uint64_t incarnation = 0)
    {
        Muster__V1__Heartbeat heartbeat = MUSTER__V1__HEARTBEAT__INIT;
        Muster__V1__Load said = MUSTER__V1__LOAD__INIT;
        std::string id = "a";
        heartbeat.worker_id = id.data();
        heartbeat.status = status;
        heartbeat.incarnation = incarnation;
        said.current_load = load;
        heartbeat.load = load >= 0 ? &said : nullptr;
        ASSERT_TRUE(replica_heartbeat(&replica, &heartbeat, at_ms, now_ms));
    }
};

// A coordinator whose clock was ahead when the worker registered, and was then set right.
TEST_F(OwnHeartbeat, AClockThatIsSetBackMakesNobodyYounger)
{
    const int64_t ahead = 1767609100000, right = ahead - 5 * 3600 * 1000;
    WorkerFields fields{"a", 1};
    fields.registered_at_ms = ahead;
    put(fields);
    EXPECT_EQ(replica_last_heard_ms(find("a")), ahead) << "all that is known";
    beat(ahead + 1000, 5000, ONLINE, -1);
    beat(right, 35000, ONLINE, -1);
    EXPECT_EQ(replica_last_heard_ms(find("a")), right);
    EXPECT_EQ(replica_age_ms(find("a"), 36000, right + 1000), 1000u);
    EXPECT_EQ(replica_age_ms(find("a"), 36000, ahead), 1000u) << "whatever the date is";
    apply(HealthChanges().worker("a", 1, ONLINE, right + 29000).silent(1000), 65000);
    EXPECT_EQ(replica_last_heard_ms(find("a")), right + 29000);
    EXPECT_EQ(replica_age_ms(find("a"), 65000, 0), 1000u);
}

TEST_F(OwnHeartbeat, ARegistrationOfWhichHealthSaysNothingYetIsAsOldAsItIsWhateverTheDateIs)
{
    const int64_t hour = 3600 * 1000;
    WorkerFields fields{"a", 1};
    replica.now_ms = 5000;
    apply(Changes().put(fields).upto(1));
    EXPECT_EQ(replica_age_ms(find("a"), 6000, fields.registered_at_ms + hour), 1000u);
    replica.now_ms = 7000; // it comes again, with an assignment
    put({"a", 2, 1, {"x"}});
    EXPECT_EQ(replica_age_ms(find("a"), 8000, fields.registered_at_ms - hour), 3000u);
    beat(fields.registered_at_ms, 8000, ONLINE, -1);
    EXPECT_EQ(replica_age_ms(find("a"), 8500, 0), 500u);
    // One that was found: only its date is known.
    fields.id = "b";
    apply(Changes().begin().put(fields).complete(3));
    EXPECT_EQ(replica_age_ms(find("b"), 9000, fields.registered_at_ms + hour), static_cast<uint64_t>(hour));
}

TEST_F(OwnHeartbeat, ShowsAtOnceAndIsNotUndone)
{
    put({"a", 1});
    const int64_t t = 1767609100000;
    beat(t, 5000, DEGRADED, 0.75);
    EXPECT_EQ(replica_status(find("a")), DEGRADED);
    EXPECT_EQ(replica_load(find("a")), 0.75);
    EXPECT_EQ(replica_last_heard_ms(find("a")), t);
    apply(HealthChanges().worker("a", 1, ONLINE, t - 10, 0.1), 5500);
    EXPECT_EQ(replica_status(find("a")), DEGRADED) << "a report of an earlier heartbeat";
    EXPECT_EQ(replica_load(find("a")), 0.75);
    apply(HealthChanges().worker("a", 1, ONLINE, t + 3, 0.2), 5600);
    EXPECT_EQ(replica_load(find("a")), 0.2);
    beat(t + 10, 6000, ONLINE, -1);
    EXPECT_EQ(replica_load(find("a")), 0.2) << "no load was said";
    apply(HealthChanges().worker("a", 1, OFFLINE, t - 10), 6001);
    EXPECT_EQ(replica_status(find("a")), OFFLINE) << "that it is gone is always believed";
    beat(t + 20, 7000, ONLINE, 0.3);
    apply(HealthChanges().worker("a", 1, DEGRADED, t - 99), 7000 + REPLICA_FRESH_MS);
    EXPECT_EQ(replica_status(find("a")), DEGRADED) << "clocks may differ: it lasts only a while";
}

TEST_F(OwnHeartbeat, AnEarlierReportStillSaysWhyTheStatusIsWhatItIs)
{
    put({"a", 1});
    const int64_t t = 1767609100000;
    beat(t, 5000, ONLINE, 0.5);
    // Health's clock was read a moment before ours; the worker is silent from now on, so that no other report comes.
    apply(HealthChanges().worker("a", 1, ONLINE, t - 1, 0.1).because("another worker uses this id", t - 1), 5001);
    EXPECT_STREQ(replica_status_reason(find("a")), "another worker uses this id");
    EXPECT_EQ(replica_load(find("a")), 0.5);
    EXPECT_EQ(replica_last_heard_ms(find("a")), t);
    apply(HealthChanges().worker("a", 1, DEGRADED, t - 1).because("heartbeat late", t - 1), 5002);
    EXPECT_EQ(replica_status(find("a")), ONLINE);
    EXPECT_STREQ(replica_status_reason(find("a")), "another worker uses this id") << "of another status";
}

TEST_F(OwnHeartbeat, DoesNotEndAHoldAndEndsOtherReasons)
{
    put({"a", 1});
    EXPECT_STREQ(replica_status_reason(find("a")), "");
    apply(HealthChanges().worker("a", 1, DEGRADED, 5).because("heartbeat late", 77));
    EXPECT_STREQ(replica_status_reason(find("a")), "heartbeat late");
    EXPECT_EQ(replica_status_changed_at_ms(find("a")), 77);
    beat(90, 90, ONLINE, -1);
    EXPECT_EQ(replica_status(find("a")), ONLINE);
    EXPECT_STREQ(replica_status_reason(find("a")), "");
    EXPECT_EQ(replica_status_changed_at_ms(find("a")), 90);
    beat(95, 95, ONLINE, -1);
    EXPECT_EQ(replica_status_changed_at_ms(find("a")), 90) << "nothing changed";
    apply(HealthChanges().worker("a", 1, OFFLINE, 100).because("held out of routing for 15 s", 100, true));
    beat(110, 110, ONLINE, -1);
    EXPECT_EQ(replica_status(find("a")), OFFLINE);
    EXPECT_STREQ(replica_status_reason(find("a")), "held out of routing for 15 s");
    apply(HealthChanges().worker("a", 1, ONLINE, 120).because("", 120), 5000);
    beat(130, 5001, DEGRADED, -1);
    EXPECT_EQ(replica_status(find("a")), DEGRADED);
}

TEST_F(OwnHeartbeat, OfAnEarlierIncarnationChangesNothing)
{
    put({"a", 3, 2});
    beat(1, 1, DEGRADED, 0.9, 1);
    EXPECT_EQ(replica_status(find("a")), ONLINE);
    beat(1, 1, DEGRADED, 0.9, 2);
    EXPECT_EQ(replica_status(find("a")), DEGRADED);
}

TEST_F(Replica, JudgesHeartbeatsByItsOwnWrites)
{
    Muster__V1__Heartbeat heartbeat = MUSTER__V1__HEARTBEAT__INIT;
    std::string id = "a";
    heartbeat.worker_id = id.data();
    EXPECT_EQ(replica_judge(&replica, &heartbeat), REPLICA_ASK_HEALTH) << "the watch may be behind";
    put({"a", 5, 3});
    EXPECT_EQ(replica_judge(&replica, &heartbeat), REPLICA_ASK_HEALTH) << "of no incarnation";
    heartbeat.incarnation = 3;
    EXPECT_EQ(replica_judge(&replica, &heartbeat), REPLICA_ASK_HEALTH);
    heartbeat.incarnation = 4;
    EXPECT_EQ(replica_judge(&replica, &heartbeat), REPLICA_ASK_HEALTH) << "registered elsewhere, not heard of yet";
    heartbeat.incarnation = 2;
    EXPECT_EQ(replica_judge(&replica, &heartbeat), REPLICA_STALE_INCARNATION);
    ASSERT_TRUE(replica_remove(&replica, "a", 6, "unregistered"));
    EXPECT_EQ(replica_judge(&replica, &heartbeat), REPLICA_REMOVED);
    apply(Changes().remove("a", 6).upto(6));
    EXPECT_EQ(replica_judge(&replica, &heartbeat), REPLICA_ASK_HEALTH);
}

TEST_F(Replica, KeepsRecordsAsTheyCame)
{
    WorkerFields fields{"a", 7, 3};
    fields.assigned = {"ocr", "llm"};
    fields.announced = {{"own", "http://own"}};
    fields.capabilities_json = R"({"cpu_cores":4})";
    WorkerMessage message(fields);
    std::string reason = "late", memory = "24 GB";
    message.worker.status_reason = reason.data();
    message.worker.spec->capabilities->gpu_memory = memory.data(); // the JSON is what counts
    ASSERT_TRUE(replica_put(&replica, message.get()));
    const replica_record *record = find("a")->record;
    EXPECT_EQ(record->revision, 7u);
    EXPECT_EQ(record->incarnation, 3u);
    EXPECT_STREQ(record->status_reason, "late");
    Muster__V1__Worker *worker = replica_record_unpack(record);
    EXPECT_EQ(worker->incarnation, 3u);
    EXPECT_EQ(worker->registered_at_ms, fields.registered_at_ms);
    EXPECT_EQ(worker->n_assigned_services, 2u);
    EXPECT_STREQ(worker->spec->services[0]->url, "http://own");
    EXPECT_STREQ(worker->spec->capabilities->json, R"({"cpu_cores":4})");
    EXPECT_STREQ(worker->spec->capabilities->gpu_memory, "");
    muster__v1__worker__free_unpacked(worker, nullptr);
}

TEST_F(Replica, ManyComeAndGoAndEveryServiceKnowsItsOwn)
{
    for (int i = 0; i < 300; i++) {
        WorkerFields fields{"w" + std::to_string(i), static_cast<uint64_t>(i + 1)};
        fields.assigned = {"ocr", i % 2 == 0 ? "llm" : "rag"};
        fields.type = i % 3 == 0 ? MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU : MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
        put(fields);
    }
    check();
    for (int i = 0; i < 300; i += 3)
        ASSERT_TRUE(replica_remove(&replica, ("w" + std::to_string(i)).c_str(), 1000, ""));
    check();
    EXPECT_EQ(offering("ocr").size(), 200u);
    EXPECT_EQ(offering("llm").size(), 100u);
    EXPECT_EQ(offering("llm").count("w6"), 0u);
    EXPECT_EQ(replica.type_counts[MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU], 0u);
}

TEST_F(Replica, WalksMeetEachWorkerThatStaysOnce)
{
    std::mt19937 random(11);
    uint64_t revision = 0;
    size_t number = 0;
    std::set<std::string> roll;
    const auto add = [&] {
        std::string id = "w" + std::to_string(number++);
        put({id, ++revision});
        roll.insert(id);
    };
    const auto remove = [&](std::set<std::string> *stayed) {
        std::string id = replica.workers[random() % replica.worker_count]->id;
        ASSERT_TRUE(replica_remove(&replica, id.c_str(), ++revision, ""));
        roll.erase(id);
        for (int i = 0; i < 3; i++)
            stayed[i].erase(id);
    };
    for (int round = 0; round < 50; round++) {
        struct replica_walk walks[3];
        std::set<std::string> stayed[3];
        std::multiset<std::string> met[3];
        bool over[3] = {};
        while (replica.worker_count < 40)
            add();
        for (int i = 0; i < 3; i++) {
            replica_walk_begin(&replica, &walks[i]);
            stayed[i] = roll;
        }
        while (!over[0] || !over[1] || !over[2]) {
            int which = static_cast<int>(random() % 5);
            if (which == 3) {
                add();
            } else if (which == 4 && replica.worker_count > 1) {
                remove(stayed);
            } else if (which < 3 && !over[which]) {
                for (unsigned i = random() % 8; i > 0 && !over[which]; i--) {
                    const replica_worker *worker = replica_walk_next(&replica, &walks[which]);
                    over[which] = worker == nullptr;
                    if (worker != nullptr)
                        met[which].insert(worker->id);
                }
            }
        }
        for (int i : {1, 0, 2}) {
            replica_walk_end(&replica, &walks[i]);
            for (const auto &id : stayed[i])
                EXPECT_EQ(met[i].count(id), 1u) << id;
            for (const auto &id : met[i])
                EXPECT_EQ(met[i].count(id), 1u) << id;
        }
        EXPECT_EQ(replica.walks, nullptr);
    }
}

TEST_F(Replica, KnowsWhoOffersWhat)
{
    Catalog catalog;
    catalog.service("vision-ocr", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU, 1, 8104, {"ocr"});
    WorkerFields a{"a", 1};
    a.assigned = {"vision-ocr", "llm"};
    a.announced = {{"ocr", "http://ocr-here"}, {"own", ""}};
    put(a);
    EXPECT_EQ(offering("ocr"), std::set<std::string>{"a"}) << "a name of its own, as long as there is no catalog";
    ASSERT_TRUE(replica_apply_catalog(&replica, &catalog.message));
    WorkerFields b{"b", 2};
    b.announced = {{"ocr", ""}};
    put(b);
    EXPECT_EQ(offering("ocr"), (std::set<std::string>{"a", "b"}));
    EXPECT_EQ(offering("vision-ocr"), (std::set<std::string>{"a", "b"}));
    EXPECT_EQ(find("a")->offer_count, 3u) << "assigned and announced is one";
    const replica_service *ocr = replica_find_service(&replica, "ocr", 3);
    EXPECT_EQ(url("a", ocr), "http://ocr-here");
    EXPECT_EQ(url("b", ocr), "http://b");
    EXPECT_EQ(url("a", replica_find_service(&replica, "own", 3)), "http://a");
    a.revision = 5;
    a.announced.clear();
    a.assigned = {"llm"};
    put(a);
    EXPECT_EQ(offering("ocr"), std::set<std::string>{"b"});
    EXPECT_EQ(replica_find_service(&replica, "own", 3), nullptr) << "nobody's service goes with its last worker";
    apply(Changes().remove("b", 6).remove("a", 7).upto(7));
    EXPECT_TRUE(offering("ocr").empty());
    EXPECT_EQ(replica.services.count, 1u) << "what is in the catalog stays";
}

TEST_F(Replica, ManyAtATime)
{
    // More than are expected at a time, of some who are known, of some whose record is not, and of some who are not.
    Changes changes;
    for (uint64_t i = 1; i <= 100; i++)
        changes.put({"w" + std::to_string(i), i});
    apply(changes.upto(100));
    HealthChanges health;
    for (uint64_t i = 51; i <= 150; i++)
        health.worker("w" + std::to_string(i), 1, DEGRADED);
    apply(health);
    EXPECT_EQ(replica.worker_count, 100u);
    EXPECT_EQ(replica.by_id.count, 150u);
    for (uint64_t i = 1; i <= 100; i++)
        EXPECT_EQ(replica_status(find("w" + std::to_string(i))), i > 50 ? DEGRADED : ONLINE) << i;
    HealthChanges gone;
    for (uint64_t i = 51; i <= 150; i++)
        gone.worker("w" + std::to_string(i), 1, REMOVED);
    apply(gone);
    EXPECT_EQ(replica.by_id.count, 100u);
}

TEST_F(Replica, ServicesThatComeAndGoAreFoundAnew)
{
    WorkerFields a{"a", 1}, b{"b", 2};
    a.announced = b.announced = {{"own", ""}, {"own", ""}, {"", ""}};
    put(a);
    put(b);
    EXPECT_EQ(offering("own"), (std::set<std::string>{"a", "b"}));
    apply(Changes().remove("a", 3).remove("b", 4).upto(4));
    EXPECT_EQ(replica.services.count, 0u);
    a.revision = 5;
    a.announced = {{"own", ""}, {"nwo", ""}};
    put(a);
    EXPECT_EQ(offering("own"), std::set<std::string>{"a"});
    EXPECT_EQ(offering("nwo"), std::set<std::string>{"a"});
    EXPECT_EQ(offering(""), std::set<std::string>{});
}

TEST_F(Replica, NamesThatAreAliasesElsewhereAreNotTakenForTheirOwnService)
{
    Catalog catalog;
    catalog.service("ocr", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU, 1, 8104, {"text"});
    catalog.service("text", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU, 1, 8105, {});
    ASSERT_TRUE(replica_apply_catalog(&replica, &catalog.message));
    for (uint64_t i = 1; i <= 3; i++) {
        WorkerFields fields{"w" + std::to_string(i), i};
        fields.assigned = i == 2 ? std::vector<std::string>{"ocr"} : std::vector<std::string>{"text"};
        put(fields);
    }
    EXPECT_EQ(offering("ocr"), (std::set<std::string>{"w1", "w2", "w3"}));
}

class AsItCame : public Replica
{
  protected:
    static std::vector<uint8_t> pack(const ProtobufCMessage *message)
    {
        std::vector<uint8_t> bytes(protobuf_c_message_get_packed_size(message));
        protobuf_c_message_pack(message, bytes.data());
        return bytes;
    }
    static void append(std::vector<uint8_t> &bytes, uint8_t field, const std::vector<uint8_t> &value)
    {
        bytes.push_back(static_cast<uint8_t>(field << 3 | 2));
        bytes.push_back(static_cast<uint8_t>(value.size() | 0x80));
        bytes.push_back(static_cast<uint8_t>(value.size() >> 7));
        bytes.insert(bytes.end(), value.begin(), value.end());
    }
    void come(const std::vector<uint8_t> &bytes)
    {
        auto *message = muster__v1__watch_workers_response__unpack(nullptr, bytes.size(), bytes.data());
        ASSERT_NE(message, nullptr);
        struct wire_bytes wire = {bytes.data(), bytes.size()};
        ASSERT_TRUE(replica_apply_registry(&replica, message, &wire));
        muster__v1__watch_workers_response__free_unpacked(message, nullptr);
    }
    // The record as the replica gives it back, without what it keeps beside.
    std::vector<uint8_t> kept(const std::string &id)
    {
        Muster__V1__Worker *record = replica_record_unpack(find(id)->record);
        EXPECT_NE(record, nullptr);
        record->status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED;
        record->draining = 0;
        record->revision = 0;
        std::vector<uint8_t> bytes = pack(&record->base);
        muster__v1__worker__free_unpacked(record, nullptr);
        return bytes;
    }
};

TEST_F(AsItCame, RecordsAreTheSameAsPackedOnes)
{
    WorkerFields a{"a", 3}, b{"b", 5, 2};
    a.assigned = {"vision-ocr", "llm"};
    a.announced = {{"ocr", "http://ocr-here"}, {"own", ""}};
    b.capabilities_json = R"({"has_gpu":true})";
    b.draining = true;
    Changes changes;
    changes.status("a", 1, 1, OFFLINE).put(a).remove("c", 4).put(b).upto(5);
    Muster__V1__StoreState store = MUSTER__V1__STORE_STATE__INIT;
    changes.message.store = &store;
    come(pack(&changes.message.base));
    ASSERT_EQ(replica.worker_count, 2u);
    auto a_as_it_came = kept("a"), b_as_it_came = kept("b");
    EXPECT_EQ(offering("llm"), std::set<std::string>{"a"});
    EXPECT_TRUE(find("b")->record->draining);
    a.revision = 6;
    b.revision = 7;
    put(a);
    put(b);
    EXPECT_EQ(kept("a"), a_as_it_came);
    EXPECT_EQ(kept("b"), b_as_it_came);
}

TEST_F(AsItCame, ARecordInSeveralPiecesIsMerged)
{
    Muster__V1__Worker rest = MUSTER__V1__WORKER__INIT;
    rest.incarnation = 7;
    std::vector<uint8_t> event, message;
    append(event, 5, pack(&WorkerMessage({"a", 3}).get()->base));
    append(event, 5, pack(&rest.base));
    append(message, 4, {0x08, 0x03, 0x12, 0x01, 'z'}); // the removal of another one
    append(message, 77, {1, 2, 3});                    // of a later version of the protocol
    event.insert(event.begin(), {0x08, 0x01, 0x12, 0x01, 'a'});
    append(message, 4, event);
    come(message);
    ASSERT_NE(find("a"), nullptr);
    EXPECT_EQ(find("a")->record->incarnation, 7u);
    Muster__V1__Worker *record = replica_record_unpack(find("a")->record);
    EXPECT_EQ(record->incarnation, 7u);
    EXPECT_STREQ(record->spec->worker_id, "a");
    muster__v1__worker__free_unpacked(record, nullptr);
}

TEST_F(AsItCame, AKeyStaysWithTheRecord)
{
    WorkerMessage mine({"a", 3});
    std::string key = "lab";
    mine.worker.spec->registered_by = key.data();
    Changes changes;
    changes.put({"b", 1});
    changes.message.events[0]->worker = &mine.worker;
    come(pack(&changes.message.base));
    EXPECT_STREQ(replica_record_owner(find("a")->record), "lab");
    EXPECT_EQ(find("b"), nullptr);
    put({"a", 4});
    EXPECT_EQ(replica_record_owner(find("a")->record), nullptr);
}

TEST_F(Replica, RandomNewsInAnyOrderEndTheSame)
{
    // Events of one history, some delivered early as own writes, never lead to another end.
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct replica one;
        replica_init(&one);
        unsigned state = seed * 2654435761u;
        const auto random = [&](unsigned below) {
            state = state * 1664525u + 1013904223u;
            return (state >> 16) % below;
        };
        std::set<std::string> alive;
        for (uint64_t revision = 1; revision <= 60; revision++) {
            std::string id(1, (char)('a' + random(4)));
            bool remove = alive.count(id) > 0 && random(2) == 0;
            Changes change;
            if (remove) {
                alive.erase(id);
                change.remove(id, revision);
            } else {
                alive.insert(id);
                change.put({id, revision, revision});
            }
            change.upto(revision);
            if (random(3) == 0) {
                if (remove)
                    replica_remove(&one, id.c_str(), revision, "unregistered");
                else
                    replica_put(&one, WorkerMessage({id, revision, revision}).get());
            }
            ASSERT_TRUE(replica_apply_registry(&one, &change.message, nullptr));
        }
        std::set<std::string> listed;
        for (size_t i = 0; i < one.worker_count; i++)
            listed.insert(one.workers[i]->id);
        EXPECT_EQ(listed, alive) << "seed " << seed;
        EXPECT_EQ(one.tombstone_count, 0u);
        EXPECT_EQ(one.by_id.count, alive.size());
        replica_free(&one);
    }
}

} // namespace
