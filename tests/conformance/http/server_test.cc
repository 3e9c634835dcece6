// The server over real sockets: each behaviour under its name.

#include "tests/conformance/http/harness.h"
#include "tests/conformance/http/malformed_requests.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace
{

std::string path_of(http_exchange *exchange)
{
    return text_of(http_head_path(http_exchange_head(exchange)));
}

void echo(void *, http_exchange *exchange, http_text body)
{
    respond(exchange, 200, text_of(body));
}

// Answers the path; bodies of POST are sent back, up to 1,000 bytes.
void answer_path_or_body(http_exchange *exchange)
{
    if (http_exchange_head(exchange)->method == HTTP_METHOD_POST)
        http_exchange_collect_body(exchange, 1000, echo, nullptr);
    else
        respond(exchange, 200, path_of(exchange));
}

std::string get(const std::string &path, const std::string &fields = "")
{
    return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

std::string post(const std::string &body, const std::string &fields = "")
{
    return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" +
           body;
}

TEST(Server, AnswersAndKeepsTheConnection)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    for (int i = 0; i < 3; i++) {
        client.send(get("/x" + std::to_string(i)));
        auto answer = client.read_message();
        EXPECT_EQ(answer.status, 200u);
        EXPECT_EQ(answer.body, "/x" + std::to_string(i));
        EXPECT_EQ(answer.fields["content-type"], "text/plain");
        EXPECT_EQ(answer.fields.count("connection"), 0u);
        EXPECT_EQ(answer.fields.count("date"), 1u);
    }
    EXPECT_EQ(server.counts().connections_accepted, 1u);
}

TEST(Server, RefusesMalformedRequestsAndCloses)
{
    Server server([](http_exchange *exchange) {
        if (http_exchange_head(exchange)->chunked)
            http_exchange_collect_body(exchange, 1000, echo, nullptr);
        else
            respond(exchange, 200, "taken");
    });
    for (const auto &request : malformed_requests()) {
        Peer client = server.connect();
        client.send(request.bytes);
        auto answer = client.read_message();
        EXPECT_EQ(answer.status, request.status) << request.name;
        EXPECT_EQ(answer.fields["connection"], "close") << request.name;
        EXPECT_EQ(answer.fields["content-type"], "application/json") << request.name;
        EXPECT_NE(answer.body.find("\"error\": \"malformed_request\""), std::string::npos) << request.name;
        client.shut_down_sending();
        EXPECT_EQ(client.read_all(), "") << request.name << ": nothing behind it may be answered";
    }
}

TEST(Server, AnswersPipelinedRequestsInOrder)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    std::string all;
    for (int i = 0; i < 200; i++)
        all += i % 3 == 0 ? post("body" + std::to_string(i)) : get("/" + std::to_string(i));
    client.send(all);
    for (int i = 0; i < 200; i++)
        ASSERT_EQ(client.read_message().body, i % 3 == 0 ? "body" + std::to_string(i) : "/" + std::to_string(i));
}

TEST(Server, AnswersPipelinedRequestsInOrderWhenTheFirstIsLate)
{
    http_exchange *late = nullptr;
    Server server([&](http_exchange *exchange) {
        if (path_of(exchange) == "/late")
            late = exchange;
        else
            respond(exchange, 200, "second");
    });
    Peer client = server.connect();
    client.send(get("/late") + get("/soon"));
    ASSERT_TRUE(eventually([&] {
        bool there;
        server.run([&] { there = late != nullptr; });
        return there;
    }));
    server.run([&] { respond(late, 200, "first"); });
    EXPECT_EQ(client.read_message().body, "first");
    EXPECT_EQ(client.read_message().body, "second");
}

TEST(Server, ClosesAfterALatePipelinedRequestThatSaysSo)
{
    http_exchange *late = nullptr;
    Server server([&](http_exchange *exchange) {
        if (path_of(exchange) == "/late")
            late = exchange;
        else
            respond(exchange, 200, path_of(exchange));
    });
    Peer client = server.connect();
    client.send(get("/late") + get("/last", "Connection: close\r\n"));
    ASSERT_TRUE(eventually([&] {
        bool there;
        server.run([&] { there = late != nullptr; });
        return there;
    }));
    server.run([&] { respond(late, 200, "first"); });
    EXPECT_EQ(client.read_message().body, "first");
    EXPECT_EQ(client.read_message().body, "/last");
    // What follows is read and dropped until the client has closed, too.
    for (int i = 0; i < 100; i++)
        client.send(get("/dropped"));
    client.shut_down_sending();
    EXPECT_EQ(client.read_all(), "");
    client.close();
    Peer other = server.connect();
    other.send(get("/other"));
    EXPECT_EQ(other.read_message().body, "/other");
}

