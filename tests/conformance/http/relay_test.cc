// The relay over real sockets, with upstreams that do exactly what a test says: each behaviour
// under its name.

#include "tests/conformance/http/harness.h"

#include <gtest/gtest.h>

#include <cstring>
#include <unistd.h>

namespace {

std::string get(const std::string &path = "/", const std::string &fields = "")
{
    return "GET " + path + " HTTP/1.1\r\nHost: front\r\n" + fields + "\r\n";
}

std::string post(const std::string &body, const std::string &fields = "")
{
    return "POST / HTTP/1.1\r\nHost: front\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

std::string ok(const std::string &body, const std::string &fields = "")
{
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

// Answers every request on a connection alike.
std::function<void(Peer &)> always(const std::string &answer)
{
    return [answer](Peer &peer) {
        while (peer.read_message().complete)
            if (!peer.send(answer))
                return;
    };
}

// A server that relays everything as the plan says.
struct Relay {
    explicit Relay(std::vector<std::string> urls, http_upstreams_config upstreams = {}, http_server_config config = {})
        : server([this](http_exchange *exchange) { relay(&server, exchange, &plan); }, config, upstreams)
    {
        plan.urls = std::move(urls);
    }
    RelayPlan plan;
    Server server;
};

TEST(Relay, RelaysARequestAndItsAnswer)
{
    Upstream upstream(always(ok("hello", "X-Own: yes\r\nContent-Type: text/x\r\n")));
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    for (int i = 0; i < 3; i++) {
        client.send(get("/a?b=c"));
        auto answer = client.read_message();
        EXPECT_EQ(answer.status, 200u);
        EXPECT_EQ(answer.body, "hello");
        EXPECT_EQ(answer.fields["x-own"], "yes");
        EXPECT_EQ(answer.fields["content-type"], "text/x");
        EXPECT_EQ(answer.fields["content-length"], "5");
        EXPECT_EQ(answer.fields.count("date"), 1u);
    }
    EXPECT_EQ(upstream.connections(), 1) << "the connection is kept";
    auto attempts = relay.plan.attempts();
    ASSERT_EQ(attempts.size(), 3u);
    EXPECT_EQ(attempts[0].result, HTTP_RELAY_ANSWERED);
    EXPECT_EQ(attempts[0].status, 200u);
    EXPECT_FALSE(attempts[0].reused);
    EXPECT_TRUE(attempts[1].reused);
}

TEST(Relay, RewritesTheRequestsHead)
{
    std::string seen;
    Upstream upstream([&](Peer &peer) {
        seen = peer.read_message().head;
        peer.send(ok(""));
    });
    Relay relay({upstream.url() + "/base"});
    relay.plan.request_headers = {{"X-Added", "1"}};
    relay.plan.path = "/api/x?y";
    Peer client = relay.server.connect();
    client.send("GET /other HTTP/1.1\r\nHost: front.example\r\nX-Keep:  kept  \r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
                "Keep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X\r\nProxy-Authorization: secret\r\nProxy-Connection: a\r\n"
                "Upgrade: h2c\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\nVia: 1.0 fred\r\n"
                "X-Request-Id: mine\r\nX-Added: client's\r\nAuthorization: Bearer t\r\nCookie: a=b\r\n\r\n");
    EXPECT_EQ(client.read_message().status, 200u);
    EXPECT_EQ(seen.substr(0, seen.find("\r\n")), "GET /base/api/x?y HTTP/1.1");
    auto has = [&](const std::string &line) { return seen.find("\r\n" + line + "\r\n") != std::string::npos; };
    EXPECT_TRUE(has("Host: 127.0.0.1:" + std::to_string(upstream.port()))) << seen;
    EXPECT_NE(seen.find("X-Keep:  kept\r\n"), std::string::npos) << seen;
    EXPECT_TRUE(has("X-Forwarded-For: 192.0.2.1, 192.0.2.2, 127.0.0.1")) << seen;
    EXPECT_TRUE(has("X-Forwarded-Proto: http")) << seen;
    EXPECT_TRUE(has("X-Forwarded-Host: front.example")) << seen;
    EXPECT_TRUE(has("Via: 1.0 fred, 1.1 muster")) << seen;
    EXPECT_TRUE(has("X-Request-Id: mine")) << seen;
    EXPECT_TRUE(has("X-Added: 1")) << seen;
    EXPECT_TRUE(has("Authorization: Bearer t")) << seen;
    EXPECT_TRUE(has("Cookie: a=b")) << seen;
    for (const char *gone : {"Connection:", "X-Hop:", "Keep-Alive:", "TE:", "Trailer:", "Proxy-Authorization:",
                             "Proxy-Connection:", "Upgrade:", "client's", "front.example\r\nX-Keep", "Content-Length:"})
        EXPECT_EQ(seen.find(gone), std::string::npos) << gone << " in " << seen;
}

TEST(Relay, RewritesTheAnswersHead)
{
    Upstream upstream(always(ok("x", "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Served-By: upstream\r\n"
                                     "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Request-Id: theirs\r\n"
                                     "Proxy-Authenticate: Basic\r\nVia: 1.1 inner\r\n")));
    Relay relay({upstream.url()});
    relay.plan.response_headers = {{"X-Served-By", "worker-1"}};
    Peer client = relay.server.connect();
    client.send(get("/", "X-Request-Id: mine\r\n"));
    auto answer = client.read_message();
    EXPECT_EQ(answer.fields["x-served-by"], "worker-1");
    EXPECT_EQ(answer.head.find("upstream"), std::string::npos);
    EXPECT_EQ(answer.fields["x-request-id"], "mine");
    EXPECT_EQ(answer.fields["via"], "1.1 inner, 1.1 muster");
    EXPECT_NE(answer.head.find("Set-Cookie: a=1\r\nSet-Cookie: b=2"), std::string::npos);
    for (const char *gone : {"x-hop", "keep-alive", "proxy-authenticate", "connection"})
        EXPECT_EQ(answer.fields.count(gone), 0u) << gone;
}

TEST(Relay, FramesChunkedBodiesAnewBothWays)
{
    std::string seen;
    Upstream upstream([&](Peer &peer) {
        auto request = peer.read_message();
        seen = request.body;
        EXPECT_EQ(request.fields["transfer-encoding"], "chunked");
        EXPECT_EQ(request.head.find("ext"), std::string::npos);
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;ext=1\r\na\r\n2\r\nbc\r\n");
        peer.send("3\r\ndef\r\n0\r\nTrailer: x\r\n\r\n");
        EXPECT_EQ(peer.read_message().head, "") << "closed by the test's end";
    });
    Relay relay({upstream.url()});
    {
        Peer client = relay.server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext\r\nhello\r\n");
        client.send("6\r\n world\r\n0\r\nTrailer: y\r\n\r\n");
        auto answer = client.read_message();
        EXPECT_TRUE(answer.complete);
        EXPECT_EQ(answer.body, "abcdef");
        EXPECT_EQ(answer.fields["transfer-encoding"], "chunked");
        EXPECT_EQ(seen, "hello world");
        EXPECT_EQ(relay.server.upstream_counts().connections_idle, 1u);
    }
    struct http_origin origin;
    ASSERT_TRUE(http_origin_parse(http_text_of(upstream.url().c_str()), &origin));
    relay.server.run([&] { http_upstreams_forget(relay.server.upstreams(), &origin); });
}

TEST(Relay, ABodyThatEndsWithTheUpstreamsConnectionIsChunked)
{
    Upstream upstream([](Peer &peer) {
        peer.read_message();
        peer.send("HTTP/1.1 200 OK\r\n\r\nabc");
        peer.send("def");
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send(get());
    auto answer = client.read_message();
    EXPECT_EQ(answer.fields["transfer-encoding"], "chunked");
    EXPECT_EQ(answer.body, "abcdef");
    EXPECT_TRUE(answer.complete);
}

TEST(Relay, AnswersAnHttp10Client)
{
    Upstream upstream(always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    auto answer = client.read_message();
    EXPECT_TRUE(answer.framed_by_close);
    EXPECT_EQ(answer.body, "abc");
}

TEST(Relay, RelaysHeadAndAnswersWithoutABody)
{
    Upstream upstream([](Peer &peer) {
        for (;;) {
            auto request = peer.read_message();
            if (!request.complete)
                return;
            if (request.head.compare(0, 4, "HEAD") == 0)
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
            else if (request.head.find("/304") != std::string::npos)
                peer.send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n");
            else
                peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get("/304") + get("/204") + get("/204"));
    auto head = client.read_message(true);
    EXPECT_EQ(head.fields["content-length"], "1234");
    EXPECT_EQ(client.read_message().status, 304u);
    EXPECT_EQ(client.read_message().status, 204u);
    EXPECT_EQ(client.read_message().status, 204u);
    EXPECT_EQ(upstream.connections(), 1);
}

TEST(Relay, DropsInterimAnswers)
{
    Upstream upstream(always("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok("x")));
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send(get());
    auto answer = client.read_message();
    EXPECT_EQ(answer.status, 200u);
    EXPECT_EQ(answer.body, "x");
}

TEST(Relay, TakesAnUpstreamsHeadByteByByte)
{
    Upstream upstream([](Peer &peer) {
        peer.read_message();
        for (char c : "HTTP/1.1 100 Continue\r\n\r\n" + ok("hello", "X-A: b\r\n"))
            peer.send(std::string(1, c));
        peer.read_all();
    });
    Relay relay({upstream.url()});
    {
        Peer client = relay.server.connect();
        client.send(get());
        auto answer = client.read_message();
        EXPECT_EQ(answer.body, "hello");
        EXPECT_EQ(answer.fields["x-a"], "b");
    }
    struct http_origin origin;
    ASSERT_TRUE(http_origin_parse(http_text_of(upstream.url().c_str()), &origin));
    relay.server.run([&] { http_upstreams_forget(relay.server.upstreams(), &origin); });
}

TEST(Relay, AsksForABodyThatWaitsForContinueItself)
{
    std::string expectation = "none seen";
    Upstream upstream([&](Peer &peer) {
        auto request = peer.read_message();
        expectation = request.fields["expect"];
        peer.send(ok(request.body));
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    EXPECT_EQ(client.read_message().body, "hello");
    EXPECT_EQ(expectation, "");
}

TEST(Relay, FlushesServerSentEventsAtOnce)
{
    std::atomic<int> received{0};
    Upstream upstream([&](Peer &peer) {
        peer.read_message();
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 3; i++) {
            // Not before the client has the one before: nothing may be held back.
            if (!eventually([&] { return received == i; }))
                return;
            peer.send("9\r\ndata: " + std::to_string(i) + "\n\n\r\n");
        }
        eventually([&] { return received == 3; });
        peer.send("0\r\n\r\n");
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send(get());
    client.read_until("\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(client.read_until("\n\n\r\n"), "9\r\ndata: " + std::to_string(i) + "\n\n\r\n");
        received++;
    }
    EXPECT_EQ(client.read_until("\r\n\r\n"), "0\r\n\r\n");
}

// --- Malformed upstreams ------------------------------------------------------------------------

TEST(Relay, AnswersMalformedAnswersWith502)
{
    const std::string cases[] = {
        "nonsense\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        std::string("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 26),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: " + std::string(20000, 'x') + "\r\n\r\n",
    };
    for (const std::string &bytes : cases) {
        Upstream upstream(always(bytes));
        Relay relay({upstream.url()});
        Peer client = relay.server.connect();
        client.send(get());
        auto answer = client.read_message();
        EXPECT_EQ(answer.status, 502u) << bytes.substr(0, 100);
        EXPECT_EQ(relay.plan.failure, HTTP_RELAY_MALFORMED) << bytes.substr(0, 100);
        client.send(get());
        EXPECT_EQ(client.read_message().status, 502u) << "the client's connection goes on";
    }
}

TEST(Relay, ABadChunkCutsTheAnswerOff)
{
    Upstream upstream(always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"));
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_FALSE(client.read_message().complete);
    EXPECT_TRUE(client.is_closed());
    EXPECT_EQ(relay.plan.attempts()[0].result, HTTP_RELAY_TRUNCATED);
}

TEST(Relay, AnAnswerThatBreaksOffNeverEndsCleanly)
{
    for (const char *answer : {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
                               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc"}) {
        Upstream upstream([&](Peer &peer) {
            peer.read_message();
            peer.send(answer);
        });
        Relay relay({upstream.url()});
        Peer client = relay.server.connect();
        client.send(get());
        EXPECT_FALSE(client.read_message().complete) << answer;
        EXPECT_EQ(relay.plan.failures(), 0);
        EXPECT_EQ(relay.plan.attempts()[0].result, HTTP_RELAY_TRUNCATED);
    }
    // The end of the connection is the only end that HTTP/1.0 has: it gets a reset.
    Upstream upstream([&](Peer &peer) {
        peer.read_message();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    client.read_message();
    EXPECT_EQ(relay.plan.attempts()[0].result, HTTP_RELAY_TRUNCATED);
}

TEST(Relay, BytesBehindAnAnswerAreNotTakenForTheNext)
{
    Upstream upstream(always(ok("first") + ok("smuggled")));
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    for (int i = 0; i < 3; i++) {
        client.send(get());
        EXPECT_EQ(client.read_message().body, "first");
    }
    EXPECT_EQ(upstream.connections(), 3) << "such a connection is not used again";
}

// --- Clients and upstreams that go away -----------------------------------------------------------

TEST(Relay, AClientThatGoesAwayClosesTheUpstream)
{
    std::atomic<bool> asked{false}, closed{false};
    Upstream upstream([&](Peer &peer) {
        peer.read_message();
        asked = true;
        closed = peer.is_closed();
    });
    Relay relay({upstream.url()});
    {
        Peer client = relay.server.connect();
        client.send(get());
        ASSERT_TRUE(eventually([&] { return asked.load(); }));
    }
    EXPECT_TRUE(eventually([&] { return closed.load(); }));
    ASSERT_TRUE(eventually([&] { return relay.plan.attempts().size() == 1; }));
    EXPECT_EQ(relay.plan.attempts()[0].result, HTTP_RELAY_CLIENT_GONE);
    EXPECT_EQ(relay.plan.failures(), 0);
}

TEST(Relay, AClientThatGoesAwayInTheMiddleOfItsBodyClosesTheUpstream)
{
    std::atomic<bool> started{false}, complete{true};
    Upstream upstream([&](Peer &peer) {
        peer.read_until("hello");
        started = true;
        complete = peer.read_bytes(95).size() == 95;
    });
    Relay relay({upstream.url()});
    {
        Peer client = relay.server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello");
        ASSERT_TRUE(eventually([&] { return started.load(); }));
    }
    EXPECT_TRUE(eventually([&] { return !complete.load(); }));
    EXPECT_TRUE(eventually([&] { return relay.server.counts().requests_in_flight == 0; }));
}

TEST(Relay, AMalformedChunkFromTheClientClosesTheUpstream)
{
    std::atomic<bool> closed{false};
    Upstream upstream([&](Peer &peer) {
        peer.read_until("hello");
        peer.read_all();
        closed = true;
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    ASSERT_TRUE(eventually([&] { return relay.server.upstream_counts().sent_bytes > 0; }));
    client.send("zz\r\n");
    EXPECT_EQ(client.read_message().status, 400u);
    EXPECT_TRUE(eventually([&] { return closed.load(); }));
}

TEST(Relay, AnEarlyAnswerDuringAnUploadClosesBothSides)
{
    std::atomic<bool> closed{false};
    Upstream upstream([&](Peer &peer) {
        peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
        peer.read_all();
        closed = true;
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nbeginning");
    auto answer = client.read_message();
    EXPECT_EQ(answer.status, 413u);
    EXPECT_EQ(answer.body, "no");
    EXPECT_EQ(answer.fields["connection"], "close");
    EXPECT_TRUE(client.is_closed());
    EXPECT_TRUE(eventually([&] { return closed.load(); }));
    EXPECT_EQ(relay.server.upstream_counts().connections_idle, 0u);
}

TEST(Relay, AnEarlyAnswerIsReadEvenIfTheUpstreamThenResets)
{
    // It answers and closes with the upload unread: a reset follows. The answer has to win.
    for (int i = 0; i < 10; i++) {
        Upstream upstream([&](Peer &peer) {
            peer.read_until("\r\n\r\n");
            peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        });
        Relay relay({upstream.url()});
        Peer client = relay.server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
        std::thread upload([&] { client.send(std::string(3000000, 'x')); });
        auto answer = client.read_message();
        // A reset may still overtake the answer inside the kernel: then, and only then, 502.
        EXPECT_TRUE(answer.status == 403 || answer.status == 502) << answer.status;
        upload.join();
    }
}

// --- Long bodies -------------------------------------------------------------------------------------

TEST(Relay, StreamsALongUploadWithoutHoldingIt)
{
    const size_t total = 64 << 20;
    std::atomic<bool> go{false};
    std::atomic<uint64_t> received{0};
    Upstream upstream([&](Peer &peer) {
        peer.read_until("\r\n\r\n");
        eventually([&] { return go.load(); });
        while (received < total) {
            size_t got = peer.read_bytes(1 << 20).size();
            if (got == 0)
                return;
            received += got;
        }
        peer.send(ok("done"));
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    std::thread upload([&] {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(total) + "\r\n\r\n");
        std::string piece(1 << 20, 'x');
        for (size_t sent = 0; sent < total; sent += piece.size())
            client.send(piece);
    });
    // While the upstream does not read, what the server takes is bounded by its own buffers and
    // the kernel's, far below what is on offer.
    uint64_t taken = 0;
    for (int calm = 0; calm < 20;) {
        uint64_t now = relay.server.counts().received_bytes;
        calm = now == taken && now > 0 ? calm + 1 : 0;
        taken = now;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    uint64_t passed_on = relay.server.upstream_counts().sent_bytes;
    EXPECT_LT(taken - passed_on, 512u << 10) << "held by the relay";
    EXPECT_LT(taken, total / 2);
    go = true;
    EXPECT_EQ(client.read_message().body, "done");
    upload.join();
    EXPECT_EQ(received, total);
}

TEST(Relay, StreamsALongAnswerWithoutHoldingIt)
{
    const size_t total = 64 << 20;
    Upstream upstream([&](Peer &peer) {
        peer.read_message();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(total) + "\r\n\r\n");
        std::string piece(1 << 20, 'y');
        for (size_t sent = 0; sent < total; sent += piece.size())
            if (!peer.send(piece))
                return;
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect(65536);
    client.send(get());
    uint64_t taken = 0;
    for (int calm = 0; calm < 20;) {
        uint64_t now = relay.server.upstream_counts().received_bytes;
        calm = now == taken && now > 0 ? calm + 1 : 0;
        taken = now;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    uint64_t passed_on = relay.server.counts().sent_bytes;
    EXPECT_LT(taken - passed_on, 512u << 10) << "held by the relay";
    EXPECT_LT(taken, total / 2);
    auto answer = client.read_message();
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.body.size(), total);
}

TEST(Relay, StreamsBothWaysAtOnce)
{
    Upstream upstream([](Peer &peer) {
        peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 50; i++) {
            peer.send("5\r\n" + peer.read_bytes(5) + "\r\n");
        }
        peer.send("0\r\n\r\n");
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 250\r\n\r\n");
    client.read_until("\r\n\r\n");
    for (int i = 0; i < 50; i++) {
        client.send("abcde");
        EXPECT_EQ(client.read_until("abcde\r\n"), "5\r\nabcde\r\n");
    }
    EXPECT_EQ(client.read_until("\r\n\r\n"), "0\r\n\r\n");
}

// --- Upgrades ------------------------------------------------------------------------------------------

TEST(Relay, AnUpgradeBecomesATunnel)
{
    std::string request;
    Upstream upstream([&](Peer &peer) {
        request = peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Accept: k\r\n\r\nfirst");
        EXPECT_EQ(peer.read_until("early"), "early");
        for (int i = 0; i < 20; i++)
            peer.send("echo " + peer.read_until("\n"));
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send(get("/ws", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: q\r\n") + "early");
    std::string head = client.read_until("\r\n\r\n");
    EXPECT_EQ(head.compare(0, 13, "HTTP/1.1 101 "), 0) << head;
    EXPECT_NE(head.find("\r\nConnection: Upgrade\r\n"), std::string::npos);
    EXPECT_NE(head.find("\r\nUpgrade: websocket\r\n"), std::string::npos);
    EXPECT_NE(head.find("\r\nSec-WebSocket-Accept: k\r\n"), std::string::npos);
    EXPECT_EQ(head.find("Transfer-Encoding"), std::string::npos);
    EXPECT_EQ(client.read_bytes(5), "first");
    for (int i = 0; i < 20; i++) {
        std::string line = "line\0 " + std::to_string(i) + "\n";
        client.send(line);
        EXPECT_EQ(client.read_until("\n"), "echo " + line);
    }
    EXPECT_TRUE(client.is_closed()) << "the upstream has closed";
    EXPECT_NE(request.find("\r\nUpgrade: websocket\r\n"), std::string::npos) << request;
    EXPECT_NE(request.find("\r\nConnection: Upgrade\r\n"), std::string::npos) << request;
}

TEST(Relay, AClientThatLeavesATunnelClosesTheUpstream)
{
    std::atomic<bool> closed{false};
    Upstream upstream([&](Peer &peer) {
        peer.read_until("\r\n\r\n");
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        peer.read_all();
        closed = true;
    });
    Relay relay({upstream.url()});
    {
        Peer client = relay.server.connect();
        client.send(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
        client.read_until("\r\n\r\n");
    }
    EXPECT_TRUE(eventually([&] { return closed.load(); }));
}

TEST(Relay, ARefusedUpgradeIsAnOrdinaryAnswer)
{
    Upstream upstream(always("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno"));
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n") + get("/"));
    EXPECT_EQ(client.read_message().status, 426u);
    EXPECT_EQ(client.read_message().status, 426u);
}

// --- Failover --------------------------------------------------------------------------------------------

TEST(Relay, FailsOverWhenTheFirstUpstreamCannotBeConnectedTo)
{
    Upstream second(always(ok("second")));
    Relay relay({"http://127.0.0.1:" + std::to_string(unused_port()), second.url()});
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_EQ(client.read_message().body, "second");
    client.send(post("not idempotent"));
    EXPECT_EQ(client.read_message().body, "second") << "nothing was sent to the first: safe for every method";
    auto attempts = relay.plan.attempts();
    ASSERT_EQ(attempts.size(), 4u);
    EXPECT_EQ(attempts[0].result, HTTP_RELAY_CONNECT_FAILED);
    EXPECT_TRUE(attempts[0].will_retry);
    EXPECT_EQ(attempts[1].number, 2u);
    EXPECT_EQ(attempts[1].result, HTTP_RELAY_ANSWERED);
}

TEST(Relay, ABodyIsSentAgainWholeToTheNextUpstream)
{
    std::string body(60000, 'b');
    for (size_t i = 0; i < body.size(); i++)
        body[i] = static_cast<char>('a' + i % 23);
    for (bool chunked : {false, true}) {
        Upstream first([](Peer &peer) {
            peer.read_until("\r\n\r\n");
            peer.reset();
        });
        std::string seen;
        Upstream second([&](Peer &peer) {
            seen = peer.read_message().body;
            peer.send(ok("second"));
        });
        Relay relay({first.url(), second.url()});
        relay.plan.safe_to_repeat = true;
        Peer client = relay.server.connect();
        if (chunked) {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7530\r\n" + body.substr(0, 30000) + "\r\n");
            client.send("7530\r\n" + body.substr(30000) + "\r\n0\r\n\r\n");
        } else {
            client.send(post(body));
        }
        EXPECT_EQ(client.read_message().body, "second");
        EXPECT_EQ(seen.size(), body.size());
        EXPECT_TRUE(seen == body);
    }
}

TEST(Relay, AnIdempotentRequestIsRepeatedWhenNothingWasAnswered)
{
    Upstream first([](Peer &peer) { peer.read_message(); });
    Upstream second(always(ok("second")));
    Relay relay({first.url(), second.url()});
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_EQ(client.read_message().body, "second");
    EXPECT_EQ(relay.plan.attempts()[0].result, HTTP_RELAY_CLOSED_EARLY);
}

TEST(Relay, APostThatWasDeliveredIsNotRepeated)
{
    Upstream first([](Peer &peer) { peer.read_message(); });
    Upstream second(always(ok("second")));
    Relay relay({first.url(), second.url()});
    Peer client = relay.server.connect();
    client.send(post("pay"));
    EXPECT_EQ(client.read_message().status, 502u);
    EXPECT_EQ(relay.plan.failure, HTTP_RELAY_CLOSED_EARLY);
    EXPECT_EQ(second.connections(), 0);
    client.send(get());
    EXPECT_EQ(client.read_message().body, "second") << "the client's connection goes on";
}

TEST(Relay, APostThatIsSafeToRepeatIsRepeated)
{
    Upstream first([](Peer &peer) { peer.read_message(); });
    Upstream second([](Peer &peer) { peer.send(ok(peer.read_message().body)); });
    Relay relay({first.url(), second.url()});
    relay.plan.safe_to_repeat = true;
    Peer client = relay.server.connect();
    client.send(post("count words"));
    EXPECT_EQ(client.read_message().body, "count words");
}

TEST(Relay, ABodyTooLongToBeKeptIsNotRepeated)
{
    Upstream first([](Peer &peer) {
        peer.read_until("\r\n\r\n");
        peer.read_bytes(300000);
    });
    Upstream second(always(ok("second")));
    Relay relay({first.url(), second.url()});
    relay.plan.safe_to_repeat = true;
    Peer client = relay.server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + std::string(400000, 'x'));
    EXPECT_EQ(client.read_message().status, 502u);
    EXPECT_EQ(second.connections(), 0);
}

TEST(Relay, AnAnswerThatHasBegunIsNeverRepeated)
{
    Upstream first([](Peer &peer) {
        peer.read_message();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    });
    Upstream second(always(ok("second")));
    Relay relay({first.url(), second.url()});
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_FALSE(client.read_message().complete);
    EXPECT_EQ(second.connections(), 0);
}

TEST(Relay, TriesNoMoreOftenThanAllowed)
{
    std::string nobody = "http://127.0.0.1:" + std::to_string(unused_port());
    Upstream last(always(ok("last")));
    Relay relay({nobody, nobody, last.url()});
    relay.plan.attempts_max = 2;
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_EQ(client.read_message().status, 502u);
    EXPECT_EQ(relay.plan.attempts().size(), 2u);
    EXPECT_FALSE(relay.plan.attempts()[1].will_retry);
}

TEST(Relay, WithoutAnUpstreamItAnswers503)
{
    Relay relay({});
    Peer client = relay.server.connect();
    client.send(post(std::string(10000, 'x')) + get());
    EXPECT_EQ(client.read_message().status, 503u);
    EXPECT_EQ(client.read_message().status, 503u);
    EXPECT_EQ(relay.plan.failure, HTTP_RELAY_NO_TARGET);
    EXPECT_TRUE(relay.plan.attempts().empty());
}

TEST(Relay, AStalePooledConnectionIsReplacedWithoutTheClientNoticing)
{
    // Answers one request, and closes when the second comes: what a server with a short
    // keep-alive does at the worst moment.
    std::atomic<int> served{0};
    Upstream upstream([&](Peer &peer) {
        if (!peer.read_message().complete)
            return;
        served++;
        peer.send(ok("one"));
        peer.read_message();
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    for (int i = 0; i < 4; i++) {
        client.send(get());
        EXPECT_EQ(client.read_message().body, "one");
    }
    EXPECT_EQ(served, 4);
    EXPECT_EQ(relay.plan.failures(), 0);
    EXPECT_EQ(relay.plan.attempts().size(), 4u) << "one attempt each: the replacement is part of it";
}

TEST(Relay, AClosedPooledConnectionIsNotUsed)
{
    Upstream upstream([&](Peer &peer) {
        peer.read_message();
        peer.send(ok("one"));
    });
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    for (int i = 0; i < 3; i++) {
        client.send(post("x")); // not idempotent: had it been sent on a dead connection it would fail
        EXPECT_EQ(client.read_message().body, "one");
        ASSERT_TRUE(eventually([&] { return relay.server.upstream_counts().connections_open == 0; }));
    }
}

TEST(Relay, KillingAnUpstreamFailsNoRequestThatIsSafeToRepeat)
{
    // The demonstration's claim in small: posts in flight while one of two upstreams dies.
    Upstream survivor([](Peer &peer) {
        for (;;) {
            auto request = peer.read_message();
            if (!request.complete)
                return;
            peer.send(ok(request.body));
        }
    });
    std::atomic<bool> killed{false};
    Upstream victim([&](Peer &peer) {
        for (int i = 0;; i++) {
            auto request = peer.read_message();
            if (!request.complete)
                return;
            if (killed || i == 20) {
                killed = true;
                peer.reset();
                return;
            }
            peer.send(ok(request.body));
        }
    });
    Relay relay({victim.url(), survivor.url()});
    relay.plan.safe_to_repeat = true;
    std::vector<std::thread> clients;
    std::atomic<int> failed{0};
    for (int c = 0; c < 8; c++)
        clients.emplace_back([&] {
            Peer client = relay.server.connect();
            for (int i = 0; i < 60; i++) {
                client.send(post("document " + std::to_string(i)));
                auto answer = client.read_message();
                if (answer.status != 200 || answer.body != "document " + std::to_string(i))
                    failed++;
            }
        });
    for (auto &client : clients)
        client.join();
    EXPECT_TRUE(killed);
    EXPECT_EQ(failed, 0);
}

// --- Timeouts and names -------------------------------------------------------------------------------------

TEST(Relay, AnUpstreamThatDoesNotAnswerIs504)
{
    Upstream upstream([](Peer &peer) { peer.read_all(); });
    Relay relay({upstream.url()});
    relay.plan.first_byte_timeout_ms = 100;
    relay.plan.attempts_max = 1;
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_EQ(client.read_message().status, 504u);
    EXPECT_EQ(relay.plan.attempts()[0].result, HTTP_RELAY_TIMEOUT);
}

TEST(Relay, AnUpstreamThatDoesNotAcceptIs504)
{
    // A listener whose queue is full drops what comes: the connection stays half made.
    char error[100];
    int listener = http_listen("127.0.0.1", 0, 0, error, sizeof error);
    ASSERT_GE(listener, 0);
    std::vector<Peer> fillers;
    uint16_t port = http_listener_port(listener);
    fillers.push_back(Peer::connect(port));
    http_upstreams_config config = {};
    config.connect_timeout_ms = 150;
    {
        Relay relay({"http://127.0.0.1:" + std::to_string(port)}, config);
        relay.plan.attempts_max = 1;
        relay.plan.first_byte_timeout_ms = 150;
        Peer client = relay.server.connect();
        client.send(get());
        EXPECT_EQ(client.read_message().status, 504u);
    }
    close(listener);
}

TEST(Relay, AnAnswerThatStallsIsCutOff)
{
    Upstream upstream([](Peer &peer) {
        peer.read_message();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        peer.read_all();
    });
    http_upstreams_config config = {};
    config.stall_timeout_ms = 100;
    Relay relay({upstream.url()}, config);
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_FALSE(client.read_message().complete);
}

TEST(Relay, ResolvesNamesAside)
{
    Upstream upstream(always(ok("named")));
    http_upstreams_config config = {};
    config.resolver = http_resolver_create(0);
    {
        char host[256];
        ASSERT_EQ(gethostname(host, sizeof host), 0);
        std::string port = std::to_string(upstream.port());
        Relay relay({"http://no-such-name.invalid:" + port, "http://localhost:" + port}, config);
        Peer client = relay.server.connect();
        for (int i = 0; i < 2; i++) { // the second time from the cache
            client.send(get());
            EXPECT_EQ(client.read_message().body, "named");
        }
        auto attempts = relay.plan.attempts();
        ASSERT_EQ(attempts.size(), 4u);
        EXPECT_EQ(attempts[0].result, HTTP_RELAY_CONNECT_FAILED);
        EXPECT_EQ(attempts[2].result, HTTP_RELAY_CONNECT_FAILED);
    }
    http_resolver_destroy(config.resolver);
}

TEST(Relay, AClientThatGoesAwayWhileANameIsResolvedIsHarmless)
{
    http_upstreams_config config = {};
    config.resolver = http_resolver_create(0);
    {
        Relay relay({"http://another-name.invalid:80"}, config);
        for (int i = 0; i < 5; i++) {
            Peer client = relay.server.connect();
            client.send(get());
        }
        EXPECT_TRUE(eventually([&] { return relay.server.counts().connections_open == 0 && relay.server.counts().connections_accepted == 5; }));
    }
    http_resolver_destroy(config.resolver);
}

} // namespace
