/* Differences to replicas, frame by frame: what comes in is bounded, and belongs to one start. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/codec.h"
#include "gossip/replica.h"
#include "tests/gossip/frames.h"
#include "tests/support/harness.h"

static uint8_t says_missed[1]; /* what `hand` has its sender say that it missed */

static void hand(frames_t *f, wire_type_t type, uint32_t number, const void *bytes, size_t size)
{
    wire_chunk_t chunk = frames_chunk(f);
    chunk.object.type = type;
    chunk.object.number = number;
    chunk.missed = (wire_view_t){says_missed, says_missed[0] != 0};
    frames_fill(&chunk, bytes, size);
    frames_give(f, &chunk);
}

static void replicas_are_bounded_and_checked(void **state)
{
    (void)state;
    const gossip_codec_t plain = {.kind = GOSSIP_CODEC_FP32}, topk = {GOSSIP_CODEC_TOPK, 0.5, 0};
    _Alignas(8) uint8_t bytes[128];
    float values[FRAMES_FLOATS];
    frames_t f;
    frames_init(&f); /* nobody agreed on replicas */
    memcpy(values, f.values, sizeof values);
    size_t size = gossip_codec_bytes(&plain, &f.g->config.table);
    assert_true(gossip_codec_encode(bytes, values, &f.g->config.table, &plain, 1, 1));
    hand(&f, WIRE_REPLICA, 1, bytes, size);
    assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_FRAMES_BAD), 1);
    frames_free(&f);
    frames_init_coded(&f, topk);
    hand(&f, WIRE_REPLICA, 1, bytes, size - 8); /* a size that is none */
    assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_FRAMES_BAD), 1);
    hand(&f, WIRE_REPLICA, 1, bytes, size);
    assert_true(f.g->links[0].slot[1].whole);
    memset(bytes + 8, 0xff, 4); /* NaN */
    hand(&f, WIRE_REPLICA, 2, bytes, size);
    assert_true(f.g->links[0].slot[0].refused);
    frames_free(&f);
    /* Each float of a difference is one; its sum with what is there is not. */
    frames_init_coded(&f, topk);
    for (int e = 1; e <= 2; e++) {
        for (int i = 0; i < FRAMES_WEIGHTS; i++)
            values[i] = 3e38f;
        size = gossip_codec_bytes(&topk, &f.g->config.table);
        assert_true(gossip_codec_encode(bytes, values, &f.g->config.table, &topk, 1, 1));
        hand(&f, WIRE_MODEL, (uint32_t)e, bytes, size);
        assert_true(f.g->links[0].slot[e & 1].whole);
        assert_true(replica_usable(f.g, &f.g->links[0], (uint32_t)e & 1));
        replicas_advance(f.g, (uint32_t)e);
        assert_int_equal(f.g->links[0].slot[e & 1].refused, e == 2);
        f.g->exchange++; /* as if it had been mixed */
    }
    assert_false(replica_is_at(f.g, &f.g->links[0], 2));
    assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_MODELS_REFUSED), 1);
    frames_free(&f);
}

/* A difference of another start of its peer is to another x^, whatever its number. */
static void a_difference_is_to_its_own_starts_replica(void **state)
{
    (void)state;
    const gossip_codec_t topk = {GOSSIP_CODEC_TOPK, 0.5, 0};
    _Alignas(8) uint8_t bytes[128];
    frames_t f;
    frames_init_coded(&f, topk);
    size_t size = gossip_codec_bytes(&topk, &f.g->config.table);
    assert_true(gossip_codec_encode(bytes, f.values, &f.g->config.table, &topk, 1, 1));
    hand(&f, WIRE_MODEL, 1, bytes, size);
    replicas_advance(f.g, 1);
    f.g->exchange++;
    assert_true(replica_is_at(f.g, &f.g->links[0], 1));
    hash_t before = gossip_state_digest(f.g); /* of all that is known of it */
    ((float *)replica_of(f.g, &f.g->links[0]))[1] += 1;
    hash_t after = gossip_state_digest(f.g);
    assert_memory_not_equal(&before, &after, sizeof before);
    hand(&f, WIRE_MODEL, 2, bytes, size);
    assembly_t *slot = &f.g->links[0].slot[0];
    assert_true(slot->whole && replica_usable(f.g, &f.g->links[0], 0));
    slot->id.incarnation++;
    assert_false(replica_usable(f.g, &f.g->links[0], 0));
    frames_free(&f);
}

