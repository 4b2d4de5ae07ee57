/* A model file of any precision: floats are widened to float32 when it is opened and run by
 * nn_infer, integers are run by the integer engine. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "nn/infer.h"
#include "quant/engine.h"
#include "quant/fold.h"
#include "quant/integer_file.h"
#include "quant/precision.h"
#include "quant/read.h"
#include "quant/unfold.h"

struct quant_runner_s {
    nn_model_t model; /* floats, on the net of their architecture */
    nn_infer_t *infer;
    quant_integer_t integer; /* or integers */
    quant_engine_t *engine;
    size_t batch; /* most pictures a call */
};

/* Precision and whether the file is folded, from its metadata. */
static err_t read_kind(bool *folded, quant_precision_t *precision, const nn_model_meta_t *meta,
                       const safetensors_t *file)
{
    err_t err = ERR_OK;
    const char *path = safetensors_path(file);
    const char *value = safetensors_metadata(file, QUANT_FOLDED_KEY);
    char shown[32];
    if (quant_precision_parse(precision, meta->precision))
        return err_prefix(ERR_FORMAT, "%s", path);
    if (!value && *precision != QUANT_FP32)
        FAIL(ERR_FORMAT, "%s: metadata \"" QUANT_FOLDED_KEY "\" is missing: %s models are folded",
             path, meta->precision);
    if (value && strcmp(value, QUANT_FOLDED_VALUE)) {
        text_printable(shown, sizeof shown, value, strlen(value));
        FAIL(ERR_FORMAT, "%s: metadata \"" QUANT_FOLDED_KEY "\" is \"%s\", expected \"%s\"", path,
             shown, QUANT_FOLDED_VALUE);
    }
    if (*precision == QUANT_INT8)
        FAIL(ERR_FORMAT,
             "%s: precision is \"int8\": the floats are in the model that it was made from", path);
    *folded = value != NULL;
out:
    return err;
}

static err_t load_folded(nn_model_t *model, const safetensors_t *file, quant_precision_t precision)
{
    err_t err = ERR_OK;
    nn_net_t *net = NULL;
    err = nn_net_new(&net, &model->meta.arch);
    if (err)
        return err_prefix(ERR_FORMAT, "%s", safetensors_path(file));
    TRY(quant_fold_net(&model->net, net));
    TRY(quant_read(&model->state, model->net, file, precision));
out:
    nn_net_destroy(&net);
    return err;
}

err_t quant_load(nn_model_t *model, const char *path)
{
    err_t err = ERR_OK;
    safetensors_t *file = NULL;
    bool folded = false;
    quant_precision_t precision = QUANT_FP32;
    *model = (nn_model_t){0};
    TRY(safetensors_open(&file, path));
    TRY(nn_model_meta_get(&model->meta, file));
    TRY(read_kind(&folded, &precision, &model->meta, file));
    if (folded) {
        TRY(load_folded(model, file, precision));
    } else {
        nn_model_meta_free(&model->meta);
        TRY(nn_model_load(model, path));
    }
out:
    safetensors_close(&file);
    if (err)
        nn_model_free(model);
    return err;
}

/* INT8 files by their metadata; whatever is wrong with it is found by who reads it. */
static err_t is_integer(bool *integer, const char *path)
{
    err_t err = ERR_OK;
    safetensors_t *file = NULL;
    TRY(safetensors_open(&file, path));
    const char *precision = safetensors_metadata(file, "precision");
    *integer = precision && !strcmp(precision, quant_precision_name(QUANT_INT8));
out:
    safetensors_close(&file);
    return err;
}

err_t quant_open(quant_runner_t **runner, const char *path, size_t batch, int threads)
{
    err_t err = ERR_OK;
    bool integer = false;
    quant_runner_t *r = xcalloc(1, sizeof *r);
    *runner = NULL;
    r->batch = batch;
    TRY(is_integer(&integer, path));
    if (integer) {
        TRY(quant_integer_load(&r->integer, path));
        TRY(quant_engine_new(&r->engine, &r->integer, batch, threads));
    } else {
        TRY(quant_load(&r->model, path));
        TRY(quant_unfold(&r->model));
        TRY(nn_infer_new(&r->infer, r->model.net, batch, threads));
        nn_infer_pack(r->infer, &r->model.state);
    }
    *runner = r;
    r = NULL;
out:
    quant_close(&r);
    return err;
}

void quant_close(quant_runner_t **runner)
{
    quant_runner_t *r = *runner;
    if (!r)
        return;
    if (r->infer)
        nn_infer_destroy(&r->infer);
    if (r->engine)
        quant_engine_destroy(&r->engine);
    nn_model_free(&r->model);
    quant_integer_free(&r->integer);
    free(r);
    *runner = NULL;
}

size_t quant_batch(const quant_runner_t *runner)
{
    return runner->batch;
}

const nn_model_meta_t *quant_meta(const quant_runner_t *runner)
{
    return runner->engine ? &runner->integer.meta : &runner->model.meta;
}

void quant_run(quant_runner_t *runner, float *logits, const float *x, size_t n)
{
    if (runner->engine)
        quant_engine_run(runner->engine, logits, x, n);
    else
        nn_infer_run_packed(runner->infer, logits, &runner->model.state, x, n);
}
