#include "quant/integer_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "quant/fold.h"
#include "quant/precision.h"
#include "quant/tensors.h"

enum { NAME_ROOM = NN_NAME_MAX + 8 };

static void scale_name(char out[NAME_ROOM], const nn_net_t *net, const nn_op_t *op)
{
    snprintf(out, NAME_ROOM, "%s_scale", net->entries[op->weight].name);
}

/* Every layer has one in integers, also where the list has none. */
static void bias_name(char out[NAME_ROOM], const nn_op_t *op)
{
    snprintf(out, NAME_ROOM, "%s.bias", op->name);
}

static void add_layer(safetensors_writer_t *writer, const quant_integer_t *model, size_t i)
{
    const nn_op_t *op = &model->net->ops[i];
    const nn_entry_t *e = &model->net->entries[op->weight];
    const quant_layer_t *layer = &model->layers[i];
    char name[NAME_ROOM];
    safetensors_writer_tensor(writer, e->name, ST_I8, e->shape, e->rank, layer->weight);
    scale_name(name, model->net, op);
    safetensors_writer_tensor(writer, name, ST_F32, e->shape, 1, layer->scale);
    bias_name(name, op);
    safetensors_writer_tensor(writer, name, ST_I32, e->shape, 1, layer->bias);
}

err_t quant_integer_save(const char *path, const quant_integer_t *model)
{
    err_t err = ERR_OK;
    const size_t count = model->net->tensor_count;
    safetensors_writer_t *writer = safetensors_writer_new();
    float *scales = xcalloc(count, sizeof *scales);
    uint8_t *zeros = xcalloc(count, sizeof *zeros);
    TRY(quant_integer_check(model));
    TRY(nn_model_meta_put(writer, &model->meta));
    safetensors_writer_metadata(writer, QUANT_FOLDED_KEY, QUANT_FOLDED_VALUE);
    safetensors_writer_metadata(writer, QUANT_LAYOUT_KEY, QUANT_LAYOUT_VALUE);
    for (size_t i = 0; i < model->net->op_count; i++)
        if (quant_op_has_weights(&model->net->ops[i]))
            add_layer(writer, model, i);
    for (size_t t = 0; t < count; t++) {
        scales[t] = model->tensors[t].scale;
        zeros[t] = (uint8_t)model->tensors[t].zero;
    }
    safetensors_writer_tensor(writer, QUANT_SCALES_NAME, ST_F32, &count, 1, scales);
    safetensors_writer_tensor(writer, QUANT_ZEROS_NAME, ST_U8, &count, 1, zeros);
    TRY(safetensors_writer_commit(&writer, path));
out:
    safetensors_writer_abandon(&writer);
    free(scales);
    free(zeros);
    return err;
}

/* A key that must have one value. */
static err_t expect_metadata(const safetensors_t *file, const char *key, const char *expected,
                             const char *missing)
{
    err_t err = ERR_OK;
    const char *value = safetensors_metadata(file, key), *path = safetensors_path(file);
    char shown[32];
    if (!value)
        FAIL(ERR_FORMAT, "%s: metadata \"%s\" is missing: %s", path, key, missing);
    text_printable(shown, sizeof shown, value, strlen(value));
    if (strcmp(value, expected))
        FAIL(ERR_FORMAT, "%s: metadata \"%s\" is \"%s\", expected \"%s\"", path, key, shown,
             expected);
out:
    return err;
}

