/* nn/depthwise_body.h: depthwise 3x3 convolution and what stands beside it, over one block of at
 * most NN_BLOCK channels of one picture (kernels.h). Written in the includer's vectors: vec, LANES,
 * tail_t, make_tail() and the v_* operations. Everything walks a row of pixels with one vector of
 * channels: the nine weights, or the nine sums of their gradient, stay in registers, and every
 * column that is loaded serves all the pixels of a group that it touches. */

#define DEPTHWISE_INLINE static inline __attribute__((always_inline))

enum {
    GROUP = 4,               /* pixels computed together: 9 weights + 4 sums + 1 of 16 registers */
    DEPTHWISE_L1 = 20 << 10, /* bytes that stay in L1 beside what passes through it */
    SUM_PIXELS = 64          /* summed in float before they go to double */
};

/* Constants wherever these are called: full vectors are plain loads. */
DEPTHWISE_INLINE vec channels_load(const float *p, tail_t tail, const bool partial)
{
    return partial ? v_load_tail(p, tail) : v_load(p);
}

DEPTHWISE_INLINE void channels_store(float *p, vec v, tail_t tail, const bool partial)
{
    if (partial)
        v_store_tail(p, v, tail);
    else
        v_store(p, v);
}

/* The statements for each vector of channels from c on; `partial` is a constant in it. */
#define EACH_VECTOR(C, ...)                                                                        \
    {                                                                                              \
        const tail_t tail = make_tail((C) % LANES);                                                \
        size_t c = 0;                                                                              \
        for (; c + LANES <= (C); c += LANES) {                                                     \
            const bool partial = false;                                                            \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
        if (c < (C)) {                                                                             \
            const bool partial = true;                                                             \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    }

/* CALL(N) for pixels x .. x+N-1 of a row of `width`, in groups of 4, 2 and 1. */
#define EACH_GROUP(x, width, CALL)                                                                 \
    {                                                                                              \
        size_t x = 0;                                                                              \
        for (; x + GROUP <= (width); x += GROUP) {                                                 \
            CALL(GROUP);                                                                           \
        }                                                                                          \
        if (x + 2 <= (width)) {                                                                    \
            CALL(2);                                                                               \
            x += 2;                                                                                \
        }                                                                                          \
        if (x < (width)) {                                                                         \
            CALL(1);                                                                               \
        }                                                                                          \
    }

/* Rows of a picture that are walked for one vector of channels before the next vector's turn. */
static inline size_t rows_in_l1(size_t row_bytes)
{
    return row_bytes * 2 > DEPTHWISE_L1 ? 1 : DEPTHWISE_L1 / row_bytes;
}

DEPTHWISE_INLINE void weights_load(vec k[9], const float *w, const size_t C, tail_t tail,
                                   const bool partial)
{
#pragma GCC unroll 9
    for (size_t i = 0; i < 9; i++)
        k[i] = channels_load(w + i * C, tail, partial);
}

/* N neighbouring outputs: a points at the first one's upper left input, k are the weights. */
DEPTHWISE_INLINE void convolve(vec sum[GROUP], const float *a, size_t row, const vec k[9], vec start,
                               const int N, const int stride, const size_t C, tail_t tail,
                               const bool partial)
{
#pragma GCC unroll 4
    for (int n = 0; n < N; n++)
        sum[n] = start;
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < (N - 1) * stride + 3; j++) {
            vec x = channels_load(a + (size_t)i * row + (size_t)j * C, tail, partial);
#pragma GCC unroll 4
            for (int n = 0; n < N; n++)
                if (j >= n * stride && j < n * stride + 3)
                    sum[n] = v_fma(x, k[i * 3 + j - n * stride], sum[n]);
        }
    }
}

DEPTHWISE_INLINE void forward_row(float *y, const float *a, const float *w, const float *bias,
                                  float low, float high, const nn_depthwise_t *d, const size_t C,
                                  const int stride, tail_t tail, const bool partial)
{
    const size_t Q = d->Q, row = (d->W + 2) * C;
    const vec start = bias ? channels_load(bias, tail, partial) : v_zero();
    const vec lows = v_set1(low), highs = v_set1(high);
    vec k[9], sum[GROUP];
    weights_load(k, w, C, tail, partial);
#define FORWARD(N)                                                                                 \
    convolve(sum, a + q * (size_t)stride * C, row, k, start, N, stride, C, tail, partial);         \
    _Pragma("GCC unroll 4") for (size_t n = 0; n < N; n++)                                         \
        channels_store(y + (q + n) * C, bias ? v_min(highs, v_max(lows, sum[n])) : sum[n], tail,   \
                       partial)
    EACH_GROUP(q, Q, FORWARD)
#undef FORWARD
}

