// The relay over real sockets: what is tried again and what must not be, timeouts, names.

#include "tests/conformance/http/relay_harness.h"

#include <unistd.h>

namespace {

// --- Failover --------------------------------------------------------------------------------------------

TEST(RelayFailover, FailsOverWhenTheFirstUpstreamCannotBeConnectedTo)
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

TEST(RelayFailover, ABodyIsSentAgainWholeToTheNextUpstream)
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

TEST(RelayFailover, AnIdempotentRequestIsRepeatedWhenNothingWasAnswered)
{
    Upstream first([](Peer &peer) { peer.read_message(); });
    Upstream second(always(ok("second")));
    Relay relay({first.url(), second.url()});
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_EQ(client.read_message().body, "second");
    EXPECT_EQ(relay.plan.attempts()[0].result, HTTP_RELAY_CLOSED_EARLY);
}

TEST(RelayFailover, APostThatWasDeliveredIsNotRepeated)
{
    Upstream first([](Peer &peer) { peer.read_message(); });
    Upstream second(always(ok("second")));
    Relay relay({first.url(), second.url()});
    Peer client = relay.server.connect();
    client.send(post("pay"));
    EXPECT_EQ(client.read_message().status, 502u);
    EXPECT_EQ(relay.plan.failure(), HTTP_RELAY_CLOSED_EARLY);
    EXPECT_EQ(second.connections(), 0);
    client.send(get());
    EXPECT_EQ(client.read_message().body, "second") << "the client's connection goes on";
}

TEST(RelayFailover, APostThatIsSafeToRepeatIsRepeated)
{
    Upstream first([](Peer &peer) { peer.read_message(); });
    Upstream second([](Peer &peer) { peer.send(ok(peer.read_message().body)); });
    Relay relay({first.url(), second.url()});
    relay.plan.safe_to_repeat = true;
    Peer client = relay.server.connect();
    client.send(post("count words"));
    EXPECT_EQ(client.read_message().body, "count words");
}

TEST(RelayFailover, AnAttemptThatIsGivenUpGoesElsewhereIfItMay)
{
    std::atomic<int> asked{0};
    Upstream silent([&](Peer &peer) {
        peer.read_message();
        asked++;
        peer.read_message(); // until the relay closes
    });
    Upstream begun([](Peer &peer) {
        peer.read_message();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
        peer.read_message();
    });
    Upstream second(always(ok("second")));
    http_exchange *exchange = nullptr;
    for (bool repeatable : {true, false}) {
        RelayPlan plan({silent.url(), second.url()});
        Server server([&](http_exchange *taken) {
            exchange = taken;
            relay(&server, taken, &plan);
        });
        Peer client = server.connect();
        int before = asked;
        client.send(repeatable ? get() : post("pay"));
        ASSERT_TRUE(eventually([&] { return asked > before; }));
        server.run([&] { http_relay_give_up_attempt(exchange); });
        if (repeatable) {
            EXPECT_EQ(client.read_message().body, "second");
            EXPECT_EQ(plan.attempts()[0].result, HTTP_RELAY_TIMEOUT);
            EXPECT_TRUE(plan.attempts()[0].will_retry);
        } else {
            EXPECT_EQ(plan.attempts().size(), 0u) << "it goes on to wait";
        }
    }
    RelayPlan plan({begun.url(), second.url()});
    Server server([&](http_exchange *taken) {
        exchange = taken;
        relay(&server, taken, &plan);
    });
    Peer client = server.connect();
    client.send(get());
    client.read_until("ha");
    server.run([&] { http_relay_give_up_attempt(exchange); });
    EXPECT_EQ(plan.attempts().size(), 0u) << "an answer that has begun is let be";
    EXPECT_EQ(second.connections(), 1);
}

TEST(RelayFailover, ABodyTooLongToBeKeptIsNotRepeated)
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

TEST(RelayFailover, AnAnswerThatHasBegunIsNeverRepeated)
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

TEST(RelayFailover, TriesNoMoreOftenThanAllowed)
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

TEST(RelayFailover, WhatOneDeclinesTheNextIsAsked)
{
    Upstream first(always("HTTP/1.1 503 no\r\nContent-Length: 4\r\n\r\nbusy"));
    std::string seen;
    Upstream second([&](Peer &peer) {
        seen = peer.read_message().body;
        peer.send(ok("second"));
    });
    Relay relay({first.url(), second.url()});
    relay.plan.declined_status = 503;
    Peer client = relay.server.connect();
    client.send(post("a body"));
    EXPECT_EQ(client.read_message().body, "second") << "whatever the method";
    EXPECT_EQ(seen, "a body");
    auto attempts = relay.plan.attempts();
    ASSERT_EQ(attempts.size(), 2u);
    EXPECT_EQ(attempts[0].result, HTTP_RELAY_DECLINED);
    EXPECT_EQ(attempts[0].status, 503u);
    EXPECT_TRUE(attempts[0].will_retry);
}

TEST(RelayFailover, TheLastOnesRefusalIsPassedOn)
{
    Upstream only(always("HTTP/1.1 503 no\r\nContent-Length: 4\r\n\r\nbusy"));
    Relay relay({only.url()});
    relay.plan.declined_status = 503;
    relay.plan.attempts_max = 1;
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_EQ(client.read_message().body, "busy");
    EXPECT_EQ(relay.plan.attempts()[0].result, HTTP_RELAY_ANSWERED);
}

TEST(RelayFailover, ARefusalOfABodyTooLongToBeKeptIsPassedOn)
{
    Upstream first(always("HTTP/1.1 503 no\r\nContent-Length: 4\r\n\r\nbusy"));
    Upstream second(always(ok("second")));
    Relay relay({first.url(), second.url()});
    relay.plan.declined_status = 503;
    Peer client = relay.server.connect();
    client.send(post(std::string(200000, 'x')));
    EXPECT_EQ(client.read_message().body, "busy");
}

TEST(RelayFailover, ABodyThatWasCollectedIsSentToEachOne)
{
    for (bool chunked : {false, true}) {
        Upstream first([](Peer &peer) {
            peer.read_message();
            peer.reset();
        });
        std::string seen;
        Upstream second([&](Peer &peer) {
            seen = peer.read_message().body;
            peer.send(ok("second"));
        });
        Relay relay({first.url(), second.url()});
        relay.plan.safe_to_repeat = true;
        relay.plan.collects = true;
        Peer client = relay.server.connect();
        const std::string body(100000, 'b'); // more than is kept of one that streams
        if (chunked)
            client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + body + "\r\n0\r\n\r\n");
        else
            client.send(post(body));
        EXPECT_EQ(client.read_message().body, "second") << chunked;
        EXPECT_TRUE(seen == body) << chunked;
    }
}

