"""The worker process against the real coordinator, whose parts are killed under it.

    coordinator_test.py PROGRAM...      (musterctl, muster-worker and the others)
"""

import json
import subprocess
import sys
import threading
import unittest

import process
from coordinator import PROGRAMS, Coordinator
from process import wait_until


# A server whose answers take as long as the path says, in seconds.
SLOW = """import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(self.path.strip("/") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()"""


class Case(unittest.TestCase):
    def setUp(self):
        self.coordinator = Coordinator()
        self.addCleanup(lambda: self.coordinator.stop())

    def start_worker(self, worker_id, *flags):
        worker = process.Worker(PROGRAMS["muster-worker"], self.coordinator.url, "--worker-id", worker_id, *flags)
        self.addCleanup(worker.kill)
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "heartbeats are streamed", 30)
        wait_until(lambda: self.coordinator.status(worker_id) == "online", "it is online", 30)
        return worker

    def serves(self, worker_id):
        try:
            status, headers, _ = self.coordinator.request("POST", "/api/service/document-processing", b"one two")
        except OSError:
            return False
        return status == 200 and headers["X-Served-By"] == worker_id


class SeveralCoordinators(unittest.TestCase):
    def start(self, *flags):
        coordinator = Coordinator(flags=flags)
        self.addCleanup(coordinator.stop)
        return coordinator

    def kill(self, coordinator):
        """Without a goodbye; its parts die with it."""
        coordinator.process.kill()
        coordinator.process.wait()

    def start_worker(self, url):
        worker = process.Worker(PROGRAMS["muster-worker"], url, "--worker-id", "w-1", "--location", "uk",
                                "--heartbeat-interval-seconds", "0.5")
        self.addCleanup(worker.kill)
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "heartbeats are streamed", 30)
        return worker

    def test_a_worker_is_registered_at_the_second_when_the_first_is_killed(self):
        first, second = self.start(), self.start()
        worker = self.start_worker(first.url + "," + second.url)
        self.assertEqual(first.status("w-1"), "online")
        self.assertIsNone(second.worker("w-1"))
        self.kill(first)
        wait_until(lambda: second.status("w-1") == "online", "it is elsewhere")
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "heartbeats are streamed", 30)
        self.assertEqual(worker.health()["coordinator"], second.url)
        wait_until(lambda: second.request("POST", "/api/service/document-processing", b"one two")[0] == 200,
                   "it serves there")
        self.assertEqual(worker.stop(), 0)
        self.assertIsNone(second.worker("w-1"))

    def start_region(self):
        """An edge router, two coordinators that know of each other, and a worker that the first has."""
        edge = self.start("--role", "edge-router")
        uk, us = (self.start("--join", edge.url, "--coordinator-id", name, "--location", name) for name in ("uk", "us"))
        wait_until(lambda: json.loads(edge.request("GET", "/health")[2])["coordinators"] == 2, "both have joined")
        # Each hears of the other with its next heartbeat.
        registration = json.dumps({"worker_id": "asks", "tunnel_url": "http://127.0.0.1:9", "location": "uk"}).encode()
        wait_until(lambda: us.url in json.loads(edge.request("POST", "/api/worker/register", registration)[2])
                   .get("fallback_coordinators", []), "it knows the other one", 60)
        worker = self.start_worker(edge.url)
        self.assertEqual(worker.health()["coordinator"], uk.url)
        self.assertEqual(uk.status("w-1"), "online")
        return edge, uk, us, worker

    def test_a_worker_of_an_edge_router_is_elsewhere_when_its_coordinator_is_killed(self):
        edge, uk, us, worker = self.start_region()
        self.kill(uk)
        wait_until(lambda: us.status("w-1") == "online", "it is elsewhere")
        wait_until(lambda: worker.health()["coordinator"] == us.url, "heartbeats go straight there")
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "heartbeats are streamed", 30)

    def test_a_worker_moves_to_a_coordinator_that_was_named_without_the_edge_router(self):
        edge, uk, us, worker = self.start_region()
        self.kill(edge)
        self.kill(uk)
        wait_until(lambda: us.status("w-1") == "online", "it is elsewhere")
        wait_until(lambda: worker.health()["coordinator"] == us.url, "it knows")


