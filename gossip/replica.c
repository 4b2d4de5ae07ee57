#include "gossip/replica.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/codec.h"
#include "gossip/codec_kernels.h"
#include "gossip/mix.h"

static const uint32_t NO_EXCHANGE = UINT32_MAX;

/* A neighbour's x^. */
typedef struct {
    float *values;        /* (floats) */
    uint32_t exchange;    /* after which one; NO_EXCHANGE: not known */
    uint64_t incarnation; /* of which start; 0: the first model, of any */
    uint32_t wanted;      /* exchange whose x^ was asked for as a whole, NO_EXCHANGE for none */
} replica_t;

struct replicas_s {
    uint8_t *own[2]; /* (replica_size) my x^ after exchange e at [e & 1] */
    uint32_t exchange;
    bool whole[2], hashed[2];
    hash_t *parts[2], digest[2];
    float *honest; /* (floats) with a tamper: my x^ as it would be without; else NULL */
    replica_t *of; /* (link_count) */
};

static const gossip_codec_t PLAIN = {.kind = GOSSIP_CODEC_FP32};

uint64_t replica_size(const gossip_t *g)
{
    return gossip_codec_bytes(&PLAIN, &g->config.table);
}

replicas_t *replicas_new(const gossip_t *g)
{
    replicas_t *r = xcalloc(1, sizeof *r);
    size_t size = replica_size(g);
    bool ok = true;
    r->exchange = NO_EXCHANGE;
    r->of = xcalloc(g->link_count + 1, sizeof *r->of);
    for (int i = 0; i < 2; i++) {
        r->own[i] = calloc(size, 1);
        r->parts[i] = calloc(object_chunks(size), sizeof(hash_t));
        ok = ok && r->own[i] && r->parts[i];
    }
    if (g->config.tamper) {
        r->honest = calloc(g->bytes, 1);
        ok = ok && r->honest;
    }
    for (size_t k = 0; k < g->link_count; k++) {
        r->of[k].exchange = r->of[k].wanted = NO_EXCHANGE;
        r->of[k].values = calloc(g->bytes, 1);
        ok = ok && r->of[k].values;
    }
    r->of[g->link_count].wanted = NO_EXCHANGE;
    if (ok)
        return r;
    replicas_destroy(&r, g->link_count);
    return NULL;
}

void replicas_destroy(replicas_t **replicas, size_t links)
{
    replicas_t *r = *replicas;
    if (!r)
        return;
    for (size_t k = 0; k < links; k++)
        free(r->of[k].values);
    for (int i = 0; i < 2; i++) {
        free(r->own[i]);
        free(r->parts[i]);
    }
    free(r->honest);
    free(r->of);
    free(r);
    *replicas = NULL;
}

static float *own(const gossip_t *g, uint32_t at)
{
    return (float *)(void *)(g->replicas->own[at] + sizeof(double));
}

static replica_t *of(const gossip_t *g, const link_t *link)
{
    return &g->replicas->of[link - g->links];
}

void replicas_start(gossip_t *g)
{
    if (!g->replicas || g->config.first_round != 1)
        return;
    g->replicas->exchange = 0;
    memcpy(own(g, 0), g->mixed, g->bytes);
    if (g->replicas->honest)
        memcpy(g->replicas->honest, g->mixed, g->bytes);
    for (size_t k = 0; k < g->link_count; k++) {
        memcpy(g->replicas->of[k].values, g->mixed, g->bytes);
        g->replicas->of[k].exchange = 0;
    }
}

/* -- Mine -- */

static void subtract_run(float *restrict difference, const float *restrict x,
                         const float *restrict base, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float apart = x[i] - base[i];
        apart = apart > FLT_MAX ? FLT_MAX : apart;
        difference[i] = apart < -FLT_MAX ? -FLT_MAX : apart;
    }
}

/* difference = x - base over the weights, in the range of floats; statistics as they are. */
static void subtract(float *difference, const float *x, const float *base, const gossip_t *g)
{
    for (size_t s = 0; s < g->config.table.count; s++) {
        const gossip_segment_t *segment = &g->segments[s];
        size_t at = segment->offset;
        if (segment->kind == GOSSIP_WEIGHTS)
            subtract_run(difference + at, x + at, base + at, segment->count);
        else
            memcpy(difference + at, x + at, segment->count * sizeof *x);
    }
}

/* to = base + difference over the weights, statistics those of the difference. False when that is
 * no float any more. `to` may be `base`. Every holder of an x^ runs this very function. */
static bool add(float *to, const float *base, const float *difference, const gossip_t *g)
{
    bool finite = true;
    for (size_t s = 0; s < g->config.table.count; s++) {
        const gossip_segment_t *segment = &g->segments[s];
        size_t at = segment->offset, n = segment->count;
        if (segment->kind == GOSSIP_WEIGHTS)
            for (size_t i = at; i < at + n; i++)
                to[i] = base[i] + difference[i];
        else
            memcpy(to + at, difference + at, n * sizeof *to);
        finite &= gossip_codec_kernels()->finite(to + at, n);
    }
    return finite;
}

/* Writes the difference of x to my x^ `base`; `to` = base with what the others will add to it.
 * False when that is no model. */
static bool go_on(gossip_t *g, float *to, const float *base, const float *x, uint32_t exchange)
{
    subtract(g->coded_scratch, x, base, g);
    return coded_write(g, exchange, g->coded_scratch) && add(to, base, g->own_decoded, g);
}

