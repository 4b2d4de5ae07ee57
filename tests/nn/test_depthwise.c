/* The depthwise kernels of each CPU level against plain double precision, element by element, on
 * odd sizes, extremes, NaN and infinity. Inputs end where they end, for AddressSanitizer; outputs
 * are followed by a pattern. */
#include "nn/kernels.h"
#include "tests/nn/support.h"

enum { GUARD = 32 };
static const float guard = 123456.0f;

typedef enum { RANDOM, EXTREME, BROKEN, KINDS } kind_t;

/* One value: RANDOM in -1 .. 1; EXTREME also zeros, huge and tiny; BROKEN also NaN and infinity. */
static float draw(rng_t *rng, kind_t kind)
{
    static const float extremes[] = {0, -0.0f, 1e12f, -1e12f, 1e-30f, -1e-30f};
    float value = 2 * rng_float(rng) - 1;
    uint64_t which = rng_below(rng, 40);
    if (kind == EXTREME && which < 6)
        return extremes[which];
    if (kind == BROKEN && which == 0)
        return NAN;
    if (kind == BROKEN && which == 1)
        return INFINITY;
    return value;
}

static float *input_new(rng_t *rng, size_t count, kind_t kind)
{
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = draw(rng, kind);
    return values;
}

static float *output_new(size_t count)
{
    float *values = malloc((count + GUARD) * sizeof *values);
    for (size_t i = 0; i < count + GUARD; i++)
        values[i] = guard;
    return values;
}

static void free_all(void *buffers[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(buffers[i]);
}
#define FREE(...) free_all((void *[]){__VA_ARGS__}, sizeof((void *[]){__VA_ARGS__}) / sizeof(void *))

/* One comparison: what is compared, with which parameters. */
typedef struct {
    const nn_kernels_t *k;
    nn_depthwise_t d;
    kind_t kind;
    bool with_bias, masked;
} case_t;

static void fail_at(const case_t *t, const char *what, size_t at, double found, double expected)
{
    const nn_depthwise_t *d = &t->d;
    fail_msg("%s %s H %zu W %zu P %zu Q %zu stride %zu C %zu kind %d bias %d masked %d: element "
             "%zu is %.9g, expected %.9g",
             t->k->name, what, d->H, d->W, d->P, d->Q, d->stride, d->C, t->kind, t->with_bias,
             t->masked, at, found, expected);
}

/* `size`: the sum of the terms' absolute values; where that is not finite neither is what is
 * expected, or it is 0. */
static void check(const case_t *t, const char *what, size_t at, double found, double expected,
                  double size)
{
    bool same = found == expected || (isnan(found) && isnan(expected)) ||
                (isfinite(size) && fabs(found - expected) <= 1e-5 * size + 1e-30);
    if (!same)
        fail_at(t, what, at, found, expected);
}

static void check_guard(const case_t *t, const char *what, const float *values, size_t count)
{
    for (size_t i = count; i < count + GUARD; i++)
        if (values[i] != guard)
            fail_at(t, what, i, (double)values[i], (double)guard);
}

/* A sum, and the sum of its terms' absolute values. */
typedef struct {
    double sum, size;
} sum_t;

static void sum_add(sum_t *s, double a, double b)
{
    s->sum += a * b;
    s->size += fabs(a * b);
}

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

/* Runs `check_one` for every level, size, stride, number of channels and kind of input. */
static void for_all(uint64_t stream, void (*check_one)(rng_t *, const case_t *))
{
    static const size_t sizes[][2] = {{1, 1}, {1, 5}, {5, 1}, {2, 2},  {3, 7},
                                      {5, 4}, {4, 6}, {8, 8}, {17, 9}, {3, 70}};
    static const size_t channels[] = {1, 3, 8, 16, 24, 32, 47, 48};
    rng_t rng = test_rng(stream);
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        if (!k)
            continue;
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            for (size_t c = 0; c < sizeof channels / sizeof channels[0]; c++) {
                for (size_t stride = 1; stride <= 2; stride++) {
                    const size_t H = sizes[s][0], W = sizes[s][1];
                    for (int bits = 0; bits < 4 * KINDS; bits++) {
                        case_t t = {k,
                                    {H, W, (H - 1) / stride + 1, (W - 1) / stride + 1, stride,
                                     channels[c]},
                                    (kind_t)(bits / 4),
                                    bits & 1,
                                    bits & 2};
                        check_one(&rng, &t);
                    }
                }
            }
        }
    }
}