DEPTHWISE_INLINE void forward_rows(float *y, const float *a, const float *w, const float *bias,
                                   float low, float high, const nn_depthwise_t *d, const size_t C,
                                   const int stride)
{
    const size_t step = (size_t)stride, row = (d->W + 2) * C;
    const size_t block = rows_in_l1((step * row + d->Q * C) * sizeof(float));
    for (size_t from = 0; from < d->P; from += block) {
        const size_t to = from + block < d->P ? from + block : d->P;
        EACH_VECTOR(C, for (size_t p = from; p < to; p++)
                           forward_row(y + p * d->Q * C + c, a + p * step * row + c, w + c,
                                       bias ? bias + c : NULL, low, high, d, C, stride, tail,
                                       partial))
    }
}

static void K(depthwise_forward)(float *y, const float *a, const float *w, const float *bias,
                                 float low, float high, const nn_depthwise_t *d)
{
#define FORWARD(C)                                                                                 \
    if (d->stride == 1)                                                                            \
        forward_rows(y, a, w, bias, low, high, d, C, 1);                                           \
    else                                                                                           \
        forward_rows(y, a, w, bias, low, high, d, C, 2)
    if (d->C == NN_BLOCK) {
        FORWARD(NN_BLOCK);
    } else {
        FORWARD(d->C);
    }
#undef FORWARD
}

/* What masks gradients and sums them, for one vector of channels. */
typedef struct {
    vec mean, scale, beta, low, high; /* in */
    vec g, gd;                        /* sums of g, and of g * (z - mean) */
} mask_t;

DEPTHWISE_INLINE mask_t mask_start(const nn_norm_t *p, size_t c, tail_t tail, const bool partial)
{
    return (mask_t){channels_load(p->mean + c, tail, partial),
                    channels_load(p->scale + c, tail, partial),
                    channels_load(p->beta + c, tail, partial),
                    v_set1(p->low),
                    v_set1(p->high),
                    v_zero(),
                    v_zero()};
}

/* to[lane] += v[lane], of the lanes in use. */
DEPTHWISE_INLINE void doubles_add(double *to, vec v, size_t lanes, const bool partial)
{
    if (!partial) {
        v_add_doubles(to, v);
        return;
    }
    float values[LANES];
    v_store(values, v);
    for (size_t lane = 0; lane < lanes; lane++)
        to[lane] += (double)values[lane];
}

/* The float sums go to double. */
DEPTHWISE_INLINE void mask_end(double *sum_g, double *sum_gx, const mask_t *m, const nn_norm_t *p,
                               size_t c, tail_t tail, const bool partial)
{
    const vec invstd = channels_load(p->invstd + c, tail, partial);
    doubles_add(sum_g + c, m->g, p->channels - c, partial);
    doubles_add(sum_gx + c, v_mul(m->gd, invstd), p->channels - c, partial);
}

/* Of N pixels, `step` floats apart: g gets the masked v. They are summed apart from the sums before
 * them, which would else wait for each other. */
DEPTHWISE_INLINE void mask_store(float *g, const float *z, const vec *v, size_t step, const int N,
                                 mask_t *m, tail_t tail, const bool partial)
{
    vec sum = v_zero(), sum_d = v_zero();
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) {
        const size_t at = (size_t)n * step;
        vec deviation = v_sub(channels_load(z + at, tail, partial), m->mean);
        vec kept = v_keep_between(v[n], v_fma(deviation, m->scale, m->beta), m->low, m->high);
        channels_store(g + at, kept, tail, partial);
        sum = n == 0 ? kept : v_add(sum, kept);
        sum_d = n == 0 ? v_mul(kept, deviation) : v_fma(kept, deviation, sum_d);
    }
    m->g = v_add(m->g, sum);
    m->gd = v_add(m->gd, sum_d);
}

DEPTHWISE_INLINE void mask_column(float *g, const float *z, size_t rows, const size_t C, mask_t *m,
                                  tail_t tail, const bool partial)
{
    vec v[GROUP];
#define MASK(N)                                                                                    \
    _Pragma("GCC unroll 4") for (size_t n = 0; n < N; n++)                                         \
        v[n] = channels_load(g + (r + n) * C, tail, partial);                                      \
    mask_store(g + r * C, z + r * C, v, C, N, m, tail, partial)
    EACH_GROUP(r, rows, MASK)
#undef MASK
}