/* x^ of what I would publish if I did not lie: my own mixing goes by it. */
static void keep_honest(gossip_t *g, uint32_t exchange, bool whole)
{
    float *honest = g->replicas->honest;
    if (whole || !go_on(g, honest, honest, g->truth, exchange))
        memcpy(honest, g->truth, g->bytes);
}

void replica_publish(gossip_t *g, uint32_t exchange, const float *x)
{
    replicas_t *r = g->replicas;
    uint32_t at = exchange & 1;
    const gossip_table_t *table = &g->config.table;
    r->hashed[at] = false;
    r->whole[at] = r->exchange != exchange - 1;
    if (r->honest)
        keep_honest(g, exchange, r->whole[at]);
    /* A liar's NaN is no difference: it goes on from its last state, and what it says is spoiled.
     */
    bool sound = gossip_values_ok(x, table);
    x = sound ? x : g->mixed;
    if (!r->whole[at]) {
        r->whole[at] = !go_on(g, own(g, at), own(g, !at), x, exchange);
        memcpy(r->own[at], g->own_coded[at], sizeof(double)); /* the residual */
    }
    if (r->whole[at])
        gossip_codec_encode(r->own[at], x, table, &PLAIN, g->config.self, exchange);
    r->exchange = exchange;
    if (!sound)
        memset(r->whole[at] ? r->own[at] : g->own_coded[at], 0xff, sizeof(double));
}

bool replica_is_whole(const gossip_t *g, uint32_t at)
{
    return g->replicas->whole[at];
}

const uint8_t *replica_object(const gossip_t *g, uint32_t at)
{
    return g->replicas->own[at];
}

const float *replica_own(const gossip_t *g, uint32_t at)
{
    return own(g, at);
}

const float *replica_mine(const gossip_t *g, uint32_t at)
{
    return g->replicas->honest ? g->replicas->honest : own(g, at);
}

const hash_t *replica_parts(gossip_t *g, uint32_t at, hash_t *digest)
{
    replicas_t *r = g->replicas;
    if (!r->hashed[at])
        r->digest[at] = object_digest(r->parts[at], r->own[at], replica_size(g));
    r->hashed[at] = true;
    *digest = r->digest[at];
    return r->parts[at];
}

/* -- The neighbours' -- */

bool replica_usable(const gossip_t *g, const link_t *link, uint32_t at)
{
    const assembly_t *slot = &link->slot[at];
    if (!g->replicas || !link->trained[at] || slot->id.type == WIRE_REPLICA)
        return true;
    const replica_t *replica = of(g, link);
    return replica->exchange == slot->id.number - 1 &&
           (replica->incarnation == 0 || replica->incarnation == slot->id.incarnation);
}

void replica_want(gossip_t *g, link_t *link, uint32_t exchange)
{
    of(g, link)->wanted = exchange;
}

void replica_want_none(gossip_t *g, link_t *link)
{
    of(g, link)->wanted = NO_EXCHANGE;
}

bool replica_wanted(const gossip_t *g, const link_t *link, uint32_t exchange)
{
    return g->replicas && of(g, link)->wanted == exchange;
}

bool replica_is_at(const gossip_t *g, const link_t *link, uint32_t exchange)
{
    return of(g, link)->exchange == exchange;
}

const float *replica_of(const gossip_t *g, const link_t *link)
{
    return of(g, link)->values;
}

static void refuse(gossip_t *g, assembly_t *slot, replica_t *replica)
{
    slot->whole = false;
    slot->refused = true;
    replica->exchange = NO_EXCHANGE;
    count(g, GOSSIP_COUNT_MODELS_REFUSED);
}

void replicas_advance(gossip_t *g, uint32_t exchange)
{
    uint32_t at = exchange & 1;
    for (size_t k = 0; g->replicas && k < g->link_count; k++) {
        link_t *link = &g->links[k];
        assembly_t *slot = &link->slot[at];
        replica_t *replica = &g->replicas->of[k];
        const float *values = (const float *)(const void *)slot->data;
        if (!slot->open || slot->id.number != exchange || !slot->whole || !link->trained[at])
            continue;
        if (!replica_usable(g, link, at)) {
            slot->whole = false;
            continue;
        }
        if (slot->id.type == WIRE_REPLICA)
            memcpy(replica->values, values, g->bytes);
        else if (!add(replica->values, replica->values, values, g)) {
            refuse(g, slot, replica);
            continue;
        }
        replica->exchange = exchange;
        replica->incarnation = slot->id.incarnation;
    }
}

void replicas_digest(const gossip_t *g, hash_stream_t *stream)
{
    const replicas_t *r = g->replicas;
    uint64_t numbers[] = {r->exchange, r->whole[0], r->whole[1]};
    hash_stream_add(stream, numbers, sizeof numbers);
    for (int i = 0; i < 2; i++)
        hash_stream_add(stream, r->own[i], replica_size(g));
    if (r->honest)
        hash_stream_add(stream, r->honest, g->bytes);
    for (size_t k = 0; k < g->link_count; k++) {
        uint64_t known[] = {r->of[k].exchange, r->of[k].incarnation, r->of[k].wanted};
        hash_stream_add(stream, known, sizeof known);
        hash_stream_add(stream, r->of[k].values, g->bytes);
    }
}
