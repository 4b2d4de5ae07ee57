/* Quantization-aware training: the list it trains, its gradient, that integers say what it saw. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/infer.h"
#include "nn/kernels.h"
#include "quant/convert.h"
#include "quant/qat_net.h"
#include "quant/tensors.h"
#include "tests/nn/support.h"
#include "tests/quant/qat_case.h"

static void first_batch(const qat_case_t *c, float *x, int32_t *labels)
{
    uint32_t order[BATCH];
    for (uint32_t i = 0; i < BATCH; i++)
        order[i] = i;
    data_batch(x, labels, &c->set, order, BATCH, &c->model.meta.normalisation, NULL, NULL);
}

/* The list that FAKE_QUANTs were put in, checked operation by operation against the folded one. */
static void check_list(const char *name, const char *strides, size_t input)
{
    nn_net_t *net = NULL, *folded = NULL, *rounded = NULL;
    nn_arch_t arch = {.name = "", .width = 0.25, .input = input, .classes = 3, .dropout = 0.2};
    snprintf(arch.name, sizeof arch.name, "%s", name);
    snprintf(arch.strides, sizeof arch.strides, "%s", strides);
    assert_ok(nn_net_new(&net, &arch));
    assert_ok(quant_fold_net(&folded, net));
    assert_ok(quant_qat_net(&rounded, folded));
    assert_int_equal(rounded->float_count, folded->float_count);
    assert_memory_equal(rounded->tensors, folded->tensors,
                        folded->tensor_count * sizeof *folded->tensors);
    size_t k = 0, operands = 0, roundings = 0;
    for (size_t i = 0; i < folded->op_count; i++, k++) {
        const nn_op_t *a = &folded->ops[i], *b = &rounded->ops[k];
        assert_true(a->kind == b->kind && a->out == b->out && a->weight == b->weight);
        assert_true(b->weight == NN_NONE || &rounded->ops[rounded->entries[b->weight].op] == b);
        assert_true(b->dropout == 0);
        for (int j = 0; j < 2 && a->in[j] > 0; j++) {
            const nn_op_t *before = &rounded->ops[quant_tensor_writer(rounded, b->in[j])];
            if (quant_op_shares(a))
                assert_int_equal(b->in[j], a->in[j]);
            else
                assert_true(before->kind == NN_OP_FAKE_QUANT && before->in[0] == a->in[j]);
        }
        if (quant_tensor_is_operand(folded, a->out))
            assert_int_equal(rounded->ops[++k].kind, NN_OP_FAKE_QUANT);
    }
    for (size_t t = 1; t < folded->tensor_count; t++)
        operands += quant_tensor_is_operand(folded, (int)t);
    for (size_t i = 0; i < rounded->op_count; i++)
        roundings += rounded->ops[i].kind == NN_OP_FAKE_QUANT;
    assert_int_equal(k, rounded->op_count);
    assert_true(roundings == operands && roundings > 4);
    nn_net_destroy(&rounded);
    nn_net_destroy(&folded);
    nn_net_destroy(&net);
}

static void whatever_computes_reads_rounded_tensors(void **state)
{
    (void)state;
    check_list("cnn", "", 28);
    check_list("mobilenet_v2", "small", 32);
}

static void weights_are_rounded_as_pytorch_rounds_them(void **state)
{
    (void)state;
    enum { ROWS = 7, COUNT = 45 };
    static const int bits[] = {8, 4, 2};
    safetensors_t *file = NULL;
    float *w = formula_new(2, ROWS * COUNT, 0.3f), rounded[ROWS * COUNT];
    assert_ok(safetensors_open(&file, GOLDEN_DIR "/nn_fake_quant.safetensors"));
    for (size_t b = 0; b < 3; b++) {
        char name[32];
        int8_t q[COUNT];
        const int levels = (1 << (bits[b] - 1)) - 1;
        for (size_t r = 0; r < ROWS; r++) {
            float scale = quant_row_scale(w + r * COUNT, COUNT, levels);
            quant_row_round(q, w + r * COUNT, COUNT, scale, levels);
            for (size_t i = 0; i < COUNT; i++)
                rounded[r * COUNT + i] = (float)q[i] * scale;
        }
        snprintf(name, sizeof name, "weights%d", bits[b]);
        check_near(name, rounded, golden(file, name, ROWS * COUNT), ROWS * COUNT, 1e-6);
        /* Nothing is cut off, so all gradients pass: what quant_qat_differentiate takes for given.
         */
        float *passed = formula_new(5, ROWS * COUNT, 1);
        snprintf(name, sizeof name, "weights%d.d", bits[b]);
        check_near(name, passed, golden(file, name, ROWS * COUNT), ROWS * COUNT, 1e-6);
        free(passed);
    }
    free(w);
    safetensors_close(&file);
}

