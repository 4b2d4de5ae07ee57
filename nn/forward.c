#include <string.h>

#include "nn/bottleneck.h"

void nn_run_pack(nn_run_t *run, const nn_state_t *state)
{
    const nn_plan_t *plan = &run->plan;
    run->state = state;
    for (size_t s = 0; s < plan->step_count; s++) {
        const nn_step_t *step = &plan->steps[s];
        float *packed = run->packed + step->packed;
        if (step->kind == NN_STEP_CONV2D)
            nn_conv2d_pack(
                packed,
                run->mode == NN_RUN_TRAIN && step->in[0] != 0 ? run->packed + step->turned : NULL,
                nn_run_values(run, step->op->weight), &step->conv);
        else if (step->kind == NN_STEP_DENSE && step->layout.height * step->layout.width > 1)
            nn_dense_pack(packed, nn_run_values(run, step->op->weight), step->out_shape.channels,
                          step->layout.height, step->layout.width, step->layout.channels);
        else if (step->kind == NN_STEP_BOTTLENECK)
            nn_bottleneck_pack(run, step);
        if (step->kind == NN_STEP_BOTTLENECK && run->mode == NN_RUN_INFER)
            nn_bottleneck_fold(run, step);
    }
}

static void take_moments(nn_run_t *run, const nn_step_t *norm, const float *x, size_t picture)
{
    const size_t C = norm->in_shape.channels;
    double *sums = run->sums + picture * 2 * C;
    run->kernels->moments(sums, sums + C, x, norm->in_shape.height * norm->in_shape.width, C);
}

static void conv_part(nn_run_t *run, const nn_step_t *step, size_t part, size_t first, size_t end)
{
    const size_t count = nn_shape_count(step->out_shape);
    const bool moments = step->norm != NN_NONE && run->mode != NN_RUN_INFER;
    const size_t group = nn_conv2d_pictures(&step->conv);
    for (size_t i = first; i < end;) {
        float *y = run->activations[step->out] + i * count;
        size_t n = end - i < group ? end - i : group;
        nn_conv2d_forward(y, nn_run_input(run, step, i), run->packed + step->packed,
                          nn_run_values(run, step->op->bias), &step->conv, n,
                          nn_run_scratch(run, part), run->kernels);
        for (; n > 0; n--, i++, y += count)
            if (moments)
                take_moments(run, &run->plan.steps[step->norm], y, i);
    }
}

static void dense_part(nn_run_t *run, const nn_step_t *step, size_t first, size_t end)
{
    const size_t I = step->in_shape.channels, O = step->out_shape.channels;
    const float *w = step->layout.height * step->layout.width > 1
                         ? run->packed + step->packed
                         : nn_run_values(run, step->op->weight);
    if (end > first)
        nn_dense_forward(run->activations[step->out] + first * O, nn_run_input(run, step, first), w,
                         nn_run_values(run, step->op->bias), end - first, I, O);
}

/* One picture of the other kinds. */
static void forward_picture(nn_run_t *run, const nn_step_t *step, size_t i)
{
    const size_t out = nn_shape_count(step->out_shape);
    const nn_shape_t in = step->in_shape;
    const float *x = nn_run_input(run, step, i);
    float *y = run->activations[step->out] + i * out;
    if (step->kind == NN_STEP_NORM) {
        nn_norm_t norm = nn_run_norm_step(run, step);
        run->kernels->norm_forward(y, x, &norm);
    } else if (step->kind == NN_STEP_CLAMP) {
        run->kernels->clamp(y, x, step->low, step->high, out);
    } else if (step->kind == NN_STEP_FAKE_QUANT) {
        run->kernels->fake_quant(y, x, step->op->scale, step->op->zero, out);
    } else if (step->kind == NN_STEP_MAX_POOL) {
        nn_max_pool_forward(y, x, in.height, in.width, in.channels, step->op->kernel,
                            step->op->stride);
    } else if (step->kind == NN_STEP_GLOBAL_AVG_POOL) {
        nn_global_avg_pool_forward(y, x, in.height * in.width, in.channels);
    } else if (step->kind == NN_STEP_ADD) {
        memcpy(y, x, out * sizeof *y);
        run->kernels->add(y, run->activations[step->in[1]] + i * out, out);
    } else {
        const float *mask = run->masks[step - run->plan.steps] + i * out;
        for (size_t k = 0; k < out; k++)
            y[k] = x[k] * mask[k];
    }
}

static void forward_part(void *argument, size_t part)
{
    nn_run_t *run = argument;
    const nn_step_t *step = run->step;
    size_t first, end;
    nn_run_part(run, part, &first, &end);
    if (step->kind == NN_STEP_CONV2D)
        conv_part(run, step, part, first, end);
    else if (step->kind == NN_STEP_DENSE)
        dense_part(run, step, first, end);
    else
        for (size_t i = first; i < end; i++)
            forward_picture(run, step, i);
}

static void moments_part(void *argument, size_t part)
{
    nn_run_t *run = argument;
    size_t first, end;
    nn_run_part(run, part, &first, &end);
    for (size_t i = first; i < end; i++)
        take_moments(run, run->step, nn_run_input(run, run->step, i), i);
}

static void draw_mask(nn_run_t *run, const nn_step_t *step, rng_t *dropout)
{
    float *mask = run->masks[step - run->plan.steps], keep = 1.0f - step->op->dropout;
    CHECK(dropout);
    for (size_t i = 0; i < run->n * nn_shape_count(step->out_shape); i++)
        mask[i] = rng_float(dropout) < keep ? 1.0f / keep : 0.0f;
}

const float *nn_run_forward_packed(nn_run_t *run, const nn_state_t *state, const float *x, size_t n,
                                   rng_t *dropout)
{
    CHECK(n >= 1 && n <= run->batch);
    run->state = state;
    run->x = x;
    run->n = n;
    for (size_t s = 0; s < run->plan.step_count; s++) {
        const nn_step_t *step = run->step = &run->plan.steps[s];
        nn_run_mark(run, s);
        if (step->kind == NN_STEP_BOTTLENECK) {
            if (run->mode == NN_RUN_INFER)
                nn_bottleneck_infer(run, step);
            else
                nn_bottleneck_forward(run, step);
            continue;
        }
        if (step->kind == NN_STEP_NORM) {
            const nn_norm_site_t *site = &run->plan.norms[step->site[0]];
            bool batch = run->mode != NN_RUN_INFER;
            if (batch && !step->has_moments)
                nn_threads_run(run->threads, moments_part, run);
            if (batch)
                nn_run_merge_moments(run, site, 1);
            nn_run_set_norm(run, site);
        } else if (step->kind == NN_STEP_DROPOUT) {
            draw_mask(run, step, dropout);
        }
        nn_threads_run(run->threads, forward_part, run);
    }
    nn_run_mark(run, run->plan.step_count);
    return run->activations[run->plan.logits];
}

const float *nn_run_forward(nn_run_t *run, const nn_state_t *state, const float *x, size_t n,
                            rng_t *dropout)
{
    nn_run_pack(run, state);
    return nn_run_forward_packed(run, state, x, n, dropout);
}
