// Regions of the world for tests: each a coordinator in a network namespace of its own, which reaches the others, and
// is reached, through a delaying relay only. The edge router, the workers and the test are in a namespace as well, the
// hub's.
//
// Namespaces take root. Without it the same runs over loopback addresses, with the same relays between; networks_ready
// says which. Namespaces end with the processes in them, also when a test is killed.

#pragma once

#include "tests/integration/coordinator.h"
#include "tests/integration/delaying_relay.h"

#include <memory>

// To be called at the start of main, before there are threads. True: there are namespaces.
bool networks_ready();

// An address of the hub that is reached from each region: workers listen here.
std::string hub_address();

// A port that nobody uses, in the hub.
int free_port();

class Region
{
  public:
    // `round_trip_ms`: between it and the hub. `streams`: workers reach its stream of heartbeats as well, through a
    // relay; else there is HTTP only, as behind most tunnels.
    Region(const std::string &id, int round_trip_ms, const std::string &edge_url, bool streams = false);
    ~Region();
    // Also again, after `kill`, with what it has on disk.
    bool start();
    // All of its processes at once, as when the machine loses its power.
    void kill();
    // The network around it.
    void set(DelayingRelay::State state);
    Coordinator &coordinator()
    {
        return *running;
    }
    // Where the hub reaches it.
    std::string url() const
    {
        return inward.url();
    }
    const std::string id;

  private:
    pid_t holder = -1; // of its namespace
    DelayingRelay inward, outward, stream;
    CoordinatorOptions options;
    std::unique_ptr<Coordinator> running;
};
