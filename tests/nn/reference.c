#include "tests/nn/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const nn_net_t *net;
    const nn_op_t *op;
    const double *values;
    nn_shape_t in, out;
    size_t n;
    const double *x, *x2;
    double *y;
} call_t;

static const double *entry(const call_t *c, int index)
{
    return index == NN_NONE ? NULL : c->values + c->net->entries[index].offset;
}

static double at(const double *x, nn_shape_t s, size_t i, size_t h, size_t w, size_t ch)
{
    return x[((i * s.height + h) * s.width + w) * s.channels + ch];
}

static double conv_at(const call_t *c, size_t i, size_t p, size_t q, size_t o)
{
    const nn_op_t *op = c->op;
    const double *w = entry(c, op->weight), *b = entry(c, op->bias);
    size_t I = c->in.channels / op->groups, group = o / (c->out.channels / op->groups);
    double sum = b ? b[o] : 0;
    for (size_t a = 0; a < op->kernel; a++) {
        for (size_t e = 0; e < op->kernel; e++) {
            size_t h = p * op->stride + a, v = q * op->stride + e;
            if (h < op->pad || v < op->pad || h - op->pad >= c->in.height ||
                v - op->pad >= c->in.width)
                continue;
            for (size_t k = 0; k < I; k++)
                sum += w[((o * I + k) * op->kernel + a) * op->kernel + e] *
                       at(c->x, c->in, i, h - op->pad, v - op->pad, group * I + k);
        }
    }
    return sum;
}

static double pool_at(const call_t *c, size_t i, size_t p, size_t q, size_t o)
{
    double best = -INFINITY;
    for (size_t a = 0; a < c->op->kernel; a++)
        for (size_t e = 0; e < c->op->kernel; e++)
            best = fmax(best, at(c->x, c->in, i, p * c->op->stride + a, q * c->op->stride + e, o));
    return best;
}

static void windows(const call_t *c, double (*f)(const call_t *, size_t, size_t, size_t, size_t))
{
    double *y = c->y;
    for (size_t i = 0; i < c->n; i++)
        for (size_t p = 0; p < c->out.height; p++)
            for (size_t q = 0; q < c->out.width; q++)
                for (size_t o = 0; o < c->out.channels; o++)
                    *y++ = f(c, i, p, q, o);
}

static void batch_norm(const call_t *c, bool training)
{
    size_t C = c->in.channels, rows = c->n * c->in.height * c->in.width;
    for (size_t k = 0; k < C; k++) {
        double mean = 0, var = 0;
        for (size_t r = 0; r < rows; r++)
            mean += c->x[r * C + k] / (double)rows;
        for (size_t r = 0; r < rows; r++)
            var += (c->x[r * C + k] - mean) * (c->x[r * C + k] - mean) / (double)rows;
        if (!training) {
            mean = entry(c, c->op->running_mean)[k];
            var = entry(c, c->op->running_var)[k];
        }
        for (size_t r = 0; r < rows; r++)
            c->y[r * C + k] = (c->x[r * C + k] - mean) / sqrt(var + (double)c->op->epsilon) *
                                  entry(c, c->op->weight)[k] +
                              entry(c, c->op->bias)[k];
    }
}

static void dense(const call_t *c)
{
    const double *w = entry(c, c->op->weight), *b = entry(c, c->op->bias);
    size_t I = c->in.channels, O = c->out.channels;
    for (size_t i = 0; i < c->n; i++) {
        for (size_t o = 0; o < O; o++) {
            double sum = b[o];
            for (size_t k = 0; k < I; k++)
                sum += w[o * I + k] * c->x[i * I + k];
            c->y[i * O + o] = sum;
        }
    }
}

/* A flatten really permutes here: (H,W,C) to (C,H,W). */
static void flatten(const call_t *c)
{
    double *y = c->y;
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->in.channels; k++)
            for (size_t h = 0; h < c->in.height; h++)
                for (size_t w = 0; w < c->in.width; w++)
                    *y++ = at(c->x, c->in, i, h, w, k);
}

