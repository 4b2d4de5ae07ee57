/* Runs in which something goes wrong. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/state.h"
#include "tests/gossip/federation.h"
#include "tests/support/harness.h"

static const int64_t LIMIT = 3000000;

static void loss_of_a_fifth_of_the_frames_changes_no_bit(void **state)
{
    (void)state;
    federation_t settings = {.peers = 4,
                             .topology = GOSSIP_RING,
                             .rounds = 4,
                             .channels = 2,
                             .weights = 120000,
                             .deadline = GOSSIP_DEADLINE_NONE,
                             .net = {.seed = test_seed, .jitter_ms = 3}};
    federation_assert_loss_bears(&settings, 20);
}

static void without_a_deadline_timing_changes_no_bit(void **state)
{
    (void)state;
    static const gossip_topology_kind_t graphs[] = {GOSSIP_RING, GOSSIP_FULL, GOSSIP_LINE};
    for (int k = 0; k < 3; k++) {
        hash_t first = {0};
        for (uint64_t seed = 0; seed < 12; seed++) {
            federation_t f = {.peers = 6,
                              .topology = graphs[k],
                              .rounds = 3,
                              .channels = 2,
                              .deadline = GOSSIP_DEADLINE_NONE,
                              .net = {.seed = seed, .delay_ms = 1, .jitter_ms = 400}};
            for (size_t p = 0; p < f.peers; p++)
                f.train_ms[p] = (int64_t)(100 + 137 * ((p + seed) % 6));
            federation_init(&f);
            federation_start(&f);
            gossip_sim_run(f.sim, LIMIT);
            federation_assert_one(&f, 0);
            if (seed == 0)
                first = f.digest[0];
            assert_memory_equal(&first, &f.digest[0], sizeof first);
            federation_free(&f);
        }
    }
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    hash_t digest[2];
    int64_t end[2];
    for (int i = 0; i < 2; i++) {
        federation_t f = {.rounds = 4,
                          .channels = 2,
                          .deadline = GOSSIP_DEADLINE_ADAPTIVE,
                          .net = {.seed = test_seed, .loss = 0.2, .jitter_ms = 5}};
        federation_init(&f);
        federation_start(&f);
        gossip_sim_run(f.sim, LIMIT);
        federation_assert_one(&f, 0);
        digest[i] = f.digest[0];
        end[i] = gossip_sim_now_ms(f.sim);
        federation_free(&f);
    }
    assert_memory_equal(&digest[0], &digest[1], sizeof digest[0]);
    assert_int_equal(end[0], end[1]);
}

static void a_crash_in_round_three_is_named_and_the_others_finish(void **state)
{
    (void)state;
    federation_t f = {.rounds = 6, .channels = 2, .deadline = GOSSIP_DEADLINE_ADAPTIVE};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_crash(f.sim, 2, 500);
    gossip_sim_run(f.sim, LIMIT);
    assert_int_equal(f.rounds_trained[2], 3);
    federation_assert_one(&f, 1u << 2);
    assert_int_equal(f.about[2][GOSSIP_NOTE_DEAD], 4);
    assert_true(f.about[2][GOSSIP_NOTE_LATE] >= 4);
    assert_int_equal(f.report[0].live, 4);
    assert_int_equal(f.merged, 4);
    federation_free(&f);
}

static void without_a_deadline_the_dead_leave_the_graph(void **state)
{
    (void)state;
    federation_t f = {
        .peers = 6, .topology = GOSSIP_RING, .rounds = 5, .deadline = GOSSIP_DEADLINE_NONE};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_crash(f.sim, 0, 500);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 1);
    assert_int_equal(f.about[0][GOSSIP_NOTE_LATE], 0);
    for (size_t p = 1; p < f.peers; p++) {
        assert_int_equal(gossip_life(gossip_sim_peer(f.sim, p), 0), GOSSIP_DEAD);
        assert_int_equal(f.report[p].live, 5);
    }
    federation_free(&f);
}

static void a_crashed_peer_that_rejoins_ends_in_the_consensus(void **state)
{
    (void)state;
    for (int quick = 0; quick < 2; quick++) {
        federation_t f = {.rounds = 30,
                          .channels = 2,
                          .deadline = GOSSIP_DEADLINE_ADAPTIVE,
                          .train_ms = {3000, 3000, 3000, 3000, 3000}};
        federation_init(&f);
        federation_start(&f);
        gossip_sim_crash(f.sim, 1, 8000);
        federation_start_peer(&f, 1, quick ? 10000 : 50000, true);
        gossip_sim_run(f.sim, LIMIT);
        federation_assert_one(&f, 0);
        assert_true(f.notes[1][GOSSIP_NOTE_CAUGHT_UP] >= 1);
        assert_true(f.about[1][GOSSIP_NOTE_BACK] >= 4);
        assert_int_equal(f.rounds_trained[1], 30);
        assert_int_equal(f.report[0].live, 5);
        federation_free(&f);
    }
}

/* Crashes a peer when it is handed the given action. */
typedef struct {
    federation_t f; /* first: the node of federation.c sees it as its own */
    size_t victim;
    gossip_action_kind_t at;
    bool struck;
} trap_t;

