/* See history.h. */

#include "services/health/history/history.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/map.h"

#define SECONDS_PER_HOUR 3600
#define FIRST_PLACES 64

struct place {
    char *worker_id;    /* NULL: free */
    uint32_t next_free; /* then: the number of another one; 0: there is none */
    struct history_figures figures;
    uint64_t tasks_completed; /* the counter, as last heard */
    bool tasks_known;
    bool touched; /* something was folded into the open bucket */
    bool gone;
};

struct history {
    struct history_room room; /* first: see history_has_room */
    struct place *places;     /* places[0] is not used */
    size_t place_count;       /* used ones and free ones, without places[0] */
    uint32_t first_free;      /* a list through next_free; 0: none is free */
    size_t place_capacity;
    size_t present;
    struct map by_id;       /* numbers of places, as pointers: places move when they grow */
    int64_t opened_seconds; /* when the open step began */
    uint64_t dropped;
};

const char *history_rank_text(unsigned int rank)
{
    static const char *const texts[HISTORY_RANK_COUNT] = {"online",       "draining", "degraded",
                                                          "reconnecting", "offline",  "removed"};
    return rank < HISTORY_RANK_COUNT ? texts[rank] : "";
}

static uint8_t rank_of(Muster__V1__WorkerStatus status)
{
    switch (status) {
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING:
        return HISTORY_DRAINING;
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED:
        return HISTORY_DEGRADED;
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING:
        return HISTORY_RECONNECTING;
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE:
        return HISTORY_OFFLINE;
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED:
        return HISTORY_REMOVED;
    default:
        return HISTORY_ONLINE;
    }
}

/* The step that a moment lies in; also right before the epoch. */
static int64_t step_of(int64_t unix_ms)
{
    int64_t length_ms = HISTORY_STEP_SECONDS * 1000;
    int64_t step = unix_ms / length_ms - (unix_ms % length_ms < 0);
    return step * HISTORY_STEP_SECONDS;
}

/* --- Life --- */

struct history *history_create(size_t worker_limit, int64_t unix_ms)
{
    struct history *history = calloc(1, sizeof(*history));
    if (history == NULL)
        return NULL;
    history->room.limit = worker_limit;
    history->opened_seconds = step_of(unix_ms);
    return history;
}

void history_destroy(struct history *history)
{
    if (history == NULL)
        return;
    for (size_t i = 1; i <= history->place_count; i++)
        free(history->places[i].worker_id);
    free(history->places);
    map_free(&history->by_id);
    free(history);
}

/* --- Places --- */

static uint32_t find(const struct history *history, const char *worker_id)
{
    return (uint32_t)(uintptr_t)map_get_text(&history->by_id, worker_id);
}

/* The number of a free place, 0 when memory ran out. */
static uint32_t take_place(struct history *history)
{
    if (history->first_free != 0) {
        uint32_t number = history->first_free;
        history->first_free = history->places[number].next_free;
        return number;
    }
    if (history->place_count + 1 >= history->place_capacity) {
        size_t capacity = history->place_capacity == 0 ? FIRST_PLACES : history->place_capacity * 2;
        struct place *places = realloc(history->places, capacity * sizeof(*places));
        if (places == NULL)
            return 0;
        history->places = places;
        history->place_capacity = capacity;
    }
    history->place_count++;
    history->places[history->place_count] = (struct place){.worker_id = NULL};
    return (uint32_t)history->place_count;
}

static void free_place(struct history *history, uint32_t number)
{
    history->places[number] = (struct place){.worker_id = NULL, .next_free = history->first_free};
    history->first_free = number;
}

uint32_t history_admit(struct history *history, const char *worker_id, Muster__V1__WorkerStatus status)
{
    uint32_t number = find(history, worker_id);
    if (number == 0) {
        if (!history_has_room(history))
            return 0;
        char *id = strdup(worker_id);
        number = id == NULL ? 0 : take_place(history);
        if (number == 0 || !map_put_text(&history->by_id, id, (void *)(uintptr_t)number, NULL)) {
            if (number != 0)
                free_place(history, number);
            free(id);
            return 0;
        }
        history->places[number] = (struct place){.worker_id = id, .gone = true};
        history->places[number].figures.state = history->places[number].figures.worst = rank_of(status);
        history->room.kept++;
    }
    struct place *place = &history->places[number];
    history->present += place->gone;
    place->gone = false;
    return number;
}

void history_gone(struct history *history, uint32_t place)
{
    if (place == 0 || history->places[place].gone)
        return;
    history_state(history, place, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED);
    history->places[place].gone = true;
    history->places[place].tasks_known = false;
    history->present--;
}

