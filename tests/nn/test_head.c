/* Training the last layer alone: the features stay, bit for bit, and the head's gradient is right. */
#include "nn/head.h"
#include "nn/infer.h"
#include "nn/train.h"
#include "tests/nn/support.h"

enum { BATCH = 6, CLASSES = 5 };

typedef struct {
    nn_net_t *net;
    nn_state_t state, before;
    nn_trainer_t *trainer;
    float *x;
    int32_t labels[BATCH];
} trial_t;

static void trial_init(trial_t *t, const char *name, size_t input, double dropout)
{
    nn_arch_t arch = {.name = "", .width = 0.25, .input = input, .classes = CLASSES};
    nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.1f);
    snprintf(arch.name, sizeof arch.name, "%s", name);
    arch.dropout = dropout;
    sgd.momentum = 0.9f, sgd.weight_decay = 0.01f;
    *t = (trial_t){.x = formula_new(3, BATCH * input * input * 3, 1)};
    assert_ok(nn_net_new(&t->net, &arch));
    assert_ok(nn_state_init(&t->state, t->net));
    assert_ok(nn_state_init(&t->before, t->net));
    nn_state_draw(&t->state, 7);
    nn_state_copy(&t->before, &t->state);
    assert_ok(nn_trainer_new_head(&t->trainer, t->net, BATCH, 2, &sgd));
    for (int i = 0; i < BATCH; i++)
        t->labels[i] = i % CLASSES;
}

static void trial_free(trial_t *t)
{
    nn_trainer_destroy(&t->trainer);
    nn_state_free(&t->before);
    nn_state_free(&t->state);
    nn_net_destroy(&t->net);
    free(t->x);
}

static void only_the_head_moves(void **unused)
{
    (void)unused;
    static const char *const names[] = {"mobilenet_v2", "cnn"};
    for (size_t k = 0; k < 2; k++) {
        trial_t t;
        double first = 0, loss = 0;
        size_t correct;
        rng_t dropout = test_rng(1);
        trial_init(&t, names[k], 32, 0.2);
        for (int step = 0; step < 30; step++) {
            nn_trainer_step(t.trainer, &t.state, &loss, &correct, t.x, t.labels, BATCH, &dropout);
            first = step ? first : loss;
        }
        assert_true(loss < first);
        for (size_t i = 0; i < t.net->entry_count; i++) {
            const nn_entry_t *e = &t.net->entries[i];
            if (e->kind == NN_KIND_COUNTER) {
                assert_int_equal(t.state.counters[e->offset], 0);
                continue;
            }
            bool same = !memcmp(t.state.values + e->offset, t.before.values + e->offset,
                                e->count * sizeof(float));
            assert_int_equal(same, !nn_head_owns(t.net, e));
        }
        trial_free(&t);
    }
}

/* Without dropout: logits as inference has them, and central differences of the loss. */
static void its_gradient_is_that_of_the_loss(void **unused)
{
    (void)unused;
    trial_t t;
    float logits[BATCH * CLASSES];
    double loss, up, down;
    size_t correct;
    nn_infer_t *infer = NULL;
    nn_optimizer_t none = nn_optimizer_default(NN_SGD, 0.0f);
    trial_init(&t, "mobilenet_v2", 32, 0);
    nn_trainer_destroy(&t.trainer);
    assert_ok(nn_trainer_new_head(&t.trainer, t.net, BATCH, 1, &none));
    assert_ok(nn_infer_new(&infer, t.net, BATCH, 1));
    nn_infer_run(infer, logits, &t.state, t.x, BATCH);
    nn_trainer_step(t.trainer, &t.state, &loss, &correct, t.x, t.labels, BATCH, NULL);
    check_near("logits", nn_trainer_logits(t.trainer), logits, BATCH * CLASSES, 1e-5);
    float *gradient = zeros_new(t.net->float_count);
    memcpy(gradient, nn_trainer_gradients(t.trainer), t.net->float_count * sizeof *gradient);
    for (size_t i = 0; i < t.net->entry_count; i++) {
        const nn_entry_t *e = &t.net->entries[i];
        for (size_t k = 0; nn_head_owns(t.net, e) && k < e->count; k += 1 + e->count / 7) {
            float *w = t.state.values + e->offset + k, kept = *w;
            const double h = 0.05;
            *w = kept + (float)h;
            nn_trainer_step(t.trainer, &t.state, &up, &correct, t.x, t.labels, BATCH, NULL);
            *w = kept - (float)h;
            nn_trainer_step(t.trainer, &t.state, &down, &correct, t.x, t.labels, BATCH, NULL);
            *w = kept;
            double slope = (up - down) / (2 * h), found = (double)gradient[e->offset + k];
            assert_true(fabs(slope - found) < 1e-3 * fmax(0.1, fabs(found)));
        }
    }
    free(gradient);
    nn_infer_destroy(&infer);
    trial_free(&t);
}

static void a_net_without_a_dense_layer_is_refused(void **unused)
{
    (void)unused;
    nn_builder_t builder;
    nn_head_t *head = NULL;
    nn_net_t *net = empty_net(&builder, 8, 8, 3, 2);
    int at = nn_build_conv2d(&builder, "conv", 0, 2, 1, 1, 0, 1, true);
    at = nn_build_simple(&builder, NN_OP_RELU, at);
    nn_build_simple(&builder, NN_OP_GLOBAL_AVG_POOL, at);
    assert_fails(nn_head_new(&head, net, 1, 1), ERR_CONFIG,
                 " does not end in a dense layer: its features cannot be kept fixed");
    assert_null(head);
    nn_net_destroy(&net);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(only_the_head_moves),
    cmocka_unit_test(its_gradient_is_that_of_the_loss),
    cmocka_unit_test(a_net_without_a_dense_layer_is_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
