/* Decoding and resizing of single pictures, and every way in which a file can be bad. */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"
#include "data/source.h"
#include "tests/data/pictures.h"
#include "tests/support/harness.h"

static void fill_gradient(uint8_t *pixels, size_t height, size_t width)
{
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            pixels[3 * (y * width + x)] = (uint8_t)(255 * x / width);
            pixels[3 * (y * width + x) + 1] = (uint8_t)(255 * y / height);
            pixels[3 * (y * width + x) + 2] = 90;
        }
}

static void a_jpeg_comes_back_nearly_as_it_was(void **state)
{
    (void)state;
    uint8_t pixels[24 * 40 * 3];
    const char *path = path_in(test_dir(), "a.jpg");
    image_t image = {0};
    fill_gradient(pixels, 24, 40);
    write_jpeg(path, pixels, 24, 40, 3);
    assert_ok(image_read(&image, path));
    assert_int_equal(image.height, 24);
    assert_int_equal(image.width, 40);
    for (size_t i = 0; i < sizeof pixels; i++)
        assert_in_range(image.pixels[i] + 12 - pixels[i], 0, 24);
    image_free(&image);
}

static void a_gray_jpeg_has_three_equal_channels(void **state)
{
    (void)state;
    uint8_t pixels[16 * 16];
    const char *path = path_in(test_dir(), "gray.jpg");
    image_t image = {0};
    memset(pixels, 77, sizeof pixels);
    write_jpeg(path, pixels, 16, 16, 1);
    assert_ok(image_read(&image, path));
    for (size_t i = 0; i < 16 * 16 * 3; i++)
        assert_int_equal(image.pixels[i], 77);
    image_free(&image);
}

static void a_cmyk_jpeg_is_refused(void **state)
{
    (void)state;
    uint8_t pixels[8 * 8 * 4] = {0};
    const char *path = path_in(test_dir(), "cmyk.jpg");
    image_t image = {0};
    write_jpeg(path, pixels, 8, 8, 4);
    assert_fails(image_read(&image, path), ERR_FORMAT,
                 text("%s: a CMYK JPEG: save it as RGB", path));
    image_free(&image);
}

static void assert_pixel(const image_t *image, size_t i, int red, int green, int blue)
{
    assert_int_equal(image->pixels[3 * i], red);
    assert_int_equal(image->pixels[3 * i + 1], green);
    assert_int_equal(image->pixels[3 * i + 2], blue);
}

static void every_kind_of_png_becomes_rgb(void **state)
{
    (void)state;
    const char *path = path_in(test_dir(), "a.png");
    image_t image = {0};

    write_png(path, (const uint8_t[]){1, 2, 3, 4, 5, 6}, 1, 2, PNG_COLOR_TYPE_RGB, 8, 0);
    assert_ok(image_read(&image, path));
    assert_pixel(&image, 0, 1, 2, 3);
    assert_pixel(&image, 1, 4, 5, 6);

    write_png(path, (const uint8_t[]){0xff, 0xff, 0, 0, 0x80, 0x80}, 1, 1, PNG_COLOR_TYPE_RGB, 16,
              0);
    assert_ok(image_read(&image, path));
    assert_pixel(&image, 0, 255, 0, 128);

    write_png(path, (const uint8_t[]){0x80}, 1, 2, PNG_COLOR_TYPE_GRAY, 1, 0);
    assert_ok(image_read(&image, path));
    assert_pixel(&image, 0, 255, 255, 255);
    assert_pixel(&image, 1, 0, 0, 0);

    write_png(path, (const uint8_t[]){0, 1, 2}, 1, 3, PNG_COLOR_TYPE_PALETTE, 8, 0);
    assert_ok(image_read(&image, path));
    assert_pixel(&image, 0, 255, 0, 0);
    assert_pixel(&image, 1, 127, 255, 127); /* half of it over white */
    assert_pixel(&image, 2, 0, 0, 255);
    image_free(&image);
}

