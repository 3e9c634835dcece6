// A client that waits for answers; see client.h.

#include "tests/integration/registry/client.h"

extern "C" {
#include "common/clock.h"
#include "grpc/health/v1/health.pb-c.h"
}

namespace
{

constexpr uint64_t call_timeout_ms = 30000;
constexpr uint64_t wait_timeout_ms = 60000;

char *text(const std::string &s)
{
    return const_cast<char *>(s.c_str());
}

template <typename Message> struct Pending {
    std::function<void(const Answer<Message> &)> done;
};

// A copy of a message that outlives the callback that it came in.
template <typename Message> std::shared_ptr<Message> copy(const Message *message)
{
    const ProtobufCMessage *base = reinterpret_cast<const ProtobufCMessage *>(message);
    std::vector<uint8_t> packed(protobuf_c_message_get_packed_size(base) + 1);
    size_t bytes = protobuf_c_message_pack(base, packed.data());
    ProtobufCMessage *unpacked = protobuf_c_message_unpack(base->descriptor, nullptr, bytes, packed.data());
    return std::shared_ptr<Message>(reinterpret_cast<Message *>(unpacked), [](Message *m) {
        protobuf_c_message_free_unpacked(reinterpret_cast<ProtobufCMessage *>(m), nullptr);
    });
}

template <typename Message>
void finished(struct rpc_call *, enum rpc_status status, const char *reason, const void *response, void *argument)
{
    std::unique_ptr<Pending<Message>> pending(static_cast<Pending<Message> *>(argument));
    Answer<Message> answer;
    answer.status = status;
    answer.text = reason;
    if (response != nullptr)
        answer.message = copy(static_cast<const Message *>(response));
    pending->done(answer);
}

} // namespace

Client::Client(const std::string &address)
    : loop(rpc_loop_create()), channel(rpc_channel_create(loop, address.c_str(), nullptr))
{
}

Client::~Client()
{
    rpc_channel_destroy(channel);
    rpc_loop_destroy(loop);
}

bool Client::wait(const std::function<bool()> &condition)
{
    uint64_t end = clock_monotonic_ms() + wait_timeout_ms;
    while (!condition()) {
        if (clock_monotonic_ms() > end)
            return false;
        rpc_loop_turn(loop, 20);
    }
    return true;
}

template <typename Message>
void Client::start(const ProtobufCServiceDescriptor *service, const char *method, const ProtobufCMessage *request,
                   std::function<void(const Answer<Message> &)> done)
{
    struct rpc_call_options options = {};
    options.timeout_ms = call_timeout_ms;
    rpc_channel_call(channel, service, method, request, &options, finished<Message>,
                     new Pending<Message>{std::move(done)});
}

template <typename Message>
Answer<Message> Client::call(const ProtobufCServiceDescriptor *service, const char *method,
                             const ProtobufCMessage *request)
{
    Answer<Message> answer;
    bool done = false;
    start<Message>(service, method, request, [&](const Answer<Message> &a) {
        answer = a;
        done = true;
    });
    wait([&] { return done; });
    return answer;
}

// The message of a registration, which must outlive it.
struct Spec {
    explicit Spec(const Client::Registration &registration) : services(registration.services.size())
    {
        muster__v1__worker_spec__init(&message);
        muster__v1__capabilities__init(&capabilities);
        for (size_t i = 0; i < services.size(); i++) {
            muster__v1__announced_service__init(&services[i]);
            services[i].name = text(registration.services[i]);
            pointers.push_back(&services[i]);
        }
        message.worker_id = text(registration.id);
        message.tunnel_url = text(registration.url);
        message.worker_type = registration.type;
        message.n_services = pointers.size();
        message.services = pointers.data();
        capabilities.json = text(registration.capabilities_json);
        message.capabilities = &capabilities;
    }
    Spec(const Spec &) = delete;

    Muster__V1__WorkerSpec message;
    Muster__V1__Capabilities capabilities;
    std::vector<Muster__V1__AnnouncedService> services;
    std::vector<Muster__V1__AnnouncedService *> pointers;
};

void Client::start_registration(const Registration &registration, std::function<void(const Registered &)> done)
{
    Muster__V1__RegisterWorkerRequest request = MUSTER__V1__REGISTER_WORKER_REQUEST__INIT;
    Spec spec(registration);
    request.spec = &spec.message;
    start<Muster__V1__RegisterWorkerResponse>(&muster__v1__registry_service__descriptor, "RegisterWorker",
                                              &request.base, std::move(done));
}

