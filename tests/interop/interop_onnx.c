/* The C side of interop_onnx.py; ARCH is ARCHITECTURE STRIDES INPUT SEED, STRIDES "-" for none.
 *   draw ARCH MODEL       a float model with BatchNorm statistics of its own
 *   half MODEL FILE       the same in fp16
 *   calibrate MODEL FILE  the same in int8, calibrated on noise
 *   integer ARCH MODEL    an integer one of random weights and scales; SEED even: scales are powers
 *                         of 2, so that many values to round are ties
 *   run MODEL COUNT FILE [SPEC]  COUNT pictures of noise, or of SPEC, and what MODEL makes of them,
 *                         as safetensors: "x", "logits"; of an integer model these are the
 *                         reference's, with every uint8 tensor (n,H,W,C) under its name in ONNX
 *   engine MODEL COUNT FILE [SPEC]  "x" and the integer engine's "logits"; prints its CPU level */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "nn/infer.h"
#include "nn/memory.h"
#include "nn/train.h"
#include "quant/calibrate.h"
#include "quant/engine.h"
#include "quant/fold.h"
#include "quant/onnx.h"
#include "quant/quant.h"
#include "quant/tensors.h"

enum { STATISTICS = 48, COUNT_MAX = 64 };

static err_t take_arch(nn_model_meta_t *meta, uint64_t *seed, char **words)
{
    err_t err = ERR_OK;
    uint64_t input = 0;
    *meta = (nn_model_meta_t){.arch = {.width = 1.0, .classes = 10},
                              .normalisation = data_normalisation_default(),
                              .federation = "interop",
                              .round = 3,
                              .precision = "fp32"};
    snprintf(meta->arch.name, sizeof meta->arch.name, "%s", words[0]);
    if (strcmp(words[1], "-"))
        snprintf(meta->arch.strides, sizeof meta->arch.strides, "%s", words[1]);
    if (!text_to_u64(&input, words[2]) || input > 1024 || !text_to_u64(seed, words[3]))
        FAIL(ERR_USAGE, "%s and %s: INPUT and SEED are whole numbers", words[2], words[3]);
    meta->arch.input = (size_t)input;
out:
    return err;
}

static float between(rng_t *rng, float low, float high)
{
    return low + (high - low) * rng_float(rng);
}

/* BatchNorms of many scales, a head whose logits are of ordinary size. */
static void draw_state(nn_state_t *state, uint64_t seed)
{
    rng_t rng;
    rng_init(&rng, seed, RNG_STREAM_TEST, 0, 0);
    nn_state_draw(state, seed);
    for (size_t i = 0; i < state->net->entry_count; i++) {
        const nn_entry_t *e = &state->net->entries[i];
        float *values = state->values + e->offset;
        for (size_t k = 0; k < e->count && e->kind != NN_KIND_COUNTER; k++) {
            if (e->kind == NN_KIND_BN_WEIGHT)
                values[k] = between(&rng, 0.5f, 1.5f);
            else if (e->kind == NN_KIND_BN_BIAS)
                values[k] = between(&rng, -0.5f, 0.5f);
            else if (e->kind == NN_KIND_WEIGHT && e->rank == 2)
                values[k] *= 3.0f;
        }
    }
}

/* Pictures of noise. The caller frees. */
static data_set_t noise(size_t count, const nn_arch_t *arch, uint64_t seed)
{
    rng_t rng;
    const size_t bytes = arch->input * arch->input * 3;
    data_set_t set = {
        .count = count, .height = arch->input, .width = arch->input, .class_count = arch->classes};
    rng_init(&rng, seed, RNG_STREAM_TEST, 1, 0);
    set.pixels = xcalloc(count, bytes);
    set.labels = xcalloc(count, sizeof *set.labels);
    for (size_t i = 0; i < count * bytes; i++)
        set.pixels[i] = (uint8_t)rng_below(&rng, 256);
    return set;
}

/* Running statistics as training leaves them. */
static err_t estimate(nn_state_t *state, const nn_arch_t *arch, uint64_t seed)
{
    err_t err = ERR_OK;
    const data_normalisation_t normalisation = data_normalisation_default();
    data_set_t set = noise(STATISTICS, arch, seed);
    double *mean = nn_calloc(nn_statistics_count(state->net), sizeof *mean);
    double *var = nn_calloc(nn_statistics_count(state->net), sizeof *var);
    uint64_t *count = nn_calloc(nn_batch_norm_count(state->net), sizeof *count);
    TRY(nn_statistics_estimate(mean, var, count, state, &set, NULL, &normalisation, NULL, NULL, 16,
                               1, NULL));
    nn_statistics_apply(state, mean, var, count);
out:
    data_set_free(&set);
    nn_free(count);
    nn_free(var);
    nn_free(mean);
    return err;
}

