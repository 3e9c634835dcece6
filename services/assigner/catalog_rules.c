/* Pins and reservations: what they say of a worker, and whether they contradict each other. See catalog.h. */

#include "services/assigner/catalog_state.h"

#include <stdio.h>
#include <string.h>

static bool is_pinned_to(const struct catalog_service *service, const char *worker_id)
{
    for (size_t i = 0; i < service->pinned_count; i++)
        if (strcmp(service->pinned_to[i], worker_id) == 0)
            return true;
    return false;
}

static bool is_reserved_for(const struct catalog_reservation *reservation, size_t number)
{
    for (size_t i = 0; i < reservation->count; i++)
        if (reservation->services[i] == number)
            return true;
    return false;
}

static const struct catalog_reservation *reservation_of(const struct catalog *catalog, const char *worker_id)
{
    return catalog->reservations.count == 0 ? NULL : map_get_text(&catalog->reservations, worker_id);
}

enum catalog_permission catalog_permission(const struct catalog *catalog, size_t number, Muster__V1__WorkerType type,
                                           const char *worker_id)
{
    const struct catalog_service *service = &catalog->services[number];
    if (!catalog_fits(service, type))
        return CATALOG_OTHER_TYPE;
    if (service->pinned_count > 0)
        return is_pinned_to(service, worker_id) ? CATALOG_PINNED : CATALOG_PINNED_ELSEWHERE;
    const struct catalog_reservation *reservation = reservation_of(catalog, worker_id);
    if (reservation != NULL)
        return is_reserved_for(reservation, number) ? CATALOG_RESERVED : CATALOG_RESERVED_FOR_OTHERS;
    return CATALOG_ALLOWED;
}

enum catalog_permission catalog_permission_within(const struct catalog *catalog, size_t number,
                                                  Muster__V1__WorkerType type, const char *worker_id,
                                                  const char *permitted)
{
    enum catalog_permission permission = catalog_permission(catalog, number, type, worker_id);
    if (permitted == NULL || permission == CATALOG_OTHER_TYPE)
        return permission;
    for (const char *name = permitted; *name != '\0'; name += strlen(name) + 1)
        if (strcmp(name, catalog->services[number].name) == 0)
            return permission;
    return CATALOG_NOT_PERMITTED;
}

bool catalog_tells(const struct catalog *catalog, size_t number, const char *worker_id)
{
    const struct catalog_reservation *reservation = reservation_of(catalog, worker_id);
    return is_pinned_to(&catalog->services[number], worker_id) ||
           (reservation != NULL && is_reserved_for(reservation, number));
}

bool catalog_has_rules(const struct catalog *catalog)
{
    return catalog->pins || catalog->reservations.count > 0;
}

void catalog_each_rule(const struct catalog *catalog,
                       void (*tell)(const struct catalog_service *service, const char *worker_id, void *argument),
                       void *argument)
{
    for (size_t i = 0; i < catalog->count; i++)
        for (size_t k = 0; k < catalog->services[i].pinned_count; k++)
            tell(&catalog->services[i], catalog->services[i].pinned_to[k], argument);
    size_t position = 0;
    const struct catalog_reservation *reservation;
    while ((reservation = map_next(&catalog->reservations, &position)) != NULL)
        for (size_t i = 0; i < reservation->count; i++)
            tell(&catalog->services[reservation->services[i]], reservation->worker_id, argument);
}

/* --- Contradictions --- */

static const char *type_word(const struct catalog_service *service)
{
    static const char *const words[] = {"unknown", "gpu", "cpu", "storage", "edge"};
    return words[service->requires];
}

/* Whether one worker can run both. */
static bool go_together(const struct catalog_service *a, const struct catalog_service *b)
{
    return catalog_fits(a, b->requires) || catalog_fits(b, a->requires);
}

static bool refuse_pair(const char *worker_id, const struct catalog_service *a, const struct catalog_service *b,
                        char error[CATALOG_ERROR_BYTES])
{
    snprintf(error, CATALOG_ERROR_BYTES,
             "worker '%.130s': it is to run '%.128s', which needs type %s, and '%.128s', which needs type %s; no "
             "worker can run both",
             worker_id, a->name, type_word(a), b->name, type_word(b));
    return false;
}

static bool check_reservation(const struct catalog *catalog, const struct catalog_reservation *reservation,
                              char error[CATALOG_ERROR_BYTES])
{
    const struct catalog_service *first = &catalog->services[reservation->services[0]];
    for (size_t i = 0; i < reservation->count; i++) {
        const struct catalog_service *service = &catalog->services[reservation->services[i]];
        if (!go_together(first, service))
            return refuse_pair(reservation->worker_id, first, service, error);
        if (service->pinned_count > 0 && !is_pinned_to(service, reservation->worker_id)) {
            snprintf(error, CATALOG_ERROR_BYTES,
                     "reserved: '%.130s': '%.128s' is pinned to other workers; pin it to this one as well, or take it "
                     "out of the reservation",
                     reservation->worker_id, service->name);
            return false;
        }
    }
    return true;
}

/* `firsts`: of each worker, the first service that is pinned to it. */
static bool check_pin(const struct catalog *catalog, struct catalog_service *service, const char *worker_id,
                      struct map *firsts, char error[CATALOG_ERROR_BYTES])
{
    size_t number = (size_t)(service - catalog->services);
    const struct catalog_reservation *reservation = reservation_of(catalog, worker_id);
    if (reservation != NULL && !is_reserved_for(reservation, number)) {
        snprintf(error, CATALOG_ERROR_BYTES,
                 "service '%.128s': pinned_to: '%.130s' is reserved for other services; add this one to its "
                 "reservation, or pin it elsewhere",
                 service->name, worker_id);
        return false;
    }
    const struct catalog_service *first = map_get_text(firsts, worker_id);
    if (first == service) {
        snprintf(error, CATALOG_ERROR_BYTES, "service '%.128s': pinned_to: '%.130s' is there twice", service->name,
                 worker_id);
        return false;
    }
    if (first != NULL && !go_together(first, service))
        return refuse_pair(worker_id, first, service, error);
    if (map_put_text(firsts, worker_id, service, NULL))
        return true;
    snprintf(error, CATALOG_ERROR_BYTES, "pinned_to: out of memory");
    return false;
}

bool catalog_check_rules(const struct catalog *catalog, char error[CATALOG_ERROR_BYTES])
{
    struct map firsts = MAP_INIT;
    bool sound = true;
    for (size_t i = 0; sound && i < catalog->count; i++)
        for (size_t k = 0; sound && k < catalog->services[i].pinned_count; k++)
            sound = check_pin(catalog, &catalog->services[i], catalog->services[i].pinned_to[k], &firsts, error);
    map_free(&firsts);
    size_t position = 0;
    const struct catalog_reservation *reservation;
    while (sound && (reservation = map_next(&catalog->reservations, &position)) != NULL)
        sound = check_reservation(catalog, reservation, error);
    return sound;
}
