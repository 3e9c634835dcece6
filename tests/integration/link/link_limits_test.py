"""Links whose other side has fallen silent without a word, as many links as a gateway takes, and several gateways.

    link_limits_test.py PROGRAM...      (musterctl, muster-worker and the others)
"""

import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time

sys.path[:0] = ["tests/integration/link", "tests/integration/worker"]

import link_test
import process
from coordinator import PROGRAMS, Coordinator
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


class SeveralGateways(link_test.Case):
    """Two gateways of one coordinator behind one address, Muster's own load balancer: one of them has the link."""

    def start_gateway(self, *flags):
        read_end, write_end = os.pipe()
        os.set_inheritable(write_end, True)
        gateway = subprocess.Popen([PROGRAMS["muster-gateway"], "--port", "0", "--ready-fd", str(write_end), *flags],
                                   pass_fds=[write_end], stderr=subprocess.DEVNULL)
        self.addCleanup(gateway.wait)
        self.addCleanup(gateway.kill)
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            return "http://" + ready.readline().strip()

    def ask_balancer(self, method="GET", path="/service/files/tag/1"):
        connection = http.client.HTTPConnection(self.balancer[len("http://"):], timeout=30)
        connection.request(method, path, body=b"body" if method == "POST" else None)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def test_requests_find_the_one_that_has_the_link(self):
        with open(os.path.join(self.coordinator.data, "processes.json")) as file:
            parts = {p["name"][len("muster-"):]: p["address"] for p in json.load(file)["processes"]}
        addresses = ["--%s-address=%s" % (name, parts[name]) for name in ("registry", "assigner", "health", "router")]
        second = self.start_gateway(*addresses)
        self.balancer = self.start_gateway("--role", "load-balancer", "--upstreams",
                                           "%s,%s" % (self.coordinator.url, second))
        worker = self.start_worker("far", "--coordinator-url", self.balancer, wait=False)
        wait_until(lambda: self.ask_balancer() == (200, b"/tag/1"), "requests reach it", 30)
        self.assertTrue(self.url_of("far").startswith(self.balancer + "/link/"))
        digest = hashlib.sha256(b"body").hexdigest().encode()
        for _ in range(20):
            self.assertEqual(self.ask_balancer(), (200, b"/tag/1"))
            self.assertEqual(self.ask_balancer("POST", "/service/files/digest"), (200, digest))
        self.assertEqual(worker.stop(), 0)

    def test_a_gateway_that_keeps_no_links_says_so(self):
        proxy = self.start_gateway("--role", "edge-proxy", "--coordinator-url", self.coordinator.url)
        worker = self.start_worker("far", "--coordinator-url", proxy, wait=False)
        wait_until(lambda: "it keeps no links" in worker.log(), "the worker is told", 30)
        self.assertIsNone(self.coordinator.worker("far"))


if __name__ == "__main__":
    process.main(sys.modules[__name__])
