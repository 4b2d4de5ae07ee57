/* gossip/topology.h: who listens to whom, and what that means. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum {
    GOSSIP_FULL,
    GOSSIP_RING,
    GOSSIP_LINE,
    GOSSIP_STAR,
    GOSSIP_EDGES
} gossip_topology_kind_t;

typedef struct {
    uint32_t a, b;
} gossip_edge_t;

typedef struct {
    size_t peers;
    size_t *degree;        /* (peers), owned */
    uint32_t **neighbours; /* (peers)(degree) ascending, owned */
    size_t diameter;       /* 0 for a single peer */
} gossip_graph_t;

/* Builds an undirected graph. The star's centre is peer 0; `edges` counts for GOSSIP_EDGES only.
 * ERR_CONFIG: an edge to oneself, twice or out of range, or a graph in pieces (the message names a
 * peer that cannot be reached). The caller frees. */
err_t gossip_graph_init(gossip_graph_t *graph, gossip_topology_kind_t kind, size_t peers,
                        const gossip_edge_t *edges, size_t edge_count);
void gossip_graph_free(gossip_graph_t *graph);
/* ERR_CONFIG with the accepted names. */
err_t gossip_topology_parse(gossip_topology_kind_t *kind, const char *name);
const char *gossip_topology_name(gossip_topology_kind_t kind);
