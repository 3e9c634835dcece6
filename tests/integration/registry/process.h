// A process under test: started on a free port with a directory of its own, stopped by its id.

#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

// A directory that goes with the object.
struct Directory {
    Directory();
    ~Directory();
    Directory(const Directory &) = delete;
    Directory &operator=(const Directory &) = delete;
    std::string path;
};

class Process
{
  public:
    // `before` runs in the child right before the program does.
    Process(const std::string &program, const std::vector<std::string> &arguments,
            const std::function<void()> &before = nullptr);
    ~Process(); // kills it if it still runs
    Process(const Process &) = delete;
    Process &operator=(const Process &) = delete;

    // Waits until it serves; gives HOST:PORT, or "" when it ended instead.
    std::string ready();

    void signal(int number) const;
    // Sends the signal (0: none) and waits for the end. The exit code, or minus the signal
    // that ended it.
    int end(int number);

    // What it has written to standard error so far.
    std::string errors() const;

    pid_t id() const
    {
        return child;
    }

  private:
    pid_t child = -1;
    int ready_descriptor = -1;
    std::string error_path;
};

// The services of this tree, as a test finds them.
extern const char registry_program[];
extern const char assigner_program[];
