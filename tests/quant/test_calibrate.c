/* Calibration: every tensor as nn_infer computes it, results that do not depend on how the pictures
 * are spread, and what is refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/infer.h"
#include "nn/memory.h"
#include "quant/fold.h"
#include "quant/tally.h"
#include "quant/walk.h"
#include "tests/quant/models.h"

enum { PICTURES = 23 };

#ifdef __SANITIZE_THREAD__
enum { CNNS_ALONE = 1 }; /* it takes long there, and threads are the same */
#else
enum { CNNS_ALONE = 0 };
#endif

/* A model folded, and pictures for it. */
typedef struct {
    nn_model_t model;
    nn_net_t *net;
    nn_state_t folded;
    data_set_t set;
    quant_calibration_t calibration;
} subject_t;

static void subject_fold(subject_t *s)
{
    assert_ok(quant_fold_net(&s->net, s->model.net));
    assert_ok(nn_state_init(&s->folded, s->net));
    assert_ok(quant_fold_state(&s->folded, &s->model.state));
    s->calibration = (quant_calibration_t){.folded = &s->folded,
                                           .set = &s->set,
                                           .count = s->set.count,
                                           .normalisation = &s->model.meta.normalisation,
                                           .threads = 1};
}

static void subject_cnn(subject_t *s)
{
    models_draw(&s->model);
    models_pictures(&s->set, PICTURES);
    subject_fold(s);
}

static void subject_mobilenet(subject_t *s, const char *strides)
{
    models_draw_mobilenet(&s->model, &s->set, PICTURES, strides);
    subject_fold(s);
}

static void subject_free(subject_t *s)
{
    nn_state_free(&s->folded);
    nn_net_destroy(&s->net);
    data_set_free(&s->set);
    nn_model_free(&s->model);
}

/* The last tensor seen, for comparing with what the walk returns. */
typedef struct {
    const nn_net_t *net;
    size_t next; /* how many were shown */
    float last[16];
} seen_t;

static void see(void *argument, size_t tensor, const float *values)
{
    seen_t *seen = argument;
    assert_int_equal(tensor, seen->next == 0 ? 0 : seen->net->ops[seen->next - 1].out);
    seen->next++;
    if (seen->next == seen->net->tensor_count)
        memcpy(seen->last, values, seen->net->arch.classes * sizeof *values);
}

static void walk_is_inference(subject_t *s)
{
    const size_t classes = s->model.meta.arch.classes, pixels = s->set.height * s->set.width * 3;
    float *x = nn_aligned(PICTURES * pixels * sizeof *x), logits[PICTURES * 16];
    int32_t labels[PICTURES];
    uint32_t order[PICTURES];
    nn_infer_t *infer = NULL;
    quant_walk_t walk;
    double norm = 0, difference = 0;
    for (uint32_t i = 0; i < PICTURES; i++)
        order[i] = i;
    data_batch(x, labels, &s->set, order, PICTURES, &s->model.meta.normalisation, NULL, NULL);
    assert_ok(nn_infer_new(&infer, s->model.net, PICTURES, 1));
    nn_infer_run(infer, logits, &s->model.state, x, PICTURES);
    assert_ok(quant_walk_init(&walk, &s->folded));
    float *memory = nn_aligned(walk.float_count * sizeof *memory);
    for (size_t i = 0; i < PICTURES; i++) {
        seen_t seen = {.net = s->net};
        const float *y = quant_walk_picture(&walk, memory, x + i * pixels, see, &seen);
        assert_int_equal(seen.next, s->net->tensor_count);
        assert_memory_equal(y, seen.last, classes * sizeof *y);
        for (size_t c = 0; c < classes; c++) {
            double d = (double)y[c] - (double)logits[i * classes + c];
            difference += d * d;
            norm += (double)y[c] * (double)y[c];
        }
    }
    assert_true(sqrt(difference / norm) < 1e-4); /* BatchNorm blows up last bits */
    nn_infer_destroy(&infer);
    quant_walk_free(&walk);
    nn_free(memory);
    nn_free(x);
}

static void every_tensor_is_shown_and_logits_are_those_of_inference(void **unused)
{
    (void)unused;
    subject_t s;
    subject_cnn(&s);
    walk_is_inference(&s);
    subject_free(&s);
    if (CNNS_ALONE)
        return;
    subject_mobilenet(&s, "small");
    walk_is_inference(&s);
    subject_free(&s);
    subject_mobilenet(&s, "imagenet");
    walk_is_inference(&s);
    subject_free(&s);
}

/* How many pictures each peer has; what is left to the last. */
typedef struct {
    size_t peers, first[4];
    int threads;
    bool backwards; /* merged from the last to the first */
} split_t;

