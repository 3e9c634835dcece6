// Keys at a real coordinator: who may do what, as the route table says it (read from the OpenAPI document), tokens of
// workers and of others, lists, limits, and files that change.

#include "tests/integration/coordinator.h"
#include "tests/integration/fake_worker.h"
#include "tests/unit/auth/tokens.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <ctime>

namespace
{

const char OPS[] = "ops-key-0123456789";
const char LAB[] = "lab-key-0123456789";
const char HOME[] = "home-key-0123456789";
const char SITE[] = "site-key-0123456789";
const char OCR[] = "ocr-only-key-0123456789";
const std::string SECRET = "0123456789abcdef0123456789abcdef";

std::string key(const std::string &name, const std::string &text, const std::string &right,
                const std::string &more = "")
{
    return R"({"name": ")" + name + R"(", "key": ")" + text + R"(", "rights": [")" + right + "\"]" + more + "}";
}

std::string file_of(const std::string &keys, const std::string &more = "")
{
    return R"({"keys": [)" + keys + "]" + more + "}";
}

const std::string ISSUER = R"(, "tokens": [{"name": "login", "kid": "1", "algorithm": "HS256", "secret": ")" + SECRET +
                           R"(", "issuer": "https://login.example", "audience": "muster", "rights": ["client"]}])";

std::string jwt(const std::string &claims = "", long long expires_in = 600)
{
    return tokens::signed_with(SECRET, R"({"alg":"HS256","kid":"1"})",
                               R"({"iss": "https://login.example", "aud": "muster", "sub": "ann", "exp": )" +
                                   std::to_string(time(nullptr) + expires_in) + claims + "}");
}

std::vector<std::string> with_key(const std::string &text)
{
    return {"X-API-Key: " + text};
}

std::vector<std::string> with_bearer(const std::string &text)
{
    return {"Authorization: Bearer " + text};
}

// A coordinator with a key file, and what the tests ask of it.
class Keyed
{
  public:
    explicit Keyed(const std::string &text, CoordinatorOptions options = {}) : file(temporary_folder() + "/keys.json")
    {
        write_file(file, text);
        chmod(file.c_str(), 0600);
        options.flags.insert(options.flags.end(), {"--api-keys", file, "--log-level", "debug"});
        coordinator = std::make_unique<Coordinator>(options);
    }
    bool start()
    {
        return coordinator->start();
    }
    Response send(const std::string &method, const std::string &path, const std::vector<std::string> &headers,
                  const std::string &body = "")
    {
        Request request;
        request.method = method;
        request.headers = headers;
        request.body = body;
        return coordinator->request(path, request);
    }
    Response get(const std::string &path, const std::string &text)
    {
        return send("GET", path, with_key(text));
    }
    Response put_worker(const std::string &text, const std::string &id, const std::string &url = "http://127.0.0.1:9",
                        const std::string &services = "", const std::string &more = "")
    {
        return send("POST", "/api/worker/register", with_key(text),
                    R"({"worker_id": ")" + id + R"(", "tunnel_url": ")" + url + R"(", "services": [)" + services + "]" +
                        more + "}");
    }
    Response beat(const std::vector<std::string> &headers, const std::string &id, const std::string &more = "")
    {
        return send("POST", "/api/worker/heartbeat", headers, R"({"worker_id": ")" + id + "\"" + more + "}");
    }
    Json worker(const std::string &id)
    {
        return get("/api/admin/workers", OPS).json()["workers"].find("worker_id", id);
    }
    // Ends it; nothing that it wrote may hold a key.
    void stop()
    {
        EXPECT_EQ(coordinator->stop(), 0) << coordinator->log();
        std::string log = coordinator->log();
        for (const std::string &secret :
             {std::string(OPS), std::string(LAB), std::string(HOME), std::string(SITE), std::string(OCR), SECRET})
            EXPECT_EQ(log.find(secret), std::string::npos) << secret;
        for (const std::string &token : handed_out)
            EXPECT_EQ(log.find(token), std::string::npos) << token;
        EXPECT_EQ(log.find("Sanitizer"), std::string::npos) << log;
    }
    std::string token_of(const Response &registration)
    {
        std::string token = registration.json()["worker_token"].text();
        EXPECT_NE(token, "") << registration.described();
        handed_out.push_back(token);
        return token;
    }
    std::string file;
    std::unique_ptr<Coordinator> coordinator;
    std::vector<std::string> handed_out;
};

