// The plan: which processes, in which order, and with which arguments.

extern "C" {
#include "services/ctl/plan.h"
}

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace
{

struct Plan : ::testing::Test {
    uint16_t ports[8] = {7101, 7102, 7103, 7104, 8080, 40001, 40002, 40003};
    plan_options options = {};
    plan p = {};

    void SetUp() override
    {
        options.host = "127.0.0.1";
        options.grpc_host = "127.0.0.1";
        options.data_dir = "/data";
        options.catalog = "";
        options.api_keys = "";
        options.log_level = "info";
        options.log_format = "text";
        options.dht_seeds = "";
        options.public_url = "";
        options.location = "";
        options.demo_workers = 3;
        options.ports = ports;
        options.ready_fd = 3;
    }
    void TearDown() override
    {
        plan_free(&p);
    }

    bool has(size_t process, const std::string &name)
    {
        const plan_process &planned = p.processes[process];
        for (size_t i = 0; i < planned.argument_count; i++)
            if (planned.arguments[i] == "--" + name)
                return true;
        return false;
    }

    // The value of a flag, or "(none)".
    std::string flag(size_t process, const std::string &name)
    {
        const plan_process &planned = p.processes[process];
        for (size_t i = 0; i + 1 < planned.argument_count; i += 2)
            if (planned.arguments[i] == "--" + name)
                return planned.arguments[i + 1];
        return "(none)";
    }
};

TEST_F(Plan, ProcessesAndTheirOrder)
{
    ASSERT_TRUE(plan_build(&p, &options));
    ASSERT_EQ(p.count, 8u);
    std::vector<std::string> names, binaries;
    std::vector<unsigned> stages;
    for (size_t i = 0; i < p.count; i++) {
        names.emplace_back(p.processes[i].name);
        binaries.emplace_back(p.processes[i].binary);
        stages.push_back(p.processes[i].stage);
    }
    EXPECT_EQ(names, (std::vector<std::string>{"muster-registry", "muster-assigner", "muster-health", "muster-router",
                                               "muster-gateway", "demo-1", "demo-2", "demo-3"}));
    EXPECT_EQ(binaries[5], "muster-worker");
    EXPECT_EQ(stages, (std::vector<unsigned>{0, 1, 2, 2, 3, 4, 4, 4}));
}

TEST_F(Plan, EveryProcessKnowsWhereItListensAndHowToSayThatItIsReady)
{
    ASSERT_TRUE(plan_build(&p, &options));
    for (size_t i = 0; i < p.count; i++) {
        EXPECT_EQ(flag(i, "host"), "127.0.0.1");
        EXPECT_EQ(flag(i, "port"), std::to_string(ports[i]));
        EXPECT_EQ(flag(i, "ready-fd"), "3");
        EXPECT_EQ(p.processes[i].arguments[p.processes[i].argument_count], nullptr);
    }
    EXPECT_STREQ(p.processes[PLAN_GATEWAY].address, "127.0.0.1:8080");
}

TEST_F(Plan, EveryProcessKnowsWhomItCalls)
{
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_EQ(flag(PLAN_REGISTRY, "assigner-address"), "127.0.0.1:7102");
    EXPECT_EQ(flag(PLAN_REGISTRY, "registry-address"), "(none)");
    EXPECT_EQ(flag(PLAN_REGISTRY, "data-dir"), "/data");
    EXPECT_EQ(flag(PLAN_ASSIGNER, "registry-address"), "127.0.0.1:7101");
    EXPECT_EQ(flag(PLAN_ASSIGNER, "health-address"), "127.0.0.1:7103");
    EXPECT_EQ(flag(PLAN_HEALTH, "registry-address"), "127.0.0.1:7101");
    EXPECT_EQ(flag(PLAN_ROUTER, "registry-address"), "127.0.0.1:7101");
    EXPECT_EQ(flag(PLAN_ROUTER, "assigner-address"), "127.0.0.1:7102");
    EXPECT_EQ(flag(PLAN_ROUTER, "health-address"), "127.0.0.1:7103");
    EXPECT_EQ(flag(PLAN_GATEWAY, "registry-address"), "127.0.0.1:7101");
    EXPECT_EQ(flag(PLAN_GATEWAY, "assigner-address"), "127.0.0.1:7102");
    EXPECT_EQ(flag(PLAN_GATEWAY, "health-address"), "127.0.0.1:7103");
    EXPECT_EQ(flag(PLAN_GATEWAY, "router-address"), "127.0.0.1:7104");
}

TEST_F(Plan, KeysAreTheGatewaysAndTokensAreAskedForByHealth)
{
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_EQ(flag(PLAN_GATEWAY, "api-keys"), "");
    for (size_t i = 0; i < p.count; i++)
        EXPECT_FALSE(has(i, "insecure") || has(i, "worker-tokens"));
    plan_free(&p);
    options.api_keys = "/keys.json";
    options.worker_tokens = true;
    options.insecure = true;
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_EQ(flag(PLAN_GATEWAY, "api-keys"), "/keys.json");
    for (size_t i = 0; i < p.count; i++) {
        EXPECT_EQ(has(i, "worker-tokens"), i == PLAN_HEALTH);
        EXPECT_EQ(has(i, "insecure"), i <= PLAN_GATEWAY) << "a worker has no such setting";
    }
}

TEST_F(Plan, DemoWorkersRegisterUnderTheirNames)
{
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_EQ(flag(6, "worker-id"), "demo-2");
    EXPECT_EQ(flag(6, "worker-type"), "cpu");
    EXPECT_EQ(flag(6, "coordinator-url"), "http://127.0.0.1:8080");
}

TEST_F(Plan, AGatewayOnAllAddressesIsReachedOnTheLoopback)
{
    options.host = "0.0.0.0";
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_EQ(flag(PLAN_GATEWAY, "host"), "0.0.0.0");
    EXPECT_EQ(flag(PLAN_REGISTRY, "host"), "127.0.0.1");
    EXPECT_EQ(flag(5, "coordinator-url"), "http://127.0.0.1:8080");
    options.host = "::";
    char url[64];
    plan_local_url(&options, url, sizeof(url));
    EXPECT_STREQ(url, "http://[::1]:8080");
}

TEST_F(Plan, ANodeOfTheHashTableStandsBehindTheGateway)
{
    options.dht = true;
    options.dht_seeds = "http://a,http://b";
    options.coordinator_id = "uk-1";
    options.location = "uk";
    options.dht_private_peers = true;
    options.demo_workers = 2;
    ports[5] = 7105;
    EXPECT_EQ(plan_process_count(&options), 8u);
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_STREQ(p.processes[PLAN_DHT].name, "muster-dht");
    EXPECT_EQ(p.processes[PLAN_DHT].stage, 3u);
    EXPECT_STREQ(p.processes[6].name, "demo-1");
    EXPECT_EQ(flag(PLAN_GATEWAY, "dht-address"), "127.0.0.1:7105");
    EXPECT_EQ(flag(PLAN_DHT, "registry-address"), "127.0.0.1:7101");
    EXPECT_EQ(flag(PLAN_DHT, "router-address"), "127.0.0.1:7104");
    EXPECT_EQ(flag(PLAN_DHT, "data-dir"), "/data");
    EXPECT_EQ(flag(PLAN_DHT, "dht-seeds"), "http://a,http://b");
    EXPECT_EQ(flag(PLAN_DHT, "coordinator-id"), "uk-1") << "it is what the records say";
    EXPECT_EQ(flag(PLAN_GATEWAY, "coordinator-id"), "uk-1");
    EXPECT_EQ(flag(PLAN_DHT, "location"), "uk");
    EXPECT_EQ(flag(PLAN_DHT, "public-url"), "http://127.0.0.1:8080");
    const plan_process &dht = p.processes[PLAN_DHT];
    EXPECT_STREQ(dht.arguments[dht.argument_count - 1], "--dht-private-peers");
    plan_free(&p);
    options.public_url = "https://uk.example.org";
    options.dht_private_peers = false;
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_EQ(flag(PLAN_DHT, "public-url"), "https://uk.example.org");
}

TEST_F(Plan, ATunnelOutlivesTheGatewayThatIsReachedThroughIt)
{
    options.demo_workers = 1;
    options.tunnel = true;
    options.public_url = "https://uk.example.org";
    options.cloudflared = "/opt/cloudflared";
    options.tunnel_credentials = "";
    options.insecure = true;
    EXPECT_EQ(plan_process_count(&options), 7u);
    ASSERT_TRUE(plan_build(&p, &options));
    const size_t tunnel = 5;
    EXPECT_FALSE(plan_listens(&options, tunnel));
    EXPECT_TRUE(plan_listens(&options, 6) && plan_listens(&options, PLAN_GATEWAY));
    EXPECT_STREQ(p.processes[tunnel].name, "muster-tunnel");
    EXPECT_STREQ(p.processes[tunnel].address, "");
    EXPECT_LT(p.processes[tunnel].stage, p.processes[PLAN_GATEWAY].stage) << "stages stop the other way round";
    EXPECT_EQ(flag(tunnel, "port"), "(none)");
    EXPECT_EQ(flag(tunnel, "origin"), "http://127.0.0.1:8080");
    EXPECT_EQ(flag(tunnel, "public-url"), "https://uk.example.org");
    EXPECT_EQ(flag(tunnel, "cloudflared"), "/opt/cloudflared");
    EXPECT_FALSE(has(tunnel, "insecure")) << "it has no such setting";
    EXPECT_EQ(flag(tunnel, "url-file"), flag(PLAN_GATEWAY, "public-url-file"));
    EXPECT_EQ(flag(PLAN_GATEWAY, "public-url"), "") << "not before the tunnel is connected";
    EXPECT_STREQ(p.processes[6].name, "demo-1");
    EXPECT_EQ(flag(6, "tunnel"), "") << "the demo workers open none of their own";
    plan_free(&p);
    options.dht = true;
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_STREQ(p.processes[PLAN_DHT].name, "muster-dht");
    EXPECT_STREQ(p.processes[6].name, "muster-tunnel");
}

TEST_F(Plan, WithoutDemoWorkers)
{
    options.demo_workers = 0;
    ASSERT_TRUE(plan_build(&p, &options));
    EXPECT_EQ(p.count, 5u);
    EXPECT_EQ(flag(PLAN_GATEWAY, "dht-address"), "(none)");
}

} // namespace
