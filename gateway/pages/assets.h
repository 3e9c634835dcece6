/* Files that are part of the program: pages, scripts and styles, packed with gzip when it was
 * built. They are read from the program's file when they are touched, and cost no memory before.
 *
 * Threading: constant. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

struct page_asset {
    const char *name; /* the last part of its path below /docs/assets/ */
    const char *content_type;
    const unsigned char *packed;
    size_t packed_bytes; /* 0: it was not there when the program was built */
    char version[24];    /* changes with the content */
};

/* Finds an asset; false when there is none of that name, or the build had none. */
bool page_asset_find(const char *name, struct page_asset *asset);
