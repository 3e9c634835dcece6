// Acknowledged means kept. Registers and unregisters at full speed, kills the registry with
// SIGKILL at a random moment, starts it again and compares: of each worker, the last change
// that was acknowledged must be there, or one that was asked for after it; and what is there
// must be whole. Many workers are left alone again after a few changes, so that a change that
// was lost long before the kill shows too. DURABILITY_ROUNDS sets how many rounds (10).

#include "tests/integration/registry/client.h"
#include "tests/integration/registry/process.h"
#include "tests/unit/registry/redis_server.h"

#include <gtest/gtest.h>

#include <signal.h>

#include <cstdlib>
#include <deque>

extern "C" {
#include "common/clock.h"
#include "common/random.h"
}

namespace
{

constexpr size_t callers = 60;
constexpr char nowhere[] = "127.0.0.1:1";

// One worker id and the history of what was asked for it, one request at a time: the value is
// a number that is registered as part of the URL; 0 is an unregistration.
struct Subject {
    std::string id;
    uint64_t kept = 0;      // the last value that was acknowledged
    uint64_t asked = 0;     // the value that is under way
    bool under_way = false; // so either may be found
    uint64_t incarnation = 0;
};

struct Fleet {
    // A worker that has never been registered.
    Subject &add()
    {
        subjects.push_back({.id = "w" + std::to_string(subjects.size())});
        return subjects.back();
    }

    // Some workers of earlier rounds, and some new ones, begin to change.
    void begin(Client &client, struct random *random)
    {
        stopping = false;
        for (size_t i = 0; i < callers; i++) {
            Subject *subject = subjects.empty() ? nullptr : &subjects[random_below(random, subjects.size())];
            next(client, subject == nullptr || subject->under_way ? add() : *subject, random);
        }
    }

    static std::string url(uint64_t value)
    {
        return "http://192.0.2.7:8070/" + std::to_string(value);
    }

    // Two texts that must belong together: a record that was half written would show.
    static std::string json(uint64_t value)
    {
        return "{\"value\": " + std::to_string(value) + ", \"fill\": \"" +
               std::string(static_cast<size_t>(value * 37 % 6000), 'f') + "\"}";
    }

    void next(Client &client, Subject &subject, struct random *random)
    {
        if (stopping)
            return;
        open++;
        subject.under_way = true;
        if (subject.kept != 0 && random_below(random, 3) == 0) {
            subject.asked = 0;
            client.start_unregistration(subject.id, [&, random](const auto &answer) {
                open--;
                if (!answer.ok())
                    return;
                acknowledge(client, subject, random);
            });
            return;
        }
        subject.asked = ++last_value;
        client.start_registration(
            {.id = subject.id, .url = url(subject.asked), .capabilities_json = json(subject.asked)},
            [&, random](const Client::Registered &answer) {
                open--;
                if (!answer.ok())
                    return;
                EXPECT_GT(answer->worker->incarnation, subject.incarnation) << subject.id;
                subject.incarnation = answer->worker->incarnation;
                acknowledge(client, subject, random);
            });
    }

    void acknowledge(Client &client, Subject &subject, struct random *random)
    {
        acknowledged++;
        subject.kept = subject.asked;
        subject.under_way = false;
        next(client, random_below(random, 4) == 0 ? add() : subject, random);
    }

    void compare(Client &client)
    {
        auto workers = client.all_workers(77);
        for (auto &subject : subjects) {
            uint64_t found = 0;
            auto worker = workers.find(subject.id);
            if (worker != workers.end()) {
                std::string at = worker->second->spec->tunnel_url;
                found = strtoull(at.c_str() + at.rfind('/') + 1, nullptr, 10);
                EXPECT_EQ(at, url(found));
                EXPECT_EQ(worker->second->spec->capabilities->json, json(found)) << "a record that is not whole";
                EXPECT_GE(worker->second->incarnation, subject.incarnation) << subject.id;
            }
            EXPECT_TRUE(found == subject.kept || (subject.under_way && found == subject.asked))
                << subject.id << ": found " << found << ", acknowledged " << subject.kept << ", asked for "
                << (subject.under_way ? std::to_string(subject.asked) : "nothing");
            subject.kept = found;
            subject.under_way = false;
        }
        EXPECT_LE(workers.size(), subjects.size());
    }

