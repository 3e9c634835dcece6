/* Reads JSON from strangers: strict, flat, with the source text of every value at hand.
 *
 * A document is parsed into one array of nodes in the order of the text; a value is
 * followed by the values inside it. No node is allocated on its own, strings without
 * escapes stay where they are in the text, and each node knows its span of the text, so
 * that a free-form object can be kept byte for byte. This is what jansson cannot give, and
 * reading a heartbeat takes a fifth of the time; jansson is the oracle that the fuzz test
 * //tests/fuzz:json_document compares with.
 *
 * Strict means: the whole text is one value (RFC 8259), UTF-8 is valid, no key occurs twice
 * in an object, no number overflows a double, no text contains a zero character (raw or
 * escaped), nothing is nested deeper than JSON_DEPTH_LIMIT.
 *
 * Ownership: the document points into the text that it was parsed from, which must outlive
 * it. Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_LIMIT 64

enum json_type { JSON_TYPE_NULL, JSON_TYPE_BOOL, JSON_TYPE_NUMBER, JSON_TYPE_TEXT, JSON_TYPE_ARRAY, JSON_TYPE_OBJECT };

struct json_node {
    enum json_type type;
    bool boolean;        /* JSON_TYPE_BOOL: its value; JSON_TYPE_NUMBER: whether `integer` holds it exactly */
    uint32_t count;      /* items of an array, members of an object (each a key and a value) */
    uint32_t next;       /* index of the first node behind this value and all inside it */
    uint32_t text_bytes; /* JSON_TYPE_TEXT: length of `text` */
    uint32_t start, end; /* span of the value in the source */
    const char *text;    /* JSON_TYPE_TEXT: decoded, not followed by a zero byte */
    int64_t integer;
    double number;
};

struct json_document {
    const char *source;
    size_t source_bytes;
    struct json_node *nodes; /* nodes[0] is the root */
    uint32_t node_count;
    uint32_t node_capacity;
    char *decoded; /* texts that had escapes */
    size_t decoded_bytes;
    struct json_node inline_nodes[48]; /* enough for a heartbeat */
    char error[160];                   /* after a failure: what is wrong and where */
};

/* Parses; false when the text is not one strict JSON value (`error` says why) or memory ran
 * out. The document must be freed in either case, and must not be moved in memory. */
bool json_document_parse(struct json_document *document, const char *source, size_t source_bytes);

void json_document_free(struct json_document *document);

static inline const struct json_node *json_root(const struct json_document *document)
{
    return &document->nodes[0];
}

/* The value of a member of an object, or NULL. */
const struct json_node *json_member(const struct json_document *document, const struct json_node *object,
                                    const char *key);

/* Walks over an array's items or an object's members: start with *position = 0, until it
 * returns NULL. For an object `key` receives the key's node. */
const struct json_node *json_next(const struct json_document *document, const struct json_node *container,
                                  uint32_t *position, const struct json_node **key);

/* Whether a text node equals that text. */
bool json_text_equals(const struct json_node *node, const char *text);

/* What JSON calls the type, with its article: "a string", "an object". */
const char *json_type_name(enum json_type type);
