/* quant/quant.h: a consensus model as FP16 and INT8 files, and what that costs. */
#pragma once
#include "data/batch.h"
#include "nn/infer.h"
#include "nn/model_file.h"

typedef enum { QUANT_FP32, QUANT_FP16, QUANT_INT8 } quant_precision_t;
const char *quant_precision_name(quant_precision_t precision);
/* ERR_CONFIG with the accepted names. */
err_t quant_precision_parse(quant_precision_t *precision, const char *name);
/* What computes in which type, for the table: "float16 weights, float32 arithmetic". */
const char *quant_precision_computes(quant_precision_t precision);

/* Writes `model` (fp32) to `path` in `precision`, FP32 or FP16, with BatchNorm folded into the
 * convolutions. ERR_FORMAT for NaN or Inf, naming the tensor. INT8 takes pictures: quant_quantize
 * (quant/calibrate.h) and quant_integer_save. */
err_t quant_save(const char *path, const nn_model_t *model, quant_precision_t precision);

/* A model of any precision, ready to run: fp32 (native or folded), fp16, int8. */
typedef struct quant_runner_s quant_runner_t;
err_t quant_open(quant_runner_t **runner, const char *path, size_t batch, int threads);
void quant_close(quant_runner_t **runner);
const nn_model_meta_t *quant_meta(const quant_runner_t *runner);
/* out logits (n,classes), in x (n,H,W,3) normalised with quant_meta()->normalisation. */
void quant_run(quant_runner_t *runner, float *logits, const float *x, size_t n);
err_t quant_evaluate(nn_metrics_t *metrics, quant_runner_t *runner, const data_set_t *set,
                     const volatile bool *interrupted);

/* One line of the comparison. */
typedef struct {
    quant_precision_t precision;
    char *file;   /* path, owned */
    size_t bytes; /* of the file, from stat */
    double accuracy, loss;
    double drop_points; /* accuracy lost against fp32, in percentage points */
    double compression; /* fp32 bytes / bytes */
    double bytes_run;   /* communication of the run, projected to this precision; < 0 unknown */
    double cost_run;    /* bytes_run / 1e6 * cost_per_mb */
} quant_result_t;

typedef struct {
    char *model, *data; /* what was compared on what, owned */
    size_t samples;     /* pictures */
    int threads;
    quant_result_t *results; /* owned; the first is fp32 */
    size_t count;
    double cost_per_mb;
} quant_comparison_t;

typedef struct {
    const char *model_path;
    const char *out_folder;              /* files go to OUT/model-fp16.safetensors and so on */
    const quant_precision_t *precisions; /* beside fp32 */
    size_t precision_count;
    const data_set_t *set;
    const char *data_name; /* for the report */
    int threads;
    double bytes_run;   /* float32 bytes that the run communicated, < 0 unknown */
    double cost_per_mb; /* $/MB, MB = 1e6 bytes */
    const volatile bool *interrupted;
} quant_compare_options_t;

/* Converts, evaluates each file as loaded from disk, writes OUT/comparison.json. */
err_t quant_compare(quant_comparison_t *comparison, const quant_compare_options_t *options);
void quant_comparison_free(quant_comparison_t *comparison);
/* The table that people read, to a terminal or file. */
#include <stdio.h>
void quant_comparison_print(const quant_comparison_t *comparison, FILE *out);
