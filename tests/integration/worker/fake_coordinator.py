"""A coordinator as small as can be: REST by http.server, the heartbeat stream by grpcio.

It records what a worker says and answers what the test wants. The worker's own HTTP/2 and
protobuf code thus speaks to implementations that share nothing with it.
"""

import http.server
import json
import queue
import socket
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def load_messages(protoset_path):
    """Message classes of muster.v1 by name, from a descriptor set."""
    descriptors = descriptor_pb2.FileDescriptorSet()
    with open(protoset_path, "rb") as file:
        descriptors.ParseFromString(file.read())
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    factory = message_factory.MessageFactory(pool)

    class Messages:
        def __getattr__(self, name):
            return factory.GetPrototype(pool.FindMessageTypeByName("muster.v1." + name))

    return Messages()


class Rest:
    """The REST side. `answers` maps (method, path prefix) to a function of (path, body) that
    returns (status, JSON), and may be changed at any time. A JSON of None: no answer at all.
    `headers` go with every answer."""

    def __init__(self, port=0, tls=None):
        self.requests = queue.Queue()
        self.history = []
        self.answers = {}
        self.headers = {}
        self.connections = []
        rest = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                rest.connections.append(self.connection)

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                if self.path != "/health":
                    rest.history.append((self.command, self.path, body))
                    rest.requests.put((self.command, self.path, body))
                status, answer = 404, {"error": "not_found", "message": "nothing here"}
                for (method, prefix), make in list(rest.answers.items()):
                    if method == self.command and self.path.startswith(prefix):
                        status, answer = make(self.path, body)
                if answer is None:
                    self.close_connection = True
                    return
                data = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in rest.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = "http://127.0.0.1:%d" % self.port
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
            self.url = self.url.replace("http", "https")
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def next(self, method, prefix, timeout=20):
        """The next request of this kind; others before it are dropped."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self.requests.get(timeout=max(0.001, deadline - time.monotonic()))
            if seen[0] == method and seen[1].startswith(prefix):
                return seen

    def forget(self):
        while not self.requests.empty():
            self.requests.get()

    def stop(self):
        """As if it was killed: open connections break."""
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Health:
    """The stream of heartbeats. Each message goes into `messages` as (stream number, message,
    metadata); the answer is what `answer(message)` makes, None for none."""

    def __init__(self, messages, port=0, answer=None):
        self.types = messages
        self.messages = queue.Queue()
        self.streams = 0
        self.push = {}
        self.answer = answer or self.acknowledge
        self.server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
        method = grpc.stream_stream_rpc_method_handler(
            self.heartbeat, messages.HeartbeatRequest.FromString,
            messages.HeartbeatResponse.SerializeToString)
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("muster.v1.HealthService", {"Heartbeat": method}),))
        self.port = self.server.add_insecure_port("127.0.0.1:%d" % port)
        assert self.port != 0, "port is taken"
        self.address = "127.0.0.1:%d" % self.port
        self.server.start()

    def acknowledge(self, message):
        return self.types.HeartbeatResponse(acknowledged_sequence=message.sequence)

    def heartbeat(self, requests, context):
        self.streams += 1
        number = self.streams
        out = queue.Queue()
        self.push[number] = out
        metadata = dict(context.invocation_metadata())

        def read():
            try:
                for message in requests:
                    self.messages.put((number, message, metadata))
                    answer = self.answer(message)
                    if answer is not None:
                        out.put(answer)
            except Exception:
                pass
            out.put(None)

        threading.Thread(target=read, daemon=True).start()
        while True:
            answer = out.get()
            if answer is None:
                return
            yield answer

    def next(self, timeout=20):
        return self.messages.get(timeout=timeout)

    def forget(self):
        while not self.messages.empty():
            self.messages.get()

    def stop(self):
        self.server.stop(0).wait()