/* At the end of an hour: see the top of history.h. */
static void release_places(struct history *history)
{
    for (size_t i = 1; i <= history->place_count; i++) {
        struct place *place = &history->places[i];
        if (place->worker_id == NULL || !place->gone)
            continue;
        (void)map_remove_text(&history->by_id, place->worker_id);
        free(place->worker_id);
        free_place(history, (uint32_t)i);
        history->room.kept--;
    }
}

/* --- Folding --- */

static void fold_load(struct place *place, const Muster__V1__Load *load)
{
    struct history_figures *figures = &place->figures;
    bool first = figures->samples == 0;
    figures->samples++;
    figures->load_sum += load->current_load;
    figures->load_last = load->current_load;
    if (first || load->current_load < figures->load_min)
        figures->load_min = load->current_load;
    if (first || load->current_load > figures->load_max)
        figures->load_max = load->current_load;
    figures->active_sum += load->active_requests;
    figures->active_last = load->active_requests;
    if (first || load->active_requests < figures->active_min)
        figures->active_min = load->active_requests;
    if (first || load->active_requests > figures->active_max)
        figures->active_max = load->active_requests;
    if (place->tasks_known)
        figures->tasks_completed += load->tasks_completed < place->tasks_completed
                                        ? load->tasks_completed
                                        : load->tasks_completed - place->tasks_completed;
    place->tasks_completed = load->tasks_completed;
    place->tasks_known = true;
}

void history_heartbeat(struct history *history, uint32_t number, const Muster__V1__Load *load)
{
    struct place *place = &history->places[number];
    place->touched = true;
    place->figures.heartbeats++;
    if (load != NULL)
        fold_load(place, load);
}

void history_state(struct history *history, uint32_t number, Muster__V1__WorkerStatus status)
{
    uint8_t rank = rank_of(status);
    if (number == 0 || history->places[number].figures.state == rank)
        return;
    struct place *place = &history->places[number];
    place->touched = true;
    place->figures.state = rank;
    if (rank > place->figures.worst)
        place->figures.worst = rank;
}

void history_requests(struct history *history, const char *worker_id, const struct history_outcome *outcome)
{
    uint32_t number = find(history, worker_id);
    if (number == 0)
        return;
    struct place *place = &history->places[number];
    place->touched = true;
    uint64_t failures = outcome->server_errors + outcome->connection_failures + outcome->timeouts;
    place->figures.requests += outcome->succeeded + failures;
    place->figures.failures += failures;
    place->figures.answered += outcome->succeeded + outcome->server_errors;
    place->figures.latency_sum_us += outcome->latency_sum_us;
}

bool history_keeps(const struct history *history, const char *worker_id)
{
    uint32_t number = find(history, worker_id);
    return number != 0 && !history->places[number].gone;
}

/* --- Steps --- */

static void reopen(struct place *place)
{
    uint8_t state = place->figures.state;
    place->figures = (struct history_figures){.state = state, .worst = state};
    place->touched = false;
}

struct history_batch *history_finish(struct history *history)
{
    size_t count = 0;
    size_t text_bytes = 0;
    for (size_t i = 1; i <= history->place_count; i++) {
        if (history->places[i].touched) {
            count++;
            text_bytes += strlen(history->places[i].worker_id) + 1;
        }
    }
    if (count == 0)
        return NULL;
    struct history_batch *batch = malloc(sizeof(*batch) + count * sizeof(batch->rows[0]) + text_bytes);
    if (batch == NULL)
        history->dropped += count;
    else
        *batch = (struct history_batch){.time_seconds = history->opened_seconds};
    char *text = batch == NULL ? NULL : (char *)&batch->rows[count];
    for (size_t i = 1; i <= history->place_count; i++) {
        struct place *place = &history->places[i];
        if (!place->touched)
            continue;
        if (batch != NULL) {
            size_t bytes = strlen(place->worker_id) + 1;
            batch->rows[batch->count++] = (struct history_row){memcpy(text, place->worker_id, bytes), place->figures};
            text += bytes;
        }
        reopen(place);
    }
    return batch;
}

struct history_batch *history_advance(struct history *history, int64_t unix_ms)
{
    int64_t step = step_of(unix_ms);
    if (step == history->opened_seconds)
        return NULL;
    struct history_batch *batch = history_finish(history);
    if (step / SECONDS_PER_HOUR != history->opened_seconds / SECONDS_PER_HOUR)
        release_places(history);
    history->opened_seconds = step;
    return batch;
}

int64_t history_step_ends_unix_ms(const struct history *history)
{
    return (history->opened_seconds + HISTORY_STEP_SECONDS) * 1000;
}

struct history_counts history_count(const struct history *history)
{
    return (struct history_counts){
        .kept = history->room.kept,
        .present = history->present,
        .limit = history->room.limit,
        .dropped = history->dropped,
    };
}
