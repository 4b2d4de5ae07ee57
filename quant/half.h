/* quant/half.h: IEEE 754 binary16 ("float16") to and from float32.
 * Rounding is to nearest, ties to even; subnormals are kept; a magnitude of 65520 or more becomes
 * infinity; NaN stays NaN, quiet. All levels agree to the bit. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define QUANT_HALF_MAX 65504.0f /* the largest finite float16 */

typedef struct {
    const char *name;
    /* out half (n), in x (n) */
    void (*narrow)(uint16_t *half, const float *x, size_t n);
    /* out x (n), in half (n) */
    void (*widen)(float *x, const uint16_t *half, size_t n);
} quant_half_t;

extern const quant_half_t quant_half_c;
#ifdef QUANT_HAS_F16C
extern const quant_half_t quant_half_f16c; /* runs on CPU_AVX2 and above */
#endif

/* The best that this CPU has and HEARSAY_CPU allows. */
const quant_half_t *quant_half(void);
