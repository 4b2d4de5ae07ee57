/* gossip.algorithm, gossip.robust and peers[].attack: what is read, refused and warned about. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "node/config.h"
#include "tests/support/harness.h"

static void examine(node_config_t *config, node_findings_t *findings, const char *text)
{
    static const char *folder;
    folder = folder ? folder : test_dir();
    assert_int_equal(chdir(folder), 0);
    assert_ok(file_write("c.yaml", text, strlen(text)));
    assert_ok(node_config_examine(config, findings, "c.yaml", NULL, 0));
}

/* The findings are these and no others; each begins with '!' when it is a refusal. */
static void finds(const char *text, const char *first, const char *second)
{
    node_config_t config;
    node_findings_t f;
    const char *expected[] = {first, second};
    size_t count = first ? second ? 2 : 1 : 0;
    examine(&config, &f, text);
    if (f.count != count)
        fail_msg("%zu findings, first: %s", f.count, f.count ? f.items[0].text : "");
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(f.items[i].wrong, expected[i][0] == '!');
        assert_string_equal(f.items[i].text, expected[i] + (expected[i][0] == '!'));
    }
    if (!f.wrong)
        node_config_free(&config);
    node_findings_free(&f);
}

static node_algorithm_t algorithm(const char *text)
{
    node_config_t config;
    node_findings_t f;
    examine(&config, &f, text);
    assert_int_equal(f.wrong, 0);
    node_algorithm_t kind = node_config_algorithm(&config);
    assert_int_equal(config.train.optimizer.quasi_global, kind == NODE_ALGORITHM_QG_DSGDM);
    node_config_free(&config);
    node_findings_free(&f);
    return kind;
}

/* Exchanges that nobody minds. */
#define FEW "consensus: {rounds_max: 50}\n"

#define SGD "train: {optimizer: sgd, momentum: 0.9}\n"

static void auto_is_qg_dsgdm_for_sgd_on_uneven_data(void **state)
{
    (void)state;
    assert_int_equal(algorithm("seed: 1\n"), NODE_ALGORITHM_DPSGD);
    assert_int_equal(algorithm(SGD), NODE_ALGORITHM_DPSGD);
    assert_int_equal(algorithm(SGD "data: {partition: shards(2)}\n"), NODE_ALGORITHM_QG_DSGDM);
    assert_int_equal(algorithm(SGD "data: {partition: dirichlet(0.1)}\n"), NODE_ALGORITHM_QG_DSGDM);
    assert_int_equal(algorithm("data: {partition: dirichlet(0.1)}\n"), NODE_ALGORITHM_DPSGD);
    assert_int_equal(algorithm("data: {partition: shards(2)}\ntrain: {optimizer: sgd}\n"),
                     NODE_ALGORITHM_DPSGD);
    assert_int_equal(algorithm(SGD "data: {partition: shards(2)}\ngossip: {algorithm: dpsgd}\n"),
                     NODE_ALGORITHM_DPSGD);
    assert_int_equal(algorithm(SGD "gossip: {algorithm: qg-dsgdm}\n"), NODE_ALGORITHM_QG_DSGDM);
}

static void qg_dsgdm_needs_a_momentum(void **state)
{
    (void)state;
    finds("gossip: {algorithm: qg-dsgdm}\n",
          "!c.yaml:1:21: gossip.algorithm: qg-dsgdm puts its momentum in the place of sgd's, and "
          "adam has none: set train.optimizer: sgd, or dpsgd here",
          NULL);
    finds("gossip: {algorithm: qg-dsgdm}\ntrain: {optimizer: sgd}\n",
          "!c.yaml:1:21: gossip.algorithm: qg-dsgdm is a momentum, and train.momentum is 0: set "
          "that to 0.9, say, or dpsgd here",
          NULL);
}

