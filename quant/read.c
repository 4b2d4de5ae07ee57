#include "quant/read.h"

#include <string.h>

#include "base/text.h"
#include "nn/model_file.h"
#include "quant/half.h"
#include "quant/precision.h"

static err_t read_entry(float *values, const safetensors_t *file, const nn_entry_t *e,
                        quant_precision_t precision)
{
    err_t err = ERR_OK;
    const safetensors_tensor_t *t = safetensors_find(file, e->name);
    if (precision == QUANT_FP16)
        quant_half()->widen(values, t->data, e->count);
    else
        memcpy(values, t->data, t->size_bytes);
    TRY(nn_model_check_values(safetensors_path(file), e->name, e->kind, values, e->count));
out:
    return err;
}

err_t quant_read(nn_state_t *state, const nn_net_t *net, const safetensors_t *file,
                 quant_precision_t precision)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        const safetensors_tensor_t *t;
        TRY(safetensors_expect(&t, file, e->name, precision == QUANT_FP16 ? ST_F16 : ST_F32,
                               e->shape, e->rank));
    }
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const char *name = safetensors_at(file, i)->name;
        char shown[SAFETENSORS_NAME_MAX];
        text_printable(shown, sizeof shown, name, strlen(name));
        if (nn_net_find(net, name) == NN_NONE)
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
