/* Peers that lie in what they say beside their models: of their training, of how far they are, of
 * others' sketches. No such word may hold the others or choose what they hold. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/mix.h"
#include "gossip/state.h"
#include "tests/gossip/federation.h"
#include "tests/gossip/frames.h"
#include "tests/support/harness.h"

enum { LIAR = 2 };

/* What the liar does to its own state after each of its steps. */
typedef struct {
    federation_t f; /* first: the node of federation.c sees it as its own */
    void (*lie)(gossip_t *g);
    bool lowest; /* the first peer lies, not LIAR */
} lied_t;

static void after_step(void *user, size_t peer, const gossip_event_t *event,
                       const gossip_actions_t *actions)
{
    lied_t *l = user;
    (void)event;
    (void)actions;
    if (l->lie && peer == (l->lowest ? 0 : LIAR))
        l->lie((gossip_t *)gossip_sim_peer(l->f.sim, peer));
}

static void begin(lied_t *l, gossip_robust_t rule)
{
    federation_init(&l->f);
    for (size_t p = 0; p < l->f.peers; p++) {
        l->f.config[p].robust = rule;
        l->f.config[p].hostile = rule != GOSSIP_ROBUST_NONE;
    }
    gossip_sim_watch(l->f.sim, after_step, l);
    federation_start(&l->f);
}

/* -- Nobody is held in the consensus phase -- */

static void trains_on(gossip_t *g)
{
    if (g->phase < PHASE_ADOPT)
        g->last_training = 200;
}

static void says_that_somebody_trains(gossip_t *g)
{
    for (size_t i = 0; i < g->certificate_count; i++)
        g->certificates[i].flags |= CERT_TRAINED;
}

static void who_trains_on_or_says_so_holds_nobody(void **state)
{
    (void)state;
    for (int rule = GOSSIP_ROBUST_NONE; rule <= GOSSIP_ROBUST_KRUM; rule++)
        for (int which = 0; which < 2; which++) {
            lied_t *l = xcalloc(1, sizeof *l);
            l->f = (federation_t){.rounds = 4, .consensus_max = 7, .channels = 2};
            l->f.deadline = rule % 2 ? GOSSIP_DEADLINE_NONE : GOSSIP_DEADLINE_ADAPTIVE;
            l->lie = which ? says_that_somebody_trains : trains_on;
            begin(l, (gossip_robust_t)rule);
            gossip_sim_run(l->f.sim, 300000);
            federation_assert_one(&l->f, 0);
            for (size_t p = 0; p < l->f.peers; p++) {
                const gossip_t *g = gossip_sim_peer(l->f.sim, p);
                assert_int_equal(g->decided, 4 + 7 - 1); /* complete one exchange later */
                assert_true(p == LIAR || l->f.rounds_trained[p] == 4);
                assert_true(l->f.report[p].bound < 0); /* it was trained ahead of it */
            }
            federation_free(&l->f);
            free(l);
        }
}

/* Says that it decided, at an exchange that nobody has come to: nobody can follow it. */
static void says_that_it_decided(gossip_t *g)
{
    if (g->phase < PHASE_ADOPT)
        says_that_somebody_trains(g); /* so that nobody is done earlier */
    if (g->phase == PHASE_EXCHANGE && g->exchange == 10) {
        g->phase = PHASE_ADOPT;
        g->decided = 900;
        g->mixed_exchange = 1000;
        bit_set(g->present, LIAR);
    }
}

static void a_decision_that_nobody_can_follow_holds_nobody(void **state)
{
    (void)state;
    lied_t *l = xcalloc(1, sizeof *l);
    l->f = (federation_t){.rounds = 4, .consensus_max = 7, .channels = 2};
    l->lie = says_that_it_decided;
    begin(l, GOSSIP_ROBUST_NONE);
    gossip_sim_run(l->f.sim, 10000);
    for (size_t p = 0; p < l->f.peers; p++)
        assert_true(p == LIAR || gossip_sim_peer(l->f.sim, p)->decided == 4 + 7 - 1);
    federation_free(&l->f);
    free(l);
}

static void hear_nothing(void *user, uint32_t exchange, const float *const *models, size_t count)
{
    (void)user, (void)exchange, (void)models, (void)count;
}

static void publish_nothing(void *user, uint32_t exchange, float *values)
{
    const federation_t *f = user;
    (void)exchange;
    values[federation_floats(f) / 2] = NAN;
}

