/* What a neighbour may offer of the records behind the consensus, and which of them count. */
#include <stdlib.h>
#include <string.h>

#include "gossip/state.h"
#include "tests/gossip/frames.h"
#include "tests/support/harness.h"

/* Neighbour 1 offers a record; `digest` NULL: any. */
static void offer(frames_t *f, const wire_object_t *id, uint64_t size, const hash_t *digest)
{
    size_t bytes = 0;
    wire_announce_t said = frames_announce(f);
    wire_offer_t what = {*id, size, digest ? *digest : (hash_t){{1}}};
    wire_put_offer(f->offer, &what);
    uint8_t *frame = wire_pack_announce(&bytes, &said);
    frames_hand(f, GOSSIP_CONTROL, frame, bytes);
}

static wire_object_t record_id(uint64_t kind, size_t origin, uint64_t incarnation)
{
    return (wire_object_t){.type = WIRE_RECORD,
                           .kind = kind,
                           .origin = origin,
                           .incarnation = incarnation,
                           .number = 1};
}

/* Neighbour 1 offers a record of one chunk and answers with it. Returns its digest. */
static hash_t give(frames_t *f, const wire_object_t *id, const uint8_t *bytes, size_t size)
{
    hash_t part;
    size_t packed = 0;
    hash_t digest = object_digest(&part, bytes, size);
    offer(f, id, size, &digest);
    wire_chunk_t chunk = frames_chunk(f);
    chunk.object = *id;
    chunk.size = size;
    chunk.payload = (wire_view_t){bytes, size};
    memcpy(chunk.digest, digest.bytes, HASH_BYTES);
    memcpy(chunk.part, part.bytes, HASH_BYTES);
    uint8_t *frame = wire_pack_chunk(&packed, &chunk);
    frames_hand(f, GOSSIP_REPAIR_ANSWER, frame, packed);
    return digest;
}

/* Peer 0 in stage 1 of a consensus of zeros; `present` decided on it. */
static void begin_stages(frames_t *f, uint8_t present)
{
    frames_init(f);
    f->g->out = &f->out;
    f->g->present[0] = present;
    stage_begin(f->g);
    gossip_actions_clear(&f->out);
}

/* The node's record of stage 1; what comes of it stays in f->out. */
static void make_own(frames_t *f, const char *bytes)
{
    gossip_event_t event = {.kind = GOSSIP_EV_RECORD,
                            .now_ms = f->now,
                            .round = 1,
                            .bytes = (const uint8_t *)bytes,
                            .size = strlen(bytes)};
    gossip_step(f->g, &event, &f->out);
}

enum { ROLL_ENTRY = 4 + HASH_BYTES };

static void records_and_rolls_of_wrong_sizes_are_not_pulled(void **state)
{
    (void)state;
    const uint64_t entry = ROLL_ENTRY;
    const struct {
        uint64_t kind, size;
        bool good;
    } cases[] = {
        {WIRE_STAGE_1, HASH_BYTES - 1, false},
        {WIRE_STAGE_2, GOSSIP_RECORD_BYTES + 1, false},
        {WIRE_ROLL_1, HASH_BYTES - 1, false},
        {WIRE_ROLL_1, HASH_BYTES + 1, false},
        {WIRE_ROLL_2, HASH_BYTES + 4 * entry, false}, /* there are three peers */
        {WIRE_ROLL_2 + 1, HASH_BYTES, false},
        {WIRE_STAGE_1, HASH_BYTES, true},
        {WIRE_STAGE_2, GOSSIP_RECORD_BYTES, true},
        {WIRE_ROLL_1, HASH_BYTES, true},
        {WIRE_ROLL_2, HASH_BYTES + 3 * entry, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        frames_t f;
        wire_object_t id = record_id(cases[i].kind, 2, 1);
        frames_init(&f);
        offer(&f, &id, cases[i].size, NULL);
        assert_int_equal(f.g->record_count, cases[i].good);
        assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_FRAMES_BAD), !cases[i].good);
        frames_free(&f);
        if (!cases[i].good)
            continue;
        frames_init(&f);
        f.g->config.stages = 0; /* a federation without them */
        offer(&f, &id, cases[i].size, NULL);
        assert_int_equal(f.g->record_count, 0);
        frames_free(&f);
    }
}

static void rolls_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const uint64_t rolls[][3] = {{0, 1, 2}, {0, 0, 1}, {1, 0, 2}, {0, 1, 3}, {0, 1, 4096}};
    const wire_object_t id = record_id(WIRE_ROLL_1, 1, 1);
    for (size_t i = 0; i < 6; i++) {
        frames_t f;
        uint8_t bytes[HASH_BYTES + 3 * ROLL_ENTRY] = {i == 5}; /* about another consensus */
        bool good = i == 0;
        for (size_t k = 0; k < 3; k++)
            wire_put(bytes + HASH_BYTES + k * ROLL_ENTRY, 4, rolls[i % 5][k]);
        begin_stages(&f, 7);
        give(&f, &id, bytes, sizeof bytes);
        const record_t *roll = record_find(f.g, WIRE_ROLL_1, 1);
        assert_non_null(roll);
        assert_true(roll->assembly.whole);
        assert_int_equal(roll->assembly.refused, !good);
        assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_FRAMES_BAD), !good);
        frames_free(&f);
    }
}

