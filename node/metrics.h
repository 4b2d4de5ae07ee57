/* node/metrics.h: RUN/PEER/metrics.jsonl, one line of JSON a round. */
#pragma once
#include <stdint.h>

#include "base/err.h"

/* NAN is written as null: not measured. */
typedef struct {
    uint32_t round;
    double time_s;                               /* since the peer started */
    double train_loss, train_accuracy;           /* means over the round's batches */
    double local_test_accuracy, local_test_loss; /* before mixing */
    double test_accuracy, test_loss;             /* after mixing, common test set */
    double consensus_distance;                   /* largest to a neighbour, before mixing */
    uint32_t certified_round;                    /* an earlier one; 0: none is complete */
    double certified_distance;                   /* bound of it; NAN unknown */
    uint32_t heard, missing;                     /* neighbours' models */
    uint32_t cut;      /* of those heard: clipped, left out, or not chosen, by gossip.robust */
    const char *codec; /* of the models that travelled */
    uint64_t bytes_sent, bytes_received; /* since the peer started, through the sockets */
    double train_s, wait_s, mix_s;
} node_metrics_row_t;

/* A row of `round` with everything else unknown. */
node_metrics_row_t node_metrics_row(uint32_t round);

typedef struct node_metrics_s node_metrics_t;

/* Opens the file for appending; lines of rounds from `first_round` on, left by an earlier start,
 * are taken out first. ERR_IO. */
err_t node_metrics_open(node_metrics_t **metrics, const char *run, const char *peer,
                        uint32_t first_round);
void node_metrics_close(node_metrics_t **metrics);
/* Writes one line and flushes it; adds rss_mb, the process's memory now. */
err_t node_metrics_write(node_metrics_t *metrics, const node_metrics_row_t *row);
