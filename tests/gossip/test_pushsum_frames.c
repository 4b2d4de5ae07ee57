/* Push-sum, frame by frame: what comes in is bounded, and taken once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/pushsum.h"
#include "tests/gossip/federation.h"
#include "tests/gossip/frames.h"
#include "tests/support/harness.h"

/* Ben's object for an exchange: sums w = s, x = s z, statistics as they were; one entry, ana. */
typedef struct {
    double sigma[1 + FRAMES_WEIGHTS];
    float statistics[FRAMES_FLOATS - FRAMES_WEIGHTS];
    uint8_t tail[16], entry[2][16];
} ben_t;

static ben_t ben_object(const frames_t *f, double s)
{
    ben_t ben = {.sigma = {s}};
    for (int i = 0; i < FRAMES_WEIGHTS; i++)
        ben.sigma[1 + i] = s * 2 * (double)f->values[i];
    memcpy(ben.statistics, f->values + FRAMES_WEIGHTS, sizeof ben.statistics);
    wire_put(ben.tail, 8, 7);
    wire_put(ben.tail + 8, 4, 1);
    wire_put(ben.tail + 12, 4, 1);
    wire_put(ben.entry[0] + 4, 4, 1);
    wire_put(ben.entry[0] + 8, 8, 5);
    return ben;
}

static void give_ben(frames_t *f, const ben_t *ben, uint64_t number)
{
    wire_chunk_t chunk = frames_chunk(f);
    chunk.object.number = number;
    frames_fill(&chunk, ben, sizeof *ben);
    frames_give(f, &chunk);
}

/* Ana, with ben announced, cem dead, gives its model of round 1 and waits for ben's. */
static void ana_waits(frames_t *f)
{
    frames_init_as(f, GOSSIP_PUSH_SUM, (gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    assert_int_equal(sizeof(ben_t), pushsum_size(f->g));
    f->g->members[2].status.flags |= WIRE_DEAD;
    wire_announce_t said = frames_announce(f);
    size_t size = 0;
    said.offers.size = 0;
    uint8_t *frame = wire_pack_announce(&size, &said);
    frames_step(f, (gossip_event_t){.kind = GOSSIP_EV_FRAME,
                                    .bytes = frame,
                                    .size = size,
                                    .from = 1,
                                    .channel = GOSSIP_CONTROL});
    free(frame);
    frames_step(f, (gossip_event_t){.kind = GOSSIP_EV_MODEL, .round = 1, .values = f->values});
    assert_int_equal(f->g->phase, PHASE_EXCHANGE);
}

static void good_sums_are_taken_once(void **state)
{
    (void)state;
    frames_t f;
    double w;
    ana_waits(&f);
    pushsum_mass(f.g, NULL, &w);
    assert_true(w == 5); /* half of 10 went out */
    ben_t ben = ben_object(&f, 20);
    give_ben(&f, &ben, 1);
    assert_int_equal(f.g->exchange, 2);
    pushsum_mass(f.g, NULL, &w);
    assert_true(w == 25);
    for (int i = 0; i < FRAMES_WEIGHTS; i++)
        assert_true(fabs(f.g->mixed[i] - (5 + 2 * 20) / 25.0 * f.values[i]) < 1e-6 * f.values[i]);
    frames_step(&f, (gossip_event_t){.kind = GOSSIP_EV_MODEL, .round = 2, .values = f.g->mixed});
    give_ben(&f, &ben, 2); /* a replay under a new number brings nothing */
    assert_int_equal(f.g->exchange, 3);
    pushsum_mass(f.g, NULL, &w);
    assert_true(w == 12.5);
    frames_free(&f);
}

static void sums_meant_for_others_are_not_taken(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        frames_t f;
        double w;
        ana_waits(&f);
        ben_t ben = ben_object(&f, 20);
        if (k == 0)
            wire_put(ben.entry[0] + 8, 8, 4); /* an earlier start of ana */
        if (k == 1)
            wire_put(ben.entry[0], 4, 2); /* cem alone */
        if (k == 2) {                     /* nobody */
            wire_put(ben.tail + 12, 4, 0);
            memset(ben.entry, 0, sizeof ben.entry);
        }
        if (k < 3) {
            give_ben(&f, &ben, 1);
        } else { /* ana since 2, its sums since 1, and ana has not heard exchange 1 */
            wire_put(ben.entry[0] + 4, 4, 2);
            f.g->exchange = 2;
            f.g->own_trained[0] = true;
            give_ben(&f, &ben, 2);
        }
        pushsum_mass(f.g, NULL, &w);
        assert_true(w == 5);
        assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_MODELS_REFUSED), 0);
        frames_free(&f);
    }
}

static void bad_sums_are_refused(void **state)
{
    (void)state;
    for (int k = 0; k < 16; k++) {
        frames_t f;
        double x[FRAMES_WEIGHTS], w;
        ana_waits(&f);
        ben_t ben = ben_object(&f, 20);
        switch (k) {
        case 0:
            ben.sigma[0] = -1;
            break;
        case 1:
            ben.sigma[0] = NAN;
            break;
        case 2:
            ben.sigma[3] = NAN;
            break;
        case 3:
            ben.sigma[FRAMES_WEIGHTS] = INFINITY;
            break;
        case 4:
            ben.statistics[0] = NAN;
            break;
        case 5:
            ben.statistics[3] = -1;
            break;
        case 6:
            wire_put(ben.tail + 8, 4, 0);
            break;
        case 7:
            wire_put(ben.tail + 8, 4, 2);
            break; /* began behind this exchange */
        case 8:
            wire_put(ben.tail + 12, 4, 3);
            break; /* more entries than there is room for */
        case 9:
            wire_put(ben.entry[0], 4, 3);
            break; /* no such peer */
        case 10:
            wire_put(ben.entry[0] + 4, 4, 0);
            break;
        case 11:
            wire_put(ben.entry[0] + 4, 4, 2);
            break;
        case 12:
            ben.entry[1][15] = 1;
            break; /* behind the last entry */
        case 13:
            ben.sigma[1] = 1e300;
            break; /* x / w is no float32 */
        case 14:
            ben.sigma[0] = 1e17;
            break; /* more than all peers can have */
        case 15:
            wire_put(ben.tail, 8, 0);
            break; /* no start */
        }
        give_ben(&f, &ben, 1);
        assert_int_equal(gossip_counter(f.g, GOSSIP_COUNT_MODELS_REFUSED), 1);
        pushsum_mass(f.g, x, &w);
        assert_true(w == 5);
        for (int i = 0; i < FRAMES_WEIGHTS; i++)
            assert_true(x[i] == 5 * (double)f.values[i] && f.g->mixed[i] == f.values[i]);
        frames_free(&f);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(good_sums_are_taken_once),
    cmocka_unit_test(sums_meant_for_others_are_not_taken),
    cmocka_unit_test(bad_sums_are_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