static err_t draw(char **words)
{
    err_t err = ERR_OK;
    nn_model_t model = {0};
    uint64_t seed = 0;
    TRY(take_arch(&model.meta, &seed, words));
    TRY(nn_net_new(&model.net, &model.meta.arch));
    TRY(nn_state_init(&model.state, model.net));
    model.meta.arch = model.net->arch;
    draw_state(&model.state, seed);
    TRY(estimate(&model.state, &model.meta.arch, seed));
    TRY(nn_model_save(words[4], &model.state, &model.meta));
out:
    nn_model_free(&model);
    return err;
}

static err_t half(char **words)
{
    err_t err = ERR_OK;
    nn_model_t model = {0};
    TRY(nn_model_load(&model, words[0]));
    TRY(quant_save(words[1], &model, QUANT_FP16));
out:
    nn_model_free(&model);
    return err;
}

static err_t calibrate(char **words)
{
    err_t err = ERR_OK;
    nn_model_t model = {0};
    nn_net_t *net = NULL;
    nn_state_t folded = {0};
    data_set_t set = {0};
    quant_integer_t integers = {0};
    const data_normalisation_t normalisation = data_normalisation_default();
    const quant_convert_options_t options = quant_convert_defaults();
    TRY(nn_model_load(&model, words[0]));
    TRY(quant_fold_net(&net, model.net));
    TRY(nn_state_init(&folded, net));
    TRY(quant_fold_state(&folded, &model.state));
    set = noise(STATISTICS, &model.meta.arch, 2);
    const quant_calibration_t calibration = {.folded = &folded,
                                             .set = &set,
                                             .count = STATISTICS,
                                             .normalisation = &normalisation,
                                             .threads = 1};
    TRY(quant_calibrate(&integers, &model.meta, &calibration, &options));
    TRY(quant_integer_save(words[1], &integers));
out:
    quant_integer_free(&integers);
    data_set_free(&set);
    nn_state_free(&folded);
    nn_net_destroy(&net);
    nn_model_free(&model);
    return err;
}

static float power_of_two(float x)
{
    return exp2f(roundf(log2f(x)));
}

/* Scales and zero points: those that a relu shares begin at 0 and end at 6 at most. */
static void draw_tensors(quant_integer_t *model, rng_t *rng, bool ties)
{
    const nn_net_t *net = model->net;
    for (size_t t = 0; t < net->tensor_count; t++) {
        quant_affine_t *a = &model->tensors[t];
        int root = quant_tensor_root(net, (int)t), writer = quant_tensor_writer(net, (int)t);
        bool relu = false;
        if (root != (int)t) {
            *a = model->tensors[root];
            continue;
        }
        for (size_t i = 0; i < net->op_count; i++)
            relu |= (net->ops[i].kind == NN_OP_RELU || net->ops[i].kind == NN_OP_RELU6) &&
                    quant_tensor_root(net, net->ops[i].out) == root;
        a->scale = between(rng, 2.0f, 6.0f) / 255.0f;
        a->zero = relu ? 0 : 90 + (int32_t)rng_below(rng, 80);
        if (writer != NN_NONE && net->ops[writer].kind == NN_OP_ADD)
            a->scale *= 1.7f;
        if (writer != NN_NONE && net->ops[writer].kind == NN_OP_GLOBAL_AVG_POOL)
            *a = (quant_affine_t){0.5f * model->tensors[net->ops[writer].in[0]].scale, 0};
        if (ties)
            a->scale = power_of_two(a->scale * 0.7f);
    }
    model->tensors[net->ops[net->op_count - 1].out] = (quant_affine_t){0};
}

/* Weights over the whole of int8 with scales that make sums of `spread` standard deviation fill the
 * output's range. */
