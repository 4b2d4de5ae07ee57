/* The mathematics of exchanges, seen through whole peers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/state.h"
#include "tests/gossip/federation.h"
#include "tests/support/harness.h"

/* Peers whose first training gives each its own values, and whose later training changes nothing.
 */
static bool node_once(void *user, size_t p, const gossip_action_t *action, gossip_event_t *answer,
                      int64_t *busy_ms)
{
    federation_t *f = user;
    double step = f->step;
    if (action->kind == GOSSIP_ACT_TRAIN && action->round > 1)
        f->step = -1;
    bool answered = federation_node(f, p, action, answer, busy_ms);
    f->step = step;
    return answered;
}

static void run_once_trained(federation_t *f)
{
    federation_init(f);
    gossip_sim_destroy(&f->sim);
    assert_ok(gossip_sim_new(&f->sim, &f->net, f->peers, node_once, f));
    federation_start(f);
    gossip_sim_run(f->sim, 2000000);
    federation_assert_one(f, 0);
}

/* The models that the peers gave to the first exchange, as train() of federation.c makes them. */
static float *given(const federation_t *f, size_t peer)
{
    size_t floats = federation_floats(f);
    float *values = xcalloc(floats, sizeof *values);
    rng_t rng;
    rng_init(&rng, 7, RNG_STREAM_TEST, peer, 1);
    for (size_t i = 0; i < floats; i++) {
        double move = f->step * rng_normal(&rng);
        values[i] = i >= f->weights + f->channels ? (float)(f->start[i] * exp(move))
                                                  : (float)(f->start[i] + move);
    }
    return values;
}

static void five_fully_connected_peers_hold_the_weighted_mean_after_one_exchange(void **state)
{
    (void)state;
    federation_t f = {.peers = 5,
                      .rounds = 2,
                      .weights = 1000,
                      .channels = 20,
                      .step = 0.5,
                      .samples = {17, 500, 333, 1, 149},
                      .deadline = GOSSIP_DEADLINE_NONE};
    run_once_trained(&f);
    size_t floats = federation_floats(&f), c = f.channels;
    double *mean = xcalloc(floats, sizeof *mean);
    float *values[5];
    for (size_t p = 0; p < 5; p++) {
        values[p] = given(&f, p);
        for (size_t i = 0; i < floats - c; i++)
            mean[i] += (double)f.samples[p] / 1000 * values[p][i];
    }
    for (size_t p = 0; p < 5; p++)
        for (size_t i = 0; i < c; i++) {
            double off = values[p][f.weights + i] - mean[f.weights + i];
            mean[f.weights + c + i] +=
                (double)f.samples[p] / 1000 * (values[p][f.weights + c + i] + off * off);
        }
    for (size_t p = 0; p < 5; p++) {
        for (size_t i = 0; i < floats; i++)
            assert_true(fabs(f.history[p][2][i] - mean[i]) < 1e-6 * fmax(1, fabs(mean[i])));
        assert_memory_equal(f.history[p][2], f.history[0][2], floats * sizeof(float));
        free(values[p]);
    }
    free(mean);
    federation_free(&f);
}

/* Root of the n-weighted mean square distance to the n-weighted mean. */
static double spread(const federation_t *f, uint32_t round)
{
    double total = 0, sum = 0;
    for (size_t p = 0; p < f->peers; p++)
        total += (double)f->samples[p];
    for (size_t i = 0; i < f->weights; i++) {
        double mean = 0;
        for (size_t p = 0; p < f->peers; p++)
            mean += (double)f->samples[p] * f->history[p][round][i] / total;
        for (size_t p = 0; p < f->peers; p++) {
            double off = f->history[p][round][i] - mean;
            sum += (double)f->samples[p] / total * off * off;
        }
    }
    return sqrt(sum);
}

