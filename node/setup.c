#include "node/setup.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "data/batch.h"
#include "node/identity.h"
#include "node/interrupt.h"
#include "node/table.h"

static err_t take_classes(node_setup_t *setup, const char *const *names, size_t count)
{
    err_t err = ERR_OK;
    if (count < 2)
        FAIL(ERR_CONFIG, "the data has %zu class%s: a classifier needs at least two", count,
             count == 1 ? "" : "es");
    setup->class_names = xcalloc(count, sizeof *setup->class_names);
    setup->class_count = count;
    for (size_t i = 0; i < count; i++)
        setup->class_names[i] = xstrdup(names[i]);
out:
    return err;
}

/* The list of classes when peers have their own data: model.classes, or what the folders say. */
static err_t own_classes(node_setup_t *setup, size_t self)
{
    err_t err = ERR_OK;
    const node_config_t *config = setup->config;
    data_source_t *source = NULL;
    if (config->class_count) {
        err = take_classes(setup, (const char *const *)config->classes, config->class_count);
        goto out;
    }
    for (size_t i = 0; i < config->peer_count; i++) {
        if (self != SIZE_MAX && i != self)
            continue;
        TRY(data_source_open(&source, config->peers[i].data, NULL, 0));
        size_t count = data_source_class_count(source);
        const char *const *names = data_source_class_names(source);
        bool same = setup->class_names && setup->class_count == count;
        for (size_t k = 0; same && k < count; k++)
            same = !strcmp(names[k], setup->class_names[k]);
        if (!setup->class_names)
            TRY(take_classes(setup, names, count));
        else if (!same)
            FAIL(ERR_CONFIG,
                 "peers %s and %s have different class folders: list all classes in model.classes",
                 config->peers[0].name, config->peers[i].name);
        data_source_close(&source);
    }
out:
    data_source_close(&source);
    return err;
}

static err_t split_common(node_setup_t *setup)
{
    err_t err = ERR_OK;
    const node_config_t *config = setup->config;
    char *spec = node_config_source_spec(config);
    TRY(data_source_open(&setup->source, spec, (const char *const *)config->classes,
                         config->class_count));
    size_t count = data_source_count(setup->source);
    size_t train_count = data_source_train_count(setup->source);
    data_split_spec_t how = {
        .seed = config->seed,
        .peers = config->peer_count,
        .kind = config->data.partition,
        .alpha = config->data.alpha,
        .shards = config->data.shards,
        .test_fraction = config->data.test_fraction,
        .local_test_fraction = config->data.local_test_fraction,
    };
    /* The data set's own test part, or a common test set named in the configuration, stands in for
     * pictures set aside. */
    if (train_count < count || config->data.test)
        how.test_fraction = 0.0;
    TRY(data_split(&setup->split, &how, data_source_labels(setup->source), train_count,
                   data_source_class_count(setup->source)));
    if (train_count < count && !config->data.test) {
        setup->split.test.count = count - train_count;
        setup->split.test.indices = xrealloc(setup->split.test.indices, count - train_count,
                                             sizeof *setup->split.test.indices);
        for (size_t i = train_count; i < count; i++)
            setup->split.test.indices[i - train_count] = (uint32_t)i;
    }
    TRY(take_classes(setup, data_source_class_names(setup->source),
                     data_source_class_count(setup->source)));
out:
    free(spec);
    return err;
}

/* A common test set of other classes should be known ahead of training, not after it. */
static err_t check_test_spec(const node_setup_t *setup)
{
    data_source_t *source = NULL;
    if (!setup->config->data.test)
        return ERR_OK;
    err_t err = data_source_open(&source, setup->config->data.test,
                                 (const char *const *)setup->class_names, setup->class_count);
    data_source_close(&source);
    return err ? err_prefix(err, "common test set") : ERR_OK;
}

/* The graph of links: where each round has its own, all are linked with all. */
static err_t make_graph(node_setup_t *setup)
{
    setup->topology = node_config_topology(setup->config);
    gossip_topology_t links = setup->topology;
    if (gossip_topology_drawn(&links))
        links.kind = GOSSIP_FULL;
    return gossip_graph_at(&setup->graph, &links, 0);
}