    std::deque<Subject> subjects; // which do not move when others are added
    uint64_t last_value = 0;
    size_t open = 0, acknowledged = 0;
    bool stopping = false;
};

// Where the registry keeps the roll: the flags for it, and what must live as long.
struct Place {
    virtual ~Place() = default;
    virtual std::vector<std::string> flags() = 0;
};

struct SqlitePlace : Place {
    std::vector<std::string> flags() override
    {
        return {"--data-dir=" + data.path};
    }
    Directory data;
};

struct RedisPlace : Place {
    std::vector<std::string> flags() override
    {
        return {"--store=redis", "--redis-address=127.0.0.1:" + std::to_string(server.port)};
    }
    RedisServer server;
};

class Durability : public testing::TestWithParam<const char *>
{
};

TEST_P(Durability, NothingAcknowledgedIsMissingAfterAKill)
{
    const char *setting = getenv("DURABILITY_ROUNDS");
    long rounds = setting != nullptr ? atol(setting) : 10;
    struct random random;
    random_seed_from_kernel(&random);
    std::unique_ptr<Place> place;
    if (std::string(GetParam()) == "redis")
        place = std::make_unique<RedisPlace>();
    else
        place = std::make_unique<SqlitePlace>();
    Fleet fleet;
    std::string port = "0", assigner_address = nowhere;
    std::unique_ptr<Process> assigner;
    auto start = [&] {
        std::vector<std::string> arguments = {"--port=" + port, "--assigner-address=" + assigner_address};
        for (const auto &flag : place->flags())
            arguments.push_back(flag);
        return std::make_unique<Process>(registry_program, arguments);
    };
    auto registry = start();
    std::string address = registry->ready();
    port = address.substr(address.rfind(':') + 1);
    assigner = std::make_unique<Process>(assigner_program,
                                         std::vector<std::string>{"--port=0", "--registry-address=" + address});
    assigner_address = assigner->ready();
    registry->end(SIGTERM);

    size_t kills_in_the_middle = 0;
    for (long round = 0; round < rounds; round++) {
        registry = start();
        ASSERT_EQ(registry->ready(), address) << registry->errors();
        Client client(address);
        fleet.compare(client);
        size_t before = fleet.acknowledged;
        fleet.begin(client, &random);
        // At a random moment after the first answers, so that it falls anywhere in a commit.
        ASSERT_TRUE(client.wait([&] { return fleet.acknowledged > before + 20; }));
        uint64_t moment = clock_monotonic_us() + random_below(&random, 200000);
        client.wait([&] { return clock_monotonic_us() >= moment; });
        registry->end(SIGKILL);
        fleet.stopping = true;
        ASSERT_TRUE(client.wait([&] { return fleet.open == 0; }));
        for (const auto &subject : fleet.subjects)
            kills_in_the_middle += subject.under_way;
        ASSERT_FALSE(HasFailure()) << "in round " << round;
    }
    registry = start();
    ASSERT_EQ(registry->ready(), address) << registry->errors();
    Client client(address);
    fleet.compare(client);
    EXPECT_GT(kills_in_the_middle, 0u) << "the kills came when nothing was going on";
    printf("%ld rounds, %zu changes acknowledged, %zu under way at a kill\n", rounds, fleet.acknowledged,
           kills_in_the_middle);
}

INSTANTIATE_TEST_SUITE_P(All, Durability, testing::Values("sqlite", "redis"),
                         [](const auto &test) { return std::string(test.param); });

} // namespace