static void what_is_transparent_is_laid_over_white(void **state)
{
    (void)state;
    const char *path = path_in(test_dir(), "alpha.png");
    image_t image = {0};
    write_png(path, (const uint8_t[]){10, 20, 30, 0, 10, 20, 30, 255, 100, 0, 200, 51}, 1, 3,
              PNG_COLOR_TYPE_RGB_ALPHA, 8, 0);
    assert_ok(image_read(&image, path));
    assert_pixel(&image, 0, 255, 255, 255);
    assert_pixel(&image, 1, 10, 20, 30);
    assert_pixel(&image, 2, 224, 204, 244); /* a fifth of it */
    write_png(path, (const uint8_t[]){40, 255, 40, 0}, 1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0);
    assert_ok(image_read(&image, path));
    assert_pixel(&image, 0, 40, 40, 40);
    assert_pixel(&image, 1, 255, 255, 255);
    image_free(&image);
}

static void an_interlaced_png_is_the_same_picture(void **state)
{
    (void)state;
    uint8_t pixels[19 * 13 * 3];
    const char *path = path_in(test_dir(), "i.png");
    image_t image = {0};
    fill_gradient(pixels, 19, 13);
    write_png(path, pixels, 19, 13, PNG_COLOR_TYPE_RGB, 8, 1);
    assert_ok(image_read(&image, path));
    assert_memory_equal(image.pixels, pixels, sizeof pixels);
    image_free(&image);
}

static void a_written_png_comes_back_as_it_was(void **state)
{
    (void)state;
    uint8_t pixels[11 * 30 * 3];
    const char *dir = test_dir(), *path = path_in(dir, "w.png");
    image_t image = {0};
    fill_gradient(pixels, 11, 30);
    assert_ok(image_write_png(path, pixels, 11, 30));
    assert_ok(image_read(&image, path));
    assert_int_equal(image.height, 11);
    assert_int_equal(image.width, 30);
    assert_memory_equal(image.pixels, pixels, sizeof pixels);
    image_free(&image);
    assert_fails(image_write_png(path_in(dir, "no/w.png"), pixels, 11, 30), ERR_IO,
                 text("write %s/no/w.png: No such file or directory", dir));
}

static void a_file_that_is_no_picture_is_named(void **state)
{
    (void)state;
    const char *path = path_in(test_dir(), "x.jpg");
    image_t image = {0};
    write_bytes(path, "GIF89a, not a JPEG", 18);
    assert_fails(image_read(&image, path), ERR_FORMAT,
                 text("%s: neither JPEG nor PNG by its first bytes", path));
    write_bytes(path, "", 0);
    assert_fails(image_read(&image, path), ERR_FORMAT, text("%s: the file is empty", path));
    const char *gone = path_in(test_dir(), "gone.jpg");
    char text[600];
    snprintf(text, sizeof text, "open %s: No such file or directory", gone);
    assert_fails(image_read(&image, gone), ERR_IO, text);
    image_free(&image);
}

static void a_truncated_jpeg_is_damaged(void **state)
{
    (void)state;
    uint8_t pixels[64 * 64 * 3];
    const char *path = path_in(test_dir(), "cut.jpg");
    image_t image = {0};
    fill_gradient(pixels, 64, 64);
    write_jpeg(path, pixels, 64, 64, 3);
    size_t size = size_of(path);
    cut_file(path, size - 2); /* only the end marker is gone: libjpeg would merely warn */
    assert_fails(image_read(&image, path), ERR_FORMAT,
                 text("%s: damaged JPEG: Premature end of JPEG file", path));
    cut_file(path, size / 2);
    assert_fails(image_read(&image, path), ERR_FORMAT,
                 text("%s: damaged JPEG: Premature end of JPEG file", path));
    write_bytes(path, "\xff\xd8\xff\xe0", 4);
    assert_int_equal(image_read(&image, path), ERR_FORMAT);
    image_free(&image);
}

