/* nn/kernels.h: the inner loops, a table of them for each CPU level. Float kernels agree between
 * levels within 1e-5 of the largest term: the order of sums and fused multiply-adds differ.
 * Nothing here allocates, logs or fails. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/cpu.h"

enum { NN_PANEL = 16 }; /* columns of a right operand that may lie together */

/* A matrix product whose left operand may overlap itself, which is what a convolution is:
 *   c[r,n] = (accumulate ? c[r,n] : bias ? bias[n] : 0) + sum over q < outer, k < inner of
 *            a[r*a_row + q*a_outer + k*a_inner] * b[q*b_outer + k*b_inner + at(n)],
 *   at(n) = n, or in panels n / NN_PANEL * b_panel + n % NN_PANEL.
 * All strides in elements. c overlaps neither a nor b. outer or inner may be 0. */
typedef struct {
    size_t rows, cols, outer, inner;
    size_t a_row, a_outer, a_inner;
    size_t b_outer, b_inner;
    size_t b_panel; /* from a panel to the next, at least NN_PANEL; 0: b is not in panels */
    size_t c_row;
    bool clamp;      /* then c = that, clamped to low .. high (NaN stays) */
    float low, high; /* only read with clamp */
} nn_product_t;

/* BatchNorm with what follows it: v = (x - mean) * scale + beta, clamped to low .. high, and
 * possibly the largest of each 2x2 window (a last odd row or column is left out). One picture. */
typedef struct {
    size_t height, width, channels; /* of x */
    bool pool;                      /* 2x2, stride 2 */
    float low, high;                /* 0 and inf: ReLU; 0 and 6: ReLU6; -inf and inf: neither */
    const float *mean, *scale, *beta, *invstd; /* (channels); scale = gamma * invstd */
} nn_norm_t;

enum { NN_BLOCK = 48 }; /* channels of a block of a MobileNetV2's expanded tensor, at most */

/* A depthwise 3x3 convolution with padding 1 of one block of one picture. */
typedef struct {
    size_t H, W;   /* of the input, unpadded; >= 1 */
    size_t P, Q;   /* of the output: (H - 1) / stride + 1 and (W - 1) / stride + 1 */
    size_t stride; /* 1 or 2 */
    size_t C;      /* 1 .. NN_BLOCK */
} nn_depthwise_t;

/* A slice of one picture in Winograd's convolution (winograd.h), stride 1: tile rows first .. end-1
 * of the input (H,W,C) and the output (P,Q,O), tiles of m x m outputs, m = 2 for a 5x5 kernel, 4
 * for 3x3. C and O are multiples of 16. Tile n of point i begins at i * plane + n * channels. */
typedef struct {
    size_t H, W, C, P, Q, O, pad;
    size_t m, across; /* outputs of a tile each way; tiles in a row */
    size_t first, end;
    size_t plane_c, plane_o; /* floats between two points of inputs, of outputs */
} nn_winograd_t;

typedef struct {
    float lr, beta1, beta2, epsilon, weight_decay;
    float correction1, correction2; /* 1 - beta1^t, sqrt(1 - beta2^t) */
} nn_adam_t;

typedef struct {
    float lr, momentum, weight_decay;
    bool nesterov;
} nn_sgd_t;

