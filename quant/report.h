/* quant/report.h: what a comparison works out, its files and its table. */
#pragma once
#include <jansson.h>

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

/* Bytes of the tensors of a model file, without its header: FP32 4 for every float element of `net`
 * and 8 for every counter; FP16 2 for every element of `folded`; INT8 1 for a weight's element, 4
 * for the scale and 4 for the bias of every output channel, 4 and 1 for the scale and the zero
 * point of every tensor of the list. */
size_t quant_file_bytes(const nn_net_t *net, const nn_net_t *folded, quant_precision_t precision);

/* Writes FOLDER/comparison.json and FOLDER/comparison.md; docs/formats.md. */
err_t quant_comparison_write(const quant_comparison_t *comparison, const char *folder);

/* {accuracy, top5, macro_f1, macro_auc, loss, calibration_error, classes[{name, samples, recall,
 * precision, f1, auc}], confusion}; null for what is NaN. With `curves` each class also has roc
 * [[fpr, tpr], ...]. */
json_t *quant_measures_json(const quant_measures_t *measures, char *const *class_names,
                            bool curves);
/* {load_s, latency{batch, runs, p50_s, p90_s, p99_s}, throughput{batch, runs, images_per_s},
 * memory_bytes{batch_1, batch_32}}; null when nothing was timed. */
json_t *quant_timing_json(const quant_timing_t *timing);

/* One line of the table: a measure, and what a model has of it. */
enum { QUANT_CELL = 32 };
typedef struct {
    const char *label;
    bool apart; /* a blank line ahead of it */
    /* "" : this line means nothing in this comparison */
    void (*put)(char cell[QUANT_CELL], const quant_comparison_t *c, const quant_result_t *r);
} quant_row_t;
extern const quant_row_t quant_rows[];
extern const size_t quant_row_count;
/* True when some model has something in that line. */
bool quant_row_shown(const quant_row_t *row, const quant_comparison_t *c);

/* Text of a cell, for other tables. */
void quant_put_seconds(char cell[QUANT_CELL], double seconds); /* "1.24 ms" */
void quant_put_share(char cell[QUANT_CELL], double share);     /* "97.20 %", "-" for NaN */
void quant_put_number(char cell[QUANT_CELL], double value);    /* "0.9912", "-" for NaN */
void quant_put_p(char cell[QUANT_CELL], double p);             /* "0.041", "< 0.001" */
void quant_put_db(char cell[QUANT_CELL], double db);           /* "31.4 dB", "equal" */

/* The notes below the table, a line each with its line feed: what computes in which type, on what
 * int8 was calibrated, the worst layer, how far figures can be trusted. Lines of at most 100
 * columns. */
void quant_put_notes(const quant_comparison_t *c, FILE *out);
/* comparison.md. */
void quant_comparison_markdown(const quant_comparison_t *c, FILE *out);
