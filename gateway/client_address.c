/* See client_address.h. */

#include "gateway/client_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* False: it is no IP address. */
static bool read_address(const char *text, size_t text_bytes, uint8_t address[16])
{
    char copy[CLIENT_ADDRESS_BYTES];
    if (text_bytes >= sizeof copy)
        return false;
    memcpy(copy, text, text_bytes);
    copy[text_bytes] = '\0';
    if (inet_pton(AF_INET6, copy, address) == 1)
        return true;
    memcpy(address, mapped, sizeof mapped);
    return inet_pton(AF_INET, copy, address + 12) == 1;
}

static bool is_v4(const uint8_t address[16])
{
    return memcmp(address, mapped, sizeof mapped) == 0;
}

static bool contains(const struct client_address_network *network, const uint8_t address[16])
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(network->address, address, whole) != 0)
        return false;
    return rest == 0 || (network->address[whole] ^ address[whole]) >> (8 - rest) == 0;
}

static bool is_trusted(const struct client_address_rule *rule, const uint8_t address[16])
{
    for (size_t i = 0; i < rule->network_count; i++) {
        if (contains(&rule->networks[i], address))
            return true;
    }
    return false;
}

/* --- The rule --- */

static bool read_network(const char *text, size_t bytes, struct client_address_network *network)
{
    const char *slash = memchr(text, '/', bytes);
    size_t address_bytes = slash == NULL ? bytes : (size_t)(slash - text);
    if (!read_address(text, address_bytes, network->address))
        return false;
    unsigned limit = is_v4(network->address) && memchr(text, ':', address_bytes) == NULL ? 32 : 128;
    unsigned bits = limit;
    if (slash != NULL) {
        size_t digits = bytes - address_bytes - 1;
        if (digits == 0 || digits > 3 || strspn(slash + 1, "0123456789") < digits)
            return false;
        bits = (unsigned)strtoul(slash + 1, NULL, 10);
    }
    network->bits = bits + (128 - limit);
    return bits <= limit;
}

bool client_address_rule_init(struct client_address_rule *rule, const char *header, const char *proxies, char *error,
                              size_t error_bytes)
{
    *rule = (struct client_address_rule){.header = header};
    if (header[strspn(header, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] != '\0') {
        snprintf(error, error_bytes,
                 "--client-address-header '%s': give the name of a header, such as CF-Connecting-IP", header);
        return false;
    }
    for (const char *at = proxies + strspn(proxies, ", "); *at != '\0';) {
        size_t bytes = strcspn(at, ", ");
        if (rule->network_count == CLIENT_ADDRESS_NETWORKS_MAX) {
            snprintf(error, error_bytes, "--trusted-proxies: give at most %d networks", CLIENT_ADDRESS_NETWORKS_MAX);
            return false;
        }
        if (!read_network(at, bytes, &rule->networks[rule->network_count])) {
            snprintf(error, error_bytes,
                     "--trusted-proxies: '%.*s' is no address or network; give them as 127.0.0.1 or 10.0.0.0/8, with "
                     "commas between them",
                     (int)bytes, at);
            return false;
        }
        rule->network_count++;
        at += bytes + strspn(at + bytes, ", ");
    }
    return true;
}

/* --- A request --- */

/* Cuts the last item of a list off; false: there is none left. */
static bool cut_last(struct http_text *list, struct http_text *item)
{
    if (list->bytes == 0)
        return false;
    size_t end = list->bytes, begin = end;
    while (begin > 0 && list->data[begin - 1] != ',')
        begin--;
    list->bytes = begin == 0 ? 0 : begin - 1;
    while (begin < end && (list->data[begin] == ' ' || list->data[begin] == '\t'))
        begin++;
    while (begin < end && (list->data[end - 1] == ' ' || list->data[end - 1] == '\t'))
        end--;
    *item = (struct http_text){list->data + begin, end - begin};
    return true;
}

static void write_address(const uint8_t address[16], char text[CLIENT_ADDRESS_BYTES])
{
    if (is_v4(address))
        (void)inet_ntop(AF_INET, address + 12, text, CLIENT_ADDRESS_BYTES); /* there is room */
    else
        (void)inet_ntop(AF_INET6, address, text, CLIENT_ADDRESS_BYTES);
}

void client_address(const struct client_address_rule *rule, const struct http_head *head, const char *peer,
                    char text[CLIENT_ADDRESS_BYTES])
{
    uint8_t address[16];
    snprintf(text, CLIENT_ADDRESS_BYTES, "%s", peer);
    if (rule->header[0] == '\0' || !read_address(peer, strlen(peer), address))
        return;
    for (unsigned i = head->field_count; i > 0 && is_trusted(rule, address); i--) {
        const struct http_field *field = &head->fields[i - 1];
        if (!http_text_equal_ignoring_case(http_field_name_text(head, field), rule->header))
            continue;
        struct http_text list = http_field_value(head, field), item;
        uint8_t before[16];
        while (is_trusted(rule, address) && cut_last(&list, &item)) {
            if (!read_address(item.data, item.bytes, before)) {
                write_address(address, text);
                return;
            }
            memcpy(address, before, sizeof address);
        }
    }
    write_address(address, text);
}
