/* Our client for gRPC's interoperability cases, played against a foreign server.
 *
 *     interop_client HOST:PORT [CASE...]
 *
 * Prints a line for each case and exits with 0 when all went well. The cases are those of
 * grpc/doc/interop-test-descriptions.md. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/rpc.h"
#include "grpc/testing/test.pb-c.h"

#define SERVICE (&grpc__testing__test_service__descriptor)
#define HEADER_KEY "x-grpc-test-echo-initial"
#define HEADER_VALUE "test_initial_metadata_value"
#define TRAILER_KEY "x-grpc-test-echo-trailing-bin"
#define TRAILER_VALUE "\xab\xab\xab"
#define SPECIAL_TEXT "\t\ntest with whitespace\r\nand Unicode BMP \xE2\x98\xBA and non-BMP \xF0\x9F\x98\x88\t\n"
#define TIMEOUT_MS 10000

#define REQUEST_PAYLOAD_BYTES 271828
#define RESPONSE_PAYLOAD_BYTES 314159

static const int32_t SIZES_OUT[] = {31415, 9, 2653, 58979};
static const int32_t SIZES_IN[] = {27182, 8, 1828, 45904};
static const uint8_t zeroes[1 << 20];

/* What became of the call of a case. */
struct outcome {
    struct rpc_loop *loop;
    bool ended;
    enum rpc_status status;
    char text[256];
    bool metadata_echoed;
    unsigned messages;
    int32_t sizes[8]; /* payload bytes of each message; aggregated size in [0] for input */
    bool empty_message;
    /* Streams: */
    unsigned sent;
    bool cancel_after_first;
};

static bool same_bytes(const void *value, size_t value_bytes, const char *wanted)
{
    return value != NULL && value_bytes == strlen(wanted) && memcmp(value, wanted, value_bytes) == 0;
}

static void take_end(struct outcome *outcome, struct rpc_call *call, enum rpc_status status, const char *text)
{
    size_t bytes = 0;
    const void *header = rpc_call_header(call, HEADER_KEY, 0, &bytes);
    bool header_echoed = same_bytes(header, bytes, HEADER_VALUE);
    const void *trailer = rpc_call_trailer(call, TRAILER_KEY, 0, &bytes);
    outcome->metadata_echoed = header_echoed && same_bytes(trailer, bytes, TRAILER_VALUE);
    outcome->ended = true;
    outcome->status = status;
    snprintf(outcome->text, sizeof(outcome->text), "%s", text);
}

static void take_message(struct outcome *outcome, int32_t size)
{
    if (outcome->messages < sizeof(outcome->sizes) / sizeof(outcome->sizes[0]))
        outcome->sizes[outcome->messages] = size;
    outcome->messages++;
}

static int32_t payload_bytes(const Grpc__Testing__Payload *payload)
{
    return payload != NULL ? (int32_t)payload->body.len : 0;
}

static void empty_done(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                       void *argument)
{
    take_end(argument, call, status, text);
    if (response != NULL)
        take_message(argument, 0);
}

static void simple_done(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                        void *argument)
{
    const Grpc__Testing__SimpleResponse *simple = response;
    take_end(argument, call, status, text);
    if (response != NULL)
        take_message(argument, payload_bytes(simple->payload));
}

static void stream_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    take_end(rpc_call_context(call), call, status, text);
}

static void input_message(struct rpc_call *call, const void *message)
{
    const Grpc__Testing__StreamingInputCallResponse *response = message;
    take_message(rpc_call_context(call), response->aggregated_payload_size);
}

static void output_message(struct rpc_call *call, const void *message)
{
    const Grpc__Testing__StreamingOutputCallResponse *response = message;
    take_message(rpc_call_context(call), payload_bytes(response->payload));
}

/* Waits for the end of the call; a call that does not end counts as ended with INTERNAL. */
static void wait_for_end(struct outcome *outcome)
{
    uint64_t until_ms = rpc_loop_now_ms(outcome->loop) + 2 * TIMEOUT_MS;
    while (!outcome->ended && rpc_loop_now_ms(outcome->loop) < until_ms)
        rpc_loop_turn(outcome->loop, 100);
    if (!outcome->ended)
        outcome->status = RPC_INTERNAL;
}

