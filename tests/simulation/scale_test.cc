// A very large fleet on the cores of registry and health, under simulated time: what a thousand workers do not
// show. That nobody is lost or given up wrongly when everything happens to all of them at once, that no step of a
// core takes long because the fleet is large, and what a worker costs in memory.
//
// MUSTER_SIMULATION_WORKERS sets how many.

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tests/simulation/world.h"

extern "C" {
#include "common/worker_status.h"
#include "services/health/health.h"
#include "services/registry/registry.h"
}

namespace simulation
{

// Sanitizers make every step several times slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kWorkers = 20000;
constexpr bool kMemoryIsOurs = false;
#else
constexpr size_t kWorkers = 200000;
constexpr bool kMemoryIsOurs = true;
#endif
constexpr size_t kHeartbeatsInAMessage = 64;
constexpr size_t kStreams = 16;
constexpr size_t kChangesInABatch = 1000;
constexpr uint64_t kIntervalMs = 30000;
constexpr uint64_t kLateMs = 90000, kGoneMs = 120000;
constexpr health_settings kSettings = {{kLateMs, kGoneMs, 5000}, {0.55, 10}, {15000, 600000}, 100};

size_t Workers()
{
    const char *text = std::getenv("MUSTER_SIMULATION_WORKERS");
    return text == nullptr ? kWorkers : std::strtoull(text, nullptr, 10);
}

size_t ResidentBytes()
{
    std::ifstream statm("/proc/self/statm");
    size_t whole = 0, resident = 0;
    statm >> whole >> resident;
    return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

std::string Id(size_t number)
{
    char id[32];
    std::snprintf(id, sizeof(id), "worker-%07zu", number);
    return id;
}

// What a worker says of itself: 3 services, 300 bytes of capabilities.
class Spec
{
  public:
    explicit Spec(const std::string &id) : id_(id), url_("https://" + id + ".example.com"), json_(300, ' ')
    {
        std::string json = "{\"has_gpu\": true, \"gpu_type\": \"RTX 4090\", \"node\": \"" + id + "\"}";
        json_.replace(0, json.size(), json);
        capabilities_ = MUSTER__V1__CAPABILITIES__INIT;
        capabilities_.has_gpu = 1;
        capabilities_.json = json_.data();
        spec_ = MUSTER__V1__WORKER_SPEC__INIT;
        spec_.worker_id = id_.data();
        spec_.tunnel_url = url_.data();
        spec_.capabilities = &capabilities_;
        for (size_t i = 0; i < 3; i++) {
            names_[i] = "service-" + std::to_string(i);
            urls_[i] = "https://s" + std::to_string(i) + "." + id + ".example.com";
            services_[i] = MUSTER__V1__ANNOUNCED_SERVICE__INIT;
            services_[i].name = names_[i].data();
            services_[i].url = urls_[i].data();
            pointers_[i] = &services_[i];
        }
        spec_.n_services = 3;
        spec_.services = pointers_;
    }
    const Muster__V1__WorkerSpec *Get() const
    {
        return &spec_;
    }

  private:
    std::string id_, url_, json_, names_[3], urls_[3];
    Muster__V1__Capabilities capabilities_;
    Muster__V1__AnnouncedService services_[3], *pointers_[3];
    Muster__V1__WorkerSpec spec_;
};

class Fleet : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        StartRegistry();
        StartHealth();
    }
    void TearDown() override
    {
        health_destroy(health_);
        registry_destroy(registry_);
    }

    // --- The processes ---
    void StartRegistry()
    {
        registry_ = registry_create(REGISTRY_RING_EVENTS);
        ASSERT_NE(registry_, nullptr);
        for (size_t i = 0; i < disk_.size(); i++) {
            std::string id = Id(i);
            if (!disk_[i].empty()) {
                ASSERT_EQ(
                    registry_restore(registry_, i + 1, id.data(), id.size(), disk_[i].data(), disk_[i].size(), Unix()),
                    REGISTRY_OK);
            }
        }
        registry_restored(registry_, &disk_meta_);
        disk_meta_ = registry_meta_after(registry_, nullptr, 0);
        registry_meta_stored(registry_, &disk_meta_);
    }
    void StartHealth()
    {
        health_ = health_create(&kSettings, now_ms_);
        ASSERT_NE(health_, nullptr);
        for (auto &stream : streams_)
            stream = health_stream_open(health_, nullptr);
        sequences_.assign(kStreams, 0);
        Watch();
    }
    // Health watches the registry, for the first time or again.
    void Watch()
    {
        registry_cursor_start(registry_, &cursor_, health_watch_begin(health_));
        Pump();
    }
    int64_t Unix() const
    {
        return 1700000000000 + static_cast<int64_t>(now_ms_);
    }

