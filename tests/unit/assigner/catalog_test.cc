// The catalog: the default one is that of the REST contract; reading a file is strict.

#include <gtest/gtest.h>

#include <string>

extern "C" {
#include "services/assigner/catalog.h"
}

namespace
{

struct Parsed {
    explicit Parsed(const std::string &text)
    {
        char buffer[CATALOG_ERROR_BYTES] = "";
        catalog = catalog_parse(text.data(), text.size(), buffer);
        error = buffer;
    }
    ~Parsed()
    {
        catalog_destroy(catalog);
    }
    struct catalog *catalog;
    std::string error;
};

std::string one(const std::string &fields)
{
    return "{\"services\": [{" + fields + "}]}";
}

const char good[] = R"("name": "x", "requires": "gpu", "priority": 1, "port": 80)";

TEST(DefaultCatalog, IsThatOfTheContract)
{
    struct Row {
        const char *name;
        int tier;
        uint32_t priority, port;
        const char *alias;
        bool repeatable;
    };
    const Row rows[] = {
        {"llm-inference", 1, 1, 8105, "llm", false},
        {"vision-ocr", 1, 1, 8104, "ocr", true},
        {"rag-embeddings", 1, 2, 8102, "rag", false},
        {"ner-extraction", 2, 2, 8108, "ner", true},
        {"document-processing", 2, 2, 8103, "upload", true},
        {"notes-coa", 2, 3, 8100, "notes", false},
        {"chromadb", 3, 1, 8000, nullptr, false},
        {"redis", 3, 2, 6379, nullptr, false},
        {"postgres", 3, 3, 5432, nullptr, false},
        {"minio", 3, 4, 9000, nullptr, false},
        {"neo4j", 3, 5, 7474, nullptr, false},
        {"coordinator", 4, 1, 8080, nullptr, false},
        {"edge-proxy", 4, 1, 8787, nullptr, false},
        {"load-balancer", 4, 2, 8090, nullptr, false},
    };
    struct catalog *catalog = catalog_create_default();
    ASSERT_NE(catalog, nullptr);
    ASSERT_EQ(catalog_count(catalog), std::size(rows));
    for (size_t i = 0; i < std::size(rows); i++) {
        const struct catalog_service *service = catalog_at(catalog, i);
        EXPECT_STREQ(service->name, rows[i].name);
        EXPECT_EQ(service->requires, rows[i].tier);
        EXPECT_EQ(service->priority, rows[i].priority);
        EXPECT_EQ(service->port, rows[i].port);
        EXPECT_EQ(service->repeatable, rows[i].repeatable) << rows[i].name;
        EXPECT_STREQ(service->path, rows[i].tier == 4 ? "/service/{type}" : "") << rows[i].name;
        EXPECT_EQ(catalog_find(catalog, rows[i].name), i);
        EXPECT_EQ(service->alias_count, rows[i].alias != nullptr ? 1u : 0u);
        if (rows[i].alias != nullptr) {
            EXPECT_STREQ(service->aliases[0], rows[i].alias);
            EXPECT_EQ(catalog_find(catalog, rows[i].alias), i);
        }
    }
    EXPECT_EQ(catalog_find(catalog, "nothing"), CATALOG_NONE);
    catalog_destroy(catalog);
}

TEST(Catalog, ReadsEveryField)
{
    Parsed parsed(R"({"services": [
        {"name": "a", "tier": 2, "requires": "cpu", "priority": 3, "port": 8103, "aliases": ["b", "c"],
         "path": "/api/{type}", "repeatable": true},
        {"name": "d", "tier": 4, "priority": 1, "port": 1}]})");
    ASSERT_NE(parsed.catalog, nullptr) << parsed.error;
    ASSERT_EQ(catalog_count(parsed.catalog), 2u);
    const struct catalog_service *a = catalog_at(parsed.catalog, 0);
    EXPECT_EQ(a->requires, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
    EXPECT_EQ(a->priority, 3u);
    EXPECT_EQ(a->port, 8103u);
    EXPECT_STREQ(a->path, "/api/{type}");
    EXPECT_TRUE(a->repeatable);
    EXPECT_EQ(catalog_find(parsed.catalog, "c"), 0u);
    const struct catalog_service *d = catalog_at(parsed.catalog, 1);
    EXPECT_EQ(d->requires, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE);
    EXPECT_STREQ(d->path, "");
    EXPECT_FALSE(d->repeatable);
}