static bool ended_with(const struct outcome *outcome, enum rpc_status status, const char *text)
{
    if (outcome->status == status && (text == NULL || strcmp(outcome->text, text) == 0))
        return true;
    printf("    ended with %s '%s' instead of %s '%s'\n", rpc_status_name(outcome->status), outcome->text,
           rpc_status_name(status), text != NULL ? text : "");
    return false;
}

static bool got_sizes(const struct outcome *outcome, const int32_t *sizes, unsigned count)
{
    if (outcome->messages == count && (count == 0 || memcmp(outcome->sizes, sizes, count * sizeof(sizes[0])) == 0))
        return true;
    printf("    %u messages, or not of the sizes asked for\n", outcome->messages);
    return false;
}

/* --- Requests --- */

static const struct rpc_metadata echo_metadata[] = {
    {HEADER_KEY, HEADER_VALUE, sizeof(HEADER_VALUE) - 1},
    {TRAILER_KEY, TRAILER_VALUE, sizeof(TRAILER_VALUE) - 1},
};

static const struct rpc_call_options plain = {.timeout_ms = TIMEOUT_MS, .wait_for_ready = true};
static const struct rpc_call_options with_metadata = {
    .timeout_ms = TIMEOUT_MS, .wait_for_ready = true, .metadata = echo_metadata, .metadata_count = 2};

static Grpc__Testing__Payload make_payload(int32_t size)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    payload.body.len = (size_t)size;
    payload.body.data = (uint8_t *)(uintptr_t)zeroes; /* protobuf-c knows no const */
    return payload;
}

static void unary(struct rpc_channel *channel, struct outcome *outcome, const struct rpc_call_options *options)
{
    Grpc__Testing__Payload payload = make_payload(REQUEST_PAYLOAD_BYTES);
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    request.response_size = RESPONSE_PAYLOAD_BYTES;
    request.payload = &payload;
    rpc_channel_call(channel, SERVICE, "UnaryCall", &request.base, options, simple_done, outcome);
    wait_for_end(outcome);
}

/* Sends a request for one answer of `size_out` bytes. */
static void send_output_request(struct rpc_call *call, int32_t size_out, int32_t size_in)
{
    Grpc__Testing__Payload payload = make_payload(size_in);
    Grpc__Testing__ResponseParameters parameters = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
    Grpc__Testing__ResponseParameters *list[] = {&parameters};
    Grpc__Testing__StreamingOutputCallRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    parameters.size = size_out;
    request.n_response_parameters = 1;
    request.response_parameters = list;
    request.payload = &payload;
    rpc_call_send(call, &request.base);
}

/* --- Cases --- */

static bool empty_unary(struct rpc_channel *channel, struct outcome *outcome)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    rpc_channel_call(channel, SERVICE, "EmptyCall", &request.base, &plain, empty_done, outcome);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_OK, "") && outcome->messages == 1;
}

static bool large_unary(struct rpc_channel *channel, struct outcome *outcome)
{
    static const int32_t sizes[] = {RESPONSE_PAYLOAD_BYTES};
    unary(channel, outcome, &plain);
    return ended_with(outcome, RPC_OK, "") && got_sizes(outcome, sizes, 1);
}

static bool client_streaming(struct rpc_channel *channel, struct outcome *outcome)
{
    static const struct rpc_events events = {.message = input_message, .ended = stream_ended};
    static const int32_t sum[] = {74922};
    struct rpc_call *call = rpc_channel_stream(channel, SERVICE, "StreamingInputCall", &plain, &events, outcome);
    for (size_t i = 0; i < 4; i++) {
        Grpc__Testing__Payload payload = make_payload(SIZES_IN[i]);
        Grpc__Testing__StreamingInputCallRequest request = GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
        request.payload = &payload;
        rpc_call_send(call, &request.base);
    }
    rpc_call_half_close(call);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_OK, "") && got_sizes(outcome, sum, 1);
}

