/* gossip/codec_sparse.h: which of n weights topk and randomk keep, and these weights on the wire;
 * internal to gossip/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gossip/gossip.h"

/* positions (k) ascending: those of the k largest |values|, of equal ones the lower positions.
 * 1 <= k <= n < 2^32. */
void sparse_top(uint32_t *positions, const float *values, size_t n, size_t k);

/* positions (k) ascending: a uniform draw of k of n from (seed, peer, exchange) (Knuth, volume 2,
 * algorithm S). */
void sparse_random(uint32_t *positions, size_t n, size_t k, uint64_t seed, uint64_t peer,
                   uint64_t exchange);

/* Positions on the wire: n bits, or 4 bytes each, whichever is shorter. */
size_t sparse_bytes(size_t n, size_t k);
void sparse_put(uint8_t *bytes, const uint32_t *positions, size_t n, size_t k);
/* False unless they are k different ones below n, in order, and no other bit is set. */
bool sparse_get(uint32_t *positions, const uint8_t *bytes, size_t n, size_t k);

/* Scales, kept values and positions of an object, which codec.h describes, in their places; sizes
 * as of gossip_codec_encode and gossip_codec_decode. Whole segments are left alone; decoded weights
 * are zero but for the kept ones. sparse_encode returns ||x - C(x)||^2 over the weights or a little
 * more, sparse_decode false for what sparse_encode could not have written. */
double sparse_encode(uint8_t *bytes, const float *values, const gossip_table_t *table,
                     const gossip_codec_t *codec, size_t peer, uint64_t exchange);
bool sparse_decode(float *values, const uint8_t *bytes, const gossip_table_t *table,
                   const gossip_codec_t *codec, size_t peer, uint64_t exchange);
