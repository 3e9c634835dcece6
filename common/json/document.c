/* See document.h. A recursive descent over the text; recursion is bounded by
 * JSON_DEPTH_LIMIT. */

#include "common/json/document.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/utf8.h"
#include "common/map.h"

/* Up to this many members, comparing every pair of keys beats building a map. */
#define SMALL_OBJECT_MEMBERS 24

struct parser {
    struct json_document *document;
    const char *source;
    size_t at, bytes;
    unsigned depth;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct parser *parser, const char *format, ...)
{
    struct json_document *document = parser->document;
    if (document->error[0] != '\0')
        return false; /* the first cause is the one to tell */
    char reason[100];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    size_t line = 1;
    size_t column = 1;
    for (size_t i = 0; i < parser->at && i < parser->bytes; i++) {
        if (parser->source[i] == '\n') {
            line++;
            column = 1;
        } else {
            column++;
        }
    }
    snprintf(document->error, sizeof document->error, "%s at line %zu, column %zu", reason, line, column);
    return false;
}

static bool add_node(struct parser *parser, uint32_t *index)
{
    struct json_document *document = parser->document;
    if (document->node_count == document->node_capacity) {
        uint32_t capacity = document->node_capacity * 2;
        bool is_inline = document->nodes == document->inline_nodes;
        struct json_node *nodes = realloc(is_inline ? NULL : document->nodes, capacity * sizeof *nodes);
        if (nodes == NULL)
            return refuse(parser, "out of memory");
        if (is_inline)
            memcpy(nodes, document->inline_nodes, sizeof document->inline_nodes);
        document->nodes = nodes;
        document->node_capacity = capacity;
    }
    *index = document->node_count++;
    return true;
}

static void skip_space(struct parser *parser)
{
    while (parser->at < parser->bytes) {
        char c = parser->source[parser->at];
        if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
            return;
        parser->at++;
    }
}

