// The page at /: what it says of the fleet, and that nobody's name gets out of its place.

#include "tests/unit/gateway/messages.h"

extern "C" {
#include "gateway/index_page.h"
}

#include <gtest/gtest.h>

namespace
{

constexpr auto GPU = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
constexpr auto CPU = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
constexpr auto ONLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto OFFLINE = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;

class IndexPage : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        replica_init(&replica);
        Catalog catalog;
        catalog.service("llm-inference", GPU, 1, 8105).service("notes-coa", CPU, 3, 8100);
        ASSERT_TRUE(replica_apply_catalog(&replica, &catalog.message));
    }
    void TearDown() override
    {
        replica_free(&replica);
    }
    void put(const std::string &id, Muster__V1__WorkerStatus status, const std::vector<std::string> &services = {})
    {
        WorkerFields fields;
        fields.id = id;
        fields.revision = ++revision;
        fields.assigned = services;
        fields.status = status;
        ASSERT_TRUE(replica_put(&replica, WorkerMessage(fields).get()));
    }
    std::string render(const std::vector<const char *> &failed = {}, const char *warning = "")
    {
        struct buffer out = BUFFER_INIT;
        struct index_page page = {"here & <now>", failed.data(), failed.size(), warning, closed, API_COORDINATOR};
        index_page_render(&page, &replica, &out);
        std::string text(out.data, out.bytes);
        buffer_free(&out);
        return text;
    }
    static bool has(const std::string &text, const std::string &part)
    {
        return text.find(part) != std::string::npos;
    }
    struct replica replica;
    uint64_t revision = 0;
    bool closed = false;
};

TEST_F(IndexPage, SaysNothingOfTheFleetWhereKeysAreAskedFor)
{
    put("a-worker", OFFLINE);
    EXPECT_TRUE(has(render({"router"}, "a warning"), "a-worker"));
    closed = true;
    std::string text = render({"router"}, "a warning");
    for (const char *part : {"a-worker", "router cannot", "a warning", "llm-inference"})
        EXPECT_FALSE(has(text, part)) << part;
    EXPECT_TRUE(has(text, "/api/admin/workers"));
}

TEST_F(IndexPage, SaysHowTheFleetIs)
{
    std::string empty = render();
    EXPECT_TRUE(has(empty, "<h1>Muster: here &amp; &lt;now></h1>")) << empty;
    EXPECT_TRUE(has(empty, "<p>0 workers, 0 of them healthy")) << empty;
    EXPECT_TRUE(has(empty, "<p>Nobody runs llm-inference, notes-coa.</p>")) << empty;
    EXPECT_FALSE(has(empty, "Workers to look at")) << empty;
    EXPECT_FALSE(has(empty, "class=\"bad\"")) << empty;

    put("a", ONLINE, {"notes-coa"});
    put("b", OFFLINE, {"llm-inference"});
    std::string text = render({"registry", "router"}, "the disk is <full>");
    EXPECT_TRUE(has(text, "<p>2 workers, 1 of them healthy")) << text;
    EXPECT_TRUE(has(text, "<p>Nobody runs llm-inference.</p>")) << text;
    EXPECT_TRUE(has(text, "cannot be reached: registry, router.</p>")) << text;
    EXPECT_TRUE(has(text, "the disk is &lt;full></p>")) << text;
    EXPECT_TRUE(has(text, "<tr><td>b</td>")) << text;
    EXPECT_FALSE(has(text, "<tr><td>a</td>")) << text;
}

TEST_F(IndexPage, NamesOfWorkersAreNoHtml)
{
    put("<script>alert(\"x\")&", OFFLINE);
    std::string text = render();
    EXPECT_FALSE(has(text, "<script")) << text;
    EXPECT_TRUE(has(text, "<td>&lt;script>alert(&quot;x&quot;)&amp;</td>")) << text;
}

TEST_F(IndexPage, AMillionUnwellWorkersAreCounted)
{
    for (int i = 0; i < INDEX_PAGE_WORKERS_MAX; i++)
        put("w" + std::to_string(i), OFFLINE);
    EXPECT_FALSE(has(render(), "more.</p>"));
    for (int i = 0; i < 7; i++)
        put("x" + std::to_string(i), OFFLINE);
    EXPECT_TRUE(has(render(), "… and 7 more.</p>"));
}

TEST_F(IndexPage, LinksOnlyToWhatNeedsNoParameter)
{
    std::string text = render();
    for (const char *link : {"/docs", "/health", "/metrics", "/api/admin/workers", "/"})
        EXPECT_TRUE(has(text, "<a href=\"" + std::string(link) + "\">")) << link;
    for (const char *link : {"/api/admin/history", "/ws/events", "/api/worker/register"}) {
        EXPECT_FALSE(has(text, "<a href=\"" + std::string(link) + "\">")) << link;
        EXPECT_TRUE(has(text, "<td>" + std::string(link) + "</td>")) << link;
    }
}

} // namespace
