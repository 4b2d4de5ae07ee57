/* The way forward through an inverted residual with the batch's statistics (bottleneck.h). */
#include <string.h>

#include "nn/bottleneck.h"

/* A variance that is so much smaller than its terms has lost digits to them. */
#define CANCELLED 1e-3

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void take_moments(const nn_group_t *g, const nn_block_t *k, const float *x, size_t rows,
                         size_t channels)
{
    double *sums = nn_group_sums(g, channels) + k->first;
    g->kernels->moments(sums, sums + channels, x, rows, k->channels);
}

static void expand_group(const nn_group_t *g)
{
    for (size_t i = 0; i < nn_bottleneck_blocks(g->b); i++) {
        const nn_block_t k = nn_bottleneck_block(g->b, i);
        float *to = g->kept->buffers[NN_KEPT_EXPANDED] + nn_group_in(g, &k);
        nn_group_expand(g, &k, to);
        take_moments(g, &k, to, g->rows, g->b->E);
    }
}

static void input_moments_group(const nn_group_t *g)
{
    double *sums = nn_group_sums(g, g->b->C);
    g->kernels->moments(sums, sums + g->b->C, nn_group_input(g), g->rows, g->b->C);
}

static void merge_input_mean(nn_run_t *run, const nn_step_t *step)
{
    const size_t C = step->block.C, group = nn_bottleneck_group(run, step);
    double *mean = (double *)run->kept[step - run->plan.steps].buffers[NN_KEPT_MEAN];
    memset(mean, 0, C * sizeof *mean);
    for (size_t i = 0; i < nn_bottleneck_groups(run, step); i++) {
        double share = (double)least(group, run->n - i * group) / (double)run->n;
        for (size_t c = 0; c < C; c++)
            mean[c] += share * run->sums[i * 2 * C + c];
    }
}

static double *thread_gram(const nn_kept_t *kept, const nn_bottleneck_t *b, size_t part)
{
    return (double *)kept->buffers[NN_KEPT_GRAM] + part * b->C * b->C;
}

/* Adds the group's sums of products of the centred input: float within a tile, double beyond. */
static void gram_group(const nn_group_t *g)
{
    const size_t C = g->b->C;
    float *sum = g->wide_in, *tile = sum + nn_line_floats(C * C);
    double *to = thread_gram(g->kept, g->b, g->part);
    for (size_t r = 0; r < g->rows; r += NN_TILE_ROWS) {
        size_t rows = least(NN_TILE_ROWS, g->rows - r);
        nn_group_center(g, tile, nn_group_input(g) + r * C, rows);
        memset(sum, 0, C * C * sizeof *sum);
        nn_group_product_turned(g, sum, tile, tile, rows, C, C);
        for (size_t i = 0; i < C * C; i++)
            to[i] += (double)sum[i];
    }
}

/* Moments of the expanded channels of a group, computed and thrown away. */
static void expanded_moments_group(const nn_group_t *g)
{
    for (size_t i = 0; i < nn_bottleneck_blocks(g->b); i++) {
        const nn_block_t k = nn_bottleneck_block(g->b, i);
        nn_group_expand(g, &k, g->wide_in);
        take_moments(g, &k, g->wide_in, g->rows, g->b->E);
    }
}

/* The moments of the expanded channels from those of the input (bottleneck.h). */
static void expanded_moments(nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    const nn_kept_t *kept = &run->kept[step - run->plan.steps];
    const nn_norm_site_t *site = &run->plan.norms[step->site[0]];
    const float *weights = nn_run_values(run, b->expand->weight);
    const double *mean = (const double *)kept->buffers[NN_KEPT_MEAN];
    double *gram = thread_gram(kept, b, 0), count = (double)(run->n * site->rows);
    CHECK(b->C <= NN_RECOMPUTE_CHANNELS);
    memset(gram, 0, nn_threads_count(run->threads) * b->C * b->C * sizeof *gram);
    nn_bottleneck_each(run, step, gram_group);
    for (size_t part = 1; part < nn_threads_count(run->threads); part++)
        for (size_t i = 0; i < b->C * b->C; i++)
            gram[i] += thread_gram(kept, b, part)[i];
    bool cancelled = false;
    for (size_t e = 0; e < b->E; e++) {
        const float *w = weights + e * b->C;
        double expanded_mean = 0, m2 = 0, terms = 0, weighted[NN_RECOMPUTE_CHANNELS] = {0};
        for (size_t i = 0; i < b->C; i++)
            for (size_t c = 0; c < b->C; c++)
                weighted[c] += (double)w[i] * gram[i * b->C + c];
        for (size_t c = 0; c < b->C; c++) {
            kept->buffers[NN_KEPT_WEIGHTED][e * b->C + c] = (float)weighted[c];
            m2 += weighted[c] * (double)w[c];
            terms += (double)w[c] * (double)w[c] * gram[c * b->C + c];
            expanded_mean += (double)w[c] * mean[c];
        }
        cancelled |= m2 < CANCELLED * terms;
        run->batch_mean[site->channel + e] = expanded_mean;
        run->batch_var[site->channel + e] = m2 > 0 ? m2 / count : 0;
    }
    if (cancelled) { /* input channels that are nearly one another's sums */
        nn_bottleneck_each(run, step, expanded_moments_group);
        nn_run_merge_moments(run, site, nn_bottleneck_group(run, step));
    }
    nn_run_set_norm(run, site);
}