/* The pictures in a shuffled order, a part of it a peer; both passes, merged. */
static void observe_split(quant_ranges_t *ranges, quant_counts_t *counts, const subject_t *s,
                          const split_t *split, uint64_t stream)
{
    uint32_t order[PICTURES];
    quant_calibration_t c = s->calibration;
    quant_ranges_t r;
    quant_counts_t k;
    rng_t rng = test_rng(stream);
    for (uint32_t i = 0; i < PICTURES; i++)
        order[i] = i;
    rng_shuffle_u32(&rng, order, PICTURES);
    c.threads = split->threads;
    *ranges = (quant_ranges_t){0};
    *counts = (quant_counts_t){0};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < split->peers; i++) {
            size_t p = split->backwards ? split->peers - 1 - i : i;
            c.pictures = order + split->first[p];
            c.count = (p + 1 < split->peers ? split->first[p + 1] : PICTURES) - split->first[p];
            if (pass == 0)
                assert_ok(quant_ranges_observe(&r, &c));
            else
                assert_ok(quant_counts_observe(&k, &c, ranges));
            if (pass == 0 && i == 0) {
                *ranges = r;
            } else if (pass == 0) {
                quant_ranges_merge(ranges, &r);
                quant_ranges_free(&r);
            } else if (i == 0) {
                *counts = k;
            } else {
                quant_counts_merge(counts, &k);
                quant_counts_free(&k);
            }
        }
    }
}

static void merging_is_one_pass(const subject_t *s)
{
    static const split_t splits[] = {{1, {0}, 2, false},
                                     {2, {0, 2}, 1, false},
                                     {2, {0, 11}, 2, true},
                                     {4, {0, 7, 9, 20}, 1, true},
                                     {3, {0, 3, 8}, 2, false}};
    quant_ranges_t one, ranges;
    quant_counts_t all, counts;
    assert_ok(quant_ranges_observe(&one, &s->calibration));
    assert_ok(quant_counts_observe(&all, &s->calibration, &one));
    assert_int_equal(all.pictures, PICTURES);
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        observe_split(&ranges, &counts, s, &splits[i], 40 + i);
        assert_int_equal(ranges.tensor_count, one.tensor_count);
        assert_memory_equal(ranges.min, one.min, one.tensor_count * sizeof *one.min);
        assert_memory_equal(ranges.max, one.max, one.tensor_count * sizeof *one.max);
        assert_int_equal(counts.pictures, all.pictures);
        assert_memory_equal(counts.bins, all.bins,
                            all.tensor_count * QUANT_BINS * sizeof *all.bins);
        assert_memory_equal(counts.sums, all.sums, all.channel_count * sizeof *all.sums);
        quant_ranges_free(&ranges);
        quant_counts_free(&counts);
    }
    quant_ranges_free(&one);
    quant_counts_free(&all);
}

static void merged_parts_are_one_pass_bit_for_bit(void **unused)
{
    (void)unused;
    subject_t s;
    subject_cnn(&s);
    merging_is_one_pass(&s);
    subject_free(&s);
    if (CNNS_ALONE)
        return;
    subject_mobilenet(&s, "small");
    merging_is_one_pass(&s);
    subject_free(&s);
}

/* What the numbers are, by plain loops over one tensor that is known: the input. */
static void ranges_bins_and_sums_are_those_of_the_pictures(void **unused)
{
    (void)unused;
    subject_t s;
    quant_ranges_t ranges;
    quant_counts_t counts;
    subject_cnn(&s);
    assert_ok(quant_ranges_observe(&ranges, &s.calibration));
    assert_ok(quant_counts_observe(&counts, &s.calibration, &ranges));
    const size_t values = PICTURES * 28 * 28;
    double low = 0, high = 0, sums[3] = {0};
    uint64_t counted = 0;
    for (size_t i = 0; i < 3 * values; i++) {
        double x = ((double)s.set.pixels[i] / 255 - 0.5) / 0.5;
        low = fmin(low, x);
        high = fmax(high, x);
        sums[i % 3] += x / (28 * 28);
    }
    assert_true(fabs((double)ranges.min[0] - low) < 1e-6 &&
                fabs((double)ranges.max[0] - high) < 1e-6);
    for (size_t b = 0; b < QUANT_BINS; b++)
        counted += counts.bins[b];
    assert_int_equal(counted, 3 * values);
    for (size_t c = 0; c < 3; c++)
        assert_true(fabs(quant_tally_mean(counts.sums[c], PICTURES, ranges.min[0], ranges.max[0]) -
                         sums[c] / PICTURES) < 1e-6);
    quant_ranges_free(&ranges);
    quant_counts_free(&counts);
    subject_free(&s);
}

