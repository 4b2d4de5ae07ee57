#include "gossip/async.h"

#include <string.h>

bool async_training(const gossip_t *g)
{
    return g->config.scheme == GOSSIP_ASYNC && g->phase < PHASE_ADOPT &&
           g->exchange <= g->last_training;
}

void async_end(gossip_t *g)
{
    if (g->config.scheme != GOSSIP_ASYNC || g->exchange <= g->last_training ||
        g->joined > g->config.rounds)
        return;
    g->mixed_exchange = g->config.rounds;
    g->exchange = g->joined = g->config.rounds + 1;
}

uint64_t async_oldest(const gossip_t *g)
{
    uint64_t oldest = 1 + (uint64_t)g->config.rounds * g->config.peers;
    return oldest < WIRE_AGE_MAX ? oldest : WIRE_AGE_MAX;
}

void async_trained(gossip_t *g, bool sound)
{
    if (sound && g->age < async_oldest(g))
        g->age++;
}

/* The last number of this peer that needs no other. */
static uint64_t taken(const gossip_t *g, const link_t *link)
{
    bool same = link->taken_incarnation == g->members[link->peer].status.incarnation;
    return same ? link->taken : 0;
}

/* Holds the peer's first model of the consensus, newer than all that it trained: that one stays. */
static bool met(const link_t *link, int i, const wire_chunk_t *chunk)
{
    const assembly_t *slot = &link->slot[i];
    return slot->open && !link->trained[i] && slot->id.incarnation == chunk->object.incarnation;
}

int async_slot(const gossip_t *g, const link_t *link, const wire_chunk_t *chunk)
{
    const assembly_t *slot = link->slot;
    uint64_t number = chunk->object.number, newest = taken(g, link);
    int older = 0;
    if (!chunk->trained || number > g->config.rounds)
        return -1;
    for (int i = 0; i < 2; i++) {
        bool mine = slot[i].open && slot[i].id.incarnation == chunk->object.incarnation;
        if (mine && slot[i].id.number == number)
            return i;
        if (mine && slot[i].whole && !met(link, i, chunk) && slot[i].id.number > newest)
            newest = slot[i].id.number;
    }
    if (number <= newest)
        return -1;
    for (int i = 0; i < 2; i++)
        if (met(link, i, chunk))
            return !i;
    /* Into the one that is not needed: never the newest whole model. */
    for (int i = 0; i < 2; i++) {
        bool mine = slot[i].open && slot[i].id.incarnation == chunk->object.incarnation;
        if (!mine)
            return i;
        if (slot[i].id.number < slot[older].id.number)
            older = i;
    }
    if (slot[older].whole && slot[older].id.number == newest)
        older = !older;
    return number > slot[older].id.number ? older : -1;
}

/* The newest whole model that was not mixed yet, or NULL; what is older than it is dropped. */
static assembly_t *newest_whole(const gossip_t *g, link_t *link)
{
    assembly_t *best = NULL;
    for (int i = 0; i < 2; i++) {
        assembly_t *slot = &link->slot[i];
        if (slot->open && slot->whole && link->trained[i] && slot->id.number > taken(g, link) &&
            slot->id.incarnation == g->members[link->peer].status.incarnation &&
            (!best || slot->id.number > best->id.number))
            best = slot;
    }
    return best;
}

bool async_meets(const gossip_t *g, const wire_chunk_t *chunk)
{
    return async_training(g) && !chunk->trained &&
           chunk->object.number == (uint64_t)g->config.rounds + 1;
}

int async_meeting_slot(const gossip_t *g, link_t *link, const wire_chunk_t *chunk)
{
    uint32_t at = (g->config.rounds + 1) & 1;
    bool here = link->slot[at].open && object_equal(&link->slot[at].id, &chunk->object);
    if (here || newest_whole(g, link) != &link->slot[at])
        return (int)at;
    assembly_t slot = link->slot[0]; /* what is to be mixed yet makes room */
    link->slot[0] = link->slot[1];
    link->slot[1] = slot;
    link->samples[!at] = link->samples[at];
    link->reach[!at] = link->reach[at];
    link->trained[!at] = link->trained[at];
    link->age[!at] = link->age[at];
    link->residual[!at] = link->residual[at];
    link->arrived_ms[!at] = link->arrived_ms[at];
    return (int)at;
}

