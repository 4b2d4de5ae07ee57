#include "quant/half.h"

#include <string.h>

#include "base/cpu.h"

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint16_t narrow_one(float x)
{
    uint32_t sign = bits_of(x) >> 16 & 0x8000, magnitude = bits_of(x) & 0x7fffffff, half;
    if (magnitude > 0x7f800000) {
        half = 0x7e00 | (magnitude >> 13 & 0x3ff);
    } else if (magnitude >= bits_of(65520.0f)) {
        half = 0x7c00;
    } else if (magnitude < bits_of(0x1p-14f)) {
        /* Subnormal: beside 0.5 a float's last place is 2^-24, float16's smallest step, so that
         * the addition rounds as is wanted. */
        half = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    } else {
        uint32_t odd = magnitude >> 13 & 1;
        half = (magnitude + 0xfff + odd - (112u << 23)) >> 13; /* exponent bias 127 to 15 */
    }
    return (uint16_t)(sign | half);
}

static float widen_one(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7fff;
    if (magnitude > 0x7c00)
        return float_of(sign | 0x7fc00000 | magnitude << 13);
    if (magnitude == 0x7c00)
        return float_of(sign | 0x7f800000);
    if (magnitude < 0x400) /* subnormal: exact */
        return float_of(sign | bits_of((float)magnitude * 0x1p-24f));
    return float_of(sign | ((magnitude << 13) + (112u << 23)));
}

static void narrow_c(uint16_t *half, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        half[i] = narrow_one(x[i]);
}

static void widen_c(float *x, const uint16_t *half, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = widen_one(half[i]);
}

const quant_half_t quant_half_c = {"c", narrow_c, widen_c};

const quant_half_t *quant_half(void)
{
#ifdef QUANT_HAS_F16C
    if (cpu_level() >= CPU_AVX2)
        return &quant_half_f16c;
#endif
    return &quant_half_c;
}
