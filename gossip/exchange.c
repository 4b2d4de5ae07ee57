/* One exchange: train, publish, hear; exchange_mix.c has the mix. */
#include <string.h>

#include "gossip/async.h"
#include "gossip/pushsum.h"
#include "gossip/replica.h"

void exchange_over(gossip_t *g, uint32_t exchange, const float *values)
{
    if (g->over_told)
        return;
    g->over_told = true;
    gossip_action_t *action = act(g, GOSSIP_ACT_TRAINED);
    action->round = exchange;
    action->values = values;
    action->report = g->report;
}

void exchange_begin(gossip_t *g)
{
    g->announce_due = true;
    g->began_ms = g->now;
    uint32_t last = g->mixed_exchange;
    async_end(g);
    uint32_t e = g->exchange;
    if (e <= g->last_training) {
        g->phase = PHASE_TRAIN;
        gossip_action_t *action = act(g, GOSSIP_ACT_TRAIN);
        action->round = e;
        action->values = g->mixed;
        action->report = g->report;
        return;
    }
    memcpy(g->own[e & 1], g->mixed, g->bytes);
    if (g->truth)
        memcpy(g->truth, g->mixed, g->bytes);
    /* Not g->mixed: with the others' models here this very step may mix on. */
    exchange_over(g, last, g->truth ? g->truth : g->own[e & 1]);
    if (!g->consensus_told)
        act_note(g, GOSSIP_NOTE_PHASE, g->config.self, e, "consensus");
    g->consensus_told = true;
    g->own_exchange[e & 1] = 0;
    g->own_trained[e & 1] = false;
    g->own_accuracy[e & 1] = 1;
    g->publish_wait_ms = g->now;
    g->phase = PHASE_PUBLISH;
}

void exchange_model(gossip_t *g, const gossip_event_t *event)
{
    uint32_t e = g->exchange;
    if (g->phase != PHASE_TRAIN || event->round != e) /* late: caught up meanwhile */
        return;
    /* A model that diverged is refused by every neighbour: what was mixed last stands in for it. */
    bool sound = gossip_values_ok(event->values, &g->config.table);
    memcpy(g->own[e & 1], sound ? event->values : g->mixed, g->bytes);
    if (g->pushsum)
        pushsum_step(g, g->own[e & 1]);
    if (async_training(g))
        async_trained(g, sound);
    g->own_exchange[e & 1] = 0;
    g->own_trained[e & 1] = true;
    g->own_accuracy[e & 1] = event->accuracy >= 0 && event->accuracy <= 1 ? event->accuracy : 0;
    g->publish_wait_ms = g->now;
    g->phase = PHASE_PUBLISH;
    g->announce_due = true;
}

void exchange_end_training(gossip_t *g, uint32_t last)
{
    if (last >= g->last_training)
        return;
    g->last_training = last;
    g->announce_due = true;
}

bool link_has(const link_t *link, uint32_t exchange)
{
    const assembly_t *slot = &link->slot[exchange & 1];
    return slot->open && slot->id.number == exchange;
}

/* Has a model of `exchange`, or will have one. */
static bool takes_part(const gossip_t *g, const link_t *link, uint32_t exchange)
{
    const wire_announce_t *said = &link->said;
    return is_live(g, link->peer) && link->announced &&
           (said->newest == exchange || said->previous == exchange ||
            (said->publishes != 0 && said->publishes <= exchange));
}

bool exchange_waits(const gossip_t *g, const link_t *link)
{
    const assembly_t *slot = &link->slot[g->exchange & 1];
    if (!link->in_graph)
        return false;
    bool usable = slot->whole && replica_usable(g, link, g->exchange & 1);
    if (link_has(link, g->exchange) && (usable || slot->refused))
        return false;
    return takes_part(g, link, g->exchange);
}

