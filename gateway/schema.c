/* See schema.h. */

#include "gateway/schema.h"

#include <stdio.h>
#include <string.h>

#include "common/http/target.h"
#include "common/json/utf8.h"

static void check_value(const struct json_fields *fields, const char *name, const struct json_node *node,
                        const struct schema_value *value);

static bool has_control_character(const char *text, size_t bytes)
{
    const unsigned char *all = (const unsigned char *)text;
    for (size_t i = 0; i < bytes; i++) {
        bool c1 = all[i] == 0xC2 && i + 1 < bytes && all[i + 1] < 0xA0;
        if (all[i] < 0x20 || all[i] == 0x7F || c1)
            return true;
    }
    return false;
}

/* As http_path_acceptable sees it: what follows a ";" does not count. */
static bool is_dots(const char *text, size_t bytes)
{
    size_t dots = 0;
    while (dots < bytes && text[dots] == '.')
        dots++;
    return (dots == 1 || dots == 2) && (dots == bytes || text[dots] == ';');
}

const char *schema_text_fault(enum schema_kind kind, const char *text, size_t bytes)
{
    if (kind != SCHEMA_LINE && bytes == 0)
        return "must not be empty";
    if (has_control_character(text, bytes))
        return "must not contain control characters";
    if (kind == SCHEMA_SEGMENT &&
        (memchr(text, '/', bytes) != NULL || memchr(text, '\\', bytes) != NULL || is_dots(text, bytes)))
        return "must not be . or .. or hold a slash or a backslash";
    return NULL;
}

/* What JSON calls each kind; SCHEMA_EITHER and SCHEMA_ANY have none of their own. */
static enum json_type type_of(enum schema_kind kind)
{
    switch (kind) {
    case SCHEMA_BOOL:
        return JSON_TYPE_BOOL;
    case SCHEMA_NUMBER:
    case SCHEMA_WHOLE:
        return JSON_TYPE_NUMBER;
    case SCHEMA_OBJECT:
    case SCHEMA_FREE_OBJECT:
    case SCHEMA_MAP:
        return JSON_TYPE_OBJECT;
    case SCHEMA_LIST:
    case SCHEMA_FREE_LIST:
        return JSON_TYPE_ARRAY;
    default:
        return JSON_TYPE_TEXT;
    }
}

static void refuse_word(const struct json_fields *fields, const char *name, const char *const *words)
{
    char list[96] = "";
    size_t used = 0;
    for (size_t i = 0; words[i] != NULL && used < sizeof list; i++) {
        const char *between = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        int length = snprintf(list + used, sizeof list - used, "%s%s", between, words[i]);
        used += length < 0 ? 0 : (size_t)length;
    }
    json_fields_refuse(fields, name, "must be %s", list);
}

static bool is_url(const struct json_node *node)
{
    struct http_origin origin;
    return http_origin_parse((struct http_text){node->text, node->text_bytes}, &origin);
}

static void check_text(const struct json_fields *fields, const char *name, const struct json_node *node,
                       const struct schema_value *value)
{
    if (value->words != NULL) {
        for (size_t i = 0; value->words[i] != NULL; i++) {
            if (json_text_equals(node, value->words[i]))
                return;
        }
        refuse_word(fields, name, value->words);
    } else if (value->maximum > 0 && node->text_bytes > value->maximum) {
        json_fields_refuse(fields, name, "must be at most %llu bytes long, not %u", (unsigned long long)value->maximum,
                           node->text_bytes);
    } else if (node->text_bytes < (uint64_t)value->minimum) {
        json_fields_refuse(fields, name, "must not be empty");
    } else if (value->kind == SCHEMA_LINE || value->kind == SCHEMA_NAME || value->kind == SCHEMA_SEGMENT) {
        const char *fault = schema_text_fault(value->kind, node->text, node->text_bytes);
        if (fault != NULL)
            json_fields_refuse(fields, name, "%s", fault);
    } else if (value->kind == SCHEMA_URL && !is_url(node)) {
        json_fields_refuse(fields, name, "must be an http or https URL without credentials, query or fragment");
    }
}

