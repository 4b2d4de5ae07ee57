#include "quant/qat_net.h"

#include <string.h>

#include "nn/memory.h"
#include "quant/tensors.h"

static nn_op_t *append(nn_net_t *net, const nn_op_t *op)
{
    nn_op_t *at = &net->ops[net->op_count++];
    *at = *op;
    return at;
}

/* Rounds `tensor` into a new one, whose number is returned. */
static int append_rounding(nn_net_t *net, int tensor)
{
    const nn_op_t op = {.kind = NN_OP_FAKE_QUANT,
                        .in = {tensor, NN_NONE},
                        .out = (int)net->tensor_count,
                        .scale = 1.0f,
                        .weight = NN_NONE,
                        .bias = NN_NONE,
                        .running_mean = NN_NONE,
                        .running_var = NN_NONE,
                        .counter = NN_NONE};
    net->tensors[net->tensor_count++] = net->tensors[tensor];
    return append(net, &op)->out;
}

err_t quant_qat_net(nn_net_t **out_net, const nn_net_t *folded)
{
    err_t err = ERR_OK;
    int *rounded = NULL; /* (tensor_count) what computing operations read */
    *out_net = NULL;
    TRY(quant_check_list(folded));
    nn_net_t *net = nn_calloc(1, sizeof *net);
    *net = *folded;
    net->ops = nn_calloc(2 * folded->op_count, sizeof *net->ops);
    net->tensors = nn_calloc(2 * folded->tensor_count, sizeof *net->tensors);
    net->entries = nn_calloc(folded->entry_count, sizeof *net->entries);
    net->op_count = 0;
    memcpy(net->tensors, folded->tensors, folded->tensor_count * sizeof *net->tensors);
    memcpy(net->entries, folded->entries, folded->entry_count * sizeof *net->entries);
    rounded = nn_calloc(folded->tensor_count, sizeof *rounded);
    for (size_t i = 0; i < folded->op_count; i++) {
        const nn_op_t *from = &folded->ops[i];
        nn_op_t *op = append(net, from);
        op->dropout = 0.0f;
        for (int k = 0; k < 2; k++)
            if (op->in[k] > 0 && !quant_op_shares(op))
                op->in[k] = rounded[op->in[k]];
        if (op->weight != NN_NONE)
            net->entries[op->weight].op = (int)(op - net->ops);
        if (op->bias != NN_NONE)
            net->entries[op->bias].op = (int)(op - net->ops);
        if (quant_tensor_is_operand(folded, from->out))
            rounded[from->out] = append_rounding(net, from->out);
    }
    *out_net = net;
out:
    nn_free(rounded);
    return err;
}
