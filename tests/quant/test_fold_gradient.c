/* The way back of folding: gradients of a folded net, brought back to the weights and the BatchNorm
 * that it was folded from, against central differences of the whole list with its running
 * statistics, in double. */
#include "nn/train.h"
#include "quant/fold.h"
#include "tests/nn/reference.h"
#include "tests/nn/support.h"

enum { N = 3, CLASSES = 4, H = 7, W = 6, C = 3 };

static nn_net_t *make_net(void)
{
    nn_builder_t b;
    nn_net_t *net = empty_net(&b, H, W, C, CLASSES);
    int t = nn_build_conv2d(&b, "c1", 0, 5, 3, 1, 1, 1, true), in;
    t = nn_build_batch_norm(&b, "b1", t);
    in = t = nn_build_simple(&b, NN_OP_RELU6, t);
    t = nn_build_conv2d(&b, "c2", t, 5, 3, 1, 1, 5, false); /* depthwise */
    t = nn_build_batch_norm(&b, "b2", t);
    t = nn_build_add(&b, in, t);
    t = nn_build_conv2d(&b, "c3", t, 4, 1, 1, 0, 1, true); /* that no BatchNorm follows */
    t = nn_build_simple(&b, NN_OP_FLATTEN, t);
    t = nn_build_dense(&b, "f1", t, 6);
    t = nn_build_batch_norm(&b, "b3", t);
    t = nn_build_simple(&b, NN_OP_RELU, t);
    nn_build_dense(&b, "f2", t, CLASSES);
    assert_false(b.failed);
    return net;
}

static double loss_of(const nn_net_t *net, const double *values, const float *x,
                      const int32_t *labels)
{
    double z[N * CLASSES], loss = 0;
    reference_forward(z, net, values, x, N, false, NULL);
    for (size_t i = 0; i < N; i++) {
        double sum = 0;
        for (size_t k = 0; k < CLASSES; k++)
            sum += exp(z[i * CLASSES + k]);
        loss += (log(sum) - z[i * CLASSES + (size_t)labels[i]]) / N;
    }
    return loss;
}

static void draw(nn_state_t *state, double *values, rng_t *rng)
{
    for (size_t i = 0; i < state->net->entry_count; i++) {
        const nn_entry_t *e = &state->net->entries[i];
        for (size_t k = 0; e->kind != NN_KIND_COUNTER && k < e->count; k++) {
            float *v = &state->values[e->offset + k];
            if (e->kind == NN_KIND_BN_WEIGHT || e->kind == NN_KIND_RUNNING_VAR)
                *v = 0.5f + rng_float(rng);
            else
                *v = rng_float(rng) - 0.45f;
            values[e->offset + k] = (double)*v;
        }
    }
}

static void compare(const nn_net_t *net, double *values, const float *gradient, const float *x,
                    const int32_t *labels)
{
    const double h = 1e-8;
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        float *numeric = zeros_new(e->count);
        if (e->kind == NN_KIND_COUNTER) {
            free(numeric);
            continue;
        }
        for (size_t k = 0; e->kind <= NN_KIND_BN_BIAS && k < e->count; k++) {
            double *v = &values[e->offset + k], old = *v;
            *v = old + h;
            double up = loss_of(net, values, x, labels);
            *v = old - h;
            numeric[k] = (float)((up - loss_of(net, values, x, labels)) / (2 * h));
            *v = old;
        }
        check_near(e->name, gradient + e->offset, numeric, e->count, 2e-5); /* statistics: 0 */
        free(numeric);
    }
}

static void gradients_go_back_through_the_folding(void **state)
{
    (void)state;
    nn_net_t *net = make_net(), *folded_net = NULL;
    nn_state_t whole, folded;
    nn_trainer_t *trainer = NULL;
    rng_t rng = test_rng(11);
    float x[N * H * W * C];
    int32_t labels[N];
    double loss;
    size_t correct;
    const nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.1f);
    assert_ok(nn_state_init(&whole, net));
    double *values = calloc(net->float_count, sizeof *values);
    float *gradient = zeros_new(net->float_count);
    draw(&whole, values, &rng);
    for (size_t i = 0; i < N * H * W * C; i++)
        x[i] = 2 * rng_float(&rng) - 1;
    for (size_t i = 0; i < N; i++)
        labels[i] = (int32_t)rng_below(&rng, CLASSES);
    assert_ok(quant_fold_net(&folded_net, net));
    assert_ok(nn_state_init(&folded, folded_net));
    assert_ok(quant_fold_state(&folded, &whole));
    assert_ok(nn_trainer_new(&trainer, folded_net, N, 1, &sgd));
    nn_trainer_differentiate(trainer, &folded, &loss, &correct, x, labels, N, NULL);
    assert_true(fabs(loss - loss_of(net, values, x, labels)) < 1e-5 * loss);
    for (size_t i = 0; i < net->float_count; i++)
        gradient[i] = NAN; /* all is written */
    quant_fold_gradient(gradient, &whole, nn_trainer_gradients(trainer), folded_net);
    compare(net, values, gradient, x, labels);
    nn_trainer_destroy(&trainer);
    nn_state_free(&folded);
    nn_state_free(&whole);
    nn_net_destroy(&folded_net);
    nn_net_destroy(&net);
    free(values);
    free(gradient);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(gradients_go_back_through_the_folding),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