static void a_refused_peer_does_not_keep_the_others_from_an_end(void **state)
{
    (void)state;
    for (int rule = GOSSIP_ROBUST_NONE; rule <= GOSSIP_ROBUST_KRUM; rule++)
        for (size_t liar = 0; liar < 6; liar += 2) {
            lied_t *l = xcalloc(1, sizeof *l);
            gossip_tamper_t tamper = {&l->f, hear_nothing, publish_nothing};
            l->f = (federation_t){.peers = 6, .rounds = 4, .channels = 2, .consensus_max = 100};
            federation_init(&l->f);
            for (size_t p = 0; p < l->f.peers; p++) {
                l->f.config[p].robust = (gossip_robust_t)rule;
                l->f.config[p].hostile = rule != GOSSIP_ROBUST_NONE;
                l->f.config[p].tamper = p == liar ? &tamper : NULL;
            }
            federation_start(&l->f);
            gossip_sim_run(l->f.sim, 1000000);
            federation_assert_one(&l->f, 0);
            for (size_t p = 0; p < l->f.peers; p++) {
                assert_true(gossip_sim_peer(l->f.sim, p)->decided < 20);
                assert_true(l->f.report[p].bound >= 0 && l->f.report[p].bound < 1e-3);
                assert_int_equal(l->f.report[p].live, 5);
            }
            federation_free(&l->f);
            free(l);
        }
}

/* Honest peers whose training ends apart, far from each other, end alike all the same. */
static void training_that_ends_apart_ends_in_one_consensus(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        federation_t f = {.peers = 6,
                          .topology = seed % 2 ? GOSSIP_LINE : GOSSIP_RING,
                          .rounds = 30,
                          .channels = 2,
                          .consensus_max = (uint32_t)(seed % 5),
                          .distance = 1e-9,
                          .net = {.seed = seed, .jitter_ms = 300}};
        if (!f.consensus_max)
            f.consensus_max = 30;
        uint32_t first = UINT32_MAX, last = 0;
        federation_init(&f);
        federation_start(&f);
        gossip_event_t end = {.kind = GOSSIP_EV_END_TRAINING};
        gossip_sim_give(f.sim, seed % 6, &end, 2000 + (int64_t)seed * 37);
        gossip_sim_run(f.sim, 2000000);
        federation_assert_one(&f, 0);
        for (size_t p = 0; p < f.peers; p++) {
            uint32_t r = f.rounds_trained[p];
            first = r < first ? r : first;
            last = r > last ? r : last;
        }
        assert_true(last < 30 && last - first < f.peers);
        federation_free(&f);
    }
}

/* -- Nobody is led away -- */

/* Neighbour `peer` says that it is at `exchange`; returns how many STATEs are asked for. */
static unsigned says_exchange(frames_t *f, size_t peer, uint32_t exchange)
{
    static const char *const names[] = {"ana", "ben", "cem"};
    unsigned asked = 0;
    size_t size = 0;
    uint8_t status[WIRE_STATUS_BYTES];
    wire_announce_t said = frames_announce(f);
    wire_put_status(status, &(wire_status_t){.peer = (uint32_t)peer, .incarnation = 7, .beat = 1});
    said.statuses.bytes = status;
    said.offers.size = 0;
    said.peer = peer;
    memcpy(said.name, names[peer], 4);
    said.exchange = said.publishes = exchange;
    said.state = exchange - 1;
    uint8_t *frame = wire_pack_announce(&size, &said);
    gossip_event_t event = {.kind = GOSSIP_EV_FRAME,
                            .now_ms = ++f->now,
                            .bytes = frame,
                            .size = size,
                            .from = peer,
                            .channel = GOSSIP_CONTROL};
    gossip_step(f->g, &event, &f->out);
    free(frame);
    for (size_t i = 0; i < f->out.count; i++)
        asked +=
            f->out.items[i].kind == GOSSIP_ACT_SEND && f->out.items[i].channel == GOSSIP_REPAIR_ASK;
    gossip_actions_clear(&f->out);
    return asked;
}

static void one_neighbour_far_ahead_leads_nobody(void **state)
{
    (void)state;
    for (int joins = 0; joins < 2; joins++)
        for (int robust = 0; robust < 2; robust++) {
            frames_t f;
            frames_init(&f);
            f.g->config.robust = robust ? GOSSIP_ROBUST_MEDIAN : GOSSIP_ROBUST_NONE;
            f.g->config.hostile = (uint32_t)robust;
            f.g->phase = joins ? PHASE_JOIN : f.g->phase;
            unsigned asked = says_exchange(&f, 1, 900);
            assert_int_equal(asked, !robust);
            assert_int_equal(f.g->catching, !robust);
            assert_int_equal(f.g->exchange, 1);
            asked = says_exchange(&f, 2, 7); /* two are ahead: where the second is, one honest is */
            if (robust) {
                assert_int_equal(asked, 0);
                assert_int_equal(f.g->exchange, 7);
                assert_int_equal(f.g->mixed_exchange, 6);
                assert_memory_equal(f.g->mixed, f.values, sizeof f.values);
            }
            frames_free(&f);
        }
}

