/* INT8 calibrated by several: the file of one place, byte for byte, and records that nobody
 * believes unseen. */
#include "node/calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nn/plan.h"
#include "node/calibration_record.h"
#include "quant/fold.h"
#include "quant/tensors.h"
#include "tests/quant/models.h"

enum { PEERS = 5, PICTURES = 60 };

static const size_t parts[PEERS] = {20, 2, 13, 18, 7}; /* pictures of each peer */

typedef struct {
    nn_model_t model;
    data_set_t all, part[PEERS]; /* parts: views of all */
    node_config_t config;
    node_peer_t peers[PEERS];
    volatile bool interrupted;
    node_calibration_t calibration[PEERS];
    uint8_t *bytes[PEERS];
    gossip_record_t records[PEERS];
} group_t;

static void group_init(group_t *g)
{
    memset(g, 0, sizeof *g);
    models_draw(&g->model);
    models_pictures(&g->all, PICTURES);
    size_t at = 0, picture = g->all.height * g->all.width * 3;
    for (size_t p = 0; p < PEERS; p++) {
        g->part[p] = g->all;
        g->part[p].pixels += at * picture;
        g->part[p].labels += at;
        g->part[p].count = parts[p];
        at += parts[p];
        snprintf(g->peers[p].name, sizeof g->peers[p].name, "p%zu", p);
    }
    g->config.peers = g->peers;
    g->config.peer_count = PEERS;
    g->config.seed = 7;
    g->config.train.threads = 1;
    g->config.data.normalisation = g->model.meta.normalisation;
    g->config.quantize.samples = PICTURES;
    g->config.quantize.clipping = QUANT_MSE;
    g->config.quantize.bias_correction = true;
    for (size_t p = 0; p < PEERS; p++)
        node_calibration_begin(&g->calibration[p], &g->model.state, &g->part[p], &g->config, p,
                               &g->interrupted);
}

static void group_free(group_t *g)
{
    for (size_t p = 0; p < PEERS; p++) {
        node_calibration_free(&g->calibration[p]);
        free(g->bytes[p]);
    }
    data_set_free(&g->all);
    nn_model_free(&g->model);
}

/* What gossip does: the records of all, in the order of the peers. */
static void flood(group_t *g)
{
    for (size_t p = 0; p < PEERS; p++) {
        const node_calibration_t *c = &g->calibration[p];
        free(g->bytes[p]);
        g->bytes[p] = xcalloc(c->record_size + 1, 1);
        if (c->record_size)
            memcpy(g->bytes[p], c->record, c->record_size);
        g->records[p] = (gossip_record_t){.peer = p, .bytes = g->bytes[p], .size = c->record_size};
    }
}

static void assert_same_file(const char *path, const char *as)
{
    unsigned char *a = NULL, *b = NULL;
    size_t a_size, b_size;
    assert_ok(file_read(&a, &a_size, path, 1 << 24));
    assert_ok(file_read(&b, &b_size, as, 1 << 24));
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size);
    free(a);
    free(b);
}

/* Both stages; a peer's records are spoiled when asked for. All write the same file, "p0". */
static void calibrate_together(group_t *g, size_t spoiled)
{
    bool made;
    for (size_t p = 0; p < PEERS; p++)
        assert_ok(node_calibration_ranges(&g->calibration[p]));
    flood(g);
    if (spoiled < PEERS)
        g->records[spoiled].size--;
    for (size_t p = 0; p < PEERS; p++)
        assert_ok(node_calibration_counts(&g->calibration[p], g->records, PEERS));
    flood(g);
    if (spoiled < PEERS)
        g->bytes[spoiled][g->records[spoiled].size / 2] ^= 1;
    for (size_t p = 0; p < PEERS; p++) {
        assert_ok(node_calibration_finish(&made, &g->calibration[p], g->records, PEERS,
                                          &g->model.meta, g->peers[p].name));
        assert_true(made);
        assert_same_file(g->peers[p].name, "p0");
    }
}

