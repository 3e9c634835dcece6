#include "services/worker/coordinators.h"

#include <stdio.h>
#include <string.h>

#include "common/http/target.h"

static size_t without_slashes(const char *url, size_t bytes)
{
    while (bytes > 0 && url[bytes - 1] == '/')
        bytes--;
    return bytes;
}

/* Copies a URL as it is kept; false: it is none. */
static bool take_url(char to[COORDINATORS_URL_BYTES], const char *url, size_t bytes)
{
    struct http_origin origin;
    bytes = without_slashes(url, bytes);
    if (bytes >= COORDINATORS_URL_BYTES)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (url[i] <= ' ' || url[i] >= 0x7f)
            return false;
    memcpy(to, url, bytes);
    to[bytes] = '\0';
    return http_origin_parse(http_text_of(to), &origin);
}

/* One that somebody named who was spoken to at `by`. */
static bool take_named_url(char to[COORDINATORS_URL_BYTES], const char *url, const char *by)
{
    struct http_origin named, namer;
    char taken[COORDINATORS_URL_BYTES];
    if (!take_url(taken, url, strlen(url)) || !http_origin_parse(http_text_of(taken), &named) ||
        !http_origin_parse(http_text_of(by), &namer) || (namer.tls && !named.tls))
        return false;
    strcpy(to, taken);
    return true;
}

/* ---- the round ---- */

/* Adds a URL that is not in the round yet and is not `except`. */
static void append(struct coordinators *coordinators, const char *url, const char *except)
{
    if (url[0] == '\0' || strcmp(url, except) == 0)
        return;
    for (size_t i = 0; i < coordinators->round_count; i++)
        if (strcmp(url, coordinators->round[i]) == 0)
            return;
    coordinators->round[coordinators->round_count++] = url;
}

/* `first` and `except`, which stands at home's place in the end, may be "". */
static void begin_round(struct coordinators *coordinators, const char *first, const char *except)
{
    coordinators->round_count = coordinators->position = 0;
    append(coordinators, first, "");
    for (size_t i = 0; i < coordinators->fallback_count; i++)
        append(coordinators, coordinators->fallbacks[i], except);
    for (size_t i = 0; i < coordinators->configured_count; i++)
        append(coordinators, coordinators->configured[i], except);
    append(coordinators, coordinators->via, except);
    append(coordinators, coordinators->home, "");
}

static void begin_round_here(struct coordinators *coordinators)
{
    begin_round(coordinators, coordinators->through_via ? coordinators->via : coordinators->home, "");
}

const char *coordinators_current(const struct coordinators *coordinators)
{
    return coordinators->round[coordinators->position];
}

void coordinators_next(struct coordinators *coordinators)
{
    coordinators->position = (coordinators->position + 1) % coordinators->round_count;
}

/* ---- the list that was given ---- */

bool coordinators_init(struct coordinators *coordinators, const char *list, char *error, size_t error_bytes)
{
    memset(coordinators, 0, sizeof *coordinators);
    for (const char *at = list;; at++) {
        at += strspn(at, " ");
        size_t bytes = strcspn(at, ","), url_bytes = bytes;
        while (url_bytes > 0 && at[url_bytes - 1] == ' ')
            url_bytes--;
        if (coordinators->configured_count == COORDINATORS_CONFIGURED_MAX) {
            snprintf(error, error_bytes, "--coordinator-url: give at most %d URLs, the ones to try first",
                     COORDINATORS_CONFIGURED_MAX);
            return false;
        }
        if (!take_url(coordinators->configured[coordinators->configured_count], at, url_bytes)) {
            snprintf(error, error_bytes,
                     "--coordinator-url '%.*s': give the coordinator's address as http://HOST:PORT or https://HOST; "
                     "several with commas between them",
                     (int)url_bytes, at);
            return false;
        }
        coordinators->configured_count++;
        at += bytes;
        if (*at == '\0')
            break;
    }
    begin_round(coordinators, "", "");
    return true;
}

/* ---- what was answered ---- */

static void take_fallbacks(struct coordinators *coordinators, const char *const *urls, size_t url_count, const char *by)
{
    coordinators->fallback_count = 0;
    for (size_t i = 0; i < url_count && coordinators->fallback_count < COORDINATORS_FALLBACKS_MAX; i++)
        if (take_named_url(coordinators->fallbacks[coordinators->fallback_count], urls[i], by))
            coordinators->fallback_count++;
}

void coordinators_registered(struct coordinators *coordinators, const char *home, const char *const *fallbacks,
                             size_t fallback_count)
{
    char via[COORDINATORS_URL_BYTES];
    strcpy(via, coordinators_current(coordinators)); /* it may be one of the fallbacks that go now */
    strcpy(coordinators->via, via);
    if (home == NULL || !take_named_url(coordinators->home, home, via))
        strcpy(coordinators->home, via);
    coordinators->through_via = coordinators->home_answers = false;
    if (fallback_count > 0) /* a coordinator alone knows no others: those that an edge router named still stand */
        take_fallbacks(coordinators, fallbacks, fallback_count, via);
    begin_round_here(coordinators);
}

bool coordinators_named(struct coordinators *coordinators, const char *const *urls, size_t url_count)
{
    char by[COORDINATORS_URL_BYTES], other[COORDINATORS_URL_BYTES];
    size_t usable = 0;
    strcpy(by, coordinators_current(coordinators)); /* it may be one of the fallbacks that go now */
    for (size_t i = 0; i < url_count; i++)
        usable += take_named_url(other, urls[i], by) && strcmp(other, by) != 0;
    if (usable == 0)
        return false;
    take_fallbacks(coordinators, urls, url_count, by);
    strcpy(coordinators->back, by);
    begin_round(coordinators, coordinators->back, "");
    return true;
}

static bool two_ways(const struct coordinators *coordinators)
{
    return strcmp(coordinators->home, coordinators->via) != 0;
}

void coordinators_heard(struct coordinators *coordinators)
{
    if (!coordinators->through_via)
        coordinators->home_answers = true;
}

void coordinators_unheard(struct coordinators *coordinators)
{
    if (!two_ways(coordinators))
        return;
    coordinators->through_via = !coordinators->through_via;
    begin_round_here(coordinators);
}

bool coordinators_doubtful(const struct coordinators *coordinators)
{
    return two_ways(coordinators) && !coordinators->through_via && !coordinators->home_answers;
}

void coordinators_lost(struct coordinators *coordinators)
{
    begin_round(coordinators, "", coordinators->home);
}

void coordinators_return(struct coordinators *coordinators, const char *url)
{
    char back[COORDINATORS_URL_BYTES];
    snprintf(back, sizeof back, "%s", url); /* it may be in the round that ends */
    strcpy(coordinators->back, back);
    begin_round(coordinators, coordinators->back, "");
    /* Home second. */
    size_t home = 1;
    while (home < coordinators->round_count && strcmp(coordinators->round[home], coordinators->home) != 0)
        home++;
    if (home < coordinators->round_count) {
        const char *text = coordinators->round[home];
        memmove(&coordinators->round[2], &coordinators->round[1], (home - 1) * sizeof coordinators->round[0]);
        coordinators->round[1] = text;
    }
}
