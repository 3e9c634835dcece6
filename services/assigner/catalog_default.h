/* The table behind catalog_create_default; see catalog.h for what the fields mean. */

#pragma once

#include "muster/v1/worker.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog_default_service {
    const char *name;
    Muster__V1__WorkerType requires;
    uint32_t priority;
    uint32_t port;
    const char *alias; /* NULL: none */
    bool repeatable;
    const char *path; /* ""; the default */
};

const struct catalog_default_service *catalog_default_services(size_t *count);
