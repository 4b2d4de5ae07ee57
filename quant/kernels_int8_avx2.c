#define K(name) name##_avx2
#include <stdint.h>

typedef int16_t elem_t;
enum { GROUP = 2 };
#include "quant/kernels_int8_256.h"

static inline __m256i v_group(const int16_t *p)
{
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/* Exact: 2 * 255 * 127 is far from 2^31. */
static inline __m256i v_dot(__m256i sum, __m256i a, __m256i w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, w));
}

static inline __m256i v_dot16(__m256i sum, __m256i a, __m256i w)
{
    sum = v_dot(sum, a, w);
    __asm__("" : "+x"(sum)); /* or gcc adds up in another order, and out of registers */
    return sum;
}

static void widen(int16_t *to, const uint8_t *from, size_t count)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm256_cvtepu8_epi16(bytes));
    }
    for (; i < count; i++)
        to[i] = from[i];
}

static inline __m256i v_load_packed(const uint8_t *w)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)w));
}

/* count is a multiple of 16. */
static const uint8_t *bundle_of(int16_t *scratch, const int8_t *w, size_t count)
{
    for (size_t i = 0; i < count; i += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(w + i));
        _mm256_storeu_si256((__m256i *)(void *)(scratch + i), _mm256_cvtepi8_epi16(bytes));
    }
    return (const uint8_t *)scratch;
}

#include "quant/kernels_int8_body.h"

const quant_kernels_t quant_kernels_avx2 = KERNELS_TABLE("avx2", widen);
