"""Starts a muster-worker and speaks to it; runs unittest cases for Bazel."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from xml.sax.saxutils import quoteattr


def wait_until(condition, what, seconds=20):
    """Waits for a condition, never longer than seconds; returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not in %d s: %s" % (seconds, what))
        time.sleep(0.02)


class Worker:
    """One worker process, which has announced that it serves."""

    def __init__(self, binary, coordinator_url, *flags, environment=None, stderr_path=None):
        read_end, write_end = os.pipe()
        os.set_inheritable(write_end, True)
        self.log_path = stderr_path or tempfile.mkstemp(prefix="worker-log-")[1]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [binary, "--coordinator-url", coordinator_url, "--port", "0", "--ready-fd", str(write_end),
                 "--worker-type", "cpu", "--log-level", "debug", *flags],
                stderr=log, stdin=subprocess.DEVNULL, pass_fds=[write_end],
                env={**os.environ, **(environment or {})})
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            line = ready.readline()
        if not line:
            raise AssertionError("the worker did not start: " + self.log())
        self.host, port = line.strip().rsplit(":", 1)
        self.port = int(port)
        self.url = "http://%s:%d" % (self.host, self.port)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def request(self, method, path, body=None, headers=None, chunked=False):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, dict(response.getheaders()), data

    def health(self):
        status, _, body = self.request("GET", "/health")
        assert status == 200, status
        return json.loads(body)

    def service_state(self, name):
        return self.health()["services"].get(name)

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.unlink(self.log_path)


class Recorder(unittest.TextTestResult):
    """Also writes the cases as Bazel counts them."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.cases = []

    def addSuccess(self, test):
        super().addSuccess(test)
        self.cases.append((test, None))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.cases.append((test, self._exc_info_to_string(error, test)))

    def addError(self, test, error):
        super().addError(test, error)
        self.cases.append((test, self._exc_info_to_string(error, test)))

    def write(self, path):
        with open(path, "w") as out:
            out.write('<testsuites><testsuite name="worker" tests="%d">\n' % len(self.cases))
            for test, failure in self.cases:
                out.write('<testcase name=%s status="run" result="completed">' % quoteattr(test.id()))
                if failure:
                    out.write("<failure message=%s/>" % quoteattr(failure))
                out.write("</testcase>\n")
            out.write("</testsuite></testsuites>\n")


def all_cases(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from all_cases(test)
        else:
            yield test


def shard(suite):
    """The cases that are this process's, where Bazel runs several of the program (shard_count)."""
    shards = int(os.environ.get("TEST_TOTAL_SHARDS", "0"))
    if shards == 0:
        return suite
    with open(os.environ["TEST_SHARD_STATUS_FILE"], "w"):
        pass  # says that shards are understood
    mine = int(os.environ["TEST_SHARD_INDEX"])
    return unittest.TestSuite(case for i, case in enumerate(all_cases(suite)) if i % shards == mine)


def main(module):
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    only = os.environ.get("TESTBRIDGE_TEST_ONLY")
    if only:
        suite = unittest.defaultTestLoader.loadTestsFromName(only, module)
    suite = shard(suite)
    runner = unittest.TextTestRunner(resultclass=Recorder, verbosity=2, stream=sys.stdout)
    result = runner.run(suite)
    if "XML_OUTPUT_FILE" in os.environ:
        result.write(os.environ["XML_OUTPUT_FILE"])
    sys.exit(0 if result.wasSuccessful() else 1)
