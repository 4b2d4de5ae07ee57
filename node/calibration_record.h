/* node/calibration_record.h: what calibration observed as the records that peers flood: between
 * quant/, which observes and merges, and gossip/, which carries bytes. docs/formats.md has the
 * layout. What is read comes from others and is checked against the net: sizes, finiteness, that
 * ranges hold 0, that every tensor's counts add up to its elements in that many pictures. */
#pragma once
#include <stdbool.h>

#include "quant/calibrate.h"

enum { NODE_CALIBRATION_PICTURES_MAX = 1 << 19 }; /* of a peer: 4096 of them fit the sums */

/* malloc'd records of *size bytes; the caller frees. */
uint8_t *node_ranges_write(size_t *size, const quant_ranges_t *ranges);
uint8_t *node_counts_write(size_t *size, const quant_counts_t *counts);

/* NULL and a result that the caller frees; or what is wrong with the record, and nothing to free.
 * `net` is the folded one. */
const char *node_ranges_read(quant_ranges_t *ranges, const nn_net_t *net, const uint8_t *bytes,
                             size_t size);
const char *node_counts_read(quant_counts_t *counts, const nn_net_t *net, const uint8_t *bytes,
                             size_t size);
