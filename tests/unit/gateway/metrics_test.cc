// The text of GET /metrics, summed up over fronts.

extern "C" {
#include "common/buffer.h"
}

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/gateway/metrics_shim.h"

namespace
{

TEST(Metrics, SumsUpFrontsAndCumulatesBuckets)
{
    struct buffer out = BUFFER_INIT;
    metrics_shim_render(&out);
    std::string text(out.data, out.bytes);
    buffer_free(&out);
    for (const char *line :
         {"coordinator_workers_total 7\n", "coordinator_workers_active 6\n", "coordinator_services_total 5\n",
          "coordinator_heartbeats_total 4\n", "gateway_heartbeats_total 3\n", "gateway_part_up{part=\"registry\"} 1\n",
          "gateway_part_up{part=\"health\"} 0\n",
          // Two fronts: 50 us and 3 ms answered 200, 20 s answered 503, one without a route.
          "gateway_requests_total{route=\"health\",status=\"2xx\"} 2\n",
          "gateway_requests_total{route=\"health\",status=\"5xx\"} 1\n",
          "gateway_requests_total{route=\"none\",status=\"4xx\"} 1\n",
          "gateway_request_duration_seconds_bucket{route=\"health\",le=\"0.0001\"} 1\n",
          "gateway_request_duration_seconds_bucket{route=\"health\",le=\"0.0025\"} 1\n",
          "gateway_request_duration_seconds_bucket{route=\"health\",le=\"0.005\"} 2\n",
          "gateway_request_duration_seconds_bucket{route=\"health\",le=\"10\"} 2\n",
          "gateway_request_duration_seconds_bucket{route=\"health\",le=\"+Inf\"} 3\n",
          "gateway_request_duration_seconds_sum{route=\"health\"} 20.003050\n",
          "gateway_request_duration_seconds_count{route=\"health\"} 3\n"})
        EXPECT_NE(text.find(line), std::string::npos) << line << "is not in\n" << text;
    // Every line is a comment or "name{labels} value".
    size_t start = 0;
    while (start < text.size()) {
        size_t end = text.find('\n', start);
        ASSERT_NE(end, std::string::npos);
        std::string line = text.substr(start, end - start);
        EXPECT_TRUE(line.rfind("# ", 0) == 0 || line.find(' ') != std::string::npos) << line;
        start = end + 1;
    }
}

} // namespace
