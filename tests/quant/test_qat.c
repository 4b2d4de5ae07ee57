/* Quantization-aware training: the list it trains, its gradient, what it makes, what it is good
 * for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/infer.h"
#include "nn/kernels.h"
#include "quant/convert.h"
#include "quant/fold.h"
#include "quant/qat.h"
#include "quant/qat_net.h"
#include "quant/tensors.h"
#include "tests/nn/support.h"
#include "tests/quant/models.h"

/* A model of tests/quant/models.h, folded, with pictures of noise and post-training integers. */
typedef struct {
    nn_model_t model;
    nn_net_t *net;
    nn_state_t folded;
    data_set_t set;
    quant_calibration_t calibration;
    quant_convert_options_t convert;
    quant_integer_t start;
} case_t;

enum { PICTURES = 60, BATCH = 16, PIXELS = 28 * 28 * 3 };

static void make_case(case_t *c, int bits, bool per_tensor)
{
    *c = (case_t){.convert = quant_convert_defaults()};
    c->convert.weight_bits = bits;
    c->convert.per_tensor = per_tensor;
    models_draw(&c->model);
    models_pictures(&c->set, PICTURES);
    assert_ok(quant_fold_net(&c->net, c->model.net));
    assert_ok(nn_state_init(&c->folded, c->net));
    assert_ok(quant_fold_state(&c->folded, &c->model.state));
    c->calibration = (quant_calibration_t){.folded = &c->folded,
                                           .set = &c->set,
                                           .count = PICTURES,
                                           .normalisation = &c->model.meta.normalisation,
                                           .threads = 1};
    assert_ok(quant_calibrate(&c->start, &c->model.meta, &c->calibration, &c->convert));
}

static void free_case(case_t *c)
{
    quant_integer_free(&c->start);
    data_set_free(&c->set);
    nn_state_free(&c->folded);
    nn_net_destroy(&c->net);
    nn_model_free(&c->model);
}

static void first_batch(const case_t *c, float *x, int32_t *labels)
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
    case_t c;
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
    make_case(&c, bits, per_tensor);
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
    free_case(&c);
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
static void training_sees_what_the_integers_will_say(void **state)
{
    (void)state;
    case_t c;
    quant_qat_t *qat = NULL;
    quant_integer_t model = {0};
    nn_infer_t *infer = NULL;
    static float x[BATCH * PIXELS], whole[BATCH * PIXELS];
    float floats[BATCH * 3], integers[BATCH * 3];
    int32_t labels[BATCH];
    double loss, near = 0, far = 0;
    size_t correct;
    const nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.1f);
    make_case(&c, 8, false);
    first_batch(&c, x, labels);
    memcpy(whole, x, sizeof x);
    assert_ok(quant_qat_new(&qat, &c.start, &c.convert, BATCH, 1, &sgd));
    quant_qat_differentiate(qat, &c.folded, &loss, &correct, x, labels, BATCH);
    assert_ok(quant_qat_convert(&model, qat, &c.folded, &c.model.meta));
    assert_ok(nn_infer_new(&infer, c.net, BATCH, 1));
    nn_infer_run(infer, floats, &c.folded, whole, BATCH);
    const float *simulated = nn_trainer_logits(quant_qat_trainer(qat));
    for (size_t i = 0; i < BATCH; i++)
        quant_integer_reference(integers + 3 * i, NULL, &model, whole + i * PIXELS);
    for (size_t i = 0; i < BATCH * 3; i++) {
        near += pow((double)simulated[i] - (double)integers[i], 2);
        far += pow((double)floats[i] - (double)integers[i], 2);
    }
    if (!(sqrt(near) < 0.2 * sqrt(far)))
        print_error("simulated %g, float %g from the integers\n", sqrt(near), sqrt(far));
    assert_true(sqrt(near) < 0.2 * sqrt(far));
    nn_infer_destroy(&infer);
    quant_integer_free(&model);
    quant_qat_destroy(&qat);
    free_case(&c);
}

