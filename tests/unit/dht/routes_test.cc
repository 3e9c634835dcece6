// The router's table, as far as others are told of it.

#include <gtest/gtest.h>

#include <list>
#include <map>
#include <string>
#include <vector>

extern "C" {
#include "services/dht/routes.h"
}

namespace
{

struct Told {
    std::string worker, url;
    uint32_t priority = 0, weight = 1;
};

// A message of WatchRoutes, with all that it points to.
class Message
{
  public:
    Message()
    {
        muster__v1__watch_routes_response__init(&response);
    }
    Message &Service(const std::string &name, const std::vector<Told> &told, const std::vector<std::string> &gone = {})
    {
        auto &service = services.emplace_back();
        muster__v1__service_routes__init(&service);
        service.service = Text(name);
        for (const auto &one : told) {
            auto &endpoint = endpoints.emplace_back();
            muster__v1__endpoint__init(&endpoint);
            endpoint.worker_id = Text(one.worker);
            endpoint.url = Text(one.url);
            endpoint.priority = one.priority;
            endpoint.weight = one.weight;
            endpoint.worker_type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
            endpoint_lists[&service].push_back(&endpoint);
        }
        for (const auto &id : gone)
            text_lists[&service].push_back(Text(id));
        service.endpoints = endpoint_lists[&service].data();
        service.n_endpoints = endpoint_lists[&service].size();
        service.removed_worker_ids = text_lists[&service].data();
        service.n_removed_worker_ids = text_lists[&service].size();
        service_list.push_back(&service);
        response.services = service_list.data();
        response.n_services = service_list.size();
        return *this;
    }
    Message &Removed(const std::string &name)
    {
        removed.push_back(Text(name));
        response.removed_services = removed.data();
        response.n_removed_services = removed.size();
        return *this;
    }
    Message &Snapshot(bool begins, bool ends)
    {
        response.snapshot = begins;
        response.snapshot_complete = ends;
        return *this;
    }
    Muster__V1__WatchRoutesResponse response;

