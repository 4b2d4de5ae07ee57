/* The way back through an inverted residual (bottleneck.h). Weight gradients of a thread lie in its
 * partial sums by blocks, as the packed weights do: expand [block][C][channel], depthwise
 * [block][9][channel], project [block][O][channel]. */
#include <string.h>

#include "nn/bottleneck.h"
#include "nn/transpose.h"

static float *partial_expand(const nn_group_t *g, const nn_block_t *k)
{
    return nn_run_partial(g->run, g->part) + k->first * g->b->C;
}

static float *partial_depthwise(const nn_group_t *g, const nn_block_t *k)
{
    return nn_run_partial(g->run, g->part) + g->b->E * g->b->C + k->first * 9;
}

static float *partial_project(const nn_group_t *g, const nn_block_t *k)
{
    return nn_run_partial(g->run, g->part) + g->b->E * (g->b->C + 9) + k->first * g->b->O;
}

static const float *output_gradient(const nn_group_t *g)
{
    return g->run->gradients[g->step->out] + g->first * g->b->P * g->b->Q * g->b->O;
}

static float *input_gradient(const nn_group_t *g)
{
    return g->run->gradients[g->step->in[0]] + g->first * g->b->H * g->b->W * g->b->C;
}

static const float *projected(const nn_group_t *g)
{
    return g->kept->buffers[NN_KEPT_PROJECTED] + g->first * g->b->P * g->b->Q * g->b->O;
}

/* -- the last BatchNorm -------------------------------------------------------------------------
 */

static void projected_sums_group(const nn_group_t *g)
{
    nn_norm_t norm = nn_group_norm(g, 2, 0, g->b->O);
    double *sums = nn_group_sums(g, g->b->O);
    norm.height = g->count * g->b->P, norm.width = g->b->Q;
    g->kernels->norm_sums(sums, sums + g->b->O, projected(g), output_gradient(g), &norm);
}

/* -- the projection -----------------------------------------------------------------------------
 */

/* The gradient behind the middle ReLU6 turned into that behind its BatchNorm, and its sums. */
static void filtered_gradient(const nn_group_t *g, const nn_block_t *k, float *to)
{
    const nn_bottleneck_t *b = g->b;
    nn_norm_t norm = nn_group_norm(g, 1, k->first, k->channels);
    double *sums = nn_group_sums(g, b->E) + k->first;
    const float *narrow = g->run->narrow + g->first * b->P * b->Q * b->O;
    const nn_product_t product = nn_product_packed(g->out_rows, b->O, k->channels);
    g->kernels->product(to, narrow, g->run->packed + b->packed_turned + k->first * b->O, NULL,
                        false, &product);
    memset(sums, 0, k->channels * sizeof *sums);
    memset(sums + b->E, 0, k->channels * sizeof *sums);
    g->kernels->mask_sums(to, sums, sums + b->E,
                          g->kept->buffers[NN_KEPT_FILTERED] + nn_group_out(g, k), g->out_rows,
                          &norm);
}

static void project_group(const nn_group_t *g)
{
    const nn_bottleneck_t *b = g->b;
    nn_run_t *run = g->run;
    float *narrow = run->narrow + g->first * b->P * b->Q * b->O;
    nn_norm_t norm = nn_group_norm(g, 2, 0, b->O);
    norm.height = 1, norm.width = g->out_rows;
    g->kernels->norm_backward(narrow, projected(g), output_gradient(g), run->mean_g, run->mean_gx,
                              &norm);
    for (size_t i = 0; i < nn_bottleneck_blocks(b); i++) {
        const nn_block_t k = nn_bottleneck_block(b, i);
        const float *filtered = g->kept->buffers[NN_KEPT_FILTERED] + nn_group_out(g, &k);
        filtered_gradient(g, &k, b->recompute ? g->wide_out : run->wide[0] + nn_group_out(g, &k));
        norm = nn_group_norm(g, 1, k.first, k.channels);
        norm.height = 1, norm.width = g->out_rows;
        g->kernels->norm_forward(g->wide_out, filtered, &norm);
        nn_group_product_turned(g, partial_project(g, &k), narrow, g->wide_out, g->out_rows, b->O,
                                k.channels);
    }
}

/* -- the depthwise convolution ------------------------------------------------------------------
 */

/* A block's gradient g with respect to the expansion behind its BatchNorm, into `to`
 * (rows,channels), with its sums; or with respect to the input when there is no expansion. */