TEST(Catalog, ServicesOfATypeComeInTheOrderOfTheirImportance)
{
    std::string text = R"({"services": [)";
    for (const char *service : {R"("a", "requires": "cpu", "priority": 3)", R"("b", "requires": "gpu", "priority": 1)",
                                R"("c", "requires": "cpu", "priority": 1)", R"("d", "requires": "cpu", "priority": 3)",
                                R"("e", "requires": "cpu", "priority": 1)"})
        text += std::string(text.back() == '[' ? "" : ",") + R"({"port": 1, "name": )" + service + "}";
    Parsed parsed(text + "]}");
    ASSERT_NE(parsed.catalog, nullptr) << parsed.error;
    auto of = [&](Muster__V1__WorkerType type) {
        size_t count;
        const uint32_t *numbers = catalog_of_type(parsed.catalog, type, &count);
        std::string names;
        for (size_t i = 0; i < count; i++)
            names += catalog_config(parsed.catalog, numbers[i])->name;
        return names;
    };
    EXPECT_EQ(of(MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU), "cead");
    EXPECT_EQ(of(MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU), "b");
    EXPECT_EQ(of(MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE), "");
    EXPECT_EQ(of(MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE), "");
}

TEST(Catalog, GpuWorkersRunCpuServicesAndNobodyElseRunsAnothersServices)
{
    struct catalog_service service = {};
    for (int requires_type = 1; requires_type <= 4; requires_type++) {
        for (int type = 1; type <= 4; type++) {
            service.requires = static_cast<Muster__V1__WorkerType>(requires_type);
            bool fits = type == requires_type || (type == 1 && requires_type == 2);
            EXPECT_EQ(catalog_fits(&service, static_cast<Muster__V1__WorkerType>(type)), fits);
        }
    }
}

struct Bad {
    const char *what;
    std::string text;
    const char *expected; // in the error
};

class BadCatalog : public testing::TestWithParam<Bad>
{
};

