"""A gateway that stands alone, an edge proxy or a load balancer, in the place of the coordinator that it is before."""

import os
import subprocess
import tempfile

from coordinator import PROGRAMS, Coordinator

FLAGS = {
    # Its lists are read anew when somebody is not found or has changed through it; not by the clock here.
    "edge-proxy": ["--poll-seconds", "3600", "--poll-retry-seconds", "0.1", "--discover-elsewhere", "--coordinator-url"],
    "load-balancer": ["--check-interval-seconds", "0.2", "--upstreams"],
}


class LoneGateway:
    def __init__(self, role, coordinator_url):
        self.folder = tempfile.TemporaryDirectory(prefix="lone-gateway-")
        read_end, write_end = os.pipe()
        os.set_inheritable(write_end, True)
        self.process = subprocess.Popen(
            [PROGRAMS["muster-gateway"], "--role", role, "--port", "0", "--ready-fd", str(write_end),
             *(["--data-dir", self.folder.name] if role == "edge-proxy" else []), *FLAGS[role], coordinator_url],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[write_end])
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            line = ready.readline().strip()
        assert line, role + " did not start"
        self.url = "http://" + line
        self.host, port = line.rsplit(":", 1)
        self.port = int(port)

    # As a coordinator does it.
    request = Coordinator.request

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self.folder.cleanup()
