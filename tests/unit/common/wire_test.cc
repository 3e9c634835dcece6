// The wire format of protocol buffers, field by field.

extern "C" {
#include "common/wire.h"
}

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace
{

using Bytes = std::vector<uint8_t>;

// What a message holds: "1=150 2:'ab' 3" for a varint, bytes, and a number of fixed width; "!" when it is malformed.
std::string fields_of(const Bytes &message)
{
    struct wire_bytes rest = {message.data(), message.size()};
    struct wire_field field;
    std::string text;
    while (wire_next(&rest, &field)) {
        text += (text.empty() ? "" : " ") + std::to_string(field.number);
        if (field.bytes.data != nullptr)
            text += ":'" + std::string(reinterpret_cast<const char *>(field.bytes.data), field.bytes.count) + "'";
        else if (field.value != 0)
            text += "=" + std::to_string(field.value);
    }
    return rest.count == 0 ? text : text + "!";
}

TEST(Wire, ReadsEveryKindOfField)
{
    EXPECT_EQ(fields_of({}), "");
    EXPECT_EQ(fields_of({0x08, 0x96, 0x01}), "1=150") << "the specification's own example";
    EXPECT_EQ(fields_of({0x12, 2, 'a', 'b', 0x12, 0}), "2:'ab' 2:''");
    EXPECT_EQ(fields_of({0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 1}), "3 4 1=1");
    EXPECT_EQ(fields_of({0xfa, 0xff, 0xff, 0xff, 0x0f, 1, 'x'}), "536870911:'x'") << "the highest number";
}

TEST(Wire, RefusesWhatIsMalformed)
{
    EXPECT_EQ(fields_of({0x08}), "!") << "a key without its value";
    EXPECT_EQ(fields_of({0x08, 0x80}), "!") << "a varint without end";
    EXPECT_EQ(fields_of({0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}), "!");
    EXPECT_EQ(fields_of({0x12, 3, 'a', 'b'}), "!") << "longer than what is there";
    EXPECT_EQ(fields_of({0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), "!");
    EXPECT_EQ(fields_of({0x00, 1}), "!") << "number 0";
    EXPECT_EQ(fields_of({0x0b, 0x0c}), "!") << "a group";
    EXPECT_EQ(fields_of({0x1d, 1, 2, 3}), "!");
    EXPECT_EQ(fields_of({0x21, 1, 2, 3, 4, 5, 6, 7}), "!");
    EXPECT_EQ(fields_of({0x08, 1, 0x0f}), "1=1!") << "what came before stands";
}

TEST(Wire, WritesVarintsThatItReads)
{
    for (uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{127}, uint64_t{128}, uint64_t{16383}, uint64_t{16384},
                           uint64_t{UINT32_MAX}, uint64_t{UINT64_MAX}}) {
        uint8_t message[1 + WIRE_VARINT_BYTES] = {0x08};
        size_t bytes = 1 + wire_write_varint(value, message + 1);
        ASSERT_LE(bytes, sizeof message);
        EXPECT_EQ(wire_varint_bytes(value), bytes - 1);
        struct wire_bytes rest = {message, bytes};
        struct wire_field field;
        ASSERT_TRUE(wire_next(&rest, &field)) << value;
        EXPECT_EQ(field.value, value);
        EXPECT_EQ(rest.count, 0u);
    }
}

} // namespace
