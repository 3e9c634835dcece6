/* Takes a long list apart while it comes in, one element at a time: a million workers in one
 * body need no more memory than the longest of them.
 *
 * The text is an array, or an object that has the array as one of its members:
 *
 *     [{…}, {…}]        {"total": 2, "workers": [{…}, {…}]}
 *
 * The splitter looks at the outermost two levels only: brackets, commas, keys. What is inside is
 * handed out as text, byte for byte, and is for json_document_parse to read, which is strict; the
 * object's other members are read that way here. So a text that was split to its end, with
 * elements that were all parsed, is strict JSON, but for keys that occur twice in the outermost
 * object (the list's own excepted).
 *
 *     while (bytes > 0) {
 *         size_t used = json_splitter_feed(&splitter, data, bytes);
 *         data += used, bytes -= used;
 *         if (splitter.state == JSON_SPLITTER_ELEMENT) … splitter.element …
 *         else if (splitter.state == JSON_SPLITTER_FAILED) … splitter.error …
 *     }
 *     if (!json_splitter_finish(&splitter)) … splitter.error: the text was cut off
 *
 * Threading: none of its own. */

#pragma once

#include "common/buffer.h"

enum json_splitter_state {
    JSON_SPLITTER_HUNGRY,  /* all was taken; more is needed, or the end */
    JSON_SPLITTER_ELEMENT, /* `element` is one; feed goes on behind it */
    JSON_SPLITTER_FAILED,  /* `error` says why; nothing more is taken */
};

struct json_splitter {
    enum json_splitter_state state;
    struct buffer element; /* JSON_SPLITTER_ELEMENT: its text; empty when it was too long */
    bool too_long;         /* its text was longer than the limit, and was passed over */
    uint64_t count;        /* elements until now */
    bool has_list;         /* the array has been seen */
    bool other_kind;       /* JSON_SPLITTER_FAILED: something else stands where the array should; or, has finish said
                            * so, nothing does. The rest may be JSON. */
    char error[200];

    /* To be set after json_splitter_init: another member of the object whose text is wanted, and where it is put;
     * NULL: none. The last one of that name counts. */
    const char *wanted;
    struct buffer *wanted_text;

    /* The splitter's own. */
    const char *member;
    size_t element_bytes_max;
    uint64_t offset; /* of the next byte, for messages */
    unsigned place;
    unsigned depth;  /* of brackets inside the value that is being read */
    unsigned resume; /* the place behind that value */
    bool is_object, in_list, in_text, escaped;
    bool is_scalar; /* a value that ends where something else begins */
    char key[64];   /* the last key; longer ones are cut, and so no list's */
};

/* `member` names the list in an object; it must outlive the splitter. */
void json_splitter_init(struct json_splitter *splitter, const char *member, size_t element_bytes_max);
void json_splitter_free(struct json_splitter *splitter);

/* Takes bytes up to the end of the next element; returns how many it took. */
size_t json_splitter_feed(struct json_splitter *splitter, const char *data, size_t bytes);

/* The text is over: false when it was cut off, was no such list, or has failed before. */
bool json_splitter_finish(struct json_splitter *splitter);
