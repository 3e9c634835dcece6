/* C11 atomics are no C++: what the test of metrics does with them is in C. */

#pragma once

#ifdef __cplusplus
extern "C" {
#endif

struct buffer;

/* Counts some requests on two fronts and renders them. */
void metrics_shim_render(struct buffer *out);

#ifdef __cplusplus
}
#endif
