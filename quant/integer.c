/* A model in integers: memory and what must hold before anything runs it. */
#include "quant/integer.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "nn/memory.h"
#include "quant/tensors.h"

void quant_integer_new(quant_integer_t *model, nn_net_t *net, const nn_model_meta_t *meta)
{
    *model = (quant_integer_t){.net = net};
    nn_model_meta_copy(&model->meta, meta);
    snprintf(model->meta.precision, sizeof model->meta.precision, "int8");
    model->tensors = nn_calloc(net->tensor_count, sizeof *model->tensors);
    model->layers = nn_calloc(net->op_count, sizeof *model->layers);
    for (size_t i = 0; i < net->op_count; i++) {
        if (!quant_op_has_weights(&net->ops[i]))
            continue;
        const nn_entry_t *weight = &net->entries[net->ops[i].weight];
        quant_layer_t *layer = &model->layers[i];
        layer->weight = nn_calloc(weight->count, sizeof *layer->weight);
        layer->scale = nn_calloc(weight->shape[0], sizeof *layer->scale);
        layer->bias = nn_calloc(weight->shape[0], sizeof *layer->bias);
    }
}

void quant_integer_free(quant_integer_t *model)
{
    for (size_t i = 0; model->layers && i < model->net->op_count; i++) {
        nn_free(model->layers[i].weight);
        nn_free(model->layers[i].scale);
        nn_free(model->layers[i].bias);
    }
    nn_free(model->layers);
    nn_free(model->tensors);
    nn_net_destroy(&model->net);
    nn_model_meta_free(&model->meta);
    *model = (quant_integer_t){0};
}

static bool is_scale(float scale)
{
    return isnormal(scale) && scale > 0;
}

static bool equal(quant_affine_t a, quant_affine_t b)
{
    return a.scale == b.scale && a.zero == b.zero; /* scales are numbers by now */
}

static err_t check_tensor(const quant_integer_t *model, size_t tensor)
{
    err_t err = ERR_OK;
    const nn_net_t *net = model->net;
    const quant_affine_t *a = &model->tensors[tensor];
    char text[QUANT_TENSOR_TEXT];
    quant_tensor_text(text, net, (int)tensor);
    if ((int)tensor == net->ops[net->op_count - 1].out) {
        if (a->scale != 0 || a->zero != 0)
            FAIL(ERR_FORMAT,
                 "activation %zu (%s): scale %g, zero point %d: logits are float32 and have 0 "
                 "and 0",
                 tensor, text, (double)a->scale, (int)a->zero);
        return ERR_OK;
    }
    if (!is_scale(a->scale))
        FAIL(ERR_FORMAT, "activation %zu (%s): scale %g: a scale is a normal number above 0",
             tensor, text, (double)a->scale);
    if (a->zero < 0 || a->zero > 255)
        FAIL(ERR_FORMAT, "activation %zu (%s): zero point %d: expected 0 to 255", tensor, text,
             (int)a->zero);
out:
    return err;
}

/* Operations that leave values as they are, and the range that makes RELU and RELU6 such ones. */
static err_t check_shared(const quant_integer_t *model, const nn_op_t *op)
{
    err_t err = ERR_OK;
    const quant_affine_t x = model->tensors[op->in[0]], y = model->tensors[op->out];
    char in[QUANT_TENSOR_TEXT], out[QUANT_TENSOR_TEXT];
    quant_tensor_text(in, model->net, op->in[0]);
    quant_tensor_text(out, model->net, op->out);
    if (!equal(x, y))
        FAIL(ERR_FORMAT,
             "activations %d (%s) and %d (%s) must have the same scale and zero point, not %g, %d "
             "and %g, %d",
             op->in[0], in, op->out, out, (double)x.scale, (int)x.zero, (double)y.scale,
             (int)y.zero);
    if ((op->kind == NN_OP_RELU || op->kind == NN_OP_RELU6) && y.zero != 0)
        FAIL(ERR_FORMAT, "activation %d (%s): zero point %d: 0 is what makes a relu", op->out, out,
             (int)y.zero);
    if (op->kind == NN_OP_RELU6 && y.scale * 255.0f > 6.0f)
        FAIL(ERR_FORMAT, "activation %d (%s): scale %g: the range of a relu6 ends at 6 or below",
             op->out, out, (double)y.scale);
out:
    return err;
}

