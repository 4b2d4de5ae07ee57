/* Asynchronous training, seen through whole peers: nobody waits, nothing is mixed twice. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/async.h"
#include "gossip/codec.h"
#include "tests/gossip/federation.h"
#include "tests/gossip/frames.h"
#include "tests/gossip/scripted.h"
#include "tests/support/harness.h"

/* -- against NumPy -- */

typedef struct {
    scripted_t s; /* first */
    uint32_t age[SCRIPTED_PEERS];
} aged_t;

static bool aged_node(void *user, size_t p, const gossip_action_t *action, gossip_event_t *answer,
                      int64_t *busy_ms)
{
    aged_t *a = user;
    if (action->kind == GOSSIP_ACT_TRAINED)
        a->age[p] = gossip_sim_peer(a->s.f.sim, p)->age;
    return federation_node(&a->s.f, p, action, answer, busy_ms);
}

static void ten_rounds_agree_with_numpy(void **state)
{
    (void)state;
    static aged_t a;
    federation_t *f = &a.s.f;
    FILE *file = fopen(GOLDEN_DIR "/gossip_async.txt", "r");
    assert_non_null(file);
    scripted_open(&a.s, file, GOSSIP_ASYNC);
    f->staleness = (uint32_t)scripted_number(file);
    f->net.delay_ms = scripted_number(file);
    scripted_edges(&a.s);
    for (size_t p = 0; p < f->peers; p++)
        f->train_ms[p] = (int64_t)scripted_number(file);
    scripted_models(&a.s);
    scripted_run(&a.s, aged_node);
    for (size_t p = 0; p < f->peers; p++)
        assert_int_equal(a.age[p], (uint32_t)scripted_number(file));
    scripted_close(&a.s);
}

/* -- nobody waits -- */

/* Virtual ms until peers 1 and up have had their rounds. */
static int64_t others_need(gossip_scheme_t scheme, int64_t slow_ms)
{
    federation_t f = {.peers = 8,
                      .topology = GOSSIP_RING,
                      .scheme = scheme,
                      .rounds = 20,
                      .weights = 60,
                      .channels = 2,
                      .staleness = 100,
                      .train_ms = {slow_ms, 200, 210, 190, 205, 195, 200, 215},
                      .deadline = GOSSIP_DEADLINE_NONE};
    int64_t now = 0;
    bool done = false;
    federation_init(&f);
    federation_start(&f);
    for (; !done && now < 1000000; now++) {
        gossip_sim_run(f.sim, now);
        done = true;
        for (size_t p = 1; p < f.peers; p++)
            done = done && gossip_sim_peer(f.sim, p)->over_told;
    }
    if (scheme == GOSSIP_ASYNC &&
        slow_ms >= 2000) { /* all who end first wait at one place for the last one */
        assert_int_equal(gossip_sim_peer(f.sim, 1)->exchange, 21);
        assert_int_equal(gossip_sim_peer(f.sim, 7)->exchange, 21);
        assert_true(f.rounds_trained[0] < 5);
    }
    gossip_sim_run(f.sim, 2000000);
    federation_assert_one(&f, 0);
    assert_int_equal(f.rounds_trained[0], 20);
    federation_free(&f);
    return now;
}

static void a_peer_ten_times_slower_holds_nobody_up(void **state)
{
    (void)state;
    int64_t alike = others_need(GOSSIP_ASYNC, 200), slow = others_need(GOSSIP_ASYNC, 2000);
    assert_true((double)alike / (double)slow >= 0.9);
    /* and that is not so when all wait for all */
    assert_true(others_need(GOSSIP_DPSGD, 2000) > 5 * slow);
}

static void with_a_deadline_the_end_does_not_wait_either(void **state)
{
    (void)state;
    federation_t f = {.peers = 5,
                      .scheme = GOSSIP_ASYNC,
                      .rounds = 6,
                      .weights = 40,
                      .staleness = 10,
                      .train_ms = {200, 200, 100000, 200, 200},
                      .deadline = GOSSIP_DEADLINE_FIXED};
    federation_init(&f);
    for (size_t p = 0; p < f.peers; p++)
        f.config[p].deadline_ceiling_ms = 2000;
    federation_start(&f);
    /* six rounds of the slow one would take ten minutes; its first one is not broken off */
    gossip_sim_run(f.sim, 150000);
    federation_assert_one(&f, 0);
    assert_int_equal(f.rounds_trained[2], 1);
    federation_free(&f);
}

