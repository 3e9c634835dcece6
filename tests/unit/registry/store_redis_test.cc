// What is Redis's own: who may write, what is durable, and a server that goes and comes back.
// The contract of every store is in store_test.cc.

#include "tests/unit/registry/redis_server.h"

#include <gtest/gtest.h>

#include <signal.h>

#include <map>
#include <string>

extern "C" {
#include "services/registry/store_redis.h"
}

namespace
{

struct RedisStore : testing::Test {
    struct store *open(const RedisServer &server, enum redis_durability durability = REDIS_DURABILITY_ALWAYS,
                       const char *prefix = "muster", const char *password = "")
    {
        struct store_redis_options options = {};
        struct store_error error = {""};
        options.host = "127.0.0.1";
        options.port = server.port;
        options.user = "";
        options.password = password;
        options.prefix = prefix;
        options.durability = durability;
        struct store *store = store_redis_open(&options, &result, &error);
        text = error.text;
        EXPECT_EQ(text.find('\n'), std::string::npos);
        EXPECT_EQ(store == nullptr, result != STORE_OK);
        return store;
    }

    enum store_result put(struct store *store, const std::string &id, uint64_t ceiling = 1)
    {
        struct store_change change = {1, id.data(), id.size(), "value", 5};
        struct store_batch batch = {&change, 1, {ceiling, 0}};
        struct store_error error = {""};
        result = store_commit(store, &batch, &error);
        text = error.text;
        return result;
    }

    std::map<std::string, std::string> rows(struct store *store)
    {
        std::map<std::string, std::string> all;
        struct store_meta meta;
        struct store_error error = {""};
        result = store_load(
            store, &meta,
            [](void *argument, uint64_t, const char *id, size_t id_bytes, const void *value, size_t value_bytes,
               struct store_error *) {
                (*static_cast<std::map<std::string, std::string> *>(argument))[std::string(id, id_bytes)] =
                    std::string(static_cast<const char *>(value), value_bytes);
                return true;
            },
            &all, &error);
        text = error.text;
        return all;
    }

    void expect_text(const char *part)
    {
        EXPECT_NE(text.find(part), std::string::npos) << text;
    }

