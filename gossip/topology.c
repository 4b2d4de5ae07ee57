#include "gossip/topology.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/topology_draw.h"

static const char *const names[] = {"full",        "ring",        "line",
                                    "star",        "torus",       "regular",
                                    "erdos-renyi", "exponential", "one-peer-exponential",
                                    "epidemic",    "edges"};

err_t gossip_topology_parse(gossip_topology_kind_t *kind, const char *name)
{
    err_t err = ERR_OK;
    for (int i = 0; i < GOSSIP_EDGES; i++)
        if (!strcmp(name, names[i])) {
            *kind = (gossip_topology_kind_t)i;
            return ERR_OK;
        }
    FAIL(ERR_CONFIG,
         "no topology `%s`; there are full, ring, line, star, torus, regular, erdos-renyi, "
         "exponential, one-peer-exponential, epidemic, or a list of edges",
         name);
out:
    return err;
}

const char *gossip_topology_name(gossip_topology_kind_t kind)
{
    return names[kind];
}

bool gossip_topology_drawn(const gossip_topology_t *rule)
{
    return rule->kind == GOSSIP_ONE_PEER_EXPONENTIAL || rule->kind == GOSSIP_EPIDEMIC ||
           (rule->redraw && (rule->kind == GOSSIP_REGULAR || rule->kind == GOSSIP_ERDOS_RENYI));
}

bool gossip_topology_equal(const gossip_topology_t *rule)
{
    return rule->kind == GOSSIP_ONE_PEER_EXPONENTIAL || rule->kind == GOSSIP_EPIDEMIC;
}

static bool is_directed(const gossip_topology_t *rule)
{
    return rule->kind == GOSSIP_ONE_PEER_EXPONENTIAL ||
           (rule->kind == GOSSIP_EPIDEMIC && rule->local);
}

size_t gossip_topology_period(const gossip_topology_t *rule)
{
    size_t period = 0;
    if (rule->kind == GOSSIP_ONE_PEER_EXPONENTIAL)
        while ((size_t)1 << period < rule->peers)
            period++;
    return period ? period : 1;
}

/* The longer side of the most square grid is peers / this. */
static size_t torus_side(size_t peers)
{
    size_t side = 1;
    for (size_t a = 2; a * a <= peers; a++)
        if (peers % a == 0)
            side = a;
    return side;
}

/* -- What a rule may be -- */

typedef struct {
    uint32_t low, high;
    size_t place;
} place_t;

