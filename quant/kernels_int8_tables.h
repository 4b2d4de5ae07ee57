/* quant/kernels_int8_tables.h: the tables behind quant_kernels_at. */
#pragma once
#include "quant/kernels_int8.h"

extern const quant_kernels_t quant_kernels_c;
#if defined(__x86_64__)
extern const quant_kernels_t quant_kernels_avx2;
extern const quant_kernels_t quant_kernels_avxvnni;
extern const quant_kernels_t quant_kernels_avx512;
extern const quant_kernels_t quant_kernels_vnni;
#endif
