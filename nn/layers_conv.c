/* Convolutions as products without patches: in NHWC the inputs of one kernel row are K*C numbers in
 * a row, and those of the next output pixel begin stride*C further on. So a row of outputs is a
 * product whose left operand overlaps itself (kernels.h), and nothing is copied but padding. */
#include <string.h>

#include "nn/depthwise.h"
#include "nn/layers.h"
#include "nn/transpose.h"
#include "nn/winograd.h"

enum { BLOCK_FLOATS = 4096 }; /* of dy, half a first cache */

size_t nn_conv2d_packed(const nn_conv2d_t *d)
{
    if (nn_winograd_suits(d))
        return NN_WINOGRAD_POINTS * d->C * d->O;
    return d->kernel * d->kernel * (d->C / d->groups) * d->O;
}

/* A pointwise convolution is one product over all pixels of all pictures. */
static bool is_pointwise(const nn_conv2d_t *d)
{
    return d->kernel == 1 && d->stride == 1 && d->pad == 0 && d->groups == 1;
}

/* Rows of dy with stride - 1 zeros between and as many zeros around as the kernel reaches. */
static size_t spread_height(const nn_conv2d_t *d)
{
    return (d->P - 1) * d->stride + 1;
}

static size_t spread_width(const nn_conv2d_t *d)
{
    return d->W + d->kernel - 1;
}

size_t nn_conv2d_scratch(const nn_conv2d_t *d)
{
    if (nn_winograd_suits(d))
        return nn_winograd_scratch(d);
    if (nn_depthwise_suits(d))
        return nn_depthwise_scratch(d);
    size_t padded = d->pad ? (d->H + 2 * d->pad) * (d->W + 2 * d->pad) * d->C : 0;
    size_t spread = spread_height(d) * spread_width(d) * d->O;
    if (d->groups > 1 || is_pointwise(d))
        return 0;
    return padded > spread ? padded : spread;
}

void nn_conv2d_pack(float *packed, float *turned, const float *w, const nn_conv2d_t *d)
{
    const size_t K = d->kernel, I = d->C / d->groups, O = d->O;
    if (nn_winograd_suits(d)) {
        nn_winograd_pack(packed, turned, w, d);
        return;
    }
    if (is_pointwise(d)) {
        nn_pack_transposed(packed, w, I, I, O);
        if (turned)
            nn_pack(turned, w, I, O, I);
        return;
    }
    for (size_t o = 0; o < O; o++) {
        for (size_t i = 0; i < I; i++) {
            for (size_t t = 0; t < K * K; t++) {
                float value = w[(o * I + i) * K * K + t];
                packed[(t * I + i) * O + o] = value;
                if (turned && d->groups == 1)
                    turned[((K * K - 1 - t) * O + o) * I + i] = value;
            }
        }
    }
}

void nn_conv2d_unpack(float *w, const float *dpacked, const nn_conv2d_t *d)
{
    const size_t K = d->kernel, I = d->C / d->groups, O = d->O;
    if (nn_winograd_suits(d)) {
        nn_winograd_unpack(w, dpacked, d);
        return;
    }
    if (K == 1 && d->groups == 1) {
        nn_transpose(w, I, dpacked, O, I, O);
        return;
    }
    for (size_t o = 0; o < O; o++)
        for (size_t i = 0; i < I; i++)
            for (size_t t = 0; t < K * K; t++)
                w[(o * I + i) * K * K + t] = dpacked[(t * I + i) * O + o];
}

/* x with zeros around, in scratch; x itself when there is no padding. */
static const float *padded(float *scratch, const float *x, const nn_conv2d_t *d)
{
    if (d->pad == 0)
        return x;
    const size_t width = (d->W + 2 * d->pad) * d->C, row = d->W * d->C;
    memset(scratch, 0, (d->H + 2 * d->pad) * width * sizeof *scratch);
    for (size_t h = 0; h < d->H; h++)
        memcpy(scratch + (h + d->pad) * width + d->pad * d->C, x + h * row, row * sizeof *x);
    return scratch;
}

/* What the grouped forms share: for output pixel (p,q) and kernel cell (i,j), where x is. False in
 * the padding. */
static bool input_at(size_t *at, const nn_conv2d_t *d, size_t p, size_t q, size_t i, size_t j)
{
    size_t h = p * d->stride + i, w = q * d->stride + j;
    if (h < d->pad || w < d->pad || h - d->pad >= d->H || w - d->pad >= d->W)
        return false;
    *at = ((h - d->pad) * d->W + w - d->pad) * d->C;
    return true;
}

