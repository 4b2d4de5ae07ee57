/* nn/kernels_tables.h: the tables behind nn_kernels_at. */
#pragma once
#include "nn/kernels.h"

extern const nn_kernels_t nn_kernels_c;
#if defined(__x86_64__)
extern const nn_kernels_t nn_kernels_avx2;
extern const nn_kernels_t nn_kernels_avx512;
#endif
