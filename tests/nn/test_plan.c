/* Plans against the plain list in double: logits, and every gradient against central differences.
 */
#include "nn/run.h"
#include "tests/nn/reference.h"
#include "tests/nn/support.h"

enum { N = 3, CLASSES = 4 };

/* What the cnn is made of, on sizes that leave rests: BatchNorm + ReLU + pool, and BatchNorm with a
 * pool that is not 2x2. */
static nn_net_t *pooled_net(void)
{
    nn_builder_t b;
    nn_net_t *net = empty_net(&b, 13, 11, 3, CLASSES);
    int t = nn_build_conv2d(&b, "c1", 0, 5, 5, 1, 0, 1, true);
    t = nn_build_batch_norm(&b, "b1", t);
    t = nn_build_simple(&b, NN_OP_RELU, t);
    t = nn_build_max_pool(&b, t, 2, 2);
    t = nn_build_conv2d(&b, "c2", t, 6, 3, 1, 1, 1, true);
    t = nn_build_batch_norm(&b, "b2", t);
    t = nn_build_max_pool(&b, t, 3, 1);
    t = nn_build_simple(&b, NN_OP_FLATTEN, t);
    t = nn_build_dense(&b, "f1", t, 7);
    t = nn_build_simple(&b, NN_OP_RELU, t);
    nn_build_dense(&b, "f2", t, CLASSES);
    assert_false(b.failed);
    return net;
}

/* MobileNetV2's: strided and depthwise convolutions without bias, ReLU6, an inverted residual. */
static nn_net_t *residual_net(void)
{
    nn_builder_t b;
    nn_net_t *net = empty_net(&b, 9, 9, 3, CLASSES);
    int t = nn_build_conv2d(&b, "stem", 0, 4, 3, 2, 1, 1, false), in;
    t = nn_build_batch_norm(&b, "stem_bn", t);
    in = t = nn_build_simple(&b, NN_OP_RELU6, t);
    t = nn_build_conv2d(&b, "expand", t, 8, 1, 1, 0, 1, false);
    t = nn_build_batch_norm(&b, "expand_bn", t);
    t = nn_build_simple(&b, NN_OP_RELU6, t);
    t = nn_build_conv2d(&b, "depth", t, 8, 3, 1, 1, 8, false);
    t = nn_build_batch_norm(&b, "depth_bn", t);
    t = nn_build_simple(&b, NN_OP_RELU6, t);
    t = nn_build_conv2d(&b, "project", t, 4, 1, 1, 0, 1, false);
    t = nn_build_batch_norm(&b, "project_bn", t);
    t = nn_build_add(&b, in, t);
    t = nn_build_batch_norm(&b, "sum_bn", t); /* reads no convolution */
    t = nn_build_simple(&b, NN_OP_GLOBAL_AVG_POOL, t);
    t = nn_build_simple(&b, NN_OP_FLATTEN, t);
    t = nn_build_dropout(&b, t, 0.4f);
    nn_build_dense(&b, "classifier", t, CLASSES);
    assert_false(b.failed);
    return net;
}

static int bottleneck(nn_builder_t *b, int in, size_t expanded, size_t out, size_t stride,
                      const char *names[6])
{
    int t = in;
    if (names[0]) {
        t = nn_build_conv2d(b, names[0], t, expanded, 1, 1, 0, 1, false);
        t = nn_build_batch_norm(b, names[1], t);
        t = nn_build_simple(b, NN_OP_RELU6, t);
    }
    t = nn_build_conv2d(b, names[2], t, expanded, 3, stride, 1, expanded, false);
    t = nn_build_batch_norm(b, names[3], t);
    t = nn_build_simple(b, NN_OP_RELU6, t);
    t = nn_build_conv2d(b, names[4], t, out, 1, 1, 0, 1, false);
    return nn_build_batch_norm(b, names[5], t);
}

/* Inverted residuals of more than one block of channels, the last one not full: without expansion
 * and with stride 2, then with an expansion and the input added, its input read by others too. */
