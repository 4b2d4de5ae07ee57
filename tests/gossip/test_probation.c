/* Whom clipped gossip leaves out for a time, and that nothing else changes by it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/mix.h"
#include "gossip/state.h"
#include "tests/gossip/federation.h"
#include "tests/support/harness.h"

enum { LIAR = 2, ROUNDS = 16, MOST = 8, WEIGHTS = 60 };

/* What the liar publishes in exchange e is its model times factor[e], where that is not 0. Peers
 * move up to three times as far as others, if so told; the honest are never on probation. */
typedef struct {
    federation_t f; /* first: the node of federation.c sees it as its own */
    float factor[ROUNDS + 1];
    float moves[ROUNDS][MOST][WEIGHTS];
    unsigned cut[MOST][ROUNDS + 1]; /* of each exchange */
} study_t;

static void lie(void *user, uint32_t exchange, float *values)
{
    const study_t *s = user;
    for (size_t i = 0; exchange <= ROUNDS && s->factor[exchange] != 0 && i < WEIGHTS; i++)
        values[i] *= s->factor[exchange];
}

static void listen(void *user, uint32_t exchange, const float *const *models, size_t count)
{
    (void)user, (void)exchange, (void)models, (void)count;
}

static void after_step(void *user, size_t peer, const gossip_event_t *event,
                       const gossip_actions_t *actions)
{
    study_t *s = user;
    const gossip_report_t *report = &gossip_sim_peer(s->f.sim, peer)->report;
    (void)event, (void)actions;
    if (report->exchange <= ROUNDS)
        s->cut[peer][report->exchange] = report->cut;
}

static study_t *begin_unequal(federation_t settings, gossip_robust_t rule, float by)
{
    static gossip_tamper_t tamper;
    study_t *s = xcalloc(1, sizeof *s);
    rng_t rng = test_rng(5);
    s->f = settings;
    s->f.rounds = ROUNDS;
    s->f.weights = WEIGHTS;
    s->f.step = 1;
    s->f.consensus_max = 12;
    s->f.deadline = GOSSIP_DEADLINE_NONE;
    for (size_t r = 0; r < ROUNDS; r++)
        for (size_t p = 0; p < s->f.peers; p++)
            for (size_t i = 0; i < WEIGHTS; i++)
                (&s->moves[0][0][0])[(r * s->f.peers + p) * WEIGHTS + i] =
                    0.05f * (1 + by * (float)(p % 3)) * (float)rng_normal(&rng);
    s->f.moves = &s->moves[0][0][0];
    federation_init(&s->f);
    tamper = (gossip_tamper_t){.user = s, .heard = listen, .publish = lie};
    for (size_t p = 0; p < s->f.peers; p++) {
        s->f.config[p].robust = rule;
        s->f.config[p].hostile = 1;
        s->f.config[p].tamper = p == LIAR ? &tamper : NULL;
    }
    return s;
}

static study_t *begin(federation_t settings, gossip_robust_t rule)
{
    return begin_unequal(settings, rule, 0);
}

static void run(study_t *s)
{
    gossip_sim_watch(s->f.sim, after_step, s);
    federation_start(&s->f);
    gossip_sim_run(s->f.sim, 4000000);
    federation_assert_one(&s->f, 0);
    for (size_t p = 0; p < s->f.peers; p++)
        assert_true(p == LIAR || s->f.about[p][GOSSIP_NOTE_PROBATION] == 0);
}

static void end(study_t *s)
{
    federation_free(&s->f);
    free(s);
}

static bool hears_the_liar(const study_t *s, size_t peer)
{
    for (size_t k = 0; k < s->f.graph.degree[peer]; k++)
        if (s->f.graph.neighbours[peer][k] == LIAR)
            return true;
    return false;
}

/* How far exchange e moved the mean of the honest, relative to how far their training did. */
static double pull(const study_t *s, uint32_t e)
{
    double moved = 0, trained = 0;
    for (size_t i = 0; i < WEIGHTS; i++) {
        double by = 0, step = 0;
        for (size_t p = 0; p < s->f.peers; p++) {
            if (p == LIAR)
                continue;
            double move = (double)s->f.moves[((e - 1) * s->f.peers + p) * WEIGHTS + i];
            by += (double)s->f.history[p][e + 1][i] - (double)s->f.history[p][e][i] - move;
            step += move;
        }
        moved += by * by;
        trained += step * step;
    }
    return sqrt(moved / trained);
}

static const federation_t graphs[] = {
    {.peers = 5, .topology = GOSSIP_FULL},
    {.peers = 8, .topology = GOSSIP_REGULAR, .degree = 4},
};

/* Behind its first lie the mean of the others moves by their training alone: nobody is pulled, and
 * W among them has columns that sum to 1. */
