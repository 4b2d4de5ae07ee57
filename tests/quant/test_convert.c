/* Conversion: where ranges are cut, odd channels and nets, and weights that are far apart. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/builder.h"
#include "nn/memory.h"
#include "nn/plan.h"
#include "quant/clip.h"
#include "quant/fold.h"
#include "quant/tally.h"
#include "quant/tensors.h"
#include "quant/walk.h"
#include "tests/quant/models.h"

static void clippings_have_names(void **unused)
{
    (void)unused;
    quant_clipping_t clipping;
    for (int i = QUANT_MINMAX; i <= QUANT_KL; i++) {
        assert_ok(quant_clipping_parse(&clipping, quant_clipping_name((quant_clipping_t)i)));
        assert_int_equal(clipping, i);
    }
    assert_fails(quant_clipping_parse(&clipping, "max"), ERR_CONFIG,
                 "clipping \"max\": accepted are minmax, mse, percentile and kl");
}

/* A bulk of values below 1 and `outliers` at 20. */
static void fill(uint64_t *bins, uint64_t outliers)
{
    memset(bins, 0, QUANT_BINS * sizeof *bins);
    for (size_t i = 0; i < QUANT_BINS / 20; i++)
        bins[i] = 10000;
    bins[QUANT_BINS - 1] = outliers;
}

static void ranges_are_cut_where_it_pays(void **unused)
{
    (void)unused;
    uint64_t bins[QUANT_BINS];
    const quant_histogram_t h = {bins, 0, 20};
    const quant_clip_t whole = {0, 20};
    fill(bins, 1);
    assert_true(quant_clip(QUANT_MINMAX, &h, 1, whole).high == 20);
    quant_clip_t mse = quant_clip(QUANT_MSE, &h, 1, whole);
    /* (20 - h)^2 + 1,020,000 (h / 255)^2 / 12 is least at 8.67 */
    assert_true(mse.low == 0 && fabs(mse.high - 8.67) < 0.5);
    quant_clip_t percentile = quant_clip(QUANT_PERCENTILE, &h, 1, whole);
    assert_true(percentile.low == 0 && fabs(percentile.high - 1) < 0.05);
    for (size_t i = 0; i < QUANT_BINS / 20; i++) /* steep: whole levels would blur it */
        bins[i] = (uint64_t)(1e6 * exp(-0.2 * (double)i));
    assert_true(quant_clip(QUANT_KL, &h, 1, whole).high < 10);
    fill(bins, 200000); /* one in six: to be kept */
    assert_true(quant_clip(QUANT_MSE, &h, 1, whole).high > 18);
    assert_true(quant_clip(QUANT_PERCENTILE, &h, 1, whole).high == 20);
    memset(bins, 0, sizeof bins);
    for (int i = QUANT_MINMAX; i <= QUANT_KL; i++) /* nothing was seen */
        assert_true(quant_clip((quant_clipping_t)i, &h, 1, whole).high == 20);
}

static void both_ends_are_cut(void **unused)
{
    (void)unused;
    uint64_t bins[QUANT_BINS] = {[0] = 1, [QUANT_BINS - 1] = 1};
    const quant_histogram_t h = {bins, -10, 30};
    const quant_clip_t whole = {-10, 30};
    for (size_t i = 480; i < 560; i++) /* within 1 around 0 */
        bins[i] = 1000000;
    quant_clip_t mse = quant_clip(QUANT_MSE, &h, 1, whole);
    assert_true(mse.low > -3 && mse.low <= -0.6 && mse.high < 3 && mse.high >= 0.8);
    quant_clip_t percentile = quant_clip(QUANT_PERCENTILE, &h, 1, whole);
    assert_true(percentile.low > -1 && percentile.high < 1.5);
}

static void affine_parameters_hold_zero(void **unused)
{
    (void)unused;
    quant_affine_t a = quant_affine((quant_clip_t){-1, 1});
    assert_true(a.scale == (float)(2.0 / 255.0) && a.zero == 127);
    a = quant_affine((quant_clip_t){0, 6});
    assert_true(a.scale == 6.0f / 255.0f && a.zero == 0);
    a = quant_affine((quant_clip_t){-3, 0});
    assert_int_equal(a.zero, 255);
    a = quant_affine((quant_clip_t){0, 0});
    assert_true(a.scale > 0 && a.zero == 0);
    a = quant_affine((quant_clip_t){0, 1e-44});
    assert_true(isnormal(a.scale));
}

