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
        {{"cmn", 1, "", 64, 10, 0}, "no model is called \"cmn\"; did you mean \"cnn\"?"},
        {{"transformer", 1, "", 64, 10, 0}, "no model is called \"transformer\"; there are \"cnn\" and "
         "\"mobilenet_v2\""},
        {{"cnn", 1, "", 27, 10, 0}, "input of 27 pixels is too small for cnn: it needs at least 28"},
        {{"cnn", 1, "", 100000, 10, 0}, "input of 100000 pixels is too large for cnn: at most 1024"},
        {{"cnn", 0, "", 64, 10, 0}, "model width 0: must be above 0 and at most 4"},
        {{"cnn", 5, "", 64, 10, 0}, "model width 5: must be above 0 and at most 4"},
        {{"cnn", NAN, "", 64, 10, 0}, "model width nan: must be above 0 and at most 4"},
        {{"cnn", 1, "", 64, 1, 0}, "1 classes: a model has 2 to 1000"},
        {{"cnn", 1, "", 64, 1001, 0}, "1001 classes: a model has 2 to 1000"},
        {{"cnn", 1, "small", 64, 10, 0},
         "strides \"small\": cnn has none to choose from, leave them out"},
        {{"mobilenet_v2", 1, "smal", 32, 10, 0},
         "strides \"smal\": mobilenet_v2 takes one of imagenet|small"},
        {{"mobilenet_v2", 1, "small", 31, 10, 0},
         "input of 31 pixels is too small for mobilenet_v2: it needs at least 32"},
        {{"mobilenet_v2", 1, "small", 225, 10, 0},
         "input of 225 pixels is too large for mobilenet_v2: at most 224"},
        {{"mobilenet_v2", 1, "small", 32, 10, 1},
         "model dropout 1: must be at least 0 and below 1"},
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

static nn_net_t *mobilenet_new(size_t input, double width, const char *strides, size_t classes)
{
    nn_net_t *net = NULL;
    nn_arch_t arch = {.name = "mobilenet_v2", .width = width, .input = input, .classes = classes};
    arch.dropout = 0.2;
    snprintf(arch.strides, sizeof arch.strides, "%s", strides);
    assert_ok(nn_net_new(&net, &arch));
    return net;
}

static void mobilenet_v2_has_2236682_trainable_parameters(void **state)
{
    (void)state;
    nn_net_t *net = mobilenet_new(32, 1.0, "small", 10);
    assert_int_equal(net->trainable_count, 2236682);
    assert_int_equal(net->entry_count, 314);
    assert_int_equal(nn_batch_norm_count(net), 52);
    nn_net_destroy(&net);
    net = mobilenet_new(224, 1.0, "imagenet", 1000);
    assert_int_equal(net->trainable_count, 3504872); /* torchvision's */
    nn_net_destroy(&net);
}

/* tests/golden/mobilenet_v2_keys.txt: torchvision's state_dict, "NAME DTYPE [SHAPE]" a line. */
static void mobilenet_v2_has_torchvisions_entries(void **state)
{
    (void)state;
    nn_net_t *net = mobilenet_new(32, 1.0, "imagenet", 10);
    FILE *keys = fopen(GOLDEN_DIR "/mobilenet_v2_keys.txt", "r");
    char line[256], expected[256];
    assert_non_null(keys);
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        int at = snprintf(expected, sizeof expected, "%s %s [", e->name,
                          e->kind == NN_KIND_COUNTER ? "I64" : "F32");
        for (size_t k = 0; k < e->rank; k++)
            at += snprintf(expected + at, sizeof expected - (size_t)at, "%s%zu", k ? ", " : "",
                           e->shape[k]);
        snprintf(expected + at, sizeof expected - (size_t)at, "]\n");
        assert_non_null(fgets(line, sizeof line, keys));
        assert_string_equal(expected, line);
    }
    assert_null(fgets(line, sizeof line, keys));
    fclose(keys);
    nn_net_destroy(&net);
}

