// The processes of a coordinator in the simulated world: each is the real core, and a shell
// that does what the real one does, with simulated calls, streams, timers and disk.

#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/world.h"

extern "C" {
#include "common/worker_status.h"
#include "gateway/pick.h"
#include "services/assigner/assigner.h"
#include "services/health/health.h"
#include "services/registry/registry.h"
#include "services/router/router.h"
}

#include "tests/routes/route_table.h"

namespace simulation
{

struct Coordinator;

// A stream that is opened again whenever it ends, as rpc_kept_stream is.
class KeptStream
{
  public:
    // `open` connects; it is given what to call with the stream, or nullptr.
    using Opener = std::function<void(std::function<void(StreamPointer)>)>;
    KeptStream(World *world, Node *node) : world_(world), node_(node) {}
    void Start(Opener open, std::function<void(const Bytes &)> message, std::function<void()> ended = nullptr);
    void Forget()
    {
        generation_++, stream_ = nullptr;
    }
    void Restart();
    bool IsUp() const
    {
        return stream_ != nullptr;
    }

  private:
    void Connect();
    void Retry();
    World *world_;
    Node *node_;
    Opener open_;
    std::function<void(const Bytes &)> message_;
    std::function<void()> ended_;
    StreamPointer stream_;
    uint64_t generation_ = 0, delay_ms_ = 100;
};

// Runs a shell's pump once at the end of the turn, however often it is asked for, and when its
// core is due.
class Turn
{
  public:
    Turn(World *world, Node *node, std::function<void()> pump) : world_(world), node_(node), pump_(pump) {}
    void Touch();
    // UINT64_MAX: it is not.
    void Due(uint64_t at_ms);
    void Forget()
    {
        touched_ = false, due_at_ms_ = 0;
    }

  private:
    World *world_;
    Node *node_;
    std::function<void()> pump_;
    bool touched_ = false;
    uint64_t due_at_ms_ = 0;
};

// Those who watch a process: a stream each, and what the core keeps of it.
template <class Watch> using Watches = std::vector<std::unique_ptr<Watch>>;

// Adds one that closes its part of the core and goes when its stream ends.
template <class Watch, class Close>
Watch *AddWatch(Watches<Watch> *watches, StreamPointer stream, Watch watch, Close close)
{
    watches->push_back(std::make_unique<Watch>(watch));
    Watch *added = watches->back().get();
    stream->End(Stream::kServer).ended = [watches, added, close] {
        auto found =
            std::find_if(watches->begin(), watches->end(), [&](const auto &one) { return one.get() == added; });
        if (found == watches->end())
            return; // the process crashed meanwhile
        close(added->watcher);
        watches->erase(found);
    };
    return added;
}

// muster-registry. Its disk survives.
class Registry
{
  public:
    Registry(World *world, Coordinator *all, Node *node);
    ~Registry()
    {
        Stop();
    }
    void Start();
    void Stop();

    // The methods.
    void Register(const Bytes &request, World::Answer answer);
    void Unregister(const Bytes &request, World::Answer answer);
    void GetWorkers(const Bytes &request, World::Answer answer);
    void ReportLiveness(const Bytes &request, World::Answer answer);
    void SetDraining(const Bytes &request, World::Answer answer);
    // Answered with nothing when it is refused.
    void SetAssignment(const Bytes &request, World::Answer answer);
    void WatchWorkers(uint64_t after_revision, StreamPointer stream);
    // Another process opens that stream.
    void Follow(Node *from, uint64_t after_revision, std::function<void(StreamPointer)> result);

    Node *node;
    struct registry *core = nullptr;
    std::map<std::string, std::string> disk;

    // Told of a registration that is applied, before anybody is answered; and of a removal
    // when it is about to be on disk.
    std::function<void(const std::string &id, uint64_t incarnation, const std::vector<std::string> &assigned)>
        on_registered;
    std::function<void(const std::string &id, uint64_t incarnation, const std::string &reason)> on_removed;
    // Told of an assignment that was changed by a move.
    std::function<void(const std::string &id)> on_moved;

  private:
    struct Operation {
        enum Kind { kRegister, kRemove, kDrain, kAssign } kind;
        std::string id;
        Bytes spec; // a packed RegisterWorkerRequest, or SetAssignmentRequest
        std::vector<std::string> assigned;
        uint64_t incarnation = 0;
        std::string reason;
        bool draining = false;
        uint64_t since_ms = 0;
        std::function<void(bool done)> finish;
    };
    struct Watcher {
        StreamPointer stream;
        registry_cursor cursor;
    };
    void Queue(Operation operation);
    static void Gather(std::deque<Operation> *from, std::vector<Operation> *to);
    void NextRegistrations();
    void Assign();
    void Assigned(const Bytes *answer);
    void Commit();
    void Pump();

