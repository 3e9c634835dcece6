// What the replica tells, how it is rendered, and who can be told what was missed.

#include "tests/unit/gateway/messages.h"

extern "C" {
#include "gateway/events.h"
#include "gateway/topology.h"
}

#include <gtest/gtest.h>
#include <jansson.h>

#include <cstring>

namespace
{

constexpr auto ONLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto RECONNECTING = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING;
constexpr auto REMOVED = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED;
constexpr auto DEGRADED = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED;
constexpr auto OFFLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
constexpr int64_t NOW_MS = 1767609000125; // 2026-01-05T10:30:00.125Z

std::string text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == nullptr ? "" : text;
}

class Events : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        replica_init(&replica);
        catalog({"minio", "redis"});
        replica_settle(&replica);
        replica.observer = note;
        replica.observer_context = this;
    }
    void TearDown() override
    {
        replica_free(&replica);
    }
    static void note(void *context, const struct replica_change *change)
    {
        auto *self = static_cast<Events *>(context);
        buffer text = BUFFER_INIT;
        event_render(change, ++self->revision, NOW_MS, "here", &text);
        self->texts.emplace_back(text.data, text.bytes);
        buffer_free(&text);
        json_t *object = json_loads(self->texts.back().c_str(), 0, nullptr);
        ASSERT_NE(object, nullptr) << self->texts.back();
        std::string line = text_of(object, "type");
        for (const char *key : {"worker_id", "service", "previous_status", "status", "reason"}) {
            if (!text_of(object, key).empty())
                line += " " + text_of(object, key);
        }
        EXPECT_EQ(json_integer_value(json_object_get(object, "revision")), (json_int_t)self->revision);
        json_decref(object);
        self->lines.push_back(line);
    }
    void catalog(const std::vector<std::string> &names)
    {
        Texts kept;
        std::deque<Muster__V1__CatalogService> services;
        std::vector<Muster__V1__CatalogService *> pointers;
        Muster__V1__WatchCatalogResponse message = MUSTER__V1__WATCH_CATALOG_RESPONSE__INIT;
        for (const std::string &name : names) {
            auto &service = services.emplace_back();
            muster__v1__catalog_service__init(&service);
            service.name = kept.keep(name);
            service.requires = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE;
            pointers.push_back(&service);
        }
        message.services = pointers.data();
        message.n_services = pointers.size();
        ASSERT_TRUE(replica_apply_catalog(&replica, &message));
    }
    void put(const WorkerFields &fields)
    {
        ASSERT_TRUE(replica_put(&replica, WorkerMessage(fields).get()));
    }
    std::vector<std::string> told()
    {
        replica_settle(&replica);
        return std::move(lines);
    }
    struct replica replica;
    uint64_t revision = 0;
    std::vector<std::string> lines, texts;
};

using Lines = std::vector<std::string>;

TEST_F(Events, ARegistrationIsToldOnce)
{
    put({"a", 3, 1, {"minio"}});
    EXPECT_EQ(told(), (Lines{"worker_registered a", "gap_closed minio critical warning"}));
    EXPECT_NE(texts[0].find(R"("time":"2026-01-05T10:30:00.125Z")"), std::string::npos) << texts[0];
    EXPECT_NE(texts[0].find(R"("worker":{"id":"a","type":"cpu","coordinator":"here")"), std::string::npos) << texts[0];
    EXPECT_NE(texts[0].find(R"("services":["minio"])"), std::string::npos) << texts[0];
    put({"a", 3, 1, {"minio"}});
    EXPECT_EQ(told(), Lines{}) << "the watch says what is known already";
}

TEST_F(Events, RegisteringAgainOpensNoGap)
{
    put({"a", 3, 1, {"minio"}});
    told();
    put({"a", 4, 2, {"minio"}});
    EXPECT_EQ(told(), Lines{"worker_registered a"});
}

