// Requests that have to be refused, each with the status that says so. Both the parser and a
// whole server are asked.

#pragma once

#include <string>
#include <vector>

struct MalformedRequest {
    const char *name;
    std::string bytes;
    unsigned status;
};

inline std::vector<MalformedRequest> malformed_requests()
{
    const std::string host = "Host: a\r\n";
    auto line = [&](const std::string &text) { return text + "\r\n" + host + "\r\n"; };
    auto field = [&](const std::string &text) { return "GET / HTTP/1.1\r\n" + host + text + "\r\n\r\n"; };
    auto post = [&](const std::string &text) { return "POST / HTTP/1.1\r\n" + host + text; };
    auto chunks = [&](const std::string &text) {
        return "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n" + text;
    };
    std::string nul(1, '\0');
    std::vector<MalformedRequest> table = {
        // The request line.
        {"no method", line(" / HTTP/1.1"), 400},
        {"method not a token", line("GE(T / HTTP/1.1"), 400},
        {"method with a control character", line("GE\x01T / HTTP/1.1"), 400},
        {"CONNECT", line("CONNECT a:443 HTTP/1.1"), 400},
        {"no target", line("GET HTTP/1.1"), 400},
        {"two spaces before the target", line("GET  / HTTP/1.1"), 400},
        {"tab before the target", line("GET\t/ HTTP/1.1"), 400},
        {"two spaces before the version", line("GET /  HTTP/1.1"), 400},
        {"space behind the version", line("GET / HTTP/1.1 "), 400},
        {"space in the target", line("GET /a b HTTP/1.1"), 400},
        {"HTTP/0.9", "GET /\r\n\r\n", 400},
        {"version in lower case", line("GET / http/1.1"), 400},
        {"version without a minor number", line("GET / HTTP/1"), 400},
        {"version with two digits", line("GET / HTTP/1.10"), 400},
        {"version with a comma", line("GET / HTTP/1,1"), 400},
        {"HTTP/2.0", line("GET / HTTP/2.0"), 505},
        {"HTTP/1.2", line("GET / HTTP/1.2"), 505},
        {"HTTP/0.1", line("GET / HTTP/0.1"), 505},
        {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"a TLS handshake", std::string("\x16\x03\x01\x00\xa5\x01\r\n\r\n", 10), 400},
        {"two empty lines in front", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"request line too long", line("GET /" + std::string(9000, 'a') + " HTTP/1.1"), 414},
        // Targets.
        {"relative target", line("GET a HTTP/1.1"), 400},
        {"asterisk with GET", line("GET * HTTP/1.1"), 400},
        {"authority as a target", line("GET a:80 HTTP/1.1"), 400},
        {"absolute target of another scheme", line("GET ftp://a/ HTTP/1.1"), 400},
        {"absolute target without a host", line("GET http:///x HTTP/1.1"), 400},
        {"absolute target with user information", line("GET http://u:p@a/ HTTP/1.1"), 400},
        {"absolute target with a bad port", line("GET http://a:8x/ HTTP/1.1"), 400},
        {"fragment", line("GET /a#b HTTP/1.1"), 400},
        {"fragment in the query", line("GET /a?b#c HTTP/1.1"), 400},
        {"backslash", line("GET /a\\b HTTP/1.1"), 400},
        {"quote", line("GET /\"a HTTP/1.1"), 400},
        {"NUL in the target", line("GET /a" + nul + "b HTTP/1.1"), 400},
        {"byte above 127 in the target", line("GET /\xc3\xa4 HTTP/1.1"), 400},
        {"segment ..", line("GET /a/../b HTTP/1.1"), 400},
        {"segment .. at the end", line("GET /a/.. HTTP/1.1"), 400},
        {"segment .", line("GET /./b HTTP/1.1"), 400},
        {"encoded ..", line("GET /%2e%2E/b HTTP/1.1"), 400},
        {"half encoded ..", line("GET /.%2e/b HTTP/1.1"), 400},
        {".. with parameters", line("GET /a/..;x=1/b HTTP/1.1"), 400},
        {"encoded slash", line("GET /a%2fb HTTP/1.1"), 400},
        {"encoded backslash", line("GET /a%5Cb HTTP/1.1"), 400},
        {"encoded NUL", line("GET /a%00b HTTP/1.1"), 400},
        {"encoded line end", line("GET /a%0d%0ab HTTP/1.1"), 400},
        {"escape cut short", line("GET /a%2 HTTP/1.1"), 400},
        {"escape that is none", line("GET /a%zz HTTP/1.1"), 400},
        // Line ends.
        {"bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
        {"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"bare LF behind a field of no meaning", "GET / HTTP/1.1\r\nHost: a\r\nX: abc\nY: d\r\n\r\n", 400},
        {"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        {"bare CR in a value", field("X: a\rb"), 400},
        {"bare CR before a field", field("\rX: a"), 400},
        {"CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
        // Fields.
        {"space before the colon", field("X : a"), 400},
        {"tab before the colon", field("X\t: a"), 400},
        {"space before the colon of Content-Length", field("Content-Length : 0"), 400},
        {"no colon", field("X"), 400},
        {"empty name", field(": a"), 400},
        {"name not a token", field("X(y): a"), 400},
        {"name with a byte above 127", field("X\xe4: a"), 400},
        {"folded field", field("X: a\r\n b"), 400},
        {"folded with a tab", field("X: a\r\n\tb"), 400},
        {"space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
        {"NUL in a value", field("X: a" + nul + "b"), 400},
        {"control character in a value", field("X: a\x07" "b"), 400},
        {"DEL in a value", field("X: a\x7f"), 400},
        {"too many fields", "GET / HTTP/1.1\r\n" + host + [] {
             std::string fields;
             for (int i = 0; i < 120; i++)
                 fields += "X" + std::to_string(i) + ": a\r\n";
             return fields;
         }() + "\r\n", 431},
        {"fields too large", field("X: " + std::string(17000, 'a')), 431},
        // Host.
        {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
        {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
        {"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
        {"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {"Host with user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
        {"Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"Host with a bad port", "GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n", 400},
        {"Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
        // How the body ends.
        {"Content-Length beside Transfer-Encoding",
         post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400},
        {"Transfer-Encoding beside Content-Length",
         post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"), 400},
        {"Content-Lengths that differ", post("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), 400},
        {"Content-Length as a list", post("Content-Length: 5, 5\r\n\r\nhello"), 400},
        {"negative Content-Length", post("Content-Length: -1\r\n\r\n"), 400},
        {"Content-Length with a plus", post("Content-Length: +5\r\n\r\nhello"), 400},
        {"hexadecimal Content-Length", post("Content-Length: 0x5\r\n\r\nhello"), 400},
        {"empty Content-Length", post("Content-Length:\r\n\r\n"), 400},
        {"Content-Length with a space inside", post("Content-Length: 1 2\r\n\r\n"), 400},
        {"Content-Length beyond 64 bits", post("Content-Length: 99999999999999999999\r\n\r\n"), 400},
        {"Transfer-Encoding in HTTP/1.0",
         "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"empty Transfer-Encoding", post("Transfer-Encoding:\r\n\r\n"), 400},
        {"chunked twice", post("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), 400},
        {"two Transfer-Encodings",
         post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"), 400},
        {"chunked not last", post("Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), 400},
        {"chunked with a parameter", post("Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"), 400},
        {"chunked in quotes", post("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), 400},
        {"vertical tab before chunked", post("Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n"), 400},
        {"gzip", post("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501},
        {"identity", post("Transfer-Encoding: identity\r\n\r\n"), 501},
        {"almost chunked", post("Transfer-Encoding: xchunked\r\n\r\n"), 501},
        {"unknown expectation", field("Expect: tea"), 417},
        // Chunks.
        {"chunk size not a number", chunks("x\r\n"), 400},
        {"chunk size with a sign", chunks("+5\r\nhello\r\n0\r\n\r\n"), 400},
        {"chunk size with 0x", chunks("0x5\r\nhello\r\n0\r\n\r\n"), 400},
        {"empty chunk size", chunks("\r\nhello\r\n0\r\n\r\n"), 400},
        {"space before a chunk size", chunks(" 5\r\nhello\r\n0\r\n\r\n"), 400},
        {"space behind a chunk size", chunks("5 \r\nhello\r\n0\r\n\r\n"), 400},
        {"chunk size of 17 digits", chunks("00000000000000005\r\nhello\r\n0\r\n\r\n"), 400},
        {"chunk size beyond 63 bits", chunks("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 400},
        {"bare LF behind a chunk size", chunks("5\nhello\r\n0\r\n\r\n"), 400},
        {"chunk longer than its size", chunks("5\r\nhello!\r\n0\r\n\r\n"), 400},
        {"bare LF behind a chunk", chunks("5\r\nhello\n0\r\n\r\n"), 400},
        {"control character in a chunk extension", chunks("5;a=\x01\r\nhello\r\n0\r\n\r\n"), 400},
        {"bare LF in a chunk extension", chunks("5;a\nhello\r\n0\r\n\r\n"), 400},
        {"chunk extension too long", chunks("5;" + std::string(300, 'a') + "\r\nhello\r\n0\r\n\r\n"), 400},
        {"trailer without a colon", chunks("5\r\nhello\r\n0\r\nX\r\n\r\n"), 400},
        {"trailer with a space before the colon", chunks("5\r\nhello\r\n0\r\nX : a\r\n\r\n"), 400},
        {"trailer with a bare LF", chunks("5\r\nhello\r\n0\r\nX: a\n\r\n"), 400},
        {"trailers too long", chunks("5\r\nhello\r\n0\r\nX: " + std::string(5000, 'a') + "\r\n\r\n"), 400},
    };
    return table;
}
