// The key file, and what is found in it.

#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <string>
#include <vector>

#include "tests/unit/auth/tokens.h"

extern "C" {
#include "common/auth/keys.h"
#include "common/auth/worker_token.h"
}

namespace
{

class Keys
{
  public:
    explicit Keys(const std::string &file, const std::string &single = "")
        : keys(auth_keys_create(file.empty() ? nullptr : file.data(), file.size(), single.c_str(), &error))
    {
    }
    ~Keys()
    {
        auth_keys_release(keys);
    }
    Keys(const Keys &) = delete;
    Keys &operator=(const Keys &) = delete;
    const auth_identity *find(const std::string &key) const
    {
        unsigned char digest[SHA256_DIGEST_LENGTH];
        SHA256(reinterpret_cast<const unsigned char *>(key.data()), key.size(), digest);
        return auth_keys_find(keys, digest);
    }
    auth_error error;
    auth_keys *keys;
};

const char LAB[] = "lab-key-0123456789";
const char SITE[] = "site-key-0123456789";

std::string refusal(const std::string &file)
{
    Keys keys(file);
    EXPECT_EQ(keys.keys, nullptr) << file;
    return keys.keys == nullptr ? keys.error.text : "";
}

std::string with_key(const std::string &members)
{
    return R"({"keys": [{"name": "lab", "key": "lab-key-0123456789", "rights": ["client"])" + members + "}]}";
}

bool contains(const std::string &text, const std::string &part)
{
    return text.find(part) != std::string::npos;
}

TEST(Keys, NoneAtAll)
{
    Keys keys("");
    ASSERT_NE(keys.keys, nullptr);
    EXPECT_EQ(auth_keys_count(keys.keys), 0u);
    EXPECT_EQ(keys.find(LAB), nullptr);
    Keys empty("{}");
    ASSERT_NE(empty.keys, nullptr);
    EXPECT_EQ(auth_keys_count(empty.keys), 0u);
}

TEST(Keys, SeveralWithNamesRightsAndLists)
{
    Keys keys(R"({"keys": [
        {"name": "lab", "key": "lab-key-0123456789", "rights": ["worker"], "workers": ["gpu-*", "cpu-1"],
         "offers": ["vision-ocr", "llm-*"]},
        {"name": "site", "key_sha256": ")"
              // printf site-key-0123456789 | sha256sum
              "12c88220c0ae1d6fff3f919b29b141b392f161cd4d4afcf2c0603dbabdd6aa30"
              R"(", "rights": ["client"], "services": []},
        {"name": "ops", "key": ["ops-key-new-0123456789", "ops-key-old-0123456789"], "rights": ["admin"]}]})");
    ASSERT_NE(keys.keys, nullptr) << keys.error.text;
    EXPECT_EQ(auth_keys_count(keys.keys), 4u);
    EXPECT_TRUE(auth_keys_hold_secrets(keys.keys));
    const auth_identity *lab = keys.find(LAB);
    ASSERT_NE(lab, nullptr);
    EXPECT_STREQ(lab->name, "lab");
    EXPECT_TRUE(auth_has(lab, AUTH_WORKER));
    EXPECT_FALSE(auth_has(lab, AUTH_CLIENT));
    EXPECT_FALSE(auth_has(lab, AUTH_ADMIN));
    EXPECT_TRUE(auth_may_register(lab, "gpu-7", 5));
    EXPECT_TRUE(auth_may_register(lab, "gpu-", 4));
    EXPECT_FALSE(auth_may_register(lab, "gpu", 3));
    EXPECT_TRUE(auth_may_register(lab, "cpu-1", 5));
    EXPECT_FALSE(auth_may_register(lab, "cpu-12", 6));
    EXPECT_TRUE(auth_may_offer(lab, "vision-ocr", 10));
    EXPECT_TRUE(auth_may_offer(lab, "llm-inference", 13));
    EXPECT_FALSE(auth_may_offer(lab, "redis", 5));
    EXPECT_TRUE(auth_may_call_all(lab)) << "no list narrows what it calls";

    const auth_identity *ops = keys.find("ops-key-new-0123456789");
    ASSERT_NE(ops, nullptr);
    EXPECT_EQ(keys.find("ops-key-old-0123456789"), ops);
    EXPECT_TRUE(auth_has(ops, AUTH_WORKER) && auth_has(ops, AUTH_CLIENT) && auth_has(ops, AUTH_ADMIN));
    EXPECT_TRUE(auth_may_call(ops, "anything", 8));
    EXPECT_EQ(keys.find("ops-key-none-0123456789"), nullptr);
    EXPECT_EQ(keys.find(""), nullptr);
}