// --- Who may do what ---

const std::string EVERYBODY = key("ops", OPS, "admin") + "," + key("lab", LAB, "worker") + "," +
                              key("home", HOME, "worker") + "," + key("site", SITE, "client") + "," +
                              key("ocr", OCR, "client", R"(, "services": ["vision-ocr"])");

class Keys : public ::testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        keyed = new Keyed(file_of(EVERYBODY, ISSUER));
        ASSERT_TRUE(keyed->start()) << keyed->coordinator->log();
    }
    static void TearDownTestSuite()
    {
        keyed->stop();
        delete keyed;
        keyed = nullptr;
    }
    static Keyed *keyed;
};

Keyed *Keys::keyed = nullptr;

std::string replaced(std::string text, const std::string &from, const std::string &to)
{
    size_t at = text.find(from);
    return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// The path with a name in the place of each parameter but the worker's id.
std::string with_names(const std::string &path)
{
    std::string text;
    for (size_t at = 0; at < path.size(); at++) {
        if (path[at] == '{' && path.compare(at, 11, "{worker_id}") != 0) {
            text += "nothing-of-this-name";
            at = path.find('}', at);
        } else {
            text += path[at];
        }
    }
    return text;
}

// What one caller is answered: let in (whatever then becomes of an empty body), 401 or 403.
TEST_F(Keys, EachRightOnEachRoute)
{
    std::string own = keyed->token_of(keyed->put_worker(LAB, "own"));
    json_t *document = json_loads(keyed->coordinator->get("/openapi.json").body.c_str(), 0, nullptr);
    ASSERT_NE(document, nullptr);
    const char *path, *method;
    json_t *item, *operation;
    size_t operations = 0, closed = 0, for_workers_alone = 0;
    json_object_foreach(json_object_get(document, "paths"), path, item)
    {
        std::string at = path;
        bool one_service = at.find("{type}") != std::string::npos || at.find("{service}") != std::string::npos;
        bool names_worker = at.find("{worker_id}") != std::string::npos;
        at = with_names(at);
        json_object_foreach(item, method, operation)
        {
            json_t *security = json_object_get(operation, "security");
            ASSERT_TRUE(json_is_array(security)) << method << " " << path;
            std::string right;
            bool takes_token = false;
            size_t index;
            json_t *choice;
            json_array_foreach(security, index, choice)
            {
                json_t *roles = json_object_get(choice, "ApiKey");
                if (roles != nullptr)
                    right = json_string_value(json_array_get(roles, 0));
                takes_token = takes_token || json_object_get(choice, "WorkerToken") != nullptr;
            }
            auto answered = [&](const std::vector<std::string> &headers, const std::string &worker_id) {
                std::string verb = method;
                for (char &c : verb)
                    c = static_cast<char>(toupper(c));
                return keyed->send(verb, replaced(at, "{worker_id}", worker_id), headers, verb == "GET" ? "" : "{}")
                    .status;
            };
            auto let_in = [](long status) { return status != 401 && status != 403 && status != 0; };
            SCOPED_TRACE(std::string(method) + " " + at + " takes " + (right.empty() ? "nothing" : right));
            operations++;
            if (right.empty()) {
                EXPECT_TRUE(let_in(answered({}, "nobody")));
                EXPECT_TRUE(let_in(answered(with_key("wrong-key-0123456789"), "nobody")));
                continue;
            }
            closed++;
            EXPECT_EQ(answered({}, "nobody"), 401);
            EXPECT_EQ(answered(with_key("wrong-key-0123456789"), "nobody"), 401);
            EXPECT_EQ(answered({"X-API-Key: "}, "nobody"), 401);
            EXPECT_EQ(answered({"Authorization: Basic b3BzOm9wcw=="}, "nobody"), 401);
            EXPECT_EQ(answered({std::string("X-API-Key: ") + OPS, std::string("X-API-Key: ") + OPS}, "nobody"), 401);
            EXPECT_EQ(answered(with_bearer(jwt("", -3600)), "nobody"), 401);
            for (const auto &[has, text] :
                 {std::pair<std::string, std::string>{"admin", OPS}, {"worker", LAB}, {"client", SITE}}) {
                bool enough = has == "admin" || has == right;
                EXPECT_EQ(let_in(answered(with_key(text), "nobody")), enough) << has;
                EXPECT_EQ(let_in(answered(with_bearer(text), "nobody")), enough) << has;
                EXPECT_EQ(answered(with_key(text), "nobody") == 403, !enough) << has;
            }
            EXPECT_EQ(let_in(answered(with_bearer(jwt()), "nobody")), right == "client");
            if (one_service) {
                EXPECT_EQ(answered(with_key(OCR), "nobody"), 403) << "another service than its own";
            }
            // A token's own worker last, since one of the operations takes it off the roll.
            EXPECT_EQ(answered(with_bearer(own), "another"), takes_token && !names_worker ? 422 : 403);
            if (takes_token && names_worker) {
                for_workers_alone++;
                EXPECT_TRUE(let_in(answered(with_bearer(own), "own")));
                own = keyed->token_of(keyed->put_worker(LAB, "own"));
            }
        }
    }
    json_decref(document);
    EXPECT_GT(operations, 30u);
    EXPECT_GT(closed, 20u);
    EXPECT_EQ(for_workers_alone, 3u) << "unregister, drain, and the link";
}

TEST_F(Keys, RefusalsSayWhatToDo)
{
    Response nothing = keyed->send("GET", "/api/services/list", {});
    EXPECT_EQ(nothing.status, 401);
    EXPECT_EQ(nothing.header("www-authenticate"), "Bearer realm=\"muster\"");
    EXPECT_EQ(nothing.json()["error"].text(), "unauthorized");
    EXPECT_EQ(nothing.json()["message"].text(), nothing.json()["detail"].text());
    EXPECT_NE(nothing.json()["message"].text().find("X-API-Key"), std::string::npos);
    Response expired = keyed->send("GET", "/api/services/list", with_bearer(jwt("", -3600)));
    EXPECT_EQ(expired.status, 401);
    EXPECT_NE(expired.header("www-authenticate").find("error=\"invalid_token\""), std::string::npos);
    EXPECT_NE(expired.header("www-authenticate").find("expired"), std::string::npos);
    Response forbidden = keyed->get("/api/admin/workers", SITE);
    EXPECT_EQ(forbidden.status, 403);
    EXPECT_EQ(forbidden.json()["error"].text(), "forbidden");
    EXPECT_NE(forbidden.json()["message"].text().find("admin"), std::string::npos);
    // Pages of other origins can read the refusal, and ask before.
    Response cross = keyed->send("GET", "/api/services/list", {"Origin: https://page.example"});
    EXPECT_EQ(cross.status, 401);
    EXPECT_EQ(cross.header("access-control-allow-origin"), "*");
    Response preflight = keyed->send("OPTIONS", "/api/services/list",
                                     {"Origin: https://page.example", "Access-Control-Request-Method: GET"});
    EXPECT_EQ(preflight.status, 204);
    EXPECT_NE(preflight.header("access-control-allow-headers").find("X-API-Key"), std::string::npos);
}

TEST_F(Keys, ThePageForEverybodySaysNothingOfTheFleet)
{
    ASSERT_EQ(keyed->put_worker(LAB, "a-secret-worker").status, 200);
    EXPECT_EQ(keyed->worker("a-secret-worker")["registered_by"].text(), "lab") << "operators see whose it is";
    ASSERT_EQ(keyed->send("POST", "/api/admin/workers/a-secret-worker/drain", with_key(OPS)).status, 200);
    Response page = keyed->send("GET", "/", {});
    EXPECT_EQ(page.status, 200);
    EXPECT_EQ(page.body.find("a-secret-worker"), std::string::npos) << page.body;
    EXPECT_NE(page.body.find("/api/admin/workers"), std::string::npos) << "what can be asked";
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/a-secret-worker", with_key(LAB)).status, 200);
}

TEST_F(Keys, TokensOfOthers)
{
    EXPECT_EQ(keyed->send("GET", "/api/services/list", with_bearer(jwt())).status, 200);
    EXPECT_EQ(keyed->send("GET", "/api/services/list", with_key(jwt())).status, 200);
    EXPECT_EQ(keyed->send("GET", "/api/admin/workers", with_bearer(jwt())).status, 403);
    EXPECT_EQ(keyed->send("GET", "/api/services/list", with_bearer(jwt(R"(, "rights": [])"))).status, 403);
    EXPECT_EQ(keyed->send("GET", "/api/services/list", with_bearer(jwt(R"(, "rights": ["admin"])"))).status, 403);
    std::string bent = jwt();
    bent[bent.size() - 5] = bent[bent.size() - 5] == 'A' ? 'B' : 'A';
    EXPECT_EQ(keyed->send("GET", "/api/services/list", with_bearer(bent)).status, 401);
    EXPECT_EQ(keyed->send("GET", "/api/services/list", with_bearer(jwt(R"(, "x": ")" + std::string(9000, 'x') + "\"")))
                  .status,
              401)
        << "a huge one";
}

