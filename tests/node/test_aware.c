/* Rounds that train for integers: what their steps compute, when ranges freeze, and that a round
 * needs nothing of the one before but the model. */
#include "node/aware.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/infer.h"
#include "tests/quant/models.h"

enum { PICTURES = 60, BATCH = 16, CLASSES = 3, PIXELS = 28 * 28 * 3, STEPS = 4 };

typedef struct {
    nn_model_t model;
    data_set_t set;
    node_config_t config;
    nn_trainer_t *trainer;
    volatile bool interrupted;
    node_aware_t aware;
    float x[BATCH * PIXELS];
    int32_t labels[BATCH];
} round_t;

static void make_batch(round_t *r, size_t step)
{
    uint32_t order[BATCH];
    for (uint32_t i = 0; i < BATCH; i++)
        order[i] = (uint32_t)((step * BATCH + i) % PICTURES);
    data_batch(r->x, r->labels, &r->set, order, BATCH, &r->model.meta.normalisation, NULL, NULL);
}

static void round_init(round_t *r, float smoothing)
{
    memset(r, 0, sizeof *r);
    models_draw(&r->model);
    models_pictures(&r->set, PICTURES);
    r->config.seed = 7;
    r->config.train.batch = BATCH;
    r->config.train.threads = 1;
    r->config.train.optimizer = nn_optimizer_default(NN_SGD, 0.01f);
    r->config.train.optimizer.momentum = 0.9f;
    r->config.train.optimizer.label_smoothing = smoothing;
    r->config.data.normalisation = r->model.meta.normalisation;
    r->config.quantize.samples = PICTURES;
    r->config.quantize.clipping = QUANT_MSE;
    assert_ok(nn_trainer_new(&r->trainer, r->model.net, BATCH, 1, &r->config.train.optimizer));
}

static void begin(round_t *r)
{
    node_aware_free(&r->aware);
    assert_ok(node_aware_begin(&r->aware, &r->model.state, &r->set, &r->config, 0, STEPS,
                               &r->interrupted));
}

static double step(round_t *r, size_t number)
{
    double loss;
    size_t correct;
    make_batch(r, number);
    assert_ok(node_aware_step(&r->aware, r->trainer, &r->model.state, &loss, &correct, r->x,
                              r->labels, BATCH));
    return loss;
}

static void round_free(round_t *r)
{
    node_aware_free(&r->aware);
    nn_trainer_destroy(&r->trainer);
    data_set_free(&r->set);
    nn_model_free(&r->model);
}

/* Mean cross-entropy as torch.nn.CrossEntropyLoss(label_smoothing=) has it, and its gradient by the
 * last layer's biases: of logits (BATCH,CLASSES).
 *   out gradient (CLASSES) */
static double cross_entropy(double gradient[CLASSES], const float *logits, const int32_t *labels,
                            double smoothing)
{
    double loss = 0;
    memset(gradient, 0, CLASSES * sizeof *gradient);
    for (size_t i = 0; i < BATCH; i++) {
        double sum = 0;
        for (size_t k = 0; k < CLASSES; k++)
            sum += exp((double)logits[i * CLASSES + k]);
        for (size_t k = 0; k < CLASSES; k++) {
            const double target =
                smoothing / CLASSES + ((int32_t)k == labels[i] ? 1 - smoothing : 0);
            const double p = exp((double)logits[i * CLASSES + k]) / sum;
            loss -= target * log(p) / BATCH;
            gradient[k] += (p - target) / BATCH;
        }
    }
    return loss;
}

/* Euclidean distance of two (BATCH,CLASSES). */
static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < BATCH * CLASSES; i++)
        sum += pow((double)a[i] - (double)b[i], 2);
    return sqrt(sum);
}

/* Logits of a step are the integers', not the float model's; its loss is theirs; the model learns
 * by the gradients of that. */
