// Taking objects apart with types: values, limits, and messages that name the field.

extern "C" {
#include "common/json/fields.h"
}

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace
{

// Runs `read` on the parsed text and returns the error's message.
std::string read(const std::string &text, const std::function<void(json_fields *, arena *)> &take)
{
    struct json_document document;
    EXPECT_TRUE(json_document_parse(&document, text.data(), text.size())) << document.error;
    struct json_error error = {};
    struct arena arena;
    arena_init(&arena, nullptr, 0);
    struct json_fields fields = json_fields_of(&document, json_root(&document), "", &error);
    take(&fields, &arena);
    arena_free(&arena);
    json_document_free(&document);
    return error.message;
}

TEST(JsonFields, TakesWhatIsThere)
{
    EXPECT_EQ(read(R"({"t": "x", "b": true, "d": 2, "u": 3.0, "l": ["a", "b"], "n": null})",
                   [](json_fields *fields, arena *arena) {
                       EXPECT_STREQ(json_fields_text(fields, "t", 10, arena), "x");
                       bool b = false;
                       EXPECT_TRUE(json_fields_bool(fields, "b", &b));
                       EXPECT_TRUE(b);
                       double d = 0;
                       EXPECT_TRUE(json_fields_double(fields, "d", 0, 10, &d));
                       EXPECT_EQ(d, 2.0);
                       uint64_t u = 0;
                       EXPECT_TRUE(json_fields_uint(fields, "u", 10, &u));
                       EXPECT_EQ(u, 3u);
                       size_t count = 0;
                       char **list = json_fields_text_list(fields, "l", 10, arena, &count);
                       ASSERT_EQ(count, 2u);
                       EXPECT_STREQ(list[1], "b");
                       EXPECT_EQ(json_fields_text(fields, "n", 10, arena), nullptr) << "null is absent";
                       EXPECT_FALSE(json_fields_double(fields, "absent", 0, 1, &d));
                       EXPECT_EQ(d, 2.0);
                   }),
              "");
}

TEST(JsonFields, NamesTheField)
{
    const auto text = [](json_fields *fields, arena *arena) { json_fields_text(fields, "f", 4, arena); };
    const auto number = [](json_fields *fields, arena *) {
        double value;
        json_fields_double(fields, "f", 0, 1, &value);
    };
    const auto whole = [](json_fields *fields, arena *) {
        uint64_t value;
        json_fields_uint(fields, "f", 100, &value);
    };
    const auto list = [](json_fields *fields, arena *arena) {
        size_t count;
        json_fields_text_list(fields, "f", 4, arena, &count);
    };
    EXPECT_EQ(read(R"({"f": 1})", text), "field f must be a string, not a number");
    EXPECT_EQ(read(R"({"f": "12345"})", text), "field f must be at most 4 bytes long, not 5");
    EXPECT_EQ(read(R"({"f": "1"})", number), "field f must be a number, not a string");
    EXPECT_EQ(read(R"({"f": 1.5})", number), "field f must be from 0 to 1");
    EXPECT_EQ(read(R"({"f": -1})", whole), "field f must be a whole number from 0 to 100");
    EXPECT_EQ(read(R"({"f": 1.5})", whole), "field f must be a whole number from 0 to 100");
    EXPECT_EQ(read(R"({"f": 101})", whole), "field f must be a whole number from 0 to 100");
    EXPECT_EQ(read(R"({"f": 1e300})", whole), "field f must be a whole number from 0 to 100");
    EXPECT_EQ(read(R"({"f": {}})", list), "field f must be an array, not an object");
    EXPECT_EQ(read(R"({"f": ["a", 1]})", list), "field f[1] must be a string, not a number");
    EXPECT_EQ(read("[1]", text), "the body must be an object, not an array");
}

TEST(JsonFields, TakesOneOfTheWords)
{
    int value = 0;
    const auto word = [&](json_fields *fields, arena *) {
        const json_word words[] = {{"red", 1}, {"green", 2}, {"blue", 3}};
        value = 0;
        if (!json_fields_word(fields, "f", words, 3, &value)) {
            EXPECT_EQ(value, 0);
        }
    };
    EXPECT_EQ(read(R"({"f": "blue"})", word), "");
    EXPECT_EQ(value, 3);
    EXPECT_EQ(read("{}", word), "");
    EXPECT_EQ(value, 0);
    EXPECT_EQ(read(R"({"f": "Blue"})", word), "field f must be red, green or blue");
    EXPECT_EQ(read(R"({"f": 1})", word), "field f must be a string, not a number");
}

TEST(JsonFields, KeepsTheFirstMistake)
{
    EXPECT_EQ(read(R"({"a": 1, "b": 2})",
                   [](json_fields *fields, arena *arena) {
                       json_fields_text(fields, "b", 4, arena);
                       json_fields_text(fields, "a", 4, arena);
                   }),
              "field b must be a string, not a number");
}

} // namespace
