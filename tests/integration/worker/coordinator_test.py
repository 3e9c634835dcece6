"""The worker process against the real coordinator, whose parts are killed under it.

    coordinator_test.py PROGRAM...      (musterctl, muster-worker and the others)
"""

import json
import sys
import unittest

import process
from coordinator import PROGRAMS, Coordinator
from process import wait_until


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
