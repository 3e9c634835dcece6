// Clocks that are set while a coordinator runs: every process, the workers included, has its wall
// clock moved by hours, forward and back, beneath it. Nothing but dates may follow.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <ctime>

namespace
{

constexpr int64_t kHourMs = 3600 * 1000;

// How far the clock of the processes that were given its environment is off.
class ClockShift
{
  public:
    ClockShift() : path(temporary_folder() + "/shift")
    {
        set(0);
    }
    void set(int64_t ms)
    {
        // In place: it is mapped.
        int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        EXPECT_EQ(pwrite(file, &ms, sizeof ms, 0), static_cast<ssize_t>(sizeof ms));
        close(file);
        now_off_ms = ms;
    }
    std::vector<std::string> environment() const
    {
        char library[PATH_MAX];
        EXPECT_NE(realpath("tests/integration/clock_shift.so", library), nullptr);
        return {"LD_PRELOAD=" + std::string(library), "CLOCK_SHIFT_FILE=" + path};
    }
    // What the processes take for now.
    int64_t now_ms() const
    {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec * 1000 + now.tv_nsec / 1000000 + now_off_ms;
    }

  private:
    std::string path;
    int64_t now_off_ms = 0;
};

// "2026-01-05T10:30:00.125Z" in milliseconds since the epoch; 0: it is none.
int64_t milliseconds(const std::string &text)
{
    struct tm tm = {};
    const char *rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &tm);
    return rest == nullptr ? 0 : timegm(&tm) * 1000;
}

