/* What the JSON bodies of the REST contract look like, as data.
 *
 * A schema describes an object: its fields, their types, limits and examples. One description
 * serves three ends: requests are checked against it, GET /openapi.json is generated from it,
 * and the tests drive every operation from that document. The tables are in schemas.h.
 *
 * In a request a member that is null counts as absent: clients write null for what they do not
 * know. Unknown members are ignored, or kept where the object is free-form. Replies may have more
 * members than their schema says.
 *
 * Threading: none of its own; the tables are constant. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/json/fields.h"

/* What `minimum` and `maximum` of a value limit stands behind each kind. */
enum schema_kind {
    SCHEMA_END,         /* ends a list of fields or alternatives */
    SCHEMA_TEXT,        /* bytes of the text; `words`: only these */
    SCHEMA_LINE,        /* bytes of a text without control characters (C0, DEL, C1) */
    SCHEMA_NAME,        /* bytes of a line that is not empty */
    SCHEMA_SEGMENT,     /* bytes of a name that can be a segment of a path: not ".", not "..", no slash or backslash */
    SCHEMA_URL,         /* bytes of an http or https URL without credentials, query or fragment */
    SCHEMA_TIME,        /* RFC 3339; in requests only those that are read piece by piece */
    SCHEMA_BOOL,        /* nothing */
    SCHEMA_NUMBER,      /* the number */
    SCHEMA_WHOLE,       /* the number, which has no fraction */
    SCHEMA_OBJECT,      /* bytes of its source; `of` says what is in it */
    SCHEMA_FREE_OBJECT, /* bytes of its source; anything may be in it */
    SCHEMA_MAP,         /* members, each named as it likes, each an `items` */
    SCHEMA_LIST,        /* items, each an `items` */
    SCHEMA_FREE_LIST,   /* bytes of its source; anything may be in it */
    SCHEMA_EITHER,      /* nothing; `items` is a list of alternatives that ends with SCHEMA_END.
                           They differ in their JSON type. */
    SCHEMA_ANY,         /* nothing */
};

/* Names of the members of a SCHEMA_MAP are at most this long. */
#define SCHEMA_KEY_BYTES_MAX 256

struct schema;

struct schema_value {
    enum schema_kind kind;
    int64_t minimum;
    uint64_t maximum;         /* 0: no limit of its own */
    const char *const *words; /* ends with NULL; NULL: any */
    const struct schema *of;
    const struct schema_value *items;
};

enum schema_flag {
    SCHEMA_REQUIRED = 1,
    SCHEMA_NULLABLE = 2, /* in a reply: it may be null */
};

struct schema_field {
    const char *name; /* NULL ends the list */
    struct schema_value value;
    unsigned flags;
    const char *example; /* JSON; NULL: none. A request with all the examples is a valid one. */
    const char *help;
};

struct schema {
    const char *name; /* in the OpenAPI document */
    const char *help;
    const struct schema_field *fields;  /* NULL: `value` says what it is */
    const struct schema_value *value;   /* for a body that is no object, or not only */
    const char *const *one_of_required; /* at least one of these; ends with NULL; may be NULL */
    bool is_request;
};

/* Checks a value of a document. False: error->message names the first field that is wrong, with
 * json_fields' own words. `prefix` is "" for the body itself. */
bool schema_check(const struct schema *schema, const struct json_document *document, const struct json_node *node,
                  const char *prefix, struct json_error *error);

/* Checks one value that is no part of a body, a query's parameter for example. Numbers are
 * taken from their text. False: error->message says what `name` must be. */
bool schema_check_text(const struct schema_value *value, const char *name, const char *text, size_t bytes,
                       struct json_error *error);

/* What is wrong with a text of UTF-8 as a SCHEMA_LINE, SCHEMA_NAME or SCHEMA_SEGMENT, its length aside: "must …",
 * or NULL. */
const char *schema_text_fault(enum schema_kind kind, const char *text, size_t bytes);
