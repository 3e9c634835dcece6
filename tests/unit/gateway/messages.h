// Messages of the protocol for tests, with memory that lasts as long as the object.
#pragma once

extern "C" {
#include "gateway/replica.h"
}

#include <deque>
#include <string>
#include <vector>

class Texts
{
  public:
    char *keep(const std::string &text)
    {
        return texts_.emplace_back(text).data();
    }

  private:
    std::deque<std::string> texts_;
};

struct WorkerFields {
    std::string id;
    uint64_t revision = 1;
    uint64_t incarnation = 1;
    std::vector<std::string> assigned = {};
    std::vector<std::pair<std::string, std::string>> announced = {}; // name, url
    Muster__V1__WorkerType type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
    Muster__V1__WorkerStatus status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
    bool draining = false;
    std::string capabilities_json = "";
    int64_t registered_at_ms = 1767609000125;
};

class WorkerMessage
{
  public:
    explicit WorkerMessage(const WorkerFields &fields)
    {
        muster__v1__worker__init(&worker);
        muster__v1__worker_spec__init(&spec_);
        worker.spec = &spec_;
        spec_.worker_id = texts_.keep(fields.id);
        spec_.tunnel_url = texts_.keep("http://" + fields.id);
        spec_.location = texts_.keep("uk");
        if (!fields.capabilities_json.empty()) {
            muster__v1__capabilities__init(&capabilities_);
            capabilities_.json = texts_.keep(fields.capabilities_json);
            spec_.capabilities = &capabilities_;
        }
        for (const auto &[name, url] : fields.announced) {
            auto &service = services_.emplace_back();
            muster__v1__announced_service__init(&service);
            service.name = texts_.keep(name);
            service.url = texts_.keep(url);
            service_pointers_.push_back(&service);
        }
        spec_.services = service_pointers_.data();
        spec_.n_services = service_pointers_.size();
        for (const std::string &name : fields.assigned)
            assigned_.push_back(texts_.keep(name));
        worker.assigned_services = assigned_.data();
        worker.n_assigned_services = assigned_.size();
        worker.type = fields.type;
        worker.incarnation = fields.incarnation;
        worker.revision = fields.revision;
        worker.status = fields.status;
        worker.draining = fields.draining;
        worker.registered_at_ms = fields.registered_at_ms;
    }
    WorkerMessage(const WorkerMessage &) = delete;
    const Muster__V1__Worker *get() const
    {
        return &worker;
    }
    Muster__V1__Worker worker;

  private:
    Texts texts_;
    Muster__V1__WorkerSpec spec_;
    Muster__V1__Capabilities capabilities_;
    std::deque<Muster__V1__AnnouncedService> services_;
    std::vector<Muster__V1__AnnouncedService *> service_pointers_;
    std::vector<char *> assigned_;
};

// A message of WatchWorkers.
class Changes
{
  public:
    Changes()
    {
        muster__v1__watch_workers_response__init(&message);
    }
    Changes &put(const WorkerFields &fields)
    {
        auto &event = add(MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT, fields.id);
        event.worker = &workers_.emplace_back(fields).worker;
        event.revision = fields.revision;
        return *this;
    }
    Changes &status(const std::string &id, uint64_t incarnation, uint64_t revision, Muster__V1__WorkerStatus status,
                    const std::string &reason = "")
    {
        auto &event = add(MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS, id);
        event.incarnation = incarnation;
        event.revision = revision;
        event.status = status;
        event.reason = texts_.keep(reason);
        return *this;
    }
    Changes &remove(const std::string &id, uint64_t revision)
    {
        add(MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE, id).revision = revision;
        return *this;
    }
    Changes &upto(uint64_t revision)
    {
        message.revision = revision;
        return *this;
    }
    Changes &begin()
    {
        message.snapshot_begin = true;
        return *this;
    }
    Changes &complete(uint64_t revision)
    {
        message.snapshot_complete = true;
        return upto(revision);
    }
    Muster__V1__WatchWorkersResponse message;

  private:
    Muster__V1__WorkerEvent &add(Muster__V1__WorkerEventType type, const std::string &id)
    {
        auto &event = events_.emplace_back();
        muster__v1__worker_event__init(&event);
        event.type = type;
        event.worker_id = texts_.keep(id);
        pointers_.push_back(&event);
        message.events = pointers_.data();
        message.n_events = pointers_.size();
        return event;
    }
    Texts texts_;
    std::deque<WorkerMessage> workers_;
    std::deque<Muster__V1__WorkerEvent> events_;
    std::vector<Muster__V1__WorkerEvent *> pointers_;
};

// A message of WatchHealth.
class HealthChanges
{
  public:
    HealthChanges()
    {
        muster__v1__watch_health_response__init(&message);
    }
    HealthChanges &worker(const std::string &id, uint64_t incarnation, Muster__V1__WorkerStatus status,
                          int64_t last_heartbeat_at_ms = 0, double load = -1)
    {
        auto &health = health_.emplace_back();
        muster__v1__worker_health__init(&health);
        health.worker_id = texts_.keep(id);
        health.incarnation = incarnation;
        health.status = status;
        health.last_heartbeat_at_ms = last_heartbeat_at_ms;
        if (load >= 0) {
            auto &said = loads_.emplace_back();
            muster__v1__load__init(&said);
            said.current_load = load;
            health.load = &said;
        }
        pointers_.push_back(&health);
        message.workers = pointers_.data();
        message.n_workers = pointers_.size();
        return *this;
    }
    // Of the worker that was added last.
    HealthChanges &because(const std::string &reason, int64_t since_ms, bool held = false)
    {
        health_.back().reason = texts_.keep(reason);
        health_.back().status_changed_at_ms = since_ms;
        health_.back().held = held;
        return *this;
    }
    HealthChanges &silent(uint64_t ms)
    {
        health_.back().silent_ms = ms;
        return *this;
    }
    HealthChanges &complete()
    {
        message.snapshot_complete = true;
        return *this;
    }
    Muster__V1__WatchHealthResponse message;

  private:
    Texts texts_;
    std::deque<Muster__V1__WorkerHealth> health_;
    std::deque<Muster__V1__Load> loads_;
    std::vector<Muster__V1__WorkerHealth *> pointers_;
};

// A message of WatchCatalog.
class Catalog
{
  public:
    Catalog()
    {
        muster__v1__watch_catalog_response__init(&message);
    }
    Catalog &service(const std::string &name, Muster__V1__WorkerType requires_type, uint32_t priority, uint32_t port,
                     std::vector<std::string> aliases = {})
    {
        auto &service = services_.emplace_back();
        muster__v1__catalog_service__init(&service);
        service.name = texts_.keep(name);
        service.requires = requires_type;
        service.priority = priority;
        service.port = port;
        auto &names = aliases_.emplace_back();
        for (const std::string &alias : aliases)
            names.push_back(texts_.keep(alias));
        service.aliases = names.data();
        service.n_aliases = names.size();
        pointers_.push_back(&service);
        message.services = pointers_.data();
        message.n_services = pointers_.size();
        return *this;
    }
    Muster__V1__WatchCatalogResponse message;

  private:
    Texts texts_;
    std::deque<Muster__V1__CatalogService> services_;
    std::deque<std::vector<char *>> aliases_;
    std::vector<Muster__V1__CatalogService *> pointers_;
};