static int by_ends(const void *a, const void *b)
{
    const place_t *x = a, *y = b;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    if (x->high != y->high)
        return x->high < y->high ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

static err_t check_edges(const gossip_topology_t *rule)
{
    err_t err = ERR_OK;
    place_t *places = xcalloc(rule->edge_count + 1, sizeof *places);
    for (size_t e = 0; e < rule->edge_count; e++) {
        uint32_t a = rule->edges[e].a, b = rule->edges[e].b;
        if (a >= rule->peers || b >= rule->peers)
            FAIL(ERR_CONFIG, "edge %zu names peer %u, there are %zu (counted from 0)", e + 1,
                 a > b ? a : b, rule->peers);
        if (a == b)
            FAIL(ERR_CONFIG, "edge %zu joins peer %u with itself", e + 1, a);
        places[e] = (place_t){a < b ? a : b, a < b ? b : a, e};
    }
    qsort(places, rule->edge_count, sizeof *places, by_ends);
    for (size_t e = 1; e < rule->edge_count; e++)
        if (places[e].low == places[e - 1].low && places[e].high == places[e - 1].high) {
            const gossip_edge_t *again = &rule->edges[places[e].place];
            FAIL(ERR_CONFIG, "edge %zu joins peers %u and %u a second time", places[e].place + 1,
                 again->a, again->b);
        }
out:
    free(places);
    return err;
}

static err_t check_degree(const gossip_topology_t *rule)
{
    err_t err = ERR_OK;
    const char *name = names[rule->kind];
    if (rule->peers == 1) /* alone, and its own whole graph */
        return ERR_OK;
    if (rule->degree < 1 || rule->degree >= rule->peers)
        FAIL(ERR_CONFIG, "%s: degree %zu; with %zu peers it can be 1 to %zu", name, rule->degree,
             rule->peers, rule->peers - 1);
    if (!is_directed(rule) && rule->degree % 2 && rule->peers % 2)
        FAIL(ERR_CONFIG,
             "%s: %zu peers of degree %zu cannot be joined in pairs: take an even degree, or one "
             "peer more or less",
             name, rule->peers, rule->degree);
out:
    return err;
}

err_t gossip_topology_check(const gossip_topology_t *rule)
{
    err_t err = ERR_OK;
    if (rule->peers < 1 || rule->peers > INT32_MAX)
        FAIL(ERR_CONFIG, "a graph needs at least one peer and at most 2^31 - 1");
    switch (rule->kind) {
    case GOSSIP_EDGES:
        TRY(check_edges(rule));
        break;
    case GOSSIP_REGULAR:
    case GOSSIP_EPIDEMIC:
        TRY(check_degree(rule));
        break;
    case GOSSIP_ERDOS_RENYI:
        if (!(rule->edge_probability * 4294967296.0 >= 1 && rule->edge_probability <= 1))
            FAIL(ERR_CONFIG, "erdos-renyi: edge probability %g; it must be above 0 and at most 1",
                 rule->edge_probability);
        break;
    case GOSSIP_TORUS:
        if (rule->peers > 1 && torus_side(rule->peers) == 1)
            FAIL(ERR_CONFIG,
                 "torus: %zu is a prime number, so %zu peers make no grid: take one peer more or "
                 "less, or ring or exponential",
                 rule->peers, rule->peers);
        break;
    default:
        break;
    }
out:
    return err;
}

/* -- Edges of rules that draw nothing -- */

static void grid_edges(edge_list_t *edges, size_t peers)
{
    size_t rows = torus_side(peers), columns = peers / rows;
    for (size_t i = 0; i < peers; i++) {
        size_t r = i / columns, c = i % columns;
        size_t right = r * columns + (c + 1) % columns, down = (r + 1) % rows * columns + c;
        if (right != i)
            edge_add(edges, i, right);
        if (down != i)
            edge_add(edges, i, down);
    }
}

static void list_edges(edge_list_t *edges, const gossip_topology_t *rule, uint64_t round)
{
    size_t n = rule->peers, hop = 0;
    if (n == 1)
        return;
    switch (rule->kind) {
    case GOSSIP_FULL:
        for (size_t a = 0; a < n; a++)
            for (size_t b = a + 1; b < n; b++)
                edge_add(edges, a, b);
        break;
    case GOSSIP_RING:
    case GOSSIP_LINE:
        for (size_t a = 0; a + 1 < n; a++)
            edge_add(edges, a, a + 1);
        if (rule->kind == GOSSIP_RING && n > 2)
            edge_add(edges, n - 1, 0);
        break;
    case GOSSIP_STAR:
        for (size_t b = 1; b < n; b++)
            edge_add(edges, 0, b);
        break;
    case GOSSIP_TORUS:
        grid_edges(edges, n);
        break;
    case GOSSIP_EXPONENTIAL:
        for (hop = 1; hop < n; hop *= 2)
            for (size_t a = 0; a < n; a++)
                edge_add(edges, a, (a + hop) % n);
        break;
    case GOSSIP_ONE_PEER_EXPONENTIAL:
        hop = (size_t)1 << round % gossip_topology_period(rule);
        for (size_t a = 0; a < n && n > 1; a++)
            edge_add(edges, a, (a + hop) % n);
        break;
    case GOSSIP_REGULAR:
        topology_draw_regular(edges, rule, rule->redraw ? round : 0);
        break;
    case GOSSIP_ERDOS_RENYI:
        topology_draw_erdos_renyi(edges, rule, rule->redraw ? round : 0);
        break;
    case GOSSIP_EPIDEMIC:
        topology_draw_epidemic(edges, rule, round);
        break;
    case GOSSIP_EDGES:
        for (size_t e = 0; e < rule->edge_count; e++)
            edge_add(edges, rule->edges[e].a, rule->edges[e].b);
        break;
    }
}

/* -- A graph of edges -- */

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Rows in one piece of memory, (*rows)[0]; each ascending, without what is there twice. `out`: the
 * ends of edges from a peer, `in`: of edges to it, or both. */
static void make_rows(size_t **degree, uint32_t ***rows, size_t peers, const edge_list_t *edges,
                      bool out, bool in)
{
    size_t *count = xcalloc(peers, sizeof *count), total = 0;
    for (size_t e = 0; e < edges->count; e++) {
        count[edges->items[e].a] += out;
        count[edges->items[e].b] += in;
    }
    uint32_t **row = xcalloc(peers, sizeof *row);
    uint32_t *memory = xcalloc((out + in) * edges->count + 1, sizeof *memory);
    for (size_t i = 0; i < peers; i++) {
        row[i] = memory + total;
        total += count[i];
        count[i] = 0;
    }
    for (size_t e = 0; e < edges->count; e++) {
        uint32_t a = edges->items[e].a, b = edges->items[e].b;
        if (out)
            row[a][count[a]++] = b;
        if (in)
            row[b][count[b]++] = a;
    }
    for (size_t i = 0; i < peers; i++) {
        size_t kept = 0;
        qsort(row[i], count[i], sizeof *row[i], by_number);
        for (size_t k = 0; k < count[i]; k++)
            if (kept == 0 || row[i][kept - 1] != row[i][k])
                row[i][kept++] = row[i][k];
        count[i] = kept;
    }
    *degree = count;
    *rows = row;
}

/* Breadth-first from `start`: the largest distance, or SIZE_MAX with *cut_off set. distance, queue
 * (peers) are scratch. */
static size_t farthest(const gossip_graph_t *graph, size_t start, size_t *distance, size_t *queue,
                       size_t *cut_off)
{
    size_t head = 0, tail = 0;
    for (size_t i = 0; i < graph->peers; i++)
        distance[i] = SIZE_MAX;
    distance[start] = 0;
    queue[tail++] = start;
    while (head < tail && tail < graph->peers) {
        size_t at = queue[head++];
        for (size_t k = 0; k < graph->degree[at]; k++) {
            size_t next = graph->neighbours[at][k];
            if (distance[next] == SIZE_MAX) {
                distance[next] = distance[at] + 1;
                queue[tail++] = next;
            }
        }
    }
    for (size_t i = 0; i < graph->peers && tail < graph->peers; i++)
        if (distance[i] == SIZE_MAX) {
            *cut_off = i;
            return SIZE_MAX;
        }
    return distance[queue[tail - 1]];
}

static err_t fail_in_pieces(const gossip_topology_t *rule, size_t from, size_t to)
{
    double n = (double)rule->peers;
    if (rule->kind == GOSSIP_ERDOS_RENYI)
        return err_set(ERR_CONFIG,
                       "the graph is in pieces: no path leads from peer %zu to peer %zu; raise the "
                       "edge probability (most graphs of %zu peers are in one piece from %.2g on), "
                       "take another seed, or draw the graph anew every round",
                       from, to, rule->peers, fmin(1.0, 1.5 * log(n) / n));
    if (rule->kind == GOSSIP_REGULAR)
        return err_set(ERR_CONFIG,
                       "the graph is in pieces: no path leads from peer %zu to peer %zu; raise the "
                       "degree (from 3 on most graphs are in one piece), take another seed, or "
                       "draw the graph anew every round",
                       from, to);
    return err_set(ERR_CONFIG,
                   "the graph is in pieces: no path leads from peer %zu to peer %zu; add an edge "
                   "between the pieces",
                   from, to);
}

/* Every peer sees the same graph around itself: one search tells the diameter. */
static bool is_alike_everywhere(gossip_topology_kind_t kind)
{
    return kind == GOSSIP_FULL || kind == GOSSIP_RING || kind == GOSSIP_TORUS ||
           kind == GOSSIP_EXPONENTIAL;
}

static err_t measure_diameter(gossip_graph_t *graph, const gossip_topology_t *rule)
{
    err_t err = ERR_OK;
    size_t cut_off = 0, starts = is_alike_everywhere(rule->kind) ? 1 : graph->peers;
    size_t *distance = xcalloc(graph->peers, sizeof *distance);
    size_t *queue = xcalloc(graph->peers, sizeof *queue);
    for (size_t i = 0; i < starts; i++) {
        size_t most = farthest(graph, i, distance, queue, &cut_off);
        if (most == SIZE_MAX)
            TRY(fail_in_pieces(rule, i, cut_off));
        graph->diameter = most > graph->diameter ? most : graph->diameter;
    }
out:
    free(distance);
    free(queue);
    return err;
}

err_t gossip_graph_at(gossip_graph_t *graph, const gossip_topology_t *rule, uint64_t round)
{
    err_t err = ERR_OK;
    edge_list_t edges = {0};
    *graph = (gossip_graph_t){0};
    TRY(gossip_topology_check(rule));
    graph->peers = rule->peers;
    graph->directed = is_directed(rule);
    list_edges(&edges, rule, round);
    make_rows(&graph->degree, &graph->neighbours, rule->peers, &edges, true, !graph->directed);
    graph->in_degree = graph->degree;
    graph->in_neighbours = graph->neighbours;
    if (graph->directed)
        make_rows(&graph->in_degree, &graph->in_neighbours, rule->peers, &edges, false, true);
    if (!gossip_topology_drawn(rule))
        TRY(measure_diameter(graph, rule));
out:
    free(edges.items);
    if (err)
        gossip_graph_free(graph);
    return err;
}

err_t gossip_graph_init(gossip_graph_t *graph, gossip_topology_kind_t kind, size_t peers,
                        const gossip_edge_t *edges, size_t edge_count)
{
    gossip_topology_t rule = {
        .kind = kind, .peers = peers, .edges = edges, .edge_count = edge_count};
    return gossip_graph_at(graph, &rule, 0);
}

static void free_rows(size_t *degree, uint32_t **rows)
{
    if (rows)
        free(rows[0]);
    free(rows);
    free(degree);
}

void gossip_graph_free(gossip_graph_t *graph)
{
    if (graph->directed)
        free_rows(graph->in_degree, graph->in_neighbours);
    free_rows(graph->degree, graph->neighbours);
    *graph = (gossip_graph_t){0};
}

size_t gossip_graph_degree(const gossip_graph_t *graph)
{
    size_t most = 0;
    for (size_t p = 0; p < graph->peers; p++)
        most = graph->degree[p] > most ? graph->degree[p] : most;
    return most;
}