/* A thousandfold of the truth. */
static void publish_far(void *user, uint32_t exchange, float *values)
{
    const federation_t *f = user;
    (void)exchange;
    for (size_t i = 0; i < federation_floats(f); i++)
        values[i] *= 1000;
}

static void who_was_away_is_not_at_the_mercy_of_one(void **state)
{
    (void)state;
    for (int rule = GOSSIP_ROBUST_CLIPPED; rule <= GOSSIP_ROBUST_KRUM; rule++)
        for (int again = 0; again < 2; again++) {
            lied_t *l = xcalloc(1, sizeof *l);
            gossip_tamper_t tamper = {&l->f, hear_nothing, publish_far};
            l->f = (federation_t){.peers = 7, .rounds = 12, .channels = 2, .weights = 60};
            l->f.consensus_max = 12;
            l->f.deadline = GOSSIP_DEADLINE_ADAPTIVE;
            federation_init(&l->f);
            for (size_t p = 0; p < l->f.peers; p++) {
                l->f.config[p].robust = (gossip_robust_t)rule;
                l->f.config[p].hostile = 1;
                l->f.config[p].tamper = p == LIAR ? &tamper : NULL;
                l->f.config[p].suspect_ms = 500;
                l->f.config[p].dead_ms = 1000;
            }
            federation_start(&l->f);
            if (again) {
                gossip_sim_crash(l->f.sim, 5, 700);
                federation_start_peer(&l->f, 5, 2600, true);
            } else {
                gossip_sim_pause(l->f.sim, 5, 700, 2600);
            }
            gossip_sim_run(l->f.sim, 1000000);
            federation_assert_one(&l->f, 0);
            assert_true(l->f.notes[5][GOSSIP_NOTE_CAUGHT_UP] >= 1);
            double apart = gossip_distance(l->f.start, l->f.consensus[0], &l->f.config[0].table);
            assert_true(apart < 1); /* 12 steps of 0.1 in all directions, and no thousandfold */
            federation_free(&l->f);
            free(l);
        }
}

/* -- A consensus that the lowest peer made up is told -- */

static void makes_it_up(gossip_t *g)
{
    if (g->have_adopted || g->phase >= PHASE_ADOPT)
        return;
    g->adopt_values = xcalloc(g->bytes, 1);
    for (size_t i = 0; i < g->config.table.floats; i++)
        g->adopt_values[i] = g->mixed[i] * 1.5f;
    g->have_adopted = true;
}

static void a_consensus_far_from_ones_own_is_told(void **state)
{
    (void)state;
    for (int rule = GOSSIP_ROBUST_CLIPPED; rule <= GOSSIP_ROBUST_KRUM; rule++)
        for (int which = 0; which < 4; which++) {
            lied_t *l = xcalloc(1, sizeof *l);
            bool ring = which >= 2 && rule != GOSSIP_ROBUST_KRUM;
            l->f = (federation_t){.peers = 6, .rounds = 4, .channels = 2, .consensus_max = 40};
            l->f.topology = ring ? GOSSIP_RING : GOSSIP_FULL;
            l->f.net = (gossip_sim_options_t){.seed = (uint64_t)which, .jitter_ms = 100};
            l->lowest = true;
            l->lie = which % 2 ? makes_it_up : NULL;
            begin(l, (gossip_robust_t)rule);
            gossip_sim_run(l->f.sim, 1000000);
            federation_assert_one(&l->f, 0);
            for (size_t p = 0; p < l->f.peers; p++)
                assert_int_equal(l->f.notes[p][GOSSIP_NOTE_FAR], which % 2 && !ring && p > 0);
            federation_free(&l->f);
            free(l);
        }
}

/* -- No sketch is forged -- */

/* `teller` says, with its model of `number`, that peer 2's weights of exchange 1 were all `value`.
 */