TEST_F(Events, CoverageIsToldByItsStates)
{
    put({"a", 1, 1, {"minio"}});
    put({"b", 2, 1, {"minio"}});
    EXPECT_EQ(told(), (Lines{"worker_registered a", "worker_registered b", "gap_closed minio critical ok"}));
    put({"c", 3, 1, {"minio"}});
    EXPECT_EQ(told(), Lines{"worker_registered c"}) << "enough is enough";
    ASSERT_TRUE(replica_remove(&replica, "c", 4, "unregistered"));
    ASSERT_TRUE(replica_remove(&replica, "b", 5, "unregistered"));
    EXPECT_EQ(told(), (Lines{"worker_unregistered c unregistered", "worker_unregistered b unregistered", "coverage_changed minio ok warning"}));
    ASSERT_TRUE(replica_remove(&replica, "a", 6, "unregistered"));
    EXPECT_EQ(told(), (Lines{"worker_unregistered a unregistered", "gap_opened minio warning critical"}));
}

TEST_F(Events, AStatusIsToldWithItsReasonAndTime)
{
    put({"a", 1, 1, {"redis"}});
    told();
    Changes changes;
    changes.status("a", 1, 2, OFFLINE, "no heartbeat for 30 s");
    changes.message.events[0]->at_ms = NOW_MS + 1000;
    ASSERT_TRUE(replica_apply_registry(&replica, &changes.message, nullptr));
    EXPECT_EQ(told(),
              (Lines{"worker_status a online offline no heartbeat for 30 s", "gap_opened redis warning critical"}));
    EXPECT_NE(texts[texts.size() - 2].find(R"("time":"2026-01-05T10:30:01.125Z")"), std::string::npos);
    ASSERT_TRUE(replica_apply_registry(&replica, &changes.message, nullptr));
    EXPECT_EQ(told(), Lines{}) << "said twice";
}

TEST_F(Events, HealthAndOurOwnHeartbeatsTellOnlyWhatChanged)
{
    put({"a", 1, 1, {"redis"}});
    told();
    Muster__V1__Heartbeat heartbeat = MUSTER__V1__HEARTBEAT__INIT;
    heartbeat.worker_id = const_cast<char *>("a");
    for (int i = 0; i < 3; i++)
        ASSERT_TRUE(replica_heartbeat(&replica, &heartbeat, NOW_MS + i, 0));
    EXPECT_EQ(told(), Lines{});
    heartbeat.status = DEGRADED;
    ASSERT_TRUE(replica_heartbeat(&replica, &heartbeat, NOW_MS + 3, 0));
    EXPECT_EQ(told(), Lines{"worker_status a online degraded the worker says so"}) << "degraded still covers its services";
}

// Health takes it off the roll a moment before the registry says so.
TEST_F(Events, SilenceIsToldWithItsReasonAndTime)
{
    put({"a", 1, 1, {"redis"}});
    Changes changes;
    changes.status("a", 1, 2, DEGRADED, "heartbeat late: not heard for 90 s");
    changes.message.events[0]->at_ms = NOW_MS;
    ASSERT_TRUE(replica_apply_registry(&replica, &changes.message, nullptr));
    told();
    ASSERT_TRUE(replica_apply_health(
        &replica, &HealthChanges().worker("a", 1, REMOVED).because("not heard for 120 s", NOW_MS + 1000).message, 0));
    EXPECT_EQ(told(), (Lines{"worker_status a degraded offline not heard for 120 s", "gap_opened redis warning critical"}));
    EXPECT_NE(texts[texts.size() - 2].find(R"("time":"2026-01-05T10:30:01.125Z")"), std::string::npos)
        << texts[texts.size() - 2];
}

// What health no longer says must not look well for the time until the registry has said it, too.
TEST_F(Events, OneThatLeavesDoesNotComeBackForAMoment)
{
    put({"a", 1, 1, {"redis"}});
    ASSERT_TRUE(replica_apply_health(
        &replica, &HealthChanges().worker("a", 1, DEGRADED).because("heartbeat late", NOW_MS).message, 0));
    told();
    ASSERT_TRUE(replica_apply_health(
        &replica, &HealthChanges().worker("a", 1, REMOVED).because("", NOW_MS).message, 0));
    EXPECT_EQ(told(), (Lines{"worker_status a degraded offline taken off the roll", "gap_opened redis warning critical"}));
}