/* Presence, dtype and shape of all there must be. */
static err_t check_tensors(const safetensors_t *file, const nn_net_t *net)
{
    err_t err = ERR_OK;
    const safetensors_tensor_t *t;
    char name[NAME_ROOM], shown[SAFETENSORS_NAME_MAX];
    size_t expected = 2;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (!quant_op_has_weights(op))
            continue;
        const nn_entry_t *e = &net->entries[op->weight];
        TRY(safetensors_expect(&t, file, e->name, ST_I8, e->shape, e->rank));
        scale_name(name, net, op);
        TRY(safetensors_expect(&t, file, name, ST_F32, e->shape, 1));
        bias_name(name, op);
        TRY(safetensors_expect(&t, file, name, ST_I32, e->shape, 1));
        expected += 3;
    }
    TRY(safetensors_expect(&t, file, QUANT_SCALES_NAME, ST_F32, &net->tensor_count, 1));
    TRY(safetensors_expect(&t, file, QUANT_ZEROS_NAME, ST_U8, &net->tensor_count, 1));
    if (safetensors_count(file) == expected)
        goto out;
    for (size_t i = 0; i < safetensors_count(file); i++) { /* which one is too much? */
        const char *found = safetensors_at(file, i)->name;
        bool belongs = !strcmp(found, QUANT_SCALES_NAME) || !strcmp(found, QUANT_ZEROS_NAME);
        for (size_t k = 0; k < net->op_count && !belongs; k++) {
            if (!quant_op_has_weights(&net->ops[k]))
                continue;
            belongs = !strcmp(found, net->entries[net->ops[k].weight].name);
            scale_name(name, net, &net->ops[k]);
            belongs |= !strcmp(found, name);
            bias_name(name, &net->ops[k]);
            belongs |= !strcmp(found, name);
        }
        text_printable(shown, sizeof shown, found, strlen(found));
        if (!belongs)
            FAIL(ERR_FORMAT, "%s: tensor \"%s\" does not belong to a folded %s in int8",
                 safetensors_path(file), shown, net->arch.name);
    }
out:
    return err;
}

static void copy_tensors(quant_integer_t *model, const safetensors_t *file)
{
    const nn_net_t *net = model->net;
    char name[NAME_ROOM];
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (!quant_op_has_weights(op))
            continue;
        const nn_entry_t *e = &net->entries[op->weight];
        quant_layer_t *layer = &model->layers[i];
        memcpy(layer->weight, safetensors_find(file, e->name)->data, e->count);
        scale_name(name, net, op);
        memcpy(layer->scale, safetensors_find(file, name)->data,
               e->shape[0] * sizeof *layer->scale);
        bias_name(name, op);
        memcpy(layer->bias, safetensors_find(file, name)->data, e->shape[0] * sizeof *layer->bias);
    }
    const float *scales = safetensors_find(file, QUANT_SCALES_NAME)->data;
    const uint8_t *zeros = safetensors_find(file, QUANT_ZEROS_NAME)->data;
    for (size_t t = 0; t < net->tensor_count; t++)
        model->tensors[t] = (quant_affine_t){.scale = scales[t], .zero = zeros[t]};
}

err_t quant_integer_read(quant_integer_t *model, const safetensors_t *file)
{
    err_t err = ERR_OK;
    nn_model_meta_t meta = {0};
    nn_net_t *net = NULL, *folded = NULL;
    const char *path = safetensors_path(file);
    *model = (quant_integer_t){0};
    TRY(nn_model_meta_get(&meta, file));
    TRY(expect_metadata(file, "precision", "int8", "this is no INT8 model"));
    TRY(expect_metadata(file, QUANT_FOLDED_KEY, QUANT_FOLDED_VALUE, "int8 models are folded"));
    TRY(expect_metadata(file, QUANT_LAYOUT_KEY, QUANT_LAYOUT_VALUE,
                        "this file has INT8 weights alone, as hearsay once made them; quantize "
                        "the FP32 model again"));
    err = nn_net_new(&net, &meta.arch);
    if (err) {
        err = err_prefix(ERR_FORMAT, "%s", path);
        goto out;
    }
    TRY(quant_fold_net(&folded, net));
    TRY(check_tensors(file, folded));
    quant_integer_new(model, folded, &meta);
    folded = NULL;
    copy_tensors(model, file);
    err = quant_integer_check(model);
    if (err)
        err_prefix(err, "%s", path);
out:
    nn_net_destroy(&folded);
    nn_net_destroy(&net);
    nn_model_meta_free(&meta);
    if (err)
        quant_integer_free(model);
    return err;
}

err_t quant_integer_load(quant_integer_t *model, const char *path)
{
    err_t err = ERR_OK;
    safetensors_t *file = NULL;
    *model = (quant_integer_t){0};
    TRY(safetensors_open(&file, path));
    TRY(quant_integer_read(model, file));
out:
    safetensors_close(&file);
    return err;
}