TEST_P(BadCatalog, IsRefusedWithServiceAndField)
{
    Parsed parsed(GetParam().text);
    EXPECT_EQ(parsed.catalog, nullptr);
    EXPECT_NE(parsed.error.find(GetParam().expected), std::string::npos) << parsed.error;
    EXPECT_EQ(parsed.error.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadCatalog,
    testing::Values(
        Bad{"empty", "", "not valid JSON"}, Bad{"no_json", "{", "not valid JSON"},
        Bad{"array", "[]", "must be an object"}, Bad{"no_services", "{}", "must be an object with the list"},
        Bad{"none", R"({"services": []})", "services: has 0 entries"},
        Bad{"more_keys", R"({"services": [{}], "x": 1})", "must be an object with the list"},
        Bad{"no_object", R"({"services": [1]})", "services[0]: must be an object"},
        Bad{"no_name", one(R"("requires": "gpu", "priority": 1, "port": 80)"), "services[0]: name: is missing"},
        Bad{"name_type", one(R"("name": 1)"), "services[0]: name: must be text"},
        Bad{"name_empty", one(R"("name": "")"), "services[0]: name: must be 1 to 128"},
        Bad{"name_slash", one(R"("name": "a/b")"), "name: must be 1 to 128"},
        Bad{"name_newline", one(R"("name": "a\nb")"), "name: must be 1 to 128"},
        Bad{"unknown_tier", one(R"("name": "x", "tier": 7, "priority": 1, "port": 80)"),
            "service 'x': tier: must be 1"},
        Bad{"tier_text", one(R"("name": "x", "tier": "1", "priority": 1, "port": 80)"), "service 'x': tier"},
        Bad{"unknown_type", one(R"("name": "x", "requires": "tpu", "priority": 1, "port": 80)"),
            "service 'x': requires: must be gpu, cpu, storage or edge"},
        Bad{"no_type", one(R"("name": "x", "priority": 1, "port": 80)"), "service 'x': requires: is missing"},
        Bad{"tier_and_type", one(std::string(good) + R"(, "tier": 2)"),
            "service 'x': tier: must be 1 when requires is gpu"},
        Bad{"no_port", one(R"("name": "x", "requires": "gpu", "priority": 1)"), "service 'x': port: is missing"},
        Bad{"port_0", one(R"("name": "x", "requires": "gpu", "priority": 1, "port": 0)"), "service 'x': port: must be"},
        Bad{"port_70000", one(R"("name": "x", "requires": "gpu", "priority": 1, "port": 70000)"), "service 'x': port"},
        Bad{"priority_half", one(R"("name": "x", "requires": "gpu", "priority": 1.5, "port": 80)"),
            "service 'x': priority"},
        Bad{"unknown_field", one(std::string(good) + R"(, "por\nt": 1)"), "service 'x': unknown field"},
        Bad{"twice_in_json", one(std::string(good) + R"(, "port": 1)"), "not valid JSON: duplicate"},
        Bad{"repeatable", one(std::string(good) + R"(, "repeatable": 1)"),
            "service 'x': repeatable: must be true or false"},
        Bad{"path", one(std::string(good) + R"(, "path": "api")"), "service 'x': path: must start with '/'"},
        Bad{"path_up", one(std::string(good) + R"(, "path": "/a/../b")"), "service 'x': path"},
        Bad{"path_space", one(std::string(good) + R"(, "path": "/a b")"), "service 'x': path"},
        Bad{"aliases_type", one(std::string(good) + R"(, "aliases": "y")"), "service 'x': aliases: must be a list"},
        Bad{"alias_type", one(std::string(good) + R"(, "aliases": [1])"), "service 'x': aliases: each must"},
        Bad{"alias_is_name", one(std::string(good) + R"(, "aliases": ["x"])"),
            "service 'x': aliases: 'x' is taken by service 'x'"},
        Bad{"name_twice", "{\"services\": [{" + std::string(good) + "}, {" + good + "}]}",
            "name: 'x' is taken by service 'x'"},
        Bad{"alias_twice",
            R"({"services": [{"name": "x", "tier": 1, "priority": 1, "port": 1, "aliases": ["z"]},
                             {"name": "y", "tier": 1, "priority": 1, "port": 1, "aliases": ["z"]}]})",
            "service 'y': aliases: 'z' is taken by service 'x'"},
        Bad{"pin_type", one(std::string(good) + R"(, "pinned_to": "gpu-1")"), "service 'x': pinned_to: must be a list"},
        Bad{"pin_none", one(std::string(good) + R"(, "pinned_to": [])"), "service 'x': pinned_to: must be a list of 1"},
        Bad{"pin_number", one(std::string(good) + R"(, "pinned_to": [1])"), "service 'x': pinned_to: each must"},
        Bad{"pin_long", one(std::string(good) + R"(, "pinned_to": [")" + std::string(129, 'a') + "\"]"),
            "service 'x': pinned_to: each must"},
        Bad{"anti_affinity", one(std::string(good) + R"(, "anti_affinity": "rack")"),
            "service 'x': anti_affinity: must be \"location\""},
        Bad{"probe_type", one(std::string(good) + R"(, "probe": true)"), "service 'x': probe: must be an object"},
        Bad{"probe_key", one(std::string(good) + R"(, "probe": {"port": 1})"),
            "service 'x': probe: unknown field 'port'"},
        Bad{"probe_path", one(std::string(good) + R"(, "probe": {"path": "x"})"),
            "service 'x': probe.path: must start"},
        Bad{"probe_interval", one(std::string(good) + R"(, "probe": {"interval_seconds": 0.04})"),
            "service 'x': probe: interval_seconds: must be a number from 0.05"},
        Bad{"probe_timeout", one(std::string(good) + R"(, "probe": {"timeout_seconds": 3601})"),
            "service 'x': probe: timeout_seconds: must be"},
        Bad{"probe_failures", one(std::string(good) + R"(, "probe": {"failures": 0})"),
            "service 'x': probe: failures: must be a whole number from 1 to 100"},
        Bad{"probe_successes", one(std::string(good) + R"(, "probe": {"successes": 101})"),
            "service 'x': probe: successes: must be"},
        Bad{"reserved_type", "{\"services\": [{" + std::string(good) + R"(}], "reserved": ["a"]})",
            "reserved: must be an object"},
        Bad{"reserved_none", "{\"services\": [{" + std::string(good) + R"(}], "reserved": {"a": []}})",
            "reserved: 'a': must be a list of 1"},
        Bad{"reserved_unknown", "{\"services\": [{" + std::string(good) + R"(}], "reserved": {"a": ["y"]}})",
            "reserved: 'a': 'y' is not a service"},
        Bad{"reserved_number", "{\"services\": [{" + std::string(good) + R"(}], "reserved": {"a": [7]}})",
            "reserved: 'a': 'what is not text' is not a service"},
        Bad{"reserved_no_id", "{\"services\": [{" + std::string(good) + R"(}], "reserved": {"": ["x"]}})",
            "reserved: a worker's id must be"},
        Bad{"pinned_to_reserved", R"({"services": [
            {"name": "x", "requires": "cpu", "priority": 1, "port": 1, "pinned_to": ["w"]},
            {"name": "y", "requires": "cpu", "priority": 1, "port": 1}], "reserved": {"w": ["y"]}})",
            "service 'x': pinned_to: 'w' is reserved for other services"},
        Bad{"reserved_for_pinned", R"({"services": [
            {"name": "x", "requires": "cpu", "priority": 1, "port": 1, "pinned_to": ["v"]},
            {"name": "y", "requires": "cpu", "priority": 1, "port": 1}], "reserved": {"w": ["y", "x"]}})",
            "reserved: 'w': 'x' is pinned to other workers"},
        Bad{"pinned_twice", R"({"services": [
            {"name": "x", "requires": "cpu", "priority": 1, "port": 1, "pinned_to": ["v", "w", "v"]}]})",
            "service 'x': pinned_to: 'v' is there twice"},
        Bad{"pins_of_two_types", R"({"services": [
            {"name": "x", "requires": "cpu", "priority": 1, "port": 1, "pinned_to": ["w"]},
            {"name": "y", "requires": "storage", "priority": 1, "port": 1, "pinned_to": ["v", "w"]}]})",
            "worker 'w': it is to run 'x', which needs type cpu, and 'y', which needs type storage"},
        Bad{"reserved_for_two_types", R"({"services": [
            {"name": "x", "requires": "gpu", "priority": 1, "port": 1},
            {"name": "y", "requires": "edge", "priority": 1, "port": 1}], "reserved": {"w": ["x", "y"]}})",
            "worker 'w': it is to run 'x', which needs type gpu, and 'y', which needs type edge"}),
    [](const auto &test) { return std::string(test.param.what); });

