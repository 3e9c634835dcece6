/* Request lines, status lines and fields; see parser.h. */

#include "common/http/parser.h"

#include "common/http/characters.h"
#include "common/http/target.h"

#include <string.h>

struct http_text http_text_of(const char *text)
{
    return (struct http_text){text, strlen(text)};
}

bool http_text_equal(struct http_text text, const char *other)
{
    return text.bytes == strlen(other) && memcmp(text.data, other, text.bytes) == 0;
}

bool http_text_equal_ignoring_case(struct http_text text, const char *other)
{
    if (text.bytes != strlen(other))
        return false;
    for (size_t i = 0; i < text.bytes; i++)
        if (http_lower(text.data[i]) != http_lower(other[i]))
            return false;
    return true;
}

bool http_method_is_idempotent(enum http_method method)
{
    switch (method) {
    case HTTP_METHOD_GET:
    case HTTP_METHOD_HEAD:
    case HTTP_METHOD_PUT:
    case HTTP_METHOD_DELETE:
    case HTTP_METHOD_OPTIONS:
    case HTTP_METHOD_TRACE:
        return true;
    case HTTP_METHOD_OTHER:
    case HTTP_METHOD_POST:
    case HTTP_METHOD_PATCH:
        break;
    }
    return false;
}

/* --- Heads as their readers see them ---------------------------------------------------- */

struct http_text http_head_get(const struct http_head *head, const char *name)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (http_text_equal_ignoring_case(http_field_name_text(head, &head->fields[i]), name))
            return http_field_value(head, &head->fields[i]);
    return (struct http_text){NULL, 0};
}

struct http_text http_head_get_known(const struct http_head *head, enum http_field_name name)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (head->fields[i].name == name)
            return http_field_value(head, &head->fields[i]);
    return (struct http_text){NULL, 0};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts the next element off a comma list and trims it; false at the end. Empty elements
 * are skipped, as RFC 9110 5.6.1 asks of recipients. */
static bool next_element(struct http_text *list, struct http_text *element)
{
    while (list->bytes > 0) {
        const char *comma = memchr(list->data, ',', list->bytes);
        size_t bytes = comma != NULL ? (size_t)(comma - list->data) : list->bytes;
        *element = (struct http_text){list->data, bytes};
        size_t consumed = comma != NULL ? bytes + 1 : bytes;
        list->data += consumed;
        list->bytes -= consumed;
        while (element->bytes > 0 && is_blank(element->data[0])) {
            element->data++;
            element->bytes--;
        }
        while (element->bytes > 0 && is_blank(element->data[element->bytes - 1]))
            element->bytes--;
        if (element->bytes > 0)
            return true;
    }
    return false;
}

bool http_head_has_token(const struct http_head *head, const char *name, const char *token)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!http_text_equal_ignoring_case(http_field_name_text(head, field), name))
            continue;
        struct http_text list = http_field_value(head, field), element;
        while (next_element(&list, &element))
            if (http_text_equal_ignoring_case(element, token))
                return true;
    }
    return false;
}

/* Cuts "; q=0.5" off an element; whether the weight is above 0, as it is without one. */
static bool cut_weight(struct http_text *element)
{
    const char *semicolon = memchr(element->data, ';', element->bytes);
    if (semicolon == NULL)
        return true;
    bool positive = false;
    for (const char *at = semicolon; at < element->data + element->bytes; at++)
        positive = positive || (*at >= '1' && *at <= '9');
    element->bytes = (size_t)(semicolon - element->data);
    while (element->bytes > 0 && is_blank(element->data[element->bytes - 1]))
        element->bytes--;
    return positive;
}

bool http_head_accepts_coding(const struct http_head *head, const char *coding)
{
    bool any = false;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!http_text_equal_ignoring_case(http_field_name_text(head, field), "accept-encoding"))
            continue;
        struct http_text list = http_field_value(head, field), element;
        while (next_element(&list, &element)) {
            bool wanted = cut_weight(&element);
            if (http_text_equal_ignoring_case(element, coding))
                return wanted;
            if (http_text_equal(element, "*"))
                any = wanted;
        }
    }
    return any;
}

