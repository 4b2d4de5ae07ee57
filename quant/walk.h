/* quant/walk.h: a float model run operation by operation, a picture at a time, with every tensor
 * shown: for calibration and for comparing layers. A picture's numbers depend on the picture, the
 * model and the CPU level, and on nothing else: not on who is in the batch, not on threads. */
#pragma once
#include "nn/kernels.h"
#include "nn/net.h"

typedef struct {
    const nn_state_t *state; /* not owned */
    const nn_kernels_t *kernels;
    float **packed;       /* (op_count) weights as the kernels take them, owned */
    size_t *place;        /* (tensor_count) of each tensor in the memory of a picture, owned */
    size_t float_count;   /* floats of the memory that a picture needs */
    size_t scratch_place; /* in it */
} quant_walk_t;

/* Packs the weights of `state`, on a folded net (quant/fold.h). ERR_CONFIG: a BATCH_NORM in the
 * list; ERR_MEMORY. The caller frees. */
err_t quant_walk_init(quant_walk_t *walk, const nn_state_t *state);
void quant_walk_free(quant_walk_t *walk);

/* Called with each tensor of the list as soon as it is written, the input first; FLATTEN's in
 * PyTorch's order (C,H,W). `values` is gone when the next operation runs. */
typedef void (*quant_visit_t)(void *argument, size_t tensor, const float *values);
/* One picture; DROPOUT does nothing. Returns the logits (classes), in `memory`. Several threads may
 * run one walk, each with its own memory.
 *   scratch memory (float_count), 64-byte-aligned
 *   in  x (H,W,3), normalised */
const float *quant_walk_picture(const quant_walk_t *walk, float *memory, const float *x,
                                quant_visit_t visit, void *argument);