static const struct rpc_events output_events = {.message = output_message, .ended = stream_ended};

static bool server_streaming(struct rpc_channel *channel, struct outcome *outcome)
{
    Grpc__Testing__ResponseParameters parameters[4];
    Grpc__Testing__ResponseParameters *list[4];
    Grpc__Testing__StreamingOutputCallRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    for (size_t i = 0; i < 4; i++) {
        grpc__testing__response_parameters__init(&parameters[i]);
        parameters[i].size = SIZES_OUT[i];
        list[i] = &parameters[i];
    }
    request.n_response_parameters = 4;
    request.response_parameters = list;
    struct rpc_call *call =
        rpc_channel_stream(channel, SERVICE, "StreamingOutputCall", &plain, &output_events, outcome);
    rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_OK, "") && got_sizes(outcome, SIZES_OUT, 4);
}

static void ping_pong_next(struct rpc_call *call, struct outcome *outcome)
{
    if (outcome->sent == 4) {
        rpc_call_half_close(call);
        return;
    }
    send_output_request(call, SIZES_OUT[outcome->sent], SIZES_IN[outcome->sent]);
    outcome->sent++;
}

static void ping_pong_message(struct rpc_call *call, const void *message)
{
    output_message(call, message);
    ping_pong_next(call, rpc_call_context(call));
}

static bool ping_pong(struct rpc_channel *channel, struct outcome *outcome)
{
    static const struct rpc_events events = {.message = ping_pong_message, .ended = stream_ended};
    ping_pong_next(rpc_channel_stream(channel, SERVICE, "FullDuplexCall", &plain, &events, outcome), outcome);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_OK, "") && got_sizes(outcome, SIZES_OUT, 4);
}

static bool empty_stream(struct rpc_channel *channel, struct outcome *outcome)
{
    rpc_call_half_close(rpc_channel_stream(channel, SERVICE, "FullDuplexCall", &plain, &output_events, outcome));
    wait_for_end(outcome);
    return ended_with(outcome, RPC_OK, "") && got_sizes(outcome, NULL, 0);
}

static bool custom_metadata(struct rpc_channel *channel, struct outcome *outcome)
{
    static const int32_t sizes[] = {RESPONSE_PAYLOAD_BYTES};
    unary(channel, outcome, &with_metadata);
    if (!ended_with(outcome, RPC_OK, "") || !got_sizes(outcome, sizes, 1) || !outcome->metadata_echoed)
        return false;
    *outcome = (struct outcome){.loop = outcome->loop};
    struct rpc_call *call =
        rpc_channel_stream(channel, SERVICE, "FullDuplexCall", &with_metadata, &output_events, outcome);
    send_output_request(call, RESPONSE_PAYLOAD_BYTES, REQUEST_PAYLOAD_BYTES);
    rpc_call_half_close(call);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_OK, "") && got_sizes(outcome, sizes, 1) && outcome->metadata_echoed;
}

static bool status_of_unary(struct rpc_channel *channel, struct outcome *outcome, const char *text)
{
    Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    status.code = RPC_UNKNOWN;
    status.message = (char *)(uintptr_t)text; /* protobuf-c knows no const */
    request.response_status = &status;
    rpc_channel_call(channel, SERVICE, "UnaryCall", &request.base, &plain, simple_done, outcome);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_UNKNOWN, text);
}

static bool status_code_and_message(struct rpc_channel *channel, struct outcome *outcome)
{
    static const char text[] = "test status message";
    if (!status_of_unary(channel, outcome, text))
        return false;
    *outcome = (struct outcome){.loop = outcome->loop};
    Grpc__Testing__EchoStatus status = GRPC__TESTING__ECHO_STATUS__INIT;
    Grpc__Testing__StreamingOutputCallRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    status.code = RPC_UNKNOWN;
    status.message = (char *)(uintptr_t)text; /* as above */
    request.response_status = &status;
    struct rpc_call *call = rpc_channel_stream(channel, SERVICE, "FullDuplexCall", &plain, &output_events, outcome);
    rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_UNKNOWN, text);
}

