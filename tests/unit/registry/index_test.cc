// The index of all records against a std::map.

#include <gtest/gtest.h>

#include <map>
#include <string>

extern "C" {
#include "common/random.h"
#include "services/registry/index.h"
}

namespace
{

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
        return record_create(&worker, nullptr);
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
        ASSERT_TRUE(index_put(&index, record_create(&worker, nullptr), &old));
    }
    EXPECT_EQ(index.chunk_count, 4u);
    struct index_position position = index_position_after(&index, "", 0);
    while (struct record *record = index_next(&index, &position))
        record_free(record);
    index_free(&index);
}

} // namespace