static void check_forward(rng_t *rng, const case_t *t)
{
    const nn_depthwise_t d = t->d;
    const size_t C = d.C, row = (d.W + 2) * C, count = d.P * d.Q * C;
    float *a = input_new(rng, (d.H + 2) * row, t->kind), *w = input_new(rng, 9 * C, RANDOM);
    float *bias = input_new(rng, C, RANDOM), *y = output_new(count);
    const float low = -0.5f, high = 1.5f;
    t->k->depthwise_forward(y, a, w, t->with_bias ? bias : NULL, low, high, &d);
    for (size_t i = 0; i < count; i++) {
        const size_t p = i / C / d.Q, q = i / C % d.Q, c = i % C;
        sum_t s = {0};
        for (size_t j = 0; j < 9; j++)
            sum_add(&s, (double)w[j * C + c],
                    (double)a[(p * d.stride + j / 3) * row + (q * d.stride + j % 3) * C + c]);
        if (t->with_bias) {
            sum_add(&s, 1, (double)bias[c]);
            s.sum = clamp(s.sum, (double)low, (double)high);
        }
        check(t, "forward", i, (double)y[i], s.sum, s.size);
    }
    check_guard(t, "forward", y, count);
    FREE(a, w, bias, y);
}

static void forward_agrees(void **state)
{
    (void)state;
    for_all(1, check_forward);
}

/* Inner part random, border zeros. */
static float *bordered_new(rng_t *rng, size_t H, size_t W, size_t C, kind_t kind)
{
    float *values = input_new(rng, (H + 2) * (W + 2) * C, kind);
    for (size_t i = 0; i < (H + 2) * (W + 2) * C; i++) {
        const size_t h = i / C / (W + 2), w = i / C % (W + 2);
        if (h == 0 || h == H + 1 || w == 0 || w == W + 1)
            values[i] = 0;
    }
    return values;
}

static void check_backward_weight(rng_t *rng, const case_t *t)
{
    const nn_depthwise_t d = t->d;
    const size_t C = d.C, row = (d.W + 2) * C;
    float *a = input_new(rng, (d.H + 2) * row, t->kind);
    float *dz = bordered_new(rng, d.P, d.Q, C, t->kind), *dw = output_new(9 * C);
    for (size_t i = 0; i < 9 * C; i++)
        dw[i] = 0.5f;
    t->k->depthwise_backward_weight(dw, a, dz, &d);
    for (size_t i = 0; i < 9 * C; i++) {
        const size_t j = i / C, c = i % C;
        sum_t s = {0.5, 0.5};
        for (size_t p = 0; p < d.P; p++)
            for (size_t q = 0; q < d.Q; q++)
                sum_add(&s,
                        (double)a[(p * d.stride + j / 3) * row + (q * d.stride + j % 3) * C + c],
                        (double)dz[((p + 1) * (d.Q + 2) + q + 1) * C + c]);
        check(t, "backward_weight", i, (double)dw[i], s.sum, s.size);
    }
    check_guard(t, "backward_weight", dw, 9 * C);
    FREE(a, dz, dw);
}

static void backward_weight_agrees(void **state)
{
    (void)state;
    for_all(2, check_backward_weight);
}

/* A norm of (height,width,channels) with bounds of ReLU6; free what `buffers` names. */
typedef struct {
    nn_norm_t p;
    float *mean, *scale, *beta, *invstd;
} norm_t;