static void a_truncated_png_is_damaged(void **state)
{
    (void)state;
    uint8_t pixels[16 * 16 * 3];
    const char *path = path_in(test_dir(), "cut.png");
    image_t image = {0};
    fill_gradient(pixels, 16, 16);
    write_png(path, pixels, 16, 16, PNG_COLOR_TYPE_RGB, 8, 0);
    size_t size = size_of(path);
    for (size_t keep = size - 1; keep >= 8; keep--) {
        cut_file(path, keep);
        assert_fails(image_read(&image, path), ERR_FORMAT,
                     text("%s: damaged PNG: the file ends early", path));
    }
    image_free(&image);
}

static void a_png_with_a_flipped_bit_is_damaged(void **state)
{
    (void)state;
    const char *path = path_in(test_dir(), "bit.png");
    uint8_t pixels[16 * 16 * 3];
    image_t image = {0};
    FILE *file;
    fill_gradient(pixels, 16, 16);
    write_png(path, pixels, 16, 16, PNG_COLOR_TYPE_RGB, 8, 0);
    file = fopen(path, "r+be");
    fseek(file, 60, SEEK_SET); /* in IDAT */
    int byte = fgetc(file);
    fseek(file, 60, SEEK_SET);
    fputc(byte ^ 4, file);
    fclose(file);
    assert_int_equal(image_read(&image, path), ERR_FORMAT);
    assert_memory_equal(err_message(), path, strlen(path));
    image_free(&image);
}

static void a_png_that_claims_to_be_huge_is_refused(void **state)
{
    (void)state;
    const char *path = path_in(test_dir(), "huge.png");
    uint8_t *row = calloc(16385, 3);
    image_t image = {0};
    write_png(path, row, 1, 16385, PNG_COLOR_TYPE_RGB, 8, 0);
    assert_fails(image_read(&image, path), ERR_FORMAT,
                 text("%s: a PNG of 16385x1 pixels, more than 16384 a side or 100 million in "
                      "all",
                      path));
    write_jpeg(path, row, 1, 16385, 3);
    assert_fails(image_read(&image, path), ERR_FORMAT,
                 text("%s: a JPEG of 16385x1 pixels, more than 16384 a side or 100 million "
                      "in all",
                      path));
    free(row);
    image_free(&image);
}

static void random_damage_never_gets_further_than_an_error(void **state)
{
    (void)state;
    uint8_t pixels[32 * 32 * 3];
    rng_t rng = test_rng(1);
    const char *paths[2] = {path_in(test_dir(), "a.jpg"), path_in(test_dir(), "a.png")};
    image_t image = {0};
    fill_gradient(pixels, 32, 32);
    write_jpeg(paths[0], pixels, 32, 32, 3);
    write_png(paths[1], pixels, 32, 32, PNG_COLOR_TYPE_RGB, 8, 0);
    for (int kind = 0; kind < 2; kind++) {
        unsigned char good[8192], bad[8192];
        FILE *file = fopen(paths[kind], "rbe");
        size_t size = fread(good, 1, sizeof good, file), failures = 0;
        fclose(file);
        for (int round = 0; round < 500; round++) {
            memcpy(bad, good, size);
            for (int i = 0; i < 3; i++) {
                size_t place = rng_below(&rng, size);
                bad[place] = (unsigned char)rng_below(&rng, 256);
            }
            err_t err = kind ? image_decode_png(&image, bad, size, "bad")
                             : image_decode_jpeg(&image, bad, size, "bad");
            assert_true(err == ERR_OK || err == ERR_FORMAT);
            failures += err == ERR_FORMAT;
        }
        assert_true(failures > 50);
    }
    image_free(&image);
}

