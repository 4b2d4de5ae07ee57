/* Pull: asking for the chunks of an object, with credit, and answering. */
#include <string.h>

#include "gossip/async.h"
#include "gossip/replica.h"

static void chunk_common(const gossip_t *g, wire_chunk_t *chunk)
{
    chunk->version = WIRE_VERSION;
    memcpy(chunk->federation, g->federation.bytes, WIRE_SHORT_BYTES);
    chunk->sender = g->config.self;
    chunk->incarnation = g->members[g->config.self].status.incarnation;
    if (!chunk->samples)
        chunk->samples = chunk->reach = 1;
}

static bool is_model(const wire_object_t *object)
{
    return object->type == WIRE_MODEL || object->type == WIRE_REPLICA;
}

/* chunk->object and index are set, of a REPLICA that was not published as one size and digest, too;
 * for a MODEL all else of the head is filled in here. */
void chunk_send(gossip_t *g, gossip_channel_t channel, size_t to, wire_chunk_t *chunk,
                const uint8_t *data, const hash_t *parts)
{
    if (is_model(&chunk->object)) {
        uint32_t at = (uint32_t)chunk->object.number & 1;
        chunk->samples = g->samples;
        chunk->reach = g->own_reach[at];
        chunk->trained = g->own_trained[at];
        chunk->age = g->own_age[at];
        if (chunk->object.type == coded_own_type(g, at)) { /* as published */
            chunk->size = coded_own_size(g, at);
            memcpy(chunk->digest, g->own_digest[at].bytes, HASH_BYTES);
        }
        size_t entries = chunk->index == 0 ? g->own_entries[at] : 0;
        const uint8_t *head = g->own_head[at];
        chunk->first = entries ? g->own_first[at] : 0;
        chunk->edges = (wire_view_t){head, WIRE_EDGE_BYTES * entries};
        chunk->flags = (wire_view_t){head + chunk->edges.size, entries};
        chunk->present = (wire_view_t){chunk->flags.bytes + chunk->flags.size, entries * g->bitset};
        chunk->sketches =
            (wire_view_t){chunk->present.bytes + chunk->present.size,
                          chunk->index == 0 ? g->own_sketches[at] * WIRE_SKETCH_BYTES : 0};
        bool last = chunk->object.number == (uint64_t)g->mixed_exchange + 1;
        chunk->missed = (wire_view_t){g->missed, chunk->index == 0 && last ? g->bitset : 0};
    }
    chunk->count = object_chunks(chunk->size);
    chunk_common(g, chunk);
    memcpy(chunk->part, parts[chunk->index].bytes, HASH_BYTES);
    chunk->payload = (wire_view_t){data + (size_t)chunk->index * CHUNK_BYTES,
                                   object_chunk_size(chunk->size, (uint32_t)chunk->index)};
    size_t size = 0;
    uint8_t *frame = wire_pack_chunk(&size, chunk);
    act_send(g, channel, to, frame, size);
}

static void send_gone(gossip_t *g, size_t to, const wire_object_t *object, uint64_t newest)
{
    wire_chunk_t chunk = {.object = *object, .count = 1, .gone = true, .newest = newest};
    chunk_common(g, &chunk);
    size_t size = 0;
    uint8_t *frame = wire_pack_chunk(&size, &chunk);
    act_send(g, GOSSIP_REPAIR_ANSWER, to, frame, size);
    count(g, GOSSIP_COUNT_REPAIRS_GONE);
}

/* A STATE being fetched stays as it is for a while, so that a slow fetch comes to its end. */
static bool pin_state(gossip_t *g, uint64_t number)
{
    if (g->phase == PHASE_JOIN || g->mixed_exchange == 0)
        return false;
    bool fresh = g->pinned_exchange && g->now - g->pinned_ms < PIN_MS &&
                 (uint64_t)g->pinned_exchange + 1 >= g->mixed_exchange;
    if (number == 0 && !fresh && g->pinned_exchange != g->mixed_exchange) {
        if (!g->pinned) {
            g->pinned = xcalloc(g->bytes, 1);
            g->pinned_parts = xcalloc(object_chunks(g->bytes), sizeof *g->pinned_parts);
        }
        memcpy(g->pinned, g->mixed, g->bytes);
        g->pinned_exchange = g->mixed_exchange;
        g->pinned_age = g->age;
        g->pinned_digest = object_digest(g->pinned_parts, g->pinned, g->bytes);
    }
    if (number != 0 && number != g->pinned_exchange)
        return false;
    g->pinned_ms = g->now;
    return true;
}