/* A cnn folded, with what calibration saw. */
typedef struct {
    nn_model_t model;
    nn_net_t *net;
    nn_state_t folded;
    data_set_t set;
    quant_ranges_t ranges;
    quant_counts_t counts;
} subject_t;

static void subject_observe(subject_t *s)
{
    const quant_calibration_t calibration = {.folded = &s->folded,
                                             .set = &s->set,
                                             .count = s->set.count,
                                             .normalisation = &s->model.meta.normalisation,
                                             .threads = 1};
    assert_ok(quant_ranges_observe(&s->ranges, &calibration));
    assert_ok(quant_counts_observe(&s->counts, &calibration, &s->ranges));
}

static void subject_init(subject_t *s)
{
    models_draw(&s->model);
    models_pictures(&s->set, 16);
    assert_ok(quant_fold_net(&s->net, s->model.net));
    assert_ok(nn_state_init(&s->folded, s->net));
    assert_ok(quant_fold_state(&s->folded, &s->model.state));
}

static void subject_free(subject_t *s)
{
    quant_ranges_free(&s->ranges);
    quant_counts_free(&s->counts);
    nn_state_free(&s->folded);
    nn_net_destroy(&s->net);
    data_set_free(&s->set);
    nn_model_free(&s->model);
}

static err_t convert(quant_integer_t *integer, const subject_t *s,
                     const quant_convert_options_t *options)
{
    return quant_convert(integer, &s->folded, &s->model.meta, &s->ranges, &s->counts, options);
}

/* The layer of an entry, and the unit of its biases in channel o. */
static const quant_layer_t *layer_of(const quant_integer_t *m, const char *weight, size_t o,
                                     double *unit)
{
    const nn_op_t *op = &m->net->ops[m->net->entries[nn_net_find(m->net, weight)].op];
    const quant_layer_t *layer = &m->layers[op - m->net->ops];
    *unit = (double)(m->tensors[op->in[0]].scale * layer->scale[o]); /* in float32, as it is used */
    return layer;
}

static void dead_channels_keep_their_bias(void **unused)
{
    (void)unused;
    subject_t s;
    quant_integer_t m;
    quant_convert_options_t options = quant_convert_defaults();
    const float scales[] = {0, 1e-12f, 1e-38f, 1e-6f};
    const float biases[] = {0.7f, 3, 0.25f, 1000};
    double unit;
    options.bias_correction = false;
    for (int per_tensor = 0; per_tensor < 2; per_tensor++) {
        subject_init(&s);
        options.per_tensor = per_tensor == 1;
        for (size_t o = 0; o < 4; o++) {
            for (size_t i = 0; i < 200; i++)
                models_values(&s.folded, "conv2.weight")[o * 200 + i] *= scales[o];
            models_values(&s.folded, "conv2.bias")[o] = biases[o];
        }
        models_values(&s.folded, "conv2.bias")[4] = 0;
        memset(models_values(&s.folded, "conv2.weight") + 4 * 200, 0, 200 * sizeof(float));
        subject_observe(&s);
        assert_ok(convert(&m, &s, &options));
        for (size_t o = 0; o < 4; o++) {
            const quant_layer_t *layer = layer_of(&m, "conv2.weight", o, &unit);
            double error = fabs(layer->bias[o] * unit - (double)biases[o]);
            assert_true(error <= 0.5000001 * unit && error < (per_tensor ? 0.02 : 1e-3));
        }
        assert_int_equal(layer_of(&m, "conv2.weight", 4, &unit)->bias[4], 0);
        quant_integer_free(&m);
        subject_free(&s);
    }
}

static void layer_of_zeros_converts(void **unused)
{
    (void)unused;
    subject_t s;
    quant_integer_t m;
    const quant_convert_options_t options = quant_convert_defaults();
    float logits[3], x[28 * 28 * 3] = {0.5f};
    subject_init(&s);
    memset(models_values(&s.folded, "conv2.weight"), 0, 16 * 200 * sizeof(float));
    memset(models_values(&s.folded, "conv2.bias"), 0, 16 * sizeof(float));
    subject_observe(&s);
    assert_ok(convert(&m, &s, &options));
    quant_integer_reference(logits, NULL, &m, x);
    assert_true(isfinite(logits[0]) && isfinite(logits[1]) && isfinite(logits[2]));
    quant_integer_free(&m);
    subject_free(&s);
}

