/* Folding: the same logits without BatchNorm, and what cannot be folded. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/builder.h"
#include "nn/infer.h"
#include "quant/fold.h"
#include "quant/unfold.h"
#include "tests/quant/models.h"

enum { PICTURES = 8, PIXELS = 28 * 28 * 3, CLASSES = 3 };

static void run(float *logits, const nn_state_t *state, const float *x)
{
    nn_infer_t *infer = NULL;
    assert_ok(nn_infer_new(&infer, state->net, PICTURES, 1));
    nn_infer_run(infer, logits, state, x, PICTURES);
    nn_infer_destroy(&infer);
}

static void folded_cnn_gives_the_same_logits(void **unused)
{
    (void)unused;
    nn_model_t model;
    nn_net_t *net = NULL;
    nn_state_t folded;
    static float x[PICTURES * PIXELS];
    float before[PICTURES * CLASSES], after[PICTURES * CLASSES];
    rng_t rng = test_rng(1);
    models_draw(&model);
    for (size_t i = 0; i < PICTURES * PIXELS; i++)
        x[i] = 2 * rng_float(&rng) - 1;
    assert_ok(quant_fold_net(&net, model.net));
    assert_ok(nn_state_init(&folded, net));
    assert_ok(quant_fold_state(&folded, &model.state));
    run(before, &model.state, x);
    run(after, &folded, x);
    double difference = 0, norm = 0, spread = 0;
    for (size_t i = 0; i < PICTURES * CLASSES; i++) {
        double d = (double)after[i] - (double)before[i];
        difference += d * d;
        norm += (double)before[i] * (double)before[i];
        spread = fmax(spread, fabs((double)before[i] - (double)before[i % CLASSES]));
    }
    assert_true(spread > 1e-3); /* the pictures matter */
    assert_true(sqrt(difference / norm) < 1e-5);
    nn_state_free(&folded);
    nn_net_destroy(&net);
    nn_model_free(&model);
}

/* Folded, and put on a net with BatchNorms again: the logits of the folded one. */
static void check_unfolded(const nn_arch_t *arch)
{
    const size_t pixels = arch->input * arch->input * 3;
    nn_model_t model = {.meta = {.arch = *arch}}, unfolded = {.meta = {.arch = *arch}};
    float *x = xcalloc(PICTURES * pixels, sizeof *x);
    float folded_logits[PICTURES * CLASSES], logits[PICTURES * CLASSES];
    rng_t rng = test_rng(2);
    for (size_t i = 0; i < PICTURES * pixels; i++)
        x[i] = 2 * rng_float(&rng) - 1;
    assert_ok(nn_net_new(&model.net, arch));
    assert_ok(nn_state_init(&model.state, model.net));
    nn_state_draw(&model.state, test_seed);
    for (size_t i = 0; i < model.net->entry_count; i++) {
        const nn_entry_t *e = &model.net->entries[i];
        float *values = model.state.values + e->offset;
        for (size_t k = 0; k < e->count && e->kind == NN_KIND_BN_BIAS; k++)
            values[k] = rng_float(&rng);
        for (size_t k = 0; k < e->count && e->kind == NN_KIND_RUNNING_VAR; k++)
            values[k] = 0.1f + rng_float(&rng);
    }
    assert_ok(quant_fold_net(&unfolded.net, model.net));
    assert_ok(nn_state_init(&unfolded.state, unfolded.net));
    assert_ok(quant_fold_state(&unfolded.state, &model.state));
    run(folded_logits, &unfolded.state, x);
    assert_ok(quant_unfold(&unfolded));
    assert_int_equal(unfolded.net->op_count, model.net->op_count);
    run(logits, &unfolded.state, x);
    for (size_t i = 0; i < PICTURES * CLASSES; i++)
        if (fabsf(logits[i] - folded_logits[i]) > 1e-5f * (1 + fabsf(folded_logits[i])))
            fail_msg("%s: logit %zu is %g, folded %g", arch->name, i, (double)logits[i],
                     (double)folded_logits[i]);
    const nn_net_t *net = unfolded.net;
    assert_ok(quant_unfold(&unfolded)); /* has BatchNorms: stays */
    assert_ptr_equal(unfolded.net, net);
    nn_state_free(&unfolded.state);
    nn_net_destroy(&unfolded.net);
    nn_state_free(&model.state);
    nn_net_destroy(&model.net);
    free(x);
}

