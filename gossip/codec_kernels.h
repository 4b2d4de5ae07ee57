/* gossip/codec_kernels.h: the codecs' inner loops, written so that the compiler vectorises them,
 * and built once for each instruction set. All levels give the same bits: conversions are exact
 * integer work, and sums have the same lanes everywhere. */
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
    /* The next four are of `rows` rows of `length` >= 1 elements each: in, out (rows, length), what
     * stands for a row (rows).
     *
     * max |x| of each. */
    void (*largest)(float *out, const float *in, size_t rows, size_t length);
    /* largest / 127, rounded up to a bfloat16, so that no value of the row needs more than 127 of
     * it; as that, in float32, and 1 / it. All 0 for a row too small to divide by; 127 of the
     * largest scale are still finite. */
    void (*scales)(uint16_t *coded, float *scale, float *inverse, const float *largest,
                   size_t rows);
    /* q = rint(x * inverse), for `scales` of the row. Returns the sum of (x - q * scale)^2 over the
     * rows that have a scale, or a little more: each difference is taken for 2^-16 of a scale
     * larger than it is. NaN or Inf when x has one. */
    double (*to_int8)(int8_t *out, const float *in, const float *scale, const float *inverse,
                      size_t rows, size_t length);
    /* q * scale; false when a q is -128. */
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