/* Calibrating in one place on pictures `from` .. `to` - 1 without those of one peer. */
static void calibrate_alone(group_t *g, const char *path, size_t without)
{
    quant_integer_t integer;
    const quant_convert_options_t options = quant_convert_defaults();
    uint32_t pictures[PICTURES];
    size_t n = 0, at = 0;
    for (size_t p = 0; p < PEERS; p++)
        for (size_t i = 0; i < parts[p]; i++, at++)
            if (p != without)
                pictures[n++] = (uint32_t)at;
    const quant_calibration_t calibration = {.folded = &g->calibration[0].folded,
                                             .set = &g->all,
                                             .pictures = pictures,
                                             .count = n,
                                             .normalisation = &g->model.meta.normalisation,
                                             .threads = 2};
    assert_ok(quant_calibrate(&integer, &g->model.meta, &calibration, &options));
    assert_ok(quant_integer_save(path, &integer));
    quant_integer_free(&integer);
}

static void peers_together_write_the_file_of_one_place(void **state)
{
    (void)state;
    group_t g;
    group_init(&g);
    calibrate_together(&g, PEERS);
    calibrate_alone(&g, "alone", PEERS);
    assert_same_file("p0", "alone");
    group_free(&g);
}

static void records_that_are_not_sound_are_left_out_by_all(void **state)
{
    (void)state;
    group_t g;
    group_init(&g);
    calibrate_together(&g, 2);
    calibrate_alone(&g, "alone", 2);
    assert_same_file("p0", "alone");
    group_free(&g);
}

/* One picture is too few: its owner gives an empty record and ends with the file of the others. */
static void who_has_too_few_pictures_takes_the_others_model(void **state)
{
    (void)state;
    group_t g;
    group_init(&g);
    g.calibration[1].count = 1;
    calibrate_together(&g, PEERS);
    assert_true(g.calibration[1].failed);
    calibrate_alone(&g, "alone", 1);
    assert_same_file("p0", "alone");
    group_free(&g);
}

static void without_a_sound_record_no_file_is_made(void **state)
{
    (void)state;
    group_t g;
    bool made = true;
    group_init(&g);
    flood(&g); /* empty ones */
    assert_ok(node_calibration_counts(&g.calibration[0], g.records, PEERS));
    assert_int_equal(g.calibration[0].record_size, 0);
    assert_ok(
        node_calibration_finish(&made, &g.calibration[0], g.records, PEERS, &g.model.meta, "none"));
    assert_false(made || file_exists("none"));
    group_free(&g);
}

static void an_interruption_ends_it(void **state)
{
    (void)state;
    group_t g;
    group_init(&g);
    g.interrupted = true;
    assert_int_equal(node_calibration_ranges(&g.calibration[0]), ERR_REFUSED);
    err_clear();
    group_free(&g);
}

/* In memory of just its size, so that a sanitizer sees a read past its end. */
static uint8_t *exactly(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = xcalloc(size, 1);
    memcpy(copy, bytes, size);
    return copy;
}

static const char *read_ranges(const group_t *g, const uint8_t *bytes, size_t size)
{
    quant_ranges_t ranges;
    uint8_t *record = exactly(bytes, size);
    const char *wrong = node_ranges_read(&ranges, g->calibration[0].net, record, size);
    free(record);
    if (!wrong)
        quant_ranges_free(&ranges);
    else
        assert_null(ranges.min);
    return wrong ? wrong : "sound";
}

static void each_bound_of_ranges_is_checked(void **state)
{
    (void)state;
    group_t g;
    group_init(&g);
    assert_ok(node_calibration_ranges(&g.calibration[0]));
    uint8_t *good = g.calibration[0].record, *bad;
    size_t size = g.calibration[0].record_size, floats = 2 /* version, tensors */;
    bad = xcalloc(size + 1, 1);
    memcpy(bad, good, size);
    assert_string_equal(read_ranges(&g, bad, size), "sound");
    assert_string_equal(read_ranges(&g, bad, 0), "empty");
    assert_string_equal(read_ranges(&g, bad, size - 1), "of a wrong size");
    assert_string_equal(read_ranges(&g, bad, size + 1), "of a wrong size");
    assert_string_equal(read_ranges(&g, bad, 1), "of another net");
    bad[0] = 2;
    assert_string_equal(read_ranges(&g, bad, size), "of another version");
    memcpy(bad, good, size);
    bad[1]++;
    assert_string_equal(read_ranges(&g, bad, size), "of another net");
    static const float pairs[][2] = {{NAN, 1},  {-1, NAN},   {-INFINITY, 1}, {0, INFINITY},
                                     {0.5f, 1}, {-1, -0.5f}, {-2e30f, 1},    {0, 2e30f}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        memcpy(bad, good, size);
        memcpy(bad + floats, pairs[i], sizeof pairs[i]);
        assert_string_equal(read_ranges(&g, bad, size),
                            "with a range that is not finite or does not hold 0");
    }
    free(bad);
    group_free(&g);
}

