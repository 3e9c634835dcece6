// The lists of the REST contract, as jansson reads them.

#include "tests/unit/gateway/messages.h"

extern "C" {
#include <jansson.h>

#include "gateway/views.h"
#include "gateway/worker_json.h"
}

#include <gtest/gtest.h>

namespace
{

constexpr auto GPU = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
constexpr auto CPU = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
constexpr auto ONLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto OFFLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
constexpr int64_t NOW = 1767609010125;
constexpr uint64_t MONOTONIC = 5000000;

class Views : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        replica_init(&replica);
        Catalog catalog;
        catalog.service("llm-inference", GPU, 1, 8105, {"llm"})
            .service("vision-ocr", GPU, 2, 8104, {"ocr"})
            .service("notes-coa", CPU, 3, 8100);
        ASSERT_TRUE(replica_apply_catalog(&replica, &catalog.message));
    }
    void TearDown() override
    {
        json_decref(json);
        replica_free(&replica);
    }
    void put(const WorkerFields &fields)
    {
        ASSERT_TRUE(replica_put(&replica, WorkerMessage(fields).get()));
    }
    void render(enum view view)
    {
        struct buffer out = BUFFER_INIT;
        view_render(view, &replica, nullptr, MONOTONIC, NOW, &out);
        load(out);
    }
    void load(struct buffer &out)
    {
        json_error_t error;
        json_decref(json);
        text = std::string(out.data, out.bytes);
        buffer_free(&out);
        json = json_loads(text.c_str(), JSON_REJECT_DUPLICATES, &error);
        ASSERT_NE(json, nullptr) << error.text << "\n" << text;
    }
    // A value by its path: "workers.0.status".
    json_t *at(const std::string &path)
    {
        json_t *value = json;
        for (size_t start = 0; start <= path.size();) {
            size_t dot = std::min(path.find('.', start), path.size());
            std::string key = path.substr(start, dot - start);
            value = json_is_array(value) ? json_array_get(value, std::stoul(key)) : json_object_get(value, key.c_str());
            start = dot + 1;
        }
        return value;
    }
    std::string str(const std::string &path)
    {
        return json_is_string(at(path)) ? json_string_value(at(path)) : "(none)";
    }
    json_int_t num(const std::string &path)
    {
        return json_is_integer(at(path)) ? json_integer_value(at(path)) : -1;
    }

    struct replica replica;
    json_t *json = nullptr;
    std::string text;
};

TEST_F(Views, AWorkerHasAllFieldsOfTheContract)
{
    WorkerFields fields{"gpu \"1\"", 1};
    fields.type = GPU;
    fields.assigned = {"vision-ocr"};
    fields.announced = {{"own", "http://own"}};
    fields.capabilities_json = R"({"has_gpu":  true, "x": "\u00e9"})";
    put(fields);
    render(VIEW_WORKERS);
    EXPECT_NE(text.find(R"("capabilities":{"has_gpu":  true, "x": "\u00e9"})"), std::string::npos) << "byte for byte";
    EXPECT_EQ(num("count"), 1);
    EXPECT_EQ(str("timestamp"), "2026-01-05T10:30:10.125Z");
    EXPECT_EQ(str("workers.0.worker_id"), "gpu \"1\"");
    EXPECT_EQ(str("workers.0.tunnel_url"), "http://gpu \"1\"");
    EXPECT_EQ(str("workers.0.service_url"), str("workers.0.tunnel_url"));
    EXPECT_EQ(str("workers.0.worker_type"), "gpu");
    EXPECT_EQ(num("workers.0.tier"), 1);
    EXPECT_EQ(str("workers.0.location"), "uk");
    EXPECT_EQ(str("workers.0.status"), "online");
    EXPECT_EQ(str("workers.0.services.0.name"), "own");
    EXPECT_EQ(str("workers.0.services.0.url"), "http://own");
    EXPECT_EQ(str("workers.0.assigned_services.0"), "vision-ocr");
    EXPECT_TRUE(json_is_array(at("workers.0.containers")));
    EXPECT_EQ(str("workers.0.registered_at"), "2026-01-05T10:30:00.125Z");
    EXPECT_EQ(str("workers.0.last_heartbeat"), "2026-01-05T10:30:00.125Z");
    for (const char *number : {"current_load", "gpu_utilization"})
        EXPECT_TRUE(json_is_real(at(std::string("workers.0.") + number))) << number;
    for (const char *whole : {"active_requests", "queue_depth", "tasks_completed"})
        EXPECT_EQ(num(std::string("workers.0.") + whole), 0) << whole;
    EXPECT_EQ(num("workers.0.incarnation"), 1);
    EXPECT_EQ(str("workers.0.available_memory"), "");
    EXPECT_EQ(str("workers.0.specialization"), "");
    EXPECT_TRUE(json_is_array(at("workers.0.loaded_models")));
    EXPECT_TRUE(json_is_object(at("workers.0.services_status")));
}