TEST(Catalog, PinsReservationsAndTypesDecideWhoMayRunWhat)
{
    constexpr auto gpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU, cpu = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
    Parsed parsed(R"({"services": [
        {"name": "free", "requires": "cpu", "priority": 1, "port": 1},
        {"name": "pinned", "requires": "cpu", "priority": 1, "port": 1, "pinned_to": ["a", "it's \"b\""]},
        {"name": "other", "requires": "cpu", "priority": 1, "port": 1, "aliases": ["o"], "anti_affinity": "location"},
        {"name": "big", "requires": "gpu", "priority": 1, "port": 1, "pinned_to": ["a"]}],
        "reserved": {"r": ["o", "other"]}})");
    ASSERT_NE(parsed.catalog, nullptr) << parsed.error;
    auto permission = [&](size_t number, const char *worker, Muster__V1__WorkerType type) {
        return catalog_permission(parsed.catalog, number, type, worker);
    };
    EXPECT_EQ(permission(0, "z", cpu), CATALOG_ALLOWED);
    EXPECT_EQ(permission(1, "z", cpu), CATALOG_PINNED_ELSEWHERE);
    EXPECT_EQ(permission(1, "a", cpu), CATALOG_PINNED);
    EXPECT_EQ(permission(1, "it's \"b\"", gpu), CATALOG_PINNED);
    EXPECT_EQ(permission(0, "r", cpu), CATALOG_RESERVED_FOR_OTHERS);
    EXPECT_EQ(permission(2, "r", cpu), CATALOG_RESERVED);
    EXPECT_EQ(permission(1, "r", cpu), CATALOG_PINNED_ELSEWHERE);
    EXPECT_EQ(permission(3, "a", cpu), CATALOG_OTHER_TYPE) << "the type is stronger than a pin";
    EXPECT_TRUE(catalog_tells(parsed.catalog, 3, "a")) << "but that can be said";
    EXPECT_TRUE(catalog_tells(parsed.catalog, 2, "r"));
    EXPECT_FALSE(catalog_tells(parsed.catalog, 0, "a"));
    EXPECT_TRUE(catalog_spreads(parsed.catalog));
    EXPECT_TRUE(catalog_has_rules(parsed.catalog));
    EXPECT_TRUE(catalog_at(parsed.catalog, 2)->spread_by_location);
    EXPECT_FALSE(catalog_at(parsed.catalog, 0)->spread_by_location);
    Parsed plain(one(good));
    EXPECT_FALSE(catalog_has_rules(plain.catalog));
    EXPECT_FALSE(catalog_spreads(plain.catalog));
}