static nn_net_t *blocks_net(void)
{
    static const char *first[6] = {NULL, NULL, "d1", "d1_bn", "p1", "p1_bn"};
    static const char *second[6] = {"e2", "e2_bn", "d2", "d2_bn", "p2", "p2_bn"};
    nn_builder_t b;
    nn_net_t *net = empty_net(&b, 6, 5, 2, CLASSES);
    int t = nn_build_conv2d(&b, "stem", 0, NN_BLOCK + 4, 1, 1, 0, 1, false), in;
    t = nn_build_batch_norm(&b, "stem_bn", t);
    in = bottleneck(&b, t, NN_BLOCK + 4, 5, 2, first);
    t = bottleneck(&b, in, 2 * NN_BLOCK + 1, 5, 1, second);
    t = nn_build_add(&b, t, in);
    t = nn_build_add(&b, t, in);
    t = nn_build_simple(&b, NN_OP_FLATTEN, t);
    nn_build_dense(&b, "classifier", t, CLASSES);
    assert_false(b.failed);
    return net;
}

/* An inverted residual whose expansion is computed twice, not kept. */
static nn_net_t *large_net(void)
{
    static const char *names[6] = {"e", "e_bn", "d", "d_bn", "p", "p_bn"};
    nn_builder_t b;
    nn_net_t *net = empty_net(&b, 21, 20, 2, CLASSES);
    int in = nn_build_conv2d(&b, "stem", 0, 3, 1, 1, 0, 1, true);
    int t = bottleneck(&b, in, 2 * NN_BLOCK + 3, 3, 1, names);
    t = nn_build_add(&b, t, in);
    t = nn_build_max_pool(&b, t, 4, 4);
    t = nn_build_simple(&b, NN_OP_FLATTEN, t);
    nn_build_dense(&b, "classifier", t, CLASSES);
    assert_false(b.failed);
    return net;
}

/* Operations without BatchNorm around them, one tensor read three times, groups, wide strides. */
static nn_net_t *branching_net(void)
{
    nn_builder_t b;
    nn_net_t *net = empty_net(&b, 10, 8, 2, CLASSES);
    int t = nn_build_conv2d(&b, "c1", 0, 6, 3, 1, 2, 1, true), in;
    in = t = nn_build_simple(&b, NN_OP_RELU, t);
    t = nn_build_conv2d(&b, "c2", in, 6, 3, 1, 1, 3, true);
    t = nn_build_add(&b, t, in);
    t = nn_build_add(&b, in, t);
    t = nn_build_simple(&b, NN_OP_RELU6, t);
    t = nn_build_max_pool(&b, t, 3, 2);
    t = nn_build_conv2d(&b, "c3", t, 5, 3, 3, 1, 1, true);
    t = nn_build_dropout(&b, t, 0.3f);
    t = nn_build_simple(&b, NN_OP_FLATTEN, t);
    nn_build_dense(&b, "f1", t, CLASSES);
    assert_false(b.failed);
    return net;
}

static int fake_quant(nn_builder_t *b, int in, float scale, float zero)
{
    int t = nn_build_simple(b, NN_OP_FAKE_QUANT, in);
    b->net->ops[b->net->op_count - 1].scale = scale;
    b->net->ops[b->net->op_count - 1].zero = zero;
    return t;
}

/* What quant/qat.c makes: rounding behind activations, additions, pools and a flatten, with ranges
 * that cut off above and below. */
static nn_net_t *rounded_net(void)
{
    nn_builder_t b;
    nn_net_t *net = empty_net(&b, 8, 7, 2, CLASSES);
    int t = nn_build_conv2d(&b, "c1", 0, 6, 3, 1, 1, 1, true), in;
    in = t = fake_quant(&b, nn_build_simple(&b, NN_OP_RELU6, t), 0.0625f, 244);
    t = nn_build_conv2d(&b, "c2", t, 6, 3, 1, 1, 6, true);
    t = fake_quant(&b, t, 0.0625f, 4);
    t = nn_build_add(&b, in, t);
    t = fake_quant(&b, t, 0.13f, 246); /* no sum of sixteenths ends a step */
    t = nn_build_conv2d(&b, "c3", t, 5, 1, 1, 0, 1, true);
    t = nn_build_max_pool(&b, t, 2, 2); /* ahead of rounding: equal values have no one gradient */
    t = nn_build_simple(&b, NN_OP_FLATTEN, t);
    t = fake_quant(&b, t, 0.125f, 249);
    t = nn_build_dense(&b, "f1", t, 7);
    t = fake_quant(&b, nn_build_simple(&b, NN_OP_RELU, t), 0.0625f, 252);
    nn_build_dense(&b, "f2", t, CLASSES);
    assert_false(b.failed);
    return net;
}

