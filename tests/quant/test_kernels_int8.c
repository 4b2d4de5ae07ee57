/* The integer kernels of the level that HEARSAY_CPU forces (one CTest entry each), or of all that
 * this CPU has, against C, bit for bit, on odd sizes and extremes. Memory behind every output is
 * guarded by a pattern: kernels write nothing beyond their end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/kernels_int8.h"
#include "tests/support/harness.h"

enum { GUARD = 64, PATTERN = 0xa5, INPUTS_MAX = 700 };

/* Levels under test. */
static int lowest = CPU_AVX2, highest = CPU_VNNI;

/* For every one of them that this CPU has. */
#define FOR_LEVELS(k)                                                                              \
    for (int level_ = lowest; level_ <= highest; level_++)                                         \
        for (const quant_kernels_t *k = quant_kernels_at((cpu_level_t)level_); k; k = NULL)

static size_t between(rng_t *rng, size_t low, size_t high)
{
    return low + (size_t)rng_below(rng, high - low + 1);
}

/* Zeroed, with room that may be read behind its end. */
static void *room(size_t bytes)
{
    return calloc(bytes + QUANT_SLACK, 1);
}

static uint8_t *guarded(size_t bytes)
{
    uint8_t *to = room(bytes + GUARD);
    memset(to, PATTERN, bytes + GUARD);
    return to;
}

static void check_same(const char *what, const uint8_t *got, const uint8_t *expected, size_t bytes)
{
    for (size_t i = 0; i < bytes + GUARD; i++)
        if (got[i] != expected[i])
            fail_msg("%s: byte %zu of %zu is %d, expected %d", what, i, bytes, got[i], expected[i]);
}

/* Weights and inputs of every value, or of the extreme ones alone. */
static void draw_bytes(uint8_t *x, size_t count, bool extreme, rng_t *rng)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (uint8_t)(extreme ? 255 * rng_below(rng, 2) : rng_below(rng, 256));
}

static void draw_weights(int8_t *w, size_t count, bool extreme, rng_t *rng)
{
    for (size_t i = 0; i < count; i++) {
        const int value = (int)rng_below(rng, 255) - 127;
        w[i] = (int8_t)(extreme ? (value < 0 ? -127 : 127) : value);
    }
}

/* A power of two makes ties of odd sums; sums below 2^24 are exact as floats. */
static void draw_scale(float *multiplier, int32_t *bias, size_t count, double spread, rng_t *rng)
{
    for (size_t i = 0; i < count; i++) {
        const bool tie = rng_below(rng, 2);
        const double scale = 0.2 + rng_double(rng);
        multiplier[i] =
            tie ? ldexpf(1, -(int)ceil(log2(spread / 100))) : (float)(50 * scale / spread);
        bias[i] = (int32_t)(spread * rng_normal(rng));
    }
}

typedef struct {
    size_t lines, line, kernel, stride, C, W, cols;
    bool extreme;
} shape_t;

/* What a level makes of one problem: weights packed and inputs widened as it wants them. */
static void run_product(uint8_t *c, float *logits, const quant_kernels_t *k, const shape_t *s,
                        const uint8_t *x, size_t x_count, const int8_t *w, const int32_t *bias,
                        const float *multiplier, int32_t zero)
{
    const size_t inner = s->kernel * s->C, pixels = s->lines * s->line;
    int8_t *weights = room(quant_product_bytes(k, s->cols, s->kernel, inner));
    int16_t *wide = room(x_count * sizeof *wide);
    quant_pack_product(weights, k, w, s->cols, s->kernel, inner);
    if (k->widen)
        k->widen(wide, x, x_count);
    const quant_product_t p = {.line = s->line,
                               .a_pixel = s->stride * s->C,
                               .a_line = s->stride * s->W * s->C,
                               .a_outer = s->W * s->C,
                               .outer = s->kernel,
                               .inner = inner,
                               .cols = s->cols,
                               .weights = weights,
                               .bias = bias,
                               .multiplier = multiplier,
                               .zero = zero};
    const void *a = k->widen ? (const void *)wide : x;
    const size_t middle = pixels / 3; /* in two calls, as threads do */
    int16_t *scratch = room(quant_product_scratch(k, s->kernel, inner) * sizeof *scratch);
    k->product(c, a, &p, 0, middle, scratch);
    k->product(c, a, &p, middle, pixels, scratch);
    k->logits(logits, a, &p, 0, pixels, scratch);
    free(scratch);
    free(weights);
    free(wide);
}

