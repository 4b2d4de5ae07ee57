/* The control announcement: all that a late subscriber must know, each second and on change. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "gossip/state.h"

uint32_t next_publish(const gossip_t *g)
{
    if (g->phase == PHASE_JOIN || g->phase >= PHASE_ADOPT)
        return 0;
    return g->phase == PHASE_EXCHANGE ? g->exchange + 1 : g->exchange;
}

static wire_phase_t wire_phase(const gossip_t *g)
{
    switch (g->phase) {
    case PHASE_JOIN:
    case PHASE_TRAIN:
        return WIRE_TRAINING;
    case PHASE_PUBLISH:
    case PHASE_EXCHANGE:
        return g->own_trained[g->exchange & 1] ? WIRE_EXCHANGING : WIRE_CONSENSUS;
    case PHASE_ADOPT:
        return WIRE_ADOPTING;
    case PHASE_STAGE:
        return WIRE_RECORDING;
    default:
        return WIRE_SERVING;
    }
}

/* My own status first, then the others' in turns. */
static size_t put_statuses(gossip_t *g, uint8_t *bytes)
{
    size_t n = 0, peers = g->config.peers;
    wire_put_status(bytes, &g->members[g->config.self].status);
    n++;
    for (size_t i = 0; i < peers && n < WIRE_STATUSES_MAX; i++) {
        size_t p = (g->status_turn + i) % peers;
        const member_t *member = &g->members[p];
        if (p == g->config.self || (!member->heard && !member->status.flags))
            continue;
        wire_put_status(bytes + n++ * WIRE_STATUS_BYTES, &member->status);
        if (n == WIRE_STATUSES_MAX)
            g->status_turn = (p + 1) % peers;
    }
    return n * WIRE_STATUS_BYTES;
}

static size_t put_offers(gossip_t *g, uint8_t *bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < g->record_count && n < WIRE_OFFERS_MAX; i++) {
        size_t r = (g->offer_turn + i) % g->record_count;
        const assembly_t *assembly = &g->records[r].assembly;
        if (!assembly->whole || assembly->refused)
            continue;
        wire_put_offer(bytes + n++ * WIRE_OFFER_BYTES,
                       &(wire_offer_t){assembly->id, assembly->size, assembly->digest});
        if (n == WIRE_OFFERS_MAX)
            g->offer_turn = (r + 1) % g->record_count;
    }
    return n * WIRE_OFFER_BYTES;
}

void announce_send(gossip_t *g, bool goodbye)
{
    uint8_t sections[GOSSIP_SECTIONS_MAX * WIRE_SECTION_BYTES] = {0};
    uint8_t offers[WIRE_OFFERS_MAX * WIRE_OFFER_BYTES];
    uint8_t statuses[WIRE_STATUSES_MAX * WIRE_STATUS_BYTES];
    const gossip_config_t *config = &g->config;
    wire_status_t *status = &g->members[config->self].status;
    status->beat++;
    for (size_t s = 0; s < config->section_count; s++) {
        memcpy(sections + s * WIRE_SECTION_BYTES, config->sections[s].name, 16);
        memcpy(sections + s * WIRE_SECTION_BYTES + 16, config->sections[s].digest, 8);
    }
    uint32_t newest_at = g->own_exchange[1] > g->own_exchange[0];
    wire_announce_t say = {
        .version = WIRE_VERSION,
        .sections = {sections, config->section_count * WIRE_SECTION_BYTES},
        .peer = config->self,
        .incarnation = status->incarnation,
        .phase = wire_phase(g),
        .exchange = g->exchange,
        .publishes = next_publish(g),
        .newest = g->own_exchange[newest_at],
        .previous = g->own_exchange[!newest_at],
        .chunks = object_chunks(coded_own_size(g, newest_at)),
        .samples = g->samples,
        .reach = g->own_reach[newest_at] ? g->own_reach[newest_at] : g->samples,
        .state = g->phase == PHASE_JOIN ? 0 : g->mixed_exchange,
        .over = g->exchange > g->last_training || g->last_training < config->rounds,
        .last = g->last_training,
        .goodbye = goodbye,
        .all_done = g->all_done,
        .decided = g->phase >= PHASE_ADOPT ? g->decided : 0,
        .bound = g->bound,
        .present = {g->present, g->phase >= PHASE_ADOPT && g->decided ? g->bitset : 0},
    };
    memcpy(say.federation, g->federation.bytes, HASH_BYTES);
    memcpy(say.digest, g->own_digest[newest_at].bytes, HASH_BYTES);
    memcpy(say.name, g->name, sizeof say.name);
    say.offers = (wire_view_t){offers, put_offers(g, offers)};
    say.statuses = (wire_view_t){statuses, put_statuses(g, statuses)};
    size_t size = 0;
    uint8_t *frame = wire_pack_announce(&size, &say);
    act_send(g, GOSSIP_CONTROL, 0, frame, size);
    g->announced_ms = g->now;
    g->announce_due = false;
    if (g->all_done)
        g->linger++;
}

