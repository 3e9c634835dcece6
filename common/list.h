/* Doubly linked lists through links inside the objects, with a head that is a link too. A
 * link that is in no list has next == NULL.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list_link {
    struct list_link *next, *previous;
};

/* The object that a link lies in. */
#define LIST_OBJECT(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list_link *head)
{
    head->next = head->previous = head;
}

static inline bool list_is_empty(const struct list_link *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list_link *link)
{
    return link->next != NULL;
}

/* Takes a link out of its list, if it is in one. */
static inline void list_remove(struct list_link *link)
{
    if (link->next == NULL)
        return;
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = link->previous = NULL;
}

/* Puts a link that is in no list before another (before the head: at the end). */
static inline void list_insert_before(struct list_link *place, struct list_link *link)
{
    link->next = place;
    link->previous = place->previous;
    place->previous->next = link;
    place->previous = link;
}

static inline void list_append(struct list_link *head, struct list_link *link)
{
    list_insert_before(head, link);
}

/* Moves all of `from` to the front of `to`, in order. */
static inline void list_move_all_to_front(struct list_link *from, struct list_link *to)
{
    if (list_is_empty(from))
        return;
    from->previous->next = to->next;
    to->next->previous = from->previous;
    to->next = from->next;
    from->next->previous = to;
    list_init(from);
}
