/* node/identity.h: the federation hash, and the gossip configuration that carries it. */
#pragma once
#include "node/setup.h"

/* Fills setup->sections and setup->federation: protocol, state table, input, class names,
 * normalisation, seed, the file of model.init, algorithm, weights, codec, topology's rule. Not the list of peers, the
 * number of rounds or any path. */
void node_identity(node_setup_t *setup);

/* What gossip needs to know for peer `self` with n_i = `samples`. Points into `setup` and `names`
 * ((peer_count), owned by the caller). */
gossip_config_t node_gossip_config(const node_setup_t *setup, const char *const *names, size_t self,
                                   uint64_t samples);