std::vector<std::string> with(std::vector<std::string> all, const std::vector<std::string> &more)
{
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

class Clocks : public ::testing::Test
{
  protected:
    // The worker that speaks HTTP.
    Response register_worker(const std::string &id)
    {
        return coordinator->post("/api/worker/register",
                                 R"({"tunnel_url": "http://127.0.0.1:9", "worker_type": "storage", "worker_id": ")" +
                                     id + "\"}");
    }
    Response beat()
    {
        return coordinator->post("/api/worker/heartbeat", R"({"worker_id": "rest", "current_load": 0.25})");
    }
    // What must hold whatever the clock says; it is looked at again and again for several of the
    // times after which a worker that is not heard is off the roll.
    void watch(const std::string &after)
    {
        for (int i = 0; i < 25; i++) {
            EXPECT_EQ(beat().status, 200) << after;
            Json workers = coordinator->get("/api/admin/workers").json()["workers"];
            for (const char *id : {"demo-1", "demo-2", "rest"}) {
                Json worker = workers.find("worker_id", id);
                EXPECT_EQ(worker["status"].text(), "online") << after << ": " << worker.dump();
                EXPECT_EQ(worker["incarnation"].integer(), 1) << after << ": it registered again";
                EXPECT_LT(worker["age_seconds"].number(), 60) << after << ": " << worker.dump();
            }
            timespec pause = {0, 400000000};
            nanosleep(&pause, nullptr);
        }
        // Dates are those of the clock as it is.
        Json health = coordinator->get("/health").json();
        EXPECT_EQ(health["status"].text(), "healthy") << after << ": " << health.dump();
        EXPECT_LT(std::llabs(milliseconds(health["timestamp"].text()) - clock.now_ms()), 60000) << health.dump();
        Json demo = coordinator->worker("demo-1");
        EXPECT_LT(std::llabs(milliseconds(demo["last_heartbeat"].text()) - clock.now_ms()), 60000) << demo.dump();
        // What is durable goes on.
        std::string id = "registered after " + after;
        EXPECT_EQ(register_worker(id).status, 200) << after;
        Response exported = coordinator->get("/api/admin/export");
        EXPECT_EQ(exported.status, 200);
        EXPECT_NE(exported.body.find(id), std::string::npos) << after;
        EXPECT_FALSE(coordinator->worker(id).is_null()) << after;
        EXPECT_EQ(coordinator->request("/api/worker/unregister/" + percent(id), {.method = "DELETE"}).status, 200);
        for (const char *name : {"muster-registry", "muster-assigner", "muster-health", "muster-router",
                                 "muster-gateway", "demo-1", "demo-2"})
            EXPECT_EQ(coordinator->restarts(name), 0) << name << " after " << after;
    }
    static std::string percent(const std::string &text)
    {
        std::string out;
        for (char c : text)
            out += c == ' ' ? std::string("%20") : std::string(1, c);
        return out;
    }
    // Buckets that ended lately, by the clock as it is; and none in its future.
    void expect_history(const std::string &after)
    {
        EXPECT_TRUE(eventually([&] {
            beat();
            Json points =
                coordinator->get("/api/admin/history?worker=rest&metric=load&step=10").json()["metrics"]["load"];
            if (points.size() == 0)
                return false;
            int64_t last = milliseconds(points[points.size() - 1]["time"].text());
            return clock.now_ms() - last < 60000 && last <= clock.now_ms();
        })) << after
            << coordinator->get("/api/admin/history?worker=rest&metric=load&step=10").described();
        Json points = coordinator->get("/api/admin/history?worker=rest&metric=load&step=10").json()["metrics"]["load"];
        for (size_t i = 1; i < points.size(); i++)
            EXPECT_LT(points[i - 1]["time"].text(), points[i]["time"].text()) << "in their order";
        Response rows = coordinator->post(
            "/api/admin/query", R"({"sql": "SELECT count(*) FROM history WHERE worker_id = 'rest' AND step = 60"})");
        EXPECT_EQ(rows.status, 200) << rows.described();
        EXPECT_GT(rows.json()["rows"][0][0].integer(), 0) << after << rows.body;
        EXPECT_TRUE(coordinator->get("/health").json()["warning"].is_null());
    }

    ClockShift clock;
    std::unique_ptr<Coordinator> coordinator;
};

TEST_F(Clocks, ThatJumpTouchNothingButDates)
{
    CoordinatorOptions options;
    options.demo_workers = 2;
    options.environment = with(clock.environment(),
                               {"HEARTBEAT_TIMEOUT_SECONDS=2", "WORKER_TIMEOUT_SECONDS=3", "EVICTION_BRAKE_PERCENT=0"});
    coordinator = std::make_unique<Coordinator>(options);
    ASSERT_TRUE(coordinator->start()) << coordinator->log();
    ASSERT_EQ(register_worker("rest").status, 200);
    ASSERT_TRUE(
        eventually([&] { return coordinator->post("/api/service/document-processing", "some text").status == 200; }));
    Traffic traffic(coordinator->url() + "/api/service/document-processing", {.method = "POST", .body = "some text"},
                    1);
    ASSERT_TRUE(traffic.more(10));
    // The library does what it is for.
    clock.set(5 * kHourMs);
    ASSERT_TRUE(eventually([&] {
        return std::llabs(milliseconds(coordinator->get("/health").json()["timestamp"].text()) - clock.now_ms()) <
               60000;
    }));
    watch("five hours forward");
    expect_history("five hours forward");
    clock.set(-3 * kHourMs);
    watch("eight hours back");
    expect_history("eight hours back");
    clock.set(0);
    watch("the right time again");
    expect_history("the right time again");
    ASSERT_TRUE(traffic.more(10));
    traffic.stop();
    EXPECT_EQ(traffic.failed(), 0u) << traffic.failures();
    EXPECT_EQ(coordinator->stop(), 0);
}

// A machine without a battery for its clock, say.
TEST_F(Clocks, OfAWorkerAreNotBelieved)
{
    CoordinatorOptions options;
    options.environment = {"HEARTBEAT_TIMEOUT_SECONDS=2", "WORKER_TIMEOUT_SECONDS=3"};
    coordinator = std::make_unique<Coordinator>(options);
    ASSERT_TRUE(coordinator->start()) << coordinator->log();
    clock.set(-20 * 365 * 24 * kHourMs);
    Process worker("services/worker/muster-worker",
                   {"--coordinator-url", coordinator->url(), "--worker-id", "lost-in-time", "--port", "0"},
                   clock.environment());
    ASSERT_TRUE(eventually([&] { return coordinator->worker("lost-in-time")["status"].text() == "online"; }))
        << worker.errors();
    for (int64_t hours : {-1, 1, 1000000, 0}) {
        clock.set(hours * kHourMs);
        for (int i = 0; i < 10; i++) {
            Json shown = coordinator->worker("lost-in-time");
            ASSERT_EQ(shown["status"].text(), "online") << hours << ": " << shown.dump();
            EXPECT_LT(std::llabs(milliseconds(shown["last_heartbeat"].text()) - time(nullptr) * 1000), 60000)
                << shown.dump();
            EXPECT_EQ(shown["incarnation"].integer(), 1);
            timespec pause = {0, 400000000};
            nanosleep(&pause, nullptr);
        }
    }
    worker.signal(SIGTERM);
    EXPECT_EQ(worker.wait(), 0);
    EXPECT_EQ(coordinator->stop(), 0);
}

} // namespace
