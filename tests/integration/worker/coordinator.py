"""The real coordinator, for tests in Python. The program's arguments name its parts:

    TEST.py PROGRAM...      (musterctl, muster-worker and the others)
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile

PROGRAMS = {os.path.basename(path): os.path.abspath(path) for path in sys.argv[1:]}


class Coordinator:
    """`musterctl up` with a folder of its own."""

    def __init__(self, port=0, flags=(), environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix="worker-coordinator-")
        programs = os.path.join(self.folder.name, "bin")
        os.mkdir(programs)
        for name, path in PROGRAMS.items():
            os.symlink(os.path.realpath(path), os.path.join(programs, name))
        self.data = os.path.join(self.folder.name, "data")
        self.process = subprocess.Popen(
            [PROGRAMS["musterctl"], "up", "--port", str(port), "--grpc-port", "0", "--data-dir", self.data,
             "--log-dir", os.path.join(self.folder.name, "logs"), "--bin-dir", programs,
             "--start-timeout-seconds", "90", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **(environment or {})})
        line = self.process.stdout.readline().split()
        assert line and line[0] == "ready", line
        self.url = line[1]
        self.host, port = self.url[len("http://"):].rsplit(":", 1)
        self.port = int(port)

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def worker(self, worker_id):
        """Its record; None: it is not on the roll, or nobody answers just now."""
        try:
            status, _, body = self.request("GET", "/api/admin/workers")
        except OSError:
            return None
        if status != 200:
            return None
        return next((w for w in json.loads(body)["workers"] if w["worker_id"] == worker_id), None)

    def status(self, worker_id):
        record = self.worker(worker_id)
        return record["status"] if record else None

    def kill(self, name):
        with open(os.path.join(self.data, "processes.json")) as file:
            processes = json.load(file)["processes"]
        os.kill(next(p["pid"] for p in processes if p["name"] == name), signal.SIGKILL)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self.process.stdout.close()
        self.folder.cleanup()
