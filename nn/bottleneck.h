/* nn/bottleneck.h: MobileNetV2's inverted residual (Sandler et al. 2018) as one step:
 *
 *   x (H,W,C) -> expand 1x1 -> norm, ReLU6 -> depthwise 3x3 -> norm, ReLU6 -> project 1x1 -> norm
 *     [+ x] -> y (P,Q,O)
 *
 * The expanded tensors are some ten times as large as x and y, so what this step does is touch
 * memory for them as seldom as it can: they are worked on in groups of pictures and blocks of at
 * most NN_BLOCK channels, and lie in memory as [group][block][picture][pixel][channel of the
 * block]. Normalisation and ReLU6 are done while reading, moments are taken while writing. Between
 * the parts of a pass stand the BatchNorms, which need the whole batch.
 *
 * With `recompute` what the expansion puts out is never stored. Its moments follow from those of x:
 * with G = sum (x - mean x)(x - mean x)^T over the batch, channel e = w_e x has mean w_e mean x and
 * variance w_e G w_e^T / count. On the way back, with g the gradient behind norm and ReLU6,
 *   dz_e = scale_e (g_e - mean(g_e) - xhat_e mean(g_e xhat_e)),
 *   xhat_e = invstd_e w_e (x - mean x)
 * is linear in g and x, so that dx and dw need g only once, before its means are known:
 *   dx   = sum_e scale_e w_e g_e - k - M (x - mean x),
 *   k    = sum_e scale_e mean(g_e) w_e,
 *   M    = sum_e scale_e mean(g_e xhat_e) invstd_e w_e^T w_e,
 *   dw_e = scale_e (sum g_e x - mean(g_e) sum x - mean(g_e xhat_e) invstd_e w_e G) */
#pragma once
#include "nn/run.h"

/* Floats of scratch a thread. */
size_t nn_bottleneck_scratch(const nn_run_t *run, const nn_step_t *step);
/* Floats of each buffer that the step keeps (NN_KEPT_*), for run->batch pictures. */
void nn_bottleneck_kept(size_t counts[NN_KEPT_COUNT], const nn_run_t *run, const nn_step_t *step);

/* Weights of the state of the call under way into run->packed; with running statistics also the
 * BatchNorms. */
void nn_bottleneck_pack(nn_run_t *run, const nn_step_t *step);
void nn_bottleneck_fold(nn_run_t *run, const nn_step_t *step);
/* Forward with the batch's statistics (bottleneck_forward.c), and with running ones
 * (bottleneck_infer.c). */
void nn_bottleneck_forward(nn_run_t *run, const nn_step_t *step);
void nn_bottleneck_infer(nn_run_t *run, const nn_step_t *step);
/* Fills the gradients of the step's weights and of its input (bottleneck_backward.c). */
void nn_bottleneck_backward(nn_run_t *run, const nn_step_t *step);

/* -- what the directions share --------------------------------------------------------------
 */

/* The pictures that are worked on together, and where a thread works on them. */
typedef struct nn_group_s {
    nn_run_t *run;
    const nn_step_t *step;
    const nn_bottleneck_t *b;
    const nn_kernels_t *kernels;
    const nn_kept_t *kept;
    size_t index;                  /* of the group */
    size_t part;                   /* of the thread */
    size_t share, shares;          /* which share of the blocks, when threads share a group */
    size_t first, count;           /* pictures */
    size_t rows, out_rows;         /* pixels of them, before and behind the depthwise convolution */
    float *wide_in, *wide_out;     /* scratch for `several` blocks of (rows, NN_BLOCK) and
                                      (out_rows, NN_BLOCK) */
    size_t several;                /* blocks that one product sums over */
    float *partial_out;            /* scratch (out_rows, O), INFER */
    float *padded_in, *padded_out; /* scratch (H+2,W+2,NN_BLOCK), (P+2,Q+2,NN_BLOCK) */
} nn_group_t;

enum { NN_TILE_ROWS = 64 }; /* of the input, centred at a time */

/* A block of expanded channels. */
typedef struct {
    size_t index, first, channels;
} nn_block_t;

/* Floats rounded up to whole cache lines. */
size_t nn_line_floats(size_t floats);
size_t nn_bottleneck_blocks(const nn_bottleneck_t *b);
nn_block_t nn_bottleneck_block(const nn_bottleneck_t *b, size_t index);
/* Pictures of a full group, and groups of the call under way. */
size_t nn_bottleneck_group(const nn_run_t *run, const nn_step_t *step);
size_t nn_bottleneck_groups(const nn_run_t *run, const nn_step_t *step);
/* Runs `work` for every group of run->step, the groups shared among the threads. */
void nn_bottleneck_each(nn_run_t *run, const nn_step_t *step, void (*work)(const nn_group_t *g));

/* The same with fewer groups than threads: every group is worked on by several threads, each with
 * its share; then `collect` for every share in order, on one thread. */
void nn_bottleneck_each_share(nn_run_t *run, const nn_step_t *step,
                              void (*work)(const nn_group_t *g),
                              void (*collect)(const nn_group_t *g));

/* The group's pictures as the step gets them (rows, C). */
static inline const float *nn_group_input(const nn_group_t *g)
{
    return nn_run_input(g->run, g->step, g->first);
}

/* Where a block of the group is in a tensor (n, pixels, E) in groups and blocks. */
size_t nn_group_in(const nn_group_t *g, const nn_block_t *k);
size_t nn_group_out(const nn_group_t *g, const nn_block_t *k);
/* The group's sums (2, channels of the BatchNorm), at channel `first`. */
double *nn_group_sums(const nn_group_t *g, size_t channels);
/* A BatchNorm's parameters from channel `first` on, for `channels` of them. */
nn_norm_t nn_group_norm(const nn_group_t *g, int which, size_t first, size_t channels);
/* c (rows, columns) = [c +] a (rows, inner) b (inner, columns), all dense. */
void nn_group_product(const nn_group_t *g, float *c, const float *a, const float *b,
                      bool accumulate, size_t rows, size_t inner, size_t columns);
/* c (rows, columns) = [c, or bias if not NULL] + the sum over `count` blocks from `first` on of
 * a (rows, channels) b (channels, columns): a block after block, all but E's last full; b the rows
 * of these channels of (E, columns), whose product is `whole`. */
void nn_group_product_blocks(const nn_group_t *g, float *c, const float *a, const float *b,
                             const float *bias, bool accumulate, size_t first, size_t count,
                             const nn_product_t *whole);
/* c (inner_rows, columns) += a^T b: a (rows, inner_rows), b (rows, columns), all dense. */
void nn_group_product_turned(const nn_group_t *g, float *c, const float *a, const float *b,
                             size_t rows, size_t inner_rows, size_t columns);
/* The block's expanded channels before their BatchNorm (rows, channels): computed into `to`; or as
 * kept, or computed into g->wide_in. Not for steps without expansion. */
void nn_group_expand(const nn_group_t *g, const nn_block_t *k, float *to);
const float *nn_group_expanded(const nn_group_t *g, const nn_block_t *k);
/* The border of (height+2, width+2, channels). */
void nn_group_zero_border(float *padded, size_t height, size_t width, size_t channels);
/* to (rows, C) = x - mean of the input, for `recompute`. */
void nn_group_center(const nn_group_t *g, float *to, const float *x, size_t rows);
/* Picture i of the group as the depthwise convolution reads it, into g->padded_in. `expanded` as
 * nn_group_expanded gives it. */
void nn_group_pad(const nn_group_t *g, const nn_block_t *k, const float *expanded, size_t i);
