/* See kept_list.h. */

#include "gateway/proxy/kept_list.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "common/json/fields.h"
#include "common/json/write.h"

#define FORMAT "muster list 1"
#define DIGEST_TEXT_BYTES (2 * SHA256_DIGEST_LENGTH + 1)
/* What JSON's numbers keep exactly. */
#define NUMBER_MAX (1ULL << 53)

static void digest_of(const char *data, size_t bytes, char text[DIGEST_TEXT_BYTES])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)data, bytes, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

void kept_list_name(const char *url, char name[KEPT_LIST_NAME_BYTES])
{
    char digest[DIGEST_TEXT_BYTES];
    digest_of(url, strlen(url), digest);
    snprintf(name, KEPT_LIST_NAME_BYTES, "workers-%.16s.list", digest);
}

void kept_list_write_head(const char *url, const struct kept_list *list, struct buffer *out)
{
    struct json_writer writer = json_writer_into(out);
    char digest[DIGEST_TEXT_BYTES];
    digest_of(list->body, list->body_bytes, digest);
    json_write_object_begin(&writer);
    json_write_named_text(&writer, "format", FORMAT);
    json_write_named_text(&writer, "url", url);
    json_write_named_uint(&writer, "as_of_ms", (uint64_t)list->as_of_ms);
    json_write_named_text(&writer, "etag", list->etag);
    json_write_named_uint(&writer, "bytes", list->body_bytes);
    json_write_named_text(&writer, "sha256", digest);
    json_write_object_end(&writer);
    buffer_append_char(out, '\n');
}

static bool refuse(char *problem, size_t problem_bytes, const char *text)
{
    snprintf(problem, problem_bytes, "%s", text);
    return false;
}

struct head {
    const char *format, *url, *etag, *digest; /* NULL: not there */
    uint64_t as_of_ms, bytes;
};

/* All but the body, which is only measured here. */
static bool check_head(const struct head *head, const char *url, size_t body_bytes, char *problem, size_t problem_bytes)
{
    if (head->format == NULL || strcmp(head->format, FORMAT) != 0)
        return refuse(problem, problem_bytes, "it is not of the format \"" FORMAT "\"");
    if (head->url == NULL || strcmp(head->url, url) != 0)
        return refuse(problem, problem_bytes, "it is another coordinator's");
    if (head->digest == NULL || head->bytes != body_bytes)
        return refuse(problem, problem_bytes, "it is cut off, or something was added to it");
    return true;
}

static bool read_head(const char *text, size_t bytes, struct arena *arena, struct head *head, char *problem,
                      size_t problem_bytes)
{
    struct json_document document;
    struct json_error error = {.message = ""};
    bool parsed = json_document_parse(&document, text, bytes);
    if (parsed) {
        struct json_fields fields = json_fields_of(&document, json_root(&document), "", &error);
        head->format = json_fields_text(&fields, "format", 64, arena);
        head->url = json_fields_text(&fields, "url", KEPT_LIST_HEAD_BYTES_MAX, arena);
        head->etag = json_fields_text(&fields, "etag", sizeof((struct kept_list *)0)->etag - 1, arena);
        head->digest = json_fields_text(&fields, "sha256", DIGEST_TEXT_BYTES, arena);
        (void)json_fields_uint(&fields, "as_of_ms", NUMBER_MAX, &head->as_of_ms); /* else it stays 0 */
        (void)json_fields_uint(&fields, "bytes", NUMBER_MAX, &head->bytes);       /* the same */
    }
    json_document_free(&document);
    if (!parsed || json_error_set(&error) || arena_failed(arena))
        return refuse(problem, problem_bytes, "its first line cannot be read");
    return true;
}

bool kept_list_read(const char *text, size_t bytes, const char *url, struct kept_list *list, char *problem,
                    size_t problem_bytes)
{
    struct arena arena;
    struct head head = {.format = NULL};
    char digest[DIGEST_TEXT_BYTES];
    const char *line_end = memchr(text, '\n', bytes < KEPT_LIST_HEAD_BYTES_MAX ? bytes : KEPT_LIST_HEAD_BYTES_MAX);
    if (line_end == NULL)
        return refuse(problem, problem_bytes, "its first line cannot be read");
    arena_init(&arena, NULL, 0);
    const char *body = line_end + 1;
    size_t body_bytes = bytes - (size_t)(body - text);
    bool fine = read_head(text, (size_t)(line_end - text), &arena, &head, problem, problem_bytes) &&
                check_head(&head, url, body_bytes, problem, problem_bytes);
    if (fine) {
        digest_of(body, body_bytes, digest);
        fine = strcmp(digest, head.digest) == 0 || refuse(problem, problem_bytes, "its content was changed");
    }
    if (fine) {
        *list = (struct kept_list){.as_of_ms = (int64_t)head.as_of_ms, .body = body, .body_bytes = body_bytes};
        snprintf(list->etag, sizeof list->etag, "%s", head.etag == NULL ? "" : head.etag);
    }
    arena_free(&arena);
    return fine;
}
