// The roll: changes in two steps, incarnations and revisions that never go back, restoring,
// lists in order, and watchers that end up with what the roll holds whatever happened.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

extern "C" {
#include "common/random.h"
#include "services/registry/index.h"
#include "services/registry/registry.h"
}

namespace
{

constexpr auto online = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto degraded = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED;
constexpr auto offline = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
constexpr auto reconnecting = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING;
constexpr auto removed = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED;

// What a watcher knows of a worker.
struct Known {
    uint64_t incarnation;
    int status;
    bool draining;
    std::vector<std::string> assigned;
    std::string url, reason;
};

struct Roll {
    explicit Roll(size_t ring_events = 64) : registry(registry_create(ring_events)), ring(ring_events)
    {
        struct registry_meta nothing = {};
        registry_restored(registry, &nothing);
        store_numbers();
    }
    ~Roll()
    {
        registry_destroy(registry);
    }

    void store_numbers()
    {
        stored = registry_meta_after(registry, nullptr, 0);
        registry_meta_stored(registry, &stored);
    }

    struct registry_change prepare(const std::string &id, const std::vector<std::string> &assigned = {},
                                   const std::string &url = "http://a")
    {
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        spec.worker_id = const_cast<char *>(id.c_str());
        spec.tunnel_url = const_cast<char *>(url.c_str());
        std::vector<char *> names;
        for (const auto &name : assigned)
            names.push_back(const_cast<char *>(name.c_str()));
        struct registry_change change;
        EXPECT_EQ(registry_prepare_registration(registry, &spec, names.data(), names.size(), 1000, &change),
                  REGISTRY_OK);
        return change;
    }

    // What the disk would do: numbers and value are kept, then the change is applied.
    uint64_t apply(struct registry_change &change)
    {
        stored = registry_meta_after(registry, &change, 1);
        struct buffer value = BUFFER_INIT;
        size_t id_bytes;
        std::string id = registry_change_id(&change, &id_bytes);
        EXPECT_EQ(id.size(), id_bytes);
        registry_change_value(&change, &value);
        if (value.bytes > 0)
            disk[id] = std::string(value.data, value.bytes);
        else
            disk.erase(id);
        buffer_free(&value);
        registry_meta_stored(registry, &stored);
        return registry_apply(registry, &change);
    }

    uint64_t put(const std::string &id, const std::vector<std::string> &assigned = {},
                 const std::string &url = "http://a")
    {
        struct registry_change change = prepare(id, assigned, url);
        return apply(change);
    }

    uint64_t remove(const std::string &id, const char *reason = "unregistered")
    {
        struct registry_change change;
        EXPECT_EQ(registry_prepare_removal(registry, id.c_str(), 0, reason, 2000, &change), REGISTRY_OK);
        return apply(change);
    }

    uint64_t drain(const std::string &id, bool draining)
    {
        struct registry_change change;
        EXPECT_EQ(registry_prepare_draining(registry, id.c_str(), draining, &change), REGISTRY_OK);
        return apply(change);
    }

    // Starts again from what is on disk.
    void restart()
    {
        registry_destroy(registry);
        registry = registry_create(ring);
        for (const auto &[id, value] : disk)
            ASSERT_EQ(registry_restore(registry, id.data(), id.size(), value.data(), value.size(), 5000), REGISTRY_OK);
        registry_restored(registry, &stored);
        store_numbers();
    }

    std::map<std::string, Known> contents() const
    {
        std::map<std::string, Known> all;
        std::vector<const struct record *> records(registry_count(registry) + 1);
        size_t count = registry_list(registry, "", records.data(), records.size());
        EXPECT_EQ(count, registry_count(registry));
        for (size_t i = 0; i < count; i++) {
            Muster__V1__Worker *worker = record_unpack(records[i]);
            all[records[i]->id] = known(worker);
            muster__v1__worker__free_unpacked(worker, nullptr);
        }
        return all;
    }

