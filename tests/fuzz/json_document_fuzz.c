/* Fuzz target: the JSON reader, with jansson as the oracle. Both must take the same texts,
 * and what the writer makes of a document must be the same value to jansson. */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/document.h"
#include "common/json/write.h"

static void write_node(const struct json_document *document, const struct json_node *node, struct json_writer *writer)
{
    uint32_t position = 0;
    const struct json_node *key;
    const struct json_node *item;
    switch (node->type) {
    case JSON_TYPE_NULL:
        json_write_null(writer);
        break;
    case JSON_TYPE_BOOL:
        json_write_bool(writer, node->boolean);
        break;
    case JSON_TYPE_NUMBER:
        if (node->boolean)
            json_write_int(writer, node->integer);
        else
            json_write_double(writer, node->number);
        break;
    case JSON_TYPE_TEXT:
        json_write_text_bytes(writer, node->text, node->text_bytes);
        break;
    case JSON_TYPE_ARRAY:
        json_write_array_begin(writer);
        while ((item = json_next(document, node, &position, NULL)) != NULL)
            write_node(document, item, writer);
        json_write_array_end(writer);
        break;
    case JSON_TYPE_OBJECT:
        json_write_object_begin(writer);
        while ((item = json_next(document, node, &position, &key)) != NULL) {
            char name[65537];
            if (key->text_bytes >= sizeof name)
                abort();
            memcpy(name, key->text, key->text_bytes);
            name[key->text_bytes] = '\0';
            json_write_key_text(writer, name);
            write_node(document, item, writer);
        }
        json_write_object_end(writer);
        break;
    }
}

/* What the two may differ in: integers that do not fit 64 bits are an error to jansson, and
 * it allows more depth. */
static bool may_differ(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    return code == json_error_numeric_overflow || code == json_error_out_of_memory;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct json_document document;
    json_error_t error;
    const size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES;
    bool parsed = json_document_parse(&document, (const char *)data, bytes);
    if (parsed == (document.error[0] != '\0'))
        abort();
    json_t *expected = json_loadb((const char *)data, bytes, flags, &error);
    if (parsed && expected == NULL && !may_differ(&error))
        abort();
    /* jansson passes over a zero byte behind a number, which RFC 8259 does not allow. */
    bool has_zero = bytes > 0 && memchr(data, 0, bytes) != NULL;
    if (!parsed && expected != NULL && !has_zero && strstr(document.error, "nested deeper") == NULL)
        abort();
    if (parsed && has_zero)
        abort();
    if (parsed && expected != NULL) {
        struct buffer buffer = BUFFER_INIT;
        struct json_writer writer = json_writer_into(&buffer);
        write_node(&document, json_root(&document), &writer);
        json_t *copy = json_loadb(buffer.data, buffer.bytes, flags, &error);
        if (copy == NULL || !json_equal(copy, expected))
            abort();
        json_decref(copy);
        buffer_free(&buffer);
    }
    json_decref(expected);
    json_document_free(&document);
    return 0;
}