static const char *read_counts(const group_t *g, const uint8_t *bytes, size_t size)
{
    quant_counts_t counts;
    uint8_t *record = exactly(bytes, size);
    const char *wrong = node_counts_read(&counts, g->calibration[0].net, record, size);
    free(record);
    if (!wrong)
        quant_counts_free(&counts);
    else
        assert_null(counts.bins);
    return wrong ? wrong : "sound";
}

/* A record of the counts as they are after `spoil` in one place. */
static const char *with(const group_t *g, const quant_counts_t *counts)
{
    size_t size;
    uint8_t *record = node_counts_write(&size, counts);
    const char *wrong = read_counts(g, record, size);
    free(record);
    return wrong;
}

static void each_bound_of_counts_is_checked(void **state)
{
    (void)state;
    group_t g;
    quant_counts_t c;
    group_init(&g);
    assert_ok(node_calibration_ranges(&g.calibration[0]));
    flood(&g);
    assert_ok(node_calibration_counts(&g.calibration[0], g.records, 1));
    uint8_t *record = g.calibration[0].record;
    size_t size = g.calibration[0].record_size;
    assert_null(node_counts_read(&c, g.calibration[0].net, record, size));
    assert_int_equal(c.pictures, parts[0]);
    assert_string_equal(with(&g, &c), "sound");
    assert_string_equal(read_counts(&g, record, 0), "empty");
    for (size_t cut = 1; cut < size; cut += 97)
        assert_string_not_equal(read_counts(&g, record, cut), "sound");
    assert_string_not_equal(read_counts(&g, record, size - 1), "sound");
    uint8_t *longer = xcalloc(size + 1, 1);
    memcpy(longer, record, size);
    assert_string_equal(read_counts(&g, longer, size + 1), "of a wrong size");
    longer[0] = 0;
    assert_string_equal(read_counts(&g, longer, size), "of another version");
    memset(longer, 0xff, size);
    longer[0] = 1;
    assert_string_equal(read_counts(&g, longer, size), "of another net"); /* no number at all */
    memcpy(longer, record, size);
    uint8_t *run = memmem(longer, size, "\0\x80\x10", 3); /* 2048 empty bins: nobody's operand */
    assert_non_null(run);
    run[1]++; /* 2049 */
    assert_string_equal(read_counts(&g, longer, size), "with counts that do not add up");
    free(longer);

    uint64_t pictures[] = {0, 1, NODE_CALIBRATION_PICTURES_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        quant_counts_t other = c;
        other.pictures = pictures[i];
        assert_string_equal(with(&g, &other), "of a number of pictures that cannot be");
    }
    c.pictures++;
    assert_string_equal(with(&g, &c), "with counts that do not add up");
    c.pictures--;
    for (size_t i = 0; i < QUANT_BINS; i += 500) { /* of the input, an operand */
        c.bins[i]++;
        assert_string_equal(with(&g, &c), "with counts that do not add up");
        c.bins[i] += UINT64_MAX - 1; /* one less, by wrapping */
        const char *less = with(&g, &c);
        assert_string_equal(less, "with counts that do not add up");
        c.bins[i]++;
    }
    c.bins[0] += UINT64_C(1) << 63; /* twice that is nothing more in 64 bits */
    c.bins[1] += UINT64_C(1) << 63;
    assert_string_equal(with(&g, &c), "with counts that do not add up");
    c.bins[0] -= UINT64_C(1) << 63;
    c.bins[1] -= UINT64_C(1) << 63;
    int64_t most = (int64_t)c.pictures << 32, sums[] = {most + 1, -most - 1, INT64_MAX, INT64_MIN};
    int64_t before = c.sums[1];
    for (size_t i = 0; i < 4; i++) {
        c.sums[1] = sums[i];
        assert_string_equal(with(&g, &c), "with a sum that cannot be");
    }
    c.sums[1] = -most;
    assert_string_equal(with(&g, &c), "sound");
    c.sums[1] = before;
    c.tensor_count--;
    assert_string_equal(with(&g, &c), "of another net");
    c.tensor_count++;
    c.channel_count--;
    assert_string_equal(with(&g, &c), "of another net");
    c.channel_count++;
    quant_counts_free(&c);
    group_free(&g);
}