    static Known known(const Muster__V1__Worker *worker)
    {
        Known known = {worker->incarnation,      worker->status,       worker->draining != 0, {},
                       worker->spec->tunnel_url, worker->status_reason};
        for (size_t i = 0; i < worker->n_assigned_services; i++)
            known.assigned.push_back(worker->assigned_services[i]);
        return known;
    }

    struct registry *registry;
    size_t ring;
    struct registry_meta stored = {};
    std::map<std::string, std::string> disk;
};

// A watcher on the other end of a wire.
struct Watcher {
    explicit Watcher(Roll &watched, uint64_t after_revision = 0) : roll(watched)
    {
        registry_cursor_start(roll.registry, &cursor, after_revision);
    }

    // Takes one message; false: there was none.
    bool step()
    {
        const Muster__V1__WatchWorkersResponse *message = registry_cursor_next(roll.registry, &cursor);
        if (message == nullptr)
            return false;
        std::vector<uint8_t> wire(muster__v1__watch_workers_response__get_packed_size(message));
        muster__v1__watch_workers_response__pack(message, wire.data());
        Muster__V1__WatchWorkersResponse *copy =
            muster__v1__watch_workers_response__unpack(nullptr, wire.size(), wire.data());
        EXPECT_NE(copy, nullptr);
        take(copy);
        muster__v1__watch_workers_response__free_unpacked(copy, nullptr);
        return true;
    }

    void take(const Muster__V1__WatchWorkersResponse *message)
    {
        messages++;
        if (message->snapshot_begin) {
            snapshots++;
            workers.clear();
            in_snapshot = true;
        }
        for (size_t i = 0; i < message->n_events; i++) {
            const Muster__V1__WorkerEvent *event = message->events[i];
            events++;
            if (in_snapshot) {
                EXPECT_EQ(event->revision, 0u);
            } else {
                EXPECT_GT(event->revision, last_revision);
                last_revision = event->revision;
            }
            switch (event->type) {
            case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT:
                ASSERT_NE(event->worker, nullptr);
                EXPECT_STREQ(event->worker_id, event->worker->spec->worker_id);
                EXPECT_EQ(event->incarnation, event->worker->incarnation);
                workers[event->worker_id] = Roll::known(event->worker);
                break;
            case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS:
                ASSERT_TRUE(workers.count(event->worker_id));
                EXPECT_EQ(workers[event->worker_id].incarnation, event->incarnation);
                workers[event->worker_id].status = event->status;
                workers[event->worker_id].reason = event->reason;
                break;
            case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE:
                EXPECT_EQ(event->status, removed);
                workers.erase(event->worker_id);
                last_reason = event->reason;
                break;
            default:
                FAIL();
            }
        }
        if (message->snapshot_complete)
            in_snapshot = false;
        if (message->revision != 0) {
            EXPECT_FALSE(in_snapshot);
            EXPECT_GE(message->revision, last_revision);
            revision = last_revision = message->revision;
        }
    }

    void catch_up()
    {
        while (step()) {
        }
    }

