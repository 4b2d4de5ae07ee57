/* Whole runs with a codec, and coded models that no honest peer would send. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/codec.h"
#include "tests/gossip/federation.h"
#include "tests/gossip/frames.h"
#include "tests/support/harness.h"

static const int64_t LIMIT = 3000000;
static const gossip_codec_kind_t kinds[] = {GOSSIP_CODEC_FP16, GOSSIP_CODEC_BF16,
                                            GOSSIP_CODEC_INT8};
enum { KINDS = 3 };

static void run(federation_t *f)
{
    federation_init(f);
    federation_start(f);
    gossip_sim_run(f->sim, LIMIT);
    federation_assert_one(f, 0);
}

/* The consensus is float32 whatever the codec: it comes as near as asked for, in as many
 * exchanges. */
static void every_codec_ends_in_one_consensus(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        federation_t f = {.peers = 6,
                          .topology = GOSSIP_RING,
                          .rounds = 4,
                          .weights = 600,
                          .rows = 10,
                          .channels = 3,
                          .distance = 1e-6,
                          .deadline = GOSSIP_DEADLINE_NONE,
                          .codec = {.kind = kinds[k]}};
        run(&f);
        for (size_t p = 0; p < f.peers; p++) {
            assert_int_equal(f.rounds_trained[p], 4);
            assert_true(f.report[p].bound >= 0 && f.report[p].bound <= 1e-6);
            for (int note = GOSSIP_NOTE_DEAD; note <= GOSSIP_NOTE_REFUSED; note++)
                assert_true(note == GOSSIP_NOTE_BACK || f.notes[p][note] == 0);
        }
        federation_free(&f);
    }
}

static void codecs_go_with_graphs_drawn_anew_and_robust_rules(void **state)
{
    (void)state;
    federation_t f = {.peers = 6,
                      .topology = GOSSIP_EPIDEMIC,
                      .degree = 2,
                      .rounds = 6,
                      .weights = 600,
                      .rows = 10,
                      .channels = 3,
                      .deadline = GOSSIP_DEADLINE_NONE,
                      .codec = {.kind = GOSSIP_CODEC_INT8}};
    run(&f);
    assert_true(f.report[0].bound >= 0 && f.report[0].bound <= 1e-4);
    federation_free(&f);
    f = (federation_t){.peers = 5,
                       .rounds = 6,
                       .weights = 600,
                       .rows = 10,
                       .channels = 3,
                       .deadline = GOSSIP_DEADLINE_NONE,
                       .codec = {.kind = GOSSIP_CODEC_INT8}};
    federation_init(&f);
    for (size_t p = 0; p < f.peers; p++) {
        f.config[p].robust = GOSSIP_ROBUST_CLIPPED;
        f.config[p].hostile = 1;
    }
    federation_start(&f);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    federation_free(&f);
}

/* A liar, with any codec, gets NaN into nobody, and its neighbours go on. */
static void say_nan(void *user, uint32_t exchange, float *values)
{
    (void)user, (void)exchange;
    values[3] = NAN;
}

static void hear_all(void *user, uint32_t exchange, const float *const *models, size_t count)
{
    (void)user, (void)exchange, (void)models, (void)count;
}

static void nan_enters_no_model(void **state)
{
    (void)state;
    static const gossip_codec_t codecs[] = {{.kind = GOSSIP_CODEC_FP16},
                                            {.kind = GOSSIP_CODEC_BF16},
                                            {.kind = GOSSIP_CODEC_INT8},
                                            {GOSSIP_CODEC_TOPK, 0.2, 0},
                                            {GOSSIP_CODEC_RANDOMK, 0.2, 4}};
    static const gossip_tamper_t liar = {.heard = hear_all, .publish = say_nan};
    for (int c = 0; c < 5; c++) {
        federation_t f = {.peers = 5,
                          .rounds = 6,
                          .weights = 300,
                          .rows = 10,
                          .deadline = GOSSIP_DEADLINE_FIXED,
                          .consensus_max = 5,
                          .codec = codecs[c]};
        federation_init(&f);
        f.config[4].tamper = &liar;
        federation_start(&f);
        for (int64_t now = 0; now < 8000; now += 100) {
            gossip_sim_run(f.sim, now);
            for (size_t p = 0; p < 4; p++) {
                const gossip_t *g = gossip_sim_peer(f.sim, p);
                for (size_t i = 0; g && i < f.weights; i++)
                    assert_true(isfinite(g->mixed[i]));
            }
        }
        for (size_t p = 0; p < 5; p++)
            assert_int_equal(f.rounds_trained[p], 6);
        federation_free(&f);
    }
}

