"""The worker process against a coordinator that is not ours: registration, heartbeats by
stream and by HTTP, services, the ways to stop.

    worker_test.py MUSTER_WORKER PROTOSET
"""

import hashlib
import http.server
import json
import os
import queue
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import fake_coordinator
import process
from process import wait_until

BINARY, PROTOSET = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
MESSAGES = fake_coordinator.load_messages(PROTOSET)
ONLINE, DRAINING = 1, 3
REGISTER_AGAIN, STALE_INCARNATION, ASSIGNMENT, DRAIN, UNDRAIN = 1, 2, 3, 4, 5


def dead_address():
    """A port that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % s.getsockname()[1]


class Case(unittest.TestCase):
    def setUp(self):
        self.incarnation = 0
        self.stream = None
        self.assigned = ["document-processing"]
        self.configs = []
        self.interval = 30
        self.rest = fake_coordinator.Rest()
        self.addCleanup(lambda: self.rest.stop())
        self.serve_rest(self.rest)

    def serve_rest(self, rest):
        rest.answers[("GET", "/health")] = lambda path, body: (200, {"status": "healthy"})
        rest.answers[("POST", "/api/worker/register")] = self.register
        rest.answers[("POST", "/api/worker/heartbeat")] = lambda path, body: (200, {"status": "ok"})
        rest.answers[("DELETE", "/api/worker/unregister/")] = lambda path, body: (200, {"status": "ok"})

    def register(self, path, body):
        self.incarnation += 1
        answer = {"status": "registered", "worker_id": body["worker_id"], "worker_type": "cpu", "tier": 2,
                  "assigned_services": self.assigned, "service_configs": self.configs,
                  "heartbeat_interval": self.interval, "incarnation": self.incarnation, "message": ""}
        if self.stream:
            answer["heartbeat_stream"] = self.stream
        return 200, answer

    def start_health(self, **named):
        health = fake_coordinator.Health(MESSAGES, **named)
        self.addCleanup(health.stop)
        self.stream = health.address
        return health

    def start_worker(self, *flags, url=None, **named):
        worker = process.Worker(BINARY, url or self.rest.url, *flags, **named)
        self.addCleanup(worker.kill)
        return worker

    def command(self, kind, worker_id, sequence=0, **more):
        return MESSAGES.WorkerCommand(type=kind, worker_id=worker_id, sequence=sequence, **more)


class Registration(Case):
    def test_says_what_the_machine_is(self):
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, "nvidia-smi")
            with open(script, "w") as out:
                out.write("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 24564, 37'\n")
            os.chmod(script, 0o755)
            self.start_worker("--worker-id", "gpu-1", "--location", "uk", "--worker-type", "auto",
                              "--service", "ocr=http://127.0.0.1:1",
                              environment={"PATH": folder + ":" + os.environ["PATH"]})
            _, _, body = self.rest.next("POST", "/api/worker/register")
        self.assertEqual(body["worker_id"], "gpu-1")
        self.assertEqual(body["worker_type"], "auto")
        self.assertEqual(body["location"], "uk")
        self.assertRegex(body["tunnel_url"], r"^http://127\.0\.0\.1:\d+$")
        capabilities = body["capabilities"]
        self.assertIs(capabilities["has_gpu"], True)
        self.assertEqual(capabilities["gpu_type"], "NVIDIA GeForce RTX 4090")
        self.assertEqual(capabilities["gpu_memory"], "24 GB")
        self.assertGreaterEqual(capabilities["cpu_cores"], 1)
        self.assertRegex(capabilities["ram"], r"^[0-9.]+[MGT]B$")
        self.assertIs(capabilities["has_edge"], capabilities["has_public_ip"],
                      "a coordinator on the same machine says nothing")
        self.assertGreater(capabilities["latency_ms"], 0)
        self.assertEqual([s["name"] for s in body["services"]], ["ocr", "document-processing"])
        self.assertEqual(body["services"][0]["url"], body["tunnel_url"] + "/service/ocr")

    def test_makes_up_an_id_that_stays_and_tries_until_the_coordinator_is_there(self):
        self.rest.answers[("POST", "/api/worker/register")] = lambda path, body: (503, {"message": "later"})
        worker = self.start_worker()
        first = self.rest.next("POST", "/api/worker/register")[2]["worker_id"]
        self.assertIn(socket.gethostname(), first)
        self.assertEqual(worker.health()["membership"], "registering")
        self.rest.answers[("POST", "/api/worker/register")] = self.register
        self.assertEqual(self.rest.next("POST", "/api/worker/register")[2]["worker_id"], first)
        wait_until(lambda: worker.health()["membership"] == "registered", "registered")

    def test_a_coordinator_that_comes_later_is_found(self):
        address = dead_address()
        worker = self.start_worker(url="http://" + address)
        wait_until(lambda: "registration failed" in worker.log(), "a failure in the log")
        rest = fake_coordinator.Rest(int(address.split(":")[1]))
        self.addCleanup(rest.stop)
        self.serve_rest(rest)
        rest.next("POST", "/api/worker/register")

    def test_a_refusal_is_explained_and_the_worker_lives(self):
        self.rest.answers[("POST", "/api/worker/register")] = lambda path, body: (
            422, {"error": "invalid", "message": "tunnel_url must be https"})
        worker = self.start_worker()
        wait_until(lambda: "tunnel_url must be https" in worker.log(), "the reason in the log")
        self.assertIsNone(worker.process.poll())

    def test_answers_that_are_none_are_survived(self):
        answers = [[], {"worker_id": "x", "incarnation": "y"}, {"worker_id": "bad id\r\n"}]
        self.rest.answers[("POST", "/api/worker/register")] = lambda path, body: (
            (200, answers.pop()) if answers else self.register(path, body))
        worker = self.start_worker()
        while answers:
            self.rest.next("POST", "/api/worker/register", timeout=60)
        self.rest.next("POST", "/api/worker/register", timeout=60)
        wait_until(lambda: worker.health()["membership"] == "registered", "registered")


class Https(Case):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.certificate = os.path.join(folder.name, "certificate.pem")
        key = os.path.join(folder.name, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", self.certificate, "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.rest.stop()
        self.rest = fake_coordinator.Rest(tls=context)
        self.serve_rest(self.rest)

    def test_a_certificate_that_is_trusted(self):
        worker = self.start_worker("--ca-file", self.certificate, "--heartbeat-interval-seconds", "0.2")
        for _ in range(3):
            self.rest.next("POST", "/api/worker/heartbeat")
        self.assertEqual(worker.stop(), 0)
        self.rest.next("DELETE", "/api/worker/unregister/")

    def test_a_certificate_that_is_not(self):
        worker = self.start_worker()
        wait_until(lambda: "certificate" in worker.log(), "the log says why")
        self.assertFalse(self.rest.history)


class HttpHeartbeats(Case):
    interval_flags = ("--heartbeat-interval-seconds", "0.2")

    def test_carry_load_and_states_of_services(self):
        self.assigned = ["document-processing", "notes-coa"]
        worker = self.start_worker("--worker-id", "cpu-1", *self.interval_flags)
        for _ in range(3):
            _, _, body = self.rest.next("POST", "/api/worker/heartbeat")
        self.assertEqual(body["worker_id"], "cpu-1")
        self.assertEqual(body["incarnation"], 1)
        self.assertEqual(body["status"], "healthy")
        self.assertGreaterEqual(body["current_load"], 0)
        self.assertLessEqual(body["current_load"], 1)
        self.assertRegex(body["available_memory"], r"^[0-9.]+[MGT]B$")
        self.assertEqual(body["services_status"], {"document-processing": "running", "notes-coa": "unavailable"})
        self.assertEqual(body["tasks_completed"], 0)
        worker.request("POST", "/api/document-processing", body=b"x")
        wait_until(lambda: self.rest.next("POST", "/api/worker/heartbeat")[2]["tasks_completed"] == 1, "a task")

    def test_404_registers_again(self):
        worker = self.start_worker(*self.interval_flags)
        self.rest.next("POST", "/api/worker/heartbeat")
        self.rest.answers[("POST", "/api/worker/heartbeat")] = lambda path, body: (
            (404, {"error": "unknown_worker"}) if body["incarnation"] == 1 else (200, {"status": "ok"}))
        self.rest.forget()
        self.rest.next("POST", "/api/worker/register")
        wait_until(lambda: self.rest.next("POST", "/api/worker/heartbeat")[2]["incarnation"] == 2, "incarnation 2")
        self.assertEqual(worker.health()["incarnation"], 2)

    def test_a_new_assignment_is_taken(self):
        worker = self.start_worker(*self.interval_flags)
        self.rest.answers[("POST", "/api/worker/heartbeat")] = lambda path, body: (
            200, {"status": "ok", "assigned_services": ["ner-extraction"]})
        wait_until(lambda: worker.health()["assigned_services"] == ["ner-extraction"], "the assignment")

    def test_a_lost_answer_is_said_to_be_missed_until_one_comes(self):
        self.start_worker(*self.interval_flags)
        self.assertFalse(self.rest.next("POST", "/api/worker/heartbeat")[2]["answer_missed"])
        self.rest.answers[("POST", "/api/worker/heartbeat")] = lambda path, body: (200, None)
        wait_until(lambda: self.rest.next("POST", "/api/worker/heartbeat")[2]["answer_missed"], "says so")
        self.rest.answers[("POST", "/api/worker/heartbeat")] = lambda path, body: (200, {"status": "ok"})
        wait_until(lambda: not self.rest.next("POST", "/api/worker/heartbeat")[2]["answer_missed"], "has one")

    def test_a_coordinator_that_asks_for_it_is_left_alone(self):
        self.rest.headers["Retry-After"] = "300"
        self.rest.answers[("POST", "/api/worker/register")] = lambda path, body: (429, {"message": "later"})
        worker = self.start_worker()
        wait_until(lambda: "registration failed" in worker.log(), "a failure in the log")
        self.rest.forget()
        time.sleep(2)
        self.assertTrue(self.rest.requests.empty(), "without the header it comes back within a second")
        self.assertEqual(worker.stop(), 0)

    def test_409_goes_quiet(self):
        worker = self.start_worker(*self.interval_flags)
        self.rest.answers[("POST", "/api/worker/heartbeat")] = lambda path, body: (409, {"error": "stale_incarnation"})
        wait_until(lambda: "another process registered this worker's id" in worker.log(), "the conflict in the log")
        self.rest.forget()
        time.sleep(1)
        self.assertTrue(self.rest.requests.empty(), "it waits before it says anything again")
        self.assertIsNone(worker.process.poll())
        self.assertEqual(worker.stop(), 0)
        self.assertNotIn("DELETE", [request[0] for request in self.rest.history],
                         "the id is another one's: it must not be unregistered")

    def test_a_coordinator_that_was_killed_is_found_again(self):
        worker = self.start_worker(*self.interval_flags)
        self.rest.next("POST", "/api/worker/heartbeat")
        port = self.rest.port
        self.rest.stop()
        wait_until(lambda: "heartbeat failed" in worker.log(), "a failure in the log")
        self.rest = fake_coordinator.Rest(port)
        self.serve_rest(self.rest)
        self.rest.next("POST", "/api/worker/heartbeat")


class SeveralCoordinators(Case):
    """`rest` is the first one; others are started at need."""

    def setUp(self):
        super().setUp()
        self.interval = 0.2
        self.named = {}

    def register(self, path, body):
        status, answer = super().register(path, body)
        return status, {**answer, **self.named}

    def start_rest(self):
        rest = fake_coordinator.Rest()
        self.addCleanup(rest.stop)
        self.serve_rest(rest)
        return rest

    def moved_to(self, worker, rest, seconds=20):
        rest.next("POST", "/api/worker/register", seconds)
        rest.next("POST", "/api/worker/heartbeat")
        wait_until(lambda: worker.health()["membership"] == "registered", "it is registered")
        self.assertEqual(worker.health()["coordinator"], rest.url)

    def test_a_list_whose_first_is_dead_from_the_start(self):
        worker = self.start_worker(url="http://%s, %s/" % (dead_address(), self.rest.url))
        self.moved_to(worker, self.rest)

    def test_one_that_refuses_is_passed_over(self):
        second = self.start_rest()
        self.rest.answers[("POST", "/api/worker/register")] = lambda path, body: (403, {"message": "not here"})
        worker = self.start_worker(url=self.rest.url + "," + second.url)
        self.moved_to(worker, second)
        self.assertIn("not here", worker.log())

    def test_is_registered_at_the_second_when_the_first_is_killed_and_at_the_first_when_the_second_is(self):
        second = self.start_rest()
        worker = self.start_worker(url=self.rest.url + "," + second.url)
        self.moved_to(worker, self.rest)
        port = self.rest.port
        self.rest.stop()
        self.moved_to(worker, second)
        self.assertNotIn("registration failed", worker.log(), "the lost one is not asked first")
        self.rest = fake_coordinator.Rest(port)
        self.serve_rest(self.rest)
        second.stop()
        self.moved_to(worker, self.rest)

    def test_a_stream_that_breaks_with_its_coordinator_is_opened_at_the_next(self):
        second = self.start_rest()
        health = self.start_health()
        worker = self.start_worker(url=self.rest.url + "," + second.url)
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "it is streamed")
        self.start_health()
        self.rest.stop()
        health.stop()
        second.next("POST", "/api/worker/register")
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "it is streamed again")
        self.assertEqual(worker.health()["coordinator"], second.url)

    def test_a_stream_alone_keeps_a_worker(self):
        second = self.start_rest()
        health = self.start_health()
        worker = self.start_worker(url=self.rest.url + "," + second.url)
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "it is streamed")
        self.rest.stop()
        health.forget()
        for _ in range(20):
            health.next()
        self.assertEqual(second.history, [])

    def test_fallbacks_come_before_the_list_and_nonsense_among_them_is_ignored(self):
        second, third = self.start_rest(), self.start_rest()
        self.named = {"fallback_coordinators": [7, "", "ftp://x", "http://", "nonsense", "http://" + dead_address(),
                                                third.url]}
        worker = self.start_worker(url=self.rest.url + "," + second.url)
        self.moved_to(worker, self.rest)
        self.rest.stop()
        self.moved_to(worker, third)
        self.assertEqual(second.history, [])

    def test_heartbeats_go_straight_to_who_took_it(self):
        home = self.start_rest()
        self.named = {"coordinator": {"id": "home", "url": home.url}, "fallback_coordinators": [self.rest.url]}
        worker = self.start_worker()
        self.rest.next("POST", "/api/worker/register")
        for _ in range(5):
            home.next("POST", "/api/worker/heartbeat")
        self.assertEqual([method + path for method, path, _ in self.rest.history], ["POST/api/worker/register"])
        self.assertEqual(worker.health()["coordinator"], home.url)
        # It dies, and whom we registered with does not know where the worker is: it is to take it again.
        self.named = {}
        self.rest.answers[("POST", "/api/worker/heartbeat")] = lambda path, body: (
            (200, {"status": "ok"}) if self.incarnation > 1 else (404, {"message": "whose?"}))
        home.stop()
        self.moved_to(worker, self.rest)
        worker.stop()
        self.assertEqual(self.rest.history[-1][0], "DELETE")

    def test_heartbeats_go_the_way_of_the_registration_while_there_is_no_other(self):
        stranger = fake_coordinator.Rest()  # answers 404 to everything
        self.addCleanup(stranger.stop)
        for url in ("http://" + dead_address(), stranger.url):
            self.named = {"coordinator": {"id": "home", "url": url}}
            self.rest.forget()
            worker = self.start_worker()
            self.rest.next("POST", "/api/worker/register")
            for _ in range(5):
                self.assertEqual(self.rest.next("POST", "/api/worker/")[1], "/api/worker/heartbeat")
            worker.kill = lambda: None
            self.assertEqual(worker.stop(), 0)

    def test_one_alone_is_waited_for(self):
        worker = self.start_worker()
        self.moved_to(worker, self.rest)
        self.rest.stop()
        wait_until(lambda: worker.log().count("heartbeat failed") >= 4, "it fails")
        self.assertEqual(worker.health()["membership"], "registered")
        self.assertNotIn("is lost", worker.log())


class Stream(Case):
    def test_a_foreign_server_reads_every_field(self):
        health = self.start_health()
        worker = self.start_worker("--worker-id", "cpu-1")
        number, message, metadata = health.next()
        self.assertEqual(message.sequence, 1)
        self.assertFalse(message.relayed)
        self.assertEqual(len(message.heartbeats), 1)
        beat = message.heartbeats[0]
        self.assertEqual(beat.worker_id, "cpu-1")
        self.assertEqual(beat.incarnation, 1)
        self.assertEqual(beat.status, ONLINE)
        self.assertTrue(0 <= beat.load.current_load <= 1)
        self.assertRegex(beat.load.available_memory, r"^[0-9.]+[MGT]B$")
        self.assertEqual([(s.name, s.state) for s in beat.load.services_status], [("document-processing", "running")])
        self.assertTrue(metadata["user-agent"].startswith("grpc-c"))
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "the stream is used")
        self.assertFalse([r for r in self.rest.history if r[1] == "/api/worker/heartbeat"], "no need of HTTP")

    def test_beats_every_interval_on_one_stream(self):
        health = self.start_health()
        self.start_worker("--heartbeat-interval-seconds", "0.1")
        seen = [health.next() for _ in range(20)]
        self.assertEqual([message.sequence for _, message, _ in seen], list(range(1, 21)))
        self.assertEqual({number for number, _, _ in seen}, {1})

    def test_falls_back_to_http_and_returns(self):
        address = dead_address()
        self.stream = address
        worker = self.start_worker("--heartbeat-interval-seconds", "0.2")
        for _ in range(3):
            self.rest.next("POST", "/api/worker/heartbeat")
        self.assertEqual(worker.health()["heartbeats"], "http")
        self.assertEqual(worker.log().count("heartbeat stream cannot be reached"), 1, "said, and not again and again")
        health = self.start_health(port=int(address.split(":")[1]))
        health.next(timeout=60)
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "back on the stream")
        wait_until(lambda: health.next()[1].sequence >= 3, "beats on the stream")

    def test_a_stream_that_breaks_is_made_up_for_at_once(self):
        health = self.start_health()
        worker = self.start_worker()
        health.next()
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "the stream is used")
        port = health.port
        health.stop()
        # The interval is 30 s: this one is because of the break.
        self.assertEqual(self.rest.next("POST", "/api/worker/heartbeat", timeout=10)[2]["incarnation"], 1)
        again = self.start_health(port=port)
        again.next(timeout=60)
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "back on the stream")

    def test_a_server_that_takes_and_never_answers_is_not_believed(self):
        health = self.start_health(answer=lambda message: None)
        worker = self.start_worker("--heartbeat-interval-seconds", "0.2")
        health.next()
        for _ in range(3):
            self.rest.next("POST", "/api/worker/heartbeat")
        self.assertEqual(worker.health()["heartbeats"], "http")

    def test_something_else_at_the_address_is_survived(self):
        self.stream = self.rest.url[len("http://"):]
        worker = self.start_worker("--heartbeat-interval-seconds", "0.2")
        for _ in range(5):
            self.rest.next("POST", "/api/worker/heartbeat")
        self.assertEqual(worker.health()["heartbeats"], "http")

    def test_registers_again_when_told_and_keeps_the_stream(self):
        health = self.start_health()
        told = []

        def answer(message):
            response = health.acknowledge(message)
            if message.heartbeats[0].incarnation == 1:
                told.append(message.sequence)
                response.commands.append(self.command(REGISTER_AGAIN, "w", message.sequence))
            return response

        health.answer = answer
        self.start_worker("--worker-id", "w")
        self.rest.next("POST", "/api/worker/register")
        self.rest.next("POST", "/api/worker/register")
        wait_until(lambda: health.next()[1].heartbeats[0].incarnation == 2, "incarnation 2")
        self.assertEqual(health.streams, 1)
        self.assertTrue(told)

    def test_assignment_drain_and_undrain(self):
        health = self.start_health()
        worker = self.start_worker("--worker-id", "w")
        health.next()
        health.push[1].put(MESSAGES.HeartbeatResponse(commands=[
            self.command(ASSIGNMENT, "somebody-else", assigned_services=["wrong"]),
            self.command(ASSIGNMENT, "w", assigned_services=["ocr", "notes-coa"]),
            self.command(99, "w")]))
        wait_until(lambda: worker.health()["assigned_services"] == ["ocr", "notes-coa"], "the assignment")
        health.push[1].put(MESSAGES.HeartbeatResponse(commands=[self.command(DRAIN, "w", reason="maintenance")]))
        wait_until(lambda: health.next()[1].heartbeats[0].status == DRAINING, "says that it drains")
        self.assertEqual(worker.health()["membership"], "draining")
        health.push[1].put(MESSAGES.HeartbeatResponse(commands=[self.command(UNDRAIN, "w")]))
        wait_until(lambda: health.next()[1].heartbeats[0].status == ONLINE, "says that it is back")

    def test_stale_incarnation_goes_quiet(self):
        health = self.start_health()
        health.answer = lambda message: MESSAGES.HeartbeatResponse(
            acknowledged_sequence=message.sequence,
            commands=[self.command(STALE_INCARNATION, "w", message.sequence)])
        worker = self.start_worker("--worker-id", "w")
        wait_until(lambda: "another process registered this worker's id" in worker.log(), "the conflict in the log")
        self.assertEqual(worker.health()["heartbeats"], "none")

    def test_a_peer_that_is_silent_is_given_up(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        self.stream = "127.0.0.1:%d" % listener.getsockname()[1]
        worker = self.start_worker("--heartbeat-interval-seconds", "0.5")
        first, _ = listener.accept()
        self.addCleanup(first.close)
        wait_until(lambda: "no sign of life" in worker.log(), "the connection is given up", 60)
        second, _ = listener.accept()
        second.close()
        self.rest.next("POST", "/api/worker/heartbeat")

    def test_garbage_from_the_server_is_survived(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def misbehave():
            replies = [b"HTTP/1.1 400 Bad Request\r\n\r\n", os.urandom(4096), b"",
                       b"\0\0\0\4\0\0\0\0\0" + b"\0\0\xff\x01\x04\0\0\0\x01" + b"\xff" * 255]
            while True:
                try:
                    connection, _ = listener.accept()
                    connection.sendall(replies[0])
                    replies.append(replies.pop(0))
                    connection.close()
                except OSError:
                    return

        threading.Thread(target=misbehave, daemon=True).start()
        self.stream = "127.0.0.1:%d" % listener.getsockname()[1]
        worker = self.start_worker("--heartbeat-interval-seconds", "0.2")
        for _ in range(10):
            self.rest.next("POST", "/api/worker/heartbeat")
        self.assertIsNone(worker.process.poll())


class Echo:
    """A local service: tells what it was asked."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while True:
                        size = int(self.rfile.readline(), 16)
                        body += self.rfile.read(size)
                        self.rfile.readline()
                        if size == 0:
                            break
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if "/stream" in self.path:
                    self.send_response(200)
                    self.send_header("Content-Type", "text/event-stream")
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for i in range(3):
                        self.wfile.write(b"9\r\ndata: %d\n\n\r\n" % i)
                        self.wfile.flush()
                        gate.wait(10)
                    self.wfile.write(b"0\r\n\r\n")
                    return
                data = json.dumps({"method": self.command, "path": self.path, "bytes": len(body),
                                   "sha256": hashlib.sha256(body).hexdigest()}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *arguments):
                pass

        self.gate = gate = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Services(Case):
    def start_echo(self):
        echo = Echo()
        self.addCleanup(echo.stop)
        return echo

    def test_document_processing_counts_what_it_gets(self):
        worker = self.start_worker("--worker-id", "doc-1")
        text = b"one two\nthree\n" * 100000
        for path in ("/api/document-processing", "/api/service/document-processing", "/service/document-processing/x"):
            status, headers, body = worker.request("POST", path, body=text)
            self.assertEqual(status, 200)
            self.assertEqual(headers["X-Served-By"], "doc-1")
            self.assertEqual(json.loads(body), {
                "bytes": len(text), "lines": 200000, "words": 300000,
                "sha256": hashlib.sha256(text).hexdigest(), "worker_id": "doc-1"})
        status, headers, _ = worker.request("GET", "/api/document-processing")
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        for method in ("POST", "DELETE"):
            status, headers, _ = worker.request(method, "/health", body=b"{}")
            self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))

    def test_a_document_of_any_length_takes_no_memory(self):
        worker = self.start_worker()
        piece, count = b"word \n" * 10000, 2000

        def resident_kb():
            with open("/proc/%d/status" % worker.process.pid) as status:
                return int(next(l for l in status if l.startswith("VmHWM")).split()[1])

        worker.request("POST", "/api/document-processing", body=piece)
        before = resident_kb()
        status, _, body = worker.request("POST", "/api/document-processing", body=(piece for _ in range(count)),
                                         chunked=True, headers={"Transfer-Encoding": "chunked"})
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(body)["bytes"], len(piece) * count)
        self.assertLess(resident_kb() - before, 4096)

    def test_the_demonstration_can_be_turned_off(self):
        worker = self.start_worker("--demo=false")
        self.assertEqual(worker.request("POST", "/api/document-processing", body=b"x")[0], 404)
        self.assertEqual(self.rest.next("POST", "/api/worker/register")[2]["services"], [])

    def test_a_url_is_relayed_to_with_path_query_and_body(self):
        echo = self.start_echo()
        self.assigned = ["vision-ocr"]
        self.configs = [{"name": "vision-ocr", "port": 8104, "priority": 1, "aliases": ["ocr"]}]
        worker = self.start_worker("--service", "vision-ocr=" + echo.url + "/base")
        wait_until(lambda: worker.service_state("vision-ocr") == "running", "the service is seen")
        wait_until(lambda: worker.health()["membership"] == "registered", "registered")
        body = os.urandom(3000000)
        digest = hashlib.sha256(body).hexdigest()
        for path, expected in (("/api/vision-ocr", "/base/api/vision-ocr"),
                               ("/api/vision-ocr/a%20b?x=1&y=%2F", "/base/api/vision-ocr/a%20b?x=1&y=%2F"),
                               ("/api/ocr/scan", "/base/api/ocr/scan"),
                               ("/api/service/ocr/scan?q", "/base/api/ocr/scan?q"),
                               ("/service/vision-ocr/v1/models", "/base/v1/models"),
                               ("/service/ocr?x", "/base/?x")):
            status, headers, answer = worker.request("POST", path, body=body)
            self.assertEqual(status, 200, path)
            answer = json.loads(answer)
            self.assertEqual(answer["path"], expected)
            self.assertEqual((answer["method"], answer["sha256"]), ("POST", digest))
            self.assertIn("X-Served-By", headers)
        for method in ("GET", "DELETE"):
            self.assertEqual(json.loads(worker.request(method, "/api/ocr")[2])["method"], method)

    def test_answers_stream_through_as_they_come(self):
        echo = self.start_echo()
        worker = self.start_worker("--service", "ocr=" + echo.url)
        wait_until(lambda: worker.service_state("ocr") == "running", "the service is seen")
        with socket.create_connection((worker.host, worker.port), timeout=20) as s:
            s.sendall(b"GET /api/ocr/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            seen = b""
            while b"data: 0\n\n" not in seen:
                piece = s.recv(4096)
                self.assertTrue(piece)
                seen += piece
            self.assertNotIn(b"data: 1", seen, "the service waits for us")
            echo.gate.set()
            while True:
                piece = s.recv(4096)
                if not piece:
                    break
                seen += piece
        self.assertIn(b"data: 2\n\n", seen)

    def test_a_service_that_is_not_there_is_said_to_be_and_noticed_when_it_comes(self):
        self.stream = None
        address = dead_address()
        worker = self.start_worker("--service", "ocr=http://" + address, "--heartbeat-interval-seconds", "0.2")
        wait_until(lambda: worker.service_state("ocr") == "failed", "it failed")
        status, headers, body = worker.request("GET", "/api/ocr")
        self.assertEqual((status, json.loads(body)["error"]), (503, "service_unavailable"))
        self.assertIn("Retry-After", headers)
        wait_until(lambda: self.rest.next("POST", "/api/worker/heartbeat")[2]["services_status"].get("ocr") == "failed",
                   "heartbeats say so")
        server = http.server.HTTPServer(("127.0.0.1", int(address.split(":")[1])), http.server.SimpleHTTPRequestHandler)
        self.addCleanup(server.server_close)
        wait_until(lambda: worker.service_state("ocr") == "running", "it is seen")

    def test_errors_are_those_of_the_contract(self):
        self.assigned = ["notes-coa"]
        worker = self.start_worker()
        wait_until(lambda: worker.health()["membership"] == "registered", "registered")
        for path, expected, code in (("/api/nothing", 404, "unknown_service"), ("/", 404, "unknown_service"),
                                     ("/api/notes-coa", 503, "service_unavailable"),
                                     ("/api/service/notes-coa/x", 503, "service_unavailable")):
            status, _, body = worker.request("POST", path, body=b"{}")
            answer = json.loads(body)
            self.assertEqual((status, answer["error"]), (expected, code), path)
            self.assertEqual(answer["message"], answer["detail"])

    def test_requests_over_the_limit_are_refused(self):
        worker = self.start_worker("--max-requests", "1")
        with socket.create_connection((worker.host, worker.port)) as busy:
            busy.sendall(b"POST /api/document-processing HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
            wait_until(lambda: worker.health()["load"]["active_requests"] == 1, "a request is active")
            status, headers, body = worker.request("POST", "/api/document-processing", body=b"x")
            self.assertEqual((status, json.loads(body)["error"]), (503, "worker_busy"))
            self.assertIn("Retry-After", headers)
        wait_until(lambda: worker.request("POST", "/api/document-processing", body=b"x")[0] == 200, "room again")


STAND_IN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cloudflared.py")
CONNECTED = "INF Registered tunnel connection connIndex=0 connection=1 event=0 ip=198.51.100.1 location=lhr01 protocol=quic"
LIMITED = ["INF Requesting new quick Tunnel on trycloudflare.com...",
           'ERR Error unmarshaling QuickTunnel response: error code: 1015 error="invalid character" '
           'status_code="429 Too Many Requests"',
           'failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": 429']


def quick(name, connected=True):
    return ["INF Requesting new quick Tunnel on trycloudflare.com...", "INF +" + "-" * 60 + "+",
            "INF |  Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):  |",
            "INF |  https://%s.trycloudflare.com  |" % name, "INF +" + "-" * 60 + "+"] + ([CONNECTED] if connected else [])


class Tunnel(Case):
    def start_with(self, runs, *flags, **named):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        program = os.path.join(self.folder, "it's cloudflared")
        shutil.copy(STAND_IN, program)
        os.chmod(program, 0o755)
        with open(os.path.join(self.folder, "runs"), "w") as file:
            json.dump(runs, file)
        return self.start_worker("--tunnel", "cloudflared", "--cloudflared", program, *flags, **named)

    def calls(self):
        try:
            with open(os.path.join(self.folder, "calls")) as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def registered_at(self):
        return self.rest.next("POST", "/api/worker/register")[2]["tunnel_url"]

    def test_registers_at_the_url_and_at_the_next_one(self):
        worker = self.start_with([(quick("one-two"), None), (quick("three"), None)], "--service", "ocr=http://127.0.0.1:1")
        body = self.rest.next("POST", "/api/worker/register")[2]
        self.assertEqual(body["tunnel_url"], "https://one-two.trycloudflare.com")
        self.assertIn("https://one-two.trycloudflare.com/service/ocr", [s["url"] for s in body["services"]])
        pid, arguments, token = self.calls()[0]
        self.assertEqual(arguments, ["tunnel", "--no-autoupdate", "--url", worker.url])
        self.assertIsNone(token)
        wait_until(lambda: worker.health()["membership"] == "registered", "registered")
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.registered_at(), "https://three.trycloudflare.com")
        self.assertEqual(worker.stop(), 0)
        self.assertTrue(Commands.gone(self, self.calls()[1][0]))

    def test_commands_that_speak_of_the_url_are_started_again_when_it_changes(self):
        self.assigned = ["web"]
        said = tempfile.NamedTemporaryFile("r")
        self.addCleanup(said.close)
        command = ("=echo %s {url} >> " + said.name +
                   "; exec /usr/bin/python3 -m http.server {port} --bind 127.0.0.1")
        self.start_with([(quick("one"), None), (quick("two"), None)], "--run", "own" + command % "own", "--run-assigned",
                        "web" + command % "web", "--run", "deaf=echo deaf >> " + said.name +
                        "; exec /usr/bin/python3 -m http.server {port} --bind 127.0.0.1")

        def lines():
            said.seek(0)
            return said.read().splitlines()

        at = "%s https://%s.trycloudflare.com"
        wait_until(lambda: at % ("web", "one") in lines() and at % ("own", "one") in lines(), "they know it")
        os.kill(self.calls()[0][0], signal.SIGKILL)
        wait_until(lambda: at % ("web", "two") in lines() and at % ("own", "two") in lines(), "and the next one", 60)
        self.assertEqual(lines().count("deaf"), 1, "one that does not speak of it goes on")

    def test_the_same_url_again_is_no_news(self):
        worker = self.start_with([(quick("same"), None)], "--heartbeat-interval-seconds", "0.2")
        self.assertEqual(self.registered_at(), "https://same.trycloudflare.com")
        os.kill(self.calls()[0][0], signal.SIGKILL)
        wait_until(lambda: worker.log().count("INF Registered") >= 2, "it is back")
        with self.assertRaises(queue.Empty):
            self.rest.next("POST", "/api/worker/register", timeout=1)

    def test_a_version_that_does_not_say_that_it_is_connected(self):
        self.start_with([(quick("silent", connected=False), None)])
        self.assertEqual(self.registered_at(), "https://silent.trycloudflare.com")

    def test_without_a_tunnel_there_is_no_registration(self):
        worker = self.start_with([(LIMITED, 1), (LIMITED, 1), (quick("late"), None)])
        self.assertEqual(self.registered_at(), "https://late.trycloudflare.com", "not the API's")
        self.assertEqual(len(self.calls()), 3)
        self.assertIn("no more quick tunnels for a while", worker.log())

    def test_one_that_says_no_url_is_started_again(self):
        worker = self.start_with([([CONNECTED], None), (quick("second"), None)], "--tunnel-timeout-seconds", "1")
        self.assertEqual(self.registered_at(), "https://second.trycloudflare.com")
        self.assertIn("is started again", worker.log())

    def test_a_program_that_is_not_there(self):
        worker = self.start_worker("--tunnel", "cloudflared", "--cloudflared", "/nowhere/cloudflared")
        wait_until(lambda: "not found" in worker.log(), "the log says so")
        self.assertEqual(worker.stop(), 0)

    def test_a_named_tunnel(self):
        self.start_with([([CONNECTED], None)], "--tunnel-url", "https://gpu.example.com",
                        environment={"TUNNEL_TOKEN": "se'cret", "PATH": os.environ["PATH"]})
        self.assertEqual(self.registered_at(), "https://gpu.example.com")
        self.assertEqual(self.calls()[0][1:], [["tunnel", "--no-autoupdate", "run"], "se'cret"])

    def test_a_named_tunnel_with_its_credentials_file(self):
        file = tempfile.NamedTemporaryFile("w", suffix=".json")
        self.addCleanup(file.close)
        tunnel_id = "6ff42ae2-765d-4adf-8112-31c55c1551ef"
        json.dump({"AccountTag": "0a1b", "TunnelSecret": "AQID", "TunnelID": tunnel_id}, file)
        file.flush()
        worker = self.start_with([([CONNECTED], None)], "--tunnel-url", "https://gpu.example.com",
                                 "--tunnel-credentials", file.name)
        self.assertEqual(self.registered_at(), "https://gpu.example.com")
        self.assertEqual(self.calls()[0][1:], [["tunnel", "--no-autoupdate", "run", "--credentials-file", file.name,
                                                "--url", worker.url, tunnel_id], None])

    def test_it_does_not_survive_a_worker_that_is_killed(self):
        worker = self.start_with([(quick("one"), None)])
        self.registered_at()
        worker.process.kill()
        wait_until(lambda: Commands.gone(self, self.calls()[0][0]), "it is gone")

    def test_settings_that_make_no_sense(self):
        for flags, word in ((("--tunnel", "ngrok"), "give cloudflared"),
                            (("--tunnel-token", "x"), "named tunnel"),
                            (("--tunnel", "cloudflared", "--tunnel-token", "x"), "named tunnel"),
                            (("--tunnel", "cloudflared", "--tunnel-credentials", "x"), "named tunnel"),
                            (("--tunnel-token", "x", "--tunnel-credentials", "x"), "leave one of them out"),
                            (("--tunnel", "cloudflared", "--tunnel-url", "https://x"), "leave one of them out")):
            answer = subprocess.run([BINARY, *flags], capture_output=True, text=True, timeout=30)
            self.assertEqual(answer.returncode, 2, flags)
            self.assertIn(word, answer.stderr)

    def test_credentials_that_are_none(self):
        with tempfile.NamedTemporaryFile("w") as file:
            for text, word in (('{"TunnelID": "--config=/etc/passwd-and-so-on-and-on"}', "no credentials file"),
                               ("{", "no credentials file"), (None, "cannot be read")):
                file.truncate(0)
                file.seek(0)
                file.write(text or "")
                file.flush()
                answer = subprocess.run([BINARY, "--port", "0", "--tunnel", "cloudflared", "--tunnel-url", "https://x",
                                         "--tunnel-credentials", file.name if text else "/nowhere"],
                                        capture_output=True, text=True, timeout=30)
                self.assertEqual(answer.returncode, 1)
                self.assertIn(word, answer.stderr)


class Commands(Case):
    SERVER = ("--run", "web=exec /usr/bin/python3 -m http.server {port} --bind 127.0.0.1")

    def child_of(self, worker):
        with open("/proc/%d/task/%d/children" % (worker.process.pid, worker.process.pid)) as children:
            ids = children.read().split()
        return int(ids[0]) if ids else None

    def gone(self, pid):
        try:
            with open("/proc/%d/stat" % pid) as file:
                return file.read().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    def test_runs_serves_and_restarts(self):
        worker = self.start_worker(*self.SERVER, "--heartbeat-interval-seconds", "0.2")
        self.assertIn("web", [s["name"] for s in self.rest.next("POST", "/api/worker/register")[2]["services"]])
        wait_until(lambda: worker.service_state("web") == "running", "it runs")
        self.assertEqual(worker.request("GET", "/service/web/")[0], 200)
        first = self.child_of(worker)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: self.rest.next("POST", "/api/worker/heartbeat")[2]["services_status"]["web"] == "failed",
                   "heartbeats say that it failed")
        wait_until(lambda: worker.service_state("web") == "running", "it runs again")
        self.assertNotEqual(self.child_of(worker), first)
        self.assertEqual(worker.request("GET", "/service/web/")[0], 200)
        self.assertEqual(worker.stop(), 0)

    def test_what_is_run_on_demand_runs_while_it_is_assigned(self):
        health = self.start_health()
        self.assigned = ["other"]
        worker = self.start_worker("--run-assigned", self.SERVER[1], "--worker-id", "w-1",
                                   "--heartbeat-interval-seconds", "0.2")
        registration = self.rest.next("POST", "/api/worker/register")[2]
        self.assertNotIn("web", [s["name"] for s in registration["services"]], "it is not announced")
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "on the stream")
        self.assertNotIn("web", worker.health()["services"])
        self.assertIsNone(self.child_of(worker))

        def assign(*names):
            health.push[1].put(MESSAGES.HeartbeatResponse(
                commands=[self.command(ASSIGNMENT, "w-1", assigned_services=list(names))]))

        assign("web")
        wait_until(lambda: worker.service_state("web") == "running", "it runs")
        self.assertEqual(worker.request("GET", "/service/web/")[0], 200)
        first = self.child_of(worker)
        # Taken away and given back at once: it goes on.
        assign("other")
        assign("web")
        wait_until(lambda: worker.health()["assigned_services"] == ["web"], "assigned again")
        # Taken away: it still answers for a while, then it goes, and nothing is left of it.
        assign("other")
        wait_until(lambda: worker.health()["assigned_services"] == ["other"], "not assigned any more")
        self.assertEqual(self.child_of(worker), first)
        self.assertEqual(worker.request("GET", "/service/web/")[0], 200, "requests that are on their way are served")
        wait_until(lambda: self.child_of(worker) is None, "it was stopped", 30)
        wait_until(lambda: "web" not in worker.health()["services"], "it is not spoken of")
        self.assertTrue(self.gone(first))
        assign("web")
        wait_until(lambda: worker.service_state("web") == "running", "it runs again")
        self.assertEqual(worker.stop(), 0)

    def test_a_request_keeps_what_is_run_on_demand_until_it_is_over(self):
        health = self.start_health()
        self.assigned = ["slow"]
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "slow.py")
            with open(source, "w") as file:
                file.write("""import http.server, os, sys, time
class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while not os.path.exists(%r):
            time.sleep(0.05)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Slow).serve_forever()
""" % os.path.join(folder, "go"))
            worker = self.start_worker("--run-assigned", "slow=exec /usr/bin/python3 %s {port}" % source,
                                       "--worker-id", "w-1")
            wait_until(lambda: worker.service_state("slow") == "running", "it runs")
            wait_until(lambda: worker.health()["heartbeats"] == "stream", "on the stream")
            answers = []
            asking = threading.Thread(target=lambda: answers.append(worker.request("GET", "/service/slow/")))
            asking.start()
            wait_until(lambda: worker.health()["load"]["active_requests"] == 1, "a request is active")
            health.push[1].put(MESSAGES.HeartbeatResponse(
                commands=[self.command(ASSIGNMENT, "w-1", assigned_services=[])]))
            wait_until(lambda: worker.health()["assigned_services"] == [], "taken away")
            time.sleep(7)  # longer than it lingers without a request
            self.assertIsNotNone(self.child_of(worker))
            open(os.path.join(folder, "go"), "w").close()
            asking.join()
            self.assertEqual((answers[0][0], answers[0][2]), (200, b"done"))
            wait_until(lambda: self.child_of(worker) is None, "it was stopped", 30)
            self.assertEqual(worker.stop(), 0)

    def test_what_cannot_run_is_failed_and_tried_again(self):
        worker = self.start_worker("--run", "bad=exit 7 # {port}")
        wait_until(lambda: worker.log().count("service ended") >= 3, "tried again and again")
        self.assertIn("code=7", worker.log())
        wait_until(lambda: worker.service_state("bad") == "failed", "failed")

    def test_a_whole_group_is_stopped_with_the_worker(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "grandchild")
            worker = self.start_worker(
                "--run", "web=sleep 1000 & echo $! > %s; /usr/bin/python3 -m http.server {port} --bind 127.0.0.1" % path)
            wait_until(lambda: worker.service_state("web") == "running", "it runs")
            grandchild = int(wait_until(lambda: open(path).read().strip(), "the grandchild's id"))
            self.assertEqual(worker.stop(), 0)

            wait_until(lambda: self.gone(grandchild), "the grandchild is gone")

    def test_nothing_survives_a_worker_that_is_killed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "server")
            worker = self.start_worker(
                "--run", "web=/usr/bin/python3 -m http.server {port} --bind 127.0.0.1 & echo $! > %s; wait" % path)
            wait_until(lambda: worker.service_state("web") == "running", "it runs")
            server = int(open(path).read())
            worker.process.kill()
            wait_until(lambda: self.gone(server), "the server is gone")

    def test_a_program_may_end_in_its_own_time(self):
        program = """
import http.server, signal, sys, time
def end(*_):
    time.sleep(0.5)
    open(sys.argv[2], "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
        with tempfile.TemporaryDirectory() as folder:
            source, mark = os.path.join(folder, "program.py"), os.path.join(folder, "ended")
            with open(source, "w") as file:
                file.write(program)
            worker = self.start_worker("--run", "web=cd / && /usr/bin/python3 %s {port} %s" % (source, mark))
            wait_until(lambda: worker.service_state("web") == "running", "it runs")
            self.assertEqual(worker.stop(), 0)
            self.assertTrue(os.path.exists(mark))

    def test_what_a_dead_program_left_behind_is_killed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "grandchild")
            worker = self.start_worker("--run", "web=test -e %s || { sleep 1000 & echo $! > %s; }; exit 1 # {port}"
                                       % (path, path))
            grandchild = int(wait_until(lambda: os.path.exists(path) and open(path).read().strip(), "the id"))
            wait_until(lambda: worker.log().count("service ended") >= 2, "started again")
            wait_until(lambda: self.gone(grandchild), "the grandchild is gone")

    def test_one_that_ignores_sigterm_is_killed(self):
        worker = self.start_worker(
            "--run", "web=trap '' TERM; while :; do /usr/bin/python3 -m http.server {port} --bind 127.0.0.1; done")
        wait_until(lambda: worker.service_state("web") == "running", "it runs")
        self.assertEqual(worker.stop(), 0)


class Stopping(Case):
    def test_sigterm_drains_unregisters_and_exits(self):
        health = self.start_health()
        worker = self.start_worker("--worker-id", "id~1/w")
        health.next()
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "the stream is used")
        with socket.create_connection((worker.host, worker.port), timeout=20) as busy:
            busy.sendall(b"POST /api/document-processing HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf")
            wait_until(lambda: worker.health()["load"]["active_requests"] == 1, "a request is active")
            worker.process.send_signal(signal.SIGTERM)
            wait_until(lambda: health.next()[1].heartbeats[0].status == DRAINING, "says that it drains")
            self.assertFalse([r for r in self.rest.history if r[0] == "DELETE"], "a request is active")
            self.assertEqual(worker.request("POST", "/api/document-processing", body=b"x")[0], 200,
                             "requests that are on their way are still taken")
            busy.sendall(b" ful")
            answer = b""
            while b"sha256" not in answer:
                piece = busy.recv(4096)
                self.assertTrue(piece, "the request in flight is finished")
                answer += piece
        self.assertEqual(self.rest.next("DELETE", "/api/worker/unregister/")[1], "/api/worker/unregister/id~1%2Fw")
        self.assertEqual(worker.process.wait(timeout=20), 0)

    def test_sigterm_while_the_coordinator_is_away(self):
        worker = self.start_worker(url="http://" + dead_address())
        self.assertEqual(worker.stop(), 0)

    def test_sigterm_when_the_coordinator_went_away(self):
        worker = self.start_worker()
        wait_until(lambda: worker.health()["membership"] == "registered", "registered")
        self.rest.stop()
        self.rest.stop = lambda: None
        self.assertEqual(worker.stop(), 0)

    def test_a_second_sigterm_does_not_wait_for_requests(self):
        worker = self.start_worker("--drain-timeout-seconds", "1000")
        wait_until(lambda: worker.health()["membership"] == "registered", "registered")
        with socket.create_connection((worker.host, worker.port)) as busy:
            busy.sendall(b"POST /api/document-processing HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf")
            wait_until(lambda: worker.health()["load"]["active_requests"] == 1, "a request is active")
            worker.process.send_signal(signal.SIGTERM)
            wait_until(lambda: worker.health()["membership"] == "draining", "draining")
            worker.process.send_signal(signal.SIGTERM)
            self.rest.next("DELETE", "/api/worker/unregister/")
            wait_until(lambda: "unregistered" in worker.log(), "unregistered")
            worker.process.send_signal(signal.SIGTERM)
            self.assertEqual(worker.process.wait(timeout=20), 0)


class BadStarts(unittest.TestCase):
    def refused(self, *flags):
        done = subprocess.run([BINARY, *flags], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        lines = done.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith("muster-worker: "), lines)
        return done.returncode, lines[0]

    def test_settings_that_make_no_sense(self):
        for flags, hint in ((["--worker-type", "quantum"], "auto, gpu, cpu, storage or edge"),
                            (["--coordinator-url", "ftp://x"], "http://HOST:PORT"),
                            (["--coordinator-url", ""], "http://HOST:PORT"),
                            (["--coordinator-url", "http://127.0.0.1:1,nonsense"], "'nonsense': give the coordinator"),
                            (["--coordinator-url", "http://127.0.0.1:1,"], "with commas between them"),
                            (["--coordinator-url", ",".join(["http://127.0.0.1:1"] * 9)], "at most 8 URLs"),
                            (["--tunnel-url", "nonsense"], "http or https"),
                            (["--service", "ocr"], "NAME=URL"),
                            (["--service", "o/c=http://x"], "NAME=URL"),
                            (["--service", "ocr=ftp://x"], "http://HOST:PORT"),
                            (["--service", "ocr=http://x", "--run", "ocr=x {port}"], "given twice"),
                            (["--run", "ocr=x {port}", "--run-assigned", "ocr=x {port}"], "given twice"),
                            (["--run-assigned", "ocr=x"], "--run-assigned ocr: the command must say {port}"),
                            (["--run", "ocr=server"], "{port}"),
                            (["--worker-id", "x" * 257], "256"),
                            (["--worker-id", "a b"], "no spaces"),
                            (["--ready-fd", "999"], "no such descriptor")):
            code, line = self.refused("--port", "0", *flags)
            self.assertEqual(code, 2, line)
            self.assertIn(hint, line)

    def test_a_port_that_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            code, line = self.refused("--port", port)
        self.assertEqual(code, 1)
        self.assertIn(port, line)


if __name__ == "__main__":
    process.main(sys.modules["__main__"])
