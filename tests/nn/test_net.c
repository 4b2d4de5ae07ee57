/* The list of operations, its table of state, and the first model. */
#include "nn/infer.h"
#include "tests/nn/support.h"

static void cnn_has_434602_trainable_parameters(void **state)
{
    (void)state;
    nn_net_t *net = cnn_new(64, 1.0, 10);
    assert_int_equal(net->trainable_count, 434602);
    assert_int_equal(net->float_count, 434602 + 2 * (32 + 64 + 96));
    assert_int_equal(net->counter_count, 3);
    nn_net_destroy(&net);
}

static void entries_are_in_pytorchs_order_and_dense(void **state)
{
    (void)state;
    static const char *const names[] = {"conv1.weight",
                                        "conv1.bias",
                                        "bn1.weight",
                                        "bn1.bias",
                                        "bn1.running_mean",
                                        "bn1.running_var",
                                        "bn1.num_batches_tracked",
                                        "conv2.weight",
                                        "conv2.bias",
                                        "bn2.weight",
                                        "bn2.bias",
                                        "bn2.running_mean",
                                        "bn2.running_var",
                                        "bn2.num_batches_tracked",
                                        "conv3.weight",
                                        "conv3.bias",
                                        "bn3.weight",
                                        "bn3.bias",
                                        "bn3.running_mean",
                                        "bn3.running_var",
                                        "bn3.num_batches_tracked",
                                        "fc1.weight",
                                        "fc1.bias",
                                        "fc2.weight",
                                        "fc2.bias",
                                        "fc3.weight",
                                        "fc3.bias"};
    nn_net_t *net = cnn_new(64, 1.0, 10);
    size_t at = 0;
    assert_int_equal(net->entry_count, sizeof names / sizeof names[0]);
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        assert_string_equal(e->name, names[i]);
        assert_int_equal(nn_net_find(net, names[i]), i);
        if (e->kind == NN_KIND_COUNTER)
            continue;
        assert_int_equal(e->offset, at);
        at += e->count;
    }
    assert_int_equal(at, net->float_count);
    assert_int_equal(nn_net_find(net, "conv4.weight"), NN_NONE);
    const nn_entry_t *fc1 = &net->entries[nn_net_find(net, "fc1.weight")];
    assert_true(fc1->shape[0] == 128 && fc1->shape[1] == 2400);
    nn_net_destroy(&net);
}

static void other_sizes_follow(void **state)
{
    (void)state;
    nn_net_t *net = cnn_new(28, 0.25, 3);
    assert_int_equal(net->entries[nn_net_find(net, "conv1.weight")].shape[0], 8);
    assert_int_equal(net->entries[nn_net_find(net, "fc1.weight")].shape[1], 24);
    assert_int_equal(net->entries[nn_net_find(net, "fc3.bias")].shape[0], 3);
    assert_int_equal(nn_statistics_count(net), 8 + 16 + 24);
    assert_int_equal(nn_batch_norm_count(net), 3);
    nn_net_destroy(&net);
}

static void wrong_architectures_are_refused(void **state)
{
    (void)state;
    static const struct {
        nn_arch_t arch;
        const char *message;
    } wrong[] = {
        {{"cmn", 1, "", 64, 10}, "no model is called \"cmn\"; did you mean \"cnn\"?"},
        {{"transformer", 1, "", 64, 10}, "no model is called \"transformer\"; there is \"cnn\""},
        {{"cnn", 1, "", 27, 10}, "input of 27 pixels is too small for cnn: it needs at least 28"},
        {{"cnn", 1, "", 100000, 10}, "input of 100000 pixels is too large: at most 1024"},
        {{"cnn", 0, "", 64, 10}, "model width 0: must be above 0 and at most 4"},
        {{"cnn", 5, "", 64, 10}, "model width 5: must be above 0 and at most 4"},
        {{"cnn", NAN, "", 64, 10}, "model width nan: must be above 0 and at most 4"},
        {{"cnn", 1, "", 64, 1}, "1 classes: a model has 2 to 1000"},
        {{"cnn", 1, "", 64, 1001}, "1001 classes: a model has 2 to 1000"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        nn_net_t *net = NULL;
        err_clear();
        assert_fails(nn_net_new(&net, &wrong[i].arch), ERR_CONFIG, wrong[i].message);
        assert_null(net);
    }
}

static void first_model_follows_pytorchs_rule(void **unused)
{
    (void)unused;
    nn_net_t *net = cnn_new(64, 1.0, 10);
    nn_state_t state;
    assert_ok(nn_state_init(&state, net));
    nn_state_draw(&state, 5);
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        const float *v = state.values + e->offset;
        if (e->kind == NN_KIND_COUNTER) {
            assert_int_equal(state.counters[e->offset], 0);
        } else if (e->kind > NN_KIND_BIAS) {
            float expected = e->kind == NN_KIND_BN_WEIGHT || e->kind == NN_KIND_RUNNING_VAR;
            for (size_t k = 0; k < e->count; k++)
                assert_true(v[k] == expected);
        } else {
            const nn_entry_t *w = &net->entries[net->ops[e->op].weight];
            double bound = 1 / sqrt((double)(w->count / w->shape[0])), low = 0, high = 0, sum = 0;
            for (size_t k = 0; k < e->count; k++) {
                low = fmin(low, (double)v[k]);
                high = fmax(high, (double)v[k]);
                sum += (double)v[k];
            }
            assert_true(low >= -bound * 1.0001 && high <= bound * 1.0001);
            if (e->count > 1000) { /* uniform: reaches the bounds, mean near zero */
                assert_true(low < -0.99 * bound && high > 0.99 * bound);
                assert_true(fabs(sum / (double)e->count) < 0.05 * bound);
            }
        }
    }
    nn_state_free(&state);
    nn_net_destroy(&net);
}

static void one_seed_gives_one_digest(void **unused)
{
    (void)unused;
    nn_net_t *net = cnn_new(28, 0.5, 4);
    nn_state_t a, b;
    char first[65], second[65];
    assert_ok(nn_state_init(&a, net));
    assert_ok(nn_state_init(&b, net));
    nn_state_draw(&a, 1);
    nn_state_draw(&b, 1);
    nn_state_digest(first, &a);
    nn_state_digest(second, &b);
    assert_int_equal(strlen(first), 64);
    assert_string_equal(first, second);
    nn_state_draw(&b, 2);
    nn_state_digest(second, &b);
    assert_string_not_equal(first, second);
    b.counters[1] = 9;
    nn_state_copy(&a, &b);
    nn_state_digest(first, &a);
    assert_string_equal(first, second);
    assert_int_equal(a.counters[1], 9);
    nn_state_free(&a);
    nn_state_free(&b);
    nn_net_destroy(&net);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(cnn_has_434602_trainable_parameters),
    cmocka_unit_test(entries_are_in_pytorchs_order_and_dense),
    cmocka_unit_test(other_sizes_follow),
    cmocka_unit_test(wrong_architectures_are_refused),
    cmocka_unit_test(first_model_follows_pytorchs_rule),
    cmocka_unit_test(one_seed_gives_one_digest),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
