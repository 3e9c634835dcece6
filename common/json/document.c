/* What is in a document; see document.h. */

#include "common/json/document.h"

#include <string.h>

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