static void bits_and_scales_are_as_asked(void **unused)
{
    (void)unused;
    subject_t s;
    quant_integer_t m;
    quant_convert_options_t options = quant_convert_defaults();
    double unit;
    int largest = 0;
    subject_init(&s);
    subject_observe(&s);
    options.weight_bits = 4;
    assert_ok(convert(&m, &s, &options));
    const quant_layer_t *layer = layer_of(&m, "fc1.weight", 0, &unit);
    for (size_t i = 0; i < 128 * 24; i++)
        largest = abs(layer->weight[i]) > largest ? abs(layer->weight[i]) : largest;
    assert_int_equal(largest, 7);
    assert_true(layer->scale[0] != layer->scale[1]);
    quant_integer_free(&m);
    options.per_tensor = true;
    options.weight_bits = 8;
    assert_ok(convert(&m, &s, &options));
    layer = layer_of(&m, "fc1.weight", 0, &unit);
    for (size_t o = 1; o < 128; o++)
        assert_true(layer->scale[o] == layer->scale[0]);
    quant_integer_free(&m);
    options.weight_bits = 1;
    assert_fails(convert(&m, &s, &options), ERR_CONFIG, "weights of 1 bits: 2 to 8 are possible");
    options.weight_bits = 9;
    assert_fails(convert(&m, &s, &options), ERR_CONFIG, "weights of 9 bits: 2 to 8 are possible");
    options.weight_bits = 8;
    s.ranges.min[4] = -1;
    s.ranges.max[4] = INFINITY;
    assert_fails(convert(&m, &s, &options), ERR_FORMAT,
                 "activation \"conv2\" has a range of -1 to inf: expected finite numbers around 0");
    subject_free(&s);
}

/* With the bias corrected the mean of an output is that of the float layer; without, it is not. */
static void bias_correction_keeps_the_mean(void **unused)
{
    (void)unused;
    subject_t s;
    quant_integer_t m;
    quant_convert_options_t options = quant_convert_defaults();
    double unit, off[2] = {0};
    subject_init(&s);
    subject_observe(&s);
    options.weight_bits = 4;
    const nn_op_t *op = &s.net->ops[s.net->entries[nn_net_find(s.net, "fc1.weight")].op];
    size_t first = 0;
    for (const nn_op_t *before = s.net->ops; before < op; before++)
        if (quant_op_has_weights(before))
            first += s.net->tensors[before->in[0]].channels;
    for (int corrected = 0; corrected < 2; corrected++) {
        options.bias_correction = corrected == 1;
        assert_ok(convert(&m, &s, &options));
        for (size_t o = 0; o < 128; o++) {
            const quant_layer_t *layer = layer_of(&m, "fc1.weight", o, &unit);
            double mean = layer->bias[o] * unit - (double)models_values(&s.folded, "fc1.bias")[o];
            for (size_t i = 0; i < 24; i++) {
                double x = quant_tally_mean(s.counts.sums[first + i], s.counts.pictures,
                                            s.ranges.min[op->in[0]], s.ranges.max[op->in[0]]);
                double w = (double)models_values(&s.folded, "fc1.weight")[o * 24 + i];
                mean += x * ((double)layer->scale[o] * layer->weight[o * 24 + i] - w);
            }
            off[corrected] = fmax(off[corrected], fabs(mean) / unit);
        }
        quant_integer_free(&m);
    }
    assert_true(off[1] < 0.51); /* what rounding the bias leaves, in its units */
    assert_true(off[0] > 2);
    subject_free(&s);
}

/* Groups of two, no bias, a 3x3 pool of stride 2, dropout, a sum, and hidden dense layers. */
static nn_net_t *odd_net(void)
{
    nn_net_t *net = nn_calloc(1, sizeof *net);
    nn_builder_t b = {.net = net, .tensor_capacity = 4};
    net->arch = (nn_arch_t){.name = "odd", .width = 1, .input = 16, .classes = 4};
    net->tensors = nn_calloc(4, sizeof *net->tensors);
    net->tensors[0] = (nn_shape_t){16, 16, 3};
    net->tensor_count = 1;
    int stem = nn_build_conv2d(&b, "stem", 0, 6, 3, 1, 1, 1, true);
    stem = nn_build_simple(&b, NN_OP_RELU6, stem);
    int left = nn_build_conv2d(&b, "left", stem, 6, 5, 1, 2, 2, false);
    int right = nn_build_conv2d(&b, "right", stem, 6, 3, 1, 1, 6, true);
    int t = nn_build_max_pool(&b, nn_build_add(&b, left, right), 3, 2);
    t = nn_build_dropout(&b, nn_build_simple(&b, NN_OP_RELU, t), 0.5f);
    t = nn_build_dense(&b, "hidden", nn_build_simple(&b, NN_OP_FLATTEN, t), 20);
    t = nn_build_simple(&b, NN_OP_RELU, t);
    nn_build_dense(&b, "last", t, 4);
    assert_false(b.failed);
    return net;
}

