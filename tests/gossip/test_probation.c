/* Whom clipped gossip leaves out for a time, and that nothing else changes by it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/mix.h"
#include "gossip/state.h"
#include "tests/gossip/federation.h"
#include "tests/support/harness.h"

enum { LIAR = 2, SECOND = 5, ROUNDS = 16, MOST = 9, WEIGHTS = 60 };

/* What a liar publishes in exchange e is its model times factor[e], where that is not 0. Peers
 * move up to three times as far as others, if so told; the honest are never on probation. */
typedef struct {
    federation_t f; /* first: the node of federation.c sees it as its own */
    float factor[ROUNDS + 1];
    float moves[ROUNDS][MOST][WEIGHTS];
    unsigned cut[MOST][ROUNDS + 1]; /* of each exchange */
    unsigned hostile;               /* 1: LIAR, 2: SECOND, too */
} study_t;

static bool lies(const study_t *s, size_t peer)
{
    return peer == LIAR || (s->hostile == 2 && peer == SECOND);
}

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
    s->hostile = settings.peers > 6 ? 2 : 1;
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
        s->f.config[p].hostile = s->hostile;
        s->f.config[p].tamper = lies(s, p) ? &tamper : NULL;
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
        assert_true(lies(s, p) || s->f.about[p][GOSSIP_NOTE_PROBATION] == 0);
}

static void end(study_t *s)
{
    federation_free(&s->f);
    free(s);
}

