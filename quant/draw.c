#include "quant/draw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/fold.h"
#include "quant/tensors.h"

/* Standard deviation of what a layer writes, in steps of its scale, and of what it reads. */
#define SPREAD_OUT 45.0
#define SPREAD_IN  70.0

/* Some RELU or RELU6 reads `tensor`, or one that shares with it. */
static bool is_rectified(const nn_net_t *net, int tensor)
{
    for (size_t i = 0; i < net->op_count; i++)
        if ((net->ops[i].kind == NN_OP_RELU || net->ops[i].kind == NN_OP_RELU6) &&
            quant_tensor_root(net, net->ops[i].in[0]) == tensor)
            return true;
    return false;
}

/* Scales at most 6 / 255, which a RELU6 needs. */
static void draw_tensors(quant_integer_t *model, rng_t *rng)
{
    const nn_net_t *net = model->net;
    for (size_t t = 0; t < net->tensor_count; t++) {
        const int root = quant_tensor_root(net, (int)t);
        if (root != (int)t) {
            model->tensors[t] = model->tensors[root];
            continue;
        }
        const double scale = 0.012 + 0.011 * rng_double(rng);
        const int32_t zero = 96 + (int32_t)rng_below(rng, 64);
        model->tensors[t] = (quant_affine_t){(float)scale, is_rectified(net, root) ? 0 : zero};
    }
    model->tensors[net->ops[net->op_count - 1].out] = (quant_affine_t){0};
}

/* One output's weights; returns the root of their sum of squares. Of very many inputs they are
 * smaller, as sums have to fit int32 with all inputs 255: up to 2^30, the rest is for the bias. */
static double draw_weights(int8_t *w, size_t count, rng_t *rng)
{
    const uint64_t kind = rng_below(rng, 40);
    const double fitting = floor(0x1p30 / 255 / (double)count);
    const double largest = fmin(fmax(fitting, 1), 127);
    const double spread = largest < 127 ? largest / 3 : 40;
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        const double value = rint(spread * rng_normal(rng));
        w[i] = (int8_t)fmax(-largest, fmin(largest, value));
        if (kind == 0)
            w[i] = 0;
        else if (kind == 1)
            w[i] = (int8_t)(value > 0 ? largest : -largest);
        squares += w[i] * w[i];
    }
    return sqrt(squares);
}

static void draw_layer(quant_integer_t *model, size_t at, rng_t *rng)
{
    const nn_op_t *op = &model->net->ops[at];
    const nn_entry_t *e = &model->net->entries[op->weight];
    const quant_layer_t *layer = &model->layers[at];
    const size_t outputs = e->shape[0], inputs = e->count / outputs;
    const double in = (double)model->tensors[op->in[0]].scale;
    const double out = (double)model->tensors[op->out].scale;
    for (size_t o = 0; o < outputs; o++) {
        const double norm = draw_weights(layer->weight + o * inputs, inputs, rng) * SPREAD_IN;
        const double spread = norm > 0 ? norm : 1000;
        const double wanted = SPREAD_OUT * (0.5 + rng_double(rng));
        layer->scale[o] = (float)((out > 0 ? out : 0.02) * wanted / (spread * in));
        layer->bias[o] = (int32_t)rint(spread * 0.5 * rng_normal(rng));
    }
}

err_t quant_draw(quant_integer_t *model, const nn_arch_t *arch, rng_t *rng)
{
    err_t err = ERR_OK;
    nn_net_t *net = NULL, *folded = NULL;
    nn_model_meta_t meta = {.normalisation = data_normalisation_default()};
    *model = (quant_integer_t){0};
    TRY(nn_net_new(&net, arch));
    TRY(quant_fold_net(&folded, net));
    meta.arch = net->arch;
    quant_integer_new(model, folded, &meta);
    draw_tensors(model, rng);
    for (size_t i = 0; i < folded->op_count; i++)
        if (quant_op_has_weights(&folded->ops[i]))
            draw_layer(model, i, rng);
    TRY(quant_integer_check(model));
out:
    nn_net_destroy(&net);
    if (err)
        quant_integer_free(model);
    return err;
}