    enum store_result result = STORE_OK;
    std::string text;
};

TEST_F(RedisStore, ASecondRegistryOnAPrefixIsRefusedAndAnotherPrefixIsNot)
{
    RedisServer server;
    struct store *first = open(server);
    ASSERT_NE(first, nullptr) << text;
    EXPECT_EQ(open(server), nullptr);
    EXPECT_EQ(result, STORE_UNAVAILABLE);
    expect_text("in use by another registry");
    struct store *other = open(server, REDIS_DURABILITY_ALWAYS, "muster.2");
    ASSERT_NE(other, nullptr) << text;
    EXPECT_EQ(put(first, "a"), STORE_OK) << text;
    EXPECT_EQ(put(other, "b"), STORE_OK) << text;
    EXPECT_EQ(rows(first).count("b"), 0u);
    store_close(first);
    store_close(other);
    first = open(server);
    ASSERT_NE(first, nullptr) << text;
    EXPECT_EQ(rows(first).size(), 1u);
    store_close(first);
}

TEST_F(RedisStore, OneThatWasCutOffAndReplacedCannotWriteAnyMore)
{
    RedisServer server;
    struct store *old = open(server);
    ASSERT_NE(old, nullptr) << text;
    ASSERT_EQ(put(old, "a"), STORE_OK) << text;
    server.command("CLIENT KILL TYPE normal");
    struct store *next = open(server);
    ASSERT_NE(next, nullptr) << text;
    ASSERT_EQ(put(next, "b"), STORE_OK) << text;
    EXPECT_EQ(put(old, "c"), STORE_UNAVAILABLE) << "the connection was cut";
    EXPECT_EQ(put(old, "c"), STORE_UNUSABLE);
    expect_text("another registry has taken the prefix over");
    EXPECT_EQ(rows(next).count("c"), 0u);
    EXPECT_EQ(put(next, "d"), STORE_OK) << text;
    store_close(old);
    store_close(next);
}

TEST_F(RedisStore, LessDurabilityThanAskedIsRefused)
{
    struct Case {
        const char *sync;
        bool always, everysec;
        const char *found;
    };
    for (const Case &c : {Case{"always", true, true, "appendonly yes, appendfsync always"},
                          Case{"everysec", false, true, "appendonly yes, appendfsync everysec"},
                          Case{"", false, false, "appendonly no, appendfsync always"}}) {
        RedisServer server(c.sync);
        for (auto durability : {REDIS_DURABILITY_ALWAYS, REDIS_DURABILITY_EVERYSEC, REDIS_DURABILITY_ANY}) {
            bool enough =
                durability == REDIS_DURABILITY_ANY || (durability == REDIS_DURABILITY_ALWAYS ? c.always : c.everysec);
            struct store *store = open(server, durability);
            EXPECT_EQ(store != nullptr, enough) << c.found << ": " << text;
            if (store != nullptr) {
                EXPECT_STREQ(store_redis_persistence(store), c.found);
            } else {
                expect_text(c.found);
                expect_text("--redis-durability");
            }
            store_close(store);
        }
    }
}

TEST_F(RedisStore, AServerThatGoesAndComesBackIsFoundAgainWithAllThatWasConfirmed)
{
    RedisServer server;
    struct store *store = open(server);
    ASSERT_NE(store, nullptr) << text;
    ASSERT_EQ(put(store, "a"), STORE_OK) << text;
    server.stop(SIGKILL);
    EXPECT_EQ(put(store, "b"), STORE_UNAVAILABLE);
    expect_text("start Redis");
    EXPECT_EQ(put(store, "b"), STORE_UNAVAILABLE);
    server.start();
    ASSERT_TRUE(server.started);
    EXPECT_EQ(rows(store).size(), 1u) << text;
    EXPECT_EQ(put(store, "b"), STORE_OK) << text;
    EXPECT_EQ(rows(store).size(), 2u);
    store_close(store);
}

TEST_F(RedisStore, AServerThatHasForgottenTheScriptsIsGivenThemAgain)
{
    RedisServer server;
    struct store *store = open(server);
    ASSERT_NE(store, nullptr) << text;
    ASSERT_EQ(put(store, "a"), STORE_OK) << text;
    server.command("SCRIPT FLUSH");
    EXPECT_EQ(put(store, "b"), STORE_UNAVAILABLE) << "which nothing is lost by";
    expect_text("NOSCRIPT");
    EXPECT_EQ(put(store, "c"), STORE_OK) << text;
    auto all = rows(store);
    EXPECT_EQ(all.size(), 2u);
    EXPECT_EQ(all.count("b"), 0u) << "the caller was told that it failed";
    store_close(store);
}

TEST_F(RedisStore, AServerThatHasLostWhatItConfirmedIsNoticed)
{
    RedisServer server;
    struct store *store = open(server);
    ASSERT_NE(store, nullptr) << text;
    ASSERT_EQ(put(store, "a"), STORE_OK) << text;
    server.command("FLUSHALL");
    EXPECT_EQ(put(store, "b"), STORE_UNUSABLE);
    expect_text("lost changes that it had confirmed");
    store_close(store);
}

TEST_F(RedisStore, AServerWithoutMemoryOrThatMayNotWriteRefusesAndRecovers)
{
    RedisServer server;
    struct store *store = open(server);
    ASSERT_NE(store, nullptr) << text;
    server.command("CONFIG SET maxmemory 1");
    EXPECT_EQ(put(store, "a"), STORE_UNAVAILABLE);
    expect_text("raise maxmemory");
    EXPECT_TRUE(rows(store).empty()) << "reads go on";
    server.command("CONFIG SET maxmemory 0");
    EXPECT_EQ(put(store, "a"), STORE_OK) << text;
    server.command("REPLICAOF 127.0.0.1 1");
    EXPECT_EQ(put(store, "b"), STORE_UNAVAILABLE);
    expect_text("name the primary");
    server.command("REPLICAOF NO ONE");
    EXPECT_EQ(put(store, "b"), STORE_OK) << text;
    EXPECT_EQ(rows(store).size(), 2u);
    store_close(store);
}

TEST_F(RedisStore, WhatCannotBeOursIsRefusedAndLeftAlone)
{
    RedisServer server;
    EXPECT_EQ(open(server, REDIS_DURABILITY_ALWAYS, "bad prefix"), nullptr);
    expect_text("--redis-prefix");
    EXPECT_EQ(open(server, REDIS_DURABILITY_ALWAYS, ""), nullptr);
    EXPECT_EQ(open(server, REDIS_DURABILITY_ALWAYS, std::string(65, 'p').c_str()), nullptr);
    struct store *longest = open(server, REDIS_DURABILITY_ALWAYS, std::string(64, 'p').c_str());
    EXPECT_NE(longest, nullptr) << text;
    store_close(longest);
    server.command("SET other:meta x");
    EXPECT_EQ(open(server, REDIS_DURABILITY_ALWAYS, "other"), nullptr);
    EXPECT_EQ(server.command("GET other:meta"), "$1\r\nx\r\n");
    server.command("HSET newer:meta format 2");
    EXPECT_EQ(open(server, REDIS_DURABILITY_ALWAYS, "newer"), nullptr);
    EXPECT_EQ(result, STORE_UNUSABLE);
    expect_text("another version of Muster");
}

TEST_F(RedisStore, APasswordIsUsedAndAWrongOneIsToldSo)
{
    RedisServer server;
    server.command("CONFIG SET requirepass secret");
    EXPECT_EQ(open(server), nullptr);
    expect_text("REDIS_PASSWORD");
    EXPECT_EQ(open(server, REDIS_DURABILITY_ALWAYS, "muster", "wrong"), nullptr);
    expect_text("REDIS_PASSWORD");
    struct store *store = open(server, REDIS_DURABILITY_ALWAYS, "muster", "secret");
    EXPECT_NE(store, nullptr) << text;
    store_close(store);
}

TEST_F(RedisStore, NoServerIsToldSo)
{
    RedisServer server;
    server.stop(SIGKILL);
    EXPECT_EQ(open(server), nullptr);
    EXPECT_EQ(result, STORE_UNAVAILABLE);
    expect_text("start Redis");
}

} // namespace