/* Finds what is asked for; fills chunk's object, size and digest. NULL: gone. */
static const uint8_t *find(gossip_t *g, const wire_object_t *object, wire_chunk_t *chunk,
                           const hash_t **parts, uint64_t *newest)
{
    uint32_t at = (uint32_t)object->number & 1;
    bool mine = object->origin == g->config.self;
    chunk->object = *object;
    if (is_model(object)) {
        *newest = g->own_exchange[0] > g->own_exchange[1] ? g->own_exchange[0] : g->own_exchange[1];
        if (!mine || object->number == 0 || g->own_exchange[at] != object->number ||
            object->incarnation != g->members[g->config.self].status.incarnation)
            return NULL;
        if (object->type == WIRE_REPLICA && g->replicas && g->own_trained[at]) {
            hash_t digest;
            *parts = replica_parts(g, at, &digest);
            chunk->size = replica_size(g);
            memcpy(chunk->digest, digest.bytes, HASH_BYTES);
            return replica_object(g, at);
        }
        chunk->object.type = coded_own_type(g, at);
        chunk->size = coded_own_size(g, at);
        *parts = g->own_parts[at];
        return coded_own(g, at);
    }
    if (object->type == WIRE_STATE) {
        *newest = g->mixed_exchange;
        if (!mine || !pin_state(g, object->number))
            return NULL;
        chunk->object.number = g->pinned_exchange;
        chunk->age = g->pinned_age;
        chunk->size = g->bytes;
        memcpy(chunk->digest, g->pinned_digest.bytes, HASH_BYTES);
        *parts = g->pinned_parts;
        return (const uint8_t *)g->pinned;
    }
    record_t *record = record_find(g, (wire_kind_t)object->kind, object->origin);
    if (!record || !record->assembly.whole || !object_equal(&record->assembly.id, object))
        return NULL;
    *parts = record->assembly.parts;
    chunk->size = record->assembly.size;
    memcpy(chunk->digest, record->assembly.digest.bytes, HASH_BYTES);
    return record->assembly.data;
}

/* Anybody can connect to where asks come in and claim a name: an ask is answered when it speaks of
 * the incarnation that the peer's own announcements told of, and it changes nothing. */
static bool from_member(gossip_t *g, size_t from, uint64_t sender, const uint8_t *federation,
                        uint64_t incarnation)
{
    return sender == from && link_of(g, from) &&
           !memcmp(federation, g->federation.bytes, WIRE_SHORT_BYTES) &&
           incarnation == g->members[from].status.incarnation;
}

void repair_ask_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size)
{
    wire_ask_t ask = {0};
    if (size > GOSSIP_CONTROL_BYTES || !wire_unpack_ask(&ask, bytes, size) ||
        ask.object.origin >= g->config.peers) {
        count(g, GOSSIP_COUNT_FRAMES_BAD);
        return;
    }
    if (!from_member(g, from, ask.sender, ask.federation, ask.incarnation)) {
        count(g, GOSSIP_COUNT_FRAMES_FOREIGN);
        return;
    }
    wire_chunk_t chunk = {0};
    const hash_t *parts = NULL;
    uint64_t newest = 0;
    const uint8_t *data = find(g, &ask.object, &chunk, &parts, &newest);
    if (!data) {
        send_gone(g, from, &ask.object, newest);
        return;
    }
    for (size_t i = 0; i < ask.chunks.size; i += 4) {
        uint64_t before = chunk.index;
        chunk.index = wire_get(ask.chunks.bytes + i, 4);
        if (chunk.index >= object_chunks(chunk.size) || (i > 0 && chunk.index <= before)) {
            count(g, GOSSIP_COUNT_FRAMES_BAD);
            return;
        }
        chunk_send(g, GOSSIP_REPAIR_ANSWER, from, &chunk, data, parts);
        count(g, GOSSIP_COUNT_REPAIRS_SERVED);
    }
}

