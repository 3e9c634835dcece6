/* Whom a worker turns to, and in which order. */

#include <gtest/gtest.h>

#include <string>
#include <vector>

extern "C" {
#include "services/worker/coordinators.h"
}

namespace
{

using Urls = std::vector<std::string>;

class Coordinators : public testing::Test
{
  protected:
    bool init(const std::string &list)
    {
        return coordinators_init(&coordinators, list.c_str(), error, sizeof error);
    }

    /* From the current one on, each once; ends where it began. */
    Urls round()
    {
        Urls urls;
        for (size_t i = 0; i < coordinators.round_count; i++) {
            urls.push_back(coordinators_current(&coordinators));
            coordinators_next(&coordinators);
        }
        return urls;
    }

    void registered(const char *home, const Urls &fallbacks)
    {
        std::vector<const char *> texts;
        for (const std::string &url : fallbacks)
            texts.push_back(url.c_str());
        coordinators_registered(&coordinators, home, texts.data(), texts.size());
    }

    struct coordinators coordinators;
    char error[256] = "";
};

TEST_F(Coordinators, AreTriedInTheOrderOfTheList)
{
    ASSERT_TRUE(init("http://a:1/, https://b/base//,http://[::1]:3 ,http://a:1")) << error;
    EXPECT_EQ(round(), (Urls{"http://a:1", "https://b/base", "http://[::1]:3"}));
}

TEST_F(Coordinators, BadListsAreRefusedWithWhatToDo)
{
    for (const char *list : {"", " ", ",", "http://a,", ",http://a", "http://a,,http://b", "http://a;http://b", "a:1",
                             "ftp://a", "http://a b", "http://", "http://a?x=1", "http://u:p@a"}) {
        error[0] = '\0';
        EXPECT_FALSE(init(list)) << list;
        EXPECT_NE(std::string(error).find("http://HOST:PORT"), std::string::npos) << list << ": " << error;
    }
    EXPECT_FALSE(init("http://good,nonsense"));
    EXPECT_NE(std::string(error).find("'nonsense'"), std::string::npos) << error;
}

TEST_F(Coordinators, TheListHasALimit)
{
    std::string list = "http://a0";
    for (int i = 1; i < COORDINATORS_CONFIGURED_MAX; i++)
        list += ",http://a" + std::to_string(i);
    EXPECT_TRUE(init(list)) << error;
    EXPECT_EQ(coordinators.round_count, size_t{COORDINATORS_CONFIGURED_MAX});
    EXPECT_FALSE(init(list + ",http://more"));
    EXPECT_NE(std::string(error).find("at most 8"), std::string::npos) << error;
}

TEST_F(Coordinators, OneAloneStaysTheOnlyOne)
{
    ASSERT_TRUE(init("http://a"));
    for (const char *home : {(const char *)nullptr, "http://a/"}) {
        registered(home, {});
        EXPECT_EQ(round(), Urls{"http://a"});
        coordinators_unheard(&coordinators);
        EXPECT_FALSE(coordinators_doubtful(&coordinators));
        EXPECT_EQ(round(), Urls{"http://a"});
        coordinators_lost(&coordinators);
        EXPECT_EQ(round(), Urls{"http://a"});
    }
}

TEST_F(Coordinators, OnTheWayBackTheOneThatIsLeftComesSecond)
{
    ASSERT_TRUE(init("http://edge,http://spare")) << error;
    registered("http://near", {"http://far"});
    coordinators_lost(&coordinators);
    registered("http://far", {"http://other"});
    coordinators_return(&coordinators, "http://near");
    EXPECT_EQ(round(), (Urls{"http://near", "http://far", "http://other", "http://edge", "http://spare"}));
    coordinators_return(&coordinators, coordinators_current(&coordinators));
    EXPECT_STREQ(coordinators_current(&coordinators), "http://near");
    registered(nullptr, {});
    EXPECT_STREQ(coordinators.home, "http://near");
}

TEST_F(Coordinators, AfterALossFallbacksComeThenTheListThenTheLostOne)
{
    ASSERT_TRUE(init("http://a,http://b"));
    registered(nullptr, {"http://f1", "http://a", "http://f2", "http://f1"});
    EXPECT_EQ(round(), (Urls{"http://a", "http://f1", "http://f2", "http://b"})) << "the one that is spoken to first";
    coordinators_lost(&coordinators);
    EXPECT_EQ(round(), (Urls{"http://f1", "http://f2", "http://b", "http://a"}));
    coordinators_next(&coordinators);
    registered(nullptr, {"http://f3"});
    EXPECT_STREQ(coordinators_current(&coordinators), "http://f2") << "though it is named no more";
    coordinators_lost(&coordinators);
    EXPECT_EQ(round(), (Urls{"http://f3", "http://a", "http://b", "http://f2"}));
}

TEST_F(Coordinators, HeartbeatsGoStraightToWhoTookTheWorker)
{
    ASSERT_TRUE(init("http://edge"));
    registered("http://home/", {"http://other", "http://edge"});
    EXPECT_STREQ(coordinators_current(&coordinators), "http://home");
    EXPECT_TRUE(coordinators_doubtful(&coordinators));
    coordinators_heard(&coordinators);
    EXPECT_FALSE(coordinators_doubtful(&coordinators));
    coordinators_unheard(&coordinators);
    EXPECT_EQ(round(), (Urls{"http://edge", "http://other", "http://home"}));
    coordinators_heard(&coordinators);
    EXPECT_STREQ(coordinators_current(&coordinators), "http://edge") << "as long as that works";
    coordinators_unheard(&coordinators);
    EXPECT_STREQ(coordinators_current(&coordinators), "http://home");
    coordinators_lost(&coordinators);
    EXPECT_EQ(round(), (Urls{"http://other", "http://edge", "http://home"}));
}

TEST_F(Coordinators, WhoTakesNoRegistrationNamesWhoDoes)
{
    auto named = [this](const Urls &urls) {
        std::vector<const char *> texts;
        for (const std::string &url : urls)
            texts.push_back(url.c_str());
        return coordinators_named(&coordinators, texts.data(), texts.size());
    };
    ASSERT_TRUE(init("http://a,http://edge,http://b"));
    coordinators_next(&coordinators);
    EXPECT_FALSE(named({}));
    EXPECT_FALSE(named({"ftp://x", "http://edge/"})) << "itself, which leads nowhere";
    EXPECT_STREQ(coordinators_current(&coordinators), "http://edge");
    EXPECT_TRUE(named({"http://uk/", "nonsense", "http://us"}));
    EXPECT_EQ(round(), (Urls{"http://edge", "http://uk", "http://us", "http://a", "http://b"}));
    coordinators_next(&coordinators);
    EXPECT_TRUE(named({"http://de"})) << "it was an edge router too";
    EXPECT_EQ(round(), (Urls{"http://uk", "http://de", "http://a", "http://edge", "http://b"}));
    ASSERT_TRUE(init("https://edge"));
    EXPECT_FALSE(named({"http://uk"})) << "where the key would go in the clear";
}

TEST_F(Coordinators, NonsenseInAnAnswerIsPassedOver)
{
    ASSERT_TRUE(init("http://a"));
    std::string longest = "http://b/" + std::string(COORDINATORS_URL_BYTES, 'x');
    registered("javascript:alert(1)", {"", "ftp://x", "http://", "http://x y", "http://x\r\ny", longest, "c:80",
                                       "http://u:p@x", "http://good/"});
    EXPECT_EQ(round(), (Urls{"http://a", "http://good"}));
}

TEST_F(Coordinators, FallbacksHaveALimit)
{
    ASSERT_TRUE(init("http://a"));
    Urls many = {"nonsense"};
    for (int i = 0; i < COORDINATORS_FALLBACKS_MAX + 5; i++)
        many.push_back("http://f" + std::to_string(i));
    registered("http://home", many);
    EXPECT_EQ(coordinators.fallback_count, size_t{COORDINATORS_FALLBACKS_MAX});
    EXPECT_EQ(round().size(), size_t{COORDINATORS_FALLBACKS_MAX + 2});
}

TEST_F(Coordinators, KeysAreNotSentInTheClearBecauseSomebodyNamedAnHttpUrl)
{
    ASSERT_TRUE(init("https://a,http://b"));
    registered("http://home", {"http://c", "https://d"});
    EXPECT_EQ(round(), (Urls{"https://a", "https://d", "http://b"}));
    ASSERT_TRUE(init("http://b"));
    registered("https://home", {"http://c", "https://d"});
    EXPECT_EQ(round(), (Urls{"https://home", "http://c", "https://d", "http://b"}));
}

} // namespace
