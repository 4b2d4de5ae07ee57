/* data/partition.h: which picture is whose. Everything follows from (seed, labels): any peer can
 * compute any other's part. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { DATA_PEER_PICTURES_MIN = 2 }; /* one to train on, one to test on */

typedef enum {
    DATA_PARTITION_IID,
    DATA_PARTITION_DIRICHLET,
    DATA_PARTITION_SHARDS
} data_partition_kind_t;

typedef struct {
    uint64_t seed;
    size_t peers;
    data_partition_kind_t kind;
    double alpha;               /* DIRICHLET: concentration, > 0; small is uneven */
    size_t shards;              /* SHARDS: label-sorted shards a peer, >= 1 */
    double test_fraction;       /* global test set, in [0, 0.9]; 0 when the set has its own */
    double local_test_fraction; /* of each peer's part, in [0, 0.9] */
} data_split_spec_t;

typedef struct {
    uint32_t *indices; /* into the source, owned */
    size_t count;
} data_index_t;

typedef struct {
    data_index_t test; /* the global test set */
    size_t peers;
    data_index_t *train;      /* (peers) what each trains on; n_i is its count */
    data_index_t *local_test; /* (peers) */
} data_split_t;

/* Splits pictures 0 .. count-1. The test set is drawn stratified by class; then each peer gets its
 * part, and of it a local test set. Every list is in ascending order.
 *   test        round(n_c * test_fraction) of each class c, halves up; depends on (seed, labels,
 *               test_fraction) alone, not on the peers
 *   iid         the rest, shuffled, dealt one by one: sizes differ by at most 1
 *   dirichlet   each class cut at round(n_c * running sum of its proportions); drawn anew, at most
 *               200 times, until every peer has DATA_PEER_PICTURES_MIN pictures
 *   shards      the rest sorted by label, cut into peers * shards runs whose sizes differ by at
 *               most 1, dealt in a drawn order
 *   local_test  round(n_p * local_test_fraction), at least 1 when the fraction is not 0; at least
 *               1 is left for training
 *
 * ERR_CONFIG when a peer would get fewer than DATA_PEER_PICTURES_MIN pictures, or a number of
 * `spec` is out of range: the message says which and what to change. `labels` in 0 ..
 * class_count-1. The caller frees. */
err_t data_split(data_split_t *split, const data_split_spec_t *spec, const int32_t *labels,
                 size_t count, size_t class_count);
void data_split_free(data_split_t *split);

/* A peer with pictures of its own: its local test set set apart by (seed, peer). A single picture
 * is ERR_CONFIG. */
err_t data_split_own(data_index_t *train, data_index_t *local_test, uint64_t seed, size_t peer,
                     double local_test_fraction, size_t count);
void data_index_free(data_index_t *index);
