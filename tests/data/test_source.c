/* SPECs, folders and synthetic sources, and loading sets from them; test_cifar10.c has CIFAR-10. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "data/landscape.h"
#include "data/source.h"
#include "tests/data/pictures.h"
#include "tests/support/harness.h"

static void what_is_no_spec_is_refused(void **state)
{
    (void)state;
    static const char *const specs[] = {"", "cifar10", "cifar:/x", "folders:/x", "/pictures"};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
        assert_no_source(specs[i], NULL, 0, ERR_CONFIG,
                         text("%s: not a data SPEC: write cifar10:DIR[:train|test], folder:DIR or "
                              "synthetic:SEED[:COUNT]",
                              specs[i]));
}

static void a_class_list_with_a_name_twice_is_refused(void **state)
{
    (void)state;
    assert_no_source("synthetic:1", (const char *const[]){"a", "b", "a"}, 3, ERR_CONFIG,
                     "the class list names a twice: keep one");
}

/* Folders */

/* b/ (2 pictures), a/ (3), with things that are to be ignored. */
static const char *make_folders(void)
{
    const char *dir = test_dir();
    uint8_t gray[8 * 8] = {0};
    write_plain_png(path_in(dir, "b/2.png"), 4, 20, 0, 0);
    write_plain_png(path_in(dir, "b/10.PNG"), 4, 10, 0, 0);
    write_plain_png(path_in(dir, "a/Z.png"), 4, 1, 0, 0);
    write_plain_png(path_in(dir, "a/k.png"), 4, 2, 0, 0);
    write_jpeg(path_in(dir, "a/\xc3\xa4.JpEg"), gray, 8, 8, 1);
    write_plain_png(path_in(dir, "a/.hidden.png"), 4, 9, 9, 9);
    write_plain_png(path_in(dir, "a/folder.png/x.png"), 4, 9, 9, 9);
    write_plain_png(path_in(dir, ".git/x.png"), 4, 9, 9, 9);
    write_bytes(path_in(dir, "a/notes.txt"), "x", 1);
    write_bytes(path_in(dir, ".complete"), "", 0);
    write_bytes(path_in(dir, "README"), "x", 1);
    return dir;
}

static void folders_are_read_in_bytewise_order(void **state)
{
    (void)state;
    const char *dir = make_folders();
    data_source_t *source = open_ok(text("folder:%s", dir));
    assert_int_equal(data_source_class_count(source), 2);
    assert_string_equal(data_source_class_names(source)[0], "a");
    assert_string_equal(data_source_class_names(source)[1], "b");
    assert_int_equal(data_source_count(source), 5);
    assert_int_equal(data_source_train_count(source), 5);
    assert_name(source, 0, text("%s/a/Z.png", dir));
    assert_name(source, 1, text("%s/a/k.png", dir));
    assert_name(source, 2, text("%s/a/\xc3\xa4.JpEg", dir));
    assert_name(source, 3, text("%s/b/10.PNG", dir));
    assert_name(source, 4, text("%s/b/2.png", dir));
    assert_int_equal(data_source_labels(source)[2], 0);
    assert_int_equal(data_source_labels(source)[3], 1);

    data_set_t set;
    size_t skipped;
    assert_ok(data_source_load(&set, &skipped, source, (const uint32_t[]){4, 0, 3}, 3, 8,
                               DATA_BAD_STOP, NULL));
    assert_int_equal(set.height, 8);
    assert_int_equal(set.width, 8);
    assert_int_equal(set.class_count, 2);
    assert_int_equal(set.pixels[0], 20);
    assert_int_equal(set.pixels[8 * 8 * 3], 1);
    assert_int_equal(set.pixels[2 * 8 * 8 * 3], 10);
    assert_int_equal(set.labels[0], 1);
    assert_int_equal(set.labels[1], 0);
    data_set_free(&set);
    data_source_close(&source);
}

