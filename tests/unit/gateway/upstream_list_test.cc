// A list of upstreams as people write it.

extern "C" {
#include "gateway/balancer/balancer.h"
#include "gateway/balancer/upstream_list.h"
}

#include <gtest/gtest.h>

#include <string>

namespace
{

// The URLs, or what is wrong.
std::string read(const std::string &text)
{
    struct upstream_list list;
    char problem[200] = "";
    if (!upstream_list_read(text.data(), text.size(), &list, problem, sizeof problem))
        return std::string("wrong: ") + problem;
    std::string urls;
    for (size_t i = 0; i < list.count; i++)
        urls += std::string(i > 0 ? " " : "") + list.urls[i];
    upstream_list_free(&list);
    return urls;
}

TEST(UpstreamList, TakesLinesCommasSpacesAndComments)
{
    EXPECT_EQ(read("http://a"), "http://a");
    EXPECT_EQ(read("http://a,http://b:1/x , https://c"), "http://a http://b:1/x https://c");
    EXPECT_EQ(read("# servers\n\n  http://a  # old\r\nhttp://b\r\n\t\n#http://c\nhttp://d"),
              "http://a http://b http://d");
    EXPECT_EQ(read("http://[::1]:80"), "http://[::1]:80");
}

TEST(UpstreamList, SaysWhichLineIsWrong)
{
    EXPECT_NE(read("http://a\n\nftp://b").find("line 3"), std::string::npos);
    EXPECT_NE(read("http://a\nhttp://u:p@b").find("line 2"), std::string::npos);
    EXPECT_NE(read("http://a?x").find("line 1"), std::string::npos);
    EXPECT_NE(read("localhost:80").find("line 1"), std::string::npos);
    for (const char *empty : {"", " \n ", "# nothing", ",,"})
        EXPECT_EQ(read(empty), "wrong: there is no URL") << empty;
    EXPECT_NE(read(std::string("http://a\0", 9)).find("zero byte"), std::string::npos);
}

TEST(UpstreamList, HasLimits)
{
    std::string many;
    for (int i = 0; i < BALANCER_UPSTREAMS_MAX; i++)
        many += "http://h" + std::to_string(i) + "\n";
    EXPECT_EQ(read(many).rfind("http://h0 ", 0), 0u);
    EXPECT_NE(read(many + "http://x").find("more than"), std::string::npos);
    std::string longest = "http://a\n";
    longest.resize(UPSTREAM_LIST_BYTES_MAX, ' ');
    EXPECT_EQ(read(longest), "http://a");
    EXPECT_NE(read(longest + " ").find("mebibyte"), std::string::npos);
}

} // namespace
