// Packing and unpacking by //common/protobuf beside protobuf-c's own: what one writes the other reads, and both write
// the same bytes.

extern "C" {
#include "common/protobuf/protobuf.h"

#include "muster/testing/every_type.pb-c.h"
#include "muster/v1/registry.pb-c.h"
}

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace
{

using Bytes = std::vector<uint8_t>;

// Memory for messages, given back as a whole; every piece is a malloc of its own, so that sanitizers see where each ends.
class Memory
{
  public:
    explicit Memory(size_t limit = SIZE_MAX) : left(limit) {}

    struct protobuf_memory *operator()()
    {
        return &memory;
    }

    size_t taken() const
    {
        return pieces.size();
    }

  private:
    static void *allocate(void *context, size_t bytes)
    {
        auto *self = static_cast<Memory *>(context);
        if (self->left == 0)
            return nullptr;
        self->left--;
        self->pieces.emplace_back(std::malloc(bytes), std::free);
        return self->pieces.back().get();
    }

    size_t left;
    std::vector<std::unique_ptr<void, void (*)(void *)>> pieces;
    struct protobuf_memory memory = {allocate, this};
};

Bytes packed(const ProtobufCMessage *message)
{
    struct protobuf_packer packer = {};
    size_t count = 0;
    const uint8_t *data = protobuf_pack(&packer, message, &count);
    EXPECT_NE(data, nullptr);
    Bytes bytes(data, data + count);
    protobuf_packer_free(&packer);
    return bytes;
}

Bytes packed_by_protobuf_c(const ProtobufCMessage *message)
{
    Bytes bytes(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, bytes.data());
    return bytes;
}

// What ours understands of the bytes, as protobuf-c packs it; "refused" when it does not.
struct Understood {
    bool refused;
    Bytes bytes;
};

bool operator==(const Understood &a, const Understood &b)
{
    return a.refused == b.refused && a.bytes == b.bytes;
}

Understood ours(const ProtobufCMessageDescriptor *descriptor, const Bytes &bytes)
{
    Memory memory;
    // Exactly as long as they are: a read behind them is seen.
    std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), exact.get());
    ProtobufCMessage *message = protobuf_unpack(descriptor, memory(), exact.get(), bytes.size());
    exact.reset(); // the message does not need them any more
    return message == nullptr ? Understood{true, {}} : Understood{false, packed_by_protobuf_c(message)};
}

Understood theirs(const ProtobufCMessageDescriptor *descriptor, const Bytes &bytes)
{
    static const uint8_t nothing[1] = {};
    ProtobufCMessage *message =
        protobuf_c_message_unpack(descriptor, nullptr, bytes.size(), bytes.empty() ? nothing : bytes.data());
    if (message == nullptr)
        return {true, {}};
    Understood understood = {false, packed_by_protobuf_c(message)};
    protobuf_c_message_free_unpacked(message, nullptr);
    return understood;
}

// Bytes on the wire, put together field by field.
class Wire
{
  public:
    Wire &varint(uint64_t value)
    {
        while (value >= 0x80) {
            bytes.push_back(static_cast<uint8_t>(value | 0x80));
            value >>= 7;
        }
        bytes.push_back(static_cast<uint8_t>(value));
        return *this;
    }

    Wire &tag(uint32_t number, unsigned type)
    {
        return varint(uint64_t{number} << 3 | type);
    }

    Wire &raw(const Bytes &more)
    {
        bytes.insert(bytes.end(), more.begin(), more.end());
        return *this;
    }

    Wire &field(uint32_t number, const Bytes &value)
    {
        return tag(number, 2).varint(value.size()).raw(value);
    }

    Wire &text(uint32_t number, const std::string &value)
    {
        return field(number, Bytes(value.begin(), value.end()));
    }

    Bytes bytes;
};

// A random message of a type, as a stranger would send it: each singular field at most once, in any order.
class Maker
{
  public:
    explicit Maker(unsigned seed) : random(seed) {}