err_t node_setup_init(node_setup_t *setup, const node_config_t *config, size_t self)
{
    err_t err = ERR_OK;
    *setup = (node_setup_t){.config = config};
    TRY(make_graph(setup));
    if (node_config_own_data(config))
        TRY(own_classes(setup, self));
    else
        TRY(split_common(setup));
    nn_arch_t arch = config->model;
    arch.classes = setup->class_count;
    TRY(nn_net_new(&setup->net, &arch));
    /* With peers on machines of their own only the one that tests need have the test set. */
    if (self == SIZE_MAX || self == 0 || config->evaluate.peer == NODE_EVALUATE_ALL)
        TRY(check_test_spec(setup));
    TRY(node_initial_init(&setup->initial, config, setup->net,
                          (const char *const *)setup->class_names));
    node_gossip_table(&setup->table, setup->net);
    setup->segments = setup->table.segments;
    node_identity(setup);
out:
    if (err)
        node_setup_free(setup);
    return err;
}

err_t node_setup_init_bare(node_setup_t *setup, const node_config_t *config, size_t parameters)
{
    err_t err = ERR_OK;
    *setup = (node_setup_t){.config = config};
    TRY(make_graph(setup));
    setup->segments = xcalloc(1, sizeof *setup->segments);
    setup->segments[0] = (gossip_segment_t){
        .name = "weights", .kind = GOSSIP_WEIGHTS, .count = parameters, .rows = 1, .group = -1};
    setup->table = (gossip_table_t){.segments = setup->segments, .count = 1, .floats = parameters};
    node_identity(setup);
out:
    if (err)
        node_setup_free(setup);
    return err;
}

err_t node_setup_init_net(node_setup_t *setup, const node_config_t *config)
{
    err_t err = ERR_OK;
    *setup = (node_setup_t){.config = config};
    TRY(make_graph(setup));
    nn_arch_t arch = config->model;
    arch.classes = config->class_count ? config->class_count : 10;
    TRY(nn_net_new(&setup->net, &arch));
    node_gossip_table(&setup->table, setup->net);
    setup->segments = setup->table.segments;
out:
    if (err)
        node_setup_free(setup);
    return err;
}

void node_setup_free(node_setup_t *setup)
{
    gossip_graph_free(&setup->graph);
    data_source_close(&setup->source);
    data_split_free(&setup->split);
    for (size_t i = 0; i < setup->class_count; i++)
        free(setup->class_names[i]);
    free(setup->class_names);
    node_initial_free(&setup->initial);
    nn_net_destroy(&setup->net);
    free(setup->segments);
    data_set_free(&setup->test);
    *setup = (node_setup_t){0};
}

/* As the configuration wants them; a bad picture's message says how to go on without it. */
static err_t load(data_set_t *set, size_t *skipped, const data_source_t *source,
                  const uint32_t *indices, size_t count, const node_config_t *config)
{
    err_t err = data_source_load(set, skipped, source, indices, count, config->model.input,
                                 config->data.on_bad_image, &node_interrupted);
    if ((err == ERR_FORMAT || err == ERR_IO) && config->data.on_bad_image == DATA_BAD_STOP) {
        char *message = xstrdup(err_message());
        err_set(err, "%s, or leave such pictures out (data.on_bad_image: skip)", message);
        free(message);
    }
    return err;
}

/* All of a source's pictures. */
static err_t load_test_spec(node_setup_t *setup, const char *spec)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    uint32_t *indices = NULL;
    size_t skipped = 0;
    TRY(data_source_open(&source, spec, (const char *const *)setup->class_names,
                         setup->class_count));
    size_t count = data_source_count(source);
    indices = xcalloc(count, sizeof *indices);
    for (size_t i = 0; i < count; i++)
        indices[i] = (uint32_t)i;
    TRY(load(&setup->test, &skipped, source, indices, count, setup->config));
out:
    free(indices);
    data_source_close(&source);
    return err;
}

err_t node_setup_load_test(node_setup_t *setup)
{
    err_t err = ERR_OK;
    size_t skipped = 0;
    if (setup->test_loaded)
        return ERR_OK;
    if (setup->config->data.test)
        TRY(load_test_spec(setup, setup->config->data.test));
    else if (setup->split.test.count)
        TRY(load(&setup->test, &skipped, setup->source, setup->split.test.indices,
                 setup->split.test.count, setup->config));
    setup->test_loaded = true;
out:
    if (err)
        err = err_prefix(err, "common test set");
    return err;
}

