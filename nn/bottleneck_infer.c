/* An inverted residual with running statistics: the BatchNorms are folded into the weights, nothing
 * waits for the batch, and no expanded tensor leaves the cache. */
#include <string.h>

#include "nn/bottleneck.h"

/* Pictures at least so wide are expanded row by row, straight to where they are padded. */
enum { ROW_PIXELS = 16 };

/* Where the folded weights and biases are; `packed_turned` has the biases: (E), (E), (O). */
typedef struct {
    const float *expand, *depthwise, *project;
    const float *expand_bias, *depthwise_bias, *project_bias;
} folded_t;

static folded_t folded(const nn_run_t *run, const nn_bottleneck_t *b)
{
    const float *bias = run->packed + b->packed_bias;
    return (folded_t){.expand = run->packed + b->packed_expand,
                      .depthwise = run->packed + b->packed_depthwise,
                      .project = run->packed + b->packed_project,
                      .expand_bias = bias,
                      .depthwise_bias = bias + b->E,
                      .project_bias = bias + 2 * b->E};
}

/* Multiplies packed weights, panels of (rows, width), by a BatchNorm's scale, and sets its bias. */
static void fold(nn_run_t *run, const nn_step_t *step, int which, float *weights, float *bias,
                 size_t rows, size_t width, size_t first, size_t channels)
{
    const nn_norm_t norm = nn_run_norm(run, &run->plan.norms[step->site[which]]);
    for (size_t panel = first; panel < first + channels; panel += width)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < width; c++)
                *weights++ *= norm.scale[panel + c];
    for (size_t c = first; c < first + channels; c++)
        bias[c] = norm.beta[c] - norm.mean[c] * norm.scale[c];
}

void nn_bottleneck_fold(nn_run_t *run, const nn_step_t *step)
{
    const nn_bottleneck_t *b = &step->block;
    float *packed = run->packed, *bias = packed + b->packed_bias;
    for (int i = b->expand ? 0 : 1; i < 3; i++)
        nn_run_set_norm(run, &run->plan.norms[step->site[i]]);
    for (size_t i = 0; i < nn_bottleneck_blocks(b); i++) {
        const nn_block_t k = nn_bottleneck_block(b, i);
        if (b->expand)
            fold(run, step, 0, packed + b->packed_expand + k.first * b->C, bias, b->C,
                 nn_panel_width(k.channels), k.first, k.channels);
        fold(run, step, 1, packed + b->packed_depthwise + k.first * 9, bias + b->E, 9, k.channels,
             k.first, k.channels);
    }
    fold(run, step, 2, packed + b->packed_project, bias + 2 * b->E, b->E, nn_panel_width(b->O), 0,
         b->O);
}

/* c (rows, channels) = clamp(x w + bias) */
static void expand_rows(const nn_group_t *g, const nn_block_t *k, float *c, const float *x,
                        size_t rows)
{
    const folded_t w = folded(g->run, g->b);
    const nn_norm_site_t *site = &g->run->plan.norms[g->step->site[0]];
    nn_product_t product = nn_product_packed(rows, g->b->C, k->channels);
    product.clamp = true;
    product.low = site->low;
    product.high = site->high;
    g->kernels->product(c, x, w.expand + k->first * g->b->C, w.expand_bias + k->first, false,
                        &product);
}

/* Picture i as the depthwise convolution reads it, into g->padded_in. */
static void expand_picture(const nn_group_t *g, const nn_block_t *k, size_t i)
{
    const nn_bottleneck_t *b = g->b;
    const size_t pixels = b->H * b->W;
    const float *x = nn_run_input(g->run, g->step, g->first + i);
    nn_norm_t copy = {.height = b->H, .width = b->W, .channels = k->channels};
    if (!b->expand)
        g->kernels->pad_norm(g->padded_in, x + k->first, b->C, &copy);
    else if (b->W >= ROW_PIXELS)
        for (size_t h = 0; h < b->H; h++)
            expand_rows(g, k, g->padded_in + ((h + 1) * (b->W + 2) + 1) * k->channels,
                        x + h * b->W * b->C, b->W);
    else
        g->kernels->pad_norm(g->padded_in, g->wide_in + i * pixels * k->channels, k->channels,
                             &copy);
}

