// The query of GET /api/admin/history.

#include <gtest/gtest.h>

#include <string>

extern "C" {
#include "gateway/history_request.h"
}

namespace
{

constexpr int64_t now_ms = 1767607205000; // 2026-01-05T10:00:05Z
constexpr int64_t hour_ms = 3600000;

struct Parsed {
    bool taken;
    history_request request;
    std::string error;
};

Parsed parse(const std::string &query)
{
    Parsed parsed = {};
    json_error error = {};
    parsed.taken = history_request_parse({query.data(), query.size()}, now_ms, &parsed.request, &error);
    parsed.error = error.message;
    EXPECT_EQ(parsed.taken, parsed.error.empty()) << query;
    return parsed;
}

int64_t since(const std::string &text)
{
    Parsed parsed = parse("worker=w&since=" + text);
    EXPECT_TRUE(parsed.taken) << text << ": " << parsed.error;
    return parsed.request.since_ms;
}

TEST(HistoryRequest, HasDefaults)
{
    Parsed parsed = parse("worker=gpu%2F1");
    ASSERT_TRUE(parsed.taken) << parsed.error;
    EXPECT_STREQ(parsed.request.worker, "gpu/1");
    EXPECT_EQ(parsed.request.since_ms, now_ms - hour_ms);
    EXPECT_EQ(parsed.request.step_seconds, 10u);
    EXPECT_EQ(parsed.request.metrics, (1u << HISTORY_METRIC_COUNT) - 1);
}

TEST(HistoryRequest, TakesAgesDatesAndSeconds)
{
    EXPECT_EQ(since("90s"), now_ms - 90000);
    EXPECT_EQ(since("15m"), now_ms - 900000);
    EXPECT_EQ(since("2h"), now_ms - 2 * hour_ms);
    EXPECT_EQ(since("7d"), now_ms - 7 * 24 * hour_ms);
    EXPECT_EQ(since("999999999d"), 0);
    EXPECT_EQ(since("2026-01-05T10:00:05Z"), now_ms);
    EXPECT_EQ(since("2026-01-05T10:00:05.125Z"), now_ms + 125);
    EXPECT_EQ(since("2026-01-05T11:00:05%2B01:00"), now_ms);
    EXPECT_EQ(since("2026-01-05T11:00:05+01:00"), now_ms); // a plus that nobody encoded
    EXPECT_EQ(since("2026-01-05T09:30:05-00:30"), now_ms);
    EXPECT_EQ(since("1767607205"), now_ms);
    EXPECT_EQ(since("1767607205000"), now_ms);
}

TEST(HistoryRequest, TakesTheFinestStepThatReachesBack)
{
    EXPECT_EQ(parse("worker=w&since=1h").request.step_seconds, 10u);
    EXPECT_EQ(parse("worker=w&since=3601s").request.step_seconds, 60u);
    EXPECT_EQ(parse("worker=w&since=24h").request.step_seconds, 60u);
    EXPECT_EQ(parse("worker=w&since=86401s").request.step_seconds, 3600u);
    EXPECT_EQ(parse("worker=w&since=7d&step=1m").request.step_seconds, 60u);
    EXPECT_EQ(parse("worker=w&step=3600").request.step_seconds, 3600u);
}

TEST(HistoryRequest, TakesSomeMetrics)
{
    EXPECT_EQ(parse("worker=w&metric=load").request.metrics, 1u << HISTORY_LOAD);
    EXPECT_EQ(parse("worker=w&metric=state,latency_ms").request.metrics,
              (1u << HISTORY_STATE) | (1u << HISTORY_LATENCY_MS));
}

TEST(HistoryRequest, NamesTheParameterThatIsWrong)
{
    const char *const wrong[][2] = {
        {"", "worker"},
        {"worker=", "worker"},
        {"worker=w&metric=nonsense", "metric"},
        {"worker=w&metric=", "metric"},
        {"worker=w&metric=load,", "metric"},
        {"worker=w&since=yesterday", "since"},
        {"worker=w&since=", "since"},
        {"worker=w&since=15", ""},
        {"worker=w&since=15w", "since"},
        {"worker=w&since=-1", "since"},
        {"worker=w&since=2026-13-05T10:00:05Z", "since"},
        {"worker=w&since=2026-01-05", "since"},
        {"worker=w&since=2026-01-05T10:00:05", "since"},
        {"worker=w&since=1234567890123456", "since"},
        {"worker=w&step=5", "step"},
        {"worker=w&step", "step"},
    };
    for (const auto &one : wrong) {
        Parsed parsed = parse(one[0]);
        EXPECT_EQ(parsed.taken, one[1][0] == 0) << one[0];
        EXPECT_NE(parsed.error.find(one[1]), std::string::npos) << one[0] << ": " << parsed.error;
    }
    EXPECT_TRUE(parse("worker=" + std::string(256, 'x')).taken);
    EXPECT_FALSE(parse("worker=" + std::string(257, 'x')).taken);
}

} // namespace
