/* Records behind the consensus: what each peer makes, all hand to their nodes, the same and in the
 * same order, whoever is lost, late, or dies. */
#include <stdlib.h>
#include <string.h>

#include "gossip/state.h"
#include "tests/gossip/federation.h"
#include "tests/support/harness.h"

static const int64_t LIMIT = 3000000;

static void run(federation_t *f)
{
    federation_init(f);
    federation_start(f);
    gossip_sim_run(f->sim, LIMIT);
}

static void assert_staged(const federation_t *f, size_t p, unsigned first, unsigned second)
{
    assert_int_equal(f->staged_of[p][0], first);
    assert_int_equal(f->staged_of[p][1], second);
}

static void all_are_handed_all_records_in_every_graph(void **state)
{
    (void)state;
    static const gossip_topology_kind_t graphs[] = {GOSSIP_FULL, GOSSIP_RING, GOSSIP_LINE,
                                                    GOSSIP_STAR};
    for (size_t i = 0; i < 4; i++) {
        federation_t f = {
            .peers = 6, .topology = graphs[i], .rounds = 2, .channels = 2, .stages = 2};
        run(&f);
        federation_assert_one(&f, 0);
        assert_staged(&f, 3, 0x3f, 0x3f);
        federation_free(&f);
    }
    federation_t alone = {.peers = 1, .rounds = 2, .stages = 2};
    run(&alone);
    federation_assert_one(&alone, 0);
    assert_staged(&alone, 0, 1, 1);
    federation_free(&alone);
}

/* Records of several chunks, a third of the frames lost, and links that take their time. */
static void loss_and_delay_change_no_bit(void **state)
{
    (void)state;
    hash_t digest[2];
    for (int lossy = 0; lossy < 2; lossy++) {
        federation_t f = {.peers = 5,
                          .topology = GOSSIP_RING,
                          .rounds = 2,
                          .channels = 2,
                          .stages = 2,
                          .record_bytes = 3 * CHUNK_BYTES + 1000,
                          .net = {.loss = lossy ? 0.33 : 0, .jitter_ms = lossy ? 40 : 0},
                          .deadline = GOSSIP_DEADLINE_NONE};
        run(&f);
        federation_assert_one(&f, 0);
        assert_staged(&f, 2, 0x1f, 0x1f);
        digest[lossy] = f.staged[0][1];
        federation_free(&f);
    }
    assert_memory_equal(&digest[0], &digest[1], sizeof digest[0]);
}

/* Someone who needs ten minutes is live all the same: with a deadline given up, without one not. */
static void who_is_late_is_waited_for_without_a_deadline(void **state)
{
    (void)state;
    static const gossip_deadline_t deadlines[] = {GOSSIP_DEADLINE_NONE, GOSSIP_DEADLINE_ADAPTIVE};
    for (int i = 0; i < 2; i++) {
        federation_t f = {.rounds = 2,
                          .channels = 2,
                          .stages = 2,
                          .deadline = deadlines[i],
                          .record_ms = {20, 20, 20, 600000, 20}};
        run(&f);
        federation_assert_one(&f, 0);
        assert_staged(&f, 0, i ? 0x17 : 0x1f, i ? 0x17 : 0x1f);
        federation_free(&f);
    }
}

/* Crashes a peer when it is handed a stage, ahead of its record; with `back`, starts it again. */
typedef struct {
    federation_t f; /* first: the node of federation.c sees it as its own */
    size_t victim;
    uint32_t stage;
    int64_t back_ms;  /* behind the crash; 0: never */
    int64_t after_ms; /* its record is made, and so long after being asked it crashes; 0: at once */
    bool differs;     /* back, it makes other records than before */
    bool struck;
} trap_t;

static bool trap_node(void *user, size_t p, const gossip_action_t *action, gossip_event_t *answer,
                      int64_t *busy_ms)
{
    trap_t *trap = user;
    int64_t now = gossip_sim_now_ms(trap->f.sim);
    bool here = p == trap->victim && action->kind == GOSSIP_ACT_STAGE && !trap->struck &&
                action->round == trap->stage;
    if (!here)
        return federation_node(&trap->f, p, action, answer, busy_ms);
    trap->struck = true;
    bool answers = trap->after_ms && federation_node(&trap->f, p, action, answer, busy_ms);
    trap->f.padding[p] = trap->differs;
    gossip_sim_crash(trap->f.sim, p, now + trap->after_ms);
    if (trap->back_ms)
        federation_start_peer(&trap->f, p, now + trap->after_ms + trap->back_ms, true);
    return answers;
}