TEST_F(Keys, WebSockets)
{
    auto handshake = [](const std::string &credential) {
        std::string answer = raw_exchange(keyed->coordinator->address(),
                                          "GET /ws/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "
                                          "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                                          "dGhlIHNhbXBsZSBub25jZQ==\r\n" +
                                              credential + "\r\n",
                                          credential.find(OPS) == std::string::npos, 5000);
        return answer.substr(0, answer.find("\r\n"));
    };
    EXPECT_EQ(handshake(""), "HTTP/1.1 401 Unauthorized");
    EXPECT_EQ(handshake(std::string("X-API-Key: ") + SITE + "\r\n"), "HTTP/1.1 403 Forbidden");
    EXPECT_EQ(handshake(std::string("X-API-Key: ") + OPS + "\r\n"), "HTTP/1.1 101 Switching Protocols");
}

// --- Service requests ---

TEST_F(Keys, WorkersDoNotSeeTheKeys)
{
    FakeWorker worker([](FakeWorker::Connection &connection, const std::string &head) {
        return connection.write(FakeWorker::answer(head));
    });
    ASSERT_EQ(keyed->put_worker(LAB, "echo", worker.url(), R"("echo")").status, 200);
    auto seen = [&](const std::vector<std::string> &headers) {
        Response answer = keyed->send("GET", "/api/service/echo/x", headers);
        EXPECT_EQ(answer.status, 200) << answer.described();
        return answer.body;
    };
    const auto npos = std::string::npos;
    std::string by_key =
        seen({std::string("X-API-Key: ") + SITE, "Authorization: Bearer of-the-service", "X-Other: 1"});
    EXPECT_EQ(by_key.find(SITE), npos) << by_key;
    EXPECT_NE(by_key.find("Authorization: Bearer of-the-service"), npos)
        << "the client's own business with the service";
    EXPECT_NE(by_key.find("X-Other: 1"), npos);
    std::string by_bearer = seen(with_bearer(SITE));
    EXPECT_EQ(by_bearer.find(SITE), npos) << by_bearer;
    EXPECT_EQ(by_bearer.find("uthorization"), npos) << by_bearer;
    std::string token = jwt();
    EXPECT_EQ(seen(with_bearer(token)).find(token), npos);
    Response raw = keyed->send("GET", "/service/echo/x", {std::string("x-api-key: ") + OPS});
    EXPECT_EQ(raw.status, 200);
    EXPECT_EQ(raw.body.find(OPS), npos);
}

