/* quant/precision.h: what a precision stores and what it computes in, for one table. */
#pragma once
#include "quant/quant.h"

enum { QUANT_PRECISIONS = 3 };

/* Metadata of folded files: batch_norm=folded. */
#define QUANT_FOLDED_KEY   "batch_norm"
#define QUANT_FOLDED_VALUE "folded"

/* Bytes of one model on the wire if peers told each other their models in this precision. Peers
 * mix models with their BatchNorms, so nothing is folded there: FP32 4 bytes for every float
 * element, FP16 2; INT8 1 for a weight's, 4 for each output channel's scale, 4 for every other
 * element (biases, BatchNorm). Without headers, which are the same for all. */
double quant_wire_bytes(const nn_net_t *net, quant_precision_t precision);