/* Records that `action` STAGE came with, SIZE_MAX when there is none. */
static size_t handed(const frames_t *f)
{
    for (size_t i = 0; i < f->out.count; i++)
        if (f->out.items[i].kind == GOSSIP_ACT_STAGE)
            return f->out.items[i].record_count;
    return SIZE_MAX;
}

static void of_two_rolls_that_of_the_lowest_origin_counts(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* in either order of arrival */
        frames_t f;
        uint8_t one[HASH_BYTES + ROLL_ENTRY] = {0}, none[HASH_BYTES] = {0},
                                 record[HASH_BYTES] = {0};
        const wire_object_t first = record_id(WIRE_ROLL_1, 1, 1),
                            second = record_id(WIRE_ROLL_1, 2, 1),
                            listed = record_id(WIRE_STAGE_1, 2, 1);
        begin_stages(&f, 6);
        hash_t digest = give(&f, &listed, record, sizeof record);
        wire_put(one + HASH_BYTES, 4, 2);
        memcpy(one + HASH_BYTES + 4, digest.bytes, HASH_BYTES);
        if (i)
            give(&f, &second, none, sizeof none);
        give(&f, &first, one, sizeof one);
        if (!i)
            give(&f, &second, none, sizeof none);
        assert_int_equal(f.g->stage, 1); /* my node is at it */
        make_own(&f, "mine");
        assert_int_equal(f.g->stage, 2);
        assert_int_equal(handed(&f), 1);
        frames_free(&f);
    }
}

static void records_about_something_else_do_not_count(void **state)
{
    (void)state;
    for (uint8_t other = 0; other < 2; other++) {
        frames_t f;
        uint8_t record[HASH_BYTES] = {other};
        const wire_object_t id = record_id(WIRE_STAGE_1, 1, 1);
        begin_stages(&f, 3); /* the lowest is me */
        give(&f, &id, record, sizeof record);
        make_own(&f, "mine");
        assert_int_equal(handed(&f), other ? SIZE_MAX : 2);
        frames_free(&f);
    }
}

/* A newer record replaces an older one, but not one that a roll lists; and what a roll lists
 * replaces what it does not. */
static void what_a_roll_lists_stays(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        frames_t f;
        size_t origin = i < 2 ? 2 : 0; /* another's, or mine from before I started again */
        uint8_t roll[HASH_BYTES + ROLL_ENTRY] = {0}, old[HASH_BYTES + 1] = {0},
                                  new[HASH_BYTES + 2] = {0};
        const wire_object_t roll_id = record_id(WIRE_ROLL_1, 1, 1),
                            old_id = record_id(WIRE_STAGE_1, origin, 1),
                            new_id = record_id(WIRE_STAGE_1, origin, 2);
        begin_stages(&f, 6);
        hash_t digest =
            give(&f, i % 2 ? &new_id : &old_id, i % 2 ? new : old, i % 2 ? sizeof new : sizeof old);
        if (i % 2) { /* the older one is listed, and not here yet */
            hash_t part;
            digest = object_digest(&part, old, sizeof old);
        }
        wire_put(roll + HASH_BYTES, 4, origin);
        memcpy(roll + HASH_BYTES + 4, digest.bytes, HASH_BYTES);
        give(&f, &roll_id, roll, sizeof roll);
        if (i % 2)
            give(&f, &old_id, old, sizeof old);
        else
            give(&f, &new_id, new, sizeof new);
        if (origin == 0)
            make_own(&f, "anew");
        const record_t *record = record_find(f.g, WIRE_STAGE_1, origin);
        assert_non_null(record);
        assert_true(record->assembly.whole);
        assert_int_equal(record->assembly.size, sizeof old);
        frames_free(&f);
        begin_stages(&f, 6); /* no roll: the newer one */
        give(&f, &old_id, old, sizeof old);
        give(&f, &new_id, new, sizeof new);
        assert_int_equal(record_find(f.g, WIRE_STAGE_1, origin)->assembly.size, sizeof new);
        frames_free(&f);
    }
}

/* The node was asked twice: its first answer is to the first. */
static void an_answer_to_what_was_asked_before_does_not_count(void **state)
{
    (void)state;
    frames_t f;
    begin_stages(&f, 6);
    f.g->stage_out = 2;
    make_own(&f, "first");
    assert_null(record_find(f.g, WIRE_STAGE_1, 0));
    make_own(&f, "second one");
    assert_int_equal(record_find(f.g, WIRE_STAGE_1, 0)->assembly.size, HASH_BYTES + 10);
    frames_free(&f);
}

/* Who made a listed record is gone before it was here; started again, it makes the same once more.
 */