static void run_trap(trap_t *trap)
{
    federation_init(&trap->f);
    gossip_sim_destroy(&trap->f.sim);
    assert_ok(gossip_sim_new(&trap->f.sim, &trap->f.net, trap->f.peers, trap_node, trap));
    federation_start(&trap->f);
    gossip_sim_run(trap->f.sim, LIMIT);
    assert_true(trap->struck);
}

static void who_dies_ahead_of_its_record_is_left_out_by_all(void **state)
{
    (void)state;
    static const gossip_topology_kind_t graphs[] = {GOSSIP_FULL, GOSSIP_RING};
    for (unsigned i = 0; i < 8; i++) { /* the lowest, who makes the roll, and another */
        size_t victim = i / 4 ? 3 : 0;
        trap_t trap = {
            .f = {.peers = 6, .topology = graphs[i % 2], .rounds = 2, .channels = 2, .stages = 2},
            .victim = victim,
            .stage = 1 + i / 2 % 2};
        run_trap(&trap);
        federation_assert_one(&trap.f, 1u << victim);
        unsigned rest = 0x3f & ~(1u << victim);
        /* the lowest's own roll of stage 1 did not leave it */
        assert_staged(&trap.f, 5, trap.stage == 1 || victim == 0 ? rest : 0x3f, rest);
        federation_free(&trap.f);
    }
}

/* A record that was given while others were still at theirs does not count once its owner is dead;
 * a peer that dies with all in hand holds nobody up. */
static void who_dies_behind_its_record_holds_nobody_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        size_t victim = i / 2 ? 2 : 0;
        trap_t trap = {.f = {.peers = 5,
                             .topology = GOSSIP_RING,
                             .rounds = 2,
                             .channels = 2,
                             .stages = 2,
                             .record_ms = {20, 20, 20, 20, i % 2 ? 60000 : 20}},
                       .victim = victim,
                       .stage = 1,
                       .after_ms = 2000};
        run_trap(&trap);
        federation_assert_one(&trap.f, i % 2                     ? 1u << victim
                                       : trap.f.finished[victim] ? 0
                                                                 : 1u << victim);
        unsigned rest = 0x1f & ~(1u << victim);
        assert_staged(&trap.f, 4, i % 2 ? rest : 0x1f, i % 2 ? rest : 0x1f);
        federation_free(&trap.f);
    }
}

/* It comes back in the midst of it, when its record counts already and when it does not: all end
 * with the same records, it too. */
static void who_dies_and_comes_back_ends_with_the_same_records(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        trap_t trap = {.f = {.peers = 5,
                             .topology = i % 2 ? GOSSIP_RING : GOSSIP_FULL,
                             .rounds = 2,
                             .channels = 2,
                             .stages = 2,
                             .record_ms = {20, 20, 20, 20, 40000}},
                       .victim = 1,
                       .stage = 1 + i / 2,
                       .after_ms = i / 2 ? 2000 : 0,
                       .back_ms = i / 2 ? 5000 : 7000};
        run_trap(&trap);
        federation_assert_one(&trap.f, 0);
        federation_free(&trap.f);
    }
}

/* The lowest dies so long after being asked for its record, which it makes in 30 s: amid sending
 * that and its roll. */
static trap_t amid_sending(int64_t after_ms)
{
    return (trap_t){.f = {.peers = 4,
                          .topology = GOSSIP_RING,
                          .rounds = 2,
                          .channels = 2,
                          .stages = 2,
                          .record_bytes = 10 * CHUNK_BYTES,
                          .record_ms = {30000, 20, 20, 20},
                          .net = {.bandwidth = 1e6}},
                    .victim = 0,
                    .stage = 1,
                    .after_ms = after_ms};
}

/* The lowest's roll gets out and its own record does not: without it, after some patience. It dies
 * at one moment after the other while it sends both. */
static void a_roll_that_nobody_can_meet_is_given_up(void **state)
{
    (void)state;
    size_t unmet = 0;
    for (int64_t after_ms = 30100; after_ms < 32500; after_ms += 200) {
        trap_t trap = amid_sending(after_ms);
        run_trap(&trap);
        federation_assert_one(&trap.f, 1);
        bool refused = false;
        for (size_t p = 1; p < 4; p++) {
            const gossip_t *g = gossip_sim_peer(trap.f.sim, p);
            for (size_t r = 0; r < g->record_count; r++)
                refused |=
                    g->records[r].assembly.id.kind == WIRE_ROLL_1 && g->records[r].assembly.refused;
        }
        if (refused)
            assert_staged(&trap.f, 2, 0xe, 0xe);
        unmet += refused;
        federation_free(&trap.f);
    }
    assert_true(unmet > 0); /* else this tests nothing */
}

/* The lowest dies amid sending its record and its roll, as above, and comes back. Its record of
 * then counts if somebody has it whole or it makes the same again, else another roll is made. */