static void check_number(const struct json_fields *fields, const char *name, double number,
                         const struct schema_value *value)
{
    if (value->maximum > 0 && (number < (double)value->minimum || number > (double)value->maximum))
        json_fields_refuse(fields, name, "must be from %g to %g", (double)value->minimum, (double)value->maximum);
}

/* As json_fields_uint does it: 12 and 12.0 are whole, and doubles above 2^53 are not exact. */
static void check_whole(const struct json_fields *fields, const char *name, const struct json_node *node,
                        const struct schema_value *value)
{
    bool is_exact = node->boolean;
    int64_t whole = node->integer;
    if (!is_exact && node->number > -9007199254740992.0 && node->number < 9007199254740992.0) {
        whole = (int64_t)node->number;
        is_exact = (double)whole == node->number;
    }
    uint64_t maximum = value->maximum == 0 ? INT64_MAX : value->maximum;
    if (!is_exact || whole < value->minimum || (whole > 0 && (uint64_t)whole > maximum))
        json_fields_refuse(fields, name, "must be a whole number from %lld to %llu", (long long)value->minimum,
                           (unsigned long long)maximum);
}

static void check_source(const struct json_fields *fields, const char *name, const struct json_node *node,
                         const struct schema_value *value)
{
    if (value->maximum > 0 && node->end - node->start > value->maximum)
        json_fields_refuse(fields, name, "must be at most %llu bytes long", (unsigned long long)value->maximum);
}

static void check_map(const struct json_fields *fields, const char *name, const struct json_node *node,
                      const struct schema_value *value)
{
    uint32_t position = 0;
    const struct json_node *key;
    const struct json_node *member;
    if (value->maximum > 0 && node->count > value->maximum)
        json_fields_refuse(fields, name, "must have at most %llu members", (unsigned long long)value->maximum);
    while (!json_error_set(fields->error) && (member = json_next(fields->document, node, &position, &key)) != NULL) {
        char member_name[80];
        snprintf(member_name, sizeof member_name, "%s.%.*s", name, (int)(key->text_bytes < 60 ? key->text_bytes : 60),
                 key->text);
        if (key->text_bytes > SCHEMA_KEY_BYTES_MAX)
            json_fields_refuse(fields, member_name, "must have a name of at most %d bytes", SCHEMA_KEY_BYTES_MAX);
        else
            check_value(fields, member_name, member, value->items);
    }
}

static void check_list(const struct json_fields *fields, const char *name, const struct json_node *node,
                       const struct schema_value *value)
{
    uint32_t position = 0;
    const struct json_node *item;
    if (value->maximum > 0 && node->count > value->maximum)
        json_fields_refuse(fields, name, "must have at most %llu items", (unsigned long long)value->maximum);
    for (size_t i = 0;
         !json_error_set(fields->error) && (item = json_next(fields->document, node, &position, NULL)) != NULL; i++) {
        char item_name[96];
        snprintf(item_name, sizeof item_name, "%s[%zu]", name, i);
        check_value(fields, item_name, item, value->items);
    }
}

static void check_either(const struct json_fields *fields, const char *name, const struct json_node *node,
                         const struct schema_value *value)
{
    char types[64] = "";
    size_t used = 0;
    for (const struct schema_value *one = value->items; one->kind != SCHEMA_END; one++) {
        if (node->type == type_of(one->kind)) {
            check_value(fields, name, node, one);
            return;
        }
        int length = snprintf(types + used, sizeof types - used, "%s%s", used == 0 ? "" : " or ",
                              json_type_name(type_of(one->kind)));
        used += length < 0 || (size_t)length >= sizeof types - used ? 0 : (size_t)length;
    }
    json_fields_refuse(fields, name, "must be %s, not %s", types, json_type_name(node->type));
}

