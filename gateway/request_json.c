/* See request_json.h. */

#include "gateway/request_json.h"

#include <stdio.h>

enum request_json_result request_json_read(const char *text, size_t bytes, const char *what, struct arena *arena,
                                           void *(*read)(struct json_fields *fields, struct arena *arena), void **built,
                                           struct json_error *error)
{
    struct json_document document;
    enum request_json_result result = REQUEST_JSON_MALFORMED;
    if (json_document_parse(&document, text, bytes)) {
        struct json_fields fields = json_fields_of(&document, json_root(&document), "", error);
        *built = read(&fields, arena);
        result = *built == NULL || arena_failed(arena) ? REQUEST_JSON_NO_MEMORY
                 : json_error_set(error)               ? REQUEST_JSON_INVALID
                                                       : REQUEST_JSON_OK;
        if (result == REQUEST_JSON_NO_MEMORY)
            snprintf(error->message, sizeof error->message, "out of memory");
    } else {
        snprintf(error->message, sizeof error->message, "%s is not JSON: %s", what, document.error);
    }
    json_document_free(&document);
    return result;
}