/* What node_counts_read() promises of counts that it takes. */
static void assert_bounded(const group_t *g, const quant_counts_t *counts)
{
    const nn_net_t *net = g->calibration[0].net;
    assert_in_range(counts->pictures, 2, NODE_CALIBRATION_PICTURES_MAX);
    assert_int_equal(counts->tensor_count, net->tensor_count);
    for (size_t t = 0; t < counts->tensor_count; t++) {
        uint64_t sum = 0, all = counts->pictures * nn_shape_count(net->tensors[t]);
        for (size_t i = 0; i < QUANT_BINS; i++)
            sum += counts->bins[t * QUANT_BINS + i];
        assert_int_equal(sum, quant_tensor_is_operand(net, (int)t) ? all : 0);
    }
    const int64_t most = (int64_t)(counts->pictures << 32);
    for (size_t c = 0; c < counts->channel_count; c++)
        assert_true(counts->sums[c] >= -most && counts->sums[c] <= most);
}

/* Any byte changed anywhere, or the end cut off: refused, or sound and within the bounds. The
 * record is alone in memory of just its size, so that a sanitizer sees a read past its end. */
static void spoiled_counts_are_refused_or_bounded(void **state)
{
    (void)state;
    group_t g;
    group_init(&g);
    assert_ok(node_calibration_ranges(&g.calibration[1]));
    flood(&g);
    assert_ok(node_calibration_counts(&g.calibration[1], &g.records[1], 1));
    const uint8_t *good = g.calibration[1].record;
    const size_t size = g.calibration[1].record_size;
    size_t sound = 0, refused = 0;
    rng_t rng = test_rng(5);
    for (int i = 0; i < 3000; i++) {
        /* half of them where the sums are: there a changed number may do */
        size_t at = i % 2 ? rng_below(&rng, size) : size - 1 - rng_below(&rng, 200);
        size_t kept = i % 10 ? size : rng_below(&rng, size);
        uint8_t *record = exactly(good, kept);
        if (at < kept)
            record[at] = (uint8_t)rng_below(&rng, 256);
        quant_counts_t counts;
        const char *wrong = node_counts_read(&counts, g.calibration[0].net, record, kept);
        if (wrong) {
            assert_null(counts.bins);
            assert_null(counts.sums);
        } else {
            assert_int_equal(kept, size);
            assert_bounded(&g, &counts);
            quant_counts_free(&counts);
        }
        *(wrong ? &refused : &sound) += 1;
        free(record);
    }
    assert_true(sound > 100 && refused > 1000); /* else this tests little */
    assert_string_equal(read_counts(&g, good, size), "sound");
    group_free(&g);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(peers_together_write_the_file_of_one_place),
    cmocka_unit_test(records_that_are_not_sound_are_left_out_by_all),
    cmocka_unit_test(who_has_too_few_pictures_takes_the_others_model),
    cmocka_unit_test(without_a_sound_record_no_file_is_made),
    cmocka_unit_test(an_interruption_ends_it),
    cmocka_unit_test(each_bound_of_ranges_is_checked),
    cmocka_unit_test(each_bound_of_counts_is_checked),
    cmocka_unit_test(spoiled_counts_are_refused_or_bounded),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
