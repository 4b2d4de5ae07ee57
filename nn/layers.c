#include "nn/layers.h"

#include <math.h>
#include <string.h>

#include "nn/blas.h"
#include "nn/transpose.h"

void nn_pack_transposed(float *packed, const float *w, size_t w_row, size_t inner, size_t cols)
{
    const size_t width = nn_panel_width(cols);
    for (size_t c = 0; c < cols; c += width)
        nn_transpose(packed + c * inner, width, w + c * w_row, w_row, width, inner);
}

void nn_pack(float *packed, const float *w, size_t w_row, size_t inner, size_t cols)
{
    const size_t width = nn_panel_width(cols);
    for (size_t c = 0; c < cols; c += width)
        for (size_t i = 0; i < inner; i++, packed += width)
            memcpy(packed, w + i * w_row + c, width * sizeof *packed);
}

void nn_dense_forward(float *y, const float *x, const float *w, const float *b, size_t N, size_t I,
                      size_t O)
{
    for (size_t n = 0; n < N && b; n++)
        memcpy(y + n * O, b, O * sizeof *y);
    nn_blas_product(y, x, w, false, true, N, O, I, I, I, O, b ? 1.0f : 0.0f);
}

void nn_dense_backward_input(float *dx, const float *dy, const float *w, size_t N, size_t I,
                             size_t O, const nn_kernels_t *k)
{
    nn_product_t product = nn_product_dense(N, O, I);
    k->product(dx, dy, w, NULL, false, &product);
}

void nn_dense_backward_weight(float *dw, float *db, const float *x, const float *dy, size_t N,
                              size_t I, size_t O, size_t o0, size_t o1, const nn_kernels_t *k)
{
    if (o1 <= o0)
        return;
    nn_product_t product = {.rows = o1 - o0,
                            .cols = I,
                            .outer = 1,
                            .inner = N,
                            .a_row = 1,
                            .a_inner = O,
                            .b_inner = I,
                            .c_row = I};
    k->product(dw + o0 * I, dy + o0, x, NULL, false, &product);
    for (size_t o = o0; o < o1 && db; o++) {
        float sum = 0.0f;
        for (size_t n = 0; n < N; n++)
            sum += dy[n * O + o];
        db[o] = sum;
    }
}

void nn_dense_pack(float *packed, const float *w, size_t O, size_t H, size_t W, size_t C)
{
    for (size_t o = 0; o < O; o++)
        for (size_t c = 0; c < C; c++)
            for (size_t r = 0; r < H * W; r++)
                packed[(o * H * W + r) * C + c] = w[(o * C + c) * H * W + r];
}

void nn_dense_unpack(float *w, const float *packed, size_t O, size_t H, size_t W, size_t C)
{
    for (size_t o = 0; o < O; o++)
        for (size_t c = 0; c < C; c++)
            for (size_t r = 0; r < H * W; r++)
                w[(o * C + c) * H * W + r] = packed[(o * H * W + r) * C + c];
}

/* Where the first largest element of a window is: an offset into x. */
static size_t window_max(const float *x, size_t at, size_t W, size_t C, size_t kernel)
{
    size_t best = at;
    for (size_t i = 0; i < kernel; i++) {
        for (size_t j = 0; j < kernel; j++) {
            size_t candidate = at + (i * W + j) * C;
            if (x[candidate] > x[best] || isnan(x[candidate]))
                best = candidate;
        }
    }
    return best;
}

void nn_max_pool_forward(float *y, const float *x, size_t H, size_t W, size_t C, size_t kernel,
                         size_t stride)
{
    for (size_t h = 0; h + kernel <= H; h += stride)
        for (size_t w = 0; w + kernel <= W; w += stride)
            for (size_t c = 0; c < C; c++)
                *y++ = x[window_max(x, (h * W + w) * C + c, W, C, kernel)];
}

void nn_max_pool_backward(float *dx, const float *x, const float *dy, size_t H, size_t W, size_t C,
                          size_t kernel, size_t stride)
{
    memset(dx, 0, H * W * C * sizeof *dx);
    for (size_t h = 0; h + kernel <= H; h += stride)
        for (size_t w = 0; w + kernel <= W; w += stride)
            for (size_t c = 0; c < C; c++)
                dx[window_max(x, (h * W + w) * C + c, W, C, kernel)] += *dy++;
}

void nn_global_avg_pool_forward(float *y, const float *x, size_t rows, size_t C)
{
    for (size_t c = 0; c < C; c++) {
        double sum = 0;
        for (size_t r = 0; r < rows; r++)
            sum += (double)x[r * C + c];
        y[c] = (float)(sum / (double)rows);
    }
}

void nn_global_avg_pool_backward(float *dx, const float *dy, size_t rows, size_t C)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < C; c++)
            dx[r * C + c] = dy[c] / (float)rows;
}

double nn_cross_entropy(float *dlogits, size_t *correct, const float *logits, const int32_t *labels,
                        size_t N, size_t classes, double smoothing)
{
    const double share = smoothing / (double)classes;
    double loss = 0;
    *correct = 0;
    for (size_t n = 0; n < N; n++) {
        const float *z = logits + n * classes;
        size_t best = 0, label = (size_t)labels[n];
        double sum = 0, all = 0;
        for (size_t c = 1; c < classes; c++)
            if (z[c] > z[best])
                best = c;
        double top = (double)z[best];
        for (size_t c = 0; c < classes; c++) {
            sum += exp((double)z[c] - top);
            all += (double)z[c];
        }
        loss += log(sum) + top - (1.0 - smoothing) * (double)z[label] - share * all;
        *correct += best == label;
        for (size_t c = 0; c < classes && dlogits; c++) {
            double target = (c == label ? 1.0 - smoothing : 0.0) + share;
            dlogits[n * classes + c] =
                (float)((exp((double)z[c] - top) / sum - target) / (double)N);
        }
    }
    return loss;
}
