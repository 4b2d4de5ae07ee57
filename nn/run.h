/* nn/run.h: a plan with memory and threads: what training, inference and statistics share. */
#pragma once
#include "nn/memory.h"
#include "nn/plan.h"
#include "nn/threads.h"

typedef enum {
    NN_RUN_INFER,      /* BatchNorm with running statistics */
    NN_RUN_STATISTICS, /* BatchNorm with the batch's, forward only */
    NN_RUN_TRAIN       /* BatchNorm with the batch's, everything kept for the way back */
} nn_run_mode_t;

/* What a BOTTLENECK step keeps from its forward parts for later ones (bottleneck.h). */
enum {
    NN_KEPT_EXPANDED,  /* (n, H*W, E) in groups and blocks, raw; none with `recompute` */
    NN_KEPT_FILTERED,  /* (n, P*Q, E) in groups and blocks, raw */
    NN_KEPT_PROJECTED, /* (n, P*Q, O) raw */
    NN_KEPT_GRAM,      /* (threads, C,C) double: sums of products of the centred input; this and
                          what follows with `recompute` */
    NN_KEPT_MEAN,      /* (C) double: of the input */
    NN_KEPT_WEIGHTED,  /* (E,C) the expansion's weights times gram */
    NN_KEPT_SCALED,    /* (E,C) the expansion's weights times its BatchNorm's scale */
    NN_KEPT_TURN,      /* (C,C) M, and (C) k of bottleneck.h, negative */
    NN_KEPT_COUNT
};
typedef struct {
    float *buffers[NN_KEPT_COUNT];
} nn_kept_t;

struct nn_group_s;

typedef struct {
    nn_run_mode_t mode;
    nn_plan_t plan;
    size_t batch; /* most pictures at once */
    nn_threads_t *threads;
    const nn_kernels_t *kernels;
    arena_t arena;                  /* holds all that follows */
    float **activations;            /* (tensor_count), NULL where a tensor has no buffer */
    float **gradients;              /* (tensor_count), TRAIN */
    float **masks;                  /* (step_count), of DROPOUT steps */
    float *packed;                  /* (plan.packed_count) */
    float *scratch;                 /* (threads, scratch_count) */
    size_t scratch_count;           /* floats a thread, a multiple of a cache line */
    float *partial;                 /* (threads, plan.packed_max) weight gradients, TRAIN */
    float *spare;                   /* (batch, plan.spare_count), TRAIN */
    nn_kept_t *kept;                /* (step_count), of BOTTLENECK steps */
    float *wide[2], *narrow;        /* gradients inside a BOTTLENECK, TRAIN: as `filtered`, as
                                       `expanded`, as `projected` of the largest */
    double *sums;                   /* (batch, 2, plan.channel_max) */
    float *mean, *invstd, *scale;   /* (plan.channel_count) in use */
    double *batch_mean, *batch_var; /* (plan.channel_count) of the last batch, biased */
    float *mean_g, *mean_gx;        /* (plan.channel_max) */
    float *gradient;                /* (float_count) as the float buffer, TRAIN */
    double *times; /* (2 * step_count + 3) seconds, see nn_run_mark; NULL: no clock is read */
    double marked; /* when nn_run_mark was last called */
    /* The call under way */
    const nn_state_t *state;
    const float *x;
    size_t n;
    const nn_step_t *step;
    void (*group_work)(const struct nn_group_s *group); /* of a BOTTLENECK */
} nn_run_t;

err_t nn_run_new(nn_run_t **run, const nn_net_t *net, nn_run_mode_t mode, size_t batch,
                 int threads);
void nn_run_destroy(nn_run_t **run);

/* Packs weights and runs forward. `dropout` is needed by plans with DROPOUT steps. Returns the
 * logits (n,classes), good until the next call. */
const float *nn_run_forward(nn_run_t *run, const nn_state_t *state, const float *x, size_t n,
                            rng_t *dropout);
/* The same, the weights being packed already. */
const float *nn_run_forward_packed(nn_run_t *run, const nn_state_t *state, const float *x, size_t n,
                                   rng_t *dropout);
void nn_run_pack(nn_run_t *run, const nn_state_t *state);
/* Fills run->gradient; run->gradients[plan.logits] holds that of the logits. */
void nn_run_backward(nn_run_t *run, const nn_state_t *state);

/* Mean and biased variance of the batch at a BatchNorm, out of the sums that parts of `pictures`
 * pictures each (the last may have fewer) have left in run->sums [part][2][channels]: mean, and sum
 * of squared deviation from it. In the order of the parts, so it does not matter which
 * thread did which. */
void nn_run_merge_moments(nn_run_t *run, const nn_norm_site_t *site, size_t pictures);
/* mean, invstd and scale of a BatchNorm: the batch's, or the running ones. */
void nn_run_set_norm(nn_run_t *run, const nn_norm_site_t *site);
/* Gradients of gamma and beta, and mean_g and mean_gx, from the sums that `parts` parts have left
 * in run->sums. */
void nn_run_collect_norm(nn_run_t *run, const nn_norm_site_t *site, size_t parts);

/* Adds the time since the last mark to times[k]. With S steps, what passes before step s goes
 * forward has k = s, before it goes back k = 2S - s, and k = S and 2S + 1 end the two ways: so step
 * s has times[s + 1] and times[2S + 1 - s], the loss times[S + 1]; k = 2S + 2 is the caller's. */
void nn_run_mark(nn_run_t *run, size_t k);
/* What runs inside a trainer and an inference: for measuring. */
struct nn_trainer_s;
struct nn_infer_s;
nn_run_t *nn_trainer_run(const struct nn_trainer_s *trainer);
nn_run_t *nn_infer_inner_run(const struct nn_infer_s *infer);

/* Pictures first .. end-1 of the call under way are part `part`'s. */
void nn_run_part(const nn_run_t *run, size_t part, size_t *first, size_t *end);
const float *nn_run_input(const nn_run_t *run, const nn_step_t *step, size_t picture);
/* A BatchNorm as its kernels take it, without height and width. */
nn_norm_t nn_run_norm(const nn_run_t *run, const nn_norm_site_t *site);
/* The same with the shape of a NORM step. */
nn_norm_t nn_run_norm_step(const nn_run_t *run, const nn_step_t *step);
/* A thread's scratch memory, and its sums of weight gradients. */
float *nn_run_scratch(const nn_run_t *run, size_t part);
float *nn_run_partial(const nn_run_t *run, size_t part);
/* Adds up what the threads have of weight gradients, in their order; returns the sum. */
float *nn_run_collect_partial(nn_run_t *run, size_t count);
/* An entry's place in run->gradient; NULL for NN_NONE. */
float *nn_run_gradient(const nn_run_t *run, int entry);
/* An entry's values in the state of the call under way; NULL for NN_NONE. */
const float *nn_run_values(const nn_run_t *run, int entry);
