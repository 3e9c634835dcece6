// A roll and its watchers, for tests: what a registry around the core would do with it, with a
// map in the place of the disk and a pack and unpack in that of the network.

#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

extern "C" {
#include "services/registry/registry.h"
}

inline constexpr auto online = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
inline constexpr auto degraded = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED;
inline constexpr auto offline = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
inline constexpr auto reconnecting = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING;
inline constexpr auto removed = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED;

// What a watcher knows of a worker.
struct Known {
    uint64_t incarnation;
    int status;
    bool draining;
    std::vector<std::string> assigned;
    std::string url, reason;
};

// A roll with a disk that is a map, as the registry around the core would have it.
struct Roll {
    explicit Roll(size_t ring_events = 64) : registry(registry_create(ring_events)), ring(ring_events)
    {
        struct registry_meta nothing = {};
        registry_restored(registry, &nothing);
        store_numbers();
    }
    ~Roll()
    {
        registry_destroy(registry);
    }

    void store_numbers()
    {
        stored = registry_meta_after(registry, nullptr, 0);
        registry_meta_stored(registry, &stored);
    }

    struct registry_change prepare(const std::string &id, const std::vector<std::string> &assigned = {},
                                   const std::string &url = "http://a")
    {
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        spec.worker_id = const_cast<char *>(id.c_str());
        spec.tunnel_url = const_cast<char *>(url.c_str());
        std::vector<char *> names;
        for (const auto &name : assigned)
            names.push_back(const_cast<char *>(name.c_str()));
        struct registry_change change;
        EXPECT_EQ(registry_prepare_registration(registry, &spec, nullptr, names.data(), names.size(), 1000, &change),
                  REGISTRY_OK);
        return change;
    }

    // What the disk would do: numbers and value are kept, then the change is applied.
    uint64_t apply(struct registry_change &change)
    {
        stored = registry_meta_after(registry, &change, 1);
        struct buffer value = BUFFER_INIT;
        size_t id_bytes;
        std::string id = registry_change_id(&change, &id_bytes);
        EXPECT_EQ(id.size(), id_bytes);
        registry_change_value(&change, &value);
        if (value.bytes > 0)
            disk[id] = std::string(value.data, value.bytes);
        else
            disk.erase(id);
        buffer_free(&value);
        registry_meta_stored(registry, &stored);
        return registry_apply(registry, &change);
    }

    uint64_t put(const std::string &id, const std::vector<std::string> &assigned = {},
                 const std::string &url = "http://a")
    {
        struct registry_change change = prepare(id, assigned, url);
        return apply(change);
    }

    uint64_t remove(const std::string &id, const char *reason = "unregistered")
    {
        struct registry_change change;
        EXPECT_EQ(registry_prepare_removal(registry, id.c_str(), 0, reason, 2000, &change), REGISTRY_OK);
        return apply(change);
    }

    uint64_t drain(const std::string &id, bool draining)
    {
        struct registry_change change;
        EXPECT_EQ(registry_prepare_draining(registry, id.c_str(), draining, &change), REGISTRY_OK);
        return apply(change);
    }

    // Starts again from what is on disk.
    void restart()
    {
        registry_destroy(registry);
        registry = registry_create(ring);
        for (const auto &[id, value] : disk)
            ASSERT_EQ(registry_restore(registry, 0, id.data(), id.size(), value.data(), value.size(), 5000),
                      REGISTRY_OK);
        registry_restored(registry, &stored);
        store_numbers();
    }

    std::map<std::string, Known> contents() const
    {
        std::map<std::string, Known> all;
        std::vector<const struct record *> records(registry_count(registry) + 1);
        size_t count = registry_list(registry, "", records.data(), records.size());
        EXPECT_EQ(count, registry_count(registry));
        for (size_t i = 0; i < count; i++) {
            Muster__V1__Worker *worker = record_unpack(records[i]);
            all[records[i]->id] = known(worker);
            muster__v1__worker__free_unpacked(worker, nullptr);
        }
        return all;
    }

    static Known known(const Muster__V1__Worker *worker)
    {
        Known known = {worker->incarnation,      worker->status,       worker->draining != 0, {},
                       worker->spec->tunnel_url, worker->status_reason};
        for (size_t i = 0; i < worker->n_assigned_services; i++)
            known.assigned.push_back(worker->assigned_services[i]);
        return known;
    }

    struct registry *registry;
    size_t ring;
    struct registry_meta stored = {};
    std::map<std::string, std::string> disk;
};

// A watcher on the other end of a wire.
struct Watcher {
    explicit Watcher(Roll &watched, uint64_t after_revision = 0) : roll(watched)
    {
        registry_cursor_start(roll.registry, &cursor, after_revision);
    }

    // Takes one message; false: there was none.
    bool step()
    {
        const Muster__V1__WatchWorkersResponse *message = registry_cursor_next(roll.registry, &cursor);
        if (message == nullptr)
            return false;
        std::vector<uint8_t> wire(muster__v1__watch_workers_response__get_packed_size(message));
        muster__v1__watch_workers_response__pack(message, wire.data());
        Muster__V1__WatchWorkersResponse *copy =
            muster__v1__watch_workers_response__unpack(nullptr, wire.size(), wire.data());
        EXPECT_NE(copy, nullptr);
        take(copy);
        muster__v1__watch_workers_response__free_unpacked(copy, nullptr);
        return true;
    }

    void take(const Muster__V1__WatchWorkersResponse *message)
    {
        messages++;
        if (message->snapshot_begin) {
            snapshots++;
            workers.clear();
            in_snapshot = true;
        }
        for (size_t i = 0; i < message->n_events; i++) {
            const Muster__V1__WorkerEvent *event = message->events[i];
            events++;
            if (in_snapshot) {
                EXPECT_EQ(event->revision, 0u);
            } else {
                EXPECT_GT(event->revision, last_revision);
                last_revision = event->revision;
            }
            switch (event->type) {
            case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT:
                ASSERT_NE(event->worker, nullptr);
                EXPECT_STREQ(event->worker_id, event->worker->spec->worker_id);
                EXPECT_EQ(event->incarnation, event->worker->incarnation);
                workers[event->worker_id] = Roll::known(event->worker);
                break;
            case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS:
                ASSERT_TRUE(workers.count(event->worker_id));
                EXPECT_EQ(workers[event->worker_id].incarnation, event->incarnation);
                workers[event->worker_id].status = event->status;
                workers[event->worker_id].reason = event->reason;
                break;
            case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE:
                EXPECT_EQ(event->status, removed);
                workers.erase(event->worker_id);
                last_reason = event->reason;
                break;
            default:
                FAIL();
            }
        }
        if (message->snapshot_complete) {
            completed++;
            in_snapshot = false;
        }
        if (message->revision != 0) {
            EXPECT_FALSE(in_snapshot);
            EXPECT_GE(message->revision, last_revision);
            revision = last_revision = message->revision;
        }
    }

    void catch_up()
    {
        while (step()) {
        }
    }

    Roll &roll;
    struct registry_cursor cursor;
    std::map<std::string, Known> workers;
    uint64_t revision = 0, last_revision = 0;
    size_t messages = 0, events = 0, snapshots = 0, completed = 0;
    bool in_snapshot = false;
    std::string last_reason;
};

inline bool operator==(const Known &a, const Known &b)
{
    return a.incarnation == b.incarnation && a.status == b.status && a.draining == b.draining &&
           a.assigned == b.assigned && a.url == b.url && a.reason == b.reason;
}