    Bytes message(const ProtobufCMessageDescriptor *descriptor, unsigned depth = 0)
    {
        std::vector<Bytes> fields;
        std::vector<unsigned> chosen;
        for (unsigned i = 0; i < descriptor->n_fields; i++) {
            const ProtobufCFieldDescriptor &field = descriptor->fields[i];
            bool is_oneof = (field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
            if (!one_in(2) || (is_oneof && !chosen.empty()) ||
                (field.type == PROTOBUF_C_TYPE_MESSAGE && (depth == 3 || !one_in(2))))
                continue;
            if (is_oneof)
                chosen.push_back(i);
            size_t count = field.label == PROTOBUF_C_LABEL_REPEATED ? below(12) : 1;
            for (size_t k = 0; k < count; k++)
                fields.push_back(one(field, depth));
            if (field.label == PROTOBUF_C_LABEL_REPEATED && field.type != PROTOBUF_C_TYPE_STRING &&
                field.type != PROTOBUF_C_TYPE_BYTES && field.type != PROTOBUF_C_TYPE_MESSAGE) {
                Wire values;
                for (size_t k = below(9); k > 0; k--)
                    values.raw(number(field.type));
                fields.push_back(Wire().field(field.id, values.bytes).bytes);
            }
        }
        if (one_in(4))
            fields.push_back(Wire().tag(unknown_number(descriptor), 0).varint(random()).bytes);
        if (one_in(4))
            fields.push_back(Wire().text(unknown_number(descriptor), "not known here").bytes);
        std::shuffle(fields.begin(), fields.end(), random);
        Wire all;
        for (const Bytes &field : fields)
            all.raw(field);
        return all.bytes;
    }

    size_t below(size_t limit)
    {
        return random() % limit;
    }

  private:
    bool one_in(unsigned n)
    {
        return random() % n == 0;
    }

    uint32_t unknown_number(const ProtobufCMessageDescriptor *descriptor)
    {
        uint32_t number = descriptor->n_fields == 0 ? 0 : descriptor->fields[descriptor->n_fields - 1].id;
        return number + 1 + static_cast<uint32_t>(below(20));
    }

    Bytes number(ProtobufCType type)
    {
        static const uint64_t interesting[] = {
            0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX, uint64_t{1} << 63, 0x8000000000000000u, INT32_MAX};
        uint64_t value = one_in(2) ? interesting[below(10)] : random();
        const auto *bytes = reinterpret_cast<const uint8_t *>(&value);
        switch (type) {
        case PROTOBUF_C_TYPE_FIXED32:
        case PROTOBUF_C_TYPE_SFIXED32:
            return Bytes(bytes, bytes + 4);
        case PROTOBUF_C_TYPE_FLOAT: {
            float fraction = static_cast<float>(value % 1000) / 8;
            std::memcpy(&value, &fraction, sizeof(fraction));
            return Bytes(bytes, bytes + 4);
        }
        case PROTOBUF_C_TYPE_DOUBLE: {
            double fraction = static_cast<double>(value % 1000) / 8;
            std::memcpy(&value, &fraction, sizeof(fraction));
            return Bytes(bytes, bytes + 8);
        }
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_SFIXED64:
            return Bytes(bytes, bytes + 8);
        case PROTOBUF_C_TYPE_BOOL:
            return Wire().varint(value & 1).bytes;
        default:
            return Wire().varint(value).bytes;
        }
    }

    Bytes one(const ProtobufCFieldDescriptor &field, unsigned depth)
    {
        switch (field.type) {
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_BYTES:
            return Wire().text(field.id, std::string(below(3) * below(150), 'x')).bytes;
        case PROTOBUF_C_TYPE_MESSAGE:
            return Wire()
                .field(field.id, message(static_cast<const ProtobufCMessageDescriptor *>(field.descriptor), depth + 1))
                .bytes;
        case PROTOBUF_C_TYPE_FIXED32:
        case PROTOBUF_C_TYPE_SFIXED32:
        case PROTOBUF_C_TYPE_FLOAT:
            return Wire().tag(field.id, 5).raw(number(field.type)).bytes;
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_DOUBLE:
            return Wire().tag(field.id, 1).raw(number(field.type)).bytes;
        default:
            return Wire().tag(field.id, 0).raw(number(field.type)).bytes;
        }
    }

    std::mt19937_64 random;
};

const ProtobufCMessageDescriptor *const types[] = {
    &muster__testing__every_type__descriptor,       &muster__testing__nothing__descriptor,
    &muster__v1__watch_workers_response__descriptor, &muster__v1__register_workers_request__descriptor,
    &muster__v1__worker__descriptor,
};

const ProtobufCMessageDescriptor *const every_type = &muster__testing__every_type__descriptor;

TEST(Protobuf, UnderstandsWhatProtobufCUnderstands)
{
    for (unsigned seed = 0; seed < 2000; seed++) {
        Maker maker(seed);
        const ProtobufCMessageDescriptor *type = types[seed % (sizeof(types) / sizeof(types[0]))];
        Bytes bytes = maker.message(type);
        Understood expected = theirs(type, bytes);
        ASSERT_FALSE(expected.refused) << "seed " << seed;
        ASSERT_EQ(ours(type, bytes), expected) << type->name << ", seed " << seed;
    }
}

TEST(Protobuf, PacksTheSameBytes)
{
    for (unsigned seed = 0; seed < 2000; seed++) {
        Maker maker(seed);
        const ProtobufCMessageDescriptor *type = types[seed % (sizeof(types) / sizeof(types[0]))];
        Memory memory;
        Bytes bytes = maker.message(type);
        ProtobufCMessage *message = protobuf_unpack(type, memory(), bytes.data(), bytes.size());
        ASSERT_NE(message, nullptr);
        ASSERT_EQ(packed(message), packed_by_protobuf_c(message)) << type->name << ", seed " << seed;
    }
}

TEST(Protobuf, RefusesMessagesThatAreCutWhereProtobufCDoes)
{
    for (unsigned seed = 0; seed < 60; seed++) {
        Maker maker(seed);
        Bytes bytes = maker.message(every_type);
        for (size_t kept = 0; kept < bytes.size(); kept += 1 + bytes.size() / 400) {
            Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(kept));
            ASSERT_EQ(ours(every_type, cut), theirs(every_type, cut)) << "seed " << seed << ", byte " << kept;
        }
    }
}

