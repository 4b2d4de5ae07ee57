#include "nn/depthwise.h"

#include <math.h>
#include <string.h>

enum { CELLS = 9 };

bool nn_depthwise_suits(const nn_conv2d_t *d)
{
    return d->groups > 1 && d->groups == d->C && d->C == d->O && d->kernel == 3 && d->pad == 1 &&
           (d->stride == 1 || d->stride == 2);
}

static size_t padded_pixels(size_t height, size_t width)
{
    return (height + 2) * (width + 2);
}

/* A block's places in the scratch memory. */
typedef struct {
    float *x, *dy; /* padded */
    float *out;    /* y or dx, dense */
    float *w, *dw; /* (9,C) */
} place_t;

static place_t places(float *scratch, const nn_conv2d_t *d)
{
    place_t at = {.x = scratch};
    at.dy = at.x + padded_pixels(d->H, d->W) * NN_BLOCK;
    at.out = at.dy + padded_pixels(d->P, d->Q) * NN_BLOCK;
    at.w = at.out + d->H * d->W * NN_BLOCK; /* y has no more pixels than x */
    at.dw = at.w + CELLS * NN_BLOCK;
    return at;
}

size_t nn_depthwise_scratch(const nn_conv2d_t *d)
{
    return (padded_pixels(d->H, d->W) + padded_pixels(d->P, d->Q) + d->H * d->W + 2 * CELLS) *
           NN_BLOCK;
}

/* Channels c .. c+C-1 of a tensor of `pixel` channels into the inside of `to`, whose border is 0.
 */
static void pad(float *to, const float *from, size_t pixel, size_t height, size_t width, size_t C,
                const nn_kernels_t *k)
{
    const nn_norm_t copy = {.height = height, .width = width, .channels = C};
    const size_t row = (width + 2) * C;
    memset(to, 0, row * sizeof *to);
    for (size_t h = 1; h <= height; h++) {
        memset(to + h * row, 0, C * sizeof *to);
        memset(to + (h + 1) * row - C, 0, C * sizeof *to);
    }
    memset(to + (height + 1) * row, 0, row * sizeof *to);
    k->pad_norm(to, from, pixel, &copy);
}

/* Rows of C floats from one distance to another. */
static void copy_rows(float *to, size_t to_row, const float *from, size_t from_row, size_t rows,
                      size_t C)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * to_row, from + r * from_row, C * sizeof *to);
}

void nn_depthwise_forward(float *y, const float *x, const float *packed, const float *b,
                          const nn_conv2d_t *d, float *scratch, const nn_kernels_t *k)
{
    static const float none[NN_BLOCK];
    const place_t at = places(scratch, d);
    for (size_t c = 0; c < d->C; c += NN_BLOCK) {
        const size_t C = d->C - c < NN_BLOCK ? d->C - c : NN_BLOCK;
        const nn_depthwise_t block = {d->H, d->W, d->P, d->Q, d->stride, C};
        pad(at.x, x + c, d->C, d->H, d->W, C, k);
        copy_rows(at.w, C, packed + c, d->C, CELLS, C);
        k->depthwise_forward(at.out, at.x, at.w, b ? b + c : none, -INFINITY, INFINITY, &block);
        copy_rows(y + c, d->C, at.out, C, d->P * d->Q, C);
    }
}

void nn_depthwise_backward(float *dx, float *dpacked, const float *x, const float *dy,
                           const float *packed, const nn_conv2d_t *d, float *scratch,
                           const nn_kernels_t *k)
{
    const place_t at = places(scratch, d);
    for (size_t c = 0; c < d->C; c += NN_BLOCK) {
        const size_t C = d->C - c < NN_BLOCK ? d->C - c : NN_BLOCK;
        const nn_depthwise_t block = {d->H, d->W, d->P, d->Q, d->stride, C};
        pad(at.x, x + c, d->C, d->H, d->W, C, k);
        pad(at.dy, dy + c, d->C, d->P, d->Q, C, k);
        copy_rows(at.dw, C, dpacked + c, d->C, CELLS, C);
        k->depthwise_backward_weight(at.dw, at.x, at.dy, &block);
        copy_rows(dpacked + c, d->C, at.dw, C, CELLS, C);
        if (!dx)
            continue;
        copy_rows(at.w, C, packed + c, d->C, CELLS, C);
        k->depthwise_backward_input(at.out, NULL, NULL, at.dy, at.w, NULL, NULL, &block);
        copy_rows(dx + c, d->C, at.out, C, d->H * d->W, C);
    }
}