/* Height of what the last block writes, and channels as torchvision rounds them. */
static void mobilenet_v2_follows_strides_and_width(void **state)
{
    (void)state;
    static const struct {
        const char *strides;
        size_t input;
        double width;
        size_t height, stem, expanded, last;
    } cases[] = {
        {"imagenet", 224, 1.0, 7, 32, 96, 1280}, {"imagenet", 32, 1.0, 1, 32, 96, 1280},
        {"", 64, 1.0, 2, 32, 96, 1280},          {"small", 32, 1.0, 4, 32, 96, 1280},
        {"small", 33, 0.25, 5, 8, 48, 1280},     {"small", 32, 0.35, 4, 16, 48, 1280},
        {"small", 32, 0.5, 4, 16, 48, 1280},     {"imagenet", 96, 1.4, 3, 48, 144, 1792},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nn_net_t *net = mobilenet_new(cases[i].input, cases[i].width, cases[i].strides, 10);
        const nn_entry_t *stem = &net->entries[nn_net_find(net, "features.0.0.weight")];
        const nn_entry_t *expanded = &net->entries[nn_net_find(net, "features.2.conv.0.0.weight")];
        const nn_entry_t *last = &net->entries[nn_net_find(net, "features.18.0.weight")];
        assert_int_equal(stem->shape[0], cases[i].stem);
        assert_int_equal(expanded->shape[0], cases[i].expanded);
        assert_int_equal(last->shape[0], cases[i].last);
        assert_int_equal(net->tensors[net->ops[last->op].out].height, cases[i].height);
        assert_string_equal(net->arch.strides, *cases[i].strides ? cases[i].strides : "imagenet");
        nn_net_destroy(&net);
    }
}

/* Ten blocks add their input, and each block is [widen,] filter, narrow [, add]: plans match it. */
static void mobilenet_v2_blocks_have_one_order(void **state)
{
    (void)state;
    nn_net_t *net = mobilenet_new(32, 1.0, "small", 10);
    size_t adds = 0;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (op->kind == NN_OP_CONV2D && op->groups > 1) {
            assert_true(op->groups == net->tensors[op->in[0]].channels && op->kernel == 3);
            assert_true(op->pad == 1 && op->bias == NN_NONE);
            assert_true(op[1].kind == NN_OP_BATCH_NORM && op[2].kind == NN_OP_RELU6);
            assert_true(op[3].kind == NN_OP_CONV2D && op[3].kernel == 1);
            assert_true(op[4].kind == NN_OP_BATCH_NORM && op[5].kind != NN_OP_RELU6);
            assert_true(op[4].epsilon == 1e-5f && op[4].momentum == 0.1f);
        }
        adds += op->kind == NN_OP_ADD;
    }
    assert_int_equal(adds, 10);
    nn_net_destroy(&net);
}

/* kaiming_normal with fan_out for convolutions, normal(0, 0.01) for the classifier, biases zero. */
static void first_mobilenet_v2_follows_torchvisions_rule(void **unused)
{
    (void)unused;
    nn_net_t *net = mobilenet_new(32, 1.0, "small", 10);
    nn_state_t state;
    assert_ok(nn_state_init(&state, net));
    nn_state_draw(&state, 5);
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        const float *v = state.values + e->offset;
        double sum = 0, squares = 0;
        for (size_t k = 0; k < e->count && e->kind != NN_KIND_COUNTER; k++)
            sum += (double)v[k], squares += (double)v[k] * (double)v[k];
        if (e->kind == NN_KIND_BIAS)
            assert_true(squares == 0.0);
        if (e->kind != NN_KIND_WEIGHT)
            continue;
        double n = (double)e->count;
        double fan_out = e->rank == 4 ? (double)(e->shape[0] * e->shape[2] * e->shape[3]) : 0;
        double deviation = e->rank == 4 ? sqrt(2 / fan_out) : 0.01;
        assert_true(fabs(sum / n) < 4 * deviation / sqrt(n));
        assert_true(fabs(squares / n / (deviation * deviation) - 1) < 4 * sqrt(2 / n));
    }
    nn_state_free(&state);
    nn_net_destroy(&net);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(cnn_has_434602_trainable_parameters),
    cmocka_unit_test(entries_are_in_pytorchs_order_and_dense),
    cmocka_unit_test(other_sizes_follow),
    cmocka_unit_test(wrong_architectures_are_refused),
    cmocka_unit_test(first_model_follows_pytorchs_rule),
    cmocka_unit_test(one_seed_gives_one_digest),
    cmocka_unit_test(mobilenet_v2_has_2236682_trainable_parameters),
    cmocka_unit_test(mobilenet_v2_has_torchvisions_entries),
    cmocka_unit_test(mobilenet_v2_follows_strides_and_width),
    cmocka_unit_test(mobilenet_v2_blocks_have_one_order),
    cmocka_unit_test(first_mobilenet_v2_follows_torchvisions_rule),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