static void shrinking_averages_areas_exactly(void **state)
{
    (void)state;
    /* 4x4 to 2x2: means of four; 3x3 to 2x2: weights 4/9, 2/9, 2/9, 1/9 at the corners. */
    uint8_t four[4 * 4 * 3], three[3 * 3 * 3], out[2 * 2 * 3];
    for (int i = 0; i < 16; i++)
        memset(four + 3 * i, 10 * i, 3);
    for (int i = 0; i < 9; i++)
        memset(three + 3 * i, 9 * i, 3);
    image_t image = {.height = 4, .width = 4, .pixels = four};
    assert_ok(image_resize(out, 2, &image));
    assert_int_equal(out[0], 25);
    assert_int_equal(out[3], 45);
    assert_int_equal(out[6], 105);
    assert_int_equal(out[9], 125);
    image = (image_t){.height = 3, .width = 3, .pixels = three};
    assert_ok(image_resize(out, 2, &image));
    assert_int_equal(out[0], 12); /* (4*0 + 2*9 + 2*27 + 1*36) / 9 */
    assert_int_equal(out[9], 60);
}

static void growing_is_linear_between_centres(void **state)
{
    (void)state;
    /* PyTorch: interpolate([[0, 100], [200, 220]], size=4, mode="bilinear") */
    static const int expected[16] = {0,   25,  75,  100, 50,  70,  110, 130,
                                     150, 160, 180, 190, 200, 205, 215, 220};
    uint8_t in[2 * 2 * 3], out[4 * 4 * 3];
    memset(in, 0, 3);
    memset(in + 3, 100, 3);
    memset(in + 6, 200, 3);
    memset(in + 9, 220, 3);
    image_t image = {.height = 2, .width = 2, .pixels = in};
    assert_ok(image_resize(out, 4, &image));
    for (int i = 0; i < 16; i++)
        assert_int_equal(out[3 * i], expected[i]);
}

static void resizing_keeps_a_plain_colour_and_the_extremes(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 1}, {3, 200}, {200, 3}, {64, 64}, {97, 61}, {7, 64}};
    uint8_t *in = malloc(200 * 200 * 3), out[64 * 64 * 3];
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int value = 0; value < 256; value += 51) {
            image_t image = {.height = shapes[s][0], .width = shapes[s][1], .pixels = in};
            memset(in, value, 200 * 200 * 3);
            assert_ok(image_resize(out, 64, &image));
            for (size_t i = 0; i < sizeof out; i++)
                assert_int_equal(out[i], value);
        }
    free(in);
}

static void predict_reads_one_picture_at_its_size(void **state)
{
    (void)state;
    const char *path = path_in(test_dir(), "one.png");
    uint8_t out[16 * 16 * 3];
    write_plain_png(path, 40, 9, 8, 7);
    assert_ok(data_load_image(out, path, 16));
    for (size_t i = 0; i < 16 * 16; i++) {
        assert_int_equal(out[3 * i], 9);
        assert_int_equal(out[3 * i + 2], 7);
    }
    cut_file(path, 50);
    assert_fails(data_load_image(out, path, 16), ERR_FORMAT,
                 text("%s: damaged PNG: the file ends early", path));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_jpeg_comes_back_nearly_as_it_was),
    cmocka_unit_test(a_gray_jpeg_has_three_equal_channels),
    cmocka_unit_test(a_cmyk_jpeg_is_refused),
    cmocka_unit_test(every_kind_of_png_becomes_rgb),
    cmocka_unit_test(what_is_transparent_is_laid_over_white),
    cmocka_unit_test(an_interlaced_png_is_the_same_picture),
    cmocka_unit_test(a_written_png_comes_back_as_it_was),
    cmocka_unit_test(a_file_that_is_no_picture_is_named),
    cmocka_unit_test(a_truncated_jpeg_is_damaged),
    cmocka_unit_test(a_truncated_png_is_damaged),
    cmocka_unit_test(a_png_with_a_flipped_bit_is_damaged),
    cmocka_unit_test(a_png_that_claims_to_be_huge_is_refused),
    cmocka_unit_test(random_damage_never_gets_further_than_an_error),
    cmocka_unit_test(shrinking_averages_areas_exactly),
    cmocka_unit_test(growing_is_linear_between_centres),
    cmocka_unit_test(resizing_keeps_a_plain_colour_and_the_extremes),
    cmocka_unit_test(predict_reads_one_picture_at_its_size),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
