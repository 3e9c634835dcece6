/* See pool.h. */

#include "gateway/federation/pool.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/ejection.h"

/* How much of the smoothed figures each new one makes. */
#define SMOOTHING 0.2
#define EARTH_RADIUS_KM 6371.0

void pool_standing_init(struct pool_standing *standing)
{
    *standing = (struct pool_standing){.success = 1};
}

bool pool_failed(struct pool_standing *standing, uint64_t now_ms)
{
    bool was_in = !standing->out;
    if (was_in && standing->ejections > 0 && now_ms - standing->failed_at_ms >= POOL_FORGIVEN_MS)
        standing->ejections = 0;
    if (was_in)
        standing->ejections++;
    standing->out = true;
    standing->failed_at_ms = now_ms;
    standing->success *= 1 - SMOOTHING;
    return was_in;
}

/* The first time it is enough to reach it again. */
static bool may_return(const struct pool_standing *standing, uint64_t now_ms)
{
    return standing->ejections <= 1 || now_ms - standing->failed_at_ms >= ejection_length_ms(standing->ejections - 1);
}

bool pool_answered(struct pool_standing *standing, double latency_ms, uint64_t now_ms)
{
    standing->success += SMOOTHING * (1 - standing->success);
    if (latency_ms > 0)
        standing->latency_ms = standing->latency_ms <= 0
                                   ? latency_ms
                                   : standing->latency_ms + SMOOTHING * (latency_ms - standing->latency_ms);
    if (!standing->out || !may_return(standing, now_ms))
        return false;
    standing->out = false;
    return true;
}

static double latency_of(const struct pool_candidate *candidate)
{
    double measured = candidate->standing->latency_ms;
    return measured > 0 ? measured : POOL_UNMEASURED_MS;
}

double pool_weight(const struct pool_candidate *candidate)
{
    double latency_score = 1 / (latency_of(candidate) + 1);
    double load_score = 1 / ((double)candidate->queue_depth + 1);
    double health_score = (candidate->healthy ? 1 : 0.5) * candidate->standing->success;
    return latency_score * load_score * health_score;
}

double pool_distance_km(const struct pool_place *a, const struct pool_place *b)
{
    const double radians = acos(-1.0) / 180;
    double north = (b->latitude - a->latitude) * radians;
    double east = (b->longitude - a->longitude) * radians;
    double haversine =
        pow(sin(north / 2), 2) + cos(a->latitude * radians) * cos(b->latitude * radians) * pow(sin(east / 2), 2);
    return 2 * EARTH_RADIUS_KM * asin(fmin(1, sqrt(haversine)));
}

/* Whether `whole` ends where `part` goes on with a dash: "uk" and "uk-london". */
static bool is_part(const char *part, const char *whole)
{
    size_t bytes = strlen(whole);
    return strncasecmp(part, whole, bytes) == 0 && part[bytes] == '-';
}

enum nearness { SAME_LOCATION, NEIGHBOURING_LOCATION, OTHER_LOCATION };

static enum nearness nearness_of(const char *here, const char *continent, const char *there)
{
    if (continent != NULL && continent[0] != '\0' && strcasecmp(continent, there) == 0)
        return NEIGHBOURING_LOCATION;
    if (here[0] == '\0' || there[0] == '\0')
        return OTHER_LOCATION;
    if (strcasecmp(here, there) == 0)
        return SAME_LOCATION;
    return is_part(here, there) || is_part(there, here) ? NEIGHBOURING_LOCATION : OTHER_LOCATION;
}

/* What one is sorted by; lower comes first. */
struct ranked {
    uint32_t number;
    unsigned out, not_offering, nearness, distance_step, latency_step;
    double draw;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *left = a;
    const struct ranked *right = b;
#define BY(member)                                                                                                     \
    if (left->member != right->member)                                                                                 \
    return left->member < right->member ? -1 : 1
    BY(out);
    BY(not_offering);
    BY(nearness);
    BY(distance_step);
    BY(latency_step);
    BY(draw);
    BY(number);
#undef BY
    return 0;
}

static struct ranked rank(const struct pool_candidate *candidate, const struct pool_wish *wish, struct random *random)
{
    struct ranked ranked = {.out = candidate->standing->out ? 1 : 0};
    if ((wish->rules & POOL_OFFERS) != 0)
        ranked.not_offering = candidate->offers ? 0 : 1;
    if ((wish->rules & POOL_CLOSEST) != 0) {
        ranked.nearness = (unsigned)nearness_of(wish->location, wish->continent, candidate->location);
        /* A place that is not known is on the other side of the earth: 20,000 km away. */
        if (wish->place.known)
            ranked.distance_step =
                (unsigned)((candidate->place.known ? pool_distance_km(&wish->place, &candidate->place) : 20100.0) /
                           POOL_DISTANCE_STEP_KM);
        /* From 4 ms on: what is below does not matter to anybody. */
        ranked.latency_step = (unsigned)log2(latency_of(candidate) + 4);
    }
    /* -log(u) / weight is smallest where u^(1/weight) is greatest; u is not 0. */
    ranked.draw = -log(1 - random_unit(random)) / fmax(pool_weight(candidate), 1e-300);
    return ranked;
}

bool pool_order(const struct pool_candidate *candidates, size_t count, const struct pool_wish *wish,
                struct random *random, uint32_t *order)
{
    struct ranked *ranked = malloc((count + 1) * sizeof *ranked);
    if (ranked == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        ranked[i] = rank(&candidates[i], wish, random);
        ranked[i].number = (uint32_t)i;
    }
    qsort(ranked, count, sizeof *ranked, by_rank);
    for (size_t i = 0; i < count; i++)
        order[i] = ranked[i].number;
    free(ranked);
    return true;
}
