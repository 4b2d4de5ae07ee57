/* The whole cnn against PyTorch: five Adam steps from the same weights and batches. */
#include "nn/infer.h"
#include "nn/train.h"
#include "tests/nn/support.h"

enum { BATCH = 16, PICTURE = 64 * 64 * 3, STEPS = 5 };

static void set_formula_weights(nn_state_t *state)
{
    const nn_net_t *net = state->net;
    size_t fan_in = 1;
    nn_state_draw(state, 1); /* BatchNorm's entries */
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        if (e->kind == NN_KIND_WEIGHT)
            fan_in = e->count / e->shape[0];
        else if (e->kind != NN_KIND_BIAS)
            continue;
        float bound = (float)(1 / sqrt((double)fan_in));
        for (size_t k = 0; k < e->count; k++)
            state->values[e->offset + k] = bound * formula_at(i, k);
    }
}

/* Gradients of the first step: small tensors whole, large ones by norm. Convolutions' biases stand
 * before a BatchNorm: their gradient is zero but for rounding, PyTorch's too. */
static void check_gradients(const safetensors_t *file, const nn_net_t *net, const float *gradients)
{
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        const float *g = gradients + e->offset;
        char name[NN_NAME_MAX + 16];
        double norm = 0;
        if (e->kind > NN_KIND_BN_BIAS)
            continue;
        snprintf(name, sizeof name, "gradient.%s", e->name);
        if (safetensors_find(file, name)) {
            if (!strncmp(e->name, "conv", 4) && e->kind == NN_KIND_BIAS)
                for (size_t k = 0; k < e->count; k++)
                    assert_true(fabsf(g[k]) < 1e-6f);
            else
                check_near(name, g, golden(file, name, e->count), e->count, 2e-5);
        }
        for (size_t k = 0; k < e->count; k++)
            norm += (double)g[k] * (double)g[k];
        float found = (float)sqrt(norm);
        snprintf(name, sizeof name, "norm.%s", e->name);
        check_near(name, &found, golden(file, name, 1), 1, 1e-5);
    }
}

static void five_adam_steps_follow_pytorch(void **unused)
{
    (void)unused;
    safetensors_t *file = NULL;
    nn_state_t state;
    nn_trainer_t *trainer = NULL;
    nn_infer_t *infer = NULL;
    nn_net_t *net = cnn_new(64, 1.0, 10);
    nn_optimizer_t adam = nn_optimizer_default(NN_ADAM, 1e-4f);
    float logits[BATCH * 10];
    assert_ok(safetensors_open(&file, GOLDEN_DIR "/nn_cnn.safetensors"));
    const float *losses = golden(file, "losses", STEPS);
    assert_ok(nn_state_init(&state, net));
    set_formula_weights(&state);
    assert_ok(nn_trainer_new(&trainer, net, BATCH, 1, &adam));
    for (int step = 0; step < STEPS; step++) {
        float *x = formula_new((uint64_t)(1000 + step), BATCH * PICTURE, 1);
        int32_t labels[BATCH];
        double loss;
        size_t correct;
        for (int i = 0; i < BATCH; i++)
            labels[i] = (i * 7 + step) % 10;
        nn_trainer_step(trainer, &state, &loss, &correct, x, labels, BATCH, NULL);
        if (step == 0)
            check_gradients(file, net, nn_trainer_gradients(trainer));
        print_message("step %d: loss %.7f, PyTorch %.7f\n", step, loss, (double)losses[step]);
        assert_true(fabs(loss - (double)losses[step]) < (step ? 1e-3 : 1e-5));
        free(x);
    }
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        /* Adam makes steps of lr out of the rounding noise in the convolutions' bias gradients;
         * means follow the biases, nothing else does. */
        if (e->kind == NN_KIND_RUNNING_MEAN || e->kind == NN_KIND_RUNNING_VAR)
            check_near(e->name, state.values + e->offset, golden(file, e->name, e->count), e->count,
                       e->kind == NN_KIND_RUNNING_MEAN ? 1e-2 : 1e-3);
    }
    for (size_t i = 0; i < net->counter_count; i++)
        assert_int_equal(state.counters[i], STEPS);
    assert_ok(nn_infer_new(&infer, net, BATCH, 1));
    float *x = formula_new(2000, 3 * PICTURE, 1);
    nn_infer_run(infer, logits, &state, x, 3);
    check_near("eval_logits", logits, golden(file, "eval_logits", 30), 30, 1e-2);
    free(x);
    nn_infer_destroy(&infer);
    nn_trainer_destroy(&trainer);
    nn_state_free(&state);
    nn_net_destroy(&net);
    safetensors_close(&file);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(five_adam_steps_follow_pytorch)};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
