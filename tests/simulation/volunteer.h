// A worker's machine in the simulated world: registers over REST, sends heartbeats by stream
// or, some of them, through the gateway, and does what it is told.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/simulation/processes.h"

namespace simulation
{

class Volunteer
{
  public:
    Volunteer(World *world, Coordinator *all, size_t number);

    void Start();
    // The process dies, or its machine is cut off for good.
    void Crash(bool silently);
    // Unregisters, then ends.
    void Leave();
    // Something happened to its own connection.
    void Trouble()
    {
        last_trouble_ms = world_->Now();
    }
    void ResetStream();

    // A registration is under way.
    bool IsRegistering() const
    {
        return registering_;
    }

    std::string id;
    Node *node;
    Muster__V1__WorkerType type;
    bool relayed;          // heartbeats over REST
    std::string announced; // a service that it brings along; may be empty

    bool leaving = false;
    bool silent = false;        // its death cannot be noticed
    uint64_t down_since_ms = 0; // while it is down
    uint64_t last_trouble_ms = 0;
    uint64_t last_acknowledged_ms = 0;
    uint64_t incarnation = 0;              // as it was told; 0: it is not registered
    uint64_t acknowledged_incarnation = 0; // the highest that it was ever told
    std::vector<std::string> assigned;
    bool draining = false;

    // What it says of its services, if it says anything: those that it was told to run take a while to start.
    bool says_states = false;
    std::map<std::string, std::string> states;
    std::function<bool(const std::string &service)> can_run; // nullptr: all
    // Its load, where the test decides that; nullptr: it changes now and then.
    std::function<double(const Volunteer &)> load_of;
    bool Runs(const std::string &service) const;

    // Told when a registration's answer arrives.
    std::function<void(const Volunteer &)> on_acknowledged;

  private:
    void Register();
    void Registered(const Bytes &answer);
    void Beat();
    void NextBeat(uint64_t delay_ms);
    void Connect();
    Bytes Heartbeat();
    void Obey(const Muster__V1__WorkerCommand &command);
    void Assign(char *const *names, size_t count);
    void Began(const std::string &service);

    World *world_;
    Coordinator *all_;
    bool registering_ = false, connecting_ = false;
    uint64_t beat_ = 0; // counts schedules of heartbeats: only the last one is valid
    uint64_t sequence_ = 0;
    double load_ = 0;
    StreamPointer stream_;
};

} // namespace simulation
