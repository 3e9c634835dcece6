// What every server offers: health and reflection.

#include <map>
#include <set>

#include "tests/conformance/rpc/world.h"

extern "C" {
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
}

class Health : public World
{
  protected:
    struct Answer {
        bool ended = false;
        rpc_status status = RPC_OK;
        int serving = -1;
    };

    Answer check(const char *service)
    {
        Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
        request.service = const_cast<char *>(service);
        Answer answer;
        rpc_channel_call(
            channel, &grpc__health__v1__health__descriptor, "Check", &request.base, nullptr,
            [](rpc_call *, rpc_status status, const char *, const void *response, void *argument) {
                auto *self = static_cast<Answer *>(argument);
                self->ended = true;
                self->status = status;
                if (response != nullptr)
                    self->serving = static_cast<const Grpc__Health__V1__HealthCheckResponse *>(response)->status;
            },
            &answer);
        EXPECT_TRUE(turn_until([&] { return answer.ended; }));
        return answer;
    }

    rpc_call *watch(const char *service, Handlers *handlers)
    {
        rpc_call *call = rpc_channel_stream(channel, &grpc__health__v1__health__descriptor, "Watch", nullptr,
                                            client_events(), argument_of(handlers));
        Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
        request.service = const_cast<char *>(service);
        rpc_call_send(call, &request.base);
        rpc_call_half_close(call);
        return call;
    }
};

constexpr int SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3;

TEST_F(Health, CheckAnswersForTheServerAndForEachService)
{
    start();
    EXPECT_EQ(check("").serving, SERVING);
    EXPECT_EQ(check("grpc.testing.TestService").serving, SERVING);
    EXPECT_EQ(check("grpc.testing.NoService").status, RPC_NOT_FOUND);
    rpc_server_set_serving(server, "grpc.testing.TestService", false);
    EXPECT_EQ(check("grpc.testing.TestService").serving, NOT_SERVING);
    EXPECT_EQ(check("").serving, SERVING);
    rpc_server_set_serving(server, nullptr, false);
    EXPECT_EQ(check("").serving, NOT_SERVING);
}

TEST_F(Health, WatchTellsEachChangeOnceUntilTheServerDrains)
{
    start();
    std::vector<int> seen;
    rpc_status end = RPC_OK;
    Handlers handlers;
    handlers.message = [&](rpc_call *, const void *message) {
        seen.push_back(static_cast<const Grpc__Health__V1__HealthCheckResponse *>(message)->status);
    };
    handlers.ended = [&](rpc_call *, rpc_status status, const std::string &) { end = status; };
    watch("grpc.testing.TestService", &handlers);
    ASSERT_TRUE(turn_until([&] { return seen.size() == 1; }));
    rpc_server_set_serving(server, "grpc.testing.TestService", true);
    rpc_server_set_serving(server, "grpc.testing.TestService", false);
    ASSERT_TRUE(turn_until([&] { return seen.size() == 2; }));
    rpc_server_set_serving(server, "grpc.testing.TestService", true);
    ASSERT_TRUE(turn_until([&] { return seen.size() == 3; }));
    int drained = 0;
    rpc_server_drain(
        server, UINT64_MAX, [](void *argument) { ++*static_cast<int *>(argument); }, &drained);
    ASSERT_TRUE(turn_until([&] { return drained == 1 && end != RPC_OK; }));
    EXPECT_EQ(seen, (std::vector<int>{SERVING, NOT_SERVING, SERVING, NOT_SERVING}));
    EXPECT_EQ(end, RPC_UNAVAILABLE);
}

TEST_F(Health, WatchOfAnUnknownServiceSaysSoAndStays)
{
    start();
    std::vector<int> seen;
    bool ended = false;
    Handlers handlers;
    handlers.message = [&](rpc_call *, const void *message) {
        seen.push_back(static_cast<const Grpc__Health__V1__HealthCheckResponse *>(message)->status);
    };
    handlers.ended = [&](rpc_call *, rpc_status, const std::string &) { ended = true; };
    rpc_call *call = watch("no.Service", &handlers);
    ASSERT_TRUE(turn_until([&] { return !seen.empty(); }));
    turn_for(50);
    EXPECT_FALSE(ended);
    EXPECT_EQ(seen, std::vector<int>{SERVICE_UNKNOWN});
    rpc_call_cancel(call);
    EXPECT_TRUE(turn_until([&] { return ended; }));
}

// --- Reflection ---

using Request = Grpc__Reflection__V1__ServerReflectionRequest;
using Response = Grpc__Reflection__V1__ServerReflectionResponse;

// What came back, in a form that outlives the callback.
struct Found {
    std::set<std::string> services;
    std::vector<std::string> files; // FileDescriptorProtos
    int error = 0;
    std::vector<int32_t> numbers;
    bool answered = false;
};

