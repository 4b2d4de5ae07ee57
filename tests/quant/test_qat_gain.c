/* What quantization-aware training is for: a small model learns drawn pictures, loses accuracy when
 * it is made of few bits after training, and gets it back by training with them. Every step from
 * the seed. */
#include <stdio.h>

#include "nn/infer.h"
#include "nn/schedule.h"
#include "quant/engine.h"
#include "quant/fold.h"
#include "quant/qat.h"
#include "tests/quant/models.h"

enum { SIZE = 32, CLASSES = 10, PICTURES = 1500, TRAIN = 900, BATCH = 30, EPOCHS = 20 };

static nn_model_t model; /* trained, with its BatchNorms */
static nn_net_t *folded_net;
static nn_state_t folded;
static data_set_t train, test;

static void train_model(void)
{
    static float x[BATCH * SIZE * SIZE * 3];
    int32_t labels[BATCH];
    uint32_t order[TRAIN];
    double loss;
    size_t correct;
    nn_trainer_t *trainer = NULL;
    const nn_optimizer_t adam = nn_optimizer_default(NN_ADAM, 2e-3f);
    assert_ok(nn_trainer_new(&trainer, model.net, BATCH, 1, &adam));
    const nn_schedule_t cosine = {.kind = NN_SCHEDULE_COSINE,
                                  .lr = 4e-3}; /* until no more is learned */
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        data_epoch_order(order, TRAIN, test_seed, 0, epoch);
        for (size_t at = 0; at < TRAIN; at += BATCH) {
            data_batch(x, labels, &train, order + at, BATCH, &model.meta.normalisation, NULL, NULL);
            nn_trainer_set_lr(
                trainer, (float)nn_schedule_lr(&cosine, epoch, EPOCHS, at / BATCH, TRAIN / BATCH));
            nn_trainer_step(trainer, &model.state, &loss, &correct, x, labels, BATCH, NULL);
        }
    }
    nn_trainer_destroy(&trainer);
}

/* Once, by the first test that runs. */
static void setup(void)
{
    if (model.net)
        return;
    const nn_arch_t arch = {.name = "cnn", .width = 0.25, .input = SIZE, .classes = CLASSES};
    models_landscapes(&train, TRAIN, &test, PICTURES - TRAIN, SIZE);
    assert_ok(nn_net_new(&model.net, &arch));
    assert_ok(nn_state_init(&model.state, model.net));
    nn_state_draw(&model.state, test_seed);
    model.meta = (nn_model_meta_t){
        .arch = arch, .normalisation = data_normalisation_default(), .precision = "fp32"};
    train_model();
    assert_ok(quant_fold_net(&folded_net, model.net));
    assert_ok(nn_state_init(&folded, folded_net));
    assert_ok(quant_fold_state(&folded, &model.state));
}

static void teardown(void)
{
    data_set_free(&train);
    data_set_free(&test);
    nn_state_free(&folded);
    nn_net_destroy(&folded_net);
    nn_model_free(&model);
}

static double accuracy_of_floats(void)
{
    nn_infer_t *infer = NULL;
    nn_metrics_t metrics;
    assert_ok(nn_infer_new(&infer, folded_net, BATCH, 1));
    assert_ok(nn_evaluate(&metrics, infer, &folded, &test, &model.meta.normalisation, NULL));
    const double accuracy = 100 * metrics.accuracy;
    nn_metrics_free(&metrics);
    nn_infer_destroy(&infer);
    return accuracy;
}

static double accuracy_of(const quant_integer_t *integers)
{
    static float x[SIZE * SIZE * 3];
    float logits[CLASSES];
    int32_t label;
    size_t right = 0;
    quant_engine_t *engine = NULL;
    assert_ok(quant_engine_new(&engine, integers, 1, 1));
    for (uint32_t i = 0; i < test.count; i++) {
        data_batch(x, &label, &test, &i, 1, &model.meta.normalisation, NULL, NULL);
        quant_engine_run(engine, logits, x, 1);
        int best = 0;
        for (int k = 1; k < CLASSES; k++)
            best = logits[k] > logits[best] ? k : best;
        right += best == label;
    }
    quant_engine_destroy(&engine);
    return 100 * (double)right / (double)test.count;
}

/* Half of what rounding after training loses, where that is more than a point. */
static void check(int bits, bool per_tensor)
{
    quant_convert_options_t convert = quant_convert_defaults();
    quant_qat_options_t options = quant_qat_defaults();
    quant_integer_t after = {0}, aware = {0};
    const quant_calibration_t calibration = {.folded = &folded,
                                             .set = &train,
                                             .count = 200,
                                             .normalisation = &model.meta.normalisation,
                                             .threads = 1};
    convert.weight_bits = bits;
    convert.per_tensor = per_tensor;
    options.epochs = 4;
    options.seed = test_seed;
    assert_ok(quant_calibrate(&after, &model.meta, &calibration, &convert));
    assert_ok(quant_qat_train(&aware, &model.meta, &calibration, &convert, &train, &options));
    const double whole = accuracy_of_floats(), lost = accuracy_of(&after),
                 won = accuracy_of(&aware);
    print_message("%d bits%s: float %.2f %%, rounded after training %.2f %%, while %.2f %% (%zu "
                  "pictures)\n",
                  bits, per_tensor ? ", a scale a layer" : "", whole, lost, won, test.count);
    assert_true(whole - lost > 1);
    assert_true(whole - won <= 0.5 * (whole - lost));
    quant_integer_free(&after);
    quant_integer_free(&aware);
}

static void four_bits_with_a_scale_a_layer(void **state)
{
    (void)state;
    setup();
    check(4, true);
}

static void three_bits_with_a_scale_a_channel(void **state)
{
    (void)state;
    setup();
    check(3, false);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(four_bits_with_a_scale_a_layer),
    cmocka_unit_test(three_bits_with_a_scale_a_channel),
};

int main(int argc, char **argv)
{
    int status = TEST_MAIN(argc, argv, tests);
    teardown();
    return status;
}
