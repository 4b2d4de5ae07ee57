/* Batches: normalisation to the bit, orders, and augmentation that does not depend on batch size.
 */
#include <stdlib.h>
#include <string.h>

#include "data/batch.h"
#include "tests/support/harness.h"

enum { N = 7, H = 6, W = 5, SIZE = H * W * 3 };

static uint8_t pixels[N * SIZE];
static int32_t labels[N] = {3, 1, 4, 1, 5, 9, 2};
static const data_set_t set = {
    .count = N, .height = H, .width = W, .class_count = 10, .pixels = pixels, .labels = labels};
static const uint32_t order[N] = {6, 0, 3, 2, 5, 1, 4};

static int fill_pixels(void **state)
{
    (void)state;
    rng_t rng = test_rng(1);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(1 + rng_below(&rng, 255)); /* never 0: see zero_outside */
    return 0;
}

static void pixels_are_normalised(void **state)
{
    (void)state;
    data_normalisation_t n = {{0.4f, 0.5f, 0.6f}, {0.2f, 0.25f, 0.3f}};
    float x[3 * SIZE];
    int32_t y[3];
    data_batch(x, y, &set, order, 3, &n, NULL, NULL);
    for (size_t b = 0; b < 3; b++) {
        assert_int_equal(y[b], labels[order[b]]);
        for (size_t i = 0; i < SIZE; i++) {
            float expected =
                ((float)pixels[order[b] * SIZE + i] / 255.0f - n.mean[i % 3]) / n.std[i % 3];
            assert_memory_equal(&x[b * SIZE + i], &expected, sizeof expected);
        }
    }
}

static void the_default_maps_bytes_to_minus_one_to_one(void **state)
{
    (void)state;
    uint8_t extremes[3] = {0, 255, 51};
    int32_t label = 0, y;
    data_set_t one = {1, 1, 1, 1, extremes, &label};
    data_normalisation_t n = data_normalisation_default();
    float x[3];
    data_batch(x, &y, &one, (const uint32_t[]){0}, 1, &n, NULL, NULL);
    assert_float_equal(x[0], -1.0f, 0);
    assert_float_equal(x[1], 1.0f, 0);
    assert_float_equal(x[2], -0.6f, 1e-6);
}

static void augmentation_does_not_depend_on_batch_size(void **state)
{
    (void)state;
    data_normalisation_t n = data_normalisation_default();
    data_augment_t augment = {.flip = true, .crop_pad = 2};
    float whole[N * SIZE], parts[N * SIZE];
    int32_t y[N];
    rng_t a = test_rng(2), b = test_rng(2);
    data_batch(whole, y, &set, order, N, &n, &augment, &a);
    for (size_t i = 0; i < N;) {
        size_t count = i == 0 ? 1 : 3;
        data_batch(parts + i * SIZE, y, &set, order + i, count, &n, &augment, &b);
        i += count;
    }
    assert_memory_equal(whole, parts, sizeof whole);
    assert_memory_equal(&a, &b, sizeof a);
}

/* The definition, element by element. */
static float expected_at(const data_normalisation_t *n, size_t picture, bool flip, int dy, int dx,
                         int h, int w, int c)
{
    int sy = h - dy, sx = w - dx;
    if (sy < 0 || sy >= H || sx < 0 || sx >= W)
        return 0.0f;
    if (flip)
        sx = W - 1 - sx;
    return ((float)pixels[picture * SIZE + (size_t)((sy * W + sx) * 3 + c)] / 255.0f - n->mean[c]) /
           n->std[c];
}

static void draws_come_as_flip_then_dy_then_dx(void **state)
{
    (void)state;
    static const data_augment_t augments[] = {{true, 2}, {false, 3}, {true, 0}, {true, 9}};
    data_normalisation_t n = data_normalisation_default();
    float x[N * SIZE];
    int32_t y[N];
    for (size_t a = 0; a < 4; a++) {
        rng_t rng = test_rng(10 + a), same = rng;
        int pad = (int)augments[a].crop_pad;
        data_batch(x, y, &set, order, N, &n, &augments[a], &rng);
        for (size_t b = 0; b < N; b++) {
            bool flip = rng_below(&same, 2) == 1;
            int dy = (int)rng_below(&same, (uint64_t)(2 * pad + 1)) - pad;
            int dx = (int)rng_below(&same, (uint64_t)(2 * pad + 1)) - pad;
            for (int h = 0; h < H; h++)
                for (int w = 0; w < W; w++)
                    for (int c = 0; c < 3; c++) {
                        float e =
                            expected_at(&n, order[b], flip && augments[a].flip, dy, dx, h, w, c);
                        assert_float_equal(x[b * SIZE + (size_t)((h * W + w) * 3 + c)], e, 0);
                    }
        }
    }
}

static void about_half_of_the_pictures_are_flipped(void **state)
{
    (void)state;
    data_normalisation_t n = data_normalisation_default();
    data_augment_t augment = {.flip = true, .crop_pad = 0};
    float plain[SIZE], x[SIZE];
    int32_t y;
    int flipped = 0;
    rng_t rng = test_rng(3);
    data_batch(plain, &y, &set, order, 1, &n, NULL, NULL);
    for (int i = 0; i < 1000; i++) {
        data_batch(x, &y, &set, order, 1, &n, &augment, &rng);
        flipped += memcmp(plain, x, sizeof x) != 0;
    }
    assert_in_range(flipped, 420, 580);
}

static void an_epochs_order_is_a_shuffle_of_its_own(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    uint32_t first[COUNT], again[COUNT], other[COUNT];
    bool seen[COUNT] = {false};
    data_epoch_order(first, COUNT, test_seed, 3, 5);
    data_epoch_order(again, COUNT, test_seed, 3, 5);
    assert_memory_equal(first, again, sizeof first);
    for (int i = 0; i < COUNT; i++) {
        assert_true(first[i] < COUNT && !seen[first[i]]);
        seen[first[i]] = true;
    }
    data_epoch_order(other, COUNT, test_seed, 3, 6);
    assert_memory_not_equal(first, other, sizeof first);
    data_epoch_order(other, COUNT, test_seed, 4, 5);
    assert_memory_not_equal(first, other, sizeof first);
    data_epoch_order(other, COUNT, test_seed + 1, 3, 5);
    assert_memory_not_equal(first, other, sizeof first);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(pixels_are_normalised, fill_pixels),
    cmocka_unit_test(the_default_maps_bytes_to_minus_one_to_one),
    cmocka_unit_test_setup(augmentation_does_not_depend_on_batch_size, fill_pixels),
    cmocka_unit_test_setup(draws_come_as_flip_then_dy_then_dx, fill_pixels),
    cmocka_unit_test_setup(about_half_of_the_pictures_are_flipped, fill_pixels),
    cmocka_unit_test(an_epochs_order_is_a_shuffle_of_its_own),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