typedef enum { GROUPED_FORWARD, GROUPED_WEIGHT, GROUPED_INPUT } grouped_t;

/* Plain loops for groups > 1, in one of three directions: y += x w, w += x y, x += w y. */
static void grouped(grouped_t direction, float *y, float *x, float *w, const nn_conv2d_t *d)
{
    const size_t K = d->kernel, I = d->C / d->groups, per_group = d->O / d->groups;
    for (size_t n = 0; n < d->P * d->Q * K * K; n++) {
        size_t pixel = n / (K * K), cell = n % (K * K), at = 0;
        if (!input_at(&at, d, pixel / d->Q, pixel % d->Q, cell / K, cell % K))
            continue;
        for (size_t i = 0; i < I; i++) {
            float *ys = y + pixel * d->O, *ws = w + (cell * I + i) * d->O;
            for (size_t o = 0; o < d->O; o++) {
                float *xs = x + at + o / per_group * I + i;
                if (direction == GROUPED_FORWARD)
                    ys[o] += *xs * ws[o];
                else if (direction == GROUPED_WEIGHT)
                    ws[o] += *xs * ys[o];
                else
                    *xs += ws[o] * ys[o];
            }
        }
    }
}

enum { PIXELS = 256 }; /* rows that make good use of a pointwise convolution's weights */

size_t nn_conv2d_pictures(const nn_conv2d_t *d)
{
    if (is_pointwise(d))
        return d->P * d->Q < PIXELS ? PIXELS / (d->P * d->Q) : 1;
    return nn_winograd_suits(d) ? nn_winograd_pictures(d) : 1;
}

static void grouped_forward(float *y, const float *x, const float *packed, const float *b,
                            const nn_conv2d_t *d)
{
    for (size_t r = 0; r < d->P * d->Q; r++)
        for (size_t o = 0; o < d->O; o++)
            y[r * d->O + o] = b ? b[o] : 0.0f;
    grouped(GROUPED_FORWARD, y, (float *)x, (float *)packed, d);
}

static void forward(float *y, const float *x, const float *packed, const float *b,
                    const nn_conv2d_t *d, float *scratch, const nn_kernels_t *k)
{
    const size_t K = d->kernel, width = (d->W + 2 * d->pad) * d->C;
    x = padded(scratch, x, d);
    nn_product_t product = {.rows = d->Q,
                            .cols = d->O,
                            .outer = K,
                            .inner = K * d->C,
                            .a_row = d->stride * d->C,
                            .a_outer = width,
                            .a_inner = 1,
                            .b_outer = K * d->C * d->O,
                            .b_inner = d->O,
                            .c_row = d->O};
    for (size_t p = 0; p < d->P; p++)
        k->product(y + p * d->Q * d->O, x + p * d->stride * width, packed, b, false, &product);
}

void nn_conv2d_forward(float *y, const float *x, const float *packed, const float *b,
                       const nn_conv2d_t *d, size_t n, float *scratch, const nn_kernels_t *k)
{
    const size_t in = d->H * d->W * d->C, out = d->P * d->Q * d->O;
    if (nn_winograd_suits(d)) {
        nn_winograd_forward(y, x, packed, b, d, n, scratch, k);
        return;
    }
    if (is_pointwise(d)) {
        nn_product_t product = nn_product_packed(n * d->P * d->Q, d->C, d->O);
        k->product(y, x, packed, b, false, &product);
        return;
    }
    if (nn_depthwise_suits(d)) {
        for (size_t i = 0; i < n; i++)
            nn_depthwise_forward(y + i * out, x + i * in, packed, b, d, scratch, k);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (d->groups > 1)
            grouped_forward(y + i * out, x + i * in, packed, b, d);
        else
            forward(y + i * out, x + i * in, packed, b, d, scratch, k);
    }
}

