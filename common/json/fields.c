/* See fields.h. */

#include "common/json/fields.h"

#include "common/buffer.h"

#include <stdarg.h>
#include <stdio.h>

struct json_fields json_fields_of(const struct json_document *document, const struct json_node *object,
                                  const char *prefix, struct json_error *error)
{
    struct json_fields fields = {.document = document, .object = object, .error = error};
    snprintf(fields.prefix, sizeof fields.prefix, "%s", prefix);
    if (object == NULL || object->type != JSON_TYPE_OBJECT) {
        fields.object = NULL;
        if (!json_error_set(error))
            snprintf(error->message, sizeof error->message, "%s must be an object, not %s",
                     prefix[0] == '\0' ? "the body" : prefix, object == NULL ? "absent" : json_type_name(object->type));
    }
    return fields;
}

void json_fields_refuse(const struct json_fields *fields, const char *name, const char *says, ...)
{
    if (json_error_set(fields->error))
        return;
    char text[128];
    va_list arguments;
    va_start(arguments, says);
    vsnprintf(text, sizeof text, says, arguments);
    va_end(arguments);
    snprintf(fields->error->message, sizeof fields->error->message, "field %s%s %s", fields->prefix, name, text);
}

const struct json_node *json_fields_get(const struct json_fields *fields, const char *name)
{
    if (fields->object == NULL || json_error_set(fields->error))
        return NULL;
    const struct json_node *node = json_member(fields->document, fields->object, name);
    return node == NULL || node->type == JSON_TYPE_NULL ? NULL : node;
}

const struct json_node *json_fields_get_typed(const struct json_fields *fields, const char *name, enum json_type type)
{
    const struct json_node *node = json_fields_get(fields, name);
    if (node == NULL || node->type == type)
        return node;
    json_fields_refuse(fields, name, "must be %s, not %s", json_type_name(type), json_type_name(node->type));
    return NULL;
}

static char *copy_text(const struct json_fields *fields, const char *name, const struct json_node *node,
                       size_t limit_bytes, struct arena *arena)
{
    if (node->text_bytes > limit_bytes) {
        json_fields_refuse(fields, name, "must be at most %zu bytes long, not %u", limit_bytes, node->text_bytes);
        return NULL;
    }
    return arena_copy(arena, node->text, node->text_bytes);
}

char *json_fields_text(const struct json_fields *fields, const char *name, size_t limit_bytes, struct arena *arena)
{
    const struct json_node *node = json_fields_get_typed(fields, name, JSON_TYPE_TEXT);
    return node == NULL ? NULL : copy_text(fields, name, node, limit_bytes, arena);
}

bool json_fields_bool(const struct json_fields *fields, const char *name, bool *value)
{
    const struct json_node *node = json_fields_get_typed(fields, name, JSON_TYPE_BOOL);
    if (node == NULL)
        return false;
    *value = node->boolean;
    return true;
}

bool json_fields_double(const struct json_fields *fields, const char *name, double minimum, double maximum,
                        double *value)
{
    const struct json_node *node = json_fields_get_typed(fields, name, JSON_TYPE_NUMBER);
    if (node == NULL)
        return false;
    if (node->number < minimum || node->number > maximum) {
        json_fields_refuse(fields, name, "must be from %g to %g", minimum, maximum);
        return false;
    }
    *value = node->number;
    return true;
}

bool json_fields_uint(const struct json_fields *fields, const char *name, uint64_t maximum, uint64_t *value)
{
    const struct json_node *node = json_fields_get_typed(fields, name, JSON_TYPE_NUMBER);
    if (node == NULL)
        return false;
    uint64_t whole = 0;
    bool fine = true;
    if (node->boolean) {
        fine = node->integer >= 0;
        whole = fine ? (uint64_t)node->integer : 0;
    } else if (node->number >= 0 && node->number < 9007199254740992.0) { /* doubles are exact below 2^53 */
        whole = (uint64_t)node->number;
        fine = (double)whole == node->number;
    } else {
        fine = false;
    }
    if (!fine || whole > maximum) {
        json_fields_refuse(fields, name, "must be a whole number from 0 to %llu", (unsigned long long)maximum);
        return false;
    }
    *value = whole;
    return true;
}

bool json_fields_word(const struct json_fields *fields, const char *name, const struct json_word *words, size_t count,
                      int *value)
{
    const struct json_node *node = json_fields_get_typed(fields, name, JSON_TYPE_TEXT);
    if (node == NULL)
        return false;
    struct buffer choices = BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        if (json_text_equals(node, words[i].word)) {
            *value = words[i].value;
            buffer_free(&choices);
            return true;
        }
        buffer_append_format(&choices, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", words[i].word);
    }
    json_fields_refuse(fields, name, "must be %s", choices.data != NULL ? choices.data : "another word");
    buffer_free(&choices);
    return false;
}

char **json_fields_text_list(const struct json_fields *fields, const char *name, size_t limit_bytes,
                             struct arena *arena, size_t *count)
{
    *count = 0;
    const struct json_node *list = json_fields_get_typed(fields, name, JSON_TYPE_ARRAY);
    if (list == NULL || list->count == 0)
        return NULL;
    char **items = arena_take(arena, list->count * sizeof *items);
    if (items == NULL)
        return NULL;
    uint32_t position = 0;
    size_t taken = 0;
    const struct json_node *item;
    while ((item = json_next(fields->document, list, &position, NULL)) != NULL) {
        char item_name[64];
        snprintf(item_name, sizeof item_name, "%s[%zu]", name, taken);
        if (item->type != JSON_TYPE_TEXT) {
            json_fields_refuse(fields, item_name, "must be a string, not %s", json_type_name(item->type));
            return NULL;
        }
        items[taken] = copy_text(fields, item_name, item, limit_bytes, arena);
        if (items[taken] == NULL)
            return NULL;
        taken++;
    }
    *count = taken;
    return items;
}
