#include "nn/head.h"

#include <string.h>

bool nn_head_owns(const nn_net_t *net, const nn_entry_t *entry)
{
    return entry->op == (int)net->op_count - 1;
}

/* Cuts the list ahead of the last dense layer and of the dropout before it. */
static err_t cut(nn_head_t *head, const nn_net_t *net)
{
    err_t err = ERR_OK;
    const nn_op_t *dense = &net->ops[net->op_count - 1], *op = dense - 1;
    head->net = net;
    head->features = *net;
    if (net->op_count < 3 || dense->kind != NN_OP_DENSE)
        FAIL(ERR_CONFIG, "%s does not end in a dense layer: its features cannot be kept fixed",
             net->arch.name);
    for (; op > net->ops && op->kind == NN_OP_DROPOUT; op--)
        head->dropout = op->dropout;
    head->features.op_count = (size_t)(op - net->ops) + 1;
    head->inputs = net->entries[dense->weight].shape[1];
    head->outputs = net->entries[dense->weight].shape[0];
    if (op->kind == NN_OP_FLATTEN && net->tensors[op->in[0]].height > 1)
        FAIL(ERR_CONFIG, "%s: the last layer reads a picture, not a vector: its features cannot be "
                         "kept fixed",
             net->arch.name);
out:
    return err;
}

err_t nn_head_new(nn_head_t **out_head, const nn_net_t *net, size_t batch, int threads)
{
    err_t err = ERR_OK;
    nn_head_t *h = nn_calloc(1, sizeof *h);
    *out_head = NULL;
    TRY(cut(h, net));
    TRY(nn_run_new(&h->run, &h->features, NN_RUN_INFER, batch, threads));
    size_t x = arena_round(batch * h->inputs * sizeof(float));
    size_t logits = arena_round(batch * h->outputs * sizeof(float));
    size_t gradient = arena_round(net->float_count * sizeof(float));
    TRY(nn_arena_init(&h->arena, x + 2 * logits + gradient));
    h->x = arena_alloc(&h->arena, x);
    h->logits = arena_alloc(&h->arena, logits);
    h->logits_gradient = arena_alloc(&h->arena, logits);
    h->gradient = arena_alloc(&h->arena, gradient);
    memset(h->gradient, 0, gradient);
    *out_head = h;
    h = NULL;
out:
    nn_head_destroy(&h);
    return err;
}

void nn_head_destroy(nn_head_t **head)
{
    nn_head_t *h = *head;
    if (!h)
        return;
    nn_run_destroy(&h->run);
    arena_free(&h->arena);
    nn_free(h);
    *head = NULL;
}

static const nn_entry_t *weight_of(const nn_head_t *h)
{
    return &h->net->entries[h->net->ops[h->net->op_count - 1].weight];
}

static const nn_entry_t *bias_of(const nn_head_t *h)
{
    return &h->net->entries[h->net->ops[h->net->op_count - 1].bias];
}

void nn_head_forward(nn_head_t *h, const nn_state_t *state, const float *pictures, size_t n,
                     rng_t *dropout)
{
    const float keep = 1.0f - h->dropout;
    const float *features = nn_run_forward(h->run, state, pictures, n, NULL);
    memcpy(h->x, features, n * h->inputs * sizeof *h->x);
    CHECK(dropout || h->dropout == 0.0f);
    for (size_t i = 0; i < n * h->inputs && h->dropout > 0.0f; i++)
        h->x[i] = rng_float(dropout) < keep ? h->x[i] / keep : 0.0f;
    nn_dense_forward(h->logits, h->x, state->values + weight_of(h)->offset,
                     state->values + bias_of(h)->offset, n, h->inputs, h->outputs);
}

void nn_head_backward(nn_head_t *h, size_t n)
{
    nn_dense_backward_weight(h->gradient + weight_of(h)->offset, h->gradient + bias_of(h)->offset,
                             h->x, h->logits_gradient, n, h->inputs, h->outputs, 0, h->outputs,
                             h->run->kernels);
}
