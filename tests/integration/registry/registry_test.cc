// muster-registry and muster-assigner as processes: the answers, restarts, watches, and what
// happens when the assigner is away or the disk is full.

#include "tests/integration/registry/client.h"
#include "tests/integration/registry/process.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace
{

constexpr auto online = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto degraded = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED;
constexpr auto reconnecting = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING;
constexpr auto removed = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED;
constexpr char service_name[] = "muster.v1.RegistryService";

// An address where nobody listens.
constexpr char nowhere[] = "127.0.0.1:1";

// A registry and its assigner, each knowing the other's address. Each needs the other's port
// before it starts, so the registry's is found first and then asked for.
struct Pair {
    explicit Pair(const std::function<void()> &before_registry = nullptr) : before(before_registry)
    {
        start_registry("0", nowhere);
        std::string found = registry_address;
        registry->end(SIGTERM);
        port = found.substr(found.rfind(':') + 1);
        assigner = std::make_unique<Process>(assigner_program,
                                             std::vector<std::string>{"--port=0", "--registry-address=" + found});
        assigner_address = assigner->ready();
        EXPECT_NE(assigner_address, "") << assigner->errors();
        start_registry(port, assigner_address);
        client = std::make_unique<Client>(registry_address);
    }

    void start_registry(const std::string &at_port, const std::string &assigner_at)
    {
        registry =
            std::make_unique<Process>(registry_program,
                                      std::vector<std::string>{"--port=" + at_port, "--data-dir=" + data.path + "/d",
                                                               "--assigner-address=" + assigner_at},
                                      before);
        registry_address = registry->ready();
        EXPECT_NE(registry_address, "") << registry->errors();
    }

    void restart_registry(int signal_number)
    {
        int code = registry->end(signal_number);
        EXPECT_EQ(code, signal_number == SIGTERM ? 0 : -signal_number) << registry->errors();
        start_registry(port, assigner_address);
        // A fresh connection, not one that waits to be tried again.
        client = std::make_unique<Client>(registry_address);
    }

    Directory data;
    std::function<void()> before;
    std::string port, registry_address, assigner_address;
    std::unique_ptr<Process> registry, assigner;
    std::unique_ptr<Client> client;
};

TEST(RegistryProcess, RegistersListsAndUnregisters)
{
    Pair pair;
    auto first = pair.client->register_worker({.id = "w1", .url = "http://192.0.2.7:8070/"});
    ASSERT_TRUE(first.ok()) << first.text;
    EXPECT_STREQ(first->worker->spec->tunnel_url, "http://192.0.2.7:8070");
    EXPECT_EQ(first->worker->incarnation, 1u);
    EXPECT_EQ(first->worker->status, online);
    EXPECT_EQ(first->worker->n_assigned_services, 3u);
    ASSERT_EQ(first->n_service_configs, 3u);
    EXPECT_STREQ(first->service_configs[0]->name, first->worker->assigned_services[0]);
    EXPECT_EQ(first->service_configs[0]->port, 8108u);

    auto again = pair.client->register_worker({.id = "w1"});
    ASSERT_TRUE(again.ok()) << again.text;
    EXPECT_EQ(again->worker->incarnation, 2u);
    EXPECT_EQ(again->worker->n_assigned_services, 3u) << "what fits is kept";
    EXPECT_GT(again->worker->revision, first->worker->revision);

    auto nameless = pair.client->register_worker({.id = ""});
    ASSERT_TRUE(nameless.ok()) << nameless.text;
    std::string made_up = nameless->worker->spec->worker_id;
    EXPECT_EQ(made_up.rfind("worker-", 0), 0u) << made_up;

    auto found = pair.client->get_workers({"nobody", made_up, "w1"});
    ASSERT_EQ(found->n_workers, 2u);
    EXPECT_EQ(found->workers[0]->spec->worker_id, made_up);

    auto page = pair.client->list_workers(1, "");
    ASSERT_EQ(page->n_workers, 1u);
    EXPECT_EQ(page->total, 2u);
    EXPECT_STRNE(page->next_page_token, "");
    EXPECT_EQ(pair.client->all_workers(1).size(), 2u);

    EXPECT_EQ(pair.client->unregister_worker("w1", 1).status, RPC_FAILED_PRECONDITION);
    EXPECT_TRUE(pair.client->unregister_worker("w1", 2).ok());
    EXPECT_EQ(pair.client->unregister_worker("w1").status, RPC_NOT_FOUND);
    EXPECT_EQ(pair.client->all_workers().size(), 1u);
    EXPECT_EQ(pair.registry->end(SIGTERM), 0);
    EXPECT_EQ(pair.assigner->end(SIGTERM), 0);
}

// The results of a call with many registrations, in the order of its specs.
std::vector<const Muster__V1__RegisterWorkersResult *>
results_in_order(const Answer<Muster__V1__RegisterWorkersResponse> &answer)
{
    std::vector<const Muster__V1__RegisterWorkersResult *> results(answer->n_results);
    for (size_t i = 0; i < answer->n_results; i++) {
        EXPECT_LT(answer->results[i]->index, results.size());
        EXPECT_EQ(results.at(answer->results[i]->index), nullptr) << "two results of one spec";
        results.at(answer->results[i]->index) = answer->results[i];
    }
    return results;
}

TEST(RegistryProcess, RegistersManyInOneCallAndJudgesEachByItself)
{
    Pair pair;
    auto answer = pair.client->register_workers({{.id = "w1"},
                                                 {.id = "a\nb"},
                                                 {.id = ""},
                                                 {.id = "w1", .url = "http://192.0.2.8:8070"},
                                                 {.id = "w2", .services = {"ocr", "ocr"}},
                                                 {.id = "w3"}});
    ASSERT_TRUE(answer.ok()) << answer.text;
    auto results = results_in_order(answer);
    ASSERT_EQ(results.size(), 6u);

    EXPECT_EQ(results[0]->status, 0u) << results[0]->text;
    EXPECT_STREQ(results[0]->worker_id, "w1");
    EXPECT_EQ(results[0]->worker->incarnation, 1u);
    EXPECT_EQ(results[0]->worker->status, online);
    EXPECT_EQ(results[0]->worker->spec, nullptr) << "the caller has it";
    ASSERT_EQ(results[0]->worker->n_assigned_services, 3u);
    EXPECT_EQ(results[1]->status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(results[1]->text).rfind("worker_id: ", 0), 0u) << results[1]->text;
    EXPECT_EQ(results[1]->worker, nullptr);
    EXPECT_EQ(std::string(results[2]->worker_id).rfind("worker-", 0), 0u) << results[2]->worker_id;
    EXPECT_EQ(results[3]->worker->incarnation, 2u) << "one worker's registrations are made in their order";
    EXPECT_EQ(results[4]->status, RPC_INVALID_ARGUMENT);
    EXPECT_STREQ(results[4]->text, "services[1].name: 'ocr' is announced twice");
    EXPECT_EQ(results[5]->status, 0u) << results[5]->text;

    EXPECT_STRNE(results[0]->worker_token, "") << "it speaks for itself with it";
    EXPECT_STREQ(results[1]->worker_token, "");
    auto without = pair.client->register_workers({{.id = "w3"}}, true);
    ASSERT_TRUE(without.ok()) << without.text;
    EXPECT_STREQ(without->results[0]->worker_token, "");
    EXPECT_EQ(without->results[0]->worker->incarnation, 2u);

    // How to run each service that anybody was assigned is said once.
    std::set<std::string> configured, assigned;
    for (size_t i = 0; i < answer->n_service_configs; i++)
        EXPECT_TRUE(configured.insert(answer->service_configs[i]->name).second) << answer->service_configs[i]->name;
    for (const auto *result : results)
        for (size_t i = 0; result->worker != nullptr && i < result->worker->n_assigned_services; i++)
            assigned.insert(result->worker->assigned_services[i]);
    EXPECT_EQ(configured, assigned);

    // All of it is on disk.
    pair.restart_registry(SIGKILL);
    auto workers = pair.client->all_workers();
    ASSERT_EQ(workers.size(), 3u);
    EXPECT_STREQ(workers["w1"]->spec->tunnel_url, "http://192.0.2.8:8070");
    EXPECT_EQ(workers["w1"]->incarnation, 2u);
    EXPECT_EQ(workers.count(results[2]->worker_id), 1u);
}

TEST(RegistryProcess, TakesAThousandRegistrationsInOneCallAndNoMore)
{
    Pair pair;
    std::vector<Client::Registration> registrations;
    EXPECT_EQ(pair.client->register_workers(registrations)->n_results, 0u);
    for (int i = 0; i < 1000; i++)
        registrations.push_back({.id = "w" + std::to_string(i)});
    auto most = pair.client->register_workers(registrations);
    ASSERT_TRUE(most.ok()) << most.text;
    auto results = results_in_order(most);
    ASSERT_EQ(results.size(), 1000u);
    for (size_t i = 0; i < results.size(); i++)
        EXPECT_STREQ(results[i]->worker_id, registrations[i].id.c_str());
    EXPECT_EQ(pair.client->all_workers().size(), 1000u);

    registrations.push_back({.id = "one too many"});
    auto refused = pair.client->register_workers(registrations);
    EXPECT_EQ(refused.status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(refused.text, "specs: has 1001 entries; at most 1000 are allowed");
}

TEST(RegistryProcess, SaysWhatIsWrongWithARequest)
{
    Pair pair;
    auto bad_id = pair.client->register_worker({.id = "a\nb"});
    EXPECT_EQ(bad_id.status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(bad_id.text.rfind("worker_id: has a control character", 0), 0u) << bad_id.text;
    auto bad_url = pair.client->register_worker({.id = "w", .url = "gopher://x"});
    EXPECT_EQ(bad_url.status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(bad_url.text.rfind("tunnel_url: ", 0), 0u) << bad_url.text;
    auto huge = pair.client->register_worker({.id = std::string(7 << 20, 'x')});
    EXPECT_EQ(huge.status, RPC_INVALID_ARGUMENT);
    auto too_large = pair.client->register_worker({.id = std::string(10 << 20, 'x')});
    EXPECT_EQ(too_large.status, RPC_RESOURCE_EXHAUSTED) << too_large.text;
    EXPECT_EQ(pair.client->unregister_worker("").status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(pair.client->get_workers(std::vector<std::string>(1001, "x")).status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(pair.client->set_draining("nobody", true).status, RPC_NOT_FOUND);
    EXPECT_EQ(pair.client->all_workers().size(), 0u);
}

TEST(RegistryProcess, KeepsEverythingOverARestart)
{
    Pair pair;
    std::string id = "odd '\" id; --..%20日本";
    std::string json = R"({"note": "kept  as it \u0041 came"})";
    ASSERT_TRUE(pair.client->register_worker({.id = id, .capabilities_json = json}).ok());
    ASSERT_TRUE(pair.client->register_worker({.id = id, .services = {"own"}, .capabilities_json = json}).ok());
    ASSERT_TRUE(pair.client->register_worker({.id = "gone"}).ok());
    ASSERT_TRUE(pair.client->register_worker({.id = "gone"}).ok());
    ASSERT_TRUE(pair.client->register_worker({.id = "gone"}).ok());
    ASSERT_TRUE(pair.client->unregister_worker("gone").ok());
    auto drained = pair.client->set_draining(id, true);
    ASSERT_TRUE(drained.ok()) << drained.text;
    EXPECT_TRUE(drained->worker->draining);
    uint64_t revision = drained->worker->revision;

    for (int stop : {SIGKILL, SIGTERM}) {
        pair.restart_registry(stop);
        auto workers = pair.client->all_workers();
        ASSERT_EQ(workers.size(), 1u);
        auto worker = workers[id];
        ASSERT_NE(worker, nullptr);
        EXPECT_EQ(worker->status, reconnecting);
        EXPECT_EQ(worker->incarnation, 2u);
        EXPECT_TRUE(worker->draining);
        EXPECT_STREQ(worker->spec->capabilities->json, json.c_str());
        EXPECT_STREQ(worker->spec->services[0]->name, "own");
        EXPECT_EQ(worker->n_assigned_services, 3u);
        EXPECT_EQ(worker->registered_at_ms, drained->worker->registered_at_ms);
        EXPECT_GT(worker->revision, revision);
        revision = worker->revision;
    }
    auto back = pair.client->register_worker({.id = "gone"});
    ASSERT_TRUE(back.ok()) << back.text;
    EXPECT_GT(back->worker->incarnation, 3u);
}

TEST(RegistryProcess, TakesOverWhatTheFailureDetectorFinds)
{
    Pair pair;
    ASSERT_TRUE(pair.client->register_worker({.id = "w1"}).ok());
    ASSERT_TRUE(pair.client->report("w1", 1, degraded, "late").ok());
    auto worker = pair.client->all_workers()["w1"];
    EXPECT_EQ(worker->status, degraded);
    EXPECT_STREQ(worker->status_reason, "late");
    EXPECT_TRUE(pair.client->report("nobody", 1, degraded, "").ok()) << "passed over";
    EXPECT_TRUE(pair.client->report("w1", 7, removed, "").ok()) << "passed over";
    EXPECT_EQ(pair.client->report("w1", 1, static_cast<Muster__V1__WorkerStatus>(17), "").status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(pair.client->all_workers().size(), 1u);
    ASSERT_TRUE(pair.client->report("w1", 1, removed, "silent").ok());
    EXPECT_EQ(pair.client->all_workers().size(), 0u);
    pair.restart_registry(SIGKILL);
    EXPECT_EQ(pair.client->all_workers().size(), 0u) << "a removal is on disk";
}

TEST(RegistryProcess, ManyRegistrationsOfOneIdGetOneIncarnationEach)
{
    Pair pair;
    std::set<uint64_t> incarnations;
    size_t answers = 0;
    for (int i = 0; i < 64; i++) {
        pair.client->start_registration({.id = "same"}, [&](const Client::Registered &answer) {
            answers++;
            if (answer.ok())
                incarnations.insert(answer->worker->incarnation);
        });
    }
    ASSERT_TRUE(pair.client->wait([&] { return answers == 64; }));
    EXPECT_EQ(incarnations.size(), 64u);
    EXPECT_EQ(*incarnations.rbegin(), 64u);
}

TEST(RegistryProcess, ChangesOfOneWorkerAtTheSameTimeComeOneAfterTheOther)
{
    Pair pair;
    size_t answers = 0, registered = 0, unregistered = 0;
    ASSERT_TRUE(pair.client->register_worker({.id = "c"}).ok());
    for (int i = 0; i < 20; i++) {
        pair.client->start_unregistration("c", [&](const Answer<Muster__V1__UnregisterWorkerResponse> &answer) {
            answers++;
            unregistered += answer.ok();
        });
    }
    ASSERT_TRUE(pair.client->wait([&] { return answers == 20; }));
    EXPECT_EQ(unregistered, 1u) << "one has done it, the others found nobody";
    answers = unregistered = 0;
    for (int i = 0; i < 300; i++) {
        std::string id = i % 7 < 3 ? "a" : "b";
        if (i % 3 != 0) {
            pair.client->start_registration({.id = id}, [&](const Client::Registered &answer) {
                answers++;
                registered += answer.ok();
            });
        } else {
            pair.client->start_unregistration(id, [&](const Answer<Muster__V1__UnregisterWorkerResponse> &answer) {
                answers++;
                unregistered += answer.ok();
                EXPECT_TRUE(answer.ok() || answer.status == RPC_NOT_FOUND) << answer.text;
            });
        }
    }
    ASSERT_TRUE(pair.client->wait([&] { return answers == 300; }));
    EXPECT_EQ(registered, 200u);
    auto before = pair.client->all_workers();
    EXPECT_GE(registered, unregistered + before.size());
    pair.restart_registry(SIGKILL);
    auto after = pair.client->all_workers();
    ASSERT_EQ(after.size(), before.size());
    for (const auto &[id, worker] : before)
        EXPECT_EQ(after[id]->incarnation, worker->incarnation) << id;
}

TEST(RegistryProcess, WorkInFlightIsFinishedBeforeTheEnd)
{
    Pair pair;
    ASSERT_TRUE(pair.client->register_worker({.id = "first"}).ok());
    std::set<std::string> acknowledged;
    size_t answers = 0;
    for (int i = 0; i < 200; i++) {
        pair.client->start_registration({.id = "w" + std::to_string(i)}, [&, i](const Client::Registered &answer) {
            answers++;
            if (answer.ok())
                acknowledged.insert("w" + std::to_string(i));
        });
    }
    ASSERT_TRUE(pair.client->wait([&] { return answers >= 1; }));
    pair.registry->signal(SIGTERM);
    ASSERT_TRUE(pair.client->wait([&] { return answers == 200; }));
    pair.restart_registry(SIGTERM);
    auto workers = pair.client->all_workers();
    for (const auto &id : acknowledged)
        EXPECT_EQ(workers.count(id), 1u) << id;
}

TEST(RegistryProcess, WithoutAnAssignerRegistrationsFailAndAllElseGoesOn)
{
    Pair pair;
    ASSERT_TRUE(pair.client->register_worker({.id = "w1"}).ok());
    pair.assigner->end(SIGKILL);
    bool answered = false;
    Client::Registered late;
    pair.client->start_registration({.id = "w2"}, [&](const Client::Registered &answer) {
        late = answer;
        answered = true;
    });
    EXPECT_TRUE(pair.client->set_draining("w1", true).ok());
    EXPECT_TRUE(pair.client->unregister_worker("w1").ok());
    EXPECT_FALSE(answered) << "it still has patience";
    ASSERT_TRUE(pair.client->wait([&] { return answered; }));
    EXPECT_EQ(late.status, RPC_UNAVAILABLE);
    EXPECT_NE(late.text.find("the assigner at"), std::string::npos) << late.text;
    EXPECT_EQ(pair.client->all_workers().size(), 0u);
}

TEST(RegistryProcess, AnAssignerThatComesBackIsFound)
{
    Pair pair;
    std::string port = pair.assigner_address.substr(pair.assigner_address.rfind(':') + 1);
    pair.assigner->end(SIGKILL);
    bool answered = false;
    Client::Registered answer;
    pair.client->start_registration({.id = "w1"}, [&](const Client::Registered &a) {
        answer = a;
        answered = true;
    });
    pair.assigner = std::make_unique<Process>(
        assigner_program, std::vector<std::string>{"--port=" + port, "--registry-address=" + pair.registry_address});
    ASSERT_TRUE(pair.client->wait([&] { return answered; }));
    EXPECT_TRUE(answer.ok()) << answer.text;
}

TEST(RegistryWatch, FollowsAndResumes)
{
    Pair pair;
    ASSERT_TRUE(pair.client->register_worker({.id = "w1"}).ok());
    uint64_t revision;
    {
        Watch watch(*pair.client, 0);
        ASSERT_TRUE(pair.client->wait([&] { return watch.revision > 0; }));
        EXPECT_EQ(watch.snapshots, 1u);
        EXPECT_EQ(watch.workers.size(), 1u);
        ASSERT_TRUE(pair.client->register_worker({.id = "w2"}).ok());
        ASSERT_TRUE(pair.client->wait([&] { return watch.workers.size() == 2; }));
        revision = watch.revision;
    }
    ASSERT_TRUE(pair.client->unregister_worker("w1").ok());
    ASSERT_TRUE(pair.client->set_draining("w2", true).ok());
    {
        Watch watch(*pair.client, revision);
        ASSERT_TRUE(pair.client->wait([&] { return watch.events == 2; }));
        EXPECT_EQ(watch.snapshots, 0u);
        EXPECT_TRUE(watch.workers["w2"].draining);
        revision = watch.revision;
    }
    pair.restart_registry(SIGKILL);
    Watch watch(*pair.client, revision);
    ASSERT_TRUE(pair.client->wait([&] { return watch.revision > 0; }));
    EXPECT_EQ(watch.snapshots, 1u) << "the statuses are others now";
    EXPECT_EQ(watch.workers["w2"].status, reconnecting);
}

// A hundred watchers, some of which do not read for a while, and one who comes in the middle: all
// end up with the same.
TEST(RegistryWatch, OneThatWasAwayTooLongIsGivenTheRollAnew)
{
    Pair pair;
    ASSERT_TRUE(pair.client->register_worker({.id = "w1"}).ok());
    ASSERT_TRUE(pair.client->register_worker({.id = "w2"}).ok());
    uint64_t incarnation = pair.client->all_workers().at("w2")->incarnation;
    uint64_t revision;
    {
        Watch watch(*pair.client, 0);
        ASSERT_TRUE(pair.client->wait([&] { return watch.workers.size() == 2; }));
        revision = watch.revision;
    }
    ASSERT_TRUE(pair.client->unregister_worker("w1").ok());
    // More changes than the registry remembers.
    for (int i = 0; i < 70000; i += 1000) {
        std::vector<Muster__V1__LivenessChange> changes(1000, MUSTER__V1__LIVENESS_CHANGE__INIT);
        std::vector<Muster__V1__LivenessChange *> pointers;
        char id[] = "w2";
        for (size_t k = 0; k < changes.size(); k++) {
            changes[k].worker_id = id;
            changes[k].incarnation = incarnation;
            changes[k].status = k % 2 == 0 ? degraded : online;
            pointers.push_back(&changes[k]);
        }
        ASSERT_TRUE(pair.client->report(pointers).ok());
    }
    Watch watch(*pair.client, revision);
    ASSERT_TRUE(pair.client->wait([&] { return watch.revision > revision && watch.workers.size() == 1; }));
    EXPECT_EQ(watch.snapshots, 1u);
    EXPECT_EQ(watch.workers.count("w2"), 1u) << "and w1 is known to be gone";
    // From then on it is told what changes, as others are.
    ASSERT_TRUE(pair.client->register_worker({.id = "w3"}).ok());
    ASSERT_TRUE(pair.client->wait([&] { return watch.workers.count("w3") == 1; }));
    EXPECT_EQ(watch.snapshots, 1u);
}

TEST(RegistryWatch, ManyWatchersAreToldTheSame)
{
    Pair pair;
    Client other(pair.registry_address);
    std::vector<std::unique_ptr<Watch>> watches;
    for (int i = 0; i < 100; i++)
        watches.push_back(std::make_unique<Watch>(other, 0));
    auto all_know = [&](const Muster__V1__ListWorkersResponse *page) {
        return std::all_of(watches.begin(), watches.end(),
                           [&](const auto &watch) { return watch->revision >= page->revision; });
    };
    for (int i = 0; i < 300; i++) {
        std::string id = "w" + std::to_string(i % 70);
        if (i % 5 == 4)
            pair.client->unregister_worker(id);
        else
            ASSERT_TRUE(pair.client->register_worker({.id = id, .services = {"a"}}).ok());
        if (i == 100)
            for (int k = 0; k < 30; k++)
                rpc_call_pause(watches[static_cast<size_t>(k)]->call);
        if (i == 200)
            for (int k = 0; k < 30; k++)
                rpc_call_resume(watches[static_cast<size_t>(k)]->call);
        if (i == 150)
            watches.push_back(std::make_unique<Watch>(other, 0));
    }
    auto page = pair.client->list_workers(0, "");
    ASSERT_TRUE(other.wait([&] { return all_know(page.message.get()); }));
    auto expected = pair.client->all_workers();
    for (const auto &watch : watches) {
        EXPECT_EQ(watch->snapshots, 1u);
        ASSERT_EQ(watch->workers.size(), expected.size());
        for (const auto &[id, worker] : watch->workers)
            EXPECT_EQ(worker.incarnation, expected.at(id)->incarnation);
    }
}

long resident_kilobytes(pid_t process)
{
    std::ifstream status("/proc/" + std::to_string(process) + "/status");
    std::string line;
    while (std::getline(status, line))
        if (line.rfind("VmRSS:", 0) == 0)
            return atol(line.c_str() + 6);
    return -1;
}

TEST(RegistryWatch, OneThatDoesNotReadCostsNothingAndCatchesUp)
{
    Pair pair;
    for (int i = 0; i < 20; i++)
        ASSERT_TRUE(pair.client->register_worker({.id = "w" + std::to_string(i)}).ok());
    Client other(pair.registry_address);
    Watch slow(other, 0);
    ASSERT_TRUE(other.wait([&] { return slow.revision > 0; }));
    rpc_call_pause(slow.call);
    long before = resident_kilobytes(pair.registry->id());
    // 6,000 records of 4 KiB: a queue of them would be three times what is allowed below.
    std::string fill(4096, 'f');
    for (int i = 0; i < 300; i++) {
        size_t answers = 0;
        for (int k = 0; k < 20; k++)
            pair.client->start_registration(
                {.id = "w" + std::to_string(k), .capabilities_json = "{\"a\":\"" + fill + "\"}"},
                [&](const Client::Registered &) { answers++; });
        ASSERT_TRUE(pair.client->wait([&] { return answers == 20; }));
    }
    long after = resident_kilobytes(pair.registry->id());
    // Sanitizers keep freed memory; what they find in this test is worth having all the same.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LT(after - before, 8 * 1024);
#else
    EXPECT_GT(after, 0);
    EXPECT_GT(before, 0);
#endif
    rpc_call_resume(slow.call);
    auto workers = pair.client->all_workers();
    uint64_t incarnation = workers["w7"]->incarnation;
    EXPECT_TRUE(other.wait([&] { return slow.workers["w7"].incarnation == incarnation; }));
    EXPECT_EQ(slow.workers.size(), 20u);
}

// The disk is full: RLIMIT_FSIZE stands for it, since a parent can set and lift it.
TEST(RegistryProcess, ADiskThatIsFullIsToldAndRecoveredFrom)
{
    Pair pair;
    ASSERT_TRUE(pair.client->register_worker({.id = "first"}).ok());
    ASSERT_EQ(pair.client->health(service_name), 1);
    struct rlimit small = {100000, RLIM_INFINITY};
    ASSERT_EQ(prlimit(pair.registry->id(), RLIMIT_FSIZE, &small, nullptr), 0);

    std::set<std::string> acknowledged = {"first"};
    Client::Registered failed;
    for (int i = 0; i < 200 && failed.status != RPC_UNAVAILABLE; i++) {
        std::string id = "w" + std::to_string(i);
        failed =
            pair.client->register_worker({.id = id, .capabilities_json = "{\"a\":\"" + std::string(5000, 'x') + "\"}"});
        if (failed.ok())
            acknowledged.insert(id);
    }
    ASSERT_EQ(failed.status, RPC_UNAVAILABLE);
    EXPECT_NE(failed.text.find("registry.sqlite3"), std::string::npos) << failed.text;
    EXPECT_NE(failed.text.find("File too large"), std::string::npos) << "what the system said: " << failed.text;
    Watch watch(*pair.client, 0);
    ASSERT_TRUE(pair.client->wait([&] { return !watch.store_failure.empty(); })) << "those who watch are told, too";
    EXPECT_NE(watch.store_failure.find("registry.sqlite3"), std::string::npos) << watch.store_failure;
    EXPECT_GT(watch.revision, 0u);
    EXPECT_EQ(pair.client->health(service_name), 2);
    EXPECT_EQ(pair.client->health(""), 1) << "the process as a whole is well";
    auto reads = pair.client->all_workers();
    EXPECT_EQ(reads.size(), acknowledged.size()) << "reads go on, and show what is on disk";
    auto again = pair.client->register_worker(
        {.id = "again", .capabilities_json = "{\"a\":\"" + std::string(90000, 'x') + "\"}"});
    EXPECT_EQ(again.status, RPC_UNAVAILABLE) << "and is told each time";

    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    ASSERT_EQ(prlimit(pair.registry->id(), RLIMIT_FSIZE, &unlimited, nullptr), 0);
    ASSERT_TRUE(pair.client->wait([&] { return pair.client->health(service_name) == 1; })) << "by itself";
    EXPECT_TRUE(pair.client->wait([&] { return watch.store_failure.empty(); }));
    ASSERT_TRUE(pair.client->register_worker({.id = "after"}).ok());
    acknowledged.insert("after");
    pair.restart_registry(SIGKILL);
    auto workers = pair.client->all_workers();
    EXPECT_EQ(workers.size(), acknowledged.size());
    for (const auto &id : acknowledged)
        EXPECT_EQ(workers.count(id), 1u) << id;
}

// A small file system of its own for the registry's data, in a name space of its own. To be called
// between fork and exec. False: the system gives none.
bool enter_small_disk(const char *directory)
{
    auto write_text = [](const char *path, const char *text) {
        int file = open(path, O_WRONLY | O_CLOEXEC);
        bool written = file >= 0 && write(file, text, strlen(text)) == static_cast<ssize_t>(strlen(text));
        close(file);
        return written;
    };
    char users[40], groups[40];
    snprintf(users, sizeof(users), "0 %d 1", static_cast<int>(getuid()));
    snprintf(groups, sizeof(groups), "0 %d 1", static_cast<int>(getgid()));
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_text("/proc/self/setgroups", "deny") &&
           write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups) &&
           (mkdir(directory, 0750) == 0 || errno == EEXIST) && mount("none", directory, "tmpfs", 0, "size=1m") == 0;
}

bool there_are_small_disks()
{
    Directory scratch;
    pid_t child = fork();
    if (child == 0)
        _exit(enter_small_disk((scratch.path + "/d").c_str()) ? 0 : 1);
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}

TEST(RegistryProcess, AFileSystemThatIsFullIsToldAndRecoveredFrom)
{
    if (!there_are_small_disks())
        GTEST_SKIP() << "name spaces are not to be had here";
    struct Disk : Pair {
        Disk() : Pair([this] { (void)enter_small_disk((data.path + "/d").c_str()); }) {}
    } pair;
    ASSERT_TRUE(pair.client->register_worker({.id = "first"}).ok());
    std::string fill = "/proc/" + std::to_string(pair.registry->id()) + "/root" + pair.data.path + "/d/fill";
    int file = open(fill.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0) << strerror(errno);
    while (write(file, std::string(4096, 'x').data(), 4096) == 4096)
        continue;
    EXPECT_EQ(errno, ENOSPC);
    close(file);

    size_t kept = 1;
    Client::Registered failed;
    for (int i = 0; i < 200 && failed.status != RPC_UNAVAILABLE; i++) {
        failed = pair.client->register_worker(
            {.id = "w" + std::to_string(i), .capabilities_json = "{\"a\":\"" + std::string(5000, 'x') + "\"}"});
        kept += failed.ok();
    }
    ASSERT_EQ(failed.status, RPC_UNAVAILABLE);
    EXPECT_NE(failed.text.find("make room"), std::string::npos) << failed.text;
    EXPECT_EQ(pair.client->health(service_name), 2);
    EXPECT_EQ(pair.client->health(""), 1);
    EXPECT_EQ(pair.client->all_workers().size(), kept) << "reads go on";
    EXPECT_EQ(unlink(fill.c_str()), 0);
    ASSERT_TRUE(pair.client->wait([&] { return pair.client->health(service_name) == 1; })) << "by itself";
    EXPECT_TRUE(pair.client->register_worker({.id = "after"}).ok());
    EXPECT_EQ(pair.client->all_workers().size(), kept + 1);
}

// Pages of the file are overwritten beneath the running registry, and later put right again.
TEST(RegistryProcess, ADamagedPageIsToldAndReadsGoOnUntilItIsMended)
{
    Pair pair;
    std::string fill(3000, 'x');
    size_t answers = 0;
    for (size_t first = 0; first < 4000; first += 100) {
        for (size_t i = first; i < first + 100; i++)
            pair.client->start_registration(
                {.id = "w" + std::to_string(i), .capabilities_json = "{\"a\":\"" + fill + "\"}"},
                [&](const Client::Registered &answer) {
                    EXPECT_TRUE(answer.ok()) << answer.text;
                    answers++;
                });
        ASSERT_TRUE(pair.client->wait([&] { return answers == first + 100; }));
    }
    // What is in the log goes into the file, and what SQLite has in its cache is forgotten.
    pair.restart_registry(SIGTERM);
    std::string file = pair.data.path + "/d/registry.sqlite3", good, bad;
    {
        std::ifstream in(file, std::ios::binary);
        std::ostringstream all;
        all << in.rdbuf();
        good = bad = all.str();
    }
    ASSERT_GT(good.size(), 8u << 20) << "more than the cache holds";
    for (size_t at = 16 * 4096; at < bad.size(); at += 4096)
        bad.replace(at, 200, std::string(200, '\xa5'));
    auto write = [&](const std::string &bytes) {
        std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
        out.seekp(16 * 4096);
        out.write(bytes.data() + 16 * 4096, static_cast<std::streamsize>(bytes.size() - 16 * 4096));
    };
    write(bad);
    Client::Registered failed;
    for (int i = 0; i < 100 && failed.status != RPC_UNAVAILABLE; i++)
        failed = pair.client->register_worker({.id = "w" + std::to_string(i * 37)});
    ASSERT_EQ(failed.status, RPC_UNAVAILABLE);
    EXPECT_NE(failed.text.find("damaged"), std::string::npos) << failed.text;
    EXPECT_EQ(pair.client->health(service_name), 2);
    EXPECT_EQ(pair.client->all_workers().size(), 4000u) << "reads go on";
    // Twice as long as it takes to look whether it is over, with a change in between that can be written.
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    EXPECT_EQ(pair.client->health(service_name), 2) << "nothing has been mended";
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
    EXPECT_EQ(pair.client->health(service_name), 2) << "nothing has been mended";
    write(good);
    EXPECT_TRUE(pair.client->wait([&] { return pair.client->register_worker({.id = "w2000"}).ok(); }));
    EXPECT_TRUE(pair.client->wait([&] { return pair.client->health(service_name) == 1; }));
}

} // namespace
