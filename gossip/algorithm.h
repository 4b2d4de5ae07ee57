/* gossip/algorithm.h: what an exchange does to models, once those of it are here: the one place
 * where rules of mixing differ. A rule is a small file with its source; exchange.c calls it and
 * knows none by name.
 *
 * Statistics (segments MEAN, VARIANCE) are left out of distances. dpsgd mixes them by W in the
 * centred form; a robust rule must not, for one hostile mean would be in all: robust.h. */
#pragma once
#include "gossip/mix.h"

/* One peer's exchange. The weights of the parts are its row of W and sum to 1. */
typedef struct {
    const gossip_part_t *parts; /* (count) ascending peers, oneself among them; all values finite;
                                 * under clipped a weight of 0: on probation (probation.c) */
    size_t count, self;         /* 1 <= count, self < count */
    const gossip_table_t *table;
    size_t hostile; /* f: how many of the neighbours may lie; robust rules need at least 1 */
    double clip;    /* clipped: tau, the largest move by a neighbour in L2; 0: adaptive */
} gossip_mixing_t;

typedef struct {
    const char *name; /* as in gossip.robust, "none" for dpsgd */
    /* out (table.floats) = the state after the exchange; overlaps no part. Returns how many
     * neighbours' models did not count in full: clipped, or not chosen by krum. */
    size_t (*mix)(float *out, const gossip_mixing_t *mixing);
} gossip_algorithm_t;

/* The rule of a configuration. qg-dsgdm mixes as dpsgd does: its momentum is the node's
 * (nn_trainer_follow). */
const gossip_algorithm_t *gossip_algorithm(gossip_robust_t robust);

/* dpsgd.c: x_i <- sum_j W_ij x_j (Lian 2017, algorithm 1, combined after the local steps). */
extern const gossip_algorithm_t gossip_dpsgd;
