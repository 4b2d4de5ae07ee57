/* Looking in: for screens, logs and tests. */
#include <string.h>

#include "gossip/pushsum.h"
#include "gossip/replica.h"

uint64_t gossip_counter(const gossip_t *g, gossip_counter_t counter)
{
    return (unsigned)counter < GOSSIP_COUNTERS ? g->counters[counter] : 0;
}

const char *gossip_counter_name(gossip_counter_t counter)
{
    static const char *const names[GOSSIP_COUNTERS] = {
        "frames_in",        "frames_bad",   "frames_foreign", "chunks_in",
        "chunks_duplicate", "chunks_stale", "models_refused", "repairs_asked",
        "repairs_served",   "repairs_gone", "missing"};
    return (unsigned)counter < GOSSIP_COUNTERS ? names[counter] : "";
}

uint64_t gossip_model_bytes(const gossip_t *g, bool training)
{
    return coded_size(g, training);
}

static const char *phase_name(const gossip_t *g)
{
    switch (g->phase) {
    case PHASE_JOIN:
    case PHASE_TRAIN:
        return "train";
    case PHASE_PUBLISH:
    case PHASE_EXCHANGE:
        return g->own_trained[g->exchange & 1] ? "exchange" : "consensus";
    case PHASE_ADOPT:
        return "adopt";
    case PHASE_STAGE:
        return "records";
    case PHASE_SERVE:
        return "serve";
    default:
        return "finished";
    }
}

/* Neighbours whose models, or whose first word, are awaited. */
void gossip_status(const gossip_t *g, gossip_status_t *status)
{
    *status = (gossip_status_t){.exchange = g->exchange, .phase = phase_name(g)};
    for (size_t k = 0; k < g->link_count; k++) {
        const link_t *link = &g->links[k];
        bool awaited =
            (g->phase == PHASE_EXCHANGE && (exchange_waits(g, link) || drawn_holds(g, link))) ||
            (g->phase == PHASE_PUBLISH && !link->announced && is_live(g, link->peer));
        if (!awaited)
            continue;
        if (status->waited_for_count < sizeof status->waited_for / sizeof status->waited_for[0])
            status->waited_for[status->waited_for_count] = link->peer;
        status->waited_for_count++;
    }
    status->waiting = status->waited_for_count > 0;
}

static void add_assembly(hash_stream_t *stream, const assembly_t *assembly)
{
    uint64_t numbers[] = {assembly->open,           assembly->whole,   assembly->refused,
                          assembly->id.type,        assembly->id.kind, assembly->id.origin,
                          assembly->id.number,      assembly->have,    assembly->size,
                          assembly->id.incarnation, assembly->source,  assembly->outstanding};
    hash_stream_add(stream, numbers, sizeof numbers);
    hash_stream_add(stream, &assembly->digest, sizeof assembly->digest);
    hash_stream_add(stream, assembly->got, assembly->capacity_chunks);
    for (uint32_t i = 0; assembly->open && i < assembly->count; i++)
        if (assembly->got[i])
            hash_stream_add(stream, assembly->data + (size_t)i * CHUNK_BYTES,
                            object_chunk_size(assembly->size, i));
}

hash_t gossip_state_digest(const gossip_t *g)
{
    hash_stream_t *stream = hash_stream_new();
    uint64_t numbers[] = {
        g->phase,        g->exchange,     g->last_training,  g->mixed_exchange, g->joined,
        g->reach,        g->mixes,        g->link_count,     g->catching,       g->decided,
        g->record_count, g->have_adopted, g->estimates_out,  g->merging,        g->all_done,
        g->announce_due, g->stop_streak,  g->report.drifted, g->stage,          g->stage_out,
        g->stage_given,  g->age};
    hash_stream_add(stream, numbers, sizeof numbers);
    hash_stream_add(stream, g->mixed, g->bytes);
    hash_stream_add(stream, g->present, g->bitset);
    for (int i = 0; i < 2; i++)
        hash_stream_add(stream, g->own[i], g->bytes);
    for (size_t p = 0; p < g->config.peers; p++) {
        const wire_status_t *status = &g->members[p].status;
        uint64_t member[] = {status->incarnation, status->life,        status->beat,
                             status->flags,       g->members[p].heard, g->members[p].suspected};
        hash_stream_add(stream, member, sizeof member);
    }
    for (size_t k = 0; k < g->link_count; k++) {
        const link_t *link = &g->links[k];
        uint64_t said[] = {link->announced,   link->said.exchange, link->said.publishes,
                           link->said.newest, link->said.samples,  link->said.reach,
                           link->said.state,  link->said.phase,    link->samples[0],
                           link->samples[1],  link->reach[0],      link->reach[1],
                           link->age[0],      link->age[1],        link->taken,
                           link->owed,        link->offence,       link->probation};
        hash_stream_add(stream, said, sizeof said);
        add_assembly(stream, &link->slot[0]);
        add_assembly(stream, &link->slot[1]);
    }
    for (size_t i = 0; i < g->certificate_count; i++) {
        const certificate_t *c = &g->certificates[i];
        hash_stream_add(stream, &c->exchange, sizeof c->exchange);
        hash_stream_add(stream, &c->edge, sizeof c->edge);
        hash_stream_add(stream, &c->flags, sizeof c->flags);
        hash_stream_add(stream, &c->accuracy, sizeof c->accuracy);
        hash_stream_add(stream, c->present, g->bitset);
        for (size_t p = 0; c->words && p < g->config.peers; p++)
            if (c->words[p].here)
                hash_stream_add(stream, &c->words[p].sketch, sizeof c->words[p].sketch);
    }
    add_assembly(stream, &g->state);
    if (g->pushsum)
        pushsum_digest(g, stream);
    if (g->replicas)
        replicas_digest(g, stream);
    for (size_t r = 0; r < g->record_count; r++)
        add_assembly(stream, &g->records[r].assembly);
    return hash_stream_end(&stream);
}
