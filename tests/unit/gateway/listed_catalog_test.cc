// The catalog that a list of workers comes with.

extern "C" {
#include "gateway/proxy/listed_catalog.h"
}

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace
{

class ListedCatalog : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        arena_init(&arena, nullptr, 0);
    }
    void TearDown() override
    {
        arena_free(&arena);
    }
    bool read(const std::string &text)
    {
        catalog = listed_catalog_read(text.data(), text.size(), &arena);
        return catalog != nullptr;
    }
    // "name(alias,alias)path", one after the other
    std::string described() const
    {
        std::string text;
        for (size_t i = 0; i < catalog->n_services; i++) {
            const Muster__V1__CatalogService *service = catalog->services[i];
            text += std::string(text.empty() ? "" : " ") + service->name + "(";
            for (size_t j = 0; j < service->n_aliases; j++)
                text += std::string(j > 0 ? "," : "") + service->aliases[j];
            text += std::string(")") + service->path;
        }
        return text;
    }
    struct arena arena;
    Muster__V1__WatchCatalogResponse *catalog = nullptr;
};

TEST_F(ListedCatalog, IsReadAsACoordinatorWritesIt)
{
    ASSERT_TRUE(
        read(R"([{"name": "vision-ocr", "aliases": ["ocr"], "path": "/api/{type}", "requires": "gpu", "priority": 1,
        "port": 8104, "repeatable": true}, {"name": "redis", "aliases": [], "path": "", "requires": "storage",
        "priority": 2, "port": 6379, "repeatable": false}])"));
    EXPECT_EQ(described(), "vision-ocr(ocr)/api/{type} redis()");
    EXPECT_EQ(catalog->services[0]->requires, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU);
    EXPECT_TRUE(catalog->services[0]->repeatable);
    EXPECT_EQ(catalog->services[1]->port, 6379u);
    EXPECT_EQ(catalog->services[1]->priority, 2u);
}

TEST_F(ListedCatalog, WhatCannotBeUnderstoodIsLeftOut)
{
    ASSERT_TRUE(read(R"([7, {}, {"name": ""}, {"name": "a", "path": "no-slash"}, {"name": "b", "path": "/x y"},
        {"name": "c", "path": "/x\r\nHost: evil"}, {"name": "d", "path": "/x?y"}, {"name": "e", "port": 65536},
        {"name": "f", "port": 65535}, {"name": "g", "requires": "quantum"}, {"name": "h"}])"));
    EXPECT_EQ(described(), "f() h()");
    ASSERT_TRUE(read("[]"));
    EXPECT_EQ(described(), "");
}

TEST_F(ListedCatalog, ANameMeansOneThing)
{
    ASSERT_TRUE(read(R"([{"name": "a", "aliases": ["x", "x", "", "a"]}, {"name": "b", "aliases": ["x", "y"]},
        {"name": "a", "aliases": ["z"]}, {"name": "y"}, {"name": "z"}])"));
    EXPECT_EQ(described(), "a(x) b(y) z()");
}

TEST_F(ListedCatalog, TheOneOfTheContractHoldsWhileNoneWasSaid)
{
    catalog = listed_catalog_default(&arena);
    ASSERT_NE(catalog, nullptr);
    EXPECT_EQ(catalog->n_services, 14u);
    EXPECT_EQ(described().rfind("llm-inference(llm) vision-ocr(ocr) rag-embeddings(rag) ", 0), 0u) << described();
    EXPECT_NE(described().find("edge-proxy()/service/{type}"), std::string::npos);
}

TEST_F(ListedCatalog, NoListIsNoCatalog)
{
    for (const char *text : {"", "{", "7", "\"x\"", "[{\"name\": \"a\"}", "[{\"name\": \"a\"}],", "{}"})
        EXPECT_FALSE(read(text)) << text;
}

TEST_F(ListedCatalog, ThereAreOnlySoMany)
{
    std::string text = "[";
    for (int i = 0; i < LISTED_SERVICES_MAX; i++)
        text += std::string(i > 0 ? "," : "") + R"({"name": "s)" + std::to_string(i) + "\"}";
    ASSERT_TRUE(read(text + "]"));
    EXPECT_EQ(catalog->n_services, (size_t)LISTED_SERVICES_MAX);
    ASSERT_TRUE(read(text + R"(, {"name": "one more"}])"));
    EXPECT_EQ(catalog->n_services, (size_t)LISTED_SERVICES_MAX);
}

} // namespace
