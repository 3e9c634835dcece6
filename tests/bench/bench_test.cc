// The parts of the bench that need no server: figures, rows, the report, and the loads
// against the bench's own upstream.

#include <gtest/gtest.h>

#include <jansson.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

extern "C" {
#include "muster/v1/health.pb-c.h"
#include "tests/bench/backend.h"
#include "tests/bench/load_http.h"
#include "tests/bench/memory.h"
#include "tests/bench/messages.h"
#include "tests/bench/messages_rest.h"
#include "tests/bench/report.h"
#include "tests/bench/rows.h"
#include "tests/bench/statistics.h"
#include "tests/bench/varint.h"
#include "tests/bench/watching.h"
}

namespace
{

TEST(Statistics, MedianOfOddEvenAndNone)
{
    const double odd[] = {9, 1, 5};
    const double even[] = {4, 1, 3, 2};
    EXPECT_DOUBLE_EQ(statistics_median(odd, 3), 5);
    EXPECT_DOUBLE_EQ(statistics_median(even, 4), 2.5);
    EXPECT_DOUBLE_EQ(statistics_median(odd, 0), 0);
    EXPECT_DOUBLE_EQ(odd[0], 9) << "the values were reordered";
}

TEST(Statistics, SpreadIsRelativeToTheMedian)
{
    const double values[] = {90, 100, 120};
    EXPECT_DOUBLE_EQ(statistics_spread(values, 3), 0.3);
    EXPECT_DOUBLE_EQ(statistics_spread(values, 0), 0);
}

TEST(Statistics, PercentilesAreNearestRanks)
{
    struct samples samples = {};
    EXPECT_DOUBLE_EQ(samples_percentile(&samples, 99), 0);
    for (int i = 5000; i > 0; i--)
        samples_add(&samples, i);
    EXPECT_EQ(samples.count, 5000u);
    EXPECT_DOUBLE_EQ(samples_percentile(&samples, 99), 4950);
    EXPECT_DOUBLE_EQ(samples_percentile(&samples, 50), 2500);
    EXPECT_DOUBLE_EQ(samples_percentile(&samples, 100), 5000);
    EXPECT_DOUBLE_EQ(samples_percentile(&samples, 0), 1);
    EXPECT_FALSE(samples.failed);
    samples_free(&samples);
    EXPECT_EQ(samples.count, 0u);
}

TEST(Rows, NamesAreUniqueAndEveryAskedFigureIsThere)
{
    for (size_t i = 0; i < row_count; i++)
        for (size_t j = i + 1; j < row_count; j++)
            EXPECT_STRNE(rows[i].name, rows[j].name);
    size_t floors = 0, ceilings = 0, limits = 0;
    for (size_t i = 0; i < row_count; i++) {
        limits += rows[i].limit > 0;
        for (const struct row_peer &peer : rows[i].peers) {
            floors += peer.floor > 0;
            ceilings += peer.ceiling > 0;
        }
    }
    EXPECT_EQ(floors, 15u);
    EXPECT_EQ(ceilings, 3u);
    EXPECT_EQ(limits, 9u);
}

TEST(Rows, SelectorsAreNamesOrWhatComesBeforeADash)
{
    struct row row = {};
    row.name = "relay-64";
    EXPECT_TRUE(row_selected_by(&row, "relay-64"));
    EXPECT_TRUE(row_selected_by(&row, "relay"));
    EXPECT_FALSE(row_selected_by(&row, "rel"));
    EXPECT_FALSE(row_selected_by(&row, "relay-6"));
    EXPECT_FALSE(row_selected_by(&row, "relay-640"));
}

struct row rate_row()
{
    struct row row = {};
    row.name = "stream-1";
    row.title = "streamed heartbeats";
    row.unit = "/s";
    row.group = ROW_HEARTBEATS;
    row.peers[0].name = "etcd";
    row.peers[0].floor = 5;
    return row;
}

void measured(struct measurement *measurement, double value)
{
    measurement->rounds[0] = value;
    measurement->busy[0] = 0.99;
    measurement->count = 1;
}

TEST(Rows, AFloorIsReachedByThatManyTimesThePeer)
{
    struct row row = rate_row();
    struct row_result result = row_result_make(&row);
    EXPECT_EQ(row_verdict_of_peer(&result, 0), ROW_NOT_ASKED) << "nothing was measured";
    measured(&result.muster, 100);
    measured(&result.peers[0], 20);
    EXPECT_EQ(row_verdict_of_peer(&result, 0), ROW_REACHED);
    result.muster.rounds[0] = 99;
    EXPECT_EQ(row_verdict_of_peer(&result, 0), ROW_MISSED);
    EXPECT_EQ(row_verdict_of_peer(&result, 1), ROW_NOT_ASKED);
}

TEST(Rows, ACeilingIsKeptByThatManyTimesThePeer)
{
    struct row row = rate_row();
    row.group = ROW_SCALE;
    row.peers[0].floor = 0;
    row.peers[0].ceiling = 3;
    struct row_result result = row_result_make(&row);
    EXPECT_EQ(row_verdict_of_peer(&result, 0), ROW_NOT_ASKED) << "nothing was measured";
    measured(&result.muster, 6);
    measured(&result.peers[0], 2);
    EXPECT_EQ(row_verdict_of_peer(&result, 0), ROW_REACHED);
    result.muster.rounds[0] = 6.1;
    EXPECT_EQ(row_verdict_of_peer(&result, 0), ROW_MISSED);
}

TEST(Rows, ALimitHoldsForTheWholeAndForItsAnonymousPart)
{
    struct row row = {};
    row.group = ROW_MEMORY;
    row.limit = 16;
    row.anonymous_limit = 6;
    struct row_result result = row_result_make(&row);
    measured(&result.muster, 16);
    result.muster.anonymous = 6;
    EXPECT_EQ(row_verdict_of_limit(&result), ROW_REACHED);
    result.muster.anonymous = 6.1;
    EXPECT_EQ(row_verdict_of_limit(&result), ROW_MISSED);
    result.muster.anonymous = 1;
    result.muster.rounds[0] = 16.1;
    EXPECT_EQ(row_verdict_of_limit(&result), ROW_MISSED);
}

TEST(Rows, WhatIsToBeReachedAtLeast)
{
    struct row row = {};
    row.group = ROW_SCALE;
    row.least = 10;
    struct row_result result = row_result_make(&row);
    EXPECT_EQ(row_verdict_of_limit(&result), ROW_NOT_ASKED);
    measured(&result.muster, 9.9);
    EXPECT_EQ(row_verdict_of_limit(&result), ROW_MISSED);
    result.muster.rounds[0] = 10;
    EXPECT_EQ(row_verdict_of_limit(&result), ROW_REACHED);
}

TEST(Report, JsonIsWellFormedAlsoWithAServerThatIsMissing)
{
    struct row row = rate_row();
    struct row_result results[2] = {row_result_make(&row), row_result_make(&row)};
    struct failure failure = {"etcd is \"not\" installed"};
    measured(&results[0].muster, 100);
    measured(&results[0].peers[0], 10);
    measured(&results[1].muster, 100);
    measurement_fail(&results[1].peers[0], &failure);
    struct report_peer peers[] = {{"etcd", "3.4"}};
    struct report report = {};
    machine_describe(&report.machine);
    report.peers = peers;
    report.peer_count = 1;
    report.results = results;
    report.count = 2;

    char *text = report_json(&report);
    ASSERT_NE(text, nullptr);
    json_error_t error;
    json_t *root = json_loads(text, 0, &error);
    std::free(text);
    ASSERT_NE(root, nullptr) << error.text;
    json_t *first = json_array_get(json_object_get(root, "rows"), 0);
    json_t *second = json_array_get(json_object_get(root, "rows"), 1);
    json_t *peer = json_array_get(json_object_get(first, "peers"), 0);
    json_t *missing = json_array_get(json_object_get(second, "peers"), 0);
    EXPECT_DOUBLE_EQ(json_number_value(json_object_get(peer, "ratio")), 10);
    EXPECT_TRUE(json_is_true(json_object_get(peer, "reached")));
    EXPECT_STREQ(json_string_value(json_object_get(missing, "error")), failure.text);
    EXPECT_EQ(json_object_get(missing, "ratio"), nullptr);
    EXPECT_GT(json_integer_value(json_object_get(json_object_get(root, "machine"), "cores")), 0);
    json_decref(root);
    EXPECT_EQ(report_missed(&report), 0u);
    EXPECT_EQ(report_unmeasured(&report), 0u);
}

TEST(Report, WhatTakesTooLongIsAbove)
{
    struct row row = rate_row();
    row.group = ROW_WATCHERS;
    row.unit = " ms";
    row.peers[0].floor = 0;
    row.peers[0].ceiling = 1;
    struct row_result result = row_result_make(&row);
    measured(&result.muster, 30);
    result.muster.busy[0] = 0.1;
    measured(&result.peers[0], 20);
    struct report report = {};
    report.results = &result;
    report.count = 1;
    char *text = nullptr;
    size_t bytes = 0;
    FILE *output = open_memstream(&text, &bytes);
    report_print(&report, output);
    std::fclose(output);
    EXPECT_NE(std::strstr(text, "30.0 ms "), nullptr) << text; // and no star
    EXPECT_NE(std::strstr(text, "<= 1.00    ABOVE"), nullptr) << text;
    std::free(text);
    EXPECT_EQ(report_missed(&report), 1u);
}

TEST(Report, TableShowsFiguresRatioAndVerdict)
{
    struct row row = rate_row();
    struct row_result result = row_result_make(&row);
    measured(&result.muster, 1234567);
    measured(&result.peers[0], 500000);
    struct report report = {};
    report.results = &result;
    report.count = 1;
    char *text = nullptr;
    size_t bytes = 0;
    FILE *output = open_memstream(&text, &bytes);
    report_print(&report, output);
    std::fclose(output);
    EXPECT_NE(std::strstr(text, "1,234,567/s"), nullptr) << text;
    EXPECT_NE(std::strstr(text, " 2.47 "), nullptr) << text;
    EXPECT_NE(std::strstr(text, "BELOW"), nullptr) << text;
    std::free(text);
    EXPECT_EQ(report_missed(&report), 1u);
}

TEST(Memory, TakesTheResidentAndTheAnonymousPart)
{
    struct memory memory = {};
    EXPECT_TRUE(memory_parse("55-7f [rollup]\nRss:  2048 kB\nPss:   512 kB\nAnonymous: 1024 kB\nAnonHugePages: 3 kB\n",
                             &memory));
    EXPECT_EQ(memory.resident_bytes, 2048u * 1024);
    EXPECT_EQ(memory.anonymous_bytes, 1024u * 1024);
    EXPECT_EQ(memory.proportional_bytes, 512u * 1024);
    EXPECT_FALSE(memory_parse("55-7f [rollup]\nRss:  2048 kB\n", &memory));
    struct failure failure;
    struct memory own = {};
    EXPECT_TRUE(memory_add(getpid(), &own, &failure)) << failure.text;
    EXPECT_GT(own.resident_bytes, own.anonymous_bytes);
    EXPECT_FALSE(memory_add(0, &own, &failure));
}

TEST(Varint, ReadsWhatItWrote)
{
    for (uint64_t value : {UINT64_C(0), UINT64_C(127), UINT64_C(128), UINT64_C(300), UINT64_MAX}) {
        struct buffer buffer = BUFFER_INIT;
        uint64_t read = 1;
        size_t at = 0;
        varint_append(&buffer, value);
        const uint8_t *bytes = reinterpret_cast<const uint8_t *>(buffer.data);
        EXPECT_TRUE(varint_read(bytes, buffer.bytes, &at, &read));
        EXPECT_EQ(read, value);
        at = 0;
        EXPECT_FALSE(varint_read(bytes, buffer.bytes - 1, &at, &read)) << "a cut one";
        buffer_free(&buffer);
    }
}

// What a watcher is told of workers 7 to 9, by Muster and by etcd.
std::string roll_answer(unsigned number)
{
    char id[WORKER_ID_BYTES];
    worker_id(id, number);
    Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT;
    event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT;
    event.worker_id = id;
    Muster__V1__WorkerEvent *events[] = {&event};
    Muster__V1__WatchWorkersResponse response = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
    response.n_events = 1;
    response.events = events;
    std::string bytes(muster__v1__watch_workers_response__get_packed_size(&response), '\0');
    muster__v1__watch_workers_response__pack(&response, reinterpret_cast<uint8_t *>(bytes.data()));
    return bytes;
}

std::string keys_answer(unsigned number)
{
    char id[WORKER_ID_BYTES];
    worker_id(id, number);
    struct buffer pair = BUFFER_INIT, event = BUFFER_INIT, answer = BUFFER_INIT;
    varint_append_bytes(&pair, 1, id, std::strlen(id));
    varint_append_bytes(&pair, 5, "value", 5);
    varint_append_bytes(&event, 2, pair.data, pair.bytes);
    varint_append_bytes(&answer, 1, "", 0);
    varint_append_bytes(&answer, 11, event.data, event.bytes);
    std::string bytes(answer.data, answer.bytes);
    buffer_free(&pair);
    buffer_free(&event);
    buffer_free(&answer);
    return bytes;
}

void judge(const struct grpc_source &source, unsigned lane, const std::string &answer)
{
    struct failure failure = {""};
    EXPECT_EQ(source.judge(source.context, lane, 1, reinterpret_cast<const uint8_t *>(answer.data()), answer.size(),
                           &failure),
              0)
        << failure.text;
}

TEST(Watching, AChangeIsSeenWhenTheLastWatcherHasIt)
{
    for (bool etcd : {false, true}) {
        struct watching watching;
        ASSERT_TRUE(watching_make(&watching, 2, 7, 3, 1));
        struct grpc_source watch = etcd ? watching_keys_source(&watching) : watching_roll_source(&watching);
        struct grpc_source change = etcd ? watching_puts_source(&watching) : watching_registrations_source(&watching);
        auto answer = etcd ? keys_answer : roll_answer;
        struct buffer message = BUFFER_INIT;
        for (uint64_t sequence = 1; sequence <= 2; sequence++)
            change.next(change.context, 0, sequence, &message);
        EXPECT_GT(message.bytes, 1000u);
        buffer_free(&message);
        judge(watch, 0, answer(7));
        judge(watch, 0, answer(7));
        EXPECT_EQ(watching.complete, 0u) << "one watcher twice is not two";
        judge(watch, 1, answer(7));
        EXPECT_EQ(watching.complete, 1u);
        EXPECT_EQ(watching.latencies.count, 0u) << "the first is for warming up";
        judge(watch, 1, answer(8));
        judge(watch, 0, answer(8));
        EXPECT_EQ(watching.complete, 2u);
        EXPECT_EQ(watching.latencies.count, 1u);
        for (unsigned other : {6u, 9u, 10u}) // from before, not sent yet, of nobody
            for (unsigned lane : {0u, 1u})
                judge(watch, lane, answer(other));
        EXPECT_EQ(watching.complete, 2u);
        watching_free(&watching);
    }
}

TEST(Messages, BodiesAreJsonOfTheSizeThatTheyClaim)
{
    json_error_t error;
    char *text = registration_json(7, 0);
    json_t *registration = json_loads(text, 0, &error);
    ASSERT_NE(registration, nullptr) << error.text;
    EXPECT_STREQ(json_string_value(json_object_get(registration, "worker_id")), "worker-0000007");
    EXPECT_EQ(json_array_size(json_object_get(registration, "services")), 3u);
    json_decref(registration);
    std::free(text);
    text = heartbeat_json(7, 1);
    json_t *heartbeat = json_loads(text, 0, &error);
    ASSERT_NE(heartbeat, nullptr) << error.text;
    EXPECT_NEAR(static_cast<double>(std::strlen(text)), 280, 30);
    json_decref(heartbeat);
    std::free(text);
    EXPECT_EQ(std::strlen(capabilities_json()), 300u) << "the rows say so";
    EXPECT_EQ(SERVICES_OF_A_WORKER, 3) << "the rows say so";
}

TEST(Messages, EveryWorkerIsHeardAlsoWhenTheyFillNoBatch)
{
    struct heartbeat_messages messages;
    ASSERT_TRUE(heartbeat_messages_make_from(&messages, 1000, 130, HEARTBEATS_IN_A_BATCH));
    ASSERT_EQ(messages.count, 3u);
    std::set<std::string> heard;
    for (unsigned i = 0; i < messages.count; i++) {
        Muster__V1__HeartbeatRequest *request = muster__v1__heartbeat_request__unpack(
            nullptr, messages.from[i + 1] - messages.from[i], messages.bytes + messages.from[i]);
        ASSERT_NE(request, nullptr);
        for (size_t j = 0; j < request->n_heartbeats; j++)
            heard.insert(request->heartbeats[j]->worker_id);
        muster__v1__heartbeat_request__free_unpacked(request, nullptr);
    }
    EXPECT_EQ(heard.size(), 130u);
    EXPECT_EQ(*heard.begin(), "worker-0001000");
    EXPECT_EQ(*heard.rbegin(), "worker-0001129");
    heartbeat_messages_free(&messages);
}

TEST(Messages, AnswersThatAskToRegisterAgainAreFailures)
{
    struct heartbeat_messages messages;
    ASSERT_TRUE(heartbeat_messages_make(&messages, 128, HEARTBEATS_IN_A_BATCH));
    EXPECT_EQ(messages.count, 2u);
    struct grpc_source source = heartbeat_stream_source(&messages);
    EXPECT_EQ(source.units, 64u);
    struct failure failure = {""};
    const uint8_t acknowledges_300[] = {0x08, 0xac, 0x02};
    EXPECT_EQ(source.judge(source.context, 0, 290, acknowledges_300, sizeof acknowledges_300, &failure), 10);
    // acknowledged_sequence 1, and a command to worker "w": register again.
    const uint8_t commands[] = {0x08, 0x01, 0x12, 0x05, 0x1a, 0x01, 'w', 0x20, 0x01};
    EXPECT_EQ(source.judge(source.context, 0, 0, commands, sizeof commands, &failure), -1);
    EXPECT_NE(std::strstr(failure.text, "was refused"), nullptr);
    heartbeat_messages_free(&messages);
}

class Loads : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_TRUE(loop_open(&loop, &failure)) << failure.text;
        backend = backend_open(&loop, BACKEND_BODY_BYTES, &failure);
        ASSERT_NE(backend, nullptr) << failure.text;
        char *request = http_request_text("GET", "/anything", nullptr);
        ASSERT_TRUE(http_requests_make(&requests, &request, 1));
        plan.port = backend_port(backend);
        plan.connections = 8;
        plan.outstanding = 1;
    }
    void TearDown() override
    {
        http_requests_free(&requests);
        backend_close(backend);
        loop_close(&loop);
    }

    struct loop loop = {};
    struct failure failure = {""};
    struct backend *backend = nullptr;
    struct http_requests requests = {};
    struct load_plan plan = {};
    struct load_result result = {};
};