static void peers_stopped_at_different_rounds_meet(void **state)
{
    (void)state;
    federation_t f = {.peers = 5,
                      .topology = GOSSIP_LINE,
                      .scheme = GOSSIP_ASYNC,
                      .rounds = 40,
                      .weights = 40,
                      .channels = 2,
                      .staleness = 10,
                      .train_ms = {200, 333, 500, 250, 1000},
                      .deadline = GOSSIP_DEADLINE_NONE};
    federation_init(&f);
    federation_start(&f);
    for (size_t p = 0; p < f.peers; p++)
        gossip_sim_give(f.sim, p, &(gossip_event_t){.kind = GOSSIP_EV_END_TRAINING},
                        3050 + 40 * (int64_t)p);
    gossip_sim_run(f.sim, 2000000);
    federation_assert_one(&f, 0);
    assert_int_equal(f.rounds_trained[0], 16);
    assert_int_equal(f.rounds_trained[4], 4);
    for (size_t p = 0; p < f.peers; p++) /* nobody gave its model up for another's */
        assert_int_equal(f.notes[p][GOSSIP_NOTE_CAUGHT_UP], 0);
    assert_true(f.report[0].bound >= 0 && f.report[0].bound <= 1e-4);
    federation_free(&f);
}

/* -- faults -- */

static void losses_and_codecs_are_borne(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        federation_t f = {.peers = 6,
                          .scheme = GOSSIP_ASYNC,
                          .rounds = 12,
                          .weights = 120000, /* several chunks */
                          .channels = 2,
                          .staleness = 10,
                          .step = 0.01,
                          .train_ms = {200, 340, 260, 410, 3000, 230},
                          .net = {.seed = 3, .loss = 0.2, .delay_ms = 2, .jitter_ms = 10},
                          .deadline = GOSSIP_DEADLINE_NONE};
        federation_init(&f);
        for (size_t p = 0; p < f.peers; p++)
            f.config[p].codec.kind = k ? GOSSIP_CODEC_INT8 : GOSSIP_CODEC_FP32;
        federation_start(&f);
        /* models that lost a chunk are asked for by who trains still */
        gossip_sim_run(f.sim, 35000);
        assert_int_equal(gossip_sim_peer(f.sim, 4)->phase, PHASE_TRAIN);
        assert_true(k == 1 ||
                    gossip_counter(gossip_sim_peer(f.sim, 4), GOSSIP_COUNT_REPAIRS_ASKED) > 0);
        gossip_sim_run(f.sim, 10000000);
        federation_assert_one(&f, 0);
        federation_free(&f);
    }
}

static void a_peer_that_starts_again_goes_on_with_the_others(void **state)
{
    (void)state;
    federation_t f = {.peers = 5,
                      .topology = GOSSIP_RING,
                      .scheme = GOSSIP_ASYNC,
                      .rounds = 30,
                      .weights = 60,
                      .staleness = 10,
                      .train_ms = {200, 340, 260, 410, 230},
                      .deadline = GOSSIP_DEADLINE_NONE};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_crash(f.sim, 1, 2000);
    federation_start_peer(&f, 1, 3500, true);
    gossip_sim_run(f.sim, 3500);
    for (int64_t now = 3500; gossip_sim_peer(f.sim, 1)->phase == PHASE_JOIN; now++)
        gossip_sim_run(f.sim, now);
    assert_true(gossip_sim_peer(f.sim, 1)->exchange > 8);
    assert_true(gossip_sim_peer(f.sim, 1)->age > 8);
    gossip_sim_run(f.sim, 2000000);
    federation_assert_one(&f, 0);
    federation_free(&f);
}

/* -- what comes in is bounded -- */