bool announce_advance(gossip_t *g)
{
    int64_t since = g->now - g->announced_ms;
    int64_t least =
        ANNOUNCE_MIN_MS < g->config.announce_ms ? ANNOUNCE_MIN_MS : g->config.announce_ms;
    if (since < (g->announce_due ? least : g->config.announce_ms))
        return false;
    announce_send(g, false);
    return true;
}

/* -- Hearing -- */

/* Names the sections that differ: "model, classes". */
static void differing(const gossip_t *g, const wire_announce_t *said, char *text, size_t size)
{
    size_t at = 0, mine = g->config.section_count,
           theirs = said->sections.size / WIRE_SECTION_BYTES;
    text[0] = '\0';
    for (size_t s = 0; s < mine || s < theirs; s++) {
        const gossip_section_t *section = s < mine ? &g->config.sections[s] : NULL;
        const uint8_t *other = s < theirs ? said->sections.bytes + s * WIRE_SECTION_BYTES : NULL;
        if (section && other && !memcmp(section->name, other, 16) &&
            !memcmp(section->digest, other + 16, 8))
            continue;
        char name[17];
        const char *raw = section ? section->name : (const char *)other;
        text_printable(name, sizeof name, raw, strnlen(raw, 16));
        int wrote = snprintf(text + at, size - at, "%s%s", at ? ", " : "", name);
        at += wrote > 0 ? (size_t)wrote : 0;
        if (at >= size)
            return;
    }
}

static void refuse(gossip_t *g, link_t *link, const wire_announce_t *said)
{
    char text[128], list[100];
    count(g, GOSSIP_COUNT_FRAMES_FOREIGN);
    if (said->incarnation <= link->refused_incarnation)
        return;
    link->refused_incarnation = said->incarnation;
    differing(g, said, list, sizeof list);
    snprintf(text, sizeof text, "another federation, differs in: %s", list);
    act_note(g, GOSSIP_NOTE_REFUSED, link->peer, 0, text);
}

static bool said_ok(const gossip_t *g, const wire_announce_t *said)
{
    if (said->reach < said->samples || !samples_ok(g, said->samples) ||
        !coded_chunks_ok(g, said->chunks) || (said->decided != 0) != (said->present.size != 0) ||
        (said->present.size != 0 && said->present.size != g->bitset) ||
        (said->decided != 0 && said->phase < WIRE_ADOPTING))
        return false;
    for (size_t p = g->config.peers; said->present.size && p < 8 * g->bitset; p++)
        if (bit_get(said->present.bytes, p))
            return false;
    for (size_t i = 0; i < said->statuses.size; i += WIRE_STATUS_BYTES) {
        wire_status_t status;
        wire_get_status(&status, said->statuses.bytes + i);
        if (status.peer >= g->config.peers || status.incarnation >= WIRE_COUNT_MAX ||
            status.life == UINT32_MAX || status.flags > (WIRE_DEAD | WIRE_LEFT | WIRE_DONE))
            return false;
    }
    return true;
}

static void take_lists(gossip_t *g, const wire_announce_t *said)
{
    for (size_t i = 0; i < said->statuses.size; i += WIRE_STATUS_BYTES) {
        wire_status_t status;
        wire_get_status(&status, said->statuses.bytes + i);
        liveness_merge(g, &status);
    }
    if (said->decided)
        consensus_follow(g, said);
    for (size_t i = 0; i < said->offers.size; i += WIRE_OFFER_BYTES) {
        wire_offer_t offer;
        wire_get_offer(&offer, said->offers.bytes + i);
        record_offer(g, (size_t)said->peer, &offer);
    }
}

void announce_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size)
{
    wire_announce_t said = {0};
    link_t *link = link_of(g, from);
    if (size > GOSSIP_CONTROL_BYTES || !wire_unpack_announce(&said, bytes, size)) {
        count(g, GOSSIP_COUNT_FRAMES_BAD);
        return;
    }
    if (!link || said.peer != from || strcmp(said.name, link->name) != 0) {
        count(g, GOSSIP_COUNT_FRAMES_FOREIGN);
        return;
    }
    if (memcmp(said.federation, g->federation.bytes, HASH_BYTES) != 0) {
        refuse(g, link, &said);
        return;
    }
    if (!said_ok(g, &said)) {
        count(g, GOSSIP_COUNT_FRAMES_BAD);
        return;
    }
    if (!liveness_frame(g, from, said.incarnation)) {
        count(g, GOSSIP_COUNT_FRAMES_FOREIGN);
        return;
    }
    if (!link->announced)
        g->announce_due = true; /* it may be new: tell it what there is */
    link->announced = true;
    link->announced_ms = g->now;
    link->said = said;
    link->said.sections = link->said.offers = link->said.statuses = (wire_view_t){0};
    if (said.present.size)
        memcpy(link->present, said.present.bytes, said.present.size);
    link->said.present.bytes = link->present;
    if (said.goodbye) {
        wire_status_t left = g->members[from].status;
        left.flags |= WIRE_LEFT;
        liveness_merge(g, &left);
        return;
    }
    if (said.over && g->config.scheme != GOSSIP_ASYNC)
        exchange_end_training(g, g->exchange > said.last ? g->exchange : (uint32_t)said.last);
    take_lists(g, &said);
}
