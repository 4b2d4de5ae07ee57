#include "nn/plan.h"

#include <math.h>
#include <string.h>

#include "nn/memory.h"

typedef struct {
    nn_plan_t *plan;
    bool training;
    int *root;          /* (tensor_count): the tensor whose buffer it shares */
    nn_shape_t *layout; /* (tensor_count): its shape before a flatten */
    size_t *readers;    /* (tensor_count): operations that read it */
} lowering_t;

size_t nn_shape_count(nn_shape_t shape)
{
    return shape.height * shape.width * shape.channels;
}

static nn_step_t *append(lowering_t *l, nn_step_kind_t kind, const nn_op_t *op)
{
    const nn_net_t *net = l->plan->net;
    nn_step_t *step = &l->plan->steps[l->plan->step_count++];
    *step = (nn_step_t){.kind = kind,
                        .op = op,
                        .in = {l->root[op->in[0]], NN_NONE},
                        .out = op->out,
                        .in_shape = net->tensors[op->in[0]],
                        .layout = l->layout[op->in[0]],
                        .out_shape = net->tensors[op->out],
                        .low = -INFINITY,
                        .high = INFINITY,
                        .site = {NN_NONE, NN_NONE, NN_NONE},
                        .norm = NN_NONE};
    if (op->in[1] != NN_NONE)
        step->in[1] = l->root[op->in[1]];
    return step;
}

static void set_clamp(float *low, float *high, nn_op_kind_t kind)
{
    *low = 0.0f;
    *high = kind == NN_OP_RELU6 ? 6.0f : INFINITY;
}

static int append_norm(lowering_t *l, const nn_op_t *op)
{
    nn_plan_t *plan = l->plan;
    nn_shape_t shape = plan->net->tensors[op->in[0]];
    plan->norms[plan->norm_count] = (nn_norm_site_t){.op = op,
                                                     .rows = shape.height * shape.width,
                                                     .channels = shape.channels,
                                                     .channel = plan->channel_count,
                                                     .low = -INFINITY,
                                                     .high = INFINITY};
    plan->channel_count += shape.channels;
    if (shape.channels > plan->channel_max)
        plan->channel_max = shape.channels;
    return (int)plan->norm_count++;
}

/* The operation after `op` when it alone reads what `op` writes. */
static const nn_op_t *only_reader(const lowering_t *l, const nn_op_t *op)
{
    const nn_net_t *net = l->plan->net;
    const nn_op_t *next = op + 1;
    bool alone = next < net->ops + net->op_count && next->in[0] == op->out &&
                 next->in[1] == NN_NONE && l->readers[op->out] == 1;
    return alone ? next : NULL;
}

/* Returns the last operation that the step has taken along. */
static const nn_op_t *lower_norm(lowering_t *l, const nn_op_t *op)
{
    nn_plan_t *plan = l->plan;
    nn_step_t *step = append(l, NN_STEP_NORM, op);
    step->site[0] = append_norm(l, op);
    nn_norm_site_t *site = &plan->norms[step->site[0]];
    const nn_op_t *next = only_reader(l, op);
    if (next && (next->kind == NN_OP_RELU || next->kind == NN_OP_RELU6)) {
        set_clamp(&site->low, &site->high, next->kind);
        op = next;
        next = only_reader(l, op);
    }
    if (next && next->kind == NN_OP_MAX_POOL && next->kernel == 2 && next->stride == 2) {
        step->pool = true;
        op = next;
    }
    step->out = op->out;
    step->out_shape = plan->net->tensors[op->out];
    nn_step_t *before = step > plan->steps ? step - 1 : NULL;
    if (before && before->kind == NN_STEP_CONV2D && before->out == step->in[0]) {
        before->norm = (int)(step - plan->steps);
        step->has_moments = true;
    }
    return op;
}

static void lower_conv2d(lowering_t *l, const nn_op_t *op)
{
    nn_plan_t *plan = l->plan;
    nn_step_t *step = append(l, NN_STEP_CONV2D, op);
    nn_conv2d_t *d = &step->conv;
    *d = (nn_conv2d_t){.H = step->in_shape.height,
                       .W = step->in_shape.width,
                       .C = step->in_shape.channels,
                       .P = step->out_shape.height,
                       .Q = step->out_shape.width,
                       .O = step->out_shape.channels,
                       .kernel = op->kernel,
                       .stride = op->stride,
                       .pad = op->pad,
                       .groups = op->groups};
    step->packed_count = nn_conv2d_packed(d);
    step->packed = plan->packed_count;
    plan->packed_count += step->packed_count;
    step->turned = plan->packed_count;
    if (l->training && step->in[0] != 0)
        plan->packed_count += step->packed_count;
    if (step->packed_count + d->O > plan->packed_max)
        plan->packed_max = step->packed_count + d->O;
    if (nn_conv2d_scratch(d) > plan->scratch_count)
        plan->scratch_count = nn_conv2d_scratch(d);
}