err_t node_data_load(node_data_t *data, const node_setup_t *setup, size_t peer)
{
    err_t err = ERR_OK;
    const node_config_t *config = setup->config;
    const char *own_spec = config->peers[peer].data;
    data_source_t *own = NULL;
    data_index_t train = {0}, local_test = {0};
    size_t skipped_train = 0, skipped_test = 0;
    *data = (node_data_t){0};
    if (own_spec) {
        TRY(data_source_open(&own, own_spec, (const char *const *)setup->class_names,
                             setup->class_count));
        TRY(data_split_own(&train, &local_test, config->seed, peer,
                           config->data.local_test_fraction, data_source_count(own)));
    }
    const data_source_t *source = own ? own : setup->source;
    const data_index_t *train_part = own ? &train : &setup->split.train[peer];
    const data_index_t *test_part = own ? &local_test : &setup->split.local_test[peer];
    TRY(load(&data->train, &skipped_train, source, train_part->indices, train_part->count, config));
    TRY(load(&data->local_test, &skipped_test, source, test_part->indices, test_part->count,
             config));
    data->skipped = skipped_train + skipped_test;
    if (data->train.count < 2)
        FAIL(ERR_CONFIG, "%zu picture%s left to train on: a peer needs at least two",
             data->train.count, data->train.count == 1 ? "" : "s");
    log_info("data", "train=%zu local_test=%zu skipped=%zu", data->train.count,
             data->local_test.count, data->skipped);
out:
    data_source_close(&own);
    data_index_free(&train);
    data_index_free(&local_test);
    if (err) {
        node_data_free(data);
        err = err_prefix(err, "peer %s", config->peers[peer].name);
    }
    return err;
}

/* At most quantize.samples of `train`, the training pictures of `peer`, drawn by the seed, behind
 * those that `all` has. */
static void draw_calibration(data_index_t *all, const data_index_t *train, size_t peer,
                             const node_config_t *config)
{
    size_t count =
        train->count < config->quantize.samples ? train->count : config->quantize.samples;
    uint32_t *drawn = xcalloc(train->count + 1, sizeof *drawn);
    memcpy(drawn, train->indices, train->count * sizeof *drawn);
    data_calibration_shuffle(drawn, train->count, config->seed, peer);
    all->indices = xrealloc(all->indices, all->count + count + 1, sizeof *drawn);
    memcpy(all->indices + all->count, drawn, count * sizeof *drawn);
    all->count += count;
    free(drawn);
}

err_t node_setup_load_calibration(data_set_t *set, char **what, const node_setup_t *setup)
{
    err_t err = ERR_OK;
    const node_config_t *config = setup->config;
    const char *own_spec = config->peers[0].data;
    data_source_t *own = NULL;
    data_index_t train = {0}, local_test = {0}, drawn = {0};
    size_t skipped;
    *set = (data_set_t){0};
    *what = NULL;
    if (own_spec) {
        TRY(data_source_open(&own, own_spec, (const char *const *)setup->class_names,
                             setup->class_count));
        TRY(data_split_own(&train, &local_test, config->seed, 0, config->data.local_test_fraction,
                           data_source_count(own)));
        draw_calibration(&drawn, &train, 0, config);
    }
    for (size_t peer = 0; !own && peer < setup->split.peers; peer++)
        draw_calibration(&drawn, &setup->split.train[peer], peer, config);
    TRY(load(set, &skipped, own ? own : setup->source, drawn.indices, drawn.count, config));
    *what = own ? xasprintf("what %s trains on", config->peers[0].name)
                : xstrdup("what all peers train on");
out:
    data_source_close(&own);
    data_index_free(&train);
    data_index_free(&local_test);
    data_index_free(&drawn);
    return err;
}

void node_data_free(node_data_t *data)
{
    data_set_free(&data->train);
    data_set_free(&data->local_test);
}

nn_model_meta_t node_setup_meta(const node_setup_t *setup, uint64_t round)
{
    nn_model_meta_t meta = {
        .arch = setup->net->arch,
        .normalisation = setup->config->data.normalisation,
        .round = round,
        .precision = "fp32",
    };
    meta.class_names = xcalloc(setup->class_count, sizeof *meta.class_names);
    for (size_t i = 0; i < setup->class_count; i++)
        meta.class_names[i] = xstrdup(setup->class_names[i]);
    memcpy(meta.federation, setup->config->federation, sizeof meta.federation);
    return meta;
}
