/* What goes together of the robust rule, the graph and attackers. */
#include <stdio.h>

#include "gossip/connectivity.h"
#include "gossip/robust.h"
#include "node/config_check.h"

enum {
    CONNECTIVITY_PEERS_MAX = 1000, /* larger graphs take more than a moment */
    CONSENSUS_ROUNDS_FEW = 50,     /* nobody minds */
    DRAWS_MOST = 20                /* graphs of a drawn topology that are looked at */
};

/* Keys of a rule that is not there. */
static bool check_keys(config_draft_t *draft, const char *rule)
{
    const node_config_t *c = &draft->config;
    size_t before = draft->findings->wrong;
    if (c->gossip.robust != GOSSIP_ROBUST_NONE && c->gossip.hostile == 0)
        config_wrong(draft, "gossip.hostile",
                     "%s that bears no hostile neighbour guards against nothing: say how many "
                     "there may be, at least 1, or leave gossip.robust at none",
                     rule);
    if (c->gossip.robust == GOSSIP_ROBUST_NONE && c->gossip.hostile > 0)
        config_wrong(draft, "gossip.hostile",
                     "a plain average bears no hostile neighbour at all: choose a gossip.robust, "
                     "such as clipped, or leave this at 0");
    if (c->gossip.robust != GOSSIP_ROBUST_CLIPPED && c->gossip.clip > 0)
        config_wrong(draft, "gossip.clip", "only gossip.robust: clipped follows it");
    if (c->gossip.robust != GOSSIP_ROBUST_NONE && c->gossip.algorithm == NODE_ALGORITHM_PUSH_SUM)
        config_wrong(draft, "gossip.robust",
                     "push-sum adds up what neighbours send, and %s would have to leave some of it "
                     "out: its mass would be lost; take dpsgd or qg-dsgdm",
                     rule);
    return draft->findings->wrong == before;
}

/* The peer that hears the fewest. */
static size_t loneliest(const gossip_graph_t *graph)
{
    size_t least = 0;
    for (size_t i = 1; i < graph->peers; i++)
        least = graph->in_degree[i] < graph->in_degree[least] ? i : least;
    return least;
}

/* Whether the smallest neighbourhood has the models that the rule needs. */
static bool check_neighbourhoods(config_draft_t *draft, const char *rule,
                                 const gossip_graph_t *graph)
{
    const node_config_t *c = &draft->config;
    size_t least = loneliest(graph);
    size_t needs = gossip_robust_models(c->gossip.robust, c->gossip.hostile);
    if (graph->in_degree[least] + 1 >= needs)
        return true;
    config_wrong(
        draft, "gossip.robust",
        "%s needs %zu models to bear %u hostile (2 x gossip.hostile + %d), and %s with its "
        "neighbours has %zu: add peers or edges, lower gossip.hostile%s",
        rule, needs, c->gossip.hostile, c->gossip.robust == GOSSIP_ROBUST_KRUM ? 3 : 1,
        c->peers[least].name, graph->in_degree[least] + 1,
        c->gossip.robust == GOSSIP_ROBUST_KRUM ? ", or take clipped" : "");
    return false;
}

/* Whether a drawn topology's graphs have neighbourhoods for the rule at least at times: degrees of
 * Erdos-Renyi and local epidemic vary. */
static bool check_draws(config_draft_t *draft, const gossip_topology_t *topology)
{
    const node_config_t *c = &draft->config;
    size_t needs = gossip_robust_models(c->gossip.robust, c->gossip.hostile), few = 0;
    uint32_t draws = c->rounds < DRAWS_MOST ? c->rounds : DRAWS_MOST;
    for (uint32_t exchange = 1; exchange <= draws; exchange++) {
        gossip_graph_t graph;
        if (gossip_graph_at(&graph, topology, exchange))
            return false; /* found already */
        few += graph.in_degree[loneliest(&graph)] + 1 < needs;
        gossip_graph_free(&graph);
    }
    if (few > 0 && few < draws)
        config_unwise(
            draft, "gossip.topology",
            "in %zu of the first %u exchanges somebody hears of fewer than the %zu models "
            "that bear %u hostile, and keeps its own model; raise gossip.degree or "
            "gossip.edge_probability",
            few, draws, needs, c->gossip.hostile);
    return few < draws;
}

