/* nn/emulate_avx512.h: AVX-512 on a CPU that has AVX2 alone, for tests (CMake's
 * HEARSAY_EMULATE_AVX512). Included instead of immintrin.h. SIMDe has most of it; what its 0.7.4
 * lacks stands here. Slow. */
#pragma once
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include "nn/emulate_vnni.h"

/* Lanes that the mask leaves out are not touched in memory. */
static inline __m512 emulated_maskz_loadu_ps(__mmask16 mask, const float *from)
{
    float lanes[16];
    for (int i = 0; i < 16; i++)
        lanes[i] = mask >> i & 1 ? from[i] : 0.0f;
    return _mm512_loadu_ps(lanes);
}

static inline void emulated_mask_storeu_ps(float *to, __mmask16 mask, __m512 v)
{
    float lanes[16];
    _mm512_storeu_ps(lanes, v);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            to[i] = lanes[i];
}

static inline __m512d emulated_cvtps_pd(__m256 v)
{
    float lanes[8];
    double wide[8];
    _mm256_storeu_ps(lanes, v);
    for (int i = 0; i < 8; i++)
        wide[i] = (double)lanes[i];
    return _mm512_loadu_pd(wide);
}

static inline __m256 emulated_extractf32x8_ps(__m512 v, int half)
{
    float lanes[16];
    _mm512_storeu_ps(lanes, v);
    return _mm256_loadu_ps(lanes + 8 * half);
}

/* Integers: in halves that AVX2 has, or one by one. */
static inline __m256i emulated_half(__m512i v, int half)
{
    int32_t lanes[16];
    _mm512_storeu_si512(lanes, v);
    return _mm256_loadu_si256((const __m256i *)(const void *)(lanes + 8 * half));
}

static inline __m512i emulated_whole(__m256i low, __m256i high)
{
    int32_t lanes[16];
    _mm256_storeu_si256((__m256i *)(void *)lanes, low);
    _mm256_storeu_si256((__m256i *)(void *)(lanes + 8), high);
    return _mm512_loadu_si512(lanes);
}

#define EMULATED_HALVES(NAME, OPERATION)                                                           \
    static inline __m512i NAME(__m512i a, __m512i b)                                               \
    {                                                                                              \
        return emulated_whole(OPERATION(emulated_half(a, 0), emulated_half(b, 0)),                 \
                              OPERATION(emulated_half(a, 1), emulated_half(b, 1)));                \
    }
EMULATED_HALVES(emulated_madd_epi16, _mm256_madd_epi16)
EMULATED_HALVES(emulated_unpacklo_epi16, _mm256_unpacklo_epi16)
EMULATED_HALVES(emulated_unpackhi_epi16, _mm256_unpackhi_epi16)
EMULATED_HALVES(emulated_packs_epi32, _mm256_packs_epi32)

static inline __m512i emulated_cvtepu8_epi16(__m256i v)
{
    return emulated_whole(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(v)),
                          _mm256_cvtepu8_epi16(_mm256_extracti128_si256(v, 1)));
}

static inline __m512i emulated_cvtepu8_epi32(__m128i v)
{
    return emulated_whole(_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_bsrli_si128(v, 8)));
}

static inline __m256i emulated_cvtsepi32_epi16(__m512i v)
{
    const __m256i words = _mm256_packs_epi32(emulated_half(v, 0), emulated_half(v, 1));
    return _mm256_permute4x64_epi64(words, 0xd8);
}

static inline __m512i emulated_cvtps_epi32(__m512 v)
{
    float lanes[16];
    _mm512_storeu_ps(lanes, v);
    return emulated_whole(_mm256_cvtps_epi32(_mm256_loadu_ps(lanes)),
                          _mm256_cvtps_epi32(_mm256_loadu_ps(lanes + 8)));
}

static inline __m512 emulated_cvtepi32_ps(__m512i v)
{
    float lanes[16];
    _mm256_storeu_ps(lanes, _mm256_cvtepi32_ps(emulated_half(v, 0)));
    _mm256_storeu_ps(lanes + 8, _mm256_cvtepi32_ps(emulated_half(v, 1)));
    return _mm512_loadu_ps(lanes);
}

static inline __m512i emulated_dpwssd_epi32(__m512i sum, __m512i a, __m512i b)
{
    return _mm512_add_epi32(sum, emulated_madd_epi16(a, b));
}

static inline __m512i emulated_dpbusd_epi32(__m512i sum, __m512i a, __m512i b)
{
    return emulated_whole(
        emulated_dot_bytes(emulated_half(sum, 0), emulated_half(a, 0), emulated_half(b, 0)),
        emulated_dot_bytes(emulated_half(sum, 1), emulated_half(a, 1), emulated_half(b, 1)));
}

#undef _mm512_madd_epi16
#undef _mm512_unpacklo_epi16
#undef _mm512_unpackhi_epi16
#undef _mm512_packs_epi32
#undef _mm512_cvtepu8_epi16
#undef _mm512_cvtepu8_epi32
#undef _mm512_cvtsepi32_epi16
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_dpwssd_epi32
#undef _mm512_dpbusd_epi32
#define _mm512_madd_epi16      emulated_madd_epi16
#define _mm512_unpacklo_epi16  emulated_unpacklo_epi16
#define _mm512_unpackhi_epi16  emulated_unpackhi_epi16
#define _mm512_packs_epi32     emulated_packs_epi32
#define _mm512_cvtepu8_epi16   emulated_cvtepu8_epi16
#define _mm512_cvtepu8_epi32   emulated_cvtepu8_epi32
#define _mm512_cvtsepi32_epi16 emulated_cvtsepi32_epi16
#define _mm512_cvtps_epi32     emulated_cvtps_epi32
#define _mm512_cvtepi32_ps     emulated_cvtepi32_ps
#define _mm512_dpwssd_epi32    emulated_dpwssd_epi32
#define _mm512_dpbusd_epi32    emulated_dpbusd_epi32

#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_cvtps_pd
#undef _mm512_extractf32x8_ps
#undef _mm512_mask_cmp_ps_mask
#define _mm512_maskz_loadu_ps  emulated_maskz_loadu_ps
#define _mm512_mask_storeu_ps  emulated_mask_storeu_ps
#define _mm512_cvtps_pd        emulated_cvtps_pd
#define _mm512_extractf32x8_ps emulated_extractf32x8_ps
#define _mm512_mask_cmp_ps_mask(mask, a, b, compare)                                               \
    ((__mmask16)((mask) & _mm512_cmp_ps_mask(a, b, compare)))
