/* Schemas (schema.h) as JSON Schema, for the OpenAPI document. Inside openapi.c's library. */

#pragma once

#include "common/json/write.h"
#include "gateway/api.h"
#include "gateway/schema.h"

#define OPENAPI_COMPONENTS_MAX 256

/* Schemas that are mentioned, each once, in the order in which they are. */
struct openapi_components {
    enum api_role role; /* of the gateways that the document is of */
    const struct schema *schemas[OPENAPI_COMPONENTS_MAX];
    size_t count;
};

/* The members of a schema object, without its braces; schemas that it mentions come into the
 * components. */
void openapi_write_value(struct json_writer *writer, const struct schema_value *value, bool nullable,
                         struct openapi_components *components);

/* A reference to a schema, without braces. */
void openapi_write_reference(struct json_writer *writer, const struct schema *schema,
                             struct openapi_components *components);

/* A named member: the schema itself. */
void openapi_write_schema(struct json_writer *writer, const struct schema *schema,
                          struct openapi_components *components);

static inline void openapi_write_text(struct json_writer *writer, const char *key, const char *value)
{
    json_write_key(writer, key);
    json_write_text(writer, value);
}

static inline void openapi_begin_object(struct json_writer *writer, const char *key)
{
    json_write_key(writer, key);
    json_write_object_begin(writer);
}
