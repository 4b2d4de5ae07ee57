#include "quant/engine_steps.h"

#include <math.h>
#include <string.h>

size_t quant_step_lines(const quant_step_t *step)
{
    return step->out_shape.height; /* 1 behind a flatten */
}

static size_t line_bytes(nn_shape_t shape)
{
    return shape.width * shape.channels;
}

static void quantize(const quant_work_t *work, size_t first, size_t end)
{
    const quant_step_t *step = work->step;
    const size_t line = line_bytes(step->out_shape);
    work->plan->kernels->quantize(work->y + first * line, work->pictures + first * line,
                                  step->y_at.scale, step->y_at.zero, (end - first) * line);
}

/* A product's, behind what is prepared. */
static int16_t *own_scratch(const quant_work_t *work)
{
    return (int16_t *)(void *)(work->scratch + work->step->prepared);
}

/* Pixels that do not need one another: the pictures' borders don't matter. */
static void pointwise(const quant_work_t *work, size_t first, size_t end)
{
    const quant_step_t *step = work->step;
    const quant_kernels_t *k = work->plan->kernels;
    const quant_product_t *p = &step->product;
    const size_t pixel_end = end * step->out_shape.width, inputs = p->a_pixel;
    size_t at = first * step->out_shape.width;
    while (at < pixel_end) {
        const size_t left = pixel_end - at;
        const size_t some = step->block > 0 && step->block < left ? step->block : left;
        const void *a = work->x[0] + at * inputs;
        if (k->widen) {
            k->widen((int16_t *)(void *)work->scratch, a, some * inputs);
            a = work->scratch;
        }
        if (step->kind == QUANT_STEP_LOGITS)
            k->logits(work->logits + at * p->cols, a, p, 0, some, own_scratch(work));
        else
            k->product(work->y + at * p->cols, a, p, 0, some, own_scratch(work));
        at += some;
    }
}

/* Lines first .. end-1 of the padded input, as products take it, into scratch memory. */
static void prepare(const quant_work_t *work, const uint8_t *x, size_t first, size_t end)
{
    const quant_step_t *step = work->step;
    const quant_kernels_t *k = work->plan->kernels;
    const size_t C = step->in_shape.channels, pad = step->op->pad, H = step->in_shape.height;
    const size_t line = step->padded * C, inside = line_bytes(step->in_shape);
    const int32_t zero = step->x_at[0].zero;
    for (size_t h = first; h < end; h++) {
        int16_t *wide = (int16_t *)(void *)work->scratch + (h - first) * line;
        uint8_t *narrow = work->scratch + (h - first) * line;
        const bool outside = h < pad || h - pad >= H;
        const uint8_t *from = x + (outside ? 0 : h - pad) * inside;
        const size_t left = outside ? line : pad * C;
        if (!k->widen) {
            memset(narrow, zero, left);
            if (!outside) {
                memcpy(narrow + left, from, inside);
                memset(narrow + left + inside, zero, left);
            }
            continue;
        }
        for (size_t i = 0; i < left; i++)
            wide[i] = (int16_t)zero;
        if (!outside) {
            k->widen(wide + left, from, inside);
            for (size_t i = left + inside; i < line; i++)
                wide[i] = (int16_t)zero;
        }
    }
}

static void convolve(const quant_work_t *work, size_t first, size_t end)
{
    const quant_step_t *step = work->step;
    const quant_kernels_t *k = work->plan->kernels;
    const quant_product_t *p = &step->product;
    const size_t P = step->out_shape.height, Q = step->out_shape.width;
    while (first < end) {
        const size_t picture = first / P, line = first % P;
        const uint8_t *x = work->x[0] + picture * nn_shape_count(step->in_shape);
        uint8_t *y = work->y + first * Q * p->cols;
        size_t lines = end - first < P - line ? end - first : P - line;
        if (step->block == 0) {
            k->product(y, x + line * p->a_line, p, 0, lines * Q, own_scratch(work));
        } else {
            lines = lines < step->block ? lines : step->block;
            const size_t from = line * step->op->stride;
            prepare(work, x, from, from + (lines - 1) * step->op->stride + step->op->kernel);
            k->product(y, work->scratch, p, 0, lines * Q, own_scratch(work));
        }
        first += lines;
    }
}

static void depthwise(const quant_work_t *work, size_t first, size_t end)
{
    const quant_step_t *step = work->step;
    const size_t P = step->out_shape.height;
    while (first < end) {
        const size_t picture = first / P, line = first % P;
        const size_t lines = end - first < P - line ? end - first : P - line;
        work->plan->kernels->depthwise(work->y + picture * nn_shape_count(step->out_shape),
                                       work->x[0] + picture * nn_shape_count(step->in_shape),
                                       &step->depthwise, line, line + lines,
                                       (int16_t *)(void *)work->scratch);
        first += lines;
    }
}