/* A difference, then the whole x^ of the same exchange: its sender missed one model of mine. */
static void what_a_peer_missed_counts_once(void **state)
{
    (void)state;
    const gossip_codec_t plain = {.kind = GOSSIP_CODEC_FP32}, topk = {GOSSIP_CODEC_TOPK, 0.5, 0};
    _Alignas(8) uint8_t bytes[128];
    frames_t f;
    frames_init_coded(&f, topk);
    const gossip_table_t *table = &f.g->config.table;
    says_missed[0] = 1;
    assert_true(gossip_codec_encode(bytes, f.values, table, &topk, 1, 1));
    hand(&f, WIRE_MODEL, 1, bytes, gossip_codec_bytes(&topk, table));
    assert_int_equal(f.g->report.drifted, 1);
    assert_true(gossip_codec_encode(bytes, f.values, table, &plain, 1, 1));
    hand(&f, WIRE_REPLICA, 1, bytes, gossip_codec_bytes(&plain, table));
    assert_true(f.g->links[0].slot[1].whole && f.g->links[0].slot[1].id.type == WIRE_REPLICA);
    says_missed[0] = 0;
    assert_int_equal(f.g->report.drifted, 1);
    frames_free(&f);
}

static void hand_as(frames_t *f, uint64_t incarnation, wire_type_t type, bool trained)
{
    wire_chunk_t chunk = frames_chunk(f);
    const gossip_codec_t topk = {GOSSIP_CODEC_TOPK, 0.5, 0};
    _Alignas(8) uint8_t bytes[128];
    size_t size = sizeof f->values;
    memcpy(bytes, f->values, sizeof f->values);
    if (trained) {
        size = gossip_codec_bytes(&topk, &f->g->config.table);
        assert_true(gossip_codec_encode(bytes, f->values, &f->g->config.table, &topk, 1, 2));
    }
    chunk.object = (wire_object_t){type, 0, 1, incarnation, 2};
    chunk.incarnation = incarnation;
    chunk.trained = trained;
    frames_fill(&chunk, bytes, size);
    frames_give(f, &chunk);
}

/* Ben's difference of exchange 2 is of no use without its x^ of 1, so the whole x^ is asked for;
 * then ben starts again, and what it gives to exchange 2 is no difference to that, or none at all.
 */
static void a_wanted_replica_is_wanted_of_no_other_start(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        frames_t f;
        frames_init_coded(&f, (gossip_codec_t){GOSSIP_CODEC_TOPK, 0.5, 0});
        link_t *link = &f.g->links[0];
        hand_as(&f, 7, WIRE_MODEL, true);
        assert_true(link->slot[0].whole && !replica_usable(f.g, link, 0));
        hash_t before = gossip_state_digest(f.g);
        replica_want(f.g, link, 2); /* as repair does */
        hash_t after = gossip_state_digest(f.g);
        assert_memory_not_equal(&before, &after, sizeof before);
        link->slot[0].open = link->slot[0].whole = false;
        hand_as(&f, 7, WIRE_MODEL, true); /* the same again does not help */
        assert_false(link->slot[0].open);
        assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_CHUNKS_DUPLICATE), 1);
        hand_as(&f, k == 2 ? 7 : 8, WIRE_MODEL, k == 0);
        assert_true(link->slot[0].whole && link->trained[0] == (k == 0));
        assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_CHUNKS_DUPLICATE), 1);
        frames_free(&f);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(replicas_are_bounded_and_checked),
    cmocka_unit_test(a_difference_is_to_its_own_starts_replica),
    cmocka_unit_test(a_wanted_replica_is_wanted_of_no_other_start),
    cmocka_unit_test(what_a_peer_missed_counts_once),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
