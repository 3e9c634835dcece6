"""Links whose other side has fallen silent without a word, and as many links as a gateway takes.

    link_limits_test.py PROGRAM...      (musterctl, muster-worker and the others)
"""

import json
import socket
import sys
import threading
import time

sys.path[:0] = ["tests/integration/link", "tests/integration/worker"]

import link_test
import process
from coordinator import Coordinator
from process import wait_until


class Relay:
    """Leads to a coordinator. When it is silenced the connections that are there stay open, and nothing comes through
    them any more, as when a router on the way has forgotten them; new ones pass."""

    def __init__(self, coordinator):
        self.coordinator = coordinator
        self.silence = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
                server = socket.create_connection((self.coordinator.host, self.coordinator.port))
            except OSError:
                return
            self.sockets += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self.pass_on, args=(source, target, self.silence), daemon=True).start()

    @staticmethod
    def pass_on(source, target, silence):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if not silence.is_set():
                    target.sendall(data)
            if not silence.is_set():
                target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def fall_silent(self):
        self.silence.set()
        self.silence = threading.Event()

    def close(self):
        for one in [self.listener, *self.sockets]:
            one.close()


class Silence(link_test.Case):
    environment = {}

    def setUp(self):
        self.service = link_test.Server()
        self.addCleanup(self.service.server_close)
        self.addCleanup(self.service.shutdown)
        self.coordinator = Coordinator(environment=self.environment)
        self.addCleanup(self.coordinator.stop)
        self.relay = Relay(self.coordinator)
        self.addCleanup(self.relay.close)

    def start_behind_relay(self, worker_id, *flags):
        return link_test.Case.start_worker(self, worker_id, "--coordinator-url", self.relay.url, *flags)


class TheCoordinatorIsSilent(Silence):
    environment = {"WEBSOCKET_PING_SECONDS": "1000"}

    def test_the_worker_opens_another_link(self):
        worker = self.start_behind_relay("far", "--link-ping-seconds", "0.5")
        time.sleep(3)
        self.assertNotIn("is silent", worker.log(), "one that answers pings is not")
        self.relay.fall_silent()
        wait_until(lambda: "the coordinator is silent" in worker.log(), "the worker notices", 30)
        wait_until(lambda: self.serves("/service/files/tag/1"), "it serves again", 30)
        self.assertEqual(self.metric("gateway_links"), 1, "the new one takes the place of the old one")


class TheWorkerIsSilent(Silence):
    environment = {"WEBSOCKET_PING_SECONDS": "0.5"}

    def test_its_requests_go_to_another_one(self):
        self.start_behind_relay("far", "--link-ping-seconds", "1000")
        time.sleep(3)
        self.assertEqual(self.metric("gateway_links"), 1, "one that answers pings is not")
        self.start_worker("near")
        wait_until(lambda: self.metric("gateway_links") == 2, "both have theirs")
        self.relay.fall_silent()
        served = set()
        for _ in range(12):
            status, headers, _ = self.get("/service/files/tag/1")
            self.assertEqual(status, 200)
            served.add(headers["X-Served-By"])
        self.assertEqual(served, {"near"})
        wait_until(lambda: self.metric("gateway_links") == 1, "the silent one is cut off", 30)


class AsManyAsThereMayBe(Silence):
    environment = {"LINKS_MAX": "2"}

    def open(self, number, expected):
        connection, status = link_test.handshake(self.coordinator, secret="%064x" % number)
        self.addCleanup(connection.close)
        self.assertEqual(status, expected)
        return connection

    def test_one_more_is_refused_until_another_one_goes(self):
        first, second = self.open(1, 101), self.open(2, 101)
        refused = self.open(3, 503)
        body = refused.recv(4096)
        self.assertEqual(json.loads(body)["error"], "too_many_connections")
        self.assertIn("--links-max", json.loads(body)["message"])
        self.open(2, 101)  # in the place of the one of the same name
        worker = self.start_worker("far", wait=False)
        wait_until(lambda: "--links-max" in worker.log(), "it is told why it has to wait", 30)
        self.assertIsNone(self.coordinator.worker("far"))
        first.close()
        wait_until(lambda: self.serves("/service/files/tag/1"), "there is room for it", 60)
        self.assertEqual(self.metric("gateway_links"), 2)
        self.open(4, 503)


if __name__ == "__main__":
    process.main(sys.modules[__name__])