typedef struct {
    nn_net_t *net;
    nn_state_t state;
    double *values;
    float *x;
    int32_t labels[N];
} case_t;

static case_t make_case(nn_net_t *net)
{
    case_t c = {.net = net};
    rng_t rng = test_rng(7);
    assert_ok(nn_state_init(&c.state, net));
    nn_state_draw(&c.state, test_seed);
    c.values = calloc(net->float_count, sizeof *c.values);
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        for (size_t k = 0; e->kind != NN_KIND_COUNTER && k < e->count; k++) {
            float *v = &c.state.values[e->offset + k];
            if (e->kind == NN_KIND_BN_WEIGHT || e->kind == NN_KIND_RUNNING_VAR)
                *v = 0.5f + rng_float(&rng);
            else if (e->kind != NN_KIND_WEIGHT)
                *v = rng_float(&rng) - 0.3f;
            c.values[e->offset + k] = (double)*v;
        }
    }
    size_t count = N * nn_shape_count(net->tensors[0]);
    c.x = zeros_new(count);
    for (size_t k = 0; k < count; k++)
        c.x[k] = 2 * rng_float(&rng) - 1;
    for (int i = 0; i < N; i++)
        c.labels[i] = (int32_t)rng_below(&rng, CLASSES);
    return c;
}

static void free_case(case_t *c)
{
    nn_state_free(&c->state);
    free(c->net->ops);
    free(c->net->tensors);
    free(c->net->entries);
    free(c->net);
    free(c->values);
    free(c->x);
}

static const float *dropout_mask(const nn_run_t *run)
{
    for (size_t s = 0; s < run->plan.step_count; s++)
        if (run->plan.steps[s].kind == NN_STEP_DROPOUT)
            return run->masks[s];
    return NULL;
}

static void check_inference(case_t *c, int threads)
{
    nn_run_t *run = NULL;
    double expected[N * CLASSES];
    float narrow[N * CLASSES];
    assert_ok(nn_run_new(&run, c->net, NN_RUN_INFER, N, threads));
    const float *logits = nn_run_forward(run, &c->state, c->x, N, NULL);
    reference_forward(expected, c->net, c->values, c->x, N, false, NULL);
    for (size_t i = 0; i < N * CLASSES; i++)
        narrow[i] = (float)expected[i];
    check_near("inference logits", logits, narrow, N * CLASSES, 1e-5);
    nn_run_destroy(&run);
}

/* Every `stride`-th parameter of a tensor against central differences. */
static void check_gradients(case_t *c, int threads, size_t stride)
{
    nn_run_t *run = NULL;
    rng_t dropout = test_rng(9);
    const double h = 1e-8; /* a kink between is rare then */
    size_t correct;
    assert_ok(nn_run_new(&run, c->net, NN_RUN_TRAIN, N + 2, threads));
    const float *logits = nn_run_forward(run, &c->state, c->x, N, &dropout);
    const float *mask = dropout_mask(run);
    double loss = nn_cross_entropy(run->gradients[run->plan.logits], &correct, logits, c->labels, N,
                                   CLASSES, 0) /
                  N;
    double expected = reference_loss(c->net, c->values, c->x, c->labels, N, mask);
    assert_true(fabs(loss - expected) < 1e-5 * fabs(expected));
    nn_run_backward(run, &c->state);
    reference_hold(true);
    for (size_t i = 0; i < c->net->entry_count; i++) {
        const nn_entry_t *e = &c->net->entries[i];
        if (e->kind > NN_KIND_BN_BIAS)
            continue;
        size_t count = (e->count + stride - 1) / stride;
        float *numeric = zeros_new(count), *analytic = zeros_new(count);
        for (size_t at = 0, k = 0; at < count; at++, k += stride) {
            double *v = &c->values[e->offset + k], old = *v;
            *v = old + h;
            double up = reference_loss(c->net, c->values, c->x, c->labels, N, mask);
            *v = old - h;
            double down = reference_loss(c->net, c->values, c->x, c->labels, N, mask);
            *v = old;
            numeric[at] = (float)((up - down) / (2 * h));
            analytic[at] = run->gradient[e->offset + k];
        }
        check_near(e->name, analytic, numeric, count, 2e-5);
        free(numeric);
        free(analytic);
    }
    reference_hold(false);
    nn_run_destroy(&run);
}

