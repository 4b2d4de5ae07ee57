#include "nn/builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/memory.h"

size_t nn_build_channels(size_t channels, double width)
{
    double scaled = floor((double)channels * width + 0.5);
    return scaled < 1.0 ? 1 : (size_t)scaled;
}

static nn_op_t *append_op(nn_builder_t *b, nn_op_kind_t kind, const char *name, int in)
{
    nn_net_t *net = b->net;
    if (net->op_count == b->op_capacity) {
        b->op_capacity = b->op_capacity * 2 + 16;
        net->ops = nn_realloc(net->ops, b->op_capacity * sizeof *net->ops);
    }
    nn_op_t *op = &net->ops[net->op_count++];
    *op = (nn_op_t){.kind = kind,
                    .in = {in, NN_NONE},
                    .out = NN_NONE,
                    .weight = NN_NONE,
                    .bias = NN_NONE,
                    .running_mean = NN_NONE,
                    .running_var = NN_NONE,
                    .counter = NN_NONE};
    snprintf(op->name, sizeof op->name, "%s", name);
    return op;
}

static int append_tensor(nn_builder_t *b, nn_op_t *op, size_t height, size_t width, size_t channels)
{
    nn_net_t *net = b->net;
    if (net->tensor_count == b->tensor_capacity) {
        b->tensor_capacity = b->tensor_capacity * 2 + 16;
        net->tensors = nn_realloc(net->tensors, b->tensor_capacity * sizeof *net->tensors);
    }
    net->tensors[net->tensor_count] = (nn_shape_t){height, width, channels};
    op->out = (int)net->tensor_count++;
    return op->out;
}

static int append_entry(nn_builder_t *b, const nn_op_t *op, const char *what, nn_kind_t kind,
                        size_t rank, const size_t *shape)
{
    nn_net_t *net = b->net;
    if (net->entry_count == b->entry_capacity) {
        b->entry_capacity = b->entry_capacity * 2 + 16;
        net->entries = nn_realloc(net->entries, b->entry_capacity * sizeof *net->entries);
    }
    nn_entry_t *e = &net->entries[net->entry_count];
    *e = (nn_entry_t){.kind = kind, .rank = rank, .count = 1, .op = (int)(op - net->ops)};
    snprintf(e->name, sizeof e->name, "%.*s.%s", NN_NAME_MAX - 24, op->name, what);
    for (size_t i = 0; i < rank; i++) {
        e->shape[i] = shape[i];
        e->count *= shape[i];
    }
    if (kind == NN_KIND_COUNTER) {
        e->offset = net->counter_count++;
    } else {
        e->offset = net->float_count;
        net->float_count += e->count;
        if (kind != NN_KIND_RUNNING_MEAN && kind != NN_KIND_RUNNING_VAR)
            net->trainable_count += e->count;
    }
    return (int)net->entry_count++;
}

int nn_build_conv2d(nn_builder_t *b, const char *name, int in, size_t out_channels, size_t kernel,
                    size_t stride, size_t pad, size_t groups, bool bias)
{
    nn_shape_t s = b->net->tensors[in];
    nn_op_t *op = append_op(b, NN_OP_CONV2D, name, in);
    op->kernel = kernel, op->stride = stride, op->pad = pad, op->groups = groups;
    size_t height = s.height + 2 * pad, width = s.width + 2 * pad;
    if (height < kernel || width < kernel || s.channels % groups || out_channels % groups) {
        b->failed = true;
        height = width = kernel;
    }
    size_t shape[4] = {out_channels, s.channels / groups, kernel, kernel};
    op->weight = append_entry(b, op, "weight", NN_KIND_WEIGHT, 4, shape);
    if (bias)
        op->bias = append_entry(b, op, "bias", NN_KIND_BIAS, 1, shape);
    return append_tensor(b, op, (height - kernel) / stride + 1, (width - kernel) / stride + 1,
                         out_channels);
}

int nn_build_batch_norm(nn_builder_t *b, const char *name, int in)
{
    nn_shape_t s = b->net->tensors[in];
    nn_op_t *op = append_op(b, NN_OP_BATCH_NORM, name, in);
    op->epsilon = 1e-5f, op->momentum = 0.1f;
    op->weight = append_entry(b, op, "weight", NN_KIND_BN_WEIGHT, 1, &s.channels);
    op->bias = append_entry(b, op, "bias", NN_KIND_BN_BIAS, 1, &s.channels);
    op->running_mean = append_entry(b, op, "running_mean", NN_KIND_RUNNING_MEAN, 1, &s.channels);
    op->running_var = append_entry(b, op, "running_var", NN_KIND_RUNNING_VAR, 1, &s.channels);
    op->counter = append_entry(b, op, "num_batches_tracked", NN_KIND_COUNTER, 0, NULL);
    return append_tensor(b, op, s.height, s.width, s.channels);
}

int nn_build_simple(nn_builder_t *b, nn_op_kind_t kind, int in)
{
    nn_shape_t s = b->net->tensors[in];
    nn_op_t *op = append_op(b, kind, "", in);
    if (kind == NN_OP_FLATTEN)
        s = (nn_shape_t){1, 1, s.height * s.width * s.channels};
    else if (kind == NN_OP_GLOBAL_AVG_POOL)
        s = (nn_shape_t){1, 1, s.channels};
    return append_tensor(b, op, s.height, s.width, s.channels);
}

int nn_build_max_pool(nn_builder_t *b, int in, size_t kernel, size_t stride)
{
    nn_shape_t s = b->net->tensors[in];
    nn_op_t *op = append_op(b, NN_OP_MAX_POOL, "", in);
    op->kernel = kernel, op->stride = stride;
    if (s.height < kernel || s.width < kernel) {
        b->failed = true;
        s.height = s.width = kernel;
    }
    return append_tensor(b, op, (s.height - kernel) / stride + 1, (s.width - kernel) / stride + 1,
                         s.channels);
}

int nn_build_add(nn_builder_t *b, int in, int in2)
{
    nn_shape_t s = b->net->tensors[in];
    nn_op_t *op = append_op(b, NN_OP_ADD, "", in);
    op->in[1] = in2;
    b->failed |= memcmp(&s, &b->net->tensors[in2], sizeof s) != 0;
    return append_tensor(b, op, s.height, s.width, s.channels);
}

int nn_build_dropout(nn_builder_t *b, int in, float probability)
{
    nn_shape_t s = b->net->tensors[in];
    nn_op_t *op = append_op(b, NN_OP_DROPOUT, "", in);
    op->dropout = probability;
    return append_tensor(b, op, s.height, s.width, s.channels);
}

int nn_build_dense(nn_builder_t *b, const char *name, int in, size_t outputs)
{
    nn_shape_t s = b->net->tensors[in];
    nn_op_t *op = append_op(b, NN_OP_DENSE, name, in);
    size_t shape[2] = {outputs, s.channels};
    b->failed |= s.height != 1 || s.width != 1;
    op->weight = append_entry(b, op, "weight", NN_KIND_WEIGHT, 2, shape);
    op->bias = append_entry(b, op, "bias", NN_KIND_BIAS, 1, shape);
    return append_tensor(b, op, 1, 1, outputs);
}