/* My model of exchange e to those who are to hear it. */
static void send_model(gossip_t *g, uint32_t e)
{
    uint32_t at = e & 1;
    const uint8_t *data = coded_own(g, at);
    bool to_all = drawn_to_all(g, g->own_trained[at]);
    if (g->link_count == 0)
        return;
    wire_chunk_t chunk = {.object = {.type = coded_own_type(g, at),
                                     .origin = g->config.self,
                                     .incarnation = g->members[g->config.self].status.incarnation,
                                     .number = e}};
    for (uint32_t i = 0; i < object_chunks(coded_own_size(g, at)); i++) {
        chunk.index = i;
        if (to_all) {
            chunk_send(g, GOSSIP_DATA, GOSSIP_TO_ALL, &chunk, data, g->own_parts[at]);
            continue;
        }
        for (size_t k = 0; k < g->link_count; k++) {
            size_t peer = g->links[k].peer;
            if (is_live(g, peer) && drawn_sends(g, peer, e, g->own_trained[at]))
                chunk_send(g, GOSSIP_DATA, peer, &chunk, data, g->own_parts[at]);
        }
    }
}

static void publish(gossip_t *g)
{
    uint32_t e = g->exchange, at = e & 1;
    g->reach = g->samples;
    for (size_t k = 0; k < g->link_count; k++) {
        link_t *link = &g->links[k];
        link->in_graph = !async_training(g) && drawn_hears(g, link->peer, e, g->own_trained[at]) &&
                         takes_part(g, link, e);
        link->counted = link->said.samples;
    }
    probation_publish(g);
    for (size_t k = 0; k < g->link_count; k++)
        if (g->links[k].in_graph && !g->links[k].probation)
            g->reach += g->links[k].counted;
    if (g->config.tamper) {
        memcpy(g->truth, g->own[at], g->bytes);
        g->config.tamper->publish(g->config.tamper->user, e, g->own[at]);
    }
    g->own_exchange[at] = e;
    g->own_reach[at] = g->reach;
    g->own_age[at] = g->age;
    coded_publish(g, e);
    uint64_t size = coded_own_size(g, at);
    g->own_digest[at] = object_digest(g->own_parts[at], coded_own(g, at), size);
    g->own_entries[at] = g->own_sketches[at] = 0;
    if (!async_training(g)) {
        g->own_entries[at] = certificate_pack(g, e, g->own_head[at], &g->own_first[at]);
        g->own_sketches[at] = sketches_pack(
            g, e, g->own_head[at] + g->own_entries[at] * (WIRE_EDGE_BYTES + 1 + g->bitset));
    }
    g->published_ms = g->now;
    g->deadline_ms = deadline_at(g);
    g->phase = PHASE_EXCHANGE;
    g->announce_due = true;
    send_model(g, e);
}

static bool publish_advance(gossip_t *g)
{
    bool patient = !async_training(g) && (g->config.start_wait_ms < 0 ||
                                          g->now - g->publish_wait_ms < g->config.start_wait_ms);
    for (size_t k = 0; k < g->link_count; k++)
        if (patient && !g->links[k].announced && is_live(g, g->links[k].peer))
            return false;
    publish(g);
    return true;
}

bool exchange_advance(gossip_t *g)
{
    if (g->phase == PHASE_PUBLISH)
        return publish_advance(g);
    if (g->phase != PHASE_EXCHANGE)
        return false;
    if (g->now < g->deadline_ms)
        for (size_t k = 0; k < g->link_count; k++)
            if (exchange_waits(g, &g->links[k]) || drawn_holds(g, &g->links[k]))
                return false;
    bool decides = !async_training(g);
    exchange_mix(g);
    uint32_t e = g->exchange++;
    for (size_t k = 0; k < g->link_count && g->drawn; k++)
        assembly_free(&g->links[k].slot[e & 1]);
    if (decides && consensus_decide(g, e)) {
        adopt_begin(g);
        return true;
    }
    for (size_t k = 0; k < g->link_count && g->phase < PHASE_ADOPT; k++)
        if (g->links[k].announced && g->links[k].said.decided && is_live(g, g->links[k].peer))
            consensus_follow(g, &g->links[k].said);
    if (g->phase < PHASE_ADOPT)
        exchange_begin(g);
    return true;
}