static void average(const call_t *c)
{
    size_t C = c->in.channels, rows = c->in.height * c->in.width;
    for (size_t i = 0; i < c->n * C; i++) {
        c->y[i] = 0;
        for (size_t r = 0; r < rows; r++)
            c->y[i] += c->x[(i / C * rows + r) * C + i % C] / (double)rows;
    }
}

static bool held;
static double *rounding[REFERENCE_TENSORS]; /* of each FAKE_QUANT's output */

void reference_hold(bool hold)
{
    held = hold;
    for (size_t t = 0; !hold && t < REFERENCE_TENSORS; t++) {
        free(rounding[t]);
        rounding[t] = NULL;
    }
}

static void fake_quant(const call_t *c, size_t count)
{
    const double scale = (double)c->op->scale, zero = (double)c->op->zero;
    double **added = &rounding[c->op->out];
    if (!held) {
        free(*added);
        *added = calloc(count, sizeof **added);
    }
    for (size_t k = 0; k < count; k++) {
        double low = (-zero - 0.5) * scale, high = (255.5 - zero) * scale; /* what rounds to them */
        double q = fmin(fmax(rint(c->x[k] / scale), -zero), 255 - zero);
        double clamped = fmin(fmax(c->x[k], low), high);
        if (!held)
            (*added)[k] = q * scale - clamped;
        c->y[k] = clamped + (*added)[k];
    }
}

static void run(const call_t *c, bool training, const float *mask)
{
    size_t count = c->n * c->out.height * c->out.width * c->out.channels;
    switch (c->op->kind) {
    case NN_OP_CONV2D:
        windows(c, conv_at);
        break;
    case NN_OP_MAX_POOL:
        windows(c, pool_at);
        break;
    case NN_OP_BATCH_NORM:
        batch_norm(c, training);
        break;
    case NN_OP_RELU:
    case NN_OP_RELU6:
        for (size_t k = 0; k < count; k++)
            c->y[k] = fmin(fmax(c->x[k], 0), c->op->kind == NN_OP_RELU6 ? 6 : INFINITY);
        break;
    case NN_OP_ADD:
        for (size_t k = 0; k < count; k++)
            c->y[k] = c->x[k] + c->x2[k];
        break;
    case NN_OP_DROPOUT:
        for (size_t k = 0; k < count; k++)
            c->y[k] = mask ? c->x[k] * (double)mask[k] : c->x[k];
        break;
    case NN_OP_GLOBAL_AVG_POOL:
        average(c);
        break;
    case NN_OP_FLATTEN:
        flatten(c);
        break;
    case NN_OP_DENSE:
        dense(c);
        break;
    case NN_OP_FAKE_QUANT:
        fake_quant(c, count);
        break;
    }
}

void reference_forward(double *logits, const nn_net_t *net, const double *values, const float *x,
                       size_t n, bool training, const float *mask)
{
    double **tensors = calloc(net->tensor_count, sizeof *tensors);
    for (size_t t = 0; t < net->tensor_count; t++) {
        nn_shape_t s = net->tensors[t];
        tensors[t] = calloc(n * s.height * s.width * s.channels, sizeof(double));
        for (size_t k = 0; t == 0 && k < n * s.height * s.width * s.channels; k++)
            tensors[t][k] = (double)x[k];
    }
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        call_t c = {net,
                    op,
                    values,
                    net->tensors[op->in[0]],
                    net->tensors[op->out],
                    n,
                    tensors[op->in[0]],
                    op->in[1] == NN_NONE ? NULL : tensors[op->in[1]],
                    tensors[op->out]};
        run(&c, training, mask);
        if (i + 1 == net->op_count)
            memcpy(logits, c.y, n * c.out.channels * sizeof *logits);
    }
    for (size_t t = 0; t < net->tensor_count; t++)
        free(tensors[t]);
    free(tensors);
}

double reference_loss(const nn_net_t *net, const double *values, const float *x,
                      const int32_t *labels, size_t n, const float *mask)
{
    size_t classes = net->arch.classes;
    double loss = 0, *z = calloc(n * classes, sizeof *z);
    reference_forward(z, net, values, x, n, true, mask);
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < classes; k++)
            sum += exp(z[i * classes + k]);
        loss += (log(sum) - z[i * classes + (size_t)labels[i]]) / (double)n;
    }
    free(z);
    return loss;
}