TEST_F(Keys, WhichServicesAKeyMayCall)
{
    FakeWorker worker([](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer("done"));
    });
    ASSERT_EQ(keyed->put_worker(LAB, "both", worker.url(), R"("vision-ocr", "redis")").status, 200);
    auto status = [&](const std::string &path) { return keyed->get(path, OCR).status; };
    EXPECT_EQ(status("/api/service/vision-ocr"), 200);
    EXPECT_EQ(status("/api/service/ocr"), 200) << "an alias of what it may call";
    EXPECT_EQ(status("/service/vision-ocr/x"), 200);
    EXPECT_EQ(status("/api/service/redis"), 403);
    EXPECT_EQ(status("/service/redis/x"), 403);
    EXPECT_EQ(status("/api/worker/find/ocr"), 200);
    EXPECT_EQ(status("/api/worker/find/redis"), 403);
    EXPECT_EQ(status("/api/services/discover/ocr"), 200);
    EXPECT_EQ(status("/api/services/discover/redis"), 403);
    EXPECT_EQ(status("/api/services/list"), 200);
    EXPECT_EQ(status("/api/coordinator/workers"), 403) << "all workers, with their addresses";
    EXPECT_EQ(keyed
                  ->send("POST", "/api/coordinator/broadcast-job", with_key(OCR),
                         R"({"job_type": "x", "job_data": {}, "required_capability": "y"})")
                  .status,
              403);
    // The same, as a token says it of itself.
    std::string token = jwt(R"(, "services": ["redis"])");
    EXPECT_EQ(keyed->send("GET", "/api/service/redis", with_bearer(token)).status, 200);
    EXPECT_EQ(keyed->send("GET", "/api/service/ocr", with_bearer(token)).status, 403);
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/both", with_key(LAB)).status, 200);
}