static void the_same_bytes_under_another_id_are_as_good(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        frames_t f;
        hash_t part;
        uint8_t roll[HASH_BYTES + ROLL_ENTRY] = {0}, record[HASH_BYTES + 1] = {0};
        const wire_object_t roll_id = record_id(WIRE_ROLL_1, 1, 1),
                            old_id = record_id(WIRE_STAGE_1, 2, 1),
                            new_id = record_id(WIRE_STAGE_1, 2, 2);
        begin_stages(&f, 6);
        hash_t digest = object_digest(&part, record, sizeof record);
        wire_put(roll + HASH_BYTES, 4, 2);
        memcpy(roll + HASH_BYTES + 4, digest.bytes, HASH_BYTES);
        give(&f, &roll_id, roll, sizeof roll);
        offer(&f, &old_id, sizeof record, &digest);
        f.now += 3000; /* it does not come */
        record[HASH_BYTES] = !same;
        give(&f, &new_id, record, sizeof record);
        const assembly_t *assembly = &record_find(f.g, WIRE_STAGE_1, 2)->assembly;
        assert_int_equal(assembly->id.incarnation, same ? 2 : 1);
        assert_int_equal(assembly->whole, same);
        frames_free(&f);
    }
}

/* Peer 1 went on from the first of two rolls, I from the second: the first was not hopeless. */
static void who_gave_up_too_early_goes_back(void **state)
{
    (void)state;
    for (size_t mine = 1; mine < 3; mine++) {
        frames_t f;
        uint8_t rolls[2][HASH_BYTES + ROLL_ENTRY] = {0}, record[HASH_BYTES] = {0};
        hash_t digest[2];
        const wire_object_t listed = record_id(WIRE_STAGE_1, 2, 1);
        begin_stages(&f, 6);
        make_own(&f, "mine");
        hash_t of = give(&f, &listed, record, sizeof record);
        wire_put(rolls[mine - 1] + HASH_BYTES, 4, 2);
        memcpy(rolls[mine - 1] + HASH_BYTES + 4, of.bytes, HASH_BYTES);
        for (size_t i = 0; i < 2;
             i++) { /* mine lists one record, the other none: I go on at once */
            size_t k = i ? 2 - mine : mine - 1;
            const wire_object_t id = record_id(WIRE_ROLL_1, 1 + k, 1);
            digest[k] = give(&f, &id, rolls[k], k == mine - 1 ? sizeof rolls[k] : HASH_BYTES);
        }
        assert_int_equal(f.g->stage, 2);
        assert_memory_equal(&f.g->stage_context, &digest[mine - 1], HASH_BYTES);
        const wire_object_t second = record_id(WIRE_STAGE_2, 1, 1);
        give(&f, &second, digest[2 - mine].bytes, HASH_BYTES);
        assert_memory_equal(&f.g->stage_context, &digest[0], HASH_BYTES);
        assert_int_equal(f.g->stage_out, mine == 1 ? 1 : 2); /* asked again */
        frames_free(&f);
    }
}

static bool told_lost(frames_t *f)
{
    gossip_event_t tick = {.kind = GOSSIP_EV_TICK, .now_ms = ++f->now};
    gossip_step(f->g, &tick, &f->out);
    bool lost = false;
    for (size_t i = 0; i < f->out.count; i++)
        lost |= f->out.items[i].kind == GOSSIP_ACT_LOST;
    assert_int_equal(f->g->phase == PHASE_FINISHED, lost);
    gossip_actions_clear(&f->out);
    return lost;
}

/* Only who took no part in the decision, when one who did is done and all who did are gone. */
static void who_comes_too_late_is_told(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        frames_t f;
        begin_stages(&f, 6);
        if (i % 2)
            f.g->phase = PHASE_ADOPT;
        f.g->decided = 4;
        f.g->joined = 6;
        f.g->mixed_exchange = 5;
        f.g->members[1].status.flags = f.g->members[2].status.flags = WIRE_DEAD | WIRE_DONE;
        if (i / 2 == 1)
            f.g->joined = 4;
        if (i / 2 == 2)
            f.g->members[2].status.flags = 0; /* lives, and decided */
        if (i / 2 == 3)
            f.g->members[1].status.flags = f.g->members[2].status.flags = WIRE_DEAD;
        if (i / 2 == 4) { /* lives, and is done */
            f.g->present[0] = 0;
            f.g->members[2].status.flags = WIRE_DONE;
        }
        assert_int_equal(told_lost(&f), i / 2 == 0);
        frames_free(&f);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(records_and_rolls_of_wrong_sizes_are_not_pulled),
    cmocka_unit_test(rolls_that_cannot_be_are_refused),
    cmocka_unit_test(of_two_rolls_that_of_the_lowest_origin_counts),
    cmocka_unit_test(records_about_something_else_do_not_count),
    cmocka_unit_test(what_a_roll_lists_stays),
    cmocka_unit_test(the_same_bytes_under_another_id_are_as_good),
    cmocka_unit_test(who_gave_up_too_early_goes_back),
    cmocka_unit_test(who_comes_too_late_is_told),
    cmocka_unit_test(an_answer_to_what_was_asked_before_does_not_count),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
