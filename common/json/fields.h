/* Takes an object apart with types, and says which field is wrong.
 *
 * A reader walks over one object of a parsed document. Each json_fields_ function reads one
 * member; the first mistake is kept in the reader's error and later calls do nothing, so
 * that a series of reads needs one check, at its end. A member that is null counts as
 * absent: clients write null for what they do not know. Unknown members are ignored.
 *
 *     struct json_error error = {0};
 *     struct json_fields fields = json_fields_of(&document, json_root(&document), "", &error);
 *     id = json_fields_text(&fields, "worker_id", 256, &arena);
 *     json_fields_double(&fields, "current_load", 0, 1, &load);
 *     if (error.message[0] != '\0') ... 422
 *
 * Threading: none of its own. */

#pragma once

#include "common/arena.h"
#include "common/json/document.h"

/* An all-zero error is none. */
struct json_error {
    char message[256]; /* "field services[2].name must be a string, not a number" */
};

static inline bool json_error_set(const struct json_error *error)
{
    return error->message[0] != '\0';
}

struct json_fields {
    const struct json_document *document;
    const struct json_node *object; /* NULL: it was none, which is an error */
    char prefix[96];                /* what the fields' names in messages start with: "services[2]." */
    struct json_error *error;
};

/* `prefix` is "" for the body itself. */
struct json_fields json_fields_of(const struct json_document *document, const struct json_node *object,
                                  const char *prefix, struct json_error *error);

/* Notes a mistake of a field: "field PREFIX+NAME SAYS". The first one stays. */
__attribute__((format(printf, 3, 4))) void json_fields_refuse(const struct json_fields *fields, const char *name,
                                                              const char *says, ...);

/* The member's node, NULL when it is absent or null. */
const struct json_node *json_fields_get(const struct json_fields *fields, const char *name);

/* The same, and a mistake when it has another type than `type`. */
const struct json_node *json_fields_get_typed(const struct json_fields *fields, const char *name, enum json_type type);

/* A text, copied into the arena with a zero byte behind it; NULL when absent or mistyped, or
 * longer than the limit, which is a mistake. */
char *json_fields_text(const struct json_fields *fields, const char *name, size_t limit_bytes, struct arena *arena);

/* These return whether the member was there and fine, and leave *value alone otherwise. */
bool json_fields_bool(const struct json_fields *fields, const char *name, bool *value);
bool json_fields_double(const struct json_fields *fields, const char *name, double minimum, double maximum,
                        double *value);

/* Takes a number without fraction (12, 12.0) from 0 to maximum. */
bool json_fields_uint(const struct json_fields *fields, const char *name, uint64_t maximum, uint64_t *value);

/* Takes one of these words, and gives its value. */
struct json_word {
    const char *word;
    int value;
};
bool json_fields_word(const struct json_fields *fields, const char *name, const struct json_word *words, size_t count,
                      int *value);

/* A list of texts, copied into the arena: *count items, NULL when absent, empty or mistyped. */
char **json_fields_text_list(const struct json_fields *fields, const char *name, size_t limit_bytes,
                             struct arena *arena, size_t *count);