    Roll &roll;
    struct registry_cursor cursor;
    std::map<std::string, Known> workers;
    uint64_t revision = 0, last_revision = 0;
    size_t messages = 0, events = 0, snapshots = 0;
    bool in_snapshot = false;
    std::string last_reason;
};

inline bool operator==(const Known &a, const Known &b)
{
    return a.incarnation == b.incarnation && a.status == b.status && a.draining == b.draining &&
           a.assigned == b.assigned && a.url == b.url && a.reason == b.reason;
}

TEST(Registry, ARegistrationIsThereAfterItIsApplied)
{
    Roll roll;
    struct registry_change change = roll.prepare("w1", {"a", "b"});
    EXPECT_EQ(registry_find(roll.registry, "w1"), nullptr);
    uint64_t before = registry_revision(roll.registry);
    EXPECT_EQ(roll.apply(change), before + 1);
    EXPECT_EQ(roll.contents()["w1"], (Known{1, online, false, {"a", "b"}, "http://a", ""}));
    const struct record *record = registry_find(roll.registry, "w1");
    EXPECT_EQ(record->registered_at_ms, 1000);
    EXPECT_EQ(record->status_changed_at_ms, 1000);
    EXPECT_EQ(record_revision(record), before + 1);
    EXPECT_EQ(record->type, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
}

TEST(Registry, WhatIsDiscardedHasNotHappened)
{
    Roll roll;
    uint64_t before = registry_revision(roll.registry);
    struct registry_change change = roll.prepare("w1");
    registry_discard(&change);
    roll.put("w2");
    ASSERT_EQ(registry_prepare_removal(roll.registry, "w2", 0, "x", 1, &change), REGISTRY_OK);
    registry_discard(&change);
    ASSERT_EQ(registry_prepare_draining(roll.registry, "w2", true, &change), REGISTRY_OK);
    registry_discard(&change);
    EXPECT_EQ(registry_revision(roll.registry), before + 1);
    EXPECT_EQ(registry_count(roll.registry), 1u);
    EXPECT_FALSE(roll.contents()["w2"].draining);
}

TEST(Registry, IncarnationsNeverGoBack)
{
    Roll roll;
    roll.put("w1");
    roll.put("w1");
    roll.put("w1");
    EXPECT_EQ(roll.contents()["w1"].incarnation, 3u);
    EXPECT_EQ(registry_next_incarnation(roll.registry, "other"), 1u);
    roll.remove("w1");
    roll.put("w1");
    EXPECT_EQ(roll.contents()["w1"].incarnation, 4u);
    roll.remove("w1");
    roll.restart();
    roll.put("w1");
    EXPECT_EQ(roll.contents()["w1"].incarnation, 5u);
}

TEST(Registry, RevisionsGrowOverRestarts)
{
    Roll roll;
    uint64_t revision = roll.put("w1");
    for (int i = 0; i < 3; i++) {
        roll.restart();
        EXPECT_GT(registry_revision(roll.registry), revision);
        revision = roll.put("w1");
        EXPECT_EQ(registry_revision(roll.registry), revision);
    }
}

TEST(Registry, RestoredWorkersAreReconnecting)
{
    Roll roll;
    roll.put("w1", {"a"}, "https://x");
    roll.put("w2");
    roll.drain("w2", true);
    ASSERT_EQ(registry_set_status(roll.registry, "w1", 1, degraded, "late", 1), REGISTRY_OK);
    roll.restart();
    EXPECT_EQ(roll.contents()["w1"], (Known{1, reconnecting, false, {"a"}, "https://x", ""}));
    EXPECT_EQ(roll.contents()["w2"], (Known{1, reconnecting, true, {}, "http://a", ""}));
    EXPECT_EQ(registry_find(roll.registry, "w1")->status_changed_at_ms, 5000);
    EXPECT_EQ(registry_find(roll.registry, "w1")->registered_at_ms, 1000);
}

TEST(Registry, ValuesThatAreNoRecordsAreRefused)
{
    Roll roll;
    roll.put("w1");
    std::string good = roll.disk["w1"];
    struct registry *fresh = registry_create(8);
    EXPECT_EQ(registry_restore(fresh, "w1", 2, "garbage", 7, 0), REGISTRY_INVALID);
    EXPECT_EQ(registry_restore(fresh, "w1", 2, "", 0, 0), REGISTRY_INVALID);
    EXPECT_EQ(registry_restore(fresh, "w1", 2, good.data(), good.size() - 1, 0), REGISTRY_INVALID);
    EXPECT_EQ(registry_restore(fresh, "w2", 2, good.data(), good.size(), 0), REGISTRY_INVALID);
    EXPECT_EQ(registry_count(fresh), 0u);
    EXPECT_EQ(registry_restore(fresh, "w1", 2, good.data(), good.size(), 0), REGISTRY_OK);
    registry_destroy(fresh);
}

TEST(Registry, RemovalsAskForTheIncarnation)
{
    Roll roll;
    roll.put("w1");
    roll.put("w1");
    struct registry_change change;
    EXPECT_EQ(registry_prepare_removal(roll.registry, "nobody", 0, "", 0, &change), REGISTRY_NOT_FOUND);
    EXPECT_EQ(registry_prepare_removal(roll.registry, "w1", 1, "", 0, &change), REGISTRY_STALE);
    ASSERT_EQ(registry_prepare_removal(roll.registry, "w1", 2, "", 0, &change), REGISTRY_OK);
    roll.apply(change);
    EXPECT_EQ(registry_count(roll.registry), 0u);
    EXPECT_EQ(registry_prepare_draining(roll.registry, "w1", true, &change), REGISTRY_NOT_FOUND);
}

TEST(Registry, StatusIsSoftAndBelongsToAnIncarnation)
{
    Roll roll;
    roll.put("w1");
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 2, offline, "", 7), REGISTRY_STALE);
    EXPECT_EQ(registry_set_status(roll.registry, "nobody", 1, offline, "", 7), REGISTRY_NOT_FOUND);
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 1, removed, "", 7), REGISTRY_INVALID);
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 1, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED, "", 7),
              REGISTRY_INVALID);
    uint64_t before = registry_revision(roll.registry);
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 1, online, "", 7), REGISTRY_OK);
    EXPECT_EQ(registry_revision(roll.registry), before) << "nothing changed";
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 1, degraded, "late by 1 s", 7), REGISTRY_OK);
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 1, degraded, "late by 2 s", 9), REGISTRY_OK);
    EXPECT_EQ(registry_revision(roll.registry), before + 2);
    EXPECT_EQ(registry_find(roll.registry, "w1")->status_changed_at_ms, 7) << "only the reason changed";
    EXPECT_STREQ(registry_find(roll.registry, "w1")->status_reason, "late by 2 s");
    roll.put("w1");
    EXPECT_EQ(roll.contents()["w1"].status, online);
}