/* The depthwise convolution of a block into `to` (out_rows, channels). */
static void filter(const nn_group_t *g, const nn_block_t *k, float *to)
{
    const nn_bottleneck_t *b = g->b;
    const nn_depthwise_t d = {b->H, b->W, b->P, b->Q, b->stride, k->channels};
    const float *weights = g->run->packed + b->packed_depthwise + k->first * 9;
    const float *expanded = b->expand ? nn_group_expanded(g, k) : NULL;
    nn_group_zero_border(g->padded_in, b->H, b->W, k->channels);
    for (size_t i = 0; i < g->count; i++) {
        nn_group_pad(g, k, expanded, i);
        g->kernels->depthwise_forward(to + i * b->P * b->Q * k->channels, g->padded_in, weights,
                                      NULL, 0.0f, 0.0f, &d);
    }
}

static void filter_group(const nn_group_t *g)
{
    for (size_t i = 0; i < nn_bottleneck_blocks(g->b); i++) {
        const nn_block_t k = nn_bottleneck_block(g->b, i);
        float *to = g->kept->buffers[NN_KEPT_FILTERED] + nn_group_out(g, &k);
        filter(g, &k, to);
        take_moments(g, &k, to, g->out_rows, g->b->E);
    }
}

static void project_group(const nn_group_t *g)
{
    const nn_bottleneck_t *b = g->b;
    const nn_block_t whole = {0, 0, b->O};
    const size_t blocks = nn_bottleneck_blocks(b);
    const nn_product_t product = nn_product_packed(g->out_rows, b->E, b->O);
    float *to = g->kept->buffers[NN_KEPT_PROJECTED] + g->first * b->P * b->Q * b->O;
    for (size_t first = 0, count; first < blocks; first += count) {
        count = least(g->several, blocks - first);
        for (size_t i = 0; i < count; i++) {
            const nn_block_t k = nn_bottleneck_block(b, first + i);
            nn_norm_t norm = nn_group_norm(g, 1, k.first, k.channels);
            norm.height = 1, norm.width = g->out_rows;
            g->kernels->norm_forward(g->wide_out + i * g->out_rows * NN_BLOCK,
                                     g->kept->buffers[NN_KEPT_FILTERED] + nn_group_out(g, &k),
                                     &norm);
        }
        nn_group_product_blocks(g, to, g->wide_out, g->run->packed + b->packed_project, NULL,
                                first > 0, first, count, &product);
    }
    take_moments(g, &whole, to, g->out_rows, b->O);
}

/* The last BatchNorm, and the input added. */
static void output_group(const nn_group_t *g)
{
    const nn_bottleneck_t *b = g->b;
    float *to = g->run->activations[g->step->out] + g->first * b->P * b->Q * b->O;
    nn_norm_t norm = nn_group_norm(g, 2, 0, b->O);
    norm.height = 1, norm.width = g->out_rows;
    g->kernels->norm_forward(
        to, g->kept->buffers[NN_KEPT_PROJECTED] + g->first * b->P * b->Q * b->O, &norm);
    if (b->residual)
        g->kernels->add(to, nn_group_input(g), g->out_rows * b->O);
}

static void merge(nn_run_t *run, const nn_step_t *step, int which)
{
    const nn_norm_site_t *site = &run->plan.norms[step->site[which]];
    nn_run_merge_moments(run, site, nn_bottleneck_group(run, step));
    nn_run_set_norm(run, site);
}

void nn_bottleneck_forward(nn_run_t *run, const nn_step_t *step)
{
    if (step->block.recompute) {
        nn_bottleneck_each(run, step, input_moments_group);
        merge_input_mean(run, step);
        expanded_moments(run, step);
    } else if (step->block.expand) {
        nn_bottleneck_each(run, step, expand_group);
        merge(run, step, 0);
    }
    nn_bottleneck_each(run, step, filter_group);
    merge(run, step, 1);
    nn_bottleneck_each(run, step, project_group);
    merge(run, step, 2);
    nn_bottleneck_each(run, step, output_group);
}
