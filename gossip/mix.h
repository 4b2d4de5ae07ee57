/* gossip/mix.h: averaging. facts: sample-weighted Metropolis-Hastings,
 *   S_i = n_i + sum over neighbours of n_k,  W_ij = n_j / max(S_i, S_j),  W_ii = 1 - sum_j W_ij
 * (n is stationary; one round on a full graph gives the weighted mean exactly; plain
 * Metropolis-Hastings for equal n). A missing model's W_ij goes to W_ii. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "gossip/gossip.h"

/* One model that takes part in a mix, in ascending peer order, oneself among them. */
typedef struct {
    const float *values;
    double weight; /* W_ij; the weights sum to 1 */
} gossip_part_t;

/* The row of W for the models at hand: weights[k] for part k; part `self` gets the rest. When all
 * max(S_i, S_j) are one number the rest is computed in integers, so fully connected peers get the
 * same bits.
 *   out weights (parts)
 *   in  samples (parts) n_j, reach (parts) S_j; 1 <= both < 2^53, a
 *      neighbour's n_j may be 0: it weighs nothing */
void gossip_weights(double *weights, const uint64_t *samples, const uint64_t *reach, size_t parts,
                    size_t self);

/* out = sum of weight x values over the parts, in their order, accumulated in double. Variances get
 * the centred form, sum W (var_j + (mean_j - mean)^2), FLT_MAX at most. `out` may be one of the
 * inputs. */
void gossip_mix(float *out, const gossip_part_t *parts, size_t count, const gossip_table_t *table);

/* The means of the layer that these variances are of, NULL when the table has none. */
const gossip_segment_t *gossip_mean_of(const gossip_table_t *table,
                                       const gossip_segment_t *variance);

/* ||a - b|| / ||a|| over weights (no statistics), differences first, in double. 0 for equal
 * buffers; HUGE_VAL when a is zero and b is not. */
double gossip_distance(const float *a, const float *b, const gossip_table_t *table);
/* False when any element is NaN or Inf, or a variance is negative. */
bool gossip_values_ok(const float *values, const gossip_table_t *table);