/* Where f peers can stand between two parts of a graph they can tell each part its own story: two
 * cliques and a bridge. No rule helps there (LeBlanc 2013: it takes (2f + 1)-robust graphs, and
 * those hold without any 2f peers). */
static void check_cuts(config_draft_t *draft, const gossip_graph_t *graph)
{
    size_t wants = 2 * (size_t)draft->config.gossip.hostile + 1;
    size_t paths = gossip_graph_connectivity(graph, wants);
    if (paths < wants && paths + 1 < graph->peers) /* a full graph has no parts */
        config_unwise(draft, "gossip.topology",
                      "%zu peer%s in the right place can cut this graph in two, and no rule keeps "
                      "the parts together while %u may be hostile: that takes a graph that holds "
                      "without any %zu",
                      paths, paths == 1 ? "" : "s", draft->config.gossip.hostile, wants - 1);
}

static bool lies(const node_attack_t *attack)
{
    return attack->kind != NODE_ATTACK_LABEL_FLIP && attack->kind != NODE_ATTACK_SLOW;
}

/* Said at every start, so that no attacker is left in by mistake. */
static void check_attacks(config_draft_t *draft)
{
    const node_config_t *c = &draft->config;
    bool models = c->gossip.algorithm != NODE_ALGORITHM_PUSH_SUM;
    for (size_t i = 0; i < c->peer_count; i++) {
        char attack[NODE_ATTACK_TEXT];
        node_attack_text(attack, &c->peers[i].attack);
        if (c->peers[i].attack.kind == NODE_ATTACK_NONE)
            continue;
        config_unwise(draft, "peers[].attack",
                      "%s is hostile on purpose: %s; take it out where this is no study",
                      c->peers[i].name, attack);
        if (!models && lies(&c->peers[i].attack))
            config_wrong(
                draft, "peers[].attack",
                "%s: %s tampers with models, and push-sum sends sums; take another algorithm, or "
                "an attack that leaves models as they are: label_flip, slow",
                c->peers[i].name, attack);
        if (c->gossip.robust == GOSSIP_ROBUST_NONE && c->peers[i].attack.kind != NODE_ATTACK_SLOW)
            config_unwise(
                draft, "gossip.robust",
                "none averages in what %s says; clipped, trimmed, median and krum bear it",
                c->peers[i].name);
    }
}

static void check_robust(config_draft_t *draft)
{
    const node_config_t *c = &draft->config;
    gossip_topology_t topology = node_config_topology(c);
    gossip_graph_t graph;
    char rule[32];
    config_choice_name(rule, config_find("gossip.robust")->choices, c->gossip.robust);
    if (!check_keys(draft, rule) || c->gossip.robust == GOSSIP_ROBUST_NONE)
        return;
    if (gossip_graph_at(&graph, &topology, 1))
        return; /* found already */
    bool drawn = gossip_topology_drawn(&topology);
    if ((drawn && check_draws(draft, &topology)) || check_neighbourhoods(draft, rule, &graph)) {
        if (!drawn && graph.peers <= CONNECTIVITY_PEERS_MAX)
            check_cuts(draft, &graph);
        if (c->gossip.robust == GOSSIP_ROBUST_CLIPPED &&
            c->gossip.weighting == GOSSIP_WEIGHTS_SAMPLES)
            config_unwise(draft, "gossip.weights",
                          "samples is what a peer says of itself, a hostile one too; equal lets "
                          "none weigh more than another");
        if (c->consensus.rounds_max > CONSENSUS_ROUNDS_FEW)
            config_unwise(draft, "consensus.rounds_max",
                          "a hostile peer's far models keep the certified distance large, so that "
                          "the peers mix on for all of these %u exchanges; set what an honest run "
                          "needs (hearsay doctor predicts it)",
                          c->consensus.rounds_max);
    }
    gossip_graph_free(&graph);
}

void config_check_mixing(config_draft_t *draft)
{
    check_robust(draft);
    check_attacks(draft);
}