static void check_value(const struct json_fields *fields, const char *name, const struct json_node *node,
                        const struct schema_value *value)
{
    char prefix[96];
    if (value->kind == SCHEMA_ANY)
        return;
    if (value->kind == SCHEMA_EITHER) {
        check_either(fields, name, node, value);
        return;
    }
    if (node->type != type_of(value->kind)) {
        json_fields_refuse(fields, name, "must be %s, not %s", json_type_name(type_of(value->kind)),
                           json_type_name(node->type));
        return;
    }
    switch (value->kind) {
    case SCHEMA_NUMBER:
        check_number(fields, name, node->number, value);
        break;
    case SCHEMA_WHOLE:
        check_whole(fields, name, node, value);
        break;
    case SCHEMA_OBJECT:
        check_source(fields, name, node, value);
        if (snprintf(prefix, sizeof prefix, "%s%s.", fields->prefix, name) < 0)
            return;
        if (!json_error_set(fields->error))
            (void)schema_check(value->of, fields->document, node, prefix, fields->error);
        break;
    case SCHEMA_FREE_OBJECT:
    case SCHEMA_FREE_LIST:
        check_source(fields, name, node, value);
        break;
    case SCHEMA_MAP:
        check_map(fields, name, node, value);
        break;
    case SCHEMA_LIST:
        check_list(fields, name, node, value);
        break;
    case SCHEMA_BOOL:
        break;
    default:
        check_text(fields, name, node, value);
        break;
    }
}

static bool has_one_of(const struct json_fields *fields, const char *const *names)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (json_fields_get(fields, names[i]) != NULL)
            return true;
    }
    return false;
}

bool schema_check(const struct schema *schema, const struct json_document *document, const struct json_node *node,
                  const char *prefix, struct json_error *error)
{
    if (schema->fields == NULL) {
        struct json_fields whole = {.document = document, .object = node, .error = error};
        check_value(&whole, prefix[0] == '\0' ? "body" : prefix, node, schema->value);
        return !json_error_set(error);
    }
    struct json_fields fields = json_fields_of(document, node, prefix, error);
    for (const struct schema_field *field = schema->fields; field->name != NULL && !json_error_set(error); field++) {
        const struct json_node *member = json_fields_get(&fields, field->name);
        if (member != NULL)
            check_value(&fields, field->name, member, &field->value);
        else if ((field->flags & SCHEMA_REQUIRED) != 0)
            json_fields_refuse(&fields, field->name, "is required");
    }
    if (!json_error_set(error) && schema->one_of_required != NULL && !has_one_of(&fields, schema->one_of_required))
        json_fields_refuse(&fields, schema->one_of_required[0], "is required");
    return !json_error_set(error);
}

static bool is_utf8(const char *text, size_t bytes)
{
    size_t length = 1;
    for (size_t at = 0; at < bytes && length > 0; at += length)
        length = utf8_sequence_bytes((const unsigned char *)text + at, bytes - at);
    return length > 0;
}

bool schema_check_text(const struct schema_value *value, const char *name, const char *text, size_t bytes,
                       struct json_error *error)
{
    struct json_document document;
    struct json_fields fields = {.document = &document, .error = error};
    struct json_node node = {.type = JSON_TYPE_TEXT, .text = text, .text_bytes = (uint32_t)bytes};
    if (type_of(value->kind) == JSON_TYPE_TEXT) {
        if (is_utf8(text, bytes)) /* which nothing has seen to, outside a body */
            check_text(&fields, name, &node, value);
        else
            json_fields_refuse(&fields, name, "must be UTF-8");
        return !json_error_set(error);
    }
    /* Numbers and truth values are spelled as JSON spells them. */
    if (json_document_parse(&document, text, bytes))
        check_value(&fields, name, json_root(&document), value);
    else
        json_fields_refuse(&fields, name, "must be %s", json_type_name(type_of(value->kind)));
    json_document_free(&document);
    return !json_error_set(error);
}