static void take(gossip_t *g, link_t *link, const assembly_t *model)
{
    uint64_t number = model->id.number;
    link->taken = number;
    link->taken_incarnation = g->members[link->peer].status.incarnation;
    for (int i = 0; i < 2; i++)
        if (link->slot[i].id.number <= number)
            link->slot[i].open = false; /* its bytes stay until the next chunk */
}

/* How much of my round a neighbour's model cannot know of: 0 when it came as the round ended, 1
 * when it was there as the round began. */
static double unknown(const gossip_t *g, const link_t *link, size_t at)
{
    double round = (double)(g->now - g->began_ms), ago = (double)(g->now - link->arrived_ms[at]);
    return ago < round ? ago / round : 1.0;
}

/* My own part of a mix: what others take for my model, without `share` of what the round added to
 * its weights. */
static const float *own_part(gossip_t *g, double share)
{
    uint32_t at = g->exchange & 1;
    const float *own = coded_truth(g, at), *part = coded_part(g, at), *began = g->mixed;
    for (size_t s = 0; s < g->config.table.count; s++) {
        const gossip_segment_t *segment = &g->config.table.segments[s];
        double less = segment->kind == GOSSIP_WEIGHTS ? share : 0.0;
        for (size_t i = segment->offset; i < segment->offset + segment->count; i++)
            g->part[i] = saturated((double)part[i] - less * ((double)own[i] - (double)began[i]));
    }
    return g->part;
}

size_t async_gather(gossip_t *g, gossip_part_t *parts, double *weights, double *residual,
                    size_t *self)
{
    const uint32_t mine = g->age;
    double others = 0.0, late = 0.0; /* weights; times how much of my round they do not know */
    size_t n = 0;
    bool placed = false;
    for (size_t k = 0; k <= g->link_count; k++) {
        link_t *link = k < g->link_count ? &g->links[k] : NULL;
        if (!placed && (!link || link->peer > g->config.self)) {
            *self = n;
            weights[n++] = (double)mine;
            placed = true;
        }
        if (!link)
            break;
        assembly_t *model = newest_whole(g, link);
        link->missed_last = false;
        if (!model)
            continue;
        size_t at = (size_t)(model - link->slot);
        uint32_t age = link->age[at];
        take(g, link, model);
        if ((uint64_t)age + g->config.staleness < mine)
            continue;
        g->age = age > g->age ? age : g->age;
        weights[n] = age < mine ? (double)age / (double)(mine - age) : (double)mine;
        others += weights[n];
        late += weights[n] * unknown(g, link, at);
        residual[n] = link->residual[at];
        parts[n++].values = (const float *)(const void *)model->data;
    }
    for (size_t k = 0; k < n; k++)
        weights[k] /= (double)mine + others;
    parts[*self].values = own_part(g, others > 0.0 ? late / others : 0.0);
    return n;
}

assembly_t *async_missing(gossip_t *g, link_t *link)
{
    assembly_t *best = NULL;
    for (int i = 0; i < 2; i++) {
        assembly_t *slot = &link->slot[i];
        if (slot->open && !slot->whole && !slot->refused && slot->id.number > taken(g, link) &&
            slot->id.incarnation == g->members[link->peer].status.incarnation &&
            (!best || slot->id.number > best->id.number))
            best = slot;
    }
    return best;
}

void async_gone(link_t *link, const wire_object_t *object)
{
    for (int i = 0; i < 2; i++)
        if (link->slot[i].open && !link->slot[i].whole && object_equal(&link->slot[i].id, object))
            link->slot[i].open = false;
}
