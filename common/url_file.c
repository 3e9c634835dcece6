/* See url_file.h. */

#include "common/url_file.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

size_t url_file_read(const char *path, char *url, size_t url_bytes)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return 0;
    ssize_t bytes = read(descriptor, url, url_bytes - 1);
    (void)close(descriptor); /* nothing was written to it */
    url[bytes > 0 ? bytes : 0] = '\0';
    size_t length = strcspn(url, "\r\n");
    if (length >= url_bytes - 1)
        return 0;
    while (length > 0 && url[length - 1] == '/')
        length--;
    url[length] = '\0';
    return length;
}