// Whatever it takes protobuf-c takes, too, and what was packed is understood alike. The other way round not all: a
// number that comes as another type of number is refused. (EveryType is left out of the first: of packed truth values
// protobuf-c takes 0 and 1 only.)
TEST(Protobuf, TakesNothingThatProtobufCRefuses)
{
    for (unsigned seed = 0; seed < 4000; seed++) {
        Maker maker(seed);
        const ProtobufCMessageDescriptor *type = seed % 2 == 0 ? every_type : types[2];
        Bytes bytes = maker.message(type);
        for (int i = 0; i < 3 && !bytes.empty(); i++)
            bytes[maker.below(bytes.size())] = static_cast<uint8_t>(maker.below(256));
        Understood understood = ours(type, bytes);
        if (understood.refused)
            continue;
        if (type != every_type) {
            ASSERT_FALSE(theirs(type, bytes).refused) << "seed " << seed;
        }
        ASSERT_EQ(theirs(type, understood.bytes), understood) << "seed " << seed;
        ASSERT_EQ(ours(type, understood.bytes), understood) << "seed " << seed;
    }
}

TEST(Protobuf, TextsEndWhereTheyShould)
{
    // The last text is followed by nothing; the others by a tag, which their zero is written over.
    Bytes inner = Wire().text(14, "inner").bytes;
    Bytes bytes = Wire().text(14, "first").text(37, "").text(37, "b").field(17, inner).text(2000, "last").bytes;
    Memory memory;
    auto *message = reinterpret_cast<Muster__Testing__EveryType *>(
        protobuf_unpack(every_type, memory(), bytes.data(), bytes.size()));
    ASSERT_NE(message, nullptr);
    EXPECT_STREQ(message->string_value, "first");
    ASSERT_EQ(message->n_string_values, 2u);
    EXPECT_STREQ(message->string_values[0], "");
    EXPECT_STREQ(message->string_values[1], "b");
    EXPECT_STREQ(message->inner->string_value, "inner");
    EXPECT_STREQ(message->last, "last");
}

TEST(Protobuf, MergesAMessageThatComesTwice)
{
    Bytes first = Wire().text(14, "kept").tag(1, 0).varint(1).text(37, "a").bytes;
    Bytes second = Wire().tag(1, 0).varint(2).text(37, "b").bytes;
    Bytes bytes = Wire().field(17, first).field(17, second).bytes;
    Memory memory;
    auto *message = reinterpret_cast<Muster__Testing__EveryType *>(
        protobuf_unpack(every_type, memory(), bytes.data(), bytes.size()));
    ASSERT_NE(message, nullptr);
    EXPECT_STREQ(message->inner->string_value, "kept");
    EXPECT_EQ(message->inner->int32_value, 2);
    ASSERT_EQ(message->inner->n_string_values, 2u);
    EXPECT_STREQ(message->inner->string_values[1], "b");
}

TEST(Protobuf, OfAChoiceTheLastCounts)
{
    Bytes inner = Wire().text(14, "inner").bytes;
    Bytes bytes = Wire().text(52, "text").field(54, inner).bytes;
    Memory memory;
    auto *message = reinterpret_cast<Muster__Testing__EveryType *>(
        protobuf_unpack(every_type, memory(), bytes.data(), bytes.size()));
    ASSERT_NE(message, nullptr);
    ASSERT_EQ(message->choice_case, MUSTER__TESTING__EVERY_TYPE__CHOICE_CHOSEN_INNER);
    EXPECT_STREQ(message->chosen_inner->string_value, "inner");
    EXPECT_EQ(ours(every_type, bytes), theirs(every_type, bytes));
}