TEST_F(Views, TheListOfWorkersSaysWhatTheServicesAre)
{
    put({"a", 1});
    render(VIEW_WORKERS);
    EXPECT_EQ(json_array_size(at("catalog")), replica.catalog->n_services);
    EXPECT_EQ(str("catalog.0.name"), replica.catalog->services[0]->name);
    EXPECT_TRUE(json_is_array(at("catalog.0.aliases")));
    EXPECT_EQ(str("catalog.0.path"), replica.catalog->services[0]->path);
    EXPECT_TRUE(json_is_boolean(at("catalog.0.repeatable")));
    render(VIEW_ADMIN_WORKERS);
    EXPECT_EQ(at("catalog"), nullptr) << "which is asked for as it is by operators";
}

TEST_F(Views, WhatChangesIsRenderedAnew)
{
    put({"a", 1});
    render(VIEW_WORKERS);
    ASSERT_TRUE(replica_apply_health(&replica, &HealthChanges().worker("a", 1, ONLINE, NOW - 5, 0.42).message, 0));
    render(VIEW_WORKERS);
    EXPECT_EQ(json_real_value(at("workers.0.current_load")), 0.42);
    EXPECT_EQ(str("workers.0.last_heartbeat"), "2026-01-05T10:30:10.120Z");
    WorkerFields again{"a", 2, 2};
    again.assigned = {"notes-coa"};
    put(again);
    render(VIEW_WORKERS);
    EXPECT_EQ(str("workers.0.assigned_services.0"), "notes-coa");
    EXPECT_EQ(num("workers.0.incarnation"), 2);
}

TEST_F(Views, ListsTheHealthyToClientsAndAllToOperators)
{
    put({"a", 1});
    put({"b", 2});
    ASSERT_TRUE(replica_apply_health(&replica, &HealthChanges().worker("b", 1, OFFLINE, NOW - 8000).message, 0));
    render(VIEW_WORKERS);
    EXPECT_EQ(num("count"), 1);
    EXPECT_EQ(str("workers.0.worker_id"), "a");
    render(VIEW_ADMIN_WORKERS);
    EXPECT_EQ(num("total"), 2);
    EXPECT_EQ(num("healthy"), 1);
    EXPECT_EQ(str("workers.1.status"), "offline");
    EXPECT_EQ(json_real_value(at("workers.1.age_seconds")), 8.0);
    EXPECT_TRUE(json_is_false(at("workers.1.is_healthy")));
    EXPECT_TRUE(json_is_true(at("workers.0.is_healthy")));
    render(VIEW_ADMIN_STATS);
    EXPECT_EQ(num("total_workers"), 2);
    EXPECT_EQ(num("healthy_workers"), 1);
    EXPECT_EQ(num("offline_workers"), 1);
    EXPECT_EQ(num("by_tier.2"), 2);
    EXPECT_EQ(num("by_tier.1"), 0);
}

