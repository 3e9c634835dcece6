// Export and import: what one registry streams out another takes in, as often as one likes.

#include "tests/integration/registry/client.h"
#include "tests/integration/registry/process.h"

#include <gtest/gtest.h>

#include <signal.h>

#include <filesystem>
#include <fstream>

namespace
{

constexpr char nowhere[] = "127.0.0.1:1";
// The copy of the database, while it is being made.
constexpr char partial[] = "/backup.partial.sqlite3";

using Message = std::vector<uint8_t>;

template <typename Response> std::vector<uint8_t> pack(const Response *message)
{
    auto base = reinterpret_cast<const ProtobufCMessage *>(message);
    std::vector<uint8_t> bytes(protobuf_c_message_get_packed_size(base));
    protobuf_c_message_pack(base, bytes.data());
    return bytes;
}

// A worker as a backup has it.
struct Backup {
    std::string id;
    std::string url = "http://192.0.2.7:8070";
    std::vector<std::string> assigned = {};
    uint64_t incarnation = 7;
    int64_t registered_at_ms = 1700000000000;
    bool draining = false;
    int type = 0;
    std::string json = "";
};

// A stream of either method: what came, and how it ended.
struct Stream {
    explicit Stream(Client &owner, const char *method) : client(owner)
    {
        struct rpc_events events = {};
        events.message = [](struct rpc_call *of, const void *) {
            auto *self = static_cast<Stream *>(rpc_call_context(of));
            size_t bytes;
            const uint8_t *data = rpc_call_message_bytes(of, &bytes);
            self->responses.push_back(Message(data, data + bytes));
        };
        events.ended = [](struct rpc_call *of, enum rpc_status how, const char *why) {
            auto *self = static_cast<Stream *>(rpc_call_context(of));
            self->ended = true;
            self->status = how;
            self->text = why;
        };
        call = rpc_channel_stream(client.channel, &muster__v1__registry_service__descriptor, method, nullptr, &events,
                                  this);
    }
    ~Stream()
    {
        if (!ended)
            rpc_call_cancel(call);
        client.wait([this] { return ended; });
    }
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;

    enum rpc_status end()
    {
        rpc_call_half_close(call);
        client.wait([this] { return ended; });
        return status;
    }

    Client &client;
    struct rpc_call *call;
    std::vector<Message> responses;
    bool ended = false;
    enum rpc_status status = RPC_UNKNOWN;
    std::string text;
};

struct Import : Stream {
    explicit Import(Client &owner) : Stream(owner, "ImportWorkers") {}

    void send(const std::vector<Backup> &backups)
    {
        auto chars = [](const std::string &s) { return const_cast<char *>(s.c_str()); };
        std::vector<Muster__V1__Worker> workers(backups.size());
        std::vector<Muster__V1__WorkerSpec> specs(backups.size());
        std::vector<Muster__V1__Capabilities> capabilities(backups.size());
        std::vector<std::vector<char *>> names(backups.size());
        std::vector<Muster__V1__Worker *> pointers;
        for (size_t i = 0; i < backups.size(); i++) {
            const Backup &backup = backups[i];
            muster__v1__worker__init(&workers[i]);
            muster__v1__worker_spec__init(&specs[i]);
            muster__v1__capabilities__init(&capabilities[i]);
            specs[i].worker_id = chars(backup.id);
            specs[i].tunnel_url = chars(backup.url);
            capabilities[i].json = chars(backup.json);
            if (!backup.json.empty())
                specs[i].capabilities = &capabilities[i];
            workers[i].spec = &specs[i];
            for (const auto &name : backup.assigned)
                names[i].push_back(chars(name));
            workers[i].n_assigned_services = names[i].size();
            workers[i].assigned_services = names[i].data();
            workers[i].incarnation = backup.incarnation;
            workers[i].registered_at_ms = backup.registered_at_ms;
            workers[i].draining = backup.draining;
            workers[i].type = static_cast<Muster__V1__WorkerType>(backup.type);
            pointers.push_back(&workers[i]);
        }
        Muster__V1__ImportWorkersRequest request = MUSTER__V1__IMPORT_WORKERS_REQUEST__INIT;
        request.n_workers = pointers.size();
        request.workers = pointers.data();
        rpc_call_send(call, &request.base);
    }

