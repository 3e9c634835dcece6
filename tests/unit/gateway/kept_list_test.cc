// The file of a list: it comes back as it was, or not at all.

extern "C" {
#include "gateway/proxy/kept_list.h"
}

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace
{

const std::string URL = "https://uk.example.org";

std::string file_of(const std::string &url, const std::string &body, const char *etag = "W/\"a-1\"")
{
    struct kept_list list = {};
    list.as_of_ms = 1767609000125;
    list.body = body.data();
    list.body_bytes = body.size();
    strcpy(list.etag, etag);
    struct buffer out = BUFFER_INIT;
    kept_list_write_head(url.c_str(), &list, &out);
    std::string text(out.data, out.bytes);
    buffer_free(&out);
    return text + body;
}

struct Read {
    bool fine;
    struct kept_list list;
    std::string problem;
};

Read read(const std::string &text, const std::string &url = URL)
{
    Read read = {};
    char problem[160] = "";
    read.fine = kept_list_read(text.data(), text.size(), url.c_str(), &read.list, problem, sizeof problem);
    read.problem = problem;
    return read;
}

TEST(KeptList, ComesBackAsItWas)
{
    for (const std::string &body : {std::string(R"({"workers": []})"), std::string(), std::string("a\nb\0c", 5)}) {
        std::string file = file_of(URL, body);
        Read back = read(file);
        ASSERT_TRUE(back.fine) << back.problem;
        EXPECT_EQ(std::string(back.list.body, back.list.body_bytes), body);
        EXPECT_EQ(back.list.as_of_ms, 1767609000125);
        EXPECT_STREQ(back.list.etag, "W/\"a-1\"");
    }
    EXPECT_STREQ(read(file_of(URL, "x", "")).list.etag, "");
}

TEST(KeptList, AFileThatIsCutOrChangedAnywhereIsRefused)
{
    std::string file = file_of(URL, R"({"workers": [{"worker_id": "a"}]})");
    for (size_t i = 0; i < file.size(); i++) {
        Read cut = read(file.substr(0, i));
        EXPECT_FALSE(cut.fine) << "cut at " << i;
        EXPECT_NE(cut.problem, "");
    }
    size_t body = file.find('\n') + 1;
    for (size_t i = body; i < file.size(); i++) {
        std::string changed = file;
        changed[i] ^= 1;
        EXPECT_EQ(read(changed).problem, "its content was changed") << i;
    }
    EXPECT_FALSE(read(file + "x").fine);
    EXPECT_FALSE(read(file + file).fine);
}

TEST(KeptList, WhatIsNotItsOwnIsRefused)
{
    EXPECT_EQ(read(file_of("https://us.example.org", "x")).problem, "it is another coordinator's");
    std::string other = file_of(URL, "x");
    other.replace(other.find("list 1"), 6, "list 2");
    EXPECT_NE(read(other).problem.find("format"), std::string::npos);
    EXPECT_FALSE(read("[]\n").fine);
    EXPECT_FALSE(read("{}\n").fine);
    EXPECT_FALSE(read(std::string(100000, ' ')).fine) << "no line";
    std::string long_etag = file_of(URL, "x");
    long_etag.replace(long_etag.find("W/"), 2, std::string(200, 'w'));
    EXPECT_FALSE(read(long_etag).fine);
}

TEST(KeptList, EachCoordinatorHasAFileOfItsOwn)
{
    char one[KEPT_LIST_NAME_BYTES], again[KEPT_LIST_NAME_BYTES], other[KEPT_LIST_NAME_BYTES];
    kept_list_name("https://uk.example.org", one);
    kept_list_name("https://uk.example.org", again);
    kept_list_name("https://us.example.org/../..", other);
    EXPECT_STREQ(one, again);
    EXPECT_STRNE(one, other);
    EXPECT_EQ(strchr(other, '/'), nullptr);
}

} // namespace
