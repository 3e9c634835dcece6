// See delaying_relay.h.

#include "tests/integration/delaying_relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace
{

const size_t held_bytes_max = 4 << 20; // of one direction, before the sender is held back

sockaddr_in address_of(const std::string &host, int port)
{
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    return address;
}

void set_up(int socket)
{
    int yes = 1;
    (void)fcntl(socket, F_SETFL, O_NONBLOCK);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

} // namespace

DelayingRelay::DelayingRelay(int round_trip_ms, const std::string &where)
    : host(where), delay(std::chrono::microseconds(round_trip_ms * 500))
{
    if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0)
        abort();
    listen();
    thread = std::thread([this] { run(); });
}

DelayingRelay::~DelayingRelay()
{
    stopping = true;
    (void)!::write(wake[1], "x", 1);
    thread.join();
    for (Connection &connection : connections)
        close(connection);
    if (listener >= 0)
        ::close(listener);
    ::close(wake[0]);
    ::close(wake[1]);
}

std::string DelayingRelay::url() const
{
    return "http://" + host + ":" + std::to_string(port);
}

void DelayingRelay::lead_to(const std::string &target)
{
    std::lock_guard<std::mutex> guard(lock);
    size_t begin = target.find("//") == std::string::npos ? 0 : target.find("//") + 2, colon = target.rfind(':');
    target_host = target.substr(begin, colon - begin);
    target_port = std::stoi(target.substr(colon + 1));
}

void DelayingRelay::set(State state_wanted)
{
    {
        std::lock_guard<std::mutex> guard(lock);
        wanted = state_wanted;
    }
    (void)!::write(wake[1], "x", 1);
}

// Also again, on the port that it had.
void DelayingRelay::listen()
{
    int yes = 1;
    sockaddr_in address = address_of(host, port);
    socklen_t bytes = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 || ::listen(listener, 4096) != 0) {
        perror("delaying relay");
        abort();
    }
    getsockname(listener, reinterpret_cast<sockaddr *>(&address), &bytes);
    port = ntohs(address.sin_port);
}

void DelayingRelay::accept_all()
{
    int client;
    while ((client = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0) {
        sockaddr_in address = {};
        {
            std::lock_guard<std::mutex> guard(lock);
            address = address_of(target_host, target_port);
        }
        int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        set_up(client);
        set_up(server);
        if (connect(server, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 && errno != EINPROGRESS) {
            ::close(client);
            ::close(server);
            continue;
        }
        connections.emplace_back();
        connections.back().there.from = connections.back().back.into = client;
        connections.back().there.into = connections.back().back.from = server;
    }
}

void DelayingRelay::read(Connection &connection, Direction &direction)
{
    char data[65536];
    while (!direction.ended && direction.bytes < held_bytes_max) {
        ssize_t got = recv(direction.from, data, sizeof data, 0);
        if (got < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return;
        if (got < 0) {
            connection.broken = true;
            return;
        }
        direction.ended = got == 0;
        direction.bytes += static_cast<size_t>(got);
        direction.pieces.emplace_back(Clock::now() + delay, std::string(data, static_cast<size_t>(got)));
    }
}

void DelayingRelay::write(Connection &connection, Direction &direction, Clock::time_point now)
{
    while (!direction.pieces.empty() && direction.pieces.front().first <= now) {
        const std::string &piece = direction.pieces.front().second;
        if (piece.empty()) {
            (void)shutdown(direction.into, SHUT_WR);
            direction.done = true;
            direction.pieces.pop_front();
            return;
        }
        ssize_t sent =
            send(direction.into, piece.data() + direction.written, piece.size() - direction.written, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == ENOTCONN))
            return;
        if (sent < 0) {
            connection.broken = true;
            return;
        }
        direction.written += static_cast<size_t>(sent);
        direction.bytes -= static_cast<size_t>(sent);
        if (direction.written < piece.size())
            return;
        direction.written = 0;
        direction.pieces.pop_front();
    }
}

void DelayingRelay::close(Connection &connection)
{
    ::close(connection.there.from);
    ::close(connection.there.into);
}

void DelayingRelay::take_state()
{
    State before = state;
    {
        std::lock_guard<std::mutex> guard(lock);
        state = wanted;
    }
    if (state == CUT && before != CUT) {
        for (Connection &connection : connections)
            close(connection);
        connections.clear();
        ::close(listener);
        listener = -1;
    } else if (before == CUT && state != CUT) {
        listen();
    }
}

void DelayingRelay::run()
{
    while (!stopping) {
        take_state();
        std::vector<pollfd> polls = {{wake[0], POLLIN, 0}};
        auto wait = std::chrono::nanoseconds(std::chrono::seconds(10));
        auto now = Clock::now();
        if (state == PASSES) {
            polls.push_back({listener, POLLIN, 0});
            for (Connection &connection : connections) {
                for (Direction *direction : {&connection.there, &connection.back}) {
                    bool due = !direction->pieces.empty() && direction->pieces.front().first <= now;
                    bool reads = !direction->ended && direction->bytes < held_bytes_max;
                    if (!direction->pieces.empty() && !due)
                        wait = std::min<std::chrono::nanoseconds>(wait, direction->pieces.front().first - now);
                    if (reads)
                        polls.push_back({direction->from, POLLIN, 0});
                    if (due)
                        polls.push_back({direction->into, POLLOUT, 0});
                }
            }
        }
        timespec timeout = {static_cast<time_t>(wait.count() / 1000000000),
                            static_cast<long>(wait.count() % 1000000000)};
        (void)ppoll(polls.data(), polls.size(), &timeout, nullptr);
        char data[64];
        while (::read(wake[0], data, sizeof data) > 0)
            continue;
        if (state != PASSES)
            continue;
        accept_all();
        now = Clock::now();
        for (auto at = connections.begin(); at != connections.end();) {
            for (Direction *direction : {&at->there, &at->back}) {
                read(*at, *direction);
                write(*at, *direction, now);
            }
            bool over = at->broken || (at->there.done && at->back.done);
            if (over)
                close(*at);
            at = over ? connections.erase(at) : std::next(at);
        }
    }
}
