/* Models of training exchanges as the codec writes them. What is mixed of a peer is C(x), its own
 * included, and what C leaves out stays with it:
 *   x_i = x½_i + sum_j W_ij (C(x½_j) - C(x½_i))
 * so that the n-weighted mean of all peers stays where it is (Koloskova 2019, section 3: the form
 * that preserves the average). Where differences travel, C(x) is x^, and the step has a factor
 * gamma: replica.h. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "gossip/codec.h"
#include "gossip/mix.h"
#include "gossip/pushsum.h"
#include "gossip/replica.h"

uint64_t coded_size(const gossip_t *g, bool trained)
{
    if (g->pushsum && trained)
        return pushsum_size(g);
    return g->coded && trained ? g->coded_bytes : g->bytes;
}

uint64_t coded_own_size(const gossip_t *g, uint32_t at)
{
    bool whole = coded_own_type(g, at) == WIRE_REPLICA;
    return whole ? replica_size(g) : coded_size(g, g->own_trained[at]);
}

wire_type_t coded_own_type(const gossip_t *g, uint32_t at)
{
    bool whole = g->replicas && g->own_trained[at] && replica_is_whole(g, at);
    return whole ? WIRE_REPLICA : WIRE_MODEL;
}

bool coded_chunks_ok(const gossip_t *g, uint64_t chunks)
{
    return chunks == object_chunks(coded_size(g, true)) ||
           chunks == object_chunks(coded_size(g, false)) ||
           (g->replicas && chunks == object_chunks(replica_size(g)));
}

uint64_t coded_room(const gossip_t *g)
{
    uint64_t plain = coded_size(g, false), coded = coded_size(g, true);
    return coded > plain ? coded : plain;
}

uint32_t coded_chunks_least(const gossip_t *g)
{
    uint32_t plain = object_chunks(coded_size(g, false)),
             coded = object_chunks(coded_size(g, true));
    return coded < plain ? coded : plain;
}

const float *coded_truth(const gossip_t *g, uint32_t at)
{
    return g->truth ? g->truth : g->own[at];
}

bool coded_write(gossip_t *g, uint32_t exchange, const float *x)
{
    const gossip_table_t *table = &g->config.table;
    const gossip_codec_t *codec = &g->config.codec;
    uint8_t *bytes = g->own_coded[exchange & 1];
    double residual;
    return gossip_codec_encode(bytes, x, table, codec, g->config.self, exchange) &&
           gossip_codec_decode(g->own_decoded, &residual, bytes,
                               (size_t)gossip_codec_bytes(codec, table), table, codec,
                               g->config.self, exchange);
}

void coded_publish(gossip_t *g, uint32_t exchange)
{
    uint32_t at = exchange & 1;
    if (g->pushsum && g->own_trained[at])
        pushsum_publish(g, exchange);
    if (!g->coded || !g->own_trained[at])
        return;
    if (g->replicas) {
        replica_publish(g, exchange, g->own[at]);
        return;
    }
    CHECK(coded_write(g, exchange, coded_truth(g, at)));
    if (g->truth)
        gossip_codec_encode(g->own_coded[at], g->own[at], &g->config.table, &g->config.codec,
                            g->config.self, exchange);
}

const uint8_t *coded_own(const gossip_t *g, uint32_t at)
{
    if (g->pushsum && g->own_trained[at])
        return pushsum_object(g, at);
    if (coded_own_type(g, at) == WIRE_REPLICA)
        return replica_object(g, at);
    return g->coded && g->own_trained[at] ? g->own_coded[at] : (const uint8_t *)g->own[at];
}

const float *coded_part(const gossip_t *g, uint32_t at)
{
    if (g->replicas && g->own_trained[at])
        return replica_mine(g, at);
    return g->coded && g->own_trained[at] ? g->own_decoded : coded_truth(g, at);
}

const float *coded_part_of(const gossip_t *g, const link_t *link, uint32_t at)
{
    if (g->replicas && link->trained[at])
        return replica_of(g, link);
    return (const float *)(const void *)link->slot[at].data;
}

bool coded_take(gossip_t *g, link_t *link, uint32_t at)
{
    assembly_t *slot = &link->slot[at];
    link->residual[at] = 0.0;
    if (slot->floats || (g->pushsum && pushsum_object_ok(g, slot)))
        return true;
    const gossip_codec_t plain = {.kind = GOSSIP_CODEC_FP32};
    const gossip_codec_t *codec = slot->id.type == WIRE_REPLICA ? &plain : &g->config.codec;
    if (g->pushsum ||
        !gossip_codec_decode(g->coded_scratch, &link->residual[at], slot->data, (size_t)slot->size,
                             &g->config.table, codec, link->peer, slot->id.number)) {
        slot->whole = false;
        slot->refused = true;
        count(g, GOSSIP_COUNT_MODELS_REFUSED);
        return false;
    }
    uint8_t *bytes = slot->data;
    slot->data = (uint8_t *)g->coded_scratch;
    g->coded_scratch = (float *)(void *)bytes;
    return true;
}

static void keep(float *restrict mixed, const float *restrict x, const float *restrict c,
                 double gamma, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mixed[i] = saturated((double)x[i] + gamma * ((double)mixed[i] - (double)c[i]));
}

void coded_meet(gossip_t *g, gossip_part_t *parts, size_t count)
{
    uint32_t at = g->exchange & 1;
    if (!g->replicas || g->own_trained[at])
        return;
    const float *x = coded_truth(g, at);
    for (size_t k = 0; k < g->link_count; k++) {
        const link_t *link = &g->links[k];
        const float *replica = replica_of(g, link);
        size_t p = 0;
        while (p < count && parts[p].values != replica)
            p++;
        if (p == count)
            continue;
        float *meet = (float *)(void *)link->slot[at].data; /* q, which x^ has in it by now */
        for (size_t s = 0; s < g->config.table.count; s++) {
            const gossip_segment_t *segment = &g->segments[s];
            double step = segment->kind == GOSSIP_WEIGHTS ? g->gamma : 1.0;
            for (size_t i = segment->offset; i < segment->offset + segment->count; i++)
                meet[i] = step < 1.0
                              ? (float)((double)x[i] + step * ((double)replica[i] - (double)x[i]))
                              : replica[i];
        }
        parts[p].values = meet;
    }
}

void coded_keep(gossip_t *g, uint32_t at, const float *c)
{
    const float *x = coded_truth(g, at);
    if (c == x || !g->own_trained[at])
        return;
    for (size_t s = 0; s < g->config.table.count; s++) {
        const gossip_segment_t *segment = &g->segments[s];
        size_t from = segment->offset;
        if (segment->kind == GOSSIP_WEIGHTS)
            keep(g->mixed + from, x + from, c + from, g->gamma, segment->count);
    }
}

static double norm(const float *values, const gossip_table_t *table)
{
    double sum = 0.0;
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        for (size_t i = segment->offset; i < segment->offset + segment->count; i++)
            sum += segment->kind == GOSSIP_WEIGHTS ? (double)values[i] * (double)values[i] : 0.0;
    }
    return sqrt(sum);
}

double coded_distance(const gossip_t *g, uint32_t at, const float *values, double residual)
{
    double apart = gossip_distance(coded_truth(g, at), values, &g->config.table);
    if (residual == 0.0)
        return apart;
    double mine = norm(coded_truth(g, at), &g->config.table);
    return mine > 0.0 ? apart + residual / mine : HUGE_VAL;
}
