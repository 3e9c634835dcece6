// A run: a coordinator and a fleet, faults, and what must hold all the while.
//
// Checked as it happens:
//   - a registration that was answered is on disk, then and after every restart; incarnations
//     of an id never go back;
//   - every assignment is in the catalog and fits the worker's type;
//   - a worker that is alive, and had a heartbeat acknowledged lately, is never given up,
//     whatever happens to our own processes;
//   - a worker whose stream broke is out of the gateway's table within 1 s, one that fell
//     silent after 122 s; both are counted from when our own processes are well;
//   - a worker that is alive and heard is in the gateway's table when our processes are well;
//   - the cores' own checks.
// At the end, when the faults have stopped: the roll, health, the assigner, the router and the
// gateway all hold exactly the workers that live, and each worker knows its assignment.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/processes.h"
#include "tests/simulation/volunteer.h"

namespace simulation
{

struct Plan {
    uint64_t seed = 1;
    size_t workers = 1000;
    uint64_t duration_ms = 3600 * 1000; // with faults
};

struct Tally {
    uint64_t steps = 0, registrations = 0, removals = 0, kills = 0, silent_deaths = 0, leaves = 0, crashes = 0,
             partitions = 0, picks = 0, bounds_checked = 0, lives_checked = 0;
};

class Simulation
{
  public:
    explicit Simulation(const Plan &plan);
    // Runs it. False: something did not hold; `failure` says what.
    bool Run();
    std::string failure;
    Tally tally;

  private:
    void Fail(const std::string &what);
    void CheckEverySecond();
    void CheckRouting(Volunteer *volunteer, uint64_t epoch, uint64_t bound_ms);
    bool CheckCores();
    void CheckConverged();
    bool IsQuiet() const
    {
        return quiet_since_ms_ != 0;
    }
    void UpdateQuiet();
    bool IsCutOff(const Volunteer &volunteer) const;
    bool IsHeldOut(const Volunteer &volunteer) const;
    bool InTable(const Volunteer &volunteer) const;

    void ControlFault();
    void WorkerFault();
    void Kill(Volunteer *volunteer, bool silently);
    void CutOff(Volunteer *volunteer, uint64_t duration_ms);
    void Drain(Volunteer *volunteer, bool draining);
    void RequestService();

    Plan plan_;
    World world_;
    Coordinator all_;
    std::vector<std::unique_ptr<Volunteer>> fleet_;
    std::map<std::string, Volunteer *> by_id_;
    std::map<std::string, uint64_t> incarnations_; // the highest that was given
    std::unique_ptr<catalog, void (*)(catalog *)> catalog_;
    std::set<std::string> drained_;
    int faults_active_ = 0;
    uint64_t quiet_since_ms_ = 0;
    bool stop_ = false;
    uint64_t end_of_faults_ms_;
};

} // namespace simulation
