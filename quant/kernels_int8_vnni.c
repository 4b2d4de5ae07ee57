#define K(name) name##_vnni
#include <stdint.h>

typedef uint8_t elem_t;
enum { GROUP = 4 };
#include "quant/kernels_int8_512.h"

static inline __m512i v_group(const uint8_t *p)
{
    int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Neither saturates. */
#define v_dot(sum, a, w)   _mm512_dpbusd_epi32(sum, a, w)
#define v_dot16(sum, a, w) _mm512_dpwssd_epi32(sum, a, w)

#define v_load_packed(w) v_load(w)
static inline const uint8_t *bundle_of(int16_t *scratch, const int8_t *w, size_t count)
{
    (void)scratch, (void)count;
    return (const uint8_t *)w;
}

#include "quant/kernels_int8_body.h"

const quant_kernels_t quant_kernels_vnni = KERNELS_TABLE("vnni", NULL);
