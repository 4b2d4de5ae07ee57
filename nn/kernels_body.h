/* nn/kernels_body.h: kernels that compilers vectorise well, written once and built for each
 * instruction set by kernels_c.c, kernels_avx2.c and kernels_avx512.c, which define K(name) and
 * have flags of their own in CMake. Inner loops go over channels. */
#include <math.h>
#include <string.h>

enum { BLOCK_ROWS = 64 }; /* rows summed in float before they go to double */

/* Sums of deviations from the first block's mean, which is near enough to the whole mean that a
 * variance much smaller than it is not lost. */
static void K(moments)(double *mean, double *m2, const float *x, size_t rows, size_t C)
{
    float sum[NN_CHANNELS_MAX], square[NN_CHANNELS_MAX], shift[NN_CHANNELS_MAX];
    const size_t head = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
    memset(sum, 0, C * sizeof *sum);
    for (size_t r = 0; r < head; r++)
        for (size_t c = 0; c < C; c++)
            sum[c] += x[r * C + c];
    for (size_t c = 0; c < C; c++) {
        shift[c] = sum[c] / (float)head;
        mean[c] = m2[c] = 0;
    }
    for (size_t r0 = 0; r0 < rows; r0 += BLOCK_ROWS) {
        size_t end = r0 + BLOCK_ROWS < rows ? r0 + BLOCK_ROWS : rows;
        memset(sum, 0, C * sizeof *sum);
        memset(square, 0, C * sizeof *square);
        for (size_t r = r0; r < end; r++) {
            for (size_t c = 0; c < C; c++) {
                float d = x[r * C + c] - shift[c];
                sum[c] += d;
                square[c] += d * d;
            }
        }
        for (size_t c = 0; c < C; c++) {
            mean[c] += (double)sum[c];
            m2[c] += (double)square[c];
        }
    }
    for (size_t c = 0; c < C; c++) {
        double d = mean[c] / (double)rows;
        m2[c] = fmax(0.0, m2[c] - (double)rows * d * d);
        mean[c] = (double)shift[c] + d;
    }
}

static void K(add_columns)(float *restrict sum, const float *restrict x, size_t rows, size_t C)
{
    float part[NN_CHANNELS_MAX];
    for (size_t r0 = 0; r0 < rows; r0 += BLOCK_ROWS) {
        size_t end = r0 + BLOCK_ROWS < rows ? r0 + BLOCK_ROWS : rows;
        memset(part, 0, C * sizeof *part);
        for (size_t r = r0; r < end; r++)
            for (size_t c = 0; c < C; c++)
                part[c] += x[r * C + c];
        for (size_t c = 0; c < C; c++)
            sum[c] += part[c];
    }
}

/* NaN goes through, as in PyTorch. */
static inline float clampf(float v, float low, float high)
{
    v = v < low ? low : v;
    return v > high ? high : v;
}

static void K(norm_forward)(float *restrict y, const float *restrict x, const nn_norm_t *p)
{
    const size_t C = p->channels, W = p->width;
    const float *restrict mean = p->mean, *restrict scale = p->scale, *restrict beta = p->beta;
    const float low = p->low, high = p->high;
    if (!p->pool) {
        for (size_t r = 0; r < p->height * W; r++)
            for (size_t c = 0; c < C; c++)
                y[r * C + c] = clampf((x[r * C + c] - mean[c]) * scale[c] + beta[c], low, high);
        return;
    }
    for (size_t h = 0; h < p->height / 2; h++) {
        for (size_t w = 0; w < W / 2; w++, y += C) {
            const float *restrict a = x + (2 * h * W + 2 * w) * C, *restrict b = a + W * C;
            for (size_t c = 0; c < C; c++) {
                float v0 = (a[c] - mean[c]) * scale[c] + beta[c];
                float v1 = (a[C + c] - mean[c]) * scale[c] + beta[c];
                float v2 = (b[c] - mean[c]) * scale[c] + beta[c];
                float v3 = (b[C + c] - mean[c]) * scale[c] + beta[c];
                v0 = v0 < v1 ? v1 : v0;
                v2 = v2 < v3 ? v3 : v2;
                y[c] = clampf(v0 < v2 ? v2 : v0, low, high);
            }
        }
    }
}

/* The gradient that one 2x2 window hands to its first largest element. Clamping keeps order, so it
 * is sought among the values before it: where several clamp to one bound no gradient passes. */
static inline void window_gradient(float g[4], float x0, float x1, float x2, float x3, float dy,
                                   float mean, float scale, float beta, float low, float high)
{
    float v0 = (x0 - mean) * scale + beta, v1 = (x1 - mean) * scale + beta;
    float v2 = (x2 - mean) * scale + beta, v3 = (x3 - mean) * scale + beta;
    float m01 = v0 < v1 ? v1 : v0, m23 = v2 < v3 ? v3 : v2, m = m01 < m23 ? m23 : m01;
    float pass = m > low ? dy : 0.0f;
    pass = m < high ? pass : 0.0f;
    float left = v0 == m ? 0.0f : pass;
    g[0] = pass - left;
    float left1 = v1 == m ? 0.0f : left;
    g[1] = left - left1;
    float left2 = v2 == m ? 0.0f : left1;
    g[2] = left1 - left2;
    g[3] = left2;
}