static bool trap_node(void *user, size_t p, const gossip_action_t *action, gossip_event_t *answer,
                      int64_t *busy_ms)
{
    trap_t *trap = user;
    if (p == trap->victim && action->kind == trap->at && !trap->struck) {
        trap->struck = true;
        gossip_sim_crash(trap->f.sim, p, gossip_sim_now_ms(trap->f.sim));
        return false;
    }
    return federation_node(&trap->f, p, action, answer, busy_ms);
}

static void the_next_lowest_takes_over_in_the_adoption(void **state)
{
    (void)state;
    static const gossip_action_kind_t moments[] = {GOSSIP_ACT_ESTIMATE, GOSSIP_ACT_MERGE};
    static const gossip_topology_kind_t graphs[] = {GOSSIP_FULL, GOSSIP_RING};
    for (int i = 0; i < 4; i++) {
        trap_t trap = {.f = {.peers = 6,
                             .topology = graphs[i / 2],
                             .rounds = 3,
                             .channels = 2,
                             .deadline = GOSSIP_DEADLINE_ADAPTIVE},
                       .at = moments[i % 2]};
        federation_init(&trap.f);
        gossip_sim_destroy(&trap.f.sim);
        assert_ok(gossip_sim_new(&trap.f.sim, &trap.f.net, 6, trap_node, &trap));
        federation_start(&trap.f);
        gossip_sim_run(trap.f.sim, LIMIT);
        assert_true(trap.struck);
        federation_assert_one(&trap.f, 1);
        assert_int_equal(trap.f.merged, 5);
        federation_free(&trap.f);
    }
}

static void a_peer_that_dies_with_the_final_in_hand_holds_nobody_up(void **state)
{
    (void)state;
    trap_t trap = {.f = {.peers = 5,
                         .topology = GOSSIP_RING,
                         .rounds = 3,
                         .channels = 2,
                         .deadline = GOSSIP_DEADLINE_ADAPTIVE},
                   .victim = 1,
                   .at = GOSSIP_ACT_CONSENSUS};
    federation_init(&trap.f);
    gossip_sim_destroy(&trap.f.sim);
    assert_ok(gossip_sim_new(&trap.f.sim, &trap.f.net, 5, trap_node, &trap));
    federation_start(&trap.f);
    gossip_sim_run(trap.f.sim, LIMIT);
    assert_true(trap.struck);
    federation_assert_one(&trap.f, 1u << 1);
    federation_free(&trap.f);
}

static void a_pause_of_twenty_seconds_is_caught_up(void **state)
{
    (void)state;
    federation_t f = {.rounds = 20,
                      .channels = 2,
                      .deadline = GOSSIP_DEADLINE_ADAPTIVE,
                      .train_ms = {2000, 2000, 2000, 2000, 2000}};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_pause(f.sim, 3, 9000, 29000);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    assert_int_equal(f.about[3][GOSSIP_NOTE_DEAD], 0);
    assert_true(f.about[3][GOSSIP_NOTE_SUSPECT] >= 4);
    assert_int_equal(f.notes[3][GOSSIP_NOTE_DEAD], 0);
    assert_true(f.notes[3][GOSSIP_NOTE_CAUGHT_UP] >= 1);
    assert_int_equal(f.rounds_trained[3], 20);
    federation_free(&f);
}

static void a_partition_that_heals_ends_in_one_consensus(void **state)
{
    (void)state;
    /* short: nobody dies; long: both sides drop each other and refute afterwards */
    static const int64_t until[] = {15000, 45000};
    for (int i = 0; i < 2; i++) {
        federation_t f = {.peers = 6,
                          .topology = GOSSIP_RING,
                          .rounds = 40,
                          .channels = 2,
                          .deadline = GOSSIP_DEADLINE_ADAPTIVE,
                          .train_ms = {2000, 2000, 2000, 2000, 2000, 2000}};
        static const uint8_t side[] = {0, 0, 0, 1, 1, 1};
        federation_init(&f);
        federation_start(&f);
        gossip_sim_partition(f.sim, side, 5000, until[i]);
        gossip_sim_run(f.sim, LIMIT);
        federation_assert_one(&f, 0);
        assert_int_equal(f.report[0].live, 6);
        assert_true(i == 0
                        ? f.about[3][GOSSIP_NOTE_DEAD] == 0
                        : f.about[3][GOSSIP_NOTE_DEAD] >= 1 && f.about[3][GOSSIP_NOTE_BACK] >= 1);
        federation_free(&f);
    }
}

