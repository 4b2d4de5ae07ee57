/* nn/bench.h: how fast a network trains or runs on this machine, on random pictures; layer by layer
 * beside the work that each must do, and beside what arithmetic and memory are able to. */
#pragma once
#include "nn/train.h"

typedef struct {
    bool train; /* else inference with running statistics */
    size_t batch;
    int threads;
    nn_optimizer_t optimizer; /* of training */
    double seconds;           /* steps are taken until this time has passed, at least one */
    size_t repeats;           /* when not 0: so many steps, whatever the time */
    bool layers;              /* read the clock at every step of the plan */
    uint64_t seed;            /* of pictures, labels and dropout */
} nn_bench_options_t;

/* One way through a layer, for a whole batch. */
typedef struct {
    double operations; /* nominal: a multiplication and an addition are two */
    double bytes;      /* the least traffic: inputs, outputs, weights, each once */
    double seconds;    /* median */
} nn_bench_way_t;

/* One step of the plan. */
typedef struct {
    char name[NN_NAME_MAX]; /* what its operations' names have in common */
    const char *kind;       /* "conv2d" */
    nn_shape_t in, out;
    nn_bench_way_t forward, backward; /* backward is zero for inference */
} nn_bench_layer_t;

typedef struct {
    size_t steps;                  /* measured; warming up is not among them */
    double median_s, min_s, max_s; /* of a step */
    double operations;             /* nominal, of a step: of convolutions and dense layers */
    uint64_t allocations;          /* of nn/ after the first step */
    float *x;                      /* (batch,H,W,3) the first pictures, owned */
    float *logits;                 /* (batch,classes) of them; inference only, owned */
    nn_bench_layer_t *layers;      /* (layer_count) with options.layers, owned */
    size_t layer_count;
    double pack_s, loss_s, optimize_s; /* what a step does beside layers, medians; with layers */
} nn_bench_t;

/* Takes steps on `state`, which training moves on. ERR_CONFIG: batch or threads out of range;
 * ERR_MEMORY. The caller frees, after an error as well. */
err_t nn_bench_run(nn_bench_t *result, nn_state_t *state, const nn_bench_options_t *options);
void nn_bench_free(nn_bench_t *result);

/* Somebody else's inference, as nn_infer_run: logits (n,classes) of x (n,H,W,3). */
typedef void nn_bench_infer_t(void *argument, float *logits, const float *x, size_t n);
/* Times that of `net` in the same way; options->train and options->layers must be false. */
err_t nn_bench_infer(nn_bench_t *result, const nn_net_t *net, nn_bench_infer_t *infer,
                     void *argument, const nn_bench_options_t *options);

/* What the CPU level in use can do with all of `threads` at work at once. */
typedef struct {
    double fma_gflops;  /* float32 multiply-adds on registers, two operations each */
    double l2_gb_s;     /* triad a = b + s c on arrays that fit L2: two read, one written */
    double memory_gb_s; /* the same on arrays far larger than any cache */
} nn_ceilings_t;

/* Takes about a second and, for that time, 192 MiB. ERR_CONFIG: threads out of range; ERR_MEMORY.
 */
err_t nn_ceilings_measure(nn_ceilings_t *ceilings, int threads);
