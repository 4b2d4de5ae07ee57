/* node/run.h: the run folder, runs/FEDERATION/YYYY-MM-DD_HH-MM-SS/, and what is gathered in it. */
#pragma once
#include <jansson.h>

#include "node/config.h"
#include "node/setup.h"

/* A new folder's name below runs/, or `wanted` when given. malloc'd, the caller frees. */
char *node_run_name(const node_config_t *config, const char *wanted);

/* Makes the run folder and a folder for each peer, writes config.yaml. ERR_IO. */
err_t node_run_create(const char *run, const node_config_t *config);

/* Keeps other processes from being this peer in this run until *lock is closed, or its process
 * ends. ERR_REFUSED when one is it already. Where the file system knows no locks nobody is kept
 * out, and *lock may be -1. */
err_t node_run_lock(int *lock, const char *run, const char *peer);

/* ERR_REFUSED when the folder holds a run: a new one would write over it. */
err_t node_run_refuse_old(const char *run);

/* A line to `out` for each peer that is hostile on purpose. */
void node_run_print_attackers(FILE *out, const node_config_t *config);

/* RUN/PEER/FILE or, with peer NULL, RUN/FILE. malloc'd, the caller frees. */
char *node_run_path(const char *run, const char *peer, const char *file);

/* What a peer says of itself at its end: RUN/PEER/summary.json. */
typedef struct {
    const char *stopped_by; /* "rounds", "time_limit", "stop", "neighbour", "interrupted" */
    uint64_t samples;
    uint32_t rounds; /* training rounds done */
    double wall_s;
    double test_accuracy, test_loss; /* of the consensus on the common test set; NAN not measured */
    double local_test_accuracy, local_test_loss; /* the same on its own */
    uint64_t bytes_sent, bytes_received;
    char digest[HASH_HEX]; /* SHA-256 of the consensus file, "" when there is none */
    double distance;       /* certified at the end; NAN unknown */
    char attack[NODE_ATTACK_TEXT]; /* "none", or how it lied on purpose */
} node_summary_t;
err_t node_summary_write(const char *run, const char *peer, const node_summary_t *summary);

/* Reads the peers' summaries, checks that all have one consensus, copies it to
 * RUN/consensus.safetensors and writes RUN/summary.json. *summary, when not NULL, is what was
 * written; the caller json_decrefs. ERR_REFUSED when no peer has finished; ERR_FORMAT when two
 * consensus files differ (the message names the peers). An interrupted run has a summary without
 * consensus. */
err_t node_run_gather(json_t **summary, const char *run, const node_config_t *config,
                      double wall_s);

/* Quantizes RUN/consensus.safetensors into RUN/quantized/ on the common test set as the
 * configuration says, with the bytes that the run sent, and prints the table to `out`. */
err_t node_run_quantize(const char *run, node_setup_t *setup, FILE *out);
