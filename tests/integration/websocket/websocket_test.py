"""/ws/events, /ws/topology, and upgrades that are relayed, with the websockets package.

    websocket_test.py PROGRAM...      (musterctl, muster-gateway and the others)
"""

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import websockets

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "worker"))
import process  # noqa: E402

PROGRAMS = {os.path.basename(path): os.path.abspath(path) for path in sys.argv[1:]}
PATIENCE = 60


class Coordinator:
    """`musterctl up` with a folder of its own, and a second gateway with settings of its own."""

    def __init__(self, **settings):
        self.folder = tempfile.TemporaryDirectory(prefix="websocket-test-")
        programs = os.path.join(self.folder.name, "bin")
        os.mkdir(programs)
        for name, path in PROGRAMS.items():
            os.symlink(os.path.realpath(path), os.path.join(programs, name))
        self.process = subprocess.Popen(
            [PROGRAMS["musterctl"], "up", "--port", "0", "--grpc-port", "0", "--data-dir",
             os.path.join(self.folder.name, "data"), "--log-dir", os.path.join(self.folder.name, "logs"), "--bin-dir",
             programs, "--start-timeout-seconds", "90"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **settings})
        line = self.process.stdout.readline().split()
        assert line and line[0] == "ready", line
        self.port = int(line[1].rsplit(":", 1)[1])

    def request(self, method, path, body=None, headers=None, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def register(self, worker_id, url="http://127.0.0.1:9", services=(), **fields):
        status, _, body = self.request("POST", "/api/worker/register", {
            "worker_id": worker_id, "tunnel_url": url, "worker_type": "cpu",
            "services": [{"name": name} for name in services], **fields})
        assert status == 200, body

    def unregister(self, worker_id):
        assert self.request("DELETE", "/api/worker/unregister/" + worker_id)[0] == 200

    def log(self, name):
        with open(os.path.join(self.folder.name, "logs", name), errors="replace") as log:
            return log.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.folder.cleanup()


async def read(stream):
    return json.loads(await asyncio.wait_for(stream.recv(), PATIENCE))


async def read_until(stream, **fields):
    """The next message with these members, and those before it."""
    before = []
    while True:
        message = await read(stream)
        if all(message.get(key) == value for key, value in fields.items()):
            return message, before
        before.append(message)


class Shared(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.coordinator = Coordinator()

    @classmethod
    def tearDownClass(cls):
        cls.coordinator.stop()

    def url(self, path):
        return "ws://127.0.0.1:%d%s" % (self.coordinator.port, path)

    def connect(self, path, **options):
        return websockets.connect(self.url(path), open_timeout=PATIENCE, **options)


class Events(Shared):
    async def test_each_change_is_told_in_order(self):
        async with self.connect("/ws/events") as stream:
            first = await read(stream)
            self.assertEqual((first["type"], first["missed"]), ("ready", False))
            await asyncio.to_thread(self.coordinator.register, "told", services=["notes-coa"])
            event, _ = await read_until(stream, type="worker_registered", worker_id="told")
            self.assertEqual(event["worker"]["id"], "told")
            self.assertIn("notes-coa", event["worker"]["services"])
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            await asyncio.to_thread(self.coordinator.request, "POST", "/api/admin/workers/told/drain")
            event, _ = await read_until(stream, type="worker_status", worker_id="told")
            self.assertEqual((event["status"], event["previous_status"]), ("draining", "online"))
            self.assertIn("reason", event)
            await asyncio.to_thread(self.coordinator.unregister, "told")
            last, _ = await read_until(stream, type="worker_unregistered", worker_id="told")
            # Nothing is left out of the sequence.
            async with self.connect("/ws/events?since=%d" % first["revision"]) as again:
                self.assertEqual((await read(again))["type"], "ready")
                revisions = []
                while not revisions or revisions[-1] < last["revision"]:
                    revisions.append((await read(again))["revision"])
                self.assertEqual(revisions, list(range(first["revision"] + 1, last["revision"] + 1)))

    async def test_a_gap_opens_and_closes(self):
        async with self.connect("/ws/events") as stream:
            await read(stream)
            await asyncio.to_thread(self.coordinator.register, "only", services=["minio"])
            event, _ = await read_until(stream, type="gap_closed", service="minio")
            self.assertEqual((event["status"], event["previous_status"], event["current_workers"]),
                             ("warning", "critical", 1))
            await asyncio.to_thread(self.coordinator.register, "second", services=["minio"])
            event, _ = await read_until(stream, type="coverage_changed", service="minio")
            self.assertEqual((event["status"], event["current_workers"]), ("ok", 2))
            await asyncio.to_thread(self.coordinator.register, "only", services=["minio"])
            await asyncio.to_thread(self.coordinator.unregister, "only")
            await asyncio.to_thread(self.coordinator.unregister, "second")
            event, before = await read_until(stream, type="gap_opened", service="minio")
            self.assertEqual(event["current_workers"], 0)
            self.assertEqual([e["type"] for e in before if e.get("service") == "minio"], ["coverage_changed"],
                             "registering again opens no gap")

    async def test_who_was_away_hears_what_was_missed(self):
        async with self.connect("/ws/events") as stream:
            seen = (await read(stream))["revision"]
        await asyncio.to_thread(self.coordinator.register, "missed")
        async with self.connect("/ws/events?since=%d" % seen) as stream:
            self.assertEqual(await read(stream), {"type": "ready", "revision": seen, "missed": False})
            self.assertEqual((await read(stream))["worker_id"], "missed")
        for elsewhere in (1, seen + 1000000):
            async with self.connect("/ws/events?since=%d" % elsewhere) as stream:
                message = await read(stream)
                self.assertEqual((message["type"], message["missed"]), ("reset", True))
                self.assertGreater(message["revision"], seen)
        await asyncio.to_thread(self.coordinator.unregister, "missed")

    async def test_the_topology_comes_first_then_changes(self):
        await asyncio.to_thread(self.coordinator.register, "shown", services=["redis"])
        async with self.connect("/ws/topology") as stream:
            first = await read(stream)
            self.assertEqual((first["type"], first["missed"]), ("topology", False))
            topology = first["topology"]
            self.assertEqual(topology["revision"], first["revision"])
            workers = {worker["id"]: worker for worker in topology["workers"]}
            self.assertIn("redis", workers["shown"]["services"])
            self.assertEqual(workers["shown"]["coordinator"], topology["coordinators"][0]["id"])
            self.assertEqual(topology["coordinators"][0]["workers_count"], len(workers))
            self.assertIn({"from": topology["coordinators"][0]["id"], "to": "shown", "type": "worker", "active": True},
                          topology["connections"])
            self.assertEqual(topology["statistics"]["total_workers"], len(workers))
            await asyncio.to_thread(self.coordinator.unregister, "shown")
            event, _ = await read_until(stream, type="worker_unregistered", worker_id="shown")
            self.assertGreater(event["revision"], first["revision"])
        async with self.connect("/ws/topology?since=%d" % first["revision"]) as stream:
            self.assertEqual((await read(stream))["type"], "ready", "no need to be shown it again")
            self.assertEqual((await read(stream))["revision"], first["revision"] + 1)
        async with self.connect("/ws/topology?since=1") as stream:
            message = await read(stream)
            self.assertEqual((message["type"], message["missed"]), ("topology", True))
        status, _, body = self.coordinator.request("GET", "/api/topology")
        self.assertEqual(status, 200)
        self.assertEqual([w for w in json.loads(body)["workers"] if w["id"] == "shown"], [])

    async def test_what_a_client_sends(self):
        async with self.connect("/ws/events") as stream:
            await read(stream)
            await stream.send("is not asked for, and does no harm")
            await asyncio.wait_for(await stream.ping(b"hello"), PATIENCE)
            await stream.close(code=1000)
            self.assertEqual(stream.close_code, 1000)
        async with self.connect("/ws/events") as stream:
            await read(stream)
            await stream.send("x" * 5000)
            with self.assertRaises(websockets.ConnectionClosed):
                await read(stream)
            self.assertEqual(stream.close_code, 1009)


class Handshakes(Shared):
    GOOD = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}

    def ask(self, path="/ws/events", **changes):
        fields = {**self.GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
        status, headers, body = self.coordinator.request(
            "GET", path, headers={name: value for name, value in fields.items() if value is not None})
        return status, headers, json.loads(body)

    def test_wrong_ones_are_told_what_is_wrong(self):
        for status, code, changes in (
                (426, "upgrade_required", {"Upgrade": None, "Connection": None}),
                (426, "upgrade_required", {"Upgrade": "h2c"}),
                (426, "upgrade_required", {"Sec_WebSocket_Version": "8"}),
                (426, "upgrade_required", {"Sec_WebSocket_Version": None}),
                (400, "invalid_handshake", {"Sec_WebSocket_Key": None}),
                (400, "invalid_handshake", {"Sec_WebSocket_Key": "c2hvcnQ="}),
                (400, "invalid_handshake", {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=A"}),
                (422, "invalid_field", {"path": "/ws/events?since=-1"}),
                (422, "invalid_field", {"path": "/ws/topology?since=yesterday"})):
            with self.subTest(changes=changes):
                got, headers, body = self.ask(**changes)
                self.assertEqual((got, body["error"]), (status, code))
                if status == 426:
                    self.assertEqual((headers["Upgrade"], headers["Sec-WebSocket-Version"]), ("websocket", "13"))
        self.assertEqual(self.coordinator.request("POST", "/ws/events")[0], 405)

    def test_the_accept_of_the_standard(self):
        with socket.create_connection(("127.0.0.1", self.coordinator.port), PATIENCE) as raw:
            raw.sendall(b"GET /ws/events HTTP/1.1\r\nHost: a\r\n" + "".join(
                "%s: %s\r\n" % field for field in self.GOOD.items()).encode() + b"\r\n")
            answer = raw.recv(4096).decode(errors="replace")
        self.assertTrue(answer.startswith("HTTP/1.1 101 "), answer)
        self.assertIn("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", answer)


class OwnGateway(Shared):
    """Settings that the coordinator's own gateway does not have."""

    @contextlib.contextmanager
    def gateway(self, *flags):
        read_end, write_end = os.pipe()
        addresses = self.addresses()
        with tempfile.TemporaryFile() as log:
            child = subprocess.Popen([PROGRAMS["muster-gateway"], "--host", "127.0.0.1", "--port", "0", "--ready-fd",
                                      str(write_end), *addresses, *flags], stderr=log, pass_fds=[write_end])
            os.close(write_end)
            with os.fdopen(read_end) as ready:
                port = int(ready.readline().rsplit(":", 1)[1])

            def text():
                log.seek(0)
                return log.read().decode(errors="replace")

            try:
                yield port, text, child
            finally:
                child.send_signal(signal.SIGTERM)
                child.wait(PATIENCE)

    def addresses(self):
        """Where the coordinator's processes are: what its own gateway was started with."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as file:
                    words = file.read().decode(errors="replace").split("\0")
                with open("/proc/%s/stat" % pid) as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == self.coordinator.process.pid and os.path.basename(words[0]) == "muster-gateway":
                text = "\0".join(words)
                return [word for name in ("registry", "assigner", "health", "router") for word in re.search(
                    "(--%s-address)[=\0]([^\0]*)" % name, text).groups()]
        raise AssertionError("the coordinator has no gateway")

    async def test_origins(self):
        with self.gateway("--allowed-origins", "https://good.example") as (port, _, _):
            url = "ws://127.0.0.1:%d/ws/events" % port
            async with websockets.connect(url, origin="https://good.example") as stream:
                self.assertEqual((await read(stream))["type"], "ready")
            async with websockets.connect(url) as stream:
                self.assertEqual((await read(stream))["type"], "ready", "no page")
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                await websockets.connect(url, origin="https://evil.example")
            self.assertEqual(refused.exception.status_code, 403)

    async def test_a_page_offers_its_key_as_a_subprotocol(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "keys.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"keys": [{"name": "operator", "key": "operator-key-of-the-test", "rights": ["admin"]},
                                    {"name": "page", "key": "client-key-of-the-test", "rights": ["client"]}]}, file)
            with self.gateway("--api-keys", path) as (port, text, _):
                url = "ws://127.0.0.1:%d/ws/events" % port
                async with websockets.connect(
                        url, subprotocols=["muster", "muster.key.operator-key-of-the-test"]) as stream:
                    self.assertEqual(stream.subprotocol, "muster")
                    self.assertEqual((await read(stream))["type"], "ready")
                for key, status in (("client-key-of-the-test", 403), ("no-such-key-at-all", 401)):
                    with self.assertRaises(websockets.InvalidStatusCode) as refused:
                        await websockets.connect(url, subprotocols=["muster", "muster.key." + key])
                    self.assertEqual(refused.exception.status_code, status)
                with self.assertRaises(websockets.InvalidStatusCode) as refused:
                    await websockets.connect(url, subprotocols=["muster"])
                self.assertEqual(refused.exception.status_code, 401)
                self.assertNotIn("key-of-the-test", text())

    async def test_what_nobody_listens_to_is_counted_and_not_kept(self):
        def change(worker_id, port):
            body = {"worker_id": worker_id, "tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu"}
            self.assertEqual(self.coordinator.request("POST", "/api/worker/register", body, port=port)[0], 200)

        with self.gateway() as (port, _, _):
            url = "ws://127.0.0.1:%d/ws/events" % port
            for worker_id in ("unheard-1", "unheard-2"):
                await asyncio.to_thread(change, worker_id, port)
            async with websockets.connect(url) as stream:
                ready = await read(stream)
                self.assertEqual((ready["type"], ready["missed"]), ("ready", False))
                await asyncio.to_thread(change, "heard", port)
                event, before = await read_until(stream, type="worker_registered", worker_id="heard")
                self.assertEqual([e for e in before if e.get("worker_id", "").startswith("unheard")], [])
                self.assertEqual(event["revision"], ready["revision"] + 1 + len(before))
            async with websockets.connect(url + "?since=%d" % (ready["revision"] - 1)) as stream:
                self.assertEqual((await read(stream))["type"], "reset", "nobody was there to keep it for")
            # Who was there is remembered.
            await asyncio.to_thread(change, "missed", port)
            async with websockets.connect(url + "?since=%d" % event["revision"]) as stream:
                self.assertEqual((await read(stream))["type"], "ready")
                await read_until(stream, type="worker_registered", worker_id="missed")

    async def test_limit(self):
        with self.gateway("--websockets-max", "1") as (port, _, _):
            url = "ws://127.0.0.1:%d/ws/events" % port
            async with websockets.connect(url):
                with self.assertRaises(websockets.InvalidStatusCode) as refused:
                    await websockets.connect(url)
                self.assertEqual(refused.exception.status_code, 503)
                self.assertIn("Retry-After", refused.exception.headers)

            async def again():
                while True:
                    try:
                        async with websockets.connect(url) as stream:
                            return await read(stream)
                    except websockets.InvalidStatusCode:
                        await asyncio.sleep(0.05)

            self.assertEqual((await asyncio.wait_for(again(), PATIENCE))["type"], "ready", "the first one has left")

    async def test_pings_keep_a_client_and_silence_loses_it(self):
        with self.gateway("--websocket-ping-seconds", "0.1") as (port, log, _):
            async with websockets.connect("ws://127.0.0.1:%d/ws/events" % port) as stream:
                await read(stream)
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as silent:
                    silent.sendall(b"GET /ws/events HTTP/1.1\r\nHost: a\r\n" + "".join(
                        "%s: %s\r\n" % field for field in Handshakes.GOOD.items()).encode() + b"\r\n")
                    received = b""
                    while piece := await asyncio.to_thread(silent.recv, 65536):
                        received += piece
                self.assertIn(b"\x89\x00", received, "pings")
                self.assertIn(b"\x03\xf0no answer to pings", received, "a close with 1008")
                self.assertIn("no answer to pings", log())
                await asyncio.wait_for(await stream.ping(), PATIENCE)

    async def test_the_gateway_says_that_it_stops(self):
        with self.gateway() as (port, _, child):
            async with websockets.connect("ws://127.0.0.1:%d/ws/events" % port) as stream:
                await read(stream)
                child.send_signal(signal.SIGTERM)
                with self.assertRaises(websockets.ConnectionClosed):
                    await read(stream)
                self.assertEqual(stream.close_code, 1001)

    async def test_a_slow_reader_is_dropped_and_the_others_go_on(self):
        with self.gateway("--http-threads", "1") as (port, log, _):
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.settimeout(PATIENCE)
            slow.connect(("127.0.0.1", port))
            slow.sendall(b"GET /ws/events HTTP/1.1\r\nHost: a\r\n" + "".join(
                "%s: %s\r\n" % field for field in Handshakes.GOOD.items()).encode() + b"\r\n")
            async with websockets.connect("ws://127.0.0.1:%d/ws/events" % port, max_queue=None) as stream:
                await read(stream)

                def make_noise():
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
                    for round in range(140): # fills the sockets, and is more than what is kept
                        connection.request("POST", "/api/worker/register", json.dumps(
                            {"worker_id": "loud", "tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu",
                             "capabilities": {"note": "x" * 200000, "round": round}}))
                        response = connection.getresponse()
                        assert response.status == 200, response.read()
                        response.read()
                    connection.request("DELETE", "/api/worker/unregister/loud")
                    connection.getresponse().read()
                    connection.close()

                noise = asyncio.create_task(asyncio.to_thread(make_noise))
                await read_until(stream, type="worker_unregistered", worker_id="loud")
                await noise
            await asyncio.to_thread(process.wait_until, lambda: "too slow" in log(), "a line in the log", PATIENCE)
            # It reads on, and behind what was sent before it is told why: a close frame, 1008.
            self.assertTrue(await asyncio.to_thread(self.reads, slow, b"\x03\xf0too slow"))

    def reads(self, connection, wanted):
        """Whether these bytes come before the end."""
        last = b""
        with connection:
            while wanted not in last:
                piece = connection.recv(1 << 16)
                if not piece:
                    return False
                last = last[-100:] + piece
        return True


class Relay(Shared):
    async def test_upgrades_pass_through(self):
        async def answer(stream):
            async for message in stream:
                await stream.send("%s %s" % (stream.path, message) if isinstance(message, str) else message[::-1])

        async with websockets.serve(answer, "127.0.0.1", 0, subprotocols=["chat"]) as server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.to_thread(self.coordinator.register, "talker", "http://127.0.0.1:%d" % port, ["talk"])

            async def connect(path):
                deadline = asyncio.get_running_loop().time() + PATIENCE
                while True:
                    try:
                        return await websockets.connect(self.url(path), subprotocols=["chat"])
                    except websockets.InvalidStatusCode:
                        if asyncio.get_running_loop().time() > deadline:
                            raise
                        await asyncio.sleep(0.05)

            for path, there in (("/api/service/talk/room?a=b", "/api/talk/room?a=b"), ("/service/talk/room", "/room")):
                stream = await connect(path)
                self.assertEqual(stream.subprotocol, "chat")
                self.assertEqual(stream.response_headers["X-Served-By"], "talker")
                await stream.send("hello")
                self.assertEqual(await asyncio.wait_for(stream.recv(), PATIENCE), there + " hello")
                big = bytes(range(256)) * 2000
                await stream.send(big)
                self.assertEqual(await asyncio.wait_for(stream.recv(), PATIENCE), big[::-1])
                await stream.close(code=1000)
                self.assertEqual(stream.close_code, 1000)
        await asyncio.to_thread(self.coordinator.unregister, "talker")


class LongRoll(Shared):
    """Lists and the topology of a roll that is too long to be held in memory for each client."""

    WORKERS = 10050  # above LIST_WHOLE_WORKERS_MAX

    @classmethod
    def setUpClass(cls):
        # Its workers are never heard; they are to stay as long as the tests take.
        cls.coordinator = Coordinator(HEARTBEAT_TIMEOUT_SECONDS="2000", WORKER_TIMEOUT_SECONDS="3000")
        cls.ids = {"w%05d" % number for number in range(cls.WORKERS)}
        workers = [{"worker_id": worker_id, "tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu",
                    "capabilities": {"cpu_cores": 4}, "services": [{"name": "own"}]} for worker_id in sorted(cls.ids)]
        status, _, body = cls.coordinator.request("POST", "/api/admin/import", {"workers": workers})
        assert status == 200 and json.loads(body)["imported"] == cls.WORKERS, body[:500]

    def get(self, path, **headers):
        status, fields, body = self.coordinator.request("GET", path, headers=headers)
        self.assertEqual(status, 200)
        return fields, json.loads(body)

    def test_lists_are_whole(self):
        fields, answer = self.get("/api/admin/workers")
        self.assertEqual(fields.get("Transfer-Encoding"), "chunked")
        self.assertEqual(answer["total"], self.WORKERS)
        self.assertEqual(len(answer["workers"]), self.WORKERS)
        self.assertEqual({worker["worker_id"] for worker in answer["workers"]}, self.ids)
        self.assertEqual(answer["workers"][0]["capabilities"], {"cpu_cores": 4})
        self.assertIn("age_seconds", answer["workers"][-1])
        fields, answer = self.get("/api/topology")
        self.assertEqual({worker["id"] for worker in answer["workers"]}, self.ids)
        self.assertEqual([worker["id"] for worker in answer["workers"]],
                         [connection["to"] for connection in answer["connections"]])
        self.assertEqual(answer["statistics"]["total_workers"], self.WORKERS)
        self.assertIs(answer["complete"], True)
        fields, answer = self.get("/api/coordinator/workers")
        self.assertEqual(answer["count"], len(answer["workers"]))
        fields, answer = self.get("/api/admin/export")
        self.assertEqual({worker["worker_id"] for worker in answer["workers"]}, self.ids)

    def test_who_has_the_list_gets_it_once(self):
        fields, _ = self.get("/api/coordinator/workers")
        status, _, body = self.coordinator.request("GET", "/api/coordinator/workers",
                                                   headers={"If-None-Match": fields["ETag"]})
        self.assertEqual((status, body), (304, b""))

    def test_a_client_that_goes_away_ends_its_list(self):
        for path in ("/api/admin/workers", "/api/topology", "/api/admin/export"):
            for take in (10, 300000):
                with socket.create_connection(("127.0.0.1", self.coordinator.port), PATIENCE) as client:
                    client.sendall(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path).encode())
                    while take > 0:
                        taken = len(client.recv(65536))
                        self.assertGreater(taken, 0, "the list ended early")
                        take -= taken
        self.assertEqual(self.coordinator.request("GET", "/health")[0], 200)
        _, answer = self.get("/api/admin/workers")
        self.assertEqual(answer["total"], self.WORKERS)

    async def test_the_topology_comes_in_parts(self):
        async with self.connect("/ws/topology", max_size=1 << 20) as stream:
            first = await read(stream)
            topology = first["topology"]
            self.assertIs(topology["complete"], False)
            self.assertLess(len(topology["workers"]), 1000)
            self.assertEqual(topology["statistics"]["total_workers"], self.WORKERS)
            seen, part = [], {"complete": False}
            while not part["complete"]:
                part, _ = await read_until(stream, type="topology_part")
                seen += [worker["id"] for worker in part["workers"]]
                self.assertEqual([connection["to"] for connection in part["connections"]],
                                 [worker["id"] for worker in part["workers"]])
            self.assertEqual(len(seen), self.WORKERS)
            self.assertEqual(set(seen), self.ids)
            await asyncio.to_thread(self.coordinator.register, "told")
            event, _ = await read_until(stream, type="worker_registered", worker_id="told")
            self.assertGreater(event["revision"], first["revision"])
            await asyncio.to_thread(self.coordinator.unregister, "told")
        for reads in (0, 1, 3):
            stream = await self.connect("/ws/topology", max_size=1 << 20)
            for _ in range(reads):
                await read(stream)
            stream.transport.abort()
        self.assertEqual((await asyncio.to_thread(self.coordinator.request, "GET", "/health"))[0], 200)


if __name__ == "__main__":
    process.main(sys.modules["__main__"])