static void lower_dense(lowering_t *l, const nn_op_t *op)
{
    nn_plan_t *plan = l->plan;
    nn_step_t *step = append(l, NN_STEP_DENSE, op);
    step->packed_count = step->in_shape.channels * step->out_shape.channels;
    step->packed = plan->packed_count;
    if (step->layout.height * step->layout.width > 1) {
        plan->packed_count += step->packed_count;
        if (step->packed_count > plan->packed_max)
            plan->packed_max = step->packed_count;
    }
}

/* The output of an expansion with more floats a picture than this does not stay in cache for a
 * batch: computing it twice is cheaper than writing and reading it, if the input has few enough
 * channels. Measured with `hearsay bench`. */
enum { EXPANDED_KEPT_MAX = 40000 };

/* `op` if it is a bare 1x1 convolution that a BatchNorm alone reads; returns that BatchNorm. */
static const nn_op_t *pointwise(const lowering_t *l, const nn_op_t *op)
{
    bool fits = op && op->kind == NN_OP_CONV2D && op->kernel == 1 && op->stride == 1 &&
                op->pad == 0 && op->groups == 1 && op->bias == NN_NONE;
    const nn_op_t *next = fits ? only_reader(l, op) : NULL;
    return next && next->kind == NN_OP_BATCH_NORM ? next : NULL;
}

static const nn_op_t *then_relu6(const lowering_t *l, const nn_op_t *op)
{
    const nn_op_t *next = op ? only_reader(l, op) : NULL;
    return next && next->kind == NN_OP_RELU6 ? next : NULL;
}

/* The same for a 3x3 depthwise convolution. */
static const nn_op_t *depthwise(const lowering_t *l, const nn_op_t *op)
{
    bool fits = op && op->kind == NN_OP_CONV2D && op->kernel == 3 && op->stride <= 2 &&
                op->pad == 1 && op->bias == NN_NONE &&
                op->groups == l->plan->net->tensors[op->in[0]].channels &&
                op->groups == l->plan->net->tensors[op->out].channels;
    const nn_op_t *next = fits ? only_reader(l, op) : NULL;
    return next && next->kind == NN_OP_BATCH_NORM ? next : NULL;
}

/* An inverted residual that begins with `op`, as one step; NULL when none does. */
static const nn_op_t *lower_bottleneck(lowering_t *l, const nn_op_t *op)
{
    nn_plan_t *plan = l->plan;
    const nn_op_t *norms[3] = {pointwise(l, op), NULL, NULL}, *expand = NULL, *filter = op;
    if (norms[0]) {
        const nn_op_t *relu = then_relu6(l, norms[0]);
        expand = op;
        filter = relu ? only_reader(l, relu) : NULL;
    }
    norms[1] = depthwise(l, filter);
    const nn_op_t *relu = then_relu6(l, norms[1]), *project = relu ? only_reader(l, relu) : NULL;
    norms[2] = pointwise(l, project);
    if (!norms[2] || op->in[0] == 0)
        return NULL;
    nn_step_t *step = append(l, NN_STEP_BOTTLENECK, op);
    nn_bottleneck_t *b = &step->block;
    for (int i = expand ? 0 : 1; i < 3; i++) {
        step->site[i] = append_norm(l, norms[i]);
        if (i < 2)
            set_clamp(&plan->norms[step->site[i]].low, &plan->norms[step->site[i]].high,
                      NN_OP_RELU6);
    }
    const nn_op_t *last = norms[2], *add = last + 1;
    b->residual = add < plan->net->ops + plan->net->op_count && add->kind == NN_OP_ADD &&
                  l->readers[last->out] == 1 &&
                  ((add->in[0] == last->out && add->in[1] == op->in[0]) ||
                   (add->in[1] == last->out && add->in[0] == op->in[0]));
    last = b->residual ? add : last;
    nn_shape_t wide = plan->net->tensors[filter->in[0]], small = plan->net->tensors[filter->out];
    b->expand = expand, b->depthwise = filter, b->project = project;
    b->H = wide.height, b->W = wide.width, b->P = small.height, b->Q = small.width;
    b->stride = filter->stride;
    b->C = step->in_shape.channels, b->E = wide.channels;
    b->O = plan->net->tensors[project->out].channels;
    b->recompute =
        expand && b->C <= NN_RECOMPUTE_CHANNELS && b->H * b->W * b->E > EXPANDED_KEPT_MAX;
    if (b->recompute && b->C > plan->channel_max)
        plan->channel_max = b->C; /* the input has moments of its own */
    step->out = last->out;
    step->out_shape = plan->net->tensors[last->out];
    b->packed_expand = plan->packed_count;
    b->packed_depthwise = b->packed_expand + (expand ? b->C * b->E : 0);
    b->packed_project = b->packed_depthwise + 9 * b->E;
    b->packed_turned = b->packed_project + b->E * b->O;
    b->packed_bias = b->packed_turned + (l->training ? b->E * b->O : 0);
    plan->packed_count = b->packed_bias + (l->training ? 0 : 2 * b->E + b->O);
    step->packed_count = (b->C + 9 + b->O) * b->E;
    if (step->packed_count > plan->packed_max)
        plan->packed_max = step->packed_count;
    return last;
}