/* What peer p gives to exchange 1: as the federation's training makes it of the start. */
static float *given(const federation_t *f, size_t p)
{
    float *values = xcalloc(federation_floats(f), sizeof *values);
    rng_t rng;
    rng_init(&rng, 7, RNG_STREAM_TEST, p, 1);
    for (size_t i = 0; i < federation_floats(f); i++) {
        double move = f->step * rng_normal(&rng);
        values[i] = i >= f->weights + f->channels ? (float)(f->start[i] * exp(move))
                                                  : (float)(f->start[i] + move);
    }
    return values;
}

/* x_i = x½_i + sum_j W_ij (C(x½_j) - C(x½_i)) on a ring of equal peers, W = 1/3; so the mean stays
 * where it is, though each weight is wrong by up to half a scale. Statistics are plain averages. */
static void what_the_codec_leaves_out_stays_with_its_peer(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        federation_t f = {.peers = 5,
                          .topology = GOSSIP_RING,
                          .rounds = 2,
                          .weights = 800,
                          .rows = 8,
                          .channels = 4,
                          .step = 0.5,
                          .deadline = GOSSIP_DEADLINE_NONE,
                          .codec = {.kind = kinds[k]}};
        run(&f);
        size_t floats = federation_floats(&f), w = f.weights, c = f.channels;
        float *x[5], *coded[5];
        gossip_table_t table = f.config[0].table;
        uint8_t *bytes = xcalloc(gossip_codec_bytes(&f.codec, &table), 1);
        for (size_t p = 0; p < 5; p++) {
            x[p] = given(&f, p);
            coded[p] = xcalloc(floats, sizeof(float));
            double residual;
            assert_true(gossip_codec_encode(bytes, x[p], &table, &f.codec, p, 1));
            assert_true(gossip_codec_decode(coded[p], &residual, bytes,
                                            gossip_codec_bytes(&f.codec, &table), &table, &f.codec,
                                            p, 1));
        }
        double apart = 0;
        for (size_t i = 0; i < floats; i++) {
            double before = 0, after = 0;
            for (size_t p = 0; p < 5; p++) {
                const float *left = coded[(p + 4) % 5], *right = coded[(p + 1) % 5];
                double want = x[p][i] + (left[i] + right[i] - 2.0 * coded[p][i]) / 3;
                if (i >= w + c) { /* variances: the centred form */
                    const float *all[] = {left, coded[p], right};
                    double mean = (left[i - c] + coded[p][i - c] + right[i - c]) / 3.0;
                    want = 0;
                    for (int m = 0; m < 3; m++)
                        want += (all[m][i] + (all[m][i - c] - mean) * (all[m][i - c] - mean)) / 3;
                }
                assert_true(fabs(f.history[p][2][i] - want) < 2e-6 * fmax(1, fabs(want)));
                before += x[p][i], after += f.history[p][2][i];
                apart += i < w ? fabs((double)x[p][i] - coded[p][i]) : 0;
            }
            assert_true(i >= w || fabs(before - after) < 5e-6);
        }
        assert_true(apart / (5 * (double)w) > 1e-4); /* the codec did leave something out */
        for (size_t p = 0; p < 5; p++)
            free(x[p]), free(coded[p]);
        free(bytes);
        federation_free(&f);
    }
}