/* Weights of the folded net as integers say them: quant_convert without bias correction. */
static void dequantize(nn_state_t *rounded, const quant_integer_t *model, const nn_state_t *folded)
{
    nn_state_copy(rounded, folded);
    for (size_t i = 0; i < model->net->op_count; i++) {
        const nn_op_t *op = &model->net->ops[i];
        if (!quant_op_has_weights(op))
            continue;
        const nn_entry_t *e = &model->net->entries[op->weight];
        const size_t inputs = e->count / e->shape[0];
        for (size_t k = 0; k < e->count; k++)
            rounded->values[e->offset + k] =
                (float)model->layers[i].weight[k] * model->layers[i].scale[k / inputs];
    }
}

static void check_gradient(int bits, bool per_tensor)
{
    qat_case_t c;
    quant_qat_t *qat = NULL;
    quant_integer_t model = {0};
    nn_net_t *list = NULL;
    nn_state_t rounded;
    nn_trainer_t *trainer = NULL;
    static float x[BATCH * PIXELS], same[BATCH * PIXELS];
    int32_t labels[BATCH];
    size_t correct, expected_correct;
    double loss, expected_loss;
    const nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.1f);
    qat_case_make(&c, bits, per_tensor);
    first_batch(&c, x, labels);
    memcpy(same, x, sizeof x);
    assert_ok(quant_qat_new(&qat, &c.start, &c.convert, BATCH, 1, &sgd));
    quant_qat_differentiate(qat, &c.folded, &loss, &correct, x, labels, BATCH);
    assert_ok(quant_qat_convert(&model, qat, &c.folded, &c.model.meta));
    /* The same by hand: the model's numbers in a list of its own. */
    assert_ok(quant_qat_net(&list, c.net));
    for (size_t i = 0; i < list->op_count; i++) {
        nn_op_t *op = &list->ops[i];
        if (op->kind == NN_OP_FAKE_QUANT)
            op->scale = model.tensors[op->in[0]].scale,
            op->zero = (float)model.tensors[op->in[0]].zero;
    }
    nn_kernels()->fake_quant(same, same, model.tensors[0].scale, (float)model.tensors[0].zero,
                             BATCH * PIXELS);
    assert_ok(nn_state_init(&rounded, list));
    dequantize(&rounded, &model, &c.folded);
    assert_ok(nn_trainer_new(&trainer, list, BATCH, 1, &sgd));
    nn_trainer_differentiate(trainer, &rounded, &expected_loss, &expected_correct, same, labels,
                             BATCH, NULL);
    assert_true(loss == expected_loss && correct == expected_correct);
    assert_memory_equal(x, same, sizeof x);
    assert_memory_equal(quant_qat_gradients(qat), nn_trainer_gradients(trainer),
                        list->float_count * sizeof(float));
    nn_trainer_destroy(&trainer);
    nn_state_free(&rounded);
    nn_net_destroy(&list);
    quant_integer_free(&model);
    quant_qat_destroy(&qat);
    qat_case_free(&c);
}

static void gradients_are_those_at_the_rounded_weights(void **state)
{
    (void)state;
    check_gradient(8, false);
    check_gradient(3, false);
    check_gradient(4, true);
}

/* What training computes with is what the integers compute with: their logits are near one another
 * and far from the float model's. */
static void compare_logits(const qat_case_t *c)
{
    const size_t pixels = c->set.height * c->set.width * 3, classes = c->set.class_count;
    const size_t count = BATCH * classes;
    quant_qat_t *qat = NULL;
    quant_integer_t model = {0};
    nn_infer_t *infer = NULL;
    float *x = zeros_new(BATCH * pixels), *whole = zeros_new(BATCH * pixels);
    float *floats = zeros_new(count), *integers = zeros_new(count);
    int32_t labels[BATCH];
    double loss, near = 0, far = 0;
    size_t correct;
    const nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.1f);
    first_batch(c, x, labels);
    memcpy(whole, x, BATCH * pixels * sizeof *x);
    assert_ok(quant_qat_new(&qat, &c->start, &c->convert, BATCH, 1, &sgd));
    quant_qat_differentiate(qat, &c->folded, &loss, &correct, x, labels, BATCH);
    assert_ok(quant_qat_convert(&model, qat, &c->folded, &c->model.meta));
    assert_ok(nn_infer_new(&infer, c->net, BATCH, 1));
    nn_infer_run(infer, floats, &c->folded, whole, BATCH);
    const float *simulated = nn_trainer_logits(quant_qat_trainer(qat));
    for (size_t i = 0; i < BATCH; i++)
        quant_integer_reference(integers + classes * i, NULL, &model, whole + i * pixels);
    for (size_t i = 0; i < count; i++) {
        near += pow((double)simulated[i] - (double)integers[i], 2);
        far += pow((double)floats[i] - (double)integers[i], 2);
    }
    /* They differ where the order of sums puts a value on the other side of half a step. */
    if (!(sqrt(near) < sqrt(far) / 3))
        print_error("simulated %g, float %g from the integers\n", sqrt(near), sqrt(far));
    assert_true(sqrt(near) < sqrt(far) / 3);
    nn_infer_destroy(&infer);
    quant_integer_free(&model);
    quant_qat_destroy(&qat);
    float *all[] = {x, whole, floats, integers};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void training_sees_what_the_integers_will_say(void **state)
{
    (void)state;
    qat_case_t c;
    qat_case_make(&c, 8, false);
    compare_logits(&c);
    qat_case_free(&c);
}

