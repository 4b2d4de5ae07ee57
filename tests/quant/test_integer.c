/* What an integer model must be before anything runs it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nn/builder.h"
#include "quant/draw.h"
#include "quant/tensors.h"
#include "tests/quant/models.h"

enum { CONV1 = 0, FC3 = 14 }; /* operations of the folded cnn */

/* One thing that is changed in a good model, and what the check says. */
typedef struct {
    void (*change)(quant_integer_t *model);
    const char *message; /* NULL: it is good */
} case_t;

static void nothing(quant_integer_t *m)
{
    (void)m;
}

static void scale_zero(quant_integer_t *m)
{
    m->tensors[0].scale = 0;
}

static void scale_negative(quant_integer_t *m)
{
    m->tensors[5].scale = -1;
}

static void zero_beyond(quant_integer_t *m)
{
    m->tensors[0].zero = 256;
}

static void zero_below(quant_integer_t *m)
{
    m->tensors[0].zero = -1;
}

static void relu_zero(quant_integer_t *m)
{
    for (int t = 1; t <= 3; t++)
        m->tensors[t] = (quant_affine_t){0.5f, 3};
}

static void pool_differs(quant_integer_t *m)
{
    for (int t = 1; t <= 3; t++)
        m->tensors[t] = (quant_affine_t){0.5f, 0};
    m->tensors[3].scale = 0.25f;
}

static void logits_scaled(quant_integer_t *m)
{
    m->tensors[15].scale = 1;
}

static void weight_least(quant_integer_t *m)
{
    m->layers[FC3].weight[130] = -128;
}

static void weight_scale_infinite(quant_integer_t *m)
{
    m->layers[CONV1].scale[3] = INFINITY;
}

static void bias_largest(quant_integer_t *m)
{
    memset(m->layers[CONV1].weight, 0, 75);
    m->layers[CONV1].weight[0] = 1;
    m->layers[CONV1].scale[0] = 1e-9f;
    m->layers[CONV1].bias[0] = INT32_MAX - 255;
}

static void sum_overflows(quant_integer_t *m)
{
    bias_largest(m);
    m->layers[CONV1].bias[0] = INT32_MIN + 255;
}

static void steps_overflow(quant_integer_t *m)
{
    bias_largest(m);
    m->tensors[0].scale = 1;
    for (int t = 1; t <= 3; t++)
        m->tensors[t] = (quant_affine_t){1, 0};
    m->layers[CONV1].scale[0] = 0.625f;
}

static void check_is_exact(void **unused)
{
    (void)unused;
    static const case_t cases[] = {
        {nothing, NULL},
        {bias_largest, NULL},
        {scale_zero, "activation 0 (input): scale 0: a scale is a normal number above 0"},
        {scale_negative,
         "activation 5 (relu behind conv2): scale -1: a scale is a normal number above 0"},
        {zero_beyond, "activation 0 (input): zero point 256: expected 0 to 255"},
        {zero_below, "activation 0 (input): zero point -1: expected 0 to 255"},
        {relu_zero, "activation 2 (relu behind conv1): zero point 3: 0 is what makes a relu"},
        {pool_differs,
         "activations 2 (relu behind conv1) and 3 (max pool behind conv1) must have the same scale "
         "and zero point, not 0.5, 0 and 0.25, 0"},
        {logits_scaled,
         "activation 15 (fc3): scale 1, zero point 0: logits are float32 and have 0 and 0"},
        {weight_least, "tensor \"fc3.weight\" element 130 is -128: weights are -127 to 127"},
        {weight_scale_infinite,
         "tensor \"conv1.weight_scale\" element 3 is inf: a scale is a normal number above 0"},
        {sum_overflows,
         "tensor \"conv1.weight\" channel 0: with its bias of -2147483393 sums can reach "
         "2147483648, beyond int32"},
        {steps_overflow,
         "tensor \"conv1.weight_scale\" element 0 is 0.625: with scales of 1 and 1 around the "
         "layer its outputs can reach 1.34218e+09 steps"},
    };
    nn_model_t model;
    models_draw(&model);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        quant_integer_t integer;
        models_integer(&integer, &model);
        cases[i].change(&integer);
        if (cases[i].message)
            assert_fails(quant_integer_check(&integer), ERR_FORMAT, cases[i].message);
        else
            assert_ok(quant_integer_check(&integer));
        quant_integer_free(&integer);
    }
    nn_model_free(&model);
}

static void relu6_ends_at_six(void **unused)
{
    (void)unused;
    nn_model_t model;
    data_set_t set;
    quant_integer_t integer;
    const quant_convert_options_t options = quant_convert_defaults();
    models_draw_mobilenet(&model, &set, 8, "small");
    const quant_calibration_t calibration = {
        .set = &set, .count = set.count, .normalisation = &model.meta.normalisation, .threads = 1};
    assert_ok(quant_quantize(&integer, &model, &calibration, &options));
    const nn_net_t *net = integer.net;
    size_t relus = 0;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (op->kind != NN_OP_RELU6)
            continue;
        relus++;
        assert_int_equal(integer.tensors[op->out].zero, 0);
        assert_true(integer.tensors[op->out].scale * 255.0f <= 6.0f);
    }
    assert_int_equal(relus, 35);
    integer.tensors[1].scale = integer.tensors[2].scale = nextafterf(6.0f / 255.0f, 1.0f) * 1.001f;
    assert_fails(quant_integer_check(&integer), ERR_FORMAT,
                 "activation 2 (relu6 behind features.0.0): scale 0.0235529: the range of a relu6 "
                 "ends at 6 or below");
    quant_integer_free(&integer);
    data_set_free(&set);
    nn_model_free(&model);
}

