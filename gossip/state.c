/* Making and destroying a peer's state, and looking into it. */
#include "gossip/codec.h"
#include "gossip/pushsum.h"
#include "gossip/replica.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static err_t check_table(const gossip_table_t *table)
{
    err_t err = ERR_OK;
    size_t floats = 0;
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (segment->offset != floats || segment->count > GOSSIP_FLOATS_MAX - floats)
            FAIL(ERR_CONFIG, "gossip: segment %zu of the state table is not dense or too large", s);
        floats += segment->count;
    }
    if (floats != table->floats || floats == 0)
        FAIL(ERR_CONFIG, "gossip: the state table's segments hold %zu floats, not %zu", floats,
             table->floats);
out:
    return err;
}

static err_t check_config(const gossip_config_t *config)
{
    err_t err = ERR_OK;
    if (config->peers < 1 || config->peers > GOSSIP_PEERS_MAX)
        FAIL(ERR_CONFIG, "gossip: %zu peers, accepted are 1 to %d", config->peers,
             GOSSIP_PEERS_MAX);
    if (config->self >= config->peers)
        FAIL(ERR_CONFIG, "gossip: peer index %zu of %zu peers", config->self, config->peers);
    if (config->section_count > GOSSIP_SECTIONS_MAX)
        FAIL(ERR_CONFIG, "gossip: %zu sections, at most %d", config->section_count,
             GOSSIP_SECTIONS_MAX);
    for (size_t p = 0; p < config->peers; p++)
        if (strlen(config->names[p]) < 1 || strlen(config->names[p]) >= GOSSIP_NAME_MAX)
            FAIL(ERR_CONFIG, "gossip: the name of peer %zu must have 1 to %d characters", p,
                 GOSSIP_NAME_MAX - 1);
    for (size_t k = 0; k < config->neighbour_count; k++)
        if (config->neighbours[k] >= config->peers || config->neighbours[k] == config->self ||
            (k > 0 && config->neighbours[k] <= config->neighbours[k - 1]))
            FAIL(ERR_CONFIG,
                 "gossip: neighbour %u of peer %s: out of range, itself, or not in "
                 "ascending order",
                 config->neighbours[k], config->names[config->self]);
    if (config->samples < 1 || config->samples > WIRE_SAMPLES_MAX)
        FAIL(ERR_CONFIG, "gossip: %" PRIu64 " samples at peer %s, at least 1 are needed",
             config->samples, config->names[config->self]);
    if (config->incarnation < 1 || config->incarnation >= WIRE_COUNT_MAX)
        FAIL(ERR_CONFIG, "gossip: incarnation %" PRIu64 " is out of range", config->incarnation);
    if (config->announce_ms < 1 || config->dead_ms < config->suspect_ms || config->suspect_ms < 1)
        FAIL(ERR_CONFIG, "gossip: announce_ms and suspect_ms must be at least 1, dead_ms at least "
                         "suspect_ms");
    if (config->first_round < 1 || config->rounds > UINT32_MAX / 2 ||
        config->first_round > UINT32_MAX / 2)
        FAIL(ERR_CONFIG, "gossip: rounds %u, first round %u: out of range", config->rounds,
             config->first_round);
    if (config->stages > GOSSIP_STAGES_MAX)
        FAIL(ERR_CONFIG, "gossip: %u stages of records, at most %d", config->stages,
             GOSSIP_STAGES_MAX);
    if (config->scheme == GOSSIP_PUSH_SUM &&
        (config->robust != GOSSIP_ROBUST_NONE || config->tamper ||
         config->codec.kind != GOSSIP_CODEC_FP32))
        FAIL(ERR_CONFIG, "gossip: push-sum sends sums in float64, not models: no codec, no robust "
                         "rule and no attack works on them");
    TRY(check_table(&config->table));
    if (config->scheme == GOSSIP_ASYNC && (config->robust != GOSSIP_ROBUST_NONE || config->choco ||
                                           gossip_codec_sparse(config->codec.kind)))
        FAIL(ERR_CONFIG, "gossip: robust rules and differences are of the models of one exchange, "
                         "and async has none in common");
    bool sparse = gossip_codec_sparse(config->codec.kind);
    if (sparse && !(config->codec.keep > 0 && config->codec.keep <= 1))
        FAIL(ERR_CONFIG, "gossip: a codec that keeps %g of the weights: above 0, up to 1",
             config->codec.keep);
    if ((sparse || config->choco) && gossip_topology_drawn(&config->topology))
        FAIL(ERR_CONFIG,
             "gossip: differences are to what neighbours know, and on a graph drawn anew "
             "every exchange they are others");
    if (!(config->gamma >= 0 && config->gamma <= 1))
        FAIL(ERR_CONFIG,
             "gossip: a mixing step gamma of %g: above 0, up to 1, or 0 for the codec's",
             config->gamma);
out:
    return err;
}