/* A block's depthwise convolution of the group, into `to` (out_rows, channels). */
static void filter(const nn_group_t *g, const nn_block_t *k, float *to)
{
    const nn_bottleneck_t *b = g->b;
    const folded_t w = folded(g->run, b);
    const nn_norm_site_t *site = &g->run->plan.norms[g->step->site[1]];
    const nn_depthwise_t d = {b->H, b->W, b->P, b->Q, b->stride, k->channels};
    if (b->expand && b->W < ROW_PIXELS)
        expand_rows(g, k, g->wide_in, nn_group_input(g), g->rows);
    for (size_t picture = 0; picture < g->count; picture++) {
        expand_picture(g, k, picture);
        g->kernels->depthwise_forward(to + picture * b->P * b->Q * k->channels, g->padded_in,
                                      w.depthwise + k->first * 9, w.depthwise_bias + k->first,
                                      site->low, site->high, &d);
    }
}

/* to (out_rows, O) = what blocks first .. end-1 give, with the bias if first is 0. */
static void infer_blocks(const nn_group_t *g, float *to, size_t first, size_t end)
{
    const nn_bottleneck_t *b = g->b;
    const folded_t w = folded(g->run, b);
    const nn_product_t project = nn_product_packed(g->out_rows, b->E, b->O);
    nn_group_zero_border(g->padded_in, b->H, b->W, NN_BLOCK);
    for (size_t at = first, count; at < end; at += count) {
        count = end - at < g->several ? end - at : g->several;
        for (size_t i = 0; i < count; i++) {
            const nn_block_t k = nn_bottleneck_block(b, at + i);
            if (k.channels < NN_BLOCK)
                nn_group_zero_border(g->padded_in, b->H, b->W, k.channels);
            filter(g, &k, g->wide_out + i * g->out_rows * NN_BLOCK);
        }
        nn_group_product_blocks(g, to, g->wide_out, w.project, at == 0 ? w.project_bias : NULL,
                                at > first, at, count, &project);
    }
}

static float *output(const nn_group_t *g)
{
    return g->run->activations[g->step->out] + g->first * g->b->P * g->b->Q * g->b->O;
}

static void add_input(const nn_group_t *g)
{
    if (g->b->residual)
        g->kernels->add(output(g), nn_group_input(g), g->out_rows * g->b->O);
}

static void infer_group(const nn_group_t *g)
{
    infer_blocks(g, output(g), 0, nn_bottleneck_blocks(g->b));
    add_input(g);
}

/* Fewer groups than threads: the threads share the blocks of each, and their sums are added. */
static void infer_share(const nn_group_t *g)
{
    const size_t blocks = nn_bottleneck_blocks(g->b);
    const size_t first = blocks * g->share / g->shares, end = blocks * (g->share + 1) / g->shares;
    float *to = g->share == 0 ? output(g) : g->partial_out;
    memset(to, 0, (first == end) * g->out_rows * g->b->O * sizeof *to);
    infer_blocks(g, to, first, end);
    if (g->share == 0)
        add_input(g);
}

static void add_share(const nn_group_t *g)
{
    if (g->share > 0)
        g->kernels->add(output(g), g->partial_out, g->out_rows * g->b->O);
}

void nn_bottleneck_infer(nn_run_t *run, const nn_step_t *step)
{
    if (nn_bottleneck_groups(run, step) >= nn_threads_count(run->threads))
        nn_bottleneck_each(run, step, infer_group);
    else
        nn_bottleneck_each_share(run, step, infer_share, add_share);
}
