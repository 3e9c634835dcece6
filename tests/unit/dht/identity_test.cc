// The node's key on disk, and what signatures hold for.

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

extern "C" {
#include "services/dht/identity.h"
}

namespace
{

std::string Folder()
{
    std::string path = std::string(getenv("TEST_TMPDIR")) + "/identity-XXXXXX";
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    return path;
}

struct Identity {
    explicit Identity(const std::string &folder, const char *network = "muster")
        : identity(dht_identity_open(folder.c_str(), network, error, sizeof error))
    {
    }
    ~Identity()
    {
        dht_identity_free(identity);
    }
    char error[512] = "";
    dht_identity *identity;
};

TEST(IdentityTest, IsMadeOnceAndReadAgain)
{
    std::string folder = Folder();
    Identity first(folder + "/new"), second(folder + "/new"), other(folder + "/other");
    ASSERT_NE(first.identity, nullptr) << first.error;
    ASSERT_NE(second.identity, nullptr) << second.error;
    ASSERT_NE(other.identity, nullptr) << other.error;
    EXPECT_EQ(std::memcmp(dht_identity_public_key(first.identity), dht_identity_public_key(second.identity), 32), 0);
    EXPECT_NE(std::memcmp(dht_identity_public_key(first.identity), dht_identity_public_key(other.identity), 32), 0);
    struct stat status;
    ASSERT_EQ(stat((folder + "/new/dht-key.pem").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    EXPECT_NE(access((folder + "/new/dht-key.pem.new").c_str(), F_OK), 0);
}

TEST(IdentityTest, AKeyThatOthersCanReadIsRefused)
{
    std::string folder = Folder();
    {
        Identity made(folder);
        ASSERT_NE(made.identity, nullptr);
    }
    std::string path = folder + "/dht-key.pem";
    ASSERT_EQ(chmod(path.c_str(), 0640), 0);
    Identity refused(folder);
    EXPECT_EQ(refused.identity, nullptr);
    EXPECT_NE(std::strstr(refused.error, "chmod 600"), nullptr) << refused.error;
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
    Identity taken(folder);
    EXPECT_NE(taken.identity, nullptr) << taken.error;
}

TEST(IdentityTest, WhatIsNoKeyIsRefusedAndLeftAlone)
{
    std::string folder = Folder(), path = folder + "/dht-key.pem";
    FILE *file = fopen(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    fputs("not a key\n", file);
    fclose(file);
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
    Identity refused(folder);
    EXPECT_EQ(refused.identity, nullptr);
    EXPECT_NE(std::strstr(refused.error, "not an Ed25519 key"), nullptr) << refused.error;
    struct stat status;
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_size, 10);
}

TEST(IdentityTest, AFolderThatCannotBeMadeIsSaid)
{
    Identity refused("/proc/no/such");
    EXPECT_EQ(refused.identity, nullptr);
    EXPECT_NE(std::strstr(refused.error, "--data-dir"), nullptr) << refused.error;
}

TEST(IdentityTest, AContactHoldsAsItWasSignedOnly)
{
    Identity one(Folder()), other(Folder());
    dht_contact *contact = dht_identity_contact(one.identity, 1234, "https://a.example.org", "10.0.0.1:7105");
    ASSERT_NE(contact, nullptr);
    EXPECT_TRUE(dht_contact_is_genuine(other.identity, contact));
    auto forged = [&](const uint8_t *key, int64_t at, const char *url, const char *address, int flip) {
        dht_contact *copy = dht_contact_create(key, contact->signature, at, url, address);
        if (flip >= 0)
            copy->signature[flip] ^= 1;
        bool genuine = dht_contact_is_genuine(other.identity, copy);
        dht_contact_release(copy);
        return !genuine;
    };
    const uint8_t *key = contact->public_key;
    EXPECT_FALSE(forged(key, 1234, "https://a.example.org", "10.0.0.1:7105", -1));
    EXPECT_TRUE(forged(key, 1235, "https://a.example.org", "10.0.0.1:7105", -1));
    EXPECT_TRUE(forged(key, 1234, "https://b.example.org", "10.0.0.1:7105", -1));
    EXPECT_TRUE(forged(key, 1234, "https://a.example.org", "10.0.0.2:7105", -1));
    EXPECT_TRUE(forged(key, 1234, "https://a.example.org1", "0.0.0.1:7105", -1)) << "bytes moved between the two";
    EXPECT_TRUE(forged(key, 1234, "https://a.example.org", "10.0.0.1:7105", 0));
    EXPECT_TRUE(forged(key, 1234, "https://a.example.org", "10.0.0.1:7105", 63));
    EXPECT_TRUE(forged(dht_identity_public_key(other.identity), 1234, "https://a.example.org", "10.0.0.1:7105", -1));
    dht_contact_release(contact);
}

TEST(IdentityTest, AValueHoldsAsItWasSignedOnly)
{
    Identity one(Folder()), other(Folder());
    auto make = [](const uint8_t *key, const std::string &name, const std::string &data, int64_t at, int64_t lifetime) {
        return dht_value_create(key, name.data(), name.size(), data.data(), data.size(), at, lifetime);
    };
    const uint8_t *key = dht_identity_public_key(one.identity);
    dht_value *value = make(key, "worker:ocr", "data", 5, 6);
    dht_identity_sign(one.identity, value);
    EXPECT_TRUE(dht_value_is_genuine(other.identity, value));
    struct {
        const uint8_t *key;
        const char *name, *data;
        int64_t at, lifetime;
        bool genuine;
    } cases[] = {
        {key, "worker:ocr", "data", 5, 6, true},
        {key, "worker:llm", "data", 5, 6, false},
        {key, "worker:ocr", "date", 5, 6, false},
        {key, "worker:ocr", "data", 6, 6, false},
        {key, "worker:ocr", "data", 5, 7, false},
        {key, "worker:ocrd", "ata", 5, 6, false},
        {key, "worker:ocr", "", 5, 6, false},
        {dht_identity_public_key(other.identity), "worker:ocr", "data", 5, 6, false},
    };
    for (const auto &one_case : cases) {
        dht_value *copy = make(one_case.key, one_case.name, one_case.data, one_case.at, one_case.lifetime);
        std::memcpy(copy->signature, value->signature, sizeof copy->signature);
        EXPECT_EQ(dht_value_is_genuine(other.identity, copy), one_case.genuine) << one_case.name << one_case.data;
        dht_value_release(copy);
    }
    dht_value_release(value);
}

TEST(IdentityTest, NetworksDoNotKnowEachOther)
{
    std::string folder = Folder();
    Identity one(folder), same(Folder()), elsewhere(Folder(), "another");
    dht_contact *contact = dht_identity_contact(one.identity, 1234, "https://a.example.org", "");
    EXPECT_TRUE(dht_contact_is_genuine(same.identity, contact));
    EXPECT_FALSE(dht_contact_is_genuine(elsewhere.identity, contact));
    dht_contact_release(contact);
    dht_value *value = dht_value_create(dht_identity_public_key(one.identity), "k", 1, "d", 1, 5, 6);
    dht_identity_sign(one.identity, value);
    EXPECT_TRUE(dht_value_is_genuine(same.identity, value));
    EXPECT_FALSE(dht_value_is_genuine(elsewhere.identity, value));
    dht_value_release(value);
}

} // namespace
