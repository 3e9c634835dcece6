/* A list of upstreams as people write it: one URL a line in a file, or several after each other with commas between
 * them; spaces around them, empty lines, and what follows a '#' do not count.
 *
 *     # web servers
 *     http://10.0.0.5:8080
 *     https://b.example.org/base     # the old one
 *
 * Threading: none; no I/O. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#define UPSTREAM_LIST_BYTES_MAX (1024 * 1024)

struct upstream_list {
    char *text; /* what the URLs point into */
    const char **urls;
    size_t count;
};

/* False: `problem` says for people which line is wrong, or that there is none at all, that there are too many, or that
 * memory ran out. */
bool upstream_list_read(const char *text, size_t bytes, struct upstream_list *list, char *problem,
                        size_t problem_bytes);
void upstream_list_free(struct upstream_list *list);