static void differences_need_what_they_need(void **state)
{
    (void)state;
    finds("gossip: {codec: topk, keep: 0.05}\n", NULL, NULL);
    finds("gossip: {algorithm: choco, codec: int8, gamma: 0.5}\n", NULL, NULL);
    finds("gossip: {keep: 0.2}\n",
          "!c.yaml:1:16: gossip.keep: only gossip.codec: topk and randomk follow it", NULL);
    finds("gossip: {codec: int8, gamma: 0.5}\n",
          "!c.yaml:1:30: gossip.gamma: only differences are mixed by it: gossip.algorithm: choco, "
          "or gossip.codec: topk or randomk",
          NULL);
    finds("gossip: {codec: randomk, robust: trimmed, hostile: 1}\n",
          "!c.yaml:1:17: gossip.codec: gossip.robust judges models, and with randomk neighbours "
          "know only what lags behind them; take int8, fp16 or bf16 with dpsgd, or leave "
          "gossip.robust at none",
          NULL);
    finds("gossip: {algorithm: choco, robust: trimmed, hostile: 1}\n",
          "!c.yaml:1:21: gossip.algorithm: gossip.robust judges models, and with choco neighbours "
          "know only what lags behind them; take int8, fp16 or bf16 with dpsgd, or leave "
          "gossip.robust at none",
          NULL);
    finds("peers: {count: 6}\ngossip: {codec: topk, topology: epidemic, degree: 2}\n",
          "!c.yaml:2:17: gossip.codec: topk sends differences to what a neighbour knows of it, and "
          "with gossip.topology: epidemic neighbours are others every round; take a graph that "
          "stays, such as exponential, or another codec",
          NULL);
    finds("peers: {count: 6}\ngossip: {algorithm: choco, topology: regular, degree: 4, redraw: "
          "round}\n",
          "!c.yaml:2:21: gossip.algorithm: choco sends differences to what a neighbour knows of "
          "it, and with gossip.topology: regular neighbours are others every round; take a graph "
          "that stays, such as exponential, or another algorithm",
          NULL);
    finds("gossip: {codec: topk, gamma: 1}\n",
          "c.yaml:1:30: gossip.gamma: 1 is above 0.2, the step that topk bears with gossip.keep: "
          "0.1: peers overshoot what they last heard of each other, and may diverge",
          NULL);
    finds("gossip: {codec: topk, topology: ring, gamma: 0.4}\n", NULL, NULL);
    finds("gossip: {codec: topk, topology: ring, gamma: 0.5}\n",
          "c.yaml:1:46: gossip.gamma: 0.5 is above 0.4, the step that topk bears with gossip.keep: "
          "0.1: peers overshoot what they last heard of each other, and may diverge",
          NULL);
    finds("gossip: {algorithm: push-sum, codec: topk}\n",
          "!c.yaml:1:38: gossip.codec: push-sum sends cumulative sums, and what a codec loses of "
          "them stays lost in all later rounds: set fp32, or another gossip.algorithm",
          NULL);
}

static void rules_need_somebody_to_guard_against(void **state)
{
    (void)state;
    finds(
        "gossip: {robust: trimmed}\n",
        "!c.yaml: gossip.hostile: trimmed that bears no hostile neighbour guards against nothing: "
        "say how many there may be, at least 1, or leave gossip.robust at none",
        NULL);
    finds("gossip: {hostile: 2}\n",
          "!c.yaml:1:19: gossip.hostile: a plain average bears no hostile neighbour at all: choose "
          "a gossip.robust, such as clipped, or leave this at 0",
          NULL);
    finds("gossip: {robust: median, hostile: 1, clip: 3}\n",
          "!c.yaml:1:44: gossip.clip: only gossip.robust: clipped follows it", NULL);
    finds(
        "gossip: {robust: clipped, hostile: 1, clip: 0, weights: equal}\n" FEW,
        "!c.yaml:1:45: gossip.clip: \"0\" is not accepted here; accepted: adaptive, or a distance "
        "above 0",
        NULL);
}