TEST(Server, TakesARequestByteByByte)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    for (char c : post("hello") + get("/after"))
        client.send(std::string(1, c));
    EXPECT_EQ(client.read_message().body, "hello");
    EXPECT_EQ(client.read_message().body, "/after");
}

TEST(Server, TakesAChunkedBody)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: u\r\n\r\n" +
        get("/n"));
    EXPECT_EQ(client.read_message().body, "abcde");
    EXPECT_EQ(client.read_message().body, "/n");
}

TEST(Server, AnswersHeadWithoutABody)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send("HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n" + get("/n"));
    auto answer = client.read_message(true);
    EXPECT_EQ(answer.status, 200u);
    EXPECT_EQ(answer.fields["content-length"], "4");
    EXPECT_EQ(client.read_message().body, "/n");
}

TEST(Server, SpeaksHttp10)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    auto answer = client.read_message();
    EXPECT_EQ(answer.body, "/old");
    EXPECT_EQ(answer.fields["connection"], "keep-alive");
    client.send("GET /older HTTP/1.0\r\n\r\n");
    answer = client.read_message();
    EXPECT_EQ(answer.body, "/older");
    EXPECT_EQ(answer.fields["connection"], "close");
    EXPECT_TRUE(client.is_closed());
}

TEST(Server, ClosesWhenTheClientSaysSo)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send(get("/", "Connection: close\r\n"));
    EXPECT_EQ(client.read_message().fields["connection"], "close");
    EXPECT_TRUE(client.is_closed());
}

TEST(Server, AnswersAClientThatHasShutDownSending)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send(get("/x"));
    client.shut_down_sending();
    EXPECT_EQ(client.read_message().body, "/x");
    EXPECT_TRUE(client.is_closed());
}

TEST(Server, AsksForABodyThatWaitsForContinue)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    EXPECT_EQ(client.read_message().body, "hello");
}

TEST(Server, RefusesABodyThatWaitsForContinueWithoutAskingForIt)
{
    Server server([](http_exchange *exchange) { respond(exchange, 403, "no"); });
    Peer client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    auto answer = client.read_message();
    EXPECT_EQ(answer.status, 403u);
    EXPECT_EQ(answer.fields["connection"], "close") << "the body may come or not: nothing behind it can be told apart";
    EXPECT_TRUE(client.is_closed());
}

TEST(Server, RefusesABodyOverTheLimitBeforeReadingIt)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    auto answer = client.read_message();
    EXPECT_EQ(answer.status, 413u);
    EXPECT_EQ(answer.fields["connection"], "close");
    EXPECT_TRUE(client.is_closed());
}

TEST(Server, RefusesAChunkedBodyOnceItIsOverTheLimit)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + std::string(1000, 'a') +
                "\r\n1\r\nb\r\n0\r\n\r\n");
    EXPECT_EQ(client.read_message().status, 413u);
}

TEST(Server, LetsAClientReadTheAnswerToAnUploadThatWasRefused)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    std::string piece(100000, 'x');
    EXPECT_TRUE(client.send(piece));
    EXPECT_EQ(client.read_message().status, 413u);
    EXPECT_TRUE(client.is_closed()) << "nothing more is said";
    for (int i = 0; i < 5; i++) // a reset, which could destroy an answer not yet read, would show here
        EXPECT_TRUE(client.send(piece)) << i;
}

TEST(Server, DropsAShortBodyThatNobodyWantsAndGoesOn)
{
    Server server([](http_exchange *exchange) { respond(exchange, 404, "none"); });
    Peer client = server.connect();
    client.send(post(std::string(20000, 'x')) + get("/next"));
    EXPECT_EQ(client.read_message().status, 404u);
    EXPECT_EQ(client.read_message().status, 404u);
    EXPECT_EQ(server.counts().connections_open, 1u);
}