static void check_net_sparsely(nn_net_t *(*make)(void), size_t stride)
{
    for (int threads = 1; threads <= 4; threads += 3) { /* more threads than pictures, too */
        case_t c = make_case(make());
        check_inference(&c, threads);
        check_gradients(&c, threads, stride);
        free_case(&c);
    }
}

static void check_net(nn_net_t *(*make)(void))
{
    check_net_sparsely(make, 1);
}

static void pooled_net_has_the_lists_logits_and_gradients(void **state)
{
    (void)state;
    check_net(pooled_net);
}

static void residual_net_has_the_lists_logits_and_gradients(void **state)
{
    (void)state;
    check_net(residual_net);
}

static void blocks_net_has_the_lists_logits_and_gradients(void **state)
{
    (void)state;
    check_net(blocks_net);
}

static void large_net_has_the_lists_logits_and_gradients(void **state)
{
    (void)state;
    check_net_sparsely(large_net, 17);
}

/* Input channels that are nearly one another leave an expansion of their difference a variance of
 * which their products hold few digits. */
static void moments_of_nearly_collinear_channels_hold(void **state)
{
    (void)state;
    case_t c = make_case(large_net());
    nn_run_t *run = NULL;
    float *stem = c.state.values + c.net->entries[nn_net_find(c.net, "stem.weight")].offset;
    float *expand = c.state.values + c.net->entries[nn_net_find(c.net, "e.weight")].offset;
    for (int i = 2; i < 6; i++) /* (3,2) */
        stem[i] = stem[i % 2] * (1 + 1e-4f * (float)i);
    for (size_t e = 0; e < 2 * NN_BLOCK + 3; e++)
        expand[e * 3 + 2] = -expand[e * 3] - expand[e * 3 + 1];
    assert_ok(nn_run_new(&run, c.net, NN_RUN_TRAIN, N, 2));
    nn_run_forward(run, &c.state, c.x, N, NULL);
    const nn_step_t *step = &run->plan.steps[1];
    assert_true(step->kind == NN_STEP_BOTTLENECK && step->block.recompute);
    const float *x = run->activations[step->in[0]];
    for (size_t e = 0; e < 2 * NN_BLOCK + 3; e++) {
        double sum = 0, square = 0, rows = N * 21 * 20;
        for (size_t pass = 0; pass < 2; pass++) {
            for (size_t r = 0; r < N * 21 * 20; r++) {
                double v = 0;
                for (size_t k = 0; k < 3; k++)
                    v += (double)expand[e * 3 + k] * (double)x[r * 3 + k];
                if (pass == 0)
                    sum += v / rows;
                else
                    square += (v - sum) * (v - sum) / rows;
            }
        }
        assert_true(fabs(run->batch_var[e] - square) < 1e-3 * square);
    }
    nn_run_destroy(&run);
    free_case(&c);
}

static void branching_net_has_the_lists_logits_and_gradients(void **state)
{
    (void)state;
    check_net(branching_net);
}

static void rounded_net_has_the_lists_logits_and_straight_through_gradients(void **state)
{
    (void)state;
    check_net(rounded_net);
}

