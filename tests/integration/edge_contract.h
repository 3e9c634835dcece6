// What the tests of "Edge federation" have in common: an edge router of either make with the coordinators behind it.
// Each file of tests instantiates the suite for both.

#pragma once

#include "tests/integration/edge_router.h"
#include "tests/integration/fake_worker.h"

#include <gtest/gtest.h>

inline CoordinatorOptions edge_options(const std::vector<std::string> &flags = {},
                                       const std::vector<std::string> &environment = {})
{
    CoordinatorOptions options;
    options.flags = {"--role", "edge-router"};
    options.flags.insert(options.flags.end(), flags.begin(), flags.end());
    options.environment = {"REGION_INTERVAL_SECONDS=0.2", "PEER_INTERVAL_SECONDS=0.3"};
    options.environment.insert(options.environment.end(), environment.begin(), environment.end());
    return options;
}

inline CoordinatorOptions joining(const std::string &id, const std::string &edge_url,
                                  const std::vector<std::string> &environment = {"JOIN_HEARTBEAT_SECONDS=0.2"})
{
    CoordinatorOptions options;
    options.flags = {"--join", edge_url, "--coordinator-id", id, "--location", id};
    options.environment = environment;
    return options;
}

class Edge : public testing::TestWithParam<EdgeMake>
{
};

inline void cut_off(EdgeRouter &edge)
{
    if (edge.program() != nullptr)
        edge.program()->cut_off();
    else
        edge.script()->cut_off();
}

inline Json coordinator_at(EdgeRouter &edge, const std::string &id)
{
    return edge.get("/api/admin/coordinators").json().find("worker_id", id);
}

inline bool has_joined(EdgeRouter &edge, const std::string &id)
{
    return eventually([&] { return coordinator_at(edge, id)["in_pool"].boolean(); });
}

inline std::string registration(const std::string &id, const std::string &url, const std::string &location = "")
{
    return R"({"worker_id": ")" + id + R"(", "tunnel_url": ")" + url + R"(", "location": ")" + location +
           R"(", "services": ["files"]})";
}

inline std::string heartbeat(const std::string &id)
{
    return R"({"worker_id": ")" + id + R"(", "current_load": 0.1})";
}

inline FakeWorker::Handler answering(const std::string &body)
{
    return [body](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer(body));
    };
}

// A coordinator made of nothing but its list of workers.
inline FakeWorker::Handler listing(const std::string &list)
{
    return [list](FakeWorker::Connection &connection, const std::string &head) {
        if (head.rfind("GET /api/admin/workers", 0) == 0)
            return connection.write(FakeWorker::answer(list));
        return connection.write("HTTP/1.1 503 no\r\nContent-Length: 2\r\n\r\n{}");
    };
}
