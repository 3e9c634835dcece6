/* Fuzz target: settings from flags. The input's lines are the arguments. */

#include "common/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *text;
    bool flag;
    uint64_t number;
    double share;
    struct setting_list list = {NULL, 0};
    const struct setting settings[] = {
        {.name = "name", .type = SETTING_TEXT, .value = &text, .placeholder = "NAME", .help = "A text."},
        {.name = "once", .type = SETTING_BOOL, .value = &flag, .help = "A flag."},
        {.name = "port", .type = SETTING_UINT, .value = &number, .placeholder = "PORT", .help = "A number.", .maximum = 65535},
        {.name = "share", .type = SETTING_DOUBLE, .value = &share, .placeholder = "SHARE", .help = "A share.", .maximum = 1},
        {.name = "service", .type = SETTING_LIST, .value = &list, .placeholder = "NAME=URL", .help = "A list."},
    };
    struct config config = {.program = "fuzz",
                            .summary = "nothing",
                            .arguments = "REST",
                            .settings = settings,
                            .setting_count = sizeof(settings) / sizeof(settings[0])};

    char *copy = malloc(bytes + 1);
    char *arguments[66] = {(char *)"fuzz"};
    if (copy == NULL)
        abort();
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    int count = 1;
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line != NULL && count < 65; line = strsep(&rest, "\n"))
        /* Help goes to standard output, which is noise here. */
        if (strcmp(line, "--help") != 0 && strcmp(line, "-h") != 0)
            arguments[count++] = line;

    enum config_result result = config_parse(&config, count, arguments);
    if (result == CONFIG_ERROR ? config.error[0] == '\0' || strchr(config.error, '\n') != NULL
                               : number > 65535 || share < 0 || share > 1 || text == NULL)
        abort();
    config_free(&config);
    free(copy);
    return 0;
}
