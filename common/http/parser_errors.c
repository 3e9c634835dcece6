/* What each error of the parser means to a client; see parser.h. */

#include "common/http/parser.h"

unsigned http_parse_status(enum http_parse error)
{
    switch (error) {
    case HTTP_PARSE_VERSION_UNSUPPORTED:
        return 505;
    case HTTP_PARSE_CODING_UNSUPPORTED:
        return 501;
    case HTTP_PARSE_BAD_EXPECTATION:
        return 417;
    case HTTP_PARSE_LINE_TOO_LONG:
        return 414;
    case HTTP_PARSE_FIELDS_TOO_LARGE:
    case HTTP_PARSE_TOO_MANY_FIELDS:
        return 431;
    default:
        return 400;
    }
}

const char *http_parse_text(enum http_parse error)
{
    switch (error) {
    case HTTP_PARSE_DONE:
        return "The message is complete.";
    case HTTP_PARSE_MORE:
        return "The message is not complete.";
    case HTTP_PARSE_BAD_LINE_END:
        return "A line does not end with CR LF.";
    case HTTP_PARSE_BAD_CHARACTER:
        return "A control character stands where none may be.";
    case HTTP_PARSE_BAD_METHOD:
        return "The method is malformed or not offered.";
    case HTTP_PARSE_BAD_TARGET:
        return "The request target is malformed, or its path has dot segments or encoded slashes.";
    case HTTP_PARSE_BAD_VERSION:
        return "The protocol version is malformed.";
    case HTTP_PARSE_VERSION_UNSUPPORTED:
        return "Only HTTP/1.0 and HTTP/1.1 are spoken here.";
    case HTTP_PARSE_BAD_STATUS:
        return "The status line is malformed.";
    case HTTP_PARSE_BAD_FIELD_NAME:
        return "A field name is malformed.";
    case HTTP_PARSE_FOLDED_FIELD:
        return "A field is folded over several lines.";
    case HTTP_PARSE_BAD_HOST:
        return "The Host field is missing, repeated or malformed.";
    case HTTP_PARSE_BAD_LENGTH:
        return "The Content-Length is malformed or contradicts another one.";
    case HTTP_PARSE_BAD_CODING:
        return "The Transfer-Encoding is malformed.";
    case HTTP_PARSE_CODING_UNSUPPORTED:
        return "The only transfer coding spoken here is chunked.";
    case HTTP_PARSE_LENGTH_AND_CODING:
        return "Content-Length and Transfer-Encoding contradict each other.";
    case HTTP_PARSE_BAD_EXPECTATION:
        return "The only expectation met here is 100-continue.";
    case HTTP_PARSE_LINE_TOO_LONG:
        return "The request line is too long.";
    case HTTP_PARSE_FIELDS_TOO_LARGE:
        return "The header fields are too large.";
    case HTTP_PARSE_TOO_MANY_FIELDS:
        return "There are too many header fields.";
    case HTTP_PARSE_BAD_CHUNK:
        return "The chunked body is malformed.";
    case HTTP_PARSE_CHUNK_LINE_TOO_LONG:
        return "A chunk extension or the trailers are too long.";
    }
    return "Unknown.";
}
