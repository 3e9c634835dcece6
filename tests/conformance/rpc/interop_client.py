"""gRPC's interoperability cases, played by Python's grpcio against a server.

    interop_client.py SERVER_BINARY [CASE...]

Starts the server, which prints its port, and plays the cases against it. The cases are
those of grpc/doc/interop-test-descriptions.md.
"""

import subprocess
import sys
import time

import grpc

from grpc_testing_messages import messages

SIZES_OUT = [31415, 9, 2653, 58979]
SIZES_IN = [27182, 8, 1828, 45904]
SPECIAL_TEXT = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"


class Stub:
    """The methods of grpc.testing.TestService on a channel."""

    def __init__(self, channel):
        def method(make, name, request, response, service="TestService"):
            return make(
                f"/grpc.testing.{service}/{name}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )

        self.empty_call = method(channel.unary_unary, "EmptyCall", messages.Empty, messages.Empty)
        self.unary_call = method(channel.unary_unary, "UnaryCall", messages.SimpleRequest, messages.SimpleResponse)
        self.input_call = method(
            channel.stream_unary, "StreamingInputCall",
            messages.StreamingInputCallRequest, messages.StreamingInputCallResponse)
        self.output_call = method(
            channel.unary_stream, "StreamingOutputCall",
            messages.StreamingOutputCallRequest, messages.StreamingOutputCallResponse)
        self.duplex_call = method(
            channel.stream_stream, "FullDuplexCall",
            messages.StreamingOutputCallRequest, messages.StreamingOutputCallResponse)
        self.unimplemented_call = method(
            channel.unary_unary, "UnimplementedCall", messages.Empty, messages.Empty)
        self.unimplemented_service = method(
            channel.unary_unary, "UnimplementedCall", messages.Empty, messages.Empty, "UnimplementedService")


def expect(actual, wanted):
    if actual != wanted:
        raise AssertionError(f"got {actual!r}, wanted {wanted!r}")


def expect_error(call, code, text=None):
    try:
        call()
    except grpc.RpcError as error:
        expect(error.code(), code)
        if text is not None:
            expect(error.details(), text)
        return
    raise AssertionError(f"the call succeeded, wanted {code}")


def payload(size):
    return messages.Payload(body=bytes(size))


def output_request(size, request_size):
    return messages.StreamingOutputCallRequest(
        response_parameters=[messages.ResponseParameters(size=size)], payload=payload(request_size))


class Requests:
    """Requests of a stream that are handed over one by one."""

    def __init__(self):
        import queue
        self.queue = queue.Queue()

    def send(self, request):
        self.queue.put(request)

    def close(self):
        self.queue.put(None)

    def __iter__(self):
        return iter(self.queue.get, None)


def empty_unary(stub):
    expect(stub.empty_call(messages.Empty(), timeout=10), messages.Empty())


def large_unary(stub):
    response = stub.unary_call(
        messages.SimpleRequest(response_size=314159, payload=payload(271828)), timeout=10)
    expect(response.payload.body, bytes(314159))


def compressed_unary(stub):
    """Not one of the listed cases, but clients may compress."""
    response = stub.unary_call(
        messages.SimpleRequest(response_size=314159, payload=payload(271828)), timeout=10,
        compression=grpc.Compression.Gzip)
    expect(response.payload.body, bytes(314159))


def client_streaming(stub):
    requests = (messages.StreamingInputCallRequest(payload=payload(size)) for size in SIZES_IN)
    expect(stub.input_call(requests, timeout=10).aggregated_payload_size, 74922)


def server_streaming(stub):
    request = messages.StreamingOutputCallRequest(
        response_parameters=[messages.ResponseParameters(size=size) for size in SIZES_OUT])
    expect([len(response.payload.body) for response in stub.output_call(request, timeout=10)], SIZES_OUT)


def ping_pong(stub):
    requests = Requests()
    responses = stub.duplex_call(iter(requests), timeout=10)
    for size_out, size_in in zip(SIZES_OUT, SIZES_IN):
        requests.send(output_request(size_out, size_in))
        expect(len(next(responses).payload.body), size_out)
    requests.close()
    expect(list(responses), [])


def empty_stream(stub):
    expect(list(stub.duplex_call(iter([]), timeout=10)), [])


def custom_metadata(stub):
    sent = (("x-grpc-test-echo-initial", "test_initial_metadata_value"),
            ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"))

    def check(call):
        expect(dict(call.initial_metadata()).get(sent[0][0]), sent[0][1])
        expect(dict(call.trailing_metadata()).get(sent[1][0]), sent[1][1])

    request = messages.SimpleRequest(response_size=314159, payload=payload(271828))
    response, call = stub.unary_call.with_call(request, metadata=sent, timeout=10)
    expect(len(response.payload.body), 314159)
    check(call)
    call = stub.duplex_call(iter([output_request(314159, 271828)]), metadata=sent, timeout=10)
    expect([len(response.payload.body) for response in call], [314159])
    check(call)


def status_code_and_message(stub):
    status = messages.EchoStatus(code=2, message="test status message")
    expect_error(lambda: stub.unary_call(messages.SimpleRequest(response_status=status), timeout=10),
                 grpc.StatusCode.UNKNOWN, status.message)
    request = messages.StreamingOutputCallRequest(response_status=status)
    expect_error(lambda: list(stub.duplex_call(iter([request]), timeout=10)),
                 grpc.StatusCode.UNKNOWN, status.message)


def special_status_message(stub):
    status = messages.EchoStatus(code=2, message=SPECIAL_TEXT)
    expect_error(lambda: stub.unary_call(messages.SimpleRequest(response_status=status), timeout=10),
                 grpc.StatusCode.UNKNOWN, SPECIAL_TEXT)


def unimplemented_method(stub):
    expect_error(lambda: stub.unimplemented_call(messages.Empty(), timeout=10), grpc.StatusCode.UNIMPLEMENTED)


def unimplemented_service(stub):
    expect_error(lambda: stub.unimplemented_service(messages.Empty(), timeout=10), grpc.StatusCode.UNIMPLEMENTED)


def cancel_after_begin(stub):
    requests = Requests()
    call = stub.input_call.future(iter(requests), timeout=10)
    call.cancel()
    requests.close()
    expect(call.code(), grpc.StatusCode.CANCELLED)


def cancel_after_first_response(stub):
    requests = Requests()
    call = stub.duplex_call(iter(requests), timeout=10)
    requests.send(output_request(31415, 27182))
    expect(len(next(call).payload.body), 31415)
    call.cancel()
    expect_error(lambda: next(call), grpc.StatusCode.CANCELLED)
    requests.close()


def timeout_on_sleeping_server(stub):
    requests = Requests()
    call = stub.duplex_call(iter(requests), timeout=0.001)
    requests.send(messages.StreamingOutputCallRequest(payload=payload(27182)))
    expect_error(lambda: next(call), grpc.StatusCode.DEADLINE_EXCEEDED)
    requests.close()


CASES = [
    empty_unary, large_unary, compressed_unary, client_streaming, server_streaming, ping_pong, empty_stream, custom_metadata,
    status_code_and_message, special_status_message, unimplemented_method, unimplemented_service,
    cancel_after_begin, cancel_after_first_response, timeout_on_sleeping_server,
]


def main():
    names = sys.argv[2:]
    with subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        failed = 0
        port = server.stdout.readline().strip()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = Stub(channel)
            for case in CASES:
                if names and case.__name__ not in names:
                    continue
                started = time.monotonic()
                try:
                    case(stub)
                    print(f"{case.__name__}: ok, {1000 * (time.monotonic() - started):.0f} ms", flush=True)
                except (AssertionError, grpc.RpcError, StopIteration) as error:
                    print(f"{case.__name__}: {error}", flush=True)
                    failed += 1
        server.stdin.close()
        code = server.wait(timeout=20)
        if code != 0:
            print(f"the server ended with {code}")
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
