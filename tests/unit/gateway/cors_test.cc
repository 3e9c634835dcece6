// Which pages may call.

extern "C" {
#include "gateway/cors.h"
}

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace
{

std::map<std::string, std::string> headers(const std::string &list, const std::string &origin, bool preflight)
{
    struct cors cors;
    struct cors_headers result;
    EXPECT_TRUE(cors_parse(&cors, list.c_str()));
    cors_headers_for(&cors, {origin.data(), origin.size()}, preflight, &result);
    std::map<std::string, std::string> map;
    for (size_t i = 0; i < result.count; i++)
        map[result.headers[i].name] = result.headers[i].value;
    cors_free(&cors);
    return map;
}

TEST(Cors, AnyOrigin)
{
    EXPECT_EQ(headers("*", "https://x", false)["Access-Control-Allow-Origin"], "*");
    EXPECT_TRUE(headers("*", "", false).empty()) << "no Origin, nothing to say";
}

TEST(Cors, ListedOrigins)
{
    const std::string list = "https://a.org, https://b.org";
    auto allowed = headers(list, "https://b.org", false);
    EXPECT_EQ(allowed["Access-Control-Allow-Origin"], "https://b.org");
    EXPECT_EQ(allowed["Vary"], "Origin");
    auto others = headers(list, "https://b.org.evil", false);
    EXPECT_EQ(others.count("Access-Control-Allow-Origin"), 0u);
    EXPECT_EQ(others["Vary"], "Origin");
    EXPECT_EQ(headers(list, "https://" + std::string(1000, 'a'), false).count("Access-Control-Allow-Origin"), 0u);
    EXPECT_TRUE(headers("", "https://a.org", true).empty());
}

TEST(Cors, PreflightsSayMore)
{
    auto answer = headers("https://a.org", "https://a.org", true);
    EXPECT_EQ(answer["Access-Control-Max-Age"], "86400");
    EXPECT_NE(answer["Access-Control-Allow-Headers"].find("X-API-Key"), std::string::npos);
    EXPECT_NE(answer["Access-Control-Allow-Headers"].find("Authorization"), std::string::npos);
    EXPECT_NE(answer["Access-Control-Allow-Methods"].find("DELETE"), std::string::npos);
    EXPECT_EQ(headers("https://a.org", "https://b.org", true).count("Access-Control-Max-Age"), 0u);
}

} // namespace
