/* An unlucky model: some of its channels are dead and their folded weights range over three
 * decades. A scale for each channel keeps its accuracy, one for a whole layer does not. */
#include <math.h>
#include <stdio.h>

#include "nn/train.h"
#include "quant/quant.h"
#include "tests/quant/models.h"

enum {
    SIZE = 32,
    CLASSES = 10,
    PICTURES = 900,
    TRAIN = 500,
    BATCH = 25,
    EPOCHS = 8,
    CALIBRATION = 100
};

/* Every third channel dead: behind its BatchNorm nothing is ever above 0, so the ReLU gives 0,
 * training leaves it, and its weights may be as large as they are: from 1 to 1000 times, evenly in
 * the logarithm. */
static void kill_channels(nn_state_t *state)
{
    const nn_net_t *net = state->net;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (op->kind != NN_OP_BATCH_NORM)
            continue;
        size_t channels = net->entries[op->weight].count;
        float *gamma = state->values + net->entries[op->weight].offset;
        float *beta = state->values + net->entries[op->bias].offset;
        for (size_t c = 1; c < channels; c += 3) {
            gamma[c] = powf(10, 3 * (float)c / (float)(channels - 1));
            beta[c] = -20 * gamma[c];
        }
    }
}

static void train_model(nn_model_t *model, const data_set_t *train)
{
    static float x[BATCH * SIZE * SIZE * 3];
    int32_t labels[BATCH];
    uint32_t order[TRAIN];
    double loss;
    size_t correct;
    nn_trainer_t *trainer = NULL;
    const nn_optimizer_t adam = nn_optimizer_default(NN_ADAM, 3e-3f);
    assert_ok(nn_trainer_new(&trainer, model->net, BATCH, 1, &adam));
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        data_epoch_order(order, TRAIN, test_seed, 0, epoch);
        for (size_t at = 0; at < TRAIN; at += BATCH) {
            data_batch(x, labels, train, order + at, BATCH, &model->meta.normalisation, NULL, NULL);
            nn_trainer_step(trainer, &model->state, &loss, &correct, x, labels, BATCH, NULL);
        }
    }
    nn_trainer_destroy(&trainer);
}

static void a_scale_a_channel_keeps_what_a_scale_a_layer_loses(void **unused)
{
    (void)unused;
    static const quant_precision_t int8[] = {QUANT_INT8};
    nn_model_t model = {.meta = {.arch = {"cnn", 0.5, "", SIZE, CLASSES, 0},
                                 .normalisation = data_normalisation_default(),
                                 .precision = "fp32"}};
    data_set_t train, test;
    quant_comparison_t c;
    char path[512];
    const char *folder = test_dir();
    models_landscapes(&train, TRAIN, &test, PICTURES - TRAIN, SIZE);
    assert_ok(nn_net_new(&model.net, &model.meta.arch));
    assert_ok(nn_state_init(&model.state, model.net));
    nn_state_draw(&model.state, test_seed);
    kill_channels(&model.state);
    train_model(&model, &train);
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    assert_ok(nn_model_save(path, &model.state, &model.meta));
    train.count = CALIBRATION; /* shuffled */
    const quant_compare_options_t options = {.model_path = path,
                                             .out_folder = folder,
                                             .precisions = int8,
                                             .precision_count = 1,
                                             .set = &test,
                                             .data_name = "synthetic",
                                             .calibration = &train,
                                             .calibration_name = "synthetic",
                                             .convert = quant_convert_defaults(),
                                             .per_tensor = true,
                                             .threads = 1,
                                             .bytes_run = -1};
    assert_ok(quant_compare(&c, &options));
    const quant_result_t *fp32 = &c.results[0], *channel = &c.results[1], *layer = &c.results[2];
    print_message("fp32 %.2f %%, a scale a channel loses %.2f points, a scale a layer %.2f\n",
                  100 * fp32->measures.accuracy, channel->drop_points, layer->drop_points);
    assert_string_equal(layer->name, "int8-per-tensor");
    assert_true(fp32->measures.accuracy > 0.4); /* of ten classes: there is something to lose */
    assert_true(channel->drop_points < 2.5);
    assert_true(layer->drop_points > 10);
    quant_comparison_free(&c);
    data_set_free(&train);
    data_set_free(&test);
    nn_model_free(&model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_scale_a_channel_keeps_what_a_scale_a_layer_loses),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