static hash_t federation_hash(const gossip_config_t *config)
{
    hash_stream_t *stream = hash_stream_new();
    for (size_t s = 0; s < config->section_count; s++) {
        hash_stream_add(stream, config->sections[s].name, sizeof config->sections[s].name);
        hash_stream_add(stream, config->sections[s].digest, sizeof config->sections[s].digest);
    }
    return hash_stream_end(&stream);
}

static err_t make_buffers(gossip_t *g)
{
    err_t err = ERR_OK;
    size_t head = certificate_bytes(g);
    if (g->config.scheme == GOSSIP_PUSH_SUM && !(g->pushsum = pushsum_new(g)))
        FAIL(ERR_MEMORY, "gossip: no memory for the sums of push-sum, of %zu neighbours",
             g->link_count);
    uint64_t slot = coded_room(g);
    bool ok = assembly_init(&g->state, g->bytes, true);
    bool differences = g->config.choco || gossip_codec_sparse(g->config.codec.kind);
    if (differences) {
        slot = slot > replica_size(g) ? slot : replica_size(g);
        g->gamma = g->config.gamma > 0 ? g->config.gamma
                                       : gossip_codec_gamma(&g->config.codec, g->config.degree_max);
        g->replicas = replicas_new(g);
        ok = ok && g->replicas;
    }
    if (g->coded) {
        g->own_decoded = calloc(g->bytes, 1);
        g->coded_scratch = calloc(slot, 1);
        ok = ok && g->own_decoded && g->coded_scratch;
    }
    uint32_t chunks = object_chunks(slot);
    g->mixed = calloc(g->bytes, 1);
    if (g->config.tamper) {
        g->truth = calloc(g->bytes, 1);
        ok = ok && g->truth;
    }
    if (g->config.scheme == GOSSIP_ASYNC) {
        g->part = calloc(g->bytes, 1);
        ok = ok && g->part;
    }
    for (int i = 0; i < 2; i++) {
        g->own[i] = calloc(g->bytes, 1);
        g->own_parts[i] = calloc(chunks, sizeof(hash_t));
        g->own_head[i] = calloc(head, 1);
        g->own_coded[i] = calloc(g->coded ? g->coded_bytes : 1, 1);
        ok = ok && g->own[i] && g->own_parts[i] && g->own_head[i] && g->own_coded[i];
    }
    for (size_t k = 0; k < g->link_count && !g->drawn; k++) /* drawn: when a model comes */
        for (int i = 0; i < 2; i++)
            ok = ok && assembly_init(&g->links[k].slot[i], slot, true);
    if (!ok || !g->mixed)
        FAIL(ERR_MEMORY, "gossip: no memory for the models of %zu neighbours (%zu bytes each)",
             g->link_count, g->bytes);
out:
    return err;
}

/* Certificates for as many exchanges as news may need to cross the graph, also once it has lost
 * peers, as far as they fit into a header. */
static err_t make_certificates(gossip_t *g)
{
    err_t err = ERR_OK;
    size_t most = CERTIFICATE_BYTES / (WIRE_EDGE_BYTES + 1 + g->bitset);
    size_t want = g->config.diameter <= 1 ? 5 : g->config.peers + 4;
    g->certificate_count = want < most ? want : most;
    if (g->certificate_count < g->config.diameter + 3)
        FAIL(ERR_CONFIG,
             "gossip: a graph of %zu peers with diameter %zu is too long for the "
             "consensus certificate: add edges",
             g->config.peers, g->config.diameter);
    g->certificates = xcalloc(g->certificate_count, sizeof *g->certificates);
    for (size_t i = 0; i < g->certificate_count; i++) {
        certificate_t *c = &g->certificates[i];
        c->present = xcalloc(g->bitset, 1);
        if (g->config.peers <= SKETCH_PEERS_MAX)
            c->words = xcalloc(g->config.peers, sizeof *c->words);
    }
out:
    return err;
}

