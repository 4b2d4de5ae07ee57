/* node/aware.h: rounds that train with weights and activations rounded as int8 will have them
 * (train.quantization_aware_rounds). What is trained, told and mixed is the whole model as ever,
 * with its BatchNorms; each step computes with it folded and rounded (quant/qat.h), and gradients
 * go back through the folding. Statistics are estimated on the peer's own pictures when a round
 * begins, and frozen in it, as are ranges in its second half. A round needs nothing of the one
 * before but the model: who resumes goes on to the same bits. */
#pragma once
#include "nn/train.h"
#include "node/config.h"
#include "quant/qat.h"

typedef struct {
    nn_net_t *net;         /* folded, owned */
    nn_state_t folded;     /* owned */
    quant_integer_t start; /* what ranges begin from, owned */
    quant_qat_t *qat;      /* owned; NULL: the round is an ordinary one */
    size_t step, steps;    /* done, in the round */
} node_aware_t;

/* `round` (from 1) is one of the last train.quantization_aware_rounds. */
bool node_aware_round(const node_config_t *config, uint32_t round);
/* For a round of `steps` steps. in-out state: its running statistics become those of `set`, in the
 * order of `peer`. ERR_REFUSED: interrupted; ERR_FORMAT: the state is not sound. The caller frees,
 * also behind an error. */
err_t node_aware_begin(node_aware_t *aware, nn_state_t *state, const data_set_t *set,
                       const node_config_t *config, size_t peer, size_t steps,
                       const volatile bool *interrupted);
void node_aware_free(node_aware_t *aware);
/* Instead of nn_trainer_step, with `trainer`'s optimizer; x is rounded on return. ERR_FORMAT: the
 * state holds NaN or infinite values. */
err_t node_aware_step(node_aware_t *aware, nn_trainer_t *trainer, nn_state_t *state, double *loss,
                      size_t *correct, float *x, const int32_t *labels, size_t n);