static void unfolded_gives_the_logits_of_the_folded(void **unused)
{
    (void)unused;
    const nn_arch_t cnn = {.name = "cnn", .width = 0.25, .input = 28, .classes = CLASSES};
    const nn_arch_t mobilenet = {.name = "mobilenet_v2",
                                 .width = 0.25,
                                 .strides = "small",
                                 .input = 32,
                                 .classes = CLASSES,
                                 .dropout = 0.2};
    check_unfolded(&cnn);
    check_unfolded(&mobilenet);
}

static void folded_cnn_is_the_list_without_batch_norm(void **unused)
{
    (void)unused;
    static const char *const names[] = {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
                                        "conv3.weight", "conv3.bias", "fc1.weight",   "fc1.bias",
                                        "fc2.weight",   "fc2.bias",   "fc3.weight",   "fc3.bias"};
    nn_model_t model;
    nn_net_t *net = NULL;
    models_draw(&model);
    assert_ok(quant_fold_net(&net, model.net));
    assert_int_equal(net->op_count, model.net->op_count - 3);
    assert_int_equal(net->tensor_count, model.net->tensor_count - 3);
    assert_int_equal(net->counter_count, 0);
    assert_int_equal(net->entry_count, 12);
    assert_int_equal(net->float_count, net->trainable_count);
    size_t at = 0;
    for (size_t i = 0; i < 12; i++) {
        const nn_entry_t *e = &net->entries[i];
        assert_string_equal(e->name, names[i]);
        assert_int_equal(e->offset, at);
        size_t length = strlen(net->ops[e->op].name); /* "conv1" of "conv1.weight" */
        assert_true(!strncmp(net->ops[e->op].name, e->name, length) && e->name[length] == '.');
        at += e->count;
    }
    assert_int_equal(at, net->float_count);
    nn_net_destroy(&net);
    nn_model_free(&model);
}

/* A residual block, as in MobileNetV2. */
static void convolution_without_bias_gets_one(void **unused)
{
    (void)unused;
    nn_builder_t b;
    nn_net_t *net = models_begin(&b), *folded = NULL;
    nn_state_t state, to;
    int stem = nn_build_conv2d(&b, "stem.0", 0, 4, 3, 1, 1, 1, false);
    stem = nn_build_simple(&b, NN_OP_RELU6, nn_build_batch_norm(&b, "stem.1", stem));
    int deep = nn_build_conv2d(&b, "deep.0", stem, 4, 3, 1, 1, 4, false);
    deep = nn_build_batch_norm(&b, "deep.1", deep);
    int sum = nn_build_add(&b, stem, deep);
    nn_build_dense(&b, "last", nn_build_simple(&b, NN_OP_GLOBAL_AVG_POOL, sum), 2);
    assert_false(b.failed);
    assert_ok(quant_fold_net(&folded, net));
    assert_int_equal(folded->op_count, net->op_count - 2);
    assert_int_equal(nn_net_find(folded, "deep.0.bias"), 3);
    assert_int_equal(nn_net_find(folded, "deep.1.bias"), NN_NONE);
    const nn_op_t *add = &folded->ops[3];
    assert_int_equal(add->kind, NN_OP_ADD);
    assert_int_equal(add->in[0], folded->ops[1].out); /* relu6 */
    assert_int_equal(add->in[1], folded->ops[2].out); /* deep.0 */

    assert_ok(nn_state_init(&state, net));
    assert_ok(nn_state_init(&to, folded));
    nn_state_draw(&state, test_seed);
    models_values(&state, "deep.0.weight")[9] = 0.3f; /* channel 1 */
    models_values(&state, "deep.1.weight")[1] = -2.0f;
    models_values(&state, "deep.1.bias")[1] = 0.25f;
    models_values(&state, "deep.1.running_mean")[1] = 5.0f;
    models_values(&state, "deep.1.running_var")[1] = 4.0f;
    assert_ok(quant_fold_state(&to, &state));
    double g = -2.0 / sqrt(4.0 + (double)1e-5f);
    assert_true(models_values(&to, "deep.0.weight")[9] == (float)((double)0.3f * g));
    assert_true(models_values(&to, "deep.0.bias")[1] == (float)(0.25 - 5.0 * g));
    assert_true(models_values(&to, "last.bias")[1] == models_values(&state, "last.bias")[1]);
    nn_state_free(&state);
    nn_state_free(&to);
    nn_net_destroy(&folded);
    nn_net_destroy(&net);
}

