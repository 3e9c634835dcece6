// The roll: changes in two steps, incarnations and revisions that never go back, restoring,
// lists in order.

#include "tests/unit/registry/roll.h"

namespace
{

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

TEST(Registry, AnIdIsTakenOverWithTheSameKeyOnly)
{
    Roll roll;
    auto put_with = [&](const std::string &key) {
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        char id[] = "w1", url[] = "http://a";
        std::string copy = key;
        spec.worker_id = id;
        spec.tunnel_url = url;
        spec.registered_by = copy.data();
        struct registry_change change;
        enum registry_result result = registry_check_key(roll.registry, id, key.c_str());
        EXPECT_EQ(registry_prepare_registration(roll.registry, &spec, nullptr, nullptr, 0, 1000, &change), result);
        if (result == REGISTRY_OK)
            roll.apply(change);
        return result;
    };
    EXPECT_EQ(put_with(""), REGISTRY_OK);
    EXPECT_EQ(put_with("lab"), REGISTRY_OK) << "it was nobody's";
    EXPECT_EQ(put_with("lab"), REGISTRY_OK);
    EXPECT_EQ(put_with("home"), REGISTRY_OF_ANOTHER_KEY);
    roll.restart();
    EXPECT_EQ(put_with("home"), REGISTRY_OF_ANOTHER_KEY) << "it is kept";
    roll.remove("w1");
    EXPECT_EQ(put_with("home"), REGISTRY_OK) << "it is free again";
    EXPECT_EQ(put_with(""), REGISTRY_OK) << "where nobody is asked for keys";
}

TEST(Registry, IncarnationsNeverGoBack)
{
    Roll roll;
    roll.put("w1");
    roll.put("w1");
    roll.put("w1");
    EXPECT_EQ(roll.contents()["w1"].incarnation, 3u);
    EXPECT_EQ(registry_next_incarnation(roll.registry, registry_find(roll.registry, "other")), 1u);
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
    EXPECT_EQ(registry_restore(fresh, 0, "w1", 2, "garbage", 7, 0), REGISTRY_INVALID);
    EXPECT_EQ(registry_restore(fresh, 0, "w1", 2, "", 0, 0), REGISTRY_INVALID);
    EXPECT_EQ(registry_restore(fresh, 0, "w1", 2, good.data(), good.size() - 1, 0), REGISTRY_INVALID);
    EXPECT_EQ(registry_restore(fresh, 0, "w2", 2, good.data(), good.size(), 0), REGISTRY_INVALID);
    EXPECT_EQ(registry_count(fresh), 0u);
    EXPECT_EQ(registry_restore(fresh, 0, "w1", 2, good.data(), good.size(), 0), REGISTRY_OK);
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

TEST(Registry, AnAssignmentChangesNothingElse)
{
    Roll roll;
    roll.put("w1", {"a"}, "http://somewhere");
    ASSERT_EQ(registry_set_status(roll.registry, "w1", 1, degraded, "late", 7), REGISTRY_OK);
    char first[] = "b", second[] = "a";
    char *names[] = {first, second};
    struct registry_change change;
    EXPECT_EQ(registry_prepare_assignment(roll.registry, "nobody", 1, names, 2, nullptr, &change), REGISTRY_NOT_FOUND);
    EXPECT_EQ(registry_prepare_assignment(roll.registry, "w1", 2, names, 2, nullptr, &change), REGISTRY_STALE);
    ASSERT_EQ(registry_prepare_assignment(roll.registry, "w1", 1, names, 2, nullptr, &change), REGISTRY_OK);
    roll.apply(change);
    EXPECT_EQ(roll.contents()["w1"], (Known{1, degraded, false, {"b", "a"}, "http://somewhere", "late"}));
    ASSERT_EQ(registry_prepare_assignment(roll.registry, "w1", 1, nullptr, 0, nullptr, &change), REGISTRY_OK);
    roll.apply(change);
    EXPECT_TRUE(roll.contents()["w1"].assigned.empty());
}

TEST(Registry, ASwapStaysUntilItIsOver)
{
    Roll roll;
    roll.put("w1", {"a"});
    char first[] = "a", second[] = "b", other[] = "c";
    char *names[] = {first, second};
    Muster__V1__ServiceSwap swap = MUSTER__V1__SERVICE_SWAP__INIT;
    swap.from = first;
    swap.to = other;
    struct registry_change change;
    EXPECT_EQ(registry_prepare_assignment(roll.registry, "w1", 1, names, 2, &swap, &change), REGISTRY_INVALID);
    swap.to = second;
    ASSERT_EQ(registry_prepare_assignment(roll.registry, "w1", 1, names, 2, &swap, &change), REGISTRY_OK);
    roll.apply(change);
    auto swap_of = [&roll] {
        Muster__V1__Worker *worker = record_unpack(registry_find(roll.registry, "w1"));
        std::string text = worker->swap == nullptr ? "" : std::string(worker->swap->from) + ">" + worker->swap->to;
        muster__v1__worker__free_unpacked(worker, nullptr);
        return text;
    };
    EXPECT_EQ(swap_of(), "a>b");

    // What is on disk says so too.
    struct buffer value = BUFFER_INIT;
    record_to_value(registry_find(roll.registry, "w1"), &value);
    struct record *restored = record_from_value(value.data, value.bytes, nullptr);
    ASSERT_NE(restored, nullptr);
    EXPECT_TRUE(restored->swapping);
    record_free(restored);
    buffer_free(&value);

    roll.drain("w1", true);
    EXPECT_EQ(swap_of(), "a>b");
    roll.put("w1", {"a", "b"});
    EXPECT_EQ(swap_of(), "a>b") << "it registered again, and was left both";
    roll.put("w1", {"b"});
    EXPECT_EQ(swap_of(), "");
    roll.put("w1", {"a", "b"});
    EXPECT_EQ(swap_of(), "") << "what is over does not begin again";

    ASSERT_EQ(registry_prepare_assignment(roll.registry, "w1", 4, names, 2, &swap, &change), REGISTRY_OK);
    roll.apply(change);
    ASSERT_EQ(registry_prepare_assignment(roll.registry, "w1", 4, names, 2, nullptr, &change), REGISTRY_OK);
    roll.apply(change);
    EXPECT_EQ(swap_of(), "");
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

} // namespace
