/* Differences to replicas: CHOCO and the sparse codecs against float64, and when messages or peers
 * are lost. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/codec.h"
#include "gossip/mix.h"
#include "gossip/replica.h"
#include "tests/gossip/federation.h"
#include "tests/support/harness.h"

static const int64_t LIMIT = 3000000;

static void read_line(FILE *file, const char *name, void *out, size_t size)
{
    char word[16];
    assert_int_equal(fscanf(file, "%15s", word), 1);
    assert_string_equal(word, name);
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        assert_int_equal(fscanf(file, "%2x", &byte), 1);
        ((uint8_t *)out)[i] = (uint8_t)byte;
    }
}

static void ten_rounds_are_those_of_float64(void **state)
{
    (void)state;
    enum { PEERS = 5, ROUNDS = 10, FLOATS = 66 };
    static const struct {
        const char *name;
        gossip_codec_t codec;
        double gamma;
    } cases[] = {{"fp32", {.kind = GOSSIP_CODEC_FP32}, 0.5},
                 {"int8", {.kind = GOSSIP_CODEC_INT8}, 1.0},
                 {"topk", {GOSSIP_CODEC_TOPK, 0.25, 0}, 0.6}};
    static float start[FLOATS], moves[ROUNDS][PEERS][FLOATS];
    FILE *file = fopen(GOLDEN_DIR "/choco.txt", "r");
    assert_non_null(file);
    read_line(file, "start", start, sizeof start);
    for (int r = 0; r < ROUNDS; r++)
        for (int p = 0; p < PEERS; p++)
            read_line(file, "move", moves[r][p], sizeof moves[r][p]);
    for (int c = 0; c < 3; c++) {
        federation_t f = {.peers = PEERS,
                          .topology = GOSSIP_RING,
                          .rounds = ROUNDS,
                          .weights = 60,
                          .rows = 5,
                          .channels = 3,
                          .samples = {100, 300, 50, 200, 120},
                          .deadline = GOSSIP_DEADLINE_NONE,
                          .codec = cases[c].codec,
                          .choco = true,
                          .gamma = cases[c].gamma,
                          .moves = &moves[0][0][0]};
        federation_init(&f);
        memcpy(f.start, start, sizeof start);
        federation_start(&f);
        gossip_sim_run(f.sim, LIMIT);
        federation_assert_one(&f, 0);
        for (int p = 0; p < PEERS; p++) {
            double want[FLOATS];
            read_line(file, cases[c].name, want, sizeof want);
            for (int i = 0; i < FLOATS; i++)
                if (fabs(f.trained[p][i] - want[i]) > 1e-5 * fmax(1, fabs(want[i])))
                    fail_msg("%s, peer %d, %d: %.9g instead of %.9g", cases[c].name, p, i,
                             f.trained[p][i], want[i]);
        }
        federation_free(&f);
    }
    fclose(file);
}

/* Peers part in round 1 and train no more: they come together at the n-weighted mean. */
static void the_fixed_point_is_the_mean(void **state)
{
    (void)state;
    enum { ROUNDS = 200, PEERS = 6, W = 40 };
    static const gossip_codec_t codecs[] = {
        {GOSSIP_CODEC_TOPK, 0.25, 0}, {GOSSIP_CODEC_RANDOMK, 0.4, 5}, {.kind = GOSSIP_CODEC_INT8}};
    for (int c = 0; c < 3; c++) {
        static float moves[ROUNDS][PEERS][W];
        rng_t rng = test_rng(2);
        for (int p = 0; p < PEERS; p++)
            for (int i = 0; i < W; i++)
                moves[0][p][i] = (float)rng_normal(&rng);
        federation_t f = {.peers = PEERS,
                          .topology = GOSSIP_RING,
                          .rounds = ROUNDS,
                          .samples = {1, 2, 3, 4, 5, 6},
                          .deadline = GOSSIP_DEADLINE_NONE,
                          .codec = codecs[c],
                          .choco = true,
                          .moves = &moves[0][0][0]};
        federation_init(&f);
        federation_start(&f);
        gossip_sim_run(f.sim, LIMIT);
        federation_assert_one(&f, 0);
        double apart = 0;
        for (int i = 0; i < W; i++) {
            double mean = f.start[i];
            for (int p = 0; p < PEERS; p++)
                mean += (p + 1) / 21.0 * moves[0][p][i];
            for (int p = 0; p < PEERS; p++)
                apart = fmax(apart, fabs(f.trained[p][i] - mean));
        }
        if (!(apart < 2e-3))
            fail_msg("%s: %g from the mean", gossip_codec_name(codecs[c].kind), apart);
        federation_free(&f);
    }
}