static void batch_norm_without_convolution_is_refused(void **unused)
{
    (void)unused;
    nn_builder_t b;
    nn_net_t *net = models_begin(&b), *folded = NULL;
    int t = nn_build_batch_norm(&b, "first", 0);
    nn_build_dense(&b, "last", nn_build_simple(&b, NN_OP_FLATTEN, t), 2);
    assert_fails(quant_fold_net(&folded, net), ERR_CONFIG,
                 "\"first\" cannot be folded: it follows no convolution");
    assert_null(folded);
    nn_net_destroy(&net);
}

static void convolution_that_others_read_is_refused(void **unused)
{
    (void)unused;
    nn_builder_t b;
    nn_net_t *net = models_begin(&b), *folded = NULL;
    int conv = nn_build_conv2d(&b, "conv", 0, 4, 1, 1, 0, 1, true);
    int t = nn_build_add(&b, conv, nn_build_batch_norm(&b, "norm", conv));
    nn_build_dense(&b, "last", nn_build_simple(&b, NN_OP_FLATTEN, t), 2);
    assert_fails(quant_fold_net(&folded, net), ERR_CONFIG,
                 "\"norm\" cannot be folded: others read the output of \"conv\" too");
    nn_net_destroy(&net);
}

static void numbers_that_are_none_are_named(void **unused)
{
    (void)unused;
    nn_model_t model;
    nn_net_t *net = NULL;
    nn_state_t folded;
    models_draw(&model);
    assert_ok(quant_fold_net(&net, model.net));
    assert_ok(nn_state_init(&folded, net));
    float *value = &models_values(&model.state, "fc2.weight")[5], kept = *value;
    *value = NAN;
    assert_fails(quant_fold_state(&folded, &model.state), ERR_FORMAT,
                 "tensor \"fc2.weight\" element 5 is NaN: the model is of no use");
    *value = kept;
    models_values(&model.state, "bn2.weight")[0] = 3e38f;
    models_values(&model.state, "bn2.running_var")[0] = 0;
    models_values(&model.state, "conv2.weight")[0] = 2.0f;
    assert_fails(quant_fold_state(&folded, &model.state), ERR_FORMAT,
                 "tensor \"conv2.weight\" element 0 is infinite with its BatchNorm folded in: the "
                 "BatchNorm's scale is too large");
    nn_state_free(&folded);
    nn_net_destroy(&net);
    nn_model_free(&model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(folded_cnn_gives_the_same_logits),
    cmocka_unit_test(unfolded_gives_the_logits_of_the_folded),
    cmocka_unit_test(folded_cnn_is_the_list_without_batch_norm),
    cmocka_unit_test(convolution_without_bias_gets_one),
    cmocka_unit_test(batch_norm_without_convolution_is_refused),
    cmocka_unit_test(convolution_that_others_read_is_refused),
    cmocka_unit_test(numbers_that_are_none_are_named),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