static void a_time_limit_at_one_peer_ends_the_training_of_all(void **state)
{
    (void)state;
    federation_t f = {.peers = 6,
                      .topology = GOSSIP_LINE,
                      .rounds = 30,
                      .channels = 2,
                      .deadline = GOSSIP_DEADLINE_ADAPTIVE};
    federation_init(&f);
    federation_start(&f);
    gossip_event_t end = {.kind = GOSSIP_EV_END_TRAINING};
    gossip_sim_give(f.sim, 0, &end, 1100);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    assert_true(f.rounds_trained[0] < 10);
    for (size_t p = 1; p < f.peers; p++)
        assert_in_range(f.rounds_trained[p], f.rounds_trained[0], f.rounds_trained[0] + 5);
    federation_free(&f);
}

static void peers_resumed_at_different_rounds_align(void **state)
{
    (void)state;
    federation_t f = {.peers = 4, .rounds = 12, .channels = 2, .deadline = GOSSIP_DEADLINE_NONE};
    federation_init(&f);
    static const uint32_t first[] = {5, 2, 6, 5};
    for (size_t p = 0; p < f.peers; p++) {
        f.config[p].first_round = first[p];
        federation_start_peer(&f, p, 0, false);
    }
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    assert_int_equal(f.notes[1][GOSSIP_NOTE_CAUGHT_UP], 1);
    for (size_t p = 0; p < f.peers; p++)
        assert_int_equal(f.rounds_trained[p], 12);
    federation_free(&f);
}

static void who_leaves_is_dropped_at_once(void **state)
{
    (void)state;
    federation_t f = {.peers = 5, .rounds = 10, .channels = 2, .deadline = GOSSIP_DEADLINE_NONE};
    federation_init(&f);
    federation_start(&f);
    gossip_event_t leave = {.kind = GOSSIP_EV_LEAVE};
    gossip_sim_give(f.sim, 0, &leave, 900);
    gossip_sim_run(f.sim, LIMIT);
    assert_true(f.finished[0] && !f.done[0]);
    federation_assert_one(&f, 1);
    assert_int_equal(f.about[0][GOSSIP_NOTE_LEFT], 4);
    assert_int_equal(f.about[0][GOSSIP_NOTE_DEAD], 0);
    assert_true(gossip_sim_now_ms(f.sim) < 15000);
    assert_int_equal(gossip_life(gossip_sim_peer(f.sim, 1), 0), GOSSIP_GONE);
    federation_free(&f);
}

static void who_never_comes_is_waited_for_and_then_absent(void **state)
{
    (void)state;
    federation_t f = {
        .peers = 4, .rounds = 3, .deadline = GOSSIP_DEADLINE_NONE, .start_wait_ms = 20000};
    federation_init(&f);
    for (size_t p = 0; p < 3; p++)
        federation_start_peer(&f, p, 0, false);
    gossip_sim_run(f.sim, 19000);
    assert_int_equal(f.rounds_trained[0], 1);
    gossip_status_t status;
    gossip_status(gossip_sim_peer(f.sim, 0), &status);
    assert_true(status.waiting);
    assert_int_equal(status.waited_for_count, 1);
    assert_int_equal(status.waited_for[0], 3);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 1u << 3);
    assert_int_equal(f.report[0].live, 3);
    federation_free(&f);
}

static void another_federation_is_refused_by_name_of_its_sections(void **state)
{
    (void)state;
    federation_t f = {.peers = 3, .rounds = 2, .start_wait_ms = 5000};
    federation_init(&f);
    f.config[2].sections[1].digest[0] = 99;
    federation_start(&f);
    gossip_sim_run(f.sim, 20000);
    assert_string_equal(f.refused, "another federation, differs in: seed");
    assert_int_equal(f.notes[0][GOSSIP_NOTE_REFUSED], 1);
    assert_int_equal(f.notes[1][GOSSIP_NOTE_REFUSED], 1);
    federation_assert_one(&f, 1u << 2);
    assert_int_equal(f.report[0].live, 2);
    federation_free(&f);
}

static void who_rejoins_when_the_others_adopt_takes_the_consensus(void **state)
{
    (void)state;
    trap_t trap = {
        .f = {.peers = 4, .rounds = 3, .channels = 2, .deadline = GOSSIP_DEADLINE_ADAPTIVE},
        .victim = 2,
        .at = GOSSIP_ACT_ESTIMATE};
    federation_init(&trap.f);
    gossip_sim_destroy(&trap.f.sim);
    assert_ok(gossip_sim_new(&trap.f.sim, &trap.f.net, 4, trap_node, &trap));
    federation_start(&trap.f);
    federation_start_peer(&trap.f, 2, 15000, true);
    gossip_sim_run(trap.f.sim, LIMIT);
    assert_true(trap.struck);
    federation_assert_one(&trap.f, 0);
    assert_int_equal(trap.f.merged, 3);
    federation_free(&trap.f);
}