static void K(norm_sums)(double *sum_g, double *sum_gx, const float *restrict x,
                         const float *restrict dy, const nn_norm_t *p)
{
    const size_t C = p->channels, W = p->width, step = p->pool ? 2 : 1;
    const float *restrict mean = p->mean, *restrict scale = p->scale, *restrict beta = p->beta;
    const float *restrict invstd = p->invstd, low = p->low, high = p->high;
    float g_row[NN_CHANNELS_MAX], gx_row[NN_CHANNELS_MAX];
    for (size_t c = 0; c < C; c++)
        sum_g[c] = sum_gx[c] = 0;
    for (size_t h = 0; h + step <= p->height; h += step) {
        memset(g_row, 0, C * sizeof *g_row);
        memset(gx_row, 0, C * sizeof *gx_row);
        for (size_t w = 0; w + step <= W; w += step, dy += C) {
            const float *restrict a = x + (h * W + w) * C, *restrict b = a + W * C;
            for (size_t c = 0; p->pool && c < C; c++) {
                float g[4];
                window_gradient(g, a[c], a[C + c], b[c], b[C + c], dy[c], mean[c], scale[c],
                                beta[c], low, high);
                g_row[c] += (g[0] + g[1]) + (g[2] + g[3]);
                gx_row[c] += ((g[0] * (a[c] - mean[c]) + g[1] * (a[C + c] - mean[c])) +
                              (g[2] * (b[c] - mean[c]) + g[3] * (b[C + c] - mean[c]))) *
                             invstd[c];
            }
            for (size_t c = 0; !p->pool && c < C; c++) {
                float v = (a[c] - mean[c]) * scale[c] + beta[c];
                float g = v > low ? dy[c] : 0.0f;
                g = v < high ? g : 0.0f;
                g_row[c] += g;
                gx_row[c] += g * ((a[c] - mean[c]) * invstd[c]);
            }
        }
        for (size_t c = 0; c < C; c++) {
            sum_g[c] += (double)g_row[c];
            sum_gx[c] += (double)gx_row[c];
        }
    }
}

/* dx of pixels from .. to-1, which no window covers: they have no gradient of their own. */
static inline void norm_rest(float *restrict dx, const float *restrict x, size_t from, size_t to,
                             const float *restrict mean_g, const float *restrict mean_gx,
                             const nn_norm_t *p)
{
    const size_t C = p->channels;
    for (size_t r = from; r < to; r++) {
        for (size_t c = 0; c < C; c++) {
            float xhat = (x[r * C + c] - p->mean[c]) * p->invstd[c];
            dx[r * C + c] = p->scale[c] * (-mean_g[c] - xhat * mean_gx[c]);
        }
    }
}

static void norm_backward_pool(float *restrict dx, const float *restrict x,
                               const float *restrict dy, const float *restrict mean_g,
                               const float *restrict mean_gx, const nn_norm_t *p)
{
    const size_t C = p->channels, W = p->width, H = p->height;
    const float *restrict mean = p->mean, *restrict scale = p->scale, *restrict beta = p->beta;
    const float *restrict invstd = p->invstd, low = p->low, high = p->high;
    for (size_t h = 0; h + 2 <= H; h += 2) {
        for (size_t w = 0; w + 2 <= W; w += 2, dy += C) {
            const size_t at = (h * W + w) * C;
            const float *restrict a = x + at, *restrict b = a + W * C;
            float *restrict da = dx + at, *restrict db = da + W * C;
            for (size_t c = 0; c < C; c++) {
                float g[4], k = invstd[c] * mean_gx[c], m = mean_g[c];
                window_gradient(g, a[c], a[C + c], b[c], b[C + c], dy[c], mean[c], scale[c],
                                beta[c], low, high);
                da[c] = scale[c] * (g[0] - m - (a[c] - mean[c]) * k);
                da[C + c] = scale[c] * (g[1] - m - (a[C + c] - mean[c]) * k);
                db[c] = scale[c] * (g[2] - m - (b[c] - mean[c]) * k);
                db[C + c] = scale[c] * (g[3] - m - (b[C + c] - mean[c]) * k);
            }
        }
        if (W % 2) {
            norm_rest(dx, x, h * W + W - 1, h * W + W, mean_g, mean_gx, p);
            norm_rest(dx, x, h * W + 2 * W - 1, h * W + 2 * W, mean_g, mean_gx, p);
        }
    }
    if (H % 2)
        norm_rest(dx, x, (H - 1) * W, H * W, mean_g, mean_gx, p);
}