static void draw_layer(quant_integer_t *model, size_t i, rng_t *rng, bool ties)
{
    const nn_op_t *op = &model->net->ops[i];
    const nn_entry_t *e = &model->net->entries[op->weight];
    const quant_layer_t *layer = &model->layers[i];
    const size_t inputs = e->count / e->shape[0];
    const float in = model->tensors[op->in[0]].scale, out = model->tensors[op->out].scale;
    const float spread = 73.0f * 60.0f * sqrtf((float)inputs);
    for (size_t k = 0; k < e->count; k++)
        layer->weight[k] = (int8_t)((int)rng_below(rng, 255) - 127);
    for (size_t o = 0; o < e->shape[0]; o++) {
        const float reach = between(rng, 40.0f, 120.0f), offset = between(rng, -0.5f, 0.5f);
        layer->scale[o] = (out > 0 ? out : 0.02f) * reach / (spread * in);
        if (ties)
            layer->scale[o] = power_of_two(layer->scale[o]);
        layer->bias[o] = (int32_t)lrintf(offset * spread);
    }
}

static err_t integer(char **words)
{
    err_t err = ERR_OK;
    quant_integer_t model = {0};
    nn_model_meta_t meta;
    nn_net_t *net = NULL, *folded = NULL;
    rng_t rng;
    uint64_t seed = 0;
    TRY(take_arch(&meta, &seed, words));
    TRY(nn_net_new(&net, &meta.arch));
    meta.arch = net->arch;
    TRY(quant_fold_net(&folded, net));
    quant_integer_new(&model, folded, &meta);
    rng_init(&rng, seed, RNG_STREAM_TEST, 0, 0);
    draw_tensors(&model, &rng, seed % 2 == 0);
    for (size_t i = 0; i < folded->op_count; i++)
        if (quant_op_has_weights(&folded->ops[i]))
            draw_layer(&model, i, &rng, seed % 2 == 0);
    TRY(quant_integer_save(words[4], &model));
out:
    quant_integer_free(&model);
    nn_net_destroy(&net);
    return err;
}

/* What goes into FILE: blocks that live until it is written. */
typedef struct {
    safetensors_writer_t *writer;
    void **blocks;
    size_t count;
} sample_t;

static void *add_block(sample_t *sample, const char *name, safetensors_dtype_t dtype, size_t n,
                       const nn_shape_t *shape)
{
    const size_t dims[] = {n, shape->height, shape->width, shape->channels};
    const size_t elements = dims[0] * dims[1] * dims[2] * dims[3];
    sample->blocks = xrealloc(sample->blocks, sample->count + 1, sizeof *sample->blocks);
    void *block = nn_calloc(elements, dtype == ST_F32 ? sizeof(float) : 1);
    sample->blocks[sample->count++] = block;
    safetensors_writer_tensor(sample->writer, name, dtype, dims, 4, block);
    return block;
}

/* COUNT pictures that lie evenly in SPEC, normalised. */
static err_t load_pictures(float *x, size_t n, const nn_model_meta_t *meta, const char *spec)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    data_set_t set = {0};
    size_t skipped = 0;
    uint32_t order[COUNT_MAX], indices[COUNT_MAX];
    int32_t labels[COUNT_MAX];
    TRY(data_source_open(&source, spec, NULL, 0));
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
        indices[i] = (uint32_t)(i * data_source_count(source) / n);
    }
    TRY(data_source_load(&set, &skipped, source, indices, n, meta->arch.input, DATA_BAD_STOP,
                         NULL));
    data_batch(x, labels, &set, order, n, &meta->normalisation, NULL, NULL);
out:
    data_set_free(&set);
    data_source_close(&source);
    return err;
}

/* "x": out x points to it. `spec` may be NULL: noise. */
static err_t add_pictures(const float **x, sample_t *sample, size_t n, const nn_model_meta_t *meta,
                          const char *spec)
{
    rng_t rng;
    const size_t side = meta->arch.input;
    const nn_shape_t shape = {side, side, 3};
    float *block = add_block(sample, "x", ST_F32, n, &shape);
    *x = block;
    if (spec)
        return load_pictures(block, n, meta, spec);
    rng_init(&rng, 1, RNG_STREAM_TEST, 2, 0);
    for (size_t i = 0; i < n * side * side * 3; i++)
        block[i] = between(&rng, -1.0f, 1.0f);
    return ERR_OK;
}

static err_t run_float(sample_t *sample, const char *path, size_t n, const char *spec)
{
    err_t err = ERR_OK;
    const float *x;
    quant_runner_t *runner = NULL;
    TRY(quant_open(&runner, path, n, 1));
    const nn_shape_t classes = {1, 1, quant_meta(runner)->arch.classes};
    TRY(add_pictures(&x, sample, n, quant_meta(runner), spec));
    quant_run(runner, add_block(sample, "logits", ST_F32, n, &classes), x, n);
out:
    quant_close(&runner);
    return err;
}

