/* One record of a worker; see member.h. */

#include "services/assigner/state.h"

#include <stddef.h>
#include <string.h>

/* --- Its texts --- */

size_t names_bytes(const struct names *names)
{
    size_t bytes = 0;
    for (size_t i = 0; i < names->count; i++)
        bytes += strlen(names->items[i]) + 1;
    return bytes;
}

char *names_put(char *at, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        size_t bytes = strlen(names->items[i]) + 1;
        memcpy(at, names->items[i], bytes);
        at += bytes;
    }
    return at;
}

static size_t texts_bytes(const struct member_texts *texts)
{
    return strlen(texts->id) + 1 + names_bytes(&texts->assigned) + names_bytes(&texts->announced) +
           strlen(texts->location) + 1 + (texts->limited ? names_bytes(&texts->permitted) + 1 : 0);
}

static void put_texts(char *at, const struct member_texts *texts)
{
    const struct names id = {(char *const[]){(char *)(uintptr_t)texts->id}, 1, NULL}; /* only read */
    const struct names location = {(char *const[]){(char *)(uintptr_t)texts->location}, 1, NULL};
    at = names_put(at, &id);
    at = names_put(at, &texts->assigned);
    at = names_put(at, &texts->announced);
    at = names_put(at, &location);
    if (texts->limited)
        *names_put(at, &texts->permitted) = '\0';
}

static const char *behind(const char *text)
{
    return text + strlen(text) + 1;
}

const char *member_name(const struct member *member, uint32_t number)
{
    const char *name = behind(member_id(member));
    while (number-- > 0)
        name = behind(name);
    return name;
}

const char *member_location(const struct member *member)
{
    return member_name(member, member->name_count); /* it follows the names */
}

const char *member_permitted(const struct member *member)
{
    return member->limited ? behind(member_location(member)) : NULL;
}

/* Whether the names begin at `at`, one after the other; moves it behind them. */
static bool begins_with(const char **at, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(*at, names->items[i]) != 0)
            return false;
        *at = behind(*at);
    }
    return true;
}

bool member_has_texts(const struct member *member, const struct member_texts *texts)
{
    if (member->assigned_count != texts->assigned.count ||
        member->name_count != texts->assigned.count + texts->announced.count || member->limited != texts->limited)
        return false;
    const char *at = member_id(member);
    if (strcmp(at, texts->id) != 0)
        return false;
    at = behind(at);
    if (!begins_with(&at, &texts->assigned) || !begins_with(&at, &texts->announced) || strcmp(at, texts->location) != 0)
        return false;
    at = behind(at);
    return !texts->limited || (begins_with(&at, &texts->permitted) && *at == '\0');
}

/* --- Its services --- */

static uint32_t *put_numbers(uint32_t *at, const struct names *names, const struct catalog *catalog)
{
    for (size_t i = 0; i < names->count; i++)
        *at++ = names->numbers != NULL ? names->numbers[i] : catalog_number(catalog, names->items[i]);
    return at;
}

/* Looked up once: counting asks for them again and again. */
void member_number_names(struct member *member, const struct catalog *catalog)
{
    const char *name = member_name(member, 0);
    for (uint32_t i = 0; i < member->name_count; i++, name = behind(name))
        member->numbers[i] = catalog_number(catalog, name);
}

static size_t find_number(const struct member *member, uint32_t count, size_t number)
{
    for (uint32_t i = 0; i < count; i++)
        if (member_number(member, i) == number)
            return i;
    return CATALOG_NONE;
}

size_t member_assigned(const struct member *member, size_t number)
{
    return find_number(member, member->assigned_count, number);
}

size_t member_serves(const struct member *member, size_t number)
{
    return find_number(member, member->name_count, number);
}

bool member_is_able(const struct member *member, size_t number)
{
    size_t name = member_serves(member, number);
    return name != CATALOG_NONE && condition_is_able(member, (uint32_t)name);
}

static uint32_t find_assigned(const struct member *member, const char *wanted)
{
    const char *name = member_name(member, 0);
    for (uint32_t i = 0; i < member->assigned_count; i++, name = behind(name))
        if (strcmp(name, wanted) == 0)
            return i;
    return NAME_NONE;
}

void member_set_swap(struct member *member, const char *from, const char *to)
{
    member->swap_from = find_assigned(member, from);
    member->swap_to = find_assigned(member, to);
    if (member->swap_from == NAME_NONE || member->swap_to == NAME_NONE)
        member->swap_from = member->swap_to = NAME_NONE;
}

bool member_is_healthy(const struct member *member)
{
    return !member->draining && (member->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE ||
                                 member->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED);
}

bool member_is_expected(const struct member *member)
{
    return member_is_healthy(member) ||
           (!member->draining && member->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING);
}

/* --- Its life --- */

struct member *member_create(struct slab *slab, const struct catalog *catalog, const struct member_texts *texts)
{
    size_t names = texts->assigned.count + texts->announced.count;
    size_t bytes = offsetof(struct member, numbers) + names * sizeof(uint32_t) + texts_bytes(texts);
    if (bytes < sizeof(struct member))
        bytes = sizeof(struct member);
    struct member *member = bytes > UINT32_MAX ? NULL : slab_take(slab, bytes);
    if (member == NULL)
        return NULL;
    memset(member, 0, sizeof(*member));
    member->bytes = (uint32_t)bytes;
    member->name_count = (uint32_t)names;
    member->assigned_count = (uint32_t)texts->assigned.count;
    member->swap_from = member->swap_to = NAME_NONE;
    member->limited = texts->limited;
    uint32_t *numbers = put_numbers(member->numbers, &texts->assigned, catalog);
    numbers = put_numbers(numbers, &texts->announced, catalog);
    put_texts((char *)numbers, texts);
    return member;
}

void member_free(struct member *member)
{
    if (member != NULL)
        slab_give(member, member->bytes);
}
