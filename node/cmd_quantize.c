/* hearsay quantize MODEL --data SPEC: what FP16 and INT8 cost and save. */
#include <inttypes.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/commands.h"
#include "node/config.h"
#include "node/interrupt.h"
#include "node/whole.h"
#include "quant/fold.h"
#include "quant/qat.h"
#include "quant/quant.h"

enum { PRECISIONS_MAX = 2, JSON_BYTES_MAX = 64 << 20, SAMPLES_DEFAULT = 512, TIMING_S = 1 };

typedef struct {
    quant_precision_t precisions[PRECISIONS_MAX];
    size_t precision_count;
    bool int8; /* is among them */
    quant_convert_options_t convert;
    size_t samples; /* most pictures to calibrate on */
    uint64_t seed;  /* of drawing them */
    double seconds; /* of timing */
    double qat_lr;
    double bytes_run, cost_per_mb;
    char *out; /* owned */
} plan_t;

static err_t parse_precisions(plan_t *plan, const char *list)
{
    err_t err = ERR_OK;
    char *copy = xstrdup(list), *rest = NULL;
    for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        quant_precision_t precision;
        if (quant_precision_parse(&precision, name))
            TRY(err_prefix(ERR_USAGE, "--precisions"));
        if (precision == QUANT_FP32)
            FAIL(ERR_USAGE, "--precisions: fp32 is what the others are compared with; name fp16, "
                            "int8 or both");
        for (size_t i = 0; i < plan->precision_count; i++)
            if (plan->precisions[i] == precision)
                FAIL(ERR_USAGE, "--precisions: %s is there twice", name);
        plan->precisions[plan->precision_count++] = precision;
        plan->int8 |= precision == QUANT_INT8;
    }
    if (!plan->precision_count)
        FAIL(ERR_USAGE, "--precisions: name fp16, int8 or both");
out:
    free(copy);
    return err;
}

static err_t parse_amount(double *value, const char *option, const char *text)
{
    if (!text_to_double(value, text) || *value < 0.0)
        return err_set(ERR_USAGE, "%s: \"%s\" is not a number from 0 on", option, text);
    return ERR_OK;
}

/* The options that shape int8; without int8 they mean nothing. */
static err_t parse_int8(plan_t *plan, const node_args_t *args)
{
    err_t err = ERR_OK;
    const char *correction = args->bias_correction ? args->bias_correction : "on";
    plan->convert = quant_convert_defaults();
    plan->samples = args->samples ? args->samples : SAMPLES_DEFAULT;
    plan->seed = args->seed ? args->seed : 1;
    if (!plan->int8 && (args->calibration || args->calibrate_on || args->samples ||
                        args->per_tensor || args->weight_bits || args->bias_correction))
        FAIL(ERR_USAGE,
             "--precisions leaves int8 out, and calibration, samples, weights and biases "
             "are told of int8 alone");
    if (args->calibration && quant_clipping_parse(&plan->convert.clipping, args->calibration))
        TRY(err_prefix(ERR_USAGE, "--calibration"));
    if (plan->samples < 2)
        FAIL(ERR_USAGE, "--samples: 1 picture is too few to calibrate on: 2 or more, better a few "
                        "hundred");
    if (args->weight_bits && (args->weight_bits < 2 || args->weight_bits > 8))
        FAIL(ERR_USAGE, "--weight-bits: %" PRIu64 " is not from 2 to 8", args->weight_bits);
    if (args->weight_bits)
        plan->convert.weight_bits = (int)args->weight_bits;
    if (strcmp(correction, "on") != 0 && strcmp(correction, "off") != 0)
        FAIL(ERR_USAGE, "--bias-correction: \"%s\" is neither on nor off", correction);
    plan->convert.bias_correction = !strcmp(correction, "on");
out:
    return err;
}

/* Training for integers has int8's options, and those of its own. */
static err_t parse_qat(plan_t *plan, const node_args_t *args)
{
    err_t err = ERR_OK;
    plan->qat_lr = quant_qat_defaults().lr;
    if (!args->qat_epochs && (args->qat_data || args->qat_lr))
        FAIL(ERR_USAGE, "%s: how many epochs? add --qat-epochs N",
             args->qat_data ? "--qat-data" : "--qat-lr");
    if (!args->qat_epochs)
        goto out;
    if (!plan->int8)
        FAIL(ERR_USAGE, "--precisions leaves int8 out, which is what --qat-epochs trains for");
    if (args->qat_epochs > QUANT_QAT_EPOCHS_MAX)
        FAIL(ERR_USAGE, "--qat-epochs: %" PRIu64 " is not from 1 to %d", args->qat_epochs,
             QUANT_QAT_EPOCHS_MAX);
    if (args->qat_lr &&
        (!text_to_double(&plan->qat_lr, args->qat_lr) || plan->qat_lr <= 0 || plan->qat_lr > 1))
        FAIL(ERR_USAGE, "--qat-lr: \"%s\" is not a number above 0 and at most 1", args->qat_lr);
    if (args->qat_data && args->data && data_source_overlap(args->qat_data, args->data))
        FAIL(ERR_USAGE, "--qat-data: %s has pictures of --data, %s, which tests: train on others",
             args->qat_data, args->data);
    if (!args->qat_data && args->calibrate_on && args->data &&
        data_source_overlap(args->calibrate_on, args->data))
        FAIL(ERR_USAGE,
             "--calibration-data: %s has pictures of --data, %s, which tests: train on others, "
             "--qat-data SPEC",
             args->calibrate_on, args->data);
out:
    return err;
}