/* Bounds within which integers and their products with multipliers stay whatever the input. */
#define SUM_MAX         ((double)INT32_MAX)
#define REQUANTIZED_MAX 1073741824.0 /* 2^30 */

static err_t check_layer(const quant_integer_t *model, size_t i)
{
    err_t err = ERR_OK;
    const nn_net_t *net = model->net;
    const nn_op_t *op = &net->ops[i];
    const nn_entry_t *e = &net->entries[op->weight];
    const quant_layer_t *layer = &model->layers[i];
    const float in = model->tensors[op->in[0]].scale, out = model->tensors[op->out].scale;
    const size_t outputs = e->shape[0], inputs = e->count / outputs;
    for (size_t o = 0; o < outputs; o++) {
        const int8_t *w = layer->weight + o * inputs;
        double sum = fabs((double)layer->bias[o]);
        if (!is_scale(layer->scale[o]))
            FAIL(ERR_FORMAT,
                 "tensor \"%s_scale\" element %zu is %g: a scale is a normal number "
                 "above 0",
                 e->name, o, (double)layer->scale[o]);
        for (size_t k = 0; k < inputs; k++) {
            if (w[k] == -128)
                FAIL(ERR_FORMAT, "tensor \"%s\" element %zu is -128: weights are -127 to 127",
                     e->name, o * inputs + k);
            sum += 255.0 * abs(w[k]);
        }
        if (sum > SUM_MAX)
            FAIL(ERR_FORMAT,
                 "tensor \"%s\" channel %zu: with its bias of %d sums can reach %.0f, "
                 "beyond int32",
                 e->name, o, (int)layer->bias[o], sum);
        const float unit = in * layer->scale[o];
        const bool logits = i + 1 == net->op_count;
        double most = sum * (double)(logits ? unit : unit / out);
        if (!(most <= (logits ? (double)FLT_MAX : REQUANTIZED_MAX)))
            FAIL(ERR_FORMAT,
                 "tensor \"%s_scale\" element %zu is %g: with scales of %g and %g "
                 "around the layer its outputs can reach %g steps",
                 e->name, o, (double)layer->scale[o], (double)in, (double)out, most);
    }
out:
    return err;
}

/* Addition and pooling: the ratio of scales is one that keeps what comes out within int32. */
static err_t check_ratio(const quant_integer_t *model, const nn_op_t *op)
{
    err_t err = ERR_OK;
    const quant_affine_t *t = model->tensors;
    char text[QUANT_TENSOR_TEXT];
    for (int k = 0; k < 2 && op->in[k] != NN_NONE; k++) {
        double most = 255.0 * (double)t[op->in[k]].scale / (double)t[op->out].scale;
        quant_tensor_text(text, model->net, op->out);
        if (!(most <= REQUANTIZED_MAX / 4))
            FAIL(ERR_FORMAT, "activation %d (%s): scale %g is too small for inputs of scale %g",
                 op->out, text, (double)t[op->out].scale, (double)t[op->in[k]].scale);
    }
out:
    return err;
}

err_t quant_integer_check(const quant_integer_t *model)
{
    err_t err = ERR_OK;
    const nn_net_t *net = model->net;
    TRY(quant_check_list(net));
    for (size_t t = 0; t < net->tensor_count; t++)
        TRY(check_tensor(model, t));
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (quant_op_has_weights(op))
            TRY(check_layer(model, i));
        else if (quant_op_shares(op))
            TRY(check_shared(model, op));
        else
            TRY(check_ratio(model, op));
    }
out:
    return err;
}
