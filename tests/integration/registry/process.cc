// A process under test; see process.h.

#include "tests/integration/registry/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

const char registry_program[] = "services/registry/muster-registry";
const char assigner_program[] = "services/assigner/muster-assigner";

namespace
{

constexpr int start_timeout_ms = 60000;

std::string temporary_name(const char *suffix)
{
    const char *base = getenv("TEST_TMPDIR");
    return std::string(base != nullptr ? base : "/tmp") + suffix;
}

} // namespace

Directory::Directory() : path(temporary_name("/registry-XXXXXX"))
{
    if (mkdtemp(path.data()) == nullptr)
        abort();
}

Directory::~Directory()
{
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
}

Process::Process(const std::string &program, const std::vector<std::string> &arguments,
                 const std::function<void()> &before)
    : error_path(temporary_name("/errors-XXXXXX"))
{
    int ready_pipe[2];
    int errors_to = mkstemp(error_path.data());
    if (errors_to < 0 || pipe2(ready_pipe, O_CLOEXEC) != 0)
        abort();
    std::vector<std::string> texts = {program};
    texts.insert(texts.end(), arguments.begin(), arguments.end());
    texts.push_back("--ready-fd=3");
    std::vector<char *> argv;
    for (auto &text : texts)
        argv.push_back(text.data());
    argv.push_back(nullptr);
    // Only what is safe between fork and exec happens in the child.
    child = fork();
    if (child == 0) {
        // All signals as a shell would have them, whatever this program's libraries block.
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, nullptr);
        if (dup2(errors_to, STDERR_FILENO) < 0 || dup2(errors_to, STDOUT_FILENO) < 0 || dup2(ready_pipe[1], 3) < 0)
            _exit(126);
        if (before)
            before();
        execv(argv[0], argv.data());
        _exit(127);
    }
    close(errors_to);
    close(ready_pipe[1]);
    ready_descriptor = ready_pipe[0];
}

Process::~Process()
{
    if (child > 0)
        end(SIGKILL);
    if (ready_descriptor >= 0)
        close(ready_descriptor);
    unlink(error_path.c_str());
}

std::string Process::ready()
{
    std::string line;
    for (;;) {
        struct pollfd wait = {ready_descriptor, POLLIN, 0};
        char c;
        if (poll(&wait, 1, start_timeout_ms) != 1 || read(ready_descriptor, &c, 1) != 1)
            return "";
        if (c == '\n')
            return line;
        line += c;
    }
}

void Process::signal(int number) const
{
    kill(child, number);
}

int Process::end(int number)
{
    int status = 0;
    if (number != 0)
        kill(child, number);
    if (waitpid(child, &status, 0) != child)
        abort();
    child = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string Process::errors() const
{
    std::ifstream in(error_path);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}
