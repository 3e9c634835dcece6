// Who may use which route: the whole table against every kind of caller.

#include <gtest/gtest.h>

#include <cstring>
#include <string>

extern "C" {
#include "gateway/guard.h"
}

namespace
{

class Guard : public ::testing::Test
{
  protected:
    Guard() : identity(auth_identity_create()) {}
    ~Guard() override
    {
        auth_identity_release(identity);
    }
    bool admits(const struct api_route &route, unsigned rights)
    {
        identity->name = name;
        identity->rights = rights;
        struct auth_caller caller = {};
        caller.identity = identity;
        bool admitted = guard_admits(&route, &caller, nullptr, message, sizeof message);
        EXPECT_EQ(admitted, message[0] == '\0') << "a refusal says why";
        return admitted;
    }
    bool admits_worker(const struct api_route &route, const char *worker_id)
    {
        struct auth_caller caller = {};
        strcpy(caller.worker_id, "gpu-1");
        caller.incarnation = 1;
        return guard_admits(&route, &caller, worker_id, message, sizeof message);
    }
    struct auth_identity *identity;
    char name[4] = "lab";
    char message[512];
};

TEST_F(Guard, EveryRouteTakesItsRightOrAdmin)
{
    for (size_t i = 0; i < API_OPERATION_COUNT; i++) {
        const struct api_route &route = api_routes()[i];
        SCOPED_TRACE(route.label);
        bool open = route.caller == API_FOR_EVERYBODY;
        EXPECT_EQ(guard_right(&route) == 0, open);
        EXPECT_EQ(admits(route, 0), open);
        EXPECT_TRUE(admits(route, AUTH_ADMIN));
        EXPECT_EQ(admits(route, AUTH_CLIENT), open || route.caller == API_FOR_CLIENTS);
        EXPECT_EQ(admits(route, AUTH_WORKER), open || route.caller == API_FOR_WORKERS);
        // What an operator may, nobody else may by chance.
        EXPECT_EQ(admits(route, AUTH_CLIENT | AUTH_WORKER), route.caller != API_FOR_OPERATORS);
    }
}

TEST_F(Guard, AListOfServicesShutsOutOfWhatIsAboutAll)
{
    identity->services.given = true;
    size_t about_all = 0;
    for (size_t i = 0; i < API_OPERATION_COUNT; i++) {
        const struct api_route &route = api_routes()[i];
        bool all = (route.flags & API_ALL_SERVICES) != 0;
        about_all += all;
        if (route.caller == API_FOR_CLIENTS) {
            EXPECT_EQ(admits(route, AUTH_CLIENT), !all) << route.label;
        }
    }
    EXPECT_GE(about_all, 2u);
}

TEST_F(Guard, AWorkersTokenIsForThatWorker)
{
    for (size_t i = 0; i < API_OPERATION_COUNT; i++) {
        const struct api_route &route = api_routes()[i];
        SCOPED_TRACE(route.label);
        bool open = route.caller == API_FOR_EVERYBODY, own = (route.flags & API_OWN_WORKER) != 0;
        EXPECT_EQ(admits_worker(route, "gpu-1"), open || own);
        EXPECT_EQ(admits_worker(route, "gpu-2"), open);
        EXPECT_EQ(admits_worker(route, nullptr), open || own) << "the body says whom it is about";
    }
}

// --- Where the credential is ---

enum guard_source find(const std::string &fields, std::string *credential, bool is_websocket = false)
{
    std::string text = "GET / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
    struct http_head head;
    struct http_parser parser;
    struct http_limits limits = HTTP_LIMITS_DEFAULT;
    struct http_text found = {nullptr, 0};
    http_parser_init_request(&parser, &head, limits);
    EXPECT_EQ(http_parser_feed(&parser, &head, text.data(), text.size()), HTTP_PARSE_DONE) << fields;
    enum guard_source source = guard_credential(&head, is_websocket, &found);
    credential->assign(found.data == nullptr ? "" : found.data, found.bytes);
    return source;
}

TEST(GuardCredential, IsWhereItMayBe)
{
    std::string credential;
    EXPECT_EQ(find("", &credential), GUARD_NOTHING);
    EXPECT_EQ(find("X-API-Key: abc\r\n", &credential), GUARD_API_KEY);
    EXPECT_EQ(credential, "abc");
    EXPECT_EQ(find("x-api-key: abc\r\nAuthorization: Bearer def\r\n", &credential), GUARD_API_KEY);
    EXPECT_EQ(credential, "abc");
    EXPECT_EQ(find("authorization: bearer def\r\n", &credential), GUARD_BEARER);
    EXPECT_EQ(credential, "def");
    EXPECT_EQ(find("Authorization: Basic def\r\n", &credential), GUARD_NOTHING);
    EXPECT_EQ(find("X-API-Keys: abc\r\n", &credential), GUARD_NOTHING);
    EXPECT_EQ(find("X-API-Key: abc\r\nX-API-Key: abc\r\n", &credential), GUARD_AMBIGUOUS);
    EXPECT_EQ(find("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", &credential), GUARD_AMBIGUOUS);
    EXPECT_EQ(find("X-API-Key: abc\r\nAuthorization: a b\r\nAuthorization: c\r\n", &credential), GUARD_AMBIGUOUS);
}

TEST(GuardCredential, OfAWebSocketIsAmongItsProtocols)
{
    std::string credential;
    const std::string offer = "Sec-WebSocket-Protocol: ";
    EXPECT_EQ(find(offer + "muster, muster.key.abc\r\n", &credential, true), GUARD_API_KEY);
    EXPECT_EQ(credential, "abc");
    EXPECT_EQ(find(offer + "muster.key.a.b-c,muster\r\n", &credential, true), GUARD_API_KEY);
    EXPECT_EQ(credential, "a.b-c");
    EXPECT_EQ(find(offer + "muster\r\n" + offer + "muster.key.abc\r\n", &credential, true), GUARD_API_KEY);
    EXPECT_EQ(credential, "abc");
    EXPECT_EQ(find(offer + "muster.key.abc\r\nX-API-Key: def\r\n", &credential, true), GUARD_API_KEY);
    EXPECT_EQ(credential, "def");
    EXPECT_EQ(find(offer + "muster.key.abc, muster.key.def\r\n", &credential, true), GUARD_AMBIGUOUS);
    for (const char *none : {"muster", "muster.key.", "muster.keys.abc", "xmuster.key.abc", ", ,", ""})
        EXPECT_EQ(find(offer + none + "\r\n", &credential, true), GUARD_NOTHING) << none;
    EXPECT_EQ(find(offer + "muster.key.abc\r\n", &credential), GUARD_NOTHING) << "no WebSocket";
}

} // namespace