err_t gossip_new(gossip_t **gossip, const gossip_config_t *config)
{
    err_t err = ERR_OK;
    gossip_t *g = NULL;
    *gossip = NULL;
    TRY(check_config(config));
    g = xcalloc(1, sizeof *g);
    g->config = *config;
    g->bitset = (config->peers + 7) / 8;
    g->bytes = config->table.floats * sizeof(float);
    g->coded = config->codec.kind != GOSSIP_CODEC_FP32 || config->choco;
    g->gamma = 1;
    g->coded_bytes = gossip_codec_bytes(&config->codec, &config->table);
    g->segments = xcalloc(config->table.count, sizeof *g->segments);
    memcpy(g->segments, config->table.segments, config->table.count * sizeof *g->segments);
    g->config.table.segments = g->segments;
    memcpy(g->name, config->names[config->self], strlen(config->names[config->self]));
    g->config.names = NULL;
    g->members = xcalloc(config->peers, sizeof *g->members);
    g->link_count = config->neighbour_count;
    g->links = xcalloc(g->link_count ? g->link_count : 1, sizeof *g->links);
    for (size_t p = 0; p < config->peers; p++)
        g->members[p].status.peer = (uint32_t)p;
    for (size_t k = 0; k < g->link_count; k++) {
        const char *name = config->names[config->neighbours[k]];
        g->links[k].peer = config->neighbours[k];
        memcpy(g->links[k].name, name, strlen(name));
        g->links[k].present = xcalloc(g->bitset, 1);
    }
    g->config.neighbours = NULL;
    g->members[config->self].status.incarnation = config->incarnation;
    g->federation = federation_hash(config);
    g->samples = config->weighting == GOSSIP_WEIGHTS_EQUAL ? 1 : config->samples;
    g->exchange = g->joined = config->first_round;
    g->mixed_exchange = config->first_round - 1;
    g->last_training = config->rounds;
    if (config->scheme == GOSSIP_ASYNC)
        g->age = config->first_round; /* 1 for a first model, 1 more for each round since */
    g->present = xcalloc(g->bitset, 1);
    g->missed = xcalloc(g->bitset, 1);
    g->report.bound = -1;
    TRY(drawn_init(g));
    TRY(make_certificates(g));
    TRY(make_buffers(g));
    *gossip = g;
    g = NULL;
out:
    gossip_destroy(&g);
    return err;
}

void gossip_destroy(gossip_t **gossip)
{
    gossip_t *g = *gossip;
    if (!g)
        return;
    replicas_destroy(&g->replicas, g->link_count);
    for (size_t k = 0; g->links && k < g->link_count; k++) {
        free(g->links[k].present);
        for (int i = 0; i < 2; i++)
            assembly_free(&g->links[k].slot[i]);
    }
    for (size_t r = 0; r < g->record_count; r++)
        assembly_free(&g->records[r].assembly);
    for (size_t i = 0; g->certificates && i < g->certificate_count; i++) {
        free(g->certificates[i].present);
        free(g->certificates[i].words);
    }
    for (int i = 0; i < 2; i++) {
        free(g->own[i]);
        free(g->own_coded[i]);
        free(g->own_parts[i]);
        free(g->own_head[i]);
    }
    assembly_free(&g->state);
    drawn_free(g);
    free(g->truth);
    free(g->part);
    pushsum_destroy(&g->pushsum);
    void *rest[] = {g->segments,      g->members,       g->links,       g->certificates,
                    g->records,       g->mixed,         g->pinned,      g->pinned_parts,
                    g->present,       g->missed,        g->consensus,   g->adopt_values,
                    g->merge_records, g->stage_records, g->own_decoded, g->coded_scratch};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
        free(rest[i]);
    free(g);
    *gossip = NULL;
}

link_t *link_of(gossip_t *g, size_t peer)
{
    size_t lo = 0, hi = g->link_count;
    while (lo < hi) {
        size_t middle = (lo + hi) / 2;
        if (g->links[middle].peer == peer)
            return &g->links[middle];
        if (g->links[middle].peer < peer)
            lo = middle + 1;
        else
            hi = middle;
    }
    return NULL;
}

bool is_live(const gossip_t *g, size_t peer)
{
    return (g->members[peer].status.flags & (WIRE_DEAD | WIRE_LEFT)) == 0;
}

bool samples_ok(const gossip_t *g, uint64_t samples)
{
    return g->config.weighting != GOSSIP_WEIGHTS_EQUAL || samples == 1;
}

void count(gossip_t *g, gossip_counter_t counter)
{
    g->counters[counter]++;
}
