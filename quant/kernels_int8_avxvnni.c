#define K(name) name##_avxvnni
#include <stdint.h>

typedef uint8_t elem_t;
enum { GROUP = 4 };
#if defined(HEARSAY_EMULATE_AVX512)
#include "nn/emulate_vnni.h"
#endif
#include "quant/kernels_int8_256.h"
#include "quant/kernels_int8_bytes.h"

/* Neither saturates. */
#define v_dot(sum, a, w)   _mm256_dpbusd_avx_epi32(sum, a, w)
#define v_dot16(sum, a, w) _mm256_dpwssd_avx_epi32(sum, a, w)

#include "quant/kernels_int8_body.h"

const quant_kernels_t quant_kernels_avxvnni = KERNELS_TABLE("avxvnni", NULL);