static bool parse_hex4(struct parser *parser, uint32_t *value)
{
    uint32_t result = 0;
    if (parser->bytes - parser->at < 4)
        return refuse(parser, "incomplete \\u escape");
    for (int i = 0; i < 4; i++) {
        char c = parser->source[parser->at + (size_t)i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else
            return refuse(parser, "\\u is not followed by four hexadecimal digits");
        result = result << 4 | digit;
    }
    parser->at += 4;
    *value = result;
    return true;
}

/* Behind "\u". Writes what it stands for. */
static bool parse_unicode_escape(struct parser *parser, char *out, size_t *written)
{
    uint32_t code_point = 0;
    if (!parse_hex4(parser, &code_point))
        return false;
    if (code_point == 0)
        return refuse(parser, "a zero character in a string");
    if (code_point >= 0xDC00 && code_point <= 0xDFFF)
        return refuse(parser, "a lone surrogate in a string");
    if (code_point >= 0xD800 && code_point <= 0xDBFF) {
        uint32_t low = 0;
        if (parser->bytes - parser->at < 2 || parser->source[parser->at] != '\\' ||
            parser->source[parser->at + 1] != 'u')
            return refuse(parser, "a lone surrogate in a string");
        parser->at += 2;
        if (!parse_hex4(parser, &low))
            return false;
        if (low < 0xDC00 || low > 0xDFFF)
            return refuse(parser, "a lone surrogate in a string");
        code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
    }
    *written = utf8_encode(code_point, out);
    return true;
}

static bool parse_escape(struct parser *parser, char *out, size_t *written)
{
    if (parser->at == parser->bytes)
        return refuse(parser, "a string without end");
    char c = parser->source[parser->at++];
    *written = 1;
    switch (c) {
    case '"':
    case '\\':
    case '/':
        out[0] = c;
        return true;
    case 'b':
        out[0] = '\b';
        return true;
    case 'f':
        out[0] = '\f';
        return true;
    case 'n':
        out[0] = '\n';
        return true;
    case 'r':
        out[0] = '\r';
        return true;
    case 't':
        out[0] = '\t';
        return true;
    case 'u':
        return parse_unicode_escape(parser, out, written);
    default:
        return refuse(parser, "an unknown escape in a string");
    }
}

/* Characters that end a run of plain ASCII in a string: quote, backslash, control characters, and what begins UTF-8. */
static const bool is_special[256] = {
    [0 ... 0x1F] = true,
    ['"'] = true,
    ['\\'] = true,
    [0x80 ... 0xFF] = true,
};

/* The same of any of eight characters at once. (S. E. Anderson, "Bit Twiddling Hacks": where no byte is below another
 * number, subtracting that from all borrows nowhere, and sets no highest bit.) */
static bool has_special(const unsigned char *eight)
{
    const uint64_t ones = UINT64_MAX / 0xFF;
    uint64_t word;
    memcpy(&word, eight, sizeof word);
    uint64_t quotes = word ^ ones * '"', backslashes = word ^ ones * '\\';
    return ((word | (word - ones * 0x20) | (quotes - ones) | (backslashes - ones)) & ones * 0x80) != 0;
}

/* Moves over the run of plain characters; stops at a quote, a backslash or the end. */
static bool skip_plain_text(struct parser *parser)
{
    const unsigned char *source = (const unsigned char *)parser->source;
    size_t at = parser->at;
    for (;;) {
        while (parser->bytes - at >= 8 && !has_special(source + at))
            at += 8;
        while (at < parser->bytes && !is_special[source[at]])
            at++;
        parser->at = at;
        if (at == parser->bytes)
            return refuse(parser, "a string without end");
        if (source[at] == '"' || source[at] == '\\')
            return true;
        if (source[at] < 0x20)
            return refuse(parser, "a control character in a string");
        size_t sequence_bytes = utf8_sequence_bytes(source + at, parser->bytes - at);
        if (sequence_bytes == 0)
            return refuse(parser, "invalid UTF-8");
        at += sequence_bytes;
    }
}

/* At the opening quote. */
static bool parse_text(struct parser *parser)
{
    uint32_t index;
    if (!add_node(parser, &index))
        return false;
    struct json_document *document = parser->document;
    size_t start = parser->at++;
    if (!skip_plain_text(parser))
        return false;
    const char *text = parser->source + start + 1;
    size_t text_bytes = parser->at - start - 1;
    if (parser->source[parser->at] == '\\') {
        /* Decoded text is never longer than its source: one buffer of the source's length
         * holds all of it and is never moved. */
        if (document->decoded == NULL && (document->decoded = malloc(parser->bytes)) == NULL)
            return refuse(parser, "out of memory");
        char *decoded = document->decoded + document->decoded_bytes;
        memcpy(decoded, text, text_bytes);
        while (parser->source[parser->at] == '\\') {
            size_t written = 0;
            parser->at++;
            if (!parse_escape(parser, decoded + text_bytes, &written))
                return false;
            text_bytes += written;
            size_t run = parser->at;
            if (!skip_plain_text(parser))
                return false;
            memcpy(decoded + text_bytes, parser->source + run, parser->at - run);
            text_bytes += parser->at - run;
        }
        document->decoded_bytes += text_bytes;
        text = decoded;
    }
    parser->at++;
    document->nodes[index] = (struct json_node){
        .type = JSON_TYPE_TEXT,
        .text = text,
        .text_bytes = (uint32_t)text_bytes,
        .start = (uint32_t)start,
        .end = (uint32_t)parser->at,
        .next = index + 1,
    };
    return true;
}

static bool is_digit(const struct parser *parser)
{
    return parser->at < parser->bytes && parser->source[parser->at] >= '0' && parser->source[parser->at] <= '9';
}

/* A number with a fraction, when its digits without the point and the power of ten are both doubles without error: then
 * IEEE 754 divides them with one rounding, as it should be (Clinger, "How to read floating point numbers accurately",
 * 1990). Numbers that people write are of this kind. False: read it the long way. */
static bool divide_exactly(uint64_t digits, size_t fraction_digits, double *value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (digits > (uint64_t)1 << 53 || fraction_digits >= sizeof powers / sizeof powers[0])
        return false;
    *value = (double)digits / powers[fraction_digits];
    return true;
}

/* The digits of a number that has a fraction, an exponent, or too many digits. */
static bool parse_double(struct parser *parser, size_t start, double *value)
{
    char local[64];
    size_t bytes = parser->at - start;
    char *copy = bytes < sizeof local ? local : malloc(bytes + 1);
    if (copy == NULL)
        return refuse(parser, "out of memory");
    memcpy(copy, parser->source + start, bytes);
    copy[bytes] = '\0';
    /* ERANGE is also set for numbers that are too small, which are 0 then, as they should. */
    *value = strtod(copy, NULL);
    if (copy != local)
        free(copy);
    if (*value > 1.7976931348623157e308 || *value < -1.7976931348623157e308)
        return refuse(parser, "a number that is too large");
    return true;
}

static bool parse_number(struct parser *parser)
{
    uint32_t index;
    if (!add_node(parser, &index))
        return false;
    size_t start = parser->at;
    bool negative = parser->source[parser->at] == '-';
    if (negative)
        parser->at++;
    if (!is_digit(parser))
        return refuse(parser, "a number without digits");
    uint64_t magnitude = 0;
    bool is_integer = true;
    bool leading_zero = parser->source[parser->at] == '0';
    size_t digits_start = parser->at;
    while (is_digit(parser)) {
        unsigned digit = (unsigned)(parser->source[parser->at++] - '0');
        if (magnitude > (UINT64_MAX - digit) / 10)
            is_integer = false;
        else
            magnitude = magnitude * 10 + digit;
    }
    if (leading_zero && parser->at - digits_start > 1)
        return refuse(parser, "a number with a leading zero");
    bool is_simple = is_integer; /* all digits are in the magnitude, and there is no exponent */
    size_t fraction_start = parser->at;
    if (parser->at < parser->bytes && parser->source[parser->at] == '.') {
        is_integer = false;
        fraction_start = ++parser->at;
        if (!is_digit(parser))
            return refuse(parser, "a number without digits behind its point");
        while (is_digit(parser)) {
            unsigned digit = (unsigned)(parser->source[parser->at++] - '0');
            is_simple = is_simple && magnitude < UINT64_MAX / 16;
            magnitude = magnitude * 10 + digit; /* if it wraps, nobody looks at it */
        }
    }
    size_t fraction_digits = parser->at - fraction_start;
    if (parser->at < parser->bytes && (parser->source[parser->at] == 'e' || parser->source[parser->at] == 'E')) {
        is_integer = is_simple = false;
        parser->at++;
        if (parser->at < parser->bytes && (parser->source[parser->at] == '+' || parser->source[parser->at] == '-'))
            parser->at++;
        if (!is_digit(parser))
            return refuse(parser, "a number without digits in its exponent");
        while (is_digit(parser))
            parser->at++;
    }
    struct json_node node = {
        .type = JSON_TYPE_NUMBER, .start = (uint32_t)start, .end = (uint32_t)parser->at, .next = index + 1};
    if (is_integer && magnitude <= INT64_MAX) {
        node.boolean = true;
        node.integer = negative ? -(int64_t)magnitude : (int64_t)magnitude;
        node.number = (double)node.integer;
    } else if (is_simple && divide_exactly(magnitude, fraction_digits, &node.number)) {
        node.number = negative ? -node.number : node.number;
    } else if (!parse_double(parser, start, &node.number)) {
        return false;
    }
    parser->document->nodes[index] = node;
    return true;
}

static bool parse_word(struct parser *parser, const char *word, enum json_type type, bool boolean)
{
    uint32_t index;
    size_t length = strlen(word);
    if (parser->bytes - parser->at < length || memcmp(parser->source + parser->at, word, length) != 0)
        return refuse(parser, "an unknown word");
    if (!add_node(parser, &index))
        return false;
    parser->document->nodes[index] = (struct json_node){.type = type,
                                                        .boolean = boolean,
                                                        .start = (uint32_t)parser->at,
                                                        .end = (uint32_t)(parser->at + length),
                                                        .next = index + 1};
    parser->at += length;
    return true;
}

static bool same_text(const struct json_node *a, const struct json_node *b)
{
    return a->text_bytes == b->text_bytes && memcmp(a->text, b->text, a->text_bytes) == 0;
}

/* Whether the last key of an object that is being parsed occurred before in it. */
static bool is_repeated_key(const struct json_document *document, uint32_t object, uint32_t last_key)
{
    const struct json_node *key = &document->nodes[last_key];
    for (uint32_t i = object + 1; i < last_key; i = document->nodes[i + 1].next) {
        if (same_text(&document->nodes[i], key))
            return true;
    }
    return false;
}

/* The same for a whole object with many members, without comparing every pair. */
static bool check_keys_of_large_object(struct parser *parser, uint32_t object)
{
    struct json_document *document = parser->document;
    struct map keys = MAP_INIT;
    bool fine = true;
    uint32_t i = object + 1;
    for (uint32_t member = 0; fine && member < document->nodes[object].count; member++) {
        struct json_node *key = &document->nodes[i];
        void *old = NULL;
        if (!map_put(&keys, key->text, key->text_bytes, key, &old))
            fine = refuse(parser, "out of memory");
        else if (old != NULL)
            fine = refuse(parser, "a key that occurs twice in one object");
        i = document->nodes[i + 1].next;
    }
    map_free(&keys);
    return fine;
}

static bool parse_value(struct parser *parser);

static bool parse_array(struct parser *parser, uint32_t index)
{
    struct json_document *document = parser->document;
    uint32_t count = 0;
    skip_space(parser);
    if (parser->at < parser->bytes && parser->source[parser->at] == ']') {
        parser->at++;
        return true;
    }
    for (;;) {
        if (!parse_value(parser))
            return false;
        document->nodes[index].count = ++count;
        skip_space(parser);
        if (parser->at == parser->bytes)
            return refuse(parser, "an array without end");
        char c = parser->source[parser->at];
        if (c != ',' && c != ']')
            return refuse(parser, "',' or ']' expected");
        parser->at++;
        if (c == ']')
            return true;
    }
}

static bool parse_object(struct parser *parser, uint32_t index)
{
    struct json_document *document = parser->document;
    uint32_t count = 0;
    skip_space(parser);
    if (parser->at < parser->bytes && parser->source[parser->at] == '}') {
        parser->at++;
        return true;
    }
    for (;;) {
        skip_space(parser);
        if (parser->at == parser->bytes)
            return refuse(parser, "an object without end");
        if (parser->source[parser->at] != '"')
            return refuse(parser, "a key in double quotes expected");
        uint32_t key = document->node_count;
        if (!parse_text(parser))
            return false;
        if (count < SMALL_OBJECT_MEMBERS && is_repeated_key(document, index, key))
            return refuse(parser, "a key that occurs twice in one object");
        skip_space(parser);
        if (parser->at == parser->bytes || parser->source[parser->at] != ':')
            return refuse(parser, "':' expected");
        parser->at++;
        if (!parse_value(parser))
            return false;
        document->nodes[index].count = ++count;
        skip_space(parser);
        if (parser->at == parser->bytes)
            return refuse(parser, "an object without end");
        char c = parser->source[parser->at];
        if (c != ',' && c != '}')
            return refuse(parser, "',' or '}' expected");
        parser->at++;
        if (c == '}')
            return count <= SMALL_OBJECT_MEMBERS || check_keys_of_large_object(parser, index);
    }
}

static bool parse_container(struct parser *parser, enum json_type type)
{
    uint32_t index;
    if (parser->depth == JSON_DEPTH_LIMIT)
        return refuse(parser, "nested deeper than %d", JSON_DEPTH_LIMIT);
    if (!add_node(parser, &index))
        return false;
    parser->document->nodes[index] = (struct json_node){.type = type, .start = (uint32_t)parser->at};
    parser->depth++;
    parser->at++;
    if (type == JSON_TYPE_ARRAY ? !parse_array(parser, index) : !parse_object(parser, index))
        return false;
    parser->depth--;
    parser->document->nodes[index].end = (uint32_t)parser->at;
    parser->document->nodes[index].next = parser->document->node_count;
    return true;
}

static bool parse_value(struct parser *parser)
{
    skip_space(parser);
    if (parser->at == parser->bytes)
        return refuse(parser, "a value expected");
    switch (parser->source[parser->at]) {
    case '{':
        return parse_container(parser, JSON_TYPE_OBJECT);
    case '[':
        return parse_container(parser, JSON_TYPE_ARRAY);
    case '"':
        return parse_text(parser);
    case 't':
        return parse_word(parser, "true", JSON_TYPE_BOOL, true);
    case 'f':
        return parse_word(parser, "false", JSON_TYPE_BOOL, false);
    case 'n':
        return parse_word(parser, "null", JSON_TYPE_NULL, false);
    case '-':
    case '0' ... '9':
        return parse_number(parser);
    default:
        return refuse(parser, "a value expected");
    }
}

bool json_document_parse(struct json_document *document, const char *source, size_t source_bytes)
{
    document->source = source;
    document->source_bytes = source_bytes;
    document->nodes = document->inline_nodes;
    document->node_count = 0;
    document->node_capacity = sizeof document->inline_nodes / sizeof document->inline_nodes[0];
    document->decoded = NULL;
    document->decoded_bytes = 0;
    document->error[0] = '\0';
    struct parser parser = {.document = document, .source = source, .bytes = source_bytes};
    if (source_bytes > UINT32_MAX / 2) /* offsets are 32 bits wide */
        return refuse(&parser, "longer than 2 GiB");
    if (!parse_value(&parser))
        return false;
    skip_space(&parser);
    if (parser.at != parser.bytes)
        return refuse(&parser, "something behind the value");
    return true;
}

void json_document_free(struct json_document *document)
{
    if (document->nodes != document->inline_nodes)
        free(document->nodes);
    free(document->decoded);
    document->nodes = NULL;
    document->decoded = NULL;
    document->node_count = 0;
}

const struct json_node *json_next(const struct json_document *document, const struct json_node *container,
                                  uint32_t *position, const struct json_node **key)
{
    if (container->count == 0)
        return NULL;
    uint32_t index = *position == 0 ? (uint32_t)(container - document->nodes) + 1 : *position;
    if (index >= container->next)
        return NULL;
    if (container->type == JSON_TYPE_OBJECT) {
        if (key != NULL)
            *key = &document->nodes[index];
        index++;
    }
    *position = document->nodes[index].next;
    return &document->nodes[index];
}

bool json_text_equals(const struct json_node *node, const char *text)
{
    size_t bytes = strlen(text);
    return node->type == JSON_TYPE_TEXT && node->text_bytes == bytes && memcmp(node->text, text, bytes) == 0;
}

const struct json_node *json_member(const struct json_document *document, const struct json_node *object,
                                    const char *key)
{
    if (object->type != JSON_TYPE_OBJECT)
        return NULL;
    uint32_t position = 0;
    const struct json_node *name;
    const struct json_node *value;
    while ((value = json_next(document, object, &position, &name)) != NULL) {
        if (json_text_equals(name, key))
            return value;
    }
    return NULL;
}

const char *json_type_name(enum json_type type)
{
    switch (type) {
    case JSON_TYPE_NULL:
        return "null";
    case JSON_TYPE_BOOL:
        return "a boolean";
    case JSON_TYPE_NUMBER:
        return "a number";
    case JSON_TYPE_TEXT:
        return "a string";
    case JSON_TYPE_ARRAY:
        return "an array";
    case JSON_TYPE_OBJECT:
        return "an object";
    }
    return "something else";
}