/* Some have ended their training when others still send differences: neither side pulls harder. */
static void the_mean_stays_where_training_ends_a_round_apart(void **state)
{
    (void)state;
    enum { ROUNDS = 200, PEERS = 6, W = 40, C = 2 };
    static const gossip_codec_t codecs[] = {
        {GOSSIP_CODEC_TOPK, 0.25, 0}, {GOSSIP_CODEC_RANDOMK, 0.4, 5}, {.kind = GOSSIP_CODEC_INT8}};
    static float moves[ROUNDS][PEERS][W + 2 * C];
    for (int c = 0; c < 3; c++) {
        federation_t f = {.peers = PEERS,
                          .topology = GOSSIP_RING,
                          .rounds = ROUNDS,
                          .weights = W,
                          .channels = C,
                          .samples = {1, 2, 3, 4, 5, 6},
                          .train_ms = {600}, /* the others are a round ahead, or two */
                          .deadline = GOSSIP_DEADLINE_NONE,
                          .distance = 1e-6,
                          .codec = codecs[c],
                          .choco = true,
                          .gamma = 0.3,
                          .moves = &moves[0][0][0]};
        rng_t rng = test_rng(2);
        for (int r = 0; r < 3; r++)
            for (int p = 0; p < PEERS; p++)
                for (int i = 0; i < W + C; i++)
                    moves[r][p][i] = (float)rng_normal(&rng);
        federation_init(&f);
        federation_start(&f);
        gossip_sim_give(f.sim, 0, &(gossip_event_t){.kind = GOSSIP_EV_END_TRAINING}, 2000);
        gossip_sim_run(f.sim, LIMIT);
        federation_assert_one(&f, 0);
        assert_true(f.rounds_trained[3] == f.rounds_trained[0] + 1 && f.rounds_trained[0] >= 3);
        double apart = 0;
        for (int i = 0; i < W + C; i++) {
            double mean = f.start[i];
            for (int r = 0; r < 3; r++)
                for (int p = 0; p < PEERS; p++)
                    mean += (p + 1) / 21.0 * moves[r][p][i];
            apart = fmax(apart, fabs(f.estimate[1][i] - mean));
        }
        if (!(apart < 1e-4))
            fail_msg("%s: %g from the mean", gossip_codec_name(codecs[c].kind), apart);
        federation_free(&f);
    }
}

static void lie(void *user, uint32_t exchange, float *values)
{
    (void)exchange;
    for (size_t i = 0; i < *(const size_t *)user; i++)
        values[i] *= -10;
}

static void learn(void *user, uint32_t exchange, const float *const *models, size_t count)
{
    (void)user, (void)exchange, (void)models, (void)count;
}

/* Its neighbour takes nothing of it, so what it hears is the same: its own model is what it would
 * be if it did not lie, to the bit. */
static void a_liars_own_model_does_not_follow_its_lies(void **state)
{
    (void)state;
    enum { ROUNDS = 30, W = 40 };
    static float moves[ROUNDS][2][W];
    static const gossip_codec_t codecs[] = {{GOSSIP_CODEC_TOPK, 0.25, 0},
                                            {.kind = GOSSIP_CODEC_INT8}};
    size_t floats = W;
    const gossip_tamper_t liar = {.user = &floats, .heard = learn, .publish = lie};
    for (int c = 0; c < 2; c++) {
        float *own[2] = {NULL, NULL};
        for (int lies = 0; lies < 2; lies++) {
            federation_t f = {.peers = 2,
                              .rounds = ROUNDS,
                              .weights = W,
                              .deadline = GOSSIP_DEADLINE_NONE,
                              .consensus_max = 5,
                              .codec = codecs[c],
                              .choco = true,
                              .moves = &moves[0][0][0]};
            rng_t rng = test_rng(3);
            for (int i = 0; i < W; i++)
                moves[0][0][i] = (float)rng_normal(&rng);
            federation_init(&f);
            f.config[0].tamper = lies ? &liar : NULL;
            f.config[1].robust = GOSSIP_ROBUST_MEDIAN; /* of two models: its own stays */
            f.config[1].hostile = 1;
            federation_start(&f);
            gossip_sim_run(f.sim, LIMIT);
            assert_int_equal(f.rounds_trained[0], ROUNDS);
            assert_int_equal(f.rounds_trained[1], ROUNDS);
            own[lies] = f.trained[0];
            f.trained[0] = NULL;
            federation_free(&f);
        }
        assert_memory_equal(own[0], own[1], sizeof moves[0][0]);
        free(own[0]);
        free(own[1]);
    }
}