TEST(Protobuf, RefusesWhatIsNoMessage)
{
    const std::vector<std::pair<const char *, Bytes>> bad = {
        {"a field without a number", Wire().tag(0, 0).varint(1).bytes},
        {"a group", Wire().tag(1, 3).bytes},
        {"a type that there is not", Wire().tag(1, 6).bytes},
        {"a number that does not end", Bytes{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
        {"a tag that does not end", Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
        {"a text longer than the message", Wire().tag(14, 2).varint(5).raw({'a'}).bytes},
        {"a text of four gigabytes", Wire().tag(14, 2).varint(0xffffffff).bytes},
        {"a text as a number", Wire().tag(14, 0).varint(5).bytes},
        {"a number as a text", Wire().text(1, "a").bytes},
        {"fixed numbers of three bytes", Wire().field(33, {1, 2, 3}).bytes},
        {"packed numbers that are cut", Wire().field(31, {0x80}).bytes},
        {"an inner message that is cut", Wire().field(17, {0x08}).bytes},
    };
    for (const auto &[what, bytes] : bad)
        EXPECT_TRUE(ours(every_type, bytes).refused) << what;
}

TEST(Protobuf, GoesAsDeepAsItSaysAndNotDeeper)
{
    for (int depth : {99, 100}) {
        Bytes bytes;
        for (int i = 0; i < depth; i++)
            bytes = Wire().field(17, bytes).bytes;
        EXPECT_EQ(ours(every_type, bytes).refused, depth == 100) << depth;
    }
}

TEST(Protobuf, SaysSoWhenMemoryRunsOut)
{
    Bytes bytes = Maker(5).message(every_type);
    Memory enough;
    ASSERT_NE(protobuf_unpack(every_type, enough(), bytes.data(), bytes.size()), nullptr);
    ASSERT_GT(enough.taken(), 3u);
    for (size_t pieces = 0; pieces < enough.taken(); pieces++) {
        Memory less(pieces);
        EXPECT_EQ(protobuf_unpack(every_type, less(), bytes.data(), bytes.size()), nullptr) << pieces;
    }
    Memory exact(enough.taken());
    EXPECT_NE(protobuf_unpack(every_type, exact(), bytes.data(), bytes.size()), nullptr);
}

TEST(Protobuf, AnEmptyMessageNeedsNoBytes)
{
    Memory memory;
    ProtobufCMessage *message = protobuf_unpack(every_type, memory(), nullptr, 0);
    ASSERT_NE(message, nullptr);
    EXPECT_TRUE(packed(message).empty());
}

// The caller's room is used as long as a message fits, on both sides of its end; what is larger goes to the heap.
TEST(Protobuf, PacksIntoTheRoomThatItIsGiven)
{
    for (size_t text_bytes : {17u, 19u, 20u, 100000u}) {
        std::string text(text_bytes, 'x');
        Muster__Testing__EveryType message = MUSTER__TESTING__EVERY_TYPE__INIT;
        message.string_value = text.data();
        uint8_t room[19 + 2 * 10]; // length and tag are only written where there is room for the longest
        struct protobuf_packer packer = {room, sizeof(room), false};
        size_t count = 0;
        const uint8_t *bytes = protobuf_pack(&packer, &message.base, &count);
        ASSERT_NE(bytes, nullptr);
        EXPECT_EQ(Bytes(bytes, bytes + count), packed_by_protobuf_c(&message.base));
        EXPECT_EQ(packer.is_on_heap, text_bytes > 19) << text_bytes;
        // And again, into what it has by now.
        bytes = protobuf_pack(&packer, &message.base, &count);
        EXPECT_EQ(Bytes(bytes, bytes + count), packed_by_protobuf_c(&message.base));
        protobuf_packer_free(&packer);
    }
}

TEST(Protobuf, AppendsToABuffer)
{
    Muster__Testing__EveryType message = MUSTER__TESTING__EVERY_TYPE__INIT;
    message.int32_value = 7;
    struct buffer buffer = BUFFER_INIT;
    buffer_append_text(&buffer, "before");
    protobuf_append(&buffer, &message.base);
    ASSERT_FALSE(buffer_failed(&buffer));
    EXPECT_EQ(std::string(buffer.data, buffer.bytes), "before\x08\x07");
    buffer_free(&buffer);
}

} // namespace
