// The federation as its users have it: coordinators far away from one another, workers that find the nearest one, and
// what becomes of both when the network, a coordinator or the edge router fails. Times are printed, not judged: they
// depend on the machine.

#include "tests/integration/fake_worker.h"
#include "tests/integration/regions.h"

#include <curl/curl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace
{

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin)
{
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

void print(const std::string &what, double figure, const char *unit)
{
    printf("[ measured ] %s: %.1f %s\n", what.c_str(), figure, unit);
    fflush(stdout);
}

class Regions : public ::testing::Test
{
  protected:
    Regions()
        : machine([](FakeWorker::Connection &connection, const std::string &) {
              return connection.write(FakeWorker::answer("served"));
          }),
          edge_port(free_port()), edge_folder(temporary_folder())
    {
    }
    bool start_edge()
    {
        CoordinatorOptions options;
        options.flags = {"--role", "edge-router", "--port", std::to_string(edge_port)};
        options.data_dir = edge_folder;
        edge = std::make_unique<Coordinator>(options);
        return edge->start();
    }
    Region &add_region(const std::string &id, int round_trip_ms, bool streams = false)
    {
        return *regions.emplace_back(std::make_unique<Region>(id, round_trip_ms, edge->url(), streams));
    }
    // Whether the edge router has measured how far away all are.
    bool all_known()
    {
        return eventually([&] {
            Json list = edge->get("/api/admin/coordinators").json();
            size_t known = 0;
            for (size_t i = 0; i < list.size(); i++)
                known += list[i]["in_pool"].boolean() && list[i]["latency_ms"].number() > 0 ? 1 : 0;
            return known == regions.size();
        });
    }
    // Starts all of them: so many workers come to the nearest, and one to the one that it names.
    void fill(Region &near, Region &named, size_t count)
    {
        for (const auto &region : regions)
            ASSERT_TRUE(region->start()) << region->coordinator().log();
        ASSERT_TRUE(all_known()) << described();
        for (size_t i = 0; i < count; i++)
            add_worker("w" + std::to_string(i));
        ASSERT_TRUE(all_at(near, count)) << described();
        add_worker("other", named.id);
        ASSERT_TRUE(all_at(named, 1)) << described();
    }
    bool in_pool(const Region &region)
    {
        return edge->get("/api/admin/coordinators").json().find("worker_id", region.id)["in_pool"].boolean();
    }
    void add_worker(const std::string &id, const std::string &location = "", const std::string &return_after = "0")
    {
        const std::vector<std::string> arguments = {"--coordinator-url",
                                                    edge->url(),
                                                    "--worker-id",
                                                    id,
                                                    "--worker-type",
                                                    "cpu",
                                                    "--port",
                                                    "0",
                                                    "--host",
                                                    hub_address(),
                                                    "--location",
                                                    location,
                                                    "--demo=false",
                                                    "--service",
                                                    "files=" + machine.url(),
                                                    "--return-after-seconds",
                                                    return_after};
        workers.push_back(std::make_unique<Process>("services/worker/muster-worker", arguments));
    }
    // How many of the workers that the edge router lists are there, and healthy.
    size_t workers_at(const Region &region)
    {
        Json list = edge->get("/api/admin/workers").json()["workers"];
        size_t count = 0;
        for (size_t i = 0; i < list.size(); i++)
            count += list[i]["coordinator"].text() == region.id && list[i]["is_healthy"].boolean() ? 1 : 0;
        return count;
    }
    bool all_at(const Region &region, size_t count)
    {
        return eventually([&] { return workers_at(region) == count; }, 120000);
    }
    // Each worker is in the lists once, wherever it has been.
    void expect_nobody_twice()
    {
        Json all = edge->get("/api/admin/workers").json();
        EXPECT_EQ(all["total"].integer(), static_cast<long long>(workers.size())) << all.dump();
        EXPECT_EQ(all["healthy"].integer(), static_cast<long long>(workers.size())) << all.dump();
        EXPECT_EQ(edge->get("/api/services/list").json()["services"]["files"]["healthy_workers"].integer(),
                  static_cast<long long>(workers.size()));
        long long sum = 0;
        for (size_t i = 0; i < all["regions"].size(); i++)
            sum += all["regions"][i]["workers"].integer();
        EXPECT_EQ(sum, static_cast<long long>(workers.size())) << all["regions"].dump();
    }
    std::string described()
    {
        std::string text =
            edge->get("/api/admin/coordinators").body + "\n" + edge->get("/api/admin/workers").body + "\n";
        for (const auto &worker : workers)
            text += worker->errors();
        return text;
    }

    FakeWorker machine; // what the workers serve
    int edge_port;
    std::string edge_folder;
    std::unique_ptr<Coordinator> edge;
    std::vector<std::unique_ptr<Region>> regions;
    std::vector<std::unique_ptr<Process>> workers;
};

TEST_F(Regions, WorkersFindTheNearestAndMoveWhenItFails)
{
    ASSERT_TRUE(start_edge()) << edge->log();
    Region &near = add_region("near", 5), &middle = add_region("middle", 80), &far = add_region("far", 200);
    for (const auto &region : regions)
        ASSERT_TRUE(region->start()) << region->coordinator().log();
    ASSERT_TRUE(all_known()) << described();

    const size_t count = 6;
    for (size_t i = 0; i < count; i++)
        add_worker("w" + std::to_string(i), "", "2");
    ASSERT_TRUE(all_at(near, count)) << "without a location the measured latency decides\n" << described();
    add_worker("far-away", "far");
    ASSERT_TRUE(all_at(far, 1)) << described();
    expect_nobody_twice();

    // A region is cut off from the world.
    Traffic requests(edge->url() + "/service/files/x", {});
    ASSERT_TRUE(requests.more(100));
    auto begin = Clock::now();
    near.set(DelayingRelay::CUT);
    ASSERT_TRUE(eventually([&] { return !in_pool(near); }));
    ASSERT_TRUE(all_at(middle, count)) << "the next one is nearer than the far one\n" << described();
    print("a region is cut off; its workers are elsewhere after", seconds_since(begin), "s");
    ASSERT_TRUE(requests.more(300));
    expect_nobody_twice();
    near.set(DelayingRelay::PASSES);
    ASSERT_TRUE(eventually([&] { return in_pool(near); })) << described();
    add_worker("new");
    ASSERT_TRUE(eventually([&] { return edge->worker("new")["coordinator"].text() == "near"; })) << described();
    ASSERT_TRUE(all_at(near, count + 1)) << "and those that had to leave it come back\n" << described();
    EXPECT_TRUE(eventually([&] {
        return middle.coordinator().get("/api/admin/stats").json()["total_workers"].integer() == 0;
    })) << "they have said goodbye where they were";
    expect_nobody_twice();
    ASSERT_TRUE(requests.more(300));
    requests.stop();
    EXPECT_EQ(requests.failed(), 0u) << requests.failures();

    // The edge router dies. Coordinators and workers go on; it comes back with what it had.
    long long incarnation = edge->worker("w0")["incarnation"].integer();
    std::string holder = edge->worker("w0")["coordinator"].text();
    edge->cut_off();
    ASSERT_TRUE(start_edge()) << edge->log();
    ASSERT_TRUE(all_known()) << described();
    EXPECT_TRUE(eventually([&] { return edge->get("/api/admin/workers").json()["healthy"].integer() == count + 2; }))
        << described();
    EXPECT_EQ(edge->worker("w0")["incarnation"].integer(), incarnation) << "nobody had to register again";
    EXPECT_EQ(edge->worker("w0")["coordinator"].text(), holder);
    EXPECT_EQ(edge->get("/service/files/x").body, "served");
    expect_nobody_twice();
}

TEST_F(Regions, ACoordinatorIsKilledInTheMiddleOfAThousandRequests)
{
    ASSERT_TRUE(start_edge()) << edge->log();
    Region &near = add_region("near", 5), &middle = add_region("middle", 80);
    add_region("far", 200);
    const size_t count = 6;
    ASSERT_NO_FATAL_FAILURE(fill(near, middle, count));

    Traffic requests(edge->url() + "/service/files/x", {}, 8);
    ASSERT_TRUE(requests.more(300));
    auto begin = Clock::now();
    near.kill();
    ASSERT_TRUE(all_at(middle, count + 1)) << described();
    print("a coordinator is killed; its workers are elsewhere after", seconds_since(begin), "s");
    ASSERT_TRUE(requests.more(700));
    requests.stop();
    EXPECT_EQ(requests.failed(), 0u) << requests.failures();
    EXPECT_GE(requests.succeeded(), 1000u);
    expect_nobody_twice();

    ASSERT_TRUE(near.start()) << near.coordinator().log();
    ASSERT_TRUE(eventually([&] { return in_pool(near); })) << described();
    EXPECT_FALSE(near.coordinator().worker("w0").is_null()) << "it still has them on its own roll";
    expect_nobody_twice();
    EXPECT_EQ(workers_at(middle), count + 1);
}

TEST_F(Regions, ACoordinatorFallsSilent)
{
    ASSERT_TRUE(start_edge()) << edge->log();
    Region &near = add_region("near", 5), &middle = add_region("middle", 80);
    const size_t count = 6;
    ASSERT_NO_FATAL_FAILURE(fill(near, middle, count));
    std::this_thread::sleep_for(std::chrono::seconds(2)); // the first heartbeats after a registration come soon
    Request patient;
    patient.timeout_ms = 60000;
    Traffic requests(edge->url() + "/service/files/x", patient, 8);
    ASSERT_TRUE(requests.more(200));
    auto begin = Clock::now();
    near.set(DelayingRelay::SILENT);
    ASSERT_TRUE(eventually([&] { return !in_pool(near); }, 120000)) << described();
    print("a coordinator falls silent; the edge router has noticed after", seconds_since(begin), "s");
    ASSERT_TRUE(requests.more(300)) << "those that waited for it went elsewhere";
    print("a coordinator falls silent; 300 requests later it is", seconds_since(begin), "s");
    ASSERT_TRUE(all_at(middle, count + 1)) << described();
    print("a coordinator falls silent; its workers are elsewhere after", seconds_since(begin), "s");
    expect_nobody_twice();
    requests.stop();
    EXPECT_EQ(requests.failed(), 0u) << requests.failures();
    near.set(DelayingRelay::PASSES);
    ASSERT_TRUE(eventually([&] { return in_pool(near); })) << described();
    expect_nobody_twice();
}

TEST_F(Regions, StreamsOfHeartbeatsBreakAndFallSilent)
{
    ASSERT_TRUE(start_edge()) << edge->log();
    Region &near = add_region("near", 5, true), &middle = add_region("middle", 80, true), &far = add_region("far", 200);
    for (const auto &region : regions)
        ASSERT_TRUE(region->start()) << region->coordinator().log();
    ASSERT_TRUE(all_known()) << described();
    const size_t count = 4;
    for (size_t i = 0; i < count; i++)
        add_worker("w" + std::to_string(i));
    ASSERT_TRUE(all_at(near, count)) << described();
    const auto streamed = [&](size_t times) {
        return eventually([&] {
            size_t all = 0;
            for (const auto &worker : workers) {
                std::string log = worker->errors();
                for (size_t at = 0; (at = log.find("heartbeats are streamed", at)) != std::string::npos; at++)
                    all++;
            }
            return all >= times;
        });
    };
    ASSERT_TRUE(streamed(count)) << described();
    auto begin = Clock::now();
    near.set(DelayingRelay::CUT);
    ASSERT_TRUE(all_at(middle, count)) << described();
    print("a region with streams is cut off; its workers are elsewhere after", seconds_since(begin), "s");
    ASSERT_TRUE(streamed(2 * count)) << described();
    begin = Clock::now();
    middle.set(DelayingRelay::SILENT);
    ASSERT_TRUE(all_at(far, count)) << described();
    print("a coordinator with streams falls silent; its workers are elsewhere after", seconds_since(begin), "s");
    expect_nobody_twice();
}

// How long each of 1,000 registrations takes that arrive within a second, from the first byte of its own connection to
// the last of its answer.
class Arrivals
{
  public:
    Arrivals(const std::string &url, size_t count) : bodies(count), multi(curl_multi_init())
    {
        headers = curl_slist_append(nullptr, "Content-Type: application/json");
        auto begin = Clock::now();
        size_t started = 0, ended = 0;
        int running = 0;
        while (ended < count && seconds_since(begin) < 120) {
            while (started < count && seconds_since(begin) >= static_cast<double>(started) / static_cast<double>(count))
                start(url, started++);
            curl_multi_perform(multi, &running);
            int left;
            while (CURLMsg *message = curl_multi_info_read(multi, &left)) {
                end(message->easy_handle);
                ended++;
            }
            curl_multi_poll(multi, nullptr, 0, 1, nullptr);
        }
    }
    ~Arrivals()
    {
        curl_slist_free_all(headers);
        curl_multi_cleanup(multi);
    }
    size_t taken = 0;
    std::vector<double> times_ms;
    double percentile(double share)
    {
        std::sort(times_ms.begin(), times_ms.end());
        return times_ms.empty() ? 0 : times_ms[static_cast<size_t>(share * static_cast<double>(times_ms.size() - 1))];
    }

  private:
    static size_t ignore(char *, size_t size, size_t count, void *)
    {
        return size * count;
    }
    void start(const std::string &url, size_t number)
    {
        CURL *handle = curl_easy_init();
        std::string id = "arrival-" + std::to_string(number);
        bodies[number] = R"({"worker_id": ")" + id + R"(", "tunnel_url": "http://)" + id + R"(.example.org"})";
        curl_easy_setopt(handle, CURLOPT_URL, (url + "/api/worker/register").c_str());
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, bodies[number].c_str());
        curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, ignore);
        curl_easy_setopt(handle, CURLOPT_FRESH_CONNECT, 1L);
        curl_multi_add_handle(multi, handle);
    }
    void end(CURL *handle)
    {
        long status = 0;
        curl_off_t total_us = 0;
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(handle, CURLINFO_TOTAL_TIME_T, &total_us);
        taken += status == 200 ? 1 : 0;
        times_ms.push_back(static_cast<double>(total_us) / 1000);
        curl_multi_remove_handle(multi, handle);
        curl_easy_cleanup(handle);
    }
    std::vector<std::string> bodies;
    CURLM *multi;
    curl_slist *headers;
};

TEST_F(Regions, AThousandWorkersArriveWithinASecond)
{
    ASSERT_TRUE(start_edge()) << edge->log();
    Region &region = add_region("middle", 80);
    ASSERT_TRUE(region.start()) << region.coordinator().log();
    ASSERT_TRUE(all_known()) << described();
    Arrivals few(edge->url(), 50); // connections are there
    ASSERT_EQ(few.taken, 50u);
    Arrivals arrivals(edge->url(), 1000);
    EXPECT_EQ(arrivals.taken, 1000u);
    print("a registration over 80 ms, 50 within a second, median", few.percentile(0.5), "ms");
    print("a registration over 80 ms, 1,000 within a second, median", arrivals.percentile(0.5), "ms");
    print("a registration over 80 ms, 1,000 within a second, 95th percentile", arrivals.percentile(0.95), "ms");
    print("a registration over 80 ms, 1,000 within a second, slowest", arrivals.percentile(1), "ms");
    EXPECT_TRUE(eventually([&] { return edge->get("/api/admin/workers").json()["total"].integer() == 1000; }));
}

} // namespace

int main(int argc, char **argv)
{
    networks_ready();
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