struct http_load load_of(const struct http_requests *requests, unsigned expected_status, const char *expected_text)
{
    struct http_load load = {};
    load.requests = requests;
    load.expected_status = expected_status;
    load.expected_text = expected_text;
    return load;
}

TEST_F(Loads, HttpCountsWhatTheUpstreamAnswers)
{
    struct http_load load = load_of(&requests, 200, "mmmm");
    plan.window_ms = 50;
    ASSERT_TRUE(load_http(&loop, &plan, &load, &result, &failure)) << failure.text;
    EXPECT_GT(result.per_second, 0);
    plan.limit = 1000;
    ASSERT_TRUE(load_http(&loop, &plan, &load, &result, &failure)) << failure.text;
    EXPECT_GT(result.per_second, 0);
}

TEST_F(Loads, HttpFailsOnAnotherStatusAnotherBodyAndNoServer)
{
    struct http_load other_status = load_of(&requests, 201, "mmmm"), other_body = load_of(&requests, 200, "nnnn");
    plan.window_ms = 50;
    EXPECT_FALSE(load_http(&loop, &plan, &other_status, &result, &failure));
    EXPECT_STREQ(failure.text, "an answer has status 200");
    EXPECT_FALSE(load_http(&loop, &plan, &other_body, &result, &failure));
    EXPECT_STREQ(failure.text, "an answer without nnnn");
    backend_close(backend);
    backend = nullptr;
    EXPECT_FALSE(load_http(&loop, &plan, &other_body, &result, &failure));
}

} // namespace
