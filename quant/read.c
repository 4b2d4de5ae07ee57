#include "quant/read.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "nn/model_file.h"
#include "quant/half.h"
#include "quant/precision.h"

static void scale_name(char out[NN_NAME_MAX + 8], const nn_entry_t *e)
{
    snprintf(out, NN_NAME_MAX + 8, "%s_scale", e->name);
}

/* Presence, dtype and shape of what an entry is made from. */
static err_t check_entry(const safetensors_t *file, const nn_entry_t *e,
                         quant_precision_t precision)
{
    err_t err = ERR_OK;
    const safetensors_tensor_t *t;
    char name[NN_NAME_MAX + 8];
    if (precision == QUANT_INT8 && e->kind == NN_KIND_WEIGHT) {
        scale_name(name, e);
        TRY(safetensors_expect(&t, file, e->name, ST_I8, e->shape, e->rank));
        TRY(safetensors_expect(&t, file, name, ST_F32, e->shape, 1));
    } else {
        TRY(safetensors_expect(&t, file, e->name, precision == QUANT_FP16 ? ST_F16 : ST_F32,
                               e->shape, e->rank));
    }
out:
    return err;
}

/* An int8 weight and its scales, widened to float32. */
static err_t read_int8(float *values, const safetensors_t *file, const nn_entry_t *e)
{
    err_t err = ERR_OK;
    const char *path = safetensors_path(file);
    char name[NN_NAME_MAX + 8];
    scale_name(name, e);
    const int8_t *q = safetensors_find(file, e->name)->data;
    const float *scale = safetensors_find(file, name)->data;
    size_t outputs = e->shape[0], inputs = e->count / outputs;
    TRY(nn_model_check_values(path, name, e->kind, scale, outputs));
    for (size_t o = 0; o < outputs; o++)
        if (!(scale[o] > 0))
            FAIL(ERR_FORMAT, "%s: tensor \"%s\" element %zu is %g: a scale is above 0", path, name,
                 o, (double)scale[o]);
    for (size_t i = 0; i < e->count; i++) {
        if (q[i] < -QUANT_INT8_MAX)
            FAIL(ERR_FORMAT, "%s: tensor \"%s\" element %zu is %d: weights are -%d to %d", path,
                 e->name, i, q[i], QUANT_INT8_MAX, QUANT_INT8_MAX);
        values[i] = (float)q[i] * scale[i / inputs];
    }
    TRY(nn_model_check_values(path, e->name, e->kind, values, e->count));
out:
    return err;
}

static err_t read_entry(float *values, const safetensors_t *file, const nn_entry_t *e,
                        quant_precision_t precision)
{
    err_t err = ERR_OK;
    if (precision == QUANT_INT8 && e->kind == NN_KIND_WEIGHT)
        return read_int8(values, file, e);
    const safetensors_tensor_t *t = safetensors_find(file, e->name);
    if (precision == QUANT_FP16)
        quant_half()->widen(values, t->data, e->count);
    else
        memcpy(values, t->data, t->size_bytes);
    TRY(nn_model_check_values(safetensors_path(file), e->name, e->kind, values, e->count));
out:
    return err;
}

/* True when a file in `precision` has a tensor of that name. */
static bool belongs(const nn_net_t *net, quant_precision_t precision, const char *name)
{
    static const char suffix[] = "_scale";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    if (nn_net_find(net, name) != NN_NONE)
        return true;
    if (precision != QUANT_INT8 || length <= tail || length - tail >= NN_NAME_MAX ||
        strcmp(name + length - tail, suffix))
        return false;
    char weight[NN_NAME_MAX];
    snprintf(weight, sizeof weight, "%.*s", (int)(length - tail), name);
    int entry = nn_net_find(net, weight);
    return entry != NN_NONE && net->entries[entry].kind == NN_KIND_WEIGHT;
}

err_t quant_read(nn_state_t *state, const nn_net_t *net, const safetensors_t *file,
                 quant_precision_t precision)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < net->entry_count; i++)
        TRY(check_entry(file, &net->entries[i], precision));
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const char *name = safetensors_at(file, i)->name;
        char shown[SAFETENSORS_NAME_MAX];
        text_printable(shown, sizeof shown, name, strlen(name));
        if (!belongs(net, precision, name))
            FAIL(ERR_FORMAT, "%s: tensor \"%s\" does not belong to a folded %s in %s",
                 safetensors_path(file), shown, net->arch.name, quant_precision_name(precision));
    }
    TRY(nn_state_init(state, net));
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        TRY(read_entry(state->values + e->offset, file, e, precision));
    }
out:
    return err;
}
