#include "quant/signal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/memory.h"
#include "nn/plan.h"
#include "quant/walk.h"

#define PRODUCTS_MAX 1e9 /* some seconds of quant_integer_reference */

typedef struct {
    const quant_integer_t *model;
    uint8_t **q;    /* (tensor_count) the integer model's tensors of the picture */
    float *logits;  /* (classes) its logits */
    double *signal; /* (tensor_count) sums of squares */
    double *noise;  /* (tensor_count) */
    float *x;       /* (H,W,3) */
    float *memory;  /* of the float model's walk */
} comparison_t;

static void comparison_free(comparison_t *c, size_t tensors)
{
    for (size_t t = 0; c->q && t < tensors; t++)
        nn_free(c->q[t]);
    nn_free(c->q);
    nn_free(c->logits);
    nn_free(c->signal);
    nn_free(c->noise);
    nn_free(c->x);
    nn_free(c->memory);
}

static err_t comparison_init(comparison_t *c, const quant_integer_t *model,
                             const quant_walk_t *walk)
{
    err_t err = ERR_OK;
    const nn_net_t *net = model->net;
    size_t last = (size_t)net->ops[net->op_count - 1].out;
    *c = (comparison_t){.model = model};
    c->q = nn_calloc(net->tensor_count, sizeof *c->q);
    c->logits = nn_calloc(net->arch.classes, sizeof *c->logits);
    c->signal = nn_calloc(net->tensor_count, sizeof *c->signal);
    c->noise = nn_calloc(net->tensor_count, sizeof *c->noise);
    c->x = nn_aligned(nn_shape_count(net->tensors[0]) * sizeof *c->x);
    c->memory = nn_aligned(walk->float_count * sizeof *c->memory);
    if (!c->x || !c->memory)
        FAIL(ERR_MEMORY, "not enough memory for a picture's tensors");
    for (size_t t = 0; t < net->tensor_count; t++)
        if (t != last)
            c->q[t] = nn_calloc(nn_shape_count(net->tensors[t]), 1);
out:
    return err;
}

/* One tensor of the float model, beside the integer model's. */
static void visit(void *argument, size_t tensor, const float *values)
{
    comparison_t *c = argument;
    const quant_affine_t affine = c->model->tensors[tensor];
    size_t count = nn_shape_count(c->model->net->tensors[tensor]);
    const uint8_t *q = c->q[tensor];
    double signal = 0, noise = 0;
    for (size_t i = 0; i < count; i++) {
        double x = (double)values[i];
        double y = q ? (double)affine.scale * ((int)q[i] - affine.zero) : (double)c->logits[i];
        signal += x * x;
        noise += (x - y) * (x - y);
    }
    c->signal[tensor] += signal;
    c->noise[tensor] += noise;
}

/* The tensor behind the activation of what `op` writes: where a RELU alone reads it, the RELU's. */
static size_t behind_activation(const nn_net_t *net, const nn_op_t *op)
{
    for (size_t i = 0; i < net->op_count; i++)
        if ((net->ops[i].kind == NN_OP_RELU || net->ops[i].kind == NN_OP_RELU6) &&
            net->ops[i].in[0] == op->out && quant_tensor_readers(net, op->out) == 1)
            return (size_t)net->ops[i].out;
    return (size_t)op->out;
}

static void collect(quant_signals_t *signals, const comparison_t *c)
{
    const nn_net_t *net = c->model->net;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (quant_op_shares(op))
            continue;
        size_t tensor = behind_activation(net, op);
        quant_signal_t *layer = &signals->layers[signals->count];
        quant_tensor_text(layer->layer, net, op->out);
        layer->db = c->noise[tensor] == 0 ? (double)INFINITY
                                          : 10 * log10(c->signal[tensor] / c->noise[tensor]);
        if (layer->db < signals->layers[signals->worst].db)
            signals->worst = signals->count;
        signals->count++;
    }
}

static bool same_list(const nn_net_t *a, const nn_net_t *b)
{
    bool same = a->op_count == b->op_count && a->tensor_count == b->tensor_count &&
                !memcmp(a->tensors, b->tensors, a->tensor_count * sizeof *a->tensors);
    for (size_t i = 0; same && i < a->op_count; i++)
        same = a->ops[i].kind == b->ops[i].kind && a->ops[i].out == b->ops[i].out &&
               a->ops[i].in[0] == b->ops[i].in[0] && a->ops[i].in[1] == b->ops[i].in[1];
    return same;
}

size_t quant_signal_pictures(const nn_net_t *net)
{
    double products = 0; /* of a picture */
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        const nn_shape_t out = net->tensors[op->out];
        if (quant_op_has_weights(op))
            products += (double)(out.height * out.width) * (double)net->entries[op->weight].count;
    }
    return (size_t)fmax(1, fmin(16, PRODUCTS_MAX / products));
}

err_t quant_signals_measure(quant_signals_t *signals, const nn_state_t *folded,
                            const quant_integer_t *model, const data_set_t *set, size_t count,
                            const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    quant_walk_t walk = {0};
    comparison_t c = {0};
    const nn_net_t *net = model->net;
    *signals = (quant_signals_t){.pictures = count};
    if (!same_list(net, folded->net))
        FAIL(ERR_CONFIG, "the float model is not the one that the integer model was made from");
    TRY(quant_walk_init(&walk, folded));
    TRY(comparison_init(&c, model, &walk));
    for (size_t k = 0; k < count; k++) {
        uint32_t picture = (uint32_t)(k * set->count / count);
        int32_t label;
        if (interrupted && *interrupted)
            FAIL(ERR_REFUSED, "interrupted while layers were compared");
        data_batch(c.x, &label, set, &picture, 1, &model->meta.normalisation, NULL, NULL);
        quant_integer_reference(c.logits, c.q, model, c.x);
        quant_walk_picture(&walk, c.memory, c.x, visit, &c);
    }
    signals->layers = xcalloc(net->op_count, sizeof *signals->layers);
    collect(signals, &c);
out:
    comparison_free(&c, net->tensor_count);
    quant_walk_free(&walk);
    return err;
}

void quant_signals_free(quant_signals_t *signals)
{
    free(signals->layers);
    *signals = (quant_signals_t){0};
}
