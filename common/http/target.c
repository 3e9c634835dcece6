#include "common/http/target.h"

#include "common/http/characters.h"

#include <string.h>

/* The byte that "%xy" at `text` stands for, or -1. */
static int escaped_byte(struct http_text text, size_t at)
{
    if (text.bytes - at < 3)
        return -1;
    int high = http_hex_digit(text.data[at + 1]), low = http_hex_digit(text.data[at + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool http_path_acceptable(struct http_text path)
{
    if (path.bytes == 0 || path.data[0] != '/')
        return false;
    /* The segment so far, decoded: only dots, and how many. A ";" ends what counts, since
     * some servers drop parameters before they resolve dots. */
    bool only_dots = true, parameters = false;
    unsigned dots = 0;
    for (size_t i = 1; i < path.bytes; i++) {
        char c = path.data[i];
        if (c == '/') {
            if (only_dots && (dots == 1 || dots == 2))
                return false;
            only_dots = true;
            parameters = false;
            dots = 0;
            continue;
        }
        if (c == '%') {
            int byte = escaped_byte(path, i);
            if (byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\')
                return false;
            c = (char)byte;
            i += 2;
        } else if (!http_character_is(c, HTTP_CHARACTER_PATH)) {
            return false;
        }
        if (c == ';')
            parameters = true;
        if (!parameters) {
            only_dots = only_dots && c == '.';
            dots++;
        }
    }
    return !(only_dots && (dots == 1 || dots == 2));
}

int64_t http_percent_decode(struct http_text text, bool plus, char *decoded, size_t capacity)
{
    size_t length = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (c == '%') {
            int byte = escaped_byte(text, i);
            if (byte <= 0)
                return -1;
            c = (char)byte;
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (length + 1 >= capacity)
            return -1;
        decoded[length++] = c;
    }
    if (capacity == 0)
        return -1;
    decoded[length] = '\0';
    return (int64_t)length;
}

bool http_path_next_segment(struct http_text *path, struct http_text *segment)
{
    if (path->bytes < 2 || path->data[0] != '/')
        return false;
    const char *from = path->data + 1;
    const char *slash = memchr(from, '/', path->bytes - 1);
    *segment = (struct http_text){from, slash != NULL ? (size_t)(slash - from) : path->bytes - 1};
    path->data = from + segment->bytes;
    path->bytes -= segment->bytes + 1;
    return true;
}

int64_t http_query_get(struct http_text query, const char *name, char *decoded, size_t capacity)
{
    size_t name_bytes = strlen(name);
    while (query.bytes > 0) {
        const char *ampersand = memchr(query.data, '&', query.bytes);
        size_t bytes = ampersand != NULL ? (size_t)(ampersand - query.data) : query.bytes;
        if (bytes > name_bytes && query.data[name_bytes] == '=' && memcmp(query.data, name, name_bytes) == 0)
            return http_percent_decode((struct http_text){query.data + name_bytes + 1, bytes - name_bytes - 1}, true,
                                       decoded, capacity);
        if (ampersand == NULL)
            break;
        query.data += bytes + 1;
        query.bytes -= bytes + 1;
    }
    return -1;
}

static bool starts_with(struct http_text text, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return text.bytes >= bytes && http_text_equal_ignoring_case((struct http_text){text.data, bytes}, prefix);
}

static struct http_text skip(struct http_text text, size_t bytes)
{
    return (struct http_text){text.data + bytes, text.bytes - bytes};
}

/* Takes ":8080" or nothing; false when it is neither. */
static bool parse_port(struct http_text text, uint16_t *port)
{
    if (text.bytes == 0)
        return true;
    if (text.data[0] != ':' || text.bytes < 2 || text.bytes > 6)
        return false;
    unsigned value = 0;
    for (size_t i = 1; i < text.bytes; i++) {
        if (!http_character_is(text.data[i], HTTP_CHARACTER_DIGIT))
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    if (value == 0 || value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

/* Copies the host without brackets; *rest is what follows it. */
static bool parse_host(struct http_text authority, struct http_origin *origin, bool *bracketed, struct http_text *rest)
{
    size_t bytes = 0;
    *bracketed = authority.bytes > 0 && authority.data[0] == '[';
    if (*bracketed) {
        authority = skip(authority, 1);
        while (bytes < authority.bytes && (http_hex_digit(authority.data[bytes]) >= 0 || authority.data[bytes] == ':' ||
                                           authority.data[bytes] == '.'))
            bytes++;
        if (bytes == authority.bytes || authority.data[bytes] != ']')
            return false;
    } else {
        while (bytes < authority.bytes && http_character_is(authority.data[bytes], HTTP_CHARACTER_HOST))
            bytes++;
    }
    if (bytes == 0 || bytes >= sizeof origin->host)
        return false;
    for (size_t i = 0; i < bytes; i++)
        origin->host[i] = http_lower(authority.data[i]);
    origin->host[bytes] = '\0';
    *rest = skip(authority, *bracketed ? bytes + 1 : bytes);
    return true;
}

/* What follows the host; returns its bytes. */
static size_t write_tail(char tail[10], bool bracketed, uint16_t port)
{
    char digits[5];
    size_t count = 0, bytes = 0;
    do
        digits[count++] = (char)('0' + port % 10);
    while ((port /= 10) != 0);
    if (bracketed)
        tail[bytes++] = ']';
    tail[bytes++] = ':';
    while (count > 0)
        tail[bytes++] = digits[--count];
    return bytes;
}

/* before + host + the first tail_bytes of tail, by hand: a relay does this for each request, and
 * snprintf was a fiftieth of all that it does. */
static bool join(char *into, size_t capacity, const char *before, const char *host, const char *tail, size_t tail_bytes)
{
    size_t before_bytes = strlen(before), host_bytes = strlen(host);
    if (before_bytes + host_bytes + tail_bytes >= capacity)
        return false;
    memcpy(into, before, before_bytes);
    memcpy(into + before_bytes, host, host_bytes);
    memcpy(into + before_bytes + host_bytes, tail, tail_bytes);
    into[before_bytes + host_bytes + tail_bytes] = '\0';
    return true;
}

bool http_origin_parse(struct http_text url, struct http_origin *origin)
{
    origin->tls = origin->dialled = false;
    if (starts_with(url, "http://"))
        url = skip(url, strlen("http://"));
    else if (starts_with(url, "https://")) {
        url = skip(url, strlen("https://"));
        origin->tls = true;
    } else {
        return false;
    }
    const uint16_t default_port = origin->tls ? 443 : 80;
    origin->port = default_port;

    const char *slash = memchr(url.data, '/', url.bytes);
    struct http_text authority = {url.data, slash != NULL ? (size_t)(slash - url.data) : url.bytes};
    struct http_text path = skip(url, authority.bytes), port;
    bool bracketed;
    if (!parse_host(authority, origin, &bracketed, &port) || !parse_port(port, &origin->port))
        return false;

    while (path.bytes > 0 && path.data[path.bytes - 1] == '/')
        path.bytes--;
    if (path.bytes >= sizeof origin->prefix || (path.bytes > 0 && !http_path_acceptable(path)))
        return false;
    memcpy(origin->prefix, path.data, path.bytes);
    origin->prefix[path.bytes] = '\0';

    char tail[10]; /* "]:65535" */
    size_t close_bytes = bracketed ? 1 : 0, tail_bytes = write_tail(tail, bracketed, origin->port);
    return join(origin->authority, sizeof origin->authority, bracketed ? "[" : "", origin->host, tail,
                origin->port == default_port ? close_bytes : tail_bytes) &&
           join(origin->key, sizeof origin->key,
                origin->tls ? (bracketed ? "https://[" : "https://") : (bracketed ? "http://[" : "http://"),
                origin->host, tail, tail_bytes);
}
