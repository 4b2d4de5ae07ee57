#include "node/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gossip/codec.h"
#include "node/calibration.h"

enum { PROTOCOL_VERSION = 3 };

static void add(node_setup_t *setup, const char *name, const char *text, size_t size)
{
    CHECK(setup->section_count < GOSSIP_SECTIONS_MAX);
    gossip_section_t *section = &setup->sections[setup->section_count++];
    snprintf(section->name, sizeof section->name, "%s", name);
    hash_t hash = hash_bytes(text, size);
    memcpy(section->digest, hash.bytes, sizeof section->digest);
}

static void add_model(node_setup_t *setup)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CHECK(out);
    const nn_net_t *net = setup->net;
    if (net) /* else a study of the protocol: node_setup_init_bare */
        fprintf(out, "%s %.9g %s %zu\n", net->arch.name, net->arch.width, net->arch.strides,
                net->arch.input);
    for (size_t i = 0; net && i < net->entry_count; i++) {
        const nn_entry_t *entry = &net->entries[i];
        fprintf(out, "%s %d", entry->name, (int)entry->kind);
        for (size_t d = 0; d < entry->rank; d++)
            fprintf(out, " %zu", entry->shape[d]);
        fputc('\n', out);
    }
    fclose(out);
    add(setup, "model", text, size);
    free(text);
}

static void add_classes(node_setup_t *setup)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CHECK(out);
    for (size_t i = 0; i < setup->class_count; i++)
        fprintf(out, "%zu %s\n", strlen(setup->class_names[i]), setup->class_names[i]);
    fclose(out);
    add(setup, "classes", text, size);
    free(text);
}

/* What else the kind of graph needs, and nothing that it does not look at. */
static void add_topology(node_setup_t *setup)
{
    char text[96], more[48] = "";
    const gossip_topology_t *rule = &setup->topology;
    if (rule->kind == GOSSIP_REGULAR)
        snprintf(more, sizeof more, " %zu %d", rule->degree, rule->redraw);
    if (rule->kind == GOSSIP_ERDOS_RENYI)
        snprintf(more, sizeof more, " %.17g %d", rule->edge_probability, rule->redraw);
    if (rule->kind == GOSSIP_EPIDEMIC)
        snprintf(more, sizeof more, " %zu %d", rule->degree, rule->local);
    int n = snprintf(text, sizeof text, "%s%s", gossip_topology_name(rule->kind), more);
    add(setup, "topology", text, (size_t)n);
}

void node_identity(node_setup_t *setup)
{
    const node_config_t *config = setup->config;
    const data_normalisation_t *norm = &config->data.normalisation;
    char text[512];
    int n = snprintf(text, sizeof text, "%s %d", config->federation, PROTOCOL_VERSION);
    add(setup, "protocol", text, (size_t)n);
    add_model(setup);
    add_classes(setup);
    n = snprintf(text, sizeof text, "%.9g %.9g %.9g %.9g %.9g %.9g", norm->mean[0], norm->mean[1],
                 norm->mean[2], norm->std[0], norm->std[1], norm->std[2]);
    add(setup, "normalisation", text, (size_t)n);
    n = snprintf(text, sizeof text, "%llu", (unsigned long long)config->seed);
    add(setup, "seed", text, (size_t)n);
    char digest[HASH_HEX] = "none";
    if (setup->net)
        node_initial_digest(digest, &setup->initial);
    add(setup, "init", digest, strlen(digest));
    /* Who freezes takes the features of others for its own first ones; who does not would train
     * them in vain. */
    n = snprintf(text, sizeof text, "%d", (int)config->freeze);
    add(setup, "freeze", text, (size_t)n);
    n = snprintf(text, sizeof text, "%s %d robust %d %u %.17g",
                 node_config_algorithm_name(node_config_algorithm(config)),
                 (int)config->gossip.weighting, (int)config->gossip.robust, config->gossip.hostile,
                 config->gossip.clip);
    if (config->gossip.algorithm == NODE_ALGORITHM_ASYNC) /* peers meet behind the last round */
        n += snprintf(text + n, sizeof text - (size_t)n, " %u %u", config->gossip.staleness,
                      config->rounds);
    if (config->gossip.robust == GOSSIP_ROBUST_CLIPPED) /* who once had nobody on probation */
        n += snprintf(text + n, sizeof text - (size_t)n, " probation");
    add(setup, "mixing", text, (size_t)n);
    n = snprintf(text, sizeof text, "%s", gossip_codec_name(config->gossip.codec));
    if (node_config_differences(config))
        n = snprintf(text, sizeof text, "%s %.17g %.17g", gossip_codec_name(config->gossip.codec),
                     config->gossip.keep, config->gossip.gamma);
    if (config->gossip.codec == GOSSIP_CODEC_INT8 || gossip_codec_sparse(config->gossip.codec))
        /* whose bytes once had float32 scales or values */
        n += snprintf(text + n, sizeof text - (size_t)n, " bfloat16");
    add(setup, "codec", text, (size_t)n);
    /* What is made of the records behind the consensus has to be the same everywhere. */
    n = snprintf(text, sizeof text, "%s %d", quant_clipping_name(config->quantize.clipping),
                 config->quantize.bias_correction);
    if (!node_calibration_wanted(config))
        n = snprintf(text, sizeof text, "local");
    add(setup, "calibration", text, (size_t)n);
    add_topology(setup);
    /* Who stops by another rule would end the training of all by it. */
    n = snprintf(text, sizeof text, "%.17g %.17g %u", config->gossip.stop.distance,
                 config->gossip.stop.accuracy, config->gossip.stop.patience);
    add(setup, "stop", text, (size_t)n);

    hash_stream_t *stream = hash_stream_new();
    for (size_t i = 0; i < setup->section_count; i++)
        hash_stream_add(stream, &setup->sections[i], sizeof setup->sections[i]);
    setup->federation = hash_stream_end(&stream);
}