Answer<Muster__V1__RegisterWorkersResponse> Client::register_workers(const std::vector<Registration> &registrations,
                                                                     bool without_tokens)
{
    Muster__V1__RegisterWorkersRequest request = MUSTER__V1__REGISTER_WORKERS_REQUEST__INIT;
    std::vector<std::unique_ptr<Spec>> specs;
    std::vector<Muster__V1__WorkerSpec *> pointers;
    for (const Registration &registration : registrations) {
        specs.push_back(std::make_unique<Spec>(registration));
        pointers.push_back(&specs.back()->message);
    }
    request.n_specs = pointers.size();
    request.specs = pointers.data();
    request.without_tokens = without_tokens;
    return call<Muster__V1__RegisterWorkersResponse>(&muster__v1__registry_service__descriptor, "RegisterWorkers",
                                                     &request.base);
}

Client::Registered Client::register_worker(const Registration &registration)
{
    Registered answer;
    bool done = false;
    start_registration(registration, [&](const Registered &a) {
        answer = a;
        done = true;
    });
    wait([&] { return done; });
    return answer;
}

void Client::start_unregistration(const std::string &id,
                                  std::function<void(const Answer<Muster__V1__UnregisterWorkerResponse> &)> done)
{
    Muster__V1__UnregisterWorkerRequest request = MUSTER__V1__UNREGISTER_WORKER_REQUEST__INIT;
    request.worker_id = text(id);
    start<Muster__V1__UnregisterWorkerResponse>(&muster__v1__registry_service__descriptor, "UnregisterWorker",
                                                &request.base, std::move(done));
}

Answer<Muster__V1__UnregisterWorkerResponse> Client::unregister_worker(const std::string &id, uint64_t incarnation)
{
    Muster__V1__UnregisterWorkerRequest request = MUSTER__V1__UNREGISTER_WORKER_REQUEST__INIT;
    request.worker_id = text(id);
    request.incarnation = incarnation;
    return call<Muster__V1__UnregisterWorkerResponse>(&muster__v1__registry_service__descriptor, "UnregisterWorker",
                                                      &request.base);
}

Answer<Muster__V1__GetWorkersResponse> Client::get_workers(const std::vector<std::string> &ids)
{
    Muster__V1__GetWorkersRequest request = MUSTER__V1__GET_WORKERS_REQUEST__INIT;
    std::vector<char *> texts;
    for (const auto &id : ids)
        texts.push_back(text(id));
    request.n_worker_ids = texts.size();
    request.worker_ids = texts.data();
    return call<Muster__V1__GetWorkersResponse>(&muster__v1__registry_service__descriptor, "GetWorkers", &request.base);
}

Answer<Muster__V1__ListWorkersResponse> Client::list_workers(uint32_t page_size, const std::string &token)
{
    Muster__V1__ListWorkersRequest request = MUSTER__V1__LIST_WORKERS_REQUEST__INIT;
    request.page_size = page_size;
    request.page_token = text(token);
    return call<Muster__V1__ListWorkersResponse>(&muster__v1__registry_service__descriptor, "ListWorkers",
                                                 &request.base);
}

Answer<Muster__V1__ReportLivenessResponse> Client::report(const std::string &id, uint64_t incarnation,
                                                          Muster__V1__WorkerStatus status, const std::string &reason)
{
    Muster__V1__LivenessChange change = MUSTER__V1__LIVENESS_CHANGE__INIT;
    change.worker_id = text(id);
    change.incarnation = incarnation;
    change.status = status;
    change.reason = text(reason);
    return report({&change});
}

Answer<Muster__V1__ReportLivenessResponse> Client::report(std::vector<Muster__V1__LivenessChange *> changes)
{
    Muster__V1__ReportLivenessRequest request = MUSTER__V1__REPORT_LIVENESS_REQUEST__INIT;
    request.n_changes = changes.size();
    request.changes = changes.data();
    return call<Muster__V1__ReportLivenessResponse>(&muster__v1__registry_service__descriptor, "ReportLiveness",
                                                    &request.base);
}