TEST_F(Events, BetterNewsHasAReasonToo)
{
    put({"a", 1, 1, {"redis"}});
    auto health = [this](Muster__V1__WorkerStatus status, const char *reason) {
        ASSERT_TRUE(replica_apply_health(&replica,
                                         &HealthChanges().worker("a", 1, status).because(reason, NOW_MS).message, 0));
    };
    auto drain = [this](uint64_t revision, bool draining) {
        WorkerFields drained = {"a", revision, 1, {"redis"}};
        drained.draining = draining;
        put(drained);
    };
    health(DEGRADED, "heartbeat late");
    told();
    health(ONLINE, "");
    EXPECT_EQ(told(), Lines{"worker_status a degraded online it is heard in time, and says that it is well"});
    drain(2, true);
    told();
    drain(3, false);
    EXPECT_EQ(told()[0], "worker_status a draining online it takes new requests again");
    health(RECONNECTING, "not heard since the coordinator restarted");
    told();
    health(ONLINE, "");
    EXPECT_EQ(told()[0], "worker_status a reconnecting online heard again");
    health(OFFLINE, "stream broken");
    told();
    health(ONLINE, "");
    EXPECT_EQ(told()[0], "worker_status a offline online heard again");
}

TEST_F(Events, DrainingIsAStatus)
{
    put({"a", 1, 1, {"redis"}});
    told();
    WorkerFields drained = {"a", 2, 1, {"redis"}};
    drained.draining = true;
    put(drained);
    EXPECT_EQ(told(),
              (Lines{"worker_status a online draining drained by an operator", "gap_opened redis warning critical"}));
}

TEST_F(Events, ANewAssignmentIsTold)
{
    put({"a", 1, 1, {"redis"}});
    told();
    put({"a", 2, 1, {"minio"}});
    const Lines lines = told();
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(lines[0], "worker_assigned a");
}

TEST_F(Events, ACatalogIsToldAsOneChange)
{
    put({"a", 1, 1, {"redis"}});
    told();
    catalog({"minio", "redis", "neo4j"});
    EXPECT_EQ(told(), Lines{"catalog_changed"});
    ASSERT_TRUE(replica_remove(&replica, "a", 2, "unregistered"));
    EXPECT_EQ(told(), (Lines{"worker_unregistered a unregistered", "gap_opened redis warning critical"})) << "and goes on";
}

TEST_F(Events, OddIdsStayWhatTheyAre)
{
    put({"a\"b\n\xc3\xa4", 1});
    json_t *object = json_loads(texts.back().c_str(), 0, nullptr);
    ASSERT_NE(object, nullptr);
    EXPECT_EQ(text_of(object, "worker_id"), "a\"b\n\xc3\xa4");
    json_decref(object);
}

TEST_F(Events, TheTopologyHasWhatTheContractNames)
{
    put({"a", 1, 1, {"redis"}});
    buffer text = BUFFER_INIT;
    const struct topology_coordinator coordinator = {"here", "http://here", "uk", "healthy", true, NOW_MS};
    const struct topology topology = {&replica, &coordinator, 1, nullptr, 17};
    topology_render(&topology, SIZE_MAX, NOW_MS, &text);
    json_t *object = json_loads(text.data, 0, nullptr);
    ASSERT_NE(object, nullptr) << text.data;
    json_t *first = json_array_get(json_object_get(object, "coordinators"), 0);
    for (const char *key : {"id", "url", "location", "workers", "workers_count", "load", "status", "last_seen"})
        EXPECT_NE(json_object_get(first, key), nullptr) << key;
    json_t *worker = json_array_get(json_object_get(object, "workers"), 0);
    for (const char *key : {"id", "type", "coordinator", "coordinator_id", "services", "status", "tunnel_url",
                            "capabilities", "metrics", "last_seen"})
        EXPECT_NE(json_object_get(worker, key), nullptr) << key;
    json_t *connection = json_array_get(json_object_get(object, "connections"), 0);
    for (const char *key : {"from", "to", "type", "active"})
        EXPECT_NE(json_object_get(connection, key), nullptr) << key;
    EXPECT_EQ(json_integer_value(json_object_get(object, "revision")), 17);
    EXPECT_EQ(json_integer_value(json_object_get(json_object_get(object, "statistics"), "covered_services")), 1);
    json_decref(object);
    buffer_free(&text);
}

