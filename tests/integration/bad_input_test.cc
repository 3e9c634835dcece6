// Bad input to a running coordinator: each gets a clear error, the coordinator goes on, and
// what it acknowledged before is still there.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

namespace
{

const char registration[] = R"({"worker_id": "good", "tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu"})";

// One coordinator for all cases, with one worker that must outlive them.
class BadInput : public ::testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        coordinator = new Coordinator();
        ASSERT_TRUE(coordinator->start()) << coordinator->log();
        ASSERT_EQ(coordinator->post("/api/worker/register", registration).status, 200);
    }

    static void TearDownTestSuite()
    {
        EXPECT_EQ(coordinator->stop(), 0) << coordinator->log();
        for (const auto &name : coordinator->names())
            EXPECT_EQ(coordinator->restarts(name), 0) << name << " died: " << coordinator->log();
        delete coordinator;
        coordinator = nullptr;
    }

    void TearDown() override
    {
        EXPECT_EQ(coordinator->worker("good")["incarnation"].integer(), 1);
        EXPECT_EQ(coordinator->get("/health").json()["status"].text(), "healthy");
    }

    // An error as the contract says: code, message, and the message again for old clients.
    static void expect_error(const Response &answer, long status, const std::string &mentions = "")
    {
        EXPECT_EQ(answer.status, status) << answer.described();
        Json body = answer.json();
        EXPECT_NE(body["error"].text(), "") << answer.described();
        EXPECT_NE(body["message"].text(), "") << answer.described();
        EXPECT_EQ(body["detail"].text(), body["message"].text());
        EXPECT_NE(answer.header("x-request-id"), "") << answer.described();
        EXPECT_NE(body["message"].text().find(mentions), std::string::npos) << answer.described();
    }

    // The status of what came back over a bare connection; 0: it was closed without a word.
    static int raw_status(const std::string &bytes, bool half_close = false)
    {
        std::string answer = raw_exchange(coordinator->address(), bytes, half_close);
        return answer.compare(0, 9, "HTTP/1.1 ") == 0 ? std::stoi(answer.substr(9, 3)) : 0;
    }

    static Coordinator *coordinator;
};

Coordinator *BadInput::coordinator = nullptr;

TEST_F(BadInput, MalformedJson)
{
    for (const char *body : {"", "{", "{\"worker_id\": }", "nonsense", "{\"worker_id\": \"a\"} trailing",
                             "{\"a\": \"\xff\"}", "{'worker_id': 'a'}", "{\"worker_id\": \"a\",}"}) {
        expect_error(coordinator->post("/api/worker/register", body), 400);
        expect_error(coordinator->post("/api/worker/heartbeat", body), 400);
    }
    // Nested so deeply that a parser which recurses would fall over.
    expect_error(coordinator->post("/api/worker/register", std::string(100000, '[')), 400);
    std::string deep = R"({"worker_id": "deep", "tunnel_url": "http://h", "capabilities": )";
    for (int i = 0; i < 10000; i++)
        deep += "{\"a\":";
    expect_error(coordinator->post("/api/worker/register", deep), 400);
}

