// Days of a fleet whose work rises and falls: the assigner adapts, among all the other cores, while messages are lost,
// processes of the coordinator crash, and workers come, go and drain.
//
// Each service has a demand, in workers; the day moves it from some services to others. A worker's load is its share of
// the demand of each service that runs there. Checked as it happens, while our own processes are well:
//   - a service that nobody on the roll has, and somebody could, is given to somebody: within a second and a half in
//     nine cases out of ten, and always within 25 s (a call that is lost is noticed after 5);
//   - and it runs somewhere 4 minutes later at the latest (a silent death is noticed after two, and it has to start);
//   - no worker swings: one that went from a service to another does not go back within three hours, unless workers of
//     one of the two came or went meanwhile;
//   - no worker has more than its share but for the second service of a swap, and no swap lasts more than ten minutes
//     and what the faults of our own take;
//   - the cores' own checks.
// At the end, when faults are over and the demand stays: nothing moves any more, no swap is under way, every service
// has somebody, and each worker knows what the registry has assigned to it.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/processes.h"
#include "tests/simulation/volunteer.h"

namespace simulation
{

struct DaysPlan {
    uint64_t seed = 1;
    double days = 3;
    size_t workers = 36;
    bool faults = true;
    double work = 1; // times as much as there is enough capacity for
};

struct DaysTally {
    uint64_t steps = 0, losses = 0, found = 0, found_soon = 0, swaps = 0, drops = 0, undone = 0, moves = 0, crashes = 0,
             short_ms = 0, crashes_in_swaps = 0, deaths = 0, drains = 0, swings_with_cause = 0;
    uint64_t digest = 14695981039346656037u; // of all that was assigned, and when
};

class Days
{
  public:
    explicit Days(const DaysPlan &plan);
    // False: something did not hold; `failure` says what.
    bool Run();
    std::string failure;
    DaysTally tally;

  private:
    struct Moved {
        std::string from, to;
        uint64_t at_ms = 0;
    };
    // What the registry has of a worker.
    struct Known {
        std::vector<std::string> assigned;
        Moved swap; // under way; "": none
        Moved last; // the last that was ended
    };
    void Fail(const std::string &what);
    double Demand(const std::string &service) const;
    double LoadOf(const Volunteer &volunteer) const;
    void CountRunning();
    bool IsQuiet(uint64_t since_ms) const;
    void Note(const std::string &id, bool moved);
    void CheckSwing(const std::string &id, Known *known, const Moved &ended);
    void CheckShare(const std::string &id, const Known &known);
    bool CouldTake(const record *record, const std::string &id, size_t number) const;
    bool CouldSomebodyTake(size_t number) const;
    void CheckCoverage();
    void CheckSwaps();
    void CheckEnd();
    void Tick();
    void CapacityChanged(const Volunteer &volunteer);
    void WorkerFault();
    void ControlFault();
    void CrashFor(Node *node, uint64_t down_ms);
    void Drain(Volunteer *volunteer, bool draining);

    DaysPlan plan_;
    World world_;
    Coordinator all_;
    std::unique_ptr<catalog, void (*)(catalog *)> catalog_;
    std::vector<std::unique_ptr<Volunteer>> fleet_;
    std::map<std::string, Volunteer *> by_id_;
    std::map<std::string, Known> known_;
    std::map<std::string, int> running_;             // workers on which each service runs
    std::map<std::string, uint64_t> capacity_at_ms_; // when workers of a service last came or went
    std::map<std::string, uint64_t> unassigned_since_ms_,
        unserved_since_ms_; // of each service, in quiet times; 0: it is
    uint64_t begin_ms_, faults_until_ms_, end_of_day_ms_, quiet_since_ms_ = 0, last_move_ms_ = 0;
    int partitions_ = 0;
    bool stop_ = false;
};

} // namespace simulation
