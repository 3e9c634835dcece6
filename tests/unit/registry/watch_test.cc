// Watchers end up with what the roll holds, whatever happened while they were slow or away.

#include "tests/unit/registry/roll.h"

#include <memory>

extern "C" {
#include "common/random.h"
}

namespace
{

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
    for (int i = 0; i < 600; i++)
        roll.put("w1400");
    watcher.catch_up();
    EXPECT_EQ(watcher.snapshots, 2u);
    EXPECT_EQ(watcher.completed, 1u) << "the first was given up: it had missed removals";
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

// As many changes as there are workers can be followed, whatever the ring began with.
TEST(Watch, TheRingGrowsWithTheRoll)
{
    Roll roll(16);
    for (int i = 0; i < 10; i++)
        roll.put("w" + std::to_string(i));
    Watcher early(roll);
    early.catch_up();
    for (int i = 10; i < 16; i++)
        roll.put("w" + std::to_string(i));
    early.catch_up();
    EXPECT_EQ(early.snapshots, 1u);

    /* Grown in the middle of what a watcher has not seen: nothing is lost by that. */
    Watcher late(roll, roll.put("w15"));
    for (int i = 16; i < 100; i++) {
        roll.put("w" + std::to_string(i));
        if (i % 3 == 0)
            roll.remove("w" + std::to_string(i));
        early.catch_up();
    }
    EXPECT_EQ(early.snapshots, 1u);
    EXPECT_TRUE(early.workers == roll.contents());
    late.catch_up();
    EXPECT_EQ(late.snapshots, 1u) << "what the small ring forgot is not there";

    Watcher steady(roll, registry_revision(roll.registry));
    steady.workers = early.workers;
    for (const auto &[id, known] : roll.contents())
        ASSERT_EQ(registry_set_status(roll.registry, id.c_str(), known.incarnation, degraded, "late", 1), REGISTRY_OK);
    steady.catch_up();
    EXPECT_EQ(steady.snapshots, 0u);
    EXPECT_EQ(steady.events, roll.contents().size());
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

} // namespace
