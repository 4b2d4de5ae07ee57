/* The loop of quantization-aware training: what decides its result, and what it refuses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/tensors.h"
#include "tests/quant/qat_case.h"

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
    qat_case_t c;
    quant_integer_t models[3] = {0};
    quant_qat_options_t options = quant_qat_defaults();
    options.batch = BATCH;
    qat_case_make(&c, 4, false);
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
    qat_case_free(&c);
}

/* With no share of the steps in which they move, ranges stay calibration's. */
static void frozen_ranges_stay(void **state)
{
    (void)state;
    qat_case_t c;
    quant_qat_options_t options = quant_qat_defaults();
    qat_case_make(&c, 8, false);
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
    qat_case_free(&c);
}

static void scale_entry(qat_case_t *c, const char *name, float factor)
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
    qat_case_t cases[2];
    options.batch = BATCH;
    for (int i = 0; i < 2; i++) {
        qat_case_t *c = &cases[i];
        qat_case_make(c, 4, false);
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
        qat_case_free(&cases[i]);
    }
}

static void wrong_inputs_are_refused(void **state)
{
    (void)state;
    qat_case_t c;
    quant_integer_t model;
    volatile bool interrupted = true;
    quant_qat_options_t options = quant_qat_defaults();
    qat_case_make(&c, 8, false);
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
    qat_case_free(&c);
}

/* Adam's steps are bounded, so nothing short of this makes a small model's loss NaN. */
static void spoil(void *user, size_t epoch, double loss, double accuracy)
{
    qat_case_t *c = user;
    assert_true(epoch == 1 && loss > 0 && accuracy >= 0 && accuracy <= 1);
    c->model.meta.normalisation.mean[0] = NAN;
}

static void a_loss_that_is_no_number_ends_training(void **state)
{
    (void)state;
    qat_case_t c;
    quant_integer_t model;
    quant_qat_options_t options = quant_qat_defaults();
    options.batch = BATCH, options.lr = 0.125, options.epochs = 3;
    options.progress = spoil, options.user = &c;
    qat_case_make(&c, 8, false);
    assert_fails(
        quant_qat_train(&model, &c.model.meta, &c.calibration, &c.convert, &c.set, &options),
        ERR_REFUSED,
        "quantization-aware training diverged: the loss of epoch 2, batch 1 is NaN; set a "
        "rate lower than 0.125");
    assert_null(model.net);
    qat_case_free(&c);
}

static const struct CMUnitTest tests[] = {
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