/* clamp(rne(v) + zero, 0, 255) */
static uint8_t to_uint8(float v, int32_t zero)
{
    const float low = (float)-zero, high = (float)(255 - zero);
    v = v < high ? v : high;
    v = v > low ? v : low;
    return (uint8_t)(lrintf(v) + zero);
}

/* One output of a convolution in groups; x is one picture. */
static uint8_t grouped_pixel(const quant_step_t *step, const uint8_t *x, size_t line, size_t q,
                             size_t o)
{
    const nn_op_t *op = step->op;
    const nn_shape_t in = step->in_shape;
    const size_t K = op->kernel, I = in.channels / op->groups;
    const size_t group = o / (step->out_shape.channels / op->groups);
    const int8_t *w = step->layer->weight + o * I * K * K;
    const float unit = step->x_at[0].scale * step->layer->scale[o];
    uint32_t sum = (uint32_t)step->layer->bias[o]; /* may wrap on the way */
    for (size_t i = 0; i < K * K; i++) {           /* what lies above or left wraps to huge */
        const size_t h = line * op->stride + i / K - op->pad;
        const size_t v = q * op->stride + i % K - op->pad;
        if (h >= in.height || v >= in.width)
            continue;
        const uint8_t *from = x + (h * in.width + v) * in.channels + group * I;
        for (size_t c = 0; c < I; c++)
            sum += (uint32_t)((from[c] - step->x_at[0].zero) * w[c * K * K + i]);
    }
    return to_uint8((float)(int32_t)sum * (unit / step->y_at.scale), step->y_at.zero);
}

static void grouped(const quant_work_t *work, size_t first, size_t end)
{
    const quant_step_t *step = work->step;
    const nn_shape_t out = step->out_shape;
    for (size_t at = first; at < end; at++) {
        const uint8_t *x = work->x[0] + at / out.height * nn_shape_count(step->in_shape);
        for (size_t i = 0; i < out.width * out.channels; i++)
            work->y[at * out.width * out.channels + i] =
                grouped_pixel(step, x, at % out.height, i / out.channels, i % out.channels);
    }
}

static void add(const quant_work_t *work, size_t first, size_t end)
{
    const size_t line = line_bytes(work->step->out_shape), at = first * line;
    work->plan->kernels->add(work->y + at, work->x[0] + at, work->x[1] + at, &work->step->add,
                             (end - first) * line);
}

static void largest(uint8_t *restrict y, const uint8_t *restrict x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] > y[i] ? x[i] : y[i];
}

static void max_pool(const quant_work_t *work, size_t first, size_t end)
{
    const quant_step_t *step = work->step;
    const size_t K = step->op->kernel, stride = step->op->stride, C = step->out_shape.channels;
    const size_t P = step->out_shape.height, Q = step->out_shape.width, W = step->in_shape.width;
    uint8_t *y = work->y + first * Q * C;
    for (size_t at = first; at < end; at++) {
        const uint8_t *x = work->x[0] + at / P * nn_shape_count(step->in_shape);
        x += at % P * stride * W * C;
        for (size_t q = 0; q < Q; q++, x += stride * C, y += C) {
            memcpy(y, x, C);
            for (size_t i = 1; i < K * K; i++)
                largest(y, x + (i / K * W + i % K) * C, C);
        }
    }
}

static void mean(const quant_work_t *work, size_t first, size_t end)
{
    const quant_step_t *step = work->step;
    const nn_shape_t in = step->in_shape;
    const size_t pixels = in.height * in.width;
    for (size_t i = first; i < end; i++)
        work->plan->kernels->mean(work->y + i * in.channels, work->x[0] + i * pixels * in.channels,
                                  pixels, in.channels, (int32_t)pixels * step->x_at[0].zero,
                                  step->multiplier, step->y_at.zero);
}

void quant_step_run(const quant_work_t *work, size_t first, size_t end)
{
    static void (*const kinds[])(const quant_work_t *, size_t, size_t) = {
        [QUANT_STEP_QUANTIZE] = quantize, [QUANT_STEP_PRODUCT] = convolve,
        [QUANT_STEP_LOGITS] = pointwise,  [QUANT_STEP_DEPTHWISE] = depthwise,
        [QUANT_STEP_GROUPED] = grouped,   [QUANT_STEP_ADD] = add,
        [QUANT_STEP_MAX_POOL] = max_pool, [QUANT_STEP_MEAN] = mean,
    };
    if (first == end)
        return;
    if (work->step->kind == QUANT_STEP_PRODUCT && work->step->pointwise)
        pointwise(work, first, end);
    else
        kinds[work->step->kind](work, first, end);
}
