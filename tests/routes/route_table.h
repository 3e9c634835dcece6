// What a watcher of WatchRoutes knows, as plainly as router.proto says it.

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

extern "C" {
#include "muster/v1/router.pb-c.h"
}

struct RouteEnd {
    std::string url;
    uint32_t weight, priority;
    bool operator==(const RouteEnd &other) const
    {
        return url == other.url && weight == other.weight && priority == other.priority;
    }
};

class RouteTable
{
  public:
    using Ends = std::map<std::string, RouteEnd>; // by worker
    struct Service {
        std::string path;
        std::set<std::string> aliases;
        Ends ends;
        bool operator==(const Service &other) const
        {
            return path == other.path && aliases == other.aliases && ends == other.ends;
        }
    };

    // Applies a message. What it does not allow is in `complaint`.
    void Take(const Muster__V1__WatchRoutesResponse &message);
    // What to ask for when the connection was lost.
    Muster__V1__WatchRoutesRequest Position() const;
    bool Has(const std::string &service, const std::string &worker_id) const;
    std::set<std::string> Workers(const std::string &service) const;

    std::map<std::string, Service> services;
    uint64_t epoch = 0, revision = 0;
    bool in_snapshot = false;
    std::string complaint;

    // Of the messages taken since the last Forget.
    void Forget();
    size_t messages = 0, snapshots = 0, largest = 0; // `largest`: changes in one message
    size_t endpoints = 0;                            // in all of them
    std::set<std::string> changed, removed;          // services
    std::set<std::string> workers;                   // whose endpoints these were

  private:
    std::map<std::string, std::set<std::string>> named_; // by the snapshot
};
