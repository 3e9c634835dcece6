// Starts that cannot succeed: the exit code, and one line on standard error that says what
// to do. What was on disk before stays as it is.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace
{

struct Program {
    const char *name;
    const char *path;
    std::vector<std::string> flags; // besides --port
};

// What each takes to start, on any free port, calling nobody.
std::vector<Program> programs()
{
    return {
        {"registry", "services/registry/muster-registry", {"--data-dir", temporary_folder()}},
        {"assigner", "services/assigner/muster-assigner", {}},
        {"health", "services/health/muster-health", {}},
        {"router", "services/router/muster-router", {}},
        {"gateway", "gateway/muster-gateway", {}},
        {"worker", "services/worker/muster-worker", {"--coordinator-url", "http://127.0.0.1:9"}},
    };
}

std::vector<std::string> operator+(std::vector<std::string> left, const std::vector<std::string> &right)
{
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

// It ends with this code and one line, which mentions this.
void expect_refusal(Process &process, int code, const std::string &mentions)
{
    EXPECT_EQ(process.wait(), code) << process.errors();
    std::string errors = process.errors();
    EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
    EXPECT_NE(errors.find(mentions), std::string::npos) << errors;
    EXPECT_EQ(process.output(), "");
}

TEST(BadStart, ASecondServerOnTheSamePort)
{
    // Somebody listens, with both options that would let another one in.
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)), 0);
    ASSERT_EQ(listen(fd, 8), 0);
    ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr *>(&address), &bytes), 0);
    std::string port = std::to_string(ntohs(address.sin_port));
    for (const auto &program : programs()) {
        SCOPED_TRACE(program.name);
        Process process(program.path, program.flags + std::vector<std::string>{"--port", port});
        expect_refusal(process, 1, port);
    }
    close(fd);
}

// Without a key, what others can reach is not opened unless somebody says so.
TEST(BadStart, AddressesThatOthersCanReach)
{
    for (const auto &program : programs()) {
        SCOPED_TRACE(program.name);
        if (std::string(program.name) == "worker")
            continue; // others have to reach it, and it serves what its owner gave it
        for (const char *host : {"0.0.0.0", "::", "192.0.2.1", "a-name-of-somebody"}) {
            Process process(program.path, program.flags + std::vector<std::string>{"--port", "0", "--host", host});
            expect_refusal(process, 2, "--insecure");
        }
        for (const std::vector<std::string> &fine :
             {std::vector<std::string>{"--host", "0.0.0.0", "--insecure"}, {"--host", "127.0.0.2"}}) {
            Process process(program.path, program.flags + std::vector<std::string>{"--port", "0"} + fine);
            EXPECT_TRUE(eventually([&] { return process.errors().find("serving") != std::string::npos; }))
                << process.errors();
        }
    }
    Process keyed("gateway/muster-gateway", {"--port", "0", "--host", "0.0.0.0"}, {"API_KEY=a-key-0123456789"});
    EXPECT_TRUE(eventually([&] { return keyed.errors().find("serving") != std::string::npos; }));
    for (const char *flag : {"--host", "--grpc-host"}) {
        Process up("services/ctl/musterctl",
                   {"up", "--port", "0", "--grpc-port", "0", "--data-dir", temporary_folder(), flag, "0.0.0.0"});
        expect_refusal(up, 1, "--insecure");
    }
}

TEST(BadStart, KeysThatCannotBeUsed)
{
    std::string file = temporary_folder() + "/keys.json";
    Process missing("gateway/muster-gateway", {"--port", "0", "--api-keys", file});
    expect_refusal(missing, 2, file + " cannot be read");
    write_file(file, R"({"keys": [{"name": "a", "key": "short-secret", "rights": ["admin"]}]})");
    Process wrong("gateway/muster-gateway", {"--port", "0", "--api-keys", file});
    expect_refusal(wrong, 2, "keys[0].key");
    EXPECT_EQ(wrong.errors().find("short-secret"), std::string::npos) << wrong.errors();
    Process weak("gateway/muster-gateway", {"--port", "0"}, {"API_KEY=short-secret"});
    expect_refusal(weak, 2, "API_KEY");
    EXPECT_EQ(weak.errors().find("short-secret"), std::string::npos) << weak.errors();
}

TEST(BadStart, UnknownFlagsAndBadValues)
{
    for (const auto &program : programs()) {
        SCOPED_TRACE(program.name);
        Process unknown(program.path, {"--nonsense"});
        expect_refusal(unknown, 2, "--nonsense");
        Process bad(program.path, {"--port", "eighty"});
        expect_refusal(bad, 2, "--port");
    }
}

TEST(BadStart, EveryProgramHasHelp)
{
    for (const auto &program : programs()) {
        SCOPED_TRACE(program.name);
        Process process(program.path, {"--help"});
        EXPECT_EQ(process.wait(), 0);
        EXPECT_EQ(process.errors(), "");
        EXPECT_NE(process.output().find("--port"), std::string::npos);
    }
}