static bool special_status_message(struct rpc_channel *channel, struct outcome *outcome)
{
    return status_of_unary(channel, outcome, SPECIAL_TEXT);
}

static bool unimplemented(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                          struct outcome *outcome)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    rpc_channel_call(channel, service, "UnimplementedCall", &request.base, &plain, empty_done, outcome);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_UNIMPLEMENTED, NULL);
}

static bool unimplemented_method(struct rpc_channel *channel, struct outcome *outcome)
{
    return unimplemented(channel, SERVICE, outcome);
}

static bool unimplemented_service(struct rpc_channel *channel, struct outcome *outcome)
{
    return unimplemented(channel, &grpc__testing__unimplemented_service__descriptor, outcome);
}

static bool cancel_after_begin(struct rpc_channel *channel, struct outcome *outcome)
{
    static const struct rpc_events events = {.message = input_message, .ended = stream_ended};
    struct rpc_call *call = rpc_channel_stream(channel, SERVICE, "StreamingInputCall", &plain, &events, outcome);
    rpc_loop_turn(outcome->loop, 0);
    rpc_call_cancel(call);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_CANCELLED, NULL);
}

static void cancelling_message(struct rpc_call *call, const void *message)
{
    output_message(call, message);
    rpc_call_cancel(call);
}

static bool cancel_after_first_response(struct rpc_channel *channel, struct outcome *outcome)
{
    static const struct rpc_events events = {.message = cancelling_message, .ended = stream_ended};
    struct rpc_call *call = rpc_channel_stream(channel, SERVICE, "FullDuplexCall", &plain, &events, outcome);
    send_output_request(call, SIZES_OUT[0], SIZES_IN[0]);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_CANCELLED, NULL) && got_sizes(outcome, SIZES_OUT, 1);
}

static bool timeout_on_sleeping_server(struct rpc_channel *channel, struct outcome *outcome)
{
    static const struct rpc_call_options options = {.timeout_ms = 1, .wait_for_ready = true};
    struct rpc_call *call = rpc_channel_stream(channel, SERVICE, "FullDuplexCall", &options, &output_events, outcome);
    Grpc__Testing__Payload payload = make_payload(SIZES_IN[0]);
    Grpc__Testing__StreamingOutputCallRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    request.payload = &payload;
    rpc_call_send(call, &request.base);
    wait_for_end(outcome);
    return ended_with(outcome, RPC_DEADLINE_EXCEEDED, NULL);
}

static const struct {
    const char *name;
    bool (*play)(struct rpc_channel *channel, struct outcome *outcome);
} cases[] = {
    {"empty_unary", empty_unary},
    {"large_unary", large_unary},
    {"client_streaming", client_streaming},
    {"server_streaming", server_streaming},
    {"ping_pong", ping_pong},
    {"empty_stream", empty_stream},
    {"custom_metadata", custom_metadata},
    {"status_code_and_message", status_code_and_message},
    {"special_status_message", special_status_message},
    {"unimplemented_method", unimplemented_method},
    {"unimplemented_service", unimplemented_service},
    {"cancel_after_begin", cancel_after_begin},
    {"cancel_after_first_response", cancel_after_first_response},
    {"timeout_on_sleeping_server", timeout_on_sleeping_server},
};

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return true;
    }
    return argc <= 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: interop_client HOST:PORT [CASE...]\n");
        return 2;
    }
    struct rpc_loop *loop = rpc_loop_create();
    struct rpc_channel *channel = rpc_channel_create(loop, argv[1], NULL);
    int failed = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!wanted(cases[i].name, argc, argv))
            continue;
        struct outcome outcome = {.loop = loop};
        bool well = cases[i].play(channel, &outcome);
        printf("%s: %s\n", cases[i].name, well ? "ok" : "failed");
        failed += !well;
    }
    rpc_channel_destroy(channel);
    rpc_loop_destroy(loop);
    return failed > 0;
}
