/* float16 by the CPU's own conversions. */
#include <immintrin.h>
#include <string.h>

#include "quant/half.h"

enum { LANES = 8 };

static void narrow_f16c(uint16_t *half, const float *x, size_t n)
{
    float last[LANES] = {0};
    uint16_t out[LANES];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm_storeu_si128((__m128i *)(half + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    if (i == n)
        return;
    memcpy(last, x + i, (n - i) * sizeof *x);
    _mm_storeu_si128((__m128i *)out,
                     _mm256_cvtps_ph(_mm256_loadu_ps(last), _MM_FROUND_TO_NEAREST_INT));
    memcpy(half + i, out, (n - i) * sizeof *half);
}

static void widen_f16c(float *x, const uint16_t *half, size_t n)
{
    uint16_t last[LANES] = {0};
    float out[LANES];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm256_storeu_ps(x + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(half + i))));
    if (i == n)
        return;
    memcpy(last, half + i, (n - i) * sizeof *half);
    _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)last)));
    memcpy(x + i, out, (n - i) * sizeof *x);
}

const quant_half_t quant_half_f16c = {"f16c", narrow_f16c, widen_f16c};
