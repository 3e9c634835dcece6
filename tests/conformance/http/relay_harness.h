// What the tests of the relay share: messages, an upstream that always answers the same, and a
// server that relays everything.

#pragma once

#include "tests/conformance/http/harness.h"

#include <gtest/gtest.h>

inline std::string get(const std::string &path = "/", const std::string &fields = "")
{
    return "GET " + path + " HTTP/1.1\r\nHost: front\r\n" + fields + "\r\n";
}

inline std::string post(const std::string &body, const std::string &fields = "")
{
    return "POST / HTTP/1.1\r\nHost: front\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

inline std::string ok(const std::string &body, const std::string &fields = "")
{
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body;
}

// Answers every request on a connection alike.
inline std::function<void(Peer &)> always(const std::string &answer)
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
        : plan(std::move(urls)), server([this](http_exchange *exchange) { relay(&server, exchange, &plan); }, config, upstreams)
    {
    }
    RelayPlan plan;
    Server server;
};
