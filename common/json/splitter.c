/* See splitter.h. */

#include "common/json/splitter.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/json/document.h"

/* What may come next. */
enum place {
    AT_START,
    AT_FIRST_KEY, /* or the object's end */
    AT_KEY,
    IN_KEY,
    AT_COLON,
    AT_MEMBER,        /* a value of the object */
    BEHIND_MEMBER,    /* a comma or the object's end */
    AT_FIRST_ELEMENT, /* or the list's end */
    AT_ELEMENT,
    BEHIND_ELEMENT, /* a comma or the list's end */
    IN_VALUE,       /* an element's or another member's text */
    AT_END,         /* nothing but space */
};

__attribute__((format(printf, 2, 3))) static void fail(struct json_splitter *splitter, const char *format, ...)
{
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(splitter->error, sizeof splitter->error, "%s at byte %llu", text, (unsigned long long)splitter->offset);
    splitter->state = JSON_SPLITTER_FAILED;
}

static void fail_of_other_kind(struct json_splitter *splitter, const char *text, const char *rest)
{
    splitter->other_kind = true;
    fail(splitter, "%s%s", text, rest);
}

void json_splitter_init(struct json_splitter *splitter, const char *member, size_t element_bytes_max)
{
    memset(splitter, 0, sizeof *splitter);
    splitter->member = member;
    splitter->element_bytes_max = element_bytes_max;
    splitter->place = AT_START;
}

