#include "node/doctor.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gossip/codec.h"
#include "gossip/robust.h"
#include "nn/head.h"
#include "nn/infer.h"
#include "node/identity.h"
#include "node/statistics.h"

static void measure_graph(node_doctor_t *d, const gossip_graph_t *graph, size_t *busiest)
{
    d->peers = graph->peers;
    d->directed = graph->directed;
    d->diameter = graph->diameter;
    d->degree_least = d->degree_most = graph->degree[0];
    d->models_least = graph->in_degree[0] + 1;
    *busiest = 0;
    for (size_t p = 0; p < graph->peers; p++) {
        d->edges += graph->degree[p];
        if (graph->degree[p] < d->degree_least)
            d->degree_least = graph->degree[p];
        if (graph->degree[p] > d->degree_most) {
            d->degree_most = graph->degree[p];
            *busiest = p;
        }
        if (graph->in_degree[p] + 1 < d->models_least)
            d->models_least = graph->in_degree[p] + 1;
    }
    d->edges /= graph->directed ? 1 : 2;
}

static void count_bytes(node_doctor_t *d, const node_setup_t *setup, const gossip_t *gossip)
{
    const nn_net_t *net = setup->net;
    gossip_codec_t codec = {.keep = setup->config->gossip.keep};
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        bool statistic = e->kind == NN_KIND_RUNNING_MEAN || e->kind == NN_KIND_RUNNING_VAR;
        d->parameters += e->kind == NN_KIND_COUNTER || statistic ? 0 : e->count;
    }
    d->floats = net->float_count;
    for (int k = 0; k < NODE_DOCTOR_CODECS; k++) {
        codec.kind = (gossip_codec_kind_t)k;
        d->model_bytes[k] = codec.kind == GOSSIP_CODEC_FP32
                                ? d->floats * sizeof(float)
                                : gossip_codec_bytes(&codec, &setup->table);
    }
    d->chosen_bytes = gossip_model_bytes(gossip, true);
    d->round_bytes = d->degree_most * d->chosen_bytes;
    d->consensus_bytes = d->degree_most * gossip_model_bytes(gossip, false);
}

/* Makes the protocol's state of the busiest peer, asks it for its sizes, and lets it go. */
static err_t measure_gossip(node_doctor_t *d, const node_setup_t *setup, size_t busiest)
{
    err_t err = ERR_OK;
    gossip_t *gossip = NULL;
    const node_config_t *config = setup->config;
    const char **names = xcalloc(config->peer_count, sizeof *names);
    for (size_t p = 0; p < config->peer_count; p++)
        names[p] = config->peers[p].name;
    gossip_config_t wanted = node_gossip_config(setup, names, busiest, 1);
    size_t before = memory_heap();
    TRY(gossip_new(&gossip, &wanted));
    d->gossip_memory = memory_heap() - before;
    count_bytes(d, setup, gossip);
out:
    gossip_destroy(&gossip);
    free(names);
    return err;
}

/* What a learner trains and tests with, but for the pictures. */
static err_t measure_training(node_doctor_t *d, const node_setup_t *setup)
{
    err_t err = ERR_OK;
    const node_config_t *config = setup->config;
    const nn_net_t *net = setup->net;
    nn_trainer_t *trainer = NULL;
    nn_infer_t *infer = NULL;
    nn_state_t state = {0};
    bool frozen = config->freeze == NODE_FREEZE_FEATURES;
    size_t before = memory_heap();
    TRY(nn_state_init(&state, net));
    TRY((frozen ? nn_trainer_new_head : nn_trainer_new)(
        &trainer, net, config->train.batch, config->train.threads, &config->train.optimizer));
    TRY(nn_infer_new(&infer, net, config->train.batch, config->train.threads));
    size_t picture = config->model.input * config->model.input * DATA_CHANNELS;
    d->training_memory = memory_heap() - before +
                         (2 * net->float_count + config->train.batch * picture) * sizeof(float);
out:
    nn_infer_destroy(&infer);
    nn_trainer_destroy(&trainer);
    nn_state_free(&state);
    return err;
}

err_t node_doctor_examine(node_doctor_t *doctor, const node_config_t *config)
{
    err_t err = ERR_OK;
    node_setup_t setup = {0};
    gossip_graph_t graph = {0};
    size_t busiest = 0;
    *doctor = (node_doctor_t){0};
    TRY(node_setup_init_net(&setup, config));
    doctor->drawn = gossip_topology_drawn(&setup.topology);
    TRY(gossip_graph_at(&graph, &setup.topology, 1)); /* of links it may be another */
    measure_graph(doctor, &graph, &busiest);
    TRY(gossip_spectrum(&doctor->spectrum, &setup.topology, NULL));
    TRY(measure_gossip(doctor, &setup, busiest));
    TRY(measure_training(doctor, &setup));
    gossip_robust_t rule = config->gossip.robust;
    while (rule != GOSSIP_ROBUST_NONE &&
           gossip_robust_models(rule, doctor->bears_most + 1) <= doctor->models_least)
        doctor->bears_most++;
out:
    gossip_graph_free(&graph);
    node_setup_free(&setup);
    return err;
}
