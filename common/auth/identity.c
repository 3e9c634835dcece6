/* See identity.h. */

#include "common/auth/identity.h"

#include <stdlib.h>
#include <string.h>

struct auth_identity *auth_identity_create(void)
{
    struct auth_identity *identity = calloc(1, sizeof *identity);
    if (identity == NULL)
        return NULL;
    identity->references = 1;
    arena_init(&identity->arena, NULL, 0);
    return identity;
}

struct auth_identity *auth_identity_reference(struct auth_identity *identity)
{
    (void)__atomic_fetch_add(&identity->references, 1, __ATOMIC_RELAXED);
    return identity;
}

void auth_identity_release(struct auth_identity *identity)
{
    if (identity == NULL || __atomic_fetch_sub(&identity->references, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    auth_identity_release(identity->issuer);
    arena_free(&identity->arena);
    free(identity);
}

bool auth_has(const struct auth_identity *identity, unsigned rights)
{
    return (identity->rights & (rights | AUTH_ADMIN)) != 0;
}

bool auth_matches(char *const *patterns, size_t count, const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(patterns[i]);
        bool begins = bytes > 0 && patterns[i][bytes - 1] == '*';
        if (begins)
            bytes--;
        if ((begins ? name_bytes >= bytes : name_bytes == bytes) &&
            (bytes == 0 || memcmp(patterns[i], name, bytes) == 0))
            return true;
    }
    return false;
}

static bool allows(const struct auth_list *list, const char *name, size_t name_bytes)
{
    return !list->given || auth_matches(list->patterns, list->count, name, name_bytes);
}

bool auth_may_call(const struct auth_identity *identity, const char *service, size_t service_bytes)
{
    return allows(&identity->services, service, service_bytes) &&
           (identity->issuer == NULL || auth_may_call(identity->issuer, service, service_bytes));
}

bool auth_may_call_all(const struct auth_identity *identity)
{
    return !identity->services.given && (identity->issuer == NULL || auth_may_call_all(identity->issuer));
}

bool auth_may_offer(const struct auth_identity *identity, const char *service, size_t service_bytes)
{
    return allows(&identity->offers, service, service_bytes) &&
           (identity->issuer == NULL || auth_may_offer(identity->issuer, service, service_bytes));
}

bool auth_may_register(const struct auth_identity *identity, const char *worker_id, size_t worker_id_bytes)
{
    return allows(&identity->workers, worker_id, worker_id_bytes) &&
           (identity->issuer == NULL || auth_may_register(identity->issuer, worker_id, worker_id_bytes));
}

unsigned auth_right_of_word(const char *word, size_t bytes)
{
    static const struct {
        const char *word;
        unsigned right;
    } words[] = {{"worker", AUTH_WORKER}, {"client", AUTH_CLIENT}, {"admin", AUTH_ADMIN}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].word) == bytes && memcmp(words[i].word, word, bytes) == 0)
            return words[i].right;
    }
    return 0;
}
