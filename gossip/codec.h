/* gossip/codec.h: how a peer's model of a training exchange is written on the wire. Consensus
 * exchanges, STATE and records always travel as plain float32.
 *
 * A coded object, all little endian, float32 unless said:
 *   residual   float64: ||x - C(x)|| over the weights, so that who receives C(x) can bound how far
 *              it is from x; finite, >= 0
 *   whole      the segments of statistics as they are, in the table's order
 *   int8       one bfloat16 scale for each row of the other segments, in order (a vector, one
 *              element for each channel, is one row); then one int8 an element
 *   fp16, bf16 one 16-bit number for each weight
 *   topk       one bfloat16 scale for each segment of weights, k int8 in ascending order of
 *              position, then their positions among the weights: a set of n bits, or k uint32 in
 *              ascending order where that is shorter
 *   randomk    scales and k int8 alike; the positions follow from (seed, peer, exchange)
 * Its size follows from table and codec alone, so a receiver knows it ahead of the first chunk. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gossip/gossip.h"

/* "fp32", "fp16", "bf16", "int8", "topk", "randomk". */
const char *gossip_codec_name(gossip_codec_kind_t kind);

/* Leaves most of what it is given at zero: fit for differences only (gossip/replica.h). */
bool gossip_codec_sparse(gossip_codec_kind_t kind);

/* Elements that a sparse codec keeps of n weights: keep x n, rounded, 1 to n. */
size_t gossip_codec_kept(const gossip_codec_t *codec, size_t weights);

/* A mixing step gamma for differences that this codec writes, on a graph where no peer has more
 * neighbours than `degree_max`: 1 for those that write every weight; 2 x keep for topk, 4 x keep up
 * to two neighbours; keep / 2 for randomk; at most 1. An x^ lags by about 1 / keep exchanges; at
 * twice these steps peers overshoot what they last heard, some graphs diverge, and at 1 most do:
 * measured by tests/golden/choco.py --steps, and in the simulator (docs/numbers.md). */
double gossip_codec_gamma(const gossip_codec_t *codec, size_t degree_max);

/* Size of every object of this codec and table. */
uint64_t gossip_codec_bytes(const gossip_codec_t *codec, const gossip_table_t *table);

/* Writes `values` as an object.
 *   out bytes  (gossip_codec_bytes), 8-byte aligned
 *   in  values (table.floats)
 * false when a value is not finite, or a variance negative: the object may be one that every
 * receiver refuses.
 * Round to nearest even; what is too large for fp16 or bf16 becomes the largest that there is.
 * int8 is symmetric per row (segment.rows): scale = max |x| / 127 rounded up to a bfloat16, q =
 * rint(x / scale) in -127 .. 127, both ends by this one scale; so |x - C(x)| <= scale / 2 (Jacob
 * 2018, section 2, with zero point 0). topk: the largest magnitudes, of equal ones the lower
 * positions. What the sparse ones keep is rounded alike, by the largest kept of its segment: in
 * differences (gossip/replica.h) what rounding leaves out is in the next one again. */
bool gossip_codec_encode(uint8_t *bytes, const float *values, const gossip_table_t *table,
                         const gossip_codec_t *codec, size_t peer, uint64_t exchange);

/* Bytes from a peer, or one's own, as values C(x), the same at all; false, and `values` undefined,
 * for anything that gossip_codec_encode could not have written: a wrong size, a float that is not
 * finite, a negative variance, an int8 of -128, positions out of range, out of order or too many.
 *   out values   (table.floats)
 *   out residual of the sender's own claim
 *   in  bytes    (size), 8-byte aligned */
bool gossip_codec_decode(float *values, double *residual, const uint8_t *bytes, size_t size,
                         const gossip_table_t *table, const gossip_codec_t *codec, size_t peer,
                         uint64_t exchange);
