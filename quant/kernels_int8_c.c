/* Plain C: what every other level is tested against. */
#include <math.h>

#include "quant/kernels_int8_tables.h"

enum { LANES = 8, GROUP = 4 };

/* clamp(rne(v) + zero, 0, 255); of NaN 255. */
static uint8_t to_uint8(float v, int32_t zero)
{
    const float low = (float)-zero, high = (float)(255 - zero);
    v = v < high ? v : high;
    v = v > low ? v : low;
    return (uint8_t)(lrintf(v) + zero);
}

static void quantize_c(uint8_t *q, const float *x, float scale, int32_t zero, size_t count)
{
    for (size_t i = 0; i < count; i++)
        q[i] = to_uint8(x[i] / scale, zero);
}

/* acc[r,o] */
static int32_t sum_of(const uint8_t *a, const quant_product_t *p, size_t r, size_t o)
{
    const size_t groups = (p->inner + GROUP - 1) / GROUP, vectors = (p->cols + LANES - 1) / LANES;
    const size_t v = o / LANES / QUANT_BUNDLE * QUANT_BUNDLE; /* where o's bundle begins */
    const size_t nv = vectors - v < QUANT_BUNDLE ? vectors - v : QUANT_BUNDLE;
    const int8_t *w = p->weights + v * p->outer * groups * LANES * GROUP;
    uint32_t sum = (uint32_t)p->bias[o]; /* unsigned: it may wrap on the way */
    a += r / p->line * p->a_line + r % p->line * p->a_pixel;
    w += (o - v * LANES) * GROUP;
    for (size_t q = 0; q < p->outer; q++)
        for (size_t i = 0; i < p->inner; i++)
            sum += (uint32_t)(a[q * p->a_outer + i] *
                              w[(q * groups + i / GROUP) * nv * LANES * GROUP + i % GROUP]);
    return (int32_t)sum;
}

static void product_c(uint8_t *c, const void *a, const quant_product_t *p, size_t first, size_t end,
                      int16_t *scratch)
{
    (void)scratch;
    for (size_t r = first; r < end; r++)
        for (size_t o = 0; o < p->cols; o++)
            c[r * p->cols + o] = to_uint8((float)sum_of(a, p, r, o) * p->multiplier[o], p->zero);
}

static void logits_c(float *c, const void *a, const quant_product_t *p, size_t first, size_t end,
                     int16_t *scratch)
{
    (void)scratch;
    for (size_t r = first; r < end; r++)
        for (size_t o = 0; o < p->cols; o++)
            c[r * p->cols + o] = (float)sum_of(a, p, r, o) * p->multiplier[o];
}

/* Where of a block's halves channel c lies. */
static size_t place(size_t c)
{
    const size_t in = c % (2 * LANES);
    return c - in + in % 8 / 4 * LANES + in / 8 * 4 + in % 4;
}

static void depthwise_c(uint8_t *y, const uint8_t *x, const quant_depthwise_t *p, size_t first,
                        size_t end, int16_t *scratch)
{
    (void)scratch;
    for (size_t line = first; line < end; line++) {
        for (size_t i = 0; i < p->Q * p->C; i++) {
            const size_t c = i % p->C, at = place(c);
            const int16_t *w = p->weights + at / LANES * 24 * LANES + at % LANES * 2;
            uint32_t sum = (uint32_t)p->bias[at];
            for (size_t k = 0; k < 9; k++) { /* what lies above or left wraps to huge */
                const size_t h = line * p->stride + k / 3 - 1;
                const size_t v = i / p->C * p->stride + k % 3 - 1;
                const bool inside = h < p->H && v < p->W;
                const int32_t tap = inside ? x[(h * p->W + v) * p->C + c] : p->padding;
                sum += (uint32_t)(tap * w[(k / 6 * 3 + k % 3) * 2 * LANES + k / 3 % 2]);
            }
            y[line * p->Q * p->C + i] = to_uint8((float)(int32_t)sum * p->multiplier[at], p->zero);
        }
    }
}

static void add_c(uint8_t *y, const uint8_t *x0, const uint8_t *x1, const quant_add_t *p,
                  size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = to_uint8(fmaf((float)x0[i], p->a, fmaf((float)x1[i], p->b, p->offset)), 0);
}

static void mean_c(uint8_t *y, const uint8_t *x, size_t pixels, size_t C, int32_t offset,
                   float multiplier, int32_t zero)
{
    for (size_t c = 0; c < C; c++) {
        int32_t sum = -offset;
        for (size_t i = 0; i < pixels; i++)
            sum += x[i * C + c];
        y[c] = to_uint8((float)sum * multiplier, zero);
    }
}

const quant_kernels_t quant_kernels_c = {.name = "c",
                                         .lanes = LANES,
                                         .group = GROUP,
                                         .quantize = quantize_c,
                                         .product = product_c,
                                         .logits = logits_c,
                                         .depthwise = depthwise_c,
                                         .add = add_c,
                                         .mean = mean_c};