static norm_t norm_new(rng_t *rng, size_t H, size_t W, size_t C)
{
    norm_t n;
    n.mean = input_new(rng, C, RANDOM), n.scale = input_new(rng, C, RANDOM);
    n.beta = input_new(rng, C, RANDOM), n.invstd = input_new(rng, C, RANDOM);
    n.p = (nn_norm_t){H, W, C, false, 0, 6, n.mean, n.scale, n.beta, n.invstd};
    return n;
}

static void norm_free(norm_t *n)
{
    FREE(n->mean, n->scale, n->beta, n->invstd);
}

/* v of z, and how large the terms were. */
static sum_t norm_value(const nn_norm_t *p, double z, size_t c)
{
    const double mean = (double)p->mean[c], scale = (double)p->scale[c], beta = (double)p->beta[c];
    return (sum_t){(z - mean) * scale + beta,
                   (fabs(z) + fabs(mean)) * fabs(scale) + fabs(beta)};
}

/* (count) with v away from the bounds, where rounding would decide. Some v are beyond either. */
static float *away_from_kinks_new(rng_t *rng, size_t count, const nn_norm_t *p, kind_t kind)
{
    float *z = malloc(count * sizeof *z);
    for (size_t i = 0; i < count; i++) {
        sum_t v;
        do {
            z[i] = draw(rng, kind) * 16;
            v = norm_value(p, (double)z[i], i % p->channels);
        } while (fabs(v.sum) < 1e-5 * v.size || fabs(v.sum - 6) < 1e-5 * (v.size + 6));
    }
    return z;
}

/* What mask_sums makes of one gradient `g`, known to 1e-5 * size; adds to the sums. */
static double mask(const nn_norm_t *p, sum_t g, double z, size_t c, sum_t *sum_g, sum_t *sum_gx)
{
    const double v = norm_value(p, z, c).sum, invstd = (double)p->invstd[c];
    const bool keep = v > (double)p->low && v < (double)p->high;
    const double kept = keep ? g.sum : 0, size = keep ? g.size : 0;
    const double mean = (double)p->mean[c];
    sum_g->sum += kept, sum_g->size += size;
    sum_gx->sum += kept * ((z - mean) * invstd);
    sum_gx->size += size * (fabs(z) + fabs(mean)) * fabs(invstd);
    return kept;
}

static void check_mask_sums(rng_t *rng, const case_t *t)
{
    const size_t C = t->d.C, rows = t->d.H * t->d.W, count = rows * C;
    norm_t n = norm_new(rng, 0, 0, C);
    float *z = away_from_kinks_new(rng, count, &n.p, t->kind);
    float *before = input_new(rng, count, t->kind), *g = output_new(count);
    double sum_g[NN_BLOCK], sum_gx[NN_BLOCK];
    sum_t expected_g[NN_BLOCK], expected_gx[NN_BLOCK];
    memcpy(g, before, count * sizeof *g);
    for (size_t c = 0; c < C; c++) {
        sum_g[c] = sum_gx[c] = 0.5;
        expected_g[c] = expected_gx[c] = (sum_t){0.5, 0.5};
    }
    t->k->mask_sums(g, sum_g, sum_gx, z, rows, &n.p);
    for (size_t i = 0; i < count; i++) {
        const sum_t of_g = {(double)before[i], 0};
        const size_t c = i % C;
        double kept = mask(&n.p, (sum_t){of_g.sum, fabs(of_g.sum)}, (double)z[i], c, expected_g + c,
                           expected_gx + c);
        check(t, "mask_sums g", i, (double)g[i], kept, 0);
    }
    for (size_t c = 0; c < C; c++) {
        check(t, "mask_sums sum_g", c, sum_g[c], expected_g[c].sum, expected_g[c].size);
        check(t, "mask_sums sum_gx", c, sum_gx[c], expected_gx[c].sum, expected_gx[c].size);
    }
    check_guard(t, "mask_sums", g, count);
    norm_free(&n);
    FREE(z, before, g);
}

