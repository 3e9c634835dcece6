// Registry, assigner, health and router as real processes, and a client of all of them.

#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/integration/registry/client.h"
#include "tests/integration/registry/process.h"
#include "tests/routes/route_table.h"

extern "C" {
#include "common/worker_status.h"
#include "muster/v1/health.pb-c.h"
#include "muster/v1/router.pb-c.h"
}

// A free port. Somebody else may take it before it is used; nobody here looks for one twice.
std::string free_address();

// A stream of heartbeats.
class Stream
{
  public:
    Stream(Client &owner, const std::string &address);
    ~Stream(); // breaks it, if it is still there
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;

    struct Beat {
        std::string id;
        uint64_t incarnation = 0;
        double load = -1; // below 0: none
        Muster__V1__WorkerStatus status = WORKER_STATUS_UNKNOWN;
    };
    void send(const std::vector<Beat> &beats, bool relayed = false, uint64_t sequence = 0);
    // Sends one and waits for its acknowledgement.
    bool beat(const std::string &id, uint64_t incarnation = 0, double load = -1);
    void break_now();
    void half_close();

    struct Command {
        std::string id;
        Muster__V1__WorkerCommandType type;
        uint64_t sequence;
    };
    std::vector<Command> commands;
    uint64_t sequence = 0, acknowledged = 0;
    bool ended = false;
    enum rpc_status status = RPC_UNKNOWN;
    std::string text;

  private:
    friend struct StreamEvents;
    Client &client;
    struct rpc_channel *channel;
    struct rpc_call *call;
};

// The router's table, watched.
class Routes
{
  public:
    Routes(Client &owner, const std::string &address);
    ~Routes();
    Routes(const Routes &) = delete;
    Routes &operator=(const Routes &) = delete;

    // Stops watching; goes on where it was.
    void break_off();
    void resume();
    bool has(const std::string &service, const std::string &worker_id) const
    {
        return table.Has(service, worker_id);
    }
    RouteTable table;

  private:
    friend struct RoutesEvents;
    struct rpc_channel *channel;
    struct rpc_kept_stream *stream;
};

class Fleet
{
  public:
    // `health_flags` are added to muster-health's command line.
    explicit Fleet(const std::vector<std::string> &health_flags = {});

    void start_registry();
    void start_health();
    void start_router();

    std::string registry_address, assigner_address, health_address, router_address;
    Directory directory;
    std::unique_ptr<Process> registry, assigner, health, router;
    std::unique_ptr<Client> client;

    // Registers a worker that announces `service`; gives its incarnation, 0: failed.
    uint64_t add(const std::string &id, const std::string &service);
    // What Explain says of one worker; "" if it does not name it.
    std::string explain(const std::string &service, const std::string &worker_id);
    // The commands that ReportHeartbeats answers with.
    Answer<Muster__V1__ReportHeartbeatsResponse> report(const std::string &id, uint64_t incarnation);
    Answer<Muster__V1__RouteResponse> route(const std::string &service);
    bool outcome(const std::string &service, const std::string &worker_id, uint64_t failures);
    bool on_roll(const std::string &id);
    int status(const std::string &id); // as the registry has it; 0: not on the roll

  private:
    std::vector<std::string> flags;
    std::unique_ptr<struct rpc_channel, void (*)(struct rpc_channel *)> to_health, to_router;
};
