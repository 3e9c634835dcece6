// Ports that are kept for others, and children that are started, say that they are ready,
// and die with their parent. Real processes (/bin/sh), real sockets.

extern "C" {
#include "services/ctl/child.h"
#include "services/ctl/ports.h"
}

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace
{

// A server's socket, as every server here opens it; -1 when the port is taken.
int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) == 0 && listen(fd, 8) == 0)
        return fd;
    close(fd);
    return -1;
}

TEST(Ports, AReservedPortCanBeListenedOnAgainAndAgain)
{
    port_reservation reservation;
    char error[400];
    ASSERT_TRUE(port_reserve("127.0.0.1", 0, &reservation, error, sizeof(error))) << error;
    ASSERT_NE(reservation.port, 0);
    for (int i = 0; i < 3; i++) {
        int server = listen_on(reservation.port);
        ASSERT_GE(server, 0);
        EXPECT_EQ(listen_on(reservation.port), -1) << "two servers on one port";
        close(server);
    }
    port_release(&reservation);
    EXPECT_EQ(reservation.socket, -1);
}

TEST(Ports, FreePortsAreAllDifferent)
{
    std::vector<port_reservation> reservations(50);
    char error[400];
    for (auto &reservation : reservations)
        ASSERT_TRUE(port_reserve("127.0.0.1", 0, &reservation, error, sizeof(error))) << error;
    for (size_t i = 0; i < reservations.size(); i++)
        for (size_t k = 0; k < i; k++)
            EXPECT_NE(reservations[i].port, reservations[k].port);
    for (auto &reservation : reservations)
        port_release(&reservation);
}

TEST(Ports, ATakenPortIsAnErrorThatNamesIt)
{
    port_reservation free_port;
    port_reservation reservation;
    char error[400] = "";
    ASSERT_TRUE(port_reserve("127.0.0.1", 0, &free_port, error, sizeof(error)));
    int server = listen_on(free_port.port);
    ASSERT_GE(server, 0);
    EXPECT_FALSE(port_reserve("127.0.0.1", free_port.port, &reservation, error, sizeof(error)));
    EXPECT_EQ(std::string(error), "port " + std::to_string(free_port.port) +
                                      " of 127.0.0.1 is taken: stop what listens there, or choose another port");
    close(server);
    port_release(&free_port);
}

TEST(Ports, AHostOfSomebodyElse)
{
    port_reservation reservation;
    char error[400] = "";
    EXPECT_FALSE(port_reserve("192.0.2.1", 0, &reservation, error, sizeof(error)));
    EXPECT_NE(std::string(error).find("192.0.2.1"), std::string::npos);
    EXPECT_EQ(std::string(error).find('\n'), std::string::npos);
}

TEST(Ports, AddressesAsText)
{
    char text[64];
    port_format_address("127.0.0.1", 80, text, sizeof(text));
    EXPECT_STREQ(text, "127.0.0.1:80");
    port_format_address("::1", 7101, text, sizeof(text));
    EXPECT_STREQ(text, "[::1]:7101");
}

// A pipe that takes the child's output.
struct Output {
    int fds[2];
    Output()
    {
        EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    }
    ~Output()
    {
        close(fds[0]);
        if (fds[1] >= 0)
            close(fds[1]);
    }
    std::string all()
    {
        close(fds[1]);
        fds[1] = -1;
        std::string text;
        char part[256];
        for (ssize_t bytes; (bytes = read(fds[0], part, sizeof(part))) > 0;)
            text.append(part, static_cast<size_t>(bytes));
        return text;
    }
};

bool start_shell(child *c, const std::string &script, int log)
{
    std::string shell = "/bin/sh", flag = "-c", text = script;
    char *argv[] = {shell.data(), flag.data(), text.data(), nullptr};
    return child_start(c, argv, log);
}

bool wait_until_ready(child *c)
{
    while (c->ready_fd >= 0) {
        pollfd p = {c->ready_fd, POLLIN, 0};
        if (poll(&p, 1, 20000) <= 0)
            return false;
        if (child_is_ready(c))
            return true;
    }
    return false;
}

