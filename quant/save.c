/* A model as a folded file of floats: docs/formats.md. */
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

static err_t add_tensors(safetensors_writer_t *writer, blocks_t *blocks, const nn_state_t *folded,
                         quant_precision_t precision)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < folded->net->entry_count; i++) {
        const nn_entry_t *e = &folded->net->entries[i];
        const float *values = folded->values + e->offset;
        if (precision == QUANT_FP16)
            TRY(add_half(writer, blocks, e, values));
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
    CHECK(precision != QUANT_INT8); /* quant_quantize and quant_integer_save */
    TRY(quant_fold_net(&net, model->net));
    TRY(nn_state_init(&folded, net));
    TRY(quant_fold_state(&folded, &model->state));
    snprintf(meta.precision, sizeof meta.precision, "%s", quant_precision_name(precision));
    TRY(nn_model_meta_put(writer, &meta));
    safetensors_writer_metadata(writer, QUANT_FOLDED_KEY, QUANT_FOLDED_VALUE);
    blocks.blocks = xcalloc(net->entry_count, sizeof *blocks.blocks);
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