static void mask_sums_agrees(void **state)
{
    (void)state;
    for_all(3, check_mask_sums);
}

/* Of output pixels p, q that read input h, w, those that exist. */
static sum_t input_gradient(const nn_depthwise_t *d, const float *dz, const float *w, size_t i)
{
    const size_t C = d->C, h = i / C / d->W, x = i / C % d->W, c = i % C;
    sum_t s = {0};
    for (size_t p = 0; p < d->P; p++) {
        for (size_t q = 0; q < d->Q; q++) {
            const size_t ky = h + 1 - p * d->stride, kx = x + 1 - q * d->stride;
            if (ky < 3 && kx < 3) /* below 0 they wrap around */
                sum_add(&s, (double)dz[((p + 1) * (d->Q + 2) + q + 1) * C + c],
                        (double)w[(ky * 3 + kx) * C + c]);
        }
    }
    return s;
}

static void check_backward_input(rng_t *rng, const case_t *t)
{
    const nn_depthwise_t d = t->d;
    const size_t C = d.C, count = d.H * d.W * C;
    norm_t n = norm_new(rng, d.H, d.W, C);
    float *z = away_from_kinks_new(rng, count, &n.p, t->kind), *w = input_new(rng, 9 * C, RANDOM);
    float *dz = bordered_new(rng, d.P, d.Q, C, t->kind), *g = output_new(count);
    double sum_g[NN_BLOCK], sum_gx[NN_BLOCK];
    sum_t expected_g[NN_BLOCK], expected_gx[NN_BLOCK];
    for (size_t c = 0; c < C; c++) {
        sum_g[c] = sum_gx[c] = 0.5;
        expected_g[c] = expected_gx[c] = (sum_t){0.5, 0.5};
    }
    if (t->masked)
        t->k->depthwise_backward_input(g, sum_g, sum_gx, dz, w, z, &n.p, &d);
    else
        t->k->depthwise_backward_input(g, NULL, NULL, dz, w, NULL, NULL, &d);
    for (size_t i = 0; i < count; i++) {
        const sum_t s = input_gradient(&d, dz, w, i);
        const size_t c = i % C;
        const double expected =
            t->masked ? mask(&n.p, s, (double)z[i], c, expected_g + c, expected_gx + c) : s.sum;
        check(t, "backward_input g", i, (double)g[i], expected, s.size);
    }
    for (size_t c = 0; c < C; c++) {
        check(t, "backward_input sum_g", c, sum_g[c], expected_g[c].sum, expected_g[c].size);
        check(t, "backward_input sum_gx", c, sum_gx[c], expected_gx[c].sum, expected_gx[c].size);
    }
    check_guard(t, "backward_input", g, count);
    norm_free(&n);
    FREE(z, w, dz, g);
}

static void backward_input_agrees(void **state)
{
    (void)state;
    for_all(4, check_backward_input);
}

/* Where element i of (H,W,C) stands in (H+2,W+2,C). */
static size_t padded(size_t i, size_t W, size_t C)
{
    return ((i / C / W + 1) * (W + 2) + i / C % W + 1) * C + i % C;
}

static void check_border(const case_t *t, const char *what, const float *a)
{
    const size_t H = t->d.H, W = t->d.W, C = t->d.C;
    for (size_t i = 0; i < (H + 2) * (W + 2) * C; i++) {
        const size_t h = i / C / (W + 2), w = i / C % (W + 2);
        if ((h == 0 || h == H + 1 || w == 0 || w == W + 1) && a[i] != guard)
            fail_at(t, what, i, (double)a[i], (double)guard);
    }
    check_guard(t, what, a, (H + 2) * (W + 2) * C);
}

