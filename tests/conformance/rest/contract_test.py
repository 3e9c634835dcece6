"""Every operation of GET /openapi.json, driven by what that document says of it.

    contract_test.py PROGRAM...      (musterctl and the others)

With CONTRACT_ROLE=edge-router in the environment it is an edge router that is driven, with
coordinators behind it; with edge-router-script that for Cloudflare, by the document of the program;
with edge-proxy or load-balancer one of these before a coordinator. A load balancer's document is that
of the coordinator behind it: clients see no difference.

Operations that are added to the gateway's table are driven without a change here: with a
valid request made of the examples; with each field of the body, of the query and of the path
missing, mistyped, too large, and at its limits; and the replies are held against their schemas.
A field or parameter for which the document says too little to do so fails the test.
"""

import base64
import http.client
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../integration/worker"))
sys.path.insert(0, HERE)

import process  # noqa: E402
from coordinator import Coordinator  # noqa: E402
from generate import Schemas  # noqa: E402

import script_router  # noqa: E402
from lone_gateway import LoneGateway  # noqa: E402

ROLE = os.environ.get("CONTRACT_ROLE", "coordinator")
IS_SCRIPT = ROLE == "edge-router-script"
IS_EDGE = IS_SCRIPT or ROLE == "edge-router"
IS_LONE = ROLE in ("edge-proxy", "load-balancer")
# Its peer is nobody: it takes news all the same.
FLAGS = ["--role", "edge-router", "--peer", "http://127.0.0.1:9"] if IS_EDGE else ["--dht"]
METHODS = ["get", "post", "put", "patch", "delete"]
BODY_BYTES_MAX = 4 << 20
NOT_A_VALID_REQUEST = ("malformed_json", "malformed_request", "invalid_field", "invalid_path", "body_too_large",
                       "internal_error")
# What a load balancer answers itself; all else is its upstreams'.
OF_THE_BALANCER = ("health", "healthz", "readyz", "metrics")
# What is in these has a form of its own, of which a schema says nothing.
ENCODED = [("dht_rpc", "message")]


class FakeWorker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"status": "accepted"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *arguments):
        pass


class Operation:
    def __init__(self, path, method, described):
        self.path, self.method, self.described = path, method, described
        self.name = described["operationId"]
        self.piped = described.get("x-muster-piped", False)
        self.relayed = described.get("x-muster-relayed", False)
        self.parameters = described.get("parameters", [])
        request = described.get("requestBody", {})
        self.body = request.get("content", {}).get("application/json", {}).get("schema")
        self.body_bytes_max = request.get("x-muster-bytes-max", BODY_BYTES_MAX)
        self.success = next((s for s in described["responses"] if s.startswith(("1", "2"))), None)

    def target(self, changes=None):
        """The path with its parameters' examples; changes: {name: value, None: left out}."""
        path, query = self.path, {}
        for parameter in self.parameters:
            value = (changes or {}).get(parameter["name"], parameter.get("example"))
            if parameter["in"] == "path":
                text = value if isinstance(value, bytes) else str(value)
                path = path.replace("{%s}" % parameter["name"], urllib.parse.quote(text, safe="/"))
            elif value is not None:
                query[parameter["name"]] = value
        return path + ("?" + urllib.parse.urlencode(query) if query else "")