/* Additions, ReLU6, depthwise convolutions and the mean of an inverted residual. (A whole
 * mobilenet_v2 of random weights makes much of every last bit.) */
static void so_it_does_with_residuals(void **state)
{
    (void)state;
    qat_case_t c = {.convert = quant_convert_defaults()};
    nn_builder_t b;
    nn_net_t *net = c.model.net = empty_net(&b, 28, 28, 3, 3);
    int t = nn_build_conv2d(&b, "stem", 0, 8, 3, 2, 1, 1, true), in;
    in = t = nn_build_simple(&b, NN_OP_RELU6, t);
    t = nn_build_conv2d(&b, "depth", t, 8, 3, 1, 1, 8, true);
    t = nn_build_simple(&b, NN_OP_RELU6, t);
    t = nn_build_conv2d(&b, "project", t, 8, 1, 1, 0, 1, true);
    t = nn_build_add(&b, t, in);
    t = nn_build_simple(&b, NN_OP_GLOBAL_AVG_POOL, t);
    t = nn_build_simple(&b, NN_OP_FLATTEN, t);
    nn_build_dense(&b, "classifier", t, 3);
    assert_false(b.failed);
    net->arch.input = 28;
    net->arch.width = 1;
    models_pictures(&c.set, PICTURES);
    assert_ok(nn_state_init(&c.model.state, net));
    nn_state_draw(&c.model.state, test_seed);
    c.model.meta =
        (nn_model_meta_t){.arch = net->arch, .normalisation = data_normalisation_default()};
    qat_case_calibrate(&c, PICTURES);
    compare_logits(&c);
    qat_case_free(&c);
}

/* A share of 1 is the last batch's own range, 0 none of it; a RELU's begins at 0. */
static void ranges_follow_what_batches_hold(void **state)
{
    (void)state;
    qat_case_t c;
    quant_qat_t *qat = NULL;
    quant_integer_t before = {0}, after = {0};
    static float x[BATCH * PIXELS];
    int32_t labels[BATCH];
    double loss;
    size_t correct;
    const nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.1f);
    qat_case_make(&c, 8, false);
    first_batch(&c, x, labels);
    assert_ok(quant_qat_new(&qat, &c.start, &c.convert, BATCH, 1, &sgd));
    quant_qat_differentiate(qat, &c.folded, &loss, &correct, x, labels, BATCH);
    quant_qat_observe(qat, 0);
    assert_ok(quant_qat_convert(&before, qat, &c.folded, &c.model.meta));
    for (size_t t = 0; t < c.net->tensor_count; t++)
        assert_true(fabsf(before.tensors[t].scale - c.start.tensors[t].scale) <=
                    1e-6f * c.start.tensors[t].scale);
    quant_qat_observe(qat, 1);
    assert_ok(quant_qat_convert(&after, qat, &c.folded, &c.model.meta));
    for (size_t i = 0; i < c.net->op_count; i++) {
        const nn_op_t *op = &c.net->ops[i];
        float largest = 0;
        if (op->kind != NN_OP_RELU)
            continue;
        const nn_shape_t shape = c.net->tensors[op->out];
        const float *y = nn_trainer_activation(quant_qat_trainer(qat), op->out);
        for (size_t k = 0; k < BATCH * shape.height * shape.width * shape.channels; k++)
            largest = fmaxf(largest, y[k]);
        assert_true(after.tensors[op->out].zero == 0);
        assert_true(fabsf(after.tensors[op->out].scale * 255 - largest) <= 1e-5f * largest);
    }
    quant_integer_free(&before);
    quant_integer_free(&after);
    quant_qat_destroy(&qat);
    qat_case_free(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(whatever_computes_reads_rounded_tensors),
    cmocka_unit_test(weights_are_rounded_as_pytorch_rounds_them),
    cmocka_unit_test(gradients_are_those_at_the_rounded_weights),
    cmocka_unit_test(training_sees_what_the_integers_will_say),
    cmocka_unit_test(so_it_does_with_residuals),
    cmocka_unit_test(ranges_follow_what_batches_hold),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