static void K(mask_sums)(float *g, double *sum_g, double *sum_gx, const float *z, size_t rows,
                         const nn_norm_t *p)
{
    const size_t C = p->channels;
    for (size_t from = 0; from < rows; from += SUM_PIXELS) {
        const size_t count = from + SUM_PIXELS < rows ? SUM_PIXELS : rows - from;
        EACH_VECTOR(C, mask_t m = mask_start(p, c, tail, partial);
                    mask_column(g + from * C + c, z + from * C + c, count, C, &m, tail, partial);
                    mask_end(sum_g, sum_gx, &m, p, c, tail, partial))
    }
}

DEPTHWISE_INLINE void norm_column(float *a, const float *z, size_t z_pixel, size_t count,
                                  const nn_norm_t *p, size_t c, tail_t tail, const bool partial)
{
    const size_t C = p->channels;
    const vec mean = channels_load(p->mean + c, tail, partial);
    const vec scale = channels_load(p->scale + c, tail, partial);
    const vec beta = channels_load(p->beta + c, tail, partial);
    const vec low = v_set1(p->low), high = v_set1(p->high);
    for (size_t x = 0; x < count; x++, a += C, z += z_pixel) {
        vec v = v_fma(v_sub(channels_load(z, tail, partial), mean), scale, beta);
        channels_store(a, v_min(high, v_max(low, v)), tail, partial);
    }
}

static void K(pad_norm)(float *a, const float *z, size_t z_pixel, const nn_norm_t *p)
{
    const size_t C = p->channels, W = p->width;
    for (size_t h = 0; h < p->height; h++) {
        float *to = a + ((h + 1) * (W + 2) + 1) * C;
        const float *from = z + h * W * z_pixel;
        if (!p->scale) {
            for (size_t x = 0; x < W; x++)
                memcpy(to + x * C, from + x * z_pixel, C * sizeof *to);
            continue;
        }
        EACH_VECTOR(C, norm_column(to + c, from + c, z_pixel, W, p, c, tail, partial))
    }
}

DEPTHWISE_INLINE void gradient_column(float *dz, const float *g, const float *z, size_t count,
                                      const float *mean_g, const float *mean_gx, const nn_norm_t *p,
                                      size_t c, tail_t tail, const bool partial)
{
    const size_t C = p->channels;
    const vec mean = channels_load(p->mean + c, tail, partial);
    const vec scale = channels_load(p->scale + c, tail, partial);
    const vec of_g = channels_load(mean_g + c, tail, partial);
    const vec of_gd = v_mul(channels_load(p->invstd + c, tail, partial),
                            channels_load(mean_gx + c, tail, partial));
    for (size_t x = 0; x < count; x++, dz += C, g += C, z += C) {
        vec deviation = v_sub(channels_load(z, tail, partial), mean);
        vec v = v_sub(channels_load(g, tail, partial), of_g);
        channels_store(dz, v_mul(scale, v_fnma(deviation, of_gd, v)), tail, partial);
    }
}

static void K(pad_gradient)(float *dz, const float *g, const float *z, const float *mean_g,
                            const float *mean_gx, const nn_norm_t *p)
{
    const size_t C = p->channels, W = p->width;
    for (size_t h = 0; h < p->height; h++) {
        float *to = dz + ((h + 1) * (W + 2) + 1) * C;
        const size_t from = h * W * C;
        EACH_VECTOR(C, gradient_column(to + c, g + from + c, z + from + c, W, mean_g, mean_gx, p, c,
                                       tail, partial))
    }
}

/* Sums of N neighbouring outputs' gradients times what they read. */
DEPTHWISE_INLINE void correlate(vec sum[9], const float *a, size_t row, const float *dz,
                                const int N, const int stride, const size_t C, tail_t tail,
                                const bool partial)
{
    vec g[GROUP];
#pragma GCC unroll 4
    for (int n = 0; n < N; n++)
        g[n] = channels_load(dz + (size_t)n * C, tail, partial);
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
#pragma GCC unroll 16
        for (int j = 0; j < (N - 1) * stride + 3; j++) {
            vec x = channels_load(a + (size_t)i * row + (size_t)j * C, tail, partial);
#pragma GCC unroll 4
            for (int n = 0; n < N; n++)
                if (j >= n * stride && j < n * stride + 3)
                    sum[i * 3 + j - n * stride] = v_fma(x, g[n], sum[i * 3 + j - n * stride]);
        }
    }
}

