// JSON Web Tokens: what is taken, and everything that must not be.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/unit/auth/tokens.h"

extern "C" {
#include "common/auth/checker.h"
#include "common/auth/jwt.h"
}

namespace
{

const int64_t NOW = 1700000000;
const std::string SECRET = "a secret of more than thirty-two bytes";

struct Issuers {
    tokens::Pair rsa{2048}, curve{0}, other_rsa{2048}, other_curve{0};
    auth_keys *keys;
    Issuers()
    {
        std::string common =
            R"("issuer": "https://login.example", "audience": "muster", "rights": ["client", "worker"])";
        std::string file = R"({"tokens": [{"name": "hs", "kid": "h", "algorithm": "HS256", "secret": )" +
                           tokens::quoted(SECRET) + ", " + common + R"(, "services": ["vision-*"]},
              {"name": "rs", "kid": "r", "algorithm": "RS256", "public_key": )" +
                           tokens::quoted(rsa.public_pem()) + ", " + common + R"(},
              {"name": "es", "kid": "e", "algorithm": "ES256", "leeway_seconds": 0, "public_key": )" +
                           tokens::quoted(curve.public_pem()) + ", " + common + "}]}";
        auth_error error;
        keys = auth_keys_create(file.data(), file.size(), "", &error);
        EXPECT_NE(keys, nullptr) << error.text;
    }
    ~Issuers()
    {
        auth_keys_release(keys);
    }
};

Issuers &issuers()
{
    static Issuers shared;
    return shared;
}

std::string payload(const std::string &more = "", const std::string &expires = std::to_string(NOW + 60))
{
    return R"({"iss": "https://login.example", "aud": "muster", "sub": "ann", "exp": )" + expires + more + "}";
}

std::string hs(const std::string &body, const std::string &header = R"({"alg":"HS256","typ":"JWT","kid":"h"})")
{
    return tokens::signed_with(SECRET, header, body);
}

auth_refusal verify(const std::string &token, int64_t now = NOW,
                    const std::function<void(const auth_identity *)> &look = nullptr)
{
    auth_jwt jwt;
    auth_refusal refusal = auth_jwt_verify(issuers().keys, token.data(), token.size(), now, &jwt);
    EXPECT_EQ(refusal == AUTH_ACCEPTED, jwt.identity != nullptr);
    if (look && jwt.identity != nullptr)
        look(jwt.identity);
    auth_identity_release(jwt.identity);
    return refusal;
}

TEST(Jwt, EachAlgorithm)
{
    Issuers &all = issuers();
    EXPECT_EQ(verify(hs(payload())), AUTH_ACCEPTED);
    EXPECT_EQ(verify(tokens::signed_by(all.rsa, R"({"alg":"RS256","kid":"r"})", payload())), AUTH_ACCEPTED);
    EXPECT_EQ(verify(tokens::signed_by(all.curve, R"({"alg":"ES256","kid":"e"})", payload())), AUTH_ACCEPTED);
}

TEST(Jwt, SomebodyElsesSignature)
{
    Issuers &all = issuers();
    EXPECT_EQ(
        verify(tokens::signed_with("another secret of thirty-two bytes", R"({"alg":"HS256","kid":"h"})", payload())),
        AUTH_TOKEN_SIGNATURE);
    EXPECT_EQ(verify(tokens::signed_by(all.other_rsa, R"({"alg":"RS256","kid":"r"})", payload())),
              AUTH_TOKEN_SIGNATURE);
    EXPECT_EQ(verify(tokens::signed_by(all.other_curve, R"({"alg":"ES256","kid":"e"})", payload())),
              AUTH_TOKEN_SIGNATURE);
}

TEST(Jwt, EveryBitOfASignatureCounts)
{
    Issuers &all = issuers();
    for (const std::string &token :
         {hs(payload()), tokens::signed_by(all.curve, R"({"alg":"ES256","kid":"e"})", payload())}) {
        size_t signature = token.rfind('.') + 1;
        for (size_t i = signature; i + 1 < token.size(); i++) {
            std::string bent = token;
            bent[i] = bent[i] == 'A' ? 'B' : 'A';
            EXPECT_EQ(verify(bent), AUTH_TOKEN_SIGNATURE) << i - signature;
        }
        EXPECT_EQ(verify(token.substr(0, signature)), AUTH_TOKEN_SIGNATURE) << "no signature at all";
    }
    // The claims are what was signed.
    std::string token = hs(payload());
    size_t first = token.find('.'), second = token.rfind('.');
    EXPECT_EQ(
        verify(token.substr(0, first + 1) + tokens::base64url(payload(R"(, "admin": true)")) + token.substr(second)),
        AUTH_TOKEN_SIGNATURE);
}

// RFC 8725 section 2.1.
TEST(Jwt, AlgorithmsAreNotConfused)
{
    Issuers &all = issuers();
    std::string unsigned_token = tokens::base64url(R"({"alg":"none"})") + "." + tokens::base64url(payload()) + ".";
    EXPECT_EQ(verify(unsigned_token), AUTH_TOKEN_ALGORITHM);
    for (const char *word : {"none", "None", "NONE", "nOnE", "hs256", "HS384", "RS512", "", "HS256 "}) {
        std::string header = std::string(R"({"alg":")") + word + R"(","kid":"h"})";
        EXPECT_EQ(verify(hs(payload(), header)), AUTH_TOKEN_ALGORITHM) << word;
        EXPECT_EQ(verify(tokens::base64url(header) + "." + tokens::base64url(payload()) + "."), AUTH_TOKEN_ALGORITHM)
            << word;
    }
    // The public key as the secret of an HMAC: everybody knows it.
    EXPECT_EQ(verify(tokens::signed_with(all.rsa.public_pem(), R"({"alg":"HS256","kid":"r"})", payload())),
              AUTH_TOKEN_ALGORITHM);
    EXPECT_EQ(verify(tokens::signed_with(all.curve.public_pem(), R"({"alg":"HS256","kid":"e"})", payload())),
              AUTH_TOKEN_ALGORITHM);
    EXPECT_EQ(verify(tokens::signed_by(all.rsa, R"({"alg":"RS256","kid":"e"})", payload())), AUTH_TOKEN_ALGORITHM);
    EXPECT_EQ(verify(hs(payload(), R"({"alg":"HS256","kid":"h","alg":"none"})")), AUTH_TOKEN_MALFORMED)
        << "no key twice";
}

TEST(Jwt, TheKeyIsFoundByItsKid)
{
    EXPECT_EQ(verify(hs(payload(), R"({"alg":"HS256","kid":"x"})")), AUTH_TOKEN_UNKNOWN_KID);
    EXPECT_EQ(verify(hs(payload(), R"({"alg":"HS256","kid":""})")), AUTH_TOKEN_UNKNOWN_KID);
    EXPECT_EQ(verify(hs(payload(), R"({"alg":"HS256"})")), AUTH_TOKEN_UNKNOWN_KID) << "all entries have one";
    EXPECT_EQ(verify(hs(payload(), R"({"alg":"HS256","kid":null})")), AUTH_TOKEN_MALFORMED);
    EXPECT_EQ(verify(hs(payload(), R"({"alg":"HS256","kid":7})")), AUTH_TOKEN_MALFORMED);
}

TEST(Jwt, TimesFromBothSides)
{
    const std::string at = std::to_string(NOW);
    EXPECT_EQ(verify(hs(payload("", at)), NOW + 29), AUTH_ACCEPTED) << "the leeway is 30 seconds";
    EXPECT_EQ(verify(hs(payload("", at)), NOW + 30), AUTH_TOKEN_EXPIRED);
    EXPECT_EQ(verify(hs(payload(R"(, "nbf": )" + at)), NOW - 30), AUTH_ACCEPTED);
    EXPECT_EQ(verify(hs(payload(R"(, "nbf": )" + at)), NOW - 31), AUTH_TOKEN_EARLY);
    // An entry without leeway.
    auto es = [](const std::string &body) {
        return tokens::signed_by(issuers().curve, R"({"alg":"ES256","kid":"e"})", body);
    };
    EXPECT_EQ(verify(es(payload("", at)), NOW - 1), AUTH_ACCEPTED);
    EXPECT_EQ(verify(es(payload("", at)), NOW), AUTH_TOKEN_EXPIRED);
    EXPECT_EQ(verify(es(payload(R"(, "nbf": )" + at)), NOW), AUTH_ACCEPTED);
    EXPECT_EQ(verify(es(payload(R"(, "nbf": )" + at)), NOW - 1), AUTH_TOKEN_EARLY);
    EXPECT_EQ(verify(hs(payload("", at + ".5"))), AUTH_ACCEPTED) << "a NumericDate may have a fraction";
    for (const char *odd : {"null", "\"1900000000\"", "-1", "1e300", "true"})
        EXPECT_EQ(verify(hs(payload("", odd))), AUTH_TOKEN_CLAIMS) << odd;
    EXPECT_EQ(verify(hs(R"({"iss": "https://login.example", "aud": "muster", "sub": "ann"})")), AUTH_TOKEN_CLAIMS)
        << "exp is required";
    EXPECT_EQ(verify(hs(payload(R"(, "nbf": "soon")"))), AUTH_TOKEN_CLAIMS);
}

TEST(Jwt, IssuerAndAudience)
{
    const std::string expires = std::to_string(NOW + 60);
    auto with = [&](const std::string &issuer, const std::string &audience) {
        return hs(R"({"iss": )" + issuer + R"(, "aud": )" + audience + R"(, "sub": "ann", "exp": )" + expires + "}");
    };
    const std::string ours = "\"https://login.example\"";
    EXPECT_EQ(verify(with(ours, "\"muster\"")), AUTH_ACCEPTED);
    EXPECT_EQ(verify(with(ours, R"(["other", "muster"])")), AUTH_ACCEPTED);
    EXPECT_EQ(verify(with("\"https://login.example/\"", "\"muster\"")), AUTH_TOKEN_ISSUER);
    EXPECT_EQ(verify(with("[" + ours + "]", "\"muster\"")), AUTH_TOKEN_ISSUER);
    EXPECT_EQ(verify(with("null", "\"muster\"")), AUTH_TOKEN_ISSUER);
    EXPECT_EQ(verify(with(ours, "\"muster2\"")), AUTH_TOKEN_AUDIENCE);
    EXPECT_EQ(verify(with(ours, R"(["other"])")), AUTH_TOKEN_AUDIENCE);
    EXPECT_EQ(verify(with(ours, "[]")), AUTH_TOKEN_AUDIENCE);
    EXPECT_EQ(verify(with(ours, "7")), AUTH_TOKEN_AUDIENCE);
    EXPECT_EQ(verify(hs(R"({"iss": "https://login.example", "sub": "ann", "exp": )" + expires + "}")),
              AUTH_TOKEN_AUDIENCE);
}

TEST(Jwt, WhoItIsAndWhatItMay)
{
    EXPECT_EQ(verify(hs(payload()), NOW,
                     [](const auth_identity *identity) {
                         EXPECT_STREQ(identity->name, "hs/ann");
                         EXPECT_TRUE(auth_has(identity, AUTH_CLIENT) && auth_has(identity, AUTH_WORKER));
                         EXPECT_FALSE(auth_has(identity, AUTH_ADMIN));
                         EXPECT_TRUE(auth_may_call(identity, "vision-ocr", 10));
                         EXPECT_FALSE(auth_may_call(identity, "redis", 5)) << "the entry's list";
                         EXPECT_FALSE(auth_may_call_all(identity));
                     }),
              AUTH_ACCEPTED);
    EXPECT_EQ(verify(hs(payload(R"(, "rights": ["client", "admin", "fly"], "services": ["vision-ocr", "redis"])")), NOW,
                     [](const auth_identity *identity) {
                         EXPECT_EQ(identity->rights, unsigned{AUTH_CLIENT}) << "never more than the entry";
                         EXPECT_TRUE(auth_may_call(identity, "vision-ocr", 10));
                         EXPECT_FALSE(auth_may_call(identity, "vision-two", 10)) << "the token's list";
                         EXPECT_FALSE(auth_may_call(identity, "redis", 5)) << "the entry's list";
                     }),
              AUTH_ACCEPTED);
    EXPECT_EQ(verify(hs(payload(R"(, "rights": [])")), NOW,
                     [](const auth_identity *identity) { EXPECT_EQ(identity->rights, 0u); }),
              AUTH_ACCEPTED);
    for (const char *odd :
         {R"(, "rights": "client")", R"(, "rights": [7])", R"(, "rights": null)", R"(, "services": "x")",
          R"(, "services": null)", R"(, "offers": [7])", R"(, "workers": {})"})
        EXPECT_EQ(verify(hs(payload(odd))), AUTH_TOKEN_CLAIMS) << odd;
    const std::string no_subject =
        R"({"iss": "https://login.example", "aud": "muster", "exp": )" + std::to_string(NOW + 60);
    EXPECT_EQ(verify(hs(no_subject + "}")), AUTH_TOKEN_CLAIMS);
    EXPECT_EQ(verify(hs(no_subject + R"(, "sub": ""})")), AUTH_TOKEN_CLAIMS);
    EXPECT_EQ(verify(hs(no_subject + R"(, "sub": "a\nb"})")), AUTH_TOKEN_CLAIMS);
    EXPECT_EQ(verify(hs(no_subject + R"(, "sub": ")" + std::string(128, 'x') + "\"}")), AUTH_ACCEPTED);
    EXPECT_EQ(verify(hs(no_subject + R"(, "sub": ")" + std::string(129, 'x') + "\"}")), AUTH_TOKEN_CLAIMS);
}

TEST(Jwt, Malformed)
{
    for (const char *token :
         {"", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "e30.e30.e30", "e30.e30.", "bnVsbA.e30.e30", "W10.e30.e30"})
        EXPECT_EQ(verify(token), AUTH_TOKEN_MALFORMED) << token;
    std::string token = hs(payload());
    EXPECT_EQ(verify(token + "="), AUTH_TOKEN_MALFORMED);
    EXPECT_EQ(verify(token + " "), AUTH_TOKEN_MALFORMED);
    EXPECT_EQ(verify("=" + token), AUTH_TOKEN_MALFORMED);
    EXPECT_EQ(verify(hs(payload(), R"({"alg":"HS256","kid":"h","crit":["exp"]})")), AUTH_TOKEN_MALFORMED);
    EXPECT_EQ(verify(hs("[]")), AUTH_TOKEN_MALFORMED);
    EXPECT_EQ(verify(hs("{\"iss\": \"https://login.example\"")), AUTH_TOKEN_SIGNATURE)
        << "libjwt cannot read it either";
    EXPECT_EQ(verify(hs(payload(R"(, "sub": "bob")"))), AUTH_TOKEN_MALFORMED) << "no claim twice";
}

TEST(Jwt, SizeFromBothSides)
{
    std::string token = hs(payload(R"(, "x": ")" + std::string(5500, 'x') + "\""));
    ASSERT_LT(token.size(), size_t{AUTH_JWT_BYTES_MAX});
    EXPECT_EQ(verify(token), AUTH_ACCEPTED);
    EXPECT_EQ(verify(hs(payload(R"(, "x": ")" + std::string(8000, 'x') + "\""))), AUTH_TOKEN_TOO_LARGE);
    EXPECT_EQ(verify(std::string(AUTH_JWT_BYTES_MAX + 1, '.')), AUTH_TOKEN_TOO_LARGE);
    EXPECT_EQ(verify(std::string(AUTH_JWT_BYTES_MAX, '.')), AUTH_TOKEN_MALFORMED);
}

// RFC 7515 appendices A.1 to A.3: their tokens have no audience and no subject, so that a good signature shows by
// what is found wanting next.
TEST(Jwt, ExamplesOfRfc7515)
{
    const std::string file = R"({"tokens": [
        {"name": "a1", "algorithm": "HS256", "issuer": "joe", "audience": "x", "rights": ["client"], "secret_base64url":
         "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
        {"name": "a2", "algorithm": "RS256", "issuer": "joe", "audience": "x", "rights": ["client"], "public_key": )" +
                             tokens::quoted("-----BEGIN PUBLIC KEY-----\n"
                                            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"
                                            "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"
                                            "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"
                                            "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"
                                            "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"
                                            "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"
                                            "oQIDAQAB\n"
                                            "-----END PUBLIC KEY-----\n") +
                             R"(},
        {"name": "a3", "algorithm": "ES256", "issuer": "joe", "audience": "x", "rights": ["client"], "public_key": )" +
                             tokens::quoted("-----BEGIN PUBLIC KEY-----\n"
                                            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                                            "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                                            "-----END PUBLIC KEY-----\n") +
                             "}]}";
    auth_error error;
    auth_keys *keys = auth_keys_create(file.data(), file.size(), "", &error);
    ASSERT_NE(keys, nullptr) << error.text;
    const std::string body = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
                             "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const std::vector<std::string> examples = {
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + body + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "eyJhbGciOiJSUzI1NiJ9." + body +
            ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
            "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
            "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
            "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
            "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB"
            "p0igcN_IoypGlUPQGe77Rw",
        "eyJhbGciOiJFUzI1NiJ9." + body +
            ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"};
    for (const std::string &token : examples) {
        auth_jwt jwt;
        EXPECT_EQ(auth_jwt_verify(keys, token.data(), token.size(), 1300819000, &jwt), AUTH_TOKEN_AUDIENCE);
        std::string bent = token;
        bent[bent.size() - 10] = bent[bent.size() - 10] == 'x' ? 'y' : 'x';
        EXPECT_EQ(auth_jwt_verify(keys, bent.data(), bent.size(), 1300819000, &jwt), AUTH_TOKEN_SIGNATURE);
    }
    // A.5, the unsecured one.
    const std::string unsecured = "eyJhbGciOiJub25lIn0." + body + ".";
    auth_jwt jwt;
    EXPECT_EQ(auth_jwt_verify(keys, unsecured.data(), unsecured.size(), 1300819000, &jwt), AUTH_TOKEN_ALGORITHM);
    auth_keys_release(keys);
}

// --- The checker ---

class Checker : public testing::Test
{
  protected:
    Checker() : checker(auth_checker_create())
    {
        auth_checker_set(checker, auth_keys_reference(issuers().keys), nullptr);
    }
    ~Checker() override
    {
        auth_checker_free(checker);
    }
    auth_refusal check(const std::string &credential, int64_t now = NOW)
    {
        return auth_checker_check(checker, credential.data(), credential.size(), now, &caller);
    }
    auth_checker *checker;
    auth_caller caller;
};

TEST_F(Checker, RemembersGoodTokensUntilTheyExpire)
{
    std::string token = hs(payload());
    EXPECT_EQ(check(token), AUTH_ACCEPTED);
    auth_identity *first = caller.identity;
    EXPECT_EQ(auth_checker_remembered(checker), 1u);
    EXPECT_EQ(check(token), AUTH_ACCEPTED);
    EXPECT_EQ(caller.identity, first);
    EXPECT_EQ(check(token, NOW + 89), AUTH_ACCEPTED);
    EXPECT_EQ(check(token, NOW + 90), AUTH_TOKEN_EXPIRED) << "also one that is remembered";
    EXPECT_EQ(auth_checker_remembered(checker), 0u);
    EXPECT_EQ(check(hs(payload(R"(, "nbf": )" + std::to_string(NOW)))), AUTH_ACCEPTED);
    EXPECT_EQ(check(hs(payload(R"(, "nbf": )" + std::to_string(NOW))), NOW - 100), AUTH_TOKEN_EARLY)
        << "the clock was set back";
    EXPECT_EQ(check(token + "A"), AUTH_TOKEN_SIGNATURE);
}

TEST_F(Checker, RemembersNoMoreThanItsPlaces)
{
    for (int i = 0; i < 3 * AUTH_CHECKER_REMEMBERED; i++)
        ASSERT_EQ(check(hs(payload(R"(, "jti": )" + std::to_string(i)))), AUTH_ACCEPTED);
    EXPECT_LE(auth_checker_remembered(checker), size_t{AUTH_CHECKER_REMEMBERED});
    EXPECT_GT(auth_checker_remembered(checker), size_t{AUTH_CHECKER_REMEMBERED} / 2);
}

TEST_F(Checker, OtherKeysForgetTheTokensOfTheOld)
{
    std::string token = hs(payload());
    EXPECT_EQ(check(token), AUTH_ACCEPTED);
    auth_error error;
    auth_checker_set(checker, auth_keys_create(nullptr, 0, "single-key-0123456789", &error), nullptr);
    EXPECT_EQ(auth_checker_remembered(checker), 0u);
    EXPECT_EQ(check(token), AUTH_UNKNOWN_KEY);
    EXPECT_EQ(check("single-key-0123456789"), AUTH_ACCEPTED);
    EXPECT_STREQ(caller.identity->name, "api-key");
    EXPECT_EQ(check("single-key-012345678"), AUTH_UNKNOWN_KEY);
    EXPECT_EQ(check("single-key-0123456789 "), AUTH_UNKNOWN_KEY);
    EXPECT_EQ(check(""), AUTH_UNKNOWN_KEY);
}

TEST_F(Checker, WorkerTokens)
{
    uint8_t secret[AUTH_SECRET_BYTES] = {1, 2, 3}, other[AUTH_SECRET_BYTES] = {3, 2, 1};
    char token[AUTH_WORKER_TOKEN_BYTES];
    ASSERT_TRUE(auth_worker_token_make(secret, "gpu-1", 7, token));
    EXPECT_EQ(check(token), AUTH_NOT_READY);
    auth_checker_set(checker, auth_keys_reference(issuers().keys), secret);
    EXPECT_EQ(check(token), AUTH_ACCEPTED);
    EXPECT_EQ(caller.identity, nullptr);
    EXPECT_STREQ(caller.worker_id, "gpu-1");
    EXPECT_EQ(caller.incarnation, 7u);
    auth_checker_set(checker, auth_keys_reference(issuers().keys), other);
    EXPECT_EQ(check(token), AUTH_WORKER_TOKEN);
}

TEST(WorkerToken, EveryCharacterCounts)
{
    uint8_t secret[AUTH_SECRET_BYTES] = {1, 2, 3};
    char token[AUTH_WORKER_TOKEN_BYTES], id[AUTH_WORKER_ID_BYTES_MAX + 1];
    uint64_t incarnation;
    ASSERT_TRUE(auth_worker_token_make(secret, "gpu-1", 12, token));
    std::string good = token;
    EXPECT_TRUE(auth_worker_token_check(secret, good.data(), good.size(), id, &incarnation));
    for (size_t i = 0; i < good.size(); i++) {
        for (char c : {'A', 'B', '1', '2', '.', '='}) {
            std::string bent = good;
            bent[i] = c;
            EXPECT_EQ(auth_worker_token_check(secret, bent.data(), bent.size(), id, &incarnation), bent == good)
                << bent;
        }
        std::string shorter = good;
        shorter.erase(i, 1);
        EXPECT_FALSE(auth_worker_token_check(secret, shorter.data(), shorter.size(), id, &incarnation)) << shorter;
    }
    for (const std::string &odd :
         {good + "A", good + ".", std::string("mw1."), std::string("mw1.."), std::string("mw1..1.")})
        EXPECT_FALSE(auth_worker_token_check(secret, odd.data(), odd.size(), id, &incarnation)) << odd;
}

TEST(WorkerToken, IdsFromBothSides)
{
    uint8_t secret[AUTH_SECRET_BYTES] = {9};
    char token[AUTH_WORKER_TOKEN_BYTES], id[AUTH_WORKER_ID_BYTES_MAX + 1];
    uint64_t incarnation;
    EXPECT_FALSE(auth_worker_token_make(secret, "", 1, token));
    std::string longest(AUTH_WORKER_ID_BYTES_MAX, '\xFF');
    ASSERT_TRUE(auth_worker_token_make(secret, longest.c_str(), UINT64_MAX, token));
    EXPECT_TRUE(auth_worker_token_check(secret, token, strlen(token), id, &incarnation));
    EXPECT_EQ(id, longest);
    EXPECT_EQ(incarnation, UINT64_MAX);
    EXPECT_FALSE(auth_worker_token_make(secret, (longest + "x").c_str(), 1, token));
}

TEST(WorkerToken, OfPeers)
{
    uint8_t secret[AUTH_SECRET_BYTES] = {9}, other[AUTH_SECRET_BYTES] = {8};
    char token[AUTH_PEER_TOKEN_BYTES], worker[AUTH_WORKER_TOKEN_BYTES];
    auth_peer_token_make(secret, token);
    ASSERT_TRUE(auth_worker_token_make(secret, "peer", 0, worker));
    EXPECT_TRUE(auth_peer_token_check(secret, token, strlen(token)));
    EXPECT_FALSE(auth_peer_token_check(other, token, strlen(token)));
    EXPECT_FALSE(auth_peer_token_check(secret, token, strlen(token) - 1));
    EXPECT_FALSE(auth_peer_token_check(secret, worker, strlen(worker)));
    EXPECT_FALSE(auth_peer_token_check(secret, "", 0));
}

TEST(Bearer, SchemeAndCredential)
{
    auto credential = [](const std::string &value) -> std::string {
        const char *text = nullptr;
        size_t bytes = 0;
        return auth_bearer(value.data(), value.size(), &text, &bytes) ? std::string(text, bytes) : "(none)";
    };
    EXPECT_EQ(credential("Bearer abc"), "abc");
    EXPECT_EQ(credential("bearer   abc"), "abc");
    EXPECT_EQ(credential("BEARER a.b-c_d=="), "a.b-c_d==");
    for (const char *value : {"", "Bearer", "Bearer ", "Bearerabc", "Basic abc", "Bearer a b", "Bearer a\tb",
                              "Bearer\tabc", "Bear", "Bearer \x80"})
        EXPECT_EQ(credential(value), "(none)") << value;
}

} // namespace