static void tallies_put_values_in_their_bins(void **unused)
{
    (void)unused;
    const float x[] = {-1.0f, 1.0f, 0.0f, -0.9995f, 5.0f, -5.0f, 0.9995f};
    uint64_t bins[QUANT_BINS] = {0};
    int64_t sums[2] = {0};
    double means[2];
    float min = 0, max = 0;
    assert_true(quant_tally_range(&min, &max, x, 4));
    assert_true(min == -1 && max == 1);
    quant_tally_bins(bins, x, 7, -1, 1);
    assert_int_equal(bins[0], 3); /* -1, -0.9995, and -5 from outside */
    assert_int_equal(bins[QUANT_BINS / 2], 1);
    assert_int_equal(bins[QUANT_BINS - 1], 3);
    assert_true(quant_tally_centre(QUANT_BINS / 2, -1, 1) == 1.0 / QUANT_BINS);
    const float rows[] = {1, -1, 0.5f, -1, 0, -1};
    assert_true(quant_tally_means(sums, means, rows, 3, 2, -1, 1));
    assert_int_equal(sums[0], INT64_C(1) << 30); /* 0.5 in units of 2 / 2^32 */
    assert_int_equal(sums[1], -(INT64_C(1) << 31));
    assert_true(quant_tally_mean(sums[1], 1, -1, 1) == -1.0);
    const float bad[17] = {[16] = NAN};
    assert_false(quant_tally_range(&min, &max, bad, 17));
    assert_false(quant_tally_range(&min, &max, (const float[16]){[3] = -INFINITY}, 16));
    assert_false(quant_tally_means(sums, means, bad, 17, 1, -1, 1));
    memset(bins, 0, sizeof bins);
    quant_tally_bins(bins, x, 7, 0, 0); /* a range of nothing */
    assert_int_equal(bins[0], 7);
}

static void what_cannot_be_calibrated_is_refused(void **unused)
{
    (void)unused;
    subject_t s;
    quant_ranges_t ranges;
    quant_integer_t integer;
    const quant_convert_options_t options = quant_convert_defaults();
    const nn_model_meta_t *meta;
    static const volatile bool interrupted = true;
    subject_cnn(&s);
    meta = &s.model.meta;
    quant_calibration_t c = s.calibration;
    c.count = 0;
    assert_fails(quant_calibrate(&integer, meta, &c, &options), ERR_CONFIG,
                 "calibration on 0 pictures: it takes 2 or more, some hundreds are good");
    c.count = 1;
    assert_fails(quant_calibrate(&integer, meta, &c, &options), ERR_CONFIG,
                 "calibration on 1 picture: it takes 2 or more, some hundreds are good");
    c.count = PICTURES + 1;
    assert_fails(quant_ranges_observe(&ranges, &c), ERR_CONFIG,
                 "calibration on 24 pictures: there are 23");
    c = s.calibration;
    s.set.class_count = 4;
    assert_fails(quant_calibrate(&integer, meta, &c, &options), ERR_CONFIG,
                 "calibration data of 4 classes for a model of 3");
    s.set.height = 27;
    assert_fails(quant_calibrate(&integer, meta, &c, &options), ERR_CONFIG,
                 "calibration pictures of 28x27 for a model that takes 28x28");
    s.set.height = 28;
    s.set.class_count = 3;
    c.interrupted = &interrupted;
    assert_fails(quant_calibrate(&integer, meta, &c, &options), ERR_REFUSED,
                 "calibration interrupted");
    c = s.calibration;
    c.threads = 2;
    models_values(&s.folded, "conv2.weight")[7] = NAN;
    assert_fails(quant_calibrate(&integer, meta, &c, &options), ERR_FORMAT,
                 "tensor \"conv2.weight\" element 7 is NaN: the model is of no use");
    assert_fails(quant_ranges_observe(&ranges, &c), ERR_FORMAT,
                 "calibration: activation \"conv2\" is NaN or infinite on picture 0: the model is "
                 "of no use");
    models_values(&s.folded, "conv2.weight")[7] = 0;
    for (size_t i = 0; i < 96; i++) {
        models_values(&s.folded, "conv1.bias")[i % 8] = 3e38f;
        models_values(&s.folded, "fc1.weight")[i] = 3e38f;
    }
    assert_int_equal(quant_calibrate(&integer, meta, &c, &options), ERR_FORMAT);
    assert_non_null(strstr(err_message(), "is NaN or infinite on picture 0"));
    subject_free(&s);
}

static void model_without_statistics_is_refused(void **unused)
{
    (void)unused;
    subject_t s;
    quant_integer_t integer;
    const quant_convert_options_t options = quant_convert_defaults();
    subject_cnn(&s);
    assert_ok(quant_quantize(&integer, &s.model, &s.calibration, &options));
    quant_integer_free(&integer);
    for (size_t i = 0; i < 16; i++) {
        models_values(&s.model.state, "bn2.running_mean")[i] = 0;
        models_values(&s.model.state, "bn2.running_var")[i] = 1;
    }
    assert_fails(
        quant_quantize(&integer, &s.model, &s.calibration, &options), ERR_CONFIG,
        "BatchNorm \"bn2\" has no statistics: its means are 0 and its variances 1, as in a "
        "model that never saw a picture: train the model (`hearsay up`) and take its "
        "consensus.safetensors");
    s.model.state.counters[1] = 1; /* it saw pictures, and they were like that */
    assert_ok(quant_quantize(&integer, &s.model, &s.calibration, &options));
    quant_integer_free(&integer);
    subject_free(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_tensor_is_shown_and_logits_are_those_of_inference),
    cmocka_unit_test(merged_parts_are_one_pass_bit_for_bit),
    cmocka_unit_test(ranges_bins_and_sums_are_those_of_the_pictures),
    cmocka_unit_test(tallies_put_values_in_their_bins),
    cmocka_unit_test(what_cannot_be_calibrated_is_refused),
    cmocka_unit_test(model_without_statistics_is_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
