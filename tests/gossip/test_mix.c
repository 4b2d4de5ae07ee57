/* Mixing as arithmetic: rows of W, the centred form, distances. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/mix.h"
#include "gossip/topology.h"
#include "tests/support/harness.h"

enum { PEERS = 6, FLOATS = 2500 };

static const uint64_t samples[PEERS] = {17, 400, 3, 1000, 59, 211};

static void assert_near(double value, double expected, double apart)
{
    if (!(fabs(value - expected) <= apart))
        fail_msg("%.17g, expected %.17g", value, expected);
}

/* W (PEERS,PEERS) of a graph, row by row from gossip_weights. */
static void matrix(double W[PEERS][PEERS], gossip_topology_kind_t kind, const uint64_t *n)
{
    gossip_graph_t graph;
    uint64_t reach[PEERS];
    assert_ok(gossip_graph_init(&graph, kind, PEERS, NULL, 0));
    memset(W, 0, sizeof(double) * PEERS * PEERS);
    for (size_t i = 0; i < PEERS; i++) {
        reach[i] = n[i];
        for (size_t k = 0; k < graph.degree[i]; k++)
            reach[i] += n[graph.neighbours[i][k]];
    }
    for (size_t i = 0; i < PEERS; i++) {
        size_t who[PEERS], parts = 0, self = 0;
        uint64_t part_n[PEERS], part_reach[PEERS];
        double row[PEERS];
        for (size_t j = 0; j < PEERS; j++) {
            bool heard = i == j;
            for (size_t k = 0; k < graph.degree[i]; k++)
                heard = heard || graph.neighbours[i][k] == j;
            if (!heard)
                continue;
            self = i == j ? parts : self;
            part_n[parts] = n[j];
            part_reach[parts] = reach[j];
            who[parts++] = j;
        }
        gossip_weights(row, part_n, part_reach, parts, self);
        for (size_t k = 0; k < parts; k++)
            W[i][who[k]] = row[k];
    }
    gossip_graph_free(&graph);
}

static void rows_sum_to_one_and_sample_counts_are_stationary(void **state)
{
    (void)state;
    for (int kind = GOSSIP_FULL; kind <= GOSSIP_STAR; kind++) {
        double W[PEERS][PEERS];
        matrix(W, (gossip_topology_kind_t)kind, samples);
        for (size_t j = 0; j < PEERS; j++) {
            double row = 0, column = 0;
            for (size_t i = 0; i < PEERS; i++) {
                assert_true(W[j][i] >= 0);
                row += W[j][i];
                column += (double)samples[i] * W[i][j];
            }
            assert_near(row, 1.0, 1e-14);
            assert_near(column / (double)samples[j], 1.0, 1e-12);
        }
    }
}

static void a_full_graph_has_the_weighted_mean_in_every_row(void **state)
{
    (void)state;
    double W[PEERS][PEERS];
    matrix(W, GOSSIP_FULL, samples);
    for (size_t j = 0; j < PEERS; j++)
        for (size_t i = 0; i < PEERS; i++)
            assert_true(W[i][j] == (double)samples[j] / 1690.0);
}

static void equal_samples_give_plain_metropolis_hastings(void **state)
{
    (void)state;
    static const uint64_t equal[PEERS] = {9, 9, 9, 9, 9, 9};
    double W[PEERS][PEERS];
    matrix(W, GOSSIP_STAR, equal); /* the centre has 5 neighbours, each other 1 */
    for (size_t i = 1; i < PEERS; i++) {
        assert_near(W[0][i], 1.0 / 6, 1e-15);
        assert_near(W[i][0], 1.0 / 6, 1e-15);
        assert_near(W[i][i], 5.0 / 6, 1e-15);
    }
}

static void variances_take_the_centred_form(void **state)
{
    (void)state;
    gossip_segment_t segments[] = {{"mean", GOSSIP_MEAN, 0, 1, 1, 0},
                                   {"variance", GOSSIP_VARIANCE, 1, 1, 1, 0}};
    gossip_table_t table = {segments, 2, 2};
    float a[2] = {100.0f, 1e-3f}, b[2] = {100.0625f, 2e-3f};
    gossip_part_t parts[] = {{a, 0.25}, {b, 0.75}};
    /* 0.25 x 1e-3 + 0.75 x 2e-3 + 0.25 x 0.75 x 0.0625^2 */
    double expected = 1.75e-3 + 0.1875 * 0.0625 * 0.0625;
    gossip_mix(a, parts, 2, &table); /* into one of the inputs */
    assert_true(a[0] == (float)(0.25 * 100.0 + 0.75 * 100.0625));
    assert_true(fabs((double)a[1] - expected) < 1e-6 * expected);
}

