/* float16: against numpy's rounding, and every level against C. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "quant/half.h"
#include "tests/support/harness.h"

enum { HALVES = 65536, GOLDEN = 357 };

static const quant_half_t *const levels[] = {
    &quant_half_c,
#ifdef QUANT_HAS_F16C
    &quant_half_f16c,
#endif
};
enum { LEVELS = sizeof levels / sizeof levels[0] };

static bool can_run(const quant_half_t *level)
{
    return level == &quant_half_c || cpu_level() >= CPU_AVX2;
}

static void narrows_as_numpy_does(void **state)
{
    (void)state;
    uint32_t bits[GOLDEN], expected[GOLDEN];
    float x[GOLDEN];
    uint16_t half[GOLDEN];
    FILE *file = fopen(GOLDEN_DIR "/half.txt", "r");
    assert_non_null(file);
    for (size_t i = 0; i < GOLDEN; i++)
        assert_int_equal(fscanf(file, "%x %x", &bits[i], &expected[i]), 2);
    assert_int_equal(fscanf(file, " %*c"), EOF);
    fclose(file);
    memcpy(x, bits, sizeof x);
    for (size_t k = 0; k < LEVELS; k++) {
        if (!can_run(levels[k]))
            continue;
        levels[k]->narrow(half, x, GOLDEN);
        for (size_t i = 0; i < GOLDEN; i++)
            if (half[i] != expected[i])
                fail_msg("%s: %a becomes %04x, numpy says %04x", levels[k]->name, (double)x[i],
                         half[i], expected[i]);
    }
}

/* By the definition: (-1)^s 2^(e-15) (1 + m/1024), e = 0: m 2^-24. */
static double value_of(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double value = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    return half & 0x8000 ? -value : value;
}

static void every_half_widens_exactly_and_comes_back(void **state)
{
    (void)state;
    static uint16_t half[HALVES], back[HALVES];
    static float x[HALVES];
    for (size_t i = 0; i < HALVES; i++)
        half[i] = (uint16_t)i;
    for (size_t k = 0; k < LEVELS; k++) {
        if (!can_run(levels[k]))
            continue;
        levels[k]->widen(x, half, HALVES);
        levels[k]->narrow(back, x, HALVES);
        for (size_t i = 0; i < HALVES; i++) {
            bool special = (i & 0x7c00) == 0x7c00, nan = special && (i & 0x3ff);
            if (nan) {
                assert_true(isnan(x[i]));
                assert_int_equal(back[i], i | 0x200); /* quiet */
                continue;
            }
            if (special)
                assert_true(isinf(x[i]) && (x[i] < 0) == (i >= 0x8000));
            else
                assert_true((double)x[i] == value_of((uint16_t)i));
            assert_int_equal(back[i], i);
        }
    }
}

static void levels_agree_to_the_bit_at_every_length(void **state)
{
    (void)state;
    enum { N = 4099, REPEATS = 200 };
    static float x[N];
    static uint16_t a[N + 1], b[N + 1];
    static uint32_t bits[N];
    rng_t rng = test_rng(1);
    if (quant_half() == &quant_half_c)
        skip();
    for (size_t repeat = 0; repeat < REPEATS; repeat++) {
        size_t n = repeat < 40 ? repeat : N;
        for (size_t i = 0; i < n; i++)
            bits[i] = (uint32_t)rng_u64(&rng); /* NaN and all */
        memcpy(x, bits, sizeof x);
        memset(a, 0x55, sizeof a);
        memset(b, 0x55, sizeof b);
        quant_half_c.narrow(a, x, n);
        quant_half()->narrow(b, x, n);
        for (size_t i = 0; i <= n; i++) /* and one beyond: nothing is written there */
            if (a[i] != b[i])
                fail_msg("n %zu, element %zu, %08x: c %04x, %s %04x", n, i, bits[i], a[i],
                         quant_half()->name, b[i]);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(narrows_as_numpy_does),
    cmocka_unit_test(every_half_widens_exactly_and_comes_back),
    cmocka_unit_test(levels_agree_to_the_bit_at_every_length),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