    // --- Between them, through bytes as on the wire ---
    void Follow()
    {
        while (const Muster__V1__WatchWorkersResponse *message = registry_cursor_next(registry_, &cursor_)) {
            Unpacked unpacked(muster__v1__watch_workers_response__descriptor, Pack(message->base));
            ASSERT_TRUE(health_apply_watch(health_, &unpacked.As<Muster__V1__WatchWorkersResponse>(), now_ms_));
        }
    }
    void Report()
    {
        Muster__V1__ReportLivenessRequest report;
        while (health_fill_liveness(health_, kChangesInABatch, now_ms_, &report)) {
            std::vector<registry_change> removals;
            for (size_t i = 0; i < report.n_changes; i++) {
                const Muster__V1__LivenessChange *told = report.changes[i];
                registry_change change;
                if (told->status != WORKER_REMOVED)
                    registry_set_status(registry_, told->worker_id, told->incarnation, told->status, told->reason,
                                        Unix());
                else if (registry_prepare_removal(registry_, told->worker_id, told->incarnation, told->reason, Unix(),
                                                  &change) == REGISTRY_OK)
                    removals.push_back(change);
            }
            Commit(&removals);
            health_liveness_answered(health_, true);
        }
    }
    void Pump()
    {
        Follow();
        Report();
        Follow();
    }
    void Commit(std::vector<registry_change> *changes)
    {
        disk_meta_ = registry_meta_after(registry_, changes->data(), changes->size());
        registry_meta_stored(registry_, &disk_meta_);
        for (registry_change &change : *changes) {
            struct buffer value = BUFFER_INIT;
            uint64_t row = registry_change_row(&change);
            registry_change_value(&change, &value);
            if (disk_.size() < row)
                disk_.resize(row);
            disk_[row - 1].assign(value.data == nullptr ? "" : value.data, value.bytes);
            disk_[row - 1].shrink_to_fit();
            buffer_free(&value);
            ASSERT_NE(registry_apply(registry_, &change), 0u);
        }
        changes->clear();
    }

    // --- The fleet ---
    void Register(size_t count)
    {
        char llm[] = "llm-inference";
        char *assigned[] = {llm};
        std::vector<registry_change> changes;
        for (size_t i = 0; i < count; i++) {
            registry_change change;
            Spec spec(Id(i));
            ASSERT_EQ(registry_prepare_registration(registry_, spec.Get(), nullptr, assigned, 1, Unix(), &change),
                      REGISTRY_OK);
            changes.push_back(change);
            if (changes.size() == kChangesInABatch || i + 1 == count) {
                Commit(&changes);
                Pump();
            }
        }
        workers_ = count;
    }
    // Heartbeats of workers `first` to `last - 1`, in one message, as a gateway relays them.
    void Hear(size_t first, size_t last)
    {
        char memory[] = "24.5GB";
        std::vector<std::string> ids;
        std::vector<Muster__V1__Heartbeat> heartbeats(last - first, MUSTER__V1__HEARTBEAT__INIT);
        std::vector<Muster__V1__Heartbeat *> pointers;
        Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
        load.current_load = static_cast<double>(now_ms_ % 100) / 100;
        load.available_memory = memory;
        for (size_t i = first; i < last; i++)
            ids.push_back(Id(i));
        for (size_t i = 0; i < ids.size(); i++) {
            heartbeats[i].worker_id = ids[i].data();
            heartbeats[i].incarnation = 1;
            heartbeats[i].status = WORKER_ONLINE;
            heartbeats[i].load = &load;
            pointers.push_back(&heartbeats[i]);
        }
        size_t stream = first / kHeartbeatsInAMessage % kStreams;
        Muster__V1__HeartbeatRequest request = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
        request.n_heartbeats = pointers.size();
        request.heartbeats = pointers.data();
        request.sequence = ++sequences_[stream];
        request.relayed = 1;
        ASSERT_EQ(health_stream_message(health_, streams_[stream], &request, now_ms_), HEALTH_MESSAGE_TAKEN);
        Muster__V1__HeartbeatResponse response;
        ASSERT_TRUE(health_stream_response(health_, streams_[stream], &response));
        ASSERT_EQ(response.acknowledged_sequence, sequences_[stream]);
        for (size_t i = 0; i < response.n_commands; i++)
            ASSERT_EQ(response.commands[i]->type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT);
    }
    // Lets time pass. Workers up to `living` are heard every 30 s, spread evenly; `each_turn` looks after every turn.
    void Run(uint64_t duration_ms, size_t living, const std::function<void()> &each_turn = nullptr)
    {
        constexpr uint64_t kStepMs = 100;
        size_t messages = (living + kHeartbeatsInAMessage - 1) / kHeartbeatsInAMessage;
        for (uint64_t end_ms = now_ms_ + duration_ms; now_ms_ < end_ms;) {
            const uint64_t step_end_ms = now_ms_ + kStepMs, phase_ms = now_ms_ % kIntervalMs;
            for (size_t i = messages * phase_ms / kIntervalMs; i < messages * (phase_ms + kStepMs) / kIntervalMs; i++)
                Hear(i * kHeartbeatsInAMessage, std::min(living, (i + 1) * kHeartbeatsInAMessage));
            for (; now_ms_ < step_end_ms; now_ms_ = std::max(now_ms_, health_next_ms(health_))) {
                health_counts before = health_count(health_);
                health_advance(health_, now_ms_);
                health_counts after = health_count(health_);
                judged_at_once_ = std::max({judged_at_once_, Distance(before.degraded, after.degraded),
                                            Distance(before.removed, after.removed)});
                Pump();
                if (each_turn)
                    each_turn();
            }
            now_ms_ = step_end_ms;
        }
    }
    static uint64_t Distance(uint64_t a, uint64_t b)
    {
        return a > b ? a - b : b - a;
    }
    // Registry and health both hold exactly these, all of them well.
    void ExpectAllWell(size_t count)
    {
        EXPECT_EQ(registry_count(registry_), count);
        health_counts counts = health_count(health_);
        EXPECT_EQ(counts.workers, count);
        EXPECT_EQ(counts.online, count);
        EXPECT_TRUE(health_check(health_));
        std::vector<const struct record *> page(1000);
        std::string after;
        size_t seen = 0;
        while (size_t found = registry_list(registry_, after.c_str(), page.data(), page.size())) {
            for (size_t i = 0; i < found; i++) {
                ASSERT_EQ(page[i]->id, Id(seen++));
                ASSERT_EQ(page[i]->status, WORKER_ONLINE);
            }
            after = page[found - 1]->id;
        }
        EXPECT_EQ(seen, count);
    }

