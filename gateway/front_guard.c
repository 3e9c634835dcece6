/* What a request must come with, on a front: limits first, then who is calling, then whether they may. guard.h says
 * what the rules are.
 *
 * The keys, and the secret that workers' tokens are made with, come from the backend, which reads the file and hears
 * the registry; each front has its own checker and what that remembers. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/http/target.h"
#include "common/log.h"
#include "gateway/front.h"

/* --- What holds --- */

struct keys_message {
    struct loop_task task;
    struct front *front;
    struct auth_keys *keys;
    bool has_secret;
    uint8_t secret[AUTH_SECRET_BYTES];
};

void front_guard_set(struct front *front, struct auth_keys *keys, const uint8_t *secret)
{
    front->keys = keys;
    if (front->checker != NULL)
        auth_checker_set(front->checker, auth_keys_reference(keys), secret);
}

static void take_keys(struct loop_task *task)
{
    struct keys_message *message = (struct keys_message *)task;
    struct auth_keys *before = message->front->keys;
    front_guard_set(message->front, message->keys, message->has_secret ? message->secret : NULL);
    auth_keys_release(before);
    free(message);
}

void front_set_keys(struct front *front, struct auth_keys *keys, const uint8_t *secret)
{
    struct keys_message *message = malloc(sizeof *message);
    if (message == NULL) {
        /* A front that goes on with keys that were taken away would be worse than one that is not there. */
        log_error("out of memory for the keys; the process ends, so that none goes on with old ones");
        abort();
    }
    *message =
        (struct keys_message){.task = {.run = take_keys}, .front = front, .keys = keys, .has_secret = secret != NULL};
    if (secret != NULL)
        memcpy(message->secret, secret, sizeof message->secret);
    loop_post(front->loop, &message->task);
}

/* --- Refusing --- */

static void refuse_rate(struct front *front, struct http_exchange *exchange, uint64_t wait_us, const char *whose)
{
    struct buffer body = BUFFER_INIT;
    char message[160];
    unsigned wait_s = (unsigned)((wait_us + 999999) / 1000000);
    snprintf(message, sizeof message, "more requests than %s may send; try again in %u s", whose, wait_s);
    error_render(error_kind(ERROR_RATE_LIMITED)->code, message, &body);
    front_answer(front, exchange,
                 &(struct answer){.status = error_kind(ERROR_RATE_LIMITED)->status,
                                  .body = body.data,
                                  .body_bytes = body.bytes,
                                  .retry_after_seconds = wait_s});
    buffer_free(&body);
    metrics_add(&front->metrics.refused[METRICS_REFUSED_RATE], 1);
}

/* 401, with what RFC 6750 section 3 asks for. */
static void refuse_credential(struct front *front, struct http_exchange *exchange, const char *problem,
                              const char *message)
{
    struct buffer body = BUFFER_INIT;
    char challenge[256];
    if (problem == NULL)
        snprintf(challenge, sizeof challenge, "Bearer realm=\"muster\"");
    else
        snprintf(challenge, sizeof challenge,
                 "Bearer realm=\"muster\", error=\"invalid_token\", error_description=\"%s\"", problem);
    error_render(error_kind(ERROR_UNAUTHORIZED)->code, message, &body);
    front_answer(front, exchange,
                 &(struct answer){.status = error_kind(ERROR_UNAUTHORIZED)->status,
                                  .body = body.data,
                                  .body_bytes = body.bytes,
                                  .authenticate = challenge});
    buffer_free(&body);
    metrics_add(&front->metrics.refused[METRICS_REFUSED_UNAUTHORIZED], 1);
}

static void refuse_right(struct front *front, struct http_exchange *exchange, const char *message)
{
    front_fail(front, exchange, ERROR_FORBIDDEN, "%s", message);
    metrics_add(&front->metrics.refused[METRICS_REFUSED_FORBIDDEN], 1);
}

/* --- Limits --- */

bool front_within_address_limit(struct front *front, struct http_exchange *exchange)
{
    struct auth_rate rate = auth_keys_address_rate(front->keys);
    uint64_t wait_us;
    if (rate.requests_per_second <= 0)
        return true;
    char address[CLIENT_ADDRESS_BYTES];
    client_address(&front->gateway->client_address, http_exchange_head(exchange),
                   http_exchange_client_address(exchange), address);
    struct auth_bucket_id id = auth_bucket_of_address(address);
    if (limiter_take(front->gateway->limiter, &id, rate, clock_monotonic_us(), &wait_us))
        return true;
    refuse_rate(front, exchange, wait_us, "one address");
    return false;
}

static bool within_key_limit(struct front *front, struct http_exchange *exchange, const struct auth_identity *identity)
{
    struct auth_rate rate = auth_keys_rate(front->keys, identity);
    uint64_t wait_us;
    if (rate.requests_per_second <= 0)
        return true;
    struct auth_bucket_id id = auth_bucket_of_name(identity->name);
    if (limiter_take(front->gateway->limiter, &id, rate, clock_monotonic_us(), &wait_us))
        return true;
    refuse_rate(front, exchange, wait_us, "this key");
    return false;
}

