#define K(name) name##_vnni
#include <stdint.h>

typedef uint8_t elem_t;
enum { GROUP = 4 };
#include "quant/kernels_int8_512.h"
#include "quant/kernels_int8_bytes.h"

/* Neither saturates. */
#define v_dot(sum, a, w)   _mm512_dpbusd_epi32(sum, a, w)
#define v_dot16(sum, a, w) _mm512_dpwssd_epi32(sum, a, w)

#include "quant/kernels_int8_body.h"

const quant_kernels_t quant_kernels_vnni = KERNELS_TABLE("vnni", NULL);