  private:
    char *Text(const std::string &text)
    {
        return texts.emplace_back(text).data();
    }
    std::list<std::string> texts;
    std::list<Muster__V1__ServiceRoutes> services;
    std::list<Muster__V1__Endpoint> endpoints;
    std::map<Muster__V1__ServiceRoutes *, std::vector<Muster__V1__Endpoint *>> endpoint_lists;
    std::map<Muster__V1__ServiceRoutes *, std::vector<char *>> text_lists;
    std::vector<Muster__V1__ServiceRoutes *> service_list;
    std::vector<char *> removed;
};

class RoutesTest : public ::testing::Test
{
  protected:
    RoutesTest() : routes(dht_routes_create()) {}
    ~RoutesTest() override
    {
        dht_routes_free(routes);
    }
    void Apply(const Message &message)
    {
        ASSERT_TRUE(dht_routes_apply(routes, &message.response));
    }
    // Services that changed, and their workers: "a=http://a b=http://b (7)".
    std::map<std::string, std::string> Changed()
    {
        std::map<std::string, std::string> all;
        dht_routes_service service;
        while (dht_routes_next_changed(routes, &service)) {
            std::string text;
            for (size_t i = 0; i < service.count; i++) {
                text += std::string(service.workers[i].worker_id) + "=" + service.workers[i].url + " ";
                EXPECT_EQ(service.workers[i].type, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU);
            }
            EXPECT_EQ(all.count(service.name), 0u) << "once";
            all[service.name] = text + "(" + std::to_string(service.total) + ")";
        }
        return all;
    }
    using Services = std::map<std::string, std::string>;
    dht_routes *routes;
};

TEST_F(RoutesTest, WorkersInTheOrderOfTheirIds)
{
    Apply(Message().Service("ocr", {{"b", "http://b"}, {"a", "http://a"}}).Snapshot(true, true));
    EXPECT_EQ(Changed(), (Services{{"ocr", "a=http://a b=http://b (2)"}}));
    EXPECT_EQ(Changed(), Services{});
}

TEST_F(RoutesTest, AWeightIsNoChangeAPlaceOrAPriorityIs)
{
    Apply(Message().Service("ocr", {{"a", "http://a"}, {"b", "http://b"}}).Snapshot(true, true));
    (void)Changed();
    Apply(Message().Service("ocr", {{"a", "http://a", 0, 99}}));
    EXPECT_EQ(Changed(), Services{});
    Apply(Message().Service("ocr", {{"a", "http://c"}}));
    EXPECT_EQ(Changed(), (Services{{"ocr", "a=http://c b=http://b (2)"}}));
    Apply(Message().Service("ocr", {{"a", "http://c", 1}}));
    EXPECT_EQ(Changed(), (Services{{"ocr", "b=http://b (1)"}})) << "it is for when b is gone";
    Apply(Message().Service("ocr", {}, {"b"}));
    EXPECT_EQ(Changed(), (Services{{"ocr", "a=http://c (1)"}}));
    Apply(Message().Service("ocr", {{"a", "http://d"}}, {"a"}));
    EXPECT_EQ(Changed(), (Services{{"ocr", "a=http://d (1)"}})) << "removed, and there again";
    Apply(Message().Service("ocr", {}, {"a"}));
    EXPECT_EQ(Changed(), (Services{{"ocr", "(0)"}}));
}

TEST_F(RoutesTest, AServiceThatIsGoneIsToldOnce)
{
    Apply(Message().Service("ocr", {{"a", "http://a"}}).Service("llm", {{"a", "http://a"}}).Snapshot(true, true));
    (void)Changed();
    Apply(Message().Removed("ocr").Removed("none"));
    EXPECT_EQ(Changed(), (Services{{"ocr", "(0)"}}));
    EXPECT_EQ(Changed(), Services{});
    Apply(Message().Removed("llm").Service("llm", {{"b", "http://b"}}));
    EXPECT_EQ(Changed(), (Services{{"llm", "b=http://b (1)"}})) << "it came back in the same message";
    Apply(Message().Service("ocr", {{"c", "http://c"}}));
    EXPECT_EQ(Changed(), (Services{{"ocr", "c=http://c (1)"}}));
}

TEST_F(RoutesTest, ASnapshotInPiecesIsToldWhenItIsComplete)
{
    Apply(Message()
              .Service("ocr", {{"a", "http://a"}, {"b", "http://b"}})
              .Service("llm", {{"a", "http://a"}})
              .Snapshot(true, true));
    (void)Changed();
    Apply(Message().Service("ocr", {{"b", "http://b"}}).Snapshot(true, false));
    EXPECT_EQ(Changed(), Services{});
    // It breaks off and begins anew.
    Apply(Message().Service("ocr", {{"a", "http://a"}}).Snapshot(true, false));
    Apply(Message().Service("ocr", {{"c", "http://c"}}));
    EXPECT_EQ(Changed(), Services{});
    Apply(Message().Service("ner", {{"d", "http://d"}}).Snapshot(false, true));
    EXPECT_EQ(Changed(), (Services{{"ocr", "a=http://a c=http://c (2)"}, {"llm", "(0)"}, {"ner", "d=http://d (1)"}}));
    // The same once more is no change.
    Apply(Message()
              .Service("ocr", {{"c", "http://c"}, {"a", "http://a"}})
              .Service("ner", {{"d", "http://d"}})
              .Snapshot(true, true));
    EXPECT_EQ(Changed(), Services{});
}

TEST_F(RoutesTest, OfManyTheFirstAreListedAndAllAreCounted)
{
    std::vector<Told> many;
    for (int i = 999; i >= 0; i--) {
        std::string id = "w" + std::to_string(1000 + i);
        many.push_back({id, "http://" + id});
    }
    Apply(Message().Service("ocr", many).Snapshot(true, true));
    dht_routes_service service;
    ASSERT_TRUE(dht_routes_next_changed(routes, &service));
    EXPECT_EQ(service.total, 1000u);
    ASSERT_EQ(service.count, static_cast<size_t>(DHT_ROUTES_WORKERS_MAX));
    EXPECT_STREQ(service.workers[0].worker_id, "w1000");
    EXPECT_STREQ(service.workers[DHT_ROUTES_WORKERS_MAX - 1].worker_id, "w1063");
}

} // namespace
