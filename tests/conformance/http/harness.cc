#include "tests/conformance/http/harness.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr int wait_seconds = 10;

void bound_waits(int descriptor)
{
    timeval timeout = {wait_seconds, 0};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    int on = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int listen_anywhere(uint16_t *port)
{
    char error[200] = "";
    int listener = http_listen("127.0.0.1", 0, 256, error, sizeof error);
    EXPECT_GE(listener, 0) << error;
    *port = http_listener_port(listener);
    return listener;
}

} // namespace

Peer Peer::connect(uint16_t port, int receive_buffer_bytes)
{
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer_bytes > 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    bound_waits(descriptor);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(descriptor, reinterpret_cast<sockaddr *>(&address), sizeof address), 0) << strerror(errno);
    return Peer(descriptor);
}

bool Peer::send(const std::string &bytes)
{
    size_t sent = 0;
    while (sent < bytes.size()) {
        ssize_t n = ::send(descriptor_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += static_cast<size_t>(n);
    }
    return true;
}

bool Peer::fill()
{
    char buffer[65536];
    ssize_t n = recv(descriptor_, buffer, sizeof buffer, 0);
    if (n <= 0)
        return false;
    received_.append(buffer, static_cast<size_t>(n));
    return true;
}

std::string Peer::read_until(const std::string &delimiter)
{
    size_t at;
    while ((at = received_.find(delimiter)) == std::string::npos)
        if (!fill()) {
            std::string rest;
            rest.swap(received_);
            return rest;
        }
    std::string result = received_.substr(0, at + delimiter.size());
    received_.erase(0, result.size());
    return result;
}

std::string Peer::read_bytes(size_t count)
{
    while (received_.size() < count && fill()) {
    }
    std::string result = received_.substr(0, count);
    received_.erase(0, result.size());
    return result;
}

std::string Peer::read_all()
{
    while (fill()) {
    }
    std::string result;
    result.swap(received_);
    return result;
}

Peer::Message Peer::read_message(bool head_only)
{
    Message message;
    message.head = read_until("\r\n\r\n");
    if (message.head.size() < 4 || message.head.substr(message.head.size() - 4) != "\r\n\r\n")
        return message;
    if (message.head.compare(0, 5, "HTTP/") == 0)
        message.status = static_cast<unsigned>(atoi(message.head.c_str() + 9));
    for (size_t at = message.head.find("\r\n") + 2; at + 2 < message.head.size();) {
        size_t end = message.head.find("\r\n", at), colon = message.head.find(": ", at);
        std::string name = message.head.substr(at, colon - at);
        for (char &c : name)
            c = static_cast<char>(tolower(c));
        message.fields[name] = message.head.substr(colon + 2, end - colon - 2);
        at = end + 2;
    }
    bool bodiless = head_only || (message.status != 0 && (message.status < 200 || message.status == 204 || message.status == 304));
    if (bodiless) {
        message.complete = true;
    } else if (message.fields.count("content-length") != 0) {
        size_t bytes = std::stoull(message.fields["content-length"]);
        message.body = read_bytes(bytes);
        message.complete = message.body.size() == bytes;
    } else if (message.fields.count("transfer-encoding") != 0) {
        for (;;) {
            std::string line = read_until("\r\n");
            if (line.size() < 3)
                return message;
            size_t bytes = std::stoull(line, nullptr, 16);
            std::string chunk = read_bytes(bytes);
            message.body += chunk;
            if (chunk.size() != bytes || read_until("\r\n") != "\r\n")
                return message;
            if (bytes == 0)
                break;
        }
        message.complete = true;
    } else if (message.status != 0) {
        message.framed_by_close = true;
        message.body = read_all();
        message.complete = true;
    } else {
        message.complete = true;
    }
    return message;
}

bool Peer::is_closed()
{
    char byte;
    ssize_t n = recv(descriptor_, &byte, 1, MSG_PEEK);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

void Peer::shut_down_sending()
{
    shutdown(descriptor_, SHUT_WR);
}

void Peer::reset()
{
    linger now = {1, 0};
    setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
}

void Peer::close()
{
    if (descriptor_ >= 0)
        ::close(descriptor_);
    descriptor_ = -1;
}

Upstream::Upstream(std::function<void(Peer &)> serve) : serve_(std::move(serve))
{
    listener_ = listen_anywhere(&port_);
    acceptor_ = std::thread([this] { accept_all(); });
}

void Upstream::accept_all()
{
    for (;;) {
        pollfd wait = {listener_, POLLIN, 0};
        poll(&wait, 1, -1);
        int descriptor = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (descriptor < 0 && (errno == EAGAIN || errno == ECONNABORTED))
            continue;
        if (descriptor < 0)
            return;
        connections_++;
        bound_waits(descriptor);
        std::lock_guard<std::mutex> guard(lock_);
        threads_.emplace_back([this, descriptor] {
            Peer peer(descriptor);
            serve_(peer);
        });
    }
}

Upstream::~Upstream()
{
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (auto &thread : threads_)
        thread.join();
    close(listener_);
}

uint16_t unused_port()
{
    uint16_t port;
    close(listen_anywhere(&port));
    return port;
}

Server::Server(Handler handler, http_server_config config, http_upstreams_config upstreams) : handler_(std::move(handler))
{
    char error[200] = "";
    loop_ = loop_create();
    config.context = this;
    config.handle = [](void *context, http_exchange *exchange) { static_cast<Server *>(context)->handler_(exchange); };
    server_ = http_server_create(loop_, &config);
    upstreams_ = http_upstreams_create(loop_, &upstreams, error, sizeof error);
    EXPECT_NE(upstreams_, nullptr) << error;
    listener_ = listen_anywhere(&port_);
    EXPECT_TRUE(http_server_listen(server_, listener_));
    thread_ = std::thread([this] { loop_run(loop_); });
}

Server::~Server()
{
    run([this] { http_server_destroy(server_); });
    run([] {}); // relays that ended with their clients are freed at the end of a turn
    run([this] { http_upstreams_destroy(upstreams_); });
    run([] {});
    loop_stop(loop_);
    thread_.join();
    loop_destroy(loop_);
    close(listener_);
}

void Server::run(std::function<void()> work)
{
    struct Task {
        loop_task task; // first: the callback casts
        std::function<void()> work;
        std::mutex lock;
        std::condition_variable done;
        bool finished = false;
    };
    auto task = std::make_shared<Task>();
    auto *keep = new std::shared_ptr<Task>(task);
    task->task.run = [](loop_task *t) {
        auto *own = reinterpret_cast<Task *>(t);
        own->work();
        std::lock_guard<std::mutex> guard(own->lock);
        own->finished = true;
        own->done.notify_one();
    };
    task->work = std::move(work);
    loop_post(loop_, &task->task);
    std::unique_lock<std::mutex> guard(task->lock);
    task->done.wait(guard, [&] { return task->finished; });
    guard.unlock();
    delete keep;
}

struct http_server_counts Server::counts()
{
    struct http_server_counts counts;
    run([&] { http_server_read_counts(server_, &counts); });
    return counts;
}

struct http_upstreams_counts Server::upstream_counts()
{
    struct http_upstreams_counts counts;
    run([&] { http_upstreams_read_counts(upstreams_, &counts); });
    return counts;
}

bool Server::drain(uint32_t timeout_ms)
{
    auto drained = std::make_shared<std::atomic<bool>>(false);
    run([&] {
        http_server_drain(
            server_, timeout_ms, [](void *context) { *static_cast<std::atomic<bool> *>(context) = true; }, drained.get());
    });
    return eventually([&] { return drained->load(); });
}

bool eventually(const std::function<bool()> &condition)
{
    for (int i = 0; i < wait_seconds * 200; i++) {
        if (condition())
            return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

std::string text_of(http_text text)
{
    return text.data == nullptr ? std::string() : std::string(text.data, text.bytes);
}

void respond(http_exchange *exchange, unsigned status, const std::string &body)
{
    http_response response = {};
    response.status = status;
    response.content_type = "text/plain";
    response.body = body.data();
    response.body_bytes = body.size();
    http_respond(exchange, &response);
}

namespace {

bool plan_next(void *context, http_exchange *exchange, unsigned number, http_relay_target *target)
{
    auto *plan = static_cast<RelayPlan *>(context);
    if (number > plan->urls.size())
        return false;
    auto origin = std::make_unique<http_origin>();
    const std::string &url = plan->urls[number - 1];
    if (!http_origin_parse({url.data(), url.size()}, origin.get()))
        return false;
    target->origin = origin.get();
    {
        std::lock_guard<std::mutex> guard(plan->lock);
        plan->origins.push_back(std::move(origin));
    }
    const http_head *head = http_exchange_head(exchange);
    target->path = http_head_path(head);
    if (head->has_query)
        target->path.bytes += 1 + head->query.bytes;
    if (!plan->path.empty())
        target->path = {plan->path.data(), plan->path.size()};
    target->response_headers = plan->response_headers.data();
    target->response_header_count = plan->response_headers.size();
    target->request_headers = plan->request_headers.data();
    target->request_header_count = plan->request_headers.size();
    return true;
}

void plan_attempted(void *context, http_exchange *, const http_relay_attempt *attempt)
{
    auto *plan = static_cast<RelayPlan *>(context);
    std::lock_guard<std::mutex> guard(plan->lock);
    plan->reported.push_back({attempt->result, attempt->number, attempt->status, attempt->reused_connection, attempt->will_retry});
}

void plan_failed(void *context, http_exchange *exchange, http_relay_result result)
{
    auto *plan = static_cast<RelayPlan *>(context);
    {
        std::lock_guard<std::mutex> guard(plan->lock);
        plan->failed++;
        plan->last_failure = result;
    }
    unsigned status = result == HTTP_RELAY_NO_TARGET                                           ? 503
                      : result == HTTP_RELAY_TIMEOUT || result == HTTP_RELAY_CONNECT_TIMEOUT ? 504
                                                                                               : 502;
    respond(exchange, status, http_relay_result_text(result));
}

bool plan_declines(void *context, http_exchange *, const http_head *head)
{
    return head->status == static_cast<RelayPlan *>(context)->declined_status;
}

const http_relay_calls plan_calls = {plan_next, plan_attempted, plan_failed, nullptr, nullptr};
const http_relay_calls declining_calls = {plan_next, plan_attempted, plan_failed, plan_declines, nullptr};

void begin(Server *server, http_exchange *exchange, RelayPlan *plan, http_text body)
{
    http_relay_options options = {};
    options.calls = plan->declined_status != 0 ? &declining_calls : &plan_calls;
    options.context = plan;
    options.safe_to_repeat = plan->safe_to_repeat;
    options.attempts_max = plan->attempts_max;
    options.first_byte_timeout_ms = plan->first_byte_timeout_ms;
    options.body = body;
    http_relay(server->upstreams(), exchange, &options);
}

struct Collecting {
    Server *server;
    RelayPlan *plan;
};

void collected(void *context, http_exchange *exchange, http_text body)
{
    std::unique_ptr<Collecting> collecting(static_cast<Collecting *>(context));
    begin(collecting->server, exchange, collecting->plan, body);
}

} // namespace

void relay(Server *server, http_exchange *exchange, RelayPlan *plan)
{
    if (plan->collects)
        http_exchange_collect_body(exchange, 1 << 20, collected, new Collecting{server, plan});
    else
        begin(server, exchange, plan, http_text{});
}
