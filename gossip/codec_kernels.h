/* gossip/codec_kernels.h: the codecs' inner loops, written so that the compiler vectorises them,
 * and built once for each instruction set. All levels give the same bits: conversions are exact
 * integer work. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

enum { CODEC_INT8_MAX = 127 };

typedef struct {
    /* IEEE 754 half and bfloat16, round to nearest even; `in` finite, too large becomes the
     * largest finite one. */
    void (*to_half)(uint16_t *out, const float *in, size_t n);
    void (*to_bfloat)(uint16_t *out, const float *in, size_t n);
    /* Exact; false when one is Inf or NaN. */
    bool (*from_half)(float *out, const uint16_t *in, size_t n);
    bool (*from_bfloat)(float *out, const uint16_t *in, size_t n);
    /* Of `rows` rows of `length` >= 1 elements each:
     *   max |x| of each, out (rows)
     *   largest / 127, rounded up to a bfloat16, so that no value of the row needs more than 127 of
     *     it; as that, in float32, and 1 / it. All 0 for a row too small to divide by; 127 of the
     *     largest scale are still finite. coded, scale, inverse (rows)
     *   q = rint(x * inverse[row]); inverse = 1 / scale in float32, |x| <= 127 scale; in, out
     * (rows, length); returns the sum of (x - q * scale[row])^2 or a little more: each difference
     * is taken for up to 2^-16 steps larger. NaN or Inf if x has one q * scale[row]; false when one
     * is -128; in, out (rows, length) */
    void (*largest)(float *out, const float *in, size_t rows, size_t length);
    void (*scales)(uint16_t *coded, float *scale, float *inverse, const float *largest,
                   size_t rows);
    double (*to_int8)(int8_t *out, const float *in, const float *scale, const float *inverse,
                      size_t rows, size_t length);
    bool (*from_int8)(float *out, const int8_t *in, const float *scale, size_t rows, size_t length);
    /* All finite. */
    bool (*finite)(const float *in, size_t n);
    /* Copies; whether all are finite. */
    bool (*copy)(float *out, const float *in, size_t n);
    /* ||a - b||^2: differences in float32, at most 2^-24 of each off, then in double: sixteen
     * running sums, then these in order. */
    double (*squares)(const float *a, const float *b, size_t n);
} gossip_codec_kernels_t;

extern const gossip_codec_kernels_t gossip_codec_kernels_c;
extern const gossip_codec_kernels_t gossip_codec_kernels_avx2;
extern const gossip_codec_kernels_t gossip_codec_kernels_avx512;

/* Of this CPU's level (HEARSAY_CPU lowers it). */
const gossip_codec_kernels_t *gossip_codec_kernels(void);
/* Of a level; NULL when the CPU lacks it. For tests. */
const gossip_codec_kernels_t *gossip_codec_kernels_at(cpu_level_t level);