class WithCoordinator(Case):
    def test_the_whole_way(self):
        worker = self.start_worker("w-1", "--location", "uk", "--heartbeat-interval-seconds", "0.5")
        record = self.coordinator.worker("w-1")
        self.assertEqual((record["worker_type"], record["location"], record["incarnation"]), ("cpu", "uk", 1))
        wait_until(lambda: self.coordinator.worker("w-1")["services_status"].get("document-processing") == "running",
                   "the state of its service is known")
        self.assertEqual(record["tunnel_url"], worker.url)
        wait_until(lambda: self.serves("w-1"), "a request is served")
        wait_until(lambda: self.coordinator.worker("w-1")["tasks_completed"] >= 1, "the load is reported")
        # Both ways to name a service reach it, also with a rest.
        for path in ("/service/document-processing/any/thing", "/api/service/upload/x"):
            status, _, body = self.coordinator.request("POST", path, b"one two")
            self.assertEqual((status, json.loads(body)["words"]), (200, 2), path)
        self.assertEqual(worker.stop(), 0)
        self.assertIsNone(self.coordinator.worker("w-1"), "it took itself off the roll")

    def test_drain_and_undrain(self):
        worker = self.start_worker("w-1")
        self.assertEqual(self.coordinator.request("POST", "/api/admin/workers/w-1/drain")[0], 200)
        wait_until(lambda: worker.health()["membership"] == "draining", "the worker was told")
        self.assertEqual(self.coordinator.request("POST", "/api/admin/workers/w-1/undrain")[0], 200)
        wait_until(lambda: worker.health()["membership"] == "registered", "the worker was told")
        wait_until(lambda: self.serves("w-1"), "it serves again")

    def musterctl(self, *arguments):
        return subprocess.run([PROGRAMS["musterctl"], *arguments, "--coordinator-url", self.coordinator.url],
                              capture_output=True, text=True, timeout=60)

    def gap(self, service):
        gaps = json.loads(self.coordinator.request("GET", "/api/admin/gaps")[2])["gaps"]
        return next(gap["status"] for gap in gaps if gap["service"] == service)

    def test_draining_lets_what_runs_finish_and_says_when_it_may_leave(self):
        self.start_worker("w-1", "--run", "slow=exec python3 -c '" + SLOW + "' {port}")
        wait_until(lambda: self.coordinator.request("GET", "/service/slow/0")[0] == 200, "it serves", 30)
        wait_until(lambda: self.gap("document-processing") == "warning", "one worker has it")
        answers = []
        slow = threading.Thread(target=lambda: answers.append(self.coordinator.request("GET", "/service/slow/6")[0]))
        slow.start()
        wait_until(lambda: self.coordinator.worker("w-1")["active_requests"] > 0 or slow.is_alive(), "it is under way")

        impatient = self.musterctl("drain", "w-1", "--wait", "--wait-seconds", "1.5")
        self.assertEqual(impatient.returncode, 3, impatient.stderr)
        self.assertIn("still has requests", impatient.stderr)
        self.assertEqual(self.coordinator.worker("w-1")["status"], "draining")
        wait_until(lambda: self.coordinator.request("GET", "/service/slow/0")[0] == 503, "no new requests")
        wait_until(lambda: self.gap("document-processing") == "critical", "it does not count")
        wait_until(lambda: self.coordinator.worker("w-1")["active_requests"] == 1, "it says what it works on")
        self.assertIs(self.coordinator.worker("w-1")["may_leave"], False)
        self.assertIn("requests that run: 1", self.coordinator.worker("w-1")["status_reason"])

        waited = self.musterctl("drain", "w-1", "--wait")
        self.assertEqual(waited.returncode, 0, waited.stderr)
        self.assertIn("it may leave", waited.stdout)
        slow.join(1)
        self.assertEqual(answers, [200], "the request was answered before")
        self.assertIs(self.coordinator.worker("w-1")["may_leave"], True)

        self.assertEqual(self.musterctl("undrain", "w-1").returncode, 0)
        wait_until(lambda: self.coordinator.request("GET", "/service/slow/0")[0] == 200, "it serves again")
        wait_until(lambda: self.gap("document-processing") == "warning", "it counts again")
        self.assertNotIn("may_leave", self.coordinator.worker("w-1"))
        unknown = self.musterctl("drain", "nobody")
        self.assertEqual(unknown.returncode, 1)
        self.assertIn("nobody", unknown.stderr)

    def test_a_drained_worker_that_heartbeats_over_http_is_told(self):
        spec = {"worker_id": "http", "tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu"}
        beat = lambda **more: json.loads(self.coordinator.request(
            "POST", "/api/worker/heartbeat", json.dumps({"worker_id": "http", **more}).encode())[2])
        self.assertEqual(self.coordinator.request("POST", "/api/worker/register", json.dumps(spec).encode())[0], 200)
        self.assertNotIn("draining", beat(active_requests=2))
        self.assertEqual(self.coordinator.request("POST", "/api/admin/workers/http/drain")[0], 200)
        wait_until(lambda: beat(active_requests=2).get("draining") is True, "it is told")
        self.assertIs(self.coordinator.worker("http")["may_leave"], False)
        wait_until(lambda: "draining" not in beat(active_requests=1, status="draining"), "it has said that it knows")
        self.assertIs(self.coordinator.worker("http")["may_leave"], False)
        beat(active_requests=0, status="draining")
        wait_until(lambda: self.coordinator.worker("http")["may_leave"], "nothing runs")
        self.assertEqual(self.coordinator.request("POST", "/api/admin/workers/http/undrain")[0], 200)
        wait_until(lambda: beat(status="draining").get("draining") is False, "it is told")

    def test_a_killed_worker_leaves_routing_and_the_roll(self):
        self.start_worker("w-2")
        victim = self.start_worker("w-1")
        victim.process.kill()
        wait_until(lambda: self.coordinator.status("w-1") in ("offline", None), "out of routing")
        wait_until(lambda: self.coordinator.worker("w-1") is None, "off the roll")
        self.assertTrue(self.serves("w-2"))

    def test_health_is_killed_and_nobody_is_lost(self):
        worker = self.start_worker("w-1")
        self.coordinator.kill("muster-health")
        wait_until(lambda: "heartbeat stream broke" in worker.log(), "the stream broke")
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "back on the stream", 60)
        wait_until(lambda: self.coordinator.status("w-1") == "online", "online")
        self.assertEqual(self.coordinator.worker("w-1")["incarnation"], 1, "it was never off the roll")

    def test_registry_and_gateway_are_killed_and_nobody_is_lost(self):
        worker = self.start_worker("w-1", "--heartbeat-interval-seconds", "0.5")
        for name in ("muster-registry", "muster-gateway"):
            self.coordinator.kill(name)
            wait_until(lambda: self.serves("w-1"), "requests are served after " + name, 60)
            wait_until(lambda: self.coordinator.status("w-1") == "online", "online after " + name, 60)
        self.assertEqual(worker.health()["incarnation"], 1)

    def test_another_coordinator_at_the_same_address(self):
        worker = self.start_worker("w-1", "--heartbeat-interval-seconds", "0.5")
        port = self.coordinator.port
        self.coordinator.stop()
        self.coordinator = Coordinator(port)
        wait_until(lambda: self.coordinator.status("w-1") == "online", "registered at the new one", 60)
        wait_until(lambda: worker.health()["heartbeats"] == "stream", "on its stream", 60)
        wait_until(lambda: self.serves("w-1"), "it serves")

    def test_two_with_one_id_do_not_fight(self):
        first = self.start_worker("w-1", "--heartbeat-interval-seconds", "0.5")
        second = self.start_worker("w-1", "--heartbeat-interval-seconds", "0.5")
        wait_until(lambda: "another process registered this worker's id" in first.log(), "the first one is told")
        self.assertEqual(first.health()["heartbeats"], "none")
        self.assertEqual(first.stop(), 0)
        self.assertEqual(self.coordinator.worker("w-1")["tunnel_url"], second.url, "the second one is still there")


if __name__ == "__main__":
    process.main(sys.modules["__main__"])