TEST(RelayFailover, PrivateAddressesAreNotConnectedToWhenTheyMustNotBe)
{
    Upstream upstream(always(ok("inside")));
    http_upstreams_config config = {};
    config.public_only = true;
    Relay relay({upstream.url()}, config);
    Peer client = relay.server.connect();
    client.send(get());
    EXPECT_EQ(client.read_message().status, 502u);
    EXPECT_EQ(relay.plan.failure(), HTTP_RELAY_CONNECT_FAILED);
    EXPECT_EQ(upstream.connections(), 0);
}

TEST(RelayFailover, WithoutAnUpstreamItAnswers503)
{
    Relay relay({});
    Peer client = relay.server.connect();
    client.send(post(std::string(10000, 'x')) + get());
    EXPECT_EQ(client.read_message().status, 503u);
    EXPECT_EQ(client.read_message().status, 503u);
    EXPECT_EQ(relay.plan.failure(), HTTP_RELAY_NO_TARGET);
    EXPECT_TRUE(relay.plan.attempts().empty());
}

TEST(RelayFailover, AStalePooledConnectionIsReplacedWithoutTheClientNoticing)
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

TEST(RelayFailover, AClosedPooledConnectionIsNotUsed)
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

TEST(RelayFailover, KillingAnUpstreamFailsNoRequestThatIsSafeToRepeat)
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

TEST(RelayFailover, AnUpstreamThatDoesNotAnswerIs504)
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

TEST(RelayFailover, AnUpstreamThatDoesNotAcceptIs504)
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

TEST(RelayFailover, AnAnswerThatStallsIsCutOff)
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

TEST(RelayFailover, ResolvesNamesAside)
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

TEST(RelayFailover, AClientThatGoesAwayWhileANameIsResolvedIsHarmless)
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