TEST_F(Views, Services)
{
    WorkerFields fields{"a", 1};
    fields.assigned = {"vision-ocr"};
    fields.announced = {{"own", ""}};
    put(fields);
    render(VIEW_SERVICES);
    EXPECT_EQ(json_object_size(at("services")), 4u);
    EXPECT_EQ(num("services.vision-ocr.healthy_workers"), 1);
    EXPECT_EQ(num("services.vision-ocr.tier"), 1);
    EXPECT_EQ(str("services.vision-ocr.requires"), "gpu");
    EXPECT_EQ(num("services.notes-coa.healthy_workers"), 0);
    EXPECT_TRUE(json_is_null(at("services.own.requires")));
    EXPECT_EQ(num("total_available"), 2);
    render(VIEW_ADMIN_SERVICES);
    EXPECT_EQ(num("total_services"), 2);
    EXPECT_EQ(str("services.0.name"), "own");
    EXPECT_EQ(str("services.1.name"), "vision-ocr");
    EXPECT_EQ(str("services.1.workers.0"), "a");
    EXPECT_EQ(num("services.1.worker_count"), 1);
}

TEST_F(Views, GapsAreInTheOrderOfTheirUrgency)
{
    for (int i = 0; i < 2; i++) {
        WorkerFields fields{"l" + std::to_string(i), (uint64_t)i + 1};
        fields.assigned = {"llm-inference"};
        put(fields);
    }
    WorkerFields fields{"o", 9};
    fields.announced = {{"ocr", ""}};
    put(fields);
    render(VIEW_ADMIN_GAPS);
    EXPECT_EQ(str("gaps.0.service"), "notes-coa");
    EXPECT_EQ(str("gaps.0.status"), "critical");
    EXPECT_EQ(str("gaps.0.required_type"), "cpu");
    EXPECT_EQ(num("gaps.0.port"), 8100);
    EXPECT_EQ(str("gaps.1.service"), "vision-ocr");
    EXPECT_EQ(str("gaps.1.status"), "warning");
    EXPECT_EQ(num("gaps.1.current_workers"), 1);
    EXPECT_EQ(str("gaps.2.status"), "ok");
    EXPECT_EQ(json_array_size(at("critical_gaps")), 1u);
    EXPECT_EQ(str("warnings.0.service"), "vision-ocr");
    EXPECT_EQ(num("summary.total_services"), 3);
    EXPECT_EQ(num("summary.covered"), 2);
    EXPECT_EQ(num("summary.needs_attention"), 2);
}

TEST_F(Views, DiscoveryListsTheLeastLoadedFirst)
{
    for (int i = 0; i < 3; i++) {
        WorkerFields fields{"w" + std::to_string(i), (uint64_t)i + 1};
        fields.announced = {{"ocr", "http://ocr" + std::to_string(i)}};
        put(fields);
    }
    ASSERT_TRUE(replica_apply_health(&replica,
                                     &HealthChanges()
                                          .worker("w0", 1, ONLINE, NOW, 0.9)
                                          .worker("w1", 1, ONLINE, NOW, 0.1)
                                          .worker("w2", 1, OFFLINE, NOW, 0.0)
                                          .message,
                                     0));
    struct buffer out = BUFFER_INIT;
    EXPECT_EQ(view_render_discovery(&replica, "ocr", 3, nullptr, &out), 2u);
    load(out);
    EXPECT_EQ(str("service"), "vision-ocr");
    EXPECT_EQ(num("count"), 2);
    EXPECT_EQ(str("recommended"), "w1");
    EXPECT_EQ(str("workers.0.worker_id"), "w1");
    EXPECT_EQ(str("workers.0.tunnel_url"), "http://ocr1");
    EXPECT_EQ(json_real_value(at("workers.1.load")), 0.9);
    EXPECT_TRUE(json_is_object(at("workers.0.capabilities")));
    EXPECT_EQ(view_render_discovery(&replica, "llm", 3, nullptr, &out), 0u);
    EXPECT_EQ(view_render_discovery(&replica, "nothing", 7, nullptr, &out), 0u);
    EXPECT_STREQ(view_best_worker(replica_find_service(&replica, "ocr", 3))->id, "w1");
    EXPECT_EQ(view_best_worker(replica_find_service(&replica, "llm", 3)), nullptr);
}

