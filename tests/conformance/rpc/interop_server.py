"""A foreign server for gRPC's interoperability cases: Python's grpcio.

    interop_server.py CLIENT_BINARY [CASE...]

Serves grpc.testing.TestService on a free port and runs the client against it; exits as
the client does.
"""

import subprocess
import sys
import time
from concurrent import futures

import grpc

from grpc_testing_messages import messages

HEADER_KEY = "x-grpc-test-echo-initial"
TRAILER_KEY = "x-grpc-test-echo-trailing-bin"


def echo_metadata(context):
    metadata = dict(context.invocation_metadata())
    if HEADER_KEY in metadata:
        context.send_initial_metadata(((HEADER_KEY, metadata[HEADER_KEY]),))
    if TRAILER_KEY in metadata:
        context.set_trailing_metadata(((TRAILER_KEY, metadata[TRAILER_KEY]),))


def end_as_asked(request, context):
    if request.HasField("response_status") and request.response_status.code != 0:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[request.response_status.code], request.response_status.message)


def empty_call(request, context):
    return messages.Empty()


def unary_call(request, context):
    echo_metadata(context)
    end_as_asked(request, context)
    return messages.SimpleResponse(payload=messages.Payload(body=bytes(request.response_size)))


def input_call(requests, context):
    total = sum(len(request.payload.body) for request in requests)
    return messages.StreamingInputCallResponse(aggregated_payload_size=total)


def output_call(request, context):
    end_as_asked(request, context)
    for parameters in request.response_parameters:
        time.sleep(parameters.interval_us / 1e6)
        yield messages.StreamingOutputCallResponse(payload=messages.Payload(body=bytes(parameters.size)))


def duplex_call(requests, context):
    echo_metadata(context)
    for request in requests:
        yield from output_call(request, context)


METHODS = {
    "EmptyCall": (grpc.unary_unary_rpc_method_handler, empty_call, messages.Empty),
    "UnaryCall": (grpc.unary_unary_rpc_method_handler, unary_call, messages.SimpleRequest),
    "StreamingInputCall":
        (grpc.stream_unary_rpc_method_handler, input_call, messages.StreamingInputCallRequest),
    "StreamingOutputCall":
        (grpc.unary_stream_rpc_method_handler, output_call, messages.StreamingOutputCallRequest),
    "FullDuplexCall":
        (grpc.stream_stream_rpc_method_handler, duplex_call, messages.StreamingOutputCallRequest),
}


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.testing.TestService", {
        name: make(behaviour, request_deserializer=request.FromString,
                   response_serializer=lambda response: response.SerializeToString())
        for name, (make, behaviour, request) in METHODS.items()
    }),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    code = subprocess.call([sys.argv[1], f"127.0.0.1:{port}"] + sys.argv[2:], timeout=200)
    server.stop(None).wait()
    return code


if __name__ == "__main__":
    sys.exit(main())