/* `op` and what follows it into a step; returns the last operation taken. */
static const nn_op_t *lower(lowering_t *l, const nn_op_t *op)
{
    const nn_op_t *last;
    switch (op->kind) {
    case NN_OP_CONV2D:
        last = lower_bottleneck(l, op);
        if (last)
            return last;
        lower_conv2d(l, op);
        break;
    case NN_OP_BATCH_NORM:
        return lower_norm(l, op);
    case NN_OP_RELU:
    case NN_OP_RELU6: {
        nn_step_t *step = append(l, NN_STEP_CLAMP, op);
        set_clamp(&step->low, &step->high, op->kind);
        l->layout[op->out] = l->layout[op->in[0]];
        break;
    }
    case NN_OP_MAX_POOL:
        append(l, NN_STEP_MAX_POOL, op);
        break;
    case NN_OP_GLOBAL_AVG_POOL:
        append(l, NN_STEP_GLOBAL_AVG_POOL, op);
        break;
    case NN_OP_ADD:
        append(l, NN_STEP_ADD, op);
        l->layout[op->out] = l->layout[op->in[0]];
        break;
    case NN_OP_DROPOUT:
        l->layout[op->out] = l->layout[op->in[0]];
        if (l->training && op->dropout > 0.0f)
            append(l, NN_STEP_DROPOUT, op);
        else
            l->root[op->out] = l->root[op->in[0]];
        break;
    case NN_OP_FLATTEN:
        l->layout[op->out] = l->layout[op->in[0]];
        l->root[op->out] = l->root[op->in[0]];
        break;
    case NN_OP_DENSE:
        lower_dense(l, op);
        break;
    case NN_OP_FAKE_QUANT:
        append(l, NN_STEP_FAKE_QUANT, op);
        l->layout[op->out] = l->layout[op->in[0]];
        break;
    }
    return op;
}

static err_t check(const nn_net_t *net)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (op->kind < NN_OP_CONV2D || op->kind > NN_OP_FAKE_QUANT)
            FAIL(ERR_CONFIG, "operation %zu: kind %d is not implemented", i, (int)op->kind);
        if (op->kind == NN_OP_CONV2D && op->pad >= op->kernel)
            FAIL(ERR_CONFIG, "%s: padding %zu must be smaller than the kernel, %zu", op->name,
                 op->pad, op->kernel);
        if (net->tensors[op->out].channels > NN_CHANNELS_MAX &&
            (op->kind == NN_OP_CONV2D || op->kind == NN_OP_BATCH_NORM))
            FAIL(ERR_CONFIG, "%s: %zu channels, at most %d are possible", op->name,
                 net->tensors[op->out].channels, NN_CHANNELS_MAX);
        if (op->in[0] == 0 && op->kind != NN_OP_CONV2D)
            FAIL(ERR_CONFIG, "operation %zu: only a convolution may read the pictures", i);
    }
out:
    return err;
}

