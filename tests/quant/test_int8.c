/* int8 rows, names of precisions, bytes on the wire. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/convert.h"
#include "quant/precision.h"
#include "tests/support/harness.h"

static void largest_weight_becomes_127(void **state)
{
    (void)state;
    const float w[] = {0.5f, -1.27f, 0.0f, 0.01f, 1.0f};
    int8_t q[5];
    float scale = quant_row_scale(w, 5, 127);
    assert_true(scale == 1.27f / 127.0f);
    quant_row_round(q, w, 5, scale, 127);
    const int8_t expected[] = {50, -127, 0, 1, 100};
    assert_memory_equal(q, expected, sizeof q);
}

static void fewer_bits_have_fewer_levels(void **state)
{
    (void)state;
    const float w[] = {7.0f, -7.0f, 3.4f, 0.5f, 1.5f};
    int8_t q[5];
    assert_true(quant_row_scale(w, 5, 7) == 1.0f);
    quant_row_round(q, w, 5, 1.0f, 7);
    const int8_t expected[] = {7, -7, 3, 0, 2};
    assert_memory_equal(q, expected, sizeof q);
    quant_row_round(q, w, 5, 0.5f, 7); /* what does not fit is cut off */
    const int8_t cut[] = {7, -7, 7, 1, 3};
    assert_memory_equal(q, cut, sizeof q);
}

static void ties_go_to_even(void **state)
{
    (void)state;
    const float w[] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.5f, 125.5f, 0.49f, 0.51f};
    int8_t q[10];
    assert_true(quant_row_scale(w, 10, 127) == 1.0f);
    quant_row_round(q, w, 10, 1.0f, 127);
    const int8_t expected[] = {127, 0, 2, 2, 0, -2, 126, 126, 0, 1};
    assert_memory_equal(q, expected, sizeof q);
}

static void row_of_zeros_has_no_scale(void **state)
{
    (void)state;
    const float w[] = {0.0f, -0.0f, 0.0f};
    assert_true(quant_row_scale(w, 3, 127) == 0.0f);
}

static void tiny_and_huge_rows_keep_a_positive_finite_scale(void **state)
{
    (void)state;
    const float tiny[] = {1e-45f, -1e-44f}, huge[] = {FLT_MAX, -FLT_MAX};
    int8_t q[2];
    assert_true(quant_row_scale(tiny, 2, 127) == FLT_MIN);
    quant_row_round(q, tiny, 2, FLT_MIN, 127);
    assert_int_equal(q[0], 0);
    float scale = quant_row_scale(huge, 2, 127);
    assert_true(isfinite(scale));
    quant_row_round(q, huge, 2, scale, 127);
    assert_int_equal(q[0], 127);
    assert_int_equal(q[1], -127);
}

static void error_is_at_most_half_a_step(void **state)
{
    (void)state;
    rng_t rng = test_rng(1);
    float w[257];
    int8_t q[257];
    for (int repeat = 0; repeat < 100; repeat++) {
        for (size_t i = 0; i < 257; i++) {
            float width = (float)exp(3 * rng_normal(&rng));
            w[i] = (float)rng_normal(&rng) * width;
        }
        float scale = quant_row_scale(w, 257, 127);
        quant_row_round(q, w, 257, scale, 127);
        for (size_t i = 0; i < 257; i++)
            assert_true(fabs((double)scale * q[i] - (double)w[i]) <= (double)scale * 0.500001);
    }
}

static void precisions_have_names(void **state)
{
    (void)state;
    quant_precision_t p = QUANT_FP32;
    assert_ok(quant_precision_parse(&p, "int8"));
    assert_int_equal(p, QUANT_INT8);
    assert_ok(quant_precision_parse(&p, "fp16"));
    assert_int_equal(p, QUANT_FP16);
    assert_ok(quant_precision_parse(&p, "fp32"));
    assert_int_equal(p, QUANT_FP32);
    assert_fails(quant_precision_parse(&p, "int4"), ERR_CONFIG,
                 "precision \"int4\": accepted are fp32, fp16 and int8");
    assert_fails(quant_precision_parse(&p, ""), ERR_CONFIG,
                 "precision \"\": accepted are fp32, fp16 and int8");
    assert_string_equal(quant_precision_computes(QUANT_INT8),
                        "int8 weights and activations, int32 sums");
    assert_string_equal(quant_precision_computes(QUANT_FP16),
                        "float16 weights, float32 arithmetic");
}

/* The cnn at 64x64: 434,602 trainable and 384 statistics. */
static void wire_bytes_count_scales_and_what_stays_float(void **state)
{
    (void)state;
    nn_arch_t arch = {.name = "cnn", .width = 1, .input = 64, .classes = 10};
    nn_net_t *net = NULL;
    assert_ok(nn_net_new(&net, &arch));
    size_t weights = 2400 + 51200 + 55296 + 307200 + 16384 + 1280;
    size_t outputs = 32 + 64 + 96 + 128 + 128 + 10;
    size_t others = outputs + 4 * (32 + 64 + 96); /* biases; gamma, beta, mean, var */
    assert_int_equal(weights + others, 434602 + 384);
    assert_true(quant_wire_bytes(net, QUANT_FP32) == 4.0 * (434602 + 384));
    assert_true(quant_wire_bytes(net, QUANT_FP16) == 2.0 * (434602 + 384));
    assert_true(quant_wire_bytes(net, QUANT_INT8) ==
                (double)weights + 4.0 * (double)outputs + 4.0 * (double)others);
    nn_net_destroy(&net);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(largest_weight_becomes_127),
    cmocka_unit_test(ties_go_to_even),
    cmocka_unit_test(fewer_bits_have_fewer_levels),
    cmocka_unit_test(row_of_zeros_has_no_scale),
    cmocka_unit_test(tiny_and_huge_rows_keep_a_positive_finite_scale),
    cmocka_unit_test(error_is_at_most_half_a_step),
    cmocka_unit_test(precisions_have_names),
    cmocka_unit_test(wire_bytes_count_scales_and_what_stays_float),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
