// The bench as its users run it: one cheap row, the JSON that it writes, and that nothing
// is left behind when it is interrupted.

#include <gtest/gtest.h>

#include <jansson.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace
{

std::string directory()
{
    const char *from_bazel = std::getenv("TEST_TMPDIR");
    return from_bazel != nullptr ? from_bazel : "/tmp";
}

// Starts the bench with its output in a file.
pid_t start(std::vector<std::string> arguments, const std::string &output)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int descriptor = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(descriptor, 1);
    dup2(descriptor, 2);
    arguments.insert(arguments.begin(), "tests/bench/bench");
    std::vector<char *> pointers;
    for (std::string &argument : arguments)
        pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    execv(pointers[0], pointers.data());
    _exit(127);
}

int wait_for(pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string read_file(const std::string &path)
{
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

size_t left_behind()
{
    size_t count = 0;
    DIR *entries = opendir(directory().c_str());
    while (const struct dirent *entry = readdir(entries))
        count += std::strncmp(entry->d_name, "muster-bench-", 13) == 0;
    closedir(entries);
    return count;
}

TEST(Bench, MeasuresARowAndWritesIt)
{
    std::string json = directory() + "/report.json", output = directory() + "/output";
    int status = wait_for(start({"--quick", "--rounds", "1", "--json", json, "relay-64", "memory-registry"}, output));
    ASSERT_EQ(status, 0) << read_file(output);
    json_error_t error;
    json_t *root = json_load_file(json.c_str(), 0, &error);
    ASSERT_NE(root, nullptr) << error.text;
    json_t *rows = json_object_get(root, "rows");
    ASSERT_EQ(json_array_size(rows), 2u);
    for (size_t i = 0; i < 2; i++) {
        json_t *muster = json_object_get(json_array_get(rows, i), "muster");
        EXPECT_GT(json_number_value(json_object_get(muster, "value")), 0) << read_file(output);
    }
    json_decref(root);
    EXPECT_EQ(left_behind(), 0u);
}

TEST(Bench, StopsItsServersWhenItIsInterrupted)
{
    std::string output = directory() + "/output-interrupted";
    pid_t pid = start({"relay-64"}, output);
    // Until it measures: it says the row's name then.
    for (int i = 0; i < 600 && read_file(output).find("relay-64") == std::string::npos; i++)
        usleep(50000);
    std::string children = read_file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
    EXPECT_NE(children, "") << read_file(output);
    kill(pid, SIGINT);
    EXPECT_EQ(wait_for(pid), 130) << read_file(output);
    std::stringstream numbers(children);
    for (pid_t child; numbers >> child;)
        EXPECT_NE(kill(child, 0), 0) << "server " << child << " still runs";
    EXPECT_EQ(left_behind(), 0u);
}

TEST(Bench, SaysWhichRowsThereAreAndRefusesOthers)
{
    std::string output = directory() + "/output-list";
    EXPECT_EQ(wait_for(start({"--list"}, output)), 0);
    EXPECT_NE(read_file(output).find("stream-1000"), std::string::npos);
    EXPECT_EQ(wait_for(start({"speed"}, output)), 2);
    EXPECT_NE(read_file(output).find("no row 'speed'"), std::string::npos);
}

} // namespace