class Contract(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if IS_EDGE or IS_LONE:  # an edge router is told of it by hand: one that joins would not let others do it
            cls.behind = Coordinator(flags=["--dht"])
            cls.addClassCleanup(cls.behind.stop)
        cls.coordinator = (script_router.ScriptRouter() if IS_SCRIPT
                           else LoneGateway(ROLE, cls.behind.url) if IS_LONE else Coordinator(flags=FLAGS))
        cls.addClassCleanup(cls.coordinator.stop)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeWorker)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        cls.worker_url = "http://127.0.0.1:%d" % server.server_port
        cls.document = json.loads(script_router.document_of_program(FLAGS) if IS_SCRIPT
                                  else cls.coordinator.request("GET", "/openapi.json")[2])
        cls.schemas = Schemas(cls.document)
        cls.operations = [Operation(path, method, item[method]) for path, item in cls.document["paths"].items()
                          for method in METHODS if method in item]
        if IS_SCRIPT:
            cls.operations = [op for op in cls.operations if op.name not in script_router.NOT_THERE]
        cls.registration = next(op for op in cls.operations if op.name == "worker_register")

    def setUp(self):
        self.connection = http.client.HTTPConnection(self.coordinator.host, self.coordinator.port, timeout=60)
        self.addCleanup(self.connection.close)
        for worker in json.loads(self.request("GET", "/api/admin/workers")[1])["workers"]:
            self.request("DELETE", "/api/worker/unregister/" + urllib.parse.quote(worker["worker_id"], safe=""))
        for operation in self.operations:
            for name in ("uk-1", "another") if operation.name == "edge_register" else ():
                status, text, _ = self.send(operation, {**self.valid_body(operation), "worker_id": name})
                self.assertEqual(status, 200, text)
        status, text, _ = self.send(self.registration, self.valid_body(self.registration))
        self.assertEqual(status, 200, text)

    def request(self, method, target, body=None, headers=None):
        try:
            self.connection.request(method, target, body=body, headers=headers or {})
            response = self.connection.getresponse()
            text = response.read()
        except OSError:  # an early answer to a long body ends the connection
            self.connection.close()
            raise
        self.assertTrue(response.headers["X-Request-Id"], target)
        return response.status, text, response.headers

    def send(self, operation, body=None, target=None):
        text = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request(operation.method.upper(), target or operation.target(), text)

    def valid_body(self, operation):
        """Made of the examples; workers' addresses are the fake worker's, coordinators' a real one's."""
        return None if operation.body is None else self.redirected(operation, self.schemas.example(operation.body))

    def valid_bodies(self, operation):
        """One for each form that the body may have."""
        return [self.redirected(operation, self.schemas.example(form)) for form in self.schemas.alternatives(operation.body)]

    def redirected(self, operation, body):
        url = self.behind.url if IS_EDGE and operation.name.startswith("edge_") else self.worker_url

        def redirect(value):
            if isinstance(value, dict):
                return {k: redirect(v) for k, v in value.items()}
            if isinstance(value, list):
                return [redirect(v) for v in value]
            return url if isinstance(value, str) and value.startswith("https://") else value
        return redirect(body)

    def check_reply(self, operation, status, text, headers):
        """It is described, and as it is described."""
        responses = operation.described["responses"]
        self.assertIn(str(status), responses, text)
        content = responses[str(status)].get("content", {})
        if "application/json" in content:
            self.assertEqual(headers["Content-Type"], "application/json")
            reply = json.loads(text)
            self.schemas.validator(content["application/json"]["schema"]).validate(reply)
            if status >= 400:
                self.assertEqual(reply["message"], reply["detail"])
                self.assertIn(reply["error"], responses[str(status)]["description"].split(", "))
            return reply
        return None

    def each(self, condition=lambda operation: True):
        # Those that read first, those that take away last.
        order = {"get": 0, "post": 1, "put": 1, "patch": 1, "delete": 2}
        chosen = [op for op in self.operations if condition(op)]
        self.assertTrue(chosen)
        for operation in sorted(chosen, key=lambda op: (order[op.method], op.path)):
            yield operation

    @unittest.skipIf(IS_SCRIPT, "it has none")
    def test_the_document_is_valid(self):
        validator = os.path.join(HERE, "../../../node_modules/@seriousme/openapi-schema-validator/bin/validate-api-cli.js")
        self.assertTrue(os.path.exists(validator), "run bazel/setup check, which fetches the checker")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self.document, file)
            file.flush()
            result = subprocess.run(["node", validator, file.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    text=True)
            self.assertEqual(result.returncode, 0, result.stdout)
            self.assertTrue(json.loads(result.stdout)["valid"], result.stdout)
            # One that is wrong is told from one that is right.
            del self.document["info"]["title"]
            self.addCleanup(lambda: self.document["info"].update(title="Muster"))
            file.seek(0)
            file.truncate()
            json.dump(self.document, file)
            file.flush()
            result = subprocess.run(["node", validator, file.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    text=True)
            self.assertIn('"valid": false', result.stdout)

    def test_every_operation_is_one_of_those_that_are_driven(self):
        for path, item in self.document["paths"].items():
            self.assertLessEqual(set(item), set(METHODS), path)
        names = [operation.name for operation in self.operations]
        self.assertEqual(len(names), len(set(names)))
        for operation in self.operations:
            for parameter in operation.parameters:
                self.assertIn("example", parameter, operation.name)
                self.assertIn(parameter["in"], ("path", "query"), operation.name)
            declared = [p["name"] for p in operation.parameters if p["in"] == "path"]
            in_path = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
            self.assertEqual(sorted(declared), sorted(in_path), operation.path)

    def test_valid_requests(self):
        for operation in self.each(lambda op: not op.relayed):
            with self.subTest(operation.name):
                if operation.success == "101":
                    self.check_upgrade(operation)
                    continue
                status, text, headers = self.send(operation, self.valid_body(operation))
                self.assertEqual(str(status), operation.success, text[:500])
                self.check_reply(operation, status, text, headers)
                self.assertEqual("304" in operation.described["responses"], headers["ETag"] is not None)
                if headers["ETag"]:
                    self.check_tag(operation, headers["ETag"])

    def check_tag(self, operation, tag):
        """The reply that a client has is not sent again; one that has changed meanwhile is."""
        for attempt in range(100):
            asked = tag.replace("W/", "") if attempt % 2 else '"other", ' + tag
            status, text, headers = self.request("GET", operation.target(), headers={"If-None-Match": asked})
            self.check_reply(operation, status, text, headers)
            if status == 304:
                self.assertEqual((text, headers["ETag"]), (b"", tag))
                return
            tag = headers["ETag"]
        self.fail("never 304")

    def check_upgrade(self, operation):
        status, text, headers = self.send(operation)
        self.assertEqual((status, headers["Connection"], headers["Upgrade"]), (426, "Upgrade", "websocket"))
        self.check_reply(operation, status, text, headers)
        key = base64.b64encode(b"0123456789abcdef").decode()
        self.connection.request("GET", operation.target(), headers={
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
            "Muster-Link-Secret": "0123456789abcdef" * 4})
        self.assertEqual(self.connection.getresponse().status, 101)
        self.connection.close()

    def wait_for_routes(self):
        """The gateway hears of who has left a moment after it was taken off the roll."""
        operation = next(op for op in self.operations if op.name == "service_get")
        deadline = time.monotonic() + 30
        in_a_row = 0
        while in_a_row < 20 and time.monotonic() < deadline:
            in_a_row = in_a_row + 1 if self.send(operation)[2]["X-Served-By"] == "gpu-1" else 0

    def test_relayed_requests(self):
        self.wait_for_routes()
        for operation in self.each(lambda op: op.relayed):
            with self.subTest(operation.name):
                status, text, headers = self.send(operation, None if operation.method == "get" else b"any thing")
                if operation.name.startswith("link_"):  # nobody keeps that link
                    self.assertEqual((status, headers["Muster-Link"]), (503, "away"), text)
                    continue
                self.assertEqual((status, headers["X-Served-By"]), (200, "gpu-1"), text)

    def test_each_field_missing_mistyped_and_too_large(self):
        tried = 0
        for operation in self.each(lambda op: op.body is not None):
            done = {"missing": set(), "mistyped": set(), "too large": set()}
            for what, field, wrong in (one for body in self.valid_bodies(operation)
                                       for one in self.schemas.mutations(operation.body, body)):
                done[what.split(":")[0]].add(field)
                text = json.dumps(wrong).encode()
                with self.subTest(operation=operation.name, what=what[:60], field=field):
                    if not operation.piped:
                        self.assertLessEqual(len(text), operation.body_bytes_max, "another limit comes first")
                    status, reply_text, headers = self.send(operation, text)
                    reply = self.check_reply(operation, status, reply_text, headers)
                    tried += 1
                    if operation.piped:
                        self.check_skipped(field, status, reply)
                    else:
                        self.assertEqual((status, reply["error"]), (422, "invalid_field"))
                        self.assertIn(field, reply["message"])
            self.check_that_all_were_tried(operation, done)
        self.assertGreater(tried, 200)

    def check_that_all_were_tried(self, operation, done):
        for field, schema in self.schemas.members(operation.body):
            with self.subTest(operation=operation.name, field=field):
                if self.schemas.wrong_types(schema):
                    self.assertIn(field, done["mistyped"])
                if list(self.schemas.too_large(schema)):
                    self.assertIn(field, done["too large"])
        for field in self.schemas.resolve(operation.body).get("required", []):
            self.assertIn(field, done["missing"], operation.name)

    def test_each_field_left_out_null_and_at_its_limits(self):
        tried = 0
        for operation in self.each(lambda op: op.body is not None):
            for what, field, body in (one for valid in self.valid_bodies(operation)
                                      for one in self.schemas.variations(operation.body, valid)
                                      if (operation.name, one[1]) not in ENCODED):
                with self.subTest(operation=operation.name, what=str(what)[:60], field=field):
                    status, text, headers = self.send(operation, body)
                    reply = self.check_reply(operation, status, text, headers)
                    tried += 1
                    self.assertNotIn(reply.get("error"), NOT_A_VALID_REQUEST, text[:300])
                    for skipped in reply.get("skipped", []):
                        self.assertIn("on the roll already", skipped["reason"])
        self.assertGreater(tried, 150)

    def check_skipped(self, field, status, reply):
        """An item that is wrong is skipped; a body that is no list is refused."""
        if status == 200:
            self.assertEqual(reply["skipped_total"], 1, reply)
        else:
            self.assertEqual(status, 422)
            self.assertIn(field, reply["message"])

    def test_bodies_that_are_no_json_and_too_long(self):
        for operation in self.each(lambda op: op.body is not None):
            with self.subTest(operation.name):
                for text in (b"", b"{", b"nothing", b'{"a": 1} 2', b'"\xff"'):
                    status, reply, headers = self.send(operation, text)
                    self.assertEqual(status, 400, text)
                    self.check_reply(operation, status, reply, headers)
                for wrong in (5, "text", None):
                    status, reply, headers = self.send(operation, wrong if wrong is not None else b"null")
                    self.assertEqual(status, 422, reply)
                    self.check_reply(operation, status, reply, headers)
                if operation.piped:
                    continue
                self.connection.close()
                status, reply, headers = self.send_declared(operation, operation.body_bytes_max + 1)
                self.assertEqual(status, 413, reply)
                self.check_reply(operation, status, reply, headers)
                self.connection.close()
                status, reply, headers = self.send(operation, b" " * operation.body_bytes_max)
                self.assertEqual(status, 400, reply)

    def send_declared(self, operation, length):
        """Announces a body of that length, and sends none of it: the answer must not wait for it."""
        self.connection.putrequest(operation.method.upper(), operation.target())
        self.connection.putheader("Content-Length", str(length))
        self.connection.endheaders()
        response = self.connection.getresponse()
        return response.status, response.read(), response.headers

    def test_parameters(self):
        for operation in self.each(lambda op: op.parameters and not op.relayed):
            for parameter in operation.parameters:
                with self.subTest(operation=operation.name, parameter=parameter["name"]):
                    self.check_parameter(operation, parameter)

    def check_parameter(self, operation, parameter):
        body = self.valid_body(operation)
        limit = parameter["schema"].get("x-muster-bytes-max")
        if parameter["in"] == "path":
            self.assertIsNotNone(limit, "a name in a path has a limit")
            for value in (b"no such thing", b"a b\"'<>%&", "\u65e5\u672c".encode(), b"y" * limit):
                self.check_path(operation, body, operation.target({parameter["name"]: value}))
            for value in (b"x" * (limit + 1), b"\x01", b"\xff", b"\xc2\x85", b"..", b"a\\b"):
                status, reply, headers = self.send(operation, body, operation.target({parameter["name"]: value}))
                # Before the script is asked, ".." has become another path.
                is_elsewhere = IS_SCRIPT and value == b".."
                reply = json.loads(reply) if is_elsewhere else self.check_reply(operation, status, reply, headers)
                # A file has no such name, whatever it is.
                refused = "not_found" if operation.name == "docs_asset" or is_elsewhere else "invalid_path"
                self.assertIn(reply["error"], (refused, "malformed_request"), value)
            status, reply, _ = self.send(operation, body, operation.target({parameter["name"]: b""}))
            self.assertEqual((status, json.loads(reply)["error"]), (404, "not_found"))
            return
        schema = parameter["schema"]
        wrong = [value for value in ("", "text", "x" * 5000, "x" * ((limit or 0) + 1), "-1", "1e400", b"\xff")
                 if isinstance(value, bytes) or not self.is_valid_text(schema, value)]
        self.assertGreater(len(wrong), 2, "the schema says what is wrong")
        if parameter["required"]:
            wrong.append(None)
        for value in wrong:
            status, reply, headers = self.send(operation, body, operation.target({parameter["name"]: value}))
            reply = self.check_reply(operation, status, reply, headers)
            self.assertEqual(status, 422, reply)
            self.assertIn(parameter["name"], reply["message"])
        right = [str(value) for _, value in self.schemas.largest(schema)] + ([] if parameter["required"] else [None])
        for value in right:
            status, reply, headers = self.send(operation, body, operation.target({parameter["name"]: value}))
            reply = self.check_reply(operation, status, reply, headers)
            # What is no metric or time is told apart behind the schema.
            self.assertFalse(status in (400, 500) or (status == 422 and "bytes" in reply["message"]), reply)

    def check_path(self, operation, body, target):
        """A name that is well made: found, or told to be unknown; never that it is wrong."""
        status, reply, headers = self.send(operation, body, target)
        reply = self.check_reply(operation, status, reply, headers)
        self.assertNotIn((reply or {}).get("error"), NOT_A_VALID_REQUEST, target)
        success = "426" if operation.success == "101" else operation.success  # it was not asked to upgrade
        self.assertIn(str(status), (success, "404", "503"), reply)

    def is_valid_text(self, schema, text):
        schema = self.schemas.resolve(schema)
        if self.schemas.type_of(schema) in ("integer", "number", "boolean"):
            try:
                return self.schemas.validator(schema).is_valid(json.loads(text))
            except ValueError:
                return False
        return self.schemas.validator(schema).is_valid(text)

    def test_other_methods(self):
        for path in {op.path: None for op in self.operations}:
            operations = [op for op in self.operations if op.path == path]
            if operations[0].relayed:
                continue
            with self.subTest(path):
                target = operations[0].target()
                known = {op.method for op in operations}
                for method in [m for m in METHODS if m not in known]:
                    status, reply, headers = self.request(method.upper(), target)
                    self.assertEqual((status, json.loads(reply)["error"]), (405, "method_not_allowed"))
                    for one in known:
                        self.assertIn(one.upper(), headers["Allow"].split(", "))
                if "get" in known and operations[0].success != "101":
                    got = self.request("GET", target)
                    head = self.request("HEAD", target)
                    self.assertEqual((head[0], head[1]), (got[0], b""))
                status, reply, headers = self.request("OPTIONS", target)
                self.assertEqual((status, reply), (204, b""))

    @unittest.skipIf(IS_SCRIPT, "it has none")
    def test_every_operation_has_a_metric(self):
        for operation in self.each(lambda op: op.method == "get" and not op.relayed and op.success != "101"):
            self.send(operation)
            # At a load balancer all are one, but what it answers itself.
            label = "balanced" if ROLE == "load-balancer" and operation.name not in OF_THE_BALANCER else operation.name
            name = 'gateway_requests_total{route="%s",' % label
            # A request is counted when its answer has left, which can be a moment after it was read here.
            process.wait_until(lambda: name in self.coordinator.request("GET", "/metrics")[2].decode(), name)


if __name__ == "__main__":
    process.main(sys.modules[__name__])
