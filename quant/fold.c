#include "quant/fold.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/memory.h"
#include "quant/tensors.h"

static err_t check_foldable(const nn_net_t *net)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (op->kind != NN_OP_BATCH_NORM)
            continue;
        int writer = quant_tensor_writer(net, op->in[0]);
        if (writer == NN_NONE || !quant_op_has_weights(&net->ops[writer]))
            FAIL(ERR_CONFIG, "\"%s\" cannot be folded: it follows no convolution", op->name);
        if (quant_tensor_readers(net, op->in[0]) != 1)
            FAIL(ERR_CONFIG, "\"%s\" cannot be folded: others read the output of \"%s\" too",
                 op->name, net->ops[writer].name);
    }
out:
    return err;
}

/* Appends an entry behind those there are; `to` has room for all. */
static int append_entry(nn_net_t *to, const nn_entry_t *entry, const char *name, int op)
{
    nn_entry_t *e = &to->entries[to->entry_count];
    *e = *entry;
    memmove(e->name, name, strlen(name) + 1);
    e->op = op;
    e->offset = to->float_count;
    to->float_count += e->count;
    to->trainable_count += e->count;
    return (int)to->entry_count++;
}

static void fold_op(nn_net_t *to, const nn_net_t *from, const nn_op_t *op, int *numbers)
{
    const nn_op_t *norm = quant_op_has_weights(op) ? quant_norm_behind(from, op) : NULL;
    int at = (int)to->op_count, out = norm ? norm->out : op->out;
    nn_op_t *folded = &to->ops[to->op_count++];
    *folded = *op;
    for (int i = 0; i < 2; i++)
        if (op->in[i] != NN_NONE)
            folded->in[i] = numbers[op->in[i]];
    numbers[out] = (int)to->tensor_count;
    folded->out = numbers[out];
    to->tensors[to->tensor_count++] = from->tensors[out];
    if (op->weight != NN_NONE) {
        const nn_entry_t *weight = &from->entries[op->weight];
        folded->weight = append_entry(to, weight, weight->name, at);
    }
    if (op->bias != NN_NONE) {
        const nn_entry_t *bias = &from->entries[op->bias];
        folded->bias = append_entry(to, bias, bias->name, at);
    } else if (norm) {
        nn_entry_t bias = from->entries[norm->bias]; /* as many elements, of another kind */
        char name[NN_NAME_MAX];
        bias.kind = NN_KIND_BIAS;
        snprintf(name, sizeof name, "%.*s.bias", NN_NAME_MAX - 24, op->name);
        folded->bias = append_entry(to, &bias, name, at);
    }
}

err_t quant_fold_net(nn_net_t **folded, const nn_net_t *net)
{
    err_t err = ERR_OK;
    int *numbers = NULL; /* (tensor_count) new number of each old tensor */
    *folded = NULL;
    TRY(check_foldable(net));
    numbers = nn_calloc(net->tensor_count, sizeof *numbers);
    nn_net_t *to = nn_calloc(1, sizeof *to);
    to->arch = net->arch;
    to->ops = nn_calloc(net->op_count, sizeof *to->ops);
    to->tensors = nn_calloc(net->tensor_count, sizeof *to->tensors);
    /* At most a bias more for every operation. */
    to->entries = nn_calloc(net->entry_count + net->op_count, sizeof *to->entries);
    to->tensors[0] = net->tensors[0];
    to->tensor_count = 1;
    for (size_t i = 0; i < net->op_count; i++)
        if (net->ops[i].kind != NN_OP_BATCH_NORM)
            fold_op(to, net, &net->ops[i], numbers);
    *folded = to;
out:
    nn_free(numbers);
    return err;
}

static err_t check_finite(const nn_state_t *state, const char *what)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < state->net->entry_count; i++) {
        const nn_entry_t *e = &state->net->entries[i];
        if (e->kind == NN_KIND_COUNTER)
            continue;
        for (size_t k = 0; k < e->count; k++) {
            float value = state->values[e->offset + k];
            if (!isfinite(value))
                FAIL(ERR_FORMAT, "tensor \"%s\" element %zu is %s%s", e->name, k,
                     isnan(value) ? "NaN" : "infinite", what);
        }
    }
out:
    return err;
}

/* Values of an entry, NULL for NN_NONE. */
static float *values_of(const nn_state_t *state, int entry)
{
    return entry == NN_NONE ? NULL : state->values + state->net->entries[entry].offset;
}

/* w (O, count/O) and b (O) of one layer, `norm` folded in.
 *   out w2, b2
 *   in  w, b (NULL: none), norm of state->net */
static void fold_layer(float *w2, float *b2, const float *w, const float *b, size_t count,
                       const nn_state_t *state, const nn_op_t *norm)
{
    const float *gamma = values_of(state, norm->weight), *beta = values_of(state, norm->bias);
    const float *mean = values_of(state, norm->running_mean);
    const float *var = values_of(state, norm->running_var);
    size_t outputs = state->net->entries[norm->weight].count, inputs = count / outputs;
    for (size_t o = 0; o < outputs; o++) {
        double g = (double)gamma[o] / sqrt((double)var[o] + (double)norm->epsilon);
        for (size_t i = 0; i < inputs; i++)
            w2[o * inputs + i] = (float)((double)w[o * inputs + i] * g);
        b2[o] = (float)((double)beta[o] + ((b ? (double)b[o] : 0.0) - (double)mean[o]) * g);
    }
}

