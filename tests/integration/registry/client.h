// A client of the registry and the assigner that waits for answers, for tests.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "common/rpc/rpc.h"
#include "muster/v1/assigner.pb-c.h"
#include "muster/v1/registry.pb-c.h"
}

// An answer: a status, and with RPC_OK a message that goes with the object.
template <typename Message> struct Answer {
    enum rpc_status status = RPC_UNKNOWN;
    std::string text;
    std::shared_ptr<Message> message;
    bool ok() const
    {
        return status == RPC_OK;
    }
    const Message *operator->() const
    {
        return message.get();
    }
};

class Client
{
  public:
    explicit Client(const std::string &address);
    ~Client();
    Client(const Client &) = delete;
    Client &operator=(const Client &) = delete;

    // A registration like any worker's; `services` are announced.
    struct Registration {
        std::string id;
        std::string url = "http://192.0.2.7:8070";
        std::vector<std::string> services = {};
        Muster__V1__WorkerType type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED;
        std::string capabilities_json = "";
    };
    using Registered = Answer<Muster__V1__RegisterWorkerResponse>;
    Registered register_worker(const Registration &registration);
    // Does not wait: `done` is called while some function of this client waits.
    void start_registration(const Registration &registration, std::function<void(const Registered &)> done);

    // Many in one call.
    Answer<Muster__V1__RegisterWorkersResponse> register_workers(const std::vector<Registration> &registrations,
                                                                 bool without_tokens = false);

    Answer<Muster__V1__UnregisterWorkerResponse> unregister_worker(const std::string &id, uint64_t incarnation = 0);
    void start_unregistration(const std::string &id,
                              std::function<void(const Answer<Muster__V1__UnregisterWorkerResponse> &)> done);
    Answer<Muster__V1__GetWorkersResponse> get_workers(const std::vector<std::string> &ids);
    Answer<Muster__V1__ListWorkersResponse> list_workers(uint32_t page_size, const std::string &token);
    Answer<Muster__V1__ReportLivenessResponse> report(const std::string &id, uint64_t incarnation,
                                                      Muster__V1__WorkerStatus status, const std::string &reason);
    Answer<Muster__V1__ReportLivenessResponse> report(std::vector<Muster__V1__LivenessChange *> changes);
    Answer<Muster__V1__SetDrainingResponse> set_draining(const std::string &id, bool draining);
    Answer<Muster__V1__AssignResponse> assign(const std::string &id, Muster__V1__WorkerType type,
                                              bool without_reasons = false);
    Answer<Muster__V1__GapsResponse> gaps();
    Answer<Muster__V1__CatalogResponse> catalog();

    // What grpc.health.v1 says: 1 SERVING, 2 NOT_SERVING; 0: no answer.
    int health(const std::string &service);

    // All workers, page by page.
    std::map<std::string, std::shared_ptr<Muster__V1__Worker>> all_workers(uint32_t page_size = 0);

    // Runs the loop until the condition holds, for 60 s at most; whether it does.
    bool wait(const std::function<bool()> &condition);

    struct rpc_loop *loop;
    struct rpc_channel *channel;

  private:
    template <typename Message>
    void start(const ProtobufCServiceDescriptor *service, const char *method, const ProtobufCMessage *request,
               std::function<void(const Answer<Message> &)> done);
    template <typename Message>
    Answer<Message> call(const ProtobufCServiceDescriptor *service, const char *method,
                         const ProtobufCMessage *request);
};

// A watch of the roll, which keeps a replica of it.
class Watch
{
  public:
    Watch(Client &owner, uint64_t after_revision);
    ~Watch();
    Watch(const Watch &) = delete;
    Watch &operator=(const Watch &) = delete;

    void take(const Muster__V1__WatchWorkersResponse *message);

    struct Worker {
        uint64_t incarnation;
        int status;
        bool draining;
    };
    std::map<std::string, Worker> workers;
    uint64_t revision = 0;
    std::string store_failure; // as it was last told
    size_t snapshots = 0, messages = 0, events = 0;
    bool ended = false;
    struct rpc_call *call;

  private:
    Client &client;
};
