// What is packed piece by piece is read back by zlib as one text.

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>
#include <vector>

extern "C" {
#include "gateway/packer.h"
}

namespace
{

std::string Pack(const std::vector<std::string> &pieces)
{
    packer *packer = packer_create();
    struct buffer packed = BUFFER_INIT;
    EXPECT_NE(packer, nullptr);
    for (size_t i = 0; i < pieces.size(); i++)
        EXPECT_TRUE(packer_add(packer, pieces[i].data(), pieces[i].size(), i + 1 == pieces.size(), &packed));
    std::string result(packed.data, packed.bytes);
    buffer_free(&packed);
    packer_destroy(packer);
    return result;
}

std::string Unpack(const std::string &packed, size_t limit)
{
    std::string text(limit, '\0');
    z_stream stream = {};
    EXPECT_EQ(inflateInit2(&stream, PACKER_WINDOW_BITS), Z_OK);
    stream.next_in = (unsigned char *)packed.data();
    stream.avail_in = (unsigned)packed.size();
    stream.next_out = (unsigned char *)text.data();
    stream.avail_out = (unsigned)text.size();
    EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
    EXPECT_EQ(stream.avail_in, 0u) << "nothing behind the trailer";
    text.resize(stream.total_out);
    EXPECT_EQ(inflateEnd(&stream), Z_OK);
    return text;
}

// Does not get shorter: what comes out is as long as what goes in.
std::string Noise(size_t bytes)
{
    std::string noise;
    for (uint64_t state = 88172645463325252u; noise.size() < bytes; noise += (char)(state >> 32))
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return noise;
}

TEST(Packer, PiecesOfEveryLengthAreOneText)
{
    std::vector<std::string> pieces = {"", "a", "", std::string(1000000, 'x'), Noise(300000), "the end"};
    for (size_t bytes : {16383, 16384, 16385})
        pieces.push_back(Noise(bytes));
    std::string all;
    for (const auto &piece : pieces)
        all += piece;
    EXPECT_EQ(Unpack(Pack(pieces), all.size() + 1), all);
}

TEST(Packer, NothingAtAllIsATextToo)
{
    EXPECT_EQ(Unpack(Pack({""}), 1), "");
}

TEST(Packer, GetsShorter)
{
    EXPECT_LT(Pack({std::string(100000, 'x'), std::string(100000, 'x')}).size(), 2000u);
}

} // namespace
