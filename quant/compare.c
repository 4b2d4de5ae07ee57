/* Converts, evaluates what was written, and counts what it costs. */
#include <stdlib.h>

#include "base/file.h"
#include "quant/calibrate.h"
#include "quant/precision.h"
#include "quant/report.h"

enum { EVALUATION_BATCH = 64, CALIBRATION_PICTURES = 512 };

static err_t check_options(const quant_compare_options_t *options)
{
    err_t err = ERR_OK;
    if (!(options->cost_per_mb >= 0))
        FAIL(ERR_CONFIG, "cost per MB of %g: must be 0 or more", options->cost_per_mb);
    if (options->threads < 1)
        FAIL(ERR_CONFIG, "%d threads: must be 1 or more", options->threads);
out:
    return err;
}

/* Evaluates the file as it is on the disk. */
static err_t measure(quant_result_t *result, const quant_compare_options_t *options)
{
    err_t err = ERR_OK;
    quant_runner_t *runner = NULL;
    nn_metrics_t metrics = {0};
    TRY(file_size(&result->bytes, result->file));
    TRY(quant_open(&runner, result->file, EVALUATION_BATCH, options->threads));
    TRY(quant_evaluate(&metrics, runner, options->set, options->interrupted));
    result->accuracy = metrics.accuracy;
    result->loss = metrics.loss;
out:
    nn_metrics_free(&metrics);
    quant_close(&runner);
    return err;
}

void quant_result_compare(quant_result_t *result, const quant_result_t *fp32, const nn_net_t *net,
                          double bytes_run, double cost_per_mb)
{
    result->drop_points = 100.0 * (fp32->accuracy - result->accuracy);
    result->compression = (double)fp32->bytes / (double)result->bytes;
    if (bytes_run < 0) {
        result->bytes_run = result->cost_run = -1;
        return;
    }
    result->bytes_run =
        bytes_run * quant_wire_bytes(net, result->precision) / quant_wire_bytes(net, QUANT_FP32);
    result->cost_run = result->bytes_run / 1e6 * cost_per_mb;
}

/* True when `precision` is FP32 or stands among the first `count` of the options already. */
static bool is_repeated(const quant_compare_options_t *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (options->precisions[i] == options->precisions[count])
            return true;
    return options->precisions[count] == QUANT_FP32;
}

static err_t save_int8(const char *path, const quant_compare_options_t *options,
                       const nn_model_t *model)
{
    err_t err = ERR_OK;
    quant_integer_t integer = {0};
    const quant_convert_options_t convert = quant_convert_defaults();
    const size_t all = options->set->count;
    uint32_t pictures[CALIBRATION_PICTURES]; /* spread evenly: sets lie sorted by class */
    const quant_calibration_t calibration = {
        .set = options->set,
        .pictures = pictures,
        .count = all < CALIBRATION_PICTURES ? all : CALIBRATION_PICTURES,
        .normalisation = &model->meta.normalisation,
        .threads = options->threads,
        .interrupted = options->interrupted};
    for (size_t i = 0; i < calibration.count; i++)
        pictures[i] = (uint32_t)(i * all / calibration.count);
    TRY(quant_quantize(&integer, model, &calibration, &convert));
    TRY(quant_integer_save(path, &integer));
out:
    quant_integer_free(&integer);
    return err;
}

static err_t add_result(quant_comparison_t *c, const quant_compare_options_t *options,
                        const nn_model_t *model, quant_precision_t precision)
{
    err_t err = ERR_OK;
    quant_result_t *result = &c->results[c->count++];
    result->precision = precision;
    if (precision == QUANT_FP32) {
        result->file = xstrdup(options->model_path);
    } else {
        result->file = xasprintf("%s/model-%s.safetensors", options->out_folder,
                                 quant_precision_name(precision));
        TRY(precision == QUANT_INT8 ? save_int8(result->file, options, model)
                                    : quant_save(result->file, model, precision));
    }
    TRY(measure(result, options));
    quant_result_compare(result, &c->results[0], model->net, options->bytes_run, c->cost_per_mb);
out:
    return err;
}

err_t quant_compare(quant_comparison_t *comparison, const quant_compare_options_t *options)
{
    err_t err = ERR_OK;
    nn_model_t model = {0};
    *comparison = (quant_comparison_t){0};
    TRY(check_options(options));
    TRY(nn_model_load(&model, options->model_path));
    TRY(file_make_folder(options->out_folder));
    comparison->model = xstrdup(options->model_path);
    comparison->data = xstrdup(options->data_name);
    comparison->samples = options->set->count;
    comparison->threads = options->threads;
    comparison->cost_per_mb = options->cost_per_mb;
    comparison->results = xcalloc(options->precision_count + 1, sizeof *comparison->results);
    TRY(add_result(comparison, options, &model, QUANT_FP32));
    for (size_t i = 0; i < options->precision_count; i++)
        if (!is_repeated(options, i))
            TRY(add_result(comparison, options, &model, options->precisions[i]));
    TRY(quant_comparison_write(comparison, options->out_folder));
out:
    nn_model_free(&model);
    if (err)
        quant_comparison_free(comparison);
    return err;
}

void quant_comparison_free(quant_comparison_t *comparison)
{
    for (size_t i = 0; i < comparison->count; i++)
        free(comparison->results[i].file);
    free(comparison->results);
    free(comparison->model);
    free(comparison->data);
    *comparison = (quant_comparison_t){0};
}
