#include "tests/integration/health/fleet.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

std::string free_address()
{
    int socket_descriptor = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {};
    socklen_t bytes = sizeof(address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (socket_descriptor < 0 || bind(socket_descriptor, (struct sockaddr *)&address, bytes) != 0 ||
        getsockname(socket_descriptor, (struct sockaddr *)&address, &bytes) != 0)
        abort();
    close(socket_descriptor);
    return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

static std::string port_of(const std::string &address)
{
    return address.substr(address.rfind(':') + 1);
}

// --- Streams of heartbeats ---

struct StreamEvents {
    static void message(struct rpc_call *call, const void *message)
    {
        auto *self = static_cast<Stream *>(rpc_call_context(call));
        const auto *response = static_cast<const Muster__V1__HeartbeatResponse *>(message);
        self->acknowledged = response->acknowledged_sequence;
        for (size_t i = 0; i < response->n_commands; i++)
            self->commands.push_back(
                {response->commands[i]->worker_id, response->commands[i]->type, response->commands[i]->sequence});
    }
    static void ended(struct rpc_call *call, enum rpc_status status, const char *text)
    {
        auto *self = static_cast<Stream *>(rpc_call_context(call));
        self->ended = true;
        self->status = status;
        self->text = text;
        self->call = nullptr;
    }
};

Stream::Stream(Client &owner, const std::string &address) : client(owner)
{
    struct rpc_events events = {};
    events.message = StreamEvents::message;
    events.ended = StreamEvents::ended;
    struct rpc_call_options options = {};
    options.wait_for_ready = true;
    channel = rpc_channel_create(client.loop, address.c_str(), nullptr);
    call = rpc_channel_stream(channel, &muster__v1__health_service__descriptor, "Heartbeat", &options, &events, this);
}

Stream::~Stream()
{
    break_now();
    client.wait([this] { return ended; });
    rpc_channel_destroy(channel);
}

void Stream::send(const std::vector<Beat> &beats, bool relayed, uint64_t number)
{
    std::vector<Muster__V1__Heartbeat> heartbeats(beats.size());
    std::vector<Muster__V1__Load> loads(beats.size());
    std::vector<Muster__V1__Heartbeat *> pointers;
    for (size_t i = 0; i < beats.size(); i++) {
        muster__v1__heartbeat__init(&heartbeats[i]);
        muster__v1__load__init(&loads[i]);
        heartbeats[i].worker_id = const_cast<char *>(beats[i].id.c_str());
        heartbeats[i].incarnation = beats[i].incarnation;
        heartbeats[i].status = beats[i].status;
        loads[i].current_load = beats[i].load;
        if (beats[i].load >= 0)
            heartbeats[i].load = &loads[i];
        pointers.push_back(&heartbeats[i]);
    }
    Muster__V1__HeartbeatRequest request = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
    request.n_heartbeats = pointers.size();
    request.heartbeats = pointers.data();
    request.relayed = relayed;
    request.sequence = number != 0 ? number : ++sequence;
    if (call != nullptr)
        rpc_call_send(call, &request.base);
}

bool Stream::beat(const std::string &id, uint64_t incarnation, double load)
{
    send({{id, incarnation, load}});
    return client.wait([this] { return acknowledged >= sequence || ended; }) && !ended;
}

void Stream::break_now()
{
    if (call != nullptr)
        rpc_call_cancel(call);
}

void Stream::half_close()
{
    if (call != nullptr)
        rpc_call_half_close(call);
}

// --- Routes ---

struct RoutesEvents {
    static void started(struct rpc_call *call)
    {
        auto request = static_cast<Routes *>(rpc_call_context(call))->table.Position();
        rpc_call_send(call, &request.base);
        rpc_call_half_close(call);
    }
    static void message(struct rpc_call *call, const void *message)
    {
        static_cast<Routes *>(rpc_call_context(call))
            ->table.Take(*static_cast<const Muster__V1__WatchRoutesResponse *>(message));
    }
};

Routes::Routes(Client &owner, const std::string &address)
{
    channel = rpc_channel_create(owner.loop, address.c_str(), nullptr);
    resume();
}

Routes::~Routes()
{
    rpc_kept_stream_stop(stream);
    rpc_channel_destroy(channel);
}

void Routes::break_off()
{
    rpc_kept_stream_stop(stream);
    stream = nullptr;
}

void Routes::resume()
{
    struct rpc_events events = {};
    events.started = RoutesEvents::started;
    events.message = RoutesEvents::message;
    stream =
        rpc_kept_stream_start(channel, &muster__v1__router_service__descriptor, "WatchRoutes", nullptr, &events, this);
}

// --- The processes ---

Fleet::Fleet(const std::vector<std::string> &health_flags)
    : registry_address(free_address()), assigner_address(free_address()), health_address(free_address()),
      router_address(free_address()), flags(health_flags), to_health(nullptr, rpc_channel_destroy),
      to_router(nullptr, rpc_channel_destroy)
{
    assigner =
        std::make_unique<Process>(assigner_program, std::vector<std::string>{"--port=" + port_of(assigner_address),
                                                                             "--registry-address=" + registry_address});
    start_registry();
    start_health();
    start_router();
    if (assigner->ready().empty())
        abort();
    client = std::make_unique<Client>(registry_address);
    to_health.reset(rpc_channel_create(client->loop, health_address.c_str(), nullptr));
    to_router.reset(rpc_channel_create(client->loop, router_address.c_str(), nullptr));
}

void Fleet::start_registry()
{
    registry.reset();
    registry =
        std::make_unique<Process>(registry_program, std::vector<std::string>{"--port=" + port_of(registry_address),
                                                                             "--data-dir=" + directory.path,
                                                                             "--assigner-address=" + assigner_address});
    if (registry->ready().empty())
        abort();
}

void Fleet::start_health()
{
    std::vector<std::string> arguments = {"--port=" + port_of(health_address),
                                          "--registry-address=" + registry_address};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    health.reset();
    health = std::make_unique<Process>("services/health/muster-health", arguments);
    if (health->ready().empty())
        abort();
}

void Fleet::start_router()
{
    router.reset();
    router = std::make_unique<Process>(
        "services/router/muster-router",
        std::vector<std::string>{"--port=" + port_of(router_address), "--registry-address=" + registry_address,
                                 "--assigner-address=" + assigner_address, "--health-address=" + health_address});
    if (router->ready().empty())
        abort();
}

// --- Calls ---

namespace
{

struct Waiting {
    bool done = false;
    enum rpc_status status = RPC_UNKNOWN;
    std::vector<uint8_t> bytes;
};

void got(struct rpc_call *, enum rpc_status status, const char *, const void *response, void *argument)
{
    auto *waiting = static_cast<Waiting *>(argument);
    waiting->done = true;
    waiting->status = status;
    if (response != nullptr) {
        const auto *message = static_cast<const ProtobufCMessage *>(response);
        waiting->bytes.resize(protobuf_c_message_get_packed_size(message));
        protobuf_c_message_pack(message, waiting->bytes.data());
    }
}

// The message of the answer is a copy, since the answer's own is valid in its callback only.
template <typename Message>
Answer<Message> ask(Client &client, struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                    const char *method, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type)
{
    Waiting waiting;
    struct rpc_call_options options = {};
    options.timeout_ms = 30000;
    options.wait_for_ready = true;
    rpc_channel_call(channel, service, method, request, &options, got, &waiting);
    client.wait([&] { return waiting.done; });
    Answer<Message> answer;
    answer.status = waiting.status;
    if (waiting.status == RPC_OK)
        answer.message = std::shared_ptr<Message>(
            reinterpret_cast<Message *>(
                protobuf_c_message_unpack(type, nullptr, waiting.bytes.size(), waiting.bytes.data())),
            [](Message *message) {
                protobuf_c_message_free_unpacked(reinterpret_cast<ProtobufCMessage *>(message), nullptr);
            });
    return answer;
}

} // namespace

uint64_t Fleet::add(const std::string &id, const std::string &service)
{
    Client::Registration registration;
    registration.id = id;
    registration.services = {service};
    auto answer = client->register_worker(registration);
    return answer.ok() ? answer->worker->incarnation : 0;
}

std::string Fleet::explain(const std::string &service, const std::string &worker_id)
{
    Muster__V1__ExplainRequest request = MUSTER__V1__EXPLAIN_REQUEST__INIT;
    request.service = const_cast<char *>(service.c_str());
    auto answer = ask<Muster__V1__ExplainResponse>(*client, to_router.get(), &muster__v1__router_service__descriptor,
                                                   "Explain", &request.base, &muster__v1__explain_response__descriptor);
    for (size_t i = 0; answer.ok() && i < answer->n_candidates; i++) {
        if (answer->candidates[i]->worker_id == worker_id)
            return answer->candidates[i]->reason;
    }
    return "";
}

Answer<Muster__V1__ReportHeartbeatsResponse> Fleet::report(const std::string &id, uint64_t incarnation)
{
    Muster__V1__Heartbeat heartbeat = MUSTER__V1__HEARTBEAT__INIT;
    Muster__V1__Heartbeat *pointer = &heartbeat;
    heartbeat.worker_id = const_cast<char *>(id.c_str());
    heartbeat.incarnation = incarnation;
    Muster__V1__ReportHeartbeatsRequest request = MUSTER__V1__REPORT_HEARTBEATS_REQUEST__INIT;
    request.n_heartbeats = 1;
    request.heartbeats = &pointer;
    return ask<Muster__V1__ReportHeartbeatsResponse>(*client, to_health.get(), &muster__v1__health_service__descriptor,
                                                     "ReportHeartbeats", &request.base,
                                                     &muster__v1__report_heartbeats_response__descriptor);
}

Answer<Muster__V1__RouteResponse> Fleet::route(const std::string &service)
{
    Muster__V1__RouteRequest request = MUSTER__V1__ROUTE_REQUEST__INIT;
    request.service = const_cast<char *>(service.c_str());
    return ask<Muster__V1__RouteResponse>(*client, to_router.get(), &muster__v1__router_service__descriptor, "Route",
                                          &request.base, &muster__v1__route_response__descriptor);
}

bool Fleet::outcome(const std::string &service, const std::string &worker_id, uint64_t failures)
{
    Muster__V1__Outcome outcome = MUSTER__V1__OUTCOME__INIT;
    Muster__V1__Outcome *pointer = &outcome;
    outcome.service = const_cast<char *>(service.c_str());
    outcome.worker_id = const_cast<char *>(worker_id.c_str());
    outcome.connection_failures = failures;
    Muster__V1__ReportOutcomesRequest request = MUSTER__V1__REPORT_OUTCOMES_REQUEST__INIT;
    request.n_outcomes = 1;
    request.outcomes = &pointer;
    return ask<Muster__V1__ReportOutcomesResponse>(*client, to_router.get(), &muster__v1__router_service__descriptor,
                                                   "ReportOutcomes", &request.base,
                                                   &muster__v1__report_outcomes_response__descriptor)
        .ok();
}

int Fleet::status(const std::string &id)
{
    auto answer = client->get_workers({id});
    return answer.ok() && answer->n_workers == 1 ? static_cast<int>(answer->workers[0]->status) : 0;
}

bool Fleet::on_roll(const std::string &id)
{
    return status(id) != 0;
}
