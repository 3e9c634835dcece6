// The proof that a coordinator is at its URL, against the test vectors of RFC 4231.

extern "C" {
#include "gateway/proof.h"
}

#include <gtest/gtest.h>

namespace
{

TEST(Proof, IsAnHmacSha256)
{
    char text[PROOF_TEXT_BYTES];
    proof_make("Jefe", "what do ya want for nothing?", text);
    EXPECT_STREQ(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Proof, MatchesItselfAndNothingElse)
{
    char text[PROOF_TEXT_BYTES];
    proof_make("key", "nonce", text);
    EXPECT_TRUE(proof_matches("key", "nonce", text));
    EXPECT_FALSE(proof_matches("key", "nonce2", text));
    EXPECT_FALSE(proof_matches("key2", "nonce", text));
    EXPECT_FALSE(proof_matches("key", "nonce", ""));
    text[10] ^= 1;
    EXPECT_FALSE(proof_matches("key", "nonce", text));
}

} // namespace
