// The strict JSON reader: what it takes, what it refuses, and what it says then.

extern "C" {
#include "common/json/document.h"
}

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace
{

class Document
{
  public:
    explicit Document(std::string text) : text_(std::move(text))
    {
        parsed = json_document_parse(&document, text_.data(), text_.size());
    }
    ~Document()
    {
        json_document_free(&document);
    }
    std::string span(const json_node *node) const
    {
        return text_.substr(node->start, node->end - node->start);
    }
    static std::string text(const json_node *node)
    {
        return std::string(node->text, node->text_bytes);
    }

    bool parsed;
    struct json_document document;

  private:
    std::string text_;
};

TEST(JsonDocument, ReadsEveryType)
{
    Document d(R"( {"a": [1, -2.5e1, true, false, null], "b": {"c": "x"}, "d": "é"} )");
    ASSERT_TRUE(d.parsed) << d.document.error;
    const json_node *root = json_root(&d.document);
    EXPECT_EQ(root->type, JSON_TYPE_OBJECT);
    EXPECT_EQ(root->count, 3u);
    const json_node *a = json_member(&d.document, root, "a");
    ASSERT_NE(a, nullptr);
    uint32_t position = 0;
    const json_node *item = json_next(&d.document, a, &position, nullptr);
    EXPECT_TRUE(item->boolean);
    EXPECT_EQ(item->integer, 1);
    item = json_next(&d.document, a, &position, nullptr);
    EXPECT_FALSE(item->boolean);
    EXPECT_EQ(item->number, -25.0);
    item = json_next(&d.document, a, &position, nullptr);
    EXPECT_EQ(item->type, JSON_TYPE_BOOL);
    EXPECT_TRUE(item->boolean);
    item = json_next(&d.document, a, &position, nullptr);
    EXPECT_FALSE(item->boolean);
    item = json_next(&d.document, a, &position, nullptr);
    EXPECT_EQ(item->type, JSON_TYPE_NULL);
    EXPECT_EQ(json_next(&d.document, a, &position, nullptr), nullptr);
    const json_node *b = json_member(&d.document, root, "b");
    EXPECT_EQ(d.span(b), R"({"c": "x"})");
    EXPECT_TRUE(json_text_equals(json_member(&d.document, b, "c"), "x"));
    EXPECT_EQ(Document::text(json_member(&d.document, root, "d")), "é");
    EXPECT_EQ(json_member(&d.document, root, "c"), nullptr) << "c is a member of b only";
}

TEST(JsonDocument, DecodesEscapes)
{
    Document d(R"(["a\"\\\/\b\f\n\r\tz", "\u00e9\uD83D\uDE00!", "plain", "\u0041"])");
    ASSERT_TRUE(d.parsed) << d.document.error;
    uint32_t position = 0;
    const json_node *root = json_root(&d.document);
    EXPECT_EQ(Document::text(json_next(&d.document, root, &position, nullptr)), "a\"\\/\b\f\n\r\tz");
    EXPECT_EQ(Document::text(json_next(&d.document, root, &position, nullptr)), "é😀!");
    EXPECT_EQ(Document::text(json_next(&d.document, root, &position, nullptr)), "plain");
    EXPECT_EQ(Document::text(json_next(&d.document, root, &position, nullptr)), "A");
}

TEST(JsonDocument, TellsIntegersFromDoubles)
{
    Document d(
        "[9223372036854775807, -9223372036854775807, 9223372036854775808, 1.0, 1e2, -0, 12345678901234567890123]");
    ASSERT_TRUE(d.parsed) << d.document.error;
    const bool expected[] = {true, true, false, false, false, true, false};
    uint32_t position = 0;
    for (bool is_integer : expected)
        EXPECT_EQ(json_next(&d.document, json_root(&d.document), &position, nullptr)->boolean, is_integer);
}

TEST(JsonDocument, RefusesWhatIsNotStrictJson)
{
    const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\u0000\"",
        "\"a\nb\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe2\x82\"",
        "01",
        "-",
        "-a",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "1e400",
        "-1e400",
        "nul",
        "tru",
        "True",
        "NaN",
        "Infinity",
        "1 2",
        "{} {}",
        "[] x",
        "// c\n1",
        "/**/1",
        "\xef\xbb\xbf{}",
    };
    for (const char *text : bad) {
        Document d(text);
        EXPECT_FALSE(d.parsed) << text;
        EXPECT_NE(d.document.error[0], '\0') << text;
    }
    Document zero(std::string("\"a\0b\"", 5));
    EXPECT_FALSE(zero.parsed);
    Document behind(std::string("1\0", 2));
    EXPECT_FALSE(behind.parsed);
}

