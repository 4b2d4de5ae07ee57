#include "gossip/topology.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"full", "ring", "line", "star", "edges"};

err_t gossip_topology_parse(gossip_topology_kind_t *kind, const char *name)
{
    err_t err = ERR_OK;
    for (int i = 0; i <= GOSSIP_STAR; i++)
        if (!strcmp(name, names[i])) {
            *kind = (gossip_topology_kind_t)i;
            return ERR_OK;
        }
    FAIL(ERR_CONFIG, "no topology `%s`; there are full, ring, line, star, or a list of edges",
         name);
out:
    return err;
}

const char *gossip_topology_name(gossip_topology_kind_t kind)
{
    return names[kind];
}

/* Whether the rule joins a and b, a < b; GOSSIP_EDGES is not a rule. */
static bool joined(gossip_topology_kind_t kind, size_t peers, size_t a, size_t b)
{
    switch (kind) {
    case GOSSIP_FULL:
        return true;
    case GOSSIP_RING:
        return b == a + 1 || (a == 0 && b == peers - 1);
    case GOSSIP_LINE:
        return b == a + 1;
    case GOSSIP_STAR:
        return a == 0;
    default:
        return false;
    }
}

static bool has_neighbour(const gossip_graph_t *graph, size_t a, size_t b)
{
    for (size_t k = 0; k < graph->degree[a]; k++)
        if (graph->neighbours[a][k] == b)
            return true;
    return false;
}

static void join(gossip_graph_t *graph, size_t a, size_t b)
{
    for (int side = 0; side < 2; side++) {
        size_t n = graph->degree[a]++;
        graph->neighbours[a] = xrealloc(graph->neighbours[a], n + 1, sizeof(uint32_t));
        while (n > 0 && graph->neighbours[a][n - 1] > b) {
            graph->neighbours[a][n] = graph->neighbours[a][n - 1];
            n--;
        }
        graph->neighbours[a][n] = (uint32_t)b;
        size_t swap = a;
        a = b;
        b = swap;
    }
}

static err_t join_edges(gossip_graph_t *graph, const gossip_edge_t *edges, size_t edge_count)
{
    err_t err = ERR_OK;
    for (size_t e = 0; e < edge_count; e++) {
        size_t a = edges[e].a, b = edges[e].b;
        if (a >= graph->peers || b >= graph->peers)
            FAIL(ERR_CONFIG, "edge %zu names peer %zu, there are %zu (counted from 0)", e + 1,
                 a > b ? a : b, graph->peers);
        if (a == b)
            FAIL(ERR_CONFIG, "edge %zu joins peer %zu with itself", e + 1, a);
        if (has_neighbour(graph, a, b))
            FAIL(ERR_CONFIG, "edge %zu joins peers %zu and %zu a second time", e + 1, a, b);
        join(graph, a, b);
    }
out:
    return err;
}

/* Breadth-first distances from `start`; returns the largest, or SIZE_MAX with *cut_off set. */
static size_t farthest(const gossip_graph_t *graph, size_t start, size_t *distance, size_t *queue,
                       size_t *cut_off)
{
    size_t head = 0, tail = 0, most = 0;
    for (size_t i = 0; i < graph->peers; i++)
        distance[i] = SIZE_MAX;
    distance[start] = 0;
    queue[tail++] = start;
    while (head < tail) {
        size_t at = queue[head++];
        most = distance[at];
        for (size_t k = 0; k < graph->degree[at]; k++) {
            size_t next = graph->neighbours[at][k];
            if (distance[next] == SIZE_MAX) {
                distance[next] = distance[at] + 1;
                queue[tail++] = next;
            }
        }
    }
    for (size_t i = 0; i < graph->peers; i++)
        if (distance[i] == SIZE_MAX) {
            *cut_off = i;
            return SIZE_MAX;
        }
    return most;
}

static err_t measure_diameter(gossip_graph_t *graph)
{
    err_t err = ERR_OK;
    size_t cut_off = 0;
    size_t *distance = xcalloc(graph->peers, sizeof *distance);
    size_t *queue = xcalloc(graph->peers, sizeof *queue);
    for (size_t i = 0; i < graph->peers; i++) {
        size_t most = farthest(graph, i, distance, queue, &cut_off);
        if (most == SIZE_MAX)
            FAIL(ERR_CONFIG,
                 "the graph is in pieces: no path leads from peer %zu to peer %zu; add an edge "
                 "between the pieces",
                 i, cut_off);
        graph->diameter = most > graph->diameter ? most : graph->diameter;
    }
out:
    free(distance);
    free(queue);
    return err;
}

err_t gossip_graph_init(gossip_graph_t *graph, gossip_topology_kind_t kind, size_t peers,
                        const gossip_edge_t *edges, size_t edge_count)
{
    err_t err = ERR_OK;
    *graph = (gossip_graph_t){.peers = peers};
    if (peers < 1)
        FAIL(ERR_CONFIG, "a graph needs at least one peer");
    graph->degree = xcalloc(peers, sizeof *graph->degree);
    graph->neighbours = xcalloc(peers, sizeof *graph->neighbours);
    if (kind == GOSSIP_EDGES)
        TRY(join_edges(graph, edges, edge_count));
    for (size_t a = 0; a < peers; a++)
        for (size_t b = a + 1; b < peers; b++)
            if (joined(kind, peers, a, b))
                join(graph, a, b);
    TRY(measure_diameter(graph));
out:
    if (err)
        gossip_graph_free(graph);
    return err;
}

void gossip_graph_free(gossip_graph_t *graph)
{
    for (size_t i = 0; graph->neighbours && i < graph->peers; i++)
        free(graph->neighbours[i]);
    free(graph->neighbours);
    free(graph->degree);
    *graph = (gossip_graph_t){0};
}