static void every_neighbourhood_has_the_models_that_a_rule_needs(void **state)
{
    (void)state;
    finds("gossip: {robust: krum, hostile: 1}\n" FEW, NULL, NULL);
    finds(
        "peers: {count: 4}\ngossip: {robust: krum, hostile: 1}\n",
        "!c.yaml:2:18: gossip.robust: krum needs 5 models to bear 1 hostile (2 x gossip.hostile + "
        "3), and p1 with its neighbours has 4: add peers or edges, lower gossip.hostile, or take "
        "clipped",
        NULL);
    finds("peers: {count: 9}\ngossip: {robust: krum, hostile: 1, topology: torus}\n" FEW, NULL,
          NULL);
    finds("gossip: {robust: trimmed, hostile: 2}\n" FEW, NULL, NULL);
    finds("gossip: {robust: trimmed, hostile: 3}\n",
          "!c.yaml:1:18: gossip.robust: trimmed needs 7 models to bear 3 hostile (2 x "
          "gossip.hostile + 1), and p1 with its neighbours has 5: add peers or edges, lower "
          "gossip.hostile",
          NULL);
    finds(
        "gossip: {robust: median, hostile: 1, topology: [[p1, p2], [p2, p3], [p3, p4], [p4, p1], "
        "[p4, p5]]}\n",
        "!c.yaml:1:18: gossip.robust: median needs 3 models to bear 1 hostile (2 x gossip.hostile "
        "+ 1), and p5 with its neighbours has 2: add peers or edges, lower gossip.hostile",
        NULL);
}

static void sums_and_differences_are_not_judged(void **state)
{
    (void)state;
    finds(
        "gossip: {algorithm: push-sum, robust: median, hostile: 1}\n",
        "!c.yaml:1:39: gossip.robust: push-sum adds up what neighbours send, and median would have "
        "to leave some of it out: its mass would be lost; take dpsgd or qg-dsgdm",
        NULL);
    static const char *const others[] = {"algorithm: push-sum", "algorithm: choco", "codec: topk"};
    for (size_t i = 0; i < 3; i++) {
        node_config_t config;
        node_findings_t f;
        char text[200];
        snprintf(text, sizeof text,
                 "peers: [{name: a, port: 5600}, {name: b, port: 5603, attack: stale}]\n"
                 "gossip: {%s}\n",
                 others[i]);
        examine(&config, &f, text);
        assert_int_equal(f.wrong, i == 0); /* differences can be of lies, sums cannot */
        if (i == 0)
            assert_non_null(strstr(f.items[1].text, "b: stale tampers with models"));
        if (!f.wrong)
            node_config_free(&config);
        node_findings_free(&f);
        snprintf(text, sizeof text,
                 "peers: [{name: a, port: 5600}, {name: b, port: 5603, attack: label_flip}]\n"
                 "gossip: {%s}\n",
                 others[i]);
        examine(&config, &f, text);
        assert_int_equal(f.wrong, 0);
        node_findings_free(&f);
        node_config_free(&config);
    }
}

static void what_is_unwise_is_said(void **state)
{
    (void)state;
    finds("gossip: {robust: median, hostile: 1, topology: ring}\n" FEW,
          "c.yaml:1:48: gossip.topology: 2 peers in the right place can cut this graph in two, and "
          "no rule keeps the parts together while 1 may be hostile: that takes a graph that holds "
          "without any 2",
          NULL);
    /* Two cliques and a bridge. */
    finds("peers: {count: 6}\ngossip: {robust: trimmed, hostile: 1, topology: [[p1, p2], [p2, p3], "
          "[p1, p3], [p3, p4], [p4, p5], [p5, p6], [p4, p6]]}\n" FEW,
          "c.yaml:2:49: gossip.topology: 1 peer in the right place can cut this graph in two, and "
          "no rule keeps the parts together while 1 may be hostile: that takes a graph that holds "
          "without any 2",
          NULL);
    finds("gossip: {robust: clipped, hostile: 1}\n" FEW,
          "c.yaml: gossip.weights: samples is what a peer says of itself, a hostile one too; equal "
          "lets none weigh more than another",
          NULL);
    finds("gossip: {robust: clipped, hostile: 1, weights: equal}\n" FEW, NULL, NULL);
    finds("gossip: {robust: median, hostile: 1}\n",
          "c.yaml: consensus.rounds_max: a hostile peer's far models keep the certified distance "
          "large, so that the peers mix on for all of these 200 exchanges; set what an honest run "
          "needs (hearsay doctor predicts it)",
          NULL);
}

