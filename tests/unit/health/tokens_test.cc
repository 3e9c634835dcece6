// Who may speak on a heartbeat stream, where that has to be proved.

#include "tests/unit/health/health_fixture.h"

extern "C" {
#include "common/auth/worker_token.h"
}

namespace
{

const uint8_t SECRET[AUTH_SECRET_BYTES] = {1, 2, 3};
const uint8_t OTHER_SECRET[AUTH_SECRET_BYTES] = {3, 2, 1};

class Tokens : public testing::Test
{
  protected:
    Tokens()
    {
        start(true);
        tell(SECRET);
    }
    ~Tokens() override
    {
        EXPECT_TRUE(health_check(health));
        health_destroy(health);
    }

    void start(bool required)
    {
        if (health != nullptr)
            health_destroy(health);
        struct health_settings settings = {};
        settings.detector = {90000, 120000, 5000};
        health = health_create(&settings, 1000);
        if (required)
            health_require_tokens(health);
        stream = health_stream_open(health, nullptr);
        sequence = 0;
    }
    // The registry's watch, with nobody on the roll.
    void tell(const uint8_t *secret)
    {
        Muster__V1__WatchWorkersResponse message = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
        message.snapshot_begin = message.snapshot_complete = true;
        message.revision = 7;
        message.token_secret = {AUTH_SECRET_BYTES, const_cast<uint8_t *>(secret)};
        ASSERT_TRUE(health_apply_watch(health, &message, 1000));
    }
    static std::string token(const std::string &id, uint64_t incarnation, const uint8_t *secret = SECRET)
    {
        char text[AUTH_WORKER_TOKEN_BYTES];
        EXPECT_TRUE(auth_worker_token_make(secret, id.c_str(), incarnation, text));
        return text;
    }
    static std::string peer(const uint8_t *secret = SECRET)
    {
        char text[AUTH_PEER_TOKEN_BYTES];
        auth_peer_token_make(secret, text);
        return text;
    }
    enum health_message_result say(const std::string &said, const std::vector<std::pair<std::string, uint64_t>> &beats)
    {
        std::vector<Muster__V1__Heartbeat> heartbeats(beats.size());
        std::vector<Muster__V1__Heartbeat *> pointers;
        for (size_t i = 0; i < beats.size(); i++) {
            muster__v1__heartbeat__init(&heartbeats[i]);
            heartbeats[i].worker_id = const_cast<char *>(beats[i].first.c_str());
            heartbeats[i].incarnation = beats[i].second;
            pointers.push_back(&heartbeats[i]);
        }
        Muster__V1__HeartbeatRequest message = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
        message.n_heartbeats = pointers.size();
        message.heartbeats = pointers.data();
        message.token = const_cast<char *>(said.c_str());
        message.sequence = sequence + 1;
        enum health_message_result result = health_stream_message(health, stream, &message, 2000);
        sequence += result == HEALTH_MESSAGE_TAKEN;
        return result;
    }

    struct health *health = nullptr;
    struct health_stream *stream = nullptr;
    uint64_t sequence = 0;
};

TEST_F(Tokens, AWorkerSpeaksForItself)
{
    EXPECT_EQ(say(token("a", 1), {{"a", 1}}), HEALTH_MESSAGE_TAKEN);
    EXPECT_EQ(say("", {{"a", 1}}), HEALTH_MESSAGE_TAKEN) << "said once, it holds for the stream";
    EXPECT_EQ(say("", {{"b", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
    EXPECT_EQ(say("", {{"a", 1}, {"b", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
    EXPECT_EQ(say("", {{"a", 2}}), HEALTH_MESSAGE_NOT_ALLOWED) << "another registration";
    EXPECT_EQ(say("", {{"a", 0}}), HEALTH_MESSAGE_NOT_ALLOWED) << "whichever registration";
    EXPECT_EQ(health_count(health).heartbeats, 2u) << "what is not allowed was not done";
    EXPECT_EQ(say(token("a", 2), {{"a", 2}}), HEALTH_MESSAGE_TAKEN) << "registered again, on the same stream";
    EXPECT_EQ(say("", {{"a", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
}

TEST_F(Tokens, NobodyElseSpeaks)
{
    EXPECT_EQ(say("", {{"a", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
    EXPECT_EQ(say("", {}), HEALTH_MESSAGE_NOT_ALLOWED);
    EXPECT_EQ(say("nonsense", {{"a", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
    EXPECT_EQ(say(token("a", 1, OTHER_SECRET), {{"a", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
    EXPECT_EQ(say(peer(OTHER_SECRET), {{"a", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
    EXPECT_EQ(say(token("a", 1), {{"a", 1}}), HEALTH_MESSAGE_TAKEN);
    EXPECT_EQ(say("nonsense", {{"a", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
    EXPECT_EQ(say("", {{"a", 1}}), HEALTH_MESSAGE_NOT_ALLOWED) << "a bad token takes the good one away";
}

TEST_F(Tokens, AGatewaySpeaksForAll)
{
    EXPECT_EQ(say(peer(), {{"a", 1}, {"b", 0}}), HEALTH_MESSAGE_TAKEN);
    EXPECT_EQ(say("", {{"c", 9}}), HEALTH_MESSAGE_TAKEN);
}

TEST_F(Tokens, BeforeTheRegistryWasHeardNobodyCanTell)
{
    start(true);
    EXPECT_EQ(say(token("a", 1), {{"a", 1}}), HEALTH_MESSAGE_NOT_READY);
    EXPECT_EQ(say("", {{"a", 1}}), HEALTH_MESSAGE_NOT_ALLOWED);
    tell(SECRET);
    EXPECT_EQ(say(token("a", 1), {{"a", 1}}), HEALTH_MESSAGE_TAKEN);
}

TEST_F(Tokens, WhereTheyAreNotAskedForNobodyLooksAtThem)
{
    start(false);
    EXPECT_EQ(say("", {{"a", 1}}), HEALTH_MESSAGE_TAKEN);
    EXPECT_EQ(say("nonsense", {{"b", 1}}), HEALTH_MESSAGE_TAKEN);
}

} // namespace