/* Output rows from .. to-1. */
DEPTHWISE_INLINE void weight_rows(float *dw, const float *a, const float *dz,
                                  const nn_depthwise_t *d, size_t from, size_t to, const size_t C,
                                  const int stride, tail_t tail, const bool partial)
{
    const size_t step = (size_t)stride, row = (d->W + 2) * C, Q = d->Q;
    vec sum[9];
#pragma GCC unroll 9
    for (size_t i = 0; i < 9; i++)
        sum[i] = v_zero();
    for (size_t p = from; p < to; p++) {
        const float *at = a + p * step * row, *g = dz + ((p + 1) * (Q + 2) + 1) * C;
#define CORRELATE(N)                                                                               \
    correlate(sum, at + q * step * C, row, g + q * C, N, stride, C, tail, partial)
        EACH_GROUP(q, Q, CORRELATE)
#undef CORRELATE
    }
#pragma GCC unroll 9
    for (size_t i = 0; i < 9; i++) {
        vec total = v_add(channels_load(dw + i * C, tail, partial), sum[i]);
        channels_store(dw + i * C, total, tail, partial);
    }
}

DEPTHWISE_INLINE void weight_blocks(float *dw, const float *a, const float *dz,
                                    const nn_depthwise_t *d, const size_t C, const int stride)
{
    const size_t step = (size_t)stride, row = (d->W + 2) * C;
    const size_t block = rows_in_l1((step * row + (d->Q + 2) * C) * sizeof(float));
    for (size_t from = 0; from < d->P; from += block) {
        const size_t to = from + block < d->P ? from + block : d->P;
        EACH_VECTOR(C, weight_rows(dw + c, a + c, dz + c, d, from, to, C, stride, tail, partial))
    }
}

static void K(depthwise_backward_weight)(float *dw, const float *a, const float *dz,
                                         const nn_depthwise_t *d)
{
#define BACKWARD(C)                                                                                \
    if (d->stride == 1)                                                                            \
        weight_blocks(dw, a, dz, d, C, 1);                                                         \
    else                                                                                           \
        weight_blocks(dw, a, dz, d, C, 2)
    if (d->C == NN_BLOCK) {
        BACKWARD(NN_BLOCK);
    } else {
        BACKWARD(d->C);
    }
#undef BACKWARD
}

/* N pixels, `step` floats apart. */
DEPTHWISE_INLINE void input_store(float *g, const float *z, const vec *v, size_t step, const int N,
                                  mask_t *m, const bool masked, tail_t tail, const bool partial)
{
    if (masked) {
        mask_store(g, z, v, step, N, m, tail, partial);
        return;
    }
#pragma GCC unroll 4
    for (int n = 0; n < N; n++)
        channels_store(g + (size_t)n * step, v[n], tail, partial);
}

/* Stride 1: one row, a convolution of dz with the weights turned by half a turn (k is). */
DEPTHWISE_INLINE void input_row_1(float *g, const float *z, const float *dz, const vec k[9],
                                  mask_t *m, const bool masked, const nn_depthwise_t *d,
                                  const size_t C, tail_t tail, const bool partial)
{
    const size_t row = (d->Q + 2) * C;
    vec sum[GROUP];
#define INPUT(N)                                                                                   \
    convolve(sum, dz + x * C, row, k, v_zero(), N, 1, C, tail, partial);                           \
    input_store(g + x * C, z + x * C, sum, C, N, m, masked, tail, partial)
    EACH_GROUP(x, d->W, INPUT)
#undef INPUT
}

/* Stride 2: two rows, in squares of 2x2 inputs, which the same 2x2 outputs read: one of them reads
 * the even row and column, by its weight in the middle. */
