// Tables: alignment, widths of UTF-8, and cells from strangers.

extern "C" {
#include "services/ctl/table.h"
}

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace
{

std::string rendered(const table &t)
{
    buffer out = BUFFER_INIT;
    EXPECT_TRUE(table_render(&t, &out));
    std::string text(out.data != nullptr ? out.data : "", out.bytes);
    buffer_free(&out);
    return text;
}

struct Table : ::testing::Test {
    table t = {};
    void SetUp() override
    {
        table_add_column(&t, "worker", TABLE_LEFT);
        table_add_column(&t, "load", TABLE_RIGHT);
        table_add_column(&t, "url", TABLE_LEFT);
    }
    void TearDown() override
    {
        table_free(&t);
    }
    void row(const char *worker, const char *load, const char *url)
    {
        table_add_row(&t);
        table_set(&t, "%s", worker);
        table_set(&t, "%s", load);
        table_set(&t, "%s", url);
    }
};

TEST_F(Table, AlignsColumns)
{
    row("gpu-1", "0.42", "http://a");
    row("a-long-name", "12.00", "http://b");
    EXPECT_EQ(rendered(t), "WORKER        LOAD  URL\n"
                           "gpu-1         0.42  http://a\n"
                           "a-long-name  12.00  http://b\n");
}

TEST_F(Table, NoSpacesAtTheEndOfALine)
{
    row("a", "", "");
    row("b", "1", "");
    EXPECT_EQ(rendered(t), "WORKER  LOAD  URL\na\nb          1\n");
}

TEST_F(Table, EmptyCellsKeepTheColumns)
{
    row("", "1", "u");
    row("b", "", "u");
    EXPECT_EQ(rendered(t), "WORKER  LOAD  URL\n           1  u\nb             u\n");
}

TEST_F(Table, OnlyTitlesWithoutRows)
{
    EXPECT_EQ(rendered(t), "WORKER  LOAD  URL\n");
}

TEST_F(Table, CountsCodePoints)
{
    row("Zürich-Ost", "1", "x");
    row("0123456789", "2", "y");
    EXPECT_EQ(rendered(t), "WORKER      LOAD  URL\nZürich-Ost     1  x\n0123456789     2  y\n");
}

TEST_F(Table, ControlCharactersCannotReachATerminal)
{
    row("\033[31mred", "a\nb", "tab\there");
    row("c1 \xc2\x9b", "\x7f", "ok \xc2\xa0");
    std::string text = rendered(t);
    EXPECT_EQ(text.find('\033'), std::string::npos);
    EXPECT_EQ(text.find('\t'), std::string::npos);
    EXPECT_EQ(text.find('\x7f'), std::string::npos);
    EXPECT_EQ(text.find("\xc2\x9b"), std::string::npos);
    EXPECT_NE(text.find("ok \xc2\xa0"), std::string::npos);
    EXPECT_NE(text.find("?[31mred"), std::string::npos);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

TEST_F(Table, BytesThatAreNotUtf8)
{
    row("\xff\xfe", "\xc0\xaf", "\xed\xa0\x80");         // never, overlong, surrogate
    row("\xe2\x82", "\xf5\x80\x80\x80", "\xe2\x82\xac"); // cut off, beyond Unicode, a euro sign
    EXPECT_EQ(rendered(t), "WORKER  LOAD  URL\n??        ??  ???\n??      ????  \xe2\x82\xac\n");
}

TEST_F(Table, TooManyCellsAreAnErrorOfTheProgram)
{
    row("a", "b", "c");
    table_set(&t, "d");
    buffer out = BUFFER_INIT;
    EXPECT_FALSE(table_render(&t, &out));
    buffer_free(&out);
}

} // namespace
