/* gossip/topology.h: who sends to whom in an exchange, and what that means.
 *
 * A topology is a rule: the graph of an exchange follows from it and the exchange's number alone,
 * with integer arithmetic, so all peers have the same one without a word. Static rules give one
 * graph for all exchanges. Drawn ones (one-peer exponential, epidemic, regular and Erdos-Renyi with
 * `redraw`) give each exchange its own; a single one may be in pieces, those of many exchanges
 * together are not. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum {
    GOSSIP_FULL,
    GOSSIP_RING,
    GOSSIP_LINE,
    GOSSIP_STAR,        /* the centre is peer 0 */
    GOSSIP_TORUS,       /* the most square grid of all peers, both ways closed */
    GOSSIP_REGULAR,     /* random, every peer has `degree` neighbours (Steger, Wormald 1999) */
    GOSSIP_ERDOS_RENYI, /* random, every pair is joined with `edge_probability` */
    GOSSIP_EXPONENTIAL, /* peers 1, 2, 4, ... places apart are joined, both ways, so that samples
                         * weigh (Ying 2021 has the same graph in one direction) */
    GOSSIP_ONE_PEER_EXPONENTIAL, /* directed: in exchange t to the peer 2^(t mod ceil(log2 n))
                                  * places on (Ying 2021) */
    GOSSIP_EPIDEMIC, /* de Vos 2023. Oracle: a random `degree`-regular graph every exchange.
                      * `local`, directed: each peer draws `degree` others to send to */
    GOSSIP_EDGES     /* a list; the last kind */
} gossip_topology_kind_t;

typedef struct {
    uint32_t a, b;
} gossip_edge_t;

typedef struct {
    gossip_topology_kind_t kind;
    size_t peers;  /* 1 .. 2^31 */
    size_t degree; /* REGULAR, EPIDEMIC: 1 .. peers - 1; a single peer's is not looked at */
    double edge_probability; /* ERDOS_RENYI: (0, 1], in steps of 2^-32 */
    bool redraw;             /* REGULAR, ERDOS_RENYI: anew every exchange */
    bool local;              /* EPIDEMIC */
    uint64_t seed;
    const gossip_edge_t *edges; /* EDGES: (edge_count), not owned */
    size_t edge_count;
} gossip_topology_t;

typedef struct {
    size_t peers;
    bool directed;
    size_t *degree;           /* (peers) whom it sends to, owned */
    uint32_t **neighbours;    /* (peers)(degree) ascending, owned */
    size_t *in_degree;        /* (peers) whom it hears from; undirected: the very same arrays */
    uint32_t **in_neighbours; /* (peers)(in_degree) ascending */
    size_t diameter;          /* of a static rule's graph, else 0; 0 for a single peer */
} gossip_graph_t;

/* The graph of exchange `round` (static rules: any number, the same graph). A static one is
 * measured: diameter, and in one piece. The caller frees.
 * ERR_CONFIG, with what to change: gossip_topology_check's; of a static graph one in pieces (names
 * a peer that cannot be reached). */
err_t gossip_graph_at(gossip_graph_t *graph, const gossip_topology_t *rule, uint64_t round);
/* The same for a static rule that needs no more than this. */
err_t gossip_graph_init(gossip_graph_t *graph, gossip_topology_kind_t kind, size_t peers,
                        const gossip_edge_t *edges, size_t edge_count);
void gossip_graph_free(gossip_graph_t *graph);
/* The most neighbours that a peer sends to. */
size_t gossip_graph_degree(const gossip_graph_t *graph);

/* ERR_CONFIG: no peers; a degree or probability out of range, an odd number of ends, peers that
 * make no grid; an edge to oneself, twice or out of range. */
err_t gossip_topology_check(const gossip_topology_t *rule);
/* Whether each exchange has a graph of its own. */
bool gossip_topology_drawn(const gossip_topology_t *rule);
/* Whether all models of a mix weigh alike, 1 / (received + 1), whatever the samples: one-peer
 * exponential and epidemic. All others mix by gossip_weights. */
bool gossip_topology_equal(const gossip_topology_t *rule);
/* Exchanges after which a rule that draws nothing at random begins again: ceil(log2 peers) for
 * one-peer exponential, else 1. */
size_t gossip_topology_period(const gossip_topology_t *rule);

/* ERR_CONFIG with the accepted names. */
err_t gossip_topology_parse(gossip_topology_kind_t *kind, const char *name);
const char *gossip_topology_name(gossip_topology_kind_t kind);
