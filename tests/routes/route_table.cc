#include "tests/routes/route_table.h"

#include <algorithm>

void RouteTable::Forget()
{
    messages = snapshots = largest = endpoints = 0;
    changed.clear();
    removed.clear();
    workers.clear();
}

void RouteTable::Take(const Muster__V1__WatchRoutesResponse &message)
{
    messages++;
    if (message.epoch == 0)
        complaint = "a message without an epoch";
    if (message.epoch != epoch && !message.snapshot)
        complaint = "another epoch without a snapshot";
    if (message.snapshot) {
        snapshots++;
        in_snapshot = true;
        named_.clear();
        epoch = message.epoch;
    }
    size_t changes = message.n_removed_services;
    for (size_t i = 0; i < message.n_removed_services; i++) {
        services.erase(message.removed_services[i]);
        named_.erase(message.removed_services[i]);
        removed.insert(message.removed_services[i]);
    }
    for (size_t i = 0; i < message.n_services; i++) {
        const auto *said = message.services[i];
        auto &service = services[said->service];
        auto &named = named_[said->service];
        changed.insert(said->service);
        service.path = said->path;
        service.aliases = {said->aliases, said->aliases + said->n_aliases};
        for (size_t j = 0; j < said->n_removed_worker_ids; j++) {
            service.ends.erase(said->removed_worker_ids[j]);
            named.erase(said->removed_worker_ids[j]);
        }
        for (size_t j = 0; j < said->n_endpoints; j++) {
            const auto *end = said->endpoints[j];
            service.ends[end->worker_id] = {end->url, end->weight, end->priority};
            named.insert(end->worker_id);
            workers.insert(end->worker_id);
        }
        endpoints += said->n_endpoints;
        changes += said->n_removed_worker_ids + said->n_endpoints;
    }
    largest = std::max(largest, changes);
    if (message.snapshot_complete) {
        if (!in_snapshot)
            complaint = "the end of a snapshot that was not begun";
        for (auto service = services.begin(); service != services.end();) {
            auto named = named_.find(service->first);
            if (named == named_.end()) {
                service = services.erase(service);
                continue;
            }
            auto &ends = service->second.ends;
            for (auto end = ends.begin(); end != ends.end();)
                end = named->second.count(end->first) == 0 ? ends.erase(end) : std::next(end);
            ++service;
        }
        in_snapshot = false;
    }
    if (in_snapshot != (message.revision == 0))
        complaint = "a revision inside a snapshot, or none outside of one";
    if (!in_snapshot) {
        if (message.revision < revision && !message.snapshot_complete)
            complaint = "a revision that falls";
        revision = message.revision;
    }
}

Muster__V1__WatchRoutesRequest RouteTable::Position() const
{
    Muster__V1__WatchRoutesRequest request = MUSTER__V1__WATCH_ROUTES_REQUEST__INIT;
    request.epoch = in_snapshot ? 0 : epoch;
    request.after_revision = in_snapshot ? 0 : revision;
    return request;
}

bool RouteTable::Has(const std::string &service, const std::string &worker_id) const
{
    auto found = services.find(service);
    return found != services.end() && found->second.ends.count(worker_id) != 0;
}

std::set<std::string> RouteTable::Workers(const std::string &service) const
{
    std::set<std::string> ids;
    auto found = services.find(service);
    if (found != services.end())
        for (const auto &[id, end] : found->second.ends)
            ids.insert(id);
    return ids;
}
