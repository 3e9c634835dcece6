// See regions.h.

#include "tests/integration/regions.h"

#include <arpa/inet.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace
{

const char *const hub = "10.77.255.1";
bool in_namespaces = false;
int regions_made = 0;

bool run(const std::string &command)
{
    return system((command + " 2>/dev/null").c_str()) == 0;
}

std::string inside(pid_t holder)
{
    return "nsenter --net=/proc/" + std::to_string(holder) + "/ns/net ";
}

std::string address_of(int number)
{
    return "10.77." + std::to_string(number) + ".2";
}

// A process that is nothing but a namespace, joined to the hub's. -1: there is none.
pid_t make_namespace(int number)
{
    int ready[2];
    if (pipe(ready) != 0)
        return -1;
    pid_t parent = getpid(), holder = fork();
    if (holder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent && unshare(CLONE_NEWNET) == 0)
            (void)!write(ready[1], "x", 1);
        (void)close_range(3, ~0u, 0); // sockets that others close are to be closed
        for (;;)
            pause();
    }
    char byte;
    close(ready[1]);
    bool made = read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    const std::string own = address_of(number), other = "10.77." + std::to_string(number) + ".1";
    const std::string link = "region" + std::to_string(number);
    made = made && run("ip link add " + link + " type veth peer name world netns " + std::to_string(holder)) &&
           run("ip addr add " + other + "/30 dev " + link) && run("ip link set " + link + " up") &&
           run(inside(holder) + "ip link set lo up") && run(inside(holder) + "ip addr add " + own + "/30 dev world") &&
           run(inside(holder) + "ip link set world up") && run(inside(holder) + "ip route add default via " + other);
    if (made)
        return holder;
    ::kill(holder, SIGKILL);
    waitpid(holder, nullptr, 0);
    return -1;
}

} // namespace

bool networks_ready()
{
    in_namespaces =
        unshare(CLONE_NEWNET) == 0 && run("ip link set lo up") && run(std::string("ip addr add ") + hub + "/32 dev lo");
    if (in_namespaces) { // whether links between them can be made as well
        pid_t probe = make_namespace(254);
        in_namespaces = probe > 0;
        if (probe > 0) {
            kill(probe, SIGKILL);
            waitpid(probe, nullptr, 0);
        }
    }
    printf("[ regions  ] %s\n",
           in_namespaces ? "in network namespaces, a delaying relay between them"
                         : "over loopback addresses, a delaying relay between them: namespaces cannot be had here");
    fflush(stdout);
    return in_namespaces;
}

std::string hub_address()
{
    return in_namespaces ? hub : "127.0.0.1";
}

int free_port()
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    socklen_t bytes = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address);
    (void)getsockname(fd, reinterpret_cast<sockaddr *>(&address), &bytes);
    close(fd);
    return ntohs(address.sin_port);
}

// The first of five that nobody uses, one after the other.
static int free_ports()
{
    for (;;) {
        int first = free_port(), count = 0;
        std::vector<int> sockets;
        for (; count < 5 && first + count < 65536; count++) {
            sockaddr_in address = {};
            address.sin_family = AF_INET;
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            address.sin_port = htons(static_cast<uint16_t>(first + count));
            sockets.push_back(socket(AF_INET, SOCK_STREAM, 0));
            if (bind(sockets.back(), reinterpret_cast<sockaddr *>(&address), sizeof address) != 0)
                break;
        }
        for (int socket : sockets)
            close(socket);
        if (count == 5)
            return first;
    }
}

Region::Region(const std::string &name, int round_trip_ms, const std::string &edge_url, bool streams)
    : id(name), inward(round_trip_ms, hub_address()), outward(round_trip_ms, hub_address()),
      stream(round_trip_ms, hub_address())
{
    std::string host = "127.0.0.1";
    int port = free_port();
    outward.lead_to(edge_url);
    if (in_namespaces) {
        int number = ++regions_made;
        holder = make_namespace(number);
        host = address_of(number);
        options.launcher = {"/usr/bin/nsenter", "--net=/proc/" + std::to_string(holder) + "/ns/net", "--"};
        options.flags = {"--insecure", "--host", host};
    }
    inward.lead_to(host + ":" + std::to_string(port));
    options.data_dir = temporary_folder();
    if (streams) {
        int ports = free_ports(); // health's is the third
        stream.lead_to(host + ":" + std::to_string(ports + 2));
        options.environment = {"HEARTBEAT_STREAM=" + stream.url().substr(strlen("http://"))};
        options.flags.insert(options.flags.end(), {"--grpc-host", host, "--grpc-port", std::to_string(ports)});
    } else {
        options.environment = {"HEARTBEAT_STREAM=127.0.0.1:1"};
    }
    options.flags.insert(options.flags.end(), {"--port", std::to_string(port), "--join", outward.url(), "--public-url",
                                               inward.url(), "--coordinator-id", id, "--location", id});
}

Region::~Region()
{
    running.reset();
    if (holder > 0) {
        ::kill(holder, SIGKILL);
        waitpid(holder, nullptr, 0);
    }
}

bool Region::start()
{
    running = std::make_unique<Coordinator>(options);
    return running->start();
}

void Region::kill()
{
    running->cut_off();
}

void Region::set(DelayingRelay::State state)
{
    inward.set(state);
    outward.set(state);
    stream.set(state);
}
