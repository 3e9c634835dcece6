/* Our server for gRPC's interoperability cases.
 *
 *     interop_server [ADDRESS]
 *
 * Prints the port that it listens on (127.0.0.1:0 unless told otherwise), and serves until
 * standard input ends. Serves grpc.testing.TestService. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rpc/rpc.h"
#include "grpc/testing/test.pb-c.h"
#include "tests/conformance/rpc/proto/testing_descriptors.h"

#define HEADER_KEY "x-grpc-test-echo-initial"
#define TRAILER_KEY "x-grpc-test-echo-trailing-bin"
#define MAX_PAYLOAD_BYTES (8 << 20)

/* The custom_metadata case: what came in goes back. */
static void echo_metadata(struct rpc_call *call)
{
    struct rpc_metadata header = {.key = HEADER_KEY};
    header.value = rpc_call_header(call, HEADER_KEY, 0, &header.value_bytes);
    if (header.value != NULL)
        rpc_call_add_header(call, &header);
    struct rpc_metadata trailer = {.key = TRAILER_KEY};
    trailer.value = rpc_call_header(call, TRAILER_KEY, 0, &trailer.value_bytes);
    if (trailer.value != NULL)
        rpc_call_add_trailer(call, &trailer);
}

/* The status that the client wants; whether it wants one. */
static bool finish_as_asked(struct rpc_call *call, const Grpc__Testing__EchoStatus *status)
{
    if (status == NULL || status->code == 0)
        return false;
    rpc_call_finish(call, (enum rpc_status)status->code, "%s", status->message);
    return true;
}

static void empty_call(struct rpc_call *call, const void *message)
{
    (void)message;
    Grpc__Testing__Empty response = GRPC__TESTING__EMPTY__INIT;
    rpc_call_reply(call, &response.base);
}

static void unary_call(struct rpc_call *call, const void *message)
{
    const Grpc__Testing__SimpleRequest *request = message;
    echo_metadata(call);
    if (finish_as_asked(call, request->response_status))
        return;
    if (request->response_size < 0 || request->response_size > MAX_PAYLOAD_BYTES) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "response_size is out of range");
        return;
    }
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    payload.body.len = (size_t)request->response_size;
    payload.body.data = calloc(1, payload.body.len + 1);
    response.payload = &payload;
    rpc_call_reply(call, &response.base);
    free(payload.body.data);
}

/* --- Many requests, one answer --- */

struct sum {
    int32_t bytes;
};

static void input_started(struct rpc_call *call)
{
    rpc_call_set_user(call, calloc(1, sizeof(struct sum)));
}

static void input_message(struct rpc_call *call, const void *message)
{
    const Grpc__Testing__StreamingInputCallRequest *request = message;
    struct sum *sum = rpc_call_user(call);
    if (request->payload != NULL)
        sum->bytes += (int32_t)request->payload->body.len;
}

static void input_half_closed(struct rpc_call *call)
{
    const struct sum *sum = rpc_call_user(call);
    Grpc__Testing__StreamingInputCallResponse response = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    response.aggregated_payload_size = sum->bytes;
    rpc_call_reply(call, &response.base);
}

static void input_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    (void)status;
    (void)text;
    free(rpc_call_user(call));
}

/* --- Many answers --- */

struct answer {
    struct answer *next;
    int32_t bytes, interval_us;
    int32_t end_code; /* not 0: end with this status */
    char *end_text;
};

/* Answers that are still to be given on one call. */
struct answers {
    struct rpc_call *call;
    struct rpc_loop *loop;
    struct answer *first, **end;
    struct timer timer;
    bool late_start; /* half duplex: only after the last request */
    bool last_request_seen;
};

static void give_answers(struct timer *timer, void *argument);

static void drop_answer(struct answers *answers)
{
    struct answer *answer = answers->first;
    answers->first = answer->next;
    if (answers->first == NULL)
        answers->end = &answers->first;
    free(answer->end_text);
    free(answer);
}

static void go_on(struct answers *answers)
{
    if (timer_active(&answers->timer) || (answers->late_start && !answers->last_request_seen))
        return;
    if (answers->first == NULL) {
        if (answers->last_request_seen)
            rpc_call_finish(answers->call, RPC_OK, "%s", "");
        return;
    }
    uint64_t delay_ms = (uint64_t)answers->first->interval_us / 1000;
    if (delay_ms == 0)
        give_answers(&answers->timer, answers);
    else
        rpc_loop_timer_start(answers->loop, &answers->timer, delay_ms, give_answers, answers);
}