static void filter_block(const nn_group_t *g, const nn_block_t *k, float *to,
                         const float *filtered_g, const float *expanded)
{
    const nn_bottleneck_t *b = g->b;
    const size_t pixels = b->H * b->W, out_pixels = b->P * b->Q;
    const nn_depthwise_t d = {b->H, b->W, b->P, b->Q, b->stride, k->channels};
    const float *filtered = g->kept->buffers[NN_KEPT_FILTERED] + nn_group_out(g, k);
    const float *weights = g->run->packed + b->packed_depthwise + k->first * 9;
    double *sums = nn_group_sums(g, b->E) + k->first;
    nn_norm_t behind = nn_group_norm(g, 1, k->first, k->channels), ahead = {0};
    behind.height = b->P, behind.width = b->Q;
    if (b->expand) {
        ahead = nn_group_norm(g, 0, k->first, k->channels);
        memset(sums, 0, k->channels * sizeof *sums);
        memset(sums + b->E, 0, k->channels * sizeof *sums);
    }
    nn_group_zero_border(g->padded_in, b->H, b->W, k->channels);
    nn_group_zero_border(g->padded_out, b->P, b->Q, k->channels);
    for (size_t i = 0; i < g->count; i++) {
        const size_t at = i * pixels * k->channels, out_at = i * out_pixels * k->channels;
        g->kernels->pad_gradient(g->padded_out, filtered_g + out_at, filtered + out_at,
                                 g->run->mean_g + k->first, g->run->mean_gx + k->first, &behind);
        nn_group_pad(g, k, expanded, i);
        g->kernels->depthwise_backward_weight(partial_depthwise(g, k), g->padded_in, g->padded_out,
                                              &d);
        g->kernels->depthwise_backward_input(to + at, sums, sums + b->E, g->padded_out, weights,
                                             expanded ? expanded + at : NULL, &ahead, &d);
    }
}

/* What dx begins with: what is there already, and the gradient that goes around. */
static void begin_input_gradient(const nn_group_t *g)
{
    float *dx = input_gradient(g);
    const size_t count = g->rows * g->b->C;
    if (g->step->add_gradient[0] && g->b->residual)
        g->kernels->add(dx, output_gradient(g), count);
    else if (g->b->residual)
        memcpy(dx, output_gradient(g), count * sizeof *dx);
    else if (!g->step->add_gradient[0])
        memset(dx, 0, count * sizeof *dx);
}

static void filter_group(const nn_group_t *g)
{
    const nn_bottleneck_t *b = g->b;
    if (!b->expand || b->recompute)
        begin_input_gradient(g);
    for (size_t i = 0; i < nn_bottleneck_blocks(b); i++) {
        const nn_block_t k = nn_bottleneck_block(b, i);
        const float *filtered_g = g->run->wide[0] + nn_group_out(g, &k);
        if (b->recompute) {
            filtered_gradient(g, &k, g->wide_out);
            filter_block(g, &k, g->wide_in, g->wide_out, nn_group_expanded(g, &k));
            nn_group_product(g, input_gradient(g), g->wide_in,
                             g->kept->buffers[NN_KEPT_SCALED] + k.first * b->C, true, g->rows,
                             k.channels, b->C);
            nn_group_product_turned(g, partial_expand(g, &k), nn_group_input(g), g->wide_in,
                                    g->rows, b->C, k.channels);
        } else if (b->expand) {
            filter_block(g, &k, g->run->wide[1] + nn_group_in(g, &k), filtered_g,
                         nn_group_expanded(g, &k));
        } else {
            float *dx = input_gradient(g) + k.first;
            filter_block(g, &k, g->wide_in, filtered_g, NULL);
            for (size_t r = 0; r < g->rows; r++)
                g->kernels->add(dx + r * b->C, g->wide_in + r * k.channels, k.channels);
        }
    }
}

/* -- the expansion ------------------------------------------------------------------------------
 */

static void expand_group(const nn_group_t *g)
{
    const nn_bottleneck_t *b = g->b;
    const float *weights = nn_run_values(g->run, b->expand->weight);
    const size_t blocks = nn_bottleneck_blocks(b);
    const nn_product_t product = nn_product_dense(g->rows, b->E, b->C);
    begin_input_gradient(g);
    for (size_t first = 0, count; first < blocks; first += count) {
        count = blocks - first < g->several ? blocks - first : g->several;
        for (size_t i = 0; i < count; i++) {
            const nn_block_t k = nn_bottleneck_block(b, first + i);
            float *to = g->wide_in + i * g->rows * NN_BLOCK;
            nn_norm_t norm = nn_group_norm(g, 0, k.first, k.channels);
            norm.height = 1, norm.width = g->rows;
            g->kernels->norm_backward(to, nn_group_expanded(g, &k),
                                      g->run->wide[1] + nn_group_in(g, &k),
                                      g->run->mean_g + k.first, g->run->mean_gx + k.first, &norm);
            nn_group_product_turned(g, partial_expand(g, &k), nn_group_input(g), to, g->rows, b->C,
                                    k.channels);
        }
        nn_group_product_blocks(g, input_gradient(g), g->wide_in, weights, NULL, true, first, count,
                                &product);
    }
}

/* -- the expansion that was not kept (bottleneck.h has the formulas) ----------------------------
 */

static void scale_weights(nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    const float *weights = nn_run_values(run, b->expand->weight);
    const float *scale = run->scale + run->plan.norms[step->site[0]].channel;
    float *to = run->kept[step - run->plan.steps].buffers[NN_KEPT_SCALED];
    for (size_t e = 0; e < b->E; e++)
        for (size_t c = 0; c < b->C; c++)
            to[e * b->C + c] = scale[e] * weights[e * b->C + c];
}

