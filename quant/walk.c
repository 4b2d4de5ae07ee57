#include "quant/walk.h"

#include <math.h>
#include <string.h>

#include "nn/memory.h"
#include "nn/plan.h"
#include "quant/tensors.h"

static nn_conv2d_t conv_of(const nn_net_t *net, const nn_op_t *op)
{
    const nn_shape_t in = net->tensors[op->in[0]], out = net->tensors[op->out];
    return (nn_conv2d_t){.H = in.height,
                         .W = in.width,
                         .C = in.channels,
                         .P = out.height,
                         .Q = out.width,
                         .O = out.channels,
                         .kernel = op->kernel,
                         .stride = op->stride,
                         .pad = op->pad,
                         .groups = op->groups};
}

/* What the depthwise kernel does; other grouped convolutions go by plain loops. */
static bool is_depthwise(const nn_conv2d_t *d)
{
    return d->groups > 1 && d->groups == d->C && d->C == d->O && d->kernel == 3 && d->pad == 1 &&
           d->stride <= 2;
}

static size_t depthwise_scratch(const nn_conv2d_t *d)
{
    return ((d->H + 2) * (d->W + 2) + d->P * d->Q) * NN_BLOCK + NN_BLOCK;
}

static size_t round_up(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

/* A place for every tensor from when it is written until it was last read, and scratch memory. */
static void lay_out(quant_walk_t *walk)
{
    const nn_net_t *net = walk->state->net;
    nn_span_t *spans = nn_calloc(net->tensor_count, sizeof *spans);
    size_t scratch = 0;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        spans[op->out] = (nn_span_t){.count = round_up(nn_shape_count(net->tensors[op->out])),
                                     .first = i,
                                     .last = i + 1 == net->op_count ? i + 1 : i};
        for (int k = 0; k < 2; k++)
            if (op->in[k] > 0)
                spans[op->in[k]].last = i;
        if (op->kind == NN_OP_CONV2D) {
            nn_conv2d_t d = conv_of(net, op);
            size_t count = is_depthwise(&d) ? depthwise_scratch(&d) : nn_conv2d_scratch(&d);
            scratch = count > scratch ? count : scratch;
        }
    }
    walk->scratch_place = nn_spans_place(spans, net->tensor_count);
    walk->float_count = walk->scratch_place + round_up(scratch);
    for (size_t t = 0; t < net->tensor_count; t++)
        walk->place[t] = spans[t].offset;
    nn_free(spans);
}

static const float *values_of(const nn_state_t *state, int entry)
{
    return entry == NN_NONE ? NULL : state->values + state->net->entries[entry].offset;
}

/* (9,C) in blocks of channels, one after another. */
static void pack_depthwise(float *packed, const float *w, size_t C)
{
    for (size_t c = 0; c < C; c += NN_BLOCK) {
        const size_t channels = C - c < NN_BLOCK ? C - c : NN_BLOCK;
        for (size_t k = 0; k < 9; k++)
            for (size_t i = 0; i < channels; i++)
                *packed++ = w[(c + i) * 9 + k];
    }
}

static err_t pack(quant_walk_t *walk, size_t i)
{
    err_t err = ERR_OK;
    const nn_net_t *net = walk->state->net;
    const nn_op_t *op = &net->ops[i];
    if (!quant_op_has_weights(op))
        return ERR_OK;
    const float *w = values_of(walk->state, op->weight);
    const size_t O = net->tensors[op->out].channels, I = net->tensors[op->in[0]].channels;
    const nn_conv2d_t d = conv_of(net, op);
    const bool dense = op->kind == NN_OP_DENSE;
    const size_t count =
        dense || is_depthwise(&d) ? net->entries[op->weight].count : nn_conv2d_packed(&d);
    walk->packed[i] = nn_aligned(count * sizeof(float));
    if (!walk->packed[i])
        FAIL(ERR_MEMORY, "no memory for the %zu weights of \"%s\"", count, op->name);
    if (dense)
        for (size_t o = 0; o < O; o++)
            for (size_t k = 0; k < I; k++)
                walk->packed[i][k * O + o] = w[o * I + k];
    else if (is_depthwise(&d))
        pack_depthwise(walk->packed[i], w, d.C);
    else
        nn_conv2d_pack(walk->packed[i], NULL, w, &d);
out:
    return err;
}

err_t quant_walk_init(quant_walk_t *walk, const nn_state_t *state)
{
    err_t err = ERR_OK;
    const nn_net_t *net = state->net;
    *walk = (quant_walk_t){.state = state, .kernels = nn_kernels()};
    walk->packed = nn_calloc(net->op_count, sizeof *walk->packed);
    walk->place = nn_calloc(net->tensor_count, sizeof *walk->place);
    lay_out(walk);
    for (size_t i = 0; i < net->op_count; i++) {
        if (net->ops[i].kind == NN_OP_BATCH_NORM)
            FAIL(ERR_CONFIG, "\"%s\" must be folded first", net->ops[i].name);
        TRY(pack(walk, i));
    }
out:
    if (err)
        quant_walk_free(walk);
    return err;
}