/* Gives the first answer, then looks at the next. */
static void give_answers(struct timer *timer, void *argument)
{
    struct answers *answers = argument;
    (void)timer;
    struct answer *answer = answers->first;
    if (answer->end_code != 0) {
        rpc_call_finish(answers->call, (enum rpc_status)answer->end_code, "%s", answer->end_text);
        drop_answer(answers);
        return;
    }
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    payload.body.len = (size_t)answer->bytes;
    payload.body.data = calloc(1, payload.body.len + 1);
    response.payload = &payload;
    rpc_call_send(answers->call, &response.base);
    free(payload.body.data);
    drop_answer(answers);
    go_on(answers);
}

static struct answers *answers_create(struct rpc_call *call)
{
    struct answers *answers = calloc(1, sizeof(*answers));
    answers->call = call;
    answers->loop = rpc_call_context(call);
    answers->end = &answers->first;
    answers->late_start = strstr(rpc_call_method(call), "HalfDuplex") != NULL;
    rpc_call_set_user(call, answers);
    return answers;
}

static void duplex_started(struct rpc_call *call)
{
    echo_metadata(call);
    answers_create(call);
}

static void add_answer(struct answers *answers, struct answer answer)
{
    struct answer *copy = malloc(sizeof(*copy));
    *copy = answer;
    copy->next = NULL;
    *answers->end = copy;
    answers->end = &copy->next;
}

static void duplex_message(struct rpc_call *call, const void *message)
{
    const Grpc__Testing__StreamingOutputCallRequest *request = message;
    struct answers *answers = rpc_call_user(call);
    for (size_t i = 0; i < request->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *parameters = request->response_parameters[i];
        if (parameters->size < 0 || parameters->size > MAX_PAYLOAD_BYTES || parameters->interval_us < 0) {
            rpc_call_finish(call, RPC_INVALID_ARGUMENT, "response_parameters are out of range");
            return;
        }
        add_answer(answers, (struct answer){.bytes = parameters->size, .interval_us = parameters->interval_us});
    }
    if (request->response_status != NULL && request->response_status->code != 0)
        add_answer(answers, (struct answer){.end_code = request->response_status->code,
                                            .end_text = strdup(request->response_status->message)});
    go_on(answers);
}

static void duplex_half_closed(struct rpc_call *call)
{
    struct answers *answers = rpc_call_user(call);
    answers->last_request_seen = true;
    go_on(answers);
}

static void output_message(struct rpc_call *call, const void *message)
{
    answers_create(call);
    echo_metadata(call);
    duplex_message(call, message);
    duplex_half_closed(call);
}

static void answers_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct answers *answers = rpc_call_user(call);
    (void)status;
    (void)text;
    if (answers == NULL)
        return; /* the call never brought its request */
    rpc_loop_timer_stop(answers->loop, &answers->timer);
    while (answers->first != NULL)
        drop_answer(answers);
    free(answers);
}

static void *wait_for_input_end(void *argument)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    rpc_loop_stop(argument);
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct rpc_method methods[] = {
        {"EmptyCall", RPC_UNARY, {.message = empty_call}},
        {"UnaryCall", RPC_UNARY, {.message = unary_call}},
        {"StreamingInputCall",
         RPC_CLIENT_STREAMING,
         {.started = input_started, .message = input_message, .half_closed = input_half_closed, .ended = input_ended}},
        {"StreamingOutputCall", RPC_SERVER_STREAMING, {.message = output_message, .ended = answers_ended}},
        {"FullDuplexCall",
         RPC_BIDI_STREAMING,
         {.started = duplex_started,
          .message = duplex_message,
          .half_closed = duplex_half_closed,
          .ended = answers_ended}},
        {"HalfDuplexCall",
         RPC_BIDI_STREAMING,
         {.started = duplex_started,
          .message = duplex_message,
          .half_closed = duplex_half_closed,
          .ended = answers_ended}},
    };
    struct rpc_loop *loop = rpc_loop_create();
    struct rpc_server_options options = {.address = argc > 1 ? argv[1] : "127.0.0.1:0", .max_message_bytes = 16 << 20};
    struct rpc_server *server = rpc_server_create(loop, &options);
    char error[256];
    if (!rpc_server_add_descriptors(server, testing_descriptors, testing_descriptors_bytes) ||
        !rpc_server_add_service(server, &grpc__testing__test_service__descriptor, methods,
                                sizeof(methods) / sizeof(methods[0]), loop)) {
        fprintf(stderr, "interop_server: descriptors and methods do not agree\n");
        return 1;
    }
    unsigned port = rpc_server_start(server, error, sizeof(error));
    if (port == 0) {
        fprintf(stderr, "interop_server: %s\n", error);
        return 1;
    }
    printf("%u\n", port);
    fflush(stdout);
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_input_end, loop) != 0)
        return 1;
    rpc_loop_run(loop);
    pthread_join(thread, NULL);
    rpc_server_destroy(server);
    rpc_loop_destroy(loop);
    return 0;
}