/* By blocks of output rows of which dy fits the first cache. */
static void backward_weight(float *dpacked, const float *x, const float *dy, const nn_conv2d_t *d,
                            float *scratch, const nn_kernels_t *k)
{
    const size_t K = d->kernel, width = (d->W + 2 * d->pad) * d->C, row = d->Q * d->O;
    const size_t block = row < BLOCK_FLOATS ? BLOCK_FLOATS / row : 1;
    x = padded(scratch, x, d);
    nn_product_t product = {.rows = K * d->C,
                            .cols = d->O,
                            .inner = d->Q,
                            .a_row = 1,
                            .a_outer = d->stride * width,
                            .a_inner = d->stride * d->C,
                            .b_outer = row,
                            .b_inner = d->O,
                            .c_row = d->O};
    for (size_t p = 0; p < d->P; p += block) {
        product.outer = d->P - p < block ? d->P - p : block;
        for (size_t i = 0; i < K; i++)
            k->product(dpacked + i * K * d->C * d->O, x + (p * d->stride + i) * width, dy + p * row,
                       NULL, true, &product);
    }
}

static void backward_input(float *dx, const float *dy, const float *turned, const nn_conv2d_t *d,
                           float *scratch, const nn_kernels_t *k)
{
    const size_t K = d->kernel, margin = K - 1 - d->pad, height = spread_height(d);
    const size_t width = spread_width(d) * d->O;
    memset(scratch, 0, height * width * sizeof *scratch);
    for (size_t p = 0; p < d->P; p++)
        for (size_t q = 0; q < d->Q; q++)
            memcpy(scratch + p * d->stride * width + (margin + q * d->stride) * d->O,
                   dy + (p * d->Q + q) * d->O, d->O * sizeof *dy);
    for (size_t h = 0; h < d->H; h++) {
        /* Kernel rows i that meet a row h + i - margin of dy. */
        size_t first = h < margin ? margin - h : 0, end = K;
        if (h + end > height + margin)
            end = height + margin > h ? height + margin - h : 0;
        nn_product_t product = {.rows = d->W,
                                .cols = d->C,
                                .outer = end > first ? end - first : 0,
                                .inner = K * d->O,
                                .a_row = d->O,
                                .a_outer = width,
                                .a_inner = 1,
                                .b_outer = K * d->O * d->C,
                                .b_inner = d->C,
                                .c_row = d->C};
        bool meets = product.outer > 0; /* else dx becomes zero */
        k->product(dx + h * d->W * d->C, meets ? scratch + (h + first - margin) * width : scratch,
                   meets ? turned + first * K * d->O * d->C : turned, NULL, false, &product);
    }
}

static void pointwise_backward(float *dx, float *dpacked, const float *x, const float *dy,
                               const float *turned, const nn_conv2d_t *d, size_t n,
                               const nn_kernels_t *k)
{
    nn_product_t weight = nn_product_transposed(d->C, n * d->P * d->Q, d->O);
    nn_product_t input = nn_product_packed(n * d->P * d->Q, d->O, d->C);
    k->product(dpacked, x, dy, NULL, true, &weight);
    if (dx)
        k->product(dx, dy, turned, NULL, false, &input);
}

void nn_conv2d_backward(float *dx, float *dpacked, float *db, const float *x, const float *dy,
                        const float *packed, const float *turned, const nn_conv2d_t *d, size_t n,
                        float *scratch, const nn_kernels_t *k)
{
    const size_t in = d->H * d->W * d->C, out = d->P * d->Q * d->O;
    if (db)
        k->add_columns(db, dy, n * d->P * d->Q, d->O);
    if (nn_winograd_suits(d)) {
        nn_winograd_backward(dx, dpacked, x, dy, turned, d, n, scratch, k);
        return;
    }
    if (is_pointwise(d)) {
        pointwise_backward(dx, dpacked, x, dy, turned, d, n, k);
        return;
    }
    if (nn_depthwise_suits(d)) {
        for (size_t i = 0; i < n; i++)
            nn_depthwise_backward(dx ? dx + i * in : NULL, dpacked, x + i * in, dy + i * out,
                                  packed, d, scratch, k);
        return;
    }
    if (dx && d->groups > 1)
        memset(dx, 0, n * in * sizeof *dx);
    for (size_t i = 0; i < n; i++) {
        if (d->groups > 1) {
            grouped(GROUPED_WEIGHT, (float *)dy + i * out, (float *)x + i * in, dpacked, d);
            if (dx)
                grouped(GROUPED_INPUT, (float *)dy + i * out, dx + i * in, (float *)packed, d);
            continue;
        }
        backward_weight(dpacked, x + i * in, dy + i * out, d, scratch, k);
        if (dx)
            backward_input(dx + i * in, dy + i * out, turned, d, scratch, k);
    }
}
