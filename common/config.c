/* Settings of a process; see config.h. */

#include "common/config.h"

#include "common/log.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64

__attribute__((format(printf, 2, 3))) static enum config_result fail(struct config *config, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(config->error, sizeof(config->error), format, arguments);
    va_end(arguments);
    /* One line, whatever was quoted in it. */
    for (char *c = config->error; *c != '\0'; c++)
        if (iscntrl((unsigned char)*c))
            *c = ' ';
    return CONFIG_ERROR;
}

static bool environment_name(const char *name, char text[NAME_BYTES])
{
    size_t length = strlen(name);
    if (length >= NAME_BYTES)
        return false;
    for (size_t i = 0; i <= length; i++)
        text[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
    return true;
}

static bool in_range(const struct setting *setting, double value)
{
    if (setting->minimum == 0 && setting->maximum == 0)
        return true;
    return value >= setting->minimum && value <= setting->maximum;
}

static enum config_result bad_number(struct config *config, const struct setting *setting, const char *text,
                                     const char *what)
{
    if (setting->minimum == 0 && setting->maximum == 0)
        return fail(config, "--%s: '%s' is not %s", setting->name, text, what);
    return fail(config, "--%s: '%s' is not %s from %.15g to %.15g", setting->name, text, what, setting->minimum,
                setting->maximum);
}

static enum config_result list_append(struct config *config, const struct setting *setting, const char *text,
                                      size_t length)
{
    struct setting_list *list = setting->value;
    char *item = strndup(text, length);
    const char **items = item == NULL ? NULL : realloc(list->items, (list->count + 1) * sizeof(*items));
    if (items == NULL) {
        free(item);
        return fail(config, "--%s: out of memory", setting->name);
    }
    list->items = items;
    list->items[list->count++] = item;
    return CONFIG_OK;
}

/* Takes a value from wherever it came. `text` must live as long as the settings. */
static enum config_result take(struct config *config, const struct setting *setting, const char *text)
{
    char *end = NULL;
    switch (setting->type) {
    case SETTING_TEXT:
        *(const char **)setting->value = text;
        return CONFIG_OK;
    case SETTING_BOOL: {
        bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0 || strcmp(text, "yes") == 0;
        bool no = strcmp(text, "false") == 0 || strcmp(text, "0") == 0 || strcmp(text, "no") == 0 || *text == '\0';
        if (!yes && !no)
            return fail(config, "--%s: '%s' is neither true nor false", setting->name, text);
        *(bool *)setting->value = yes;
        return CONFIG_OK;
    }
    case SETTING_UINT: {
        errno = 0;
        unsigned long long value = strtoull(text, &end, 10);
        /* strtoull takes a sign and white space, which no setting means. */
        if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || !in_range(setting, (double)value))
            return bad_number(config, setting, text, "a whole number");
        *(uint64_t *)setting->value = value;
        return CONFIG_OK;
    }
    case SETTING_DOUBLE: {
        errno = 0;
        double value = strtod(text, &end);
        if (end == text || *end != '\0' || errno != 0 || !isfinite(value) || !in_range(setting, value))
            return bad_number(config, setting, text, "a number");
        *(double *)setting->value = value;
        return CONFIG_OK;
    }
    case SETTING_LIST:
        return list_append(config, setting, text, strlen(text));
    default:
        return fail(config, "--%s: unknown type of setting", setting->name);
    }
}

/* The settings that every process has, then the program's own. */
#define COMMON_COUNT 2

static size_t setting_count(const struct config *config)
{
    return COMMON_COUNT + config->setting_count;
}

static struct setting setting_at(struct config *config, size_t index)
{
    if (index == 0)
        return (struct setting){.name = "log-level",
                                .type = SETTING_TEXT,
                                .value = &config->log_level,
                                .default_value = "info",
                                .placeholder = "LEVEL",
                                .help = "Least important lines to log: debug, info, warning or error."};
    if (index == 1)
        return (struct setting){.name = "log-format",
                                .type = SETTING_TEXT,
                                .value = &config->log_format,
                                .default_value = "text",
                                .placeholder = "FORMAT",
                                .help = "How those lines look: text (key=value) or json."};
    return config->settings[index - COMMON_COUNT];
}

/* The place of the setting that a flag names, the text up to its end or '='; setting_count:
 * there is none. */
static size_t setting_index(struct config *config, const char *flag)
{
    size_t length = strcspn(flag, "=");
    size_t i = 0;
    for (; i < setting_count(config); i++) {
        const char *name = setting_at(config, i).name;
        if (strlen(name) == length && memcmp(name, flag, length) == 0)
            break;
    }
    return i;
}

static enum config_result take_default(struct config *config, const struct setting *setting)
{
    static const char *const empty[] = {
        [SETTING_TEXT] = "", [SETTING_BOOL] = "false", [SETTING_UINT] = NULL, [SETTING_DOUBLE] = NULL};
    switch (setting->type) {
    case SETTING_LIST:
        *(struct setting_list *)setting->value = (struct setting_list){NULL, 0};
        return setting->default_value == NULL ? CONFIG_OK : take(config, setting, setting->default_value);
    case SETTING_UINT:
        *(uint64_t *)setting->value = 0;
        break;
    case SETTING_DOUBLE:
        *(double *)setting->value = 0;
        break;
    case SETTING_TEXT:
    case SETTING_BOOL:
    default:
        break;
    }
    const char *text = setting->default_value != NULL ? setting->default_value : empty[setting->type];
    return text == NULL ? CONFIG_OK : take(config, setting, text);
}