/* --- Parsing --------------------------------------------------------------------------------- */

static void init(struct http_parser *parser, struct http_head *head, struct http_limits limits, bool response)
{
    *parser = (struct http_parser){.limits = limits, .response = response};
    if (parser->limits.field_count > HTTP_FIELDS_MAX)
        parser->limits.field_count = HTTP_FIELDS_MAX;
    memset(head, 0, offsetof(struct http_head, fields)); /* fields are counted, not cleared */
}

void http_parser_init_request(struct http_parser *parser, struct http_head *head, struct http_limits limits)
{
    init(parser, head, limits, false);
}

void http_parser_init_response(struct http_parser *parser, struct http_head *head, struct http_limits limits)
{
    init(parser, head, limits, true);
}

static enum http_method method_of(struct http_text text)
{
    switch (text.bytes) {
    case 3:
        if (memcmp(text.data, "GET", 3) == 0)
            return HTTP_METHOD_GET;
        if (memcmp(text.data, "PUT", 3) == 0)
            return HTTP_METHOD_PUT;
        break;
    case 4:
        if (memcmp(text.data, "POST", 4) == 0)
            return HTTP_METHOD_POST;
        if (memcmp(text.data, "HEAD", 4) == 0)
            return HTTP_METHOD_HEAD;
        break;
    case 5:
        if (memcmp(text.data, "PATCH", 5) == 0)
            return HTTP_METHOD_PATCH;
        if (memcmp(text.data, "TRACE", 5) == 0)
            return HTTP_METHOD_TRACE;
        break;
    case 6:
        if (memcmp(text.data, "DELETE", 6) == 0)
            return HTTP_METHOD_DELETE;
        break;
    case 7:
        if (memcmp(text.data, "OPTIONS", 7) == 0)
            return HTTP_METHOD_OPTIONS;
        break;
    default:
        break;
    }
    return HTTP_METHOD_OTHER;
}

/* host [":" port], without user information. */
static bool authority_acceptable(struct http_text authority)
{
    size_t i = 0;
    if (authority.bytes > 0 && authority.data[0] == '[') {
        for (i = 1; i < authority.bytes && authority.data[i] != ']'; i++)
            if (http_hex_digit(authority.data[i]) < 0 && authority.data[i] != ':' && authority.data[i] != '.')
                return false;
        if (i < 3 || i == authority.bytes)
            return false;
        i++;
    } else {
        while (i < authority.bytes && http_character_is(authority.data[i], HTTP_CHARACTER_HOST))
            i++;
        if (i == 0)
            return false;
    }
    if (i == authority.bytes)
        return true;
    if (authority.data[i] != ':' || authority.bytes - i > 6)
        return false;
    for (i++; i < authority.bytes; i++)
        if (!http_character_is(authority.data[i], HTTP_CHARACTER_DIGIT))
            return false;
    return true;
}

static struct http_span span_of(const char *base, const char *from, const char *to)
{
    return (struct http_span){(uint32_t)(from - base), (uint32_t)(to - from)};
}

/* Splits "/path?query" and checks both. `base` is where spans count from. */
static enum http_parse parse_path_and_query(struct http_head *head, const char *base, const char *from, const char *end)
{
    const char *question = memchr(from, '?', (size_t)(end - from));
    const char *path_end = question != NULL ? question : end;
    head->path = span_of(base, from, path_end);
    if (!http_path_acceptable((struct http_text){from, (size_t)(path_end - from)}))
        return HTTP_PARSE_BAD_TARGET;
    if (question != NULL) {
        head->has_query = true;
        head->query = span_of(base, question + 1, end);
        for (const char *c = question + 1; c < end; c++)
            if (!http_character_is(*c, HTTP_CHARACTER_QUERY))
                return HTTP_PARSE_BAD_TARGET;
    }
    return HTTP_PARSE_MORE;
}