/* How far exchange e moved the mean of the honest, relative to how far their training did. */
static double pull(const study_t *s, uint32_t e)
{
    double moved = 0, trained = 0;
    for (size_t i = 0; i < WEIGHTS; i++) {
        double by = 0, step = 0;
        for (size_t p = 0; p < s->f.peers; p++) {
            if (lies(s, p))
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
    {.peers = 5, .topology = GOSSIP_FULL}, /* f = 1 */
    {.peers = 9, .topology = GOSSIP_FULL}, /* f = 2 */
    {.peers = 4, .topology = GOSSIP_FULL}, /* 2f + 1 without the liar: clips honest ones then */
};
enum { GRAPHS = sizeof graphs / sizeof graphs[0] };

static void start_far_from_zero(study_t *s)
{
    for (size_t i = 0; i < WEIGHTS; i++)
        s->f.start[i] = 1;
}

/* Behind its first lie the mean of the others moves by their training alone: nobody is pulled, and
 * W among them has columns that sum to 1. */
static void lies_on(const federation_t *settings, float factor)
{
    study_t *s = begin(*settings, GOSSIP_ROBUST_CLIPPED);
    for (size_t e = 1; e <= ROUNDS; e++)
        s->factor[e] = factor;
    start_far_from_zero(s);
    run(s);
    for (size_t p = 0; p < s->f.peers; p++)
        assert_true(lies(s, p) || s->f.notes[p][GOSSIP_NOTE_PROBATION] == s->hostile);
    assert_true(isnan(factor) || pull(s, 1) > 0.01);
    for (uint32_t e = 2; e < ROUNDS; e++)
        if (pull(s, e) > 1e-5)
            fail_msg("%zu peers, factor %g: exchange %u pulls by %g of a round", s->f.peers,
                     (double)factor, e, pull(s, e));
    end(s);
}

static void who_lies_on_pulls_nobody_and_takes_no_weight(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        lies_on(&graphs[k], -1);
        lies_on(&graphs[k], 1000);
        lies_on(&graphs[k], NAN);
    }
}

static void who_offends_again_owes_twice_as_much(void **state)
{
    (void)state;
    static const bool out[ROUNDS + 1] = {
        [1] = 1, [2] = 1, [3] = 1, [4] = 1, [5] = 1, [6] = 1, [7] = 1, [8] = 1, [9] = 1, [10] = 1};
    for (size_t k = 0; k < GRAPHS; k++) {
        study_t *s = begin(graphs[k], GOSSIP_ROBUST_CLIPPED);
        s->factor[1] = s->factor[3] = s->factor[6] = -1000; /* owes 1, 2, 4 */
        run(s);
        for (size_t p = 0; p < s->f.peers; p++)
            for (size_t e = 1; e <= ROUNDS && !lies(s, p); e++)
                if (k < 2 ? s->cut[p][e] != s->hostile * out[e] : (s->cut[p][e] > 0) != out[e])
                    fail_msg("peer %zu cuts %u in exchange %zu", p, s->cut[p][e], e);
        end(s);
    }
}

/* A longer absence than one exchange costs no more: what is far on probation doubles nothing. */
static void who_comes_back_counts_one_near_model_later(void **state)
{
    (void)state;
    study_t *s = begin(graphs[0], GOSSIP_ROBUST_CLIPPED);
    for (size_t e = 4; e <= 9; e++)
        s->factor[e] = 100;
    run(s);
    for (size_t e = 1; e <= ROUNDS; e++)
        assert_int_equal(s->cut[0][e], e >= 4 && e <= 10);
    end(s);
}

/* -- What one peer makes of distances -- */

typedef struct {
    study_t *s;
    gossip_t *g; /* the first of five peers */
    gossip_part_t parts[5];
    link_t *links[5];
    gossip_actions_t told;
} one_t;

static void begin_one(one_t *o)
{
    *o = (one_t){.s = begin(graphs[0], GOSSIP_ROBUST_CLIPPED)};
    run(o->s);
    o->g = (gossip_t *)gossip_sim_peer(o->s->f.sim, 0);
    o->g->out = &o->told;
    o->g->own_trained[o->g->exchange & 1] = true;
    for (size_t k = 0; k < 4; k++) {
        o->links[k + 1] = &o->g->links[k];
        o->links[k + 1]->in_graph = true;
        o->links[k + 1]->missed_last = false;
    }
}

static void end_one(one_t *o)
{
    gossip_actions_free(&o->told);
    end(o->s);
}

static void judge(one_t *o, const double distances[5])
{
    gossip_mixing_t mixing = {.parts = o->parts, .count = 5, .hostile = 1, .clip = 1e-9};
    probation_publish(o->g);
    probation_judge(o->g, &mixing, o->links, distances);
}

static void far_is_four_radii_of_the_nearest(void **state)
{
    (void)state;
    one_t o;
    begin_one(&o);
    /* sqrt((1 + 4 + 4) / 1) = 3 */
    judge(&o, (const double[]){0, 1, 2, 2, 11.99});
    assert_int_equal(o.links[4]->owed, 0);
    judge(&o, (const double[]){0, 1, 2, 2, 12.01});
    assert_int_equal(o.links[4]->owed, 1);
    judge(&o, (const double[]){0, 12.01, 2, 2, 1}); /* while the other is on probation */
    assert_true(o.links[1]->owed == 1 && o.links[4]->owed == 0);
    for (size_t k = 1; k < 5; k++)
        assert_true(k == 1 || o.links[k]->owed == 0);
    /* Models that the consensus may be apart are never far. */
    judge(&o, (const double[]){0, 1e-9, 0, 0, 1.99 * o.g->config.consensus_distance});
    assert_int_equal(o.links[4]->owed, 0);
    judge(&o, (const double[]){0, 1e-9, 0, 0, 2.01 * o.g->config.consensus_distance});
    assert_int_equal(o.links[4]->owed, 2);
    /* Nobody offends behind the training, and nobody who is far makes good. */
    o.g->own_trained[o.g->exchange & 1] = false;
    judge(&o, (const double[]){0, 1, 2, 2, 12.01});
    assert_int_equal(o.links[4]->owed, 2);
    o.links[4]->owed = 0;
    judge(&o, (const double[]){0, 1, 2, 2, 12.01});
    assert_int_equal(o.links[4]->owed, 0);
    end_one(&o);
}

static void who_owes_most_is_left_out_and_none_owes_more_than_64(void **state)
{
    (void)state;
    static const double liar[] = {0, 1, 1, 1, 100}, fine[] = {0, 1, 1, 1, 1},
                        other[] = {0, 100, 1, 1, 1};
    one_t o;
    begin_one(&o);
    for (uint32_t times = 0, owed = 1; times < 10; times++, owed = owed < 64 ? 2 * owed : 64) {
        judge(&o, liar);
        assert_int_equal(o.links[4]->owed, owed);
        for (uint32_t i = 0; i < owed; i++) {
            judge(&o, fine);
            assert_true(o.links[4]->probation);
        }
        assert_int_equal(o.links[4]->owed, 0);
    }
    judge(&o, liar);
    judge(&o, other);
    judge(&o, fine);
    assert_true(o.links[4]->probation && !o.links[1]->probation && o.links[1]->owed == 0);
    end_one(&o);
}

static void what_is_told_says_how_far(void **state)
{
    (void)state;
    static const struct {
        double distances[5];
        const char *says;
    } cases[] = {{{0, 1, 2, 2, 30}, "is 10 clipping radii away"},
                 {{0, 0, 0, 0, 1}, "is far from the others, which are one"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        one_t o;
        begin_one(&o);
        judge(&o, cases[i].distances);
        probation_publish(o.g);
        assert_int_equal(o.told.count, 1);
        assert_non_null(strstr(o.told.items[0].text, cases[i].says));
        end_one(&o);
    }
}

/* -- Nobody is left out -- */

static void who_moves_farther_than_others_counts_all_the_same(void **state)
{
    (void)state;
    for (size_t k = 0; k < GRAPHS; k++) {
        study_t *s = begin_unequal(graphs[k], GOSSIP_ROBUST_CLIPPED, 1);
        run(s);
        for (size_t p = 0; p < s->f.peers; p++)
            assert_int_equal(s->f.notes[p][GOSSIP_NOTE_PROBATION], 0);
        end(s);
    }
}

static void nobody_is_left_out_where_not_all_hear_all_or_under_other_rules(void **state)
{
    (void)state;
    static const struct {
        federation_t settings;
        gossip_robust_t rule;
        float factor;
    } cases[] = {
        {{.peers = 6, .topology = GOSSIP_RING}, GOSSIP_ROBUST_CLIPPED, NAN},
        {{.peers = 6, .topology = GOSSIP_REGULAR, .degree = 4}, GOSSIP_ROBUST_CLIPPED, -1000},
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
    start_far_from_zero(s);
    run(s);
    for (size_t p = 0; p < s->f.peers; p++)
        assert_int_equal(s->f.rounds_trained[p], ROUNDS);
    end(s);
    s = begin(graphs[0], GOSSIP_ROBUST_CLIPPED);
    for (size_t p = 0; p < s->f.peers; p++) {
        s->f.config[p].stop_distance = 0.5;
        s->f.config[p].stop_patience = 1;
    }
    start_far_from_zero(s);
    run(s);
    assert_true(s->f.rounds_trained[0] < ROUNDS);
    end(s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(who_lies_on_pulls_nobody_and_takes_no_weight),
    cmocka_unit_test(who_offends_again_owes_twice_as_much),
    cmocka_unit_test(who_comes_back_counts_one_near_model_later),
    cmocka_unit_test(far_is_four_radii_of_the_nearest),
    cmocka_unit_test(what_is_told_says_how_far),
    cmocka_unit_test(who_owes_most_is_left_out_and_none_owes_more_than_64),
    cmocka_unit_test(who_moves_farther_than_others_counts_all_the_same),
    cmocka_unit_test(nobody_is_left_out_where_not_all_hear_all_or_under_other_rules),
    cmocka_unit_test(the_certificate_knows_of_who_is_left_out),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