static void lists_that_cannot_be_integers_are_refused(void **unused)
{
    (void)unused;
    nn_builder_t b;
    nn_net_t *net = models_begin(&b);
    int conv = nn_build_conv2d(&b, "conv", 0, 4, 3, 1, 1, 1, true);
    int relu = nn_build_simple(&b, NN_OP_RELU, nn_build_max_pool(&b, conv, 2, 2));
    nn_build_dense(&b, "last", nn_build_simple(&b, NN_OP_FLATTEN, relu), 2);
    assert_ok(quant_check_list(net));
    nn_net_destroy(&net);

    net = models_begin(&b);
    conv = nn_build_conv2d(&b, "conv", 0, 4, 3, 1, 1, 1, true);
    relu = nn_build_simple(&b, NN_OP_RELU, conv);
    relu = nn_build_add(&b, conv, relu); /* the sum misses what is below 0 */
    nn_build_dense(&b, "last", nn_build_simple(&b, NN_OP_FLATTEN, relu), 2);
    assert_fails(quant_check_list(net), ERR_CONFIG,
                 "integers: others than the relu behind it read \"conv\" too");
    nn_net_destroy(&net);

    net = models_begin(&b);
    conv = nn_build_conv2d(&b, "conv", 0, 4, 3, 1, 1, 1, true);
    nn_build_dense(&b, "last", nn_build_simple(&b, NN_OP_FLATTEN, conv), 2);
    nn_build_simple(&b, NN_OP_RELU, (int)net->tensor_count - 1);
    assert_fails(quant_check_list(net), ERR_CONFIG,
                 "integers: the last operation must be a dense layer");
    nn_net_destroy(&net);

    net = models_begin(&b);
    conv = nn_build_batch_norm(&b, "norm", nn_build_conv2d(&b, "conv", 0, 4, 3, 1, 1, 1, true));
    nn_build_dense(&b, "last", nn_build_simple(&b, NN_OP_FLATTEN, conv), 2);
    assert_fails(quant_check_list(net), ERR_CONFIG, "integers: \"norm\" must be folded first");
    nn_net_destroy(&net);
}

static void files_hold_the_whole_model(void **unused)
{
    (void)unused;
    nn_model_t model;
    quant_integer_t a, b;
    char path[512], again[520];
    unsigned char *bytes[2];
    size_t sizes[2];
    models_draw(&model);
    models_integer(&a, &model);
    snprintf(path, sizeof path, "%s/a.safetensors", test_dir());
    snprintf(again, sizeof again, "%s.2", path);
    assert_ok(quant_integer_save(path, &a));
    assert_ok(quant_integer_load(&b, path));
    assert_string_equal(b.meta.precision, "int8");
    assert_string_equal(b.meta.class_names[1], "land");
    for (size_t i = 0; i < a.net->op_count; i++) {
        if (!quant_op_has_weights(&a.net->ops[i]))
            continue;
        const nn_entry_t *e = &a.net->entries[a.net->ops[i].weight];
        assert_memory_equal(a.layers[i].weight, b.layers[i].weight, e->count);
        assert_memory_equal(a.layers[i].scale, b.layers[i].scale, e->shape[0] * sizeof(float));
        assert_memory_equal(a.layers[i].bias, b.layers[i].bias, e->shape[0] * sizeof(int32_t));
    }
    for (size_t t = 0; t < a.net->tensor_count; t++)
        assert_true(a.tensors[t].scale == b.tensors[t].scale &&
                    a.tensors[t].zero == b.tensors[t].zero);
    assert_ok(quant_integer_save(again, &b));
    assert_ok(file_read(&bytes[0], &sizes[0], path, 1 << 24));
    assert_ok(file_read(&bytes[1], &sizes[1], again, 1 << 24));
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(bytes[0], bytes[1], sizes[0]);
    b.tensors[0].scale = 0; /* what cannot be loaded is not saved */
    assert_int_equal(quant_integer_save(again, &b), ERR_FORMAT);
    free(bytes[0]);
    free(bytes[1]);
    quant_integer_free(&a);
    quant_integer_free(&b);
    nn_model_free(&model);
}

/* 327,680 inputs of fc1, all 255, times weights of any size would leave int32. */
static void models_of_the_largest_input_can_be_drawn(void **state)
{
    (void)state;
    const nn_arch_t arch = {.name = "cnn", .width = 0.08, .input = 1024, .classes = 2};
    quant_integer_t model;
    rng_t rng = test_rng(77);
    assert_ok(quant_draw(&model, &arch, &rng));
    quant_integer_free(&model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(models_of_the_largest_input_can_be_drawn),
    cmocka_unit_test(check_is_exact),
    cmocka_unit_test(relu6_ends_at_six),
    cmocka_unit_test(lists_that_cannot_be_integers_are_refused),
    cmocka_unit_test(files_hold_the_whole_model),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