    // Skipped workers of the n-th response: number, id, start of the reason.
    struct Skipped {
        uint32_t number;
        std::string id, reason;
    };
    std::vector<Skipped> skipped(size_t n, uint64_t *imported) const
    {
        std::vector<Skipped> all;
        Muster__V1__ImportWorkersResponse *response =
            muster__v1__import_workers_response__unpack(nullptr, responses.at(n).size(), responses.at(n).data());
        *imported = response->imported;
        for (size_t i = 0; i < response->n_skipped; i++)
            all.push_back(
                {response->skipped[i]->number, response->skipped[i]->worker_id, response->skipped[i]->reason});
        muster__v1__import_workers_response__free_unpacked(response, nullptr);
        return all;
    }
};

// Everything on the roll, each worker packed as it was streamed, without status and revision.
std::map<std::string, Message> export_all(Client &client, size_t *messages = nullptr)
{
    Stream stream(client, "ExportWorkers");
    Muster__V1__ExportWorkersRequest request = MUSTER__V1__EXPORT_WORKERS_REQUEST__INIT;
    rpc_call_send(stream.call, &request.base);
    EXPECT_EQ(stream.end(), RPC_OK) << stream.text;
    std::map<std::string, Message> workers;
    std::string last;
    for (const auto &bytes : stream.responses) {
        Muster__V1__ExportWorkersResponse *response =
            muster__v1__export_workers_response__unpack(nullptr, bytes.size(), bytes.data());
        for (size_t i = 0; i < response->n_workers; i++) {
            Muster__V1__Worker *worker = response->workers[i];
            EXPECT_LT(last, worker->spec->worker_id);
            last = worker->spec->worker_id;
            EXPECT_NE(worker->revision, 0u);
            worker->status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED;
            worker->status_changed_at_ms = 0;
            worker->revision = 0;
            workers[last] = pack(worker);
        }
        muster__v1__export_workers_response__free_unpacked(response, nullptr);
    }
    if (messages != nullptr)
        *messages = stream.responses.size();
    return workers;
}

struct Registry {
    explicit Registry(const std::function<void()> &before = nullptr, const std::vector<std::string> &flags = {})
        : process(registry_program, arguments(flags), before), client(process.ready())
    {
    }
    std::vector<std::string> arguments(const std::vector<std::string> &flags) const
    {
        std::vector<std::string> all = {"--port=0", "--data-dir=" + data.path,
                                        std::string("--assigner-address=") + nowhere};
        all.insert(all.end(), flags.begin(), flags.end());
        return all;
    }
    Directory data;
    Process process;
    Client client;
};

std::vector<Backup> fleet(size_t from, size_t to)
{
    std::vector<Backup> workers;
    for (size_t i = from; i < to; i++)
        workers.push_back({.id = "w" + std::to_string(i),
                           .assigned = {"redis", "a \"quoted\" name"},
                           .incarnation = i + 1,
                           .draining = i % 3 == 0,
                           .json = "{\"number\": " + std::to_string(i) + "}"});
    return workers;
}

TEST(Transfer, WhatWasExportedElsewhereIsTheSameAfterAnImport)
{
    Registry first;
    Import import(first.client);
    for (size_t i = 0; i < 3000; i += 500)
        import.send(fleet(i, i + 500));
    ASSERT_EQ(import.end(), RPC_OK) << import.text;
    ASSERT_EQ(import.responses.size(), 6u);
    for (size_t i = 0; i < 6; i++) {
        uint64_t imported;
        EXPECT_TRUE(import.skipped(i, &imported).empty());
        EXPECT_EQ(imported, 500u);
    }
    size_t messages;
    auto exported = export_all(first.client, &messages);
    EXPECT_EQ(exported.size(), 3000u);
    EXPECT_GT(messages, 10u) << "in pieces, not all at once";

    Registry second;
    Stream copy(second.client, "ImportWorkers");
    for (const auto &[id, bytes] : exported) {
        Muster__V1__Worker *worker = muster__v1__worker__unpack(nullptr, bytes.size(), bytes.data());
        Muster__V1__ImportWorkersRequest request = MUSTER__V1__IMPORT_WORKERS_REQUEST__INIT;
        request.n_workers = 1;
        request.workers = &worker;
        rpc_call_send(copy.call, &request.base);
        muster__v1__worker__free_unpacked(worker, nullptr);
    }
    ASSERT_EQ(copy.end(), RPC_OK) << copy.text;
    EXPECT_EQ(copy.responses.size(), 3000u) << "one for each request";
    EXPECT_EQ(export_all(second.client), exported);
}

TEST(Transfer, AnImportedWorkerIsReconnectingAndKeepsItsIncarnationUnlessTheIdHasLeft)
{
    Registry registry;
    Import import(registry.client);
    import.send({{.id = "a", .incarnation = 9},
                 {.id = "b", .incarnation = 4},
                 {.id = "fresh",
                  .registered_at_ms = 0 }});
    ASSERT_EQ(import.end(), RPC_OK) << import.text;
    auto workers = registry.client.all_workers();
    EXPECT_EQ(workers.at("a")->incarnation, 9u);
    EXPECT_EQ(workers.at("a")->status, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING);
    EXPECT_EQ(workers.at("a")->registered_at_ms, 1700000000000);
    EXPECT_EQ(workers.at("a")->type, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
    EXPECT_GT(workers.at("fresh")->registered_at_ms, 1700000000000);

    ASSERT_TRUE(registry.client.unregister_worker("a").ok());
    Import again(registry.client);
    again.send({{.id = "a", .incarnation = 5}});
    ASSERT_EQ(again.end(), RPC_OK) << again.text;
    EXPECT_EQ(registry.client.all_workers().at("a")->incarnation, 10u);
}

TEST(Transfer, AnImportThatWasCutOffIsRepeatedFromItsStart)
{
    Registry registry;
    {
        Import cut(registry.client);
        cut.send(fleet(0, 300));
        ASSERT_TRUE(registry.client.wait([&] { return cut.responses.size() == 1; }));
        cut.send(fleet(300, 600)); // and the client is gone
    }
    auto some = registry.client.all_workers();
    EXPECT_GE(some.size(), 300u);
    Import again(registry.client);
    again.send(fleet(0, 300));
    again.send(fleet(300, 1000));
    ASSERT_EQ(again.end(), RPC_OK) << again.text;
    uint64_t first, second;
    EXPECT_EQ(again.skipped(0, &first).size(), 300u);
    EXPECT_EQ(first, 0u);
    EXPECT_EQ(again.skipped(0, &first)[17].reason, "is on the roll already");
    size_t skipped = again.skipped(1, &second).size();
    EXPECT_EQ(second + skipped, 700u);
    auto all = registry.client.all_workers();
    EXPECT_EQ(all.size(), 1000u);
    for (const auto &[id, worker] : some)
        EXPECT_EQ(all.at(id)->revision, worker->revision) << "imported twice";
}

TEST(Transfer, AWorkerThatIsWrongIsSkippedAndTheOthersAreNot)
{
    Registry registry;
    Import import(registry.client);
    import.send({{.id = "good"},
                 {.id = ""},
                 {.id = "bad url", .url = "ftp://x"},
                 {.id = "line\nbreak"},
                 {.id = "\xff"},
                 {.id = "type", .type = 9},
                 {.id = "incarnation", .incarnation = UINT64_MAX},
                 {.id = "time", .registered_at_ms = -1},
                 {.id = "json", .json = "{\"a\":"},
                 {.id = "name",
                  .assigned =
                  { "" }},
                 {.id = "good"},
                 {.id = "it's \"quoted\"; DROP TABLE worker" }});
    import.send({});
    ASSERT_EQ(import.end(), RPC_OK) << import.text;
    uint64_t imported;
    auto skipped = import.skipped(0, &imported);
    std::string found;
    for (const auto &skip : skipped)
        found +=
            std::to_string(skip.number) + " " + skip.id + " " + skip.reason.substr(0, skip.reason.find(':')) + "\n";
    EXPECT_EQ(imported, 2u);
    EXPECT_EQ(found, "1  worker_id\n2 bad url tunnel_url\n3  worker_id\n4  worker_id\n5 type type\n"
                     "6 incarnation incarnation\n7 time registered_at_ms\n8 json capabilities\n"
                     "9 name assigned_services[0]\n10 good is on the roll already\n");
    EXPECT_TRUE(import.skipped(1, &imported).empty());
    auto workers = registry.client.all_workers();
    EXPECT_EQ(workers.size(), 2u);
    EXPECT_EQ(workers.count("it's \"quoted\"; DROP TABLE worker"), 1u);
}

TEST(Transfer, AMessageOfAThousandIsTakenAndOneMoreIsNot)
{
    Registry registry;
    Import import(registry.client);
    import.send(fleet(0, 1000));
    ASSERT_EQ(import.end(), RPC_OK) << import.text;
    Import larger(registry.client);
    larger.send(fleet(1000, 2001));
    EXPECT_EQ(larger.end(), RPC_INVALID_ARGUMENT);
    EXPECT_NE(larger.text.find("at most 1000"), std::string::npos) << larger.text;
    EXPECT_EQ(registry.client.all_workers().size(), 1000u);
}

TEST(Transfer, AnEmptyRollIsExportedAsNothing)
{
    Registry registry;
    EXPECT_TRUE(export_all(registry.client).empty());
    Import import(registry.client);
    EXPECT_EQ(import.end(), RPC_OK) << import.text;
}

// A copy that is made while registrations go on is a database that a registry starts from, with
// everything that was acknowledged before it began.
TEST(Transfer, ABackupIsMadeWhileRegistrationsGoOn)
{
    Registry registry;
    Import import(registry.client);
    for (size_t i = 0; i < 6000; i += 1000)
        import.send(fleet(i, i + 1000));
    ASSERT_EQ(import.end(), RPC_OK) << import.text;
    size_t before = registry.client.all_workers().size();

    Stream backup(registry.client, "BackUp");
    Muster__V1__BackUpRequest request = MUSTER__V1__BACK_UP_REQUEST__INIT;
    rpc_call_send(backup.call, &request.base);
    Import more(registry.client);
    for (size_t i = 6000; i < 9000; i += 100)
        more.send(fleet(i, i + 100));
    EXPECT_EQ(backup.end(), RPC_OK) << backup.text;
    EXPECT_EQ(more.end(), RPC_OK) << more.text;
    EXPECT_FALSE(std::filesystem::exists(registry.data.path + partial));

    Directory restored;
    std::ofstream file(restored.path + "/registry.sqlite3", std::ios::binary);
    uint64_t bytes = 0, total = 0;
    for (const auto &packed : backup.responses) {
        Muster__V1__BackUpResponse *piece = muster__v1__back_up_response__unpack(nullptr, packed.size(), packed.data());
        file.write(reinterpret_cast<const char *>(piece->data.data), static_cast<std::streamsize>(piece->data.len));
        bytes += piece->data.len;
        total = piece->total_bytes;
        muster__v1__back_up_response__free_unpacked(piece, nullptr);
    }
    file.close();
    EXPECT_EQ(bytes, total);
    Process again(registry_program,
                  {"--port=0", "--data-dir=" + restored.path, std::string("--assigner-address=") + nowhere});
    Client client(again.ready());
    auto workers = client.all_workers();
    EXPECT_GE(workers.size(), before);
    for (size_t i = 0; i < before; i++)
        EXPECT_EQ(workers.count("w" + std::to_string(i)), 1u);
}

// Killed in the middle of a backup, which has to be large enough to take a while.
TEST(Transfer, WhatAKilledRegistryLeavesOfABackupIsRemovedAtTheNextStart)
{
    Registry registry;
    Import import(registry.client);
    for (size_t i = 0; i < 20000; i += 1000)
        import.send(fleet(i, i + 1000));
    ASSERT_EQ(import.end(), RPC_OK) << import.text;
    std::string copy = registry.data.path + partial;
    std::string others = registry.data.path + "/backup-1.sqlite3";
    std::ofstream(others) << "an operator's";
    {
        Stream backup(registry.client, "BackUp");
        Muster__V1__BackUpRequest request = MUSTER__V1__BACK_UP_REQUEST__INIT;
        rpc_call_send(backup.call, &request.base);
        ASSERT_TRUE(registry.client.wait([&] { return std::filesystem::exists(copy) || backup.ended; }));
        EXPECT_EQ(registry.process.end(SIGKILL), -SIGKILL);
        ASSERT_TRUE(registry.client.wait([&] { return backup.ended; }));
    }
    if (!std::filesystem::exists(copy)) // the copy was quicker than the signal
        std::ofstream(copy) << "half";
    std::ofstream(copy + "-journal") << "half";
    Process again(registry_program,
                  {"--port=0", "--data-dir=" + registry.data.path, std::string("--assigner-address=") + nowhere});
    Client client(again.ready());
    EXPECT_EQ(client.all_workers().size(), 20000u);
    EXPECT_FALSE(std::filesystem::exists(copy));
    EXPECT_FALSE(std::filesystem::exists(copy + "-journal"));
    EXPECT_TRUE(std::filesystem::exists(others)) << "which is not the registry's";
}

// Calls that are cut off at the end have work in the ledger and with the writer. Nothing of it may
// be lost track of, which the sanitizers see.
TEST(Transfer, ImportsAndBackupsThatAreCutOffByTheEndLeaveNothingBehind)
{
    Registry registry({}, {"--drain-timeout-seconds=0"});
    Import import(registry.client);
    for (size_t i = 0; i < 20000; i += 1000)
        import.send(fleet(i, i + 1000));
    ASSERT_TRUE(registry.client.wait([&] { return import.responses.size() >= 10; }));
    Stream backup(registry.client, "BackUp");
    Muster__V1__BackUpRequest request = MUSTER__V1__BACK_UP_REQUEST__INIT;
    rpc_call_send(backup.call, &request.base);
    for (size_t i = 20000; i < 100000; i += 1000)
        import.send(fleet(i, i + 1000));
    size_t before = import.responses.size();
    ASSERT_TRUE(registry.client.wait([&] { return import.responses.size() > before + 2; }));
    EXPECT_EQ(registry.process.end(SIGTERM), 0) << registry.process.errors();
    EXPECT_TRUE(registry.client.wait([&] { return import.ended && backup.ended; }));
    EXPECT_FALSE(std::filesystem::exists(registry.data.path + partial));
    Process again(registry_program,
                  {"--port=0", "--data-dir=" + registry.data.path, std::string("--assigner-address=") + nowhere});
    Client client(again.ready());
    EXPECT_GE(client.all_workers().size(), (before + 2) * 1000) << "what was acknowledged";
}

TEST(Transfer, WhatIsNotInAFileCannotBeBackedUp)
{
    Process process(registry_program, {"--port=0", "--store=memory", std::string("--assigner-address=") + nowhere});
    Client client(process.ready());
    Stream backup(client, "BackUp");
    Muster__V1__BackUpRequest request = MUSTER__V1__BACK_UP_REQUEST__INIT;
    rpc_call_send(backup.call, &request.base);
    EXPECT_EQ(backup.end(), RPC_FAILED_PRECONDITION);
    EXPECT_NE(backup.text.find("export"), std::string::npos) << backup.text;
}

} // namespace
