// Writes a small database in MaxMind's format (version 2.0 of its specification), for tests of those who read one:
// IPv6 with the IPv4 networks at ::/96, records of 24 bits, one data record for each network.

#pragma once

#include <arpa/inet.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

class Mmdb
{
  public:
    // What is not given is left out of the record.
    struct Place {
        std::string country = {}, continent = {};
        bool has_coordinates = false;
        double latitude = 0, longitude = 0;
    };

    // "81.2.69.0/24", "2001:db8::/32"; those that lie within one another in any order that begins with the wider one.
    Mmdb &add(const std::string &network, const Place &place)
    {
        std::array<uint8_t, 16> address{};
        size_t slash = network.find('/');
        std::string text = network.substr(0, slash);
        unsigned bits = static_cast<unsigned>(std::stoul(network.substr(slash + 1)));
        if (inet_pton(AF_INET, text.c_str(), address.data() + 12) == 1)
            bits += 96;
        else if (inet_pton(AF_INET6, text.c_str(), address.data()) != 1)
            return *this;
        uint32_t value = empty | static_cast<uint32_t>(data.size() + 1);
        data += record(place);
        size_t node = 0;
        for (unsigned bit = 0; bit < bits; bit++) {
            unsigned side = (address[bit / 8] >> (7 - bit % 8)) & 1;
            if (bit + 1 == bits) {
                nodes[node][side] = value;
            } else if ((nodes[node][side] & empty) != 0) {
                uint32_t inherited = nodes[node][side];
                nodes.push_back({inherited, inherited});
                nodes[node][side] = static_cast<uint32_t>(nodes.size() - 1);
                node = nodes.size() - 1;
            } else {
                node = nodes[node][side];
            }
        }
        return *this;
    }

    std::string bytes() const
    {
        std::string out;
        for (const auto &node : nodes)
            for (uint32_t side : node)
                out += number((side & empty) == 0 ? side
                              : side == empty     ? static_cast<uint32_t>(nodes.size())
                                                  : static_cast<uint32_t>(nodes.size() + 16 + (side & ~empty) - 1),
                              3);
        out += std::string(16, '\0') + data + "\xab\xcd\xefMaxMind.com";
        out += map(9) + text("binary_format_major_version") + unsigned16(2) + text("binary_format_minor_version") +
               unsigned16(0) + text("build_epoch") + std::string("\x08\x02", 2) + number(1767607205, 8) +
               text("database_type") + text("Test") + text("description") + map(0) + text("ip_version") +
               unsigned16(6) + text("languages") + std::string("\x00\x04", 2) + text("node_count") + "\xc4" +
               number(static_cast<uint32_t>(nodes.size()), 4) + text("record_size") + unsigned16(24);
        return out;
    }

  private:
    // Of a side of a node: no other node, but nothing (this alone), or data (with its place in `data`, plus one).
    static constexpr uint32_t empty = 0x80000000;

    static std::string number(uint64_t value, unsigned count)
    {
        std::string out;
        for (unsigned i = count; i > 0; i--)
            out += static_cast<char>(value >> (8 * (i - 1)) & 0xff);
        return out;
    }
    static std::string map(unsigned members)
    {
        return std::string(1, static_cast<char>(7 << 5 | members));
    }
    static std::string text(const std::string &value) // shorter than 29 bytes
    {
        return std::string(1, static_cast<char>(2 << 5 | value.size())) + value;
    }
    static std::string unsigned16(uint16_t value)
    {
        return std::string(1, static_cast<char>(5 << 5 | 2)) + number(value, 2);
    }
    static std::string real(double value)
    {
        uint64_t image;
        memcpy(&image, &value, sizeof image);
        return std::string(1, static_cast<char>(3 << 5 | 8)) + number(image, 8);
    }
    static std::string record(const Place &place)
    {
        std::string out;
        unsigned members = 0;
        if (!place.country.empty() && ++members != 0)
            out += text("country") + map(1) + text("iso_code") + text(place.country);
        if (!place.continent.empty() && ++members != 0)
            out += text("continent") + map(1) + text("code") + text(place.continent);
        if (place.has_coordinates && ++members != 0)
            out += text("location") + map(2) + text("latitude") + real(place.latitude) + text("longitude") +
                   real(place.longitude);
        return map(members) + out;
    }

    std::vector<std::array<uint32_t, 2>> nodes = {{empty, empty}};
    std::string data;
};