TEST(BadStart, ADataDirectoryThatCannotBeWritten)
{
    // Root may write everywhere but where there is no folder: below a file, and in /proc.
    std::string file = temporary_folder() + "/file";
    write_file(file, "not a folder");
    for (const std::string &folder : {file, file + "/below", std::string("/proc/1/nowhere")}) {
        Process registry("services/registry/muster-registry", {"--port", "0", "--data-dir", folder});
        expect_refusal(registry, 1, folder);
        Process up("services/ctl/musterctl", {"up", "--port", "0", "--grpc-port", "0", "--data-dir", folder});
        expect_refusal(up, 1, folder);
    }
    EXPECT_EQ(read_file(file), "not a folder");
}

TEST(BadStart, AReadOnlyDataDirectory)
{
    std::string folder = temporary_folder();
    ASSERT_EQ(chmod(folder.c_str(), 0500), 0);
    // Root may write there all the same, but not here.
    if (access(folder.c_str(), W_OK) == 0)
        folder = "/proc/sys/kernel";
    Process registry("services/registry/muster-registry", {"--port", "0", "--data-dir", folder});
    expect_refusal(registry, 1, folder);
    Process up("services/ctl/musterctl", {"up", "--port", "0", "--grpc-port", "0", "--data-dir", folder});
    expect_refusal(up, 1, folder);
}

TEST(BadStart, ADataDirectoryOnAReadOnlyFileSystem)
{
    std::string folder = temporary_folder();
    {
        Process registry("services/registry/muster-registry", {"--port", "0", "--data-dir", folder});
        ASSERT_TRUE(eventually([&] { return registry.errors().find("the roll is there") != std::string::npos; }));
        registry.signal(SIGKILL); // so that there is a log to be read back, too
        registry.wait();
    }
    // A name space of its own, in which the folder is mounted read-only.
    auto read_only = [&](const std::string &command) {
        return std::vector<std::string>{
            "--user",  "--map-root-user",
            "--mount", "/bin/sh",
            "-c",      "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && " + command,
            folder};
    };
    Process possible("/usr/bin/unshare", read_only("true"));
    if (possible.wait() != 0)
        GTEST_SKIP() << "name spaces are not to be had here: " << possible.errors();
    Process registry("/usr/bin/unshare",
                     read_only("exec services/registry/muster-registry --port 0 --data-dir \"$0\""));
    expect_refusal(registry, 1, "data directory " + folder + " cannot be written (Read-only file system)");
}

TEST(BadStart, ACorruptDatabase)
{
    std::string garbage = "this is not a database, and it is long enough to be looked at as one\n";
    for (int i = 0; i < 6; i++)
        garbage += garbage;
    std::string folder = temporary_folder();
    write_file(folder + "/registry.sqlite3", garbage);
    Process registry("services/registry/muster-registry", {"--port", "0", "--data-dir", folder});
    expect_refusal(registry, 1, "registry.sqlite3");
    EXPECT_EQ(read_file(folder + "/registry.sqlite3"), garbage) << "it must stay for whoever rescues it";
}

TEST(BadStart, ADatabaseThatWasDamagedInTheMiddle)
{
    std::string folder = temporary_folder();
    {
        Coordinator coordinator({.data_dir = folder});
        ASSERT_TRUE(coordinator.start()) << coordinator.log();
        for (int i = 0; i < 200; i++)
            ASSERT_EQ(coordinator
                          .post("/api/worker/register",
                                R"({"worker_id": "w)" + std::to_string(i) + R"(", "tunnel_url": "http://127.0.0.1:9"})")
                          .status,
                      200);
        ASSERT_EQ(coordinator.stop(), 0);
    }
    std::string path = folder + "/registry.sqlite3";
    std::string bytes = read_file(path);
    ASSERT_GT(bytes.size(), 8192u);
    // All but the first page, which has the header.
    std::fill(bytes.begin() + 4096, bytes.end(), '\xa5');
    write_file(path, bytes);
    Process registry("services/registry/muster-registry", {"--port", "0", "--data-dir", folder});
    expect_refusal(registry, 1, "registry.sqlite3");
}

TEST(BadStart, ACatalogWithAnUnknownTier)
{
    std::string path = temporary_folder() + "/catalog.json";
    for (const char *text :
         {R"({"services": [{"name": "ocr", "tier": 9, "requires": "gpu", "priority": 1, "port": 8104}]})",
          R"({"services": [{"name": "ocr", "requires": "toaster", "priority": 1, "port": 8104}]})",
          R"({"services": [{"name": "ocr", "requires": )", R"([])", R"("text")", R"({"services": 5})",
          R"({"services": [{"requires": "gpu"}]})"}) {
        SCOPED_TRACE(text);
        write_file(path, text);
        Process assigner("services/assigner/muster-assigner", {"--port", "0", "--catalog", path});
        expect_refusal(assigner, 1, path);
    }
    Process missing("services/assigner/muster-assigner", {"--port", "0", "--catalog", "/nowhere/catalog.json"});
    expect_refusal(missing, 1, "/nowhere/catalog.json");
}

} // namespace
