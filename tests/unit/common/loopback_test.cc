// Which hosts only this machine can reach.

#include <gtest/gtest.h>

extern "C" {
#include "common/loopback.h"
}

namespace
{

TEST(Loopback, OnlyWhatNobodyElseReaches)
{
    for (const char *host : {"127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1", "localhost"})
        EXPECT_TRUE(host_is_loopback(host)) << host;
    for (const char *host :
         {"0.0.0.0", "::", "", "*", "10.0.0.1", "126.255.255.255", "128.0.0.1", "::2", "::ffff:10.0.0.1",
          "127.0.0.1.example.org", "127.1", "localhost.example.org", "LOCALHOST", "[::1]"})
        EXPECT_FALSE(host_is_loopback(host)) << host;
}

} // namespace
