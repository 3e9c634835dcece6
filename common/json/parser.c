/* Reading a document; see document.h. A recursive descent over the text; recursion is bounded by
 * JSON_DEPTH_LIMIT. */

#include "common/json/document.h"

#include <endian.h>
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
    const char *end; /* of the source */
    unsigned depth;
};

/* Each parse_… begins at a place of the source and returns the one behind what it has read; or NULL, when it has
 * refused that. */

/* What is seldom called is kept out of what is called for every character: the compiler would save registers for it
 * each time. */
#define SELDOM __attribute__((cold, noinline))

SELDOM __attribute__((format(printf, 3, 4))) static const char *refuse(struct parser *parser, const char *at,
                                                                       const char *format, ...)
{
    struct json_document *document = parser->document;
    if (document->error[0] != '\0')
        return NULL; /* the first cause is the one to tell */
    char reason[100];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    size_t line = 1;
    size_t column = 1;
    for (const char *before = document->source; before < at; before++) {
        if (*before == '\n') {
            line++;
            column = 1;
        } else {
            column++;
        }
    }
    snprintf(document->error, sizeof document->error, "%s at line %zu, column %zu", reason, line, column);
    return NULL;
}

SELDOM static bool grow(struct json_document *document)
{
    uint32_t capacity = document->node_capacity * 2;
    bool is_inline = document->nodes == document->inline_nodes;
    struct json_node *nodes = realloc(is_inline ? NULL : document->nodes, capacity * sizeof *nodes);
    if (nodes == NULL)
        return false;
    if (is_inline)
        memcpy(nodes, document->inline_nodes, sizeof document->inline_nodes);
    document->nodes = nodes;
    document->node_capacity = capacity;
    return true;
}

static uint32_t offset_of(const struct parser *parser, const char *at)
{
    return (uint32_t)(at - parser->document->source);
}

/* The node of a value that begins here, which is the only one of its own for now; it moves when the next is added.
 * NULL: out of memory, and refused. */
static inline struct json_node *add_node(struct parser *parser, enum json_type type, const char *at)
{
    struct json_document *document = parser->document;
    if (document->node_count == document->node_capacity && !grow(document)) {
        refuse(parser, at, "out of memory");
        return NULL;
    }
    struct json_node *node = &document->nodes[document->node_count++];
    *node = (struct json_node){.type = type, .start = offset_of(parser, at), .next = document->node_count};
    return node;
}