/* Gradients: the last reader writes, readers before it add. */
static void mark_adds(lowering_t *l)
{
    nn_plan_t *plan = l->plan;
    memset(l->readers, 0, plan->net->tensor_count * sizeof *l->readers);
    for (size_t s = plan->step_count; s-- > 0;) {
        nn_step_t *step = &plan->steps[s];
        for (int i = 0; i < 2; i++) {
            if (step->in[i] == NN_NONE)
                continue;
            step->add_gradient[i] = l->readers[step->in[i]]++ > 0;
            size_t count = nn_shape_count(plan->net->tensors[step->in[i]]);
            if (step->add_gradient[i] && count > plan->spare_count)
                plan->spare_count = count;
        }
    }
}

err_t nn_plan_init(nn_plan_t *plan, const nn_net_t *net, bool training)
{
    err_t err = check(net);
    *plan = (nn_plan_t){.net = net};
    if (err)
        return err;
    lowering_t l = {.plan = plan, .training = training};
    plan->steps = nn_calloc(net->op_count, sizeof *plan->steps);
    plan->norms = nn_calloc(net->op_count, sizeof *plan->norms);
    l.root = nn_calloc(net->tensor_count, sizeof *l.root);
    l.layout = nn_calloc(net->tensor_count, sizeof *l.layout);
    l.readers = nn_calloc(net->tensor_count, sizeof *l.readers);
    for (size_t t = 0; t < net->tensor_count; t++) {
        l.root[t] = (int)t;
        l.layout[t] = net->tensors[t];
    }
    for (size_t i = 0; i < net->op_count; i++)
        for (int k = 0; k < 2; k++)
            if (net->ops[i].in[k] != NN_NONE)
                l.readers[net->ops[i].in[k]]++;
    const nn_op_t *end = net->ops + net->op_count;
    for (const nn_op_t *op = net->ops; op < end; op++)
        op = lower(&l, op);
    plan->logits = l.root[end[-1].out];
    mark_adds(&l);
    nn_free(l.root);
    nn_free(l.layout);
    nn_free(l.readers);
    return ERR_OK;
}

void nn_plan_free(nn_plan_t *plan)
{
    nn_free(plan->steps);
    nn_free(plan->norms);
    *plan = (nn_plan_t){0};
}

size_t nn_spans_place(nn_span_t *spans, size_t count)
{
    size_t whole = 0;
    for (size_t i = 0; i < count; i++) {
        nn_span_t *a = &spans[i];
        a->offset = 0;
        if (a->count == 0)
            continue;
        for (size_t j = 0; j < i; j++) { /* moved up past each in its way, until none is */
            const nn_span_t *b = &spans[j];
            bool together = b->count > 0 && a->first <= b->last && b->first <= a->last;
            if (together && a->offset < b->offset + b->count && b->offset < a->offset + a->count) {
                a->offset = b->offset + b->count;
                j = (size_t)-1;
            }
        }
        if (a->offset + a->count > whole)
            whole = a->offset + a->count;
    }
    return whole;
}

void nn_plan_activation_spans(nn_span_t *spans, const nn_plan_t *plan)
{
    memset(spans, 0, plan->net->tensor_count * sizeof *spans);
    for (size_t s = 0; s < plan->step_count; s++) {
        const nn_step_t *step = &plan->steps[s];
        spans[step->out].count = nn_shape_count(step->out_shape);
        spans[step->out].first = spans[step->out].last = s;
        for (int i = 0; i < 2; i++)
            if (step->in[i] > 0)
                spans[step->in[i]].last = s;
    }
    spans[plan->logits].last = plan->step_count;
}

void nn_plan_gradient_spans(nn_span_t *spans, const nn_plan_t *plan)
{
    memset(spans, 0, plan->net->tensor_count * sizeof *spans);
    for (size_t s = plan->step_count; s-- > 0;) {
        const nn_step_t *step = &plan->steps[s];
        size_t now = plan->step_count - s;
        spans[step->out].last = now;
        for (int i = 0; i < 2; i++) {
            if (step->in[i] > 0 && spans[step->in[i]].count == 0) {
                spans[step->in[i]].count = nn_shape_count(plan->net->tensors[step->in[i]]);
                spans[step->in[i]].first = now;
            }
        }
    }
    spans[plan->logits].count = nn_shape_count(plan->net->tensors[plan->logits]);
    spans[plan->logits].first = 0;
}