DEPTHWISE_INLINE void input_rows_2(float *g, const float *z, const float *dz, const vec k[9],
                                   mask_t *m, const bool masked, const bool two_rows,
                                   const nn_depthwise_t *d, const size_t C, tail_t tail,
                                   const bool partial)
{
    const size_t below = d->W * C, row = (d->Q + 2) * C;
    vec g00 = channels_load(dz, tail, partial), g10 = channels_load(dz + row, tail, partial);
    for (size_t x = 0; x < d->W; x += 2, g += 2 * C, z += 2 * C, dz += C) {
        vec g01 = channels_load(dz + C, tail, partial);
        vec g11 = channels_load(dz + row + C, tail, partial);
        vec upper[2] = {v_mul(g00, k[4]), v_fma(g01, k[3], v_mul(g00, k[5]))};
        vec lower[2] = {v_fma(g10, k[1], v_mul(g00, k[7])),
                        v_fma(g11, k[0],
                              v_fma(g10, k[2], v_fma(g01, k[6], v_mul(g00, k[8]))))};
        if (x + 1 < d->W) {
            input_store(g, z, upper, C, 2, m, masked, tail, partial);
            if (two_rows)
                input_store(g + below, z + below, lower, C, 2, m, masked, tail, partial);
        } else {
            input_store(g, z, upper, C, 1, m, masked, tail, partial);
            if (two_rows)
                input_store(g + below, z + below, lower, C, 1, m, masked, tail, partial);
        }
        g00 = g01;
        g10 = g11;
    }
}

/* Input rows from .. to-1 (from even when stride is 2) of one vector of channels. */
DEPTHWISE_INLINE void input_rows(float *g, double *sum_g, double *sum_gx, const float *dz,
                                 const float *w, const float *z, const nn_norm_t *p,
                                 const nn_depthwise_t *d, size_t from, size_t to, size_t c,
                                 const size_t C, const int stride, const bool masked, tail_t tail,
                                 const bool partial)
{
    const size_t dz_row = (d->Q + 2) * C, row = d->W * C;
    mask_t m;
    if (masked)
        m = mask_start(p, c, tail, partial);
    vec k[9];
#pragma GCC unroll 9
    for (size_t i = 0; i < 9; i++)
        k[stride == 1 ? 8 - i : i] = channels_load(w + i * C + c, tail, partial);
    for (size_t h = from; h < to; h += (size_t)stride) {
        float *g_at = g + h * row + c;
        const float *z_at = masked ? z + h * row + c : g_at;
        if (stride == 1)
            input_row_1(g_at, z_at, dz + h * dz_row + c, k, &m, masked, d, C, tail, partial);
        else if (h + 1 < to)
            input_rows_2(g_at, z_at, dz + (h / 2 + 1) * dz_row + C + c, k, &m, masked, true, d, C,
                         tail, partial);
        else
            input_rows_2(g_at, z_at, dz + (h / 2 + 1) * dz_row + C + c, k, &m, masked, false, d, C,
                         tail, partial);
    }
    if (masked)
        mask_end(sum_g, sum_gx, &m, p, c, tail, partial);
}

DEPTHWISE_INLINE void input_blocks(float *g, double *sum_g, double *sum_gx, const float *dz,
                                   const float *w, const float *z, const nn_norm_t *p,
                                   const nn_depthwise_t *d, const size_t C, const int stride,
                                   const bool masked)
{
    size_t block = rows_in_l1((d->Q + 2 + 2 * d->W) * C * sizeof(float));
    block = block * d->W > SUM_PIXELS ? SUM_PIXELS / d->W : block;
    block = block < 2 ? (size_t)stride : block / 2 * 2;
    for (size_t from = 0; from < d->H; from += block) {
        const size_t to = from + block < d->H ? from + block : d->H;
        EACH_VECTOR(C, input_rows(g, sum_g, sum_gx, dz, w, z, p, d, from, to, c, C, stride, masked,
                                  tail, partial))
    }
}

static void K(depthwise_backward_input)(float *g, double *sum_g, double *sum_gx, const float *dz,
                                        const float *w, const float *z, const nn_norm_t *p,
                                        const nn_depthwise_t *d)
{
#define BACKWARD(C)                                                                                \
    if (d->stride == 1 && z)                                                                       \
        input_blocks(g, sum_g, sum_gx, dz, w, z, p, d, C, 1, true);                                \
    else if (d->stride == 1)                                                                       \
        input_blocks(g, sum_g, sum_gx, dz, w, z, p, d, C, 1, false);                               \
    else if (z)                                                                                    \
        input_blocks(g, sum_g, sum_gx, dz, w, z, p, d, C, 2, true);                                \
    else                                                                                           \
        input_blocks(g, sum_g, sum_gx, dz, w, z, p, d, C, 2, false)
    if (d->C == NN_BLOCK) {
        BACKWARD(NN_BLOCK);
    } else {
        BACKWARD(d->C);
    }
#undef BACKWARD
}
