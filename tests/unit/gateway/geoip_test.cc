// Where an address is: what a database says, and what becomes of one that is none.

extern "C" {
#include "gateway/geoip.h"
}

#include "tests/unit/gateway/mmdb.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

namespace
{

class Geoip : public ::testing::Test
{
  protected:
    Geoip()
    {
        const char *root = getenv("TEST_TMPDIR");
        path = std::string(root != nullptr ? root : "/tmp") + "/places-" + std::to_string(getpid()) + ".mmdb";
    }
    ~Geoip() override
    {
        geoip_close(geoip);
        unlink(path.c_str());
    }
    void write(const std::string &bytes, bool in_place = false)
    {
        std::string fresh = in_place ? path : path + ".new";
        std::ofstream(fresh, std::ios::binary | std::ios::trunc) << bytes;
        EXPECT_TRUE(in_place || rename(fresh.c_str(), path.c_str()) == 0);
    }
    bool open()
    {
        geoip = geoip_open(path.c_str(), error, sizeof error);
        return geoip != nullptr;
    }
    std::string country(const char *address)
    {
        return geoip_find(geoip, address, &answer) ? answer.country : "none";
    }
    std::string path;
    struct geoip *geoip = nullptr;
    struct geoip_answer answer = {};
    char error[600] = "";
};

TEST_F(Geoip, FindsTheNarrowestNetwork)
{
    write(Mmdb()
              .add("81.0.0.0/8", {"FR", "EU", false, 0, 0})
              .add("81.2.69.0/24", {"GB", "EU", true, 51.5, -0.12})
              .add("81.2.69.7/32", {"US", "", false, 0, 0})
              .add("2001:db8::/32", {"", "AS", false, 0, 0})
              .bytes());
    ASSERT_TRUE(open()) << error;
    EXPECT_EQ(country("81.3.0.1"), "fr");
    EXPECT_FALSE(answer.place_known);
    EXPECT_EQ(country("81.2.69.160"), "uk") << "as coordinators there call it";
    EXPECT_TRUE(answer.place_known);
    EXPECT_EQ(answer.latitude, 51.5);
    EXPECT_EQ(answer.longitude, -0.12);
    EXPECT_STREQ(answer.continent, "eu");
    EXPECT_EQ(country("81.2.69.7"), "us");
    EXPECT_EQ(country("82.0.0.1"), "none");
    EXPECT_EQ(country("2001:db8::1"), "");
    EXPECT_STREQ(answer.continent, "as");
    EXPECT_EQ(country("2001:db9::1"), "none");
    for (const char *wrong : {"", "nonsense", "1.2.3", "81.2.69.160:80"})
        EXPECT_EQ(country(wrong), "none") << wrong;
}

TEST_F(Geoip, CoordinatesThatAreNoneAreLeftOut)
{
    write(Mmdb()
              .add("10.0.0.0/8", {"DE", "", true, 90, -180})
              .add("11.0.0.0/8", {"DE", "", true, 90.1, 0})
              .add("12.0.0.0/8", {"DE", "", true, 0, 181})
              .add("13.0.0.0/8", {"GERMANY", "", false, 0, 0})
              .bytes());
    ASSERT_TRUE(open()) << error;
    EXPECT_EQ(country("10.0.0.1"), "de");
    EXPECT_TRUE(answer.place_known);
    EXPECT_EQ(country("11.0.0.1"), "de");
    EXPECT_FALSE(answer.place_known);
    EXPECT_EQ(country("12.0.0.1"), "de");
    EXPECT_FALSE(answer.place_known);
    EXPECT_EQ(country("13.0.0.1"), "none");
}

TEST_F(Geoip, ABrokenOneIsRefusedAndSaysWhatToDo)
{
    EXPECT_FALSE(open());
    EXPECT_NE(std::string(error).find("No such file"), std::string::npos) << error;
    std::string good = Mmdb().add("81.0.0.0/8", {"FR", "EU", false, 0, 0}).bytes();
    for (const std::string &bytes :
         {std::string(), std::string("nonsense"), std::string(5000, 'x'), good.substr(0, good.size() - 60)}) {
        write(bytes);
        EXPECT_FALSE(open()) << bytes.size();
        EXPECT_NE(std::string(error).find("download it again"), std::string::npos) << error;
    }
}

TEST_F(Geoip, AReplacedOneIsReadAndABrokenOneChangesNothing)
{
    write(Mmdb().add("81.0.0.0/8", {"FR", "", false, 0, 0}).bytes());
    ASSERT_TRUE(open()) << error;
    for (bool in_place : {false, true}) {
        write(Mmdb().add("81.0.0.0/8", {"DE", "", false, 0, 0}).add("1.0.0.0/8", {"AU", "", false, 0, 0}).bytes(),
              in_place);
        geoip_again(geoip, in_place);
        EXPECT_EQ(country("81.0.0.1"), "de");
        write("broken", in_place);
        EXPECT_EQ(country("81.0.0.1"), "de") << "what was there is a copy";
        geoip_again(geoip, false);
        EXPECT_EQ(country("81.0.0.1"), "de");
        write(Mmdb().add("81.0.0.0/8", {"FR", "", false, 0, 0}).bytes(), in_place);
        geoip_again(geoip, true);
        EXPECT_EQ(country("81.0.0.1"), "fr");
        EXPECT_EQ(country("1.0.0.1"), "none");
    }
    unlink(path.c_str());
    geoip_again(geoip, true);
    EXPECT_EQ(country("81.0.0.1"), "fr");
}

} // namespace