/* A chunk of a neighbour's own model, pushed or asked for. Bounds of single fields were checked. */
void exchange_chunk(gossip_t *g, size_t from, const wire_chunk_t *chunk)
{
    link_t *link = link_of(g, from);
    uint64_t number = chunk->object.number;
    bool meets = async_meets(g, chunk), async = async_training(g) && !meets;
    int place = meets   ? async_meeting_slot(g, link, chunk)
                : async ? async_slot(g, link, chunk)
                        : (int)(number & 1);
    bool late = !meets && (number < g->exchange || number > (uint64_t)g->exchange + 1);
    if (g->phase >= PHASE_ADOPT || (async ? place < 0 : late)) {
        count(g, GOSSIP_COUNT_CHUNKS_STALE);
        return;
    }
    /* Not for me: takes no memory. Who trains no more mixes those that it meets, trained or not. */
    if (!drawn_hears(g, from, (uint32_t)number, chunk->trained) &&
        !(number > g->last_training && drawn_hears(g, from, (uint32_t)number, false))) {
        count(g, GOSSIP_COUNT_CHUNKS_STALE);
        return;
    }
    size_t at = (size_t)place;
    assembly_t *slot = &link->slot[at];
    bool whole = chunk->object.type == WIRE_REPLICA;
    bool is_whole = slot->open && slot->id.number == number && slot->id.type == WIRE_REPLICA;
    if (!whole && (is_whole || (chunk->trained && replica_wanted(g, link, (uint32_t)number)))) {
        count(g, GOSSIP_COUNT_CHUNKS_DUPLICATE);
        return;
    }
    bool same = slot->open && object_equal(&slot->id, &chunk->object);
    if (same && (memcmp(slot->digest.bytes, chunk->digest, HASH_BYTES) != 0 ||
                 link->samples[at] != chunk->samples || link->reach[at] != chunk->reach ||
                 link->trained[at] != chunk->trained || link->age[at] != chunk->age)) {
        count(g, GOSSIP_COUNT_FRAMES_BAD);
        return;
    }
    if (!same) {
        hash_t digest;
        memcpy(digest.bytes, chunk->digest, HASH_BYTES);
        bool pulled = slot->pulled && slot->id.number == number;
        uint32_t outstanding = slot->outstanding;
        if (!slot->data && !assembly_init(slot, coded_room(g), true))
            return; /* no memory now: it is asked for again */
        assembly_open(slot, &chunk->object, &digest, chunk->size);
        slot->floats = !chunk->trained || !(g->coded || g->pushsum);
        slot->pulled = pulled;
        slot->outstanding = pulled ? outstanding : 0;
        link->samples[at] = chunk->samples;
        link->reach[at] = chunk->reach;
        link->trained[at] = chunk->trained;
        link->age[at] = (uint32_t)chunk->age;
    }
    chunk_result_t result = assembly_add(g, slot, chunk);
    if (result == CHUNK_DUPLICATE)
        count(g, GOSSIP_COUNT_CHUNKS_DUPLICATE);
    if (result == CHUNK_BAD)
        count(g, GOSSIP_COUNT_FRAMES_BAD);
    if (result != CHUNK_NEW && result != CHUNK_WHOLE)
        return;
    count(g, GOSSIP_COUNT_CHUNKS_IN);
    if (chunk->index == 0 && !async) {
        certificate_merge(g, chunk);
        if (chunk->missed.size && number == (uint64_t)g->mixed_exchange + 1 && !drawn_directed(g) &&
            link->compared != (uint32_t)number) { /* a MODEL and its REPLICA tell the same */
            link->compared = (uint32_t)number;
            g->report.drifted += bit_get(chunk->missed.bytes, g->config.self) != link->missed_last;
        }
    }
    if (result == CHUNK_WHOLE && coded_take(g, link, (uint32_t)at))
        link->arrived_ms[at] = g->now;
}
