/* The random numbers are part of a run's identity: they are pinned, and their laws hold. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/rng.h"
#include "tests/support/harness.h"

static void xoshiro_gives_its_published_sequence(void **state)
{
    (void)state;
    /* Blackman and Vigna's xoshiro256**, from the state 1, 2, 3, 4. */
    static const uint64_t expected[] = {
        11520, 0, 1509978240, 1215971899390074240u, 1216172134540287360u, 607988272756665600u};
    rng_t rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_true(rng_u64(&rng) == expected[i]);
}

static void a_stream_starts_where_it_always_did(void **state)
{
    (void)state;
    /* Worked out in Python from the same definition: seed 1, stream 5, a 3, b 7. */
    rng_t rng;
    rng_init(&rng, 1, RNG_STREAM_BATCH, 3, 7);
    assert_true(rng_u64(&rng) == 0x67d827613d74c225u);
    assert_true(rng_u64(&rng) == 0xd78a282511a0ff85u);
    assert_true(rng_u64(&rng) == 0x8d2fd67274f9fd29u);
}

static void every_part_of_the_key_changes_the_stream(void **state)
{
    (void)state;
    rng_t streams[5];
    rng_init(&streams[0], 1, RNG_STREAM_BATCH, 2, 3);
    rng_init(&streams[1], 2, RNG_STREAM_BATCH, 2, 3);
    rng_init(&streams[2], 1, RNG_STREAM_AUGMENT, 2, 3);
    rng_init(&streams[3], 1, RNG_STREAM_BATCH, 3, 3);
    rng_init(&streams[4], 1, RNG_STREAM_BATCH, 2, 4);
    uint64_t first[5];
    for (int i = 0; i < 5; i++) {
        first[i] = rng_u64(&streams[i]);
        for (int j = 0; j < i; j++)
            assert_true(first[i] != first[j]);
    }
}

static void a_saved_state_goes_on_where_it_was(void **state)
{
    (void)state;
    rng_t rng = test_rng(1), saved;
    for (int i = 0; i < 10; i++)
        rng_normal(&rng);
    memcpy(&saved, &rng, sizeof saved);
    for (int i = 0; i < 10; i++)
        assert_true(rng_normal(&rng) == rng_normal(&saved));
}

static void whole_numbers_are_uniform_below_their_bound(void **state)
{
    (void)state;
    static const uint64_t bounds[] = {1, 2, 7, 10, 100};
    rng_t rng = test_rng(2);
    for (size_t b = 0; b < 5; b++) {
        enum { DRAWS = 100000 };
        uint64_t bound = bounds[b];
        double counts[100] = {0}, chi = 0.0, expected = (double)DRAWS / (double)bound;
        for (int i = 0; i < DRAWS; i++) {
            uint64_t x = rng_below(&rng, bound);
            assert_true(x < bound);
            counts[x] += 1.0;
        }
        for (uint64_t x = 0; x < bound; x++)
            chi += (counts[x] - expected) * (counts[x] - expected) / expected;
        /* mean bound-1, variance 2(bound-1): six standard deviations */
        assert_true(chi <= (double)(bound - 1) + 6.0 * sqrt(2.0 * (double)(bound - 1)) + 6.0);
    }
    for (int i = 0; i < 1000; i++)
        assert_true(rng_below(&rng, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
}

static void a_bound_near_the_top_is_not_biased(void **state)
{
    (void)state;
    /* Multiplication alone would give multiples of three half of the time. */
    rng_t rng = test_rng(30);
    int multiples = 0;
    for (int i = 0; i < 30000; i++)
        multiples += rng_below(&rng, UINT64_C(3) << 62) % 3 == 0;
    assert_in_range(multiples, 9500, 10500);
}

static void unit_draws_are_in_zero_to_one(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    rng_t rng = test_rng(3);
    double sum = 0.0, sum_f = 0.0;
    for (int i = 0; i < DRAWS; i++) {
        double d = rng_double(&rng);
        float f = rng_float(&rng);
        assert_true(d >= 0.0 && d < 1.0);
        assert_true(f >= 0.0f && f < 1.0f);
        sum += d;
        sum_f += (double)f;
    }
    double six = 6.0 * sqrt(1.0 / 12.0 / DRAWS);
    assert_true(fabs(sum / DRAWS - 0.5) < six);
    assert_true(fabs(sum_f / DRAWS - 0.5) < six);
}

static void normal_draws_have_their_moments(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    rng_t rng = test_rng(4);
    double m1 = 0.0, m2 = 0.0, m4 = 0.0;
    for (int i = 0; i < DRAWS; i++) {
        double x = rng_normal(&rng);
        m1 += x / DRAWS;
        m2 += x * x / DRAWS;
        m4 += x * x * x * x / DRAWS;
    }
    assert_true(fabs(m1) < 6.0 * sqrt(1.0 / DRAWS));
    assert_true(fabs(m2 - 1.0) < 6.0 * sqrt(2.0 / DRAWS));
    assert_true(fabs(m4 - 3.0) < 6.0 * sqrt(96.0 / DRAWS));
}

static void gamma_draws_have_their_moments(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    static const double shapes[] = {0.1, 0.5, 1.0, 3.0, 50.0};
    for (size_t s = 0; s < 5; s++) {
        rng_t rng = test_rng(5 + s);
        double k = shapes[s], mean = 0.0, variance = 0.0;
        for (int i = 0; i < DRAWS; i++) {
            double x = rng_gamma(&rng, k);
            assert_true(x >= 0.0);
            mean += x / DRAWS;
            variance += (x - k) * (x - k) / DRAWS;
        }
        /* mean and variance are the shape; the fourth central moment is 3k^2 + 6k */
        assert_true(fabs(mean - k) < 6.0 * sqrt(k / DRAWS));
        assert_true(fabs(variance - k) < 6.0 * sqrt((2.0 * k * k + 6.0 * k) / DRAWS));
    }
}

static void a_shuffle_is_a_uniform_permutation(void **state)
{
    (void)state;
    enum { DRAWS = 24000 };
    rng_t rng = test_rng(20);
    int counts[24] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint32_t v[4] = {0, 1, 2, 3};
        rng_shuffle_u32(&rng, v, 4);
        assert_int_equal((1 << v[0]) + (1 << v[1]) + (1 << v[2]) + (1 << v[3]), 15);
        uint32_t rank = v[0] * 6 + (v[1] - (v[1] > v[0])) * 2 + (v[2] > v[3]);
        counts[rank]++;
    }
    double chi = 0.0;
    for (int i = 0; i < 24; i++)
        chi += (counts[i] - 1000.0) * (counts[i] - 1000.0) / 1000.0;
    assert_true(chi < 23.0 + 6.0 * sqrt(46.0));
    rng_shuffle_u32(&rng, NULL, 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(xoshiro_gives_its_published_sequence),
    cmocka_unit_test(a_stream_starts_where_it_always_did),
    cmocka_unit_test(every_part_of_the_key_changes_the_stream),
    cmocka_unit_test(a_saved_state_goes_on_where_it_was),
    cmocka_unit_test(whole_numbers_are_uniform_below_their_bound),
    cmocka_unit_test(a_bound_near_the_top_is_not_biased),
    cmocka_unit_test(unit_draws_are_in_zero_to_one),
    cmocka_unit_test(normal_draws_have_their_moments),
    cmocka_unit_test(gamma_draws_have_their_moments),
    cmocka_unit_test(a_shuffle_is_a_uniform_permutation),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
