/* The engine at the level that HEARSAY_CPU forces (one CTest entry each) against the plain list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "nn/plan.h"
#include "quant/draw.h"
#include "quant/engine.h"
#include "tests/support/harness.h"

#ifdef __SANITIZE_THREAD__
enum { FIRST = 3, THREADS = 2 }; /* the smallest, and no thread alone: it takes long there */
#else
enum { FIRST = 0, THREADS = 1 };
#endif

static float *draw_pictures(const quant_integer_t *model, size_t n, rng_t *rng)
{
    const size_t count = n * nn_shape_count(model->net->tensors[0]);
    float *x = malloc(count * sizeof *x);
    const float unit = 60 * model->tensors[0].scale;
    for (size_t i = 0; i < count; i++)
        x[i] = unit * (float)rng_normal(rng);
    x[count / 3] = 1e30f; /* clamped */
    x[count / 2] = -1e30f;
    return x;
}

static void check_engine(const quant_integer_t *model, const float *x, const float *expected,
                         size_t batch, int threads, size_t n)
{
    const size_t classes = model->net->arch.classes;
    quant_engine_t *engine = NULL;
    float *logits = calloc((n + 1) * classes, sizeof *logits);
    assert_ok(quant_engine_new(&engine, model, batch, threads));
    for (size_t i = 0; i < classes; i++)
        logits[n * classes + i] = 123;
    quant_engine_run(engine, logits, x, n);
    for (size_t i = 0; i < n * classes; i++)
        if (memcmp(&logits[i], &expected[i], sizeof *logits) != 0)
            fail_msg("%s %s input %zu width %g, %s, batch %zu, %zu pictures, %d threads: logit %zu "
                     "is %a, expected %a",
                     model->net->arch.name, model->net->arch.strides, model->net->arch.input,
                     model->net->arch.width, quant_engine_level(engine), batch, n, threads, i,
                     (double)logits[i], (double)expected[i]);
    assert_true(logits[n * classes] == 123);
    quant_engine_destroy(&engine);
    free(logits);
}

static void check_arch(const nn_arch_t *arch, size_t pictures, rng_t *rng)
{
    quant_integer_t model;
    assert_ok(quant_draw(&model, arch, rng));
    const size_t picture = nn_shape_count(model.net->tensors[0]);
    float *x = draw_pictures(&model, pictures, rng);
    float *expected = calloc(pictures * arch->classes, sizeof *expected);
    for (size_t i = 0; i < pictures; i++)
        quant_integer_reference(expected + i * arch->classes, NULL, &model, x + i * picture);
    const size_t row = arch->classes * sizeof *expected; /* it matters what goes in */
    assert_memory_not_equal(expected, expected + arch->classes, row);
    for (int threads = THREADS; threads <= 3; threads++) {
        check_engine(&model, x, expected, pictures, threads, pictures);
        check_engine(&model, x, expected, pictures + 2, threads, 1);
        check_engine(&model, x, expected, pictures, threads, (pictures + 1) / 2);
    }
    free(x);
    free(expected);
    quant_integer_free(&model);
}

static void cnns_give_the_reference_s_bits(void **state)
{
    (void)state;
    static const nn_arch_t arches[] = {
        {.name = "cnn", .width = 1.0, .input = 64, .classes = 10},
        {.name = "cnn", .width = 0.25, .input = 28, .classes = 3},
        {.name = "cnn", .width = 0.3, .input = 37, .classes = 17},
        {.name = "cnn", .width = 0.04, .input = 33, .classes = 2},
    };
    rng_t rng = test_rng(1);
    for (size_t i = FIRST; i < sizeof arches / sizeof arches[0]; i++)
        check_arch(&arches[i], i == 0 ? 2 : 5, &rng);
}

static void mobilenets_give_the_reference_s_bits(void **state)
{
    (void)state;
    static const nn_arch_t arches[] = {
        {.name = "mobilenet_v2", .width = 1.0, .strides = "small", .input = 32, .classes = 10},
        {.name = "mobilenet_v2", .width = 1.0, .strides = "imagenet", .input = 64, .classes = 10},
        {.name = "mobilenet_v2", .width = 0.35, .strides = "imagenet", .input = 75, .classes = 7},
        {.name = "mobilenet_v2", .width = 0.1, .strides = "small", .input = 37, .classes = 33},
    };
    rng_t rng = test_rng(2);
    for (size_t i = FIRST; i < sizeof arches / sizeof arches[0]; i++)
        check_arch(&arches[i], i < 2 ? 2 : 3, &rng);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(cnns_give_the_reference_s_bits),
    cmocka_unit_test(mobilenets_give_the_reference_s_bits),
};

int main(int argc, char **argv)
{
    const char *forced = getenv("HEARSAY_CPU");
    if (forced && strcmp(forced, cpu_level_name(cpu_level())) != 0) {
        printf("this CPU lacks %s\n", forced);
        return 77;
    }
    return TEST_MAIN(argc, argv, tests);
}
