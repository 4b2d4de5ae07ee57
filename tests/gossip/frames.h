/* tests/gossip/frames.h: a peer (0 of three, fully connected) that has begun round 1, and good
 * frames as its neighbour 1 would send them, to be spoiled by tests and by the fuzzer. */
#pragma once
#include <stdlib.h>
#include <string.h>

#include "gossip/state.h"

enum { FRAMES_FLOATS = 12, FRAMES_WEIGHTS = 8 };

typedef struct {
    gossip_t *g;
    float values[FRAMES_FLOATS];
    uint8_t status[WIRE_STATUS_BYTES], list[4], sections[2 * WIRE_SECTION_BYTES];
    uint8_t offer[WIRE_OFFER_BYTES];
    hash_t part;
    gossip_actions_t out;
    int64_t now;
} frames_t;

/* With the scheme and the codec of training exchanges. */
static inline void frames_init_as(frames_t *f, gossip_scheme_t scheme, gossip_codec_t codec)
{
    static const char *const names[] = {"ana", "ben", "cem"};
    static const uint32_t neighbours[] = {1, 2};
    static gossip_segment_t segments[] = {{"w", GOSSIP_WEIGHTS, 0, 8, 1, -1},
                                          {"m", GOSSIP_MEAN, 8, 2, 1, 0},
                                          {"v", GOSSIP_VARIANCE, 10, 2, 1, 0}};
    gossip_config_t config = {.sections = {{"model", {1}}, {"seed", {2}}},
                              .section_count = 2,
                              .names = names,
                              .peers = 3,
                              .neighbours = neighbours,
                              .neighbour_count = 2,
                              .diameter = 1,
                              .table = {segments, 3, FRAMES_FLOATS},
                              .codec = codec,
                              .scheme = scheme,
                              .staleness = 100,
                              .samples = 10,
                              .incarnation = 5,
                              .rounds = 3,
                              .first_round = 1,
                              .deadline = GOSSIP_DEADLINE_NONE,
                              .deadline_ceiling_ms = 1000,
                              .announce_ms = 1000,
                              .suspect_ms = 4000,
                              .dead_ms = 24000,
                              .start_wait_ms = -1,
                              .consensus_distance = 1e-4,
                              .consensus_rounds_max = 5,
                              .stages = 2};
    memset(f, 0, sizeof *f);
    for (int i = 0; i < FRAMES_FLOATS; i++)
        f->values[i] = 0.5f + (float)i;
    CHECK(gossip_new(&f->g, &config) == ERR_OK);
    f->now = 1000;
    gossip_event_t start = {.kind = GOSSIP_EV_START, .now_ms = f->now, .values = f->values};
    gossip_step(f->g, &start, &f->out);
    gossip_actions_clear(&f->out);
    object_digest(&f->part, f->values, sizeof f->values);
    wire_put_status(f->status, &(wire_status_t){.peer = 1, .incarnation = 7, .beat = 1});
    memcpy(f->sections, "model", 5);
    f->sections[16] = 1;
    memcpy(f->sections + WIRE_SECTION_BYTES, "seed", 4);
    f->sections[WIRE_SECTION_BYTES + 16] = 2;
    wire_offer_t offer = {.object = {.type = WIRE_RECORD,
                                     .kind = WIRE_STATISTICS,
                                     .origin = 2,
                                     .incarnation = 9,
                                     .number = 1},
                          .size = 64};
    wire_put_offer(f->offer, &offer);
}

static inline void frames_init_coded(frames_t *f, gossip_codec_t codec)
{
    frames_init_as(f, GOSSIP_DPSGD, codec);
}

static inline void frames_init(frames_t *f)
{
    frames_init_as(f, GOSSIP_DPSGD, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
}

static inline void frames_free(frames_t *f)
{
    gossip_actions_free(&f->out);
    gossip_destroy(&f->g);
}

static inline wire_announce_t frames_announce(frames_t *f)
{
    wire_announce_t said = {.version = WIRE_VERSION,
                            .sections = {f->sections, sizeof f->sections},
                            .peer = 1,
                            .name = "ben",
                            .incarnation = 7,
                            .exchange = 1,
                            .publishes = 1,
                            .chunks = 1,
                            .samples = 20,
                            .reach = 40,
                            .last = 3,
                            .offers = {f->offer, sizeof f->offer},
                            .statuses = {f->status, sizeof f->status}};
    memcpy(said.federation, f->g->federation.bytes, HASH_BYTES);
    return said;
}

static inline wire_chunk_t frames_chunk(frames_t *f)
{
    wire_chunk_t chunk = {
        .version = WIRE_VERSION,
        .sender = 1,
        .incarnation = 7,
        .object = {.type = WIRE_MODEL, .origin = 1, .incarnation = 7, .number = 1},
        .count = 1,
        .size = sizeof f->values,
        .samples = 20,
        .reach = 40,
        .trained = true,
        .payload = {(const uint8_t *)f->values, sizeof f->values}};
    hash_t part = hash_bytes(f->values, sizeof f->values), digest = hash_bytes(&part, sizeof part);
    memcpy(chunk.federation, f->g->federation.bytes, WIRE_SHORT_BYTES);
    memcpy(chunk.part, part.bytes, HASH_BYTES);
    memcpy(chunk.digest, digest.bytes, HASH_BYTES);
    return chunk;
}

/* The payload, and digests that fit it; `bytes` must outlive the chunk. */
static inline void frames_fill(wire_chunk_t *chunk, const void *bytes, size_t size)
{
    hash_t part = hash_bytes(bytes, size), digest = hash_bytes(&part, sizeof part);
    memcpy(chunk->part, part.bytes, HASH_BYTES);
    memcpy(chunk->digest, digest.bytes, HASH_BYTES);
    chunk->size = size;
    chunk->payload = (wire_view_t){bytes, size};
}

/* A millisecond later. What the peer does about it is forgotten. */
static inline void frames_step(frames_t *f, gossip_event_t event)
{
    event.now_ms = f->now += 1;
    gossip_step(f->g, &event, &f->out);
    gossip_actions_clear(&f->out);
}

/* From neighbour 1; frees the frame. */
static inline void frames_hand(frames_t *f, gossip_channel_t channel, uint8_t *frame, size_t size)
{
    frames_step(
        f,
        (gossip_event_t){
            .kind = GOSSIP_EV_FRAME, .bytes = frame, .size = size, .from = 1, .channel = channel});
    free(frame);
}

static inline void frames_give(frames_t *f, const wire_chunk_t *chunk)
{
    size_t size = 0;
    uint8_t *frame = wire_pack_chunk(&size, chunk);
    frames_hand(f, GOSSIP_DATA, frame, size);
}

static inline wire_ask_t frames_ask(frames_t *f)
{
    wire_ask_t ask = {.version = WIRE_VERSION,
                      .sender = 1,
                      .incarnation = 7,
                      .object = {.type = WIRE_STATE, .origin = 0},
                      .chunks = {f->list, sizeof f->list}};
    memcpy(ask.federation, f->g->federation.bytes, WIRE_SHORT_BYTES);
    return ask;
}
