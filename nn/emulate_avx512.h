/* nn/emulate_avx512.h: AVX-512 on a CPU that has AVX2 alone, for tests (CMake's
 * HEARSAY_EMULATE_AVX512). Included instead of immintrin.h. SIMDe has most of it; what its 0.7.4
 * lacks stands here. Slow. */
#pragma once
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

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