// --- Workers ---

TEST_F(Keys, AWorkerSpeaksForItselfOnly)
{
    std::string first = keyed->token_of(keyed->put_worker(LAB, "gpu-1"));
    std::string second = keyed->token_of(keyed->put_worker(LAB, "gpu-2"));
    EXPECT_NE(first, second);
    EXPECT_EQ(keyed->beat(with_bearer(first), "gpu-1").status, 200);
    EXPECT_EQ(keyed->beat(with_key(first), "gpu-1").status, 200) << "either header";
    EXPECT_EQ(keyed->beat(with_bearer(first), "gpu-2").status, 403);
    EXPECT_EQ(keyed->beat(with_bearer(first), "gpu-1", R"(, "incarnation": 99)").status, 403);
    EXPECT_EQ(keyed->send("POST", "/api/admin/workers/gpu-2/drain", with_bearer(first)).status, 403);
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/gpu-2", with_bearer(first)).status, 403);
    EXPECT_EQ(keyed->send("POST", "/api/admin/workers/gpu-1/drain", with_bearer(first)).status, 200);
    EXPECT_EQ(keyed->send("POST", "/api/admin/workers/gpu-1/undrain", with_bearer(first)).status, 403)
        << "an operator drained it, perhaps";
    EXPECT_EQ(keyed->put_worker(first, "gpu-1").status, 403) << "registering takes a key";

    // Registered again, the token of before is outdated.
    std::string anew = keyed->token_of(keyed->put_worker(LAB, "gpu-1"));
    EXPECT_EQ(keyed->beat(with_bearer(first), "gpu-1").status, 409);
    EXPECT_EQ(keyed->send("POST", "/api/admin/workers/gpu-1/drain", with_bearer(first)).status, 409);
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/gpu-1", with_bearer(first)).status, 409);
    EXPECT_EQ(keyed->beat(with_bearer(anew), "gpu-1").status, 200);
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/gpu-1", with_bearer(anew)).status, 200);
    EXPECT_TRUE(eventually([&] { return keyed->beat(with_bearer(anew), "gpu-1").status == 404; })) << "off the roll";
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/gpu-2", with_bearer(second)).status, 200);
}

// Clients in the field know nothing of tokens: a key with the right worker speaks for what was registered with it.
TEST_F(Keys, AKeySpeaksForItsOwnWorkers)
{
    ASSERT_EQ(keyed->put_worker(LAB, "old-1").status, 200);
    EXPECT_EQ(keyed->beat(with_key(LAB), "old-1").status, 200);
    EXPECT_EQ(keyed->beat(with_key(HOME), "old-1").status, 403);
    EXPECT_EQ(keyed->put_worker(HOME, "old-1").status, 403) << "nobody takes an id from somebody else";
    EXPECT_EQ(keyed->put_worker(LAB, "old-1").status, 200);
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/old-1", with_key(HOME)).status, 403);
    EXPECT_EQ(keyed->beat(with_key(OPS), "old-1").status, 200) << "an operator speaks for all";
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/old-1", with_key(LAB)).status, 200);
    EXPECT_EQ(keyed->put_worker(HOME, "old-1").status, 200) << "it is free again";
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/old-1", with_key(OPS)).status, 200);
    EXPECT_EQ(keyed->beat(with_key(LAB), "nobody").status, 404);
}

TEST_F(Keys, TokensHoldOverRestarts)
{
    std::string token = keyed->token_of(keyed->put_worker(LAB, "steady"));
    ASSERT_TRUE(keyed->coordinator->kill_and_wait("muster-registry"));
    ASSERT_TRUE(keyed->coordinator->kill_and_wait("muster-gateway"));
    // Until the registry was heard the gateway cannot tell: it says so, and to try again.
    ASSERT_TRUE(eventually([&] { return keyed->beat(with_bearer(token), "steady").status != 503; }));
    EXPECT_EQ(keyed->beat(with_bearer(token), "steady").status, 200);
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/steady", with_bearer(token)).status, 200);
}

