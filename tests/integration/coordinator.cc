// A whole coordinator for a test; see coordinator.h.

#include "tests/integration/coordinator.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>

// --- Processes ---

std::string temporary_folder()
{
    const char *root = getenv("TEST_TMPDIR");
    std::string pattern = std::string(root != nullptr ? root : "/tmp") + "/muster-XXXXXX";
    return mkdtemp(pattern.data()) != nullptr ? pattern : "";
}

std::string read_file(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

void write_file(const std::string &path, const std::string &text)
{
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

bool eventually(const std::function<bool()> &yes, int timeout_ms)
{
    auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!yes()) {
        if (std::chrono::steady_clock::now() >= deadline)
            return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
}

Process::Process(const std::string &program, const std::vector<std::string> &arguments,
                 const std::vector<std::string> &environment)
    : folder(temporary_folder())
{
    std::vector<std::string> words = {program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char *> argv;
    for (auto &word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<std::string> settings = environment;
    std::vector<char *> envp;
    for (auto &setting : settings)
        envp.push_back(setting.data());
    for (char **inherited = environ; *inherited != nullptr; inherited++)
        envp.push_back(*inherited);
    envp.push_back(nullptr);
    std::string out = folder + "/output", err = folder + "/errors";
    pid_t parent = getpid();
    child = fork();
    if (child == 0) {
        // It must not outlive a test that is killed.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int out_fd = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int err_fd = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (getppid() != parent || dup2(out_fd, 1) < 0 || dup2(err_fd, 2) < 0)
            _exit(127);
        close(out_fd);
        close(err_fd);
        execve(argv[0], argv.data(), envp.data());
        _exit(127);
    }
}

Process::~Process()
{
    if (running()) {
        ::kill(child, SIGKILL);
        wait();
    }
}

std::string Process::output() const
{
    return read_file(folder + "/output");
}

std::string Process::errors() const
{
    return read_file(folder + "/errors");
}

bool Process::running()
{
    if (!ended && child > 0 && waitpid(child, &status, WNOHANG) == child)
        ended = true;
    return !ended && child > 0;
}

void Process::signal(int number)
{
    if (running())
        ::kill(child, number);
}

int Process::wait(int timeout_ms)
{
    if (!eventually([this] { return !running(); }, timeout_ms))
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// --- The coordinator ---

Coordinator::Coordinator(CoordinatorOptions given) : options(std::move(given))
{
    if (options.data_dir.empty())
        options.data_dir = temporary_folder();
}

Coordinator::~Coordinator()
{
    if (musterctl != nullptr)
        stop();
}

bool Coordinator::start()
{
    std::vector<std::string> arguments = {"up", "--port", "0", "--grpc-port", "0", "--data-dir", options.data_dir};
    arguments.insert(arguments.end(), {"--demo-workers", std::to_string(options.demo_workers)});
    // Sanitizers and a machine that runs other tests make everything slower.
    arguments.insert(arguments.end(), {"--start-timeout-seconds", "90"});
    arguments.insert(arguments.end(), options.flags.begin(), options.flags.end());
    std::string program = "services/ctl/musterctl";
    if (!options.launcher.empty()) {
        arguments.insert(arguments.begin(), program);
        arguments.insert(arguments.begin(), options.launcher.begin() + 1, options.launcher.end());
        program = options.launcher[0];
    }
    musterctl = std::make_unique<Process>(program, arguments, options.environment);
    const std::string word = "ready ";
    std::string line;
    eventually(
        [&] {
            line = musterctl->output();
            return (!line.empty() && line.back() == '\n') || !musterctl->running();
        },
        120000);
    if (line.compare(0, word.size(), word) != 0)
        return false;
    base_url = line.substr(word.size(), line.find('\n') - word.size());
    return true;
}

int Coordinator::stop()
{
    musterctl->signal(SIGTERM);
    return musterctl->wait(120000);
}

void Coordinator::cut_off()
{
    std::vector<pid_t> pids;
    for (const std::string &name : names())
        pids.push_back(pid(name));
    musterctl->signal(SIGKILL);
    for (pid_t pid : pids) {
        if (pid > 0) // none runs just now
            ::kill(pid, SIGKILL);
    }
    musterctl->wait();
}

std::string Coordinator::address() const
{
    return base_url.substr(std::string("http://").size());
}

std::string Coordinator::log() const
{
    return musterctl != nullptr ? musterctl->errors() : "";
}

Json Coordinator::processes()
{
    return Json::parse(read_file(options.data_dir + "/processes.json"))["processes"];
}

pid_t Coordinator::pid(const std::string &name)
{
    return static_cast<pid_t>(processes().find("name", name)["pid"].integer());
}

std::string Coordinator::address(const std::string &name)
{
    return processes().find("name", name)["address"].text();
}

int Coordinator::restarts(const std::string &name)
{
    return static_cast<int>(processes().find("name", name)["restarts"].integer());
}

bool Coordinator::is_ready(const std::string &name)
{
    return processes().find("name", name)["state"].text() == "ready";
}

bool Coordinator::kill(const std::string &name, int number)
{
    pid_t target = pid(name);
    return target > 0 && ::kill(target, number) == 0;
}

bool Coordinator::kill_and_wait(const std::string &name)
{
    int before = restarts(name);
    return kill(name) && eventually([&] { return restarts(name) > before && is_ready(name); });
}

std::vector<std::string> Coordinator::names()
{
    std::vector<std::string> all;
    Json list = processes();
    for (size_t i = 0; i < list.size(); i++)
        all.push_back(list[i]["name"].text());
    return all;
}

Response Coordinator::request(const std::string &path, const Request &request)
{
    return HttpClient().request(base_url + path, request);
}

Response Coordinator::get(const std::string &path)
{
    return request(path, {});
}

Response Coordinator::post(const std::string &path, const std::string &body)
{
    Request request;
    request.method = "POST";
    request.body = body;
    request.headers = {"Content-Type: application/json"};
    return this->request(path, request);
}

Json Coordinator::worker(const std::string &worker_id)
{
    return get("/api/admin/workers").json()["workers"].find("worker_id", worker_id);
}

// --- Traffic ---

Traffic::Traffic(const std::string &to, Request what, int count) : url(to), request(std::move(what))
{
    for (int i = 0; i < count; i++)
        threads.emplace_back([this] { run(); });
}

Traffic::~Traffic()
{
    stop();
}

void Traffic::stop()
{
    stopping = true;
    for (auto &thread : threads)
        thread.join();
    threads.clear();
}

void Traffic::run()
{
    HttpClient client;
    while (!stopping) {
        Response answer = client.request(url, request);
        bool success = answer.status >= 200 && answer.status < 300;
        {
            std::lock_guard<std::mutex> guard(lock);
            if (success)
                workers[answer.header("x-served-by")]++;
            else if (descriptions.size() < 5)
                descriptions.push_back(answer.described());
        }
        (success ? good : bad)++;
    }
}

bool Traffic::more(size_t count, int timeout_ms)
{
    size_t target = good + bad + count;
    return eventually([&] { return good + bad >= target; }, timeout_ms);
}

std::string Traffic::failures()
{
    std::lock_guard<std::mutex> guard(lock);
    std::string text;
    for (const auto &description : descriptions)
        text += description + "\n";
    return text;
}

std::map<std::string, size_t> Traffic::served_by()
{
    std::lock_guard<std::mutex> guard(lock);
    return workers;
}