TEST(Registry, LongReasonsAreCutBetweenCharacters)
{
    Roll roll;
    roll.put("w1");
    std::string reason = std::string(254, 'x') + "ä";
    ASSERT_EQ(registry_set_status(roll.registry, "w1", 1, degraded, reason.c_str(), 7), REGISTRY_OK);
    EXPECT_EQ(registry_find(roll.registry, "w1")->status_reason, std::string(254, 'x'));
    // A text that is no UTF-8 would make every watcher refuse the message that it is in.
    ASSERT_EQ(registry_set_status(roll.registry, "w1", 1, offline, "broken \xff here", 7), REGISTRY_OK);
    EXPECT_STREQ(registry_find(roll.registry, "w1")->status_reason, "broken ");
    Watcher watcher(roll);
    watcher.catch_up();
    roll.remove("w1", (std::string(1000, 'r') + "\xff").c_str());
    watcher.catch_up();
    EXPECT_EQ(watcher.last_reason, std::string(255, 'r'));
}

TEST(Registry, DrainingIsKeptAndTheStatusIsTheLatest)
{
    Roll roll;
    roll.put("w1", {"a"});
    struct registry_change change;
    ASSERT_EQ(registry_prepare_draining(roll.registry, "w1", true, &change), REGISTRY_OK);
    // The failure detector speaks while the change is on its way to the disk.
    ASSERT_EQ(registry_set_status(roll.registry, "w1", 1, degraded, "late", 7), REGISTRY_OK);
    roll.apply(change);
    EXPECT_EQ(roll.contents()["w1"], (Known{1, degraded, true, {"a"}, "http://a", "late"}));
    roll.put("w1", {"b"});
    EXPECT_TRUE(roll.contents()["w1"].draining) << "registering again does not end it";
    roll.drain("w1", false);
    EXPECT_FALSE(roll.contents()["w1"].draining);
}

TEST(Registry, WithoutStoredNumbersNothingChanges)
{
    struct registry *registry = registry_create(8);
    struct registry_meta nothing = {};
    registry_restored(registry, &nothing);
    EXPECT_TRUE(registry_needs_ceiling(registry));
    struct registry_meta meta = registry_meta_after(registry, nullptr, 0);
    EXPECT_GT(meta.revision_ceiling, registry_revision(registry));
    registry_meta_stored(registry, &meta);
    EXPECT_FALSE(registry_needs_ceiling(registry));
    registry_destroy(registry);
}