    World *world_;
    Coordinator *all_;
    registry_meta disk_meta_ = {};
    std::deque<Operation> registrations_; // wait for the assigner
    std::vector<Operation> assigning_;
    std::deque<Operation> queue_; // wait for the disk
    std::vector<Operation> batch_;
    std::vector<registry_change> changes_; // of the batch: on their way to the disk
    bool committing_ = false;
    bool pump_due_ = false;
    std::vector<Watcher> watchers_;
};

// muster-assigner.
class Assigner
{
  public:
    Assigner(World *world, Coordinator *all, Node *node);
    ~Assigner()
    {
        Stop();
    }
    void Start();
    void Stop();
    void Assign(const Bytes &request, World::Answer answer);
    void WatchCatalog(StreamPointer stream);

    Node *node;
    struct assigner *core = nullptr;

  private:
    void Look();
    void LookAgain(uint64_t delay_ms);
    void WatchHealth();

    World *world_;
    Coordinator *all_;
    KeptStream watch_, health_;
};

// muster-health.
class Health
{
  public:
    Health(World *world, Coordinator *all, Node *node);
    ~Health()
    {
        Stop();
    }
    void Start();
    void Stop();
    void Heartbeat(StreamPointer stream);
    void WatchHealth(StreamPointer stream);

    Node *node;
    struct health *core = nullptr;

  private:
    struct Watch {
        StreamPointer stream;
        health_watcher *watcher;
        bool gathering = false;
    };
    void Pump();
    void Send(Watch *watch);

    World *world_;
    Coordinator *all_;
    KeptStream watch_;
    Turn turn_;
    Watches<Watch> watches_;
    uint64_t report_retry_at_ms_ = 0;
};

// muster-router.
class Router
{
  public:
    Router(World *world, Coordinator *all, Node *node);
    ~Router()
    {
        Stop();
    }
    void Start();
    void Stop();
    void ReportOutcomes(const Bytes &request, World::Answer answer);
    void WatchRoutes(const Bytes &request, StreamPointer stream);

    Node *node;
    struct router *core = nullptr;

  private:
    struct Watch {
        StreamPointer stream;
        router_watcher *watcher;
    };
    void Pump();

    World *world_;
    Coordinator *all_;
    KeptStream workers_, health_, catalog_;
    Turn turn_;
    Watches<Watch> watches_;
};

// What the gateway does for workers and with the route table.
class Gateway
{
  public:
    Gateway(World *world, Coordinator *all, Node *node);
    ~Gateway()
    {
        Stop();
    }
    void Start();
    void Stop();

    // REST: passed on to the registry; answered with what it said.
    void Register(const Bytes &request, World::Answer answer);
    void Unregister(const Bytes &request, World::Answer answer);
    // REST: a packed Heartbeat, answered with a packed WorkerCommand (type 0: nothing to do)
    // when health has acknowledged it.
    void Heartbeat(const Bytes &heartbeat, World::Answer answer);

    // Where a request for the service would go; empty: nowhere.
    std::string Pick(const std::string &service);
    // What the router has told it.
    RouteTable routes;
    // Told when its table is not what it was told.
    std::function<void(const std::string &why)> on_difference;
    void ReportFailure(const std::string &service, const std::string &worker_id);

    Node *node;
    bool has_table = false;

  private:
    struct Waiting {
        World::Answer answer;
        Bytes command;
    };
    void Acknowledged(const Bytes &response);
    void CompareTables() const;

    World *world_;
    Coordinator *all_;
    KeptStream routes_, heartbeats_;
    pick_table *table_ = nullptr;
    pick_state state_ = {};
    StreamPointer heartbeat_stream_;
    uint64_t sequence_ = 0;
    std::map<uint64_t, Waiting> waiting_;
};

struct Coordinator {
    explicit Coordinator(World *world);
    Registry registry;
    Assigner assigner;
    Health health;
    Router router;
    Gateway gateway;
    std::vector<Node *> Nodes()
    {
        return {registry.node, assigner.node, health.node, router.node, gateway.node};
    }
    void Start(Node *node);
    void Crash(Node *node);
};

// The detector's settings in the simulation are the real ones.
constexpr health_settings kHealth = {{90000, 120000, 5000}, {0.55, 10}, {15000, 600000}, 100};

} // namespace simulation
