"""/docs and /redoc in Chromium: they show all operations, and ask no other host for anything.

    docs_test.py PROGRAM...      (musterctl and the others)
"""

import html
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration/worker"))

import process  # noqa: E402
from coordinator import Coordinator  # noqa: E402


def browse(url, folder):
    """Returns the page as it is once its scripts have run, and what the network did."""
    log = os.path.join(folder, "network.json")
    page = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--user-data-dir=" + os.path.join(folder, "profile"),
         "--log-net-log=" + log, "--virtual-time-budget=30000", "--dump-dom", url],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=200, check=True).stdout.decode()
    with open(log) as file:
        text = file.read()
    try:
        return page, json.loads(text)
    except ValueError:  # it was ended while it wrote its last line
        return page, json.loads(text.rstrip().rstrip(",") + "]}")


def requests_of_pages(network):
    """URLs that pages asked for: the browser's own requests have no page that began them."""
    urls = set()
    for event in network["events"]:
        parameters = event.get("params") or {}
        if "url" in parameters and parameters.get("initiator", "").startswith("http"):
            urls.add(parameters["url"])
    return urls


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.coordinator = Coordinator()
        cls.addClassCleanup(cls.coordinator.stop)
        cls.document = json.loads(cls.coordinator.request("GET", "/openapi.json")[2])

    def check(self, path, library):
        status, headers, _ = self.coordinator.request("GET", path)
        self.assertEqual(status, 200)
        self.assertIn("default-src 'self'", headers["Content-Security-Policy"])
        with tempfile.TemporaryDirectory(prefix="browser-") as folder:
            page, network = browse(self.coordinator.url + path, folder)
        text = html.unescape(re.sub(r"<[^>]*>|\u200b", "", page))
        for operations in self.document["paths"].values():
            for operation in operations.values():
                self.assertIn(operation["summary"], text)
        urls = requests_of_pages(network)
        self.assertTrue([url for url in urls if library in url], urls)
        self.assertIn(self.coordinator.url + "/openapi.json", urls)
        self.assertEqual([url for url in urls if not url.startswith((self.coordinator.url + "/", "data:", "blob:"))],
                         [])

    def test_swagger_ui(self):
        self.check("/docs", "swagger-ui-bundle.js")

    def test_redoc(self):
        self.check("/redoc", "redoc.standalone.js")


if __name__ == "__main__":
    process.main(sys.modules[__name__])