/* `masked` here: a copy, and `with_bias` pixels further apart. */
static void check_pad_norm(rng_t *rng, const case_t *t)
{
    const size_t H = t->d.H, W = t->d.W, C = t->d.C, pixel = t->with_bias ? C + 5 : C;
    norm_t n = norm_new(rng, H, W, C);
    float *z = input_new(rng, (H * W - 1) * pixel + C, t->kind);
    float *a = output_new((H + 2) * (W + 2) * C);
    if (t->masked)
        n.p.scale = NULL;
    t->k->pad_norm(a, z, pixel, &n.p);
    for (size_t i = 0; i < H * W * C; i++) {
        const double from = (double)z[i / C * pixel + i % C];
        if (t->masked) {
            check(t, "pad_norm copy", i, (double)a[padded(i, W, C)], from, 0);
        } else {
            const sum_t v = norm_value(&n.p, from, i % C);
            check(t, "pad_norm", i, (double)a[padded(i, W, C)], clamp(v.sum, 0, 6), v.size);
        }
    }
    check_border(t, "pad_norm border", a);
    norm_free(&n);
    FREE(z, a);
}

static void pad_norm_agrees(void **state)
{
    (void)state;
    for_all(5, check_pad_norm);
}

static void check_pad_gradient(rng_t *rng, const case_t *t)
{
    const size_t H = t->d.H, W = t->d.W, C = t->d.C, count = H * W * C;
    norm_t n = norm_new(rng, H, W, C);
    float *z = input_new(rng, count, t->kind), *g = input_new(rng, count, t->kind);
    float *mean_g = input_new(rng, C, RANDOM), *mean_gx = input_new(rng, C, RANDOM);
    float *dz = output_new((H + 2) * (W + 2) * C);
    t->k->pad_gradient(dz, g, z, mean_g, mean_gx, &n.p);
    for (size_t i = 0; i < count; i++) {
        const size_t c = i % C;
        const double mean = (double)n.mean[c], scale = (double)n.scale[c];
        const double of_gx = (double)n.invstd[c] * (double)mean_gx[c];
        const double expected = scale * ((double)g[i] - (double)mean_g[c] -
                                         ((double)z[i] - mean) * of_gx);
        const double size = fabs(scale) * (fabs((double)g[i]) + fabs((double)mean_g[c]) +
                                           (fabs((double)z[i]) + fabs(mean)) * fabs(of_gx));
        check(t, "pad_gradient", i, (double)dz[padded(i, W, C)], expected, size);
    }
    check_border(t, "pad_gradient border", dz);
    norm_free(&n);
    FREE(z, g, mean_g, mean_gx, dz);
}

static void pad_gradient_agrees(void **state)
{
    (void)state;
    for_all(6, check_pad_gradient);
}

/* At the bounds themselves there is no gradient, as in PyTorch's ReLU6. */
static void bounds_pass_no_gradient(void **state)
{
    (void)state;
    float zeros[9] = {0}, ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const float z[9] = {0, 6, 3, -0.0f, NAN, 5.999999f, 6.000001f, 1e-38f, -1e-38f};
    const float kept[9] = {0, 0, 1, 0, 0, 1, 0, 1, 0};
    const nn_norm_t p = {1, 1, 9, false, 0, 6, zeros, ones, zeros, ones};
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        float g[9];
        double sum_g[9] = {0}, sum_gx[9] = {0};
        memcpy(g, ones, sizeof g);
        if (!k)
            continue;
        k->mask_sums(g, sum_g, sum_gx, z, 1, &p);
        for (size_t i = 0; i < 9; i++)
            assert_true(g[i] == kept[i] && sum_g[i] == (double)kept[i]);
        assert_true(isnan(sum_gx[4]));
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(forward_agrees),         cmocka_unit_test(backward_weight_agrees),
    cmocka_unit_test(mask_sums_agrees),       cmocka_unit_test(backward_input_agrees),
    cmocka_unit_test(pad_norm_agrees),        cmocka_unit_test(pad_gradient_agrees),
    cmocka_unit_test(bounds_pass_no_gradient)};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