void json_splitter_free(struct json_splitter *splitter)
{
    buffer_free(&splitter->element);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void begin_value(struct json_splitter *splitter, char c, unsigned resume)
{
    buffer_clear(&splitter->element);
    splitter->too_long = false;
    splitter->resume = resume;
    splitter->place = IN_VALUE;
    splitter->depth = 0;
    splitter->in_text = false;
    splitter->escaped = false;
    splitter->is_scalar = c != '{' && c != '[' && c != '"';
}

static void keep(struct json_splitter *splitter, const char *data, size_t bytes)
{
    if (splitter->too_long)
        return;
    if (splitter->element.bytes + bytes > splitter->element_bytes_max) {
        splitter->too_long = true;
        buffer_free(&splitter->element);
        return;
    }
    buffer_append(&splitter->element, data, bytes);
    if (buffer_failed(&splitter->element))
        fail(splitter, "out of memory");
}

/* Moves over a value's bytes; true when its last one was among them. */
static bool scan_value(struct json_splitter *splitter, const char *data, size_t bytes, size_t *used)
{
    size_t i = 0;
    bool complete = false;
    while (i < bytes && !complete) {
        char c = data[i];
        if (splitter->is_scalar) {
            if (is_space(c) || c == ',' || c == ']' || c == '}') {
                complete = true; /* the byte belongs to what follows */
                break;
            }
        } else if (splitter->in_text) {
            if (splitter->escaped)
                splitter->escaped = false;
            else if (c == '\\')
                splitter->escaped = true;
            else if (c == '"') {
                splitter->in_text = false;
                complete = splitter->depth == 0;
            }
        } else if (c == '"') {
            splitter->in_text = true;
        } else if (c == '{' || c == '[') {
            splitter->depth++;
        } else if (c == '}' || c == ']') {
            complete = --splitter->depth == 0;
        }
        i++;
    }
    keep(splitter, data, i);
    *used = i;
    return complete;
}

static void put_wanted(struct json_splitter *splitter)
{
    buffer_clear(splitter->wanted_text);
    buffer_append(splitter->wanted_text, splitter->element.data, splitter->element.bytes);
    if (buffer_failed(splitter->wanted_text))
        fail(splitter, "out of memory");
}

/* A member that is not the list: read, and forgotten unless it is wanted. */
static void check_member(struct json_splitter *splitter)
{
    struct json_document document;
    if (splitter->too_long) {
        fail(splitter, "the member %s before this is longer than %zu bytes", splitter->key,
             splitter->element_bytes_max);
        return;
    }
    if (!json_document_parse(&document, splitter->element.data == NULL ? "" : splitter->element.data,
                             splitter->element.bytes))
        fail(splitter, "the member %s before this is not JSON: %.60s", splitter->key, document.error);
    else if (splitter->wanted != NULL && strcmp(splitter->key, splitter->wanted) == 0)
        put_wanted(splitter);
    json_document_free(&document);
}

static void value_complete(struct json_splitter *splitter)
{
    splitter->place = splitter->resume;
    if (splitter->state == JSON_SPLITTER_FAILED)
        return;
    if (splitter->in_list) {
        splitter->count++;
        splitter->state = JSON_SPLITTER_ELEMENT;
    } else {
        check_member(splitter);
    }
}

static void begin_list(struct json_splitter *splitter)
{
    if (splitter->has_list) {
        fail(splitter, "a second %s", splitter->member);
        return;
    }
    splitter->has_list = true;
    splitter->in_list = true;
    splitter->place = AT_FIRST_ELEMENT;
}

static void end_list(struct json_splitter *splitter)
{
    splitter->in_list = false;
    splitter->place = splitter->is_object ? BEHIND_MEMBER : AT_END;
}

/* Takes one byte of a key, whose text is compared as it is spelled. */
static void take_key_byte(struct json_splitter *splitter, char c)
{
    if (!splitter->escaped && c == '"') {
        struct json_document document;
        keep(splitter, &c, 1);
        bool fine = !splitter->too_long && splitter->state != JSON_SPLITTER_FAILED;
        if (!fine) {
            fail(splitter, "a key that is too long");
            return;
        }
        if (json_document_parse(&document, splitter->element.data, splitter->element.bytes)) {
            const struct json_node *key = json_root(&document);
            size_t bytes = key->text_bytes < sizeof splitter->key ? key->text_bytes : sizeof splitter->key - 1;
            memcpy(splitter->key, key->text, bytes);
            splitter->key[bytes] = '\0';
            splitter->place = AT_COLON;
        } else {
            fail(splitter, "a key that is not JSON: %.60s", document.error);
        }
        json_document_free(&document);
        return;
    }
    splitter->escaped = !splitter->escaped && c == '\\';
    keep(splitter, &c, 1);
}

/* One byte between values. Returns whether it was taken: a value's first byte is not. */
static bool take_structure(struct json_splitter *splitter, char c)
{
    switch (splitter->place) {
    case AT_START:
        splitter->is_object = c == '{';
        if (c == '{')
            splitter->place = AT_FIRST_KEY;
        else if (c == '[')
            begin_list(splitter);
        else
            fail_of_other_kind(splitter, "neither an array nor an object", "");
        return true;
    case AT_FIRST_KEY:
    case AT_KEY:
        if (c == '}' && splitter->place == AT_FIRST_KEY) {
            splitter->place = AT_END;
        } else if (c == '"') {
            begin_value(splitter, c, AT_COLON);
            splitter->place = IN_KEY;
            keep(splitter, &c, 1);
        } else {
            fail(splitter, "no key");
        }
        return true;
    case AT_COLON:
        if (c == ':')
            splitter->place = AT_MEMBER;
        else
            fail(splitter, "no colon");
        return true;
    case AT_MEMBER:
        if (strcmp(splitter->key, splitter->member) != 0) {
            begin_value(splitter, c, BEHIND_MEMBER);
            return false;
        }
        if (c == '[')
            begin_list(splitter);
        else
            fail_of_other_kind(splitter, splitter->member, " is not an array");
        return true;
    case BEHIND_MEMBER:
        if (c == ',')
            splitter->place = AT_KEY;
        else if (c == '}')
            splitter->place = AT_END;
        else
            fail(splitter, "neither a comma nor the end of the object");
        return true;
    case AT_FIRST_ELEMENT:
    case AT_ELEMENT:
        if (c == ']' && splitter->place == AT_FIRST_ELEMENT) {
            end_list(splitter);
            return true;
        }
        if (c == ',' || c == ']' || c == '}' || c == ':') {
            fail(splitter, "no element");
            return true;
        }
        begin_value(splitter, c, BEHIND_ELEMENT);
        return false;
    case BEHIND_ELEMENT:
        if (c == ',')
            splitter->place = AT_ELEMENT;
        else if (c == ']')
            end_list(splitter);
        else
            fail(splitter, "neither a comma nor the end of the list");
        return true;
    default: /* AT_END */
        fail(splitter, "something behind the end");
        return true;
    }
}

size_t json_splitter_feed(struct json_splitter *splitter, const char *data, size_t bytes)
{
    size_t at = 0;
    if (splitter->state == JSON_SPLITTER_FAILED)
        return bytes;
    splitter->state = JSON_SPLITTER_HUNGRY;
    while (at < bytes && splitter->state == JSON_SPLITTER_HUNGRY) {
        size_t used = 0;
        if (splitter->place == IN_VALUE) {
            if (scan_value(splitter, data + at, bytes - at, &used))
                value_complete(splitter);
        } else if (splitter->place == IN_KEY) {
            take_key_byte(splitter, data[at]);
            used = 1;
        } else if (is_space(data[at]) || take_structure(splitter, data[at])) {
            used = 1;
        }
        at += used;
        splitter->offset += used;
    }
    return at;
}

bool json_splitter_finish(struct json_splitter *splitter)
{
    if (splitter->state != JSON_SPLITTER_FAILED && splitter->place != AT_END)
        fail(splitter, "the text is cut off");
    else if (splitter->state != JSON_SPLITTER_FAILED && !splitter->has_list)
        fail_of_other_kind(splitter, "there is no list ", splitter->member);
    return splitter->state != JSON_SPLITTER_FAILED;
}
