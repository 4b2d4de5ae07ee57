/* Each CPU level against C, on odd sizes and extremes. Memory behind every buffer is guarded by a
 * pattern: kernels write nothing beyond their end. */
#include "nn/layers.h"
#include "nn/transpose.h"
#include "tests/nn/support.h"

enum { GUARD = 32 };
static const float guard = 123456.0f;

static float *guarded_new(rng_t *rng, size_t count, float scale)
{
    float *values = zeros_new(count + GUARD);
    for (size_t i = 0; i < count; i++)
        values[i] = (2 * rng_float(rng) - 1) * scale;
    for (size_t i = count; i < count + GUARD; i++)
        values[i] = guard;
    return values;
}

static void check_guard(const char *what, const float *values, size_t count)
{
    for (size_t i = count; i < count + GUARD; i++)
        if (values[i] != guard)
            fail_msg("%s wrote %zu behind its end", what, i - count);
}

/* For every level above C that this CPU has. */
#define FOR_LEVELS(k)                                                                              \
    for (int level_ = CPU_AVX2; level_ <= CPU_AVX512; level_++)                                    \
        for (const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level_); k; k = NULL)

static void check_product(const nn_kernels_t *k, rng_t *rng, nn_product_t p, bool accumulate,
                          bool with_bias)
{
    const nn_kernels_t *plain = nn_kernels_at(CPU_C);
    size_t last = (p.outer ? p.outer - 1 : 0), inner = (p.inner ? p.inner - 1 : 0);
    size_t a_count = (p.rows - 1) * p.a_row + last * p.a_outer + inner * p.a_inner + 1;
    size_t column = p.cols - 1;
    if (p.b_panel)
        column = column / NN_PANEL * p.b_panel + column % NN_PANEL;
    size_t b_count = last * p.b_outer + inner * p.b_inner + column + 1;
    size_t c_count = (p.rows - 1) * p.c_row + p.cols;
    float *a = guarded_new(rng, a_count, 1), *b = guarded_new(rng, b_count, 1);
    float *bias = guarded_new(rng, p.cols, 1), *c = guarded_new(rng, c_count, 1);
    float *expected = zeros_new(c_count + GUARD);
    memcpy(expected, c, (c_count + GUARD) * sizeof *c);
    char what[160];
    snprintf(what, sizeof what,
             "%s product rows %zu cols %zu outer %zu inner %zu c_row %zu b_panel %zu", k->name,
             p.rows, p.cols, p.outer, p.inner, p.c_row, p.b_panel);
    plain->product(expected, a, b, with_bias ? bias : NULL, accumulate, &p);
    k->product(c, a, b, with_bias ? bias : NULL, accumulate, &p);
    check_near(what, c, expected, c_count, 1e-5);
    check_guard(what, c, c_count);
    for (size_t r = 0; r + 1 < p.rows; r++) /* between the rows, too */
        for (size_t n = p.cols; n < p.c_row; n++)
            assert_true(c[r * p.c_row + n] == expected[r * p.c_row + n]);
    float *all[] = {a, b, bias, c, expected};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void products_agree_on_odd_sizes(void **state)
{
    (void)state;
    rng_t rng = test_rng(1);
    FOR_LEVELS(k)
    {
        for (size_t rows = 1; rows <= 37; rows += 1 + rows / 20) {
            for (size_t cols = 1; cols <= 130; cols += cols < 36 ? 1 : 13) {
                size_t outer = 1 + (size_t)rng_below(&rng, 3);
                size_t inner = 1 + (size_t)rng_below(&rng, 9);
                nn_product_t p = {rows,
                                  cols,
                                  outer,
                                  inner,
                                  1 + (size_t)rng_below(&rng, 5),
                                  (size_t)rng_below(&rng, 50),
                                  1 + (size_t)rng_below(&rng, 4),
                                  inner * cols + (size_t)rng_below(&rng, 3),
                                  cols + (size_t)rng_below(&rng, 2),
                                  0,
                                  cols + (size_t)rng_below(&rng, 4),
                                  rng_below(&rng, 2),
                                  -0.5f,
                                  0.75f};
                check_product(k, &rng, p, rng_below(&rng, 2), rng_below(&rng, 2));
                p.b_inner = NN_PANEL + (size_t)rng_below(&rng, 3);
                p.b_outer = inner * p.b_inner + (size_t)rng_below(&rng, 2);
                p.b_panel = outer * p.b_outer + (size_t)rng_below(&rng, 3);
                check_product(k, &rng, p, rng_below(&rng, 2), rng_below(&rng, 2));
            }
        }
    }
}

/* The same weights in panels and in rows give the same bits, in every level. */
static void packed_products_are_dense_ones(void **state)
{
    (void)state;
    rng_t rng = test_rng(7);
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        for (size_t cols = 8; k && cols <= 112; cols += 8) {
            size_t rows = 1 + (size_t)rng_below(&rng, 80), inner = 1 + (size_t)rng_below(&rng, 40);
            float *a = guarded_new(&rng, rows * inner, 1), *b = guarded_new(&rng, inner * cols, 1);
            float *turned = zeros_new(inner * cols), *packed = zeros_new(inner * cols);
            float *c = zeros_new(rows * cols), *expected = zeros_new(rows * cols);
            const nn_product_t dense = nn_product_dense(rows, inner, cols);
            const nn_product_t in_panels = nn_product_packed(rows, inner, cols);
            nn_transpose(turned, inner, b, cols, inner, cols);
            k->product(expected, a, b, NULL, false, &dense);
            nn_pack_transposed(packed, turned, inner, inner, cols);
            k->product(c, a, packed, NULL, false, &in_panels);
            assert_memory_equal(c, expected, rows * cols * sizeof *c);
            memset(packed, 0, inner * cols * sizeof *packed);
            nn_pack(packed, b, cols, inner, cols);
            k->product(c, a, packed, NULL, false, &in_panels);
            assert_memory_equal(c, expected, rows * cols * sizeof *c);
            float *all[] = {a, b, turned, packed, c, expected};
            for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
                free(all[i]);
        }
    }
}

