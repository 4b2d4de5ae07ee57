/* A model as a folded file: docs/formats.md, "Folded models". */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/fold.h"
#include "quant/half.h"
#include "quant/precision.h"

/* What the writer refers to until commit: the converted tensors, each a block. */
typedef struct {
    void **blocks;
    size_t count;
} blocks_t;

static void *block_new(blocks_t *blocks, size_t size_bytes)
{
    void *block = xcalloc(1, size_bytes);
    blocks->blocks[blocks->count++] = block;
    return block;
}

static err_t add_half(safetensors_writer_t *writer, blocks_t *blocks, const nn_entry_t *e,
                      const float *values)
{
    err_t err = ERR_OK;
    uint16_t *half = block_new(blocks, e->count * sizeof *half);
    quant_half()->narrow(half, values, e->count);
    for (size_t i = 0; i < e->count; i++)
        if ((half[i] & 0x7fff) == 0x7c00)
            FAIL(ERR_FORMAT,
                 "tensor \"%s\" element %zu: value %.9g does not fit float16, whose largest is %g; "
                 "take int8",
                 e->name, i, (double)values[i], (double)QUANT_HALF_MAX);
    safetensors_writer_tensor(writer, e->name, ST_F16, e->shape, e->rank, half);
out:
    return err;
}

static void add_int8(safetensors_writer_t *writer, blocks_t *blocks, const nn_entry_t *e,
                     const float *values)
{
    char name[NN_NAME_MAX + 8];
    size_t outputs = e->shape[0], inputs = e->count / outputs;
    int8_t *q = block_new(blocks, e->count);
    float *scale = block_new(blocks, outputs * sizeof *scale);
    for (size_t o = 0; o < outputs; o++)
        scale[o] = quant_int8_row(q + o * inputs, values + o * inputs, inputs);
    safetensors_writer_tensor(writer, e->name, ST_I8, e->shape, e->rank, q);
    snprintf(name, sizeof name, "%s_scale", e->name);
    safetensors_writer_tensor(writer, name, ST_F32, e->shape, 1, scale);
}

static err_t add_tensors(safetensors_writer_t *writer, blocks_t *blocks, const nn_state_t *folded,
                         quant_precision_t precision)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < folded->net->entry_count; i++) {
        const nn_entry_t *e = &folded->net->entries[i];
        const float *values = folded->values + e->offset;
        if (precision == QUANT_FP16)
            TRY(add_half(writer, blocks, e, values));
        else if (precision == QUANT_INT8 && e->kind == NN_KIND_WEIGHT)
            add_int8(writer, blocks, e, values);
        else
            safetensors_writer_tensor(writer, e->name, ST_F32, e->shape, e->rank, values);
    }
out:
    return err;
}

err_t quant_save(const char *path, const nn_model_t *model, quant_precision_t precision)
{
    err_t err = ERR_OK;
    nn_net_t *net = NULL;
    nn_state_t folded = {0};
    nn_model_meta_t meta = model->meta; /* borrows the class names */
    blocks_t blocks = {0};
    safetensors_writer_t *writer = safetensors_writer_new();
    TRY(quant_fold_net(&net, model->net));
    TRY(nn_state_init(&folded, net));
    TRY(quant_fold_state(&folded, &model->state));
    snprintf(meta.precision, sizeof meta.precision, "%s", quant_precision_name(precision));
    TRY(nn_model_meta_put(writer, &meta));
    safetensors_writer_metadata(writer, QUANT_FOLDED_KEY, QUANT_FOLDED_VALUE);
    blocks.blocks = xcalloc(2 * net->entry_count, sizeof *blocks.blocks);
    TRY(add_tensors(writer, &blocks, &folded, precision));
    TRY(safetensors_writer_commit(&writer, path));
out:
    safetensors_writer_abandon(&writer);
    for (size_t i = 0; i < blocks.count; i++)
        free(blocks.blocks[i]);
    free(blocks.blocks);
    nn_state_free(&folded);
    nn_net_destroy(&net);
    return err;
}