/* Who holds an x^ of a peer's newest exchange holds its bits. Returns how many were compared. */
static unsigned assert_replicas_agree(const federation_t *f)
{
    unsigned compared = 0;
    for (size_t a = 0; a < f->peers; a++) {
        gossip_t *g = (gossip_t *)gossip_sim_peer(f->sim, a);
        for (size_t k = 0; g && k < g->link_count; k++) {
            const link_t *link = &g->links[k];
            const gossip_t *other = gossip_sim_peer(f->sim, link->peer);
            for (uint32_t at = 0; other && at < 2; at++) {
                uint32_t e = other->own_exchange[at];
                if (!e || !other->own_trained[at] || !replica_is_at(g, link, e))
                    continue;
                assert_memory_equal(replica_of(g, link), replica_own(other, at), g->bytes);
                compared++;
            }
        }
    }
    return compared;
}

/* Returns how many were compared at `from` or later. */
static unsigned run_on(federation_t *f, int64_t from, int64_t until)
{
    unsigned compared = 0;
    for (int64_t now = 0; now < until; now += 50) {
        gossip_sim_run(f->sim, now);
        unsigned agree = assert_replicas_agree(f);
        compared += now >= from ? agree : 0;
    }
    return compared;
}

static const gossip_codec_t sparse[] = {{GOSSIP_CODEC_TOPK, 0.1, 0},
                                        {GOSSIP_CODEC_RANDOMK, 0.1, 9}};

static void lost_frames_change_no_bit(void **state)
{
    (void)state;
    federation_t settings = {.peers = 4,
                             .topology = GOSSIP_RING,
                             .rounds = 5,
                             .channels = 2,
                             .weights = 200000,
                             .rows = 100,
                             .deadline = GOSSIP_DEADLINE_NONE,
                             .codec = sparse[0],
                             .net = {.seed = test_seed, .jitter_ms = 3}};
    federation_assert_loss_bears(&settings, 20);
}

/* A peer is cut off for some rounds, which go on without it: x^ of before are worth nothing then,
 * and whole ones are asked for. */
static void missed_differences_are_made_good_by_whole_replicas(void **state)
{
    (void)state;
    for (int c = 0; c < 2; c++) {
        federation_t f = {.peers = 4,
                          .rounds = 60,
                          .channels = 2,
                          .weights = 500,
                          .deadline = GOSSIP_DEADLINE_FIXED,
                          .codec = sparse[c]};
        const uint8_t side[] = {0, 0, 0, 1};
        federation_init(&f);
        for (size_t p = 0; p < f.peers; p++)
            f.config[p].deadline_ceiling_ms = 1500;
        federation_start(&f);
        gossip_sim_partition(f.sim, side, 1000, 8000);
        unsigned before = 0, after = 0;
        for (int64_t now = 0; now < LIMIT && !f.done[0]; now += 20) {
            gossip_sim_run(f.sim, now);
            assert_replicas_agree(&f);
            const gossip_t *g = gossip_sim_peer(f.sim, 0), *cut = gossip_sim_peer(f.sim, 3);
            if (!g || !cut || f.rounds_trained[0] >= 60)
                continue;
            const link_t *link = link_of((gossip_t *)g, 3);
            uint32_t at = g->mixed_exchange;
            before += now > 4000 && now < 8000 && replica_is_at(g, link, at);
            after += now > 9500 && replica_is_at(g, link, at) && at > 5;
        }
        assert_int_equal(before, 0); /* cut off */
        assert_true(after > 20);     /* and in step again */
        gossip_sim_run(f.sim, LIMIT);
        federation_assert_one(&f, 0);
        federation_free(&f);
    }
}