/* Sums long enough to be cut in parts, with more rows than go together. */
static void long_products_agree(void **state)
{
    (void)state;
    rng_t rng = test_rng(6);
    FOR_LEVELS(k)
    {
        for (size_t inner = 250; inner < 700; inner += 129) {
            for (int i = 0; i < 8; i++) {
                size_t rows = 1 + (size_t)rng_below(&rng, 110);
                size_t cols = 1 + (size_t)rng_below(&rng, 60);
                nn_product_t p = {.rows = rows,
                                  .cols = cols,
                                  .outer = 1,
                                  .inner = inner,
                                  .a_row = i % 4 ? 1 : inner,
                                  .a_inner = i % 4 ? rows : 1,
                                  .b_inner = cols + 1,
                                  .c_row = cols + 2,
                                  .clamp = i % 3 == 0,
                                  .low = -1,
                                  .high = 2};
                check_product(k, &rng, p, i & 1, i & 2);
            }
        }
    }
}

static void an_empty_product_is_the_bias(void **state)
{
    (void)state;
    rng_t rng = test_rng(2);
    FOR_LEVELS(k)
    {
        nn_product_t p = {.rows = 3,
                          .cols = 21,
                          .inner = 5,
                          .a_row = 1,
                          .a_outer = 1,
                          .a_inner = 1,
                          .b_outer = 21,
                          .b_inner = 21,
                          .c_row = 21};
        check_product(k, &rng, p, false, false);
        p.outer = 2, p.inner = 0;
        check_product(k, &rng, p, false, true);
        check_product(k, &rng, p, true, true);
        p.clamp = true, p.low = 0, p.high = 0.25f;
        check_product(k, &rng, p, false, true);
    }
}

static void products_carry_nan_and_infinity(void **state)
{
    (void)state;
    float a[2] = {1, 2}, b[2 * 19], c[2 * 19];
    for (int i = 0; i < 38; i++)
        b[i] = 1;
    b[3] = NAN;
    b[18] = INFINITY;
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        nn_product_t p = {.rows = 1,
                          .cols = 19,
                          .outer = 1,
                          .inner = 2,
                          .a_inner = 1,
                          .b_inner = 19,
                          .c_row = 19};
        for (int clamp = 0; k && clamp < 2; clamp++) {
            p.clamp = clamp, p.low = 0, p.high = 2;
            k->product(c, a, b, NULL, false, &p);
            assert_true(isnan(c[3]) && c[0] == (clamp ? 2 : 3) && c[17] == c[0]);
            assert_true(clamp ? c[18] == 2 : isinf(c[18]));
        }
    }
}