static const char *skip_space(const struct parser *parser, const char *at)
{
    while (at < parser->end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

static const char *parse_hex4(struct parser *parser, const char *at, uint32_t *value)
{
    uint32_t result = 0;
    if (parser->end - at < 4)
        return refuse(parser, at, "incomplete \\u escape");
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else
            return refuse(parser, at, "\\u is not followed by four hexadecimal digits");
        result = result << 4 | digit;
    }
    *value = result;
    return at + 4;
}

/* Behind "\u". Writes what it stands for. */
static const char *parse_unicode_escape(struct parser *parser, const char *at, char *out, size_t *written)
{
    uint32_t code_point = 0;
    if ((at = parse_hex4(parser, at, &code_point)) == NULL)
        return NULL;
    if (code_point == 0)
        return refuse(parser, at, "a zero character in a string");
    if (code_point >= 0xDC00 && code_point <= 0xDFFF)
        return refuse(parser, at, "a lone surrogate in a string");
    if (code_point >= 0xD800 && code_point <= 0xDBFF) {
        uint32_t low = 0;
        if (parser->end - at < 2 || at[0] != '\\' || at[1] != 'u')
            return refuse(parser, at, "a lone surrogate in a string");
        if ((at = parse_hex4(parser, at + 2, &low)) == NULL)
            return NULL;
        if (low < 0xDC00 || low > 0xDFFF)
            return refuse(parser, at, "a lone surrogate in a string");
        code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
    }
    *written = utf8_encode(code_point, out);
    return at;
}

/* Behind the backslash. */
static const char *parse_escape(struct parser *parser, const char *at, char *out, size_t *written)
{
    if (at == parser->end)
        return refuse(parser, at, "a string without end");
    char c = *at++;
    *written = 1;
    switch (c) {
    case '"':
    case '\\':
    case '/':
        out[0] = c;
        return at;
    case 'b':
        out[0] = '\b';
        return at;
    case 'f':
        out[0] = '\f';
        return at;
    case 'n':
        out[0] = '\n';
        return at;
    case 'r':
        out[0] = '\r';
        return at;
    case 't':
        out[0] = '\t';
        return at;
    case 'u':
        return parse_unicode_escape(parser, at, out, written);
    default:
        return refuse(parser, at, "an unknown escape in a string");
    }
}

/* Characters that end a run of plain ASCII in a string: quote, backslash, control characters, and what begins UTF-8. */
static const bool is_special[256] = {
    [0 ... 0x1F] = true,
    ['"'] = true,
    ['\\'] = true,
    [0x80 ... 0xFF] = true,
};

/* How many of the next eight characters come before the first special one, of all eight at once. (S. E. Anderson, "Bit
 * Twiddling Hacks": where no byte is below another number, subtracting that from all borrows nowhere, and sets no
 * highest bit. What lies behind the first one that is may be wrong.) */
static inline size_t count_plain(const char *eight)
{
    const uint64_t ones = UINT64_MAX / 0xFF;
    uint64_t word;
    memcpy(&word, eight, sizeof word);
    word = le64toh(word);
    uint64_t quotes = word ^ ones * '"', backslashes = word ^ ones * '\\';
    uint64_t special = (word | (word - ones * 0x20) | (quotes - ones) | (backslashes - ones)) & ones * 0x80;
    return special == 0 ? 8 : (size_t)__builtin_ctzll(special) / 8;
}

/* Moves over plain characters, to a special one or the end of the source. */
static inline const char *skip_plain(const char *at, const char *end)
{
    size_t plain = 8;
    while (plain == 8 && end - at >= 8) {
        plain = count_plain(at);
        at += plain;
    }
    while (at < end && !is_special[(unsigned char)*at])
        at++;
    return at;
}

/* Moves over a character that is neither plain nor a quote nor a backslash. */
SELDOM static const char *skip_special(struct parser *parser, const char *at)
{
    if (at == parser->end)
        return refuse(parser, at, "a string without end");
    if ((unsigned char)*at < 0x20)
        return refuse(parser, at, "a control character in a string");
    size_t sequence_bytes = utf8_sequence_bytes((const unsigned char *)at, (size_t)(parser->end - at));
    return sequence_bytes > 0 ? at + sequence_bytes : refuse(parser, at, "invalid UTF-8");
}

/* Moves to the next quote or backslash. */
static inline const char *skip_text(struct parser *parser, const char *at)
{
    at = skip_plain(at, parser->end);
    while (at == parser->end || (*at != '"' && *at != '\\')) {
        if ((at = skip_special(parser, at)) == NULL)
            return NULL;
        at = skip_plain(at, parser->end);
    }
    return at;
}

/* The rest of a text from its first backslash on; what comes before it begins at `text`. Decodes all of it. */
SELDOM static const char *parse_escaped_text(struct parser *parser, const char *at, const char *text,
                                             struct json_node *node)
{
    struct json_document *document = parser->document;
    /* Decoded text is never longer than its source: one buffer of the source's length
     * holds all of it and is never moved. */
    if (document->decoded == NULL && (document->decoded = malloc(document->source_bytes)) == NULL)
        return refuse(parser, at, "out of memory");
    char *decoded = document->decoded + document->decoded_bytes;
    size_t bytes = (size_t)(at - text);
    memcpy(decoded, text, bytes);
    while (*at == '\\') {
        size_t written = 0;
        if ((at = parse_escape(parser, at + 1, decoded + bytes, &written)) == NULL)
            return NULL;
        bytes += written;
        const char *run = at;
        if ((at = skip_text(parser, at)) == NULL)
            return NULL;
        memcpy(decoded + bytes, run, (size_t)(at - run));
        bytes += (size_t)(at - run);
    }
    document->decoded_bytes += bytes;
    node->text = decoded;
    node->text_bytes = (uint32_t)bytes;
    return at;
}

/* At the opening quote. */
static const char *parse_text(struct parser *parser, const char *at)
{
    struct json_node *node = add_node(parser, JSON_TYPE_TEXT, at);
    if (node == NULL)
        return NULL;
    const char *text = ++at;
    if ((at = skip_text(parser, at)) == NULL)
        return NULL;
    node->text = text;
    node->text_bytes = (uint32_t)(at - text);
    if (*at == '\\' && (at = parse_escaped_text(parser, at, text, node)) == NULL)
        return NULL;
    at++;
    node->end = offset_of(parser, at);
    return at;
}

static bool is_digit(const struct parser *parser, const char *at)
{
    return at < parser->end && *at >= '0' && *at <= '9';
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

/* The digits of a number that has a fraction, an exponent, or too many digits. False: refused. */
SELDOM static bool parse_double(struct parser *parser, const char *start, const char *at, double *value)
{
    char local[64];
    size_t bytes = (size_t)(at - start);
    char *copy = bytes < sizeof local ? local : malloc(bytes + 1);
    if (copy == NULL) {
        refuse(parser, at, "out of memory");
        return false;
    }
    memcpy(copy, start, bytes);
    copy[bytes] = '\0';
    /* ERANGE is also set for numbers that are too small, which are 0 then, as they should. */
    *value = strtod(copy, NULL);
    if (copy != local)
        free(copy);
    if (*value <= 1.7976931348623157e308 && *value >= -1.7976931348623157e308)
        return true;
    refuse(parser, at, "a number that is too large");
    return false;
}

static const char *parse_number(struct parser *parser, const char *at)
{
    struct json_node *node = add_node(parser, JSON_TYPE_NUMBER, at);
    if (node == NULL)
        return NULL;
    const char *start = at;
    bool negative = *at == '-';
    if (negative)
        at++;
    if (!is_digit(parser, at))
        return refuse(parser, at, "a number without digits");
    uint64_t magnitude = 0;
    bool is_integer = true;
    bool leading_zero = *at == '0';
    const char *digits_start = at;
    while (is_digit(parser, at)) {
        unsigned digit = (unsigned)(*at++ - '0');
        if (magnitude > (UINT64_MAX - digit) / 10)
            is_integer = false;
        else
            magnitude = magnitude * 10 + digit;
    }
    if (leading_zero && at - digits_start > 1)
        return refuse(parser, at, "a number with a leading zero");
    bool is_simple = is_integer; /* all digits are in the magnitude, and there is no exponent */
    const char *fraction_start = at;
    if (at < parser->end && *at == '.') {
        is_integer = false;
        fraction_start = ++at;
        if (!is_digit(parser, at))
            return refuse(parser, at, "a number without digits behind its point");
        while (is_digit(parser, at)) {
            unsigned digit = (unsigned)(*at++ - '0');
            is_simple = is_simple && magnitude < UINT64_MAX / 16;
            magnitude = magnitude * 10 + digit; /* if it wraps, nobody looks at it */
        }
    }
    size_t fraction_digits = (size_t)(at - fraction_start);
    if (at < parser->end && (*at == 'e' || *at == 'E')) {
        is_integer = is_simple = false;
        at++;
        if (at < parser->end && (*at == '+' || *at == '-'))
            at++;
        if (!is_digit(parser, at))
            return refuse(parser, at, "a number without digits in its exponent");
        while (is_digit(parser, at))
            at++;
    }
    node->end = offset_of(parser, at);
    if (is_integer && magnitude <= INT64_MAX) {
        node->boolean = true;
        node->integer = negative ? -(int64_t)magnitude : (int64_t)magnitude;
        node->number = (double)node->integer;
    } else if (is_simple && divide_exactly(magnitude, fraction_digits, &node->number)) {
        node->number = negative ? -node->number : node->number;
    } else if (!parse_double(parser, start, at, &node->number)) {
        return NULL;
    }
    return at;
}

static const char *parse_word(struct parser *parser, const char *at, const char *word, enum json_type type,
                              bool boolean)
{
    size_t bytes = strlen(word);
    if ((size_t)(parser->end - at) < bytes || memcmp(at, word, bytes) != 0)
        return refuse(parser, at, "an unknown word");
    struct json_node *node = add_node(parser, type, at);
    if (node == NULL)
        return NULL;
    node->boolean = boolean;
    node->end = offset_of(parser, at + bytes);
    return at + bytes;
}

static bool same_text(const struct json_node *a, const struct json_node *b)
{
    return a->text_bytes == b->text_bytes && memcmp(a->text, b->text, a->text_bytes) == 0;
}

/* One of 64 bits for a key: where two keys have different ones they differ. */
static uint64_t key_bit(const struct json_node *key)
{
    unsigned sum = key->text_bytes;
    if (key->text_bytes > 0)
        sum += 7u * (unsigned char)key->text[0] + 13u * (unsigned char)key->text[key->text_bytes - 1];
    return (uint64_t)1 << sum % 64;
}

/* Whether the last key of an object that is being parsed occurred before in it. `seen` has the bits of those before,
 * and gets its. */
static bool is_repeated_key(const struct json_document *document, uint32_t object, uint32_t last_key, uint64_t *seen)
{
    const struct json_node *key = &document->nodes[last_key];
    uint64_t bit = key_bit(key), before = *seen;
    *seen |= bit;
    if ((before & bit) == 0)
        return false;
    for (uint32_t i = object + 1; i < last_key; i = document->nodes[i + 1].next) {
        if (same_text(&document->nodes[i], key))
            return true;
    }
    return false;
}

/* The same for a whole object with many members, without comparing every pair. `at` is its end. False: refused. */
SELDOM static bool check_keys_of_large_object(struct parser *parser, uint32_t object, const char *at)
{
    struct json_document *document = parser->document;
    struct map keys = MAP_INIT;
    const char *flaw = NULL;
    uint32_t i = object + 1;
    for (uint32_t member = 0; flaw == NULL && member < document->nodes[object].count; member++) {
        struct json_node *key = &document->nodes[i];
        void *old = NULL;
        if (!map_put(&keys, key->text, key->text_bytes, key, &old))
            flaw = "out of memory";
        else if (old != NULL)
            flaw = "a key that occurs twice in one object";
        i = document->nodes[i + 1].next;
    }
    map_free(&keys);
    if (flaw != NULL)
        refuse(parser, at, "%s", flaw);
    return flaw == NULL;
}

static const char *parse_value(struct parser *parser, const char *at);

/* Behind the bracket; `index` is the array's node. */
static const char *parse_array(struct parser *parser, const char *at, uint32_t index)
{
    uint32_t count = 0;
    at = skip_space(parser, at);
    if (at < parser->end && *at == ']')
        return at + 1;
    for (;;) {
        if ((at = parse_value(parser, at)) == NULL)
            return NULL;
        count++;
        at = skip_space(parser, at);
        if (at == parser->end)
            return refuse(parser, at, "an array without end");
        if (*at != ',' && *at != ']')
            return refuse(parser, at, "',' or ']' expected");
        if (*at++ == ']')
            break;
    }
    parser->document->nodes[index].count = count;
    return at;
}

/* Behind the brace; `index` is the object's node. */
static const char *parse_object(struct parser *parser, const char *at, uint32_t index)
{
    struct json_document *document = parser->document;
    uint32_t count = 0;
    uint64_t seen = 0;
    at = skip_space(parser, at);
    if (at < parser->end && *at == '}')
        return at + 1;
    for (;;) {
        at = skip_space(parser, at);
        if (at == parser->end)
            return refuse(parser, at, "an object without end");
        if (*at != '"')
            return refuse(parser, at, "a key in double quotes expected");
        uint32_t key = document->node_count;
        if ((at = parse_text(parser, at)) == NULL)
            return NULL;
        if (count < SMALL_OBJECT_MEMBERS && is_repeated_key(document, index, key, &seen))
            return refuse(parser, at, "a key that occurs twice in one object");
        at = skip_space(parser, at);
        if (at == parser->end || *at != ':')
            return refuse(parser, at, "':' expected");
        if ((at = parse_value(parser, at + 1)) == NULL)
            return NULL;
        count++;
        at = skip_space(parser, at);
        if (at == parser->end)
            return refuse(parser, at, "an object without end");
        if (*at != ',' && *at != '}')
            return refuse(parser, at, "',' or '}' expected");
        if (*at++ == '}')
            break;
    }
    document->nodes[index].count = count;
    return count <= SMALL_OBJECT_MEMBERS || check_keys_of_large_object(parser, index, at) ? at : NULL;
}

/* At the bracket or brace. */
static const char *parse_container(struct parser *parser, const char *at, enum json_type type)
{
    struct json_document *document = parser->document;
    uint32_t index = document->node_count;
    if (parser->depth == JSON_DEPTH_LIMIT)
        return refuse(parser, at, "nested deeper than %d", JSON_DEPTH_LIMIT);
    if (add_node(parser, type, at) == NULL)
        return NULL;
    parser->depth++;
    at = type == JSON_TYPE_ARRAY ? parse_array(parser, at + 1, index) : parse_object(parser, at + 1, index);
    if (at == NULL)
        return NULL;
    parser->depth--;
    document->nodes[index].end = offset_of(parser, at);
    document->nodes[index].next = document->node_count;
    return at;
}

static const char *parse_value(struct parser *parser, const char *at)
{
    at = skip_space(parser, at);
    if (at == parser->end)
        return refuse(parser, at, "a value expected");
    switch (*at) {
    case '{':
        return parse_container(parser, at, JSON_TYPE_OBJECT);
    case '[':
        return parse_container(parser, at, JSON_TYPE_ARRAY);
    case '"':
        return parse_text(parser, at);
    case 't':
        return parse_word(parser, at, "true", JSON_TYPE_BOOL, true);
    case 'f':
        return parse_word(parser, at, "false", JSON_TYPE_BOOL, false);
    case 'n':
        return parse_word(parser, at, "null", JSON_TYPE_NULL, false);
    case '-':
    case '0' ... '9':
        return parse_number(parser, at);
    default:
        return refuse(parser, at, "a value expected");
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
    struct parser parser = {.document = document, .end = source + source_bytes};
    const char *at = source;
    if (source_bytes > UINT32_MAX / 2) /* offsets are 32 bits wide */
        at = refuse(&parser, at, "longer than 2 GiB");
    if (at == NULL || (at = parse_value(&parser, at)) == NULL)
        return false;
    at = skip_space(&parser, at);
    if (at != parser.end)
        refuse(&parser, at, "something behind the value");
    return at == parser.end;
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
