// Makes JSON Web Tokens for tests, with OpenSSL alone, so that what verifies them is not what made them.

#pragma once

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>
#include <vector>

namespace tokens
{

inline std::string base64url(const std::string &bytes)
{
    std::vector<unsigned char> text(4 * ((bytes.size() + 2) / 3) + 1);
    int length = EVP_EncodeBlock(text.data(), reinterpret_cast<const unsigned char *>(bytes.data()),
                                 static_cast<int>(bytes.size()));
    std::string result(text.begin(), text.begin() + length);
    while (!result.empty() && result.back() == '=')
        result.pop_back();
    for (char &c : result)
        c = c == '+' ? '-' : c == '/' ? '_' : c;
    return result;
}

// A pair of keys: RSA of so many bits, or, with 0, on P-256.
class Pair
{
  public:
    explicit Pair(unsigned bits) : key(bits > 0 ? EVP_RSA_gen(bits) : EVP_EC_gen("P-256"), EVP_PKEY_free) {}

    std::string public_pem() const
    {
        BIO *memory = BIO_new(BIO_s_mem());
        PEM_write_bio_PUBKEY(memory, key.get());
        char *data = nullptr;
        long bytes = BIO_get_mem_data(memory, &data);
        std::string pem(data, static_cast<size_t>(bytes));
        BIO_free(memory);
        return pem;
    }

    // As RFC 7518 has it: ECDSA's two numbers one behind the other.
    std::string sign(const std::string &message) const
    {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        size_t bytes = 0;
        EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key.get());
        auto data = reinterpret_cast<const unsigned char *>(message.data());
        EVP_DigestSign(context, nullptr, &bytes, data, message.size());
        std::vector<unsigned char> signature(bytes);
        EVP_DigestSign(context, signature.data(), &bytes, data, message.size());
        EVP_MD_CTX_free(context);
        if (EVP_PKEY_base_id(key.get()) == EVP_PKEY_RSA)
            return std::string(signature.begin(), signature.begin() + static_cast<long>(bytes));
        const unsigned char *at = signature.data();
        ECDSA_SIG *pair = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(bytes));
        std::string raw(64, '\0');
        BN_bn2binpad(ECDSA_SIG_get0_r(pair), reinterpret_cast<unsigned char *>(&raw[0]), 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), reinterpret_cast<unsigned char *>(&raw[32]), 32);
        ECDSA_SIG_free(pair);
        return raw;
    }

  private:
    std::shared_ptr<EVP_PKEY> key;
};

inline std::string hmac(const std::string &secret, const std::string &message)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<const unsigned char *>(message.data()), message.size(), mac, &bytes);
    return std::string(mac, mac + bytes);
}

inline std::string signed_by(const Pair &pair, const std::string &header, const std::string &payload)
{
    std::string message = base64url(header) + "." + base64url(payload);
    return message + "." + base64url(pair.sign(message));
}

inline std::string signed_with(const std::string &secret, const std::string &header, const std::string &payload)
{
    std::string message = base64url(header) + "." + base64url(payload);
    return message + "." + base64url(hmac(secret, message));
}

// A text as a JSON string.
inline std::string quoted(const std::string &text)
{
    std::string result = "\"";
    for (char c : text) {
        if (c == '\n')
            result += "\\n";
        else
            result += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
    }
    return result + "\"";
}

} // namespace tokens