static void drawn_graphs_need_neighbourhoods_for_the_rule(void **state)
{
    (void)state;
#define DRAWN "peers: {count: 8}\nrounds: 30\ngossip: {robust: median, hostile: 1, topology: "
    finds(DRAWN "epidemic, degree: 2}\n" FEW, NULL, NULL);
    finds(
        DRAWN "erdos-renyi, edge_probability: 0.5, redraw: round}\n" FEW,
        "c.yaml:3:48: gossip.topology: in 8 of the first 20 exchanges somebody hears of fewer than "
        "the 3 models that bear 1 hostile, and keeps its own model; raise gossip.degree or "
        "gossip.edge_probability",
        NULL);
    finds(
        DRAWN "one-peer-exponential}\n" FEW,
        "!c.yaml:3:18: gossip.robust: median needs 3 models to bear 1 hostile (2 x gossip.hostile "
        "+ 1), and p1 with its neighbours has 2: add peers or edges, lower gossip.hostile",
        NULL);
}

#define TWO "peers: [{name: a, port: 5600}, {name: b, port: 5603, attack: %s}]\n"

static void attacks_are_read_and_said(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"none", "none"},           {"nan", "nan"},
        {"scaled", "scaled(1000)"}, {"scaled(-2.5)", "scaled(-2.5)"},
        {"sign_flip", "sign_flip"}, {"label_flip", "label_flip"},
        {"noise", "noise(1)"},      {"noise(0.5)", "noise(0.5)"},
        {"alie", "alie(1.5)"},      {"alie(2)", "alie(2)"},
        {"stale", "stale"},         {"slow(3)", "slow(3)"}};
    static const char *const bad[] = {"nan(1)",    "scaled()", "scaled(x)", "scaled(1",
                                      "slow(0.5)", "noise(0)", "alie(-1)",  "scaled(nan)",
                                      "krum",      "null"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        node_config_t c, again;
        node_findings_t f;
        char text[160], said[NODE_ATTACK_TEXT];
        snprintf(text, sizeof text, TWO, good[i][0]);
        examine(&c, &f, text);
        node_attack_text(said, &c.peers[1].attack);
        assert_string_equal(said, good[i][1]);
        assert_int_equal(c.peers[0].attack.kind, NODE_ATTACK_NONE);
        char *whole = node_config_text(&c);
        node_findings_free(&f);
        examine(&again, &f, whole);
        assert_int_equal(again.peers[1].attack.kind, c.peers[1].attack.kind);
        assert_true(again.peers[1].attack.amount == c.peers[1].attack.amount);
        free(whole);
        node_findings_free(&f);
        node_config_free(&c);
        node_config_free(&again);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        node_config_t c;
        node_findings_t f;
        char text[160];
        snprintf(text, sizeof text, TWO, bad[i]);
        examine(&c, &f, text);
        assert_true(f.wrong == 1 && strstr(f.items[0].text, "peers[].attack"));
        node_findings_free(&f);
    }
    char text[160];
    snprintf(text, sizeof text, TWO, "nan");
    finds(
        text,
        "c.yaml: peers[].attack: b is hostile on purpose: nan; take it out where this is no study",
        "c.yaml: gossip.robust: none averages in what b says; clipped, trimmed, median and krum "
        "bear it");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(auto_is_qg_dsgdm_for_sgd_on_uneven_data),
    cmocka_unit_test(qg_dsgdm_needs_a_momentum),
    cmocka_unit_test(differences_need_what_they_need),
    cmocka_unit_test(rules_need_somebody_to_guard_against),
    cmocka_unit_test(every_neighbourhood_has_the_models_that_a_rule_needs),
    cmocka_unit_test(sums_and_differences_are_not_judged),
    cmocka_unit_test(what_is_unwise_is_said),
    cmocka_unit_test(drawn_graphs_need_neighbourhoods_for_the_rule),
    cmocka_unit_test(attacks_are_read_and_said),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