static void rings_shrink_by_the_second_eigenvalue(void **state)
{
    (void)state;
    FILE *file = fopen(GOLDEN_DIR "/gossip_ring.txt", "r");
    assert_non_null(file);
    for (int line = 0; line < 2; line++) {
        federation_t f = {.peers = 8,
                          .topology = GOSSIP_RING,
                          .rounds = 42,
                          .weights = 2000,
                          .step = 100,
                          .deadline = GOSSIP_DEADLINE_NONE};
        double modulus = 0;
        for (int p = 0; p < 8; p++) {
            unsigned long long samples;
            assert_int_equal(fscanf(file, "%llu", &samples), 1);
            f.samples[p] = samples;
        }
        assert_int_equal(fscanf(file, "%lf", &modulus), 1);
        if (line == 0)
            assert_true(fabs(modulus - 0.8047) < 1e-4);
        run_once_trained(&f);
        /* history[r] is the state that round r began with: after exchange r - 1 */
        for (uint32_t e = 8; e < 40; e++) {
            double ratio = spread(&f, e + 2) / spread(&f, e + 1);
            if (fabs(ratio / modulus - 1) > 0.01)
                fail_msg("line %d, exchange %u: %.5f instead of %.5f", line, e + 1, ratio, modulus);
        }
        federation_free(&f);
    }
    fclose(file);
}

static void a_missing_models_weight_goes_to_oneself(void **state)
{
    (void)state;
    federation_t f = {.peers = 3,
                      .rounds = 2,
                      .weights = 50,
                      .deadline = GOSSIP_DEADLINE_FIXED,
                      .samples = {100, 200, 700},
                      .train_ms = {200, 200, 15000}};
    federation_init(&f);
    federation_start(&f);
    gossip_sim_run(f.sim, 14000);
    float *mine = given(&f, 0), *other = given(&f, 1);
    assert_int_equal(f.rounds_trained[0], 2);
    for (size_t i = 0; i < f.weights; i++) {
        double want = 0.8 * mine[i] + 0.2 * other[i]; /* 0.7 of the missing one + 0.1 */
        assert_true(fabs(f.history[0][2][i] - want) < 1e-6);
    }
    free(mine);
    free(other);
    federation_free(&f);
}

static void the_certified_bound_holds(void **state)
{
    (void)state;
    static const gossip_topology_kind_t graphs[] = {GOSSIP_RING, GOSSIP_LINE, GOSSIP_STAR};
    for (int k = 0; k < 3; k++) {
        federation_t f = {.peers = 7,
                          .topology = graphs[k],
                          .rounds = 2,
                          .weights = 300,
                          .distance = 1e-3,
                          .deadline = GOSSIP_DEADLINE_NONE};
        federation_init(&f);
        federation_start(&f);
        /* Looks at all states whenever a peer decides: nobody may be farther than its bound. */
        int64_t now = 0;
        while (!f.done[0] && now < 1000000)
            gossip_sim_run(f.sim, now += 1);
        assert_true(f.report[0].bound > 0 && f.report[0].bound <= 1e-3);
        for (size_t a = 0; a < f.peers; a++)
            for (size_t b = 0; b < f.peers; b++) {
                const gossip_t *x = gossip_sim_peer(f.sim, a), *y = gossip_sim_peer(f.sim, b);
                double off = 0, norm = 0;
                for (size_t i = 0; i < f.weights; i++) {
                    double d = (double)x->mixed[i] - (double)y->mixed[i];
                    off += d * d;
                    norm += (double)x->mixed[i] * (double)x->mixed[i];
                }
                assert_true(sqrt(off / norm) <= f.report[0].bound * 1.001);
            }
        federation_free(&f);
    }
}

static void equal_weighting_ignores_sample_counts(void **state)
{
    (void)state;
    federation_t f = {.peers = 3,
                      .rounds = 2,
                      .weights = 30,
                      .samples = {1, 10, 1000},
                      .deadline = GOSSIP_DEADLINE_NONE};
    federation_init(&f);
    for (size_t p = 0; p < 3; p++)
        f.config[p].weighting = GOSSIP_WEIGHTS_EQUAL;
    federation_start(&f);
    gossip_sim_run(f.sim, 100000);
    federation_assert_one(&f, 0);
    float *values[3] = {given(&f, 0), given(&f, 1), given(&f, 2)};
    for (size_t i = 0; i < f.weights; i++) {
        double want = ((double)values[0][i] + values[1][i] + values[2][i]) / 3;
        assert_true(fabs(f.history[2][2][i] - want) < 1e-6);
    }
    for (int p = 0; p < 3; p++)
        free(values[p]);
    federation_free(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(five_fully_connected_peers_hold_the_weighted_mean_after_one_exchange),
    cmocka_unit_test(rings_shrink_by_the_second_eigenvalue),
    cmocka_unit_test(a_missing_models_weight_goes_to_oneself),
    cmocka_unit_test(the_certified_bound_holds),
    cmocka_unit_test(equal_weighting_ignores_sample_counts),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