/* Mean 1000 with deviation 1e-2: sums of squares would have lost it. */
static void moments_keep_small_variances_beside_large_means(void **state)
{
    (void)state;
    rng_t rng = test_rng(3);
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        for (size_t C = 1; k && C < 40; C += 6) {
            size_t rows = 1 + (size_t)rng_below(&rng, 300);
            double mean[40], m2[40];
            float *x = guarded_new(&rng, rows * C, 1e-2f);
            for (size_t i = 0; i < rows * C; i++)
                x[i] += 1000;
            k->moments(mean, m2, x, rows, C);
            for (size_t c = 0; c < C; c++) {
                double m = 0, v = 0;
                for (size_t r = 0; r < rows; r++)
                    m += (double)x[r * C + c] / (double)rows;
                for (size_t r = 0; r < rows; r++)
                    v += ((double)x[r * C + c] - m) * ((double)x[r * C + c] - m);
                assert_true(fabs(mean[c] - m) < 1e-6);
                assert_true(fabs(m2[c] - v) <= 1e-4 * v + 1e-9);
            }
            free(x);
        }
    }
}

static void check_norm(const nn_kernels_t *k, rng_t *rng, size_t H, size_t W, size_t C, bool pool,
                       float low, float high)
{
    const nn_kernels_t *plain = nn_kernels_at(CPU_C);
    size_t in = H * W * C, out = pool ? (H / 2) * (W / 2) * C : in;
    float *channels[6];
    for (int i = 0; i < 6; i++)
        channels[i] = guarded_new(rng, C, 1);
    nn_norm_t p = {H, W, C, pool, low, high, channels[0], channels[1], channels[2], channels[3]};
    float *x = guarded_new(rng, in, 8), *dy = guarded_new(rng, out, 1);
    float *y[2] = {guarded_new(rng, out, 1), guarded_new(rng, out, 1)};
    float *dx[2] = {guarded_new(rng, in, 1), guarded_new(rng, in, 1)};
    double *sums = calloc(4 * C, sizeof *sums);
    for (int i = 0; i < 2; i++) {
        const nn_kernels_t *which = i ? k : plain;
        which->norm_forward(y[i], x, &p);
        which->norm_sums(sums + (size_t)i * 2 * C, sums + ((size_t)i * 2 + 1) * C, x, dy, &p);
        which->norm_backward(dx[i], x, dy, channels[4], channels[5], &p);
        check_guard("norm_forward", y[i], out);
        check_guard("norm_backward", dx[i], in);
    }
    check_near("norm_forward", y[1], y[0], out, 1e-6);
    check_near("norm_backward", dx[1], dx[0], in, 1e-6);
    for (size_t c = 0; c < 2 * C; c++)
        assert_true(fabs(sums[2 * C + c] - sums[c]) <= 1e-5 * (fabs(sums[c]) + (double)out));
    float *all[] = {x, dy, y[0], y[1], dx[0], dx[1]};
    for (size_t i = 0; i < 6; i++) {
        free(all[i]);
        free(channels[i]);
    }
    free(sums);
}

static void norms_agree_on_odd_sizes(void **state)
{
    (void)state;
    rng_t rng = test_rng(4);
    FOR_LEVELS(k)
    {
        for (size_t C = 1; C < 70; C += 1 + C / 8) {
            size_t H = 1 + (size_t)rng_below(&rng, 9), W = 1 + (size_t)rng_below(&rng, 9);
            check_norm(k, &rng, H, W, C, false, -INFINITY, INFINITY);
            check_norm(k, &rng, H, W, C, false, 0, 6);
            check_norm(k, &rng, H + 1, W + 1, C, true, 0, INFINITY);
            check_norm(k, &rng, H + 1, W + 1, C, true, 0, 6);
        }
    }
}