static void keep_nothing(void *argument, size_t tensor, const float *values)
{
    (void)argument;
    (void)tensor;
    (void)values;
}

/* The odd net drawn, with pictures of noise. */
typedef struct {
    nn_net_t *net;
    nn_state_t state;
    data_set_t set;
    nn_model_meta_t meta;
    quant_calibration_t calibration;
} odd_t;

static void odd_init(odd_t *o)
{
    rng_t rng = test_rng(50);
    o->net = odd_net();
    assert_ok(nn_state_init(&o->state, o->net));
    nn_state_draw(&o->state, test_seed);
    o->meta =
        (nn_model_meta_t){.arch = o->net->arch, .normalisation = data_normalisation_default()};
    o->set = (data_set_t){.count = 12, .height = 16, .width = 16, .class_count = 4};
    o->set.pixels = xcalloc(o->set.count * 16 * 16 * 3, 1);
    o->set.labels = xcalloc(o->set.count, sizeof *o->set.labels);
    for (size_t i = 0; i < o->set.count * 16 * 16 * 3; i++)
        o->set.pixels[i] = (uint8_t)rng_below(&rng, 256);
    o->calibration = (quant_calibration_t){.folded = &o->state,
                                           .set = &o->set,
                                           .count = o->set.count,
                                           .normalisation = &o->meta.normalisation,
                                           .threads = 2};
}

static void odd_free(odd_t *o)
{
    data_set_free(&o->set);
    nn_state_free(&o->state);
    nn_net_destroy(&o->net);
}

/* Runs all pictures through `state`; `visit` sees every tensor of each. */
static void odd_walk(const odd_t *o, const nn_state_t *state, quant_visit_t visit, void *argument,
                     void (*logits)(void *argument, const float *x, const float *y))
{
    quant_walk_t walk;
    assert_ok(quant_walk_init(&walk, state));
    float *memory = nn_aligned(walk.float_count * sizeof *memory);
    float *x = nn_aligned(16 * 16 * 3 * sizeof *x);
    for (uint32_t i = 0; i < o->set.count; i++) {
        int32_t label;
        data_batch(x, &label, &o->set, &i, 1, &o->meta.normalisation, NULL, NULL);
        const float *y = quant_walk_picture(&walk, memory, x, visit, argument);
        if (logits)
            logits(argument, x, y);
    }
    nn_free(memory);
    nn_free(x);
    quant_walk_free(&walk);
}

typedef struct {
    quant_integer_t integer;
    double signal, noise;
} odd_logits_t;

static void compare_logits(void *argument, const float *x, const float *y)
{
    odd_logits_t *l = argument;
    float logits[4];
    quant_integer_reference(logits, NULL, &l->integer, x);
    for (size_t c = 0; c < 4; c++) {
        l->signal += (double)y[c] * (double)y[c];
        l->noise += pow((double)logits[c] - (double)y[c], 2);
    }
}

static void odd_nets_convert_by_their_list(void **unused)
{
    (void)unused;
    const quant_convert_options_t options = quant_convert_defaults();
    odd_t o;
    odd_logits_t l = {.signal = 0};
    odd_init(&o);
    assert_ok(quant_calibrate(&l.integer, &o.meta, &o.calibration, &options));
    odd_walk(&o, &o.state, keep_nothing, &l, compare_logits);
    assert_true(l.noise > 0 && l.signal / l.noise > 1000); /* 30 dB */
    quant_integer_free(&l.integer);
    odd_free(&o);
}

/* Sums of a tensor's channels over pixels and pictures. */
typedef struct {
    size_t tensor, pixels, channels;
    double sums[8];
} channels_t;

