#include <string.h>

#include "nn/bottleneck.h"

/* Where the gradient of picture i's in[0] goes: into place, or into `spare` to be added. */
static float *input_gradient(const nn_run_t *run, const nn_step_t *step, size_t i)
{
    float *to = step->add_gradient[0] ? run->spare : run->gradients[step->in[0]];
    return to + i * nn_shape_count(step->in_shape);
}

static void conv_part(nn_run_t *run, const nn_step_t *step, size_t part, size_t first, size_t end)
{
    const nn_conv2d_t *d = &step->conv;
    const size_t group = nn_conv2d_pictures(d);
    float *dw = nn_run_partial(run, part), *db = dw + step->packed_count;
    memset(dw, 0, (step->packed_count + d->O) * sizeof *dw);
    for (size_t i = first; i < end; i += group)
        nn_conv2d_backward(step->in[0] != 0 ? input_gradient(run, step, i) : NULL, dw, db,
                           nn_run_input(run, step, i),
                           run->gradients[step->out] + i * nn_shape_count(step->out_shape),
                           run->packed + step->packed, run->packed + step->turned, d,
                           end - i < group ? end - i : group, nn_run_scratch(run, part),
                           run->kernels);
}

static void conv_collect(nn_run_t *run, const nn_step_t *step)
{
    float *dw = nn_run_collect_partial(run, step->packed_count + step->conv.O);
    float *db = dw + step->packed_count;
    nn_conv2d_unpack(nn_run_gradient(run, step->op->weight), dw, &step->conv);
    if (step->op->bias != NN_NONE)
        memcpy(nn_run_gradient(run, step->op->bias), db, step->conv.O * sizeof *db);
}

static void dense_part(nn_run_t *run, const nn_step_t *step, size_t part, size_t first, size_t end)
{
    const size_t I = step->in_shape.channels, O = step->out_shape.channels;
    const size_t parts = nn_threads_count(run->threads);
    const bool flat = step->layout.height * step->layout.width > 1;
    const float *w = flat ? run->packed + step->packed : nn_run_values(run, step->op->weight);
    const float *dy = run->gradients[step->out];
    nn_dense_backward_weight(flat ? run->partial : nn_run_gradient(run, step->op->weight),
                             nn_run_gradient(run, step->op->bias), nn_run_input(run, step, 0), dy,
                             run->n, I, O, O * part / parts, O * (part + 1) / parts, run->kernels);
    if (end > first)
        nn_dense_backward_input(input_gradient(run, step, first), dy + first * O, w, end - first, I,
                                O, run->kernels);
}

static void dense_collect(nn_run_t *run, const nn_step_t *step)
{
    const nn_shape_t l = step->layout;
    if (l.height * l.width > 1)
        nn_dense_unpack(nn_run_gradient(run, step->op->weight), run->partial,
                        step->out_shape.channels, l.height, l.width, l.channels);
}

static void norm_sums_part(void *argument, size_t part)
{
    nn_run_t *run = argument;
    const nn_step_t *step = run->step;
    const size_t C = step->in_shape.channels;
    size_t first, end;
    nn_norm_t norm = nn_run_norm_step(run, step);
    nn_run_part(run, part, &first, &end);
    for (size_t i = first; i < end; i++)
        run->kernels->norm_sums(
            run->sums + i * 2 * C, run->sums + (i * 2 + 1) * C, nn_run_input(run, step, i),
            run->gradients[step->out] + i * nn_shape_count(step->out_shape), &norm);
}

/* One picture of the other kinds. */
static void backward_picture(nn_run_t *run, const nn_step_t *step, size_t i)
{
    const size_t out = nn_shape_count(step->out_shape), count = nn_shape_count(step->in_shape);
    const nn_shape_t in = step->in_shape;
    const float *x = nn_run_input(run, step, i), *dy = run->gradients[step->out] + i * out;
    float *dx = input_gradient(run, step, i);
    if (step->kind == NN_STEP_NORM) {
        nn_norm_t norm = nn_run_norm_step(run, step);
        run->kernels->norm_backward(dx, x, dy, run->mean_g, run->mean_gx, &norm);
    } else if (step->kind == NN_STEP_CLAMP) {
        run->kernels->clamp_backward(dx, run->activations[step->out] + i * out, dy, step->low,
                                     step->high, out);
    } else if (step->kind == NN_STEP_FAKE_QUANT) {
        run->kernels->fake_quant_backward(dx, x, dy, step->op->scale, step->op->zero, out);
    } else if (step->kind == NN_STEP_MAX_POOL) {
        nn_max_pool_backward(dx, x, dy, in.height, in.width, in.channels, step->op->kernel,
                             step->op->stride);
    } else if (step->kind == NN_STEP_GLOBAL_AVG_POOL) {
        nn_global_avg_pool_backward(dx, dy, in.height * in.width, in.channels);
    } else if (step->kind == NN_STEP_ADD) {
        float *dx2 = run->gradients[step->in[1]] + i * count;
        memcpy(dx, dy, count * sizeof *dx);
        if (step->add_gradient[1])
            run->kernels->add(dx2, dy, count);
        else
            memcpy(dx2, dy, count * sizeof *dx2);
    } else {
        const float *mask = run->masks[step - run->plan.steps] + i * out;
        for (size_t k = 0; k < out; k++)
            dx[k] = dy[k] * mask[k];
    }
}

static void backward_part(void *argument, size_t part)
{
    nn_run_t *run = argument;
    const nn_step_t *step = run->step;
    size_t first, end;
    nn_run_part(run, part, &first, &end);
    if (step->kind == NN_STEP_CONV2D)
        conv_part(run, step, part, first, end);
    else if (step->kind == NN_STEP_DENSE)
        dense_part(run, step, part, first, end);
    else
        for (size_t i = first; i < end; i++)
            backward_picture(run, step, i);
    if (step->add_gradient[0] && end > first)
        run->kernels->add(run->gradients[step->in[0]] + first * nn_shape_count(step->in_shape),
                          input_gradient(run, step, first),
                          (end - first) * nn_shape_count(step->in_shape));
}

void nn_run_backward(nn_run_t *run, const nn_state_t *state)
{
    CHECK(run->mode == NN_RUN_TRAIN);
    run->state = state;
    for (size_t s = run->plan.step_count; s-- > 0;) {
        const nn_step_t *step = run->step = &run->plan.steps[s];
        nn_run_mark(run, 2 * run->plan.step_count - s);
        if (step->kind == NN_STEP_BOTTLENECK) {
            nn_bottleneck_backward(run, step);
            continue;
        }
        if (step->kind == NN_STEP_NORM) {
            nn_threads_run(run->threads, norm_sums_part, run);
            nn_run_collect_norm(run, &run->plan.norms[step->site[0]], run->n);
        }
        nn_threads_run(run->threads, backward_part, run);
        if (step->kind == NN_STEP_CONV2D)
            conv_collect(run, step);
        else if (step->kind == NN_STEP_DENSE)
            dense_collect(run, step);
    }
    nn_run_mark(run, 2 * run->plan.step_count + 1);
}
