// The relay over real sockets: bodies that are too long to be held, and tunnels.

#include "tests/conformance/http/relay_harness.h"

namespace {

// --- Long bodies -------------------------------------------------------------------------------------

TEST(RelayStream, StreamsALongUploadWithoutHoldingIt)
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

TEST(RelayStream, StreamsALongAnswerWithoutHoldingIt)
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

TEST(RelayStream, StreamsBothWaysAtOnce)
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

TEST(RelayStream, AnUpgradeBecomesATunnel)
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

TEST(RelayStream, AClientThatLeavesATunnelClosesTheUpstream)
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

TEST(RelayStream, A426SaysToWhatToUpgrade)
{
    Upstream upstream(always("HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                             "Content-Length: 2\r\n\r\nno"));
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    for (int i = 0; i < 2; i++) {
        client.send(get("/ws"));
        auto answer = client.read_message();
        EXPECT_EQ(answer.status, 426u);
        EXPECT_EQ(answer.fields["upgrade"], "websocket");
        EXPECT_EQ(answer.fields["connection"], "Upgrade");
        EXPECT_EQ(answer.body, "no");
    }
}

TEST(RelayStream, ARefusedUpgradeIsAnOrdinaryAnswer)
{
    Upstream upstream(always("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno"));
    Relay relay({upstream.url()});
    Peer client = relay.server.connect();
    client.send(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n") + get("/"));
    EXPECT_EQ(client.read_message().status, 426u);
    EXPECT_EQ(client.read_message().status, 426u);
}

} // namespace
