"""Workers that keep a link to their coordinator instead of an address: what goes through it, and what breaks it.

    link_test.py PROGRAM...      (musterctl, muster-worker and the others)

With LINK_LONG=1 in the environment only what is long by itself: an upload of 1 GB, and a stream of ten minutes.
"""

import base64
import hashlib
import http.client
import http.server
import json
import os
import re
import signal
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, "tests/integration/worker")

import process
from coordinator import PROGRAMS, Coordinator
from process import wait_until

LONG = os.environ.get("LINK_LONG") == "1"
UPLOAD_BYTES = 1 << 30 if LONG else 64 << 20
STREAM_SECONDS = 600 if LONG else 5
TOKEN_SECONDS = 0.1


class Service(http.server.BaseHTTPRequestHandler):
    """What a worker has to offer here: /bytes/N, /slow/SECONDS, /tokens/SECONDS, POST /digest and /tag."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        _, what, value = self.path.split("/")
        if what == "bytes":
            self.answer(b"x" * int(value))
        elif what == "slow":
            time.sleep(float(value))
            self.answer(b"late")
        elif what == "tokens":
            self.tokens(float(value))
        else:
            self.answer(self.path.encode())

    def tokens(self, seconds):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        end = time.monotonic() + seconds
        number = 0
        try:
            while time.monotonic() < end:
                text = b"data: %d\n\n" % number
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                number += 1
                self.server.tokens_sent += 1
                time.sleep(TOKEN_SECONDS)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.broken_off.set()
            self.close_connection = True

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        digest = hashlib.sha256()
        self.server.upload_begun.set()
        while left > 0:
            piece = self.rfile.read(min(left, 1 << 20))
            if not piece:
                self.server.broken_off.set()
                self.close_connection = True
                return
            digest.update(piece)
            left -= len(piece)
        self.answer(digest.hexdigest().encode())


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Service)
        self.broken_off = threading.Event()
        self.upload_begun = threading.Event()
        self.tokens_sent = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server_address[1]


class Case(unittest.TestCase):
    flags = ()
    worker_environment = None

    def setUp(self):
        self.service = Server()
        self.addCleanup(self.service.server_close)
        self.addCleanup(self.service.shutdown)
        self.coordinator = Coordinator(flags=self.flags)
        self.addCleanup(self.coordinator.stop)

    def start_worker(self, worker_id="far", *flags, service="files", wait=True):
        worker = process.Worker(PROGRAMS["muster-worker"], self.coordinator.url, "--worker-id", worker_id, "--tunnel",
                                "link", "--service", "%s=%s" % (service, self.service.url), *flags,
                                environment=self.worker_environment)
        self.addCleanup(worker.kill)
        if wait:
            wait_until(lambda: self.serves("/service/%s/tag/1" % service), "requests reach it", 30)
        return worker

    def connect(self, timeout=60):
        return http.client.HTTPConnection(self.coordinator.host, self.coordinator.port, timeout=timeout)

    def get(self, path, headers=None):
        connection = self.connect()
        try:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def serves(self, path):
        try:
            return self.get(path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def metric(self, name):
        text = self.get("/metrics")[2].decode()
        return float(re.search(r"^%s (\S+)$" % name, text, re.M).group(1))

    def url_of(self, worker_id):
        return self.coordinator.worker(worker_id)["tunnel_url"]


@unittest.skipIf(LONG, "not long")
class Requests(Case):
    def setUp(self):
        super().setUp()
        self.worker = self.start_worker()

    def test_the_url_is_the_coordinators_and_works_for_everybody(self):
        url = self.url_of("far")
        self.assertRegex(url, r"^%s/link/[0-9a-f]{32}$" % self.coordinator.url)
        status, headers, body = self.get(url[len(self.coordinator.url):] + "/service/files/tag/7")
        self.assertEqual((status, body), (200, b"/tag/7"))
        status, headers, body = self.get("/link/%s/health" % ("0" * 32))
        self.assertEqual((status, headers["Muster-Link"], json.loads(body)["error"]), (503, "away", "no_worker"))
        self.assertEqual(self.metric("gateway_links"), 1)
        self.assertGreaterEqual(self.metric("gateway_link_requests_total"), 2)

    def test_sixty_four_at_once_of_all_sizes(self):
        failures = []

        def ask(number):
            try:
                connection = self.connect()
                for turn in range(8):
                    size = (number * 7919 + turn * 104729) % 1500000
                    connection.request("GET", "/service/files/bytes/%d" % size)
                    response = connection.getresponse()
                    body = response.read()
                    if response.status != 200 or body != b"x" * size:
                        failures.append((number, turn, response.status, len(body), size))
                    body = os.urandom(1 + size // 10)
                    connection.request("POST", "/service/files/digest", body=body)
                    response = connection.getresponse()
                    if response.read() != hashlib.sha256(body).hexdigest().encode():
                        failures.append((number, turn, "upload", response.status))
                connection.close()
            except Exception as error:
                failures.append((number, repr(error)))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        self.assertEqual(failures, [])

    def test_who_reads_slowly_stops_nobody_else(self):
        stalled = []
        for _ in range(8):  # of which nobody reads any
            connection = socket.create_connection((self.coordinator.host, self.coordinator.port))
            connection.sendall(b"GET /service/files/bytes/67108864 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            stalled.append(connection)
            self.addCleanup(connection.close)
        time.sleep(1)
        for _ in range(20):
            status, _, body = self.get("/service/files/bytes/300000")
            self.assertEqual((status, len(body)), (200, 300000))
        # What waits for them is bounded, in the worker and in the gateway.
        with open("/proc/%d/status" % self.worker.process.pid) as text:
            resident_kb = int(re.search(r"VmRSS:\s+(\d+)", text.read()).group(1))
        self.assertLess(resident_kb, 200000)  # of 512 MB
        first = stalled[0]
        first.settimeout(30)
        got = 0
        while got < 67108864:
            piece = first.recv(1 << 20)
            self.assertTrue(piece, "the slow one gets everything in the end")
            got += len(piece)

    def test_a_client_that_goes_away_cancels_at_the_service(self):
        connection = self.connect()
        connection.request("GET", "/service/files/tokens/60")
        response = connection.getresponse()
        self.assertTrue(response.readline())
        response.close()
        connection.close()
        self.assertTrue(self.service.broken_off.wait(20))
        wait_until(lambda: self.metric("gateway_link_requests_in_flight") == 0, "none is in the link")

    def test_an_upload_that_is_broken_off_is_broken_off_at_the_service(self):
        connection = socket.create_connection((self.coordinator.host, self.coordinator.port))
        connection.sendall(b"POST /service/files/digest HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
        # One that is broken off on its way there, the service never hears of.
        self.assertTrue(self.service.upload_begun.wait(20))
        connection.close()
        self.assertTrue(self.service.broken_off.wait(20))

    def test_a_service_that_breaks_off_breaks_off_at_the_client(self):
        connection = self.connect()
        connection.request("GET", "/service/files/tokens/60")
        response = connection.getresponse()
        self.assertTrue(response.readline())
        self.worker.process.kill()
        with self.assertRaises((http.client.HTTPException, OSError)):
            while True:
                if not response.read(1):
                    raise OSError("the end, though nobody said so") if response.isclosed() else None
        connection.close()


@unittest.skipIf(LONG, "not long")
class Breaks(Case):
    def test_a_worker_that_is_killed_and_one_that_is_started_again(self):
        worker = self.start_worker()
        first = self.url_of("far")
        failures = []
        done = threading.Event()

        def ask():  # nobody is left hanging
            while not done.is_set():
                began = time.monotonic()
                try:
                    self.get("/service/files/tag/1")
                except (OSError, http.client.HTTPException):
                    pass  # an answer that was under way
                if time.monotonic() - began > 10:
                    failures.append("hung")

        thread = threading.Thread(target=ask)
        thread.start()
        worker.process.kill()
        wait_until(lambda: self.metric("gateway_links") == 0, "the link is gone")
        self.start_worker()
        done.set()
        thread.join(30)
        self.assertEqual(failures, [])
        self.assertNotEqual(self.url_of("far"), first, "the name is the process's")
        status, headers, _ = self.get(first[len(self.coordinator.url):] + "/health")
        self.assertEqual((status, headers["Muster-Link"]), (503, "away"))

    def test_another_worker_takes_over_while_a_link_is_away(self):
        self.start_worker("far-1")
        second = self.start_worker("far-2")
        wait_until(lambda: {self.get("/service/files/tag/1")[1]["X-Served-By"] for _ in range(20)} ==
                   {"far-1", "far-2"}, "both serve", 30)
        second.process.send_signal(signal.SIGKILL)
        for _ in range(50):
            status, headers, body = self.get("/service/files/tag/1")
            self.assertEqual((status, headers["X-Served-By"]), (200, "far-1"), body)

    def test_the_gateway_is_killed_and_comes_back(self):
        worker = self.start_worker()
        url = self.url_of("far")
        self.coordinator.kill("muster-gateway")
        wait_until(lambda: "link is lost" in worker.log(), "the worker notices")
        wait_until(lambda: self.serves("/service/files/tag/1"), "it serves again", 30)
        self.assertEqual(self.url_of("far"), url, "the name stays")

    def test_a_gateway_that_stands_still_for_a_moment_keeps_the_link(self):
        worker = self.start_worker()
        with open(os.path.join(self.coordinator.data, "processes.json")) as file:
            gateway = next(p["pid"] for p in json.load(file)["processes"] if p["name"] == "muster-gateway")
        os.kill(gateway, signal.SIGSTOP)
        time.sleep(2)
        os.kill(gateway, signal.SIGCONT)
        self.assertEqual(self.get("/service/files/tag/1")[0], 200)
        self.assertNotIn("link is lost", worker.log())

    def test_a_worker_that_leaves_finishes_what_it_has(self):
        worker = self.start_worker()
        connection = self.connect()
        connection.request("GET", "/service/files/slow/2")
        wait_until(lambda: self.metric("gateway_link_requests_in_flight") == 1, "it is in the link")
        worker.process.terminate()
        response = connection.getresponse()
        self.assertEqual((response.status, response.read()), (200, b"late"))
        connection.close()
        self.assertEqual(worker.process.wait(30), 0)

    def test_flags_that_contradict_each_other_are_explained(self):
        with self.assertRaisesRegex(AssertionError, "leave one of them out"):
            self.start_worker("far", "--tunnel-url", "http://127.0.0.1:1")


@unittest.skipIf(LONG, "not long")
class Others(Case):
    """Gateways that do not hold the link, and a coordinator that takes over."""

    def test_when_the_coordinator_dies_the_link_leads_to_the_next_one(self):
        second = Coordinator()
        self.addCleanup(second.stop)
        worker = process.Worker(PROGRAMS["muster-worker"], self.coordinator.url + "," + second.url, "--worker-id", "far",
                                "--tunnel", "link", "--service", "files=" + self.service.url)
        self.addCleanup(worker.kill)
        wait_until(lambda: self.serves("/service/files/tag/1"), "it serves at the first one", 30)
        self.coordinator.process.kill()  # without a goodbye; its parts die with it
        self.coordinator.process.wait()
        wait_until(lambda: second.worker("far") is not None, "it registers at the next one", 60)
        self.assertTrue(second.worker("far")["tunnel_url"].startswith(second.url + "/link/"))
        wait_until(lambda: second.request("GET", "/service/files/tag/1")[0] == 200, "it serves there", 30)

    def test_an_edge_proxy_asks_at_the_url(self):
        worker = self.start_worker()
        read_end, write_end = os.pipe()
        os.set_inheritable(write_end, True)
        proxy = subprocess.Popen([PROGRAMS["muster-gateway"], "--role", "edge-proxy", "--port", "0", "--coordinator-url",
                                  self.coordinator.url, "--ready-fd", str(write_end)], pass_fds=[write_end],
                                 stderr=subprocess.DEVNULL)
        self.addCleanup(proxy.wait)
        self.addCleanup(proxy.kill)
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            host, port = ready.readline().strip().rsplit(":", 1)

        def ask():
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            connection.request("GET", "/service/files/tag/2")
            response = connection.getresponse()
            body = response.read()
            connection.close()
            return response.status, response.headers["X-Served-By"], body

        wait_until(lambda: ask()[0] == 200, "it has the list", 30)
        self.assertEqual(ask(), (200, "far", b"/tag/2"))
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(ask()[0], 503)


def handshake(coordinator, path="/ws/link/stranger", secret="0123456789abcdef" * 4, more=""):
    connection = socket.create_connection((coordinator.host, coordinator.port), timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall((
        "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: %s\r\n%s%s\r\n"
        % (path, key, "Muster-Link-Secret: %s\r\n" % secret if secret else "", more)).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(1)
        if not piece:
            break
        head += piece
    return connection, int(head.split()[1])


def read_to_the_end(connection):
    data = b""
    try:
        while True:
            piece = connection.recv(65536)
            if not piece:
                return data
            data += piece
    except ConnectionResetError:
        return data


@unittest.skipIf(LONG, "not long")
class Strangers(Case):
    def test_rubbish_is_cut_off_and_hurts_nobody(self):
        self.start_worker()
        for rubbish, is_judged in (
                (b"\x82\x89" + bytes(4) + b"123456789", True), (b"\x81\x85" + bytes(4) + b"hello", True), (b"\x82\x05hello", True),
                (b"\xff" * 4000, True), (b"\x82\xff" + b"\xff" * 8 + b"\0\0\0\0" + b"x" * 3000, True),
                (os.urandom(5000), False), (b"\x82\xfe", False), (b"", False)):
            connection, status = handshake(self.coordinator)
            self.assertEqual(status, 101)
            connection.sendall(rubbish)
            if is_judged:
                self.assertIsNotNone(read_to_the_end(connection))
            connection.close()
            self.assertEqual(self.get("/service/files/tag/1")[0], 200)
        wait_until(lambda: self.metric("gateway_links") == 1, "theirs are gone")

    def test_what_is_no_secret_opens_no_link(self):
        for secret in ("", "short", "G" * 64, "a" * 63):
            connection, status = handshake(self.coordinator, secret=secret)
            self.assertEqual(status, 400, secret)
            connection.close()

    def test_a_link_of_the_same_name_takes_the_place_of_the_old_one(self):
        first, status = handshake(self.coordinator)
        self.assertEqual(status, 101)
        second, status = handshake(self.coordinator)
        self.assertEqual(status, 101)
        self.assertIn(b"opened another one", read_to_the_end(first))
        self.assertEqual(self.metric("gateway_links"), 1)
        first.close()
        second.close()
        wait_until(lambda: self.metric("gateway_links") == 0, "both are gone")


@unittest.skipIf(LONG, "not long")
class Keys(Case):
    flags = ("--api-key", "the-right-key-0123456789")
    worker_environment = {"API_KEY": "the-right-key-0123456789"}

    def get(self, path, headers=None):
        return super().get(path, {"X-API-Key": "the-right-key-0123456789", **(headers or {})})

    def test_who_has_no_key_or_another_one_opens_no_link(self):
        for more, status in (("", 401), ("X-API-Key: wrong\r\n", 401), ("Authorization: Bearer wrong\r\n", 401),
                             ("X-API-Key: the-right-key-0123456789\r\n", 101)):
            connection, answered = handshake(self.coordinator, more=more)
            self.assertEqual(answered, status, more)
            connection.close()

    def test_a_worker_with_the_wrong_key_is_told(self):
        self.worker_environment = {"API_KEY": "a-wrong-key-0123456789"}
        worker = self.start_worker(wait=False)
        wait_until(lambda: "does not take this worker's link: HTTP 401" in worker.log(), "the reason in its log")

    def test_one_with_the_right_key_serves(self):
        self.start_worker()
        self.assertEqual(self.get("/service/files/tag/1")[2], b"/tag/1")


class Relay:
    """Stands in front of an address: takes TLS off with a context, or is an HTTP proxy that knows CONNECT alone."""

    def __init__(self, address=None, context=None):
        self.address, self.context = address, context
        self.asked_for = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, near):
        try:
            address = self.address
            if self.context is not None:
                near = self.context.wrap_socket(near, server_side=True)
            if address is None:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += near.recv(1)
                method, target, _ = head.split(None, 2)
                self.asked_for.append((method, target))
                host, port = target.decode().rsplit(":", 1)
                address = (host, int(port))
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with near, socket.create_connection(address) as far:
                self.carry(near, far)
        except (OSError, ValueError):
            pass

    @staticmethod
    def carry(near, far):
        while True:
            pending = isinstance(near, ssl.SSLSocket) and near.pending() > 0
            for source in [near] if pending else select.select([near, far], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                (far if source is near else near).sendall(data)


@unittest.skipIf(LONG, "not long")
class Ways(Case):
    """To a coordinator that is reached over TLS, straight and through a proxy."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.certificate = os.path.join(self.folder, "certificate.pem")
        key = os.path.join(self.folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-keyout",
                        key, "-out", self.certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.relay = Relay((self.coordinator.host, self.coordinator.port), context)
        self.addCleanup(self.relay.listener.close)

    def start(self, *flags, environment=None):
        worker = process.Worker(PROGRAMS["muster-worker"], "https://127.0.0.1:%d" % self.relay.port, "--worker-id",
                                "far", "--tunnel", "link", "--service", "files=%s" % self.service.url, *flags,
                                environment=environment)
        self.addCleanup(worker.kill)
        return worker

    def exchange(self):
        wait_until(lambda: self.serves("/service/files/tag/1"), "requests reach it", 30)
        self.assertEqual(len(self.get("/service/files/bytes/5000000")[2]), 5000000)
        body = os.urandom(5000000)
        connection = self.connect()
        connection.request("POST", "/service/files/digest", body=body)
        self.assertEqual(connection.getresponse().read().decode(), hashlib.sha256(body).hexdigest())
        connection.close()

    def test_over_tls(self):
        self.start("--ca-file", self.certificate)
        self.exchange()

    def test_over_tls_through_a_proxy(self):
        proxy = Relay()
        self.addCleanup(proxy.listener.close)
        self.start("--ca-file", self.certificate, environment={"HTTPS_PROXY": "http://127.0.0.1:%d" % proxy.port})
        self.exchange()
        self.assertIn((b"CONNECT", b"127.0.0.1:%d" % self.relay.port), proxy.asked_for)

    def test_a_certificate_that_nobody_vouches_for_is_refused(self):
        worker = self.start()
        wait_until(lambda: "certificate" in worker.log(), "the reason in its log")
        self.assertEqual(self.metric("gateway_links"), 0)


@unittest.skipIf(LONG, "not long")
class Federation(Case):
    """Registered through an edge router, the link is kept to the coordinator that took the worker."""

    flags = ("--role", "edge-router")

    def kill_the_edge_router(self):
        self.coordinator.process.kill()
        self.coordinator.process.wait()

    def join(self, name):
        coordinator = Coordinator(flags=("--join", self.coordinator.url, "--coordinator-id", name, "--location", name))
        self.addCleanup(coordinator.stop)
        wait_until(lambda: any(c["worker_id"] == name and c["in_pool"]
                               for c in json.loads(self.get("/api/admin/coordinators")[2])), "%s joins" % name, 30)
        return coordinator

    def test_the_edge_router_and_a_coordinator_may_die(self):
        uk, us = self.join("uk"), self.join("us")
        self.start_worker("far", "--location", "us", wait=False)

        def is_near(coordinator):
            record = coordinator.worker("far")
            return record is not None and record["tunnel_url"].startswith(coordinator.url + "/link/")

        def serves(coordinator):
            try:
                return coordinator.request("GET", "/service/files/tag/1")[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        wait_until(lambda: is_near(us), "the link goes to the coordinator", 30)
        self.assertIsNone(uk.worker("far"))
        wait_until(lambda: self.serves("/service/files/tag/1"), "it is served through the edge router", 30)
        self.kill_the_edge_router()
        wait_until(lambda: serves(us), "it is served without the edge router", 30)
        us.process.kill()
        us.process.wait()
        wait_until(lambda: is_near(uk) and serves(uk), "it is found at the other coordinator, link and all", 60)


class Long(Case):
    """Shortened unless LINK_LONG=1."""

    def setUp(self):
        super().setUp()
        self.worker = self.start_worker()

    def test_an_upload(self):
        piece = os.urandom(1 << 20)
        digest = hashlib.sha256()
        connection = self.connect(600)
        connection.putrequest("POST", "/service/files/digest")
        connection.putheader("Content-Length", str(UPLOAD_BYTES))
        connection.endheaders()
        for _ in range(UPLOAD_BYTES // len(piece)):
            connection.send(piece)
            digest.update(piece)
        response = connection.getresponse()
        self.assertEqual((response.status, response.read().decode()), (200, digest.hexdigest()))
        connection.close()

    def test_a_stream_of_tokens(self):
        connection = self.connect(60)
        connection.request("GET", "/service/files/tokens/%d" % STREAM_SECONDS)
        response = connection.getresponse()
        count, latest, slowest = 0, time.monotonic(), 0
        while True:
            line = response.readline()
            if not line:
                break
            if line.startswith(b"data: "):
                self.assertEqual(int(line[6:]), count)
                count += 1
                now = time.monotonic()
                slowest, latest = max(slowest, now - latest), now
        connection.close()
        self.assertEqual(count, self.service.tokens_sent)
        self.assertGreater(count, STREAM_SECONDS / TOKEN_SECONDS / 4)
        self.assertLess(slowest, 20, "each token came when it was sent, none waited for others")


if __name__ == "__main__":
    process.main(sys.modules[__name__])