/* Ben's model of a number and an age: all its values are `value`. */
static void give(frames_t *f, uint64_t number, uint64_t age, float value, bool trained)
{
    float values[FRAMES_FLOATS];
    wire_chunk_t chunk = frames_chunk(f);
    for (size_t i = 0; i < FRAMES_FLOATS; i++)
        values[i] = value;
    chunk.object.number = number;
    chunk.age = age;
    chunk.trained = trained;
    frames_fill(&chunk, values, sizeof values);
    frames_give(f, &chunk);
}

static void give_ben(frames_t *f, uint64_t number, uint64_t age, float value)
{
    give(f, number, age, value, true);
}

static void give_own(frames_t *f, uint32_t round)
{
    frames_step(f, (gossip_event_t){.kind = GOSSIP_EV_MODEL, .round = round, .values = f->values});
    assert_int_equal(f->g->exchange, round + 1);
}

static void a_model_is_mixed_once_and_by_its_age(void **state)
{
    (void)state;
    frames_t f;
    frames_init_as(&f, GOSSIP_ASYNC, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    f.g->config.rounds = f.g->last_training = 9;
    give_ben(&f, 3, 6, 2.0f);
    give_own(&f, 1); /* age 2; a = 1 / 2, not 6 / 8, without cem, whom nobody has heard of */
    for (size_t i = 0; i < FRAMES_WEIGHTS; i++)
        assert_true(fabs(f.g->mixed[i] - (0.5 * f.values[i] + 0.5 * 2)) < 1e-6);
    assert_int_equal(f.g->age, 6);
    /* replays, of the same number and of older ones */
    hash_t before = gossip_state_digest(f.g);
    give_ben(&f, 3, 6, 2.0f);
    give_ben(&f, 3, 10, 5.0f);
    give_ben(&f, 1, 10, 5.0f);
    hash_t after = gossip_state_digest(f.g);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_CHUNKS_STALE), 3);
    give_own(&f, 2);
    assert_memory_equal(f.g->mixed, f.values, sizeof f.values);
    assert_int_equal(f.g->age, 7);
    /* of two the newer, in whatever order they come */
    give_ben(&f, 6, 7, 3.0f);
    give_ben(&f, 5, 7, 8.0f);
    give_own(&f, 3); /* age 8, a = 7 / 15 */
    for (size_t i = 0; i < FRAMES_WEIGHTS; i++)
        assert_true(fabs(f.g->mixed[i] - (8.0 / 15 * f.values[i] + 7.0 / 15 * 3)) < 1e-6);
    assert_int_equal(f.g->age, 8);
    frames_free(&f);
}

/* What a round that trains from `began` to `trained` leaves of weight 0 when ben's model, all
 * zeros, comes `early_ms` before its end, and the peer is stopped for `stall_ms` in between. */