void quant_walk_free(quant_walk_t *walk)
{
    for (size_t i = 0; walk->packed && i < walk->state->net->op_count; i++)
        nn_free(walk->packed[i]);
    nn_free(walk->packed);
    nn_free(walk->place);
    *walk = (quant_walk_t){0};
}

static void run_depthwise(float *y, const float *x, const quant_walk_t *walk, const nn_op_t *op,
                          const float *packed, const nn_conv2d_t *conv, float *scratch)
{
    static const float none[NN_BLOCK];
    const nn_depthwise_t d = {conv->H, conv->W, conv->P, conv->Q, conv->stride, 0};
    const float *bias = values_of(walk->state, op->bias);
    float *out = scratch + (d.H + 2) * (d.W + 2) * NN_BLOCK;
    for (size_t c = 0; c < conv->C; c += NN_BLOCK) {
        nn_depthwise_t block = d;
        block.C = conv->C - c < NN_BLOCK ? conv->C - c : NN_BLOCK;
        const nn_norm_t copy = {.height = d.H, .width = d.W, .channels = block.C};
        if (c == 0 || block.C < NN_BLOCK) /* the border of later blocks stays 0 */
            memset(scratch, 0, (d.H + 2) * (d.W + 2) * block.C * sizeof *scratch);
        walk->kernels->pad_norm(scratch, x + c, conv->C, &copy);
        walk->kernels->depthwise_forward(out, scratch, packed + c * 9, bias ? bias + c : none,
                                         -INFINITY, INFINITY, &block);
        for (size_t r = 0; r < d.P * d.Q; r++)
            memcpy(y + r * conv->C + c, out + r * block.C, block.C * sizeof *y);
    }
}

static void run_conv(float *y, const float *x, const quant_walk_t *walk, size_t i, float *scratch)
{
    const nn_op_t *op = &walk->state->net->ops[i];
    const nn_conv2d_t d = conv_of(walk->state->net, op);
    if (is_depthwise(&d))
        run_depthwise(y, x, walk, op, walk->packed[i], &d, scratch);
    else
        nn_conv2d_forward(y, x, walk->packed[i], values_of(walk->state, op->bias), &d, 1, scratch,
                          walk->kernels);
}

static void run_op(float *y, const float *x, const float *x2, const quant_walk_t *walk, size_t i,
                   float *scratch)
{
    const nn_net_t *net = walk->state->net;
    const nn_op_t *op = &net->ops[i];
    const nn_shape_t in = net->tensors[op->in[0]];
    const size_t count = nn_shape_count(net->tensors[op->out]), pixels = in.height * in.width;
    const nn_product_t dense = nn_product_dense(1, in.channels, count);
    switch (op->kind) {
    case NN_OP_CONV2D:
        run_conv(y, x, walk, i, scratch);
        break;
    case NN_OP_DENSE:
        walk->kernels->product(y, x, walk->packed[i], values_of(walk->state, op->bias), false,
                               &dense);
        break;
    case NN_OP_RELU:
    case NN_OP_RELU6:
        walk->kernels->clamp(y, x, 0.0f, op->kind == NN_OP_RELU6 ? 6.0f : INFINITY, count);
        break;
    case NN_OP_MAX_POOL:
        nn_max_pool_forward(y, x, in.height, in.width, in.channels, op->kernel, op->stride);
        break;
    case NN_OP_GLOBAL_AVG_POOL:
        nn_global_avg_pool_forward(y, x, pixels, in.channels);
        break;
    case NN_OP_ADD:
        memcpy(y, x, count * sizeof *y);
        walk->kernels->add(y, x2, count);
        break;
    case NN_OP_FLATTEN:
        for (size_t c = 0; c < in.channels; c++)
            for (size_t r = 0; r < pixels; r++)
                y[c * pixels + r] = x[r * in.channels + c];
        break;
    case NN_OP_DROPOUT:
        memcpy(y, x, count * sizeof *y);
        break;
    case NN_OP_FAKE_QUANT:
        walk->kernels->fake_quant(y, x, op->scale, op->zero, count);
        break;
    case NN_OP_BATCH_NORM:
        CHECK(op->kind != NN_OP_BATCH_NORM); /* quant_walk_init refuses it */
    }
}

const float *quant_walk_picture(const quant_walk_t *walk, float *memory, const float *x,
                                quant_visit_t visit, void *argument)
{
    const nn_net_t *net = walk->state->net;
    float *y = memory;
    visit(argument, 0, x);
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        const float *in[2] = {x, NULL};
        for (int k = 0; k < 2; k++)
            if (op->in[k] > 0)
                in[k] = memory + walk->place[op->in[k]];
            else if (op->in[k] == 0)
                in[k] = x;
        y = memory + walk->place[op->out];
        run_op(y, in[0], in[1], walk, i, memory + walk->scratch_place);
        visit(argument, (size_t)op->out, y);
    }
    return y;
}