TEST(Keys, ByDigest)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char *>(SITE), sizeof SITE - 1, digest);
    std::string hex;
    for (unsigned char byte : digest) {
        char text[3];
        snprintf(text, sizeof text, "%02X", byte);
        hex += text;
    }
    Keys keys(R"({"keys": [{"name": "site", "key_sha256": ")" + hex + R"(", "rights": ["client"], "services": []}]})");
    ASSERT_NE(keys.keys, nullptr) << keys.error.text;
    EXPECT_FALSE(auth_keys_hold_secrets(keys.keys));
    const auth_identity *site = keys.find(SITE);
    ASSERT_NE(site, nullptr);
    EXPECT_FALSE(auth_may_call(site, "vision-ocr", 10)) << "an empty list allows nothing";
    EXPECT_FALSE(auth_may_call_all(site));
    EXPECT_TRUE(contains(
        refusal(R"({"keys": [{"name": "site", "key_sha256": ")" + hex.substr(1) + R"(", "rights": ["client"]}]})"),
        "64 hexadecimal digits"));
    hex[10] = 'g';
    EXPECT_TRUE(
        contains(refusal(R"({"keys": [{"name": "site", "key_sha256": ")" + hex + R"(", "rights": ["client"]}]})"),
                 "key_sha256"));
}

TEST(Keys, SingleMayDoEverything)
{
    Keys keys("", "single-key-0123456789");
    ASSERT_NE(keys.keys, nullptr) << keys.error.text;
    const auth_identity *single = keys.find("single-key-0123456789");
    ASSERT_NE(single, nullptr);
    EXPECT_STREQ(single->name, "api-key");
    EXPECT_TRUE(auth_has(single, AUTH_ADMIN));
    Keys twice(with_key(""), LAB);
    EXPECT_EQ(twice.keys, nullptr);
    EXPECT_TRUE(contains(twice.error.text, "API_KEY"));
    EXPECT_FALSE(contains(twice.error.text, LAB)) << "no message holds a key";
}

TEST(Keys, LengthFromBothSides)
{
    auto accepted = [](const std::string &key) {
        Keys keys("", key);
        EXPECT_TRUE(keys.keys != nullptr || !contains(keys.error.text, key)) << keys.error.text;
        return keys.keys != nullptr;
    };
    EXPECT_FALSE(accepted(std::string(AUTH_KEY_BYTES_MIN - 1, 'k')));
    EXPECT_TRUE(accepted(std::string(AUTH_KEY_BYTES_MIN, 'k')));
    EXPECT_TRUE(accepted(std::string(AUTH_KEY_BYTES_MAX, 'k')));
    EXPECT_FALSE(accepted(std::string(AUTH_KEY_BYTES_MAX + 1, 'k')));
    EXPECT_FALSE(accepted("with a space in the middle"));
    EXPECT_FALSE(accepted("mw1.looks-like-a-token-of-a-worker"));
    EXPECT_FALSE(accepted("k\xC3\xA4se-key-0123456789"));
}