static void says_sketch(frames_t *f, size_t teller, uint32_t number, float value)
{
    uint8_t bytes[WIRE_SKETCH_BYTES];
    float values[FRAMES_FLOATS];
    gossip_sketch_t sketch;
    for (size_t i = 0; i < FRAMES_FLOATS; i++)
        values[i] = value;
    gossip_sketch(&sketch, values, &f->g->config.table, 10, 1);
    wire_put(bytes, 4, 1);
    wire_put(bytes + 4, 4, 2);
    wire_put(bytes + 8, 8, sketch.samples);
    wire_put_float(bytes + 16, sketch.norm);
    for (size_t k = 0; k < GOSSIP_SKETCH; k++)
        wire_put_float(bytes + 20 + 4 * k, sketch.values[k]);
    wire_chunk_t chunk = frames_chunk(f);
    chunk.object.origin = teller;
    chunk.object.number = number;
    chunk.sketches = (wire_view_t){bytes, sizeof bytes};
    assert_true(certificate_ok(f->g, &chunk));
    certificate_merge(f->g, &chunk);
    chunk.object.number = 1;
    assert_int_equal(certificate_ok(f->g, &chunk), teller == 2); /* nobody else can know yet */
}

static void a_peers_own_sketch_counts_and_two_that_differ_count_for_nothing(void **state)
{
    (void)state;
    for (int order = 0; order < 3; order++) {
        frames_t f;
        frames_init(&f);
        certificate_t *c = certificate_at(f.g, 1);
        c->edge = 3;
        c->present[0] = 6; /* peers 1 and 2 */
        float ones[FRAMES_FLOATS];
        for (size_t i = 0; i < FRAMES_FLOATS; i++)
            ones[i] = 1;
        gossip_sketch(&c->words[1].sketch, ones, &f.g->config.table, 10, 1);
        c->words[1].here = true;
        if (order != 1)
            says_sketch(&f, 1, 2, 1.001f); /* it is near, says peer 1 */
        if (order == 0) {
            double bound = certified_distance(f.g, c, 1);
            assert_true(bound > 0 && bound < 0.01);
            says_sketch(&f, 1, 2, 1.001f); /* twice the same is no dispute */
            assert_int_equal(c->flags & CERT_DISPUTED, 0);
        }
        says_sketch(&f, 2, 1, 1.5f); /* it is far, says peer 2 itself */
        if (order == 1)
            says_sketch(&f, 1, 2, 1.001f);
        assert_true(fabs((double)c->words[2].sketch.norm - 1.5 * sqrt(FRAMES_WEIGHTS)) < 1e-5);
        assert_true(c->words[2].fresh); /* and is passed on */
        assert_int_equal(c->flags, CERT_DISPUTED);
        assert_true(certified_distance(f.g, c, 1) == 3); /* by edges alone */
        frames_free(&f);
    }
}

/* -- Weights -- */

static void claims_to_have_more(gossip_t *g)
{
    g->samples = 1000;
}

static void who_claims_more_where_all_weigh_alike_is_not_heard(void **state)
{
    (void)state;
    for (int equal = 0; equal < 2; equal++) {
        lied_t *l = xcalloc(1, sizeof *l);
        l->f = (federation_t){.rounds = 3, .start_wait_ms = 2000};
        l->lie = claims_to_have_more;
        federation_init(&l->f);
        for (size_t p = 0; p < l->f.peers && equal; p++)
            l->f.config[p].weighting = GOSSIP_WEIGHTS_EQUAL;
        gossip_sim_watch(l->f.sim, after_step, l);
        federation_start(&l->f);
        gossip_sim_run(l->f.sim, 300000);
        federation_assert_one(&l->f, equal ? 1u << LIAR : 0);
        for (size_t p = 0; p < l->f.peers; p++) {
            const gossip_t *g = gossip_sim_peer(l->f.sim, p);
            if (p == LIAR)
                continue;
            assert_int_equal(gossip_counter(g, GOSSIP_COUNT_FRAMES_BAD) > 0, equal);
            assert_int_equal(bit_get(g->present, LIAR), !equal);
        }
        federation_free(&l->f);
        free(l);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_consensus_far_from_ones_own_is_told),
    cmocka_unit_test(a_peers_own_sketch_counts_and_two_that_differ_count_for_nothing),
    cmocka_unit_test(one_neighbour_far_ahead_leads_nobody),
    cmocka_unit_test(who_was_away_is_not_at_the_mercy_of_one),
    cmocka_unit_test(a_refused_peer_does_not_keep_the_others_from_an_end),
    cmocka_unit_test(who_trains_on_or_says_so_holds_nobody),
    cmocka_unit_test(a_decision_that_nobody_can_follow_holds_nobody),
    cmocka_unit_test(training_that_ends_apart_ends_in_one_consensus),
    cmocka_unit_test(who_claims_more_where_all_weigh_alike_is_not_heard),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