static void a_class_list_fixes_order_and_allows_absent_classes(void **state)
{
    (void)state;
    const char *dir = make_folders();
    const char *const classes[] = {"c", "b", "a"};
    data_source_t *source = NULL;
    file_make_folder(path_in(dir, "c"));
    assert_ok(data_source_open(&source, text("folder:%s", dir), classes, 3));
    assert_int_equal(data_source_class_count(source), 3);
    assert_string_equal(data_source_class_names(source)[1], "b");
    assert_int_equal(data_source_count(source), 5);
    assert_int_equal(data_source_labels(source)[0], 1);
    assert_int_equal(data_source_labels(source)[4], 2);
    assert_name(source, 0, text("%s/b/10.PNG", dir));
    data_source_close(&source);
}

static void a_folder_that_is_not_in_the_class_list_is_refused(void **state)
{
    (void)state;
    const char *dir = make_folders();
    assert_no_source(text("folder:%s", dir), (const char *const[]){"x", "a"}, 2, ERR_CONFIG,
                     text("folder:%s: class b is not in the class list (x, a): add it to the list "
                          "or remove its pictures",
                          dir));
}

static void folders_that_cannot_be_a_data_set_are_refused(void **state)
{
    (void)state;
    const char *dir = test_dir();
    assert_no_source(text("folder:%s/no", dir), NULL, 0, ERR_CONFIG,
                     text("folder:%s/no: no folder %s/no: check the path", dir, dir));
    assert_no_source(text("folder:%s", dir), NULL, 0, ERR_CONFIG,
                     text("%s holds no class folders: put the pictures of each class into a folder "
                          "that has the class's name",
                          dir));
    write_plain_png(path_in(dir, "full/a.png"), 4, 0, 0, 0);
    file_make_folder(path_in(dir, "empty"));
    write_bytes(path_in(dir, "empty/a.tiff"), "II*", 3);
    assert_no_source(text("folder:%s", dir), NULL, 0, ERR_CONFIG,
                     text("class folder %s/empty holds no JPEG or PNG picture: add some or remove "
                          "the folder",
                          dir));
    remove(path_in(dir, "full/a.png"));
    assert_no_source(text("folder:%s", dir), (const char *const[]){"empty", "full"}, 2, ERR_CONFIG,
                     text("folder:%s: no class folder holds a JPEG or PNG picture: add some", dir));
}

static void a_broken_picture_stops_or_is_skipped(void **state)
{
    (void)state;
    const char *dir = make_folders();
    const uint32_t all[] = {0, 1, 2, 3, 4};
    data_set_t set;
    size_t skipped = 99;
    data_source_t *source = open_ok(text("folder:%s", dir));
    cut_file(path_in(dir, "a/k.png"), 40);
    remove(path_in(dir, "b/10.PNG"));
    assert_fails(data_source_load(&set, &skipped, source, all, 5, 4, DATA_BAD_STOP, NULL),
                 ERR_FORMAT,
                 text("%s/a/k.png: damaged PNG: the file ends early: replace or remove it", dir));
    assert_null(set.pixels);
    assert_fails(data_source_load(&set, &skipped, source, all + 3, 1, 4, DATA_BAD_STOP, NULL),
                 ERR_IO,
                 text("open %s/b/10.PNG: No such file or directory: replace or remove it", dir));
    assert_ok(data_source_load(&set, &skipped, source, all, 5, 4, DATA_BAD_SKIP, NULL));
    assert_int_equal(set.count, 3);
    assert_int_equal(skipped, 2);
    assert_int_equal(set.pixels[0], 1);
    assert_int_equal(set.pixels[2 * 4 * 4 * 3], 20);
    assert_int_equal(set.labels[2], 1);
    data_set_free(&set);
    assert_fails(data_source_load(&set, &skipped, source, all + 1, 1, 4, DATA_BAD_SKIP, NULL),
                 ERR_FORMAT,
                 text("all 1 pictures are bad and were left out; the last: %s/a/k.png: damaged "
                      "PNG: the file ends early",
                      dir));
    data_source_close(&source);
}

static void loading_nothing_gives_an_empty_set(void **state)
{
    (void)state;
    data_source_t *source = open_ok("synthetic:1:10");
    data_set_t set;
    size_t skipped;
    assert_ok(data_source_load(&set, &skipped, source, NULL, 0, 64, DATA_BAD_STOP, NULL));
    const volatile bool interrupted = true;
    const uint32_t first = 0;
    data_set_t cut;
    assert_fails(
        data_source_load(&cut, &skipped, source, &first, 1, 64, DATA_BAD_STOP, &interrupted),
        ERR_REFUSED, "interrupted");
    assert_int_equal(set.count, 0);
    data_set_free(&set);
    data_source_close(&source);
}

