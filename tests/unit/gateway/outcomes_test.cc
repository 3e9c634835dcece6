// Outcomes are summed up by worker and service.

extern "C" {
#include "gateway/outcomes.h"
}

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace
{

void add(struct outcomes *outcomes, std::string worker, std::string service, uint64_t succeeded, uint64_t failures)
{
    Muster__V1__Outcome outcome = MUSTER__V1__OUTCOME__INIT;
    outcome.worker_id = worker.data();
    outcome.service = service.data();
    outcome.succeeded = succeeded;
    outcome.connection_failures = failures;
    outcome.latency_sum_us = 10 * succeeded;
    outcomes_add(outcomes, &outcome);
}

TEST(Outcomes, AreSummedAndMerged)
{
    struct outcomes a = {};
    struct outcomes b = {};
    EXPECT_TRUE(outcomes_empty(&a));
    add(&a, "w", "s", 1, 0);
    add(&a, "w", "s", 2, 1);
    add(&a, "w", "t", 1, 0);
    add(&a, "ws", "", 1, 0); // not the same as "w" and "s"
    add(&b, "w", "s", 4, 0);
    outcomes_merge(&a, &b);
    EXPECT_TRUE(outcomes_empty(&b));
    size_t count = 0;
    Muster__V1__Outcome **list = outcomes_list(&a, &count);
    ASSERT_EQ(count, 3u);
    for (size_t i = 0; i < count; i++) {
        if (std::string(list[i]->worker_id) == "w" && std::string(list[i]->service) == "s") {
            EXPECT_EQ(list[i]->succeeded, 7u);
            EXPECT_EQ(list[i]->connection_failures, 1u);
            EXPECT_EQ(list[i]->latency_sum_us, 70u);
        } else {
            EXPECT_EQ(list[i]->succeeded, 1u);
        }
    }
    free(list);
    outcomes_free(&a);
    EXPECT_TRUE(outcomes_empty(&a));
}

} // namespace