/* The reference: logits, and each tensor that is one of its own in ONNX. */
static void run_reference(sample_t *sample, const quant_integer_t *model, const float *x, size_t n)
{
    const nn_net_t *net = model->net;
    const size_t pixels = net->arch.input * net->arch.input * 3, classes = net->arch.classes;
    const nn_shape_t last = {1, 1, classes};
    float *logits = add_block(sample, "logits", ST_F32, n, &last);
    uint8_t **q = nn_calloc(net->tensor_count, sizeof *q),
            **at = nn_calloc(net->tensor_count, sizeof *at);
    char name[QUANT_ONNX_NAME_MAX];
    for (size_t t = 0; t < net->tensor_count; t++) {
        int writer = quant_tensor_writer(net, (int)t);
        const nn_op_kind_t kind = writer == NN_NONE ? NN_OP_CONV2D : net->ops[writer].kind;
        if (kind == NN_OP_RELU || kind == NN_OP_RELU6 || kind == NN_OP_DROPOUT ||
            writer == (int)net->op_count - 1)
            continue;
        quant_onnx_name(name, net, (int)t);
        q[t] = add_block(sample, name, ST_U8, n, &net->tensors[t]);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t t = 0; t < net->tensor_count; t++) {
            const nn_shape_t *s = &net->tensors[t];
            at[t] = q[t] ? q[t] + i * s->height * s->width * s->channels : NULL;
        }
        quant_integer_reference(logits + i * classes, at, model, x + i * pixels);
    }
    nn_free(at);
    nn_free(q);
}

static err_t run_engine(sample_t *sample, const quant_integer_t *model, const float *x, size_t n)
{
    err_t err = ERR_OK;
    quant_engine_t *engine = NULL;
    const nn_shape_t classes = {1, 1, model->net->arch.classes};
    TRY(quant_engine_new(&engine, model, n, 1));
    quant_engine_run(engine, add_block(sample, "logits", ST_F32, n, &classes), x, n);
    puts(quant_engine_level(engine));
out:
    quant_engine_destroy(&engine);
    return err;
}

static err_t run_integer(sample_t *sample, const char *path, size_t n, const char *spec,
                         bool engine)
{
    err_t err = ERR_OK;
    const float *x;
    quant_integer_t model = {0};
    TRY(quant_integer_load(&model, path));
    TRY(add_pictures(&x, sample, n, &model.meta, spec));
    if (engine)
        TRY(run_engine(sample, &model, x, n));
    else
        run_reference(sample, &model, x, n);
out:
    quant_integer_free(&model);
    return err;
}

static err_t run(char **words, bool engine)
{
    err_t err = ERR_OK;
    uint64_t n = 0;
    nn_model_meta_t meta = {0};
    safetensors_t *file = NULL;
    sample_t sample = {.writer = safetensors_writer_new()};
    if (!text_to_u64(&n, words[1]) || n < 1 || n > COUNT_MAX)
        FAIL(ERR_USAGE, "%s: COUNT is 1 to %d", words[1], COUNT_MAX);
    TRY(safetensors_open(&file, words[0]));
    TRY(nn_model_meta_get(&meta, file));
    if (engine || !strcmp(meta.precision, "int8"))
        TRY(run_integer(&sample, words[0], (size_t)n, words[3], engine));
    else
        TRY(run_float(&sample, words[0], (size_t)n, words[3]));
    TRY(safetensors_writer_commit(&sample.writer, words[2]));
out:
    safetensors_writer_abandon(&sample.writer);
    for (size_t i = 0; i < sample.count; i++)
        nn_free(sample.blocks[i]);
    free(sample.blocks);
    safetensors_close(&file);
    nn_model_meta_free(&meta);
    return err;
}

int main(int argc, char **argv)
{
    err_t err =
        err_set(ERR_USAGE, "usage: interop_onnx draw|half|calibrate|integer|run|engine ...");
    nn_blas_setup(argv);
    if (argc == 7 && !strcmp(argv[1], "draw"))
        err = draw(argv + 2);
    else if (argc == 4 && !strcmp(argv[1], "half"))
        err = half(argv + 2);
    else if (argc == 4 && !strcmp(argv[1], "calibrate"))
        err = calibrate(argv + 2);
    else if (argc == 7 && !strcmp(argv[1], "integer"))
        err = integer(argv + 2);
    else if ((argc == 5 || argc == 6) && (!strcmp(argv[1], "run") || !strcmp(argv[1], "engine")))
        err = run(argv + 2, !strcmp(argv[1], "engine"));
    if (err)
        fprintf(stderr, "%s\n", err_message());
    return err ? 1 : 0;
}