TEST(Catalog, AProbeHasUsualValues)
{
    Parsed parsed(one(std::string(good) + R"(, "probe": {})"));
    ASSERT_NE(parsed.catalog, nullptr) << parsed.error;
    const struct catalog_probe &usual = catalog_at(parsed.catalog, 0)->probe;
    EXPECT_STREQ(usual.path, "/health");
    EXPECT_EQ(usual.interval_ms, 10000u);
    EXPECT_EQ(usual.timeout_ms, 2000u);
    EXPECT_EQ(usual.failures, 3u);
    EXPECT_EQ(usual.successes, 2u);
    Parsed other(
        one(std::string(good) +
            R"(, "probe": {"path": "/up", "interval_seconds": 0.05, "timeout_seconds": 3600, "failures": 100})"));
    ASSERT_NE(other.catalog, nullptr) << other.error;
    EXPECT_STREQ(catalog_at(other.catalog, 0)->probe.path, "/up");
    EXPECT_EQ(catalog_at(other.catalog, 0)->probe.interval_ms, 50u);
    EXPECT_EQ(catalog_at(other.catalog, 0)->probe.timeout_ms, 3600000u);
    EXPECT_EQ(catalog_at(other.catalog, 0)->probe.failures, 100u);
    EXPECT_EQ(catalog_at(Parsed(one(good)).catalog, 0)->probe.path, nullptr);
}

TEST(Catalog, FileErrorsNameTheFile)
{
    char error[CATALOG_ERROR_BYTES];
    EXPECT_EQ(catalog_read_file("/does/not/exist.json", error), nullptr);
    EXPECT_NE(std::string(error).find("catalog /does/not/exist.json: cannot be read"), std::string::npos) << error;
    EXPECT_EQ(catalog_read_file("/", error), nullptr);
    EXPECT_NE(std::string(error).find("cannot be read"), std::string::npos) << error;
}

} // namespace
