/* See openapi_schema.h. */

#include "gateway/openapi_schema.h"

#include <string.h>

/* Control characters, in a class of a regular expression. */
#define CONTROLS "\\u0000-\\u001f\\u007f-\\u009f"

/* --- Values --- */

void openapi_write_reference(struct json_writer *writer, const struct schema *schema,
                             struct openapi_components *components)
{
    struct buffer reference = BUFFER_INIT;
    size_t i = 0;
    while (i < components->count && components->schemas[i] != schema)
        i++;
    if (i == components->count && i < OPENAPI_COMPONENTS_MAX)
        components->schemas[components->count++] = schema;
    buffer_append_format(&reference, "#/components/schemas/%s", schema->name);
    openapi_write_text(writer, "$ref", reference.data);
    buffer_free(&reference);
}

static void write_type(struct json_writer *writer, const char *type, bool nullable)
{
    json_write_key(writer, "type");
    if (!nullable) {
        json_write_text(writer, type);
        return;
    }
    json_write_array_begin(writer);
    json_write_text(writer, type);
    json_write_text(writer, "null");
    json_write_array_end(writer);
}

static void write_limit(struct json_writer *writer, const char *key, uint64_t limit)
{
    if (limit == 0)
        return;
    json_write_key(writer, key);
    json_write_uint(writer, limit);
}

static void write_words(struct json_writer *writer, const char *const *words, bool nullable)
{
    json_write_key(writer, "enum");
    json_write_array_begin(writer);
    for (; *words != NULL; words++)
        json_write_text(writer, *words);
    if (nullable)
        json_write_null(writer);
    json_write_array_end(writer);
}

static void write_text_value(struct json_writer *writer, const struct schema_value *value, bool nullable)
{
    write_type(writer, "string", nullable);
    if (value->words != NULL)
        write_words(writer, value->words, nullable);
    if (value->kind == SCHEMA_URL)
        openapi_write_text(writer, "format", "uri");
    if (value->kind == SCHEMA_TIME)
        openapi_write_text(writer, "format", "date-time");
    if (value->kind == SCHEMA_LINE)
        openapi_write_text(writer, "pattern", "^[^" CONTROLS "]*$");
    if (value->kind == SCHEMA_NAME)
        openapi_write_text(writer, "pattern", "^[^" CONTROLS "]+$");
    if (value->kind == SCHEMA_SEGMENT)
        openapi_write_text(writer, "pattern", "^(?!\\.\\.?(;|$))[^/\\\\" CONTROLS "]+$");
    write_limit(writer, "minLength", (uint64_t)value->minimum);
    /* A text of n bytes has at most n characters. */
    write_limit(writer, "maxLength", value->maximum);
    write_limit(writer, "x-muster-bytes-max", value->maximum);
}

static void write_number_value(struct json_writer *writer, const struct schema_value *value, bool nullable)
{
    write_type(writer, value->kind == SCHEMA_WHOLE ? "integer" : "number", nullable);
    json_write_key(writer, "minimum");
    json_write_int(writer, value->minimum);
    write_limit(writer, "maximum", value->maximum);
}

static void write_items(struct json_writer *writer, const char *key, const struct schema_value *items,
                        struct openapi_components *components)
{
    openapi_begin_object(writer, key);
    openapi_write_value(writer, items, false, components);
    json_write_object_end(writer);
}