static bool starts_with_ignoring_case(const char *from, const char *end, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return (size_t)(end - from) >= bytes && http_text_equal_ignoring_case((struct http_text){from, bytes}, prefix);
}

/* "http://authority[/path][?query]", which a server has to take (RFC 9112 3.2.2); its
 * authority wins over the Host field. */
static enum http_parse parse_absolute_target(struct http_head *head, const char *base, const char *from, const char *end)
{
    const char *authority;
    if (starts_with_ignoring_case(from, end, "http://"))
        authority = from + strlen("http://");
    else if (starts_with_ignoring_case(from, end, "https://"))
        authority = from + strlen("https://");
    else
        return HTTP_PARSE_BAD_TARGET;
    const char *authority_end = authority;
    while (authority_end < end && *authority_end != '/' && *authority_end != '?')
        authority_end++;
    if (!authority_acceptable((struct http_text){authority, (size_t)(authority_end - authority)}))
        return HTTP_PARSE_BAD_TARGET;
    head->host = span_of(base, authority, authority_end);
    if (authority_end < end && *authority_end == '/')
        return parse_path_and_query(head, base, authority_end, end);
    /* The path is empty and means "/": borrow the slash in front of the authority. */
    struct http_span root = span_of(base, authority - 1, authority);
    if (authority_end < end) {
        head->has_query = true;
        head->query = span_of(base, authority_end + 1, end);
        for (const char *c = authority_end + 1; c < end; c++)
            if (!http_character_is(*c, HTTP_CHARACTER_QUERY))
                return HTTP_PARSE_BAD_TARGET;
    }
    head->path = root;
    return HTTP_PARSE_MORE;
}

/* "HTTP/1.1", exactly up to end. */
static enum http_parse parse_version(struct http_head *head, const char *from, const char *end)
{
    if (end - from != 8 || memcmp(from, "HTTP/", 5) != 0 || !http_character_is(from[5], HTTP_CHARACTER_DIGIT) ||
        from[6] != '.' || !http_character_is(from[7], HTTP_CHARACTER_DIGIT))
        return HTTP_PARSE_BAD_VERSION;
    if (from[5] != '1' || from[7] > '1')
        return HTTP_PARSE_VERSION_UNSUPPORTED;
    head->minor_version = (uint8_t)(from[7] - '0');
    head->keep_alive = head->minor_version == 1;
    return HTTP_PARSE_MORE;
}

static enum http_parse parse_request_line(struct http_head *head, const char *base, const char *line, const char *end)
{
    const char *method_end = line;
    while (method_end < end && http_character_is(*method_end, HTTP_CHARACTER_TOKEN))
        method_end++;
    if (method_end == line || method_end == end || *method_end != ' ')
        return HTTP_PARSE_BAD_METHOD;
    head->method_text = span_of(base, line, method_end);
    struct http_text method = {line, (size_t)(method_end - line)};
    head->method = method_of(method);
    if (http_text_equal(method, "CONNECT"))
        return HTTP_PARSE_BAD_METHOD;

    const char *target = method_end + 1;
    const char *target_end = memchr(target, ' ', (size_t)(end - target));
    if (target_end == NULL)
        return HTTP_PARSE_BAD_VERSION; /* HTTP/0.9 has none */
    if (target_end == target)
        return HTTP_PARSE_BAD_TARGET;
    enum http_parse result;
    if (*target == '/') {
        result = parse_path_and_query(head, base, target, target_end);
    } else if (*target == '*' && target_end - target == 1 && head->method == HTTP_METHOD_OPTIONS) {
        head->path = span_of(base, target, target_end);
        result = HTTP_PARSE_MORE;
    } else {
        result = parse_absolute_target(head, base, target, target_end);
    }
    /* A version that is none says more about the line than what is wrong before it. */
    enum http_parse version = parse_version(head, target_end + 1, end);
    return http_parse_failed(version) ? version : result;
}

