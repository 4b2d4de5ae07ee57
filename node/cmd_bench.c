/* hearsay bench train|infer: how fast training and inference are on this machine. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "nn/bench.h"
#include "nn/model_file.h"
#include "node/bench_report.h"
#include "node/commands.h"
#include "node/whole.h"
#include "quant/draw.h"
#include "quant/engine.h"
#include "quant/read.h"

enum { BATCH = 32, CLASSES = 10 };

err_t node_bench_number(double *value, const char *option, const char *text)
{
    if (text && (!text_to_double(value, text) || !(*value > 0.0)))
        return err_set(ERR_USAGE, "--%s: \"%s\" is not a number above 0", option, text);
    return ERR_OK;
}

err_t node_bench_arch(nn_arch_t *arch, const node_args_t *args)
{
    err_t err = ERR_OK;
    const char *model = args->model ? args->model : "mobilenet_v2";
    const char *strides = args->strides ? args->strides : "";
    const bool cnn = !strcmp(model, "cnn");
    uint64_t classes = CLASSES;
    *arch = (nn_arch_t){.width = 1.0, .dropout = cnn ? 0.0 : 0.2};
    if ((size_t)snprintf(arch->name, sizeof arch->name, "%s", model) >= sizeof arch->name)
        FAIL(ERR_USAGE, "--model: a name as long as that has none");
    if ((size_t)snprintf(arch->strides, sizeof arch->strides, "%s", strides) >=
        sizeof arch->strides)
        FAIL(ERR_USAGE, "--strides: imagenet and small are possible");
    TRY(node_bench_number(&arch->width, "width", args->width));
    if (args->classes && !text_to_u64(&classes, args->classes))
        FAIL(ERR_USAGE, "--classes: \"%s\" is not a whole number", args->classes);
    arch->input = args->input ? args->input : cnn ? 64 : 32;
    arch->classes = classes;
out:
    return err;
}

static err_t take_options(nn_bench_options_t *options, const node_args_t *args, bool train)
{
    err_t err = ERR_OK;
    const char *optimizer = args->optimizer ? args->optimizer : "sgd";
    *options = (nn_bench_options_t){.train = train,
                                    .batch = args->batch ? args->batch : BATCH,
                                    .threads = node_threads(args->threads),
                                    .seconds = NODE_BENCH_SECONDS,
                                    .repeats = args->repeats,
                                    .layers = args->layers,
                                    .seed = args->seed ? args->seed : 1};
    if (args->repeats && args->seconds)
        FAIL(ERR_USAGE, "--seconds or --repeats: one of the two says when to end");
    TRY(node_bench_number(&options->seconds, "seconds", args->seconds));
    if (!strcmp(optimizer, "adam")) {
        options->optimizer = nn_optimizer_default(NN_ADAM, 1e-4f);
    } else if (!strcmp(optimizer, "sgd")) {
        options->optimizer = nn_optimizer_default(NN_SGD, 1e-3f);
        options->optimizer.momentum = 0.9f;
    } else {
        FAIL(ERR_USAGE, "--optimizer: \"%s\": sgd and adam are possible", optimizer);
    }
out:
    return err;
}

/* A network of random weights. */
static err_t draw_model(quant_model_t *subject, const node_args_t *args, uint64_t seed)
{
    err_t err = ERR_OK;
    nn_model_t *model = &subject->floats;
    nn_arch_t arch;
    rng_t rng;
    TRY(node_bench_arch(&arch, args));
    if (args->precision && strcmp(args->precision, "fp32") && strcmp(args->precision, "int8"))
        FAIL(ERR_USAGE, "--precision: \"%s\": fp32 and int8 are possible", args->precision);
    subject->is_integer = args->precision && !strcmp(args->precision, "int8");
    if (subject->is_integer) {
        rng_init(&rng, seed, RNG_STREAM_INIT, 0, 0);
        return quant_draw(&subject->integer, &arch, &rng);
    }
    model->meta.arch = arch;
    snprintf(model->meta.precision, sizeof model->meta.precision, "fp32");
    TRY(nn_net_new(&model->net, &arch));
    TRY(nn_state_init(&model->state, model->net));
    nn_state_draw(&model->state, seed);
out:
    return err;
}

/* A model file, or a network of random weights. */
static err_t make_subject(quant_model_t *subject, const node_args_t *args,
                          const nn_bench_options_t *options)
{
    err_t err = ERR_OK;
    if (args->positional_count > 0) {
        if (args->model || args->width || args->strides || args->input || args->classes ||
            args->precision)
            FAIL(ERR_USAGE,
                 "%s says what the network is: leave out --model, --width, --strides, "
                 "--input, --classes and --precision",
                 args->positional[0]);
        TRY(quant_model_load(subject, args->positional[0]));
    } else {
        TRY(draw_model(subject, args, options->seed));
    }
    if (subject->is_integer && options->layers)
        FAIL(ERR_USAGE, "--layers: int8 models are timed as a whole");
out:
    return err;
}

static void run_engine(void *engine, float *logits, const float *x, size_t n)
{
    quant_engine_run(engine, logits, x, n);
}

static err_t bench_integer(nn_bench_t *bench, const quant_integer_t *model,
                           const nn_bench_options_t *options)
{
    err_t err = ERR_OK;
    quant_engine_t *engine = NULL;
    TRY(quant_engine_new(&engine, model, options->batch, options->threads));
    TRY(nn_bench_infer(bench, model->net, run_engine, engine, options));
out:
    quant_engine_destroy(&engine);
    return err;
}

/* The pictures of the bench and what the network makes of them. */
static err_t write_sample(const char *path, const nn_arch_t *arch, const nn_bench_t *bench,
                          size_t batch)
{
    safetensors_writer_t *writer = safetensors_writer_new();
    const size_t x[] = {batch, arch->input, arch->input, 3}, logits[] = {batch, arch->classes};
    safetensors_writer_tensor(writer, "x", ST_F32, x, 4, bench->x);
    safetensors_writer_tensor(writer, "logits", ST_F32, logits, 2, bench->logits);
    return safetensors_writer_commit(&writer, path);
}

static int run(const node_args_t *args, bool train)
{
    err_t err = ERR_OK;
    nn_bench_options_t options;
    quant_model_t subject = {0};
    nn_bench_t bench = {0};
    nn_ceilings_t ceilings = {0};
    TRY(take_options(&options, args, train));
    TRY(make_subject(&subject, args, &options));
    if (subject.is_integer)
        TRY(bench_integer(&bench, &subject.integer, &options));
    else
        TRY(nn_bench_run(&bench, &subject.floats.state, &options));
    const nn_net_t *net = quant_model_net(&subject);
    node_bench_report_t report = {.arch = &net->arch,
                                  .precision = quant_model_meta(&subject)->precision,
                                  .options = &options,
                                  .bench = &bench,
                                  .ceilings = options.layers ? &ceilings : NULL,
                                  .peak_memory = memory_peak()};
    if (options.layers) /* after the steps: it takes memory of its own */
        TRY(nn_ceilings_measure(&ceilings, options.threads));
    if (args->out)
        TRY(write_sample(args->out, &net->arch, &bench, options.batch));
    if (args->json)
        node_bench_print_json(&report);
    else
        node_bench_print(&report);
out:
    nn_bench_free(&bench);
    quant_model_free(&subject);
    return node_exit(err);
}

int cmd_bench_train(const node_args_t *args)
{
    return run(args, true);
}

int cmd_bench_infer(const node_args_t *args)
{
    return run(args, false);
}
