#include "tests/fuzz/http_head_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    http_head_fuzz(data, bytes, false);
    return 0;
}