TEST(Server, TimesOutASlowHeadHoweverOftenAByteArrives)
{
    http_server_config config = {};
    config.head_timeout_ms = 300;
    Server server(answer_path_or_body, config);
    Peer client = server.connect();
    std::string request = get("/", "X: " + std::string(1000, 'a') + "\r\n");
    std::thread drip([&] {
        for (char c : request) {
            if (!client.send(std::string(1, c)))
                return;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    });
    auto answer = client.read_message();
    EXPECT_EQ(answer.status, 408u);
    client.shut_down_sending();
    drip.join();
}

TEST(Server, ClosesAConnectionThatNeverSpeaks)
{
    http_server_config config = {};
    config.head_timeout_ms = 100;
    Server server(answer_path_or_body, config);
    Peer client = server.connect();
    EXPECT_TRUE(client.is_closed());
}

TEST(Server, ClosesAnIdleConnection)
{
    http_server_config config = {};
    config.keep_alive_timeout_ms = 100;
    Server server(answer_path_or_body, config);
    Peer client = server.connect();
    client.send(get("/"));
    EXPECT_EQ(client.read_message().status, 200u);
    EXPECT_TRUE(client.is_closed());
}

TEST(Server, TimesOutABodyThatStopsHalfway)
{
    http_server_config config = {};
    config.body_idle_timeout_ms = 150;
    Server server(answer_path_or_body, config);
    Peer client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    EXPECT_EQ(client.read_message().status, 408u);
}

TEST(Server, RefusesABodyThatEndsEarly)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    client.shut_down_sending();
    auto answer = client.read_message();
    EXPECT_EQ(answer.status, 400u);
    EXPECT_NE(answer.body.find("incomplete_body"), std::string::npos);
}

TEST(Server, RefusesAHeaderBlockWithoutEnd)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    std::string fields;
    for (int i = 0; i < 90; i++)
        fields += "X: " + std::string(400, 'y') + "\r\n";
    client.send(fields);
    EXPECT_EQ(client.read_message().status, 431u);
}

TEST(Server, CutsOffAClientThatDoesNotRead)
{
    http_server_config config = {};
    config.write_idle_timeout_ms = 200;
    std::atomic<bool> cut_off{false};
    std::string large(20 << 20, 'x');
    Server server(
        [&](http_exchange *exchange) {
            http_exchange_on_finished(
                exchange,
                [](void *context, http_exchange *over) {
                    struct http_exchange_summary summary;
                    http_exchange_summarize(over, &summary);
                    *static_cast<std::atomic<bool> *>(context) = summary.cut_off;
                },
                &cut_off);
            respond(exchange, 200, large);
        },
        config);
    Peer client = server.connect(4096);
    client.send(get("/"));
    EXPECT_TRUE(eventually([&] { return cut_off.load(); }));
}

TEST(Server, RefusesConnectionsOverTheLimit)
{
    http_server_config config = {};
    config.connections_max = 2;
    Server server(answer_path_or_body, config);
    Peer one = server.connect(), two = server.connect();
    one.send(get("/"));
    two.send(get("/"));
    EXPECT_EQ(one.read_message().status, 200u);
    EXPECT_EQ(two.read_message().status, 200u);
    Peer three = server.connect();
    auto answer = three.read_message();
    EXPECT_EQ(answer.status, 503u);
    EXPECT_EQ(answer.fields["retry-after"], "1");
}

TEST(Server, KeepsASaneRequestIdAndReplacesAnother)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send(get("/", "X-Request-Id: abc-1.2_Z\r\n"));
    EXPECT_EQ(client.read_message().fields["x-request-id"], "abc-1.2_Z");
    client.send(get("/", "X-Request-Id: a b\r\n"));
    std::string first = client.read_message().fields["x-request-id"];
    client.send(get("/", "X-Request-Id: " + std::string(129, 'a') + "\r\n"));
    std::string second = client.read_message().fields["x-request-id"];
    EXPECT_EQ(first.size(), 16u);
    EXPECT_EQ(second.size(), 16u);
    EXPECT_NE(first, second);
}

TEST(Server, SendsASharedBodyWholeAlsoToASlowClient)
{
    std::string body(5 << 20, 'x');
    for (size_t i = 0; i < body.size(); i += 1000)
        body[i] = static_cast<char>('a' + i / 1000 % 26);
    char *memory = static_cast<char *>(malloc(body.size()));
    memcpy(memory, body.data(), body.size());
    http_shared *shared = http_shared_take(memory, body.size());
    {
        Server server([&](http_exchange *exchange) {
            http_response response = {};
            response.status = 200;
            response.shared = shared;
            http_respond(exchange, &response);
        });
        Peer slow = server.connect(4096), fast = server.connect();
        slow.send(get("/") + get("/"));
        fast.send(get("/"));
        EXPECT_TRUE(fast.read_message().body == body);
        EXPECT_TRUE(slow.read_message().body == body);
        EXPECT_TRUE(slow.read_message().body == body);
    }
    http_shared_release(shared);
}

// Writes a body in pieces, no faster than the client reads.
struct Writer {
    size_t left = 0, most_queued = 0, pauses = 0;
    static void more(void *context, http_exchange *exchange)
    {
        auto *writer = static_cast<Writer *>(context);
        static const std::string piece(10000, 'p');
        while (writer->left > 0) {
            writer->left--;
            if (!http_response_write(exchange, piece.data(), piece.size())) {
                writer->pauses++;
                return;
            }
        }
        http_response_end(exchange);
    }
};

