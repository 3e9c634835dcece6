/* See links.h. */

#include "gateway/links.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/map.h"

struct entry {
    char name[LINK_NAME_BYTES];
    struct links_place place;
};

struct links {
    pthread_mutex_t lock;
    struct map by_name;
    size_t count, max;
};

struct links *links_create(size_t links_max)
{
    struct links *links = calloc(1, sizeof *links);
    if (links == NULL)
        return NULL;
    links->max = links_max;
    if (pthread_mutex_init(&links->lock, NULL) != 0) {
        free(links);
        return NULL;
    }
    return links;
}

void links_free(struct links *links)
{
    if (links == NULL)
        return;
    struct entry *entry;
    size_t position = 0;
    while ((entry = map_next(&links->by_name, &position)) != NULL)
        free(entry);
    map_free(&links->by_name);
    pthread_mutex_destroy(&links->lock);
    free(links);
}

static enum links_result enter(struct links *links, const char *name, const struct links_place *place)
{
    struct entry *entry = links->count < links->max ? calloc(1, sizeof *entry) : NULL;
    if (entry == NULL)
        return links->count < links->max ? LINKS_NO_MEMORY : LINKS_FULL;
    strcpy(entry->name, name);
    entry->place = *place;
    if (!map_put_text(&links->by_name, entry->name, entry, NULL)) {
        free(entry);
        return LINKS_NO_MEMORY;
    }
    links->count++;
    return LINKS_ENTERED;
}

enum links_result links_enter(struct links *links, const char *name, const struct links_place *place,
                              struct links_place *replaced)
{
    enum links_result result = LINKS_ENTERED;
    *replaced = (struct links_place){NULL, NULL};
    pthread_mutex_lock(&links->lock);
    struct entry *entry = map_get_text(&links->by_name, name);
    if (entry == NULL) {
        result = enter(links, name, place);
    } else {
        *replaced = entry->place;
        entry->place = *place;
    }
    pthread_mutex_unlock(&links->lock);
    return result;
}

void links_leave(struct links *links, const char *name, const struct front_link *link)
{
    pthread_mutex_lock(&links->lock);
    struct entry *entry = map_get_text(&links->by_name, name);
    if (entry != NULL && entry->place.link == link) {
        (void)map_remove_text(&links->by_name, name);
        free(entry);
        links->count--;
    }
    pthread_mutex_unlock(&links->lock);
}

struct links_place links_find(struct links *links, const char *name)
{
    pthread_mutex_lock(&links->lock);
    const struct entry *entry = map_get_text(&links->by_name, name);
    struct links_place place = entry == NULL ? (struct links_place){NULL, NULL} : entry->place;
    pthread_mutex_unlock(&links->lock);
    return place;
}

size_t links_count(struct links *links)
{
    pthread_mutex_lock(&links->lock);
    size_t count = links->count;
    pthread_mutex_unlock(&links->lock);
    return count;
}