/* M and k, negative. */
static void set_turn(nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    const nn_kept_t *kept = &run->kept[step - run->plan.steps];
    const float *weights = nn_run_values(run, b->expand->weight);
    const float *invstd = run->invstd + run->plan.norms[step->site[0]].channel;
    float *turn = kept->buffers[NN_KEPT_TURN], *constant = turn + b->C * b->C;
    memset(turn, 0, (b->C + 1) * b->C * sizeof *turn);
    for (size_t e = 0; e < b->E; e++) {
        const float *w = weights + e * b->C, *scaled = kept->buffers[NN_KEPT_SCALED] + e * b->C;
        for (size_t i = 0; i < b->C; i++) {
            float factor = run->mean_gx[e] * invstd[e] * w[i];
            for (size_t c = 0; c < b->C; c++)
                turn[i * b->C + c] -= factor * scaled[c];
            constant[i] -= run->mean_g[e] * scaled[i];
        }
    }
}

static void correct_group(const nn_group_t *g)
{
    const size_t C = g->b->C;
    const float *turn = g->kept->buffers[NN_KEPT_TURN], *constant = turn + C * C;
    for (size_t r = 0; r < g->rows; r += NN_TILE_ROWS) {
        size_t rows = g->rows - r < NN_TILE_ROWS ? g->rows - r : NN_TILE_ROWS;
        float *dx = input_gradient(g) + r * C;
        nn_group_center(g, g->wide_in, nn_group_input(g) + r * C, rows);
        nn_group_product(g, dx, g->wide_in, turn, true, rows, C, C);
        for (size_t i = 0; i < rows; i++)
            for (size_t c = 0; c < C; c++)
                dx[i * C + c] += constant[c];
    }
}

/* The expansion's weight gradient from sum g x. */
static void correct_weights(nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    const nn_kept_t *kept = &run->kept[step - run->plan.steps];
    const nn_norm_site_t *site = &run->plan.norms[step->site[0]];
    const double *mean = (const double *)kept->buffers[NN_KEPT_MEAN];
    const float *invstd = run->invstd + site->channel, *scale = run->scale + site->channel;
    const double count = (double)(run->n * site->rows);
    float *gradient = nn_run_gradient(run, b->expand->weight);
    for (size_t e = 0; e < b->E; e++) {
        double mean_g = (double)run->mean_g[e] * count;
        double mean_gx = (double)run->mean_gx[e] * (double)invstd[e];
        for (size_t c = 0; c < b->C; c++) {
            float *to = &gradient[e * b->C + c];
            double weighted = (double)kept->buffers[NN_KEPT_WEIGHTED][e * b->C + c];
            *to = (float)((double)scale[e] * ((double)*to - mean_g * mean[c] - mean_gx * weighted));
        }
    }
}

/* -- all of it ----------------------------------------------------------------------------------
 */

/* Sums of weight gradients, from blocks into PyTorch's order. */
static void unpack(nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    float *wide = b->expand ? nn_run_gradient(run, b->expand->weight) : NULL;
    float *filter = nn_run_gradient(run, b->depthwise->weight);
    float *project = nn_run_gradient(run, b->project->weight);
    const float *from = nn_run_collect_partial(run, step->packed_count);
    const float *from_filter = from + b->E * b->C, *from_project = from + b->E * (b->C + 9);
    for (size_t i = 0; i < nn_bottleneck_blocks(b); i++) {
        const nn_block_t k = nn_bottleneck_block(b, i);
        if (wide)
            nn_transpose(wide + k.first * b->C, b->C, from + k.first * b->C, k.channels, b->C,
                         k.channels);
        nn_transpose(filter + k.first * 9, 9, from_filter + k.first * 9, k.channels, 9, k.channels);
        for (size_t o = 0; o < b->O; o++)
            memcpy(project + o * b->E + k.first, from_project + k.first * b->O + o * k.channels,
                   k.channels * sizeof *project);
    }
}

static void collect(nn_run_t *run, const nn_step_t *step, int which)
{
    nn_run_collect_norm(run, &run->plan.norms[step->site[which]], nn_bottleneck_groups(run, step));
}

void nn_bottleneck_backward(nn_run_t *run, const nn_step_t *step)
{
    for (size_t part = 0; part < nn_threads_count(run->threads); part++)
        memset(nn_run_partial(run, part), 0, step->packed_count * sizeof(float));
    nn_bottleneck_each(run, step, projected_sums_group);
    collect(run, step, 2);
    nn_bottleneck_each(run, step, project_group);
    collect(run, step, 1);
    if (step->block.recompute)
        scale_weights(run, step);
    nn_bottleneck_each(run, step, filter_group);
    if (step->block.expand)
        collect(run, step, 0);
    if (step->block.recompute) {
        set_turn(run, step);
        nn_bottleneck_each(run, step, correct_group);
    } else if (step->block.expand) {
        nn_bottleneck_each(run, step, expand_group);
    }
    unpack(run, step);
    if (step->block.recompute)
        correct_weights(run, step);
}