/* A slow fifth peer: the deadline comes, its weight goes to the others, all end in one. */
static void a_straggler_is_late_and_still_in_the_consensus(void **state)
{
    (void)state;
    federation_t f = {.rounds = 8,
                      .channels = 2,
                      .deadline = GOSSIP_DEADLINE_FIXED,
                      .train_ms = {500, 500, 500, 500, 14000}};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    assert_true(f.about[4][GOSSIP_NOTE_LATE] >= 4);
    assert_int_equal(f.about[4][GOSSIP_NOTE_DEAD], 0);
    federation_free(&f);
}

/* Who always needs twelve times as long is what it usually needs: the adaptive deadline waits. Who
 * is slow for once (a pause of nine seconds) is not waited for to the ceiling. */
static void adaptive_waits_for_the_always_slow_and_not_for_the_slow_for_once(void **state)
{
    (void)state;
    federation_t f = {.rounds = 10,
                      .channels = 2,
                      .deadline = GOSSIP_DEADLINE_ADAPTIVE,
                      .train_ms = {500, 500, 500, 500, 6000}};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_run(f.sim, LIMIT);
    federation_assert_one(&f, 0);
    assert_int_equal(f.about[4][GOSSIP_NOTE_LATE], 0);
    federation_free(&f);

    federation_t once = {.rounds = 10,
                         .channels = 2,
                         .deadline = GOSSIP_DEADLINE_ADAPTIVE,
                         .train_ms = {500, 500, 500, 500, 500}};
    federation_init(&once);
    federation_start(&once);
    gossip_sim_pause(once.sim, 4, 3200, 12200);
    gossip_sim_run(once.sim, LIMIT);
    federation_assert_one(&once, 0);
    assert_true(once.about[4][GOSSIP_NOTE_LATE] >= 4);
    federation_free(&once);
}

/* Drawn runs: a crash with or without return, a pause, a partition, losses, all at random moments.
 * Whoever was not crashed for good must end in the one consensus. */
static void drawn_faults_end_in_one_consensus(void **state)
{
    (void)state;
    static const gossip_topology_kind_t graphs[] = {GOSSIP_FULL, GOSSIP_RING};
    for (uint64_t i = 0; i < 60; i++) {
        rng_t rng = test_rng(100 + i);
        federation_t f = {.peers = 6,
                          .topology = graphs[i % 2],
                          .rounds = 12,
                          .channels = 2,
                          .deadline = i % 3 ? GOSSIP_DEADLINE_ADAPTIVE : GOSSIP_DEADLINE_NONE,
                          .net = {.seed = i, .loss = 0.1 * (double)(i % 3), .jitter_ms = 20}};
        for (size_t p = 0; p < f.peers; p++)
            f.train_ms[p] = 500 + (int64_t)rng_below(&rng, 1500);
        federation_assert_faults_bear(&f, &(federation_faults_t){0, 30000, 15000}, &rng);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(loss_of_a_fifth_of_the_frames_changes_no_bit),
    cmocka_unit_test(without_a_deadline_timing_changes_no_bit),
    cmocka_unit_test(the_same_seed_gives_the_same_run),
    cmocka_unit_test(a_crash_in_round_three_is_named_and_the_others_finish),
    cmocka_unit_test(without_a_deadline_the_dead_leave_the_graph),
    cmocka_unit_test(a_crashed_peer_that_rejoins_ends_in_the_consensus),
    cmocka_unit_test(the_next_lowest_takes_over_in_the_adoption),
    cmocka_unit_test(a_peer_that_dies_with_the_final_in_hand_holds_nobody_up),
    cmocka_unit_test(a_pause_of_twenty_seconds_is_caught_up),
    cmocka_unit_test(a_partition_that_heals_ends_in_one_consensus),
    cmocka_unit_test(a_time_limit_at_one_peer_ends_the_training_of_all),
    cmocka_unit_test(peers_resumed_at_different_rounds_align),
    cmocka_unit_test(who_leaves_is_dropped_at_once),
    cmocka_unit_test(who_never_comes_is_waited_for_and_then_absent),
    cmocka_unit_test(another_federation_is_refused_by_name_of_its_sections),
    cmocka_unit_test(who_rejoins_when_the_others_adopt_takes_the_consensus),
    cmocka_unit_test(a_straggler_is_late_and_still_in_the_consensus),
    cmocka_unit_test(adaptive_waits_for_the_always_slow_and_not_for_the_slow_for_once),
    cmocka_unit_test(drawn_faults_end_in_one_consensus),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
