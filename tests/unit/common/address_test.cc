// Which addresses a stranger may make us call.

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/un.h>

extern "C" {
#include "common/address.h"
}

namespace
{

TEST(AddressTest, PublicOnes)
{
    for (const char *text : {"1.1.1.1",          "8.8.8.8",         "9.255.255.255",        "11.0.0.0",
                             "100.63.255.255",   "100.128.0.0",     "126.255.255.255",      "128.0.0.0",
                             "169.253.255.255",  "169.255.0.0",     "172.15.255.255",       "172.32.0.0",
                             "192.167.255.255",  "192.169.0.0",     "198.17.255.255",       "198.20.0.0",
                             "223.255.255.255",  "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8",
                             "64:ff9b::8.8.8.8", "2002:808:808::1"})
        EXPECT_TRUE(address_text_is_public(text)) << text;
}

TEST(AddressTest, OthersAndWhatIsNone)
{
    for (const char *text : {"0.0.0.0",
                             "0.255.255.255",
                             "10.0.0.0",
                             "10.255.255.255",
                             "100.64.0.0",
                             "100.127.255.255",
                             "127.0.0.1",
                             "127.255.255.255",
                             "169.254.0.0",
                             "169.254.169.254",
                             "172.16.0.0",
                             "172.31.255.255",
                             "192.0.0.8",
                             "192.0.2.1",
                             "192.168.0.0",
                             "192.168.255.255",
                             "198.18.0.0",
                             "198.19.255.255",
                             "198.51.100.7",
                             "203.0.113.7",
                             "224.0.0.1",
                             "240.0.0.1",
                             "255.255.255.255",
                             "::",
                             "::1",
                             "fe80::1",
                             "fc00::1",
                             "fd12::1",
                             "ff02::1",
                             "2001:db8::1",
                             "2001::1",
                             "::ffff:127.0.0.1",
                             "::ffff:10.0.0.1",
                             "64:ff9b::127.0.0.1",
                             "2002:7f00:1::1",
                             "::7f00:1",
                             "localhost",
                             "",
                             "1.1.1",
                             "1.1.1.1:80",
                             "01.1.1.1x"})
        EXPECT_FALSE(address_text_is_public(text)) << text;
}

TEST(AddressTest, OfSockets)
{
    sockaddr_in v4 = {};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = inet_addr("8.8.8.8");
    EXPECT_TRUE(address_is_public(reinterpret_cast<sockaddr *>(&v4)));
    v4.sin_addr.s_addr = inet_addr("127.0.0.1");
    EXPECT_FALSE(address_is_public(reinterpret_cast<sockaddr *>(&v4)));
    sockaddr_in6 v6 = {};
    v6.sin6_family = AF_INET6;
    inet_pton(AF_INET6, "2606:4700::1111", &v6.sin6_addr);
    EXPECT_TRUE(address_is_public(reinterpret_cast<sockaddr *>(&v6)));
    sockaddr_un local = {};
    local.sun_family = AF_UNIX;
    EXPECT_FALSE(address_is_public(reinterpret_cast<sockaddr *>(&local)));
}

TEST(AddressTest, HostsThatSpellWhatIsInside)
{
    for (const char *host : {"127.0.0.1", "127.1", "0x7f000001", "2130706433", "017700000001", "10.0.0.1", "::1",
                             "::ffff:10.0.0.1", "fe80::1", "localhost", "LocalHost", "localhost.", "a.localhost"})
        EXPECT_TRUE(address_host_is_inside(host)) << host;
    for (const char *host :
         {"8.8.8.8", "134744072", "2606:4700::1", "example.org", "notlocalhost", "localhost.example", "", "."})
        EXPECT_FALSE(address_host_is_inside(host)) << host;
}

} // namespace
