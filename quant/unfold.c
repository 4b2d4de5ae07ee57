#include "quant/unfold.h"

#include <string.h>

#include "quant/tensors.h"

static bool has_batch_norm(const nn_net_t *net)
{
    for (size_t i = 0; i < net->op_count; i++)
        if (net->ops[i].kind == NN_OP_BATCH_NORM)
            return true;
    return false;
}

static float *values_of(nn_state_t *state, int entry)
{
    return state->values + state->net->entries[entry].offset;
}

static void set_identity(nn_state_t *state, const nn_op_t *norm)
{
    float *gamma = values_of(state, norm->weight), *var = values_of(state, norm->running_var);
    for (size_t c = 0; c < state->net->entries[norm->weight].count; c++) {
        gamma[c] = 1;
        var[c] = 1 - norm->epsilon;
    }
}

/* Weight and bias of `op`, by the names that they have in the folded net. */
static void copy_layer(nn_state_t *state, const nn_state_t *folded, const nn_op_t *op)
{
    const nn_net_t *net = state->net;
    const nn_op_t *norm = quant_norm_behind(net, op);
    int from = nn_net_find(folded->net, net->entries[op->weight].name);
    int to = op->bias != NN_NONE ? op->bias : norm ? norm->bias : NN_NONE;
    int bias = folded->net->ops[folded->net->entries[from].op].bias;
    memcpy(values_of(state, op->weight), folded->values + folded->net->entries[from].offset,
           folded->net->entries[from].count * sizeof(float));
    if (to != NN_NONE && bias != NN_NONE)
        memcpy(values_of(state, to), folded->values + folded->net->entries[bias].offset,
               folded->net->entries[bias].count * sizeof(float));
}

err_t quant_unfold(nn_model_t *model)
{
    err_t err = ERR_OK;
    nn_net_t *net = NULL;
    nn_state_t state = {0};
    TRY(nn_net_new(&net, &model->meta.arch));
    if (has_batch_norm(model->net) || !has_batch_norm(net))
        goto out;
    TRY(nn_state_init(&state, net));
    memset(state.values, 0, net->float_count * sizeof *state.values);
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (op->kind == NN_OP_BATCH_NORM)
            set_identity(&state, op);
        else if (op->weight != NN_NONE)
            copy_layer(&state, &model->state, op);
    }
    nn_state_free(&model->state);
    nn_net_destroy(&model->net);
    model->net = net;
    model->state = state;
    net = NULL;
    state = (nn_state_t){0};
out:
    nn_state_free(&state);
    nn_net_destroy(&net);
    return err;
}
