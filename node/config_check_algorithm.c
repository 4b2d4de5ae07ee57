/* What goes together with algorithms that send something else than models of a round. */
#include "gossip/codec.h"
#include "node/config_check.h"

static const double KEEP = 0.1; /* gossip.keep where nobody wrote it */

static void check_quasi_global(config_draft_t *draft)
{
    const node_config_t *c = &draft->config;
    if (node_config_algorithm(c) != NODE_ALGORITHM_QG_DSGDM)
        return;
    if (c->train.optimizer.kind != NN_SGD)
        config_wrong(draft, "gossip.algorithm",
                     "qg-dsgdm puts its momentum in the place of sgd's, and adam has none: set "
                     "train.optimizer: sgd, or dpsgd here");
    else if (c->train.optimizer.momentum == 0)
        config_wrong(draft, "gossip.algorithm",
                     "qg-dsgdm is a momentum, and train.momentum is 0: set that to 0.9, say, or "
                     "dpsgd here");
}

/* Keys that nothing follows. */
static void check_unused(config_draft_t *draft)
{
    const node_config_t *c = &draft->config;
    if (!gossip_codec_sparse(c->gossip.codec) && c->gossip.keep != KEEP)
        config_wrong(draft, "gossip.keep", "only gossip.codec: topk and randomk follow it");
    if (!node_config_differences(c) && c->gossip.gamma > 0)
        config_wrong(draft, "gossip.gamma",
                     "only differences are mixed by it: gossip.algorithm: choco, or gossip.codec: "
                     "topk or randomk");
}

/* Differences are to what the neighbours know, so the neighbours have to stay the same ones. */
static void check_differences(config_draft_t *draft)
{
    const node_config_t *c = &draft->config;
    gossip_topology_t topology = node_config_topology(c);
    gossip_codec_t codec = {c->gossip.codec, c->gossip.keep, 0};
    bool sparse = gossip_codec_sparse(c->gossip.codec);
    const char *key = sparse ? "gossip.codec" : "gossip.algorithm";
    const char *name = sparse ? gossip_codec_name(c->gossip.codec) : "choco";
    if (!node_config_differences(c))
        return;
    if (gossip_topology_drawn(&topology))
        config_wrong(draft, key,
                     "%s sends differences to what a neighbour knows of it, and with "
                     "gossip.topology: %s neighbours are others every round; take a graph that "
                     "stays, such as exponential, or another %s",
                     name, gossip_topology_name(topology.kind), sparse ? "codec" : "algorithm");
    if (c->gossip.robust != GOSSIP_ROBUST_NONE)
        config_wrong(draft, key,
                     "gossip.robust judges models, and with %s neighbours know only what lags "
                     "behind them; take int8, fp16 or bf16 with dpsgd, or leave gossip.robust at "
                     "none",
                     name);
    gossip_graph_t graph;
    if (!sparse || gossip_graph_at(&graph, &topology, 0))
        return; /* a graph that cannot be is found already */
    double step = gossip_codec_gamma(&codec, gossip_graph_degree(&graph));
    gossip_graph_free(&graph);
    if (c->gossip.gamma > step)
        config_unwise(
            draft, "gossip.gamma",
            "%g is above %g, the step that %s bears with gossip.keep: %g: peers overshoot "
            "what they last heard of each other, and may diverge",
            c->gossip.gamma, step, name, c->gossip.keep);
}

/* Training without exchanges in common. */
static void check_async(config_draft_t *draft)
{
    const node_config_t *c = &draft->config;
    if (c->gossip.algorithm != NODE_ALGORITHM_ASYNC)
        return;
    if (gossip_codec_sparse(c->gossip.codec))
        config_wrong(
            draft, "gossip.codec",
            "%s sends differences to the exchange before, and with async a neighbour takes "
            "what is newest and leaves out the rest; take fp32, fp16, bf16 or int8",
            gossip_codec_name(c->gossip.codec));
    if (c->gossip.robust != GOSSIP_ROBUST_NONE)
        config_wrong(draft, "gossip.robust",
                     "a robust rule needs the models of all neighbours at once, and async mixes "
                     "those that are there; take dpsgd, or leave gossip.robust at none");
}

/* gossip.stop goes by the certificate of an exchange. */
static void check_async_stop(config_draft_t *draft)
{
    const node_config_t *c = &draft->config;
    bool distance = c->gossip.stop.distance > 0;
    if (c->gossip.algorithm == NODE_ALGORITHM_ASYNC && (distance || c->gossip.stop.accuracy > 0))
        config_wrong(draft, distance ? "gossip.stop.distance" : "gossip.stop.accuracy",
                     "peers stop together at an exchange that all are certified of, and async has "
                     "none in common; set rounds or time_limit_s, or another gossip.algorithm");
}

void config_check_algorithm(config_draft_t *draft)
{
    const node_config_t *c = &draft->config;
    if (c->gossip.algorithm == NODE_ALGORITHM_PUSH_SUM && c->gossip.codec != GOSSIP_CODEC_FP32)
        config_wrong(draft, "gossip.codec",
                     "push-sum sends cumulative sums, and what a codec loses of them stays lost in "
                     "all later rounds: set fp32, or another gossip.algorithm");
    check_async(draft);
    check_async_stop(draft);
    check_quasi_global(draft);
    check_unused(draft);
    check_differences(draft);
}