static void check_step(float smoothing)
{
    static float integers[BATCH * CLASSES], floats[BATCH * CLASSES];
    round_t *r = xcalloc(1, sizeof *r);
    quant_integer_t model = {0};
    nn_infer_t *infer = NULL;
    double gradient[CLASSES];
    round_init(r, smoothing);
    begin(r);
    assert_ok(quant_qat_convert(&model, r->aware.qat, &r->aware.folded, &r->model.meta));
    assert_ok(nn_infer_new(&infer, r->model.net, BATCH, 1));
    make_batch(r, 0);
    nn_infer_run(infer, floats, &r->model.state, r->x, BATCH);
    for (size_t i = 0; i < BATCH; i++)
        quant_integer_reference(integers + i * CLASSES, NULL, &model, r->x + i * PIXELS);
    float *bias = models_values(&r->model.state, "fc3.bias"), before[CLASSES];
    memcpy(before, bias, sizeof before);
    const double loss = step(r, 0);
    const float *logits = nn_trainer_logits(quant_qat_trainer(r->aware.qat));
    assert_true(distance(logits, integers) < distance(floats, integers) / 3);
    const double expected = cross_entropy(gradient, logits, r->labels, (double)smoothing);
    assert_true(fabs(loss - expected) <= 1e-5 * expected);
    for (size_t k = 0; k < CLASSES; k++) /* momentum is 0 still */
        assert_true(fabs((double)(before[k] - bias[k]) - 0.01 * gradient[k]) <= 1e-6);
    for (size_t i = 0; i < BATCH * PIXELS; i++) { /* pictures lie on the integers' steps */
        const double q = (double)r->x[i] / (double)model.tensors[0].scale;
        assert_true(fabs(q - rint(q)) < 1e-3);
    }
    nn_infer_destroy(&infer);
    quant_integer_free(&model);
    round_free(r);
    free(r);
}

static void a_step_computes_as_the_integers_will(void **state)
{
    (void)state;
    check_step(0);
}

static void a_step_has_the_smoothed_labels_loss(void **state)
{
    (void)state;
    check_step(0.3f);
}

static void ranges_move_in_the_first_half_and_are_frozen_then(void **state)
{
    (void)state;
    quant_integer_t model[STEPS + 1] = {0};
    round_t *r = xcalloc(1, sizeof *r);
    round_init(r, 0);
    begin(r);
    for (size_t i = 0; i <= STEPS; i++) {
        assert_ok(quant_qat_convert(&model[i], r->aware.qat, &r->aware.folded, &r->model.meta));
        if (i < STEPS)
            step(r, i);
    }
    const size_t bytes = model[0].net->tensor_count * sizeof *model[0].tensors;
    assert_memory_not_equal(model[0].tensors, model[1].tensors, bytes);
    assert_memory_not_equal(model[1].tensors, model[2].tensors, bytes);
    assert_memory_equal(model[2].tensors, model[3].tensors, bytes);
    assert_memory_equal(model[3].tensors, model[4].tensors, bytes);
    for (size_t i = 0; i <= STEPS; i++)
        quant_integer_free(&model[i]);
    round_free(r);
    free(r);
}

static void train(round_t *r)
{
    begin(r);
    for (size_t i = 0; i < STEPS; i++)
        step(r, i);
}

/* Two rounds, and the second again from what a checkpoint of the first has. */
static void a_round_needs_nothing_but_the_model_and_the_optimizer(void **state)
{
    (void)state;
    round_t *a = xcalloc(1, sizeof *a), *b = xcalloc(1, sizeof *b);
    round_init(a, 0.1f);
    round_init(b, 0.1f);
    const size_t bytes = a->model.net->float_count * sizeof(float);
    train(a);
    nn_state_copy(&b->model.state, &a->model.state);
    memcpy(nn_trainer_slot(b->trainer, 0), nn_trainer_slot(a->trainer, 0), bytes);
    nn_trainer_set_step_count(b->trainer, nn_trainer_step_count(a->trainer));
    train(a);
    assert_memory_not_equal(a->model.state.values, b->model.state.values, bytes);
    train(b);
    assert_memory_equal(a->model.state.values, b->model.state.values, bytes);
    round_free(a);
    round_free(b);
    free(a);
    free(b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_step_computes_as_the_integers_will),
    cmocka_unit_test(a_step_has_the_smoothed_labels_loss),
    cmocka_unit_test(ranges_move_in_the_first_half_and_are_frozen_then),
    cmocka_unit_test(a_round_needs_nothing_but_the_model_and_the_optimizer),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
