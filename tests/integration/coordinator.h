// A whole coordinator for a test: real processes under `musterctl up` on free ports, with a
// folder of its own, and what a test needs to talk to it and to break it.
//
//     Coordinator coordinator({.demo_workers = 3});
//     ASSERT_TRUE(coordinator.start()) << coordinator.log();
//     Response answer = coordinator.get("/health");
//     EXPECT_EQ(answer.json()["status"].text(), "healthy");
//     coordinator.kill("muster-registry");
//     ASSERT_TRUE(eventually([&] { return coordinator.restarts("muster-registry") == 1; }));
//     EXPECT_EQ(coordinator.stop(), 0);
//
// A test target takes //tests/integration:harness and, in its data,
// //tests/integration:binaries. Nothing here asserts how long something takes; waits are
// bounded, generously, so that a sanitizer or a busy machine does not fail a test.

#pragma once

#include <jansson.h>
#include <signal.h>
#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

// --- Values ---

// A JSON value; what is not there is null, however deep one asks.
class Json
{
  public:
    Json() = default;
    static Json parse(const std::string &text);
    Json operator[](const std::string &key) const;
    Json operator[](size_t index) const;
    bool is_null() const;
    bool is_array() const;
    size_t size() const;       // of an array or object, else 0
    std::string text() const;  // "" when it is none
    long long integer() const; // 0 when it is none
    double number() const;     // 0 when it is none
    bool boolean() const;
    std::string dump() const; // compact
    // The first item of an array whose member `key` is `value`.
    Json find(const std::string &key, const std::string &value) const;

  private:
    explicit Json(json_t *borrowed);
    std::shared_ptr<json_t> value;
};

// --- HTTP ---

struct Request {
    std::string method = "GET";
    std::string body = {};
    std::vector<std::string> headers = {}; // "Name: value"
    long timeout_ms = 20000;
    bool http2 = false; // in clear text, with no upgrade: what gRPC speaks
};

struct Response {
    long status = 0;                            // 0: no answer
    std::map<std::string, std::string> headers; // and trailers; names in lower case; the last of a name
    std::string body;
    std::string error; // why there is no answer
    Json json() const
    {
        return Json::parse(body);
    }
    std::string header(const std::string &name) const;
    std::string described() const; // status, error and body, for messages of tests
};

// A client with one connection that it keeps; for one thread.
class HttpClient
{
  public:
    HttpClient();
    ~HttpClient();
    HttpClient(const HttpClient &) = delete;
    HttpClient &operator=(const HttpClient &) = delete;
    Response request(const std::string &url, const Request &request = {});

  private:
    void *handle;
};

// Sends bytes as they are to HOST:PORT and returns what comes back until the server closes
// the connection or stays silent for that long. `half_close`: nothing follows the bytes.
std::string raw_exchange(const std::string &address, const std::string &bytes, bool half_close = false,
                         int silence_ms = 20000);

// --- Time and files ---

// Asks again and again until the answer is yes; false when it was not within the time.
bool eventually(const std::function<bool()> &yes, int timeout_ms = 60000);

// A fresh folder that the test run removes.
std::string temporary_folder();
std::string read_file(const std::string &path);
void write_file(const std::string &path, const std::string &text);

// --- Processes ---

// One program, its outputs kept in files. It is killed, and waited for, by the destructor.
class Process
{
  public:
    // program: its path from the top of the tree, "services/ctl/musterctl".
    Process(const std::string &program, const std::vector<std::string> &arguments,
            const std::vector<std::string> &environment = {});
    ~Process();
    Process(const Process &) = delete;
    Process &operator=(const Process &) = delete;
    pid_t pid() const
    {
        return child;
    }
    std::string output() const; // what it wrote to standard output until now
    std::string errors() const; // and to standard error
    bool running();
    void signal(int number);
    // Waits for its end: the exit code, or 128 + the number of the signal; -1: it still runs.
    int wait(int timeout_ms = 60000);

  private:
    std::string folder;
    pid_t child = -1;
    int status = 0;
    bool ended = false;
};

struct CoordinatorOptions {
    int demo_workers = 0;
    std::string data_dir = {};                 // empty: a fresh one
    std::vector<std::string> flags = {};       // more of `musterctl up`
    std::vector<std::string> environment = {}; // "NAME=value", for all its processes
    std::vector<std::string> launcher = {};    // a program that runs the one that follows it: {"/usr/bin/nsenter", …}
};

class Coordinator
{
  public:
    explicit Coordinator(CoordinatorOptions options = {});
    ~Coordinator(); // stops it, if it still runs

    // Starts it and waits until it says that it is ready.
    bool start();
    // Asks it to stop and waits; its exit code.
    int stop();
    // Ends all its processes at once, as when the machine loses its power.
    void cut_off();

    const std::string &url() const
    {
        return base_url;
    }                            // "http://127.0.0.1:40123"
    std::string address() const; // "127.0.0.1:40123"
    const std::string &data_dir() const
    {
        return options.data_dir;
    }
    Process &process()
    {
        return *musterctl;
    }
    std::string log() const; // what all of them wrote to standard error

    // Of one process: "muster-registry", "demo-1".
    pid_t pid(const std::string &name);
    std::string address(const std::string &name);
    int restarts(const std::string &name);
    bool is_ready(const std::string &name);
    // SIGKILL, or another signal. False: it does not run.
    bool kill(const std::string &name, int number = SIGKILL);
    // Kills it and waits until its successor is ready.
    bool kill_and_wait(const std::string &name);
    std::vector<std::string> names();

    // Requests, each on a connection of its own.
    Response get(const std::string &path);
    Response post(const std::string &path, const std::string &body);
    Response request(const std::string &path, const Request &request);

    // GET /api/admin/workers, the one with this id; null: there is none.
    Json worker(const std::string &worker_id);

  private:
    Json processes();
    CoordinatorOptions options;
    std::unique_ptr<Process> musterctl;
    std::string base_url;
};

// Requests that flow in the background: some threads, each sending one after the other.
class Traffic
{
  public:
    Traffic(const std::string &url, Request request, int threads = 4);
    ~Traffic();
    // Waits until that many more have been answered, well or not.
    bool more(size_t count, int timeout_ms = 60000);
    void stop();
    size_t succeeded() const
    {
        return good;
    } // 2xx
    size_t failed() const
    {
        return bad;
    }
    std::string failures(); // what the first few were
    // Who answered how many, from X-Served-By.
    std::map<std::string, size_t> served_by();

  private:
    void run();
    std::string url;
    Request request;
    std::atomic<bool> stopping{false};
    std::atomic<size_t> good{0}, bad{0};
    std::mutex lock;
    std::vector<std::string> descriptions;
    std::map<std::string, size_t> workers;
    std::vector<std::thread> threads;
};