TEST(Server, StreamsAnAnswerWithBackPressure)
{
    Writer writer;
    writer.left = 3000;
    Server server([&](http_exchange *exchange) {
        http_response response = {};
        response.status = 200;
        http_response_on_writable(exchange, Writer::more, &writer);
        http_response_begin(exchange, &response, HTTP_LENGTH_UNKNOWN);
        Writer::more(&writer, exchange);
    });
    Peer client = server.connect(4096);
    client.send(get("/"));
    auto answer = client.read_message();
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.fields["transfer-encoding"], "chunked");
    EXPECT_EQ(answer.body.size(), 30000000u);
    EXPECT_GT(writer.pauses, 0u);
}

TEST(Server, StreamsToHttp10UpToTheEndOfTheConnection)
{
    Server server([](http_exchange *exchange) {
        http_response response = {};
        response.status = 200;
        http_response_begin(exchange, &response, HTTP_LENGTH_UNKNOWN);
        http_response_write(exchange, "abc", 3);
        http_response_end(exchange);
    });
    Peer client = server.connect();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    auto answer = client.read_message();
    EXPECT_TRUE(answer.framed_by_close);
    EXPECT_EQ(answer.body, "abc");
}

TEST(Server, AnAnswerThatIsTooShortDoesNotEndCleanly)
{
    Server server([](http_exchange *exchange) {
        http_response response = {};
        response.status = 200;
        http_response_begin(exchange, &response, 10);
        http_response_write(exchange, "abc", 3);
        http_response_end(exchange);
    });
    Peer client = server.connect();
    client.send(get("/"));
    auto answer = client.read_message();
    EXPECT_EQ(answer.body, "abc");
    EXPECT_FALSE(answer.complete);
}

TEST(Server, ALateAnswerToAClientThatWentAwayIsHarmless)
{
    struct State {
        http_exchange *exchange = nullptr;
        std::atomic<bool> gone{false}, finished{false};
    } state;
    Server server([&](http_exchange *exchange) {
        state.exchange = exchange;
        http_exchange_on_client_gone(
            exchange, [](void *context, http_exchange *) { static_cast<State *>(context)->gone = true; }, &state);
        http_exchange_on_finished(
            exchange, [](void *context, http_exchange *) { static_cast<State *>(context)->finished = true; }, &state);
    });
    {
        Peer client = server.connect();
        client.send(get("/"));
        ASSERT_TRUE(eventually([&] {
            bool there;
            server.run([&] { there = state.exchange != nullptr; });
            return there;
        }));
    }
    ASSERT_TRUE(eventually([&] { return state.gone.load(); }));
    EXPECT_FALSE(state.finished);
    server.run([&] {
        EXPECT_TRUE(http_exchange_client_is_gone(state.exchange));
        EXPECT_EQ(path_of(state.exchange), "/");
        respond(state.exchange, 200, "late");
    });
    EXPECT_TRUE(eventually([&] { return state.finished.load(); }));
    EXPECT_EQ(server.counts().requests_in_flight, 0u);
}

TEST(Server, FinishedComesOnceForEveryEnd)
{
    std::atomic<int> finished{0};
    Server server([&](http_exchange *exchange) {
        http_exchange_on_finished(
            exchange, [](void *context, http_exchange *) { ++*static_cast<std::atomic<int> *>(context); }, &finished);
        if (path_of(exchange) == "/abort")
            http_exchange_abort(exchange);
        else
            answer_path_or_body(exchange);
    });
    Peer answered = server.connect(), aborted = server.connect(), too_large = server.connect(), cut = server.connect();
    answered.send(get("/"));
    EXPECT_EQ(answered.read_message().status, 200u);
    aborted.send(get("/abort"));
    EXPECT_EQ(aborted.read_all(), "");
    too_large.send(post(std::string(2000, 'x')));
    EXPECT_EQ(too_large.read_message().status, 413u);
    cut.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    ASSERT_TRUE(eventually([&] { return server.counts().requests_in_flight == 1; }));
    cut.reset();
    EXPECT_TRUE(eventually([&] { return finished.load() == 4; }));
    EXPECT_EQ(server.counts().requests_in_flight, 0u);
}

