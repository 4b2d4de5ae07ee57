/* The arithmetic of integer.h, one operation after another, one element after another. */
#include <math.h>
#include <string.h>

#include "nn/memory.h"
#include "quant/integer.h"

typedef struct {
    const quant_integer_t *model;
    const nn_op_t *op;
    nn_shape_t in, out;
    const uint8_t *x[2]; /* of op->in */
    quant_affine_t x_at[2], y_at;
    uint8_t *y; /* of op->out, or NULL: the logits */
} call_t;

static size_t count_of(nn_shape_t shape)
{
    return shape.height * shape.width * shape.channels;
}

/* clamp(rne(v) + zero, 0, 255) */
static uint8_t to_uint8(float v, int32_t zero)
{
    const float low = (float)-zero, high = (float)(255 - zero); /* NaN becomes 255 */
    v = v < high ? v : high;
    v = v > low ? v : low;
    return (uint8_t)(lrintf(v) + zero); /* to nearest, ties to even: no rounding mode is ever set */
}

static float multiplier(const call_t *c, const quant_layer_t *layer, size_t o)
{
    const float unit = c->x_at[0].scale * layer->scale[o];
    return c->y ? unit / c->y_at.scale : unit;
}

/* Sums may pass 2^31 - 1 on the way, not at their end: they wrap. */
static int32_t multiply_add(int32_t sum, int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)sum + (uint32_t)(a * b));
}

static int32_t conv2d_sum(const call_t *c, const int8_t *w, int32_t sum, size_t p, size_t q,
                          size_t first)
{
    const nn_op_t *op = c->op;
    const size_t K = op->kernel, I = c->in.channels / op->groups;
    for (size_t i = 0; i < I; i++) {
        for (size_t k = 0; k < K * K; k++) { /* what lies outside wraps to huge */
            const size_t h = p * op->stride + k / K - op->pad, v = q * op->stride + k % K - op->pad;
            if (h >= c->in.height || v >= c->in.width)
                continue; /* padding is the zero point: it adds 0 */
            const size_t at = (h * c->in.width + v) * c->in.channels + first + i;
            sum = multiply_add(sum, w[i * K * K + k], c->x[0][at] - c->x_at[0].zero);
        }
    }
    return sum;
}

static void conv2d(const call_t *c, const quant_layer_t *layer)
{
    const nn_op_t *op = c->op;
    const size_t K = op->kernel, I = c->in.channels / op->groups, O = c->out.channels;
    for (size_t p = 0; p < c->out.height; p++) {
        for (size_t q = 0; q < c->out.width; q++) {
            for (size_t o = 0; o < O; o++) {
                const size_t first = o / (O / op->groups) * I;
                const int32_t sum =
                    conv2d_sum(c, layer->weight + o * I * K * K, layer->bias[o], p, q, first);
                const float v = (float)sum * multiplier(c, layer, o);
                c->y[(p * c->out.width + q) * O + o] = to_uint8(v, c->y_at.zero);
            }
        }
    }
}

static void dense(const call_t *c, const quant_layer_t *layer, float *logits)
{
    const size_t I = count_of(c->in);
    for (size_t o = 0; o < c->out.channels; o++) {
        int32_t sum = layer->bias[o];
        for (size_t i = 0; i < I; i++)
            sum = multiply_add(sum, layer->weight[o * I + i], c->x[0][i] - c->x_at[0].zero);
        const float v = (float)sum * multiplier(c, layer, o);
        if (c->y)
            c->y[o] = to_uint8(v, c->y_at.zero);
        else
            logits[o] = v;
    }
}

static void add(const call_t *c)
{
    const quant_affine_t a = c->x_at[0], b = c->x_at[1], y = c->y_at;
    const float ra = a.scale / y.scale, rb = b.scale / y.scale;
    const float z = fmaf(ra, (float)a.zero, rb * (float)b.zero);
    const float f = (float)y.zero - z;
    for (size_t i = 0; i < count_of(c->out); i++)
        c->y[i] = to_uint8(fmaf((float)c->x[0][i], ra, fmaf((float)c->x[1][i], rb, f)), 0);
}