static gossip_scheme_t scheme_of(node_algorithm_t algorithm)
{
    switch (algorithm) {
    case NODE_ALGORITHM_PUSH_SUM:
        return GOSSIP_PUSH_SUM;
    case NODE_ALGORITHM_ASYNC:
        return GOSSIP_ASYNC;
    default:
        return GOSSIP_DPSGD;
    }
}

gossip_config_t node_gossip_config(const node_setup_t *setup, const char *const *names, size_t self,
                                   uint64_t samples)
{
    const node_config_t *config = setup->config;
    gossip_config_t gossip = {
        .names = names,
        .peers = config->peer_count,
        .self = self,
        .neighbours = setup->graph.neighbours[self],
        .neighbour_count = setup->graph.degree[self],
        .diameter = setup->graph.diameter,
        .topology = setup->topology,
        .scheme = scheme_of(config->gossip.algorithm),
        .staleness = config->gossip.staleness,
        .table = setup->table,
        .weighting = config->gossip.weighting,
        .codec = {config->gossip.codec, config->gossip.keep, config->seed},
        .choco = config->gossip.algorithm == NODE_ALGORITHM_CHOCO,
        .gamma = config->gossip.gamma,
        .robust = config->gossip.robust,
        .hostile = config->gossip.hostile,
        .clip = config->gossip.clip,
        .samples = samples,
        .incarnation = (uint64_t)clock_wall_ms(),
        .rounds = config->rounds,
        .first_round = 1,
        .deadline = config->gossip.deadline,
        .deadline_floor_ms = (int64_t)(config->gossip.deadline_floor_s * 1e3),
        .deadline_ceiling_ms = (int64_t)(config->gossip.deadline_ceiling_s * 1e3),
        .deadline_k = config->gossip.deadline_k,
        .announce_ms = (int64_t)(config->gossip.announce_s * 1e3),
        .suspect_ms = (int64_t)(config->gossip.suspect_s * 1e3),
        .dead_ms = (int64_t)(config->gossip.dead_s * 1e3),
        .start_wait_ms =
            config->gossip.start_wait_s > 0 ? (int64_t)(config->gossip.start_wait_s * 1e3) : -1,
        .consensus_distance = config->consensus.distance,
        .consensus_rounds_max = config->consensus.rounds_max,
        .stop_distance = config->gossip.stop.distance,
        .stop_accuracy = config->gossip.stop.accuracy,
        .stop_patience = config->gossip.stop.patience,
        .stages = node_calibration_wanted(config) ? NODE_CALIBRATION_STAGES : 0,
    };
    gossip.degree_max = gossip_graph_degree(&setup->graph);
    memcpy(gossip.sections, setup->sections, sizeof gossip.sections);
    gossip.section_count = setup->section_count;
    return gossip;
}