TEST(Server, AHandlersHeaderCannotSplitTheAnswer)
{
    Server server([](http_exchange *exchange) {
        http_header headers[] = {{"X-Good", "yes"}, {"X-Bad", "a\r\nSet-Cookie: b"}};
        http_response response = {};
        response.status = 200;
        response.headers = headers;
        response.header_count = 2;
        http_respond(exchange, &response);
    });
    Peer client = server.connect();
    client.send(get("/"));
    auto answer = client.read_message();
    EXPECT_EQ(answer.fields["x-good"], "yes");
    EXPECT_EQ(answer.fields.count("set-cookie"), 0u);
}

// On the loop's thread.
void begin_drain(Server &server, std::atomic<bool> *drained)
{
    http_server_drain(
        server.server(), 5000, [](void *context) { *static_cast<std::atomic<bool> *>(context) = true; }, drained);
}

TEST(Server, DrainsWithRequestsInFlightFinished)
{
    http_exchange *held = nullptr;
    Server server([&](http_exchange *exchange) { held = exchange; });
    Peer idle = server.connect(), busy = server.connect();
    busy.send(get("/"));
    ASSERT_TRUE(eventually([&] {
        bool there;
        server.run([&] { there = held != nullptr; });
        return there;
    }));
    std::thread answer_later([&] {
        EXPECT_TRUE(idle.is_closed());
        server.run([&] { respond(held, 200, "done"); });
    });
    EXPECT_TRUE(server.drain(5000));
    answer_later.join();
    auto answer = busy.read_message();
    EXPECT_EQ(answer.body, "done");
    EXPECT_EQ(answer.fields["connection"], "close");
    EXPECT_TRUE(busy.is_closed());
}

// A client that keeps its connection cannot know that the server drains before it is told so.
TEST(Server, AnswersARequestThatIsOnItsWayWhenItDrains)
{
    Server server(answer_path_or_body);
    Peer client = server.connect();
    client.send(get("/first"));
    EXPECT_EQ(client.read_message().body, "/first");
    std::atomic<bool> drained(false);
    server.run([&] {
        client.send(get("/second")); // the server's loop has no turn to read it before it drains
        begin_drain(server, &drained);
    });
    auto answer = client.read_message();
    EXPECT_EQ(answer.body, "/second");
    EXPECT_EQ(answer.fields["connection"], "close");
    EXPECT_TRUE(eventually([&] { return drained.load(); }));
}

TEST(Server, RefusesConnectionsWhileItDrains)
{
    http_exchange *held = nullptr;
    Server server([&](http_exchange *exchange) { held = exchange; });
    Peer busy = server.connect();
    busy.send(get("/"));
    ASSERT_TRUE(eventually([&] { return server.counts().requests_in_flight == 1; }));
    std::atomic<bool> drained(false);
    server.run([&] { begin_drain(server, &drained); });
    int late = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(server.port());
    EXPECT_EQ(connect(late, reinterpret_cast<sockaddr *>(&address), sizeof address), -1);
    EXPECT_EQ(errno, ECONNREFUSED);
    close(late);
    server.run([&] { respond(held, 200, "done"); });
    EXPECT_EQ(busy.read_message().body, "done");
    EXPECT_TRUE(eventually([&] { return drained.load(); }));
}

TEST(Server, ADrainThatTakesTooLongCutsOff)
{
    http_exchange *held = nullptr;
    Server server([&](http_exchange *exchange) { held = exchange; });
    Peer client = server.connect();
    client.send(get("/"));
    ASSERT_TRUE(eventually([&] { return server.counts().requests_in_flight == 1; }));
    EXPECT_TRUE(server.drain(50));
    EXPECT_TRUE(client.is_closed());
    EXPECT_EQ(server.counts().connections_open, 0u);
    server.run([&] { http_exchange_abort(held); }); // still the handler's
}

TEST(Server, ASecondServerOnOnePortFails)
{
    Server server(answer_path_or_body);
    char error[200] = "";
    EXPECT_LT(http_listen("127.0.0.1", server.port(), 10, error, sizeof error), 0);
    EXPECT_NE(std::string(error).find("Address already in use"), std::string::npos) << error;
}

TEST(Server, BuffersOfIdleConnectionsAreGivenBack)
{
    Server server(answer_path_or_body);
    std::vector<Peer> clients;
    for (int i = 0; i < 200; i++) {
        clients.push_back(server.connect());
        // In two pieces, so that the connection needs a buffer of its own meanwhile.
        clients.back().send("GET /" + std::string(3000, 'x'));
    }
    for (auto &client : clients)
        client.send(" HTTP/1.1\r\nHost: a\r\n\r\n");
    for (auto &client : clients)
        EXPECT_EQ(client.read_message().status, 200u);
    auto counts = server.counts();
    EXPECT_EQ(counts.connections_idle, 200u);
    EXPECT_EQ(counts.requests_in_flight, 0u);
}

} // namespace