static void add_channels(void *argument, size_t tensor, const float *values)
{
    channels_t *c = argument;
    for (size_t i = 0; tensor == c->tensor && i < c->pixels * c->channels; i++)
        c->sums[i % c->channels] += (double)values[i];
}

/* Largest difference of a channel's mean when the layer has the integers' weights and biases. */
static double mean_off(const odd_t *o, const char *name, bool corrected)
{
    quant_integer_t m;
    quant_convert_options_t options = quant_convert_defaults();
    nn_state_t rounded;
    double largest = 0;
    options.weight_bits = 4;
    options.bias_correction = corrected;
    assert_ok(quant_calibrate(&m, &o->meta, &o->calibration, &options));
    size_t i = 0;
    while (strcmp(o->net->ops[i].name, name) != 0)
        i++;
    const nn_op_t *op = &o->net->ops[i];
    const nn_entry_t *e = &o->net->entries[op->weight];
    const size_t inputs = e->count / e->shape[0];
    assert_ok(nn_state_init(&rounded, o->net));
    nn_state_copy(&rounded, &o->state);
    for (size_t k = 0; k < e->count; k++)
        rounded.values[e->offset + k] = m.layers[i].scale[k / inputs] * m.layers[i].weight[k];
    const nn_shape_t out = o->net->tensors[op->out];
    channels_t before = {(size_t)op->out, out.height * out.width, out.channels, {0}},
               after = before;
    odd_walk(o, &o->state, add_channels, &before, NULL);
    odd_walk(o, &rounded, add_channels, &after, NULL);
    for (size_t c = 0; c < out.channels; c++) {
        const float *bias =
            op->bias == NN_NONE ? NULL : o->state.values + o->net->entries[op->bias].offset;
        double unit = (double)(m.tensors[op->in[0]].scale * m.layers[i].scale[c]);
        double moved = m.layers[i].bias[c] * unit - (bias ? (double)bias[c] : 0.0);
        double mean = (after.sums[c] - before.sums[c]) / (double)(o->set.count * before.pixels);
        largest = fmax(largest, fabs(mean + moved));
    }
    nn_state_free(&rounded);
    quant_integer_free(&m);
    return largest;
}

/* In groups, channel by channel, and with padding, where a kernel reads zeros. */
static void bias_correction_knows_groups_and_padding(void **unused)
{
    (void)unused;
    static const char *const layers[] = {"left", "right"};
    odd_t o;
    odd_init(&o);
    for (size_t i = 0; i < 2; i++) {
        double without = mean_off(&o, layers[i], false), with = mean_off(&o, layers[i], true);
        print_message("%s: %g without, %g with\n", layers[i], without, with);
        assert_true(with < 0.1 * without);
    }
    odd_free(&o);
}

/* Weights that a ReLU6 hides from calibration: it sees 0 to 6. */
static void weights_too_large_behind_a_relu6_are_named(void **unused)
{
    (void)unused;
    nn_model_t model;
    data_set_t set;
    quant_integer_t integer;
    const quant_convert_options_t options = quant_convert_defaults();
    models_draw_mobilenet(&model, &set, 8, "small");
    models_values(&model.state, "features.0.1.weight")[3] = 1e9f;
    const quant_calibration_t calibration = {
        .set = &set, .count = set.count, .normalisation = &model.meta.normalisation, .threads = 1};
    assert_int_equal(quant_quantize(&integer, &model, &calibration, &options), ERR_FORMAT);
    const char *start =
        "\"features.0.0\": channel 3 has weights too large for int8: what it writes "
        "could reach ";
    if (strncmp(err_message(), start, strlen(start)) != 0)
        fail_msg("%s", err_message());
    data_set_free(&set);
    nn_model_free(&model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(weights_too_large_behind_a_relu6_are_named),
    cmocka_unit_test(clippings_have_names),
    cmocka_unit_test(ranges_are_cut_where_it_pays),
    cmocka_unit_test(both_ends_are_cut),
    cmocka_unit_test(affine_parameters_hold_zero),
    cmocka_unit_test(dead_channels_keep_their_bias),
    cmocka_unit_test(layer_of_zeros_converts),
    cmocka_unit_test(bits_and_scales_are_as_asked),
    cmocka_unit_test(bias_correction_keeps_the_mean),
    cmocka_unit_test(odd_nets_convert_by_their_list),
    cmocka_unit_test(bias_correction_knows_groups_and_padding),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
