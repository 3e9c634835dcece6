// What the failure detector asks of workers; how it judges them is in the tests of the core.

#include <gtest/gtest.h>

extern "C" {
#include "services/health/detector.h"
}

TEST(Detector, AsksForThreeHeartbeatsUntilAWorkerIsLate)
{
    auto interval_ms = [](uint32_t late_after_ms) {
        detector_settings settings = {late_after_ms, 2 * late_after_ms, 5000};
        return detector_heartbeat_interval_ms(&settings);
    };
    EXPECT_EQ(interval_ms(90000), 30000u);
    EXPECT_EQ(interval_ms(89997), 29999u);
    EXPECT_EQ(interval_ms(600000), 30000u);
    EXPECT_EQ(interval_ms(3000), 1000u);
    EXPECT_EQ(interval_ms(10), 3u);
    EXPECT_EQ(interval_ms(1), 1u);
}