TEST(Keys, MistakesAreRefusedAndNamed)
{
    EXPECT_TRUE(contains(refusal("{"), "not JSON"));
    EXPECT_TRUE(contains(refusal("[]"), "object"));
    EXPECT_TRUE(contains(refusal(R"({"key": []})"), "key is not known"));
    EXPECT_TRUE(contains(refusal(with_key(R"(, "service": ["x"])")), "keys[0].service is not known"));
    EXPECT_TRUE(contains(refusal(with_key(R"(, "services": null)")), "null"));
    EXPECT_TRUE(contains(refusal(with_key(R"(, "services": "x")")), "keys[0].services"));
    EXPECT_TRUE(contains(refusal(with_key(R"(, "services": ["a*b"])")), "*"));
    EXPECT_TRUE(contains(refusal(with_key(R"(, "services": [""])")), "services"));
    EXPECT_TRUE(contains(refusal(with_key(R"(, "burst": 5)")), "requests_per_second"));
    EXPECT_TRUE(contains(refusal(with_key(R"(, "requests_per_second": -1)")), "requests_per_second"));
    EXPECT_TRUE(contains(refusal(R"({"keys": [{"name": "a", "rights": ["client"]}]})"), "key is required"));
    EXPECT_TRUE(contains(refusal(R"({"keys": [{"name": "a", "key": "lab-key-0123456789"}]})"), "rights is required"));
    EXPECT_TRUE(contains(refusal(R"({"keys": [{"name": "a", "key": "lab-key-0123456789", "rights": []}]})"), "rights"));
    EXPECT_TRUE(
        contains(refusal(R"({"keys": [{"name": "a", "key": "lab-key-0123456789", "rights": ["root"]}]})"), "rights"));
    EXPECT_TRUE(contains(refusal(R"({"keys": [{"key": "lab-key-0123456789", "rights": ["admin"]}]})"), "name"));
    EXPECT_TRUE(
        contains(refusal(R"({"keys": [{"name": "a/b", "key": "lab-key-0123456789", "rights": ["admin"]}]})"), "name"));
    EXPECT_TRUE(contains(
        refusal(R"({"keys": [{"name": "a", "key": "lab-key-0123456789", "rights": ["admin"], "services": ["x"]}]})"),
        "admin"));
    std::string short_key = refusal(R"({"keys": [{"name": "a", "key": "secret", "rights": ["admin"]}]})");
    EXPECT_TRUE(contains(short_key, "keys[0].key"));
    EXPECT_FALSE(contains(short_key, "secret")) << short_key;
}

TEST(Keys, NamesAndKeysOnce)
{
    EXPECT_TRUE(contains(refusal(R"({"keys": [{"name": "a", "key": "lab-key-0123456789", "rights": ["admin"]},
                                              {"name": "b", "key": "lab-key-0123456789", "rights": ["client"]}]})"),
                         "twice"));
    EXPECT_TRUE(contains(refusal(R"({"keys": [{"name": "a", "key": "lab-key-0123456789", "rights": ["admin"]},
                                              {"name": "a", "key": "lab-key-9876543210", "rights": ["client"]}]})"),
                         "a is given twice"));
    EXPECT_TRUE(contains(
        refusal(R"({"keys": [{"name": "api-key", "key": "lab-key-0123456789", "rights": ["admin"]}]})"), "api-key"));
    EXPECT_TRUE(contains(refusal(R"({"keys": [{"name": "a", "key": "lab-key-0123456789", "rights": ["admin"]}],
                                     "tokens": [{"name": "a", "algorithm": "HS256", "issuer": "i", "audience": "a",
                                                 "secret": "0123456789abcdef0123456789abcdef", "rights": ["client"]}]})"),
                         "a is given twice"));
}

TEST(Keys, ManyAreFoundEach)
{
    std::string file = "{\"keys\": [";
    for (int i = 0; i < 3000; i++)
        file += std::string(i > 0 ? "," : "") + R"({"name": "k)" + std::to_string(i) +
                R"(", "key": "a-rather-long-key-)" + std::to_string(i) + R"(", "rights": ["client"]})";
    Keys keys(file + "]}");
    ASSERT_NE(keys.keys, nullptr) << keys.error.text;
    for (int i = 0; i < 3000; i++) {
        const auth_identity *identity = keys.find("a-rather-long-key-" + std::to_string(i));
        ASSERT_NE(identity, nullptr);
        EXPECT_EQ(identity->name, "k" + std::to_string(i));
    }
    EXPECT_EQ(keys.find("a-rather-long-key-3000"), nullptr);
}

TEST(Keys, Limits)
{
    Keys keys(R"({"keys": [{"name": "a", "key": "lab-key-0123456789", "rights": ["client"]},
                           {"name": "b", "key": "lab-key-9876543210", "rights": ["client"],
                            "requests_per_second": 5, "burst": 7}],
                  "limits": {"address": {"requests_per_second": 100}, "key": {"requests_per_second": 0.5}}})");
    ASSERT_NE(keys.keys, nullptr) << keys.error.text;
    EXPECT_EQ(auth_keys_address_rate(keys.keys).requests_per_second, 100);
    EXPECT_EQ(auth_keys_address_rate(keys.keys).burst, 100) << "without a burst: what comes in a second";
    auth_rate a = auth_keys_rate(keys.keys, keys.find("lab-key-0123456789"));
    auth_rate b = auth_keys_rate(keys.keys, keys.find("lab-key-9876543210"));
    EXPECT_EQ(a.requests_per_second, 0.5);
    EXPECT_EQ(a.burst, 1);
    EXPECT_EQ(b.requests_per_second, 5);
    EXPECT_EQ(b.burst, 7);
}