static void each_element_is_the_sum_in_the_order_of_the_parts(void **state)
{
    (void)state;
    static float values[3][FLOATS], out[FLOATS];
    gossip_segment_t segments[] = {{"w", GOSSIP_WEIGHTS, 0, FLOATS, 1, -1}};
    gossip_table_t table = {segments, 1, FLOATS};
    gossip_part_t parts[] = {{values[0], 0.1}, {values[1], 0.7}, {values[2], 0.2}};
    rng_t rng = test_rng(1);
    for (size_t i = 0; i < 3 * FLOATS; i++)
        values[i / FLOATS][i % FLOATS] = (float)rng_normal(&rng);
    gossip_mix(out, parts, 3, &table);
    for (size_t i = 0; i < FLOATS; i++) {
        double sum = 0;
        for (size_t k = 0; k < 3; k++)
            sum += parts[k].weight * (double)values[k][i];
        assert_true(out[i] == (float)sum);
    }
}

static void distances_subtract_first_and_leave_statistics_out(void **state)
{
    (void)state;
    static float a[FLOATS + 2], b[FLOATS + 2];
    gossip_segment_t segments[] = {{"w", GOSSIP_WEIGHTS, 0, FLOATS, 1, -1},
                                   {"mean", GOSSIP_MEAN, FLOATS, 1, 1, 0},
                                   {"variance", GOSSIP_VARIANCE, FLOATS + 1, 1, 1, 0}};
    gossip_table_t table = {segments, 3, FLOATS + 2};
    for (size_t i = 0; i < FLOATS; i++) {
        a[i] = 1000.0f;
        b[i] = nextafterf(1000.0f, 2000.0f);
    }
    a[FLOATS] = 1e9f;
    double step = (double)b[0] - 1000.0;
    assert_near(gossip_distance(a, b, &table) / (step / 1000.0), 1.0, 1e-9);
    assert_true(gossip_distance(a, a, &table) == 0.0);
    memset(a, 0, sizeof a);
    assert_true(gossip_distance(a, b, &table) == HUGE_VAL);
}

static void not_a_number_anywhere_refuses_the_whole(void **state)
{
    (void)state;
    float good[3] = {-1.0f, -2.0f, 0.0f}, bad[] = {NAN, INFINITY, -INFINITY};
    gossip_segment_t segments[] = {{"w", GOSSIP_WEIGHTS, 0, 1, 1, -1},
                                   {"mean", GOSSIP_MEAN, 1, 1, 1, 0},
                                   {"variance", GOSSIP_VARIANCE, 2, 1, 1, 0}};
    gossip_table_t table = {segments, 3, 3};
    assert_true(gossip_values_ok(good, &table));
    for (size_t at = 0; at < 3; at++)
        for (size_t k = 0; k < 3; k++) {
            float values[3] = {good[0], good[1], good[2]};
            values[at] = bad[k];
            assert_false(gossip_values_ok(values, &table));
        }
    good[2] = -1e-6f; /* a variance */
    assert_false(gossip_values_ok(good, &table));
}

static void graphs_tell_diameters_and_what_is_wrong(void **state)
{
    (void)state;
    static const size_t diameters[] = {1, 3, 5, 2};
    static const gossip_edge_t self[] = {{0, 0}}, twice[] = {{0, 1}, {1, 0}}, apart[] = {{0, 1}};
    gossip_graph_t graph;
    for (int kind = GOSSIP_FULL; kind <= GOSSIP_STAR; kind++) {
        assert_ok(gossip_graph_init(&graph, (gossip_topology_kind_t)kind, PEERS, NULL, 0));
        assert_int_equal(graph.diameter, diameters[kind]);
        gossip_graph_free(&graph);
    }
    assert_fails(gossip_graph_init(&graph, GOSSIP_EDGES, 2, self, 1), ERR_CONFIG,
                 "edge 1 joins peer 0 with itself");
    err_clear();
    assert_fails(gossip_graph_init(&graph, GOSSIP_EDGES, 2, twice, 2), ERR_CONFIG,
                 "edge 2 joins peers 1 and 0 a second time");
    err_clear();
    assert_fails(gossip_graph_init(&graph, GOSSIP_EDGES, 3, apart, 1), ERR_CONFIG,
                 "the graph is in pieces: no path leads from peer 0 to peer 2; add an edge between "
                 "the pieces");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_sum_to_one_and_sample_counts_are_stationary),
    cmocka_unit_test(a_full_graph_has_the_weighted_mean_in_every_row),
    cmocka_unit_test(equal_samples_give_plain_metropolis_hastings),
    cmocka_unit_test(variances_take_the_centred_form),
    cmocka_unit_test(each_element_is_the_sum_in_the_order_of_the_parts),
    cmocka_unit_test(distances_subtract_first_and_leave_statistics_out),
    cmocka_unit_test(not_a_number_anywhere_refuses_the_whole),
    cmocka_unit_test(graphs_tell_diameters_and_what_is_wrong),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