static void cnn_lowers_to_eleven_steps(void **state)
{
    (void)state;
    nn_net_t *net = cnn_new(64, 1.0, 10);
    nn_plan_t plan;
    assert_ok(nn_plan_init(&plan, net, true));
    const nn_step_kind_t kinds[] = {NN_STEP_CONV2D, NN_STEP_NORM,  NN_STEP_CONV2D, NN_STEP_NORM,
                                    NN_STEP_CONV2D, NN_STEP_NORM,  NN_STEP_DENSE,  NN_STEP_CLAMP,
                                    NN_STEP_DENSE,  NN_STEP_CLAMP, NN_STEP_DENSE};
    assert_int_equal(plan.step_count, sizeof kinds / sizeof kinds[0]);
    for (size_t s = 0; s < plan.step_count; s++)
        assert_int_equal(plan.steps[s].kind, kinds[s]);
    assert_true(plan.steps[1].pool && plan.steps[1].has_moments);
    nn_plan_free(&plan);
    nn_net_destroy(&net);
}

static void buffers_that_live_at_once_do_not_overlap(void **state)
{
    (void)state;
    rng_t rng = test_rng(3);
    for (int round = 0; round < 200; round++) {
        nn_span_t spans[20];
        for (int i = 0; i < 20; i++) {
            size_t first = (size_t)rng_below(&rng, 20);
            spans[i] = (nn_span_t){(size_t)rng_below(&rng, 50), first,
                                   first + (size_t)rng_below(&rng, 6), 0};
        }
        size_t whole = nn_spans_place(spans, 20);
        for (int i = 0; i < 20; i++) {
            assert_true(!spans[i].count || spans[i].offset + spans[i].count <= whole);
            for (int j = 0; j < i; j++) {
                bool together = spans[i].first <= spans[j].last && spans[j].first <= spans[i].last;
                bool apart = spans[i].offset + spans[i].count <= spans[j].offset ||
                             spans[j].offset + spans[j].count <= spans[i].offset;
                assert_true(!together || apart || !spans[i].count || !spans[j].count);
            }
        }
    }
}

static void impossible_operations_are_refused(void **state)
{
    (void)state;
    nn_builder_t b;
    nn_run_t *run = NULL;
    nn_net_t *net = empty_net(&b, 8, 8, 3, 4);
    nn_build_conv2d(&b, "wide", 0, 4, 3, 1, 3, 1, true);
    assert_fails(nn_run_new(&run, net, NN_RUN_TRAIN, 2, 1), ERR_CONFIG,
                 "wide: padding 3 must be smaller than the kernel, 3");
    err_clear();
    net->ops[0].pad = 0;
    assert_fails(nn_run_new(&run, net, NN_RUN_INFER, 0, 1), ERR_CONFIG,
                 "batch of 0 pictures: 1 to 65536 are possible");
    err_clear();
    assert_fails(nn_run_new(&run, net, NN_RUN_INFER, 2, 0), ERR_CONFIG,
                 "0 threads: 1 to 256 are possible");
    err_clear();
    net->ops[0].kind = (nn_op_kind_t)77;
    assert_fails(nn_run_new(&run, net, NN_RUN_INFER, 2, 1), ERR_CONFIG,
                 "operation 0: kind 77 is not implemented");
    assert_null(run);
    nn_net_destroy(&net);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(pooled_net_has_the_lists_logits_and_gradients),
    cmocka_unit_test(residual_net_has_the_lists_logits_and_gradients),
    cmocka_unit_test(blocks_net_has_the_lists_logits_and_gradients),
    cmocka_unit_test(large_net_has_the_lists_logits_and_gradients),
    cmocka_unit_test(moments_of_nearly_collinear_channels_hold),
    cmocka_unit_test(branching_net_has_the_lists_logits_and_gradients),
    cmocka_unit_test(rounded_net_has_the_lists_logits_and_straight_through_gradients),
    cmocka_unit_test(cnn_lowers_to_eleven_steps),
    cmocka_unit_test(buffers_that_live_at_once_do_not_overlap),
    cmocka_unit_test(impossible_operations_are_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
