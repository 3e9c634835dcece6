// Dispatch by the table of routes.

extern "C" {
#include "gateway/api.h"
}

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

namespace
{

api_match find(const std::string &method, const std::string &path, api_role role = API_COORDINATOR)
{
    api_match match;
    api_find(role, {method.data(), method.size()}, {path.data(), path.size()}, &match);
    return match;
}

std::string text(http_text text)
{
    return std::string(text.data, text.bytes);
}

TEST(Api, EveryRouteIsInItsPlaceAndComplete)
{
    std::set<std::string> labels;
    for (size_t i = 0; i < API_OPERATION_COUNT; i++) {
        const api_route &route = api_routes()[i];
        EXPECT_EQ(route.operation, (int)i);
        ASSERT_NE(route.path, nullptr);
        ASSERT_NE(route.method, nullptr);
        ASSERT_NE(route.help, nullptr);
        ASSERT_NE(route.label, nullptr);
        EXPECT_TRUE(route.reply != nullptr || route.reply_type != nullptr ||
                    (route.flags & (API_RELAYED | API_WEBSOCKET)) != 0)
            << route.path << " answers something";
        EXPECT_EQ(route.path[0], '/');
        EXPECT_GT(strlen(route.help), 10u);
        EXPECT_TRUE(labels.insert(route.label).second) << route.label;
        ASSERT_TRUE(api_has(API_COORDINATOR, &route) || api_has(API_EDGE_ROUTER, &route) ||
                    api_has(API_LOAD_BALANCER, &route))
            << "somebody has it";
        for (api_role role : {API_COORDINATOR, API_EDGE_ROUTER, API_EDGE_PROXY})
            EXPECT_EQ(find(strcmp(route.method, "*") == 0 ? "PATCH" : route.method, route.path, role).route,
                      api_has(role, &route) ? &route : nullptr)
                << "a route finds its own pattern";
    }
}

TEST(Api, TakesParametersOut)
{
    std::string path = "/api/worker/unregister/gpu%201";
    api_match match;
    api_find(API_COORDINATOR, http_text{"DELETE", 6}, {path.data(), path.size()}, &match);
    ASSERT_NE(match.route, nullptr);
    EXPECT_EQ(match.route->operation, API_UNREGISTER);
    EXPECT_EQ(text(match.parameters[0]), "gpu%201");
    EXPECT_EQ(find("POST", "/api/admin/workers/x/drain").route->operation, API_DRAIN);
    EXPECT_EQ(find("POST", "/api/admin/workers/x/undrain").route->operation, API_UNDRAIN);
}

TEST(Api, RelaysKeepTheRest)
{
    const auto rest = [](const std::string &path) {
        api_match match;
        api_find(API_COORDINATOR, http_text{"POST", 4}, {path.data(), path.size()}, &match);
        return match.route == nullptr ? "none" : text(match.parameters[0]) + " " + text(match.rest);
    };
    EXPECT_EQ(rest("/api/service/ocr"), "ocr ");
    EXPECT_EQ(rest("/api/service/ocr/"), "ocr /");
    EXPECT_EQ(rest("/api/service/ocr/a/b"), "ocr /a/b");
    EXPECT_EQ(rest("/api/service/"), "none");
    EXPECT_EQ(rest("/api/service"), "none");
    EXPECT_EQ(rest("/service/ocr/a"), "ocr /a");
    EXPECT_EQ(rest("/service/ocr/"), "ocr /");
    EXPECT_EQ(rest("/service/ocr"), "none");
}

TEST(Api, NotFound)
{
    for (const char *path :
         {"*", "/api", "/api/worker", "/api/worker/registe", "/api/worker/register/", "/api/worker/registerx",
          "/api/worker/unregister/", "/api/worker/unregister/a/b", "//health"}) {
        api_match match = find("GET", path);
        EXPECT_EQ(match.route, nullptr) << path;
        EXPECT_FALSE(match.path_exists) << path;
    }
}

TEST(Api, OtherMethodsAreNamed)
{
    api_match match = find("GET", "/api/worker/register");
    EXPECT_EQ(match.route, nullptr);
    EXPECT_TRUE(match.path_exists);
    EXPECT_STREQ(match.allow, "POST, OPTIONS");
    EXPECT_STREQ(find("POST", "/health").allow, "GET, HEAD, OPTIONS");
    EXPECT_NE(find("HEAD", "/health").route, nullptr);
    EXPECT_EQ(find("get", "/health").route, nullptr) << "methods are case-sensitive";
    EXPECT_NE(find("BREW", "/api/service/coffee").route, nullptr);
}

TEST(Api, AnEdgeRouterForwardsWhatTheContractSaysAndAnswersTheLists)
{
    for (const char *path : {"/api/service/ocr", "/service/ocr/x", "/api/worker/register", "/api/worker/heartbeat"})
        EXPECT_EQ(find("POST", path, API_EDGE_ROUTER).route->edge, API_EDGE_FORWARDED) << path;
    for (const char *path : {"/api/worker/find/ocr", "/api/admin/export", "/api/admin/workers/x/explain"})
        EXPECT_EQ(find("GET", path, API_EDGE_ROUTER).route->edge, API_EDGE_FORWARDED) << path;
    for (const char *path : {"/api/admin/workers", "/api/admin/gaps", "/api/topology", "/api/coordinator/workers",
                             "/api/services/list", "/api/services/discover/ocr", "/health"})
        EXPECT_EQ(find("GET", path, API_EDGE_ROUTER).route->edge, API_EDGE_SAME) << path;
    EXPECT_EQ(find("GET", "/api/admin/coordinators", API_COORDINATOR).route, nullptr);
    EXPECT_EQ(find("GET", "/api/admin/coordinators", API_EDGE_ROUTER).route->operation, API_COORDINATORS);
    EXPECT_EQ(find("GET", "/api/edge/challenge", API_EDGE_ROUTER).route, nullptr);
    EXPECT_FALSE(find("GET", "/api/edge/challenge", API_EDGE_ROUTER).path_exists) << "404, not 405";
}

TEST(Api, AnEdgeProxyAnswersClientsOfServicesAndForwardsTheRest)
{
    const auto forwarded = [](const std::string &method, const std::string &path) {
        return api_is_forwarded(API_EDGE_PROXY, find(method, path, API_EDGE_PROXY).route);
    };
    for (const char *path : {"/api/service/ocr", "/service/ocr/x", "/api/worker/find/ocr", "/api/coordinator/workers",
                             "/api/services/list", "/api/services/discover/ocr", "/health", "/metrics", "/docs", "/"})
        EXPECT_FALSE(forwarded("GET", path)) << path;
    for (const char *path : {"/api/admin/workers", "/api/admin/gaps", "/api/topology", "/ws/events", "/api/dht/stats"})
        EXPECT_TRUE(forwarded("GET", path)) << path;
    for (const char *path : {"/api/worker/register", "/api/worker/heartbeat", "/api/coordinator/broadcast-job"})
        EXPECT_TRUE(forwarded("POST", path)) << path;
    EXPECT_EQ(find("POST", "/api/edge/register", API_EDGE_PROXY).route, nullptr);
    EXPECT_EQ(find("GET", "/api/edge/challenge", API_EDGE_PROXY).route, nullptr);
    for (size_t i = 0; i < API_OPERATION_COUNT; i++)
        EXPECT_FALSE(api_is_forwarded(API_COORDINATOR, &api_routes()[i])) << api_routes()[i].path;
}

TEST(Api, ALoadBalancerHandsOnWhatIsNotAboutItself)
{
    const auto operation = [](const std::string &method, const std::string &path) {
        api_match match = find(method, path, API_LOAD_BALANCER);
        return match.route == nullptr ? API_OPERATION_COUNT : match.route->operation;
    };
    EXPECT_EQ(operation("GET", "/health"), API_HEALTH);
    EXPECT_EQ(operation("HEAD", "/healthz"), API_HEALTHZ);
    EXPECT_EQ(operation("GET", "/readyz"), API_READYZ);
    EXPECT_EQ(operation("GET", "/metrics"), API_METRICS);
    for (const char *path : {"/", "/api/worker/register", "/docs", "/health/more", "/x/y", "//"})
        EXPECT_EQ(operation("GET", path), API_BALANCED) << path;
    EXPECT_EQ(operation("POST", "/health"), API_BALANCED);
    EXPECT_EQ(operation("BREW", "/coffee"), API_BALANCED);
    EXPECT_EQ(operation("OPTIONS", "*"), API_OPERATION_COUNT);
    for (api_role role : {API_COORDINATOR, API_EDGE_ROUTER, API_EDGE_PROXY})
        EXPECT_FALSE(api_has(role, &api_routes()[API_BALANCED]));
}

TEST(Api, OnlyForwardedRoutesFailForLackOfCoordinators)
{
    const api_route &find_worker = api_routes()[API_FIND];
    EXPECT_EQ(api_errors(API_COORDINATOR, &find_worker) & API_ERROR(ERROR_NO_COORDINATORS), 0u);
    EXPECT_NE(api_errors(API_EDGE_ROUTER, &find_worker) & API_ERROR(ERROR_NO_COORDINATORS), 0u);
    EXPECT_EQ(api_errors(API_EDGE_ROUTER, &api_routes()[API_ADMIN_WORKERS]) & API_ERROR(ERROR_NO_COORDINATORS), 0u);
    EXPECT_LT(ERROR_COUNT, 64) << "errors are bits of 64";
}

} // namespace