typedef struct {
    const char *name; /* of the level */
    void (*product)(float *c, const float *a, const float *b, const float *bias, bool accumulate,
                    const nn_product_t *p);
    /* Per channel of x (rows,C): mean, and sum of squared deviation from it. */
    void (*moments)(double *mean, double *m2, const float *x, size_t rows, size_t C);
    /* sum[c] += sum over rows of x (rows,C), by blocks. */
    void (*add_columns)(float *sum, const float *x, size_t rows, size_t C);
    void (*norm_forward)(float *y, const float *x, const nn_norm_t *p);
    /* With g the gradient of v: sum_g[c] = sum of g, sum_gx[c] = sum of g * (x - mean) * invstd. */
    void (*norm_sums)(double *sum_g, double *sum_gx, const float *x, const float *dy,
                      const nn_norm_t *p);
    /* dx = scale * (g - mean_g - xhat * mean_gx) */
    void (*norm_backward)(float *dx, const float *x, const float *dy, const float *mean_g,
                          const float *mean_gx, const nn_norm_t *p);
    /* The next six work on one block of one picture: at most NN_BLOCK channels, p->pool false.
     * Padded tensors have a border of one pixel. Outputs overlap no inputs, but the g of
     * depthwise_backward_input may be its z; NaN goes through.
     * Interior of a (H+2,W+2,C) = (z - mean) * scale + beta clamped to low .. high, or a copy where
     * p->scale is NULL; z is (H,W,C) with pixels `z_pixel` floats apart. The border is left alone.
     * H, W, C are p's. */
    void (*pad_norm)(float *a, const float *z, size_t z_pixel, const nn_norm_t *p);
    /* y (P,Q,C) = convolution of a (H+2,W+2,C), border included, with w (9,C); with bias (C), not
     * NULL, also that added, and clamped to low .. high. */
    void (*depthwise_forward)(float *y, const float *a, const float *w, const float *bias,
                              float low, float high, const nn_depthwise_t *d);
    /* On input g (rows,C) is the gradient of v clamped, on output that of v = (z - mean) * scale +
     * beta: 0 unless low < v < high. sum_g[c] += sum of g, sum_gx[c] += sum of g * (z - mean) *
     * invstd. z (rows,C); p's height and width don't matter. */
    void (*mask_sums)(float *g, double *sum_g, double *sum_gx, const float *z, size_t rows,
                      const nn_norm_t *p);
    /* Interior of dz (P+2,Q+2,C) = scale * (g - mean_g - xhat * mean_gx), xhat = (z - mean) *
     * invstd; g and z (P,Q,C), mean_g and mean_gx (C). The border is left alone. P, Q, C are p's
     * height, width and channels. */
    void (*pad_gradient)(float *dz, const float *g, const float *z, const float *mean_g,
                         const float *mean_gx, const nn_norm_t *p);
    /* dw (9,C) += sum over outputs of a (H+2,W+2,C) times dz (P+2,Q+2,C), a border included. */
    void (*depthwise_backward_weight)(float *dw, const float *a, const float *dz,
                                      const nn_depthwise_t *d);
    /* g (H,W,C) = gradient of the convolution's input, from dz (P+2,Q+2,C) with a border of zeros
     * and w (9,C). With z (H,W,C), not NULL, also masked and summed as by mask_sums; without it
     * sum_g, sum_gx and p may be NULL. */
    void (*depthwise_backward_input)(float *g, double *sum_g, double *sum_gx, const float *dz,
                                     const float *w, const float *z, const nn_norm_t *p,
                                     const nn_depthwise_t *d);
    /* The four transforms: v = points of x; y = outputs of points, plus bias (O) or NULL; and these
     * transposed: dm = points' gradient of dy; dx += inputs' gradient of dv. Points are 36 planes.
     * columns (across * m + 6 - m, 6, 16) is scratch memory. */
    void (*winograd_input)(float *v, const float *x, float *columns, const nn_winograd_t *p);
    void (*winograd_output)(float *y, const float *points, const float *bias,
                            const nn_winograd_t *p);
    void (*winograd_output_back)(float *dm, const float *dy, const nn_winograd_t *p);
    void (*winograd_input_back)(float *dx, const float *dv, float *columns, const nn_winograd_t *p);
    /* y = x clamped to low .. high; y may be x. */
    void (*clamp)(float *y, const float *x, float low, float high, size_t count);
    /* dx = dy where low < y < high, else 0; dx may be dy. */
    void (*clamp_backward)(float *dx, const float *y, const float *dy, float low, float high,
                           size_t count);
    /* y = scale * (clamp(rne(x / scale) + zero, 0, 255) - zero): what uint8 makes of x, as a float;
     * scale > 0, zero whole, 0 .. 255; y may be x. PyTorch's fake_quantize_per_tensor_affine, which
     * multiplies by 1 / scale. */
    void (*fake_quant)(float *y, const float *x, float scale, float zero, size_t count);
    /* Straight through: dx = dy where rne(x / scale) + zero is in 0 .. 255, else 0; dx may be dy.
     * NaN goes through. */
    void (*fake_quant_backward)(float *dx, const float *x, const float *dy, float scale, float zero,
                                size_t count);
    /* to += from */
    void (*add)(float *to, const float *from, size_t count);
    void (*adam)(float *w, float *m, float *v, const float *g, const nn_adam_t *p, size_t count);
    void (*sgd)(float *w, float *buffer, const float *g, const nn_sgd_t *p, size_t count);
} nn_kernels_t;

/* Of cpu_level(). */
const nn_kernels_t *nn_kernels(void);
/* Of a level; NULL when this CPU or build lacks it. */
const nn_kernels_t *nn_kernels_at(cpu_level_t level);
enum { NN_CHANNELS_MAX = 5120 }; /* kernels keep sums of one row block on the stack */
