/* tests/gossip/scripted.h: a federation out of a golden file: numbers one after the other, written
 * by a script of tests/golden/. A test reads, in the file's order, with these and
 * scripted_number. */
#pragma once
#include <stdio.h>

#include "tests/gossip/federation.h"

enum { SCRIPTED_EDGES = 8, SCRIPTED_PEERS = 8, SCRIPTED_ROUNDS = 16, SCRIPTED_FLOATS = 32 };

typedef struct {
    federation_t f; /* first: federation_node takes it */
    FILE *file;
    gossip_edge_t edges[SCRIPTED_EDGES];
    float moves[SCRIPTED_ROUNDS * SCRIPTED_PEERS * SCRIPTED_FLOATS];
} scripted_t;

double scripted_number(FILE *file);
/* Goes on in `file` (closed by scripted_close): reads peers, weights, channels, rounds and how many
 * edges. The graph is one of edges, nobody has a deadline. */
void scripted_open(scripted_t *s, FILE *file, gossip_scheme_t scheme);
void scripted_edges(scripted_t *s);
/* federation_init, the model that all start with, and what training adds for each round and peer.
 */
void scripted_models(scripted_t *s);
/* Runs to the end; each peer's model behind training is the file's next floats, to 1e-5. */
void scripted_run(scripted_t *s, gossip_sim_node_fn *node);
void scripted_close(scripted_t *s);
