/* The demonstration service's counts, whatever the pieces that a document comes in. */

#include <gtest/gtest.h>

#include <string>

extern "C" {
#include "services/worker/document.h"
}

namespace
{

document_summary summarize(const std::string &text, size_t piece)
{
    document *counted = document_create();
    for (size_t at = 0; at < text.size(); at += piece)
        EXPECT_TRUE(document_add(counted, text.data() + at, std::min(piece, text.size() - at)));
    document_summary summary;
    EXPECT_TRUE(document_finish(counted, &summary));
    document_free(counted);
    return summary;
}

TEST(Document, Empty)
{
    document_summary summary = summarize("", 1);
    EXPECT_EQ(summary.bytes, 0u);
    EXPECT_EQ(summary.lines, 0u);
    EXPECT_EQ(summary.words, 0u);
    EXPECT_STREQ(summary.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Document, CountsAsWcDoesInAnyPieces)
{
    /* wc says 3 lines and 6 words of this. */
    const std::string text = "one two\n\tthree  caf\xc3\xa9\r\n\v\f four\n\x01 five";
    for (size_t piece = 1; piece <= text.size(); piece++) {
        document_summary summary = summarize(text, piece);
        EXPECT_EQ(summary.bytes, text.size());
        EXPECT_EQ(summary.lines, 3u) << piece;
        EXPECT_EQ(summary.words, 6u) << piece;
    }
}

TEST(Document, DigestOfAKnownText)
{
    EXPECT_STREQ(summarize("abc", 2).sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

} // namespace