/* Synthetic */

static void synthetic_pictures_follow_from_seed_and_index(void **state)
{
    (void)state;
    enum { BYTES = 64 * 64 * 3 };
    const uint32_t few[] = {7, 3, 17}, one[] = {17};
    data_set_t a, b, c;
    size_t skipped;
    data_source_t *source = open_ok("synthetic:5"), *other = open_ok("synthetic:6:20");
    assert_int_equal(data_source_count(source), 2500);
    assert_int_equal(data_source_count(other), 20);
    assert_int_equal(data_source_class_count(source), 10);
    assert_string_equal(data_source_class_names(source)[9], "SeaLake");
    assert_name(source, 17, "synthetic[17]");
    for (int i = 0; i < 2500; i++)
        assert_int_equal(data_source_labels(source)[i], i % 10);
    assert_ok(data_source_load(&a, &skipped, source, few, 3, 64, DATA_BAD_STOP, NULL));
    assert_ok(data_source_load(&b, &skipped, source, one, 1, 64, DATA_BAD_STOP, NULL));
    assert_ok(data_source_load(&c, &skipped, other, one, 1, 64, DATA_BAD_STOP, NULL));
    assert_memory_equal(a.pixels + 2 * BYTES, b.pixels, BYTES);
    assert_memory_not_equal(a.pixels, b.pixels, BYTES); /* same class, another index */
    assert_memory_not_equal(b.pixels, c.pixels, BYTES); /* same index, another seed */
    data_set_free(&a);
    data_set_free(&b);
    data_set_free(&c);
    data_source_close(&source);
    data_source_close(&other);
}

static void a_seeds_pictures_never_change(void **state)
{
    (void)state;
    /* What `synthetic:1` means must not depend on compiler or CPU, nor change unnoticed: if it has
     * to, then numbers measured with it are to be measured anew. */
    uint32_t indices[20];
    char hex[HASH_HEX];
    data_set_t set;
    size_t skipped;
    data_source_t *source = open_ok("synthetic:1");
    for (uint32_t i = 0; i < 20; i++)
        indices[i] = i;
    assert_ok(data_source_load(&set, &skipped, source, indices, 20, 64, DATA_BAD_STOP, NULL));
    hash_t hash = hash_bytes(set.pixels, 20 * 64 * 64 * 3);
    hash_hex(hex, &hash);
    assert_string_equal(hex, "8ecbce237bf6a5baf4af6ec40c36b8f8be0d23ff1d60296f23ff57b722f4bb7f");
    data_set_free(&set);
    data_source_close(&source);
}

static void synthetic_specs_are_checked(void **state)
{
    (void)state;
    assert_no_source("synthetic:", NULL, 0, ERR_CONFIG,
                     "synthetic:: SEED must be a whole number from 0 on, as in synthetic:1");
    assert_no_source("synthetic:-1", NULL, 0, ERR_CONFIG,
                     "synthetic:-1: SEED must be a whole number from 0 on, as in synthetic:1");
    assert_no_source("synthetic:1:0", NULL, 0, ERR_CONFIG,
                     "synthetic:1:0: COUNT must be 1 to 10000000, as in synthetic:1:2500");
    assert_no_source("synthetic:1:many", NULL, 0, ERR_CONFIG,
                     "synthetic:1:many: COUNT must be 1 to 10000000, as in synthetic:1:2500");
    assert_no_source("synthetic:1", (const char *const[]){"AnnualCrop"}, 1, ERR_CONFIG,
                     "synthetic:1: class Forest is not in the class list (AnnualCrop): add it to "
                     "the list or remove its pictures");
}

