/* Fuzz target: the file in which an edge proxy keeps a list. Whatever is in it, it is refused with a reason, or is
 * exactly what would be written of what was read. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/proxy/kept_list.h"

static const char url[] = "http://uk";

static void check_whole(const char *text, size_t bytes)
{
    struct kept_list list;
    char problem[160] = "";
    bool read = kept_list_read(text, bytes, url, &list, problem, sizeof problem);
    if (read ? list.body + list.body_bytes != text + bytes : problem[0] == '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    check_whole((const char *)data, bytes);
    /* What is kept comes back, whatever it is. */
    struct kept_list list = {.as_of_ms = 1, .body = (const char *)data, .body_bytes = bytes}, back;
    struct buffer file = BUFFER_INIT;
    char problem[160];
    kept_list_write_head(url, &list, &file);
    buffer_append(&file, data, bytes);
    if (!buffer_failed(&file) && (!kept_list_read(file.data, file.bytes, url, &back, problem, sizeof problem) ||
                                  back.body_bytes != bytes || (bytes > 0 && memcmp(back.body, data, bytes) != 0)))
        abort();
    buffer_free(&file);
    return 0;
}
