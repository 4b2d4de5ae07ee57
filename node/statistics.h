/* node/statistics.h: BatchNorm statistics as the record that peers flood: between nn/, which
 * estimates and merges them, and gossip/, which carries bytes. docs/formats.md has the layout. */
#pragma once
#include "gossip/gossip.h"
#include "nn/infer.h"
#include "node/config.h"

typedef struct {
    const nn_net_t *net;    /* not owned */
    size_t channels, norms; /* of all BatchNorms; BatchNorms */
    double *mean, *var;     /* (channels), owned */
    uint64_t *count;        /* (norms), owned */
    uint8_t *record;        /* (record_size) count, mean, var, little-endian, owned */
    size_t record_size;
} node_statistics_t;

err_t node_statistics_init(node_statistics_t *statistics, const nn_net_t *net);
void node_statistics_free(node_statistics_t *statistics);

/* Stands for the estimation of statistics where batches and draws have an epoch's number. */
#define NODE_STATISTICS_EPOCH UINT64_MAX

/* The draws by which a peer's pictures are augmented for estimates: of no epoch's. */
rng_t node_statistics_augment(const node_config_t *config, size_t peer);
/* Estimates on `set`, the peer's, taken in the shuffled `order` and augmented, and fills `record`.
 * ERR_REFUSED when interrupted. */
err_t node_statistics_estimate(node_statistics_t *statistics, const nn_state_t *state,
                               const data_set_t *set, const uint32_t *order,
                               const node_config_t *config, size_t peer,
                               const volatile bool *interrupted);

/* Merges records in their order and writes the result into the state's running statistics. A record
 * of the wrong size, or with a number that cannot be (NaN, negative variance, no elements), is left
 * out and named in the log; with none left the state's statistics stay as they are. */
void node_statistics_merge(node_statistics_t *statistics, nn_state_t *state,
                           const gossip_record_t *records, size_t record_count,
                           const node_config_t *config);