/* PyTorch hands the gradient of equal elements to the first. */
static void ties_in_a_window_go_to_the_first(void **state)
{
    (void)state;
    float x[4] = {1, 1, 1, 1}, dy[1] = {1}, dx[4], zero[1] = {0}, one[1] = {1};
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        nn_norm_t p = {2, 2, 1, true, 0, INFINITY, zero, one, zero, one};
        for (int first = 0; k && first < 4; first++) {
            for (int i = 0; i < 4; i++)
                x[i] = i < first ? 0.5f : 1;
            k->norm_backward(dx, x, dy, zero, zero, &p);
            for (int i = 0; i < 4; i++)
                assert_true(dx[i] == (i == first ? 1.0f : 0.0f));
        }
    }
}

static void elementwise_kernels_agree_with_their_formulas(void **state)
{
    (void)state;
    rng_t rng = test_rng(5);
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        for (size_t n = 1; k && n < 100; n += 1 + n / 7) {
            float *x = guarded_new(&rng, n, 9), *y = guarded_new(&rng, n, 1);
            float *dy = guarded_new(&rng, n, 1), *sum = guarded_new(&rng, n, 0);
            x[n / 2] = NAN;
            k->clamp(y, x, 0, 6, n);
            for (size_t i = 0; i < n; i++)
                assert_true(i == n / 2 ? isnan(y[i]) : y[i] == fminf(fmaxf(x[i], 0), 6));
            y[n / 2] = 6;
            k->add(sum, dy, n);
            k->clamp_backward(dy, y, dy, 0, 6, n);
            for (size_t i = 0; i < n; i++)
                assert_true(dy[i] == (y[i] > 0 && y[i] < 6 ? sum[i] : 0));
            check_guard("clamp", y, n);
            check_guard("clamp_backward", dy, n);
            check_guard("add", sum, n);
            float *all[] = {x, y, dy, sum};
            for (size_t i = 0; i < 4; i++)
                free(all[i]);
        }
    }
}

/* Rounding to uint8 and its straight-through gradient: every level to the bit, at ties, at both
 * ends of the range and beyond, and with NaN. */
static void fake_quant_is_what_its_formula_says(void **state)
{
    (void)state;
    rng_t rng = test_rng(6);
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        for (size_t n = 3; k && n < 200; n += 1 + n / 7) {
            const float zero = (float)rng_below(&rng, 256), scale = n % 2 ? 0.25f : 0.017f;
            float *x = guarded_new(&rng, n, 200 * scale), *y = guarded_new(&rng, n, 1);
            float *dy = guarded_new(&rng, n, 1), *dx = guarded_new(&rng, n, 0);
            x[0] = NAN, x[1] = -1e30f, x[2] = INFINITY;
            for (size_t i = 3; n % 2 && i < n; i++) /* halves of a step */
                x[i] = (rintf(x[i] / scale) + 0.5f * (float)(i % 3)) * scale;
            k->fake_quant(y, x, scale, zero, n);
            k->fake_quant_backward(dx, x, dy, scale, zero, n);
            assert_true(isnan(y[0]) && dx[0] == dy[0]);
            for (size_t i = 1; i < n; i++) {
                float q = rintf(x[i] / scale) + zero;
                assert_true(y[i] == scale * (fminf(fmaxf(q, 0), 255) - zero));
                assert_true(dx[i] == (q >= 0 && q <= 255 ? dy[i] : 0));
            }
            check_guard("fake_quant", y, n);
            check_guard("fake_quant_backward", dx, n);
            float *all[] = {x, y, dy, dx};
            for (size_t i = 0; i < 4; i++)
                free(all[i]);
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(products_agree_on_odd_sizes),
        cmocka_unit_test(packed_products_are_dense_ones),
    cmocka_unit_test(long_products_agree),
    cmocka_unit_test(an_empty_product_is_the_bias),
    cmocka_unit_test(products_carry_nan_and_infinity),
    cmocka_unit_test(moments_keep_small_variances_beside_large_means),
    cmocka_unit_test(norms_agree_on_odd_sizes),
    cmocka_unit_test(ties_in_a_window_go_to_the_first),
    cmocka_unit_test(elementwise_kernels_agree_with_their_formulas),
    cmocka_unit_test(fake_quant_is_what_its_formula_says),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
