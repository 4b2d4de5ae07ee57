/* quant/report.h: what a comparison works out, and its file. */
#pragma once
#include "quant/quant.h"

/* Fills drop_points, compression, bytes_run and cost_run of `result`, whose accuracy and bytes are
 * known.
 *   drop_points  100 (fp32 accuracy - accuracy)
 *   compression  fp32 bytes / bytes
 *   bytes_run    bytes_run * quant_wire_bytes(net, precision) / quant_wire_bytes(net, FP32): what
 *                the same run would have sent with models in that precision; `bytes_run` < 0 when
 *                unknown, then -1
 *   cost_run     bytes_run / 1e6 * cost_per_mb, -1 when unknown
 * `result` may be `fp32` itself. `net` is the one that was gossiped, not the folded one. */
void quant_result_compare(quant_result_t *result, const quant_result_t *fp32, const nn_net_t *net,
                          double bytes_run, double cost_per_mb);

/* Writes FOLDER/comparison.json; docs/formats.md. */
err_t quant_comparison_write(const quant_comparison_t *comparison, const char *folder);