TEST(Registry, SoftChangesStopBeforeTheCeilingAndDurableOnesDoNot)
{
    Roll roll;
    roll.put("w1");
    struct registry_meta low = roll.stored;
    low.revision_ceiling = registry_revision(roll.registry) + REGISTRY_BATCH_MAX + 1;
    registry_meta_stored(roll.registry, &low);
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 1, degraded, "", 1), REGISTRY_OK);
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 1, online, "", 1), REGISTRY_NO_REVISION);
    EXPECT_EQ(roll.contents()["w1"].status, degraded);
    roll.put("w1");
    EXPECT_EQ(registry_set_status(roll.registry, "w1", 2, degraded, "", 1), REGISTRY_OK) << "the put has raised it";
}

TEST(Registry, ListsGoOnAfterAnyId)
{
    Roll roll;
    for (const char *id : {"b", "a", "c", "aa", "\xff", "B"})
        roll.put(id);
    std::vector<const struct record *> records(10);
    auto list = [&](const char *after, size_t limit) {
        std::string ids;
        size_t count = registry_list(roll.registry, after, records.data(), limit);
        for (size_t i = 0; i < count; i++)
            ids += std::string(records[i]->id) + " ";
        return ids;
    };
    EXPECT_EQ(list("", 10), "B a aa b c \xff ");
    EXPECT_EQ(list("", 2), "B a ");
    EXPECT_EQ(list("a", 2), "aa b ");
    EXPECT_EQ(list("ab", 2), "b c ") << "an id that has gone meanwhile";
    EXPECT_EQ(list("\xff", 2), "");
}

TEST(Watch, ASnapshotThenChanges)
{
    Roll roll(1024);
    for (int i = 0; i < 300; i++)
        roll.put("w" + std::to_string(i), {"s"});
    Watcher watcher(roll);
    watcher.catch_up();
    EXPECT_EQ(watcher.snapshots, 1u);
    EXPECT_EQ(watcher.events, 300u);
    EXPECT_EQ(watcher.revision, registry_revision(roll.registry));
    EXPECT_EQ(watcher.workers, roll.contents());
    EXPECT_FALSE(registry_cursor_behind(roll.registry, &watcher.cursor));
    roll.put("w5", {"t"});
    registry_set_status(roll.registry, "w6", 1, degraded, "late", 9);
    roll.remove("w7", "gone");
    EXPECT_TRUE(registry_cursor_behind(roll.registry, &watcher.cursor));
    watcher.catch_up();
    EXPECT_EQ(watcher.events, 303u);
    EXPECT_EQ(watcher.last_reason, "gone");
    EXPECT_EQ(watcher.workers, roll.contents());
}

TEST(Watch, AnEmptyRollIsASnapshotToo)
{
    Roll roll;
    Watcher watcher(roll);
    watcher.catch_up();
    EXPECT_EQ(watcher.snapshots, 1u);
    EXPECT_EQ(watcher.messages, 1u);
    EXPECT_GT(watcher.revision, 0u);
}

TEST(Watch, AWatcherThatComesBackResumes)
{
    Roll roll;
    roll.put("w1");
    Watcher first(roll);
    first.catch_up();
    roll.put("w2");
    roll.remove("w1");
    Watcher second(roll, first.revision);
    second.workers = first.workers;
    second.catch_up();
    EXPECT_EQ(second.snapshots, 0u);
    EXPECT_EQ(second.events, 2u);
    EXPECT_EQ(second.workers, roll.contents());
}

TEST(Watch, OneThatWasAwayTooLongGetsASnapshot)
{
    Roll roll(8);
    roll.put("w1");
    Watcher first(roll);
    first.catch_up();
    for (int i = 0; i < 8; i++)
        roll.put("x");
    Watcher just_in_time(roll, first.revision);
    just_in_time.workers = first.workers;
    just_in_time.catch_up();
    EXPECT_EQ(just_in_time.snapshots, 0u);
    EXPECT_EQ(just_in_time.workers, roll.contents());
    roll.put("x");
    Watcher late(roll, first.revision);
    late.catch_up();
    EXPECT_EQ(late.snapshots, 1u);
    EXPECT_EQ(late.workers, roll.contents());
    // And one that was connected all the time but did not read.
    first.catch_up();
    EXPECT_EQ(first.snapshots, 2u);
    EXPECT_EQ(first.workers, roll.contents());
}