    uint64_t now_ms_ = 1000000;
    size_t workers_ = 0;
    uint64_t judged_at_once_ = 0;
    registry *registry_ = nullptr;
    registry_meta disk_meta_ = {};
    std::vector<std::string> disk_; // values, by row
    registry_cursor cursor_;
    health *health_ = nullptr;
    health_stream *streams_[kStreams] = {};
    std::vector<uint64_t> sequences_;
};

TEST_F(Fleet, NobodyIsLostAndTheGoneAreGone)
{
    size_t workers = Workers(), living = workers * 6 / 10;
    Register(workers);
    Run(2 * kIntervalMs, workers);
    ExpectAllWell(workers);

    // Four in ten fall silent at once: all of them late, then gone; nobody else.
    uint64_t silent_from_ms = now_ms_;
    Run(kLateMs - kIntervalMs, living);
    EXPECT_EQ(health_count(health_).degraded, 0u) << "nobody is late before its time";
    Run(kGoneMs - kLateMs + 2 * kIntervalMs, living, [&] {
        const health_counts counts = health_count(health_);
        ASSERT_EQ(counts.braked, 0u);
        ASSERT_GE(counts.online, living);
        ASSERT_GE(registry_count(registry_), living);
    });
    EXPECT_GE(now_ms_ - silent_from_ms, kGoneMs);
    ExpectAllWell(living);

    // Health ends, and comes back knowing nothing.
    health_destroy(health_);
    StartHealth();
    EXPECT_EQ(health_count(health_).workers, living);
    Run(2 * kIntervalMs, living);
    ExpectAllWell(living);

    // So does the registry.
    registry_destroy(registry_);
    StartRegistry();
    Watch();
    Run(2 * kIntervalMs, living);
    ExpectAllWell(living);
}

TEST_F(Fleet, AFleetThatIsLateAtOnceIsJudgedInSteps)
{
    size_t workers = std::min<size_t>(Workers(), 100000);
    Register(workers);
    for (size_t first = 0; first < workers; first += kHeartbeatsInAMessage)
        Hear(first, std::min(workers, first + kHeartbeatsInAMessage));
    Run(kLateMs + 100 + workers / HEALTH_LEASES_AT_ONCE * HEALTH_LEASES_REST_MS, 0);
    EXPECT_EQ(health_count(health_).degraded, workers);
    EXPECT_EQ(judged_at_once_, HEALTH_LEASES_AT_ONCE);
    // Above 55 %, evictions slow down; and all are back when they are heard.
    Run(kGoneMs - kLateMs + 60000, 0);
    EXPECT_GT(registry_count(registry_), workers * 9 / 10);
    EXPECT_GT(health_count(health_).braked, workers * 8 / 10);
}

TEST_F(Fleet, AWorkerCostsLessThanAKilobyteInRegistryAndHealth)
{
    if (!kMemoryIsOurs)
        GTEST_SKIP() << "sanitizers add memory of their own";
    size_t workers = Workers();
    // The disk's part is the test's own: as large as it gets, before the first measurement.
    size_t before = ResidentBytes();
    Register(workers);
    for (size_t first = 0; first < workers; first += kHeartbeatsInAMessage)
        Hear(first, std::min(workers, first + kHeartbeatsInAMessage));
    size_t after = ResidentBytes(), disk = 0;
    for (const std::string &value : disk_)
        disk += value.capacity() + sizeof(value) + 16;
    double each = static_cast<double>(after - before - disk) / static_cast<double>(workers);
    std::printf("%zu workers: %.0f bytes each\n", workers, each);
    EXPECT_LT(each, 1000);
}

} // namespace simulation