static void who_makes_the_roll_and_comes_back_holds_nobody_up(void **state)
{
    (void)state;
    size_t met[2] = {0};
    for (unsigned i = 0; i < 14; i++) {
        trap_t trap = amid_sending(30100 + i / 2 * 400);
        trap.back_ms = 8000;
        trap.differs = i % 2;
        run_trap(&trap);
        federation_assert_one(&trap.f, 0);
        assert_true(trap.f.staged_of[3][0] == 0xf || trap.f.staged_of[3][0] == 0xe);
        if (!trap.differs) /* what it makes is what the roll lists */
            for (size_t p = 1; p < 4; p++) {
                const record_t *roll =
                    record_find((gossip_t *)gossip_sim_peer(trap.f.sim, p), WIRE_ROLL_1, 0);
                assert_true(!roll || !roll->assembly.refused);
            }
        met[trap.f.staged_of[3][0] == 0xf]++;
        federation_free(&trap.f);
    }
    assert_true(met[0] > 0 && met[1] > 0); /* else this tests nothing */
}

/* It comes back as the others end: it ends with what they have, or is told that it cannot, or finds
 * nobody at all and has a consensus of its own alone, which its node refuses. */
static void who_comes_back_as_the_others_end_makes_no_records_alone(void **state)
{
    (void)state;
    size_t lost = 0, same = 0;
    for (int64_t after_ms = 0; after_ms < 240; after_ms += 20) {
        trap_t trap = {.f = {.peers = 5,
                             .topology = GOSSIP_FULL,
                             .rounds = 1,
                             .channels = 2,
                             .stages = 2,
                             .record_bytes = 9 * CHUNK_BYTES + 16,
                             .net = {.bandwidth = 1e6}},
                       .victim = 0,
                       .stage = 3, /* behind the last: it is done */
                       .after_ms = after_ms,
                       .back_ms = 300};
        run_trap(&trap);
        bool alone = trap.f.report[0].live == 1;
        federation_assert_one(&trap.f, trap.f.lost[0] || alone ? 1 : 0);
        assert_true(trap.f.finished[0]);
        lost += trap.f.lost[0];
        same += !trap.f.lost[0] && !alone;
        federation_free(&trap.f);
    }
    assert_true(lost > 0 && same > 0); /* else this tests nothing */
}

/* Both halves give each other up and go on from rolls of their own; then they hear each other again
 * and all go on from one. */
static void halves_that_meet_again_end_with_the_same_records(void **state)
{
    (void)state;
    static const uint8_t side[] = {0, 0, 0, 1, 1, 1};
    federation_t f = {.peers = 6,
                      .topology = GOSSIP_RING,
                      .rounds = 2,
                      .channels = 2,
                      .stages = 2,
                      .record_ms = {20000, 20000, 20000, 20000, 20000, 20000}};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_partition(f.sim, side, 10000, 75000);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    assert_int_equal(f.staged_of[5][0], 0x7); /* of the half with the lowest */
    federation_free(&f);
}

/* A crash, a pause, losses, all at random moments around the stages: whoever is not crashed for
 * good ends with the same records. */
static void drawn_faults_end_in_the_same_records(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 60; i++) {
        rng_t rng = test_rng(100 + i);
        federation_t f = {.peers = 6,
                          .topology = i % 2 ? GOSSIP_RING : GOSSIP_FULL,
                          .rounds = 2,
                          .channels = 2,
                          .stages = 2,
                          .deadline = i % 3 ? GOSSIP_DEADLINE_ADAPTIVE : GOSSIP_DEADLINE_NONE,
                          .net = {.seed = i, .loss = 0.1 * (double)(i % 3), .jitter_ms = 20}};
        for (size_t p = 0; p < f.peers; p++)
            f.record_ms[p] = 100 + (int64_t)rng_below(&rng, 3000);
        federation_assert_faults_bear(&f, &(federation_faults_t){1000, 8000, 5000}, &rng);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(all_are_handed_all_records_in_every_graph),
    cmocka_unit_test(loss_and_delay_change_no_bit),
    cmocka_unit_test(who_is_late_is_waited_for_without_a_deadline),
    cmocka_unit_test(who_dies_ahead_of_its_record_is_left_out_by_all),
    cmocka_unit_test(who_dies_behind_its_record_holds_nobody_up),
    cmocka_unit_test(who_dies_and_comes_back_ends_with_the_same_records),
    cmocka_unit_test(a_roll_that_nobody_can_meet_is_given_up),
    cmocka_unit_test(who_makes_the_roll_and_comes_back_holds_nobody_up),
    cmocka_unit_test(who_comes_back_as_the_others_end_makes_no_records_alone),
    cmocka_unit_test(halves_that_meet_again_end_with_the_same_records),
    cmocka_unit_test(drawn_faults_end_in_the_same_records),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