static void every_kind_of_landscape_has_its_own_look(void **state)
{
    (void)state;
    /* Mean colours overlap, but water is darker and bluer than roofs on average. */
    uint8_t pixels[LANDSCAPE_PIXELS * 3];
    double mean[LANDSCAPE_KINDS][3] = {{0}};
    for (size_t kind = 0; kind < LANDSCAPE_KINDS; kind++)
        for (uint64_t i = 0; i < 40; i++) {
            rng_t rng;
            rng_init(&rng, test_seed, RNG_STREAM_SYNTHETIC, i, kind);
            landscape_draw(pixels, kind, &rng);
            for (size_t p = 0; p < sizeof pixels; p++)
                mean[kind][p % 3] += pixels[p] / (40.0 * LANDSCAPE_PIXELS);
        }
    for (size_t kind = 0; kind < LANDSCAPE_KINDS; kind++)
        for (int c = 0; c < 3; c++)
            assert_true(mean[kind][c] > 30.0 && mean[kind][c] < 200.0);
    assert_true(mean[9][2] > mean[9][0] + 10.0); /* SeaLake: blue over red */
    assert_true(mean[5][1] > mean[5][2] + 10.0); /* Pasture: green over blue */
    assert_true(mean[4][0] > mean[1][0] + 40.0); /* Industrial is brighter than Forest */
}

/* What two SPECs have in common */

static void specs_are_compared_by_what_they_mean(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *other;
        bool overlap;
    } cases[] = {
        {"folder:a", "folder:a", true},
        {"folder:a", "folder:a/", true},
        {"folder:./a", "folder:b/../a", true},
        {"folder:a", "folder:b", false},
        {"folder:a", "folder:", false},
        {"folder:none", "folder:none", false},
        {"cifar10:a", "cifar10:a/:test", true},
        {"cifar10:a:train", "cifar10:./a", true},
        {"cifar10:a:test", "cifar10:a/:test", true},
        {"cifar10:a:train", "cifar10:a:test", false},
        {"cifar10:a:test", "cifar10:b:test", false},
        {"synthetic:3", "synthetic:3:500", true},
        {"synthetic:3:400", "synthetic:03:500", true},
        {"synthetic:3:400", "synthetic:33:400", false},
        {"synthetic:x", "synthetic:x", false},
        {"synthetic:3", "folder:a", false},
        {"", "", false},
    };
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(make_folders()), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (data_source_overlap(cases[i].spec, cases[i].other) != cases[i].overlap ||
            data_source_overlap(cases[i].other, cases[i].spec) != cases[i].overlap)
            fail_msg("%s and %s: expected %s", cases[i].spec, cases[i].other,
                     cases[i].overlap ? "pictures in common" : "none");
    assert_int_equal(chdir(before), 0);
    free(before);
}

/* Real data */

static void the_real_eurosat_is_read(void **state)
{
    (void)state;
    data_source_t *source = open_ok(text("folder:%s", real_data("EuroSAT_RGB")));
    size_t count = data_source_count(source), n = 0, skipped;
    uint32_t indices[64];
    data_set_t set;
    assert_int_equal(data_source_class_count(source), LANDSCAPE_KINDS);
    for (size_t c = 0; c < LANDSCAPE_KINDS; c++)
        assert_string_equal(data_source_class_names(source)[c], landscape_names[c]);
    assert_true(count >= 20000 && count <= 27000);
    for (size_t i = 0; n < 64; i += count / 64)
        indices[n++] = (uint32_t)i;
    assert_ok(data_source_load(&set, &skipped, source, indices, n, 64, DATA_BAD_STOP, NULL));
    assert_int_equal(set.count, 64);
    data_set_free(&set);
    data_source_close(&source);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_no_spec_is_refused),
    cmocka_unit_test(a_class_list_with_a_name_twice_is_refused),
    cmocka_unit_test(folders_are_read_in_bytewise_order),
    cmocka_unit_test(a_class_list_fixes_order_and_allows_absent_classes),
    cmocka_unit_test(a_folder_that_is_not_in_the_class_list_is_refused),
    cmocka_unit_test(folders_that_cannot_be_a_data_set_are_refused),
    cmocka_unit_test(a_broken_picture_stops_or_is_skipped),
    cmocka_unit_test(loading_nothing_gives_an_empty_set),
    cmocka_unit_test(synthetic_pictures_follow_from_seed_and_index),
    cmocka_unit_test(a_seeds_pictures_never_change),
    cmocka_unit_test(synthetic_specs_are_checked),
    cmocka_unit_test(every_kind_of_landscape_has_its_own_look),
    cmocka_unit_test(specs_are_compared_by_what_they_mean),
    cmocka_unit_test(the_real_eurosat_is_read),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