static void a_peer_that_comes_back_takes_whole_replicas(void **state)
{
    (void)state;
    federation_t f = {.peers = 4,
                      .topology = GOSSIP_RING,
                      .rounds = 40,
                      .channels = 2,
                      .weights = 500,
                      .deadline = GOSSIP_DEADLINE_ADAPTIVE,
                      .codec = sparse[0]};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_crash(f.sim, 2, 2000);
    federation_start_peer(&f, 2, 4000, true);
    assert_true(run_on(&f, 6000, 20000) > 200);
    assert_true(f.notes[2][GOSSIP_NOTE_CAUGHT_UP] >= 1);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    federation_free(&f);
}

/* All go on from a checkpoint, where nobody has an x^: each begins with a whole one. */
static void peers_that_go_on_begin_with_whole_replicas(void **state)
{
    (void)state;
    federation_t f = {.peers = 4,
                      .rounds = 9,
                      .channels = 2,
                      .weights = 500,
                      .deadline = GOSSIP_DEADLINE_NONE,
                      .codec = sparse[1]};
    federation_init(&f);
    for (size_t p = 0; p < f.peers; p++)
        f.config[p].first_round = 4;
    federation_start(&f);
    assert_true(run_on(&f, 300, 900) > 50);
    for (size_t p = 0; p < f.peers; p++) { /* they were pushed, nobody had to ask */
        assert_in_range(f.rounds_trained[p], 6, 8);
        assert_int_equal(gossip_counter(gossip_sim_peer(f.sim, p), GOSSIP_COUNT_REPAIRS_ASKED), 0);
    }
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    federation_free(&f);
}

/* What a certificate is of are the models themselves, not what is known of them. */
static void distances_are_of_the_models(void **state)
{
    (void)state;
    enum { PEERS = 5, W = 400 };
    static float moves[PEERS][W], x[PEERS][W];
    for (int c = 0; c < 3; c++) {
        static const gossip_codec_t codecs[] = {{GOSSIP_CODEC_TOPK, 0.1, 0},
                                                {GOSSIP_CODEC_RANDOMK, 0.1, 9},
                                                {.kind = GOSSIP_CODEC_INT8}};
        federation_t f = {.peers = PEERS,
                          .rounds = 1,
                          .weights = W,
                          .deadline = GOSSIP_DEADLINE_NONE,
                          .codec = codecs[c],
                          .moves = &moves[0][0]};
        rng_t rng = test_rng(6);
        federation_init(&f);
        for (int p = 0; p < PEERS; p++)
            for (int i = 0; i < W; i++) {
                moves[p][i] = (float)rng_normal(&rng);
                x[p][i] = f.start[i] + moves[p][i];
            }
        federation_start(&f);
        for (int64_t now = 0; gossip_sim_now_ms(f.sim) < 100000; now++) {
            gossip_sim_run(f.sim, now);
            const gossip_t *g = gossip_sim_peer(f.sim, 1);
            if (g && g->mixed_exchange == 1)
                break;
        }
        const gossip_t *g = gossip_sim_peer(f.sim, 1);
        const certificate_t *edge = &g->certificates[1 % g->certificate_count];
        double truth = 0;
        for (int p = 0; p < PEERS; p++)
            truth = fmax(truth, gossip_distance(x[1], x[p], &g->config.table));
        assert_int_equal(edge->exchange, 1);
        if (!(edge->edge >= truth && edge->edge < 4 * truth))
            fail_msg("codec %d: %g told, %g true", c, edge->edge, truth);
        federation_free(&f);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ten_rounds_are_those_of_float64),
    cmocka_unit_test(the_fixed_point_is_the_mean),
    cmocka_unit_test(the_mean_stays_where_training_ends_a_round_apart),
    cmocka_unit_test(a_liars_own_model_does_not_follow_its_lies),
    cmocka_unit_test(lost_frames_change_no_bit),
    cmocka_unit_test(missed_differences_are_made_good_by_whole_replicas),
    cmocka_unit_test(a_peer_that_comes_back_takes_whole_replicas),
    cmocka_unit_test(peers_that_go_on_begin_with_whole_replicas),
    cmocka_unit_test(distances_are_of_the_models),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