TEST_F(BadInput, WrongTypesAreNamed)
{
    expect_error(coordinator->post("/api/worker/register", R"({"worker_id": 5, "tunnel_url": "http://h"})"), 422,
                 "worker_id");
    expect_error(coordinator->post("/api/worker/register", R"({"worker_id": "a", "tunnel_url": ["http://h"]})"), 422,
                 "tunnel_url");
    expect_error(coordinator->post("/api/worker/register", R"({"worker_id": "a"})"), 422, "tunnel_url");
    expect_error(coordinator->post("/api/worker/register", R"({"worker_id": "a", "tunnel_url": "ftp://h"})"), 422,
                 "tunnel_url");
    expect_error(coordinator->post("/api/worker/register",
                                   R"({"worker_id": "a", "tunnel_url": "http://h", "worker_type": "toaster"})"),
                 422, "worker_type");
    expect_error(
        coordinator->post("/api/worker/register", R"({"worker_id": "a", "tunnel_url": "http://h", "services": "ocr"})"),
        422, "services");
    expect_error(coordinator->post("/api/worker/heartbeat", R"({"status": "healthy"})"), 422, "worker_id");
    expect_error(coordinator->post("/api/worker/heartbeat", R"({"worker_id": "good", "current_load": "high"})"), 422,
                 "current_load");
    EXPECT_TRUE(coordinator->worker("a").is_null());
}

TEST_F(BadInput, AnIdOfTenMegabytes)
{
    std::string id(10 * 1024 * 1024, 'x');
    Response answer =
        coordinator->post("/api/worker/register", R"({"worker_id": ")" + id + R"(", "tunnel_url": "http://h"})");
    EXPECT_TRUE(answer.status == 413 || answer.status == 422) << answer.described();
    EXPECT_LT(answer.body.size(), 4096u) << "the id must not come back";
    answer = coordinator->post("/api/worker/heartbeat", R"({"worker_id": ")" + id + R"("})");
    EXPECT_TRUE(answer.status == 413 || answer.status == 422 || answer.status == 404) << answer.described();
    // In a path it is a request line that is too long.
    int status = raw_status("DELETE /api/worker/unregister/" + id + " HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_TRUE(status == 414 || status == 431) << status;
}

TEST_F(BadInput, AnUnknownWorker)
{
    expect_error(coordinator->post("/api/worker/heartbeat", R"({"worker_id": "nobody"})"), 404, "register");
    Request remove;
    remove.method = "DELETE";
    expect_error(coordinator->request("/api/worker/unregister/nobody", remove), 404, "register");
}

TEST_F(BadInput, AStaleIncarnation)
{
    expect_error(coordinator->post("/api/worker/register", R"({"worker_id": "twice", "tunnel_url": "ftp://h"})"), 422);
    const char twice[] = R"({"worker_id": "twice", "tunnel_url": "http://127.0.0.1:9"})";
    ASSERT_EQ(coordinator->post("/api/worker/register", twice).json()["incarnation"].integer(), 1);
    ASSERT_EQ(coordinator->post("/api/worker/register", twice).json()["incarnation"].integer(), 2);
    // The failure detector hears of the second registration a moment later.
    Response stale;
    EXPECT_TRUE(eventually([&] {
        stale = coordinator->post("/api/worker/heartbeat", R"({"worker_id": "twice", "incarnation": 1})");
        return stale.status != 200;
    }));
    expect_error(stale, 409);
    EXPECT_EQ(stale.json()["error"].text(), "stale_incarnation");
    EXPECT_EQ(coordinator->post("/api/worker/heartbeat", R"({"worker_id": "twice", "incarnation": 2})").status, 200);
}

TEST_F(BadInput, MethodsAndPathsThatDoNotExist)
{
    Request put;
    put.method = "PUT";
    Response answer = coordinator->request("/api/worker/register", put);
    expect_error(answer, 405);
    EXPECT_EQ(answer.header("allow").find("POST") != std::string::npos, true) << answer.header("allow");
    expect_error(coordinator->get("/api/nonsense"), 404);
    // A service that nobody runs.
    Response nobody = coordinator->post("/api/service/llm-inference", "{}");
    expect_error(nobody, 503);
    EXPECT_NE(nobody.header("retry-after"), "");
}

TEST_F(BadInput, PathsThatClimb)
{
    for (const char *path :
         {"/api/service/document-processing/../../admin/workers", "/api/service/../admin/workers", "/../etc/passwd",
          "/api/service/document-processing/%2e%2e/%2e%2e/health", "/service/document-processing/..",
          "/service/document-processing/.%2e/x", "/api/worker/unregister/..", "/service/document-processing/%2e%2e%2fx",
          "/service/document-processing/a%00b"}) {
        Response answer = coordinator->get(path);
        EXPECT_EQ(answer.status, 400) << path << ": " << answer.described();
        EXPECT_EQ(answer.body.find("root:"), std::string::npos);
    }
}

TEST_F(BadInput, AWorkerWhoseUrlLeadsBackHere)
{
    std::string body = R"({"worker_id": "mirror", "tunnel_url": ")" + coordinator->url() +
                       R"(", "services": [{"name": "mirror", "url": ")" + coordinator->url() + R"(/service/mirror"}]})";
    ASSERT_EQ(coordinator->post("/api/worker/register", body).status, 200);
    Response looped = coordinator->get("/service/mirror/x");
    expect_error(looped, 508, "more than 16 proxies");
    EXPECT_EQ(looped.header("x-served-by"), "mirror");
    // Up to there it is none of ours.
    std::string via = "Via: 1.1 a";
    for (int i = 1; i < 15; i++)
        via += ", 1.1 a";
    EXPECT_EQ(coordinator->request("/service/mirror/x", {.headers = {via}}).status, 508);
    EXPECT_EQ(coordinator->request("/service/nobody/x", {.headers = {via}}).status, 503);
    EXPECT_EQ(coordinator->request("/service/nobody/x", {.headers = {via + ", 1.1 a, 1.1 a"}}).status, 508);
    EXPECT_EQ(coordinator->request("/api/worker/unregister/mirror", {.method = "DELETE"}).status, 200);
}

TEST_F(BadInput, HeaderBlocks)
{
    // Without an end: refused at the limit, whatever follows.
    std::string endless = "GET /health HTTP/1.1\r\nHost: h\r\n";
    for (int i = 0; i < 20000; i++)
        endless += "X-Filler-" + std::to_string(i) + ": " + std::string(100, 'a') + "\r\n";
    EXPECT_EQ(raw_status(endless), 431);
    EXPECT_EQ(raw_status("GET /health HTTP/1.1\r\nHost: h\r\nX: " + std::string(1 << 20, 'a')), 431);
    // Cut off: nothing was asked, nothing is done.
    int cut_off = raw_status("GET /health HTTP/1.1\r\nHost: h\r\n", true);
    EXPECT_TRUE(cut_off == 0 || cut_off == 400) << cut_off;
    // Malformed ones.
    for (const char *bytes :
         {"GET /health HTTP/1.1\r\n\r\n", "GET /health HTTP/1.1\r\nHost : h\r\n\r\n", "nonsense\r\n\r\n",
          "GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
          "GET /health HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", "GET /health HTTP/1.1\nHost: h\n\n",
          "POST /api/worker/register HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"})
        EXPECT_EQ(raw_status(bytes, true), 400) << bytes;
}

TEST_F(BadInput, ABodyThatStopsHalfway)
{
    std::string body = R"({"worker_id": "half", "tunnel_url": "http://127.0.0.1:9"})";
    std::string head = "POST /api/worker/register HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
    // A whole JSON document, but fewer bytes than were announced: it is not acted upon.
    int status = raw_status(head + "Content-Length: " + std::to_string(body.size() + 10) + "\r\n\r\n" + body, true);
    EXPECT_TRUE(status == 0 || status == 400) << status;
    status = raw_status(head + "Transfer-Encoding: chunked\r\n\r\n" + "39\r\n" + body + "\r\n", true);
    EXPECT_TRUE(status == 0 || status == 400) << status;
    status = raw_status(head + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n" + body, true);
    EXPECT_EQ(status, 400);
    EXPECT_TRUE(coordinator->worker("half").is_null());
}

// --- gRPC, frame by frame ---

std::string frame(const std::string &message, uint32_t announced_bytes)
{
    std::string bytes(1, '\0'); // not compressed
    for (int shift = 24; shift >= 0; shift -= 8)
        bytes += static_cast<char>(announced_bytes >> shift & 0xff);
    return bytes + message;
}

std::string frame(const std::string &message)
{
    return frame(message, static_cast<uint32_t>(message.size()));
}

// A URL that the gateway would call for a stranger, in a network that the stranger cannot reach. Who is a stranger is
// said by a header here, as by a proxy.
TEST(PrivateUrls, AreNotTakenFromWorkersOfElsewhere)
{
    CoordinatorOptions options;
    options.flags = {"--host", "0.0.0.0", "--insecure"};
    options.environment = {"CLIENT_ADDRESS_HEADER=X-Client"};
    Coordinator coordinator(options);
    options.environment.push_back("ALLOW_PRIVATE_URLS=true");
    Coordinator allowing(options);
    ASSERT_TRUE(coordinator.start() && allowing.start()) << coordinator.log();
    const auto from = [](Coordinator &at, const std::string &client, const std::string &members) {
        std::string url = "http://127.0.0.1" + at.url().substr(at.url().rfind(':')) + "/api/worker/register";
        return HttpClient().request(
            url,
            {.method = "POST", .body = R"({"worker_id": "w", )" + members + "}", .headers = {"X-Client: " + client}});
    };
    const auto tunnel = [](const std::string &url) { return R"("tunnel_url": ")" + url + "\""; };
    for (const char *url : {"http://10.0.0.1", "http://127.1:80/x", "http://169.254.169.254/latest", "http://[::1]",
                            "http://[::ffff:10.0.0.1]", "http://localhost:7101", "http://0x7f000001",
                            "http://2130706433", "https://a.localhost."}) {
        Response refused = from(coordinator, "8.8.8.8", tunnel(url));
        EXPECT_EQ(refused.status, 403) << url << refused.described();
        EXPECT_EQ(refused.json()["error"].text(), "forbidden_url") << url;
        EXPECT_EQ(from(coordinator, "10.9.9.9", tunnel(url)).status, 200) << "one of ours: " << url;
    }
    const std::string service = R"(, "services": [{"name": "s", "url": "http://192.168.0.1"}])";
    EXPECT_EQ(from(coordinator, "2606:4700::1", tunnel("https://w.example.org") + service).status, 403);
    EXPECT_EQ(from(coordinator, "8.8.8.8", tunnel("https://w.example.org")).status, 200);
    EXPECT_EQ(from(coordinator, "8.8.8.8", tunnel("http://9.9.9.9:8070")).status, 200);
    EXPECT_EQ(from(allowing, "8.8.8.8", tunnel("http://10.0.0.1")).status, 200);
    EXPECT_EQ(coordinator.stop(), 0);
    EXPECT_EQ(allowing.stop(), 0);
}

class BadProtobuf : public BadInput
{
  protected:
    // Calls a unary method with these bytes; the answer's gRPC status, -1: there is none.
    static int call(const std::string &method, const std::string &body, std::string *message = nullptr)
    {
        Request request;
        request.method = "POST";
        request.http2 = true;
        request.body = body;
        request.headers = {"Content-Type: application/grpc", "TE: trailers"};
        Response answer = HttpClient().request(
            "http://" + coordinator->address("muster-registry") + "/muster.v1.RegistryService/" + method, request);
        std::string status = answer.header("grpc-status");
        if (message != nullptr)
            *message = answer.header("grpc-message");
        return status.empty() ? -1 : std::stoi(status);
    }
};

TEST_F(BadProtobuf, AWellFormedCallWorks)
{
    // GetWorkersRequest {worker_ids: "good"}
    EXPECT_EQ(call("GetWorkers", frame(std::string("\x0a\x04good", 6))), 0);
}

TEST_F(BadProtobuf, AFieldThatIsLongerThanTheMessage)
{
    for (const std::string &lie :
         {std::string("\x0a\x7fgood", 6), std::string("\x0a\xff\xff\xff\xff\x0fgood", 10),
          std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01good", 15), std::string("\x0a", 1),
          std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11)}) {
        std::string message;
        int status = call("GetWorkers", frame(lie), &message);
        EXPECT_TRUE(status == 3 || status == 13) << status << " " << message; // INVALID_ARGUMENT, INTERNAL
        EXPECT_NE(message, "");
    }
}

TEST_F(BadProtobuf, AFrameThatIsLongerThanTheStream)
{
    EXPECT_NE(call("GetWorkers", frame("\x0a\x04good", 1000)), 0);
}

TEST_F(BadProtobuf, AFrameOverTheLimit)
{
    EXPECT_EQ(call("GetWorkers", frame(std::string(100 << 20, '\x0a'))), 8); // RESOURCE_EXHAUSTED
    // Gigabytes that are announced and do not come.
    for (uint32_t announced : {0x7fffffffu, 0xffffffffu}) {
        std::string message;
        int status = call("GetWorkers", frame("\x0a\x04good", announced), &message);
        EXPECT_TRUE(status == 8 || status == 3) << status;
        EXPECT_NE(message, "");
    }
}

TEST_F(BadProtobuf, AnIdThatIsNotUtf8OrTooLong)
{
    // RegisterWorkerRequest {spec {worker_id}}
    std::string spec = std::string("\x0a\x02\xff\xfe", 4);
    EXPECT_EQ(call("RegisterWorker", frame(std::string("\x0a\x04", 2) + spec)), 3);
}

TEST_F(BadProtobuf, BytesThatAreNotHttp2)
{
    std::string answer = raw_exchange(coordinator->address("muster-registry"), "GET / HTTP/1.1\r\n\r\n", true);
    EXPECT_EQ(answer.find("200 OK"), std::string::npos);
}

} // namespace
