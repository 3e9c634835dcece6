#include "tests/integration/fake_worker.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

static int listen_anywhere(int *port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    socklen_t bytes = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener, reinterpret_cast<sockaddr *>(&address), bytes);
    getsockname(listener, reinterpret_cast<sockaddr *>(&address), &bytes);
    *port = ntohs(address.sin_port);
    return listener;
}

std::string unreachable_url()
{
    int port = 0;
    close(listen_anywhere(&port));
    return "http://127.0.0.1:" + std::to_string(port);
}

FakeWorker::FakeWorker(Handler with) : handler(std::move(with)), listener(listen_anywhere(&port))
{
    listen(listener, 64);
    acceptor = std::thread([this] { accept_connections(); });
}

FakeWorker::~FakeWorker()
{
    stopping = true;
    shutdown(listener, SHUT_RDWR);
    acceptor.join();
    {
        std::lock_guard<std::mutex> guard(lock);
        for (int one : sockets)
            shutdown(one, SHUT_RDWR);
    }
    for (std::thread &connection : connections)
        connection.join();
    for (int one : sockets)
        close(one);
    close(listener);
}

void FakeWorker::accept_connections()
{
    while (!stopping) {
        int descriptor = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (descriptor < 0)
            continue;
        std::lock_guard<std::mutex> guard(lock);
        sockets.push_back(descriptor);
        connections.emplace_back([this, descriptor] {
            Connection connection(descriptor);
            for (;;) {
                std::string head = connection.read_head();
                if (head.empty() || !handler(connection, head))
                    break;
            }
            shutdown(descriptor, SHUT_RDWR);
        });
    }
}

std::string FakeWorker::Connection::read_head()
{
    size_t end;
    while ((end = pending.find("\r\n\r\n")) == std::string::npos) {
        char bytes[16384];
        ssize_t count = recv(socket, bytes, sizeof bytes, 0);
        if (count <= 0)
            return "";
        pending.append(bytes, static_cast<size_t>(count));
    }
    std::string head = pending.substr(0, end + 4);
    pending.erase(0, end + 4);
    return head;
}

std::string FakeWorker::Connection::read_some(size_t limit)
{
    if (pending.empty()) {
        std::string bytes(limit, '\0');
        ssize_t count = recv(socket, bytes.data(), bytes.size(), 0);
        bytes.resize(count > 0 ? static_cast<size_t>(count) : 0);
        return bytes;
    }
    std::string bytes = pending.substr(0, limit);
    pending.erase(0, bytes.size());
    return bytes;
}

std::string FakeWorker::Connection::read_exactly(size_t bytes)
{
    std::string all;
    while (all.size() < bytes) {
        std::string some = read_some(std::min<size_t>(bytes - all.size(), 65536));
        if (some.empty())
            break;
        all += some;
    }
    return all;
}

bool FakeWorker::Connection::write(const std::string &bytes)
{
    size_t sent = 0;
    while (sent < bytes.size()) {
        ssize_t count = send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
        if (count <= 0)
            return false;
        sent += static_cast<size_t>(count);
    }
    return true;
}

std::string FakeWorker::answer(const std::string &body, const std::string &more_headers)
{
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more_headers + "\r\n" + body;
}