/* A share of 1 is the last batch's own range, 0 none of it; a RELU's begins at 0. */
static void ranges_follow_what_batches_hold(void **state)
{
    (void)state;
    case_t c;
    quant_qat_t *qat = NULL;
    quant_integer_t before = {0}, after = {0};
    static float x[BATCH * PIXELS];
    int32_t labels[BATCH];
    double loss;
    size_t correct;
    const nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.1f);
    make_case(&c, 8, false);
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
    free_case(&c);
}

static bool equal(const quant_integer_t *a, const quant_integer_t *b)
{
    bool same = !memcmp(a->tensors, b->tensors, a->net->tensor_count * sizeof *a->tensors);
    for (size_t i = 0; i < a->net->op_count; i++) {
        if (a->net->ops[i].weight == NN_NONE)
            continue;
        const nn_entry_t *e = &a->net->entries[a->net->ops[i].weight];
        same &= !memcmp(a->layers[i].weight, b->layers[i].weight, e->count) &&
                !memcmp(a->layers[i].scale, b->layers[i].scale, e->shape[0] * sizeof(float));
    }
    return same;
}

static void the_seed_decides_everything(void **state)
{
    (void)state;
    case_t c;
    quant_integer_t models[3] = {0};
    quant_qat_options_t options = quant_qat_defaults();
    options.batch = BATCH;
    make_case(&c, 4, false);
    float *before = calloc(c.net->float_count, sizeof *before);
    memcpy(before, c.folded.values, c.net->float_count * sizeof *before);
    for (size_t i = 0; i < 3; i++) {
        options.seed = 1 + i / 2;
        assert_ok(quant_qat_train(&models[i], &c.model.meta, &c.calibration, &c.convert, &c.set,
                                  &options));
        assert_ok(quant_integer_check(&models[i]));
    }
    assert_true(equal(&models[0], &models[1]));
    assert_false(equal(&models[0], &models[2]));
    assert_memory_equal(before, c.folded.values, c.net->float_count * sizeof *before);
    for (size_t i = 0; i < 3; i++)
        quant_integer_free(&models[i]);
    free(before);
    free_case(&c);
}

/* With no share of the steps in which they move, ranges stay calibration's. */
static void frozen_ranges_stay(void **state)
{
    (void)state;
    case_t c;
    quant_qat_options_t options = quant_qat_defaults();
    make_case(&c, 8, false);
    options.batch = BATCH, options.epochs = 2;
    for (int moving = 0; moving < 2; moving++) {
        quant_integer_t model;
        size_t moved = 0;
        options.observe = 0.5 * moving;
        assert_ok(
            quant_qat_train(&model, &c.model.meta, &c.calibration, &c.convert, &c.set, &options));
        for (size_t t = 0; t < c.net->tensor_count; t++)
            moved += fabsf(model.tensors[t].scale - c.start.tensors[t].scale) >
                     1e-6f * c.start.tensors[t].scale;
        assert_true(moving ? moved > 5 : moved == 0);
        quant_integer_free(&model);
    }
    free_case(&c);
}

static void scale_entry(case_t *c, const char *name, float factor)
{
    float *values = models_values(&c->folded, name);
    for (size_t i = 0; i < c->net->entries[nn_net_find(c->net, name)].count; i++)
        values[i] *= factor;
}

/* Folding leaves layers and channels of very different sizes: the same function in other sizes
 * learns the same, to the bit, because sizes are powers of two. */
static void layers_of_any_size_learn_alike(void **state)
{
    (void)state;
    quant_integer_t models[2];
    quant_qat_options_t options = quant_qat_defaults();
    case_t cases[2];
    options.batch = BATCH;
    for (int i = 0; i < 2; i++) {
        case_t *c = &cases[i];
        make_case(c, 4, false);
        if (i == 1) {
            scale_entry(c, "fc1.weight", 1024);
            scale_entry(c, "fc1.bias", 1024);
            scale_entry(c, "fc2.weight", 1.0f / 1024);
        }
        assert_ok(quant_qat_train(&models[i], &c->model.meta, &c->calibration, &c->convert, &c->set,
                                  &options));
    }
    for (size_t i = 0; i < models[0].net->op_count; i++) {
        if (!quant_op_has_weights(&models[0].net->ops[i]))
            continue;
        const nn_entry_t *e = &models[0].net->entries[models[0].net->ops[i].weight];
        assert_memory_equal(models[0].layers[i].weight, models[1].layers[i].weight, e->count);
        assert_memory_equal(models[0].layers[i].bias, models[1].layers[i].bias,
                            e->shape[0] * sizeof(int32_t));
    }
    for (int i = 0; i < 2; i++) {
        quant_integer_free(&models[i]);
        free_case(&cases[i]);
    }
}

