/* Fuzz target: a list of upstreams as people write it. What comes out are URLs that can be used, and a balancer that is
 * given them has each once. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/balancer/balancer.h"
#include "gateway/balancer/upstream_list.h"

static void check_balancer(const struct upstream_list *list)
{
    struct balancer balancer = {.interval_ms = 1, .up_after = 1, .down_after = 1};
    if (!balancer_set(&balancer, list->urls, list->count, 0))
        return; /* out of memory */
    if (balancer.count == 0 || balancer.count > list->count)
        abort();
    for (size_t i = 0; i < balancer.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(balancer_target_url(balancer.list[i]->target), balancer_target_url(balancer.list[j]->target)) == 0)
                abort();
        }
    }
    balancer_free(&balancer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct upstream_list list;
    char problem[200] = "";
    if (!upstream_list_read((const char *)data, bytes, &list, problem, sizeof problem)) {
        if (problem[0] == '\0' || list.urls != NULL)
            abort();
        return 0;
    }
    for (size_t i = 0; i < list.count; i++) {
        struct http_origin origin;
        if (!http_origin_parse(http_text_of(list.urls[i]), &origin))
            abort();
    }
    check_balancer(&list);
    upstream_list_free(&list);
    return 0;
}
