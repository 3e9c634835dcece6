// Calls of HTTP servers that strangers name: not on this machine, not on this network.

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>

extern "C" {
#include "common/http_calls.h"
}

namespace
{

// Answers every connection with 204, or something else, and closes it.
class Server
{
  public:
    explicit Server(const std::string &text = "HTTP/1.1 204 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        : answer(text), listener(socket(AF_INET, SOCK_STREAM, 0))
    {
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t bytes = sizeof address;
        EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        EXPECT_EQ(listen(listener, 8), 0);
        EXPECT_EQ(getsockname(listener, reinterpret_cast<sockaddr *>(&address), &bytes), 0);
        port = ntohs(address.sin_port);
        thread = std::thread([this] { Serve(); });
    }
    ~Server()
    {
        shutdown(listener, SHUT_RDWR);
        thread.join();
        close(listener);
    }
    int port;
    std::atomic<int> connections{0};
    std::string asked; // the last head; read it when the answer is there

  private:
    void Serve()
    {
        for (int connection; (connection = accept(listener, nullptr, nullptr)) >= 0;) {
            char head[4096];
            connections++;
            ssize_t bytes = read(connection, head, sizeof head);
            if (bytes > 0) {
                asked = std::string(head, (size_t)bytes);
                (void)!write(connection, answer.data(), answer.size());
            }
            close(connection);
        }
    }
    std::string answer;
    int listener;
    std::thread thread;
};

class HttpCallsTest : public ::testing::Test
{
  protected:
    HttpCallsTest() : loop(rpc_loop_create()), calls(http_calls_create(loop, "test", 8)) {}
    ~HttpCallsTest() override
    {
        http_calls_destroy(calls);
        rpc_loop_turn(loop, 0);
        rpc_loop_destroy(loop);
    }

    struct Batch {
        http_call_batch batch = {}; // first
        http_call call = {};
        bool done = false;
    };

    // The status; 0: no answer, `error` says why.
    long Get(const std::string &url, bool public_only, const char *if_none_match = nullptr)
    {
        Batch one;
        one.batch.if_none_match = if_none_match;
        one.batch.packed = if_none_match != nullptr;
        one.call.url = const_cast<char *>(url.c_str());
        one.batch.calls = &one.call;
        one.batch.call_count = 1;
        one.batch.timeout_ms = 20000;
        one.batch.public_only = public_only;
        one.batch.done = [](http_call_batch *batch) { reinterpret_cast<Batch *>(batch)->done = true; };
        EXPECT_TRUE(http_calls_send(calls, &one.batch));
        while (!one.done)
            rpc_loop_turn(loop, 100);
        error = one.call.error;
        etag = one.call.etag;
        buffer_free(&one.call.response);
        return one.call.status;
    }

    rpc_loop *loop;
    http_calls *calls;
    std::string error, etag;
};

TEST_F(HttpCallsTest, PublicOnlyMeansThatNothingHereIsConnectedTo)
{
    Server server;
    std::string port = std::to_string(server.port);
    for (const char *host : {"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "0.0.0.0"}) {
        EXPECT_EQ(Get("http://" + std::string(host) + ":" + port + "/", true), 0) << host;
        EXPECT_FALSE(error.empty());
    }
    EXPECT_EQ(server.connections, 0);
    EXPECT_EQ(Get("http://127.0.0.1:" + port + "/", false), 204) << error;
    EXPECT_EQ(server.connections, 1);
    EXPECT_EQ(Get("http://127.0.0.1:" + port + "/", true), 0);
    EXPECT_NE(error.find("private address"), std::string::npos) << error;
    EXPECT_EQ(server.connections, 1);
}

TEST_F(HttpCallsTest, ETagsComeAndGo)
{
    const std::string end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    const auto ask = [&](const std::string &headers, const char *if_none_match) {
        Server server("HTTP/1.1 304 Not Modified\r\n" + headers + end);
        EXPECT_EQ(Get("http://127.0.0.1:" + std::to_string(server.port) + "/", false, if_none_match), 304) << error;
        return server.asked;
    };
    std::string head = ask("ETag: W/\"b\"\r\n", "W/\"a\"");
    EXPECT_NE(head.find("If-None-Match: W/\"a\"\r\n"), std::string::npos) << head;
    EXPECT_NE(head.find("Accept-Encoding: gzip\r\n"), std::string::npos) << head;
    EXPECT_EQ(etag, "W/\"b\"");
    head = ask("", nullptr);
    EXPECT_EQ(head.find("If-None-Match"), std::string::npos);
    EXPECT_EQ(head.find("Accept-Encoding"), std::string::npos);
    EXPECT_EQ(etag, "");
    (void)ask("ETag: " + std::string(127, 'x') + "\r\n", nullptr);
    EXPECT_EQ(etag, std::string(127, 'x'));
    (void)ask("ETag: " + std::string(128, 'x') + "\r\n", nullptr);
    EXPECT_EQ(etag, "") << "too long to be kept";
}

} // namespace
