"""The edge router for Cloudflare in workerd, in the place of a coordinator (tests/edge/serve.mjs)."""

import subprocess

from coordinator import Coordinator

# What the script does not answer; README, "On Cloudflare".
NOT_THERE = ("metrics", "openapi", "index", "docs", "redoc", "docs_asset", "ws_events", "ws_topology", "ws_link",
             "link_get", "link_post", "link_put", "link_patch", "link_delete")


class ScriptRouter:
    def __init__(self):
        self.process = subprocess.Popen(
            ["tests/edge/serve", "router", "ALLOW_PRIVATE_URLS=true", "COORDINATOR_PROOF=optional",
             "PEER=http://127.0.0.1:9"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline().split()
        assert line and line[0] == "ready", line
        self.url = line[1]
        self.host, port = self.url[len("http://"):].rsplit(":", 1)
        self.port = int(port)

    # As a coordinator does it.
    request = Coordinator.request

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self.process.stdout.close()


def document_of_program(flags):
    """The contract, as the program says it."""
    program = Coordinator(flags=flags)
    try:
        return program.request("GET", "/openapi.json")[2]
    finally:
        program.stop()