TEST(Watch, ARestartOrARevisionOfTheFutureMeansASnapshot)
{
    Roll roll;
    roll.put("w1");
    Watcher first(roll);
    first.catch_up();
    roll.restart();
    Watcher second(roll, first.revision);
    second.catch_up();
    EXPECT_EQ(second.snapshots, 1u);
    EXPECT_EQ(second.workers.at("w1").status, reconnecting);
    Watcher third(roll, registry_revision(roll.registry) + 1000);
    third.catch_up();
    EXPECT_EQ(third.snapshots, 1u);
    Watcher fourth(roll, registry_revision(roll.registry));
    EXPECT_FALSE(fourth.step());
}

TEST(Watch, OvertakenEventsAreLeftOut)
{
    Roll roll(1024);
    roll.put("w1");
    Watcher watcher(roll);
    watcher.catch_up();
    size_t before = watcher.events;
    for (int i = 0; i < 100; i++) {
        roll.put("w1");
        registry_set_status(roll.registry, "w1", roll.contents()["w1"].incarnation, degraded, std::to_string(i).c_str(),
                            i);
    }
    watcher.catch_up();
    EXPECT_EQ(watcher.events - before, 2u);
    EXPECT_EQ(watcher.workers, roll.contents());
}

TEST(Watch, ChangesDuringASnapshotAreNotLost)
{
    Roll roll(1024);
    for (int i = 0; i < 500; i++)
        roll.put("w" + std::to_string(1000 + i));
    Watcher watcher(roll);
    ASSERT_TRUE(watcher.step());
    ASSERT_TRUE(watcher.in_snapshot);
    roll.put("w1000", {"changed behind the cursor"});
    roll.put("w1499", {"changed before the cursor"});
    roll.remove("w1001");
    roll.remove("w1498");
    roll.put("w0");
    roll.put("w9");
    watcher.catch_up();
    EXPECT_EQ(watcher.snapshots, 1u);
    EXPECT_EQ(watcher.workers, roll.contents());
}

TEST(Watch, ASnapshotThatTheRingOvertakesStartsAgain)
{
    Roll roll(8);
    for (int i = 0; i < 500; i++)
        roll.put("w" + std::to_string(1000 + i));
    Watcher watcher(roll);
    ASSERT_TRUE(watcher.step());
    for (int i = 0; i < 20; i++)
        roll.remove("w" + std::to_string(1000 + i));
    watcher.catch_up();
    EXPECT_EQ(watcher.snapshots, 2u);
    EXPECT_EQ(watcher.workers, roll.contents());
}

TEST(Watch, LargeRecordsMakeSmallMessages)
{
    Roll roll;
    for (int i = 0; i < 8; i++)
        roll.put("w" + std::to_string(i), {std::string(200 * 1024, 'x')});
    Watcher watcher(roll);
    watcher.catch_up();
    EXPECT_GE(watcher.messages, 4u);
    EXPECT_EQ(watcher.workers, roll.contents());
}

