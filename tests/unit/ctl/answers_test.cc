// How a coordinator's answers look as text, and which of them are bad news.

extern "C" {
#include "services/ctl/view.h"
}

#include <gtest/gtest.h>

#include <string>

namespace
{

struct Answer {
    json_t *json;
    explicit Answer(const char *text) : json(json_loads(text, 0, nullptr))
    {
        EXPECT_NE(json, nullptr) << text;
    }
    ~Answer()
    {
        json_decref(json);
    }
    Answer(const Answer &) = delete;
    Answer &operator=(const Answer &) = delete;

    std::string shown(bool (*render)(const json_t *, buffer *)) const
    {
        buffer out = BUFFER_INIT;
        EXPECT_TRUE(render(json, &out));
        std::string text(out.data, out.bytes);
        buffer_free(&out);
        return text;
    }
};

TEST(Answers, Workers)
{
    Answer answer(R"({"workers": [{"worker_id": "gpu-1", "worker_type": "gpu", "status": "online", "location": "uk",
        "current_load": 0.421, "active_requests": 2, "age_seconds": 7, "tunnel_url": "https://a.example.com",
        "assigned_services": ["ocr", "llm"], "services": [{"name": "ocr"}, {"name": "extra"}, "plain"]},
        {"worker_id": "x"}], "total": 2, "healthy": 1})");
    EXPECT_EQ(answer.shown(render_workers),
              "WORKER  TYPE  STATUS  LOCATION  LOAD  ACTIVE  AGE S  SERVICES             URL\n"
              "gpu-1   gpu   online  uk        0.42       2      7  ocr,llm,extra,plain  https://a.example.com\n"
              "x\n");
}

TEST(Answers, WorkersOfAnAnswerThatIsNoneShowNothing)
{
    EXPECT_EQ(Answer("[1, 2]").shown(render_workers),
              "WORKER  TYPE  STATUS  LOCATION  LOAD  ACTIVE  AGE S  SERVICES  URL\n");
    EXPECT_EQ(Answer(R"({"workers": [3, null, "x"]})").shown(render_workers),
              "WORKER  TYPE  STATUS  LOCATION  LOAD  ACTIVE  AGE S  SERVICES  URL\n\n\n\n");
}

TEST(Answers, Services)
{
    Answer answer(R"({"services": [{"name": "ocr", "workers": ["a", "b"], "worker_count": 2},
                                   {"name": "llm", "workers": [], "worker_count": 0}]})");
    EXPECT_EQ(answer.shown(render_services), "SERVICE  COUNT  WORKERS\nocr          2  a,b\nllm          0\n");
}

TEST(Answers, HashTable)
{
    Answer nodes(R"({"nodes": [{"id": "ab", "url": "https://uk", "grpc_address": "", "shared_bits": 3,
        "last_heard": "2026-01-05T10:30:00.125Z", "failures": 1}]})");
    EXPECT_EQ(nodes.shown(render_dht), "NODE  URL         GRPC  SHARED BITS  LAST HEARD                FAILURES\n"
                                       "ab    https://uk                  3  2026-01-05T10:30:00.125Z         1\n");
    Answer values(R"({"values": [{"coordinator_id": "c1", "coordinator_url": "https://uk", "location": "uk",
        "as_of": "2026-01-05T10:30:00.125Z", "workers": [{"worker_id": "a"}, {"worker_id": "b"}]}],
        "unanswered": [{}]})");
    EXPECT_EQ(values.shown(render_lookup), "COORDINATOR  URL         PLACE  WORKERS  AS OF\n"
                                           "c1           https://uk  uk     a,b      2026-01-05T10:30:00.125Z\n"
                                           "1 of the nodes that were asked did not answer.\n");
    EXPECT_FALSE(lookup_is_bad_news(values.json));
    EXPECT_TRUE(lookup_is_bad_news(Answer(R"({"values": []})").json));
}

