// The JSON writer: what it writes reads back as the same, by jansson's judgement.

extern "C" {
#include <jansson.h>

#include "common/json/write.h"
}

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace
{

template <typename Function> std::string written(Function write)
{
    struct buffer buffer = BUFFER_INIT;
    struct json_writer writer = json_writer_into(&buffer);
    write(&writer);
    std::string text(buffer.data, buffer.bytes);
    buffer_free(&buffer);
    return text;
}

std::string text_of(const std::string &value)
{
    return written([&](json_writer *w) { json_write_text_bytes(w, value.data(), value.size()); });
}

TEST(JsonWrite, PutsCommas)
{
    EXPECT_EQ(written([](json_writer *w) {
                  json_write_object_begin(w);
                  json_write_key(w, "a");
                  json_write_array_begin(w);
                  json_write_uint(w, 1);
                  json_write_int(w, -2);
                  json_write_object_begin(w);
                  json_write_object_end(w);
                  json_write_array_begin(w);
                  json_write_array_end(w);
                  json_write_array_end(w);
                  json_write_key(w, "b");
                  json_write_bool(w, true);
                  json_write_key_text(w, "c\"");
                  json_write_null(w);
                  json_write_key(w, "d");
                  json_write_raw(w, "{}", 2);
                  json_write_object_end(w);
              }),
              R"({"a":[1,-2,{},[]],"b":true,"c\"":null,"d":{}})");
}

TEST(JsonWrite, EscapesText)
{
    EXPECT_EQ(text_of("a\"b\\c\n\r\t\x01/\x7f"), "\"a\\\"b\\\\c\\n\\r\\t\\u0001/\\u007f\"");
    EXPECT_EQ(text_of("é😀"), "\"é😀\"");
    EXPECT_EQ(text_of("a\xff"
                      "b\xc3"),
              "\"a\xEF\xBF\xBD"
              "b\xEF\xBF\xBD\"");
    EXPECT_EQ(text_of(std::string("a\0b", 3)), "\"a\\u0000b\"");
    EXPECT_EQ(written([](json_writer *w) { json_write_text(w, nullptr); }), "\"\"");
}

TEST(JsonWrite, WritesIntegers)
{
    EXPECT_EQ(written([](json_writer *w) { json_write_int(w, INT64_MIN); }), "-9223372036854775808");
    EXPECT_EQ(written([](json_writer *w) { json_write_uint(w, UINT64_MAX); }), "18446744073709551615");
}

TEST(JsonWrite, WritesDoublesThatReadBack)
{
    const auto text = [](double value) { return written([=](json_writer *w) { json_write_double(w, value); }); };
    EXPECT_EQ(text(0), "0.0");
    EXPECT_EQ(text(0.42), "0.42");
    EXPECT_EQ(text(65.3), "65.3");
    EXPECT_EQ(text(-1.5), "-1.5");
    EXPECT_EQ(text(0.1 + 0.2), "0.30000000000000004");
    EXPECT_EQ(text(1e300), "1e+300");
    EXPECT_EQ(text(123456789012345.0), "123456789012345.0");
    EXPECT_EQ(text(INFINITY), "null");
    EXPECT_EQ(text(NAN), "null");
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        double value =
            i % 2 ? (double)(state % 100000000) / 10000.0 : std::ldexp((double)state, (int)(state % 200) - 150);
        json_t *read = json_loads(text(value).c_str(), JSON_DECODE_ANY, nullptr);
        ASSERT_NE(read, nullptr) << text(value);
        EXPECT_TRUE(json_is_real(read)) << text(value);
        EXPECT_EQ(json_real_value(read), value);
        json_decref(read);
    }
}

TEST(JsonWrite, WritesTimes)
{
    EXPECT_EQ(written([](json_writer *w) { json_write_time(w, 1767609000125); }), "\"2026-01-05T10:30:00.125Z\"");
    EXPECT_EQ(written([](json_writer *w) { json_write_time(w, 0); }), "null");
}

TEST(JsonWrite, WhateverTextReadsBack)
{
    for (unsigned a = 1; a < 256; a++) {
        for (unsigned b = 0; b < 256; b += 7) {
            std::string json = text_of({(char)a, (char)b, 'x'});
            json_t *read = json_loadb(json.data(), json.size(), JSON_DECODE_ANY | JSON_ALLOW_NUL, nullptr);
            ASSERT_NE(read, nullptr) << json;
            json_decref(read);
        }
    }
}

} // namespace