static enum http_parse parse_status_line(struct http_head *head, const char *base, const char *line, const char *end)
{
    if (end - line < 12)
        return HTTP_PARSE_BAD_STATUS;
    enum http_parse version = parse_version(head, line, line + 8);
    if (http_parse_failed(version))
        return version;
    const char *digits = line + 9;
    if (line[8] != ' ' || digits[0] < '1' || digits[0] > '5' || !http_character_is(digits[1], HTTP_CHARACTER_DIGIT) ||
        !http_character_is(digits[2], HTTP_CHARACTER_DIGIT))
        return HTTP_PARSE_BAD_STATUS;
    head->status = (unsigned)((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0'));
    const char *reason = line + 12;
    if (reason == end) /* "HTTP/1.1 200" without the space is malformed, harmless and common */
        return HTTP_PARSE_MORE;
    if (*reason != ' ')
        return HTTP_PARSE_BAD_STATUS;
    reason++;
    for (const char *c = reason; c < end; c++)
        if (!http_character_is(*c, HTTP_CHARACTER_VALUE))
            return HTTP_PARSE_BAD_CHARACTER;
    head->reason = span_of(base, reason, end);
    return HTTP_PARSE_MORE;
}

static bool is(const char *name, const char *known, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (http_lower(name[i]) != known[i])
            return false;
    return true;
}

static enum http_field_name known_field(const char *name, size_t bytes)
{
#define KNOWN(text, value)                    \
    if (is(name, text, sizeof(text) - 1))     \
        return value
    switch (bytes) {
    case 2:
        KNOWN("te", HTTP_FIELD_TE);
        break;
    case 3:
        KNOWN("via", HTTP_FIELD_VIA);
        break;
    case 4:
        KNOWN("host", HTTP_FIELD_HOST);
        KNOWN("date", HTTP_FIELD_DATE);
        break;
    case 6:
        KNOWN("expect", HTTP_FIELD_EXPECT);
        KNOWN("server", HTTP_FIELD_SERVER);
        break;
    case 7:
        KNOWN("trailer", HTTP_FIELD_TRAILER);
        KNOWN("upgrade", HTTP_FIELD_UPGRADE);
        break;
    case 10:
        KNOWN("connection", HTTP_FIELD_CONNECTION);
        KNOWN("keep-alive", HTTP_FIELD_KEEP_ALIVE);
        break;
    case 11:
        KNOWN("x-served-by", HTTP_FIELD_X_SERVED_BY);
        break;
    case 12:
        KNOWN("x-request-id", HTTP_FIELD_X_REQUEST_ID);
        break;
    case 14:
        KNOWN("content-length", HTTP_FIELD_CONTENT_LENGTH);
        break;
    case 15:
        KNOWN("x-forwarded-for", HTTP_FIELD_X_FORWARDED_FOR);
        break;
    case 16:
        KNOWN("x-forwarded-host", HTTP_FIELD_X_FORWARDED_HOST);
        KNOWN("proxy-connection", HTTP_FIELD_PROXY_CONNECTION);
        break;
    case 17:
        KNOWN("transfer-encoding", HTTP_FIELD_TRANSFER_ENCODING);
        KNOWN("x-forwarded-proto", HTTP_FIELD_X_FORWARDED_PROTO);
        break;
    case 18:
        KNOWN("proxy-authenticate", HTTP_FIELD_PROXY_AUTHENTICATE);
        break;
    case 19:
        KNOWN("proxy-authorization", HTTP_FIELD_PROXY_AUTHORIZATION);
        break;
    default:
        break;
    }
#undef KNOWN
    return HTTP_FIELD_OTHER;
}

static enum http_parse parse_content_length(struct http_head *head, struct http_text value)
{
    uint64_t number = 0;
    if (value.bytes == 0 || value.bytes > 18) /* 18 digits fit in 63 bits */
        return HTTP_PARSE_BAD_LENGTH;
    for (size_t i = 0; i < value.bytes; i++) {
        if (!http_character_is(value.data[i], HTTP_CHARACTER_DIGIT))
            return HTTP_PARSE_BAD_LENGTH;
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (head->has_length && head->content_bytes != number)
        return HTTP_PARSE_BAD_LENGTH;
    head->has_length = true;
    head->content_bytes = number;
    return HTTP_PARSE_MORE;
}

static enum http_parse parse_transfer_encoding(struct http_head *head, struct http_text value)
{
    /* Twice is malformed whatever the second one says: no sane sender does it. */
    if (head->chunked || head->minor_version == 0)
        return HTTP_PARSE_BAD_CODING;
    enum http_parse result = HTTP_PARSE_BAD_CODING; /* of an empty list */
    struct http_text coding;
    while (next_element(&value, &coding)) {
        for (size_t i = 0; i < coding.bytes; i++)
            if (!http_character_is(coding.data[i], HTTP_CHARACTER_TOKEN))
                return HTTP_PARSE_BAD_CODING;
        if (head->chunked)
            return HTTP_PARSE_BAD_CODING; /* chunked is the last one */
        if (!http_text_equal_ignoring_case(coding, "chunked"))
            return HTTP_PARSE_CODING_UNSUPPORTED;
        head->chunked = true;
        result = HTTP_PARSE_MORE;
    }
    return result;
}

static enum http_parse parse_field(struct http_head *head, const struct http_parser *parser, const char *base,
                                   const char *line, const char *end)
{
    if (is_blank(*line))
        return HTTP_PARSE_FOLDED_FIELD;
    const char *name_end = line;
    while (name_end < end && http_character_is(*name_end, HTTP_CHARACTER_TOKEN))
        name_end++;
    if (name_end == line || name_end == end || *name_end != ':')
        return HTTP_PARSE_BAD_FIELD_NAME;
    const char *value = name_end + 1;
    while (value < end && is_blank(*value))
        value++;
    for (const char *c = value; c < end; c++)
        if (!http_character_is(*c, HTTP_CHARACTER_VALUE))
            return HTTP_PARSE_BAD_CHARACTER;
    while (end > value && is_blank(end[-1]))
        end--;
    if (head->field_count >= parser->limits.field_count)
        return HTTP_PARSE_TOO_MANY_FIELDS;
    size_t name_bytes = (size_t)(name_end - line);
    if (name_bytes > UINT16_MAX)
        return HTTP_PARSE_FIELDS_TOO_LARGE;
    enum http_field_name name = known_field(line, name_bytes);
    head->fields[head->field_count++] = (struct http_field){
        .name_at = (uint32_t)(line - base),
        .value_at = (uint32_t)(value - base),
        .value_bytes = (uint32_t)(end - value),
        .name_bytes = (uint16_t)name_bytes,
        .name = (uint8_t)name,
    };
    struct http_text text = {value, (size_t)(end - value)};
    if (name == HTTP_FIELD_CONTENT_LENGTH)
        return parse_content_length(head, text);
    if (name == HTTP_FIELD_TRANSFER_ENCODING)
        return parse_transfer_encoding(head, text);
    return HTTP_PARSE_MORE;
}

/* What the fields mean together, once all are there. */
static enum http_parse finish_fields(struct http_head *head, bool response)
{
    bool close = false, keep = false, upgrade_named = false, upgrade_field = false;
    const struct http_field *host = NULL;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        struct http_text value = http_field_value(head, field), element;
        switch (field->name) {
        case HTTP_FIELD_CONNECTION:
            while (next_element(&value, &element)) {
                close = close || http_text_equal_ignoring_case(element, "close");
                keep = keep || http_text_equal_ignoring_case(element, "keep-alive");
                upgrade_named = upgrade_named || http_text_equal_ignoring_case(element, "upgrade");
            }
            break;
        case HTTP_FIELD_UPGRADE:
            upgrade_field = true;
            break;
        case HTTP_FIELD_EXPECT:
            if (response || head->minor_version == 0)
                break;
            if (!http_text_equal_ignoring_case(value, "100-continue"))
                return HTTP_PARSE_BAD_EXPECTATION;
            head->expect_continue = true;
            break;
        case HTTP_FIELD_HOST:
            if (response)
                break;
            if (host != NULL || !authority_acceptable(value))
                return HTTP_PARSE_BAD_HOST;
            host = field;
            break;
        default:
            break;
        }
    }
    head->keep_alive = !close && (head->minor_version == 1 || keep);
    head->upgrade = upgrade_named && upgrade_field && head->minor_version == 1;
    if (head->chunked && head->has_length)
        return HTTP_PARSE_LENGTH_AND_CODING;
    if (!response) {
        if (host == NULL && head->minor_version == 1)
            return HTTP_PARSE_BAD_HOST;
        if (host != NULL && head->host.bytes == 0)
            head->host = (struct http_span){host->value_at, host->value_bytes};
    }
    return HTTP_PARSE_DONE;
}

enum http_parse http_parser_feed(struct http_parser *parser, struct http_head *head, const char *data, size_t bytes)
{
    head->base = data;
    if (bytes > UINT32_MAX)
        return HTTP_PARSE_FIELDS_TOO_LARGE;
    for (;;) {
        const char *newline = memchr(data + parser->scanned, '\n', bytes - parser->scanned);
        size_t seen = newline != NULL ? (size_t)(newline - data) + 1 : bytes;
        if (!parser->in_fields && seen - parser->line_at > parser->limits.line_bytes)
            return HTTP_PARSE_LINE_TOO_LONG;
        if (seen > parser->limits.head_bytes)
            return parser->in_fields ? HTTP_PARSE_FIELDS_TOO_LARGE : HTTP_PARSE_LINE_TOO_LONG;
        if (newline == NULL) {
            parser->scanned = (uint32_t)bytes;
            return HTTP_PARSE_MORE;
        }
        const char *line = data + parser->line_at;
        if (newline == line || newline[-1] != '\r')
            return HTTP_PARSE_BAD_LINE_END;
        const char *end = newline - 1;
        enum http_parse result;
        if (line == end && parser->in_fields) {
            head->head_bytes = (uint32_t)seen;
            return finish_fields(head, parser->response);
        }
        if (parser->in_fields) {
            result = parse_field(head, parser, data, line, end);
        } else if (line == end && parser->line_at == 0 && !parser->response) {
            result = HTTP_PARSE_MORE; /* one empty line before a request is allowed (RFC 9112 2.2) */
        } else if (parser->response) {
            result = parse_status_line(head, data, line, end);
            parser->in_fields = true;
        } else {
            result = parse_request_line(head, data, line, end);
            parser->in_fields = true;
        }
        if (http_parse_failed(result))
            return result;
        parser->line_at = parser->scanned = (uint32_t)seen;
    }
}

/* --- Framing ---------------------------------------------------------------------------------- */

enum http_framing http_request_framing(const struct http_head *head)
{
    if (head->chunked)
        return HTTP_FRAMING_CHUNKED;
    return head->has_length && head->content_bytes > 0 ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_NONE;
}

enum http_framing http_response_framing(const struct http_head *head, enum http_method request_method)
{
    if (request_method == HTTP_METHOD_HEAD || head->status < 200 || head->status == 204 || head->status == 304)
        return HTTP_FRAMING_NONE;
    if (head->chunked)
        return HTTP_FRAMING_CHUNKED;
    if (head->has_length)
        return head->content_bytes > 0 ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_NONE;
    return HTTP_FRAMING_CLOSE;
}