static void who_lies_on_pulls_nobody_and_takes_no_weight(void **state)
{
    (void)state;
    static const float factors[] = {-1, 1000, NAN};
    for (size_t c = 0; c < 6; c++) {
        study_t *s = begin(graphs[c % 2], GOSSIP_ROBUST_CLIPPED);
        for (size_t e = 1; e <= ROUNDS; e++)
            s->factor[e] = factors[c / 2];
        for (size_t i = 0; i < WEIGHTS; i++)
            s->f.start[i] = 1;
        run(s);
        for (size_t p = 0; p < s->f.peers; p++)
            assert_int_equal(s->f.notes[p][GOSSIP_NOTE_PROBATION],
                             p != LIAR && hears_the_liar(s, p));
        for (uint32_t e = 1; e < ROUNDS; e++)
            if (e == 1 ? c / 2 < 2 && pull(s, e) < 0.01 : pull(s, e) > 1e-5)
                fail_msg("case %zu: exchange %u pulls by %g of a round", c, e, pull(s, e));
        end(s);
    }
}

static void who_offends_again_owes_twice_as_much(void **state)
{
    (void)state;
    static const bool out[ROUNDS + 1] = {
        [1] = 1, [2] = 1, [3] = 1, [4] = 1, [5] = 1, [6] = 1, [7] = 1, [8] = 1, [9] = 1, [10] = 1};
    study_t *s = begin(graphs[0], GOSSIP_ROBUST_CLIPPED);
    s->factor[1] = s->factor[3] = s->factor[6] = -1000; /* owes 1, 2, 4 */
    run(s);
    for (size_t p = 0; p < s->f.peers; p++)
        for (size_t e = 1; e <= ROUNDS && p != LIAR; e++)
            if (s->cut[p][e] != out[e])
                fail_msg("peer %zu cuts %u in exchange %zu", p, s->cut[p][e], e);
    end(s);
    s = begin(graphs[0], GOSSIP_ROBUST_CLIPPED);
    s->factor[4] = -1000; /* one lie, and one near model later it counts */
    run(s);
    for (size_t e = 1; e <= ROUNDS; e++)
        assert_int_equal(s->cut[0][e], e == 4 || e == 5);
    end(s);
}

static void who_moves_farther_than_others_counts_all_the_same(void **state)
{
    (void)state;
    for (size_t c = 0; c < 2; c++) {
        study_t *s = begin_unequal(graphs[c], GOSSIP_ROBUST_CLIPPED, 1);
        run(s);
        for (size_t p = 0; p < s->f.peers; p++)
            assert_int_equal(s->f.notes[p][GOSSIP_NOTE_PROBATION], 0);
        end(s);
    }
}

/* Of three models the nearer neighbour alone says how far is far; and without a rule, or under
 * another, nobody is left out. */
static void nobody_is_left_out_on_a_ring_or_under_other_rules(void **state)
{
    (void)state;
    static const struct {
        federation_t settings;
        gossip_robust_t rule;
        float factor;
    } cases[] = {{{.peers = 7, .topology = GOSSIP_RING}, GOSSIP_ROBUST_CLIPPED, -1000},
                 {{.peers = 7, .topology = GOSSIP_RING}, GOSSIP_ROBUST_CLIPPED, NAN},
                 {{.peers = 5, .topology = GOSSIP_FULL}, GOSSIP_ROBUST_TRIMMED, NAN},
                 {{.peers = 5, .topology = GOSSIP_FULL}, GOSSIP_ROBUST_KRUM, -1000}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        study_t *s = begin(cases[c].settings, cases[c].rule);
        for (size_t e = 1; e <= ROUNDS; e++)
            s->factor[e] = cases[c].factor;
        run(s);
        for (size_t p = 0; p < s->f.peers; p++) {
            assert_int_equal(s->f.notes[p][GOSSIP_NOTE_PROBATION], 0);
            for (size_t k = 0; k < gossip_sim_peer(s->f.sim, p)->link_count; k++)
                assert_false(gossip_sim_peer(s->f.sim, p)->links[k].probation);
        }
        end(s);
    }
}

/* Who is left out is one of those whose distance is certified all the same. */
static void the_certificate_knows_of_who_is_left_out(void **state)
{
    (void)state;
    study_t *s = begin(graphs[0], GOSSIP_ROBUST_CLIPPED);
    for (size_t e = 1; e <= ROUNDS; e++)
        s->factor[e] = -1;
    for (size_t p = 0; p < s->f.peers; p++) {
        s->f.config[p].stop_distance = 0.5; /* the honest are nearer than that */
        s->f.config[p].stop_patience = 1;
    }
    for (size_t i = 0; i < WEIGHTS; i++)
        s->f.start[i] = 1;
    run(s);
    for (size_t p = 0; p < s->f.peers; p++)
        assert_int_equal(s->f.rounds_trained[p], ROUNDS);
    end(s);
    s = begin(graphs[0], GOSSIP_ROBUST_CLIPPED);
    for (size_t p = 0; p < s->f.peers; p++) {
        s->f.config[p].stop_distance = 0.5;
        s->f.config[p].stop_patience = 1;
    }
    for (size_t i = 0; i < WEIGHTS; i++)
        s->f.start[i] = 1;
    run(s);
    assert_true(s->f.rounds_trained[0] < ROUNDS);
    end(s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(who_lies_on_pulls_nobody_and_takes_no_weight),
    cmocka_unit_test(who_offends_again_owes_twice_as_much),
    cmocka_unit_test(who_moves_farther_than_others_counts_all_the_same),
    cmocka_unit_test(nobody_is_left_out_on_a_ring_or_under_other_rules),
    cmocka_unit_test(the_certificate_knows_of_who_is_left_out),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
