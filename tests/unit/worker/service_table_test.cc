/* Which service a path means, and what heartbeats say of services. */

#include <gtest/gtest.h>

#include <map>
#include <string>

extern "C" {
#include "services/worker/service_table.h"
}

namespace
{

class ServiceTable : public testing::Test
{
  protected:
    void SetUp() override
    {
        ocr = service_table_add(&table, "vision-ocr", SERVICE_URL);
        demo = service_table_add(&table, "document-processing", SERVICE_BUILT_IN);
        const char *aliases[] = {"ocr", "scan"};
        ASSERT_TRUE(service_table_configure(&table, "vision-ocr", aliases, 2));
        table.assigned.count = 2;
        strcpy(table.assigned.names[0], "vision-ocr");
        strcpy(table.assigned.names[1], "notes-coa");
    }

    void TearDown() override
    {
        service_table_free(&table);
    }

    /* "NAME PATH" of a local match, "unavailable", or "none". */
    std::string match(const std::string &path)
    {
        service_route route;
        switch (service_table_match(&table, {path.data(), path.size()}, &route)) {
        case SERVICE_MATCH_LOCAL:
            return route.service->name + std::string(" ") + route.prefix +
                   std::string(route.rest.data, route.rest.bytes);
        case SERVICE_MATCH_UNAVAILABLE:
            return "unavailable";
        case SERVICE_MATCH_NONE:
            break;
        }
        return "none";
    }

    service_table table = {};
    service *ocr, *demo;
};

TEST_F(ServiceTable, Paths)
{
    const std::map<std::string, std::string> cases = {
        {"/api/vision-ocr", "vision-ocr /api/vision-ocr"},
        {"/api/vision-ocr/a/b%20c", "vision-ocr /api/vision-ocr/a/b%20c"},
        {"/api/ocr/a", "vision-ocr /api/ocr/a"},
        {"/api/service/scan/a", "vision-ocr /api/scan/a"},
        {"/api/service/document-processing", "document-processing /api/document-processing"},
        {"/service/vision-ocr/v1/models", "vision-ocr /v1/models"},
        {"/service/vision-ocr/api/ocr/x", "vision-ocr /api/ocr/x"},
        {"/service/vision-ocr", "vision-ocr /"},
        {"/api/notes-coa/x", "unavailable"},
        {"/service/notes-coa", "unavailable"},
        {"/api/service/notes-coa", "unavailable"},
        {"/", "none"},
        {"/api", "none"},
        {"/api/", "none"},
        {"/api/service", "none"},
        {"/api/service/", "none"},
        {"/api/vision", "none"},
        {"/api/vision-ocr-2", "none"},
        {"/apis/vision-ocr", "none"},
        {"/vision-ocr", "none"},
        {"/v1/models", "none"},
        {"", "none"},
        {"*", "none"},
    };
    for (const auto &[path, expected] : cases)
        EXPECT_EQ(match(path), expected) << path;
}

TEST_F(ServiceTable, AServiceMayBeCalledService)
{
    ASSERT_NE(service_table_add(&table, "service", SERVICE_URL), nullptr);
    EXPECT_EQ(match("/api/service/x"), "service /api/service/x");
}

TEST_F(ServiceTable, ConfiguringAgainReplacesAliases)
{
    const char *aliases[] = {"read"};
    ASSERT_TRUE(service_table_configure(&table, "vision-ocr", aliases, 1));
    EXPECT_EQ(match("/api/ocr"), "none");
    EXPECT_EQ(match("/api/read"), "vision-ocr /api/read");
    ASSERT_TRUE(service_table_configure(&table, "vision-ocr", nullptr, 0));
    EXPECT_EQ(match("/api/read"), "none");
    EXPECT_TRUE(service_table_configure(&table, "unknown", aliases, 1)) << "not ours: no matter";
}

TEST_F(ServiceTable, States)
{
    ocr->state = SERVICE_FAILED;
    demo->state = SERVICE_RUNNING;
    heartbeat_service states[SERVICE_TABLE_STATES_MAX];
    ASSERT_EQ(service_table_states(&table, states), 3u);
    EXPECT_EQ(std::string(states[0].name) + states[0].state, "vision-ocrfailed");
    EXPECT_EQ(std::string(states[1].name) + states[1].state, "document-processingrunning");
    EXPECT_EQ(std::string(states[2].name) + states[2].state, "notes-coaunavailable");
}

TEST_F(ServiceTable, NamesAreChecked)
{
    for (const char *name : {"", ".", "..", "a/b", "a b", "\xc3\xa9", "a?b", "a%20b"})
        EXPECT_EQ(service_table_add(&table, name, SERVICE_URL), nullptr) << name;
    EXPECT_EQ(service_table_add(&table, std::string(128, 'a').c_str(), SERVICE_URL), nullptr);
    EXPECT_NE(service_table_add(&table, std::string(127, 'a').c_str(), SERVICE_URL), nullptr);
    EXPECT_EQ(service_table_add(&table, "vision-ocr", SERVICE_URL), nullptr) << "taken";
    EXPECT_NE(service_table_add(&table, "A.b_c-9", SERVICE_URL), nullptr);
}

TEST_F(ServiceTable, IsBounded)
{
    while (table.count < SERVICE_TABLE_MAX)
        ASSERT_NE(service_table_add(&table, ("s" + std::to_string(table.count)).c_str(), SERVICE_URL), nullptr);
    EXPECT_EQ(service_table_add(&table, "one-more", SERVICE_URL), nullptr);
}

} // namespace