static enum config_result take_environment(struct config *config, const struct setting *setting)
{
    char name[NAME_BYTES];
    const char *text = environment_name(setting->name, name) ? getenv(name) : NULL;
    if (text == NULL)
        return CONFIG_OK;
    if (setting->type != SETTING_LIST) {
        /* An empty variable is one that somebody left unset: NAME= in a unit file. */
        return *text == '\0' ? CONFIG_OK : take(config, setting, text);
    }
    enum config_result result = CONFIG_OK;
    while (*text != '\0' && result == CONFIG_OK) {
        size_t length = strcspn(text, "\n");
        if (length > 0)
            result = list_append(config, setting, text, length);
        text += length + (text[length] == '\n' ? 1 : 0);
    }
    return result;
}

static void list_free(struct setting_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free((char *)list->items[i]);
    free(list->items);
    *list = (struct setting_list){NULL, 0};
}

/* One flag at argv[*index]; moves *index over a value that stands apart. `flagged` says of
 * each setting whether a flag has given it already. */
static enum config_result take_flag(struct config *config, int argc, char **argv, int *index, bool *flagged)
{
    const char *flag = argv[*index] + 2;
    size_t length = strcspn(flag, "=");
    size_t which = setting_index(config, flag);
    if (which == setting_count(config))
        return fail(config, "unknown flag '--%.*s'; %s --help lists the flags", (int)length, flag, config->program);
    struct setting setting = setting_at(config, which);
    const char *text = flag[length] == '=' ? flag + length + 1 : NULL;
    if (text == NULL && setting.type == SETTING_BOOL)
        text = "true";
    if (text == NULL) {
        if (*index + 1 >= argc)
            return fail(config, "--%s needs a value: --%s %s", setting.name, setting.name,
                        setting.placeholder != NULL ? setting.placeholder : "VALUE");
        text = argv[++*index];
    }
    /* The first flag of a list replaces what the environment gave. */
    if (setting.type == SETTING_LIST && !flagged[which])
        list_free(setting.value);
    flagged[which] = true;
    return take(config, &setting, text);
}

static void print_help(struct config *config)
{
    printf(
        "%s: %s\n\nusage: %s [flags]%s%s\n\nFlags (each is also an environment variable: --some-flag is SOME_FLAG):\n",
        config->program, config->summary, config->program, config->arguments != NULL ? " " : "",
        config->arguments != NULL ? config->arguments : "");
    for (size_t i = 0; i < setting_count(config); i++) {
        struct setting setting = setting_at(config, i);
        char left[NAME_BYTES * 2];
        (void)snprintf(left, sizeof(left), "--%s%s%s", setting.name, setting.placeholder != NULL ? " " : "",
                       setting.placeholder != NULL ? setting.placeholder : "");
        printf("  %-38s %s", left, setting.help);
        if (setting.default_value != NULL && *setting.default_value != '\0')
            printf(" (default %s)", setting.default_value);
        printf("\n");
    }
    printf("  %-38s %s\n", "--help", "Show this and stop.");
}

static enum config_result parse_arguments(struct config *config, int argc, char **argv, bool *flagged)
{
    bool flags_end = false;
    for (int i = 1; i < argc; i++) {
        bool is_flag = !flags_end && strncmp(argv[i], "--", 2) == 0;
        if (is_flag && argv[i][2] == '\0') {
            flags_end = true;
        } else if ((is_flag && strcmp(argv[i], "--help") == 0) || (!flags_end && strcmp(argv[i], "-h") == 0)) {
            print_help(config);
            return CONFIG_HELP;
        } else if (is_flag) {
            enum config_result result = take_flag(config, argc, argv, &i, flagged);
            if (result != CONFIG_OK)
                return result;
        } else if (config->arguments == NULL) {
            return fail(config, "'%s' is not a flag and %s takes nothing else; see --help", argv[i], config->program);
        } else {
            config->rest[config->rest_count++] = argv[i];
        }
    }
    return CONFIG_OK;
}

enum config_result config_parse(struct config *config, int argc, char **argv)
{
    config->error[0] = '\0';
    config->rest_count = 0;
    config->rest = calloc((size_t)argc + 1, sizeof(*config->rest));
    bool *flagged = calloc(setting_count(config), sizeof(*flagged));
    enum config_result result = CONFIG_OK;
    if (config->rest == NULL || flagged == NULL)
        result = fail(config, "out of memory");
    for (size_t i = 0; i < setting_count(config) && result == CONFIG_OK; i++) {
        struct setting setting = setting_at(config, i);
        result = take_default(config, &setting);
    }
    for (size_t i = 0; i < setting_count(config) && result == CONFIG_OK; i++) {
        struct setting setting = setting_at(config, i);
        result = take_environment(config, &setting);
    }
    if (result == CONFIG_OK)
        result = parse_arguments(config, argc, argv, flagged);
    free(flagged);
    if (result != CONFIG_OK)
        return result;

    enum log_level level;
    enum log_format format;
    if (!log_level_parse(config->log_level, &level))
        return fail(config, "--log-level: '%s' is none of debug, info, warning, error", config->log_level);
    if (!log_format_parse(config->log_format, &format))
        return fail(config, "--log-format: '%s' is neither text nor json", config->log_format);
    log_configure(config->program, level, format);
    return CONFIG_OK;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < config->setting_count; i++)
        if (config->settings[i].type == SETTING_LIST)
            list_free(config->settings[i].value);
    free(config->rest);
    config->rest = NULL;
    config->rest_count = 0;
}

void config_parse_or_exit(struct config *config, int argc, char **argv)
{
    enum config_result result = config_parse(config, argc, argv);
    if (result == CONFIG_OK)
        return;
    if (result == CONFIG_ERROR)
        (void)fprintf(stderr, "%s: %s\n", config->program, config->error);
    config_free(config);
    exit(result == CONFIG_HELP ? 0 : 2);
}
