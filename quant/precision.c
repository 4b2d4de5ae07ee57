#include "quant/precision.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/text.h"

static const struct {
    const char *name, *arithmetic, *computes;
} precisions[QUANT_PRECISIONS] = {
    [QUANT_FP32] = {"fp32", "float32", "float32 weights, float32 arithmetic"},
    [QUANT_FP16] = {"fp16", "float32", "float16 weights, float32 arithmetic"},
    [QUANT_INT8] = {"int8", "float32",
                    "int8 weights (a scale per output channel), float32 arithmetic"},
};

const char *quant_precision_name(quant_precision_t precision)
{
    return precisions[precision].name;
}

const char *quant_precision_arithmetic(quant_precision_t precision)
{
    return precisions[precision].arithmetic;
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

float quant_int8_row(int8_t *q, const float *w, size_t n)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(w[i]));
    float scale = largest == 0 ? 1.0f : fmaxf(largest / (float)QUANT_INT8_MAX, FLT_MIN);
    for (size_t i = 0; i < n; i++) {
        /* In double, where the quotient's own rounding cannot make or break a tie. */
        double level = rint((double)w[i] / (double)scale);
        q[i] = (int8_t)fmax(-QUANT_INT8_MAX, fmin(QUANT_INT8_MAX, level));
    }
    return scale;
}