/* What all peers sent, by the summary of the run in `folder`; < 0 when there is none, or when
 * models travelled as something else than float32. */
static double bytes_of_run(const char *folder)
{
    double sum = -1.0;
    unsigned char *text = NULL;
    size_t size = 0, i;
    json_t *peer;
    char *path = xasprintf("%s/summary.json", folder);
    if (file_exists(path) && !file_read(&text, &size, path, JSON_BYTES_MAX)) {
        json_t *root = json_loadb((const char *)text, size, 0, NULL);
        const char *codec = json_string_value(json_object_get(root, "codec"));
        bool whole = !codec || !strcmp(codec, "fp32");
        json_array_foreach(json_object_get(root, "peers"), i, peer)
        {
            const json_t *sent = json_object_get(peer, "bytes_sent");
            if (whole && json_is_number(sent))
                sum = (sum < 0.0 ? 0.0 : sum) + json_number_value(sent);
        }
        json_decref(root);
    }
    free(text);
    free(path);
    return sum;
}

static void cost_of_run(double *cost_per_mb, const char *folder)
{
    node_config_t config;
    char *path = xasprintf("%s/config.yaml", folder);
    if (file_exists(path) && !node_config_load(&config, path, NULL, 0)) {
        *cost_per_mb = config.cost_per_mb;
        node_config_free(&config);
    }
    free(path);
}

/* Where to write when nobody says: beside the model. What a run made of its consensus, maybe
 * calibrated by all peers, is not written over. */
static char *out_beside(const char *folder)
{
    char *config = xasprintf("%s/config.yaml", folder), *out = xasprintf("%s/quantized", folder);
    for (int k = 2; file_exists(config) && file_exists(out); k++) {
        free(out);
        out = xasprintf("%s/quantized-%d", folder, k);
    }
    free(config);
    return out;
}

/* The run that MODEL lies in, or whose peer's folder it lies in, says what was sent. */
static err_t make_plan(plan_t *plan, const node_args_t *args)
{
    err_t err = ERR_OK;
    *plan = (plan_t){.bytes_run = -1.0, .cost_per_mb = 5.0, .seconds = TIMING_S};
    char *copy = xstrdup(args->positional[0]), *folder = xstrdup(dirname(copy));
    char *above = xasprintf("%s/..", folder);
    plan->out = args->out ? xstrdup(args->out) : out_beside(folder);
    TRY(parse_precisions(plan, args->precisions ? args->precisions : "fp16,int8"));
    TRY(parse_int8(plan, args));
    TRY(parse_qat(plan, args));
    if (args->seconds)
        TRY(parse_amount(&plan->seconds, "--seconds", args->seconds));
    plan->bytes_run = bytes_of_run(folder);
    const char *run = plan->bytes_run < 0.0 ? above : folder;
    if (plan->bytes_run < 0.0)
        plan->bytes_run = bytes_of_run(above);
    if (plan->bytes_run >= 0.0)
        cost_of_run(&plan->cost_per_mb, run);
    if (args->bytes_run)
        TRY(parse_amount(&plan->bytes_run, "--bytes-run", args->bytes_run));
    if (args->cost)
        TRY(parse_amount(&plan->cost_per_mb, "--cost-per-mb", args->cost));
out:
    free(above);
    free(folder);
    free(copy);
    return err;
}

/* OUT/comparison.json is what a machine reads. */
static err_t print_json(const char *out_folder)
{
    err_t err = ERR_OK;
    unsigned char *text = NULL;
    size_t size = 0;
    char *path = xasprintf("%s/comparison.json", out_folder);
    TRY(file_read(&text, &size, path, JSON_BYTES_MAX));
    fwrite(text, 1, size, stdout);
out:
    free(text);
    free(path);
    return err;
}

/* The pictures to test on, and those to calibrate on with their name for the report. */
static err_t load_pictures(data_set_t *set, data_set_t *calibration, char **name,
                           const plan_t *plan, const node_args_t *args, const nn_model_meta_t *meta)
{
    err_t err = ERR_OK;
    const char *path = args->positional[0];
    if (!plan->int8) {
        TRY(node_load_whole(set, args->data, meta, path));
    } else if (args->calibrate_on) {
        TRY(node_load_whole(set, args->data, meta, path));
        err =
            node_load_drawn(calibration, args->calibrate_on, meta, path, plan->samples, plan->seed);
        if (err)
            TRY(err_prefix(err, "--calibration-data"));
        *name = xasprintf("%s%s", args->calibrate_on,
                          data_source_overlap(args->calibrate_on, args->data)
                              ? " (the test has some of these)"
                              : "");
    } else {
        TRY(node_load_apart(set, calibration, args->data, meta, path, plan->samples, plan->seed));
        *name = xasprintf("a tenth of %s, left out of the test", args->data);
    }
out:
    return err;
}