TEST(Child, SaysThatItIsReadyOnItsDescriptor)
{
    Output output;
    child c = CHILD_NONE;
    ASSERT_TRUE(start_shell(&c, "echo 127.0.0.1:1234 >&3; echo on stdout; echo on stderr >&2; exit 7", output.fds[1]));
    EXPECT_TRUE(wait_until_ready(&c));
    EXPECT_EQ(c.ready_fd, -1);
    int status = 0;
    ASSERT_EQ(waitpid(c.pid, &status, 0), c.pid);
    EXPECT_EQ(WEXITSTATUS(status), 7);
    EXPECT_EQ(output.all(), "on stdout\non stderr\n");
    child_forget(&c);
    EXPECT_EQ(c.pid, 0);
}

TEST(Child, OneThatEndsWithoutAWordIsNotReady)
{
    Output output;
    child c = CHILD_NONE;
    ASSERT_TRUE(start_shell(&c, "exit 0", output.fds[1]));
    EXPECT_FALSE(wait_until_ready(&c));
    EXPECT_EQ(c.ready_fd, -1);
    ASSERT_EQ(waitpid(c.pid, nullptr, 0), c.pid);
    child_forget(&c);
}

TEST(Child, AProgramThatIsNotThere)
{
    Output output;
    child c = CHILD_NONE;
    std::string path = "/nowhere/muster-registry";
    char *argv[] = {path.data(), nullptr};
    ASSERT_TRUE(child_start(&c, argv, output.fds[1]));
    int status = 0;
    ASSERT_EQ(waitpid(c.pid, &status, 0), c.pid);
    EXPECT_EQ(WEXITSTATUS(status), 127);
    EXPECT_EQ(output.all(), "musterctl: cannot run /nowhere/muster-registry: No such file or directory\n");
    child_forget(&c);
}

TEST(Child, InheritsNoDescriptorAndNoSignalMask)
{
    Output output;
    child c = CHILD_NONE;
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    // Descriptors 0 to 3, and the one that ls reads the folder with.
    ASSERT_TRUE(start_shell(&c, "ls /proc/self/fd | tr '\\n' ' '; grep SigBlk /proc/self/status", output.fds[1]));
    sigprocmask(SIG_SETMASK, &before, nullptr);
    ASSERT_EQ(waitpid(c.pid, nullptr, 0), c.pid);
    EXPECT_EQ(output.all(), "0 1 2 3 4 SigBlk:\t0000000000000000\n");
    child_forget(&c);
}

TEST(Child, DiesWithItsParent)
{
    // This process adopts what its children leave behind, so that it can wait for it.
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    int numbers[2];
    ASSERT_EQ(pipe2(numbers, O_CLOEXEC), 0);
    pid_t parent = fork();
    ASSERT_GE(parent, 0);
    if (parent == 0) {
        child c = CHILD_NONE;
        if (!start_shell(&c, "echo up >&3; exec sleep 1000", STDERR_FILENO) || !wait_until_ready(&c) ||
            write(numbers[1], &c.pid, sizeof(c.pid)) != sizeof(c.pid))
            _exit(1);
        pause();
        _exit(0);
    }
    pid_t grandchild = 0;
    ASSERT_EQ(read(numbers[0], &grandchild, sizeof(grandchild)), static_cast<ssize_t>(sizeof(grandchild)));
    ASSERT_EQ(kill(parent, SIGKILL), 0);
    ASSERT_EQ(waitpid(parent, nullptr, 0), parent);
    int status = 0;
    pid_t ended = 0;
    for (int i = 0; i < 2000 && ended == 0; i++) {
        ended = waitpid(grandchild, &status, WNOHANG);
        usleep(10000);
    }
    if (ended == 0)
        kill(grandchild, SIGTERM);
    ASSERT_EQ(ended, grandchild) << "it outlived its parent";
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
    close(numbers[0]);
    close(numbers[1]);
}

} // namespace