static void wrong_inputs_are_refused(void **state)
{
    (void)state;
    case_t c;
    quant_integer_t model;
    volatile bool interrupted = true;
    quant_qat_options_t options = quant_qat_defaults();
    make_case(&c, 8, false);
#define REFUSED(code, text)                                                                        \
    do {                                                                                           \
        assert_fails(                                                                              \
            quant_qat_train(&model, &c.model.meta, &c.calibration, &c.convert, &c.set, &options),  \
            code, "quantization-aware training " text);                                            \
        assert_null(model.net);                                                                    \
        err_clear();                                                                               \
    } while (0)
    options.epochs = 0;
    REFUSED(ERR_CONFIG, "for 0 epochs: 1 to 10000 are possible");
    options.epochs = 1, options.batch = 1;
    REFUSED(ERR_CONFIG, "with batches of 1: 2 to 65536 are possible");
    options.batch = BATCH, options.lr = NAN;
    REFUSED(ERR_CONFIG, "with a rate of nan: above 0, at most 1");
    options.lr = 1e-3, options.interrupted = &interrupted;
    REFUSED(ERR_REFUSED, "interrupted");
    options.interrupted = NULL, c.set.count = 29, c.calibration.count = 20;
    REFUSED(ERR_CONFIG, "on 29 pictures: with 3 classes it takes at least 30, and hundreds a class "
                        "are good");
    c.set.count = PICTURES, c.set.class_count = 4;
    REFUSED(ERR_CONFIG, "on data of 4 classes: the model has 3");
    c.set.class_count = 3, c.set.height = 27;
    REFUSED(ERR_CONFIG, "on pictures of 28x27: the model takes 28x28");
#undef REFUSED
    c.set.height = 28;
    free_case(&c);
}

/* Adam's steps are bounded, so nothing short of this makes a small model's loss NaN. */
static void spoil(void *user, size_t epoch, double loss, double accuracy)
{
    case_t *c = user;
    assert_true(epoch == 1 && loss > 0 && accuracy >= 0 && accuracy <= 1);
    c->model.meta.normalisation.mean[0] = NAN;
}

static void a_loss_that_is_no_number_ends_training(void **state)
{
    (void)state;
    case_t c;
    quant_integer_t model;
    quant_qat_options_t options = quant_qat_defaults();
    options.batch = BATCH, options.lr = 0.125, options.epochs = 3;
    options.progress = spoil, options.user = &c;
    make_case(&c, 8, false);
    assert_fails(
        quant_qat_train(&model, &c.model.meta, &c.calibration, &c.convert, &c.set, &options),
        ERR_REFUSED,
        "quantization-aware training diverged: the loss of epoch 2, batch 1 is NaN; set a "
        "rate lower than 0.125");
    assert_null(model.net);
    free_case(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(whatever_computes_reads_rounded_tensors),
    cmocka_unit_test(weights_are_rounded_as_pytorch_rounds_them),
    cmocka_unit_test(gradients_are_those_at_the_rounded_weights),
    cmocka_unit_test(training_sees_what_the_integers_will_say),
    cmocka_unit_test(ranges_follow_what_batches_hold),
    cmocka_unit_test(the_seed_decides_everything),
    cmocka_unit_test(frozen_ranges_stay),
    cmocka_unit_test(layers_of_any_size_learn_alike),
    cmocka_unit_test(wrong_inputs_are_refused),
    cmocka_unit_test(a_loss_that_is_no_number_ends_training),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
