// A long list, taken apart while it comes in.

extern "C" {
#include "common/json/splitter.h"
}

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace
{

struct Split {
    std::vector<std::string> elements; // "(too long)" for one that was
    std::string error;                 // "" when all was well
};

Split split(const std::string &text, size_t piece_bytes, size_t limit = 100)
{
    Split result;
    json_splitter splitter;
    json_splitter_init(&splitter, "workers", limit);
    for (size_t at = 0; at < text.size();) {
        size_t bytes = std::min(piece_bytes, text.size() - at);
        // A copy of its own, so that a read behind it is noticed.
        std::vector<char> piece(text.begin() + (long)at, text.begin() + (long)(at + bytes));
        for (size_t used = 0; used < bytes;) {
            used += json_splitter_feed(&splitter, piece.data() + used, bytes - used);
            if (splitter.state == JSON_SPLITTER_ELEMENT)
                result.elements.push_back(
                    splitter.too_long ? "(too long)" : std::string(splitter.element.data, splitter.element.bytes));
        }
        at += bytes;
    }
    if (!json_splitter_finish(&splitter))
        result.error = splitter.error;
    EXPECT_EQ(splitter.count, result.elements.size());
    json_splitter_free(&splitter);
    return result;
}

using Texts = std::vector<std::string>;

TEST(Splitter, TakesArraysAndObjectsApartHoweverTheyAreCut)
{
    const std::pair<std::string, Texts> good[] = {
        {"[]", {}},
        {" [ ] ", {}},
        {R"([{"a": "]}\"[{"}, [1, [2]], "te\\\"xt", 12.5e3, null,true])",
         {R"({"a": "]}\"[{"})", "[1, [2]]", R"("te\\\"xt")", "12.5e3", "null", "true"}},
        {R"({"workers": []})", {}},
        {R"({"total": 2, "x": {"workers": [9]}, "workers": [{"id": 1},{}], "healthy" : "a,]"})",
         {R"({"id": 1})", "{}"}},
        {R"({"\u0077orkers":[1]})", {"1"}},
        {"\n\t[\r\n1 , 2 ]\n", {"1", "2"}},
    };
    for (const auto &[text, elements] : good) {
        for (size_t piece = 1; piece <= text.size(); piece++) {
            Split result = split(text, piece);
            EXPECT_EQ(result.error, "") << text << " in pieces of " << piece;
            EXPECT_EQ(result.elements, elements) << text << " in pieces of " << piece;
        }
    }
}

TEST(Splitter, HandsOutAnotherMemberThatIsWanted)
{
    const auto wanted = [](const std::string &text) {
        json_splitter splitter;
        struct buffer found = BUFFER_INIT;
        json_splitter_init(&splitter, "workers", 100);
        splitter.wanted = "catalog";
        splitter.wanted_text = &found;
        for (size_t at = 0; at < text.size();)
            at += json_splitter_feed(&splitter, text.data() + at, text.size() - at);
        bool whole = json_splitter_finish(&splitter);
        std::string result =
            std::string(found.data == nullptr ? "" : found.data, found.bytes) + (whole ? "" : " (cut)");
        json_splitter_free(&splitter);
        buffer_free(&found);
        return result;
    };
    EXPECT_EQ(wanted(R"({"catalog": [{"a": 1}], "workers": [{"catalog": 2}], "other": 3})"), R"([{"a": 1}])");
    EXPECT_EQ(wanted(R"({"workers": [1], "catalog": "x" })"), "\"x\"");
    EXPECT_EQ(wanted(R"({"catalog": 1, "catalog": 2, "workers": []})"), "2");
    EXPECT_EQ(wanted(R"({"workers": []})"), "");
    EXPECT_EQ(wanted(R"({"workers": [], "catalog": [})"), " (cut)") << "what is no JSON is not handed out";
}

TEST(Splitter, RefusesWhatIsNoList)
{
    const std::pair<std::string, std::string> bad[] = {
        {"", "the text is cut off at byte 0"},
        {"   ", "the text is cut off at byte 3"},
        {"5", "neither an array nor an object at byte 0"},
        {"[", "the text is cut off at byte 1"},
        {"[1", "the text is cut off at byte 2"},
        {"[1,", "the text is cut off at byte 3"},
        {"[1,]", "no element at byte 3"},
        {"[,1]", "no element at byte 1"},
        {"[1 2]", "neither a comma nor the end of the list at byte 3"},
        {"[1}", "neither a comma nor the end of the list at byte 2"},
        {"[{}", "the text is cut off at byte 3"},
        {"[\"a", "the text is cut off at byte 3"},
        {"[] []", "something behind the end at byte 3"},
        {"{}", "there is no list workers at byte 2"},
        {R"({"workers": [1])", "the text is cut off at byte 15"},
        {R"({"workers": {}})", "workers is not an array at byte 12"},
        {R"({"workers": [], "workers": []})", "a second workers at byte 27"},
        {R"({"workers": [],})", "no key at byte 15"},
        {R"({workers: []})", "no key at byte 1"},
        {R"({"workers" []})", "no colon at byte 11"},
        {R"({"a": , "workers": []})", "the member a before this is not JSON"},
        {R"({"a": 01, "workers": []})", "the member a before this is not JSON"},
        {R"({"a\x": 1, "workers": []})", "a key that is not JSON"},
    };
    for (const auto &[text, error] : bad) {
        for (size_t piece = 1; piece <= text.size() + 1; piece++) {
            Split result = split(text, piece);
            EXPECT_EQ(result.error.substr(0, error.size()), error) << text << " in pieces of " << piece;
        }
    }
}

TEST(Splitter, PassesOverElementsThatAreTooLong)
{
    const std::string fits = '"' + std::string(98, 'x') + '"';
    const std::string longer = '"' + std::string(99, 'x') + '"';
    for (size_t piece : {1u, 7u, 1000u}) {
        Split result = split("[" + fits + "," + longer + ",3]", piece);
        EXPECT_EQ(result.error, "");
        EXPECT_EQ(result.elements, (Texts{fits, "(too long)", "3"}));
        EXPECT_NE(split("{\"a\": " + longer + ", \"workers\": []}", piece).error, "") << "not for other members";
    }
}

} // namespace
