// The commands of an edge worker, as a shell reads them.

extern "C" {
#include "services/worker/edge_services.h"
}

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

namespace
{

std::string command(enum edge_service service, const struct edge_settings &settings)
{
    struct buffer out = BUFFER_INIT;
    edge_service_command(service, &settings, &out);
    std::string text(out.data, out.bytes);
    buffer_free(&out);
    return text;
}

// The words that a shell makes of it, without the program.
std::vector<std::string> words(const std::string &text)
{
    std::vector<std::string> list;
    std::string line =
        "set -- " + text.substr(text.find(' ') + 1) + "; shift; for word; do printf '<%s>' \"$word\"; done";
    FILE *shell = popen(("/bin/sh -c \"$(cat <<'END'\n" + line + "\nEND\n)\"").c_str(), "r");
    std::string output;
    for (int c; (c = fgetc(shell)) != EOF;)
        output += (char)c;
    pclose(shell);
    for (size_t at = 0; at < output.size();) {
        size_t end = output.find('>', at);
        list.push_back(output.substr(at + 1, end - at - 1));
        at = end + 1;
    }
    return list;
}

std::string value(const std::vector<std::string> &list, const std::string &flag)
{
    for (size_t i = 0; i + 1 < list.size(); i++) {
        if (list[i] == "--" + flag)
            return list[i + 1];
    }
    return "(none)";
}

const struct edge_settings PLAIN = {"/bin/musterctl",    "/bin/muster-gateway",     "/data/muster-edge-e1", "e1", "uk",
                                    "http://a,http://b", "https://api.example.org", "/etc/keys.json"};

TEST(EdgeServices, TheCoordinatorJoinsUnderTheWorkersUrl)
{
    std::string text = command(EDGE_COORDINATOR, PLAIN);
    EXPECT_EQ(text.rfind("exec '/bin/musterctl' up ", 0), 0u) << text;
    std::vector<std::string> list = words(text);
    EXPECT_EQ(value(list, "host"), "127.0.0.1");
    EXPECT_EQ(value(list, "port"), "{port}");
    EXPECT_EQ(value(list, "join"), "https://api.example.org");
    EXPECT_EQ(value(list, "public-url"), "{url}/service/coordinator");
    EXPECT_EQ(value(list, "coordinator-id"), "e1-coordinator");
    EXPECT_EQ(value(list, "data-dir"), "/data/muster-edge-e1-coordinator");
    EXPECT_EQ(value(list, "location"), "uk");
    EXPECT_EQ(value(list, "api-keys"), "/etc/keys.json");
    EXPECT_EQ(value(list, "tunnel"), "") << "the worker's own";
}

TEST(EdgeServices, TheOthersGoByTheWorkersCoordinators)
{
    std::vector<std::string> proxy = words(command(EDGE_PROXY, PLAIN)),
                             balancer = words(command(EDGE_LOAD_BALANCER, PLAIN));
    EXPECT_EQ(value(proxy, "role"), "edge-proxy");
    EXPECT_EQ(value(proxy, "coordinator-url"), "http://a,http://b");
    EXPECT_EQ(value(proxy, "data-dir"), "/data/muster-edge-e1-edge-proxy");
    EXPECT_EQ(value(balancer, "role"), "load-balancer");
    EXPECT_EQ(value(balancer, "upstream-service"), "edge-proxy");
    EXPECT_EQ(value(balancer, "upstream-prefix"), "/service/edge-proxy");
    for (const std::vector<std::string> &list : {proxy, balancer}) {
        EXPECT_EQ(value(list, "host"), "127.0.0.1");
        EXPECT_EQ(value(list, "port"), "{port}");
        EXPECT_EQ(value(list, "api-keys"), "/etc/keys.json");
    }
}

TEST(EdgeServices, WhatOperatorsWriteIsOneWordEach)
{
    struct edge_settings odd = PLAIN;
    odd.location = "it's; touch /tmp/x `id` $(id) \"&";
    odd.folder = "/a b";
    std::vector<std::string> list = words(command(EDGE_COORDINATOR, odd));
    EXPECT_EQ(value(list, "location"), odd.location);
    EXPECT_EQ(value(list, "data-dir"), "/a b-coordinator");
    odd.location = "";
    EXPECT_EQ(value(words(command(EDGE_COORDINATOR, odd)), "location"), "");
}

} // namespace
