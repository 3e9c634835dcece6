/* One record of a worker in the assigner's replica of the roll: what the registry says of it, or a promise, which is
 * what was decided for it and not confirmed yet. A record is one piece of the assigner's slab, so that a million of
 * them lie densely; a promise that comes true becomes the record as it is.
 *
 * Numbers of services are the catalog's; CATALOG_NO_SERVICE where a name is not in it. */

#pragma once

#include "common/slab.h"
#include "services/assigner/catalog.h"

/* Behind the struct are, one after the other: the numbers of the names that it serves (assigned and announced); and
 * texts, each with its zero byte: the id, the names, the location, and if it is limited the names that its key lets it
 * run, with one zero byte more. */
struct member {
    uint64_t incarnation;
    union {
        struct { /* of a promise */
            uint64_t expires_at_ms;
            struct member *next, *previous; /* promises in the order of their expiry */
        };
        struct {                         /* of a record */
            struct member *promise;      /* decided since; NULL: nothing */
            struct member *next_of_gone; /* while a snapshot's end removes those that it did not mention */
        };
    };
    uint32_t generation; /* of the snapshot that last mentioned it */
    uint32_t bytes;      /* of the whole piece */
    uint32_t name_count;
    uint32_t assigned_count;     /* of the names, the first ones */
    uint32_t swap_from, swap_to; /* of the assigned names; see swaps.c; NAME_NONE: no swap is under way */
    uint8_t type;
    uint8_t status;
    bool is_promise;
    bool draining;
    bool says_load;
    bool limited;
    uint16_t load_thousandths;
    uint32_t running, unavailable; /* of its names, the first 32, as it says: bits; neither: it does not say */
    uint32_t numbers[];
};

#define NAME_NONE UINT32_MAX

/* Some names. */
struct names {
    char *const *items;
    size_t count;
    const uint32_t *numbers; /* of each in the catalog; NULL: they are looked up when somebody needs them */
};

/* What a record is made of; borrowed. */
struct member_texts {
    const char *id;
    struct names assigned, announced;
    const char *location;
    bool limited;           /* its key lets it run some services only: */
    struct names permitted; /* these */
};

/* Without a swap, and all else that is no text 0. NULL when memory runs out. */
struct member *member_create(struct slab *slab, const struct catalog *catalog, const struct member_texts *texts);
void member_free(struct member *member);

/* Whether member_create would make the same texts. */
bool member_has_texts(const struct member *member, const struct member_texts *texts);

/* Looks its names up: the catalog is another one. */
void member_number_names(struct member *member, const struct catalog *catalog);

/* A swap of two of its assigned names is under way; none if it does not have both. */
void member_set_swap(struct member *member, const char *from, const char *to);

static inline const char *member_id(const struct member *member)
{
    return (const char *)&member->numbers[member->name_count];
}

const char *member_name(const struct member *member, uint32_t number);
const char *member_location(const struct member *member);

/* What its key lets it run, as catalog_permission_within takes it. */
const char *member_permitted(const struct member *member);

/* Names into as many bytes as names_bytes says, each with its zero byte; returns the place behind them. */
size_t names_bytes(const struct names *names);
char *names_put(char *at, const struct names *names);

/* The service of that name; CATALOG_NONE: the catalog has no such service. */
static inline size_t member_number(const struct member *member, uint32_t name)
{
    return member->numbers[name] == CATALOG_NO_SERVICE ? CATALOG_NONE : member->numbers[name];
}

/* The place of the service among the member's assigned names, or CATALOG_NONE; and among all of its names. */
size_t member_assigned(const struct member *member, size_t number);
size_t member_serves(const struct member *member, size_t number);

/* Whether requests for the service may be sent to the worker, as far as it says. */
bool member_is_able(const struct member *member, size_t number);

/* Whether the worker is up and takes work; and whether it may be so again at once. */
bool member_is_healthy(const struct member *member);
bool member_is_expected(const struct member *member);
