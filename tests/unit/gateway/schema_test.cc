// Schemas: what they take and refuse, that the two bodies that are read by hand are read as
// their schemas say, and that the registry takes what they take.

extern "C" {
#include "gateway/request_json.h"
#include "gateway/schemas.h"
#include "services/registry/spec.h"
}

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace
{

// "" when the schema takes it, else what it says.
std::string by_schema(const schema &schema, const std::string &body)
{
    json_document document;
    json_error error = {};
    if (!json_document_parse(&document, body.data(), body.size())) {
        json_document_free(&document);
        return "malformed";
    }
    (void)schema_check(&schema, &document, json_root(&document), "", &error);
    json_document_free(&document);
    return error.message;
}

std::string by_register_parser(const std::string &body)
{
    struct arena arena;
    json_error error = {};
    Muster__V1__RegisterWorkerRequest *request;
    arena_init(&arena, nullptr, 0);
    if (register_request_from_json(body.data(), body.size(), &arena, &request, nullptr, &error) == REQUEST_JSON_OK) {
        char refusal[SPEC_ERROR_BYTES];
        bool taken = spec_check(request->spec, 0, refusal);
        EXPECT_TRUE(taken || std::string(refusal).find("announced twice") != std::string::npos)
            << body.substr(0, 300) << "\nthe registry: " << refusal;
    }
    arena_free(&arena);
    return error.message;
}

std::string by_heartbeat_parser(const std::string &body)
{
    struct arena arena;
    json_error error = {};
    Muster__V1__Heartbeat *heartbeat;
    arena_init(&arena, nullptr, 0);
    (void)heartbeat_from_json(body.data(), body.size(), &arena, &heartbeat, &error);
    arena_free(&arena);
    return error.message;
}

// "field a.b must be…" → "a.b"
std::string named(const std::string &message)
{
    size_t start = message.find("field ");
    size_t end = std::min(message.find(" must "), message.find(" is required"));
    return start == std::string::npos || end == std::string::npos ? message : message.substr(start, end - start);
}

std::string quoted(size_t bytes)
{
    return '"' + std::string(bytes, 'x') + '"';
}

// Values to try in a place, good ones and bad ones, from both sides of each limit.
std::vector<std::string> candidates(const schema_value &value)
{
    std::vector<std::string> all = {
        "null",
        "true",
        "-1",
        "0",
        "5",
        "5.0",
        "1.5",
        "1e300",
        "-0.0",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        R"("")",
        R"("a")",
        R"("\u0001")",
        R"("\u007f")",
        R"("\u0085")",
        R"("\u00a0")",
        R"("a/b")",
        R"("a\\b")",
        R"(".")",
        R"("..")",
        R"("..;a")",
        R"("...")",
        R"("HTTP://A.EXAMPLE")",
        R"("ä\"' ")",
        R"("http://a.example/x")",
        R"("https://u@b.example")",
        R"("ftp://c")",
        "[]",
        "[1]",
        R"(["a"])",
        R"([null])",
        "{}",
        R"({"a": 1})",
        R"({"a": "b"})",
        R"({"a": null})",
    };
    for (const char *const *word = value.words; word != nullptr && *word != nullptr; word++)
        all.push_back('"' + std::string(*word) + '"');
    uint64_t limit = value.maximum;
    switch (value.kind) {
    case SCHEMA_TEXT:
    case SCHEMA_LINE:
    case SCHEMA_NAME:
    case SCHEMA_SEGMENT:
        if (limit > 0) {
            all.push_back(quoted(limit));
            all.push_back(quoted(limit + 1));
        }
        break;
    case SCHEMA_URL:
        all.push_back("\"http://a.example/" + std::string(limit - 17, 'x') + '"');
        all.push_back("\"http://a.example/" + std::string(500, 'x') + '"');
        break;
    case SCHEMA_NUMBER:
    case SCHEMA_WHOLE:
        all.push_back(std::to_string(limit));
        all.push_back(std::to_string(limit + 1));
        break;
    case SCHEMA_FREE_LIST:
        all.push_back('[' + quoted(limit - 4) + ']');
        all.push_back('[' + quoted(limit - 3) + ']');
        break;
    case SCHEMA_OBJECT:
        for (const schema_field *field = value.of->fields; field->name != nullptr; field++) {
            for (const std::string &inner : candidates(field->value)) {
                std::string rest;
                for (const schema_field *other = value.of->fields; other->name != nullptr; other++) {
                    if (other != field && other->example != nullptr)
                        rest += std::string(", \"") + other->name + "\": " + other->example;
                }
                all.push_back('{' + ('"' + std::string(field->name)) + "\": " + inner + rest + '}');
            }
        }
        if (limit > 0) {
            all.push_back("{\"own\": " + quoted(limit - 11) + '}');
            all.push_back("{\"own\": " + quoted(limit - 10) + '}');
        }
        break;
    case SCHEMA_LIST:
    case SCHEMA_MAP: {
        bool map = value.kind == SCHEMA_MAP;
        for (const std::string &inner : candidates(*value.items))
            all.push_back(map ? "{\"a\": " + inner + '}' : '[' + inner + ']');
        for (uint64_t count = limit; limit > 0 && count <= limit + 1; count++) {
            std::string many;
            for (uint64_t i = 0; i < count; i++)
                many += (i > 0 ? "," : "") + (map ? "\"m" + std::to_string(i) + "\": " : std::string()) + "\"x\"";
            all.push_back(map ? '{' + many + '}' : '[' + many + ']');
        }
        if (map) {
            all.push_back("{" + quoted(SCHEMA_KEY_BYTES_MAX) + ": \"x\"}");
            all.push_back("{" + quoted(SCHEMA_KEY_BYTES_MAX + 1) + ": \"x\"}");
        }
        break;
    }
    case SCHEMA_EITHER:
        for (const schema_value *one = value.items; one->kind != SCHEMA_END; one++) {
            for (const std::string &inner : candidates(*one))
                all.push_back(inner);
        }
        break;
    default:
        break;
    }
    return all;
}

