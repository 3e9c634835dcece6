// How a link begins, and the name that comes of a secret.

extern "C" {
#include "common/link/handshake.h"
}

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace
{

TEST(Accept, TheExampleOfTheStandard)
{
    const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";
    char accept[LINK_ACCEPT_BYTES];
    ASSERT_TRUE(link_accept(key.data(), key.size(), accept));
    EXPECT_STREQ(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(Accept, KeysOfAnyOtherLengthThanTheStandardsAreBounded)
{
    const std::string longest(64, 'a'), longer(65, 'a');
    char accept[LINK_ACCEPT_BYTES];
    EXPECT_TRUE(link_accept(longest.data(), longest.size(), accept));
    EXPECT_FALSE(link_accept(longer.data(), longer.size(), accept));
}

TEST(Name, IsTheBeginningOfTheSecretsSha256)
{
    const std::string secret(64, '0');
    char name[LINK_NAME_BYTES];
    ASSERT_TRUE(link_name(secret.data(), secret.size(), name));
    EXPECT_STREQ(name, "60e05bd1b195af2f94112fa7197a5c88"); // printf '0%.0s' {1..64} | sha256sum
}

TEST(Name, OnlySixtyFourDigitsInLowerCaseAreASecret)
{
    char name[LINK_NAME_BYTES];
    for (const std::string &secret : {std::string(), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'A'),
                                      std::string(64, 'g'), std::string(63, 'a') + "\n"})
        EXPECT_FALSE(link_name(secret.data(), secret.size(), name)) << secret;
    EXPECT_FALSE(link_name(nullptr, 0, name));
}

TEST(Path, NamesALinkAndWhatFollows)
{
    const std::string path = "/link/0123456789abcdef0123456789abcdef";
    char name[LINK_NAME_BYTES];
    const char *rest = nullptr;
    ASSERT_TRUE(link_name_in_path(path.c_str(), name, &rest));
    EXPECT_STREQ(name, "0123456789abcdef0123456789abcdef");
    EXPECT_STREQ(rest, "");
    const std::string longer = path + "/service/ocr";
    ASSERT_TRUE(link_name_in_path(longer.c_str(), name, &rest));
    EXPECT_STREQ(rest, "/service/ocr");
}

TEST(Path, OthersNameNone)
{
    char name[LINK_NAME_BYTES];
    const char *rest;
    for (const char *path : {"", "/", "/link", "/link/", "/link/0123456789abcdef0123456789abcde",
                             "/link/0123456789abcdef0123456789abcdef0", "/link/0123456789ABCDEF0123456789abcdef",
                             "/other/0123456789abcdef0123456789abcdef", "/a/link/0123456789abcdef0123456789abcdef"})
        EXPECT_FALSE(link_name_in_path(path, name, &rest)) << path;
}

} // namespace