static bool chunk_ok(const gossip_t *g, size_t from, const wire_chunk_t *chunk, bool pushed)
{
    const wire_object_t *object = &chunk->object;
    if (object->origin >= g->config.peers || chunk->reach < chunk->samples ||
        !samples_ok(g, chunk->samples) || !certificate_ok(g, chunk))
        return false;
    if (chunk->gone)
        return !pushed && chunk->payload.size == 0;
    if (object->type == WIRE_RECORD)
        return !pushed && object->kind != 0;
    uint64_t size = coded_size(g, object->type == WIRE_MODEL && chunk->trained);
    if (object->type == WIRE_REPLICA) {
        if (!g->replicas || !chunk->trained)
            return false;
        size = replica_size(g);
    }
    if (chunk->size != size || chunk->count != object_chunks(size) || object->number == 0 ||
        object->kind != 0 || chunk->payload.size != object_chunk_size(size, (uint32_t)chunk->index))
        return false;
    if (g->config.scheme == GOSSIP_ASYNC ? chunk->age < 1 || chunk->age > async_oldest(g)
                                         : chunk->age != 0)
        return false;
    if (is_model(object))
        return object->origin == from;
    return !pushed && object->origin == from;
}

/* Checked ahead of everything that changes state. */
static bool payload_ok(const wire_chunk_t *chunk)
{
    if (chunk->gone)
        return true;
    hash_t part = hash_bytes(chunk->payload.bytes, chunk->payload.size);
    return !memcmp(part.bytes, chunk->part, HASH_BYTES);
}

static void gone_heard(gossip_t *g, size_t from, const wire_chunk_t *chunk)
{
    if (chunk->object.type == WIRE_MODEL && async_training(g))
        async_gone(link_of(g, from), &chunk->object);
    if (chunk->object.type == WIRE_STATE && g->catching && g->state.source == from) {
        g->state.open = g->state.pulled = false; /* the next ask takes the newest */
        g->state.outstanding = 0;
    }
    if (chunk->object.type == WIRE_RECORD) {
        record_t *record =
            record_find(g, (wire_kind_t)chunk->object.kind, (size_t)chunk->object.origin);
        if (record && !record->assembly.whole && record->assembly.source == from)
            record->assembly.outstanding = 0;
    }
}

static void chunk_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size, bool pushed)
{
    wire_chunk_t chunk = {0};
    if (size > GOSSIP_CHUNK_BYTES + 4096 || !wire_unpack_chunk(&chunk, bytes, size)) {
        count(g, GOSSIP_COUNT_FRAMES_BAD);
        return;
    }
    if (chunk.sender != from || !link_of(g, from) ||
        memcmp(chunk.federation, g->federation.bytes, WIRE_SHORT_BYTES) != 0) {
        count(g, GOSSIP_COUNT_FRAMES_FOREIGN);
        return;
    }
    if (is_model(&chunk.object) && chunk.object.origin != from) {
        count(g, GOSSIP_COUNT_FRAMES_FOREIGN); /* another's model on this one's socket */
        return;
    }
    if (!chunk_ok(g, from, &chunk, pushed) || !payload_ok(&chunk)) {
        count(g, GOSSIP_COUNT_FRAMES_BAD);
        return;
    }
    if (!liveness_frame(g, from, chunk.incarnation) ||
        (is_model(&chunk.object) && chunk.object.incarnation != chunk.incarnation)) {
        count(g, GOSSIP_COUNT_FRAMES_FOREIGN);
        return;
    }
    if (chunk.gone)
        gone_heard(g, from, &chunk);
    else if (is_model(&chunk.object))
        exchange_chunk(g, from, &chunk);
    else if (chunk.object.type == WIRE_STATE)
        catchup_chunk(g, from, &chunk);
    else
        record_chunk(g, from, &chunk);
}

void data_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size)
{
    chunk_heard(g, from, bytes, size, true);
}

void repair_answer_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size)
{
    chunk_heard(g, from, bytes, size, false);
}

