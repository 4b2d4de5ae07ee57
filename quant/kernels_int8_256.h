/* quant/kernels_int8_256.h: what levels of 256 bits share. The includer defines K(name), elem_t,
 * GROUP and, once this is there, v_group, v_dot and v_dot16. */
#include <immintrin.h>

#include "quant/kernels_int8_tables.h"

typedef __m256i veci;
typedef __m256 vecf;
enum { LANES = 8, ROWS_MAX = 12 };
/* 16 registers: R * NV sums, NV weights, one input, for AVX2 one product. */
#define TILE_ROWS(NV) ((NV) == 1 ? 12 : 6)

#define f_load(p)      _mm256_loadu_ps(p)
#define f_store(p, v)  _mm256_storeu_ps(p, v)
#define f_set(s)       _mm256_set1_ps(s)
#define f_mul(a, b)    _mm256_mul_ps(a, b)
#define f_div(a, b)    _mm256_div_ps(a, b)
#define f_min(a, b)    _mm256_min_ps(a, b)
#define f_max(a, b)    _mm256_max_ps(a, b)
#define f_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_set(s)       _mm256_set1_epi32(s)
#define v_add(a, b)    _mm256_add_epi32(a, b)
#define v_float(v)     _mm256_cvtepi32_ps(v)
#define v_int(f)       _mm256_cvtps_epi32(f)
#define v_bytes(p)     _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p)))

static inline __m256i v_load(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* To int16, the zero point added and to uint8, each time saturating. */
static inline __m128i to_bytes(__m128i low, __m128i high, int32_t zero)
{
    const __m128i words = _mm_packs_epi32(low, high);
    const __m128i moved = _mm_adds_epi16(words, _mm_set1_epi16((int16_t)zero));
    return _mm_packus_epi16(moved, moved);
}

static inline void v_store_1(uint8_t *to, __m256i v, int32_t zero)
{
    const __m128i low = _mm256_castsi256_si128(v), high = _mm256_extracti128_si256(v, 1);
    _mm_storel_epi64((__m128i *)(void *)to, to_bytes(low, high, zero));
}

static inline void store_words(uint8_t *to, __m256i words, int32_t zero)
{
    const __m256i moved = _mm256_adds_epi16(words, _mm256_set1_epi16((int16_t)zero));
    const __m128i low = _mm256_castsi256_si128(moved), high = _mm256_extracti128_si256(moved, 1);
    _mm_storeu_si128((__m128i *)(void *)to, _mm_packus_epi16(low, high));
}

static inline void v_store_2(uint8_t *to, __m256i v, __m256i v2, int32_t zero)
{
    store_words(to, _mm256_permute4x64_epi64(_mm256_packs_epi32(v, v2), 0xd8), zero);
}

static inline __m256i v_words(__m256i v, __m256i v2, int32_t zero)
{
    return _mm256_adds_epi16(_mm256_packs_epi32(v, v2), _mm256_set1_epi16((int16_t)zero));
}

/* Bytes of a and b, their fours put in the order that `fours` says. */
static inline void store_fours(uint8_t *to, uint8_t *to2, __m256i a, __m256i b, __m256i fours)
{
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), fours);
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(bytes));
    _mm_storeu_si128((__m128i *)(void *)to2, _mm256_extracti128_si256(bytes, 1));
}

static inline void v_store_rows(uint8_t *to, uint8_t *to2, const __m256i v[2], const __m256i v2[2],
                                int32_t zero)
{
    store_fours(to, to2, v_words(v[0], v[1], zero), v_words(v2[0], v2[1], zero),
                _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static inline void v_store_columns(uint8_t *to, uint8_t *to2, __m256i low, __m256i high)
{
    store_fours(to, to2, low, high, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}

static inline void v_interleave(int16_t *to, const uint8_t *x, const uint8_t *below)
{
    const __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
    const __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)below));
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_unpacklo_epi16(a, b));
    _mm256_storeu_si256((__m256i *)(void *)(to + 16), _mm256_unpackhi_epi16(a, b));
}