static void write_alternatives(struct json_writer *writer, const char *key, const struct schema_value *alternatives,
                               bool nullable, struct openapi_components *components)
{
    json_write_key(writer, key);
    json_write_array_begin(writer);
    for (; alternatives->kind != SCHEMA_END; alternatives++) {
        json_write_object_begin(writer);
        openapi_write_value(writer, alternatives, false, components);
        json_write_object_end(writer);
    }
    if (nullable) {
        json_write_object_begin(writer);
        write_type(writer, "null", false);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

/* The members of a schema object, without its braces. */
void openapi_write_value(struct json_writer *writer, const struct schema_value *value, bool nullable,
                         struct openapi_components *components)
{
    const struct schema_value alone[] = {{value->kind, value->minimum, value->maximum, value->words, value->of, NULL},
                                         {.kind = SCHEMA_END}};
    switch (value->kind) {
    case SCHEMA_END:
    case SCHEMA_ANY:
        break;
    case SCHEMA_BOOL:
        write_type(writer, "boolean", nullable);
        break;
    case SCHEMA_NUMBER:
    case SCHEMA_WHOLE:
        write_number_value(writer, value, nullable);
        break;
    case SCHEMA_OBJECT:
        if (nullable) {
            write_alternatives(writer, "anyOf", alone, true, components);
            break;
        }
        openapi_write_reference(writer, value->of, components);
        write_limit(writer, "x-muster-bytes-max", value->maximum);
        break;
    case SCHEMA_FREE_OBJECT:
        write_type(writer, "object", nullable);
        write_limit(writer, "x-muster-bytes-max", value->maximum);
        break;
    case SCHEMA_MAP:
        write_type(writer, "object", nullable);
        write_items(writer, "additionalProperties", value->items, components);
        write_limit(writer, "maxProperties", value->maximum);
        break;
    case SCHEMA_LIST:
        write_type(writer, "array", nullable);
        write_items(writer, "items", value->items, components);
        write_limit(writer, "maxItems", value->maximum);
        break;
    case SCHEMA_FREE_LIST:
        write_type(writer, "array", nullable);
        write_limit(writer, "x-muster-bytes-max", value->maximum);
        break;
    case SCHEMA_EITHER:
        write_alternatives(writer, "anyOf", value->items, nullable, components);
        break;
    default:
        write_text_value(writer, value, nullable);
        break;
    }
}

/* --- Schemas --- */

static void write_field(struct json_writer *writer, const struct schema *schema, const struct schema_field *field,
                        struct openapi_components *components)
{
    bool nullable =
        (field->flags & SCHEMA_NULLABLE) != 0 || (schema->is_request && (field->flags & SCHEMA_REQUIRED) == 0);
    openapi_begin_object(writer, field->name);
    openapi_write_value(writer, &field->value, nullable, components);
    openapi_write_text(writer, "description", field->help);
    if (field->example != NULL) {
        json_write_key(writer, "examples");
        json_write_array_begin(writer);
        json_write_raw(writer, field->example, strlen(field->example));
        json_write_array_end(writer);
    }
    json_write_object_end(writer);
}

static void write_required(struct json_writer *writer, const struct schema *schema)
{
    bool any = false;
    for (const struct schema_field *field = schema->fields; field->name != NULL; field++)
        any = any || (field->flags & SCHEMA_REQUIRED) != 0;
    if (!any) /* an empty list is allowed only since JSON Schema 2019 */
        return;
    json_write_key(writer, "required");
    json_write_array_begin(writer);
    for (const struct schema_field *field = schema->fields; field->name != NULL; field++) {
        if ((field->flags & SCHEMA_REQUIRED) != 0)
            json_write_text(writer, field->name);
    }
    json_write_array_end(writer);
}

static void write_one_of_required(struct json_writer *writer, const char *const *names)
{
    json_write_key(writer, "anyOf");
    json_write_array_begin(writer);
    for (; *names != NULL; names++) {
        json_write_object_begin(writer);
        json_write_key(writer, "required");
        json_write_array_begin(writer);
        json_write_text(writer, *names);
        json_write_array_end(writer);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

void openapi_write_schema(struct json_writer *writer, const struct schema *schema,
                          struct openapi_components *components)
{
    openapi_begin_object(writer, schema->name);
    openapi_write_text(writer, "description", schema->help);
    if (schema->fields == NULL) {
        openapi_write_value(writer, schema->value, false, components);
    } else {
        write_type(writer, "object", false);
        write_required(writer, schema);
        if (schema->one_of_required != NULL)
            write_one_of_required(writer, schema->one_of_required);
        openapi_begin_object(writer, "properties");
        for (const struct schema_field *field = schema->fields; field->name != NULL; field++)
            write_field(writer, schema, field, components);
        json_write_object_end(writer);
    }
    json_write_object_end(writer);
}