bool is_alternative(const schema &schema, const std::string &name)
{
    for (const char *const *one = schema.one_of_required; one != nullptr && *one != nullptr; one++) {
        if (name == *one)
            return true;
    }
    return false;
}

// A body with each candidate for each field, beside what the schema requires; hands each to the
// parser. Returns how many were taken and how many refused.
std::pair<size_t, size_t> compare(const schema &schema, const std::string &required_name, const std::string &required,
                                  const std::function<std::string(const std::string &)> &parser)
{
    size_t taken = 0;
    size_t refused = 0;
    const auto check = [&](const std::string &body) {
        std::string said = by_schema(schema, body);
        EXPECT_EQ(named(parser(body)), named(said))
            << body.substr(0, 300) << "\nschema: " << said << "\nparser: " << parser(body);
        (said.empty() ? taken : refused)++;
    };
    for (const schema_field *field = schema.fields; field->name != nullptr; field++) {
        for (const std::string &candidate : candidates(field->value)) {
            std::string member = '"' + std::string(field->name) + "\": " + candidate;
            // Of two mistakes either may be named: what is required is there, unless it is this field.
            if (is_alternative(schema, field->name))
                check('{' + member + '}');
            if (field->name != required_name)
                check('{' + required + ", " + member + '}');
            else
                check('{' + member + '}');
        }
    }
    for (const char *body : {"{}", "[]", "5", "\"a\"", "null"})
        check(body);
    return {taken, refused};
}

TEST(Schema, TheRegistrationIsReadAsItSays)
{
    auto [taken, refused] =
        compare(schema_registration, "tunnel_url", R"("tunnel_url": "http://w.example")", by_register_parser);
    EXPECT_GT(taken, 100u);
    EXPECT_GT(refused, 300u);
}

TEST(Schema, TheHeartbeatIsReadAsItSays)
{
    auto [taken, refused] = compare(schema_heartbeat, "worker_id", R"("worker_id": "w")", by_heartbeat_parser);
    EXPECT_GT(taken, 100u);
    EXPECT_GT(refused, 200u);
}

TEST(Schema, ABodyOfAllExamplesIsTaken)
{
    for (const schema *schema : {&schema_registration, &schema_heartbeat}) {
        std::string body;
        for (const schema_field *field = schema->fields; field->name != nullptr; field++) {
            if (field->example != nullptr)
                body += (body.empty() ? "\"" : ", \"") + std::string(field->name) + "\": " + field->example;
        }
        EXPECT_EQ(by_schema(*schema, '{' + body + '}'), "") << schema->name;
    }
}

const schema_value small_number = {
    .kind = SCHEMA_WHOLE, .minimum = 1, .maximum = 10, .words = nullptr, .of = nullptr, .items = nullptr};

std::string by_text(const schema_value &value, const std::string &text)
{
    json_error error = {};
    bool fine = schema_check_text(&value, "step", text.data(), text.size(), &error);
    EXPECT_EQ(fine, error.message[0] == '\0');
    return error.message;
}

TEST(Schema, ParametersOfAQuery)
{
    EXPECT_EQ(by_text(small_number, "1"), "");
    EXPECT_EQ(by_text(small_number, "10"), "");
    EXPECT_EQ(by_text(small_number, "0"), "field step must be a whole number from 1 to 10");
    EXPECT_EQ(by_text(small_number, "11"), "field step must be a whole number from 1 to 10");
    EXPECT_EQ(by_text(small_number, "1.5"), "field step must be a whole number from 1 to 10");
    EXPECT_EQ(by_text(small_number, "ten"), "field step must be a number");
    EXPECT_EQ(by_text(small_number, ""), "field step must be a number");
    EXPECT_EQ(by_text(small_number, "\"1\""), "field step must be a number, not a string");
    schema_value name = {
        .kind = SCHEMA_NAME, .minimum = 0, .maximum = 3, .words = nullptr, .of = nullptr, .items = nullptr};
    EXPECT_EQ(by_text(name, "abc"), "");
    EXPECT_EQ(by_text(name, "abcd"), "field step must be at most 3 bytes long, not 4");
    EXPECT_EQ(by_text(name, ""), "field step must not be empty");
    EXPECT_EQ(by_text(name, "a\xff"), "field step must be UTF-8");
    EXPECT_EQ(by_text(name, "\xc3\xa9"), "");
}

} // namespace
