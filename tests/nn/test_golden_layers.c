/* Every layer's output and gradients against PyTorch's, to 1e-5 by norm. */
#include "nn/depthwise.h"
#include "nn/kernels.h"
#include "nn/layers.h"
#include "nn/winograd.h"
#include "tests/nn/support.h"

#define LIMIT 1e-5

static safetensors_t *file;

static void near(const char *layer, const char *what, const float *found, size_t count)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", layer, what);
    check_near(name, found, golden(file, name, count), count, LIMIT);
}

static const struct {
    const char *name;
    size_t N;
    nn_conv2d_t d;
} convs[] = {{"conv5", 3, {13, 11, 3, 9, 7, 8, 5, 1, 0, 1}},
             {"conv3", 2, {9, 10, 17, 7, 8, 20, 3, 1, 0, 1}},
             {"conv_pad", 2, {7, 6, 5, 7, 6, 33, 3, 1, 1, 1}},
             {"conv_stride", 2, {10, 9, 4, 5, 5, 6, 3, 2, 1, 1}},
             {"conv1", 2, {5, 7, 19, 5, 7, 70, 1, 1, 0, 1}},
             {"depthwise", 2, {8, 7, 12, 4, 4, 12, 3, 2, 1, 12}},
             {"grouped", 2, {7, 7, 6, 7, 7, 9, 3, 1, 1, 3}}};

