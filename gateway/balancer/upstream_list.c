/* See upstream_list.h. */

#include "gateway/balancer/upstream_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http/target.h"
#include "gateway/balancer/balancer.h"

static bool refuse(char *problem, size_t problem_bytes, const char *text)
{
    snprintf(problem, problem_bytes, "%s", text);
    return false;
}

/* The URLs of one line. */
static bool take_line(struct upstream_list *list, char *line, size_t number, char *problem, size_t problem_bytes)
{
    char *rest = NULL;
    line[strcspn(line, "#")] = '\0';
    for (char *url = strtok_r(line, " \t\r,", &rest); url != NULL; url = strtok_r(NULL, " \t\r,", &rest)) {
        struct http_origin origin;
        if (!http_origin_parse(http_text_of(url), &origin)) {
            snprintf(problem, problem_bytes,
                     "line %zu: \"%.60s\" is no http or https URL without credentials, query or fragment", number, url);
            return false;
        }
        if (list->count == BALANCER_UPSTREAMS_MAX) {
            snprintf(problem, problem_bytes, "line %zu: there are more than %d upstreams", number,
                     BALANCER_UPSTREAMS_MAX);
            return false;
        }
        list->urls[list->count++] = url;
    }
    return true;
}

static bool read_lines(struct upstream_list *list, char *problem, size_t problem_bytes)
{
    size_t number = 0;
    char *line = list->text;
    while (line != NULL) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        if (!take_line(list, line, ++number, problem, problem_bytes))
            return false;
        line = end == NULL ? NULL : end + 1;
    }
    return list->count > 0 || refuse(problem, problem_bytes, "there is no URL");
}

bool upstream_list_read(const char *text, size_t bytes, struct upstream_list *list, char *problem, size_t problem_bytes)
{
    *list = (struct upstream_list){.text = NULL};
    if (bytes > UPSTREAM_LIST_BYTES_MAX)
        return refuse(problem, problem_bytes, "it is longer than a mebibyte");
    if (memchr(text, '\0', bytes) != NULL)
        return refuse(problem, problem_bytes, "it has a zero byte, so it is no text");
    list->text = strndup(text, bytes);
    list->urls = calloc(BALANCER_UPSTREAMS_MAX, sizeof *list->urls);
    if (list->text == NULL || list->urls == NULL) {
        upstream_list_free(list);
        return refuse(problem, problem_bytes, "out of memory");
    }
    if (read_lines(list, problem, problem_bytes))
        return true;
    upstream_list_free(list);
    return false;
}

void upstream_list_free(struct upstream_list *list)
{
    free(list->urls);
    free(list->text);
    *list = (struct upstream_list){.text = NULL};
}
