#define K(name) name##_avx512
#include <stdint.h>

typedef int16_t elem_t;
enum { GROUP = 2 };
#include "quant/kernels_int8_512.h"

static inline __m512i v_group(const int16_t *p)
{
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

/* Exact: 2 * 255 * 127 is far from 2^31. */
static inline __m512i v_dot16(__m512i sum, __m512i a, __m512i w)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, w));
}
#define v_dot v_dot16

static void widen(int16_t *to, const uint8_t *from, size_t count)
{
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(from + i));
        _mm512_storeu_si512(to + i, _mm512_cvtepu8_epi16(bytes));
    }
    for (; i < count; i++)
        to[i] = from[i];
}

static inline __m512i v_load_packed(const uint8_t *w)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)w));
}

/* count is a multiple of 32. */
static const uint8_t *bundle_of(int16_t *scratch, const int8_t *w, size_t count)
{
    for (size_t i = 0; i < count; i += 32) {
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(w + i));
        _mm512_storeu_si512(scratch + i, _mm512_cvtepi8_epi16(bytes));
    }
    return (const uint8_t *)scratch;
}

#include "quant/kernels_int8_body.h"

const quant_kernels_t quant_kernels_avx512 = KERNELS_TABLE("avx512", widen);
