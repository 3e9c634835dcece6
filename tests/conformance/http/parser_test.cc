// The parser alone: what it takes, what it refuses, and that the way in which bytes arrive makes
// no difference.

#include "tests/conformance/http/malformed_requests.h"

extern "C" {
#include "common/http/chunked.h"
#include "common/http/parser.h"
#include "common/http/target.h"
}

#include <gtest/gtest.h>

namespace {

std::string text(http_text t)
{
    return std::string(t.data == nullptr ? "" : t.data, t.bytes);
}

const http_limits default_limits = HTTP_LIMITS_DEFAULT;

struct Parsed {
    http_parse result;
    http_head head;
    std::string bytes; // that head points into
    std::string body;
};

// Decodes a chunked body in steps of `step` bytes.
http_parse decode(const std::string &bytes, size_t step, std::string *body, size_t *used_all)
{
    http_chunked chunked;
    http_chunked_init(&chunked);
    http_parse result = HTTP_PARSE_MORE;
    size_t at = 0;
    while (at < bytes.size() && result == HTTP_PARSE_MORE) {
        size_t used = 0;
        http_text piece;
        result = http_chunked_decode(&chunked, bytes.data() + at, std::min(step, bytes.size() - at), &used, &piece);
        *body += text(piece);
        at += used;
    }
    *used_all = at;
    return result;
}

// Parses a request whose bytes arrive in steps; a chunked body is decoded as well.
void parse(Parsed *parsed, const std::string &bytes, size_t step, bool response = false)
{
    http_parser parser;
    parsed->bytes = bytes;
    if (response)
        http_parser_init_response(&parser, &parsed->head, default_limits);
    else
        http_parser_init_request(&parser, &parsed->head, default_limits);
    parsed->result = HTTP_PARSE_MORE;
    for (size_t at = 0; at < bytes.size() && parsed->result == HTTP_PARSE_MORE;) {
        at = std::min(at + step, bytes.size());
        parsed->result = http_parser_feed(&parser, &parsed->head, parsed->bytes.data(), at);
    }
    if (parsed->result == HTTP_PARSE_DONE && parsed->head.chunked) {
        size_t used;
        parsed->result = decode(bytes.substr(parsed->head.head_bytes), step, &parsed->body, &used);
    }
}

TEST(RequestParser, RefusesMalformedRequestsHoweverTheyArrive)
{
    auto table = malformed_requests();
    EXPECT_GE(table.size(), 60u);
    for (const auto &request : table)
        for (size_t step : {size_t{1}, size_t{2}, size_t{7}, size_t{65536}}) {
            Parsed parsed;
            parse(&parsed, request.bytes, step);
            EXPECT_TRUE(http_parse_failed(parsed.result)) << request.name << ", in steps of " << step;
            if (http_parse_failed(parsed.result)) {
                EXPECT_EQ(http_parse_status(parsed.result), request.status)
                    << request.name << ": " << http_parse_text(parsed.result);
                EXPECT_GT(strlen(http_parse_text(parsed.result)), 10u);
            }
        }
}

TEST(RequestParser, TakesAGetWithEverythingInPlace)
{
    for (size_t step : {size_t{1}, size_t{3}, size_t{1000}}) {
        Parsed parsed;
        parse(&parsed, "GET /a/b%20c?x=1&y HTTP/1.1\r\nHost: example.com:8080\r\nAccept:*/*\r\nX-Empty:\r\nX:  a b \t\r\n\r\n",
              step);
        ASSERT_EQ(parsed.result, HTTP_PARSE_DONE);
        const http_head &head = parsed.head;
        EXPECT_EQ(head.method, HTTP_METHOD_GET);
        EXPECT_EQ(text(http_head_path(&head)), "/a/b%20c");
        EXPECT_TRUE(head.has_query);
        EXPECT_EQ(text(http_head_query(&head)), "x=1&y");
        EXPECT_EQ(text(http_head_text(&head, head.host)), "example.com:8080");
        EXPECT_EQ(text(http_head_get(&head, "accept")), "*/*");
        EXPECT_EQ(text(http_head_get(&head, "x-empty")), "");
        EXPECT_EQ(text(http_head_get(&head, "X")), "a b");
        EXPECT_EQ(http_head_get(&head, "missing").data, nullptr);
        EXPECT_TRUE(head.keep_alive);
        EXPECT_EQ(head.head_bytes, parsed.bytes.size());
        EXPECT_EQ(http_request_framing(&head), HTTP_FRAMING_NONE);
    }
}

TEST(RequestParser, SkipsOneEmptyLineInFront)
{
    Parsed parsed;
    parse(&parsed, "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    EXPECT_EQ(parsed.result, HTTP_PARSE_DONE);
}

TEST(RequestParser, TheHostOfAnAbsoluteTargetWins)
{
    Parsed parsed;
    parse(&parsed, "GET http://real:81/x?y HTTP/1.1\r\nHost: other\r\n\r\n", 100);
    ASSERT_EQ(parsed.result, HTTP_PARSE_DONE);
    EXPECT_EQ(text(http_head_path(&parsed.head)), "/x");
    EXPECT_EQ(text(http_head_text(&parsed.head, parsed.head.host)), "real:81");
    parse(&parsed, "GET http://real HTTP/1.1\r\nHost: other\r\n\r\n", 100);
    ASSERT_EQ(parsed.result, HTTP_PARSE_DONE);
    EXPECT_EQ(text(http_head_path(&parsed.head)), "/");
    parse(&parsed, "GET http://real?q HTTP/1.1\r\nHost: other\r\n\r\n", 100);
    ASSERT_EQ(parsed.result, HTTP_PARSE_DONE);
    EXPECT_EQ(text(http_head_path(&parsed.head)), "/");
    EXPECT_EQ(text(http_head_query(&parsed.head)), "q");
}

TEST(RequestParser, KeepsAliveAsVersionAndConnectionSay)
{
    const struct {
        const char *request;
        bool keep_alive;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };
    for (const auto &c : cases) {
        Parsed parsed;
        parse(&parsed, c.request, 1000);
        ASSERT_EQ(parsed.result, HTTP_PARSE_DONE) << c.request;
        EXPECT_EQ(parsed.head.keep_alive, c.keep_alive) << c.request;
    }
}

TEST(RequestParser, TakesEqualContentLengthsAndRefusesOneOverItsLimits)
{
    Parsed parsed;
    parse(&parsed, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 1000);
    ASSERT_EQ(parsed.result, HTTP_PARSE_DONE);
    EXPECT_EQ(parsed.head.content_bytes, 5u);
    // The limit counts also before the line is complete: an endless one is refused early.
    http_parser parser;
    http_parser_init_request(&parser, &parsed.head, {100, 200, 10});
    std::string endless = "GET /" + std::string(96, 'a');
    EXPECT_EQ(http_parser_feed(&parser, &parsed.head, endless.data(), 100), HTTP_PARSE_MORE);
    EXPECT_EQ(http_parser_feed(&parser, &parsed.head, endless.data(), 101), HTTP_PARSE_LINE_TOO_LONG);
}

TEST(RequestParser, KnowsAnUpgrade)
{
    Parsed parsed;
    parse(&parsed, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", 9);
    ASSERT_EQ(parsed.result, HTTP_PARSE_DONE);
    EXPECT_TRUE(parsed.head.upgrade);
    EXPECT_TRUE(http_head_has_token(&parsed.head, "connection", "upgrade"));
    parse(&parsed, "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", 9);
    ASSERT_EQ(parsed.result, HTTP_PARSE_DONE);
    EXPECT_FALSE(parsed.head.upgrade);
}

TEST(RequestParser, WeighsWhichCodingsAreAccepted)
{
    const auto accepts = [](const std::string &fields) {
        Parsed parsed;
        parse(&parsed, "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n", 1000);
        EXPECT_EQ(parsed.result, HTTP_PARSE_DONE);
        return http_head_accepts_coding(&parsed.head, "gzip");
    };
    for (const char *value : {"gzip", "GZIP", "gzip, deflate, br", "br, gzip;q=0.5", "gzip ; q=1.0,deflate;q=0.6", "*",
                              "*;q=0.1", "br,gzip;q=0.001,*;q=0", "identity;q=0, *"})
        EXPECT_TRUE(accepts("Accept-Encoding: " + std::string(value) + "\r\n")) << value;
    for (const char *value : {"", "br", "x-gzipped", "gzip;q=0", "gzip; q=0.000", "*;q=0", "*, gzip;q=0", "gzip;q=0, *"})
        EXPECT_FALSE(accepts("Accept-Encoding: " + std::string(value) + "\r\n")) << value;
    EXPECT_FALSE(accepts(""));
    EXPECT_TRUE(accepts("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n"));
}

TEST(ResponseParser, TakesStatusLinesWithAndWithoutAReason)
{
    for (const char *bytes : {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
                              "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"}) {
        Parsed parsed;
        parse(&parsed, bytes, 1, true);
        ASSERT_EQ(parsed.result, HTTP_PARSE_DONE) << bytes;
        EXPECT_EQ(parsed.head.status, 200u);
    }
}

TEST(ResponseParser, RefusesMalformedResponses)
{
    for (const char *bytes : {
             "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
             "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 600 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "ICY 200 OK now\r\n\r\n",
             "HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 O\x01K\r\n\r\n", "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
             "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
             "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n",
         }) {
        Parsed parsed;
        parse(&parsed, bytes, 1, true);
        EXPECT_TRUE(http_parse_failed(parsed.result)) << bytes;
    }
}

TEST(ResponseParser, FramesByStatusAndMethod)
{
    Parsed parsed;
    parse(&parsed, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 100, true);
    EXPECT_EQ(http_response_framing(&parsed.head, HTTP_METHOD_GET), HTTP_FRAMING_LENGTH);
    EXPECT_EQ(http_response_framing(&parsed.head, HTTP_METHOD_HEAD), HTTP_FRAMING_NONE);
    parse(&parsed, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 100, true);
    EXPECT_EQ(http_response_framing(&parsed.head, HTTP_METHOD_GET), HTTP_FRAMING_NONE);
    parse(&parsed, "HTTP/1.1 200 OK\r\n\r\n", 100, true);
    EXPECT_EQ(http_response_framing(&parsed.head, HTTP_METHOD_GET), HTTP_FRAMING_CLOSE);
}

TEST(Chunked, DecodesHoweverItArrives)
{
    const std::string bytes = "5;ext=\"v\"\r\nhello\r\n00006\r\n world\r\n0\r\nTrailer: x\r\n\r\nNEXT";
    for (size_t step = 1; step <= bytes.size(); step++) {
        std::string body;
        size_t used = 0;
        EXPECT_EQ(decode(bytes, step, &body, &used), HTTP_PARSE_DONE);
        EXPECT_EQ(body, "hello world");
        EXPECT_EQ(bytes.substr(used), "NEXT") << "what follows is the next message's";
    }
}

TEST(Chunked, WritesSizesThatItReads)
{
    for (uint64_t size : {uint64_t{1}, uint64_t{15}, uint64_t{16}, uint64_t{0xabcdef}, uint64_t{0x7fffffffffffffff}}) {
        char line[HTTP_CHUNK_HEAD_BYTES_MAX];
        std::string text_of_size(line, http_chunk_head(line, size));
        EXPECT_EQ(std::stoull(text_of_size, nullptr, 16), size);
        http_chunked chunked;
        http_chunked_init(&chunked);
        size_t used;
        http_text piece;
        EXPECT_EQ(http_chunked_decode(&chunked, text_of_size.data(), text_of_size.size(), &used, &piece), HTTP_PARSE_MORE);
        EXPECT_EQ(chunked.left_bytes, size);
    }
}

TEST(Target, DecodesAndSplitsPaths)
{
    char decoded[16];
    EXPECT_EQ(http_percent_decode(http_text_of("a%20b+c"), false, decoded, sizeof decoded), 5);
    EXPECT_STREQ(decoded, "a b+c");
    EXPECT_EQ(http_percent_decode(http_text_of("a+b"), true, decoded, sizeof decoded), 3);
    EXPECT_STREQ(decoded, "a b");
    EXPECT_EQ(http_percent_decode(http_text_of("%00"), false, decoded, sizeof decoded), -1);
    EXPECT_EQ(http_percent_decode(http_text_of("%4"), false, decoded, sizeof decoded), -1);
    EXPECT_EQ(http_percent_decode(http_text_of("0123456789abcdef"), false, decoded, sizeof decoded), -1);

    http_text path = http_text_of("/api//x"), segment;
    ASSERT_TRUE(http_path_next_segment(&path, &segment));
    EXPECT_EQ(text(segment), "api");
    EXPECT_EQ(text(path), "//x");
    ASSERT_TRUE(http_path_next_segment(&path, &segment));
    EXPECT_EQ(text(segment), "");
    ASSERT_TRUE(http_path_next_segment(&path, &segment));
    EXPECT_EQ(text(segment), "x");
    EXPECT_FALSE(http_path_next_segment(&path, &segment));

    EXPECT_EQ(http_query_get(http_text_of("a=1&bb=x%2Fy&c"), "bb", decoded, sizeof decoded), 3);
    EXPECT_STREQ(decoded, "x/y");
    EXPECT_EQ(http_query_get(http_text_of("a=1&bb=2"), "b", decoded, sizeof decoded), -1);
}

TEST(Target, ParsesOrigins)
{
    http_origin origin;
    ASSERT_TRUE(http_origin_parse(http_text_of("https://Abc.example.com/base/"), &origin));
    EXPECT_TRUE(origin.tls);
    EXPECT_EQ(origin.port, 443);
    EXPECT_STREQ(origin.host, "abc.example.com");
    EXPECT_STREQ(origin.authority, "abc.example.com");
    EXPECT_STREQ(origin.prefix, "/base");
    EXPECT_STREQ(origin.key, "https://abc.example.com:443");
    ASSERT_TRUE(http_origin_parse(http_text_of("http://[::1]:8070"), &origin));
    EXPECT_STREQ(origin.host, "::1");
    EXPECT_STREQ(origin.authority, "[::1]:8070");
    EXPECT_EQ(origin.port, 8070);
    for (const char *url : {"", "ftp://a", "http://", "http://a:0", "http://a:70000", "http://a:8x", "http://u@a", "http://a b",
                            "http://a/../b", "http://a/x?y", "http://a/x#y", "http://[::1", "a:80"})
        EXPECT_FALSE(http_origin_parse(http_text_of(url), &origin)) << url;
}

} // namespace