static double after_a_round(float began, float trained, int64_t round_ms, int64_t early_ms,
                            int64_t stall_ms)
{
    frames_t f;
    frames_init_as(&f, GOSSIP_ASYNC, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    f.g->config.rounds = f.g->last_training = 9;
    f.g->mixed[0] = began;
    f.values[0] = trained;
    f.now += round_ms - early_ms - 1; /* a frame takes one */
    give_ben(&f, 1, 2, 0.0f);
    f.now += stall_ms;
    frames_step(&f, (gossip_event_t){.kind = GOSSIP_EV_TICK});
    f.now += early_ms - 2;
    give_own(&f, 1);
    double left = (double)f.g->mixed[0];
    frames_free(&f);
    return left;
}

/* Half of (began + what of the round ben's model could know) + the rest of the round, whole. */
static void what_a_model_cannot_know_of_stays_whole(void **state)
{
    (void)state;
    assert_true(fabs(after_a_round(1, 3, 1000, 1000, 0) - (0.5 * 1 + 2)) < 0.01);
    assert_true(fabs(after_a_round(1, 3, 1000, 500, 0) - (0.5 * 2 + 1)) < 0.01);
    assert_true(fabs(after_a_round(1, 3, 1000, 2, 0) - 0.5 * 3) < 0.01);
    /* a laptop asleep is no part of the round */
    assert_true(fabs(after_a_round(1, 3, 1000, 500, 60000) - (0.5 * 2 + 1)) < 0.01);
    /* a difference that is no float */
    assert_true(fabs(after_a_round(-3e38f, 3e38f, 1000, 500, 0) / 3e38 - 1) < 0.01);
}

static void a_round_of_no_time_is_one_nobody_knows_of(void **state)
{
    (void)state;
    frames_t f;
    frames_init_as(&f, GOSSIP_ASYNC, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    f.g->config.rounds = f.g->last_training = 9;
    f.now--; /* every step takes one */
    give_ben(&f, 1, 2, 0.0f);
    f.now--;
    f.values[0] += 2;
    give_own(&f, 1);
    assert_true(fabs((double)f.g->mixed[0] - (0.5 * 0.5 + 2)) < 1e-6);
    frames_free(&f);
}

/* Who trains nothing, among equals, stays as it is, though what travels is rounded. */
static void no_codec_moves_a_model(void **state)
{
    (void)state;
    static const gossip_codec_kind_t kinds[] = {GOSSIP_CODEC_FP16, GOSSIP_CODEC_BF16,
                                                GOSSIP_CODEC_INT8};
    for (size_t k = 0; k < 3; k++) {
        frames_t f;
        const gossip_codec_t codec = {.kind = kinds[k]};
        _Alignas(8) uint8_t bytes[128];
        float was[FRAMES_FLOATS];
        frames_init_as(&f, GOSSIP_ASYNC, codec);
        f.g->config.rounds = f.g->last_training = 9;
        for (int i = 0; i < FRAMES_WEIGHTS; i++)
            f.values[i] = 1.27f - 0.0337f * (float)i;
        memcpy(was, f.values, sizeof was);
        memcpy(f.g->mixed, was, sizeof was);
        for (uint32_t e = 1; e <= 6; e++) {
            wire_chunk_t chunk = frames_chunk(&f);
            assert_true(
                gossip_codec_encode(bytes, was, &f.g->config.table, &codec, 1, (uint64_t)e));
            chunk.object.number = e;
            chunk.age = e + 1;
            chunk.trained = true;
            frames_fill(&chunk, bytes, gossip_codec_bytes(&codec, &f.g->config.table));
            frames_give(&f, &chunk);
            f.now += 100;
            give_own(&f, e);
            assert_int_equal(f.g->report.heard, 1);
            double left_out, squares = 0; /* heard of, and of oneself */
            memcpy(&left_out, bytes, sizeof left_out);
            for (int i = 0; i < FRAMES_WEIGHTS; i++)
                squares += (double)was[i] * (double)was[i];
            assert_true(f.g->report.distance > 1.9 * left_out / sqrt(squares));
            memcpy(f.values, f.g->mixed, sizeof f.values);
        }
        for (int i = 0; i < FRAMES_WEIGHTS; i++)
            assert_true(fabs((double)f.g->mixed[i] - (double)was[i]) < 1e-6);
        frames_free(&f);
    }
}

static void the_newest_whole_model_stays_until_a_newer_is_whole(void **state)
{
    (void)state;
    static const struct {
        uint64_t number[2];
        bool whole[2];
        uint64_t comes;
        int place;
    } cases[] = {
        {{0, 0}, {false, false}, 1, 0},  {{5, 0}, {true, false}, 6, 1},
        {{5, 6}, {true, false}, 7, 1},   {{6, 5}, {false, true}, 7, 0},
        {{5, 6}, {true, true}, 7, 0},    {{5, 6}, {false, false}, 7, 0},
        {{5, 7}, {true, false}, 6, -1},  {{5, 7}, {true, false}, 7, 1},
        {{5, 7}, {true, false}, 5, 0},   {{5, 7}, {true, false}, 4, -1},
        {{5, 7}, {false, false}, 4, -1}, {{5, 7}, {false, false}, 6, 0},
    };
    frames_t f;
    frames_init_as(&f, GOSSIP_ASYNC, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    f.g->config.rounds = f.g->last_training = 9;
    link_t *link = &f.g->links[0];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wire_chunk_t chunk = frames_chunk(&f);
        chunk.object.number = cases[i].comes;
        for (int s = 0; s < 2; s++) {
            link->slot[s].open = link->trained[s] = cases[i].number[s] != 0;
            link->slot[s].whole = cases[i].whole[s];
            link->slot[s].id = chunk.object;
            link->slot[s].id.number = cases[i].number[s];
        }
        if (async_slot(f.g, link, &chunk) != cases[i].place)
            fail_msg("case %zu: slot %d", i, async_slot(f.g, link, &chunk));
    }
    frames_free(&f);
}

static void what_is_too_old_is_left_out(void **state)
{
    (void)state;
    frames_t f;
    frames_init_as(&f, GOSSIP_ASYNC, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    f.g->config.rounds = f.g->last_training = 9;
    f.g->config.staleness = 2;
    f.g->age = 5;
    give_ben(&f, 1, 3, 2.0f);
    give_own(&f, 1); /* age 6: 3 rounds behind */
    assert_memory_equal(f.g->mixed, f.values, sizeof f.values);
    give_ben(&f, 2, 5, 2.0f);
    give_own(&f, 2); /* age 7: 2 behind, so half */
    assert_true(fabs(f.g->mixed[0] - (7.0 / 9.5 * f.values[0] + 2.5 / 9.5 * 2)) < 1e-6);
    assert_int_equal(f.g->age, 7);
    frames_free(&f);
}

/* A peer on a ring claims the largest age, and training changes nothing: were it believed, all
 * would have its model. */
static void who_claims_the_largest_age_owns_nobody(void **state)
{
    (void)state;
    enum { ROUNDS = 30, PEERS = 6, W = 20 };
    static float moves[ROUNDS][PEERS][W];
    federation_t f = {.peers = PEERS,
                      .topology = GOSSIP_RING,
                      .scheme = GOSSIP_ASYNC,
                      .rounds = ROUNDS,
                      .weights = W,
                      .staleness = 16,
                      .train_ms = {200, 200, 210, 190, 250, 220},
                      .deadline = GOSSIP_DEADLINE_NONE,
                      .moves = &moves[0][0][0]};
    for (int r = 0; r < ROUNDS; r++) /* the liar pulls, the others do not */
        for (int i = 0; i < W; i++)
            moves[r][0][i] = 1;
    double pulled[2];
    for (int lies = 0; lies < 2; lies++) {
        federation_init(&f);
        federation_start(&f);
        for (int64_t now = 0; now < 4000; now += 10) {
            gossip_t *g = (gossip_t *)gossip_sim_peer(f.sim, 0);
            gossip_sim_run(f.sim, now);
            if (lies && g)
                g->age = 1 + ROUNDS * PEERS;
        }
        for (size_t p = 1; p < PEERS; p++) { /* nobody is refused */
            const gossip_t *g = gossip_sim_peer(f.sim, p);
            assert_int_equal(gossip_counter(g, GOSSIP_COUNT_FRAMES_BAD), 0);
            assert_true(!lies || g->age == 1 + ROUNDS * PEERS);
        }
        pulled[lies] = (double)gossip_sim_peer(f.sim, 3)->mixed[0] - (double)f.start[0];
        federation_free(&f);
    }
    assert_true(pulled[0] > 0.5);
    if (!(fabs(pulled[1] / pulled[0] - 1) < 0.5))
        fail_msg("%g with the lie, %g without", pulled[1], pulled[0]);
}

/* Who trains longest has the others' first models of the consensus when it gets there. */
static void models_of_the_consensus_wait_for_who_trains(void **state)
{
    (void)state;
    federation_t f = {.peers = 4,
                      .scheme = GOSSIP_ASYNC,
                      .rounds = 5,
                      .weights = 60000, /* two chunks */
                      .channels = 2,
                      .staleness = 16,
                      .train_ms = {200, 250, 220, 900},
                      .deadline = GOSSIP_DEADLINE_NONE};
    federation_init(&f);
    federation_start(&f);
    const gossip_t *slow = NULL;
    for (int64_t now = 0; !slow || slow->exchange < 7; now++) {
        gossip_sim_run(f.sim, now);
        slow = gossip_sim_peer(f.sim, 3);
    }
    assert_int_equal(f.rounds_trained[3], 5);
    assert_int_equal(gossip_counter(slow, GOSSIP_COUNT_CHUNKS_STALE), 0);
    assert_int_equal(gossip_counter(slow, GOSSIP_COUNT_REPAIRS_ASKED), 0);
    gossip_sim_run(f.sim, 2000000);
    federation_assert_one(&f, 0);
    federation_free(&f);
    /* and they take the place of no model that is to be mixed yet */
    frames_t t;
    frames_init_as(&t, GOSSIP_ASYNC, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    const link_t *link = &t.g->links[0];
    give_ben(&t, 1, 2, 2.0f);
    assert_true(link->slot[0].whole && link->trained[0]);
    for (int twice = 0; twice < 2; twice++) {
        give(&t, 4, 2, 3.0f, false); /* rounds + 1, kept at 4 & 1 */
        assert_true(link->slot[0].whole && !link->trained[0] && link->slot[0].id.number == 4);
        assert_true(link->slot[1].whole && link->trained[1] && link->slot[1].id.number == 1);
    }
    assert_int_equal(gossip_counter(t.g, GOSSIP_COUNT_CHUNKS_DUPLICATE), 1);
    give_own(&t, 1); /* age 2: a = 1 / 2 */
    for (size_t i = 0; i < FRAMES_WEIGHTS; i++)
        assert_true(fabs(t.g->mixed[i] - (0.5 * t.values[i] + 0.5 * 2)) < 1e-6);
    assert_true(link->slot[0].open && link->slot[0].whole);
    give_ben(&t, 2, 3, 2.0f); /* what was on the way longer than it */
    assert_true(link->slot[1].whole && link->slot[1].id.number == 2);
    give(&t, 5, 2, 3.0f, false); /* the one after that comes when I am there */
    assert_int_equal(gossip_counter(t.g, GOSSIP_COUNT_CHUNKS_STALE), 1);
    frames_free(&t);
}

static void bad_models_are_refused(void **state)
{
    (void)state;
    frames_t f;
    frames_init_as(&f, GOSSIP_ASYNC, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    uint64_t most = 1 + 3 * 3; /* three peers, three rounds each */
    give_ben(&f, 1, 0, 2.0f);
    give_ben(&f, 1, most + 1, 2.0f);
    assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_FRAMES_BAD), 2);
    give_ben(&f, 4, 2, 2.0f); /* a round that there is not */
    assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_CHUNKS_STALE), 1);
    assert_false(f.g->links[0].slot[0].open || f.g->links[0].slot[1].open);
    give_ben(&f, 1, 2, NAN);
    assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_MODELS_REFUSED), 1);
    give_own(&f, 1);
    assert_memory_equal(f.g->mixed, f.values, sizeof f.values);
    give_ben(&f, 2, most, 2.0f); /* the next is taken again */
    give_own(&f, 2);
    assert_int_equal(f.g->age, most);
    give_own(&f, 3); /* older than that nobody would take it */
    assert_int_equal(f.g->own_age[1], most);
    frames_free(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ten_rounds_agree_with_numpy),
    cmocka_unit_test(a_peer_ten_times_slower_holds_nobody_up),
    cmocka_unit_test(with_a_deadline_the_end_does_not_wait_either),
    cmocka_unit_test(peers_stopped_at_different_rounds_meet),
    cmocka_unit_test(losses_and_codecs_are_borne),
    cmocka_unit_test(a_peer_that_starts_again_goes_on_with_the_others),
    cmocka_unit_test(a_model_is_mixed_once_and_by_its_age),
    cmocka_unit_test(what_a_model_cannot_know_of_stays_whole),
    cmocka_unit_test(a_round_of_no_time_is_one_nobody_knows_of),
    cmocka_unit_test(no_codec_moves_a_model),
    cmocka_unit_test(the_newest_whole_model_stays_until_a_newer_is_whole),
    cmocka_unit_test(what_is_too_old_is_left_out),
    cmocka_unit_test(who_claims_the_largest_age_owns_nobody),
    cmocka_unit_test(models_of_the_consensus_wait_for_who_trains),
    cmocka_unit_test(bad_models_are_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