class Reflection : public World, public testing::WithParamInterface<std::string>
{
  protected:
    Found ask(const std::function<void(Request *)> &fill)
    {
        // The two versions differ in their name only.
        static ProtobufCServiceDescriptor alpha = grpc__reflection__v1__server_reflection__descriptor;
        alpha.name = grpc__reflection__v1alpha__server_reflection__descriptor.name;
        const ProtobufCServiceDescriptor *service =
            GetParam() == "v1" ? &grpc__reflection__v1__server_reflection__descriptor : &alpha;
        Found found;
        rpc_status end = RPC_UNKNOWN;
        Handlers handlers;
        handlers.message = [&](rpc_call *call, const void *message) {
            auto *response = static_cast<const Response *>(message);
            EXPECT_STREQ(response->valid_host, "host");
            found.answered = true;
            if (response->error_response != nullptr &&
                response->message_response_case ==
                    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE)
                found.error = response->error_response->error_code;
            if (response->message_response_case ==
                GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE)
                for (size_t i = 0; i < response->list_services_response->n_service; i++)
                    found.services.insert(response->list_services_response->service[i]->name);
            if (response->message_response_case ==
                GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE)
                for (size_t i = 0; i < response->file_descriptor_response->n_file_descriptor_proto; i++) {
                    auto &file = response->file_descriptor_response->file_descriptor_proto[i];
                    found.files.emplace_back(reinterpret_cast<char *>(file.data), file.len);
                }
            rpc_call_half_close(call);
        };
        handlers.ended = [&](rpc_call *, rpc_status status, const std::string &) { end = status; };
        rpc_call *call = rpc_channel_stream(channel, service, "ServerReflectionInfo", nullptr, client_events(),
                                            argument_of(&handlers));
        Request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
        request.host = const_cast<char *>("host");
        fill(&request);
        rpc_call_send(call, &request.base);
        EXPECT_TRUE(turn_until([&] { return end != RPC_UNKNOWN; }));
        EXPECT_EQ(end, RPC_OK);
        EXPECT_TRUE(found.answered);
        return found;
    }

    Found by_symbol(const char *symbol)
    {
        return ask([&](Request *request) {
            request->message_request_case =
                GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
            request->file_containing_symbol = const_cast<char *>(symbol);
        });
    }

    Found by_name(const char *name)
    {
        return ask([&](Request *request) {
            request->message_request_case =
                GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME;
            request->file_by_filename = const_cast<char *>(name);
        });
    }

    // A FileDescriptorProto starts with its name.
    static bool is_file(const std::string &file, const std::string &name)
    {
        return file.compare(0, 2 + name.size(), std::string("\n") + static_cast<char>(name.size()) + name) == 0;
    }
};

TEST_P(Reflection, ListsServices)
{
    start();
    Found found = ask([](Request *request) {
        request->message_request_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
        request->list_services = const_cast<char *>("*");
    });
    EXPECT_EQ(found.services,
              (std::set<std::string>{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                     "grpc.reflection.v1alpha.ServerReflection", "grpc.testing.TestService"}));
}

TEST_P(Reflection, FindsTheFileOfASymbol)
{
    start();
    for (const char *symbol : {"grpc.testing.TestService", "grpc.testing.TestService.UnaryCall", "grpc.testing.Empty",
                               "grpc.testing.SimpleRequest.payload", "grpc.testing.PayloadType",
                               "grpc.testing.COMPRESSABLE", "grpc.testing.UnimplementedService"}) {
        Found found = by_symbol(symbol);
        ASSERT_EQ(found.files.size(), 1u) << symbol;
        EXPECT_TRUE(is_file(found.files[0], "grpc/testing/test.proto")) << symbol;
    }
    Found nested = by_symbol("grpc.health.v1.HealthCheckResponse.ServingStatus");
    ASSERT_EQ(nested.files.size(), 1u);
    EXPECT_TRUE(is_file(nested.files[0], "grpc/health/v1/health.proto"));
}

TEST_P(Reflection, GivesAFileTogetherWithThoseThatItImports)
{
    start();
    Found found = by_symbol("muster.v1.RegistryService.RegisterWorker");
    ASSERT_EQ(found.files.size(), 2u);
    EXPECT_TRUE(is_file(found.files[0], "muster/v1/registry.proto"));
    EXPECT_TRUE(is_file(found.files[1], "muster/v1/worker.proto"));
}

TEST_P(Reflection, SaysNotFoundForAnUnknownSymbol)
{
    start();
    for (const char *symbol :
         {"", ".", "grpc", "grpc.testing", "grpc.testing.", "grpc.testing.Empt", "grpc.testing.Empty.",
          "grpc.testing.TestService.NoCall", "grpc.testing.TestService.UnaryCall.x", "other.testing.Empty"})
        EXPECT_EQ(by_symbol(symbol).error, RPC_NOT_FOUND) << symbol;
}

TEST_P(Reflection, FindsAFileByItsName)
{
    start();
    Found found = by_name("grpc/testing/test.proto");
    ASSERT_EQ(found.files.size(), 1u);
    EXPECT_TRUE(is_file(found.files[0], "grpc/testing/test.proto"));
    EXPECT_EQ(by_name("no/such.proto").error, RPC_NOT_FOUND);
}

TEST_P(Reflection, AnswersARequestForNothingWithAnError)
{
    start();
    EXPECT_EQ(ask([](Request *) {}).error, RPC_INVALID_ARGUMENT);
}

TEST_P(Reflection, KnowsThatThereAreNoExtensions)
{
    start();
    auto numbers = [&](const char *type) {
        return ask([&](Request *request) {
            request->message_request_case =
                GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE;
            request->all_extension_numbers_of_type = const_cast<char *>(type);
        });
    };
    EXPECT_EQ(numbers("grpc.testing.Empty").error, 0);
    EXPECT_EQ(numbers("grpc.testing.NoType").error, RPC_NOT_FOUND);
    Grpc__Reflection__V1__ExtensionRequest extension = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
    extension.containing_type = const_cast<char *>("grpc.testing.Empty");
    extension.extension_number = 1000;
    Found found = ask([&](Request *request) {
        request->message_request_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION;
        request->file_containing_extension = &extension;
    });
    EXPECT_EQ(found.error, RPC_NOT_FOUND);
}

INSTANTIATE_TEST_SUITE_P(Of, Reflection, testing::Values("v1", "v1alpha"),
                         [](const auto &param) { return param.param; });