TEST(KeysOfWorkers, WhichServicesTheyMayOffer)
{
    Keyed keyed(file_of(key("ops", OPS, "admin") + "," +
                        key("lab", LAB, "worker", R"(, "workers": ["lab-*"], "offers": ["vision-*", "own"])") + "," +
                        key("home", HOME, "worker", R"(, "offers": [])")));
    ASSERT_TRUE(keyed.start()) << keyed.coordinator->log();
    const std::string gpu = R"(, "worker_type": "gpu")";
    EXPECT_EQ(keyed.put_worker(LAB, "lab-1", "http://127.0.0.1:9", R"("vision-ocr", "own")", gpu).status, 200);
    EXPECT_EQ(keyed.put_worker(LAB, "lab-2", "http://127.0.0.1:9", R"("ocr")", gpu).status, 200) << "by its alias";
    Response more = keyed.put_worker(LAB, "lab-3", "http://127.0.0.1:9", R"("redis")", gpu);
    EXPECT_EQ(more.status, 403);
    EXPECT_NE(more.json()["message"].text().find("redis"), std::string::npos);
    EXPECT_EQ(keyed.put_worker(LAB, "lab-4", "http://127.0.0.1:9", R"("llm")", gpu).status, 403);
    EXPECT_EQ(keyed.put_worker(LAB, "elsewhere-1").status, 403);
    EXPECT_EQ(
        keyed.send("POST", "/api/worker/register", with_key(LAB), R"({"tunnel_url": "http://127.0.0.1:9"})").status,
        403)
        << "an id that is made up is none of its own";
    // What is assigned keeps to it as well.
    Response assigned = keyed.put_worker(LAB, "lab-5", "http://127.0.0.1:9", "", gpu);
    ASSERT_EQ(assigned.status, 200);
    Json services = assigned.json()["assigned_services"];
    EXPECT_EQ(services.dump(), R"(["vision-ocr"])");
    Response none = keyed.put_worker(HOME, "home-1", "http://127.0.0.1:9", "", gpu);
    ASSERT_EQ(none.status, 200);
    EXPECT_EQ(none.json()["assigned_services"].size(), 0u);
    Response all = keyed.put_worker(OPS, "any-1", "http://127.0.0.1:9", "", gpu);
    EXPECT_GT(all.json()["assigned_services"].size(), 0u) << all.described();
    EXPECT_NE(all.json()["assigned_services"].dump(), R"(["vision-ocr"])");
    keyed.stop();
}

// One gRPC message with one field of text: a HeartbeatRequest as ReportHeartbeats takes it, with heartbeats = 1 (of
// worker_id = 1, incarnation = 2) and token = 2.
std::string framed(const std::string &id, uint64_t incarnation, const std::string &token)
{
    auto field = [](char tag, const std::string &bytes) {
        std::string text(1, tag);
        for (size_t left = bytes.size(); true; left >>= 7) {
            text += static_cast<char>((left & 127) | (left > 127 ? 128 : 0));
            if (left <= 127)
                break;
        }
        return text + bytes;
    };
    std::string heartbeat = field('\x0a', id) + '\x10' + static_cast<char>(incarnation);
    std::string message = field('\x0a', heartbeat) + (token.empty() ? "" : field('\x12', token));
    std::string frame(5, '\0');
    frame[3] = static_cast<char>(message.size() >> 8);
    frame[4] = static_cast<char>(message.size() & 255);
    return frame + message;
}

// muster-health knows the tokens as well: its port may be reached by workers that stream to it.
TEST_F(Keys, HealthTakesHeartbeatsFromTheWorkerOnly)
{
    std::string first = keyed->token_of(keyed->put_worker(LAB, "grpc-1"));
    std::string second = keyed->token_of(keyed->put_worker(LAB, "grpc-2"));
    uint64_t incarnation = static_cast<uint64_t>(keyed->worker("grpc-1")["incarnation"].integer());
    auto report = [&](const std::string &id, uint64_t of, const std::string &token) {
        Request request;
        request.method = "POST";
        request.http2 = true;
        request.headers = {"Content-Type: application/grpc", "TE: trailers"};
        request.body = framed(id, of, token);
        HttpClient client;
        Response answer = client.request("http://" + keyed->coordinator->address("muster-health") +
                                             "/muster.v1.HealthService/ReportHeartbeats",
                                         request);
        return answer.header("grpc-status");
    };
    ASSERT_LT(incarnation, 128u);
    EXPECT_EQ(report("grpc-1", incarnation, first), "0");
    EXPECT_EQ(report("grpc-1", incarnation, ""), "7") << "PERMISSION_DENIED";
    EXPECT_EQ(report("grpc-1", incarnation, second), "7");
    EXPECT_EQ(report("grpc-1", incarnation + 1, first), "7");
    EXPECT_EQ(report("grpc-1", incarnation, LAB), "7") << "keys are for the gateway";
    // What goes through the gateway goes on.
    EXPECT_EQ(keyed->beat(with_bearer(second), "grpc-2").status, 200);
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/grpc-1", with_bearer(first)).status, 200);
    EXPECT_EQ(keyed->send("DELETE", "/api/worker/unregister/grpc-2", with_bearer(second)).status, 200);
}

// --- Limits ---

TEST(KeysLimits, PerKey)
{
    Keyed keyed(file_of(key("ops", OPS, "admin") + "," +
                            key("site", SITE, "client", R"(, "requests_per_second": 0.05, "burst": 3)") + "," +
                            key("ocr", OCR, "client"),
                        R"(, "limits": {"key": {"requests_per_second": 0.05, "burst": 5}})"));
    ASSERT_TRUE(keyed.start()) << keyed.coordinator->log();
    auto takes = [&](const std::string &text) {
        int count = 0;
        while (count < 20 && keyed.get("/api/services/list", text).status == 200)
            count++;
        return count;
    };
    EXPECT_EQ(takes(SITE), 3);
    Response refused = keyed.get("/api/services/list", SITE);
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(refused.json()["error"].text(), "rate_limited");
    int wait = atoi(refused.header("retry-after").c_str());
    EXPECT_GE(wait, 1);
    EXPECT_LE(wait, 20);
    EXPECT_EQ(takes(OCR), 5) << "the limit of all others, and a bucket of its own";
    EXPECT_EQ(keyed.coordinator->get("/health").status, 200) << "what takes no key has no limit of one";
    keyed.stop();
}

TEST(KeysLimits, PerAddress)
{
    Keyed keyed(
        file_of(key("ops", OPS, "admin"), R"(, "limits": {"address": {"requests_per_second": 0.05, "burst": 50}})"));
    ASSERT_TRUE(keyed.start()) << keyed.coordinator->log();
    // Whoever comes from it, and whatever they want: wrong keys count as well.
    int let_in = 0, refused = 0;
    Response last;
    for (int i = 0; i < 60; i++) {
        last = i % 3 == 0   ? keyed.get("/api/services/list", "wrong-key-0123456789")
               : i % 3 == 1 ? keyed.get("/nothing-here", OPS)
                            : keyed.get("/api/services/list", OPS);
        (last.status == 429 ? refused : let_in)++;
    }
    EXPECT_LE(let_in, 51);
    EXPECT_GT(let_in, 40) << "musterctl asked a few times before";
    EXPECT_GT(refused, 8);
    EXPECT_EQ(last.status, 429);
    EXPECT_NE(last.header("retry-after"), "");
    keyed.stop();
}

// --- Files that change ---

TEST(KeysFile, IsReadAgainWhenItChanges)
{
    Keyed keyed(file_of(key("ops", OPS, "admin")));
    ASSERT_TRUE(keyed.start()) << keyed.coordinator->log();
    EXPECT_EQ(keyed.get("/api/services/list", SITE).status, 401);
    write_file(keyed.file, file_of(key("ops", OPS, "admin") + "," + key("site", SITE, "client")));
    EXPECT_TRUE(eventually([&] { return keyed.get("/api/services/list", SITE).status == 200; }));

    // A bad one changes nothing, and is told of.
    write_file(keyed.file, file_of(key("ops", OPS, "boss")));
    EXPECT_TRUE(eventually([&] {
        return keyed.coordinator->log().find("those that were there still hold") != std::string::npos;
    })) << keyed.coordinator->log();
    EXPECT_NE(keyed.coordinator->log().find("keys[0].rights"), std::string::npos) << "which member it is";
    EXPECT_EQ(keyed.get("/api/services/list", SITE).status, 200);

    // One without keys would open everything.
    write_file(keyed.file, "{}");
    EXPECT_TRUE(eventually([&] { return keyed.coordinator->log().find("no keys any more") != std::string::npos; }));
    EXPECT_EQ(keyed.coordinator->get("/api/services/list").status, 401);
    EXPECT_EQ(keyed.get("/api/services/list", SITE).status, 200);

    // Nor does one that is not there, and SIGHUP reads at once.
    unlink(keyed.file.c_str());
    ASSERT_TRUE(keyed.coordinator->kill("muster-gateway", SIGHUP));
    EXPECT_TRUE(eventually([&] { return keyed.coordinator->log().find("cannot be read") != std::string::npos; }));
    EXPECT_EQ(keyed.get("/api/services/list", SITE).status, 200);

    // A key that was taken away is gone.
    write_file(keyed.file + ".new", file_of(key("ops", OPS, "admin") + "," + key("home", HOME, "client")));
    ASSERT_EQ(rename((keyed.file + ".new").c_str(), keyed.file.c_str()), 0);
    ASSERT_TRUE(keyed.coordinator->kill("muster-gateway", SIGHUP));
    EXPECT_TRUE(eventually([&] { return keyed.get("/api/services/list", SITE).status == 401; }));
    EXPECT_EQ(keyed.get("/api/services/list", HOME).status, 200);
    EXPECT_EQ(keyed.coordinator->restarts("muster-gateway"), 0);
    keyed.stop();
}

// --- The programs ---

TEST(KeysOfPrograms, WorkersAndMusterctl)
{
    Keyed keyed(file_of(key("ops", OPS, "admin") + "," + key("lab", LAB, "worker")), {.demo_workers = 1});
    ASSERT_TRUE(keyed.start()) << keyed.coordinator->log(); // the demo worker has answered a request
    const std::string url = keyed.coordinator->url();
    Process worker("services/worker/muster-worker",
                   {"--coordinator-url", url, "--worker-id", "mine", "--port", "0", "--log-level", "debug"},
                   {std::string("API_KEY=") + LAB});
    auto on_roll = [&] { return keyed.worker("mine")["status"].text() == "online"; };
    ASSERT_TRUE(eventually(on_roll)) << worker.errors();
    ASSERT_TRUE(eventually([&] { return worker.errors().find("heartbeats are streamed") != std::string::npos; }))
        << worker.errors();
    EXPECT_EQ(worker.errors().find(LAB), std::string::npos);
    EXPECT_EQ(worker.errors().find("mw1."), std::string::npos) << "tokens are not logged either";

    Process without("services/ctl/musterctl", {"workers", "--coordinator-url", url});
    EXPECT_EQ(without.wait(), 1);
    EXPECT_NE(without.errors().find("401"), std::string::npos) << without.errors();
    Process with("services/ctl/musterctl", {"workers", "--coordinator-url", url}, {std::string("API_KEY=") + OPS});
    EXPECT_EQ(with.wait(), 0) << with.errors();
    EXPECT_NE(with.output().find("mine"), std::string::npos);
    Process other("services/ctl/musterctl", {"workers", "--coordinator-url", url, "--api-key", LAB});
    EXPECT_EQ(other.wait(), 1);
    EXPECT_NE(other.errors().find("403"), std::string::npos) << other.errors();

    worker.signal(SIGTERM);
    EXPECT_EQ(worker.wait(), 0) << worker.errors();
    EXPECT_TRUE(eventually([&] { return keyed.worker("mine").is_null(); }));
    EXPECT_NE(worker.errors().find("unregistered"), std::string::npos) << "with its own token";

    Process stranger("services/worker/muster-worker",
                     {"--coordinator-url", url, "--worker-id", "stranger", "--port", "0"});
    EXPECT_TRUE(eventually([&] { return stranger.errors().find("HTTP 401") != std::string::npos; }))
        << stranger.errors();
    EXPECT_TRUE(keyed.worker("stranger").is_null());
    keyed.stop();
}

TEST(KeysOfPrograms, OneKeyForEverything)
{
    Coordinator coordinator({.demo_workers = 1, .environment = {std::string("API_KEY=") + OPS}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    EXPECT_EQ(coordinator.get("/api/services/list").status, 401);
    EXPECT_EQ(coordinator.request("/api/admin/workers", {.headers = with_key(OPS)}).status, 200);
    EXPECT_EQ(coordinator.stop(), 0);
    EXPECT_EQ(coordinator.log().find(OPS), std::string::npos);
}

} // namespace
