#include "nn/bottleneck.h"

#include <string.h>

#include "nn/transpose.h"

/* Rows that a product wants to be worth its loads of weights. */
enum { GROUP_ROWS = 128 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Bytes of expanded rows that one product sums over: they should still be in L2 then. */
enum { SEVERAL_BYTES = 128 << 10 };

static size_t several_blocks(const nn_bottleneck_t *b, size_t group)
{
    size_t pixels = b->H * b->W > b->P * b->Q ? b->H * b->W : b->P * b->Q;
    size_t count = SEVERAL_BYTES / (group * pixels * NN_BLOCK * sizeof(float));
    return count < 1 ? 1 : least(count, nn_bottleneck_blocks(b));
}

size_t nn_line_floats(size_t floats)
{
    return arena_round(floats * sizeof(float)) / sizeof(float);
}

size_t nn_bottleneck_blocks(const nn_bottleneck_t *b)
{
    return (b->E + NN_BLOCK - 1) / NN_BLOCK;
}

nn_block_t nn_bottleneck_block(const nn_bottleneck_t *b, size_t index)
{
    size_t first = index * NN_BLOCK;
    return (nn_block_t){index, first, least(NN_BLOCK, b->E - first)};
}

size_t nn_bottleneck_group(const nn_run_t *run, const nn_step_t *step)
{
    const size_t pixels = step->block.P * step->block.Q;
    const size_t threads = nn_threads_count(run->threads);
    return least((GROUP_ROWS + pixels - 1) / pixels, (run->batch + threads - 1) / threads);
}

size_t nn_bottleneck_groups(const nn_run_t *run, const nn_step_t *step)
{
    size_t group = nn_bottleneck_group(run, step);
    return (run->n + group - 1) / group;
}

size_t nn_bottleneck_scratch(const nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    size_t group = nn_bottleneck_group(run, step);
    size_t several = several_blocks(b, group);
    size_t blocks = nn_line_floats(several * group * b->H * b->W * NN_BLOCK) +
                    nn_line_floats(several * group * b->P * b->Q * NN_BLOCK) +
                    nn_line_floats((b->H + 2) * (b->W + 2) * NN_BLOCK) +
                    nn_line_floats((b->P + 2) * (b->Q + 2) * NN_BLOCK);
    if (run->mode == NN_RUN_INFER)
        blocks += nn_line_floats(group * b->P * b->Q * b->O);
    size_t tile = nn_line_floats(NN_TILE_ROWS * b->C) + nn_line_floats(b->C * b->C);
    return blocks > tile ? blocks : tile;
}

void nn_bottleneck_kept(size_t counts[NN_KEPT_COUNT], const nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    memset(counts, 0, NN_KEPT_COUNT * sizeof *counts);
    counts[NN_KEPT_FILTERED] = run->batch * b->P * b->Q * b->E;
    counts[NN_KEPT_PROJECTED] = run->batch * b->P * b->Q * b->O;
    if (b->expand && !b->recompute)
        counts[NN_KEPT_EXPANDED] = run->batch * b->H * b->W * b->E;
    if (b->recompute) {
        counts[NN_KEPT_GRAM] = 2 * nn_threads_count(run->threads) * b->C * b->C;
        counts[NN_KEPT_MEAN] = 2 * b->C;
        counts[NN_KEPT_WEIGHTED] = counts[NN_KEPT_SCALED] = b->E * b->C;
        counts[NN_KEPT_TURN] = (b->C + 1) * b->C;
    }
}

static nn_group_t make_group(nn_run_t *run, const nn_step_t *step, size_t index, size_t part)
{
    const nn_bottleneck_t *b = &step->block;
    const size_t group = nn_bottleneck_group(run, step);
    nn_group_t g = {.run = run,
                    .step = step,
                    .b = b,
                    .kernels = run->kernels,
                    .kept = &run->kept[step - run->plan.steps],
                    .index = index,
                    .part = part,
                    .first = index * group,
                    .count = least(group, run->n - index * group)};
    g.several = several_blocks(b, group);
    g.rows = g.count * b->H * b->W;
    g.out_rows = g.count * b->P * b->Q;
    g.wide_in = nn_run_scratch(run, part);
    g.wide_out = g.wide_in + nn_line_floats(g.several * group * b->H * b->W * NN_BLOCK);
    g.padded_in = g.wide_out + nn_line_floats(g.several * group * b->P * b->Q * NN_BLOCK);
    g.padded_out = g.padded_in + nn_line_floats((b->H + 2) * (b->W + 2) * NN_BLOCK);
    g.partial_out = g.padded_out;
    return g;
}

static void each_part(void *argument, size_t part)
{
    nn_run_t *run = argument;
    const size_t groups = nn_bottleneck_groups(run, run->step);
    const size_t parts = nn_threads_count(run->threads);
    for (size_t i = groups * part / parts; i < groups * (part + 1) / parts; i++) {
        nn_group_t group = make_group(run, run->step, i, part);
        run->group_work(&group);
    }
}

void nn_bottleneck_each(nn_run_t *run, const nn_step_t *step, void (*work)(const nn_group_t *g))
{
    run->step = step;
    run->group_work = work;
    nn_threads_run(run->threads, each_part, run);
}

/* Share `part` of group part / shares. */
static void each_share_part(void *argument, size_t part)
{
    nn_run_t *run = argument;
    const size_t shares = nn_threads_count(run->threads) / nn_bottleneck_groups(run, run->step);
    if (part >= shares * nn_bottleneck_groups(run, run->step))
        return;
    nn_group_t group = make_group(run, run->step, part / shares, part);
    group.share = part % shares;
    group.shares = shares;
    run->group_work(&group);
}

void nn_bottleneck_each_share(nn_run_t *run, const nn_step_t *step,
                              void (*work)(const nn_group_t *g),
                              void (*collect)(const nn_group_t *g))
{
    run->step = step;
    run->group_work = work;
    nn_threads_run(run->threads, each_share_part, run);
    run->group_work = collect;
    for (size_t part = 0; part < nn_threads_count(run->threads); part++)
        each_share_part(run, part);
}

size_t nn_group_in(const nn_group_t *g, const nn_block_t *k)
{
    return g->first * g->b->H * g->b->W * g->b->E + g->rows * k->first;
}

size_t nn_group_out(const nn_group_t *g, const nn_block_t *k)
{
    return g->first * g->b->P * g->b->Q * g->b->E + g->out_rows * k->first;
}

double *nn_group_sums(const nn_group_t *g, size_t channels)
{
    return g->run->sums + g->index * 2 * channels;
}

nn_norm_t nn_group_norm(const nn_group_t *g, int which, size_t first, size_t channels)
{
    nn_norm_t norm = nn_run_norm(g->run, &g->run->plan.norms[g->step->site[which]]);
    norm.channels = channels;
    norm.mean += first, norm.scale += first, norm.beta += first, norm.invstd += first;
    return norm;
}

void nn_group_product(const nn_group_t *g, float *c, const float *a, const float *b,
                      bool accumulate, size_t rows, size_t inner, size_t columns)
{
    nn_product_t product = nn_product_dense(rows, inner, columns);
    g->kernels->product(c, a, b, NULL, accumulate, &product);
}

void nn_group_product_blocks(const nn_group_t *g, float *c, const float *a, const float *b,
                             const float *bias, bool accumulate, size_t first, size_t count,
                             const nn_product_t *whole)
{
    const size_t channels = least(count * NN_BLOCK, g->b->E - first * NN_BLOCK);
    const size_t rest = channels % NN_BLOCK, full = channels / NN_BLOCK;
    nn_product_t product = *whole;
    product.outer = full;
    product.inner = product.a_row = NN_BLOCK;
    product.a_outer = product.rows * NN_BLOCK;
    product.b_outer = NN_BLOCK * product.b_inner;
    b += first * product.b_outer;
    if (full > 0)
        g->kernels->product(c, a, b, bias, accumulate, &product);
    a += full * product.a_outer, b += full * product.b_outer;
    product.outer = 1, product.inner = product.a_row = rest;
    if (rest > 0)
        g->kernels->product(c, a, b, bias, accumulate || full > 0, &product);
}

void nn_group_product_turned(const nn_group_t *g, float *c, const float *a, const float *b,
                             size_t rows, size_t inner_rows, size_t columns)
{
    nn_product_t product = nn_product_transposed(inner_rows, rows, columns);
    g->kernels->product(c, a, b, NULL, true, &product);
}

void nn_group_expand(const nn_group_t *g, const nn_block_t *k, float *to)
{
    const nn_product_t product = nn_product_packed(g->rows, g->b->C, k->channels);
    g->kernels->product(to, nn_group_input(g),
                        g->run->packed + g->b->packed_expand + k->first * g->b->C, NULL, false,
                        &product);
}

const float *nn_group_expanded(const nn_group_t *g, const nn_block_t *k)
{
    if (!g->b->recompute)
        return g->kept->buffers[NN_KEPT_EXPANDED] + nn_group_in(g, k);
    nn_group_expand(g, k, g->wide_in);
    return g->wide_in;
}

void nn_group_pad(const nn_group_t *g, const nn_block_t *k, const float *expanded, size_t i)
{
    const nn_bottleneck_t *b = g->b;
    const size_t pixels = b->H * b->W;
    if (b->expand) {
        nn_norm_t norm = nn_group_norm(g, 0, k->first, k->channels);
        norm.height = b->H, norm.width = b->W;
        g->kernels->pad_norm(g->padded_in, expanded + i * pixels * k->channels, k->channels, &norm);
    } else {
        nn_norm_t copy = {.height = b->H, .width = b->W, .channels = k->channels};
        g->kernels->pad_norm(g->padded_in, nn_group_input(g) + i * pixels * b->C + k->first, b->C,
                             &copy);
    }
}

void nn_bottleneck_pack(nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    const float *wide = b->expand ? nn_run_values(run, b->expand->weight) : NULL;
    const float *filter = nn_run_values(run, b->depthwise->weight);
    const float *project = nn_run_values(run, b->project->weight);
    for (size_t i = 0; i < nn_bottleneck_blocks(b); i++) {
        const nn_block_t k = nn_bottleneck_block(b, i);
        if (wide)
            nn_pack_transposed(run->packed + b->packed_expand + k.first * b->C,
                               wide + k.first * b->C, b->C, b->C, k.channels);
        nn_transpose(run->packed + b->packed_depthwise + k.first * 9, k.channels,
                     filter + k.first * 9, 9, k.channels, 9);
        if (run->mode == NN_RUN_TRAIN)
            nn_pack(run->packed + b->packed_turned + k.first * b->O, project + k.first, b->E, b->O,
                    k.channels);
    }
    nn_pack_transposed(run->packed + b->packed_project, project, b->E, b->E, b->O);
}

void nn_group_zero_border(float *padded, size_t height, size_t width, size_t channels)
{
    const size_t row = (width + 2) * channels;
    memset(padded, 0, (row + channels) * sizeof *padded); /* with the first of the next row */
    for (size_t h = 1; h < height; h++) /* the last of a row and the first of the next */
        memset(padded + (h + 1) * row - channels, 0, 2 * channels * sizeof *padded);
    memset(padded + (height + 1) * row - channels, 0, (row + channels) * sizeof *padded);
}

void nn_group_center(const nn_group_t *g, float *to, const float *x, size_t rows)
{
    const size_t C = g->b->C;
    const double *mean = (const double *)g->kept->buffers[NN_KEPT_MEAN];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < C; c++)
            to[r * C + c] = x[r * C + c] - (float)mean[c];
}
