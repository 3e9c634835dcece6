"""The edge router for Cloudflare keeps no links: it names coordinators, to one of which a worker takes its link before it
registers there.

    link_script_test.py PROGRAM...      (musterctl, muster-worker and the others)
"""

import sys

sys.path[:0] = ["tests/integration/link", "tests/integration/worker", "tests/conformance/rest"]

import link_test
import process
from process import wait_until
from script_router import ScriptRouter


class FederationOnCloudflare(link_test.Federation):
    def setUp(self):
        self.service = link_test.Server()
        self.addCleanup(self.service.server_close)
        self.addCleanup(self.service.shutdown)
        self.coordinator = ScriptRouter()
        self.addCleanup(self.coordinator.stop)

    def kill_the_edge_router(self):
        self.coordinator.stop()

    def test_a_worker_that_comes_first_waits_for_a_coordinator(self):
        worker = self.start_worker("early", wait=False)
        wait_until(lambda: "no coordinator is alive" in worker.log(), "it is told why it has to wait", 30)
        uk = self.join("uk")
        wait_until(lambda: uk.worker("early") is not None, "it registers", 60)
        self.assertTrue(uk.worker("early")["tunnel_url"].startswith(uk.url + "/link/"))
        wait_until(lambda: self.serves("/service/files/tag/1"), "it is served through the edge router", 30)
        self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    process.main(sys.modules[__name__])