TEST(Watch, RandomChangesAndRandomWatchers)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct random random;
        random_seed(&random, seed);
        Roll roll(32);
        std::vector<std::unique_ptr<Watcher>> watchers;
        for (int step = 0; step < 3000; step++) {
            std::string id = "w" + std::to_string(random_below(&random, 200));
            const struct record *record = registry_find(roll.registry, id.c_str());
            switch (random_below(&random, 8)) {
            case 0:
            case 1:
                roll.put(id, {std::to_string(step)});
                break;
            case 2:
                if (record != nullptr)
                    roll.remove(id);
                break;
            case 3:
                if (record != nullptr)
                    roll.drain(id, random_below(&random, 2) == 0);
                break;
            case 4:
                if (record != nullptr) {
                    ASSERT_EQ(registry_set_status(roll.registry, id.c_str(), record->incarnation,
                                                  static_cast<Muster__V1__WorkerStatus>(1 + random_below(&random, 5)),
                                                  random_below(&random, 2) == 0 ? "" : "because", step),
                              REGISTRY_OK);
                }
                break;
            case 5:
                if (watchers.size() < 5)
                    watchers.push_back(std::make_unique<Watcher>(roll));
                break;
            default:
                // A watcher reads a message; now and then it loses its connection and resumes.
                if (!watchers.empty()) {
                    Watcher &watcher = *watchers[random_below(&random, watchers.size())];
                    watcher.step();
                    if (random_below(&random, 20) == 0) {
                        watcher.last_revision = 0;
                        registry_cursor_start(roll.registry, &watcher.cursor,
                                              watcher.in_snapshot ? 0 : watcher.revision);
                    }
                }
            }
        }
        auto contents = roll.contents();
        for (auto &watcher : watchers) {
            watcher->catch_up();
            EXPECT_EQ(watcher->workers, contents) << "seed " << seed;
        }
    }
}

TEST(Index, KeepsOrderThroughManyChanges)
{
    struct random random;
    random_seed(&random, 3);
    struct index index = {};
    std::map<std::string, struct record *> model;
    auto make = [](const std::string &id) {
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        Muster__V1__Worker worker = MUSTER__V1__WORKER__INIT;
        spec.worker_id = const_cast<char *>(id.c_str());
        worker.spec = &spec;
        return record_create(&worker);
    };
    // In order first, as at a start, then at random, then down to nothing.
    for (int step = 0; step < 60000; step++) {
        std::string id = step < 3000 ? std::to_string(100000 + step) : std::to_string(random_below(&random, 5000));
        if (step < 3000 || (step < 40000 && random_below(&random, 3) != 0)) {
            struct record *old;
            struct record *record = make(id);
            ASSERT_TRUE(index_put(&index, record, &old));
            ASSERT_EQ(old, model.count(id) ? model[id] : nullptr);
            record_free(old);
            model[id] = record;
        } else {
            if (step >= 40000 && !model.empty())
                id = model.begin()->first;
            struct record *record = index_remove(&index, id.data(), id.size());
            ASSERT_EQ(record, model.count(id) ? model[id] : nullptr);
            model.erase(id);
            record_free(record);
        }
        if (step % 1000 == 0) {
            ASSERT_TRUE(index_check(&index));
            ASSERT_EQ(index.count, model.size());
            struct index_position position = index_position_after(&index, "", 0);
            for (const auto &[key, record] : model)
                ASSERT_EQ(index_next(&index, &position), record) << key;
            ASSERT_EQ(index_next(&index, &position), nullptr);
        }
        auto next = model.upper_bound(id);
        struct index_position position = index_position_after(&index, id.data(), id.size());
        ASSERT_EQ(index_next(&index, &position), next == model.end() ? nullptr : next->second);
        ASSERT_EQ(index_find(&index, id.data(), id.size()), model.count(id) ? model[id] : nullptr);
    }
    EXPECT_EQ(index.count, 0u);
    for (auto &[id, record] : model)
        record_free(record);
    index_free(&index);
}

TEST(Index, RecordsThatComeInOrderArePackedDensely)
{
    struct index index = {};
    for (int i = 0; i < 512 * 4; i++) {
        std::string id = std::to_string(10000 + i);
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        Muster__V1__Worker worker = MUSTER__V1__WORKER__INIT;
        struct record *old;
        spec.worker_id = id.data();
        worker.spec = &spec;
        ASSERT_TRUE(index_put(&index, record_create(&worker), &old));
    }
    EXPECT_EQ(index.chunk_count, 4u);
    struct index_position position = index_position_after(&index, "", 0);
    while (struct record *record = index_next(&index, &position))
        record_free(record);
    index_free(&index);
}

} // namespace
