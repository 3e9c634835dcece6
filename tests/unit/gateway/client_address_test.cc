// Whose request it is: only who is trusted may say.

extern "C" {
#include "gateway/client_address.h"
}

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace
{

const char *const XFF = "X-Forwarded-For";

struct Rule {
    client_address_rule rule;
    char error[300] = "";
    bool fine;
    explicit Rule(const char *header, const char *proxies = "127.0.0.0/8,::1")
        : fine(client_address_rule_init(&rule, header, proxies, error, sizeof error))
    {
    }
    std::string client(const char *peer, const std::vector<std::string> &fields)
    {
        std::string text = "GET / HTTP/1.1\r\nHost: x\r\n";
        for (const std::string &field : fields)
            text += field + "\r\n";
        text += "\r\n";
        http_parser parser;
        http_head head;
        const http_limits limits = HTTP_LIMITS_DEFAULT;
        http_parser_init_request(&parser, &head, limits);
        EXPECT_EQ(http_parser_feed(&parser, &head, text.data(), text.size()), HTTP_PARSE_DONE);
        char address[CLIENT_ADDRESS_BYTES];
        client_address(&rule, &head, peer, address);
        return address;
    }
};

TEST(ClientAddress, NobodyIsBelievedWithoutASetting)
{
    Rule rule("");
    ASSERT_TRUE(rule.fine);
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: 1.2.3.4", "CF-Connecting-IP: 1.2.3.4"}), "127.0.0.1");
}

TEST(ClientAddress, OnlyTrustedProxiesAreBelieved)
{
    Rule rule("cf-connecting-ip", "10.0.0.0/8, 192.0.2.1,fd00::/8");
    ASSERT_TRUE(rule.fine);
    const std::vector<std::string> fields = {"CF-Connecting-IP: 81.2.69.160"};
    for (const char *proxy : {"10.0.0.1", "10.255.255.255", "192.0.2.1", "fd12::1", "::ffff:10.0.0.1"})
        EXPECT_EQ(rule.client(proxy, fields), "81.2.69.160") << proxy;
    for (const char *other : {"11.0.0.1", "9.255.255.255", "192.0.2.2", "192.0.2.0", "127.0.0.1", "fe00::1", "::1"})
        EXPECT_EQ(rule.client(other, fields), other);
    EXPECT_EQ(rule.client("10.0.0.1", {"X-Forwarded-For: 81.2.69.160"}), "10.0.0.1") << "that is another field";
    EXPECT_EQ(rule.client("somewhere", fields), "somewhere");
}

TEST(ClientAddress, OfAListTheLastOneThatIsNoProxy)
{
    Rule rule(XFF, "127.0.0.0/8,10.0.0.0/8");
    ASSERT_TRUE(rule.fine);
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: 6.6.6.6, 81.2.69.160"}), "81.2.69.160")
        << "what the client wrote itself stands before";
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: 6.6.6.6, 81.2.69.160, 10.1.1.1"}), "81.2.69.160");
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 81.2.69.160 ,\t10.1.1.1"}),
              "81.2.69.160");
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}), "10.0.0.3") << "all are proxies";
    EXPECT_EQ(rule.client("127.0.0.1", {}), "127.0.0.1");
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: 2001:db8::1"}), "2001:db8::1");
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: ::ffff:1.2.3.4"}), "1.2.3.4");
}

TEST(ClientAddress, WhatIsNoAddressEndsTheReading)
{
    Rule rule(XFF, "127.0.0.0/8,10.0.0.0/8");
    for (const char *list : {"", "unknown", "6.6.6.6,", "6.6.6.6, ,", "6.6.6.6, 1.2.3.4:80", "[::1]", "6.6.6.6, 1.2.3"})
        EXPECT_EQ(rule.client("127.0.0.1", {std::string("X-Forwarded-For: ") + list}), "127.0.0.1") << list;
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: 6.6.6.6, nonsense, 10.0.0.2"}), "10.0.0.2");
    EXPECT_EQ(rule.client("127.0.0.1", {"X-Forwarded-For: " + std::string(4000, '1')}), "127.0.0.1");
}

TEST(ClientAddress, SettingsFromBothSidesOfTheirLimits)
{
    EXPECT_TRUE(Rule(XFF, "0.0.0.0/0,::/0,1.2.3.4/32,::/128,10.0.0.0/9").fine);
    EXPECT_EQ(Rule(XFF, "10.128.0.0/9").client("10.127.0.1", {"X-Forwarded-For: 1.1.1.1"}), "10.127.0.1");
    EXPECT_EQ(Rule(XFF, "10.128.0.0/9").client("10.128.0.1", {"X-Forwarded-For: 1.1.1.1"}), "1.1.1.1");
    EXPECT_EQ(Rule(XFF, "0.0.0.0/0").client("::1", {"X-Forwarded-For: 1.1.1.1"}), "::1") << "those are IPv4's";
    for (const char *wrong : {"10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/8/8", "example.org", "10",
                              "10.0.0.0/0008", "/8"}) {
        Rule rule(XFF, wrong);
        EXPECT_FALSE(rule.fine) << wrong;
        EXPECT_NE(std::string(rule.error).find("no address or network"), std::string::npos) << rule.error;
    }
    std::string many = "10.0.0.1";
    for (int i = 1; i < CLIENT_ADDRESS_NETWORKS_MAX; i++)
        many += ",10.0.0.1";
    EXPECT_TRUE(Rule(XFF, many.c_str()).fine);
    EXPECT_FALSE(Rule(XFF, (many + ",10.0.0.1").c_str()).fine);
    EXPECT_FALSE(Rule("X Y").fine);
    EXPECT_FALSE(Rule("X:").fine);
    EXPECT_TRUE(Rule("X-Real-IP", "").fine);
}

} // namespace