static void lost_frames_change_no_bit(void **state)
{
    (void)state;
    federation_t settings = {.peers = 4,
                             .topology = GOSSIP_RING,
                             .rounds = 3,
                             .channels = 2,
                             .weights = 400000,
                             .rows = 100,
                             .deadline = GOSSIP_DEADLINE_NONE,
                             .codec = {.kind = GOSSIP_CODEC_INT8},
                             .net = {.seed = test_seed, .jitter_ms = 3}};
    federation_assert_loss_bears(&settings, 20);
}

/* A model of `size` bytes at 8-byte aligned `bytes`, with digests that fit. */
static void give(frames_t *f, bool trained, const void *bytes, size_t size)
{
    wire_chunk_t chunk = frames_chunk(f);
    chunk.trained = trained;
    frames_fill(&chunk, bytes, size);
    frames_give(f, &chunk);
}

static void coded_models_are_bounded_and_checked(void **state)
{
    (void)state;
    const gossip_codec_t codec = {.kind = GOSSIP_CODEC_INT8};
    for (int bad = 0; bad < 5; bad++) {
        frames_t f;
        _Alignas(8) uint8_t bytes[64] = {0};
        float decoded[FRAMES_FLOATS];
        const float nan = NAN;
        frames_init_coded(&f, codec);
        size_t size = gossip_codec_bytes(&codec, &f.g->config.table);
        assert_true(size < sizeof bytes && size != sizeof f.values);
        const gossip_table_t *table = &f.g->config.table;
        double residual;
        assert_true(gossip_codec_encode(bytes, f.values, table, &codec, 1, 1) &&
                    gossip_codec_decode(decoded, &residual, bytes, size, table, &codec, 1, 1));
        const assembly_t *slot = &f.g->links[0].slot[1];
        if (bad == 0) { /* as it should be */
            give(&f, true, bytes, size);
            assert_true(slot->whole && !slot->refused);
            assert_memory_equal(slot->data, decoded, sizeof decoded);
        } else if (bad == 1) { /* what was not agreed: float32 in a training exchange */
            give(&f, true, f.values, sizeof f.values);
            assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_FRAMES_BAD), 1);
            assert_false(slot->open);
        } else if (bad == 2) { /* nor int8 in one of the consensus */
            give(&f, false, bytes, size);
            assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_FRAMES_BAD), 1);
            assert_false(slot->open);
        } else if (bad == 3) { /* a scale that is none */
            memcpy(bytes + 8, &nan, sizeof nan);
            give(&f, true, bytes, size);
        } else { /* a number that int8 never gives */
            bytes[size - 1] = 0x80;
            give(&f, true, bytes, size);
        }
        if (bad >= 3) {
            assert_true(slot->refused && !slot->whole);
            assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_MODELS_REFUSED), 1);
        }
        frames_free(&f);
    }
}

static void another_codec_is_another_federation(void **state)
{
    (void)state;
    federation_t f = {
        .peers = 2, .rounds = 2, .deadline = GOSSIP_DEADLINE_FIXED, .start_wait_ms = 100};
    federation_init(&f);
    f.config[1].codec.kind = GOSSIP_CODEC_INT8;
    memcpy(f.config[1].sections[1].name, "codec", 6);
    memcpy(f.config[0].sections[1].name, "codec", 6);
    f.config[1].sections[1].digest[0] ^= 1;
    federation_start(&f);
    gossip_sim_run(f.sim, 5000);
    assert_int_equal(f.notes[0][GOSSIP_NOTE_REFUSED], 1);
    assert_string_equal(f.refused, "another federation, differs in: codec");
    assert_int_equal(gossip_counter(gossip_sim_peer(f.sim, 0), GOSSIP_COUNT_CHUNKS_IN), 0);
    federation_free(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_codec_ends_in_one_consensus),
    cmocka_unit_test(codecs_go_with_graphs_drawn_anew_and_robust_rules),
    cmocka_unit_test(nan_enters_no_model),
    cmocka_unit_test(what_the_codec_leaves_out_stays_with_its_peer),
    cmocka_unit_test(lost_frames_change_no_bit),
    cmocka_unit_test(coded_models_are_bounded_and_checked),
    cmocka_unit_test(another_codec_is_another_federation),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