std::string token_key(const std::string &members)
{
    return R"({"tokens": [{"name": "login", "issuer": "i", "audience": "a", "rights": ["client"])" + members + "}]}";
}

TEST(TokenKeys, EachAlgorithmTakesItsOwnKind)
{
    tokens::Pair rsa(2048), short_rsa(1024), curve(0);
    std::string rsa_pem = tokens::quoted(rsa.public_pem()), curve_pem = tokens::quoted(curve.public_pem());
    for (const std::string &good : std::vector<std::string>{
             R"(, "algorithm": "RS256", "public_key": )" + rsa_pem,
             R"(, "algorithm": "ES256", "public_key": )" + curve_pem,
             std::string(R"(, "algorithm": "HS256", "secret": "0123456789abcdef0123456789abcdef")"),
             R"(, "algorithm": "HS256", "secret_base64url": ")" + tokens::base64url(std::string(32, '\1')) + "\""}) {
        Keys keys(token_key(good));
        ASSERT_NE(keys.keys, nullptr) << keys.error.text;
        EXPECT_EQ(auth_keys_token_key_count(keys.keys), 1u);
    }
    for (const std::string &bad : std::vector<std::string>{
             R"(, "algorithm": "ES256", "public_key": )" + rsa_pem,
             R"(, "algorithm": "RS256", "public_key": )" + curve_pem,
             R"(, "algorithm": "RS256", "public_key": )" + tokens::quoted(short_rsa.public_pem()),
             R"(, "algorithm": "HS256", "secret": )" + rsa_pem + R"(, "public_key": )" + rsa_pem,
             R"(, "algorithm": "RS256", "secret": "0123456789abcdef0123456789abcdef")",
             std::string(R"(, "algorithm": "RS256", "public_key": "no PEM")"),
             std::string(R"(, "algorithm": "HS256", "secret": "0123456789abcdef0123456789abcde")"), // 31 bytes
             R"(, "algorithm": "HS256", "secret_base64url": ")" + tokens::base64url(std::string(31, '\1')) + "\"",
             std::string(R"(, "algorithm": "HS256", "secret_base64url": "not base64url!not base64url!not base64url!")"),
             std::string(R"(, "algorithm": "HS256")"), std::string(R"(, "algorithm": "none")"),
             std::string(R"(, "algorithm": "HS512", "secret": "0123456789abcdef0123456789abcdef")")})
        EXPECT_NE(refusal(token_key(bad)), "") << bad;
    EXPECT_NE(refusal(R"({"tokens": [{"name": "login", "audience": "a", "rights": ["client"], "algorithm": "HS256",
                          "secret": "0123456789abcdef0123456789abcdef"}]})"),
              "");
}

TEST(TokenKeys, EachKidOnce)
{
    std::string entry = R"("issuer": "i", "audience": "a", "rights": ["client"], "algorithm": "HS256",
                           "secret": "0123456789abcdef0123456789abcdef"})";
    EXPECT_TRUE(contains(
        refusal(R"({"tokens": [{"name": "x", "kid": "1", )" + entry + R"(, {"name": "y", "kid": "1", )" + entry + "]}"),
        "kid"));
    EXPECT_TRUE(
        contains(refusal(R"({"tokens": [{"name": "x", )" + entry + R"(, {"name": "y", )" + entry + "]}"), "kid"));
    Keys both(R"({"tokens": [{"name": "x", "kid": "1", )" + entry + R"(, {"name": "y", )" + entry + "]}");
    EXPECT_NE(both.keys, nullptr) << both.error.text;
    EXPECT_NE(auth_keys_find_token_key(both.keys, "1", 1, AUTH_HS256), nullptr);
    EXPECT_NE(auth_keys_find_token_key(both.keys, nullptr, 0, AUTH_HS256), nullptr);
    EXPECT_EQ(auth_keys_find_token_key(both.keys, "2", 1, AUTH_HS256), nullptr);
    EXPECT_EQ(auth_keys_find_token_key(both.keys, "1", 1, AUTH_RS256), nullptr);
}

} // namespace