TEST_F(Views, EmptyOnesAreValidToo)
{
    for (int view = 0; view < VIEW_TOPOLOGY; view++)
        render((enum view)view);
    struct replica nothing;
    replica_init(&nothing);
    for (int view = 0; view < VIEW_TOPOLOGY; view++) {
        struct buffer out = BUFFER_INIT;
        view_render((enum view)view, &nothing, nullptr, MONOTONIC, NOW, &out);
        load(out);
    }
    replica_free(&nothing);
}

TEST_F(Views, AWorkerLooksTheSameInALongListWhoseJsonIsNotKept)
{
    WorkerFields fields{"a", 1};
    fields.assigned = {"notes-coa"};
    fields.announced = {{"own", "http://own"}};
    fields.capabilities_json = R"({"cpu_cores":4})";
    put(fields);
    HealthChanges health;
    health.worker("a", 1, ONLINE, NOW, 0.5);
    ASSERT_TRUE(replica_apply_health(&replica, &health.message, MONOTONIC));
    render(VIEW_WORKERS);
    EXPECT_NE(replica_find(&replica, "a")->json, nullptr);
    json_t *kept = json_deep_copy(json_array_get(json_object_get(json, "workers"), 0));
    for (int i = 0; i < REPLICA_JSON_WORKERS_MAX; i++)
        put({"w" + std::to_string(i), 2});
    render(VIEW_WORKERS);
    EXPECT_EQ(replica_find(&replica, "a")->json, nullptr) << "it is given back";
    ASSERT_EQ(json_array_size(json_object_get(json, "workers")), REPLICA_JSON_WORKERS_MAX + 1u);
    EXPECT_TRUE(json_equal(kept, json_array_get(json_object_get(json, "workers"), 0)));
    json_decref(kept);
}

TEST_F(Views, AnEdgeRouterNamesTheRegionsAndWhatIsOld)
{
    const view_region list[] = {{"uk-1", "http://uk", "uk", "online", "", NOW - 1000, 2, true},
                                {"us-1", "http://us", "us", "unreachable", "it does not answer", NOW - 90000, 7, false},
                                {"fr-1", "http://fr", "fr", "online", "", 0, 0, false},
                                {"de-1", "http://de", "de", "online", "", NOW - 2000, 1, true}};
    const view_regions regions = {list, 4};
    replica.coordinator = "uk-1";
    put({"a", 1, 1, {"redis"}});
    replica.coordinator = nullptr;
    for (int view = 0; view < VIEW_TOPOLOGY; view++) {
        struct buffer out = BUFFER_INIT;
        view_render((enum view)view, &replica, &regions, MONOTONIC, NOW, &out);
        load(out);
        EXPECT_EQ(str("as_of"), "2026-01-05T10:30:08.125Z") << view << ": the oldest of those that answer";
        EXPECT_EQ(str("regions.1.coordinator"), "us-1") << "who does not answer is not left out";
        EXPECT_EQ(str("regions.1.status"), "unreachable");
        EXPECT_EQ(str("regions.1.problem"), "it does not answer");
        EXPECT_EQ(num("regions.1.workers"), 7);
        EXPECT_TRUE(json_is_null(at("regions.2.as_of"))) << "never read";
        EXPECT_EQ(str("regions.0.problem"), "(none)");
    }
    struct buffer out = BUFFER_INIT;
    view_render(VIEW_ADMIN_WORKERS, &replica, &regions, MONOTONIC, NOW, &out);
    load(out);
    EXPECT_EQ(str("workers.0.coordinator"), "uk-1");
}

} // namespace
