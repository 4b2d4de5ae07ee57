/* node/initial.h: the model that a federation starts from: model.init, or drawn from the seed. */
#pragma once
#include "nn/net.h"
#include "node/config.h"

typedef struct {
    nn_state_t state; /* every peer's first, the same bits */
    hash_t digest;    /* of the file */
    char *text;       /* one line for people: which file, and what became of its head; NULL when
                         the model is drawn */
} node_initial_t;

/* Reads model.init when it is given, else draws. The file's head is replaced by one drawn from the
 * seed when it has another number of classes, or names others. `net` outlives it. ERR_IO,
 * ERR_FORMAT, each naming the file. The caller frees. */
err_t node_initial_init(node_initial_t *initial, const node_config_t *config, const nn_net_t *net,
                        const char *const *class_names);
/* The digest as text, or "drawn": what members agree on, and what a checkpoint keeps. */
void node_initial_digest(char out[HASH_HEX], const node_initial_t *initial);
/* A run that is gone on with needs the file that it began from. ERR_IO when model.init names one
 * that is not there. */
err_t node_initial_check_resume(const node_config_t *config);
void node_initial_free(node_initial_t *initial);
