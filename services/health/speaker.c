/* Who speaks on a heartbeat stream, where that has to be proved: see health.h, "Tokens". */

#include "services/health/health.h"

#include "services/health/state.h"

#include <stdlib.h>
#include <string.h>

void health_require_tokens(struct health *health)
{
    health->tokens_required = true;
}

void health_set_secret(struct health *health, const uint8_t *secret, size_t bytes)
{
    if (bytes != AUTH_SECRET_BYTES)
        return;
    memcpy(health->secret, secret, AUTH_SECRET_BYTES);
    health->has_secret = true;
}

void health_speaker_free(struct health_stream *stream)
{
    free(stream->speaker.worker_id);
    stream->speaker = (struct health_speaker){.who = SPEAKER_NOBODY};
}

static enum health_message_result take_token(const struct health *health, struct health_stream *stream,
                                             const char *token)
{
    char worker_id[AUTH_WORKER_ID_BYTES_MAX + 1];
    uint64_t incarnation;
    size_t bytes = strlen(token);
    if (!health->has_secret)
        return HEALTH_MESSAGE_NOT_READY;
    health_speaker_free(stream);
    if (auth_peer_token_check(health->secret, token, bytes)) {
        stream->speaker.who = SPEAKER_PEER;
        return HEALTH_MESSAGE_TAKEN;
    }
    if (!auth_worker_token_check(health->secret, token, bytes, worker_id, &incarnation))
        return HEALTH_MESSAGE_NOT_ALLOWED;
    stream->speaker =
        (struct health_speaker){.who = SPEAKER_WORKER, .worker_id = strdup(worker_id), .incarnation = incarnation};
    return stream->speaker.worker_id != NULL ? HEALTH_MESSAGE_TAKEN : HEALTH_MESSAGE_NOT_READY;
}

enum health_message_result health_speaker_judge(const struct health *health, struct health_stream *stream,
                                                const Muster__V1__HeartbeatRequest *message)
{
    struct health_speaker *speaker = &stream->speaker;
    if (!health->tokens_required)
        return HEALTH_MESSAGE_TAKEN;
    if (message->token[0] != '\0') {
        enum health_message_result result = take_token(health, stream, message->token);
        if (result != HEALTH_MESSAGE_TAKEN)
            return result;
    }
    if (speaker->who == SPEAKER_PEER)
        return HEALTH_MESSAGE_TAKEN;
    if (speaker->who != SPEAKER_WORKER || speaker->worker_id == NULL)
        return HEALTH_MESSAGE_NOT_ALLOWED;
    for (size_t i = 0; i < message->n_heartbeats; i++) {
        const Muster__V1__Heartbeat *heartbeat = message->heartbeats[i];
        if (heartbeat->incarnation != speaker->incarnation || strcmp(heartbeat->worker_id, speaker->worker_id) != 0)
            return HEALTH_MESSAGE_NOT_ALLOWED;
    }
    return HEALTH_MESSAGE_TAKEN;
}