static void K(norm_backward)(float *restrict dx, const float *restrict x, const float *restrict dy,
                             const float *restrict mean_g, const float *restrict mean_gx,
                             const nn_norm_t *p)
{
    const size_t C = p->channels;
    const float *restrict mean = p->mean, *restrict scale = p->scale, *restrict beta = p->beta;
    const float *restrict invstd = p->invstd, low = p->low, high = p->high;
    if (p->pool) {
        norm_backward_pool(dx, x, dy, mean_g, mean_gx, p);
        return;
    }
    for (size_t r = 0; r < p->height * p->width; r++) {
        for (size_t c = 0; c < C; c++) {
            float d = x[r * C + c] - mean[c];
            float v = d * scale[c] + beta[c];
            float g = v > low ? dy[r * C + c] : 0.0f;
            g = v < high ? g : 0.0f;
            dx[r * C + c] = scale[c] * (g - mean_g[c] - d * invstd[c] * mean_gx[c]);
        }
    }
}

static void K(clamp)(float *y, const float *x, float low, float high, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = clampf(x[i], low, high);
}

static void K(clamp_backward)(float *dx, const float *y, const float *dy, float low, float high,
                              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float g = y[i] > low ? dy[i] : 0.0f;
        dx[i] = y[i] < high ? g : 0.0f;
    }
}

/* To the nearest whole number, ties to even, for |v| <= 2^22: adding 1.5 * 2^23 leaves no room for
 * more. A rintf would be a call where the instruction set has no rounding. NaN goes through. */
static inline float round_small(float v)
{
    const float shift = 12582912.0f;
    return (v + shift) - shift;
}

/* Clamped before it is rounded, which is the same because the bounds are whole. */
static void K(fake_quant)(float *y, const float *x, float scale, float zero, size_t count)
{
    const float low = -zero, high = 255.0f - zero;
    for (size_t i = 0; i < count; i++)
        y[i] = scale * round_small(clampf(x[i] / scale, low, high));
}

static void K(fake_quant_backward)(float *dx, const float *x, const float *dy, float scale,
                                   float zero, size_t count)
{
    const float low = -zero, high = 255.0f - zero;
    for (size_t i = 0; i < count; i++) {
        float q = round_small(clampf(x[i] / scale, low - 1.0f, high + 1.0f));
        float g = q < low ? 0.0f : dy[i];
        dx[i] = q > high ? 0.0f : g;
    }
}

static void K(add)(float *restrict to, const float *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

/* torch.optim.Adam (1.13), single tensor: epsilon is added after the bias correction. */
static void K(adam)(float *restrict w, float *restrict m, float *restrict v,
                    const float *restrict gradient, const nn_adam_t *p, size_t count)
{
    const float step = p->lr / p->correction1, correction2 = p->correction2;
    const float beta1 = p->beta1, beta2 = p->beta2, epsilon = p->epsilon, decay = p->weight_decay;
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i] + decay * w[i];
        m[i] = beta1 * m[i] + (1.0f - beta1) * g;
        v[i] = beta2 * v[i] + (1.0f - beta2) * g * g;
        w[i] -= step * (m[i] / (sqrtf(v[i]) / correction2 + epsilon));
    }
}

/* torch.optim.SGD: the first step's momentum buffer is the gradient itself, which beta * 0 + g is.
 */
static void K(sgd)(float *restrict w, float *restrict buffer, const float *restrict gradient,
                   const nn_sgd_t *p, size_t count)
{
    const float lr = p->lr, momentum = p->momentum, decay = p->weight_decay;
    const bool nesterov = p->nesterov;
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i] + decay * w[i], b = momentum * buffer[i] + g;
        buffer[i] = b;
        w[i] -= lr * (nesterov ? g + momentum * b : b);
    }
}

#define KERNELS_TABLE(level)                                                                       \
    {                                                                                              \
        .name = level, .product = K(product), .moments = K(moments),                               \
        .add_columns = K(add_columns), .norm_forward = K(norm_forward), .norm_sums = K(norm_sums), \
        .norm_backward = K(norm_backward), .clamp = K(clamp), .clamp_backward = K(clamp_backward), \
        .fake_quant = K(fake_quant), .fake_quant_backward = K(fake_quant_backward),                \
        .add = K(add), .adam = K(adam), .sgd = K(sgd), .pad_norm = K(pad_norm),                    \
        .depthwise_forward = K(depthwise_forward), .mask_sums = K(mask_sums),                      \
        .pad_gradient = K(pad_gradient),                                                           \
        .depthwise_backward_weight = K(depthwise_backward_weight),                                 \
        .depthwise_backward_input = K(depthwise_backward_input),                                   \
        .winograd_input = K(winograd_input), .winograd_output = K(winograd_output),                \
        .winograd_output_back = K(winograd_output_back),                                           \
        .winograd_input_back = K(winograd_input_back)                                              \
    }
