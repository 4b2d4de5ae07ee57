/* node/checkpoint.h: where a peer goes on from: weights, statistics, counters, optimizer, round.
 *
 * RUN/PEER/checkpoint.safetensors is written after every mix, the one before it is kept as
 * checkpoint.previous.safetensors: peers interrupted a round apart have a round in common. The
 * position in the random streams is the round: every stream is made anew from (seed, peer, epoch).
 */
#pragma once
#include "nn/train.h"
#include "node/setup.h"

/* What a run has cost the peer so far, over all its starts. */
typedef struct {
    uint64_t bytes_sent, bytes_received;
    double seconds;
} node_ledger_t;

/* `trainer` NULL: the optimizer starts anew every round and is not saved. ERR_IO; the checkpoint
 * that was there is still there then. */
err_t node_checkpoint_save(const char *run, const char *peer, const node_setup_t *setup,
                           const nn_state_t *state, nn_trainer_t *trainer, uint32_t round,
                           const node_ledger_t *ledger);

/* Whether the peer has one at all, whole or not. */
bool node_checkpoint_exists(const char *run, const char *peer);

/* Loads the newest whole checkpoint, or with `wanted` != UINT32_MAX the one of that round. A
 * damaged one is named in the log and the other taken. Checks federation, classes, normalisation,
 * names, shapes, finiteness and the checksum. The one that was taken is the newest from then on.
 * ERR_REFUSED when there is none, ERR_CONFIG when it is of another model. */
err_t node_checkpoint_load(nn_state_t *state, nn_trainer_t *trainer, uint32_t *round,
                           node_ledger_t *ledger, const char *run, const char *peer,
                           const node_setup_t *setup, uint32_t wanted);

/* The newest round that every peer has a whole checkpoint of. ERR_REFUSED when there is none: the
 * message lists what each has. */
err_t node_checkpoint_common(uint32_t *round, const char *run, const node_setup_t *setup);