/* The pictures to train on. */
static err_t load_qat_pictures(data_set_t *set, char **name, const plan_t *plan,
                               const node_args_t *args, const nn_model_meta_t *meta)
{
    err_t err = ERR_OK;
    const char *path = args->positional[0], *spec = args->qat_data;
    if (!spec && !args->calibrate_on) {
        TRY(node_load_tenth(set, args->data, meta, path, plan->seed));
        *name = xasprintf("of a tenth of %s, left out of the test", args->data);
        goto out;
    }
    spec = spec ? spec : args->calibrate_on;
    err = node_load_whole(set, spec, meta, path);
    if (err)
        TRY(err_prefix(err, args->qat_data ? "--qat-data" : "--calibration-data"));
    *name = xasprintf("of %s", spec);
out:
    return err;
}

static void log_epoch(void *user, size_t epoch, double loss, double accuracy)
{
    (void)user;
    log_info("qat_epoch", "epoch=%zu loss=%.4f accuracy=%.4f", epoch, loss, accuracy);
}

/* Trains for integers as --qat-epochs asks, and says so in `options`, where `aware` is what came of
 * it and `name` on what. */
static err_t train_aware(quant_compare_options_t *options, quant_integer_t *aware, char **name,
                         const plan_t *plan, const node_args_t *args, const nn_model_t *model)
{
    err_t err = ERR_OK;
    data_set_t set = {0};
    quant_qat_options_t qat = quant_qat_defaults();
    quant_convert_options_t convert = plan->convert;
    const quant_calibration_t calibration = {.set = options->calibration,
                                             .count = options->calibration->count,
                                             .normalisation = &model->meta.normalisation,
                                             .threads = options->threads,
                                             .interrupted = options->interrupted};
    TRY(load_qat_pictures(&set, name, plan, args, &model->meta));
    convert.per_tensor = args->per_tensor;
    qat.epochs = args->qat_epochs;
    qat.lr = plan->qat_lr;
    qat.seed = plan->seed;
    qat.threads = options->threads;
    qat.interrupted = options->interrupted;
    qat.progress = log_epoch;
    err = quant_check_statistics(&model->state);
    if (err)
        TRY(err_prefix(err, "%s", args->positional[0]));
    TRY(quant_qat_quantize(aware, model, &calibration, &convert, &set, &qat));
    options->aware = aware;
    options->aware_name = *name;
    options->aware_samples = set.count;
    options->aware_epochs = qat.epochs;
    options->aware_per_tensor = convert.per_tensor;
out:
    data_set_free(&set);
    return err;
}

int cmd_quantize(const node_args_t *args)
{
    err_t err = ERR_OK;
    nn_model_t model = {0};
    data_set_t set = {0}, calibration = {0};
    quant_integer_t aware = {0};
    char *calibration_name = NULL, *aware_name = NULL;
    plan_t plan = {0};
    quant_comparison_t comparison = {0};
    const char *path = args->positional[0];
    node_interrupt_setup();
    TRY(make_plan(&plan, args));
    TRY(nn_model_load(&model, path));
    TRY(load_pictures(&set, &calibration, &calibration_name, &plan, args, &model.meta));
    TRY(file_make_folder(plan.out));
    quant_compare_options_t options = {
        .model_path = path,
        .out_folder = plan.out,
        .precisions = plan.precisions,
        .precision_count = plan.precision_count,
        .set = &set,
        .data_name = args->data,
        .calibration = calibration_name ? &calibration : NULL,
        .calibration_name = calibration_name,
        .convert = plan.convert,
        .per_tensor = args->per_tensor,
        .threads = node_threads(args->threads),
        .seconds = plan.seconds,
        .bytes_run = plan.bytes_run,
        .cost_per_mb = plan.cost_per_mb,
        .interrupted = &node_interrupted,
    };
    if (args->qat_epochs)
        TRY(train_aware(&options, &aware, &aware_name, &plan, args, &model));
    TRY(quant_compare(&comparison, &options));
    if (args->json) {
        TRY(print_json(plan.out));
    } else {
        quant_comparison_print(&comparison, stdout);
        printf("files: in %s\n", plan.out);
    }
out:
    quant_comparison_free(&comparison);
    data_set_free(&calibration);
    data_set_free(&set);
    nn_model_free(&model);
    quant_integer_free(&aware);
    free(calibration_name);
    free(aware_name);
    free(plan.out);
    return node_exit(err);
}
