"""The main function that gRPC processes share: start, failures, signals.

    service_test.py SERVICE_PROCESS
"""

import os
import signal
import subprocess
import sys
import unittest

import grpc

from grpc_testing_messages import messages

PROCESS = sys.argv.pop(1)


class Process:
    """A running service_process; stopped when the test leaves it."""

    def __init__(self, *arguments):
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [PROCESS, "--port", "0", "--ready-fd", str(write), *arguments], pass_fds=[write], stderr=subprocess.PIPE)
        os.close(write)
        with os.fdopen(read) as file:
            self.address = file.readline().strip()
            self.after_address = file.read()
        self.channel = grpc.insecure_channel(self.address)
        self.call = self.channel.unary_unary(
            "/grpc.testing.TestService/UnaryCall",
            request_serializer=messages.SimpleRequest.SerializeToString,
            response_deserializer=messages.SimpleResponse.FromString)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def ask(self, delay_ms):
        """Starts a call that is answered after delay_ms, and waits until it is open."""
        self.call(messages.SimpleRequest(response_size=0), timeout=10)
        future = self.call.future(messages.SimpleRequest(response_size=delay_ms), timeout=60)
        # The calls of one connection arrive in order.
        self.call(messages.SimpleRequest(response_size=0), timeout=10)
        return future

    def end(self):
        return self.process.wait(timeout=30)


def run(*arguments):
    return subprocess.run([PROCESS, *arguments], capture_output=True, text=True, timeout=30)


class Service(unittest.TestCase):
    def test_says_where_it_serves_and_closes_the_descriptor(self):
        with Process() as process:
            self.assertRegex(process.address, r"^127\.0\.0\.1:[0-9]+$")
            self.assertEqual(process.after_address, "")

    def test_finishes_what_is_open_when_told_to_stop(self):
        for number in signal.SIGTERM, signal.SIGINT:
            with Process() as process:
                future = process.ask(500)
                process.process.send_signal(number)
                self.assertEqual(future.result(timeout=30), messages.SimpleResponse())
                self.assertEqual(process.end(), 0)

    def test_cancels_what_is_open_after_the_drain_timeout(self):
        with Process("--drain-timeout-seconds", "0.1") as process:
            future = process.ask(2000)
            process.process.send_signal(signal.SIGTERM)
            self.assertIsInstance(future.exception(timeout=30), grpc.RpcError)
            self.assertEqual(process.end(), 0)

    def test_cancels_what_is_open_when_told_twice(self):
        with Process("--drain-timeout-seconds", "3600") as process:
            future = process.ask(2000)
            process.process.send_signal(signal.SIGTERM)
            while b"stopping" not in process.process.stderr.readline():
                pass
            process.process.send_signal(signal.SIGTERM)
            self.assertIsInstance(future.exception(timeout=30), grpc.RpcError)
            self.assertEqual(process.end(), 0)

    def test_says_in_one_line_why_it_does_not_start(self):
        with Process() as process:
            port = process.address.split(":")[1]
            for code, text, arguments in (
                    (1, "the port is in use", ["--port", port]),
                    (1, "told to fail", ["--port", "0", "--fail"]),
                    (1, "no such address", ["--port", "0", "--host", "192.0.2.1", "--insecure"]),
                    (2, "--insecure", ["--port", "0", "--host", "192.0.2.1"]),
                    (1, "--ready-fd 77", ["--port", "0", "--ready-fd", "77"]),
                    (2, "--ready-fd", ["--port", "0", "--ready-fd", "x"]),
                    (2, "--port", ["--port", "65536"]),
                    (2, "--drain-timeout-seconds", ["--drain-timeout-seconds", "soon"])):
                result = run(*arguments)
                self.assertEqual(result.returncode, code, arguments)
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
                self.assertTrue(result.stderr.startswith("service_process: "), result.stderr)
                self.assertIn(text, result.stderr)
                self.assertEqual(result.stdout, "")

    def test_help_names_every_setting(self):
        result = run("--help")
        self.assertEqual(result.returncode, 0)
        for name in "host", "port", "drain-timeout-seconds", "ready-fd", "fail", "log-level":
            self.assertIn(f"--{name}", result.stdout)


if __name__ == "__main__":
    unittest.main()
