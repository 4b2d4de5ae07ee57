/* quant/kernels_int8_512.h: what AVX-512's levels share. The includer defines K(name), elem_t,
 * GROUP and, once this is there, v_group, v_dot and v_dot16. */
#if defined(HEARSAY_EMULATE_AVX512)
#include "nn/emulate_avx512.h"
#else
#include <immintrin.h>
#endif

#include "quant/kernels_int8_tables.h"

typedef __m512i veci;
typedef __m512 vecf;
enum { LANES = 16, ROWS_MAX = 12 };
/* 32 registers: R * NV sums, NV weights, one input, one product. */
#define TILE_ROWS(NV) 12

#define f_load(p)      _mm512_loadu_ps(p)
#define f_store(p, v)  _mm512_storeu_ps(p, v)
#define f_set(s)       _mm512_set1_ps(s)
#define f_mul(a, b)    _mm512_mul_ps(a, b)
#define f_div(a, b)    _mm512_div_ps(a, b)
#define f_min(a, b)    _mm512_min_ps(a, b)
#define f_max(a, b)    _mm512_max_ps(a, b)
#define f_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_set(s)       _mm512_set1_epi32(s)
#define v_add(a, b)    _mm512_add_epi32(a, b)
#define v_float(v)     _mm512_cvtepi32_ps(v)
#define v_int(f)       _mm512_cvtps_epi32(f)
#define v_bytes(p)     _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p)))

static inline __m512i v_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* 16 int16: the zero point added and to uint8, each time saturating. */
static inline void store_words(uint8_t *to, __m256i words, int32_t zero)
{
    const __m256i moved = _mm256_adds_epi16(words, _mm256_set1_epi16((int16_t)zero));
    const __m128i low = _mm256_castsi256_si128(moved), high = _mm256_extracti128_si256(moved, 1);
    _mm_storeu_si128((__m128i *)(void *)to, _mm_packus_epi16(low, high));
}

static inline void v_store_1(uint8_t *to, __m512i v, int32_t zero)
{
    store_words(to, _mm512_cvtsepi32_epi16(v), zero);
}

static inline void v_store_2(uint8_t *to, __m512i v, __m512i v2, int32_t zero)
{
    v_store_1(to, v, zero);
    v_store_1(to + 16, v2, zero);
}

static inline void v_store_rows(uint8_t *to, uint8_t *to2, const __m512i v[2], const __m512i v2[2],
                                int32_t zero)
{
    v_store_2(to, v[0], v[1], zero);
    v_store_2(to2, v2[0], v2[1], zero);
}

static inline __m512i v_words(__m512i v, __m512i v2, int32_t zero)
{
    return _mm512_adds_epi16(_mm512_packs_epi32(v, v2), _mm512_set1_epi16((int16_t)zero));
}

/* A lane's 16 bytes are a four of each: first output low, second low, first high, second high. */
static inline void v_store_columns(uint8_t *to, uint8_t *to2, __m512i low, __m512i high)
{
    const __m512i order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_castsi512_si256(bytes));
    _mm256_storeu_si256((__m256i *)(void *)to2, _mm512_extracti64x4_epi64(bytes, 1));
}

static inline void v_interleave(int16_t *to, const uint8_t *x, const uint8_t *below)
{
    const __m512i a = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)x));
    const __m512i b =
        _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)below));
    _mm512_storeu_si512(to, _mm512_unpacklo_epi16(a, b));
    _mm512_storeu_si512(to + 32, _mm512_unpackhi_epi16(a, b));
}
