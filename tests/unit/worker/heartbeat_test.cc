/* Heartbeats written by nanopb are read by protobuf-c, answers the other way round: what
 * one library of the project encodes is what the other one understands. */

#include <gtest/gtest.h>
#include <jansson.h>

#include <string>
#include <vector>

extern "C" {
#include "muster/v1/health.pb-c.h"
#include "services/worker/heartbeat.h"
}

namespace
{

const heartbeat_service SERVICES[] = {{"document-processing", "running"}, {"ocr", "starting"}};

heartbeat example()
{
    heartbeat beat = {};
    beat.worker_id = "gpu-1";
    beat.incarnation = 0x123456789abcULL;
    beat.status = HEARTBEAT_DRAINING;
    beat.current_load = 0.42;
    beat.available_memory = "24.5GB";
    beat.gpu_utilization = 65.25;
    beat.active_requests = 2;
    beat.answer_missed = true;
    beat.queue_depth = 3;
    beat.tasks_completed = 1ULL << 40;
    beat.services = SERVICES;
    beat.service_count = 2;
    return beat;
}

TEST(Heartbeat, ProtobufCReadsEveryField)
{
    heartbeat beat = example();
    buffer out = BUFFER_INIT;
    ASSERT_TRUE(heartbeat_encode_request(&beat, "mw1.x.1.y", 77, &out));
    Muster__V1__HeartbeatRequest *request =
        muster__v1__heartbeat_request__unpack(nullptr, out.bytes, (const uint8_t *)out.data);
    buffer_free(&out);
    ASSERT_NE(request, nullptr);
    EXPECT_EQ(request->sequence, 77u);
    EXPECT_STREQ(request->token, "mw1.x.1.y");
    EXPECT_FALSE(request->relayed);
    ASSERT_EQ(request->n_heartbeats, 1u);
    const Muster__V1__Heartbeat *read = request->heartbeats[0];
    EXPECT_STREQ(read->worker_id, "gpu-1");
    EXPECT_EQ(read->incarnation, 0x123456789abcULL);
    EXPECT_EQ(read->status, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING);
    EXPECT_TRUE(read->answer_missed);
    ASSERT_NE(read->load, nullptr);
    EXPECT_EQ(read->load->current_load, 0.42);
    EXPECT_STREQ(read->load->available_memory, "24.5GB");
    EXPECT_EQ(read->load->gpu_utilization, 65.25);
    EXPECT_EQ(read->load->active_requests, 2u);
    EXPECT_EQ(read->load->queue_depth, 3u);
    EXPECT_EQ(read->load->tasks_completed, 1ULL << 40);
    ASSERT_EQ(read->load->n_services_status, 2u);
    EXPECT_STREQ(read->load->services_status[1]->name, "ocr");
    EXPECT_STREQ(read->load->services_status[1]->state, "starting");
    muster__v1__heartbeat_request__free_unpacked(request, nullptr);
}

TEST(Heartbeat, JsonHasEveryField)
{
    heartbeat beat = example();
    buffer out = BUFFER_INIT;
    ASSERT_TRUE(heartbeat_encode_json(&beat, &out));
    json_t *read = json_loadb(out.data, out.bytes, 0, nullptr);
    buffer_free(&out);
    json_t *expected = json_pack("{s:s,s:I,s:b,s:s,s:f,s:s,s:f,s:i,s:i,s:I,s:{s:s,s:s}}", "worker_id", "gpu-1",
                                 "incarnation", (json_int_t)0x123456789abc, "answer_missed", 1, "status", "draining",
                                 "current_load", 0.42, "available_memory", "24.5GB", "gpu_utilization", 65.25,
                                 "active_requests", 2, "queue_depth", 3, "tasks_completed", (json_int_t)1 << 40,
                                 "services_status", "document-processing", "running", "ocr", "starting");
    EXPECT_TRUE(json_equal(read, expected)) << json_dumps(read, 0);
    json_decref(read);
    json_decref(expected);
}

TEST(Heartbeat, JsonRefusesWhatIsNotUtf8)
{
    heartbeat beat = example();
    beat.worker_id = "\xff";
    buffer out = BUFFER_INIT;
    EXPECT_FALSE(heartbeat_encode_json(&beat, &out));
    buffer_free(&out);
}

struct Heard {
    heartbeat_command_type type;
    uint64_t sequence;
    std::string worker_id, reason;
    std::vector<std::string> assigned;
};

void hear(const heartbeat_command *command, void *argument)
{
    Heard heard = {command->type, command->sequence, command->worker_id, command->reason, {}};
    for (size_t i = 0; i < command->assigned.count; i++)
        heard.assigned.push_back(command->assigned.names[i]);
    static_cast<std::vector<Heard> *>(argument)->push_back(heard);
}

/* A response with one command, by protobuf-c. */
std::string response(const std::string &id, Muster__V1__WorkerCommandType type, std::vector<std::string> assigned,
                     const std::string &reason)
{
    Muster__V1__WorkerCommand command = MUSTER__V1__WORKER_COMMAND__INIT;
    command.sequence = 9;
    command.worker_id = const_cast<char *>(id.c_str());
    command.type = type;
    command.reason = const_cast<char *>(reason.c_str());
    std::vector<char *> names;
    for (std::string &name : assigned)
        names.push_back(name.data());
    command.n_assigned_services = names.size();
    command.assigned_services = names.data();
    Muster__V1__WorkerCommand *commands[] = {&command, &command};
    Muster__V1__HeartbeatResponse message = MUSTER__V1__HEARTBEAT_RESPONSE__INIT;
    message.acknowledged_sequence = 12;
    message.n_commands = 2;
    message.commands = commands;
    std::string bytes(muster__v1__heartbeat_response__get_packed_size(&message), '\0');
    muster__v1__heartbeat_response__pack(&message, (uint8_t *)bytes.data());
    return bytes;
}

TEST(Heartbeat, ReadsAcknowledgementAndCommands)
{
    std::string bytes = response("gpu-1", MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT,
                                 {"ocr", "notes-coa"}, "because");
    std::vector<Heard> heard;
    uint64_t acknowledged = 0;
    ASSERT_TRUE(heartbeat_decode_response(bytes.data(), bytes.size(), &acknowledged, hear, &heard));
    EXPECT_EQ(acknowledged, 12u);
    ASSERT_EQ(heard.size(), 2u);
    for (const Heard &command : heard) {
        EXPECT_EQ(command.type, HEARTBEAT_COMMAND_ASSIGNMENT);
        EXPECT_EQ(command.sequence, 9u);
        EXPECT_EQ(command.worker_id, "gpu-1");
        EXPECT_EQ(command.reason, "because");
        EXPECT_EQ(command.assigned, (std::vector<std::string>{"ocr", "notes-coa"}));
    }
}

TEST(Heartbeat, LongTextsAreCutAndUnknownCommandsPassedOver)
{
    std::string bytes = response(std::string(5000, 'i'), (Muster__V1__WorkerCommandType)99, {}, std::string(5000, 'r'));
    std::vector<Heard> heard;
    uint64_t acknowledged;
    ASSERT_TRUE(heartbeat_decode_response(bytes.data(), bytes.size(), &acknowledged, hear, &heard));
    ASSERT_EQ(heard.size(), 2u);
    EXPECT_EQ(heard[0].type, HEARTBEAT_COMMAND_UNKNOWN);
    EXPECT_EQ(heard[0].worker_id.size(), HEARTBEAT_ID_BYTES - 1u);
    EXPECT_EQ(heard[0].reason.size(), HEARTBEAT_REASON_BYTES - 1u);
}

TEST(Heartbeat, TooManyOrTooLongNamesAreAnError)
{
    std::vector<Heard> heard;
    uint64_t acknowledged;
    for (const std::string &bytes : {response("w", MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT,
                                              std::vector<std::string>(HEARTBEAT_SERVICES_LIMIT + 1, "s"), ""),
                                     response("w", MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT,
                                              {std::string(HEARTBEAT_NAME_BYTES, 's')}, "")})
        EXPECT_FALSE(heartbeat_decode_response(bytes.data(), bytes.size(), &acknowledged, hear, &heard));
}

TEST(Heartbeat, MalformedAnswersAreRefused)
{
    std::string bytes =
        response("gpu-1", MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_DRAIN, {"ocr"}, "because");
    std::vector<Heard> heard;
    uint64_t acknowledged;
    for (const std::string &bad :
         {bytes.substr(0, bytes.size() - 1), std::string("\x12\xff\xff\xff\xff\x0f"), std::string("\xff")})
        EXPECT_FALSE(heartbeat_decode_response(bad.data(), bad.size(), &acknowledged, hear, &heard));
}

} // namespace
