/* Fuzz target: a list that comes in pieces. However it is cut the elements are the same, and when
 * the strict reader takes the whole text they are the items that it finds. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/document.h"
#include "common/json/splitter.h"

#define LIMIT 4096

/* Appends each element and a line's end; false when the text was refused. */
static bool split(const char *text, size_t bytes, size_t piece_bytes, struct buffer *elements, bool *all_parsed)
{
    struct json_splitter splitter;
    json_splitter_init(&splitter, "workers", LIMIT);
    *all_parsed = true;
    for (size_t at = 0; at < bytes;) {
        size_t piece = piece_bytes < bytes - at ? piece_bytes : bytes - at;
        at += json_splitter_feed(&splitter, text + at, piece);
        if (splitter.state != JSON_SPLITTER_ELEMENT)
            continue;
        if (splitter.too_long) {
            *all_parsed = false;
        } else {
            struct json_document document;
            bool parsed = json_document_parse(&document, splitter.element.data, splitter.element.bytes);
            *all_parsed = *all_parsed && parsed;
            json_document_free(&document);
        }
        buffer_append(elements, splitter.element.data, splitter.element.bytes);
        buffer_append_char(elements, '\n');
    }
    bool fine = json_splitter_finish(&splitter);
    if (fine == (splitter.error[0] != '\0'))
        abort();
    json_splitter_free(&splitter);
    return fine;
}

/* The items of the list that the strict reader finds; false when there is none. */
static bool items(const struct json_document *document, struct buffer *elements)
{
    const struct json_node *list = json_root(document);
    uint32_t position = 0;
    const struct json_node *item;
    if (list->type == JSON_TYPE_OBJECT)
        list = json_member(document, list, "workers");
    if (list == NULL || list->type != JSON_TYPE_ARRAY)
        return false;
    while ((item = json_next(document, list, &position, NULL)) != NULL) {
        buffer_append(elements, document->source + item->start, item->end - item->start);
        buffer_append_char(elements, '\n');
    }
    return true;
}

static bool same(const struct buffer *a, const struct buffer *b)
{
    return a->bytes == b->bytes && (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *text = (const char *)data;
    struct buffer whole = BUFFER_INIT;
    struct buffer pieces = BUFFER_INIT;
    struct buffer strict = BUFFER_INIT;
    struct json_document document;
    bool parsed, parsed_again;
    bool fine = split(text, bytes, bytes + 1, &whole, &parsed);
    if (split(text, bytes, bytes == 0 ? 1 : 1 + data[0] % 7, &pieces, &parsed_again) != fine ||
        parsed_again != parsed || !same(&whole, &pieces))
        abort();
    bool is_json = json_document_parse(&document, text, bytes);
    if (is_json && bytes <= LIMIT) {
        bool is_list = items(&document, &strict);
        if (is_list != fine || (fine && (!parsed || !same(&whole, &strict))))
            abort();
    }
    json_document_free(&document);
    buffer_free(&whole);
    buffer_free(&pieces);
    buffer_free(&strict);
    return 0;
}
