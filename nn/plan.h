/* nn/plan.h: the list of operations lowered into fused steps: BatchNorm takes the activation and
 * the 2x2 pooling behind it along, an inverted residual is one step, a flatten costs nothing,
 * dropout is left out where there is none. Each buffer gets its place in memory from the time it is
 * needed. */
#pragma once
#include "nn/layers.h"
#include "nn/net.h"

typedef enum {
    NN_STEP_CONV2D,
    NN_STEP_NORM,  /* BatchNorm [+ ReLU or ReLU6] [+ 2x2 max pool] */
    NN_STEP_CLAMP, /* ReLU or ReLU6 on its own */
    NN_STEP_MAX_POOL,
    NN_STEP_GLOBAL_AVG_POOL,
    NN_STEP_ADD,
    NN_STEP_DROPOUT,
    NN_STEP_DENSE,
    NN_STEP_FAKE_QUANT,
    NN_STEP_BOTTLENECK /* an inverted residual, whole (bottleneck.h) */
} nn_step_kind_t;

/* One BatchNorm, in whatever step it is done. */
typedef struct {
    const nn_op_t *op;
    size_t rows, channels; /* of its input: pixels of a picture */
    size_t channel;        /* offset into arrays over the channels of all BatchNorms */
    float low, high;       /* of the activation behind it */
} nn_norm_site_t;

enum { NN_RECOMPUTE_CHANNELS = 32 }; /* most of an input whose expansion is computed twice */

/* [1x1 convolution, BatchNorm, ReLU6,] 3x3 depthwise convolution, BatchNorm, ReLU6, 1x1
 * convolution, BatchNorm [, + input]. */
typedef struct {
    const nn_op_t *expand; /* NULL: the depthwise convolution reads the input */
    const nn_op_t *depthwise, *project;
    bool residual;
    size_t H, W, P, Q, stride; /* of the depthwise convolution, padded by 1 */
    size_t C, E, O;            /* channels: of the input, expanded, of the output */
    bool recompute;            /* the expansion is cheaper to compute twice than to keep */
    size_t packed_expand, packed_depthwise, packed_project, packed_turned,
        packed_bias; /* offsets */
} nn_bottleneck_t;

typedef struct {
    nn_step_kind_t kind;
    const nn_op_t *op;           /* the one whose entries it uses */
    int in[2], out;              /* tensors that have a buffer of their own */
    nn_shape_t in_shape, layout; /* of in[0]; DENSE: layout is the shape before a flatten */
    nn_shape_t out_shape;
    nn_conv2d_t conv;
    nn_bottleneck_t block; /* BOTTLENECK */
    int site[3];           /* norms: NORM [0]; BOTTLENECK behind expand, depthwise, project */
    float low, high;       /* CLAMP */
    bool pool;             /* NORM */
    size_t packed, turned; /* CONV2D, DENSE: offsets into the packed weights */
    size_t packed_count;   /* elements of one form */
    int norm;              /* CONV2D: the NORM step that alone reads it, or NN_NONE */
    bool has_moments;      /* NORM: the convolution before takes its moments */
    bool add_gradient[2];  /* the gradient of in[i] is added to, not written */
} nn_step_t;

typedef struct {
    const nn_net_t *net;
    nn_step_t *steps; /* (step_count), owned */
    size_t step_count;
    nn_norm_site_t *norms; /* (norm_count), owned: every BatchNorm, in order */
    size_t norm_count;
    size_t packed_count;  /* floats of all packed weights */
    size_t packed_max;    /* floats of the largest one form, plus its outputs */
    size_t scratch_count; /* floats of scratch a thread, but for BOTTLENECK steps */
    size_t channel_count; /* channels of all BatchNorms */
    size_t channel_max;   /* of one */
    size_t spare_count;   /* floats a picture of gradients that are added */
    int logits;           /* tensor */
} nn_plan_t;

/* ERR_CONFIG: an operation that no step can do (too many channels for BatchNorm's kernels, padding
 * as wide as the kernel). The caller frees. */
err_t nn_plan_init(nn_plan_t *plan, const nn_net_t *net, bool training);
void nn_plan_free(nn_plan_t *plan);

size_t nn_shape_count(nn_shape_t shape);

/* A buffer that is needed from time `first` to `last` inclusive. */
typedef struct {
    size_t count, first, last;
    size_t offset; /* out */
} nn_span_t;

/* Gives every span a place so that no two that live at once overlap; returns the whole size. */
size_t nn_spans_place(nn_span_t *spans, size_t count);
/* Spans of tensors (tensor_count of them, count 0 where there is no buffer), a picture, time being
 * the step's index: of activations when run forward only, of gradients when run backward (time
 * running from the last step to the first). */
void nn_plan_activation_spans(nn_span_t *spans, const nn_plan_t *plan);
void nn_plan_gradient_spans(nn_span_t *spans, const nn_plan_t *plan);
