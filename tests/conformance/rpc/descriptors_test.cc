// Reading descriptors where servers of ours have none: extensions, and sets with faults.

#include <string>
#include <vector>

#include <gtest/gtest.h>

extern "C" {
#include "common/rpc/descriptors.h"
}

// A field with bytes, as the wire has it.
static std::string bytes(int number, const std::string &value)
{
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(value.size()) + value;
}

static std::string varint(int number, int value)
{
    return std::string(1, static_cast<char>(number << 3)) + static_cast<char>(value);
}

static std::string extension(const char *name, const char *extendee, int number)
{
    return bytes(1, name) + bytes(2, extendee) + varint(3, number);
}

class Descriptors : public testing::Test
{
  protected:
    rpc_files files = {};
    std::string set; // outlives files

    ~Descriptors() override
    {
        rpc_files_free(&files);
    }

    bool add(const std::string &text)
    {
        set = text;
        return rpc_files_add(&files, reinterpret_cast<const uint8_t *>(set.data()), set.size());
    }

    std::vector<int32_t> extensions(const char *type)
    {
        std::vector<int32_t> numbers;
        rpc_files_extensions(
            &files, type,
            [](void *argument, int32_t number) { static_cast<std::vector<int32_t> *>(argument)->push_back(number); },
            &numbers);
        return numbers;
    }

    // Two files of package p: a.proto with message A, and b.proto, which extends it twice.
    void add_two()
    {
        std::string a = bytes(1, "a.proto") + bytes(2, "p") + bytes(4, bytes(1, "A"));
        std::string nested = bytes(1, "B") + bytes(6, extension("e", ".p.A", 7));
        std::string b = bytes(1, "b.proto") + bytes(2, "p") + bytes(3, "a.proto") + bytes(3, "missing.proto") +
                        bytes(4, nested) + bytes(7, extension("f", ".p.A", 9));
        ASSERT_TRUE(add(bytes(1, a) + bytes(1, b)));
        ASSERT_EQ(files.count, 2u);
    }
};

TEST_F(Descriptors, FindsExtensions)
{
    add_two();
    EXPECT_EQ(extensions("p.A"), (std::vector<int32_t>{7, 9}));
    EXPECT_TRUE(extensions("p.B").empty());
    EXPECT_EQ(rpc_files_by_extension(&files, "p.A", 7), 1u);
    EXPECT_EQ(rpc_files_by_extension(&files, "p.A", 9), 1u);
    EXPECT_EQ(rpc_files_by_extension(&files, "p.A", 8), files.count);
    EXPECT_EQ(rpc_files_by_symbol(&files, "p.f"), 1u);
    EXPECT_EQ(rpc_files_by_symbol(&files, "p.B.e"), 1u);
}

TEST_F(Descriptors, NamesImportsInOrder)
{
    add_two();
    size_t imported = 0;
    ASSERT_TRUE(rpc_files_import(&files, 1, 0, &imported));
    EXPECT_EQ(imported, 0u);
    ASSERT_TRUE(rpc_files_import(&files, 1, 1, &imported));
    EXPECT_EQ(imported, files.count) << "a file that is not here";
    EXPECT_FALSE(rpc_files_import(&files, 1, 2, &imported));
}

TEST_F(Descriptors, IsNotLedAstrayByAZeroInAName)
{
    ASSERT_TRUE(add(bytes(1, bytes(2, "p") + bytes(4, bytes(1, std::string("A\0BCDEFGH", 9))))));
    EXPECT_EQ(rpc_files_by_symbol(&files, "p.A"), files.count);
}

TEST_F(Descriptors, SaysThatASetIsMalformed)
{
    for (const std::string &wrong : {std::string("\x0a\x05", 2), std::string("\x0a", 1), std::string("\x0b", 1),
                                     std::string("\x08", 1), std::string(11, '\xff'), std::string("\x00\x00", 2)}) {
        EXPECT_FALSE(add(wrong));
        EXPECT_EQ(files.count, 0u);
    }
}
