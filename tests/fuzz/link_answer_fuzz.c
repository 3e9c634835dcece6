/* What a coordinator answers to the handshake of a worker's link, and the names of links in paths. */

#include "services/worker/uplink_connect.h"

#include <stdlib.h>
#include <string.h>

#include "common/link/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct uplink_connection connection = {.easy = NULL};
    char *copy = malloc(bytes + 1), name[LINK_NAME_BYTES];
    const char *rest;
    check(copy != NULL);
    memcpy(copy, data, bytes);
    long head = uplink_read_answer(copy, bytes, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &connection);
    check(head >= -1 && head <= (long)bytes);
    if (head > 0)
        check(connection.status == 101 && memcmp(copy + head - 4, "\r\n\r\n", 4) == 0);
    if (head < 0)
        check(connection.error[0] != '\0' && memchr(connection.error, '\0', sizeof connection.error) != NULL);
    copy[bytes] = '\0';
    if (link_name_in_path(copy, name, &rest))
        check(strlen(name) == LINK_NAME_BYTES - 1 && (*rest == '\0' || *rest == '/'));
    char secret[LINK_NAME_BYTES];
    (void)link_name(copy, bytes, secret);
    free(copy);
    return 0;
}
