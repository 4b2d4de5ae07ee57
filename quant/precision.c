#include "quant/precision.h"

#include <string.h>

#include "base/text.h"

static const struct {
    const char *name, *computes;
} precisions[QUANT_PRECISIONS] = {
    [QUANT_FP32] = {"fp32", "float32 weights, float32 arithmetic"},
    [QUANT_FP16] = {"fp16", "float16 weights, float32 arithmetic"},
    [QUANT_INT8] = {"int8", "int8 weights and activations, int32 sums"},
};

const char *quant_precision_name(quant_precision_t precision)
{
    return precisions[precision].name;
}

const char *quant_precision_computes(quant_precision_t precision)
{
    return precisions[precision].computes;
}

err_t quant_precision_parse(quant_precision_t *precision, const char *name)
{
    char shown[32];
    for (int i = 0; i < QUANT_PRECISIONS; i++) {
        if (!strcmp(name, precisions[i].name)) {
            *precision = (quant_precision_t)i;
            return ERR_OK;
        }
    }
    text_printable(shown, sizeof shown, name, strlen(name));
    return err_set(ERR_CONFIG, "precision \"%s\": accepted are fp32, fp16 and int8", shown);
}

double quant_wire_bytes(const nn_net_t *net, quant_precision_t precision)
{
    if (precision == QUANT_FP32)
        return 4.0 * (double)net->float_count;
    if (precision == QUANT_FP16)
        return 2.0 * (double)net->float_count;
    double bytes = 0;
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        if (e->kind == NN_KIND_WEIGHT)
            bytes += (double)e->count + 4.0 * (double)e->shape[0];
        else if (e->kind != NN_KIND_COUNTER)
            bytes += 4.0 * (double)e->count;
    }
    return bytes;
}