err_t quant_check_finite(const nn_state_t *state)
{
    return check_finite(state, ": the model is of no use");
}

err_t quant_fold_state(nn_state_t *folded, const nn_state_t *state)
{
    err_t err = ERR_OK;
    const nn_net_t *from = state->net, *to = folded->net;
    TRY(quant_check_finite(state));
    for (size_t i = 0, k = 0; i < from->op_count; i++) {
        const nn_op_t *op = &from->ops[i];
        if (op->kind == NN_OP_BATCH_NORM)
            continue;
        const nn_op_t *op2 = &to->ops[k++], *norm = quant_norm_behind(from, op);
        const float *w = values_of(state, op->weight), *b = values_of(state, op->bias);
        float *w2 = values_of(folded, op2->weight), *b2 = values_of(folded, op2->bias);
        if (!w)
            continue;
        size_t count = from->entries[op->weight].count;
        if (norm) {
            fold_layer(w2, b2, w, b, count, state, norm);
            continue;
        }
        memcpy(w2, w, count * sizeof *w);
        if (b)
            memcpy(b2, b, from->entries[op->bias].count * sizeof *b);
    }
    TRY(check_finite(folded, " with its BatchNorm folded in: the BatchNorm's scale is too large"));
out:
    return err;
}

err_t quant_check_statistics(const nn_state_t *state)
{
    err_t err = ERR_OK;
    const nn_net_t *net = state->net;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (op->kind != NN_OP_BATCH_NORM)
            continue;
        const float *mean = values_of(state, op->running_mean);
        const float *var = values_of(state, op->running_var);
        bool first = state->counters[net->entries[op->counter].offset] == 0;
        for (size_t c = 0; c < net->entries[op->running_mean].count && first; c++)
            first = mean[c] == 0 && var[c] == 1;
        if (first)
            FAIL(ERR_CONFIG,
                 "BatchNorm \"%s\" has no statistics: its means are 0 and its variances 1, as in a "
                 "model that never saw a picture: train the model (`hearsay up`) and take its "
                 "consensus.safetensors",
                 op->name);
    }
out:
    return err;
}

/* The part of an entry in a buffer laid out as the values, NULL for NN_NONE. */
static float *part_of(float *buffer, const nn_net_t *net, int entry)
{
    return entry == NN_NONE ? NULL : buffer + net->entries[entry].offset;
}

/* dw (O, count/O), db (O, or NULL) and the BatchNorm's own out of dw2 and db2 of the folded layer.
 */
static void unfold_layer(float *gradient, const nn_state_t *state, const nn_op_t *op,
                         const nn_op_t *norm, const float *dw2, const float *db2)
{
    const nn_net_t *net = state->net;
    const float *w = values_of(state, op->weight), *b = values_of(state, op->bias);
    const float *gamma = values_of(state, norm->weight), *var = values_of(state, norm->running_var);
    const float *mean = values_of(state, norm->running_mean);
    float *dw = part_of(gradient, net, op->weight), *db = part_of(gradient, net, op->bias);
    float *dgamma = part_of(gradient, net, norm->weight);
    float *dbeta = part_of(gradient, net, norm->bias);
    const size_t outputs = net->entries[norm->weight].count;
    const size_t inputs = net->entries[op->weight].count / outputs;
    for (size_t o = 0; o < outputs; o++) {
        const double invstd = 1.0 / sqrt((double)var[o] + (double)norm->epsilon);
        const double g = (double)gamma[o] * invstd;
        double sum = (double)db2[o] * ((b ? (double)b[o] : 0.0) - (double)mean[o]);
        for (size_t i = o * inputs; i < (o + 1) * inputs; i++) {
            sum += (double)dw2[i] * (double)w[i];
            dw[i] = (float)((double)dw2[i] * g);
        }
        if (db)
            db[o] = (float)((double)db2[o] * g);
        dgamma[o] = (float)(sum * invstd);
        dbeta[o] = db2[o];
    }
}

void quant_fold_gradient(float *gradient, const nn_state_t *state, const float *folded_gradient,
                         const nn_net_t *folded)
{
    const nn_net_t *from = state->net;
    memset(gradient, 0, from->float_count * sizeof *gradient);
    for (size_t i = 0, k = 0; i < from->op_count; i++) {
        const nn_op_t *op = &from->ops[i];
        if (op->kind == NN_OP_BATCH_NORM)
            continue;
        const nn_op_t *op2 = &folded->ops[k++], *norm = quant_norm_behind(from, op);
        if (op->weight == NN_NONE)
            continue;
        const float *dw2 = folded_gradient + folded->entries[op2->weight].offset;
        const float *db2 =
            op2->bias == NN_NONE ? NULL : folded_gradient + folded->entries[op2->bias].offset;
        if (norm) {
            unfold_layer(gradient, state, op, norm, dw2, db2);
            continue;
        }
        memcpy(part_of(gradient, from, op->weight), dw2,
               from->entries[op->weight].count * sizeof *dw2);
        if (db2)
            memcpy(part_of(gradient, from, op->bias), db2,
                   from->entries[op->bias].count * sizeof *db2);
    }
}