TEST(Answers, Gaps)
{
    Answer answer(R"({"gaps": [{"service": "ocr", "required_type": "gpu", "priority": 1, "current_workers": 0,
        "status": "critical", "port": 8104}], "critical_gaps": [{}], "warnings": []})");
    EXPECT_EQ(answer.shown(render_gaps), "SERVICE  STATUS    WORKERS  REQUIRES  PRIORITY  PORT\n"
                                         "ocr      critical        0  gpu              1  8104\n");
    EXPECT_TRUE(gaps_are_bad_news(answer.json));
    EXPECT_FALSE(gaps_are_bad_news(Answer(R"({"gaps": [], "critical_gaps": []})").json));
}

TEST(Answers, Health)
{
    Answer answer(R"({"status": "degraded", "failed": ["muster-router"], "workers": {"total": 3, "active": 2}})");
    EXPECT_EQ(answer.shown(render_health), "WHAT            VALUE\n"
                                           "status          degraded\n"
                                           "failed          muster-router\n"
                                           "workers.total   3\n"
                                           "workers.active  2\n");
    EXPECT_TRUE(health_is_bad_news(answer.json));
    EXPECT_FALSE(health_is_bad_news(Answer(R"({"status": "healthy"})").json));
    EXPECT_TRUE(health_is_bad_news(Answer("{}").json));
}

TEST(Answers, Route)
{
    Answer answer(R"({"service": "ocr", "policy": "weighted", "candidates": [
        {"worker_id": "a", "url": "http://a", "score": 1.5, "eligible": true, "selected": true, "status": "online",
         "reason": "least loaded"},
        {"worker_id": "b", "url": "http://b", "score": 0.0, "eligible": false, "selected": false, "status": "offline",
         "reason": "stream broken"}]})");
    EXPECT_EQ(answer.shown(render_route), "    WORKER  STATUS   SCORE  URL       WHY\n"
                                          "->  a       online    1.50  http://a  least loaded\n"
                                          "x   b       offline   0.00  http://b  stream broken\n");
    EXPECT_FALSE(route_is_bad_news(answer.json));
    EXPECT_TRUE(route_is_bad_news(Answer(R"({"candidates": []})").json));
}

TEST(Answers, Processes)
{
    Answer answer(R"({"url": "http://h:1", "processes": [
        {"name": "muster-registry", "pid": 12, "address": "127.0.0.1:7101", "state": "ready", "restarts": 1}]})");
    EXPECT_EQ(answer.shown(render_processes), "PROCESS          PID  STATE  RESTARTS  ADDRESS\n"
                                              "muster-registry   12  ready         1  127.0.0.1:7101\n");
}

TEST(Answers, HistoryIsARowForEachStep)
{
    Answer answer(R"({"worker": "w", "metrics": {
        "state": [{"time": "t1", "last": "online", "worst": "offline"}, {"time": "t2", "last": "online", "worst": "online"}],
        "load": [{"time": "t2", "mean": 0.256, "min": 0.1, "max": 0.5, "last": 0.5, "count": 3}],
        "requests": [{"time": "t1", "sum": 7}, {"time": "t2", "sum": 0}]}})");
    EXPECT_EQ(answer.shown(render_history),
              "TIME  STATE   WORST    LOAD   MAX  ACTIVE  REQUESTS  FAILURES  LATENCY MS  TASKS  HEARTBEATS\n"
              "t1    online  offline                             7\n"
              "t2    online  online   0.26  0.50                 0\n");
}

TEST(Answers, QueryShowsRowsAndSaysIfThereAreMore)
{
    Answer answer(
        R"({"columns": ["id", "n", "x"], "rows": [["a", 10, null], ["b\u001b", 9, 1.5]], "truncated": true})");
    EXPECT_EQ(answer.shown(render_query), "ID   N  X\n"
                                          "a   10\n"
                                          "b?   9  1.5\n"
                                          "There are more rows; add LIMIT, or ask for less.\n");
}

} // namespace