static void check_conv(const char *name, size_t N, const nn_conv2d_t *d, const nn_kernels_t *k)
{
    size_t in = d->H * d->W * d->C, out = d->P * d->Q * d->O, weights = nn_conv2d_packed(d);
    float *x = formula_new(1, N * in, 1), *w = formula_new(2, weights, 1);
    float *b = formula_new(3, d->O, 1), *dy = formula_new(4, N * out, 1);
    float *y = zeros_new(N * out), *dx = zeros_new(N * in), *packed = zeros_new(weights);
    float *turned = zeros_new(weights), *dpacked = zeros_new(weights), *dw = zeros_new(weights);
    float *db = zeros_new(d->O), *scratch = zeros_new(nn_conv2d_scratch(d) + 1);
    nn_conv2d_pack(packed, turned, w, d);
    nn_conv2d_forward(y, x, packed, b, d, 1, scratch, k);
    nn_conv2d_forward(y + out, x + in, packed, b, d, N - 1, scratch, k);
    nn_conv2d_backward(dx, dpacked, db, x, dy, packed, turned, d, 1, scratch, k);
    nn_conv2d_backward(dx + in, dpacked, db, x + in, dy + out, packed, turned, d, N - 1, scratch,
                       k);
    nn_conv2d_unpack(dw, dpacked, d);
    near(name, "y", y, N * out);
    near(name, "dx", dx, N * in);
    near(name, "dw", dw, weights);
    near(name, "db", db, d->O);
    float *all[] = {x, w, b, dy, y, dx, packed, turned, dpacked, dw, db, scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void convolutions_agree(void **state)
{
    (void)state;
    for (int level = CPU_C; level <= CPU_AVX512; level++)
        for (size_t i = 0; nn_kernels_at((cpu_level_t)level) && i < sizeof convs / sizeof *convs;
             i++)
            check_conv(convs[i].name, convs[i].N, &convs[i].d, nn_kernels_at((cpu_level_t)level));
}

/* Convolution as defined, and what its gradients are, in double. */
static void plain_conv(double *y, double *dx, double *dw, const float *x, const float *w,
                       const float *b, const float *dy, const nn_conv2d_t *d)
{
    const size_t K = d->kernel, C = d->C, O = d->O, I = C / d->groups;
    for (size_t n = 0; n < d->P * d->Q * O; n++) {
        size_t p = n / (d->Q * O), q = n / O % d->Q, o = n % O;
        y[n] = (double)b[o];
        for (size_t cell = 0; cell < K * K; cell++) {
            size_t h = p * d->stride + cell / K - d->pad; /* below 0: huge */
            size_t v = q * d->stride + cell % K - d->pad;
            for (size_t c = 0; h < d->H && v < d->W && c < I; c++) {
                size_t at = (h * d->W + v) * C + o / (O / d->groups) * I + c;
                size_t weight = (o * I + c) * K * K + cell;
                y[n] += (double)x[at] * (double)w[weight];
                dx[at] += (double)dy[n] * (double)w[weight];
                dw[weight] += (double)dy[n] * (double)x[at];
            }
        }
    }
}

static void near_double(const char *what, const float *found, const double *expected, size_t count)
{
    float *rounded = zeros_new(count);
    for (size_t i = 0; i < count; i++)
        rounded[i] = (float)expected[i];
    check_near(what, found, rounded, count, 2e-6);
    free(rounded);
}

static void check_sums(const nn_conv2d_t *d, const nn_kernels_t *k)
{
    const size_t N = nn_conv2d_pictures(d) > 1 ? nn_conv2d_pictures(d) + 2 : 1;
    size_t one_in = d->H * d->W * d->C, one_out = d->P * d->Q * d->O;
    size_t in = N * one_in, out = N * one_out, packed = nn_conv2d_packed(d);
    size_t weights = d->kernel * d->kernel * d->C / d->groups * d->O;
    float *x = formula_new(1, in, 1), *w = formula_new(2, weights, 1);
    float *b = formula_new(3, d->O, 1), *dy = formula_new(4, out, 1);
    float *y = zeros_new(out), *dx = zeros_new(in), *dw = zeros_new(weights);
    float *forth = zeros_new(packed), *back = zeros_new(packed), *dpacked = zeros_new(packed);
    float *db = zeros_new(d->O), *scratch = zeros_new(nn_conv2d_scratch(d) + 1);
    double *expected = calloc(out + in + weights, sizeof *expected);
    scratch[nn_conv2d_scratch(d)] = 17;
    for (size_t i = 0; i < in; i++)
        dx[i] = 5; /* is overwritten */
    for (size_t i = 0; i < N; i++)
        plain_conv(expected + i * one_out, expected + out + i * one_in, expected + out + in,
                   x + i * one_in, w, b, dy + i * one_out, d);
    nn_conv2d_pack(forth, back, w, d);
    nn_conv2d_forward(y, x, forth, b, d, N, scratch, k);
    nn_conv2d_backward(dx, dpacked, db, x, dy, forth, back, d, N, scratch, k);
    nn_conv2d_unpack(dw, dpacked, d);
    near_double("y", y, expected, out);
    near_double("dx", dx, expected + out, in);
    near_double("dw", dw, expected + out + in, weights);
    assert_true(scratch[nn_conv2d_scratch(d)] == 17);
    float *all[] = {x, w, b, dy, y, dx, dw, forth, back, dpacked, db, scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    free(expected);
}

/* Ragged edges, padding, several slices of tiles and several pictures in one. */
static void winograd_is_as_exact_as_a_sum(void **state)
{
    (void)state;
    static const nn_conv2d_t shapes[] = {
        {30, 30, 32, 26, 26, 64, 5, 1, 0, 1}, {13, 13, 64, 11, 11, 96, 3, 1, 0, 1},
        {11, 9, 16, 11, 9, 16, 5, 1, 2, 1},   {14, 17, 16, 14, 17, 32, 3, 1, 1, 1},
        {12, 11, 48, 10, 9, 16, 5, 1, 1, 1},  {9, 70, 16, 7, 68, 16, 3, 1, 0, 1}};
    for (int level = CPU_C; level <= CPU_AVX512; level++)
        for (size_t i = 0; nn_kernels_at((cpu_level_t)level) && i < sizeof shapes / sizeof *shapes;
             i++)
            check_sums(&shapes[i], nn_kernels_at((cpu_level_t)level));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        assert_true(nn_winograd_suits(&shapes[i]) &&
                    nn_conv2d_packed(&shapes[i]) == NN_WINOGRAD_POINTS * shapes[i].C * shapes[i].O);
}

/* Several blocks of channels, the last one full or not, both strides, odd and even sizes. */
static void depthwise_is_as_exact_as_a_sum(void **state)
{
    (void)state;
    static const nn_conv2d_t shapes[] = {{9, 8, 96, 9, 8, 96, 3, 1, 1, 96},
                                         {7, 10, 100, 4, 5, 100, 3, 2, 1, 100},
                                         {1, 2, 49, 1, 1, 49, 3, 2, 1, 49},
                                         {1, 1, 50, 1, 1, 50, 3, 1, 1, 50}};
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        for (size_t i = 0; nn_kernels_at((cpu_level_t)level) && i < sizeof shapes / sizeof *shapes;
             i++) {
            assert_true(nn_depthwise_suits(&shapes[i]));
            check_sums(&shapes[i], nn_kernels_at((cpu_level_t)level));
        }
    }
}

/* One golden BatchNorm, possibly with activation and pooling, as nn/forward.c and nn/backward.c
 * string the kernels together. */
static void check_norm(const char *name, float low, float high, bool pool, const nn_kernels_t *k)
{
    enum { N = 4, H = 7, W = 9, C = 19, IN = H * W * C };
    const size_t out = (pool ? (H / 2) * (W / 2) : H * W) * C;
    double sums[N][2][C];
    float mean[C], invstd[C], scale[C], var[C], dgamma[C], dbeta[C], mean_g[C], mean_gx[C];
    float *x = formula_new(1, N * IN, 1), *gamma = formula_new(2, C, 4);
    float *beta = formula_new(3, C, 1), *dy = formula_new(4, N * out, 1);
    float *y = zeros_new(N * out), *dx = zeros_new(N * IN);
    for (size_t i = 0; i < N; i++)
        k->moments(sums[i][0], sums[i][1], x + i * IN, H * W, C);
    for (size_t c = 0; c < C; c++) {
        double m = 0, m2 = 0;
        for (size_t i = 0; i < N; i++)
            m += sums[i][0][c] / N;
        for (size_t i = 0; i < N; i++)
            m2 += sums[i][1][c] + H * W * (sums[i][0][c] - m) * (sums[i][0][c] - m);
        mean[c] = (float)m;
        invstd[c] = (float)(1 / sqrt(m2 / (N * H * W) + 1e-5));
        scale[c] = gamma[c] * invstd[c];
        var[c] = (float)(0.9 + 0.1 * m2 / (N * H * W - 1));
    }
    nn_norm_t norm = {H, W, C, pool, low, high, mean, scale, beta, invstd};
    for (size_t i = 0; i < N; i++) {
        k->norm_forward(y + i * out, x + i * IN, &norm);
        k->norm_sums(sums[i][0], sums[i][1], x + i * IN, dy + i * out, &norm);
    }
    for (size_t c = 0; c < C; c++) {
        double g = 0, gx = 0;
        for (size_t i = 0; i < N; i++) {
            g += sums[i][0][c];
            gx += sums[i][1][c];
        }
        dbeta[c] = (float)g, dgamma[c] = (float)gx;
        mean_g[c] = (float)(g / (N * H * W)), mean_gx[c] = (float)(gx / (N * H * W));
        mean[c] *= 0.1f; /* running mean */
    }
    near(name, "mean", mean, C);
    for (size_t c = 0; c < C; c++)
        mean[c] *= 10.0f;
    for (size_t i = 0; i < N; i++)
        k->norm_backward(dx + i * IN, x + i * IN, dy + i * out, mean_g, mean_gx, &norm);
    near(name, "var", var, C);
    near(name, "y", y, N * out);
    near(name, "dgamma", dgamma, C);
    near(name, "dbeta", dbeta, C);
    near(name, "dx", dx, N * IN);
    float *all[] = {x, gamma, beta, dy, y, dx};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void batch_norm_agrees_with_all_that_may_follow(void **state)
{
    (void)state;
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        if (!k)
            continue;
        check_norm("bn", -INFINITY, INFINITY, false, k);
        check_norm("bn_relu", 0, INFINITY, false, k);
        check_norm("bn_relu6", 0, 6, false, k);
        check_norm("bn_pool", -INFINITY, INFINITY, true, k);
        check_norm("bn_relu_pool", 0, INFINITY, true, k);
        check_norm("bn_relu6_pool", 0, 6, true, k);
    }
}

static void pools_agree(void **state)
{
    (void)state;
    enum { IN = 9 * 8 * 5, OUT = 4 * 3 * 5, AVG = 5 * 6 * 7 };
    float y[2 * OUT], dx[2 * IN];
    float *x = formula_new(1, 2 * IN, 1), *dy = formula_new(4, 2 * OUT, 1);
    for (size_t i = 0; i < 2; i++) {
        nn_max_pool_forward(y + i * OUT, x + i * IN, 9, 8, 5, 3, 2);
        nn_max_pool_backward(dx + i * IN, x + i * IN, dy + i * OUT, 9, 8, 5, 3, 2);
    }
    near("max_pool", "y", y, 2 * OUT);
    near("max_pool", "dx", dx, 2 * IN);
    for (size_t i = 0; i < 2; i++) {
        nn_global_avg_pool_forward(y + i * 7, x + i * AVG, 30, 7);
        nn_global_avg_pool_backward(dx + i * AVG, dy + i * 7, 30, 7);
    }
    near("avg_pool", "y", y, 14);
    near("avg_pool", "dx", dx, 2 * AVG);
    free(x);
    free(dy);
}

static void check_dense(const char *name, size_t N, size_t H, size_t W, size_t C, size_t O,
                        const nn_kernels_t *k)
{
    size_t I = H * W * C;
    float *x = formula_new(1, N * I, 1), *w = formula_new(2, O * I, 1), *b = formula_new(3, O, 1);
    float *dy = formula_new(4, N * O, 1), *y = zeros_new(N * O), *dx = zeros_new(N * I);
    float *packed = zeros_new(O * I), *dpacked = zeros_new(O * I), *dw = zeros_new(O * I);
    float *db = zeros_new(O);
    nn_dense_pack(packed, w, O, H, W, C);
    nn_dense_forward(y, x, packed, b, N, I, O);
    nn_dense_backward_input(dx, dy, packed, N, I, O, k);
    nn_dense_backward_weight(dpacked, db, x, dy, N, I, O, 0, O / 2, k);
    nn_dense_backward_weight(dpacked, db, x, dy, N, I, O, O / 2, O, k);
    nn_dense_unpack(dw, dpacked, O, H, W, C);
    near(name, "y", y, N * O);
    near(name, "dx", dx, N * I);
    near(name, "dw", dw, O * I);
    near(name, "db", db, O);
    float *all[] = {x, w, b, dy, y, dx, packed, dpacked, dw, db};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void dense_layers_agree(void **state)
{
    (void)state;
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        if (!k)
            continue;
        check_dense("dense", 7, 1, 1, 37, 13, k);
        check_dense("flatten_dense", 3, 4, 5, 6, 11, k);
    }
}

static void cross_entropy_agrees(void **state)
{
    (void)state;
    const int32_t labels[6] = {3, 0, 9, 5, 5, 1};
    float *z = formula_new(1, 60, 8), dz[60];
    size_t correct;
    float loss = (float)(nn_cross_entropy(dz, &correct, z, labels, 6, 10, 0) / 6);
    near("cross_entropy", "loss", &loss, 1);
    near("cross_entropy", "dz", dz, 60);
    free(z);
}

static void check_optimizer(const char *name, const nn_kernels_t *k, bool adam, nn_sgd_t sgd)
{
    float *w = formula_new(1, 50, 1), *m = zeros_new(50), *v = zeros_new(50);
    for (int step = 0; step < 4; step++) {
        float *g = formula_new((uint64_t)(10 + step), 50, 1);
        nn_adam_t p = {sgd.lr,
                       0.9f,
                       0.999f,
                       1e-8f,
                       sgd.weight_decay,
                       (float)(1 - pow(0.9, step + 1)),
                       (float)sqrt(1 - pow(0.999, step + 1))};
        if (adam)
            k->adam(w, m, v, g, &p, 50);
        else
            k->sgd(w, m, g, &sgd, 50);
        free(g);
    }
    near("optimizer", name, w, 50);
    free(w);
    free(m);
    free(v);
}

static void optimizers_agree(void **state)
{
    (void)state;
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        if (!k)
            continue;
        check_optimizer("adam", k, true, (nn_sgd_t){.lr = 0.01f});
        check_optimizer("adam_decay", k, true, (nn_sgd_t){.lr = 0.01f, .weight_decay = 0.1f});
        check_optimizer("sgd", k, false, (nn_sgd_t){.lr = 0.1f});
        check_optimizer("sgd_momentum", k, false, (nn_sgd_t){0.1f, 0.9f, 0.05f, false});
    }
}

/* Rounding to uint8, forward and straight through: tests/golden/fake_quant.py. */
static void fake_quant_agrees(void **state)
{
    (void)state;
    enum { COUNT = 3001 };
    static const struct {
        const char *name;
        float scale, zero;
    } cases[] = {{"relu6", 6.0f / 255, 0},
                 {"signed", 0.0123f, 97},
                 {"narrow", 0.003f, 200},
                 {"negative", 0.02f, 255}};
    safetensors_t *layers = file;
    assert_ok(safetensors_open(&file, GOLDEN_DIR "/nn_fake_quant.safetensors"));
    float *x = formula_new(1, COUNT, 8), *dy = formula_new(4, COUNT, 1);
    float *y = zeros_new(COUNT), *dx = zeros_new(COUNT);
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        for (size_t i = 0; k && i < sizeof cases / sizeof cases[0]; i++) {
            k->fake_quant(y, x, cases[i].scale, cases[i].zero, COUNT);
            k->fake_quant_backward(dx, x, dy, cases[i].scale, cases[i].zero, COUNT);
            near(cases[i].name, "y", y, COUNT);
            near(cases[i].name, "dx", dx, COUNT);
        }
    }
    float *all[] = {x, dy, y, dx};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    safetensors_close(&file);
    file = layers;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(convolutions_agree),
    cmocka_unit_test(winograd_is_as_exact_as_a_sum),
    cmocka_unit_test(depthwise_is_as_exact_as_a_sum),
    cmocka_unit_test(batch_norm_agrees_with_all_that_may_follow),
    cmocka_unit_test(pools_agree),
    cmocka_unit_test(dense_layers_agree),
    cmocka_unit_test(cross_entropy_agrees),
    cmocka_unit_test(optimizers_agree),
    cmocka_unit_test(fake_quant_agrees),
};

int main(int argc, char **argv)
{
    if (safetensors_open(&file, GOLDEN_DIR "/nn_layers.safetensors")) {
        fprintf(stderr, "%s\n", err_message());
        return 1;
    }
    int status = TEST_MAIN(argc, argv, tests);
    safetensors_close(&file);
    return status;
}