/* Asks for the next missing chunks; `open` tells whether the assembly's chunks are known. */
static void ask(gossip_t *g, assembly_t *assembly, size_t to, const wire_object_t *object,
                bool open, uint32_t chunks)
{
    uint8_t list[4 * WIRE_ASK_CHUNKS];
    size_t n = 0;
    for (uint32_t i = 0; i < chunks && n < WIRE_ASK_CHUNKS; i++)
        if (!open || !assembly->got[i])
            wire_put(list + 4 * n++, 4, i);
    wire_ask_t message = {.version = WIRE_VERSION,
                          .sender = g->config.self,
                          .incarnation = g->members[g->config.self].status.incarnation,
                          .object = *object,
                          .chunks = {list, 4 * n}};
    memcpy(message.federation, g->federation.bytes, WIRE_SHORT_BYTES);
    assembly->outstanding = (uint32_t)n;
    assembly->pulled = true;
    assembly->asks++;
    assembly->progress_ms = g->now;
    size_t size = 0;
    uint8_t *frame = wire_pack_ask(&size, &message);
    act_send(g, GOSSIP_REPAIR_ASK, to, frame, size);
    count(g, GOSSIP_COUNT_REPAIRS_ASKED);
}

/* Time to ask: no progress for a while, or all that was asked for is here. */
static bool due(const gossip_t *g, const assembly_t *assembly)
{
    return g->now - assembly->progress_ms >= REPAIR_MS ||
           (assembly->pulled && assembly->outstanding == 0 && assembly->asks == 0);
}

static void repair_model(gossip_t *g, link_t *link)
{
    uint32_t e = g->exchange;
    assembly_t *slot = &link->slot[e & 1];
    bool open = slot->open && slot->id.number == e;
    if (!exchange_waits(g, link) || (!open && link->said.newest != e && link->said.previous != e))
        return;
    if (open && slot->whole) { /* a difference, and what it is one to is not here */
        replica_want(g, link, e);
        open = slot->open = slot->whole = slot->pulled = false;
        slot->asks = slot->outstanding = 0;
        slot->progress_ms = g->now - REPAIR_MS;
    }
    if (!open && slot->id.number != e) { /* nothing of it yet: the clock begins now */
        slot->open = slot->whole = slot->refused = slot->pulled = false;
        slot->id.number = e;
        slot->asks = slot->outstanding = 0;
        slot->progress_ms = g->now;
        return;
    }
    if (!due(g, slot))
        return;
    bool whole = replica_wanted(g, link, e);
    uint32_t chunks = whole ? object_chunks(replica_size(g)) : coded_chunks_least(g);
    wire_object_t object = {.type = open    ? (wire_type_t)slot->id.type
                                    : whole ? WIRE_REPLICA
                                            : WIRE_MODEL,
                            .origin = link->peer,
                            .incarnation = g->members[link->peer].status.incarnation,
                            .number = e};
    ask(g, slot, link->peer, &object, open, open ? slot->count : chunks);
}

void repair_advance(gossip_t *g)
{
    for (size_t k = 0; async_training(g) && k < g->link_count; k++) {
        assembly_t *slot = async_missing(g, &g->links[k]);
        if (slot && due(g, slot))
            ask(g, slot, g->links[k].peer, &slot->id, true, slot->count);
    }
    if (g->phase == PHASE_EXCHANGE)
        for (size_t k = 0; k < g->link_count; k++)
            repair_model(g, &g->links[k]);
    if (g->catching && due(g, &g->state)) {
        wire_object_t object = {.type = WIRE_STATE, .origin = g->state.source};
        if (g->state.open)
            object = g->state.id;
        ask(g, &g->state, g->state.source, &object, g->state.open, object_chunks(g->bytes));
    }
    bool quiet = true;
    for (size_t r = 0; r < g->record_count && !g->records_quiet; r++) {
        assembly_t *assembly = &g->records[r].assembly;
        if (assembly->whole || assembly->refused)
            continue;
        quiet = false;
        if (is_live(g, assembly->source) && due(g, assembly))
            ask(g, assembly, assembly->source, &assembly->id, true, assembly->count);
    }
    g->records_quiet = quiet;
}

int64_t repair_wake(const gossip_t *g)
{
    bool wanted = g->catching;
    for (size_t k = 0; async_training(g) && k < g->link_count && !wanted; k++)
        wanted = async_missing((gossip_t *)g, &g->links[k]) != NULL;
    for (size_t r = 0; r < g->record_count && !wanted && !g->records_quiet; r++)
        wanted = !g->records[r].assembly.whole && !g->records[r].assembly.refused;
    if (g->phase == PHASE_EXCHANGE)
        for (size_t k = 0; k < g->link_count && !wanted; k++)
            wanted = exchange_waits(g, &g->links[k]);
    return wanted ? g->now + REPAIR_MS / 4 : INT64_MAX;
}