/* --- Who is calling --- */

static bool identify(struct front *front, struct http_exchange *exchange, const struct api_route *route)
{
    struct http_text credential;
    char message[256];
    front->source = guard_credential(http_exchange_head(exchange), (route->flags & API_WEBSOCKET) != 0, &credential);
    if (front->source == GUARD_AMBIGUOUS) {
        refuse_credential(front, exchange, NULL,
                          "X-API-Key, Authorization or muster.key is there twice; send one of each at most");
        return false;
    }
    if (front->source == GUARD_NOTHING) {
        snprintf(message, sizeof message,
                 "this takes a key with the right %s; send it as X-API-Key: KEY or as Authorization: Bearer KEY%s",
                 guard_right_word(guard_right(route)),
                 (route->flags & API_WEBSOCKET) == 0 ? "" : ", or offer the subprotocols muster and muster.key.KEY");
        refuse_credential(front, exchange, NULL, message);
        return false;
    }
    enum auth_refusal refusal =
        auth_checker_check(front->checker, credential.data, credential.bytes, clock_unix_ms() / 1000, &front->caller);
    if (refusal == AUTH_ACCEPTED)
        return true;
    if (refusal == AUTH_NOT_READY && (route->flags & API_OWN_WORKER) == 0) {
        /* Whosever it is. A gateway that stands alone never learns what it takes to check one. */
        snprintf(message, sizeof message, GUARD_WORKER_TOKEN_REFUSED, guard_right_word(guard_right(route)));
        refuse_right(front, exchange, message);
        return false;
    }
    if (refusal == AUTH_NOT_READY)
        front_fail(front, exchange, ERROR_PART_UNAVAILABLE, "%s", auth_refusal_text(refusal));
    else if (refusal == AUTH_NO_MEMORY)
        front_fail(front, exchange, ERROR_INTERNAL, "%s", auth_refusal_text(refusal));
    else
        refuse_credential(front, exchange, auth_refusal_text(refusal), auth_refusal_text(refusal));
    log_debug("a credential was refused", LOG_TEXT("client", http_exchange_client_address(exchange)),
              LOG_TEXT("reason", auth_refusal_text(refusal)), LOG_TEXT("route", route->label));
    return false;
}

/* Whether the caller may call the service that the path names, as far as this thread knows it: a name that the route
 * table does not have is the backend's to judge. */
static bool may_call(struct front *front, const struct http_text parameter, char *message, size_t message_bytes)
{
    char name[REQUEST_WORKER_ID_BYTES_MAX + 1];
    int64_t bytes = http_percent_decode(parameter, false, name, sizeof name);
    const struct pick_service *service = bytes < 0 ? NULL : pick_table_find(front->table, name, (size_t)bytes);
    if (service == NULL)
        return true;
    const char *canonical = pick_description_name(pick_service_description(service));
    if (auth_may_call(front->caller.identity, canonical, strlen(canonical)))
        return true;
    snprintf(message, message_bytes, "the key %.150s may not call %.200s", front->caller.identity->name, canonical);
    return false;
}

bool front_admit(struct front *front, struct http_exchange *exchange, const struct api_match *match)
{
    const struct api_route *route = match->route;
    char message[512], worker_id[REQUEST_WORKER_ID_BYTES_MAX + 1];
    if (guard_right(route) == 0)
        return true;
    if (!identify(front, exchange, route))
        return false;
    const struct auth_identity *identity = front->caller.identity;
    bool names_worker = (route->flags & API_OWN_WORKER) != 0 && match->parameter_count > 0 &&
                        http_percent_decode(match->parameters[0], false, worker_id, sizeof worker_id) >= 0;
    if (identity != NULL && !within_key_limit(front, exchange, identity))
        return false;
    if (!guard_admits(route, &front->caller, names_worker ? worker_id : NULL, message, sizeof message) ||
        ((route->flags & API_ONE_SERVICE) != 0 && !may_call(front, match->parameters[0], message, sizeof message))) {
        refuse_right(front, exchange, message);
        return false;
    }
    return true;
}

bool front_note_caller(struct front *front, struct job *job)
{
    const struct auth_caller *caller = &front->caller;
    if (!front->closed || guard_right(job->route) == 0)
        return true;
    size_t id_bytes = caller->identity == NULL ? strlen(caller->worker_id) : 0;
    struct job_caller *noted = arena_take(&job->arena, sizeof *noted + id_bytes + 1);
    if (noted == NULL)
        return false;
    if (caller->identity != NULL)
        noted->identity = auth_identity_reference(caller->identity);
    noted->own_incarnation = caller->incarnation;
    memcpy(noted->own_worker_id, caller->worker_id, id_bytes);
    job->caller = noted;
    return true;
}

size_t front_withheld(enum guard_source source, const char *const **names)
{
    static const char *const ours[] = {"X-API-Key", "Authorization"};
    *names = ours;
    return source == GUARD_NOTHING ? 0 : source == GUARD_BEARER ? 2 : 1;
}