// --- The ring ---

class Ring : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        event_ring_init(&ring, 1000);
    }
    void TearDown() override
    {
        event_ring_free(&ring);
    }
    void push(uint64_t revision, size_t bytes = 4)
    {
        char *memory = static_cast<char *>(malloc(bytes));
        memset(memory, 'x', bytes);
        const struct event event = {revision, http_shared_take(memory, bytes)};
        event_ring_push(&ring, &event);
        http_shared_release(event.text);
    }
    struct event_ring ring;
};

TEST_F(Ring, AnEmptyOneContinuesFromItsStartOnly)
{
    EXPECT_TRUE(event_ring_continues(&ring, 1000));
    EXPECT_FALSE(event_ring_continues(&ring, 999));
    EXPECT_FALSE(event_ring_continues(&ring, 1001)) << "from somewhere else";
    EXPECT_EQ(event_ring_after(&ring, 1000), nullptr);
}

TEST_F(Ring, KeepsTheLastOnes)
{
    for (uint64_t i = 1; i <= EVENT_RING_CAPACITY; i++)
        push(1000 + i);
    EXPECT_TRUE(event_ring_continues(&ring, 1000)) << "all of them are there";
    push(1001 + EVENT_RING_CAPACITY);
    EXPECT_FALSE(event_ring_continues(&ring, 1000)) << "one too many";
    EXPECT_TRUE(event_ring_continues(&ring, 1001));
    EXPECT_NE(event_ring_after(&ring, 1001), nullptr);
    EXPECT_EQ(event_ring_after(&ring, ring.newest), nullptr);
}

TEST_F(Ring, IsBoundedInBytesToo)
{
    const size_t piece = EVENT_RING_BYTES_MAX / 4;
    for (uint64_t i = 1; i <= 4; i++)
        push(1000 + i, piece);
    EXPECT_EQ(ring.count, 4u);
    push(1005, 1);
    EXPECT_EQ(ring.count, 4u) << "the oldest made room";
    EXPECT_LE(ring.bytes, (size_t)EVENT_RING_BYTES_MAX);
    push(1006, EVENT_RING_BYTES_MAX + 1);
    EXPECT_EQ(ring.count, 1u) << "the newest is always there";
    EXPECT_TRUE(event_ring_continues(&ring, 1005));
    EXPECT_FALSE(event_ring_continues(&ring, 1004));
}

TEST_F(Ring, AGapIsNotTakenForNothing)
{
    push(1001);
    push(1003);
    EXPECT_FALSE(event_ring_continues(&ring, 1001));
    EXPECT_FALSE(event_ring_continues(&ring, 1002));
    EXPECT_TRUE(event_ring_continues(&ring, 1003));
    const struct event lost = {1004, nullptr};
    event_ring_push(&ring, &lost);
    EXPECT_FALSE(event_ring_continues(&ring, 1003));
    push(1005);
    EXPECT_TRUE(event_ring_continues(&ring, 1004));
}

TEST(Revisions, AreNotThoseOfAnEarlierOrAnotherProcess)
{
    EXPECT_GT(events_first_revision(NOW_MS + 1), events_first_revision(NOW_MS) + EVENTS_PER_MS - 1);
    EXPECT_LT(events_first_revision(4102444800000), 1ULL << 54); // the year 2100
    EXPECT_GT(events_first_revision(0), 0u);
}

} // namespace