static void max_pool(const call_t *c)
{
    const nn_op_t *op = c->op;
    const size_t C = c->out.channels;
    for (size_t p = 0; p < c->out.height; p++) {
        for (size_t q = 0; q < c->out.width; q++) {
            for (size_t i = 0; i < C; i++) {
                uint8_t most = 0;
                for (size_t k = 0; k < op->kernel * op->kernel; k++) {
                    const size_t h = p * op->stride + k / op->kernel;
                    const size_t v = q * op->stride + k % op->kernel;
                    const uint8_t x = c->x[0][(h * c->in.width + v) * C + i];
                    most = x > most ? x : most;
                }
                c->y[(p * c->out.width + q) * C + i] = most;
            }
        }
    }
}

static void global_avg_pool(const call_t *c)
{
    const size_t n = c->in.height * c->in.width, C = c->in.channels;
    const float whole = c->y_at.scale * (float)n, m = c->x_at[0].scale / whole;
    for (size_t i = 0; i < C; i++) {
        int32_t sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += c->x[0][k * C + i] - c->x_at[0].zero;
        c->y[i] = to_uint8((float)sum * m, c->y_at.zero);
    }
}

static void flatten(const call_t *c)
{
    const size_t pixels = c->in.height * c->in.width, C = c->in.channels;
    for (size_t i = 0; i < C; i++)
        for (size_t k = 0; k < pixels; k++)
            c->y[i * pixels + k] = c->x[0][k * C + i];
}

static void run(const call_t *c, float *logits)
{
    const quant_layer_t *layer = &c->model->layers[c->op - c->model->net->ops];
    switch (c->op->kind) {
    case NN_OP_CONV2D:
        conv2d(c, layer);
        break;
    case NN_OP_DENSE:
        dense(c, layer, logits);
        break;
    case NN_OP_ADD:
        add(c);
        break;
    case NN_OP_MAX_POOL:
        max_pool(c);
        break;
    case NN_OP_GLOBAL_AVG_POOL:
        global_avg_pool(c);
        break;
    case NN_OP_FLATTEN:
        flatten(c);
        break;
    case NN_OP_RELU:
    case NN_OP_RELU6:
    case NN_OP_DROPOUT:
        memcpy(c->y, c->x[0], count_of(c->out));
        break;
    default: /* quant_integer_check has refused it */
        CHECK(!"an operation on integers");
    }
}

void quant_integer_reference(float *logits, uint8_t *const *q, const quant_integer_t *model,
                             const float *x)
{
    const nn_net_t *net = model->net;
    uint8_t **tensors = nn_calloc(net->tensor_count, sizeof *tensors);
    const int last = net->ops[net->op_count - 1].out;
    for (size_t t = 0; t < net->tensor_count; t++)
        tensors[t] = (int)t == last ? NULL : nn_calloc(count_of(net->tensors[t]), 1);
    for (size_t i = 0; i < count_of(net->tensors[0]); i++)
        tensors[0][i] = to_uint8(x[i] / model->tensors[0].scale, model->tensors[0].zero);
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        call_t c = {.model = model, .op = op, .in = net->tensors[op->in[0]]};
        c.out = net->tensors[op->out];
        for (int k = 0; k < 2 && op->in[k] != NN_NONE; k++) {
            c.x[k] = tensors[op->in[k]];
            c.x_at[k] = model->tensors[op->in[k]];
        }
        c.y = tensors[op->out];
        c.y_at = model->tensors[op->out];
        run(&c, logits);
    }
    for (size_t t = 0; t < net->tensor_count; t++) {
        if (q && q[t] && tensors[t])
            memcpy(q[t], tensors[t], count_of(net->tensors[t]));
        nn_free(tensors[t]);
    }
    nn_free(tensors);
}