// Short numbers take another way than long ones: both read what the C library reads.
TEST(JsonDocument, ReadsNumbersAsTheLibraryDoes)
{
    std::vector<std::string> texts = {"0.1",
                                      "-0.0",
                                      "12.5",
                                      "0.42",
                                      "65.3",
                                      "9007199254740992.0",
                                      "9007199254740993.0",
                                      "900719925474099.3",
                                      "0.0000000000000000000001",
                                      "0.00000000000000000000001",
                                      "1.00000000000000000000000000000000001",
                                      "123456789012345678.5",
                                      "18446744073709551616.25",
                                      "1e22",
                                      "1.5e-3",
                                      "0.1e1",
                                      "99999999999999999999999999999999.5"};
    std::mt19937_64 random(4711);
    for (int i = 0; i < 20000; i++)
        texts.push_back(std::to_string(random() >> random() % 64) + "." + std::to_string(random() >> random() % 64));
    for (const std::string &text : texts) {
        Document d(text);
        ASSERT_TRUE(d.parsed) << text << ": " << d.document.error;
        double expected = strtod(text.c_str(), nullptr), read = json_root(&d.document)->number;
        ASSERT_EQ(memcmp(&read, &expected, sizeof read), 0) << text << " was read as " << read;
    }
}

TEST(JsonDocument, SeesEachCharacterWhereverItStands)
{
    for (int c = 1; c < 256; c++) {
        for (size_t before = 0; before < 20; before++) {
            // With its neighbours from where a borrow could come.
            for (char neighbour : {' ', '!', '#', '[', ']', '\x7f'}) {
                std::string plain(20, neighbour), text = plain;
                text[before] = static_cast<char>(c);
                if (c == '"' || c == '\\')
                    text.insert(before, "\\");
                Document d("\"" + text + "\"");
                bool legal = c >= 0x20 && c < 0x80;
                ASSERT_EQ(d.parsed, legal) << c << " behind " << before;
                if (legal) {
                    ASSERT_EQ(Document::text(json_root(&d.document)),
                              plain.replace(before, 1, 1, static_cast<char>(c)));
                }
            }
        }
    }
}

TEST(JsonDocument, SaysWhere)
{
    Document d("{\n  \"a\": 1,\n  \"b\": x}");
    EXPECT_FALSE(d.parsed);
    EXPECT_STREQ(d.document.error, "a value expected at line 3, column 8");
}

TEST(JsonDocument, RefusesRepeatedKeys)
{
    EXPECT_FALSE(Document(R"({"a": 1, "b": 2, "a": 3})").parsed);
    EXPECT_FALSE(Document(R"({"a": 1, "\u0061": 2})").parsed);
    EXPECT_FALSE(Document(R"({"x": {"a": {"b": [1]}, "c": 1, "c": 2}})").parsed);
    EXPECT_TRUE(Document(R"({"a": {"a": {"a": 1}}, "b": {"a": 1}})").parsed);
    std::string large = "{";
    for (int i = 0; i < 500; i++)
        large += "\"key" + std::to_string(i) + "\": [" + std::to_string(i) + "],";
    EXPECT_TRUE(Document(large + "\"last\": 1}").parsed);
    EXPECT_FALSE(Document(large + "\"key0\": 1}").parsed);
    EXPECT_FALSE(Document(large + "\"key499\": 1}").parsed);
}

TEST(JsonDocument, TellsKeysApartThatLookAlike)
{
    // Of one length, with the same first and last character, as many as are compared with each other.
    for (int members = 1; members <= 26; members++) {
        std::string all = "{";
        for (int i = 0; i < members; i++)
            all += std::string(i > 0 ? "," : "") + "\"k" + static_cast<char>('a' + i) + "y\": 0";
        EXPECT_TRUE(Document(all + "}").parsed) << members;
        for (int i = 0; i < members; i++)
            EXPECT_FALSE(Document(all + ",\"k" + static_cast<char>('a' + i) + "y\": 0}").parsed) << members << i;
    }
    EXPECT_TRUE(Document(R"({"": 1, " ": 2})").parsed);
    EXPECT_FALSE(Document(R"({"": 1, " ": 2, "": 3})").parsed);
}

TEST(JsonDocument, LimitsDepth)
{
    std::string open(JSON_DEPTH_LIMIT, '[');
    std::string close(JSON_DEPTH_LIMIT, ']');
    EXPECT_TRUE(Document(open + close).parsed);
    Document deeper("[" + open + close + "]");
    EXPECT_FALSE(deeper.parsed);
    EXPECT_NE(std::string(deeper.document.error).find("nested deeper"), std::string::npos);
    // Far beyond the limit the stack must not overflow.
    EXPECT_FALSE(Document(std::string(1000000, '[')).parsed);
}

TEST(JsonDocument, HoldsMoreNodesThanFitInside)
{
    std::string text = "[";
    for (int i = 0; i < 5000; i++)
        text += (i ? "," : "") + std::to_string(i);
    Document d(text + "]");
    ASSERT_TRUE(d.parsed);
    uint32_t position = 0;
    int64_t expected = 0;
    while (const json_node *item = json_next(&d.document, json_root(&d.document), &position, nullptr))
        ASSERT_EQ(item->integer, expected++);
    EXPECT_EQ(expected, 5000);
}

} // namespace