Answer<Muster__V1__SetDrainingResponse> Client::set_draining(const std::string &id, bool draining)
{
    Muster__V1__SetDrainingRequest request = MUSTER__V1__SET_DRAINING_REQUEST__INIT;
    request.worker_id = text(id);
    request.draining = draining;
    return call<Muster__V1__SetDrainingResponse>(&muster__v1__registry_service__descriptor, "SetDraining",
                                                 &request.base);
}

Answer<Muster__V1__AssignResponse> Client::assign(const std::string &id, Muster__V1__WorkerType type,
                                                  bool without_reasons)
{
    Muster__V1__AssignRequest request = MUSTER__V1__ASSIGN_REQUEST__INIT;
    Muster__V1__AssignCandidate candidate = MUSTER__V1__ASSIGN_CANDIDATE__INIT, *candidates = &candidate;
    candidate.worker_id = text(id);
    candidate.incarnation = 1;
    candidate.type = type;
    request.without_reasons = without_reasons;
    request.n_candidates = 1;
    request.candidates = &candidates;
    return call<Muster__V1__AssignResponse>(&muster__v1__assigner_service__descriptor, "Assign", &request.base);
}

Answer<Muster__V1__GapsResponse> Client::gaps()
{
    Muster__V1__GapsRequest request = MUSTER__V1__GAPS_REQUEST__INIT;
    return call<Muster__V1__GapsResponse>(&muster__v1__assigner_service__descriptor, "Gaps", &request.base);
}

Answer<Muster__V1__CatalogResponse> Client::catalog()
{
    Muster__V1__CatalogRequest request = MUSTER__V1__CATALOG_REQUEST__INIT;
    return call<Muster__V1__CatalogResponse>(&muster__v1__assigner_service__descriptor, "Catalog", &request.base);
}

int Client::health(const std::string &service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = text(service);
    auto answer =
        call<Grpc__Health__V1__HealthCheckResponse>(&grpc__health__v1__health__descriptor, "Check", &request.base);
    return answer.ok() ? static_cast<int>(answer->status) : 0;
}

std::map<std::string, std::shared_ptr<Muster__V1__Worker>> Client::all_workers(uint32_t page_size)
{
    std::map<std::string, std::shared_ptr<Muster__V1__Worker>> workers;
    std::string token;
    do {
        auto page = list_workers(page_size, token);
        if (!page.ok())
            return {};
        for (size_t i = 0; i < page->n_workers; i++)
            workers[page->workers[i]->spec->worker_id] = copy(page->workers[i]);
        token = page->next_page_token;
    } while (!token.empty());
    return workers;
}

namespace
{

void watch_message(struct rpc_call *call, const void *message)
{
    static_cast<Watch *>(rpc_call_context(call))->take(static_cast<const Muster__V1__WatchWorkersResponse *>(message));
}

void watch_ended(struct rpc_call *call, enum rpc_status, const char *)
{
    static_cast<Watch *>(rpc_call_context(call))->ended = true;
}

} // namespace

Watch::Watch(Client &owner, uint64_t after_revision) : client(owner)
{
    Muster__V1__WatchWorkersRequest request = MUSTER__V1__WATCH_WORKERS_REQUEST__INIT;
    struct rpc_events handlers = {};
    handlers.message = watch_message;
    handlers.ended = watch_ended;
    request.after_revision = after_revision;
    call = rpc_channel_stream(client.channel, &muster__v1__registry_service__descriptor, "WatchWorkers", nullptr,
                              &handlers, this);
    rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

Watch::~Watch()
{
    if (!ended)
        rpc_call_cancel(call);
    client.wait([this] { return ended; });
}

void Watch::take(const Muster__V1__WatchWorkersResponse *message)
{
    messages++;
    if (message->store != nullptr)
        store_failure = message->store->failure;
    if (message->snapshot_begin) {
        snapshots++;
        workers.clear();
    }
    for (size_t i = 0; i < message->n_events; i++) {
        const Muster__V1__WorkerEvent *event = message->events[i];
        events++;
        if (event->type == MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT)
            workers[event->worker_id] = {event->incarnation, static_cast<int>(event->worker->status),
                                         event->worker->draining != 0};
        else if (event->type == MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS)
            workers[event->worker_id].status = static_cast<int>(event->status);
        else
            workers.erase(event->worker_id);
    }
    if (message->revision != 0)
        revision = message->revision;
}