static void check_product(const quant_kernels_t *k, const shape_t *s, rng_t *rng)
{
    const size_t H = (s->lines - 1) * s->stride + s->kernel, x_count = H * s->W * s->C;
    const size_t inputs = s->kernel * s->kernel * s->C, out = s->lines * s->line * s->cols;
    uint8_t *x = room(x_count), *c[2] = {guarded(out), guarded(out)};
    uint8_t *logits[2] = {guarded(4 * out), guarded(4 * out)};
    int8_t *w = room(s->cols * inputs);
    int32_t *bias = room((s->cols + 64) * sizeof *bias);
    float *multiplier = room((s->cols + 64) * sizeof *multiplier);
    const int32_t zero = (int32_t)rng_below(rng, 256);
    draw_bytes(x, x_count, s->extreme, rng);
    draw_weights(w, s->cols * inputs, s->extreme, rng);
    draw_scale(multiplier, bias, s->cols, 10000 * sqrt((double)inputs), rng);
    const quant_kernels_t *levels[2] = {quant_kernels_at(CPU_C), k};
    for (int i = 0; i < 2; i++)
        run_product(c[i], (float *)(void *)logits[i], levels[i], s, x, x_count, w, bias, multiplier,
                    zero);
    char what[160];
    snprintf(what, sizeof what, "%s product, %zu lines of %zu, kernel %zu stride %zu, %zu to %zu",
             k->name, s->lines, s->line, s->kernel, s->stride, s->C, s->cols);
    check_same(what, c[1], c[0], out);
    check_same(what, logits[1], logits[0], 4 * out);
    void *all[] = {x, c[0], c[1], logits[0], logits[1], w, bias, multiplier};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void products_agree_to_the_bit(void **state)
{
    (void)state;
    rng_t rng = test_rng(1);
    FOR_LEVELS(k)
    {
        for (int i = 0; i < 400; i++) {
            shape_t s = {.lines = between(&rng, 1, 4), .line = between(&rng, 1, 20)};
            s.kernel = i % 2 ? 1 : between(&rng, 1, 5);
            s.stride = i % 4 ? 1 : between(&rng, 1, 3);
            s.C = between(&rng, 1, i % 10 ? 40 : INPUTS_MAX / (s.kernel * s.kernel));
            s.cols = between(&rng, 1, 70);
            s.W = (s.line - 1) * s.stride + s.kernel + between(&rng, 0, 2);
            s.extreme = i % 3 == 0;
            check_product(k, &s, &rng);
        }
    }
}

/* What the largest sums need: 255 * 127 * 66,000 is about 2^31. */
static void sums_near_the_end_of_int32_do_not_saturate(void **state)
{
    (void)state;
    enum { INNER = 66000, COLS = 3 };
    rng_t rng = test_rng(2);
    FOR_LEVELS(k)
    {
        uint8_t *x = room(INNER), c[2][COLS];
        int8_t *w = room((size_t)COLS * INNER);
        int32_t *bias = room(64 * sizeof *bias);
        float *multiplier = room(64 * sizeof *multiplier), logits[2][COLS];
        memset(x, 255, INNER);
        memset(w, 127, INNER);
        memset(w + INNER, -127, INNER);
        draw_weights(w + (size_t)2 * INNER, INNER, true, &rng);
        bias[0] = 9000000, bias[1] = -9000000; /* just inside */
        for (size_t i = 0; i < COLS; i++)
            multiplier[i] = 1e-7f;
        const shape_t s = {
            .lines = 1, .line = 1, .kernel = 1, .stride = 1, .C = INNER, .W = 1, .cols = COLS};
        const quant_kernels_t *levels[2] = {quant_kernels_at(CPU_C), k};
        for (int i = 0; i < 2; i++)
            run_product(c[i], logits[i], levels[i], &s, x, INNER, w, bias, multiplier, 100);
        assert_true(logits[0][0] > 213 && logits[0][1] < -213);
        assert_memory_equal(c[0], c[1], sizeof c[0]);
        assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
        void *all[] = {x, w, bias, multiplier};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            free(all[i]);
    }
}

/* Of one level; bias and multiplier by channel. */
static void run_depthwise(uint8_t *y, const quant_kernels_t *k, quant_depthwise_t p,
                          const uint8_t *x, const int8_t *w, const int32_t *bias,
                          const float *multiplier)
{
    const size_t block = 2 * k->lanes, places = (p.C + block - 1) / block * block;
    int16_t *weights = room(quant_depthwise_count(k, p.C) * sizeof *weights);
    int16_t *scratch = room(quant_depthwise_scratch(k, p.W) * sizeof *scratch);
    int32_t *own_bias = room(places * sizeof *own_bias);
    float *own_multiplier = room(places * sizeof *own_multiplier);
    for (size_t i = 0; i < places; i++) {
        const size_t c =
            i / block * block + quant_depthwise_channel(i % block / k->lanes, i % k->lanes);
        own_bias[i] = c < p.C ? bias[c] : 0;
        own_multiplier[i] = c < p.C ? multiplier[c] : 0;
    }
    quant_pack_depthwise(weights, k, w, p.C);
    p.weights = weights, p.bias = own_bias, p.multiplier = own_multiplier;
    const size_t middle = p.P / 2; /* in two calls, as threads do */
    k->depthwise(y, x, &p, 0, middle, scratch);
    k->depthwise(y, x, &p, middle, p.P, scratch);
    void *all[] = {weights, scratch, own_bias, own_multiplier};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* By its definition, from nothing packed. */
static void plain_depthwise(uint8_t *y, const quant_depthwise_t *p, const uint8_t *x,
                            const int8_t *w, const int32_t *bias, const float *multiplier)
{
    for (size_t i = 0; i < p->P * p->Q * p->C; i++) {
        const size_t c = i % p->C, q = i / p->C % p->Q, line = i / p->C / p->Q;
        int32_t sum = bias[c];
        for (size_t k = 0; k < 9; k++) {
            const size_t h = line * p->stride + k / 3 - 1, v = q * p->stride + k % 3 - 1;
            const bool inside = h < p->H && v < p->W;
            sum += (inside ? x[(h * p->W + v) * p->C + c] : p->padding) * w[c * 9 + k];
        }
        const double rounded = rint((double)((float)sum * multiplier[c])) + p->zero;
        y[i] = (uint8_t)(rounded < 0 ? 0 : rounded > 255 ? 255 : rounded);
    }
}

static void depthwise_convolutions_agree_to_the_bit(void **state)
{
    (void)state;
    rng_t rng = test_rng(3);
    for (int level = CPU_C; level <= CPU_VNNI; level++) {
        const quant_kernels_t *k = quant_kernels_at((cpu_level_t)level);
        for (int i = 0; k && i < 300; i++) {
            quant_depthwise_t p = {.H = between(&rng, 1, 9), .W = between(&rng, 1, 13)};
            p.C = between(&rng, 1, 70);
            p.stride = between(&rng, 1, 2);
            p.padding = (uint8_t)rng_below(&rng, 256);
            p.zero = (int32_t)rng_below(&rng, 256);
            p.P = (p.H - 1) / p.stride + 1;
            p.Q = (p.W - 1) / p.stride + 1;
            const size_t in = p.H * p.W * p.C, out = p.P * p.Q * p.C;
            uint8_t *x = room(in), *y = guarded(out), *expected = guarded(out);
            int8_t *w = room(9 * p.C);
            int32_t *bias = room(p.C * sizeof *bias);
            float *multiplier = room(p.C * sizeof *multiplier);
            draw_bytes(x, in, i % 3 == 0, &rng);
            draw_weights(w, 9 * p.C, i % 3 == 0, &rng);
            draw_scale(multiplier, bias, p.C, 30000, &rng);
            plain_depthwise(expected, &p, x, w, bias, multiplier);
            run_depthwise(y, k, p, x, w, bias, multiplier);
            char what[120];
            snprintf(what, sizeof what, "%s depthwise %zux%zux%zu stride %zu", k->name, p.H, p.W,
                     p.C, p.stride);
            check_same(what, y, expected, out);
            void *all[] = {x, y, expected, w, bias, multiplier};
            for (size_t m = 0; m < sizeof all / sizeof all[0]; m++)
                free(all[m]);
        }
    }
}

static void additions_agree_to_the_bit_in_place_too(void **state)
{
    (void)state;
    rng_t rng = test_rng(4);
    const quant_kernels_t *plain = quant_kernels_at(CPU_C);
    FOR_LEVELS(k)
    {
        for (size_t n = 1; n < 400; n += 1 + n / 9) {
            uint8_t *a = guarded(n), *b = guarded(n), *y[2] = {guarded(n), guarded(n)};
            draw_bytes(a, n, n % 3 == 0, &rng);
            draw_bytes(b, n, n % 5 == 0, &rng);
            const float scale = 0.2f + rng_float(&rng);
            /* With halves every other sum is a tie. */
            const quant_add_t p = {
                .a = n % 2 ? 0.5f : scale, .b = 0.5f, .offset = n % 2 ? -9 : 3.7f};
            plain->add(y[0], a, b, &p, n);
            k->add(y[1], a, b, &p, n);
            check_same("add", y[1], y[0], n);
            k->add(a, a, b, &p, n);
            check_same("add in place", a, y[0], n);
            void *all[] = {a, b, y[0], y[1]};
            for (size_t i = 0; i < 4; i++)
                free(all[i]);
        }
    }
}

/* Which product is rounded first shows in few sums of many. */
static void all_pairs_add_up_the_same(void **state)
{
    (void)state;
    enum { PAIRS = 65536 };
    static uint8_t a[PAIRS + QUANT_SLACK], b[PAIRS + QUANT_SLACK], y[2][PAIRS];
    rng_t rng = test_rng(7);
    for (size_t i = 0; i < PAIRS; i++) {
        a[i] = (uint8_t)(i / 256);
        b[i] = (uint8_t)i;
    }
    FOR_LEVELS(k)
    {
        for (int i = 0; i < 30; i++) {
            quant_add_t p = {.a = 0.05f + rng_float(&rng)};
            p.b = 0.05f + rng_float(&rng);
            p.offset = -100 * rng_float(&rng);
            quant_kernels_at(CPU_C)->add(y[0], a, b, &p, PAIRS);
            k->add(y[1], a, b, &p, PAIRS);
            assert_memory_equal(y[0], y[1], PAIRS);
        }
    }
}

static void quantized_pictures_agree_to_the_bit(void **state)
{
    (void)state;
    rng_t rng = test_rng(5);
    const quant_kernels_t *plain = quant_kernels_at(CPU_C);
    FOR_LEVELS(k)
    {
        for (size_t n = 1; n < 300; n += 1 + n / 9) {
            float *x = malloc(n * sizeof *x);
            uint8_t *y[2] = {guarded(n), guarded(n)};
            const float scale = n % 2 ? 0.25f : 0.01f + rng_float(&rng);
            const int32_t zero = (int32_t)rng_below(&rng, 256);
            for (size_t i = 0; i < n; i++) /* ties: eighths at a scale of quarters */
                x[i] = n % 2 ? (float)rint(300 * rng_normal(&rng)) / 8
                             : (float)rng_normal(&rng) * 100 * scale;
            x[n / 2] = n % 3 == 0 ? NAN : n % 3 == 1 ? 1e38f : -INFINITY;
            plain->quantize(y[0], x, scale, zero, n);
            k->quantize(y[1], x, scale, zero, n);
            check_same("quantize", y[1], y[0], n);
            assert_int_equal(y[0][n / 2], n % 3 == 2 ? 0 : 255);
            free(x);
            free(y[0]);
            free(y[1]);
        }
    }
}

static void means_agree_to_the_bit(void **state)
{
    (void)state;
    rng_t rng = test_rng(6);
    const quant_kernels_t *plain = quant_kernels_at(CPU_C);
    FOR_LEVELS(k)
    {
        for (size_t C = 1; C < 140; C += 1 + C / 9) {
            const size_t pixels = between(&rng, 1, 50);
            uint8_t *x = room(pixels * C), *y[2] = {guarded(C), guarded(C)};
            const int32_t z = (int32_t)rng_below(&rng, 256), zero = (int32_t)rng_below(&rng, 256);
            const float m = C % 2 ? 0.5f : rng_float(&rng);
            draw_bytes(x, pixels * C, C % 3 == 0, &rng);
            plain->mean(y[0], x, pixels, C, (int32_t)pixels * z, m, zero);
            k->mean(y[1], x, pixels, C, (int32_t)pixels * z, m, zero);
            check_same("mean", y[1], y[0], C);
            free(x);
            free(y[0]);
            free(y[1]);
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(products_agree_to_the_bit),
    cmocka_unit_test(sums_near_the_end_of_int32_do_not_saturate),
    cmocka_unit_test(depthwise_convolutions_agree_to_the_bit),
    cmocka_unit_test(additions_agree_to_the_bit_in_place_too),
    cmocka_unit_test(all_pairs_add_up_the_same),
    cmocka_unit_test(quantized_pictures_agree_to_the_bit),
    cmocka_unit_test(means_agree_to_the_bit),
};

/* Says which levels are not tested here. False: none is. */
static bool choose_levels(void)
{
    const char *forced = getenv("HEARSAY_CPU");
    bool any = false;
    for (int level = CPU_AVX2; level <= CPU_VNNI; level++) {
        const char *name = cpu_level_name((cpu_level_t)level);
        if (forced && strcmp(forced, name) != 0)
            continue;
        if (forced)
            lowest = highest = level;
        if (!quant_kernels_at((cpu_level_t)level))
            printf("this CPU or build lacks %s: its kernels are not tested\n", name);
        else
            any = true;
    }
    return any;
}

int main(int argc, char **argv)
{
    if (!choose_levels())
        return 77;
    return TEST_MAIN(argc, argv, tests);
}
