/* node/learner_train.h: the inside of a learner, and how it trains a round on its data, measures
 * a model and calibrates it. What gossip asks for, what a round is trained from and what becomes of
 * it is learner.c's, what follows the last round learner_end.c's. */
#pragma once
#include "nn/infer.h"
#include "nn/train.h"
#include "node/calibration.h"
#include "node/checkpoint.h"
#include "node/learner.h"
#include "node/metrics.h"
#include "node/statistics.h"

struct node_learner_s {
    node_setup_t *setup;         /* not owned */
    const node_config_t *config; /* setup->config */
    size_t peer;                 /* index */
    const char *name;            /* of the peer */
    char *run;                   /* run folder, owned */
    node_world_t world;
    const volatile bool *interrupted;

    node_data_t data;
    nn_state_t state; /* in training, then the consensus */
    float *mixed;     /* (floats) newest mixed model: what an interrupted peer saves */
    uint32_t mixed_round;
    nn_trainer_t *trainer; /* these four are the engine's */
    nn_infer_t *infer;
    float *batch;
    int32_t *labels;
    double rates;       /* sum of the learning rates of the steps of the round in work */
    node_engine_t own;  /* unless it is lent */
    bool lent;          /* */
    float *kept;        /* (slots, floats) lent: the optimizer's state, where it is kept; owned */
    uint64_t kept_step; /* */
    uint32_t to_train;  /* round taken and not trained */
    double virtual_s;   /* when it was taken, by world.clock */
    double round_s;     /* what training it takes, by world.clock */
    node_metrics_t *metrics;
    node_statistics_t statistics;   /* of the adopted weights */
    node_attacker_t *attacker;      /* NULL: honest in what it publishes */
    node_calibration_t calibration; /* of int8, on the consensus */
    uint32_t consensus_round;
    char certified[24]; /* what the consensus's metadata says; "" ahead of it */

    uint32_t *order; /* (train.count) of the epoch */

    node_metrics_row_t row; /* of the round in work */
    node_progress_t progress;
    node_summary_t summary;
    uint32_t first_round;
    node_ledger_t earlier;     /* what earlier starts of this run have cost */
    double started_s, given_s; /* when the run began; when the last MODEL was given */
    bool merged;               /* this peer made the consensus */
};

/* Points the learner at the engine's parts. */
void node_learner_use(node_learner_t *learner, const node_engine_t *engine);

/* Tells who watches that the peer is in `phase`, with the progress as it stands. */
void node_learner_show(node_learner_t *learner, const char *phase);

/* Steps of an epoch: a last batch of one picture has no variance to normalise by and is left out.
 */
size_t node_learner_epoch_steps(const node_learner_t *learner);
/* Trains `round` (from 1) from the state as it is, and measures it on the local test set; fills the
 * row up to what is known before mixing. ERR_REFUSED: interrupted, or training diverged. */
err_t node_learner_train_round(node_learner_t *learner, uint32_t round);
/* Measures the state on `set`; leaves both as they are when it is empty. ERR_REFUSED: interrupted;
 * ERR_IO. */
err_t node_learner_evaluate(node_learner_t *learner, const data_set_t *set, double *accuracy,
                            double *loss);
/* Does what a STAGE asks for: this peer's part in calibrating int8 on the consensus, which the
 * state is; in the end it writes RUN/PEER/model-int8.safetensors. `answer` as in node_learner_act.
 * ERR_REFUSED: interrupted; ERR_IO. */
err_t node_learner_calibrate(node_learner_t *learner, const gossip_action_t *action,
                             gossip_event_t *answer, bool *answered);

/* With model.freeze the features are those of the first model, bit for bit: averaging equal numbers
 * rounds them, and estimating statistics replaces them. */
void node_learner_freeze(const node_learner_t *learner, float *values);

/* -- When training is over (learner_end.c) -- */

/* Answers ESTIMATE: statistics of the adopted weights on this peer's pictures. ERR_REFUSED when
 * interrupted. */
err_t node_learner_estimate(node_learner_t *learner, const gossip_action_t *action,
                            gossip_event_t *answer);
/* Answers MERGE: the consensus, with all peers' statistics. */
void node_learner_merge(node_learner_t *learner, const gossip_action_t *action,
                        gossip_event_t *answer);
/* CONSENSUS: saves and measures it. */
err_t node_learner_keep(node_learner_t *learner, const gossip_action_t *action);
/* The state as `file` of this peer's folder. */
err_t node_learner_save(node_learner_t *learner, const char *file, uint64_t round);
/* Removes a file of this peer that is true no longer. */
void node_learner_remove(const node_learner_t *learner, const char *file);
