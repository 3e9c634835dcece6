// The checksum of rows is zlib's CRC-32, whichever way it is computed.

extern "C" {
#include "common/random.h"
#include "services/registry/checksum.h"
}

#include <gtest/gtest.h>

#include <zlib.h>

#include <vector>

namespace
{

std::vector<uint8_t> some_bytes(size_t count)
{
    std::vector<uint8_t> bytes(count);
    random_bytes(bytes.data(), bytes.size());
    return bytes;
}

TEST(Checksum, OfNothingIsWhatCameBefore)
{
    EXPECT_EQ(checksum(0, "", 0), 0u);
    EXPECT_EQ(checksum(0x12345678, "", 0), 0x12345678u);
}

// The check value of the algorithm's catalogues.
TEST(Checksum, IsTheOneThatIsMeant)
{
    EXPECT_EQ(checksum(0, "123456789", 9), 0xCBF43926u);
}

TEST(Checksum, IsZlibsForEveryLengthAndPlace)
{
    std::vector<uint8_t> bytes = some_bytes(700);
    for (size_t start = 0; start < 17; start++) {
        for (size_t count = 0; start + count <= bytes.size(); count++) {
            for (uint32_t before : {0u, 0xFFFFFFFFu, 0xCBF43926u}) {
                ASSERT_EQ(checksum(before, bytes.data() + start, count),
                          static_cast<uint32_t>(crc32_z(before, bytes.data() + start, count)))
                    << count << " bytes from " << start;
            }
        }
    }
}

TEST(Checksum, GoesOnWhereverItWasCut)
{
    std::vector<uint8_t> bytes = some_bytes(1000);
    uint32_t whole = checksum(0, bytes.data(), bytes.size());
    for (size_t cut = 0; cut <= bytes.size(); cut++)
        ASSERT_EQ(checksum(checksum(0, bytes.data(), cut), bytes.data() + cut, bytes.size() - cut), whole) << cut;
}

TEST(Checksum, OfMuch)
{
    std::vector<uint8_t> bytes = some_bytes((4 << 20) + 5);
    EXPECT_EQ(checksum(0, bytes.data(), bytes.size()), static_cast<uint32_t>(crc32_z(0, bytes.data(), bytes.size())));
}

} // namespace
